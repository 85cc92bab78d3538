"""Several classes, of which each sample may have any number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.errors import ShapeError, describe
from lamina.estimators.export_outputs import ClassificationOutput
from lamina.estimators.heads.binary import check_thresholds, sigmoid_crossentropy
from lamina.estimators.heads.head import Head, numbers_of, spread
from lamina.estimators.heads.vocabulary import ClassNames, as_bytes, check_classes
from lamina.metrics import AUC, BinaryAccuracy, Mean, Precision, Recall
from lamina.metrics.metric import Metric


class MultiLabelHead(Head):
    """Several classes that do not exclude each other, by one logit each, with the mean crossentropy of the sigmoids.

    Labels are rows of 0 and 1, (batch, n_classes); or, for each sample, a list of the classes it has, by number or by
    name, padded with -1 or "".

    Predictions: logits, probabilities, classes. Metrics: average_loss, auc, auc_precision_recall, accuracy, precision
    and recall at each threshold, and probability_mean, auc and auc_precision_recall of the classes asked for.

    Args:
        n_classes: the number of classes, at least 2.
        weight_column: see `Head`.
        thresholds: probabilities at which metrics are taken besides.
        label_vocabulary: the names of the classes, if labels are text.
        loss_reduction: see `Head`.
        loss_fn: see `Head`.
        classes_for_class_based_metrics: the classes, by number or name, for which metrics are taken besides.
        name: see `Head`.

    Example:
        >>> head = MultiLabelHead(n_classes=3)
        >>> head.encode_labels([[0], [1, 2]]).tolist()
        [[1, 0, 0], [0, 1, 1]]
    """

    def __init__(
        self,
        n_classes: int,
        weight_column: Any = None,
        thresholds: Sequence[float] | None = None,
        label_vocabulary: Sequence[str] | None = None,
        loss_reduction: str = "sum_over_batch_size",
        loss_fn: Callable[..., Any] | None = None,
        classes_for_class_based_metrics: Sequence[Any] | None = None,
        name: str | None = None,
    ):
        super().__init__(weight_column, loss_reduction, loss_fn, name)
        owner = "MultiLabelHead"
        self.n_classes = self.logits_dimension = check_classes(owner, n_classes, 2)
        self.thresholds = check_thresholds(owner, thresholds)
        self.label_vocabulary = label_vocabulary
        self.classes = ClassNames(owner, n_classes, label_vocabulary)
        self.watched: dict[str, int] = {}
        for one in classes_for_class_based_metrics or ():
            names = self.classes.names.tolist()
            number = names.index(as_bytes(one)) if isinstance(one, (str, bytes)) and as_bytes(one) in names else one
            if not isinstance(number, (int, np.integer)) or not 0 <= number < n_classes:
                raise ValueError(
                    f"{owner}: classes_for_class_based_metrics must be class numbers below {n_classes} or names of "
                    f"label_vocabulary, got {one!r}."
                )
            label = names[number].decode() if label_vocabulary is not None else f"class{number}"
            self.watched[label] = int(number)

    def encode_labels(self, labels: Any) -> np.ndarray:
        """Labels as rows of 0 and 1."""
        if isinstance(labels, (list, tuple)) or getattr(labels, "dtype", np.dtype(int)).kind == "O":
            rows = list(labels)
            if (
                rows
                and all(isinstance(r, (list, tuple, np.ndarray)) for r in rows)
                and (len({len(r) for r in rows}) > 1 or self.label_vocabulary is not None)
            ):
                return self._rows(rows)
        values = np.asarray(labels)
        if values.dtype.kind in "OSU" or self.label_vocabulary is not None:
            if values.dtype.kind in "OSU" and values.ndim == 2:
                return self._rows(list(values))
            if values.dtype.kind in "OSU":
                return self._rows([[v] for v in values])
        values = numbers_of(self, labels)
        whole = values.shape[-1:] == (self.n_classes,)
        if values.ndim != 2 and not (whole and values.ndim > 2) or not whole and values.dtype.kind == "f":
            raise ShapeError(
                f"{self!r}: labels must be rows of 0 and 1 of shape (batch, {self.n_classes}), or lists of classes, "
                f"got {describe(values)}."
            )
        if whole and (not values.size or (values.min() >= 0 and values.max() <= 1)):
            return values
        if whole and (values.min() >= 0 or values.ndim > 2):
            raise ValueError(
                f"{self!r}: labels of shape (batch, {self.n_classes}) must be 0 or 1, got {values.max():g}."
            )
        return self._rows([r[r >= 0] for r in values])

    def _rows(self, rows: Sequence[Any]) -> np.ndarray:
        out = np.zeros((len(rows), self.n_classes), np.int32)
        for i, row in enumerate(rows):
            numbers = np.asarray(row)
            if not numbers.size:
                continue
            if numbers.dtype.kind in "OSU":
                numbers = self.classes.encode(numbers)
            numbers = numbers[numbers >= 0].astype(int)
            if numbers.size and numbers.max() >= self.n_classes:
                raise ValueError(
                    f"{self!r}: labels must be classes from 0 to {self.n_classes - 1}, got {numbers.max()}."
                )
            out[i, numbers] = 1
        return out

    def shape_labels(self, labels: Any, logits: Any) -> Any:
        """Encoded labels as they are."""
        if labels.ndim < 2 or labels.shape[-1] != self.n_classes:
            raise ShapeError(f"{self!r}: labels must have the shape (batch, {self.n_classes}), got {describe(labels)}.")
        return labels

    def losses(self, labels: Any, logits: Any) -> Any:
        """The mean crossentropy of the classes, for each sample."""
        return jnp.mean(sigmoid_crossentropy(labels.astype("float32"), logits), axis=-1, keepdims=True)

    def outputs(self, logits: Any) -> dict[str, Any]:
        """Predictions that are numbers."""
        return {"logits": logits, "probabilities": jax.nn.sigmoid(logits)}

    def decode(self, predictions: dict[str, Any]) -> dict[str, Any]:
        """Predictions with the names of classes."""
        return {**predictions, "classes": self.classes.all(len(predictions["logits"]))["all_classes"]}

    def served_predictions(self, predictions: dict[str, Any]) -> dict[str, Any]:
        """Predictions with the names of classes, as outputs of an exported model."""
        return {**predictions, "classes": self.classes.of_each(predictions["probabilities"])}

    def services(self, predictions: dict[str, Any]) -> dict[str, Any]:
        """Probabilities by class."""
        probabilities = predictions["probabilities"]
        return {"classification": ClassificationOutput(probabilities, self.classes.of_each(probabilities))}

    def batch_metrics(self) -> dict[str, Metric]:
        """See the class."""
        found: dict[str, Metric] = {"auc": AUC(), "auc_precision_recall": AUC(curve="PR")}
        for t in self.thresholds:
            found[f"accuracy/positive_threshold_{t:g}"] = BinaryAccuracy(threshold=t)
            found[f"precision/positive_threshold_{t:g}"] = Precision(thresholds=t)
            found[f"recall/positive_threshold_{t:g}"] = Recall(thresholds=t)
        for label in self.watched:
            found[f"probability_mean/{label}"] = Mean()
            found[f"auc/{label}"] = AUC()
            found[f"auc_precision_recall/{label}"] = AUC(curve="PR")
        return found

    def feed_metrics(self, metrics: dict[str, Metric], labels: Any, logits: Any, weights: Any) -> None:
        """Gives a batch to the metrics."""
        labels, probabilities = labels.astype("float32"), jax.nn.sigmoid(logits)
        weights = spread(weights, labels)
        for name, metric in metrics.items():
            kind, _, label = name.partition("/")
            if label in self.watched:
                column = slice(self.watched[label], self.watched[label] + 1)
                given = None if weights is None else weights[..., column]
                if kind == "probability_mean":
                    metric.update_state(probabilities[..., column], sample_weight=given)
                else:
                    metric.update_state(labels[..., column], probabilities[..., column], sample_weight=given)
            elif kind.startswith("auc") or "positive_threshold" in label:
                metric.update_state(labels, probabilities, sample_weight=weights)
