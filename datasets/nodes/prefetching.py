"""Elements made ahead of their consumer, on a thread of their own."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Any

from lamina.core.checks import check_int
from lamina.datasets.context import Budget, Context
from lamina.datasets.elements import nbytes
from lamina.datasets.nodes.base import ElementIterator, Node
from lamina.datasets.spec import AUTOTUNE
from lamina.datasets.workers import Trail, pass_over

FIRST_SIZE, LARGEST_SIZE = 2, 64


class Prefetch(Node):
    """Up to `buffer_size` elements ahead; AUTOTUNE grows the buffer when it runs empty, within the memory budget."""

    op = "prefetch"
    keeps_elements = True

    def __init__(self, child: Node, buffer_size: int | None = AUTOTUNE, name: str | None = None) -> None:
        super().__init__(child, name=name)
        size = AUTOTUNE if buffer_size is None else check_int(self.label, "buffer_size", buffer_size)
        if size < AUTOTUNE:
            raise ValueError(f"{self.label}: buffer_size must be at least 0, or AUTOTUNE, got {size}.")
        self.buffer_size = size

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"buffer_size": "AUTOTUNE" if self.buffer_size == AUTOTUNE else self.buffer_size}

    def cardinality(self) -> int:
        """See Node."""
        return self.children[0].cardinality()

    def iterate(self, context: Context) -> ElementIterator:
        """See Node."""
        child = self.children[0].iterate(context)
        if self.buffer_size == 0:
            return child
        return context.timed(self, PrefetchIterator(child, self.buffer_size, context))


class _Box:
    """What the thread and its consumer share. The thread never holds the consumer, so that dropping it ends the
    thread."""

    def __init__(self, child: ElementIterator, size: int, budget: Budget | None) -> None:
        self.child, self.size, self.budget = child, size, budget
        self.ready: deque[tuple[Any, int, BaseException | None]] = deque()
        self.changed = threading.Condition()
        self.stopped = self.ended = False
        self.waiting = False
        self.produced = 0
        self.largest = 0
        self.trail = Trail(child)

    def may_produce(self) -> bool:
        if len(self.ready) >= self.size:
            return False
        return not self.ready or self.budget is None or self.budget.allows(self.largest)

    def stop(self) -> None:
        with self.changed:
            self.stopped = True
            if self.budget is not None:
                self.budget.add(-sum(size for _, size, _ in self.ready))
            self.ready.clear()
            self.changed.notify_all()


def _produce(box: _Box) -> None:
    while True:
        with box.changed:
            while not box.stopped and not box.may_produce():
                box.changed.wait(0.1 if box.budget is not None and len(box.ready) < box.size else None)
            if box.stopped:
                break
            box.trail.mark(box.produced)
        element, error = None, None
        try:
            element = box.child.__next__()
        except BaseException as e:
            error = e
        size = nbytes(element) if box.budget is not None and error is None else 0
        with box.changed:
            if box.stopped:
                break
            box.ended = isinstance(error, StopIteration)
            if box.budget is not None:
                box.budget.add(size)
                box.largest = max(box.largest, size)
            box.ready.append((element, size, error))
            box.produced += 1
            box.changed.notify_all()
            del element, error
            if box.ended:
                break
    box.child.close()


class PrefetchIterator(ElementIterator):
    """An iterator over elements that a thread makes ahead."""

    def __init__(self, child: ElementIterator, buffer_size: int, context: Context) -> None:
        auto = buffer_size == AUTOTUNE
        self._auto = auto and context.options.autotune.enabled
        self._box = _Box(child, FIRST_SIZE if auto else buffer_size, context.run.budget if auto else None)
        self._child = child
        self._given = 0
        self._thread: threading.Thread | None = None
        self._over = False

    def _start(self) -> None:
        self._thread = threading.Thread(target=_produce, args=(self._box,), daemon=True, name="lamina-prefetch")
        self._thread.start()
        weakref.finalize(self, self._box.stop)

    def __next__(self) -> Any:
        if self._over:
            raise StopIteration
        if self._thread is None:
            self._start()
        box = self._box
        with box.changed:
            if not box.ready and self._auto and self._given > box.size and box.size < LARGEST_SIZE:
                box.size *= 2  # the consumer had to wait: try to be further ahead
                box.changed.notify_all()
            while not box.ready:
                box.changed.wait()
            element, size, error = box.ready.popleft()
            if box.budget is not None:
                box.budget.add(-size)
            if error is None or not isinstance(error, StopIteration):
                self._given += 1
                box.trail.forget(self._given)
            box.changed.notify_all()
        if error is not None:
            self._over = isinstance(error, StopIteration)
            raise error
        return element

    def get_state(self) -> Any:
        """The child's state at a mark, and how many elements were handed out behind it."""
        if self._thread is None:
            return {"child": self._child.get_state(), "skip": 0}
        with self._box.changed:
            child, skip = self._box.trail.state_at(self._given)
        return {"child": child, "skip": skip}

    def set_state(self, state: Any) -> None:
        """Restore what `get_state` gave; what was made ahead is made again."""
        self._child.set_state(state["child"])
        pass_over(self._child, state["skip"])

    def close(self) -> None:
        """End the thread; it closes the child when it is done with the element it is at."""
        self._over = True
        self._box.stop()
        if self._thread is None:
            self._child.close()
