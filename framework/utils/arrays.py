"""Arrays made ready for training, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import describe


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Class numbers as one-hot rows.

    Args:
        x: class numbers from 0 up; a last axis of size 1 is dropped.
        num_classes: the number of classes; by default the largest number plus one.

    Shape:
        (...) or (..., 1) -> (..., num_classes).

    Raises:
        ValueError: a number is negative, or not below `num_classes`, or no integer.

    Example:
        >>> to_categorical([0, 2], num_classes=3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    given = np.asarray(x)
    numbers = given.astype(np.int64)
    if not np.array_equal(numbers, given):
        raise ValueError(f"to_categorical: x must hold whole class numbers, got {describe(given)} with fractions.")
    if numbers.ndim > 1 and numbers.shape[-1] == 1:
        numbers = numbers[..., 0]
    if num_classes is None:
        if not numbers.size:
            raise ValueError("to_categorical: x is empty, so num_classes= must be given.")
        num_classes = int(numbers.max()) + 1
    check_int("to_categorical", "num_classes", num_classes, 1)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < num_classes:
        raise ValueError(
            f"to_categorical: x must hold numbers from 0 to {num_classes - 1} for num_classes={num_classes}, got "
            f"{numbers.min()} to {numbers.max()}."
        )
    return (numbers[..., None] == np.arange(num_classes)).astype(np.float64)


def normalize(x: Any, axis: int = -1, order: int = 2) -> np.ndarray:
    """Vectors scaled to length 1: x / ||x||; a vector of zeros stays as it is.

    Args:
        x: an array.
        axis: the axis along which the vectors lie.
        order: the order of the norm.

    Example:
        >>> normalize([[3.0, 4.0], [0.0, 0.0]]).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    x = np.asarray(x)
    norm = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.where(norm == 0, 1, norm)
