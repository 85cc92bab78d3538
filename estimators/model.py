"""The model behind an Estimator: a `Model` whose steps run a model_fn, so that `fit` and its loop train it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.estimators.modes import EstimatorSpec, ModeKeys
from lamina.estimators.train_ops import TrainOps
from lamina.estimators.variables import GLOBAL_STEP, ModelFrame, VariableStore, seeded
from lamina.executor.feed import Source
from lamina.executor.lease import peek
from lamina.metrics import Mean
from lamina.metrics.metric import Metric
from lamina.models import Model
from lamina.state.frame import current_frame
from lamina.state.rng import make_key
from lamina.state.variable import Variable
from lamina.training.steps import Layout


def call_with(function: Callable[..., Any], offered: dict[str, Any], *args: Any) -> Any:
    """Calls a function with those of the offered keyword arguments that it takes."""
    parameters = inspect.signature(function).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        names = {p.name for p in parameters}
        offered = {k: v for k, v in offered.items() if k in names}
    return function(*args, **offered)


class Values:
    """Arrays by name, read as a checkpoint is."""

    def __init__(self, values: dict[str, Any]):
        self._values = values

    def get_variable_to_shape_map(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array."""
        return {n: np.shape(v) for n, v in self._values.items()}

    def has_tensor(self, name: str) -> bool:
        """Whether there is an array of that name."""
        return name in self._values

    def get_tensor(self, name: str) -> Any:
        """The array of that name."""
        return self._values[name]


class ModeInfo:
    """What the first run of a model_fn in a mode told: its metrics, hooks, predictions and what it reads by row."""

    def __init__(self, spec: EstimatorSpec, frame: ModelFrame, metrics: dict[str, Metric], local: dict[str, Variable]):
        self.spec, self.metrics, self.local = spec, metrics, local
        self.lookups = [(table.path, tuple(ids.shape)) for table, ids in frame.lookups]


class EstimatorLayout(Layout):
    """The variables of a mode in a frozen order: trained ones, fixed ones, the optimizers', the metrics'."""

    def __init__(self, model: EstimatorModel, mode: str):  # no super().__init__: the variables are found by name
        ops = model.optimizer if mode == ModeKeys.TRAIN else None
        self.trainable = list(ops.trainable) if ops is not None else []
        trained = set(map(id, self.trainable))
        self.fixed = [v for v in model.store.weights.values() if id(v) not in trained]
        self.optimizer = list(ops.variables) if ops is not None else []
        self.metrics = [] if mode == ModeKeys.TRAIN else list(model.modes[mode].local.values())
        self.counts = (len(self.trainable), len(self.fixed), len(self.optimizer), len(self.metrics))
        self.variables = [*self.trainable, *self.fixed, *self.optimizer, *self.metrics]


class EstimatorModel(Model):
    """See the module.

    Args:
        model_fn: `model_fn(features, labels, mode, params, config)`, each of the last four only if it takes it.
        params: handed on.
        config: the RunConfig, handed on.
        seed: of initial weights, shuffles and dropout.
    """

    def __init__(self, model_fn: Callable[..., EstimatorSpec], params: Any, config: Any, seed: int | None):
        super().__init__(name="estimator")
        self.store = VariableStore()
        self.modes: dict[str, ModeInfo] = {}
        self._function, self._offered = model_fn, {"params": params, "config": config}
        self._takes = set(inspect.signature(model_fn).parameters)
        if seed is not None:
            self.__dict__["_seed_value"] = seed
        self._given_seed = seed
        self.optimizer: TrainOps | None = None
        self.waiting: dict[str, Any] = {}  # values for variables that are not made yet
        self.compile(optimizer=None, loss=None)
        self.built = True

    def compile(self, optimizer: Any = None, loss: Any = None, **kwargs: Any) -> None:
        """Gets the loop ready; optimizers and losses are the model_fn's matter."""
        super().compile(optimizer=optimizer, loss=loss)
        self.optimizer = None

    # ---- the model_fn

    def run_model_fn(self, features: Any, labels: Any, mode: str) -> EstimatorSpec:
        """What the model_fn returns for a batch, within a frame."""
        offered = {**self._offered, "mode": mode}
        if "labels" in self._takes:
            offered["labels"] = labels
        elif labels is not None and mode != ModeKeys.PREDICT:
            raise ValueError("model_fn does not take labels, but input_fn yields labels. Add a parameter `labels`.")
        with seeded(self._given_seed):
            spec = call_with(self._function, offered, features)
        if not isinstance(spec, EstimatorSpec):
            raise TypeError(f"model_fn must return an EstimatorSpec, got {type(spec).__name__}.")
        if spec.mode != mode:
            raise ValueError(f"model_fn was called with mode {mode!r}, but its EstimatorSpec has mode {spec.mode!r}.")
        return spec

    def learn(self, mode: str, batch: tuple[Any, Any]) -> ModeInfo:
        """Runs the model_fn for the first time in a mode, on shapes, to find its variables, metrics and optimizers."""
        if mode in self.modes:
            return self.modes[mode]
        leaves, tree = jax.tree.flatten(batch)
        specs = [jax.ShapeDtypeStruct(np.shape(a), jax.dtypes.canonicalize_dtype(np.asarray(a).dtype)) for a in leaves]
        weights = list(self.store.weights.values())
        kept: list[Any] = []

        def run(arrays: list[Any]) -> Any:
            features, labels = jax.tree.unflatten(tree, arrays)
            with ModelFrame(self.store, weights, [v.stored for v in weights], make_key(0)) as frame:
                spec = self.run_model_fn(features, labels, mode)
                metrics = _as_metrics(spec)
                kept.extend([spec, frame, metrics])
                for metric in metrics.values():
                    for v in metric.variables:
                        frame.outer(v)
            predictions = spec.predictions
            return predictions if mode == ModeKeys.PREDICT else spec.loss

        jax.eval_shape(run, specs)
        spec, frame, metrics = kept[:3]
        owned = {id(v) for m in metrics.values() for v in m.variables}
        local = {name: v for name, v in frame.found_metrics.items() if id(v) in owned}
        for name, variable in frame.found.items():
            self.store.add(name, variable)
        frame.found = {}
        info = self.modes[mode] = ModeInfo(spec, frame, metrics, local)
        if mode == ModeKeys.TRAIN:
            self.optimizer = TrainOps(self.store, spec.train_op, frame)
        spec.loss = spec.predictions = spec.export_outputs = None
        if self.waiting:
            self._take_waiting(mode)
        return info

    def _take_waiting(self, mode: str) -> None:
        """Gives variables the values that wait for them."""
        for name, variable in self.store.weights.items():
            if name in self.waiting and name != GLOBAL_STEP:
                variable.assign(self.waiting[name])
        if mode == ModeKeys.TRAIN and self.optimizer is not None:
            self.optimizer.restore(Values(self.waiting), self.store.step)
            self.waiting = {}

    # ---- what `Trainer` asks for

    @property
    def metrics_variables(self) -> list[Variable]:
        """The variables of the metrics of evaluation."""
        info = self.modes.get(ModeKeys.EVAL)
        return [] if info is None else list(info.local.values())

    def reset_metrics(self) -> None:
        """Sets the metrics of evaluation back to their start."""
        info = self.modes.get(ModeKeys.EVAL)
        for metric in () if info is None else info.metrics.values():
            metric.reset_state()

    def _prepare(self, method: str, source: Source, train: bool) -> Layout:
        mode = ModeKeys.TRAIN if train else ModeKeys.EVAL
        if mode not in self.modes:
            leaves, tree = source.spec()
            features, labels, _ = jax.tree.unflatten(tree, leaves)
            self.learn(mode, (features, labels))
        return EstimatorLayout(self, mode)

    def _require_compiled(self, method: str) -> None:
        """The model_fn says all that `compile` would."""

    # ---- steps

    def train_step(self, state: tuple, data: Any) -> tuple[dict[str, Any], tuple]:
        """One step of training, pure."""
        tv, ntv, ov, mv = state
        features, labels, _ = data
        info, ops = self.modes[ModeKeys.TRAIN], self.optimizer
        if ops is None:
            raise RuntimeError("The training of this model was not prepared.")
        layout = EstimatorLayout(self, ModeKeys.TRAIN)
        names = [v.path for v in layout.trainable]
        variables = [*layout.trainable, *layout.fixed]
        by_rows = ops.by_rows
        shapes = {v.path: v.shape[1:] for v in layout.trainable}
        taps = [
            jnp.zeros((*shape, *shapes[name]), "float32") if name in by_rows else None for name, shape in info.lookups
        ]
        outer = current_frame()
        key = None if outer is None else outer.key

        def losses_of(tv: list[Any], taps: list[Any]) -> tuple[list[Any], tuple]:
            with ModelFrame(self.store, variables, [*tv, *ntv], key, local={}, taps=taps) as frame:
                spec = self.run_model_fn(features, labels, ModeKeys.TRAIN)
                ids: dict[str, list[Any]] = {}
                for table, rows in frame.lookups:
                    ids.setdefault(table.path, []).append(rows)
                new = [frame.value_of(v) for v in layout.fixed]
                written = [frame.value_of(v) for v in layout.trainable]
            distinct: list[Any] = []
            for op in spec.train_op:
                if not any(op.loss is one for one in distinct):
                    distinct.append(op.loss)
            which = [next(i for i, one in enumerate(distinct) if one is op.loss) for op in spec.train_op]
            self._which = which
            return [jnp.asarray(d, "float32").reshape(()) for d in distinct], (spec.loss, new, written, ids)

        if not ops.ops:
            _, (loss, ntv, tv, _) = losses_of(list(tv), taps)
        else:
            losses, pull, (loss, ntv, tv, ids) = jax.vjp(losses_of, list(tv), taps, has_aux=True)
            pulled = []
            for i in range(len(losses)):
                pulled.append(pull([jnp.float32(1.0 if i == j else 0.0) for j in range(len(losses))]))
            gradients = []
            for op, number in zip(ops.ops, self._which, strict=True):
                dense, sparse = pulled[number]
                by_name = dict(zip(names, dense, strict=True))
                wanted: dict[str, Any] = {v.path: by_name[v.path] for v in op.variables}
                for name in op.by_rows:
                    wanted[name] = [g for (table, _), g in zip(info.lookups, sparse, strict=True) if table == name]
                gradients.append(wanted)
            ov, new = ops.update(list(ov), gradients, dict(zip(names, tv, strict=True)), ids)
            tv = [new[name] for name in names]
        place = next(i for i, v in enumerate(layout.fixed) if v.path == GLOBAL_STEP)
        ntv[place] = ntv[place] + 1
        return {"loss": loss}, (tv, ntv, ov, mv)

    def test_step(self, state: tuple, data: Any) -> tuple[dict[str, Any], tuple]:
        """One step of evaluation, pure."""
        tv, ntv, mv = state
        features, labels, _ = data
        info = self.modes[ModeKeys.EVAL]
        layout = EstimatorLayout(self, ModeKeys.EVAL)
        variables = [*layout.fixed, *layout.metrics]
        outer = current_frame()
        key = None if outer is None else outer.key
        with ModelFrame(self.store, variables, [*ntv, *mv], key, local=info.local) as frame:
            spec = self.run_model_fn(features, labels, ModeKeys.EVAL)
            for metric in _as_metrics(spec).values():
                for v in metric.variables:
                    frame.outer(v)
            mv = [frame.value_of(v) for v in layout.metrics]
        return {"loss": spec.loss}, (tv, ntv, mv)

    def predict_step(self, state: tuple, data: Any) -> tuple[Any, list]:
        """One step of prediction, pure."""
        tv, ntv = state
        features = data[0] if isinstance(data, tuple) else data
        layout = EstimatorLayout(self, ModeKeys.PREDICT)
        outer = current_frame()
        key = None if outer is None else outer.key
        with ModelFrame(self.store, layout.fixed, ntv, key, local={}):
            spec = self.run_model_fn(features, None, ModeKeys.PREDICT)
        return spec.predictions, ntv

    # ---- running

    def results(self) -> dict[str, Any]:
        """The results of the metrics of the last evaluation."""
        return {name: np.asarray(m.result()) for name, m in self.modes[ModeKeys.EVAL].metrics.items()}

    def predictor(self, batch: Any) -> Callable[[Any], Any]:
        """A function from features to predictions, compiled for batches of this shape."""
        self.learn(ModeKeys.PREDICT, (batch, None))
        layout = EstimatorLayout(self, ModeKeys.PREDICT)
        leaves, tree = jax.tree.flatten((batch, None, None))
        run = self._predictor(layout, [np.asarray(a) for a in leaves], tree)
        weights = layout.fixed
        return lambda features: run([peek(v) for v in weights], jax.tree.leaves((features, None, None)))


def _as_metrics(spec: EstimatorSpec) -> dict[str, Metric]:
    """The metrics of a spec, "loss" first; scalars become means over batches."""
    metrics: dict[str, Metric] = {}
    if spec.loss is not None:
        metrics["loss"] = _mean("loss", spec.loss)
    for name, value in spec.eval_metric_ops.items():
        metrics[name] = value if isinstance(value, Metric) else _mean(name, value)
    return metrics


def _mean(name: str, value: Any) -> Metric:
    metric = Mean(name=name)
    metric.update_state(value)
    return metric
