"""Initializers whose values are known beforehand: constants, the identity, the kernel of a Fourier transform."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_choice
from lamina.core.errors import describe
from lamina.initializers.initializer import Initializer, to_array
from lamina.ops.convert import narrow
from lamina.ops.signal import window_values


class Zeros(Initializer):
    """All zeros.

    Example:
        >>> Zeros()((2,)).tolist()
        [0.0, 0.0]
    """

    def __call__(self, shape: Any, dtype: Any = None) -> jax.Array:
        """An array of a shape and dtype (the default float if None)."""
        return to_array(np.zeros(shape, np.float32), dtype)


class Ones(Initializer):
    """All ones.

    Example:
        >>> Ones()((2,)).tolist()
        [1.0, 1.0]
    """

    def __call__(self, shape: Any, dtype: Any = None) -> jax.Array:
        """An array of a shape and dtype (the default float if None)."""
        return to_array(np.ones(shape, np.float32), dtype)


class Constant(Initializer):
    """All of one value.

    Args:
        value: a number, or an array that broadcasts to the shape.

    Example:
        >>> Constant(0.5)((2,)).tolist()
        [0.5, 0.5]
    """

    def __init__(self, value: Any = 0.0):
        self.value = value

    def __call__(self, shape: Any, dtype: Any = None) -> jax.Array:
        """An array of a shape and dtype (the default float if None)."""
        return to_array(np.broadcast_to(np.asarray(self.value), shape), dtype)


class Identity(Initializer):
    """The identity matrix times `gain`.

    Args:
        gain: the factor.

    Example:
        >>> Identity(2.0)((2, 2)).tolist()
        [[2.0, 0.0], [0.0, 2.0]]
    """

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def __call__(self, shape: Any, dtype: Any = None) -> jax.Array:
        """An array of a shape and dtype (the default float if None)."""
        if len(shape) != 2:
            raise ValueError(f"Identity: the shape must have two axes, got {tuple(shape)}.")
        return to_array(self.gain * np.eye(*shape), dtype)


class STFT(Initializer):
    """The real or imaginary part of a windowed Fourier transform, as the kernel of a convolution over time.

    Shape:
        (frame length, 1, frequencies), where the transform has 2 * (frequencies - 1) points

    Args:
        side: `"real"` or `"imag"`.
        window: the name of a window (`"hann"`, `"hamming"`, ...), an array, or None for none.
        scaling: `"density"` divides by the root of the window's energy, `"spectrum"` by its sum, None by nothing.
        periodic: whether the window continues into the next period rather than being symmetric.

    Example:
        >>> STFT("real", window=None)((4, 1, 3))[:, 0, 0].tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    def __init__(
        self, side: str = "real", window: Any = "hann", scaling: str | None = "density", periodic: bool = False
    ):
        self.side = check_choice("STFT", "side", side, ["real", "imag"])
        self.window = window
        self.scaling = check_choice("STFT", "scaling", scaling, ["density", "spectrum", None])
        self.periodic = periodic

    def __call__(self, shape: Any, dtype: Any = None) -> jax.Array:
        """An array of a shape and dtype (the default float if None)."""
        if len(shape) != 3 or shape[1] != 1:
            raise ValueError(f"STFT: the shape must be (frame length, 1, frequencies), got {tuple(shape)}.")
        length, _, frequencies = shape
        points = 2 * (frequencies - 1)
        angle = -2 * np.pi * np.arange(length)[:, None, None] * np.arange(frequencies) / points
        kernel = np.cos(angle) if self.side == "real" else np.sin(angle)
        if self.window is not None:
            # The window of scipy's `fftbins` argument, which is True for a periodic one.
            window = window_values(self.window, length, self.periodic, "STFT")
            if self.scaling == "density":
                window = window / np.sqrt(np.sum(window**2))
            elif self.scaling == "spectrum":
                window = window / np.sum(np.abs(window))
            kernel = kernel * window[:, None, None]
        return to_array(kernel, dtype)


class FromArray(Initializer):
    """The values of a given array, whose shape must be the wanted one.

    Args:
        value: the array.

    Example:
        >>> FromArray(np.ones(2))((2,)).tolist()
        [1.0, 1.0]
    """

    def __init__(self, value: Any):
        self.value = np.asarray(value)

    def __call__(self, shape: Any, dtype: Any = None) -> jax.Array:
        """An array of a shape and dtype (the default float if None)."""
        if self.value.shape != tuple(shape):
            raise ValueError(
                f"An array used as initializer must have the shape of the weight, {tuple(shape)}, got "
                f"{describe(self.value)}."
            )
        return jnp.array(self.value, narrow(dtype))
