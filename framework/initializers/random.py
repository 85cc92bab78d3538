"""Initializers that draw their values: normal, uniform, scaled by the fans, orthogonal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lamina.core.checks import check_choice, check_number
from lamina.initializers.initializer import RandomInitializer, normal, to_array, truncated_normal, uniform

# The standard deviation of a standard normal distribution cut at two.
TRUNCATED_STDDEV = 0.87962566103423978


class RandomNormal(RandomInitializer):
    """Numbers from a normal distribution.

    Args:
        mean: the mean.
        stddev: the standard deviation.
        seed: an integer, a `SeedGenerator`, or None.

    Example:
        >>> RandomNormal(seed=1)((2, 3)).shape
        (2, 3)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None):
        super().__init__(seed)
        self.mean = mean
        self.stddev = stddev

    def __call__(self, shape: Any, dtype: Any = None) -> jax.Array:
        """An array of a shape and dtype (the default float if None)."""
        return to_array(normal(self.generator(), shape, self.mean, self.stddev), dtype)


class TruncatedNormal(RandomInitializer):
    """Numbers from a normal distribution, those beyond two standard deviations drawn again.

    Args:
        mean: the mean.
        stddev: the standard deviation before the cut.
        seed: an integer, a `SeedGenerator`, or None.

    Example:
        >>> bool((abs(TruncatedNormal(seed=1)((100,))) <= 0.1).all())
        True
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None):
        super().__init__(seed)
        self.mean = mean
        self.stddev = stddev

    def __call__(self, shape: Any, dtype: Any = None) -> jax.Array:
        """An array of a shape and dtype (the default float if None)."""
        return to_array(truncated_normal(self.generator(), shape, self.mean, self.stddev), dtype)


class RandomUniform(RandomInitializer):
    """Numbers spread evenly between two bounds.

    Args:
        minval: the lower bound.
        maxval: the upper bound.
        seed: an integer, a `SeedGenerator`, or None.

    Example:
        >>> bool((abs(RandomUniform(seed=1)((100,))) <= 0.05).all())
        True
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None):
        super().__init__(seed)
        self.minval = minval
        self.maxval = maxval

    def __call__(self, shape: Any, dtype: Any = None) -> jax.Array:
        """An array of a shape and dtype (the default float if None)."""
        return to_array(uniform(self.generator(), shape, self.minval, self.maxval), dtype)


def compute_fans(
    shape: Sequence[int], input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
) -> tuple[int, int]:
    """How many inputs and outputs a weight of a shape connects.

    Args:
        shape: the shape; of a kernel (*space, inputs, outputs).
        input_axes: the axes of the inputs, if not as above.
        output_axes: the axes of the outputs, if not as above.

    Example:
        >>> compute_fans((3, 3, 4, 8))
        (36, 72)
    """
    shape = tuple(int(d) for d in shape)
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
    if len(shape) < 2:
        return (shape or (1,)) * 2  # type: ignore[return-value]
    space = math.prod(shape[:-2])
    return shape[-2] * space, shape[-1] * space


class VarianceScaling(RandomInitializer):
    """Numbers whose variance is scale / n, where n is the number of inputs, of outputs, or their mean.

    Args:
        scale: the factor.
        mode: `"fan_in"`, `"fan_out"` or `"fan_avg"`.
        distribution: `"truncated_normal"`, `"untruncated_normal"` or `"uniform"`.
        seed: an integer, a `SeedGenerator`, or None.
        input_axes: the axes of the inputs; by default the second to last, times those of space.
        output_axes: the axes of the outputs; by default the last, times those of space.

    Example:
        >>> VarianceScaling(2.0, "fan_out", seed=1)((2, 3)).shape
        (2, 3)
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(seed)
        owner = type(self).__name__
        if not check_number(owner, "scale", scale, 0) > 0:
            raise ValueError(f"{owner}: scale must be above 0, got {scale}.")
        self.scale = scale
        self.mode = check_choice(owner, "mode", mode, ["fan_in", "fan_out", "fan_avg"])
        distribution = "truncated_normal" if distribution == "normal" else distribution
        options = ["truncated_normal", "untruncated_normal", "uniform"]
        self.distribution = check_choice(owner, "distribution", distribution, options)
        if (input_axes is None) != (output_axes is None):
            raise ValueError(f"{owner}: input_axes and output_axes must be given both or not at all, got one.")
        self.input_axes = None if input_axes is None else list(input_axes)
        self.output_axes = None if output_axes is None else list(output_axes)

    def __call__(self, shape: Any, dtype: Any = None) -> jax.Array:
        """An array of a shape and dtype (the default float if None)."""
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, n))
        generator = self.generator()
        if self.distribution == "truncated_normal":
            values = truncated_normal(generator, shape, 0.0, stddev / TRUNCATED_STDDEV)
        elif self.distribution == "untruncated_normal":
            values = normal(generator, shape, 0.0, stddev)
        else:
            limit = math.sqrt(3) * stddev
            values = uniform(generator, shape, -limit, limit)
        return to_array(values, dtype)


class Orthogonal(RandomInitializer):
    """A random matrix with orthogonal rows or columns of length `gain`; axes before the last count as rows.

    Args:
        gain: the factor.
        seed: an integer, a `SeedGenerator`, or None.

    Example:
        >>> w = Orthogonal(seed=1)((3, 3))
        >>> bool(abs(w.T @ w - np.eye(3)).max() < 1e-5)
        True

    Reference:
        https://arxiv.org/abs/1312.6120
    """

    def __init__(self, gain: float = 1.0, seed: Any = None):
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: Any, dtype: Any = None) -> jax.Array:
        """An array of a shape and dtype (the default float if None)."""
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: the shape must have at least two axes, got {tuple(shape)}.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        square = (max(rows, columns), min(rows, columns))
        q, r = np.linalg.qr(normal(self.generator(), square, 0.0, 1.0))
        q *= np.sign(np.diag(r))  # without the signs some orthogonal matrices would be likelier than others
        q = q.T if rows < columns else q
        return to_array(self.gain * q.reshape(shape), dtype)
