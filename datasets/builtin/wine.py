"""Wine: the cultivar of 178 Italian wines from thirteen chemical measurements.

Three cultivars with 59, 71 and 48 wines. The features have very different ranges: normalise them.

Source: S. Aeberhard and M. Forina, Wine (scikit-learn's copy).
Licence: CC BY 4.0 (UCI Machine Learning Repository, doi:10.24432/C5PC7J).
"""

from __future__ import annotations

import numpy as np

from lamina.datasets.builtin.embedded import Split, choose_split, read_table, split_data
from lamina.datasets.dataset import Dataset

FEATURE_NAMES = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280_od315_of_diluted_wines",
    "proline",
)
CLASS_NAMES = ("class_0", "class_1", "class_2")


def load_data(test_split: float = 0.2, seed: int = 113) -> tuple[Split, Split]:
    """Chemical analyses of wines and their cultivar (0 to 2).

    Shape:
        x: `(178 rows, 13)`, float32; y: `(178 rows,)`, int32.

    Args:
        test_split: share of the rows held out for testing, 0 to 1.
        seed: of the order of the rows. The same seed gives the same split on every machine.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.

    Example:
        >>> from lamina.datasets import wine
        >>> (x_train, y_train), (x_test, y_test) = wine.load_data()
        >>> x_train.shape, x_test.shape
        ((142, 13), (36, 13))
    """
    table = read_table("wine")
    x, y = table[:, :-1].astype(np.float32), table[:, -1].astype(np.int32)
    return split_data("wine", x, y, test_split, seed)


def load(split: str = "train", test_split: float = 0.2, seed: int = 113) -> Dataset:
    """The wines as a Dataset of `(measurements, cultivar)`.

    Args:
        split: `"train"`, `"test"` or `"all"`.
        test_split: share of the rows held out for testing, 0 to 1.
        seed: of the order of the rows, as in `load_data`.

    Example:
        >>> from lamina.datasets import wine
        >>> len(wine.load("test"))
        36
    """
    return Dataset.from_tensor_slices(choose_split("wine", split, load_data(test_split, seed)))
