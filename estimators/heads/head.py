"""What heads have in common: labels, weights, the reduction of the loss, and the spec that they make of logits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_choice
from lamina.core.errors import ShapeError, describe, did_you_mean, listing
from lamina.core.naming import snake_case
from lamina.estimators.export_outputs import DEFAULT, PredictOutput
from lamina.estimators.feature_columns.numeric import NumericColumn
from lamina.estimators.modes import EstimatorSpec, Minimize, ModeKeys
from lamina.metrics import Mean
from lamina.metrics.metric import Metric

REDUCTIONS = ("sum_over_batch_size", "sum")

REGULARIZATION_LOSS = "regularization_loss"


class Head:
    """Makes losses, metrics and predictions of logits; `create_estimator_spec` puts them together.

    Labels and weights are checked on the host, where they still are text: see `encode_labels`.

    Args:
        weight_column: the feature that weighs samples: its name, or a numeric column.
        loss_reduction: "sum_over_batch_size" divides the weighted sum of the losses by their number, "sum" does not.
        loss_fn: a loss of your own, `loss_fn(labels, logits)`, one value a sample, or for each of its numbers; it may
            take `features` and `loss_reduction` too.
        name: the name; keys of metrics get it as an ending.
    """

    logits_dimension: int = 1
    loss_width: int = 1  # how many losses a sample has

    def __init__(
        self,
        weight_column: Any = None,
        loss_reduction: str = "sum_over_batch_size",
        loss_fn: Callable[..., Any] | None = None,
        name: str | None = None,
    ):
        owner = type(self).__name__
        reduction = str(getattr(loss_reduction, "value", loss_reduction)).lower()
        self.loss_reduction = check_choice(owner, "loss_reduction", reduction, REDUCTIONS)
        if weight_column is not None and not isinstance(weight_column, (str, NumericColumn)):
            raise TypeError(
                f"{owner}: weight_column must be the name of a feature or a numeric_column, got "
                f"{describe(weight_column)}."
            )
        if loss_fn is not None and not callable(loss_fn):
            raise TypeError(f"{owner}: loss_fn must be a function (labels, logits), got {describe(loss_fn)}.")
        self.weight_column, self.loss_fn, self.name = weight_column, loss_fn, name

    def __repr__(self) -> str:
        return f"{type(self).__name__}{f' {self.name!r}' if self.name else ''}"

    # ---- keys

    def key(self, name: str) -> str:
        """The key of a metric: with the name of the head, if it has one."""
        return f"{name}/{self.name}" if self.name else name

    @property
    def weight_key(self) -> str | None:
        """The name of the feature that weighs samples."""
        column: Any = self.weight_column
        return getattr(column, "key", column)

    # ---- what a head defines

    def encode_labels(self, labels: Any) -> Any:
        """Labels as arrays of numbers, on the host: text as class numbers, and everything checked.

        Raises:
            ValueError: a label is unknown, out of range, or of a shape that does not fit.
        """
        raise NotImplementedError

    def shape_labels(self, labels: Any, logits: Any) -> Any:
        """Encoded labels in the shape of the loss."""
        return as_columns(self, labels, 1)

    def losses(self, labels: Any, logits: Any) -> Any:
        """The loss of each sample (and each of its numbers), before weighing."""
        raise NotImplementedError

    def outputs(self, logits: Any) -> dict[Any, Any]:
        """The predictions that are numbers."""
        raise NotImplementedError

    def decode(self, predictions: dict[Any, Any]) -> dict[Any, Any]:
        """Predictions with the names of classes, on the host."""
        return predictions

    def services(self, predictions: dict[Any, Any]) -> dict[str, Any]:
        """What servers give for records, by signature, from the predictions that are numbers; the default one first."""
        return {}

    def served_predictions(self, predictions: dict[Any, Any]) -> dict[Any, Any]:
        """What `decode` gives, as outputs of an exported model."""
        return predictions

    def export_outputs(self, predictions: dict[Any, Any]) -> dict[str, Any]:
        """The outputs of an exported model by signature, from the predictions that are numbers."""
        predict, services = PredictOutput(self.served_predictions(predictions)), self.services(predictions)
        return {DEFAULT: next(iter(services.values()), predict), **services, "predict": predict}

    def batch_metrics(self) -> dict[str, Metric]:
        """The metrics, beside `average_loss`, in order."""
        raise NotImplementedError

    def feed_metrics(self, metrics: dict[str, Metric], labels: Any, logits: Any, weights: Any) -> None:
        """Gives a batch to the metrics."""
        raise NotImplementedError

    # ---- host

    def weights_of(self, features: Mapping[str, Any]) -> Any:
        """The weights among the features, on the host, as float32 of shape (batch, 1) or (batch, n).

        Raises:
            ValueError: there is none of that name, or a weight is negative.
        """
        key = self.weight_key
        if key is None:
            return None
        if key not in features:
            raise ValueError(
                f"{self!r}: the weight column {key!r} is not among the features, which are "
                f"{listing(list(features), 'and')}.{did_you_mean(key, list(features))}"
            )
        values = np.asarray(features[key])
        if values.dtype.kind not in "fiub":
            raise TypeError(f"{self!r}: the weight column {key!r} must hold numbers, got {describe(values)}.")
        values = values.astype(np.float32)
        normalizer = getattr(self.weight_column, "normalizer_fn", None)
        if normalizer is not None:
            values = np.asarray(normalizer(values), np.float32)
        if values.size and not values.min() >= 0:
            raise ValueError(f"{self!r}: weights must be 0 or more, but {key!r} goes down to {values.min():g}.")
        return values.reshape(-1, 1) if values.ndim == 1 else values

    # ---- public

    def loss(
        self,
        labels: Any,
        logits: Any,
        features: Mapping[str, Any] | None = None,
        mode: str | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> Any:
        """The loss of a batch, a scalar.

        Args:
            labels: the labels.
            logits: the logits, (batch, logits_dimension).
            features: the features, for the weight column.
            mode: taken for TensorFlow's sake.
            regularization_losses: scalars to add.

        Raises:
            ValueError: labels, logits and weights do not fit each other.
        """
        labels, logits, weights = self._inputs(labels, logits, features)
        total = self._reduced(self._unreduced(labels, logits, features), weights)
        return sum(regularization_losses, total) if regularization_losses else total

    def predictions(self, logits: Any, keys: Sequence[str] | None = None) -> dict[Any, Any]:
        """Predictions by key; names of classes come only outside compiled code, where text can be.

        Args:
            logits: the logits.
            keys: the keys wanted; all of them if None.
        """
        logits = self.check_logits(logits)
        found = self.outputs(logits)
        if not any(isinstance(v, jax.core.Tracer) for v in jax.tree.leaves(found)):
            found = self.decode({k: np.asarray(v) for k, v in found.items()})
        if keys is None:
            return found
        unknown = [k for k in keys if k not in found]
        if unknown:
            raise ValueError(
                f"{self!r}: has no prediction {listing(unknown, 'and')}, only {listing(list(found), 'and')}."
            )
        return {k: found[k] for k in keys}

    def metrics(self, regularization_losses: Sequence[Any] | None = None) -> dict[str, Metric]:
        """Fresh metrics by key."""
        found: dict[str, Metric] = {"average_loss": Mean(name="average_loss")}
        if regularization_losses:
            found[REGULARIZATION_LOSS] = Mean(name=REGULARIZATION_LOSS)
        found.update(self.batch_metrics())
        for name, metric in found.items():
            metric.name = snake_case(self.key(name).replace("/", "_"))
        return {self.key(name): metric for name, metric in found.items()}

    def update_metrics(
        self,
        eval_metrics: dict[str, Metric],
        features: Mapping[str, Any] | None,
        logits: Any,
        labels: Any,
        mode: str | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> dict[str, Metric]:
        """Gives a batch to the metrics that `metrics` made, and returns them."""
        labels, logits, weights = self._inputs(labels, logits, features)
        plain = {name: eval_metrics[self.key(name)] for name in self._names(eval_metrics)}
        losses = self._unreduced(labels, logits, features)
        plain["average_loss"].update_state(losses, sample_weight=spread(weights, losses))
        if regularization_losses:
            plain[REGULARIZATION_LOSS].update_state(sum(regularization_losses))
        self.feed_metrics(plain, labels, logits, weights)
        return eval_metrics

    def _names(self, metrics: dict[str, Metric]) -> list[str]:
        ending = f"/{self.name}" if self.name else ""
        return [key.removesuffix(ending) for key in metrics]

    def create_estimator_spec(
        self,
        features: Any,
        mode: str,
        logits: Any,
        labels: Any = None,
        optimizer: Any = None,
        trainable_variables: Sequence[Any] | None = None,
        train_op_fn: Callable[[Any], Any] | None = None,
        update_ops: Any = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> EstimatorSpec:
        """The EstimatorSpec of a model that computed logits.

        Args:
            features: the features.
            mode: a `ModeKeys`.
            logits: the logits.
            labels: the labels; needed but for PREDICT.
            optimizer: lowers the loss in training.
            trainable_variables: what the optimizer changes; all trainable variables by default.
            train_op_fn: a function from the loss to a train_op, in the optimizer's place.
            update_ops: taken for TensorFlow's sake: what layers assign is kept in any case.
            regularization_losses: scalars added to the loss.

        Raises:
            ValueError: for training, neither or both of optimizer and train_op_fn are given.
        """
        predictions = self.predictions(logits)
        if mode == ModeKeys.PREDICT:
            outputs = self.export_outputs(predictions)
            return EstimatorSpec(mode, predictions=predictions, decode=self.decode, export_outputs=outputs)
        if labels is None:
            raise ValueError(f"{self!r}: mode {mode!r} needs labels. Let input_fn yield (features, labels).")
        loss = self.loss(labels, logits, features, mode, regularization_losses)
        if mode == ModeKeys.EVAL:
            metrics = self.metrics(regularization_losses)
            metrics = self.update_metrics(metrics, features, logits, labels, mode, regularization_losses)
            return EstimatorSpec(mode, predictions=predictions, loss=loss, eval_metric_ops=metrics)
        if (optimizer is None) == (train_op_fn is None):
            raise ValueError(f"{self!r}: create_estimator_spec needs one of optimizer= and train_op_fn= to train.")
        train_op = Minimize(optimizer, loss, trainable_variables) if train_op_fn is None else train_op_fn(loss)
        return EstimatorSpec(mode, predictions=predictions, loss=loss, train_op=train_op)

    # ---- inside

    def check_logits(self, logits: Any) -> Any:
        """Logits as a float array of shape (batch, logits_dimension)."""
        logits = jnp.asarray(logits)
        if logits.ndim < 2 or logits.shape[-1] != self.logits_dimension:
            raise ShapeError(
                f"{self!r}: logits must have the shape (batch, {self.logits_dimension}), got {describe(logits)}. Give "
                f"the last layer {self.logits_dimension} units."
            )
        return logits.astype("float32")

    def _inputs(self, labels: Any, logits: Any, features: Any) -> tuple[Any, Any, Any]:
        logits = self.check_logits(logits)
        if labels is None:
            raise ValueError(f"{self!r}: labels are needed for a loss, got None.")
        if not isinstance(labels, jax.Array):
            labels = self.encode_labels(labels)
        labels = self.shape_labels(jnp.asarray(labels), logits)
        if labels.shape[:-1] != logits.shape[:-1]:
            raise ShapeError(
                f"{self!r}: labels and logits must be of one batch, got {labels.shape} and {logits.shape}."
            )
        weights = None
        if self.weight_key is not None:
            given = features if isinstance(features, Mapping) else {}
            found = given.get(self.weight_key)
            weights = jnp.asarray(found if isinstance(found, jax.Array) else self.weights_of(given), "float32")
            if weights.ndim == 1:
                weights = weights[:, None]
            if weights.shape[0] != logits.shape[0] or weights.shape[-1] not in (1, logits.shape[-1]):
                raise ShapeError(
                    f"{self!r}: weights must have the shape ({logits.shape[0]},) or ({logits.shape[0]}, 1), got "
                    f"{describe(weights)}."
                )
        return labels, logits, weights

    def _unreduced(self, labels: Any, logits: Any, features: Any) -> Any:
        if self.loss_fn is None:
            return self.losses(labels, logits)
        from_user = _call_loss(self.loss_fn, labels, logits, features, self.loss_reduction)
        losses = jnp.asarray(from_user, "float32")
        if losses.ndim == 1:
            losses = losses[:, None]
        if losses.shape != (*logits.shape[:-1], self.loss_width):
            shape = "(batch,) or (batch, 1)" if self.loss_width == 1 else f"(batch, {self.loss_width})"
            raise ShapeError(f"{self!r}: loss_fn must return losses of shape {shape}, got {describe(from_user)}.")
        return losses

    def _reduced(self, losses: Any, weights: Any) -> Any:
        weighted = losses if weights is None else losses * weights
        total = jnp.sum(weighted)
        return total if self.loss_reduction == "sum" else total / weighted.size


def _call_loss(function: Callable[..., Any], labels: Any, logits: Any, features: Any, reduction: str) -> Any:
    names = inspect.signature(function).parameters
    missing = [n for n in ("labels", "logits") if n not in names]
    if missing:
        raise ValueError(f"loss_fn must take parameters named labels and logits; it has {listing(list(names), 'and')}.")
    extra = {k: v for k, v in (("features", features), ("loss_reduction", reduction)) if k in names}
    return function(labels=labels, logits=logits, **extra)


def spread(weights: Any, values: Any) -> Any:
    """Weights for each of the values; None stays None."""
    return None if weights is None else jnp.broadcast_to(weights, values.shape)


def as_columns(head: Any, labels: Any, width: int) -> Any:
    """Labels of shape (batch,) or (batch, width) as the latter."""
    if labels.ndim == 1 and width == 1:
        labels = labels[:, None]
    if labels.ndim < 2 or labels.shape[-1] != width:
        what = "(batch,) or (batch, 1)" if width == 1 else f"(batch, {width})"
        raise ShapeError(f"{head!r}: labels must have the shape {what}, got {describe(labels)}.")
    return labels


def numbers_of(head: Any, labels: Any) -> np.ndarray:
    """Labels as an array of numbers."""
    if isinstance(labels, Mapping):
        raise ValueError(
            f"{head!r}: labels must be one array, got a dict with keys {listing(list(labels), 'and')}. MultiHead takes "
            "labels by head."
        )
    values = np.asarray(labels.to_numpy() if hasattr(labels, "to_numpy") else labels)
    if values.dtype == object:
        try:
            values = values.astype(np.float32)
        except (TypeError, ValueError):
            pass
    if values.dtype.kind not in "fiub":
        cure = (
            " Pass label_vocabulary=[...] with the names of the classes." if hasattr(head, "label_vocabulary") else ""
        )
        raise TypeError(f"{head!r}: labels must be numbers, got {describe(values)}.{cure}")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError(f"{head!r}: labels hold NaN. Drop those samples, or give them the weight 0 and a number.")
    return values.astype(np.float32) if values.dtype.kind == "f" else values.astype(np.int32)
