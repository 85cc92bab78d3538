"""Bytes of files: protobuf messages, checksums, record files and sorted tables. It imports no jax."""
