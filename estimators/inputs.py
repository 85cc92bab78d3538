"""Input of estimators: input functions, and what they return as a source of batches of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import describe, listing
from lamina.datasets import Dataset
from lamina.executor.feed import Chunk, IterableSource, Pass, Source, aligned_empty, device_dtype

HostSide = Callable[[Any, Any], tuple[Any, Any]]
"""`(features, labels) -> (features, labels)` of a batch: raw on the left, numbers on the right."""


def is_dataframe(x: Any) -> bool:
    """Whether `x` is a table with named columns."""
    return hasattr(x, "columns") and hasattr(x, "to_numpy")


def as_features(x: Any) -> Any:
    """Raw features: a DataFrame as a dict of arrays."""
    if is_dataframe(x):
        return {str(k): column_values(x[k]) for k in x.columns}
    return x


def column_values(column: Any) -> np.ndarray:
    """The values of a column of a DataFrame; what is missing in text becomes "" and -1 in categories of numbers."""
    values = column.to_numpy()
    if values.dtype.kind == "O":
        missing = np.array([v is None or v != v for v in values], bool)
        if missing.any():
            values = values.copy()
            values[missing] = ""
    return values


def split_element(element: Any, method: str) -> tuple[Any, Any]:
    """(features, labels) of what input_fn yields; labels may be None."""
    if isinstance(element, (tuple, list)) and not hasattr(element, "_fields"):
        if len(element) == 1:
            return element[0], None
        if len(element) != 2:
            raise ValueError(
                f"{method}: input_fn must yield features or (features, labels), got a tuple of {len(element)}."
            )
        return element[0], element[1]
    return element, None


def numeric(method: str, features: Any, labels: Any) -> tuple[Any, Any]:
    """Features and labels as arrays of numbers.

    Raises:
        TypeError: there is text among them.
    """

    def one(value: Any, what: str) -> Any:
        if isinstance(value, Mapping):
            return {k: one(v, f"{what}[{k!r}]") for k, v in value.items()}
        if isinstance(value, (tuple, list)) and any(hasattr(v, "shape") for v in value):
            return type(value)(one(v, f"{what}[{i}]") for i, v in enumerate(value))
        array = np.asarray(value)
        if array.dtype.kind in "OSU":
            raise TypeError(
                f"{method}: {what} holds text ({describe(array)}), which cannot enter a compiled step. Let feature "
                "columns in params turn it into ids (estimators.feature_column), or encode it in input_fn."
            )
        if array.ndim == 0:
            raise ValueError(f"{method}: {what} must be a batch of values, got {describe(value)}. Batch the Dataset.")
        return array

    return one(as_features(features), "features"), None if labels is None else one(labels, "labels")


class Epochs(Pass):
    """Passes over a source one after another.

    Args:
        source: the source.
        count: how many; None for no end.
    """

    def __init__(self, source: Source, count: int | None = 1):
        self.source, self.count = source, count
        self.number = 0
        self.now: Pass | None = None if count == 0 else source.epoch(0)

    def peek(self) -> Any:
        """The shapes of the next batch; None at the end."""
        while self.now is not None:
            head = self.now.peek()
            if head is not None:
                return head
            self.number += 1
            if self.count is not None and self.number >= self.count:
                self.now = None
                return None
            fresh = self.source.epoch(self.number)
            if fresh.peek() is None:  # used up, or empty
                self.now = None
                return None
            self.now = fresh
        return None

    def take(self, steps: int, capacity: int) -> Chunk:
        """The next batches."""
        if self.now is None:
            raise StopIteration
        return self.now.take(steps, capacity)


class Stream(Pass):
    """Batches of one size over arrays in memory, pass after pass: what one pass leaves begins the next batch.

    So one compiled program serves all, and a call of it may reach from one pass into the next.

    Args:
        data: a structure of arrays with one length.
        batch_size: samples a batch.
        epochs: passes over the data.
        seed: of the order of each pass; None for the order in which the samples lie.
    """

    def __init__(self, data: Any, batch_size: int, epochs: int, seed: int | None):
        self._leaves, self._tree = jax.tree.flatten(data)
        self._rows = len(self._leaves[0])
        self._size = min(batch_size, self._rows)
        self._seed = seed
        self._left = max(1, self._rows * epochs // self._size)
        self._number = 0
        self._order = np.zeros(0, np.int64)
        self.per_pass = -(-self._rows // self._size)

    def peek(self) -> Any:
        """The shapes of the next batch; None at the end."""
        if self._left <= 0:
            return None
        return [
            np.broadcast_to(np.zeros((), device_dtype(a.dtype)), (self._size, *a.shape[1:])) for a in self._leaves
        ], self._tree

    def _next(self, count: int) -> np.ndarray:
        """The numbers of the next samples."""
        parts, have = [self._order], len(self._order)
        while have < count:
            if self._seed is None:
                order = np.arange(self._rows)
            else:
                order = np.random.default_rng((self._seed, self._number)).permutation(self._rows)
            self._number += 1
            parts.append(order)
            have += self._rows
        whole = np.concatenate(parts) if len(parts) > 1 else parts[0]
        self._order = whole[count:]
        return whole[:count]

    def take(self, steps: int, capacity: int) -> Chunk:
        """The next batches."""
        steps = min(steps, self._left)
        self._left -= steps
        rows = self._next(steps * self._size)
        arrays = []
        for a in self._leaves:
            lead = (capacity, self._size) if capacity > 1 else (self._size,)
            out = aligned_empty((*lead, *a.shape[1:]), device_dtype(a.dtype))
            flat = out.reshape(-1, *a.shape[1:])[: len(rows)]
            if a.dtype == out.dtype and a.flags.c_contiguous:
                np.take(a, rows, axis=0, out=flat, mode="clip")
            else:
                flat[...] = a[rows]
            arrays.append(out)
        return Chunk(arrays, self._tree, steps)


class OnePass(Source):
    """A pass as a source, for one epoch.

    Args:
        batches: the pass.
    """

    def __init__(self, batches: Pass):
        self._batches = batches

    def epoch(self, number: int) -> Pass:
        """The pass."""
        return self._batches

    def spec(self) -> Any:
        """The first batch, as arrays with its shapes."""
        return self._batches.peek()


class Batches:
    """The batches of an input function as numbers.

    Args:
        method: how errors name the caller.
        given: what input_fn returned.
        host: turns raw batches into numbers.
        labels: whether labels are wanted; otherwise they are dropped.
    """

    def __init__(self, method: str, given: Any, host: HostSide, labels: bool = True):
        self.method, self.given, self.host, self.labels = method, given, host, labels

    def __iter__(self) -> _NumericBatches:
        return _NumericBatches(self)

    def convert(self, element: Any) -> tuple[Any, Any, None]:
        """A batch as numbers, or several joined to one: the host's work on a sample asks nothing of its neighbours."""
        features, labels = split_element(element, self.method)
        features, labels = self.host(features, labels if self.labels else None)
        return features, labels, None

    def source(self) -> Source:
        """The source."""
        return BatchSource(self)


class _NumericBatches:
    """An iterator over the batches of an input function as numbers."""

    def __init__(self, batches: Batches):
        self._convert, self._raw = batches.convert, iterate(batches.method, batches.given)

    def __iter__(self) -> _NumericBatches:
        return self

    def __next__(self) -> tuple[Any, Any, None]:
        return self._convert(next(self._raw))

    def next_batches(self, limit: int) -> tuple[int, Any] | None:
        """See `lamina.datasets.DatasetIterator`."""
        draw = getattr(self._raw, "next_batches", None)
        drawn = None if draw is None else draw(limit)
        return None if drawn is None else (drawn[0], self._convert(drawn[1]))


class BatchSource(IterableSource):
    """Batches that are numbers already."""

    def __init__(self, batches: Batches):
        super().__init__(batches, _check_batch)


def _check_batch(batch: Any) -> Any:
    lengths = {len(a) for a in jax.tree.leaves(batch)}
    if len(lengths) > 1:
        features, labels, _ = batch
        shown = [f"features {np.shape(a)}" for a in jax.tree.leaves(features)]
        shown += [f"labels {np.shape(a)}" for a in jax.tree.leaves(labels)]
        raise ValueError(f"input_fn: features and labels of a batch must have one length, got {', '.join(shown)}.")
    return batch


def iterate(method: str, given: Any) -> Iterator[Any]:
    """The elements of what input_fn returned: a Dataset, an iterable of batches, or one batch."""
    if isinstance(given, Dataset) or (hasattr(given, "__iter__") and not _is_batch(given)):
        return iter(given)
    if _is_batch(given):
        return iter([given])
    raise TypeError(
        f"{method}: input_fn must return a Dataset, an iterable of batches, or (features, labels), got "
        f"{describe(given)}."
    )


def _is_batch(given: Any) -> bool:
    if isinstance(given, (Mapping, np.ndarray, jax.Array)) or is_dataframe(given):
        return True
    return isinstance(given, (tuple, list))


def numpy_input_fn(
    x: Any,
    y: Any = None,
    batch_size: int = 128,
    num_epochs: int | None = 1,
    shuffle: bool | None = None,
    queue_capacity: int = 1000,
    num_threads: int = 1,
    seed: int | None = None,
) -> Callable[[], Dataset]:
    """An input function over arrays.

    Args:
        x: an array, or a dict of arrays by feature.
        y: labels: an array, or a dict of arrays; None for predicting.
        batch_size: samples a batch; the last may be short.
        num_epochs: passes over the data; None for no end.
        shuffle: whether each pass has an order of its own; it must be said.
        queue_capacity: how many samples are shuffled at a time at least.
        num_threads: taken for TensorFlow's sake.
        seed: the seed of the orders.

    Raises:
        ValueError: shuffle is not said, or lengths differ.

    Example:
        >>> input_fn = numpy_input_fn({"x": np.arange(4.0)}, np.arange(4.0), batch_size=2, shuffle=False)
        >>> [labels.tolist() for _, labels in input_fn()]
        [[0.0, 1.0], [2.0, 3.0]]
    """
    if not isinstance(shuffle, bool):
        raise ValueError(
            f"numpy_input_fn: shuffle must be True (to train) or False (to evaluate and predict), got {shuffle!r}."
        )
    check_int("numpy_input_fn", "batch_size", batch_size, 1)
    if num_epochs is not None:
        check_int("numpy_input_fn", "num_epochs", num_epochs, 1)
    if isinstance(x, Mapping) and not x:
        raise ValueError("numpy_input_fn: x must have at least one feature, got an empty dict.")
    if isinstance(y, Mapping) and not y:
        raise ValueError("numpy_input_fn: y must have at least one label, got an empty dict. None means no labels.")
    if isinstance(x, Mapping) and isinstance(y, Mapping) and set(x) & set(y):
        raise ValueError(
            f"numpy_input_fn: x and y must have different keys, both have {listing(set(x) & set(y), 'and')}."
        )
    features = {k: np.asarray(v) for k, v in x.items()} if isinstance(x, Mapping) else np.asarray(x)
    labels = (
        {k: np.asarray(v) for k, v in y.items()} if isinstance(y, Mapping) else None if y is None else np.asarray(y)
    )
    lengths = {k: len(v) for k, v in features.items()} if isinstance(features, dict) else {"x": len(features)}
    if labels is not None:
        lengths.update({k: len(v) for k, v in labels.items()} if isinstance(labels, dict) else {"y": len(labels)})
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{k}: {n}" for k, n in lengths.items())
        raise ValueError(f"numpy_input_fn: all arrays must have one length, got {shown}.")
    rows = next(iter(lengths.values()))

    def input_fn() -> Dataset:
        data = Dataset.from_tensor_slices(features if labels is None else (features, labels))
        if shuffle:
            data = data.shuffle(max(rows, queue_capacity), seed=seed)
        return data.repeat(num_epochs).batch(batch_size)

    return input_fn


def pandas_input_fn(
    x: Any,
    y: Any = None,
    batch_size: int = 128,
    num_epochs: int | None = 1,
    shuffle: bool | None = None,
    queue_capacity: int = 1000,
    num_threads: int = 1,
    target_column: str = "target",
) -> Callable[[], Dataset]:
    """An input function over a DataFrame; its columns are the features.

    Args:
        x: a DataFrame.
        y: a Series, or a DataFrame of several labels; None for predicting.
        batch_size: samples a batch; the last may be short.
        num_epochs: passes over the data; None for no end.
        shuffle: whether each pass has an order of its own; it must be said.
        queue_capacity: how many samples are shuffled at a time at least.
        num_threads: taken for TensorFlow's sake.
        target_column: a name that no column of x may have, if there are labels.

    Raises:
        ValueError: shuffle is not said, or the indices of x and y differ.
    """
    if not is_dataframe(x):
        raise TypeError(f"pandas_input_fn: x must be a DataFrame, got {describe(x)}. numpy_input_fn takes arrays.")
    if y is not None and hasattr(y, "index") and not x.index.equals(y.index):
        raise ValueError("pandas_input_fn: x and y must have the same index. Reset both, or select the same rows.")
    labels = None
    if y is not None:
        labels = as_features(y) if is_dataframe(y) else column_values(y)
    if y is not None and target_column in x.columns:
        raise ValueError(f"pandas_input_fn: x has a column {target_column!r}; drop it, since y holds the labels.")
    return numpy_input_fn(as_features(x), labels, batch_size, num_epochs, shuffle, queue_capacity)


def check_features(method: str, features: Any, wanted: list[str]) -> None:
    """Checks that features come by name.

    Raises:
        TypeError: they do not.
    """
    if not isinstance(features, Mapping):
        raise TypeError(
            f"{method}: features must be a dict by name, since feature columns read {listing(wanted[:6], 'and')}, got "
            f"{describe(features)}."
        )
