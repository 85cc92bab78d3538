"""For each op of the table a call of it, as (inputs, attributes): what every exporter and reader is tested on."""

import numpy as np

from lamina.graph.builder import Builder
from lamina.graph.dims import Dims
from lamina.graph.elementwise import BINARY, COMPARE, UNARY

RNG = np.random.default_rng(7)


def floats(*shape, low=-2.0, high=2.0):
    return RNG.uniform(low, high, shape).astype("float32")


def integers(high, *shape):
    return RNG.integers(0, high, shape).astype("int32")


X = floats(2, 3, 4)
IMAGE, ROWS, VOLUME = floats(2, 6, 7, 4), floats(2, 9, 4), floats(1, 5, 6, 4, 2)
INSIDE = {"Asin": (-0.9, 0.9), "Acos": (-0.9, 0.9), "Atanh": (-0.9, 0.9), "Acosh": (1.1, 3.0), "Log": (0.1, 3.0)}
POSITIVE = ("Log1p", "Sqrt", "Rsqrt", "Reciprocal")
BITS = ("And", "Or", "Xor", "ShiftLeft", "ShiftRight")


def _graph(outputs, *shapes, name="g"):
    """A graph inside: `outputs(builder, *inputs)` of inputs of the given shapes."""
    b = Builder(name)
    given = [b.input(f"{name}_{i}", shape, dtype) for i, (shape, dtype) in enumerate(shapes)]
    b.graph.input_names = [v.name for v in given]
    return b.finish(outputs(b, *given))


def number(b, value, dtype="float32"):
    return b.constant(np.asarray(value, dtype))


def _elementwise():
    for name in UNARY:
        low, high = INSIDE.get(
            name, (0.1, 3.0) if name in POSITIVE else (-4.0, 8.0) if name == "Relu6" else (-2.0, 2.0)
        )
        x = floats(2, 3, 4, low=low, high=high)
        if name == "Not":
            yield name, ([x > 0], {})
            yield name, ([integers(9, 2, 3)], {})
        else:
            yield name, ([x], {})
    for name in BINARY:
        if name in BITS:
            yield name, ([integers(30, 2, 3), integers(4, 2, 3)], {})
            if "Shift" not in name:
                yield name, ([X > 0, X > 1], {})
            continue
        x = floats(2, 3, 4, low=0.2) if name == "Pow" else X
        yield name, ([x, floats(3, 4, low=0.5)], {})
        if name in ("Div", "Rem"):
            yield name, ([integers(30, 2, 3) - 15, integers(4, 2, 3) + 1], {})
    for name in COMPARE:
        yield name, ([X, np.round(X)], {})
    yield "LeakyRelu", ([X], {"alpha": 0.3})
    yield "Elu", ([X], {"alpha": 1.0})
    yield "Elu", ([X], {"alpha": 0.5})
    yield "Gelu", ([X], {"approximate": True})
    yield "Gelu", ([X], {"approximate": False})
    yield "Cast", ([X * 5], {"dtype": "int32"})
    yield "Select", ([X > 0, X, floats(3, 4)], {})
    yield "Identity", ([X], {})


def _arrays():
    yield "Reshape", ([X], {"shape": Dims((4, 6))})
    yield "Transpose", ([X], {"perm": (2, 0, 1)})
    yield "BroadcastTo", ([floats(3, 1)], {"shape": Dims((2, 3, 4))})
    yield "Concat", ([X, X + 1, floats(2, 3, 1)], {"axis": 2})
    yield "Split", ([X], {"axis": 2, "sizes": (1, 3)})
    yield "Slice", ([ROWS], {"start": Dims((0, 1, 0)), "stop": Dims((2, 8, 3)), "strides": (1, 3, 1)})
    at = [np.int32(1), np.int32(7), np.int32(-3)]
    yield "DynamicSlice", ([ROWS, *at], {"sizes": Dims((1, 4, 4))})
    yield "DynamicUpdate", ([ROWS, floats(1, 4, 4), *at], {})
    yield "DynamicUpdate", ([ROWS, floats(2, 4, 2), *at], {})
    yield "Pad", ([X, np.float32(7)], {"low": Dims((1, 0, 2)), "high": Dims((0, 3, 0))})
    yield "Tile", ([X], {"repeats": (2, 1, 3)})
    yield "Reverse", ([X], {"axes": (0, 2)})
    yield "Gather", ([X, np.asarray([[2, 0], [9, -1]], "int32")], {"axis": 1})
    yield "GatherElements", ([X, integers(3, 2, 2, 4)], {"axis": 1})
    yield "GatherND", ([X, np.asarray([[1, 2], [0, 0], [5, 1]], "int32")], {})
    points = np.asarray([[1, 2], [0, 0], [1, 2], [5, 1]], "int32")
    for reduction in ("add", "min", "max"):
        yield "ScatterND", ([X, points, floats(4, 4)], {"reduction": reduction})
    yield "ScatterND", ([X, points[[0, 1, 3]], floats(3, 4)], {"reduction": "set"})
    yield "OneHot", ([np.asarray([[1, 0, 4], [7, -1, 2]], "int32")], {"depth": 5, "axis": 1, "dtype": "float32"})
    yield "Iota", ([], {"shape": Dims((5,)), "dtype": "int32"})
    yield "Size", ([], {"size": Dims((5,))})
    yield "SpaceToDepth", ([floats(2, 4, 6, 3)], {"block": 2})
    yield "DepthToSpace", ([floats(2, 2, 3, 8)], {"block": 2})
    for name in ("Sum", "Mean", "Max", "Min", "Prod"):
        yield f"Reduce{name}", ([X], {"axes": (0, 2), "keepdims": False})
        yield f"Reduce{name}", ([X], {"axes": (1,), "keepdims": True})
    for name in ("And", "Or"):
        yield f"Reduce{name}", ([X > 0], {"axes": (1, 2), "keepdims": False})
    yield "ArgMax", ([X], {"axis": 1, "dtype": "int32"})
    yield "ArgMin", ([X], {"axis": 2, "dtype": "int32"})
    for name in ("CumSum", "CumProd", "CumMax"):
        yield name, ([X], {"axis": 2, "reverse": False})
        yield name, ([ROWS], {"axis": 1, "reverse": True})
    yield "TopK", ([X], {"k": 2})
    yield "Sort", ([X], {"axis": 1})
    yield "Sort", ([integers(9, 3, 5) - 4], {"axis": 1})
    yield "ArgSort", ([integers(3, 3, 6)], {"axis": 1})


def _networks():
    yield "MatMul", ([floats(3, 4), floats(4, 5)], {})
    yield "MatMul", ([floats(2, 1, 3, 4), floats(5, 4, 6)], {})
    yield "MatMul", ([floats(2, 3, 4), floats(4, 6)], {})
    window = {"strides": (2, 1), "pads": ((1, 0), (0, 2)), "dilations": (1, 2)}
    same = {"strides": (2, 2), "pads": ((0, 1), (1, 1)), "dilations": (1, 1)}
    for attrs in (window, same):
        yield "Conv", ([IMAGE, floats(3, 3, 4, 5), floats(5)], {**attrs, "groups": 1, "activation": "relu"})
        yield "DepthwiseConv", ([IMAGE, floats(3, 3, 4, 2)], attrs)
        yield "ConvTranspose", ([IMAGE, floats(3, 3, 5, 4), floats(5)], attrs)
    yield "Conv", ([IMAGE, floats(3, 3, 2, 6)], {**same, "groups": 2})
    row = {"strides": (2,), "pads": ((2, 0),), "dilations": (1,)}
    yield "Conv", ([ROWS, floats(3, 4, 5)], {**row, "groups": 1})
    yield "DepthwiseConv", ([ROWS, floats(3, 4, 1), floats(4)], {**row, "activation": "relu6"})
    yield "ConvTranspose", ([ROWS, floats(3, 5, 4)], {"strides": (3,), "pads": ((-1, -2),), "dilations": (1,)})
    cube = {"strides": (1, 2, 1), "pads": ((0, 1), (1, 1), (0, 0)), "dilations": (2, 1, 1)}
    yield "Conv", ([VOLUME, floats(2, 3, 2, 2, 3)], {**cube, "groups": 1})
    yield "ConvTranspose", ([VOLUME, floats(2, 3, 2, 3, 2)], cube)
    for name in ("MaxPool", "AveragePool"):
        yield name, ([IMAGE], {"window": (2, 3), "strides": (2, 2), "pads": ((0, 0), (1, 1))})
        yield name, ([IMAGE], {"window": (3, 2), "strides": (1, 1), "pads": ((2, 0), (0, 1))})
        yield name, ([ROWS], {"window": (3,), "strides": (3,), "pads": ((0, 0),)})
        yield name, ([VOLUME], {"window": (2, 2, 2), "strides": (1, 2, 1), "pads": ((0, 1), (0, 0), (0, 1))})
    yield "Resize", ([IMAGE], {"size": (9, 5), "method": "bilinear"})
    yield "Resize", ([IMAGE], {"size": (3, 14), "method": "nearest"})
    yield "Softmax", ([X], {"axis": 2})
    yield "LogSoftmax", ([X], {"axis": 2})
    vectors = [floats(4), floats(4, low=0.1), floats(4), floats(4)]
    yield "BatchNorm", ([IMAGE, *vectors], {"epsilon": 1e-3})
    yield "BatchNorm", ([X, *vectors], {"epsilon": 1e-3})
    yield "LayerNorm", ([X, floats(3, 4), floats(3, 4)], {"axes": (1, 2), "epsilon": 1e-3})
    yield "L2Normalize", ([X], {"axes": (2,), "epsilon": 1e-12})
    yield "FakeQuant", ([X, np.float32(-1.5), np.float32(1.2)], {})
    yield "FakeQuant", ([X, -vectors[1], vectors[1]], {"bits": 4, "narrow": True})
    yield "LSTM", ([ROWS, floats(2, 3), floats(2, 3), floats(4, 12), floats(3, 12), floats(12)], {})
    for reset_after in (True, False):
        bias = floats(2, 9) * np.asarray([[1], [reset_after]], "float32")
        yield "GRU", ([ROWS, floats(2, 3), floats(4, 9), floats(3, 9), bias], {"reset_after": reset_after})


def _control():
    f = ((2, 3), "float32")
    then = _graph(lambda b, x, y: [b.emit("Add", [x, y]), x], f, f, name="then")
    orelse = _graph(lambda b, x, y: [b.emit("Mul", [x, y]), b.emit("Neg", [y])], f, f, name="orelse")
    for condition in (True, False):
        yield "If", ([np.asarray(condition), floats(2, 3), floats(2, 3)], {"then": then, "orelse": orelse})
    cond = _graph(lambda b, i, x, y: [b.emit("Less", [i, number(b, 4, "int32")])], ((), "int32"), f, f, name="cond")
    body = _graph(
        lambda b, i, x, y: [b.emit("Add", [i, number(b, 1, "int32")]), b.emit("Add", [b.emit("Tanh", [x]), y])],
        ((), "int32"), f, f, name="body",
    )  # fmt: skip
    yield "While", ([np.int32(0), floats(2, 3), floats(2, 3)], {"carried": 2, "cond": cond, "body": body})
    step = _graph(
        lambda b, state, row, fixed: [b.emit("Add", [state, b.emit("Mul", [row, fixed])]), b.emit("Square", [state])],
        ((2,), "float32"), ((2,), "float32"), ((), "float32"), name="step",
    )  # fmt: skip
    for reverse in (False, True):
        attrs = {"carried": 1, "rows": 1, "length": 5, "reverse": reverse, "body": step}
        yield "Scan", ([floats(2), floats(5, 2), np.float32(1.5)], attrs)


def _all():
    for part in (_elementwise, _arrays, _networks, _control):
        yield from part()


SAMPLES = list(_all())


def build(op, inputs, attrs):
    """A graph of one instruction, fed with all of its inputs."""
    b = Builder(f"one_{op}")
    values = [b.input(f"in{i}", np.shape(x), np.asarray(x).dtype) for i, x in enumerate(inputs)]
    out = b.emit(op, values, **attrs)
    outputs = out if isinstance(out, list) else [out]
    return b.finish(outputs, [f"out{i}" for i in range(len(outputs))])
