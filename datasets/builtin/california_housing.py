"""California Housing: the median house value of 20,640 districts from eight features, fetched on first use.

Source: R. K. Pace and R. Barry, "Sparse Spatial Autoregressions", 1997, from the 1990 U.S. census (the copy of Keras).
Licence: public domain (census data).
"""

from __future__ import annotations

import os

import numpy as np

from lamina.core.checks import check_choice
from lamina.datasets.builtin.embedded import Split, choose_split, split_data
from lamina.datasets.builtin.fetch import RemoteFile, fetch
from lamina.datasets.dataset import Dataset

FILE = RemoteFile(
    "california_housing.npz",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/california_housing.npz",
    "sha256:1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f",
)
_SMALL = 600


def load_data(
    version: str = "large", path: str | os.PathLike = "california_housing.npz", test_split: float = 0.2, seed: int = 113
) -> tuple[Split, Split]:
    """Features of districts and their median house value in dollars.

    Shape:
        x: `(rows, 8)`; y: `(rows,)`.

    Args:
        version: `"large"` for all 20,640 rows, `"small"` for 600 of them.
        path: where the file is kept; relative to `datasets` in the cache folder.
        test_split: share of the rows held out for testing, 0 to 1.
        seed: of the order of the rows.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.

    Raises:
        FetchError: the file is not there and could not be fetched.
    """
    check_choice("california_housing", "version", version, ("large", "small"))
    with np.load(fetch(FILE, path), allow_pickle=False) as file:
        x, y = file["x"], file["y"]
    rows = slice(_SMALL if version == "small" else None)
    return split_data("california_housing", x[rows], y[rows], test_split, seed)


def load(split: str = "train", version: str = "large", test_split: float = 0.2, seed: int = 113) -> Dataset:
    """The districts as a Dataset of `(features, value)`.

    Args:
        split: `"train"`, `"test"` or `"all"`.
        version: as in `load_data`.
        test_split: as in `load_data`.
        seed: as in `load_data`.
    """
    data = load_data(version, test_split=test_split, seed=seed)
    return Dataset.from_tensor_slices(choose_split("california_housing", split, data))
