"""scikit-learn's habits: fit on arrays, DataFrames, dicts and Datasets; pipelines and searches; its own checks."""

import pickle

import numpy as np
import pytest

from lamina import estimators as est
from lamina.datasets import Dataset, breast_cancer, diabetes, iris, wine

sklearn = pytest.importorskip("sklearn")
pandas = pytest.importorskip("pandas")

from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.linear_model import LinearRegression, LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

rng = np.random.default_rng(5)
X = rng.normal(size=(80, 3))
Y = X @ [1.0, -2.0, 0.5] + 3


def quick(**more):
    return {"epochs": 40, "batch_size": 16, "random_state": 0, **more}


def test_the_one_liner_on_every_kind_of_data():
    expected = None
    kinds = {
        "array": (X, X[:5]),
        "list": (X.tolist(), X[:5].tolist()),
        "frame": (pandas.DataFrame(X, columns=list("abc")), pandas.DataFrame(X[:5], columns=list("abc"))),
        "dict": ({n: X[:, i] for i, n in enumerate("abc")}, {n: X[:5, i] for i, n in enumerate("abc")}),
    }
    for train, new in kinds.values():
        found = est.LinearRegressor(**quick()).fit(train, Y).predict(new)
        assert found.shape == (5,)
        expected = found if expected is None else expected
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    data = Dataset.from_tensor_slices(({"x": X}, Y)).batch(16)
    model = est.LinearRegressor(**quick()).fit(data)
    np.testing.assert_allclose(model.predict(Dataset.from_tensor_slices({"x": X[:5]}).batch(2)), expected, atol=0.1)
    assert model.score(X, Y) > 0.99


def test_text_numbers_and_gaps_are_inferred(capsys):
    frame = pandas.DataFrame(
        {"size": [1.0, None, 3.0, 4.0] * 8, "color": ["red", "blue", None, "blue"] * 8, "flag": [True, False] * 16}
    )
    y = ["big" if c == "blue" else "small" for c in frame["color"]]
    for model in (est.LinearClassifier(**quick()), est.DNNClassifier([8], **quick())):
        model.fit(frame, y)
        assert model.score(frame, y) == 1 and model.classes_.tolist() == ["big", "small"]
        assert set(model.predict(frame.iloc[:3])) <= {"big", "small"}
    model.summary()
    text = capsys.readouterr().out
    assert "inferred from the data" in text and "standardised" in text and "red" in text and "Steps done" in text


def test_classes_of_any_kind_and_probabilities():
    for labels in (np.array(["x", "y", "z"]), np.array([5, 7, 9]), np.array([-1.0, 0.0, 1.0])):
        y = labels[np.digitize(X[:, 0], [-0.5, 0.5])]
        model = est.LinearClassifier(**quick(epochs=80)).fit(X, y)
        assert model.predict(X).dtype == labels.dtype and model.score(X, y) > 0.8
        p = model.predict_proba(X)
        assert p.shape == (80, 3)
        np.testing.assert_allclose(p.sum(1), 1)
        assert (labels[p.argmax(1)] == model.predict(X)).all()


def test_train_and_predict_by_functions_too():
    model = est.LinearClassifier(**quick()).fit(X, X[:, 0] > 0)
    found = list(model.predict(lambda: Dataset.from_tensor_slices({"x": X[:4]}).batch(4)))
    assert [f["class_ids"][0] for f in found] == model.predict(X[:4]).astype(int).tolist()
    result = model.evaluate(lambda: Dataset.from_tensor_slices(({"x": X}, (X[:, 0] > 0).astype(int))).batch(16))
    assert result["accuracy"] == pytest.approx(model.score(X, X[:, 0] > 0))


def test_weights_of_samples():
    x = np.zeros((4, 1))
    y, w = np.array([0.0, 0.0, 8.0, 8.0]), np.array([0.0, 0.0, 1.0, 1.0])
    model = est.BaselineRegressor(optimizer=est.optimizers.SGD(0.3), epochs=50, batch_size=4)
    assert model.fit(x, y, sample_weight=w).predict(x)[0] == pytest.approx(8, abs=0.01)
    assert model.fit(x, y).predict(x)[0] == pytest.approx(4, abs=0.01)


def test_several_outputs():
    y = np.stack([Y, -Y], 1)
    model = est.LinearRegressor(**quick()).fit(X, y)
    assert model.predict(X).shape == (80, 2) and model.score(X, y) > 0.99
    assert est.LinearRegressor(**quick()).fit(X, Y[:, None]).predict(X).shape == (80, 1)


def test_partial_fit_goes_on():
    model = est.LinearClassifier(batch_size=16, random_state=0)
    y = np.where(X[:, 0] > 0, "up", "down")
    losses = [model.partial_fit(X, y, classes=["down", "up"]).history_["loss"][-1] for _ in range(5)]
    assert losses[-1] < losses[0] and model._model.store.step == 25
    assert model.score(X, y) > 0.9
    again = est.LinearClassifier(batch_size=16, random_state=0).partial_fit(X[y == "up"], y[y == "up"], ["down", "up"])
    assert again.predict_proba(X).shape == (80, 2)


def test_fit_starts_anew_and_repeats():
    model = est.DNNRegressor([4], **quick())
    first = model.fit(X, Y).predict(X)
    np.testing.assert_array_equal(model.fit(X, Y).predict(X), first)
    np.testing.assert_array_equal(clone(model).fit(X, Y).predict(X), first)
    assert (model.set_params(random_state=1).fit(X, Y).predict(X) != first).any()


def test_parameters():
    model = est.DNNClassifier([3], dropout=0.5)
    assert model.get_params()["hidden_units"] == [3] and model.get_params()["optimizer"] == "Adagrad"
    copy = clone(model.set_params(epochs=7))
    assert copy.get_params()["epochs"] == 7 and copy.get_params()["dropout"] == 0.5
    assert is_classifier(model) and is_regressor(est.LinearRegressor())


def test_pipeline_search_and_cross_validation():
    pipe = make_pipeline(StandardScaler(), est.LinearRegressor(**quick()))
    assert pipe.fit(X, Y).score(X, Y) > 0.99
    assert cross_val_score(est.LinearRegressor(**quick()), X, Y, cv=3).min() > 0.95
    search = GridSearchCV(est.LinearRegressor(**quick()), {"epochs": [1, 40]}, cv=2).fit(X, Y)
    assert search.best_params_ == {"epochs": 40}


def test_copies_keep_what_was_learnt():
    model = est.DNNClassifier([4], **quick()).fit(X, X[:, 0] > 0)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    a, b = model.partial_fit(X, X[:, 0] > 0), other.partial_fit(X, X[:, 0] > 0)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-6)


def test_a_folder_keeps_the_model(tmp_path):
    column = [est.feature_column.numeric_column("x", 3)]
    model = est.LinearRegressor(column, str(tmp_path), **quick()).fit({"x": X}, Y)
    other = est.LinearRegressor(column, str(tmp_path))
    np.testing.assert_allclose(other.predict({"x": X}), model.predict({"x": X}))


def within(score, reference):
    assert score > reference - 0.01, (score, reference)


def test_quality_beside_scikit_learn():
    for family in (iris, wine, breast_cancer):
        x, y = family.load_data()[0]
        scaled = StandardScaler().fit_transform(x)
        reference = LogisticRegression(max_iter=1000).fit(scaled, y).score(scaled, y)
        within(est.LinearClassifier(epochs=60, random_state=0).fit(x, y).score(x, y), reference)
    x, y = diabetes.load_data()[0]
    within(
        est.LinearRegressor(epochs=400, random_state=0).fit(x, y).score(x, y), LinearRegression().fit(x, y).score(x, y)
    )


def test_pictures():
    pytest.importorskip("matplotlib")
    from matplotlib import pyplot

    model = est.LinearClassifier(**quick()).fit(X, X[:, 0] > 0)
    assert len(est.plot_learning_curve(model).lines[0].get_xdata()) == len(model.history_["loss"])
    assert len(est.plot_confusion_matrix(model, X, X[:, 0] > 0).texts) == 4
    assert est.plot_calibration(model, X, X[:, 0] > 0).get_ylabel() == "true frequency"
    pyplot.close("all")


# Checks of scikit-learn that do not hold, each with its reason.
EXEMPT = {
    "check_do_not_raise_errors_in_init_or_set_params": "wrong arguments are told of at once, as in tf.estimator",
    "check_sample_weight_equivalence_on_dense_data": "batches are of one size: repeated rows fall into other batches",
}
FAST = {"epochs": 20}


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        est.LinearClassifier(**FAST),
        est.LinearRegressor(**FAST, optimizer="Adam"),
        est.DNNClassifier((8,), **FAST, optimizer="Adam"),
        est.DNNRegressor((8,), **FAST, optimizer="Adam"),
        est.BaselineClassifier(),
        est.BaselineRegressor(),
    ],
    ids=lambda m: type(m).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_checks_of_scikit_learn(model):
    found = check_estimator(model, expected_failed_checks=EXEMPT, on_fail=None, on_skip=None)
    failed = {r["check_name"]: repr(r["exception"])[:300] for r in found if r["status"] == "failed"}
    assert not failed
    assert sum(r["status"] == "passed" for r in found) > 45
