"""Growing a tree level by level, all nodes of a level at once."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina.estimators.boosted_trees.splits import (
    IN_BOUNDS,
    Limits,
    Space,
    Splits,
    best_of_groups,
    leaf_value,
    node_sums,
    search_splits,
)
from lamina.estimators.boosted_trees.trees import LEAF, WORD, Trees, empty_trees

# Levels of up to so many nodes share a compiled program.
_WIDTHS = (8, 32)


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
    if plan.layered and plan.pruning == "none" and plan.leaves >= 1 << plan.depth:
        # A node that no split improves takes its step too: all of its rows go left.
        stays = (slots < growth.count) & ~split & (total[:, 1] > 0) & (total[:, 1] >= limits.min_node_weight)
        splits = splits._replace(
            bin=jnp.where(stays, boundaries.shape[1] - 1, splits.bin),
            goes_left=stays[:, None] | splits.goes_left,
            left=jnp.where(stays[:, None], total, splits.left),
        )
        split |= stays
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


@partial(jax.jit, static_argnames=("numbers", "plan", "space", "width"))
def _level(
    growth: Growth,
    node: Any,
    statistics: Any,
    bins: Any,
    numbers: int,
    boundaries: Any,
    limits: Limits,
    plan: Plan,
    space: Space,
    width: int,
) -> tuple[Growth, jax.Array]:
    """Grows a level of at most `width` nodes, and sends the rows on: the tree and the node of each row."""
    slot = _slots(growth, node, width)
    growth, total = _settle(growth, slot, statistics, bins, limits, plan, width)
    groups = [g for g in ((0, numbers, False), (numbers, bins.shape[0], True)) if g[0] < g[1]]
    found = [search_splits(bins[i:j], slot, statistics, total, space, limits, c) for i, j, c in groups]
    splits = best_of_groups(found, [first for first, _, _ in groups])
    grown = grow_level(growth, splits, total, boundaries, plan, limits)
    # The node that a row goes to, by the place of its node in the level and its bin.
    own = jnp.minimum(growth.start + jnp.arange(width), plan.nodes - 1)
    left = grown.tree.left[own, None] + jnp.where(splits.goes_left, 0, 1)
    goes = jnp.where(grown.tree.feature[own, None] >= 0, left, own[:, None])
    place = jnp.minimum(slot, width - 1)
    own_bin = bins.at[splits.feature.at[place].get(**IN_BOUNDS), jnp.arange(bins.shape[1])].get(**IN_BOUNDS)
    return grown, jnp.where(slot < width, goes.at[place, own_bin].get(**IN_BOUNDS), node)


@partial(jax.jit, static_argnames=("plan", "width"))
def _leaves(growth: Growth, node: Any, statistics: Any, bins: Any, limits: Limits, plan: Plan, width: int) -> Growth:
    """The tree where the nodes of the last level have their values."""
    return _settle(growth, _slots(growth, node, width), statistics, bins, limits, plan, width)[0]


def _slots(growth: Growth, node: Any, width: int) -> Any:
    """The place of each row's node in the last level; `width` where it is not in that level."""
    return jnp.where(node >= growth.start, node - growth.start, width)


def _settle(
    growth: Growth, slot: Any, statistics: Any, bins: Any, limits: Limits, plan: Plan, width: int
) -> tuple[Growth, Any]:
    """The tree whose last level has the values that its rows ask for, and the statistics of those nodes, (width, 3).

    They are summed anew: as the parent's less the sibling's they would have lost digits.
    """
    total = node_sums(slot, statistics, width + 1, bins[0])[:width]
    places = jnp.arange(width)
    own = jnp.where(places < growth.count, growth.start + places, plan.nodes)  # past the end: written nowhere
    tree = growth.tree
    value = tree.value.at[own].set(leaf_value(total[:, 0], total[:, 1], limits), mode="drop")
    cover = tree.cover.at[own].set(total[:, 1], mode="drop")
    return growth._replace(tree=tree._replace(value=value, cover=cover)), total


class Grower:
    """Grows trees on data that is held in memory as bins.

    Args:
        bins: the binned features, (features, rows); numbers first, then categories.
        numbers: how many features are numbers.
        boundaries: of bins, (features, n_bins).
        plan: the size of trees.
        space: what they are grown in.
    """

    def __init__(self, bins: Any, numbers: int, boundaries: Any, plan: Plan, space: Space):
        self.bins, self.boundaries = jnp.asarray(bins), jnp.asarray(boundaries)
        self.numbers, self.plan, self.space = numbers, plan, space
        self._seedling = seedling(plan)

    def grow(self, statistics: Any, limits: Limits) -> tuple[Trees, jax.Array]:
        """A tree for given derivatives of the loss.

        Args:
            statistics: first and second derivatives of each row, and a one; zeros for rows not to count, (rows, 3).
            limits: what restrains the tree.

        Returns:
            The tree, and the leaf of each row.
        """
        plan = self.plan
        growth, node = self._seedling, jnp.zeros(statistics.shape[0], jnp.int32)
        for level in range(plan.depth):
            if level > 5 and int(growth.count) == 0:
                break
            growth, node = _level(
                growth,
                node,
                statistics,
                self.bins,
                self.numbers,
                self.boundaries,
                limits,
                plan,
                self.space,
                plan.width(level),
            )
        growth = _leaves(growth, node, statistics, self.bins, limits, plan, 2 * plan.width(plan.depth - 1))
        if plan.pruning == "post":
            tree, owner = prune(growth.tree, limits.complexity)
            return tree, owner[node]
        return growth.tree, node


@jax.jit
def prune(tree: Trees, complexity: Any) -> tuple[Trees, jax.Array]:
    """Takes back splits, from the leaves up, whose gain does not reach `complexity`, unless one below them stays.

    Returns:
        The tree, and the node that each node has become.
    """
    nodes = tree.feature.shape[0]

    def worth(i: Any, carry: Any) -> Any:
        node = nodes - 1 - i
        left = jnp.minimum(tree.left[node], nodes - 2)
        below = (carry[left] >= 0) | (carry[left + 1] >= 0)
        keep = (tree.feature[node] >= 0) & ((tree.gain[node] >= complexity) | below)
        return carry.at[node].set(jnp.where(keep, tree.feature[node], LEAF))

    feature = jax.lax.fori_loop(0, nodes, worth, tree.feature)

    def inherit(node: Any, owner: Any) -> Any:
        # Children of a node that is no longer split belong to whatever that node belongs to.
        gone = (tree.feature[node] >= 0) & ((feature[node] < 0) | (owner[node] != node))
        left = jnp.where(gone, tree.left[node], nodes)
        return owner.at[left].set(owner[node], mode="drop").at[left + 1].set(owner[node], mode="drop")

    owner = jax.lax.fori_loop(0, nodes, inherit, jnp.arange(nodes, dtype=jnp.int32))
    feature = jnp.where(owner == jnp.arange(nodes), feature, LEAF)
    return tree._replace(feature=feature, gain=jnp.where(feature >= 0, tree.gain, 0.0)), owner
