import math
import sys
import types

import numpy as np
import pytest

import lamina
from lamina import callbacks, layers

X = np.ones((8, 1), "float32")


def fit(plot, epochs=3, **kwargs):
    model = lamina.Sequential([lamina.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model.fit(X, X, epochs=epochs, verbose=0, callbacks=[plot], **kwargs).history


@pytest.fixture
def notebook(monkeypatch):
    """A notebook that notes what it is given to show."""
    shown = []

    class Handle:
        def update(self, image):
            shown.append(("update", image.data))

    def display(image, display_id=None):
        shown.append(("display", image.data))
        return Handle() if display_id else None

    module = types.ModuleType("IPython")
    module.display = types.SimpleNamespace(display=display, Image=lambda data: types.SimpleNamespace(data=data))
    module.get_ipython = lambda: object()
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "IPython", module)
    return shown


@pytest.fixture
def no_notebook(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)


def test_curves(no_notebook):
    plot = callbacks.ProgressPlot()
    history = fit(plot, 4, validation_data=(X, X), validation_freq=2)
    assert plot.epochs == [1, 2, 3, 4] and plot.history["loss"] == history["loss"]
    assert [math.isnan(v) for v in plot.history["val_loss"]] == [True, False, True, False]
    loss, mae = plot.draw().axes
    assert (loss.get_title(), mae.get_title()) == ("loss", "mae")
    training, validation = loss.lines
    assert list(training.get_ydata()) == history["loss"] and list(validation.get_xdata()) == [2, 4]
    assert list(validation.get_ydata()) == history["val_loss"]
    assert [a.get_title() for a in callbacks.ProgressPlot("mae").draw().axes] == []


def test_nothing_is_drawn_outside_of_a_notebook(no_notebook, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(callbacks.ProgressPlot, "draw", lambda self: pytest.fail("drawn"))
    fit(callbacks.ProgressPlot())
    assert not list(tmp_path.iterdir())


def test_file(no_notebook, tmp_path):
    path = tmp_path / "curves.png"
    fit(callbacks.ProgressPlot(["loss"], path=path))
    assert path.read_bytes()[:4] == b"\x89PNG" and [p.name for p in tmp_path.iterdir()] == ["curves.png"]


def test_notebook(notebook):
    plot = callbacks.ProgressPlot(["loss"], every=2)
    fit(plot, 5)
    assert [kind for kind, _ in notebook] == ["display", "update", "update"]  # epochs 2 and 4, and the end
    assert all(data[:4] == b"\x89PNG" for _, data in notebook)
    fit(plot, 2)
    assert notebook[-1][0] == "display"


def test_curves_go_on_after_a_resume(no_notebook):
    first, second = callbacks.ProgressPlot(), callbacks.ProgressPlot()
    fit(first, 2)
    second.on_train_begin()
    second.set_state(first.get_state())
    second.on_epoch_end(2, {"loss": 0.25, "new": 1.0, "text": "no"})
    assert second.epochs == [1, 2, 3] and second.history["loss"] == [*first.history["loss"], 0.25]
    assert math.isnan(second.history["mae"][2]) and "text" not in second.history
    assert [math.isnan(v) for v in second.history["new"]] == [True, True, False]


def test_the_extra_is_named(no_notebook, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'lamina\[notebook\]'"):
        fit(callbacks.ProgressPlot(path=tmp_path / "x.png"))
