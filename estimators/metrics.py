"""Metrics for `eval_metric_ops`: each function returns a metric that has taken the batch in.

Within a model_fn the state of such a metric goes on from batch to batch, though the object is a new one each time.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lamina import metrics as family
from lamina.core.checks import check_choice, check_int, check_number
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


_EPSILON = 1e-6


class _Area(family.AUC):
    """The area with `_EPSILON` in the rates, so that a threshold that nothing passes has the precision 1.

    Args:
        num_thresholds: the number of thresholds.
        curve: "ROC" or "PR".
        method: how heights are taken between two thresholds.
        name: the name.
    """

    def __init__(self, num_thresholds: int, curve: str, method: str, name: str):
        super().__init__(num_thresholds, curve, name=name)
        self.method = method

    def result(self) -> Any:
        """The area."""
        tp, fp, tn, fn = self._counts()
        recall = (tp + _EPSILON) / (tp + fn + _EPSILON)
        if self.curve == "ROC":
            x, y = fp / (fp + tn + _EPSILON), recall
        elif self.method == "careful_interpolation":
            return super().result()
        else:
            x, y = recall, (tp + _EPSILON) / (tp + fp + _EPSILON)
        low, high = jnp.minimum(y[:-1], y[1:]), jnp.maximum(y[:-1], y[1:])
        heights = {"minoring": low, "majoring": high}.get(self.method, (low + high) / 2)
        return jnp.sum((x[:-1] - x[1:]) * heights)


class _AtNearest(family.AUC):
    """One rate at the threshold where the other is nearest to a target.

    Args:
        of: "sensitivity" or "specificity": what is returned.
        target: of the other.
        num_thresholds: the number of thresholds.
        name: the name.
    """

    def __init__(self, of: str, target: float, num_thresholds: int, name: str):
        super().__init__(num_thresholds, name=name)
        self.of, self.target = of, target

    def result(self) -> Any:
        """The rate."""
        tp, fp, tn, fn = self._counts()
        sensitivity, specificity = tp / (tp + fn + 1e-7), tn / (tn + fp + 1e-7)
        if self.of == "sensitivity":
            return sensitivity[jnp.argmin(jnp.abs(specificity - self.target))]
        away = jnp.abs(sensitivity - self.target)
        return specificity[len(away) - 1 - jnp.argmin(away[::-1])]  # the last of equally near ones


def auc(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    num_thresholds: int = 200,
    curve: str = "ROC",
    summation_method: str = "trapezoidal",
    name: str = "auc",
) -> Metric:
    """The area under a curve.

    Args:
        labels: 0 and 1.
        predictions: probabilities.
        weights: the weights of samples.
        num_thresholds: the number of thresholds, evenly from 0 to 1.
        curve: "ROC" or "PR".
        summation_method: "trapezoidal" ("interpolation" is the same), "minoring", "majoring", or, for "PR",
            "careful_interpolation", which is that of `lamina.metrics.AUC`.
        name: the name.
    """
    methods = ("trapezoidal", "interpolation", "careful_interpolation", "minoring", "majoring")
    check_int("auc", "num_thresholds", num_thresholds, 2)
    check_choice("auc", "curve", curve, ("ROC", "PR"))
    method = check_choice("auc", "summation_method", summation_method, methods)
    return _fed(_Area(num_thresholds, curve, method, name), labels, predictions, weights)


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
    return _fed(family.MeanIoU(num_classes, name=name, dtype="float32"), labels, predictions, weights)


def precision_at_recall(
    labels: Any, predictions: Any, target_recall: float, weights: Any = None, name: str = "precision_at_recall"
) -> Metric:
    """The best precision where the recall is at least `target_recall`."""
    return _fed(family.PrecisionAtRecall(target_recall, name=name), labels, predictions, weights)


def sensitivity_at_specificity(
    labels: Any,
    predictions: Any,
    specificity: float,
    weights: Any = None,
    num_thresholds: int = 200,
    name: str = "sensitivity_at_specificity",
) -> Metric:
    """The sensitivity at the threshold where the specificity is nearest to that given."""
    target = check_number("sensitivity_at_specificity", "specificity", specificity, 0, 1)
    return _fed(_AtNearest("sensitivity", target, num_thresholds, name), labels, predictions, weights)


def specificity_at_sensitivity(
    labels: Any,
    predictions: Any,
    sensitivity: float,
    weights: Any = None,
    num_thresholds: int = 200,
    name: str = "specificity_at_sensitivity",
) -> Metric:
    """The specificity at the threshold where the sensitivity is nearest to that given."""
    target = check_number("specificity_at_sensitivity", "sensitivity", sensitivity, 0, 1)
    return _fed(_AtNearest("specificity", target, num_thresholds, name), labels, predictions, weights)


def percentage_below(values: Any, threshold: float, weights: Any = None, name: str = "percentage_below") -> Metric:
    """The share of values below a threshold."""
    below = (jnp.asarray(values) < threshold).astype("float32")
    return mean(below, _like(weights, below), name)


def _like(weights: Any, values: Any) -> Any:
    if weights is None:
        return None
    weights = jnp.asarray(weights, "float32")
    return jnp.broadcast_to(weights.reshape(*weights.shape, *[1] * (values.ndim - weights.ndim)), values.shape)
