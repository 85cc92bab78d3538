"""ONNX files of other tools, held against onnx's own reference; and files that are damaged or hostile."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from lamina import load_frozen
from lamina.export.onnx.reader import load_onnx
from lamina.wire.errors import DataLossError, FileFormatError

rng = np.random.default_rng(0)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def floats(*shape, low=-1.0, high=1.0):
    return rng.uniform(low, high, shape).astype(np.float32)


def build(nodes, inputs, outputs, weights=(), opset=17, **more):
    """A model; inputs as (name, dtype, shape), weights as a dict of arrays."""
    given = [helper.make_tensor_value_info(*i) for i in inputs]
    made = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    held = [numpy_helper.from_array(a, n) for n, a in dict(weights).items()]
    graph = helper.make_graph(nodes, "g", given, made, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def compare(model, feeds, path, tolerance=1e-5):
    onnx.save(model, path)
    want = ReferenceEvaluator(model).run(None, feeds)
    got = load_frozen(path).signatures["serving_default"](**feeds)
    for name, y in zip([o.name for o in model.graph.output], want, strict=True):
        assert got[name].shape == y.shape and got[name].dtype == y.dtype
        np.testing.assert_allclose(got[name], y, rtol=tolerance, atol=tolerance * max(1.0, np.abs(y).max()))
    return load_frozen(path)


def test_network_as_torch_writes_it(tmp_path):
    """NCHW; Gemm with a transposed weight; a flatten that is computed from the shape."""
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "w0", "b0"], ["c0"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", ["c0", "scale", "offset", "mean", "var"], ["n0"], epsilon=1e-5),
        node("Relu", ["n0"], ["r0"]),
        node("MaxPool", ["r0"], ["p0"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", ["p0", "w1"], ["c1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=8),
        node("Constant", [], ["zero"], value_float=0.0),
        node("Constant", [], ["six"], value_float=6.0),
        node("Clip", ["c1", "zero", "six"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], group=2, dilations=[2, 2]),
        node("AveragePool", ["c2"], ["p1"], kernel_shape=[2, 2], pads=[1, 0, 0, 1], count_include_pad=1, ceil_mode=1),
        node("Shape", ["p1"], ["shape"]),
        node("Gather", ["shape", "first"], ["batch"], axis=0),
        node("Unsqueeze", ["batch", "axis0"], ["row"]),
        node("Concat", ["row", "rest"], ["wanted"], axis=0),
        node("Reshape", ["p1", "wanted"], ["flat"]),
        node("Gemm", ["flat", "w3", "b3"], ["y"], transB=1, alpha=0.5),
        node("GlobalAveragePool", ["c2"], ["g"]),
        node("Flatten", ["g"], ["z"]),
    ]
    weights = {
        "w0": floats(8, 3, 3, 3), "b0": floats(8), "scale": floats(8, low=0.5), "offset": floats(8), "mean": floats(8),
        "var": floats(8, low=0.2), "w1": floats(8, 1, 3, 3), "w2": floats(4, 4, 2, 2), "first": np.int64(0),
        "axis0": np.int64([0]), "rest": np.int64([-1]), "w3": floats(5, 36), "b3": floats(5),
    }  # fmt: skip
    model = build(nodes, [("image", FLOAT, ["N", 3, 20, 20])], ["y", "z"], weights)
    loaded = compare(model, {"image": floats(3, 3, 20, 20)}, tmp_path / "m.onnx")
    graph = loaded.to_graph()
    assert graph.inputs[0].shape == ("batch", 3, 20, 20)
    ops = [i.op for i in graph.instrs]
    assert ops.count("Conv") == 2 and ops.count("DepthwiseConv") == 1 and "BatchNorm" in ops and "MaxPool" in ops
    x = floats(5, 3, 20, 20)
    for got, want in zip(graph(x).values(), ReferenceEvaluator(model).run(None, {"image": x}), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_attention_with_sizes_that_are_not_known(tmp_path):
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["qkv"]),
        node("Split", ["qkv"], ["q", "k", "v"], axis=2),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["s"]),
        node("Shape", ["s"], ["shape"], start=1),
        node("ConstantOfShape", ["shape"], ["ones"], value=numpy_helper.from_array(np.float32([1.0]))),
        node("Trilu", ["ones"], ["low"], upper=0),
        node("Cast", ["low"], ["mask"], to=TensorProto.BOOL),
        node("Where", ["mask", "s", "far"], ["masked"]),
        node("Softmax", ["masked"], ["p"], axis=-1),
        node("MatMul", ["p", "v"], ["a"]),
        node("LayerNormalization", ["a", "g", "b"], ["y"], axis=-1),
    ]
    weights = {"w": floats(6, 12), "far": np.float32(-1e9), "g": floats(4), "b": floats(4)}
    model = build(nodes, [("x", FLOAT, ["batch", "time", 6])], ["y"], weights)
    loaded = compare(model, {"x": floats(2, 5, 6)}, tmp_path / "m.onnx")
    assert loaded.to_graph().inputs[0].shape == ("batch", "size1", 6)


def single(op, inputs, attrs=None, outputs=1, opset=17, label=""):
    return pytest.param(op, inputs, attrs or {}, outputs, opset, id=f"{op}{label}")


IMAGE = floats(2, 4, 5, 6)
BYTES = (IMAGE * 99).astype(np.int8)
ODD = {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 1]}
NEAR = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
CORNERS = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
NO = np.float32([])
AFTER = {"hidden_size": 4, "linear_before_reset": 1}


@pytest.mark.parametrize(
    "op, inputs, attrs, outputs, opset",
    [
        single("ConvTranspose", [IMAGE, floats(4, 3, 3, 2)], ODD),
        single("Conv", [IMAGE, floats(3, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, label="-same"),
        single("Conv", [IMAGE, floats(3, 4, 2, 2)], {"auto_pad": "SAME_LOWER"}, label="-lower"),
        single("MaxPool", [IMAGE], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}),
        single("AveragePool", [IMAGE], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        single("InstanceNormalization", [IMAGE, floats(4), floats(4)]),
        single("PRelu", [IMAGE, floats(4, 1, 1)]),
        single("Selu", [IMAGE]),
        single("HardSigmoid", [IMAGE * 4]),
        single("Resize", [IMAGE, NO, np.float32([1, 1, 2, 2])], NEAR),
        single("Resize", [IMAGE, NO, NO, np.int64([2, 4, 9, 7])], CORNERS, label="-corners"),
        single("Resize", [IMAGE, NO, NO, np.int64([2, 4, 9, 7])], {"mode": "cubic"}, label="-cubic"),
        single("Pad", [IMAGE, np.int64([0, 0, 1, 2, 0, 0, 2, 1])], {"mode": "reflect"}),
        single("Slice", [IMAGE, np.int64([-1, 0]), np.int64([-9, 2**62]), np.int64([2, -1]), np.int64([-2, 3])]),
        single("Einsum", [floats(2, 3, 4), floats(2, 4, 5)], {"equation": "bij,bjk->bik"}),
        single("ReduceL2", [IMAGE], {"axes": [-1], "keepdims": 0}),
        single("ReduceLogSumExp", [IMAGE], {"axes": [1]}),
        single("CumSum", [floats(3, 4), np.int64(1)], {"exclusive": 1, "reverse": 1}),
        single("Gather", [IMAGE, np.int64([[0, -1], [2, 1]])], {"axis": 2}),
        single("ScatterElements", [floats(3, 4), np.int64([[0, -1]]), floats(1, 2)], {"axis": 1}),
        single("TopK", [floats(3, 6), np.int64([2])], {"largest": 0}, 2),
        single("LSTM", [floats(5, 2, 3), floats(1, 16, 3), floats(1, 16, 4), floats(1, 32)], {"hidden_size": 4}, 3),
        single("GRU", [floats(5, 2, 3), floats(1, 12, 3), floats(1, 12, 4), floats(1, 24)], AFTER, 2),
        single("RNN", [floats(5, 2, 3), floats(1, 4, 3), floats(1, 4, 4), floats(1, 8)], {"hidden_size": 4}, 2),
        single("QuantizeLinear", [IMAGE, np.float32(0.02), np.int8(3)]),
        single("DequantizeLinear", [BYTES, floats(4, low=0.1), np.zeros(4, np.int8)], {"axis": 1}, opset=19),
        single("MatMulInteger", [(floats(3, 4) * 9).astype(np.int8), (floats(4, 2) * 9).astype(np.int8)]),
        single("Gelu", [IMAGE], opset=20),
        single("Mish", [IMAGE], opset=18),
        single("Mod", [np.int64([5, -5, 7]), np.int64([3, 3, -4])]),
        single("Div", [np.int64([7, -7, 8]), np.int64([2, 2, -3])]),
        single("Trilu", [floats(4, 5), np.int64(1)]),
    ],
)  # fmt: skip
def test_op_as_the_reference_has_it(op, inputs, attrs, outputs, opset, tmp_path):
    """The first input is fed; the others are constants."""
    names = ["x", *(f"w{i}" if np.size(a) or i else "" for i, a in enumerate(inputs[1:], 1))]
    names = [n if not (isinstance(a, np.ndarray) and a.size == 0) else "" for n, a in zip(names, inputs, strict=True)]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, made, **attrs)
    weights = {n: np.asarray(a) for n, a in zip(names[1:], inputs[1:], strict=True) if n}
    dtype = helper.np_dtype_to_tensor_dtype(inputs[0].dtype)
    model = build([node], [("x", dtype, list(inputs[0].shape))], made, weights, opset)
    compare(model, {"x": inputs[0]}, tmp_path / "m.onnx", 2e-5)


def test_both_directions(tmp_path):
    """A layer of two directions is two layers, the second from the end."""
    x, w, r, b = floats(5, 2, 3), floats(2, 12, 3), floats(2, 12, 4), floats(2, 24)
    node = helper.make_node("GRU", ["x", "w", "r", "b"], ["y", "h"], hidden_size=4, direction="bidirectional")
    onnx.save(build([node], [("x", FLOAT, [5, 2, 3])], ["y", "h"], {"w": w, "r": r, "b": b}), tmp_path / "m.onnx")
    y, h = load_frozen(tmp_path / "m.onnx")(x)
    for d, given in ((0, x), (1, x[::-1])):
        one = helper.make_node("GRU", ["x", "w", "r", "b"], ["y", "h"], hidden_size=4)
        part = build(
            [one], [("x", FLOAT, [5, 2, 3])], ["y", "h"], {"w": w[d : d + 1], "r": r[d : d + 1], "b": b[d : d + 1]}
        )
        rows, last = ReferenceEvaluator(part).run(None, {"x": np.ascontiguousarray(given)})
        np.testing.assert_allclose(y[:, d], rows[:: -1 if d else 1, 0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(h[d], last[0], rtol=1e-5, atol=1e-6)


def test_loop_that_stacks_rows(tmp_path):
    node, value = helper.make_node, helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Add", ["s", "x"], ["t"]), node("Identity", ["go"], ["more"]), node("Mul", ["t", "t"], ["row"])],
        "body",
        [value("i", INT64, []), value("go", TensorProto.BOOL, []), value("s", FLOAT, [3])],
        [value("more", TensorProto.BOOL, []), value("t", FLOAT, [3]), value("row", FLOAT, [3])],
    )
    nodes = [node("Loop", ["count", "", "x"], ["last", "rows"], body=body)]
    model = build(nodes, [("x", FLOAT, [3])], ["last", "rows"], {"count": np.int64(4)})
    onnx.save(model, tmp_path / "m.onnx")
    x = floats(3)
    last, rows = load_frozen(tmp_path / "m.onnx")(x)
    np.testing.assert_allclose(last, 5 * x, rtol=1e-6)
    np.testing.assert_allclose(rows, [(n * x) ** 2 for n in (2, 3, 4, 5)], rtol=1e-6)


def test_groups_of_a_transposed_convolution(tmp_path):
    kernel = floats(4, 2, 3, 3)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=2, dilations=[2, 1])
    onnx.save(build([node], [("x", FLOAT, [2, 4, 5, 6])], ["y"], {"w": kernel}), tmp_path / "m.onnx")
    part = helper.make_node("ConvTranspose", ["x", "w"], ["y"], dilations=[2, 1])
    want = []
    for d in (0, 2):
        model = build([part], [("x", FLOAT, [2, 2, 5, 6])], ["y"], {"w": kernel[d : d + 2]})
        want += ReferenceEvaluator(model).run(None, {"x": IMAGE[:, d : d + 2]})
    got = load_frozen(tmp_path / "m.onnx")(IMAGE)
    np.testing.assert_allclose(got, np.concatenate(want, 1), rtol=1e-4, atol=1e-5)


def test_older_softmax_is_over_all_axes_behind(tmp_path):
    x = floats(2, 3, 4)
    node = helper.make_node("Softmax", ["x"], ["y"], axis=1)
    onnx.save(build([node], [("x", FLOAT, [2, 3, 4])], ["y"], opset=11), tmp_path / "m.onnx")
    want = np.exp(x) / np.exp(x).sum((1, 2), keepdims=True)
    np.testing.assert_allclose(load_frozen(tmp_path / "m.onnx")(x), want, rtol=1e-5)


def test_padding_below_zero_cuts(tmp_path):
    weights = {"p": np.int64([-1, 2, 2, -1]), "v": np.float32(3)}
    node = helper.make_node("Pad", ["x", "p", "v"], ["y"])
    onnx.save(build([node], [("x", FLOAT, [3, 4])], ["y"], weights), tmp_path / "m.onnx")
    x = floats(3, 4)
    want = np.pad(x[1:, :-1], ((0, 2), (2, 0)), constant_values=3)
    np.testing.assert_array_equal(load_frozen(tmp_path / "m.onnx")(x), want)


def test_inputs_and_outputs_can_be_chosen(tmp_path):
    nodes = [helper.make_node("Neg", ["x"], ["inner"]), helper.make_node("Exp", ["inner"], ["y"])]
    onnx.save(build(nodes, [("x", FLOAT, [2])], ["y"]), tmp_path / "m.onnx")
    assert load_frozen(tmp_path / "m.onnx", outputs=["inner"])([1.0, -2.0]).tolist() == [-1.0, 2.0]
    with pytest.raises(ValueError, match="no tensor 'iner'. Did you mean 'inner'?"):
        load_frozen(tmp_path / "m.onnx", outputs=["iner"])


# ---- damaged and hostile files


def expect(model, path, error, match):
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    with pytest.raises(error, match=match):
        loaded = load_onnx(path)
        loaded.to_graph()


def plain(**tensor):
    model = build([helper.make_node("Add", ["x", "w"], ["y"])], [("x", FLOAT, [4])], ["y"], {"w": floats(4)})
    for key, value in tensor.items():
        field = model.graph.initializer[0]
        if key == "dims":
            del field.dims[:]
            field.dims.extend(value)
        else:
            setattr(field, key, value)
    return model


def outside(location, offset=0, length=16):
    model = plain(data_location=TensorProto.EXTERNAL)
    model.graph.initializer[0].ClearField("raw_data")
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        model.graph.initializer[0].external_data.add(key=key, value=str(value))
    return model


def test_tensors_that_are_not_what_they_say(tmp_path):
    path = tmp_path / "m.onnx"
    expect(b"no model at all", path, DataLossError, "is no ONNX model")
    expect(b"", path, DataLossError, "gives nothing")
    expect(plain().SerializeToString()[:-9], path, (DataLossError, ValueError), None)
    expect(plain(dims=[2**40, 2**40]), path, DataLossError, "holds 16 bytes")
    expect(plain(dims=[-4]), path, DataLossError, "cannot have the shape")
    expect(plain(dims=[1] * 100), path, DataLossError, "cannot have the shape")
    expect(plain(raw_data=b"123"), path, DataLossError, "holds 3 bytes")
    expect(plain(data_type=TensorProto.FLOAT8E4M3FN), path, FileFormatError, "dtype that arrays have not")
    expect(plain(data_type=999), path, FileFormatError, "dtype that arrays have not")


def test_external_data_stays_in_the_folder(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"x" * 64)
    folder = tmp_path / "models"
    folder.mkdir()
    path = folder / "m.onnx"
    for location in ("../secret.bin", str(secret), "a/../../secret.bin", "..\\secret.bin", "a\0b"):
        expect(outside(location), path, FileFormatError, "outside of the model's folder")
    (folder / "link.bin").symlink_to(secret)
    expect(outside("link.bin"), path, FileFormatError, "outside of the model's folder")
    expect(outside(""), path, FileFormatError, "not named")
    expect(outside("gone.bin"), path, DataLossError, "missing")
    (folder / "w.bin").write_bytes(b"\0" * 20)
    expect(outside("w.bin", offset=8), path, DataLossError, "expected 16 bytes from 8")
    expect(outside("w.bin", length=20), path, DataLossError, "the file says 20")
    expect(outside("w.bin", offset=-4), path, DataLossError, "from -4")
    expect(outside("w.bin", offset="many"), path, FileFormatError, "no number")
    path.write_bytes(outside("w.bin", offset=4).SerializeToString())
    assert load_frozen(path)(np.ones(4, np.float32)).tolist() == [1.0] * 4


def test_graphs_that_are_none(tmp_path):
    node, path = helper.make_node, tmp_path / "m.onnx"
    given = [("x", FLOAT, [4])]
    expect(build([node("Flub", ["x"], ["a"]), node("Blub", ["a"], ["y"])], given, ["y"]), path, ValueError,
           "the ops 'Blub' and 'Flub' cannot be run")  # fmt: skip
    expect(build([node("Neg", ["y"], ["x2"]), node("Neg", ["x2"], ["y"])], given, ["y"]), path, ValueError,
           "which nothing before it makes")  # fmt: skip
    expect(build([node("Neg", ["x"], ["a"])], given, ["y"]), path, ValueError, "no tensor 'y'")
    expect(build([node("Split", ["x"], ["y", "b"], axis=7)], given, ["y"]), path, ValueError, "no axis 7")
    expect(build([node("Neg", [], ["y"])], given, ["y"]), path, ValueError, r"Node 'y' \(Neg\)")
    expect(build([node("Reshape", ["x", "s"], ["y"])], given, ["y"], {"s": np.int64([3, -1])}), path, ValueError, "y")
    expect(build([node("Conv", ["x", "w"], ["y"])], given, ["y"], {"w": floats(1, 1, 3, 3)}), path, ValueError,
           "does not fit")  # fmt: skip
    strings = helper.make_node("Identity", ["x"], ["y"])
    expect(build([strings], [("x", TensorProto.STRING, [1])], ["y"]), path, FileFormatError, "no tensor of numbers")


def test_large_shapes_are_not_made_while_a_file_is_read(tmp_path):
    huge = np.int64([2**20, 2**20])
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["a"]),
        helper.make_node("Expand", ["x", "s"], ["b"]),
        helper.make_node("Range", ["from", "to", "by"], ["c"]),
        helper.make_node("Tile", ["b", "r"], ["d"]),
        helper.make_node("Add", ["a", "d"], ["e"]),
        helper.make_node("ReduceSum", ["e"], ["y"]),
    ]
    weights = {"s": huge, "r": np.int64([1, 1]), "from": np.int64(0), "to": np.int64(2**40), "by": np.int64(1)}
    onnx.save(build(nodes, [("x", FLOAT, [1])], ["y"], weights), tmp_path / "m.onnx")
    assert load_frozen(tmp_path / "m.onnx").to_graph().outputs[0].elements == 1


def test_mutated_files_give_an_error_or_a_graph(tmp_path):
    weights = {"w": floats(4, 3), "s": np.int64([2, -1])}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "s"], ["b"]),
        helper.make_node("Softmax", ["b"], ["y"], axis=1),
    ]
    data = build(nodes, [("x", FLOAT, [2, 4])], ["y"], weights).SerializeToString()
    generator, path = np.random.default_rng(5), tmp_path / "m.onnx"
    graphs = 0
    for _ in range(150):
        mutated = bytearray(data)
        for place in generator.integers(0, len(data), generator.integers(1, 4)):
            mutated[place] = generator.integers(0, 256)
        path.write_bytes(bytes(mutated))
        try:
            load_onnx(path).to_graph()
            graphs += 1
        except ValueError:
            pass
    assert 0 < graphs < 150
