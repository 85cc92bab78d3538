"""Data divided into two parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.core.errors import describe
from lamina.core.nest import flatten
from lamina.datasets.dataset import Dataset


def split_dataset(
    dataset: Any,
    left_size: float | int | None = None,
    right_size: float | int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
) -> tuple[Dataset, Dataset]:
    """Divides data into two Datasets.

    Args:
        dataset: a Dataset of known length, or arrays of one length, alone or in a tuple, list or dict.
        left_size: the part that goes left: a fraction between 0 and 1, or a number of elements.
        right_size: the part that goes right, likewise; by default all the rest. At least one of the two is needed.
        shuffle: whether the elements are drawn at random, in an order that stays the same each epoch.
        seed: the seed of that order.

    Raises:
        TypeError: the data is of another kind.
        ValueError: the length is unknown, or the parts are empty or larger than the data.

    Example:
        >>> left, right = split_dataset(np.arange(10), left_size=0.8)
        >>> len(left), [int(x) for x in right]
        (8, [8, 9])
    """
    if not isinstance(dataset, Dataset):
        arrays = flatten(dataset)
        if not arrays or not all(hasattr(a, "shape") and np.ndim(a) for a in arrays):
            raise TypeError(
                "split_dataset: dataset must be a Dataset, or arrays of one length in a tuple, list or dict, got "
                f"{describe(dataset)}."
            )
        dataset = Dataset.from_tensor_slices(tuple(dataset) if isinstance(dataset, list) else dataset)
    total = dataset.cardinality()
    if total < 0:
        raise ValueError(
            "split_dataset: the dataset must have a known length, got one that is infinite or unknown before it is "
            "read. Take a number of elements with take(n), or declare the length with assert_cardinality(n)."
        )
    left, right = _sizes(total, left_size, right_size)
    if shuffle:
        seed = int(np.random.randint(2**31)) if seed is None else seed
        dataset = dataset.shuffle(None, seed=seed, reshuffle_each_iteration=False)
    return dataset.take(left), dataset.skip(total - right if left_size is None else left).take(right)


def _sizes(total: int, left: float | int | None, right: float | int | None) -> tuple[int, int]:
    if left is None and right is None:
        raise ValueError("split_dataset: give left_size= or right_size=, a fraction or a number of elements.")
    counts: list[int | None] = []
    for name, size in (("left_size", left), ("right_size", right)):
        if size is None:
            counts.append(None)
        elif isinstance(size, bool) or not isinstance(size, (int, float, np.number)):
            raise TypeError(f"split_dataset: {name} must be a fraction or a number of elements, got {describe(size)}.")
        elif isinstance(size, (float, np.floating)):
            if not 0 < size < 1:
                raise ValueError(f"split_dataset: {name} must be a fraction between 0 and 1, got {size}.")
            counts.append(round(float(size) * total))
        else:
            counts.append(int(size))
    given_left, given_right = counts
    a = total - (given_right or 0) if given_left is None else given_left
    b = total - a if given_right is None else given_right
    if a <= 0 or b <= 0 or a + b > total:
        raise ValueError(
            f"split_dataset: left_size={left} and right_size={right} of {total} elements make parts of {a} and {b}; "
            f"both must be at least 1, and together at most {total}."
        )
    return a, b
