"""Losses against closed forms in float64, and one contract for all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from lamina import losses
from lamina.core.errors import ShapeError
from lamina.core.registry import BUILTIN, custom_object_scope
from lamina.losses.reduction import squeeze_or_expand_to_same_rank
from lamina.state.masks import get_mask, set_mask
from lamina.state.variable import Variable

EPSILON = 1e-7
random = np.random.default_rng(0)
REAL = random.normal(size=(4, 3)), random.normal(size=(4, 3))
POSITIVE = random.uniform(0.2, 2.0, (4, 3)), random.uniform(0.2, 2.0, (4, 3))
BINARY = (random.uniform(size=(4, 3)) > 0.5).astype(float), random.uniform(0.05, 0.95, (4, 3))
LOGITS = BINARY[0], random.normal(size=(4, 3)) * 3
ONE_HOT = np.eye(3)[[0, 2, 1, 1]], special.softmax(random.normal(size=(4, 3)), axis=-1)
CLASSES = np.array([0, 2, 1, 1]), ONE_HOT[1]
CLASS_LOGITS = CLASSES[0], LOGITS[1]


def log_loss(y, p):
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


def focal(y, p, gamma, alpha=None):
    right = y * p + (1 - y) * (1 - p)
    weight = 1 if alpha is None else y * alpha + (1 - y) * (1 - alpha)
    return np.mean(weight * (1 - right) ** gamma * log_loss(y, p), -1)


def huber(e, delta):
    return np.where(abs(e) <= delta, e**2 / 2, delta * abs(e) - delta**2 / 2).mean(-1)


def cosine(y, p, axis):
    return -(y * p).sum(axis) / np.linalg.norm(y, axis=axis) / np.linalg.norm(p, axis=axis)


def tversky(y, p, alpha, beta):
    s = (y * p).sum()
    return 1 - s / (s + alpha * (y * (1 - p)).sum() + beta * ((1 - y) * p).sum() + EPSILON)


# class name, arguments, (targets, predictions), the loss of each element in float64
ROWS = [
    ("MeanSquaredError", {}, REAL, lambda y, p: ((y - p) ** 2).mean(-1)),
    ("MeanAbsoluteError", {}, REAL, lambda y, p: abs(y - p).mean(-1)),
    ("MeanAbsolutePercentageError", {}, POSITIVE, lambda y, p: 100 * abs((y - p) / y).mean(-1)),
    ("MeanSquaredLogarithmicError", {}, POSITIVE, lambda y, p: (np.log((y + 1) / (p + 1)) ** 2).mean(-1)),
    ("Huber", {}, REAL, lambda y, p: huber(y - p, 1.0)),
    ("Huber", {"delta": 0.3}, REAL, lambda y, p: huber(y - p, 0.3)),
    ("LogCosh", {}, REAL, lambda y, p: np.log(np.cosh(y - p)).mean(-1)),
    ("Hinge", {}, (2 * BINARY[0] - 1, REAL[1]), lambda y, p: np.maximum(1 - y * p, 0).mean(-1)),
    ("Hinge", {}, (BINARY[0], REAL[1]), lambda y, p: np.maximum(1 - (2 * y - 1) * p, 0).mean(-1)),
    ("SquaredHinge", {}, (BINARY[0], REAL[1]), lambda y, p: (np.maximum(1 - (2 * y - 1) * p, 0) ** 2).mean(-1)),
    (
        "CategoricalHinge",
        {},
        (ONE_HOT[0], REAL[1]),
        lambda y, p: np.maximum(1 + ((1 - y) * p).max(-1) - (y * p).sum(-1), 0),
    ),
    ("KLDivergence", {}, (special.softmax(REAL[0], -1), ONE_HOT[1]), lambda y, p: special.rel_entr(y, p).sum(-1)),
    ("Poisson", {}, POSITIVE, lambda y, p: (p - y * np.log(p)).mean(-1)),
    ("BinaryCrossentropy", {}, BINARY, lambda y, p: log_loss(y, p).mean(-1)),
    ("BinaryCrossentropy", {"from_logits": True}, LOGITS, lambda y, x: log_loss(y, special.expit(x)).mean(-1)),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}, BINARY, lambda y, p: log_loss(0.8 * y + 0.1, p).mean(-1)),
    ("BinaryFocalCrossentropy", {"gamma": 1.5}, BINARY, lambda y, p: focal(y, p, 1.5)),
    (
        "BinaryFocalCrossentropy",
        {"apply_class_balancing": True, "alpha": 0.3, "from_logits": True},
        LOGITS,
        lambda y, x: focal(y, special.expit(x), 2.0, 0.3),
    ),
    ("CategoricalCrossentropy", {}, ONE_HOT, lambda y, p: -(y * np.log(p)).sum(-1)),
    (
        "CategoricalCrossentropy",
        {"from_logits": True, "label_smoothing": 0.3},
        (ONE_HOT[0], LOGITS[1]),
        lambda y, x: -((0.7 * y + 0.1) * special.log_softmax(x, -1)).sum(-1),
    ),
    (
        "CategoricalFocalCrossentropy",
        {"alpha": 0.4, "gamma": 3.0},
        ONE_HOT,
        lambda y, p: -(0.4 * (1 - p) ** 3 * y * np.log(p)).sum(-1),
    ),
    ("SparseCategoricalCrossentropy", {}, CLASSES, lambda y, p: -np.log(p[np.arange(4), y])),
    (
        "SparseCategoricalCrossentropy",
        {"from_logits": True},
        CLASS_LOGITS,
        lambda y, x: -special.log_softmax(x, -1)[np.arange(4), y],
    ),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.3}, CLASSES, lambda y, p: (1 - p[np.arange(4), y] ** 0.3) / 0.3),
    ("CosineSimilarity", {}, REAL, lambda y, p: cosine(y, p, -1)),
    ("CosineSimilarity", {"axis": 0}, REAL, lambda y, p: cosine(y, p, 0)),
    ("Dice", {}, BINARY, lambda y, p: 1 - 2 * (y * p).sum() / (y.sum() + p.sum() + EPSILON)),
    ("Dice", {"axis": (1,)}, BINARY, lambda y, p: 1 - 2 * (y * p).sum(1) / (y.sum(1) + p.sum(1) + EPSILON)),
    ("Tversky", {"alpha": 0.2, "beta": 0.7}, BINARY, lambda y, p: tversky(y, p, 0.2, 0.7)),
]
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(ROWS)]
ROW = pytest.mark.parametrize("name, arguments, data, reference", ROWS, ids=IDS)


def singles(data):
    y, p = data
    return (y if y.dtype.kind == "i" else y.astype("float32")), p.astype("float32")


@ROW
def test_value(name, arguments, data, reference):
    y, p = singles(data)
    each = reference(*data)
    loss = getattr(losses, name)
    np.testing.assert_allclose(loss(reduction=None, **arguments)(y, p), each, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(loss(**arguments)(y, p), np.mean(each), rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(loss(reduction="sum", **arguments)(y, p), np.sum(each), rtol=2e-5, atol=1e-5)


@ROW
def test_gradient(name, arguments, data, reference):
    y, p = singles(data)
    loss = getattr(losses, name)(**arguments)
    gradient = jax.jit(jax.grad(lambda q: loss(y, q)))(p)
    step = 1e-6
    numeric = np.zeros_like(data[1])
    for i in np.ndindex(numeric.shape):
        moved = np.zeros_like(data[1])
        moved[i] = step
        numeric[i] = (np.mean(reference(data[0], data[1] + moved)) - np.mean(reference(data[0], data[1] - moved))) / (
            2 * step
        )
    if name in ("CategoricalCrossentropy", "CategoricalFocalCrossentropy", "SparseCategoricalCrossentropy"):
        if not arguments.get("from_logits"):  # predictions are made to sum to one, which the closed form leaves out
            numeric = numeric - (numeric * data[1]).sum(-1, keepdims=True)
    np.testing.assert_allclose(gradient, numeric, rtol=2e-3, atol=2e-5)


@ROW
def test_jit_equals_eager_for_all_kinds_of_arrays(name, arguments, data, reference):
    y, p = singles(data)
    loss = getattr(losses, name)(**arguments)
    eager = loss(y, p)
    np.testing.assert_allclose(jax.jit(loss)(y, p), eager, rtol=1e-5, atol=1e-6)
    for kind in (jnp.asarray, lambda a: a.tolist(), Variable):
        np.testing.assert_allclose(loss(kind(y), kind(p)), eager, rtol=1e-6, atol=1e-7)


@ROW
def test_config_round_trip(name, arguments, data, reference):
    loss = getattr(losses, name)(reduction="sum", name="mine", **arguments)
    twin = losses.deserialize(losses.serialize(loss))
    assert type(twin) is type(loss) and twin.name == "mine" and twin.get_config() == loss.get_config()
    np.testing.assert_array_equal(twin(*singles(data)), loss(*singles(data)))


@pytest.mark.parametrize("argument", ["delta", "axis"])
def test_arguments_are_in_the_config_where_they_were_given(argument):
    cls = {"delta": losses.Huber, "axis": losses.CosineSimilarity}[argument]
    assert argument not in cls().get_config()
    assert cls(**{argument: 1}).get_config()[argument] == 1


def test_dtype_is_kept_in_the_config():
    loss = losses.MeanSquaredError(dtype="bfloat16")
    assert loss([1.0], [2.0]).dtype == "bfloat16"
    assert type(loss).from_config(loss.get_config()).dtype == "bfloat16"


@pytest.mark.parametrize("name", sorted(n for n, v in BUILTIN["losses"].items() if isinstance(v, type)))
def test_every_class_says_what_it_is(name):
    cls = BUILTIN["losses"][name]
    if name not in ("Loss", "LossFunctionWrapper"):
        assert isinstance(losses.get(name), cls)
        assert losses.get({"class_name": name, "config": {}}).get_config() == cls().get_config()


@pytest.mark.parametrize("alias", list(losses.ALIASES))
def test_aliases(alias):
    assert losses.get(alias) is losses.ALIASES[alias]


# Weights, masks, reductions.

EACH = np.array([1.0, 2.0, 4.0, 8.0])
PREDICTED = np.sqrt(EACH)[:, None].astype("float32")
ZEROS = np.zeros((4, 1), "float32")
WEIGHTS = np.array([0.5, 0.0, 2.0, 1.0], "float32")


@pytest.mark.parametrize(
    "reduction, plain, weighted",
    [
        ("sum_over_batch_size", 15 / 4, 16.5 / 4),
        ("mean", 15 / 4, 16.5 / 4),
        ("sum", 15, 16.5),
        ("mean_with_sample_weight", 15 / 4, 16.5 / 3.5),
        ("none", EACH, EACH * WEIGHTS),
        (None, EACH, EACH * WEIGHTS),
    ],
)
def test_reductions(reduction, plain, weighted):
    loss = losses.MeanSquaredError(reduction=reduction)
    np.testing.assert_allclose(loss(ZEROS, PREDICTED), plain, rtol=1e-6)
    np.testing.assert_allclose(loss(ZEROS, PREDICTED, sample_weight=WEIGHTS), weighted, rtol=1e-6)
    columns = loss(ZEROS, PREDICTED, sample_weight=WEIGHTS[:, None])
    np.testing.assert_allclose(np.squeeze(columns), weighted, rtol=1e-6)


@pytest.mark.parametrize("reduction, expected", [("mean", 13 / 3), ("sum", 13), ("none", [1, 0, 4, 8])])
def test_a_mask_leaves_elements_out(reduction, expected):
    predicted = jnp.asarray(PREDICTED)
    set_mask(predicted, jnp.array([True, False, True, True]))
    got = losses.MeanSquaredError(reduction=reduction)(ZEROS, predicted)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_mask_and_weights_together():
    predicted = jnp.asarray(PREDICTED)
    set_mask(predicted, jnp.array([True, False, True, False]))
    got = losses.MeanSquaredError()(ZEROS, predicted, sample_weight=WEIGHTS)
    np.testing.assert_allclose(got, (0.5 * 1 + 2 * 4) / 2, rtol=1e-6)


def test_a_mask_of_nothing_gives_zero():
    predicted = jnp.asarray(PREDICTED)
    set_mask(predicted, jnp.zeros(4, bool))
    assert float(losses.MeanSquaredError()(ZEROS, predicted)) == 0.0


def test_ignored_class_counts_neither_in_the_loss_nor_in_the_mean():
    logits = LOGITS[1].astype("float32")
    classes = np.array([0, -1, 2, -1])
    expected = -special.log_softmax(LOGITS[1], -1)[[0, 2], [0, 2]].mean()
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    np.testing.assert_allclose(loss(classes, logits), expected, rtol=1e-5)
    infinite = logits.copy()
    infinite[1] = np.inf
    gradient = jax.grad(lambda x: loss(classes, x))(infinite)
    assert np.isfinite(gradient).all() and not np.asarray(gradient)[1].any()
    assert get_mask(losses.sparse_categorical_crossentropy(classes, logits, True, -1)).tolist() == [1, 0, 1, 0]


def test_class_axis_in_the_middle():
    logits = random.normal(size=(2, 3, 4))
    classes = np.array([[0, 1, 2, 0], [2, 2, 1, 0]])
    expected = -np.take_along_axis(special.log_softmax(logits, 1), classes[:, None], 1)[:, 0]
    got = losses.SparseCategoricalCrossentropy(from_logits=True, axis=1, reduction=None)(classes, logits)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_probabilities_of_zero_and_one_are_clipped(p):
    got = float(losses.binary_crossentropy([[1.0 - p]], [[p]])[0])
    assert got == pytest.approx(-np.log(EPSILON), rel=0.05)
    sparse = losses.sparse_categorical_crossentropy([0], [[0.0, 1.0]])
    assert float(sparse[0]) == pytest.approx(-np.log(EPSILON), rel=1e-5)


def test_structures_of_targets_and_predictions():
    class Both(losses.Loss):
        def call(self, y_true, y_pred):
            return jnp.abs(y_true["a"] - y_pred["a"]) + jnp.abs(y_true["b"] - y_pred["b"])

    y = {"a": np.zeros(2), "b": np.zeros(2)}
    p = {"a": np.ones(2), "b": np.array([1.0, 3.0])}
    assert float(Both()(y, p)) == 3.0


def test_wrapper_keeps_arguments_and_finds_functions_again():
    loss = losses.LossFunctionWrapper(losses.huber, name="h", delta=0.5)
    twin = type(loss).from_config(loss.get_config())
    assert loss.get_config()["delta"] == 0.5 and twin.fn is losses.huber
    np.testing.assert_array_equal(twin(*singles(REAL)), loss(*singles(REAL)))


def test_loss_of_ones_own_by_name():
    def double(y_true, y_pred):
        return 2 * jnp.abs(y_true - y_pred)

    with custom_object_scope({"double": double}):
        assert losses.get("double") is double


def test_ctc_sums_over_alignments():
    logits = random.normal(size=(1, 3, 3))
    p = special.softmax(logits, -1)[0]
    # labels (1, 2) in three steps: blank 1 2, 1 blank 2, 1 2 blank, 1 1 2, 1 2 2
    paths = [(0, 1, 2), (1, 0, 2), (1, 2, 0), (1, 1, 2), (1, 2, 2)]
    expected = -np.log(sum(np.prod([p[t, c] for t, c in enumerate(path)]) for path in paths))
    np.testing.assert_allclose(losses.CTC()(np.array([[1, 2]]), logits), expected, rtol=1e-5)


def test_circle_against_its_formula():
    x = random.normal(size=(4, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels, gamma, m = np.array([0, 0, 1, 1]), 3.0, 0.3
    d = np.maximum(1 - x @ x.T, 0)
    expected = []
    for i in range(4):
        p = [j for j in range(4) if j != i and labels[j] == labels[i]]
        n = [j for j in range(4) if labels[j] != labels[i]]
        lp = special.logsumexp([-gamma * max(m + d[i, j], 0) * (m - d[i, j]) for j in p])
        ln = special.logsumexp([gamma * max(1 + m - d[i, j], 0) * (1 - m - d[i, j]) for j in n])
        expected.append(np.logaddexp(0, lp + ln))
    got = losses.Circle(gamma=gamma, margin=m, reduction=None)(labels, x.astype("float32"))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_circle_without_pairs_has_finite_gradients():
    x = jnp.eye(4)
    gradient = jax.grad(lambda q: losses.Circle(gamma=2.0)(np.array([0, 0, 1, 2]), q))(x)
    assert np.isfinite(gradient).all()


def test_zero_vectors_have_finite_gradients():
    gradient = jax.grad(lambda q: losses.CosineSimilarity()(np.ones((2, 3)), q))(jnp.zeros((2, 3)))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    "a, b, want",
    [
        ((3, 1), (3,), ((3, 1), (3, 1))),
        ((3,), (3, 1), ((3, 1), (3, 1))),
        ((3, 2, 1), (3, 2), ((3, 2), (3, 2))),
        ((3, 2), (3, 2, 1), ((3, 2), (3, 2))),
        ((3, 2), (3,), ((3, 2), (3,))),
    ],
)
def test_rank_matching(a, b, want):
    got = squeeze_or_expand_to_same_rank(np.zeros(a), np.zeros(b))
    assert tuple(x.shape for x in got) == want


# Errors.


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: losses.get("mean_square_error"), ValueError, "Did you mean 'mean_squared_error'"),
        (lambda: losses.get(3), TypeError, "losses.get.*'mse'.*3"),
        (lambda: losses.MeanSquaredError(reduction="men"), ValueError, "MeanSquaredError.*Did you mean 'mean'"),
        (lambda: losses.Huber(delta=-1.0), ValueError, "Huber: delta.*-1.0"),
        (lambda: losses.BinaryCrossentropy(label_smoothing=2), ValueError, "label_smoothing.*between 0 and 1"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(q=1.0), ValueError, "between 0 and 1, both excluded"),
        (lambda: losses.LossFunctionWrapper("mse"), TypeError, "fn must be a function"),
        (lambda: losses.Loss()([1.0], [1.0]), NotImplementedError, "needs a method call"),
    ],
)
def test_errors_of_construction(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: losses.categorical_crossentropy([0, 1], np.ones((2, 3))), "sparse_categorical_crossentropy"),
        (lambda: losses.sparse_categorical_crossentropy(np.ones((2, 3)), np.ones((2, 3))), "one-hot"),
        (lambda: losses.sparse_categorical_crossentropy([1, 0, 1], np.ones((2, 3))), r"\(2,\)"),
        (lambda: losses.binary_crossentropy(np.ones((2, 1)), np.ones((2, 3))), r"\(2, 1\) and \(2, 3\)"),
        (lambda: losses.ctc([1], np.ones((2, 3))), "ctc.*batch, time, classes"),
        (lambda: losses.circle([0, 1], np.ones(2)), "embeddings"),
    ],
)
def test_errors_of_shapes(call, message):
    with pytest.raises(ShapeError, match=message):
        call()


def test_one_class_warns():
    with pytest.warns(SyntaxWarning, match="binary_crossentropy"):
        losses.categorical_crossentropy(np.ones((2, 1)), np.ones((2, 1)))
