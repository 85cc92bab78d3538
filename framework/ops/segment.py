"""Reductions of rows that share a segment number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina.ops.convert import Tensor, as_array
from lamina.ops.op import op


def _reduce(name: str, fn: Callable[..., Any], data: Tensor, segment_ids: Tensor, count: Any, ordered: bool) -> Any:
    data, segment_ids = as_array(data), as_array(segment_ids)
    if count is None:
        if isinstance(segment_ids, jax.core.Tracer):
            raise ValueError(f"ops.{name}: num_segments must be given inside compiled code, got None.")
        count = int(jnp.max(segment_ids)) + 1 if segment_ids.size else 0
    return fn(data, segment_ids, count, indices_are_sorted=ordered)


@op
def segment_sum(data: Tensor, segment_ids: Tensor, num_segments: int | None = None, sorted: bool = False) -> jax.Array:
    """The sum of the rows of each segment.

    Args:
        data: an array; its first axis is that of the rows.
        segment_ids: the number of the segment of each row, from 0.
        num_segments: how many segments there are; needed inside compiled code.
        sorted: whether the numbers are known to rise.

    Example:
        >>> segment_sum([1.0, 3.0, 3.0], [0, 0, 1]).tolist()
        [4.0, 3.0]
    """
    return _reduce("segment_sum", jax.ops.segment_sum, data, segment_ids, num_segments, sorted)


@op
def segment_prod(data: Tensor, segment_ids: Tensor, num_segments: int | None = None, sorted: bool = False) -> jax.Array:
    """The product of the rows of each segment.

    Args:
        data: an array; its first axis is that of the rows.
        segment_ids: the number of the segment of each row, from 0.
        num_segments: how many segments there are; needed inside compiled code.
        sorted: whether the numbers are known to rise.

    Example:
        >>> segment_prod([1.0, 3.0, 3.0], [0, 0, 1]).tolist()
        [3.0, 3.0]
    """
    return _reduce("segment_prod", jax.ops.segment_prod, data, segment_ids, num_segments, sorted)


@op
def segment_max(data: Tensor, segment_ids: Tensor, num_segments: int | None = None, sorted: bool = False) -> jax.Array:
    """The largest of the rows of each segment; the lowest value of the dtype where there are none.

    Args:
        data: an array; its first axis is that of the rows.
        segment_ids: the number of the segment of each row, from 0.
        num_segments: how many segments there are; needed inside compiled code.
        sorted: whether the numbers are known to rise.

    Example:
        >>> segment_max([1.0, 3.0, 3.0], [0, 0, 1]).tolist()
        [3.0, 3.0]
    """
    return _reduce("segment_max", jax.ops.segment_max, data, segment_ids, num_segments, sorted)


@op
def segment_min(data: Tensor, segment_ids: Tensor, num_segments: int | None = None, sorted: bool = False) -> jax.Array:
    """The smallest of the rows of each segment; the highest value of the dtype where there are none.

    Args:
        data: an array; its first axis is that of the rows.
        segment_ids: the number of the segment of each row, from 0.
        num_segments: how many segments there are; needed inside compiled code.
        sorted: whether the numbers are known to rise.

    Example:
        >>> segment_min([1.0, 3.0, 3.0], [0, 0, 1]).tolist()
        [1.0, 3.0]
    """
    return _reduce("segment_min", jax.ops.segment_min, data, segment_ids, num_segments, sorted)
