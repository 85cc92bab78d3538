"""Wrong uses of layers and models, a row each, and what the message must hold; see tests/training/test_errors.py."""

from __future__ import annotations

import warnings

import jax
import numpy as np
import pytest

import lamina
from lamina import (
    Input,
    Model,
    Sequential,
    layers,
    ops,
    saving,
)

X = np.linspace(-1, 1, 32, dtype="float32").reshape(8, 4)
Y = np.linspace(0, 1, 16, dtype="float32").reshape(8, 2)
C = np.array([0, 1] * 4)
VARIABLE = lamina.Variable(np.ones(4, "float32"), name="hidden")

# (function, type of error, fragments of the message)
ROWS: list[tuple] = []


def wrong(error, *fragments):
    def add(function):
        ROWS.append((function, error, fragments))
        return function

    return add


def net(loss="mse", units=2, **kwargs):
    model = Sequential([Input((4,), name="x"), layers.Dense(units, name="out")], name="net")
    model.compile("sgd", loss, **kwargs)
    return model


def pair():
    a, b = Input((4,), name="a"), Input((3,), name="b")
    return Model({"a": a, "b": b}, layers.Dense(2)(layers.concatenate([a, b])), name="pair")


# ---- shapes, ranks and dtypes


@wrong(ValueError, "Sequential 'net'", "input 'x'", "expects shape (None, 4)", "got (8, 3)")
def width_of_the_data():
    net().fit(X[:, :3], Y, verbose=0)


@wrong(ValueError, "Sequential 'net'", "(None, 4)", "got (4,)", "batch axis missing? x[None] adds one")
def batch_axis_missing():
    net().predict(X[0], verbose=0)


@wrong(ValueError, "Conv2D 'stem'", "4 axes", "got shape (2, 8, 8)", "x[..., None]")
def rank_of_a_convolution():
    layers.Conv2D(2, 3, name="stem")(np.ones((2, 8, 8), "float32"))


@wrong(ValueError, "LSTM 'memory'", "3 axes", "(8, 4)")
def rank_of_a_recurrent_layer():
    layers.LSTM(2, name="memory")(X)


@wrong(ValueError, "Dense 'head'", "axis -1 has size 4", "got shape (8, 3)", "built for that size")
def width_after_building():
    head = layers.Dense(2, name="head")
    head(X)
    head(X[:, :3])


@wrong(ValueError, "Conv2D 'big'", "(None, 2, 2, 1)", "too small", "(5, 5)")
def kernel_larger_than_the_image():
    Sequential([Input((2, 2, 1)), layers.Conv2D(2, 5, name="big")])


@wrong(ValueError, "Dense 'head'", "'kernel'", "known sizes", "got (None, 2)", "Input(")
def unknown_width():
    Sequential([Input((None, 3)), layers.Flatten(), layers.Dense(2, name="head")])


@wrong(ValueError, "Reshape 'grid'", "(3,)", "(4,)", "4 elements")
def reshape_to_another_size():
    Sequential([Input((4,)), layers.Reshape((3,), name="grid")])


@wrong(ValueError, "Concatenate 'join'", "axis -1", "(8, 4), (7, 4)")
def concatenation_of_different_rows():
    layers.Concatenate(name="join")([X, np.ones((7, 4), "float32")])


@wrong(ValueError, "Add 'sum'", "a list of tensors", "(8, 4)")
def merging_one_tensor():
    layers.Add(name="sum")(X)


@wrong(ValueError, "mean_squared_error", "targets of shape (8, 3)", "outputs of shape (8, 2)")
def width_of_the_targets():
    net().fit(X, np.ones((8, 3)), verbose=0)


@wrong(ValueError, "dtype must name a dtype", "'float33'", "Did you mean 'float32'?")
def unknown_dtype():
    layers.Dense(2, dtype="float33")


@wrong(ValueError, "no policy is named 'mixed_float32'", "Did you mean 'mixed_float16'?")
def unknown_policy():
    layers.Dense(2, dtype="mixed_float32")


# ---- building layers and models


@wrong(ValueError, "Conv2D 'stem': padding must be", "'same'", "Did you mean 'same'?")
def unknown_padding():
    layers.Conv2D(2, 3, padding="SAEM", name="stem")


@wrong(ValueError, "'rellu'", "Did you mean 'relu'?")
def unknown_activation():
    layers.Dense(2, activation="rellu")


@wrong(TypeError, "Dense", "unexpected keyword argument 'activaton'", "Did you mean 'activation'?")
def unknown_argument_of_a_layer():
    layers.Dense(2, activaton="relu")


@wrong(ValueError, "Dense 'head': units", "at least 1", "got 0")
def no_units():
    layers.Dense(0, name="head")


@wrong(ValueError, "Dropout", "rate", "between 0 and 1", "got 1.5")
def dropout_rate():
    layers.Dropout(1.5)


@wrong(ValueError, "name must not contain '/'", "'a/b'")
def slash_in_a_name():
    layers.Dense(2, name="a/b")


@wrong(ValueError, "Sequential 'net'", "two layers are named 'same'", "its own name=")
def duplicate_names():
    Sequential([Input((4,)), layers.Dense(2, name="same"), layers.Dense(2, name="same")], name="net")


@wrong(ValueError, "Sequential 'net'", "Dense 'once' is in the model already", "functional API")
def layer_added_twice():
    once = layers.Dense(4, name="once")
    Sequential([once, once], name="net")


@wrong(TypeError, "Sequential 'net'", "layers must be layers", "Did you mean Dense(...)?")
def layer_class():
    Sequential([layers.Dense], name="net")


@wrong(TypeError, "Sequential 'net'", "layers must be layers", "layers.Lambda(")
def function_as_layer():
    Sequential([lambda x: x], name="net")


@wrong(ValueError, "depend on Input 'b'", "not among the inputs 'a'", "Add it to inputs=")
def forgotten_input():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    Model(a, layers.add([a, b]))


@wrong(TypeError, "inputs must be what Input() and layers return", "an array of shape (8, 4)", "Input(shape)")
def arrays_for_symbols():
    Model(X, Y)


@wrong(TypeError, "outputs is missing", "Model(inputs=..., outputs=...)")
def outputs_missing():
    Model(inputs=Input((4,)))


@wrong(TypeError, "shape (None, 4) has no value", "turned into an array", "lamina.ops")
def numpy_on_a_symbol():
    np.mean(Input((4,)))


@wrong(TypeError, "has no value", "as a condition", "ops.where")
def symbol_as_a_condition():
    bool(Input((4,)) > 0)


@wrong(ValueError, "Functional 'pair'", "'b' is missing", "with keys 'a'", "'a' and 'b'")
def missing_key():
    pair()({"a": X})


@wrong(ValueError, "Functional 'pair'", "a dict with keys 'a' and 'b'", "a list of 2 arrays", "by name")
def list_for_a_dict():
    pair()([X, X[:, :3]])


@wrong(ValueError, "Functional 'two'", "expected 2 inputs ('a' and 'b')", "got 1")
def number_of_inputs():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    Model([a, b], layers.add([a, b]), name="two")([X])


@wrong(ValueError, "input 'x' of shape (None, 4) is missing", "got None", "optional=True")
def none_for_an_input():
    Sequential([Input((4,), name="x"), layers.Dense(2)]).network.run(None)


@wrong(ValueError, "Sequential 'net'", "no layer is named 'outt'", "Did you mean 'out'?")
def unknown_layer_name():
    net().get_layer("outt")


@wrong(ValueError, "Dense 'head'", "not built", "Call it on data")
def unbuilt_layer():
    layers.Dense(2, name="head").count_params()


@wrong(ValueError, "Sequential 'net'", "no weights yet", "give it an Input")
def weights_of_an_unbuilt_model():
    Sequential([layers.Dense(2)], name="net").set_weights([np.ones((4, 2)), np.ones(2)])


@wrong(AttributeError, "Sequential 'net'", "has no inputs", "an Input as its first layer")
def inputs_of_an_unbuilt_model():
    return Sequential([layers.Dense(2)], name="net").inputs


@wrong(AttributeError, "Dense 'head'", "has no output", "never called")
def output_of_an_uncalled_layer():
    return layers.Dense(2, name="head").output


@wrong(ValueError, "set_weights expects 2 arrays ('out/kernel' and 'out/bias')", "got 1")
def number_of_weights():
    net().set_weights([np.ones((4, 2))])


@wrong(ValueError, "weight 'out/kernel' has shape (4, 2)", "got an array of shape (4, 3)")
def shape_of_weights():
    net().set_weights([np.ones((4, 3)), np.ones(2)])


# ---- own layers and models


class Untracked(layers.Layer):
    def call(self, x):
        return x * VARIABLE


@wrong(RuntimeError, "Variable 'hidden' is read", "not told of it", "an attribute of the model")
def variable_that_nobody_tracks():
    model = Sequential([Input((4,)), Untracked(), layers.Dense(2)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)


@wrong(RuntimeError, "Forgetful: call super().__init__()", "before anything else")
def layer_without_super():
    class Forgetful(layers.Layer):
        def __init__(self):
            self.dense = layers.Dense(2)

    Forgetful()(X)


@wrong(RuntimeError, "Forgetful: call super().__init__()")
def model_without_super():
    class Forgetful(Model):
        def __init__(self):
            self.dense = layers.Dense(2)

    Forgetful().compile("sgd", "mse")


@wrong(NotImplementedError, "Empty 'empty'", "define call(self, inputs) in class Empty")
def model_without_call():
    class Empty(Model):
        pass

    Empty()(X)


@wrong(ValueError, "Branch 'branch'", "by if, while", "ops.where")
def python_branch_on_a_tensor():
    class Branch(layers.Layer):
        def call(self, x):
            return x if ops.sum(x) > 0 else -x

    Sequential([Input((4,)), Branch()])


@wrong(RuntimeError, "Variable 'out/kernel' is assigned inside a jitted function", "model.apply")
def assignment_inside_jit():
    kernel = net().weights[0]
    jax.jit(lambda x: kernel.assign(x))(np.ones((4, 2), "float32"))


@wrong(ValueError, "params must have an entry for each path", "'out/kernel'")
def apply_without_parameters():
    model = net()
    model.apply({}, model.state, X)


@wrong(ValueError, "expected 2 trainable variables ('out/kernel' and 'out/bias')", "got 0")
def stateless_call_without_values():
    net().stateless_call([], [], X)


# ---- saving


@wrong(ValueError, "lamina.layers", "'Densse'", "Did you mean 'Dense'?", "register_keras_serializable")
def unknown_class_in_a_config():
    saving.deserialize_keras_object({"module": "keras.layers", "class_name": "Densse", "config": {}})


@wrong(ValueError, "A lambda cannot be saved", "register_keras_serializable")
def lambda_in_a_config():
    Sequential([Input((4,)), layers.Dense(2, activation=lambda x: x)]).to_json()


@wrong(ValueError, "class Plain needs a get_config method")
def class_without_config():
    saving.register_keras_serializable()(type("Plain", (), {}))


@pytest.mark.parametrize("function, error, fragments", ROWS, ids=[row[0].__name__ for row in ROWS])
def test_wrong_use(function, error, fragments):
    with pytest.raises(error) as caught, warnings.catch_warnings():
        warnings.simplefilter("error")
        function()
    message = str(caught.value)
    missing = [fragment for fragment in fragments if fragment not in message]
    assert not missing, f"{missing} not in: {message}"


def test_there_are_enough_rows():
    assert len({row[0].__name__ for row in ROWS}) == len(ROWS) >= 45
