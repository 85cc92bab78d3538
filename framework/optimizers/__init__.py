"""Optimizers: how variables change by their gradients. Every one is a composition of optax transformations."""

from __future__ import annotations

import inspect
from typing import Any

import optax

from lamina.core import registry
from lamina.core.config import deserialize_object, serialize_object
from lamina.core.errors import describe, did_you_mean
from lamina.optimizers import schedules
from lamina.optimizers.adam import Adam, Adamax, AdamW, Lamb, Lion, Nadam, ScheduleFreeAdamW
from lamina.optimizers.descent import SGD, Adadelta, Adagrad, Ftrl, RMSprop
from lamina.optimizers.factored import Adafactor, Muon
from lamina.optimizers.loss_scale import LossScaleOptimizer
from lamina.optimizers.multi import MultiOptimizer, OptimizerMap
from lamina.optimizers.optax_optimizer import OptaxOptimizer
from lamina.optimizers.optimizer import Optimizer


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer as plain values.

    Example:
        >>> serialize(SGD(momentum=0.9))["class_name"]
        'SGD'
    """
    return serialize_object(optimizer)


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Optimizer:
    """The optimizer that `serialize` described; class names may be in lower case.

    Raises:
        ValueError: there is no such optimizer.

    Example:
        >>> deserialize(serialize(SGD(momentum=0.5))).momentum
        0.5
    """
    lowered = {name.lower(): name for name in registry.BUILTIN["optimizers"]}
    name = config.get("class_name")
    if isinstance(name, str) and name.lower() in lowered:
        config = {**config, "class_name": lowered[name.lower()]}
    return deserialize_object(config, custom_objects, "optimizers")


def get(identifier: Any) -> Any:
    """An optimizer from a name, a config, a class, an optimizer or an optax transformation.

    Raises:
        ValueError: no optimizer has that name.
        TypeError: the identifier is nothing that stands for an optimizer.

    Example:
        >>> get("adam").name, get(optax.sgd(0.1)).name
        ('adam', 'optax_optimizer')
    """
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        return _named(identifier)()
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, optax.GradientTransformation):
        return OptaxOptimizer(identifier)
    if inspect.isclass(identifier) and issubclass(identifier, Optimizer):
        return identifier()
    raise TypeError(
        "optimizers.get: an optimizer must be a name such as 'adam', an Optimizer, an optax.GradientTransformation or "
        f"a config, got {describe(identifier)}."
    )


def _named(name: str) -> type[Optimizer]:
    classes = {k: v for k, v in registry.BUILTIN["optimizers"].items() if inspect.isclass(v)}
    lowered = {k.lower(): v for k, v in classes.items()}
    found = registry.get_registered_object(name, None, {**classes, name: lowered.get(name.lower())})
    if found is None:
        raise ValueError(
            f"No optimizer is named {name!r}.{did_you_mean(name, classes)} If it is your own, pass the object itself, "
            "or decorate its class with lamina.saving.register_keras_serializable()."
        )
    return found


__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "MultiOptimizer",
    "Muon",
    "Nadam",
    "OptaxOptimizer",
    "Optimizer",
    "OptimizerMap",
    "RMSprop",
    "ScheduleFreeAdamW",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]
