"""From one loss an element to one number: casting, rank matching, sample weights, masks and reductions."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import settings
from lamina.core.checks import check_choice
from lamina.state.variable import Variable

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


def to_array(x: Any, dtype: Any = None) -> jax.Array:
    """A number, list, numpy or jax array or Variable as a jax array, of `dtype` if given."""
    if isinstance(x, Variable):
        x = x.value
    if not isinstance(x, jax.Array):
        x = jnp.asarray(x)
    return x if dtype is None or x.dtype == dtype else x.astype(dtype)


def to_float(x: Any) -> jax.Array:
    """`x` as an array of a float dtype; integers and booleans become the default float."""
    x = to_array(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(settings.floatx())


def operands(y_true: Any, y_pred: Any, match_rank: bool = False) -> tuple[jax.Array, jax.Array]:
    """Targets and predictions as float arrays of the predictions' dtype."""
    y_pred = to_float(y_pred)
    y_true = to_array(y_true, y_pred.dtype)
    return squeeze_or_expand_to_same_rank(y_true, y_pred) if match_rank else (y_true, y_pred)


def standardize_reduction(owner: Any, reduction: str | None) -> str | None:
    """`reduction`, if there is such a reduction."""
    return check_choice(owner, "reduction", reduction, REDUCTIONS)


def squeeze_or_expand_to_same_rank(x1: Any, x2: Any, expand_rank_1: bool = True) -> tuple[Any, Any]:
    """Drops or adds a last axis of size 1 where the ranks differ by one.

    Example:
        >>> a, b = squeeze_or_expand_to_same_rank(jnp.zeros((3, 1)), jnp.zeros((3,)))
        >>> a.shape, b.shape
        ((3, 1), (3, 1))
    """

    def match(long: Any, short: Any) -> tuple[Any, Any]:
        if long.shape[-1] != 1:
            return long, short
        if short.ndim == 1 and expand_rank_1:
            return long, short[..., None]
        return long[..., 0], short

    if x1.ndim == x2.ndim + 1:
        x1, x2 = match(x1, x2)
    elif x2.ndim == x1.ndim + 1:
        x2, x1 = match(x2, x1)
    return x1, x2


def divide_no_nan(a: jax.Array, b: jax.Array) -> jax.Array:
    """`a / b`, and 0 where `b` is 0, with finite gradients there."""
    zero = b == 0
    return jnp.where(zero, jnp.zeros((), a.dtype), a / jnp.where(zero, jnp.ones((), b.dtype), b))


def apply_mask(sample_weight: Any, mask: Any, dtype: Any, reduction: str | None) -> jax.Array | None:
    """Sample weights with a mask folded in.

    For a mean the valid entries weigh `total / valid`, so that the mean is over the valid entries alone.
    """
    if mask is None:
        return None if sample_weight is None else to_array(sample_weight, dtype)
    mask = to_array(mask, dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        total = jnp.asarray(math.prod(mask.shape), dtype)
        mask = mask * divide_no_nan(total, jnp.sum(mask))
    if sample_weight is None:
        return mask
    mask, sample_weight = squeeze_or_expand_to_same_rank(mask, to_array(sample_weight, dtype))
    return sample_weight * mask


def reduce_values(
    values: jax.Array, sample_weight: jax.Array | None = None, reduction: str | None = "sum_over_batch_size"
) -> jax.Array:
    """The sum or mean of `values`; `mean_with_sample_weight` divides by the sum of the weights."""
    if reduction in (None, "none") or values.shape in ((), (0,)):
        return values
    total = jnp.sum(values)
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        return divide_no_nan(total, jnp.sum(sample_weight).astype(total.dtype))
    count = math.prod(values.shape)
    return total / count if count else jnp.zeros((), total.dtype)


def reduce_weighted_values(
    values: Any,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: str | None = "sum_over_batch_size",
    dtype: Any = None,
) -> jax.Array:
    """Weights and masks `values`, then reduces them.

    Args:
        values: one loss an element, `(batch, ...)`.
        sample_weight: weights that broadcast against `values`; one a sample for `(batch,)`.
        mask: 1 or True where an element counts.
        reduction: one of `REDUCTIONS`.
        dtype: the dtype to compute in; None keeps that of `values`.

    Example:
        >>> float(reduce_weighted_values([1.0, 2.0, 9.0], mask=[True, True, False]))
        1.5
    """
    values = to_array(values, dtype)
    weight = apply_mask(sample_weight, mask, values.dtype, reduction)
    if weight is not None:
        values, weight = squeeze_or_expand_to_same_rank(values, weight)
        values = values * weight
    return reduce_values(values, weight, reduction)
