"""PNG files of arrays."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from lamina.core.errors import describe

# Channels -> the number by which the format names gray, gray with alpha, RGB, and RGB with alpha.
_COLORS = {1: 0, 2: 4, 3: 2, 4: 6}


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode_png(image: np.ndarray) -> bytes:
    """A PNG file of an image, without loss.

    Shape:
        (height, width, channels) of uint8, with 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha) channels.

    Raises:
        ValueError: the array is none of these.

    Example:
        >>> encode_png(np.zeros((2, 3, 1), "uint8"))[:8]
        b'\\x89PNG\\r\\n\\x1a\\n'

    Reference: https://www.w3.org/TR/png-3/
    """
    if image.ndim != 3 or image.dtype != np.uint8 or image.shape[2] not in _COLORS or 0 in image.shape:
        raise ValueError(
            f"encode_png: expected an array of uint8 and shape (height, width, channels) with 1 to 4 channels, got "
            f"{describe(image)}."
        )
    height, width, channels = image.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each row starts with the number of its filter: none
    rows[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLORS[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows.tobytes())), _chunk(b"IEND", b"")]
    )
