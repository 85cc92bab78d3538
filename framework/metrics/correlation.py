"""Correlations of targets and predictions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry, settings
from lamina.core.checks import check_int
from lamina.losses.reduction import operands
from lamina.metrics.reduction import MeanMetricWrapper


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> jax.Array:
    """The correlation coefficient along `axis`: covariance over the product of standard deviations.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> round(float(pearson_correlation([[0.0, 1.0, 2.0]], [[1.0, 3.0, 5.0]])[0]), 4)
        1.0
    """
    y_true, y_pred = operands(y_true, y_pred, match_rank=True)
    y_true = y_true - jnp.mean(y_true, axis=axis, keepdims=True)
    y_pred = y_pred - jnp.mean(y_pred, axis=axis, keepdims=True)
    y_true = y_true / jnp.std(y_true, axis=axis, keepdims=True)
    y_pred = y_pred / jnp.std(y_pred, axis=axis, keepdims=True)
    return jnp.mean(y_true * y_pred, axis=axis)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> jax.Array:
    """The concordance coefficient along `axis`: `2 cov / (var(y) + var(p) + (mean(y) - mean(p))**2)`.

    Shape: `(..., d)` and `(..., d)` to `(...)`.

    Example:
        >>> round(float(concordance_correlation([[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]])[0]), 4)
        1.0

    Reference: Lin, "A Concordance Correlation Coefficient to Evaluate Reproducibility", 1989.
    """
    y_true, y_pred = operands(y_true, y_pred, match_rank=True)
    true_mean = jnp.mean(y_true, axis=axis, keepdims=True)
    pred_mean = jnp.mean(y_pred, axis=axis, keepdims=True)
    variances = jnp.var(y_true, axis=axis, keepdims=True) + jnp.var(y_pred, axis=axis, keepdims=True)
    norm = variances + jnp.square(true_mean - pred_mean) + settings.epsilon()
    # Deviations of the predictions sum to zero, so it does not matter which mean the targets are taken from.
    return jnp.mean(2 * (y_true - pred_mean) * (y_pred - pred_mean) / norm, axis=axis)


class PearsonCorrelation(MeanMetricWrapper):
    """The mean correlation coefficient of targets and predictions.

    Args:
        name: the name.
        dtype: the dtype to compute in.
        axis: the axis along which they are correlated.

    Example:
        >>> round(float(PearsonCorrelation()([[0.0, 1.0, 2.0]], [[1.0, 3.0, 5.0]])), 4)
        1.0
    """

    _direction = "up"

    def __init__(self, name: str = "pearson_correlation", dtype: Any = None, axis: int = -1):
        self.axis = check_int("PearsonCorrelation", "axis", axis)
        super().__init__(pearson_correlation, name, dtype, axis=axis)


class ConcordanceCorrelation(MeanMetricWrapper):
    """The mean concordance coefficient of targets and predictions.

    Args:
        name: the name.
        dtype: the dtype to compute in.
        axis: the axis along which they are correlated.

    Example:
        >>> round(float(ConcordanceCorrelation()([[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]])), 4)
        1.0
    """

    _direction = "up"

    def __init__(self, name: str = "concordance_correlation", dtype: Any = None, axis: int = -1):
        self.axis = check_int("ConcordanceCorrelation", "axis", axis)
        super().__init__(concordance_correlation, name, dtype, axis=axis)


registry.add_builtin(pearson_correlation)
registry.add_builtin(concordance_correlation)
