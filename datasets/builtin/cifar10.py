"""CIFAR-10: 60,000 colour photographs of 32x32 pixels in ten classes, fetched on first use.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html (the binary version). Its authors name no licence.
"""

from __future__ import annotations

from lamina.datasets.builtin.cifar import read_cifar
from lamina.datasets.builtin.embedded import Split, choose_split
from lamina.datasets.builtin.fetch import RemoteFile, fetch
from lamina.datasets.dataset import Dataset

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FILE = RemoteFile(
    "cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
ROWS = 10_000
_FOLDER = "cifar-10-batches-bin"


def load_data() -> tuple[Split, Split]:
    """Small colour images (values 0 to 255) and their classes (0 to 9, see `CLASS_NAMES`).

    Shape:
        x: `(50000 or 10000, 32, 32, 3)`, uint8; y: `(50000 or 10000, 1)`, uint8.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.

    Raises:
        FetchError: the file is not there and could not be fetched.
    """
    path = fetch(FILE)
    train = read_cifar(path, [f"{_FOLDER}/data_batch_{i}.bin" for i in range(1, 6)], 1, ROWS)
    return train, read_cifar(path, [f"{_FOLDER}/test_batch.bin"], 1, ROWS)


def load(split: str = "train") -> Dataset:
    """The images as a Dataset of `(image, class)`, the class with shape `(1,)`.

    Args:
        split: `"train"`, `"test"` or `"all"`.
    """
    return Dataset.from_tensor_slices(choose_split("cifar10", split, load_data()))
