"""Estimator: training, going on, evaluating, predicting, checkpoints, and model_fns of several kinds."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from lamina import estimators as est
from lamina import layers
from lamina.datasets import Dataset

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5]] + 1).astype("float32")


def data(batch=8, repeat=-1, labels=True):
    return lambda: Dataset.from_tensor_slices(({"x": X}, Y) if labels else {"x": X}).batch(batch).repeat(repeat)


def linear_fn(features, labels, mode, params):
    w = est.get_variable("w", (3, 1), initializer="zeros")
    b = est.get_variable("b", (1,), initializer="zeros")
    y = features["x"] @ w + b
    if mode == est.ModeKeys.PREDICT:
        return est.EstimatorSpec(mode, predictions={"y": y, "twice": 2 * y})
    loss = ((y - labels) ** 2).mean()
    metrics = {"mae": est.metrics.mean_absolute_error(labels, y), "plain": loss}
    if mode == est.ModeKeys.EVAL:
        return est.EstimatorSpec(mode, loss=loss, eval_metric_ops=metrics)
    optimizer = est.optimizers.SGD(params["rate"])
    return est.EstimatorSpec(mode, loss=loss, train_op=optimizer.minimize(loss))


def by_hand(steps, rate=0.1, batch=8):
    """The same in float64."""
    w, b = np.zeros((3, 1)), np.zeros(1)
    for i in range(steps):
        rows = slice(batch * (i % 3), batch * (i % 3) + batch)
        x, y = X[rows].astype(float), Y[rows].astype(float)
        error = x @ w + b - y
        w, b = w - rate * 2 * x.T @ error / batch, b - rate * 2 * error.mean(0)
    return w, b


def make(folder, **config):
    return est.Estimator(linear_fn, config=est.RunConfig(str(folder), **config), params={"rate": 0.1})


def test_training_equals_the_loop_by_hand(tmp_path):
    e = make(tmp_path).train(data(), steps=7)
    w, b = by_hand(7)
    np.testing.assert_allclose(e.get_variable_value("w"), w, rtol=1e-4)
    np.testing.assert_allclose(e.get_variable_value("b"), b, rtol=1e-4)
    assert int(e.get_variable_value("global_step")) == 7
    found = e.evaluate(data(repeat=1))
    error = X @ w + b - Y
    assert found["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert found["loss"] == pytest.approx((error**2).mean(), rel=1e-4) == found["plain"]
    assert "mae" in str(found) and found["global_step"] == 7
    predicted = list(e.predict(data(repeat=1, labels=False), predict_keys="y"))
    np.testing.assert_allclose([p["y"] for p in predicted], X @ w + b, atol=1e-4)
    assert set(predicted[0]) == {"y"}


def test_goes_on_where_it_stopped(tmp_path):
    make(tmp_path).train(data(), steps=3)
    e = make(tmp_path).train(data(batch=8), max_steps=5)
    assert int(e.get_variable_value("global_step")) == 5
    assert os.path.basename(e.latest_checkpoint()) == "model.ckpt-5"
    assert e.train(data(), max_steps=5) is e  # nothing left to do
    names = set(os.listdir(tmp_path))
    assert "checkpoint" in names and any("tfevents" in n for n in names)
    e.evaluate(data(repeat=1))
    e.evaluate(data(repeat=1), name="other")
    assert os.listdir(e.eval_dir()) and os.listdir(tmp_path / "eval_other")


def test_checkpoint_path_looks_back(tmp_path):
    e = make(tmp_path, save_checkpoints_steps=2).train(data(), steps=6)
    old = e.evaluate(data(repeat=1), checkpoint_path=str(tmp_path / "model.ckpt-2"))
    assert old["global_step"] == 2 and old["loss"] > e.evaluate(data(repeat=1))["loss"]
    assert next(e.predict(data(repeat=1, labels=False), checkpoint_path=str(tmp_path / "model.ckpt-0")))["y"] == 0


def layered_fn(features, labels, mode):
    x = layers.Dense(4, activation="relu")(features["x"])
    x = layers.BatchNormalization()(x, training=mode == est.ModeKeys.TRAIN)
    x = layers.Dropout(0.1)(x, training=mode == est.ModeKeys.TRAIN)
    logits = layers.Dense(1)(x)
    head = est.RegressionHead()
    return head.create_estimator_spec(features, mode, logits, labels, est.optimizers.Adam(0.01))


def test_layers_find_their_weights_again(tmp_path):
    e = est.Estimator(layered_fn, str(tmp_path), est.RunConfig(tf_random_seed=1)).train(data(), steps=60)
    names = [n for n in e.get_variable_names() if not n.startswith("training/")]
    assert names == [
        "batch_normalization/beta",
        "batch_normalization/gamma",
        "batch_normalization/moving_mean",
        "batch_normalization/moving_variance",
        "dense/bias",
        "dense/kernel",
        "dense_1/bias",
        "dense_1/kernel",
        "global_step",
    ]
    assert (e.get_variable_value("batch_normalization/moving_mean") != 0).any()
    before = e.evaluate(data(repeat=1))["loss"]
    again = est.Estimator(layered_fn, str(tmp_path))
    assert again.evaluate(data(repeat=1))["loss"] == pytest.approx(before, rel=1e-6)
    assert again.train(data(), steps=60).evaluate(data(repeat=1))["loss"] < before


def test_two_optimizers_and_two_losses(tmp_path):
    def model_fn(features, labels, mode):
        a = est.get_variable("one/a", (), initializer="zeros")
        b = est.get_variable("two/b", (), initializer="zeros")
        first, second = (a.value - 3) ** 2, (b.value - 5) ** 2
        ops = est.group(
            est.optimizers.SGD(0.1).minimize(first, ["one/a"]),
            est.optimizers.SGD(0.5).minimize(second, est.trainable_variables("two/")),
        )
        return est.EstimatorSpec(mode, loss=first + second, train_op=ops)

    e = est.Estimator(model_fn, str(tmp_path)).train(data(), steps=1)
    assert e.get_variable_value("one/a") == pytest.approx(0.6)
    assert e.get_variable_value("two/b") == pytest.approx(5.0)


def test_assignments_and_the_global_step(tmp_path):
    def model_fn(features, labels, mode):
        total = est.get_variable("total", (), initializer="zeros", trainable=False)
        total.assign(total.value + est.get_global_step())
        return est.EstimatorSpec(mode, loss=total.value, train_op=est.no_op())

    e = est.Estimator(model_fn, str(tmp_path)).train(data(), steps=5)
    assert e.get_variable_value("total") == 0 + 1 + 2 + 3 + 4


def test_columns_and_heads_in_params_work_on_the_host(tmp_path):
    fc = est.feature_column
    color = fc.embedding_column(fc.categorical_column_with_vocabulary_list("color", ["red", "blue"]), 2)

    def model_fn(features, labels, mode, params):
        x = fc.input_layer(features, params["columns"])
        logits = layers.Dense(1)(x)
        return params["head"].create_estimator_spec(features, mode, logits, labels, est.optimizers.SGD(0.5))

    params = {"columns": [color], "head": est.BinaryClassHead(label_vocabulary=["no", "yes"])}
    table = ({"color": np.array(["red", "blue"] * 8)}, np.array(["yes", "no"] * 8))
    e = est.Estimator(model_fn, str(tmp_path), est.RunConfig(tf_random_seed=0), params)
    e.train(lambda: Dataset.from_tensor_slices(table).batch(8).repeat(), steps=50)
    assert e.evaluate(lambda: Dataset.from_tensor_slices(table).batch(8))["accuracy"] == 1
    found = [p["classes"][0] for p in e.predict(lambda: Dataset.from_tensor_slices(table[0]).batch(8))]
    assert found == [b"yes", b"no"] * 8


def test_no_folder_means_a_temporary_one():
    e = est.Estimator(linear_fn, params={"rate": 0.1}).train(data(), steps=1)
    assert os.path.isdir(e.model_dir) and e.latest_checkpoint().startswith(e.model_dir)


KILLED = """
import os, sys, time
import numpy as np
from lamina import estimators as est
from lamina.datasets import Dataset

class Dies(est.SessionRunHook):
    def after_run(self, context, values):
        if context.step == 13:
            time.sleep(1)  # the checkpoint of step 10 is being written beside
            os._exit(9)

x = np.arange(8, dtype="float32")[:, None]
column = est.feature_column.numeric_column("x")
e = est.LinearRegressor([column], sys.argv[1], config=est.RunConfig(save_checkpoints_steps=5))
hooks = [Dies()] if sys.argv[2] == "die" else []
e.train(lambda: Dataset.from_tensor_slices(({"x": x}, 2 * x)).batch(4).repeat(), hooks, max_steps=20)
print(int(e.get_variable_value("global_step")), float(e.get_variable_value("linear/linear_model/x/weights")[0, 0]))
"""


def test_resumes_after_a_kill(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(KILLED))

    def run(folder, how):
        return subprocess.run([sys.executable, str(script), str(folder), how], capture_output=True, text=True)

    assert run(tmp_path / "killed", "die").returncode == 9
    assert (tmp_path / "killed" / "model.ckpt-10.index").exists()
    whole, resumed = run(tmp_path / "whole", "live"), run(tmp_path / "killed", "live")
    assert whole.returncode == resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == whole.stdout  # 10 steps are 5 passes, so the data is in the same place
