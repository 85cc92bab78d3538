"""Checks of targets before anything is traced: what a crossentropy would take in silence, or refuse in riddles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.losses.crossentropy import categorical_crossentropy, sparse_categorical_crossentropy


def check_targets(
    method: str,
    losses: Sequence[Any],
    targets: Sequence[Any],
    weights: Sequence[Any],
    shapes: Sequence[tuple],
    names: Sequence[str],
) -> None:
    """Checks the targets of each output against its loss.

    Args:
        method: how errors name the caller.
        losses: the loss of each output, or None.
        targets: the targets of each, as numpy arrays, or None.
        weights: the sample weights of each, or None; a label of weight 0 may be anything.
        shapes: the shape of each output.
        names: the name of each.

    Raises:
        ValueError: class numbers are NaN, negative or too large, or targets are not one-hot where they must be.
    """
    for loss, target, weight, shape, name in zip(losses, targets, weights, shapes, names, strict=True):
        if loss is None or target is None or not shape:
            continue
        function, options = getattr(loss, "fn", loss), getattr(loss, "_fn_kwargs", {})
        if function is sparse_categorical_crossentropy:
            _check_classes(method, target, weight, shape, name, options.get("axis", -1), options.get("ignore_class"))
        elif function is categorical_crossentropy and target.shape[-1:] != shape[-1:] and shape[-1] > 1:
            raise ValueError(
                f"{method}: 'categorical_crossentropy' of output '{name}' expects one-hot y of shape "
                f"(..., {shape[-1]}), got {target.shape}. For class numbers use loss='sparse_categorical_crossentropy'."
            )


def _check_classes(
    method: str, target: np.ndarray, weight: Any, shape: tuple, name: str, axis: int, ignored: int | None
) -> None:
    if np.issubdtype(target.dtype, np.floating) and np.isnan(target).any():
        raise ValueError(
            f"{method}: y has NaN where 'sparse_categorical_crossentropy' of output '{name}' expects class numbers. "
            "Drop those samples, or replace NaN by a class and give it weight 0 in sample_weight."
        )
    classes = shape[axis]
    if not target.size or classes is None:
        return
    low, high = target.min(), target.max()
    if low >= 0 and high < classes:
        return
    odd = (target < 0) | (target >= classes)
    if ignored is not None:
        odd &= target != ignored
    if weight is not None and weight.shape == target.shape[: weight.ndim]:
        odd &= weight.reshape(weight.shape + (1,) * (target.ndim - weight.ndim)) != 0
    if odd.any():
        wrong = target[odd]
        units = f", or give the last layer {int(wrong.max()) + 1} units" if wrong.max() >= classes else ""
        raise ValueError(
            f"{method}: y of output '{name}' must hold class numbers from 0 to {classes - 1} for "
            f"'sparse_categorical_crossentropy', since the output has {classes} classes, got {wrong.min():g} to "
            f"{wrong.max():g}. Number the classes from 0{units}; a sample of weight 0 may have any label."
        )
