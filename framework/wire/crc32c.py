"""CRC-32C (Castagnoli), plain and in the masked form that TensorFlow stores in its files.

Reference: RFC 3720, appendix B.4 (the polynomial); LevelDB's log format (why a checksum of checksums is masked).
"""

from __future__ import annotations

from typing import Any

from google_crc32c import extend, value

_DELTA = 0xA282EAD8
_BITS = 0xFFFFFFFF


def crc32c(data: Any, start: int = 0) -> int:
    """The checksum of `data` (bytes or a contiguous array), continued from the checksum `start` of the bytes before it.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
        >>> crc32c(b"6789", crc32c(b"12345")) == crc32c(b"123456789")
        True
    """
    return extend(start, data)


def mask(crc: int) -> int:
    """`((crc >> 15) | (crc << 17)) + 0xa282ead8`, modulo 2**32: the form in which files store a checksum.

    Example:
        >>> unmask(mask(0x12345678)) == 0x12345678
        True
    """
    return (((crc >> 15) | (crc << 17)) + _DELTA) & _BITS


def unmask(masked: int) -> int:
    """The checksum whose `mask` is `masked`."""
    rotated = (masked - _DELTA) & _BITS
    return ((rotated >> 17) | (rotated << 15)) & _BITS


def masked_crc32c(data: Any) -> int:
    """The masked checksum of `data` (bytes or a contiguous array).

    Example:
        >>> hex(masked_crc32c(b"123456789"))
        '0xc78ab0e5'
    """
    crc = value(data)
    return (((crc >> 15) | (crc << 17)) + _DELTA) & _BITS
