"""Tensors of TFLite files: shapes, dtypes, and how numbers are quantised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lamina.graph.dims import Dim, evaluate, names_in

INT8, INT32, FLOAT32 = np.dtype("int8"), np.dtype("int32"), np.dtype("float32")


@dataclass(frozen=True)
class Quant:
    """real = scale * (stored - zero); a scale for each place along `axis` if there are several.

    Attributes:
        scale: the scales.
        zero: the stored number of 0.
        axis: the axis of the scales.
    """

    scale: tuple[float, ...]
    zero: int = 0
    axis: int = 0

    def store(self, array: np.ndarray, low: int = -128) -> np.ndarray:
        """Numbers as int8, from `low` to 127."""
        shape = [1] * array.ndim
        if len(self.scale) > 1:
            shape[self.axis] = -1
        scale = np.asarray(self.scale, np.float64).reshape(shape if array.ndim else ())
        return np.clip(np.round(array / scale) + self.zero, low, 127).astype(np.int8)


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


def of_range(low: float, high: float) -> Quant:
    """How numbers between `low` and `high` are stored as int8, 0 without error.

    Example:
        >>> of_range(0.0, 255.0)
        Quant(scale=(1.0,), zero=-128, axis=0)
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
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
