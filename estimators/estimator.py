"""Estimator: trains, evaluates and predicts with a model_fn, and keeps everything in a folder."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lamina.checkpoint import latest_checkpoint
from lamina.core.checks import check_int
from lamina.core.errors import describe, did_you_mean, listing
from lamina.estimators import running
from lamina.estimators.evaluation import EvaluationResults, evaluate_model, write_summary
from lamina.estimators.export import export_saved_model
from lamina.estimators.feature_columns import FeatureColumn, transform_host
from lamina.estimators.heads import Head
from lamina.estimators.hooks import NanTensorHook, Session, SessionRunHook, StopAtStepHook, check_hooks
from lamina.estimators.inputs import Batches, Epochs, as_features, numeric
from lamina.estimators.model import EstimatorModel, call_with
from lamina.estimators.modes import EstimatorSpec, ModeKeys
from lamina.estimators.reporting import LoggingTensorHook, StepCounterHook, SummarySaverHook
from lamina.estimators.run_config import RunConfig
from lamina.estimators.saving import (
    CheckpointSaverHook,
    CheckpointSaverListener,
    load_tensors,
    open_checkpoint,
    tensors_of,
)
from lamina.estimators.summary import summary_text
from lamina.estimators.variables import GLOBAL_STEP
from lamina.estimators.warm_start import check_warm_start, warm_start
from lamina.executor.feed import Pass
from lamina.summary import SummaryWriter

logger = logging.getLogger("lamina.estimators")


class Estimator:
    """Trains, evaluates and predicts with a model_fn; checkpoints, event files and results lie in a folder.

    `model_fn(features, labels, mode, params, config)` returns an `EstimatorSpec`; the last four arguments are left out
    where it does not take them. It is written in JAX: it builds with lamina layers, ops and `get_variable`, is
    compiled, and runs many steps to a call. Layers that it makes find their weights again by name.

    Args:
        model_fn: see above.
        model_dir: the folder; that of `config` by default, else a temporary one.
        config: a `RunConfig`.
        params: anything for the model_fn. Feature columns and heads among it work on the host too: strings in features
            become ids, and names of classes their numbers, before they enter the model_fn.
        warm_start_from: a checkpoint, a folder with one, or `WarmStartSettings`: where weights come from if `model_dir`
            has no checkpoint.

    Raises:
        TypeError: model_fn is no function that takes features, or config no RunConfig.
        ValueError: model_dir and config name different folders.

    Example:
        >>> from lamina import estimators as est
        >>> from lamina.datasets import Dataset
        >>> def model_fn(features, labels, mode):
        ...     w = est.get_variable("w", (1, 1), initializer="zeros")
        ...     y = features @ w
        ...     if mode == est.ModeKeys.PREDICT:
        ...         return est.EstimatorSpec(mode, predictions={"y": y})
        ...     loss = ((y - labels) ** 2).mean()
        ...     return est.EstimatorSpec(mode, loss=loss, optimizer=est.optimizers.SGD(0.1))
        >>> x = np.ones((8, 1), "float32")
        >>> e = Estimator(model_fn).train(lambda: Dataset.from_tensor_slices((x, 3 * x)).batch(4).repeat(), steps=100)
        >>> round(e.get_variable_value("w").item(), 3)
        3.0
    """

    _model: EstimatorModel

    def __init__(
        self,
        model_fn: Callable[..., EstimatorSpec],
        model_dir: str | os.PathLike | None = None,
        config: RunConfig | None = None,
        params: Mapping[str, Any] | None = None,
        warm_start_from: Any = None,
    ):
        if not callable(model_fn):
            raise TypeError(f"Estimator: model_fn must be a function, got {describe(model_fn)}.")
        self._model_fn, self._params = model_fn, dict(params or {})
        self._columns = [c for c in _leaves(self._params) if isinstance(c, FeatureColumn)]
        heads = [h for h in _leaves(self._params) if isinstance(h, Head)]
        self._head: Head | None = heads[0] if len(heads) == 1 else None
        self._setup(model_dir, config, warm_start_from)

    def _setup(self, model_dir: Any, config: Any, warm_start_from: Any) -> None:
        """Takes what all estimators have in common."""
        owner = type(self).__name__
        if config is not None and not isinstance(config, RunConfig):
            raise TypeError(f"{owner}: config must be a RunConfig, got {describe(config)}.")
        config = config or RunConfig()
        if model_dir is not None:
            if not isinstance(model_dir, (str, os.PathLike)):
                raise TypeError(f"{owner}: model_dir must be a path such as 'run', got {describe(model_dir)}.")
            model_dir = os.fspath(model_dir)
            if config.model_dir is not None and config.model_dir != model_dir:
                raise ValueError(
                    f"{owner}: model_dir is {model_dir!r}, but that of config is {config.model_dir!r}. Give one of "
                    "them."
                )
            config = config.replace(model_dir=model_dir)
        self._config = config
        self._warm_start = check_warm_start(warm_start_from)
        self._at: str | None = None  # the checkpoint that the variables in memory are equal to
        self._running = False
        self._results: dict[str, dict[int, dict[str, Any]]] = {}  # of evaluations: by name, by step
        self._writers: dict[str, SummaryWriter] = {}  # of evaluations, by folder
        self._added_metrics: Callable[..., dict[str, Any]] | None = None
        self._new_model()

    def _setup_again(self) -> None:
        """Gives a copy of an estimator a model of its own."""
        self._new_model()

    def _new_model(self) -> None:
        """A model without variables."""
        self._model = EstimatorModel(self._spec, self.params, self._config, self._config.tf_random_seed)
        self._at = None

    # ---- the model_fn, and its part on the host

    def _spec(self, features: Any, labels: Any, mode: str, params: Any, config: Any) -> EstimatorSpec:
        """What the model_fn returns, with the metrics that `add_metrics` added."""
        offered = {"labels": labels, "mode": mode, "params": params, "config": config}
        spec = call_with(self._model_fn, offered, features)
        return self._with_added_metrics(spec, features, labels) if isinstance(spec, EstimatorSpec) else spec

    def _with_added_metrics(self, spec: EstimatorSpec, features: Any, labels: Any) -> EstimatorSpec:
        if spec.mode == ModeKeys.EVAL and self._added_metrics is not None:
            predictions, config = spec.predictions, self._config
            offered = {"features": features, "labels": labels, "predictions": predictions, "config": config}
            spec.eval_metric_ops.update(call_with(self._added_metrics, offered))
        return spec

    def _host(self, method: str, features: Any, labels: Any) -> tuple[Any, Any]:
        """A raw batch as numbers."""
        features = as_features(features)
        if self._columns and isinstance(features, Mapping):
            inputs = transform_host(self._columns, features)
            text = {k for k, v in features.items() if np.asarray(v).dtype.kind in "OSU"}
            features = {**{k: v for k, v in features.items() if k not in text}, **inputs}
        if labels is not None and self._head is not None:
            labels = self._head.encode_labels(labels)
        return numeric(method, features, labels)

    def _nodes(self, nodes: Any) -> Any:
        """What `_host` does with features to predict, as nodes of an exported model."""
        if not isinstance(nodes.features, Mapping):
            return nodes.number(nodes.features)
        text = [k for k, x in nodes.features.items() if x.is_text]
        if text and not self._columns:
            raise ValueError(
                f"export_saved_model: feature {text[0]!r} is text, which cannot enter a compiled step. Let feature "
                "columns in params turn it into ids."
            )
        inputs = {k: nodes.number(x) for k, x in nodes.features.items() if not x.is_text}
        for column in self._columns:
            inputs.update(column.host_nodes(nodes))
        return inputs

    # ---- what there is

    @property
    def model_fn(self) -> Callable[..., EstimatorSpec]:
        """The model_fn."""
        return self._model_fn

    @property
    def params(self) -> dict[str, Any]:
        """The params, as a copy."""
        return dict(self._params)

    @property
    def config(self) -> RunConfig:
        """The config, with the folder."""
        return self._config

    @property
    def model_dir(self) -> str:
        """The folder; a temporary one is made at the first use, if none was given."""
        if self._config.model_dir is None:
            folder = tempfile.mkdtemp(prefix="lamina-")
            logger.warning("Using the temporary folder %s as model_dir.", folder)
            self._config = self._config.replace(model_dir=folder)
            self._model._offered["config"] = self._config
        return str(self._config.model_dir)

    def eval_dir(self, name: str | None = None) -> str:
        """The folder of the event files of evaluations."""
        return os.path.join(self.model_dir, "eval" if not name else f"eval_{name}")

    def latest_checkpoint(self) -> str | None:
        """The latest checkpoint of the folder, or None."""
        return None if self._config.model_dir is None else latest_checkpoint(self._config.model_dir)

    def get_variable_names(self) -> list[str]:
        """The names of the variables of the latest checkpoint, or of those in memory.

        Raises:
            ValueError: nothing is trained yet.
        """
        latest = self.latest_checkpoint()
        if latest is not None:
            reader = open_checkpoint(self.model_dir, latest)
            return sorted(n for n in reader.get_variable_to_shape_map() if not n.startswith("checkpoint/"))  # type: ignore[union-attr]
        return sorted(self._in_memory())

    def get_variable_value(self, name: str) -> np.ndarray:
        """The value of a variable of the latest checkpoint, or in memory.

        Raises:
            ValueError: nothing is trained yet, or there is no such variable.
        """
        latest = self.latest_checkpoint()
        names = self.get_variable_names()
        if name not in names:
            raise ValueError(f"{type(self).__name__}: there is no variable {name!r}.{did_you_mean(name, names)}")
        if latest is not None:
            return np.asarray(open_checkpoint(self.model_dir, latest).get_tensor(name))  # type: ignore[union-attr]
        return np.asarray(self._in_memory()[name])

    def _in_memory(self) -> dict[str, Any]:
        if len(self._model.store.weights) < 2 and not self._model.modes:
            raise ValueError(f"{type(self).__name__} has no variables yet. Train it first.")
        return tensors_of(self._model)

    # ---- input

    def _batches(self, method: str, input_fn: Any, mode: str) -> Batches:
        """The batches of an input function."""
        if not callable(input_fn):
            cure = " Give a function that returns it: lambda: data." if hasattr(input_fn, "__iter__") else ""
            raise TypeError(f"{method}: input_fn must be a function, got {describe(input_fn)}.{cure}")
        given = call_with(input_fn, {"mode": mode, "params": self.params, "config": self.config})
        return Batches(method, given, lambda x, y: self._host(method, x, y), mode != ModeKeys.PREDICT)

    @staticmethod
    def _first(method: str, batches: Pass) -> Any:
        """(features, labels) of the first batch, for shapes."""
        head = batches.peek()
        if head is None:
            raise ValueError(f"{method}: input_fn yields no batches. Check that its Dataset is not empty.")
        features, labels, _ = jax.tree.unflatten(head[1], head[0])
        return features, labels

    def _learn(self, mode: str, batch: Any) -> None:
        """Finds the variables of a mode; what a checkpoint holds of them is loaded next."""
        if mode not in self._model.modes:
            known = len(self._model.store.weights)
            self._model.learn(mode, batch)
            if len(self._model.store.weights) > known or mode == ModeKeys.TRAIN:
                self._at = None

    def _load(self, path: str | None = None) -> bool:
        """Makes the variables equal to a checkpoint, by default the latest; returns whether there is one."""
        if self._running and path is None:
            return True
        if self._config.model_dir is None and path is None:
            return False
        reader = open_checkpoint(self._config.model_dir or "", path)
        if reader is None:
            return False
        if reader.prefix != self._at:
            load_tensors(self._model, reader)
            self._at = reader.prefix
        return True

    # ---- train

    def train(
        self,
        input_fn: Callable[..., Any],
        hooks: Sequence[SessionRunHook] | None = None,
        steps: int | None = None,
        max_steps: int | None = None,
        saving_listeners: Sequence[Any] | None = None,
    ) -> Estimator:
        """Trains, going on from the latest checkpoint of the folder.

        Args:
            input_fn: returns a Dataset of (features, labels), batched. It may take `mode`, `params` and `config`.
            hooks: `SessionRunHook` objects.
            steps: how many steps to do, at most; by default until the data ends.
            max_steps: the number of steps of all runs to stop at.
            saving_listeners: `CheckpointSaverListener` objects.

        Returns:
            The estimator.

        Raises:
            ValueError: both steps and max_steps are given, one is below 1, or there is no data.
        """
        hooks = check_hooks("train", hooks)
        for listener in saving_listeners or ():
            if not isinstance(listener, CheckpointSaverListener):
                raise TypeError(
                    f"train: saving_listeners must hold CheckpointSaverListener instances, got {describe(listener)}."
                )
        if steps is not None and max_steps is not None:
            raise ValueError("train: give one of steps and max_steps.")
        for name, value in (("steps", steps), ("max_steps", max_steps)):
            if value is not None:
                check_int("train", name, value, 1)
        if max_steps is not None and self._global_step() >= max_steps:
            logger.info("train: max_steps is %d, and as many are done.", max_steps)
            return self
        batches = Epochs(self._batches("train", input_fn, ModeKeys.TRAIN).source(), 1)
        self._learn(ModeKeys.TRAIN, self._first("train", batches))
        self._start(saves=True)
        if steps is not None:
            hooks.append(StopAtStepHook(num_steps=steps))
        if max_steps is not None:
            hooks.append(StopAtStepHook(last_step=max_steps))
        self._run(batches, self._with_usual_hooks(hooks, saving_listeners))
        return self

    def _global_step(self) -> int:
        """The number of steps of the latest checkpoint."""
        reader = None if self._config.model_dir is None else open_checkpoint(self._config.model_dir)
        if reader is None:
            return 0
        return int(reader.get_tensor(GLOBAL_STEP)) if reader.has_tensor(GLOBAL_STEP) else 0

    def _start(self, saves: bool) -> None:
        """Gets the variables: from the latest checkpoint, or to warm-start from, or as initialised."""
        if saves:
            os.makedirs(self.model_dir, exist_ok=True)
        if not self._load() and self._warm_start is not None and self._model.store.step == 0:
            taken = warm_start(self._model, self._warm_start)
            logger.info("Warm-started %s.", listing(taken, "and"))

    def _with_usual_hooks(self, hooks: Sequence[SessionRunHook], listeners: Any) -> list[SessionRunHook]:
        """Hooks with those that every training has: checkpoints are saved before other hooks are called."""
        config, spec = self._config, self._model.modes[ModeKeys.TRAIN].spec
        usual: list[SessionRunHook] = [*hooks, *spec.training_hooks]
        writer = SummaryWriter(self.model_dir) if config.save_summary_steps or config.log_step_count_steps else None
        if config.log_step_count_steps:
            every = config.log_step_count_steps
            usual.append(LoggingTensorHook({"loss": "loss", "step": "global_step"}, every_n_iter=every))
            usual.append(StepCounterHook(every_n_steps=every, summary_writer=writer))
        if config.save_summary_steps:
            usual.append(SummarySaverHook(save_steps=config.save_summary_steps, summary_writer=writer))
        given = [h for h in hooks if isinstance(h, CheckpointSaverHook)]
        if given:
            given[0].listeners += list(listeners or ())
        elif config.save_checkpoints_secs or config.save_checkpoints_steps:
            saver = CheckpointSaverHook(
                self.model_dir,
                config.save_checkpoints_secs or None,
                config.save_checkpoints_steps or None,
                listeners=listeners,
                keep=config.keep_checkpoint_max,
                keep_hours=config.keep_checkpoint_every_n_hours,
            )
            usual.insert(0, saver)
        return [NanTensorHook(), *usual]

    def _run(self, batches: Pass, hooks: Sequence[SessionRunHook]) -> Session:
        if self._running:
            raise RuntimeError(f"{type(self).__name__} is being trained already.")
        self._running = True
        try:
            return running.train(self, batches, hooks)
        finally:
            self._running = False

    # ---- evaluate

    def evaluate(
        self,
        input_fn: Callable[..., Any],
        steps: int | None = None,
        hooks: Sequence[SessionRunHook] | None = None,
        checkpoint_path: str | None = None,
        name: str | None = None,
    ) -> EvaluationResults:
        """The loss and metrics on data, with the weights of a checkpoint; also written into event files.

        Args:
            input_fn: returns a Dataset of (features, labels), batched.
            steps: the most batches; by default all there are.
            hooks: `SessionRunHook` objects.
            checkpoint_path: the checkpoint; by default the latest of the folder, or the weights as initialised.
            name: of this evaluation, where there are several; its events go to `eval_NAME`.

        Returns:
            The results by name, `global_step` among them; printed, they are a table.

        Raises:
            ValueError: there is no data, or no such checkpoint.
        """
        hooks = check_hooks("evaluate", hooks)
        if steps is not None:
            check_int("evaluate", "steps", steps, 1)
        batches = Epochs(self._batches("evaluate", input_fn, ModeKeys.EVAL).source(), 1)
        self._learn(ModeKeys.EVAL, self._first("evaluate", batches))
        if not self._load(checkpoint_path) and not self._trained_in_memory():
            logger.info("evaluate: there is no checkpoint, so the weights are as initialised.")
        results = evaluate_model(self, batches, steps, hooks)
        self._results.setdefault(name or "", {})[int(results[GLOBAL_STEP])] = dict(results)
        if self._config.model_dir is not None:
            write_summary(self, self.eval_dir(name), results)
        return results

    def _trained_in_memory(self) -> bool:
        return self._model.store.step > 0

    # ---- predict

    def predict(
        self,
        input_fn: Callable[..., Any],
        predict_keys: Any = None,
        hooks: Sequence[SessionRunHook] | None = None,
        checkpoint_path: str | None = None,
        yield_single_examples: bool = True,
    ) -> Iterator[Any]:
        """Yields predictions, with the weights of a checkpoint.

        Args:
            input_fn: returns a Dataset of features, batched; labels beside them are dropped.
            predict_keys: the keys of predictions to yield; all by default, and for an empty list.
            hooks: `SessionRunHook` objects.
            checkpoint_path: the checkpoint; by default the latest of the folder, or the weights as initialised.
            yield_single_examples: whether to yield sample by sample rather than batch by batch.

        Yields:
            Predictions as numpy arrays, by key.

        Raises:
            ValueError: a key is unknown, or predictions differ in length.
        """
        hooks = check_hooks("predict", hooks)
        session = Session(self)
        eager: list[SessionRunHook] | None = None
        waiting: Any = None
        for features, _, _ in self._batches("predict", input_fn, ModeKeys.PREDICT):
            if eager is None:
                self._learn(ModeKeys.PREDICT, (features, None))
                self._load(checkpoint_path)
                session.step = self._model.store.step
                hooks += self._model.modes[ModeKeys.PREDICT].spec.prediction_hooks
                for hook in hooks:
                    hook.begin()
                for hook in hooks:
                    hook.after_create_session(session, None)
                eager = [h for h in hooks if h.next_step(0, None) is not None]
            asked = [hook.before_run(session) for hook in eager]
            computed = self._model.predictor(features)(features)
            for hook, wanted in zip(eager, asked, strict=True):
                hook.after_run(session, session.values(wanted))
            if waiting is not None:
                yield from self._decoded(waiting, predict_keys, yield_single_examples)
            waiting = computed
            if session.stop_requested:
                break
        if waiting is not None:
            yield from self._decoded(waiting, predict_keys, yield_single_examples)
        for hook in hooks if eager is not None else ():
            hook.end(session)

    def _decoded(self, computed: Any, keys: Any, single: bool) -> Iterator[Any]:
        """The predictions of a batch, sample by sample or as a whole."""
        found = jax.tree.map(np.asarray, computed)
        decode = self._model.modes[ModeKeys.PREDICT].spec.decode
        if decode is not None:
            found = decode(found)
        if keys:
            if not isinstance(found, Mapping):
                raise ValueError("predict: predict_keys needs predictions that are a dict; model_fn returns an array.")
            keys = [keys] if isinstance(keys, str) else list(keys)
            wanted = {k: v for k, v in found.items() if k in keys}
            if not wanted:
                names = list(found)
                raise ValueError(
                    f"predict: predict_keys {listing(keys, 'and')} are not among the predictions, which are "
                    f"{listing(names, 'and')}.{did_you_mean(keys[0], names) if keys else ''}"
                )
            found = wanted
        if not single:
            yield found
            return
        if not isinstance(found, Mapping):
            yield from found
            return
        lengths = {k: len(v) for k, v in found.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"predict: predictions differ in length ({lengths}), so there are no single samples to yield. Pass "
                "yield_single_examples=False."
            )
        for i in range(next(iter(lengths.values()))):
            yield {k: v[i] for k, v in found.items()}

    # ---- export, and what there is to see

    def export_saved_model(
        self,
        export_dir_base: str | os.PathLike,
        serving_input_receiver_fn: Callable[[], Any],
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,
        checkpoint_path: str | None = None,
        experimental_mode: str = ModeKeys.PREDICT,
    ) -> str:
        """Writes predictions as a SavedModel, which TensorFlow's servers load.

        What feature columns do with text is written with the graph: vocabularies as tables, hash buckets and crosses.
        The signatures are those of TensorFlow's estimators: "predict", which gives what `predict` yields, and, fed with
        records, "classification" and "regression", one of them as "serving_default" too; or the `export_outputs` of the
        model_fn. Fed with features as they are, "serving_default" is "predict".

        Args:
            export_dir_base: the folder in which a folder named by the time is made.
            serving_input_receiver_fn: says what the model is fed: see
                `estimators.export.build_parsing_serving_input_receiver_fn` for `tf.train.Example` records, and
                `build_raw_serving_input_receiver_fn` for features as they are.
            assets_extra: files to add, by their name in the export.
            as_text: not offered: an error if it is set.
            checkpoint_path: the checkpoint; by default the latest of the folder.
            experimental_mode: "infer", nothing else.

        Returns:
            The folder of the export.

        Raises:
            ValueError: nothing is trained, or a feature does not fit the column that reads it.
            ExportError: an op of the model cannot be written.
        """
        return export_saved_model(
            self, export_dir_base, serving_input_receiver_fn, assets_extra, as_text, checkpoint_path, experimental_mode
        )

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Prints the feature columns, the head, the variables and the number of steps.

        Args:
            print_fn: called with the text in the place of `print`.
        """
        (print if print_fn is None else print_fn)(summary_text(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} model_dir={self._config.model_dir!r}>"


def _leaves(x: Any) -> Iterator[Any]:
    if isinstance(x, Mapping):
        for v in x.values():
            yield from _leaves(v)
    elif isinstance(x, (list, tuple)) and not isinstance(x, FeatureColumn):
        for v in x:
            yield from _leaves(v)
    else:
        yield x
