"""Intersection over union of regions, from confusion matrices of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.checks import check_int, check_number
from lamina.losses.reduction import to_array
from lamina.metrics.metric import Metric


class IoU(Metric):
    """The mean over some classes of intersection over union, `tp / (tp + fp + fn)`.

    Args:
        num_classes: the number of classes.
        target_class_ids: the classes whose mean is taken; those that never occur do not count.
        name: the name.
        dtype: the dtype of the counts, int32 by default: give a float dtype for fractional weights.
        ignore_class: a class of targets whose elements do not count.
        sparse_y_true: whether targets are integer classes rather than one-hot.
        sparse_y_pred: whether predictions are integer classes rather than a score a class.
        axis: the axis of the classes where they are not integers.

    Raises:
        ValueError: a target class lies outside `0 .. num_classes - 1`.

    Example:
        >>> metric = IoU(num_classes=2, target_class_ids=[0])
        >>> round(float(metric([0, 0, 1, 1], [0, 1, 0, 1])), 4)
        0.3333
    """

    _direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__(name=name, dtype="int32" if dtype in (None, "int") else dtype)
        self.num_classes = check_int(self, "num_classes", num_classes, minimum=1)
        self.target_class_ids = [check_int(self, "target_class_ids", i, minimum=0) for i in target_class_ids]
        if max(self.target_class_ids, default=0) >= num_classes:
            raise ValueError(
                f"{type(self).__name__} '{self.name}': target_class_ids must lie in 0 .. {num_classes - 1}, "
                f"got {self.target_class_ids}."
            )
        self.ignore_class = ignore_class
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.axis = check_int(self, "axis", axis)
        self.total_cm = self.add_variable((num_classes, num_classes), name="total_confusion_matrix")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch in; elements of classes out of range do not count."""
        y_true, y_pred = to_array(y_true), to_array(y_pred)
        y_true = y_true if self.sparse_y_true else jnp.argmax(y_true, axis=self.axis)
        y_pred = y_pred if self.sparse_y_pred else jnp.argmax(y_pred, axis=self.axis)
        y_true, y_pred = y_true.reshape(-1).astype("int32"), y_pred.reshape(-1).astype("int32")
        weight = to_array(1 if sample_weight is None else sample_weight, self.dtype)
        weight = jnp.broadcast_to(weight.reshape(-1) if weight.ndim > 1 else weight, y_true.shape)
        n = self.num_classes
        valid = (y_true >= 0) & (y_true < n) & (y_pred >= 0) & (y_pred < n)
        if self.ignore_class is not None:
            valid = valid & (y_true != self.ignore_class)
        place = jnp.where(valid, y_true * n + y_pred, -1)
        counts = jax.ops.segment_sum(weight, place, num_segments=n * n)
        self.total_cm.assign_add(counts.reshape(n, n))

    def result(self) -> jax.Array:
        """The mean over the target classes, 0 before the first batch."""
        counts = self.total_cm.value
        right = jnp.diag(counts)
        union = jnp.sum(counts, axis=0) + jnp.sum(counts, axis=1) - right
        ids = np.array(self.target_class_ids, "int32")
        right, union = right[ids].astype("float32"), union[ids].astype("float32")
        occurs = union > 1e-9
        ratios = jnp.where(occurs, right / (union + settings.epsilon()), 0.0)
        return jnp.sum(ratios) / (jnp.sum(occurs.astype("float32")) + settings.epsilon())


class BinaryIoU(IoU):
    """Intersection over union of two classes told apart by a threshold.

    Args:
        target_class_ids: `[0]`, `[1]` or `[0, 1]`, whose mean is taken.
        threshold: predictions of at least this mean class 1.
        name: the name.
        dtype: see `IoU`.

    Example:
        >>> round(float(BinaryIoU(threshold=0.3)([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7])), 4)
        0.3333
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(num_classes=2, target_class_ids=target_class_ids, name=name, dtype=dtype)
        self.threshold = check_number(self, "threshold", threshold)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch in."""
        above = to_array(y_pred, "float32") >= self.threshold
        super().update_state(y_true, above.astype("int32"), sample_weight)


class MeanIoU(IoU):
    """The mean over all classes of intersection over union.

    Args:
        num_classes: the number of classes.
        name: the name.
        dtype: see `IoU`.
        ignore_class: see `IoU`.
        sparse_y_true: see `IoU`.
        sparse_y_pred: see `IoU`.
        axis: see `IoU`.

    Example:
        >>> round(float(MeanIoU(num_classes=2)([0, 0, 1, 1], [0, 1, 0, 1])), 4)
        0.3333
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        classes = range(num_classes)
        super().__init__(num_classes, classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)


class OneHotIoU(IoU):
    """Intersection over union of one-hot targets.

    Args:
        num_classes: the number of classes.
        target_class_ids: see `IoU`.
        name: the name.
        dtype: see `IoU`.
        ignore_class: see `IoU`.
        sparse_y_pred: see `IoU`.
        axis: see `IoU`.

    Example:
        >>> metric = OneHotIoU(num_classes=2, target_class_ids=[1])
        >>> round(float(metric([[0, 1], [1, 0]], [[0.2, 0.8], [0.1, 0.9]])), 4)
        0.5
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)


class OneHotMeanIoU(MeanIoU):
    """The mean over all classes of intersection over union, for one-hot targets.

    Args:
        num_classes: the number of classes.
        name: the name.
        dtype: see `IoU`.
        ignore_class: see `IoU`.
        sparse_y_pred: see `IoU`.
        axis: see `IoU`.

    Example:
        >>> round(float(OneHotMeanIoU(num_classes=2)([[0, 1], [1, 0]], [[0.2, 0.8], [0.1, 0.9]])), 4)
        0.25
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
