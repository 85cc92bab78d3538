"""ProgressPlot."""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina.callbacks.callback import Callback
from lamina.checkpoint.files import replacing
from lamina.core.checks import check_int


class ProgressPlot(Callback):
    """Draws the logs over the epochs, in a notebook while training runs; training and validation share a panel.

    Outside of a notebook nothing is drawn, but for the file `path`, if it is given. Needs the extra `notebook`.

    Args:
        metrics: the logs to draw, such as ["loss", "accuracy"]; by default all.
        path: a PNG file that is kept up to date.
        every: the number of epochs from one drawing to the next.
        columns: the most panels side by side.

    Attributes:
        epochs: the epochs drawn.
        history: the values by log name, nan where there was none.

    Example:
        >>> import numpy as np, tempfile
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((1,)), layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x, path = np.ones((4, 1), "float32"), os.path.join(tempfile.mkdtemp(), "curves.png")
        >>> plot = ProgressPlot(path=path)
        >>> history = model.fit(x, x, epochs=2, verbose=0, callbacks=[plot])
        >>> os.path.exists(path), plot.epochs
        (True, [1, 2])
    """

    needs_live_state = False

    def __init__(
        self,
        metrics: Sequence[str] | None = None,
        path: str | os.PathLike | None = None,
        every: int = 1,
        columns: int = 2,
    ):
        super().__init__()
        self.metrics = [metrics] if isinstance(metrics, str) else None if metrics is None else list(metrics)
        self.path = None if path is None else os.fspath(path)
        self.every = check_int("ProgressPlot", "every", every, 1)
        self.columns = check_int("ProgressPlot", "columns", columns, 1)
        self._reset()

    def _reset(self) -> None:
        self.epochs: list[int] = []
        self.history: dict[str, list[float]] = {}
        self._handle: Any = None
        self._drawn = 0

    def get_state(self) -> dict[str, Any]:
        """The curves so far."""
        return {"epochs": list(self.epochs), "history": {k: list(v) for k, v in self.history.items()}}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on with these curves."""
        self.epochs = [int(e) for e in state["epochs"]]
        self.history = {k: [float(x) for x in v] for k, v in state["history"].items()}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts afresh."""
        self._reset()
        if self.path is not None or _displayer() is not None:
            _figure_class()  # better missing now than after an epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the logs to the curves."""
        for name, value in (logs or {}).items():
            if np.ndim(value) == 0 and not isinstance(value, str):
                values = self.history.setdefault(name, [])
                values += [math.nan] * (len(self.epochs) - len(values)) + [float(value)]
        self.epochs.append(epoch + 1)
        for values in self.history.values():
            values += [math.nan] * (len(self.epochs) - len(values))
        if len(self.epochs) % self.every == 0:
            self._show()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Draws the last epochs, if they are not yet."""
        if self._drawn < len(self.epochs):
            self._show()

    def _show(self) -> None:
        display = _displayer()
        if self.path is None and display is None:
            return
        self._drawn = len(self.epochs)
        data = io.BytesIO()
        self.draw().savefig(data, format="png", dpi=100)
        if self.path is not None:
            with replacing(self.path) as file:
                file.write(data.getvalue())
        if display is not None:
            self._handle = display(data.getvalue(), self._handle)

    def draw(self) -> Any:
        """The curves as a matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        found = [k for k in self.history if not (k.startswith("val_") and k[4:] in self.history)]
        names = found if self.metrics is None else [m for m in self.metrics if m in self.history]
        columns = min(self.columns, max(len(names), 1))
        rows = max(math.ceil(len(names) / columns), 1)
        figure = _figure_class()(figsize=(5 * columns, 3.2 * rows), layout="constrained")
        for i, name in enumerate(names):
            axes = figure.add_subplot(rows, columns, i + 1)
            axes.plot(self.epochs, self.history[name], ".-", color="#1f4e79", label="training")
            if f"val_{name}" in self.history:
                values = np.array(self.history[f"val_{name}"])
                there = np.isfinite(values)  # a validation every few epochs is one curve too
                axes.plot(np.array(self.epochs)[there], values[there], ".-", color="#d9822b", label="validation")
                axes.legend()
            axes.set_title(name)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
        return figure


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("ProgressPlot needs matplotlib. Install it with pip install 'lamina[notebook]'.") from None
    return Figure


def _displayer() -> Callable[[bytes, Any], Any] | None:
    """In a notebook, a function that shows a PNG in place of the one before, and returns what to call it with next."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython import display, get_ipython

    if get_ipython() is None:
        return None

    def show(png: bytes, handle: Any) -> Any:
        image = display.Image(data=png)
        if handle is None:
            return display.display(image, display_id=True)
        handle.update(image)
        return handle

    return show
