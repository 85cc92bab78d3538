"""The error of files that are cut short or damaged."""


class DataLossError(ValueError):
    """A file holds fewer bytes than it says, or bytes that do not fit their checksum."""
