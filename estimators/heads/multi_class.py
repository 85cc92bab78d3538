"""Several classes, of which each sample has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.estimators.export_outputs import ClassificationOutput
from lamina.estimators.heads.head import Head, as_columns, numbers_of, spread
from lamina.estimators.heads.vocabulary import ClassNames, check_classes
from lamina.metrics import SparseCategoricalAccuracy
from lamina.metrics.metric import Metric


class MultiClassHead(Head):
    """Several classes by one logit each, with the crossentropy of their softmax.

    Predictions: logits, probabilities, class_ids, classes, all_class_ids, all_classes. Metrics: average_loss, accuracy.

    Args:
        n_classes: the number of classes, at least 3; for 2 there is `BinaryClassHead`.
        weight_column: see `Head`.
        label_vocabulary: the names of the classes, if labels are text.
        loss_reduction: see `Head`.
        loss_fn: see `Head`.
        name: see `Head`.

    Example:
        >>> head = MultiClassHead(n_classes=3)
        >>> head.predictions(np.array([[0.0, 2.0, 1.0]]))["class_ids"].tolist()
        [[1]]
    """

    def __init__(
        self,
        n_classes: int,
        weight_column: Any = None,
        label_vocabulary: Sequence[str] | None = None,
        loss_reduction: str = "sum_over_batch_size",
        loss_fn: Callable[..., Any] | None = None,
        name: str | None = None,
    ):
        super().__init__(weight_column, loss_reduction, loss_fn, name)
        self.n_classes = check_classes("MultiClassHead", n_classes, 3, " BinaryClassHead has two classes.")
        self.logits_dimension = n_classes
        self.label_vocabulary = label_vocabulary
        self.classes = ClassNames("MultiClassHead", n_classes, label_vocabulary)

    def encode_labels(self, labels: Any) -> np.ndarray:
        """Labels as class numbers."""
        if self.label_vocabulary is not None or np.asarray(labels).dtype.kind in "OSU":
            values = self.classes.encode(np.asarray(labels))
        else:
            values = numbers_of(self, labels)
        if values.dtype.kind == "f":
            if (values != np.round(values)).any():
                raise TypeError(f"{self!r}: labels must be class numbers, got fractions such as {values.flat[0]:g}.")
            values = values.astype(np.int32)
        return as_columns(self, self.classes.check(values), 1)

    def losses(self, labels: Any, logits: Any) -> Any:
        """The crossentropy of each sample."""
        logs = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(logs, labels.astype("int32"), axis=-1)

    def outputs(self, logits: Any) -> dict[str, Any]:
        """Predictions that are numbers."""
        return {
            "logits": logits,
            "probabilities": jax.nn.softmax(logits),
            "class_ids": jnp.argmax(logits, axis=-1, keepdims=True).astype("int32"),
        }

    def decode(self, predictions: dict[str, Any]) -> dict[str, Any]:
        """Predictions with the names of classes."""
        ids = np.asarray(predictions["class_ids"])
        found = {**predictions, "class_ids": ids.astype(np.int64), "classes": self.classes.decode(ids)}
        return {**found, **self.classes.all(len(ids))}

    def served_predictions(self, predictions: dict[str, Any]) -> dict[str, Any]:
        """Predictions with the names of classes, as outputs of an exported model."""
        return {**predictions, **self.classes.served(predictions)}

    def services(self, predictions: dict[str, Any]) -> dict[str, Any]:
        """Probabilities by class."""
        probabilities = predictions["probabilities"]
        return {"classification": ClassificationOutput(probabilities, self.classes.of_each(probabilities))}

    def batch_metrics(self) -> dict[str, Metric]:
        """See the class."""
        return {"accuracy": SparseCategoricalAccuracy()}

    def feed_metrics(self, metrics: dict[str, Metric], labels: Any, logits: Any, weights: Any) -> None:
        """Gives a batch to the metrics."""
        flat = spread(weights, labels)
        metrics["accuracy"].update_state(labels, logits, sample_weight=None if flat is None else flat[..., 0])
