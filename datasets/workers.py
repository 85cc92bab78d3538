"""Stages that run ahead of their consumer on worker threads or processes, in order, with an exact state.

The consumer's thread reads the source and hands out units of work; workers run user functions only. So positions and
random numbers never depend on the number of workers. A unit is one element, or a whole batch where a batch follows.
"""

from __future__ import annotations

import functools
import queue
import threading
import weakref
from _thread import allocate_lock
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from lamina.datasets.elements import nbytes
from lamina.datasets.nodes.base import ElementIterator, GatherError, Node

if TYPE_CHECKING:
    from lamina.datasets.context import Context
    from lamina.datasets.plan import RandomAccess

WINDOW = 2  # units under way for each worker
SNAPSHOT_SECONDS = 1e-3
WORTH_A_THREAD = 3e-4  # seconds a unit; handing a unit to another thread and back costs some 20-50 us


class Task:
    """A unit of work and, when `wait` returns, what came of it."""

    __slots__ = ("fn", "args", "key", "result", "error", "_done", "_finished")

    def __init__(
        self, key: int, fn: Callable[..., Any], args: tuple, finished: queue.SimpleQueue[Task] | None = None
    ) -> None:
        self.key, self.fn, self.args = key, fn, args
        self._finished = finished
        self.result: Any = None
        self.error: BaseException | None = None
        self._done = allocate_lock()
        self._done.acquire()

    def run(self, prefix: tuple = ()) -> None:
        """Do the work."""
        try:
            self.result = self.fn(*prefix, *self.args)
        except BaseException as e:
            self.error = e
        self._done.release()
        if self._finished is not None:
            self._finished.put(self)

    def cancel(self) -> None:
        """Let who waits for a task that will not run go on."""
        self.error = RuntimeError("The workers were stopped.")
        self._done.release()
        if self._finished is not None:
            self._finished.put(self)

    def wait(self) -> None:
        """Block until the work is done; a signal such as Ctrl-C comes through."""
        self._done.acquire()
        self._done.release()


class ThreadPool:
    """Daemon threads that run tasks. Stopping it discards what has not begun."""

    def __init__(self, workers: int) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self.workers = 0
        self.grow(workers)

    def grow(self, workers: int) -> None:
        """Have at least so many threads."""
        while self.workers < workers:
            threading.Thread(target=_work, args=(self._tasks, self._stopped), daemon=True, name="lamina-worker").start()
            self.workers += 1

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._tasks.put(task)

    def stop(self) -> None:
        """Discard the queue and end the threads when what they are at is done."""
        self._stopped.set()
        for _ in range(self.workers):
            self._tasks.put(None)


def _work(tasks: queue.SimpleQueue[Task | None], stopped: threading.Event) -> None:
    while not stopped.is_set():
        task = tasks.get()
        if task is None or stopped.is_set():
            return
        task.run()
        del task


class Tuner:
    """How many workers a stage with `num_parallel_calls=AUTOTUNE` uses: none while its function is too cheap to be
    worth a thread, then more as long as more are faster."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.workers = 0
        self._settled = limit < 2
        self._count = 0
        self._start = perf_counter()
        self._rates: dict[int, float] = {}

    def step(self) -> None:
        """Called once for each unit handed out."""
        if self._settled:
            return
        self._count += 1
        seconds = perf_counter() - self._start
        if self._count < 4 or (self.workers and seconds < 0.2):
            return
        rate = self._count / seconds
        self._rates[self.workers] = rate
        if self.workers == 0:
            if seconds / self._count < WORTH_A_THREAD:
                self._settled = True
                return
            self._try(2)
        elif rate < 1.1 * max(r for w, r in self._rates.items() if w != self.workers):
            self.workers = max(self._rates, key=lambda w: self._rates[w])
            self._settled = True
        elif self.workers >= self.limit:
            self._settled = True
        else:
            self._try(min(self.limit, self.workers * 2))

    def _try(self, workers: int) -> None:
        self.workers = workers
        self._count, self._start = 0, perf_counter()


class ParallelIterator(ElementIterator):
    """Runs units of work ahead. Subclasses say what the next unit is, and what position a unit stands for."""

    def __init__(self, node: Node, calls: int, deterministic: bool, context: Context, processes: Any = None) -> None:
        self._node = node
        auto = calls < 0
        limit = context.parallelism(calls)
        if auto and not context.options.autotune.enabled:
            limit = 1
        self._tuner = Tuner(limit) if auto and processes is None else None
        self._workers = limit if self._tuner is None else 0
        self._budget = context.run.budget if auto else None
        self._unit_bytes = 0
        self._ordered = deterministic
        self._finished: queue.SimpleQueue[Task] | None = None if deterministic else queue.SimpleQueue()
        self._pool: Any = None
        self._processes = processes
        self._make_pool = functools.partial(processes.acquire, context, limit) if processes else self._make_threads
        self._pending: deque[Task] = deque()
        self._done: set[int] = set()  # units handed out before an older one, when the order is free
        self._next_key = 0
        self._over = False

    def _make_threads(self) -> ThreadPool:
        pool = ThreadPool(self._workers)
        weakref.finalize(self, pool.stop)
        return pool

    @abstractmethod
    def _next_unit(self) -> tuple[int, Callable[..., Any], tuple]:
        """(key, function, arguments) of the next unit; keys ascend. Raises StopIteration at the end."""

    def _next_result(self) -> Task:
        """The next finished task, in order if order is asked for. Raises StopIteration at the end."""
        if self._tuner is not None:
            self._tuner.step()
            self._workers = self._tuner.workers
        if not self._workers and not self._pending:
            if self._over:
                raise StopIteration
            task = self._begin()
            task.run()
            return task
        self._fill()
        if not self._pending:
            raise StopIteration
        if self._finished is None:
            task = self._pending.popleft()
            task.wait()
        else:
            task = self._finished.get()
            self._pending.remove(task)
            self._done.add(task.key)
            self._forget_done()
        if self._budget is not None and task.error is None:
            self._unit_bytes = max(self._unit_bytes, nbytes(task.result))
        return task

    def _begin(self) -> Task:
        try:
            return Task(*self._next_unit(), self._finished)
        except StopIteration:
            self._over = True
            raise
        except Exception as e:  # the source failed: the error takes the place of the unit
            return Task(self._next_key - 1, _raise, (e,), self._finished)

    def _fill(self) -> None:
        window = max(1, self._workers * WINDOW)
        if self._budget is not None and self._unit_bytes:
            window = max(1, min(window, self._budget.limit // self._unit_bytes))
        while not self._over and len(self._pending) < window:
            try:
                task = self._begin()
            except StopIteration:
                return
            if self._pool is None:
                self._pool = self._make_pool()
            self._pool.grow(self._workers)
            self._pool.submit(task)
            self._pending.append(task)

    def _oldest(self, end: int) -> int:
        """The key of the oldest unit that was not handed out; `end` if all were."""
        return min((t.key for t in self._pending), default=end)

    def _forget_done(self) -> None:
        oldest = self._floor()
        self._done = {k for k in self._done if k > oldest}

    def _floor(self) -> int:
        return self._oldest(self._next_key)

    def close(self) -> None:
        """Stop the workers; what they have under way is dropped."""
        self._over = True
        self._pending.clear()
        if self._pool is not None and self._processes is None:
            self._pool.stop()
            self._pool = None


def _raise(*args: Any) -> None:
    raise args[-1]


class Trail:
    """States of a child at some positions, so that the state at any later position is one of them and a count to skip.

    Taking a state costs some microseconds, so one is taken at most once in `SNAPSHOT_SECONDS`.
    """

    def __init__(self, child: ElementIterator) -> None:
        self._child = child
        self._marks: deque[tuple[int, Any]] = deque()
        self._time = 0.0

    def mark(self, position: int) -> None:
        """Called before the child's element number `position` is read."""
        now = perf_counter()
        if not self._marks or now - self._time > SNAPSHOT_SECONDS:
            self._marks.append((position, self._child.get_state()))
            self._time = now

    def state_at(self, position: int) -> tuple[Any, int]:
        """The child's state at a mark at or before `position`, and how many elements lie between."""
        self.forget(position)
        if not self._marks:
            return self._child.get_state(), 0
        at, state = self._marks[0]
        return state, position - at

    def forget(self, position: int) -> None:
        """Drop the marks that no position from `position` on needs."""
        while len(self._marks) > 1 and self._marks[1][0] <= position:
            self._marks.popleft()


class ParallelMapIterator(ParallelIterator):
    """A map over a stream, element by element."""

    def __init__(self, node: Any, child: ElementIterator, context: Context) -> None:
        processes = node.processes(context)
        super().__init__(node, node.calls, _deterministic(node, context), context, processes)
        self._child = child
        self._trail = Trail(child)
        self._apply = node.apply if processes is None else processes.apply_one

    def __next__(self) -> Any:
        task = self._next_result()
        self._trail.forget(self._oldest(self._next_key))
        if task.error is not None:
            raise task.error
        return task.result

    def _next_unit(self) -> tuple[int, Callable[..., Any], tuple]:
        self._trail.mark(self._next_key)
        self._next_key += 1
        try:
            element = self._child.__next__()
        except StopIteration:
            self._next_key -= 1
            raise
        return self._next_key - 1, self._apply, (element, self._next_key - 1)

    def get_state(self) -> Any:
        """The child's state at the oldest element that was not handed out, and which younger ones were."""
        at = self._oldest(self._next_key)
        child, skip = self._trail.state_at(at)
        return {"at": at, "child": child, "skip": skip, "done": sorted(self._done)}

    def set_state(self, state: Any) -> None:
        """Restore what `get_state` gave; units that were under way are run again."""
        self._child.set_state(state["child"])
        pass_over(self._child, state["skip"])
        self._next_key = state["at"]
        skipped = set(state["done"])
        if skipped:
            self._child = _Without(self._child, {k - self._next_key for k in skipped})

    def close(self) -> None:
        """Stop the workers and the child."""
        super().close()
        self._child.close()


def pass_over(child: ElementIterator, count: int) -> None:
    """Read `count` elements again that were already handed out."""
    for _ in range(count):
        try:
            child.__next__()
        except StopIteration:
            return
        except Exception:  # it was raised, and dealt with, when the elements were first read
            continue


class _Without(ElementIterator):
    """A restored stream without the elements that were handed out of order."""

    def __init__(self, child: ElementIterator, done: set[int]) -> None:
        self._child, self._done = child, done
        self._count = 0

    def __next__(self) -> Any:
        while self._count in self._done:
            self._done.discard(self._count)
            self._count += 1
            pass_over(self._child, 1)
        self._count += 1
        return self._child.__next__()

    def get_state(self) -> Any:
        return {"child": self._child.get_state(), "count": self._count, "done": sorted(self._done)}

    def set_state(self, state: Any) -> None:  # pragma: no cover  states of the outer iterator are restored instead
        raise RuntimeError("the state of a parallel map is restored as a whole")

    def close(self) -> None:
        self._child.close()


def _deterministic(node: Any, context: Context) -> bool:
    given = node.deterministic if node.deterministic is not None else context.options.deterministic
    return given is not False


class _AccessIterator(ParallelIterator):
    """Units of `size` positions of an indexable base; the state is the oldest position and the units done beyond it."""

    def __init__(self, node: Any, access: RandomAccess, size: int, drop_remainder: bool, context: Context) -> None:
        stage = access.base.parallel
        given = node if stage is None else stage
        processes = None if stage is None else stage.processes(context, access.base)
        super().__init__(node, given.calls, _deterministic(given, context), context, processes)
        self._access, self._size, self._drop = access, size, drop_remainder
        self._skip: set[int] = set()

    def _next_unit(self) -> tuple[int, Callable[..., Any], tuple]:
        while self._next_key in self._skip:
            self._skip.discard(self._next_key)
            self._next_key += self._size
        start = self._next_key
        stop = self._access.clip(start + self._size)
        if stop <= start or (self._drop and stop - start < self._size):
            raise StopIteration
        self._next_key = stop
        return start, self._gather, (self._access.locate(start, stop),)

    @abstractmethod
    def _gather(self, *args: Any) -> Any: ...

    def _get(self) -> Any:
        at = self._oldest(self._next_key)
        return {"at": at, "done": sorted(self._done | self._skip)} if self._done or self._skip else at

    def _set(self, state: Any) -> None:
        self._next_key, done = (state["at"], state["done"]) if isinstance(state, dict) else (state, ())
        self._skip = set(done)


class ParallelGatherIterator(_AccessIterator):
    """Batches of an indexable base, a batch a unit."""

    def __init__(self, node: Any, access: RandomAccess, context: Context) -> None:
        super().__init__(node, access, node.batch_size, node.drop_remainder, context)
        self._do = access.base.gather if self._processes is None else self._processes.gather

    def _gather(self, *args: Any) -> Any:
        return self._do(*args)

    def __next__(self) -> Any:
        task = self._next_result()
        error = task.error
        if error is None:
            return task.result
        if isinstance(error, GatherError):
            if self._finished is not None:
                raise error.error  # with a free order the batches stay as they were cut, and this one is lost
            # What was begun behind the batch at fault has the wrong bounds: go on behind the element at fault.
            self._pending.clear()
            self._over = False
            self._next_key = task.key + error.offset + 1
            raise error.error
        raise error

    def get_state(self) -> Any:
        """The position of the oldest batch that was not handed out."""
        return self._get()

    def set_state(self, state: Any) -> None:
        """Go on from a position."""
        self._set(state)


class ParallelItemIterator(_AccessIterator):
    """Elements of an indexable base; processes get several at a time, since each exchange costs as much as a
    function."""

    CHUNK = 16

    def __init__(self, node: Any, access: RandomAccess, context: Context) -> None:
        stage = access.base.parallel
        in_processes = stage.processes(context, access.base) is not None
        super().__init__(node, access, self.CHUNK if in_processes else 1, False, context)
        self._ready: deque[Any] = deque()
        self._hand = 0  # the unit that `_ready` is the rest of
        self._given = 0
        self._give_less: tuple[int, int] = (-1, 0)

    def _gather(self, *args: Any) -> Any:
        if self._processes is None:
            return [self._access.base.item(int(args[0][0]))]
        return self._processes.items(*args)

    def _floor(self) -> int:
        oldest = self._oldest(self._next_key)
        return min(oldest, self._hand) if self._ready else oldest

    def __next__(self) -> Any:
        while not self._ready:
            task = self._next_result()
            self._hand, self._given = task.key, 0
            if task.error is not None:
                raise task.error.error if isinstance(task.error, GatherError) else task.error
            self._ready.extend(task.result)
            if self._give_less[0] == task.key:
                self._given = self._give_less[1]
                for _ in range(self._given):
                    self._ready.popleft()
        self._given += 1
        result = self._ready.popleft()
        if isinstance(result, GatherError):
            raise result.error
        return result

    def get_state(self) -> Any:
        """The position; with a free order, the oldest unit and what was handed out beyond it."""
        if self._finished is None:
            return self._hand + self._given if self._ready else self._oldest(self._next_key)
        done = (self._done | self._skip) - ({self._hand} if self._ready else set())
        return {
            "at": self._floor(),
            "done": sorted(done),
            "hand": self._hand,
            "given": self._given if self._ready else 0,
        }

    def set_state(self, state: Any) -> None:
        """Restore what `get_state` gave; units that were under way are run again."""
        self._set(state)
        if isinstance(state, dict):
            self._give_less = state["hand"], state["given"]
