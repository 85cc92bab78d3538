"""The protocol of a node: one stage of a pipeline, immutable and cheap to build. Work happens in its iterators.

How to write a node
-------------------
Subclass `Node` and give it

- `op`, the public name that errors and `summary()` print, and `config()`, its arguments for `summary()` and
`fingerprint()`;
- `_spec()`: the element_spec, from `self.children[0].element_spec` or known outright. Called once, on demand;
- `cardinality()`: a count, `INFINITE` or `UNKNOWN` (the default), without reading data;
- `_iterator(context)`: an `ElementIterator` over its elements, from the start. Open files there, never in `__init__`.

An `ElementIterator` has `__next__`, `get_state()` (a JSON-safe value, small: positions, never elements),
`set_state(state)` (called once, on a fresh iterator, before the first `__next__`) and `close()`. It pulls from
`child.iterate(context)`. After `__next__` raised an error other than StopIteration, the next call goes on behind the
element at fault (`ignore_errors` counts on it); where that is impossible it raises StopIteration.

A source that streams is easiest as one resumable generator:

    class Lines(Node):
        op = "lines"

        def __init__(self, path):
            super().__init__()
            self.path = path

        def _spec(self):
            return TensorSpec((), STRING)

        def _iterator(self, context):
            return StreamIterator(self._lines, start=0)

        def _lines(self, offset):               # yields (element, the state from which to go on behind it)
            with open(self.path, "rb") as f:
                f.seek(offset)
                for line in f:
                    offset += len(line)
                    yield line, offset

A source that can be read at any index gives `_random_access(context)` a `RandomAccess` instead (see
`lamina.datasets.plan`): shuffles, repeats and batches over it then become index arithmetic, and its state one position.
A node that draws random numbers subclasses `RandomNode` and takes its key from `context.random_key(self)`.
User functions are called through `call_user`, which adds the position of the element to what they raise.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.core.errors import describe
from lamina.datasets.spec import INFINITE, UNKNOWN

if TYPE_CHECKING:
    from lamina.datasets.context import Context
    from lamina.datasets.plan import RandomAccess

_probing_forbidden: ContextVar[bool] = ContextVar("probing_forbidden", default=False)
_seed_stream: ContextVar[np.random.Generator | None] = ContextVar("seed_stream", default=None)


class SpecUnknown(Exception):
    """The element_spec is not known without running a user function."""


class ElementIterator(ABC):
    """An iterator whose position can be saved and restored. `context` may be None for iterators that need none."""

    @abstractmethod
    def __next__(self) -> Any: ...

    def __iter__(self) -> Iterator[Any]:
        return self

    @abstractmethod
    def get_state(self) -> Any:
        """A JSON-safe value from which `set_state` on a fresh iterator goes on with the same remaining elements."""

    @abstractmethod
    def set_state(self, state: Any) -> None:
        """Take up the position of `state`; called on a fresh iterator."""

    def next_batches(self, limit: int) -> tuple[int, Any] | None:
        """See DatasetIterator; most pipelines give their elements one by one."""
        return None

    def close(self) -> None:  # noqa: B027  most iterators hold nothing
        """Let go of files, threads and processes at once; calling it twice is harmless."""


class Node:
    """One stage of a pipeline. See the top of this file for how to write one."""

    op: str = "dataset"
    keeps_elements = False
    """Whether the elements are some of the first child's, as they are."""

    def __init__(self, *children: Node, name: str | None = None) -> None:
        self.children = children
        self.name = name
        self.batches: bool = self.keeps_elements and children[0].batches  # whether an element is a batch of elements
        self._known_spec: Any = None
        self._has_spec = False

    @property
    def label(self) -> str:
        """How errors name this node: `map`, or `map 'augment'` if the user named it."""
        return self.op if self.name is None else f"{self.op} '{self.name}'"

    @property
    def element_spec(self) -> Any:
        """Nested `TensorSpec`s of one element. Behind a user function this runs it on the first elements, once."""
        if not self._has_spec:
            self._known_spec = self._spec()
            self._has_spec = True
        return self._known_spec

    def static_spec(self) -> Any:
        """The element_spec if it is known without running a user function or reading data, else raises SpecUnknown."""
        token = _probing_forbidden.set(True)
        try:
            return self.element_spec
        finally:
            _probing_forbidden.reset(token)

    def _spec(self) -> Any:
        return self.children[0].element_spec

    def cardinality(self) -> int:
        """How many elements there are: a count, `INFINITE` or `UNKNOWN`."""
        return UNKNOWN

    def config(self) -> dict[str, Any]:
        """The arguments that `summary()` prints and `fingerprint()` hashes."""
        return {}

    def iterate(self, context: Context) -> ElementIterator:
        """A fresh iterator from the start; planned as index arithmetic where the source allows it."""
        access = self.random_access(context)
        if access is None:
            iterator = self._iterator(context)
        else:
            iterator = access.iterate(self, context)
        return context.timed(self, iterator)

    def random_access(self, context: Context) -> RandomAccess | None:
        """Access to any element by position, or None if this node can only be read in order."""
        return self._random_access(context) if context.options.planning else None

    def _random_access(self, context: Context) -> RandomAccess | None:
        return None

    def _iterator(self, context: Context) -> ElementIterator:
        raise NotImplementedError(f"{type(self).__name__} has neither _iterator nor _random_access")

    def sample(self, context: Context) -> Iterator[Any]:
        """Some elements, typical for structure, dtype and shape; read only to find an element_spec."""
        return self.children[0].sample(context) if self.keeps_elements else self.iterate(context)

    def fingerprint(self) -> bytes:
        """A hash over this node, its arguments and everything above it."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(type(self).__name__.encode())
        for key, value in sorted(self.config().items()):
            digest.update(key.encode())
            digest.update(hash_value(value))
        for child in self.children:
            digest.update(child.fingerprint())
        return digest.digest()


class RandomNode(Node):
    """A node that draws random numbers: it has a seed, and counts its runs so that each can be ordered anew."""

    def __init__(self, *children: Node, seed: int | None = None, name: str | None = None) -> None:
        super().__init__(*children, name=name)
        self._seed = seed
        stream = _seed_stream.get()
        if seed is None and stream is not None:
            self._seed = int(stream.integers(2**31))
        self._runs = 0
        self._lock = threading.Lock()

    def begin_run(self, count: bool = True) -> tuple[int, int]:
        """(seed, number of this run). Without a seed of the user's it is drawn from numpy's global generator, so that
        `keras.utils.set_random_seed` and `np.random.seed` make the whole pipeline repeatable."""
        with self._lock:
            if self._seed is None:
                self._seed = int(np.random.randint(2**31 - 1))
            if not count:
                return self._seed, 0
            self._runs += 1
            return self._seed, self._runs - 1

    def continue_from(self, seed: int, runs: int) -> None:
        """Let the next run be number `runs` under `seed`, as in the process that saved them."""
        with self._lock:
            self._seed, self._runs = seed, runs


class StreamIterator(ElementIterator):
    """An iterator from a resumable generator function: `make(state)` yields `(element, state behind it)`."""

    def __init__(self, make: Callable[[Any], Iterator[tuple[Any, Any]]], start: Any = None) -> None:
        self._make = make
        self._state = start
        self._stream: Iterator[tuple[Any, Any]] | None = None

    def __next__(self) -> Any:
        if self._stream is None:
            self._stream = self._make(self._state)
        element, self._state = next(self._stream)
        return element

    def get_state(self) -> Any:
        """The state that came with the last element."""
        return self._state

    def set_state(self, state: Any) -> None:
        """Go on from `state`."""
        self._state, self._stream = state, None

    def close(self) -> None:
        """Close the generator, and with it the files it has open."""
        if self._stream is not None and hasattr(self._stream, "close"):
            self._stream.close()


class ChildIterator(ElementIterator):
    """An iterator over one child. `numbers` names what more the state holds: "count" is `self._count`."""

    numbers: tuple[str, ...] = ()

    def __init__(self, child: ElementIterator) -> None:
        self._child = child
        self._pull = child.__next__

    def get_state(self) -> Any:
        """The child's state, and the numbers of this stage."""
        return {"child": self._child.get_state(), **{n: getattr(self, "_" + n) for n in self.numbers}}

    def set_state(self, state: Any) -> None:
        """Restore what `get_state` gave."""
        self._child.set_state(state["child"])
        for n in self.numbers:
            setattr(self, "_" + n, state[n])

    def close(self) -> None:
        """Close the child."""
        self._child.close()


class GatherError(Exception):
    """An element inside a gather of several failed: `offset` counts from the start of the gather."""

    def __init__(self, offset: int, error: Exception) -> None:
        super().__init__(offset, error)
        self.offset, self.error = offset, error


class EmptyIterator(ElementIterator):
    """No elements."""

    def __next__(self) -> Any:
        raise StopIteration

    def get_state(self) -> Any:
        """Nothing to save."""
        return None

    def set_state(self, state: Any) -> None:
        """Nothing to restore."""


def probing_allowed(label: str) -> None:
    """Raise SpecUnknown where only what is known without user functions was asked for."""
    if _probing_forbidden.get():
        raise SpecUnknown(label)


@contextlib.contextmanager
def seeds_from(*key: int) -> Iterator[None]:
    """Give datasets that are built without a seed inside the block one that follows from `key`."""
    token = _seed_stream.set(np.random.default_rng(key))
    try:
        yield
    finally:
        _seed_stream.reset(token)


def call_user(fn: Callable[..., Any], args: tuple, label: str, position: int | None = None) -> Any:
    """`fn(*args)`, where an exception gains a note that names the stage and the element."""
    try:
        return fn(*args)
    except StopIteration as e:
        raise RuntimeError(
            f"{label}: the function raised StopIteration {at(position)}, which would end the loop."
        ) from e
    except Exception as e:
        add_position(e, label, position)
        raise


def at(position: int | None) -> str:
    """`at element 7`, or nothing when the position is unknown."""
    return "" if position is None else f"at element {position}"


def add_position(error: BaseException, label: str, position: int | None) -> None:
    """Note on an exception which stage and which of its elements it came from."""
    error.add_note(f"raised in {label} {at(position)}".rstrip() + (" (counted from 0)" if position is not None else ""))


def as_args(element: Any) -> tuple:
    """The arguments of a user function: the parts of a tuple, or the one element."""
    return tuple(element) if isinstance(element, tuple) else (element,)


def as_node(value: Any, owner: str, argument: str = "dataset") -> Node:
    """The node of a Dataset.

    Raises:
        TypeError: `value` is no Dataset.
    """
    node = value if isinstance(value, Node) else getattr(value, "_node", None)
    if not isinstance(node, Node):
        raise TypeError(
            f"{owner}: {argument} must be a lamina Dataset, got {describe(value)}. "
            "Make one with Dataset.from_tensor_slices, from_source or from_generator."
        )
    return node


def known_count(n: int) -> bool:
    """Whether a cardinality is a count."""
    return n >= 0


def smallest(counts: list[int]) -> int:
    """The cardinality of datasets read in step: it ends with the shortest."""
    finite = [n for n in counts if n != INFINITE]
    if not finite:
        return INFINITE if counts else 0
    return UNKNOWN if UNKNOWN in finite else min(finite)


def hash_value(value: Any) -> bytes:
    """Bytes that identify an argument of a node: equal values give equal bytes, in every process."""
    if isinstance(value, np.ndarray):
        data = repr(value.tolist()).encode() if value.dtype == object else np.ascontiguousarray(value).tobytes()
        return hashlib.blake2b(f"{value.shape}{value.dtype}".encode() + data, digest_size=16).digest()
    if isinstance(value, (list, tuple)):
        return b"(" + b",".join(hash_value(v) for v in value) + b")"
    if isinstance(value, dict):
        return b"{" + b",".join(hash_value(k) + b":" + hash_value(value[k]) for k in sorted(value, key=str)) + b"}"
    if isinstance(value, Node):
        return value.fingerprint()
    code = getattr(value, "__code__", None)
    if code is not None:
        closure = [c.cell_contents for c in (value.__closure__ or ())]
        return _hash_code(code) + hash_value(closure) + hash_value(value.__defaults__ or ())
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__).encode()
    try:
        return json.dumps(value).encode()
    except (TypeError, ValueError):
        return (repr(value) if type(value).__repr__ is not object.__repr__ else type(value).__qualname__).encode()


def _hash_code(code: Any) -> bytes:
    constants = b"".join(_hash_code(c) if hasattr(c, "co_code") else repr(c).encode() for c in code.co_consts)
    return hashlib.blake2b(code.co_code + constants + repr(code.co_names).encode(), digest_size=16).digest()
