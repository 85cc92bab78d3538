"""Images in files: decoded by Pillow, and brought to one size."""

from __future__ import annotations

import importlib
import io
from typing import Any

import numpy as np

from lamina.datasets.resize import resize
from lamina.wire.errors import DataLossError

CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}


def pillow() -> Any:
    """Pillow's `Image` module.

    Raises:
        ImportError: Pillow is not installed.
    """
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise ImportError("Reading images needs Pillow: `pip install lamina[images]`.") from error


def decode_image(data: bytes, name: str, color_mode: str = "rgb") -> np.ndarray:
    """The pixels of an image file, the first picture of an animation.

    Shape:
        `(height, width, channels)`, uint8, with 1, 3 or 4 channels.

    Args:
        data: The bytes of the file.
        name: Of the file, for errors.
        color_mode: `"grayscale"`, `"rgb"` or `"rgba"`.

    Raises:
        DataLossError: the data is cut short or no image that Pillow knows.
        ImportError: Pillow is not installed.
    """
    image_module = pillow()
    try:
        with image_module.open(io.BytesIO(data)) as image:
            if image.mode.startswith("I;16"):  # Pillow would clip 16-bit pixels instead of scaling them
                image = image_module.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            pixels = np.asarray(image.convert(_MODES[color_mode]))
    except (OSError, ValueError, SyntaxError, EOFError, image_module.DecompressionBombError) as error:
        raise DataLossError(f"'{name}' is no readable image ({error}). Remove the file or replace it.") from error
    return pixels.reshape(*pixels.shape[:2], CHANNELS[color_mode])


def fit_image(
    image: np.ndarray, size: tuple[int, int], interpolation: str = "bilinear", crop: bool = False, pad: bool = False
) -> np.ndarray:
    """An image resized to `size`: distorted, or its middle (`crop`), or the whole of it with black borders (`pad`).

    Shape:
        `(height, width, channels)` to `(*size, channels)`, float32.
    """
    height, width = image.shape[:2]
    if crop:
        rows, columns = min(height, width * size[0] // size[1]), min(width, height * size[1] // size[0])
        top, left = (height - rows) // 2, (width - columns) // 2
        image = image[top : top + max(rows, 1), left : left + max(columns, 1)]
    elif pad:
        ratio = max(height / size[0], width / size[1])
        rows, columns = max(1, int(height / ratio)), max(1, int(width / ratio))
        top, left = int((size[0] - height / ratio) / 2), int((size[1] - width / ratio) / 2)
        whole = np.zeros((*size, image.shape[2]), np.float32)
        whole[top : top + rows, left : left + columns] = resize(image, (rows, columns), interpolation)
        return whole
    return resize(image, size, interpolation)
