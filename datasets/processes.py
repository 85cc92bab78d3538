"""Worker processes for maps: spawned, fed through shared memory, kept from one pass to the next.

Each process belongs to a thread of the pool, which writes the inputs of a unit into a file that both have mapped,
waits for the answer on a pipe, and copies the results out into fresh memory. A process that dies is seen as the end
of its pipe. Processes are started afresh (never forked), import what the function needs, and end with their pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from multiprocessing import spawn
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.core.nest import flatten, pack
from lamina.datasets import process_worker
from lamina.datasets.elements import packer, rows
from lamina.datasets.exchange import Arena, layout, receive, send, view, write_arrays
from lamina.datasets.nodes.base import GatherError, add_position
from lamina.datasets.workers import Task

if TYPE_CHECKING:
    from lamina.datasets.context import Context

IN_WORKER = "LAMINA_DATASETS_WORKER"
BOOT = f"import sys, json; sys.path[:] = json.loads(sys.argv[1]); from {process_worker.__name__} import main; main()"


class WorkerDied(RuntimeError):
    """A worker process ended while it was at work."""


class Process:
    """One worker process, started when it is first needed."""

    def __init__(self, functions: tuple[bytes, dict[str, Any]]) -> None:
        self._functions = functions
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()
        self._stopped = False
        self._input: Arena | None = None
        self._output: Arena | None = None

    def _start(self) -> subprocess.Popen:
        environment = dict(os.environ)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment.setdefault(name, "1")  # the processes are the parallelism
        environment[IN_WORKER] = "1"
        with self._lock:
            if self._stopped:
                raise EOFError
            command = [sys.executable, "-c", BOOT, json.dumps([p or os.getcwd() for p in sys.path])]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._input = self._output = None
        send(self._process.stdin, self._functions)  # type: ignore[arg-type]
        return self._process

    def call(self, kind: str, inputs: Any, where: str) -> Any:
        """The functions' results for inputs: a batch of columns, or a list of elements.

        Raises:
            GatherError: a function failed. WorkerDied: the process ended.
        """
        process = self._process
        try:
            if process is None:
                process = self._start()
            return self._exchange(process, kind, inputs)
        except (EOFError, BrokenPipeError, ConnectionError):
            code = self._reap()
            if self._stopped:
                raise WorkerDied("the worker was stopped") from None
            raise WorkerDied(
                f"A worker process ended ({_cause(code)}) while it worked on {where}. If the system killed it for "
                "lack of memory, use fewer workers or smaller batches."
            ) from None

    def _exchange(self, process: subprocess.Popen, kind: str, inputs: Any) -> Any:
        leaves = flatten(inputs) if kind != "list" else [inputs]
        places, size = layout(leaves)
        if size and (self._input is None or self._input.size < size):
            self._input = Arena(size)
        if size:
            write_arrays(self._input.memory, places, leaves)  # type: ignore[union-attr]
        path = self._input.path if size else None  # type: ignore[union-attr]
        structure = pack(inputs, list(range(len(leaves)))) if kind != "list" else 0
        send(process.stdin, (kind, structure, places, path))  # type: ignore[arg-type]
        answer = receive(process.stdout)  # type: ignore[arg-type]
        if answer[0] == "room":
            self._output = Arena(max(answer[1], 1))
            send(process.stdin, self._output.path)  # type: ignore[arg-type]
            answer = receive(process.stdout)  # type: ignore[arg-type]
        # Both sides have mapped the files by now: without their names nothing is left behind, however this ends.
        for arena in (self._input, self._output):
            if arena is not None and os.name == "posix":
                arena.remove()
        if answer[0] == "error":
            raise _remote_error(*answer[1:])
        if answer[0] == "list":
            return [GatherError(*_parts(*a)) if k else a for k, a in answer[1]]
        structure, places = answer[1:]
        found = [view(self._output.memory, p).copy() if isinstance(p, tuple) else p for p in places]  # type: ignore[union-attr]
        return pack(structure, found)

    def _reap(self) -> int | None:
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return None
        try:
            code = process.wait(1)  # its pipe has ended, so it is ending by itself, and the status says why
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        _close_pipes(process)
        return code

    def stop(self) -> None:
        """End the process at once."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is not None:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Let go of the pipes of a stopped process; called by the thread that reads them."""
        self.stop()
        if self._process is not None:
            _close_pipes(self._process)


def _close_pipes(process: subprocess.Popen) -> None:
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            pipe.close()  # type: ignore[union-attr]


def _cause(code: int | None) -> str:
    if code is None:
        return "it could not be started"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit status {code}; its messages are above"


def _parts(offset: int, error: Exception | None, text: str) -> tuple[int, Exception]:
    error = RuntimeError("the error could not be sent from the worker") if error is None else error
    error.add_note("In the worker process:\n" + text)
    return offset, error


def _remote_error(offset: int, error: Exception | None, text: str) -> GatherError:
    return GatherError(*_parts(offset, error, text))


class ProcessPool:
    """Threads that each have a process. Parked between passes, stopped when dropped."""

    def __init__(self, functions: tuple[bytes, dict[str, Any]]) -> None:
        if IN_WORKER in os.environ:
            raise RuntimeError(
                "A worker process was asked to start workers of its own: the script runs its pipeline while it is "
                "imported for a function defined in it. Put the code that runs under `if __name__ == '__main__':`, "
                "or move the function to a module, or install cloudpickle."
            )
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._functions = functions
        self._processes: list[Process] = []
        self.stop = weakref.finalize(self, _stop, self._processes, self._tasks)
        self.node: Any = None

    @property
    def workers(self) -> int:
        """How many processes there are."""
        return len(self._processes)

    def grow(self, workers: int) -> None:
        """Have at least so many processes."""
        while len(self._processes) < workers:
            process = Process(self._functions)
            self._processes.append(process)
            threading.Thread(target=_serve, args=(self._tasks, process), daemon=True, name="lamina-process").start()

    def submit(self, task: Task) -> None:
        """Queue a task; its function is called with the process in front of its arguments."""
        self._tasks.put(task)
        if not self.stop.alive:  # a thread that made elements ahead has not noticed yet that its consumer is gone
            _drop(self._tasks)

    def park(self) -> None:
        """Drop what has not begun, and wait for the next pass."""
        _drop(self._tasks)
        node = self.node() if self.node is not None else None
        if node is not None and self.stop.alive:
            node.parked.append(self)


def _serve(tasks: queue.SimpleQueue[Task | None], process: Process) -> None:
    while True:
        task = tasks.get()
        if task is None:
            process.close()
            return
        task.run((process,))
        del task


def _stop(processes: list[Process], tasks: queue.SimpleQueue[Task | None]) -> None:
    _drop(tasks)
    for process in processes:
        process.stop()
    for _ in processes:
        tasks.put(None)


def _drop(tasks: queue.SimpleQueue[Task | None]) -> None:
    ends = 0
    with contextlib.suppress(queue.Empty):
        while True:
            task = tasks.get_nowait()
            if task is None:
                ends += 1
            else:
                task.cancel()
    for _ in range(ends):
        tasks.put(None)


class ProcessMap:
    """The work of a map in worker processes: the innermost inputs are gathered here, the functions run there."""

    def __init__(self, node: Any, root: Any, nodes: list[Any]) -> None:
        self._node, self._root, self._nodes = node, root, nodes

    def acquire(self, context: Context, workers: int) -> ProcessPool:
        """The pool of the node, from the pass before if there is one."""
        pool = self._node.parked.pop() if self._node.parked else ProcessPool(functions_as_bytes(self._nodes))
        pool.node = weakref.ref(self._node)
        pool.grow(workers)
        context.run.pools[pool] = pool
        return pool

    def gather(self, process: Process, indices: np.ndarray) -> Any:
        """The batch at some indices."""
        return self._call(process, "batch", indices)

    def items(self, process: Process, indices: np.ndarray) -> list[Any]:
        """The elements at some indices; one that failed is a GatherError in its place."""
        result = self._call(process, "items", indices)
        if not isinstance(result, list):
            result = list(rows(flatten(result), packer(result))) if isinstance(result, (tuple, dict)) else list(result)
        for k, e in enumerate(result):
            if isinstance(e, GatherError):
                add_position(e.error, self._node.label, int(indices[k]))
        return result

    def apply_one(self, process: Process, element: Any, position: int) -> Any:
        """The result for one element of a stream."""
        result = process.call("list", [element], f"element {position} of {self._node.label}")[0]
        if isinstance(result, GatherError):
            add_position(result.error, self._node.label, position)
            raise result.error
        return result

    def _call(self, process: Process, kind: str, indices: np.ndarray) -> Any:
        where = f"{len(indices)} elements of {self._node.label}, the first of them element {int(indices[0])}"
        if self._root.pure:
            return self._run(process, kind, self._root.gather(indices), indices, where)
        inputs = []
        try:
            for i in indices.tolist():
                inputs.append(self._root.item(i))
        except Exception as e:
            raise GatherError(len(inputs), e) from e
        if kind == "items":
            return process.call("list", inputs, where)
        return self._run(process, "list_batch", inputs, indices, where)

    def _run(self, process: Process, kind: str, inputs: Any, indices: np.ndarray, where: str) -> Any:
        try:
            return process.call(kind, inputs, where)
        except GatherError as e:
            add_position(e.error, self._node.label, int(indices[e.offset]))
            raise


def functions_as_bytes(nodes: list[Any]) -> tuple[bytes, dict[str, Any]]:
    """The functions of maps, innermost first, as a process can be sent them, and the main module if it must be
    imported.

    Raises:
        TypeError: one cannot be sent.
    """
    functions = [(n.fn, n.label) for n in nodes]
    main: dict[str, Any] = {}
    try:
        import cloudpickle
    except ImportError:
        dumps: Callable[[Any], bytes] = pickle.dumps
        cure = (
            "Define it at the top level of a module, or install cloudpickle, which can send functions defined anywhere."
        )
        main = {k: v for k, v in spawn.get_preparation_data("lamina").items() if k.startswith("init_main")}
    else:
        dumps, cure = cloudpickle.dumps, "What it refers to (files, locks, connections) must be opened inside it."
    try:
        data = dumps(functions)
    except Exception as e:
        raise TypeError(f"{nodes[-1].label}: the function cannot be sent to a worker process: {e}. {cure}") from e
    return data, main if b"__main__" in data else {}
