"""Wrong uses, a row each, and what the message must hold: who, what was expected, what came, the cure."""

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
    callbacks,
    layers,
    losses,
    metrics,
    ops,
    optimizers,
    saving,
    utils,
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


def two(**kwargs):
    x = Input((4,), name="x")
    model = Model(x, {"a": layers.Dense(2, name="a")(x), "b": layers.Dense(1, name="b")(x)}, name="two")
    model.compile("sgd", **{"loss": "mse", **kwargs})
    return model.fit(X, {"a": Y, "b": Y[:, :1]}, verbose=0)


def pair():
    a, b = Input((4,), name="a"), Input((3,), name="b")
    return Model({"a": a, "b": b}, layers.Dense(2)(layers.concatenate([a, b])), name="pair")


def endless():
    while True:
        yield X, Y


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


# ---- compile


@wrong(RuntimeError, "Sequential 'net'", "call compile(", "before fit")
def fit_without_compile():
    Sequential([Input((4,)), layers.Dense(2)], name="net").fit(X, Y)


@wrong(ValueError, "Sequential 'net'", "no loss", "Pass loss= to compile")
def compile_without_loss():
    net(loss=None).fit(X, Y, verbose=0)


@wrong(ValueError, "compile: loss has 3 entries", "2 outputs ('a' and 'b')", "one entry for each output")
def number_of_losses():
    two(loss=["mse"] * 3)


@wrong(ValueError, "compile: loss names 'aa'", "outputs are 'a' and 'b'", "Did you mean 'a'?")
def loss_of_an_unknown_output():
    two(loss={"aa": "mse"})


@wrong(ValueError, "compile: loss_weights has 3 entries", "2 outputs")
def number_of_loss_weights():
    two(loss_weights=[1.0, 2.0, 3.0])


@wrong(ValueError, "compile: metrics has 3 entries", "2 outputs ('a' and 'b')", "dict by output name")
def structure_of_metrics():
    two(metrics=["mae", "mse", "mae"])


@wrong(TypeError, "compile: metrics must be a list", "got 'mae'", "['mae']")
def metrics_as_a_string():
    net(metrics="mae")


@wrong(ValueError, "No loss is named 'mean_square_error'", "Did you mean 'mean_squared_error'?")
def unknown_loss():
    net("mean_square_error")


@wrong(ValueError, "No optimizer is named 'adamm'", "Did you mean 'Adam'?")
def unknown_optimizer():
    Sequential([layers.Dense(2)]).compile("adamm", "mse")


@wrong(ValueError, "No metric is named 'acuracy'", "Did you mean 'accuracy'?")
def unknown_metric():
    net(metrics=["acuracy"])


@wrong(TypeError, "compile: optimizer", "the class Adam", "Did you mean Adam()?")
def optimizer_class():
    net().compile(optimizers.Adam, "mse")


@wrong(TypeError, "compile: unexpected keyword argument 'metric'", "Did you mean 'metrics'?")
def unknown_argument_of_compile():
    net(metric=["mae"])


@wrong(ValueError, "steps_per_execution", "at least 1", "got 0")
def steps_per_execution_of_0():
    net(steps_per_execution=0)


@wrong(ValueError, "Adam", "learning_rate", "at least 0", "-0.1")
def negative_learning_rate():
    optimizers.Adam(-0.1)


@wrong(TypeError, "Adam", "'learning_rat'", "Did you mean 'learning_rate'?")
def unknown_argument_of_an_optimizer():
    optimizers.Adam(learning_rat=0.1)


# ---- data


@wrong(ValueError, "fit: x is empty", "(0, 4)", "at least one sample")
def empty_data():
    net().fit(X[:0], Y[:0], verbose=0)


@wrong(ValueError, "x has no batches", "at least one (x, y)")
def empty_iterator():
    net().fit(iter(()), verbose=0)


@wrong(ValueError, "fit", "same number of samples", "x 8 (shape (8, 4))", "y 7 (shape (7, 2))")
def unequal_lengths():
    net().fit(X, Y[:7], verbose=0)


@wrong(ValueError, "same number of samples", "sample_weight 5")
def length_of_sample_weights():
    net().fit(X, Y, sample_weight=np.ones(5), verbose=0)


@wrong(ValueError, "Sequential 'net'", "loss='mse'", "no targets y", "Pass y")
def targets_missing():
    net().fit(X, verbose=0)


@wrong(ValueError, "y: the model has 2 outputs ('a' and 'b')", "got 1 values", "a dict by name")
def number_of_targets():
    x = Input((4,))
    model = Model(x, [layers.Dense(2, name="a")(x), layers.Dense(1, name="b")(x)])
    model.compile("sgd", "mse")
    model.fit(X, [Y], verbose=0)


@wrong(ValueError, "fit: y has NaN", "'sparse_categorical_crossentropy' of output 'out'", "class numbers", "Drop")
def nan_labels():
    net("sparse_categorical_crossentropy").fit(X, np.where(C == 1, np.nan, C), verbose=0)


@wrong(ValueError, "fit: y of output 'out'", "from 0 to 1", "got 2 to 2", "from 0", "3 units")
def label_out_of_range():
    net("sparse_categorical_crossentropy").fit(X, C + 1, verbose=0)


@wrong(ValueError, "evaluate: y of output 'out'", "from 0 to 1", "got -1 to -1", "weight 0")
def negative_label():
    net("sparse_categorical_crossentropy").evaluate(X, C - 1, verbose=0)


@wrong(ValueError, "sparse_categorical_crossentropy", "(8, 2)", "For one-hot targets use categorical_crossentropy")
def one_hot_for_sparse():
    net("sparse_categorical_crossentropy").fit(X, np.eye(2)[C], verbose=0)


@wrong(ValueError, "'categorical_crossentropy' of output 'out'", "one-hot", "(8,)", "sparse_categorical_crossentropy")
def class_numbers_for_categorical():
    net("categorical_crossentropy").fit(X, C, verbose=0)


@wrong(TypeError, "x: expected numbers", "text", "integers")
def text_data():
    net().fit(np.full((8, 4), "a"), Y, verbose=0)


@wrong(TypeError, "x: expected numbers", "dtype object", "'a'", "into numbers")
def object_array():
    net().fit(np.array([["a", 1, 2, 3]] * 8, dtype=object), Y, verbose=0)


@wrong(TypeError, "x: cannot be made into one array", "Pad its rows")
def ragged_rows():
    net().fit([[1, 2, 3, 4], [1, 2, 3]], Y[:2], verbose=0)


@wrong(ValueError, "predict: x must be data", "got None")
def no_data():
    net().predict(None)


@wrong(ValueError, "fit: batch_size must be left out", "have their own size")
def generator_with_batch_size():
    net().fit(endless(), batch_size=4, steps_per_epoch=1)


@wrong(ValueError, "fit: y must be left out", "yield (x, y, sample_weight)")
def generator_with_targets():
    net().fit(endless(), Y)


@wrong(ValueError, "fit: validation_split needs arrays", "validation_data=")
def validation_split_of_a_generator():
    net().fit(endless(), validation_split=0.2, steps_per_epoch=1)


@wrong(ValueError, "x, (x, y) or (x, y, sample_weight)", "got a tuple of 4")
def batches_of_four():
    net().fit(iter([(X, Y, X, Y)]), verbose=0)


@wrong(UserWarning, "generator without steps_per_epoch", "first epoch uses it up", "steps_per_epoch=")
def generator_that_runs_out():
    net().fit(iter([(X, Y)]), epochs=2, verbose=0)


@wrong(ValueError, "validation_data must be (x, y)", "got an array of shape (8, 4)")
def validation_data_without_targets():
    net().fit(X, Y, validation_data=X, verbose=0)


@wrong(TypeError, "class_weight must be a dict", "got [1, 2]", "{0: 1.0")
def class_weight_as_a_list():
    net("sparse_categorical_crossentropy").fit(X, C, class_weight=[1, 2], verbose=0)


@wrong(ValueError, "sample_weight: names 'aa'", "'a' and 'b'", "Did you mean 'a'?")
def sample_weight_of_an_unknown_output():
    x = Input((4,))
    model = Model(x, {"a": layers.Dense(2)(x), "b": layers.Dense(2)(x)})
    model.compile("sgd", "mse")
    model.fit(X, {"a": Y, "b": Y}, sample_weight={"aa": np.ones(8)}, verbose=0)


@wrong(NotImplementedError, "Squares: define __getitem__", "returns a batch")
def data_set_without_batches():
    class Squares(utils.PyDataset):
        def __len__(self):
            return 2

    net().fit(Squares(), verbose=0)


# ---- arguments of fit


@wrong(TypeError, "fit: unexpected keyword argument 'epoch'", "Did you mean 'epochs'?")
def unknown_argument_of_fit():
    net().fit(X, Y, epoch=3)


@wrong(TypeError, "predict: unexpected keyword argument 'batchsize'", "Did you mean 'batch_size'?")
def unknown_argument_of_predict():
    net().predict(X, batchsize=4)


@wrong(ValueError, "fit: steps_per_epoch", "at least 1", "got 0")
def no_steps():
    net().fit(X, Y, steps_per_epoch=0)


@wrong(ValueError, "fit: batch_size", "at least 1", "got 0")
def batch_size_of_0():
    net().fit(X, Y, batch_size=0)


@wrong(ValueError, "fit: epochs", "at least 0", "got -1")
def negative_epochs():
    net().fit(X, Y, epochs=-1)


@wrong(ValueError, "fit: verbose must be 0, 1, 2 or 'auto'", "got 5")
def verbose_of_5():
    net().fit(X, Y, verbose=5)


@wrong(ValueError, "fit: validation_split", "between 0 and 1", "got 1.5")
def validation_split_over_1():
    net().fit(X, Y, validation_split=1.5)


@wrong(ValueError, "validation_split=0.1 of 1 samples", "one part empty")
def nothing_left_to_train_on():
    net().fit(X[:1], Y[:1], validation_split=0.1)


@wrong(TypeError, "callbacks must hold instances", "Did you mean History()?")
def callback_class():
    net().fit(X, Y, callbacks=[callbacks.History], verbose=0)


@wrong(TypeError, "callbacks must hold instances", "(function)", "LambdaCallback(")
def function_as_callback():
    net().fit(X, Y, callbacks=[lambda epoch, logs: None], verbose=0)


@wrong(RuntimeError, "'out/kernel'", "another fit", "clone_model")
def fit_inside_fit():
    model = net()
    again = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: model.fit(X, Y, verbose=0))
    model.fit(X, Y, callbacks=[again], verbose=0)


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


# ---- what must not be refused


def test_labels_of_weight_0_may_be_anything():
    weight = np.where(C == 1, 0.0, 1.0)
    net("sparse_categorical_crossentropy").fit(X, np.where(C == 1, -1, C), sample_weight=weight, verbose=0)


def test_ignored_class_may_be_out_of_range():
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    net(loss).fit(X, np.where(C == 1, 255, C), verbose=0)


def test_classes_of_losses_and_metrics_are_made_instances_as_in_keras():
    history = net(losses.MeanSquaredError, metrics=[metrics.MeanAbsoluteError]).fit(X, Y, verbose=0)
    assert set(history.history) == {"loss", "mean_absolute_error"}


def test_an_error_leaves_the_model_usable():
    model = net()
    with pytest.raises(ValueError):
        model.fit(X[:, :3], Y, verbose=0)
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"][0])


def test_checking_targets_does_not_use_up_a_generator():
    batches = iter([(X, C)] * 3)
    model = net("sparse_categorical_crossentropy")
    model.fit(batches, steps_per_epoch=3, verbose=0)
    assert int(model.optimizer.iterations) == 3
