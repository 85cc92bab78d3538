"""Building blocks of error messages: what was expected, what came, and the cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class ShapeError(ValueError):
    """A shape that does not fit where it was given."""


def did_you_mean(value: Any, options: Iterable[Any]) -> str:
    """A sentence that suggests the option closest to `value`, or an empty string.

    Example:
        >>> did_you_mean("SAEM", ["same", "valid"])
        " Did you mean 'same'?"
    """
    names = [str(o) for o in options]
    lowered = {n.lower(): n for n in names}
    close = difflib.get_close_matches(str(value).lower(), list(lowered), n=1, cutoff=0.6)
    return f" Did you mean '{lowered[close[0]]}'?" if close else ""


def listing(options: Iterable[Any], last: str = "or") -> str:
    """`options` as a readable list: `'a', 'b' or 'c'`.

    Example:
        >>> listing(["same", "valid"])
        "'same' or 'valid'"
    """
    names = [repr(o) for o in options]
    if len(names) <= 1:
        return "".join(names)
    return ", ".join(names[:-1]) + f" {last} {names[-1]}"


def describe(value: Any) -> str:
    """A short description of a value for an error message: shape and dtype for arrays, else type and value.

    Example:
        >>> import numpy as np
        >>> describe(np.zeros((2, 3), "float32"))
        'an array of shape (2, 3) and dtype float32'
        >>> describe("abc")
        "'abc' (str)"
    """
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"an array of shape {tuple(shape)} and dtype {dtype}"
    if isinstance(value, dict):
        return f"a dict with keys {listing(list(value), 'and')}"
    if isinstance(value, (list, tuple)) and value and all(hasattr(v, "shape") for v in value[:6]):
        shapes = [tuple(v.shape) for v in value[:6]]
        return f"a {type(value).__name__} of {len(value)} arrays of shape {listing(shapes, 'and')}"
    if isinstance(value, (list, tuple)) and len(value) > 6:
        return f"a {type(value).__name__} of {len(value)} elements"
    text = repr(value)
    if len(text) > 80:
        text = text[:77] + "..."
    return f"{text} ({type(value).__name__})"


def owner_label(owner: Any) -> str:
    """How an error names the object it speaks of: `Conv2D 'stem'`, or the plain text it was given."""
    if isinstance(owner, str):
        return owner
    name = getattr(owner, "name", None)
    kind = type(owner).__name__
    return f"{kind} '{name}'" if isinstance(name, str) else kind
