"""Columns with a value for each step of a sequence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core.checks import check_number
from lamina.core.errors import describe
from lamina.datasets.examples import VarLenFeature
from lamina.estimators.feature_columns.categorical import (
    categorical_column_with_hash_bucket,
    categorical_column_with_identity,
)
from lamina.estimators.feature_columns.column import (
    CategoricalColumn,
    Features,
    Ids,
    SequenceColumn,
    check_key,
    find_feature,
    flat_rows,
    label,
)
from lamina.estimators.feature_columns.numeric import check_number_dtype, check_shape, read_numbers
from lamina.estimators.feature_columns.vocabulary import (
    categorical_column_with_vocabulary_file,
    categorical_column_with_vocabulary_list,
)


def sequence_lengths(present: np.ndarray) -> np.ndarray:
    """How many steps each row has: up to the last one that is there.

    Example:
        >>> sequence_lengths(np.array([[True, False, True, False], [False] * 4])).tolist()
        [3, 0]
    """
    steps = np.arange(1, present.shape[1] + 1)
    return (present * steps).max(axis=1, initial=0).astype(np.int32)


def traced_lengths(present: Any) -> Any:
    """`sequence_lengths`, within the compiled step."""
    steps = jnp.arange(1, present.shape[1] + 1)
    return jnp.max(jnp.where(present, steps, 0), axis=1, initial=0).astype("int32")


def with_steps(x: Any) -> Any:
    """A node (batch, n) of an exported model; an n that is not known is the number of steps of all sequences."""
    return replace(x, shape=(x.shape[0], *(d if isinstance(d, int) else "steps" for d in x.shape[1:])))


@dataclass(frozen=True)
class SequenceCategoricalColumn(SequenceColumn, CategoricalColumn):
    """The categories of a sequence; `indicator_column` or `embedding_column` makes vectors of them."""

    categorical_column: CategoricalColumn

    @property
    def maker(self) -> str:
        """How users made it."""
        return f"sequence_{self.categorical_column.maker}"

    @property
    def name(self) -> str:
        """That of the categories."""
        return self.categorical_column.name

    @property
    def num_buckets(self) -> int:
        """That of the categories."""
        return self.categorical_column.num_buckets

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """That of the categories."""
        return self.categorical_column.parse_example_spec

    def host_ids(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """Those of the categories."""
        return features.ids(self.categorical_column)

    def host_inputs(self, features: Features) -> dict[str, np.ndarray]:
        """The ids, (batch, steps, n), and the lengths of the sequences."""
        ids, present = features.ids(self)
        shape = features.read(self, self.categorical_column.key).values.shape  # type: ignore[attr-defined]
        shape = (*shape[:2], math.prod(shape[2:]))
        lengths = sequence_lengths(np.any(present.reshape(shape), axis=-1))
        ids = np.where(present, ids, -1).astype(np.int32)
        return {self.input_name: ids.reshape(shape), f"{self.input_name}/lengths": lengths}

    def id_nodes(self, nodes: Any) -> tuple[Any, Any]:
        """Those of the categories."""
        return nodes.ids(self.categorical_column)

    def host_nodes(self, nodes: Any) -> dict[str, Any]:
        """The ids, (batch, steps, n), and the lengths of the sequences."""
        raw = nodes.features[self.categorical_column.key].shape  # type: ignore[attr-defined]
        ids = with_steps(super().host_nodes(nodes)[self.input_name])

        def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
            found = inputs[self.input_name]
            found = found.reshape(*found.shape, 1) if len(raw) < 3 else found.reshape(-1, raw[1], math.prod(raw[2:]))
            return {self.input_name: found, f"{self.input_name}/lengths": traced_lengths((found >= 0).any(-1))}

        return nodes.build.traced(run, {self.input_name: ids})

    def describe(self) -> dict[str, Any]:
        """A row of the summary."""
        return {"name": self.name, "kind": self.maker, "details": self.categorical_column.describe()["details"]}


def over_all_steps(columns: Iterable[Any]) -> list[Any]:
    """Columns where the categories of all steps of a sequence are those of the sample, as linear models take them."""
    return [c.categorical_column if isinstance(c, SequenceCategoricalColumn) else c for c in columns]


def dense_steps(column: Any, inputs: Mapping[str, Any], tables: Any) -> tuple[Any, Any]:
    """The vectors of all steps, (batch, steps, width), and the lengths, of a column made for sequences."""
    if isinstance(column, SequenceNumericColumn):
        return column.dense_steps(inputs)
    name = column.categorical_column.input_name
    ids = inputs[name]
    batch, steps, n = ids.shape
    vectors = column.combine(Ids(ids.reshape(batch * steps, n)), tables)
    return vectors.reshape(batch, steps, column.width), inputs[f"{name}/lengths"]


@dataclass(frozen=True)
class SequenceNumericColumn(SequenceColumn):
    """See `sequence_numeric_column`."""

    key: str
    shape: tuple[int, ...]
    default_value: float
    dtype: str
    normalizer_fn: Callable[[Any], Any] | None

    maker = "sequence_numeric_column"

    @property
    def name(self) -> str:
        """The key."""
        return self.key

    @property
    def width(self) -> int:
        """The number of values of one step."""
        return int(np.prod(self.shape))

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """Any number of values."""
        return {self.key: VarLenFeature(self.dtype, np.nan if self.dtype.startswith("float") else None)}

    def host_inputs(self, features: Features) -> dict[str, np.ndarray]:
        """The normalised values, (batch, steps, width), and the lengths of the sequences."""
        given = features.read(self, self.key).present
        values = read_numbers(self, features, self.key)
        values = flat_rows(values)
        present = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        if given is not None:
            present &= given.reshape(values.shape)
        rest = -values.shape[1] % self.width
        if rest:
            values, present = (np.pad(a, ((0, 0), (0, rest))) for a in (values, present))
        out = np.full(values.shape, self.default_value, np.float32)
        there = values[present]
        if self.normalizer_fn is not None:
            there = np.asarray(self.normalizer_fn(there))
        out[present] = there
        shape = (len(values), values.shape[1] // self.width, self.width)
        lengths = sequence_lengths(np.any(present.reshape(shape), axis=-1))
        return {self.input_name: out.reshape(shape), f"{self.input_name}/lengths": lengths}

    def traced_inputs(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """The normalised values, and the lengths; `normalizer_fn` must look at each value alone."""
        values = jnp.asarray(find_feature(self, self.key, features))
        values = values.reshape(values.shape[0], -1) if values.ndim != 2 else values
        present = ~jnp.isnan(values) if jnp.issubdtype(values.dtype, jnp.floating) else jnp.ones(values.shape, bool)
        if self.width > 1:
            rest = ((0, 0), (0, -values.shape[1] % self.width))
            values, present = jnp.pad(values, rest), jnp.pad(present, rest)
        there = values if self.normalizer_fn is None else jnp.asarray(self.normalizer_fn(values))
        out = jnp.where(present, there.astype("float32"), jnp.float32(self.default_value))
        shape = (*values.shape, 1) if self.width == 1 else (values.shape[0], -1, self.width)
        lengths = traced_lengths(present.reshape(shape).any(-1))
        return {self.input_name: out.reshape(shape), f"{self.input_name}/lengths": lengths}

    def host_nodes(self, nodes: Any) -> dict[str, Any]:
        """The normalised values, and the lengths."""
        x = nodes.numbers(self, self.key)
        return nodes.build.traced(self.traced_inputs, {self.key: with_steps(x) if self.width == 1 else x})

    def dense_steps(self, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """The numbers and the lengths."""
        return jnp.asarray(inputs[self.input_name]), inputs[f"{self.input_name}/lengths"]


def sequence_numeric_column(
    key: str,
    shape: Any = (1,),
    default_value: float = 0.0,
    dtype: Any = "float32",
    normalizer_fn: Callable[[Any], Any] | None = None,
) -> SequenceNumericColumn:
    """Numbers for each step of a sequence; arrays are padded with NaN at the end of shorter rows.

    Args:
        key: the name of the feature.
        shape: the shape of one step's value.
        default_value: what stands in padding.
        dtype: the dtype in records.
        normalizer_fn: a function of all values of the batch, without padding.

    Raises:
        TypeError: `key` is no string, or `normalizer_fn` no function.
        ValueError: a size below 1, or a dtype of strings.

    Example:
        >>> sequence_numeric_column("temperature").name
        'temperature'
    """
    check_key("sequence_numeric_column", key)
    owner = f"sequence_numeric_column '{key}'"
    if normalizer_fn is not None and not callable(normalizer_fn):
        raise TypeError(f"{owner}: normalizer_fn must be a function, got {describe(normalizer_fn)}.")
    default = float(check_number(owner, "default_value", default_value))
    return SequenceNumericColumn(
        key, check_shape(owner, shape), default, check_number_dtype(owner, dtype), normalizer_fn
    )


def sequence_categorical_column_with_identity(
    key: str, num_buckets: int, default_value: int | None = None
) -> SequenceCategoricalColumn:
    """As `categorical_column_with_identity`, with an id for each step of a sequence."""
    return SequenceCategoricalColumn(categorical_column_with_identity(key, num_buckets, default_value))


def sequence_categorical_column_with_hash_bucket(
    key: str, hash_bucket_size: int, dtype: Any = "string"
) -> SequenceCategoricalColumn:
    """As `categorical_column_with_hash_bucket`, with a value for each step of a sequence."""
    return SequenceCategoricalColumn(categorical_column_with_hash_bucket(key, hash_bucket_size, dtype))


def sequence_categorical_column_with_vocabulary_list(
    key: str,
    vocabulary_list: Sequence[Any],
    dtype: Any = None,
    default_value: int = -1,
    num_oov_buckets: int = 0,
) -> SequenceCategoricalColumn:
    """As `categorical_column_with_vocabulary_list`, with a value for each step of a sequence."""
    return SequenceCategoricalColumn(
        categorical_column_with_vocabulary_list(key, vocabulary_list, dtype, default_value, num_oov_buckets)
    )


def sequence_categorical_column_with_vocabulary_file(
    key: str,
    vocabulary_file: Any,
    vocabulary_size: int | None = None,
    num_oov_buckets: int = 0,
    default_value: int | None = None,
    dtype: Any = "string",
) -> SequenceCategoricalColumn:
    """As `categorical_column_with_vocabulary_file`, with a value for each step of a sequence."""
    return SequenceCategoricalColumn(
        categorical_column_with_vocabulary_file(
            key, vocabulary_file, vocabulary_size, dtype, default_value, num_oov_buckets
        )
    )


def is_sequence(column: Any) -> bool:
    """Whether a column has a vector for each step."""
    return isinstance(column, SequenceColumn) or isinstance(getattr(column, "categorical_column", None), SequenceColumn)


def columns_label(columns: Sequence[Any]) -> str:
    """Columns as a list for an error."""
    return ", ".join(label(c) for c in columns)
