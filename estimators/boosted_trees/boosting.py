"""Boosting on data in memory: round by round, a tree for each output, by the derivatives at the round's start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina.estimators.boosted_trees.binning import Feature, bin_count, bin_rows, find_boundaries, pad_boundaries
from lamina.estimators.boosted_trees.growing import Grower, Plan
from lamina.estimators.boosted_trees.losses import best_constant, derivatives, row_losses
from lamina.estimators.boosted_trees.splits import Limits, Space
from lamina.estimators.boosted_trees.trees import Trees, words_for
from lamina.executor.compile_cache import enable_compile_cache
from lamina.executor.memory import kept_memory

# Arrays have a multiple of a sixteenth of a power of two of rows, so that samples of like sizes share programs.
_LEAST_ROWS = 64


class Settings(NamedTuple):
    """What boosting goes by; the names are those of the constructors.

    Args:
        n_trees: the rounds, at most.
        max_depth: the most splits on a path.
        max_leaves: the most leaves of a tree.
        learning_rate: what leaf values are scaled by.
        l1_regularization: of leaf values, for each row.
        l2_regularization: of leaf values, for each row.
        tree_complexity: the gain a split must bring, for each row.
        min_node_weight: the mean second derivative that a node must have over all rows.
        min_samples_leaf: the least rows of a leaf.
        pruning_mode: "none", "pre" or "post".
        max_bins: the most bins of a feature.
        patience: the rounds without a better loss on held-out rows after which boosting stops; None for never.
    """

    n_trees: int
    max_depth: int
    max_leaves: int
    learning_rate: float
    l1_regularization: float
    l2_regularization: float
    tree_complexity: float
    min_node_weight: float
    min_samples_leaf: int
    pruning_mode: str
    max_bins: int
    patience: int | None = None

    def limits(self, rows: Any) -> Limits:
        """The limits for sums over so many rows."""
        scaled = (self.l1_regularization, self.l2_regularization, self.tree_complexity, self.min_node_weight)
        numpy: Any = np if isinstance(rows, (int, float)) else jnp
        l1, l2, complexity, weight = (numpy.float32(v) * numpy.float32(rows) for v in scaled)
        return Limits(
            l1, l2, complexity, weight, numpy.float32(self.min_samples_leaf), numpy.float32(self.learning_rate)
        )


class Boosted(NamedTuple):
    """What boosting found.

    Args:
        trees: the trees, (rounds, outputs, nodes).
        base: where each output starts, (outputs,).
        losses: the mean loss after each round.
        held_out: the mean loss on held-out rows after each round; None without such.
    """

    trees: Trees
    base: np.ndarray
    losses: list[float]
    held_out: list[float] | None


@partial(jax.jit, static_argnames="kind")
def _statistics(kind: Any, labels: Any, logits: Any, weights: Any) -> list[jax.Array]:
    """For each output, the first and second derivatives and the count of each row, (rows, 3)."""
    g, h = derivatives(kind, labels, logits)
    counts = (weights > 0).astype(jnp.float32)
    return [jnp.stack([weights * g[:, k], weights * h[:, k], counts], axis=1) for k in range(logits.shape[1])]


@partial(jax.jit, static_argnames="kind", donate_argnums=1)
def _advance(kind: Any, logits: Any, labels: Any, values: Any, leaves: Any, weights: Any, held: Any) -> Any:
    """The logits with a round's trees added, and the mean losses of the rows."""
    logits = logits + jnp.stack([v[leaf] for v, leaf in zip(values, leaves, strict=True)], axis=1)
    losses = row_losses(kind, labels, logits)
    means = [(losses * w).sum() / jnp.maximum(w.sum(), 1e-12) for w in (weights, held)]
    return logits, jnp.stack(means)


_start = jax.jit(best_constant, static_argnames=("kind", "outputs"))


def padded_rows(rows: int) -> int:
    """How many rows arrays have that hold `rows`."""
    step = max(_LEAST_ROWS, (1 << (rows - 1).bit_length()) // 32)
    return -(-rows // step) * step


@kept_memory()
def boost(
    X: np.ndarray,
    features: list[Feature],
    numbers: int,
    labels: Any,
    weights: Any,
    kind: Any,
    outputs: int,
    settings: Settings,
    centered: bool = True,
    held_out: np.ndarray | None = None,
    on_round: Callable[[int], Any] | None = None,
) -> Boosted:
    """Boosts trees on data in memory.

    Shape:
        X (rows, features), labels (rows, n), weights (rows,)

    Args:
        X: the rows, NaN where something is missing.
        features: what the columns of X are: numbers first, then categories.
        numbers: how many are numbers.
        labels: numbers, or class numbers.
        weights: of rows; ones if None.
        kind: the loss; see `loss_kind`.
        outputs: how many logits a row has.
        settings: see `Settings`.
        centered: whether to start at the best constant, rather than at 0.
        held_out: which rows are kept for watching the loss, (rows,).
        on_round: called with the number of each finished round.

    Returns:
        See `Boosted`.
    """
    enable_compile_cache()
    rows = len(X)
    weights = np.ones(rows, np.float32) if weights is None else weights.astype(np.float32)
    held = np.zeros(rows, np.float32) if held_out is None else weights * held_out
    weights = weights - held
    boundaries = find_boundaries(X, features, settings.max_bins, weights)
    n_bins = bin_count(max(len(edges) + 1 for edges in boundaries))
    bins = bin_rows(X, features, boundaries, n_bins)
    space = Space(n_bins, bool((bins == n_bins - 1).any()))
    size = padded_rows(rows)
    leaves = max(2, min(settings.max_leaves, size // settings.min_samples_leaf))
    plan = Plan(settings.max_depth, leaves, words_for(features), settings.pruning_mode)
    bins = np.pad(bins, ((0, 0), (0, size - rows)))
    labels, weights, held = (np.pad(a, ((0, size - rows), *((0, 0),) * (a.ndim - 1))) for a in (labels, weights, held))
    counted = int((weights > 0).sum())
    limits = settings.limits(counted)
    labels, weights, held = jnp.asarray(labels), jnp.asarray(weights), jnp.asarray(held)
    base = _start(kind, labels, weights, outputs) if centered else jnp.zeros(outputs, jnp.float32)
    logits = jnp.zeros((size, outputs), jnp.float32) + base
    grower = Grower(bins, numbers, pad_boundaries(boundaries, n_bins), plan, space)
    trees: list[list[Trees]] = []
    means: list[Any] = []
    for number in range(settings.n_trees):
        statistics = _statistics(kind, labels, logits, weights)
        grown = [grower.grow(s, limits) for s in statistics]
        values = [tree.value for tree, _ in grown]
        logits, mean = _advance(kind, logits, labels, values, [leaf for _, leaf in grown], weights, held)
        trees.append([tree for tree, _ in grown])
        means.append(mean)
        if on_round is not None:
            on_round(number + 1)
        if settings.patience is not None and _stops([float(m[1]) for m in means], settings.patience):
            break
    flat = jax.device_get(trees)
    stacked = Trees(*(np.stack([np.stack([t[i] for t in r]) for r in flat]) for i in range(len(Trees._fields))))
    stacked = stacked._replace(gain=stacked.gain / np.float32(counted))
    found = np.asarray(jax.device_get(means))
    watched = None if held_out is None else found[:, 1].tolist()
    return Boosted(stacked, np.asarray(base), found[:, 0].tolist(), watched)


def _stops(losses: list[float], patience: int) -> bool:
    """Whether the best of the losses is `patience` rounds old."""
    return len(losses) - 1 - int(np.argmin(losses)) >= patience
