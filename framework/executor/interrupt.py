"""Ctrl-C that never loses weights: while values are on their way through a dispatch, the interrupt waits."""

from __future__ import annotations

import signal
import threading
from typing import Any


class InterruptGuard:
    """Within the scope, Ctrl-C raises KeyboardInterrupt at once, except inside `dispatch`, where it waits for the end.

    A donated value is gone the moment it is dispatched, and its successor is kept a moment later; an interrupt
    between the two would leave a model without weights.
    """

    def __init__(self) -> None:
        self._busy = False
        self._pending = False
        self._previous: Any = None

    def _handle(self, number: int, frame: Any) -> None:
        if self._busy:
            self._pending = True
        else:
            raise KeyboardInterrupt

    def __enter__(self) -> InterruptGuard:
        if threading.current_thread() is threading.main_thread():
            current = signal.getsignal(signal.SIGINT)
            if current is signal.default_int_handler:  # a handler of the user's own stays in charge
                self._previous = current
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def begin(self) -> None:
        """Holds interrupts back."""
        self._busy = True

    def end(self) -> None:
        """Lets interrupts through; one that came meanwhile is raised now."""
        self._busy = False
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt
