"""Sizes of axes: a number, or the text of an expression in named sizes, such as `"4*batch"`.

The text is what `jax.export` prints for its symbolic dimensions, so it can be read back as one. All symbols share one
scope, since dimensions of two scopes cannot mix. Named sizes are taken to be at least 2: otherwise `batch == 1`, which
broadcasting asks, could not be decided.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax import export

from lamina.core.errors import describe

Dim = int | str
BATCH = "batch"
_NAMES = (BATCH, *(f"size{i}" for i in range(10)))
_SCOPE = export.SymbolicScope([f"{name} >= 2" for name in _NAMES])
_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
}
_FUNCTIONS: dict[str, Any] = {"floordiv": operator.floordiv, "mod": operator.mod, "max": max, "min": min}


class Dims(tuple):
    """An attribute that holds sizes, and so may hold expressions."""


def dim_of(size: Any) -> Dim:
    """A size as jax has it, as a number or text."""
    return int(size) if isinstance(size, int) or not export.is_symbolic_dim(size) else str(size)


def dims_of(shape: Sequence[Any]) -> Dims:
    """A shape as jax has it, as numbers and text."""
    return Dims(dim_of(size) for size in shape)


@functools.lru_cache(maxsize=4096)
def parse(dim: str) -> ast.expr:
    """The expression of a size.

    Raises:
        ValueError: the text is no sum of products of names and numbers.
    """
    try:
        tree = ast.parse(dim.replace("^", "**"), mode="eval").body
    except SyntaxError:
        raise ValueError(f"A size must be a number or an expression such as '4*batch', got {dim!r}.") from None
    for part in ast.walk(tree):
        if not isinstance(part, (ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Constant, ast.Load, *_OPERATORS)):
            raise ValueError(f"A size must be a number or an expression such as '4*batch', got {dim!r}.")
    return tree


def names_in(dim: Dim) -> set[str]:
    """The named sizes in a size.

    Example:
        >>> names_in("4*batch + 1")
        {'batch'}
    """
    if isinstance(dim, int):
        return set()
    return {n.id for n in ast.walk(parse(dim)) if isinstance(n, ast.Name)} - set(_FUNCTIONS)


def evaluate(dim: Dim, sizes: Mapping[str, Any]) -> Any:
    """The size, given those that it names.

    Raises:
        KeyError: a name is missing.

    Example:
        >>> evaluate("floordiv(batch, 2) + 1", {"batch": 6})
        4
    """
    return dim if isinstance(dim, int) else _evaluate(parse(dim), sizes)


def _evaluate(tree: ast.expr, sizes: Mapping[str, Any]) -> Any:
    if isinstance(tree, ast.Constant):
        return tree.value
    if isinstance(tree, ast.Name):
        return sizes[tree.id]
    if isinstance(tree, ast.UnaryOp):
        return _OPERATORS[type(tree.op)](_evaluate(tree.operand, sizes))
    if isinstance(tree, ast.BinOp):
        return _OPERATORS[type(tree.op)](_evaluate(tree.left, sizes), _evaluate(tree.right, sizes))
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        return _FUNCTIONS[tree.func.id](*(_evaluate(a, sizes) for a in tree.args))
    raise ValueError(f"A size cannot be {ast.dump(tree)}.")


def resolve(attributes: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with the sizes in them evaluated."""
    return {k: tuple(evaluate(d, sizes) for d in v) if isinstance(v, Dims) else v for k, v in attributes.items()}


@functools.lru_cache(maxsize=4096)
def symbolic(shape: tuple[Dim, ...]) -> tuple[Any, ...]:
    """A shape as jax takes it, with symbolic dimensions where it has names."""
    if all(isinstance(d, int) for d in shape):
        return shape
    return tuple(export.symbolic_shape(", ".join(map(str, shape)), scope=_SCOPE))


def export_specs(values: Sequence[Any], constrained: bool = False) -> list[jax.ShapeDtypeStruct]:
    """Shapes and dtypes of values as `jax.export` takes them: in a scope of their own that knows no other names.

    Args:
        values: anything with shape and dtype.
        constrained: whether named sizes are at least 2, which the exported program then demands of its callers.
    """
    names = sorted({n for v in values for d in v.shape for n in names_in(d)})
    scope = export.SymbolicScope([f"{n} >= 2" for n in names] if constrained else ())
    return [
        jax.ShapeDtypeStruct(
            export.symbolic_shape(", ".join(map(str, v.shape)), scope=scope) if v.shape else (), v.dtype
        )
        for v in values
    ]


def symbols(names: set[str]) -> dict[str, Any]:
    """The symbolic dimension of each name."""
    return {name: symbolic((name,))[0] for name in names}


def match(shape: Sequence[Dim], given: Sequence[Any], sizes: dict[str, Any], what: str) -> None:
    """Adds to `sizes` what the shape of an array says about the names in the shape it should have.

    Raises:
        ValueError: the shapes do not fit.

    Example:
        >>> sizes = {}
        >>> match(("batch", 3), (5, 3), sizes, "input 'x'")
        >>> sizes
        {'batch': 5}
    """
    fits = len(shape) == len(given)
    for dim, size in zip(shape, given, strict=False):
        if isinstance(dim, int):
            fits = fits and bool(dim == size)
        elif dim.isidentifier():
            fits = fits and bool(sizes.setdefault(dim, size) == size)
        elif names_in(dim) <= set(sizes):
            fits = fits and bool(evaluate(dim, sizes) == size)
    if not fits:
        known = f" with {', '.join(f'{k}={v}' for k, v in sizes.items())}" if sizes else ""
        raise ValueError(f"{what} must have shape {shape_text(shape)}{known}, got {shape_text(given)}.")


def shape_text(shape: Sequence[Any]) -> str:
    """A shape as text.

    Example:
        >>> shape_text(("batch", 3))
        '(batch, 3)'
    """
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def unnamed(shape: Sequence[Dim]) -> tuple[int | None, ...]:
    """The shape with None for each size that is no number, as Keras shows shapes."""
    return tuple(d if isinstance(d, int) else None for d in shape)


def spec_of(spec: Any, name: str) -> jax.ShapeDtypeStruct:
    """Shape and dtype of an input, from an array, a symbol, a spec object or a shape.

    Args:
        spec: anything with `shape` (and `dtype`), or a tuple of sizes: numbers, None, or names. None in the first axis
            is the batch; other unknown sizes get a name of their own, so give two that are equal the same name.
        name: the input's name.

    Raises:
        TypeError: it has no shape.
    """
    shape = getattr(spec, "shape", spec)
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"trace: input '{name}' must be a shape, a spec or an array, got {describe(spec)}.")
    dtype = getattr(spec, "dtype", None) or "float32"
    named: list[Dim] = []
    for axis, size in enumerate(shape):
        if size is None:
            named.append(BATCH if axis == 0 else f"{name if name.isidentifier() else 'input'}_{axis}")
        else:
            named.append(size if isinstance(size, str) else dim_of(size))
    return jax.ShapeDtypeStruct(symbolic(tuple(named)), dtype)
