"""Graphs for TFLite Micro: what it has no operator for, in terms of those that it has."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.graph.expand import expand
from lamina.graph.ir import Instr
from lamina.graph.passes.rewrite import Rewriter

BOOL, INT32 = np.dtype("bool"), np.dtype("int32")

SLICED = 4
"""How many axes STRIDED_SLICE takes."""


def rewrite(graph: Any) -> Any:
    """A graph without ops that Micro lacks, where others make the same.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.graph import trace
        >>> graph = rewrite(trace(lambda x: jnp.tile(x, (2, 3)), (1, 4)))
        >>> [i.op for i in graph.instrs]
        ['Reshape', 'BroadcastTo', 'Reshape']
    """
    return _swapped(expand(graph, _expands))


def _expands(instr: Instr) -> bool:
    return instr.op in ("OneHot", "LSTM", "GRU", "Scan") or instr.op == "Gelu" and bool(instr.attrs.get("approximate"))


def _swapped(graph: Any) -> Any:
    r = Rewriter(graph)
    for instr in list(r.graph.instrs):
        for key, sub in instr.attrs.items():
            if sub in instr.subgraphs:
                instr.attrs[key] = _swapped(sub)
        if instr.op == "Select" and instr.output.dtype == INT32:
            _select(r, instr)
        elif instr.op in ("Neg", "Abs") and instr.output.dtype == INT32:
            _sign(r, instr)
        elif instr.op == "Tile":
            _tile(r, instr)
        elif instr.op == "Transpose":
            _transpose(r, instr)
        elif instr.op == "Gelu":
            _gelu(r, instr)
        elif instr.op == "Slice" and len(instr.output.shape) > SLICED:
            _slice(r, instr)
    return r.done()


def _select(r: Rewriter, instr: Instr) -> None:
    """Integers by a condition: the product with 1 and 0, since SELECT_V2 takes no int32."""
    condition, yes, no = instr.inputs
    other = r.before(instr, "Not", [condition], "not")
    parts = []
    for flag, value in ((condition, yes), (other, no)):
        number = r.before(instr, "Cast", [flag], "flag", dtype="int32")
        parts.append(r.before(instr, "Mul", [number, value], "part"))
    r.swap(instr, "Add", parts)


def _sign(r: Rewriter, instr: Instr) -> None:
    """-x and |x| of integers by what has kernels for them."""
    (x,) = instr.inputs
    zero = r.constant(np.int32(0), "zero")
    if instr.op == "Neg":
        r.swap(instr, "Sub", [zero, x])
    else:
        r.swap(instr, "Maximum", [x, r.before(instr, "Sub", [zero, x], "negative")])


def _transpose(r: Rewriter, instr: Instr) -> None:
    """Moved axes of size 1: a reshape. Of conditions, which TRANSPOSE does not take, those of 1 and 0."""
    (x,) = instr.inputs
    large = [axis for axis in instr.attrs["perm"] if x.shape[axis] != 1]
    if large == sorted(large):
        r.swap(instr, "Reshape", [x], shape=instr.output.shape)
    elif x.dtype == BOOL:
        numbers = r.before(instr, "Cast", [x], "numbers", dtype="float32")
        moved = r.before(instr, "Transpose", [numbers], "moved", perm=instr.attrs["perm"])
        r.swap(instr, "Greater", [moved, r.constant(np.float32(0.5), "half")])


def _slice(r: Rewriter, instr: Instr) -> None:
    """A part of an array of many axes: those that are taken whole are joined with such beside them."""
    (x,) = instr.inputs
    joined: list[list[Any]] = []  # size, start, stop, stride
    before = False
    for size, *cut in zip(x.shape, instr.attrs["start"], instr.attrs["stop"], instr.attrs["strides"], strict=True):
        whole = cut == [0, size, 1]
        if whole and before:
            joined[-1] = [joined[-1][0] * size, 0, joined[-1][2] * size, 1]
        else:
            joined.append([size, *cut])
        before = whole
    shape, start, stop, strides = map(tuple, zip(*joined, strict=True))
    flat = r.before(instr, "Reshape", [x], "joined", shape=shape)
    part = r.before(instr, "Slice", [flat], "part", start=start, stop=stop, strides=strides)
    r.swap(instr, "Reshape", [part], shape=instr.output.shape)


def _gelu(r: Rewriter, instr: Instr) -> None:
    """max(x, 0) - |x| P(X > |x|), the probability by Abramowitz and Stegun's 7.1.26, which is off by 7.5e-8 at most."""
    (x,) = instr.inputs

    def number(value: float) -> Any:
        return r.constant(np.asarray(value, x.dtype), "gelu")

    def made(op: str, *inputs: Any) -> Any:
        return r.before(instr, op, inputs, op.lower())

    size = made("Abs", x)
    t = made("Div", number(1), made("Add", made("Mul", size, number(0.3275911 / 2**0.5)), number(1)))
    tail = made("Mul", t, number(1.061405429 / 2))
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail = made("Mul", made("Add", tail, number(coefficient / 2)), t)
    density = made("Exp", made("Mul", made("Mul", size, size), number(-0.5)))
    r.swap(instr, "Sub", [made("Relu", x), made("Mul", size, made("Mul", tail, density))])


def _tile(r: Rewriter, instr: Instr) -> None:
    """Copies beside each other: axes of size 1 before each, made larger, joined with it."""
    (x,) = instr.inputs
    wanted: Any = instr.output.shape
    shape: Any = (1,) * (len(wanted) - len(x.shape)) + x.shape
    counts = [w // d if d else 1 for w, d in zip(wanted, shape, strict=True)]
    apart = [(1, d) if n > 1 else (d,) for n, d in zip(counts, shape, strict=True)]
    wide = [(n, d) if n > 1 else (d,) for n, d in zip(counts, shape, strict=True)]
    pieces = r.before(instr, "Reshape", [x], "apart", shape=sum(apart, ()))
    whole = r.before(instr, "BroadcastTo", [pieces], "copies", shape=sum(wide, ()))
    r.swap(instr, "Reshape", [whole], shape=wanted)
