"""predict, with a short way for a few rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lamina.callbacks.callback import CallbackList
from lamina.callbacks.progress import ProgbarLogger
from lamina.core.checks import check_int
from lamina.executor.compile_cache import enable_compile_cache
from lamina.executor.feed import Pass
from lamina.executor.lease import peek
from lamina.executor.memory import kept_memory
from lamina.training.checks import check_verbose, refuse_unknown, rows
from lamina.training.data import make_source
from lamina.training.steps import Layout, predict_function


class Prediction:
    """The part of a model that predicts; see `Model`."""

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The outputs for inputs, as numpy arrays.

        Args:
            x: inputs, or batches, as for `fit`; targets in batches are ignored.
            batch_size: samples a batch, for arrays; 32 by default.
            verbose: 0 is silent, 1 shows a bar.
            steps: the most batches.
            callbacks: a list of callbacks.
            **kwargs: none; an unknown argument is an error that suggests the closest.

        Shape:
            For each output, (samples, ...).
        """
        if kwargs:
            refuse_unknown("predict", Prediction.predict, kwargs)
        if type(x) is np.ndarray and not callbacks and steps is None and 0 < len(x) <= (batch_size or 32):
            fast = self.__dict__.get("_predictors", {}).get((x.shape, x.dtype.char))
            if fast is not None:
                return fast(x)
        return self._predict(x, batch_size, verbose, steps, callbacks)

    def _predict(self, x: Any, batch_size: int | None, verbose: Any, steps: int | None, callbacks: Any) -> Any:
        self._require_init()  # type: ignore[attr-defined]
        verbose = check_verbose("predict", verbose)
        if steps is not None:
            check_int("predict", "steps", steps, 1)
        source = make_source("predict", x, None, None, batch_size)
        watchers = CallbackList(callbacks, self, verbose=verbose, epochs=1, steps=steps or source.batches)
        if verbose and not callbacks and (source.batches is None or source.batches > 1):
            watchers.append(ProgbarLogger())
        if not self.built:  # type: ignore[attr-defined]
            self._outputs_for(*source.spec())  # type: ignore[attr-defined]
        layout = Layout(self, False)
        watchers.on_predict_begin()
        with kept_memory():
            results = self._predict_pass(source.epoch(0), layout, watchers, steps)
        watchers.on_predict_end()
        if len(results) == 1:
            return jax.tree.map(np.array, results[0])
        return jax.tree.map(lambda *parts: np.concatenate(parts), *results)

    def _predict_pass(self, batches: Pass, layout: Layout, watchers: CallbackList, steps: int | None) -> list[Any]:
        """The outputs of each batch; one batch is computed while the one before it is copied out."""
        weights = [*layout.trainable, *layout.fixed]
        results: list[Any] = []
        waiting: Any = None
        done = 0
        while steps is None or done < steps:
            head = batches.peek()
            if head is None:
                break
            run = self._predictor(layout, head[0], head[1])
            chunk = batches.take(1, 1)
            watchers.on_predict_batch_begin(done)
            outputs = run([*map(peek, weights)], chunk.arrays)
            if waiting is not None:
                results.append(jax.tree.map(np.asarray, waiting))
            waiting = outputs
            if watchers.wants_batches("predict"):
                watchers.on_predict_batch_end(done, {"outputs": jax.tree.map(np.asarray, outputs)})
            done += 1
            watchers.on_progress("predict", done, None)
        if waiting is None:
            raise ValueError("predict: x has no batches. Check that its iterator yields at least one.")
        return [*results, jax.tree.map(np.asarray, waiting)]

    def _predictor(self, layout: Layout, arrays: list, tree: Any) -> Callable[..., Any]:
        """The compiled function for batches of this shape; for one plain array it also serves `predict` directly."""
        predictors = self.__dict__.setdefault("_predictors", {})
        shapes = tuple((a.shape, a.dtype.char) for a in arrays)
        key = ("run", layout.key(), tree, shapes)
        if key not in predictors:
            enable_compile_cache()
            function = predict_function(self, layout, tree)
            eager = getattr(self, "run_eagerly", False)
            run = predictors[key] = function if eager else jax.jit(function)
            weights = [*layout.trainable, *layout.fixed]
            if len(arrays) == 1 and tree == jax.tree.structure((0, None, None)) and not eager:

                def fast(x: np.ndarray) -> Any:
                    outputs = run([v._cell if v._lease is None else v._lease.peek(v) for v in weights], [x])
                    return np.array(outputs) if isinstance(outputs, jax.Array) else jax.tree.map(np.array, outputs)

                predictors[(arrays[0].shape, arrays[0].dtype.char)] = fast
        return predictors[key]

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, as numpy arrays."""
        return self.predict(x, batch_size=rows(x), verbose=0)
