"""Names made from class names, and names that are free."""

from __future__ import annotations

import re
from collections.abc import Container


def snake_case(name: str) -> str:
    """A class name as Keras writes it in default names: words in lower case, joined by underscores.

    Example:
        >>> snake_case("MeanSquaredError"), snake_case("AdamW"), snake_case("Conv2D")
        ('mean_squared_error', 'adam_w', 'conv2d')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def free_name(name: str, taken: Container[str]) -> str:
    """`name`, or `name_1`, `name_2`, ..., whichever is not taken.

    Example:
        >>> free_name("kernel", ["bias", "kernel"])
        'kernel_1'
    """
    number, candidate = 0, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate
