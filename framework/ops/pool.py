"""Pooling over windows of space: maxima and means, of fixed windows or to a fixed output size."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina.core.checks import check_choice, check_ints
from lamina.core.errors import describe
from lamina.ops.conv import from_last, layout, pads_of, to_last
from lamina.ops.convert import Tensor, as_array, as_float
from lamina.ops.op import op


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _tiles_max(x: jax.Array, window: tuple[int, ...]) -> jax.Array:
    """The maximum of each tile of a shape that divides that of space.

    Its gradient is one elementwise pass over a mask of the first maximum of each tile, which is what the
    select-and-scatter of a general window computes 2 to 3 times slower.
    """
    full = (1, *window, 1)
    return lax.reduce_window(x, _lowest(x.dtype), lax.max, full, full, "VALID")


@_tiles_max.defjvp
def _tiles_max_jvp(window: tuple[int, ...], primals: Any, tangents: Any) -> tuple:
    (x,), (dx,) = primals, tangents
    y = _tiles_max(x, window)
    tiled = [x.shape[0]]
    for size, length in zip(x.shape[1:-1], window, strict=True):
        tiled += [size // length, length]
    tiled.append(x.shape[-1])
    inside = tuple(2 * i + 2 for i in range(len(window)))
    number = np.arange(math.prod(window), dtype=np.int32)
    number = number.reshape([d if i in inside else 1 for i, d in enumerate(tiled)])
    hits = x.reshape(tiled) == jnp.expand_dims(y, inside)
    first = jnp.min(jnp.where(hits, number, number.size), axis=inside, keepdims=True)
    return y, jnp.sum(jnp.where(first == number, dx.reshape(tiled), 0), axis=inside)


def _lowest(dtype: Any) -> Any:
    low = -np.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min
    return np.asarray(low, dtype)


def _windows(
    name: str, x: jax.Array, pool_size: Any, strides: Any, padding: str
) -> tuple[tuple[int, ...], tuple[int, ...], tuple]:
    if x.ndim not in (3, 4, 5):
        raise ValueError(
            f"ops.{name}: inputs must have 3, 4 or 5 axes (batch, one to three of space, channels), got {describe(x)}."
        )
    dims = x.ndim - 2
    window = check_ints(f"ops.{name}", "pool_size", pool_size, dims, 1)
    strides = window if strides is None else check_ints(f"ops.{name}", "strides", strides, dims, 1)
    check_choice(f"ops.{name}", "padding", padding, ["valid", "same"])
    return window, strides, pads_of(name, padding, x.shape[1:-1], window, strides)


def _crop(x: jax.Array, window: tuple[int, ...]) -> jax.Array:
    """`x` without the rest that fills no whole tile."""
    stop = [size // length * length for size, length in zip(x.shape[1:-1], window, strict=True)]
    return lax.slice(x, [0] * x.ndim, [x.shape[0], *stop, x.shape[-1]])


@op(named=True)
def max_pool(
    inputs: Tensor, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> jax.Array:
    """The largest value of each window.

    Shape:
        (batch, *space, channels) -> (batch, *fewer, channels)

    Args:
        inputs: an array with one to three spatial axes.
        pool_size: the size of the windows.
        strides: the distance of two windows; the size by default.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> max_pool([[[1.0], [3.0], [2.0], [0.0]]], 2).tolist()
        [[[3.0], [2.0]]]
    """
    format_ = layout("max_pool", data_format)
    x = to_last(as_array(inputs), format_)
    window, strides, pads = _windows("max_pool", x, pool_size, strides, padding)
    if window == strides and not any(map(any, pads)):
        return from_last(_tiles_max(_crop(x, window), window), format_)
    full = (0, 0)
    y = lax.reduce_window(x, _lowest(x.dtype), lax.max, (1, *window, 1), (1, *strides, 1), (full, *pads, full))
    return from_last(y, format_)


@op(named=True)
def average_pool(
    inputs: Tensor, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> jax.Array:
    """The mean of each window; with padding, of the part of it that lies inside the array.

    Shape:
        (batch, *space, channels) -> (batch, *fewer, channels)

    Args:
        inputs: an array with one to three spatial axes.
        pool_size: the size of the windows.
        strides: the distance of two windows; the size by default.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> average_pool([[[1.0], [3.0], [2.0], [0.0]]], 2).tolist()
        [[[2.0], [1.0]]]
    """
    format_ = layout("average_pool", data_format)
    x = to_last(as_float(inputs), format_)
    window, strides, pads = _windows("average_pool", x, pool_size, strides, padding)
    full, steps, ends = (1, *window, 1), (1, *strides, 1), ((0, 0), *pads, (0, 0))
    zero = np.zeros((), x.dtype)
    y = lax.reduce_window(x, zero, lax.add, full, steps, ends)
    if any(map(any, pads)):
        count = lax.reduce_window(jnp.ones((1, *x.shape[1:-1], 1), x.dtype), zero, lax.add, full, steps, ends)
    else:
        count = math.prod(window)
    return from_last(y / count, format_)


def _adaptive_bounds(size: int, parts: int) -> list[tuple[int, int]]:
    """`parts` windows that cover an axis, as equal as whole numbers allow."""
    return [(i * size // parts, -(-(i + 1) * size // parts)) for i in range(parts)]


def _adaptive(name: str, inputs: Tensor, output_size: Any, data_format: str | None) -> tuple:
    format_ = layout(name, data_format)
    x = to_last(as_float(inputs), format_)
    if x.ndim not in (3, 4, 5):
        raise ValueError(f"ops.{name}: inputs must have 3, 4 or 5 axes, got {describe(x)}.")
    dims = x.ndim - 2
    if isinstance(output_size, (tuple, list)):
        sizes = tuple(n if s is None else s for s, n in zip(output_size, x.shape[1:-1], strict=True))
    else:
        sizes = (output_size,) * dims
    return x, check_ints(f"ops.{name}", "output_size", sizes, dims, 1), format_


@op(named=True)
def adaptive_average_pool(inputs: Tensor, output_size: Any, data_format: str | None = None) -> jax.Array:
    """Means of windows chosen so that the output has a given size.

    Args:
        inputs: an array with one to three spatial axes.
        output_size: the size of space in the output.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> adaptive_average_pool(jnp.ones((1, 7, 5, 2)), 3).shape
        (1, 3, 3, 2)
    """
    x, sizes, format_ = _adaptive("adaptive_average_pool", inputs, output_size, data_format)
    for axis, parts in enumerate(sizes, start=1):
        weights = np.zeros((parts, x.shape[axis]))
        for i, (start, stop) in enumerate(_adaptive_bounds(x.shape[axis], parts)):
            weights[i, start:stop] = 1 / (stop - start)
        x = jnp.moveaxis(jnp.tensordot(x, jnp.asarray(weights, x.dtype), [[axis], [1]]), -1, axis)
    return from_last(x, format_)


@op(named=True)
def adaptive_max_pool(inputs: Tensor, output_size: Any, data_format: str | None = None) -> jax.Array:
    """Maxima of windows chosen so that the output has a given size.

    Args:
        inputs: an array with one to three spatial axes.
        output_size: the size of space in the output.
        data_format: `"channels_last"` or `"channels_first"`; the global default if None.

    Example:
        >>> adaptive_max_pool(jnp.ones((1, 7, 5, 2)), 3).shape
        (1, 3, 3, 2)
    """
    x, sizes, format_ = _adaptive("adaptive_max_pool", inputs, output_size, data_format)
    for axis, parts in enumerate(sizes, start=1):
        bounds = _adaptive_bounds(x.shape[axis], parts)
        slices = [jnp.max(lax.slice_in_dim(x, lo, hi, axis=axis), axis, keepdims=True) for lo, hi in bounds]
        x = jnp.concatenate(slices, axis)
    return from_last(x, format_)
