"""Rules for the control flow of jax: branches and loops become instructions that hold graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.graph.base import GraphBase
from lamina.graph.builder import Builder
from lamina.graph.dims import Dims
from lamina.graph.ir import Value
from lamina.graph.lower import lower, primitive
from lamina.graph.primitives import scalar


@primitive("cond")
def _cond(b: Builder, params: Any, avals: Any, index: Value, *operands: Value) -> Any:
    graphs = []
    for i, branch in enumerate(params["branches"]):
        inner, args = inner_builder(b, f"branch{i}", operands)
        graphs.append(inner.finish(lower(inner, branch.jaxpr, branch.consts, args)))
    if len(graphs) == 1:
        return b.include(graphs[0], operands)
    if len(graphs) > 2:
        return _switch(b, index, operands, graphs)
    condition = b.emit("NotEqual", [index, scalar(b, 0, index.dtype)]) if index.dtype != bool else index
    return b.emit("If", [condition, *operands], then=graphs[1], orelse=graphs[0])


def _switch(b: Builder, index: Value, operands: Sequence[Value], graphs: list[GraphBase]) -> Any:
    """Branches chosen one from the other, from the last."""
    orelse = graphs[-1]
    for number in range(len(graphs) - 2, 0, -1):
        inner, (which, *inputs) = inner_builder(b, f"branches{number}", [index, *operands])
        last = number == len(graphs) - 2
        below = _with_index(b, orelse, index, operands) if last else orelse
        condition = inner.emit("Equal", [which, scalar(inner, number, index.dtype)])
        out = inner.emit(
            "If", [condition, which, *inputs], then=_with_index(b, graphs[number], index, operands), orelse=below
        )
        orelse = inner.finish(out if isinstance(out, list) else [out])
    condition = b.emit("LessEqual", [index, scalar(b, 0, index.dtype)])
    return b.emit("If", [condition, index, *operands], then=_with_index(b, graphs[0], index, operands), orelse=orelse)


def _with_index(b: Builder, graph: GraphBase, index: Value, operands: Sequence[Value]) -> GraphBase:
    """A graph that takes, and ignores, the number of the branch first."""
    if len(graph.inputs) == len(operands) + 1:
        return graph
    taken = graph.copy()
    unused = Value(b.unique("which"), (), index.dtype)
    taken.inputs, taken.input_names = [unused, *taken.inputs], [unused.name, *taken.input_names]
    return taken


@primitive("while")
def _while(b: Builder, params: Any, avals: Any, *operands: Value) -> Any:
    nc, nb = params["cond_nconsts"], params["body_nconsts"]
    state, own_cond, own_body = operands[nc + nb :], operands[:nc], operands[nc : nc + nb]
    whole = [*state, *own_cond, *own_body]

    def graph(name: str, closed: Any, first: int, count: int) -> GraphBase:
        inner, args = inner_builder(b, name, whole)
        outputs = lower(inner, closed.jaxpr, closed.consts, [*args[first : first + count], *args[: len(state)]])
        return inner.finish(outputs)

    cond = graph("cond", params["cond_jaxpr"], len(state), nc)
    body = graph("body", params["body_jaxpr"], len(state) + nc, nb)
    return b.emit("While", whole, carried=len(state), cond=cond, body=body)


def inner_builder(b: Builder, name: str, values: Sequence[Value]) -> tuple[Builder, list[Value]]:
    """A builder for a graph inside, and its inputs, one like each of the values."""
    inner = Builder(name, b._names)
    inner.keep = b.keep
    args = [inner.input(f"{name}/arg", v.shape, v.dtype) for v in values]
    inner.graph.input_names = [v.name for v in args]
    return inner, args


@primitive("scan")
def _scan(b: Builder, params: Any, avals: Any, *operands: Value) -> Any:
    consts, carried = params["num_consts"], params["num_carry"]
    closed = params["jaxpr"]
    total = len(operands)
    order = [*range(consts, total), *range(consts)]  # carried, rows, fixed
    like = [row_of(operands[i]) if consts + carried <= i else operands[i] for i in order]
    inner, args = inner_builder(b, "body", like)
    placed = dict(zip(order, args, strict=True))
    body = inner.finish(lower(inner, closed.jaxpr, closed.consts, [placed[i] for i in range(total)]))
    return b.emit(
        "Scan",
        [operands[i] for i in order],
        carried=carried,
        rows=total - consts - carried,
        length=int(params["length"]),
        reverse=bool(params["reverse"]),
        body=body,
    )


def row_of(value: Value) -> Value:
    """A value like one row of another, for its shape."""
    return Value(value.name, Dims(value.shape[1:]), value.dtype)


def scan_to_while(b: Builder, instr: Any, inputs: Sequence[Value]) -> list[Value]:
    """A scan as a while loop that counts, slices rows and writes what it makes into arrays."""
    n, m, length = instr.attrs["carried"], instr.attrs["rows"], instr.attrs["length"]
    body: GraphBase = instr.attrs["body"]
    rows = [v for v in body.outputs[n:]]
    state, stacks, fixed = list(inputs[:n]), list(inputs[n : n + m]), list(inputs[n + m :])
    empty = [_zeros(b, (length, *v.shape), v.dtype) for v in rows]
    counter = scalar(b, 0, np.int32)
    whole = [counter, *state, *empty, *stacks, *fixed]
    carried = 1 + n + len(empty)

    c, args = inner_builder(b, "cond", whole)
    more = c.emit("Less", [args[0], scalar(c, length, np.int32)])
    cond = c.finish([more])
    s, args = inner_builder(b, "body", whole)
    step, old = args[0], args[1 : 1 + n]
    out = args[1 + n : carried]
    stacked, held = args[carried : carried + m], args[carried + m :]
    zero = scalar(s, 0, np.int32)
    place = s.emit("Sub", [scalar(s, length - 1, np.int32), step]) if instr.attrs["reverse"] else step
    taken = []
    for v in stacked:
        row = s.emit("DynamicSlice", [v, place, *[zero] * (len(v.shape) - 1)], sizes=Dims([1, *v.shape[1:]]))
        taken.append(s.emit("Reshape", [row], shape=Dims(v.shape[1:])))
    new = s.include(body, [*old, *taken, *held])
    written = []
    for v, row in zip(out, new[n:], strict=True):
        one = s.emit("Reshape", [row], shape=Dims([1, *row.shape]))
        written.append(s.emit("DynamicUpdate", [v, one, place, *[zero] * len(row.shape)]))
    after = s.emit("Add", [step, scalar(s, 1, np.int32)])
    loop = s.finish([after, *new[:n], *written])
    done = b.emit("While", whole, carried=carried, cond=cond, body=loop)
    return list(done[1:]) if isinstance(done, list) else []


def _zeros(b: Builder, shape: Sequence[Any], dtype: np.dtype) -> Value:
    return b.emit("BroadcastTo", [scalar(b, 0, dtype)], shape=Dims(shape))
