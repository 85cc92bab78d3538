"""Transposes and reshapes: those that undo each other, or follow each other, become one or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.graph.dims import Dims
from lamina.graph.ir import Value
from lamina.graph.opset import OPSET
from lamina.graph.passes.rewrite import Rewriter


def simplify_layout(graph: Any) -> Any:
    """Transposes move down through elementwise instructions and cancel; reshapes of reshapes become one.

    Transposes that are left and move no element, only axes of size 1, are reshapes.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: jnp.exp(x.T).T, (2, 3))
        >>> [i.op for i in graph.instrs], [i.op for i in simplify_layout(graph).instrs]
        (['Transpose', 'Exp', 'Transpose'], ['Exp'])
    """
    before = None
    while before is None or len(graph.instrs) != before:
        before = len(graph.instrs)
        graph = _cancel(_sink(graph))
    return _cancel(_flatten(graph))


def _sink(graph: Any) -> Any:
    """Op(Transpose(x)) becomes Transpose(Op(x)) for elementwise ops of one input, or of one and a constant."""
    r = Rewriter(graph)
    for instr in list(r.graph.instrs):
        kind = OPSET[instr.op].kind if instr.op in OPSET else ""
        given = [v for v in instr.inputs if v not in r.graph.constants]
        if kind not in ("unary", "binary") or len(given) != 1 or given[0].shape != instr.output.shape:
            continue
        moved = r.made_by(given[0], "Transpose")
        if moved is None or not r.only_use(given[0]):
            continue
        perm = moved.attrs["perm"]
        inputs = [moved.inputs[0] if v is given[0] else _before_transpose(r, v, perm) for v in instr.inputs]
        y = r.before(instr, instr.op, inputs, f"{instr.output.name}_inner", **instr.attrs)
        r.swap(instr, "Transpose", [y], perm=perm)
    return r.done()


def _before_transpose(r: Rewriter, value: Value, perm: Sequence[int]) -> Value:
    """The constant that is broadcast in front of a transpose as one is behind it."""
    if value.elements == 1:
        return value
    array = np.asarray(r.graph.constants[value])
    array = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
    return r.constant(np.transpose(array, np.argsort(perm)), value.name)


def _flatten(graph: Any) -> Any:
    """Transposes that move only axes of size 1 become reshapes; not earlier, for reshapes move through nothing."""
    r = Rewriter(graph)
    for instr in list(r.graph.instrs):
        if instr.op == "Transpose":
            large = [axis for axis in instr.attrs["perm"] if instr.inputs[0].shape[axis] != 1]
            if large == sorted(large):
                r.swap(instr, "Reshape", instr.inputs, shape=Dims(instr.output.shape))
    return r.done()


def _cancel(graph: Any) -> Any:
    r = Rewriter(graph)
    for instr in list(r.graph.instrs):
        if instr.op == "Transpose":
            inner = r.made_by(instr.inputs[0], "Transpose")
            if inner is None:
                continue
            perm = tuple(inner.attrs["perm"][p] for p in instr.attrs["perm"])
            if perm == tuple(range(len(perm))):
                r.replaced[instr.output] = inner.inputs[0]
            else:
                r.swap(instr, "Transpose", inner.inputs, perm=perm)
        elif instr.op == "Reshape":
            inner = r.made_by(instr.inputs[0], "Reshape")
            if inner is not None:
                r.swap(instr, "Reshape", inner.inputs, **instr.attrs)
            current = r.producers[instr.output].inputs[0]
            if tuple(current.shape) == tuple(instr.output.shape):
                r.replaced[instr.output] = current
    return r.done()
