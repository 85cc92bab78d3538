"""A run that an error ends in the middle of an epoch, and that is resumed, through fit itself."""

import numpy as np
import pytest
from test_tensorboard import scalars

import lamina
from lamina import callbacks, layers, optimizers

X = np.random.default_rng(0).normal(size=(48, 3)).astype("float32")
Y = X[:, :1] * 2


def network():
    lamina.utils.set_random_seed(3)
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(4), layers.Dropout(0.2), layers.Dense(1)])
    model.compile(optimizers.Adam(0.02), "mse")
    return model


class Break(callbacks.Callback):
    """Ends the process's run at a step; a process that is killed does no more than this."""

    needs_live_state = False

    def __init__(self, epoch, batch):
        super().__init__()
        self.place, self.epoch = (epoch, batch), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            raise RuntimeError("killed")


def watchers(folder):
    return {
        "swa": callbacks.StochasticWeightAveraging(2, 0.05, annealing_epochs=3),
        "tensorboard": callbacks.TensorBoard(folder, update_freq=2, write_graph=False),
        "timer": callbacks.Timer(),
        "plot": callbacks.ProgressPlot(),
    }


def fit(model, found, *more, folder=None):
    saves = [] if folder is None else [callbacks.BackupAndRestore(folder, save_freq=1, delete_checkpoint=False)]
    return model.fit(X, Y, batch_size=8, epochs=6, verbose=0, callbacks=[*found.values(), *more, *saves])


def test_resumed_runs_are_exact(tmp_path):
    whole = network()
    expected = watchers(tmp_path / "whole")
    history = fit(whole, expected).history
    with pytest.raises(RuntimeError, match="killed"):
        fit(network(), watchers(tmp_path / "parts"), Break(3, 3), folder=tmp_path / "backup")
    model, found = network(), watchers(tmp_path / "parts")
    assert fit(model, found, folder=tmp_path / "backup").history == history
    for a, b in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert found["swa"].count == expected["swa"].count == 4
    assert found["timer"].steps == 36 and len(found["timer"].epoch_seconds) == 6
    assert found["plot"].history == expected["plot"].history and found["plot"].epochs == expected["plot"].epochs
    one, parts = (scalars(tmp_path / name / "train") for name in ("whole", "parts"))
    for tag in ("batch_loss", "epoch_loss", "epoch_learning_rate"):
        assert dict(parts[tag]) == dict(one[tag]), tag
