"""bucket_by_sequence_length: grouping by length, then padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import describe
from lamina.core.nest import flatten
from lamina.datasets.nodes.base import Node, SpecUnknown, call_user
from lamina.datasets.nodes.batching import Batch, PaddedBatch, padded_shapes_of
from lamina.datasets.nodes.grouping import GroupByWindow

OWNER = "bucket_by_sequence_length"


class Buckets:
    """The arguments of `bucket_by_sequence_length`, checked, and the functions for `group_by_window` that follow."""

    def __init__(
        self,
        length_func: Callable[..., Any],
        boundaries: Sequence[int],
        batch_sizes: Sequence[int],
        padded_shapes: Any,
        padding_values: Any,
        to_boundary: bool,
        no_padding: bool,
        drop_remainder: bool,
    ) -> None:
        self.length_func = length_func
        self.boundaries = [check_int(OWNER, "bucket_boundaries", b) for b in boundaries]
        self.sizes = [check_int(OWNER, "bucket_batch_sizes", n, 1) for n in batch_sizes]
        if any(b <= a for a, b in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(f"{OWNER}: bucket_boundaries must ascend, got {self.boundaries}.")
        if len(self.sizes) != len(self.boundaries) + 1:
            raise ValueError(
                f"{OWNER}: bucket_batch_sizes must have one size more than there are boundaries "
                f"({len(self.boundaries) + 1}), got {len(self.sizes)}."
            )
        if no_padding and (padded_shapes is not None or to_boundary):
            raise ValueError(f"{OWNER}: no_padding goes with neither padded_shapes nor pad_to_bucket_boundary.")
        self.shapes, self.values = padded_shapes, padding_values
        self.to_boundary, self.no_padding, self.drop = bool(to_boundary), no_padding, drop_remainder

    def over(self, child: Node, as_window: Any, as_inner: Any, name: str | None) -> Node:
        """The node over `child`."""
        return GroupByWindow(child, self.bucket, self.batch, None, self.size, as_window, as_inner, name, op=OWNER)

    def bucket(self, *args: Any) -> np.int64:
        """The bucket of an element."""
        length = np.asarray(call_user(self.length_func, args, OWNER))
        if length.shape != () or length.dtype.kind not in "iu":
            raise ValueError(f"{OWNER}: element_length_func must return an integer, got {describe(length[()])}.")
        bucket = int(np.searchsorted(self.boundaries, length, "right"))
        if self.to_boundary and bucket == len(self.boundaries):
            raise ValueError(
                f"{OWNER}: with pad_to_bucket_boundary=True lengths must be below the last boundary "
                f"({self.boundaries[-1]}), got {int(length)}."
            )
        return np.int64(bucket)

    def size(self, bucket: np.int64) -> int:
        """The batch size of a bucket."""
        return self.sizes[int(bucket)]

    def batch(self, bucket: np.int64, window: Any) -> Node:
        """The batch of a window."""
        node, size = window._node, self.sizes[int(bucket)]
        if self.no_padding:
            return Batch(node, size, self.drop)
        shapes = self.shapes
        if self.to_boundary:
            shapes = self._to_boundary(node, self.boundaries[int(bucket)] - 1)
        return PaddedBatch(node, size, shapes, self.values, self.drop)

    def _to_boundary(self, node: Node, boundary: int) -> Any:
        """The padded shapes, with the boundary where a dimension is open."""
        first = node.elements[0]  # type: ignore[attr-defined]
        if self.shapes is not None:
            shapes = padded_shapes_of(OWNER, first, self.shapes)
        else:
            try:
                shapes = [s.shape for s in flatten(node.static_spec())]
            except SpecUnknown:  # behind a function the sizes that vary are not known: the first axis is the sequence
                shapes = [(None, *np.shape(leaf)[1:]) if np.ndim(leaf) else () for leaf in flatten(first)]
        filled = iter([tuple(boundary if d is None else d for d in s) for s in shapes])
        return _nest(first, filled)


def _nest(like: Any, shapes: Any) -> Any:
    if isinstance(like, dict):
        return {k: _nest(like[k], shapes) for k in sorted(like)}
    if isinstance(like, tuple):
        return tuple(_nest(v, shapes) for v in like)
    return next(shapes)
