"""InputSpec: what a layer demands of its input."""

from __future__ import annotations

from typing import Any

import jax

from lamina.core.config import Configurable
from lamina.core.dtypes import standardize_dtype
from lamina.core.errors import ShapeError, owner_label


class InputSpec(Configurable):
    """The rank, shape and dtype that a layer demands of an input.

    Args:
        dtype: the dtype demanded.
        shape: the shape demanded, with None where any size will do.
        ndim: the number of axes demanded.
        max_ndim: the most axes allowed.
        min_ndim: the fewest axes allowed.
        axes: a dict of axis -> size.
        optional: whether the input may be None.

    Example:
        >>> InputSpec(min_ndim=2, axes={-1: 3})
        InputSpec(min_ndim=2, axes={-1: 3})
    """

    def __init__(
        self,
        dtype: str | None = None,
        shape: tuple[int | None, ...] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ):
        self.dtype = None if dtype is None else standardize_dtype(dtype)
        self.shape = None if shape is None else tuple(shape)
        self.ndim = len(shape) if shape is not None else ndim
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.axes = {int(k): v for k, v in (axes or {}).items()}
        self.allow_last_axis_squeeze, self.name, self.optional = allow_last_axis_squeeze, name, optional

    def __repr__(self) -> str:
        given = {k: getattr(self, k) for k in ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes")}
        return f"InputSpec({', '.join(f'{k}={v!r}' for k, v in given.items() if v)})"

    def check(self, owner: Any, x: Any) -> None:
        """Raises ShapeError, naming the layer, if `x` does not fit."""
        if x is None and self.optional:
            return
        shape = tuple(getattr(x, "shape", ()))
        wanted = None
        cure = ""
        if self.ndim is not None and len(shape) != self.ndim:
            if self.allow_last_axis_squeeze and len(shape) in (self.ndim - 1, self.ndim + 1):
                return
            wanted = f"an input with {self.ndim} axes"
            if len(shape) == self.ndim - 1:
                cure = " Is the batch axis missing? x[None] adds one; x[..., None] adds a last axis."
        elif self.max_ndim is not None and len(shape) > self.max_ndim:
            wanted = f"an input with at most {self.max_ndim} axes"
        elif self.min_ndim is not None and len(shape) < self.min_ndim:
            wanted = f"an input with at least {self.min_ndim} axes"
            cure = " Is the batch axis missing? x[None] adds one."
        else:
            for axis, size in self.axes.items():
                if size is not None and -len(shape) <= axis < len(shape) and shape[axis] not in (size, None):
                    wanted = f"an input whose axis {axis} has size {size}"
                    cure = " Its weights were built for that size: feed data of that size, or use a new layer."
            for axis, size in enumerate(self.shape or ()):
                if size is not None and shape[axis] not in (size, None):
                    wanted = f"an input of shape {self.shape}"
        if wanted is not None:
            raise ShapeError(f"{owner_label(owner)}: expected {wanted}, got shape {shape}.{cure}")
        if self.dtype is not None and standardize_dtype(x.dtype) != self.dtype:
            raise TypeError(f"{owner_label(owner)}: expected an input of dtype {self.dtype}, got {x.dtype}.")


def check_input(owner: Any, spec: Any, inputs: Any) -> None:
    """Checks inputs against one spec, or a list or dict of specs."""
    if isinstance(spec, InputSpec):
        for x in jax.tree.leaves(inputs):
            spec.check(owner, x)
        return
    if isinstance(spec, dict) and isinstance(inputs, dict):
        for key, one in spec.items():
            if key not in inputs:
                raise ValueError(f"{owner_label(owner)}: the dict of inputs has no key {key!r}; it has {list(inputs)}.")
            one.check(owner, inputs[key])
        return
    xs = jax.tree.leaves(inputs)
    if len(xs) != len(spec):
        raise ValueError(f"{owner_label(owner)}: expected {len(spec)} inputs, got {len(xs)}.")
    for one, x in zip(spec, xs, strict=True):
        if one is not None:
            one.check(owner, x)
