"""Iris: the species of 150 flowers from four measurements of sepal and petal.

Three species with 50 flowers each: setosa is linearly separable from the other two, which overlap. Measurements are
in centimetres.

Source: R. A. Fisher, "The use of multiple measurements in taxonomic problems", 1936 (scikit-learn's copy).
Licence: CC BY 4.0 (UCI Machine Learning Repository, doi:10.24432/C56C76).
"""

from __future__ import annotations

import numpy as np

from lamina.datasets.builtin.embedded import Split, choose_split, read_table, split_data
from lamina.datasets.dataset import Dataset

FEATURE_NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
CLASS_NAMES = ("setosa", "versicolor", "virginica")


def load_data(test_split: float = 0.2, seed: int = 113) -> tuple[Split, Split]:
    """Measurements of iris flowers and their species (0 to 2, see `CLASS_NAMES`).

    Shape:
        x: `(150 rows, 4)`, float32; y: `(150 rows,)`, int32.

    Args:
        test_split: share of the rows held out for testing, 0 to 1.
        seed: of the order of the rows. The same seed gives the same split on every machine.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.

    Example:
        >>> from lamina.datasets import iris
        >>> (x_train, y_train), (x_test, y_test) = iris.load_data()
        >>> x_train.shape, x_test.shape
        ((120, 4), (30, 4))
    """
    table = read_table("iris")
    x, y = table[:, :-1].astype(np.float32), table[:, -1].astype(np.int32)
    return split_data("iris", x, y, test_split, seed)


def load(split: str = "train", test_split: float = 0.2, seed: int = 113) -> Dataset:
    """The flowers as a Dataset of `(measurements, species)`.

    Args:
        split: `"train"`, `"test"` or `"all"`.
        test_split: share of the rows held out for testing, 0 to 1.
        seed: of the order of the rows, as in `load_data`.

    Example:
        >>> from lamina.datasets import iris
        >>> len(iris.load("test"))
        30
    """
    return Dataset.from_tensor_slices(choose_split("iris", split, load_data(test_split, seed)))
