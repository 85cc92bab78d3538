"""CheckpointManager: what it keeps, what it finds, and what it does when the disk fails."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest

from lamina.checkpoint import CheckpointError, CheckpointManager, latest_checkpoint, load_checkpoint
from lamina.checkpoint import manager as manager_module


def save(manager, *steps, **kwargs):
    for step in steps:
        manager.save(step, {"w": np.full(3, step, "float32")}, **kwargs)
    manager.wait()


def value(manager):
    return float(manager.restore().tensors["w"][0])


def test_keeps_the_latest(tmp_path):
    manager = CheckpointManager(tmp_path / "new" / "folder", max_to_keep=2)
    save(manager, 1, 2, 3, 4)
    assert manager.steps() == [3, 4]
    assert sorted(os.listdir(manager.folder)) == ["checkpoint"] + [
        f"model.ckpt-{n}.{e}" for n in (3, 4) for e in ("data-00000-of-00001", "index")
    ]
    assert latest_checkpoint(manager.folder) == manager.latest == manager.path(4)


def test_keeps_the_best_too_also_after_a_restart(tmp_path):
    losses = {1: 0.5, 2: 0.1, 3: 0.4, 4: float("nan"), 5: 0.3, 6: 0.2}
    manager = CheckpointManager(tmp_path, max_to_keep=1, keep_best=2)
    for step in (1, 2, 3, 4):
        manager.save(step, {"w": np.zeros(1)}, metrics={"val_loss": losses[step], "matrix": np.zeros((2, 2))})
    manager.close()
    assert manager.steps() == [2, 3, 4]
    manager = CheckpointManager(tmp_path, max_to_keep=1, keep_best=2)
    for step in (5, 6):
        manager.save(step, {"w": np.zeros(1)}, metrics={"val_loss": losses[step]})
    assert manager.steps() == [2, 6]
    assert manager.best == manager.path(2)
    most = CheckpointManager(tmp_path, monitor="val_loss", mode="max")
    assert most.best == most.path(6)


def test_keeps_one_every_so_many_hours(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(manager_module.time, "time", lambda: now[0])
    manager = CheckpointManager(tmp_path, max_to_keep=1, keep_checkpoint_every_n_hours=1)
    for step in range(1, 10):
        save(manager, step)
        now[0] += 1500  # 25 minutes
    assert manager.steps() == [1, 4, 7, 9]


def test_takes_device_arrays_as_they_are_at_the_call(tmp_path):
    manager = CheckpointManager(tmp_path)
    host, device = np.ones(2), jnp.ones(2)
    started, go = threading.Event(), threading.Event()

    def slow():
        started.set()
        go.wait(10)
        return b"text\0"

    manager.save(1, {"a/host": host, "b/device": device, "c/text": slow})
    assert started.wait(10)
    assert manager.busy
    host[:] = 5
    del device
    go.set()
    tensors = manager.restore().tensors
    np.testing.assert_array_equal(tensors["a/host"], [1, 1])
    np.testing.assert_array_equal(tensors["b/device"], [1, 1])
    assert tensors["c/text"] == b"text\0"


def test_a_damaged_checkpoint_is_told_of_and_the_one_before_is_used(tmp_path):
    manager = CheckpointManager(tmp_path)
    save(manager, 1, 2)
    path = tmp_path / "model.ckpt-2.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))
    with pytest.warns(UserWarning, match=r"model\.ckpt-2.*checksum.*'.*model\.ckpt-1', is used"):
        found = CheckpointManager(tmp_path).restore()
    assert found.step == 1
    save(manager, 2)  # replaces the damaged one
    assert value(manager) == 2


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
def test_a_missing_or_cut_file(tmp_path, ending):
    manager = CheckpointManager(tmp_path)
    save(manager, 1, 2)
    path = tmp_path / f"model.ckpt-2.{ending}"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is used instead"):
        assert value(manager) == 1
    path.unlink()
    with pytest.warns(UserWarning, match="is used instead"):
        assert value(manager) == 1


def test_a_damaged_list_of_checkpoints(tmp_path):
    manager = CheckpointManager(tmp_path)
    save(manager, 9, 10)
    (tmp_path / "checkpoint").write_text("}}}")
    with pytest.warns(UserWarning, match="taken in the order of their steps"):
        assert value(CheckpointManager(tmp_path)) == 10
    (tmp_path / "checkpoint").unlink()
    assert value(CheckpointManager(tmp_path)) == 10


def test_none_is_whole(tmp_path):
    manager = CheckpointManager(tmp_path)
    assert manager.restore() is None
    assert manager.latest is None and manager.best is None
    save(manager, 1)
    (tmp_path / "model.ckpt-1.index").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="None of the checkpoints.*is whole"):
        CheckpointManager(tmp_path).restore()


def test_what_a_killed_process_left_is_cleared_away_but_not_that_of_one_alive(tmp_path):
    save(CheckpointManager(tmp_path), 1)
    dead, alive = 2**22 - 1, os.getppid()
    left = [f"model.ckpt-2.data-00000-of-00001.tmp{dead}", f"checkpoint.tmp{dead}", "model.ckpt-2.data-00000-of-00001"]
    kept = [f"model.ckpt-3.index.tmp{alive}", "notes.txt", "other-3.data-00000-of-00001"]
    for name in left + kept:
        (tmp_path / name).write_bytes(b"x")
    manager = CheckpointManager(tmp_path)
    manager.restore()
    assert all((tmp_path / name).exists() for name in left)  # a reader clears nothing
    save(manager, 5)
    assert not any((tmp_path / name).exists() for name in left)
    assert all((tmp_path / name).exists() for name in kept)


def test_disk_full(tmp_path, monkeypatch):
    manager = CheckpointManager(tmp_path)
    save(manager, 1)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        manager.save(2, {"w": np.zeros(3)})
        with pytest.raises(CheckpointError, match=r"step 2.*No space left.*model\.ckpt-1', is intact"):
            manager.wait()
        manager.check()  # told once
    assert sorted(p.name for p in tmp_path.iterdir() if "tmp" in p.name) == []
    assert value(manager) == 1
    save(manager, 3)
    assert value(manager) == 3


def test_vanished_folder_is_made_anew_or_told_of(tmp_path):
    folder = tmp_path / "run"
    manager = CheckpointManager(folder)
    save(manager, 1)
    shutil.rmtree(folder)
    save(manager, 2)
    assert value(manager) == 2
    shutil.rmtree(folder)
    folder.write_text("a file now")
    warned = CheckpointManager(folder, on_error="warn")
    with pytest.warns(UserWarning, match="could not be written.*There is none before it"):
        save(warned, 3)
    with pytest.raises(CheckpointError, match="step 4"):
        save(manager, 4)


def test_at_most_one_save_is_under_way(tmp_path, monkeypatch):
    running, most = [0], [0]
    original = manager_module.write_checkpoint

    def counted(*args):
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.02)
        original(*args)
        running[0] -= 1

    monkeypatch.setattr(manager_module, "write_checkpoint", counted)
    manager = CheckpointManager(tmp_path)
    save(manager, *range(1, 6))
    assert most[0] == 1
    assert manager.seconds > 0.02


def test_shards_and_further_files(tmp_path):
    manager = CheckpointManager(tmp_path, shard_bytes=100, prefix="weights", asynchronous=False)
    tensors = {f"t{i}": np.full(20, i, "float32") for i in range(5)}
    prefix = manager.save(7, tensors, files={".meta": lambda: b"graph"})
    assert prefix == str(tmp_path / "weights-7")
    reader = load_checkpoint(prefix)
    assert reader.read_file(".meta") == b"graph"
    assert len(list(tmp_path.glob("weights-7.data-*"))) > 2
    np.testing.assert_array_equal(reader.get_tensor("t3"), tensors["t3"])
    manager.delete()
    assert list(tmp_path.iterdir()) == []


def test_leaving_the_scope_waits(tmp_path):
    with CheckpointManager(tmp_path) as manager:
        manager.save(1, {"w": np.ones(3)})
    assert value(CheckpointManager(tmp_path)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folder": 3}, "folder must be a path"),
        ({"max_to_keep": 0}, "max_to_keep"),
        ({"keep_best": -1}, "keep_best"),
        ({"mode": "least"}, "mode must be"),
        ({"on_error": "ignore"}, "on_error must be"),
        ({"prefix": "a/b"}, "prefix must be the start of a file name"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path):
    with pytest.raises((TypeError, ValueError), match=message):
        CheckpointManager(**{"folder": tmp_path, **arguments})
