"""Categorical columns by identity and by hash, and weights of categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_int
from lamina.core.dtypes import INTS, standardize_dtype
from lamina.core.errors import describe
from lamina.core.fingerprint import fingerprint64
from lamina.core.vocabulary import is_text
from lamina.datasets.examples import VarLenFeature
from lamina.estimators.feature_columns.column import (
    MISSING_ID,
    CategoricalColumn,
    Features,
    Ids,
    Value,
    check_categorical,
    check_key,
    find_feature,
    flat_rows,
    label,
)
from lamina.estimators.feature_columns.numeric import check_number_dtype, read_numbers

MOST_BUCKETS = 2**31 - 1  # ids are int32 in the compiled step


def check_category_dtype(owner: str, dtype: Any) -> str:
    """The name of `dtype`, if it is a string or integer dtype."""
    name = standardize_dtype(dtype)
    if name != "string" and name not in INTS:
        raise ValueError(f"{owner}: dtype must be 'string' or one of integers, got {name!r}.")
    return name


def values_spec(dtype: str) -> VarLenFeature:
    """How any number of categories are read from records: padded with what means "no value"."""
    return VarLenFeature(dtype, None if dtype == "string" else MISSING_ID)


def check_buckets(owner: str, argument: str, value: Any) -> int:
    """A number of buckets that int32 can count."""
    value = check_int(owner, argument, value, 1)
    if value > MOST_BUCKETS:
        raise ValueError(f"{owner}: {argument} must be at most {MOST_BUCKETS}, got {value}.")
    return value


def read_categories(column: Any, features: Features, key: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """A feature of strings or integers, of shape (batch, n), and which values are there: not `""`, -1 or None.

    Raises:
        ValueError: the feature holds strings where the column expects integers, or the reverse.
    """
    values, present = features.read(column, key)
    if present is None:
        present = np.ones(values.shape, bool)
    if values.dtype.kind == "O":
        values, present = _without_none(values, present)
    text = is_text(values)
    if dtype == "string":
        if not text and values.size and present.any():
            raise ValueError(
                f"{label(column)}: feature {key!r} must hold strings, got {describe(values)}. Give the column "
                "dtype='int64' (a vocabulary of integers, for a vocabulary list), or turn the values into strings."
            )
        missing = values == (b"" if values.dtype.kind == "S" else "")
        if values.dtype.kind == "O":
            missing = missing | (values == b"")
    else:
        if text and values.size and present.any():
            raise ValueError(f"{label(column)}: feature {key!r} must hold integers, got strings ({describe(values)}).")
        if values.dtype.kind == "O" or (values.dtype.kind == "f" and values.size == 0):
            values = values.astype(np.int64)
        if values.dtype.kind not in "iub":
            raise ValueError(
                f"{label(column)}: feature {key!r} must hold integers, got {describe(values)}. Use numeric_column or "
                "bucketized_column for real numbers."
            )
        values = values.astype(np.int64, copy=False)
        missing = values == MISSING_ID
    if values.ndim != 2:
        values, present, missing = (flat_rows(a) for a in (values, present, missing))
    return values, present & ~np.asarray(missing, bool)


def _without_none(values: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """None and NaN among objects as missing values."""
    absent = np.array([v is None or v != v for v in values.reshape(-1).tolist()], bool).reshape(values.shape)
    if not absent.any():
        return values, present
    here = values[~absent & present]
    filler: Any = "" if not here.size or isinstance(here[0], (str, bytes)) else MISSING_ID
    values = values.copy()
    values[absent] = filler
    return values, present & ~absent


@dataclass(frozen=True)
class IdentityColumn(CategoricalColumn):
    """See `categorical_column_with_identity`."""

    key: str
    number_buckets: int
    default_value: int | None

    maker = "categorical_column_with_identity"

    @property
    def name(self) -> str:
        """The key."""
        return self.key

    @property
    def num_buckets(self) -> int:
        """How many ids there are."""
        return self.number_buckets

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """Any number of integers."""
        return {self.key: values_spec("int64")}

    def host_ids(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """The integers themselves.

        Raises:
            ValueError: one is out of range, and there is no default.
        """
        ids, present = read_categories(self, features, self.key, "int64")
        outside = present & ((ids < 0) | (ids >= self.number_buckets))
        if outside.any():
            if self.default_value is None:
                raise ValueError(
                    f"{label(self)}: ids must be from 0 to {self.number_buckets - 1} (num_buckets="
                    f"{self.number_buckets}), got {ids[outside][0]}. Give more buckets, or a default_value for ids out "
                    "of range."
                )
            ids = np.where(outside, self.default_value, ids)
        return ids, present

    def traced_inputs(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """The integers themselves; those out of range, which cannot be refused here, count as no value."""
        ids = jnp.asarray(find_feature(self, self.key, features))
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError(f"{label(self)}: feature {self.key!r} must hold integers, got {describe(ids)}.")
        ids = ids.reshape(ids.shape[0], -1).astype("int32")
        outside = (ids < 0) | (ids >= self.number_buckets)
        default = MISSING_ID if self.default_value is None else self.default_value
        return {self.input_name: jnp.where(outside & (ids != MISSING_ID), default, ids)}

    def describe(self) -> dict[str, Any]:
        """A row of the summary."""
        return {"name": self.name, "kind": self.maker, "details": f"{self.number_buckets} ids"}


def categorical_column_with_identity(key: str, num_buckets: int, default_value: int | None = None) -> IdentityColumn:
    """Integers that are ids already: 0, 1, ... num_buckets - 1. -1 means "no value".

    Args:
        key: the name of the feature.
        num_buckets: how many ids there are.
        default_value: the id that stands for all others; None makes them an error.

    Raises:
        ValueError: no buckets, or a default out of range.

    Example:
        >>> categorical_column_with_identity("weekday", 7).num_buckets
        7
    """
    owner = f"categorical_column_with_identity '{check_key('categorical_column_with_identity', key)}'"
    num_buckets = check_buckets(owner, "num_buckets", num_buckets)
    if default_value is not None and not 0 <= check_int(owner, "default_value", default_value) < num_buckets:
        raise ValueError(
            f"{owner}: default_value must be from 0 to {num_buckets - 1}, below num_buckets, got {default_value}."
        )
    return IdentityColumn(key, num_buckets, default_value)


@dataclass(frozen=True)
class HashedColumn(CategoricalColumn):
    """See `categorical_column_with_hash_bucket`."""

    key: str
    hash_bucket_size: int
    dtype: str

    maker = "categorical_column_with_hash_bucket"

    @property
    def name(self) -> str:
        """The key."""
        return self.key

    @property
    def num_buckets(self) -> int:
        """How many buckets there are."""
        return self.hash_bucket_size

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """Any number of values."""
        return {self.key: values_spec(self.dtype)}

    def host_ids(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """The fingerprint of each value, modulo the number of buckets."""
        values, present = read_categories(self, features, self.key, self.dtype)
        return (fingerprint64(values) % np.uint64(self.hash_bucket_size)).astype(np.int64), present

    def id_nodes(self, nodes: Any) -> tuple[Any, Any]:
        """The fingerprint of each value, modulo the number of buckets."""
        values = nodes.categories(self, self.key, self.dtype)
        return nodes.build.hash_buckets(values, self.hash_bucket_size), nodes.given(values)

    def describe(self) -> dict[str, Any]:
        """A row of the summary."""
        return {"name": self.name, "kind": self.maker, "details": f"{self.hash_bucket_size} buckets"}


def categorical_column_with_hash_bucket(key: str, hash_bucket_size: int, dtype: Any = "string") -> HashedColumn:
    """Strings or integers by their hash: Fingerprint64 modulo the number of buckets. No vocabulary is needed.

    Args:
        key: the name of the feature.
        hash_bucket_size: how many buckets there are.
        dtype: "string", or one of integers, which are hashed in decimal.

    Raises:
        ValueError: no buckets, or a dtype of real numbers.

    Example:
        >>> categorical_column_with_hash_bucket("word", 1000).num_buckets
        1000

    Reference:
        https://arxiv.org/abs/0902.2206
    """
    owner = f"categorical_column_with_hash_bucket '{check_key('categorical_column_with_hash_bucket', key)}'"
    size = check_buckets(owner, "hash_bucket_size", hash_bucket_size)
    return HashedColumn(key, size, check_category_dtype(owner, dtype))


@dataclass(frozen=True)
class WeightedColumn(CategoricalColumn):
    """See `weighted_categorical_column`."""

    categorical_column: CategoricalColumn
    weight_feature_key: str
    dtype: str

    maker = "weighted_categorical_column"

    @property
    def name(self) -> str:
        """The name of the categories and that of the weights."""
        return f"{self.categorical_column.name}_weighted_by_{self.weight_feature_key}"

    @property
    def num_buckets(self) -> int:
        """That of the categories."""
        return self.categorical_column.num_buckets

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """The categories, and as many weights."""
        spec = self.categorical_column.parse_example_spec
        if self.weight_feature_key in spec:
            raise ValueError(
                f"{label(self)}: feature {self.weight_feature_key!r} cannot be both the categories and their weights."
            )
        return {**spec, self.weight_feature_key: VarLenFeature(self.dtype)}

    def host_ids(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """The ids of the categories."""
        return features.ids(self.categorical_column)

    def weights(self, features: Features) -> np.ndarray:
        """The weights, of the shape of the ids."""
        ids, present = features.ids(self)
        raw: Value = features.read(self, self.weight_feature_key)
        weights = read_numbers(self, features, self.weight_feature_key).astype(np.float32)
        weights = flat_rows(weights)
        if weights.shape != ids.shape:
            raise ValueError(
                f"{label(self)}: feature {self.weight_feature_key!r} must hold a weight for each category, in an array "
                f"of shape {ids.shape}, got {describe(weights)}."
            )
        absent = np.isnan(weights) if raw.present is None else np.isnan(weights) | ~raw.present
        if (absent & present).any():
            raise ValueError(f"{label(self)}: a category has no weight in feature {self.weight_feature_key!r}.")
        return np.where(present, weights, 0).astype(np.float32)

    def id_nodes(self, nodes: Any) -> tuple[Any, Any]:
        """The ids of the categories."""
        return nodes.ids(self.categorical_column)

    def host_nodes(self, nodes: Any) -> dict[str, Any]:
        """The ids and the weights."""
        found, (_, present) = super().host_nodes(nodes), nodes.ids(self)
        weights = nodes.build.cast(nodes.numbers(self, self.weight_feature_key), np.float32)
        if len(weights.shape) == 1:
            weights = nodes.build.reshape(weights, (*weights.shape, 1))
        return {**found, f"{self.input_name}/weights": nodes.build.select(present, weights, 0)}

    def host_inputs(self, features: Features) -> dict[str, np.ndarray]:
        """The ids and the weights."""
        return {**super().host_inputs(features), f"{self.input_name}/weights": self.weights(features)}

    def ids(self, inputs: Mapping[str, Any]) -> Ids:
        """The ids and the weights out of the inputs of the step."""
        return Ids(inputs[self.input_name], inputs[f"{self.input_name}/weights"])

    def describe(self) -> dict[str, Any]:
        """A row of the summary."""
        return {"name": self.name, "kind": self.maker, "details": self.categorical_column.describe()["details"]}


def weighted_categorical_column(
    categorical_column: CategoricalColumn, weight_feature_key: str, dtype: Any = "float32"
) -> WeightedColumn:
    """Categories that each come with a weight, from another feature of the same shape.

    Args:
        categorical_column: the categories.
        weight_feature_key: the name of the feature with the weights; 0 where there is no category.
        dtype: of the weights in records.

    Raises:
        ValueError: the column is not categorical, or the dtype is none of numbers.

    Example:
        >>> words = categorical_column_with_hash_bucket("word", 1000)
        >>> weighted_categorical_column(words, "frequency").name
        'word_weighted_by_frequency'
    """
    check_categorical("weighted_categorical_column", categorical_column)
    check_key("weighted_categorical_column", weight_feature_key, "weight_feature_key")
    owner = f"weighted_categorical_column of '{categorical_column.name}'"
    return WeightedColumn(categorical_column, weight_feature_key, check_number_dtype(owner, dtype))
