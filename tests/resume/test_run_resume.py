"""A run that is stopped at any step and resumed equals the run that was left alone, bit for bit."""

from __future__ import annotations

import itertools
import os
import signal
import threading

import numpy as np
import pytest

from lamina import Input, Sequential, callbacks, layers, optimizers
from lamina.checkpoint import CheckpointError, CheckpointManager, load_checkpoint
from lamina.datasets import Dataset
from lamina.utils import PyDataset, set_random_seed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(22, 4)).astype("float32")
Y = (X.sum(1, keepdims=True) > 0).astype("float32")


class Stopped(Exception):
    """Stands for a crash."""


class StopAfter(callbacks.Callback):
    """Raises after so many batches."""

    needs_live_state = False

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_progress(self, kind, done, logs):
        if kind == "train":
            self.left -= 1
            if self.left == 0:
                raise Stopped

    def next_boundary(self, kind, done):
        return done + 1

    runs_last = True


def make_model():
    model = Sequential(
        [
            Input((4,)),
            layers.GaussianNoise(0.1),
            layers.Dense(5, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizers.Adam(0.02, use_ema=True, ema_momentum=0.9), "binary_crossentropy", metrics=["accuracy"])
    return model


class Numbered(PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, number):
        return X[number * 8 :][:8], Y[number * 8 :][:8]


class Cursor:
    """An iterator of a user's own that can be repositioned."""

    def __init__(self):
        self.position = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.position += 1
        rows = np.random.default_rng(self.position).integers(0, 22, 8)
        return X[rows], Y[rows]

    def get_state(self):
        return {"position": self.position}

    def set_state(self, state):
        self.position = state["position"]


def stream():
    for number in itertools.count():
        rows = np.random.default_rng(number).integers(0, 22, 8)
        yield X[rows], Y[rows]


SOURCES = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": 8},
    "arrays, passes split": lambda: {"x": X, "y": Y, "batch_size": 6, "steps_per_epoch": 2},
    "dataset": lambda: {"x": Dataset.from_tensor_slices((X, Y)).shuffle(12).batch(8)},
    "endless dataset": lambda: (
        {"x": Dataset.from_tensor_slices((X, Y)).shuffle(9).repeat().batch(8)} | {"steps_per_epoch": 3}
    ),
    "PyDataset": lambda: {"x": Numbered()},
    "cursor": lambda: {"x": Cursor(), "steps_per_epoch": 3},
    "generator": lambda: {"x": stream(), "steps_per_epoch": 3},
}


def train(model, source, folder=None, stop=0, **kwargs):
    used = [
        callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.2),
        callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True),
        callbacks.SwapEMAWeights(),
    ]
    if folder is not None:
        used.append(callbacks.BackupAndRestore(folder, save_freq=1, delete_checkpoint=False))
    if stop:
        used.append(StopAfter(stop))
    data = SOURCES[source]()
    return model.fit(**data, epochs=3, verbose=0, callbacks=used, validation_data=(X[:6], Y[:6]), **kwargs)


def start_again(model, seed):
    """The model as a new process would have it: fresh weights, seeds, counters."""
    set_random_seed(seed)
    fresh = make_model()
    model.set_weights(fresh.get_weights())
    for v in model.optimizer.variables:
        v.assign(np.zeros(v.shape, v.dtype))
    model.optimizer.learning_rate = 0.02
    for average, weight in zip(model.optimizer.averages, model.trainable_variables, strict=True):
        average[1].assign(weight.numpy())
    model.__dict__.pop("_seed_value", None)
    model._steps_done = 0


QUICK = ("arrays", "endless dataset", "generator")


@pytest.mark.parametrize("source", [pytest.param(s, marks=[] if s in QUICK else pytest.mark.slow) for s in SOURCES])
@pytest.mark.filterwarnings("ignore:BackupAndRestore. x cannot tell its position")
def test_resume_at_every_step(source, tmp_path):
    model = make_model()
    model.fit(**SOURCES[source](), epochs=1, verbose=0)
    start_again(model, 7)
    whole = train(model, source)
    expected, steps = model.get_weights(), model._steps_done
    rates = whole.history["learning_rate"]
    assert len(set(rates)) == len(rates)  # the scheduler and the plateau have had their say
    for stop in range(1, steps + 1):
        folder = tmp_path / str(stop)
        start_again(model, 7)
        with pytest.raises(Stopped):
            train(model, source, folder, stop)
        start_again(model, 8)
        resumed = train(model, source, folder)
        assert resumed.history == whole.history, stop
        assert resumed.epoch == whole.epoch
        for a, b in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(a, b)
        assert model._steps_done == steps


def test_a_finished_run_is_not_run_again(tmp_path):
    model = make_model()
    first = model.fit(X, Y, epochs=2, verbose=0, resume=tmp_path)
    weights = model.get_weights()
    other = make_model()
    again = other.fit(X, Y, epochs=2, verbose=0, resume=tmp_path)
    assert again.history == first.history
    for a, b in zip(other.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)
    more = other.fit(X, Y, epochs=3, verbose=0, resume=tmp_path)
    assert more.epoch == [0, 1, 2]
    assert more.history["loss"][:2] == first.history["loss"]


def test_restoring_compiles_nothing_anew(tmp_path):
    model = make_model()
    model.fit(X[:16], Y[:16], batch_size=8, epochs=1, verbose=0, resume=tmp_path)
    (program,) = [p for k, p in model._programs.items() if k[0][0] == "train"]
    assert program.compilations == 1
    model.fit(X[:16], Y[:16], batch_size=8, epochs=3, verbose=0, resume=tmp_path)
    assert program.compilations == 1


def test_generator_gets_an_honest_message(tmp_path):
    model = make_model()
    with pytest.warns(UserWarning, match="cannot tell its position.*exact only if x gives the same batches"):
        model.fit(stream(), steps_per_epoch=2, epochs=1, verbose=0, resume=tmp_path)


def test_other_data_in_the_middle_of_an_epoch(tmp_path):
    model = make_model()
    with pytest.raises(Stopped):
        train(model, "arrays", tmp_path, stop=2)
    with pytest.raises(ValueError, match="22 samples then, 20 now"):
        model.fit(X[:20], Y[:20], batch_size=8, verbose=0, resume=tmp_path)
    with pytest.raises(ValueError, match="8 samples a batch then, 4 now"):
        model.fit(X, Y, batch_size=4, verbose=0, resume=tmp_path)


def test_changed_model_is_told_of_by_name(tmp_path):
    make_model().fit(X, Y, epochs=1, verbose=0, resume=tmp_path)
    model = Sequential([Input((4,)), layers.Dense(6), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError) as error:
        model.fit(X, Y, epochs=2, verbose=0, resume=tmp_path)
    text = str(error.value)
    for part in (
        "optimizer/sgd/iteration",  # missing
        "batch_normalization/gamma",  # unexpected
        "'dense/kernel' has shape (4, 6), in the file it has (4, 5)",
        "skip_mismatch=True",
    ):
        assert part in text
    assert model.training_run is None


def test_changed_dtype_is_told_of_by_name(tmp_path):
    def train(dtype):
        model = Sequential([Input((4,)), layers.Dense(1, dtype=dtype)])
        model.compile("sgd", "mse")
        return model.fit(X, Y, epochs=1, verbose=0, resume=tmp_path)

    train("float32")
    with pytest.raises(ValueError, match="'dense/kernel' is bfloat16, in the file float32"):
        train("bfloat16")


def test_weights_of_another_kind_of_file_are_no_run(tmp_path):
    model = make_model()
    manager = CheckpointManager(tmp_path)
    manager.save(3, {v.path: v.numpy() for v in model.weights})
    manager.close()
    with pytest.raises(ValueError, match="holds no state of a run"):
        model.fit(X, Y, epochs=1, verbose=0, resume=tmp_path)


def test_sigterm_saves_and_ends_with_143(tmp_path):
    class Terminate(callbacks.Callback):
        needs_live_state = False

        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    model = make_model()
    with pytest.raises(SystemExit) as end:
        model.fit(X, Y, batch_size=8, epochs=2, verbose=0, resume=tmp_path, callbacks=[Terminate()])
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    step = int(load_checkpoint(tmp_path).get_tensor("global_step"))
    assert 2 <= step <= 3
    assert model._steps_done == step
    assert model.fit(X, Y, batch_size=8, epochs=2, verbose=0, resume=tmp_path).epoch == [0, 1]


def test_sigterm_during_validation(tmp_path):
    class Terminate(callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            os.kill(os.getpid(), signal.SIGTERM)

    set_random_seed(1)
    model = make_model()
    weights = model.get_weights()
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0, validation_data=(X, Y))
    expected = model.get_weights()
    set_random_seed(1)
    model = make_model()
    model.set_weights(weights)
    swap = callbacks.SwapEMAWeights()
    with pytest.raises(SystemExit) as end:
        model.fit(X, Y, 8, 2, verbose=0, validation_data=(X, Y), resume=tmp_path, callbacks=[Terminate(), swap])
    assert end.value.code == 143
    history = model.fit(X, Y, batch_size=8, epochs=2, verbose=0, validation_data=(X, Y), resume=tmp_path)
    assert len(history.history["val_loss"]) == 2
    for a, b in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_max_time_ends_with_143(tmp_path):
    model = make_model()
    backup = callbacks.BackupAndRestore(tmp_path, max_time=0)
    with pytest.raises(SystemExit) as end:
        model.fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=[backup])
    assert end.value.code == 143
    assert load_checkpoint(tmp_path).has_tensor("training_run/state")


def test_outside_the_main_thread(tmp_path):
    model = make_model()
    runs = []
    thread = threading.Thread(target=lambda: runs.append(model.fit(X, Y, epochs=1, verbose=0, resume=tmp_path)))
    thread.start()
    thread.join()
    assert runs[0].epoch == [0]


def test_seconds_between_saves(tmp_path):
    model = make_model()
    manager = CheckpointManager(tmp_path, max_to_keep=None, asynchronous=False)
    backup = callbacks.BackupAndRestore(manager, delete_checkpoint=False, save_seconds=0)
    boundary = StopAfter(100)  # one step a call
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0, callbacks=[backup, boundary])
    assert 3 in manager.steps()


def test_backup_is_removed_at_a_good_end(tmp_path):
    make_model().fit(X, Y, epochs=1, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_failing_writer_fails_the_run_or_not_as_one_chose(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(CheckpointError, match="could not be written.*on_error='warn'"):
        make_model().fit(X, Y, epochs=3, verbose=0, resume=blocked / "run")
    manager = CheckpointManager(blocked / "run", on_error="warn")
    with pytest.warns(UserWarning, match="could not be written"):
        history = make_model().fit(X, Y, epochs=3, verbose=0, resume=manager)
    assert history.epoch == [0, 1, 2]


def test_metrics_choose_the_best(tmp_path):
    manager = CheckpointManager(tmp_path, max_to_keep=1, keep_best=1, monitor="loss", asynchronous=False)
    model = make_model()
    history = model.fit(X, Y, batch_size=8, epochs=6, verbose=0, resume=manager)
    best = int(np.argmin(history.history["loss"]))
    assert manager.best == manager.path(3 * (best + 1))
    assert manager.steps() == sorted({3 * (best + 1), 18})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backup_dir": 3}, "backup_dir must be a folder"),
        ({"backup_dir": "run", "save_freq": "batch"}, "save_freq must be 'epoch' or a number"),
        ({"backup_dir": "run", "save_freq": 0}, "save_freq"),
        ({"backup_dir": "run", "max_time": -1}, "max_time"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        callbacks.BackupAndRestore(**arguments)


def test_validation_data_keep_their_order_if_the_run_stopped_before_the_first_validation(tmp_path):
    def run(seed, stop=0, folder=tmp_path / "none"):
        set_random_seed(seed)
        model = make_model()
        backup = callbacks.BackupAndRestore(folder, save_freq=1, delete_checkpoint=False)
        data = Dataset.from_tensor_slices((X, Y)).shuffle(9).batch(8)
        few = Dataset.from_tensor_slices((X, Y)).shuffle(22).batch(4)
        used = [backup, StopAfter(stop)] if stop else [backup]
        return model.fit(data, epochs=2, verbose=0, validation_data=few, validation_steps=2, callbacks=used)

    whole = run(3).history
    with pytest.raises(Stopped):
        run(3, stop=2, folder=tmp_path / "stopped")
    assert run(4, folder=tmp_path / "stopped").history == whole
