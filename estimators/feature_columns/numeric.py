"""Columns of numbers: as they are, or by the bucket that they fall into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_int
from lamina.core.dtypes import standardize_dtype
from lamina.core.errors import describe
from lamina.datasets.examples import FixedLenFeature
from lamina.estimators.feature_columns.column import (
    CategoricalColumn,
    DenseColumn,
    Features,
    check_key,
    find_feature,
    flat_rows,
    label,
)


def check_number_dtype(maker: str, dtype: Any) -> str:
    """The name of `dtype`, if it is one of numbers."""
    name = standardize_dtype(dtype)
    if name == "string" or name.startswith("complex"):
        raise ValueError(f"{maker}: dtype must be one of numbers, such as 'float32', got {name!r}.")
    return name


def check_shape(maker: str, shape: Any) -> tuple[int, ...]:
    """`shape` as a tuple of sizes of at least 1; a single integer stands for one axis."""
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return tuple(check_int(maker, f"shape[{i}]", d, 1) for i, d in enumerate(shape))


def read_numbers(column: Any, features: Features, key: str) -> np.ndarray:
    """A feature of numbers, of shape (batch, ...)."""
    values = features.read(column, key).values
    if values.dtype.kind == "O":
        try:
            values = values.astype(np.float32)
        except (TypeError, ValueError):
            pass
    if values.dtype.kind not in "fiub":
        raise ValueError(
            f"{label(column)}: feature {key!r} must hold numbers, got {describe(values)}. Use a categorical column for "
            "strings."
        )
    return values


@dataclass(frozen=True)
class NumericColumn(DenseColumn):
    """See `numeric_column`."""

    key: str
    shape: tuple[int, ...]
    default_value: tuple[Any, ...] | None
    dtype: str
    normalizer_fn: Callable[[Any], Any] | None

    maker = "numeric_column"

    @property
    def name(self) -> str:
        """The key."""
        return self.key

    @property
    def variable_shape(self) -> tuple[int, ...]:
        """The shape of one sample's value."""
        return self.shape

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """A feature of fixed shape."""
        return {self.key: FixedLenFeature(self.shape, self.dtype, self.default_value)}

    def numbers(self, features: Features) -> np.ndarray:
        """The normalised values, float32, of shape (batch, *shape)."""
        return self._normalize(read_numbers(self, features, self.key), np)

    def _normalize(self, values: Any, numpy: Any) -> Any:
        """The values of a batch, checked and normalised, as arrays of numpy or of jax."""
        if values[:1].size != len(values[:1]) * self.width:
            raise ValueError(
                f"{label(self)}: shape is {self.shape}, so a batch of it has shape (batch, "
                f"{', '.join(map(str, self.shape))}), got {describe(values)}. Give shape={values.shape[1:]}."
            )
        values = values.reshape(values.shape[0], *self.shape)
        if self.normalizer_fn is not None:
            values = numpy.asarray(self.normalizer_fn(values))
        return values.astype("float32", copy=False)

    def host_inputs(self, features: Features) -> dict[str, np.ndarray]:
        """The normalised numbers."""
        return {self.input_name: self.numbers(features)}

    def traced_numbers(self, features: Mapping[str, Any]) -> Any:
        """The normalised values within the compiled step."""
        values = jnp.asarray(find_feature(self, self.key, features))
        return self._normalize(values[:, None] if values.ndim == 1 else values, jnp)

    def traced_inputs(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """The normalised numbers."""
        return {self.input_name: self.traced_numbers(features)}

    def dense(self, inputs: Mapping[str, Any], tables: Any = None) -> Any:
        """The numbers, one row a sample."""
        x = inputs[self.input_name]
        return x.reshape(x.shape[0], self.width)

    def describe(self) -> dict[str, Any]:
        """A row of the summary."""
        details = [] if self.shape == (1,) else [f"shape {self.shape}"]
        if self.normalizer_fn is not None:
            details.append(getattr(self.normalizer_fn, "__name__", None) or repr(self.normalizer_fn))
        return {"name": self.name, "kind": self.maker, "details": ", ".join(details)}


def numeric_column(
    key: str,
    shape: Any = (1,),
    default_value: Any = None,
    dtype: Any = "float32",
    normalizer_fn: Callable[[Any], Any] | None = None,
) -> NumericColumn:
    """Numbers as they are, in float32.

    Args:
        key: the name of the feature.
        shape: the shape of one sample's value.
        default_value: what stands for a missing value when records are parsed: a number, or one for each place.
        dtype: the dtype in records.
        normalizer_fn: a function of the batch that returns what the model shall see, such as `lambda x: x / 100`; it
            runs on the host.

    Raises:
        TypeError: `key` is no string, or `normalizer_fn` no function.
        ValueError: a size below 1, a dtype of strings, or default values that do not fit the shape.

    Example:
        >>> numeric_column("age").variable_shape
        (1,)
    """
    check_key("numeric_column", key)
    owner = f"numeric_column '{key}'"
    shape, dtype = check_shape(owner, shape), check_number_dtype(owner, dtype)
    if normalizer_fn is not None and not callable(normalizer_fn):
        raise TypeError(f"{owner}: normalizer_fn must be a function, got {describe(normalizer_fn)}.")
    return NumericColumn(key, shape, _defaults(owner, default_value, shape, dtype), dtype, normalizer_fn)


def _defaults(owner: str, value: Any, shape: tuple[int, ...], dtype: str) -> tuple[Any, ...] | None:
    if value is None:
        return None
    given = np.asarray(value)
    if given.dtype.kind not in "fiub":
        raise TypeError(f"{owner}: default_value must be a number or numbers, got {describe(value)}.")
    if given.dtype.kind == "f" and not dtype.startswith(("float", "bfloat")):
        raise TypeError(f"{owner}: default_value must be whole for dtype {dtype!r}, got {describe(value)}.")
    if given.ndim and given.shape != shape:
        raise ValueError(f"{owner}: default_value must have shape {shape}, got {describe(given)}.")
    return _as_tuple(np.broadcast_to(given, shape).astype(dtype).tolist())


def _as_tuple(values: Any) -> Any:
    return tuple(map(_as_tuple, values)) if isinstance(values, list) else values


@dataclass(frozen=True)
class BucketizedColumn(DenseColumn, CategoricalColumn):
    """See `bucketized_column`."""

    source_column: NumericColumn
    boundaries: tuple[float, ...]

    maker = "bucketized_column"

    @property
    def name(self) -> str:
        """The key and `_bucketized`."""
        return f"{self.source_column.name}_bucketized"

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """That of the numbers."""
        return self.source_column.parse_example_spec

    @property
    def num_buckets(self) -> int:
        """How many buckets all places have together."""
        return (len(self.boundaries) + 1) * self.source_column.width

    @property
    def variable_shape(self) -> tuple[int, ...]:
        """The shape of the numbers and an axis of buckets."""
        return (*self.source_column.shape, len(self.boundaries) + 1)

    def host_ids(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """The buckets; each place of a vector has buckets of its own."""
        numbers = self.source_column.numbers(features)
        numbers = flat_rows(numbers)
        # float32 on both sides, so that a number on a boundary falls into the bucket above it.
        buckets = np.searchsorted(np.asarray(self.boundaries, np.float32), numbers, side="right")
        ids = buckets + np.arange(numbers.shape[1]) * (len(self.boundaries) + 1)
        return ids, np.ones(ids.shape, bool)

    def traced_inputs(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """The buckets."""
        numbers = self.source_column.traced_numbers(features)
        numbers = numbers.reshape(numbers.shape[0], -1)
        buckets = jnp.searchsorted(jnp.asarray(self.boundaries, "float32"), numbers, side="right")
        return {self.input_name: buckets + jnp.arange(numbers.shape[1]) * (len(self.boundaries) + 1)}

    def dense(self, inputs: Mapping[str, Any], tables: Any = None) -> Any:
        """A one-hot vector for each number."""
        ids = inputs[self.input_name]
        hot = jax.nn.one_hot(ids % (len(self.boundaries) + 1), len(self.boundaries) + 1)
        return hot.reshape(ids.shape[0], self.width)

    def describe(self) -> dict[str, Any]:
        """A row of the summary."""
        return {"name": self.name, "kind": self.maker, "details": f"{len(self.boundaries) + 1} buckets"}


def bucketized_column(source_column: NumericColumn, boundaries: Any) -> BucketizedColumn:
    """Numbers by the bucket they fall into: below the first boundary, from it up to the second, and so on.

    Both a dense column (one-hot vectors) and a categorical one.

    Args:
        source_column: a `numeric_column` of one axis.
        boundaries: the boundaries, in rising order; n of them make n + 1 buckets.

    Raises:
        ValueError: another source column, or boundaries that are none or do not rise.

    Example:
        >>> bucketized_column(numeric_column("age"), [18, 65]).num_buckets
        3
    """
    if not isinstance(source_column, NumericColumn):
        raise ValueError(f"bucketized_column: source_column must be a numeric_column, got {describe(source_column)}.")
    owner = f"bucketized_column of '{source_column.key}'"
    if len(source_column.shape) > 1:
        raise ValueError(f"{owner}: source_column must have one axis, got shape {source_column.shape}.")
    if not isinstance(boundaries, (list, tuple, np.ndarray)) or not len(boundaries):
        raise ValueError(f"{owner}: boundaries must be a list of at least one number, got {describe(boundaries)}.")
    numbers = tuple(float(b) for b in boundaries)
    for low, high in zip(numbers, numbers[1:], strict=False):
        if not low < high:
            raise ValueError(f"{owner}: boundaries must rise, got {high} after {low}. Sort them, without repeats.")
    return BucketizedColumn(source_column, numbers)
