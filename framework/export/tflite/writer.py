"""Writes graphs as a TFLite file: a graph of the file, and a signature, for each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.checkpoint.files import replacing
from lamina.core.checks import check_choice
from lamina.core.errors import describe
from lamina.export.calibrate import Calibration, ranges_of
from lamina.export.mixed import LayerPrecision
from lamina.export.report import ExportReport
from lamina.export.rules import ExportError
from lamina.export.tflite import array_rules, rules  # noqa: F401  they fill the table
from lamina.export.tflite.emitter import ACTIVATION_TYPES, Emitter, File
from lamina.export.tflite.flatbuffer import MOST_BYTES, pack
from lamina.export.tflite.integers import widen
from lamina.export.tflite.network_rules import finish
from lamina.export.tflite.quantize import plan
from lamina.export.tflite.schema import OPERATORS, VERSION
from lamina.export.tflite.table import TABLE
from lamina.export.tflite.tensors import FLOAT32
from lamina.export.tflite.versions import min_runtime_version
from lamina.export.trained import completed, trained_ranges
from lamina.graph.base import GraphBase
from lamina.graph.expand import expand
from lamina.graph.passes.fusion import merge_rows
from lamina.graph.passes.names import drop_identities, tags
from lamina.graph.passes.order import optimize

PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8")
OUTSIDE = {"int8": "int8", "int16": "int16x8"}
"""Integers that inputs and outputs can be, and the precision that each needs."""
CURE = " Write them in terms of other ops, or add a rule with register_rule."


def write_tflite(
    graphs: Mapping[str, GraphBase],
    path: str | os.PathLike,
    precision: str = "float32",
    representative_data: Any = None,
    calibration: str = "minmax",
    percentile: float = 99.99,
    input_type: str = "float32",
    output_type: str = "float32",
    float_layers: Sequence[str] = (),
    layer_precision: Mapping[str, str] | None = None,
) -> ExportReport:
    """Writes graphs as one TFLite file, a signature each. Recurrent layers become WHILE loops.

    Args:
        graphs: the graphs by the names of their signatures.
        path: the file.
        precision: `"float32"`; `"float16"` for weights of half the size; `"dynamic"` for int8 weights whose products
            are computed in int8, the rest in float32; `"int8"` for int8 throughout, weights with a scale for each
            channel; `"int16x8"` for activations of int16, symmetric about 0, and weights of int8. Ops that TFLite
            cannot compute in these integers stay in float32, and stand in the report.
        representative_data: for `"int8"` and `"int16x8"`: a Dataset, an array, or batches like those that the model
            will see; see `lamina.export.calibrate.calibrate`. With several signatures a dict of them. A model that was
            trained by `lamina.quantization.quantize_aware` needs none: its ranges are those that it learnt.
        calibration: how the ranges of activations are taken from it: `"minmax"`, `"percentile"` or `"mse"`; see
            `lamina.export.calibrate.Calibration`.
        percentile: for `calibration="percentile"`.
        input_type: of inputs that are floats: `"float32"`, `"int8"` with `precision="int8"`, or `"int16"` with
            `precision="int16x8"`.
        output_type: of outputs that are floats, likewise.
        float_layers: with integers: paths of layers that stay in float32, or patterns of such, like `"block_*/expand"`.
        layer_precision: with integers: `"float32"`, `"int8"` or `"int16x8"` by path or pattern of layers that have
            another precision than the file; of several that fit the last counts.

    Raises:
        ExportError: ops cannot be written.
        ValueError: an argument is wrong, or the file would be larger than 2 GiB.
    """
    made = assemble(
        graphs,
        precision=precision,
        representative_data=representative_data,
        calibration=calibration,
        percentile=percentile,
        input_type=input_type,
        output_type=output_type,
        float_layers=float_layers,
        layer_precision=layer_precision,
    )
    with replacing(path) as out:
        out.write(made.data)
    arrays = {id(a): a for g in graphs.values() for a in g.constants.values() if np.size(a) > 1}
    return ExportReport(
        format="tflite",
        path=os.fspath(path),
        bytes=len(made.data),
        parameters=sum(int(np.size(a)) for a in arrays.values()),
        precision=precision,
        ops=made.file.ops,
        signatures={name: (list(g.input_names), list(g.output_names)) for name, g in graphs.items()},
        fallbacks=list(dict.fromkeys(made.file.fallbacks)),
    )


@dataclass(frozen=True)
class Assembled:
    """A file in memory.

    Attributes:
        file: what its graphs share.
        emitters: what wrote each graph, by signature: they know the tensors of values.
        ready: the graphs as they were written.
        data: the bytes.
    """

    file: File
    emitters: dict[str, Emitter]
    ready: dict[str, GraphBase]
    data: bytes


def assemble(
    graphs: Mapping[str, GraphBase],
    *,
    precision: str = "float32",
    representative_data: Any = None,
    calibration: str = "minmax",
    percentile: float = 99.99,
    input_type: str = "float32",
    output_type: str = "float32",
    float_layers: Sequence[str] = (),
    layer_precision: Mapping[str, str] | None = None,
) -> Assembled:
    """A file in memory; the arguments are those of `write_tflite`."""
    where = "export to tflite"
    check_choice(where, "precision", precision, PRECISIONS)
    integers = precision in ACTIVATION_TYPES
    for name, given in (("input_type", input_type), ("output_type", output_type)):
        check_choice(where, name, given, ("float32", *OUTSIDE))
        if given != "float32" and OUTSIDE[given] != precision:
            raise ValueError(
                f"{where}: {name}={given!r} needs precision={OUTSIDE[given]!r}, got precision={precision!r}."
            )
    named = {name: tags(graph) for name, graph in graphs.items()}
    graphs = {name: drop_identities(graph) for name, graph in graphs.items()}
    graphs, learnt = trained_ranges(graphs) if integers else (graphs, {})
    if representative_data is None if integers and not learnt else representative_data is not None and not integers:
        raise ValueError(
            f"{where}: precision='int8' or 'int16x8' and representative_data go together (batches that the ranges of "
            f"all values are measured on), got precision={precision!r} and {describe(representative_data)}."
        )
    if not integers and (float_layers or layer_precision):
        raise ValueError(
            f"{where}: float_layers and layer_precision need precision='int8' or 'int16x8', got {precision!r}."
        )
    layers = LayerPrecision(where, precision, layer_precision or {}, float_layers, ("float32", *ACTIVATION_TYPES))
    measured = Calibration(calibration, percentile)
    ready = {name: prepare(graph) for name, graph in graphs.items()}
    layers.check(graphs.values())
    file = File(precision, {}, layers)
    if integers:
        bits = lambda p: 16 if layers(p) == "int16x8" else 8  # noqa: E731
        data = representative_data
        found = {} if data is None else ranges_of(ready, data, measured, bits, where)
        ranges = {**found, **completed(ready, learnt)}
        file.plan = {
            dtype: {v: q for graph in ready.values() for v, q in plan(graph, ranges, dtype).items()}
            for dtype in ACTIVATION_TYPES.values()
        }
    emitters = {name: Emitter(file, name) for name in ready}
    signatures = [
        _signature(emitters[name], name, graph, np.dtype(input_type), np.dtype(output_type))
        for name, graph in ready.items()
    ]
    if file.gaps:
        raise ExportError("tflite", file.gaps, CURE)
    for name, graph in ready.items():
        emitters[name].rename(v for i in graph.instrs for v in i.outputs if v.name in named[name])
    return Assembled(file, emitters, ready, _bytes(file, signatures))


def prepare(graph: GraphBase) -> GraphBase:
    """The graph as it is written: folded and fused, with ops that TFLite has not written out in others."""
    return _inner(merge_rows(optimize(widen(expand(optimize(graph), TABLE.expands)))))


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


def _signature(e: Emitter, key: str, graph: Any, input_type: np.dtype, output_type: np.dtype) -> dict[str, Any]:
    """Writes a graph; returns its entry among the signatures."""
    inputs = []
    for name, value in zip(graph.input_names, graph.inputs, strict=True):
        stored = input_type != FLOAT32 and value.dtype == FLOAT32
        quant = e.file.plan[input_type][value] if stored else None
        inputs.append(e.tensor(value.shape, input_type if stored else value.dtype, name, quant=quant))
    e.graph(graph, inputs)
    if e.file.gaps:
        return {}
    plans = e.file.plan.get(output_type, {})
    whole = [e.take_stored(v, plans[v]) if plans and v.dtype == FLOAT32 else e.take(v) for v in graph.outputs]
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
