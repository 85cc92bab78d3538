"""Fashion-MNIST: 70,000 pieces of clothing in ten classes as 28x28 grey images, fetched on first use.

Source: H. Xiao, K. Rasul and R. Vollgraf, https://github.com/zalandoresearch/fashion-mnist (the copy that Keras uses).
Licence: MIT.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from lamina.datasets.builtin.embedded import Split, choose_split
from lamina.datasets.builtin.fetch import RemoteFile, fetch
from lamina.datasets.dataset import Dataset
from lamina.wire.errors import DataLossError

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_ADDRESS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
FILES = tuple(
    RemoteFile(f"fashion-mnist/{name}", _ADDRESS + name, f"sha256:{digest}")
    for name, digest in (
        ("train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        ("train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        ("t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        ("t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    )
)


def load_data() -> tuple[Split, Split]:
    """Images of clothing (values 0 to 255) and their classes (0 to 9, see `CLASS_NAMES`).

    Shape:
        x: `(60000 or 10000, 28, 28)`, uint8; y: `(60000 or 10000,)`, uint8.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.

    Raises:
        FetchError: a file is not there and could not be fetched.
    """
    x_train, y_train, x_test, y_test = (read_idx(fetch(file)) for file in FILES)
    return (x_train, y_train), (x_test, y_test)


def load(split: str = "train") -> Dataset:
    """The images as a Dataset of `(image, class)`.

    Args:
        split: `"train"`, `"test"` or `"all"`.
    """
    return Dataset.from_tensor_slices(choose_split("fashion_mnist", split, load_data()))


def read_idx(path: Path) -> np.ndarray:
    """The array of unsigned bytes in a gzipped IDX file.

    Raises:
        DataLossError: the file is damaged, or holds more or less than its header says.
    """
    try:
        data = gzip.decompress(path.read_bytes())
        zeros, kind, rank = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{rank}I", data, 4)
        if zeros or kind != 8:
            raise ValueError(f"it starts with {data[:4].hex()}, expected 000008 and the rank")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()
    except (ValueError, struct.error, EOFError, OSError, zlib.error) as error:
        raise DataLossError(f"'{path}' is no IDX file of bytes: {error}.") from error
