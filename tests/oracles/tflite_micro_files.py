"""TFLite Micro's own interpreter as the oracle of the C++ sources that lamina writes.

    python tests/oracles/tflite_micro_files.py --python VENV/bin/python

VENV holds numpy and tflite-micro, this interpreter lamina. Models of many kinds are written in float32 and int8; the
array of the .cc file must be the bytes of the TFLite file, the sources must compile where there is a C++ compiler, and
the interpreter must compute what jax does: in float32 to 1e-5 of the largest output, in int8 to a few steps. Prints a
table with the errors, the bytes of model and working memory, and the operators. What Micro cannot run must be reported
before anything is written. The exit status is 1 if something fails.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tflite_graphs import MODELS, randomise, samples

import lamina
from lamina import export
from lamina.export import ExportError
from lamina.export.micro.arena import MicroError, measure
from lamina.export.micro.describe import describe_model
from lamina.export.micro.source import parse_source
from lamina.graph import trace

LIMITS = {"float32": 1e-5, "int8": 0.25}
UNABLE = {"raw_jnp": {"TOPK_V2"}}
"""Models that Micro cannot run, with the operators that it lacks."""


def stored(array: np.ndarray, port: Any) -> np.ndarray:
    """Real values as a port stores them."""
    if port.scale is None:
        return array.astype(port.dtype)
    limits = np.iinfo(port.dtype)
    return np.clip(np.round(array / port.scale) + port.zero_point, limits.min, limits.max).astype(port.dtype)


def real(array: np.ndarray, port: Any) -> np.ndarray:
    """The values that a port's numbers stand for."""
    return array if port.scale is None else ((array.astype(np.float64) - port.zero_point) * port.scale)


def check(name: str, precision: str, folder: Path, python: str, compiler: str | None) -> str:
    """Writes and runs a model; returns a cell of the table.

    Raises:
        ValueError: something is wrong.
    """
    rng = np.random.default_rng(0)
    lamina.utils.set_random_seed(0)
    net = MODELS[name]()
    randomise(net, rng)
    graph = trace(net)
    data = [samples(net, 8, rng) for _ in range(4)]
    given = samples(net, 1, rng)
    options: dict[str, Any] = {"precision": precision}
    if precision == "int8":
        floats = all(v.dtype == np.float32 for v in graph.outputs)
        options |= {"representative_data": [*data, given], "input_type": "int8"}
        options |= {"output_type": "int8"} if floats else {}
    place = folder / f"{name}_{precision}.cc"
    try:
        report = export.save(net, None, place, format="tflite_micro", arena_size=1, **options)
    except ExportError as error:
        missing = {gap.op for gap in error.gaps}
        if place.exists() or missing != UNABLE.get(name):
            raise ValueError(str(error)) from error
        return f"no {', '.join(sorted(missing))}"
    model = parse_source(place.read_text())
    if len(model) != report.bytes:
        raise ValueError("the array is not the file")
    if compiler is not None:
        command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-c", place.name, "-o", f"{place.stem}.o"]
        subprocess.run(command, cwd=folder, check=True)
    found = describe_model(model)
    try:
        arena, outputs = measure(model, [stored(given[p.name], p) for p in found.inputs], python)
    except MicroError as error:
        raise ValueError(str(error)) from error
    wanted = dict(zip(graph.output_names, jax.tree.leaves(graph(*given.values())), strict=True))
    worst = 0.0
    for port, array in zip(found.outputs, outputs, strict=True):
        want, got = np.asarray(wanted[port.name], np.float64), real(array, port)
        if got.shape != want.shape:
            raise ValueError(f"'{port.name}' has shape {got.shape}, not {want.shape}")
        worst = max(worst, float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-3)))
    if not worst <= LIMITS[precision]:
        raise ValueError(f"error {worst:.1e}, allowed {LIMITS[precision]:.0e}")
    return f"{worst:.1e} {len(model):>9,} {arena:>8,} {len(report.ops):>3}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="an interpreter with tflite-micro")
    parser.add_argument("--only", nargs="*", default=[], help="names of models")
    args = parser.parse_args()
    compiler, wrong, ran = shutil.which("g++") or shutil.which("c++"), [], 0
    titles = "".join(f"{p + ': error, bytes, arena, ops':>34}" for p in LIMITS)
    print(f"{'model':<18}{titles}")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only or MODELS:
            cells = []
            for precision in LIMITS:
                try:
                    cells.append(check(name, precision, Path(folder), args.python, compiler))
                    ran += 1
                except (ValueError, subprocess.CalledProcessError) as error:
                    cells.append("failed")
                    wrong.append(f"{name} {precision}: {error}")
            print(f"{name:<18}" + "".join(f"{cell:>34}" for cell in cells))
    print(f"{ran} run, {'compiled' if compiler else 'not compiled: there is no C++ compiler'}; {len(wrong)} failed")
    print("\n".join(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
