"""What a model file itself holds: its own ops, and how many values of each dtype it stores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamina.checkpoint import load_checkpoint
from lamina.export.onnx.tensors import DTYPES as ONNX_DTYPES
from lamina.export.onnx.tensors import onnx_package
from lamina.export.tflite.flatbuffer import Reader, fields
from lamina.export.tflite.reader import Program
from lamina.export.tflite.schema import DTYPES as TFLITE_DTYPES
from lamina.wire.graph import GraphDef, SavedModel
from lamina.wire.tensor import DTYPES as TENSORFLOW_DTYPES

Listing = tuple[Counter[str], Counter[str]]
_SILENT = ("Const", "Placeholder", "NoOp", "Identity", "VarHandleOp", "ReadVariableOp")


def native(path: str, format: str) -> Listing | None:
    """The ops of a file by name, and its stored values by dtype; None for a format that has none of its own.

    Args:
        path: a file that `lamina.load_frozen` reads.
        format: "frozen", "saved_model", "onnx" or "tflite".
    """
    readers = {"frozen": _frozen, "saved_model": _saved_model, "onnx": _onnx, "tflite": _tflite}
    if format not in readers:
        return None
    ops, values = readers[format](Path(path))
    return ops, Counter({dtype: n for dtype, n in values.items() if n})


def precision(values: Counter[str]) -> str:
    """The dtype of most stored values: that of the weights.

    Example:
        >>> precision(Counter({"int8": 1000, "int32": 10}))
        'int8'
    """
    return values.most_common(1)[0][0] if values else "float32"


def _frozen(path: Path) -> Listing:
    return _nodes(GraphDef.FromString(path.read_bytes()))


def _saved_model(path: Path) -> Listing:
    saved = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    ops: Counter[str] = Counter()
    values: Counter[str] = Counter()
    for meta in saved.meta_graphs:
        infos = [info for signature in meta.signature_def.values() for info in signature.outputs.values()]
        more_ops, more_values = _nodes(meta.graph_def, [info.name for info in infos])
        ops += more_ops
        values += more_values
    prefix = path / "variables" / "variables"
    if prefix.with_name("variables.index").is_file():
        reader = load_checkpoint(prefix)
        shapes = reader.get_variable_to_shape_map()
        for name, dtype in reader.get_variable_to_dtype_map().items():
            if dtype.kind != "O":
                values[dtype.name] += int(np.prod(shapes[name], dtype=np.int64))
    return ops, values


def _nodes(graph: Any, wanted: Sequence[str] | None = None) -> Listing:
    """Those of a GraphDef; if outputs are named, those that they need, and all functions."""
    known = {node.name: node for node in graph.node}
    if wanted is not None:
        ready, needed = [name.partition(":")[0] for name in wanted], set()
        while ready:
            name = ready.pop()
            if name in known and name not in needed:
                needed.add(name)
                ready += [i.lstrip("^").partition(":")[0] for i in known[name].input]
        known = {name: known[name] for name in needed}
    nodes = [*known.values(), *(n for f in graph.library.function for n in f.node_def)]
    values: Counter[str] = Counter()
    for node in nodes:
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        if tensor is not None and tensor.dtype in TENSORFLOW_DTYPES:
            size = int(np.prod([d.size for d in tensor.tensor_shape.dim], dtype=np.int64))
            values[TENSORFLOW_DTYPES[tensor.dtype].name] += size if size > 1 else 0
    return Counter(n.op for n in nodes if n.op not in _SILENT), values


def _onnx(path: Path) -> Listing:
    model = onnx_package("lamina info of ONNX").ModelProto.FromString(path.read_bytes())
    ops: Counter[str] = Counter()
    values: Counter[str] = Counter()
    for graph in _graphs(model.graph):
        ops.update(node.op_type for node in graph.node)
        for tensor in graph.initializer:
            size = int(np.prod(tensor.dims, dtype=np.int64))
            if tensor.data_type in ONNX_DTYPES:
                values[ONNX_DTYPES[tensor.data_type].name] += size if size > 1 else 0
    return ops, values


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph, and those inside of its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _tflite(path: Path) -> Listing:
    model = Reader(path.read_bytes()).root("Model")
    program = Program(model, 0)
    ops = Counter(program.code(o) for graph in program.graphs for o in fields(graph, "operators"))
    values: Counter[str] = Counter()
    buffers, seen = fields(model, "buffers"), set()
    for graph in program.graphs:
        for tensor in fields(graph, "tensors"):
            number = tensor["buffer"]
            dtype = TFLITE_DTYPES.get(tensor["type"])
            if dtype is None or number in seen or number >= len(buffers):
                continue
            seen.add(number)
            data = buffers[number].get("data")
            size = 0 if data is None else len(data) // dtype.itemsize
            values[dtype.name] += size if size > 1 else 0
    return ops, values
