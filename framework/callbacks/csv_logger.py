"""CSVLogger."""

from __future__ import annotations

import csv
import os
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

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the file, or finds the columns of one that is continued."""
        self.keys = None
        path = Path(self.filename)
        if self.append and path.exists() and path.stat().st_size:
            with open(path, newline="") as file:
                self.keys = next(csv.reader(file, delimiter=self.sep))[1:]
        else:
            path.write_text("")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes a row."""
        logs = logs or {}
        if self.keys is None:
            self.keys = sorted(logs)
            self._write([["epoch", *self.keys]])
        new = sorted(set(logs) - set(self.keys))
        if new:
            self._widen(new)
        self._write([[epoch, *(_text(logs.get(key, "NA")) for key in self.keys)]])

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
