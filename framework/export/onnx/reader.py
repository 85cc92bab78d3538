"""Reads ONNX files, written by lamina or by others, as functions that run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from lamina.core.errors import did_you_mean
from lamina.export.onnx.program import Program
from lamina.export.onnx.tensors import DTYPES, ExternalFiles, onnx_package
from lamina.export.tensorflow.reader import DEFAULT, Loaded, LoadedFunction
from lamina.graph.base import GraphBase
from lamina.graph.dims import BATCH
from lamina.wire.errors import DataLossError, FileFormatError


class OnnxFunction(LoadedFunction):
    """An ONNX model as a function of named arrays.

    Attributes:
        sizes: for each input its sizes, those that are not known by name: equal names are equal sizes.
    """

    def __init__(self, program: Program, inputs: Any, outputs: Any, sizes: dict[str, tuple[Any, ...] | None]):
        super().__init__(DEFAULT, program, inputs, outputs)  # type: ignore[arg-type]  # has what it asks of one
        self.sizes = sizes

    def to_graph(self, **shapes: Any) -> GraphBase:
        """The model as a `Graph`, which other formats can be written from; see `LoadedFunction.to_graph`."""
        return super().to_graph(**{**{k: v for k, v in self.sizes.items() if v is not None}, **shapes})


def load_onnx(
    path: str | os.PathLike, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> Loaded:
    """An ONNX file as a function that our executor runs.

    Args:
        path: the file.
        inputs: the inputs, in the order of the arguments; by default that of the file.
        outputs: the names of the tensors that are wanted; by default the outputs.

    Raises:
        DataLossError: the file, or one with its weights, is damaged.
        FileFormatError: it refers to files outside of its folder, or to a dtype that arrays have not.
        ValueError: an op cannot be run; the message lists all of them.
        ImportError: the package onnx is not installed.

    Example:
        >>> import os, tempfile
        >>> from lamina import export
        >>> path = os.path.join(tempfile.mkdtemp(), "sum.onnx")
        >>> report = export.save(lambda a, b: a + b, [(None, 2), (2,)], path, format="onnx")
        >>> load_onnx(path)([[1.0, 2.0]], [3.0, 4.0]).tolist()
        [[4.0, 6.0]]
    """
    onnx = onnx_package("load_frozen of ONNX")
    path = Path(path)
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except DecodeError as error:
        raise DataLossError(f"'{path}' is no ONNX model: {error}.") from error
    graph = model.graph
    if not graph.output or not (model.ir_version or model.opset_import):
        raise DataLossError(f"'{path}' is no ONNX model: it gives nothing.")
    program = Program(model, ExternalFiles(path.parent))
    held = program.tensors(graph)
    declared = {value.name: value for value in graph.input if value.name not in held}
    names = list(declared) if inputs is None else list(inputs)
    made = {name for node in graph.node for name in node.output} | set(held) | set(declared)
    wanted = [o.name for o in graph.output] if outputs is None else list(outputs)
    if not all(isinstance(name, str) for name in [*declared, *wanted]):  # what is no text comes as bytes
        raise DataLossError(f"'{path}' has an input or output whose name is no text.")
    for name in [*(n for n in names if n not in declared), *(n for n in wanted if n not in made)]:
        raise ValueError(f"load_frozen: '{path}' has no tensor {name!r}.{did_you_mean(name, made)}")
    known, sizes = {}, {}
    found: dict[str, str] = {}
    for name in names:
        shape, dtype = _type_of(declared[name], path)
        known[name] = (name, None if shape is None else tuple(d if isinstance(d, int) else None for d in shape), dtype)
        sizes[name] = None if shape is None else _named(shape, found)
    fn = OnnxFunction(program, known, {name: name for name in wanted}, sizes)
    return Loaded(os.fspath(path), {DEFAULT: fn}, program.state)


def _type_of(value: Any, path: Path) -> tuple[tuple[int | str | None, ...] | None, np.dtype]:
    """Shape and dtype of an input; None for an unknown size that has no name, or an unknown rank."""
    kind = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or kind.elem_type not in DTYPES:
        raise FileFormatError(f"load_frozen: input '{value.name}' of '{path}' is no tensor of numbers.")
    if not kind.HasField("shape"):
        return None, DTYPES[kind.elem_type]
    shape: list[int | str | None] = []
    for dim in kind.shape.dim:
        given = dim.WhichOneof("value")
        if given == "dim_value" and dim.dim_value < 0:
            raise DataLossError(f"load_frozen: input '{value.name}' of '{path}' has a size of {dim.dim_value}.")
        shape.append(dim.dim_value if given == "dim_value" else dim.dim_param or None)
    return tuple(shape), DTYPES[kind.elem_type]


def _named(shape: Sequence[Any], found: dict[str, str]) -> tuple[Any, ...]:
    """The shape with names that graphs know; the first size of an input is the batch."""
    out: list[Any] = []
    for axis, dim in enumerate(shape):
        if isinstance(dim, int):
            out.append(dim)
            continue
        key = dim if dim is not None else f"({len(found)})" if axis else ""
        if key not in found:
            fresh = BATCH if axis == 0 and BATCH not in found.values() else f"size{len(found)}"
            found[key] = fresh
        out.append(found[key])
    return tuple(out)
