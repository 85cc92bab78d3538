"""Graphs whose sizes are all known: what formats for small devices take."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import did_you_mean, listing
from lamina.export.calibrate import batches, feeds
from lamina.graph.dims import BATCH, evaluate, resolve
from lamina.graph.ir import Instr, Value, is_graph


def static(graph: Any, batch_size: int = 1, sizes: Mapping[str, int] | None = None, where: str = "export") -> Any:
    """A graph with numbers in place of all named sizes.

    Args:
        graph: the graph.
        batch_size: the size of the first axis of inputs, where it was left open.
        sizes: other sizes that were left open, by name.
        where: what is done, for errors.

    Raises:
        ValueError: a size is missing or unknown, or no size of at least 1.

    Example:
        >>> from lamina.graph import trace
        >>> static(trace(lambda x: x * 2.0, (None, 3))).outputs[0].shape
        (1, 3)
    """
    known = {BATCH: check_int(where, "batch_size", batch_size, 1)}
    named = graph.sizes()
    for name, size in (sizes or {}).items():
        if name not in named:
            raise ValueError(f"{where}: sizes names '{name}', which is no size of an input.{did_you_mean(name, named)}")
        known[name] = check_int(where, f"sizes['{name}']", size, 1)
    missing = sorted(named - set(known))
    if missing:
        example = ", ".join(f"'{name}': 16" for name in missing)
        raise ValueError(
            f"{where}: the format needs all sizes, got none for {listing(missing)}. Pass sizes={{{example}}}."
        )
    return _bound(graph, known, {})


def rows(graph: Any, fixed: Any, data: Any) -> Iterator[dict[str, np.ndarray]]:
    """Batches of a graph, cut to the batch size of its static form; a last batch that is too short is left out.

    Args:
        graph: the graph with sizes open.
        fixed: what `static` made of it.
        data: representative data for the first, as `lamina.export.calibrate.calibrate` takes it.

    Example:
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: x * 2.0, (None, 2), input_names=["x"])
        >>> [feed["x"].shape for feed in rows(graph, static(graph), [np.zeros((3, 2))])]
        [(1, 2), (1, 2), (1, 2)]
    """
    cut = [v.shape[:1] == (BATCH,) for v in graph.inputs]
    size = next((v.shape[0] for v, c in zip(fixed.inputs, cut, strict=True) if c), 1)
    for element in batches(graph, data):
        arrays = feeds(graph, element)
        count = min((len(a) for a, c in zip(arrays, cut, strict=True) if c), default=size)
        for start in range(0, count - size + 1, size):
            parts = [a[start : start + size] if c else a for a, c in zip(arrays, cut, strict=True)]
            yield dict(zip(graph.input_names, parts, strict=True))


def _bound(graph: Any, sizes: Mapping[str, int], known: dict[Value, Value]) -> Any:
    """A copy of a graph, and of those inside it, with sizes evaluated."""

    def fixed(value: Value) -> Value:
        if value not in known:
            shape = tuple(evaluate(d, sizes) for d in value.shape)
            known[value] = value if value.is_static else Value(value.name, shape, value.dtype)
        return known[value]

    def attributes(instr: Instr) -> dict[str, Any]:
        found = resolve(instr.attrs, sizes)
        if found.pop("sized", False):
            found["run"] = functools.partial(found["run"], sizes=sizes)
        return {k: _bound(a, sizes, known) if is_graph(a) else a for k, a in found.items()}

    made = graph.copy()
    made.inputs, made.outputs = [fixed(v) for v in graph.inputs], [fixed(v) for v in graph.outputs]
    made.instrs = [
        Instr(i.op, tuple(map(fixed, i.inputs)), tuple(map(fixed, i.outputs)), attributes(i), i.path)
        for i in graph.instrs
    ]
    return made
