"""What users give `fit`, `evaluate` and `predict`, as a source of batches (x, y, sample_weight)."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from lamina.core.errors import ShapeError, describe
from lamina.executor.feed import ArraySource, IterableSource, Source, as_arrays
from lamina.training.py_dataset import PyDataset, PyDatasetBatches


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """(x, y, sample_weight) of what `train_step` gets; what is missing is None.

    Example:
        >>> unpack_x_y_sample_weight((1, 2))
        (1, 2, None)
    """
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(f"A batch must be x, (x, y) or (x, y, sample_weight), got a tuple of {len(data)}.")
    return (*data, *([None] * (3 - len(data))))


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """The reverse of `unpack_x_y_sample_weight`.

    Example:
        >>> pack_x_y_sample_weight(1, 2)
        (1, 2)
    """
    if y is None:
        return x if not isinstance(x, (tuple, list)) else (x,)
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def is_batches(x: Any) -> bool:
    """Whether `x` yields batches, rather than being data itself."""
    if isinstance(x, PyDataset):
        return True
    if isinstance(x, (list, tuple, dict, str, bytes, np.ndarray, jax.Array)):
        return False
    if hasattr(x, "to_numpy") or hasattr(x, "detach") or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__iter__") or hasattr(x, "__next__") or callable(x)


def check_lengths(method: str, named: list[tuple[str, Any]]) -> int:
    """The common length of all arrays.

    Raises:
        ValueError: they differ, or there is none; the message lists them.
    """
    lengths = []
    for name, structure in named:
        for leaf in jax.tree.leaves(structure):
            if leaf.ndim == 0:
                raise ShapeError(f"{method}: {name} must be an array of samples, got a single number.")
            lengths.append((name, leaf.shape))
    if not lengths:
        raise ValueError(f"{method}: x must be data, got {describe(named[0][1])}.")
    if len({shape[0] for _, shape in lengths}) > 1:
        text = ", ".join(f"{name} {shape[0]} (shape {shape})" for name, shape in lengths)
        raise ValueError(f"{method}: all arrays must have the same number of samples, got {text}.")
    if lengths[0][1][0] == 0:
        raise ValueError(f"{method}: x is empty: it has shape {lengths[0][1]}. Give at least one sample.")
    return lengths[0][1][0]


def class_weights(method: str, y: Any, weights: dict[int, float], sample_weight: Any) -> np.ndarray:
    """Sample weights out of the weights of classes, by integer or one-hot labels."""
    leaves = jax.tree.leaves(y)
    if len(leaves) != 1:
        raise ValueError(f"{method}: class_weight needs one output with labels, got {len(leaves)}. Use sample_weight.")
    if not isinstance(weights, dict):
        raise TypeError(
            f"{method}: class_weight must be a dict from class number to weight, got {describe(weights)}. "
            "Such as {0: 1.0, 1: 2.5}."
        )
    labels = leaves[0]
    if labels.ndim > 1:
        labels = labels.argmax(-1) if labels.shape[-1] > 1 else labels[..., 0]
    labels = np.round(labels).astype(np.int64)
    result = np.ones(labels.shape, np.float32)
    for label, weight in weights.items():
        result[labels == int(label)] = weight
    return result if sample_weight is None else result * np.asarray(sample_weight, np.float32)


def make_source(
    method: str,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    shuffle: bool = False,
    class_weight: Any = None,
    seed: int = 0,
) -> Source:
    """A source of batches (x, y, sample_weight) out of arrays or an iterable of batches.

    Args:
        method: how errors name the caller.
        x: arrays in any structure, an iterable, generator or PyDataset of batches, or a Source.
        y: targets, for arrays.
        sample_weight: weights, for arrays.
        batch_size: samples a batch, for arrays; 32 if None.
        shuffle: whether each epoch has an order of its own.
        class_weight: a dict from class number to weight.
        seed: the seed of the orders.
    """
    if isinstance(x, Source):
        return x
    if is_batches(x):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise ValueError(
                    f"{method}: {name} must be left out when x yields batches; yield (x, y, sample_weight) instead."
                )
        if batch_size is not None:
            raise ValueError(f"{method}: batch_size must be left out when x yields batches; they have their own size.")
        return _iterable_source(method, x, shuffle, class_weight, seed)
    if x is None:
        raise ValueError(f"{method}: x must be data, got None.")
    if batch_size is None:
        batch_size = 32
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"{method}: batch_size must be an integer of at least 1, got {batch_size!r}.")
    x, y, sample_weight = as_arrays(x, "x"), as_arrays(y, "y"), as_arrays(sample_weight, "sample_weight")
    check_lengths(method, [("x", x), ("y", y), ("sample_weight", sample_weight)])
    if class_weight is not None:
        sample_weight = class_weights(method, y, class_weight, sample_weight)
    return ArraySource((x, y, sample_weight), int(batch_size), bool(shuffle), seed)


def _iterable_source(method: str, x: Any, shuffle: bool, class_weight: Any, seed: int) -> Source:
    def convert(batch: Any) -> tuple:
        if isinstance(batch, list) and len(batch) in (2, 3) and all(hasattr(b, "shape") for b in batch):
            batch = tuple(batch)  # torch's DataLoader collates (x, y) to a list
        if isinstance(batch, tuple) and not 1 <= len(batch) <= 3:
            raise ValueError(
                f"{method}: each batch must be x, (x, y) or (x, y, sample_weight), got a tuple of {len(batch)}."
            )
        bx, by, bw = unpack_x_y_sample_weight(batch) if isinstance(batch, tuple) else (batch, None, None)
        bx, by, bw = as_arrays(bx, "x"), as_arrays(by, "y"), as_arrays(bw, "sample_weight")
        check_lengths(method, [("x", bx), ("y", by), ("sample_weight", bw)])
        if class_weight is not None:
            bw = class_weights(method, by, class_weight, bw)
        return bx, by, bw

    if isinstance(x, PyDataset):
        batches = PyDatasetBatches(x, shuffle, seed)
        length = x.num_batches
        return IterableSource(batches, convert, None if length is None or math.isinf(length) else int(length))
    return IterableSource(x, convert)


def split_validation(method: str, data: tuple, fraction: float) -> tuple[tuple, tuple]:
    """(training, validation) parts of (x, y, sample_weight): the last `fraction` of the samples validates.

    Raises:
        ValueError: the data yields batches, or a part would be empty.
    """
    if is_batches(data[0]):
        raise ValueError(f"{method}: validation_split needs arrays. For batches, pass validation_data=.")
    if not 0 < fraction < 1:
        raise ValueError(f"{method}: validation_split must be a number between 0 and 1, got {fraction!r}.")
    arrays = tuple(as_arrays(part, name) for part, name in zip(data, ("x", "y", "sample_weight"), strict=True))
    rows = check_lengths(method, list(zip(("x", "y", "sample_weight"), arrays, strict=True)))
    cut = math.floor(rows * (1.0 - fraction))
    if cut == 0 or cut == rows:
        raise ValueError(f"{method}: validation_split={fraction} of {rows} samples leaves one part empty.")

    def part(rows: slice) -> tuple:
        return tuple(jax.tree.map(lambda a: a[rows], structure) for structure in arrays)

    return part(slice(None, cut)), part(slice(cut, None))


def check_validation_data(data: Any) -> tuple:
    """(x, y, sample_weight) out of `validation_data`."""
    if is_batches(data):
        return (data, None, None)
    if isinstance(data, (tuple, list)) and len(data) in (2, 3):
        return (*data, *([None] * (3 - len(data))))
    raise ValueError(
        "fit: validation_data must be (x, y), (x, y, sample_weight) or an iterable of batches, got "
        f"{describe(data) if not isinstance(data, (tuple, list)) else f'{len(data)} values'}."
    )


__all__ = [
    "make_source",
    "pack_x_y_sample_weight",
    "split_validation",
    "unpack_x_y_sample_weight",
]
