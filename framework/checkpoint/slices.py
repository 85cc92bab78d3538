"""Keys of the index under which the parts of a partitioned tensor stand.

A part's key sorts before all tensor names: the number 0, the name, the rank and for each dimension start and length,
each in an encoding whose bytes sort as the values do.
"""

from __future__ import annotations

from collections.abc import Sequence

FULL = -1
"""The length that stands for a whole dimension."""

# The first bytes of a number that takes 1 to 10 bytes: as many ones as bytes, then a zero.
_HEADERS = (0x00, 0x80, 0xC0, 0xE0, 0xF0, 0xF8, 0xFC, 0xFE, 0xFF, 0xFF80, 0xFFC0)


_ESCAPES = {0x00: b"\x00\xff", 0xFF: b"\xff\x00"}


def slice_key(name: str, extents: Sequence[tuple[int, int]]) -> bytes:
    """The key of the part of `name` that has `extents` (start and length of each dimension, length -1 for all of it).

    Example:
        >>> slice_key("table", [(0, 2), (0, -1)])
        b'\\x00table\\x00\\x01\\x01\\x02\\x80\\x82\\x80\\x7f'
    """
    numbers = b"".join(_signed(number) for extent in extents for number in extent)
    return _unsigned(0) + _string(name.encode()) + _unsigned(len(extents)) + numbers


def is_slice_key(key: bytes) -> bool:
    """Whether a key of the index is that of a part."""
    return key.startswith(b"\0")


def _unsigned(value: int) -> bytes:
    size = (value.bit_length() + 7) // 8
    return bytes([size]) + value.to_bytes(size, "big")


def _string(value: bytes) -> bytes:
    return b"".join(_ESCAPES.get(byte, bytes([byte])) for byte in value) + b"\x00\x01"


def _signed(value: int) -> bytes:
    size = (~value if value < 0 else value).bit_length() // 7 + 1
    header = _HEADERS[size] << (8 * (size - 2) if size > 8 else 8 * (size - 1))
    return ((value & ((1 << 8 * size) - 1)) ^ header).to_bytes(size, "big")
