"""The feed: user data, whatever its form, as chunks of batches in fresh, aligned numpy buffers.

jax uses an aligned numpy array where it lies and does not copy it, so a buffer that was handed over is never used
again; and a buffer of `capacity` batches of which one is filled costs no more than that one.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lamina.core.errors import describe
from lamina.core.settings import floatx

ALIGNMENT = 64


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised array whose memory starts at a multiple of 64 bytes, which jax takes without a copy."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def device_dtype(dtype: Any) -> np.dtype:
    """The dtype in which data goes to the device: the default float for float64, 32 bits for 64-bit integers."""
    dtype = np.dtype(dtype)
    if dtype == np.float64:
        return np.dtype(floatx() if floatx() != "bfloat16" else np.float32)
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype))


def as_array(x: Any, what: str) -> Any:
    """User data as a numpy array: arrays of any library, pandas, numbers, lists of numbers.

    Raises:
        TypeError: it cannot be one, or it holds text or objects.
    """
    if isinstance(x, jax.Array):
        return np.asarray(x)
    if hasattr(x, "detach") and hasattr(x, "numpy"):  # a torch tensor
        x = x.detach().cpu().numpy()
    elif hasattr(x, "to_numpy"):  # pandas, polars
        x = x.to_numpy()
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise TypeError(f"{what}: cannot be made into one array ({error}). Pad its rows to one length.") from None
    if array.dtype == object:
        try:
            array = array.astype(floatx())
        except (TypeError, ValueError):
            raise TypeError(
                f"{what}: expected numbers, got an array of dtype object with {describe(array.ravel()[:1].tolist())}. "
                "Turn its columns into numbers first; strings, by StringLookup, Hashing or TextVectorization in "
                "Dataset.map."
            ) from None
    if array.dtype.kind in "SU":
        raise TypeError(
            f"{what}: expected numbers, got text ({array.dtype}), which no compiled step takes. Map the strings to "
            "integers first: put StringLookup, Hashing or TextVectorization into the Dataset, as in dataset.map(lambda "
            "x, y: (layer(x), y)), or use numpy.unique(x, return_inverse=True)."
        )
    return array


def _is_number_list(x: Any) -> bool:
    while isinstance(x, (list, tuple)) and x:
        x = x[0]
    return isinstance(x, (int, float, bool, np.number))


def as_arrays(structure: Any, what: str) -> Any:
    """A structure of user data as a structure of numpy arrays; a list of numbers is one array."""
    if structure is None:
        return None
    if isinstance(structure, dict):
        return {k: as_arrays(v, f"{what}[{k!r}]") for k, v in structure.items()}
    if isinstance(structure, (list, tuple)) and not _is_number_list(structure):
        parts = [as_arrays(v, f"{what}[{i}]") for i, v in enumerate(structure)]
        return type(structure)(*parts) if hasattr(structure, "_fields") else type(structure)(parts)
    return as_array(structure, what)


class Chunk:
    """Some batches of equal shape: `arrays` stacked along a first axis where the capacity is over 1."""

    __slots__ = ("arrays", "tree", "steps")

    def __init__(self, arrays: list[np.ndarray], tree: Any, steps: int):
        self.arrays, self.tree, self.steps = arrays, tree, steps


class Source:
    """Data that can be gone through once an epoch.

    Attributes:
        batches: the number of batches an epoch, or None if unknown.
        rows: the number of samples an epoch, or None if unknown.
        checked: whether the targets have been checked already.
        restorable: whether the data can be gone back to a position without drawing all that comes before it.
    """

    batches: int | None = None
    rows: int | None = None
    checked: bool = False
    restorable: bool = True

    def epoch(self, number: int) -> Pass:
        """A pass over the data of epoch `number`."""
        raise NotImplementedError

    def spec(self) -> tuple[list[np.ndarray], Any]:
        """A first batch, for shapes and dtypes, without using it up."""
        raise NotImplementedError

    def get_state(self) -> dict[str, Any]:
        """The position in the data behind the last batch taken, as plain values."""
        raise NotImplementedError

    def set_state(self, state: dict[str, Any], number: int, taken: int) -> Pass | None:
        """Goes to a position that `get_state` told, in this process or another.

        Args:
            state: what `get_state` returned.
            number: the number of the pass.
            taken: the batches of the pass that were taken.

        Returns:
            The rest of the pass; None if it had not begun.

        Raises:
            ValueError: the state is of other data.
        """
        raise NotImplementedError


class Pass:
    """One pass over a source.

    Attributes:
        holding: whether a batch was drawn that is not taken yet, so that the source is ahead of the run.
    """

    holding: bool = False

    def peek(self) -> tuple[list[np.ndarray], Any] | None:
        """Arrays with the shapes of the next batch, and its structure; None at the end."""
        raise NotImplementedError

    def take(self, steps: int, capacity: int) -> Chunk:
        """The next batches of one shape, at most `steps`."""
        raise NotImplementedError


class ArraySource(Source):
    """Arrays in memory, gathered batch by batch; an order drawn from (seed, epoch) when shuffled.

    Args:
        data: a structure of numpy arrays with one length.
        batch_size: samples a batch; the last may be short.
        shuffle: whether each epoch has an order of its own.
        seed: the seed of these orders.

    Raises:
        ValueError: the arrays differ in length, or are empty.
    """

    def __init__(self, data: Any, batch_size: int, shuffle: bool, seed: int):
        self.leaves, self.tree = jax.tree.flatten(data)
        self.rows: int = len(self.leaves[0])
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.batches = -(-self.rows // batch_size)

    def order(self, epoch: int) -> np.ndarray | None:
        """The order of the samples in an epoch, or None for that in which they lie."""
        if not self.shuffle:
            return None
        return np.random.default_rng((self.seed, epoch)).permutation(self.rows)

    def epoch(self, number: int) -> Pass:
        """A pass over the data of epoch `number`."""
        return _ArrayPass(self, self.order(number))

    def spec(self) -> tuple[list[np.ndarray], Any]:
        """A first batch."""
        return [a[: self.batch_size] for a in self.leaves], self.tree

    def get_state(self) -> dict[str, Any]:
        """The seed of the orders, and the sizes that they belong to."""
        return {"seed": self.seed, "rows": self.rows, "batch_size": self.batch_size, "shuffle": self.shuffle}

    def set_state(self, state: dict[str, Any], number: int, taken: int) -> Pass | None:
        """Goes to a batch of a pass."""
        own = self.get_state()
        for key, what in (("rows", "samples"), ("batch_size", "samples a batch"), ("shuffle", "as shuffle")):
            if taken and state.get(key) != own[key]:
                raise ValueError(
                    f"fit: the run was saved in the middle of an epoch over other data: {state.get(key)} {what} then, "
                    f"{own[key]} now. Give the same data, or start in another folder."
                )
        self.seed = state["seed"]
        if not taken:
            return None
        rest = _ArrayPass(self, self.order(number))
        rest.position = min(taken * self.batch_size, self.rows)
        return rest


class _ArrayPass(Pass):
    def __init__(self, source: ArraySource, order: np.ndarray | None):
        self.source, self.order, self.position = source, order, 0

    def peek(self) -> tuple[list[np.ndarray], Any] | None:
        source = self.source
        left = source.rows - self.position
        if left <= 0:
            return None
        rows = min(left, source.batch_size)
        return [np.broadcast_to(np.zeros((), device_dtype(a.dtype)), (rows, *a.shape[1:])) for a in source.leaves], (
            source.tree
        )

    def take(self, steps: int, capacity: int) -> Chunk:
        source, start, size = self.source, self.position, self.source.batch_size
        left = source.rows - start
        whole = left // size
        if whole == 0:
            steps, size = 1, left
        steps = min(steps, max(whole, 1))
        count = steps * size
        rows = slice(start, start + count) if self.order is None else self.order[start : start + count]
        self.position += count
        arrays = []
        for a in source.leaves:
            lead = (capacity, size) if capacity > 1 else (size,)
            out = aligned_empty((*lead, *a.shape[1:]), device_dtype(a.dtype))
            flat = out.reshape(-1, *a.shape[1:])[:count]
            if isinstance(rows, slice) or a.dtype != out.dtype or not a.flags.c_contiguous:
                flat[...] = a[rows]
            else:
                np.take(a, rows, axis=0, out=flat, mode="clip")
            arrays.append(out)
        return Chunk(arrays, source.tree, steps)


class IterableSource(Source):
    """Batches from an iterable: gone through anew each epoch if it can be, else continued.

    Args:
        batches: an iterable of batches, a generator, or a function that returns an iterator.
        convert: makes a structure of arrays of a batch.
        length: the number of batches an epoch, if it is known.
    """

    def __init__(self, batches: Any, convert: Callable[[Any], Any], length: int | None = None):
        self._make = batches if callable(batches) and not hasattr(batches, "__iter__") else None
        self._batches = batches
        self._convert = convert
        self.once = inspect.isgenerator(batches) or (self._make is None and iter_is_self(batches))
        self._iterator: Any = None  # the one running, of the user's
        self._drawn = 0  # the batches drawn of a generator in all
        if length is None and hasattr(batches, "__len__"):
            try:
                length = len(batches)
            except TypeError:  # such as a Dataset of unknown or infinite length
                length = None
        self.batches = length
        self._ahead: _IterablePass | None = None
        self._start: Any = None  # the state that the iterator of `_ahead` began with

    def _fresh(self) -> Any:
        """An iterator of the user's: a new one, or the one running for a generator."""
        if not self.once or self._iterator is None:
            self._iterator = self._make() if self._make is not None else iter(self._batches)
        return self._iterator

    def _begin(self) -> None:
        """Makes the pass of the first epoch before that is asked for."""
        self._ahead = _IterablePass(self, self._fresh())
        self._start = self._iterator.get_state() if self.restorable and not self.once else None

    def epoch(self, number: int) -> Pass:
        """A pass over the data of epoch `number`."""
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return ahead
        begin = getattr(self._batches, "on_epoch_begin", None)
        if callable(begin):
            begin()
        return _IterablePass(self, self._fresh())

    def spec(self) -> tuple[list[np.ndarray], Any]:
        """A first batch; it is not lost, the first epoch starts with it."""
        if self._ahead is None:
            self._begin()
        first = self._ahead.peek()  # type: ignore[union-attr]
        if first is None:
            raise ValueError(
                "x has no batches: its iterator ended before it gave one. Yield at least one (x, y); a generator that "
                "was used up must be made anew."
            )
        return first

    @property
    def restorable(self) -> bool:
        """Whether the iterators of the data can tell their position and go back to it, as far as is known."""
        one = self._iterator
        return one is None or (hasattr(one, "get_state") and hasattr(one, "set_state"))

    def get_state(self) -> dict[str, Any]:
        """The state of the user's iterator, if it has one, and the number of batches drawn."""
        if self._iterator is None and hasattr(self._batches, "element_spec"):
            self._begin()  # a Dataset draws its order when it begins, such as at the first validation
        if self._ahead is not None and self._start is not None:
            return {"state": self._start, "drawn": 0, "ahead": True}
        state = None if self._iterator is None or not self.restorable else self._iterator.get_state()
        return {"state": state, "drawn": self._drawn}

    def set_state(self, state: dict[str, Any], number: int, taken: int) -> Pass | None:
        """Goes to a batch of a pass: by the iterator's own means, or by drawing and dropping what came before."""
        ahead, self._ahead = self._ahead, None
        if state["state"] is not None:
            if not self.once or ahead is None:
                self._iterator = None
            self._fresh().set_state(state["state"])
            self._drawn = state["drawn"]
            if state.get("ahead"):
                self._ahead, self._start = _IterablePass(self, self._iterator), state["state"]
                return None
            return _IterablePass(self, self._iterator) if taken or self.once else None
        skipped = state["drawn"] if self.once else taken
        if not skipped:
            self._ahead = ahead
            return None
        rest = ahead if ahead is not None else _IterablePass(self, self._fresh())
        for _ in range(skipped):
            if rest.peek() is None:
                raise ValueError(
                    f"fit: the run was saved after {skipped} batches of x, which gives fewer now. Give the same data, "
                    "or start in another folder."
                )
            rest.next = None
        return rest


class _IterablePass(Pass):
    def __init__(self, source: IterableSource, iterator: Any):
        self.source = source
        self.iterator = iterator
        self.next: tuple[list[np.ndarray], Any] | None = None
        self.rest: deque[tuple[list[np.ndarray], Any]] = deque()  # what comes behind it and was drawn with it
        self.ended = False

    @property
    def holding(self) -> bool:
        return self.next is not None or bool(self.rest)

    def _convert(self, batch: Any) -> tuple[list[np.ndarray], Any]:
        leaves, tree = jax.tree.flatten(self.source._convert(batch))
        return [a.astype(device_dtype(a.dtype), copy=False) for a in leaves], tree

    def peek(self) -> tuple[list[np.ndarray], Any] | None:
        if self.next is None and self.rest:
            self.next = self.rest.popleft()
        if self.next is None and not self.ended:
            try:
                self.next = self._convert(next(self.iterator))
                self.source._drawn += 1
            except StopIteration:
                self.ended = True
                end = getattr(self.source._batches, "on_epoch_end", None)
                if callable(end):
                    end()
        return self.next

    def take(self, steps: int, capacity: int) -> Chunk:
        leaves, tree = self.peek()  # type: ignore[misc]
        shapes = [a.shape for a in leaves]
        if capacity == 1:
            self.next = None
            arrays = []
            for a in leaves:
                out = aligned_empty(a.shape, a.dtype)
                out[...] = a
                arrays.append(out)
            return Chunk(arrays, tree, 1)
        arrays = [aligned_empty((capacity, *a.shape), a.dtype) for a in leaves]
        done = 0
        while done < steps:
            following = self.peek()
            if following is None or following[1] != tree or [a.shape for a in following[0]] != shapes:
                break
            for out, a in zip(arrays, following[0], strict=True):
                out[done] = a
            self.next = None
            done += 1
            if done < steps and not self.rest:
                done += self._take_joined([out[done:steps] for out in arrays], tree)
        return Chunk(arrays, tree, done)

    def _take_joined(self, places: list[np.ndarray], tree: Any) -> int:
        """Fills places with batches that the iterator gives at once, as one of a Dataset can; returns how many."""
        draw = getattr(self.iterator, "next_batches", None)
        drawn = None if draw is None else draw(len(places[0]))
        if drawn is None:
            return 0
        count, block = drawn
        self.source._drawn += count
        leaves, like = self._convert(block)
        leaves = [a.reshape(count, len(a) // count, *a.shape[1:]) for a in leaves]
        if like == tree and all(a.shape[1:] == out.shape[1:] for a, out in zip(leaves, places, strict=True)):
            for a, out in zip(leaves, places, strict=True):
                out[:count] = a
            return count
        # joined they have other shapes, as texts padded to the longest of all: they come one by one after these
        self.rest.extend(([a[k] for a in leaves], like) for k in range(count))
        return 0


def iter_is_self(x: Any) -> bool:
    """Whether `x` is an iterator, which can be gone through only once."""
    return hasattr(x, "__next__")
