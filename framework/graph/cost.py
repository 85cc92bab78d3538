"""What a graph costs: operations, bytes moved and parameters of each instruction; and cutting it into equal stages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lamina.core.checks import check_int
from lamina.graph.ir import Instr, Value
from lamina.graph.opset import OPSET


@dataclass(frozen=True)
class Cost:
    """What one instruction costs; sizes that are not known count as 1, so that figures are for one sample.

    Attributes:
        instr: the instruction.
        operations: additions and multiplications, or one for each element of other results.
        bytes: of its inputs and outputs.
        parameters: the elements of the constants that it takes.
    """

    instr: Instr
    operations: int
    bytes: int
    parameters: int


def costs(graph: Any) -> list[Cost]:
    """The cost of each instruction.

    Example:
        >>> import numpy as np
        >>> from lamina.graph import trace
        >>> w = np.ones((4, 5), "float32")
        >>> [(c.operations, c.parameters) for c in costs(trace(lambda x: x @ w, (None, 4)))]
        [(40, 20)]
    """
    return [
        Cost(
            instr,
            operations(instr),
            sum(v.elements * v.dtype.itemsize for v in (*instr.inputs, *instr.outputs)),
            sum(v.elements for v in instr.inputs if v in graph.constants and v.shape),
        )
        for instr in graph.instrs
    ]


def operations(instr: Instr) -> int:
    """The additions and multiplications of an instruction, or one for each element that it makes or reduces."""
    made = sum(v.elements for v in instr.outputs)
    if instr.op == "MatMul":
        inner = instr.inputs[0].shape[-1]
        return 2 * made * (inner if isinstance(inner, int) else 1)
    if instr.op in ("Conv", "ConvTranspose", "DepthwiseConv"):
        kernel = instr.inputs[1]
        places = made // _last(instr.outputs[0])
        if instr.op == "ConvTranspose":
            places = instr.inputs[0].elements // _last(instr.inputs[0])
        return 2 * places * kernel.elements
    if instr.op in ("LSTM", "GRU"):
        x, kernel, recurrent = instr.inputs[0], instr.inputs[-3], instr.inputs[-2]
        return 2 * (x.elements // _last(x)) * (kernel.elements + recurrent.elements)
    if instr.subgraphs:
        inside = [sum(operations(i) for i in sub.instrs) for sub in instr.subgraphs]
        return max(inside) if instr.op == "If" else sum(inside) * int(instr.attrs.get("length", 1))
    kind = OPSET[instr.op].kind if instr.op in OPSET else "other"
    if kind == "reduce" or instr.op in ("MaxPool", "AveragePool"):
        window = math.prod(instr.attrs.get("window", ()))
        return made * window if window > 1 else instr.inputs[0].elements
    moves = kind == "shape" or instr.op in ("Identity", "Cast")
    return 0 if moves else made


def _last(value: Value) -> int:
    size = value.shape[-1]
    return size if isinstance(size, int) else 1


def cost_table(graph: Any) -> str:
    """The costs as text, a line for each layer, the dearest first.

    Example:
        >>> import numpy as np
        >>> from lamina.graph import trace
        >>> print(cost_table(trace(lambda x: x @ np.ones((4, 5), "float32"), (None, 4))))
        layer      operations     bytes  parameters
        (none)             40       116          20
        total              40       116          20
    """
    rows: dict[str, list[int]] = {}
    for cost in costs(graph):
        row = rows.setdefault(cost.instr.path or "(none)", [0, 0, 0])
        for i, n in enumerate((cost.operations, cost.bytes, cost.parameters)):
            row[i] += n
    ordered = sorted(rows.items(), key=lambda item: -item[1][0])
    ordered.append(("total", [sum(r[i] for r in rows.values()) for i in range(3)]))
    width = max(len(name) for name, _ in ordered)
    lines = [f"{'layer':{width}}  {'operations':>12}{'bytes':>10}{'parameters':>12}"]
    lines += [f"{name:{width}}  {row[0]:>12,}{row[1]:>10,}{row[2]:>12,}" for name, row in ordered]
    return "\n".join(lines)


def partition(graph: Any, n: int) -> list[Any]:
    """The graph cut into `n` stages, one after the other, so that the dearest costs as little as it can.

    Each stage is a graph: its inputs are what earlier stages made, or inputs of the whole, under the same names.

    Args:
        graph: the graph.
        n: how many stages; fewer come back if there are fewer instructions.

    Example:
        >>> from lamina.graph import trace
        >>> stages = partition(trace(lambda x: (x + 1.0) * 2.0, (3,)), 2)
        >>> [[i.op for i in s.instrs] for s in stages]
        [['Add'], ['Mul']]
    """
    check_int("Graph.partition", "n", n, 1)
    weights = [cost.operations + cost.bytes / 4 for cost in costs(graph)]
    stages: list[Any] = []
    start = 0
    ends = list(_cuts(weights, min(n, len(weights)))) or [0]
    users = graph.users()
    for end in ends:
        stages.append(_stage(graph, start, end, len(stages), users, end == ends[-1]))
        start = end
    return stages


def _cuts(weights: Sequence[float], n: int) -> Iterator[int]:
    """Where the parts end: the least greatest sum of a part is found by halving."""
    low, high = max(weights, default=0.0), sum(weights)
    for _ in range(60):
        middle = (low + high) / 2
        if _parts(weights, middle) <= n:
            high = middle
        else:
            low = middle
    used, total, left = 0, 0.0, n
    for i, weight in enumerate(weights):
        rest = len(weights) - i
        if i and (total + weight > high * (1 + 1e-9) or rest < left) and i > used:
            yield i
            used, total, left = i, 0.0, left - 1
        total += weight
    if weights:
        yield len(weights)


def _parts(weights: Sequence[float], limit: float) -> int:
    parts, total = 1, 0.0
    for weight in weights:
        if total and total + weight > limit:
            parts, total = parts + 1, 0.0
        total += weight
    return parts


def _stage(graph: Any, start: int, end: int, number: int, users: dict[Value, list[Instr]], last: bool) -> Any:
    instrs = graph.instrs[start:end]
    made = {v for i in instrs for v in i.outputs}
    taken = dict.fromkeys(v for i in instrs for v in i.inputs)
    inside = set(map(id, instrs))
    stage = graph.copy()
    stage.name = f"{graph.name}_{number}"
    stage.instrs = [Instr(i.op, i.inputs, i.outputs, dict(i.attrs), i.path) for i in instrs]
    known = set(graph.constants)
    passed = [v for v in graph.outputs if last and v not in made and v not in known]
    stage.inputs = list(dict.fromkeys([*(v for v in taken if v not in made and v not in known), *passed]))
    fed = dict(zip(graph.inputs, graph.input_names, strict=True))
    stage.input_names = [fed.get(v, v.name) for v in stage.inputs]
    if last:
        stage.outputs, stage.output_names = list(graph.outputs), list(graph.output_names)
    else:
        wanted = [v for v in made if v in graph.outputs or any(id(u) not in inside for u in users.get(v, []))]
        order = [v for i in instrs for v in i.outputs]
        stage.outputs = sorted(wanted, key=order.index)
        stage.output_names, stage.structure = [v.name for v in stage.outputs], list
    needed = {*taken, *stage.outputs}
    stage.constants = {v: a for v, a in graph.constants.items() if v in needed}
    stage.variables = {v: p for v, p in graph.variables.items() if v in needed}
    return stage
