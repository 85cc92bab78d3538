"""Vocabularies: the tokens of a list or file, and the look-up of whole arrays of strings or integers in them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from lamina.core.errors import describe, owner_label


def as_text(value: Any, encoding: str = "utf-8") -> str:
    """A str or bytes as str; bytes that the encoding does not know stay as they are, as surrogates.

    Example:
        >>> as_text(b"caf\\xc3\\xa9")
        'café'
    """
    return value.decode(encoding, "surrogateescape") if isinstance(value, bytes) else str(value)


def read_vocabulary(owner: Any, path: Any, size: int | None = None, encoding: str = "utf-8") -> list[str]:
    """The tokens of a text file, one a line.

    Args:
        owner: whom an error names.
        path: the file.
        size: how many of its first lines count; by default all.
        encoding: of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has fewer than `size` lines, or none.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{owner_label(owner)}: there is no vocabulary file at {path!r}.")
    with open(path, encoding=encoding, errors="surrogateescape", newline="\n") as file:
        tokens = [line.rstrip("\n").rstrip("\r") for line in file]
    if size is not None and len(tokens) < size:
        raise ValueError(
            f"{owner_label(owner)}: vocabulary_size is {size}, but the file {path!r} has {len(tokens)} lines only."
        )
    if not tokens:
        raise ValueError(f"{owner_label(owner)}: the vocabulary file {path!r} is empty; it needs a token a line.")
    return tokens if size is None else tokens[:size]


def check_unique(owner: Any, argument: str, tokens: Iterable[Any]) -> None:
    """Raises ValueError if a token is there twice; the message names the first such."""
    seen: set[Any] = set()
    for token in tokens:
        if token in seen:
            raise ValueError(f"{owner_label(owner)}: {argument} must hold each token once, got {token!r} twice.")
        seen.add(token)


class TokenIndex:
    """The ids of tokens: the place of each in a list.

    Args:
        tokens: strings, or integers.

    Example:
        >>> TokenIndex(["red", "green"]).find(np.array([["green", "blue"]])).tolist()
        [[1, -1]]
        >>> TokenIndex([30, 10]).find(np.array([10, 20])).tolist()
        [1, -1]
    """

    def __init__(self, tokens: Any):
        tokens = list(tokens)
        self.size = len(tokens)
        self.of_integers = bool(tokens) and not isinstance(tokens[0], (str, bytes))
        self._places: dict[type, dict[Any, int]] = {}
        if self.of_integers:
            values = np.asarray(tokens, np.int64)
            self._order = np.argsort(values, kind="stable")
            self._sorted = values[self._order]
        else:
            self._places[str] = {as_text(t): i for i, t in enumerate(tokens)}

    def find(self, values: Any) -> np.ndarray:
        """The ids of the values, int64; -1 for those that are not there."""
        values = np.asarray(values)
        if self.of_integers:
            at = np.minimum(np.searchsorted(self._sorted, values), self.size - 1)
            return np.where(self._sorted[at] == values, self._order[at], -1)
        flat = values.reshape(-1).tolist()
        kind = type(flat[0]) if flat else str
        places = self._places_of(bytes if kind is bytes else str)
        ids = np.fromiter(map(places.get, flat, itertools.repeat(-1)), np.int64, len(flat))
        if values.dtype.kind == "O" and any(type(v) is not kind for v in flat):
            text = self._places_of(str)
            ids = np.array([text.get(as_text(v), -1) for v in flat], np.int64)
        return ids.reshape(values.shape)

    def _places_of(self, kind: type) -> dict[Any, int]:
        """The ids by str or by bytes, whichever the data holds; made when first asked for."""
        if kind not in self._places:
            self._places[kind] = {k.encode("utf-8", "surrogateescape"): v for k, v in self._places[str].items()}
        return self._places[kind]


def is_text(values: np.ndarray) -> bool:
    """Whether an array holds strings.

    Example:
        >>> is_text(np.array(["a"])), is_text(np.array([b"a"], object)), is_text(np.array([1]))
        (True, True, False)
    """
    kind = values.dtype.kind
    return kind in "SUT" or (kind == "O" and all(isinstance(v, (str, bytes)) for v in values.reshape(-1)[:16]))


def dense_rows(rows: Any, padding: Any, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lists of different lengths as one array, padded at the end of each row; and which of it are values.

    Example:
        >>> dense_rows([[1], [2, 3]], -1, "int64")[0].tolist()
        [[1, -1], [2, 3]]
    """
    rows = [row if isinstance(row, (list, tuple, np.ndarray)) else [row] for row in rows]
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    width = int(lengths.max(initial=0))
    values = np.full((len(rows), width), padding, dtype)
    present = np.arange(width) < lengths[:, None]
    try:
        values[present] = [v for row in rows for v in row]
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected rows of values of one kind, got {describe(rows)}.") from error
    return values, present
