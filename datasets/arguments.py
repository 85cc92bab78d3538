"""Checks of arguments that several methods of Dataset share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import describe
from lamina.datasets.nodes.base import Node, as_node
from lamina.datasets.spec import AUTOTUNE


def check_function(owner: str, argument: str, fn: Any) -> Any:
    """`fn`, if it can be called."""
    if not callable(fn):
        raise TypeError(f"{owner}: {argument} must be a function, got {describe(fn)}.")
    return fn


def check_calls(owner: str, calls: Any) -> int | None:
    """`num_parallel_calls` as None, AUTOTUNE or a number of at least 1."""
    if calls is None:
        return None
    calls = check_int(owner, "num_parallel_calls", calls)
    if calls < 1 and calls != AUTOTUNE:
        raise ValueError(f"{owner}: num_parallel_calls must be at least 1, AUTOTUNE (-1) or None, got {calls}.")
    return calls


def first_elements(iterator: Iterator[Any], count: int) -> Iterator[Any]:
    """The first `count` elements; no more are read."""
    for _ in range(count):
        try:
            yield next(iterator)
        except StopIteration:
            return


def as_scalar(value: Any) -> Any:
    """A number from a 0-dimensional array, anything else as it is."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def result_node(owner: str, argument: str = "map_func") -> Callable[[Any], Node]:
    """A function that gives the node of what a user function returned, which must be a Dataset."""
    return lambda value: as_node(value, owner, f"the result of {argument}")
