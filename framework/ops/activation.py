"""Activation functions, element by element or over an axis."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lamina.ops.convert import Tensor, as_array, as_float
from lamina.ops.op import op


@op(named=True)
def relu(x: Tensor) -> jax.Array:
    """max(x, 0).

    Example:
        >>> relu([-1.0, 2.0]).tolist()
        [0.0, 2.0]
    """
    return jax.nn.relu(as_array(x))


@op(named=True)
def relu6(x: Tensor) -> jax.Array:
    """min(max(x, 0), 6).

    Example:
        >>> relu6([-1.0, 8.0]).tolist()
        [0.0, 6.0]
    """
    return jax.nn.relu6(as_array(x))


@op(named=True)
def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> jax.Array:
    """x where positive, else negative_slope * x.

    Example:
        >>> leaky_relu([-1.0, 2.0], 0.5).tolist()
        [-0.5, 2.0]
    """
    return jax.nn.leaky_relu(as_float(x), negative_slope)


@op(named=True)
def elu(x: Tensor, alpha: float = 1.0) -> jax.Array:
    """x where positive, else alpha * (exp(x) - 1).

    Example:
        >>> elu([0.0, 2.0]).tolist()
        [0.0, 2.0]
    """
    return jax.nn.elu(as_float(x), alpha)


@op(named=True)
def celu(x: Tensor, alpha: float = 1.0) -> jax.Array:
    """max(x, 0) + min(0, alpha * (exp(x / alpha) - 1)).

    Example:
        >>> celu([0.0, 2.0]).tolist()
        [0.0, 2.0]
    """
    return jax.nn.celu(as_float(x), alpha)


@op(named=True)
def selu(x: Tensor) -> jax.Array:
    """1.0507 * elu(x, 1.6733): keeps the variance of its inputs.

    Example:
        >>> round(selu(1.0).item(), 4)
        1.0507
    """
    return jax.nn.selu(as_float(x))


@op(named=True)
def gelu(x: Tensor, approximate: bool = True) -> jax.Array:
    """x * P(X <= x) for a standard normal X; `approximate` takes the formula with tanh.

    Example:
        >>> gelu([0.0, 10.0]).tolist()
        [0.0, 10.0]
    """
    return jax.nn.gelu(as_float(x), approximate)


@op
def sigmoid(x: Tensor) -> jax.Array:
    """1 / (1 + exp(-x)).

    Example:
        >>> sigmoid(0.0).item()
        0.5
    """
    return jax.nn.sigmoid(as_float(x))


@op(named=True)
def log_sigmoid(x: Tensor) -> jax.Array:
    """log(1 / (1 + exp(-x))), without overflow.

    Example:
        >>> round(log_sigmoid(0.0).item(), 4)
        -0.6931
    """
    return jax.nn.log_sigmoid(as_float(x))


@op(named=True)
def silu(x: Tensor) -> jax.Array:
    """x * sigmoid(x), also called swish.

    Example:
        >>> silu([0.0, 20.0]).tolist()
        [0.0, 20.0]
    """
    return jax.nn.silu(as_float(x))


@op(named=True)
def swish(x: Tensor) -> jax.Array:
    """x * sigmoid(x), also called silu.

    Example:
        >>> swish([0.0, 20.0]).tolist()
        [0.0, 20.0]
    """
    return jax.nn.silu(as_float(x))


@op(named=True)
def softplus(x: Tensor) -> jax.Array:
    """log(1 + exp(x)), without overflow.

    Example:
        >>> round(softplus(0.0).item(), 4)
        0.6931
    """
    return jax.nn.softplus(as_float(x))


@op(named=True)
def softsign(x: Tensor) -> jax.Array:
    """x / (1 + |x|).

    Example:
        >>> softsign([-1.0, 0.0, 1.0]).tolist()
        [-0.5, 0.0, 0.5]
    """
    return jax.nn.soft_sign(as_float(x))


@op(named=True)
def squareplus(x: Tensor, b: float = 4) -> jax.Array:
    """(x + sqrt(x**2 + b)) / 2: a smooth relu without exponentials.

    Example:
        >>> squareplus(0.0).item()
        1.0
    """
    return jax.nn.squareplus(as_float(x), b)


@op(named=True)
def hard_sigmoid(x: Tensor) -> jax.Array:
    """min(max(x + 3, 0), 6) / 6.

    Example:
        >>> hard_sigmoid([-4.0, 0.0, 4.0]).tolist()
        [0.0, 0.5, 1.0]
    """
    return jax.nn.hard_sigmoid(as_float(x))


@op(named=True)
def hard_silu(x: Tensor) -> jax.Array:
    """x * hard_sigmoid(x), also called hard_swish.

    Example:
        >>> hard_silu([-4.0, 0.0, 4.0]).tolist()
        [-0.0, 0.0, 4.0]
    """
    return jax.nn.hard_silu(as_float(x))


@op(named=True)
def hard_swish(x: Tensor) -> jax.Array:
    """x * hard_sigmoid(x), also called hard_silu.

    Example:
        >>> hard_swish([-4.0, 0.0, 4.0]).tolist()
        [-0.0, 0.0, 4.0]
    """
    return jax.nn.hard_silu(as_float(x))


@op(named=True)
def hard_tanh(x: Tensor) -> jax.Array:
    """`x` limited to the range from -1 to 1.

    Example:
        >>> hard_tanh([-4.0, 0.5]).tolist()
        [-1.0, 0.5]
    """
    return jax.nn.hard_tanh(as_array(x))


@op(named=True)
def hard_shrink(x: Tensor, threshold: float = 0.5) -> jax.Array:
    """`x` where |x| is above the threshold, else 0.

    Example:
        >>> hard_shrink([-1.0, 0.2]).tolist()
        [-1.0, 0.0]
    """
    x = as_array(x)
    return jnp.where(jnp.abs(x) > threshold, x, 0)


@op(named=True)
def soft_shrink(x: Tensor, threshold: float = 0.5) -> jax.Array:
    """`x` moved towards 0 by the threshold, 0 within it.

    Example:
        >>> soft_shrink([-1.0, 0.2, 2.0]).tolist()
        [-0.5, 0.0, 1.5]
    """
    x = as_float(x)
    return jnp.where(x > threshold, x - threshold, jnp.where(x < -threshold, x + threshold, 0))


@op(named=True)
def tanh_shrink(x: Tensor) -> jax.Array:
    """x - tanh(x).

    Example:
        >>> tanh_shrink(0.0).item()
        0.0
    """
    x = as_float(x)
    return x - jnp.tanh(x)


@op(named=True)
def threshold(x: Tensor, threshold: float, default_value: float) -> jax.Array:
    """`x` where it is above the threshold, else the default value.

    Example:
        >>> threshold([1.0, 3.0], 2.0, 0.0).tolist()
        [0.0, 3.0]
    """
    x = as_array(x)
    return jnp.where(x > threshold, x, default_value)


@op(named=True)
def sparse_plus(x: Tensor) -> jax.Array:
    """0 below -1, x above 1, (x + 1)**2 / 4 between: the softplus that goes with sparsemax.

    Example:
        >>> sparse_plus([-2.0, 0.0, 2.0]).tolist()
        [0.0, 0.25, 2.0]
    """
    return jax.nn.sparse_plus(as_float(x))


@op(named=True)
def sparse_sigmoid(x: Tensor) -> jax.Array:
    """0 below -1, 1 above 1, (x + 1) / 2 between.

    Example:
        >>> sparse_sigmoid([-2.0, 0.0, 2.0]).tolist()
        [0.0, 0.5, 1.0]
    """
    return jax.nn.sparse_sigmoid(as_float(x))


@op(named=True)
def glu(x: Tensor, axis: int = -1) -> jax.Array:
    """The first half of an axis times the sigmoid of the second half.

    Example:
        >>> glu([2.0, 0.0]).tolist()
        [1.0]
    """
    x = as_float(x)
    if x.shape[axis] % 2:
        raise ValueError(f"ops.glu: axis {axis} must have an even size, got an array of shape {x.shape}.")
    return jax.nn.glu(x, axis)


@op(named=True)
def softmax(x: Tensor, axis: int | tuple[int, ...] = -1) -> jax.Array:
    """exp(x) scaled to sum to 1 over the axes.

    Example:
        >>> softmax([0.0, 0.0]).tolist()
        [0.5, 0.5]
    """
    return jax.nn.softmax(as_float(x), _axes(axis))


@op(named=True)
def log_softmax(x: Tensor, axis: int | tuple[int, ...] = -1) -> jax.Array:
    """log(softmax(x)), without underflow.

    Example:
        >>> [round(v, 4) for v in log_softmax([0.0, 0.0]).tolist()]
        [-0.6931, -0.6931]
    """
    return jax.nn.log_softmax(as_float(x), _axes(axis))


def _axes(axis: int | list[int] | tuple[int, ...]) -> int | tuple[int, ...]:
    return tuple(axis) if isinstance(axis, list) else axis


@op(named=True)
def sparsemax(x: Tensor, axis: int = -1) -> jax.Array:
    """The point of the probability simplex nearest to `x` along an axis: softmax with exact zeros.

    Example:
        >>> sparsemax([3.0, 0.0]).tolist()
        [1.0, 0.0]

    Reference:
        https://arxiv.org/abs/1602.02068
    """
    x = jnp.moveaxis(as_float(x), axis, -1)
    falling = -jnp.sort(-x, axis=-1)
    excess = jnp.cumsum(falling, axis=-1) - 1
    rank = jnp.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    support = jnp.sum(falling * rank > excess, axis=-1, keepdims=True)
    # support is 0 only where x is NaN
    limit = jnp.take_along_axis(excess, jnp.maximum(support - 1, 0), axis=-1) / support
    return jnp.moveaxis(jnp.maximum(x - limit, 0), -1, axis)
