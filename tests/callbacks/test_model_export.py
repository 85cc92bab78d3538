"""ModelExport: what is exported when."""

import os

import numpy as np
import pytest

from lamina import Input, Sequential, callbacks, layers, load_frozen
from lamina.callbacks import ModelExport

X = np.linspace(0, 1, 12, dtype="float32")[:, None]


class Scripted(callbacks.Callback):
    """Puts given values into the logs, and notes the weights of each epoch."""

    def __init__(self, values):
        super().__init__()
        self.values, self.outputs = values, []

    def on_epoch_end(self, epoch, logs=None):
        logs["val_score"] = self.values[epoch]
        self.outputs.append(self.model(X))


def trained(values, *given):
    model = Sequential([Input((1,)), layers.Dense(1, kernel_initializer="zeros", name="out")])
    model.compile("sgd", "mse")
    script = Scripted(values)
    model.fit(X, 2 * X, batch_size=4, epochs=len(values), shuffle=False, verbose=0, callbacks=[script, *given])
    return model, script.outputs


@pytest.mark.parametrize("mode, values, best", [("max", [1, 3, 2], 1), ("min", [3, 2, 2.5], 1), ("max", [1, 2, 3], 2)])
def test_the_best_epoch_is_what_is_exported(mode, values, best, tmp_path):
    export = ModelExport(tmp_path / "new" / "m.pb", format="frozen", monitor="val_score", mode=mode)
    _, outputs = trained(values, export)
    np.testing.assert_allclose(load_frozen(tmp_path / "new" / "m.pb")(X), outputs[best], rtol=1e-6)
    assert export.best == values[best]


def test_without_a_monitor_the_last_weights_are_exported_once(tmp_path, capsys):
    export = ModelExport(tmp_path / "m", verbose=1)
    model, _ = trained([0, 0, 0], export)
    np.testing.assert_allclose(load_frozen(tmp_path / "m")(X), model(X), rtol=1e-6)
    assert capsys.readouterr().out.count(os.fspath(tmp_path / "m")) >= 1 and export.report.parameters == 2


def test_options_of_the_format(tmp_path):
    export = ModelExport(tmp_path / "m.tflite", format="tflite", precision="int8", representative_data=X)
    model, _ = trained([0, 0], export)
    assert export.report.precision == "int8"
    np.testing.assert_allclose(load_frozen(tmp_path / "m.tflite")(X), model(X), atol=0.02)


def test_a_resumed_run_knows_its_best(tmp_path):
    export = ModelExport(tmp_path / "m.pb", format="frozen", monitor="val_score", mode="max")
    export.set_state({"best": 5.0})
    trained([1, 2], export)
    assert not (tmp_path / "m.pb").exists()


def test_a_log_that_is_not_there_is_told(tmp_path):
    with pytest.warns(UserWarning, match="monitor='val_scor' is not among the logs.*Did you mean 'val_score'"):
        trained([1], ModelExport(tmp_path / "m.pb", format="frozen", monitor="val_scor", mode="max"))
    assert not (tmp_path / "m.pb").exists()
