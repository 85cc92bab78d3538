"""Callbacks, through fit with losses that are known beforehand."""

import csv

import numpy as np
import pytest

import lamina
from lamina import callbacks, layers, optimizers
from lamina.callbacks.progress import ProgbarLogger

X = np.ones((8, 1), "float32")


class Scripted(lamina.Model):
    """A model whose validation loss is read from a script, one number an evaluation, and whose weight counts steps."""

    def __init__(self, script=()):
        super().__init__()
        self.script = list(script)
        self.count = self.add_weight((), "zeros", name="count")

    def call(self, x):
        return x * 0 + self.count

    def _evaluate(self, *args, **kwargs):
        super()._evaluate(*args, **kwargs)
        return {"loss": self.script.pop(0)}


def scripted(script, rate=1.0):
    """The loss is -output, so that each step of SGD adds the learning rate to the weight."""
    model = Scripted(script)
    model.compile(optimizers.SGD(rate), lambda y, p: -p)
    return model


def run(model, *watchers, epochs=None, **kwargs):
    epochs = epochs or len(model.script)
    return model.fit(
        X, X, batch_size=8, epochs=epochs, validation_data=(X, X), verbose=0, callbacks=list(watchers), **kwargs
    )


@pytest.mark.parametrize(
    ("script", "options", "epochs", "weight"),
    [
        ([3, 2, 1, 2, 3, 0], {"patience": 2}, 5, 5),
        ([3, 2, 1, 2, 3, 0], {"patience": 2, "restore_best_weights": True}, 5, 3),
        ([3, 2, 1, 2, 3, 0], {}, 4, 4),
        ([3, 2.9, 2.86, 2.8], {"min_delta": 0.15, "patience": 2}, 3, 3),
        ([1, 2, 3, 4, 5], {"mode": "max", "patience": 1}, 5, 5),
        ([5, 4.5, 4.4, 4.3], {"baseline": 4.0, "patience": 2}, 4, 4),
        ([5, 5, 5, 5, 5], {"baseline": 4.0, "patience": 2}, 2, 2),
        ([5, 6, 7, 8], {"patience": 1, "start_from_epoch": 2}, 4, 4),
        ([5, float("nan"), float("nan"), 1], {"patience": 2, "restore_best_weights": True}, 3, 1),
        ([3, 2, 1], {"patience": 5, "restore_best_weights": True}, 3, 3),
        ([3, 1, 2], {"patience": 5, "restore_best_weights": True}, 3, 2),
    ],
)
def test_early_stopping(script, options, epochs, weight):
    model = scripted(script)
    history = run(model, callbacks.EarlyStopping(**options))
    assert len(history.epoch) == epochs
    assert float(model.count.value) == weight


def test_early_stopping_can_be_used_again(capsys):
    stop = callbacks.EarlyStopping(patience=1, verbose=1, restore_best_weights=True)
    for _ in range(2):
        model = scripted([1, 2, 3])
        assert run(model, stop).epoch == [0, 1]
        assert (stop.stopped_epoch, stop.best_epoch, stop.best) == (1, 0, 1)
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == ["Epoch 2: early stopping", "Restoring model weights from the end of the best epoch: 1."]


def classifier(metrics, units=2):
    model = lamina.Sequential([lamina.Input((1,)), layers.Dense(units, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=metrics)
    return model


def closeness(y, p):
    return p[:, 0]


def test_which_way_is_better():
    y = np.zeros((8,), "int32")

    def watch(metrics, monitor, **options):
        stop = callbacks.EarlyStopping(monitor, patience=9, **options)
        classifier(metrics).fit(X, y, epochs=1, verbose=0, validation_data=(X, y), callbacks=[stop])
        return stop.monitor_op(2, 1)

    assert watch(["accuracy"], "val_accuracy") is True
    assert watch(["accuracy"], "loss") is False
    assert watch([lamina.metrics.SparseCategoricalCrossentropy(name="ce")], "ce") is False
    assert watch([closeness], "closeness", mode="max") is True
    with pytest.raises(ValueError, match="cannot tell whether more or less of 'closeness' is better.*mode='max'"):
        watch([closeness], "closeness")
    with pytest.warns(UserWarning, match="mode must be 'auto', 'min' or 'max', got 'best'"):
        callbacks.EarlyStopping(mode="best")


def test_monitors_of_models_with_several_outputs():
    x = lamina.Input((1,))
    model = lamina.Model(x, [layers.Dense(2, activation="softmax", name="a")(x), layers.Dense(1, name="b")(x)])
    model.compile("sgd", ["sparse_categorical_crossentropy", "mse"], metrics=[["accuracy"], ["mae"]])
    stops = [callbacks.EarlyStopping(m, patience=9) for m in ("a_accuracy", "val_b_mae", "val_b_loss")]
    y = [np.zeros((8,), "int32"), X]
    model.fit(X, y, verbose=0, validation_data=(X, y), callbacks=stops)
    assert [s.monitor_op(2, 1) for s in stops] == [True, False, False]


def test_a_wrong_monitor_is_named_with_those_available():
    model = scripted([1])
    with pytest.warns(
        UserWarning, match="monitor='val_los' is not among the logs.*'val_loss'.*Did you mean 'val_loss'"
    ):
        run(model, callbacks.EarlyStopping("val_los", mode="min"))
    model = scripted([1])
    with pytest.warns(UserWarning, match="ReduceLROnPlateau: monitor='acc'"):
        run(model, callbacks.ReduceLROnPlateau("acc", mode="max"))


@pytest.mark.parametrize(
    ("script", "options", "rates"),
    [
        ([5, 5, 5, 5, 5], {"factor": 0.5, "patience": 2}, [1, 1, 1, 0.5, 0.5]),
        ([5, 4, 3, 3, 2], {"factor": 0.5, "patience": 1}, [1, 1, 1, 1, 0.5]),
        ([5, 5, 5, 5, 5, 5], {"factor": 0.5, "patience": 1, "cooldown": 2}, [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ([5, 5, 5, 5], {"factor": 0.1, "patience": 1, "min_lr": 0.05}, [1, 1, 0.1, 0.05]),
        ([5, 4.95, 4.9, 4.85], {"factor": 0.5, "patience": 1, "min_delta": 0.2}, [1, 1, 0.5, 0.25]),
        ([1, 2, 2, 2], {"factor": 0.5, "patience": 1, "mode": "max"}, [1, 1, 1, 0.5]),
    ],
)
def test_reduce_lr_on_plateau(script, options, rates, capsys):
    history = run(scripted(script), callbacks.ReduceLROnPlateau(verbose=1, **options))
    np.testing.assert_allclose(history.history["learning_rate"], rates, rtol=1e-6)
    assert ("reducing learning rate" in capsys.readouterr().out) == (len(set(rates)) > 1)


def test_the_rate_that_is_set_is_the_rate_of_the_next_steps():
    model = scripted([1, 1, 1])
    run(model, callbacks.LearningRateScheduler(lambda epoch: [1.0, 0.5, 0.25][epoch]))
    assert float(model.count.value) == 1.75
    model = scripted([1, 1])
    history = run(model, callbacks.LearningRateScheduler(lambda epoch, rate: np.float32(rate / 2)))
    assert history.history["learning_rate"] == [0.5, 0.25]
    assert float(model.optimizer.learning_rate) == 0.25


def test_learning_rate_scheduler_errors():
    with pytest.raises(TypeError, match="schedule must be a function"):
        callbacks.LearningRateScheduler(0.1)
    with pytest.raises(TypeError, match="must return a number, got None"):
        run(scripted([1]), callbacks.LearningRateScheduler(lambda epoch: None))
    with pytest.raises(KeyError):  # an error inside the function is not mistaken for a wrong number of arguments
        run(scripted([1]), callbacks.LearningRateScheduler(lambda epoch, rate: {}[epoch]))
    with pytest.raises(ValueError, match="factor must be less than 1, got 1.5"):
        callbacks.ReduceLROnPlateau(factor=1.5)


def with_nan_at(step, rows=6):
    model = scripted([])
    x = np.ones((rows, 1), "float32")
    x[step] = np.nan
    return model, x


def test_terminate_on_nan(capsys):
    model, x = with_nan_at(3)
    history = model.fit(x, x, batch_size=1, epochs=2, shuffle=False, verbose=0, callbacks=[callbacks.TerminateOnNaN()])
    assert history.epoch == [0]
    assert model.optimizer.iterations.value == 4
    assert capsys.readouterr().out == "Batch 3: Invalid loss, terminating training\n"
    model, x = with_nan_at(1)
    with pytest.raises(RuntimeError, match="the loss is nan at batch 1"):
        model.fit(x, x, batch_size=1, shuffle=False, verbose=0, callbacks=[callbacks.TerminateOnNaN(raise_error=True)])
    assert model.optimizer.iterations.value == 2


def rows(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    run(scripted([4, 3]), callbacks.CSVLogger(path))
    assert rows(path)[0] == ["epoch", "loss", "val_loss"]
    assert [r[0] for r in rows(path)[1:]] == ["0", "1"]
    assert [float(r[2]) for r in rows(path)[1:]] == [4, 3]
    run(scripted([2]), callbacks.CSVLogger(path, append=True))
    assert [r[0] for r in rows(path)] == ["epoch", "0", "1", "0"]
    run(scripted([1]), callbacks.CSVLogger(str(path), separator=";"))
    assert rows(path, ";")[0] == ["epoch", "loss", "val_loss"] and len(rows(path, ";")) == 2


def test_csv_logger_with_logs_that_come_late(tmp_path):
    path = tmp_path / "log.csv"
    run(scripted([4]), callbacks.CSVLogger(path), epochs=3, validation_freq=2)
    head, *body = rows(path)
    assert head == ["epoch", "loss", "val_loss"]
    assert [r[2] for r in body] == ["NA", "4", "NA"]
    logger = callbacks.CSVLogger(path)
    logger.on_train_begin()
    logger.on_epoch_end(0, {"confusion": np.array([1, 2]), "name": "a"})
    assert rows(path)[1] == ["0", '"[1, 2]"', "a"]


def test_lambda_callback():
    seen = []
    hooks = {
        name: lambda *args, name=name: seen.append((name, *args[:-1]))
        for name in ("on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end")
    }
    model = scripted([1])
    run(model, callbacks.LambdaCallback(**hooks, on_test_end=lambda logs: seen.append(("on_test_end",))))
    assert seen == [
        ("on_train_begin",),
        ("on_epoch_begin", 0),
        ("on_train_batch_begin", 0),
        ("on_train_batch_end", 0),
        ("on_test_end",),
        ("on_epoch_end", 0),
    ]
    with pytest.raises(TypeError, match="on_epoch_end must be a function, got 3"):
        callbacks.LambdaCallback(on_epoch_end=3)
    assert callbacks.LambdaCallback(needs_live_state=False).needs_live_state is False


def averaged(**options):
    model = Scripted([])
    model._evaluate = lamina.Model._evaluate.__get__(model)
    model.compile(optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5), lambda y, p: -p, **options)
    return model


# After steps 1, 2, 3 the weight is 1, 2, 3 and its running mean 1, 1.5, 2.25.
def test_swap_ema_weights():
    model = averaged()
    live = []
    watch = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: live.append(float(model.count.value)))
    history = run(model, callbacks.SwapEMAWeights(), watch, epochs=3)
    assert history.history["val_loss"] == [-1.0, -1.5, -2.25]
    assert live == [1, 2, 3]
    assert float(model.count.value) == 2.25  # the end of fit leaves the mean in place


@pytest.mark.parametrize("stop", [False, True])
def test_swap_ema_weights_on_epoch(stop):
    model = averaged()
    live = []

    def look(epoch, logs):
        live.append(float(model.count.value))

    def end(epoch, logs):
        model.stop_training = stop and epoch == 2

    watchers = [callbacks.LambdaCallback(on_epoch_end=end), callbacks.SwapEMAWeights(swap_on_epoch=True)]
    history = run(model, *watchers, callbacks.LambdaCallback(on_epoch_end=look), epochs=9 if stop else 3)
    assert history.history["val_loss"] == [-1.0, -1.5, -2.25]
    assert live == [1, 1.5, 2.25]
    assert float(model.count.value) == 2.25


def test_swap_ema_weights_in_evaluate_and_predict():
    model = averaged()
    run(model, epochs=2)
    model.count.assign(7.0)  # the mean is 1.5
    swap = callbacks.SwapEMAWeights()
    assert model.evaluate(X, X, verbose=0, callbacks=[swap]) == -1.5
    assert model.predict(X, verbose=0, callbacks=[swap])[0, 0] == 1.5
    assert float(model.count.value) == 7.0
    plain = scripted([1])
    with pytest.raises(ValueError, match="use_ema=True"):
        run(plain, callbacks.SwapEMAWeights())


def test_the_public_names():
    names = {"Callback", "CallbackList", "History", "ProgbarLogger", "EarlyStopping", "LambdaCallback", "CSVLogger"}
    names |= {"LearningRateScheduler", "ReduceLROnPlateau", "TerminateOnNaN", "SwapEMAWeights"}
    assert names <= set(callbacks.__all__)
    assert callbacks.ProgbarLogger is ProgbarLogger
