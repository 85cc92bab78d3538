"""Writes graphs as a folder of StableHLO modules with their weights in a checkpoint, and reads it back.

Weights are arguments of a module: it stays small, loads in milliseconds, and one copy serves all signatures.

    model.json                 signatures: names, shapes and dtypes of inputs and outputs, the weights' names, and the
                               checksum (CRC-32C) of the module
    SIGNATURE.stablehlo        the module, as jax.export serialises it
    weights.index, .data-...   the weights, a checkpoint
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from lamina.checkpoint import load_checkpoint, write_checkpoint
from lamina.core.errors import listing
from lamina.export.report import ExportReport
from lamina.graph.base import GraphBase
from lamina.graph.dims import export_specs
from lamina.graph.expand import instructions
from lamina.graph.interpret import evaluate
from lamina.wire.crc32c import crc32c
from lamina.wire.errors import DataLossError

VERSION = 1
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def write_stablehlo(
    graphs: Mapping[str, GraphBase], path: str | os.PathLike, platforms: tuple[str, ...] | None = None
) -> ExportReport:
    """Writes graphs as StableHLO, a module each.

    Args:
        graphs: the graphs by the names of their signatures.
        path: the folder.
        platforms: what the modules may run on, such as `("cpu", "cuda")`; None for all of cpu, cuda, rocm and tpu.
    """
    weights: dict[str, np.ndarray] = {}
    modules: dict[str, bytes] = {}
    described: dict[str, Any] = {}
    ops: Counter[str] = Counter()
    for name, graph in graphs.items():
        values = [v for v, a in graph.constants.items() if v in graph.variables or np.size(a) > 16]
        keys = [_key(weights, graph.variables.get(v, v.name), np.asarray(graph.constants[v])) for v in values]
        exported = _exported(_runner(graph, values), [values, graph.inputs], platforms or PLATFORMS)
        modules[name] = bytes(exported.serialize())
        described[name] = {
            "inputs": [_described(n, v) for n, v in zip(graph.input_names, graph.inputs, strict=True)],
            "outputs": [_described(n, v) for n, v in zip(graph.output_names, graph.outputs, strict=True)],
            "weights": keys,
            "crc32c": crc32c(modules[name]),
        }
        ops.update(i.label for i in instructions(graph))
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint(folder / "weights", weights)
    for name, data in modules.items():
        (folder / f"{name}.stablehlo").write_bytes(data)
    text = json.dumps({"format": "lamina.stablehlo", "version": VERSION, "signatures": described}, indent=1)
    (folder / "model.json").write_text(text, encoding="utf-8")
    return ExportReport(
        format="stablehlo",
        path=os.fspath(path),
        bytes=sum(f.stat().st_size for f in folder.iterdir()),
        parameters=sum(a.size for a in weights.values()),
        precision=Counter(a.dtype.name for a in weights.values()).most_common(1)[0][0] if weights else "float32",
        ops=ops,
        signatures={
            n: ([i["name"] for i in d["inputs"]], [o["name"] for o in d["outputs"]]) for n, d in described.items()
        },
    )


def _exported(run: Callable[..., Any], groups: list[Any], platforms: tuple[str, ...]) -> Any:
    """The exported function; batches of 1 are left out only where the code cannot do without knowing."""
    counts = [len(g) for g in groups]

    def attempt(constrained: bool) -> Any:
        flat = iter(export_specs([v for g in groups for v in g], constrained))
        specs = [[next(flat) for _ in range(n)] for n in counts]
        return export.export(jax.jit(run), platforms=platforms)(*specs)

    try:
        return attempt(False)
    except jax.errors.InconclusiveDimensionOperation:
        return attempt(True)


def _runner(graph: GraphBase, values: list[Any]) -> Callable[..., Any]:
    def run(weights: Any, inputs: Any) -> list[Any]:
        fed = {**dict(zip(values, weights, strict=True)), **dict(zip(graph.inputs, inputs, strict=True))}
        return evaluate(graph, graph.outputs, fed)

    return run


def _key(weights: dict[str, np.ndarray], name: str, array: np.ndarray) -> str:
    """The name of a weight in the checkpoint; one that several signatures share is stored once."""
    key, n = name, 0
    while key in weights and not (weights[key].dtype == array.dtype and np.array_equal(weights[key], array)):
        n += 1
        key = f"{name}_{n}"
    weights[key] = array
    return key


def _described(name: str, value: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(value.shape), "dtype": value.dtype.name}


class StableHLOFunction:
    """A signature of a StableHLO folder: a function of named arrays to a dict."""

    def __init__(self, name: str, exported: Any, weights: list[Any], described: dict[str, Any]):
        self.name, self._weights = name, weights
        self.inputs = {
            i["name"]: (tuple(d if isinstance(d, int) else None for d in i["shape"]), np.dtype(i["dtype"]))
            for i in described["inputs"]
        }
        self.outputs = [o["name"] for o in described["outputs"]]
        self._exported = exported
        self._call = jax.jit(exported.call)

    def __repr__(self) -> str:
        return f"<StableHLOFunction '{self.name}': {listing(self.inputs, 'and')} -> {listing(self.outputs, 'and')}>"

    def text(self) -> str:
        """The program as StableHLO text."""
        return self._exported.mlir_module()

    def __call__(self, **arrays: Any) -> dict[str, Any]:
        """The outputs by name, for arrays by name."""
        if set(arrays) != set(self.inputs):
            raise TypeError(f"{self!r}: expected the inputs {sorted(self.inputs)}, got {sorted(arrays)}.")
        given = [np.asarray(arrays[k], dtype) for k, (_, dtype) in self.inputs.items()]
        return dict(zip(self.outputs, map(np.asarray, self._call(self._weights, given)), strict=True))


def load_stablehlo(path: str | os.PathLike) -> dict[str, StableHLOFunction]:
    """The signatures of a folder that `write_stablehlo` wrote, as functions.

    Raises:
        DataLossError: a file is missing or damaged.
    """
    folder = Path(path)
    try:
        described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        reader = load_checkpoint(folder / "weights")
        found = {}
        for name, entry in described["signatures"].items():
            exported = _module(folder / f"{name}.stablehlo", entry["crc32c"])
            weights = [jax.numpy.asarray(reader.get_tensor(key)) for key in entry["weights"]]
            found[name] = StableHLOFunction(name, exported, weights, entry)
        return found
    except DataLossError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, FileNotFoundError) as error:
        raise DataLossError(f"'{path}' is no folder of StableHLO modules: {error!r}.") from error


def _module(file: Path, checksum: int) -> Any:
    data = file.read_bytes()
    if crc32c(data) != checksum:
        raise DataLossError(f"'{file}' does not fit its checksum in model.json: it is damaged. Export the model anew.")
    try:
        return export.deserialize(bytearray(data))
    except Exception as error:  # whatever jax stumbles over in bytes that are none of its own
        raise DataLossError(f"'{file}' is no module that jax can read: {error!r}.") from error
