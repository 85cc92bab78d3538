"""Ops kept whole: while a graph is traced, a named op is one primitive that holds the op and its arguments.

Under vmap and differentiation the op is inlined: its arguments would no longer say what is computed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

_marking: ContextVar[bool] = ContextVar("marking", default=False)


@contextlib.contextmanager
def marking(on: bool = True) -> Iterator[None]:
    """Within the scope, calls of named ops are kept whole in traces."""
    token = _marking.set(on)
    try:
        yield
    finally:
        _marking.reset(token)


def is_marking() -> bool:
    """Whether named ops are to be kept whole."""
    return _marking.get()


def mark(fn: Callable[..., Any], tree: Any, leaves: list[Any], is_array: Callable[[Any], bool]) -> Any:
    """The result of `fn`, as one primitive whose parameters tell the op and its arguments.

    Args:
        fn: the op.
        tree: the structure of (args, kwargs).
        leaves: their leaves.
        is_array: which of the leaves are arrays.
    """
    places = tuple(i for i, leaf in enumerate(leaves) if is_array(leaf))
    static = [None if i in places else leaf for i, leaf in enumerate(leaves)]

    def whole(*arrays: Any) -> Any:
        filled = list(static)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        args, kwargs = jax.tree.unflatten(tree, filled)
        return fn(*args, **kwargs)

    def call(*arrays: Any) -> list[Any]:
        return jax.tree.leaves(whole(*arrays))

    arrays = [leaves[i] for i in places]
    with marking(False):
        structure = jax.tree.structure(jax.eval_shape(whole, *arrays))
    marker = Mark(fn, tree, tuple(static), places, call, structure)
    return jax.tree.unflatten(structure, marked_p.bind(*arrays, mark=marker))


class Mark:
    """What a marked call knows of its op.

    Attributes:
        fn: the op's function.
        tree: the structure of (args, kwargs).
        static: the leaves that are no arrays; None at the places of arrays.
        places: the places of the arrays among the leaves.
        call: the op as a function of the arrays, to a list of arrays.
        structure: the structure of the result.
    """

    def __init__(self, fn: Any, tree: Any, static: tuple, places: tuple[int, ...], call: Any, structure: Any):
        self.fn, self.tree, self.static, self.places, self.call = fn, tree, static, places, call
        self.structure = structure

    @property
    def name(self) -> str:
        """The op's name."""
        return self.fn.__name__

    def arguments(self, arrays: Any) -> tuple[tuple, dict[str, Any]]:
        """(args, kwargs) of the call, with these in place of the arrays."""
        filled = list(self.static)
        for place, array in zip(self.places, arrays, strict=True):
            filled[place] = array
        return jax.tree.unflatten(self.tree, filled)

    def __repr__(self) -> str:
        return self.name


marked_p = Primitive("lamina_op")
marked_p.multiple_results = True


@marked_p.def_impl
def _impl(*arrays: Any, mark: Mark) -> list[Any]:
    return mark.call(*arrays)


@marked_p.def_abstract_eval
def _abstract(*avals: Any, mark: Mark) -> list[Any]:
    specs = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in avals]
    with marking(False):
        out = jax.eval_shape(mark.call, *specs)
    return [jax.core.ShapedArray(x.shape, x.dtype, weak_type=x.weak_type) for x in out]


def _batch(arrays: Any, axes: Any, *, mark: Mark) -> tuple:
    out = jax.vmap(mark.call, tuple(axes))(*arrays)
    return out, [0] * len(out)


def _jvp(primals: Any, tangents: Any, *, mark: Mark) -> tuple:
    return jax.jvp(mark.call, tuple(primals), tuple(map(ad.instantiate_zeros, tangents)))


batching.primitive_batchers[marked_p] = _batch
ad.primitive_jvps[marked_p] = _jvp
mlir.register_lowering(marked_p, mlir.lower_fun(lambda *arrays, mark: mark.call(*arrays), multiple_results=True))
