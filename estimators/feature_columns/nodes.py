"""The features of an exported model as its columns read them: nodes in the place of a batch's arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lamina.core.errors import describe
from lamina.estimators.feature_columns.column import MISSING_ID, find_feature, label
from lamina.export.tensorflow.host_nodes import HostNodes, Node


class FeatureNodes:
    """The features of an exported model, each read in a uniform form; what `Features` is for a batch.

    Args:
        build: where nodes are added.
        features: the features by name, with the batch as their first axis.
    """

    def __init__(self, build: HostNodes, features: Mapping[str, Node]):
        self.build, self.features = build, features
        self._ids: dict[str, tuple[Node, Node]] = {}

    def read(self, column: Any, key: str) -> Node:
        """The feature `key`, asked for by `column`, as (batch, n).

        Raises:
            ValueError: there is none of that name, or sizes are not known where they have to be.
        """
        x = find_feature(column, key, self.features)
        if len(x.shape) == 2:
            return x
        if not all(isinstance(d, int) for d in x.shape[1:]):
            raise ValueError(
                f"{label(column)}: feature {key!r} must have known sizes but for the batch, or two axes, to be "
                f"exported, got shape {x.shape}."
            )
        width = int(np.prod(x.shape[1:]))
        return self.build.reshape(x, (x.shape[0], width))

    def categories(self, column: Any, key: str, dtype: str) -> Node:
        """A feature of strings, or of integers as int64, of shape (batch, n).

        Raises:
            ValueError: it holds something else than the column expects.
        """
        x = self.read(column, key)
        if (dtype == "string") != x.is_text or (not x.is_text and x.dtype.kind not in "iub"):
            wanted = "strings" if dtype == "string" else "integers"
            raise ValueError(
                f"{label(column)}: feature {key!r} must hold {wanted}, got a serving input of dtype "
                f"{'string' if x.is_text else x.dtype}."
            )
        return x if x.is_text else self.build.cast(x, np.int64)

    def numbers(self, column: Any, key: str) -> Node:
        """A feature of numbers, in a dtype of the compiled step.

        Raises:
            ValueError: it holds text.
        """
        x = find_feature(column, key, self.features)
        if x.is_text:
            raise ValueError(f"{label(column)}: feature {key!r} must hold numbers, got a serving input of strings.")
        return self.number(x)

    def number(self, x: Node) -> Node:
        """Numbers in a dtype of the compiled step."""
        kinds = {"f": "float32", "i": "int32", "u": "int32", "b": "bool"}
        if x.dtype.kind not in kinds:
            raise ValueError(f"A serving input must hold numbers or text, got {describe(x.dtype)}.")
        return self.build.cast(x, kinds[x.dtype.kind])

    def given(self, x: Node) -> Node:
        """Which categories are there: not `""` or -1."""
        return self.build.compare("NotEqual", x, "" if x.is_text else MISSING_ID)

    def ids(self, column: Any) -> tuple[Node, Node]:
        """Ids of a categorical column, int64, and which of them are there; added once."""
        if column.input_name not in self._ids:
            self._ids[column.input_name] = column.id_nodes(self)
        return self._ids[column.input_name]

    def traced(self, column: Any, function: Callable[..., Any]) -> dict[str, Node]:
        """What a function of raw numbers by feature gives, for the features of a column."""
        inputs = {key: self.numbers(column, key) for key in column.parse_example_spec}
        return self.build.traced(function, inputs)
