"""Batch normalization."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina import constraints, initializers, ops, regularizers
from lamina.core import settings
from lamina.core.checks import check_int, check_number
from lamina.core.errors import ShapeError, describe, did_you_mean, listing, owner_label
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer


class BatchNormalization(Layer):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, channel by channel.

    In training, mean and variance are those of the batch, and moving averages of them are kept:
    `moving = moving * momentum + batch * (1 - momentum)`. Otherwise, and while the layer is frozen
    (`trainable = False`), the moving averages take their place.

    Shape:
        any, with a known size on `axis` -> the same

    Args:
        axis: the axis of the channels; 1 behind a convolution with "channels_first".
        momentum: the weight of the past in the moving averages.
        epsilon: what keeps the division finite.
        center: whether `beta` is added.
        scale: whether `gamma` multiplies.
        beta_initializer: how the offsets start.
        gamma_initializer: how the scales start.
        moving_mean_initializer: how the moving mean starts.
        moving_variance_initializer: how the moving variance starts.
        beta_regularizer: a penalty on the offsets.
        gamma_regularizer: a penalty on the scales.
        beta_constraint: a function that each update of the offsets goes through.
        gamma_constraint: a function that each update of the scales goes through.
        synchronized: accepted as in Keras: a compiled step takes the statistics of the whole batch anyway.
        renorm: whether the batch's statistics are corrected towards moving ones, for small batches.
        renorm_clipping: a dict of `rmin`, `rmax` and `dmax`, the limits of that correction.
        renorm_momentum: the weight of the past in the moving statistics of the correction.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> layer = BatchNormalization(momentum=0.5)
        >>> x = np.array([[0.0], [2.0]], "float32")
        >>> y = layer(x, training=True)
        >>> [round(float(v), 2) for v in y[:, 0]], layer.moving_mean.numpy().tolist()
        ([-1.0, 1.0], [0.5])

    Reference:
        https://arxiv.org/abs/1502.03167, https://arxiv.org/abs/1702.03275 (renorm)
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        synchronized: bool = False,
        renorm: bool = False,
        renorm_clipping: dict[str, float] | None = None,
        renorm_momentum: float = 0.99,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if isinstance(axis, (list, tuple)) and len(axis) == 1:
            (axis,) = axis
        self.axis = check_int(self, "axis", axis)
        self.momentum = check_number(self, "momentum", momentum, 0, 1)
        self.epsilon = check_number(self, "epsilon", epsilon, 0)
        self.center, self.scale = center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer: Any = initializers.get(moving_variance_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.synchronized = synchronized
        self.renorm = renorm
        self.renorm_clipping = _check_clipping(self, renorm_clipping)
        self.renorm_momentum = check_number(self, "renorm_momentum", renorm_momentum, 0, 1)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates scales, offsets and moving statistics."""
        rank = len(input_shape)
        if not -rank <= self.axis < rank:
            raise ShapeError(
                f"{owner_label(self)}: axis {self.axis} does not exist in an input of shape {tuple(input_shape)}."
            )
        size = input_shape[self.axis]
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                shape=(size,),
                initializer=self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
                autocast=False,
                name="gamma",
            )
        if self.center:
            self.beta = self.add_weight(
                shape=(size,),
                initializer=self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
                autocast=False,
                name="beta",
            )
        self.moving_mean = self._statistic("moving_mean", self.moving_mean_initializer, size)
        self.moving_variance = self._statistic("moving_variance", self.moving_variance_initializer, size)
        if self.renorm:
            # The moving deviation is what is averaged then; the moving variance follows from it.
            self.moving_stddev = self._statistic("moving_stddev", self._initial_stddev, size)
            self.renorm_mean = self._statistic("renorm_mean", self.moving_mean_initializer, size)
            self.renorm_stddev = self._statistic("renorm_stddev", self._initial_stddev, size)
        self.input_spec = InputSpec(ndim=rank, axes={self.axis: size})

    def _statistic(self, name: str, initializer: Any, size: int) -> Any:
        return self.add_weight(shape=(size,), initializer=initializer, trainable=False, autocast=False, name=name)

    def _initial_stddev(self, shape: Any, dtype: Any = None) -> jax.Array:
        return jnp.sqrt(self.moving_variance_initializer(shape, dtype=dtype))

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> jax.Array:
        """The normalised input; masked places count neither in mean nor in variance."""
        dtype = inputs.dtype
        # The sums of squares of half-width floats overflow early.
        x = inputs.astype("float32") if dtype in ("float16", "bfloat16") else inputs
        gamma = None if self.gamma is None else self.gamma.value
        beta = None if self.beta is None else self.beta.value
        if training and self.trainable:
            mean, variance = self._moments(x, mask)
            if self.renorm:
                gamma, beta = self._renormalize(mean, variance, gamma, beta)
            else:
                self._move(self.moving_variance, variance, self.momentum)
            self._move(self.moving_mean, mean, self.momentum)
        else:
            mean, variance = self.moving_mean.value, self.moving_variance.value
        axis = self.axis % x.ndim
        y = ops.batch_normalization(x, mean, variance, axis, offset=beta, scale=gamma, epsilon=self.epsilon)
        return y.astype(dtype)

    def _move(self, statistic: Any, value: jax.Array, momentum: float) -> None:
        value = jax.lax.stop_gradient(value)
        statistic.assign(statistic.value * momentum + value * (1 - momentum))

    def _moments(self, x: jax.Array, mask: Any) -> tuple[jax.Array, jax.Array]:
        """Mean and variance of each channel."""
        axes = tuple(a for a in range(x.ndim) if a != self.axis % x.ndim)
        if mask is None:
            # One pass over the input. Taken from the moving mean, the squares do not drown the variance in rounding.
            shape = [-1 if a == self.axis % x.ndim else 1 for a in range(x.ndim)]
            origin = self.moving_mean.value.astype(x.dtype)
            x = x - origin.reshape(shape)
            mean = jnp.mean(x, axes)
            return mean + origin, jnp.maximum(jnp.mean(jnp.square(x), axes) - jnp.square(mean), 0)
        if mask.ndim != x.ndim - 1:
            raise ShapeError(
                f"{owner_label(self)}: mask must have one axis less than the input of shape {x.shape}, got "
                f"{describe(mask)}."
            )
        weights = jnp.broadcast_to(jnp.expand_dims(mask, -1).astype(x.dtype), x.shape)
        total = jnp.sum(weights, axes, keepdims=True) + settings.epsilon()
        mean = jnp.sum(weights * x, axes, keepdims=True) / total
        variance = jnp.sum(weights * jnp.square(x - mean), axes, keepdims=True) / total
        return mean.reshape(-1), variance.reshape(-1)

    def _renormalize(self, mean: jax.Array, variance: jax.Array, gamma: Any, beta: Any) -> tuple[jax.Array, jax.Array]:
        """Scale and offset with which the batch's statistics give what the moving ones would, within the limits."""
        stddev = jnp.sqrt(variance + self.epsilon)
        usual = jnp.maximum(self.renorm_stddev.value, jnp.sqrt(self.epsilon))
        r, d = stddev / usual, (mean - self.renorm_mean.value) / usual
        limits = self.renorm_clipping or {}
        r = jnp.clip(r, limits.get("rmin"), limits.get("rmax"))
        if "dmax" in limits:
            d = jnp.clip(d, -limits["dmax"], limits["dmax"])
        r, d = jax.lax.stop_gradient((r, d))
        self._move(self.renorm_mean, mean, self.renorm_momentum)
        self._move(self.renorm_stddev, stddev, self.renorm_momentum)
        self._move(self.moving_stddev, stddev, self.momentum)
        self.moving_variance.assign(jnp.maximum(jnp.square(self.moving_stddev.value) - self.epsilon, 0))
        scale = r if gamma is None else gamma * r
        offset = d if gamma is None else gamma * d
        return scale, offset if beta is None else beta + offset


def _check_clipping(owner: Any, limits: Any) -> dict[str, float] | None:
    if limits is None:
        return None
    keys = ("rmax", "rmin", "dmax")
    wrong = [k for k in limits if k not in keys]
    if wrong:
        raise ValueError(
            f"{owner_label(owner)}: renorm_clipping may hold {listing(keys, 'and')}, got {wrong[0]!r}."
            f"{did_you_mean(wrong[0], keys)}"
        )
    limits = {k: check_number(owner, f"renorm_clipping[{k!r}]", v, 0) for k, v in limits.items()}
    if limits.get("rmin", 0) > limits.get("rmax", float("inf")):
        raise ValueError(f"{owner_label(owner)}: renorm_clipping must have rmin <= rmax, got {limits}.")
    return limits
