"""CSVLogger."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lamina.callbacks.callback import Callback


class CSVLogger(Callback):
    """Writes the logs of each epoch to a file of comma-separated values.

    A log that comes later than the first epoch, as with `validation_freq`, gets a column too; where a log is missing
    the file has NA.

    Args:
        filename: the path of the file.
        separator: what separates the columns.
        append: whether an existing file is continued, rather than replaced.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "log.csv"
        >>> logger = CSVLogger(path)
        >>> logger.on_train_begin()
        >>> logger.on_epoch_end(0, {"loss": 0.5})
        >>> logger.on_train_end()
        >>> path.read_text().split()
        ['epoch,loss', '0,0.5']
    """

    def __init__(self, filename: str | os.PathLike, separator: str = ",", append: bool = False):
        super().__init__()
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys: list[str] | None = None
        self._size = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the columns of a file that is continued; else the first row starts a new file."""
        self.keys, self._size = None, 0
        path = Path(self.filename)
        if self.append and path.exists() and path.stat().st_size:
            with open(path, newline="") as file:
                self.keys = next(csv.reader(file, delimiter=self.sep))[1:]
            self._size = path.stat().st_size

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves an empty file if there was no epoch."""
        self._cut()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes a row."""
        logs = logs or {}
        self._cut()
        if self.keys is None:
            self.keys = sorted(logs)
            self._write([["epoch", *self.keys]])
        new = sorted(set(logs) - set(self.keys))
        if new:
            self._widen(new)
        self._write([[epoch, *(_text(logs.get(key, "NA")) for key in self.keys)]])
        self._size = os.path.getsize(self.filename)

    def _cut(self) -> None:
        """Drops what the file holds beyond what this run wrote, such as rows after the point it is resumed from."""
        path = Path(self.filename)
        size = path.stat().st_size if path.exists() else 0
        if size < self._size:
            warnings.warn(
                f"CSVLogger: '{self.filename}' has {size} bytes, but the run that is resumed had written "
                f"{self._size}: rows are missing.",
                stacklevel=3,
            )
            self._size = size
            self.keys = self.keys if size else None
        with open(path, "ab") as file:
            file.truncate(self._size)

    def get_state(self) -> dict[str, Any]:
        """The columns, and how much of the file is written."""
        return {"keys": self.keys, "size": self._size}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on in the same file."""
        self.keys, self._size = state["keys"], state["size"]

    def _write(self, rows: Iterable[list[Any]], mode: str = "a") -> None:
        with open(self.filename, mode, newline="") as file:
            csv.writer(file, delimiter=self.sep).writerows(rows)

    def _widen(self, new: list[str]) -> None:
        """Adds columns to what is written already."""
        with open(self.filename, newline="") as file:
            header, *rows = csv.reader(file, delimiter=self.sep)
        self._write([[*header, *new], *([*row, *["NA"] * len(new)] for row in rows)], "w")
        self.keys = [*self.keys, *new]  # type: ignore[misc]


def _text(value: Any) -> Any:
    """A log as the file has it: arrays as `"[1, 2]"`."""
    if isinstance(value, str) or np.ndim(value) == 0:
        return value
    return f'"[{", ".join(map(str, value))}]"'
