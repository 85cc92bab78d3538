"""Metrics for `eval_metric_ops`: each function returns a metric that has taken the batch in.

Within a model_fn the state of such a metric goes on from batch to batch, though the object is a new one each time.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lamina import metrics as family
from lamina.core.checks import check_int
from lamina.metrics.metric import Metric


def _fed(metric: Metric, labels: Any, predictions: Any, weights: Any) -> Metric:
    labels, predictions = jnp.asarray(labels), jnp.asarray(predictions)
    if labels.ndim + 1 == predictions.ndim and predictions.shape[-1] == 1:
        predictions = predictions[..., 0]
    elif predictions.ndim + 1 == labels.ndim and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if weights is not None:
        weights = jnp.broadcast_to(
            jnp.asarray(weights, "float32").reshape(-1, *[1] * (predictions.ndim - 1)), predictions.shape
        )
    metric.update_state(labels, predictions, sample_weight=weights)
    return metric


def mean(values: Any, weights: Any = None, name: str = "mean") -> Metric:
    """The weighted mean of values.

    Example:
        >>> float(mean(jnp.array([1.0, 3.0])).result())
        2.0
    """
    metric = family.Mean(name=name)
    metric.update_state(values, sample_weight=weights)
    return metric


def accuracy(labels: Any, predictions: Any, weights: Any = None, name: str = "accuracy") -> Metric:
    """The share of predictions that equal their labels.

    Example:
        >>> float(accuracy(jnp.array([0, 1]), jnp.array([1, 1])).result())
        0.5
    """
    return _fed(family.Accuracy(name=name), labels, predictions, weights)


def precision(labels: Any, predictions: Any, weights: Any = None, name: str = "precision") -> Metric:
    """True positives / predicted positives, of labels and predictions 0 and 1."""
    return _fed(family.Precision(name=name), labels, jnp.asarray(predictions, "float32"), weights)


def recall(labels: Any, predictions: Any, weights: Any = None, name: str = "recall") -> Metric:
    """True positives / positives, of labels and predictions 0 and 1."""
    return _fed(family.Recall(name=name), labels, jnp.asarray(predictions, "float32"), weights)


def auc(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    num_thresholds: int = 200,
    curve: str = "ROC",
    summation_method: str = "interpolation",
    name: str = "auc",
) -> Metric:
    """The area under a curve; see `lamina.metrics.AUC`."""
    method = "interpolation" if summation_method in ("trapezoidal", "careful_interpolation") else summation_method
    check_int("auc", "num_thresholds", num_thresholds, 2)
    return _fed(family.AUC(num_thresholds, curve, method, name=name), labels, predictions, weights)


def mean_absolute_error(
    labels: Any, predictions: Any, weights: Any = None, name: str = "mean_absolute_error"
) -> Metric:
    """mean |y - p|.

    Example:
        >>> float(mean_absolute_error(jnp.array([1.0, 2.0]), jnp.array([2.0, 4.0])).result())
        1.5
    """
    error = jnp.abs(jnp.asarray(predictions) - jnp.asarray(labels))
    return mean(error, _like(weights, error), name)


def mean_squared_error(labels: Any, predictions: Any, weights: Any = None, name: str = "mean_squared_error") -> Metric:
    """mean (y - p)²."""
    error = jnp.square(jnp.asarray(predictions) - jnp.asarray(labels))
    return mean(error, _like(weights, error), name)


def root_mean_squared_error(
    labels: Any, predictions: Any, weights: Any = None, name: str = "root_mean_squared_error"
) -> Metric:
    """sqrt(mean (y - p)²)."""
    return _fed(family.RootMeanSquaredError(name=name), labels, predictions, weights)


def mean_relative_error(
    labels: Any, predictions: Any, normalizer: Any, weights: Any = None, name: str = "mean_relative_error"
) -> Metric:
    """mean |y - p| / normalizer, 0 where the normalizer is."""
    error = jnp.abs(jnp.asarray(predictions) - jnp.asarray(labels))
    scale = jnp.broadcast_to(jnp.asarray(normalizer), error.shape)
    relative = jnp.where(scale == 0, 0.0, error / jnp.where(scale == 0, 1.0, scale))
    return mean(relative, _like(weights, relative), name)


def true_positives(labels: Any, predictions: Any, weights: Any = None, name: str = "true_positives") -> Metric:
    """The number of positives predicted as such."""
    return _fed(family.TruePositives(name=name), labels, jnp.asarray(predictions, "float32"), weights)


def true_negatives(labels: Any, predictions: Any, weights: Any = None, name: str = "true_negatives") -> Metric:
    """The number of negatives predicted as such."""
    return _fed(family.TrueNegatives(name=name), labels, jnp.asarray(predictions, "float32"), weights)


def false_positives(labels: Any, predictions: Any, weights: Any = None, name: str = "false_positives") -> Metric:
    """The number of negatives predicted as positives."""
    return _fed(family.FalsePositives(name=name), labels, jnp.asarray(predictions, "float32"), weights)


def false_negatives(labels: Any, predictions: Any, weights: Any = None, name: str = "false_negatives") -> Metric:
    """The number of positives predicted as negatives."""
    return _fed(family.FalseNegatives(name=name), labels, jnp.asarray(predictions, "float32"), weights)


def mean_iou(labels: Any, predictions: Any, num_classes: int, weights: Any = None, name: str = "mean_iou") -> Metric:
    """The mean over classes of intersection / union."""
    return _fed(family.MeanIoU(num_classes, name=name), labels, predictions, weights)


def precision_at_recall(
    labels: Any, predictions: Any, target_recall: float, weights: Any = None, name: str = "precision_at_recall"
) -> Metric:
    """The best precision where the recall is at least `target_recall`."""
    return _fed(family.PrecisionAtRecall(target_recall, name=name), labels, predictions, weights)


def sensitivity_at_specificity(
    labels: Any, predictions: Any, specificity: float, weights: Any = None, name: str = "sensitivity_at_specificity"
) -> Metric:
    """The best sensitivity where the specificity is at least that given."""
    return _fed(family.SensitivityAtSpecificity(specificity, name=name), labels, predictions, weights)


def specificity_at_sensitivity(
    labels: Any, predictions: Any, sensitivity: float, weights: Any = None, name: str = "specificity_at_sensitivity"
) -> Metric:
    """The best specificity where the sensitivity is at least that given."""
    return _fed(family.SpecificityAtSensitivity(sensitivity, name=name), labels, predictions, weights)


def percentage_below(values: Any, threshold: float, weights: Any = None, name: str = "percentage_below") -> Metric:
    """The share of values below a threshold."""
    below = (jnp.asarray(values) < threshold).astype("float32")
    return mean(below, _like(weights, below), name)


def _like(weights: Any, values: Any) -> Any:
    if weights is None:
        return None
    weights = jnp.asarray(weights, "float32")
    return jnp.broadcast_to(weights.reshape(*weights.shape, *[1] * (values.ndim - weights.ndim)), values.shape)
