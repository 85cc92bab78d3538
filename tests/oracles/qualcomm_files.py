"""Qualcomm's provider for ONNX Runtime and its simulator as the oracle of .dlc files.

    VENV/bin/python tests/oracles/qualcomm_files.py [--only NAME ...] [--folder FOLDER]

VENV holds lamina with its extra `qualcomm`, and scikit-learn. Models of many kinds are written in floats and in
integers: each must give one .dlc file with the entries of such a file, and the same graph, run on the simulator of the
processor, what jax computes, up to the rounding of float16 or of integers. Ops that the provider refuses must be named
with their layers, and no file be written. Prints a table with the errors, sizes and ops. The exit status is 1 if
something fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from tflite_graphs import MODELS, randomise, samples

import lamina
from lamina import Sequential, export, layers
from lamina.export import ExportError

PRECISIONS = ("float32", "float16", "int8", "int16x8")
ENTRIES = {"model", "model.params", "model.params.bin"}
"""What every .dlc file holds, beside its version and history."""
UNABLE = {("embedding", "int16x8"): "the simulator's outputs differ"}
"""(model, precision) that cannot be written or run, with a part of what must be said. ONNX Runtime's own processor
computes the same file as jax does; on the simulator a softmax of 16 bits is off where its range is small."""
SIMULATOR = "simulator: largest error"


def check(name: str, precision: str, folder: Path) -> str:
    """Writes a model; returns a cell of the table.

    Raises:
        ValueError: something is wrong.
    """
    rng = np.random.default_rng(0)
    lamina.utils.set_random_seed(0)
    net = MODELS[name]()
    randomise(net, rng)
    data = [samples(net, 1, rng) for _ in range(16)]
    place = folder / f"{name}_{precision}.dlc"
    begin = time.perf_counter()
    reason = UNABLE.get((name, precision))
    try:
        report = export.save(net, None, place, format="dlc", precision=precision, representative_data=data)
    except ExportError as error:
        if reason is None or reason not in str(error) or place.exists():
            raise ValueError(str(error)) from error
        return "refused"
    entries = {entry.filename for entry in zipfile.ZipFile(place).infolist()}
    if not entries >= ENTRIES or not any(entry.startswith("dlc.metadata") for entry in entries):
        raise ValueError(f"the file holds {sorted(entries)}")
    if place.stat().st_size != report.bytes or not report.ops:
        raise ValueError("the report is not of the file")
    if SIMULATOR not in report.measured:
        said = report.measured["simulator"]
        if reason is None or reason not in said:
            raise ValueError(said)
        return f"not run {report.bytes:>9,} {sum(report.ops.values()):>4}"
    wrong = [how for _, op, how in report.fallbacks if op == "model"]
    if wrong and (reason is None or reason not in wrong[0]):
        raise ValueError(wrong[0])
    seconds = time.perf_counter() - begin
    return f"{report.measured[SIMULATOR]:.1e} {report.bytes:>9,} {sum(report.ops.values()):>4} {seconds:4.1f} s"


class Hyperbolic(layers.Layer):
    """An op that the provider has not."""

    def call(self, x: Any) -> Any:
        return jnp.sinh(x)


def refusals(folder: Path) -> list[str]:
    """What is wrong with how refused ops are reported."""
    net = Sequential([layers.Input((4,)), layers.Dense(3), Hyperbolic(name="curve"), layers.Dense(2)])
    try:
        net.export(folder / "refused.dlc", format="dlc")
    except ExportError as error:
        if [(gap.op, gap.path) for gap in error.gaps] == [("Sinh", "curve")] and not (folder / "refused.dlc").exists():
            return []
        return [f"refused ops are reported as {error}"]
    return ["a model with Sinh was written"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="names of models")
    parser.add_argument("--precisions", nargs="*", default=PRECISIONS, help="which precisions")
    parser.add_argument("--folder", type=Path, help="where the files stay; by default a folder that is removed")
    args = parser.parse_args()
    wrong, ran = [], 0
    print(f"{'model':<18}" + "".join(f"{p + ': error, bytes, ops, time':>34}" for p in args.precisions))
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in args.only or MODELS:
            cells = []
            for precision in args.precisions:
                try:
                    cells.append(check(name, precision, folder))
                    ran += 1
                except ValueError as error:
                    cells.append("failed")
                    wrong.append(f"{name} {precision}: {error}")
            print(f"{name:<18}" + "".join(f"{cell:>34}" for cell in cells), flush=True)
        wrong += refusals(folder)
    print(f"{ran} written; {len(wrong)} failed")
    print("\n".join(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
