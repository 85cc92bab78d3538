"""Batches from other libraries' loaders, by the protocols that their tensors follow."""

import numpy as np
import pytest

from lamina import Input, Sequential, layers

X = np.linspace(-1, 1, 32, dtype="float32").reshape(8, 4)
Y = X.sum(1, keepdims=True)


class TorchTensor:
    """As of torch: detach, cpu, numpy; numpy itself cannot take it where it needs a gradient."""

    def __init__(self, value):
        self._value = value
        self.shape, self.dtype = value.shape, value.dtype

    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return self._value

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("call detach first")


class EagerTensor:
    """As of tf.data: an array protocol, a dtype of its own."""

    dtype = "tf.float32"

    def __init__(self, value):
        self._value = value
        self.shape = value.shape

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._value, dtype)


class Loader:
    """An iterable of batches with a length, such as torch's DataLoader."""

    def __init__(self, batches):
        self._batches = batches

    def __len__(self):
        return len(self._batches)

    def __iter__(self):
        return iter(self._batches)


LOADERS = {
    "torch DataLoader": Loader([[TorchTensor(X[i : i + 4]), TorchTensor(Y[i : i + 4])] for i in (0, 4)]),
    "tf.data": Loader([(EagerTensor(X[i : i + 4]), EagerTensor(Y[i : i + 4])) for i in (0, 4)]),
    "grain": Loader([(X[i : i + 4], Y[i : i + 4]) for i in (0, 4)]),
}


@pytest.mark.parametrize("name", list(LOADERS))
def test_fit_takes_the_batches_of_other_loaders(name):
    model = Sequential([Input((4,)), layers.Dense(1, kernel_initializer="ones", use_bias=False)])
    model.compile("sgd", "mse")
    history = model.fit(LOADERS[name], epochs=2, verbose=0)
    np.testing.assert_allclose(history.history["loss"], [0, 0], atol=1e-12)
    assert model.predict(LOADERS[name], verbose=0).shape == (8, 1)
