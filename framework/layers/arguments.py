"""Checks of constructor arguments that many layers share."""

from __future__ import annotations

from typing import Any

from lamina.core import settings
from lamina.core.checks import check_choice, check_int
from lamina.core.errors import describe, owner_label


def check_data_format(owner: Any, value: str | None) -> str:
    """The image layout: the given one, or the global default for None."""
    if value is None:
        return settings.image_data_format()
    return check_choice(owner, "data_format", value, ["channels_last", "channels_first"])


def check_padding(owner: Any, value: Any, options: tuple[str, ...] = ("valid", "same")) -> str:
    """The word for a padding, in lower case."""
    return check_choice(owner, "padding", value.lower() if isinstance(value, str) else value, options)


def check_pairs(owner: Any, argument: str, value: Any, n: int) -> tuple[tuple[int, int], ...]:
    """`n` pairs (before, after) of sizes: from one integer for all, one for each axis, or pairs."""
    if isinstance(value, (int, float, str)) or not hasattr(value, "__len__"):
        value = (value,) * n
    if len(value) != n:
        raise ValueError(
            f"{owner_label(owner)}: {argument} must be an integer, {n} integers, or {n} pairs (before, after), "
            f"got {describe(value)}."
        )
    pairs = []
    for i, item in enumerate(value):
        pair = tuple(item) if isinstance(item, (tuple, list)) else (item, item)
        if len(pair) != 2:
            raise ValueError(
                f"{owner_label(owner)}: {argument}[{i}] must be an integer or a pair (before, after), "
                f"got {describe(item)}."
            )
        pairs.append((
            check_int(owner, f"{argument}[{i}]", pair[0], 0),
            check_int(owner, f"{argument}[{i}]", pair[1], 0),
        ))  # fmt: skip
    return tuple(pairs)


def channel_axis(data_format: str) -> int:
    """The axis of the channels."""
    return -1 if data_format == "channels_last" else 1


def spatial_axes(data_format: str, rank: int) -> tuple[int, ...]:
    """The axes of space in an input with `rank` of them."""
    return tuple(range(1, rank + 1)) if data_format == "channels_last" else tuple(range(2, rank + 2))
