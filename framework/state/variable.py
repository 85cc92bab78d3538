"""Variable: a named place for an array that layers, metrics and optimizers read and write."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.dtypes import FLOATS, is_float, standardize_dtype
from lamina.core.errors import ShapeError, describe
from lamina.state.frame import autocast_dtype, current_frame

# Bytes that new variables may still take, while a model is made that a file describes.
_budget: ContextVar[list[int] | None] = ContextVar("variable_budget", default=None)


@contextlib.contextmanager
def variable_budget(limit: int) -> Iterator[None]:
    """Within the scope, variables of more than `limit` bytes in all are a ValueError rather than a full memory."""
    token = _budget.set([limit, limit])
    try:
        yield
    finally:
        _budget.reset(token)


def _take(name: str, shape: tuple[int, ...], dtype: str) -> None:
    budget = _budget.get()
    if budget is not None:
        budget[0] -= math.prod(shape) * jnp.dtype(dtype).itemsize
        if budget[0] < 0:
            raise ValueError(
                f"Variable '{name}' of shape {shape}: the file describes a model of more than {budget[1]} bytes, which "
                "is far more than the weights that it holds."
            )


def own_array(value: Any, dtype: str) -> jax.Array:
    """A device array of our own: never an alias of memory that the caller may write to later."""
    if isinstance(value, jax.Array):
        return value.astype(dtype)
    return jnp.array(np.asarray(value), dtype=dtype, copy=True)


class Variable:
    """An identity with a path, a shape and a dtype. Its value comes from the frame while a function is traced, from
    the running `fit` while one holds it, else from its own cell; `assign` goes the same way.

    Args:
        initializer: an array or number, or a callable `(shape, dtype) -> array`, called with `shape`.
        shape: the shape, needed with a callable.
        dtype: the dtype; by default that of the array, else the default float.
        trainable: whether optimizers change it.
        autocast: whether layers that compute in another float dtype read it cast to that.
        name: the last part of its path.

    Raises:
        ValueError: a callable comes without a shape.

    Example:
        >>> v = Variable([1.0, 2.0], name="v")
        >>> v.assign_add([1.0, 1.0])
        Array([2., 3.], dtype=float32)
        >>> (v * 2).tolist()
        [4.0, 6.0]
    """

    __array_priority__ = 100

    of_metric = False  # whether it is the state of a metric rather than a weight

    def __init__(
        self,
        initializer: Any,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        name: str = "variable",
        constraint: Callable[[Any], Any] | None = None,
        regularizer: Callable[[Any], Any] | None = None,
    ):
        self.name = self.path = name
        self.trainable = trainable
        self.born_trainable = trainable  # fixes the order of weights, whatever is frozen later
        self.autocast = autocast
        self.constraint = constraint
        self.regularizer = regularizer
        self.overwrite_with_gradient = False
        self._lease: Any = None
        if callable(initializer) and not hasattr(initializer, "__array__"):
            if shape is None:
                raise ValueError(f"Variable '{name}': an initializer function needs shape=..., got None.")
            dtype = standardize_dtype(dtype)
            _take(name, tuple(shape), dtype)
            with jax.ensure_compile_time_eval():
                initializer = initializer(tuple(shape), dtype=dtype)
        elif isinstance(initializer, Variable):
            initializer = initializer.value
        if dtype is None:
            given = getattr(initializer, "dtype", None)
            dtype = np.result_type(given if given is not None else np.asarray(initializer))
            dtype = {"float64": "float32", "int64": "int32"}.get(str(dtype), dtype)
            dtype = standardize_dtype(dtype)
        self._dtype = standardize_dtype(dtype)
        with jax.ensure_compile_time_eval():
            self._cell = own_array(initializer, self._dtype)
        self._shape = tuple(self._cell.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return self._shape

    @property
    def dtype(self) -> str:
        """The dtype of the value, as read here (cast, inside a layer that computes in another float dtype)."""
        cast = autocast_dtype()
        return cast if cast is not None and self.autocast and self._dtype in FLOATS else self._dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self._shape, dtype=np.int64))

    @property
    def stored(self) -> jax.Array:
        """The value outside any frame, in the stored dtype: the running fit's, else the cell's."""
        lease = self._lease
        return self._cell if lease is None else lease.read(self)

    @property
    def value(self) -> jax.Array:
        """The value."""
        frame = current_frame()
        value = self.stored if frame is None else frame.read(self)
        cast = autocast_dtype()
        if cast is not None and self.autocast and is_float(self._dtype) and cast != self._dtype:
            return value.astype(cast)
        return value

    def assign(self, value: Any) -> jax.Array:
        """Sets the value; it is cast to the variable's dtype and must have its shape.

        Raises:
            ShapeError: the shape differs.
        """
        if isinstance(value, Variable):
            value = value.value
        if tuple(np.shape(value)) != self._shape:
            raise ShapeError(
                f"Variable '{self.path}': assign expects an array of shape {self._shape}, got {describe(value)}."
            )
        frame = current_frame()
        if frame is not None:
            frame.write(self, jnp.asarray(value, self._dtype))
        elif isinstance(value, jax.core.Tracer):
            raise RuntimeError(
                f"Variable '{self.path}' is assigned inside a jitted function of yours, which would leak a tracer. "
                "Use model.apply, layer.stateless_call or lamina.state.purify to change state inside jax.jit."
            )
        else:
            array = own_array(value, self._dtype)
            if array is value:  # a caller's jax array: fit donates what it holds
                array = jnp.copy(array)
            if self._lease is None:
                self._cell = array
            else:
                self._lease.write(self, array)
        return self.value

    def assign_add(self, value: Any) -> jax.Array:
        """Adds to the value."""
        return self.assign(self.value + jnp.asarray(_plain(value), self.dtype))

    def assign_sub(self, value: Any) -> jax.Array:
        """Subtracts from the value."""
        return self.assign(self.value - jnp.asarray(_plain(value), self.dtype))

    def numpy(self) -> np.ndarray:
        """The value as a numpy array."""
        return np.asarray(self.value)

    def __jax_array__(self) -> jax.Array:
        return self.value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.value, dtype=dtype)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __len__(self) -> int:
        return self._shape[0]

    def __iter__(self) -> Any:
        return iter(self.value)

    def __getitem__(self, index: Any) -> jax.Array:
        return self.value[index]

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self._shape}, dtype={self._dtype}, value={self.stored}>"


def _plain(x: Any) -> Any:
    return x.value if isinstance(x, Variable) else x


def _install_operators() -> None:
    """Arithmetic on a variable is arithmetic on its value."""

    def forward(fn: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, other: fn(self.value, _plain(other))

    def backward(fn: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, other: fn(_plain(other), self.value)

    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
        fn = getattr(operator, f"__{name}__")
        setattr(Variable, f"__{name}__", forward(fn))
        setattr(Variable, f"__r{name}__", backward(fn))
    for name in ("lt", "le", "gt", "ge"):
        setattr(Variable, f"__{name}__", forward(getattr(operator, name)))
    Variable.__neg__ = lambda self: -self.value  # type: ignore[operator]
    Variable.__abs__ = lambda self: abs(self.value)  # type: ignore[attr-defined]
    Variable.__invert__ = lambda self: ~self.value  # type: ignore[operator]


_install_operators()
