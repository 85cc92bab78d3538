"""From the inputs of feature columns to the matrix that trees see: numbers first, then categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.estimators.boosted_trees.binning import Feature
from lamina.estimators.feature_columns import CategoricalColumn, DenseColumn, FeatureColumn, indicator_column
from lamina.estimators.feature_columns.column import SequenceColumn, label
from lamina.estimators.feature_columns.embedding import IndicatorColumn
from lamina.estimators.feature_columns.numeric import BucketizedColumn, NumericColumn


def check_tree_columns(owner: str, columns: Sequence[FeatureColumn]) -> list[FeatureColumn]:
    """The columns, sorted by name, if trees can split by them.

    Raises:
        ValueError: one is an embedding, or of a sequence.
    """
    for column in columns:
        inner = column.categorical_column if isinstance(column, IndicatorColumn) else column
        takes = isinstance(inner, (NumericColumn, CategoricalColumn)) and not isinstance(inner, SequenceColumn)
        if not takes:
            raise ValueError(
                f"{owner}: trees cannot split by {label(column)}. Give numeric_column, bucketized_column, a "
                "categorical column or an indicator_column of one."
            )
    return sorted(columns, key=lambda c: c.name)


class TreeInput:
    """How the inputs of columns become the columns of a matrix.

    A sample's only category stays one: trees split by sets of categories. In an indicator column, where samples have
    several categories or weights, and where there are more than `most`, each category becomes a number, how often it
    is there.

    Args:
        columns: the columns, sorted by name.
        inputs: the inputs of a batch, for their shapes; without them, samples are taken to have one category each.
        most: the most categories of a feature.

    Attributes:
        features: what the columns of the matrix are.
        numbers: how many are numbers; they come first.
        categories: the columns of which a sample has one category, which stays one.
    """

    def __init__(self, columns: Sequence[FeatureColumn], inputs: Mapping[str, Any] | None, most: int):
        self._numeric: list[tuple[Any, bool]] = []  # (column, whether it is bucketized)
        self.categories: list[Any] = []
        numbers: list[Feature] = []
        categories: list[Feature] = []
        for column in columns:
            if isinstance(column, BucketizedColumn):
                self._numeric.append((column, True))
                numbers += _places(column.name, column.source_column.width)
            elif isinstance(column, NumericColumn):
                self._numeric.append((column, False))
                numbers += _places(column.name, column.width)
            else:
                one_by_one = isinstance(column, IndicatorColumn)
                inner: Any = column.categorical_column if isinstance(column, IndicatorColumn) else column
                ids = None if inputs is None else inner.ids(inputs)
                single = ids is None or (ids.ids.shape[1] == 1 and ids.weights is None)
                if not one_by_one and single and inner.num_buckets <= most:
                    self.categories.append(inner)
                    categories.append(Feature(column.name, inner.num_buckets, _labels(inner)))
                else:
                    dense: Any = column if isinstance(column, DenseColumn) else indicator_column(inner)
                    self._numeric.append((dense, False))
                    names = _labels(inner) or tuple(map(str, range(inner.num_buckets)))
                    numbers += [Feature(f"{inner.name}:{n}", column=inner.name) for n in names]
        self.features = [*numbers, *categories]
        self.numbers = len(numbers)

    def matrix(self, inputs: Mapping[str, Any]) -> Any:
        """The matrix of a batch, (rows, features) in float32; NaN where a number or category is missing."""
        parts = []
        for column, bucketized in self._numeric:
            if bucketized:
                parts.append(_float(inputs[column.input_name] % (len(column.boundaries) + 1)))
            else:
                parts.append(_float(column.dense(inputs)))
        for column in self.categories:
            ids = column.ids(inputs).ids
            if ids.shape[1] != 1:
                raise ValueError(
                    f"{label(column)}: a sample had one category when the model was made, and now has up to "
                    f"{ids.shape[1]}. Give those of the first batch as many places too; what is missing is '' or -1."
                )
            numpy = np if isinstance(ids, np.ndarray) else jnp
            parts.append(numpy.where(ids < 0, np.float32(np.nan), _float(ids)))
        if all(isinstance(p, np.ndarray) for p in parts):
            return np.concatenate(parts, axis=1)
        return jnp.concatenate(parts, axis=1)


def _float(x: Any) -> Any:
    return x.astype("float32")


def _places(name: str, width: int) -> list[Feature]:
    return [Feature(name)] if width == 1 else [Feature(f"{name}_{i}", column=name) for i in range(width)]


def _labels(column: Any) -> tuple[str, ...] | None:
    """The names of categories: what a vocabulary lists, and its buckets for other values."""
    vocabulary = getattr(column, "vocabulary", None)
    if vocabulary is None:
        return None
    names = [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in vocabulary]
    return (*names, *(f"other {i}" for i in range(column.num_buckets - len(names))))
