"""fit, evaluate, predict: what a run does to a model, and what may happen in the middle of one."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

from lamina import layers, losses, metrics, optimizers
from lamina.callbacks import Callback
from lamina.models import Model, Sequential
from lamina.training.py_dataset import PyDataset


def data(n=64, d=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype("float32")
    return x, (x @ np.arange(1, d + 1, dtype="float32"))[:, None]


def linear(d=4, **kwargs):
    model = Sequential([layers.Input((d,)), layers.Dense(1, kernel_initializer="zeros")])
    kwargs.setdefault("optimizer", optimizers.SGD(0.1))
    model.compile(loss="mse", **kwargs)
    return model


def by_hand(x, y, w, b, rate, batch):
    """Plain gradient descent on the mean squared error, in float64."""
    history = []
    for start in range(0, len(x), batch):
        xb, yb = x[start : start + batch].astype("float64"), y[start : start + batch].astype("float64")
        error = xb @ w + b - yb
        history.append((len(xb), (error**2).mean()))
        w = w - rate * 2 * xb.T @ error / len(xb)
        b = b - rate * 2 * error.mean(0)
    loss = sum(n * v for n, v in history) / sum(n for n, _ in history)
    return w, b, loss


def test_fit_equals_gradient_descent_by_hand():
    x, y = data(70)  # 70 = 4 batches of 16 and a short one
    model = linear()
    history = model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    w, b = np.zeros((4, 1)), np.zeros(1)
    expected = []
    for _ in range(2):
        w, b, loss = by_hand(x, y, w, b, 0.1, 16)
        expected.append(loss)
    np.testing.assert_allclose(history.history["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-4)
    np.testing.assert_allclose(model.get_weights()[1], b, rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 3, "auto"])
def test_steps_per_execution_changes_nothing_but_speed(steps):
    x, y = data(70)
    model = linear(steps_per_execution=steps, metrics=["mae"])
    history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history
    reference = linear(run_eagerly=True, metrics=["mae"])
    expected = reference.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(history["mae"], expected["mae"], rtol=1e-5)


def programs(model):
    return [p for p in model._programs.values() if hasattr(p, "compilations")]


def test_compiles_once():
    x, y = data(64)
    model = linear()
    for rows in (16, 48, 64):
        model.fit(x[:rows], y[:rows], batch_size=16, epochs=2, verbose=0)
    model.set_weights(model.get_weights())
    model.fit(x, y, batch_size=16, verbose=0)
    assert [p.compilations for p in programs(model)] == [1]
    model.fit(x[:40], y[:40], batch_size=16, verbose=0)  # a short last batch adds one
    assert [p.compilations for p in programs(model)] == [1, 1]


def pandas_frame(x, y):
    return pd.DataFrame(x), pd.Series(y[:, 0])


@pytest.mark.parametrize(
    "convert",
    [
        lambda x, y: (x, y),
        lambda x, y: (jnp.asarray(x), jnp.asarray(y)),
        lambda x, y: (x.tolist(), y.tolist()),
        pandas_frame,
        lambda x, y: (x.astype("float64"), y.astype("float64")),
        lambda x, y: ([x], [y]),
    ],
    ids=["numpy", "jax", "lists", "pandas", "float64", "singletons"],
)
def test_arrays_of_every_kind_train_alike(convert):
    x, y = data()
    expected = linear().fit(x, y, batch_size=16, shuffle=False, verbose=0).history["loss"]
    got = linear().fit(*convert(x, y), batch_size=16, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


class Numbered(PyDataset):
    def __init__(self, x, y, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y = x, y

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return self.x[i * 16 : i * 16 + 16], self.y[i * 16 : i * 16 + 16]


@pytest.mark.parametrize("kind", ["list", "generator", "function", "PyDataset", "threads"])
def test_batches_of_every_kind_train_alike(kind):
    x, y = data()
    batches = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 64, 16)]
    given = {
        "list": iter(batches),
        "generator": (b for b in batches),
        "function": lambda: iter(batches),
        "PyDataset": Numbered(x, y),
        "threads": Numbered(x, y, workers=3),
    }[kind]
    expected = linear().fit(x, y, batch_size=16, shuffle=False, verbose=0).history["loss"]
    got = linear().fit(given, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_sample_weight_and_class_weight_weigh():
    x, y = data(8)
    labels = np.array([0, 1] * 4)
    model = linear()
    weights = np.where(labels == 1, 3.0, 1.0)
    a = model.evaluate(x, y, sample_weight=weights, verbose=0)
    np.testing.assert_allclose(a, (weights * y[:, 0].astype("float64") ** 2).mean(), rtol=1e-5)
    classifier = Sequential([layers.Input((4,)), layers.Dense(2, kernel_initializer="zeros")])
    classifier.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    loss = classifier.fit(x, labels, class_weight={0: 1.0, 1: 3.0}, batch_size=8, verbose=0).history["loss"][0]
    np.testing.assert_allclose(loss, 2 * np.log(2), rtol=1e-5)


def test_validation_takes_the_last_rows_and_leaves_training_metrics_alone():
    x, y = data(50)
    model = linear(metrics=["mae"])
    split = model.fit(x, y, batch_size=10, validation_split=0.2, shuffle=False, verbose=0).history
    other = linear(metrics=["mae"])
    given = other.fit(x[:40], y[:40], batch_size=10, validation_data=(x[40:], y[40:]), shuffle=False, verbose=0).history
    assert split == given
    np.testing.assert_allclose(split["val_loss"][0], other.evaluate(x[40:], y[40:], verbose=0)[0], rtol=1e-6)


def test_any_optax_transformation_is_an_optimizer():
    x, y = data()
    model = linear(optimizer=optax.sgd(0.1))
    expected = linear().fit(x, y, batch_size=16, shuffle=False, verbose=0).history["loss"]
    got = model.fit(x, y, batch_size=16, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


class Live(Callback):
    """Reads and writes weights and the learning rate after each batch."""

    def on_train_batch_end(self, batch, logs=None):
        kernel = self.model.layers[0].kernel
        self.seen.append(kernel.numpy().copy())
        kernel.assign(kernel.value * 0)
        self.model.optimizer.learning_rate = 0.5

    def on_train_begin(self, logs=None):
        self.seen = []


def test_batch_hooks_see_and_change_live_weights_and_learning_rate():
    x, y = data()
    model, live = linear(), Live()
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0, callbacks=[live])
    b = np.zeros(1)
    for i, seen in enumerate(live.seen):
        rows = slice(i * 16, i * 16 + 16)
        w, b, _ = by_hand(x[rows], y[rows], np.zeros((4, 1)), b, 0.1 if i == 0 else 0.5, 16)
        np.testing.assert_allclose(seen, w, rtol=1e-4, atol=1e-6)
    assert len(live.seen) == 4
    assert not model.get_weights()[0].any()
    assert float(model.optimizer.learning_rate) == 0.5


class Losses(Callback):
    needs_live_state = False

    def on_train_begin(self, logs=None):
        self.losses, self.batches = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(batch)
        self.losses.append(logs["loss"])


def test_hooks_that_use_logs_alone_get_every_batch():
    x, y = data(70)
    model, log, reference = linear(), Losses(), Losses()
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[log])
    reference.needs_live_state = True
    linear().fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[reference])
    assert log.batches == list(range(9)) * 1 or log.batches == list(range(9)) + list(range(9))
    np.testing.assert_allclose(log.losses, reference.losses, rtol=1e-5)


class Stop(Exception):
    pass


class RaiseAt(Callback):
    def __init__(self, batch, error):
        super().__init__()
        self.batch, self.error = batch, error

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            raise self.error


@pytest.mark.parametrize("error", [Stop("stop"), KeyboardInterrupt()], ids=["exception", "interrupt"])
def test_an_error_in_the_middle_leaves_the_latest_weights(error):
    x, y = data()
    model = linear()
    with pytest.raises(type(error)):
        model.fit(x, y, batch_size=16, shuffle=False, verbose=0, callbacks=[RaiseAt(1, error)])
    w, b, _ = by_hand(x[:32], y[:32], np.zeros((4, 1)), np.zeros(1), 0.1, 16)
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-4)
    model.fit(x, y, batch_size=16, verbose=0)
    assert np.isfinite(model.predict(x, verbose=0)).all()


CONTROL_C = """
import os, signal, threading, time
import numpy as np
from lamina import layers, optimizers
from lamina.models import Sequential

x = np.random.default_rng(0).standard_normal((4096, 4)).astype("float32")
model = Sequential([layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(1)])
model.compile(optimizers.Adam(0.01), loss="mse")
model.fit(x, x[:, :1], verbose=0)
for _ in range(20):
    threading.Timer(0.02 + np.random.rand() * 0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        model.fit(x, x[:, :1], epochs=100000, verbose=0)
    except KeyboardInterrupt:
        pass
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert np.isfinite(model.predict(x[:3], verbose=0)).all()
print("usable", int(model.optimizer.iterations) > 0)
"""


def test_control_c_at_any_moment_leaves_a_usable_model():
    result = subprocess.run([sys.executable, "-c", CONTROL_C], capture_output=True, text=True, timeout=120)
    assert result.stdout.strip() == "usable True", result.stderr[-2000:]


def test_two_models_train_in_two_threads():
    x, y = data(256)
    results, expected = {}, {}

    def train(name, rate, into):
        model = linear(optimizer=optimizers.SGD(rate))
        into[name] = model.fit(x, y, batch_size=8, epochs=5, shuffle=False, verbose=0).history["loss"]

    threads = [threading.Thread(target=train, args=(r, r, results)) for r in (0.01, 0.02)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for rate in (0.01, 0.02):
        train(rate, rate, expected)
    assert results == expected


def test_one_model_in_two_fits_at_once_is_refused():
    x, y = data()

    class Nested(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.fit(x, y, verbose=0)

    with pytest.raises(RuntimeError, match="another fit that is still running"):
        linear().fit(x, y, verbose=0, callbacks=[Nested()])


def test_evaluate_and_predict_inside_fit_see_live_weights():
    x, y = data()

    class Look(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.loss = self.model.evaluate(x, y, verbose=0)
            self.outputs = self.model.predict(x, verbose=0)

    look, model = Look(), linear()
    history = model.fit(x, y, batch_size=64, epochs=3, verbose=0, callbacks=[look]).history["loss"]
    np.testing.assert_allclose(look.loss, model.evaluate(x, y, verbose=0), rtol=1e-6)
    np.testing.assert_allclose(look.outputs, model.predict(x, verbose=0), rtol=1e-6)
    assert len(history) == 3 and look.loss < history[-1]


def test_nan_in_the_data_shows_in_the_loss_and_does_not_hang():
    x, y = data()
    x[3] = np.nan
    history = linear().fit(x, y, epochs=2, verbose=0).history["loss"]
    assert np.isnan(history).all()


def test_frozen_layers_stay_and_batch_statistics_move():
    model = Sequential(
        [layers.Input((4,)), layers.Dense(3, name="frozen"), layers.BatchNormalization(), layers.Dense(1)]
    )
    model.get_layer("frozen").trainable = False
    model.compile("adam", "mse")
    before = {v.path: v.numpy() for v in model.weights}
    x, y = data()
    model.fit(x, y, verbose=0)
    changed = {v.path: not np.array_equal(v.numpy(), before[v.path]) for v in model.weights}
    assert not changed["frozen/kernel"] and not changed["frozen/bias"]
    assert changed["batch_normalization/moving_mean"] and changed["dense/kernel"]


def test_same_seed_same_run_bit_for_bit():
    from lamina.state.rng import set_random_seed

    def run():
        set_random_seed(5)
        model = Sequential(
            [layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dropout(0.5), layers.Dense(1)]
        )
        model.compile("adam", "mse")
        x, y = data()
        history = model.fit(x, y, batch_size=16, epochs=3, verbose=0).history["loss"]
        return history, model.get_weights()

    (h1, w1), (h2, w2) = run(), run()
    assert h1 == h2 and all(np.array_equal(a, b) for a, b in zip(w1, w2, strict=True))


class OwnStep(Model):
    """train_step written out, as with Keras on JAX."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1, kernel_initializer="zeros")
        self.tracker = metrics.Mean(name="own_loss")

    def call(self, x):
        return self.dense(x)

    def train_step(self, state, data):
        tv, ntv, ov, mv = state
        x, y, _ = data

        def loss_of(tv):
            pred, new = self.stateless_call(tv, ntv, x, training=True)
            return jnp.mean((pred - y) ** 2), new

        (loss, ntv), grads = jax.value_and_grad(loss_of, has_aux=True)(tv)
        tv, ov = self.optimizer.stateless_apply(ov, grads, tv)
        index = [v is self.tracker.variables[0] for v in self.metrics_variables].index(True)
        n = len(self.tracker.variables)
        new = self.tracker.stateless_update_state(mv[index : index + n], loss)
        logs = {"own_loss": self.tracker.stateless_result(new)}
        return logs, (tv, ntv, ov, [*mv[:index], *new, *mv[index + n :]])


def test_an_own_train_step_trains():
    x, y = data()
    model = OwnStep()
    model.compile(optimizers.SGD(0.1))
    history = model.fit(x, y, batch_size=16, shuffle=False, verbose=0).history
    w, _, _ = by_hand(x, y, np.zeros((4, 1)), np.zeros(1), 0.1, 16)
    assert list(history) == ["own_loss"]
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-4)


def test_a_subclassed_model_with_own_loss_trains():
    class Penalised(Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            self.add_loss(0.5)
            return self.dense(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return jnp.mean(jnp.abs(y - y_pred)) + sum(self.losses)

    x, y = data()
    model = Penalised()
    model.compile("sgd")
    loss = model.fit(x, y, batch_size=64, verbose=0).history["loss"][0]
    assert loss > 0.5
    direct = np.abs(y - model.predict(x, verbose=0)).mean() + 0.5
    np.testing.assert_allclose(model.evaluate(x, y, batch_size=64, verbose=0), direct, rtol=1e-5)


def test_custom_training_by_apply():
    x, y = data()
    model = Sequential(
        [
            layers.Input((4,)),
            layers.Dense(3, activation="tanh"),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(1),
        ]
    )
    params, state = model.params, model.state
    before = {k: np.array(v) for k, v in params.items()}

    @jax.jit
    def step(params, state, rng):
        def loss_of(params):
            out, new = model.apply(params, state, x, training=True, rng=rng)
            return jnp.mean((out - y) ** 2), new

        (loss, new), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
        return loss, jax.tree.map(lambda p, g: p - 0.05 * g, params, grads), new

    first = None
    for i in range(50):
        loss, params, state = step(params, state, jax.random.key(i))
        first = float(loss) if first is None else first
    assert float(loss) < 0.7 * first
    assert all(np.array_equal(v.numpy(), before[v.path]) for v in model.trainable_variables)
    model.assign_values(params, state)
    out, _ = model.apply(params, state, x)
    np.testing.assert_allclose(model.predict(x, verbose=0), out, rtol=1e-4, atol=1e-5)
    per_sample = jax.vmap(lambda one: model.apply(params, state, one[None])[0][0])(x)
    np.testing.assert_allclose(per_sample, out, rtol=1e-4, atol=1e-5)


MEMORY = """
import resource, sys
import numpy as np
from lamina import layers
from lamina.models import Sequential
rows = int(sys.argv[1])
x = np.ones((rows, 256), np.float32)
y = np.ones((rows, 1), np.float32)
model = Sequential([layers.Input((256,)), layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(x[:2048], y[:2048], batch_size=1024, verbose=0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model.fit(x, y, batch_size=1024, verbose=0)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_fit_needs_no_copy_of_the_data():
    result = subprocess.run([sys.executable, "-c", MEMORY, str(2**18)], capture_output=True, text=True, timeout=120)
    extra = float(result.stdout)  # MB; the data has 256
    assert extra < 128, result.stderr


def test_mixed_precision_keeps_float32_weights():
    x, y = data()
    model = Sequential([layers.Input((4,)), layers.Dense(8, dtype="mixed_bfloat16"), layers.Dense(1, dtype="float32")])
    model.compile("adam", "mse")
    history = model.fit(x, y, epochs=30, verbose=0).history["loss"]
    assert model.layers[0].kernel.dtype == "float32" and model.layers[0].compute_dtype == "bfloat16"
    assert history[-1] < history[0]


def test_predict_of_several_outputs_and_odd_batches():
    a, b = layers.Input((2,), name="a"), layers.Input((2,), name="b")
    both = layers.Add()([a, b])
    model = Model({"a": a, "b": b}, {"sum": both, "first": layers.Identity()(a)})
    x = {"a": np.arange(14.0).reshape(7, 2), "b": np.ones((7, 2))}
    out = model.predict(x, batch_size=3, verbose=0)
    np.testing.assert_allclose(out["sum"], x["a"] + 1)
    np.testing.assert_allclose(out["first"], x["a"])


def test_programs_are_freed_with_the_model():
    import weakref

    x, y = data()
    model = linear()
    model.fit(x, y, verbose=0)
    ref = weakref.ref(model)
    del model
    gc.collect()
    assert ref() is None


def test_signal_handler_of_the_user_is_left_in_charge():
    seen = []
    previous = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        x, y = data()

        class Kill(Callback):
            def on_epoch_begin(self, epoch, logs=None):
                os.kill(os.getpid(), signal.SIGINT)

        linear().fit(x, y, verbose=0, callbacks=[Kill()])
    finally:
        signal.signal(signal.SIGINT, previous)
    assert seen


def test_fit_says_when_the_input_is_the_bottleneck():
    x, y = data()

    def slow():
        for i in range(8):
            time.sleep(0.3)
            yield x[i * 8 : i * 8 + 8], y[i * 8 : i * 8 + 8]

    with pytest.warns(UserWarning, match="the input is the bottleneck"):
        linear().fit(slow, verbose=0)
