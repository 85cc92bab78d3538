"""Fake quantisation: floats rounded to what integers of few bits can tell apart, with gradients to train through."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import check_int
from lamina.core.errors import ShapeError
from lamina.ops.convert import Tensor, as_array
from lamina.ops.op import op


def nudged_range(low: Any, high: Any, bits: int, narrow: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Scale, and the least and greatest number that can be told, such that 0 is told without error.

    Args:
        low: least numbers.
        high: greatest numbers; where they are no greater than `low`, the scale is that of 0 alone.
        bits: how many bits the integers have.
        narrow: whether the least integer is left out, which makes a symmetric range symmetric in integers.
    """
    least, most = float(narrow), float(2**bits - 1)
    scale = (high - low) / (most - least)
    safe = jnp.where(scale > 0, scale, jnp.ones_like(scale))
    zero = jnp.clip(jnp.floor(least - low / safe + 0.5), least, most)
    return safe, (least - zero) * safe, (most - zero) * safe


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _fake_quant(x: jax.Array, low: jax.Array, high: jax.Array, bits: int, narrow: bool) -> jax.Array:
    scale, least, most = nudged_range(low, high, bits, narrow)
    steps = jnp.floor((jnp.clip(x, least, most) - least) / scale + 0.5)
    y = jnp.where(high > low, (steps + jnp.round(least / scale)) * scale, jnp.zeros_like(x))
    return jnp.where(jnp.isfinite(high - low), y, x)


@_fake_quant.defjvp
def _fake_quant_jvp(bits: int, narrow: bool, primals: Any, tangents: Any) -> tuple:
    """Straight through inside the range; outside, the derivative is that of the limit."""
    x, low, high = primals
    dx, dlow, dhigh = tangents
    _, least, most = nudged_range(low, high, bits, narrow)
    y = _fake_quant(x, low, high, bits, narrow)
    slope = jnp.where(x < least, dlow, jnp.where(x > most, dhigh, dx))
    return y, jnp.broadcast_to(slope, y.shape).astype(y.dtype)


@op(named=True)
def fake_quant_with_min_max_vars(
    inputs: Tensor,
    min_vals: Tensor,
    max_vals: Tensor,
    num_bits: int = 8,
    narrow_range: bool = False,
    axis: int | None = None,
) -> jax.Array:
    """Rounds to the nearest of the 2**num_bits numbers that lie evenly between two limits, one of them 0.

    `y = scale * (round(clip(x, low, high) / scale))` with `scale = (max - min) / (2**num_bits - 1)`; the limits are
    moved by less than a step, so that 0 is one of the numbers. Inside the limits the gradient passes through as if
    nothing were rounded; where x is clipped, the limit gets it. Choose min <= 0 <= max. Where a limit is infinite,
    nothing is rounded.

    Shape:
        any -> the same

    Args:
        inputs: floats.
        min_vals: the lower limit, or with `axis` one for each place along it; without, it may broadcast.
        max_vals: the upper limit, likewise.
        num_bits: from 2 to 16.
        narrow_range: whether one number less is used, so that a range symmetric about 0 stays so.
        axis: the axis of the limits, if they are vectors.

    Raises:
        ValueError: `num_bits` is out of range.
        ShapeError: the limits do not fit.

    Example:
        >>> x = np.array([-1.0, 0.2, 0.6, 9.0], "float32")
        >>> fake_quant_with_min_max_vars(x, -1.0, 2.0, num_bits=2).tolist()
        [-1.0, 0.0, 1.0, 2.0]

    Reference:
        https://arxiv.org/abs/1712.05877
    """
    if check_int("fake_quant_with_min_max_vars", "num_bits", num_bits, 2) > 16:
        raise ValueError(f"fake_quant_with_min_max_vars: num_bits must be from 2 to 16, got {num_bits}.")
    x = as_array(inputs)
    low, high = (jnp.asarray(as_array(v), x.dtype) for v in (min_vals, max_vals))
    if axis is not None:
        if not -x.ndim <= axis < x.ndim or low.shape != (x.shape[axis],) or high.shape != low.shape:
            raise ShapeError(
                f"fake_quant_with_min_max_vars: with axis={axis}, an input of shape {x.shape} needs min_vals and "
                f"max_vals of the size of that axis, got {low.shape} and {high.shape}."
            )
        shape = [1] * x.ndim
        shape[axis] = x.shape[axis]
        low, high = low.reshape(shape), high.reshape(shape)
    return fake_quant(x, low, high, num_bits, narrow_range)


def fake_quant(x: jax.Array, low: jax.Array, high: jax.Array, bits: int = 8, narrow: bool = False) -> jax.Array:
    """As `fake_quant_with_min_max_vars`, of limits that broadcast against `x`.

    Raises:
        ShapeError: they do not.
    """
    try:
        fits = jnp.broadcast_shapes(x.shape, low.shape, high.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"fake_quant: limits of shapes {low.shape} and {high.shape} do not fit {x.shape}.")
    return _fake_quant(x, low, high, bits, narrow)
