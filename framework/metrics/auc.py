"""The area under a curve of two rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import settings
from lamina.core.checks import check_choice, check_int
from lamina.core.errors import ShapeError
from lamina.losses.reduction import divide_no_nan, to_array, to_float
from lamina.metrics.counting import Counts, are_even, check_thresholds, confusion_counts, even_thresholds
from lamina.metrics.metric import Metric


class AUC(Metric):
    """The area under the curve that two rates draw as the threshold falls, by Riemann sums.

    Args:
        num_thresholds: the number of thresholds, evenly from 0 to 1.
        curve: `"ROC"` (recall over the false positive rate), `"PR"` (precision over recall), or `"PRGAIN"`.
        summation_method: `"interpolation"` (trapezoids; for PR, true and false positives are interpolated),
            `"minoring"` (a lower bound) or `"majoring"` (an upper bound).
        name: the name.
        dtype: the dtype to count in.
        thresholds: the thresholds between 0 and 1 themselves, in the place of `num_thresholds`.
        multi_label: whether there is a curve for each label, whose areas are averaged.
        num_labels: the number of labels; by default it is seen from the first batch.
        label_weights: a weight a label: of its area with `multi_label`, else of its elements.
        from_logits: whether predictions are logits, before the sigmoid.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> float(AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9]))
        0.75

    Reference: Davis and Goadrich, "The relationship between Precision-Recall and ROC curves", 2006; Flach and Kull,
    "Precision-Recall-Gain Curves: PR Analysis Done Right", 2015.
    """

    _direction = "up"
    _config_only_if_set = ("thresholds",)

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ):
        super().__init__(name=name, dtype=dtype)
        curve = str(getattr(curve, "value", curve)).upper()
        self.curve = check_choice(self, "curve", curve, ["ROC", "PR", "PRGAIN"])
        method = str(getattr(summation_method, "value", summation_method)).lower()
        self.summation_method = check_choice(
            self, "summation_method", method, ["interpolation", "minoring", "majoring"]
        )
        if thresholds is None:
            inner = even_thresholds(check_int(self, "num_thresholds", num_thresholds, minimum=2))[1:-1]
        else:
            inner = sorted(check_thresholds(self, list(thresholds), 0.5))
        self._even = thresholds is None or are_even([0.0, *inner, 1.0])
        self.num_thresholds = len(inner) + 2
        # The ends lie a little outside, so that predictions of exactly 0 and 1 fall between.
        self.thresholds = [-settings.epsilon(), *inner, 1.0 + settings.epsilon()]
        self.multi_label = bool(multi_label)
        if num_labels is not None and not multi_label:
            raise ValueError(f"AUC '{self.name}': num_labels={num_labels} goes with multi_label=True only.")
        self.num_labels = num_labels if num_labels is None else check_int(self, "num_labels", num_labels, minimum=1)
        self.label_weights = None if label_weights is None else [float(w) for w in label_weights]
        self.from_logits = bool(from_logits)
        self._built = False
        if not multi_label:
            self._make((self.num_thresholds,))
        elif num_labels is not None:
            self._make((self.num_thresholds, num_labels))

    def _make(self, shape: tuple[int, ...]) -> None:
        for counted in Counts._fields:
            setattr(self, counted, self.add_variable(shape, name=counted))
        self._built = True

    def build_for(self, y_true: Any, y_pred: Any) -> None:
        """Makes the counts of each label, if there are several curves."""
        if self._built:
            return
        if y_pred.ndim != 2:
            raise ShapeError(
                f"AUC '{self.name}': with multi_label=True y_pred must have the shape (batch, labels), "
                f"got {tuple(y_pred.shape)}."
            )
        self._make((self.num_thresholds, y_pred.shape[1]))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch in."""
        y_pred = to_float(y_pred)
        self.build_for(y_true, y_pred)
        counts = confusion_counts(
            f"AUC '{self.name}'",
            y_true,
            jax.nn.sigmoid(y_pred) if self.from_logits else y_pred,
            self.thresholds,
            self.dtype,
            even=self._even,
            sample_weight=sample_weight,
            multi_label=self.multi_label,
            label_weights=None if self.multi_label else self.label_weights,
        )
        for name, count in zip(Counts._fields, counts, strict=True):
            getattr(self, name).assign_add(count)

    def _counts(self) -> Counts:
        return Counts(*(getattr(self, name).value for name in Counts._fields))

    def result(self) -> jax.Array:
        """The area, 0 before the first batch."""
        if not self._built:
            return jnp.zeros((), self.dtype)
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._average(self.interpolate_pr_auc())
        x, y = self._points(self._counts())
        if self.summation_method == "interpolation":
            heights = (y[:-1] + y[1:]) / 2.0
        elif self.summation_method == "minoring":
            heights = jnp.minimum(y[:-1], y[1:])
        else:
            heights = jnp.maximum(y[:-1], y[1:])
        return self._average((x[:-1] - x[1:]) * heights)

    def _points(self, counts: Counts) -> tuple[jax.Array, jax.Array]:
        """The curve's x and y, one pair a threshold."""
        tp, fp, tn, fn = counts
        recall = divide_no_nan(tp, tp + fn)
        if self.curve == "ROC":
            return divide_no_nan(fp, fp + tn), recall
        if self.curve == "PR":
            return recall, divide_no_nan(tp, tp + fp)
        scale = divide_no_nan(tp + fn, tn + fp)
        recall_gain = jnp.where(tp == 0, 0.0, 1.0 - scale * divide_no_nan(fn, tp))
        precision_gain = jnp.where(tp == 0, 1.0, 1.0 - scale * divide_no_nan(fp, tp))
        return jnp.maximum(recall_gain, 0.0), precision_gain

    def interpolate_pr_auc(self) -> jax.Array:
        """The areas between thresholds under the precision-recall curve, with tp linear in tp + fp between them."""
        tp, fp, _, fn = self._counts()
        positive = tp + fp
        rise = tp[:-1] - tp[1:]
        slope = divide_no_nan(rise, jnp.maximum(positive[:-1] - positive[1:], 0))
        intercept = tp[1:] - slope * positive[1:]
        both = (positive[:-1] > 0) & (positive[1:] > 0)
        ratio = jnp.where(both, divide_no_nan(positive[:-1], positive[1:]), 1.0)
        return divide_no_nan(slope * (rise + intercept * jnp.log(ratio)), jnp.maximum(tp[1:] + fn[1:], 0))

    def _average(self, areas: jax.Array) -> jax.Array:
        if not self.multi_label:
            return jnp.sum(areas)
        by_label = jnp.sum(areas, axis=0)
        if self.label_weights is None:
            return jnp.mean(by_label)
        weights = to_array(self.label_weights, self.dtype)
        return divide_no_nan(jnp.sum(by_label * weights), jnp.sum(weights))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        config = super().get_config()
        if "thresholds" in config:
            config["thresholds"] = None if self._captured["thresholds"] is None else self.thresholds[1:-1]
        return config
