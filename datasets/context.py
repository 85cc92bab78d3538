"""What the iterators of one run share: options, random keys, the memory budget, clocks, and what must be closed."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from lamina.datasets.clock import Clock
from lamina.datasets.nodes.base import ElementIterator, Node, RandomNode
from lamina.datasets.options import Options, cpu_count


class Context:
    """One run of a pipeline, as one of its stages sees it.

    `epochs` says in which pass of each enclosing repeat (or in which element of each enclosing flat_map) the stage
    stands; with the seed and the number of the run it fixes all random numbers, so that no generator state need be
    saved.
    """

    __slots__ = ("run", "epochs", "options")

    def __init__(self, run: Run, epochs: tuple[int, ...] = ()) -> None:
        self.run = run
        self.epochs = epochs
        self.options = run.options

    def epoch(self, k: int) -> Context:
        """The context of pass `k` of a repeat."""
        return Context(self.run, (*self.epochs, k))

    def first_epoch(self) -> Context:
        """The context of what is read once and kept."""
        return Context(self.run)

    def inner(self, key: tuple[int, ...], number: int) -> Context:
        """The context of a dataset that a function made of element `number` of a stage with this random key."""
        return Context(self.run.nested(), (*key, number))

    def random_key(self, node: RandomNode, anew: bool = True) -> tuple[int, ...]:
        """The integers that seed `node` here; without `anew` they are the same in each pass and run."""
        seed, number = self.run.randomness(node)
        return (seed, number, len(self.epochs), *self.epochs) if anew else (seed,)

    def timed(self, node: Node, iterator: ElementIterator) -> ElementIterator:
        """`iterator`, under the clock that `summary()` reads."""
        return iterator if self.run.inner else self.run.clock.watch(node, iterator)

    def parallelism(self, calls: int) -> int:
        """The greatest number of workers that `num_parallel_calls=calls` allows."""
        if calls > 0:
            return calls
        options = self.options
        return options.threading.private_threadpool_size or options.autotune.cpu_budget or cpu_count()


class Run:
    """All that belongs to one iterator over a whole pipeline."""

    def __init__(self, root: Node, options: Options, clock: Clock | None = None, probe: bool = False) -> None:
        self.root = root
        self.inner = False
        self.restored = False
        self.probe = probe  # a look at the first elements, which must not count as a run
        self.options = options
        self.clock = Clock() if clock is None else clock
        self.budget = Budget(options.autotune.ram_budget or free_memory() // 4)
        self.pools: dict[Any, Any] = {}
        self._random: dict[RandomNode, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def randomness(self, node: RandomNode) -> tuple[int, int]:
        """(seed, run number) of a node, fixed for this run when first asked for."""
        with self._lock:
            if node not in self._random:
                self._random[node] = (0, 0) if self.probe else node.begin_run(count=not self.inner)
            return self._random[node]

    def nested(self) -> Run:
        """This run for datasets that are made on the way: each of their random stages is in its first run."""
        inner = copy.copy(self)
        inner._random, inner.inner = {}, True
        return inner

    def pin(self, values: dict[RandomNode, tuple[int, int]]) -> None:
        """Fix the randomness of nodes whose elements are kept from an earlier run."""
        self._random.update(values)

    def save_randomness(self) -> list[list[int]]:
        """Seeds and run numbers of the nodes that draw, in the order of the tree."""
        return [list(self.randomness(n)) for n in random_nodes(self.root)]

    def restore_randomness(self, saved: list[list[int]]) -> None:
        """Take up what `save_randomness` gave, in a pipeline of the same making."""
        nodes = random_nodes(self.root)
        if len(nodes) != len(saved):
            raise ValueError(
                f"The saved state has {len(saved)} stages that draw random numbers, this pipeline {len(nodes)}: "
                "it was saved from another pipeline."
            )
        self.restored = True
        self._random = {n: (int(s), int(r)) for n, (s, r) in zip(nodes, saved, strict=True)}
        for node, (seed, number) in self._random.items():
            node.continue_from(seed, number + 1)

    def finish(self, abandoned: bool) -> None:
        """Stop the workers of an abandoned run; keep those of one that ended for the next run."""
        for pool in self.pools.values():
            pool.stop() if abandoned else pool.park()
        self.pools.clear()


class Budget:
    """A number of bytes that buffers under AUTOTUNE share."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        """Count `size` bytes as held (or, negative, as given back)."""
        with self._lock:
            self.used += size

    def allows(self, size: int) -> bool:
        """Whether another `size` bytes fit."""
        return self.used + size <= self.limit


def walk(root: Node) -> Iterator[Node]:
    """Each node once, in the order of the tree, the last stage first."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            pending.extend(reversed(node.children))


def random_nodes(root: Node) -> list[RandomNode]:
    """The nodes that draw random numbers, in the order of the tree."""
    return [n for n in walk(root) if isinstance(n, RandomNode)]


def rng(key: tuple[int, ...]) -> np.random.Generator:
    """A generator that follows from `key` alone, on every machine."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([k & 0xFFFFFFFFFFFFFFFF for k in key])))


def free_memory() -> int:
    """Bytes of memory that are free now (a guess of 4 GB where the system does not say)."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 4 << 30
