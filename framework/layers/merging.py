"""Layers that merge several inputs into one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

from lamina import ops
from lamina.core.checks import check_int
from lamina.core.errors import ShapeError, describe, owner_label
from lamina.layers.layer import Layer
from lamina.state.masks import get_mask


class _Merge(Layer):
    """What the layers share that merge inputs element by element.

    Inputs of lower rank get axes of size 1 behind the batch axis; then shapes broadcast.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True

    def _check(self, inputs: Any) -> list[Any]:
        if not isinstance(inputs, (list, tuple)) or not inputs:
            raise ValueError(f"{owner_label(self)}: expected a list of tensors, got {describe(inputs)}.")
        return list(inputs)

    def merge(self, inputs: list[Any]) -> jax.Array:
        """Merges inputs of one rank."""
        raise NotImplementedError

    def call(self, inputs: Any) -> jax.Array:
        """The merged inputs."""
        inputs = self._check(inputs)
        masks = [get_mask(x) for x in inputs]
        shapes = [tuple(x.shape) for x in inputs]
        rank = max(map(len, shapes))
        for i, x in enumerate(inputs):
            if x.ndim < rank:
                inputs[i] = ops.reshape(x, (x.shape[0], *[1] * (rank - x.ndim), *x.shape[1:]))
        for sizes in zip(*(x.shape for x in inputs), strict=True):
            if len(set(sizes) - {1}) > 1:
                raise ShapeError(
                    f"{owner_label(self)}: the shapes of the inputs must broadcast to each other, got "
                    f"{', '.join(map(str, shapes))}."
                )
        return self.merge_masked(inputs, masks)

    def merge_masked(self, inputs: list[Any], masks: list[Any]) -> jax.Array:
        """Merges inputs of one rank that may have masks."""
        return self.merge(inputs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """True where any input's mask is; None if an input has none."""
        if mask is None or any(m is None for m in mask):
            return None
        return functools.reduce(ops.logical_or, mask)


class Add(_Merge):
    """The sum of the inputs.

    Shape:
        a list of shapes that broadcast -> the common shape

    Example:
        >>> import numpy as np
        >>> Add()([np.ones((1, 2), "float32"), np.ones((1, 2), "float32")]).tolist()
        [[2.0, 2.0]]
    """

    def merge(self, inputs: list[Any]) -> jax.Array:
        """The sum."""
        return functools.reduce(ops.add, inputs)


class Subtract(_Merge):
    """The first input minus the second.

    Raises:
        ValueError: there are not exactly two inputs.

    Example:
        >>> import numpy as np
        >>> Subtract()([np.ones((1, 2), "float32"), np.ones((1, 2), "float32")]).tolist()
        [[0.0, 0.0]]
    """

    def _check(self, inputs: Any) -> list[Any]:
        inputs = super()._check(inputs)
        if len(inputs) != 2:
            raise ValueError(f"{owner_label(self)}: expected a list of 2 tensors, got {len(inputs)}.")
        return inputs

    def merge(self, inputs: list[Any]) -> jax.Array:
        """The difference."""
        return ops.subtract(*inputs)


class Multiply(_Merge):
    """The product of the inputs, element by element.

    Example:
        >>> import numpy as np
        >>> Multiply()([np.full((1, 2), 3, "float32"), np.full((1, 2), 2, "float32")]).tolist()
        [[6.0, 6.0]]
    """

    def merge(self, inputs: list[Any]) -> jax.Array:
        """The product."""
        return functools.reduce(ops.multiply, inputs)


class Average(_Merge):
    """The mean of the inputs, element by element.

    Example:
        >>> import numpy as np
        >>> Average()([np.full((1, 2), 3, "float32"), np.full((1, 2), 1, "float32")]).tolist()
        [[2.0, 2.0]]
    """

    def merge(self, inputs: list[Any]) -> jax.Array:
        """The mean."""
        return ops.divide(functools.reduce(ops.add, inputs), len(inputs))


class _Extreme(_Merge):
    """The maximum or minimum, of unmasked places only."""

    operation: Callable[..., Any]

    def merge_masked(self, inputs: list[Any], masks: list[Any]) -> jax.Array:
        """The extreme; a masked place of an input gives way to the other inputs."""
        result, seen = inputs[0], masks[0]
        for x, mask in zip(inputs[1:], masks[1:], strict=True):
            both = type(self).operation(result, x)
            if mask is not None:
                both = ops.where(ops.expand_dims(mask, -1), both, result)
            if seen is not None:
                both = ops.where(ops.expand_dims(seen, -1), both, x)
            seen = None if seen is None or mask is None else ops.logical_or(seen, mask)
            result = both
        return result


class Maximum(_Extreme):
    """The largest of the inputs, element by element.

    Example:
        >>> import numpy as np
        >>> Maximum()([np.array([[1, 5]], "float32"), np.array([[3, 2]], "float32")]).tolist()
        [[3.0, 5.0]]
    """

    operation = staticmethod(ops.maximum)


class Minimum(_Extreme):
    """The smallest of the inputs, element by element.

    Example:
        >>> import numpy as np
        >>> Minimum()([np.array([[1, 5]], "float32"), np.array([[3, 2]], "float32")]).tolist()
        [[1.0, 2.0]]
    """

    operation = staticmethod(ops.minimum)


class Concatenate(_Merge):
    """The inputs one behind the other along an axis.

    Shape:
        a list of shapes that differ on `axis` only -> the same, with the sum of the sizes there

    Args:
        axis: the axis.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ShapeError: the inputs differ in rank, or in the size of another axis.

    Example:
        >>> import numpy as np
        >>> Concatenate()([np.ones((2, 3), "float32"), np.ones((2, 4), "float32")]).shape
        (2, 7)
    """

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = check_int(self, "axis", axis)

    def call(self, inputs: Any) -> jax.Array:
        """The concatenated inputs."""
        inputs = self._check(inputs)
        shapes = [tuple(x.shape) for x in inputs]
        rank = len(shapes[0])
        if not -rank <= self.axis < rank:
            raise ShapeError(f"{owner_label(self)}: axis {self.axis} does not exist in inputs of shape {shapes[0]}.")
        rests = {s[: self.axis % rank] + s[self.axis % rank + 1 :] for s in shapes}
        if len(rests) > 1 or len(set(map(len, shapes))) > 1:
            raise ShapeError(
                f"{owner_label(self)}: the inputs may differ on axis {self.axis} only, got shapes "
                f"{', '.join(map(str, shapes))}."
            )
        return ops.concatenate(inputs, axis=self.axis)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The masks, concatenated likewise; inputs without one count as unmasked."""
        if mask is None or all(m is None for m in mask):
            return None
        full = []
        for x, m in zip(inputs, mask, strict=True):
            if m is None:
                full.append(ops.ones_like(x, dtype="bool"))
            else:
                full.append(ops.broadcast_to(ops.expand_dims(m, -1), x.shape) if m.ndim < x.ndim else m)
        return ops.any(ops.concatenate(full, axis=self.axis), axis=-1)


class Dot(_Merge):
    """The scalar products of two inputs, sample by sample, along one axis of each.

    Shape:
        (batch, n), (batch, n), axes=1 -> (batch, 1); (batch, a, n), (batch, b, n), axes=2 -> (batch, a, b)

    Args:
        axes: the axis of both inputs, or a pair of axes; the batch axis, 0, may not be one.
        normalize: whether the inputs are given norm 1 before, which makes it the cosine of the angle.
        **kwargs: `name`, `dtype` and so on, as for every layer.

    Raises:
        ShapeError: the two axes differ in size.

    Example:
        >>> import numpy as np
        >>> Dot(axes=1)([np.ones((2, 3), "float32"), np.ones((2, 3), "float32")]).tolist()
        [[3.0], [3.0]]
    """

    def __init__(self, axes: Any, normalize: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(axes, (list, tuple)):
            if len(axes) != 2:
                raise ValueError(
                    f"{owner_label(self)}: axes must be an integer or a pair of integers, got {describe(axes)}."
                )
            self.axes: Any = tuple(check_int(self, f"axes[{i}]", a) for i, a in enumerate(axes))
        else:
            self.axes = check_int(self, "axes", axes)
        if 0 in (self.axes if isinstance(self.axes, tuple) else (self.axes,)):
            raise ValueError(f"{owner_label(self)}: axes must not hold 0, the batch axis, got {self.axes}.")
        self.normalize = normalize

    def call(self, inputs: Any) -> jax.Array:
        """The scalar products."""
        inputs = self._check(inputs)
        if len(inputs) != 2:
            raise ValueError(f"{owner_label(self)}: expected a list of 2 tensors, got {len(inputs)}.")
        x, y = inputs
        axes = self.axes if isinstance(self.axes, tuple) else (self.axes, self.axes)
        i, j = axes[0] % x.ndim, axes[1] % y.ndim
        if x.shape[i] != y.shape[j]:
            raise ShapeError(
                f"{owner_label(self)}: axis {i} of the first input and axis {j} of the second must have the same size, "
                f"got shapes {tuple(x.shape)} and {tuple(y.shape)}."
            )
        if self.normalize:
            x, y = ops.normalize(x, axis=i), ops.normalize(y, axis=j)
        letters = iter("bcdefghijklmnop")
        left = ["a" if k == 0 else "z" if k == i else next(letters) for k in range(x.ndim)]
        right = ["a" if k == 0 else "z" if k == j else next(letters) for k in range(y.ndim)]
        kept = [c for c in (*left, *right[1:]) if c != "z"]
        result = ops.einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", x, y)
        return ops.expand_dims(result, 1) if result.ndim == 1 else result

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: the masked axis is gone."""
        return None


def add(inputs: Any, **kwargs: Any) -> Any:
    """The sum of the inputs: `Add(**kwargs)(inputs)`."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """The first input minus the second: `Subtract(**kwargs)(inputs)`."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """The product of the inputs: `Multiply(**kwargs)(inputs)`."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """The mean of the inputs: `Average(**kwargs)(inputs)`."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """The largest of the inputs: `Maximum(**kwargs)(inputs)`."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """The smallest of the inputs: `Minimum(**kwargs)(inputs)`."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """The inputs one behind the other: `Concatenate(axis, **kwargs)(inputs)`."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """The scalar products of two inputs: `Dot(axes, **kwargs)(inputs)`."""
    return Dot(axes=axes, **kwargs)(inputs)
