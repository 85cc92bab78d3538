"""Boosting on batches: each layer of a tree is a step of boosting, for which statistics of some batches are summed.

This is how tf.estimator grows trees (Ponomareva et al., 2017): derivatives are taken at what the trees say so far, the
growing one among them, and a new leaf adds to its parent's value. All state is variables, so that a run can stop after
any batch and go on from its checkpoint.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina.estimators.boosted_trees.binning import Feature, bin_batch
from lamina.estimators.boosted_trees.boosting import Settings
from lamina.estimators.boosted_trees.growing import Growth, Plan, grow_level, prune, seedling
from lamina.estimators.boosted_trees.losses import derivatives
from lamina.estimators.boosted_trees.splits import (
    STATISTICS,
    Space,
    best_of_groups,
    best_splits,
    histogram,
)
from lamina.estimators.boosted_trees.trees import Trees, empty_trees, find_leaves, next_nodes, predict_logits
from lamina.estimators.variables import get_variable, variable_scope

SCOPE = "boosted_trees"
# Centering ends with a step of less than this part of the constant.
_CENTERED = 0.01


class Ensemble(NamedTuple):
    """The variables of a trained model.

    Args:
        trees: the trees, (n_trees, outputs, nodes).
        base: where each output starts.
        rounds: how many rounds are finished.
    """

    trees: Any
    base: Any
    rounds: Any


def ensemble_variables(n_trees: int, outputs: int, plan: Plan) -> Ensemble:
    """The variables of the trees, within a model_fn."""
    start = empty_trees((n_trees, outputs, plan.nodes), plan.words)
    with variable_scope(SCOPE):
        trees = Trees(*(_state(name, value) for name, value in zip(Trees._fields, start, strict=True)))
        return Ensemble(trees, _state("base", np.zeros(outputs, np.float32)), _state("rounds", np.int32(0)))


def _state(name: str, value: Any) -> Any:
    value = np.asarray(value)
    return get_variable(name, value.shape, value.dtype.name, initializer=value, trainable=False)


def ensemble_logits(ensemble: Ensemble, X: Any, depth: int) -> jax.Array:
    """The logits of rows by all trees, that which grows among them."""
    trees = Trees(*(v.value for v in ensemble.trees))
    count = jnp.minimum(ensemble.rounds.value + 1, trees.feature.shape[0])
    return predict_logits(trees, ensemble.base.value, X, depth, count)


class LayerTrainer:
    """Sums the statistics of batches, and grows a layer when there are enough of them; used within a model_fn.

    Args:
        ensemble: the variables of the trees.
        features: what the columns of the matrix are.
        numbers: how many are numbers.
        boundaries: of bins, (features, n_bins), for the first start.
        kind: the loss; see `loss_kind`.
        settings: see `Settings`.
        plan: the size of the trees.
        batches: the batches of a layer.
        centered: whether the first steps find the best constant.
        rows: the rows of the one batch, if it is the same each time: then their places in the trees are kept.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        features: list[Feature],
        numbers: int,
        boundaries: np.ndarray,
        kind: Any,
        settings: Settings,
        plan: Plan,
        batches: int,
        centered: bool,
        rows: int | None = None,
    ):
        self.ensemble, self.kind, self.settings, self.plan = ensemble, kind, settings, plan
        self.numbers, self.batches = numbers, batches
        self.categories = np.array([f.categories for f in features], np.int32)
        self.space = Space(boundaries.shape[1], True)
        outputs = ensemble.base.shape[0]
        width = plan.width(plan.depth - 1)
        with variable_scope(SCOPE):
            self.boundaries = _state("boundaries", boundaries)
            self.sums = _state(
                "layer/sums", np.zeros((outputs, len(features), width, boundaries.shape[1], STATISTICS), np.float32)
            )
            self.rows = _state("layer/rows", np.float32(0))
            self.seen = _state("layer/batches", np.int32(0))
            self.level = _state("layer/level", np.int32(0))
            self.nodes = _state("layer/nodes", np.tile(np.array([0, 1, 1], np.int32), (outputs, 1)))
            self.centering = _state("layer/centering", np.int32(centered))  # 1 before the first step, 2 after it
            self.cache = None
            if rows is not None:
                logits = np.zeros((rows, outputs), np.float32)
                self.cache = _state("cache/logits", logits), _state("cache/nodes", logits.astype(np.int32))

    def logits(self, X: Any) -> jax.Array:
        """The logits of a batch before it is learnt from."""
        if self.cache is None:
            return ensemble_logits(self.ensemble, X, self.plan.depth)
        return self.cache[0].value + self._growing_values(self._growing(), self.cache[1].value)

    def _growing(self) -> Trees:
        """The trees of the round that grows, (outputs, nodes)."""
        number = jnp.minimum(self.ensemble.rounds.value, self.settings.n_trees - 1)
        return Trees(*(v.value[number] for v in self.ensemble.trees))

    @staticmethod
    def _growing_values(trees: Trees, nodes: Any) -> jax.Array:
        return jnp.take_along_axis(trees.value, nodes.T, axis=1).T

    def learn(self, X: Any, labels: Any, logits: Any, weights: Any) -> None:
        """Takes a batch in."""
        going = self.ensemble.rounds.value < self.settings.n_trees
        g, h = derivatives(self.kind, labels, logits)
        ones = (weights > 0).astype(jnp.float32)
        growing = self._growing()
        bins = bin_batch(X, self.categories, self.boundaries.value, self.space.n_bins)
        width = self.sums.shape[2]
        sums = []
        for k in range(logits.shape[1]):
            tree = Trees(*(a[k] for a in growing))
            node = find_leaves(tree, X, self.plan.depth) if self.cache is None else self.cache[1].value[:, k]
            start = self.nodes.value[k, 0]
            inside = (node >= start) & going
            statistics = jnp.stack([weights * g[:, k], weights * h[:, k], ones], axis=1) * inside[:, None]
            slot = jnp.where(inside, node - start, 0)
            sums.append(jax.lax.map(lambda c, s=slot, t=statistics: histogram(c, s, t, width, self.space.n_bins), bins))
        self.sums.assign(self.sums.value + jnp.stack(sums))
        self.rows.assign(self.rows.value + jnp.where(going, jnp.float32(X.shape[0]), 0))
        self.seen.assign(self.seen.value + going.astype(jnp.int32))
        state = self._read()
        full = state["seen"] >= self.batches
        state = jax.lax.cond(full, lambda s: self._finish(s, X), lambda s: s, state)
        self._write(state)

    def _read(self) -> dict[str, Any]:
        names = ("sums", "rows", "seen", "level", "nodes", "centering")
        state = {name: getattr(self, name).value for name in names}
        state |= {"trees": tuple(v.value for v in self.ensemble.trees), "base": self.ensemble.base.value}
        state["rounds"] = self.ensemble.rounds.value
        state["cache"] = None if self.cache is None else tuple(v.value for v in self.cache)
        return state

    def _write(self, state: dict[str, Any]) -> None:
        for name in ("sums", "rows", "seen", "level", "nodes", "centering"):
            getattr(self, name).assign(state[name])
        for variable, value in zip(self.ensemble.trees, state["trees"], strict=True):
            variable.assign(value)
        self.ensemble.base.assign(state["base"])
        self.ensemble.rounds.assign(state["rounds"])
        for variable, value in zip(self.cache or (), state["cache"] or (), strict=True):
            variable.assign(value)

    def _finish(self, state: dict[str, Any], X: Any) -> dict[str, Any]:
        """All batches of a layer are summed."""
        state = jax.lax.cond(state["centering"] > 0, self._center, lambda s: self._grow(s, X), state)
        empty = jnp.zeros_like(state["sums"])
        return {**state, "sums": empty, "rows": jnp.float32(0), "seen": jnp.int32(0)}

    def _center(self, state: dict[str, Any]) -> dict[str, Any]:
        """A step of Newton's method for the constant that boosting starts from."""
        total = state["sums"][:, 0].sum(axis=(1, 2)) / state["rows"]
        move = -total[:, 0] / jnp.maximum(total[:, 1], 1e-12)
        if self.kind != "squared":
            move = jnp.clip(move, -2.0, 2.0)
        more = (state["centering"] == 1) | jnp.any(jnp.abs(move) > _CENTERED * jnp.abs(state["base"]))
        cache = state["cache"]
        if cache is not None:
            cache = cache[0] + move, cache[1]
        return {**state, "base": state["base"] + move, "centering": jnp.where(more, 2, 0), "cache": cache}

    def _grow(self, state: dict[str, Any], X: Any) -> dict[str, Any]:
        """Grows a layer of the trees of the round, and finishes the round with their last one."""
        limits = self.settings.limits(1)
        means = jnp.stack([1 / state["rows"], 1 / state["rows"], 1.0])  # rows of leaves are counted
        number, plan, space = state["rounds"], self.plan, self.space
        trees, nodes, last = [], [], state["level"] + 1 >= plan.depth
        for k in range(state["base"].shape[0]):
            growth = Growth(Trees(*(a[number, k] for a in state["trees"])), *state["nodes"][k])
            sums = state["sums"][k] * means
            total = sums[0].sum(axis=1)
            groups, offsets = [], []
            for own, offset, categorical in (
                (sums[: self.numbers], 0, False),
                (sums[self.numbers :], self.numbers, True),
            ):
                if own.shape[0]:
                    groups.append(best_splits(own, total, space, limits, categorical))
                    offsets.append(offset)
            splits = best_of_groups(groups, offsets)
            growth = grow_level(growth, splits, total, self.boundaries.value, plan, limits)
            trees.append(growth.tree)
            nodes.append(jnp.stack([growth.start, growth.count, growth.size]))
        counts = jnp.stack([n[1] for n in nodes])
        last |= jnp.all(counts == 0)
        if plan.pruning == "post":
            pruned = [prune(t, limits.complexity)[0] for t in trees]
            trees = [jax.tree.map(lambda a, b: jnp.where(last, a, b), p, t) for p, t in zip(pruned, trees, strict=True)]
        stacked = Trees(*(jnp.stack(a) for a in zip(*trees, strict=True)))
        cache = state["cache"]
        if cache is not None:
            moved = jnp.stack([next_nodes(t, X, cache[1][:, k]) for k, t in enumerate(trees)], axis=1)
            if plan.pruning == "post":  # rows may have come back up
                whole = [find_leaves(t, X, plan.depth) for t in trees]
                moved = jnp.where(last, jnp.stack(whole, axis=1), moved)
            done = cache[0] + self._growing_values(stacked, moved)
            cache = jnp.where(last, done, cache[0]), jnp.where(last, 0, moved)
        fresh = seedling(plan)
        first = jnp.stack([fresh.start, fresh.count, fresh.size])
        return {
            **state,
            "trees": tuple(a.at[number].set(t) for a, t in zip(state["trees"], stacked, strict=True)),
            "nodes": jnp.where(last, first, jnp.stack(nodes)),
            "level": jnp.where(last, 0, state["level"] + 1),
            "rounds": number + last.astype(jnp.int32),
            "cache": cache,
        }
