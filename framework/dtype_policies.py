"""Dtype policies: in which dtype a layer computes, and in which it keeps its weights."""

from __future__ import annotations

from typing import Any

from lamina.core.config import deserialize_object, serialize_object
from lamina.core.dtypes import DTypePolicy, get_policy


def get(identifier: Any) -> DTypePolicy:
    """A policy from a policy, a name, a dtype, a config, or None for the default one.

    Example:
        >>> get("mixed_bfloat16").compute_dtype
        'bfloat16'
    """
    return get_policy(identifier)


def serialize(policy: DTypePolicy) -> dict[str, Any]:
    """A policy as a dict of plain values.

    Example:
        >>> serialize(DTypePolicy("float16"))["config"]
        {'name': 'float16'}
    """
    return serialize_object(policy)


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> DTypePolicy:
    """The policy that `serialize` described.

    Example:
        >>> deserialize(serialize(DTypePolicy("float16")))
        <DTypePolicy 'float16'>
    """
    return deserialize_object(config, custom_objects)


__all__ = ["DTypePolicy", "deserialize", "get", "serialize"]
