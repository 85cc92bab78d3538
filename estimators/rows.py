"""Tables that are looked up by row: their gradients are rows, and an optimizer updates those rows alone.

A step on a table of a million words costs what the rows in the batch cost. TensorFlow's optimizers treat such
gradients in the same way: the slots of rows that are not in the batch stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.estimators.variables import ModelFrame
from lamina.optimizers import SGD, Adadelta, Adagrad, Ftrl, Optimizer, RMSprop
from lamina.state.frame import current_frame
from lamina.state.variable import Variable

# A table with more elements than this, and many more than are looked up, is updated by its rows; a smaller one as a
# whole, which takes less time than sorting the ids.
WHOLE_TABLE_ELEMENTS = 2**12
WHOLE_TABLE_FACTOR = 8


def lookup(table: Any, ids: Any) -> Any:
    """The rows of a table with the given numbers; within a model_fn, its gradient is sparse.

    Shape:
        table (rows, ...), ids (...) -> ids' shape and then the row's.

    Args:
        table: a `Variable`, or an array.
        ids: integers from 0 to rows - 1.

    Example:
        >>> lookup(jnp.array([[1.0], [2.0], [3.0]]), jnp.array([2, 0])).tolist()
        [[3.0], [1.0]]
    """
    frame = current_frame()
    if isinstance(table, Variable) and isinstance(frame, ModelFrame):
        return frame.lookup(table, ids)
    return jnp.take(table.value if isinstance(table, Variable) else table, ids, axis=0, mode="clip")


def is_lazy(optimizer: Optimizer) -> bool:
    """Whether an optimizer leaves rows without a gradient, and their slots, as they are.

    Adam does not: its moments decay at every step.
    """
    around = optimizer.use_ema or optimizer.gradient_accumulation_steps or optimizer.weight_decay is not None
    if around:
        return False
    lazy = type(optimizer).__mro__
    return any(c in lazy for c in (SGD, Adagrad, Ftrl, Adadelta)) or (RMSprop in lazy and optimizer.momentum > 0)  # type: ignore[attr-defined]


def keeps_idle_rows(optimizer: Optimizer) -> bool:
    """Whether a gradient of zero changes nothing, so that a table can be updated as a whole."""
    if isinstance(optimizer, SGD):
        return not optimizer.momentum
    return isinstance(optimizer, Adagrad)


def updates_rows(table: Variable, looked_up: int) -> bool:
    """Whether a table is so large that updating the `looked_up` rows costs less than updating all."""
    elements = looked_up * (table.size // max(table.shape[0], 1))
    return table.size > WHOLE_TABLE_ELEMENTS and table.size > WHOLE_TABLE_FACTOR * elements


def merge_rows(ids: Sequence[Any], gradients: Sequence[Any], table: Variable) -> tuple[Any, Any]:
    """The gradients of looked-up rows, summed by row.

    Returns:
        The numbers of the rows, each once, filled up with the number of rows of the table; and their gradients.
    """
    width = table.shape[1:]
    flat = jnp.concatenate([i.reshape(-1) for i in ids])
    given = jnp.concatenate([g.reshape(-1, *width) for g in gradients])
    rows, place = jnp.unique(flat, return_inverse=True, size=flat.size, fill_value=table.shape[0])
    return rows, jax.ops.segment_sum(given, place.reshape(-1), num_segments=flat.size)


def take_rows(value: Any, rows: Any) -> Any:
    """The rows of a table; numbers past its end give its last row."""
    return jnp.take(value, rows, axis=0, mode="clip")


def put_rows(value: Any, rows: Any, new: Any) -> Any:
    """A table with rows replaced; numbers past its end are left out."""
    return value.at[rows].set(new, mode="drop", unique_indices=False)


def touched(ids: Sequence[Any], table: Variable) -> Any:
    """Which rows of a table were looked up, as a column that broadcasts over its elements."""
    flat = jnp.concatenate([i.reshape(-1) for i in ids])
    mask = jnp.zeros(table.shape[0], bool).at[flat].set(True, mode="drop")
    return mask.reshape(-1, *(1,) * (table.ndim - 1))
