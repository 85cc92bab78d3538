"""The binary archives of CIFAR-10 and CIFAR-100 (the other archives of the same data are pickles, which run code)."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lamina.datasets.builtin.fetch import open_member
from lamina.wire.errors import DataLossError

_PIXELS = 3 * 32 * 32


def read_cifar(path: Path, names: Sequence[str], labels: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Images `(n, 32, 32, 3)` and labels `(n, labels)` of the files `names` in an archive, each with `rows` rows.

    A row is `labels` bytes, then the red, the green and the blue plane of an image.

    Raises:
        DataLossError: the archive is damaged, or a file is missing or has another size.
    """
    width = labels + _PIXELS
    table = np.empty((len(names) * rows, width), np.uint8)
    try:
        with tarfile.open(path, "r:gz") as archive:
            for i, name in enumerate(names):
                with open_member(archive, name, rows * width, path) as file:
                    table[i * rows : (i + 1) * rows] = np.frombuffer(file.read(), np.uint8).reshape(rows, width)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataLossError(f"'{path}' is damaged: {error}. Delete it, and it is fetched again.") from error
    images = table[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.ascontiguousarray(table[:, :labels])
