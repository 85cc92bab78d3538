"""Recognises, in code written in primitives, ops that formats know by name: relu, silu, mean, softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamina.graph.ir import Instr, Value, is_floating
from lamina.graph.passes.rewrite import Rewriter


def recognise(graph: Any) -> Any:
    """max(x, 0) becomes Relu, x * sigmoid(x) Silu, sum / n ReduceMean, and exp(x - max) / sum Softmax.

    Slices that jax replaces by NaN where an index is out of range are gathered as they are: what an index out of range
    gives is then the nearest slice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: jax.nn.softmax(jnp.maximum(x, 0)), (None, 3))
        >>> [i.op for i in recognise(graph).instrs]
        ['Relu', 'Softmax']
    """
    r = Rewriter(graph)
    for instr in list(r.graph.instrs):
        for pattern in (_relu, _relu6, _silu, _mean, _softmax, _gather):
            found = pattern(r, instr)
            if found is not None:
                op, inputs, attrs = found
                r.swap(instr, op, inputs, **attrs)
                break
    return r.done()


def _pairs(instr: Instr) -> Any:
    return (instr.inputs, instr.inputs[::-1])


def _relu(r: Rewriter, instr: Instr) -> Any:
    if instr.op == "Maximum" and is_floating(instr.output.dtype):
        for x, zero in _pairs(instr):
            if r.is_number(zero, 0.0) and x.shape == instr.output.shape:
                return "Relu", [x], {}
    return None


def _relu6(r: Rewriter, instr: Instr) -> Any:
    if instr.op == "Minimum":
        for x, six in _pairs(instr):
            relu = r.made_by(x, "Relu")
            if relu is not None and r.is_number(six, 6.0) and r.only_use(x):
                return "Relu6", relu.inputs, {}
    return None


def _silu(r: Rewriter, instr: Instr) -> Any:
    if instr.op == "Mul":
        for x, gate in _pairs(instr):
            sigmoid = r.made_by(gate, "Sigmoid")
            if sigmoid is not None and sigmoid.inputs[0] is x and r.only_use(gate):
                return "Silu", [x], {}
    return None


def _mean(r: Rewriter, instr: Instr) -> Any:
    """sum / n, also where the sum got its reduced axes back as axes of size 1."""
    if instr.op != "Div":
        return None
    total, factor = instr.inputs
    reshaped = r.made_by(total, "Reshape")
    made = r.made_by(total if reshaped is None else reshaped.inputs[0], "ReduceSum")
    if made is None or not r.only_use(total) or not is_floating(total.dtype) or factor.shape:
        return None
    shape, axes = made.inputs[0].shape, made.attrs["axes"]
    sizes = [shape[a] for a in axes]
    if not all(isinstance(d, int) for d in sizes) or not r.is_number(factor, math.prod(sizes)):
        return None
    if reshaped is None:
        return "ReduceMean", made.inputs, made.attrs
    if tuple(total.shape) == tuple(1 if i in axes else d for i, d in enumerate(shape)):
        return "ReduceMean", made.inputs, {"axes": axes, "keepdims": True}
    return None


def _softmax(r: Rewriter, instr: Instr) -> Any:
    """exp(x - max(x)) / sum(exp(x - max(x))), the maximum and the sum over the last axis."""
    if instr.op != "Div":
        return None
    e, total = instr.inputs
    exp, summed = r.made_by(e, "Exp"), _reduced(r, total, "ReduceSum")
    if exp is None or summed is None or summed.inputs[0] is not e:
        return None
    minus = r.made_by(exp.inputs[0], "Sub")
    if minus is None:
        return None
    x, top = minus.inputs
    peak = _reduced(r, top, "ReduceMax")
    last = (len(x.shape) - 1,)
    if (
        peak is None
        or peak.inputs[0] is not x
        or tuple(peak.attrs["axes"]) != last
        or tuple(summed.attrs["axes"]) != last
    ):
        return None
    return "Softmax", [x], {"axis": last[0]}


def _gather(r: Rewriter, instr: Instr) -> Any:
    """Select(0 <= i <= n, Gather(x, i), NaN), which is how jax indexes."""
    if instr.op != "Select":
        return None
    inside, slices, other = instr.inputs
    gathered = r.made_by(slices, "Gather", "GatherND", "GatherElements")
    fill = r.known(other)
    if gathered is None or fill is None or not is_floating(fill.dtype) or not np.all(np.isnan(fill)):
        return None
    every = r.made_by(inside, "ReduceAnd", "Reshape")
    every = every if every is None or every.op == "ReduceAnd" else r.made_by(every.inputs[0], "ReduceAnd")
    both = None if every is None else r.made_by(every.inputs[0], "And")
    tests = [] if both is None else [r.made_by(v, "GreaterEqual", "LessEqual") for v in both.inputs]
    if len(tests) == 2 and all(t is not None for t in tests):
        return gathered.op, gathered.inputs, gathered.attrs
    return None


def _reduced(r: Rewriter, value: Value, op: str) -> Instr | None:
    """The reduction behind a value, through reshapes and a maximum with minus infinity."""
    for _ in range(4):
        made = r.made_by(value, op, "Reshape", "BroadcastTo", "Maximum")
        if made is None or made.op == op:
            return made
        if made.op == "Maximum":
            others = [v for v in made.inputs if not r.is_number(v, -math.inf)]
            if len(others) != 1:
                return None
            value = others[0]
        else:
            value = made.inputs[0]
    return None
