"""Ranges of the values of a graph, measured on representative data: what quantisation to integers is planned from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_choice
from lamina.core.errors import describe, listing
from lamina.export.histogram import BINS, counts, mse_range, percentile_range
from lamina.graph.interpret import evaluate
from lamina.graph.ir import Value

Ranges = dict[Value, tuple[float, float]]
"""(least, greatest) of each value: all that exporters know of activations when they quantise."""
METHODS = ("minmax", "percentile", "mse")
KEEPING = frozenset(
    "Reshape Transpose BroadcastTo Split Slice Pad Tile Reverse Gather GatherND SpaceToDepth DepthToSpace MaxPool "
    "AveragePool Resize ReduceMax ReduceMin".split()
)
"""Ops whose output is stored as their input is."""
MOVING = frozenset(
    "Reshape Transpose BroadcastTo Split Slice Pad Tile Reverse SpaceToDepth DepthToSpace Identity".split()
)
"""Ops that compute nothing: in which type they move elements is no matter of precision."""
COARSEST = 64.0
"""Steps from which on values stay floats: masks add -1e9, and in the steps of such a range nothing else is left."""
BATCH_ROWS = 32
"""How many rows of an array are one batch."""


@dataclass(frozen=True)
class Calibration:
    """How ranges are taken from data.

    Attributes:
        method: `"minmax"`: the extremes. `"percentile"`: without the outermost elements of each end. `"mse"`: the range
            whose steps represent the elements with the least mean squared error.
        percentile: for `"percentile"`: how many percent of the elements are at most the upper end, and at least the
            lower one.

    Raises:
        ValueError: the method is unknown, or the percentile is not from 50 to 100.
    """

    method: str = "minmax"
    percentile: float = 99.99

    def __post_init__(self) -> None:
        check_choice("calibrate", "calibration", self.method, METHODS)
        if not 50 <= self.percentile <= 100:
            raise ValueError(f"calibrate: percentile must be from 50 to 100, got {self.percentile}.")


def ranges_of(
    graphs: Mapping[str, Any],
    data: Any,
    calibration: Calibration | None = None,
    bits: Callable[[str], int] = lambda path: 8,
    where: str = "export",
) -> Ranges:
    """The ranges that exporters quantise the values of their graphs by: here they look them up.

    Args:
        graphs: the graphs, as they are written, by the names of their signatures.
        data: representative data as `calibrate` takes it; with several graphs a dict of it by signature.
        calibration: how ranges are taken from the data.
        bits: the bits of integers in a layer, by its path.
        where: who asks, for errors.

    Raises:
        ValueError: there are several signatures, and the data is no dict with theirs.
    """
    by_name = data if isinstance(data, Mapping) and set(data) == set(graphs) else None
    if by_name is None and len(graphs) > 1:
        raise ValueError(f"{where}: with several signatures, representative_data must be a dict with {sorted(graphs)}.")
    found: Ranges = {}
    for name, graph in graphs.items():
        given = data if by_name is None else by_name[name]
        found.update(calibrate(graph, given, calibration=calibration, bits=bits))
    return found


def calibrate(
    graph: Any,
    data: Iterable[Any],
    steps: int | None = None,
    calibration: Calibration | None = None,
    bits: Callable[[str], int] = lambda path: 8,
) -> Ranges:
    """The range of each value of floats, over all data.

    One pass, batch by batch: beside a batch, only the extremes of each value are held, and, for methods that look at
    more, a histogram of 16,384 counts for each.

    Args:
        graph: the graph.
        data: a Dataset, or any iterable of batches like those that the model is fed with: an array, or a tuple or dict
            of them by the names of the inputs. Of pairs (inputs, targets), as `fit` takes them, the first is used. A
            single sample, without the axis of the batch, is a batch of one. An array instead, or a dict of arrays by
            the names of the inputs, is cut into batches.
        steps: how many batches to take; None for all.
        calibration: how ranges are taken from the data; the extremes by default.
        bits: for `"mse"`: the bits of integers in a layer, by its path.

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
    calibration = calibration or Calibration()
    values = [v for v in [*graph.inputs, *(o for i in graph.instrs for o in i.outputs)] if v.dtype == np.float32]
    values = [v for v in dict.fromkeys(values) if 0 not in v.shape]
    wants_counts = calibration.method != "minmax"

    @jax.jit
    def measured(arrays: Sequence[Any]) -> Any:
        found = evaluate(graph, values, dict(zip(graph.inputs, arrays, strict=True)))
        extremes = jnp.stack([jnp.stack([jnp.min(x), jnp.max(x)]) for x in found])
        return extremes, jnp.stack([counts(x) for x in found]) if wants_counts else ()

    total: np.ndarray | None = None
    histograms = np.zeros((len(values), BINS if wants_counts else 0), np.int64)
    for number, element in enumerate(batches(graph, data)):
        if steps is not None and number >= steps:
            break
        extremes, more = measured(feeds(graph, element))
        found = np.asarray(extremes, np.float64)
        total = found if total is None else total
        total = np.stack([np.minimum(total[:, 0], found[:, 0]), np.maximum(total[:, 1], found[:, 1])], 1)
        if wants_counts:
            histograms += np.asarray(more)
    if total is None:
        raise ValueError("calibrate: the representative data holds no batch.")
    makers = graph.producers()
    wrong = [v for v, row in zip(values, total, strict=True) if not np.all(np.isfinite(row))]
    if wrong:
        names = [makers[v].path or v.name if v in makers else v.name for v in wrong]
        raise ValueError(
            f"calibrate: infinite or NaN with the representative data: {listing(list(dict.fromkeys(names)))}."
        )
    ranges: Ranges = {}
    for value, histogram, (low, high) in zip(values, histograms, total.tolist(), strict=True):
        if calibration.method == "percentile":
            low, high = percentile_range(histogram, low, high, calibration.percentile)
        elif calibration.method == "mse":
            low, high = mse_range(histogram, low, high, 2 ** bits(makers[value].path if value in makers else ""))
        ranges[value] = low, high
    return ranges


def batches(graph: Any, data: Any) -> Iterator[Any]:
    """The batches of representative data, of which arrays are cut into some.

    Raises:
        ValueError: the data is nothing that batches can be taken from.
    """
    arrays = data if isinstance(data, Mapping) and set(data) == set(graph.input_names) else None
    if arrays is None and not (hasattr(data, "__array__") and len(graph.inputs) == 1):
        if isinstance(data, Mapping) or not isinstance(data, Iterable):
            raise ValueError(
                "calibrate: representative data must be a Dataset, a list of batches, an array, or a dict of arrays by "
                f"the names of the inputs {listing(graph.input_names, 'and')}, got {describe(data)}."
            )
        yield from data
        return
    whole = {k: np.asarray(v) for k, v in ({graph.input_names[0]: data} if arrays is None else arrays).items()}
    if any(whole[name].ndim != len(v.shape) for name, v in zip(graph.input_names, graph.inputs, strict=True)):
        yield whole
        return
    first = graph.inputs[0].shape[0] if graph.inputs[0].shape else 1
    rows = first if isinstance(first, int) else BATCH_ROWS
    for start in range(0, len(whole[graph.input_names[0]]), rows):
        yield {name: array[start : start + rows] for name, array in whole.items()}


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
