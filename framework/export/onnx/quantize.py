"""Which values ONNX files hold as integers, and the QuantizeLinear and DequantizeLinear around them.

Ops stay what they are, between a DequantizeLinear for each operand and a QuantizeLinear for the result; runtimes merge
such groups into kernels of integers. Weights are int8 with a scale for each channel of the output, biases int32 in
steps of the input's scale times the weight's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina.export.calibrate import COARSEST, KEEPING, MOVING, Ranges
from lamina.export.onnx.emitter import Emitter
from lamina.export.rules import Unsupported
from lamina.graph.ir import Instr, Value

INT8, INT32, FLOAT32 = np.dtype("int8"), np.dtype("int32"), np.dtype("float32")
CONVOLUTIONS = frozenset({"Conv", "DepthwiseConv", "ConvTranspose"})
OWN = frozenset(
    "Add Sub Mul Relu Relu6 LeakyRelu HardSwish HardSigmoid Gelu Silu Sigmoid Tanh Softmax LogSoftmax ReduceMean "
    "ReduceSum".split()
)
"""Ops that are computed in integers, besides products."""
SEVERAL = frozenset({"Concat", "Maximum", "Minimum"})
"""Ops that are computed in integers if an operand is at hand as such."""
FIXED = {"Softmax": (0, 1), "Sigmoid": (0, 1), "Tanh": (-1, 1)}
"""Ops whose values have limits of their own."""
_MOST_STORED = 2**30


@dataclass(frozen=True)
class Stored:
    """real = scale * (stored - zero), stored as `dtype`."""

    scale: float
    zero: int
    dtype: np.dtype

    def store(self, array: np.ndarray) -> np.ndarray:
        """Numbers as integers."""
        limits = np.iinfo(self.dtype)
        whole = np.round(np.asarray(array, np.float64) / self.scale) + self.zero
        return np.clip(whole, limits.min, limits.max).astype(self.dtype)


@dataclass
class Plan:
    """What is stored as integers.

    Attributes:
        values: how activations are stored, with the constants among operands.
        instrs: the instructions that work on integers, by identity.
        absorbed: instructions that are part of the one before them, by identity, and the value that stands for theirs:
            activations that do what the limits of the integers do, and biases of products.
        biases: the bias that is added to a product, by the product's output.
        final: for a value before what is absorbed, the value behind it.
        floats: the other instructions that work on floats.
    """

    values: dict[Value, Stored] = field(default_factory=dict)
    instrs: set[int] = field(default_factory=set)
    absorbed: dict[int, Value] = field(default_factory=dict)
    biases: dict[Value, Value] = field(default_factory=dict)
    final: dict[Value, Value] = field(default_factory=dict)
    floats: list[Instr] = field(default_factory=list)


def of_range(low: float, high: float, dtype: Any) -> Stored:
    """How numbers between `low` and `high` are stored, 0 without error.

    Example:
        >>> of_range(0.0, 255.0, "uint8")
        Stored(scale=1.0, zero=0, dtype=dtype('uint8'))
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    limits = np.iinfo(np.dtype(dtype))
    steps = limits.max - limits.min
    scale = float(np.float32(max(high - low, 1e-8) / steps))
    return Stored(scale, int(np.clip(round(limits.min - low / scale), limits.min, limits.max)), np.dtype(dtype))


def plan(graph: Any, ranges: Ranges, types: Callable[[str], np.dtype | None]) -> Plan:
    """What of a graph is stored as integers.

    Args:
        graph: the graph, as it is written.
        ranges: its values' ranges, from `lamina.export.calibrate.ranges_of`.
        types: the integers that activations are in a layer, by its path; None for floats.
    """
    made, limits = Plan(), dict(ranges)
    for value, array in graph.constants.items():
        if value.dtype == FLOAT32 and np.size(array) and np.all(np.isfinite(array)):
            limits[value] = float(np.min(array)), float(np.max(array))
    users = graph.users()
    for instr in graph.instrs:
        if types(instr.path) is not None and _wanted(instr, graph, limits):
            made.instrs.add(id(instr))
    _absorb(made, graph, users, types)
    for instr in graph.instrs:
        kind = types(instr.path)
        if id(instr) in made.absorbed or kind is None:
            continue
        if instr.op in KEEPING or instr.op in SEVERAL:
            floats = [v for v in instr.inputs if v.dtype == FLOAT32]
            held = any(v in made.values for v in (floats if instr.op in SEVERAL else floats[:1]))
            held = held or instr.op == "Gather" and instr.inputs[0] in graph.constants
            if held and all(v in limits for v in (*floats, *instr.outputs)) and not _coarse(instr, limits):
                made.instrs.add(id(instr))
        if id(instr) not in made.instrs:
            continue
        for value in _operands(instr, graph):
            made.values.setdefault(value, of_range(*limits[value], kind))
        for value in instr.outputs:
            made.final[value] = last = _last(made, users, value)
            same = made.values.get(instr.inputs[0]) if instr.op in KEEPING else None
            made.values.setdefault(last, same or _fixed(instr.op, kind) or of_range(*limits[last], kind))
    working = made.instrs | set(made.absorbed)
    made.floats = [
        i for i in graph.instrs if id(i) not in working and any(v.dtype == FLOAT32 for v in (*i.inputs, *i.outputs))
    ]
    return made


def _fixed(op: str, kind: np.dtype) -> Stored | None:
    """How an op whose values have limits of their own is stored: kernels of integers take no other way."""
    if op not in FIXED:
        return None
    low, high = FIXED[op]
    steps = 2 ** (8 * kind.itemsize)
    return of_range(low, high - (high - low) / steps, kind)


def _wanted(instr: Instr, graph: Any, limits: Ranges) -> bool:
    values = [v for v in (*instr.inputs, *instr.outputs) if v.dtype.kind == "f"]
    if not values or not all(v.dtype == FLOAT32 and v in limits for v in values) or _coarse(instr, limits):
        return False
    if instr.op in CONVOLUTIONS:
        return all(v in graph.constants for v in instr.inputs[1:])
    if instr.op == "MatMul":
        return all(len(v.shape) > 1 for v in instr.inputs)
    return instr.op in OWN and any(v not in graph.constants for v in instr.inputs)


def _coarse(instr: Instr, limits: Ranges) -> bool:
    """Whether the steps of 8 bits would be so wide that nothing but a mask is left."""
    values = [v for v in (*instr.inputs, *instr.outputs) if v in limits]
    return any(max(limits[v][1], 0) - min(limits[v][0], 0) >= 255 * COARSEST for v in values)


def weighted(instr: Instr, graph: Any) -> bool:
    """Whether an instruction is a product by known weights."""
    return instr.op in CONVOLUTIONS or (
        instr.op == "MatMul" and instr.inputs[1] in graph.constants and len(instr.inputs[1].shape) == 2
    )


def _operands(instr: Instr, graph: Any) -> list[Value]:
    """The inputs that are stored as activations are."""
    given = instr.inputs[:1] if weighted(instr, graph) or instr.op in KEEPING else instr.inputs
    return [v for v in given if v.dtype == FLOAT32]


def _absorb(made: Plan, graph: Any, users: Any, types: Callable[[str], np.dtype | None]) -> None:
    """Finds biases of products, and activations, that become part of the instruction before them."""
    makers = graph.producers()
    for instr in graph.instrs:
        if id(instr) not in made.instrs:
            continue
        for value in instr.inputs:
            maker = makers.get(value)
            alone = len(users[value]) == 1 and instr.inputs.count(value) == 1 and value not in graph.outputs
            if maker is None or not alone or id(maker) not in made.instrs | set(made.absorbed):
                continue
            if types(maker.path) != types(instr.path):
                continue
            if instr.op in ("Relu", "Relu6") and (maker.op == "Add" or weighted(maker, graph)):
                made.absorbed[id(instr)] = value
            elif instr.op == "Add" and maker.op == "MatMul" and weighted(maker, graph):
                (other,) = (v for v in instr.inputs if v is not value)
                if other in graph.constants and len(other.shape) < 2 and instr.output.shape == value.shape:
                    made.absorbed[id(instr)] = value
                    made.biases[value] = other
    made.instrs.difference_update(made.absorbed)


def _last(made: Plan, users: Any, value: Value) -> Value:
    """The value behind the instructions that are absorbed."""
    while (following := users.get(value)) and id(following[0]) in made.absorbed:
        value = following[0].output
    return value


# ---- writing


def works_on_integers(e: Emitter, instr: Instr) -> bool:
    """Whether an instruction is written for integers."""
    return e.file.plan is not None and id(instr) in e.file.plan.instrs


def kernel(e: Emitter, instr: Instr, layout: Callable[[Any], Any], axis: int, key: Any) -> tuple[str, np.ndarray]:
    """The weights of a product as int8 behind a DequantizeLinear, and their scales.

    Args:
        e: the emitter.
        instr: the product.
        layout: makes ONNX's order of axes of the array.
        axis: of the output's channels in that order.
        key: tells layouts apart.
    """
    value = instr.inputs[1]
    array = np.asarray(layout(e.known(value)), np.float64)
    most = np.abs(array).max(axis=tuple(i for i in range(array.ndim) if i != axis))
    scale = (np.maximum(most, 1e-8) / 127).astype(np.float32)
    wide = np.float64(scale).reshape([-1 if i == axis else 1 for i in range(array.ndim)])
    whole = np.clip(np.round(array / wide), -127, 127).astype(INT8)
    return _weights(e, value, (INT8, key), whole, scale, axis), scale


def bias(e: Emitter, value: Value, x: Value, scale: np.ndarray) -> str:
    """A bias as int32 behind a DequantizeLinear.

    Args:
        e: the emitter.
        value: the bias.
        x: the input of the product.
        scale: the scales of the product's weights.
    """
    steps = (np.float64(scale) * e.file.plan.values[x].scale).astype(np.float32)
    array = e.known(value)
    if array is None:
        raise Unsupported("the bias of a product of integers must be known")
    whole = np.round(np.broadcast_to(np.float64(array).reshape(-1), steps.shape) / steps)
    number = np.clip(whole, -_MOST_STORED, _MOST_STORED).astype(INT32)
    return _weights(e, value, (INT32, steps.tobytes()), number, steps, 0)


def _weights(e: Emitter, value: Value, key: Any, array: np.ndarray, scale: np.ndarray, axis: int) -> str:
    held = (value, "dequantized", *key)
    if held not in e.file.written:
        name = None if value.name.startswith("const") else value.name
        given = [
            e.constant(array, name=name),
            e.constant(scale, name=f"{name or 'constant'}/scale"),
            e.constant(np.zeros(scale.shape, array.dtype)),
        ]
        e.file.written[held] = e.node("DequantizeLinear", given, axis=axis)
    return e.file.written[held]


def product(e: Emitter, instr: Instr) -> None:
    """A product of rows by known weights, and its bias, as a Gemm: kernels of integers take a bias there alone."""
    x, weights = instr.inputs
    made, (rows, columns) = e.file.plan, weights.shape
    name, scale = kernel(e, instr, np.asarray, 1, "Gemm")
    given, deep = e.take(x), len(x.shape) > 2
    whole = [d for d in x.shape[:-1] if isinstance(d, int)]
    count = math.prod(whole) if len(whole) == len(x.shape) - 1 else "rows"
    if deep:
        given = e.rounded(e.reshape(given, x.shape, (count, rows)), made.values[x])
    added = [bias(e, made.biases[instr.output], x, scale)] if instr.output in made.biases else []
    y = e.node("Gemm", [given, name, *added])
    if deep:
        y = e.rounded(y, made.values[made.final[instr.output]])
        y = e.reshape(y, (count, columns), instr.output.shape)
    e.give(instr.output, y)


def floats_of(made: Plan | None) -> list[tuple[str, str, str]]:
    """What stays in floats, for the report."""
    found = [] if made is None else [i for i in made.floats if i.op not in MOVING]
    return list(dict.fromkeys((i.path, i.label, "computed in float32") for i in found))
