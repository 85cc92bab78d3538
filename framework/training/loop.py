"""The loops over epochs and chunks of batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from lamina.callbacks.callback import CallbackList
from lamina.executor.feed import Pass
from lamina.executor.interrupt import InterruptGuard
from lamina.executor.program import Logs, Program, clock


class Run(NamedTuple):
    """What became of a pass: the batches run, the logs of the last, and the seconds it took in all and starved."""

    done: int
    logs: Logs | None
    seconds: float
    starved: float


def run_pass(
    batches: Pass,
    program_for: Callable[[list, Any, bool], Program],
    values: list,
    callbacks: CallbackList,
    kind: str,
    limit: int | None,
    number: int,
    guard: InterruptGuard | None = None,
    stop: Callable[[], bool] = lambda: False,
    advance: Callable[[int, Logs], None] = lambda done, logs: None,
    done: int = 0,
) -> Run:
    """Runs the batches of a pass through programs, chunk by chunk, with one chunk in flight.

    Args:
        batches: the batches.
        program_for: `program_for(arrays, tree, each)`, the program for batches of that kind.
        values: the values that the programs work on, changed in place.
        callbacks: whom to call.
        kind: "train" or "test", the kind of batch hooks.
        limit: the most batches to run, or None.
        number: the number of the step of batch 0.
        guard: holds Ctrl-C back while values are in flight.
        stop: asked after each chunk whether to end the pass.
        advance: told the number of batches done after each chunk, and its logs.
        done: the number of batches that were done before.

    """
    each = callbacks.wants_batches(kind)
    one_by_one = each and callbacks.needs_each_batch(kind)
    begin, end = getattr(callbacks, f"on_{kind}_batch_begin"), getattr(callbacks, f"on_{kind}_batch_end")
    logs: Logs | None = None
    flying: Logs | None = None
    starved = 0.0
    began = started = clock()
    while limit is None or done < limit:
        fetching = clock()
        head = batches.peek()
        if head is None:
            break
        program = program_for(head[0], head[1], each)
        steps = 1 if one_by_one else program.steps
        if limit is not None:
            steps = min(steps, limit - done)
        boundary = callbacks.next_boundary(kind, done)
        if boundary is not None:
            steps = min(steps, boundary - done)
        chunk = batches.take(min(steps, program.capacity), program.capacity)
        if flying is not None and flying.ready():  # the device had nothing to do for some of that time
            starved += clock() - fetching
        if each:
            begin(done, None)
            if one_by_one and stop():
                break
        if guard is not None:
            guard.begin()
        logs = program(values, chunk.arrays, chunk.steps, number + done)
        if guard is not None:
            guard.end()
        if flying is not None:
            flying.wait()
        flying = logs
        now = clock()
        program.timed(now - started, chunk.steps)
        started = now
        if each:
            for i in range(chunk.steps):
                if i:
                    begin(done + i, None)
                end(done + i, logs.read(i))
        done += chunk.steps
        advance(done, logs)
        callbacks.on_progress(kind, done, logs)
        if stop():
            break
    return Run(done, logs, clock() - began, starved)
