"""Keras' other place of the ops that numpy has too: `lamina.ops.numpy.add` is `lamina.ops.add`."""

from __future__ import annotations

import sys
from typing import Any


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        found = getattr(sys.modules["lamina.ops"], name, None)
        if callable(found):
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
