"""Writes chosen instructions out in terms of other ops of the table: what an exporter has no counterpart for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lamina.graph.base import GraphBase
from lamina.graph.builder import Builder
from lamina.graph.control import scan_to_while
from lamina.graph.interpret import instruction
from lamina.graph.ir import Instr, Value, is_graph
from lamina.graph.lower import inline
from lamina.graph.verify import Symbols

Write = Callable[[Builder, Instr, list[Value]], Sequence[Value]]


def expand(graph: GraphBase, chosen: Callable[[Instr], bool], write: Write | None = None) -> GraphBase:
    """A graph in which each chosen instruction is replaced by those that its op is made of.

    A scan becomes a while loop, any other op the trace of its function. Graphs inside are expanded too.

    Args:
        graph: the graph.
        chosen: whether an instruction is replaced; asked again of what takes its place.
        write: what takes its place instead: `write(builder, instr, inputs)` gives values for its outputs.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from lamina import ops
        >>> from lamina.graph import trace
        >>> graph = trace(ops.silu, (3,))
        >>> [i.op for i in graph.instrs], [i.op for i in expand(graph, lambda i: i.op == "Silu").instrs]
        (['Silu'], ['Sigmoid', 'Mul'])
    """
    while any(map(chosen, instructions(graph))):
        graph = _expand(Builder(graph.name), graph, chosen, write or _definition)
    return graph


def instructions(graph: Any) -> Iterator[Instr]:
    """The instructions of a graph and of the graphs inside it."""
    for instr in graph.instrs:
        yield instr
        for sub in instr.subgraphs:
            yield from instructions(sub)


def _expand(b: Builder, graph: GraphBase, chosen: Callable[[Instr], bool], write: Write) -> GraphBase:
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
            for old, new in zip(instr.outputs, _written(b, instr, inputs, chosen, write), strict=True):
                here[old] = new
    return b.finish([here[v] for v in graph.outputs], list(graph.output_names), graph.structure)


def _written(
    b: Builder, instr: Instr, inputs: list[Value], chosen: Callable[[Instr], bool], write: Write
) -> Sequence[Value]:
    attrs = dict(instr.attrs)
    for key, sub in attrs.items():
        if is_graph(sub):
            inner = Builder(sub.name, b._names)
            attrs[key] = _expand(inner, sub, chosen, write)
    if not chosen(instr):
        return b.add(Instr(instr.op, tuple(inputs), (), attrs, instr.path), instr.outputs)
    start = len(b.graph.instrs)
    made = write(b, Instr(instr.op, tuple(inputs), instr.outputs, attrs, instr.path), inputs)
    again = [i for i in b.graph.instrs[start:] if i.op == instr.op and chosen(i)]
    if again and write is _definition:
        raise ValueError(f"expand: {instr.label} is made of itself.")
    return made


def _definition(b: Builder, instr: Instr, inputs: list[Value]) -> Sequence[Value]:
    """The instructions that an op is made of."""
    if instr.op == "Scan":
        return scan_to_while(b, instr, inputs)
    run: Any = instruction(instr, Symbols(set()))
    return inline(b, lambda *x: run(*x), inputs)
