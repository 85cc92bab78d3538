"""Heads against closed forms in float64."""

import numpy as np
import pytest

from lamina.estimators import heads as family
from lamina.estimators.modes import ModeKeys

rng = np.random.default_rng(0)


def log_loss(y, z):
    p = 1 / (1 + np.exp(-z.astype(np.float64)))
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


def results(head, logits, labels, features=None):
    metrics = head.update_metrics(head.metrics(), features or {}, logits, labels)
    return {k: float(m.result()) for k, m in metrics.items()}


LOGITS = rng.normal(size=(6, 1)).astype("float32")
LABELS = np.array([0, 1, 1, 0, 1, 1])
WEIGHTS = np.array([1.0, 2.0, 0.5, 1.0, 0.0, 3.0], np.float32)


@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size"])
def test_binary_loss_weighs_and_reduces(reduction):
    head = family.BinaryClassHead(weight_column="w", loss_reduction=reduction)
    losses = log_loss(LABELS, LOGITS[:, 0]) * WEIGHTS
    expected = losses.sum() if reduction == "sum" else losses.sum() / 6
    np.testing.assert_allclose(head.loss(LABELS, LOGITS, {"w": WEIGHTS}), expected, rtol=1e-5)


def test_binary_metrics():
    found = results(family.BinaryClassHead(thresholds=[0.25]), LOGITS, LABELS)
    guess = LOGITS[:, 0] > 0
    assert found["accuracy"] == pytest.approx((guess == LABELS).mean())
    assert found["precision"] == pytest.approx((guess & (LABELS == 1)).sum() / max(guess.sum(), 1))
    assert found["accuracy_baseline"] == pytest.approx(4 / 6)
    low = 1 / (1 + np.exp(-LOGITS[:, 0])) > 0.25
    assert found["recall/positive_threshold_0.25"] == pytest.approx((low & (LABELS == 1)).sum() / 4)


def test_gradient_of_the_binary_loss_at_zero():
    import jax

    head = family.BinaryClassHead()
    gradient = jax.grad(lambda z: head.loss(np.array([1, 0]), z))(np.zeros((2, 1), "float32"))
    np.testing.assert_allclose(gradient[:, 0], [-0.25, 0.25])


def test_names_of_classes_both_ways():
    head = family.MultiClassHead(3, label_vocabulary=["low", "mid", "top"])
    assert head.encode_labels(["top", "low"]).tolist() == [[2], [0]]
    assert head.encode_labels(np.array([b"mid"], object)).tolist() == [[1]]
    found = head.predictions(np.eye(3, dtype="float32"))
    assert found["classes"].tolist() == [[b"low"], [b"mid"], [b"top"]]
    assert found["class_ids"].dtype == np.int64 and found["all_classes"].shape == (3, 3)


def test_multi_class_loss():
    z = rng.normal(size=(4, 3))
    y = np.array([0, 2, 1, 1])
    logs = z - np.log(np.exp(z).sum(1, keepdims=True))
    np.testing.assert_allclose(family.MultiClassHead(3).loss(y, z), -logs[range(4), y].mean(), rtol=1e-5)


@pytest.mark.parametrize(
    "labels, expected",
    [
        ([[0], [1, 2]], [[1, 0, 0], [0, 1, 1]]),
        (np.array([[0, -1], [1, 2]]), [[1, 0, 0], [0, 1, 1]]),
        (np.array([[1, 0, 0], [0, 1, 1]]), [[1, 0, 0], [0, 1, 1]]),
    ],
)
def test_multi_label_forms(labels, expected):
    assert family.MultiLabelHead(3).encode_labels(labels).tolist() == expected


def test_multi_label_by_name_pads_with_nothing():
    head = family.MultiLabelHead(2, label_vocabulary=["a", "b"])
    assert head.encode_labels(np.array([["a", ""], ["b", "a"], ["", ""]], object)).tolist() == [[1, 0], [1, 1], [0, 0]]


def test_poisson_against_its_likelihood():
    from math import lgamma

    z, y = np.array([[0.5], [1.0]]), np.array([2.0, 30.0])
    full = float(family.PoissonRegressionHead().loss(y, z))
    exact = np.mean([np.exp(a) - b * a + lgamma(b + 1) for a, b in zip(z[:, 0], y, strict=True)])
    assert full == pytest.approx(exact, abs=0.05)  # Stirling's estimate


def test_own_loss_and_link():
    head = family.RegressionHead(loss_fn=lambda labels, logits: abs(labels - logits), inverse_link_fn=lambda z: 2 * z)
    z = np.array([[1.0], [3.0]])
    assert float(head.loss([2.0, 2.0], z)) == 1.0
    assert head.predictions(z)["predictions"].tolist() == [[2.0], [6.0]]
    assert head.predictions(z)["logits"].tolist() == [[1.0], [3.0]]


def test_multi_head_splits_logits_and_adds_losses():
    first, second = family.RegressionHead(name="a", label_dimension=2), family.BinaryClassHead(name="b")
    head = family.MultiHead([first, second], [1.0, 3.0])
    z = rng.normal(size=(5, 3)).astype("float32")
    labels = {"a": rng.normal(size=(5, 2)), "b": np.array([0, 1, 1, 0, 1])}
    parts = float(first.loss(labels["a"], z[:, :2])), float(second.loss(labels["b"], z[:, 2:]))
    assert float(head.loss(labels, z)) == pytest.approx(parts[0] + 3 * parts[1], rel=1e-6)
    found = results(head, z, labels)
    assert found["loss/b"] == pytest.approx(parts[1], rel=1e-6) and "accuracy/b" in found and "label/mean/a" in found
    assert ("b", "classes") in head.predictions(z)


def test_name_ends_the_keys_of_metrics():
    assert set(family.RegressionHead(name="size").metrics()) == {
        "average_loss/size",
        "prediction/mean/size",
        "label/mean/size",
    }


def test_spec_of_each_mode():
    from lamina.estimators.optimizers import SGD

    head, z = family.RegressionHead(), np.zeros((2, 1), "float32")
    assert head.create_estimator_spec({}, ModeKeys.PREDICT, z).predictions["predictions"].shape == (2, 1)
    spec = head.create_estimator_spec({}, ModeKeys.EVAL, z, [1.0, 3.0], regularization_losses=[np.float32(1)])
    assert float(spec.loss) == 6.0 and "regularization_loss" in spec.eval_metric_ops
    assert len(head.create_estimator_spec({}, ModeKeys.TRAIN, z, [1.0, 3.0], SGD(0.1)).train_op) == 1
