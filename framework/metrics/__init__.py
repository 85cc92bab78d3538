"""Metrics: measures over many batches, whose state a compiled loop can carry."""

from __future__ import annotations

import inspect
from typing import Any

from lamina.core import registry
from lamina.core.config import deserialize_object, serialize_object
from lamina.core.errors import describe, did_you_mean
from lamina.core.naming import snake_case
from lamina.losses import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from lamina.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from lamina.metrics.auc import AUC
from lamina.metrics.confusion import (
    FalseNegatives,
    FalsePositives,
    Precision,
    PrecisionAtRecall,
    Recall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
    TrueNegatives,
    TruePositives,
)
from lamina.metrics.correlation import (
    ConcordanceCorrelation,
    PearsonCorrelation,
    concordance_correlation,
    pearson_correlation,
)
from lamina.metrics.fscore import F1Score, FBetaScore
from lamina.metrics.iou import BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from lamina.metrics.metric import Metric
from lamina.metrics.probabilistic import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    Hinge,
    KLDivergence,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from lamina.metrics.reduction import Mean, MeanMetricWrapper, Sum
from lamina.metrics.regression import (
    CosineSimilarity,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    R2Score,
    RootMeanSquaredError,
    cosine_similarity,
)

# The short names that Keras takes, and `acc`.
ALIASES: dict[str, Any] = {
    "acc": Accuracy,
    "bce": BinaryCrossentropy,
    "BCE": BinaryCrossentropy,
    "mse": MeanSquaredError,
    "MSE": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "MAE": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "MAPE": MeanAbsolutePercentageError,
    "msle": MeanSquaredLogarithmicError,
    "MSLE": MeanSquaredLogarithmicError,
}


def serialize(metric: Any) -> Any:
    """A metric as plain values: a dict for an object, a name for a function.

    Example:
        >>> serialize(Mean())["class_name"]
        'Mean'
    """
    return serialize_object(metric)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The metric that `serialize` described.

    Raises:
        ValueError: there is no such metric.

    Example:
        >>> deserialize(serialize(BinaryAccuracy(threshold=0.3))).threshold
        0.3
    """
    if isinstance(config, str):
        return _named(config, custom_objects)
    return deserialize_object(config, custom_objects, "metrics")


def get(identifier: Any) -> Any:
    """A metric from a name (of a class, in either style, or of a function), a config, a class, a function or a metric.

    Raises:
        ValueError: no metric has that name.
        TypeError: the identifier is nothing that stands for a metric.

    Example:
        >>> get("acc").name, get("SparseCategoricalAccuracy").name
        ('accuracy', 'sparse_categorical_accuracy')
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        identifier = _named(identifier, None)
    elif isinstance(identifier, dict):
        identifier = deserialize(identifier)
    if inspect.isclass(identifier):
        identifier = identifier()
    if not callable(identifier):
        raise TypeError(
            "metrics.get: a metric must be a name such as 'accuracy', a Metric, a function (y_true, y_pred) or a "
            f"config, got {describe(identifier)}."
        )
    return identifier


def _named(name: str, custom_objects: dict[str, Any] | None) -> Any:
    builtin = registry.BUILTIN["metrics"]
    classes = {snake_case(k): v for k, v in builtin.items() if inspect.isclass(v)}
    # Classes come first: `mean_squared_error` is the class, which averages over batches with sample weights.
    options = {**registry.BUILTIN["losses"], **builtin, **classes, **ALIASES}
    options = {k: v for k, v in options.items() if not (inspect.isclass(v) and not issubclass(v, Metric))}
    found = registry.get_registered_object(name, custom_objects, options)
    if found is None:
        raise ValueError(
            f"No metric is named {name!r}.{did_you_mean(name, options)} If it is your own, pass the function or object "
            "itself, or decorate it with lamina.saving.register_keras_serializable()."
        )
    return found


__all__ = [
    "ALIASES",
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "BinaryIoU",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "ConcordanceCorrelation",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "IoU",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "OneHotIoU",
    "OneHotMeanIoU",
    "PearsonCorrelation",
    "Poisson",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "accuracy",
    "binary_accuracy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "concordance_correlation",
    "cosine_similarity",
    "deserialize",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "pearson_correlation",
    "poisson",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "squared_hinge",
    "top_k_categorical_accuracy",
]
