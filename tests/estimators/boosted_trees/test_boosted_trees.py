"""BoostedTrees as users meet them: fit, train, resuming, importances, explanations, wrong uses."""

import matplotlib
import numpy as np
import pandas
import pytest

from lamina import estimators as est
from lamina.datasets import Dataset, diabetes, iris
from lamina.estimators.boosted_trees.trees import Trees

matplotlib.use("agg")
pytest.importorskip("sklearn", minversion="1.6")
from sklearn.base import clone  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

pytestmark = pytest.mark.slow

fc = est.feature_column
RNG = np.random.default_rng(0)
TABLE = {"a": RNG.normal(size=160).astype("float32"), "c": RNG.choice(["x", "y", "z"], 160)}
LABELS = ((TABLE["a"] > 0) ^ (TABLE["c"] == "y")).astype("int32")
COLUMNS = [
    fc.numeric_column("a"),
    fc.indicator_column(fc.categorical_column_with_vocabulary_list("c", ["x", "y", "z"])),
]


def batches(size=40, repeat=True):
    data = Dataset.from_tensor_slices((TABLE, LABELS)).batch(size)
    return data.repeat() if repeat else data


def small(model_dir=None, steps=1, **more):
    config = est.RunConfig(save_checkpoints_steps=steps, save_summary_steps=None, log_step_count_steps=None)
    given = {"n_batches_per_layer": 4, "n_trees": 4, "max_depth": 2, "config": config, **more}
    return est.BoostedTreesClassifier(COLUMNS, model_dir=model_dir, **given)


def same_trees(one, other):
    for name, a, b in zip(Trees._fields, one.trees_, other.trees_, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


# ---- quality


@pytest.mark.parametrize("data", [iris, diabetes], ids=lambda d: d.__name__.rpartition(".")[2])
def test_scores_are_those_of_histogram_boosting(data):
    (X, y), (X_test, y_test) = data.load_data(test_split=0.3)
    numbers = data is diabetes
    ours = est.BoostedTreesRegressor() if numbers else est.BoostedTreesClassifier()
    theirs = HistGradientBoostingRegressor() if numbers else HistGradientBoostingClassifier()
    found = ours.fit(X, y).score(X_test, y_test)
    assert found > theirs.fit(X, y).score(X_test, y_test) - 0.03  # one split of a small set; the benchmark has means
    assert ours.history_["loss"][0] > ours.history_["loss"][-1] and ours.n_iter_ == 100


def test_missing_numbers_go_to_the_better_side():
    X = np.arange(200.0)[:, None]
    y = np.where(X[:, 0] < 100, 0.0, 1.0)
    X[::10] = np.nan
    y[::10] = 5.0
    model = est.BoostedTreesRegressor(n_trees=60).fit(X, y)
    np.testing.assert_allclose(model.predict([[np.nan], [50.0], [150.0]]), [5.0, 0.0, 1.0], atol=0.05)
    y = np.where(np.isnan(X[:, 0]) | (X[:, 0] < 100), 0.0, 1.0)
    stump = est.BoostedTreesRegressor(n_trees=1, max_depth=1, learning_rate=1.0).fit(X, y)
    np.testing.assert_allclose(stump.predict([[np.nan], [50.0], [150.0]]), [0.0, 0.0, 1.0], atol=1e-5)


def test_categories_are_split_by_sets():
    names = [f"n{i}" for i in range(40)]
    frame = pandas.DataFrame({"name": np.tile(names, 30), "noise": RNG.normal(size=1200)})
    odd = frame["name"].str[1:].astype(int) % 2 == 1
    model = est.BoostedTreesClassifier(n_trees=1, max_depth=1, learning_rate=1.0).fit(
        frame, np.where(odd, "odd", "even")
    )
    assert model.score(frame, np.where(odd, "odd", "even")) == 1
    assert model.predict(pandas.DataFrame({"name": ["n7", "n8"], "noise": [0.0, 0.0]})).tolist() == ["odd", "even"]
    assert "name in {" in model.to_text()


def test_several_categories_a_sample_become_counts():
    tags = [["a"], ["a", "b"], ["b"], []] * 20
    y = [1.0, 3.0, 2.0, 0.0] * 20
    column = fc.categorical_column_with_vocabulary_list("tags", ["a", "b"])
    model = est.BoostedTreesRegressor([column], n_trees=100, min_samples_leaf=1).fit({"tags": tags}, y)
    np.testing.assert_allclose(model.predict({"tags": tags[:4]}), y[:4], atol=0.05)
    assert set(model.experimental_feature_importances()) == {"tags"} and len(model.feature_importances_) == 2


def test_weights_of_zero_take_rows_out():
    rng = np.random.default_rng(1)  # data without two splits of equal gain, between which rounding chooses
    X = rng.normal(size=(150, 2))
    y = X[:, 0] + (X[:, 1] > 0)
    weights = (rng.random(150) < 0.7).astype("float64")
    weighted = est.BoostedTreesRegressor(n_trees=5).fit(X, y, weights).predict(X)
    without = est.BoostedTreesRegressor(n_trees=5).fit(X[weights > 0], y[weights > 0]).predict(X)
    np.testing.assert_allclose(weighted, without, atol=1e-5)


def test_several_numbers_and_early_stopping():
    X = RNG.normal(size=(300, 2))
    Y = np.stack([X[:, 0], np.sign(X[:, 1])], axis=1)
    model = est.BoostedTreesRegressor(early_stopping=True, n_iter_no_change=3, random_state=0, learning_rate=0.5).fit(
        X, Y
    )
    assert model.predict(X).shape == (300, 2) and model.score(X, Y) > 0.9
    losses = model.history_["val_loss"]
    assert model.n_iter_ == len(losses) < 100 and len(losses) - 1 - int(np.argmin(losses)) == 3


def test_fitting_twice_gives_the_same_bits():
    X = RNG.normal(size=(100, 3))
    same_trees(*(est.BoostedTreesClassifier(n_trees=3).fit(X, X[:, 0] > 0) for _ in range(2)))


# ---- train


def test_batches_and_one_batch_grow_the_same_trees():
    by_batch = small().train(batches)
    assert by_batch._global_step() == 4 * 2 * 4  # trees, layers, batches
    at_once = small(n_batches_per_layer=1, train_in_memory=True).train(lambda: (TABLE, LABELS))
    assert at_once._global_step() == 4 * 2
    for name, a, b in zip(Trees._fields, by_batch.trees_, at_once.trees_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=name)
    results = by_batch.evaluate(lambda: batches(repeat=False))
    assert results["accuracy"] > 0.9 and {"auc", "average_loss", "label/mean", "global_step"} <= set(results)


def test_a_layer_is_a_step_of_boosting():
    """Two layers on one number, by hand: the second layer's derivatives are taken behind the first."""
    x = np.array([1.0, 2.0, 3.0, 4.0], "float32")
    y = np.array([0.0, 2.0, 6.0, 10.0], "float32")
    model = est.BoostedTreesRegressor(
        [fc.numeric_column("x")], n_trees=1, max_depth=2, learning_rate=0.5, train_in_memory=True
    )
    model.train(lambda: ({"x": x}, y))
    first = np.array([0.5, 0.5, 4.0, 4.0])  # half of the means of {0, 2} and {6, 10}
    wanted = first + 0.5 * (y - first)
    np.testing.assert_allclose(
        [p["predictions"][0] for p in model.predict(lambda: ({"x": x}, None))], wanted, rtol=1e-5
    )


def test_center_bias_and_regularization():
    x, y = {"x": np.zeros(8, "float32")}, np.arange(8.0, dtype="float32")
    given = {"n_trees": 1, "max_depth": 1, "train_in_memory": True}
    model = est.BoostedTreesRegressor([fc.numeric_column("x")], center_bias=True, **given).train(lambda: (x, y))
    np.testing.assert_allclose(model.get_variable_value("boosted_trees/base"), [3.5], rtol=1e-5)
    x = {"x": np.arange(8.0, dtype="float32")}
    model = est.BoostedTreesRegressor(
        [fc.numeric_column("x")], learning_rate=1.0, l1_regularization=0.5, l2_regularization=0.25, **given
    ).train(lambda: (x, np.repeat([1.0, 5.0], 4).astype("float32")))
    left = model.trees_.value[0, 0, 1]  # of four rows: sums -8 and 8, penalties for each of 8 rows
    np.testing.assert_allclose(left, (8 - 8 * 0.5) / (8 + 8 * 0.25), rtol=1e-5)


@pytest.mark.parametrize("memory", [False, True], ids=["batches", "memory"])
def test_a_run_goes_on_from_any_step(tmp_path, memory):
    given = {"n_batches_per_layer": 1, "train_in_memory": True} if memory else {"n_batches_per_layer": 2}
    rows = slice(None) if memory else slice(80)
    table = {k: v[rows] for k, v in TABLE.items()}

    def data():
        return (table, LABELS[rows]) if memory else Dataset.from_tensor_slices((table, LABELS[rows])).batch(40).repeat()

    def rest(step):
        return data if memory or step % 2 == 0 else lambda: data().skip(1)

    more = {"n_trees": 2, "center_bias": True, **given}
    whole = small(tmp_path / "whole", **more).train(data)
    total = whole._global_step()
    for step in range(1, total, 3):
        folder = tmp_path / str(step)
        small(folder, **more).train(data, max_steps=step)
        resumed = small(folder, **more).train(rest(step))
        assert resumed._global_step() == total
        same_trees(whole, resumed)


def test_a_checkpoint_is_all_that_predicting_needs(tmp_path):
    folder = tmp_path / "fit"
    frame = pandas.DataFrame(TABLE)
    model = est.BoostedTreesClassifier(COLUMNS, model_dir=folder, n_trees=5).fit(frame, LABELS)
    fresh = est.BoostedTreesClassifier(COLUMNS, model_dir=folder, n_trees=5)
    assert fresh.experimental_feature_importances() == model.experimental_feature_importances()
    np.testing.assert_array_equal(fresh.predict_proba(frame), model.predict_proba(frame))
    assert fresh.get_variable_value("boosted_trees/rounds") == 5


def test_a_head_of_ones_own():
    y = RNG.poisson(np.where(TABLE["a"] > 0, 5.0, 1.0)).astype("float32")
    model = est.BoostedTreesEstimator(
        COLUMNS, 1, est.PoissonRegressionHead(), n_trees=20, max_depth=2, train_in_memory=True
    ).train(lambda: (TABLE, y))
    found = np.array([p["predictions"][0] for p in model.predict(lambda: (TABLE, y))])
    for side in (TABLE["a"] > 0, TABLE["a"] <= 0):
        np.testing.assert_allclose(found[side].mean(), y[side].mean(), rtol=0.1)


# ---- what was learnt


def test_importances_and_explanations():
    model = small(n_batches_per_layer=1, train_in_memory=True).train(lambda: (TABLE, LABELS))
    gains = model.experimental_feature_importances()
    shares = model.experimental_feature_importances(normalize=True)
    assert list(gains) == list(shares) and sum(shares.values()) == pytest.approx(1)
    assert set(gains) == {"a", "c"}
    explained = list(model.experimental_predict_with_explanations(lambda: batches(repeat=False)))
    assert len(explained) == len(LABELS)
    for row in explained[:10]:
        assert row["bias"] + sum(row["dfc"].values()) == pytest.approx(row["logistic"][0], abs=1e-5)
        assert list(row["dfc"]) == sorted(row["dfc"], key=lambda k: -abs(row["dfc"][k]))
    axes = est.plot_importance(model)
    assert [t.get_text() for t in axes.get_yticklabels()] == list(gains)
    matplotlib.pyplot.close("all")
    X = np.stack([TABLE["a"], RNG.normal(size=160)], axis=1)
    numbers = est.BoostedTreesRegressor(n_trees=10).fit(X, X[:, 0])
    assert numbers.feature_importances_.argmax() == 0 and numbers.feature_importances_.sum() == pytest.approx(1)
    row = next(numbers.experimental_predict_with_explanations(X))
    assert row["bias"] + sum(row["dfc"].values()) == pytest.approx(float(numbers.predict(X[:1])[0]), rel=1e-4)


EXEMPT = {
    "check_do_not_raise_errors_in_init_or_set_params": "wrong arguments are told of at once, as in tf.estimator",
    "check_sample_weight_equivalence_on_dense_data": "sums are float32: a weight of 2 and two rows round differently, "
    "and of two equally good splits another one may be taken",
}


@pytest.mark.parametrize("kind", [est.BoostedTreesClassifier, est.BoostedTreesRegressor], ids=lambda c: c.__name__)
@pytest.mark.filterwarnings("ignore")
def test_checks_of_scikit_learn_for_trees(kind):
    model = kind(n_trees=5, max_depth=3, min_samples_leaf=1)
    found = check_estimator(model, expected_failed_checks=EXEMPT, on_fail=None, on_skip=None)
    failed = {r["check_name"]: repr(r["exception"])[:300] for r in found if r["status"] == "failed"}
    assert not failed
    assert sum(r["status"] == "passed" for r in found) > 45


def test_clones_start_anew():
    model = est.BoostedTreesRegressor(n_trees=2).fit(np.arange(50.0)[:, None], np.arange(50.0))
    copy = clone(model)
    assert copy.get_params()["n_trees"] == 2 and not copy._is_trained()
    with pytest.raises(ValueError, match="not fitted"):
        copy.trees_  # noqa: B018


WRONG = {
    "n_trees": (lambda: est.BoostedTreesRegressor(n_trees=0), "n_trees"),
    "max_depth": (lambda: est.BoostedTreesRegressor(max_depth=-1), "max_depth"),
    "deep": (lambda: est.BoostedTreesRegressor(max_depth=30), "max_leaf_nodes"),
    "rate": (lambda: est.BoostedTreesRegressor(learning_rate=0), "learning_rate must be above 0"),
    "pruning": (lambda: est.BoostedTreesRegressor(pruning_mode="pre"), "needs tree_complexity above 0"),
    "complexity": (lambda: est.BoostedTreesRegressor(tree_complexity=0.1), "has no effect without pruning"),
    "mode": (lambda: est.BoostedTreesRegressor(pruning_mode="pots", tree_complexity=1), "Did you mean 'post'"),
    "epsilon": (lambda: est.BoostedTreesRegressor(quantile_sketch_epsilon=1.5), "between 0 and 1"),
    "memory": (lambda: small(train_in_memory=True), "n_batches_per_layer must be 1"),
    "batches": (lambda: small(n_batches_per_layer=None).train(batches), "n_batches_per_layer is needed"),
    "embedding": (
        lambda: est.BoostedTreesRegressor([fc.embedding_column(COLUMNS[1].categorical_column, 2)]),
        "trees cannot split by embedding_column 'c_embedding'",
    ),
    "columns": (lambda: est.BoostedTreesRegressor(n_batches_per_layer=1).train(batches), "feature_columns is needed"),
    "several": (lambda: small(n_batches_per_layer=1, train_in_memory=True).train(batches), "one batch, got several"),
    "empty": (lambda: small().train(lambda: batches().take(0)), "yields no batches"),
    "untrained": (lambda: small().experimental_feature_importances(), "not fitted"),
    "text": (lambda: est.BoostedTreesRegressor(n_trees=1).fit([[0.0], [1.0]], [0, 1]).to_text(7), "there are 1 rounds"),
    "explain": (
        lambda: next(est.BoostedTreesClassifier(COLUMNS, n_classes=3).experimental_predict_with_explanations(batches)),
        "got 3 outputs",
    ),
    "weights": (
        lambda: est.BoostedTreesRegressor(weight_column="w").fit({"a": [1.0], "w": [1.0]}, [1.0], [1.0]),
        "not both",
    ),
    "no split": (
        lambda: (
            est.BoostedTreesRegressor(n_trees=1)
            .fit([[0.0], [1.0]], [0, 1])
            .experimental_feature_importances(normalize=True)
        ),
        "no tree has a split",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_uses_of_trees(case):
    run, text = WRONG[case]
    with pytest.raises((ValueError, TypeError), match=text):
        run()
