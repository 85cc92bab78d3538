"""Bytes only: protobuf messages, crc32c, record files. Knows neither jax nor the rest of lamina but core."""
