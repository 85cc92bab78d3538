"""Tensors of TFLite files: shapes, dtypes, and how numbers are quantised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lamina.graph.dims import Dim, evaluate, names_in

INT8, INT16, INT32, INT64 = (np.dtype(name) for name in ("int8", "int16", "int32", "int64"))
FLOAT32 = np.dtype("float32")


@dataclass(frozen=True)
class Quant:
    """real = scale * (stored - zero); a scale for each place along `axis` if there are several.

    Attributes:
        scale: the scales.
        zero: the stored number of 0.
        axis: the axis of the scales.
        dtype: the integers that numbers are stored as.
    """

    scale: tuple[float, ...]
    zero: int = 0
    axis: int = 0
    dtype: np.dtype = INT8

    def store(self, array: np.ndarray, low: int | None = None) -> np.ndarray:
        """Numbers as integers, from `low` (or the least there is) on."""
        shape = [1] * array.ndim
        if len(self.scale) > 1:
            shape[self.axis] = -1
        scale = np.asarray(self.scale, np.float64).reshape(shape if array.ndim else ())
        limits = np.iinfo(self.dtype)
        least = limits.min if low is None else low
        return np.clip(np.round(array / scale) + self.zero, least, limits.max).astype(self.dtype)


FIXED = {
    "Softmax": {INT8: Quant((1 / 256,), -128), INT16: Quant((1 / 32768,), dtype=INT16)},
    "Sigmoid": {INT8: Quant((1 / 256,), -128), INT16: Quant((1 / 32768,), dtype=INT16)},
    "Tanh": {INT8: Quant((1 / 128,)), INT16: Quant((1 / 32768,), dtype=INT16)},
    "LogSoftmax": {INT8: Quant((1 / 16,), 127)},
}
"""Outputs that kernels write in one way only."""


class Tensor(NamedTuple):
    """A tensor of a graph of the file.

    Attributes:
        index: its place among the graph's tensors.
        shape: sizes, as numbers or expressions.
        dtype: the dtype.
        quant: how its numbers are quantised, if they are.
    """

    index: int  # type: ignore[assignment]
    shape: tuple[Dim, ...]
    dtype: np.dtype
    quant: Quant | None = None


def of_range(low: float, high: float, dtype: np.dtype = INT8) -> Quant:
    """How numbers between `low` and `high` are stored, 0 without error; as int16 symmetric about 0.

    Example:
        >>> quant = of_range(0.0, 255.0)
        >>> quant.scale, quant.zero
        ((1.0,), -128)
        >>> of_range(-1.0, 32767.0, INT16).scale
        (1.0,)
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if dtype == INT16:
        return Quant((float(np.float32(max(-low, high, 1e-8) / 32767)),), dtype=INT16)
    scale = float(np.float32(max(high - low, 1e-8) / 255))
    return Quant((scale,), int(np.clip(round(-128 - low / scale), -128, 127)))


def of_weights(array: np.ndarray, axis: int | None) -> Quant:
    """How weights are stored as int8, symmetric about 0, with a scale for each place along an axis."""
    others = tuple(i for i in range(array.ndim) if i != axis) if axis is not None else None
    most = np.abs(array).max(axis=others).reshape(-1) if array.size else np.ones(1)
    return Quant(tuple((np.maximum(most, 1e-8) / 127).astype(np.float32).tolist()), 0, axis or 0)


def one(shape: Sequence[Dim]) -> list[int]:
    """The shape with every named size at 1."""
    return [max(int(evaluate(d, dict.fromkeys(names_in(d), 1))), 0) for d in shape]
