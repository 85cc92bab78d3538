"""Diabetes: the progression of the disease after one year from ten baseline variables of 442 patients.

A regression problem: age, sex, body mass index, mean blood pressure and six blood serum measurements, in their own
units; the target runs from 25 to 346. Normalise the features.

Source: B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, "Least Angle Regression", 2004 (scikit-learn's copy).
Licence: published by the authors with the paper; BSD 3-Clause as distributed by scikit-learn.
"""

from __future__ import annotations

import numpy as np

from lamina.datasets.builtin.embedded import Split, choose_split, read_table, split_data
from lamina.datasets.dataset import Dataset

FEATURE_NAMES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


def load_data(test_split: float = 0.2, seed: int = 113) -> tuple[Split, Split]:
    """Baseline variables of diabetes patients and the progression of the disease one year later.

    Shape:
        x: `(442 rows, 10)`, float32; y: `(442 rows,)`, float32.

    Args:
        test_split: share of the rows held out for testing, 0 to 1.
        seed: of the order of the rows. The same seed gives the same split on every machine.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.

    Example:
        >>> from lamina.datasets import diabetes
        >>> (x_train, y_train), (x_test, y_test) = diabetes.load_data()
        >>> x_train.shape, x_test.shape
        ((353, 10), (89, 10))
    """
    table = read_table("diabetes")
    x, y = table[:, :-1].astype(np.float32), table[:, -1].astype(np.float32)
    return split_data("diabetes", x, y, test_split, seed)


def load(split: str = "train", test_split: float = 0.2, seed: int = 113) -> Dataset:
    """The patients as a Dataset of `(variables, progression)`.

    Args:
        split: `"train"`, `"test"` or `"all"`.
        test_split: share of the rows held out for testing, 0 to 1.
        seed: of the order of the rows, as in `load_data`.

    Example:
        >>> from lamina.datasets import diabetes
        >>> len(diabetes.load("test"))
        89
    """
    return Dataset.from_tensor_slices(choose_split("diabetes", split, load_data(test_split, seed)))
