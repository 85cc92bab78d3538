"""What commands print: tables, JSON, names that do not steer a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np


def shown(name: str) -> str:
    """A name without characters that a terminal would obey."""
    return name if name.isprintable() else repr(name)


def safe(text: str) -> str:
    """A text of many lines without characters that a terminal would obey.

    Example:
        >>> safe("a\\x1b[31m\\nb")
        'a\\\\x1b[31m\\nb'
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = ()) -> str:
    """Rows as aligned text.

    Args:
        head: the titles of the columns.
        rows: the rows.
        right: the numbers of the columns that are aligned to the right.

    Example:
        >>> print(table(["op", "n"], [["Conv", 12], ["Add", 3]], right=[1]))
          op     n
          Conv  12
          Add    3
    """
    lines = [[shown(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row] for row in [head, *rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]

    def aligned(line: list[str]) -> str:
        pairs = zip(line, widths, strict=True)
        return "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(pairs)).rstrip()

    return "\n".join(f"  {aligned(line)}" for line in lines)


def print_json(value: Any) -> None:
    """Prints a value as JSON; numbers that JSON has not, as text."""
    print(json.dumps(plain(value), indent=1))


def plain(value: Any) -> Any:
    """A value as JSON knows it: numbers, texts, lists, dicts; complex numbers are pairs.

    Example:
        >>> plain({"x": np.float32(0.5), "bad": float("nan")})
        {'x': 0.5, 'bad': 'nan'}
    """
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if value is None or isinstance(value, (str, int)):
        return value
    array = np.asarray(value)
    if array.dtype.kind == "c":
        return plain(np.stack([array.real, array.imag], -1))
    return plain(array.tolist() if array.dtype.kind in "fiubOSU" else array.astype(np.float64).tolist())


def human(seconds: float) -> str:
    """A time in the unit that suits it.

    Example:
        >>> human(0.00123), human(2.5)
        ('1.23 ms', '2.50 s')
    """
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e6:.1f} us"
