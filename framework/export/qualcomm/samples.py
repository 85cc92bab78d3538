"""Inputs that an exported model is tried with."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from lamina.core.errors import describe
from lamina.export.static import rows

Feeds = dict[str, np.ndarray]


def sample_feeds(graph: Any, fixed: Any, data: Any, count: int, where: str) -> list[Feeds]:
    """Inputs by name: the first batches of representative data, or else normal floats, and integers 0 and 1.

    Args:
        graph: the graph, with sizes open.
        fixed: the graph with all sizes known.
        data: representative data, or None.
        count: how many batches.
        where: what is done, for errors.

    Raises:
        ValueError: the data does not hold one batch, or can be read only once.
    """
    if data is not None:
        check_repeats(data, where)
        found = list(itertools.islice(rows(graph, fixed, data), count))
        if not found:
            raise ValueError(f"{where}: representative_data holds no batch of the size that is written.")
        return found
    rng = np.random.default_rng(0)
    return [
        {name: _random(rng, v.shape, v.dtype) for name, v in zip(fixed.input_names, fixed.inputs, strict=True)}
        for _ in range(count)
    ]


def check_repeats(data: Any, where: str) -> None:
    """Checks that representative data can be read more than once.

    Raises:
        ValueError: it is a generator.
    """
    if iter(data) is data:
        raise ValueError(
            f"{where}: representative_data is read more than once, got {describe(data)}, which is empty after the "
            "first time. Pass a list, an array or a Dataset."
        )


def _random(rng: np.random.Generator, shape: Any, dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "iub":
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)
