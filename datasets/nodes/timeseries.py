"""Windows of a time series, by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.datasets.context import Context
from lamina.datasets.nodes.base import ElementIterator, Node
from lamina.datasets.plan import Base, RandomAccess
from lamina.datasets.spec import TensorSpec


class Windows(Node):
    """The windows of an array that start at given places, and for each the target at its start.

    Args:
        data: The series.
        targets: What belongs to each place of it; None for windows alone.
        starts: Where the windows start.
        length: How many values a window has.
        rate: How far apart they are.
    """

    op = "timeseries_dataset_from_array"

    def __init__(
        self, data: np.ndarray, targets: np.ndarray | None, starts: np.ndarray, length: int, rate: int
    ) -> None:
        super().__init__()
        self.data, self.targets, self.starts, self.length, self.rate = data, targets, starts, length, rate

    def _spec(self) -> Any:
        window = TensorSpec((self.length, *self.data.shape[1:]), self.data.dtype)
        return window if self.targets is None else (window, TensorSpec(self.targets.shape[1:], self.targets.dtype))

    def cardinality(self) -> int:
        """The number of windows."""
        return len(self.starts)

    def config(self) -> dict[str, Any]:
        """The arrays and the windows."""
        arrays = {"data": self.data, "targets": self.targets, "starts": self.starts}
        return {**arrays, "sequence_length": self.length, "sampling_rate": self.rate}

    def _random_access(self, context: Context) -> RandomAccess:
        return RandomAccess(_WindowsBase(self))

    def _iterator(self, context: Context) -> ElementIterator:
        return RandomAccess(_WindowsBase(self)).iterate(self, context)


class _WindowsBase(Base):
    pure = True

    def __init__(self, node: Windows) -> None:
        self._node = node
        self._offsets = np.arange(node.length) * node.rate
        self.length = len(node.starts)

    def item(self, index: int) -> Any:
        start = self._node.starts[index]
        window = self._node.data[start + self._offsets]
        return window if self._node.targets is None else (window, self._node.targets[start])

    def gather(self, indices: np.ndarray) -> Any:
        starts = self._node.starts[indices]
        windows = self._node.data[starts[:, None] + self._offsets]
        return windows if self._node.targets is None else (windows, self._node.targets[starts])
