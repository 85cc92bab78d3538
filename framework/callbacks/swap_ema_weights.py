"""SwapEMAWeights."""

from __future__ import annotations

from typing import Any

from lamina.callbacks.callback import Callback


class SwapEMAWeights(Callback):
    """Evaluates and predicts with the running means of the weights that the optimizer keeps.

    The weights and their means change places before an evaluation, and back after it. The optimizer must have
    `use_ema=True`.

    Args:
        swap_on_epoch: whether they also change places at the end of each epoch and back at the start of the next, so
            that callbacks after this one, such as `ModelCheckpoint`, see the means.

    Raises:
        ValueError: the optimizer keeps no means.

    Example:
        >>> import numpy as np
        >>> from lamina import Input, Sequential, layers, optimizers
        >>> model = Sequential([Input((1,)), layers.Dense(1)])
        >>> model.compile(optimizers.SGD(0.1, use_ema=True), "mse")
        >>> x = np.ones((4, 1), "float32")
        >>> history = model.fit(x, x, validation_data=(x, x), verbose=0, callbacks=[SwapEMAWeights()])
    """

    def __init__(self, swap_on_epoch: bool = False):
        super().__init__()
        self.swap_on_epoch = swap_on_epoch
        self._swapped = False

    def _averages(self) -> list[tuple[Any, Any]]:
        pairs = getattr(self.model.optimizer, "averages", [])
        if not pairs:
            raise ValueError(
                f"SwapEMAWeights: the optimizer {self.model.optimizer!r} keeps no running means of the weights. Make "
                "it with use_ema=True, as in Adam(use_ema=True), and fit the model first."
            )
        return pairs

    def _swap(self, wanted: bool) -> None:
        """Sees to it that the means are in the weights' place, or that they are not."""
        if self._swapped == wanted:
            return
        for variable, average in self._averages():
            value = variable.stored
            variable.assign(average.stored)
            average.assign(value)
        self._swapped = wanted

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Swaps back."""
        if self.swap_on_epoch:
            self._swap(False)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Swaps the means in."""
        if not self.swap_on_epoch:
            return
        self._swap(True)
        if self.model.stop_training or epoch == (self.params or {}).get("epochs", 0) - 1:
            # The end of fit puts the means in the weights' place once more, so both must hold them.
            for variable, average in self._averages():
                average.assign(variable.stored)
            self._swapped = False

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Swaps the means in."""
        self._swap(True)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Swaps back."""
        self._swap(False)

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Swaps the means in."""
        self._swap(True)

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        """Swaps back."""
        self._swap(False)

    def get_state(self) -> dict[str, Any]:
        """Whether the means stand in the weights' place."""
        return {"swapped": self._swapped}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes it back; the weights and means themselves are the run's."""
        self._swapped = state["swapped"]
