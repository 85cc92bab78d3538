"""First values of weights: `lamina.initializers`. An initializer maps a shape and a dtype to an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lamina.core import registry
from lamina.core.config import deserialize_object, serialize_object
from lamina.core.errors import describe
from lamina.initializers.constant import STFT, Constant, FromArray, Identity, Ones, Zeros
from lamina.initializers.initializer import Initializer, RandomInitializer
from lamina.initializers.random import (
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    compute_fans,
)
from lamina.initializers.scaling import GlorotNormal, GlorotUniform, HeNormal, HeUniform, LecunNormal, LecunUniform
from lamina.state.variable import Variable

IdentityInitializer, OrthogonalInitializer, STFTInitializer = Identity, Orthogonal, STFT
constant, identity, ones, zeros, stft = Constant, Identity, Ones, Zeros, STFT
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling, orthogonal = VarianceScaling, Orthogonal
glorot_normal, glorot_uniform = GlorotNormal, GlorotUniform
he_normal, he_uniform = HeNormal, HeUniform
lecun_normal, lecun_uniform = LecunNormal, LecunUniform
ALIASES = {
    "constant": Constant,
    "identity": Identity,
    "ones": Ones,
    "zeros": Zeros,
    "one": Ones,
    "zero": Zeros,
    "stft": STFT,
    "random_normal": RandomNormal,
    "normal": RandomNormal,
    "random_uniform": RandomUniform,
    "uniform": RandomUniform,
    "truncated_normal": TruncatedNormal,
    "variance_scaling": VarianceScaling,
    "orthogonal": Orthogonal,
    "glorot_normal": GlorotNormal,
    "glorot_uniform": GlorotUniform,
    "he_normal": HeNormal,
    "he_uniform": HeUniform,
    "lecun_normal": LecunNormal,
    "lecun_uniform": LecunUniform,
    "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
    "STFTInitializer": STFT,
}


def serialize(initializer: Initializer) -> Any:
    """The config of an initializer."""
    return serialize_object(initializer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The initializer that a config or a name describes.

    Example:
        >>> deserialize(serialize(Constant(0.5))).value
        0.5
    """
    if isinstance(config, str):
        return ALIASES.get(config) or registry.lookup("initializers", config, custom_objects)
    if config.get("class_name") in ALIASES:
        config = {**config, "class_name": ALIASES[config["class_name"]].__name__}
    return deserialize_object(config, custom_objects, "initializers")


def get(identifier: Any) -> Callable[..., Any] | None:
    """An initializer from its name, a config, an object, a function `(shape, dtype)`, an array, or None.

    Raises:
        ValueError: nothing has that name.

    Example:
        >>> get("zeros")((2,)).tolist(), get(np.ones(1))((1,)).tolist()
        ([0.0, 0.0], [1.0])
    """
    if identifier is None:
        return None
    if isinstance(identifier, (jax.Array, np.ndarray, np.generic, Variable)):
        return FromArray(identifier)
    if isinstance(identifier, (str, dict)):
        identifier = deserialize(identifier)
    if isinstance(identifier, type):
        identifier = identifier()
    if not callable(identifier):
        raise ValueError(f"An initializer must be a name, a config, a function or array, got {describe(identifier)}.")
    return identifier


__all__ = [
    "ALIASES",
    "STFT",
    "Constant",
    "FromArray",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomInitializer",
    "RandomNormal",
    "RandomUniform",
    "STFTInitializer",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "compute_fans",
    "constant",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "serialize",
    "stft",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]
