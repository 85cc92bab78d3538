"""Shapes of arrays: reshape, transpose, join, split, repeat, flip, pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.errors import listing
from lamina.ops.convert import Tensor, as_array, as_operand
from lamina.ops.op import op


@op
def reshape(x: Tensor, newshape: Any) -> jax.Array:
    """`x` in another shape with as many elements; one size may be -1 (or None), which is worked out.

    Example:
        >>> reshape([[1, 2, 3], [4, 5, 6]], (3, -1)).shape
        (3, 2)
    """
    if isinstance(newshape, (list, tuple)):
        newshape = tuple(-1 if d is None else d for d in newshape)
    return jnp.reshape(as_operand(x), newshape)


@op
def ravel(x: Tensor) -> jax.Array:
    """All elements in one axis.

    Example:
        >>> ravel([[1, 2], [3, 4]]).tolist()
        [1, 2, 3, 4]
    """
    return jnp.ravel(as_operand(x))


@op
def transpose(x: Tensor, axes: Sequence[int] | None = None) -> jax.Array:
    """`x` with its axes in another order, reversed by default.

    Example:
        >>> transpose([[1, 2, 3]]).shape
        (3, 1)
    """
    return jnp.transpose(as_operand(x), None if axes is None else tuple(axes))


@op
def swapaxes(x: Tensor, axis1: int, axis2: int) -> jax.Array:
    """`x` with two axes exchanged.

    Example:
        >>> swapaxes(jnp.ones((2, 3, 4)), 0, 2).shape
        (4, 3, 2)
    """
    return jnp.swapaxes(as_operand(x), axis1, axis2)


@op
def moveaxis(x: Tensor, source: Any, destination: Any) -> jax.Array:
    """`x` with axes moved to other positions; the rest keep their order.

    Example:
        >>> moveaxis(jnp.ones((2, 3, 4)), 0, -1).shape
        (3, 4, 2)
    """
    return jnp.moveaxis(as_operand(x), _axes(source), _axes(destination))


def _axes(axes: Any) -> Any:
    return tuple(axes) if isinstance(axes, list) else axes


@op
def expand_dims(x: Tensor, axis: Any) -> jax.Array:
    """`x` with new axes of size 1 at the given positions.

    Example:
        >>> expand_dims([1, 2], 0).shape
        (1, 2)
    """
    return jnp.expand_dims(as_operand(x), _axes(axis))


@op
def squeeze(x: Tensor, axis: Any = None) -> jax.Array:
    """`x` without its axes of size 1, or without those named.

    Example:
        >>> squeeze([[[1, 2]]], 0).shape
        (1, 2)
    """
    return jnp.squeeze(as_operand(x), _axes(axis))


@op
def broadcast_to(x: Tensor, shape: Any) -> jax.Array:
    """`x` repeated along axes so that it has `shape`.

    Example:
        >>> broadcast_to([1, 2], (3, 2)).shape
        (3, 2)
    """
    return jnp.broadcast_to(as_operand(x), shape)


@op
def concatenate(xs: Sequence[Tensor], axis: int | None = 0) -> jax.Array:
    """Arrays joined along an existing axis; None flattens them first.

    Example:
        >>> concatenate([[1, 2], [3]]).tolist()
        [1, 2, 3]
    """
    return jnp.concatenate([as_operand(x) for x in xs], axis)


@op
def append(x1: Tensor, x2: Tensor, axis: int | None = None) -> jax.Array:
    """`x2` behind `x1` along an axis; None flattens both first.

    Example:
        >>> append([1, 2], [3]).tolist()
        [1, 2, 3]
    """
    return jnp.append(as_operand(x1), as_operand(x2), axis)


@op
def stack(x: Sequence[Tensor], axis: int = 0) -> jax.Array:
    """Arrays of one shape joined along a new axis.

    Example:
        >>> stack([[1, 2], [3, 4]], axis=1).tolist()
        [[1, 3], [2, 4]]
    """
    return jnp.stack([as_operand(v) for v in x], axis)


@op
def unstack(x: Tensor, num: int | None = None, axis: int = 0) -> list[jax.Array]:
    """The slices of `x` along an axis, without that axis.

    Args:
        x: an array.
        num: how many slices there are; only needed where the size is unknown, and then must be right.
        axis: the axis to take apart.

    Example:
        >>> [v.tolist() for v in unstack([[1, 2], [3, 4]])]
        [[1, 2], [3, 4]]
    """
    x = as_array(x)
    found = x.shape[axis]
    if num is not None and num != found:
        raise ValueError(f"ops.unstack: axis {axis} of an array of shape {x.shape} has size {found}, got num={num}.")
    return [jax.lax.index_in_dim(x, i, axis, keepdims=False) for i in range(found)]


@op
def hstack(xs: Sequence[Tensor]) -> jax.Array:
    """Arrays side by side: joined along axis 1 (along axis 0 if they have one axis).

    Example:
        >>> hstack([[1, 2], [3]]).tolist()
        [1, 2, 3]
    """
    return jnp.hstack([as_operand(x) for x in xs])


@op
def vstack(xs: Sequence[Tensor]) -> jax.Array:
    """Arrays above each other: joined along axis 0, rows if they have one axis.

    Example:
        >>> vstack([[1, 2], [3, 4]]).shape
        (2, 2)
    """
    return jnp.vstack([as_operand(x) for x in xs])


@op
def dstack(xs: Sequence[Tensor]) -> jax.Array:
    """Arrays joined along a third axis.

    Example:
        >>> dstack([[1, 2], [3, 4]]).shape
        (1, 2, 2)
    """
    return jnp.dstack([as_operand(x) for x in xs])


@op
def split(x: Tensor, indices_or_sections: Any, axis: int = 0) -> list[jax.Array]:
    """`x` cut along an axis: into so many equal parts, or at the given positions.

    Example:
        >>> [v.tolist() for v in split([1, 2, 3, 4], 2)], [v.tolist() for v in split([1, 2, 3, 4], [1])]
        ([[1, 2], [3, 4]], [[1], [2, 3, 4]])
    """
    return jnp.split(as_operand(x), _positions(indices_or_sections), axis=axis)


@op
def array_split(x: Tensor, indices_or_sections: Any, axis: int = 0) -> list[jax.Array]:
    """`x` cut along an axis into so many parts, of sizes that differ by one at most.

    Example:
        >>> [v.tolist() for v in array_split([1, 2, 3], 2)]
        [[1, 2], [3]]
    """
    return jnp.array_split(as_operand(x), _positions(indices_or_sections), axis=axis)


@op
def hsplit(x: Tensor, indices_or_sections: Any) -> list[jax.Array]:
    """`x` cut along axis 1 (axis 0 if it has one axis)."""
    return jnp.hsplit(as_array(x), _positions(indices_or_sections))


@op
def vsplit(x: Tensor, indices_or_sections: Any) -> list[jax.Array]:
    """`x` cut along axis 0."""
    return jnp.vsplit(as_array(x), _positions(indices_or_sections))


@op
def dsplit(x: Tensor, indices_or_sections: Any) -> list[jax.Array]:
    """`x` cut along axis 2."""
    return jnp.dsplit(as_array(x), _positions(indices_or_sections))


def _positions(indices_or_sections: Any) -> Any:
    if isinstance(indices_or_sections, (int, np.integer)):
        return int(indices_or_sections)
    return tuple(int(i) for i in indices_or_sections)


@op
def repeat(x: Tensor, repeats: Any, axis: int | None = None) -> jax.Array:
    """Each element, or each slice along an axis, repeated in place.

    Example:
        >>> repeat([1, 2], 2).tolist(), repeat([[1], [2]], [1, 2], axis=0).tolist()
        ([1, 1, 2, 2], [[1], [2], [2]])
    """
    return jnp.repeat(as_operand(x), as_operand(repeats), axis)


@op
def tile(x: Tensor, repeats: Any) -> jax.Array:
    """`x` as a whole repeated along each axis.

    Example:
        >>> tile([1, 2], 2).tolist()
        [1, 2, 1, 2]
    """
    return jnp.tile(as_operand(x), repeats if isinstance(repeats, (int, np.integer)) else tuple(map(int, repeats)))


@op
def flip(x: Tensor, axis: Any = None) -> jax.Array:
    """`x` in reverse order along the given axes, or all.

    Example:
        >>> flip([1, 2, 3]).tolist()
        [3, 2, 1]
    """
    return jnp.flip(as_operand(x), _axes(axis))


@op
def fliplr(x: Tensor) -> jax.Array:
    """`x` in reverse order along axis 1."""
    return jnp.fliplr(as_operand(x))


@op
def flipud(x: Tensor) -> jax.Array:
    """`x` in reverse order along axis 0."""
    return jnp.flipud(as_operand(x))


@op
def rot90(array: Tensor, k: int = 1, axes: tuple[int, int] = (0, 1)) -> jax.Array:
    """`array` turned by 90 degrees `k` times in the plane of two axes.

    Example:
        >>> rot90([[1, 2], [3, 4]]).tolist()
        [[2, 4], [1, 3]]
    """
    return jnp.rot90(as_operand(array), k, tuple(axes))  # type: ignore[arg-type]


@op
def roll(x: Tensor, shift: Any, axis: Any = None) -> jax.Array:
    """The elements moved along an axis; those that leave at one end come in at the other.

    Example:
        >>> roll([1, 2, 3], 1).tolist()
        [3, 1, 2]
    """
    return jnp.roll(as_operand(x), shift, _axes(axis))


@op
def pad(x: Tensor, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> jax.Array:
    """`x` with elements added at the ends of each axis.

    Args:
        x: an array.
        pad_width: (before, after) for each axis, or one pair or number for all.
        mode: `"constant"`, `"reflect"`, `"symmetric"`, `"edge"` or another mode of `numpy.pad`.
        constant_values: the value to add in mode `"constant"`, 0 if None.

    Example:
        >>> pad([1, 2], (1, 2)).tolist(), pad([1, 2, 3], (2, 0), "reflect").tolist()
        ([0, 1, 2, 0, 0], [3, 2, 1, 2, 3])
    """
    if constant_values is not None and mode != "constant":
        raise ValueError(f"ops.pad: constant_values may only be given with mode='constant', got mode={mode!r}.")
    width = np.asarray(pad_width).tolist()
    extra = {} if constant_values is None else {"constant_values": constant_values}
    return jnp.pad(as_array(x), width, mode, **extra)


@op
def meshgrid(*x: Tensor, indexing: str = "xy") -> list[jax.Array]:
    """Coordinate grids from coordinate vectors.

    Args:
        *x: vectors.
        indexing: `"xy"` (the first two axes exchanged, as in plots) or `"ij"`.

    Example:
        >>> a, b = meshgrid([1, 2], [3, 4, 5])
        >>> a.shape
        (3, 2)
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"ops.meshgrid: indexing must be {listing(['xy', 'ij'])}, got {indexing!r}.")
    return jnp.meshgrid(*[as_array(v) for v in x], indexing=indexing)


@op(named=True)
def rearrange(tensor: Tensor, pattern: str, **axes_lengths: int) -> jax.Array:
    """Axes named, reordered, merged and split by a pattern such as `"b h w c -> b (h w) c"`.

    Args:
        tensor: an array.
        pattern: names of axes before and after the arrow; a group in parentheses is one axis made of several.
        **axes_lengths: sizes of axes in groups on the left; one a group may be left out.

    Example:
        >>> rearrange(jnp.ones((2, 3, 4)), "b h w -> (b h) w").shape
        (6, 4)
        >>> rearrange(jnp.ones((6, 4)), "(b h) w -> w h b", b=2).shape
        (4, 3, 2)
    """
    x = as_array(tensor)
    sides = pattern.split("->")
    if len(sides) != 2:
        raise ValueError(f"ops.rearrange: pattern must look like 'a b -> b a', got {pattern!r}.")
    left, right = (_groups(side, pattern) for side in sides)
    if len(left) != x.ndim:
        raise ValueError(
            f"ops.rearrange: {pattern!r} names {len(left)} axes on the left, got an array of shape {x.shape}."
        )
    sizes = dict(axes_lengths)
    for group, size in zip(left, x.shape, strict=True):
        unknown = [name for name in group if name not in sizes]
        known = int(np.prod([sizes[n] for n in group if n in sizes], dtype=np.int64))
        if len(unknown) > 1 or (known and size % known):
            raise ValueError(
                f"ops.rearrange: axis ({' '.join(group)}) of size {size} cannot be split with the sizes {sizes}."
            )
        if unknown:
            sizes[unknown[0]] = size // known
        elif known != size:
            raise ValueError(f"ops.rearrange: axis ({' '.join(group)}) must have size {known}, got {size}.")
    names_left = [name for group in left for name in group]
    names_right = [name for group in right for name in group]
    new = [name for name in names_right if name not in names_left]
    lost = [name for name in names_left if name not in names_right]
    if lost or any(name not in sizes for name in new):
        raise ValueError(f"ops.rearrange: {pattern!r} must name the same axes on both sides, differs in {lost + new}.")
    x = x.reshape([sizes[n] for n in names_left])
    kept = [n for n in names_right if n not in new]
    x = x.transpose([names_left.index(n) for n in kept])
    x = x.reshape([1 if n in new else sizes[n] for n in names_right])
    x = jnp.broadcast_to(x, [sizes[n] for n in names_right])
    return x.reshape([int(np.prod([sizes[n] for n in group], dtype=np.int64)) for group in right])


def _groups(side: str, pattern: str) -> list[list[str]]:
    groups: list[list[str]] = []
    inside = False
    for token in side.replace("(", " ( ").replace(")", " ) ").split():
        if token == "(":
            if inside:
                raise ValueError(f"ops.rearrange: parentheses must not be nested, got {pattern!r}.")
            groups.append([])
            inside = True
        elif token == ")":
            if not inside:
                raise ValueError(f"ops.rearrange: unbalanced parentheses in {pattern!r}.")
            inside = False
        elif inside:
            groups[-1].append(token)
        else:
            groups.append([] if token == "1" else [token])
    if inside:
        raise ValueError(f"ops.rearrange: unbalanced parentheses in {pattern!r}.")
    return groups
