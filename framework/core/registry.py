"""Names for classes and functions, so that a config can be turned back into objects without running code."""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from lamina.core.errors import did_you_mean

# Built-in classes and functions by family ("layers", "optimizers.schedules") and name; filled as they are defined.
BUILTIN: dict[str, dict[str, Any]] = {}
# Families of classes that are loaded when a config names them.
LAZY = frozenset({"quantization"})
_custom: dict[str, Any] = {}
_scope: ContextVar[dict[str, Any]] = ContextVar("custom_objects", default={})  # noqa: B039 - never mutated


def family_of(module: str) -> str | None:
    """The family that a module of lamina belongs to: `lamina.layers.pooling` is of `layers`.

    Example:
        >>> family_of("lamina.optimizers.schedules")
        'optimizers.schedules'
    """
    parts = module.split(".")
    if parts[0] != "lamina" or len(parts) < 2:
        return None
    return "optimizers.schedules" if parts[1:3] == ["optimizers", "schedules"] else parts[1]


def add_builtin(obj: Any) -> None:
    """Registers a class or function of lamina under its family."""
    family = family_of(obj.__module__)
    if family is not None:
        BUILTIN.setdefault(family, {})[obj.__name__] = obj


def register_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Any], Any]:
    """A decorator that gives a class or function of yours the name `package>name` in saved configs.

    Raises:
        ValueError: a class has no `get_config`, so it could not be saved.

    Example:
        >>> @register_serializable("my_package")
        ... def swishish(x):
        ...     return x
        >>> registered_name(swishish)
        'my_package>swishish'
    """

    def register(obj: Any) -> Any:
        if inspect.isclass(obj) and not hasattr(obj, "get_config"):
            raise ValueError(f"register_serializable: class {obj.__name__} needs a get_config method to be saved.")
        _custom[f"{package}>{name or obj.__name__}"] = obj
        return obj

    return register


def registered_name(obj: Any) -> str:
    """The name a class or function was registered under, or else its own name."""
    for key, value in _custom.items():
        if value is obj:
            return key
    return getattr(obj, "__name__", type(obj).__name__)


def is_registered(obj: Any) -> bool:
    """Whether `obj` was given to `register_serializable`."""
    return any(value is obj for value in _custom.values())


def get_registered_object(
    name: str, custom_objects: dict[str, Any] | None = None, module_objects: dict[str, Any] | None = None
) -> Any:
    """What is registered under `name` (with or without its package), or None."""
    for table in (_scope.get(), custom_objects or {}, _custom, module_objects or {}):
        if name in table:
            return table[name]
    return next((v for k, v in _custom.items() if k.split(">")[-1] == name), None)


@contextlib.contextmanager
def custom_object_scope(objects: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Within the scope, names in configs mean the given objects first.

    Example:
        >>> with custom_object_scope({"twice": lambda x: 2 * x}):
        ...     get_registered_object("twice")(4)
        8
    """
    token = _scope.set({**_scope.get(), **objects})
    try:
        yield objects
    finally:
        _scope.reset(token)


def lookup(family: str, name: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """The class or function `name` of a family, or of the user's own.

    Raises:
        ValueError: nothing has that name; the message suggests the closest and tells how to register one.
    """
    found = get_registered_object(name, custom_objects, BUILTIN.get(family))
    if found is None:
        options = BUILTIN.get(family, {})
        kind = f"Nothing in lamina.{family}" if family in BUILTIN else "No class or function"
        raise ValueError(
            f"{kind} is named {name!r}.{did_you_mean(name, options)} If it is your own, decorate it with "
            "lamina.saving.register_keras_serializable() or pass it in custom_objects."
        )
    return found


def is_function(obj: Any) -> bool:
    """Whether `obj` is a function rather than a class or an instance."""
    return isinstance(obj, (types.FunctionType, types.BuiltinFunctionType, types.MethodType))
