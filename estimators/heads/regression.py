"""Numbers to predict: plain, counts, and shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import describe
from lamina.estimators.export_outputs import RegressionOutput
from lamina.estimators.heads.binary import sigmoid_crossentropy
from lamina.estimators.heads.head import Head, as_columns, numbers_of, spread
from lamina.metrics import Mean
from lamina.metrics.metric import Metric


class RegressionHead(Head):
    """Numbers by the squared error.

    Predictions: predictions, and logits with an `inverse_link_fn`. Metrics: average_loss, prediction/mean, label/mean.

    Args:
        weight_column: see `Head`; it may weigh each number of a sample.
        label_dimension: how many numbers a sample has.
        loss_reduction: see `Head`.
        loss_fn: see `Head`.
        inverse_link_fn: turns logits into predictions; then give `loss_fn` too, since losses are of logits.
        name: see `Head`.

    Example:
        >>> head = RegressionHead()
        >>> float(head.loss(np.array([1.0, 3.0]), np.array([[2.0], [1.0]])))
        2.5
    """

    def __init__(
        self,
        weight_column: Any = None,
        label_dimension: int = 1,
        loss_reduction: str = "sum_over_batch_size",
        loss_fn: Callable[..., Any] | None = None,
        inverse_link_fn: Callable[[Any], Any] | None = None,
        name: str | None = None,
    ):
        super().__init__(weight_column, loss_reduction, loss_fn, name)
        self.logits_dimension = self.loss_width = check_int(type(self).__name__, "label_dimension", label_dimension, 1)
        if inverse_link_fn is not None and not callable(inverse_link_fn):
            raise TypeError(
                f"{type(self).__name__}: inverse_link_fn must be a function of logits, got {describe(inverse_link_fn)}."
            )
        self.inverse_link_fn = inverse_link_fn
        # (mean, deviation): logits are then in units of the labels' deviation, counted from their mean.
        self.units: tuple[np.ndarray, np.ndarray] | None = None

    def encode_labels(self, labels: Any) -> np.ndarray:
        """Labels as float32, (batch, label_dimension)."""
        return as_columns(self, numbers_of(self, labels).astype(np.float32), self.logits_dimension)

    def shape_labels(self, labels: Any, logits: Any) -> Any:
        """Labels as float32, (batch, label_dimension)."""
        return as_columns(self, labels.astype("float32"), self.logits_dimension)

    def losses(self, labels: Any, logits: Any) -> Any:
        """The squared error of each number; that of the logits if there is an `inverse_link_fn`."""
        return jnp.square((logits if self.inverse_link_fn is not None else self._linked(logits)) - labels)

    def _linked(self, logits: Any) -> Any:
        if self.inverse_link_fn is not None:
            return self.inverse_link_fn(logits)
        if self.units is None:
            return logits
        center, spread = self.units
        return logits * spread + center

    def outputs(self, logits: Any) -> dict[str, Any]:
        """The predictions."""
        found = {"predictions": self._linked(logits)}
        return found if self.inverse_link_fn is None else {**found, "logits": logits}

    def services(self, predictions: dict[str, Any]) -> dict[str, Any]:
        """The predictions."""
        return {"regression": RegressionOutput(predictions["predictions"])}

    def batch_metrics(self) -> dict[str, Metric]:
        """See the class."""
        return {"prediction/mean": Mean(), "label/mean": Mean()}

    def feed_metrics(self, metrics: dict[str, Metric], labels: Any, logits: Any, weights: Any) -> None:
        """Gives a batch to the metrics."""
        weights = spread(weights, labels)
        metrics["prediction/mean"].update_state(self._linked(logits), sample_weight=weights)
        metrics["label/mean"].update_state(labels, sample_weight=weights)


def log_poisson_loss(labels: Any, logits: Any, full: bool) -> Any:
    """`exp(z) - y z`, and with `full` Stirling's estimate of log(y!) for y above 1."""
    loss = jnp.exp(logits) - logits * labels
    if not full:
        return loss
    safe = jnp.where(labels > 1, labels, 1.0)
    stirling = safe * jnp.log(safe) - safe + 0.5 * jnp.log(2 * np.pi * safe)
    return loss + jnp.where(labels > 1, stirling, 0.0)


class PoissonRegressionHead(RegressionHead):
    """Counts: predictions exp(z), with the negative log-likelihood of a Poisson distribution of that mean.

    Args:
        weight_column: see `Head`.
        label_dimension: how many numbers a sample has.
        loss_reduction: see `Head`.
        compute_full_loss: whether the loss has the term that does not depend on the prediction.
        name: see `Head`.

    Example:
        >>> PoissonRegressionHead().predictions(np.array([[0.0]]))["predictions"].tolist()
        [[1.0]]
    """

    def __init__(
        self,
        weight_column: Any = None,
        label_dimension: int = 1,
        loss_reduction: str = "sum_over_batch_size",
        compute_full_loss: bool = True,
        name: str | None = None,
    ):
        super().__init__(weight_column, label_dimension, loss_reduction, None, jnp.exp, name)
        self.compute_full_loss = bool(compute_full_loss)

    def encode_labels(self, labels: Any) -> np.ndarray:
        """Labels as float32, 0 or more."""
        values = super().encode_labels(labels)
        if values.size and values.min() < 0:
            raise ValueError(f"{self!r}: labels must be counts, 0 or more, got {values.min():g}.")
        return values

    def losses(self, labels: Any, logits: Any) -> Any:
        """The loss of each number."""
        return log_poisson_loss(labels, logits, self.compute_full_loss)


class LogisticRegressionHead(RegressionHead):
    """Shares between 0 and 1: predictions sigmoid(z), with their crossentropy.

    Args:
        weight_column: see `Head`.
        loss_reduction: see `Head`.
        name: see `Head`.

    Example:
        >>> LogisticRegressionHead().predictions(np.array([[0.0]]))["predictions"].tolist()
        [[0.5]]
    """

    def __init__(self, weight_column: Any = None, loss_reduction: str = "sum_over_batch_size", name: str | None = None):
        super().__init__(weight_column, 1, loss_reduction, None, jax.nn.sigmoid, name)

    def encode_labels(self, labels: Any) -> np.ndarray:
        """Labels as float32 between 0 and 1."""
        values = super().encode_labels(labels)
        if values.size and (values.min() < 0 or values.max() > 1):
            raise ValueError(f"{self!r}: labels must lie between 0 and 1, got {values.min():g} to {values.max():g}.")
        return values

    def losses(self, labels: Any, logits: Any) -> Any:
        """The crossentropy of each sample."""
        return sigmoid_crossentropy(labels, logits)
