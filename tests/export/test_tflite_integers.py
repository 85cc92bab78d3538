"""TFLite files of integers: 16x8, layers in other precisions, calibration, sizes."""

import numpy as np
import pytest

import lamina
from lamina import Input, Model, Sequential, export, layers, load_frozen, ops
from lamina.export.tflite.flatbuffer import Reader
from lamina.export.tflite.schema import OPERATORS, TYPES
from lamina.export.tflite.tensors import INT16, of_range
from lamina.export.tflite.versions import min_runtime_version

RNG = np.random.default_rng(5)
NUMBERS = {number: dtype.name for dtype, number in TYPES.items()}


def floats(*shape):
    return RNG.normal(size=shape).astype("float32")


def image_model():
    lamina.utils.set_random_seed(0)
    x = inputs = Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu6", name="depthwise")(x)
    x = layers.Flatten()(layers.AveragePooling2D()(layers.Add()([x, y])))
    return Model(inputs, layers.Dense(4, "softmax", name="head")(layers.Dense(16, "relu", name="body")(x)))


def written(tmp_path, fn, specs=None, **options):
    path = tmp_path / "m.tflite"
    return path, export.save(fn, specs, path, format="tflite", **options)


def graph_of(path):
    model, names = Reader(path.read_bytes()).root("Model"), {number: name for name, (number, _) in OPERATORS.items()}
    codes = [(names[c["builtin_code"]], c["version"]) for c in model["operator_codes"]]
    return model["subgraphs"][0], codes


def operators(path):
    graph, codes = graph_of(path)
    return [codes[o["opcode_index"]] for o in graph["operators"]]


def types(path, number):
    """The dtypes of what an operator takes and gives."""
    graph, _ = graph_of(path)
    node = graph["operators"][number]
    return [NUMBERS[graph["tensors"][i]["type"]] for i in (*node["inputs"], *node["outputs"])]


def test_16x8_has_symmetric_activations_small_weights_and_wide_biases(tmp_path):
    net, x = image_model(), floats(16, 8, 8, 3)
    path, report = written(tmp_path, net, precision="int16x8", representative_data=x)
    assert report.precision == "int16x8" and not report.fallbacks
    assert operators(path) == [
        ("QUANTIZE", 2), ("CONV_2D", 4), ("DEPTHWISE_CONV_2D", 5), ("ADD", 3), ("AVERAGE_POOL_2D", 3), ("RESHAPE", 1),
        ("FULLY_CONNECTED", 7), ("FULLY_CONNECTED", 7), ("SOFTMAX", 3), ("DEQUANTIZE", 3),
    ]  # fmt: skip
    for number in (1, 2, 6, 7):
        assert types(path, number) == ["int16", "int8", "int64", "int16"]
    graph, codes = graph_of(path)
    for tensor in graph["tensors"]:
        assert not any(tensor.get("quantization", {}).get("zero_point", []))
    softmax = graph["tensors"][graph["operators"][8]["outputs"][0]]["quantization"]
    assert softmax["scale"] == [1 / 32768]
    assert graph["operators"][3]["builtin_options"][1]["pot_scale_int16"] == 0
    assert min_runtime_version(codes) == "2.4.0"
    np.testing.assert_allclose(load_frozen(path)(x), net(x), atol=0.01)


def test_16x8_is_nearer_than_int8_where_activations_are_what_counts(tmp_path):
    fn = lambda x: ops.tanh(x * 3.0) + ops.sigmoid(x)  # noqa: E731
    x = floats(64, 9)
    errors = {}
    for precision in ("int8", "int16x8"):
        path, _ = written(tmp_path, fn, [(None, 9)], precision=precision, representative_data=x)
        errors[precision] = np.max(np.abs(load_frozen(path)(x) - np.asarray(fn(x))))
    assert errors["int16x8"] < errors["int8"] / 50 and errors["int16x8"] < 1e-3


def test_ops_without_a_16x8_kernel_stay_floats_and_are_reported(tmp_path):
    fn = lambda x: ops.relu(ops.log_softmax(x * 2.0))  # noqa: E731
    path, report = written(tmp_path, fn, [(None, 4)], precision="int16x8", representative_data=floats(8, 4))
    assert [op for _, op, _ in report.fallbacks] == ["LogSoftmax"]
    assert [op for op, _ in operators(path)] == [
        "QUANTIZE", "MUL", "DEQUANTIZE", "LOG_SOFTMAX", "QUANTIZE", "RELU", "DEQUANTIZE"
    ]  # fmt: skip


def test_activation_of_a_transposed_convolution_is_kept_where_the_range_is_symmetric(tmp_path):
    lamina.utils.set_random_seed(1)
    net = Sequential([Input((4, 4, 2)), layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="relu")])
    x = floats(4, 4, 4, 2)
    path, _ = written(tmp_path, net, precision="int16x8", representative_data=x)
    np.testing.assert_allclose(load_frozen(path)(x), net(x), atol=0.03)


def test_int16_inputs_and_outputs(tmp_path):
    net, x = image_model(), floats(8, 8, 8, 3)
    path, _ = written(
        tmp_path, net, precision="int16x8", representative_data=x, input_type="int16", output_type="int16"
    )
    quant = of_range(x.min(), x.max(), INT16)
    got = load_frozen(path)(quant.store(x))
    assert got.dtype == np.int16 and operators(path)[0][0] == "CONV_2D"
    np.testing.assert_allclose(got / 32768, net(x), atol=0.01)


@pytest.mark.parametrize(
    "precision, chosen, expected",
    [
        ("int8", {"stem": "int16x8"}, ["QUANTIZE", "CONV_2D", "QUANTIZE", "DEPTHWISE_CONV_2D"]),
        ("int16x8", {"stem": "int8"}, ["QUANTIZE", "CONV_2D", "QUANTIZE", "DEPTHWISE_CONV_2D"]),
        ("int8", {"depth*": "float32"}, ["QUANTIZE", "CONV_2D", "DEQUANTIZE", "DEPTHWISE_CONV_2D", "QUANTIZE"]),
    ],
)
def test_layers_can_have_a_precision_of_their_own(precision, chosen, expected, tmp_path):
    net, x = image_model(), floats(8, 8, 8, 3)
    path, report = written(tmp_path, net, precision=precision, representative_data=x, layer_precision=chosen)
    assert [op for op, _ in operators(path)][: len(expected)] == expected
    weights = types(path, expected.index("DEPTHWISE_CONV_2D"))
    own = "float32" if "depth*" in chosen else {"int8": "int8", "int16x8": "int16"}[precision]
    assert weights[0] == weights[-1] == own
    assert {p for p, _, _ in report.fallbacks} == ({"depthwise"} if own == "float32" else set())
    np.testing.assert_allclose(load_frozen(path)(x), net(x), atol=0.03)


def test_the_last_pattern_that_fits_counts(tmp_path):
    net, x = image_model(), floats(8, 8, 8, 3)
    chosen = {"*": "float32", "stem": "int8"}
    path, report = written(tmp_path, net, precision="int16x8", representative_data=x, layer_precision=chosen)
    assert [op for op, _ in operators(path)][:3] == ["QUANTIZE", "CONV_2D", "DEQUANTIZE"]
    assert {"head", "body", "depthwise"} <= {p for p, _, _ in report.fallbacks}


def test_float_layers_takes_patterns(tmp_path):
    net, x = image_model(), floats(8, 8, 8, 3)
    _, report = written(tmp_path, net, precision="int8", representative_data=x, float_layers=["bod?", "head"])
    assert {p for p, _, _ in report.fallbacks} == {"body", "head"}


def test_calibration_clips_an_outlier(tmp_path):
    x = floats(4000, 4)
    x[0, 0] = 300.0
    errors = {}
    for method in ("minmax", "percentile", "mse"):
        path, _ = written(
            tmp_path, lambda x: x * 1.0, [(None, 4)], precision="int8", representative_data=x, calibration=method,
            percentile=99.9,
        )  # fmt: skip
        errors[method] = np.sqrt(np.mean((load_frozen(path)(x[1:]) - x[1:]) ** 2))
    assert errors["percentile"] < errors["minmax"] / 10


def test_channels_cost_little(tmp_path):
    """Scales, zero points and biases of many channels, in a net that is a million weights wide and deep."""
    net = Sequential([Input((4, 4, 16)), *(layers.Conv2D(512, 1, activation="relu6") for _ in range(5))])
    _, whole = written(tmp_path, net)
    _, small = written(tmp_path, net, precision="int8", representative_data=floats(2, 4, 4, 16))
    assert whole.parameters > 1e6 and small.bytes <= 0.27 * whole.bytes


@pytest.mark.parametrize(
    "options, message",
    [
        ({"precision": "int16x8"}, "representative_data go together"),
        ({"precision": "int8", "input_type": "int16"}, "input_type='int16' needs precision='int16x8'"),
        ({"float_layers": ["stem"]}, "need precision='int8' or 'int16x8'"),
        ({"precision": "int8", "layer_precision": {"stem": "float16"}}, "layer_precision.*must be"),
        ({"precision": "int8", "layer_precision": {"stm": "float32"}}, "'stm', which is no layer. Did you mean 'stem'"),
        ({"precision": "int8", "float_layers": ["conv*"]}, "'conv.*', which fits no layer"),
        ({"precision": "int8", "float_layers": "stem"}, "must be a list of paths, got the text 'stem'"),
        ({"precision": "int8", "calibration": "entropy"}, "calibration must be"),
        ({"precision": "int8", "calibration": "percentile", "percentile": 3}, "percentile must be from 50 to 100"),
    ],
)
def test_wrong_options_are_errors(options, message, tmp_path):
    if "representative" not in message:
        options = {**options, **({"representative_data": floats(2, 8, 8, 3)} if "precision" in options else {})}
    with pytest.raises(ValueError, match=message):
        written(tmp_path, image_model(), **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["float32", "int8", "int16x8"])
def test_products_of_more_axes_are_one_operator_with_bias_and_activation(precision, tmp_path):
    net = Sequential([Input((6, 5)), layers.Dense(7, "relu"), layers.Dense(3)])
    x = floats(4, 6, 5)
    options = {} if precision == "float32" else {"representative_data": x}
    path, report = written(tmp_path, net, precision=precision, **options)
    names = [op for op, _ in operators(path) if "QUANTIZE" not in op]
    assert names == ["FULLY_CONNECTED"] * 2 and not report.fallbacks
    version = {"float32": 5, "int8": 5, "int16x8": 7}[precision]
    assert ("FULLY_CONNECTED", version) in operators(path)
    np.testing.assert_allclose(load_frozen(path)(x), net(x), atol=1e-5 if precision == "float32" else 0.05)
