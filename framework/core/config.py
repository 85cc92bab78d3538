"""Configuration of objects: constructor arguments are captured once, here, so that no class writes `get_config`."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Self

import numpy as np

from lamina.core import registry
from lamina.core.dtypes import DTypePolicy


@functools.cache
def _parameters(cls: type) -> dict[str, tuple[Any, bool]]:
    """The constructor's parameters, base classes' included: name -> (default, belongs to a class of lamina)."""
    found: dict[str, tuple[Any, bool]] = {}
    for klass in cls.__mro__:
        init = klass.__dict__.get("__init__")
        if init is None:
            continue
        params = list(inspect.signature(init).parameters.values())[1:]
        builtin = klass.__module__.split(".")[0] == "lamina"
        for p in params:
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
                found.setdefault(p.name, (p.default, builtin))
        if not any(p.kind is p.VAR_KEYWORD for p in params):
            break
    return found


@functools.cache
def _signature(cls: Any) -> inspect.Signature:
    return inspect.signature(cls.__init__)


def _capture(cls: type, args: tuple, kwargs: dict) -> dict[str, Any]:
    try:
        bound = _signature(cls).bind(None, *args, **kwargs)
    except TypeError:
        return dict(kwargs)  # __init__ itself will raise the error
    captured: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = _signature(cls).parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            captured.update(value)
        elif kind is not inspect.Parameter.VAR_POSITIONAL:
            captured[name] = value
    return captured


# Objects of the file in hand, so that one that several places name is one object again: by identity while the file
# is written (with the object, to keep the identity alive), by number while it is read.
_shared: ContextVar[dict[int, Any] | None] = ContextVar("shared_objects", default=None)


@contextlib.contextmanager
def object_sharing() -> Iterator[None]:
    """Within the scope, an object with weights that is described twice is made once."""
    token = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(token)


class Configurable:
    """Base of everything that a config describes: its constructor's arguments, by name.

    A built-in class keeps each argument in an attribute of the same name, in its normal form, and the config
    reads that; for arguments of a user's own class the config holds what the constructor was given.
    """

    # Arguments of the constructor that the config leaves out.
    _unsaved: frozenset[str] = frozenset()

    _captured: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_"):
            registry.add_builtin(cls)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Captures the constructor's arguments."""
        self = super().__new__(cls)
        self.__dict__["_captured"] = _capture(cls, args, kwargs)
        return self

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values; `from_config` makes an equal object of them."""
        config = {}
        for name, (default, builtin) in _parameters(type(self)).items():  # type: ignore[arg-type]
            if name in self._unsaved:
                continue
            value = self._captured.get(name, default)
            if builtin:
                value = getattr(self, name, value)
            if value is inspect.Parameter.empty:
                continue
            config[name] = serialize_value(value)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """An object made from what `get_config` returned."""
        return cls(**{k: deserialize_value(v) for k, v in config.items()})


def module_label(obj: Any) -> str | None:
    """The public module of a class or function in a saved config.

    Configs carry Keras' module names, so that files can be exchanged with Keras in both directions.
    """
    family = registry.family_of(obj.__module__)
    if family is None or registry.is_registered(obj):
        return None
    if obj.__name__ == "Functional":  # Keras exports no name for it
        return "keras.src.models.functional"
    return "keras" if family == "models" else f"keras.{family}"


def serialize_object(obj: Any) -> Any:
    """An object as a dict of module, class name, config and registered name (Keras 3's format).

    Example:
        >>> serialize_object(DTypePolicy("float32"))["config"]
        {'name': 'float32'}
    """
    if obj is None:
        return None
    if isinstance(obj, DTypePolicy):
        return {"module": "keras", "class_name": "DTypePolicy", "config": obj.get_config(), "registered_name": None}
    if registry.is_function(obj) or not hasattr(obj, "get_config"):
        name = registry.registered_name(obj)
        if name == "<lambda>":
            raise ValueError(
                "A lambda cannot be saved. Give the function a name and decorate it with "
                "lamina.saving.register_keras_serializable()."
            )
        label = module_label(obj)
        if label is not None:
            return name
        return {"module": "builtins", "class_name": "function", "config": name, "registered_name": name}
    cls = type(obj)
    label = module_label(cls)
    described = {
        "module": label or cls.__module__,
        "class_name": cls.__name__,
        "config": obj.get_config(),
        "registered_name": None if label else registry.registered_name(cls),
    }
    build = obj.get_build_config() if hasattr(obj, "get_build_config") else None
    if build is not None:
        described["build_config"] = serialize_value(build)
    shared = _shared.get()
    if shared is not None and hasattr(obj, "built"):
        described["shared_object_id"] = shared.setdefault(id(obj), (len(shared), obj))[0]
    return described


def serialize_function(function: Any) -> Any:
    """A function as a dict, where Keras would take a bare name for the name alone."""
    name = serialize_value(function)
    if not isinstance(name, str) or isinstance(function, str):
        return name
    # Keras finds ops by their module, and functions of other families by their name alone.
    module = "keras.ops" if module_label(function) == "keras.ops" else "builtins"
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def serialize_value(value: Any) -> Any:
    """A constructor argument as plain values; objects inside become dicts."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return {"class_name": "__bytes__", "config": {"value": value.decode("utf-8")}}
    if isinstance(value, slice):
        parts = {k: serialize_value(getattr(value, k)) for k in ("start", "stop", "step")}
        return {"class_name": "__slice__", "config": parts}
    if value is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(value, dict):
        return {k: serialize_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(serialize_value(v) for v in value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) or (hasattr(value, "__array__") and hasattr(value, "dtype")):
        array = np.asarray(value)
        return {"class_name": "__numpy__", "config": {"value": array.tolist(), "dtype": str(array.dtype)}}
    return serialize_object(value)


# Entries that Keras writes to say how it runs a layer, not what the layer computes; they are passed over.
_KERNEL_CHOICES = frozenset(
    "flash_attention gptq_unpacked_column_size lora_alpha lora_enabled lora_rank quantization_config use_cudnn".split()
)


def _is_serialized(value: Any) -> bool:
    return isinstance(value, dict) and "class_name" in value and "config" in value


def deserialize_value(value: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The reverse of `serialize_value`; dicts that describe an object become that object."""
    if _is_serialized(value):
        return deserialize_object(value, custom_objects)
    if isinstance(value, dict):
        return {k: deserialize_value(v, custom_objects) for k, v in value.items()}
    if isinstance(value, list):
        return [deserialize_value(v, custom_objects) for v in value]
    if isinstance(value, tuple):
        return tuple(deserialize_value(v, custom_objects) for v in value)
    return value


def deserialize_object(config: Any, custom_objects: dict[str, Any] | None = None, family: str | None = None) -> Any:
    """The object that a dict of `serialize_object` describes. Only known classes are made; no code is run.

    Raises:
        ValueError: the class is unknown, or the dict does not describe an object.
    """
    if not _is_serialized(config):
        raise ValueError(f"Expected a dict with 'class_name' and 'config', got {str(config)[:80]!r}.")
    name, inner = config["class_name"], config["config"]
    shared, number = _shared.get(), config.get("shared_object_id")
    if shared is not None and isinstance(number, int) and number in shared:
        return shared[number]
    if name in ("DTypePolicy", "FloatDTypePolicy"):  # the second as Keras up to 3.4 wrote it
        return DTypePolicy.from_config(inner)
    if name.endswith(("DTypePolicy", "DTypePolicyMap")):
        raise ValueError(
            f"The config has a {name}, as models have that Keras quantized, which are not read. Save the model before "
            "model.quantize is called."
        )
    if name in ("__numpy__", "__tensor__"):
        return np.array(inner["value"], dtype=inner["dtype"])
    if name == "__bytes__":
        return inner["value"].encode("utf-8")
    if name == "__slice__":
        return slice(*(deserialize_value(inner[k], custom_objects) for k in ("start", "stop", "step")))
    if name == "__ellipsis__":
        return Ellipsis
    if name == "__lambda__":
        raise ValueError(
            "The config holds the code of a lambda, which is never run. Save the model with a named function, "
            "decorated with lamina.saving.register_keras_serializable()."
        )
    if name == "function":
        return find_class(config.get("module") or "", inner, custom_objects, family)
    cls = find_class(config.get("module") or "", config.get("registered_name") or name, custom_objects, family)
    if not hasattr(cls, "from_config"):
        return cls
    known = _parameters(cls) if isinstance(cls, type) else {}
    inner = {k: v for k, v in inner.items() if k in known or k not in _KERNEL_CHOICES}
    with registry.custom_object_scope(custom_objects or {}):
        made = cls.from_config(inner)
    if config.get("build_config") and not getattr(made, "built", True):
        made.build_from_config(config["build_config"])
    if shared is not None and isinstance(number, int):
        shared[number] = made
    return made


def find_class(module: str, name: str, custom_objects: dict[str, Any] | None, family: str | None) -> Any:
    """The class or function meant by a config's module and name."""
    short = name.split(">")[-1]
    found = registry.get_registered_object(name, custom_objects)
    if found is not None:
        return found
    guess = module.removeprefix("keras.").removeprefix("lamina.").removeprefix("src.")
    if guess in registry.LAZY:
        importlib.import_module(f"lamina.{guess}")
    for candidate in (family, guess, guess.split(".")[0], *registry.BUILTIN):
        if candidate in registry.BUILTIN and short in registry.BUILTIN[candidate]:
            return registry.BUILTIN[candidate][short]
    known = family or guess
    return registry.lookup(known if known in registry.BUILTIN else "class", short, custom_objects)
