"""Checkpoints while they are written: on errors, over others, through slow and broken disks."""

import errno
import os
import threading

import numpy as np
import pytest

from lamina.checkpoint import (
    CheckpointReader,
    files,
    list_variables,
    load_checkpoint,
    load_variable,
    verify_checkpoint,
    write_checkpoint,
    write_checkpoint_state,
    write_index,
    write_shard,
    writer,
)
from lamina.wire.bundle import BundleEntryProto
from lamina.wire.crc32c import crc32c, mask, masked_crc32c
from lamina.wire.errors import DataLossError
from lamina.wire.tensor import shape_proto


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_is_replaced_in_one_step(tmp_path, monkeypatch):
    prefix = tmp_path / "best"
    write_checkpoint(prefix, {"a": np.zeros(3), "b": np.zeros(4)})
    for value in (1, 2, 3):
        with monkeypatch.context() as patched:
            patched.setattr(writer, "write_index", lambda *arguments: 1 / 0)
            with pytest.raises(ZeroDivisionError):  # killed when all data is there
                write_checkpoint(prefix, {"a": np.full(3, value)})
        assert verify_checkpoint(prefix) == []
        assert load_variable(prefix, "a").tolist() == [value - 1] * 3
        write_checkpoint(prefix, {"a": np.full(3, value)})
        assert load_variable(prefix, "a").tolist() == [value] * 3
        assert len({name.rpartition("-of-")[2] for name in names(tmp_path) if "data" in name}) == 1


def test_files_of_other_checkpoints_are_left_alone(tmp_path):
    for name in ("m", "m.data", "m-1", "mm"):
        write_checkpoint(tmp_path / name, {"a": np.ones(1)})
    write_checkpoint(tmp_path / "m", {"a": np.ones(2)})
    assert all(verify_checkpoint(tmp_path / name) == [] for name in ("m", "m.data", "m-1", "mm"))


def test_the_sync_beside_the_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_PIECE_BYTES", 1000)
    monkeypatch.setattr(files, "_UNSYNCED_BYTES", 3000)
    calls = []

    def sync(handle):
        calls.append(threading.current_thread().name)
        os.fsync(handle)

    monkeypatch.setattr(files, "_sync_data", sync)
    data = np.random.default_rng(0).random(5000)
    write_checkpoint(tmp_path / "m", {"a": data, "words": np.array([b"w" * 2500] * 4, object)})
    assert calls and "MainThread" not in calls
    assert verify_checkpoint(tmp_path / "m") == [] and np.array_equal(load_variable(tmp_path / "m", "a"), data)


def test_an_error_of_the_disk_is_not_lost(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "m", {"a": np.zeros(1)})
    before = names(tmp_path)
    monkeypatch.setattr(files, "_UNSYNCED_BYTES", 100)

    def broken(handle):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "_sync_data", broken)
    for tensors in ({"a": np.ones(50)}, {"a": np.ones(50), "b": np.ones(50), "c": np.ones(50)}):
        with pytest.raises(OSError, match="Input/output"):
            write_checkpoint(tmp_path / "m", tensors)
        assert names(tmp_path) == before and load_variable(tmp_path / "m", "a").tolist() == [0]


def test_writing_needs_no_thread(tmp_path, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(files, "_UNSYNCED_BYTES", 100)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    write_checkpoint(tmp_path / "m", {"a": np.ones(50)})
    assert verify_checkpoint(tmp_path / "m") == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no full device")
def test_a_full_disk_raises_and_keeps_what_was_there(tmp_path):
    write_checkpoint(tmp_path / "m", {"a": np.zeros(1)})
    work = tmp_path / f"m.data-00000-of-00002.tmp{os.getpid()}"
    work.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(tmp_path / "m", {"a": np.ones(1 << 19)})
    assert load_variable(tmp_path / "m", "a").tolist() == [0]


def test_further_files_are_held_against_their_checksums(tmp_path):
    write_checkpoint(tmp_path / "m", {"a": np.ones(1)}, files={".meta": b"graph", ".json": b"{}"})
    reader = load_checkpoint(tmp_path / "m")
    assert (reader.read_file(".meta"), reader.read_file(".json")) == (b"graph", b"{}")
    with pytest.raises(KeyError, match="no checksum of '.*m.txt'"):
        reader.read_file(".txt")
    (tmp_path / "m.meta").write_bytes(b"grasp")
    with pytest.raises(DataLossError, match="m.meta' is not what was written"):
        reader.read_file(".meta")
    (tmp_path / "m.json").unlink()
    with pytest.raises(DataLossError, match="m.json' is missing"):
        reader.read_file(".json")
    with pytest.raises(DataLossError, match="is missing"):
        reader.verify()
    for ending in ("meta", ".index", "./x", ""):
        with pytest.raises(ValueError, match="endings such as '.meta'"):
            write_checkpoint(tmp_path / "n", {"a": np.ones(1)}, files={ending: b""})
    assert not list(tmp_path.glob("n*"))


def test_names_and_shards_are_checked(tmp_path):
    for name, error in ((3, TypeError), ("", ValueError), ("\0a", ValueError), ("a\ud800", ValueError)):
        with pytest.raises(error, match="name of a tensor"):
            write_checkpoint(tmp_path / "m", {"first": np.ones(1), name: np.ones(1)})
    for shard, count in ((1, 1), (-1, 1), (0, 0), (0, 100_000)):
        with pytest.raises(ValueError, match=f"got shard {shard} of {count}"):
            write_shard(tmp_path / "m", {}, shard, count)
    with pytest.raises(TypeError, match="'words'.*must hold strings, got 3 \\(int\\)"):
        write_checkpoint(tmp_path / "m", {"words": np.array([b"a", 3], object)})
    assert names(tmp_path) == []


def test_list_and_load_variable(tmp_path):
    write_checkpoint(tmp_path / "m-1", {"w": np.eye(2), "step": np.int64(3)})
    write_checkpoint_state(tmp_path, tmp_path / "m-1", [tmp_path / "m-1"])
    assert list_variables(tmp_path) == list_variables(tmp_path / "m-1") == [("step", []), ("w", [2, 2])]
    assert load_variable(tmp_path, "w:0").tolist() == [[1, 0], [0, 1]]
    with pytest.raises(FileNotFoundError, match="Did you mean '.*m-1'"):
        load_checkpoint(tmp_path / "m-1.index")
    (tmp_path / "m-1.index").unlink()
    with pytest.raises(FileNotFoundError, match="names '.*m-1', which does not exist"):
        list_variables(tmp_path)
    assert "does not exist" in verify_checkpoint(tmp_path)[0]


def test_objects_of_tensorflow_are_given_as_their_bytes(tmp_path):

    data, crc = b"", 0
    for item in (b"state", b""):
        crc = crc32c(item, crc32c(len(item).to_bytes(8, "little"), crc))
        stored = mask(crc).to_bytes(4, "little")
        data += bytes([len(item)]) + item + stored
        crc = crc32c(stored, crc)
    (tmp_path / "m.data-00000-of-00001").write_bytes(data)
    entry = BundleEntryProto(dtype=21, shape=shape_proto((2,)), size=len(data), crc32c=mask(crc))
    write_index(tmp_path / "m", {b"iterator": entry}, 1)
    assert load_variable(tmp_path / "m", "iterator").tolist() == [b"state", b""]
    for i in range(len(data)):
        (tmp_path / "m.data-00000-of-00001").write_bytes(data[:i] + bytes([data[i] ^ 4]) + data[i + 1 :])
        with pytest.raises(DataLossError, match="data-00000"):
            load_variable(tmp_path / "m", "iterator")


def test_quantized_integers_are_read_as_integers(tmp_path):

    data = np.array([-3, 4], np.int8).tobytes()
    (tmp_path / "m.data-00000-of-00001").write_bytes(data)
    entry = BundleEntryProto(dtype=11, shape=shape_proto((2,)), size=2, crc32c=masked_crc32c(data))
    write_index(tmp_path / "m", {b"q": entry}, 1)
    reader = CheckpointReader(tmp_path / "m")
    assert reader.get_variable_to_dtype_map() == {"q": np.int8} and reader.get_tensor("q").tolist() == [-3, 4]
