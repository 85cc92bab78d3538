"""Models of any format, behind one face: named inputs and outputs, a call, a graph."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lamina.core.errors import describe, did_you_mean, listing
from lamina.export.load import READERS, load_frozen
from lamina.export.static import static
from lamina.graph.base import GraphBase
from lamina.graph.dims import unnamed
from lamina.graph.trace import trace
from lamina.models.model import Model, symbols_of_shape
from lamina.models.saving.loading import load_model
from lamina.models.summary import any_batch
from lamina.wire.errors import FileFormatError

Described = dict[str, tuple[Any, np.dtype]]
KINDS = ".keras, .h5, .pb, .onnx, .tflite, the folder of a SavedModel or of StableHLO, or MODULE:FUNCTION"


@dataclass
class Opened:
    """A model of any format.

    Attributes:
        path: where it is.
        format: what it is.
        size: the bytes of its files, None if it is code.
        inputs: shape (None for an unknown size) and dtype by name.
        outputs: the names of the outputs.
        call: takes arrays by name and gives arrays by name.
        make_graph: makes the graph, or says why there is none.
        signatures: the names of its ways in.
        code: the text of a compiled program, where there is no graph.
    """

    path: str
    format: str
    size: int | None
    inputs: Described
    outputs: list[str]
    call: Callable[[Mapping[str, Any]], dict[str, np.ndarray]]
    make_graph: Callable[[], Any]
    signatures: list[str] = field(default_factory=list)
    code: str | None = None

    @cached_property
    def graph(self) -> Any:
        """The graph.

        Raises:
            ValueError: there is none.
        """
        return self.make_graph()


def open_model(path: str, signature: str | None = None, batch: int | None = None) -> Opened:
    """A model by its file, its folder, or a function that makes it.

    Args:
        path: the file or folder; or `MODULE:FUNCTION` or `FILE.py:FUNCTION`, a function without arguments that gives a
            model, a `Graph`, or a pair (function, specs).
        signature: the name of the way in; by default the one that servers take.
        batch: the size of the batch, if it is to be fixed.

    Raises:
        FileNotFoundError: there is nothing.
        FileFormatError: it is no model of a format that is read.
        ValueError: the file is damaged, or holds weights only.
    """
    opened = _open(path, signature)
    if batch is None:
        return opened
    return _of_graph(static(opened.graph, batch, where="--batch"), path, opened.format, opened.size)


def _open(path: str, signature: str | None) -> Opened:
    target = Path(path)
    module, colon, function = path.rpartition(":")
    if colon and function.isidentifier() and not target.exists():
        return _of_graph(_graph_of(_made(module, function), f"'{path}'"), path, "python", None)
    if target.is_file() and target.suffix in (".keras", ".h5", ".hdf5"):
        model = load_model(target, compile=False)
        return _of_graph(_graph_of(model, f"'{path}'"), path, "keras", target.stat().st_size)
    is_folder = target.is_dir() and any((target / name).is_file() for name in ("saved_model.pb", "model.json"))
    if not is_folder and not (target.is_file() and target.suffix in READERS):
        raise _unreadable(path)
    loaded = load_frozen(target)
    names = list(loaded.signatures)
    if signature is not None and signature not in names:
        known = listing(names, "and")
        raise ValueError(f"'{path}' has no signature '{signature}', only {known}.{did_you_mean(signature, names)}")
    fn = loaded.signatures[signature] if signature is not None else loaded.default()
    kind = {".pb": "frozen", ".onnx": "onnx", ".tflite": "tflite"}.get(target.suffix, "saved_model")
    kind = "stablehlo" if is_folder and not (target / "saved_model.pb").is_file() else kind

    def no_graph() -> Any:
        raise ValueError(f"'{path}' holds a compiled program (StableHLO), which runs, but is no graph of layers.")

    return Opened(
        path,
        kind,
        size_of(target),
        dict(fn.inputs),
        list(fn.outputs),
        lambda arrays: fn(**arrays),
        fn.to_graph if hasattr(fn, "to_graph") else no_graph,
        names,
        None if hasattr(fn, "to_graph") else fn.text(),
    )


def size_of(path: Path) -> int:
    """The bytes of a file, those beside it that hold its weights included, or of the files of a folder."""
    if path.is_dir():
        return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    beside = path.with_name(f"{path.name}.data")
    return path.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)


def _unreadable(path: str) -> Exception:
    if not os.path.exists(path) and not os.path.exists(f"{path}.index"):
        return FileNotFoundError(f"there is nothing at '{path}'. A model is one of {KINDS}.")
    if path.endswith(".dlc"):
        return FileFormatError(f"'{path}' is for the vendor's runtime only; lamina info tells its size and entries.")
    if os.path.exists(f"{path}.index") or os.path.isdir(path) or path.endswith((".safetensors", ".index")):
        return FileFormatError(f"'{path}' holds no model. Weights alone are listed by lamina info or inspect.")
    return FileFormatError(f"'{path}' is of no known format. A model is one of {KINDS}.")


def _made(module: str, function: str) -> Any:
    """What a function of a module or of a Python file gives."""
    if module.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(module).stem, module)
        if spec is None or spec.loader is None or not os.path.isfile(module):
            raise FileNotFoundError(f"there is no file '{module}'.")
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    else:
        sys.path.insert(0, os.getcwd())
        try:
            loaded = importlib.import_module(module)
        finally:
            sys.path.remove(os.getcwd())
    if not hasattr(loaded, function):
        raise ValueError(f"'{module}' has no function '{function}'.{did_you_mean(function, dir(loaded))}")
    return getattr(loaded, function)()


def _graph_of(made: Any, label: str) -> Any:
    if isinstance(made, GraphBase):
        return made
    if isinstance(made, tuple) and len(made) == 2:
        return trace(made[0], *made[1])
    if not isinstance(made, Model):
        raise ValueError(f"{label} must give a model, a Graph or a pair (function, specs), got {describe(made)}.")
    if made.network is not None:
        return trace(made)
    if not made.built or not made._build_shapes:
        raise ValueError(f"{label} gives a model that has not been built. Call it on data, or make it from Input.")
    return trace(made, *(symbols_of_shape(any_batch(s)) for s in made._build_shapes.values()))


def _of_graph(graph: Any, path: str, format: str, size: int | None) -> Opened:
    def call(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
        out = graph.run(list(graph.outputs), dict(arrays))
        return dict(zip(graph.output_names, map(np.asarray, out), strict=True))

    inputs = {n: (unnamed(v.shape), v.dtype) for n, v in zip(graph.input_names, graph.inputs, strict=True)}
    return Opened(path, format, size, inputs, list(graph.output_names), call, lambda: graph)
