"""Losses of distributions and counts, and of margins."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry, settings
from lamina.losses.loss import LossFunctionWrapper
from lamina.losses.reduction import operands


def kl_divergence(y_true: Any, y_pred: Any) -> jax.Array:
    """The Kullback-Leibler divergence `sum(y log(y / p))` over the last axis, with both clipped to 1e-7 .. 1.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> kl_divergence([[1.0, 0.0]], [[0.5, 0.5]]).round(4).tolist()
        [0.6930999755859375]
    """
    y_true, y_pred = operands(y_true, y_pred)
    y_true = jnp.clip(y_true, settings.epsilon(), 1.0)
    y_pred = jnp.clip(y_pred, settings.epsilon(), 1.0)
    return jnp.sum(y_true * jnp.log(y_true / y_pred), axis=-1)


def poisson(y_true: Any, y_pred: Any) -> jax.Array:
    """The mean over the last axis of `y_pred - y_true log(y_pred + 1e-7)`: counts with rate `y_pred`.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> poisson([[2.0, 0.0]], [[1.0, 1.0]]).round(4).tolist()
        [1.0]
    """
    y_true, y_pred = operands(y_true, y_pred)
    return jnp.mean(y_pred - y_true * jnp.log(y_pred + settings.epsilon()), axis=-1)


def _signs(y_true: jax.Array) -> jax.Array:
    """Targets of 0 and 1 as -1 and 1; others as they are."""
    binary = jnp.all((y_true == 0) | (y_true == 1))
    return jnp.where(binary, 2.0 * y_true - 1.0, y_true)


def hinge(y_true: Any, y_pred: Any) -> jax.Array:
    """The mean over the last axis of `max(0, 1 - y_true y_pred)`; targets are -1 and 1, or 0 and 1.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> hinge([[1.0, -1.0]], [[0.5, 0.5]]).tolist()
        [1.0]
    """
    y_true, y_pred = operands(y_true, y_pred)
    return jnp.mean(jnp.maximum(1.0 - _signs(y_true) * y_pred, 0.0), axis=-1)


def squared_hinge(y_true: Any, y_pred: Any) -> jax.Array:
    """The mean over the last axis of `max(0, 1 - y_true y_pred)**2`; targets are -1 and 1, or 0 and 1.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> squared_hinge([[1.0, -1.0]], [[0.5, 0.5]]).tolist()
        [1.25]
    """
    y_true, y_pred = operands(y_true, y_pred)
    return jnp.mean(jnp.square(jnp.maximum(1.0 - _signs(y_true) * y_pred, 0.0)), axis=-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> jax.Array:
    """How far the score of the right class fails to beat all others by 1: `max(0, 1 + max((1 - y) p) - sum(y p))`.

    Shape: `(..., classes)` and `(..., classes)` to `(...)`.

    Example:
        >>> categorical_hinge([[0.0, 1.0]], [[0.5, 1.0]]).tolist()
        [0.5]
    """
    y_true, y_pred = operands(y_true, y_pred)
    right = jnp.sum(y_true * y_pred, axis=-1)
    wrong = jnp.max((1.0 - y_true) * y_pred, axis=-1)
    return jnp.maximum(wrong - right + 1.0, 0.0)


class KLDivergence(LossFunctionWrapper):
    """The Kullback-Leibler divergence of two distributions, `sum(y log(y / p))`.

    Args:
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> round(float(KLDivergence()([[1.0, 0.0]], [[0.5, 0.5]])), 4)
        0.6931
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "kl_divergence", dtype: Any = None):
        super().__init__(kl_divergence, reduction, name, dtype)


class Poisson(LossFunctionWrapper):
    """The negative log-likelihood of counts with rate `y_pred`, but for a constant: `mean(p - y log p)`.

    Args:
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> round(float(Poisson()([[2.0, 0.0]], [[1.0, 1.0]])), 4)
        1.0
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "poisson", dtype: Any = None):
        super().__init__(poisson, reduction, name, dtype)


class Hinge(LossFunctionWrapper):
    """The hinge loss, `mean(max(0, 1 - y_true y_pred))`, of targets -1 and 1 (or 0 and 1).

    Args:
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(Hinge()([[1.0, -1.0]], [[0.5, 0.5]]))
        1.0
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "hinge", dtype: Any = None):
        super().__init__(hinge, reduction, name, dtype)


class SquaredHinge(LossFunctionWrapper):
    """The squared hinge loss, `mean(max(0, 1 - y_true y_pred)**2)`, of targets -1 and 1 (or 0 and 1).

    Args:
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(SquaredHinge()([[1.0, -1.0]], [[0.5, 0.5]]))
        1.25
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "squared_hinge", dtype: Any = None):
        super().__init__(squared_hinge, reduction, name, dtype)


class CategoricalHinge(LossFunctionWrapper):
    """The hinge loss of one-hot targets, `max(0, 1 + max((1 - y) p) - sum(y p))`.

    Args:
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> float(CategoricalHinge()([[0.0, 1.0]], [[0.5, 1.0]]))
        0.5
    """

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "categorical_hinge", dtype: Any = None
    ):
        super().__init__(categorical_hinge, reduction, name, dtype)


for _function in (kl_divergence, poisson, hinge, squared_hinge, categorical_hinge):
    registry.add_builtin(_function)
