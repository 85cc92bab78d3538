"""LearningRateFinder and BatchSizeFinder: what they find, and that they leave no trace."""

import math

import numpy as np
import pytest
from jax.errors import JaxRuntimeError

import lamina
from lamina import callbacks, layers, optimizers
from lamina.callbacks.snapshot import Snapshot

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 3)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5]]).astype("float32")


def network(rate=0.01, dropout=0.0):
    model = lamina.Sequential([lamina.Input((3,)), layers.Dropout(dropout), layers.Dense(1)])
    model.compile(optimizers.SGD(rate, momentum=0.5), "mse", metrics=["mae"])
    return model


def everything(model):
    return [np.asarray(v.value) for v in [*model.weights, *model.optimizer.variables]]


class Quadratic(lamina.Model):
    """One weight, loss w**2 / 2: a step of SGD multiplies the weight by (1 - rate)."""

    def __init__(self):
        super().__init__()
        self.w = self.add_weight((), "ones", name="w")

    def call(self, x):
        return x * 0 + self.w


def quadratic():
    model = Quadratic()
    model.compile(optimizers.SGD(0.1), lambda y, p: p**2 / 2)
    return model


@pytest.mark.parametrize("mode", ["exponential", "linear"])
def test_rates_and_losses_are_those_of_the_formula(mode):
    model = quadratic()
    finder = callbacks.LearningRateFinder(1e-3, 1.0, steps=12, mode=mode, smoothing=0.5)
    model.fit(X, Y, batch_size=32, epochs=6, verbose=0, callbacks=[finder])
    rates = np.geomspace(1e-3, 1, 12) if mode == "exponential" else np.linspace(1e-3, 1, 12)
    np.testing.assert_allclose(finder.learning_rates, rates)
    w, losses, smooth, mean = 1.0, [], [], 0.0
    for i, rate in enumerate(rates):
        losses.append(w**2 / 2)
        w *= 1 - rate
        mean = 0.5 * mean + 0.5 * losses[-1]
        smooth.append(mean / (1 - 0.5 ** (i + 1)))
    np.testing.assert_allclose(finder.losses, losses, rtol=2e-5)
    np.testing.assert_allclose(finder.smoothed, smooth, rtol=2e-5)
    assert float(model.w.value) == 1.0


def test_stops_when_the_loss_diverges():
    model = quadratic()
    finder = callbacks.LearningRateFinder(1e-3, 1e6, steps=200, smoothing=0.0)
    model.fit(X, Y, batch_size=8, epochs=100, verbose=0, callbacks=[finder])
    assert len(finder.losses) < 150
    assert finder.losses[-1] > 4 * min(finder.losses) and finder.losses[-2] <= 4 * min(finder.losses)
    assert 1e-2 < finder.suggestion() < 2  # above 2 the weight grows


def test_stops_at_nan():
    model = quadratic()
    finder = callbacks.LearningRateFinder(1e10, 1e30, steps=50, stop_factor=None)
    model.fit(X, Y, batch_size=8, epochs=10, verbose=0, callbacks=[finder])
    assert len(finder.losses) < 50 and not math.isfinite(finder.smoothed[-1])


def test_finder_leaves_no_trace():
    model, other = network(dropout=0.3), network(dropout=0.3)
    other.set_weights(model.get_weights())
    for one in (model, other):
        one.__dict__["_seed_value"] = 7
        one.fit(X, Y, epochs=2, verbose=0)
    before = everything(model)
    finder = callbacks.LearningRateFinder(1e-4, 10, steps=20)
    model.fit(X, Y, batch_size=16, epochs=10, verbose=0, callbacks=[finder])
    for a, b in zip(everything(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    first = model.fit(X, Y, epochs=2, verbose=0).history["loss"]
    assert first == other.fit(X, Y, epochs=2, verbose=0).history["loss"]  # dropout included


def test_finder_puts_the_model_back_after_an_error():
    model = network()
    before = model.get_weights()

    class Fail(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3:
                raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        model.fit(X, Y, batch_size=8, verbose=0, callbacks=[callbacks.LearningRateFinder(0.1, 1, 8), Fail()])
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_fewer_batches_than_steps():
    finder = callbacks.LearningRateFinder(1e-4, 1e-2, steps=100)
    network().fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=[finder])
    assert len(finder.losses) == 16 and finder.learning_rates[-1] == pytest.approx(1e-2)
    batches = iter([(X[:8], Y[:8])] * 5)
    finder = callbacks.LearningRateFinder(1e-4, 1e-2, steps=10)
    with pytest.warns(UserWarning, match="fit ended after 5 of 10 batches"):
        network().fit(batches, verbose=0, callbacks=[finder])


def test_plot(tmp_path):
    finder = callbacks.LearningRateFinder(1e-4, 100, steps=40)
    network().fit(X, Y, batch_size=16, epochs=10, verbose=0, callbacks=[finder])
    figure = finder.plot(tmp_path / "rates.png")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and (tmp_path / "rates.png").read_bytes()[:4] == b"\x89PNG"
    assert list(axes.lines[1].get_xdata()) == finder.learning_rates
    assert axes.lines[2].get_xdata()[0] == finder.suggestion()


def test_finder_errors():
    with pytest.raises(ValueError, match="min_learning_rate must be above 0 and below max_learning_rate"):
        callbacks.LearningRateFinder(1, 0.1)
    with pytest.raises(ValueError, match="too few for a suggestion"):
        callbacks.LearningRateFinder().suggestion()
    model = network()
    model.compile(optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)), "mse")
    with pytest.raises(ValueError, match="learning rate of .* cannot be set"):
        model.fit(X, Y, verbose=0, callbacks=[callbacks.LearningRateFinder()])


def test_a_loss_that_does_not_fall():
    finder = callbacks.LearningRateFinder()
    finder.learning_rates, finder.smoothed = list(np.geomspace(1e-3, 1, 20)), list(np.linspace(1, 2, 20))
    finder.losses = finder.smoothed
    with pytest.raises(ValueError, match="did not fall"):
        finder.suggestion()
    assert len(finder.plot().axes[0].lines) == 2


def test_snapshot_keeps_what_training_donates():
    model = network()
    model.optimizer.build(model.trainable_variables)
    before = everything(model)
    snapshot = Snapshot(model)
    for _ in range(2):
        model.fit(X, Y, verbose=0)
        snapshot.restore()
        for a, b in zip(everything(model), before, strict=True):
            np.testing.assert_array_equal(a, b)


# ---- batch sizes


def test_batch_sizes_double(capsys):
    model = network()
    model.fit(X, Y, verbose=0)
    before, history = everything(model), model.history
    finder = callbacks.BatchSizeFinder(start=4, steps=2, min_gain=0.0, verbose=1)
    times = iter(np.cumsum([0, 1, 1, 1] * 9))  # each epoch takes a second, whatever the size
    import lamina.callbacks.batch_size_finder as module

    old, module.time = module.time, type("clock", (), {"perf_counter": staticmethod(lambda: float(next(times)))})
    try:
        assert finder.find(model, X, Y) == 64
    finally:
        module.time = old
    assert [t.batch_size for t in finder.trials] == [4, 8, 16, 32, 64]
    assert [t.samples_per_second for t in finder.trials] == [8, 16, 32, 64, 128]
    assert finder.trials[0].seconds_per_step == 0.5
    assert capsys.readouterr().out.split()[-3:] == ["64", "500.000", "128"]
    for a, b in zip(everything(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.history is history


def test_stops_when_the_speed_no_longer_grows(monkeypatch):
    speeds = iter([10.0, 19.0, 19.5, 100.0])

    def trial(self, model, data, size):
        speed = next(speeds)
        return callbacks.batch_size_finder.Trial(size, size / speed, speed, True)

    monkeypatch.setattr(callbacks.BatchSizeFinder, "_try", trial)
    finder = callbacks.BatchSizeFinder(start=2)
    assert finder.find(network(), X, Y) == 8
    assert [t.batch_size for t in finder.trials] == [2, 4, 8]


@pytest.mark.parametrize("error", [MemoryError(), JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")])
def test_stops_when_memory_ends(error):
    class Hungry(layers.Layer):
        def call(self, x):
            if x.shape[0] > 16:
                raise error
            return x

    class Net(lamina.Model):
        def __init__(self):
            super().__init__()
            self.inner, self.hungry = layers.Dense(1), Hungry()

        def call(self, x):
            return self.inner(self.hungry(x))

    model = Net()
    model.compile("sgd", "mse")
    finder = callbacks.BatchSizeFinder(start=16, steps=2)
    assert finder.find(model, X, Y) == 16
    assert [t.fits for t in finder.trials] == [True, False]
    assert finder.table().splitlines()[-1].split() == ["32", "out", "of", "memory"]
    with pytest.raises(ValueError, match="memory is not enough for start=32"):
        callbacks.BatchSizeFinder(start=32).find(model, X, Y)


def test_other_errors_are_raised():
    class Net(lamina.Model):
        def call(self, x):
            raise JaxRuntimeError("INTERNAL: something else")

    model = Net()
    model.compile("sgd", "mse")
    with pytest.raises(JaxRuntimeError, match="something else"):
        callbacks.BatchSizeFinder().find(model, X, Y)


def test_batch_size_finder_errors():
    with pytest.raises(ValueError, match="start=100 is more than there are samples, 64"):
        callbacks.BatchSizeFinder(100).find(network(), X, Y)
    with pytest.raises(ValueError, match="Leave it out of callbacks="):
        network().fit(X, Y, verbose=0, callbacks=[callbacks.BatchSizeFinder()])
