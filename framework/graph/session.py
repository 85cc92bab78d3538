"""Session: runs the part of a graph that is asked for, compiled once for each set of fetches and feeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lamina.core.errors import describe
from lamina.graph.interpret import evaluate
from lamina.graph.ir import Value


class Session:
    """Runs parts of a graph; what was compiled is kept.

    Args:
        graph: the graph.

    Example:
        >>> from lamina.graph import trace
        >>> graph = trace(lambda a, b: {"sum": a + b, "product": a * b}, (), ())
        >>> session = Session(graph)
        >>> out = session.run(["sum", "product"], {"a": 2.0, "b": 3.0})
        >>> [float(x) for x in out]
        [5.0, 6.0]
    """

    def __init__(self, graph: Any):
        self.graph = graph
        self._compiled: dict[tuple, Callable[..., list[Any]]] = {}

    def run(self, fetches: Any = None, feeds: Any = None) -> Any:
        """The values of the fetches; see `Graph.run`."""
        if fetches is None:
            fetches = list(self.graph.outputs)
        flat, tree = jax.tree.flatten(fetches)
        wanted = [self.graph.find(f) for f in flat]
        given = self._feeds(feeds)
        key = (tuple(wanted), tuple(given))
        if key not in self._compiled:
            self._compiled[key] = self._compile(*key)
        return jax.tree.unflatten(tree, self._compiled[key](*given.values()))

    def _feeds(self, feeds: Any) -> dict[Value, Any]:
        graph = self.graph
        if feeds is None:
            feeds = {}
        elif not isinstance(feeds, dict):
            feeds = feeds if isinstance(feeds, (list, tuple)) else [feeds]
            if len(feeds) > len(graph.inputs):
                raise ValueError(
                    f"Graph '{graph.name}': expected {len(graph.inputs)} inputs "
                    f"({', '.join(graph.input_names)}), got {len(feeds)}."
                )
            feeds = dict(zip(graph.inputs, feeds, strict=False))
        given = {}
        for name, array in feeds.items():
            value = graph.find(name)
            try:
                given[value] = array if isinstance(array, jax.Array) else np.asarray(array, value.dtype)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"Graph '{graph.name}': '{value.name}' takes {value!r}, got {describe(array)}."
                ) from error
        return given

    def _compile(self, fetches: tuple[Value, ...], feeds: tuple[Value, ...]) -> Callable[..., list[Any]]:
        return jax.jit(lambda *arrays: evaluate(self.graph, fetches, dict(zip(feeds, arrays, strict=True))))
