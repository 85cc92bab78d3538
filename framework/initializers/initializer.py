"""The base of initializers, and how each gets the random numbers it draws on the host."""

from __future__ import annotations

from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_int
from lamina.core.config import Configurable
from lamina.ops.convert import narrow
from lamina.state.rng import SeedGenerator, default_seed, host_generator


class Initializer(Configurable):
    """Base of initializers: implement `__call__(shape, dtype=None)`, which returns an array.

    Example:
        >>> class Sevens(Initializer):
        ...     def __call__(self, shape, dtype=None):
        ...         return jnp.full(shape, 7, dtype)
        >>> Sevens()((2,), "int32").tolist()
        [7, 7]
    """

    def __call__(self, shape: Any, dtype: Any = None) -> jax.Array:
        """An array of a shape and dtype (the default float if None)."""
        raise NotImplementedError(f"{type(self).__name__} must implement __call__(shape, dtype=None).")

    def clone(self) -> Self:
        """An initializer made of the same arguments."""
        return type(self).from_config(self.get_config())


def to_array(values: Any, dtype: Any) -> jax.Array:
    """Values drawn on the host as an array: nothing is compiled."""
    dtype = narrow(dtype)
    return jnp.asarray(np.asarray(values).astype(jnp.dtype(dtype)))


class RandomInitializer(Initializer):
    """Base of initializers that draw: the same seed gives the same values at each call.

    Args:
        seed: an integer; a `SeedGenerator`, which gives other values at each call; None draws a seed once.
    """

    def __init__(self, seed: int | SeedGenerator | None = None):
        if seed is not None and not isinstance(seed, SeedGenerator):
            seed = check_int(type(self).__name__, "seed", seed)
        self.seed = seed
        self._own_seed = default_seed() if seed is None else seed

    def generator(self) -> np.random.Generator:
        """The source of the values of one call."""
        seed = self._own_seed
        if isinstance(seed, SeedGenerator):
            key = jax.random.key_data(seed.next())
            return host_generator(int.from_bytes(np.asarray(key).tobytes(), "little"))
        return host_generator(seed % 2**64)


def normal(generator: np.random.Generator, shape: Any, mean: float, stddev: float) -> np.ndarray:
    """Numbers from a normal distribution."""
    return generator.standard_normal(shape, np.float32) * np.float32(stddev) + np.float32(mean)


def truncated_normal(generator: np.random.Generator, shape: Any, mean: float, stddev: float) -> np.ndarray:
    """Numbers from a normal distribution, those beyond two standard deviations drawn again."""
    values = generator.standard_normal(shape, np.float32)
    flat = values.reshape(-1)
    outside = np.flatnonzero(np.abs(flat) > 2)
    while outside.size:
        flat[outside] = generator.standard_normal(outside.size, np.float32)
        outside = outside[np.abs(flat[outside]) > 2]
    return flat.reshape(values.shape) * np.float32(stddev) + np.float32(mean)


def uniform(generator: np.random.Generator, shape: Any, low: float, high: float) -> np.ndarray:
    """Numbers spread evenly between two bounds."""
    return generator.random(shape, np.float32) * np.float32(high - low) + np.float32(low)
