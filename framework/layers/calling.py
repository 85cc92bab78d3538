"""How a call of a layer is read: its arguments by name, and what the call around it says about training."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.dtypes import FLOATS
from lamina.core.errors import describe, owner_label
from lamina.ops.symbol import Symbol
from lamina.state.variable import Variable

training_mode: ContextVar[bool | None] = ContextVar("training_mode", default=None)


@functools.cache
def call_signature(cls: type) -> inspect.Signature:
    """The signature of a layer class's `call`, without self."""
    signature = inspect.signature(cls.call)  # type: ignore[attr-defined]
    return signature.replace(parameters=list(signature.parameters.values())[1:])


@functools.cache
def accepts(cls: type, argument: str) -> bool:
    """Whether a layer class's `call` takes `argument`."""
    return argument in call_signature(cls).parameters


@functools.cache
def build_parameters(cls: type) -> tuple[str, ...]:
    """The parameters of a layer class's `build`, without self."""
    return tuple(inspect.signature(cls.build).parameters)[1:]  # type: ignore[attr-defined]


def build_config(cls: type, shapes: dict[str, Any] | None) -> dict[str, Any] | None:
    """The shapes that a layer was built with, as Keras writes them: those that its `build` takes."""
    if shapes is None or len(shapes) == 1:
        return shapes
    wanted = build_parameters(cls)
    if len(wanted) > 1 and wanted[0] in shapes:
        return {"shapes_dict": {name: shapes[name] for name in wanted if name in shapes}}
    return {"input_shape": next(iter(shapes.values()))}


def is_tensor(x: Any) -> bool:
    """Whether `x` is an array, a variable or a symbol."""
    return isinstance(x, (jax.Array, np.ndarray, Symbol, Variable))


def bind(layer: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    """The arguments of a call by name, in order.

    Raises:
        TypeError: they do not fit the signature of `call`.
    """
    cls: Any = type(layer)
    if "training" in kwargs and not accepts(cls, "training"):
        kwargs = {k: v for k, v in kwargs.items() if k != "training"}
    try:
        return dict(call_signature(cls).bind(*args, **kwargs).arguments)
    except TypeError as error:
        known = list(call_signature(cls).parameters)
        raise TypeError(f"{owner_label(layer)}: called with wrong arguments: {error}. call takes {known}.") from None


def shape_of(x: Any) -> Any:
    """The shapes of the tensors in a structure."""
    if isinstance(x, dict):
        return {k: shape_of(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)) and not hasattr(x, "shape"):
        return type(x)(*map(shape_of, x)) if hasattr(x, "_fields") else type(x)(map(shape_of, x))
    return tuple(x.shape) if hasattr(x, "shape") else None


def holds_tensor(x: Any) -> bool:
    """Whether a structure has a tensor in it."""
    return is_tensor(x) or (isinstance(x, (list, tuple, dict)) and any(is_tensor(v) for v in jax.tree.leaves(x)))


def prepare(layer: Any, x: Any, dtype: str | None) -> Any:
    """The tensors of an argument as arrays; floats in `dtype` (None leaves them)."""

    def one(v: Any) -> Any:
        if isinstance(v, Symbol):
            return v
        if isinstance(v, Variable):
            v = v.value
        elif isinstance(v, np.ndarray):
            if v.dtype.kind in "OSU":
                if next(iter(layer._children()), None) is not None:  # a layer inside may take strings
                    return v
                raise TypeError(
                    f"{owner_label(layer)}: expected numbers, got {describe(v)}. Turn strings into integers first, by "
                    "StringLookup, Hashing or TextVectorization."
                )
            v = jnp.asarray(v)
        elif not isinstance(v, jax.Array):
            return v
        return v.astype(dtype) if dtype is not None and v.dtype.name in FLOATS and v.dtype.name != dtype else v

    if isinstance(x, (list, tuple, dict)):
        return jax.tree.map(one, x)
    return one(x)


def resolve_training(kwargs: dict[str, Any], arguments: dict[str, Any]) -> bool | None:
    """Whether a call trains: what it was told, else what the call around it was told."""
    told = arguments.get("training", kwargs.get("training"))
    return told if told is not None else training_mode.get()


def fill_masks(cls: type, arguments: dict[str, Any], mask_of: Callable[[Any], Any]) -> Any:
    """Fills mask arguments that were not given from the masks of the tensors; returns that of the first argument."""
    names = list(arguments)
    first = None
    for i, name in enumerate(names):
        if not holds_tensor(arguments[name]) or name.endswith("mask"):
            continue
        x = arguments[name]
        masks = jax.tree.map(mask_of, x) if isinstance(x, (list, tuple, dict)) else mask_of(x)
        if i == 0:
            first = masks
        if not jax.tree.leaves(masks):
            continue
        for target in (f"{name}_mask", *(["mask"] if i == 0 else [])):
            if accepts(cls, target) and arguments.get(target) is None:
                arguments[target] = masks
    return first
