"""What `compile` was told, resolved against the outputs of the model: which loss and which metrics for which output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import losses as loss_family
from lamina import metrics as metric_family
from lamina.core.errors import ShapeError, describe, did_you_mean, listing
from lamina.metrics.metric import Metric


class Outputs:
    """The outputs of a model as a flat list with a name each.

    Args:
        structure: the outputs: a tensor, or a list, tuple or dict of tensors.
        names: the names of the outputs in flat order, if the model knows them.
    """

    def __init__(self, structure: Any, names: Sequence[str] | None = None):
        self.is_dict = isinstance(structure, dict)
        self.keys: list[Any] | None = list(structure) if self.is_dict else None
        self.count = len(structure) if self.is_dict else len(jax.tree.leaves(structure))
        self.single = not isinstance(structure, (dict, list, tuple))
        parts = list(structure.values()) if self.is_dict else jax.tree.leaves(structure)
        self.shapes = [tuple(getattr(part, "shape", ())) for part in parts]
        if self.keys is not None:
            self.names = [str(k) for k in self.keys]
        elif names is not None and len(names) == self.count:
            self.names = list(names)
        else:
            self.names = [f"output_{i + 1}" for i in range(self.count)]

    def flat(self, value: Any, what: str) -> list[Any]:
        """A value in the structure of the outputs as a list.

        Raises:
            ValueError: its structure differs; the message names the outputs.
        """
        if self.single:
            leaves = [value] if not isinstance(value, (list, tuple, dict)) else jax.tree.leaves(value)
            if len(leaves) != 1:
                raise ValueError(f"{what}: the model has one output, got {len(leaves)} values. Pass one array.")
            return leaves
        if isinstance(value, dict):
            missing = [n for n in (self.keys or self.names) if n not in value]
            if missing:
                raise ValueError(
                    f"{what}: {listing(missing, 'and')} is missing; the model's outputs are "
                    f"{listing(self.names, 'and')}, got {listing(list(value), 'and')}."
                )
            return [value[n] for n in (self.keys or self.names)]
        if isinstance(value, (list, tuple)) and len(value) == self.count:
            return list(value)
        if self.count == 1 and not isinstance(value, (list, tuple)):
            return [value]
        got = f"{len(value)} values" if isinstance(value, (list, tuple)) else describe(value)
        raise ValueError(
            f"{what}: the model has {self.count} outputs ({listing(self.names, 'and')}), got {got}. "
            "Pass a list with one entry for each output, or a dict by name."
        )

    def spread(self, value: Any, what: str, fill: Any = None) -> list[Any]:
        """A per-output setting (one for all, a list, or a dict by name, which may leave outputs out) as a list.

        Raises:
            ValueError: there are too many or too few entries, or a name is unknown.
        """
        if isinstance(value, dict):
            keys = self.keys or self.names
            unknown = [k for k in value if k not in keys and k not in self.names]
            if unknown:
                raise ValueError(
                    f"compile: {what} names {listing(unknown, 'and')}, but the model's outputs are "
                    f"{listing(self.names, 'and')}.{did_you_mean(unknown[0], self.names)}"
                )
            return [value.get(k, value.get(n, fill)) for k, n in zip(keys, self.names, strict=True)]
        if isinstance(value, (list, tuple)):
            if len(value) != self.count:
                raise ValueError(
                    f"compile: {what} has {len(value)} entries, but the model has {self.count} outputs "
                    f"({listing(self.names, 'and')}). Give one entry for each output; None leaves one out."
                )
            return list(value)
        return [value] * self.count


_ACCURACY = {"accuracy", "acc"}
_CROSSENTROPY = {"crossentropy", "ce"}
# Names of metrics that mean one or another by the shapes of the data.
SHAPE_DEPENDENT = _ACCURACY | _CROSSENTROPY


def resolve_metric(identifier: Any, y_true: Any, y_pred: Any) -> Metric:
    """A metric from a metric, a function or a name; "accuracy" and "crossentropy" look at the shapes of the data."""
    if isinstance(identifier, Metric):
        return identifier
    name = identifier if isinstance(identifier, str) else getattr(identifier, "__name__", "metric")
    if isinstance(identifier, str) and identifier.lower() in SHAPE_DEPENDENT:
        kind = "Accuracy" if identifier.lower() in _ACCURACY else "Crossentropy"
        binary = y_pred.shape[-1:] == (1,) or y_pred.ndim == 1
        sparse = y_true.ndim < y_pred.ndim or (y_true.shape[-1] == 1 and y_pred.shape[-1] > 1)
        prefix = "Binary" if binary else "SparseCategorical" if sparse else "Categorical"
        return getattr(metric_family, prefix + kind)(name=name)
    found = metric_family.get(identifier)
    if isinstance(found, type):
        found = found()
    if isinstance(found, Metric):
        if isinstance(identifier, str):
            found.name = name
        return found
    return metric_family.MeanMetricWrapper(found, name=name)


class CompileLoss:
    """The losses of a model, one for each output that has one, and their weights."""

    def __init__(self, loss: Any, loss_weights: Any):
        self.user_loss, self.user_weights = loss, loss_weights
        self.losses: list[Any] = []
        self.weights: list[float | None] = []
        self.trackers: list[Metric | None] = []

    def build(self, outputs: Outputs) -> None:
        """Resolves names and structures, once the outputs are known."""
        self.outputs = outputs
        given = outputs.spread(self.user_loss, "loss")
        self.losses = [None if one is None else _get_loss(one) for one in given]
        if all(one is None for one in self.losses) and self.user_loss is not None:
            raise ValueError(f"compile: loss={self.user_loss!r} gives no output a loss.")
        self.weights = outputs.spread(self.user_weights, "loss_weights")
        for w in self.weights:
            if w is not None and not isinstance(w, (int, float)):
                raise TypeError(f"compile: loss_weights must be numbers, got {describe(w)}.")
        with_loss = [i for i, one in enumerate(self.losses) if one is not None]
        track = outputs.count > 1 and len(with_loss) > 0
        self.trackers = [
            metric_family.Mean(name=f"{outputs.names[i]}_loss") if track and i in with_loss else None
            for i in range(outputs.count)
        ]

    def values(self, y_true: Any, y_pred: Any, sample_weight: Any) -> list[Any]:
        """The loss of each output that has one, before weighting; None for the others."""
        pred = self.outputs.flat(y_pred, "the outputs")
        true = self.targets(y_true)
        weight = self.spread_weights(sample_weight)
        result: list[Any] = []
        for fn, t, p, w, name in zip(self.losses, true, pred, weight, self.outputs.names, strict=True):
            if fn is None:
                result.append(None)
                continue
            try:
                result.append(jnp.asarray(fn(t, p, w)))
            except (TypeError, ValueError) as error:
                where = "" if self.outputs.count == 1 else f" of output '{name}'"
                label = getattr(fn, "name", None) or getattr(fn, "__name__", "loss")
                raise ShapeError(
                    f"loss '{label}'{where}: cannot compare targets of shape {np.shape(t)} with outputs of shape "
                    f"{np.shape(p)}. {error}"
                ) from error
        return result

    def targets(self, y_true: Any) -> list[Any]:
        """The targets of each output; outputs without a loss may go without."""
        if isinstance(y_true, dict) and not self.outputs.single:
            keys = self.outputs.keys or self.outputs.names
            short = [k for k, fn in zip(keys, self.losses, strict=True) if k not in y_true and fn is not None]
            if not short:
                return [y_true.get(k) for k in keys]
        return self.outputs.flat(y_true, "y")

    def spread_weights(self, sample_weight: Any) -> list[Any]:
        """The sample weights of each output; one array serves all."""
        if sample_weight is None or not isinstance(sample_weight, (list, tuple, dict)):
            return [sample_weight] * self.outputs.count
        if isinstance(sample_weight, dict):
            known = self.outputs.keys or self.outputs.names
            unknown = [k for k in sample_weight if k not in known]
            if unknown:
                raise ValueError(
                    f"sample_weight: names {listing(unknown, 'and')}, but the model's outputs are "
                    f"{listing(known, 'and')}.{did_you_mean(unknown[0], known)}"
                )
            return [sample_weight.get(k) for k in known]
        return self.outputs.flat(sample_weight, "sample_weight")


def _get_loss(one: Any) -> Callable[..., Any]:
    if isinstance(one, loss_family.Loss):
        return one
    found = loss_family.get(one)
    if isinstance(found, type):
        found = found()
    if isinstance(found, loss_family.Loss):
        return found
    if not callable(found):
        raise TypeError(f"compile: loss must be a name, a Loss or a function, got {describe(one)}.")
    return loss_family.LossFunctionWrapper(found, name=getattr(found, "__name__", "loss"))


class CompileMetrics:
    """The metrics of a model, plain and weighted, by output; taken together it is like one metric."""

    name = "compile_metrics"

    def __init__(self, metrics: Any, weighted_metrics: Any):
        self.user = (metrics, weighted_metrics)
        self.built = False
        # (log name, output number, metric, weighted)
        self.rows: list[tuple[str, int, Metric, bool]] = []

    def build(self, outputs: Outputs, y_true: Any, y_pred: Any, targets: list[Any]) -> None:
        """Resolves names and structures, once outputs and targets are known."""
        self.outputs = outputs
        pred = outputs.flat(y_pred, "the outputs")
        taken: set[str] = set()
        for group, weighted in zip(self.user, (False, True), strict=True):
            for index, wanted in enumerate(self._by_output(group, weighted)):
                for identifier in wanted:
                    if targets[index] is None and pred[index] is not None:
                        raise ValueError(f"compile: output '{outputs.names[index]}' has metrics but no targets in y.")
                    metric = resolve_metric(identifier, targets[index], pred[index])
                    name = metric.name if outputs.count == 1 else f"{outputs.names[index]}_{metric.name}"
                    if weighted and name in taken:
                        name = f"weighted_{name}"
                    base, n = name, 0
                    while name in taken:
                        n += 1
                        name = f"{base}_{n}"
                    taken.add(name)
                    self.rows.append((name, index, metric, weighted))
        self.built = True

    def _by_output(self, group: Any, weighted: bool) -> list[list[Any]]:
        what = "weighted_metrics" if weighted else "metrics"
        outputs = self.outputs
        if group is None:
            return [[] for _ in range(outputs.count)]
        if isinstance(group, dict):
            return [_as_list(one) for one in outputs.spread(group, what)]
        if not isinstance(group, (list, tuple)):
            raise TypeError(f"compile: {what} must be a list such as ['accuracy'], got {describe(group)}.")
        nested = any(isinstance(one, (list, tuple)) or one is None for one in group)
        if outputs.count == 1:
            if nested and len(group) == 1:
                return [_as_list(group[0])]
            return [list(group)]
        if nested or len(group) == outputs.count:
            return [_as_list(one) for one in outputs.spread(group, what)]
        raise ValueError(
            f"compile: {what} has {len(group)} entries, but the model has {outputs.count} outputs "
            f"({listing(outputs.names, 'and')}). Give a list with a list for each output, or a dict by output name."
        )

    @property
    def metrics(self) -> list[Metric]:
        """The metrics, in order."""
        return [row[2] for row in self.rows]

    def update(self, targets: list[Any], y_pred: Any, weights: list[Any]) -> None:
        """Feeds a batch to all metrics."""
        pred = self.outputs.flat(y_pred, "the outputs")
        for name, index, metric, weighted in self.rows:
            try:
                if weighted:
                    metric.update_state(targets[index], pred[index], sample_weight=weights[index])
                else:
                    metric.update_state(targets[index], pred[index])
            except (TypeError, ValueError) as error:
                raise ShapeError(
                    f"metric '{name}': cannot compare targets of shape {np.shape(targets[index])} with outputs of "
                    f"shape {np.shape(pred[index])}. {error}"
                ) from error

    @property
    def variables(self) -> list[Any]:
        """The variables of all metrics."""
        return [v for m in self.metrics for v in m.variables]

    def reset_state(self) -> None:
        """Sets all metrics back to their start."""
        for m in self.metrics:
            m.reset_state()

    def result(self) -> dict[str, Any]:
        """The results by log name; a metric with a dict of results gives one entry each."""
        logs: dict[str, Any] = {}
        for name, _, metric, _ in self.rows:
            result = metric.result()
            if isinstance(result, dict):
                logs.update(result)
            else:
                logs[name] = result
        return logs


def _as_list(x: Any) -> list[Any]:
    if x is None:
        return []
    return list(x) if isinstance(x, (list, tuple)) else [x]
