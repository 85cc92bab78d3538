"""Checks of arguments that fit, evaluate and predict share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax

from lamina.core.checks import check_int, unknown_arguments
from lamina.executor.feed import as_arrays


def rows(x: Any) -> int:
    """The number of samples in data for one batch."""
    leaves = jax.tree.leaves(as_arrays(x, "x"))
    return max(1, len(leaves[0])) if leaves and leaves[0].ndim else 1


def validates(epoch: int, frequency: int | Sequence[int]) -> bool:
    """Whether an epoch ends with a validation."""
    if isinstance(frequency, (list, tuple, set)):
        return epoch + 1 in frequency
    return (epoch + 1) % check_int("fit", "validation_freq", frequency, 1) == 0


def check_verbose(method: str, verbose: Any) -> int:
    """`verbose` as 0, 1 or 2."""
    if verbose == "auto":
        return 1
    if verbose not in (0, 1, 2):
        raise ValueError(f"{method}: verbose must be 0, 1, 2 or 'auto', got {verbose!r}.")
    return int(verbose)


def refuse_unknown(method: str, function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    """Raises TypeError, with a suggestion, if a method was given keyword arguments that it does not take."""
    if kwargs:
        known = [name for name in inspect.signature(function).parameters if name not in ("self", "kwargs")]
        raise unknown_arguments(method, kwargs, known)
