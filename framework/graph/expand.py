"""Writes chosen instructions out in terms of other ops of the table: what an exporter has no counterpart for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lamina.graph.base import GraphBase
from lamina.graph.builder import Builder
from lamina.graph.control import scan_to_while
from lamina.graph.interpret import instruction
from lamina.graph.ir import Instr, Value, is_graph
from lamina.graph.lower import inline
from lamina.graph.verify import Symbols


def expand(graph: GraphBase, chosen: Callable[[Instr], bool]) -> GraphBase:
    """A graph in which each chosen instruction is replaced by those that its op is made of.

    A scan becomes a while loop, any other op the trace of its function. Graphs inside are expanded too.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from lamina import ops
        >>> from lamina.graph import trace
        >>> graph = trace(ops.silu, (3,))
        >>> [i.op for i in graph.instrs], [i.op for i in expand(graph, lambda i: i.op == "Silu").instrs]
        (['Silu'], ['Sigmoid', 'Mul'])
    """
    while any(map(chosen, instructions(graph))):
        graph = _expand(Builder(graph.name), graph, chosen)
    return graph


def instructions(graph: Any) -> Iterator[Instr]:
    """The instructions of a graph and of the graphs inside it."""
    for instr in graph.instrs:
        yield instr
        for sub in instr.subgraphs:
            yield from instructions(sub)


def _expand(b: Builder, graph: GraphBase, chosen: Callable[[Instr], bool]) -> GraphBase:
    here: dict[Value, Value] = {}
    here.update((value, value) for value in [*graph.inputs, *graph.constants])
    b.graph.inputs, b.graph.input_names = list(graph.inputs), list(graph.input_names)
    b.graph.constants, b.graph.variables = dict(graph.constants), dict(graph.variables)
    b.graph.trainable = graph.trainable
    for value in graph.values():
        b._names.setdefault(value.name, 1)
    for instr in graph.instrs:
        inputs = [here[v] for v in instr.inputs]
        with b.at(instr.path):
            for old, new in zip(instr.outputs, _written(b, instr, inputs, chosen), strict=True):
                here[old] = new
    return b.finish([here[v] for v in graph.outputs], list(graph.output_names), graph.structure)


def _written(b: Builder, instr: Instr, inputs: list[Value], chosen: Callable[[Instr], bool]) -> list[Value]:
    attrs = dict(instr.attrs)
    for key, sub in attrs.items():
        if is_graph(sub):
            inner = Builder(sub.name, b._names)
            attrs[key] = _expand(inner, sub, chosen)
    if not chosen(instr):
        return b.add(Instr(instr.op, tuple(inputs), (), attrs, instr.path), instr.outputs)
    if instr.op == "Scan":
        made = scan_to_while(b, Instr(instr.op, tuple(inputs), (), attrs, instr.path), inputs)
    else:
        run: Any = instruction(instr, Symbols(set()))
        start = len(b.graph.instrs)
        made = inline(b, lambda *x: run(*x), inputs)
        again = [i for i in b.graph.instrs[start:] if i.op == instr.op and chosen(i)]
        if again:
            raise ValueError(f"expand: {instr.label} is made of itself.")
    return made
