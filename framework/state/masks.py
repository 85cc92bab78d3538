"""Masks that travel with arrays: which positions of a sequence hold data."""

from __future__ import annotations

import weakref
from typing import Any

# By identity, since neither tracers nor arrays hash by it; an entry goes when its array does.
_masks: dict[int, tuple[weakref.ref, Any]] = {}


def set_mask(array: Any, mask: Any) -> None:
    """Attaches a mask to an array (None removes it)."""
    key = id(array)
    if mask is None:
        _masks.pop(key, None)
        return

    def forget(ref: Any) -> None:
        entry = _masks.get(key)
        if entry is not None and entry[0] is ref:
            del _masks[key]

    try:
        _masks[key] = (weakref.ref(array, forget), mask)
    except TypeError:  # a plain number has no identity to attach to
        return


def get_mask(array: Any) -> Any:
    """The mask attached to an array, or None."""
    entry = _masks.get(id(array))
    return entry[1] if entry is not None and entry[0]() is array else None
