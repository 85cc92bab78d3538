"""Names of dtypes and the policies that say in which dtype a layer computes and stores."""

from __future__ import annotations

from typing import Any

from lamina.core import settings
from lamina.core.errors import did_you_mean

FLOATS = ("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2")
INTS = ("int4", "int8", "int16", "int32", "int64", "uint4", "uint8", "uint16", "uint32", "uint64")
COMPLEXES = ("complex64", "complex128")
ALLOWED = ("bool", "string", *FLOATS, *INTS, *COMPLEXES)
_PYTHON = {bool: "bool", int: "int32", float: None, str: "string"}


def standardize_dtype(dtype: Any) -> str:
    """The name of a dtype given as a name, a numpy or jax dtype, or a Python type; None is the default float.

    Raises:
        ValueError: there is no such dtype.

    Example:
        >>> import numpy as np
        >>> standardize_dtype(np.float32), standardize_dtype(int), standardize_dtype(None)
        ('float32', 'int32', 'float32')
    """
    if dtype is None:
        return settings.floatx()
    if isinstance(dtype, type) and dtype in _PYTHON:
        return _PYTHON[dtype] or settings.floatx()
    if isinstance(dtype, str):
        name = dtype
    else:
        name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    if name == "object" or name.startswith(("str", "bytes", "<U", ">U", "|S")):
        name = "string"
    if name not in ALLOWED:
        raise ValueError(f"dtype must name a dtype such as 'float32', got {dtype!r}.{did_you_mean(dtype, ALLOWED)}")
    return name


def is_float(dtype: Any) -> bool:
    """Whether `dtype` is a floating-point dtype.

    Example:
        >>> is_float("bfloat16"), is_float("int32")
        (True, False)
    """
    return standardize_dtype(dtype) in FLOATS


class DTypePolicy:
    """The pair of dtypes of a layer: `compute_dtype` for its arithmetic, `variable_dtype` for its weights.

    Args:
        name: a dtype (`"float32"`, `"bfloat16"`, ...), or `"mixed_bfloat16"` / `"mixed_float16"`, which compute in
            the half-width dtype and keep the weights in float32.

    Example:
        >>> policy = DTypePolicy("mixed_bfloat16")
        >>> policy.compute_dtype, policy.variable_dtype
        ('bfloat16', 'float32')
    """

    def __init__(self, name: str | None = None):
        name = settings.floatx() if name is None else name
        if not isinstance(name, str):
            raise TypeError(f"DTypePolicy: name must be a string such as 'mixed_bfloat16', got {name!r}.")
        if name.startswith("mixed_"):
            if name not in ("mixed_bfloat16", "mixed_float16"):
                hint = did_you_mean(name, ["mixed_bfloat16", "mixed_float16"])
                raise ValueError(f"DTypePolicy: no policy is named {name!r}.{hint}")
            self.compute_dtype, self.variable_dtype = name.removeprefix("mixed_"), "float32"
        else:
            self.compute_dtype = self.variable_dtype = standardize_dtype(name)
        self.name = name

    def get_config(self) -> dict:
        """The policy as a dict of plain values."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict) -> DTypePolicy:
        """The policy that `get_config` described."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<DTypePolicy {self.name!r}>"


_policy: DTypePolicy | None = None


def dtype_policy() -> DTypePolicy:
    """The policy of layers that are given none."""
    return DTypePolicy(settings.floatx()) if _policy is None else _policy


def set_dtype_policy(policy: str | DTypePolicy) -> None:
    """Sets the policy of layers that are given none, as in `set_dtype_policy("mixed_bfloat16")`."""
    global _policy
    _policy = get_policy(policy)


def get_policy(identifier: Any) -> DTypePolicy:
    """A policy from a policy, a name, a dtype, a config, or None for the global one."""
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return DTypePolicy.from_config(identifier.get("config", identifier))
    if isinstance(identifier, str):
        return DTypePolicy(identifier)
    return DTypePolicy(standardize_dtype(identifier))
