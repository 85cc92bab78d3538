"""Small graphs for every op of the table: what a format writes, reads and runs is held against what the op computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from lamina.graph import Graph
from lamina.graph.builder import Builder
from lamina.graph.dims import Dims

rng = np.random.default_rng(0)


def floats(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return rng.uniform(low, high, shape).astype(np.float32)


def ints(*shape: int, low: int = -5, high: int = 6, dtype: str = "int32") -> np.ndarray:
    return rng.integers(low, high, shape).astype(dtype)


def bools(*shape: int) -> np.ndarray:
    return rng.integers(0, 2, shape).astype(bool)


@dataclass
class Case:
    """An op with inputs and attributes; the inputs in `fixed` are constants, a batch in `dynamic` is not known."""

    op: str
    inputs: list[np.ndarray]
    attrs: dict[str, Any] = field(default_factory=dict)
    fixed: tuple[int, ...] = ()
    dynamic: tuple[int, ...] = ()
    label: str = ""
    opset: int = 17
    tolerance: float = 1e-5

    @property
    def name(self) -> str:
        return f"{self.op}{'-' + self.label if self.label else ''}"

    def graph(self) -> Graph:
        b = Builder(self.op)
        values = []
        for i, array in enumerate(self.inputs):
            if i in self.fixed:
                values.append(b.constant(array, f"weights/w{i}"))
            else:
                shape = ("batch", *array.shape[1:]) if i in self.dynamic else array.shape
                values.append(b.input(f"x{i}", shape, array.dtype))
        with b.at("block/layer"):
            out = b.emit(self.op, values, **self.attrs)
        out = out if isinstance(out, list) else [out]
        return Graph.of(b.finish(out, [f"y{i}" for i in range(len(out))]))

    def feeds(self) -> dict[str, np.ndarray]:
        return {f"x{i}": a for i, a in enumerate(self.inputs) if i not in self.fixed}


CASES: list[Case] = []


def case(op: str, *inputs: np.ndarray, fixed: Any = (), dynamic: Any = (), label: str = "", **more: Any) -> None:
    options = {k: more.pop(k) for k in ("opset", "tolerance") if k in more}
    CASES.append(Case(op, list(inputs), more, tuple(fixed), tuple(dynamic), label, **options))


wide = floats(3, 4)
positive = floats(3, 4, low=0.1, high=3.0)
unit = floats(3, 4, low=-0.9, high=0.9)
for name in (
    "Neg Abs Sign Floor Ceil Round Exp Expm1 Square Reciprocal Sin Cos Tan Atan Sinh Cosh Tanh Asinh Erf Erfc Relu "
    "Relu6 Sigmoid Silu HardSigmoid HardSwish Softplus Softsign"
).split():
    case(name, wide * (4 if name in ("Relu6", "HardSwish", "HardSigmoid") else 1), dynamic=[0])
for name in ("Log", "Sqrt", "Rsqrt"):
    case(name, positive)
for name in ("Asin", "Acos", "Atanh"):
    case(name, unit)
case("Acosh", positive + 1)
case("Log1p", np.float32([-0.99, -0.6, -0.3, -1e-7, 0, 1e-9, 1e-4, 0.4, 0.6, 3, 1e6, np.inf]))
case("Expm1", np.float32([-90, -3, -1e-4, -1e-9, 0, 1e-9, 1e-5, 0.3, 2, 80]), label="near 0")
case("IsFinite", np.float32([1, np.inf, -np.inf, np.nan]))
case("LeakyRelu", wide, alpha=0.3)
case("Elu", wide, alpha=1.0)
case("Elu", wide, alpha=0.5, label="scaled")
case("Gelu", wide, approximate=True)
case("Gelu", wide, approximate=False, label="exact")
case("Gelu", wide, approximate=False, label="exact 20", opset=20)
case("Gelu", wide, approximate=True, label="20", opset=20)
case("Not", bools(3, 4))
for dtype in ("int32", "int8", "uint8"):
    case("Not", ints(5, low=0, high=100, dtype=dtype), label=dtype)
for name in ("Add", "Sub", "Mul", "Div", "Maximum", "Minimum"):
    case(name, floats(3, 4), floats(3, 4), dynamic=[0, 1])
    case(name, floats(2, 3, 4), positive[:1], label="broadcast")
    divisor = ints(6, low=1, high=5)
    for dtype in ("int32", "int8", "uint8", "uint16", "uint32"):
        case(name, ints(6, low=0 if dtype[0] == "u" else -60, high=100, dtype=dtype), divisor.astype(dtype),
             label=dtype)  # fmt: skip
for name in ("Add", "Mul", "Maximum", "Minimum", "Less", "Equal", "NotEqual"):
    case(name, bools(8), bools(8), label="bool")
case("Maximum", floats(3, 4), np.float32(0), fixed=[1], label="relu")
case("Rem", floats(7) * 5, floats(7, low=0.5))
case("Rem", ints(7, low=-20, high=20), ints(7, low=1), label="int32")
case("Pow", positive, floats(3, 4))
case("Pow", ints(5, low=1, high=5), ints(5, low=0, high=4), label="int32")
case("Atan2", np.float32([1, 1, -1, -1, 0, 1, -1, 0, 2]), np.float32([1, -1, 1, -1, 1, 0, 0, -1, 3]))
for name in ("And", "Or", "Xor"):
    case(name, bools(3, 4), bools(3, 4))
    case(name, ints(9, low=0, high=90), ints(9, low=0, high=90), label="int32", opset=18)
for name in ("ShiftLeft", "ShiftRight"):
    for dtype in ("int32", "uint8", "int16", "uint32"):
        values = ints(6, low=0 if dtype[0] == "u" else -100, high=100, dtype=dtype)
        case(name, values, np.asarray([0, 1, 2, 3, 7, 5], dtype), label=dtype)
for name in ("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"):
    case(name, ints(4, 5, low=0, high=3).astype(np.float32), ints(5, low=0, high=3).astype(np.float32))
    for dtype in ("int32", "uint8", "int16", "uint32"):
        case(name, ints(9, low=0, high=3, dtype=dtype), ints(9, low=0, high=3, dtype=dtype), label=dtype)
for pair in ("float32 int32", "int32 float32", "bool float32", "float32 bool", "int32 uint8", "float32 float16",
             "float32 bfloat16", "int32 bool", "uint8 int16", "int32 int8"):  # fmt: skip
    source, to = pair.split()
    case("Cast", (floats(6) * 3).astype(source) if source != "bool" else bools(6), dtype=to, label=pair)
for dtype in ("float32", "int32", "uint8", "bool", "float16", "int8"):
    case("Select", bools(3, 4), *(floats(3, 4).astype(dtype) if dtype != "uint8" else ints(3, 4, low=0).astype(dtype)
         for _ in range(2)), label=dtype)  # fmt: skip
case("Select", bools(3, 1), floats(3, 4), np.float32(0), label="broadcast", dynamic=[0, 1])
case("Identity", wide, dynamic=[0])

case("Reshape", floats(4, 6), shape=Dims([2, 12]))
case("Reshape", floats(4, 6), shape=Dims(["batch", 2, 3]), dynamic=[0], label="batch")
case("Reshape", floats(4, 6), shape=Dims(["6*batch"]), dynamic=[0], label="flat")
case("Reshape", floats(4, 6), shape=Dims([3, "batch", 2]), dynamic=[0], label="moved")
case("Reshape", floats(0, 6), shape=Dims([3, 0]), label="empty")
case("Transpose", floats(2, 3, 4), perm=(2, 0, 1), dynamic=[0])
case("BroadcastTo", floats(1, 3), shape=Dims([2, 4, 3]))
case("BroadcastTo", floats(4, 1), shape=Dims(["batch", 3]), dynamic=[0], label="batch")
case("Concat", floats(2, 3), floats(2, 5), axis=1, dynamic=[0, 1])
case("Concat", ints(2, 3), ints(1, 3), axis=0, label="int32")
case("Split", floats(2, 7), axis=1, sizes=(2, 4, 1), dynamic=[0])
case("Slice", floats(5, 7), start=Dims([1, 0]), stop=Dims([4, 7]), strides=(1, 2))
case("Slice", floats(5, 7), start=Dims([1, 2]), stop=Dims(["batch", 6]), strides=(1, 3), dynamic=[0], label="batch")
case("Slice", floats(6, 7), start=Dims([0, 2]), stop=Dims(["floordiv(batch, 2)", 7]), strides=(1, 1), dynamic=[0],
     label="expression")  # fmt: skip
case("DynamicSlice", floats(5, 7), np.int32(3), np.int32(2), sizes=Dims([3, 7]))
case("DynamicSlice", floats(5, 7), np.int32(1), np.int32(6), sizes=Dims([3, 4]), label="two axes")
case("DynamicUpdate", floats(5, 7), floats(1, 7), np.int32(3), np.int32(0))
case("DynamicUpdate", floats(5, 7), floats(2, 3), np.int32(4), np.int32(2), label="two axes")
case("Pad", floats(2, 3), np.float32(1.5), low=Dims([0, 1]), high=Dims([2, 0]), dynamic=[0])
case("Pad", ints(2, 3), np.int32(4), low=Dims([1, 0]), high=Dims([0, 2]), label="int32")
case("Tile", floats(2, 3), repeats=(2, 1), dynamic=[0])
case("Tile", floats(2, 3), repeats=(2, 1, 3), label="more axes")
case("Reverse", floats(4, 3, 2), axes=(0, 2), dynamic=[0])
case("Gather", floats(6, 4), ints(2, 3, low=-3, high=9), axis=0, dynamic=[0])
case("Gather", floats(2, 6, 4), np.int32([1, 5, 0]), axis=1, fixed=[1], dynamic=[0], label="known")
case("Gather", floats(6, 4), np.uint8([1, 5, 7]), axis=0, label="uint8")
case("GatherElements", floats(4, 6), ints(4, 3, low=0, high=9), axis=1)
case("GatherND", floats(4, 5, 3), np.int32([[0, 1], [9, 2], [3, 4]]))
case("GatherND", floats(4, 5, 3), np.int32([[0, 1], [1, 2]]), dynamic=[0], label="batch")
for reduction, opset in {"set": 17, "add": 17, "mul": 17, "min": 18, "max": 18}.items():
    case("ScatterND", floats(4, 3), np.int32([[1], [9], [0], [-1]]), floats(4, 3), reduction=reduction, opset=opset,
         label=reduction)  # fmt: skip
case("ScatterND", floats(4, 3), np.int32([[1, 2], [0, 0]]), floats(2), reduction="set", fixed=[1], label="known")
case("OneHot", ints(5, low=-2, high=6), depth=4, axis=1, dtype="float32", dynamic=[0])
case("OneHot", ints(2, 3, low=0, high=4), depth=4, axis=0, dtype="int32", label="first")
case("Iota", shape=Dims([5]), dtype="int32")
case("Iota", shape=Dims([9000]), dtype="float32", label="long")
case("SpaceToDepth", floats(2, 4, 6, 3), block=2, dynamic=[0])
case("DepthToSpace", floats(2, 2, 3, 8), block=2, dynamic=[0])
for name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
    case(name, floats(2, 3, 4), axes=(1,), keepdims=True, dynamic=[0])
    case(name, floats(2, 3, 4), axes=(0, 2), keepdims=False, label="two", dynamic=[0])
    case(name, floats(2, 3), axes=(1,), keepdims=False, label="18", opset=18)
for name in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"):
    for dtype in ("int32", "uint8"):
        case(name, ints(2, 3, low=0, high=4, dtype=dtype), axes=(1,), keepdims=False, label=dtype)
for name in ("ReduceAnd", "ReduceOr"):
    case(name, bools(4, 3), axes=(1,), keepdims=False)
for name in ("ArgMax", "ArgMin"):
    case(name, ints(4, 6, low=0, high=3).astype(np.float32), axis=1, dtype="int32", dynamic=[0])
    case(name, ints(4, 6, low=0, high=3), axis=0, dtype="int32", label="int32")
for name in ("CumSum", "CumProd", "CumMax"):
    case(name, floats(3, 5), axis=1, dynamic=[0])
    case(name, floats(3, 5), axis=0, reverse=True, label="reverse")
    case(name, ints(3, 4), axis=1, label="int32")
case("TopK", ints(3, 6, low=0, high=4).astype(np.float32), k=4)
case("TopK", ints(3, 6, low=0, high=4), k=2, label="int32")
case("Sort", floats(3, 6), axis=1, dynamic=[0])
case("Sort", ints(4, 6, low=0, high=9, dtype="uint8"), axis=0, label="uint8")
case("ArgSort", ints(4, 6, low=0, high=3), axis=1)

case("MatMul", floats(3, 4), floats(4, 5), fixed=[1], dynamic=[0])
case("MatMul", floats(2, 3, 4), floats(2, 4, 5), label="batched", dynamic=[0, 1])
case("MatMul", floats(2, 3, 4), floats(4), label="vector")
case("MatMul", ints(3, 4), ints(4, 2), label="int32")
for n, size in ((1, (7,)), (2, (6, 7)), (3, (4, 5, 6))):
    plain = {"strides": (1,) * n, "pads": ((0, 0),) * n, "dilations": (1,) * n}
    odd = {"strides": (2,) * n, "pads": ((1, 0),) * n, "dilations": (1,) * n}
    dilated = {"strides": (1,) * n, "pads": ((2, 1),) * n, "dilations": (2,) * n}
    kernel = (3, 2, 2)[:n]
    case("Conv", floats(2, *size, 4), floats(*kernel, 4, 6), fixed=[1], dynamic=[0], label=f"{n}D", **plain)
    case("Conv", floats(2, *size, 4), floats(*kernel, 4, 6), floats(6), fixed=[1, 2], label=f"{n}D odd", **odd)
    case("Conv", floats(2, *size, 4), floats(*kernel, 2, 6), fixed=[1], label=f"{n}D groups", groups=2, **dilated)
    case("DepthwiseConv", floats(2, *size, 3), floats(*kernel, 3, 2), fixed=[1], label=f"{n}D", **plain)
    case("DepthwiseConv", floats(2, *size, 3), floats(*kernel, 3, 2), floats(6), dynamic=[0], label=f"{n}D odd", **odd)
    case("ConvTranspose", floats(2, *size, 4), floats(*kernel, 6, 4), fixed=[1], label=f"{n}D", **plain)
    case("ConvTranspose", floats(2, *size, 4), floats(*kernel, 6, 4), floats(6), fixed=[1, 2], dynamic=[0],
         label=f"{n}D odd", **odd)  # fmt: skip
    wider = {**odd, "pads": ((-1, 1),) * n}
    case("ConvTranspose", floats(2, *size, 4), floats(*kernel, 6, 4), floats(6), fixed=[1, 2], label=f"{n}D wide",
         **wider)  # fmt: skip
    window = {"window": kernel, "strides": (2,) * n, "pads": ((1, 0),) * n}
    case("MaxPool", floats(2, *size, 3) - 5, label=f"{n}D", dynamic=[0], **window)
    case("AveragePool", floats(2, *size, 3), label=f"{n}D", **window)
    bare = {"window": kernel, "strides": (1,) * n, "pads": ((0, 0),) * n}
    case("AveragePool", floats(2, *size, 3), label=f"{n}D bare", dynamic=[0], **bare)
for method in ("nearest", "bilinear"):
    for size in ((8, 10), (3, 4), (7, 3)):
        case("Resize", floats(2, 4, 5, 3), size=size, method=method, dynamic=[0], label=f"{method} {size}")
for name in ("Softmax", "LogSoftmax"):
    case(name, floats(2, 3, 4) * 3, axis=2, dynamic=[0])
    case(name, floats(2, 3, 4), axis=1, label="inner")
for shape in ((3, 4), (2, 5, 4), (2, 3, 5, 4), (2, 2, 3, 2, 4)):
    weights = [floats(4), floats(4, low=0.1), floats(4), floats(4)]
    case("BatchNorm", floats(*shape), *weights, epsilon=1e-3, fixed=[1, 2, 3, 4], dynamic=[0], label=f"{len(shape)}D")
case("LayerNorm", floats(2, 3, 4), floats(4), floats(4), axes=(2,), epsilon=1e-3, fixed=[1, 2], dynamic=[0])
case("LayerNorm", floats(2, 3, 4), floats(3, 4), floats(3, 4), axes=(1, 2), epsilon=1e-3, label="two axes")
case("LayerNorm", floats(2, 3, 4), floats(3, 1), floats(3, 1), axes=(1,), epsilon=1e-3, label="inner axis")
case("LayerNorm", floats(2, 4), floats(4), floats(4), axes=(1,), epsilon=1e-3, label="13", opset=13)
case("L2Normalize", floats(3, 4), axes=(1,), epsilon=1e-12, dynamic=[0])
case("FakeQuant", floats(3, 4), np.float32(-1.2), np.float32(1.5), dynamic=[0])
case("FakeQuant", floats(3, 4), -floats(4, low=0.5), floats(4, low=0.5), bits=4, narrow=True, label="each channel")
lstm = [floats(5, 12), floats(3, 12), floats(12)]
case("LSTM", floats(2, 4, 5), floats(2, 3), floats(2, 3), *lstm, fixed=[3, 4, 5], dynamic=[0, 1, 2])
case("LSTM", floats(2, 4, 5), floats(2, 3), floats(2, 3), *lstm, label="weights unknown")
gru = [floats(5, 9), floats(3, 9), floats(2, 9)]
before = [*gru[:2], np.stack([gru[2][0], np.zeros(9, np.float32)])]
case("GRU", floats(2, 4, 5), floats(2, 3), *gru, fixed=[2, 3, 4], dynamic=[0, 1], reset_after=True)
case("GRU", floats(2, 4, 5), floats(2, 3), *before, fixed=[2, 3, 4], reset_after=False, label="reset before")


# ---- ops that hold graphs, and Size: traced


@dataclass
class Traced:
    """A function of arrays."""

    op: str
    fn: Any
    inputs: list[np.ndarray]
    dynamic: tuple[int, ...] = ()
    label: str = ""
    opset: int = 17
    tolerance: float = 1e-5

    @property
    def name(self) -> str:
        return f"{self.op}{'-' + self.label if self.label else ''}"

    def graph(self) -> Graph:
        from lamina.graph import trace

        specs = [
            jax.ShapeDtypeStruct(a.shape, a.dtype) if i not in self.dynamic else _spec(a)
            for i, a in enumerate(self.inputs)
        ]
        names = [f"x{i}" for i in range(len(specs))]
        return trace(self.fn, *specs, input_names=names)

    def feeds(self) -> dict[str, np.ndarray]:
        return {f"x{i}": a for i, a in enumerate(self.inputs)}


def _spec(array: np.ndarray) -> Any:
    class Spec:
        shape = (None, *array.shape[1:])
        dtype = array.dtype

    return Spec()


def _loop(x: Any) -> Any:
    return jax.lax.while_loop(lambda s: s[1].sum() < 50, lambda s: (s[0] + 1, s[1] * 2 + x), (0, x))


def _scan(x: Any) -> Any:
    return jax.lax.scan(lambda s, row: (s * 0.5 + row, (s, row * 2)), x[:, 0], x.swapaxes(0, 1), reverse=True)


def _scan_fixed(x: Any, w: Any) -> Any:
    step = lambda s, _: (jax.numpy.tanh(s @ w), s[:, 0])  # noqa: E731
    return jax.lax.scan(step, x, None, length=4)


def _if(x: Any, flag: Any) -> Any:
    return jax.lax.cond(flag > 0, lambda v: (v * 2, v), lambda v: (v - 1, x + v), x)


def _switch(x: Any, which: Any) -> Any:
    return jax.lax.switch(which, [lambda v: v * 2, lambda v: v - 1, lambda v: v @ v.T @ v], x)


def _nested(x: Any) -> Any:
    def outer(carry: Any, row: Any) -> Any:
        total = jax.lax.fori_loop(0, 3, lambda i, s: s + row * i, carry)
        return jax.lax.cond(total.sum() > 0, lambda t: t, lambda t: -t, total), total

    return jax.lax.scan(outer, x[0] * 0, x)


CASES += [
    Traced("While", _loop, [floats(2, 3, low=0.5)], (0,)),
    Traced("Scan", _scan, [floats(2, 4, 3)], (0,)),
    Traced("Scan", _scan_fixed, [floats(2, 3), floats(3, 3)], label="no rows"),
    Traced("If", _if, [floats(2, 3), np.int32(1)], (0,)),
    Traced("If", _if, [floats(2, 3), np.int32(-1)], label="else"),
    Traced("If", _switch, [floats(2, 3), np.int32(1)], label="switch"),
    Traced("Scan", _nested, [floats(4, 3)], label="nested"),
    Traced("Size", lambda x: x / x.shape[0] + jax.numpy.arange(x.shape[0])[:, None], [floats(4, 3)], (0,)),
]
