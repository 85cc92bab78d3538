"""MNIST: 70,000 handwritten digits as 28x28 grey images, fetched on first use.

Source: Y. LeCun, C. Cortes and C. Burges, http://yann.lecun.com/exdb/mnist (the copy that Keras uses).
Licence: CC BY-SA 3.0.
"""

from __future__ import annotations

import os

import numpy as np

from lamina.datasets.builtin.embedded import Split, choose_split
from lamina.datasets.builtin.fetch import RemoteFile, fetch
from lamina.datasets.dataset import Dataset

CLASS_NAMES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
FILE = RemoteFile(
    "mnist.npz",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "sha256:731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)


def load_data(path: str | os.PathLike = "mnist.npz") -> tuple[Split, Split]:
    """Images of handwritten digits (values 0 to 255) and the digits.

    Shape:
        x: `(60000 or 10000, 28, 28)`, uint8; y: `(60000 or 10000,)`, uint8.

    Args:
        path: where the file is kept; relative to `datasets` in the cache folder.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.

    Raises:
        FetchError: the file is not there and could not be fetched.
    """
    with np.load(fetch(FILE, path), allow_pickle=False) as file:
        return (file["x_train"], file["y_train"]), (file["x_test"], file["y_test"])


def load(split: str = "train", path: str | os.PathLike = "mnist.npz") -> Dataset:
    """The images as a Dataset of `(image, digit)`.

    Args:
        split: `"train"`, `"test"` or `"all"`.
        path: as in `load_data`.
    """
    return Dataset.from_tensor_slices(choose_split("mnist", split, load_data(path)))
