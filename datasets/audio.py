"""Sounds in WAV files: their samples, and the same at another rate."""

from __future__ import annotations

import io
import wave

import numpy as np

from lamina.wire.errors import DataLossError


def read_wav(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """The samples of a WAV file as they are stored, `(samples, channels)`, and how many there are in a second.

    8-bit samples are uint8, 16-bit int16, 24- and 32-bit int32 (24-bit samples in the upper three bytes).

    Raises:
        DataLossError: the data is cut short, or no WAV file of plain (PCM) samples.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            channels, width, rate, count = file.getparams()[:4]
            raw = file.readframes(count)
    except (wave.Error, EOFError, RuntimeError) as error:
        raise DataLossError(f"'{name}' is no WAV file of PCM samples: {error or 'it is cut short'}.") from error
    if len(raw) != count * channels * width:
        raise DataLossError(
            f"'{name}' is cut short: {count} samples are announced, {len(raw) // (channels * width)} are there."
        )
    if width == 3:
        samples = np.zeros((count * channels, 4), np.uint8)
        samples[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        return samples.view("<i4").astype(np.int32).reshape(count, channels), rate
    if width not in (1, 2, 4):
        raise DataLossError(f"'{name}' has samples of {8 * width} bits; 8, 16, 24 and 32 are read.")
    samples = np.frombuffer(raw, {1: "u1", 2: "<i2", 4: "<i4"}[width])
    return samples.astype({1: np.uint8, 2: np.int16, 4: np.int32}[width]).reshape(count, channels), rate


def decode_wav(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """The samples of a WAV file as float32 from -1 to 1, `(samples, channels)`, and how many there are in a second.

    Raises:
        DataLossError: as `read_wav`.
    """
    samples, rate = read_wav(data, name)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128, rate
    return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min), rate


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """The same sound with `wanted` instead of `rate` samples in a second, by cutting or filling up its spectrum.

    Shape:
        `(samples, channels)` to `(round(samples * wanted / rate), channels)`.
    """
    count = round(len(samples) * wanted / rate)
    if rate == wanted or not len(samples) or not count:
        return samples[:count]
    spectrum = np.fft.rfft(samples, axis=0)
    kept = min(count, len(samples)) // 2 + 1
    out = np.fft.irfft(spectrum[:kept], count, axis=0) * (count / len(samples))
    return out.astype(np.float32)
