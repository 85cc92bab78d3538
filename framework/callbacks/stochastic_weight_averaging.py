"""StochasticWeightAveraging, and the statistics of batch normalization for averaged weights."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from lamina.callbacks.callback import Callback
from lamina.core.checks import check_choice, check_int, check_number
from lamina.core.errors import describe
from lamina.layers.batch_normalization import BatchNormalization
from lamina.layers.tracking import walk


class StochasticWeightAveraging(Callback):
    """Ends training with the mean of the weights that the last epochs ended with.

        weights = (w[start] + w[start + frequency] + ...) / count

    The mean is kept in float64. It takes the weights' place when training ends: validation and checkpoints on the way
    see the weights that are trained. Moving statistics of BatchNormalization do not fit averaged weights; they are
    computed anew from `data`.

    Args:
        start_epoch: the first epoch (from 0) that counts; a float is a fraction of all epochs.
        swa_learning_rate: the learning rate from there on, a constant one that keeps the weights moving; None leaves
            it alone.
        annealing_epochs: the number of epochs over which the learning rate gets there.
        annealing_strategy: "cos" or "linear".
        frequency: the number of epochs from one that counts to the next.
        data: the training inputs, for models with BatchNormalization: arrays, or batches x or (x, y).
        batch_size: samples a batch, for arrays.

    Attributes:
        count: how many weights the mean is of.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((1,)), layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x = np.ones((4, 1), "float32")
        >>> average = StochasticWeightAveraging(start_epoch=0.5, swa_learning_rate=0.1, annealing_epochs=0)
        >>> history = model.fit(x, x, epochs=4, verbose=0, callbacks=[average])
        >>> average.count
        2

    Reference:
        https://arxiv.org/abs/1803.05407
    """

    def __init__(
        self,
        start_epoch: int | float = 0.75,
        swa_learning_rate: float | None = None,
        annealing_epochs: int = 10,
        annealing_strategy: str = "cos",
        frequency: int = 1,
        data: Any = None,
        batch_size: int = 32,
    ):
        super().__init__()
        owner = "StochasticWeightAveraging"
        if isinstance(start_epoch, float):
            check_number(owner, "start_epoch (a fraction)", start_epoch, 0, 1)
        else:
            check_int(owner, "start_epoch", start_epoch, 0)
        self.start_epoch = start_epoch
        if swa_learning_rate is not None:
            check_number(owner, "swa_learning_rate", swa_learning_rate, 0)
        self.swa_learning_rate = swa_learning_rate
        self.annealing_epochs = check_int(owner, "annealing_epochs", annealing_epochs, 0)
        self.annealing_strategy = check_choice(owner, "annealing_strategy", annealing_strategy, ["cos", "linear"])
        self.frequency = check_int(owner, "frequency", frequency, 1)
        self.data = data
        self.batch_size = check_int(owner, "batch_size", batch_size, 1)
        self._reset()

    def _reset(self) -> None:
        self.count = 0
        self._means: dict[str, np.ndarray] = {}
        self._first_rate: float | None = None

    def get_state(self) -> dict[str, Any]:
        """The mean so far, of how many weights it is, and the learning rate before."""
        return {"count": self.count, "means": dict(self._means), "first_rate": self._first_rate}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on with a mean."""
        self.count, self._first_rate = int(state["count"]), state["first_rate"]
        self._means = {path: np.array(mean, np.float64) for path, mean in state["means"].items()}

    def _start(self) -> int:
        if isinstance(self.start_epoch, int):
            return self.start_epoch
        return int(self.start_epoch * (self.params or {}).get("epochs", 1))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts afresh."""
        self._reset()
        if self.data is None and _batch_normalizations(self.model):
            warnings.warn(
                "StochasticWeightAveraging: the model has BatchNormalization layers, whose moving statistics will not "
                "fit the averaged weights. Pass data=x, the training inputs, to have them computed anew at the end.",
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the learning rate."""
        done = epoch - self._start()
        if self.swa_learning_rate is None or done < 0:
            return
        if not hasattr(self.model.optimizer, "learning_rate"):
            raise ValueError(
                f"StochasticWeightAveraging: the optimizer {self.model.optimizer!r} has no learning rate to set. "
                "Leave out swa_learning_rate."
            )
        if self._first_rate is None:
            self._first_rate = float(np.asarray(self.model.optimizer.learning_rate))
        part = min(1.0, (done + 1) / self.annealing_epochs) if self.annealing_epochs else 1.0
        if self.annealing_strategy == "cos":
            part = (1 - math.cos(math.pi * part)) / 2
        self.model.optimizer.learning_rate = self._first_rate + part * (self.swa_learning_rate - self._first_rate)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Takes the weights into the mean."""
        done = epoch - self._start()
        if done < 0 or done % self.frequency:
            return
        self.count += 1
        for variable in self.model.trainable_variables:
            value = np.asarray(variable.stored).astype(np.float64)
            mean = self._means.setdefault(variable.path, np.zeros_like(value))
            mean += (value - mean) / self.count

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the mean in the weights' place."""
        if not self.count:
            warnings.warn(
                f"StochasticWeightAveraging: training ended before epoch {self._start()} (counted from 0), the first "
                "that counts, so nothing was averaged. Lower start_epoch.",
                stacklevel=2,
            )
            return
        for variable in self.model.trainable_variables:
            if variable.path in self._means:
                variable.assign(self._means[variable.path])
        if self.data is not None:
            update_batch_normalization(self.model, self.data, self.batch_size)


def _batch_normalizations(model: Any) -> list[BatchNormalization]:
    """Those that learn moving statistics."""
    return [layer for layer in walk(model) if isinstance(layer, BatchNormalization) and layer.trainable]


def update_batch_normalization(model: Any, data: Any, batch_size: int = 32) -> None:
    """Sets the moving statistics of BatchNormalization to their means over the batches of `data`.

    Needed when weights come from elsewhere than from training, such as a mean of weights.

    Args:
        model: a built model.
        data: its inputs: arrays (nested in lists or dicts for several inputs), or batches x or (x, y).
        batch_size: samples a batch, for arrays.

    Raises:
        ValueError: there is no data.

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((1,)), layers.BatchNormalization()])
        >>> update_batch_normalization(model, np.array([[1.0], [3.0]], "float32"))
        >>> model.layers[0].moving_mean.numpy().tolist(), model.layers[0].moving_variance.numpy().tolist()
        ([2.0], [1.0])
    """
    layers = _batch_normalizations(model)
    variables = {v.path: v for layer in layers for v in layer.non_trainable_variables}
    if not variables:
        return

    def statistics(params: dict, state: dict, x: Any, number: Any) -> dict:
        key = jax.random.fold_in(jax.random.key(0), number)
        new = model.apply(params, state, x, training=True, rng=key)[1]
        return {path: new[path] for path in variables}

    params, state = model.params, model.state
    totals = {path: np.zeros(v.shape) for path, v in variables.items()}
    samples = 0
    past = [(layer, layer.momentum, layer.renorm_momentum) for layer in layers]
    try:
        for layer in layers:
            layer.momentum = layer.renorm_momentum = 0.0  # what is stored is then the batch's own
        compiled = jax.jit(statistics)
        for number, x in enumerate(_batches(data, batch_size)):
            size = len(jax.tree.leaves(x)[0])
            for path, value in compiled(params, state, x, np.int32(number)).items():
                totals[path] += size * np.asarray(value).astype(np.float64)
            samples += size
    finally:
        for layer, momentum, renorm_momentum in past:
            layer.momentum, layer.renorm_momentum = momentum, renorm_momentum
    if not samples:
        raise ValueError(f"update_batch_normalization: data has no batches, got {describe(data)}.")
    for path, variable in variables.items():
        variable.assign(totals[path] / samples)


def _batches(data: Any, size: int) -> Iterator[Any]:
    """The inputs of each batch."""
    arrays = jax.tree.leaves(data)
    pairs = isinstance(data, list) and any(isinstance(batch, tuple) for batch in data)
    if arrays and not pairs and all(hasattr(a, "shape") for a in arrays):
        for start in range(0, len(arrays[0]), size):
            yield jax.tree.map(lambda a: np.asarray(a[start : start + size]), data)  # noqa: B023 - used at once
        return
    indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    for batch in (data[i] for i in range(len(data))) if indexed else data:
        yield jax.tree.map(np.asarray, batch[0] if isinstance(batch, tuple) else batch)
