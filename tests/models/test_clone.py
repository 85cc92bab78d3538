"""clone_model."""

import numpy as np
import pytest

from lamina import Input, Model, Sequential, layers
from lamina.models import clone_model

DATA = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")


def functional():
    x = Input((4,), name="x")
    shared = layers.Dense(4, name="shared")
    nested = Sequential([layers.Dense(3, activation="relu"), layers.Dense(2)], name="nested")
    return Model(x, nested(shared(shared(x))) + 1.0, name="model")


def stacked():
    return Sequential([Input((4,)), layers.Dense(3), layers.BatchNormalization(), layers.Dense(2)], name="stack")


class Own(Model):
    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = layers.Dense(units)

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize("make", [functional, stacked])
def test_new_layers_same_function(make):
    model = make()
    copy = clone_model(model)
    assert type(copy) is type(model) and copy.name == model.name
    mine = {id(layer) for layer in model.layers}
    assert not mine & {id(layer) for layer in copy.layers}
    assert not {id(v) for v in model.weights} & {id(v) for v in copy.weights}
    assert not all(np.array_equal(a, b) for a, b in zip(model.get_weights(), copy.get_weights(), strict=True))
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy.predict(DATA, verbose=0), model.predict(DATA, verbose=0))


def test_training_a_copy_leaves_the_model_alone():
    model = functional()
    before = model.get_weights()
    copy = clone_model(model)
    copy.compile("sgd", "mse")
    copy.fit(DATA, np.ones((3, 2)), verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_clone_function_replaces_layers():
    def copy_layer(layer):
        config = layer.get_config()
        if isinstance(layer, layers.Dense):
            config["kernel_initializer"] = "ones"
        return type(layer).from_config(config)

    outer = clone_model(functional(), clone_function=copy_layer)
    assert (outer.get_layer("shared").get_weights()[0] == 1).all()
    assert not (outer.get_layer("nested").get_weights()[0] == 1).all()
    deep = clone_model(functional(), clone_function=copy_layer, recursive=True)
    assert (deep.get_layer("nested").get_weights()[0] == 1).all()


def test_clone_function_may_share_a_layer():
    model = functional()
    copy = clone_model(model, clone_function=lambda layer: layer)
    assert copy.get_layer("shared") is model.get_layer("shared")


def test_call_function():
    calls = []

    def call(layer, *args, **kwargs):
        calls.append(layer.name)
        return layer(*args, **kwargs) * 2.0

    model = functional()
    copy = clone_model(model, call_function=call)
    copy.set_weights(model.get_weights())
    # twice the shared layer and the nested model, but not the op
    assert calls.count("shared") == 2 and calls.count("nested") == 1


@pytest.mark.parametrize("make", [functional, stacked])
def test_input_tensors(make):
    x = Input((4,), name="other")
    copy = clone_model(make(), input_tensors=x)
    assert copy.input is x and copy.predict(DATA, verbose=0).shape == (3, 2)
    with pytest.raises(ValueError, match="input_tensors must hold 1 symbols"):
        clone_model(make(), input_tensors=[x, Input((4,))])


def test_subclassed():
    model = Own(3, name="own")
    copy = clone_model(model)
    assert type(copy) is Own and copy.units == 3 and copy.name == "own" and copy.dense is not model.dense
    with pytest.raises(ValueError, match="'clone_function' must be left out for Own 'own'"):
        clone_model(model, clone_function=lambda layer: layer)


def test_layers_of_an_own_class_need_no_registration():
    class Twice(layers.Layer):
        def call(self, x):
            return x * 2

    x = Input((4,))
    model = Model(x, Sequential([Twice()])(Twice()(x)))
    np.testing.assert_allclose(clone_model(model).predict(DATA, verbose=0), DATA * 4, rtol=1e-6)


def test_errors():
    with pytest.raises(TypeError, match="clone_function must return a layer, got None .* for Dense 'dense'"):
        clone_model(Sequential([layers.Dense(2)]), clone_function=lambda layer: None)
    with pytest.raises(TypeError, match="clone_model: model must be a model"):
        clone_model(layers.Dense(2))
