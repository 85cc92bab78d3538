"""What TFLite's operators compute: a function of arrays for each; most are those of TensorFlow's ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina.export.tensorflow import read_layers  # noqa: F401  it fills the table of ops
from lamina.export.tensorflow.read_ops import READ as TENSORFLOW
from lamina.export.tensorflow.read_ops import array, sizes
from lamina.export.tflite.schema import DTYPES, SAME
from lamina.graph.opset import OPSET
from lamina.ops import activation as activations
from lamina.ops.conv import same_pads

# op -> function(options, *inputs)
READ: dict[str, Callable[..., Any]] = {}
_NAMES = {
    "ADD": "AddV2", "SUB": "Sub", "MUL": "Mul", "POW": "Pow", "MAXIMUM": "Maximum", "MINIMUM": "Minimum",
    "ATAN2": "Atan2", "FLOOR_DIV": "FloorDiv", "FLOOR_MOD": "FloorMod", "SQUARED_DIFFERENCE": "SquaredDifference",
    "EQUAL": "Equal", "NOT_EQUAL": "NotEqual", "LESS": "Less", "LESS_EQUAL": "LessEqual", "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterEqual", "LOGICAL_AND": "LogicalAnd", "LOGICAL_OR": "LogicalOr",
    "LOGICAL_NOT": "LogicalNot", "BITWISE_XOR": "BitwiseXor", "RIGHT_SHIFT": "RightShift", "NEG": "Neg", "ABS": "Abs",
    "SIGN": "Sign", "FLOOR": "Floor", "CEIL": "Ceil", "ROUND": "Round", "EXP": "Exp", "LOG": "Log", "SQRT": "Sqrt",
    "RSQRT": "Rsqrt", "SQUARE": "Square", "SIN": "Sin", "COS": "Cos", "TANH": "Tanh", "LOGISTIC": "Sigmoid",
    "RELU": "Relu", "RELU6": "Relu6", "ELU": "Elu", "SELECT_V2": "SelectV2", "SHAPE": "Shape",
    "TRANSPOSE": "Transpose", "BROADCAST_TO": "BroadcastTo", "PACK": "Pack", "SPLIT_V": "SplitV", "SLICE": "Slice",
    "STRIDED_SLICE": "StridedSlice", "PAD": "Pad", "PADV2": "PadV2", "TILE": "Tile", "REVERSE_V2": "ReverseV2",
    "RANGE": "Range", "GATHER_ND": "GatherNd", "SCATTER_ND": "ScatterNd", "ONE_HOT": "OneHot",
    "SPACE_TO_DEPTH": "SpaceToDepth", "DEPTH_TO_SPACE": "DepthToSpace", "SUM": "Sum", "MEAN": "Mean",
    "REDUCE_MAX": "Max", "REDUCE_MIN": "Min", "REDUCE_PROD": "Prod", "REDUCE_ALL": "All", "REDUCE_ANY": "Any",
    "ARG_MAX": "ArgMax", "ARG_MIN": "ArgMin", "CUMSUM": "Cumsum", "TOPK_V2": "TopKV2", "BATCH_MATMUL": "BatchMatMulV2",
    "SOFTMAX": "Softmax", "LOG_SOFTMAX": "LogSoftmax", "RESIZE_BILINEAR": "ResizeBilinear",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor",
}  # fmt: skip


class Options:
    """The options of an operator, as the functions of TensorFlow's ops ask for them.

    Args:
        op: the op's name in TensorFlow.
        values: the options.
    """

    def __init__(self, op: str, values: Mapping[str, Any]):
        self.node, self.values = SimpleNamespace(op=op, name=op), values

    def i(self, name: str, default: int | None = None) -> Any:
        """An integer."""
        return self.values.get(name, 0 if default is None else default)

    f = i

    def b(self, name: str, default: bool = False) -> bool:
        """A truth value."""
        return bool(self.values.get(name, default))

    def s(self, name: str, default: str = "") -> str:
        """Text, of which TFLite's options have none."""
        return default

    def dtype(self, name: str, default: Any = None) -> np.dtype:
        """A dtype."""
        return DTYPES[self.values[name]] if name in self.values else np.dtype(default)

    def ints(self, name: str, default: list[int] | None = None) -> list[int]:
        """A list of integers."""
        return list(self.values.get(name, default or []))


def _of_tensorflow(name: str) -> Callable[..., Any]:
    fn = TENSORFLOW[name]
    return lambda o, *x: activated(o, fn(Options(name, o), *x))


def activated(options: Mapping[str, Any], y: Any) -> Any:
    """A result behind the activation that is part of an operator."""
    code = options.get("fused_activation_function", 0)
    known = {0: lambda v: v, 1: activations.relu, 2: lambda v: jnp.clip(v, -1, 1), 3: activations.relu6, 4: jnp.tanh}
    if code not in known:
        raise ValueError(f"the fused activation number {code} is not known.")
    return known[code](y)


READ.update((op, _of_tensorflow(name)) for op, name in _NAMES.items())


def reads(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function computes these operators, given the options and the inputs."""

    def add(fn: Callable[..., Any]) -> Callable[..., Any]:
        READ.update(dict.fromkeys(names, fn))
        return fn

    return add


@reads("DIV")
def _div(o: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind == "f":
        return activated(o, jnp.divide(x, y))
    return lax.div(*jnp.broadcast_arrays(jnp.asarray(array(x)), jnp.asarray(array(y))))


@reads("CAST")
def _cast(o: Any, x: Any) -> Any:
    return x if x.dtype == object else x.astype(DTYPES[o["out_data_type"]])


@reads("RESHAPE")
def _reshape(o: Any, x: Any, shape: Any = None) -> Any:
    wanted = o.get("new_shape", ()) if shape is None else sizes(shape)
    return x.reshape(tuple(wanted))


@reads("CONCATENATION")
def _concat(o: Any, *x: Any) -> Any:
    return activated(o, TENSORFLOW["ConcatV2"](None, *x, np.int32(o["axis"])))


@reads("GATHER")
def _gather(o: Any, x: Any, indices: Any) -> Any:
    return TENSORFLOW["GatherV2"](Options("GatherV2", o), x, indices, np.int32(o["axis"]))


@reads("LEAKY_RELU")
def _leaky_relu(o: Any, x: Any) -> Any:
    return activations.leaky_relu(jnp.asarray(x), o["alpha"])


@reads("GELU")
def _gelu(o: Any, x: Any) -> Any:
    return activations.gelu(jnp.asarray(x), approximate=bool(o["approximate"]))


@reads("HARD_SWISH")
def _hard_swish(o: Any, x: Any) -> Any:
    return OPSET["HardSwish"].run(x)


@reads("DYNAMIC_UPDATE_SLICE")
def _dynamic_update(o: Any, x: Any, update: Any, begin: Any) -> Any:
    starts = [jnp.maximum(begin[i], 0) for i in range(x.ndim)]  # jax counts negative ones from the end
    return lax.dynamic_update_slice(jnp.asarray(x), jnp.asarray(update), starts)


# ---- products and windows


@reads("FULLY_CONNECTED")
def _fully_connected(o: Any, x: Any, kernel: Any, bias: Any = None) -> Any:
    x = x if o["keep_num_dims"] or x.ndim == 2 else x.reshape((-1, kernel.shape[1]))
    y = jnp.matmul(x, jnp.asarray(kernel).T)
    return activated(o, y if bias is None else y + bias)


def _window(o: Any, x: Any, window: Any, dilated: bool = True) -> dict[str, Any]:
    """Strides, padding and dilations as the ops of the table take them."""
    letters = "dhw"[5 - x.ndim :]
    strides = [int(o[f"stride_{c}"]) for c in letters]
    dilations = [int(o.get(f"dilation_{c}_factor", 1)) for c in letters]
    if min(*strides, *dilations) < 1:
        raise ValueError(f"strides and dilations must be 1 or more, got {strides} and {dilations}.")
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilations, strict=True)]
    pads = [(0, 0)] * len(letters)
    if o["padding"] == SAME:
        pads = [same_pads(*a) for a in zip(x.shape[1:-1], reach, strides, strict=True)]
    return {"strides": strides, "pads": pads, **({"dilations": dilations} if dilated else {})}


@reads("CONV_2D")
def _conv(o: Any, x: Any, kernel: Any, bias: Any = None) -> Any:
    kernel = jnp.transpose(kernel, (1, 2, 3, 0))
    groups = x.shape[-1] // kernel.shape[2]
    return activated(o, OPSET["Conv"].run(x, kernel, bias, **_window(o, x, kernel.shape[:2]), groups=groups))


@reads("CONV_3D")
def _conv3d(o: Any, x: Any, kernel: Any, bias: Any = None) -> Any:
    return activated(o, OPSET["Conv"].run(x, jnp.asarray(kernel), bias, **_window(o, x, kernel.shape[:3])))


@reads("DEPTHWISE_CONV_2D")
def _depthwise(o: Any, x: Any, kernel: Any, bias: Any = None) -> Any:
    taps, channels = kernel.shape[1:3], x.shape[-1]
    kernel = jnp.reshape(kernel, (*taps, channels, kernel.shape[3] // channels))
    return activated(o, OPSET["DepthwiseConv"].run(x, kernel, bias, **_window(o, x, taps)))


@reads("TRANSPOSE_CONV", "CONV_3D_TRANSPOSE")
def _conv_transpose(o: Any, shape: Any, kernel: Any, x: Any, bias: Any = None) -> Any:
    kernel = jnp.transpose(kernel, (1, 2, 0, 3)) if x.ndim == 4 else jnp.asarray(kernel)
    wanted, taps = sizes(shape)[1:-1], kernel.shape[: x.ndim - 2]
    letters = "dhw"[5 - x.ndim :]
    strides = [int(o[f"stride_{c}"]) for c in letters]
    if min(strides) < 1:
        raise ValueError(f"strides must be 1 or more, got {strides}.")
    full = [(n - 1) * s + k for n, s, k in zip(x.shape[1:-1], strides, taps, strict=True)]
    cut = [f - n for f, n in zip(full, wanted, strict=True)]
    pads = [(c // 2, c - c // 2) for c in cut] if o["padding"] == SAME else [(0, c) for c in cut]
    y = OPSET["ConvTranspose"].run(
        x, kernel, bias, strides=strides, pads=pads, dilations=[1] * len(strides)
    )  # fmt: skip
    return activated(o, y)


@reads("MAX_POOL_2D")
def _max_pool(o: Any, x: Any) -> Any:
    window = (int(o["filter_height"]), int(o["filter_width"]))
    return activated(o, OPSET["MaxPool"].run(jnp.asarray(x), window=window, **_window(o, x, window, False)))


@reads("AVERAGE_POOL_2D")
def _average_pool(o: Any, x: Any) -> Any:
    window = (int(o["filter_height"]), int(o["filter_width"]))
    return activated(o, OPSET["AveragePool"].run(jnp.asarray(x), window=window, **_window(o, x, window, False)))


# ---- control flow: call(number of a graph, inputs) gives its outputs


def branch(call: Callable[..., Any], o: Any, condition: Any, *x: Any) -> list[Any]:
    """What IF computes."""
    then, orelse = int(o["then_subgraph_index"]), int(o["else_subgraph_index"])
    given = [jnp.asarray(array(v)) for v in x]

    def run(graph: int) -> Callable[..., Any]:
        return lambda *v: tuple(jnp.asarray(array(y)) for y in call(graph, v))

    return list(lax.cond(jnp.asarray(condition).reshape(()) != 0, run(then), run(orelse), *given))


def loop(call: Callable[..., Any], o: Any, fixed: Any, *x: Any) -> list[Any]:
    """What WHILE computes; `fixed` are the places of what the body gives back as it is."""
    cond, body = int(o["cond_subgraph_index"]), int(o["body_subgraph_index"])
    moving = [i for i in range(len(x)) if i not in fixed]

    def whole(values: Any) -> list[Any]:
        given = list(x)
        for i, v in zip(moving, values, strict=True):
            given[i] = v
        return given

    def step(values: Any) -> tuple:
        out = call(body, whole(values))
        return tuple(jnp.asarray(array(out[i])) for i in moving)

    start = tuple(jnp.asarray(array(x[i])) for i in moving)
    return whole(lax.while_loop(lambda v: jnp.asarray(call(cond, whole(v))[0]).reshape(()) != 0, step, start))


def fake_quantise(x: Any, scale: np.ndarray, zero: int, dtype: np.dtype) -> Any:
    """The nearest numbers that a quantised tensor can hold."""
    info = np.iinfo(dtype)
    stored = jnp.clip(jnp.round(jnp.asarray(x) / scale) + zero, info.min, info.max)
    return ((stored - zero) * scale).astype(np.float32)
