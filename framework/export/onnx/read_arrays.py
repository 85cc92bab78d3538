"""What ONNX's ops compute: shapes, slices, gathers, reductions and sorting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import dtypes, export, lax

from lamina.export.onnx.attributes import Attributes
from lamina.export.onnx.read_math import MOST_KNOWN, READ, boxed, reads, small, traced
from lamina.export.tensorflow.read_ops import array, is_known, library, number, packed, sizes
from lamina.ops.nn import depth_to_space, space_to_depth


def _given(a: Attributes, name: str, value: Any, what: str) -> Any:
    """Integers that older versions of an op have as an attribute, newer ones as an input; None for neither."""
    if value is not None:
        return list(sizes(value, what))
    return a.ints(name, None)


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"there is no axis {axis} among {rank}.")
    return axis % rank


@reads("Constant")
def _constant(a: Attributes) -> Any:
    if "value" in a:
        return a.tensor("value")
    for name, get, dtype in (
        ("value_float", a.f, np.float32), ("value_int", a.i, np.int64), ("value_floats", a.floats, np.float32),
        ("value_ints", a.ints, np.int64),
    ):  # fmt: skip
        if name in a:
            return np.asarray(get(name), dtype)
    raise ValueError("a constant must be a tensor of numbers.")


@reads("ConstantOfShape")
def _constant_of_shape(a: Attributes, shape: Any) -> Any:
    value = a.tensor("value", None)
    value = np.zeros(1, np.float32) if value is None else value.reshape(-1)[:1]
    return _filled(value.reshape(()), sizes(shape))


def _filled(value: Any, shape: tuple[Any, ...]) -> Any:
    """An array of one number, known if it is small."""
    if is_known(value) and not any(map(export.is_symbolic_dim, shape)) and math.prod(shape) <= MOST_KNOWN:
        return np.full(shape, value, value.dtype)
    return jnp.broadcast_to(traced(value), shape)


@reads("Shape")
def _shape(a: Attributes, x: Any) -> Any:
    return packed(x.shape[a.i("start", 0) : a.i("end", None)], np.int64)


@reads("Size")
def _size(a: Attributes, x: Any) -> Any:
    return packed([math.prod(x.shape)], np.int64).reshape(())


@reads("Reshape")
def _reshape(a: Attributes, x: Any, shape: Any = None) -> Any:
    wanted = list(_given(a, "shape", shape, "a shape"))
    if not a.i("allowzero", 0):
        if any(isinstance(d, int) and d == 0 and i >= x.ndim for i, d in enumerate(wanted)):
            raise ValueError(f"cannot copy the sizes of {tuple(x.shape)} into {wanted}.")
        wanted = [x.shape[i] if isinstance(d, int) and d == 0 else d for i, d in enumerate(wanted)]
    return x.reshape(wanted)


@reads("Flatten")
def _flatten(a: Attributes, x: Any) -> Any:
    axis = a.i("axis", 1)
    axis += x.ndim if axis < 0 else 0
    return x.reshape((math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@reads("Squeeze")
def _squeeze(a: Attributes, x: Any, axes: Any = None) -> Any:
    given = _given(a, "axes", axes, "the axes")
    if given is None:
        given = [i for i, d in enumerate(x.shape) if not export.is_symbolic_dim(d) and d == 1]
    return library(x).squeeze(x, tuple(given))


@reads("Unsqueeze")
def _unsqueeze(a: Attributes, x: Any, axes: Any = None) -> Any:
    return library(x).expand_dims(x, tuple(_given(a, "axes", axes, "the axes")))


@reads("Transpose")
def _transpose(a: Attributes, x: Any) -> Any:
    return library(x).transpose(x, a.ints("perm", None))


@reads("Expand")
def _expand(a: Attributes, x: Any, shape: Any) -> Any:
    wanted = list(sizes(shape))
    have = [1] * (len(wanted) - x.ndim) + list(x.shape)
    wanted = [1] * (len(have) - len(wanted)) + wanted
    full = tuple(h if isinstance(w, int) and w == 1 else w for h, w in zip(have, wanted, strict=True))
    if is_known(x) and not any(map(export.is_symbolic_dim, full)) and math.prod(full) <= MOST_KNOWN:
        return np.broadcast_to(x, full)
    return jnp.broadcast_to(traced(x), full)


@reads("Concat")
def _concat(a: Attributes, *x: Any) -> Any:
    xp = library(*x)
    return xp.concatenate([v if xp is np else array(v) for v in x], a.i("axis"))


@reads("Split")
def _split(a: Attributes, x: Any, parts: Any = None) -> list[Any]:
    axis, count = _axis(a.i("axis", 0), x.ndim), a.outputs
    given = _given(a, "split", parts, "the sizes of parts")
    if given is None:
        whole = int(x.shape[axis])
        part = -(-whole // count)
        given = [min(part, whole - part * i) for i in range(count)]
    if len(given) != count or any(isinstance(d, int) and d < 0 for d in given):
        raise ValueError(f"cannot split {tuple(x.shape)} into {given}.")
    return library(x).split(x, np.cumsum(given)[:-1].tolist(), axis)


@reads("Slice")
def _slice(a: Attributes, x: Any, start: Any = None, stop: Any = None, axes: Any = None, steps: Any = None) -> Any:
    start, stop = a.ints("starts") if start is None else start, a.ints("ends") if stop is None else stop
    at = _given(a, "axes", axes, "the axes") or list(range(len(start)))
    step = [1] * len(at) if steps is None else list(sizes(steps, "steps"))
    if is_known(np.asarray(start)) and is_known(np.asarray(stop)) and not hasattr(start, "aval"):
        first, last = (list(v) if isinstance(v, list) else list(sizes(v, "bounds")) for v in (start, stop))
        key: list[Any] = [slice(None)] * x.ndim
        for axis, begin, end, by in zip(at, first, last, step, strict=True):
            key[_axis(axis, x.ndim)] = _bounds(begin, end, by, x.shape[_axis(axis, x.ndim)])
        return x[tuple(key)]
    raise ValueError("the bounds of a slice depend on the values of the inputs, which is not supported.")


def _bounds(start: Any, stop: Any, step: int, size: Any) -> slice:
    """Bounds as Python has them: -1 from behind, far ones for the end."""
    far = 1 << 30
    if isinstance(stop, int) and abs(stop) >= far:
        stop = None
    if isinstance(start, int) and abs(start) >= far:
        start = None
    return slice(start, stop, step)


@reads("Pad")
def _pad(a: Attributes, x: Any, amounts: Any = None, value: Any = None, axes: Any = None) -> Any:
    flat = _given(a, "paddings" if "paddings" in a else "pads", amounts, "the amount of padding")
    at = list(range(x.ndim)) if axes is None else [_axis(i, x.ndim) for i in sizes(axes, "the axes")]
    if len(flat) != 2 * len(at):
        raise ValueError(f"expected {2 * len(at)} amounts of padding, got {len(flat)}.")
    low, high = [0] * x.ndim, [0] * x.ndim
    for i, lo, hi in zip(at, flat[: len(at)], flat[len(at) :], strict=True):
        low[i], high[i] = lo, hi
    mode = a.s("mode", "constant")
    x = traced(x)
    if mode == "constant":
        fill = jnp.asarray(a.f("value", 0.0) if value is None else traced(value), x.dtype).reshape(())
        return lax.pad(x, fill, [(lo, hi, 0) for lo, hi in zip(low, high, strict=True)])
    return jnp.pad(x, list(zip(low, high, strict=True)), {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}[mode])


@reads("Tile")
def _tile(a: Attributes, x: Any, repeats: Any) -> Any:
    return jnp.tile(traced(x), sizes(repeats, "the number of repeats"))


@reads("Range")
def _range(a: Attributes, start: Any, limit: Any, delta: Any) -> Any:
    if not all(map(is_known, (start, limit, delta))):
        raise ValueError("the bounds of a range depend on the values of the inputs, which is not supported.")
    first, last, step = (v.reshape(()).item() for v in (start, limit, delta))
    dtype = np.dtype(np.int64) if start.dtype == object else start.dtype
    if any(map(export.is_symbolic_dim, (first, last, step))):
        return lax.iota(np.int32, last - first) + first if step == 1 else jnp.arange(first, last, step, dtype=np.int32)
    if not step or (count := max(math.ceil((last - first) / step), 0)) > MOST_KNOWN:
        if not step:
            raise ValueError("the step of a range must not be 0.")
        return (lax.iota(np.int32, count) * step + first).astype(np.int32 if dtype.kind == "i" else dtype)
    return np.arange(first, last, step, dtype=dtype)


@reads("EyeLike")
def _eye_like(a: Attributes, x: Any) -> Any:
    rows, columns = x.shape
    return jnp.eye(rows, columns, a.i("k", 0), dtype=a.dtype("dtype", x.dtype))


@reads("Trilu")
def _trilu(a: Attributes, x: Any, k: Any = None) -> Any:
    fn = jnp.triu if a.i("upper", 1) else jnp.tril
    return fn(traced(x), 0 if k is None else number(k, "the diagonal"))


@reads("OneHot")
def _one_hot(a: Attributes, indices: Any, depth: Any, values: Any) -> Any:
    n = number(depth, "the depth")
    indices = traced(indices)
    axis = a.i("axis", -1)
    axis += indices.ndim + 1 if axis < 0 else 0
    indices = jnp.where(indices < 0, indices + n, indices)
    row = lax.iota(indices.dtype, n).reshape([n if i == axis else 1 for i in range(indices.ndim + 1)])
    return jnp.where(jnp.expand_dims(indices, axis) == row, traced(values)[1], traced(values)[0])


@reads("DepthToSpace")
def _depth_to_space(a: Attributes, x: Any) -> Any:
    block, x = a.i("blocksize"), traced(x)
    if a.s("mode", "DCR") == "DCR":
        return jnp.transpose(depth_to_space(jnp.transpose(x, (0, 2, 3, 1)), block), (0, 3, 1, 2))
    n, c, h, w = x.shape
    x = x.reshape((n, c // block**2, block, block, h, w)).transpose((0, 1, 4, 2, 5, 3))
    return x.reshape((n, c // block**2, h * block, w * block))


@reads("SpaceToDepth")
def _space_to_depth(a: Attributes, x: Any) -> Any:
    if a.s("mode", "DCR") != "DCR":
        raise ValueError("only the mode 'DCR' is supported.")
    return jnp.transpose(space_to_depth(jnp.transpose(traced(x), (0, 2, 3, 1)), a.i("blocksize")), (0, 3, 1, 2))


# ---- gather and scatter: negative indices count from the end


def _wrapped(indices: Any, size: Any) -> Any:
    if is_known(indices) and np.all(np.asarray(indices) >= 0):
        return traced(indices)
    indices = traced(indices)
    return jnp.where(indices < 0, indices + jnp.asarray(size, indices.dtype), indices)


@reads("Gather")
def _gather(a: Attributes, x: Any, indices: Any) -> Any:
    axis = _axis(a.i("axis", 0), x.ndim)
    if small(x, indices):
        return boxed(np.take(x, np.asarray(indices), axis))
    return jnp.take(traced(x), _wrapped(indices, x.shape[axis]), axis, mode="clip")


@reads("GatherElements")
def _gather_elements(a: Attributes, x: Any, indices: Any) -> Any:
    axis = _axis(a.i("axis", 0), x.ndim)
    indices = _wrapped(indices, x.shape[axis])
    if all(indices.shape[i] == d for i, d in enumerate(x.shape) if i != axis):
        return jnp.take_along_axis(traced(x), indices, axis, mode="clip")
    part = tuple(slice(None) if i == axis else slice(0, d) for i, d in enumerate(indices.shape))
    return jnp.take_along_axis(traced(x)[part], indices, axis, mode="clip")


def _points(indices: Any, shape: Sequence[Any]) -> tuple[Any, ...]:
    indices = traced(indices)
    if not indices.ndim or int(indices.shape[-1]) > len(shape):
        raise ValueError(f"indices of shape {indices.shape} hold no points of {tuple(shape)}.")
    return tuple(_wrapped(indices[..., i], shape[i]) for i in range(int(indices.shape[-1])))


@reads("GatherND")
def _gather_nd(a: Attributes, x: Any, indices: Any) -> Any:
    if a.i("batch_dims", 0):
        raise ValueError("gathering in batches is not supported.")
    return traced(x).at[_points(indices, x.shape)].get(mode="clip")


_SCATTER = {"none": "set", "add": "add", "mul": "multiply", "min": "min", "max": "max"}


@reads("ScatterND")
def _scatter_nd(a: Attributes, x: Any, indices: Any, updates: Any) -> Any:
    at = traced(x).at[_points(indices, x.shape)]
    return getattr(at, _SCATTER[a.s("reduction", "none")])(traced(updates))


@reads("ScatterElements", "Scatter")
def _scatter_elements(a: Attributes, x: Any, indices: Any, updates: Any) -> Any:
    axis = _axis(a.i("axis", 0), x.ndim)
    indices = _wrapped(indices, x.shape[axis])
    grid = [lax.broadcasted_iota(indices.dtype, indices.shape, i) for i in range(x.ndim)]
    grid[axis] = indices
    return getattr(traced(x).at[tuple(grid)], _SCATTER[a.s("reduction", "none")])(traced(updates))


# ---- along axes


def _reduction(fn: Any) -> Any:
    def reduce(a: Attributes, x: Any, axes: Any = None) -> Any:
        given = _given(a, "axes", axes, "the axes")
        if not given and a.i("noop_with_empty_axes", 0):
            return x
        over = tuple(_axis(i, x.ndim) for i in given) if given else tuple(range(x.ndim))
        keep = bool(a.i("keepdims", 1))
        if is_known(x) and x.dtype == object and fn is _REDUCTIONS["ReduceProd"]:
            return boxed(np.prod(x, axis=over, keepdims=keep))
        return fn(traced(x), axis=over, keepdims=keep).astype(x.dtype)

    return reduce


_REDUCTIONS: dict[str, Any] = {
    "ReduceSum": jnp.sum, "ReduceMean": jnp.mean, "ReduceMax": jnp.max, "ReduceMin": jnp.min, "ReduceProd": jnp.prod,
    "ReduceL1": lambda x, **k: jnp.sum(jnp.abs(x), **k), "ReduceL2": lambda x, **k: jnp.sqrt(jnp.sum(x * x, **k)),
    "ReduceSumSquare": lambda x, **k: jnp.sum(x * x, **k), "ReduceLogSum": lambda x, **k: jnp.log(jnp.sum(x, **k)),
    "ReduceLogSumExp": lambda x, **k: jnp.log(jnp.sum(jnp.exp(x - (m := jnp.max(x))), **k)) + m,
}  # fmt: skip
READ.update({name: _reduction(fn) for name, fn in _REDUCTIONS.items()})


@reads("ArgMax", "ArgMin")
def _arg(a: Attributes, x: Any) -> Any:
    axis = _axis(a.i("axis", 0), x.ndim)
    fn = jnp.argmax if a.node.op_type == "ArgMax" else jnp.argmin
    x = traced(x)
    if a.i("select_last_index", 0):
        place = x.shape[axis] - 1 - fn(jnp.flip(x, axis), axis)
    else:
        place = fn(x, axis)
    return jnp.expand_dims(place, axis) if a.i("keepdims", 1) else place


@reads("CumSum")
def _cum_sum(a: Attributes, x: Any, axis: Any) -> Any:
    at, x, reverse = _axis(number(axis), x.ndim), traced(x), bool(a.i("reverse", 0))
    total = lax.cumsum(x, at, reverse)
    return total - x if a.i("exclusive", 0) else total


@reads("TopK")
def _top_k(a: Attributes, x: Any, k: Any = None) -> list[Any]:
    axis, x = _axis(a.i("axis", -1), x.ndim), traced(x)
    count = number(k, "the number of places") if k is not None else a.i("k")
    last = jnp.moveaxis(x, axis, -1)
    if a.i("largest", 1):
        values, places = lax.top_k(last, count)
    else:
        order = jnp.argsort(last, axis=-1, stable=True)
        places = lax.slice_in_dim(order, 0, count, axis=-1)
        values = jnp.take_along_axis(last, places, -1, mode="clip")
    places = places.astype(dtypes.canonicalize_dtype(np.int64))
    return [jnp.moveaxis(values, -1, axis), jnp.moveaxis(places, -1, axis)]
