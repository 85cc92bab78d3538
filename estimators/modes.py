"""ModeKeys, and EstimatorSpec: what a model_fn returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from lamina.core.checks import check_choice, check_type
from lamina.core.errors import describe
from lamina.estimators.export_outputs import check_outputs
from lamina.estimators.hooks import check_hooks
from lamina.metrics.metric import Metric
from lamina.optimizers import Optimizer


class ModeKeys:
    """What a model_fn is called for."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"


MODES = (ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT)


class Minimize(NamedTuple):
    """That an optimizer is to lower a loss: what `optimizer.minimize(loss)` of a model_fn returns.

    Args:
        optimizer: the optimizer.
        loss: the loss, a scalar.
        var_list: the variables to change, or their names; None for all trainable ones.
    """

    optimizer: Optimizer
    loss: Any
    var_list: Sequence[Any] | None = None


def group(*ops: Any) -> tuple[Minimize, ...]:
    """Several training operations as one; what is None counts as nothing."""
    flat: list[Minimize] = []
    for op in ops:
        if op is None:
            continue
        if isinstance(op, Minimize):
            flat.append(op)
        elif isinstance(op, (list, tuple)):
            flat += group(*op)
        else:
            raise TypeError(
                f"train_op must be what optimizer.minimize(loss) returns, or a group of these, got {describe(op)}."
            )
    return tuple(flat)


def no_op() -> tuple[Minimize, ...]:
    """A training operation that minimizes nothing: for a model_fn that assigns to its variables itself."""
    return ()


class EstimatorSpec:
    """What a model_fn computed for a batch.

    Args:
        mode: a `ModeKeys`.
        predictions: an array, or a dict of arrays by name; needed for PREDICT.
        loss: the loss of the batch, a scalar; needed for TRAIN and EVAL.
        train_op: what `optimizer.minimize(loss)` returned, or a `group` of such; needed for TRAIN, unless `optimizer`
            is given.
        eval_metric_ops: metrics by name that have taken the batch in (`metrics.accuracy(labels, classes)`, any
            `Metric` after `update_state`), or scalars, which are averaged over batches.
        export_outputs: outputs of an exported model by signature: `PredictOutput`, `RegressionOutput` or
            `ClassificationOutput`; by default the predictions, as "serving_default".
        training_chief_hooks: hooks for the training of the first process.
        training_hooks: hooks for training.
        evaluation_hooks: hooks for evaluation.
        prediction_hooks: hooks for prediction.
        optimizer: lowers `loss` in the place of a train_op.
        decode: a function of the predictions, as numpy arrays, run on the host: it turns class numbers into names.

    Raises:
        ValueError: what the mode needs is missing.
        TypeError: a hook, or a metric, is something else.
    """

    def __init__(
        self,
        mode: str,
        predictions: Any = None,
        loss: Any = None,
        train_op: Any = None,
        eval_metric_ops: Mapping[str, Any] | None = None,
        export_outputs: Mapping[str, Any] | None = None,
        training_chief_hooks: Sequence[Any] | None = None,
        training_hooks: Sequence[Any] | None = None,
        evaluation_hooks: Sequence[Any] | None = None,
        prediction_hooks: Sequence[Any] | None = None,
        *,
        optimizer: Optimizer | None = None,
        decode: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ):
        self.mode = check_choice("EstimatorSpec", "mode", mode, MODES)
        if mode != ModeKeys.PREDICT and loss is None:
            raise ValueError(f"EstimatorSpec: mode {mode!r} needs loss=, a scalar.")
        if loss is not None and getattr(loss, "shape", ()) not in ((), (1,)):
            raise ValueError(f"EstimatorSpec: loss must be a scalar, got {describe(loss)}. Take its mean.")
        if mode == ModeKeys.PREDICT and predictions is None:
            raise ValueError(f"EstimatorSpec: mode {mode!r} needs predictions=, an array or a dict of arrays.")
        if optimizer is not None:
            check_type("EstimatorSpec", "optimizer", optimizer, Optimizer, "an Optimizer")
            train_op = Minimize(optimizer, loss) if train_op is None else train_op
        if mode == ModeKeys.TRAIN and train_op is None:
            raise ValueError(
                f"EstimatorSpec: mode {mode!r} needs train_op=optimizer.minimize(loss), or optimizer=...; "
                "train_op=no_op() if model_fn assigns to its variables itself."
            )
        self.predictions, self.decode = predictions, decode
        self.export_outputs = None if export_outputs is None else check_outputs(export_outputs)
        self.loss = loss.reshape(()) if getattr(loss, "shape", ()) == (1,) else loss
        self.train_op = group(train_op)
        self.eval_metric_ops = dict(eval_metric_ops or {})
        for key, value in self.eval_metric_ops.items():
            if not isinstance(value, Metric) and getattr(value, "shape", None) != ():
                raise TypeError(
                    f"EstimatorSpec: eval_metric_ops[{key!r}] must be a Metric that has taken the batch in, such as "
                    f"metrics.accuracy(labels, classes), or a scalar, got {describe(value)}."
                )
        owner = "EstimatorSpec"
        self.training_hooks = check_hooks(owner, [*(training_hooks or ()), *(training_chief_hooks or ())])
        self.evaluation_hooks = check_hooks(owner, evaluation_hooks)
        self.prediction_hooks = check_hooks(owner, prediction_hooks)
