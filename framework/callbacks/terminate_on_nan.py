"""TerminateOnNaN."""

from __future__ import annotations

import math
from typing import Any

from lamina.callbacks.callback import Callback
from lamina.callbacks.monitor import say


class TerminateOnNaN(Callback):
    """Stops training at the batch at which the loss becomes NaN or infinite.

    Since it looks at each batch before the next one is run, batches are run one by one.

    Args:
        raise_error: whether to raise an error rather than to end training in order.

    Raises:
        RuntimeError: the loss is not finite, and `raise_error` is set.

    Example:
        >>> import numpy as np
        >>> from lamina import Input, Sequential, layers
        >>> model = Sequential([Input((1,)), layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x = np.full((4, 1), np.nan, "float32")
        >>> history = model.fit(x, x, batch_size=1, epochs=2, verbose=0, callbacks=[TerminateOnNaN()])
        Batch 0: Invalid loss, terminating training
        >>> history.epoch
        [0]
    """

    def __init__(self, raise_error: bool = False):
        super().__init__()
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the loss."""
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(
                f"TerminateOnNaN: the loss is {loss} at batch {batch}. Lower the learning rate, clip the gradients, or "
                "look for NaN in the data."
            )
        say(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
