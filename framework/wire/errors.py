"""The errors of files that are cut short, damaged or hostile."""


class DataLossError(ValueError):
    """A file holds fewer bytes than it says, or bytes that do not fit their checksum."""


class FileFormatError(ValueError):
    """A file is not of the format that it should be, or asks for more than is safe to give."""
