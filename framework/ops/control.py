"""Control flow that compiles: conditions, loops, scans, maps; and functions with gradients of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.errors import describe
from lamina.ops.convert import Tensor, as_array
from lamina.ops.op import op
from lamina.state.variable import Variable


@op
def cond(pred: Tensor, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """What `true_fn` returns if `pred` holds, else what `false_fn` returns; both must return the same structure.

    Example:
        >>> cond(True, lambda: jnp.ones(()), lambda: jnp.zeros(())).item()
        1.0
    """
    return jax.lax.cond(pred, lambda: true_fn(), lambda: false_fn())


@op
def switch(index: Tensor, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """What the branch of number `index` returns for the operands; an index out of range means the nearest branch.

    Example:
        >>> switch(1, [lambda x: x, lambda x: -x], 2.0).item()
        -2.0
    """
    return jax.lax.switch(index, list(branches), *operands)


@op
def while_loop(
    cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, maximum_iterations: int | None = None
) -> Any:
    """Applies `body` as long as `cond` holds. It has no reverse gradient; `scan` and `fori_loop` have.

    Args:
        cond: takes the variables of the loop, returns a boolean.
        body: takes the variables of the loop, returns them changed, in the same shapes and dtypes.
        loop_vars: a tuple or list of variables, or one.
        maximum_iterations: the largest number of rounds, or None.

    Example:
        >>> while_loop(lambda i: i < 10, lambda i: i + 3, jnp.array(0)).item()
        12
    """
    several = isinstance(loop_vars, (tuple, list))
    first = tuple(loop_vars) if several else (loop_vars,)

    def go_on(state: tuple) -> Any:
        rounds, values = state
        more = cond(*values)
        return more if maximum_iterations is None else jnp.logical_and(more, rounds < maximum_iterations)

    def step(state: tuple) -> tuple:
        rounds, values = state
        out = body(*values)
        return rounds + 1, tuple(out) if several else (out,)

    _, last = jax.lax.while_loop(go_on, step, (0, first))
    return last if several else last[0]


@op
def fori_loop(lower: Tensor, upper: Tensor, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """Applies `val = body_fun(i, val)` for each whole number i from `lower` up to but not including `upper`.

    Example:
        >>> fori_loop(0, 4, lambda i, total: total + i, 0).item()
        6
    """
    return jax.lax.fori_loop(lower, upper, body_fun, init_val)


@op
def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """Carries a state along the first axis of arrays: `carry, y = f(carry, x)` for each slice x.

    Args:
        f: takes the state and a slice, returns the new state and an output.
        init: the first state.
        xs: arrays to go along, or None.
        length: the number of steps, needed without `xs`.
        reverse: whether to go from the last slice to the first.
        unroll: how many steps one round of the loop holds.

    Returns:
        The last state, and the outputs stacked.

    Example:
        >>> total, sums = scan(lambda c, x: (c + x, c + x), 0, jnp.array([1, 2, 3]))
        >>> total.item(), sums.tolist()
        (6, [1, 3, 6])
    """
    if not isinstance(unroll, bool) and (not isinstance(unroll, int) or unroll < 1):
        raise ValueError(f"ops.scan: unroll must be a boolean or an integer of at least 1, got {describe(unroll)}.")
    xs = jax.tree.map(as_array, xs)
    return jax.lax.scan(f, init, xs, length, reverse, unroll)


@op
def associative_scan(f: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """The running results of an associative function along an axis, in a number of steps that grows with its log.

    Args:
        f: takes two slices, returns their combination; must be associative.
        elems: arrays to go along.
        reverse: whether to begin at the end.
        axis: the axis to go along.

    Example:
        >>> associative_scan(lambda a, b: a + b, jnp.array([1, 2, 3])).tolist()
        [1, 3, 6]
    """
    return jax.lax.associative_scan(f, jax.tree.map(as_array, elems), reverse, axis)


@op
def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """`f` applied to each slice along the first axis, one after the other, results stacked.

    Example:
        >>> map(lambda x: x * x, [1, 2, 3]).tolist()
        [1, 4, 9]
    """
    if isinstance(xs, (list, tuple)) and not any(hasattr(x, "shape") for x in xs):
        xs = jnp.asarray(xs)
    return jax.lax.map(f, jax.tree.map(as_array, xs))


@op
def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """`function` applied to each slice along the first axis, all at once.

    Example:
        >>> vectorized_map(lambda x: x.sum(), jnp.ones((2, 3))).tolist()
        [3.0, 3.0]
    """
    return jax.vmap(function)(jax.tree.map(as_array, elements))


def vectorize(pyfunc: Callable[..., Any], *, excluded: Any = None, signature: str | None = None) -> Callable[..., Any]:
    """A function of scalars, or of what `signature` says, made a function of arrays that broadcast.

    Args:
        pyfunc: the function.
        excluded: positions or names of arguments to pass as they are.
        signature: the axes that the function takes, such as `"(n),(n)->()"`.

    Example:
        >>> vectorize(lambda a, b: a + 2 * b)([1, 2], 3).tolist()
        [7, 8]
    """
    mapped = jnp.vectorize(pyfunc, excluded=frozenset(excluded or ()), signature=signature)

    @functools.wraps(pyfunc)
    def call(*args: Any, **kwargs: Any) -> Any:
        args = tuple(jnp.asarray(a) if isinstance(a, (list, Variable)) else a for a in args)
        return mapped(*args, **kwargs)

    return op(call)


def custom_gradient(f: Callable[..., tuple[Any, Callable[..., Any]]]) -> Callable[..., Any]:
    """A function with a gradient of its own: `f` returns its result and a function from upstream gradients to those
    of its arguments.

    Example:
        >>> @custom_gradient
        ... def clipped(x):
        ...     return x, lambda upstream: jnp.clip(upstream, -1, 1)
        >>> jax.grad(lambda x: 5 * clipped(x))(2.0).item()
        1.0
    """
    wrapped = jax.custom_gradient(f)

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = jax.tree.map(lambda x: x.value if isinstance(x, Variable) else x, (args, kwargs))
        return wrapped(*args, **kwargs)

    return call


def jvp(fun: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """The value of a function and its derivative in a direction.

    Args:
        fun: a function of arrays.
        primals: its arguments, in a tuple or list.
        tangents: the direction, one array an argument.
        has_aux: whether `fun` returns a pair, of which the second part is passed through.

    Example:
        >>> value, slope = jvp(lambda x: x * x, (3.0,), (1.0,))
        >>> float(value), float(slope)
        (9.0, 6.0)
    """
    primals, tangents = (tuple(x.value if isinstance(x, Variable) else x for x in v) for v in (primals, tangents))
    return jax.jvp(fun, primals, tangents, has_aux=has_aux)
