"""Names made from class names."""

from __future__ import annotations

import re


def snake_case(name: str) -> str:
    """A class name as Keras writes it in default names: words in lower case, joined by underscores.

    Example:
        >>> snake_case("MeanSquaredError"), snake_case("AdamW"), snake_case("Conv2D")
        ('mean_squared_error', 'adam_w', 'conv2d')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
