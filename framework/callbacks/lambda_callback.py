"""LambdaCallback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina.callbacks.callback import Callback
from lamina.core.errors import describe


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        on_epoch_begin: called with (epoch, logs).
        on_epoch_end: called with (epoch, logs).
        on_train_begin: called with (logs).
        on_train_end: called with (logs).
        on_train_batch_begin: called with (batch, logs).
        on_train_batch_end: called with (batch, logs).
        **kwargs: functions for other hooks by name, such as `on_test_end`; or other attributes, such as
            `needs_live_state=False` for functions of a batch that look at `batch` and `logs` alone.

    Raises:
        TypeError: what is given for a hook cannot be called.

    Example:
        >>> seen = []
        >>> callback = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["loss"]))
        >>> callback.on_epoch_end(0, {"loss": 0.5})
        >>> seen
        [0.5]
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__()
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, value in hooks.items():
            if value is None:
                continue
            if name.startswith("on_") and not callable(value):
                raise TypeError(f"LambdaCallback: {name} must be a function, got {describe(value)}.")
            setattr(self, name, value)
