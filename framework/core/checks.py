"""Argument checks. Each returns the value in its normal form, or raises an error that names argument and cure."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

from lamina.core.errors import describe, did_you_mean, listing, owner_label


def check_choice(owner: Any, argument: str, value: Any, options: Iterable[Any]) -> Any:
    """`value`, if it is one of `options`.

    Raises:
        ValueError: it is not; the message lists the options and suggests the closest.

    Example:
        >>> check_choice("Conv2D 'stem'", "padding", "same", ["same", "valid"])
        'same'
    """
    options = list(options)
    if value in options:
        return value
    raise ValueError(
        f"{owner_label(owner)}: {argument} must be {listing(options)}, got {value!r}.{did_you_mean(value, options)}"
    )


def check_int(owner: Any, argument: str, value: Any, minimum: int | None = None) -> int:
    """`value` as an int, if it is a whole number of at least `minimum`.

    Example:
        >>> check_int("Dense 'out'", "units", 3, minimum=1)
        3
    """
    bound = "" if minimum is None else f" of at least {minimum}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{owner_label(owner)}: {argument} must be an integer{bound}, got {describe(value)}.")
    if minimum is not None and value < minimum:
        raise ValueError(f"{owner_label(owner)}: {argument} must be an integer{bound}, got {value}.")
    return int(value)


def check_number(
    owner: Any, argument: str, value: Any, minimum: float | None = None, maximum: float | None = None
) -> float:
    """`value`, if it is a real number between `minimum` and `maximum` (both included).

    Example:
        >>> check_number("Dropout", "rate", 0.5, 0, 1)
        0.5
    """
    if minimum is not None and maximum is not None:
        bound = f" between {minimum} and {maximum}"
    elif minimum is not None:
        bound = f" of at least {minimum}"
    elif maximum is not None:
        bound = f" of at most {maximum}"
    else:
        bound = ""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{owner_label(owner)}: {argument} must be a number{bound}, got {describe(value)}.")
    number: Any = value
    if (minimum is not None and not number >= minimum) or (maximum is not None and not number <= maximum):
        raise ValueError(f"{owner_label(owner)}: {argument} must be a number{bound}, got {value}.")
    return value  # type: ignore[return-value]


def check_ints(owner: Any, argument: str, value: Any, n: int, minimum: int | None = None) -> tuple[int, ...]:
    """`value` as a tuple of `n` integers; one integer stands for all of them.

    Example:
        >>> check_ints("Conv2D", "strides", 2, 2)
        (2, 2)
        >>> check_ints("Conv2D", "kernel_size", (3, 5), 2)
        (3, 5)
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        value = (value,) * n
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != n:
        raise ValueError(
            f"{owner_label(owner)}: {argument} must be an integer or a tuple of {n} integers, got {describe(value)}."
        )
    return tuple(check_int(owner, f"{argument}[{i}]", v, minimum) for i, v in enumerate(value))


def check_type(owner: Any, argument: str, value: Any, kinds: type | tuple[type, ...], expected: str) -> Any:
    """`value`, if it is an instance of `kinds`; `expected` says in words what was wanted.

    Example:
        >>> check_type("fit", "callbacks", [], list, "a list of callbacks")
        []
    """
    if isinstance(value, kinds):
        return value
    raise TypeError(f"{owner_label(owner)}: {argument} must be {expected}, got {describe(value)}.")


def unknown_arguments(owner: Any, unknown: Iterable[str], known: Iterable[str]) -> TypeError:
    """The error for keyword arguments that nobody takes."""
    unknown = list(unknown)
    known = sorted(known)
    hint = did_you_mean(unknown[0], known)
    return TypeError(
        f"{owner_label(owner)}: unexpected keyword argument {listing(unknown, 'and')}.{hint} "
        f"It takes {listing(known, 'and')}."
    )
