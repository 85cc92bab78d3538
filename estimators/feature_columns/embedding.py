"""Dense columns of categories: indicators (one-hot) and embeddings, and how the rows of a table are combined."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.checkpoint import load_variable
from lamina.core.checks import check_choice, check_int, check_number
from lamina.core.errors import ShapeError, describe
from lamina.estimators.feature_columns.column import (
    CategoricalColumn,
    DenseColumn,
    Described,
    FeatureColumn,
    Features,
    Ids,
    check_categorical,
    label,
)
from lamina.estimators.rows import lookup
from lamina.initializers import TruncatedNormal

COMBINERS = ("mean", "sqrtn", "sum")


def combine_rows(table: Any, categories: Ids, combiner: str, max_norm: float | None = None) -> jax.Array:
    """The rows of a table that the categories of each sample name, as one row: their sum, mean, or sum / sqrt(n).

    sum: Σ w e;  mean: Σ w e / Σ w;  sqrtn: Σ w e / sqrt(Σ w²). A sample without categories has zeros. No one-hot
    vectors are made: rows are gathered, and gradients scattered.

    Shape:
        table (rows, width), ids and weights (batch, n) -> (batch, width)

    Args:
        table: a Variable, or an array.
        categories: ids, -1 for none, and their weights. But for "sum", weights of 0 and less do not count.
        combiner: "mean", "sqrtn" or "sum".
        max_norm: rows that are longer are shortened to this.

    Example:
        >>> ids = Ids(jnp.array([[0, 2], [1, -1]]))
        >>> combine_rows(jnp.array([[1.0], [2.0], [5.0]]), ids, "mean").tolist()
        [[3.0], [2.0]]
    """
    ids, weights = categories
    valid = ids >= 0
    # A sample without categories looks row 0 up, as in TensorFlow, where a momentum moves that row on; an id of -1
    # beside others names a row past the end, which no update reaches.
    looked_up = jnp.maximum(ids, 0)
    single = isinstance(ids.shape[1], int) and ids.shape[1] == 1  # in an exported model, the size may not be known
    if not single:
        first = jnp.arange(ids.shape[1]) == 0
        looked_up = jnp.where(valid | (first & ~jnp.any(valid, axis=1, keepdims=True)), looked_up, table.shape[0])
    rows = lookup(table, looked_up)
    if max_norm is not None:
        length = jnp.sqrt(jnp.maximum(jnp.sum(rows * rows, -1, keepdims=True), 1e-30))
        rows = rows * (max_norm / jnp.maximum(length, max_norm))
    if weights is not None:
        if combiner != "sum":
            valid = valid & (weights > 0)
        weights = jnp.where(valid, weights, 0).astype(rows.dtype)
    if single and (weights is None or combiner == "mean"):  # one category a sample
        return jnp.where(valid, rows[:, 0], 0)
    w = valid.astype(rows.dtype) if weights is None else weights
    total = jnp.sum(rows * w[..., None], axis=1)
    if combiner == "sum":
        return total
    size = jnp.sum(w, 1, keepdims=True) if combiner == "mean" else jnp.sqrt(jnp.sum(w * w, 1, keepdims=True))
    return total / jnp.where(size > 0, size, 1)


@dataclass(frozen=True)
class IndicatorColumn(DenseColumn):
    """See `indicator_column`."""

    categorical_column: CategoricalColumn

    maker = "indicator_column"

    @property
    def name(self) -> str:
        """The name of the categories and `_indicator`."""
        return f"{self.categorical_column.name}_indicator"

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """That of the categories."""
        return self.categorical_column.parse_example_spec

    @property
    def variable_shape(self) -> tuple[int, ...]:
        """One value a category."""
        return (self.categorical_column.num_buckets,)

    def host_inputs(self, features: Features) -> dict[str, np.ndarray]:
        """Those of the categories."""
        return self.categorical_column.host_inputs(features)

    def traced_inputs(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the categories."""
        return self.categorical_column.traced_inputs(features)

    def host_nodes(self, nodes: Any) -> dict[str, Any]:
        """Those of the categories."""
        return self.categorical_column.host_nodes(nodes)

    def dense(self, inputs: Mapping[str, Any], tables: Any = None) -> Any:
        """How often each category is there; or the sum of its weights."""
        return self.combine(self.categorical_column.ids(inputs), tables)

    def combine(self, categories: Ids, tables: Any = None) -> Any:
        """Counts of ids of shape (batch, n)."""
        hot = jax.nn.one_hot(categories.ids, self.width)  # zeros for -1
        if categories.weights is not None:
            hot = hot * categories.weights[..., None]
        return hot[:, 0] if categories.ids.shape[1] == 1 else hot.sum(1)

    def describe(self) -> dict[str, Any]:
        """A row of the summary."""
        return {"name": self.name, "kind": self.maker, "details": self.categorical_column.describe()["details"]}


def indicator_column(categorical_column: CategoricalColumn) -> IndicatorColumn:
    """Categories as vectors of counts: one-hot, or multi-hot where a sample has several.

    Args:
        categorical_column: the categories; also those of a sequence.

    Raises:
        ValueError: the column is not categorical.

    Example:
        >>> from lamina.estimators.feature_columns import categorical_column_with_identity
        >>> indicator_column(categorical_column_with_identity("weekday", 7)).variable_shape
        (7,)
    """
    return IndicatorColumn(check_categorical("indicator_column", categorical_column, sequences=True))


@dataclass(frozen=True)
class Table(Described):
    """The table of an embedding, which several columns may share.

    Args:
        name: the name of a shared table; None for one that a column has alone.
        num_buckets: how many rows.
        dimension: their length.
        initializer: `(shape, dtype) -> array`.
        checkpoint: the checkpoint that values come from, and the name of the tensor there.
        trainable: whether training changes it.
    """

    name: str | None
    num_buckets: int
    dimension: int
    initializer: Callable[..., Any] | None
    checkpoint: tuple[str, str] | None
    trainable: bool

    def initial(self, shape: Any, dtype: Any = None, **_: Any) -> Any:
        """The values at the start."""
        if self.checkpoint is not None:
            values = np.asarray(load_variable(*self.checkpoint))
            if values.shape != tuple(shape):
                raise ShapeError(
                    f"embedding_column: the tensor {self.checkpoint[1]!r} of {self.checkpoint[0]!r} must have shape "
                    f"{tuple(shape)}, got {describe(values)}."
                )
            return values
        start = self.initializer or TruncatedNormal(0.0, 1 / math.sqrt(self.dimension))
        return start(shape, dtype=dtype)


@dataclass(frozen=True)
class EmbeddingColumn(DenseColumn):
    """See `embedding_column` and `shared_embeddings`."""

    categorical_column: CategoricalColumn
    dimension: int
    combiner: str
    table: Table
    max_norm: float | None

    @property
    def maker(self) -> str:
        """How users made it."""
        return "embedding_column" if self.table.name is None else "shared_embeddings"

    @property
    def name(self) -> str:
        """The name of the categories and `_embedding`, or `_shared_embedding`."""
        return f"{self.categorical_column.name}_{'embedding' if self.table.name is None else 'shared_embedding'}"

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """That of the categories."""
        return self.categorical_column.parse_example_spec

    @property
    def variable_shape(self) -> tuple[int, ...]:
        """The length of a row."""
        return (self.dimension,)

    def host_inputs(self, features: Features) -> dict[str, np.ndarray]:
        """Those of the categories."""
        return self.categorical_column.host_inputs(features)

    def traced_inputs(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the categories."""
        return self.categorical_column.traced_inputs(features)

    def host_nodes(self, nodes: Any) -> dict[str, Any]:
        """Those of the categories."""
        return self.categorical_column.host_nodes(nodes)

    def dense(self, inputs: Mapping[str, Any], tables: Any = None) -> Any:
        """The combined rows of the categories; `tables` gives the table of a column."""
        return self.combine(self.categorical_column.ids(inputs), tables)

    def combine(self, categories: Ids, tables: Any = None) -> Any:
        """The combined rows of ids of shape (batch, n)."""
        return combine_rows(tables(self), categories, self.combiner, self.max_norm)

    def describe(self) -> dict[str, Any]:
        """A row of the summary."""
        details = f"{self.table.num_buckets} x {self.dimension}, {self.combiner}"
        return {"name": self.name, "kind": self.maker, "details": details}


def embedding_column(
    categorical_column: CategoricalColumn,
    dimension: int,
    combiner: str = "mean",
    initializer: Callable[..., Any] | None = None,
    ckpt_to_load_from: str | None = None,
    tensor_name_in_ckpt: str | None = None,
    max_norm: float | None = None,
    trainable: bool = True,
    use_safe_embedding_lookup: bool = True,
) -> EmbeddingColumn:
    """Categories as rows of a learned table.

    Args:
        categorical_column: the categories; also those of a sequence.
        dimension: the length of a row.
        combiner: how the rows of a sample with several categories become one: "mean", "sqrtn" or "sum".
        initializer: a function `(shape, dtype) -> array`; by default a truncated normal distribution of deviation
            1 / sqrt(dimension).
        ckpt_to_load_from: a checkpoint to take the first values from.
        tensor_name_in_ckpt: the name of the tensor there.
        max_norm: rows that are longer are shortened to this.
        trainable: whether training changes the table.
        use_safe_embedding_lookup: has no effect: samples without a category always have zeros.

    Raises:
        ValueError: the column is not categorical, or an argument is out of range.

    Example:
        >>> from lamina.estimators.feature_columns import categorical_column_with_identity
        >>> embedding_column(categorical_column_with_identity("weekday", 7), 3).variable_shape
        (3,)
    """
    check_categorical("embedding_column", categorical_column, sequences=True)
    owner = f"embedding_column of '{categorical_column.name}'"
    table = _table(
        owner, None, categorical_column, dimension, initializer, ckpt_to_load_from, tensor_name_in_ckpt, trainable
    )
    check_choice(owner, "combiner", combiner, COMBINERS)
    return EmbeddingColumn(categorical_column, table.dimension, combiner, table, _norm(owner, max_norm))


def shared_embeddings(
    categorical_columns: Sequence[CategoricalColumn],
    dimension: int,
    combiner: str = "mean",
    initializer: Callable[..., Any] | None = None,
    shared_embedding_collection_name: str | None = None,
    ckpt_to_load_from: str | None = None,
    tensor_name_in_ckpt: str | None = None,
    max_norm: float | None = None,
    trainable: bool = True,
    use_safe_embedding_lookup: bool = True,
) -> list[EmbeddingColumn]:
    """Several categorical columns as rows of one table, such as words of a title and of a text.

    Args:
        categorical_columns: the categories, of one kind and with one number of ids.
        dimension: the length of a row.
        combiner: as for `embedding_column`.
        initializer: likewise.
        shared_embedding_collection_name: the name of the table; by default the names of the columns in alphabetical
            order and `_shared_embedding`.
        ckpt_to_load_from: as for `embedding_column`.
        tensor_name_in_ckpt: likewise.
        max_norm: likewise.
        trainable: likewise.
        use_safe_embedding_lookup: has no effect.

    Returns:
        A column for each of the given ones.

    Raises:
        ValueError: the columns differ in kind or number of ids.

    Example:
        >>> from lamina.estimators.feature_columns import categorical_column_with_identity
        >>> home, away = (categorical_column_with_identity(k, 20) for k in ("home", "away"))
        >>> [c.name for c in shared_embeddings([home, away], 4)]
        ['home_shared_embedding', 'away_shared_embedding']
    """
    if isinstance(categorical_columns, FeatureColumn) or not categorical_columns:
        raise ValueError("shared_embeddings: categorical_columns must be a list of at least one categorical column.")
    columns = [check_categorical("shared_embeddings", c, "categorical_columns", True) for c in categorical_columns]
    first = _bare(columns[0])
    for column in columns[1:]:
        if _bare(column).num_buckets != first.num_buckets or _bare(column).maker != first.maker:
            raise ValueError(
                "shared_embeddings: the columns must be of one kind, with one number of ids, got "
                f"{label(columns[0])} with {first.num_buckets} and {label(column)} with {column.num_buckets}."
            )
    name = shared_embedding_collection_name or "_".join(sorted(c.name for c in columns)) + "_shared_embedding"
    owner = f"shared_embeddings '{name}'"
    table = _table(owner, name, first, dimension, initializer, ckpt_to_load_from, tensor_name_in_ckpt, trainable)
    check_choice(owner, "combiner", combiner, COMBINERS)
    norm = _norm(owner, max_norm)
    return [EmbeddingColumn(column, table.dimension, combiner, table, norm) for column in columns]


def _bare(column: Any) -> Any:
    """The categories without their weights, or without their order."""
    return _bare(column.categorical_column) if hasattr(column, "categorical_column") else column


def _norm(owner: str, max_norm: float | None) -> float | None:
    return None if max_norm is None else float(check_number(owner, "max_norm", max_norm, 0))


def _table(
    owner: str,
    name: str | None,
    column: Any,
    dimension: Any,
    initializer: Any,
    checkpoint: str | None,
    tensor: str | None,
    trainable: bool,
) -> Table:
    dimension = check_int(owner, "dimension", dimension, 1)
    if (checkpoint is None) != (tensor is None):
        raise ValueError(f"{owner}: give both ckpt_to_load_from and tensor_name_in_ckpt, or neither.")
    if initializer is not None and not callable(initializer):
        raise ValueError(
            f"{owner}: initializer must be a function (shape, dtype) -> array, got {describe(initializer)}. "
            "lamina.initializers.get makes one of a name or an array."
        )
    source = None if checkpoint is None or tensor is None else (checkpoint, tensor)
    return Table(name, column.num_buckets, dimension, initializer, source, bool(trainable))
