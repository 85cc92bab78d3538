"""`lamina run`: runs a model on data from files, or on random inputs, and writes or describes what it gives.

Exit codes: 0, 2 for wrong usage or a bad file.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina.checkpoint.files import replacing
from lamina.cli.arrays import add_data_options, inputs_of
from lamina.cli.models import KINDS, Opened, open_model
from lamina.cli.output import print_json, shown, table
from lamina.graph.dims import shape_text

EXAMPLE = "lamina run model.tflite --data images.npz --output predictions.npz"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", help=KINDS)
    add_data_options(parser)
    parser.add_argument("--batch", type=int, default=1, help="how many random samples (default 1)")
    parser.add_argument("--output", "-o", metavar="FILE.npz", help="where to write the outputs")
    parser.add_argument("--fetch", action="append", metavar="NAME", help="a tensor or layer inside (may be repeated)")
    parser.add_argument("--values", action="store_true", help="print the values too")
    parser.add_argument("--signature", help="which way in, where the model has several")


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    if options.output is not None and not options.output.endswith(".npz"):
        raise ValueError(f"--output must end in .npz, got '{options.output}'.")
    opened = open_model(options.model, options.signature)
    inputs = inputs_of(options, opened.inputs, options.batch)
    outputs = _fetched(opened, options.fetch, inputs) if options.fetch else opened.call(inputs)
    if options.output is not None:
        save_arrays(options.output, outputs)
    found = {name: figures(array) for name, array in outputs.items()}
    if options.json:
        more = {n: {**found[n], "values": np.asarray(a)} for n, a in outputs.items()} if options.values else found
        print_json({"model": options.model, "outputs": more, "written": options.output})
        return 0
    head = ["output", "shape", "dtype", "min", "max", "mean"]
    rows = [
        [n, shape_text(f["shape"]), f["dtype"], *(_text(f.get(k)) for k in head[3:])] for n, f in found.items()
    ]  # fmt: skip
    print(table(head, rows, [3, 4, 5]))
    for name, array in outputs.items() if options.values else ():
        print(f"{shown(name)} =\n{array}")
    if options.output is not None:
        print(f"written to {options.output}")
    return 0


def _fetched(opened: Opened, names: list[str], inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    out = opened.graph.run(list(names), inputs)
    return dict(zip(names, map(np.asarray, out), strict=True))


def save_arrays(path: str, arrays: Mapping[str, Any]) -> None:
    """Writes an .npz file; names are free, as those of `numpy.savez` are not, and bfloat16 becomes float32."""
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            array = np.asarray(array)
            array = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
            array = array.astype(np.bytes_) if array.dtype == object else array
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def figures(array: Any) -> dict[str, Any]:
    """Shape, dtype, least, greatest and mean of an array."""
    array = np.asarray(array)
    known: dict[str, Any] = {"shape": list(array.shape), "dtype": array.dtype.name}
    if array.size and (array.dtype.kind in "fiub" or array.dtype.name == "bfloat16"):
        wide = array.astype(np.float64)
        known |= {"min": float(wide.min()), "max": float(wide.max()), "mean": float(wide.mean())}
    return known


def _text(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"
