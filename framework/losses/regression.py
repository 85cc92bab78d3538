"""Losses of real-valued targets."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry, settings
from lamina.core.checks import check_number
from lamina.losses.loss import LossFunctionWrapper
from lamina.losses.reduction import operands


def mean_squared_error(y_true: Any, y_pred: Any) -> jax.Array:
    """The mean over the last axis of `(y_true - y_pred)**2`.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> mean_squared_error([[0.0, 1.0]], [[1.0, 3.0]]).tolist()
        [2.5]
    """
    y_true, y_pred = operands(y_true, y_pred, match_rank=True)
    return jnp.mean(jnp.square(y_true - y_pred), axis=-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> jax.Array:
    """The mean over the last axis of `|y_true - y_pred|`.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> mean_absolute_error([[0.0, 1.0]], [[1.0, 3.0]]).tolist()
        [1.5]
    """
    y_true, y_pred = operands(y_true, y_pred, match_rank=True)
    return jnp.mean(jnp.abs(y_true - y_pred), axis=-1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> jax.Array:
    """The mean over the last axis of `100 |y_true - y_pred| / |y_true|`, in percent; zeros count as 1e-7.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> mean_absolute_percentage_error([[2.0, 4.0]], [[1.0, 3.0]]).tolist()
        [37.5]
    """
    y_true, y_pred = operands(y_true, y_pred, match_rank=True)
    difference = jnp.abs((y_true - y_pred) / jnp.maximum(jnp.abs(y_true), settings.epsilon()))
    return 100.0 * jnp.mean(difference, axis=-1)


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> jax.Array:
    """The mean over the last axis of `(log(y_true + 1) - log(y_pred + 1))**2`; negative values count as 1e-7.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> mean_squared_logarithmic_error([[1.0, 3.0]], [[1.0, 3.0]]).tolist()
        [0.0]
    """
    y_true, y_pred = operands(y_true, y_pred, match_rank=True)
    log_pred = jnp.log(jnp.maximum(y_pred, settings.epsilon()) + 1.0)
    log_true = jnp.log(jnp.maximum(y_true, settings.epsilon()) + 1.0)
    return jnp.mean(jnp.square(log_pred - log_true), axis=-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> jax.Array:
    """The mean over the last axis of a loss that is quadratic for errors up to `delta` and linear beyond.

    `e**2 / 2` where `|e| <= delta`, else `delta |e| - delta**2 / 2`, with `e = y_pred - y_true`.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> huber([[0.0, 0.0]], [[1.0, 3.0]]).tolist()
        [1.5]
    """
    y_true, y_pred = operands(y_true, y_pred, match_rank=True)
    error = jnp.abs(y_pred - y_true)
    quadratic = 0.5 * jnp.square(error)
    return jnp.mean(jnp.where(error <= delta, quadratic, delta * error - 0.5 * delta**2), axis=-1)


def log_cosh(y_true: Any, y_pred: Any) -> jax.Array:
    """The mean over the last axis of `log(cosh(y_pred - y_true))`, computed without overflow.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> log_cosh([[0.0]], [[100.0]]).tolist()
        [99.30685424804688]
    """
    y_true, y_pred = operands(y_true, y_pred, match_rank=True)
    error = y_pred - y_true
    return jnp.mean(error + jax.nn.softplus(-2.0 * error) - math.log(2.0), axis=-1)


class MeanSquaredError(LossFunctionWrapper):
    """The mean of the squares of errors, `mean((y_true - y_pred)**2)`.

    Args:
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(MeanSquaredError()([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]]))
        0.5
    """

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "mean_squared_error", dtype: Any = None
    ):
        super().__init__(mean_squared_error, reduction, name, dtype)


class MeanAbsoluteError(LossFunctionWrapper):
    """The mean of the absolute errors, `mean(|y_true - y_pred|)`.

    Args:
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(MeanAbsoluteError()([[0.0, 1.0]], [[1.0, 3.0]]))
        1.5
    """

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "mean_absolute_error", dtype: Any = None
    ):
        super().__init__(mean_absolute_error, reduction, name, dtype)


class MeanAbsolutePercentageError(LossFunctionWrapper):
    """The mean of `100 |y_true - y_pred| / |y_true|`, in percent.

    Args:
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(MeanAbsolutePercentageError()([[2.0, 4.0]], [[1.0, 3.0]]))
        37.5
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "mean_absolute_percentage_error",
        dtype: Any = None,
    ):
        super().__init__(mean_absolute_percentage_error, reduction, name, dtype)


class MeanSquaredLogarithmicError(LossFunctionWrapper):
    """The mean of `(log(y_true + 1) - log(y_pred + 1))**2`.

    Args:
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(MeanSquaredLogarithmicError()([[1.0, 3.0]], [[1.0, 3.0]]))
        0.0
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "mean_squared_logarithmic_error",
        dtype: Any = None,
    ):
        super().__init__(mean_squared_logarithmic_error, reduction, name, dtype)


class Huber(LossFunctionWrapper):
    """Quadratic for errors up to `delta`, linear beyond: little moved by outliers.

    Args:
        delta: the error from which on the loss is linear.
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(Huber()([[0.0, 0.0]], [[1.0, 3.0]]))
        1.5

    Reference: Huber, "Robust Estimation of a Location Parameter", 1964.
    """

    _config_only_if_set = ("delta",)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "huber_loss",
        dtype: Any = None,
    ):
        self.delta = check_number("Huber", "delta", delta, 0)
        super().__init__(huber, reduction, name, dtype, delta=delta)


class LogCosh(LossFunctionWrapper):
    """The mean of `log(cosh(y_pred - y_true))`: quadratic for small errors, linear for large.

    Args:
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(LogCosh()([[0.0]], [[100.0]]))
        99.30685424804688
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "log_cosh", dtype: Any = None):
        super().__init__(log_cosh, reduction, name, dtype)


for _function in (
    mean_squared_error,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_logarithmic_error,
    huber,
    log_cosh,
):
    registry.add_builtin(_function)
