"""CIFAR-100: 60,000 colour photographs of 32x32 pixels in 100 classes and 20 groups, fetched on first use.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html (the binary version). Its authors name no licence.
"""

from __future__ import annotations

from lamina.core.checks import check_choice
from lamina.datasets.builtin.cifar import read_cifar
from lamina.datasets.builtin.embedded import Split, choose_split
from lamina.datasets.builtin.fetch import RemoteFile, fetch
from lamina.datasets.dataset import Dataset

FILE = RemoteFile(
    "cifar-100-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    "sha256:58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
)
TRAIN_ROWS, TEST_ROWS = 50_000, 10_000
_FOLDER = "cifar-100-binary"


def load_data(label_mode: str = "fine") -> tuple[Split, Split]:
    """Small colour images (values 0 to 255) and their classes.

    Shape:
        x: `(50000 or 10000, 32, 32, 3)`, uint8; y: `(50000 or 10000, 1)`, uint8.

    Args:
        label_mode: `"fine"` for the 100 classes, `"coarse"` for the 20 groups of them.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.

    Raises:
        FetchError: the file is not there and could not be fetched.
    """
    column = {"coarse": slice(0, 1), "fine": slice(1, 2)}
    chosen = column[check_choice("cifar100", "label_mode", label_mode, column)]
    path = fetch(FILE)
    x_train, y_train = read_cifar(path, [f"{_FOLDER}/train.bin"], 2, TRAIN_ROWS)
    x_test, y_test = read_cifar(path, [f"{_FOLDER}/test.bin"], 2, TEST_ROWS)
    return (x_train, y_train[:, chosen].copy()), (x_test, y_test[:, chosen].copy())


def load(split: str = "train", label_mode: str = "fine") -> Dataset:
    """The images as a Dataset of `(image, class)`, the class with shape `(1,)`.

    Args:
        split: `"train"`, `"test"` or `"all"`.
        label_mode: as in `load_data`.
    """
    return Dataset.from_tensor_slices(choose_split("cifar100", split, load_data(label_mode)))
