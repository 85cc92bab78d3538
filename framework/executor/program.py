"""Programs: a step function compiled to run one step, or many steps, in a call.

A program finds out by itself which values the step changes. Those are donated and returned; frozen weights and the
learning rate only go in. Small steps run inside a loop with a trip count given at run time, so one compilation serves
one step, a chunk of steps, and the last short chunk. Steps with much arithmetic run alone, without a loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import jaxpr_as_fun

from lamina.executor.cost import multiply_adds

# Steps a call, at most.
MOST_STEPS = 128
# A call is made longer while it takes less than this; on an accelerator, where a call costs more, rather longer.
CHUNK_SECONDS = {"cpu": 0.01}
OTHER_CHUNK_SECONDS = 0.02
# A step with more multiply-adds than this takes over 20 ms on a CPU, and gains nothing from a loop.
LONE_STEP_MULTIPLY_ADDS = {"cpu": 1e9}
OTHER_LONE_STEP_MULTIPLY_ADDS = 2e10
# The buffer of a chunk holds at most this many bytes.
CHUNK_BYTES = 64 * 2**20


class Logs:
    """The logs of a call, still on the device; reading them waits for the call to end."""

    def __init__(self, names: Sequence[str], packed: Any, others: Sequence[Any], mask: Sequence[bool], steps: int):
        self._names, self._packed, self._others, self._mask = tuple(names), packed, tuple(others), mask
        self._last = steps - 1

    def ready(self) -> bool:
        """Whether the call has ended."""
        return self._packed.is_ready()

    def wait(self) -> None:
        """Waits for the call to end."""
        self._packed.block_until_ready()

    def read(self, step: int | None = None) -> dict[str, Any]:
        """The logs of the last step of the call as numbers; of step number `step`, where each step's were wanted."""
        step = self._last if step is None else step
        each = np.ndim(self._packed) == 2

        def row(array: Any) -> np.ndarray:
            return np.asarray(array)[step] if each else np.asarray(array)

        scalars, others = iter(row(self._packed).tolist()), iter(self._others)
        return {
            name: next(scalars) if scalar else row(next(others))
            for name, scalar in zip(self._names, self._mask, strict=True)
        }


class Program:
    """A compiled step.

    Args:
        step: `step(values, batch, number) -> (logs, new values)`, pure; `values` is a flat list, `number` counts
            the steps of the run, and logs is a dict of arrays.
        values: the values, for their shapes.
        batch: a batch as a list of numpy arrays, for their shapes.
        each: whether the logs of every step are wanted.
        most_steps: the most steps a call, or None to choose.
        jit: False runs the step without compiling, for debugging.
        donate: whether the changed values may be used up; a run that only borrows weights says False.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        values: Sequence[Any],
        batch: Sequence[np.ndarray],
        each: bool = False,
        most_steps: int | None = None,
        jit: bool = True,
        donate: bool = True,
    ):
        self.each = each
        self.compilations = 0
        self.steps = 1
        self._adapts = most_steps is None
        self._warm = False
        platform = jax.default_backend()
        self._chunk_seconds = CHUNK_SECONDS.get(platform, OTHER_CHUNK_SECONDS)
        specs = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in values]
        rows = [jax.ShapeDtypeStruct(b.shape, jax.dtypes.canonicalize_dtype(b.dtype)) for b in batch]
        number = jax.ShapeDtypeStruct((), jnp.int32)
        self._names: tuple[str, ...] = ()
        self._eager = None if jit else step
        if not jit:
            self.capacity = 1
            self._changed = list(range(len(values)))
            return

        def flat(values: list, batch: list, number: Any) -> tuple[list, list]:
            logs, new = step(values, batch, number)
            self._names = tuple(logs)
            return [jnp.asarray(v) for v in logs.values()], list(new)

        closed, shapes = jax.make_jaxpr(flat, return_shape=True)(specs, rows, number)
        n_logs = len(shapes[0])
        outs = closed.jaxpr.outvars[n_logs:]
        self._changed = [i for i, (a, b) in enumerate(zip(closed.jaxpr.invars, outs, strict=False)) if a is not b]
        self._fixed = [i for i in range(len(values)) if i not in set(self._changed)]
        self._mask = [s.shape == () for s in shapes[0]]
        if most_steps is None:
            lone = LONE_STEP_MULTIPLY_ADDS.get(platform, OTHER_LONE_STEP_MULTIPLY_ADDS)
            size = sum(b.nbytes for b in batch) or 1
            most_steps = max(1, min(MOST_STEPS, CHUNK_BYTES // size))
            if multiply_adds(closed.jaxpr) > lone:
                most_steps = 1
        else:
            self.steps = most_steps
        self.capacity = most_steps
        run = self._make(jaxpr_as_fun(closed), shapes[0], len(values))

        def counted(*args: Any) -> tuple:
            self.compilations += 1  # runs when the program is traced, which is when it is compiled
            return run(*args)

        self._run = jax.jit(counted, donate_argnums=(0,) if donate else ())

    def _make(self, step: Callable[..., Any], logs: list[Any], n_values: int) -> Callable[..., Any]:
        """The function of a call: `run(changed, fixed, stacked batch, steps, number) -> (changed, packed, others)`."""
        changed, fixed, each, capacity, mask = self._changed, self._fixed, self.each, self.capacity, self._mask
        n_logs = len(logs)

        def once(values: list, consts: list, batch: list, number: Any) -> tuple[Any, list, list]:
            full: list[Any] = [None] * n_values
            for i, v in zip(changed, values, strict=True):
                full[i] = v
            for i, v in zip(fixed, consts, strict=True):
                full[i] = v
            out = step(*full, *batch, number)
            scalars = [v.astype(jnp.float32) for v, m in zip(out[:n_logs], mask, strict=True) if m]
            others = [v for v, m in zip(out[:n_logs], mask, strict=True) if not m]
            packed = jnp.stack(scalars) if scalars else jnp.zeros((0,))
            return packed, others, [out[n_logs + i] for i in changed]

        def run_one(values: list, consts: list, batch: list, steps: Any, number: Any) -> tuple:
            packed, others, values = once(values, consts, batch, number)
            if each:
                packed, others = packed[None], [o[None] for o in others]
            return values, packed, others

        def run_many(values: list, consts: list, batch: list, steps: Any, number: Any) -> tuple:
            def body(i: Any, carry: tuple) -> tuple:
                values, packed, others = carry
                rows = [lax.dynamic_index_in_dim(b, i, keepdims=False) for b in batch]
                now, extra, values = once(values, consts, rows, number + i)
                if each:
                    now = lax.dynamic_update_index_in_dim(packed, now, i, 0)
                    extra = [
                        lax.dynamic_update_index_in_dim(old, new, i, 0) for old, new in zip(others, extra, strict=True)
                    ]
                return values, now, extra

            lead = (capacity,) if each else ()
            packed = jnp.zeros((*lead, sum(mask)), jnp.float32)
            others = [jnp.zeros((*lead, *s.shape), s.dtype) for s, m in zip(logs, mask, strict=True) if not m]
            return lax.fori_loop(0, steps, body, (values, packed, others))

        return run_one if capacity == 1 else run_many

    def __call__(self, values: list, batch: list[np.ndarray], steps: int, number: int) -> Logs:
        """Runs `steps` steps and puts the new values into the list `values`.

        Args:
            values: the values; those that the step changes are donated and replaced.
            batch: the batches; with a capacity over 1, stacked along a new first axis of that size.
            steps: how many of them to run.
            number: the number of the first step.
        """
        if self._eager is not None:
            logs, new = self._eager(list(values), batch, jnp.int32(number))
            values[:] = [jnp.asarray(v) for v in new]
            scalars = [jnp.asarray(v) for v in logs.values()]
            mask = [v.ndim == 0 for v in scalars]
            packed = jnp.stack([v.astype(jnp.float32) for v in scalars if v.ndim == 0]) if any(mask) else jnp.zeros(0)
            others = [v for v in scalars if v.ndim]
            if self.each:
                packed, others = packed[None], [o[None] for o in others]
            return Logs(tuple(logs), packed, others, mask, 1)
        changed = [values[i] for i in self._changed]
        fixed = [values[i] for i in self._fixed]
        new, packed, others = self._run(changed, fixed, batch, np.int32(steps), np.int32(number))
        for i, v in zip(self._changed, new, strict=True):
            values[i] = v
        return Logs(self._names, packed, others, self._mask, steps)

    def timed(self, seconds: float, steps: int) -> None:
        """Learns from the time that a call took, preparation of its data included.

        The number of steps a call doubles while calls are short, and halves when they have become long, as on a
        machine that is busy with something else. The first call, which compiles, does not count.
        """
        if not self._adapts:
            return
        if not self._warm:
            self._warm = True
        elif steps == self.steps:
            if seconds < self._chunk_seconds:
                self.steps = min(self.capacity, 2 * steps)
            elif seconds > 8 * self._chunk_seconds:
                self.steps = max(1, steps // 2)


clock = time.perf_counter
