"""Input pipelines with the API of tf.data, on numpy, without TensorFlow and without jax."""

from __future__ import annotations

import importlib
from typing import Any

from lamina.datasets.builtin import (
    breast_cancer,
    california_housing,
    cifar10,
    cifar100,
    diabetes,
    digits,
    fashion_mnist,
    imdb,
    iris,
    mnist,
    reuters,
    speech_commands,
    wine,
)
from lamina.datasets.spec import (
    AUTOTUNE,
    INFINITE_CARDINALITY,
    UNKNOWN_CARDINALITY,
    DatasetSpec,
    TensorSpec,
)

_LAZY = {
    "Dataset": "dataset",
    "DatasetIterator": "iterator",
    "Options": "options",
    "AutotuneOptions": "options",
    "ThreadingOptions": "options",
    "TextLineDataset": "file_datasets",
    "TFRecordDataset": "file_datasets",
    "TFRecordOptions": "file_datasets",
    "TFRecordWriter": "file_datasets",
    "FixedLengthRecordDataset": "file_datasets",
    "SqlDataset": "file_datasets",
    "make_batched_features_dataset": "file_datasets",
    "CsvDataset": "csv_files",
    "make_csv_dataset": "csv_files",
    "FixedLenFeature": "examples",
    "FixedLenSequenceFeature": "examples",
    "VarLenFeature": "examples",
    "parse_example": "examples",
    "parse_single_example": "examples",
    "parse_single_sequence_example": "examples",
    "Example": "examples",
    "SequenceExample": "examples",
    "Features": "examples",
    "Feature": "examples",
    "FeatureLists": "examples",
    "FeatureList": "examples",
    "BytesList": "examples",
    "FloatList": "examples",
    "Int64List": "examples",
    "image_dataset_from_directory": "directories",
    "audio_dataset_from_directory": "directories",
    "text_dataset_from_directory": "directories",
    "timeseries_dataset_from_array": "timeseries",
    "assert_cardinality": "experimental",
}
"""Public names and the modules they live in, which are imported when first asked for."""

__all__ = [
    "AUTOTUNE",
    "INFINITE_CARDINALITY",
    "UNKNOWN_CARDINALITY",
    "DatasetSpec",
    "TensorSpec",
    *_LAZY,
    "breast_cancer",
    "california_housing",
    "cifar10",
    "cifar100",
    "diabetes",
    "digits",
    "fashion_mnist",
    "imdb",
    "iris",
    "mnist",
    "reuters",
    "speech_commands",
    "wine",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(f"lamina.datasets.{_LAZY[name]}"), name)
    elif name == "experimental":
        value = importlib.import_module("lamina.datasets.experimental")
    else:
        raise AttributeError(f"module 'lamina.datasets' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
