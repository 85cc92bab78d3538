"""LearningRateFinder."""

from __future__ import annotations

import math
import os
import warnings
from typing import Any

import numpy as np

from lamina.callbacks.callback import Callback
from lamina.callbacks.snapshot import Snapshot
from lamina.core.checks import check_choice, check_int, check_number


class LearningRateFinder(Callback):
    """Tries ever larger learning rates over the batches of a fit, and suggests one.

        rate[i] = min_learning_rate * (max_learning_rate / min_learning_rate) ** (i / (steps - 1))

    The fit ends when the rates are through, or the loss has grown out of bounds. Weights, optimizer and learning rate
    are then as they were before, so that the training itself can follow. Give that fit as many epochs as it takes to
    have `steps` batches.

    Args:
        min_learning_rate: the first rate.
        max_learning_rate: the last.
        steps: the number of rates, one a batch; fewer if the fit has fewer batches.
        mode: "exponential" or "linear" growth.
        stop_factor: the trial ends once the smoothed loss is this many times its minimum; None for never.
        smoothing: the weight of the past in the smoothed loss.

    Attributes:
        learning_rates: the rates tried.
        losses: the loss of the batch that each was tried on.
        smoothed: the running means of these.

    Raises:
        ValueError: an argument is out of range; the learning rate is a schedule (when fit starts).

    Example:
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((1,)), layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x = np.linspace(-1, 1, 64)[:, None].astype("float32")
        >>> finder = LearningRateFinder(1e-4, 10.0, steps=50)
        >>> history = model.fit(x, 3 * x, batch_size=16, epochs=20, verbose=0, callbacks=[finder])
        >>> 1e-4 < finder.suggestion() < 10.0
        True

    Reference:
        https://arxiv.org/abs/1506.01186
    """

    def __init__(
        self,
        min_learning_rate: float = 1e-7,
        max_learning_rate: float = 10.0,
        steps: int = 100,
        mode: str = "exponential",
        stop_factor: float | None = 4.0,
        smoothing: float = 0.9,
    ):
        super().__init__()
        owner = "LearningRateFinder"
        self.min_learning_rate = check_number(owner, "min_learning_rate", min_learning_rate, 0)
        self.max_learning_rate = check_number(owner, "max_learning_rate", max_learning_rate, 0)
        if not 0 < min_learning_rate < max_learning_rate:
            raise ValueError(
                f"{owner}: min_learning_rate must be above 0 and below max_learning_rate, got {min_learning_rate} and "
                f"{max_learning_rate}."
            )
        self.steps = check_int(owner, "steps", steps, 3)
        self.mode = check_choice(owner, "mode", mode, ["exponential", "linear"])
        if stop_factor is not None:
            check_number(owner, "stop_factor", stop_factor, 1)
        self.stop_factor = stop_factor
        self.smoothing = check_number(owner, "smoothing", smoothing, 0, 1)
        if smoothing == 1:
            raise ValueError(f"{owner}: smoothing must be below 1, got {smoothing}.")
        self._snapshot: Snapshot | None = None
        self._reset(self.steps)

    def _reset(self, steps: int) -> None:
        self.learning_rates: list[float] = []
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self._mean = 0.0
        self._planned = steps

    def _rate(self, step: int) -> float:
        part = step / max(self._planned - 1, 1)
        low, high = self.min_learning_rate, self.max_learning_rate
        return low * (high / low) ** part if self.mode == "exponential" else low + (high - low) * part

    # ---- hooks

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Keeps the model as it is."""
        params = self.params or {}
        batches = params.get("steps")
        epochs = params.get("epochs", 1) - params.get("initial_epoch", 0)
        self._reset(min(self.steps, batches * epochs) if batches else self.steps)
        self._snapshot = Snapshot(self.model)
        self._set_rate(self._rate(0))

    def _set_rate(self, rate: float) -> None:
        try:
            self.model.optimizer.learning_rate = rate
        except (AttributeError, TypeError) as error:
            raise ValueError(
                f"LearningRateFinder: the learning rate of {self.model.optimizer!r} cannot be set ({error}). Compile "
                "the model with a number as learning_rate for the trial."
            ) from error

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the next rate."""
        if not self.model.stop_training:
            self.model.reset_metrics()  # so that the loss logged is that of the batch alone
            self._set_rate(self._rate(len(self.losses)))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the loss."""
        loss = float((logs or {})["loss"])
        self.learning_rates.append(self._rate(len(self.losses)))
        self.losses.append(loss)
        self._mean = self.smoothing * self._mean + (1 - self.smoothing) * loss
        smooth = self._mean / (1 - self.smoothing ** len(self.losses))
        self.smoothed.append(smooth)
        best = min(self.smoothed)
        diverged = self.stop_factor is not None and smooth - best > (self.stop_factor - 1) * abs(best)
        if len(self.losses) >= self._planned or not math.isfinite(smooth) or diverged:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the model back."""
        self.on_train_exit()
        if not self.model.stop_training:
            warnings.warn(
                f"LearningRateFinder: fit ended after {len(self.losses)} of {self._planned} batches, at a learning "
                f"rate of {self.learning_rates[-1] if self.losses else self.min_learning_rate:.3g}. Give it more "
                "epochs, or the finder fewer steps.",
                stacklevel=2,
            )

    def on_train_exit(self) -> None:
        """Puts the model back, if fit has failed too."""
        if self._snapshot is not None:
            self._snapshot.restore()
            self._snapshot = None

    # ---- what it found

    def suggestion(self, skip_begin: int = 5, skip_end: int = 1) -> float:
        """The rate at which the smoothed loss falls fastest (over the logarithm of the rate).

        Args:
            skip_begin: how many of the first rates do not count.
            skip_end: how many of the last.

        Raises:
            ValueError: too few rates were tried, or the loss never falls.
        """
        smoothed = np.asarray(self.smoothed)
        finite = np.flatnonzero(np.isfinite(smoothed))
        chosen = finite[skip_begin : len(finite) - skip_end]
        if len(chosen) < 3:
            raise ValueError(
                f"LearningRateFinder: {len(smoothed)} rates were tried, too few for a suggestion. Run fit with this "
                "callback first, with more steps."
            )
        rates = np.asarray(self.learning_rates)[chosen]
        slopes = np.gradient(smoothed[chosen], np.log(rates))
        if slopes.min() >= 0:
            raise ValueError(
                "LearningRateFinder: the loss did not fall at any rate, so there is none to suggest. Look at plot(); "
                "try a smaller min_learning_rate."
            )
        return float(rates[int(slopes.argmin())])

    def plot(self, path: str | os.PathLike | None = None) -> Any:
        """Draws the loss over the rate, with the suggestion.

        Args:
            path: where the picture is written, if anywhere.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError(
                "LearningRateFinder: plot needs matplotlib. Install it with pip install 'lamina[plot]'."
            ) from None
        figure = Figure(figsize=(6, 4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.plot(self.learning_rates, self.losses, color="#c8d3e0", label="loss of the batch")
        axes.plot(self.learning_rates, self.smoothed, color="#1f4e79", label="smoothed")
        if self.mode == "exponential":
            axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        finite = [v for v in self.smoothed if math.isfinite(v)]
        if finite:  # what has grown out of bounds would flatten the rest
            margin = max(finite[0] - min(finite), 1e-12) * 0.3
            axes.set_ylim(min(finite) - margin, finite[0] + 3 * margin)
        try:
            rate = self.suggestion()
        except ValueError:
            pass
        else:
            value = self.smoothed[self.learning_rates.index(rate)]
            axes.plot([rate], [value], "o", color="#c0392b", label=f"suggestion {rate:.2e}")
        axes.legend()
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure
