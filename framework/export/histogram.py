"""Histograms of floats with bins of equal relative width, and the ranges that quantisation takes from them.

A bin holds the floats that agree in sign, exponent and the leading bits of the fraction. So the bins are known before
the data is, one pass suffices, outliers cost no resolution, and the memory is that of the counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

FRACTION_BITS = 5
"""Leading bits of the fraction that tell bins apart: a bin is 1/32 of its lower end wide."""
_SHIFT = 23 - FRACTION_BITS
_SIDE = 1 << (8 + FRACTION_BITS)  # bins of one sign
BINS = 2 * _SIDE
_OCTAVES = 12
"""How far below the greatest magnitude a range may end."""


def counts(x: Any) -> Any:
    """How many elements fall into each bin: those from 0 up first, then those below 0.

    Shape:
        Any, to (BINS,).
    """
    bits = lax.bitcast_convert_type(x.reshape(-1), jnp.uint32)
    return jnp.zeros(BINS, jnp.int32).at[(bits >> _SHIFT).astype(jnp.int32)].add(1)


def bins(found: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bins that hold something, from the least to the greatest: their ends, and their counts.

    Args:
        found: the counts.
        low: the least element, which no end lies below.
        high: the greatest.

    Example:
        >>> found = np.asarray(counts(jnp.asarray([1.0, 1.01, -2.0])))
        >>> [x.tolist() for x in bins(found, -2.0, 1.01)]
        [[-2.0, 1.0], [-2.0, 1.01], [1, 2]]
    """
    places = np.flatnonzero(found)
    inner = ((places % _SIDE).astype(np.uint32) << _SHIFT).view(np.float32).astype(np.float64)
    outer = (((places % _SIDE + 1).astype(np.uint32)) << _SHIFT).view(np.float32).astype(np.float64)
    below = places >= _SIDE
    start, stop = np.where(below, -outer, inner), np.where(below, -inner, outer)
    order = np.argsort(start + stop)
    start, stop = np.clip(start[order], low, high), np.clip(stop[order], low, high)
    return start, stop, found[places][order]


def percentile_range(found: np.ndarray, low: float, high: float, percentile: float) -> tuple[float, float]:
    """The range that leaves out 100 - `percentile` percent of the elements at each end.

    Args:
        found: the counts.
        low: the least element.
        high: the greatest.
        percentile: from 50 to 100.
    """
    start, stop, number = bins(found, low, high)
    total = np.concatenate([[0], np.cumsum(number)]).astype(np.float64)

    def quantile(share: float) -> float:
        place = share * total[-1]
        i = min(int(np.searchsorted(total, place, side="left")), len(number)) - 1
        i = max(i, 0)
        return float(start[i] + (stop[i] - start[i]) * (place - total[i]) / number[i])

    return quantile(1 - percentile / 100), quantile(percentile / 100)


def mse_range(found: np.ndarray, low: float, high: float, levels: int) -> tuple[float, float]:
    """The range whose `levels` equal steps represent the elements with the least mean squared error.

    What rounding to the steps costs, and what clipping to the range does, is integrated over the bins as if the
    elements of each were spread evenly. One end is searched at a time, until neither moves.

    Args:
        found: the counts.
        low: the least element.
        high: the greatest.
        levels: the number of steps, plus 1.

    Reference:
        Banner et al., "Post training 4-bit quantization of convolutional networks for rapid-deployment" (2019).
    """
    data = bins(found, low, high)
    low, high = min(low, 0.0), max(high, 0.0)
    best = low, high
    for _ in range(4):
        before = best
        if high > 0:
            best = best[0], _least(high, lambda end: error(data, best[0], end, levels))  # noqa: B023  called at once
        if low < 0:
            best = _least(low, lambda end: error(data, end, best[1], levels)), best[1]  # noqa: B023
        if best == before or not (low < 0 < high):
            break
    return best


def _least(most: float, cost: Callable[[float], float]) -> float:
    """The end of least cost: to half an octave first, then to the sixteenth of one around it."""
    coarse = min((most * 2 ** (-k / 2) for k in range(2 * _OCTAVES + 1)), key=cost)
    near = (coarse * 2 ** (k / 16) for k in range(-8, 9))
    return min((end for end in near if abs(end) <= abs(most)), key=cost)


def error(data: tuple[np.ndarray, np.ndarray, np.ndarray], low: float, high: float, levels: int) -> float:
    """The sum of the squared errors of elements that are clipped to a range and rounded to its steps.

    Args:
        data: what `bins` gives.
        low: the lower end, at most 0.
        high: the upper end, at least 0.
        levels: the number of steps, plus 1.
    """
    start, stop, number = data
    step = (high - low) / (levels - 1)
    if not step > 0:
        return np.inf
    width = stop - start
    point = width <= 1e-12 * np.maximum(np.abs(start), np.abs(stop))
    inside = _rounding(np.clip(stop, low, high) / step) - _rounding(np.clip(start, low, high) / step)
    above = np.maximum(stop - high, 0) ** 3 - np.maximum(start - high, 0) ** 3
    below = np.maximum(low - start, 0) ** 3 - np.maximum(low - stop, 0) ** 3
    spread = (inside * step**3 + (above + below) / 3) / np.where(point, 1.0, width)
    stored = np.clip(np.round(start / step) * step, low, high)
    return float(np.sum(number * np.where(point, (start - stored) ** 2, spread)))


def _rounding(t: np.ndarray) -> np.ndarray:
    """The integral from 0 to `t` of the squared distance to the nearest integer."""
    whole = np.round(t)
    return whole / 12 + (t - whole) ** 3 / 3
