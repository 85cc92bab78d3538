"""Windows that slide over a time series, as a Dataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.datasets.dataset import Dataset
from lamina.datasets.elements import as_array
from lamina.datasets.nodes.timeseries import Windows
from lamina.datasets.spec import AUTOTUNE


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
) -> Dataset:
    """Windows of a time series, and the target that belongs to the first value of each.

    Window `k` holds `data[start_index + k * sequence_stride + j * sampling_rate]` for each `j` below `sequence_length`.

    Shape:
        windows `(batch, sequence_length, ...)`, targets `(batch, ...)`.

    Args:
        data: The series; the first axis is time.
        targets: `targets[i]` belongs to the window that starts at `data[i]`; None for windows alone.
        sequence_length: How many values a window has.
        sequence_stride: How far apart the starts of two windows are.
        sampling_rate: How far apart two values of a window are.
        batch_size: Windows in a batch; None for single windows.
        shuffle: Whether the windows come in another order each epoch.
        seed: Of the order.
        start_index: Values before this one are not used.
        end_index: Values from this one on are not used.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> windows = timeseries_dataset_from_array(np.arange(6), None, sequence_length=3, sequence_stride=2)
        >>> next(iter(windows))
        array([[0, 1, 2],
               [2, 3, 4]])
    """
    owner = "timeseries_dataset_from_array"
    series = as_array(data)
    values = None if targets is None else as_array(targets)
    first = 0 if start_index is None else check_int(owner, "start_index", start_index, 0)
    last = len(series) if end_index is None else check_int(owner, "end_index", end_index, first + 1)
    if first >= len(series) or last > len(series):
        raise ValueError(
            f"{owner}: start_index and end_index must lie within the {len(series)} values, got {first} and {last}."
        )
    length = check_int(owner, "sequence_length", sequence_length, 1)
    rate = check_int(owner, "sampling_rate", sampling_rate, 1)
    stride = check_int(owner, "sequence_stride", sequence_stride, 1)
    count = last - first - (length - 1) * rate
    if values is not None:
        count = min(count, len(values) - first)
    if count < 1:
        raise ValueError(
            f"{owner}: no window of sequence_length={length} at sampling_rate={rate} fits into {last - first} values."
        )
    dataset = Dataset(Windows(series, values, first + np.arange(0, count, stride), length, rate))
    if shuffle:
        dataset = dataset.shuffle(None, seed=seed)
    if batch_size is not None:
        dataset = dataset.batch(batch_size)
    return dataset.prefetch(AUTOTUNE)
