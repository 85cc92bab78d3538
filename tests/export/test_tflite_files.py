"""TFLite files: their bytes, precisions, signatures, sizes that are not known, and errors."""

import numpy as np
import pytest

import lamina
from lamina import Input, Model, Sequential, export, layers, load_frozen
from lamina.export.rules import ExportError
from lamina.export.tflite.flatbuffer import Reader, pack
from lamina.export.tflite.schema import OPERATORS, TABLES
from lamina.export.tflite.versions import min_runtime_version
from lamina.wire.errors import DataLossError

RNG = np.random.default_rng(3)


def floats(*shape):
    return RNG.normal(size=shape).astype("float32")


def image_model():
    lamina.utils.set_random_seed(0)
    x = inputs = Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Add()([x, layers.ReLU()(layers.DepthwiseConv2D(3, padding="same")(x))])
    x = layers.Flatten()(layers.MaxPooling2D()(x))
    return Model(inputs, layers.Dense(4, "softmax", name="head")(layers.Dense(64, "relu")(x)))


def model_of(path):
    return Reader(path.read_bytes()).root("Model")


def operators(path):
    """(name, version) of the operators of a file, in order."""
    model, names = model_of(path), {number: name for name, (number, _) in OPERATORS.items()}
    codes = [(names[c["builtin_code"]], c["version"]) for c in model["operator_codes"]]
    return [codes[o["opcode_index"]] for o in model["subgraphs"][0]["operators"]]


def written(tmp_path, fn, specs=None, name="m.tflite", **options):
    path = tmp_path / name
    return path, export.save(fn, specs, path, format="tflite", **options)


def test_model_is_folded_and_fused_and_equals_eager_at_any_batch(tmp_path):
    net = image_model()
    path, report = written(tmp_path, net)
    names = [op for op, _ in operators(path)]
    assert names == [
        "CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "FULLY_CONNECTED", "SOFTMAX"
    ]  # fmt: skip
    assert report.ops["CONV_2D"] == 1 and report.signatures == {"serving_default": (["image"], ["output_0"])}
    loaded = load_frozen(path)
    for batch in (1, 5):
        x = floats(batch, 8, 8, 3)
        np.testing.assert_allclose(loaded(x), net(x), rtol=1e-5, atol=1e-6)


def test_bytes_are_aligned_and_the_same_each_time(tmp_path):
    net = image_model()
    path, _ = written(tmp_path, net)
    again, _ = written(tmp_path, net, name="again.tflite")
    data = path.read_bytes()
    assert data == again.read_bytes() and data[4:8] == b"TFL3"
    base = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    buffers = [b["data"] for b in Reader(data).root("Model")["buffers"] if "data" in b]
    assert len(buffers) > 6
    assert all((b.__array_interface__["data"][0] - base) % 16 == 0 for b in buffers)


def test_file_says_what_runtimes_look_for(tmp_path):
    path, _ = written(tmp_path, image_model())
    model = model_of(path)
    tensors = model["subgraphs"][0]["tensors"]
    image = tensors[model["subgraphs"][0]["inputs"][0]]
    assert image["name"] == "image" and image["shape"] == [1, 8, 8, 3] and image["shape_signature"] == [-1, 8, 8, 3]
    assert model["version"] == 3 and model["buffers"][0] == {} and model["metadata"][0]["name"] == "min_runtime_version"
    version = model["buffers"][model["metadata"][0]["buffer"]]["data"].tobytes()
    assert len(version) == 16 and version.rstrip(b"\0") == b"1.5.0"


@pytest.mark.parametrize(
    "precision, tolerance, version",
    [("float32", 1e-6, "1.5.0"), ("float16", 1e-3, "1.15.0"), ("dynamic", 0.03, "2.17.0"), ("int8", 0.05, "1.14.0")],
)
def test_precisions(precision, tolerance, version, tmp_path):
    net, x = image_model(), floats(16, 8, 8, 3)
    options = {"representative_data": [floats(32, 8, 8, 3)]} if precision == "int8" else {}
    path, report = written(tmp_path, net, precision=precision, **options)
    assert report.precision == precision and not report.fallbacks
    np.testing.assert_allclose(load_frozen(path)(x), net(x), atol=tolerance)
    model = model_of(path)
    found = model["buffers"][model["metadata"][0]["buffer"]]["data"].tobytes().rstrip(b"\0").decode()
    assert found == version


def test_int8_versions_and_scales(tmp_path):
    path, _ = written(tmp_path, image_model(), precision="int8", representative_data=[floats(32, 8, 8, 3)])
    assert operators(path) == [
        ("QUANTIZE", 1), ("CONV_2D", 3), ("DEPTHWISE_CONV_2D", 3), ("ADD", 2), ("MAX_POOL_2D", 2), ("RESHAPE", 1),
        ("FULLY_CONNECTED", 4), ("FULLY_CONNECTED", 4), ("SOFTMAX", 2), ("DEQUANTIZE", 2),
    ]  # fmt: skip
    graph = model_of(path)["subgraphs"][0]
    tensors, nodes = graph["tensors"], graph["operators"]

    def quant(node, place):
        return tensors[nodes[node]["inputs"][place]]["quantization"]

    for node, axis, channels in ((1, 0, 8), (2, 3, 8), (6, 0, 64)):
        kernel, bias, x = quant(node, 1), quant(node, 2), quant(node, 0)
        assert (
            kernel["quantized_dimension"] == axis and len(kernel["scale"]) == channels and not any(kernel["zero_point"])
        )
        np.testing.assert_allclose(bias["scale"], np.multiply(kernel["scale"], x["scale"][0]), rtol=1e-6)
        assert tensors[nodes[node]["inputs"][2]]["type"] == 2
    softmax = tensors[nodes[8]["outputs"][0]]["quantization"]
    assert softmax["scale"] == [1 / 256] and softmax["zero_point"] == [-128]
    pool = [tensors[i]["quantization"] for i in (*nodes[4]["inputs"], *nodes[4]["outputs"])]
    assert pool[0] == pool[1]


def test_int8_inputs_and_outputs(tmp_path):
    net, x = image_model(), floats(8, 8, 8, 3)
    path, _ = written(
        tmp_path, net, precision="int8", representative_data=[x], input_type="int8", output_type="int8"
    )  # fmt: skip
    graph = model_of(path)["subgraphs"][0]
    entry, last = graph["tensors"][graph["inputs"][0]], graph["tensors"][graph["outputs"][0]]
    assert (entry["type"], last["type"]) == (9, 9) and operators(path)[0][0] == "CONV_2D"
    scale, zero = entry["quantization"]["scale"][0], entry["quantization"]["zero_point"][0]
    got = load_frozen(path)(np.clip(np.round(x / scale) + zero, -128, 127).astype("int8"))
    assert got.dtype == np.int8
    np.testing.assert_allclose((got.astype("f4") + 128) / 256, net(x), atol=0.03)


def test_layers_can_stay_floats(tmp_path):
    net = image_model()
    options = {"precision": "int8", "representative_data": [floats(8, 8, 8, 3)]}
    path, report = written(tmp_path, net, float_layers=["head"], **options)
    assert {(path, op) for path, op, _ in report.fallbacks} == {("head", "MatMul"), ("head", "Softmax")}
    with pytest.raises(ValueError, match="names 'haed', which is no layer. Did you mean 'head'"):
        written(tmp_path, net, float_layers=["haed"], **options)


def test_int8_is_a_quarter_of_float32(tmp_path):
    net = Sequential([Input((256,)), layers.Dense(1024, "relu"), layers.Dense(1024)])
    _, whole = written(tmp_path, net)
    _, small = written(tmp_path, net, precision="int8", representative_data=[floats(8, 256)])
    assert whole.parameters > 1e6 and small.bytes <= 0.27 * whole.bytes


def test_masks_stay_floats(tmp_path):
    mask = np.where(np.tril(np.ones((4, 4))), 0, -1e9).astype("float32")
    fn = lambda x: lamina.ops.softmax(lamina.ops.matmul(x, lamina.ops.transpose(x, (0, 2, 1))) + mask)  # noqa: E731
    x = floats(3, 4, 5)
    path, _ = written(tmp_path, fn, [(None, 4, 5)], precision="int8", representative_data=[x])
    np.testing.assert_allclose(load_frozen(path)(x), fn(x), atol=0.05)


@pytest.mark.parametrize(
    "layer",
    [
        layers.LSTM(4),
        layers.LSTM(4, go_backwards=True, return_sequences=True),
        layers.GRU(4, go_backwards=True, return_sequences=True),
        layers.Bidirectional(layers.GRU(3)),
    ],
)
def test_recurrent_layers_are_loops_with_their_weights_inside(layer, tmp_path):
    net = Sequential([Input((6, 5)), layer])
    path, report = written(tmp_path, net)
    assert report.ops["WHILE"] >= 1 and report.ops["FULLY_CONNECTED"] >= 2 and not report.ops["BATCH_MATMUL"]
    x = floats(3, 6, 5)
    np.testing.assert_allclose(load_frozen(path)(x), net(x), rtol=1e-5, atol=1e-6)


def test_several_signatures_share_weights(tmp_path):
    dense = layers.Dense(64)
    dense.build((None, 64))
    twice = (lambda x: dense(dense(x)), [(None, 64)])
    path, report = written(tmp_path, dense, [(None, 64)], signatures={"twice": twice})
    x = floats(2, 64)
    loaded = load_frozen(path)
    assert list(loaded.signatures) == ["serving_default", "twice"] and report.bytes < 2 * 64 * 64 * 4
    (got,) = loaded.signatures["twice"](x=x).values()
    np.testing.assert_allclose(got, dense(dense(x)), rtol=1e-5, atol=1e-5)


def test_graph_of_a_file_is_written_again(tmp_path):
    net = image_model()
    path, _ = written(tmp_path, net)
    graph = load_frozen(path).to_graph()
    assert graph.inputs[0].shape == ("batch", 8, 8, 3)
    again, _ = written(tmp_path, graph, name="again.tflite")
    x = floats(2, 8, 8, 3)
    np.testing.assert_allclose(load_frozen(again)(x), net(x), rtol=1e-5, atol=1e-6)


def test_inputs_and_constants_can_be_outputs(tmp_path):
    path, _ = written(tmp_path, lambda x: (x, x * 2.0, np.float32(3.0) + np.zeros(2, "float32")), [(None, 2)])
    x, double, constant = load_frozen(path)([[1.0, 2.0]])
    assert x.tolist() == [[1, 2]] and double.tolist() == [[2, 4]] and constant.tolist() == [3, 3]


def test_all_gaps_are_named_before_a_file_is_written(tmp_path):
    class Bits(layers.Layer):
        def call(self, x):
            return lamina.ops.bitwise_and(x, 3)

    ids = Input((4,), dtype="int32")
    net = Model(ids, Bits(name="second")(Bits(name="first")(ids)))
    with pytest.raises(ExportError, match="2 ops cannot be written") as error:
        written(tmp_path, net)
    assert "first: And: TFLite has no bitwise and" in str(error.value) and "second: And" in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"precision": "int4"}, "precision must be"),
        ({"precision": "int8"}, "representative_data go together"),
        ({"representative_data": [floats(1, 3)]}, "representative_data go together"),
        ({"input_type": "int8"}, "input_type='int8' needs precision='int8'"),
        ({"precision": "int8", "representative_data": []}, "holds no batch"),
        ({"precision": "int8", "representative_data": [np.full((1, 3), np.nan)]}, "infinite or NaN"),
        ({"precision": "int8", "representative_data": [floats(1, 2, 3)]}, "has 2 axes, the representative data 3"),
    ],
)
def test_wrong_options_are_errors(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        written(tmp_path, lambda x: x * 2.0, [(None, 3)], **options)


def test_damaged_files_are_errors(tmp_path):
    path, _ = written(tmp_path, Sequential([Input((3,)), layers.Dense(2)]))
    data = path.read_bytes()
    for wrong in (b"", data[:4] + b"XXXX" + data[8:], data[:200]):
        path.write_bytes(wrong)
        with pytest.raises(DataLossError, match="no TFLite file, or damaged"):
            load_frozen(path)


def test_mutated_files_are_read_or_refused(tmp_path):
    path, _ = written(tmp_path, Sequential([Input((3,)), layers.Dense(2, "relu")]))
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            changed[at] = rng.integers(256)
        path.write_bytes(changed)
        try:
            load_frozen(path)
        except ValueError:
            continue


def test_every_table_is_packed_and_read_again():
    for name, fields in TABLES.items():
        given = {f.name: 1 for f in fields if f.kind in ("i8", "u8", "i32", "u32", "i64", "f32")}
        given.pop("builtin_options_type", None)
        got = Reader(pack(name, given, 0)).root(name)
        assert {k: got[k] for k in given} == given


def test_newest_operator_gives_the_least_runtime():
    assert min_runtime_version([("ADD", 1), ("GELU", 1), ("FULLY_CONNECTED", 12)]) == "2.17.0"
