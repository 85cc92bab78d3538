"""Connectionist temporal classification: labels of a sequence without their places in time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lamina.core import registry
from lamina.core.errors import ShapeError
from lamina.losses.loss import LossFunctionWrapper
from lamina.losses.reduction import to_array, to_float


def ctc(y_true: Any, y_pred: Any) -> jax.Array:
    """Minus the log-likelihood of a label sequence, over all its alignments in time. Class 0 is the blank.

    Shape: `(batch, labels)` and `(batch, time, classes)` to `(batch,)`.

    Args:
        y_true: integer labels; shorter sequences are filled up with 0 at the end.
        y_pred: logits.

    Raises:
        ShapeError: the targets do not have 2 axes or the predictions 3.

    Example:
        >>> import numpy as np
        >>> ctc([[1]], np.zeros((1, 1, 2), "float32")).round(4).tolist()
        [0.6930999755859375]

    Reference: Graves et al., "Connectionist Temporal Classification", 2006.
    """
    y_pred, labels = to_float(y_pred), to_array(y_true, "int32")
    if labels.ndim != 2 or y_pred.ndim != 3:
        raise ShapeError(
            "ctc: y_true must be labels of shape (batch, labels) and y_pred logits of shape (batch, time, classes), "
            f"got shapes {tuple(labels.shape)} and {tuple(y_pred.shape)}."
        )
    logits = y_pred.astype(jnp.promote_types(y_pred.dtype, "float32"))
    lengths = jnp.sum(labels != 0, axis=-1, keepdims=True)
    padding = (jnp.arange(labels.shape[1]) >= lengths).astype(logits.dtype)
    return optax.ctc_loss(logits, jnp.zeros(logits.shape[:2], logits.dtype), labels, padding)


class CTC(LossFunctionWrapper):
    """The loss of connectionist temporal classification; class 0 is the blank.

    Args:
        reduction: see `Loss`.
        name: the name.
        dtype: see `Loss`.

    Example:
        >>> import numpy as np
        >>> round(float(CTC()([[1]], np.zeros((1, 1, 2), "float32"))), 4)
        0.6931
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "ctc", dtype: Any = None):
        super().__init__(ctc, reduction, name, dtype)


registry.add_builtin(ctc)
