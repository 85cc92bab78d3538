"""What feature columns have in common, and the features of a batch as they read them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, Self

import numpy as np

from lamina.core import registry
from lamina.core.config import deserialize_value, serialize_value
from lamina.core.errors import describe, did_you_mean, listing, owner_label
from lamina.core.fingerprint import fingerprint64
from lamina.core.vocabulary import dense_rows

MISSING_ID = -1
"""The id that stands for no value."""


class Value(NamedTuple):
    """A raw feature of a batch: values with at least two axes, and which of them are there (None: all)."""

    values: np.ndarray
    present: np.ndarray | None = None


class Ids(NamedTuple):
    """Categories of a batch: ids of shape (batch, n), -1 for none, and the weight of each, or None."""

    ids: Any
    weights: Any = None


class Features:
    """The features of a batch on the host, each read in a uniform form.

    Args:
        features: a dict of arrays or lists; or a DataFrame.
    """

    def __init__(self, features: Any):
        if not isinstance(features, Mapping) and hasattr(features, "columns"):
            features = {str(k): features[k].to_numpy() for k in features.columns}
        if not isinstance(features, Mapping):
            raise TypeError(f"Feature columns read a dict of features, by name, got {describe(features)}.")
        self._features = features
        self._ids: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def read(self, column: Any, key: str) -> Value:
        """The feature `key`, asked for by `column`.

        Raises:
            ValueError: there is none of that name, or it has no batch axis.
        """
        given = find_feature(column, key, self._features)
        if isinstance(given, (list, tuple)) and any(isinstance(v, (list, tuple)) for v in given):
            return _ragged(given)
        values = np.asarray(given)
        if (
            values.dtype.kind == "O"
            and values.size
            and any(isinstance(v, (list, tuple, np.ndarray)) for v in values.flat)
        ):
            return _ragged(values.tolist())
        if values.ndim == 0:
            raise ValueError(f"{label(column)}: feature {key!r} must be a batch of values, got {describe(given)}.")
        return Value(values[:, None] if values.ndim == 1 else values)

    def ids(self, column: Any) -> tuple[np.ndarray, np.ndarray]:
        """Ids of a categorical column and which of them are there; computed once a batch."""
        if column.input_name not in self._ids:
            self._ids[column.input_name] = column.host_ids(self)
        return self._ids[column.input_name]


def find_feature(column: Any, key: str, features: Mapping[str, Any]) -> Any:
    """The feature `key`, asked for by `column`.

    Raises:
        ValueError: there is none of that name; the message lists those that are there.
    """
    if key in features:
        return features[key]
    raise ValueError(
        f"{label(column)}: feature {key!r} is not among the features, which are {listing(list(features), 'and')}."
        f"{did_you_mean(key, list(features))}"
    )


def flat_rows(values: np.ndarray) -> np.ndarray:
    """An array (batch, ...) as (batch, n); the batch may be empty."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _ragged(rows: Sequence[Any]) -> Value:
    flat = [v for row in rows for v in (row if isinstance(row, (list, tuple, np.ndarray)) else [row])]
    if all(isinstance(v, numbers.Integral) for v in flat):
        return Value(*dense_rows(rows, MISSING_ID, np.int64))
    if all(isinstance(v, numbers.Real) for v in flat):
        return Value(*dense_rows(rows, np.nan, np.float32))
    return Value(*dense_rows(rows, "", object))


def label(column: Any) -> str:
    """How errors name a column: `numeric_column 'age'`."""
    if isinstance(column, FeatureColumn):
        return f"{column.maker} '{column.name}'"
    return owner_label(column)


class Described:
    """A dataclass that a config describes."""

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        registry.add_builtin(cls)

    def get_config(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {f.name: serialize_value(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A column made from what `get_config` returned."""
        return cls(**{k: _frozen(deserialize_value(v)) for k, v in config.items()})


class FeatureColumn(Described):
    """A rule that turns raw features into model input; the columns of `tf.feature_column` are such.

    Its work is split. On the host, `host_inputs` turns the features of a batch, strings among them, into arrays of
    numbers. In the compiled step those become ids, one-hot vectors, embeddings.
    """

    maker = "feature column"
    input_name: str

    def __post_init__(self) -> None:
        # Columns of one name may differ (two vocabularies of one feature), equal ones shall be computed once.
        config = [self._token(getattr(self, f.name)) for f in fields(self)]  # type: ignore[arg-type]
        token = int(fingerprint64(repr((type(self).__name__, config)))) & 0xFFFFFFFF
        object.__setattr__(self, "input_name", f"{self.name}@{token:08x}")

    @staticmethod
    def _token(value: Any) -> Any:
        if isinstance(value, FeatureColumn):
            return value.input_name
        if isinstance(value, tuple) and len(value) > 64:
            return int(np.bitwise_xor.reduce(fingerprint64([f"{i}:{v}" for i, v in enumerate(value)])))
        if isinstance(value, tuple):
            return [FeatureColumn._token(v) for v in value]
        return value

    @property
    def name(self) -> str:
        """The name, by which columns are sorted and their weights are called."""
        raise NotImplementedError

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """How the features are read from `tf.train.Example` records."""
        raise NotImplementedError

    def host_inputs(self, features: Features) -> dict[str, np.ndarray]:
        """Arrays of numbers for the compiled step, by name."""
        raise NotImplementedError

    def traced_inputs(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of the step from raw features, within the compiled step: for columns of numbers only.

        Raises:
            ValueError: the column needs the host.
        """
        raise ValueError(
            f"{label(self)}: its values are looked up on the host, before the compiled step. Transform them in the "
            "input_fn: dataset.map(lambda features, labels: (transform_host(columns, features), labels))."
        )

    def host_nodes(self, nodes: Any) -> dict[str, Any]:
        """What `host_inputs` does, as nodes of an exported model; by default `traced_inputs` written as such."""
        return nodes.traced(self, self.traced_inputs)

    def describe(self) -> dict[str, Any]:
        """A row of the summary: name, kind and details."""
        return {"name": self.name, "kind": self.maker, "details": ""}


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


class CategoricalColumn(FeatureColumn):
    """A column of ids below `num_buckets`."""

    @property
    def num_buckets(self) -> int:
        """How many ids there are."""
        raise NotImplementedError

    def host_ids(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """Ids of shape (batch, n), -1 for what the vocabulary does not know; and which values were given at all."""
        raise NotImplementedError

    def host_inputs(self, features: Features) -> dict[str, np.ndarray]:
        """The ids; -1 where there is none."""
        ids, present = features.ids(self)
        return {self.input_name: np.where(present, ids, MISSING_ID).astype(np.int32)}

    def id_nodes(self, nodes: Any) -> tuple[Any, Any]:
        """What `host_ids` does, as nodes of an exported model."""
        ids = nodes.build.cast(nodes.traced(self, self.traced_inputs)[self.input_name], np.int64)
        return ids, nodes.given(ids)

    def host_nodes(self, nodes: Any) -> dict[str, Any]:
        """The ids; -1 where there is none."""
        ids, present = nodes.ids(self)
        return {self.input_name: nodes.build.cast(nodes.build.select(present, ids, MISSING_ID), np.int32)}

    def ids(self, inputs: Mapping[str, Any]) -> Ids:
        """The ids, and weights, out of the inputs of the step."""
        return Ids(inputs[self.input_name])


class DenseColumn(FeatureColumn):
    """A column of vectors."""

    @property
    def variable_shape(self) -> tuple[int, ...]:
        """The shape of one sample's value."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """The number of values of one sample."""
        return int(np.prod(self.variable_shape))

    def dense(self, inputs: Mapping[str, Any], tables: Any = None) -> Any:
        """The values, (batch, width), in the compiled step; `tables` gives the tables of embeddings."""
        raise NotImplementedError


class SequenceColumn(FeatureColumn):
    """Marks columns with a value for each step of a sequence."""


def check_key(maker: str, key: Any, argument: str = "key") -> str:
    """`key`, if it is a string."""
    if not isinstance(key, str):
        raise TypeError(f"{maker}: {argument} must be the name of a feature, a string, got {describe(key)}.")
    return key


def check_categorical(maker: str, column: Any, argument: str = "categorical_column", sequences: bool = False) -> Any:
    """`column`, if it is categorical; and, unless `sequences` may come, not of a sequence."""
    if isinstance(column, SequenceColumn) and not sequences:
        raise ValueError(f"{maker}: {argument} must not be of a sequence, got {label(column)}.")
    if not isinstance(column, CategoricalColumn):
        what = label(column) if isinstance(column, FeatureColumn) else describe(column)
        raise ValueError(
            f"{maker}: {argument} must be a categorical column, such as categorical_column_with_vocabulary_list, got "
            f"{what}."
        )
    return column


def check_columns(owner: Any, columns: Any, kinds: type | tuple[type, ...] | None = None, cure: str = "") -> list[Any]:
    """Columns as a list without repeated names, each an instance of `kinds`.

    Raises:
        ValueError: something else is among them, there are none, or two share a name.
    """
    if isinstance(columns, FeatureColumn):
        columns = [columns]
    if isinstance(columns, (str, bytes, Mapping)) or not isinstance(columns, Iterable):
        raise ValueError(f"{owner_label(owner)}: expected a list of feature columns, got {describe(columns)}.")
    columns = list(columns)
    if not columns:
        raise ValueError(f"{owner_label(owner)}: expected at least one feature column, got none.")
    seen: dict[str, Any] = {}
    for column in columns:
        if not isinstance(column, FeatureColumn):
            raise ValueError(f"{owner_label(owner)}: expected feature columns, got {describe(column)} among them.")
        if kinds is not None and not isinstance(column, kinds):
            raise ValueError(f"{owner_label(owner)}: {label(column)} does not fit here. {cure}")
        if column.name in seen:
            raise ValueError(
                f"{owner_label(owner)}: two feature columns are named {column.name!r}: {seen[column.name].maker} and "
                f"{column.maker}. Names are made of the keys of features; leave one out or use another key."
            )
        seen[column.name] = column
    return columns


def transform_host(columns: Iterable[FeatureColumn], features: Any) -> dict[str, np.ndarray]:
    """The features of a batch as arrays of numbers for the compiled step: strings become ids here, on the host.

    Works on any batch, so that it can stand in `Dataset.map` after `batch`.

    Args:
        columns: the columns of the model.
        features: the features by name: a dict of arrays or lists, or a DataFrame. `""`, -1 and, in lists, what a
            shorter row lacks, mean "no value".

    Returns:
        float32 arrays of numeric columns and int32 ids of categorical ones, by `column.input_name`.

    Raises:
        ValueError: a feature is not there, has the wrong dtype or shape, or ids out of range.

    Example:
        >>> from lamina.estimators.feature_columns import categorical_column_with_vocabulary_list
        >>> color = categorical_column_with_vocabulary_list("color", ["red", "green"])
        >>> transform_host([color], {"color": ["green", "blue"]})[color.input_name].tolist()
        [[1], [-1]]
    """
    read = features if isinstance(features, Features) else Features(features)
    inputs: dict[str, np.ndarray] = {}
    for column in columns:
        inputs.update(column.host_inputs(read))
    return inputs
