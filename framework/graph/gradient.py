"""Gradients of graphs, as graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.errors import did_you_mean
from lamina.graph.base import GraphBase
from lamina.graph.builder import Builder
from lamina.graph.interpret import evaluate
from lamina.graph.ir import is_floating
from lamina.graph.lower import lower, struct


def gradient(graph: GraphBase, of: Any = None, wrt: Sequence[Any] | None = None) -> GraphBase:
    """The graph of the derivatives of the sum of a value.

    Args:
        graph: the graph.
        of: a value or its name; the first output by default.
        wrt: values that are fed or known: inputs, variables and other constants, or their names. By default the
            trainable variables; without any, the inputs.

    Returns:
        A graph with the inputs of the given one, and an output for each of `wrt`, under its name.

    Raises:
        KeyError: a name is unknown.
        ValueError: an instruction makes one of `wrt`, or it is not of floats.

    Example:
        >>> from lamina.graph import trace
        >>> gradient(trace(lambda x: x * x, ()), wrt=["x"]).output_names
        ['x_gradient']
    """
    target = graph.find(of) if of is not None else graph.outputs[0]
    names = {path: value for value, path in graph.variables.items()}
    if wrt is None:
        wrt = [p for p in graph.variables.values() if p in graph.trainable] or list(graph.inputs)
    chosen = [names[w] if isinstance(w, str) and w in names else graph.find(w) for w in wrt]
    for value in chosen:
        if value not in graph.inputs and value not in graph.constants:
            raise ValueError(
                f"gradient: '{value.name}' is made by the graph; differentiate with respect to inputs or variables."
                f"{did_you_mean(value.name, graph.input_names)}"
            )
        if not is_floating(value.dtype):
            raise ValueError(f"gradient: '{value.name}' is of {value.dtype}, and only floats have derivatives.")
    known = {v: a for v, a in graph.constants.items() if v in graph.variables or v in chosen}
    given = [*graph.inputs, *known]

    def derivatives(*arrays: Any) -> Any:
        feeds = dict(zip(given, arrays, strict=True))

        def total(*moved: Any) -> Any:
            out = evaluate(graph, [target], {**feeds, **dict(zip(chosen, moved, strict=True))})[0]
            return jnp.sum(out)

        return jax.grad(total, tuple(range(len(chosen))))(*(feeds[v] for v in chosen))

    closed = jax.make_jaxpr(derivatives)(*map(struct, given))
    b = Builder(f"{graph.name}_gradient")
    inputs = [b.input(n, v.shape, v.dtype) for n, v in zip(graph.input_names, graph.inputs, strict=True)]
    for value, array in known.items():
        path = graph.variables.get(value)
        if path is None:
            inputs.append(b.constant(np.asarray(array), value.name))
        else:
            inputs.append(b.variable(path, array, path in graph.trainable))
    outputs = lower(b, closed.jaxpr, closed.consts, inputs)
    fed = dict(zip(graph.inputs, graph.input_names, strict=True))
    labels = [f"{fed.get(v, graph.variables.get(v, v.name))}_gradient" for v in chosen]
    return b.finish(outputs, labels)
