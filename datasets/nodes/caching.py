"""Elements that are kept: cache in memory or in a file, snapshot, and the reader of what `save` wrote."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina.core.nest import map_structure
from lamina.datasets.context import Context, random_nodes
from lamina.datasets.elements import nbytes, spec_of, stack
from lamina.datasets.nodes.base import ElementIterator, Node, RandomNode
from lamina.datasets.plan import Base, ColumnsBase, RandomAccess
from lamina.datasets.spec import most_general
from lamina.datasets.storage import (
    StoredShard,
    Writer,
    check_compression,
    is_stored,
    read_metadata,
    shard_of,
    spec_from_json,
)
from lamina.datasets.workers import pass_over


class _Store:
    """Kept elements, and the randomness of the run that they come from: what is kept has one order for good."""

    def __init__(self, randomness: dict[RandomNode, tuple[int, int]], length: int) -> None:
        self.randomness = randomness
        self.length = length
        self.elements: dict[int, Any] = {}
        self.columns: ColumnsBase | None = None
        self.complete = False

    def add(self, index: int, element: Any) -> None:
        self.elements[index] = element
        if len(self.elements) == self.length:
            self.finish(self.length)

    def finish(self, length: int) -> None:
        """All are there: hold them as columns, if they have one shape, so that batches are one gather."""
        if self.complete:
            return
        self.length, self.complete = length, True
        rows = [self.elements[i] for i in range(length)]
        try:
            if rows and nbytes(rows[0]) < 1 << 20:
                self.columns = ColumnsBase(stack(rows))
                self.elements = {}
        except (ValueError, TypeError):  # rows of different shapes stay rows
            pass

    def item(self, index: int) -> Any:
        if self.columns is not None:
            return _copy(self.columns.item(index))
        return _copy(self.elements[index])


def _copy(element: Any) -> Any:
    """What is handed out may be written to; what is kept may not change."""
    return map_structure(lambda x: x.copy() if type(x) is np.ndarray else x, element)


class Cache(Node):
    """The elements of the first pass, kept in memory.

    An indexable input is kept by index, whatever the order of reading; any other is kept when it was read to its end.
    """

    op = "cache"
    keeps_elements = True

    def __init__(self, child: Node, name: str | None = None) -> None:
        super().__init__(child, name=name)
        self._store: _Store | None = None

    def cardinality(self) -> int:
        """See Node."""
        return self.children[0].cardinality()

    def store(self, context: Context, length: int) -> _Store:
        """The store for this run: the kept one, unless a restored run has another order."""
        nodes = random_nodes(self.children[0])
        run = context.run
        if self._store is not None and not run.restored:
            run.pin(self._store.randomness)
            return self._store
        randomness = {n: run.randomness(n) for n in nodes}
        if self._store is None:
            self._store = _Store(randomness, length)
        return self._store if self._store.randomness == randomness else _Store(randomness, length)

    def _random_access(self, context: Context) -> RandomAccess | None:
        inner = context.first_epoch()
        access = self.children[0].random_access(inner)
        if access is None or access.length is None or access.sequential:
            return None
        if access.base.parallel is not None and context.options.workers == "process":
            return None
        store = self.store(context, access.length)
        access = self.children[0].random_access(inner)  # under the pinned randomness
        if access is None:
            return None
        return access if access.base.in_memory else RandomAccess(_CacheBase(access, store))

    def _iterator(self, context: Context) -> ElementIterator:
        store = self.store(context, -1)
        return _CacheIterator(self.children[0], store, context.first_epoch())


class _CacheBase(Base):
    def __init__(self, access: RandomAccess, store: _Store) -> None:
        self._access, self._store = access, store
        self.length = access.length or 0
        self.parallel = access.base.parallel

    def item(self, index: int) -> Any:
        store = self._store
        if not store.complete and index not in store.elements:
            element = self._access.item(index)
            store.add(index, element)
            return _copy(element)
        return store.item(index)

    def gather(self, indices: np.ndarray) -> Any:
        columns = self._store.columns
        return super().gather(indices) if columns is None else columns.gather(indices)


class _CacheIterator(ElementIterator):
    """Reads the child and keeps its elements; once it was read to its end, only the store is read.

    The state is a position, and while the child is read the child's. Restored without the store, the elements before
    the position are read again if the child's state is not known.
    """

    def __init__(self, child: Node, store: _Store, context: Context) -> None:
        self._node, self._store, self._context = child, store, context
        self._child: ElementIterator | None = None
        self._position = 0
        self._recording: dict[int, Any] | None = None

    def __next__(self) -> Any:
        store = self._store
        if store.complete and self._child is None:
            if self._position >= store.length:
                raise StopIteration
            self._position += 1
            return store.item(self._position - 1)
        if self._child is None:
            self._child = self._node.iterate(self._context)
            self._recording = {}
        try:
            element = self._child.__next__()
        except StopIteration:
            if self._recording is not None and not store.complete:
                store.elements = self._recording
                store.finish(len(self._recording))
            raise
        if self._recording is not None:
            self._recording[self._position] = element
            element = _copy(element)
        self._position += 1
        return element

    def get_state(self) -> Any:
        return {"position": self._position, "child": None if self._child is None else self._child.get_state()}

    def set_state(self, state: Any) -> None:
        position, child = state["position"], state["child"]
        if self._store.complete:
            self._position = position
        elif child is None:
            pass_over(self, position)
        else:
            self._child = self._node.iterate(self._context)
            self._child.set_state(child)
            self._position = position

    def close(self) -> None:
        if self._child is not None:
            self._child.close()


class FileCache(Node):
    """The elements of the first pass, kept in a folder, which later passes and other processes read."""

    op = "cache"
    keeps_elements = True

    def __init__(
        self,
        child: Node,
        path: Any,
        compression: str | None = None,
        by_fingerprint: bool = False,
        shard_func: Callable[..., Any] | None = None,
        op: str = "cache",
        name: str | None = None,
    ) -> None:
        super().__init__(child, name=name)
        self.op = op
        path = os.fspath(path)
        self.path = path.decode() if isinstance(path, bytes) else path
        self.compression = check_compression(self.label, compression)
        self.by_fingerprint, self.shard_func = by_fingerprint, shard_func

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"path": self.path, "compression": self.compression}

    def cardinality(self) -> int:
        """See Node."""
        return self.children[0].cardinality()

    @functools.cached_property
    def folder(self) -> str:
        """Where the elements are."""
        return os.path.join(self.path, self.children[0].fingerprint().hex()) if self.by_fingerprint else self.path

    def shard_of(self, element: Any) -> int:
        """The shard that an element goes to."""
        if self.shard_func is None:
            return 0
        return shard_of(self.label, self.shard_func, element)

    def _iterator(self, context: Context) -> ElementIterator:
        return _FileCacheIterator(self, context.first_epoch())


class _FileCacheIterator(ElementIterator):
    def __init__(self, node: FileCache, context: Context) -> None:
        self._node, self._context = node, context
        self._position = 0
        self._reader: ElementIterator | None = None
        self._child: ElementIterator | None = None
        self._writer: Writer | None = None
        self._spec: Any = None

    def _open(self) -> None:
        if is_stored(self._node.folder):
            self._reader = StoredNode(self._node.folder, self._node.label).iterate(self._context)
        else:
            self._child = self._node.children[0].iterate(self._context)
            self._writer = Writer(self._node.folder, self._node.compression)

    def __next__(self) -> Any:
        if self._reader is None and self._child is None:
            self._open()
        if self._reader is not None:
            element = self._reader.__next__()
            self._position += 1
            return element
        try:
            element = self._child.__next__()  # type: ignore[union-attr]
        except StopIteration:
            if self._writer is not None:
                self._writer.finish(self._spec)
                self._writer = None
            raise
        if self._writer is not None:
            spec = spec_of(element)
            self._spec = spec if self._spec is None else most_general(self._spec, spec)
            self._writer.write(element, self._node.shard_of(element))
        self._position += 1
        return element

    def get_state(self) -> Any:
        return {"position": self._position, "child": None if self._child is None else self._child.get_state()}

    def set_state(self, state: Any) -> None:
        if is_stored(self._node.folder):
            self._open()
            pass_over(self, state["position"])
        elif state["child"] is None:
            pass_over(self, state["position"])
        else:  # the elements before are not known here, so nothing can be written this time
            self._child = self._node.children[0].iterate(self._context)
            self._child.set_state(state["child"])
            self._position = state["position"]

    def close(self) -> None:
        for iterator in (self._reader, self._child):
            if iterator is not None:
                iterator.close()
        if self._writer is not None:
            self._writer.discard()
            self._writer = None

    def __del__(self) -> None:
        if self._writer is not None:
            self._writer.discard()


class StoredNode(Node):
    """The elements in a folder that `save`, `cache` or `snapshot` wrote, shard after shard."""

    op = "load"

    def __init__(self, path: str, label: str = "load", element_spec: Any = None, shard: int | None = None) -> None:
        super().__init__()
        self.path = path
        meta = read_metadata(label, path)
        stored = spec_from_json(meta["element_spec"])
        if element_spec is not None:
            most_general(element_spec, stored)  # raises where they do not fit
        self.stored_spec = stored if element_spec is None else element_spec
        wanted = [k for k, _ in meta["shards"] if shard is None or k == shard]
        self.shard_numbers = wanted
        self.shards = [StoredShard(path, k, self.stored_spec, meta["compression"]) for k in wanted]
        self._base = StoredBase(self.shards)

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"path": self.path}

    def _spec(self) -> Any:
        return self.stored_spec

    def cardinality(self) -> int:
        """See Node."""
        return self._base.length

    def _random_access(self, context: Context) -> RandomAccess:
        return RandomAccess(self._base)

    def _iterator(self, context: Context) -> ElementIterator:
        return RandomAccess(self._base).iterate(self, context)


class StoredBase(Base):
    """Shards end to end."""

    def __init__(self, shards: list[StoredShard]) -> None:
        self._shards = shards
        self._starts = np.cumsum([0, *[s.length for s in shards]])
        self.length = int(self._starts[-1])

    def item(self, index: int) -> Any:
        """See Base."""
        k = int(np.searchsorted(self._starts, index, "right")) - 1
        return self._shards[k].item(index - int(self._starts[k]))
