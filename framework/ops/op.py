"""The decorator that makes a function of jax.numpy an op."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from lamina.core import registry
from lamina.core.settings import fingerprint
from lamina.ops.marking import is_marking, mark
from lamina.ops.symbol import OPERATORS, has_symbol, infer, record
from lamina.state.variable import Variable

F = TypeVar("F", bound=Callable[..., Any])

# Every op by name, for exporters, tables and tests.
OPS: dict[str, Callable[..., Any]] = {}


def _is_array(x: Any) -> bool:
    return isinstance(x, (jax.Array, np.ndarray))


@functools.lru_cache(maxsize=4096)
def _named_call(fn: Callable[..., Any], tree: Any, static: tuple, kinds: tuple, settings: tuple) -> Callable[..., Any]:
    """`fn` under jit, with the arguments that are not arrays built in.

    `kinds` tells 1, 1.0 and True apart, which are equal; `settings` are those that the trace builds in.
    """

    def call(*arrays: Any) -> Any:
        it = iter(arrays)
        args, kwargs = jax.tree.unflatten(tree, [next(it) if s is _ARRAY else s for s in static])
        return fn(*args, **kwargs)

    call.__name__ = call.__qualname__ = fn.__name__
    return jax.jit(call)


_ARRAY = object()


def op(fn: F | None = None, *, named: bool = False, operator: str | None = None) -> Any:
    """Makes an op of a function of arrays.

    Eager on arrays and variables, inlined when traced, recorded when an argument is a symbol.

    Args:
        fn: a function of arrays; arguments that are not arrays are static.
        named: whether a trace keeps the op as one inner jit of its name. Functions made of several primitives
            are named, so that an exporter sees `softmax` and not five primitives.
        operator: the operator of Symbol that this op is.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.ops.symbol import Symbol
        >>> @op
        ... def halve(x):
        ...     return x / 2
        >>> float(halve(jnp.ones(()))), halve(Symbol((None, 3))).shape
        (0.5, (None, 3))
    """
    if fn is None:
        return functools.partial(op, named=named, operator=operator)

    def run(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = jax.tree.flatten((args, kwargs))
        if any(isinstance(leaf, Variable) for leaf in leaves):
            leaves = [leaf.value if isinstance(leaf, Variable) else leaf for leaf in leaves]
            args, kwargs = jax.tree.unflatten(tree, leaves)
        if not named:
            return fn(*args, **kwargs)
        if is_marking():
            return mark(fn, tree, leaves, _is_array)
        static = tuple(_ARRAY if _is_array(leaf) else leaf for leaf in leaves)
        try:
            call = _named_call(fn, tree, static, tuple(map(type, static)), fingerprint())
        except TypeError:  # an argument that cannot be hashed, such as a function object with state
            return fn(*args, **kwargs)
        return call(*[leaf for leaf in leaves if _is_array(leaf)])

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if has_symbol(args, kwargs):
            return record(wrapper, args, kwargs, infer(run, args, kwargs, f"ops.{fn.__name__}"))
        return run(*args, **kwargs)

    if registry.family_of(fn.__module__) == "ops":  # activations have names in common with ops
        OPS[fn.__name__] = wrapper
    registry.add_builtin(wrapper)
    if operator is not None:
        OPERATORS[operator] = wrapper
    return wrapper
