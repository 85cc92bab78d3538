"""How often predictions are right."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import registry, settings
from lamina.core.checks import check_int, check_number
from lamina.losses.reduction import operands, squeeze_or_expand_to_same_rank, to_array
from lamina.metrics.reduction import MeanMetricWrapper


def accuracy(y_true: Any, y_pred: Any) -> jax.Array:
    """1 where targets and predictions are equal, else 0.

    Example:
        >>> accuracy([1, 2], [1, 3]).tolist()
        [1.0, 0.0]
    """
    y_pred = to_array(y_pred)
    y_true, y_pred = squeeze_or_expand_to_same_rank(to_array(y_true, y_pred.dtype), y_pred)
    return (y_true == y_pred).astype(settings.floatx())


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> jax.Array:
    """1 where the prediction lies on the target's side of the threshold, else 0.

    Example:
        >>> binary_accuracy([[1.0], [0.0]], [[0.7], [0.6]]).tolist()
        [[1.0], [0.0]]
    """
    y_true, y_pred = squeeze_or_expand_to_same_rank(to_array(y_true), to_array(y_pred))
    return (y_true == (y_pred > threshold).astype(y_true.dtype)).astype(settings.floatx())


def categorical_accuracy(y_true: Any, y_pred: Any) -> jax.Array:
    """1 where the largest prediction is that of the one-hot target's class, else 0.

    Shape: `(..., classes)` and `(..., classes)` to `(...)`.

    Example:
        >>> categorical_accuracy([[0, 1], [1, 0]], [[0.1, 0.9], [0.2, 0.8]]).tolist()
        [1.0, 0.0]
    """
    matches = jnp.argmax(to_array(y_true), axis=-1) == jnp.argmax(to_array(y_pred), axis=-1)
    return matches.astype(settings.floatx())


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> jax.Array:
    """1 where the largest prediction is that of the integer class, else 0.

    Shape: `(...)` or `(..., 1)`, and `(..., classes)`, to `(...)`.

    Example:
        >>> sparse_categorical_accuracy([1, 0], [[0.1, 0.9], [0.2, 0.8]]).tolist()
        [1.0, 0.0]
    """
    y_true, y_pred = to_array(y_true), to_array(y_pred)
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    matches = y_true == jnp.argmax(y_pred, axis=-1).astype(y_true.dtype)
    if matches.ndim > 1 and matches.shape[-1] == 1:
        matches = matches[..., 0]
    return matches.astype(settings.floatx())


def _in_top_k(classes: jax.Array, y_pred: jax.Array, k: int) -> jax.Array:
    """Whether fewer than `k` classes are predicted higher than the right one; ties and nan count for the others."""
    right = jnp.take_along_axis(y_pred, classes[..., None].astype("int32"), axis=-1, mode="fill", fill_value=-jnp.inf)
    right = jnp.where(jnp.isnan(right), -jnp.inf, right)
    return jnp.sum(y_pred > right, axis=-1) < k


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> jax.Array:
    """1 where the one-hot target's class is among the `k` largest predictions, else 0.

    Shape: `(..., classes)` and `(..., classes)` to `(...)`.

    Example:
        >>> top_k_categorical_accuracy([[0, 0, 1]], [[0.1, 0.7, 0.2]], k=2).tolist()
        [1.0]
    """
    y_true, y_pred = operands(y_true, y_pred)
    return _in_top_k(jnp.argmax(y_true, axis=-1), y_pred, k).astype(settings.floatx())


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> jax.Array:
    """1 where the integer class is among the `k` largest predictions, else 0.

    Shape: `(...)` and `(..., classes)` to `(...)`.

    Args:
        y_true: integer classes.
        y_pred: a score a class; with `from_sorted_ids`, the classes themselves, the best first.
        k: how many count.
        from_sorted_ids: whether `y_pred` holds classes.

    Example:
        >>> sparse_top_k_categorical_accuracy([2], [[0.1, 0.7, 0.2]], k=2).tolist()
        [1.0]
    """
    y_true, y_pred = to_array(y_true), to_array(y_pred)
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1 and y_true.ndim > 1:
        y_true = y_true[..., 0]
    if from_sorted_ids:
        matches = jnp.any(y_true.astype(y_pred.dtype)[..., None] == y_pred[..., :k], axis=-1)
    else:
        matches = _in_top_k(y_true, y_pred, k)
    return matches.astype(settings.floatx())


class Accuracy(MeanMetricWrapper):
    """How often predictions equal targets.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(Accuracy()([[1], [2], [3], [4]], [[0], [2], [3], [4]]))
        0.75
    """

    _direction = "up"

    def __init__(self, name: str = "accuracy", dtype: Any = None):
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """How often predictions lie on the target's side of a threshold.

    Args:
        name: the name.
        dtype: the dtype to compute in.
        threshold: predictions above it mean 1.

    Example:
        >>> float(BinaryAccuracy()([[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]]))
        0.75
    """

    _direction = "up"

    def __init__(self, name: str = "binary_accuracy", dtype: Any = None, threshold: float = 0.5):
        self.threshold = check_number("BinaryAccuracy", "threshold", threshold)
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


class CategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is that of the one-hot target's class.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(CategoricalAccuracy()([[0, 1], [1, 0]], [[0.1, 0.9], [0.2, 0.8]]))
        0.5
    """

    _direction = "up"

    def __init__(self, name: str = "categorical_accuracy", dtype: Any = None):
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is that of the integer class.

    Args:
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(SparseCategoricalAccuracy()([1, 0], [[0.1, 0.9], [0.2, 0.8]]))
        0.5
    """

    _direction = "up"

    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: Any = None):
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the one-hot target's class is among the `k` largest predictions.

    Args:
        k: how many predictions count.
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> float(TopKCategoricalAccuracy(k=2)([[0, 0, 1]], [[0.1, 0.7, 0.2]]))
        1.0
    """

    _direction = "up"

    def __init__(self, k: int = 5, name: str = "top_k_categorical_accuracy", dtype: Any = None):
        self.k = check_int("TopKCategoricalAccuracy", "k", k, minimum=1)
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the integer class is among the `k` largest predictions.

    Args:
        k: how many predictions count.
        name: the name.
        dtype: the dtype to compute in.
        from_sorted_ids: whether predictions are classes, the best first, rather than a score a class.

    Example:
        >>> float(SparseTopKCategoricalAccuracy(k=2)([2], [[0.1, 0.7, 0.2]]))
        1.0
    """

    _direction = "up"
    _config_only_if_set = ("from_sorted_ids",)

    def __init__(
        self,
        k: int = 5,
        name: str = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ):
        self.k = check_int("SparseTopKCategoricalAccuracy", "k", k, minimum=1)
        self.from_sorted_ids = from_sorted_ids
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids)


for _function in (
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    top_k_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
):
    registry.add_builtin(_function)
