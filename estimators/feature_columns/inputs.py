"""From features to the input of a model, in the compiled step: dense input, linear model, input of sequences."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import check_choice, check_int
from lamina.core.errors import ShapeError
from lamina.estimators import variables
from lamina.estimators.feature_columns.column import (
    CategoricalColumn,
    DenseColumn,
    FeatureColumn,
    check_columns,
    label,
    transform_host,
)
from lamina.estimators.feature_columns.embedding import COMBINERS, EmbeddingColumn, combine_rows
from lamina.estimators.feature_columns.sequence import SequenceColumn, dense_steps, is_sequence, over_all_steps
from lamina.estimators.variables import ModelFrame, get_variable, variable_scope
from lamina.layers.layer import Layer
from lamina.state.frame import current_frame
from lamina.state.variable import Variable

_DENSE_CURE = "Wrap categorical columns in indicator_column or embedding_column."
_SEQUENCE_CURE = "Columns of sequences go into sequence_input_layer."


def sort_columns(owner: Any, columns: Any, kinds: Any, cure: str) -> list[Any]:
    """Checked columns, sorted by name, as models see them."""
    found = check_columns(owner, columns, kinds, cure)
    for column in found:
        if is_sequence(column):
            raise ValueError(f"{owner}: {label(column)} is of a sequence. {_SEQUENCE_CURE}")
    return sorted(found, key=lambda c: c.name)


def step_inputs(columns: Iterable[FeatureColumn], features: Any) -> Mapping[str, Any]:
    """The inputs of the step: the features as they are, if `transform_host` made them, else transformed now.

    Raises:
        ValueError: the features are raw and known as shapes only, inside a compiled step.
    """
    columns = list(columns)
    if isinstance(features, Mapping) and all(_is_there(c, features) for c in columns):
        return features
    if any(isinstance(v, jax.core.Tracer) for v in jax.tree.leaves(features)):
        inputs = dict(features)
        for column in columns:
            if not _is_there(column, inputs):
                inputs.update(column.traced_inputs(features))
        return inputs
    return transform_host(columns, features)


def _is_there(column: Any, features: Mapping[str, Any]) -> bool:
    while not isinstance(column, CategoricalColumn) and hasattr(column, "categorical_column"):
        column = column.categorical_column
    return column.input_name in features


def dense_input(columns: Iterable[Any], inputs: Mapping[str, Any], tables: Callable[[Any], Any]) -> jax.Array:
    """The vectors of dense columns side by side, (batch, width)."""
    parts = [column.dense(inputs, tables) for column in columns]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)


def linear_output(
    columns: Iterable[Any],
    inputs: Mapping[str, Any],
    weights: Callable[[Any], Any],
    tables: Callable[[Any], Any],
    combiner: str,
) -> jax.Array:
    """Σ of each column's value times its weights, (batch, units): rows are gathered for categories."""
    dense, kernels, parts = [], [], []
    for column in columns:
        if isinstance(column, CategoricalColumn):
            parts.append(combine_rows(weights(column), column.ids(inputs), combiner))
        else:
            dense.append(column.dense(inputs, tables))
            kernels.append(_value(weights(column)))
    if dense:
        x, kernel = (dense[0], kernels[0]) if len(dense) == 1 else (jnp.concatenate(dense, 1), jnp.concatenate(kernels))
        parts.append(x @ kernel)
    return sum(parts[1:], parts[0])


def _value(variable: Any) -> Any:
    return variable.value if isinstance(variable, Variable) else variable


def weight_rows(column: Any) -> int:
    """How many rows the weights of a column have in a linear model."""
    return column.num_buckets if isinstance(column, CategoricalColumn) else column.width


@contextlib.contextmanager
def root_scope() -> Iterator[None]:
    """Within the scope, names of new variables start at the root, whatever scopes are around."""
    token = variables._scope.set("")
    try:
        yield
    finally:
        variables._scope.reset(token)


def _named_table(column: EmbeddingColumn) -> Variable:
    """The table of an embedding within a model_fn; a shared one has its name at the root."""
    table = column.table
    shape = (table.num_buckets, table.dimension)
    if table.name is None:
        name = f"{column.name}/embedding_weights"
        return get_variable(name, shape, initializer=table.initial, trainable=table.trainable)
    with root_scope():
        return get_variable(table.name, shape, initializer=table.initial, trainable=table.trainable)


def _in_model_fn() -> bool:
    return isinstance(current_frame(), ModelFrame)


def input_layer(features: Any, feature_columns: Any, scope: str = "input_layer") -> jax.Array:
    """Dense input of a model: the values of the columns side by side, sorted by name.

    Within a model_fn, the tables of embeddings are variables below `scope`. Elsewhere they are made anew.

    Args:
        features: what `transform_host` returned; or raw features by name.
        feature_columns: dense columns.
        scope: where the names of variables start.

    Returns:
        An array (batch, sum of the widths).

    Raises:
        ValueError: a column is not dense, or two share a name.

    Example:
        >>> from lamina.estimators.feature_columns import bucketized_column, numeric_column
        >>> age = numeric_column("age")
        >>> input_layer({"age": [10.0, 40.0]}, [age, bucketized_column(age, [18])]).tolist()
        [[10.0, 1.0, 0.0], [40.0, 0.0, 1.0]]
    """
    if not _in_model_fn():
        return DenseFeatures(feature_columns)(features)
    columns = sort_columns("input_layer", feature_columns, DenseColumn, _DENSE_CURE)
    inputs = step_inputs(columns, features)
    with variable_scope(scope):
        return dense_input(columns, inputs, _named_table)


def linear_model(
    features: Any,
    feature_columns: Any,
    units: int = 1,
    sparse_combiner: str = "sum",
    trainable: bool = True,
    scope: str = "linear_model",
) -> jax.Array:
    """A linear model of columns, within a model_fn: Σ value · weights + bias.

    The weights of a categorical column are rows that are gathered by id, so that a step does not depend on the size
    of the vocabulary.

    Args:
        features: what `transform_host` returned; or raw features by name.
        feature_columns: any columns; of sequences, those of categories, all steps of which are a sample's.
        units: the number of outputs.
        sparse_combiner: how the rows of a sample with several categories become one: "sum", "mean" or "sqrtn".
        trainable: whether training changes the weights.
        scope: where the names of variables start.

    Returns:
        An array (batch, units).
    """
    given = check_columns("linear_model", feature_columns, (DenseColumn, CategoricalColumn), _SEQUENCE_CURE)
    columns = sort_columns("linear_model", over_all_steps(given), (DenseColumn, CategoricalColumn), _SEQUENCE_CURE)
    check_int("linear_model", "units", units, 1)
    check_choice("linear_model", "sparse_combiner", sparse_combiner, COMBINERS)
    inputs = step_inputs(columns, features)

    def weights(column: Any) -> Variable:
        shape = (weight_rows(column), units)
        return get_variable(f"{column.name}/weights", shape, initializer="zeros", trainable=trainable)

    with variable_scope(scope):
        bias = get_variable("bias_weights", (units,), initializer="zeros", trainable=trainable)
        return linear_output(columns, inputs, weights, _named_table, sparse_combiner) + bias.value


def sequence_input_layer(
    features: Any, feature_columns: Any, scope: str = "sequence_input_layer"
) -> tuple[jax.Array, jax.Array]:
    """Input of a recurrent model: the vectors of each step, columns side by side, sorted by name.

    Args:
        features: what `transform_host` returned; or raw features by name.
        feature_columns: `sequence_numeric_column`, and indicators and embeddings of `sequence_categorical_column_...`.
        scope: where the names of variables start, within a model_fn.

    Returns:
        An array (batch, steps, sum of the widths), and the lengths of the sequences, (batch,).

    Raises:
        ValueError: a column is not of sequences, or sequences of different columns differ in length.

    Example:
        >>> from lamina.estimators.feature_columns import sequence_numeric_column
        >>> x, n = sequence_input_layer({"t": [[1.0, 2.0], [3.0]]}, [sequence_numeric_column("t")])
        >>> x.shape, n.tolist()
        ((2, 2, 1), [2, 1])
    """
    if not _in_model_fn():
        return SequenceFeatures(feature_columns)(features)
    columns = _sequence_columns("sequence_input_layer", feature_columns)
    inputs = step_inputs(columns, features)
    with variable_scope(scope):
        return _sequence_input(columns, inputs, _named_table)


def _sequence_columns(owner: Any, feature_columns: Any) -> list[Any]:
    columns = check_columns(owner, feature_columns)
    for column in columns:
        if not is_sequence(column):
            raise ValueError(
                f"{owner}: {label(column)} is not of a sequence. Use the sequence_... columns, and "
                "concatenate_context_input for what is the same at all steps."
            )
        if isinstance(column, SequenceColumn) and isinstance(column, CategoricalColumn):
            raise ValueError(f"{owner}: {label(column)} is not dense. {_DENSE_CURE}")
    return sorted(columns, key=lambda c: c.name)


def _sequence_input(columns: list[Any], inputs: Mapping[str, Any], tables: Callable[[Any], Any]) -> tuple[Any, Any]:
    parts, lengths = zip(*(dense_steps(column, inputs, tables) for column in columns), strict=True)
    steps = {part.shape[1] for part in parts}
    if len(steps) > 1:
        named = ", ".join(f"{c.name}: {p.shape[1]}" for c, p in zip(columns, parts, strict=True))
        raise ShapeError(f"sequence_input_layer: the columns must have one number of steps, got {named}.")
    return jnp.concatenate(parts, axis=-1), jnp.asarray(lengths[0])


def concatenate_context_input(context_input: Any, sequence_input: Any) -> jax.Array:
    """Input that is the same at all steps beside that of each step.

    Shape:
        context (batch, width_1), sequence (batch, steps, width_2) -> (batch, steps, width_2 + width_1)

    Example:
        >>> concatenate_context_input(jnp.ones((2, 3)), jnp.ones((2, 5, 4))).shape
        (2, 5, 7)
    """
    context_input, sequence_input = jnp.asarray(context_input), jnp.asarray(sequence_input)
    if context_input.ndim != 2 or sequence_input.ndim != 3:
        raise ShapeError(
            "concatenate_context_input: expected a context (batch, width) and a sequence (batch, steps, width), got "
            f"shapes {context_input.shape} and {sequence_input.shape}."
        )
    batch, steps = sequence_input.shape[:2]
    repeated = jnp.broadcast_to(context_input[:, None], (batch, steps, context_input.shape[1]))
    return jnp.concatenate([sequence_input, repeated], axis=-1)


class _ColumnLayer(Layer):
    """A layer with the tables of embedding columns as weights."""

    def __init__(self, feature_columns: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.feature_columns = self._check(feature_columns)
        self._tables: dict[str, Variable] = {}
        self.autocast = False

    def _check(self, feature_columns: Any) -> list[Any]:
        raise NotImplementedError

    def __call__(self, features: Any, **kwargs: Any) -> Any:
        """The input of a model from features."""
        return super().__call__(dict(step_inputs(self.feature_columns, features)), **kwargs)

    def build(self, input_shape: Any) -> None:
        """Makes the tables."""
        for column in self.feature_columns:
            if not isinstance(column, EmbeddingColumn):
                continue
            table = column.table
            key = table.name or f"{column.name}/embedding_weights"
            if key not in self._tables:
                shape = (table.num_buckets, table.dimension)
                self._tables[key] = Variable(table.initial, shape=shape, trainable=table.trainable, name=key)

    def _table(self, column: EmbeddingColumn) -> Variable:
        return self._tables[column.table.name or f"{column.name}/embedding_weights"]


class DenseFeatures(_ColumnLayer):
    """The layer form of `input_layer`: dense columns of features side by side, sorted by name.

    Strings cannot enter a compiled step: in `fit`, give the model `Dataset.map(lambda x, y: (transform_host(columns,
    x), y))`.

    Args:
        feature_columns: dense columns.
        **kwargs: `name`, `trainable` and so on, as for every layer.

    Example:
        >>> from lamina.estimators.feature_columns import numeric_column
        >>> DenseFeatures([numeric_column("b"), numeric_column("a")])({"a": [1.0], "b": [2.0]}).tolist()
        [[1.0, 2.0]]
    """

    def _check(self, feature_columns: Any) -> list[Any]:
        return sort_columns(self, feature_columns, DenseColumn, _DENSE_CURE)

    def call(self, features: Any) -> jax.Array:
        """The values of all columns, (batch, width)."""
        return dense_input(self.feature_columns, features, self._table)


class SequenceFeatures(_ColumnLayer):
    """The layer form of `sequence_input_layer`.

    Args:
        feature_columns: columns of sequences.
        **kwargs: `name`, `trainable` and so on, as for every layer.
    """

    def _check(self, feature_columns: Any) -> list[Any]:
        return _sequence_columns(self, feature_columns)

    def call(self, features: Any) -> tuple[jax.Array, jax.Array]:
        """The vectors of all steps, and the lengths."""
        return _sequence_input(self.feature_columns, features, self._table)
