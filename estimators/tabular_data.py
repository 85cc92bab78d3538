"""Tables as scikit-learn's users hand them over: checked, and as features by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina.core.errors import describe, did_you_mean, listing
from lamina.estimators.feature_columns import as_features


class NotFittedError(ValueError, AttributeError):
    """A model was asked to predict before it was trained."""


def not_fitted(owner: Any) -> Exception:
    """The error for a model that is not trained: scikit-learn's own, where that is in use."""
    module = sys.modules.get("sklearn.exceptions")
    kind = NotFittedError if module is None else module.NotFittedError
    return kind(f"This {type(owner).__name__} is not fitted yet. Call fit, or train, before it predicts.")


class Table:
    """Features by name, with what scikit-learn wants to know of them.

    Args:
        owner: the estimator, as errors name it.
        X: an array (rows, columns), a DataFrame, or a dict of columns.

    Attributes:
        features: arrays by name.
        rows: how many rows there are.
        width: how many columns an array or DataFrame has; None for a dict.
        names: the names of a DataFrame's columns, if all are text.

    Raises:
        ValueError: there are no rows or columns, or the shape does not fit.
        TypeError: it is sparse, or no table.
    """

    def __init__(self, owner: Any, X: Any):
        label = type(owner).__name__
        self.width: int | None = None
        self.names: np.ndarray | None = None
        if hasattr(X, "toarray") and not hasattr(X, "iloc"):
            raise TypeError(
                f"{label}: sparse data was passed for X, but dense data is required. Use X.toarray(), or ids of a "
                "categorical column."
            )
        if isinstance(X, Mapping):
            self.features = {str(k): v if isinstance(v, list) else np.asarray(v) for k, v in X.items()}
            lengths = {k: len(v) for k, v in self.features.items()}
            if len(set(lengths.values())) > 1:
                shown = ", ".join(f"{k}: {n}" for k, n in lengths.items())
                raise ValueError(f"{label}: all features must have one length, got {shown}.")
            self.rows = next(iter(lengths.values()), 0)
        elif hasattr(X, "iloc"):
            self.rows, self.width = X.shape
            names = list(X.columns)
            if all(isinstance(n, str) for n in names):
                self.names = np.asarray(names, dtype=object)
            self.features = as_features(X)
        else:
            array = X if isinstance(X, np.ndarray) else np.asarray(X)
            if array.dtype.kind == "c":
                raise ValueError(f"{label}: Complex data not supported, got {describe(array)}.")
            if array.ndim == 0:
                raise ValueError(f"{label}: Expected 2D array, got scalar array instead: {array!r}.")
            if array.ndim == 1:
                raise ValueError(
                    f"{label}: Expected 2D array, got 1D array instead. Reshape your data either using "
                    "array.reshape(-1, 1) if it has one feature or array.reshape(1, -1) if it is one sample."
                )
            if array.ndim > 2:
                raise ValueError(f"{label}: Expected X (rows, features), found array with dim {array.ndim}.")
            self.rows, self.width = array.shape
            if array.dtype.kind == "O":
                array = _numbers(label, array)
            if array.dtype.kind == "f" and np.isinf(array).any():
                raise ValueError(f"{label}: Input X contains infinity or a value too large for {array.dtype}.")
            self.features = as_features(array) if self.rows and self.width else {}
        if self.rows < 1:
            raise ValueError(
                f"{label}: Found array with 0 sample(s) (shape={np.shape(X)}) while a minimum of 1 is required."
            )
        if self.width is not None and self.width < 1:
            raise ValueError(
                f"{label}: Found array with 0 feature(s) (shape={np.shape(X)}) while a minimum of 1 is required."
            )

    def check(self, owner: Any) -> None:
        """Checks that the columns are those that the estimator was fitted on.

        Raises:
            ValueError: they are not.
        """
        expected = getattr(owner, "n_features_in_", None)
        names = getattr(owner, "feature_names_in_", None)
        if names is not None and self.names is not None and list(names) != list(self.names):
            missing = [n for n in names if n not in set(self.names)]
            unseen = [n for n in self.names if n not in set(names)]
            text = "The feature names should match those that were passed during fit.\n"
            if unseen:
                text += "Feature names unseen at fit time:\n" + "".join(f"- {n}\n" for n in sorted(unseen)[:5])
            if missing:
                text += "Feature names seen at fit time, yet now missing:\n" + "".join(
                    f"- {n}\n" for n in sorted(missing)[:5]
                )
            if not missing and not unseen:
                text += "Feature names must be in the same order as they were in fit.\n"
            raise ValueError(text)
        if expected is not None and self.width is not None and self.width != expected:
            raise ValueError(
                f"X has {self.width} features, but {type(owner).__name__} is expecting {expected} features as input."
            )


def _numbers(label: str, array: np.ndarray) -> np.ndarray:
    """An array of objects as numbers, if all of them are; text stays."""
    flat = array.reshape(-1).tolist()
    if any(isinstance(v, (dict, set)) for v in flat):
        wrong = next(v for v in flat if isinstance(v, (dict, set)))
        raise TypeError(f"{label}: argument must be a string or a number, got {describe(wrong)} in X.")
    if all(isinstance(v, (int, float, np.number)) or v is None for v in flat):
        return array.astype(np.float64)
    return array


def check_labels(owner: Any, y: Any, rows: int) -> np.ndarray:
    """Labels as an array with one entry (or row) a sample.

    Raises:
        ValueError: there are none, their number differs, or they hold NaN or infinity.
    """
    label = type(owner).__name__
    if y is None:
        raise ValueError(
            f"{label}: requires y to be passed, but the target y is None. fit takes (X, y), or a Dataset of both."
        )
    values = np.asarray(y.to_numpy() if hasattr(y, "to_numpy") else y)
    if values.ndim == 0 or values.ndim > 2:
        raise ValueError(f"{label}: y should be a 1d array, got an array of shape {values.shape} instead.")
    if len(values) != rows:
        raise ValueError(
            f"{label}: Found input variables with inconsistent numbers of samples: X has {rows}, y has {len(values)}."
        )
    if values.dtype.kind == "c":
        raise ValueError(f"{label}: Complex data not supported, got {describe(values)}.")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{label}: Input y contains NaN or infinity.")
    if values.dtype.kind == "O":
        bad = [v for v in values.reshape(-1).tolist() if v is None or v != v]
        if bad:
            raise ValueError(f"{label}: Input y contains NaN: {bad[0]!r}.")
    return values


def check_weights(owner: Any, sample_weight: Any, rows: int) -> np.ndarray | None:
    """Weights of samples as float32, one each; None for none.

    Raises:
        ValueError: their number differs, or one is negative.
    """
    if sample_weight is None:
        return None
    label = type(owner).__name__
    weights = np.asarray(sample_weight.to_numpy() if hasattr(sample_weight, "to_numpy") else sample_weight, np.float32)
    if weights.ndim == 0:
        weights = np.full(rows, weights)
    if weights.ndim != 1:
        raise ValueError(f"{label}: Sample weights must be 1D array or scalar, got an array of shape {weights.shape}.")
    if len(weights) != rows:
        raise ValueError(f"{label}: sample_weight.shape == {weights.shape}, expected {(rows,)}!")
    if not np.isfinite(weights).all() or weights.min(initial=0) < 0:
        raise ValueError(f"{label}: sample weights must be numbers of at least 0, got {weights.min()}.")
    if not weights.any():
        raise ValueError(f"{label}: sample weights are all zero, so there is nothing to learn from.")
    return weights


def check_classes(owner: Any, y: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Labels as numbers of the known classes.

    Raises:
        ValueError: one is none of them.
    """
    numbers = np.searchsorted(known, y)
    numbers = np.minimum(numbers, len(known) - 1)
    wrong = known[numbers] != y
    if wrong.any():
        value = y[wrong].reshape(-1)[0]
        raise ValueError(
            f"{type(owner).__name__}: label {value!r} is none of the classes {listing(known.tolist()[:8], 'and')}."
            f"{did_you_mean(value, known.tolist()) if isinstance(value, str) else ''}"
        )
    return numbers.astype(np.int32)
