"""Fourier transforms, of whole signals and of windowed frames. A complex signal is a pair of real arrays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.errors import describe, did_you_mean, listing
from lamina.ops.convert import Tensor, as_array, as_float
from lamina.ops.op import op

# Sums of cosines of multiples of the angle.
_COSINES = {
    "boxcar": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
}


def window_values(window: Any, length: int, periodic: bool, owner: str) -> np.ndarray:
    """The values of a window, from a name or an array.

    Args:
        window: a name, or an array of `length` numbers.
        length: how many values.
        periodic: whether the window continues into the next period rather than being symmetric.
        owner: who asks, for errors.
    """
    if not isinstance(window, str):
        values = np.asarray(window)
        if values.shape != (length,):
            raise ValueError(f"{owner}: window must hold {length} numbers, got {describe(values)}.")
        return values.astype(np.float64)
    names = [*_COSINES, "bartlett", "triang", "cosine", "rectangular", "ones"]
    if window in ("rectangular", "ones"):
        window = "boxcar"
    steps = max(length if periodic else length - 1, 1)
    place = np.arange(length) / steps
    if length == 1:
        return np.ones(1)
    if window in _COSINES:
        return sum(a * (-1) ** i * np.cos(2 * np.pi * i * place) for i, a in enumerate(_COSINES[window]))
    if window == "bartlett":
        return 1 - np.abs(2 * place - 1)
    if window == "cosine":
        return np.sin(np.pi * (np.arange(length) + 0.5) / (steps + 1))
    if window == "triang":
        total = steps + 1
        half = (total + 1) // 2 if total % 2 else total // 2
        rise: np.ndarray = np.arange(1, half + 1)
        rise = 2 * rise / (total + 1) if total % 2 else (2 * rise - 1) / total
        full = np.concatenate([rise, rise[::-1][1 if total % 2 else 0 :]])
        return full[:length]
    raise ValueError(
        f"{owner}: window must be {listing(names)} or an array, got {window!r}.{did_you_mean(window, names)}"
    )


def _pair(x: Any, name: str) -> jax.Array:
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(f"ops.{name}: x must be a pair of arrays, the real and the imaginary part, got {describe(x)}.")
    real, imaginary = as_float(x[0]), as_float(x[1])
    if real.shape != imaginary.shape:
        raise ValueError(
            f"ops.{name}: the real and the imaginary part must have one shape, got {real.shape} and {imaginary.shape}."
        )
    return jax.lax.complex(real, imaginary)


def _parts(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.real(x), jnp.imag(x)


@op
def fft(x: tuple[Tensor, Tensor]) -> tuple[jax.Array, jax.Array]:
    """The Fourier transform along the last axis.

    Args:
        x: the real and the imaginary part.

    Example:
        >>> real, imaginary = fft(([1.0, 1.0], [0.0, 0.0]))
        >>> real.tolist()
        [2.0, 0.0]
    """
    return _parts(jnp.fft.fft(_pair(x, "fft")))


@op
def fft2(x: tuple[Tensor, Tensor]) -> tuple[jax.Array, jax.Array]:
    """The Fourier transform along the last two axes."""
    return _parts(jnp.fft.fft2(_pair(x, "fft2")))


@op
def ifft2(x: tuple[Tensor, Tensor]) -> tuple[jax.Array, jax.Array]:
    """The inverse Fourier transform along the last two axes."""
    return _parts(jnp.fft.ifft2(_pair(x, "ifft2")))


@op
def rfft(x: Tensor, fft_length: int | None = None) -> tuple[jax.Array, jax.Array]:
    """The Fourier transform of a real signal along the last axis: frequencies from 0 to half the sampling rate.

    Args:
        x: an array.
        fft_length: the number of points; the signal is cut or padded with zeros to it.

    Example:
        >>> rfft([1.0, 1.0, 1.0, 1.0])[0].tolist()
        [4.0, 0.0, 0.0]
    """
    return _parts(jnp.fft.rfft(as_float(x), fft_length))


@op
def irfft(x: tuple[Tensor, Tensor], fft_length: int | None = None) -> jax.Array:
    """The inverse of `rfft`.

    Args:
        x: the real and the imaginary part.
        fft_length: the number of points of the signal; 2 * (frequencies - 1) by default.

    Example:
        >>> irfft(([4.0, 0.0, 0.0], [0.0, 0.0, 0.0])).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    return jnp.fft.irfft(_pair(x, "irfft"), fft_length)


def _frame_window(window: Any, length: int, fft_length: int, dtype: Any, name: str) -> np.ndarray:
    """The window of a frame, in the middle of the points of the transform."""
    values = np.ones(length) if window is None else window_values(window, length, True, f"ops.{name}")
    before = (fft_length - length) // 2
    return np.pad(values, (before, fft_length - length - before)).astype(dtype)


def _check_lengths(name: str, sequence_length: int, fft_length: int) -> None:
    if fft_length < sequence_length:
        raise ValueError(
            f"ops.{name}: fft_length must be at least sequence_length, got {fft_length} and {sequence_length}."
        )


@op(named=True)
def stft(
    x: Tensor,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> tuple[jax.Array, jax.Array]:
    """The Fourier transforms of windowed frames of a real signal.

    Shape:
        (..., time) -> real and imaginary part (..., frames, fft_length / 2 + 1)

    Args:
        x: an array.
        sequence_length: the length of a frame.
        sequence_stride: the distance of two frames.
        fft_length: the number of points of the transform, at least the length of a frame.
        window: the name of a window, an array as long as a frame, or None.
        center: whether the signal is mirrored at its ends, so that frames are centred at multiples of the stride.

    Example:
        >>> stft(jnp.ones(32), 8, 4, 8)[0].shape
        (9, 5)
    """
    x = as_float(x)
    _check_lengths("stft", sequence_length, fft_length)
    if center:
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(fft_length // 2,) * 2], mode="reflect")
    count = 1 + (x.shape[-1] - fft_length) // sequence_stride
    places = sequence_stride * np.arange(count)[:, None] + np.arange(fft_length)
    frames = jnp.take(x, places, axis=-1)
    return _parts(jnp.fft.rfft(frames * _frame_window(window, sequence_length, fft_length, x.dtype, "stft")))


@op(named=True)
def istft(
    x: tuple[Tensor, Tensor],
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> jax.Array:
    """The signal whose `stft` is nearest to the given one.

    Shape:
        real and imaginary part (..., frames, fft_length / 2 + 1) -> (..., time)

    Args:
        x: the real and the imaginary part.
        sequence_length: the length of a frame.
        sequence_stride: the distance of two frames.
        fft_length: the number of points of the transform, at least the length of a frame.
        length: the length of the signal; all there is by default.
        window: the name of a window, an array as long as a frame, or None.
        center: whether `stft` was called with `center`.

    Example:
        >>> istft(stft(jnp.ones(32), 8, 4, 8), 8, 4, 8, length=32).round(4).tolist() == [1.0] * 32
        True
    """
    _check_lengths("istft", sequence_length, fft_length)
    frames = jnp.fft.irfft(_pair(x, "istft"), fft_length)
    weights = _frame_window(window, sequence_length, fft_length, frames.dtype, "istft")
    count = frames.shape[-2]
    total = fft_length + (count - 1) * sequence_stride
    places = (sequence_stride * np.arange(count)[:, None] + np.arange(fft_length)).reshape(-1)
    flat = (frames * weights).reshape(*frames.shape[:-2], -1)
    signal = jnp.zeros((*frames.shape[:-2], total), frames.dtype).at[..., places].add(flat)
    energy = np.zeros(total)
    np.add.at(energy, places, np.tile(weights.astype(np.float64) ** 2, count))
    start = fft_length // 2 if center else 0
    stop = total - start if length is None else min(start + length, total)
    signal = signal[..., start:stop] / np.where(energy > 1e-11, energy, 1.0)[start:stop].astype(frames.dtype)
    if length is not None and stop - start < length:
        signal = jnp.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, length - (stop - start))])
    return as_array(signal)
