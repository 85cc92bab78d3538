"""What a worker process runs: it reads units from its input, applies the functions, and writes the results back."""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from itertools import starmap
from multiprocessing import spawn
from typing import Any

from lamina.core.nest import flatten, pack
from lamina.datasets.elements import BatchBuilder, as_result, packer, rows, stack
from lamina.datasets.exchange import layout, receive, send, view, write_arrays


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what functions print must not mix with the answers
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        functions, main_module = receive(source)
        if main_module:
            spawn.prepare(main_module)
        worker = _Worker(pickle.loads(functions))
        while True:
            worker.serve(source, sink)
    except (EOFError, BrokenPipeError):
        sys.exit(0)


class _Worker:
    def __init__(self, functions: list[tuple[Callable[..., Any], str]]) -> None:
        self._functions = [f for f, _ in functions]
        self._label = functions[-1][1]
        self._input: tuple[str | None, Any] = (None, None)
        self._output: Any = None

    def serve(self, source: Any, sink: Any) -> None:
        kind, structure, places, path = receive(source)
        if path is not None and path != self._input[0]:
            self._input = path, _map(path)
        leaves = [view(self._input[1], p).copy() if isinstance(p, tuple) else p for p in places]
        inputs = pack(structure, leaves)
        try:
            if kind == "list":
                self._answer_list(sink, inputs)
            elif kind == "items":
                self._answer_items(source, sink, inputs)
            else:
                elements = inputs if kind == "list_batch" else _rows(inputs)
                self._answer_batch(source, sink, elements, len(flatten(inputs)[0]) if kind == "batch" else len(inputs))
        except _Failed as e:
            send(sink, ("error", e.offset, _sendable(e.error), e.text))

    def _results(self, elements: Iterator[Any]) -> Iterator[Any]:
        for fn in self._functions:
            elements = _apply(fn, map(as_result, elements))
        return elements

    def _answer_batch(self, source: Any, sink: Any, elements: Any, size: int) -> None:
        builder = BatchBuilder(size, self._label)
        try:
            builder.fill(self._results(iter(elements)))
            if builder.count < size:
                raise RuntimeError("the function raised StopIteration, which would end the loop")
        except Exception as e:
            raise _Failed(builder.count, e) from e
        self._answer(source, sink, builder.finish())

    def _answer(self, source: Any, sink: Any, batch: Any) -> None:
        leaves = flatten(batch)
        places, size = layout(leaves)
        if size > (len(self._output) if self._output is not None else 0):
            send(sink, ("room", size + size // 4))
            self._output = _map(receive(source))
        if size:
            write_arrays(self._output, places, leaves)
        send(sink, ("batch", pack(batch, list(range(len(leaves)))), places))

    def _answer_items(self, source: Any, sink: Any, inputs: Any) -> None:
        results = self._one_by_one(_rows(inputs))
        if not any(failed for failed, _ in results):
            try:
                batch = stack([r for _, r in results], self._label)
            except ValueError:  # results of different shapes go as they are
                pass
            else:
                self._answer(source, sink, batch)
                return
        send(sink, ("list", results))

    def _answer_list(self, sink: Any, inputs: list[Any]) -> None:
        send(sink, ("list", self._one_by_one(inputs)))

    def _one_by_one(self, elements: Any) -> list[tuple[bool, Any]]:
        out: list[tuple[bool, Any]] = []
        for element in elements:
            try:
                for result in self._results(iter([element])):
                    out.append((False, as_result(result)))
                    break
                else:
                    raise RuntimeError("the function raised StopIteration, which would end the loop")
            except Exception as e:
                out.append((True, (len(out), _sendable(e), traceback.format_exc())))
        return out


class _Failed(Exception):
    def __init__(self, offset: int, error: Exception) -> None:
        super().__init__(offset)
        self.offset, self.error = offset, error
        self.text = "".join(traceback.format_exception(error))


def _apply(fn: Callable[..., Any], elements: Iterator[Any]) -> Iterator[Any]:
    for first in elements:
        rest = _chain(first, elements)
        return starmap(fn, rest) if isinstance(first, tuple) else map(fn, rest)
    return iter(())


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _rows(batch: Any) -> Any:
    if not isinstance(batch, (tuple, dict)):
        return list(flatten(batch)[0])
    return rows(flatten(batch), packer(batch))


def _map(path: str) -> Any:
    with open(path, "r+b") as f:
        return mmap.mmap(f.fileno(), 0)


def _sendable(error: Exception) -> Exception | None:
    error = error.with_traceback(None)
    error.__cause__ = error.__context__ = None
    try:
        return error if isinstance(pickle.loads(pickle.dumps(error)), Exception) else None
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
