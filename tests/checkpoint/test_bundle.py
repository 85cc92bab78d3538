import json
import math
import os
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from lamina.checkpoint import (
    Partition,
    latest_checkpoint,
    load_checkpoint,
    merge_entries,
    read_checkpoint_state,
    write_checkpoint,
    write_checkpoint_state,
    write_index,
    write_shard,
)
from lamina.checkpoint.slices import slice_key
from lamina.wire.errors import DataLossError
from lamina.wire.tensor import DTYPES, STRING

GOLDEN = Path(__file__).parent.parent / "golden" / "checkpoint"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


def plain(value):
    """A tensor as the expected values are written."""
    if isinstance(value, bytes):
        return [value.decode("latin-1")]
    flat = value.reshape(-1)
    if value.dtype == object:
        return [v.decode("latin-1") for v in flat]
    if value.dtype.kind == "c":
        return [[v.real, v.imag] for v in flat.tolist()]
    return (flat.astype(np.float64) if value.dtype in (np.float16, ml_dtypes.bfloat16) else flat).tolist()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_tensorflows_checkpoints_are_read(name):
    reader, want = load_checkpoint(GOLDEN / name), EXPECTED[name]
    assert {k: list(v) for k, v in reader.get_variable_to_shape_map().items()} == want["shapes"]
    dtypes = reader.get_variable_to_dtype_map()
    assert {k: "string" if v.kind == "O" else v.name for k, v in dtypes.items()} == want["dtypes"]
    for key, tensor in want["tensors"].items():
        assert plain(reader.get_tensor(key)) == tensor["v"], key


def test_the_folder_names_the_latest_checkpoint():
    assert latest_checkpoint(GOLDEN) == os.path.join(GOLDEN, "model.ckpt-120")
    assert load_checkpoint(GOLDEN).has_tensor("emb/table")
    assert latest_checkpoint(GOLDEN.parent) is None


def tensors_of_all_dtypes():
    rng = np.random.default_rng(0)
    out = {}
    for number, dtype in DTYPES.items():
        if number == STRING:
            continue
        bits = rng.integers(0, 2, (3, 4)) if dtype.kind == "b" else rng.integers(0, 7, (3, 4))
        out[f"all/{dtype.name}"] = bits.astype(dtype)
    words = np.empty((2, 2), object)
    words[:] = [[b"", b"one"], [b"\0\xff", b"x" * 300]]
    return out | {
        "empty": np.zeros((0, 5), np.float32),
        "scalar": np.float32(2.5),
        "word": b"text",
        "words": words,
        "fortran": np.asfortranarray(rng.random((3, 4))),
        "strided": np.arange(10)[::2],
        "big-endian": np.arange(3, dtype=">i4"),
    }


@pytest.mark.parametrize("shard_bytes", [None, 1, 200])
def test_what_is_written_is_read(tmp_path, shard_bytes):
    tensors = tensors_of_all_dtypes()
    write_checkpoint(tmp_path / "m", tensors, shard_bytes)
    reader = load_checkpoint(tmp_path / "m")
    assert set(reader.get_variable_to_shape_map()) == set(tensors)
    for name, value in tensors.items():
        got = reader.get_tensor(name)
        if isinstance(value, bytes):
            assert got == value
            continue
        assert got.shape == value.shape and got.dtype == value.dtype.newbyteorder("="), name
        assert np.array_equal(got, value), name
    shards = len(list(tmp_path.glob("m.data-*")))
    assert shards == 1 if shard_bytes is None else shards > 2


def test_our_index_equals_tensorflows_but_for_the_shortened_key(tmp_path):
    name = "model.ckpt-120"
    reader = load_checkpoint(GOLDEN / name)
    tensors = {k: reader.get_tensor(k) for k in reader.get_variable_to_shape_map()}
    write_checkpoint(tmp_path / "a", tensors)
    again = load_checkpoint(tmp_path / "a")
    assert all(np.array_equal(again.get_tensor(k), v) for k, v in tensors.items())


def test_thousands_of_tensors_need_several_blocks(tmp_path):
    tensors = {f"layer_{i:05d}/{'k' * 100}": np.full(3, i, np.int32) for i in range(3000)}
    write_checkpoint(tmp_path / "m", tensors)
    reader = load_checkpoint(tmp_path / "m")
    assert all(np.array_equal(reader.get_tensor(k), v) for k, v in tensors.items())


def test_parts_of_a_tensor_in_two_shards_come_together(tmp_path):
    table = np.arange(20.0).reshape(5, 4)
    first = write_shard(tmp_path / "m", {"t": Partition((5, 4), (0, 0), table[:2]), "x": np.int64(1)}, 0, 2)
    second = write_shard(tmp_path / "m", {"t": Partition((5, 4), (2, 0), table[2:])}, 1, 2)
    write_index(tmp_path / "m", merge_entries(first, second), 2)
    reader = load_checkpoint(tmp_path / "m")
    assert reader.get_variable_to_shape_map() == {"t": (5, 4), "x": ()}
    assert np.array_equal(reader.get_tensor("t"), table)
    write_index(tmp_path / "m", first, 2)
    with pytest.raises(DataLossError, match="do not cover"):
        load_checkpoint(tmp_path / "m").get_tensor("t")


@pytest.mark.parametrize(
    "extents, tail",
    [
        ([(0, 2)], "80 82"),
        ([(0, -1)], "80 7f"),
        ([(63, 64)], "bf c040"),
        ([(8191, 8192)], "dfff e02000"),
        ([(2**62 - 1, 2**62)], "ffbf ffffffffffffff ff c0 4000000000000000"),
    ],
)
def test_keys_of_parts(extents, tail):
    assert slice_key("a", extents) == b"\x00a\x00\x01\x01\x01" + bytes.fromhex(tail)


def test_keys_of_parts_escape_zeros():
    assert slice_key("a\0ÿ", []).startswith(b"\x00a\x00\xff\xc3\xbf\x00\x01")


def read_all(prefix):
    reader = load_checkpoint(prefix)
    return {k: plain(np.asarray(reader.get_tensor(k))) for k in reader.get_variable_to_shape_map()}


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path):
    tensors = {"a": np.arange(3, dtype=np.int16), "s": np.array([b"one", b""], object), "w": b"x", "z": np.float32(1)}
    write_checkpoint(tmp_path / "m", tensors, shard_bytes=8)
    assert len(read_all(tmp_path / "m")) == 4
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for i in range(len(whole)):
            for bit in range(8):
                damaged = bytearray(whole)
                damaged[i] ^= 1 << bit
                path.write_bytes(damaged)
                with pytest.raises(DataLossError):
                    read_all(tmp_path / "m")
            path.write_bytes(whole[:i])
            with pytest.raises(DataLossError):
                read_all(tmp_path / "m")
        path.write_bytes(whole)
    assert len(read_all(tmp_path / "m")) == 4


def test_a_lying_size_allocates_nothing(tmp_path):
    from lamina.wire.bundle import BundleEntryProto
    from lamina.wire.tensor import shape_proto

    (tmp_path / "m.data-00000-of-00001").write_bytes(b"1234")
    for shape, size in (((2**40,), 2**42), ((2**62, 4), 4), ((-1,), 4)):
        write_index(tmp_path / "m", {b"t": BundleEntryProto(dtype=1, shape=shape_proto(shape), size=size)}, 1)
        with pytest.raises(DataLossError):
            load_checkpoint(tmp_path / "m").get_tensor("t")
    write_index(tmp_path / "m", {b"t": BundleEntryProto(dtype=7, shape=shape_proto((2**50,)), size=8)}, 1)
    with pytest.raises(DataLossError, match="cannot hold"):
        load_checkpoint(tmp_path / "m").get_tensor("t")
    write_index(tmp_path / "m", {b"t": BundleEntryProto(dtype=20, shape=shape_proto(()), size=8)}, 1)
    with pytest.raises(DataLossError, match="dtype has the number 20"):
        load_checkpoint(tmp_path / "m").get_variable_to_dtype_map()


def test_errors_name_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="'.*m.index' is missing"):
        load_checkpoint(tmp_path / "m")
    with pytest.raises(FileNotFoundError, match="has no file 'checkpoint'"):
        load_checkpoint(tmp_path)
    write_checkpoint(tmp_path / "m", {"dense/kernel": np.ones(2)})
    reader = load_checkpoint(tmp_path / "m")
    with pytest.raises(KeyError, match="Did you mean 'dense/kernel'"):
        reader.get_tensor("dense/kernal")
    (tmp_path / "m.data-00000-of-00001").unlink()
    with pytest.raises(DataLossError, match="is missing"):
        reader.get_tensor("dense/kernel")


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path):
    for bad in (np.array("2020", "M8[D]"), np.array([1, "a"], object), {"a": 1}):
        with pytest.raises(TypeError, match="write_checkpoint"):
            write_checkpoint(tmp_path / "m", {"x": np.ones(2), "y": bad})
    with pytest.raises(ValueError, match="name of a tensor"):
        write_checkpoint(tmp_path / "m", {"": np.ones(2)})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        write_checkpoint(tmp_path / "no" / "m", {"x": np.ones(2)})


def test_the_checkpoint_file_round_trips_and_moves_with_its_folder(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    names = [str(folder / f"m-{i}") for i in (1, 2)]
    for name in names:
        write_checkpoint(name, {"x": np.ones(1)})
    write_checkpoint_state(folder, names[1], names, [1.5, 2.5])
    assert read_checkpoint_state(folder) == (names[1], names)
    assert 'model_checkpoint_path: "m-2"' in (folder / "checkpoint").read_text()
    shutil.move(folder, tmp_path / "b")
    assert latest_checkpoint(tmp_path / "b") == str(tmp_path / "b" / "m-2")
    (tmp_path / "b" / "checkpoint").write_text("what is this")
    with pytest.raises(DataLossError, match="no list of checkpoints"):
        latest_checkpoint(tmp_path / "b")


def test_a_checkpoint_file_of_another_name_and_with_a_name_given_twice(tmp_path):
    write_checkpoint(tmp_path / "m-2", {"x": np.ones(1)})
    (tmp_path / "best").write_text('model_checkpoint_path: "m-1"\nmodel_checkpoint_path: "m-2"\n')
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path, "best") == str(tmp_path / "m-2")  # as in TensorFlow 2.21
    assert latest_checkpoint(tmp_path, latest_filename="best") == read_checkpoint_state(tmp_path, "best")[0]


def test_the_size_of_the_data_is_the_sum_of_the_tensors(tmp_path):
    write_checkpoint(tmp_path / "m", {"a": np.ones((3, 4)), "b": np.ones(5, np.int8)})
    assert (tmp_path / "m.data-00000-of-00001").stat().st_size == math.prod((3, 4)) * 8 + 5
