"""Random numbers: `lamina.random`. A seed is an integer (always the same numbers), a `SeedGenerator`, or None."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import check_number
from lamina.ops.convert import Tensor, as_array, as_float, narrow
from lamina.ops.op import op
from lamina.state.rng import SeedGenerator, draw_key

__all__ = [
    "SeedGenerator",
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]


def normal(shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None) -> jax.Array:
    """Numbers from a normal distribution.

    Args:
        shape: the shape of the result.
        mean: the mean of the distribution.
        stddev: its standard deviation.
        dtype: a float dtype, the default float if None.
        seed: an integer, a `SeedGenerator`, or None.

    Example:
        >>> bool((normal((2, 3), seed=1) == normal((2, 3), seed=1)).all())
        True
    """
    return jax.random.normal(draw_key(seed), _shape(shape), narrow(dtype)) * stddev + mean


def truncated_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> jax.Array:
    """Numbers from a normal distribution, those beyond two standard deviations drawn again.

    Args:
        shape: the shape of the result.
        mean: the mean of the distribution.
        stddev: its standard deviation before the cut.
        dtype: a float dtype, the default float if None.
        seed: an integer, a `SeedGenerator`, or None.

    Example:
        >>> bool((abs(truncated_normal((100,), seed=1)) <= 2).all())
        True
    """
    return jax.random.truncated_normal(draw_key(seed), -2.0, 2.0, _shape(shape), narrow(dtype)) * stddev + mean


def uniform(shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None) -> jax.Array:
    """Numbers spread evenly from `minval` up to `maxval`, which is not reached; whole ones for an integer dtype.

    Args:
        shape: the shape of the result.
        minval: the lower bound.
        maxval: the upper bound.
        dtype: the dtype, the default float if None.
        seed: an integer, a `SeedGenerator`, or None.

    Example:
        >>> bool((uniform((100,), 2.0, 3.0, seed=1) >= 2).all())
        True
    """
    dtype = narrow(dtype)
    if jnp.issubdtype(dtype, jnp.integer):
        return jax.random.randint(draw_key(seed), _shape(shape), minval, maxval, dtype)
    return jax.random.uniform(draw_key(seed), _shape(shape), dtype, minval, maxval)


def randint(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> jax.Array:
    """Whole numbers from `minval` up to but not including `maxval`.

    Example:
        >>> randint((3,), 0, 1, seed=1).tolist()
        [0, 0, 0]
    """
    return jax.random.randint(draw_key(seed), _shape(shape), minval, maxval, narrow(dtype))


def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None) -> jax.Array:
    """Numbers from a gamma distribution of shape `alpha` and rate 1.

    Example:
        >>> bool((gamma((100,), 2.0, seed=1) > 0).all())
        True
    """
    return jax.random.gamma(draw_key(seed), as_float(alpha), _shape(shape), narrow(dtype))


def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> jax.Array:
    """Numbers between 0 and 1 from a beta distribution.

    Example:
        >>> bool((beta((100,), 2.0, 3.0, seed=1) < 1).all())
        True
    """
    return jax.random.beta(draw_key(seed), as_float(alpha), as_float(beta), _shape(shape), narrow(dtype))


def binomial(shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None) -> jax.Array:
    """How many of `counts` trials succeed, each with the given probability.

    Example:
        >>> bool((binomial((100,), 5, 0.5, seed=1) <= 5).all())
        True
    """
    dtype = narrow(dtype)
    return jax.random.binomial(draw_key(seed), as_float(counts), as_float(probabilities), _shape(shape), dtype)


@op
def categorical(logits: Tensor, num_samples: int, dtype: Any = "int32", seed: Any = None) -> jax.Array:
    """Classes drawn with probability softmax(logits).

    Shape:
        (batch, classes) -> (batch, num_samples)

    Args:
        logits: one row of logits an example.
        num_samples: how many classes to draw for each.
        dtype: the dtype of the result.
        seed: an integer, a `SeedGenerator`, or None.

    Example:
        >>> categorical([[0.0, 100.0]], 3, seed=1).tolist()
        [[1, 1, 1]]
    """
    logits = as_float(logits)
    if logits.ndim != 2:
        raise ValueError(f"random.categorical: logits must have the axes (batch, classes), got shape {logits.shape}.")
    shape = (logits.shape[0], num_samples)
    drawn = jax.random.categorical(draw_key(seed), logits[:, None, :], axis=-1, shape=shape)
    return drawn.astype(narrow(dtype))


@op
def shuffle(x: Tensor, axis: int = 0, seed: Any = None) -> jax.Array:
    """The slices of `x` along an axis in random order; each slice stays whole.

    Example:
        >>> sorted(shuffle([1, 2, 3], seed=1).tolist())
        [1, 2, 3]
    """
    return jax.random.permutation(draw_key(seed), as_array(x), axis)


@op
def dropout(
    inputs: Tensor, rate: float, noise_shape: Sequence[int | None] | None = None, seed: Any = None
) -> jax.Array:
    """`inputs` with a random share set to 0, the rest scaled up by 1 / (1 - rate).

    Args:
        inputs: an array.
        rate: the share to drop, from 0 to 1.
        noise_shape: the shape of the mask, which broadcasts to `inputs`; None in it stands for the size there.
        seed: an integer, a `SeedGenerator`, or None.

    Example:
        >>> set(dropout([1.0] * 20, 0.5, seed=1).tolist()) == {0.0, 2.0}
        True
    """
    check_number("random.dropout", "rate", rate, 0, 1)
    x = as_float(inputs)
    if rate == 0:
        return x
    if rate == 1:
        return jnp.zeros_like(x)
    shape = x.shape
    if noise_shape is not None:
        if len(noise_shape) != x.ndim:
            raise ValueError(
                f"random.dropout: noise_shape must have {x.ndim} sizes for inputs of shape {x.shape}, got "
                f"{noise_shape}."
            )
        shape = tuple(n if s is None else s for s, n in zip(noise_shape, x.shape, strict=True))
    keep = 1.0 - rate
    # Whole numbers below a bound: a float in between would only cost time.
    mask = jax.random.bits(draw_key(seed), shape, "uint32") < jnp.uint32(min(round(keep * 2**32), 2**32 - 1))
    return jnp.where(mask, x * jnp.asarray(1 / keep, x.dtype), jnp.zeros((), x.dtype))


def _shape(shape: Any) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(int(d) for d in shape)
