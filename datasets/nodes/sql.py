"""Rows of a query to an SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamina.core.errors import describe
from lamina.datasets.context import Context
from lamina.datasets.nodes.base import ElementIterator, Node, StreamIterator, add_position
from lamina.datasets.spec import STRING, TensorSpec, dtype_name


class SqlRows(Node):
    """The rows that a query gives, as tuples of scalars.

    Args:
        path: The database.
        query: A query; with an `ORDER BY` if its order matters.
        dtypes: The dtype of each column.
    """

    op = "SqlDataset"

    def __init__(self, path: str, query: str, dtypes: Sequence[np.dtype], name: str | None = None) -> None:
        super().__init__(name=name)
        self.path, self.query, self.dtypes = path, query, tuple(dtypes)

    def _spec(self) -> Any:
        return tuple(TensorSpec((), dtype) for dtype in self.dtypes)

    def config(self) -> dict[str, Any]:
        """The database and the query."""
        return {"path": self.path, "query": self.query, "output_types": [dtype_name(d) for d in self.dtypes]}

    def _iterator(self, context: Context) -> ElementIterator:
        return StreamIterator(self._rows, start=0)

    def _rows(self, done: int) -> Iterator[tuple[tuple, int]]:
        if not Path(self.path).is_file():
            raise FileNotFoundError(f"{self.label}: there is no database at '{self.path}'.")
        connection = sqlite3.connect(f"{Path(self.path).resolve().as_uri()}?mode=ro", uri=True)
        connection.text_factory = bytes
        try:
            cursor = connection.execute(self.query)
            columns = len(cursor.description or ())
            if columns != len(self.dtypes):
                raise ValueError(
                    f"{self.label}: output_types names {len(self.dtypes)} columns, the query gives {columns}."
                )
            for _ in range(done):
                cursor.fetchone()
            for row in cursor:
                done += 1
                yield tuple(self._value(v, i, done - 1) for i, v in enumerate(row)), done
        except sqlite3.Error as error:
            add_position(error, self.label, None)
            raise
        finally:
            connection.close()

    def _value(self, value: Any, column: int, row: int) -> Any:
        dtype = self.dtypes[column]
        if dtype == STRING:
            if value is None:
                return b""
            return value if isinstance(value, bytes) else str(value).encode()
        if value is None or isinstance(value, bytes):
            raise TypeError(
                f"{self.label}: column {column} of row {row} must be {dtype.name}, got {describe(value)}. "
                "Leave such rows out in the query, or ask for a string."
            )
        return dtype.type(value)
