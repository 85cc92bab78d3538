"""SummaryWriter: writes an event file."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Self

import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import ShapeError, describe
from lamina.summary.png import encode_png
from lamina.wire.event import Event, PluginData, Summary, SummaryMetadata, SummaryValue
from lamina.wire.tensor import NUMBERS, STRING, TensorProto, shape_proto
from lamina.wire.tfrecord import RecordWriter

# What the numbers of `data_class` stand for.
_UNKNOWN, _SCALAR, _TENSOR, _BLOBS = range(4)


class SummaryWriter:
    """Writes scalars, histograms, images, texts and graphs that TensorBoard shows.

    The file `events.out.tfevents.<seconds>.<host>.<process>.<number>.v2` appears in the folder with the first thing
    written. All that is written is with the operating system when a method returns, so that a process that is killed
    loses nothing. A writer that was closed starts another file when it is used again.

    Args:
        logdir: the folder, made if there is none. TensorBoard takes each folder for a run.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with SummaryWriter(folder) as writer:
        ...     for step in range(3):
        ...         writer.scalar("loss", 1 / (1 + step), step)
        ...     writer.histogram("weights", np.linspace(0, 1, 100), step=2)
        >>> len(os.listdir(folder))
        1

    Reference: https://www.tensorflow.org/tensorboard/get_started
    """

    def __init__(self, logdir: str | os.PathLike):
        self.logdir = os.fspath(logdir)
        self.path: str | None = None
        self._file: BinaryIO | None = None

    # ---- what can be written

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Writes a number.

        Args:
            tag: its name; names with the same part before the first slash are shown together.
            value: the number.
            step: where it stands on the horizontal axis.
        """
        self.scalars({tag: value}, step)

    def scalars(self, values: Mapping[str, Any], step: int, wall_time: float | None = None) -> None:
        """Writes several numbers by tag, of one step.

        Args:
            values: the numbers.
            step: their step.
            wall_time: when they were, in seconds since 1970; by default now.

        Raises:
            TypeError: one of them is no number.
        """
        found = []
        for tag, value in values.items():
            try:
                number = np.float32(np.asarray(value).reshape(()))
            except (TypeError, ValueError):
                raise TypeError(f"SummaryWriter: scalar '{tag}' must be a number, got {describe(value)}.") from None
            found.append(_value(tag, "scalars", _SCALAR, np.asarray(number)))
        self._write(step, wall_time, summary=Summary(value=found))

    def histogram(self, tag: str, values: Any, step: int, buckets: int = 30) -> None:
        """Writes how values are distributed; those that are not finite are left out.

        Args:
            tag: its name.
            values: an array of numbers.
            step: its step.
            buckets: the number of intervals.
        """
        check_int("SummaryWriter.histogram", "buckets", buckets, 1)
        self._write(step, summary=Summary(value=[_value(tag, "histograms", _TENSOR, _histogram(values, buckets))]))

    def image(self, tag: str, images: Any, step: int, max_outputs: int = 3) -> None:
        """Writes images.

        Args:
            tag: their name.
            images: one (height, width, channels), or several (count, height, width, channels), with 1 (gray) to 4
                (RGB, alpha) channels; uint8, or floats from 0 to 1, which are cut to that range.
            step: their step.
            max_outputs: the most images to write.

        Raises:
            ShapeError: the array is no image.
        """
        check_int("SummaryWriter.image", "max_outputs", max_outputs, 1)
        array = np.asarray(images)
        array = array[None] if array.ndim == 3 else array
        if array.ndim != 4 or array.shape[-1] not in (1, 2, 3, 4) or 0 in array.shape:
            raise ShapeError(
                f"SummaryWriter: image '{tag}' must have shape (height, width, channels) or (count, height, width, "
                f"channels) with 1 to 4 channels, got {describe(images)}. x[..., None] adds a channel axis."
            )
        array = array[:max_outputs]
        if array.dtype != np.uint8:
            array = np.round(np.clip(np.nan_to_num(array.astype(np.float32)), 0, 1) * 255).astype(np.uint8)
        _, height, width, _ = array.shape
        strings = [str(width).encode(), str(height).encode(), *map(encode_png, array)]
        self._write(step, summary=Summary(value=[_value(tag, "images", _BLOBS, strings)]))

    def text(self, tag: str, text: str | Sequence[str], step: int) -> None:
        """Writes a text, shown as Markdown, or a list of texts, shown as a table."""
        strings = [t.encode() for t in ([text] if isinstance(text, str) else text)]
        shape = () if isinstance(text, str) else None
        self._write(step, summary=Summary(value=[_value(tag, "text", _TENSOR, strings, shape)]))

    def graph(self, graph_def: Any) -> None:
        """Writes a graph: a `GraphDef` message, such as `model_graph` makes, or the bytes of one."""
        data = graph_def if isinstance(graph_def, bytes) else graph_def.SerializeToString(deterministic=True)
        self._write(0, graph_def=data)

    def conceptual_graph(self, text: str, tag: str = "keras") -> None:
        """Writes the layers of a model, in the JSON that `lamina.summary.conceptual_graph` makes."""
        value = _value(tag, "graph_keras_model", _UNKNOWN, [text.encode()], (), b"1")
        self._write(0, summary=Summary(value=[value]))

    # ---- the file

    def _write(self, step: int, wall_time: float | None = None, **what: Any) -> None:
        event = Event(wall_time=time.time() if wall_time is None else wall_time, step=int(step), **what)
        if self._file is None:
            self._file = self._open()
        RecordWriter(self._file).write(event.SerializeToString())
        self._file.flush()

    def _open(self) -> BinaryIO:
        os.makedirs(self.logdir, exist_ok=True)
        seconds, host, number = int(time.time()), socket.gethostname(), 0
        while True:
            name = f"events.out.tfevents.{seconds:010d}.{host}.{os.getpid()}.{number}.v2"
            self.path = os.path.join(self.logdir, name)
            try:
                file = open(self.path, "xb")
                break
            except FileExistsError:  # of another writer, in the same second
                number += 1
        RecordWriter(file).write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        return file

    def flush(self) -> None:
        """Waits until all that was written is on the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:  # of a run that an error ended
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()


def _value(
    tag: str,
    plugin: str,
    data_class: int,
    tensor: np.ndarray | list[bytes],
    shape: tuple[int, ...] | None = None,
    content: bytes = b"",
) -> Any:
    """A value of a summary: a tensor, and which page of TensorBoard it is for."""
    shape = shape if shape is not None else np.shape(tensor) if isinstance(tensor, np.ndarray) else (len(tensor),)
    if isinstance(tensor, np.ndarray):
        proto = TensorProto(dtype=NUMBERS[tensor.dtype], tensor_shape=shape_proto(shape))
        proto.tensor_content = tensor.tobytes()
    else:
        proto = TensorProto(dtype=STRING, tensor_shape=shape_proto(shape), string_val=tensor)
    metadata = SummaryMetadata(plugin_data=PluginData(plugin_name=plugin, content=content), data_class=data_class)
    return SummaryValue(tag=str(tag), metadata=metadata, tensor=proto)


def _histogram(values: Any, buckets: int) -> np.ndarray:
    """Rows (left edge, right edge, count) of equally wide intervals."""
    array = np.asarray(values).astype(np.float64).reshape(-1)
    array = array[np.isfinite(array)]
    if not array.size:
        return np.zeros((buckets, 3))
    low, high = array.min(), array.max()
    edges = np.linspace(low, high, buckets + 1)
    if low == high:  # no width to divide: the last interval holds all
        counts = np.append(np.zeros(buckets - 1), array.size)
    else:
        index = ((array - low) / (high - low) * buckets).astype(np.int64)
        counts = np.bincount(np.minimum(index, buckets - 1), minlength=buckets)
    return np.stack([edges[:-1], edges[1:], counts], axis=1)
