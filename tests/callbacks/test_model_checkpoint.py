"""ModelCheckpoint: what is saved when, under which name."""

import os

import numpy as np
import pytest

from lamina import Input, Sequential, callbacks, layers
from lamina.callbacks import ModelCheckpoint
from lamina.saving import load_model

X = np.linspace(0, 1, 12, dtype="float32")[:, None]


def compiled():
    model = Sequential([Input((1,)), layers.Dense(1, kernel_initializer="zeros", name="out")])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def fit(model, *given, epochs=3, **kwargs):
    return model.fit(X, 2 * X, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=list(given), **kwargs)


class Scripted(callbacks.Callback):
    """Puts given values into the logs, ahead of the callback under test."""

    def __init__(self, name, values):
        super().__init__()
        self.name, self.values = name, values

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


def test_a_file_an_epoch_under_filled_in_names(tmp_path):
    model = compiled()
    history = fit(model, ModelCheckpoint(tmp_path / "run" / "{epoch:02d}-{mae:.4f}.keras"))
    names = [f"{e + 1:02d}-{v:.4f}.keras" for e, v in enumerate(history.history["mae"])]
    assert sorted(os.listdir(tmp_path / "run")) == names
    last = load_model(tmp_path / "run" / names[-1])
    np.testing.assert_array_equal(last.get_weights()[0], model.get_weights()[0])
    assert int(last.optimizer.iterations) == 9


@pytest.mark.parametrize(
    "mode, values, threshold, saved",
    [
        ("min", [3.0, 2.0, 2.5, 1.0], None, [1, 2, 4]),
        ("max", [3.0, 2.0, 2.5, 4.0], None, [1, 4]),
        ("min", [3.0, 2.0, 2.5, 1.0], 2.2, [2, 4]),
        ("max", [3.0, 2.0, 2.5, 4.0], 9.0, []),
    ],
)
def test_only_the_best(tmp_path, capsys, mode, values, threshold, saved):
    saving = ModelCheckpoint(
        tmp_path / "{epoch}.safetensors",
        monitor="score",
        mode=mode,
        verbose=1,
        save_best_only=True,
        save_weights_only=True,
        initial_value_threshold=threshold,
    )
    fit(compiled(), Scripted("score", values), saving, epochs=4)
    assert sorted(os.listdir(tmp_path)) == [f"{e}.safetensors" for e in saved]
    out = capsys.readouterr().out
    assert out.count("saved the model to") == len(saved) and out.count("did not improve") == 4 - len(saved)


def test_every_so_many_batches_across_epochs(tmp_path):
    model = compiled()
    saving = ModelCheckpoint(tmp_path / "{epoch}-{batch}-w", save_freq=2, save_weights_only=True)
    fit(model, saving)  # 3 epochs of 3 batches
    assert sorted(n for n in os.listdir(tmp_path) if n.endswith("index")) == [
        "1-2-w.index",
        "2-1-w.index",
        "2-3-w.index",
        "3-2-w.index",
    ]
    # what is on disk are the weights of that batch
    twin, early = compiled(), compiled()
    twin.fit(X[:8], 2 * X[:8], batch_size=4, shuffle=False, verbose=0)
    early.load_weights(tmp_path / "1-2-w")
    np.testing.assert_allclose(early.get_weights()[0], twin.get_weights()[0], rtol=1e-6)


def test_state_for_a_run_that_is_resumed(tmp_path):
    saving = ModelCheckpoint(tmp_path / "m.keras", monitor="loss", save_best_only=True)
    fit(compiled(), saving)
    twin = ModelCheckpoint(tmp_path / "m.keras", monitor="loss", save_best_only=True)
    twin.set_state(saving.get_state())
    assert twin.best == saving.best < float("inf")


def test_a_log_that_there_is_none_of(tmp_path):
    saving = ModelCheckpoint(tmp_path / "m.keras", monitor="val_loss", save_best_only=True)
    with pytest.warns(UserWarning, match="val_loss.*not among the logs"):
        fit(compiled(), saving, epochs=1)
    assert (tmp_path / "m.keras").exists()
    with pytest.raises(ValueError, match=r"val_loss.*may name 'epoch'"):
        fit(compiled(), ModelCheckpoint(tmp_path / "{val_loss}.keras"), epochs=1)


def test_paths():
    with pytest.raises(ValueError, match="must end with '.keras'.*save_weights_only"):
        ModelCheckpoint("run/weights")
    with pytest.raises(ValueError, match="must end with '.keras'.*save_weights_only"):
        ModelCheckpoint("m.weights.h5")
    for path in ("m.keras", "m.h5", "m.npz"):
        with pytest.raises(ValueError, match="must end with '.weights.h5'"):
            ModelCheckpoint(path, save_weights_only=True)
    with pytest.raises(ValueError, match="save_freq must be .epoch. or a number of batches"):
        ModelCheckpoint("m.keras", save_freq="batch")


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "m.keras").mkdir()
    with pytest.raises(IsADirectoryError, match="m.keras"):
        fit(compiled(), ModelCheckpoint(tmp_path / "m.keras"), epochs=1)
