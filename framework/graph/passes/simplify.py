"""Passes that compute what is known, compute what is equal once, and leave out what is not needed."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from lamina.graph.interpret import instruction
from lamina.graph.ir import Instr, Value, is_graph
from lamina.graph.opset import OPSET
from lamina.graph.passes.rewrite import Rewriter

MOST_ELEMENTS = 1 << 22
"""Results of more elements are not folded unless their inputs are as large."""


def fold_constants(graph: Any, variables: bool = True) -> Any:
    """Instructions on constants alone become constants; a value that was given a name by `tag` stays what it is.

    So do values without elements, which are then left out where they are joined to others. Constants that are broadcast
    lose leading axes of one element, so that passes and exporters find biases as vectors.

    Args:
        graph: the graph.
        variables: whether variables count as constants.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina import Variable
        >>> from lamina.graph import trace
        >>> v = Variable(2.0, name="v")
        >>> graph = trace(lambda x: x * (v + 1.0), ())
        >>> [i.op for i in graph.instrs], [i.op for i in fold_constants(graph).instrs]
        (['Add', 'Mul'], ['Mul'])
    """
    r = Rewriter(graph)
    kept = []
    for instr in r.graph.instrs:
        if instr.op == "Concat":
            whole = [v for v in instr.inputs if v.shape[instr.attrs["axis"]] != 0]
            instr.inputs = tuple(whole or instr.inputs[:1])
            if len(whole) == 1:
                r.replaced[instr.output] = whole[0]
                continue
        if _is_empty(instr):
            r.graph.constants.update((v, np.zeros(v.shape, v.dtype)) for v in instr.outputs)
            continue
        if not _can_fold(r.graph, instr, variables):
            kept.append(instr)
            continue
        with jax.ensure_compile_time_eval():
            out = instruction(instr, {})(*(jax.numpy.asarray(r.graph.constants[v]) for v in instr.inputs))
        out = out if isinstance(out, (list, tuple)) else [out]
        for value, array in zip(instr.outputs, out, strict=True):
            r.graph.constants[value] = np.asarray(array)
    r.graph.instrs = kept
    _drop_leading_ones(r)
    return r.done()


def _drop_leading_ones(r: Rewriter) -> None:
    smaller: dict[Value, Value] = {}
    for instr in r.graph.instrs:
        if instr.op not in OPSET or OPSET[instr.op].kind != "binary" or len(instr.inputs) != 2:
            continue
        for value, other in (instr.inputs, instr.inputs[::-1]):
            if value not in r.graph.constants or value in r.graph.variables or other in r.graph.constants:
                continue
            shape = value.shape
            while len(shape) > 1 and shape[0] == 1:
                shape = shape[1:]
            if shape == value.shape or len(other.shape) < len(value.shape):
                continue
            if value not in smaller:
                smaller[value] = r.constant(np.reshape(r.graph.constants[value], shape), value.name)
            instr.inputs = tuple(smaller.get(v, v) if v is value else v for v in instr.inputs)


def _can_fold(graph: Any, instr: Instr, variables: bool) -> bool:
    if instr.op in ("Size", "Custom", "Identity") or instr.subgraphs or not all(v.is_static for v in instr.outputs):
        return False
    if not all(v in graph.constants and (variables or v not in graph.variables) for v in instr.inputs):
        return False
    made, taken = (sum(v.elements for v in values) for values in (instr.outputs, instr.inputs))
    grows = instr.op in ("BroadcastTo", "Tile", "Iota", "OneHot") and made > 4096
    return not grows and made <= max(MOST_ELEMENTS, 2 * taken)


def _is_empty(instr: Instr) -> bool:
    """Whether an instruction makes no elements."""
    if instr.op in ("Custom", "Identity") or instr.subgraphs or not instr.outputs:
        return False
    return all(v.is_static and 0 in v.shape for v in instr.outputs)


def merge_common(graph: Any) -> Any:
    """Equal instructions on the same values become one.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: jnp.exp(x) + jnp.exp(x) * 2.0, (3,))
        >>> [i.op for i in graph.instrs], [i.op for i in merge_common(graph).instrs]
        (['Exp', 'Exp', 'Mul', 'Add'], ['Exp', 'Mul', 'Add'])
    """
    r = Rewriter(graph)
    seen: dict[tuple, Instr] = {}
    new: dict[Value, Value] = {}
    kept = []
    for instr in r.graph.instrs:
        instr.inputs = tuple(new.get(v, v) for v in instr.inputs)
        if instr.op == "Custom" or any(map(is_graph, instr.attrs.values())):
            kept.append(instr)
            continue
        key = (instr.op, instr.inputs, repr(sorted(instr.attrs.items())))
        first = seen.setdefault(key, instr)
        if first is instr or any(v in graph.outputs for v in instr.outputs):
            kept.append(instr)
        else:
            new.update(zip(instr.outputs, first.outputs, strict=True))
    r.graph.instrs = kept
    return r.done()


def dead_code(graph: Any) -> Any:
    """What no output needs is left out.

    Example:
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: [x + 1.0, x * 2.0], (3,))
        >>> len(dead_code(graph.prune(graph.outputs[:1])).instrs)
        1
    """
    return graph.prune()
