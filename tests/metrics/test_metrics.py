"""Metrics against closed forms over all batches at once, and one contract for all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as reference

from lamina import metrics
from lamina.core.errors import ShapeError
from lamina.core.registry import BUILTIN
from lamina.losses import Huber, mean_absolute_error
from lamina.state.frame import purify
from lamina.state.masks import set_mask
from lamina.state.variable import Variable

random = np.random.default_rng(1)
N = 20
REAL = random.normal(size=(N, 3)).astype("f"), random.normal(size=(N, 3)).astype("f")
BINARY = (random.uniform(size=N) > 0.5).astype("f"), random.uniform(size=N).astype("f")
LABELS = (random.uniform(size=(N, 3)) > 0.5).astype("f"), random.uniform(size=(N, 3)).astype("f")
CLASSES = random.integers(0, 4, N), random.dirichlet(np.ones(4), N).astype("f")
ONE_HOT = np.eye(4, dtype="f")[CLASSES[0]], CLASSES[1]
REGIONS = random.integers(0, 3, N), random.integers(0, 3, N)
PARTS = (slice(0, 12), slice(12, N))


def above(p, t=0.5):
    return (p > t).astype(int)


def top(p, k):
    return np.argsort(-p, axis=-1)[:, :k]


def macro_f1(y, p):
    return reference.f1_score(y.argmax(-1), p.argmax(-1), average="macro", labels=range(4))


def best(y, p, thresholds, bounded, wanted, bound):
    found = [0.0]
    for t in thresholds:
        tn, fp, fn, tp = reference.confusion_matrix(y, above(p, t), labels=[0, 1]).ravel()
        rates = {
            "recall": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "precision": tp / (tp + fp) if tp + fp else 0,
        }
        if rates[bounded] >= bound:
            found.append(rates[wanted])
    return max(found)


def iou(y, p, classes):
    return np.mean([((y == c) & (p == c)).sum() / ((y == c) | (p == c)).sum() for c in classes])


def pearson(y, p):
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(y, p, strict=True)])


def concordance(y, p):
    cov = ((y - y.mean(-1, keepdims=True)) * (p - p.mean(-1, keepdims=True))).mean(-1)
    return np.mean(2 * cov / (y.var(-1) + p.var(-1) + (y.mean(-1) - p.mean(-1)) ** 2))


EVEN = np.linspace(0, 1, 11)
AT = {"num_thresholds": 11}
# class, arguments, data, the value over all data at once
ROWS = [
    ("MeanSquaredError", {}, REAL, lambda y, p: reference.mean_squared_error(y, p)),
    ("MeanAbsoluteError", {}, REAL, lambda y, p: reference.mean_absolute_error(y, p)),
    ("RootMeanSquaredError", {}, REAL, lambda y, p: reference.mean_squared_error(y, p) ** 0.5),
    ("MeanAbsolutePercentageError", {}, REAL, lambda y, p: 100 * np.mean(abs((y - p) / y))),
    ("MeanSquaredLogarithmicError", {}, LABELS, lambda y, p: reference.mean_squared_log_error(y, p)),
    ("LogCoshError", {}, REAL, lambda y, p: np.log(np.cosh(y - p)).mean()),
    (
        "CosineSimilarity",
        {},
        REAL,
        lambda y, p: np.mean((y * p).sum(-1) / np.linalg.norm(y, axis=-1) / np.linalg.norm(p, axis=-1)),
    ),
    ("PearsonCorrelation", {}, REAL, pearson),
    ("ConcordanceCorrelation", {}, REAL, concordance),
    ("R2Score", {}, REAL, lambda y, p: reference.r2_score(y, p)),
    ("R2Score", {"class_aggregation": None}, REAL, lambda y, p: reference.r2_score(y, p, multioutput="raw_values")),
    (
        "R2Score",
        {"class_aggregation": "variance_weighted_average"},
        REAL,
        lambda y, p: reference.r2_score(y, p, multioutput="variance_weighted"),
    ),
    ("Hinge", {}, LABELS, lambda y, p: np.maximum(1 - (2 * y - 1) * p, 0).mean()),
    ("SquaredHinge", {}, LABELS, lambda y, p: (np.maximum(1 - (2 * y - 1) * p, 0) ** 2).mean()),
    (
        "CategoricalHinge",
        {},
        ONE_HOT,
        lambda y, p: np.maximum(1 + ((1 - y) * p).max(-1) - (y * p).sum(-1), 0).mean(),
    ),
    ("Poisson", {}, LABELS, lambda y, p: np.mean(p - y * np.log(p))),
    ("KLDivergence", {}, (CLASSES[1], CLASSES[1][::-1]), lambda y, p: (y * np.log(y / p)).sum(-1).mean()),
    ("BinaryCrossentropy", {}, LABELS, lambda y, p: -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))),
    ("CategoricalCrossentropy", {}, ONE_HOT, lambda y, p: reference.log_loss(y, p)),
    ("SparseCategoricalCrossentropy", {}, CLASSES, lambda y, p: reference.log_loss(y, p, labels=range(4))),
    ("Accuracy", {}, REGIONS, lambda y, p: reference.accuracy_score(y, p)),
    ("BinaryAccuracy", {}, BINARY, lambda y, p: reference.accuracy_score(y, above(p))),
    ("BinaryAccuracy", {"threshold": 0.2}, BINARY, lambda y, p: reference.accuracy_score(y, above(p, 0.2))),
    ("CategoricalAccuracy", {}, ONE_HOT, lambda y, p: np.mean(y.argmax(-1) == p.argmax(-1))),
    ("SparseCategoricalAccuracy", {}, CLASSES, lambda y, p: np.mean(y == p.argmax(-1))),
    ("TopKCategoricalAccuracy", {"k": 2}, ONE_HOT, lambda y, p: np.mean((top(p, 2).T == y.argmax(-1)).any(0))),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, CLASSES, lambda y, p: np.mean((top(p, 3).T == y).any(0))),
    ("TruePositives", {}, BINARY, lambda y, p: (y * above(p)).sum()),
    ("FalsePositives", {}, BINARY, lambda y, p: ((1 - y) * above(p)).sum()),
    ("TrueNegatives", {}, BINARY, lambda y, p: ((1 - y) * (1 - above(p))).sum()),
    ("FalseNegatives", {"thresholds": 0.7}, BINARY, lambda y, p: (y * (1 - above(p, 0.7))).sum()),
    (
        "TruePositives",
        {"thresholds": [0.1, 0.4, 0.9]},
        BINARY,
        lambda y, p: [(y * above(p, t)).sum() for t in (0.1, 0.4, 0.9)],
    ),
    (
        "TruePositives",
        {"thresholds": [0.0, 0.5, 1.0]},
        BINARY,
        lambda y, p: [(y * above(p, t)).sum() for t in (0.0, 0.5, 1.0)],
    ),
    ("Precision", {}, BINARY, lambda y, p: reference.precision_score(y, above(p))),
    ("Recall", {}, BINARY, lambda y, p: reference.recall_score(y, above(p))),
    ("Recall", {"class_id": 2}, LABELS, lambda y, p: reference.recall_score(y[:, 2], above(p[:, 2]))),
    ("Precision", {"top_k": 1}, ONE_HOT, lambda y, p: np.mean(y.argmax(-1) == p.argmax(-1))),
    ("F1Score", {"threshold": 0.5}, LABELS, lambda y, p: reference.f1_score(y, above(p), average=None)),
    (
        "F1Score",
        {"average": "macro"},
        ONE_HOT,
        lambda y, p: reference.f1_score(y, np.eye(4)[p.argmax(-1)], average="macro"),
    ),
    (
        "FBetaScore",
        {"beta": 2.0, "average": "weighted", "threshold": 0.4},
        LABELS,
        lambda y, p: reference.fbeta_score(y, above(p, 0.4), beta=2.0, average="weighted"),
    ),
    (
        "FBetaScore",
        {"beta": 0.5, "average": "micro", "threshold": 0.4},
        LABELS,
        lambda y, p: reference.fbeta_score(y, above(p, 0.4), beta=0.5, average="micro"),
    ),
    ("IoU", {"num_classes": 3, "target_class_ids": [0, 2]}, REGIONS, lambda y, p: iou(y, p, [0, 2])),
    ("MeanIoU", {"num_classes": 3}, REGIONS, lambda y, p: iou(y, p, range(3))),
    ("BinaryIoU", {"target_class_ids": [1]}, BINARY, lambda y, p: iou(y, above(p), [1])),
    (
        "OneHotIoU",
        {"num_classes": 4, "target_class_ids": [1, 3]},
        ONE_HOT,
        lambda y, p: iou(y.argmax(-1), p.argmax(-1), [1, 3]),
    ),
    ("OneHotMeanIoU", {"num_classes": 4}, ONE_HOT, lambda y, p: iou(y.argmax(-1), p.argmax(-1), range(4))),
    ("AUC", {"num_thresholds": 2000}, BINARY, lambda y, p: reference.roc_auc_score(y, p)),
    (
        "AUC",
        {"num_thresholds": 2000, "multi_label": True},
        LABELS,
        lambda y, p: reference.roc_auc_score(y, p, average="macro"),
    ),
    (
        "AUC",
        {"thresholds": sorted(BINARY[1].tolist())},
        BINARY,
        lambda y, p: reference.roc_auc_score(y, p),
    ),
    (
        "SensitivityAtSpecificity",
        {"specificity": 0.6, **AT},
        BINARY,
        lambda y, p: best(y, p, EVEN, "specificity", "recall", 0.6),
    ),
    (
        "SpecificityAtSensitivity",
        {"sensitivity": 0.6, **AT},
        BINARY,
        lambda y, p: best(y, p, EVEN, "recall", "specificity", 0.6),
    ),
    ("PrecisionAtRecall", {"recall": 0.4, **AT}, BINARY, lambda y, p: best(y, p, EVEN, "recall", "precision", 0.4)),
    ("RecallAtPrecision", {"precision": 0.5, **AT}, BINARY, lambda y, p: best(y, p, EVEN, "precision", "recall", 0.5)),
]
ROW = pytest.mark.parametrize("name, arguments, data, value", ROWS, ids=[f"{r[0]}-{i}" for i, r in enumerate(ROWS)])


def batches(data):
    return [tuple(a[part] for a in data) for part in PARTS]


@ROW
def test_value_over_batches(name, arguments, data, value):
    metric = getattr(metrics, name)(**arguments)
    for _ in range(2):  # again after a reset
        for batch in batches(data):
            metric.update_state(*batch)
        np.testing.assert_allclose(metric.result(), value(*data), rtol=1e-4, atol=2e-6)
        metric.reset_state()
        assert not any(np.asarray(v.value).any() for v in metric.variables)


@ROW
def test_compiled_and_pure_forms_equal_the_eager_one(name, arguments, data, value):
    metric = getattr(metrics, name)(**arguments)
    metric.build_for(*data)
    shapes = [v.shape for v in metric.variables]
    update = jax.jit(purify(metric.update_state, metric.variables))
    state = tuple(v.value for v in metric.variables)
    for batch in batches(data):
        _, state = update(state, *batch)
    assert [s.shape for s in state] == shapes
    assert not any(np.asarray(v.value).any() for v in metric.variables)  # only the values outside changed
    np.testing.assert_allclose(jax.jit(metric.stateless_result)(state), value(*data), rtol=1e-4, atol=2e-6)
    plain = metric.stateless_reset_state()
    for batch in batches(data):
        plain = metric.stateless_update_state(plain, *batch)
    for a, b in zip(plain, state, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@ROW
def test_weights_of_whole_numbers_repeat_samples(name, arguments, data, value):
    weights = np.arange(N) % 3
    repeated = tuple(np.repeat(a, weights, axis=0) for a in data)
    weighted, plain = getattr(metrics, name)(**arguments), getattr(metrics, name)(**arguments)
    weighted.update_state(*data, sample_weight=weights if "IoU" in name else weights.astype("f"))
    plain.update_state(*repeated)
    np.testing.assert_allclose(weighted.result(), plain.result(), rtol=1e-4, atol=2e-6)


@ROW
def test_round_trip_of_the_config(name, arguments, data, value):
    metric = getattr(metrics, name)(name="mine", **arguments)
    twin = metrics.deserialize(metrics.serialize(metric))
    assert type(twin) is type(metric) and twin.get_config() == metric.get_config() and twin.name == "mine"
    np.testing.assert_allclose(twin(*data), metric(*data))


def test_every_class_is_in_the_table():
    classes = {n for n, v in BUILTIN["metrics"].items() if isinstance(v, type) and hasattr(metrics, n)}
    tested = {name for name, *_ in ROWS}
    assert classes - tested == {"Metric", "Mean", "Sum", "MeanMetricWrapper"}


@pytest.mark.parametrize("curve", ["PR", "ROC", "PRGAIN"])
@pytest.mark.parametrize("thresholds", [{"num_thresholds": 11}, {"thresholds": [0.1, 0.15, 0.8]}])
def test_auc_bounds_enclose_the_interpolation(curve, thresholds):
    values = {}
    for method in ("minoring", "interpolation", "majoring"):
        metric = metrics.AUC(curve=curve, summation_method=method, **thresholds)
        values[method] = float(metric(*BINARY))
    assert values["minoring"] <= values["interpolation"] + 1e-6 and values["minoring"] < values["majoring"]


def test_auc_of_logits_and_label_weights():
    logits = np.log(LABELS[1] / (1 - LABELS[1]))
    a, b = metrics.AUC(), metrics.AUC(from_logits=True)
    np.testing.assert_allclose(a(*LABELS), b(LABELS[0], logits), rtol=1e-5)
    weights = [0.0, 0.0, 2.0]
    only = metrics.AUC(multi_label=True, label_weights=weights)(*LABELS)
    np.testing.assert_allclose(only, metrics.AUC()(LABELS[0][:, 2], LABELS[1][:, 2]), rtol=1e-5)


def test_mean_of_weighted_values_of_many_axes():
    values, weights = random.normal(size=(4, 3, 2)), random.uniform(size=(4, 3))
    metric = metrics.Mean()
    metric.update_state(values, weights)
    expected = (values.mean(-1) * weights).mean(-1).sum() / weights.mean(-1).sum()
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-5)
    assert [v.path for v in metric.variables] == ["mean/total", "mean/count"]


def test_mean_and_sum_of_numbers_and_of_nothing():
    mean, total = metrics.Mean(), metrics.Sum()
    assert float(mean.result()) == 0.0
    for x in (1.0, 4.0):
        mean.update_state(x)
        total.update_state([x, x], sample_weight=[1.0, 0.5])
    assert float(mean.result()) == 2.5 and float(total.result()) == 7.5


def test_a_mask_of_predictions_leaves_samples_out():
    predicted = jnp.array([[1.0], [2.0], [9.0]])
    set_mask(predicted, jnp.array([True, True, False]))
    metric = metrics.MeanAbsoluteError()
    assert float(metric(jnp.zeros((3, 1)), predicted)) == 1.5


def test_wrapper_takes_functions_and_losses():
    metric = metrics.MeanMetricWrapper(mean_absolute_error, name="m")
    twin = type(metric).from_config(metric.get_config())
    assert float(twin([[0.0], [0.0]], [[1.0], [2.0]])) == 1.5
    assert float(metrics.MeanMetricWrapper(Huber(delta=1.0))([[0.0]], [[3.0]])) == 2.5
    assert metric._direction == "down"


def test_metric_of_ones_own_with_parts():
    class Spread(metrics.Metric):
        def __init__(self, name="spread", **kwargs):
            super().__init__(name=name, **kwargs)
            self.low = self.add_weight(shape=(), initializer="ones", name="low")
            self.parts = [metrics.Mean(name="inner")]
            self.extra = Variable(0.0, name="extra")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.low.assign(jnp.minimum(self.low.value, jnp.min(y_pred)))
            self.parts[0].update_state(y_pred)

        def result(self):
            return {"low": self.low.value, "mean": self.parts[0].result()}

    metric = Spread()
    assert [v.path for v in metric.variables] == ["spread/low", "extra", "inner/total", "inner/count"]
    result = metric(None, jnp.array([0.5, 1.5]))
    assert {k: float(v) for k, v in result.items()} == {"low": 0.5, "mean": 1.0}
    state = metric.stateless_update_state([1.0, 0.0, 0.0, 0.0], None, jnp.array([0.25]))
    assert [float(x) for x in state] == [0.25, 0.0, 0.25, 1.0]


def test_shapes_from_the_data_appear_in_the_pure_form():
    metric = metrics.R2Score()
    assert len(metric.variables) == 1
    state = metric.stateless_update_state([0.0], *REAL)
    assert len(state) == len(metric.variables) == 5
    np.testing.assert_allclose(metric.stateless_result(state), reference.r2_score(*REAL), rtol=1e-4)


def test_adjusted_r2():
    plain = reference.r2_score(*REAL)
    n = REAL[0].size  # elements, as Keras counts them
    got = metrics.R2Score(num_regressors=4)(*REAL)
    np.testing.assert_allclose(got, 1 - (1 - plain) * (n - 1) / (n - 5), rtol=1e-4)
    np.testing.assert_allclose(metrics.R2Score(num_regressors=n)(*REAL), plain, rtol=1e-4)


@pytest.mark.parametrize(
    "name, cls",
    [
        ("acc", "Accuracy"),
        ("accuracy", "Accuracy"),
        ("mse", "MeanSquaredError"),
        ("MAE", "MeanAbsoluteError"),
        ("mean_squared_error", "MeanSquaredError"),
        ("AUC", "AUC"),
        ("f1_score", "F1Score"),
        ("binary_crossentropy", "BinaryCrossentropy"),
    ],
)
def test_names(name, cls):
    assert type(metrics.get(name)).__name__ == cls


def test_names_of_functions():
    assert metrics.get("huber")([[0.0]], [[3.0]]).tolist() == [2.5]


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: metrics.get("acuracy"), ValueError, "Did you mean 'accuracy'"),
        (lambda: metrics.get(1.5), TypeError, "metrics.get"),
        (lambda: metrics.AUC(curve="ROCK"), ValueError, "curve.*Did you mean 'ROC'"),
        (lambda: metrics.AUC(num_thresholds=1), ValueError, "num_thresholds.*at least 2"),
        (lambda: metrics.AUC(num_labels=3), ValueError, "multi_label=True"),
        (lambda: metrics.Precision(thresholds=[0.1, 1.5]), ValueError, "thresholds.*between 0 and 1"),
        (lambda: metrics.F1Score(average="mean"), ValueError, "average"),
        (lambda: metrics.FBetaScore(beta=0.0), ValueError, "beta must be greater than 0"),
        (lambda: metrics.IoU(2, [0, 2]), ValueError, r"0 .. 1"),
        (lambda: metrics.RecallAtPrecision(1.5), ValueError, "precision.*between 0 and 1"),
        (lambda: metrics.R2Score("mean"), ValueError, "class_aggregation"),
        (lambda: metrics.R2Score()(np.ones(3), np.ones(3)), ShapeError, r"\(batch, d\)"),
        (lambda: metrics.F1Score()(np.ones(3), np.ones(3)), ShapeError, r"\(batch, classes\)"),
        (lambda: metrics.AUC()(np.ones((3, 2)), np.ones((3, 4))), ShapeError, "AUC 'auc'.*same shape"),
        (lambda: metrics.Recall(class_id=0)(np.ones(3), np.ones(3)), ShapeError, "class_id"),
        (lambda: metrics.Mean().stateless_result([1.0]), ValueError, "2 variables, got 1"),
        (lambda: metrics.TopKCategoricalAccuracy(k=0), ValueError, "k must be an integer"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_forgotten_super_call():
    class Hasty(metrics.Metric):
        def __init__(self):
            self.total = self.add_variable(name="total")

    with pytest.raises(RuntimeError, match=r"Hasty: call super\(\).__init__"):
        Hasty()
