"""ONNX files of integers: what stands around the ops, precisions by layer, reading back, errors."""

import numpy as np
import pytest

import lamina
from lamina import Input, Model, Sequential, export, layers, load_frozen, ops
from lamina.graph.interpret import call

onnx = pytest.importorskip("onnx")
RNG = np.random.default_rng(7)


def floats(*shape):
    return RNG.normal(size=shape).astype("float32")


IMAGES = floats(1, 8, 8, 3)


def image_model():
    lamina.utils.set_random_seed(0)
    x = inputs = Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu6", name="depthwise")(x)
    x = layers.Flatten()(layers.MaxPooling2D()(layers.Add()([x, y])))
    return Model(inputs, layers.Dense(4, "softmax", name="head")(layers.Dense(16, "relu", name="body")(x)))


class File:
    """A written file: nodes by their outputs, and tensors by name."""

    def __init__(self, path):
        self.model = onnx.load(path)
        self.nodes = list(self.model.graph.node)
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.users = {name: [n for n in self.nodes if name in n.input] for n in self.nodes for name in n.output}
        self.tensors = {t.name: onnx.numpy_helper.to_array(t) for t in self.model.graph.initializer}

    def of(self, *kinds):
        return [n for n in self.nodes if n.op_type in kinds]

    def dequantized(self, name):
        """Integers, scale and zero point behind the DequantizeLinear that makes a tensor."""
        node = self.makers[name]
        assert node.op_type == "DequantizeLinear"
        return node, *(self.tensors.get(i) for i in node.input)


def written(tmp_path, fn, specs=None, **options):
    path = tmp_path / "m.onnx"
    return path, export.save(fn, specs, path, format="onnx", **options)


WIDE = {"precision": "int16x8", "opset": 21}


@pytest.mark.parametrize(
    "options, dtype",
    [
        ({}, "uint8"),
        ({"activation_type": "int8"}, "int8"),
        (WIDE, "uint16"),
        ({**WIDE, "activation_type": "int16"}, "int16"),
    ],
)
def test_each_product_stands_between_integers(options, dtype, tmp_path):
    net, x = image_model(), floats(16, 8, 8, 3)
    path, report = written(tmp_path, net, **{"precision": "int8", **options}, representative_data=x)
    file = File(path)
    assert report.precision == options.get("precision", "int8") and not report.fallbacks
    products = file.of("Conv", "Gemm")
    assert [n.op_type for n in products] == ["Conv", "Conv", "Gemm", "Gemm"] and not file.of("Relu", "Clip", "MatMul")
    for node in products:
        _, _, scale, zero = file.dequantized(node.input[0])
        assert zero.dtype == dtype and zero.shape == ()
        weights, kernel, steps, zeros = file.dequantized(node.input[1])
        axis = next(a.i for a in weights.attribute if a.name == "axis")
        assert kernel.dtype == np.int8 and kernel.min() >= -127 and not zeros.any() and zeros.dtype == np.int8
        assert steps.shape == (kernel.shape[axis],)
        bias, number, bias_steps, _ = file.dequantized(node.input[2])
        assert number.dtype == np.int32
        np.testing.assert_allclose(bias_steps, steps * scale, rtol=1e-6)
        assert [n.op_type for n in file.users[node.output[0]]] == ["QuantizeLinear"]
    np.testing.assert_allclose(load_frozen(path)(x), net(x), atol=0.03)


def test_activations_become_the_limits_of_the_integers(tmp_path):
    """Relu and Relu6 are left out: numbers below the least integer, and above the greatest, are cut off there."""
    fn = lambda x, y: ops.relu6(x + y)  # noqa: E731
    x, y = floats(64, 4) * 4, floats(64, 4) * 4
    path, _ = written(
        tmp_path, fn, [(None, 4), (None, 4)], precision="int8", representative_data=[(x, y)]
    )  # fmt: skip
    file = File(path)
    (node,) = file.of("Add")
    (after,) = file.users[node.output[0]]
    scale, zero = (file.tensors[i] for i in after.input[1:])
    assert not file.of("Clip") and zero == 0 and scale == pytest.approx(6 / 255)
    np.testing.assert_allclose(load_frozen(path)(x, y), fn(x, y), atol=0.15)


def test_softmax_has_the_scale_that_kernels_take(tmp_path):
    path, _ = written(tmp_path, ops.softmax, [(None, 9)], precision="int8", representative_data=floats(8, 9))
    file = File(path)
    (node,) = file.users[file.of("Softmax")[0].output[0]]
    assert file.tensors[node.input[1]] == np.float32(1 / 256) and file.tensors[node.input[2]] == 0


def test_products_of_more_axes_keep_their_int32_bias(tmp_path):
    net = Sequential([Input((6, 5)), layers.Dense(7, "relu"), layers.Dense(3)])
    x = floats(8, 6, 5)
    path, report = written(tmp_path, net, precision="int8", representative_data=x)
    file = File(path)
    assert len(file.of("Gemm")) == 2 and not report.fallbacks
    assert all(file.dequantized(n.input[2])[1].dtype == np.int32 for n in file.of("Gemm"))
    for batch in (1, 3):
        np.testing.assert_allclose(load_frozen(path)(x[:batch]), net(x[:batch]), atol=0.05)


@pytest.mark.parametrize(
    "layer, shape",
    [
        (layers.Conv1D(4, 3, padding="causal"), (9, 3)),
        (layers.Conv2D(8, 3, groups=2, strides=2, padding="same"), (8, 8, 4)),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu"), (8, 8, 3)),
        (layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu"), (5, 5, 3)),
        (layers.Conv2DTranspose(4, 2, strides=3, padding="same"), (5, 5, 3)),
        (layers.Conv3D(3, 2), (4, 4, 4, 2)),
        (layers.UpSampling2D(2), (4, 4, 2)),
        (layers.MultiHeadAttention(2, 4), None),
    ],
)
def test_layers_agree_with_eager(layer, shape, tmp_path):
    lamina.utils.set_random_seed(2)
    if shape is None:
        inputs = Input((6, 8))
        net = Model(inputs, layer(inputs, inputs))
    else:
        net = Sequential([Input(shape), layer])
    x = floats(8, *net.inputs[0].shape[1:])
    for precision, opset, tolerance in (("int8", 17, 0.05), ("int16x8", 21, 0.02)):
        path, _ = written(tmp_path, net, precision=precision, opset=opset, representative_data=x)
        want = np.asarray(net(x))
        np.testing.assert_allclose(load_frozen(path)(x), want, atol=tolerance * np.abs(want).max())


def test_tables_of_embeddings_are_small(tmp_path):
    ids = Input((9,), dtype="int32", name="ids")
    net = Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.Embedding(2000, 16)(ids))))
    given = RNG.integers(0, 2000, (64, 9)).astype("int32")
    path, report = written(tmp_path, net, precision="int8", representative_data=given)
    assert report.bytes < 2000 * 16 * 1.2
    np.testing.assert_allclose(load_frozen(path)(given), net(given), atol=2e-3)


def test_layers_can_stay_floats_or_have_more_bits(tmp_path):
    net, x = image_model(), floats(8, 8, 8, 3)
    path, report = written(tmp_path, net, precision="int8", representative_data=x, float_layers=["he*"])
    assert {(p, op) for p, op, _ in report.fallbacks} == {("head", "MatMul"), ("head", "Add"), ("head", "Softmax")}
    assert [n.op_type for n in File(path).of("MatMul", "Gemm")] == ["Gemm", "MatMul"]
    chosen = {"head": "int16x8"}
    path, _ = written(tmp_path, net, precision="int8", opset=21, representative_data=x, layer_precision=chosen)
    file = File(path)
    (after,) = file.users[file.of("Gemm")[-1].output[0]]
    assert file.tensors[after.input[2]].dtype == np.uint16
    np.testing.assert_allclose(load_frozen(path)(x), net(x), atol=0.03)


def test_ops_without_integers_stay_floats_and_are_reported(tmp_path):
    net = Sequential([Input((6, 4)), layers.Dense(8, "relu"), layers.LSTM(3), layers.Dense(2)])
    path, report = written(tmp_path, net, precision="int8", representative_data=floats(8, 6, 4))
    assert {op for _, op, _ in report.fallbacks} == {"LSTM"}
    assert len(File(path).of("Gemm")) == 2


def test_masks_stay_floats(tmp_path):
    mask = np.where(np.tril(np.ones((4, 4))), 0, -1e9).astype("float32")
    fn = lambda x: ops.softmax(ops.matmul(x, ops.transpose(x, (0, 2, 1))) + mask)  # noqa: E731
    x = floats(3, 4, 5)
    path, _ = written(tmp_path, fn, [(None, 4, 5)], precision="int8", representative_data=x)
    np.testing.assert_allclose(load_frozen(path)(x), fn(x), atol=0.05)


def test_int8_is_a_quarter_of_float32(tmp_path):
    net = Sequential([Input((256,)), layers.Dense(1024, "relu"), layers.Dense(1024)])
    _, whole = written(tmp_path, net)
    _, small = written(tmp_path, net, precision="int8", representative_data=floats(8, 256))
    assert whole.parameters > 1e6 and small.bytes <= 0.27 * whole.bytes


def test_weights_can_lie_in_another_file(tmp_path):
    net, x = image_model(), floats(8, 8, 8, 3)
    path, _ = written(tmp_path, net, precision="int8", representative_data=x, external_data=True)
    assert (tmp_path / "m.onnx.data").exists()
    np.testing.assert_allclose(load_frozen(path)(x), net(x), atol=0.03)


@pytest.mark.slow
def test_a_file_of_integers_becomes_a_graph_again(tmp_path):
    net, x = image_model(), floats(8, 8, 8, 3)
    path, _ = written(tmp_path, net, precision="int8", representative_data=x)
    loaded = load_frozen(path)
    (got,) = call(loaded.to_graph(), x)
    np.testing.assert_allclose(got, loaded(x), atol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"precision": "int8"}, "representative_data go together"),
        ({"representative_data": IMAGES}, "representative_data go together"),
        ({"precision": "int16x8", "representative_data": IMAGES}, "known from opset=21 on, got opset=17"),
        ({"activation_type": "uint8"}, "need precision='int8' or 'int16x8'"),
        ({"precision": "int8", "activation_type": "int16", "representative_data": IMAGES}, "activation_type"),
        ({"precision": "int8", "float_layers": ["haed"], "representative_data": IMAGES}, "Did you mean 'head'"),
        ({"precision": "int4"}, "precision must be"),
    ],
)
def test_wrong_options_are_errors(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        written(tmp_path, image_model(), **options)
    assert not list(tmp_path.iterdir())
