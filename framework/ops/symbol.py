"""Symbol: a tensor without a value, known by shape and dtype, that remembers the call that makes it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lamina.core.dtypes import standardize_dtype
from lamina.state.frame import ScratchFrame, current_frame
from lamina.state.rng import make_key

# Operators of Symbol, filled by the modules that define the ops.
OPERATORS: dict[str, Callable[..., Any]] = {}
# The cure for Python code that asks a traced array for its value.
VALUE_HINT = (
    "The code asks for the value of a tensor (by if, while, float(), bool() or numpy), which is known only when the "
    "compiled program runs. Use ops.where, ops.cond or ops.while_loop."
)
# Unknown dimensions are tried at two sizes; what differs in the result is unknown too. Both have many divisors, so
# that reshapes go through.
PROBES = (240, 480)


class Node:
    """One recorded call: what was called, with which arguments, and the symbols that came out."""

    __slots__ = ("operation", "args", "kwargs", "outputs")

    def __init__(self, operation: Any, args: tuple, kwargs: dict, outputs: Any):
        self.operation, self.args, self.kwargs = operation, args, kwargs
        self.outputs = outputs
        for index, symbol in enumerate(symbols_in(outputs)):
            symbol.node, symbol.index = self, index

    @property
    def inputs(self) -> list[Symbol]:
        """The symbols among the arguments."""
        return symbols_in((self.args, self.kwargs))


class Symbol:
    """A tensor of the functional API: a shape (None where a size is unknown) and a dtype.

    Public as `lamina.KerasTensor`. Layers, ops and arithmetic take symbols and give symbols.

    Args:
        shape: the shape, batch axis first; None for an unknown size.
        dtype: the dtype.
        name: a name, used for inputs.

    Example:
        >>> x = Symbol((None, 3), name="x")
        >>> x.shape, x.dtype
        ((None, 3), 'float32')
    """

    __array_ufunc__ = None  # numpy leaves arithmetic with a symbol to the symbol

    def __init__(self, shape: Any, dtype: Any = "float32", name: str | None = None):
        self.shape = tuple(None if d is None else int(d) for d in shape)
        self.dtype = standardize_dtype(dtype)
        self.name = name or "symbol"
        self.node: Any = None  # the Node of the call that made it; None before there is one
        self.index = 0

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    def _no_value(self, what: str) -> TypeError:
        return TypeError(
            f"A symbol of shape {self.shape} has no value, so it cannot be {what}. Symbols stand for the tensors of a "
            "functional model: use lamina.ops on them, or put the code into the call method of a layer."
        )

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise self._no_value("turned into an array")

    def __bool__(self) -> bool:
        raise self._no_value("used as a condition (use ops.where or ops.cond)")

    def __float__(self) -> float:
        raise self._no_value("turned into a number")

    def __int__(self) -> int:
        raise self._no_value("turned into a number")

    def __iter__(self) -> Any:
        raise self._no_value("iterated over (use ops.unstack)")

    def __len__(self) -> int:
        raise self._no_value("measured with len (use its shape)")


def _install_operators() -> None:
    def forward(name: str) -> Callable[..., Any]:
        return lambda self, other: OPERATORS[name](self, other)

    def backward(name: str) -> Callable[..., Any]:
        return lambda self, other: OPERATORS[name](other, self)

    binary = {
        "add": "add",
        "sub": "subtract",
        "mul": "multiply",
        "truediv": "true_divide",
        "floordiv": "floor_divide",
        "mod": "mod",
        "pow": "power",
        "matmul": "matmul",
        "and": "logical_and",
        "or": "logical_or",
        "xor": "logical_xor",
    }
    for method, name in binary.items():
        setattr(Symbol, f"__{method}__", forward(name))
        setattr(Symbol, f"__r{method}__", backward(name))
    compare = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}
    for method, name in compare.items():
        setattr(Symbol, f"__{method}__", forward(name))
    for method, name in {"neg": "negative", "abs": "absolute", "invert": "logical_not"}.items():
        setattr(Symbol, f"__{method}__", lambda self, name=name: OPERATORS[name](self))
    Symbol.__getitem__ = lambda self, key: OPERATORS["get_item"](self, key)  # type: ignore[misc]


_install_operators()


def symbols_in(structure: Any) -> list[Symbol]:
    """The symbols in a nested structure, in order.

    Example:
        >>> a, b = Symbol((1,)), Symbol((2,))
        >>> [s.shape for s in symbols_in({"y": [b], "x": (a, 3)})]
        [(1,), (2,)]
    """
    if isinstance(structure, Symbol):
        return [structure]
    return [leaf for leaf in jax.tree.leaves(structure) if isinstance(leaf, Symbol)]


def has_symbol(args: tuple, kwargs: dict) -> bool:
    """Whether a symbol is among the arguments of a call."""
    return any(isinstance(leaf, Symbol) for leaf in jax.tree.leaves((args, kwargs)))


def infer(fn: Callable[..., Any], args: tuple, kwargs: dict, label: str) -> Any:
    """The outputs of `fn` as symbols, from the shapes and dtypes of the symbols among its arguments.

    Args:
        fn: any jittable function; what it writes to variables is dropped.
        args: positional arguments; symbols in them are traced, all else is passed as it is.
        kwargs: keyword arguments, likewise.
        label: how an error names the function.

    Raises:
        ValueError: `fn` does not take inputs of these shapes; the message holds its reason and the shapes.
    """
    leaves, tree = jax.tree.flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Symbol)]
    scratch = current_frame() is None

    def pure(arrays: list) -> Any:
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        a, k = jax.tree.unflatten(tree, filled)
        with ScratchFrame(make_key(0)) if scratch else contextlib.nullcontext():
            return fn(*a, **k)

    def run(size: int) -> Any:
        specs = [
            jax.ShapeDtypeStruct(tuple(size if d is None else d for d in leaves[i].shape), leaves[i].dtype)
            for i in places
        ]
        return jax.eval_shape(pure, specs)

    unknown = any(d is None for i in places for d in leaves[i].shape)
    try:
        results = [run(size) for size in (PROBES if unknown else PROBES[:1])]
    except (TypeError, ValueError, IndexError) as error:
        shapes = [leaves[i].shape for i in places]
        given = (
            f"inputs of shape {', '.join(map(str, shapes))}" if len(shapes) > 1 else f"an input of shape {shapes[0]}"
        )
        if isinstance(error, (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)):
            raise ValueError(f"{label}: cannot be traced. {VALUE_HINT}") from error
        reason = re.sub(r"\b(240|480)\b", "None", str(error)) if unknown else str(error)
        if label in reason:
            raise type(error)(reason) from error if type(error) in (TypeError, ValueError, IndexError) else error
        raise ValueError(f"{label}: cannot take {given}. {reason}") from error

    def symbol(*specs: Any) -> Any:
        if not hasattr(specs[0], "shape"):
            return specs[0]
        dims = zip(*(s.shape for s in specs), strict=True)
        return Symbol([d[0] if len(set(d)) == 1 else None for d in dims], str(specs[0].dtype))

    return jax.tree.map(symbol, *results)


def record(operation: Any, args: tuple, kwargs: dict, outputs: Any) -> Any:
    """Notes that `operation`, called with these arguments, makes `outputs`; returns them."""
    Node(operation, args, kwargs, outputs)
    return outputs
