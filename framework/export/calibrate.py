"""Ranges of the values of a graph, measured on representative data: what quantisation to integers is planned from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.errors import describe, listing
from lamina.graph.interpret import evaluate
from lamina.graph.ir import Value

Ranges = dict[Value, tuple[float, float]]


def calibrate(graph: Any, data: Iterable[Any], steps: int | None = None) -> Ranges:
    """The least and the greatest element of each value of floats, over all data.

    Args:
        graph: the graph.
        data: batches like those that the model is fed with: an array, or a tuple or dict of them by the names of the
            inputs. Of pairs (inputs, targets), as `fit` takes them, the first is used. A single sample, without
            the axis of the batch, is a batch of one.
        steps: how many batches to take; None for all.

    Returns:
        (least, greatest) by value, of all inputs and of what the instructions make.

    Raises:
        ValueError: there is no data, an array does not fit its input, or a value is infinite or NaN.

    Example:
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: x * 2.0, (None, 2), input_names=["x"])
        >>> ranges = calibrate(graph, [np.asarray([[1.0, 3.0]]), np.asarray([[-2.0, 0.0]])])
        >>> ranges[graph.outputs[0]]
        (-4.0, 6.0)
    """
    values = [v for v in [*graph.inputs, *(o for i in graph.instrs for o in i.outputs)] if v.dtype == np.float32]
    values = [v for v in dict.fromkeys(values) if 0 not in v.shape]

    @jax.jit
    def extremes(arrays: Sequence[Any]) -> Any:
        found = evaluate(graph, values, dict(zip(graph.inputs, arrays, strict=True)))
        return jnp.stack([jnp.stack([jnp.min(x), jnp.max(x)]) for x in found])

    total: np.ndarray | None = None
    for number, element in enumerate(data):
        if steps is not None and number >= steps:
            break
        found = np.asarray(extremes(feeds(graph, element)))
        if total is None:
            total = found
        total = np.stack([np.minimum(total[:, 0], found[:, 0]), np.maximum(total[:, 1], found[:, 1])], 1)
    if total is None:
        raise ValueError("calibrate: the representative data holds no batch.")
    makers = graph.producers()
    wrong = [v for v, row in zip(values, total, strict=True) if not np.all(np.isfinite(row))]
    if wrong:
        names = [makers[v].path or v.name if v in makers else v.name for v in wrong]
        raise ValueError(
            f"calibrate: infinite or NaN with the representative data: {listing(list(dict.fromkeys(names)))}."
        )
    return {v: (float(lo), float(hi)) for v, (lo, hi) in zip(values, total, strict=True)}


def feeds(graph: Any, element: Any) -> list[np.ndarray]:
    """The arrays of the inputs, in order, from an element of a dataset.

    Raises:
        ValueError: an input is missing, or an array does not fit.
    """
    names = graph.input_names
    if isinstance(element, (tuple, list)) and len(element) != len(names) or _is_pair(element, len(names)):
        element = element[0]
    if isinstance(element, Mapping):
        missing = [n for n in names if n not in element]
        if missing:
            raise ValueError(f"calibrate: the representative data has no {listing(missing)}, only {sorted(element)}.")
        arrays = [element[n] for n in names]
    else:
        arrays = list(element) if isinstance(element, (tuple, list)) else [element]
    if len(arrays) != len(names):
        raise ValueError(f"calibrate: expected data for {listing(names, 'and')}, got {describe(element)}.")
    out = []
    for name, value, given in zip(names, graph.inputs, arrays, strict=True):
        array = np.asarray(given, value.dtype)
        array = array[None] if array.ndim == len(value.shape) - 1 else array
        if array.ndim != len(value.shape):
            raise ValueError(
                f"calibrate: input '{name}' has {len(value.shape)} axes, the representative data {array.ndim}."
            )
        out.append(array)
    return out


def _is_pair(element: Any, inputs: int) -> bool:
    """Whether an element is (inputs, targets), the inputs several."""
    if not isinstance(element, (tuple, list)) or len(element) != 2 or inputs != 2:
        return False
    return isinstance(element[0], (tuple, list, dict)) and len(element[0]) == 2
