"""Histograms of derivatives by node, feature and bin; and the best split of each node, found in them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina.estimators.boosted_trees.binning import BIN_BLOCK

# The statistics of a row: first and second derivative of its loss, and a one that counts it.
STATISTICS = 3
# Of places that need no check.
IN_BOUNDS: Any = {"mode": "promise_in_bounds", "wrap_negative_indices": False}
# float32 counts up to 2^24; sums of more rows are taken in pieces.
_ROWS_A_PIECE = 1 << 20
_PARTIAL_SUMS = 16
# Histograms of so many values are searched at a time: one by one, small ones cost more calls than arithmetic.
_VALUES_AT_ONCE = 1 << 18
# Histograms of so many features are parts of one program, which run at once; each takes time to compile.
_FEATURES_AT_ONCE = 20
# A gain below this part of the node's own score is rounding.
_ROUNDING = 1e-6
# What sums of second derivatives get added where categories are ordered, in rows: keeps rare ones in the middle.
_CATEGORY_SMOOTHING = 10.0


class Limits(NamedTuple):
    """What restrains a tree; numbers that enter the compiled step.

    Args:
        l1: of leaf values, for the sums of a node.
        l2: of leaf values, likewise.
        complexity: the gain that a split must have, at least, when it is pruned.
        min_node_weight: the sum of second derivatives that a node needs to be split.
        min_rows: the rows that each child needs.
        learning_rate: what leaf values are scaled by.
    """

    l1: Any
    l2: Any
    complexity: Any
    min_node_weight: Any
    min_rows: Any
    learning_rate: Any


class Space(NamedTuple):
    """What trees are grown in; fixed when a step is compiled.

    Args:
        n_bins: how many bins histograms have, the last one for what is missing.
        missing: whether anything is missing in the data.
    """

    n_bins: int
    missing: bool


class Splits(NamedTuple):
    """The best split of each node: (nodes, ...).

    Args:
        gain: how much it lowers the loss; 0 where there is none.
        feature: the number of the feature.
        bin: the last bin on the left; -1 if the feature is categories.
        goes_left: which bins go left, (nodes, n_bins).
        left: the statistics of the left child, (nodes, 3).
    """

    gain: Any
    feature: Any
    bin: Any
    goes_left: Any
    left: Any


def histogram(column: Any, slot: Any, statistics: Any, width: int, n_bins: int) -> jax.Array:
    """Sums of statistics over the rows of each node and bin of a feature.

    Shape:
        column (rows,), slot (rows,), statistics (rows, s) -> (width, n_bins, s)

    Args:
        column: the binned feature.
        slot: the place of each row's node among `width`. Where the statistics are 0 it may be any.
        statistics: what is summed.
        width: how many nodes there are.
        n_bins: how many bins.
    """
    kinds = statistics.shape[1]
    places = slot * n_bins + column.astype(jnp.int32)
    total: Any = 0
    for start in range(0, column.shape[0], _ROWS_A_PIECE):
        piece = slice(start, start + _ROWS_A_PIECE)
        empty = jnp.zeros((width * n_bins, kinds), jnp.float32)
        total += empty.at[places[piece]].add(statistics[piece], **IN_BOUNDS)
    return total.reshape(width, n_bins, kinds)


def node_sums(slot: Any, statistics: Any, width: int, column: Any) -> jax.Array:
    """Sums of statistics over the rows of each node, (width, s).

    A row goes to one of several partial sums, which its bin of a feature chooses: an addition to the sum that the row
    before was added to has to wait for it. So the sums do not depend on rows that count nothing.
    """
    return histogram(column.astype(jnp.int32) % _PARTIAL_SUMS, slot, statistics, width, _PARTIAL_SUMS).sum(1)


def running_sums(x: Any) -> jax.Array:
    """Σ up to each place of the last axis: within blocks and over blocks, by small triangular matrices.

    XLA's cumsum takes six times as long on a CPU.
    """
    blocks = x.reshape(*x.shape[:-1], -1, BIN_BLOCK)
    inner = blocks @ jnp.triu(jnp.ones((BIN_BLOCK, BIN_BLOCK), x.dtype))
    count = blocks.shape[-2]
    before = inner[..., -1] @ jnp.triu(jnp.ones((count, count), x.dtype), 1)
    return (inner + before[..., None]).reshape(x.shape)


def soft_threshold(gradient: Any, l1: Any) -> Any:
    """A sum of gradients moved towards 0 by l1."""
    return jnp.sign(gradient) * jnp.maximum(jnp.abs(gradient) - l1, 0)


def score(gradient: Any, hessian: Any, limits: Limits) -> Any:
    """Twice what a leaf with its best value lowers the loss by: T(G)² / (H + l2)."""
    g = soft_threshold(gradient, limits.l1)
    return g * g / jnp.maximum(hessian + limits.l2, 1e-12)


def leaf_value(gradient: Any, hessian: Any, limits: Limits) -> Any:
    """The scaled Newton step of a leaf: -learning_rate · T(G) / (H + l2)."""
    step = -soft_threshold(gradient, limits.l1) / jnp.maximum(hessian + limits.l2, 1e-12)
    return limits.learning_rate * step


def histograms(columns: Any, slot: Any, statistics: Any, width: int, n_bins: int) -> jax.Array:
    """The histogram of each of a few features, (features, width, n_bins, s).

    Each is an operation of its own, so that XLA runs several at once on a CPU.
    """
    return jnp.stack([histogram(column, slot, statistics, width, n_bins) for column in columns])


def search_splits(
    columns: Any, slot: Any, statistics: Any, total: Any, space: Space, limits: Limits, categorical: bool
) -> Splits:
    """The best split of each node by a group of features, a few features at a time.

    Shape:
        columns (features, rows), slot (rows,), statistics (rows, 3), total (nodes, 3)

    Args:
        columns: the binned features.
        slot: the place of each row's node in `total`; past its end for rows of no node.
        statistics: of the rows.
        total: of the nodes.
        space: what trees are grown in.
        limits: what restrains them.
        categorical: whether the features are categories.

    Returns:
        The splits, where features are numbered within the group.
    """
    features, nodes = columns.shape[0], total.shape[0]
    parts = -(-features // _FEATURES_AT_ONCE)
    size = -(-features // parts)
    # A feature that comes twice never wins the second time.
    columns = jnp.pad(columns, ((0, parts * size - features), (0, 0)), mode="edge").reshape(parts, size, -1)

    def one(part: Any) -> Splits:
        sums = histograms(part, slot, statistics, nodes + 1, space.n_bins)[:, :nodes]
        return best_splits(sums, total, space, limits, categorical)

    found = jax.lax.map(one, columns) if parts > 1 else jax.tree.map(lambda a: a[None], one(columns[0]))
    return best_of_groups([Splits(*(a[i] for a in found)) for i in range(parts)], [i * size for i in range(parts)])


def best_splits(histograms: Any, total: Any, space: Space, limits: Limits, categorical: bool) -> Splits:
    """The best split of each node by a group of features.

    Args:
        histograms: one for each feature, (features, nodes, n_bins, 3).
        total: the statistics of the nodes, (nodes, 3).
        space: what trees are grown in.
        limits: what restrains them.
        categorical: whether the features are categories.

    Returns:
        The splits, where features are numbered within the group.
    """
    nodes = jnp.arange(total.shape[0])
    places = jnp.arange(space.n_bins)

    def one(sums: Any) -> tuple[Any, ...]:
        sums = jnp.moveaxis(sums, 2, 0)  # (3, nodes, n_bins)
        rank = None
        if categorical:
            sums, rank = _order_categories(sums, total)
        return *_best_of_feature(sums, total, space, limits), rank

    at_once = max(1, _VALUES_AT_ONCE // histograms[0].size)
    gain, place, to_left, left, rank = jax.lax.map(one, histograms, batch_size=min(at_once, len(histograms)))
    feature = jnp.argmax(gain, axis=0).astype(jnp.int32)
    gain, place, to_left, left = (a[feature, nodes] for a in (gain, place, to_left, left))
    goes_left = (places if rank is None else rank[feature, nodes]) <= place[:, None]
    goes_left = goes_left.at[:, -1].set(to_left)
    own_score = score(total[:, 0], total[:, 1], limits)
    worth = (gain > _ROUNDING * own_score) & (total[:, 1] >= limits.min_node_weight)
    place = jnp.full_like(place, -1) if categorical else place
    return Splits(jnp.where(worth, gain, 0.0), feature, place, goes_left, left)


def best_of_groups(groups: Any, offsets: Any) -> Splits:
    """The best split of each node among those by several groups of features, which are numbered from `offsets` on."""
    numbered = [s._replace(feature=s.feature + offset) for s, offset in zip(groups, offsets, strict=True)]
    best = numbered[0]
    for other in numbered[1:]:
        better = other.gain > best.gain
        best = Splits(
            *(jnp.where(better.reshape(-1, *(1,) * (a.ndim - 1)), b, a) for a, b in zip(best, other, strict=True))
        )
    return best


def _best_of_feature(sums: Any, total: Any, space: Space, limits: Limits) -> tuple[Any, Any, Any, Any]:
    """The best split of each node by a feature; sums (3, nodes, n_bins)."""
    whole = total.T[:, :, None]
    missing = sums[..., -1]
    left = running_sums(sums)  # at the last place nothing is left on the right, which is no split
    parent = score(total[:, 0], total[:, 1], limits)

    def gains(left: Any) -> Any:
        right = whole - left
        fits = (left[2] >= limits.min_rows) & (right[2] >= limits.min_rows)
        return jnp.where(fits, score(left[0], left[1], limits) + score(right[0], right[1], limits), -jnp.inf)

    def pick(found: Any) -> tuple[Any, Any]:
        # The first place of the maximum; XLA's argmax takes longer on a CPU.
        best = found.max(axis=-1)
        places = jnp.arange(space.n_bins, dtype=jnp.int32)
        place = jnp.where(found == best[:, None], places, space.n_bins - 1).min(axis=-1)
        return best, place

    def at(place: Any) -> Any:
        return jnp.take_along_axis(left, place[None, :, None], -1)[..., 0]

    gain, place = pick(gains(left))
    own = at(place)
    to_left = own[1] * 2 >= whole[1, :, 0]  # where nothing is missing, what is missing later takes the heavier side
    if space.missing:
        some = missing[2] > 0
        other_gain, other_place = pick(gains(left + missing[..., None]))
        use = some & (other_gain > gain)
        own = jnp.where(use, at(other_place) + missing, own)
        gain, place = jnp.where(use, other_gain, gain), jnp.where(use, other_place, place)
        to_left = jnp.where(some, use, to_left)
    return gain - parent, place, to_left, own.T


def _order_categories(sums: Any, total: Any) -> tuple[Any, Any]:
    """The histogram of a feature's categories in the order of their mean gradient, and the rank of each category.

    For a convex loss, the best set of categories is then one that comes first in the order (Fisher, 1958).
    """
    smoothing = _CATEGORY_SMOOTHING * total[:, 1] / jnp.maximum(total[:, 2], 1)
    key = sums[0] / (sums[1] + smoothing[:, None] + 1e-12)
    key = jnp.where(sums[2] > 0, key, jnp.inf).at[:, -1].set(jnp.inf)  # absent ones go right; missing stays last
    order = jnp.argsort(key, axis=-1, stable=True)
    rank = jnp.argsort(order, axis=-1, stable=True)
    return jnp.take_along_axis(sums, order[None], axis=-1), rank
