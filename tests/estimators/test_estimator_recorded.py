"""Answers of tf.estimator 2.15, recorded by running it on the same small tables, where they are easily missed.

The numbers were printed by TensorFlow 2.15.1: `tf.compat.v1.estimator.experimental.KMeans`, `tf.compat.v1.metrics` in
the evaluation of an Estimator, `tf.feature_column`, and the heads of `tf.estimator`.
"""

import numpy as np
import pytest

from lamina import estimators as est
from lamina.datasets import Dataset
from lamina.estimators import feature_columns as fc

POINTS = np.array(
    [[0.26, -0.17], [0.02, -0.2], [0.48, 0.35], [0.28, -0.23], [-0.24, 0.46], [-0.19, 0.21], [4.45, 4.05], [3.29, 4.71]]
    + [[4.24, 3.29], [4.22, 5.0], [4.0, 4.26], [4.77, -3.48], [4.31, -4.08], [4.08, -4.18], [4.35, -4.46]],
    "float32",
)
P = np.array([0.51, 0.52, 0.1, 0.42, 0.65, 0.02, 0.01, 0.62, 0.93, 0.29, 0.65], "float32")
Y = np.array([0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1])
W = np.array([0.75, 0.48, 0.98, 0.74, 0.78, 0.02, 0.15, 0.55, 0.81, 0.61, 0.66], "float32")
X = np.array([1.0, -2.0, 0.5, 3.0, -1.0, 2.5, 0.0, -0.5], "float32")[:, None]


def data(features, labels=None, size=4, passes=-1):
    return lambda: (
        Dataset.from_tensor_slices(features if labels is None else (features, labels)).batch(size).repeat(passes)
    )


def line(folder, **kwargs):
    columns = [fc.numeric_column("x")]
    return est.LinearRegressor(columns, str(folder), optimizer=est.optimizers.SGD(learning_rate=0.1), **kwargs)


# ---- KMeans


@pytest.mark.parametrize(
    ("steps", "size", "arguments", "centers"),
    [
        (4, 4, {}, [0.0421, 0.48494, 3.61644, 3.76244, 3.83625, -3.565]),
        (5, 4, {"mini_batch_steps_per_iteration": 2}, [0.04375, 0.43531, 3.79417, 3.93667, 4.04, -3.66857]),
        (3, 4, {"distance_metric": "cosine"}, [-0.2267, 0.92562, 0.71072, 0.69643, 0.67484, -0.69412]),
        (
            4,
            5,
            {"distance_metric": "cosine", "mini_batch_steps_per_iteration": 2},
            [-0.39603, 0.91824, 0.73042, 0.683, 0.66531, -0.74657],
        ),
        (3, 4, {"use_mini_batch": False}, [4.15333, 4.18333, 0, 0, 4.77, -3.48]),
    ],
)
def test_centers_after_batches(tmp_path, steps, size, arguments, centers):
    start = np.array([[0, 1], [3, 3], [3, -3]], "float32")
    model = est.experimental.KMeans(3, str(tmp_path), start, **arguments)
    model.train(data({"p": POINTS}, size=size), steps=steps)
    np.testing.assert_allclose(model.cluster_centers().ravel(), centers, atol=2e-5)


def test_transform_gives_distances_that_are_not_squared(tmp_path):
    start = np.array([[0, 1], [3, 3], [3, -3]], "float32")
    model = est.experimental.KMeans(3, str(tmp_path), start, use_mini_batch=False)
    model.train(data({"p": POINTS}, size=15), steps=1)
    first = next(iter(model.transform(data({"p": POINTS}, size=15, passes=1))))
    np.testing.assert_allclose(first, [0.287523, 5.825033, 5.657578], rtol=1e-5)
    assert np.allclose(model.transform({"p": POINTS})[0], first, rtol=1e-5)


# ---- metrics of a model_fn


@pytest.mark.parametrize(
    ("metric", "plain", "weighted"),
    [
        (lambda **k: est.metrics.auc(Y, P, curve="PR", summation_method="minoring", **k), 0.93937, 0.93382),
        (lambda **k: est.metrics.auc(Y, P, curve="PR", summation_method="majoring", **k), 0.94678, 0.94328),
        (lambda **k: est.metrics.auc(Y, P, curve="PR", num_thresholds=20, **k), 0.92927, 0.93058),
        (
            lambda **k: est.metrics.auc(Y, P, curve="PR", summation_method="careful_interpolation", **k),
            0.94324,
            0.9388,
        ),
        (lambda **k: est.metrics.sensitivity_at_specificity(Y, P, 0.3, **k), 1.0, 1.0),
        (lambda **k: est.metrics.sensitivity_at_specificity(Y, P, 0.7, **k), 1.0, 0.58259),
        (lambda **k: est.metrics.specificity_at_sensitivity(Y, P, 0.7, **k), 0.5, 0.16667),
    ],
)
def test_areas_and_rates(metric, plain, weighted):
    assert float(metric().result()) == pytest.approx(plain, abs=2e-5)
    assert float(metric(weights=W).result()) == pytest.approx(weighted, abs=2e-5)


def test_weighted_mean_iou():
    classes, guesses = np.array([2, 2, 0, 2, 1, 1, 0, 1, 2, 1, 0]), np.array([1, 0, 2, 2, 0, 1, 1, 1, 0, 1, 0])
    assert float(est.metrics.mean_iou(classes, guesses, 3, weights=W).result()) == pytest.approx(0.260127, abs=1e-6)


def test_added_metrics_read_features_and_weights(tmp_path):
    def metric_fn(features, labels, predictions):
        return {
            "x": est.metrics.mean(features["x"]),
            "mae": est.metrics.mean_absolute_error(labels, predictions["predictions"]),
        }

    model = line(tmp_path).train(data({"x": X}, 2 * X + 1), steps=3)
    found = est.add_metrics(model, metric_fn).evaluate(data({"x": X}, 2 * X + 1, passes=1))
    assert float(found["x"]) == pytest.approx(0.4375)
    assert float(found["mae"]) == pytest.approx(0.311366, rel=1e-4)


# ---- heads and columns


def test_classes_by_number_are_named_as_in_the_vocabulary():
    head = est.MultiLabelHead(3, label_vocabulary=["a", "b", "c"], classes_for_class_based_metrics=[1])
    keys = ["auc", "auc/b", "auc_precision_recall", "auc_precision_recall/b", "average_loss", "probability_mean/b"]
    assert sorted(head.metrics()) == keys


def test_loss_is_of_logits_whatever_the_link():
    head, z, y = est.RegressionHead(inverse_link_fn=np.exp), np.array([[0.5], [2.0]]), np.array([[1.0], [0.0]])
    assert float(head.loss(y, z)) == pytest.approx((0.5**2 + 2.0**2) / 2)


def test_baseline_of_samples_that_weigh_nothing():
    head, features = est.BinaryClassHead(weight_column="w"), {"w": np.zeros(4, "float32")}
    metrics = head.update_metrics(head.metrics(), features, np.zeros((4, 1)), np.array([0, 1, 1, 1]))
    assert float(metrics["accuracy_baseline"].result()) == 0


def test_labels_of_several_axes():
    head, labels = est.MultiLabelHead(2), np.array([[[1, 0], [0, 0]], [[1, 1], [0, 1]]])
    z = np.zeros((2, 2, 2), "float32")
    assert float(head.loss(labels, z)) == pytest.approx(np.log(2), rel=1e-6)


def test_hash_key_0_is_the_usual_one():
    usual, zero = (fc.crossed_column(["a", "b"], 1000, hash_key=k) for k in (None, 0))
    features = {"a": np.array(["u", "v"]), "b": np.array(["x", "y"])}
    assert list(map(np.ndarray.tolist, fc.transform_host([usual], features).values())) == list(
        map(np.ndarray.tolist, fc.transform_host([zero], features).values())
    )


# ---- runs


def test_checkpoints_are_saved_before_other_hooks_are_called(tmp_path):
    seen = []

    class Hook(est.SessionRunHook):
        def begin(self):
            seen.append("begin")

        def after_run(self, run_context, run_values):
            seen.append(f"after {run_context.step}")

    class Listener(est.CheckpointSaverListener):
        def after_save(self, session, global_step_value):
            seen.append(f"saved {global_step_value}")

    model = line(tmp_path, config=est.RunConfig(save_checkpoints_steps=2))
    model.train(data({"x": X}, X), steps=2, hooks=[Hook()], saving_listeners=[Listener()])
    assert seen == ["begin", "saved 0", "after 1", "saved 2", "after 2"]


def test_predict_calls_hooks_for_each_batch(tmp_path):
    seen = []

    class Hook(est.SessionRunHook):
        def before_run(self, run_context):
            seen.append("before")

        def after_run(self, run_context, run_values):
            seen.append("after")

    model = line(tmp_path).train(data({"x": X}, X), steps=1)
    found = list(model.predict(data({"x": X}, passes=1), predict_keys=[], hooks=[Hook()]))
    assert seen == ["before", "after"] * 2
    assert len(found) == 8 and list(found[0]) == ["predictions"]


def test_names_to_warm_start_are_matched_from_their_start(tmp_path):
    line(tmp_path / "a").train(data({"x": X}, 2 * X), steps=5)
    for pattern, taken in (("x/weights", False), (".*x/weights", True)):
        settings = est.WarmStartSettings(str(tmp_path / "a"), pattern)
        model = line(tmp_path / f"b{taken}", warm_start_from=settings)
        model.train(data({"x": X}, 2 * X), steps=1, hooks=[est.StopAtStepHook(last_step=1)])
        value, start = (
            float(m.get_variable_value("linear/linear_model/x/weights")[0, 0]) for m in (model, line(tmp_path / "a"))
        )
        assert (value > start - 0.1) is taken


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (
            '{"cluster": {"chief": ["a:1"], "ps": ["b:1", "c:1"], "worker": ["d:1"]}, '
            '"task": {"type": "ps", "index": 1}}',
            3,
        ),
        ('{"cluster": {"chief": ["a:1"], "worker": ["d:1"]}, "task": {"type": "worker", "index": 0}}', 1),
        ('{"cluster": {"chief": ["a:1"], "worker": ["d:1"]}, "task": {"type": "evaluator", "index": 0}}', None),
    ],
)
def test_number_in_the_cluster(monkeypatch, text, number):
    monkeypatch.setenv("TF_CONFIG", text)
    config = est.RunConfig()
    assert config.global_id_in_cluster == number
    assert number is not None or (config.cluster_spec, config.num_worker_replicas) == ({}, 0)


@pytest.mark.parametrize(
    "text",
    [
        '{"task": {"type": "evaluator", "index": 0}}',
        '{"cluster": {"chief": ["a:1"]}}',
        '{"cluster": {"chief": ["a:1"]}, "task": {"type": "chief"}}',
        '{"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"model_dir": ""}',
        '{"model_dir": "b"}',
    ],
)
def test_clusters_that_are_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG"):
        est.RunConfig("a")


def test_0_saves_nothing(tmp_path):
    model = line(tmp_path, config=est.RunConfig(save_checkpoints_steps=0, save_summary_steps=0))
    model.train(data({"x": X}, X), steps=2)
    assert model.latest_checkpoint() is None


def scalar(labels, logits):
    return logits.sum()


def wide(labels, logits):
    return logits * 2


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda: est.RunConfig(keep_checkpoint_every_n_hours=0), ValueError, "above 0"),
        (lambda: est.RunConfig(""), ValueError, "empty"),
        (
            lambda: est.classifier_parse_example_spec([fc.numeric_column("x")], "y", weight_column="x"),
            ValueError,
            "weight",
        ),
        (
            lambda: est.regressor_parse_example_spec([fc.numeric_column("x")], "y", weight_column="y"),
            ValueError,
            "weight",
        ),
        (lambda: est.numpy_input_fn({"a": X}, {"a": X[:3]}, shuffle=False), ValueError, "different keys"),
        (lambda: est.numpy_input_fn({"a": X}, {}, shuffle=False), ValueError, "empty dict"),
        (lambda: est.EstimatorSpec("eval", loss=np.float32(1), evaluation_hooks=[3]), TypeError, "hooks"),
        (lambda: est.StepCounterHook(every_n_steps=1, every_n_secs=1), ValueError, "one of"),
        (
            lambda: est.RegressionHead(weight_column=fc.categorical_column_with_identity("w", 3)),
            TypeError,
            "weight_column",
        ),
        (lambda: est.RegressionHead().loss(np.zeros(7), np.zeros((8, 1))), ValueError, "one batch"),
        (lambda: est.RegressionHead().loss(np.zeros((8, 1, 1)), np.zeros((8, 1))), ValueError, "one batch"),
        (lambda: est.RegressionHead(loss_fn=scalar).loss(np.zeros(8), np.zeros((8, 1))), ValueError, "loss_fn"),
        (lambda: est.MultiLabelHead(3, loss_fn=wide).loss(np.zeros((8, 3)), np.zeros((8, 3))), ValueError, "loss_fn"),
        (
            lambda: est.LinearRegressor([fc.numeric_column("x")], warm_start_from=est.WarmStartSettings("")),
            ValueError,
            "ckpt",
        ),
    ],
)
def test_refusals(use, error, message):
    with pytest.raises(error, match=message):
        use()


def test_listeners_are_checked(tmp_path):
    with pytest.raises(TypeError, match="saving_listeners"):
        line(tmp_path).train(data({"x": X}, X), steps=1, saving_listeners=[3])


# ---- learning rates of optimizers given by name


@pytest.mark.parametrize(
    ("optimizer", "weight", "bias"),
    [("SGD", 0.0682449, 0.64), ("Ftrl", 0.11534392, 0.32177716), (None, 0.12379114, 0.2952165)],
)
def test_rates_of_linear_models_of_many_columns(tmp_path, optimizer, weight, bias):
    x = np.linspace(-1, 1, 8, dtype="float32")[:, None]
    features = {f"x{i}": x * np.float32((i + 1) / 30) for i in range(30)}
    model = est.LinearRegressor([fc.numeric_column(k) for k in features], str(tmp_path), optimizer=optimizer)
    model.train(data(features, 2 * x + 1, size=8), steps=2)
    np.testing.assert_allclose(model.get_variable_value("linear/linear_model/x29/weights"), [[weight]], rtol=1e-5)
    np.testing.assert_allclose(model.get_variable_value("linear/linear_model/bias_weights"), [bias], rtol=1e-5)


@pytest.mark.parametrize(("name", "rate"), [("Adagrad", 0.001), ("SGD", 0.01)])
def test_train_of_a_network_takes_the_optimizers_own_rate(tmp_path, name, rate):
    """As `get_optimizer_instance_v2` of tf.estimator 2.15 does for DNNClassifier and its kin."""
    kernels = []
    for i, optimizer in enumerate((name, getattr(est.optimizers, name)(learning_rate=rate))):
        config = est.RunConfig(tf_random_seed=1)
        columns = [fc.numeric_column("x")]
        model = est.DNNRegressor([2], columns, str(tmp_path / str(i)), optimizer=optimizer, config=config)
        model.train(data({"x": X}, X), steps=3)
        kernels.append(model.get_variable_value("dnn/hiddenlayer_0/kernel"))
    np.testing.assert_array_equal(*kernels)


# ---- boosted trees: by the kernels of TensorFlow 2.8, which were the last ones


def table():
    draw = np.random.RandomState(4)
    x = draw.randn(48).astype("float32").round(3)
    z = (draw.rand(48) * 10).astype("float32").round(3)
    c = np.array(["a", "b", "cc", "d"], object)[draw.randint(0, 4, 48)]
    k = draw.randint(0, 6, 48).astype("int64")
    w = (draw.rand(48) * 2 + 0.1).astype("float32").round(3)
    u = draw.randn(48, 2).astype("float32").round(3)
    y = x * 1.3 + np.sin(z) + (c == "cc") * 1.7 - (k == 2) + draw.randn(48) * 0.4
    return {"x": x, "z": z, "c": c, "k": k, "w": w, "u": u}, y.astype("float32").round(3)


TREES = {
    "a node that no split improves takes its step": (
        est.BoostedTreesRegressor,
        {"l1_regularization": 0.03},
        "xz",
        9,
        [0.36056, 0.36056, -0.02495, 0.36056, 0.00668, -0.76745],
        {"x_bucketized": 3.60861, "z_bucketized": 0.51017},
    ),
    "indicators are split one category at a time": (
        est.BoostedTreesClassifier,
        {},
        "ck",
        9,
        [-0.2913, 0.16412, -0.56133, -0.68579, -0.2913, -1.00381],
        {"c": 0.25263, "k": 0.24363},
    ),
    "pruning": (
        est.BoostedTreesClassifier,
        {"pruning_mode": "post", "tree_complexity": 0.02, "max_depth": 4},
        "xz",
        12,
        [-0.12418, -0.32557, -0.38897, -0.32557, -0.38897, -0.65276],
        {"x_bucketized": 0.60094, "z_bucketized": 0.15789},
    ),
    "the constant is found by weights": (
        est.BoostedTreesClassifier,
        {"center_bias": True, "weight_column": "w"},
        "xz",
        11,
        [-0.83386, 0.17809, -0.77908, 0.17809, -0.83386, -1.18011],
        {"x_bucketized": 0.68635, "z_bucketized": 0.34418},
    ),
    "importances of a column of two numbers": (
        est.BoostedTreesRegressor,
        {"n_trees": 2},
        "ux",
        6,
        [0.33144, 0.33144, 0.01678, 0.33144, 0.11481, -0.70607],
        {"u": 1.04109, "x_bucketized": 3.11295},
    ),
}


@pytest.mark.parametrize("name", [n if n == "pruning" else pytest.param(n, marks=pytest.mark.slow) for n in TREES])
def test_boosted_trees_after_batches(tmp_path, name):
    make, arguments, keys, steps, logits, gains = TREES[name]
    features, y = table()
    columns = {
        "x": fc.bucketized_column(fc.numeric_column("x"), [-1.0, -0.3, 0.2, 0.9]),
        "z": fc.bucketized_column(fc.numeric_column("z"), [1.0, 2.5, 4.0, 5.5, 7.0, 8.5]),
        "c": fc.indicator_column(fc.categorical_column_with_vocabulary_list("c", ["a", "b", "cc"])),
        "k": fc.indicator_column(fc.categorical_column_with_identity("k", 6)),
        "u": fc.numeric_column("u", shape=2),
    }
    arguments = {"n_trees": 3, "max_depth": 3, **arguments}
    model = make([columns[k] for k in keys], 1, str(tmp_path), **arguments)
    number = make is est.BoostedTreesRegressor
    model.train(data(features, y if number else (y > 0.6).astype("int64"), size=48))
    assert int(model.get_variable_value("global_step")) == steps
    found = [p["predictions" if number else "logits"][0] for p in model.predict(data(features, size=48, passes=1))]
    np.testing.assert_allclose(found[:6], logits, atol=1e-4)
    found = model.experimental_feature_importances()
    assert found == pytest.approx(gains, abs=1e-4)
    assert "inf" not in model.to_text()


# ---- what is accepted


STEPS = np.array([[1, 2, 0, 3], [2, 3, -1, -1], [-1, -1, -1, -1], [4, -1, -1, -1]])


def test_a_linear_model_takes_the_categories_of_all_steps(tmp_path):
    target = np.array([1.0, -1.0, 0.5, 2.0], "float32")[:, None]
    found = []
    for make in (fc.sequence_categorical_column_with_identity, fc.categorical_column_with_identity):
        model = est.LinearRegressor([make("s", 5)], str(tmp_path / make.__name__), optimizer=est.optimizers.SGD(0.1))
        model.train(data({"s": STEPS}, target), steps=2)
        found.append(model.get_variable_value("linear/linear_model/s/weights"))
    np.testing.assert_allclose(found[0], found[1])
    assert found[0].shape == (5, 1) and (found[0] != 0).all()


def test_a_network_without_hidden_layers_is_a_linear_one(tmp_path):
    model = est.DNNRegressor([], [fc.numeric_column("x")], str(tmp_path), optimizer=est.optimizers.SGD(0.1))
    model.train(data({"x": X}, X * 2), steps=30)
    assert "dnn/logits/kernel" in model.get_variable_names()
    assert float(model.get_variable_value("dnn/logits/kernel")[0, 0]) == pytest.approx(2, abs=0.05)
