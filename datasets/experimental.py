"""Names that tf.data keeps in `tf.data.experimental`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina.datasets.csv_files import CsvDataset, make_csv_dataset
from lamina.datasets.dataset import Dataset
from lamina.datasets.file_datasets import SqlDataset, make_batched_features_dataset
from lamina.datasets.nodes.filtering import AssertCardinality
from lamina.datasets.options import AutotuneOptions, ThreadingOptions
from lamina.datasets.spec import AUTOTUNE, INFINITE_CARDINALITY, UNKNOWN_CARDINALITY

__all__ = [
    "AUTOTUNE",
    "INFINITE_CARDINALITY",
    "UNKNOWN_CARDINALITY",
    "AutotuneOptions",
    "CsvDataset",
    "SqlDataset",
    "ThreadingOptions",
    "assert_cardinality",
    "cardinality",
    "get_structure",
    "make_batched_features_dataset",
    "make_csv_dataset",
]


def assert_cardinality(expected_cardinality: int) -> Callable[[Dataset], Dataset]:
    """A transformation for `apply` that declares the number of elements; iteration raises if it is another.

    Example:
        >>> from lamina.datasets import Dataset
        >>> evens = Dataset.range(6).filter(lambda x: x % 2 == 0)
        >>> len(evens.apply(assert_cardinality(3)))
        3
    """
    return lambda dataset: Dataset(AssertCardinality(dataset._node, expected_cardinality))


def cardinality(dataset: Dataset) -> int:
    """The number of elements of a dataset, see `Dataset.cardinality`."""
    return dataset.cardinality()


def get_structure(dataset_or_iterator: Any) -> Any:
    """The element_spec of a dataset or iterator."""
    return dataset_or_iterator.element_spec
