"""A folder with all that the vendor's own tools need to make a .dlc file, to quantise it, and to check it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lamina.core.checks import check_int
from lamina.export.onnx.tensors import onnx_package
from lamina.export.onnx.writer import write_onnx
from lamina.export.qualcomm.commands import readme, script
from lamina.export.qualcomm.encodings import encodings
from lamina.export.qualcomm.samples import sample_feeds
from lamina.export.report import ExportReport
from lamina.export.static import rows, static
from lamina.graph.base import GraphBase

_WHERE = "export to dlc_kit"
OWNED = ("model.onnx", "model.onnx.data", "encodings.json", "input_list.txt", "kit.json", "README.md", "convert.sh",
         "inputs", "expected")  # fmt: skip
"""What a kit consists of: an older one is replaced."""


def write_kit(
    graphs: Mapping[str, GraphBase],
    path: str | os.PathLike,
    representative_data: Any = None,
    batch_size: int = 1,
    sizes: Mapping[str, int] | None = None,
    samples: int = 16,
    opset: int = 17,
) -> ExportReport:
    """Writes a folder for the vendor's own tools; none of the vendor's packages is needed.

    It holds `model.onnx` (floats, all sizes known), `encodings.json` (the ranges of all tensors, where there is
    representative data), `input_list.txt` with raw files of `inputs/`, `expected/` with the outputs for them,
    `kit.json` with names, shapes and dtypes, and the commands in `README.md` and `convert.sh`.

    Args:
        graphs: one graph by the name of its signature.
        path: the folder.
        representative_data: batches like those that the model will see; see `lamina.export.calibrate.calibrate`. All of
            them are used for the encodings, the first `samples` for the raw files. Without it, the raw files are
            random, and there are no encodings.
        batch_size: the size of the batch, where it was left open. The vendor's quantiser takes 1.
        sizes: other sizes of inputs that were left open, by name.
        samples: how many inputs are written.
        opset: the version of ONNX's op set.

    Raises:
        ExportError: ops cannot be written.
        ValueError: an argument is wrong.
        ImportError: the package onnx is missing.
    """
    check_int(_WHERE, "samples", samples, 1)
    if len(graphs) != 1:
        raise ValueError(f"{_WHERE}: a kit holds one signature, got {sorted(graphs)}. Write each to its own folder.")
    onnx = onnx_package(_WHERE)
    ((signature, graph),) = graphs.items()
    fixed = static(graph, batch_size, sizes, _WHERE)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{path.name}.tmp", dir=path.parent))
    try:
        written = write_onnx({signature: fixed}, work / "model.onnx", opset=opset)
        names, outputs = written.signatures[signature]
        feeds = sample_feeds(graph, fixed, representative_data, samples, _WHERE)
        _write_arrays(work, fixed, names, outputs, feeds)
        if representative_data is not None:
            model = onnx.load(str(work / "model.onnx"))
            batches = (dict(zip(names, f.values(), strict=True)) for f in rows(graph, fixed, representative_data))
            (work / "encodings.json").write_text(json.dumps(encodings(model, batches), indent=1))
        kit = {
            "signature": signature,
            "inputs": [_port(n, v) for n, v in zip(names, fixed.inputs, strict=True)],
            "outputs": [_port(n, v) for n, v in zip(outputs, fixed.outputs, strict=True)],
            "samples": len(feeds),
            "quantised": representative_data is not None,
        }
        (work / "kit.json").write_text(json.dumps(kit, indent=1))
        (work / "README.md").write_text(readme(kit))
        (work / "convert.sh").write_text(script(kit))
        size = sum(f.stat().st_size for f in work.rglob("*") if f.is_file())
        _replace(work, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return ExportReport(
        "dlc_kit",
        os.fspath(path),
        size,
        written.parameters,
        written.precision,
        Counter(written.ops),
        written.signatures,
        written.fallbacks,
    )


def _port(name: str, value: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(value.shape), "dtype": value.dtype.name, "file": file_name(name)}


def file_name(name: str) -> str:
    """The name of the raw file of a tensor.

    Example:
        >>> file_name("block/out:0")
        'block_out_0.raw'
    """
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name) + ".raw"


def _write_arrays(work: Path, graph: Any, names: list[str], outputs: list[str], feeds: list[Any]) -> None:
    """Raw files of inputs and outputs, and the list that names the inputs, a line for each run."""
    lines = []
    for number, given in enumerate(feeds):
        arrays = list(given.values())
        here, there = work / "inputs" / str(number), work / "expected" / f"Result_{number}"
        here.mkdir(parents=True)
        there.mkdir(parents=True)
        parts = []
        for name, array in zip(names, arrays, strict=True):
            place = here / file_name(name)
            place.write_bytes(np.ascontiguousarray(array).tobytes())
            parts.append(f"{name}:={place.relative_to(work).as_posix()}")
        lines.append(" ".join(parts))
        for name, array in zip(outputs, jax.tree.leaves(graph(*arrays)), strict=True):
            (there / file_name(name)).write_bytes(np.ascontiguousarray(array).tobytes())
    (work / "input_list.txt").write_text("\n".join(lines) + "\n")


def _replace(work: Path, path: Path) -> None:
    """Moves a finished kit to its place; of an older one nothing stays."""
    if not path.exists():
        os.replace(work, path)
        return
    for name in OWNED:
        old = path / name
        if old.is_dir():
            shutil.rmtree(old)
        elif old.exists():
            old.unlink()
    for new in work.iterdir():
        os.replace(new, path / new.name)
