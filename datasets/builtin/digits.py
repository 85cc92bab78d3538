"""Digits: 1,797 handwritten digits as 8x8 images with 17 grey levels.

Bitmaps of 32x32 pixels were reduced by counting the set pixels of each 4x4 block, so a value is a whole number from 0
to 16. Divide by 16 to get values from 0 to 1.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, test part (scikit-learn's copy).
Licence: CC BY 4.0 (UCI Machine Learning Repository, doi:10.24432/C50P49).
"""

from __future__ import annotations

import numpy as np

from lamina.datasets.builtin.embedded import Split, choose_split, read_table, split_data
from lamina.datasets.dataset import Dataset

CLASS_NAMES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def load_data(test_split: float = 0.2, seed: int = 113) -> tuple[Split, Split]:
    """Images of handwritten digits (values 0 to 16) and the digits, with a fixed held-out part.

    Shape:
        x: `(1797 rows, 8, 8)`, uint8; y: `(1797 rows,)`, uint8.

    Args:
        test_split: share of the rows held out for testing, 0 to 1.
        seed: of the order of the rows. The same seed gives the same split on every machine.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.

    Example:
        >>> from lamina.datasets import digits
        >>> (x_train, y_train), (x_test, y_test) = digits.load_data()
        >>> x_train.shape, x_test.shape
        ((1437, 8, 8), (360, 8, 8))
    """
    table = read_table("digits")
    x, y = table[:, :-1].astype(np.uint8).reshape(-1, 8, 8), table[:, -1].astype(np.uint8)
    return split_data("digits", x, y, test_split, seed)


def load(split: str = "train", test_split: float = 0.2, seed: int = 113) -> Dataset:
    """The images as a Dataset of `(image, digit)`.

    Args:
        split: `"train"`, `"test"` or `"all"`.
        test_split: share of the rows held out for testing, 0 to 1.
        seed: of the order of the rows, as in `load_data`.

    Example:
        >>> from lamina.datasets import digits
        >>> len(digits.load("test"))
        360
    """
    return Dataset.from_tensor_slices(choose_split("digits", split, load_data(test_split, seed)))
