"""Breast Cancer Wisconsin (Diagnostic): malignant or benign from 30 measurements of cell nuclei.

212 malignant (0) and 357 benign (1) tumours. Ten properties of the nuclei in an image, each as mean, standard error
and worst value.

Source: W. Wolberg, O. Mangasarian, N. Street and W. Street (scikit-learn's copy).
Licence: CC BY 4.0 (UCI Machine Learning Repository, doi:10.24432/C5DW2B).
"""

from __future__ import annotations

import numpy as np

from lamina.datasets.builtin.embedded import Split, choose_split, read_table, split_data
from lamina.datasets.dataset import Dataset

FEATURE_NAMES = (
    "mean_radius",
    "mean_texture",
    "mean_perimeter",
    "mean_area",
    "mean_smoothness",
    "mean_compactness",
    "mean_concavity",
    "mean_concave_points",
    "mean_symmetry",
    "mean_fractal_dimension",
    "radius_error",
    "texture_error",
    "perimeter_error",
    "area_error",
    "smoothness_error",
    "compactness_error",
    "concavity_error",
    "concave_points_error",
    "symmetry_error",
    "fractal_dimension_error",
    "worst_radius",
    "worst_texture",
    "worst_perimeter",
    "worst_area",
    "worst_smoothness",
    "worst_compactness",
    "worst_concavity",
    "worst_concave_points",
    "worst_symmetry",
    "worst_fractal_dimension",
)
CLASS_NAMES = ("malignant", "benign")


def load_data(test_split: float = 0.2, seed: int = 113) -> tuple[Split, Split]:
    """Measurements of cell nuclei and the diagnosis: 0 malignant, 1 benign.

    Shape:
        x: `(569 rows, 30)`, float32; y: `(569 rows,)`, int32.

    Args:
        test_split: share of the rows held out for testing, 0 to 1.
        seed: of the order of the rows. The same seed gives the same split on every machine.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.

    Example:
        >>> from lamina.datasets import breast_cancer
        >>> (x_train, y_train), (x_test, y_test) = breast_cancer.load_data()
        >>> x_train.shape, x_test.shape
        ((455, 30), (114, 30))
    """
    table = read_table("breast_cancer")
    x, y = table[:, :-1].astype(np.float32), table[:, -1].astype(np.int32)
    return split_data("breast_cancer", x, y, test_split, seed)


def load(split: str = "train", test_split: float = 0.2, seed: int = 113) -> Dataset:
    """The tumours as a Dataset of `(measurements, diagnosis)`.

    Args:
        split: `"train"`, `"test"` or `"all"`.
        test_split: share of the rows held out for testing, 0 to 1.
        seed: of the order of the rows, as in `load_data`.

    Example:
        >>> from lamina.datasets import breast_cancer
        >>> len(breast_cancer.load("test"))
        114
    """
    return Dataset.from_tensor_slices(choose_split("breast_cancer", split, load_data(test_split, seed)))
