"""Several heads on one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from lamina.core.checks import check_number
from lamina.core.errors import ShapeError, describe, listing
from lamina.estimators.export_outputs import DEFAULT, PredictOutput
from lamina.estimators.heads.head import REGULARIZATION_LOSS, Head
from lamina.metrics import Mean
from lamina.metrics.metric import Metric


class MultiHead(Head):
    """Several heads, whose losses are added.

    Labels are a dict by head; logits one too, or one array with the logits of all heads side by side. Keys of
    predictions are pairs (head, key); keys of metrics end with the head's name; `loss/NAME` is the loss of a head.

    Args:
        heads: heads, each with a name.
        head_weights: a weight for the loss of each; 1 by default.

    Raises:
        ValueError: there are no heads, names are missing or repeated, or the weights are not as many.

    Example:
        >>> from lamina.estimators.heads import BinaryClassHead, RegressionHead
        >>> MultiHead([RegressionHead(name="size"), BinaryClassHead(name="sign")]).logits_dimension
        2
    """

    def __init__(self, heads: Sequence[Head], head_weights: Sequence[float] | None = None):
        super().__init__()
        heads = list(heads)
        if not heads:
            raise ValueError("MultiHead: heads must be a list of at least one head, got none.")
        for i, head in enumerate(heads):
            if not isinstance(head, Head):
                raise TypeError(f"MultiHead: heads[{i}] must be a head, got {describe(head)}.")
            if not head.name:
                raise ValueError(f"MultiHead: heads[{i}], a {type(head).__name__}, needs name='...'.")
        names = [str(h.name) for h in heads]
        if len(set(names)) != len(names):
            raise ValueError(f"MultiHead: the names of heads must differ, got {listing(names, 'and')}.")
        weights = [1.0] * len(heads) if head_weights is None else list(head_weights)
        if len(weights) != len(heads):
            raise ValueError(f"MultiHead: head_weights must be {len(heads)} numbers, one a head, got {len(weights)}.")
        self.heads = heads
        self.head_weights = [float(check_number("MultiHead", "head_weights", w)) for w in weights]
        self.name = "_".join(names)
        self.logits_dimension = sum(h.logits_dimension for h in heads)

    def _parts(self, logits: Any) -> dict[str, Any]:
        """The logits of each head."""
        if isinstance(logits, Mapping):
            missing = [h.name for h in self.heads if h.name not in logits]
            if missing:
                raise ValueError(
                    f"{self!r}: logits lack {listing(missing, 'and')}; they have {listing(list(logits), 'and')}."
                )
            return {str(h.name): logits[h.name] for h in self.heads}
        logits = jnp.asarray(logits)
        if logits.ndim < 2 or logits.shape[-1] != self.logits_dimension:
            raise ShapeError(
                f"{self!r}: logits must have the shape (batch, {self.logits_dimension}), got {describe(logits)}."
            )
        parts, start = {}, 0
        for head in self.heads:
            parts[str(head.name)] = logits[..., start : start + head.logits_dimension]
            start += head.logits_dimension
        return parts

    def _labels(self, labels: Any) -> Mapping[str, Any]:
        names = [str(h.name) for h in self.heads]
        if not isinstance(labels, Mapping) or any(n not in labels for n in names):
            raise ValueError(
                f"{self!r}: labels must be a dict with keys {listing(names, 'and')}, got {describe(labels)}."
            )
        return labels

    @property
    def weight_key(self) -> str | None:
        """None: each head has its own weights."""
        return None

    def encode_labels(self, labels: Any) -> dict[str, Any]:
        """The labels of each head."""
        given = self._labels(labels)
        return {str(h.name): h.encode_labels(given[str(h.name)]) for h in self.heads}

    def loss(
        self,
        labels: Any,
        logits: Any,
        features: Any = None,
        mode: str | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> Any:
        """The weighted sum of the losses."""
        parts, labels = self._parts(logits), self._labels(labels)
        total = sum(
            w * h.loss(labels[str(h.name)], parts[str(h.name)], features, mode)
            for h, w in zip(self.heads, self.head_weights, strict=True)
        )
        return sum(regularization_losses, total) if regularization_losses else total

    def predictions(self, logits: Any, keys: Sequence[Any] | None = None) -> dict[Any, Any]:
        """The predictions of each head, by (name, key)."""
        parts = self._parts(logits)
        found = {(h.name, k): v for h in self.heads for k, v in h.predictions(parts[str(h.name)]).items()}
        return found if keys is None else {k: found[k] for k in keys}

    def decode(self, predictions: dict[Any, Any]) -> dict[Any, Any]:
        """Predictions with the names of classes."""
        found: dict[Any, Any] = {}
        for head in self.heads:
            own = {k: v for (name, k), v in predictions.items() if name == head.name}
            found.update({(head.name, k): v for k, v in head.decode(own).items()})
        return found

    def export_outputs(self, predictions: dict[Any, Any]) -> dict[str, Any]:
        """The outputs of each head, as `name` and `name/signature`; the first head's are the default."""
        found: dict[str, Any] = {}
        together: dict[Any, Any] = {}
        for head in self.heads:
            own = {k: v for (name, k), v in predictions.items() if name == head.name}
            outputs = head.export_outputs(own)
            found.setdefault(DEFAULT, outputs[DEFAULT])
            found.update({str(head.name) if k == DEFAULT else f"{head.name}/{k}": v for k, v in outputs.items()})
            together.update({(head.name, k): v for k, v in outputs["predict"].outputs.items()})
        return {**found, "predict": PredictOutput(together)}

    def metrics(self, regularization_losses: Sequence[Any] | None = None) -> dict[str, Metric]:
        """The losses of the heads, then the metrics of each."""
        found: dict[str, Metric] = {}
        if regularization_losses:
            found[REGULARIZATION_LOSS] = Mean(name=REGULARIZATION_LOSS)
        for head in self.heads:
            found[f"loss/{head.name}"] = Mean(name=f"loss_{head.name}")
        for head in self.heads:
            found.update(head.metrics())
        return found

    def update_metrics(
        self,
        eval_metrics: dict[str, Metric],
        features: Any,
        logits: Any,
        labels: Any,
        mode: str | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> dict[str, Metric]:
        """Gives a batch to the metrics."""
        parts, labels = self._parts(logits), self._labels(labels)
        if regularization_losses:
            eval_metrics[REGULARIZATION_LOSS].update_state(sum(regularization_losses))
        for head in self.heads:
            part, own = parts[str(head.name)], labels[str(head.name)]
            eval_metrics[f"loss/{head.name}"].update_state(head.loss(own, part, features, mode))
            mine = {k: v for k, v in eval_metrics.items() if k.endswith(f"/{head.name}") and k != f"loss/{head.name}"}
            head.update_metrics(mine, features, part, own, mode)
        return eval_metrics
