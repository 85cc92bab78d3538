"""Ops of the table that move elements: shapes, slices, gathers; and reductions, scans and sorting along axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from lamina.graph.opset import op


@op("Reshape", "shape")
def reshape(x: Any, *, shape: Sequence[Any]) -> Any:
    """The elements, in order, in another shape."""
    return lax.reshape(x, shape)


@op("Transpose", "shape")
def transpose(x: Any, *, perm: Sequence[int]) -> Any:
    """Axis i of the result is axis perm[i] of x."""
    return lax.transpose(x, perm)


@op("BroadcastTo", "shape")
def broadcast_to(x: Any, *, shape: Sequence[Any]) -> Any:
    """X repeated along axes of size 1, and along new axes in front."""
    return jnp.broadcast_to(x, shape)


@op("Concat", "shape")
def concat(*x: Any, axis: int) -> Any:
    """The inputs one after the other along an axis."""
    return lax.concatenate(x, axis)


@op("Split", "shape")
def split(x: Any, *, axis: int, sizes: Sequence[int]) -> Any:
    """Parts of the given sizes along an axis."""
    return list(lax.split(x, sizes, axis))


@op("Slice", "shape")
def slice_(x: Any, *, start: Sequence[Any], stop: Sequence[Any], strides: Sequence[int]) -> Any:
    """Every `strides`-th element from `start` up to `stop`, along each axis."""
    return lax.slice(x, start, stop, strides)


@op("DynamicSlice", "shape")
def dynamic_slice(x: Any, *starts: Any, sizes: Sequence[Any]) -> Any:
    """A block of the given sizes from starts that are scalars, moved inside x where it would reach beyond."""
    return lax.dynamic_slice(x, starts, sizes, allow_negative_indices=False)


@op("DynamicUpdate", "shape")
def dynamic_update(x: Any, update: Any, *starts: Any) -> Any:
    """X with a block replaced, from starts that are scalars, moved inside x where it would reach beyond."""
    return lax.dynamic_update_slice(x, update, starts, allow_negative_indices=False)


@op("Pad", "shape")
def pad(x: Any, value: Any, *, low: Sequence[Any], high: Sequence[Any]) -> Any:
    """`low` elements in front of and `high` behind each axis, of one value."""
    return lax.pad(x, value, [(lo, hi, 0) for lo, hi in zip(low, high, strict=True)])


@op("Tile", "shape")
def tile(x: Any, *, repeats: Sequence[int]) -> Any:
    """X repeated as a whole along each axis."""
    return jnp.tile(x, repeats)


@op("Reverse", "shape")
def reverse(x: Any, *, axes: Sequence[int]) -> Any:
    """X backwards along the axes."""
    return lax.rev(x, axes)


@op("Gather", "shape")
def gather(x: Any, indices: Any, *, axis: int) -> Any:
    """The slices of x at the indices along an axis, whose place the axes of the indices take.

    Indices out of range are moved to the nearest end.
    """
    return jnp.take(x, indices, axis, mode="clip")


@op("GatherElements", "shape")
def gather_elements(x: Any, indices: Any, *, axis: int) -> Any:
    """For each index the element of x at this place of the axis and the index's own place of the others."""
    return jnp.take_along_axis(x, indices, axis, mode="clip")


@op("GatherND", "shape")
def gather_nd(x: Any, indices: Any) -> Any:
    """The slices of x at the points that the last axis of the indices gives; clipped to x."""
    return x.at[tuple(jnp.moveaxis(indices, -1, 0))].get(mode="clip")


@op("ScatterND", "shape")
def scatter_nd(x: Any, indices: Any, updates: Any, *, reduction: str) -> Any:
    """X with slices set (`"set"`), or added to (`"add"`), multiplied, or bounded (`"min"`, `"max"`), at points.

    The last axis of the indices holds a point; points outside of x change nothing.
    """
    at = x.at[tuple(jnp.moveaxis(indices, -1, 0))]
    method = {"set": at.set, "add": at.add, "mul": at.multiply, "min": at.min, "max": at.max}[reduction]
    return method(updates, mode="drop", wrap_negative_indices=False)


@op("OneHot", "shape")
def one_hot(indices: Any, *, depth: int, axis: int, dtype: str) -> Any:
    """A new axis with 1 at the place of each index and 0 elsewhere."""
    places = jnp.expand_dims(indices, axis)
    shape = [1] * places.ndim
    shape[axis] = depth
    return (places == jnp.arange(depth, dtype=indices.dtype).reshape(shape)).astype(dtype)


@op("Iota", "shape")
def iota(*, shape: Sequence[Any], dtype: str) -> Any:
    """0, 1, 2, ... along the one axis of the shape."""
    return lax.iota(dtype, *shape)


@op("Size", "shape")
def size(*, size: Sequence[Any]) -> Any:
    """The one size of `size`, as an integer."""
    return jnp.asarray(lax.convert_element_type(size[0], "int32"))


@op("SpaceToDepth", "shape")
def space_to_depth(x: Any, *, block: int) -> Any:
    """Blocks of pixels moved into the channels."""
    n, h, w, c = x.shape
    x = lax.reshape(x, (n, h // block, block, w // block, block, c))
    return lax.reshape(lax.transpose(x, (0, 1, 3, 2, 4, 5)), (n, h // block, w // block, block * block * c))


@op("DepthToSpace", "shape")
def depth_to_space(x: Any, *, block: int) -> Any:
    """Channels moved into blocks of pixels."""
    n, h, w, c = x.shape
    x = lax.reshape(x, (n, h, w, block, block, c // block**2))
    return lax.reshape(lax.transpose(x, (0, 1, 3, 2, 4, 5)), (n, h * block, w * block, c // block**2))


def _reduction(name: str, run: Any, doc: str) -> None:
    def reduce(x: Any, *, axes: Sequence[int], keepdims: bool) -> Any:
        return run(x, axis=tuple(axes), keepdims=keepdims)

    reduce.__doc__ = f"{doc} over the axes."
    op(name, "reduce")(reduce)


_reduction("ReduceSum", lambda x, **k: jnp.sum(x, dtype=x.dtype, **k), "The sum")
_reduction("ReduceMean", jnp.mean, "The mean")
_reduction("ReduceMax", jnp.max, "The greatest element")
_reduction("ReduceMin", jnp.min, "The least element")
_reduction("ReduceProd", lambda x, **k: jnp.prod(x, dtype=x.dtype, **k), "The product")
_reduction("ReduceAnd", jnp.all, "Whether all are true")
_reduction("ReduceOr", jnp.any, "Whether one is true")


@op("ArgMax", "reduce")
def argmax(x: Any, *, axis: int, dtype: str) -> Any:
    """The place of the greatest element along an axis, the first of several."""
    return jnp.argmax(x, axis).astype(dtype)


@op("ArgMin", "reduce")
def argmin(x: Any, *, axis: int, dtype: str) -> Any:
    """The place of the least element along an axis, the first of several."""
    return jnp.argmin(x, axis).astype(dtype)


@op("CumSum")
def cumsum(x: Any, *, axis: int, reverse: bool = False) -> Any:
    """The sum of the elements up to each; from the end if `reverse`."""
    return lax.cumsum(x, axis, reverse)


@op("CumProd")
def cumprod(x: Any, *, axis: int, reverse: bool = False) -> Any:
    """The product of the elements up to each; from the end if `reverse`."""
    return lax.cumprod(x, axis, reverse)


@op("CumMax")
def cummax(x: Any, *, axis: int, reverse: bool = False) -> Any:
    """The greatest of the elements up to each; from the end if `reverse`."""
    return lax.cummax(x, axis, reverse)


@op("TopK")
def top_k(x: Any, *, k: int) -> Any:
    """The k greatest elements along the last axis, falling, and their places."""
    return list(lax.top_k(x, k))


@op("Sort")
def sort(x: Any, *, axis: int) -> Any:
    """The elements along an axis, rising."""
    return lax.sort(x, axis)


@op("ArgSort")
def argsort(x: Any, *, axis: int) -> Any:
    """The places of the elements along an axis, in rising order; equal elements keep theirs."""
    return jnp.argsort(x, axis, stable=True).astype("int32")
