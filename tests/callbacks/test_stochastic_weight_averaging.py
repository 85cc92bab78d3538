import math

import numpy as np
import pytest

import lamina
from lamina import callbacks, layers, optimizers
from lamina.callbacks.stochastic_weight_averaging import update_batch_normalization

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 3)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5]] + 0.1 * RNG.normal(size=(48, 1))).astype("float32")


def network(normalize=False):
    inner = [layers.BatchNormalization(name="norm")] if normalize else []
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(4, name="hidden"), *inner, layers.Dense(1, name="out")])
    model.compile(optimizers.SGD(0.02, momentum=0.5), "mse")
    return model


class Weights(callbacks.Callback):
    """Keeps the weights and the learning rate of each epoch."""

    def __init__(self):
        super().__init__()
        self.kept, self.rates = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append([np.asarray(v.value) for v in self.model.trainable_variables])
        self.rates.append(float(np.asarray(self.model.optimizer.learning_rate)))


def run(swa, epochs=8, model=None, **kwargs):
    model = model or network()
    weights = Weights()
    model.fit(X, Y, batch_size=16, epochs=epochs, verbose=0, callbacks=[swa, weights], **kwargs)
    return model, weights


@pytest.mark.parametrize(
    "start, frequency, counted", [(5, 1, [5, 6, 7]), (0.5, 1, [4, 5, 6, 7]), (2, 3, [2, 5]), (0, 1, range(8))]
)
def test_weights_are_the_mean(start, frequency, counted):
    swa = callbacks.StochasticWeightAveraging(start, frequency=frequency)
    model, weights = run(swa)
    assert swa.count == len(counted)
    for i, variable in enumerate(model.trainable_variables):
        mean = np.mean([weights.kept[e][i].astype(np.float64) for e in counted], axis=0)
        np.testing.assert_allclose(np.asarray(variable.value), mean, rtol=1e-7)
        assert not np.array_equal(np.asarray(variable.value), weights.kept[-1][i])


def test_validation_sees_the_weights_in_training():
    plain, other = network(), network()
    other.set_weights(plain.get_weights())
    lamina.utils.set_random_seed(1)
    first = plain.fit(X, Y, epochs=4, validation_data=(X, Y), verbose=0).history
    lamina.utils.set_random_seed(1)
    swa = callbacks.StochasticWeightAveraging(1)
    second = other.fit(X, Y, epochs=4, validation_data=(X, Y), verbose=0, callbacks=[swa]).history
    assert first["val_loss"] == second["val_loss"]
    assert plain.evaluate(X, Y, verbose=0) != other.evaluate(X, Y, verbose=0)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_learning_rate(strategy):
    swa = callbacks.StochasticWeightAveraging(2, 0.1, annealing_epochs=4, annealing_strategy=strategy)
    _, weights = run(swa)
    expected = []
    for epoch in range(8):
        part = min(max(epoch - 1, 0) / 4, 1)
        part = (1 - math.cos(math.pi * part)) / 2 if strategy == "cos" else part
        expected.append(0.02 + part * (0.1 - 0.02))
    np.testing.assert_allclose(weights.rates, expected, rtol=1e-6)
    at_once = callbacks.StochasticWeightAveraging(6, 0.1, annealing_epochs=0)
    np.testing.assert_allclose(run(at_once)[1].rates, [0.02] * 6 + [0.1] * 2, rtol=1e-6)


def test_goes_on_after_a_resume():
    _, weights = run(callbacks.StochasticWeightAveraging(1, 0.05, annealing_epochs=6))
    states = {}

    class Save(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            states[epoch] = swa.get_state()

    swa = callbacks.StochasticWeightAveraging(1, 0.05, annealing_epochs=6)
    network().fit(X, Y, epochs=4, batch_size=16, verbose=0, callbacks=[swa, Save()])
    assert states[3]["count"] == 3
    again = callbacks.StochasticWeightAveraging(1, 0.05, annealing_epochs=6)

    class Restore(callbacks.Callback):
        def on_train_begin(self, logs=None):
            again.set_state(states[3])

    model, later = network(), Weights()
    model.fit(X, Y, epochs=8, initial_epoch=4, batch_size=16, verbose=0, callbacks=[again, Restore(), later])
    assert again.count == 7
    np.testing.assert_allclose(later.rates, weights.rates[4:], rtol=1e-6)
    kernel = np.asarray(model.trainable_variables[0].value)
    first = states[3]["means"][model.trainable_variables[0].path]
    expected = (3 * first + sum(w[0].astype(np.float64) for w in later.kept)) / 7
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["arrays", "batches", "dataset"])
def test_statistics_of_batch_normalization(kind):
    data = {
        "arrays": X,
        "batches": [(X[i : i + 16], Y[i : i + 16]) for i in (0, 16, 32)],
        "dataset": lamina.datasets.Dataset.from_tensor_slices((X, Y)).batch(16),
    }[kind]
    swa = callbacks.StochasticWeightAveraging(2, data=data, batch_size=16)
    model, _ = run(swa, model=network(normalize=True))
    hidden, norm = model.get_layer("hidden"), model.get_layer("norm")
    kernel, bias = (np.asarray(v.value).astype(np.float64) for v in (hidden.kernel, hidden.bias))
    parts = (X.astype(np.float64) @ kernel + bias).reshape(3, 16, 4)
    np.testing.assert_allclose(np.asarray(norm.moving_mean.value), parts.mean((0, 1)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.asarray(norm.moving_variance.value), parts.var(1).mean(0), rtol=1e-5)
    assert norm.momentum == 0.99
    out = model.get_layer("out")
    mean, variance = (np.asarray(v.value) for v in (norm.moving_mean, norm.moving_variance))
    normal = (X @ kernel + bias - mean) / np.sqrt(variance + norm.epsilon)
    y = (normal * np.asarray(norm.gamma.value) + np.asarray(norm.beta.value)) @ np.asarray(out.kernel.value)
    np.testing.assert_allclose(model.predict(X, verbose=0), y + np.asarray(out.bias.value), rtol=1e-4, atol=1e-5)


def test_batches_of_unequal_size_count_by_their_samples():
    model = lamina.Sequential([lamina.Input((1,)), layers.Dropout(0.0), layers.BatchNormalization()])
    x = np.arange(5.0, dtype="float32")[:, None]
    update_batch_normalization(model, x, batch_size=4)
    norm = model.layers[1]
    assert norm.moving_mean.numpy()[0] == pytest.approx(2.0)
    assert norm.moving_variance.numpy()[0] == pytest.approx(4 * 1.25 / 5)
    with pytest.raises(ValueError, match="data has no batches"):
        update_batch_normalization(model, [])
    norm.trainable = False
    update_batch_normalization(model, x + 5)
    assert norm.moving_mean.numpy()[0] == pytest.approx(2.0)


def test_warnings_and_errors():
    with pytest.warns(UserWarning, match="Pass data=x"):
        run(callbacks.StochasticWeightAveraging(1), 2, network(normalize=True))
    with pytest.warns(UserWarning, match="training ended before epoch 9"):
        run(callbacks.StochasticWeightAveraging(9), 2)
    with pytest.raises(ValueError, match="start_epoch"):
        callbacks.StochasticWeightAveraging(1.5)
    with pytest.raises(ValueError, match="annealing_strategy must be 'cos' or 'linear'"):
        callbacks.StochasticWeightAveraging(annealing_strategy="cosine")
