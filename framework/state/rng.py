"""Randomness as a function of (seed, step, path): nothing to save, so a resumed run draws the same numbers."""

from __future__ import annotations

import random
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_int
from lamina.core.config import Configurable
from lamina.state.frame import current_frame

# The hardware generator: inside a compiled step its bits cost next to nothing, where threefry's cost 80 us on a CPU.
IMPLEMENTATION = "rbg"


def set_random_seed(seed: int) -> None:
    """Seeds Python, numpy and lamina, so that a program repeats its numbers.

    Example:
        >>> set_random_seed(1)
        >>> a = default_seed()
        >>> set_random_seed(1)
        >>> a == default_seed()
        True
    """
    seed = check_int("set_random_seed", "seed", seed, minimum=0)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    _unseeded.seed = None
    _unseeded.count = 0


def default_seed() -> int:
    """A seed for whoever was given none, drawn from Python's generator."""
    return random.randint(1, int(1e9))


def make_key(seed: Any) -> jax.Array:
    """A random key from an integer (or a traced uint32)."""
    return jax.random.key(seed % 2**32 if isinstance(seed, int) else seed, impl=IMPLEMENTATION)


class SeedGenerator(Configurable):
    """A stream of random keys.

    Outside compiled code each `next` gives another key. Inside, keys follow from the key of the step, the
    generator's path and the number of the draw, so nothing has to be carried along or saved.

    Args:
        seed: an integer makes the stream repeatable; None draws one.

    Example:
        >>> a, b = SeedGenerator(7), SeedGenerator(7)
        >>> bool(jax.random.uniform(a.next()) == jax.random.uniform(b.next()))
        True
    """

    def __init__(self, seed: int | None = None, name: str | None = None):
        if seed is not None:
            seed = check_int("SeedGenerator", "seed", seed)
        self.seed = seed
        self.name = name or "seed_generator"
        self.path: str | None = None
        self.count = 0
        self._drawn_seed: int | None = None

    def next(self) -> jax.Array:
        """The next key of the stream."""
        frame = current_frame()
        if frame is not None and frame.key is not None:
            number = frame.draws.get(id(self), 0)
            frame.draws[id(self)] = number + 1
            order = frame.draws.setdefault(("order", id(self)), len(frame.draws))
            place = zlib.crc32(self.path.encode()) if self.path else order
            key = jax.random.fold_in(frame.key, np.uint32(place))
            if self.seed is not None:
                key = jax.random.fold_in(key, np.uint32(self.seed % 2**32))
            return jax.random.fold_in(key, number)
        if self.seed is None and self._drawn_seed is None:
            self._drawn_seed = default_seed()  # apart from `seed`: compiled steps must not depend on earlier calls
        self.count += 1
        with jax.ensure_compile_time_eval():
            return jax.random.fold_in(make_key(self._drawn_seed if self.seed is None else self.seed), self.count)


_unseeded = SeedGenerator(name="unseeded")


def draw_key(seed: Any = None) -> jax.Array:
    """A key from a seed argument: an int always gives the same key, a SeedGenerator its next, None a new one.

    A random key of jax is taken as it is.
    """
    if seed is None:
        return _unseeded.next()
    if isinstance(seed, SeedGenerator):
        return seed.next()
    if isinstance(seed, jax.Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
        return seed
    return make_key(check_int("random", "seed", seed))


def host_generator(seed: int) -> np.random.Generator:
    """A numpy generator for work on the host, such as drawing initial weights without compiling anything."""
    return np.random.Generator(np.random.PCG64(seed))
