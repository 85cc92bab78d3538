"""F scores: the harmonic mean of precision and recall."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import settings
from lamina.core.checks import check_choice, check_number
from lamina.core.errors import ShapeError
from lamina.losses.reduction import to_array
from lamina.metrics.metric import Metric


class FBetaScore(Metric):
    """The F score, with recall weighing `beta` times as much as precision.

    `(1 + beta**2) precision recall / (beta**2 precision + recall)`

    Shape: `(batch, classes)` and `(batch, classes)`; the score is a number, or one a class.

    Args:
        average: None for one score a class; `"micro"` counts all classes together, `"macro"` averages the scores,
            `"weighted"` by the number of targets of each class.
        beta: the weight of recall.
        threshold: predictions above it mean 1; None takes the largest of each sample.
        name: the name.
        dtype: the dtype to compute in.

    Raises:
        ValueError: an argument is out of range, or targets and predictions do not have two axes.

    Example:
        >>> score = FBetaScore(beta=2.0, average="micro", threshold=0.5)
        >>> round(float(score([[1, 0], [1, 1]], [[0.9, 0.8], [0.9, 0.1]])), 4)
        0.6667
    """

    _direction = "up"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str = "fbeta_score",
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.average = check_choice(self, "average", average, [None, "micro", "macro", "weighted"])
        self.beta = check_number(self, "beta", beta)
        if beta <= 0:
            raise ValueError(f"{type(self).__name__} '{self.name}': beta must be greater than 0, got {beta}.")
        if threshold is not None and not 0 < check_number(self, "threshold", threshold, 0, 1):
            raise ValueError(f"{type(self).__name__} '{self.name}': threshold must be greater than 0, got {threshold}.")
        self.threshold = threshold
        self._built = False

    def build_for(self, y_true: Any, y_pred: Any) -> None:
        """Makes the counts, one a class."""
        if self._built:
            return
        if y_true.ndim != 2 or y_pred.ndim != 2:
            raise ShapeError(
                f"{type(self).__name__} '{self.name}': y_true and y_pred must have the shape (batch, classes), got "
                f"{tuple(y_true.shape)} and {tuple(y_pred.shape)}."
            )
        shape = () if self.average == "micro" else (y_pred.shape[-1],)
        self.true_positives = self.add_variable(shape, name="true_positives")
        self.false_positives = self.add_variable(shape, name="false_positives")
        self.false_negatives = self.add_variable(shape, name="false_negatives")
        self.intermediate_weights = self.add_variable(shape, name="intermediate_weights")
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch in; weights are one a sample."""
        y_true, y_pred = to_array(y_true, self.dtype), to_array(y_pred, self.dtype)
        self.build_for(y_true, y_pred)
        if self.threshold is None:
            positive = (y_pred >= jnp.max(y_pred, axis=-1, keepdims=True)) & (jnp.abs(y_pred) > 1e-9)
        else:
            positive = y_pred > self.threshold
        positive = positive.astype(self.dtype)
        axis = None if self.average == "micro" else 0
        weight = None if sample_weight is None else to_array(sample_weight, self.dtype)[:, None]

        def count(x: jax.Array) -> jax.Array:
            return jnp.sum(x if weight is None else x * weight, axis=axis)

        self.true_positives.assign_add(count(positive * y_true))
        self.false_positives.assign_add(count(positive * (1 - y_true)))
        self.false_negatives.assign_add(count((1 - positive) * y_true))
        self.intermediate_weights.assign_add(count(y_true))

    def result(self) -> jax.Array:
        """The score, 0 before the first batch."""
        if not self._built:
            return jnp.zeros((), self.dtype)
        epsilon = settings.epsilon()
        right = self.true_positives.value
        precision = right / (right + self.false_positives.value + epsilon)
        recall = right / (right + self.false_negatives.value + epsilon)
        score = precision * recall / (self.beta**2 * precision + recall + epsilon) * (1 + self.beta**2)
        if self.average == "weighted":
            weights = self.intermediate_weights.value
            return jnp.sum(score * (weights / (jnp.sum(weights) + epsilon)))
        return score if self.average is None else jnp.mean(score)


class F1Score(FBetaScore):
    """The F score: the harmonic mean of precision and recall.

    Args:
        average: see `FBetaScore`.
        threshold: see `FBetaScore`.
        name: the name.
        dtype: the dtype to compute in.

    Example:
        >>> score = F1Score(average="micro", threshold=0.5)
        >>> round(float(score([[1, 0], [1, 1]], [[0.9, 0.8], [0.9, 0.1]])), 4)
        0.6667
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str = "f1_score",
        dtype: Any = None,
    ):
        super().__init__(average=average, beta=1.0, threshold=threshold, name=name, dtype=dtype)
