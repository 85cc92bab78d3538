"""Runs a graph with jax: each instruction by the function of its op, on arrays or in a trace."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.graph import arrays, elementwise, neural  # noqa: F401  they fill the table of ops
from lamina.graph.dims import match, resolve
from lamina.graph.ir import Instr, Value, is_graph
from lamina.graph.opset import OPSET


def instruction(instr: Instr, sizes: Mapping[str, Any]) -> Callable[..., Any]:
    """The function of arrays that an instruction stands for, its attributes built in.

    Args:
        instr: an instruction.
        sizes: the value of each named size.
    """
    attributes = resolve(instr.attrs, sizes)
    if instr.op == "Custom":
        run = attributes["run"]
        return functools.partial(run, sizes=sizes) if attributes.get("sized") else run
    for key, sub in attributes.items():
        if is_graph(sub):
            attributes[key] = functools.partial(call, sub, sizes=sizes)
    return functools.partial(OPSET[instr.op].run, **attributes)


def call(graph: Any, *args: Any, sizes: Mapping[str, Any] | None = None) -> list[Any]:
    """The outputs of a graph for arrays in the order of its inputs; may be traced and differentiated.

    Example:
        >>> from lamina.graph import trace
        >>> [float(y) for y in call(trace(lambda x: x + 1.0, ()), 2.0)]
        [3.0]
    """
    return evaluate(graph, graph.outputs, dict(zip(graph.inputs, args, strict=True)), sizes)


def evaluate(
    graph: Any, fetches: Sequence[Value], feeds: Mapping[Value, Any], sizes: Mapping[str, Any] | None = None
) -> list[Any]:
    """The values of some tensors of a graph, given others.

    Args:
        graph: a graph.
        fetches: the wanted values.
        feeds: arrays for inputs, or for any other values.
        sizes: named sizes that the shapes of the feeds do not tell.
    """
    known = {value: jnp.asarray(array, value.dtype) for value, array in feeds.items()}
    sizes = dict(sizes or {})
    for value, array in known.items():
        match(value.shape, array.shape, sizes, f"input '{value.name}' of graph '{graph.name}'")
    for value, array in graph.constants.items():
        if value not in known:
            known[value] = jnp.asarray(array)
    needed = _needed(graph, fetches, known)
    for instr in graph.instrs:
        if id(instr) not in needed:
            continue
        with jax.named_scope(instr.path or instr.op):
            out = instruction(instr, sizes)(*(known[v] for v in instr.inputs))
        out = out if isinstance(out, (list, tuple)) else [out]
        for value, array in zip(instr.outputs, out, strict=True):
            known.setdefault(value, array)
    return [known[value] for value in fetches]


def _needed(graph: Any, fetches: Sequence[Value], known: Mapping[Value, Any]) -> set[int]:
    """The identities of the instructions behind the fetches, up to what is known."""
    wanted = {v for v in fetches if v not in known}
    needed: set[int] = set()
    for instr in reversed(graph.instrs):
        if wanted.intersection(instr.outputs):
            needed.add(id(instr))
            wanted.difference_update(instr.outputs)
            wanted.update(v for v in instr.inputs if v not in known)
    if wanted:
        names = sorted(v.name for v in wanted)
        raise ValueError(f"Graph '{graph.name}': feed {', '.join(map(repr, names))}, which the fetched values need.")
    return needed
