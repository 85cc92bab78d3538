"""TensorFlow as the oracle of checkpoints: it reads ours, we read its.

    python tests/oracles/tensorflow_checkpoints.py --tf-python VENV/bin/python

VENV holds TensorFlow (tensorflow-cpu 2.21), this interpreter lamina. The two exchange checkpoints and the values in
them through a folder. The exit status is 1 if a value, name, shape or dtype differs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import exchange
import ml_dtypes
import numpy as np

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
from lamina.wire.tensor import DTYPES, STRING

TENSORFLOW_SIDE = Path(__file__).parent / "tensorflow_side.py"


def values_of_all_dtypes() -> dict[str, np.ndarray]:
    """Arrays of every dtype that the format has, of three shapes each."""
    rng = np.random.default_rng(0)
    out: dict[str, np.ndarray] = {}
    for number, dtype in DTYPES.items():
        for label, shape in (("matrix", (3, 5)), ("scalar", ()), ("empty", (0, 4))):
            name = f"{'string' if number == STRING else dtype.name}/{label}"
            if number == STRING:
                out[name] = np.empty(shape, object)
                out[name][...] = (
                    np.array([b"x" * n for n in (0, 1, 2, 127, 128)], object)[: shape[-1]] if shape else b"1"
                )
            elif dtype.kind == "c":
                out[name] = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
            elif dtype.kind in "iu" and dtype.itemsize > 1:
                info = np.iinfo(dtype)
                out[name] = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
            else:
                out[name] = rng.integers(0, 2, shape).astype(dtype)
    return out


def write_ours(folder: Path) -> None:
    """Checkpoints of lamina for TensorFlow to read."""
    dtypes = values_of_all_dtypes()
    write_checkpoint(folder / "dtypes", dtypes)
    exchange.store(folder / "dtypes", dtypes)

    write_checkpoint(folder / "shards", dtypes, shard_bytes=64)
    exchange.store(folder / "shards", dtypes)

    many = {f"layer_{i:05d}/{'k' * (i % 90)}/kernel": np.full((i % 3, 2), i, np.float32) for i in range(5000)}
    write_checkpoint(folder / "many", many, shard_bytes=20_000)
    exchange.store(folder / "many", many)

    rng = np.random.default_rng(1)
    table, column = rng.random((10, 4), np.float32), rng.integers(0, 9, (6, 3, 2))
    shards = [
        {"table": Partition((10, 4), (0, 0), table[:3]), "step": np.int64(7)},
        {"table": Partition((10, 4), (3, 0), table[3:4]), "column": Partition((6, 3, 2), (0, 0, 0), column[:, :2])},
        {"table": Partition((10, 4), (4, 0), table[4:]), "column": Partition((6, 3, 2), (0, 2, 0), column[:, 2:])},
    ]
    entries = [write_shard(folder / "parts", shard, i, len(shards)) for i, shard in enumerate(shards)]
    write_index(folder / "parts", merge_entries(*entries), len(shards))
    exchange.store(folder / "parts", {"table": table, "column": column, "step": np.asarray(7)})

    weights = {
        "dense/kernel": rng.random((3, 4), np.float32),
        "dense/bias": rng.random(4, np.float32),
        "moments/half": rng.random(5).astype(ml_dtypes.bfloat16),
        "step": np.asarray(12, np.int64),
        "vocabulary": np.array([b"a", b"bc"], object),
    }
    meta = meta_graph_bytes({name: (value.dtype, value.shape) for name, value in weights.items()})
    for step in (10, 12):
        write_checkpoint(folder / f"graph-{step}", weights, files={".meta": meta})
        write_checkpoint(folder / f"graph-{step}", weights, files={".meta": meta})  # in the place of the one before
    exchange.store(folder / "graph-12", weights)
    write_checkpoint_state(folder, folder / "graph-12", [folder / "graph-10", folder / "graph-12"])


def read_theirs(folder: Path) -> list[str]:
    """What lamina reads otherwise than TensorFlow wrote."""
    wrong = []
    for prefix, values in exchange.stored(folder):
        reader = load_checkpoint(prefix)
        wrong += [f"{prefix.name}: {problem}" for problem in verify_checkpoint(prefix)]
        found = {name for name in reader.get_variable_to_shape_map() if name != "_CHECKPOINTABLE_OBJECT_GRAPH"}
        if found != set(values):
            wrong.append(f"{prefix.name}: names {sorted(found ^ set(values))[:5]} differ")
        for name in found & set(values):
            wrong += exchange.differences(
                f"{prefix.name}: {name}", exchange.as_array(reader.get_tensor(name)), values[name]
            )
        print(f"lamina read {prefix.name}: {len(found)} tensors")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tf-python", required=True, help="an interpreter that has TensorFlow")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = Path(name) / "ours", Path(name) / "theirs"
        ours.mkdir(), theirs.mkdir()
        write_ours(ours)
        result = subprocess.run([options.tf_python, str(TENSORFLOW_SIDE), str(ours), str(theirs)], check=False)
        wrong = read_theirs(theirs) if result.returncode in (0, 1) else ["TensorFlow's side did not end"]
    for line in wrong:
        print("WRONG", line)
    failed = bool(wrong) or result.returncode != 0
    print("checkpoints and TensorFlow:", "they differ" if failed else "all values equal, both ways")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
