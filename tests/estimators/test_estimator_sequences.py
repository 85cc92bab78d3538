"""Heads of sequences, and fit and predict of estimators with a head of one's choice."""

from __future__ import annotations

import numpy as np
import pytest

import lamina.estimators as est
from lamina.datasets import Dataset
from lamina.estimators import feature_column as fc

rng = np.random.default_rng(0)
WORDS = np.array([["a", "b", "a"], ["b", "", ""]] * 8)
CLASSES = np.array([[0, 1, 0], [1, -1, -1]] * 8)
MASK = WORDS != ""


def columns():
    word = fc.sequence_categorical_column_with_vocabulary_list("w", ["a", "b"])
    return [fc.indicator_column(word)]


def data(labels=CLASSES, repeat=1, **features):
    return lambda: Dataset.from_tensors(({"w": WORDS, **features}, labels)).repeat(repeat)


def test_the_loss_of_a_sequence_head_is_that_of_its_steps():
    logits = rng.normal(size=(2, 3, 1)).astype("float32")
    mask = np.array([[True, True, True], [True, False, False]])
    labels = np.array([[1, 0, 1], [0, -1, -1]])
    weights = np.array([[1.0, 2.0, 0.5], [3.0, 9.0, 9.0]])
    z, y = logits[mask][:, 0].astype(float), labels[mask]
    each = np.log1p(np.exp(z)) - z * y
    head = est.SequenceHead(est.BinaryClassHead())
    assert float(head.loss(labels, logits, {"sequence_mask": mask})) == pytest.approx(each.mean(), rel=1e-6)
    head = est.SequenceHead(est.BinaryClassHead(weight_column="g"), "m")
    found = head.loss(labels, logits, {"m": mask, "g": weights})
    assert float(found) == pytest.approx((each * weights[mask]).mean(), rel=1e-6)
    head = est.SequenceHead(est.BinaryClassHead(loss_reduction="sum"), "m")
    assert float(head.loss(labels, logits, {"m": mask})) == pytest.approx(each.sum(), rel=1e-6)


def test_metrics_of_a_sequence_head_leave_padding_out():
    mask = np.array([[True, True], [True, False]])
    head = est.SequenceHead(est.MultiClassHead(3))
    logits = np.eye(3, dtype="float32")[np.array([[0, 1], [2, 2]])] * 5
    metrics = head.update_metrics(head.metrics(), {"sequence_mask": mask}, logits, np.array([[0, 2], [2, -1]]))
    assert float(metrics["accuracy"].result()) == pytest.approx(2 / 3)


def test_a_class_for_each_step(tmp_path):
    model = est.experimental.RNNClassifier(
        columns(),
        units=[4],
        return_sequences=True,
        model_dir=str(tmp_path),
        optimizer=est.optimizers.Adam(0.1),
        sequence_mask="steps",
    )
    model.train(data(repeat=60))
    results = model.evaluate(data())
    assert results["accuracy"] == 1 and results["label/mean"] == pytest.approx(CLASSES[MASK].mean())
    found = list(model.predict(data()))
    assert found[0]["class_ids"].shape == (3, 1) and found[0]["logits"].shape == (3, 1)
    assert [f["steps"].tolist() for f in found[:2]] == MASK[:2].tolist()
    np.testing.assert_array_equal(model.predict({"w": WORDS})[MASK], CLASSES[MASK])
    assert model.predict_proba({"w": WORDS}).shape == (16, 3, 2)


def test_a_given_mask_takes_the_place_of_lengths(tmp_path):
    head = est.SequenceHead(est.RegressionHead())
    model = est.experimental.RNNEstimator(head, columns(), units=[2], return_sequences=True, model_dir=str(tmp_path))
    labels = np.where(CLASSES < 0, np.nan, 1.0 * CLASSES)
    model.train(data(labels))
    first = np.zeros(MASK.shape, bool)
    first[:, 0] = True
    results = model.evaluate(data(labels, sequence_mask=first))
    assert results["label/mean"] == labels[:, 0].mean()


def test_wrong_uses_of_sequences():
    with pytest.raises(ValueError, match="return_sequences=True and a SequenceHead go together"):
        est.experimental.RNNEstimator(est.BinaryClassHead(), columns(), units=[2], return_sequences=True)
    head = est.SequenceHead(est.BinaryClassHead())
    with pytest.raises(ValueError, match="the feature 'sequence_mask', which steps there are, is not given"):
        head.loss(np.zeros((1, 2), int), np.zeros((1, 2, 1), "float32"), {})
    with pytest.raises(ValueError, match=r"labels must have the shape \(batch, steps\)"):
        head.encode_labels(np.zeros(3, int))
    with pytest.raises(TypeError, match="head must be a head"):
        est.SequenceHead("binary")


X = {"x": np.arange(40.0), "c": np.array(["a", "b"] * 20)}
LARGE = np.where(X["x"] > 20, "large", "small")


def estimators(head):
    category = fc.categorical_column_with_vocabulary_list("c", ["a", "b"])
    number = fc.numeric_column("x", normalizer_fn=lambda x: x / 20 - 1)
    return [
        est.LinearEstimator(head, [number, category]),
        est.DNNEstimator(head, [4], [number, fc.indicator_column(category)]),
        est.BoostedTreesEstimator([number, category], 1, head, n_trees=10, early_stopping=True, random_state=0),
        est.BaselineEstimator(head),
    ]


@pytest.mark.parametrize("number", range(4))
def test_fit_and_predict_follow_the_head(number):
    model = estimators(est.BinaryClassHead(label_vocabulary=["small", "large"]))[number].fit(X, LARGE)
    found = model.predict(X)
    assert found.shape == (40,) and set(found) <= {"small", "large"}
    assert model.score(X, LARGE) == np.mean(found == LARGE)
    model = estimators(est.RegressionHead())[number].fit(X, X["x"])
    found = model.predict(X)
    total = np.sum((X["x"] - X["x"].mean()) ** 2)
    assert model.score(X, X["x"]) == pytest.approx(1 - np.sum((X["x"] - found) ** 2) / total)


def test_predict_needs_a_head_of_classes_or_numbers():
    model = estimators(est.MultiLabelHead(2))[1].fit(X, np.ones((40, 2), int))
    with pytest.raises(TypeError, match="MultiLabelHead gives neither. Call predict"):
        model.predict(X)


def test_recurrent_classifiers_fit_as_others_do():
    model = est.experimental.RNNClassifier(columns(), units=[4], optimizer=est.optimizers.Adam(0.2))
    y = np.array(["long", "short"] * 8)
    for _ in range(30):
        model.partial_fit({"w": WORDS}, y)
    assert model.classes_.tolist() == ["long", "short"]
    assert model.score({"w": WORDS}, y) == 1
