"""Reading tf.train.Example: what features an example has, and their values as arrays.

Features of varying length become arrays padded at their end, where tf.io gives sparse or ragged tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from lamina.core.errors import describe, listing
from lamina.datasets.spec import STRING, TensorSpec, as_dtype, as_shape, dtype_name
from lamina.wire.errors import DataLossError
from lamina.wire.example import (
    BytesList,
    Example,
    Feature,
    FeatureList,
    FeatureLists,
    Features,
    FloatList,
    Int64List,
    SequenceExample,
)

__all__ = [
    "BytesList",
    "Example",
    "Feature",
    "FeatureList",
    "FeatureLists",
    "FeatureSpecs",
    "Features",
    "FixedLenFeature",
    "FixedLenSequenceFeature",
    "FloatList",
    "Int64List",
    "SequenceExample",
    "VarLenFeature",
    "parse_example",
    "parse_single_example",
    "parse_single_sequence_example",
]

_KINDS: dict[str, np.dtype] = {
    "int64_list": np.dtype(np.int64),
    "float_list": np.dtype(np.float32),
    "bytes_list": STRING,
}
_SMALL = 16


class FixedLenFeature(NamedTuple):
    """A feature with one shape in all examples.

    Args:
        shape: Its shape; `[]` for one value.
        dtype: `"int64"`, `"float32"` or `"string"`, as it was written.
        default_value: What stands for it where it is missing; None if it must be there.
    """

    shape: Any
    dtype: Any
    default_value: Any = None


class VarLenFeature(NamedTuple):
    """A feature with any number of values, padded to the longest of a batch.

    Args:
        dtype: `"int64"`, `"float32"` or `"string"`, as it was written.
        default_value: What padding is made of; None for zeros or empty strings.
    """

    dtype: Any
    default_value: Any = None


class FixedLenSequenceFeature(NamedTuple):
    """A feature with any number of parts of one shape, padded to the longest of a batch.

    Args:
        shape: The shape of a part; `[]` for one value.
        dtype: `"int64"`, `"float32"` or `"string"`, as it was written.
        allow_missing: Whether it may be missing, which is an empty sequence.
        default_value: What padding is made of; None for zeros or empty strings.
    """

    shape: Any
    dtype: Any
    allow_missing: bool = False
    default_value: Any = None


FeatureSpecs = Mapping[str, FixedLenFeature | VarLenFeature | FixedLenSequenceFeature]


def parse_single_example(serialized: bytes, features: FeatureSpecs, name: str | None = None) -> dict[str, Any]:
    """The features of one serialised `Example`.

    Args:
        serialized: Its bytes.
        features: What to read: `FixedLenFeature`, `VarLenFeature` or `FixedLenSequenceFeature` by key.
        name: A name for messages.

    Returns:
        A dict of arrays; a feature of varying length has as many values as the example holds.

    Raises:
        DataLossError: the bytes are no Example.
        ValueError: a required feature is missing, or has another dtype or length.

    Example:
        >>> feature = {"id": Feature(int64_list=Int64List(value=[7]))}
        >>> example = Example(features=Features(feature=feature))
        >>> parse_single_example(example.SerializeToString(), {"id": FixedLenFeature([], "int64")})
        {'id': np.int64(7)}
    """
    owner = name or "parse_single_example"
    readers = [_Reader(owner, key, feature) for key, feature in features.items()]
    found = _decode(owner, serialized, 0, Example).features.feature
    return {reader.key: reader.single(found) for reader in readers}


def parse_example(serialized: Any, features: FeatureSpecs, example_names: Any = None, name: str | None = None) -> dict:
    """The features of a batch of serialised `Example`s.

    Args:
        serialized: An array of byte strings, as `TFRecordDataset(...).batch(n)` gives; one string is read as by
            `parse_single_example`.
        features: What to read: `FixedLenFeature`, `VarLenFeature` or `FixedLenSequenceFeature` by key.
        example_names: Names of the examples for messages.
        name: A name for messages.

    Returns:
        A dict of arrays with a leading batch dimension; features of varying length are padded to the longest.

    Raises:
        DataLossError: some bytes are no Example.
        ValueError: a required feature is missing, or has another dtype or length.
    """
    if isinstance(serialized, bytes):
        return parse_single_example(serialized, features, name)
    owner = name or "parse_example"
    names = None if example_names is None else list(np.asarray(example_names).reshape(-1))
    records = np.asarray(serialized, object).reshape(-1).tolist()
    readers = [_Reader(owner, key, feature) for key, feature in features.items()]
    examples = [
        _decode(owner, record, i if names is None else names[i], Example).features.feature
        for i, record in enumerate(records)
    ]
    return {reader.key: reader.batch(examples) for reader in readers}


def parse_single_sequence_example(
    serialized: bytes,
    context_features: FeatureSpecs | None = None,
    sequence_features: Mapping[str, VarLenFeature | FixedLenSequenceFeature] | None = None,
    example_name: str | None = None,
    name: str | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The features of one serialised `SequenceExample`: those of the whole, and those of each step.

    Args:
        serialized: Its bytes.
        context_features: What to read of the whole, as in `parse_single_example`.
        sequence_features: What to read of each step; a `VarLenFeature` is padded to the longest step.
        example_name: The example's name for messages.
        name: A name for messages.

    Returns:
        `(context, sequences)`; the arrays of `sequences` have the steps as their first dimension.

    Raises:
        DataLossError: the bytes are no SequenceExample.
        ValueError: a required feature is missing, or has another dtype or length.
    """
    owner = name or "parse_single_sequence_example"
    message = _decode(owner, serialized, example_name or 0, SequenceExample)
    context = {k: _Reader(owner, k, f).single(message.context.feature) for k, f in (context_features or {}).items()}
    sequences = {}
    feature: Any
    for key, feature in (sequence_features or {}).items():
        steps = [{key: step} for step in message.feature_lists.feature_list[key].feature]
        if isinstance(feature, FixedLenSequenceFeature):
            if not steps and not feature.allow_missing:
                raise ValueError(
                    f"{owner}: the feature list '{key}' is required and missing; allow_missing=True allows it."
                )
            feature = FixedLenFeature(feature.shape, feature.dtype)
        sequences[key] = _Reader(owner, key, feature).batch(steps)
    return context, sequences


def features_spec(features: FeatureSpecs, batch_size: int | None) -> dict[str, TensorSpec]:
    """The element_spec of what `parse_example` gives for `features` and a batch of `batch_size` (None: any)."""
    specs = {}
    for key, feature in features.items():
        varying = () if isinstance(feature, FixedLenFeature) else (None,)
        shape = as_shape(getattr(feature, "shape", ())) or ()
        specs[key] = TensorSpec((batch_size, *varying, *shape), feature.dtype)
    return specs


def _decode(owner: str, record: Any, which: Any, message: Any) -> Any:
    if not isinstance(record, bytes):
        raise TypeError(f"{owner}: serialized must hold byte strings, got {describe(record)}.")
    try:
        return message.FromString(record)
    except DecodeError as error:
        kind = message.DESCRIPTOR.name
        raise DataLossError(
            f"{owner}: example {which} ({len(record)} bytes) is no serialised {kind}: {error}."
        ) from error


class _Reader:
    """Reads one feature of examples."""

    def __init__(self, owner: str, key: str, feature: Any) -> None:
        kinds = (FixedLenFeature, VarLenFeature, FixedLenSequenceFeature)
        if not isinstance(feature, kinds):
            cure = listing([k.__name__ for k in kinds])
            raise TypeError(
                f"{owner}: the feature '{key}' must be {cure}, got {describe(feature)}. Sparse and ragged "
                "features are read as VarLenFeature, padded."
            )
        self.owner, self.key = owner, key
        self.dtype = as_dtype(feature.dtype)
        if self.dtype not in _KINDS.values():
            raise ValueError(
                f"{owner}: the dtype of '{key}' must be 'int64', 'float32' or 'string', got "
                f"{dtype_name(self.dtype)!r}. Convert to other dtypes afterwards."
            )
        self.kind = next(kind for kind, dtype in _KINDS.items() if dtype == self.dtype)
        self.varies = not isinstance(feature, FixedLenFeature)
        shape: Any = as_shape(getattr(feature, "shape", ()))
        if shape is None or None in shape:
            raise ValueError(f"{owner}: the shape of '{key}' must be known, got {shape}; use VarLenFeature.")
        self.shape: tuple[int, ...] = shape
        self.size = int(np.prod(shape, dtype=np.int64))
        if isinstance(feature, FixedLenSequenceFeature) and not feature.allow_missing:
            raise ValueError(
                f"{owner}: the FixedLenSequenceFeature '{key}' needs allow_missing=True outside sequences."
            )
        default = getattr(feature, "default_value", None)
        self.default = None if default is None else self._default(default)

    def _default(self, value: Any) -> np.ndarray:
        if isinstance(value, str):
            value = value.encode()
        if self.dtype == STRING:
            array = np.empty((), object)
            if isinstance(value, bytes):
                array[()] = value
            else:
                array = np.array([v.encode() if isinstance(v, str) else v for v in np.ravel(value)], object)
        else:
            array = np.asarray(value, self.dtype)
        wanted = () if self.varies else self.shape
        if array.size == 1:
            return np.broadcast_to(array.reshape(()), wanted)
        if array.size != int(np.prod(wanted, dtype=np.int64)):
            raise ValueError(
                f"{self.owner}: default_value of '{self.key}' must have shape {wanted}, got {describe(value)}."
            )
        return array.reshape(wanted)

    def single(self, found: Mapping[str, Any]) -> Any:
        """The value in one example."""
        array = self._array(self._values(found, 0))
        array = array.reshape(-1, *self.shape) if self.varies else array.reshape(self.shape)
        return array if array.ndim else array[()]

    def batch(self, examples: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """The values in all examples as one array."""
        rows = [self._values(found, i) for i, found in enumerate(examples)]
        if not self.varies:
            return self._stack(rows).reshape(len(rows), *self.shape)
        longest = max(map(len, rows), default=0)
        fill = self.default if self.default is not None else (b"" if self.dtype == STRING else 0)
        out = np.empty((len(rows), longest), self.dtype)
        out[...] = fill
        for i, row in enumerate(rows):
            out[i, : len(row)] = self._array(row)
        return out.reshape(len(rows), longest // max(self.size, 1), *self.shape)

    def _stack(self, rows: Sequence[Any]) -> np.ndarray:
        if self.size > _SMALL and rows:
            return np.concatenate([self._array(row) for row in rows])
        return np.array([value for row in rows for value in row], self.dtype)

    def _array(self, values: Any) -> np.ndarray:
        if isinstance(values, np.ndarray):
            return values
        if self.dtype == np.float32 and len(values) > _SMALL:
            # A message of floats alone is written as one run of bytes, which is far quicker than number by number.
            data = FloatList(value=values).SerializeToString()
            return np.frombuffer(data, "<f4", len(values), len(data) - 4 * len(values)).astype(np.float32)
        return np.array(values[:], self.dtype)

    def _values(self, found: Mapping[str, Any], which: int) -> Any:
        feature = found.get(self.key)
        if feature is not None:
            values = getattr(feature, self.kind).value
            if (len(values) > 0 and len(values) % (self.size or 1) == 0) if self.varies else len(values) == self.size:
                return values
        return self._unusual(feature, which)

    def _unusual(self, feature: Any, which: int) -> np.ndarray:
        """The values of a feature that is missing, or the error for one that does not fit."""
        kind = None if feature is None else feature.WhichOneof("kind")
        if kind is None:
            if self.varies:
                return np.empty(0, self.dtype)
            if self.default is None:
                raise ValueError(
                    f"{self.owner}: the feature '{self.key}' ({dtype_name(self.dtype)}) is required, example {which} "
                    "lacks it. Give it a default_value if it may be missing."
                )
            return self.default.reshape(-1)
        if kind != self.kind:
            raise ValueError(
                f"{self.owner}: the feature '{self.key}' must be {dtype_name(self.dtype)}, example {which} holds "
                f"{dtype_name(_KINDS[kind])}."
            )
        count = len(getattr(feature, kind).value)
        if self.varies and count == 0:
            return np.empty(0, self.dtype)
        if self.varies:
            raise ValueError(
                f"{self.owner}: the feature '{self.key}' must hold parts of {self.size} values, example {which} holds "
                f"{count} values."
            )
        raise ValueError(
            f"{self.owner}: the feature '{self.key}' must hold {self.size} values (shape {self.shape}), example "
            f"{which} holds {count}. Use VarLenFeature where the number varies."
        )
