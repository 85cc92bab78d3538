"""What TensorFlow's ops compute: element by element, shapes, gathers, reductions. A function of arrays for each.

Where all inputs are numpy arrays, numpy computes: shapes and axes so stay known while a graph is traced. Sizes that are
not known are jax' symbolic dimensions, in arrays of objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export, lax

from lamina.export.tensorflow.node_attrs import Attrs
from lamina.graph.ir import is_floating
from lamina.ops import activation as activations

READ: dict[str, Callable[..., Any]] = {}
MOST_ELEMENTS = 1 << 27
"""The most elements of an array that a graph makes out of next to nothing."""


def reads(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function computes these ops, given the attributes and the inputs."""

    def add(fn: Callable[..., Any]) -> Callable[..., Any]:
        READ.update(dict.fromkeys(names, fn))
        return fn

    return add


def is_known(x: Any) -> bool:
    """Whether an array is known while a graph is traced."""
    return isinstance(x, (np.ndarray, np.generic))


def library(*x: Any) -> Any:
    """numpy if all arrays are known, else jax.numpy."""
    return np if all(map(is_known, x)) else jnp


def array(x: Any) -> Any:
    """`x` for jax.numpy: sizes that are not known become a traced array."""
    if is_known(x) and x.dtype == object:
        flat = [jnp.asarray(lax.convert_element_type(v, np.int32)) for v in x.reshape(-1)]
        return jnp.stack(flat).reshape(x.shape) if x.ndim else flat[0]
    return x


def cast(x: Any, dtype: Any) -> Any:
    """`x` in another dtype, or in the nearest that jax is set to hold."""
    return x.astype(dtype) if is_known(x) else x.astype(jax.dtypes.canonicalize_dtype(dtype))


def sizes(x: Any, what: str = "a shape") -> tuple[Any, ...]:
    """A vector of sizes as a tuple; it must be known.

    Raises:
        ValueError: it depends on the values of the inputs.
    """
    if not is_known(x):
        raise ValueError(f"{what} depends on the values of the inputs, which is not supported.")
    return tuple(v if export.is_symbolic_dim(v) else int(v) for v in np.asarray(x).reshape(-1).tolist())


def affordable(shape: Sequence[Any]) -> Sequence[Any]:
    """The shape, if an array of it can be made: files are taken for hostile.

    Raises:
        ValueError: a size is negative, or the elements would be too many.
    """
    known = [d for d in shape if isinstance(d, (int, np.integer))]
    if any(d < 0 for d in known) or math.prod(map(int, known)) > MOST_ELEMENTS:
        raise ValueError(f"an array of shape {tuple(shape)} cannot be made.")
    return shape


def number(x: Any, what: str = "an axis") -> int:
    """A known scalar."""
    return int(sizes(x, what)[0])


def packed(values: Sequence[Any], dtype: Any = np.int32) -> np.ndarray:
    """Sizes as a known vector."""
    if any(export.is_symbolic_dim(v) for v in values):
        out = np.empty(len(values), object)
        out[:] = list(values)
        return out
    return np.asarray(values, dtype)


def _elementwise(name: str) -> Callable[..., Any]:
    def fn(a: Attrs, *x: Any) -> Any:
        xp = library(*x)
        return getattr(xp, name)(*(x if xp is np else map(array, x)))

    return fn


for _op, _name in {
    "Neg": "negative", "Abs": "abs", "Floor": "floor", "Ceil": "ceil", "Round": "round", "Rint": "round", "Exp": "exp",
    "Expm1": "expm1", "Log": "log", "Log1p": "log1p", "Sqrt": "sqrt", "Square": "square", "Reciprocal": "reciprocal",
    "Inv": "reciprocal", "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "arcsin", "Acos": "arccos", "Atan": "arctan",
    "Sinh": "sinh", "Cosh": "cosh", "Tanh": "tanh", "Asinh": "arcsinh", "Acosh": "arccosh", "Atanh": "arctanh",
    "IsFinite": "isfinite", "IsNan": "isnan", "IsInf": "isinf", "LogicalNot": "logical_not", "Invert": "invert",
    "Sign": "sign", "Add": "add", "AddV2": "add", "Sub": "subtract", "Mul": "multiply", "FloorDiv": "floor_divide",
    "FloorMod": "mod", "Mod": "fmod", "TruncateMod": "fmod", "Pow": "power", "Maximum": "maximum", "Minimum": "minimum",
    "Atan2": "arctan2", "LogicalAnd": "logical_and", "LogicalOr": "logical_or", "BitwiseAnd": "bitwise_and",
    "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor", "LeftShift": "left_shift", "RightShift": "right_shift",
    "Equal": "equal", "NotEqual": "not_equal", "Less": "less", "LessEqual": "less_equal", "Greater": "greater",
    "GreaterEqual": "greater_equal",
}.items():  # fmt: skip
    READ[_op] = _elementwise(_name)


def _jax(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, *x: fn(*(jnp.asarray(array(v)) for v in x))


for _op, _fn in {
    "Erf": jax.scipy.special.erf, "Erfc": jax.scipy.special.erfc, "Rsqrt": lax.rsqrt, "Sigmoid": activations.sigmoid,
    "Relu": activations.relu, "Relu6": activations.relu6, "Softplus": activations.softplus,
    "Softsign": activations.softsign, "Selu": activations.selu, "Elu": activations.elu,
    "SquaredDifference": lambda x, y: jnp.square(x - y),
    "DivNoNan": lambda x, y: jnp.where(y == 0, 0, x / jnp.where(y == 0, 1, y)),
    "Lgamma": jax.scipy.special.gammaln, "Digamma": jax.scipy.special.digamma, "Softmax": activations.softmax,
    "LogSoftmax": activations.log_softmax, "Xlogy": jax.scipy.special.xlogy,
}.items():  # fmt: skip
    READ[_op] = _jax(_fn)


@reads("RealDiv")
def _real_div(a: Attrs, x: Any, y: Any) -> Any:
    return cast(library(x, y).divide(array(x), array(y)), a.dtype("T", np.float32))


@reads("TruncateDiv", "Div")
def _truncate_div(a: Attrs, x: Any, y: Any) -> Any:
    if is_floating(a.dtype("T", np.float32)):
        return library(x, y).divide(array(x), array(y))
    x, y = jnp.broadcast_arrays(jnp.asarray(array(x)), jnp.asarray(array(y)))
    return lax.div(x, y)


@reads("LeakyRelu")
def _leaky_relu(a: Attrs, x: Any) -> Any:
    return activations.leaky_relu(jnp.asarray(x), a.f("alpha", 0.2))


@reads("Cast")
def _cast(a: Attrs, x: Any) -> Any:
    if is_known(x) and x.dtype == object:  # sizes stay what they are
        return x
    return cast(x, a.dtype("DstT"))


@reads(
    "Identity", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot", "EnsureShape", "PlaceholderWithDefault",
    "DisableCopyOnRead",
)  # fmt: skip
def _identity(a: Attrs, x: Any, *_: Any) -> Any:
    return x


@reads("IdentityN")
def _identity_n(a: Attrs, *x: Any) -> list[Any]:
    return list(x)


@reads("Const")
def _const(a: Attrs) -> Any:
    return a.tensor("value")


@reads("SelectV2")
def _select(a: Attrs, condition: Any, x: Any, y: Any) -> Any:
    return library(condition, x, y).where(condition, array(x), array(y))


@reads("Select")
def _old_select(a: Attrs, condition: Any, x: Any, y: Any) -> Any:
    """A vector of conditions chooses whole rows."""
    if condition.ndim == 1 and x.ndim > 1:
        condition = condition.reshape((-1,) + (1,) * (x.ndim - 1))
    return library(condition, x, y).where(condition, array(x), array(y))


@reads("ClipByValue")
def _clip(a: Attrs, x: Any, low: Any, high: Any) -> Any:
    return jnp.minimum(jnp.maximum(x, low), high)


@reads("AddN")
def _add_n(a: Attrs, *x: Any) -> Any:
    return sum(map(array, x[1:]), array(x[0]))


@reads("ZerosLike")
def _zeros_like(a: Attrs, x: Any) -> Any:
    return library(x).zeros_like(x)


@reads("OnesLike")
def _ones_like(a: Attrs, x: Any) -> Any:
    return library(x).ones_like(x)


# ---- shapes


@reads("Shape")
def _shape(a: Attrs, x: Any) -> Any:
    return packed(x.shape, a.dtype("out_type", np.int32))


@reads("ShapeN")
def _shape_n(a: Attrs, *x: Any) -> Any:
    return [packed(v.shape, a.dtype("out_type", np.int32)) for v in x]


@reads("Size")
def _size(a: Attrs, x: Any) -> Any:
    return packed([math.prod(x.shape)], a.dtype("out_type", np.int32)).reshape(())


@reads("Rank")
def _rank(a: Attrs, x: Any) -> Any:
    return np.asarray(x.ndim, np.int32)


@reads("Reshape")
def _reshape(a: Attrs, x: Any, shape: Any) -> Any:
    return x.reshape(sizes(shape))


@reads("ExpandDims")
def _expand_dims(a: Attrs, x: Any, axis: Any) -> Any:
    return library(x).expand_dims(x, number(axis))


@reads("Squeeze")
def _squeeze(a: Attrs, x: Any) -> Any:
    axes = a.ints("squeeze_dims", []) or [i for i, d in enumerate(x.shape) if not export.is_symbolic_dim(d) and d == 1]
    return library(x).squeeze(x, tuple(axes))


@reads("Transpose")
def _transpose(a: Attrs, x: Any, perm: Any) -> Any:
    return library(x).transpose(x, sizes(perm, "a permutation"))


@reads("BroadcastTo")
def _broadcast_to(a: Attrs, x: Any, shape: Any) -> Any:
    return jnp.broadcast_to(array(x), affordable(sizes(shape)))


@reads("Fill")
def _fill(a: Attrs, shape: Any, value: Any) -> Any:
    shape = tuple(affordable(sizes(shape)))
    if is_known(value) and not any(map(export.is_symbolic_dim, shape)) and math.prod(shape) <= 4096:
        return np.full(shape, value, value.dtype)
    return jnp.broadcast_to(array(value), shape)


@reads("ConcatV2")
def _concat(a: Attrs, *x: Any) -> Any:
    return _joined(x[:-1], number(x[-1]))


@reads("Concat")
def _old_concat(a: Attrs, axis: Any, *x: Any) -> Any:
    return _joined(x, number(axis))


def _joined(x: Sequence[Any], axis: int) -> Any:
    xp = library(*x)
    return xp.concatenate([v if xp is np else array(v) for v in x], axis)


@reads("Pack")
def _pack(a: Attrs, *x: Any) -> Any:
    if all(map(is_known, x)):
        values = [v.item() if v.ndim == 0 else v for v in x]
        if x[0].ndim == 0:
            return packed(values, x[0].dtype) if x[0].dtype != object else packed(values)
        return np.stack(x, a.i("axis", 0))
    return jnp.stack([jnp.asarray(array(v)) for v in x], a.i("axis", 0))


@reads("Unpack")
def _unpack(a: Attrs, x: Any) -> list[Any]:
    axis = a.i("axis", 0)
    return [library(x).take(x, i, axis) for i in range(int(x.shape[axis]))]


@reads("Split")
def _split(a: Attrs, axis: Any, x: Any) -> list[Any]:
    return library(x).split(x, a.i("num_split"), number(axis))


@reads("SplitV")
def _split_v(a: Attrs, x: Any, parts: Any, axis: Any) -> list[Any]:
    parts, at = list(sizes(parts)), number(axis)
    if -1 in parts:
        parts[parts.index(-1)] = x.shape[at] - sum(p for p in parts if not (isinstance(p, int) and p == -1))
    return library(x).split(x, np.cumsum(parts)[:-1].tolist(), at)


@reads("Slice")
def _slice(a: Attrs, x: Any, begin: Any, size: Any) -> Any:
    size = list(sizes(size, "the size of a slice"))
    if is_known(begin):
        begin = sizes(begin)
        stop = [d if isinstance(n, int) and n == -1 else b + n for b, n, d in zip(begin, size, x.shape, strict=True)]
        return x[tuple(slice(b, e) for b, e in zip(begin, stop, strict=True))]
    return lax.dynamic_slice(jnp.asarray(x), [begin[i] for i in range(len(size))], size)


@reads("StridedSlice")
def _strided_slice(a: Attrs, x: Any, begin: Any, end: Any, strides: Any) -> Any:
    masks = {k: a.i(f"{k}_mask", 0) for k in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    step = sizes(strides)
    known = is_known(begin) and is_known(end)
    key: list[Any] = []
    for i, stride in enumerate(step):
        bit = 1 << i
        if masks["ellipsis"] & bit:
            key.append(Ellipsis)
        elif masks["new_axis"] & bit:
            key.append(None)
        elif masks["shrink_axis"] & bit:
            key.append(sizes(begin)[i] if is_known(begin) else begin[i])
        elif known or masks["begin"] & bit and is_known(end):
            start = None if masks["begin"] & bit else sizes(begin)[i]
            stop = None if masks["end"] & bit else sizes(end)[i]
            key.append(slice(start, stop, stride))
        else:
            raise ValueError("the bounds of a slice depend on the values of the inputs, which is not supported.")
    return x[tuple(key)]


@reads("Pad", "PadV2")
def _pad(a: Attrs, x: Any, amounts: Any, value: Any = 0) -> Any:
    flat = sizes(amounts, "the amount of padding")
    pairs = list(zip(flat[0::2], flat[1::2], strict=True))
    affordable([d + lo + hi for d, (lo, hi) in zip(x.shape, pairs, strict=True)])
    return jnp.pad(jnp.asarray(array(x)), pairs, constant_values=jnp.asarray(value, x.dtype))


@reads("MirrorPad")
def _mirror_pad(a: Attrs, x: Any, amounts: Any) -> Any:
    flat = sizes(amounts, "the amount of padding")
    mode = {"REFLECT": "reflect", "SYMMETRIC": "symmetric"}[a.s("mode")]
    return jnp.pad(jnp.asarray(x), list(zip(flat[0::2], flat[1::2], strict=True)), mode=mode)


@reads("Tile")
def _tile(a: Attrs, x: Any, repeats: Any) -> Any:
    counts = sizes(repeats, "the number of repeats")
    affordable([d * n for d, n in zip(x.shape, counts, strict=True)])
    return library(x).tile(x, counts)


@reads("ReverseV2")
def _reverse(a: Attrs, x: Any, axes: Any) -> Any:
    return library(x).flip(x, sizes(axes))


@reads("Range")
def _range(a: Attrs, start: Any, limit: Any, delta: Any) -> Any:
    first, last, step = (
        sizes(v, "the bounds of a range")[0] if v.dtype == object else v for v in (start, limit, delta)
    )
    if any(export.is_symbolic_dim(v) for v in (first, last, step)):
        return jnp.arange(first if export.is_symbolic_dim(first) else int(first), last, int(step), dtype=np.int32)
    if not all(map(is_known, (start, limit, delta))):
        raise ValueError("the bounds of a range depend on the values of the inputs, which is not supported.")
    if not step or not all(map(np.isfinite, (first, last, step))):
        raise ValueError("a range must have finite bounds and a step that is not 0.")
    affordable([max(math.ceil((float(last) - float(first)) / float(step)), 0)])
    return np.arange(start, limit, delta, dtype=start.dtype)


@reads("LinSpace")
def _linspace(a: Attrs, start: Any, stop: Any, count: Any) -> Any:
    points = number(count, "the number of points")
    affordable([points])
    return jnp.linspace(start, stop, points, dtype=a.dtype("T", np.float32))


@reads("InvertPermutation")
def _invert_permutation(a: Attrs, x: Any) -> Any:
    return library(x).argsort(x).astype(np.int32)


@reads("BroadcastArgs")
def _broadcast_args(a: Attrs, x: Any, y: Any) -> Any:
    return packed(np.broadcast_shapes(sizes(x), sizes(y)))
