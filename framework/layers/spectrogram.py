"""Spectrograms of sound: STFTSpectrogram by convolution, MelSpectrogram by Fourier transform."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import initializers, ops
from lamina.core import settings
from lamina.core.checks import check_choice, check_int, check_number
from lamina.core.errors import ShapeError, describe, owner_label
from lamina.layers.arguments import check_data_format, check_padding
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer


class STFTSpectrogram(Layer):
    """The short-time Fourier transform of signals, written as convolutions whose kernels can be trained.

    Shape:
        (batch, time, channels) -> (batch, frames, channels * (fft_length / 2 + 1)), or with `expand_dims`
        (batch, frames, fft_length / 2 + 1, channels)

    Args:
        mode: "log", "magnitude", "psd" (power), "real", "imag", "angle", or "stft" (real and imaginary part).
        frame_length: the length of a frame, in samples.
        frame_step: the distance of two frames; half a frame by default.
        fft_length: the number of points of the transform; by default the next power of two.
        window: the name of a window such as "hann" or "hamming", an array as long as a frame, or None.
        periodic: whether the window continues into the next period rather than being symmetric.
        scaling: "density", "spectrum" or None: what the window is divided by.
        padding: "valid" or "same".
        expand_dims: whether frequencies get an axis of their own, as in images.
        data_format: "channels_last" or "channels_first"; the global default if None.
        **kwargs: `name`, `dtype`, `trainable`, as for every layer.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> import numpy as np
        >>> STFTSpectrogram(frame_length=32, frame_step=16)(np.ones((2, 128, 1), "float32")).shape
        (2, 7, 17)
    """

    real_kernel: Any
    imag_kernel: Any

    def __init__(
        self,
        mode: str = "log",
        frame_length: int = 256,
        frame_step: int | None = None,
        fft_length: int | None = None,
        window: Any = "hann",
        periodic: bool = False,
        scaling: str | None = "density",
        padding: str = "valid",
        expand_dims: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        modes = ["log", "magnitude", "psd", "real", "imag", "angle", "stft"]
        self.mode = check_choice(self, "mode", mode, modes)
        self.frame_length = check_int(self, "frame_length", frame_length, 2)
        self.frame_step = None if frame_step is None else check_int(self, "frame_step", frame_step, 1)
        if frame_step is not None and frame_step > frame_length:
            raise ValueError(
                f"{owner_label(self)}: frame_step must be at most frame_length={frame_length}, got {frame_step}."
            )
        self.fft_length = None if fft_length is None else check_int(self, "fft_length", fft_length, 1)
        if fft_length is not None and fft_length < frame_length:
            raise ValueError(
                f"{owner_label(self)}: fft_length must be at least frame_length={frame_length}, got {fft_length}."
            )
        self.window, self.periodic = window, periodic
        self.scaling = check_choice(self, "scaling", scaling, ["density", "spectrum", None])
        self.padding = check_padding(self, padding)
        self.expand_dims = expand_dims
        self.data_format = check_data_format(self, data_format)
        self.input_spec = InputSpec(ndim=3)

    def build(self, input_shape: Any) -> None:
        """Creates the kernels of the real and imaginary part."""
        points = self.fft_length or 2 ** math.ceil(math.log2(self.frame_length))
        shape = (self.frame_length, 1, points // 2 + 1)
        for side, other in (("real", "imag"), ("imag", "real")):
            if self.mode != other:
                initializer = initializers.STFT(side, self.window, self.scaling, self.periodic)
                setattr(
                    self, f"{side}_kernel", self.add_weight(shape=shape, initializer=initializer, name=f"{side}_kernel")
                )

    def call(self, inputs: Any) -> jax.Array:
        """The spectrogram."""
        x = inputs if self.data_format == "channels_first" else jnp.moveaxis(inputs, -1, 1)

        def transform(kernel: Any) -> jax.Array:
            """(batch, channels, frames, frequencies)"""
            flat = x.reshape(-1, x.shape[-1], 1)
            step = self.frame_step or self.frame_length // 2
            y = ops.conv(flat, kernel, strides=step, padding=self.padding, data_format="channels_last")
            return y.reshape(*x.shape[:2], *y.shape[1:])

        real = transform(self.real_kernel) if self.mode != "imag" else None
        imag = transform(self.imag_kernel) if self.mode != "real" else None
        return self._arrange(self._output(real, imag))

    def _output(self, real: Any, imag: Any) -> jax.Array:
        if self.mode == "real":
            return real
        if self.mode == "imag":
            return imag
        if self.mode == "angle":
            return jnp.arctan2(imag, real)
        if self.mode == "stft":
            return jnp.concatenate([real, imag], -1)
        power = jnp.square(real) + jnp.square(imag)
        if self.mode == "psd":  # all but the lowest and highest frequency stand for two
            twice = np.ones(power.shape[-1])
            twice[1:-1] = 2
            return power * jnp.asarray(twice, power.dtype)
        magnitude = jnp.sqrt(jnp.maximum(power, settings.epsilon()))
        return magnitude if self.mode == "magnitude" else jnp.log(jnp.maximum(magnitude, settings.epsilon()))

    def _arrange(self, y: jax.Array) -> jax.Array:
        batch, channels, frames, frequencies = y.shape
        if self.expand_dims:
            return y if self.data_format == "channels_first" else jnp.moveaxis(y, 1, -1)
        y = jnp.swapaxes(y, 2, 3).reshape(batch, channels * frequencies, frames)
        return y if self.data_format == "channels_first" else jnp.swapaxes(y, 1, 2)


class MelSpectrogram(Layer):
    """The power of signals over time in bands of the mel scale, as a rule in decibels.

    Shape:
        (batch, samples) or (samples,) -> (batch, num_mel_bins, frames) or (num_mel_bins, frames)

    Args:
        fft_length: the number of points of the Fourier transform.
        sequence_stride: the distance of two frames, in samples.
        sequence_length: the length of a frame; `fft_length` by default.
        window: the name of a window, an array as long as a frame, or None.
        sampling_rate: samples a second.
        num_mel_bins: the number of bands.
        min_freq: where the bands begin, in Hz.
        max_freq: where they end; half the sampling rate by default.
        power_to_db: whether the result is in decibels.
        top_db: the most that values may lie below the highest, in decibels.
        mag_exp: the power of the magnitude that is summed: 2 for power.
        min_power: the least power, before the logarithm.
        ref_power: the power of 0 decibels.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Example:
        >>> import numpy as np
        >>> layer = MelSpectrogram(fft_length=64, sequence_stride=32, num_mel_bins=8, sampling_rate=800)
        >>> layer(np.ones((2, 256), "float32")).shape
        (2, 8, 9)

    Reference:
        https://en.wikipedia.org/wiki/Mel_scale (the formula of HTK)
    """

    def __init__(
        self,
        fft_length: int = 2048,
        sequence_stride: int = 512,
        sequence_length: int | None = None,
        window: Any = "hann",
        sampling_rate: int = 16000,
        num_mel_bins: int = 128,
        min_freq: float = 20.0,
        max_freq: float | None = None,
        power_to_db: bool = True,
        top_db: float = 80.0,
        mag_exp: float = 2.0,
        min_power: float = 1e-10,
        ref_power: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.fft_length = check_int(self, "fft_length", fft_length, 2)
        self.sequence_stride = check_int(self, "sequence_stride", sequence_stride, 1)
        self.sequence_length = check_int(self, "sequence_length", sequence_length or fft_length, 1)
        if self.fft_length < self.sequence_length:
            raise ValueError(
                f"{owner_label(self)}: fft_length must be at least sequence_length={self.sequence_length}, got "
                f"{fft_length}."
            )
        self.window = window
        self.sampling_rate = check_number(self, "sampling_rate", sampling_rate, 1)
        self.num_mel_bins = check_int(self, "num_mel_bins", num_mel_bins, 1)
        self.min_freq = check_number(self, "min_freq", min_freq, 0)
        self.max_freq = check_number(self, "max_freq", max_freq or int(sampling_rate / 2), 0)
        self.power_to_db = power_to_db
        self.top_db, self.mag_exp, self.min_power, self.ref_power = top_db, mag_exp, min_power, ref_power

    def call(self, inputs: Any) -> jax.Array:
        """The spectrogram."""
        if inputs.ndim not in (1, 2):
            raise ShapeError(f"{owner_label(self)}: expected (batch, samples) or (samples,), got {describe(inputs)}.")
        x = inputs.astype("float32")  # there is no Fourier transform of half-width floats
        real, imag = ops.stft(x, self.sequence_length, self.sequence_stride, self.fft_length, window=self.window)
        power = jnp.sqrt(jnp.square(real) + jnp.square(imag)) ** self.mag_exp
        y = power @ jnp.asarray(self._bands(), "float32")
        if self.power_to_db:
            reference = 10 * math.log10(max(abs(self.ref_power), self.min_power))
            y = 10 * jnp.log10(jnp.maximum(y, self.min_power)) - reference
            y = jnp.maximum(y, jnp.max(y) - self.top_db)
        return jnp.swapaxes(y, -1, -2).astype(self.compute_dtype)

    def _bands(self) -> np.ndarray:
        """The weight of each frequency in each band: triangles on the mel scale."""

        def mel(frequency: Any) -> Any:
            return 1127 * np.log(1 + np.asarray(frequency) / 700)

        places = mel(np.linspace(0, self.sampling_rate / 2, self.fft_length // 2 + 1))[:, None]
        edges = np.linspace(mel(self.min_freq), mel(self.max_freq), self.num_mel_bins + 2)
        low, middle, high = edges[:-2], edges[1:-1], edges[2:]
        weights = np.maximum(0, np.minimum((places - low) / (middle - low), (high - places) / (high - middle)))
        weights[0] = 0  # the constant part of the signal belongs to no band
        return weights
