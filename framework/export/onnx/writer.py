"""Writes a graph as an ONNX file, which is checked before it gets its name."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamina.checkpoint.files import replacing, sync_folder
from lamina.core.checks import check_choice
from lamina.core.errors import describe
from lamina.export.calibrate import Calibration, ranges_of
from lamina.export.mixed import LayerPrecision
from lamina.export.onnx import array_rules, network_rules, rules  # noqa: F401  they fill the table
from lamina.export.onnx.emitter import Body, Emitter, File, Node
from lamina.export.onnx.half import DELICATE, Halved
from lamina.export.onnx.quantize import Plan, floats_of, plan
from lamina.export.onnx.table import OPSETS, expands
from lamina.export.onnx.tensors import EXTERNAL, NUMBERS, little_endian, onnx_package, to_tensor
from lamina.export.report import ExportReport
from lamina.export.rules import ExportError, Gap
from lamina.export.trained import completed, trained_ranges
from lamina.graph.base import GraphBase
from lamina.graph.expand import expand
from lamina.graph.ir import Value
from lamina.graph.opset import OPSET
from lamina.graph.passes.fusion import merge_rows
from lamina.graph.passes.names import drop_identities, tags
from lamina.graph.passes.order import optimize as run_passes

MOST_BYTES = 2**31 - 2**20
"""The size that a protobuf message must stay below, less what surrounds the weights."""
OUTSIDE = 1024
"""Tensors of fewer bytes stay in the model when its weights are in another file."""
PASSES = ("constant_folding", "common_subexpressions", "patterns", "batch_norm_folding", "bias_fusion", "dead_code")
"""What is done to a graph before it is written; transposes are left to the emitter."""
_ALIGNED = 4096
ACTIVATION_TYPES = {"int8": ("uint8", "int8"), "int16x8": ("uint16", "int16")}
"""Precisions of integers, and what activations can be in them; the first is the default."""
WIDE_OPSET = 21
"""The first that quantises to 16 bits."""


def write_onnx(
    graphs: Mapping[str, GraphBase],
    path: str | os.PathLike,
    opset: int = 17,
    precision: str = "float32",
    representative_data: Any = None,
    calibration: str = "minmax",
    percentile: float = 99.99,
    activation_type: str | None = None,
    float_layers: Sequence[str] = (),
    layer_precision: Mapping[str, str] | None = None,
    float32_ops: Collection[str] = tuple(DELICATE),
    external_data: bool | None = None,
    optimize: bool = True,
    metadata: Mapping[str, str] | None = None,
    lowering: Callable[[Any], Any] | None = None,
) -> ExportReport:
    """Writes one graph as an ONNX file.

    Args:
        graphs: one graph by the name of its signature.
        path: the file.
        opset: the version of the op set, from 13 to 21.
        precision: `"float32"`; `"float16"` for weights and arithmetic, but for `float32_ops`; `"int8"`: QuantizeLinear
            and DequantizeLinear around the ops, from which runtimes make kernels of integers, weights of int8 with a
            scale for each channel and biases of int32; `"int16x8"`: the same with activations of 16 bits, for which
            `opset=21` is needed.
            Inputs and outputs stay float32; ops that stay so too stand in the report.
        representative_data: for `"int8"` and `"int16x8"`: a Dataset, an array, or batches like those that the model
            will see; see `lamina.export.calibrate.calibrate`. A model trained by `lamina.quantization.quantize_aware`
            needs none: its ranges are those that it learnt.
        calibration: how the ranges of activations are taken from it: `"minmax"`, `"percentile"` or `"mse"`; see
            `lamina.export.calibrate.Calibration`.
        percentile: for `calibration="percentile"`.
        activation_type: `"uint8"` (the default) or `"int8"` for `"int8"`; `"uint16"` (the default) or `"int16"` for
            `"int16x8"`. Each is asymmetric. ONNX Runtime makes kernels of integers from uint8 on all processors, from
            int8 on those of Arm; processors of Intel without VNNI may cut off sums of uint8 times int8.
        float_layers: with integers: paths of layers that stay in float32, or patterns of such, like `"block_*/expand"`.
        layer_precision: with integers: `"float32"`, `"int8"` or `"int16x8"` by path or pattern of layers that have
            another precision than the file; of several that fit the last counts.
        float32_ops: with float16: ops of the graph that compute in float32, since their results leave its range or
            lose digits in it: by default sums, statistics and exponentials, see `lamina.export.onnx.half.DELICATE`.
            Elementwise ops around such do so too, and what loops carry; the report names them. Weights are float16, but
            for vectors that are added to or multiplied with float32. `()` for float16 throughout.
        external_data: whether weights lie in a file beside the model, `path` with `.data` behind it; None for where
            the model would be larger than 2 GiB, which its format cannot hold.
        optimize: whether constants are folded, normalisation is folded into convolutions, and ops written in primitives
            are recognised first.
        metadata: texts by name that the file keeps.
        lowering: gives an equal graph of the ops that a runtime takes, of the graph after those passes; by default it
            stays as it is.

    Raises:
        ExportError: an op cannot be written.
        ValueError: there are several graphs, or an argument is none of those above.
        ImportError: the package onnx is not installed.
    """
    onnx = onnx_package("export to onnx")
    if len(graphs) != 1:
        raise ValueError(
            f"export to onnx: an ONNX file holds one signature, got {sorted(graphs)}. Write each to a file of its own."
        )
    ((signature, given),) = graphs.items()
    graphs = {signature: drop_identities(given)}
    check_choice("export to onnx", "opset", opset, OPSETS)
    where = "export to onnx"
    check_choice(where, "precision", precision, ("float32", "float16", *ACTIVATION_TYPES))
    integers = precision in ACTIVATION_TYPES
    graphs, learnt = trained_ranges(graphs) if integers else (graphs, {})
    if representative_data is None if integers and not learnt else representative_data is not None and not integers:
        raise ValueError(
            f"{where}: precision='int8' or 'int16x8' and representative_data go together (batches that the ranges of "
            f"all values are measured on), got precision={precision!r} and {describe(representative_data)}."
        )
    if not integers and (float_layers or layer_precision or activation_type is not None):
        raise ValueError(
            f"{where}: float_layers, layer_precision and activation_type need precision='int8' or 'int16x8', got "
            f"{precision!r}."
        )
    for op in float32_ops:
        check_choice(where, "float32_ops", op, OPSET)
    if activation_type is not None:
        check_choice(where, "activation_type", activation_type, ACTIVATION_TYPES[precision])
    layers = LayerPrecision(where, precision, layer_precision or {}, float_layers, ("float32", *ACTIVATION_TYPES))
    layers.check(graphs.values())
    if "int16x8" in (precision, *(layer_precision or {}).values()) and opset < WIDE_OPSET:
        raise ValueError(
            f"{where}: activations of 16 bits are known from opset={WIDE_OPSET} on, got opset={opset}. Pass "
            f"opset={WIDE_OPSET}."
        )
    measured = Calibration(calibration, percentile)
    graph = graphs[signature]

    def types(path: str) -> np.dtype | None:
        chosen = layers(path)
        own = activation_type if chosen == precision else None
        return np.dtype(own or ACTIVATION_TYPES[chosen][0]) if chosen in ACTIVATION_TYPES else None

    def quantised(ready: Any) -> Plan:
        data = representative_data
        bits = lambda path: 16 if layers(path) == "int16x8" else 8  # noqa: E731
        found = {} if data is None else ranges_of({signature: ready}, data, measured, bits, where)
        return plan(ready, {**found, **completed({signature: ready}, learnt)}, types)

    plans = quantised if integers else None
    written = _Written(graph, opset, precision, optimize, plans, float32_ops, tags(given), lowering)
    size = sum(array.nbytes for array in written.file.tensors.values())
    external = size > MOST_BYTES if external_data is None else external_data
    path = Path(path)
    data = f"{path.name}.data" if external else None
    model = written.model(onnx, signature, data, {"precision": precision, **(metadata or {})})
    if data is None:
        _check(onnx, model)
        content = model.SerializeToString(deterministic=True)
        with replacing(path) as file:
            file.write(content)
        total = len(content)
    else:
        total = _write_with_data(onnx, model, written.outside(), path, data)
    return written.report(os.fspath(path), total, signature)


class _Written:
    """A graph as nodes and tensors, ready to become a message.

    Args:
        graph: the graph.
        opset: the version of the op set.
        precision: "float32" or "float16".
        optimize: whether the passes are run.
        quantised: makes the plan of what is stored as integers of the graph as it is written.
        float32_ops: ops that stay in float32 in float16 files.
        named: names of values that their tensors get.
        lowering: gives an equal graph of other ops, or None.
    """

    def __init__(
        self,
        graph: GraphBase,
        opset: int,
        precision: str,
        optimize: bool,
        quantised: Callable[[Any], Plan] | None,
        float32_ops: Collection[str],
        named: Collection[str],
        lowering: Callable[[Any], Any] | None,
    ):
        self.kept: list[tuple[str, str, str]] = []
        if optimize:
            graph = run_passes(graph, PASSES)
        graph = expand(graph, lambda instr: expands(instr, graph, opset))
        if lowering is not None:
            graph = expand(lowering(graph), lambda instr: expands(instr, graph, opset))
        if optimize:
            graph = run_passes(graph, PASSES[:2])
        if quantised is not None:
            graph = merge_rows(graph)
        if precision == "float16":
            halved = Halved(graph, float32_ops)
            graph, self.kept = halved.graph, halved.kept
        self.graph, self.opset, self.precision = graph, opset, precision
        self.file = File(opset, plan=None if quantised is None else quantised(graph))
        e = Emitter(self.file)
        self.inputs = [self.file.unique(name) for name in graph.input_names]
        self.outputs = [self.file.unique(name) for name in graph.output_names]
        self.renamed = {new: old for old, new in zip(graph.output_names, self.outputs, strict=True) if old != new}
        gaps = [
            Gap("input", name, f"ONNX files know no dtype {value.dtype}")
            for name, value in zip(graph.input_names, graph.inputs, strict=True)
            if value.dtype not in NUMBERS
        ]
        for value, name in zip(graph.inputs, self.inputs, strict=True):
            e.knows(value, name)
        made = e.graph(graph, self.inputs)
        gaps += self.file.gaps
        if gaps:
            cure = " Write them in terms of other ops, pass a later opset, or add a rule with register_rule."
            raise ExportError("onnx", gaps, cure)
        self.nodes = e.nodes
        values = [v for i in graph.instrs for v in i.outputs if v.name in named]
        self._name_tensors(made, {e.current(v)[1]: v.name for v in values})

    def _name_tensors(self, made: list[str], inside: Mapping[str, str]) -> None:
        """Gives the tensors that go out the names of the outputs, and some inside names of their own."""
        producers = {output for node in self.nodes for output in node.outputs}
        names: dict[str, str] = {}
        for tensor, name in zip(made, self.outputs, strict=True):
            if tensor in producers and tensor not in names:
                names[tensor] = name
            else:
                source = names.get(tensor, tensor)
                self.nodes.append(Node("Identity", self.file.unique(f"{name}/Identity"), [source], [name]))
        for tensor in producers.intersection(inside).difference(names):
            names[tensor] = tensor if tensor == inside[tensor] else self.file.unique(inside[tensor])
        _rename(self.nodes, names)

    def outside(self) -> list[tuple[str, np.ndarray]]:
        """The tensors that are large enough for a file of their own."""
        return [(name, array) for name, array in self.file.tensors.items() if array.nbytes >= OUTSIDE]

    def model(self, onnx: Any, signature: str, data: str | None, metadata: Mapping[str, str]) -> Any:
        """The message.

        Args:
            onnx: the package.
            signature: the name of the signature.
            data: the name of the file for large tensors, or None.
            metadata: texts by name.
        """
        model = onnx.ModelProto(ir_version=OPSETS[self.opset], producer_name="lamina")
        domains = {node.domain for node in _all(self.nodes)} - {""}
        model.opset_import.add(domain="", version=self.opset)
        for domain in sorted(domains):
            model.opset_import.add(domain=domain, version=1)
        for key, text in {"signature": signature, **metadata}.items():
            model.metadata_props.add(key=key, value=str(text))
        made = model.graph
        made.name = self.graph.name
        _fill(onnx, made, self.nodes)
        for side, names, values in (
            (made.input, self.inputs, self.graph.inputs),
            (made.output, self.outputs, self.graph.outputs),
        ):
            for name, value in zip(names, values, strict=True):
                _declare(side.add(), name, value)
        places = _places(self.outside()) if data is not None else {}
        for name, array in self.file.tensors.items():
            if name not in places:
                made.initializer.append(to_tensor(onnx, name, array))
                continue
            tensor = made.initializer.add(name=name, data_type=NUMBERS[array.dtype], dims=array.shape)
            tensor.data_location = EXTERNAL
            for key, number in (("location", data), ("offset", places[name]), ("length", array.nbytes)):
                tensor.external_data.add(key=key, value=str(number))
        return model

    def report(self, path: str, size: int, signature: str) -> ExportReport:
        """What was written."""
        arrays = [a for a in self.graph.constants.values() if np.size(a) > 1]
        dtypes = Counter(np.asarray(a).dtype.name for a in arrays if np.asarray(a).dtype.kind == "f")
        return ExportReport(
            format="onnx",
            path=path,
            bytes=size,
            parameters=sum(int(np.size(a)) for a in arrays),
            precision=dtypes.most_common(1)[0][0] if dtypes and self.file.plan is None else self.precision,
            ops=Counter(node.op for node in _all(self.nodes)),
            signatures={signature: (list(self.inputs), list(self.outputs))},
            fallbacks=[
                *(("", old, f"is named '{new}', since an input has its name") for new, old in self.renamed.items()),
                *self.kept,
                *floats_of(self.file.plan),
            ],
        )


def _all(nodes: Sequence[Node]) -> Iterator[Node]:
    """Nodes, and those of the graphs inside them."""
    for node in nodes:
        yield node
        for attribute in node.attrs.values():
            if isinstance(attribute, Body):
                yield from _all(attribute.nodes)


def _rename(nodes: Sequence[Node], names: Mapping[str, str]) -> None:
    for node in nodes:
        node.inputs = [names.get(n, n) for n in node.inputs]
        node.outputs = [names.get(n, n) for n in node.outputs]
        for attribute in node.attrs.values():
            if isinstance(attribute, Body):
                _rename(attribute.nodes, names)


def _fill(onnx: Any, graph: Any, nodes: Sequence[Node]) -> None:
    """Adds nodes to a GraphProto."""
    for node in nodes:
        made = graph.node.add(op_type=node.op, name=node.name, domain=node.domain)
        made.input.extend(node.inputs)
        made.output.extend(node.outputs)
        for key, value in sorted(node.attrs.items()):
            if isinstance(value, Body):
                attribute = made.attribute.add(name=key, type=onnx.AttributeProto.GRAPH)
                attribute.g.name = value.name
                _fill(onnx, attribute.g, value.nodes)
                for side, pairs in ((attribute.g.input, value.inputs), (attribute.g.output, value.outputs)):
                    for name, typed in pairs:
                        _declare(side.add(), name, typed)
            elif isinstance(value, np.ndarray):
                made.attribute.append(onnx.helper.make_attribute(key, to_tensor(onnx, key, value)))
            else:
                made.attribute.append(onnx.helper.make_attribute(key, value))


def _declare(info: Any, name: str, value: Value) -> None:
    """Fills a ValueInfoProto; sizes that are not known have a name."""
    info.name = name
    info.type.tensor_type.elem_type = NUMBERS[value.dtype]
    info.type.tensor_type.shape.SetInParent()
    for dim in value.shape:
        if isinstance(dim, int):
            info.type.tensor_type.shape.dim.add(dim_value=dim)
        else:
            info.type.tensor_type.shape.dim.add(dim_param=dim)


def _places(arrays: Sequence[tuple[str, np.ndarray]]) -> dict[str, int]:
    """Where each tensor begins, at a page of memory."""
    places, offset = {}, 0
    for name, array in arrays:
        places[name] = offset
        offset += -(-array.nbytes // _ALIGNED) * _ALIGNED
    return places


def _check(onnx: Any, model: Any) -> None:
    """Runs the checker and strict shape inference of the package onnx."""
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def _write_with_data(onnx: Any, model: Any, arrays: Sequence[tuple[str, np.ndarray]], path: Path, data: str) -> int:
    """Writes a model and the file of its tensors in a folder beside the path, checks them there, and moves both."""
    work = Path(tempfile.mkdtemp(prefix=f"{path.name}.tmp", dir=path.parent))
    try:
        with replacing(work / data) as file:
            end = 0
            for (_, array), place in zip(arrays, _places(arrays).values(), strict=True):
                file.write(b"\0" * (place - end))
                content = np.ascontiguousarray(little_endian(array)).reshape(-1).view(np.uint8).data
                file.write(content)
                end = place + len(content)
        with replacing(work / path.name) as file:
            file.write(model.SerializeToString(deterministic=True))
        onnx.checker.check_model(os.fspath(work / path.name), full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        total = sum((work / name).stat().st_size for name in (data, path.name))
        os.replace(work / data, path.parent / data)
        os.replace(work / path.name, path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return total
