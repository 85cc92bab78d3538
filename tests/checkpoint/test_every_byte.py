"""Every byte of a checkpoint counts: what is damaged or forged is noticed, and nothing else goes wrong."""

import math
import struct
import tracemalloc

import numpy as np
import pytest

from lamina.checkpoint import (
    Partition,
    load_checkpoint,
    merge_entries,
    meta_graph_bytes,
    verify_checkpoint,
    write_checkpoint,
    write_checkpoint_state,
    write_index,
    write_shard,
)
from lamina.checkpoint.slices import slice_key
from lamina.wire.bundle import BundleEntryProto, BundleHeaderProto
from lamina.wire.crc32c import masked_crc32c
from lamina.wire.errors import DataLossError
from lamina.wire.table import MAGIC, read_table, write_table
from lamina.wire.tensor import VersionDef, shape_proto
from lamina.wire.varint import encode_varint

TENSORS = {
    "dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "flags": np.array([True, False, True]),
    "half": np.array([1.5, -2], np.float16),
    "none": np.zeros((0, 3), np.int32),
    "step": np.int64(12),
    "words": np.array([[b"one", b""], [b"\0\xff", b"x" * 40]], object),
}


def everything(place):
    """All that a checkpoint holds, as values that compare."""
    reader = load_checkpoint(place)
    names = reader.get_variable_to_shape_map()
    values = {name: np.asarray(reader.get_tensor(name)) for name in names}
    out = {name: (value.dtype.name, value.shape, value.tolist()) for name, value in values.items()}
    if reader.has_tensor("checkpoint/files"):
        out[".meta"] = reader.read_file(".meta")
    return out


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder with two checkpoints; the latest has two shards, a graph and a description."""
    folder = tmp_path_factory.mktemp("bytes")
    meta = meta_graph_bytes({}) + b"x" * 100
    write_checkpoint(folder / "m-1", {"step": np.int64(11)})
    write_checkpoint(folder / "m-2", TENSORS, shard_bytes=30, files={".meta": meta})
    write_checkpoint_state(folder, folder / "m-2", [folder / "m-1", folder / "m-2"], [1.5, 2.5])
    return folder, everything(folder / "m-1"), everything(folder)


def damages(whole):
    """`whole` cut at each length, with a byte more, and with each byte changed."""
    rng = np.random.default_rng(0)
    yield from (whole[:i] for i in range(len(whole)))
    yield whole + b"\x01"
    for i, change in enumerate(rng.integers(1, 256, len(whole))):
        yield whole[:i] + bytes([whole[i] ^ int(change)]) + whole[i + 1 :]


@pytest.mark.parametrize("kind", ["index", "data-00000", "data-00001", "meta"])
def test_whatever_happens_to_a_file_is_told_with_its_name(checkpoint, kind):
    folder, _, whole = checkpoint
    assert verify_checkpoint(folder) == []
    (path,) = folder.glob(f"m-2.{kind}*")
    original = path.read_bytes()
    try:
        for damaged in damages(original):
            path.write_bytes(damaged)
            problems = verify_checkpoint(folder / "m-2")
            assert problems and all(path.name in problem for problem in problems)
            if len(damaged) > len(original) and kind.startswith("data"):
                assert everything(folder) == whole
                continue
            with pytest.raises(DataLossError, match=path.name):
                everything(folder)
        path.unlink()
        assert path.name in verify_checkpoint(folder / "m-2")[0]
    finally:
        path.write_bytes(original)
    assert everything(folder) == whole


def test_a_damaged_list_never_leads_to_other_tensors(checkpoint):
    folder, before, whole = checkpoint
    path = folder / "checkpoint"
    original = path.read_bytes()
    read = 0
    try:
        for damaged in damages(original):
            path.write_bytes(damaged)
            try:
                assert everything(folder) in (before, whole)
                read += 1
            except (DataLossError, FileNotFoundError) as error:
                assert str(folder) in str(error)
    finally:
        path.write_bytes(original)
    assert read > 20  # what the list says of other checkpoints and of times does not matter


def test_samples_of_a_large_checkpoint(tmp_path):
    rng = np.random.default_rng(1)
    tensors = {f"layer_{i:04d}/{'k' * 200}": rng.random(50).astype(np.float32) for i in range(1500)}
    table = rng.random((40, 8))
    first = write_shard(tmp_path / "m", tensors | {"table": Partition((40, 8), (0, 0), table[:7])}, 0, 2)
    second = write_shard(tmp_path / "m", {"table": Partition((40, 8), (7, 0), table[7:])}, 1, 2)
    write_index(tmp_path / "m", merge_entries(first, second), 2)
    assert verify_checkpoint(tmp_path / "m") == []
    for path in sorted(tmp_path.iterdir()):
        original = path.read_bytes()
        for place in rng.integers(0, len(original), 5):
            flipped = bytearray(original)
            flipped[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            assert path.name in " ".join(verify_checkpoint(tmp_path / "m"))
            path.write_bytes(original[:place])
            assert path.name in " ".join(verify_checkpoint(tmp_path / "m"))
        path.write_bytes(original)


# ---- indexes whose checksums are right, but not what they say


def forge(prefix, entries, data=b"\0" * 64, header=None):
    """A checkpoint of one shard with the given entries."""
    header = header or BundleHeaderProto(num_shards=1, version=VersionDef(producer=1))
    items = sorted({b"": header, **entries}.items())
    prefix.with_suffix(".index").write_bytes(write_table((k, m.SerializeToString()) for k, m in items))
    prefix.with_suffix(".data-00000-of-00001").write_bytes(data)


def entry(shape=(), dtype=1, **fields):
    return BundleEntryProto(dtype=dtype, shape=shape_proto(shape), **fields)


def sliced(shape, *parts):
    proto = entry(shape)
    for extents in parts:
        part = proto.slices.add()
        for start, length in extents:
            part.extent.add(start=start, length=length)
    return proto


def part(extents, offset=0, shape=None):
    shape = tuple(length for _, length in extents) if shape is None else shape
    size = 4 * math.prod(shape)
    return {
        slice_key("t", extents): entry(shape, offset=offset, size=size, crc32c=masked_crc32c(b"\0" * min(size, 64)))
    }


FORGED = {
    "shape beyond its bytes": ({b"t": entry((2**40,), size=2**42)}, "ends at 64"),
    "bytes beyond its shape": ({b"t": entry((4,), size=20)}, "cannot hold 4 values"),
    "shape beyond all memory": ({b"t": entry((2**62, 4), size=4)}, "no array can have its shape"),
    "no values of a huge shape": ({b"t": entry((0, 2**62), size=0)}, "no array can have its shape"),
    "too many dimensions": ({b"t": entry((1,) * 65, size=4)}, "no array can have its shape"),
    "negative shape": ({b"t": entry((-1,), size=4)}, "not known"),
    "many strings in few bytes": ({b"t": entry((2**50,), 7, size=8)}, "cannot hold"),
    "many variants in few bytes": ({b"t": entry((2**50,), 21, size=8)}, "cannot hold"),
    "negative size": ({b"t": entry((1,), size=-4)}, "-4 bytes"),
    "negative offset": ({b"t": entry((1,), size=4, offset=-8)}, "byte -8"),
    "a shard that there is not": ({b"t": entry((1,), size=4, shard_id=1)}, "shard 1 of 1"),
    "a shard below zero": ({b"t": entry((1,), size=4, shard_id=-1)}, "shard -1 of 1"),
    "unknown dtype": ({b"t": entry((1,), 99, size=4)}, "number 99"),
    "shared bytes": ({b"t": entry((2,), size=8), b"u": entry((2,), size=8, offset=4)}, "belong to 't' too"),
    "truth values": ({b"t": entry((1,), 10, size=1, crc32c=masked_crc32c(b"\2"))}, "no truth values"),
    "name of wrong bytes": ({b"\xff\xfe": entry((1,), size=4)}, "no index of tensors"),
    "parts that overlap": (
        {b"t": sliced((4,), [(0, 3)], [(1, 1)]), **part([(0, 3)]), **part([(1, 1)], 12)},
        "do not cover",
    ),
    "a part twice": ({b"t": sliced((4,), [(0, 2)], [(0, 2)]), **part([(0, 2)])}, "comes twice"),
    "a hole": ({b"t": sliced((4,), [(0, 2)], [(3, 1)]), **part([(0, 2)]), **part([(3, 1)], 8)}, "do not cover"),
    "a part of another shape": ({b"t": sliced((4,), [(0, 4)]), **part([(0, 4)], shape=(2, 2))}, "another shape"),
    "a part beyond the shape": ({b"t": sliced((4,), [(2, 4)]), **part([(2, 4)])}, "reaches beyond"),
    "a part of other rank": ({b"t": sliced((4,), [(0, 4), (0, 1)])}, "2 dimensions instead of 1"),
    "parts of a huge shape": (
        {b"t": sliced((2**40,), [(0, 2**40)]), **part([(0, 2**40)])},
        "ends at 64",
    ),
}


@pytest.mark.parametrize("case", sorted(FORGED))
def test_forged_entries_are_refused_before_memory_is_taken(tmp_path, case):
    entries, match = FORGED[case]
    forge(tmp_path / "m", entries, b"\2" + b"\0" * 63 if case == "truth values" else b"\0" * 64)
    tracemalloc.start()
    with pytest.raises(DataLossError, match=match):
        everything(tmp_path / "m")
    assert tracemalloc.get_traced_memory()[1] < 3 << 20
    tracemalloc.stop()
    assert any(match in problem for problem in verify_checkpoint(tmp_path / "m"))


@pytest.mark.parametrize(
    "header, match",
    [
        (BundleHeaderProto(num_shards=0), "0 shards"),
        (BundleHeaderProto(num_shards=-1), "-1 shards"),
        (BundleHeaderProto(num_shards=2**31 - 1), "2147483647 shards"),
        (BundleHeaderProto(num_shards=1, endianness=1), "big-endian"),
        (BundleHeaderProto(num_shards=1, version=VersionDef(min_consumer=2)), "reader of version 2"),
        (BundleHeaderProto(num_shards=1, version=VersionDef(bad_consumers=[1])), "this one has version 1"),
    ],
)
def test_headers(tmp_path, header, match):
    forge(tmp_path / "m", {}, header=header)
    with pytest.raises(DataLossError, match=match):
        load_checkpoint(tmp_path / "m")


def test_bytes_that_belong_to_no_tensor(tmp_path):
    one = entry((1,), size=4, crc32c=masked_crc32c(b"abcd"))
    two = entry((1,), size=4, offset=8, crc32c=masked_crc32c(b"efgh"))
    forge(tmp_path / "m", {b"a": one, b"b": two}, b"abcd\0\0\0\0efgh")
    assert verify_checkpoint(tmp_path / "m") == []  # zeros that align
    forge(tmp_path / "m", {b"a": one, b"b": two}, b"abcd\0\0\1\0efgh")
    assert "from byte 4 on" in verify_checkpoint(tmp_path / "m")[0]
    forge(tmp_path / "m", {b"a": one, b"b": two}, b"abcd\0\0\0\0efghi")
    assert "from byte 12 on" in verify_checkpoint(tmp_path / "m")[0]


def test_a_shard_without_tensors_must_be_there(tmp_path):
    write_index(tmp_path / "m", write_shard(tmp_path / "m", {"a": np.ones(2)}, 0, 2), 2)
    assert "00001-of-00002' is missing" in verify_checkpoint(tmp_path / "m")[0]
    write_shard(tmp_path / "m", {}, 1, 2)
    assert verify_checkpoint(tmp_path / "m") == []


def test_random_changes_of_entries_with_right_checksums(tmp_path):
    write_checkpoint(tmp_path / "m", {k: v for k, v in TENSORS.items() if k != "none"})
    path = tmp_path / "m.index"
    table = read_table(path.read_bytes(), "m")
    rng = np.random.default_rng(2)
    for _ in range(1500):
        changed = dict(table)
        key = list(table)[rng.integers(len(table))]
        value = bytearray(changed.pop(key))
        for _ in range(rng.integers(1, 4)):
            value[rng.integers(len(value))] = rng.integers(256)
        changed[key] = bytes(value)
        path.write_bytes(write_table(sorted(changed.items())))
        try:
            everything(tmp_path / "m")
        except DataLossError:
            pass


# ---- tables


def table_of(block):
    """A table with one data block of these bytes and right checksums."""

    def sealed(content):
        return content + b"\0" + struct.pack("<I", masked_crc32c(content + b"\0"))

    empty = struct.pack("<II", 0, 1)
    handle = encode_varint(0) + encode_varint(len(block))
    index = b"\0\x01" + encode_varint(len(handle)) + b"\xff" + handle + struct.pack("<II", 0, 1)
    start = len(block) + 5
    places = (start, len(empty), start + len(empty) + 5, len(index))
    footer = b"".join(map(encode_varint, places)).ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    return sealed(block) + sealed(empty) + sealed(index) + footer


def test_restarts_and_keys_of_blocks():
    entries = b"\0\x02\x01ab1" + b"\x01\x01\x01c2" + b"\0\x01\x01b3"
    good = struct.pack("<III", 0, 11, 2)
    assert read_table(table_of(entries + good), "t") == {b"ab": b"1", b"ac": b"2", b"b": b"3"}
    for restarts in ((), (11,), (0, 6), (0, 11, 11), (0, 3), (11, 0), (0, 900)):
        block = entries + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
        with pytest.raises(DataLossError, match="'t'.*restart"):
            read_table(table_of(block), "t")
    for keys in (b"\0\x01\x01b1\0\x01\x01a2", b"\0\x01\x01b1\0\x01\x01b2"):
        with pytest.raises(DataLossError, match="out of order"):
            read_table(table_of(keys + struct.pack("<II", 0, 1)), "t")
    with pytest.raises(DataLossError, match="reaches beyond its block"):
        read_table(table_of(b"\x05\x01\x01b1" + struct.pack("<II", 0, 1)), "t")


def test_keys_cannot_grow_without_end():
    key = b"k" * 20_000
    first = b"\0" + encode_varint(len(key)) + b"\0" + key
    items = {key: b""}
    more = b""
    for i in range(1, 200):
        more += encode_varint(len(key)) + b"\x02\0" + i.to_bytes(2, "big")
        items[key + i.to_bytes(2, "big")] = b""
    block = first + more + struct.pack("<II", 0, 1)

    data = table_of(block)
    tracemalloc.start()
    with pytest.raises(DataLossError, match="keys of a block"):
        read_table(data, "t")
    assert tracemalloc.get_traced_memory()[1] < 100 * len(block)
    tracemalloc.stop()
    assert read_table(write_table(items.items()), "t") == items
