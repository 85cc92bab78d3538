import pytest

from lamina.wire.crc32c import crc32c, mask, masked_crc32c, unmask
from lamina.wire.errors import DataLossError
from lamina.wire.varint import decode_varint, encode_varint


def slow_crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_crc32c_equals_the_bitwise_definition():
    data = bytes(range(256)) * 3
    for n in (0, 1, 9, 255, 768):
        assert crc32c(data[:n]) == slow_crc32c(data[:n])
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(data[10:], crc32c(data[:10])) == crc32c(data)


def test_mask_is_undone_by_unmask():
    for crc in (0, 1, 0x7FFF, 0xFFFFFFFF, 0x12345678):
        assert unmask(mask(crc)) == crc
    assert masked_crc32c(b"abc") == mask(crc32c(b"abc"))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1])
def test_varints_round_trip(value):
    data = encode_varint(value)
    assert decode_varint(b"x" + data + b"y", 1) == (value, 1 + len(data))


@pytest.mark.parametrize("data", ["", "80", "ffff", "8000", "ff" * 10, "ffffffffffffffffff02"])
def test_bad_varints_are_refused(data):
    with pytest.raises(DataLossError):
        decode_varint(bytes.fromhex(data), 0)


def test_varint_range():
    for value in (-1, 2**64):
        with pytest.raises(ValueError, match="between 0 and"):
            encode_varint(value)
