"""Growing a tree level by level, all nodes of a level at once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina.estimators.boosted_trees.splits import (
    Limits,
    Space,
    Splits,
    best_of_groups,
    best_splits,
    histogram,
    leaf_value,
    node_sums,
)
from lamina.estimators.boosted_trees.trees import LEAF, WORD, Trees, empty_trees

# Levels of up to so many nodes share a compiled program.
_WIDTHS = (8, 32)
# Histograms of so many values are shared among threads; fewer take less time than the threads' start.
_SHARED_WORK = 1 << 19


class Plan(NamedTuple):
    """The size of trees; fixed when a step is compiled.

    Args:
        depth: the most splits on a path.
        leaves: the most leaves.
        words: how many words hold a set of categories.
        pruning: "none", "pre" or "post".
        layered: whether the value of a node is added to its parent's (each layer is a step of boosting), rather than in
            its place.
    """

    depth: int
    leaves: int
    words: int
    pruning: str
    layered: bool = False

    @property
    def nodes(self) -> int:
        """The most nodes."""
        return 2 * self.leaves - 1

    def width(self, level: int) -> int:
        """How many nodes the program of a level has room for.

        Compiling takes a second for each width, so there are few of them.
        """
        most = min(1 << min(self.depth - 1, 30), self.leaves)
        return min(next((w for w in _WIDTHS if 1 << level <= w), most), most)


class Growth(NamedTuple):
    """A tree that grows.

    Args:
        tree: the tree.
        start: the number of the first node of the last level.
        count: how many nodes the last level has.
        size: how many nodes there are.
    """

    tree: Trees
    start: Any
    count: Any
    size: Any


def seedling(plan: Plan, value: Any = 0.0, cover: Any = 0.0) -> Growth:
    """A tree of one node."""
    tree = empty_trees((plan.nodes,), plan.words, jnp)
    tree = tree._replace(value=tree.value.at[0].set(value), cover=tree.cover.at[0].set(cover))
    zero = jnp.int32(0)
    return Growth(tree, zero, zero + 1, zero + 1)


def grow_level(growth: Growth, splits: Splits, total: Any, boundaries: Any, plan: Plan, limits: Limits) -> Growth:
    """The tree with one more level: the nodes of the last level get their best splits, if those are worth it.

    Args:
        growth: the tree.
        splits: the best splits of the nodes of the last level; their number may be above that of the nodes.
        total: the statistics of those nodes, (nodes, 3).
        boundaries: of bins, (features, n_bins).
        plan: the size of the tree.
        limits: what restrains it.
    """
    tree, width = growth.tree, splits.gain.shape[0]
    slots = jnp.arange(width, dtype=jnp.int32)
    least = limits.complexity if plan.pruning == "pre" else 0.0
    split = (slots < growth.count) & (splits.gain > least)
    # Leaves are as many as nodes that are not split; where not all can be, those of the largest gain are.
    room = (plan.nodes - growth.size) // 2
    order = jnp.argsort(jnp.where(split, -splits.gain, jnp.inf), stable=True)
    split &= jnp.argsort(order, stable=True) < room
    number = jnp.cumsum(split.astype(jnp.int32)) - 1
    left = jnp.where(split, growth.size + 2 * number, plan.nodes)  # past the end: written nowhere
    node = jnp.where(split, growth.start + slots, plan.nodes)

    by_category = splits.bin < 0
    threshold = jnp.where(by_category, jnp.nan, boundaries[splits.feature, splits.bin])
    sides = [splits.left, total - splits.left]
    values = [leaf_value(s[:, 0], s[:, 1], limits) for s in sides]
    if plan.layered:
        values = [v + tree.value[jnp.minimum(node, plan.nodes - 1)] for v in values]
    put = {"mode": "drop"}
    new = tree._replace(
        feature=tree.feature.at[node].set(splits.feature, **put),
        threshold=tree.threshold.at[node].set(threshold, **put),
        missing_left=tree.missing_left.at[node].set(splits.goes_left[:, -1], **put),
        left=tree.left.at[node].set(left, **put),
        gain=tree.gain.at[node].set(splits.gain, **put),
        value=tree.value.at[left].set(values[0], **put).at[left + 1].set(values[1], **put),
        cover=tree.cover.at[left].set(sides[0][:, 1], **put).at[left + 1].set(sides[1][:, 1], **put),
    )
    if plan.words:
        bits = jnp.where(by_category[:, None], _bits(splits.goes_left, plan.words), 0)
        new = new._replace(categories=tree.categories.at[node].set(bits, **put))
    count = 2 * split.sum(dtype=jnp.int32)
    return Growth(new, growth.size, count, growth.size + count)


def _bits(chosen: Any, words: int) -> Any:
    """Rows of bools as words of bits."""
    wide = jnp.pad(chosen[:, :-1], ((0, 0), (0, max(words * WORD - chosen.shape[1] + 1, 0))))[:, : words * WORD]
    powers = jnp.left_shift(jnp.uint32(1), jnp.arange(WORD, dtype=jnp.uint32))
    return (wide.reshape(-1, words, WORD) * powers).sum(-1, dtype=jnp.uint32)


@partial(jax.jit, static_argnames=("size", "space", "categorical", "width"))
def _group_splits(
    bins: Any,
    offset: Any,
    slot: Any,
    statistics: Any,
    total: Any,
    limits: Limits,
    size: int,
    space: Space,
    categorical: bool,
    width: int,
) -> Splits:
    """The best splits of the first `width` nodes by the features from `offset` on; none for the other nodes."""
    columns = jax.lax.dynamic_slice_in_dim(bins, offset, size)
    room, total = total.shape[0], total[:width]

    sums = jax.lax.map(lambda column: histogram(column, slot, statistics, width, space.n_bins), columns)
    found = best_splits(sums, total, space, limits, categorical)
    return jax.tree.map(lambda a: jnp.pad(a, ((0, room - width), *((0, 0),) * (a.ndim - 1))), found)


@partial(jax.jit, static_argnames="plan")
def _next_level(
    growth: Growth,
    node: Any,
    total: Any,
    groups: Any,
    offsets: Any,
    bins: Any,
    statistics: Any,
    boundaries: Any,
    limits: Limits,
    plan: Plan,
) -> tuple[Growth, Any, Any, Any, Any]:
    """Grows a level and sends the rows on; returns what the search for the splits of the next one needs."""
    splits = best_of_groups(groups, offsets)
    grown = grow_level(growth, splits, total, boundaries, plan, limits)
    place = jnp.clip(node - growth.start, 0, total.shape[0] - 1)
    own_bin = bins[splits.feature[place], jnp.arange(bins.shape[1])].astype(jnp.int32)
    child = grown.tree.left[node] + jnp.where(splits.goes_left[place, own_bin], 0, 1)
    node = jnp.where((node >= growth.start) & (grown.tree.feature[node] >= 0), child, node)
    # Statistics of the new nodes are summed anew: those of right children are differences, which have lost digits.
    slot, inside = _slots(grown, node)
    inside_only = jnp.where(inside[:, None], statistics, 0)
    width = total.shape[0]
    sums = node_sums(slot, inside_only, 2 * width, bins[0])
    fresh = jnp.where(jnp.arange(sums.shape[0]) < grown.count, grown.start + jnp.arange(sums.shape[0]), plan.nodes)
    value = leaf_value(sums[:, 0], sums[:, 1], limits)
    tree = grown.tree
    tree = tree._replace(
        value=tree.value.at[fresh].set(value, mode="drop"), cover=tree.cover.at[fresh].set(sums[:, 1], mode="drop")
    )
    return grown._replace(tree=tree), node, jnp.minimum(slot, width - 1), inside_only, sums[:width]


def _slots(growth: Growth, node: Any) -> tuple[Any, Any]:
    """The place of each row's node in the last level, and whether it is in that level."""
    inside = node >= growth.start
    return jnp.where(inside, node - growth.start, 0), inside


@partial(jax.jit, static_argnames=("plan", "width"))
def _root(bins: Any, statistics: Any, limits: Limits, plan: Plan, width: int) -> tuple[Growth, Any]:
    total = node_sums(jnp.zeros(statistics.shape[0], jnp.int32), statistics, 1, bins[0])
    growth = seedling(plan, leaf_value(total[0, 0], total[0, 1], limits), total[0, 1])
    return growth, jnp.pad(total, ((0, width - 1), (0, 0)))


class Grower:
    """Grows trees on data that is held in memory as bins.

    Features are searched in groups, one for each processor if there is enough work: XLA runs the sums of a histogram
    on one of them. The trees do not depend on the number of groups.

    Args:
        bins: the binned features, (features, rows); numbers first, then categories.
        numbers: how many features are numbers.
        boundaries: of bins, (features, n_bins).
        plan: the size of trees.
        space: what they are grown in.
    """

    def __init__(self, bins: Any, numbers: int, boundaries: Any, plan: Plan, space: Space):
        self.bins, self.boundaries = jnp.asarray(bins), jnp.asarray(boundaries)
        self.plan, self.space = plan, space
        features, rows = bins.shape
        threads = 1
        if jax.default_backend() == "cpu" and features * rows >= _SHARED_WORK:
            threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._groups = [
            (offset, size, categorical)
            for first, count, categorical in ((0, numbers, False), (numbers, features - numbers, True))
            for offset, size in _ranges(first, count, threads)
        ]
        self._offsets = jnp.asarray([g[0] for g in self._groups], jnp.int32)
        self._pool = ThreadPoolExecutor(len(self._groups)) if threads > 1 and len(self._groups) > 1 else None

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def grow(self, statistics: Any, limits: Limits) -> tuple[Trees, jax.Array]:
        """A tree for given derivatives of the loss.

        Args:
            statistics: first and second derivatives of each row, and a one; zeros for rows not to count, (rows, 3).
            limits: what restrains the tree.

        Returns:
            The tree, and the leaf of each row.
        """
        plan = self.plan
        growth, total = _root(self.bins, statistics, limits, plan, plan.width(plan.depth - 1))
        node = slot = jnp.zeros(statistics.shape[0], jnp.int32)
        counted = statistics
        for level in range(plan.depth):
            if level > 5 and int(growth.count) == 0:
                break
            groups = self._search(slot, counted, total, limits, plan.width(level))
            growth, node, slot, counted, total = _next_level(
                growth,
                node,
                total,
                groups,
                self._offsets,
                self.bins,
                statistics,
                self.boundaries,
                limits,
                plan,
            )
        if plan.pruning == "post":
            tree, owner = prune(growth.tree, limits.complexity)
            return tree, owner[node]
        return growth.tree, node

    def _search(self, slot: Any, statistics: Any, total: Any, limits: Limits, width: int) -> list[Splits]:
        def search(group: tuple[int, int, bool]) -> Splits:
            offset, size, categorical = group
            found = _group_splits(
                self.bins, np.int32(offset), slot, statistics, total, limits, size, self.space, categorical, width
            )
            return found if self._pool is None else jax.block_until_ready(found)

        if self._pool is None:
            return [search(g) for g in self._groups]
        jax.block_until_ready(total)  # otherwise the threads' work would be queued behind it, one after the other
        return list(self._pool.map(search, self._groups))


def _ranges(first: int, count: int, parts: int) -> list[tuple[int, int]]:
    """(offset, size) of ranges of one size that cover `count` features from `first` on; they may overlap."""
    if not count:
        return []
    size = -(-count // min(parts, count))
    return [(first + min(start, count - size), size) for start in range(0, count, size)]


@jax.jit
def prune(tree: Trees, complexity: Any) -> tuple[Trees, jax.Array]:
    """Takes back splits, from the leaves up, below which the gains do not reach `complexity` for each split.

    Returns:
        The tree, and the node that each node has become.
    """
    nodes = tree.feature.shape[0]

    def worth(i: Any, carry: Any) -> Any:
        node = nodes - 1 - i
        net, feature = carry
        left = jnp.minimum(tree.left[node], nodes - 2)
        own = tree.gain[node] - complexity + net[left] + net[left + 1]
        keep = (tree.feature[node] >= 0) & (own > 0)
        return net.at[node].set(jnp.where(keep, own, 0.0)), feature.at[node].set(
            jnp.where(keep, tree.feature[node], LEAF)
        )

    _, feature = jax.lax.fori_loop(0, nodes, worth, (jnp.zeros(nodes), tree.feature))

    def inherit(node: Any, owner: Any) -> Any:
        # Children of a node that is no longer split belong to whatever that node belongs to.
        gone = (tree.feature[node] >= 0) & ((feature[node] < 0) | (owner[node] != node))
        left = jnp.where(gone, tree.left[node], nodes)
        return owner.at[left].set(owner[node], mode="drop").at[left + 1].set(owner[node], mode="drop")

    owner = jax.lax.fori_loop(0, nodes, inherit, jnp.arange(nodes, dtype=jnp.int32))
    feature = jnp.where(owner == jnp.arange(nodes), feature, LEAF)
    return tree._replace(feature=feature, gain=jnp.where(feature >= 0, tree.gain, 0.0)), owner
