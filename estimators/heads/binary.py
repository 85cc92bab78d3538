"""Two classes, one logit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_number
from lamina.estimators.export_outputs import ClassificationOutput, RegressionOutput
from lamina.estimators.heads.head import Head, as_columns, numbers_of, spread
from lamina.estimators.heads.vocabulary import ClassNames
from lamina.metrics import AUC, Accuracy, BinaryAccuracy, Mean, Precision, Recall
from lamina.metrics.metric import Metric


class AccuracyBaseline(Mean):
    """The accuracy of whoever always says the more frequent class: max(m, 1 - m) of the mean m of labels."""

    def __init__(self, name: str = "accuracy_baseline", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def result(self) -> Any:
        """The baseline."""
        mean = super().result()
        return jnp.maximum(mean, jnp.where(self.count.value > 0, 1 - mean, 0.0))  # 0 where nothing weighs anything


def check_thresholds(owner: str, thresholds: Sequence[float] | None) -> tuple[float, ...]:
    """Thresholds between 0 and 1, as a tuple."""
    found = tuple(thresholds or ())
    for t in found:
        if not 0 < check_number(owner, "thresholds", t) < 1:
            raise ValueError(f"{owner}: thresholds must lie between 0 and 1, got {t}.")
    return found


def sigmoid_crossentropy(labels: Any, logits: Any) -> Any:
    """`log(1 + exp(z)) - z y`, element by element."""
    return jax.nn.softplus(logits) - logits * labels


class BinaryClassHead(Head):
    """Two classes by one logit z, with the crossentropy of `sigmoid(z)`.

    Predictions: logits, logistic, probabilities, class_ids, classes, all_class_ids, all_classes. Metrics:
    average_loss, accuracy, precision, recall, prediction/mean, label/mean, accuracy_baseline, auc,
    auc_precision_recall, and accuracy, precision and recall at each threshold.

    Args:
        weight_column: see `Head`.
        thresholds: probabilities at which metrics are taken besides.
        label_vocabulary: the names of the two classes, if labels are text; otherwise labels lie between 0 and 1.
        loss_reduction: see `Head`.
        loss_fn: see `Head`.
        name: see `Head`.

    Example:
        >>> head = BinaryClassHead(label_vocabulary=["no", "yes"])
        >>> head.predictions(np.array([[2.0]]))["classes"].tolist()
        [[b'yes']]
    """

    def __init__(
        self,
        weight_column: Any = None,
        thresholds: Sequence[float] | None = None,
        label_vocabulary: Sequence[str] | None = None,
        loss_reduction: str = "sum_over_batch_size",
        loss_fn: Callable[..., Any] | None = None,
        name: str | None = None,
    ):
        super().__init__(weight_column, loss_reduction, loss_fn, name)
        self.thresholds = check_thresholds("BinaryClassHead", thresholds)
        self.label_vocabulary = label_vocabulary
        self.classes = ClassNames("BinaryClassHead", 2, label_vocabulary)

    def encode_labels(self, labels: Any) -> np.ndarray:
        """Labels as 0 and 1, or numbers between."""
        if self.label_vocabulary is not None or np.asarray(labels).dtype.kind in "OSU":
            values = self.classes.encode(np.asarray(labels))
        else:
            values = numbers_of(self, labels)
        return as_columns(self, self.classes.check(values), 1)

    def losses(self, labels: Any, logits: Any) -> Any:
        """The crossentropy of each sample."""
        return sigmoid_crossentropy(labels.astype("float32"), logits)

    def outputs(self, logits: Any) -> dict[str, Any]:
        """Predictions that are numbers."""
        both = jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
        return {
            "logits": logits,
            "logistic": jax.nn.sigmoid(logits),
            "probabilities": jax.nn.softmax(both),
            "class_ids": (logits > 0).astype("int32"),
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
        """Probabilities by class, and the probability of the second class."""
        probabilities = predictions["probabilities"]
        found = ClassificationOutput(probabilities, self.classes.of_each(probabilities))
        return {"classification": found, "regression": RegressionOutput(predictions["logistic"])}

    def batch_metrics(self) -> dict[str, Metric]:
        """See the class."""
        found: dict[str, Metric] = {
            "accuracy": Accuracy(),
            "precision": Precision(),
            "recall": Recall(),
            "prediction/mean": Mean(),
            "label/mean": Mean(),
            "accuracy_baseline": AccuracyBaseline(),
            "auc": AUC(),
            "auc_precision_recall": AUC(curve="PR"),
        }
        for t in self.thresholds:
            found[f"accuracy/positive_threshold_{t:g}"] = BinaryAccuracy(threshold=t)
            found[f"precision/positive_threshold_{t:g}"] = Precision(thresholds=t)
            found[f"recall/positive_threshold_{t:g}"] = Recall(thresholds=t)
        return found

    def feed_metrics(self, metrics: dict[str, Metric], labels: Any, logits: Any, weights: Any) -> None:
        """Gives a batch to the metrics."""
        labels = labels.astype("float32")
        logistic, classes = jax.nn.sigmoid(logits), (logits > 0).astype("float32")
        weights = spread(weights, labels)
        for name in ("accuracy", "precision", "recall"):
            metrics[name].update_state(labels, classes, sample_weight=weights)
        metrics["prediction/mean"].update_state(logistic, sample_weight=weights)
        metrics["label/mean"].update_state(labels, sample_weight=weights)
        metrics["accuracy_baseline"].update_state(labels, sample_weight=weights)
        for name, metric in metrics.items():
            if name.startswith("auc") or "positive_threshold" in name:
                metric.update_state(labels, logistic, sample_weight=weights)
