"""Columns from data: numbers become standardised numeric columns, strings, categories and bools vocabularies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core.errors import describe
from lamina.core.vocabulary import as_text
from lamina.estimators.feature_columns.column import Described, FeatureColumn, Features, check_columns
from lamina.estimators.feature_columns.numeric import numeric_column
from lamina.estimators.feature_columns.vocabulary import categorical_column_with_vocabulary_list


@dataclass(frozen=True)
class Standardize(Described):
    """(x - mean) / deviation; missing numbers (NaN) become 0, which is the mean.

    Args:
        mean: a number, or one for each place of a vector.
        deviation: likewise; where it is 0, x - mean is left as it is.

    Example:
        >>> Standardize((1.0,), (2.0,))(np.array([[5.0], [np.nan]])).tolist()
        [[2.0], [0.0]]
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, x: Any) -> Any:
        """The standardised numbers."""
        numpy = np if isinstance(x, np.ndarray) else jnp
        deviation = np.where(np.asarray(self.deviation) > 0, self.deviation, 1.0)
        y = (x - np.asarray(self.mean)) / deviation
        return numpy.where(numpy.isnan(y), 0.0, y)

    def __repr__(self) -> str:
        if len(self.mean) > 1:
            return f"standardised, {len(self.mean)} means and deviations"
        return f"standardised, mean {self.mean[0]:.4g}, deviation {self.deviation[0]:.4g}"


def as_features(data: Any) -> dict[str, Any]:
    """Data as a dict of features: a DataFrame by its columns; an array (rows, n) as the feature `x`; a dict as it is.

    Raises:
        TypeError: other data.
        ValueError: an array has another number of axes.

    Example:
        >>> {k: v.shape for k, v in as_features(np.zeros((5, 3))).items()}
        {'x': (5, 3)}
    """
    if isinstance(data, Mapping):
        return dict(data)
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return {str(name): data.iloc[:, i].to_numpy() for i, name in enumerate(data.columns)}
    if hasattr(data, "toarray"):
        raise TypeError("Sparse matrices are not taken; give a dense array, or ids as a categorical column.")
    if not hasattr(data, "__array__") and not isinstance(data, (list, tuple)):
        raise TypeError(f"Expected a dict of features, a DataFrame or an array (rows, features), got {describe(data)}.")
    array = np.asarray(data)
    if array.ndim != 2:
        raise ValueError(
            f"Expected an array (rows, features), got {describe(array)}. Reshape it to (-1, 1) if need be."
        )
    if array.dtype.kind in "fiub":
        return {"x": array}
    return {f"x{i}": _narrow(array[:, i]) for i in range(array.shape[1])}


def _narrow(column: np.ndarray) -> np.ndarray:
    """A column of objects as numbers, where all of them are."""
    if column.dtype.kind == "O" and all(isinstance(v, (int, float, np.number)) for v in column.tolist()):
        return column.astype(np.float64)
    return column


def infer_columns(data: Any, standardize: bool = True) -> list[FeatureColumn]:
    """Feature columns for data.

    Numbers become `numeric_column`, standardised with their mean and deviation. Strings, categories and bools become
    `categorical_column_with_vocabulary_list`, with the values that occur, sorted.

    Args:
        data: a dict of features, a DataFrame, or an array (rows, features).
        standardize: whether numbers are standardised.

    Returns:
        A column for each feature.

    Raises:
        ValueError: a feature holds nothing, or values of no such kind.

    Example:
        >>> columns = infer_columns({"age": [20.0, 40.0], "city": ["Bonn", "Kiel"]})
        >>> [c.describe()["details"] for c in columns]
        ['standardised, mean 30, deviation 10', '2 values: Bonn, Kiel']
    """
    features = as_features(data)
    read = Features({k: np.asarray(v) if not isinstance(v, (list, tuple)) else v for k, v in features.items()})
    return [_infer(key, read, standardize) for key in features]


def _infer(key: str, read: Features, standardize: bool) -> FeatureColumn:
    owner = f"feature {key!r}"
    values, present = read.read(owner, key)
    if values.dtype.kind == "O":
        values = _plain(values)
    kind = values.dtype.kind
    if values.size == 0:
        raise ValueError(f"Columns cannot be inferred from {owner}, which is empty. Give feature_columns.")
    if kind in "fiu" and present is None:
        numbers = values.astype(np.float64)
        if np.isinf(numbers).any():
            raise ValueError(f"{owner} holds infinite numbers. Replace them, or give feature_columns.")
        if not standardize:
            return numeric_column(key, values.shape[1:])
        if np.isnan(numbers).all(axis=0).any():
            raise ValueError(f"{owner} holds no number at all (NaN only). Leave it out.")
        mean, deviation = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0)
        fn = Standardize(tuple(mean.ravel().tolist()), tuple(deviation.ravel().tolist()))
        return numeric_column(key, values.shape[1:], normalizer_fn=fn)
    if kind in "biu":
        flat = values if present is None else values[present]
        tokens: list[Any] = sorted({int(v) for v in np.unique(flat)} - ({-1} if kind != "b" else set()))
    elif kind in "SUOT":
        flat = values if present is None else values[present]
        found = [v for v in flat.reshape(-1).tolist() if v is not None and v == v]
        if not all(isinstance(v, (str, bytes)) for v in found):
            wrong = next(v for v in found if not isinstance(v, (str, bytes)))
            raise ValueError(f"Columns cannot be inferred from {owner}, which holds {describe(wrong)}.")
        tokens = sorted({as_text(v) for v in set(found)} - {""})
    else:
        raise ValueError(f"Columns cannot be inferred from {owner}: {describe(values)}. Give feature_columns.")
    if not tokens:
        raise ValueError(f"Columns cannot be inferred from {owner}, which holds no value. Leave it out.")
    return categorical_column_with_vocabulary_list(key, tokens)


def _plain(values: np.ndarray) -> np.ndarray:
    """Objects as numbers or bools, where all of them are; None as NaN."""
    flat = values.reshape(-1).tolist()
    known = [v for v in flat if v is not None]
    if known and all(isinstance(v, (bool, np.bool_)) for v in known) and len(known) == len(flat):
        return values.astype(bool)
    if known and all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in known):
        return np.array([np.nan if v is None else v for v in flat], np.float64).reshape(values.shape)
    return values


def summary_rows(columns: Iterable[FeatureColumn] | Sequence[FeatureColumn]) -> list[dict[str, Any]]:
    """A row of a summary for each column: name, kind, details.

    Example:
        >>> summary_rows([numeric_column("age")])
        [{'name': 'age', 'kind': 'numeric_column', 'details': ''}]
    """
    return [column.describe() for column in check_columns("summary", columns)]
