"""Counts, precision and recall, and the best of one at a given value of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import check_int, check_number
from lamina.losses.reduction import divide_no_nan
from lamina.metrics.counting import LOWEST, Counts, are_even, check_thresholds, confusion_counts, even_thresholds
from lamina.metrics.metric import Metric

Thresholds = float | Sequence[float] | None


class _AtThresholds(Metric):
    """A metric made of some of the counts, at thresholds."""

    _counted: tuple[str, ...] = ()

    true_positives: Any
    false_positives: Any
    false_negatives: Any

    def __init__(
        self,
        thresholds: Thresholds = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.top_k = top_k if top_k is None else check_int(self, "top_k", top_k, minimum=1)
        self.class_id = class_id if class_id is None else check_int(self, "class_id", class_id, minimum=0)
        self.thresholds = check_thresholds(self, thresholds, 0.5 if top_k is None else LOWEST)
        for counted in self._counted:
            setattr(self, counted, self.add_variable((len(self.thresholds),), name=counted))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch in."""
        counts = confusion_counts(
            f"{type(self).__name__} '{self.name}'",
            y_true,
            y_pred,
            self.thresholds,
            self.dtype,
            even=are_even(self.thresholds),
            top_k=self.top_k,
            class_id=self.class_id,
            sample_weight=sample_weight,
        )
        for counted in self._counted:
            getattr(self, counted).assign_add(getattr(counts, counted))

    def _one_or_all(self, values: jax.Array) -> jax.Array:
        return values[0] if len(self.thresholds) == 1 else values

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        given = self.init_thresholds
        config["thresholds"] = given if given is None or isinstance(given, (int, float)) else list(self.thresholds)
        return config


class _Count(_AtThresholds):
    def __init__(self, thresholds: Thresholds = None, name: str | None = None, dtype: Any = None):
        super().__init__(thresholds, name=name, dtype=dtype)

    def result(self) -> jax.Array:
        """The count, one a threshold if there are several."""
        return self._one_or_all(getattr(self, self._counted[0]).value)


class TruePositives(_Count):
    """The number of true targets that are predicted above the threshold.

    Args:
        thresholds: a number, or several for a count each; 0.5 by default.
        name: the name.
        dtype: the dtype to count in.

    Example:
        >>> float(TruePositives()([0, 1, 1, 1], [1, 0, 1, 1]))
        2.0
    """

    _counted = ("true_positives",)


class FalsePositives(_Count):
    """The number of false targets that are predicted above the threshold.

    Args:
        thresholds: a number, or several for a count each; 0.5 by default.
        name: the name.
        dtype: the dtype to count in.

    Example:
        >>> float(FalsePositives()([0, 1, 0, 0], [0, 0, 1, 1]))
        2.0
    """

    _counted = ("false_positives",)


class TrueNegatives(_Count):
    """The number of false targets that are not predicted above the threshold.

    Args:
        thresholds: a number, or several for a count each; 0.5 by default.
        name: the name.
        dtype: the dtype to count in.

    Example:
        >>> float(TrueNegatives()([0, 1, 0, 0], [1, 1, 0, 0]))
        2.0
    """

    _counted = ("true_negatives",)


class FalseNegatives(_Count):
    """The number of true targets that are not predicted above the threshold.

    Args:
        thresholds: a number, or several for a count each; 0.5 by default.
        name: the name.
        dtype: the dtype to count in.

    Example:
        >>> float(FalseNegatives()([0, 1, 1, 1], [0, 1, 0, 0]))
        2.0
    """

    _counted = ("false_negatives",)


class Precision(_AtThresholds):
    """The part of positive predictions that are right, `tp / (tp + fp)`.

    Args:
        thresholds: a number, or several for a value each; 0.5 by default, or none with `top_k`.
        top_k: only so many predictions of each sample may be positive.
        class_id: the one class that is looked at.
        name: the name.
        dtype: the dtype to count in.

    Example:
        >>> round(float(Precision()([0, 1, 1, 1], [1, 0, 1, 1])), 4)
        0.6667
    """

    _direction = "up"
    _counted = ("true_positives", "false_positives")

    def result(self) -> jax.Array:
        """The precision, one a threshold if there are several."""
        right = self.true_positives.value
        return self._one_or_all(divide_no_nan(right, right + self.false_positives.value))


class Recall(_AtThresholds):
    """The part of true targets that are found, `tp / (tp + fn)`.

    Args:
        thresholds: a number, or several for a value each; 0.5 by default, or none with `top_k`.
        top_k: only so many predictions of each sample may be positive.
        class_id: the one class that is looked at.
        name: the name.
        dtype: the dtype to count in.

    Example:
        >>> round(float(Recall()([0, 1, 1, 1], [1, 0, 1, 1])), 4)
        0.6667
    """

    _direction = "up"
    _counted = ("true_positives", "false_negatives")

    def result(self) -> jax.Array:
        """The recall, one a threshold if there are several."""
        right = self.true_positives.value
        return self._one_or_all(divide_no_nan(right, right + self.false_negatives.value))


class _BestAt(Metric):
    """The best value of one rate over the thresholds where another reaches a bound."""

    _direction = "up"

    def __init__(
        self, value: float, argument: str, num_thresholds: int, class_id: int | None, name: str | None, dtype: Any
    ):
        super().__init__(name=name, dtype=dtype)
        self.value = check_number(self, argument, value, 0, 1)
        self.num_thresholds = check_int(self, "num_thresholds", num_thresholds, minimum=1)
        self.class_id = class_id if class_id is None else check_int(self, "class_id", class_id, minimum=0)
        self.thresholds = even_thresholds(num_thresholds)
        for counted in Counts._fields:
            setattr(self, counted, self.add_variable((num_thresholds,), name=counted))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch in."""
        counts = confusion_counts(
            f"{type(self).__name__} '{self.name}'",
            y_true,
            y_pred,
            self.thresholds,
            self.dtype,
            even=self.num_thresholds > 1,
            class_id=self.class_id,
            sample_weight=sample_weight,
        )
        for name, count in zip(Counts._fields, counts, strict=True):
            getattr(self, name).assign_add(count)

    def _rate(self, of: str, other: str) -> jax.Array:
        count = getattr(self, of).value
        return divide_no_nan(count, count + getattr(self, other).value)

    def _best(self, bounded: jax.Array, wanted: jax.Array) -> jax.Array:
        return jnp.max(jnp.where(bounded >= self.value, wanted, 0))


class SensitivityAtSpecificity(_BestAt):
    """The best sensitivity `tp / (tp + fn)` where the specificity `tn / (tn + fp)` is at least a given value.

    Args:
        specificity: the least specificity.
        num_thresholds: the number of thresholds, evenly from 0 to 1.
        class_id: the one class that is looked at.
        name: the name.
        dtype: the dtype to count in.

    Example:
        >>> float(SensitivityAtSpecificity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]))
        0.5
    """

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        self.specificity = specificity
        super().__init__(specificity, "specificity", num_thresholds, class_id, name, dtype)

    def result(self) -> jax.Array:
        """The sensitivity."""
        specificity = self._rate("true_negatives", "false_positives")
        return self._best(specificity, self._rate("true_positives", "false_negatives"))


class SpecificityAtSensitivity(_BestAt):
    """The best specificity `tn / (tn + fp)` where the sensitivity `tp / (tp + fn)` is at least a given value.

    Args:
        sensitivity: the least sensitivity.
        num_thresholds: the number of thresholds, evenly from 0 to 1.
        class_id: the one class that is looked at.
        name: the name.
        dtype: the dtype to count in.

    Example:
        >>> round(float(SpecificityAtSensitivity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])), 4)
        0.6667
    """

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        self.sensitivity = sensitivity
        super().__init__(sensitivity, "sensitivity", num_thresholds, class_id, name, dtype)

    def result(self) -> jax.Array:
        """The specificity."""
        sensitivity = self._rate("true_positives", "false_negatives")
        return self._best(sensitivity, self._rate("true_negatives", "false_positives"))


class PrecisionAtRecall(_BestAt):
    """The best precision `tp / (tp + fp)` where the recall `tp / (tp + fn)` is at least a given value.

    Args:
        recall: the least recall.
        num_thresholds: the number of thresholds, evenly from 0 to 1.
        class_id: the one class that is looked at.
        name: the name.
        dtype: the dtype to count in.

    Example:
        >>> float(PrecisionAtRecall(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]))
        0.5
    """

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        self.recall = recall
        super().__init__(recall, "recall", num_thresholds, class_id, name, dtype)

    def result(self) -> jax.Array:
        """The precision."""
        recall = self._rate("true_positives", "false_negatives")
        return self._best(recall, self._rate("true_positives", "false_positives"))


class RecallAtPrecision(_BestAt):
    """The best recall `tp / (tp + fn)` where the precision `tp / (tp + fp)` is at least a given value.

    Args:
        precision: the least precision.
        num_thresholds: the number of thresholds, evenly from 0 to 1.
        class_id: the one class that is looked at.
        name: the name.
        dtype: the dtype to count in.

    Example:
        >>> float(RecallAtPrecision(0.8)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9]))
        0.5
    """

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        self.precision = precision
        super().__init__(precision, "precision", num_thresholds, class_id, name, dtype)

    def result(self) -> jax.Array:
        """The recall."""
        precision = self._rate("true_positives", "false_positives")
        return self._best(precision, self._rate("true_positives", "false_negatives"))
