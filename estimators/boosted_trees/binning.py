"""Bins: each feature's values as small integers, by boundaries taken from the data's quantiles.

A value x falls into the first bin whose boundary is at least x, so that `bin <= b` says `x <= boundaries[b]`. The last
bin of all holds what is missing: NaN, and categories that are not known.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Bins are counted in multiples of this, which splits their running sums into two short ones.
BIN_BLOCK = 16
# Boundaries are taken from at most so many rows, evenly spaced.
_SAMPLED_ROWS = 200_000


class Feature(NamedTuple):
    """One column of the matrix that trees see.

    Args:
        name: the name, as the text of trees shows it.
        categories: how many categories it has; 0 for numbers.
        labels: the names of the categories, where they are known.
        column: the name under which importances sum up; the feature's own if None.
    """

    name: str
    categories: int = 0
    labels: tuple[str, ...] | None = None
    column: str | None = None


def bin_count(most: int) -> int:
    """How many bins histograms have, where features use up to `most`: the bin of what is missing is one more."""
    return -(-(most + 1) // BIN_BLOCK) * BIN_BLOCK


def find_boundaries(
    X: np.ndarray, features: list[Feature], max_bins: int, weights: np.ndarray | None = None
) -> list[np.ndarray]:
    """The boundaries of each feature: between all distinct values if they are few, else at quantiles.

    Shape:
        X (rows, features) -> for each feature (bins - 1,), rising; categories have theirs at 0, 1, ...

    Args:
        X: the values; NaN where they are missing.
        features: what the columns are.
        max_bins: the most bins of a feature.
        weights: of the rows; those of weight 0 count as absent.

    Example:
        >>> find_boundaries(np.array([[1.0], [3.0], [3.0], [7.0]], "float32"), [Feature("x")], 255)[0].tolist()
        [2.0, 5.0]
    """
    if weights is not None and (weights == 0).any():
        X = X[weights > 0]
    if len(X) > _SAMPLED_ROWS:
        X = X[np.linspace(0, len(X) - 1, _SAMPLED_ROWS).astype(np.int64)]
    found = []
    for column, feature in zip(X.T, features, strict=True):
        if feature.categories:
            found.append(np.arange(feature.categories - 1, dtype=np.float32))
            continue
        values = np.sort(column[~np.isnan(column)])
        distinct = values[np.flatnonzero(np.diff(values, prepend=np.nan) != 0)] if len(values) else values
        if len(distinct) > max_bins:
            # Midpoints of neighbours at even ranks: each bin holds about as many rows as the others.
            places = np.arange(1, max_bins) * (len(values) / max_bins)
            low = values[np.maximum(places.astype(np.int64) - 1, 0)]
            high = values[np.minimum(places.astype(np.int64), len(values) - 1)]
            edges = np.unique(_between(low, high))
            found.append(edges[edges < values[-1]])
        else:
            found.append(_between(distinct[:-1], distinct[1:]))
    return found


def _between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Midpoints in float32, below `high` wherever the two differ."""
    middle = (low.astype(np.float64) * 0.5 + high.astype(np.float64) * 0.5).astype(np.float32)
    return np.where((middle >= high) & (low < high), low, middle).astype(np.float32)


def pad_boundaries(boundaries: list[np.ndarray], n_bins: int) -> np.ndarray:
    """Boundaries as one array (features, n_bins), infinite past their ends."""
    table = np.full((len(boundaries), n_bins), np.inf, np.float32)
    for row, edges in zip(table, boundaries, strict=True):
        row[: len(edges)] = edges
    return table


def bin_rows(X: np.ndarray, features: list[Feature], boundaries: list[np.ndarray], n_bins: int) -> np.ndarray:
    """Values as bins, on the host.

    Shape:
        X (rows, features) -> (features, rows), uint8, or uint16 where 256 bins are not enough.

    Example:
        >>> X = np.array([[0.0], [9.0], [np.nan]], "float32")
        >>> bin_rows(X, [Feature("x")], [np.array([5.0], "float32")], 16).tolist()
        [[0, 1, 15]]
    """
    found = np.empty(X.shape[::-1], np.uint8 if n_bins <= 256 else np.uint16)

    def fill(row: np.ndarray, column: np.ndarray, feature: Feature, edges: np.ndarray) -> None:
        missing = np.isnan(column)
        if feature.categories:
            missing |= (column < 0) | (column >= feature.categories)
            row[:] = np.where(missing, n_bins - 1, column)
        else:
            row[:] = np.searchsorted(edges, column, side="left")
            row[missing] = n_bins - 1

    with ThreadPoolExecutor() as pool:  # numpy searches without the interpreter's lock
        list(pool.map(fill, found, X.T, features, boundaries))
    return found


def bin_batch(X: Any, categories: Any, boundaries: Any, n_bins: int) -> jax.Array:
    """Values as bins, in the compiled step.

    Shape:
        X (rows, features), categories (features,), boundaries (features, n_bins) -> (features, rows)
    """

    def one(column: Any, count: Any, edges: Any) -> jax.Array:
        place = jnp.searchsorted(edges, column, side="left")
        missing = jnp.isnan(column) | ((count > 0) & ((column < 0) | (column >= count)))
        return jnp.where(missing, n_bins - 1, place).astype(jnp.int32)

    return jax.vmap(one)(X.T, jnp.asarray(categories), boundaries)
