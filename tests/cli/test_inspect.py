"""`lamina inspect` on files of every kind."""

import json
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest

from lamina.checkpoint import (
    Partition,
    merge_entries,
    write_checkpoint,
    write_checkpoint_state,
    write_index,
    write_shard,
)
from lamina.cli.main import main
from lamina.wire.safetensors import write_safetensors

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def folder(tmp_path):
    words = np.array([b"a", b"\xff"], object)
    tensors = {"dense/kernel": KERNEL, "half": np.ones(4, ml_dtypes.bfloat16), "words": words}
    write_checkpoint(tmp_path / "m-1", tensors, files={".meta": b"graph"})
    write_checkpoint_state(tmp_path, tmp_path / "m-1", [tmp_path / "m-1"])
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["dense/kernel"] = KERNEL
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(tmp_path / "w.h5", "model.weights.h5")
    with open(tmp_path / "w.safetensors", "wb") as file:
        write_safetensors(file, {"dense/kernel": KERNEL})
    return tmp_path


def inspect(capsys, *arguments):
    code = main(["inspect", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("name", ["", "m-1", "m-1.index", "m-1.meta", "w.h5", "m.keras", "w.safetensors"])
def test_every_kind_of_file_is_listed(folder, capsys, name):
    code, out, _ = inspect(capsys, folder / name, "--verify")
    assert code == 0 and "whole: all" in out
    (line,) = [line for line in out.splitlines() if "dense/kernel" in line]
    assert line.split() == ["dense/kernel", "(2,", "3)", "float32", "24"]
    code, out, _ = inspect(capsys, folder / name, "--json", "--verify")
    listed = json.loads(out)
    assert {"name": "dense/kernel", "shape": [2, 3], "dtype": "float32", "bytes": 24} in listed["tensors"]
    assert listed["problems"] == [] and code == 0
    code, out, _ = inspect(capsys, folder / name, "--tensor", "dense/kernel", "--json")
    assert json.loads(out)["value"] == KERNEL.tolist()
    code, out, _ = inspect(capsys, folder / name, "--tensor", "dense/kernel")
    assert code == 0 and "[3. 4. 5.]" in out


def test_a_checkpoint_in_full(folder, capsys):
    _, out, _ = inspect(capsys, folder)
    lines = out.splitlines()
    assert lines[0].endswith("m-1: checkpoint (tensor bundle)")
    size = (folder / "m-1.data-00000-of-00001").stat().st_size
    assert lines[-2] == f"4 tensors, 13 values, {size:,} bytes"  # the fourth holds the checksum of .meta
    assert "m-1.meta (5 bytes)" in lines[-1]
    assert json.loads(inspect(capsys, folder, "--tensor", "words", "--json")[1])["value"] == ["a", "\\xff"]
    assert json.loads(inspect(capsys, folder, "--tensor", "half", "--json")[1])["value"] == [1, 1, 1, 1]


def test_parts_are_one_tensor(tmp_path, capsys):
    first = write_shard(tmp_path / "m", {"table": Partition((4, 3), (0, 0), KERNEL)}, 0, 2)
    second = write_shard(tmp_path / "m", {"table": Partition((4, 3), (2, 0), KERNEL)}, 1, 2)
    write_index(tmp_path / "m", merge_entries(first, second), 2)
    assert "table  (4, 3)  float32     48" in inspect(capsys, tmp_path / "m", "--verify")[1]
    write_index(tmp_path / "m", first, 2)
    code, _, err = inspect(capsys, tmp_path / "m")
    assert code == 1 and "do not cover" in err


def test_names_do_not_steer_the_terminal(tmp_path, capsys):
    write_checkpoint(tmp_path / "m", {"a\x1b[31mb": np.ones(1)})
    assert "'a\\x1b[31mb'" in inspect(capsys, tmp_path / "m")[1]


def test_damage_is_told_by_the_exit_code(folder, capsys):
    path = folder / "m-1.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert inspect(capsys, folder)[0] == 0
    code, out, _ = inspect(capsys, folder, "--verify")
    assert code == 1 and "DAMAGED" in out and "fit their checksum" in out and "whole" not in out
    code, out, _ = inspect(capsys, folder, "--verify", "--json")
    assert code == 1 and len(json.loads(out)["problems"]) == 1
    code, _, err = inspect(capsys, folder, "--tensor", "words")
    assert code == 1 and "fit their checksum" in err
    (folder / "m-1.index").write_bytes(b"")
    code, _, err = inspect(capsys, folder)
    assert code == 1 and "m-1.index" in err


def test_what_cannot_be_inspected(folder, capsys):
    (folder / "notes.txt").write_text("hello")
    code, _, err = inspect(capsys, folder / "notes.txt")
    assert code == 2 and "notes.txt' is no checkpoint, .keras archive" in err
    code, _, err = inspect(capsys, folder / "nowhere")
    assert code == 2 and "'" in err and "is missing" in err
    code, _, err = inspect(capsys, folder, "--tensor", "dense/kernal")
    assert code == 2 and "Did you mean 'dense/kernel'" in err
    (folder / "w.safetensors").write_bytes(b"\xff" * 20)
    assert inspect(capsys, folder / "w.safetensors")[0] == 2
    (folder / "m.keras").write_bytes((folder / "m.keras").read_bytes()[:-30])
    assert inspect(capsys, folder / "m.keras")[0] == 2
