"""What TensorFlow's ops compute: gathers, reductions, products, convolutions, pooling, normalisation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina.export.tensorflow.node_attrs import Attrs
from lamina.export.tensorflow.read_ops import affordable, array, cast, is_known, library, number, reads, sizes
from lamina.ops.conv import conv, depthwise_conv, from_last, pads_of, to_last
from lamina.ops.nn import batch_normalization, depth_to_space, one_hot, space_to_depth
from lamina.ops.pool import average_pool, max_pool


@reads("Gather", "GatherV2", "ResourceGather")
def _gather(a: Attrs, x: Any, indices: Any, axis: Any = None) -> Any:
    batch, at = a.i("batch_dims", 0), 0 if axis is None else number(axis)
    at = at % x.ndim if x.ndim else 0
    if batch == 0:
        if is_known(x) and x.dtype == object and not isinstance(indices, jax.core.Tracer):
            indices = np.asarray(indices)  # of text, which numpy alone holds
        return library(x, indices).take(x, indices, at, mode="clip")
    batch %= indices.ndim
    fn: Any = lambda v, i: jnp.take(v, i, at - batch, mode="clip")  # noqa: E731
    for _ in range(batch):
        fn = jax.vmap(fn)
    return fn(jnp.asarray(x), jnp.asarray(indices))


@reads("GatherNd")
def _gather_nd(a: Attrs, x: Any, indices: Any) -> Any:
    if x.dtype == object:
        return x[tuple(np.moveaxis(np.asarray(indices), -1, 0))]
    return jnp.asarray(x).at[tuple(jnp.moveaxis(jnp.asarray(indices), -1, 0))].get(mode="clip")


def _scatter(method: str) -> Any:
    def fn(a: Attrs, x: Any, indices: Any, updates: Any) -> Any:
        at = jnp.asarray(x).at[tuple(jnp.moveaxis(jnp.asarray(indices), -1, 0))]
        return getattr(at, method)(updates)

    return fn


for _op, _method in {"Update": "set", "Add": "add", "Min": "min", "Max": "max"}.items():
    reads(f"TensorScatter{_op}")(_scatter(_method))


@reads("TensorScatterSub")
def _scatter_sub(a: Attrs, x: Any, indices: Any, updates: Any) -> Any:
    return _scatter("add")(a, x, indices, -updates)


@reads("ScatterNd")
def _scatter_nd(a: Attrs, indices: Any, updates: Any, shape: Any) -> Any:
    return _scatter("add")(a, jnp.zeros(affordable(sizes(shape)), updates.dtype), indices, updates)


@reads("OneHot")
def _one_hot(a: Attrs, indices: Any, depth: Any, on: Any, off: Any) -> Any:
    affordable([*indices.shape, number(depth, "the depth")])
    hot = one_hot(jnp.asarray(indices), number(depth, "the depth"), axis=a.i("axis", -1), dtype="int32")
    if is_known(on) and is_known(off) and on == 1 and off == 0:
        return hot.astype(on.dtype)
    return jnp.where(hot == 1, on, off)


@reads("MatrixBandPart")
def _band(a: Attrs, x: Any, lower: Any, upper: Any) -> Any:
    rows, columns = x.shape[-2:]
    below, above = number(lower), number(upper)
    i, j = jnp.arange(rows)[:, None], jnp.arange(columns)[None]
    keep = ((below < 0) | (i - j <= below)) & ((above < 0) | (j - i <= above))
    return jnp.where(keep, x, jnp.zeros((), x.dtype))


@reads("SpaceToDepth")
def _space_to_depth(a: Attrs, x: Any) -> Any:
    return space_to_depth(jnp.asarray(x), a.i("block_size"), _format(a))


@reads("DepthToSpace")
def _depth_to_space(a: Attrs, x: Any) -> Any:
    return depth_to_space(jnp.asarray(x), a.i("block_size"), _format(a))


@reads("SpaceToBatchND")
def _space_to_batch(a: Attrs, x: Any, block: Any, pads: Any) -> Any:
    steps, amounts = sizes(block), np.asarray(sizes(pads)).reshape(-1, 2)
    n = len(steps)
    x = jnp.pad(jnp.asarray(x), [(0, 0), *map(tuple, amounts.tolist()), *[(0, 0)] * (x.ndim - n - 1)])
    batch, space, rest = x.shape[0], x.shape[1 : n + 1], x.shape[n + 1 :]
    split = [v for d, s in zip(space, steps, strict=True) for v in (d // s, s)]
    x = x.reshape((batch, *split, *rest))
    order = [*range(2, 2 * n + 1, 2), 0, *range(1, 2 * n, 2), *range(2 * n + 1, x.ndim)]
    return x.transpose(order).reshape((batch * int(np.prod(steps)), *split[0::2], *rest))


@reads("BatchToSpaceND")
def _batch_to_space(a: Attrs, x: Any, block: Any, crops: Any) -> Any:
    steps, cut = sizes(block), np.asarray(sizes(crops)).reshape(-1, 2).tolist()
    n = len(steps)
    batch, space, rest = x.shape[0] // int(np.prod(steps)), x.shape[1 : n + 1], x.shape[n + 1 :]
    x = jnp.asarray(x).reshape((*steps, batch, *space, *rest))
    order = [n, *(v for i in range(n) for v in (n + 1 + i, i)), *range(2 * n + 1, x.ndim)]
    x = x.transpose(order).reshape((batch, *(d * s for d, s in zip(space, steps, strict=True)), *rest))
    key = [slice(None), *(slice(lo, d - hi) for d, (lo, hi) in zip(x.shape[1:], cut, strict=False))]
    return x[tuple(key)]


# ---- along axes


REDUCTIONS = {"Sum": "sum", "Mean": "mean", "Max": "max", "Min": "min", "Prod": "prod", "All": "all", "Any": "any"}


@reads(*REDUCTIONS)
def _reduce(a: Attrs, x: Any, axes: Any) -> Any:
    at, keep = tuple(i % x.ndim for i in sizes(axes, "the axes")), a.b("keep_dims")
    out = getattr(library(x), REDUCTIONS[a.node.op])(x, axis=at, keepdims=keep)
    return np.asarray(out, object) if x.dtype == object else cast(out, x.dtype)


@reads("ArgMax", "ArgMin")
def _arg(a: Attrs, x: Any, axis: Any) -> Any:
    fn = jnp.argmax if a.node.op == "ArgMax" else jnp.argmin
    return cast(fn(jnp.asarray(x), number(axis)), a.dtype("output_type", np.int64))


@reads("Cumsum", "Cumprod")
def _cumulative(a: Attrs, x: Any, axis: Any) -> Any:
    at, reverse = number(axis) % x.ndim, a.b("reverse")
    is_sum = a.node.op == "Cumsum"
    x = jnp.asarray(array(x))
    if a.b("exclusive"):
        pads = [(0, 0)] * x.ndim
        pads[at] = (0, 1) if reverse else (1, 0)
        cut = lax.slice_in_dim(x, 1, None, axis=at) if reverse else lax.slice_in_dim(x, 0, x.shape[at] - 1, axis=at)
        x = jnp.pad(cut, pads, constant_values=0 if is_sum else 1)
    return (lax.cumsum if is_sum else lax.cumprod)(x, at, reverse)


@reads("TopKV2")
def _top_k(a: Attrs, x: Any, k: Any) -> list[Any]:
    values, places = lax.top_k(jnp.asarray(x), number(k, "k"))
    return [values, cast(places, a.dtype("index_type", np.int32))]


@reads("L2Loss")
def _l2_loss(a: Attrs, x: Any) -> Any:
    return jnp.sum(jnp.square(x)) / 2


# ---- products


@reads("MatMul")
def _matmul(a: Attrs, x: Any, y: Any) -> Any:
    x, y = (jnp.asarray(array(v)) for v in (x, y))
    return jnp.matmul(x.T if a.b("transpose_a") else x, y.T if a.b("transpose_b") else y)


@reads("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def _batch_matmul(a: Attrs, x: Any, y: Any) -> Any:
    x, y = (jnp.asarray(array(v)) for v in (x, y))
    x = jnp.swapaxes(x, -1, -2) if a.b("adj_x") else x
    return jnp.matmul(x, jnp.swapaxes(y, -1, -2) if a.b("adj_y") else y)


@reads("Einsum")
def _einsum(a: Attrs, *x: Any) -> Any:
    return jnp.einsum(a.s("equation"), *map(jnp.asarray, x))


@reads("BiasAdd", "BiasAddV1")
def _bias_add(a: Attrs, x: Any, bias: Any) -> Any:
    if a.s("data_format", "NHWC").startswith("NC") and x.ndim > 2:
        return x + jnp.asarray(bias).reshape((1, -1) + (1,) * (x.ndim - 2))
    return x + bias


# ---- windows


def _format(a: Attrs) -> str:
    return "channels_first" if a.s("data_format", "NHWC").startswith("NC") else "channels_last"


def _space(a: Attrs, name: str, rank: int) -> list[int]:
    """The spatial ones of an attribute that has a number for each axis."""
    values = a.ints(name, [1] * rank)
    return values[2:] if _format(a) == "channels_first" else values[1:-1]


def _padding(a: Attrs) -> Any:
    word = a.s("padding")
    if word != "EXPLICIT":
        return word.lower()
    flat = a.ints("explicit_paddings")
    pairs = list(zip(flat[0::2], flat[1::2], strict=True))
    return pairs[2:] if _format(a) == "channels_first" else pairs[1:-1]


@reads("Conv2D", "Conv3D")
def _conv(a: Attrs, x: Any, kernel: Any) -> Any:
    given = (_space(a, "strides", x.ndim), _padding(a), _format(a), _space(a, "dilations", x.ndim))
    return conv(jnp.asarray(x), jnp.asarray(kernel), *map(_tuple, given))


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


@reads("DepthwiseConv2dNative")
def _depthwise(a: Attrs, x: Any, kernel: Any) -> Any:
    given = (_space(a, "strides", x.ndim), _padding(a), _format(a), _space(a, "dilations", x.ndim))
    return depthwise_conv(jnp.asarray(x), jnp.asarray(kernel), *map(_tuple, given))


@reads("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def _conv_transpose(a: Attrs, shape: Any, kernel: Any, x: Any) -> Any:
    """The transposed convolution whose output has the given spatial sizes."""
    kind = _format(a)
    x = to_last(jnp.asarray(x), kind)
    kernel = jnp.asarray(kernel)
    wanted = sizes(shape)
    out = wanted[2:] if kind == "channels_first" else wanted[1:-1]
    strides, dilations = _space(a, "strides", x.ndim), _space(a, "dilations", x.ndim)
    windows = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilations, strict=False)]
    pads = pads_of("conv", _padding(a), out, windows, strides)
    inside = [
        (w - 1 - lo, n - (m - 1) * s - 1 + lo)
        for w, n, m, s, (lo, _) in zip(windows, out, x.shape[1:-1], strides, pads, strict=True)
    ]
    dims = len(strides)
    flipped = jnp.swapaxes(jnp.flip(kernel, range(dims)), -1, -2)
    space = "DHW"[3 - dims :]
    y = lax.conv_general_dilated(
        x,
        flipped,
        (1,) * dims,
        inside,
        strides,
        dilations,
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
    )
    return from_last(y, kind)


@reads("MaxPool", "MaxPool3D", "AvgPool", "AvgPool3D")
def _pool(a: Attrs, x: Any) -> Any:
    window, strides = tuple(_space(a, "ksize", x.ndim)), tuple(_space(a, "strides", x.ndim))
    fn = max_pool if a.node.op.startswith("Max") else average_pool
    word = _padding(a)
    x = to_last(jnp.asarray(x), _format(a))
    if not isinstance(word, str):
        x = jnp.pad(x, [(0, 0), *word, (0, 0)], constant_values=-np.inf)
        word = "valid"
    return from_last(fn(x, window, strides, word, "channels_last"), _format(a))


@reads("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def _batch_norm(a: Attrs, x: Any, scale: Any, offset: Any, mean: Any, variance: Any) -> list[Any]:
    axis = 1 if _format(a) == "channels_first" else x.ndim - 1
    epsilon = a.f("epsilon", 1e-4)
    if a.b("is_training", True):
        over = tuple(i for i in range(x.ndim) if i != axis)
        mean, variance = jnp.mean(x, over), jnp.var(x, over)
    given = [jnp.asarray(v) for v in (x, mean, variance)]
    y = batch_normalization(*given, axis=axis, offset=jnp.asarray(offset), scale=jnp.asarray(scale), epsilon=epsilon)
    return [y, mean, variance, mean, variance, mean]


@reads("ResizeBilinear", "ResizeNearestNeighbor")
def _resize(a: Attrs, x: Any, size: Any) -> Any:
    """Pixels as areas by jax; the older conventions by their coordinates."""
    height, width = sizes(size, "the size of images")
    affordable([x.shape[0], height, width, x.shape[3]])
    nearest = a.node.op == "ResizeNearestNeighbor"
    x = jnp.asarray(x) if nearest else jnp.asarray(x).astype(np.float32)
    if a.b("half_pixel_centers"):
        shape = (x.shape[0], height, width, x.shape[3])
        return jax.image.resize(x, shape, "nearest" if nearest else "bilinear", antialias=False)
    for axis, n in ((1, height), (2, width)):
        m = int(x.shape[axis])
        corners = a.b("align_corners") and n > 1
        places = np.arange(n) * ((m - 1) / (n - 1) if corners else m / n)
        if nearest:
            index = np.round(places) if a.b("align_corners") else np.floor(places)
            x = jnp.take(x, np.minimum(index, m - 1).astype(np.int32), axis)
            continue
        low = np.floor(places).astype(np.int32)
        share = (places - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(4)])
        upper = np.minimum(low + 1, m - 1)
        x = jnp.take(x, low, axis) * (1 - share) + jnp.take(x, upper, axis) * share
    return x
