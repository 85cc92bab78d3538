"""TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from lamina.callbacks.callback import Callback
from lamina.core.checks import check_int
from lamina.core.errors import describe
from lamina.summary.graph import conceptual_graph, model_graph
from lamina.summary.projector import Projector
from lamina.summary.writer import SummaryWriter


class TensorBoard(Callback):
    """Writes what TensorBoard shows: `tensorboard --logdir logs`.

    Training is the run `train`, validation the run `validation`. Tags are Keras': `epoch_loss`, `batch_loss`,
    `epoch_learning_rate`, `evaluation_loss_vs_iterations`. Each number is in the file when its epoch or chunk of
    batches ends. Logs that are no single number are left out.

    Args:
        log_dir: the folder; take a new one for each run to be compared, such as `logs/second`.
        histogram_freq: the number of epochs from one histogram of all weights to the next; 0 for none.
        write_graph: whether the graph of the layers is written.
        write_images: whether weights are drawn too where histograms are written: dark is the smallest element.
        write_steps_per_second: whether the speed is written, of epochs and of batches.
        update_freq: "epoch"; or "batch", or a number of batches, to write the logs of batches too. Batches still run
            many a call.
        profile_batch: the number (from 1) of a batch, or the first and the last as (10, 20) or "10,20", to record for
            the profiler; 0 for none.
        embeddings_freq: the number of epochs after which the weights of Embedding layers are written for the
            projector; 0 for never.
        embeddings_metadata: the file with the labels of the rows of embeddings; by layer name, if there are several.

    Attributes:
        train_writer: the `SummaryWriter` of the training run, for what else you want to write.
        validation_writer: that of the validation run.

    Raises:
        ValueError: an argument is out of range, or `embeddings_metadata` names no Embedding layer (when fit starts).

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((1,)), layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> folder, x = tempfile.mkdtemp(), np.ones((4, 1), "float32")
        >>> history = model.fit(x, x, epochs=2, verbose=0, validation_data=(x, x), callbacks=[TensorBoard(folder)])
        >>> sorted(os.listdir(folder))
        ['train', 'validation']

    Reference:
        https://www.tensorflow.org/tensorboard
    """

    needs_live_state = False

    def __init__(
        self,
        log_dir: str | os.PathLike = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: int | str | tuple[int, int] = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: str | dict[str, str] | None = None,
    ):
        super().__init__()
        owner = "TensorBoard"
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = check_int(owner, "histogram_freq", histogram_freq or 0, 0)
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        if isinstance(update_freq, str) and update_freq not in ("epoch", "batch"):
            raise ValueError(
                f"{owner}: update_freq must be 'epoch', 'batch' or a number of batches, got {update_freq!r}."
            )
        freq = 1 if update_freq == "batch" else update_freq
        self.update_freq = freq if isinstance(freq, str) else check_int(owner, "update_freq", freq, 1)
        self.embeddings_freq = check_int(owner, "embeddings_freq", embeddings_freq or 0, 0)
        self.embeddings_metadata = embeddings_metadata
        self.train_writer = SummaryWriter(os.path.join(self.log_dir, "train"))
        self.validation_writer = SummaryWriter(os.path.join(self.log_dir, "validation"))
        self._profiled = _batches_to_profile(profile_batch)
        self._recording = self._training = False
        self._projector: Projector | None = None
        self._reset()

    def _reset(self) -> None:
        self._done = 0  # batches of the epochs that have ended
        self._done_in_epoch = 0
        self._waiting: list[tuple[int, float, dict[str, Any]]] = []
        self._last = self._epoch_began = (0, time.perf_counter())
        self._to_record = self._profiled is not None

    def overrides(self, *hooks: str) -> bool:
        """Whether a hook does anything: that of batches does not, with `update_freq="epoch"`."""
        if self.update_freq == "epoch":
            own = TensorBoard.on_train_batch_end
            hooks = tuple(h for h in hooks if getattr(type(self), h, None) is not own)
        return super().overrides(*hooks)

    # ---- state of a run

    def get_state(self) -> dict[str, Any]:
        """How many batches there were, which batch logs are numbered by."""
        return {"done": self._done, "done_in_epoch": self._done_in_epoch}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues the numbers of batches."""
        self._done, self._done_in_epoch = int(state["done"]), int(state["done_in_epoch"])
        self._last = self._epoch_began = (self._done_in_epoch, time.perf_counter())
        if self._profiled is not None and self._done + self._done_in_epoch >= self._profiled[1]:
            self._to_record = False

    # ---- hooks

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Writes the graph."""
        self._reset()
        self._stop_recording()
        self._training = True
        if self.embeddings_freq:
            self._projector = Projector(self.log_dir, self.model, self.embeddings_metadata)
        if self.write_graph:
            graph = conceptual_graph(self.model)
            if graph is not None:
                self.train_writer.conceptual_graph(graph)
            self.train_writer.graph(model_graph(self.model))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes when the epoch began."""
        self._epoch_began = self._last = (self._done_in_epoch, time.perf_counter())
        self._record(self._done + self._done_in_epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the logs of the batch, if they are to be written."""
        step = self._done + batch + 1
        if self.update_freq != "epoch" and step % self.update_freq == 0:  # type: ignore[operator]
            self._waiting.append((step, time.time(), _numbers(logs)))

    def next_boundary(self, kind: str, done: int) -> int | None:
        """Where a recording of the profiler begins or ends."""
        if kind != "train" or not (self._recording or self._to_record):
            return None
        first, last = self._profiled  # type: ignore[misc]
        boundary = (last if self._recording else first - 1) - self._done
        return boundary if boundary > done else None

    def on_progress(self, kind: str, done: int, logs: Any) -> None:
        """Writes the logs noted since the last chunk of batches."""
        if kind != "train":
            return
        before, then = self._last
        self._last = now = (done, time.perf_counter())
        self._done_in_epoch = done
        for step, wall_time, numbers in self._waiting:
            values = {f"batch_{name}": value for name, value in numbers.items()}
            if self.write_steps_per_second:  # batches of one call: their mean
                values["batch_steps_per_second"] = (done - before) / max(now[1] - then, 1e-9)
            self.train_writer.scalars(values, step, wall_time)
        self._waiting.clear()
        if self._recording or self._to_record:
            self._record(self._done + done, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the logs of the epoch, histograms, images and embeddings."""
        numbers = _numbers(logs)
        train = {f"epoch_{k}": v for k, v in numbers.items() if not k.startswith("val_")}
        train.update((f"epoch_{k}", v) for k, v in _learning_rates(self.model.optimizer))
        if self.write_steps_per_second:
            batches, (before, then) = self._last[0], self._epoch_began
            train["epoch_steps_per_second"] = (batches - before) / max(time.perf_counter() - then, 1e-9)
        self.train_writer.scalars(train, epoch)
        validation = {f"epoch_{k[4:]}": v for k, v in numbers.items() if k.startswith("val_")}
        if validation:
            self.validation_writer.scalars(validation, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self._projector is not None and epoch % self.embeddings_freq == 0:
            self._projector.write()
        self._done += self._done_in_epoch
        self._done_in_epoch = 0

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Writes the result over the number of updates."""
        iterations = getattr(self.model.optimizer, "iterations", None)
        if iterations is not None:
            values = {f"evaluation_{name}_vs_iterations": value for name, value in _numbers(logs).items()}
            self.validation_writer.scalars(values, int(np.asarray(iterations)))
        if not self._training:
            self.validation_writer.close()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Sees to it that all is on the disk."""
        self.on_train_exit()

    def on_train_exit(self) -> None:
        """Closes the files, after an error too."""
        self._stop_recording()
        self._training = False
        for writer in (self.train_writer, self.validation_writer):
            writer.flush()
            writer.close()

    # ---- what is written

    def _write_weights(self, epoch: int) -> None:
        for variable in self.model.weights:
            value = np.asarray(variable.stored)
            self.train_writer.histogram(f"{variable.path}/histogram", value, epoch)
            if self.write_images:
                image = _as_image(value)
                if image is not None:
                    self.train_writer.image(f"{variable.path}/image", image, epoch)

    def _record(self, done: int, logs: Any = None) -> None:
        """Begins or ends the recording of the profiler, `done` batches into the run."""
        if self._recording:
            if done >= self._profiled[1]:  # type: ignore[index]
                if logs is not None:
                    logs.wait()
                self._stop_recording()
        elif self._to_record and done >= self._profiled[0] - 1:  # type: ignore[index]
            self._to_record = False
            os.makedirs(self.train_writer.logdir, exist_ok=True)
            jax.profiler.start_trace(self.train_writer.logdir)
            self._recording = True

    def _stop_recording(self) -> None:
        if self._recording:
            self._recording = False
            jax.profiler.stop_trace()


def _numbers(logs: dict[str, Any] | None) -> dict[str, float]:
    """The logs that are single numbers."""
    return {k: v for k, v in (logs or {}).items() if np.ndim(v) == 0 and not isinstance(v, str)}


def _learning_rates(optimizer: Any) -> Iterable[tuple[str, float]]:
    """The learning rate by name; one for each optimizer, if there are several."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    several = getattr(optimizer, "optimizers", None)
    for name, one in [(f"_{o.name}", o) for o in several] if several else [("", optimizer)]:
        rate = getattr(one, "learning_rate", None)
        if rate is not None:
            yield f"learning_rate{name}", float(np.asarray(rate))


def _as_image(value: np.ndarray) -> np.ndarray | None:
    """A weight as gray images (count, height, width, 1) from 0 to 1; None if it has no such form."""
    value = np.atleast_2d(np.squeeze(value).astype(np.float32))
    if value.ndim == 2 and value.shape[0] > value.shape[1]:  # lying down, it needs less of the page
        value = value.T
    elif value.ndim == 3:
        value = np.moveaxis(value, -1, 0)
    elif value.ndim == 4:  # a kernel of a convolution: an image for each pair of channels
        value = value.transpose(3, 2, 0, 1)
    if value.ndim > 4 or not value.size:
        return None
    low, high = np.min(value), np.max(value)
    value = (value - low) / (high - low) if high > low else np.zeros_like(value)
    return value.reshape(-1, *value.shape[-2:], 1)


def _batches_to_profile(value: Any) -> tuple[int, int] | None:
    """The first and the last batch to record; None for none."""
    parts: Any = value.split(",") if isinstance(value, str) else value
    try:
        first, last = (parts, parts) if isinstance(parts, int) else map(int, parts)
        if 0 <= first <= last:
            return (max(first, 1), last) if last else None
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"TensorBoard: profile_batch must be 0, the number of a batch, or the first and the last as (10, 20) or "
        f"'10,20', got {describe(value)}."
    )
