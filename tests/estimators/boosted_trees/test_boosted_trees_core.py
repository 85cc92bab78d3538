"""Bins, histograms, splits, growing and reading of trees, against plain numpy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina.estimators.boosted_trees import growing
from lamina.estimators.boosted_trees.binning import (
    Feature,
    bin_batch,
    bin_count,
    bin_rows,
    find_boundaries,
    pad_boundaries,
)
from lamina.estimators.boosted_trees.boosting import padded_rows
from lamina.estimators.boosted_trees.growing import Grower, Plan, prune
from lamina.estimators.boosted_trees.losses import best_constant, derivatives, row_losses
from lamina.estimators.boosted_trees.splits import Limits, Space, histogram, running_sums
from lamina.estimators.boosted_trees.trees import (
    Trees,
    contributions,
    empty_trees,
    find_leaves,
    gain_importances,
    predict_logits,
    words_for,
)
from lamina.estimators.heads import MultiClassHead, PoissonRegressionHead

NUMBERS, CATEGORIES, ROWS = 3, 5, 300
FEATURES = [*(Feature(f"x{i}") for i in range(NUMBERS)), Feature("c", CATEGORIES)]


def limits(**changes):
    given = {"l1": 0.0, "l2": 0.0, "complexity": 0.0, "min_node_weight": 0.0, "min_rows": 5.0, "learning_rate": 1.0}
    return Limits(**{k: np.float32(v) for k, v in {**given, **changes}.items()})


@pytest.fixture(scope="module")
def table():
    """Rows with missing numbers and categories, their derivatives, and the bins."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, NUMBERS + 1)).astype("float32")
    X[:, NUMBERS] = rng.integers(0, CATEGORIES, ROWS)
    X[rng.random(X.shape) < 0.1] = np.nan
    g = np.where(np.isnan(X[:, 0]), 3.0, np.nan_to_num(X[:, 0])) + 2.0 * np.isin(X[:, 3], (1, 4))
    g = (g + rng.normal(size=ROWS)).astype("float32")
    h = rng.uniform(0.5, 2.0, ROWS).astype("float32")
    boundaries = find_boundaries(X, FEATURES, 20)
    n_bins = bin_count(max(len(b) + 1 for b in boundaries))
    return X, g, h, boundaries, bin_rows(X, FEATURES, boundaries, n_bins), n_bins


def grow(table, plan=None, **changes):
    X, g, h, boundaries, bins, n_bins = table
    plan = plan or Plan(3, 8, words_for(FEATURES), "none")
    grower = Grower(bins, NUMBERS, pad_boundaries(boundaries, n_bins), plan, Space(n_bins, True))
    statistics = np.stack([g, h, np.ones_like(g)], axis=1)
    return grower.grow(jnp.asarray(statistics), limits(**changes))


def reference_gain(g, h, rows, left, l1=0.0, l2=0.0):
    """What it gains to send some rows of a node to the left."""

    def score(part):
        total = max(abs(g[part].astype(np.float64).sum()) - l1, 0)
        return total**2 / (h[part].astype(np.float64).sum() + l2)

    return score(left) + score(np.setdiff1d(rows, left)) - score(rows)


def reference_split(bins, n_bins, g, h, rows, min_rows, **limits):
    """The gain of the best split of a node, by trying all of them; different splits may have it."""
    best = 0.0
    smoothing = 10.0 * h[rows].mean()
    for f, own in enumerate(bins):
        here = own[rows]
        missing = rows[here == n_bins - 1]
        present = np.unique(here[here < n_bins - 1])
        if f >= NUMBERS:
            means = [g[rows[here == b]].sum() / (h[rows[here == b]].sum() + smoothing) for b in present]
            present = present[np.argsort(means, kind="stable")]
        for i in range(len(present)):
            side = rows[np.isin(here, present[: i + 1])]
            for left in (side, np.concatenate([side, missing])):
                right = np.setdiff1d(rows, left)
                if min(len(left), len(right)) < min_rows:
                    continue
                best = max(best, reference_gain(g, h, rows, left, **limits))
    return best


def test_boundaries_lie_between_few_distinct_values():
    edges = find_boundaries(np.array([[1.0], [3.0], [3.0], [np.nan], [7.0]], "float32"), [Feature("x")], 255)
    assert edges[0].tolist() == [2.0, 5.0]


def test_quantiles_spread_rows_evenly():
    X = np.random.default_rng(0).normal(size=(5000, 1)).astype("float32")
    boundaries = find_boundaries(X, [Feature("x")], 16)
    counts = np.bincount(bin_rows(X, [Feature("x")], boundaries, 32)[0], minlength=16)
    assert len(boundaries[0]) == 15 and counts.min() > 300 and counts.max() < 325


def test_rows_of_weight_zero_do_not_make_boundaries():
    X = np.array([[1.0], [3.0], [100.0]], "float32")
    assert find_boundaries(X, [Feature("x")], 255, np.array([1.0, 1.0, 0.0]))[0].tolist() == [2.0]


def test_bins_on_the_host_and_in_the_step_are_the_same(table):
    X, _, _, boundaries, bins, n_bins = table
    X = np.concatenate([X, [[0.0, 0.0, 0.0, 7.0], [np.inf, -np.inf, 1.0, -1.0]]]).astype("float32")
    host = bin_rows(X, FEATURES, boundaries, n_bins)
    traced = jax.jit(bin_batch, static_argnums=3)(
        X, np.array([f.categories for f in FEATURES]), pad_boundaries(boundaries, n_bins), n_bins
    )
    np.testing.assert_array_equal(host, traced)
    assert host[3, -2:].tolist() == [n_bins - 1] * 2
    for f in range(NUMBERS):  # a bin says on which side of each boundary a number lies
        known = ~np.isnan(X[:, f])
        for b, edge in enumerate(boundaries[f]):
            np.testing.assert_array_equal(host[f, known] <= b, X[known, f] <= edge)


def test_histograms_and_running_sums(table):
    _, g, h, _, bins, n_bins = table
    slot = np.random.default_rng(1).integers(0, 4, ROWS).astype("int32")
    found = np.asarray(histogram(jnp.asarray(bins[0]), jnp.asarray(slot), jnp.stack([g, h], 1), 4, n_bins))
    for node in range(4):
        for k, values in enumerate((g, h)):
            wanted = np.bincount(bins[0][slot == node], values[slot == node], n_bins)
            np.testing.assert_allclose(found[node, :, k], wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(running_sums(jnp.asarray(found[..., 0])), found[..., 0].cumsum(-1), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"l1": 10.0, "l2": 20.0}], ids=["plain", "regularized"])
def test_each_split_is_the_best_there_is(table, changes):
    X, g, h, _, bins, n_bins = table
    tree, leaf = jax.device_get(grow(table, **changes))
    np.testing.assert_array_equal(leaf, find_leaves(tree, X, 3))
    members = {0: np.arange(ROWS)}
    splits = 0
    for node in range(len(tree.feature)):
        if node not in members:
            continue
        rows = members[node]
        total, weight = g[rows].astype(np.float64).sum(), h[rows].astype(np.float64).sum()
        step = np.sign(total) * max(abs(total) - changes.get("l1", 0), 0) / (weight + changes.get("l2", 0))
        np.testing.assert_allclose(tree.value[node], -step, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(tree.cover[node], weight, rtol=1e-5)
        if tree.feature[node] < 0:
            continue
        gain = reference_split(bins, n_bins, g, h, rows, 5, **changes)
        np.testing.assert_allclose(tree.gain[node], gain, rtol=1e-3)
        one = tree._replace(**{k: np.roll(getattr(tree, k), -node, axis=0) for k in ("feature", "threshold")})
        one = one._replace(
            missing_left=np.roll(tree.missing_left, -node), categories=np.roll(tree.categories, -node, 0)
        )
        one = one._replace(left=np.ones_like(tree.left))
        went = np.asarray(find_leaves(one, X[rows], 1)) == 1
        np.testing.assert_allclose(reference_gain(g, h, rows, rows[went], **changes), gain, rtol=1e-3)
        members[int(tree.left[node])], members[int(tree.left[node]) + 1] = rows[went], rows[~went]
        splits += 1
    assert splits >= 6 and NUMBERS in tree.feature.tolist()


@pytest.mark.parametrize("at_once", [1, 2])
def test_trees_do_not_depend_on_how_many_features_are_searched_at_once(table, monkeypatch, at_once):
    whole = jax.device_get(grow(table))
    monkeypatch.setattr("lamina.estimators.boosted_trees.splits._FEATURES_AT_ONCE", at_once)
    growing._level.clear_cache()
    jax.tree.map(np.testing.assert_array_equal, whole, jax.device_get(grow(table)))
    growing._level.clear_cache()


def test_max_leaves_keeps_the_best_splits(table):
    tree, _ = jax.device_get(grow(table, Plan(3, 5, words_for(FEATURES), "none")))
    used = tree.feature >= 0
    assert used.sum() == 4 and len(tree.feature) == 9
    whole, _ = jax.device_get(grow(table))
    np.testing.assert_allclose(tree.gain[used][:3], whole.gain[:3], rtol=1e-5)
    np.testing.assert_allclose(tree.gain[used][3], whole.gain[3:7].max(), rtol=1e-5)


def test_limits_of_nodes(table):
    _, g, h, _, _, _ = table
    tree, leaf = jax.device_get(grow(table, min_rows=60.0))
    assert np.bincount(leaf)[np.unique(leaf)].min() >= 60
    tree, _ = jax.device_get(grow(table, min_node_weight=2 * h.sum()))
    assert (tree.feature < 0).all()
    np.testing.assert_allclose(tree.value[0], -g.sum() / h.sum(), rtol=1e-4)


def test_pruning(table):
    words = words_for(FEATURES)
    whole, _ = jax.device_get(grow(table))
    cut = float(np.sort(whole.gain[whole.gain > 0])[2])
    before, _ = jax.device_get(grow(table, Plan(3, 8, words, "pre"), complexity=cut))
    assert 0 < (before.feature >= 0).sum() < 7 and before.gain[before.feature >= 0].min() > cut
    after, leaf = jax.device_get(grow(table, Plan(3, 8, words, "post"), complexity=cut))
    assert (before.feature >= 0).sum() <= (after.feature >= 0).sum() < 7
    np.testing.assert_array_equal(leaf, find_leaves(after, table[0], 3))


def test_pruning_keeps_a_weak_split_above_a_strong_one():
    tree = empty_trees((7,), 0)
    tree = tree._replace(
        feature=np.array([0, 1, 2, -1, -1, -1, -1], "int32"),
        left=np.array([1, 3, 5, 0, 0, 0, 0], "int32"),
        gain=np.array([0.5, 9.0, 0.2, 0, 0, 0, 0], "float32"),
    )
    pruned, owner = jax.device_get(prune(tree, 1.0))
    assert pruned.feature.tolist() == [0, 1, -1, -1, -1, -1, -1]
    assert owner.tolist() == [0, 1, 2, 3, 4, 2, 2]
    bare = jax.device_get(prune(tree._replace(gain=np.array([0.2, 1.1, 0.2, 0, 0, 0, 0], "float32")), 1.0)[0])
    assert bare.feature.tolist() == [0, 1, -1, -1, -1, -1, -1]  # whatever both bring together


def test_predictions_and_contributions_add_up(table):
    X = table[0]
    trees = [jax.device_get(grow(table, min_rows=m)[0]) for m in (5.0, 40.0)]
    stacked = Trees(*(np.stack(a)[:, None] for a in zip(*trees, strict=True)))
    base = np.array([0.3], "float32")
    logits = np.asarray(predict_logits(stacked, base, X, 3, 2))
    wanted = 0.3 + sum(t.value[np.asarray(find_leaves(t, X, 3))] for t in trees)
    np.testing.assert_allclose(logits[:, 0], wanted, rtol=1e-5)
    for link in (lambda z: z, jax.nn.sigmoid):
        bias, moved = contributions(stacked, base, X, 3, 2, link)
        np.testing.assert_allclose(bias + moved.sum(1), link(logits[:, 0]), atol=1e-5)
    for f in range(NUMBERS + 1):
        if not (stacked.feature == f).any():
            assert not np.asarray(moved)[:, f].any()
    gains = gain_importances(stacked, NUMBERS + 1)
    np.testing.assert_allclose(gains.sum(), stacked.gain.sum(), rtol=1e-5)


@pytest.mark.parametrize("kind", ["squared", "binary", "multiclass", "poisson", "head"])
def test_derivatives_are_those_of_the_loss(kind):
    rng = np.random.default_rng(0)
    outputs = 3 if kind in ("multiclass", "head") else 1
    logits = rng.normal(size=(6, outputs)).astype("float32")
    labels = rng.integers(0, 2, (6, 1)).astype("int32" if outputs == 3 else "float32")
    given = {"poisson": PoissonRegressionHead(), "head": MultiClassHead(3, loss_fn=None)}.get(kind, kind)
    g, h = derivatives(given, jnp.asarray(labels), jnp.asarray(logits))
    with jax.enable_x64(True):
        step, z = 1e-4, logits.astype(np.float64)
        reference = "multiclass" if kind == "head" else given
        for k in range(outputs):
            d = np.zeros_like(z)
            d[:, k] = step
            up, at, down = (
                np.asarray(row_losses(reference, jnp.asarray(labels), jnp.asarray(z + s * d))) for s in (1, 0, -1)
            )
            np.testing.assert_allclose(g[:, k], (up - down) / (2 * step), rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(h[:, k], (up - 2 * at + down) / step**2, rtol=1e-2, atol=1e-3)


def test_best_constants():
    labels = np.array([[0.0], [1.0], [1.0], [1.0]], "float32")
    weights = np.ones(4, "float32")
    np.testing.assert_allclose(best_constant("squared", labels, weights, 1), [0.75], rtol=1e-6)
    np.testing.assert_allclose(best_constant("binary", labels, weights, 1), [np.log(3)], rtol=1e-4)
    numbers = np.array([[0], [1], [1], [2]], "int32")
    found = jax.nn.softmax(best_constant("multiclass", numbers, weights, 3))
    np.testing.assert_allclose(found, [0.25, 0.5, 0.25], rtol=1e-3)


def test_samples_of_like_sizes_share_programs():
    assert padded_rows(10) == 64 and padded_rows(1000) == padded_rows(980) >= 1000
    assert all(n <= padded_rows(n) < n + max(64, n / 16) for n in (65, 100, 129, 5000, 100_000))
