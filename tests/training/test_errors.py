"""Wrong uses, a row each, and what the message must hold: who, what was expected, what came, the cure."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from lamina import (
    Input,
    Model,
    Sequential,
    callbacks,
    layers,
    losses,
    metrics,
    optimizers,
    utils,
)

X = np.linspace(-1, 1, 32, dtype="float32").reshape(8, 4)
Y = np.linspace(0, 1, 16, dtype="float32").reshape(8, 2)
C = np.array([0, 1] * 4)

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


def endless():
    while True:
        yield X, Y


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
