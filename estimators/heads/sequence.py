"""A head for each step of sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_type
from lamina.core.errors import ShapeError, describe
from lamina.estimators.heads.head import REGULARIZATION_LOSS, Head
from lamina.estimators.modes import EstimatorSpec, ModeKeys
from lamina.metrics.metric import Metric


class SequenceHead(Head):
    """A head applied to each step of sequences; steps past the end of a sequence count nowhere.

    Logits have the shape (batch, steps, logits_dimension), labels (batch, steps); labels past the end of a sequence may
    be anything, such as -1 or "". Losses and metrics are those of `head` over all steps of all sequences. Predictions
    have the axis of steps too, and the mask beside them.

    Args:
        head: a head of one label: binary, of several classes, or of numbers.
        sequence_mask: the feature that says which steps there are, (batch, steps); a recurrent estimator makes it of
            the lengths of sequences if it is not given.

    Raises:
        TypeError: `head` is no head, or `sequence_mask` no text.

    Example:
        >>> from lamina.estimators.heads import BinaryClassHead
        >>> head = SequenceHead(BinaryClassHead())
        >>> mask = {"sequence_mask": np.array([[True, True], [True, False]])}
        >>> round(float(head.loss(np.array([[1, 0], [1, -1]]), np.zeros((2, 2, 1)), mask)), 4)
        0.6931
    """

    def __init__(self, head: Head, sequence_mask: str = "sequence_mask"):
        check_type("SequenceHead", "head", head, Head, "a head such as BinaryClassHead()")
        check_type("SequenceHead", "sequence_mask", sequence_mask, str, "the name of a feature")
        super().__init__(head.weight_column, head.loss_reduction, None, head.name)
        self.head, self.sequence_mask, self.logits_dimension = head, sequence_mask, head.logits_dimension

    @property
    def classes(self) -> Any:
        """Those of the head."""
        return self.head.classes  # type: ignore[attr-defined]

    def encode_labels(self, labels: Any) -> np.ndarray:
        """Labels as numbers, (batch, steps); 0 past the end of a sequence."""
        given = np.asarray(labels.to_numpy() if hasattr(labels, "to_numpy") else labels)
        if given.ndim == 3 and given.shape[-1] == 1:
            given = given[..., 0]
        if given.ndim != 2:
            raise ShapeError(f"{self!r}: labels must have the shape (batch, steps), got {describe(labels)}.")
        if given.dtype.kind in "OSU":
            there = (given != "") & (given != b"")
        else:
            there = given >= 0 if given.dtype.kind in "iu" else ~np.isnan(given.astype(np.float64))
        found = self.head.encode_labels(given[there])
        out = np.zeros(given.shape, found.dtype)
        out[there] = found[:, 0]
        return out

    def predictions(self, logits: Any, keys: Sequence[str] | None = None) -> dict[Any, Any]:
        """Those of the head, at each step."""
        return self.head.predictions(logits, keys)

    def decode(self, predictions: dict[Any, Any]) -> dict[Any, Any]:
        """Predictions with the names of classes."""
        return self.head.decode(predictions)

    def export_outputs(self, predictions: dict[Any, Any]) -> dict[str, Any]:
        """Those of the head."""
        return self.head.export_outputs(predictions)

    def _steps(self, labels: Any, logits: Any, features: Any) -> tuple[Any, Any, Any, Any]:
        """Labels and logits of all steps, which of them there are, and their weights."""
        logits = self.check_logits(logits)
        given = features if isinstance(features, Mapping) else {}
        if self.sequence_mask not in given:
            raise ValueError(f"{self!r}: the feature {self.sequence_mask!r}, which steps there are, is not given.")
        mask = jnp.asarray(given[self.sequence_mask], bool)
        if not hasattr(labels, "aval"):
            labels = self.encode_labels(labels)
        labels = jnp.asarray(labels)
        if logits.ndim != 3 or mask.shape != logits.shape[:2] or labels.shape != mask.shape:
            raise ShapeError(
                f"{self!r}: logits must have the shape (batch, steps, {self.logits_dimension}), labels and the mask "
                f"(batch, steps), got {describe(logits)}, {describe(labels)} and {describe(mask)}."
            )
        flat = logits.reshape(-1, self.logits_dimension)
        there = mask.reshape(-1, 1).astype("float32")
        weights = there
        if self.weight_key is not None:
            found = given.get(self.weight_key)
            found = found if hasattr(found, "aval") else self.weights_of(given)
            weights = there * jnp.broadcast_to(jnp.asarray(found, "float32"), mask.shape).reshape(-1, 1)
        return self.head.shape_labels(labels.reshape(-1), flat), flat, there, weights

    def loss(
        self,
        labels: Any,
        logits: Any,
        features: Mapping[str, Any] | None = None,
        mode: str | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> Any:
        """The loss of the head over all steps that there are; see `Head.loss`."""
        labels, flat, there, weights = self._steps(labels, logits, features)
        total = jnp.sum(self._losses(labels, flat, features) * weights)
        if self.loss_reduction != "sum":
            total = total / jnp.maximum(jnp.sum(there), 1)
        return sum(regularization_losses, total) if regularization_losses else total

    def _losses(self, labels: Any, flat: Any, features: Any) -> Any:
        return self.head._unreduced(labels, flat, features)

    def metrics(self, regularization_losses: Sequence[Any] | None = None) -> dict[str, Metric]:
        """Those of the head."""
        return self.head.metrics(regularization_losses)

    def update_metrics(
        self,
        eval_metrics: dict[str, Metric],
        features: Mapping[str, Any] | None,
        logits: Any,
        labels: Any,
        mode: str | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> dict[str, Metric]:
        """Gives the steps of a batch to the metrics."""
        labels, flat, _, weights = self._steps(labels, logits, features)
        plain = dict(zip(self._names(eval_metrics), eval_metrics.values(), strict=True))
        plain["average_loss"].update_state(self._losses(labels, flat, features), sample_weight=weights)
        if regularization_losses:
            plain[REGULARIZATION_LOSS].update_state(sum(regularization_losses))
        self.head.feed_metrics(plain, labels, flat, weights)
        return eval_metrics

    def create_estimator_spec(self, features: Any, mode: str, logits: Any, *args: Any, **kwargs: Any) -> EstimatorSpec:
        """See `Head.create_estimator_spec`; predictions have the mask beside them."""
        spec = super().create_estimator_spec(features, mode, logits, *args, **kwargs)
        if mode == ModeKeys.PREDICT:
            mask = features[self.sequence_mask]
            spec.predictions[self.sequence_mask] = mask
            spec.export_outputs["predict"].outputs[self.sequence_mask] = mask  # type: ignore[index]
        return spec
