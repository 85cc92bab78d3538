"""How models come about: from graphs, by subclassing, from parts of other models; names and symbols of layers."""

import numpy as np
import pytest

from lamina import Functional, Input, Model, Sequential, layers, ops
from lamina.models.network import Network

X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")


def test_model_of_inputs_and_outputs_is_functional():
    x = Input((4,))
    y = layers.Dense(2)(x)
    for model in (Model(x, y), Model(inputs=x, outputs=y), Model(x, outputs=y), Functional(x, y)):
        assert type(model) is Functional and model.name == "functional"
    assert Model(x, y, name="mine").name == "mine"
    assert type(Model(name="empty")) is Model


def test_subclass_keeps_its_class():
    class Mine(Model):
        def train_step(self, state, data):
            return super().train_step(state, data)

    class Whole(Model):
        def __init__(self, units, **kwargs):
            x = Input((4,))
            super().__init__(inputs=x, outputs=layers.Dense(units)(x), **kwargs)
            self.units = units

    x = Input((4,))
    mine = Mine(x, layers.Dense(2)(x))
    assert type(mine) is Mine and mine.output_shape == (None, 2)
    mine.compile("sgd", "mse")
    mine.fit(X, np.ones((3, 2)), verbose=0)
    whole = Whole(3, name="whole")
    assert whole.built and whole.name == "whole" and whole.predict(X, verbose=0).shape == (3, 3)
    config = whole.get_config()
    assert config["units"] == 3 and "layers" not in config
    assert Whole.from_config(config).output_shape == (None, 3)


def test_part_of_a_model():
    model = Sequential([Input((4,)), layers.Dense(3, name="first"), layers.Dense(2, name="second")])
    features = Model(model.inputs, model.get_layer("first").output)
    first, second = model.layers
    np.testing.assert_allclose(features.predict(X, verbose=0), np.asarray(first(X)), rtol=1e-6)
    tail = Model(second.input, second.output)
    h = np.ones((5, 3), "float32")
    np.testing.assert_allclose(tail.predict(h, verbose=0), np.asarray(second(h)), rtol=1e-6)
    assert [type(layer).__name__ for layer in tail.layers] == ["InputLayer", "Dense"]
    assert Model.from_config(tail.get_config()).output_shape == (None, 2)


def test_starting_at_one_of_two_outputs():
    x = Input((4,))
    a, b = ops.split(x, 2, axis=-1)
    model = Model(a, a * 2.0)
    np.testing.assert_allclose(model.predict(X[:, :2], verbose=0), X[:, :2] * 2, rtol=1e-6)
    with pytest.raises(ValueError, match="depend on Input"):
        Model(a, a + b)


def test_input_and_output_of_layers():
    x, y = Input((4,)), Input((4,))
    join = layers.Concatenate()
    z = join([x, y])
    assert join.input == [x, y] and join.output is z
    dense = layers.Dense(2)
    first, second = dense(x), dense(y)
    assert dense.output is first and dense.input is x and second is not first
    attention = layers.MultiHeadAttention(1, 2)
    q = Input((3, 2))
    attention(q, value=q)
    assert attention.input == [q, q]


def test_layers_of_two_models_meet_under_new_names():
    def branch():
        x = Input((4,))
        return Model(x, layers.Dense(2)(x))

    left, right = branch(), branch()
    both = Model([left.input, right.input], layers.add([left.output, right.output]))
    names = [layer.name for layer in both.layers]
    assert len(set(names)) == len(names) == 5
    want = left.predict(X, verbose=0) + right.predict(X, verbose=0)
    np.testing.assert_allclose(both.predict([X, X], verbose=0), want, rtol=1e-6)


def test_given_names_stay():
    dense = layers.Dense(2, name="dense")
    model = Sequential([Input((4,)), layers.Dense(4), dense, layers.Dense(1)])
    assert [layer.name for layer in model.layers] == ["dense_1", "dense", "dense_2"]


def test_operations_are_single_calls_of_ops():
    x = Input((4,))
    h = layers.Dense(4, name="far")(ops.relu(x))
    network = Network(x, ops.relu(h) + ops.relu(x), "test")
    assert [o.name for o in network.operations if not o.is_layer] == ["relu", "relu_1", "relu_2", "add"]
    # the op that feeds the layer comes first, whatever the depth of other calls of the same op
    assert [o.name for o in network.operations][:3] == ["input_layer", "relu", "far"]


def test_one_input_twice_is_refused():
    x = Input((4,), name="x")
    with pytest.raises(ValueError, match="must not name one Input twice, got \\['x', 'x'\\]"):
        Model([x, x], x * 2.0)


def test_optional_input():
    class Maybe(layers.Layer):
        def call(self, x, y=None):
            return x if y is None else x + y

    x, y = Input((4,), name="x"), Input((4,), name="y", optional=True)
    model = Model([x, y], Maybe()(x, y))
    np.testing.assert_allclose(np.asarray(model([X, None])), X)
    np.testing.assert_allclose(np.asarray(model([X, X])), 2 * X)
    with pytest.raises(ValueError, match="input 'x' .* is missing"):
        model([None, X])


def test_inputs_by_name_in_any_structure():
    x, y = Input((4,), name="x"), Input((4,), name="y")
    out = x - y * 2.0
    want = X - 2 * (X + 1)
    for model in (Model([x, y], out), Model({"y": y, "x": x}, out), Model((x, y), out)):
        np.testing.assert_allclose(np.asarray(model({"y": X + 1, "x": X})), want, rtol=1e-5)
