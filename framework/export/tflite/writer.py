"""Writes graphs as a TFLite file: a graph of the file, and a signature, for each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lamina.checkpoint.files import replacing
from lamina.core.checks import check_choice
from lamina.core.errors import describe, did_you_mean
from lamina.export.calibrate import calibrate
from lamina.export.report import ExportReport
from lamina.export.rules import ExportError
from lamina.export.tflite import array_rules, rules  # noqa: F401  they fill the table
from lamina.export.tflite.emitter import Emitter, File
from lamina.export.tflite.flatbuffer import MOST_BYTES, pack
from lamina.export.tflite.network_rules import finish
from lamina.export.tflite.quantize import plan
from lamina.export.tflite.schema import OPERATORS, VERSION
from lamina.export.tflite.table import TABLE
from lamina.export.tflite.tensors import FLOAT32, INT8
from lamina.export.tflite.versions import min_runtime_version
from lamina.graph.base import GraphBase
from lamina.graph.expand import expand
from lamina.graph.passes.order import optimize

PRECISIONS = ("float32", "float16", "dynamic", "int8")
CURE = " Write them in terms of other ops, or add a rule with register_rule."


def write_tflite(
    graphs: Mapping[str, GraphBase],
    path: str | os.PathLike,
    precision: str = "float32",
    representative_data: Iterable[Any] | Mapping[str, Iterable[Any]] | None = None,
    input_type: str = "float32",
    output_type: str = "float32",
    float_layers: Sequence[str] = (),
) -> ExportReport:
    """Writes graphs as one TFLite file, a signature each. Recurrent layers become WHILE loops.

    Args:
        graphs: the graphs by the names of their signatures.
        path: the file.
        precision: `"float32"`; `"float16"` for weights of half the size; `"dynamic"` for int8 weights whose products
            are computed in int8, the rest in float32; `"int8"` for int8 throughout, weights with a scale for each
            channel. Ops that TFLite cannot compute in int8 stay in float32, and stand in the report.
        representative_data: for `"int8"`: batches like those that the model will see; see
            `lamina.export.calibrate.calibrate`. With several signatures a dict of them.
        input_type: of inputs that are floats: `"float32"`, or `"int8"` with `precision="int8"`.
        output_type: of outputs that are floats, likewise.
        float_layers: with `"int8"`: paths of layers that stay in float32.

    Raises:
        ExportError: ops cannot be written.
        ValueError: an argument is wrong, or the file would be larger than 2 GiB.
        ModuleNotFoundError: the package `flatbuffers` is missing.
    """
    where = "export to tflite"
    check_choice(where, "precision", precision, PRECISIONS)
    for name, given in (("input_type", input_type), ("output_type", output_type)):
        check_choice(where, name, given, ("float32", "int8"))
        if given == "int8" and precision != "int8":
            raise ValueError(f"{where}: {name}='int8' needs precision='int8', got precision={precision!r}.")
    if (precision == "int8") != (representative_data is not None):
        raise ValueError(
            f"{where}: precision='int8' and representative_data go together (batches that the ranges of all values are "
            f"measured on), got precision={precision!r} and {describe(representative_data)}."
        )
    ready = {name: prepare(graph) for name, graph in graphs.items()}
    _check_paths(ready, float_layers, where)
    file = File(precision, {}, lambda p: any(p == f or p.startswith(f"{f}/") for f in float_layers))
    if representative_data is not None:
        file.plan = _plans(ready, representative_data, where)
    emitters = {name: Emitter(file, name) for name in ready}
    signatures = [
        _signature(emitters[name], name, graph, input_type == "int8", output_type == "int8")
        for name, graph in ready.items()
    ]
    if file.gaps:
        raise ExportError("tflite", file.gaps, CURE)
    data = _bytes(file, signatures)
    with replacing(path) as out:
        out.write(data)
    arrays = {id(a): a for g in graphs.values() for a in g.constants.values() if np.size(a) > 1}
    return ExportReport(
        format="tflite",
        path=os.fspath(path),
        bytes=len(data),
        parameters=sum(int(np.size(a)) for a in arrays.values()),
        precision=precision,
        ops=file.ops,
        signatures={name: (list(g.input_names), list(g.output_names)) for name, g in graphs.items()},
        fallbacks=list(dict.fromkeys(file.fallbacks)),
    )


def prepare(graph: GraphBase) -> GraphBase:
    """The graph as it is written: folded and fused, with ops that TFLite has not written out in others."""
    return _inner(optimize(expand(optimize(graph), TABLE.expands)))


def _inner(graph: Any) -> Any:
    """Constants that a loop or a branch takes become its own, so that its products know their weights."""
    for instr in graph.instrs:
        keys = [k for k, sub in instr.attrs.items() if sub in instr.subgraphs]
        if not keys:
            continue
        subs = {key: instr.attrs[key].copy() for key in keys}
        lead = int(instr.op == "If")
        fixed = range(instr.attrs.get("carried", 0) + lead, len(instr.inputs))
        own = [i for i in fixed if instr.inputs[i] in graph.constants]
        for sub in subs.values():
            sub.constants.update((sub.inputs[i - lead], graph.constants[instr.inputs[i]]) for i in own)
            kept = [i for i in range(len(sub.inputs)) if i + lead not in own]
            sub.inputs, sub.input_names = [sub.inputs[i] for i in kept], [sub.input_names[i] for i in kept]
        instr.inputs = tuple(v for i, v in enumerate(instr.inputs) if i not in own)
        instr.attrs.update((key, _inner(optimize(sub))) for key, sub in subs.items())
    return graph


def _check_paths(graphs: Mapping[str, Any], paths: Sequence[str], where: str) -> None:
    known = {"/".join(i.path.split("/")[: n + 1]) for g in graphs.values() for i in g.instrs for n in range(20)}
    for path in paths:
        if path not in known:
            raise ValueError(f"{where}: float_layers names '{path}', which is no layer.{did_you_mean(path, known)}")


def _plans(graphs: Mapping[str, Any], data: Any, where: str) -> dict[Any, Any]:
    by_name = data if isinstance(data, Mapping) and set(data) == set(graphs) else None
    if by_name is None and len(graphs) > 1:
        raise ValueError(f"{where}: with several signatures, representative_data must be a dict with {sorted(graphs)}.")
    found: dict[Any, Any] = {}
    for name, graph in graphs.items():
        found.update(plan(graph, calibrate(graph, data if by_name is None else by_name[name])))
    return found


def _signature(e: Emitter, key: str, graph: Any, input_int8: bool, output_int8: bool) -> dict[str, Any]:
    """Writes a graph; returns its entry among the signatures."""
    inputs = []
    for name, value in zip(graph.input_names, graph.inputs, strict=True):
        quant = e.file.plan[value] if input_int8 and value.dtype == FLOAT32 else None
        inputs.append(e.tensor(value.shape, value.dtype if quant is None else INT8, name, quant=quant))
    e.graph(graph, inputs)
    if e.file.gaps:
        return {}
    whole = [e.take_int8(v) if output_int8 and v.dtype == FLOAT32 else e.take(v) for v in graph.outputs]
    outputs = finish(e, graph, inputs, whole)
    maps = (
        [{"name": n, "tensor_index": t.index} for n, t in zip(names, tensors, strict=True)]
        for names, tensors in ((graph.input_names, inputs), (graph.output_names, outputs))
    )
    return {"signature_key": key, "subgraph_index": e.number, **dict(zip(("inputs", "outputs"), maps, strict=True))}


def _bytes(file: File, signatures: Sequence[Any]) -> bytes:
    version = np.frombuffer(min_runtime_version(list(file.codes)).encode().ljust(16, b"\0"), np.uint8)
    buffers = [*file.buffers, version]
    size = sum(b.nbytes for b in buffers if b is not None)
    if size > MOST_BYTES - 2**20:
        raise ValueError(f"export to tflite: the weights have {size:,} bytes, and a TFLite file ends at 2 GiB.")
    codes = [
        {"deprecated_builtin_code": min(OPERATORS[op][0], 127), "builtin_code": OPERATORS[op][0], "version": number}
        for op, number in file.codes
    ]
    model = {
        "version": VERSION, "operator_codes": codes, "subgraphs": file.subgraphs, "description": "lamina",
        "buffers": [{} if b is None or not b.size else {"data": b} for b in buffers],
        "metadata": [{"name": "min_runtime_version", "buffer": len(buffers) - 1}], "signature_defs": list(signatures),
    }  # fmt: skip
    entries = sum(len(g["tensors"]) + len(g["operators"]) for g in file.subgraphs)
    return pack("Model", model, size + 16 * len(buffers) + 256 * entries)
