"""String tensors as bytes: the lengths of all strings, the checksum of the lengths, then the strings.

The checksum of a tensor runs over its lengths as integers of 4 bytes (8 for a string of 4 GiB and more), not over the
varints that stand in the file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lamina.wire.crc32c import crc32c, mask
from lamina.wire.errors import DataLossError
from lamina.wire.varint import decode_varint, encode_varint

_UINT32_MAX = 2**32 - 1
_CHECKSUM_BYTES = 4


def encode_lengths(lengths: Sequence[int]) -> tuple[bytes, int]:
    """What stands before the strings, and the checksum to continue with them.

    Example:
        >>> encode_lengths([3, 1])[0].hex()
        '03012bff39e1'
    """
    crc = _crc_of_lengths(lengths)
    checksum = mask(crc).to_bytes(_CHECKSUM_BYTES, "little")
    return b"".join(map(encode_varint, lengths)) + checksum, crc32c(checksum, crc)


def decode_strings(data: bytes, count: int, checksum: int) -> np.ndarray:
    """The `count` strings of a tensor, as an array of objects.

    Args:
        data: all bytes of the tensor.
        count: how many strings they hold.
        checksum: the masked checksum from the index.

    Raises:
        DataLossError: the bytes are damaged; the message goes on after "these bytes".
    """
    position, lengths = 0, []
    for _ in range(count):
        length, position = _length(data, position)
        lengths.append(length)
    crc = _crc_of_lengths(lengths)
    stored = data[position : position + _CHECKSUM_BYTES]
    if mask(crc).to_bytes(_CHECKSUM_BYTES, "little") != stored:
        raise DataLossError("hold lengths of strings that do not fit their checksum")
    position += _CHECKSUM_BYTES
    if position + sum(lengths) != len(data):
        raise DataLossError(f"hold {len(data) - position} bytes of strings instead of {sum(lengths)}")
    if mask(crc32c(data[position:], crc32c(stored, crc))) != checksum:
        raise DataLossError("do not fit their checksum")
    out = np.empty(count, object)
    for i, length in enumerate(lengths):
        out[i] = data[position : position + length]
        position += length
    return out


def decode_variants(data: bytes, count: int, checksum: int) -> np.ndarray:
    """The `count` serialized objects of a tensor of variants: each is its length, its bytes and a checksum.

    Args:
        data: all bytes of the tensor.
        count: how many objects they hold.
        checksum: the masked checksum from the index.

    Raises:
        DataLossError: the bytes are damaged; the message goes on after "these bytes".
    """
    out = np.empty(count, object)
    position = crc = 0
    for i in range(count):
        length, position = _length(data, position)
        out[i] = data[position : position + length]
        crc = crc32c(out[i], crc32c(length.to_bytes(8, "little"), crc))
        stored = data[position + length : position + length + _CHECKSUM_BYTES]
        if mask(crc).to_bytes(_CHECKSUM_BYTES, "little") != stored:
            raise DataLossError("hold an object that does not fit its checksum")
        crc = crc32c(stored, crc)
        position += length + _CHECKSUM_BYTES
    if position != len(data) or mask(crc) != checksum:
        raise DataLossError("do not fit their checksum")
    return out


def _length(data: bytes, position: int) -> tuple[int, int]:
    try:
        return decode_varint(data, position)
    except DataLossError as error:
        raise DataLossError(f"hold a damaged length of a string ({error})") from error


def _length_bytes(length: int) -> bytes:
    return length.to_bytes(4 if length <= _UINT32_MAX else 8, "little")


def _crc_of_lengths(lengths: Sequence[int]) -> int:
    return crc32c(b"".join(map(_length_bytes, lengths)))
