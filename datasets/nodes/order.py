"""Which elements, and in which order: take, skip, shard, repeat, shuffle."""

from __future__ import annotations

from typing import Any

from lamina.core.checks import check_int
from lamina.datasets.context import Context
from lamina.datasets.nodes.base import ChildIterator, ElementIterator, Node, RandomNode, known_count
from lamina.datasets.orders import BLOCK, Epochs, ShuffleStream, Stride, full_permutation, shuffled
from lamina.datasets.plan import RandomAccess
from lamina.datasets.spec import INFINITE, UNKNOWN


class Take(Node):
    """The first `count` elements; -1 for all."""

    op = "take"
    keeps_elements = True

    def __init__(self, child: Node, count: int, name: str | None = None) -> None:
        super().__init__(child, name=name)
        self.count = check_int(self.label, "count", count)

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"count": self.count}

    def cardinality(self) -> int:
        """See Node."""
        n = self.children[0].cardinality()
        if self.count < 0 or n == UNKNOWN:
            return 0 if self.count == 0 else n
        return self.count if n == INFINITE else min(n, self.count)

    def _random_access(self, context: Context) -> RandomAccess | None:
        access = self.children[0].random_access(context)
        if access is None or self.count < 0:
            return access
        return RandomAccess(access.base, access.order, access.clip(self.count))

    def _iterator(self, context: Context) -> ElementIterator:
        return _TakeIterator(self.children[0].iterate(context), self.count)


class _TakeIterator(ChildIterator):
    numbers = ("left",)

    def __init__(self, child: ElementIterator, count: int) -> None:
        super().__init__(child)
        self._left = count

    def __next__(self) -> Any:
        if self._left == 0:
            raise StopIteration
        self._left -= 1
        return self._pull()


class Skip(Node):
    """All but the first `count` elements; -1 skips all."""

    op = "skip"
    keeps_elements = True

    def __init__(self, child: Node, count: int, name: str | None = None) -> None:
        super().__init__(child, name=name)
        self.count = check_int(self.label, "count", count)

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"count": self.count}

    def cardinality(self) -> int:
        """See Node."""
        n = self.children[0].cardinality()
        if self.count < 0:
            return 0
        return max(0, n - self.count) if known_count(n) else n

    def _random_access(self, context: Context) -> RandomAccess | None:
        access = self.children[0].random_access(context)
        if access is None:
            return None
        if self.count < 0:
            return RandomAccess(access.base, access.order, 0)
        return access.reorder(
            Stride(self.count, 1), None if access.length is None else max(0, access.length - self.count)
        )

    def _iterator(self, context: Context) -> ElementIterator:
        return _SkipIterator(self.children[0].iterate(context), self.count)


class _SkipIterator(ChildIterator):
    numbers = ("left",)

    def __init__(self, child: ElementIterator, count: int) -> None:
        super().__init__(child)
        self._left = count

    def __next__(self) -> Any:
        while self._left:
            self._left -= 1  # a negative count never reaches 0
            self._pull()
        return self._pull()


class Shard(Node):
    """Every `num_shards`-th element, from `index` on."""

    op = "shard"
    keeps_elements = True

    def __init__(self, child: Node, num_shards: int, index: int, name: str | None = None) -> None:
        super().__init__(child, name=name)
        self.num_shards = check_int(self.label, "num_shards", num_shards, 1)
        self.index = check_int(self.label, "index", index, 0)
        if self.index >= self.num_shards:
            raise ValueError(
                f"{self.label}: index must be below num_shards ({self.num_shards}), got {self.index}; "
                "shards count from 0."
            )

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"num_shards": self.num_shards, "index": self.index}

    def cardinality(self) -> int:
        """See Node."""
        n = self.children[0].cardinality()
        return len(range(self.index, n, self.num_shards)) if known_count(n) else n

    def _random_access(self, context: Context) -> RandomAccess | None:
        access = self.children[0].random_access(context)
        if access is None:
            return None
        length = None if access.length is None else len(range(self.index, access.length, self.num_shards))
        return access.reorder(Stride(self.index, self.num_shards), length)

    def _iterator(self, context: Context) -> ElementIterator:
        return _ShardIterator(self.children[0].iterate(context), self.num_shards, self.index)


class _ShardIterator(ChildIterator):
    numbers = ("skip",)

    def __init__(self, child: ElementIterator, num_shards: int, index: int) -> None:
        super().__init__(child)
        self._step, self._skip = num_shards - 1, index

    def __next__(self) -> Any:
        while self._skip:
            self._skip -= 1
            self._pull()
        element = self._pull()
        self._skip = self._step
        return element


class Repeat(Node):
    """The elements `count` times over; endless if `count` is None or -1."""

    op = "repeat"
    keeps_elements = True

    def __init__(self, child: Node, count: int | None = None, name: str | None = None) -> None:
        super().__init__(child, name=name)
        count = None if count is None else check_int(self.label, "count", count)
        self.count = None if count is None or count < 0 else count

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"count": self.count}

    def cardinality(self) -> int:
        """See Node."""
        n = self.children[0].cardinality()
        if self.count == 0 or n == 0:
            return 0
        if self.count is None:
            return INFINITE
        return n * self.count if known_count(n) else n

    def _random_access(self, context: Context) -> RandomAccess | None:
        child = self.children[0]
        access = child.random_access(context.epoch(0))
        if access is None or access.base.varies:
            return None
        if self.count == 0 or access.length == 0:
            return RandomAccess(access.base, access.order, 0)
        if access.length is None:
            return access
        length = None if self.count is None else access.length * self.count

        def order_of(k: int) -> Any:
            return child.random_access(context.epoch(k)).order  # type: ignore[union-attr]

        epochs = Epochs(access.length, order_of)
        epochs.sequential = access.sequential
        return RandomAccess(access.base, epochs, length)

    def _iterator(self, context: Context) -> ElementIterator:
        return _RepeatIterator(self.children[0], self.count, context)


class _RepeatIterator(ElementIterator):
    def __init__(self, child: Node, count: int | None, context: Context) -> None:
        self._node, self._count, self._context = child, count, context
        self._epoch = 0
        self._empty = True
        self._iterator: ElementIterator | None = None

    def __next__(self) -> Any:
        while self._count is None or self._epoch < self._count:
            if self._iterator is None:
                self._iterator = self._node.iterate(self._context.epoch(self._epoch))
            try:
                element = self._iterator.__next__()
            except StopIteration:
                self._iterator.close()
                if self._count is None and self._empty:
                    self._count = 0  # an endless repetition of nothing ends
                    break
                self._iterator, self._empty = None, True
                self._epoch += 1
                continue
            self._empty = False
            return element
        raise StopIteration

    def get_state(self) -> Any:
        child = None if self._iterator is None else self._iterator.get_state()
        return {"epoch": self._epoch, "empty": self._empty, "child": child, "over": self._count == 0}

    def set_state(self, state: Any) -> None:
        self._epoch, self._empty = state["epoch"], state["empty"]
        if state["over"]:
            self._count = 0
        if state["child"] is not None:
            self._iterator = self._node.iterate(self._context.epoch(self._epoch))
            self._iterator.set_state(state["child"])

    def close(self) -> None:
        if self._iterator is not None:
            self._iterator.close()


class Shuffle(RandomNode):
    """A random order: of the whole dataset, or with a buffer from which elements leave at random.

    Over a source that can be read by index only indices are shuffled. Over any other source the buffer holds
    elements, and the state holds a position of the source from which the buffer can be read again.
    """

    op = "shuffle"
    keeps_elements = True

    def __init__(
        self,
        child: Node,
        buffer_size: int | None,
        seed: int | None,
        reshuffle_each_iteration: bool | None,
        name: str | None,
    ) -> None:
        super().__init__(child, seed=seed, name=name)
        if buffer_size is not None:
            buffer_size = check_int(self.label, "buffer_size", buffer_size)
            if buffer_size == UNKNOWN:  # shuffle(dataset.cardinality()) shuffles all, as in tf.data
                buffer_size = None
            elif buffer_size < 1:
                raise ValueError(
                    f"{self.label}: buffer_size must be at least 1, or None to shuffle the whole dataset, "
                    f"got {buffer_size}."
                )
        self.buffer_size = buffer_size
        self.anew = reshuffle_each_iteration is None or bool(reshuffle_each_iteration)
        if buffer_size is None and child.cardinality() == INFINITE:
            raise ValueError(
                f"{self.label}: buffer_size=None shuffles the whole dataset, which is endless here; "
                "call repeat() after shuffle(), or give a buffer_size."
            )

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"buffer_size": self.buffer_size, "seed": self._seed, "reshuffle_each_iteration": self.anew}

    def cardinality(self) -> int:
        """See Node."""
        return self.children[0].cardinality()

    def _random_access(self, context: Context) -> RandomAccess | None:
        access = self.children[0].random_access(context)
        if access is None or access.sequential:
            return None
        if access.length is None and self.buffer_size is None:
            return None
        key = context.random_key(self, self.anew)
        return access.reorder(shuffled(access.length, self.buffer_size, key), access.length)

    def _iterator(self, context: Context) -> ElementIterator:
        key = context.random_key(self, self.anew)
        return _ShuffleIterator(self.children[0].iterate(context), self.buffer_size, key)


class _ShuffleIterator(ElementIterator):
    """The algorithm of `ShuffleStream` on elements: the same order as the plan gives over an indexable source."""

    def __init__(self, child: ElementIterator, buffer_size: int | None, key: tuple[int, ...]) -> None:
        self._child, self._size, self._key = child, buffer_size, key
        self._draws = ShuffleStream(buffer_size, key) if buffer_size is not None else None
        self._slots: list[int] = []
        self._buffer: list[Any] = []
        self._positions: list[int] = []
        self._read = 0
        self._step = 0  # elements handed out while the source still gave some
        self._ended = False  # the source has no more
        self._tail: list[int] = []  # the slots in the order in which they leave then
        self._left_of_tail = 0
        self._marks: list[tuple[int, Any]] = []
        self._mark_every = max(64, (buffer_size or 0) // 4)

    def __next__(self) -> Any:
        if not self._ended:
            try:
                while self._size is None or len(self._buffer) < self._size:
                    element = self._take()
                    self._positions.append(self._read - 1)
                    self._buffer.append(element)
                element = self._take()
            except StopIteration:
                self._end()
            else:
                return self._swap(element)
        if not self._left_of_tail:
            self._buffer.clear()
            raise StopIteration
        slot = self._tail[-self._left_of_tail]
        self._left_of_tail -= 1
        out, self._buffer[slot] = self._buffer[slot], None
        return out

    def _take(self) -> Any:
        if self._read % self._mark_every == 0:
            self._mark()
        element = self._child.__next__()
        self._read += 1
        return element

    def _mark(self) -> None:
        if not self._marks or self._marks[-1][0] != self._read:
            self._marks.append((self._read, self._child.get_state()))
        if len(self._marks) > 32:
            self._forget_marks()

    def _forget_marks(self) -> None:
        oldest = min(self._positions) if self._positions else self._read
        while len(self._marks) > 1 and self._marks[1][0] <= oldest:
            del self._marks[0]

    def _swap(self, element: Any) -> Any:
        k = self._step % BLOCK
        if not self._slots or k == 0:
            self._draws.step = self._step - k  # type: ignore[union-attr]
            self._slots = self._draws.draws(BLOCK).tolist()  # type: ignore[union-attr]
        slot = self._slots[k]
        out, self._buffer[slot] = self._buffer[slot], element
        self._positions[slot] = self._read - 1
        self._step += 1
        return out

    def _end(self) -> None:
        self._ended = True
        self._tail = full_permutation(len(self._buffer), self._key).tolist()
        self._left_of_tail = len(self._tail)

    def get_state(self) -> Any:
        self._forget_marks()
        at, child = self._marks[0] if self._marks else (0, self._child.get_state())
        left = self._left_of_tail if self._ended else None
        return {"step": self._step, "read": self._read, "left": left, "at": at, "child": child}

    def set_state(self, state: Any) -> None:
        self._step, read = state["step"], state["read"]
        self._child.set_state(state["child"])
        self._read = state["at"]
        size = read if self._size is None else min(self._size, read)
        if self._step:
            stream = ShuffleStream(self._size, self._key)  # type: ignore[arg-type]
            stream.take(self._step)
            self._positions = stream.waiting.tolist()
        else:
            self._positions = list(range(size))
        slot_of = {p: s for s, p in enumerate(self._positions)}
        self._buffer = [None] * len(self._positions)
        while self._read < read:
            try:
                element = self._take()
            except StopIteration:
                break
            except Exception:  # it was raised, and dealt with, when the elements were first read
                continue
            slot = slot_of.get(self._read - 1)
            if slot is not None:
                self._buffer[slot] = element
        if state["left"] is not None:
            self._end()
            self._left_of_tail = state["left"]
            for slot in self._tail[: len(self._tail) - self._left_of_tail]:
                self._buffer[slot] = None

    def close(self) -> None:
        self._buffer.clear()
        self._child.close()
