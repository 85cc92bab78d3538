"""Losses of the overlap of regions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry, settings
from lamina.core.checks import check_number
from lamina.losses.loss import LossFunctionWrapper
from lamina.losses.reduction import operands

Axes = int | tuple[int, ...] | list[int] | None


def _axes(axis: Axes) -> int | tuple[int, ...] | None:
    return tuple(axis) if isinstance(axis, list) else axis


def dice(y_true: Any, y_pred: Any, axis: Axes = None) -> jax.Array:
    """The Dice loss `1 - 2 sum(y p) / (sum(y) + sum(p))` over `axis`, by default over all axes.

    Example:
        >>> round(float(dice([[1.0, 0.0]], [[1.0, 1.0]])), 4)
        0.3333
    """
    y_true, y_pred = operands(y_true, y_pred)
    axis = _axes(axis)
    overlap = jnp.sum(y_true * y_pred, axis=axis)
    total = jnp.sum(y_true, axis=axis) + jnp.sum(y_pred, axis=axis)
    return 1.0 - 2.0 * overlap / (total + settings.epsilon())


def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axes = None) -> jax.Array:
    """The Tversky loss `1 - s / (s + alpha sum(y (1 - p)) + beta sum((1 - y) p))` with `s = sum(y p)`, over `axis`.

    With `alpha = beta = 0.5` it is the Dice loss.

    Example:
        >>> round(float(tversky([[1.0, 0.0]], [[1.0, 1.0]])), 4)
        0.3333

    Reference: Salehi et al., "Tversky loss function for image segmentation", 2017.
    """
    y_true, y_pred = operands(y_true, y_pred)
    axis = _axes(axis)
    overlap = jnp.sum(y_true * y_pred, axis=axis)
    missed = jnp.sum(y_true * (1.0 - y_pred), axis=axis)
    wrong = jnp.sum((1.0 - y_true) * y_pred, axis=axis)
    return 1.0 - overlap / (overlap + alpha * missed + beta * wrong + settings.epsilon())


class Dice(LossFunctionWrapper):
    """The Dice loss, `1 - 2 sum(y p) / (sum(y) + sum(p))`.

    Args:
        reduction: see `Loss`.
        name: the name.
        axis: the axes of the sums; by default all, which gives one number.
        dtype: see `Loss`.

    Example:
        >>> round(float(Dice()([[1.0, 0.0]], [[1.0, 1.0]])), 4)
        0.3333
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "dice",
        axis: Axes = None,
        dtype: Any = None,
    ):
        self.axis = _axes(axis)
        super().__init__(dice, reduction, name, dtype, axis=self.axis)


class Tversky(LossFunctionWrapper):
    """The Tversky loss: Dice's with a weight for each kind of error.

    Args:
        alpha: the weight of `sum(y (1 - p))`.
        beta: the weight of `sum((1 - y) p)`.
        reduction: see `Loss`.
        name: the name.
        axis: the axes of the sums; by default all, which gives one number.
        dtype: see `Loss`.

    Example:
        >>> round(float(Tversky(alpha=0.3, beta=0.7)([[1.0, 0.0]], [[1.0, 1.0]])), 4)
        0.4118

    Reference: Salehi et al., "Tversky loss function for image segmentation", 2017.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "tversky",
        axis: Axes = None,
        dtype: Any = None,
    ):
        self.alpha = check_number("Tversky", "alpha", alpha, 0)
        self.beta = check_number("Tversky", "beta", beta, 0)
        self.axis = _axes(axis)
        super().__init__(tversky, reduction, name, dtype, alpha=alpha, beta=beta, axis=self.axis)


registry.add_builtin(dice)
registry.add_builtin(tversky)
