"""Variable-length integers: seven bits a byte, least significant first, the top bit set on all bytes but the last."""

from __future__ import annotations

from lamina.wire.errors import DataLossError


def encode_varint(value: int) -> bytes:
    """`value` (0 to 2**64 - 1) as 1 to 10 bytes.

    Example:
        >>> encode_varint(300).hex()
        'ac02'
    """
    if not 0 <= value < 1 << 64:
        raise ValueError(f"encode_varint: value must be between 0 and 2**64 - 1, got {value}.")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes, position: int, end: int | None = None) -> tuple[int, int]:
    """The integer at `position` and the position after it; nothing at or beyond `end` is read.

    Raises:
        DataLossError: the integer is cut short, is larger than 64 bits or is padded (writers never do that).

    Example:
        >>> decode_varint(bytes.fromhex("ac02"), 0)
        (300, 2)
    """
    end = len(data) if end is None else end
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise DataLossError(f"A variable-length integer is cut short at byte {position}.")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                break
            if byte == 0 and shift:
                raise DataLossError(f"A variable-length integer before byte {position} is longer than it needs to be.")
            return value, position
    raise DataLossError(f"A variable-length integer before byte {position} has more than 64 bits.")
