"""Trainer: fit and evaluate, and the programs behind them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lamina.callbacks.backup_and_restore import BackupAndRestore
from lamina.callbacks.callback import CallbackList
from lamina.callbacks.history import History
from lamina.callbacks.progress import ProgbarLogger
from lamina.core.checks import check_int
from lamina.core.nest import map_structure
from lamina.executor.compile_cache import enable_compile_cache
from lamina.executor.feed import ArraySource, Source
from lamina.executor.interrupt import InterruptGuard
from lamina.executor.lease import Lease, peek
from lamina.executor.memory import kept_memory
from lamina.executor.program import Program
from lamina.metrics.metric import Metric
from lamina.state.frame import ScratchFrame
from lamina.state.rng import default_seed, make_key
from lamina.training.checks import check_verbose, refuse_unknown, rows, validates
from lamina.training.compiled import CompileMetrics, Outputs
from lamina.training.compiling import Compilable
from lamina.training.data import (
    check_validation_data,
    is_batches,
    make_source,
    split_validation,
    unpack_x_y_sample_weight,
)
from lamina.training.loop import Run, run_pass
from lamina.training.prediction import Prediction
from lamina.training.run import TrainingRun
from lamina.training.steps import Layout, test_program_step, train_program_step
from lamina.training.targets import check_targets


class Trainer(Compilable, Prediction):
    """Training for models; see `Model`."""

    # ---- getting ready

    def _outputs_for(self, leaves: list, tree: Any) -> Any:
        """The outputs of the model for a batch, as shapes; builds the model if need be."""
        symbols = getattr(self, "outputs_structure", None)
        if symbols is not None:
            return map_structure(lambda s: jax.ShapeDtypeStruct((1, *[d or 1 for d in s.shape[1:]]), s.dtype), symbols)
        specs = [jax.ShapeDtypeStruct(a.shape, jax.dtypes.canonicalize_dtype(a.dtype)) for a in leaves]

        def outputs(arrays: list) -> Any:
            x, _, _ = unpack_x_y_sample_weight(jax.tree.unflatten(tree, arrays))
            with ScratchFrame(make_key(0)):
                return self(x, training=False)  # type: ignore[operator]

        return jax.eval_shape(outputs, specs)

    def _prepare(self, method: str, source: Source, train: bool) -> Layout:
        """Builds the model, the losses, the metrics and the optimizer for the data, and returns the layout."""
        batch = None
        if self._compiled_for is None or not self.built:  # type: ignore[attr-defined]
            batch = leaves, tree = source.spec()
            x, y, _ = unpack_x_y_sample_weight(jax.tree.unflatten(tree, leaves))
            y_pred = self._outputs_for(leaves, tree)
            outputs = Outputs(y_pred, getattr(self, "output_names", None))
            if self._compile_loss is not None:
                self._compile_loss.build(outputs)
            if self._compile_metrics is not None and not self._compile_metrics.built:
                loss = self._compile_loss
                if y is None:
                    raise ValueError(f"{method}: compile was given metrics, but the data has no targets y.")
                targets = loss.targets(y) if loss is not None else outputs.flat(y, "y")
                self._compile_metrics.build(outputs, y, y_pred, targets)
                self._build_metrics(targets, outputs.flat(y_pred, "the outputs"))
            self._compiled_for = outputs
        self._check_targets(method, source, batch)
        if train and not self.optimizer.built:
            self._assign_paths()  # type: ignore[attr-defined]
            self.optimizer.build(self.trainable_variables)  # type: ignore[attr-defined]
        return Layout(self, train)

    def _build_metrics(self, targets: list[Any], pred: list[Any]) -> None:
        """Lets metrics whose variables depend on the shapes of the data create them."""
        for _, index, metric, _ in self._compile_metrics.rows:  # type: ignore[union-attr]
            target = jax.ShapeDtypeStruct(targets[index].shape, targets[index].dtype)
            metric.build_for(target, pred[index])
            if metric.variables:
                continue

            def feed(t: Any, p: Any, metric: Metric = metric) -> None:
                with ScratchFrame(make_key(0)):
                    metric.update_state(t, p)

            jax.eval_shape(feed, target, pred[index])  # variables that the first update makes

    def _check_targets(self, method: str, source: Source, batch: tuple | None) -> None:
        """Checks the targets: all of them before a run over arrays, else those of the first batch."""
        if method in ("fit", "evaluate") and isinstance(source, ArraySource):
            batch = source.leaves, source.tree
        if self._compile_loss is None or batch is None or source.checked:
            return
        source.checked = True
        _, y, sample_weight = unpack_x_y_sample_weight(jax.tree.unflatten(batch[1], batch[0]))
        if y is not None:
            loss, outputs = self._compile_loss, self._compiled_for
            weights = loss.spread_weights(sample_weight)
            check_targets(method, loss.losses, loss.targets(y), weights, outputs.shapes, outputs.names)

    def _program(self, kind: str, make_step: Callable[..., Any], layout: Layout, values: list) -> Callable[..., Any]:
        """`program_for(arrays, tree, each)` for `run_pass`."""
        base = (kind, layout.key(), getattr(self.optimizer, "revision", 0))
        steps: Any = None if self.steps_per_execution == "auto" else self.steps_per_execution
        recent: list[Any] = [None, None]

        def program_for(arrays: list, tree: Any, each: bool) -> Program:
            shapes = [(a.shape, a.dtype.char) for a in arrays]
            if recent[0] == (shapes, tree, each):
                return recent[1]
            key = (base, tree, tuple(shapes), each)
            program = self._programs.get(key)
            if program is None:
                enable_compile_cache()
                step = make_step(self, layout, tree)
                program = Program(step, values, arrays, each, steps, jit=not self.run_eagerly, donate=kind == "train")
                self._programs[key] = program
            recent[:] = [(shapes, tree, each), program]
            return program

        return program_for

    def _zero_metrics(self, layout: Layout) -> list[np.ndarray]:
        """The values of metrics at their start."""
        key = ("zeros", layout.key())
        if key not in self._programs:
            kept = [v._cell for v in layout.metrics]
            self.reset_metrics()
            self._programs[key] = [np.asarray(v._cell) for v in layout.metrics]
            for v, cell in zip(layout.metrics, kept, strict=True):
                v._cell = cell
        return self._programs[key]

    @property
    def _seed(self) -> int:
        """The seed of the model's shuffles and random layers."""
        if "_seed_value" not in self.__dict__:
            self.__dict__["_seed_value"] = default_seed()
        return self.__dict__["_seed_value"]

    # ---- fit

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        resume: Any = None,
        **kwargs: Any,
    ) -> History:
        """Trains the model.

        Args:
            x: the inputs: arrays (numpy, jax, pandas, torch, lists; nested in lists or dicts for several inputs), or
                anything that yields batches (x, y) or (x, y, sample_weight): a Dataset, a generator, a PyDataset.
            y: the targets; left out when x yields batches.
            batch_size: samples a batch, for arrays; 32 by default. The last batch of an epoch may be short.
            epochs: the number of the epoch to end with.
            verbose: 0 is silent, 1 shows a bar, 2 a line an epoch; "auto" is 1.
            callbacks: a list of callbacks.
            validation_split: the fraction of the arrays, from their end, kept for validation.
            validation_data: (x, y), (x, y, sample_weight) or batches.
            shuffle: whether each epoch has an order of its own (arrays and PyDataset).
            class_weight: weights by class number.
            sample_weight: weights by sample.
            initial_epoch: the number of the epoch to start with.
            steps_per_epoch: batches an epoch; by default all there are.
            validation_steps: batches a validation; by default all there are.
            validation_batch_size: samples a batch of validation; by default `batch_size`.
            validation_freq: validate every so many epochs, or after the epochs listed.
            resume: a folder (or `CheckpointManager`) in which the state of the run is saved each epoch and each minute,
                and from which it is taken up, exactly, when the script is started again; see `BackupAndRestore`.
            **kwargs: none; an unknown argument is an error that suggests the closest.

        Returns:
            The History: `history.history["loss"]` holds the loss of each epoch.

        Raises:
            RuntimeError: the model is not compiled.
            ValueError: the data does not fit the model or itself; the message says how.
        """
        refuse_unknown("fit", Trainer.fit, kwargs)
        self._require_compiled("fit")
        check_int("fit", "epochs", epochs, 0)
        check_int("fit", "initial_epoch", initial_epoch, 0)
        for name, value in (("steps_per_epoch", steps_per_epoch), ("validation_steps", validation_steps)):
            if value is not None:
                check_int("fit", name, value, 1)
        verbose = check_verbose("fit", verbose)
        validation: tuple[Any, Any, Any] | None = None
        if validation_data is not None:
            validation = check_validation_data(validation_data)
        elif validation_split:
            (x, y, sample_weight), validation = split_validation("fit", (x, y, sample_weight), validation_split)
        source = make_source("fit", x, y, sample_weight, batch_size, shuffle, class_weight, self._seed)
        if source.batches is None and steps_per_epoch is None and getattr(source, "once", False) and epochs > 1:
            warnings.warn(
                "fit: x is a generator without steps_per_epoch, so the first epoch uses it up. Pass steps_per_epoch=, "
                "or a function or Dataset that can be iterated again.",
                stacklevel=2,
            )
        validation_source = None
        if validation is not None:
            size = None if is_batches(validation[0]) else validation_batch_size or batch_size
            validation_source = make_source("fit", *validation, size)
        if resume is not None:
            backup = BackupAndRestore(resume, delete_checkpoint=False, save_seconds=60)
            callbacks = [*CallbackList(callbacks).callbacks, backup]
        layout = self._prepare("fit", source, train=True)
        steps = steps_per_epoch or source.batches
        watchers = CallbackList(
            callbacks, self, verbose=verbose, epochs=epochs, steps=steps, initial_epoch=initial_epoch
        )
        history = next((c for c in watchers.callbacks if isinstance(c, History)), None)
        if history is None:
            history = History()
            watchers.append(history)
        if verbose and not any(isinstance(c, ProgbarLogger) for c in watchers.callbacks):
            watchers.append(ProgbarLogger())
        self.stop_training = False
        self.history = history
        try:
            logs = self._train(
                layout,
                source,
                validation_source,
                watchers,
                initial_epoch,
                epochs,
                steps_per_epoch,
                validation_steps,
                validation_freq,
            )
            watchers.on_train_end(logs or None)
        finally:
            watchers.on_train_exit()
        return history

    def _train(
        self,
        layout: Layout,
        source: Source,
        validation_source: Source | None,
        watchers: CallbackList,
        initial_epoch: int,
        epochs: int,
        steps_per_epoch: int | None,
        validation_steps: int | None,
        validation_freq: int | Sequence[int],
    ) -> dict[str, Any]:
        """The loop over epochs; the logs of the last."""
        zeros = self._zero_metrics(layout)
        span = layout.metrics_slice
        logs: dict[str, Any] = {}
        with kept_memory(), InterruptGuard() as guard, Lease(layout.variables) as lease:
            values = lease.values
            values.append(np.uint32(self._seed % 2**32))
            program_for = self._program("train", train_program_step, layout, values)
            run = TrainingRun(self, layout, lease, source, validation_source, watchers)
            run.epoch = run.passes = initial_epoch
            self.__dict__["training_run"] = run
            try:
                watchers.on_train_begin()  # a callback may announce a saved run here
                if run.saved is not None and not run.done:
                    run.take_up()
                while run.epoch < epochs and not self.stop_training:
                    epoch = run.epoch
                    values[span] = zeros
                    watchers.on_epoch_begin(epoch)
                    if run.saved is not None:
                        run.take_up()
                    part = run_pass(
                        run.begin_pass(continues=steps_per_epoch is not None),
                        program_for,
                        values,
                        watchers,
                        "train",
                        steps_per_epoch,
                        run.base,
                        guard,
                        lambda: self.stop_training,
                        run.advance,
                        run.done,
                    )
                    if run.logs is None:
                        self._out_of_data(epoch, initial_epoch)
                        break
                    if steps_per_epoch is not None and run.done < steps_per_epoch and not self.stop_training:
                        warnings.warn(
                            f"fit: the data ended after {run.done} of {steps_per_epoch} batches of epoch {epoch + 1}. "
                            "Repeat the data, or lower steps_per_epoch.",
                            stacklevel=2,
                        )
                    _tell_if_starved(part, epoch)
                    logs = run.read_logs()
                    if validation_source is not None and validates(epoch, validation_freq):
                        results = self._evaluate(validation_source, validation_steps, watchers, lambda: run.leaving)
                        logs.update({f"val_{k}": v for k, v in results.items()})
                    run.end_pass(continues=steps_per_epoch is not None)
                    watchers.on_epoch_end(epoch, logs)
                    run.next_epoch()
                if hasattr(self.optimizer, "finalize_variable_values") and run.epoch > initial_epoch:
                    self.optimizer.finalize_variable_values(layout.trainable)
            finally:
                values.pop()
                self._steps_done = run.step
                self.__dict__["training_run"] = None
        return logs

    training_run: TrainingRun | None = None
    _steps_done: int = 0

    def _out_of_data(self, epoch: int, initial_epoch: int) -> None:
        if epoch == initial_epoch:
            raise ValueError("fit: x has no batches. Check that its iterator yields at least one (x, y).")
        warnings.warn(
            f"fit: x gave no more batches in epoch {epoch + 1}, so training stops. A generator runs out: pass "
            "steps_per_epoch=, or a function or Dataset that can be iterated again.",
            stacklevel=3,
        )

    # ---- evaluate

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The loss and metrics on data.

        Args:
            x: inputs, or batches, as for `fit`.
            y: targets.
            batch_size: samples a batch, for arrays; 32 by default.
            verbose: 0 is silent, 1 shows a bar, 2 a line.
            sample_weight: weights by sample.
            steps: the most batches.
            callbacks: a list of callbacks.
            return_dict: whether to return a dict by name rather than a list.

        Returns:
            The loss, or a list of the loss and metrics, or a dict.
        """
        refuse_unknown("evaluate", Trainer.evaluate, kwargs)
        self._require_compiled("evaluate")
        verbose = check_verbose("evaluate", verbose)
        source = make_source("evaluate", x, y, sample_weight, batch_size)
        watchers = CallbackList(callbacks, self, verbose=verbose, epochs=1, steps=steps or source.batches)
        if verbose and not any(isinstance(c, ProgbarLogger) for c in watchers.callbacks):
            watchers.append(ProgbarLogger())
        logs = self._evaluate(source, steps, watchers, keep=True)
        return logs if return_dict else self._in_order(logs)

    def _evaluate(
        self,
        source: Source,
        steps: int | None,
        watchers: CallbackList,
        stop: Callable[[], bool] = lambda: False,
        keep: bool = False,
    ) -> dict[str, Any]:
        layout = self._prepare("evaluate", source, train=False)
        watchers.on_test_begin()  # may still change weights
        # fresh metric values: an evaluation inside fit leaves the training metrics alone
        weights = [peek(v) for v in layout.variables[: layout.metrics_slice.start]]
        metric_values = self._zero_metrics(layout)
        values = [*weights, *metric_values, np.uint32(self._seed % 2**32)]
        program_for = self._program("test", test_program_step, layout, values)
        with kept_memory():
            last = run_pass(source.epoch(0), program_for, values, watchers, "test", steps, 0, stop=stop).logs
        if last is None:
            raise ValueError("evaluate: x has no batches. Check that its iterator yields at least one (x, y).")
        logs = last.read()
        if keep:
            for v, value in zip(layout.metrics, values[layout.metrics_slice], strict=True):
                v.assign(value)
        watchers.on_test_end(logs)
        return logs

    def _in_order(self, logs: dict[str, Any]) -> Any:
        """The logs as a list: the loss, the metrics, and what else there is by name; a single one as a number."""
        names: list[str] = []
        for m in self.metrics:
            inner = m.metrics if isinstance(m, CompileMetrics) else [m]
            names += [one.name for one in inner if one.name in logs]
        names += sorted(k for k in logs if k not in names)
        values = [logs[k] for k in names]
        return values[0] if len(values) == 1 else values

    # ---- one batch

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Trains on one batch and returns its loss and metrics."""
        self._require_compiled("train_on_batch")
        source = make_source("train_on_batch", x, y, sample_weight, rows(x), False, class_weight)
        layout = self._prepare("train_on_batch", source, train=True)
        with kept_memory(), InterruptGuard() as guard, Lease(layout.variables) as lease:
            lease.values[layout.metrics_slice] = self._zero_metrics(layout)
            lease.values.append(np.uint32(self._seed % 2**32))
            try:
                run = run_pass(
                    source.epoch(0),
                    self._program("train", train_program_step, layout, lease.values),
                    lease.values,
                    CallbackList(),
                    "train",
                    1,
                    self._steps_done,
                    guard,
                )
            finally:
                lease.values.pop()
        self._steps_done += run.done
        logs = run.logs.read()  # type: ignore[union-attr]
        return logs if return_dict else self._in_order(logs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Evaluates one batch and returns its loss and metrics."""
        self._require_compiled("test_on_batch")
        source = make_source("test_on_batch", x, y, sample_weight, rows(x))
        layout = self._prepare("test_on_batch", source, train=False)
        values = [*map(peek, layout.variables), np.uint32(self._seed % 2**32)]
        values[layout.metrics_slice] = self._zero_metrics(layout)
        program_for = self._program("test", test_program_step, layout, values)
        run = run_pass(source.epoch(0), program_for, values, CallbackList(), "test", 1, 0)
        for v, value in zip(layout.metrics, values[layout.metrics_slice], strict=True):
            v.assign(value)
        logs = run.logs.read()  # type: ignore[union-attr]
        return logs if return_dict else self._in_order(logs)


def _tell_if_starved(run: Run, epoch: int) -> None:
    """Warns when the device spent most of an epoch waiting for data."""
    if run.seconds > 2.0 and run.starved > 0.5 * run.seconds:
        warnings.warn(
            f"fit: the input is the bottleneck: the device waited for data in {run.starved:.1f} of the "
            f"{run.seconds:.1f} s of epoch {epoch + 1}. Dataset.summary() shows the slow stage; prefetch, "
            "map(num_parallel_calls=...), map(vectorized=True) after batch, or cache make it faster.",
            stacklevel=3,
        )
