"""Reductions over axes: sums, means, extremes, quantiles, and running sums."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import check_choice
from lamina.ops.convert import Tensor, as_array, as_float, as_operand, narrow
from lamina.ops.op import op

# One axis, several, or None for all.
Axes = Any
_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _axes(axis: Axes) -> Axes:
    return tuple(axis) if isinstance(axis, list) else axis


@op
def sum(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The sum over axes; small integers and booleans add up as 32-bit integers.

    Example:
        >>> sum([[1, 2], [3, 4]], axis=0).tolist()
        [4, 6]
    """
    return jnp.sum(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def mean(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The mean over axes; integers give floats.

    Example:
        >>> mean([[1, 2], [3, 4]], axis=1).tolist()
        [1.5, 3.5]
    """
    return jnp.mean(as_operand(x), _axes(axis), keepdims=keepdims)


@op(named=True)
def var(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The variance over axes (divided by the count); integers give floats.

    Example:
        >>> var([1.0, 3.0]).item()
        1.0
    """
    return _variance(x, axis, keepdims)


@op(named=True)
def std(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The standard deviation over axes (divided by the count); integers give floats.

    Example:
        >>> std([1.0, 3.0]).item()
        1.0
    """
    return jnp.sqrt(_variance(x, axis, keepdims))


def _variance(x: Tensor, axis: Axes, keepdims: bool) -> jax.Array:
    x = as_float(x)
    half = x.dtype in (jnp.float16, jnp.bfloat16)  # sums of squares leave the range and precision of half floats
    result = jnp.var(x.astype(jnp.float32) if half else x, _axes(axis), keepdims=keepdims)
    return result.astype(x.dtype) if half else result


@op
def prod(x: Tensor, axis: Axes = None, keepdims: bool = False, dtype: Any = None) -> jax.Array:
    """The product over axes; small integers and booleans multiply as 32-bit integers.

    Example:
        >>> prod([2, 3]).item()
        6
    """
    return jnp.prod(as_operand(x), _axes(axis), None if dtype is None else narrow(dtype), keepdims=keepdims)


@op
def max(x: Tensor, axis: Axes = None, keepdims: bool = False, initial: Any = None) -> jax.Array:
    """The largest value over axes.

    Args:
        x: an array.
        axis: the axes to reduce, all by default.
        keepdims: whether reduced axes stay with size 1.
        initial: a value that takes part too; needed for arrays without elements.

    Example:
        >>> max([[1, 2], [3, 4]], axis=0).tolist()
        [3, 4]
    """
    return jnp.max(as_operand(x), _axes(axis), keepdims=keepdims, initial=initial)


@op
def min(x: Tensor, axis: Axes = None, keepdims: bool = False, initial: Any = None) -> jax.Array:
    """The smallest value over axes.

    Args:
        x: an array.
        axis: the axes to reduce, all by default.
        keepdims: whether reduced axes stay with size 1.
        initial: a value that takes part too; needed for arrays without elements.

    Example:
        >>> min([[1, 2], [3, 4]], axis=0).tolist()
        [1, 2]
    """
    return jnp.min(as_operand(x), _axes(axis), keepdims=keepdims, initial=initial)


@op
def amax(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The largest value over axes.

    Example:
        >>> amax([1, 3, 2]).item()
        3
    """
    return jnp.max(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def amin(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The smallest value over axes.

    Example:
        >>> amin([3, 1, 2]).item()
        1
    """
    return jnp.min(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def ptp(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The largest value less the smallest, over axes.

    Example:
        >>> ptp([3, 1, 2]).item()
        2
    """
    return jnp.ptp(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def all(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """Whether all elements are true, over axes.

    Example:
        >>> all([True, False]).item()
        False
    """
    return jnp.all(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def any(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """Whether any element is true, over axes.

    Example:
        >>> any([True, False]).item()
        True
    """
    return jnp.any(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def median(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The median over axes; integers give floats.

    Example:
        >>> median([1, 4, 2]).item()
        2.0
    """
    return jnp.median(as_operand(x), _axes(axis), keepdims=keepdims)


@op(named=True)
def logsumexp(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The logarithm of the sum of exponentials over axes, without overflow.

    Example:
        >>> round(logsumexp([0.0, 0.0]).item(), 4)
        0.6931
    """
    return jax.scipy.special.logsumexp(as_float(x), _axes(axis), keepdims=keepdims)


@op
def count_nonzero(x: Tensor, axis: Axes = None) -> jax.Array:
    """How many elements are not zero, over axes.

    Example:
        >>> count_nonzero([0, 1, 2]).item()
        2
    """
    return jnp.count_nonzero(as_operand(x), _axes(axis))


@op
def average(x: Tensor, axis: Axes = None, weights: Tensor = None) -> jax.Array:
    """The mean over axes, each element counted with its weight.

    Args:
        x: an array.
        axis: the axes to reduce, all by default.
        weights: in the shape of `x`, or one weight for each place of the axis.

    Example:
        >>> average([1.0, 3.0], weights=[3.0, 1.0]).item()
        1.5
    """
    return jnp.average(as_float(x), _axes(axis), None if weights is None else as_operand(weights))


@op
def argmax(x: Tensor, axis: int | None = None, keepdims: bool = False) -> jax.Array:
    """The position of the largest value along an axis, the first of several.

    Example:
        >>> argmax([[1, 9, 2]], axis=1).tolist()
        [1]
    """
    return jnp.argmax(as_operand(x), axis, keepdims=keepdims)


@op
def argmin(x: Tensor, axis: int | None = None, keepdims: bool = False) -> jax.Array:
    """The position of the smallest value along an axis, the first of several.

    Example:
        >>> argmin([[1, 9, 2]], axis=1).tolist()
        [0]
    """
    return jnp.argmin(as_operand(x), axis, keepdims=keepdims)


@op
def nanargmax(x: Tensor, axis: int | None = None, keepdims: bool = False) -> jax.Array:
    """The position of the largest value along an axis, NaN apart; -1 where all are NaN.

    Example:
        >>> nanargmax([float("nan"), 1.0, 2.0]).item()
        2
    """
    return jnp.nanargmax(as_operand(x), axis, keepdims=keepdims)


@op
def nanargmin(x: Tensor, axis: int | None = None, keepdims: bool = False) -> jax.Array:
    """The position of the smallest value along an axis, NaN apart; -1 where all are NaN.

    Example:
        >>> nanargmin([float("nan"), 1.0, 2.0]).item()
        1
    """
    return jnp.nanargmin(as_operand(x), axis, keepdims=keepdims)


@op
def nansum(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The sum over axes, NaN counted as 0.

    Example:
        >>> nansum([1.0, float("nan"), 2.0]).item()
        3.0
    """
    return jnp.nansum(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def nanprod(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The product over axes, NaN counted as 1.

    Example:
        >>> nanprod([1.0, float("nan"), 2.0]).item()
        2.0
    """
    return jnp.nanprod(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def nanmax(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The largest value over axes, NaN apart.

    Example:
        >>> nanmax([1.0, float("nan"), 2.0]).item()
        2.0
    """
    return jnp.nanmax(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def nanmin(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The smallest value over axes, NaN apart.

    Example:
        >>> nanmin([1.0, float("nan"), 2.0]).item()
        1.0
    """
    return jnp.nanmin(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def nanmean(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The mean over axes, NaN apart.

    Example:
        >>> nanmean([1.0, float("nan"), 2.0]).item()
        1.5
    """
    return jnp.nanmean(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def nanmedian(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The median over axes, NaN apart.

    Example:
        >>> nanmedian([1.0, float("nan"), 2.0]).item()
        1.5
    """
    return jnp.nanmedian(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def nanvar(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The variance over axes, NaN apart.

    Example:
        >>> nanvar([1.0, float("nan"), 2.0]).item()
        0.25
    """
    return jnp.nanvar(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def nanstd(x: Tensor, axis: Axes = None, keepdims: bool = False) -> jax.Array:
    """The standard deviation over axes, NaN apart.

    Example:
        >>> nanstd([1.0, float("nan"), 2.0]).item()
        0.5
    """
    return jnp.nanstd(as_operand(x), _axes(axis), keepdims=keepdims)


@op
def quantile(x: Tensor, q: Tensor, axis: Axes = None, method: str = "linear", keepdims: bool = False) -> jax.Array:
    """The value below which a share `q` of the elements lies, over axes.

    Args:
        x: an array.
        q: shares from 0 to 1, one or several.
        axis: the axes to reduce, all by default.
        method: what to take between two elements: `"linear"`, `"lower"`, `"higher"`, `"midpoint"` or `"nearest"`.
        keepdims: whether reduced axes stay with size 1.

    Example:
        >>> quantile([1.0, 2.0, 4.0], 0.5).item()
        2.0
    """
    check_choice("ops.quantile", "method", method, _METHODS)
    return jnp.quantile(as_float(x), as_float(q), _axes(axis), method=method, keepdims=keepdims)


@op
def nanquantile(x: Tensor, q: Tensor, axis: Axes = None, method: str = "linear", keepdims: bool = False) -> jax.Array:
    """The value below which a share `q` of the elements lies, over axes, NaN apart.

    Args:
        x: an array.
        q: shares from 0 to 1, one or several.
        axis: the axes to reduce, all by default.
        method: what to take between two elements: `"linear"`, `"lower"`, `"higher"`, `"midpoint"` or `"nearest"`.
        keepdims: whether reduced axes stay with size 1.

    Example:
        >>> nanquantile([1.0, 2.0, 4.0], 0.5).item()
        2.0
    """
    check_choice("ops.nanquantile", "method", method, _METHODS)
    return jnp.nanquantile(as_float(x), as_float(q), _axes(axis), method=method, keepdims=keepdims)


@op
def percentile(x: Tensor, q: Tensor, axis: Axes = None, method: str = "linear", keepdims: bool = False) -> jax.Array:
    """The value below which `q` percent of the elements lie, over axes.

    Args:
        x: an array.
        q: percentages from 0 to 100, one or several.
        axis: the axes to reduce, all by default.
        method: what to take between two elements: `"linear"`, `"lower"`, `"higher"`, `"midpoint"` or `"nearest"`.
        keepdims: whether reduced axes stay with size 1.

    Example:
        >>> percentile([1.0, 2.0, 4.0], 50).item()
        2.0
    """
    check_choice("ops.percentile", "method", method, _METHODS)
    return jnp.percentile(as_float(x), as_float(q), _axes(axis), method=method, keepdims=keepdims)


@op
def nanpercentile(x: Tensor, q: Tensor, axis: Axes = None, method: str = "linear", keepdims: bool = False) -> jax.Array:
    """The value below which `q` percent of the elements lie, over axes, NaN apart.

    Args:
        x: an array.
        q: percentages from 0 to 100, one or several.
        axis: the axes to reduce, all by default.
        method: what to take between two elements: `"linear"`, `"lower"`, `"higher"`, `"midpoint"` or `"nearest"`.
        keepdims: whether reduced axes stay with size 1.

    Example:
        >>> nanpercentile([1.0, 2.0, 4.0], 50).item()
        2.0
    """
    check_choice("ops.nanpercentile", "method", method, _METHODS)
    return jnp.nanpercentile(as_float(x), as_float(q), _axes(axis), method=method, keepdims=keepdims)


@op
def cumsum(x: Tensor, axis: int | None = None, dtype: Any = None) -> jax.Array:
    """The sum of all elements up to each, along an axis; None flattens first.

    Example:
        >>> cumsum([1, 2, 3]).tolist()
        [1, 3, 6]
    """
    return jnp.cumsum(as_operand(x), axis, None if dtype is None else narrow(dtype))


@op
def nancumsum(x: Tensor, axis: int | None = None, dtype: Any = None) -> jax.Array:
    """The sum of all elements up to each, along an axis; None flattens first. NaN counts as 0.

    Example:
        >>> nancumsum([1, 2, 3]).tolist()
        [1, 3, 6]
    """
    return jnp.nancumsum(as_operand(x), axis, None if dtype is None else narrow(dtype))


@op
def cumprod(x: Tensor, axis: int | None = None, dtype: Any = None) -> jax.Array:
    """The product of all elements up to each, along an axis; None flattens first.

    Example:
        >>> cumprod([1, 2, 3]).tolist()
        [1, 2, 6]
    """
    return jnp.cumprod(as_operand(x), axis, None if dtype is None else narrow(dtype))


@op
def nancumprod(x: Tensor, axis: int | None = None, dtype: Any = None) -> jax.Array:
    """The product of all elements up to each, along an axis; None flattens first. NaN counts as 1.

    Example:
        >>> nancumprod([1, 2, 3]).tolist()
        [1, 2, 6]
    """
    return jnp.nancumprod(as_operand(x), axis, None if dtype is None else narrow(dtype))


@op
def diff(a: Tensor, n: int = 1, axis: int = -1) -> jax.Array:
    """The differences of neighbours along an axis, taken `n` times.

    Example:
        >>> diff([1, 4, 9]).tolist()
        [3, 5]
    """
    return jnp.diff(as_operand(a), n, axis)


@op
def trapezoid(y: Tensor, x: Tensor = None, dx: Tensor = 1.0, axis: int = -1) -> jax.Array:
    """The integral along an axis by the trapezoidal rule.

    Args:
        y: the values.
        x: where they were taken; None means at distances `dx`.
        dx: the distance between two values.
        axis: the axis to integrate along.

    Example:
        >>> trapezoid([1.0, 2.0, 3.0]).item()
        4.0
    """
    return jnp.trapezoid(as_operand(y), None if x is None else as_operand(x), dx, axis)


@op(named=True)
def moments(x: Tensor, axes: Axes, keepdims: bool = False, synchronized: bool = False) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over axes; those of half floats are summed in float32.

    Args:
        x: an array.
        axes: the axes to reduce.
        keepdims: whether reduced axes stay with size 1.
        synchronized: accepted for compatibility: under `jax.jit` a sharded array is reduced over all its devices.

    Example:
        >>> mean, variance = moments([1.0, 3.0], [0])
        >>> mean.item(), variance.item()
        (2.0, 1.0)
    """
    x = as_float(x)
    wide = x.astype(jnp.float32) if x.dtype in (jnp.float16, jnp.bfloat16) else x
    mean = jnp.mean(wide, _axes(axes), keepdims=True)
    variance = jnp.var(wide, _axes(axes), keepdims=keepdims)
    if not keepdims:
        mean = jnp.squeeze(mean, _all_axes(axes, x.ndim))
    if wide.dtype != x.dtype:
        limit = jnp.finfo(x.dtype)
        mean = jnp.clip(mean, limit.min, limit.max)
        variance = jnp.clip(variance, limit.min, limit.max)
    return mean.astype(x.dtype), variance.astype(x.dtype)


def _all_axes(axes: Axes, ndim: int) -> tuple[int, ...]:
    axes = _axes(axes)
    return tuple(range(ndim)) if axes is None else (axes if isinstance(axes, tuple) else (axes,))


@op
def histogram(x: Tensor, bins: int = 10, range: tuple[float, float] | None = None) -> tuple[jax.Array, jax.Array]:
    """How many elements fall between each two of `bins` + 1 evenly spaced edges.

    Args:
        x: an array.
        bins: how many bins.
        range: the first and the last edge; those of the elements by default.

    Returns:
        The counts and the edges.

    Example:
        >>> counts, edges = histogram([1.0, 2.0, 2.0], bins=2)
        >>> counts.tolist(), edges.tolist()
        ([1.0, 2.0], [1.0, 1.5, 2.0])
    """
    return jnp.histogram(as_float(x), bins, range)


@op
def bincount(x: Tensor, weights: Tensor = None, minlength: int = 0, sparse: bool = False) -> jax.Array:
    """How often each whole number occurs, or the sum of its weights; an axis before the last is a batch.

    Args:
        x: integers from 0 up, in one or two axes.
        weights: one weight an element.
        minlength: the least number of bins. Inside compiled code it must cover all values.
        sparse: only False: all arrays are dense.

    Example:
        >>> bincount([1, 1, 3]).tolist()
        [0, 2, 0, 1]
    """
    if sparse:
        raise ValueError("ops.bincount: sparse must be False: all arrays of lamina are dense.")
    x = as_array(x)
    if x.ndim > 2:
        raise ValueError(f"ops.bincount: x must have one or two axes, got shape {x.shape}.")
    if isinstance(x, jax.core.Tracer):
        length = minlength
    else:
        needed = int(jnp.max(x)) + 1 if x.size else 0
        length = minlength if minlength > needed else needed
    out = "int32" if weights is None else as_array(weights).dtype
    weights = jnp.ones(x.shape, out) if weights is None else as_array(weights)

    def count(row: jax.Array, weight: jax.Array) -> jax.Array:
        return jnp.zeros((length,), out).at[row].add(weight, mode="drop")

    return count(x, weights) if x.ndim == 1 else jax.vmap(count)(x, weights)
