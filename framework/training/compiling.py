"""compile, and the pure steps of training that a model may override."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lamina import losses as loss_family
from lamina import metrics as metric_family
from lamina import optimizers
from lamina.core.checks import check_choice, check_int
from lamina.core.errors import owner_label
from lamina.core.nest import flatten
from lamina.metrics.metric import Metric
from lamina.state.frame import Frame, current_frame
from lamina.state.variable import Variable
from lamina.training.checks import refuse_unknown
from lamina.training.compiled import SHAPE_DEPENDENT, CompileLoss, CompileMetrics
from lamina.training.data import unpack_x_y_sample_weight


class Compilable:
    """What a model knows of training before there is data; see `Model`."""

    optimizer: Any = None
    stop_training: bool = False
    _compile_loss: CompileLoss | None = None
    _compile_metrics: CompileMetrics | None = None
    _loss_tracker: Metric | None = None

    # ---- compile

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int | str = "auto",
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
        **kwargs: Any,
    ) -> None:
        """Says how to train: the optimizer, the losses, the metrics.

        Args:
            optimizer: a name, an Optimizer, or any `optax.GradientTransformation`.
            loss: a name, a Loss or a function `(y_true, y_pred)`; a list or dict of them by output.
            loss_weights: numbers that weigh the losses, by output.
            metrics: a list of names, Metrics or functions; lists or dicts of them by output.
            weighted_metrics: the like, fed the sample weights too.
            run_eagerly: runs the steps in Python, uncompiled, for debugging.
            steps_per_execution: batches a call of compiled code; "auto" times the first and chooses.
            jit_compile: "auto" and True compile; False is the same as `run_eagerly`.
            auto_scale_loss: whether a float16 policy scales the loss by itself.
            **kwargs: none; an unknown argument is an error that suggests the closest.

        Raises:
            ValueError: a name is unknown; the message suggests the closest.

        Example:
            >>> from lamina import Input, Sequential, layers
            >>> model = Sequential([Input((4,)), layers.Dense(1)])
            >>> model.compile(optimizer="adam", loss="mse", metrics=["mae"])
        """
        refuse_unknown("compile", Compilable.compile, kwargs)
        self._require_init()  # type: ignore[attr-defined]
        if steps_per_execution != "auto":
            check_int("compile", "steps_per_execution (or 'auto')", steps_per_execution, 1)
        _check_names(optimizer, loss, metrics, weighted_metrics)
        check_choice("compile", "jit_compile", jit_compile, ["auto", True, False])
        if isinstance(optimizer, optax.GradientTransformation):
            optimizer = optimizers.OptaxOptimizer(optimizer)
        optimizer = optimizers.get(optimizer)
        policy = getattr(self, "dtype_policy", None)
        if auto_scale_loss and policy is not None and policy.name == "mixed_float16":
            if not isinstance(optimizer, optimizers.LossScaleOptimizer):
                optimizer = optimizers.LossScaleOptimizer(optimizer)
        self.optimizer = optimizer
        self.loss = loss
        self._compile_loss = None if loss is None else CompileLoss(loss, loss_weights)
        self._compile_metrics = CompileMetrics(metrics, weighted_metrics) if metrics or weighted_metrics else None
        self._loss_tracker = metric_family.Mean(name="loss")
        self.run_eagerly = run_eagerly or jit_compile is False
        self.steps_per_execution = steps_per_execution
        self.stop_training = False
        self._compiled_for: Any = None
        self._programs: dict[Any, Any] = {}
        self._compile_arguments = {
            "optimizer": optimizer,
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
        }

    def _require_compiled(self, method: str) -> None:
        if not self.compiled:
            raise RuntimeError(f"{owner_label(self)}: call compile(optimizer=..., loss=...) before {method}.")

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._loss_tracker is not None

    @property
    def metrics(self) -> list[Metric]:
        """The loss tracker, the metrics that the model's attributes hold, and those of `compile`."""
        own = super().metrics  # type: ignore[misc]
        if not self.compiled:
            return own
        compiled = [self._compile_metrics] if self._compile_metrics is not None else []
        trackers = [t for t in (self._compile_loss.trackers if self._compile_loss else []) if t is not None]
        return [self._loss_tracker, *own, *compiled, *trackers]

    @property
    def metrics_names(self) -> list[str]:
        """The names of the metrics."""
        return [m.name for m in self.metrics]

    @property
    def metrics_variables(self) -> list[Variable]:
        """The variables of the metrics."""
        return [v for m in self.metrics for v in m.variables]

    def reset_metrics(self) -> None:
        """Sets all metrics back to their start."""
        for m in self.metrics:
            m.reset_state()

    def get_metrics_result(self) -> dict[str, Any]:
        """The results of all metrics by name."""
        logs: dict[str, Any] = {}
        for m in self.metrics:
            result = m.result()
            if isinstance(result, dict):
                logs.update(result)
            else:
                logs[m.name] = result
        return logs

    # ---- steps to override

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss of a batch, a scalar: the compiled losses, weighted, and what layers and regularizers add.

        Override it for a loss of your own.
        """
        total: Any = None
        if self._compile_loss is not None:
            if y is None:
                raise ValueError(
                    f"{owner_label(self)}: compile was given loss={self.loss!r}, but the data has no targets y. "
                    "Pass y, or yield (x, y) from the data."
                )
            rows = zip(
                self._compile_loss.values(y, y_pred, sample_weight),
                self._compile_loss.weights,
                self._compile_loss.trackers,
                strict=True,
            )
            for value, weight, tracker in rows:
                if value is None:
                    continue
                if tracker is not None:
                    tracker.update_state(value, sample_weight=_batch_rows(x))
                value = value if weight is None else value * weight
                total = value if total is None else total + value
        for penalty in self.losses:  # type: ignore[attr-defined]
            penalty = jnp.asarray(penalty)
            total = penalty if total is None else total + penalty.astype(total.dtype)
        if total is None:
            raise ValueError(
                f"{owner_label(self)}: there is no loss to train on. Pass loss= to compile, call add_loss in a layer, "
                "or override compute_loss."
            )
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Feeds a batch to the metrics and returns the results of all; override it for logs of your own."""
        if self._compile_metrics is not None and self._compile_metrics.rows:
            loss = self._compile_loss or CompileLoss(None, None)
            if self._compile_loss is None:
                loss.build(self._compile_metrics.outputs)
            self._compile_metrics.update(loss.targets(y), y_pred, loss.spread_weights(sample_weight))
        return self.get_metrics_result()

    def compute_loss_and_updates(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        metrics_variables: Sequence[Any],
        x: Any,
        y: Any,
        sample_weight: Any,
        training: bool = False,
        optimizer_variables: Sequence[Any] | None = None,
    ) -> tuple[Any, tuple]:
        """The loss as a pure function of the values of variables.

        Returns:
            (loss, scaled if the optimizer scales it; (loss, y_pred, non-trainable values, metric values)).
        """
        fixed, metric = self.non_trainable_variables, self.metrics_variables  # type: ignore[attr-defined]
        variables = [*self.trainable_variables, *fixed, *metric]  # type: ignore[attr-defined]
        outer = current_frame()
        key = None if outer is None else outer.key
        values = [*trainable_variables, *non_trainable_variables, *metrics_variables]
        with Frame(variables, values, key) as frame:
            y_pred = self(x, training=training)  # type: ignore[operator]
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
            loss = jnp.asarray(loss)
            new = frame.values()
        start = len(variables) - len(fixed) - len(metric)
        scaled = loss
        if training and optimizer_variables is not None and isinstance(self.optimizer, optimizers.LossScaleOptimizer):
            with Frame(self.optimizer.variables, optimizer_variables):
                scaled = self.optimizer.scale_loss(loss)
        elif training and self.optimizer is not None and getattr(self.optimizer, "loss_scale_factor", None):
            scaled = self.optimizer.scale_loss(loss)
        stop = start + len(fixed)
        return scaled, (loss, y_pred, list(new[start:stop]), list(new[stop:]))

    def _metric_logs(self, tv: Sequence, ntv: Sequence, mv: Sequence, loss: Any, batch: tuple, y_pred: Any) -> tuple:
        x, y, sample_weight = batch
        metric = self.metrics_variables
        weights = [*self.trainable_variables, *self.non_trainable_variables]  # type: ignore[attr-defined]
        with Frame([*weights, *metric], [*tv, *ntv, *mv]) as frame:
            self._loss_tracker.update_state(loss, sample_weight=_batch_rows(x))  # type: ignore[union-attr]
            logs = self.compute_metrics(x, y, y_pred, sample_weight)
            return logs, list(frame.values()[len(weights) :])

    def train_step(self, state: tuple, data: Any) -> tuple[dict[str, Any], tuple]:
        """One step of training, pure; override it to train differently.

        Args:
            state: values of (trainable, non-trainable, optimizer's, metrics') variables.
            data: a batch; see `unpack_x_y_sample_weight`.

        Returns:
            (logs, new state).
        """
        tv, ntv, ov, mv = state
        batch = unpack_x_y_sample_weight(data)

        def loss_of(tv: Sequence) -> tuple[Any, tuple]:
            scaled, (loss, y_pred, new_ntv, new_mv) = self.compute_loss_and_updates(
                tv, ntv, mv, *batch, training=True, optimizer_variables=ov
            )
            return scaled, (loss, y_pred, new_ntv, new_mv)

        # A mask of the outputs ends here: as in Keras on JAX, it weighs the loss, but not the metrics of training.
        (_, (loss, y_pred, ntv, mv)), gradients = jax.value_and_grad(loss_of, has_aux=True)(list(tv))
        tv, ov = self.optimizer.stateless_apply(ov, gradients, tv)
        logs, mv = self._metric_logs(tv, ntv, mv, loss, batch, y_pred)
        return logs, (tv, ntv, ov, mv)

    def test_step(self, state: tuple, data: Any) -> tuple[dict[str, Any], tuple]:
        """One step of evaluation, pure; the state is (trainable, non-trainable, metrics') values."""
        tv, ntv, mv = state
        batch = unpack_x_y_sample_weight(data)
        if self._compile_loss is not None or type(self).compute_loss is not Compilable.compute_loss:
            _, (loss, y_pred, ntv, mv) = self.compute_loss_and_updates(tv, ntv, mv, *batch, training=False)
        else:
            y_pred, ntv = self.stateless_call(tv, ntv, batch[0], training=False)  # type: ignore[attr-defined]
            loss = jnp.zeros(())
        logs, mv = self._metric_logs(tv, ntv, mv, loss, batch, y_pred)
        return logs, (tv, ntv, mv)

    def predict_step(self, state: tuple, data: Any) -> tuple[Any, list]:
        """One step of prediction, pure: (outputs, new non-trainable values)."""
        tv, ntv = state
        x, _, _ = unpack_x_y_sample_weight(data)
        return self.stateless_call(tv, ntv, x, training=False)  # type: ignore[attr-defined]


def _batch_rows(x: Any) -> Any:
    """The number of samples in a batch, as a weight."""
    leaves = jax.tree.leaves(x)
    return jnp.asarray(leaves[0].shape[0] if leaves else 1, jnp.float32)


def _check_names(optimizer: Any, loss: Any, metrics: Any, weighted_metrics: Any) -> None:
    """Catches unknown names, an optimizer's class in place of an optimizer, and metrics that are not a list."""
    if isinstance(optimizer, type):
        raise TypeError(
            f"compile: optimizer must be a name, an Optimizer or an optax transformation, got the class "
            f"{optimizer.__name__}. Did you mean {optimizer.__name__}()?"
        )
    for what, group in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
        if isinstance(group, str):
            raise TypeError(f"compile: {what} must be a list, got {group!r}. Did you mean [{group!r}]?")
        for one in flatten(group):
            if isinstance(one, str) and one.lower() not in SHAPE_DEPENDENT:
                metric_family.get(one)
    for one in flatten(loss):
        if isinstance(one, str):
            loss_family.get(one)
