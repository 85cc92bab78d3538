"""The nodes behind a Dataset: one file a family."""
