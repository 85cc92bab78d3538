import struct

import pytest

from lamina.wire.errors import DataLossError
from lamina.wire.table import MAGIC, read_table, write_table

ITEMS = {f"layer_{i:04d}/kernel".encode(): bytes([i % 256]) * (i % 40) for i in range(100)}


@pytest.mark.parametrize("block_bytes", [1, 100, 1000, 262_144])
def test_tables_round_trip(block_bytes):
    items = {b"": b"header", **ITEMS}
    assert read_table(write_table(items.items(), block_bytes), "t") == items


def test_an_empty_table_round_trips():
    assert read_table(write_table([]), "t") == {}


def test_the_bytes_of_a_small_table():
    data = write_table([(b"ab", b"1"), (b"ac", b"2")])
    block = b"\x00\x02\x01ab1" + b"\x01\x01\x01c2" + struct.pack("<II", 0, 1)
    assert data.startswith(block + b"\0")
    assert data.endswith(struct.pack("<Q", MAGIC))
    assert data[-48:-40] == bytes([24, 8, 24 + 13, 3 + 2 + 2 + 8, 0, 0, 0, 0])


def test_keys_must_ascend():
    for keys in ([b"b", b"a"], [b"a", b"a"]):
        with pytest.raises(ValueError, match="strictly ascending"):
            write_table([(k, b"") for k in keys])


def test_every_flipped_bit_and_every_cut_is_noticed():
    data = write_table(list(ITEMS.items())[:12], block_bytes=150)
    for i in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[i] ^= 1 << bit
            with pytest.raises(DataLossError, match="'t' is no whole table"):
                read_table(bytes(damaged), "t")
        with pytest.raises(DataLossError):
            read_table(data[:i], "t")
