"""ONNX files: names, layouts, weights beside the model, precision, errors."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lamina
from lamina import Input, Model, Sequential, export, layers, load_frozen
from lamina.export import ExportError, ExportReport, register_rule
from lamina.export.onnx import tensors
from lamina.export.rules import TARGETS
from lamina.ops.op import op


def small_cnn() -> Model:
    stack = [
        layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu6"),
        layers.MaxPooling2D(),
        layers.Conv2D(4, 1, activation="silu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(5, name="head"),
    ]
    return Sequential([Input((16, 16, 3), name="image"), *stack])


def write(fn, specs, path, **options) -> ExportReport:
    return export.save(fn, specs, path, format="onnx", **options)


def initializers(path) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def test_file_of_a_model(tmp_path):
    model = small_cnn()
    report = model.export(tmp_path / "m.onnx", format="onnx", metadata={"author": "me"})
    file = onnx.load(tmp_path / "m.onnx")
    assert file.ir_version == 8 and [(o.domain, o.version) for o in file.opset_import] == [("", 17)]
    assert file.producer_name == "lamina"
    assert {p.key: p.value for p in file.metadata_props} == {
        "author": "me", "precision": "float32", "signature": "serving_default",
    }  # fmt: skip
    (given,), (made,) = file.graph.input, file.graph.output
    assert given.name == "image" and made.name == "output_0"
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (given, made)]
    assert shapes == [["batch", 16, 16, 3], ["batch", 5]]
    assert {n.name.split("/")[0] for n in file.graph.node} <= {layer.name for layer in model.layers}
    np.testing.assert_array_equal(initializers(tmp_path / "m.onnx")["head/kernel"], model.layers[-1].kernel)
    assert report.format == "onnx" and report.bytes == (tmp_path / "m.onnx").stat().st_size
    assert report.signatures == {"serving_default": (["image"], ["output_0"])}
    assert report.ops["Conv"] == 3 and report.ops["BatchNormalization"] == 0 and report.ops["Transpose"] == 1


def test_without_passes_nothing_is_joined(tmp_path):
    report = write(small_cnn(), None, tmp_path / "m.onnx", optimize=False)
    assert report.ops["BatchNormalization"] == 1 and report.ops["Transpose"] == 1
    kernel = initializers(tmp_path / "m.onnx")["stem/kernel"]
    assert kernel.shape == (8, 3, 3, 3)


def test_weights_of_channels_are_reshaped_not_transposed(tmp_path):
    image = Input((8, 8, 4), name="image")
    x = layers.Conv2D(4, 3)(image)
    gate = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Conv2D(4, 1, activation="sigmoid")(gate)
    model = Model(image, layers.GlobalMaxPooling2D()(x * gate))
    assert write(model, None, tmp_path / "m.onnx").ops["Transpose"] == 1
    given = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    np.testing.assert_allclose(load_frozen(tmp_path / "m.onnx")(given), model(given), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 5])
def test_read_model_gives_what_the_model_gives(batch, tmp_path):
    model = small_cnn()
    x = np.random.default_rng(0).normal(size=(batch, 16, 16, 3)).astype("float32")
    write(model, None, tmp_path / "m.onnx")
    np.testing.assert_allclose(load_frozen(tmp_path / "m.onnx")(x), model(x, training=False), rtol=1e-5, atol=1e-6)


def test_written_again_from_what_was_read_it_has_no_more_transposes(tmp_path):
    """Channels-first code becomes a graph with channels last, and the transposes cancel."""
    write(small_cnn(), None, tmp_path / "m.onnx")
    graph = load_frozen(tmp_path / "m.onnx").to_graph()
    assert graph.inputs[0].shape == ("batch", 16, 16, 3) and "DepthwiseConv" in [i.op for i in graph.instrs]
    report = write(graph, None, tmp_path / "again.onnx")
    assert report.ops["Transpose"] == 1


def test_residual_and_joined_branches_stay_channels_first(tmp_path):
    image = Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same")(image)
    y = layers.Conv2D(4, 3, padding="same", activation="tanh")(x)
    joined = layers.Concatenate()([layers.Add()([x, y]), layers.ZeroPadding2D(0)(x)])
    last = layers.Conv2DTranspose(3, 2, 2)(layers.Softmax()(layers.Cropping2D(((1, 0), (0, 2)))(joined)))
    report = write(Model(image, last), None, tmp_path / "m.onnx")
    assert report.ops["Transpose"] == 2  # at the edges
    model = Sequential([Input((3, 8, 8)), layers.Conv2D(4, 3, data_format="channels_first")])
    assert write(model, None, tmp_path / "first.onnx").ops["Transpose"] == 0


def test_same_bytes_each_time(tmp_path):
    model = small_cnn()
    for name in "ab":
        write(model, None, tmp_path / f"{name}.onnx", metadata={"z": "1", "b": "2"})
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("opset", [13, 14, 15, 16, 18, 19, 20, 21])
def test_other_versions(opset, tmp_path):
    x = Input((4, 6), name="x")
    y = layers.Dense(6, "gelu")(layers.LayerNormalization()(layers.LSTM(6, return_sequences=True)(x)))
    model = Model(x, layers.Activation("hard_swish")(y) - lamina.ops.mean(y, -1, keepdims=True))
    write(model, None, tmp_path / "m.onnx", opset=opset)
    file = onnx.load(tmp_path / "m.onnx")
    wanted = onnx.helper.find_min_ir_version_for(file.opset_import)
    assert file.opset_import[0].version == opset and file.ir_version == wanted
    given = np.random.default_rng(1).normal(size=(3, 4, 6)).astype("float32")
    np.testing.assert_allclose(load_frozen(tmp_path / "m.onnx")(given), model(given), rtol=1e-5, atol=1e-6)


def test_op_that_needs_a_later_version(tmp_path):
    specs = [lamina.KerasTensor((4,), "int32")] * 2
    with pytest.raises(ExportError, match="And: BitwiseAnd of ONNX needs opset=18 or later, this file has 17"):
        write(lambda x, y: x & y, specs, tmp_path / "m.onnx")
    assert write(lambda x, y: x & y, specs, tmp_path / "m.onnx", opset=18).ops["BitwiseAnd"] == 1


def kinds(path) -> dict[str, int]:
    """The element types of all tensors that a file has, by name."""
    file = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
    found = {v.name: v.type.tensor_type.elem_type for v in [*file.graph.input, *file.graph.value_info]}
    return found | {t.name: t.data_type for t in file.graph.initializer}


def cast_chains(path) -> list[str]:
    """Casts of what another Cast makes."""
    nodes = onnx.load(path).graph.node
    cast = {n.output[0] for n in nodes if n.op_type == "Cast"}
    return [n.name for n in nodes if n.op_type == "Cast" and n.input[0] in cast]


HALF, SINGLE = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


def test_half_precision(tmp_path):
    model = small_cnn()
    report = write(model, None, tmp_path / "m.onnx", precision="float16")
    file = onnx.load(tmp_path / "m.onnx")
    assert report.precision == "float16"
    assert {t.data_type for t in file.graph.initializer if len(t.dims) > 1} == {HALF}
    ends = {v.type.tensor_type.elem_type for v in [*file.graph.input, *file.graph.output]}
    assert ends == {SINGLE}
    made = kinds(tmp_path / "m.onnx")
    convolutions = [n for n in file.graph.node if n.op_type in ("Conv", "MatMul")]
    assert {made[name] for n in convolutions for name in n.input} == {HALF}
    assert [made[n.input[0]] for n in file.graph.node if n.op_type == "ReduceMean"] == [SINGLE]
    assert ("global_average_pooling2d", "ReduceMean", "float32: a sum of many terms") in report.fallbacks
    assert not cast_chains(tmp_path / "m.onnx")
    x = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype("float32")
    want = np.asarray(model(x))
    np.testing.assert_allclose(load_frozen(tmp_path / "m.onnx")(x), want, atol=5e-3 * np.abs(want).max())


def test_half_precision_throughout(tmp_path):
    report = write(small_cnn(), None, tmp_path / "m.onnx", precision="float16", float32_ops=())
    nodes, made = onnx.load(tmp_path / "m.onnx").graph.node, kinds(tmp_path / "m.onnx")
    assert report.ops["Cast"] == 2 and not report.fallbacks
    assert {made[n.input[0]] for n in nodes if n.op_type == "ReduceMean"} == {HALF}
    with pytest.raises(ValueError, match="float32_ops must be .*got 'Sofmax'"):
        write(small_cnn(), None, tmp_path / "m.onnx", precision="float16", float32_ops=["Sofmax"])


def test_what_float16_cannot_hold_is_computed_in_float32(tmp_path):
    """Squares, sums, exponentials and small variances, though all that goes in and comes out is moderate."""
    import jax.numpy as jnp

    def run(x):
        norm = (x - jnp.mean(x, -1, keepdims=True)) / jnp.sqrt(jnp.var(x, -1, keepdims=True) + 1e-12)
        return norm, jnp.sqrt(jnp.sum(x**2)), jnp.log(jnp.sum(jnp.exp(x / 20))), jnp.cumsum(x, 1)[:, -1] / 4096

    report = write(run, [(2, 4096)], tmp_path / "m.onnx", precision="float16")
    x = np.random.default_rng(0).normal(200, 50, size=(2, 4096)).astype("float16").astype("float32")
    for got, want in zip(load_frozen(tmp_path / "m.onnx")(x), run(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert "Cast" not in report.ops


def test_half_precision_converts_each_value_once(tmp_path):
    """A block of a Transformer: what is added up between its parts is float32, what its products take float16."""
    x = inputs = Input((6, 80))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 40)(y, y)])
        x = layers.Add()([x, layers.Dense(80)(layers.Dense(96, "gelu")(layers.LayerNormalization()(x)))])
    model = Model(inputs, x)
    report = write(model, None, tmp_path / "m.onnx", precision="float16")
    nodes, made = onnx.load(tmp_path / "m.onnx").graph.node, kinds(tmp_path / "m.onnx")
    assert not cast_chains(tmp_path / "m.onnx")
    casts = [(n.input[0], n.attribute[0].i) for n in nodes if n.op_type == "Cast"]
    assert len(casts) == len(set(casts)) <= 24
    for n in nodes:
        if n.op_type in ("LayerNormalization", "Softmax", "MatMul"):
            assert {made[name] for name in n.input} == {HALF if n.op_type == "MatMul" else SINGLE}
    why = {op: how for _, op, how in report.fallbacks}
    assert why == {
        "LayerNorm": "float32: statistics", "Softmax": "float32: a sum of many terms",
        "Add": "float32: stands before what does", "Mul": "float32: stands before what does",
    }  # fmt: skip
    assert report.bytes < 0.56 * write(model, None, tmp_path / "whole.onnx").bytes
    data = np.random.default_rng(0).normal(size=(3, 6, 80)).astype("float32")
    want = np.asarray(model(data))
    np.testing.assert_allclose(load_frozen(tmp_path / "m.onnx")(data), want, atol=1e-3 * np.ptp(want))


def test_half_precision_keeps_large_and_small_numbers_finite(tmp_path):
    import jax.numpy as jnp

    weights = np.float32([[1e9, -1e9, 1e-12, -np.inf]] * 20)
    write(lambda x: jnp.where(x > 0, weights, 0.0), [(20, 4)], tmp_path / "m.onnx", precision="float16")
    got = load_frozen(tmp_path / "m.onnx")(np.ones((20, 4), np.float32))[0]
    np.testing.assert_array_equal(got[:2], [65504, -65504])
    assert 0 < got[2] < 1e-7 and got[3] == -np.inf


def test_half_precision_in_loops(tmp_path):
    """What is carried from round to round stays exact, so that small terms are not lost."""
    import jax

    def run(x):
        return jax.lax.scan(lambda s, row: (s + row, s), x[0] * 0 + 4096, x)

    write(run, [(500, 3)], tmp_path / "m.onnx", precision="float16")
    x = np.random.default_rng(0).uniform(size=(500, 3)).astype("float16").astype("float32")
    (got, rows), (want, every) = load_frozen(tmp_path / "m.onnx")(x), run(x)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(rows, every, rtol=1e-3)


def test_half_precision_in_branches(tmp_path):
    import jax
    import jax.numpy as jnp

    def run(x):
        return jax.lax.cond(x[0] > 0, lambda v: jnp.exp(v), lambda v: v @ (jnp.ones((3, 3)) / 3), x)

    write(run, [(3,)], tmp_path / "m.onnx", precision="float16")
    for sign in (1, -1):
        x = sign * np.float32([1, 2, 3])
        np.testing.assert_allclose(load_frozen(tmp_path / "m.onnx")(x), run(x), rtol=2e-3)


# ---- weights beside the model


def test_external_data(tmp_path):
    model = Sequential([Input((40,), name="x"), layers.Dense(30, name="a"), layers.Dense(20, name="b")])
    report = write(model, None, tmp_path / "m.onnx", external_data=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert report.bytes == sum(p.stat().st_size for p in tmp_path.iterdir())
    held = onnx.load(tmp_path / "m.onnx", load_external_data=False).graph.initializer
    places = {t.name: {e.key: e.value for e in t.external_data} for t in held}
    assert places["a/kernel"] == {"location": "m.onnx.data", "offset": "0", "length": "4800"}
    assert int(places["b/kernel"]["offset"]) % 4096 == 0 and not places["a/bias"]
    np.testing.assert_array_equal(initializers(tmp_path / "m.onnx")["b/kernel"], model.layers[-1].kernel)
    x = np.random.default_rng(0).normal(size=(3, 40)).astype("float32")
    np.testing.assert_allclose(load_frozen(tmp_path / "m.onnx")(x), model(x), rtol=1e-5, atol=1e-6)


def test_external_data_by_itself_where_the_model_is_too_large(tmp_path, monkeypatch):
    model = Sequential([Input((40,)), layers.Dense(30)])
    write(model, None, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx.data").exists()
    monkeypatch.setattr("lamina.export.onnx.writer.MOST_BYTES", 1000)
    write(model, None, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx.data").stat().st_size == 4800


def test_nothing_is_left_of_a_failed_write(tmp_path, monkeypatch):
    model = small_cnn()
    write(model, None, tmp_path / "m.onnx", external_data=True)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def refuse(*args, **kwargs):
        raise onnx.checker.ValidationError("no")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    for external in (True, False):
        with pytest.raises(onnx.checker.ValidationError):
            write(Sequential([Input((4,)), layers.Dense(3)]), None, tmp_path / "m.onnx", external_data=external)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


# ---- names


def test_names_of_several_inputs_and_outputs(tmp_path):
    a, b = Input((3,), name="left"), Input((3,), name="right")
    model = Model([a, b], {"sum": layers.Add()([a, b]), "left": a, "dense": layers.Dense(2)(a)})
    report = write(model, None, tmp_path / "m.onnx")
    assert report.signatures["serving_default"] == (["left", "right"], ["dense", "left_1", "sum"])
    assert "'left_1'" in str(report)
    fn = load_frozen(tmp_path / "m.onnx").signatures["serving_default"]
    x = np.ones((2, 3), np.float32)
    out = fn(left=x, right=2 * x)
    np.testing.assert_array_equal(out["sum"], 3 * x)
    np.testing.assert_array_equal(out["left_1"], x)


def test_output_given_twice_and_a_constant_output(tmp_path):
    write(lambda x: (x + 1, x + 1, np.float32([3.0])), [(2,)], tmp_path / "m.onnx")
    one, two, three = load_frozen(tmp_path / "m.onnx")(np.zeros(2, np.float32))
    assert one.tolist() == two.tolist() == [1, 1] and three.tolist() == [3]


# ---- errors


def test_all_gaps_are_told_before_a_file_is_written(tmp_path):
    class Odd(layers.Layer):
        def call(self, x):
            import jax.numpy as jnp

            return jnp.fft.fft(x).real + jnp.linalg.inv(x)

    model = Sequential([Input((4, 4)), Odd(name="odd"), layers.Dense(4), Odd(name="other")])
    with pytest.raises(ExportError) as caught:
        write(model, None, tmp_path / "m.onnx")
    paths = {gap.path for gap in caught.value.gaps}
    assert {"odd", "other"} <= paths and "fft" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_wrong_arguments(tmp_path):
    model = Sequential([Input((4,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="opset must be .*got 9"):
        write(model, None, tmp_path / "m.onnx", opset=9)
    with pytest.raises(ValueError, match="precision must be 'float32', 'float16', .*got 'float8'"):
        write(model, None, tmp_path / "m.onnx", precision="float8")
    with pytest.raises(ValueError, match="holds one signature"):
        write(model, None, tmp_path / "m.onnx", signatures={"more": (lambda x: x, [(2,)])})


def test_package_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'lamina\[onnx\]'"):
        tensors.onnx_package("export to onnx")


# ---- rules of users


@op(named=True)
def bent(x):
    return lamina.ops.softplus(x) * 2.0


def test_registered_rules(tmp_path):
    try:

        @register_rule("onnx", "bent")
        def write_bent(e, instr, x):
            return e.node("Bent", [x], domain="my.ops", strength=2.0)

        graph = lamina.graph.trace(lambda x: bent(x) + 1.0, (None, 3), keep=["bent"])
        report = write(graph, None, tmp_path / "m.onnx")
        assert report.ops["Bent"] == 1
        file = onnx.load(tmp_path / "m.onnx")
        assert ("my.ops", 1) in [(o.domain, o.version) for o in file.opset_import]
        with pytest.raises(ValueError, match="my.ops.Bent"):
            load_frozen(tmp_path / "m.onnx")
    finally:
        TARGETS["onnx"].own.clear()


def test_zeros_before_a_pool_stay_values(tmp_path):
    """ONNX Runtime joins a Pad with the pool behind it, and takes its zeros for padding, never the greatest."""
    images = [Input((6, 6, 2)), layers.Conv2D(3, 3), layers.ZeroPadding2D(1)]
    for name, rest, expected in (("pad", [layers.MaxPooling2D(3, 2)], 1), ("none", [layers.Conv2D(3, 3)], 0)):
        model = Sequential([*images, *rest])
        write(model, None, tmp_path / f"{name}.onnx")
        assert [n.op_type for n in onnx.load(tmp_path / f"{name}.onnx").graph.node].count("Max") == expected
        x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype("float32") - 5
        np.testing.assert_allclose(load_frozen(tmp_path / f"{name}.onnx")(x), model(x), rtol=1e-4, atol=1e-5)
