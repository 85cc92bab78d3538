"""Which values of a graph are to be stored as int8, and which batch norms become part of the weights before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina.core.naming import snake_case
from lamina.export.calibrate import KEEPING
from lamina.export.tflite.quantize import OWN
from lamina.export.tflite.tensors import FIXED, INT8
from lamina.graph.ir import Instr, Value

FLOAT32 = np.dtype("float32")
# op -> the axes of its kernel over which the channels of the output lie
CHANNELS = {"Conv": (-1,), "MatMul": (-1,), "ConvTranspose": (-2,), "DepthwiseConv": (-2, -1)}
STORED = frozenset({*KEEPING, *FIXED, *OWN, *CHANNELS, "Concat", "Maximum", "Minimum", "BatchNorm"})
"""Ops that work on integers: what they take and give is rounded."""
ROUNDING = ("AveragePool", "Resize")
"""Ops whose output is stored as their input is, but is not one of its numbers."""


@dataclass(frozen=True)
class Product:
    """A product with weights, and what becomes part of it.

    Attributes:
        instr: the convolution or matrix product.
        bias: what is added next, or None.
        norm: the batch normalisation behind it, or None.
    """

    instr: Instr
    bias: Value | None = None
    norm: Instr | None = None


@dataclass
class Plan:
    """Where a graph is rounded.

    Attributes:
        sites: a name for each value whose range is learnt.
        fixed: the range of each value that formats store in one way only.
        shared: values that are rounded as another value is.
        products: products by the identity of the instruction behind which they are complete: their norm, or themselves.
        norms: a name for each batch normalisation, by its identity.
        fused: the identities of instructions that became part of a product, and so take their constants as they are.
        data: the values that depend on the inputs.
    """

    sites: dict[Value, str] = field(default_factory=dict)
    fixed: dict[Value, tuple[float, float]] = field(default_factory=dict)
    shared: dict[Value, Value] = field(default_factory=dict)
    products: dict[int, Product] = field(default_factory=dict)
    norms: dict[int, str] = field(default_factory=dict)
    fused: set[int] = field(default_factory=set)
    data: set[Value] = field(default_factory=set)


def plan(graph: Any, inputs: Iterable[Value], outputs: Iterable[Value]) -> Plan:
    """Where a graph is rounded so that integers could compute it.

    Weights are rounded where they are taken; a bias, a batch normalisation and a Relu behind a product belong to it,
    so that only what comes out of all of them is rounded. Statistics of a batch stay floats.

    Args:
        graph: the graph; all its variables are inputs.
        inputs: those of its inputs that are data.
        outputs: those of its outputs that are wanted, and no new values of variables.

    Example:
        >>> from lamina import layers, ops
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: ops.max_pool(ops.relu(x @ np.ones((4, 4), "float32"))[..., None], 2), (None, 4))
        >>> sorted(plan(graph, graph.inputs, graph.outputs).sites.values())
        ['relu', 'x']
    """
    wanted = list(outputs)
    made = Plan(data=_dependent(graph, inputs))
    instrs = _forward(graph, made.data, wanted)
    users: dict[Value, list[Instr]] = {}
    for instr in instrs:
        for value in dict.fromkeys(_operands(instr)):
            users.setdefault(value, []).append(instr)
    inner: set[Value] = set()

    def behind(value: Value, *ops: str) -> Instr | None:
        """The one instruction that takes a value, if it is one of the ops."""
        found = users.get(value, [])
        return found[0] if len(found) == 1 and found[0].op in ops and value not in wanted else None

    for instr in instrs:
        if instr.op in CHANNELS and instr.inputs[0] in made.data and instr.inputs[1] not in made.data:
            _product(made, instr, behind, inner)
    names: Counter[str] = Counter()
    labels: dict[Value, str] = {}
    for instr in instrs:
        base = "/".join(filter(None, [instr.path, snake_case(instr.label)]))
        name = f"{base}_{names[base]}" if names[base] else base
        names[base] += 1
        labels.update((v, f"{name}:{i}" if i else name) for i, v in enumerate(instr.outputs))
        if instr.op == "BatchNorm":
            made.norms[id(instr)] = name
    labels.update((v, n) for v, n in zip(graph.inputs, graph.input_names, strict=True))
    makers = {v: i for i in instrs for v in i.outputs}
    roots: dict[Value, Value] = {}
    for value, name in labels.items():
        maker = makers.get(value)
        if value.dtype != FLOAT32 or value not in made.data or value in inner:
            continue
        if maker is not None and maker.op in FIXED:
            quant = FIXED[maker.op][INT8]
            low = quant.scale[0] * (-128 - quant.zero)
            made.fixed[value] = (low, low + 255 * quant.scale[0])
        elif maker is not None and maker.op in KEEPING and maker.inputs[0] in made.data:
            roots[value] = roots.get(maker.inputs[0], maker.inputs[0])
            if maker.op in ROUNDING:
                made.shared[value] = roots[value]
        elif any(i.op in STORED for i in [*users.get(value, []), *filter(None, [maker])]):
            made.sites[value] = name
    return made


def _dependent(graph: Any, inputs: Iterable[Value]) -> set[Value]:
    found = set(inputs)
    for instr in graph.instrs:
        if found.intersection(instr.inputs):
            found.update(instr.outputs)
    return found


def _operands(instr: Instr) -> tuple[Value, ...]:
    """What an instruction takes; of a batch normalisation the input alone, for its statistics are no signal."""
    return instr.inputs[:1] if instr.op == "BatchNorm" else instr.inputs


def _forward(graph: Any, data: set[Value], outputs: Iterable[Value]) -> list[Instr]:
    """The instructions that lead from the data to the outputs."""
    wanted, found = set(outputs), []
    for instr in reversed(graph.instrs):
        if wanted.intersection(instr.outputs) and data.intersection(instr.outputs):
            found.append(instr)
            wanted.update(v for v in _operands(instr) if v in data)
    return found[::-1]


def _product(made: Plan, instr: Instr, behind: Any, inner: set[Value]) -> None:
    """Finds what becomes part of a product; values inside of it are noted in `inner`."""
    value, bias, norm = instr.output, None, None
    kernel = instr.inputs[1]
    if instr.op == "MatMul" and len(kernel.shape) != 2:
        made.products[id(instr)] = Product(instr)
        return
    added = behind(value, "Add")
    if added is not None:
        other = next((v for v in added.inputs if v is not value), value)
        if other not in made.data and len(other.shape) <= 1 and added.output.shape == value.shape:
            bias = other
            made.fused.add(id(added))
            inner.add(value)
            value = added.output
    found = behind(value, "BatchNorm")
    if found is not None:
        norm = found
        inner.add(value)
        value = norm.output
    activation = behind(value, "Relu", "Relu6")
    if activation is not None:
        inner.add(value)
    if norm is not None:
        made.fused.add(id(instr))
    made.products[id(norm or instr)] = Product(instr, bias, norm)
