"""Resizing of images by sampling them with a kernel, with half-pixel centres and no smoothing, as tf.image.resize does.

Reference: https://www.tensorflow.org/api_docs/python/tf/image/resize
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

Kernel = Callable[[np.ndarray], np.ndarray]


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - np.abs(x))


def _cubic(b: float, c: float) -> Kernel:
    """The cubic kernels of Mitchell and Netravali; b = 0, c = 1/2 is that of Keys and Catmull-Rom."""

    def kernel(x: np.ndarray) -> np.ndarray:
        x = np.abs(x)
        near = (12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + (6 - 2 * b)
        far = (-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x + (8 * b + 24 * c)
        return np.where(x < 1, near, np.where(x < 2, far, 0)) / 6

    return kernel


def _lanczos(radius: int) -> Kernel:
    return lambda x: np.where(np.abs(x) <= radius, np.sinc(x) * np.sinc(x / radius), 0)


def _gaussian(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 1.5, np.exp(-2 * x**2), 0)


_KERNELS: dict[str, tuple[float, Kernel]] = {
    "bilinear": (1, _triangle),
    "bicubic": (2, _cubic(0, 0.5)),
    "lanczos3": (3, _lanczos(3)),
    "lanczos5": (5, _lanczos(5)),
    "gaussian": (1.5, _gaussian),
    "mitchellcubic": (2, _cubic(1 / 3, 1 / 3)),
}
INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str = "bilinear") -> np.ndarray:
    """An image with `size` rows and columns.

    Shape:
        `(height, width, channels)` to `(*size, channels)`, float32.

    Args:
        image: The image.
        size: Rows and columns of the result.
        interpolation: One of `INTERPOLATIONS`.

    Example:
        >>> resize(np.arange(4.0).reshape(1, 4, 1), (1, 2)).ravel()
        array([0.5, 2.5], dtype=float32)
    """
    if image.shape[:2] == tuple(size):
        return image.astype(np.float32)
    rows = _sample(image, _taps(image.shape[0], size[0], interpolation))
    columns = _sample(rows.swapaxes(0, 1), _taps(image.shape[1], size[1], interpolation))
    return np.ascontiguousarray(columns.swapaxes(0, 1))


def _sample(image: np.ndarray, taps: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    places, weights = taps
    out = np.zeros((places.shape[1], *image.shape[1:]), np.float32)
    for place, weight in zip(places, weights, strict=True):
        out += image[place] * weight[:, None, None]
    return out


@functools.lru_cache(maxsize=256)
def _taps(size: int, wanted: int, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
    """For each place of the result, which places are mixed and with what weights: two arrays (taps, wanted)."""
    scale = size / wanted
    centre = (np.arange(wanted) + 0.5) * scale
    if interpolation == "nearest":
        return np.minimum(np.floor(centre), size - 1).astype(np.intp)[None], np.ones((1, wanted), np.float32)
    if interpolation == "area":
        first = np.floor(centre - scale / 2)
        places = first + np.arange(int(np.ceil(scale)) + 1)[:, None]
        low, high = np.maximum(places, centre - scale / 2), np.minimum(places + 1, centre + scale / 2)
        weights = np.maximum(0, high - low)
    else:
        radius, kernel = _KERNELS[interpolation]
        first = np.ceil(centre - radius - 0.5)
        places = first + np.arange(int(np.ceil(2 * radius)) + 1)[:, None]
        weights = kernel(places + 0.5 - centre)
    weights = np.where((places >= 0) & (places < size), weights, 0)
    weights /= weights.sum(0)
    return np.clip(places, 0, size - 1).astype(np.intp), weights.astype(np.float32)
