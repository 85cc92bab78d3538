"""Elements picked from arrays and written into arrays, sorted, searched and counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina.core.checks import check_choice
from lamina.ops.convert import Tensor, as_array, as_operand
from lamina.ops.op import op


@op(operator="get_item")
def get_item(x: Tensor, key: Any) -> jax.Array:
    """`x[key]`: a part by indices, slices, `...`, None or a boolean array.

    Example:
        >>> get_item([[1, 2], [3, 4]], np.s_[:, 0]).tolist()
        [1, 3]
    """
    return as_array(x)[key]


@op
def take(x: Tensor, indices: Tensor, axis: int | None = None) -> jax.Array:
    """The slices at `indices` along an axis; None flattens first. Negative indices count from the end.

    Example:
        >>> take([[1, 2], [3, 4]], [1], axis=0).tolist()
        [[3, 4]]
    """
    return jnp.take(as_array(x), as_array(indices), axis)


@op
def take_along_axis(x: Tensor, indices: Tensor, axis: int | None = None) -> jax.Array:
    """For each place of `indices` the element that it names along an axis.

    Example:
        >>> take_along_axis([[1, 2], [3, 4]], [[1], [0]], axis=1).tolist()
        [[2], [3]]
    """
    return jnp.take_along_axis(as_array(x), as_array(indices), axis)


@op
def where(condition: Tensor, x1: Tensor = None, x2: Tensor = None) -> Any:
    """`x1` where the condition holds, else `x2`; without them, the indices of the true elements, one array an axis.

    Example:
        >>> where([True, False], [1, 2], 0).tolist()
        [1, 0]
    """
    condition = as_array(condition)
    if x1 is None and x2 is None:
        return jnp.nonzero(condition)
    if x1 is None or x2 is None:
        raise ValueError("ops.where: x1 and x2 must be given both or not at all, got one.")
    return jnp.where(condition, as_operand(x1), as_operand(x2))


@op
def select(condlist: Sequence[Tensor], choicelist: Sequence[Tensor], default: Tensor = 0) -> jax.Array:
    """For each element the choice of the first condition that holds.

    Example:
        >>> select([[True, False], [True, True]], [[1, 1], [2, 2]]).tolist()
        [1, 2]
    """
    return jnp.select([as_array(c) for c in condlist], [as_array(c) for c in choicelist], as_operand(default))


@op
def nonzero(x: Tensor) -> tuple[jax.Array, ...]:
    """The indices of the elements that are not zero, one array an axis. Not inside compiled code.

    Example:
        >>> nonzero([0, 3, 4])[0].tolist()
        [1, 2]
    """
    return jnp.nonzero(as_array(x))


@op
def slice(inputs: Tensor, start_indices: Any, shape: Any) -> jax.Array:
    """The block of `shape` that begins at `start_indices`; -1 reaches to the end of an axis.

    Example:
        >>> slice([1, 2, 3, 4], [1], [2]).tolist()
        [2, 3]
    """
    inputs = as_array(inputs)
    sizes = [int(s) for s in shape]
    if any(s == -1 for s in sizes):
        starts = [int(s) for s in start_indices]
        sizes = [n - at if s == -1 else s for s, at, n in zip(sizes, starts, inputs.shape, strict=True)]
    return lax.dynamic_slice(inputs, _indices(start_indices), sizes)


@op
def slice_update(inputs: Tensor, start_indices: Any, updates: Tensor) -> jax.Array:
    """`inputs` with the block that begins at `start_indices` replaced by `updates`.

    Example:
        >>> slice_update([1, 2, 3, 4], [1], [7, 8]).tolist()
        [1, 7, 8, 4]
    """
    inputs = as_array(inputs)
    return lax.dynamic_update_slice(inputs, as_array(updates).astype(inputs.dtype), _indices(start_indices))


def _indices(starts: Any) -> list[Any]:
    return [jnp.asarray(s, "int32") for s in starts]


@op
def scatter(indices: Tensor, values: Tensor, shape: Any) -> jax.Array:
    """Zeros of `shape` with `values` added at `indices`.

    Args:
        indices: whole numbers; the last axis holds the indices of the leading axes of the result.
        values: what to add at each.
        shape: the shape of the result.

    Example:
        >>> scatter([[0], [2]], [5.0, 7.0], (3,)).tolist()
        [5.0, 0.0, 7.0]
    """
    values = as_array(values)
    return jnp.zeros(shape, values.dtype).at[_places(indices)].add(values)


@op
def scatter_update(inputs: Tensor, indices: Tensor, updates: Tensor, reduction: str | None = None) -> jax.Array:
    """`inputs` with `updates` written at `indices`.

    Args:
        inputs: an array.
        indices: whole numbers; the last axis holds the indices of the leading axes of `inputs`.
        updates: what to write at each.
        reduction: None replaces; `"add"`, `"mul"`, `"max"` and `"min"` combine with what is there.

    Example:
        >>> scatter_update([1, 2, 3], [[0], [2]], [7, 8]).tolist()
        [7, 2, 8]
        >>> scatter_update([1, 2, 3], [[0], [0]], [7, 8], reduction="add").tolist()
        [16, 2, 3]
    """
    methods = {None: "set", "add": "add", "mul": "multiply", "max": "max", "min": "min"}
    method = methods[check_choice("ops.scatter_update", "reduction", reduction, methods)]
    inputs = as_array(inputs)
    return getattr(inputs.at[_places(indices)], method)(as_array(updates).astype(inputs.dtype))


def _places(indices: Tensor) -> tuple[jax.Array, ...]:
    indices = as_array(indices)
    return tuple(indices[..., i] for i in range(indices.shape[-1]))


@op
def sort(x: Tensor, axis: int | None = -1) -> jax.Array:
    """The elements in rising order along an axis; None flattens first.

    Example:
        >>> sort([3, 1, 2]).tolist()
        [1, 2, 3]
    """
    return jnp.sort(as_operand(x), axis)


@op
def argsort(x: Tensor, axis: int | None = -1) -> jax.Array:
    """The indices that sort `x` along an axis; None flattens first. Equal elements keep their order.

    Example:
        >>> argsort([3, 1, 2]).tolist()
        [1, 2, 0]
    """
    return jnp.argsort(as_operand(x), axis)


@op
def argpartition(x: Tensor, kth: int, axis: int = -1) -> jax.Array:
    """Indices with that of the `kth` smallest element in its place, smaller ones before and larger ones after it.

    Example:
        >>> argpartition([3, 1, 2], 0).tolist()[0]
        1
    """
    return jnp.argpartition(as_array(x), kth, axis)


@op(named=True)
def top_k(x: Tensor, k: int, sorted: bool = True) -> tuple[jax.Array, jax.Array]:
    """The `k` largest values along the last axis, in falling order, and their indices.

    Example:
        >>> values, indices = top_k([1, 5, 3], 2)
        >>> values.tolist(), indices.tolist()
        ([5, 3], [1, 2])
    """
    values, indices = lax.top_k(as_array(x), k)
    return values, indices


@op(named=True)
def in_top_k(targets: Tensor, predictions: Tensor, k: int) -> jax.Array:
    """Whether the score of each target class is among the `k` highest; equal scores count for the target.

    Shape:
        targets (batch,), predictions (batch, classes) -> (batch,)

    Example:
        >>> in_top_k([1, 0], [[0.1, 0.9], [0.2, 0.8]], 1).tolist()
        [True, False]
    """
    targets, predictions = as_array(targets), as_array(predictions)
    score = jnp.take_along_axis(predictions, targets[..., None], axis=-1)
    lowest = lax.top_k(predictions, k)[0][..., -1:]
    return ((score >= lowest) & jnp.isfinite(score))[..., 0]


@op
def searchsorted(sorted_sequence: Tensor, values: Tensor, side: str = "left") -> jax.Array:
    """Where values would have to be put into a sorted vector.

    Example:
        >>> searchsorted([1, 3, 5], [3, 4]).tolist()
        [1, 2]
    """
    check_choice("ops.searchsorted", "side", side, ["left", "right"])
    sequence = as_array(sorted_sequence)
    if sequence.ndim != 1:
        raise ValueError(f"ops.searchsorted: sorted_sequence must be a vector, got shape {sequence.shape}.")
    return jnp.searchsorted(sequence, as_array(values), side=side)


@op
def digitize(x: Tensor, bins: Tensor) -> jax.Array:
    """The number of the bin that each element falls into, between sorted edges.

    Example:
        >>> digitize([0.5, 1.5], [1.0, 2.0]).tolist()
        [0, 1]
    """
    return jnp.digitize(as_array(x), as_array(bins))


@op
def unravel_index(indices: Tensor, shape: Any) -> tuple[jax.Array, ...]:
    """Indices into a flattened array as one index an axis.

    Example:
        >>> [i.tolist() for i in unravel_index([5], (2, 3))]
        [[1], [2]]
    """
    return tuple(jnp.unravel_index(as_array(indices), shape))


def unique(
    x: Tensor,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The different values of `x`, in rising order.

    Args:
        x: an array.
        sorted: they are sorted in any case.
        return_index: whether to return where each first occurs.
        return_inverse: whether to return which of the values each element is.
        return_counts: whether to return how often each occurs.
        axis: the axis whose slices are compared; None flattens.
        size: the number of values to return, needed inside compiled code.
        fill_value: what fills the rest if there are fewer; the smallest by default.

    Example:
        >>> unique([3, 1, 3]).tolist()
        [1, 3]
    """
    return jnp.unique(
        as_array(x),
        return_index=return_index,
        return_inverse=return_inverse,
        return_counts=return_counts,
        axis=axis,
        size=size,
        fill_value=fill_value,
    )


@op
def diagonal(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> jax.Array:
    """The elements of the diagonals of two axes, in a last axis.

    Example:
        >>> diagonal([[1, 2], [3, 4]]).tolist()
        [1, 4]
    """
    return jnp.diagonal(as_array(x), offset, axis1, axis2)


@op
def trace(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> jax.Array:
    """The sum of the diagonals of two axes.

    Example:
        >>> trace([[1, 2], [3, 4]]).item()
        5
    """
    return jnp.trace(as_array(x), offset, axis1, axis2)


@op
def extract_sequences(x: Tensor, sequence_length: int, sequence_stride: int) -> jax.Array:
    """All windows of a length along the last axis, at distances of a stride.

    Shape:
        (..., time) -> (..., windows, sequence_length)

    Example:
        >>> extract_sequences([1, 2, 3, 4], 2, 1).tolist()
        [[1, 2], [2, 3], [3, 4]]
    """
    x = as_array(x)
    count = 1 + (x.shape[-1] - sequence_length) // sequence_stride
    starts = sequence_stride * np.arange(count)[:, None]
    return jnp.take(x, starts + np.arange(sequence_length), axis=-1)
