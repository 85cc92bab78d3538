"""What TensorFlow's calls, branches, loops and lists of tensors compute; they run functions of the library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina.export.tensorflow.node_attrs import Attrs
from lamina.export.tensorflow.read_ops import affordable, array, is_known, number, reads, sizes

# op -> function(call, attributes, *inputs), where call(name of a function, inputs) gives its outputs
MOST_STEPS = 10_000
CONTROL: dict[str, Callable[..., Any]] = {}


def controls(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function computes these ops, given a way to call functions of the library."""

    def add(fn: Callable[..., Any]) -> Callable[..., Any]:
        CONTROL.update(dict.fromkeys(names, fn))
        return fn

    return add


def is_traced(x: Any) -> bool:
    """Whether the value of an array is known only when the compiled program runs."""
    return isinstance(x, jax.core.Tracer)


@controls("PartitionedCall", "StatefulPartitionedCall")
def _call(call: Callable[..., Any], a: Attrs, *x: Any) -> Any:
    return call(a.function("f"), x)


@controls("If", "StatelessIf")
def _if(call: Callable[..., Any], a: Attrs, condition: Any, *x: Any) -> Any:
    names = (a.function("else_branch"), a.function("then_branch"))
    if not is_traced(condition):
        return call(names[bool(np.asarray(condition).reshape(-1).any())], x)
    places = [i for i, v in enumerate(x) if _is_array(v)]

    def branch(name: str) -> Callable[..., Any]:
        def run(*arrays: Any) -> Any:
            given = list(x)
            for place, v in zip(places, arrays, strict=True):
                given[place] = v
            return tuple(jnp.asarray(array(y)) for y in call(name, given))

        return run

    test = condition if condition.dtype == bool else condition != 0
    arrays = [jnp.asarray(array(x[i])) for i in places]
    return list(lax.cond(test, branch(names[1]), branch(names[0]), *arrays))


def _is_array(x: Any) -> bool:
    return isinstance(x, (jax.Array, np.ndarray, np.generic)) and not (is_known(x) and x.dtype == object)


@controls("While", "StatelessWhile")
def _while(call: Callable[..., Any], a: Attrs, *x: Any) -> Any:
    cond, body = a.function("cond"), a.function("body")
    state = list(x)
    if not any(is_traced(v) for v in jax.tree.leaves(state)):
        for _ in range(MOST_STEPS):
            if not np.asarray(call(cond, state)[0]).reshape(-1).all():
                return state
            state = list(call(body, state))
        raise ValueError(f"a loop that runs uncompiled does not end within {MOST_STEPS} steps.")
    fixed = _invariants(call, body, len(state))
    moving = [i for i in range(len(state)) if i not in fixed]

    def whole(values: Any) -> list[Any]:
        given = list(state)
        for i, v in zip(moving, values, strict=True):
            given[i] = v
        return given

    def step(values: Any) -> tuple:
        out = call(body, whole(values))
        return tuple(_carried(out[i]) for i in moving)

    start = tuple(_carried(state[i]) for i in moving)
    if any(isinstance(v, TensorList) and v.buffer is None for v in start):
        # what the first step writes tells the shape of a list's elements
        after = jax.eval_shape(step, start)
        start = tuple(
            TensorList(jnp.zeros(w.buffer.shape, w.buffer.dtype), v.length)
            if isinstance(v, TensorList) and v.buffer is None and w.buffer is not None
            else v
            for v, w in zip(start, after, strict=True)
        )
    done = lax.while_loop(lambda values: jnp.asarray(call(cond, whole(values))[0]).reshape(()), step, start)
    return whole(done)


def _carried(x: Any) -> Any:
    return jnp.asarray(array(x)) if isinstance(x, (jax.Array, np.ndarray, np.generic)) else x


def _invariants(call: Any, body: str, count: int) -> set[int]:
    """The arguments of a loop's body that it gives back as they are."""
    return call.program.passed_through(body, count)


# ---- lists of tensors


@dataclass
class TensorList:
    """A list of tensors of one shape, stacked; the buffer is None while the shape is not known."""

    buffer: Any
    length: int


jax.tree_util.register_pytree_node(
    TensorList, lambda v: ((v.buffer,), v.length), lambda length, children: TensorList(children[0], length)
)


@reads("TensorListReserve", "EmptyTensorList")
def _reserve(a: Attrs, shape: Any, count: Any) -> TensorList:
    if a.node.op == "EmptyTensorList":
        raise ValueError("a list of tensors of unknown length is not supported.")
    length = number(count, "the length of a list of tensors")
    dims = sizes(shape) if is_known(shape) and np.ndim(shape) else None
    if dims is None or any(isinstance(d, int) and d < 0 for d in dims):
        return TensorList(None, length)
    return TensorList(jnp.zeros(affordable((length, *dims)), a.dtype("element_dtype")), length)


@reads("TensorListFromTensor")
def _from_tensor(a: Attrs, x: Any, shape: Any) -> TensorList:
    return TensorList(jnp.asarray(x), x.shape[0])


@reads("TensorListSetItem")
def _set_item(a: Attrs, items: TensorList, index: Any, value: Any, *_: Any) -> TensorList:
    value = jnp.asarray(value)
    buffer = jnp.zeros(affordable((items.length, *value.shape)), value.dtype) if items.buffer is None else items.buffer
    return TensorList(lax.dynamic_update_index_in_dim(buffer, value, index, 0), items.length)


@reads("TensorListGetItem")
def _get_item(a: Attrs, items: TensorList, index: Any, *_: Any) -> Any:
    return lax.dynamic_index_in_dim(items.buffer, index, 0, keepdims=False)


@reads("TensorListStack")
def _stack(a: Attrs, items: TensorList, *_: Any) -> Any:
    if items.buffer is None:
        raise ValueError("a list of tensors is read before it is written.")
    return items.buffer


@reads("TensorListLength")
def _length(a: Attrs, items: TensorList) -> Any:
    return np.asarray(items.length, np.int32)
