"""Saving in TensorFlow's formats and StableHLO: signatures, variables, reports, gaps, rules of one's own."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lamina import Input, Model, Sequential, Variable, export, layers, load_frozen, ops
from lamina.checkpoint import load_checkpoint
from lamina.export import ExportError, register_rule
from lamina.graph import trace
from lamina.ops.op import op
from lamina.wire.graph import GraphDef

RNG = np.random.default_rng(11)
FORMATS = {"saved_model": "model", "frozen": "model.pb", "stablehlo": "model"}


def floats(*shape):
    return RNG.standard_normal(shape).astype("float32")


def classifier():
    stack = [
        Input((8, 8, 3), name="image"),
        layers.Conv2D(4, 3, activation="relu", name="stem"),
        layers.BatchNormalization(name="norm"),
        layers.Flatten(),
        layers.Dense(5, "softmax", name="head"),
    ]
    return Sequential(stack)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_answers_as_the_model_at_any_batch(format_, tmp_path):
    model = classifier()
    report = model.export(tmp_path / FORMATS[format_], format=format_)
    loaded = load_frozen(tmp_path / FORMATS[format_])
    for batch in (1, 4):
        x = floats(batch, 8, 8, 3)
        np.testing.assert_allclose(loaded(x), model(x), rtol=2e-5, atol=1e-6)
    assert report.format == format_ and report.bytes > report.parameters * 4
    assert report.signatures == {"serving_default": (["image"], ["output_0"])}
    assert report.precision == "float32" and not report.fallbacks
    if format_ == "saved_model":
        assert report.parameters == model.count_params()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float16"])
def test_half_precision_is_kept(policy, tmp_path):
    stack = [layers.Conv2D(4, 3, activation="relu", dtype=policy), layers.BatchNormalization(dtype=policy)]
    stack += [layers.MaxPooling2D(3, 2, "same", dtype=policy), layers.AveragePooling2D(2, dtype=policy)]
    model = Sequential([Input((8, 8, 3)), *stack, layers.Flatten(), layers.Dense(5, "gelu", dtype=policy)])
    x = floats(2, 8, 8, 3)
    want = np.asarray(model(x))
    for format_, name in FORMATS.items():
        report = model.export(tmp_path / format_ / name if format_ != "frozen" else tmp_path / name, format=format_)
        got = load_frozen(report.path)(x)
        assert got.dtype == want.dtype
        if format_ == "saved_model":  # where variables keep their own dtype
            assert report.precision == ("float16" if policy == "float16" else "float32")
        np.testing.assert_allclose(got.astype("float32"), want.astype("float32"), rtol=2e-2, atol=2e-2)


def test_saved_model_keeps_variables_by_their_paths(tmp_path):
    model = classifier()
    model.export(tmp_path)
    saved = load_checkpoint(tmp_path / "variables" / "variables")
    assert sorted(saved.get_variable_to_shape_map()) == sorted(v.path for v in model.weights)
    np.testing.assert_array_equal(saved.get_tensor("head/kernel"), model.get_layer("head").kernel.value)
    assert sorted(load_frozen(tmp_path).variables) == sorted(v.path for v in model.weights)
    export.save(model, None, tmp_path / "constants", keep_variables=False)
    assert not list((tmp_path / "constants" / "variables").iterdir())
    x = floats(2, 8, 8, 3)
    np.testing.assert_allclose(load_frozen(tmp_path / "constants")(x), model(x), rtol=2e-5, atol=1e-6)


def test_frozen_graph_is_folded_and_can_be_left_as_it_is(tmp_path):
    model = classifier()
    folded = export.save(model, None, tmp_path / "a.pb", "frozen")
    plain = export.save(model, None, tmp_path / "b.pb", "frozen", optimize=False)
    assert "FusedBatchNormV3" in plain.ops and sum(folded.ops.values()) <= sum(plain.ops.values())
    x = floats(2, 8, 8, 3)
    for name in ("a.pb", "b.pb"):
        np.testing.assert_allclose(load_frozen(tmp_path / name)(x), model(x), rtol=2e-5, atol=1e-6)


def test_functions_of_frozen_graphs_have_names_of_their_contents(tmp_path):
    """TensorFlow refuses two files in one process whose functions differ under one name."""

    def library(name, cell):
        net = Sequential([Input((4, 3)), cell])
        net.export(tmp_path / f"{name}.pb", format="frozen")
        found = GraphDef.FromString((tmp_path / f"{name}.pb").read_bytes()).library.function
        assert found and len({f.signature.name for f in found}) == len(found)
        x = np.ones((2, 4, 3), np.float32)
        np.testing.assert_allclose(load_frozen(tmp_path / f"{name}.pb")(x), net(x), rtol=1e-5, atol=1e-6)
        return {f.signature.name: f.SerializeToString(deterministic=True) for f in found}

    one, other = library("one", layers.LSTM(2)), library("other", layers.GRU(3))
    assert all(other[name] == contents for name, contents in one.items() if name in other)
    assert set(one) != set(other)

    def nested(x):
        return lax.fori_loop(0, 3, lambda i, a: lax.fori_loop(0, i + 1, lambda j, b: b * 1.5 + j, a), x)

    export.save(nested, [(None, 2)], tmp_path / "nested.pb", format="frozen")
    x = np.ones((3, 2), np.float32)
    np.testing.assert_allclose(load_frozen(tmp_path / "nested.pb")(x), nested(x), rtol=1e-5)


def test_signatures_share_variables(tmp_path):
    scale = Variable([1.0, 2.0], name="scale")
    signatures = {
        "serving_default": (lambda x: x * scale, [(None, 2)]),
        "offset": (lambda x, y: {"sum": x + y * scale}, [(None, 2), (None, 2)]),
    }
    report = export.save(None, None, tmp_path, signatures=signatures)
    assert report.parameters == 2 and report.signatures["offset"] == (["x", "y"], ["sum"])
    loaded = load_frozen(tmp_path)
    assert sorted(loaded.signatures) == ["offset", "serving_default"] and list(loaded.variables) == ["scale"]
    assert loaded.signatures["offset"](x=[[1.0, 1.0]], y=[[2.0, 2.0]])["sum"].tolist() == [[3, 5]]
    assert loaded([[1.0, 1.0]]).tolist() == [[1, 2]]
    with pytest.raises(ValueError, match="holds one signature"):
        export.save(None, None, tmp_path / "g.pb", "frozen", signatures)


def test_different_variables_of_one_name_stay_apart(tmp_path):
    a, b = Variable(1.0, name="v"), Variable(2.0, name="v")
    signatures = {"a": (lambda x: x + a, [()]), "b": (lambda x: x + b, [()])}
    export.save(None, None, tmp_path, signatures=signatures)
    loaded = load_frozen(tmp_path)
    assert loaded.signatures["a"](x=0.0)["output_0"] == 1 and loaded.signatures["b"](x=0.0)["output_0"] == 2


def test_inputs_and_outputs_by_name(tmp_path):
    a, b = Input((3,), name="a"), Input((3,), name="b")
    model = Model({"a": a, "b": b}, {"sum": a + b, "product": a * b})
    model.export(tmp_path)
    out = load_frozen(tmp_path).signatures["serving_default"](a=np.ones((2, 3)), b=np.full((2, 3), 2.0))
    assert out["sum"].tolist() == [[3.0] * 3] * 2 and out["product"].tolist() == [[2.0] * 3] * 2


def test_all_gaps_are_reported_before_a_file_is_written(tmp_path):
    class Spectrum(layers.Layer):
        def call(self, x):
            return jnp.abs(jnp.fft.rfft(x))

    class Solver(layers.Layer):
        def call(self, x):
            return jnp.linalg.cholesky(x[:, :, None] * x[:, None, :] + jnp.eye(x.shape[-1]))

    x = Input((8,))
    model = Model(x, Solver(name="solver")(Spectrum(name="spectrum")(x)))
    with pytest.raises(ExportError) as error:
        model.export(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    places = {(gap.path, gap.op) for gap in error.value.gaps}
    assert {("spectrum", "fft"), ("solver", "cholesky")} <= places
    assert all(path in str(error.value) for path, _ in places) and "allow_xla=True" in str(error.value)
    report = model.export(tmp_path / "model", allow_xla=True)
    assert report.ops["XlaCallModule"] >= 2
    assert {(path, op_) for path, op_, _ in report.fallbacks} >= {("spectrum", "fft"), ("solver", "cholesky")}
    with pytest.raises(ValueError, match="'XlaCallModule' cannot be run"):
        load_frozen(tmp_path / "model")


@op(named=True)
def my_gate(x, y):
    return jnp.where(x > 0, y, -y)


def test_rule_of_ones_own(tmp_path):
    table = export.TARGETS["tensorflow"]
    try:

        @register_rule("tensorflow", "my_gate")
        def rule(e, instr, x, y):
            return e.node("Mul", [y, e.node("Sign", [x], T=instr.output.dtype)], T=instr.output.dtype)

        report = export.save(my_gate, [(None, 3), (None, 3)], tmp_path / "g.pb", "frozen")
    finally:
        del table.own["my_gate"]
    assert report.ops["Sign"] == 1 and "SelectV2" not in report.ops
    assert load_frozen(tmp_path / "g.pb")([[1.0, -1.0, 2.0]], [[1.0, 2.0, 3.0]]).tolist() == [[1, -2, 3]]
    with pytest.raises(ValueError, match="Did you mean 'tensorflow'"):
        register_rule("tensorflo", "my_gate")


def test_subclassed_model_is_exported_with_the_shapes_of_its_first_call(tmp_path):
    class Twice(Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return ops.relu(self.dense(x)) * 2

    model = Twice()
    with pytest.raises(ValueError, match="needs a built model"):
        model.export(tmp_path)
    x = floats(2, 4)
    model(x)
    model.export(tmp_path)
    np.testing.assert_allclose(
        load_frozen(tmp_path)(floats(5, 4) * 0 + x[:1]), model(np.repeat(x[:1], 5, 0)), rtol=1e-5
    )


def test_dropout_and_batch_norm_are_those_of_inference(tmp_path):
    model = Sequential([Input((4,)), layers.Dropout(0.5), layers.BatchNormalization(), layers.GaussianNoise(1.0)])
    model.export(tmp_path)
    x = floats(3, 4)
    np.testing.assert_allclose(load_frozen(tmp_path)(x), model(x, training=False), rtol=1e-5, atol=1e-6)


def test_files_do_not_change_between_exports(tmp_path):
    model = classifier()
    for name in ("a.pb", "b.pb"):
        model.export(tmp_path / name, format="pb")
    assert (tmp_path / "a.pb").read_bytes() == (tmp_path / "b.pb").read_bytes()


def test_converting_from_one_format_to_another(tmp_path):
    model = classifier()
    model.export(tmp_path / "saved")
    export.save(load_frozen(tmp_path / "saved").to_graph(), None, tmp_path / "g.pb", "frozen")
    x = floats(2, 8, 8, 3)
    np.testing.assert_allclose(load_frozen(tmp_path / "g.pb")(x), model(x), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("format_", ["frozen", "tflite"])
def test_what_was_read_is_written_with_the_same_ops(tmp_path, format_):
    model, path = classifier(), tmp_path / f"m.{'pb' if format_ == 'frozen' else format_}"
    model.export(path, format=format_)
    first = model.export(tmp_path / "first.tflite", format="tflite")
    again = export.save(load_frozen(path).to_graph(), None, tmp_path / "again.tflite", format="tflite")
    assert again.ops == first.ops


@pytest.mark.parametrize("format_", ["tflite", "tflite_micro", "dlc"])
def test_an_option_that_a_format_has_not(tmp_path, format_):
    with pytest.raises(TypeError, match=f"export to {format_}: .*'representative'.*Did you mean 'representative_data'"):
        export.save(lambda x: x, [(2,)], tmp_path / "m.tflite", format=format_, representative=[])


def test_unknown_formats_files_and_targets(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'saved_model'"):
        export.save(lambda x: x, [(2,)], tmp_path, format="saved_mode")
    with pytest.raises(TypeError, match="must be a function or a pair"):
        export.save(3, [(2,)], tmp_path)
    with pytest.raises(ValueError, match="pass a function, or signatures"):
        export.save(None, None, tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_frozen(tmp_path / "none.pb")
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="must end in"):
        load_frozen(tmp_path / "model.bin")


def test_damaged_files_give_errors(tmp_path):
    """Bytes changed at random: an error or a graph, never anything else."""
    model = Sequential([Input((4,)), layers.Reshape((2, 2)), layers.GRU(2)])
    model.export(tmp_path / "g.pb", format="frozen")
    data = (tmp_path / "g.pb").read_bytes()
    rng = np.random.default_rng(0)
    bad = tmp_path / "bad.pb"
    refused = 0
    for _ in range(300):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            changed[place] = rng.integers(0, 256)
        bad.write_bytes(bytes(changed[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else changed))
        try:
            load_frozen(bad)
        except (ValueError, KeyError) as error:
            refused += 1
            assert str(error)
    assert refused > 50


def test_graphs_that_go_in_circles_are_refused(tmp_path):
    graph = GraphDef()
    for name, other in (("a", "b"), ("b", "a")):
        graph.node.add(name=name, op="Relu", input=[other])
    graph.node.add(name="out", op="Neg", input=["a"])
    (tmp_path / "g.pb").write_bytes(graph.SerializeToString())
    with pytest.raises(ValueError, match="in a circle"):
        load_frozen(tmp_path / "g.pb")


def test_graph_of_a_layer_without_model(tmp_path):
    dense = layers.Dense(2, name="only")
    export.save(dense, [(None, 3)], tmp_path)
    x = floats(2, 3)
    np.testing.assert_allclose(load_frozen(tmp_path)(x), dense(x), rtol=1e-5, atol=1e-6)
    assert sorted(trace(dense, (None, 3)).variables.values()) == ["only/bias", "only/kernel"]
