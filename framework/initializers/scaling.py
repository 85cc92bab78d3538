"""The initializers named after their authors: variance scaling with fixed arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina.initializers.random import VarianceScaling


class _Preset(VarianceScaling):
    """Variance scaling with fixed scale, mode and distribution."""

    _fixed: tuple[float, str, str]

    def __init__(
        self, seed: Any = None, input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
    ):
        super().__init__(*self._fixed, seed, input_axes, output_axes)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        return {name: config[name] for name in ("seed", "input_axes", "output_axes")}


class GlorotUniform(_Preset):
    """Evenly spread within sqrt(6 / (inputs + outputs)), also called Xavier uniform.

    Args:
        seed: an integer, a `SeedGenerator`, or None.
        input_axes: the axes of the inputs; by default the second to last, times those of space.
        output_axes: the axes of the outputs; by default the last, times those of space.

    Example:
        >>> GlorotUniform(seed=1)((4, 5)).shape
        (4, 5)

    Reference:
        https://proceedings.mlr.press/v9/glorot10a.html
    """

    _fixed = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Preset):
    """Truncated normal of variance 2 / (inputs + outputs), also called Xavier normal.

    Args:
        seed: an integer, a `SeedGenerator`, or None.
        input_axes: the axes of the inputs; by default the second to last, times those of space.
        output_axes: the axes of the outputs; by default the last, times those of space.

    Example:
        >>> GlorotNormal(seed=1)((4, 5)).shape
        (4, 5)

    Reference:
        https://proceedings.mlr.press/v9/glorot10a.html
    """

    _fixed = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Preset):
    """Evenly spread within sqrt(6 / inputs).

    Args:
        seed: an integer, a `SeedGenerator`, or None.
        input_axes: the axes of the inputs; by default the second to last, times those of space.
        output_axes: the axes of the outputs; by default the last, times those of space.

    Example:
        >>> HeUniform(seed=1)((4, 5)).shape
        (4, 5)

    Reference:
        https://arxiv.org/abs/1502.01852
    """

    _fixed = (2.0, "fan_in", "uniform")


class HeNormal(_Preset):
    """Truncated normal of variance 2 / inputs.

    Args:
        seed: an integer, a `SeedGenerator`, or None.
        input_axes: the axes of the inputs; by default the second to last, times those of space.
        output_axes: the axes of the outputs; by default the last, times those of space.

    Example:
        >>> HeNormal(seed=1)((4, 5)).shape
        (4, 5)

    Reference:
        https://arxiv.org/abs/1502.01852
    """

    _fixed = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Preset):
    """Evenly spread within sqrt(3 / inputs).

    Args:
        seed: an integer, a `SeedGenerator`, or None.
        input_axes: the axes of the inputs; by default the second to last, times those of space.
        output_axes: the axes of the outputs; by default the last, times those of space.

    Example:
        >>> LecunUniform(seed=1)((4, 5)).shape
        (4, 5)

    Reference:
        https://arxiv.org/abs/1706.02515
    """

    _fixed = (1.0, "fan_in", "uniform")


class LecunNormal(_Preset):
    """Truncated normal of variance 1 / inputs.

    Args:
        seed: an integer, a `SeedGenerator`, or None.
        input_axes: the axes of the inputs; by default the second to last, times those of space.
        output_axes: the axes of the outputs; by default the last, times those of space.

    Example:
        >>> LecunNormal(seed=1)((4, 5)).shape
        (4, 5)

    Reference:
        https://arxiv.org/abs/1706.02515
    """

    _fixed = (1.0, "fan_in", "truncated_normal")
