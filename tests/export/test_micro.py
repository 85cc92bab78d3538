"""C++ sources for TFLite Micro."""

import json
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import Sequential, export, layers, ops
from lamina.export import ExportError
from lamina.export.micro import arena, writer
from lamina.export.micro.describe import describe_model
from lamina.export.micro.operators import METHODS, MISSING
from lamina.export.micro.rewrite import rewrite
from lamina.export.micro.source import parse_source
from lamina.export.static import static
from lamina.export.tflite.schema import OPERATORS
from lamina.graph import trace
from lamina.graph.interpret import call

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")


@pytest.fixture
def net():
    return Sequential(
        [layers.Input((6, 6, 2), name="image"), layers.Conv2D(4, 3), layers.ReLU(), layers.Flatten(), layers.Dense(3)]
    )


@pytest.fixture
def data():
    return np.random.default_rng(0).normal(size=(5, 6, 6, 2)).astype(np.float32)


def test_array_holds_the_file(net, tmp_path):
    report = net.export(tmp_path / "digits", format="tflite_micro")
    text = (tmp_path / "digits" / "digits.cc").read_text()
    model = (tmp_path / "digits" / "digits.tflite").read_bytes()
    assert parse_source(text) == model and len(model) == report.bytes
    assert "alignas(16) const unsigned char kModel[]" in text and f"kModelLength = {len(model)};" in text
    export.save(static(trace(net)), None, tmp_path / "same.tflite", format="tflite")
    assert (tmp_path / "same.tflite").read_bytes() == model


def test_header_of_floats(net, tmp_path):
    report = net.export(tmp_path / "net.cc", format="tflite_micro", arena_size=4096)
    text = (tmp_path / "net.h").read_text()
    assert {p.name for p in tmp_path.iterdir()} == {"net.cc", "net.h"}
    assert "constexpr std::size_t kArenaSize = 4096;" in text
    assert f"constexpr int kOperatorCount = {len(report.ops)};" in text
    assert all(f"resolver.{METHODS[op]}() != 0" in text for op in report.ops)
    assert "constexpr int kInput0Shape[] = {1, 6, 6, 2};" in text and "kInput0Scale" not in text
    assert "constexpr std::size_t kOutput0Length = 3;" in text


def test_header_of_integers(net, data, tmp_path):
    options = {"representative_data": data, "input_type": "int8", "output_type": "int8"}
    net.export(tmp_path / "net.cc", format="tflite_micro", precision="int8", **options)
    text = (tmp_path / "net.h").read_text()
    port = describe_model(parse_source((tmp_path / "net.cc").read_text())).inputs[0]
    low, high = min(data.min(), 0.0), max(data.max(), 0.0)
    assert port.scale == pytest.approx((high - low) / 255, rel=1e-6)
    assert f"constexpr int kInput0ZeroPoint = {port.zero_point};" in text and "using Input0Type = std::int8_t;" in text
    literal = text.partition("kInput0Scale = ")[2].partition("f;")[0]
    assert np.float32(literal) == np.float32(port.scale)


def test_representative_batches_of_any_size(net, data, tmp_path):
    files = []
    for i, given in enumerate((data, [data[:2], data[2:]], [(x, 0) for x in data])):
        net.export(tmp_path / f"n{i}.cc", format="tflite_micro", precision="int8", representative_data=given, name="n")
        files.append(parse_source((tmp_path / f"n{i}.cc").read_text()))
    assert files[0] == files[1] == files[2]


PROGRAM = """
#include "net.h"
#include "net.h"
#include <cstdio>
#include <cstdint>
struct Resolver {
  int calls = 0;
%s
};
int main() {
  Resolver resolver;
  int failed = net::AddOperators(resolver);
  bool aligned = reinterpret_cast<std::uintptr_t>(net::kModel) %% 16 == 0;
  unsigned long sum = 0;
  for (std::size_t i = 0; i < net::kModelLength; ++i) sum += net::kModel[i] * (i %% 251 + 1);
  static_assert(sizeof(net::Input0Type) == 4, "");
  std::printf("{\\"failed\\": %%d, \\"calls\\": %%d, \\"aligned\\": %%d, \\"sum\\": %%lu, \\"shape\\": %%d}",
              failed, resolver.calls, aligned, sum, net::kInput0Shape[1]);
}
"""


@needs_compiler
def test_sources_compile_and_link(net, tmp_path):
    report = net.export(tmp_path / "net.cc", format="tflite_micro", arena_size=4096)
    calls = "\n".join(f"  int {METHODS[op]}() {{ ++calls; return 0; }}" for op in report.ops)
    (tmp_path / "main.cc").write_text(PROGRAM % calls)
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "main.cc", "net.cc", "-o", "program"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True).stdout)
    model = parse_source((tmp_path / "net.cc").read_text())
    total = sum(byte * (i % 251 + 1) for i, byte in enumerate(model))
    assert found == {"failed": 0, "calls": len(report.ops), "aligned": 1, "sum": total, "shape": 6}


def test_what_micro_has_not_is_named_by_layer_before_a_file_is_written(tmp_path):
    first, last = layers.Conv3D(3, 2, name="first"), layers.Conv3D(2, 1, name="last")
    net = Sequential([layers.Input((4, 4, 4, 1)), first, last])
    with pytest.raises(ExportError, match="TFLite Micro has no such operator") as caught:
        net.export(tmp_path / "net", format="tflite_micro")
    assert [(gap.op, gap.path) for gap in caught.value.gaps] == [("CONV_3D", "first"), ("CONV_3D", "last")]
    assert not list(tmp_path.iterdir())


def test_operators_are_all_placed():
    assert set(METHODS) | MISSING == set(OPERATORS) and not set(METHODS) & MISSING
    assert METHODS["MAX_POOL_2D"] == "AddMaxPool2D" and METHODS["REVERSE_V2"] == "AddReverseV2"


def test_arena_without_the_interpreter(net, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "installed", lambda: False)
    report = net.export(tmp_path / "net.cc", format="tflite_micro")
    assert "lamina[micro]" in report.measured["arena bytes"] and "lamina[micro]" in str(report)
    text = (tmp_path / "net.h").read_text()
    assert "kArenaSize" not in text and "not measured" in text


WORKER = """
import json, sys
from pathlib import Path
assert Path(sys.argv[1]).read_bytes()[4:8] == b"TFL3"
{}
"""


@pytest.fixture
def interpreter(tmp_path, monkeypatch):
    """Puts code in the place of the interpreter's process."""

    def use(code):
        place = tmp_path / "worker.py"
        place.write_text(WORKER.format(code))
        monkeypatch.setattr(arena, "WORKER", place)
        monkeypatch.setattr(writer, "installed", lambda: True)

    return use


def test_arena_as_measured(net, tmp_path, interpreter):
    interpreter("print(json.dumps({'arena': 2048}))")
    report = net.export(tmp_path / "net.cc", format="tflite_micro")
    assert report.measured == {"arena bytes": 2048} and "arena bytes: 2,048" in str(report)
    assert "kArenaSize = 2048;" in (tmp_path / "net.h").read_text()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print(json.dumps({'error': 'Hybrid models are not supported'}))", "Hybrid models are not supported"),
        ("print('no', file=sys.stderr); sys.exit(3)", "ended with status 3: no"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended with status -9"),
    ],
)
def test_models_that_the_interpreter_refuses(net, tmp_path, interpreter, code, said):
    interpreter(code)
    with pytest.raises(ExportError, match=said):
        net.export(tmp_path / "net", format="tflite_micro")
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "float16"}, "precision must be 'float32' or 'int8'"),
        ({"name": "3d"}, "name must be one that a C\\+\\+ namespace can have"),
        ({"name": "class"}, "got 'class'"),
        ({"arena_size": 0}, "arena_size"),
        ({"sizes": {"width": 3}}, "sizes names 'width', which is no size of an input"),
        ({"precision": "int8"}, "representative_data"),
    ],
)
def test_arguments_are_checked(net, tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        net.export(tmp_path / "net", format="tflite_micro", **options)
    assert not list(tmp_path.iterdir())


def test_paths_and_signatures_are_checked(net, tmp_path):
    with pytest.raises(ValueError, match="a folder, or a file that ends in .cc"):
        net.export(tmp_path / "net.tflite", format="tflite_micro")
    with pytest.raises(ValueError, match="Micro runs one signature"):
        export.save(net, None, tmp_path / "n", format="tflite_micro", signatures={"b": (net, [(1, 6, 6, 2)])})


def test_open_sizes_are_asked_for(tmp_path):
    with pytest.raises(ValueError, match="got none for 'x_1'"):
        export.save(lambda x: jnp.tanh(x), [(None, None)], tmp_path / "n", format="tflite_micro")
    export.save(lambda x: jnp.tanh(x), [(None, None)], tmp_path / "n", format="tflite_micro", sizes={"x_1": 7})
    text = (tmp_path / "n" / "n.h").read_text()
    assert "kInput0Shape[] = {1, 7};" in text


def test_several_inputs_stand_in_the_order_of_the_graph(tmp_path):
    export.save(lambda z, a: (z[:, :2] - a, a), [(None, 3), (None, 2)], tmp_path / "n", format="tflite_micro")
    found = describe_model((tmp_path / "n" / "n.tflite").read_bytes())
    assert [p.shape for p in found.inputs] == [(1, 3), (1, 2)] and [p.shape for p in found.outputs] == [(1, 2), (1, 2)]


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: jnp.tile(x, (2, 1, 3)),
        lambda x: jnp.where(x > 0, x.astype(jnp.int32), -x.astype(jnp.int32) - 2**30),
        lambda x: -jnp.abs(x.astype(jnp.int32)) + jnp.square(x.astype(jnp.int32)),
        lambda x: jax.nn.gelu(x, approximate=True),
        lambda x: ops.gelu(4 * x, approximate=False),
        lambda x: jnp.outer(x, x).reshape(2, 3, 2, 2, 6)[1:, :, :, 1, 1:5:2],
        lambda x: ops.one_hot(jnp.abs(x).astype(jnp.int32), 4),
    ],
)
def test_ops_that_micro_lacks_are_written_in_others(fn, tmp_path):
    export.save(fn, [(3, 4)], tmp_path / "net", format="tflite_micro")
    found = describe_model((tmp_path / "net" / "net.tflite").read_bytes())
    assert not {"TILE", "GELU", "ONE_HOT", "SELECT_V2"} & set(found.counts)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32) * 2
    got = lamina.load_frozen(tmp_path / "net" / "net.tflite")(x)
    np.testing.assert_allclose(got, fn(x), rtol=1e-6, atol=1e-6)


def test_slices_of_more_than_four_axes_join_those_taken_whole():
    cut = rewrite(trace(lambda x: x[1:, :, :, ::2], (3, 1, 2, 5, 4)))
    assert [i.inputs[0].shape for i in cut.instrs if i.op == "Slice"] == [(3, 2, 5, 4)]
    x = np.arange(120, dtype=np.float32).reshape(3, 1, 2, 5, 4)
    np.testing.assert_array_equal(call(cut, x)[0], x[1:, :, :, ::2])


def test_conditions_are_moved_as_numbers_and_axes_of_size_one_as_reshapes():
    tokens = layers.Input((5,), dtype="int32")
    net = lamina.Model(tokens, layers.LSTM(3)(layers.Embedding(7, 4, mask_zero=True)(tokens)))
    graph = rewrite(static(trace(net), batch_size=1))
    x = np.asarray([[3, 0, 5, 1, 0]], np.int32)
    assert "Transpose" not in {i.op for i in graph.instrs}  # of the mask: of no other dtype but of float32 in Micro
    np.testing.assert_allclose(call(graph, x)[0], net(x), rtol=1e-5, atol=1e-6)
    flags = rewrite(trace(lambda x: (x > 0).T, (2, 3)))
    assert [i.inputs[0].dtype.name for i in flags.instrs if i.op == "Transpose"] == ["float32"]
    y = np.asarray([[1, -1, 2], [-3, 4, -5]], np.float32)
    np.testing.assert_array_equal(call(flags, y)[0], (y > 0).T)


def test_static_graphs_compute_the_same():
    lamina.utils.set_random_seed(0)
    net = Sequential([layers.Input((5, 3)), layers.LSTM(4, return_sequences=True), layers.Dense(2)])
    graph = trace(net)
    fixed = static(graph, batch_size=2)
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    assert fixed.inputs[0].shape == (2, 5, 3) and fixed.outputs[0].shape == (2, 5, 2)
    np.testing.assert_array_equal(fixed(x), graph(x))


@pytest.mark.parametrize(
    ("run", "dtype", "reason"),
    [
        (lambda x: jnp.swapaxes(x, 1, 2), "int32", "TRANSPOSE takes float32 or int16 or int8, not int32"),
        (lambda x: x[:, np.int32([2, 0])] + 1, "int32", "GATHER takes float32 or int8, not int32"),
        (lambda x: jnp.max(x, 1), "int32", "REDUCE_MAX takes float32 or int8, not int32"),
        (lambda x: x.astype("uint8"), "float32", "CAST takes .*, not uint8"),
        (lambda x: x * 2, "uint8", "CAST takes .*, not uint8"),
        (lambda x: x % 2, "int32", "NEG takes float32, not int32"),
        (lambda x: x > 1, "int16", "GREATER takes float32 or int32 or int64, not int16"),
        (lambda x: jnp.cumsum(x, 1), "int32", "CUMSUM takes float32, not int32"),
    ],
)
def test_dtypes_that_no_kernel_takes_are_told_before_a_file_is_written(run, dtype, reason, tmp_path):
    with pytest.raises(ExportError, match=f"its {reason}"):
        export.save(run, [jax.ShapeDtypeStruct((1, 3, 2), dtype)], tmp_path / "net", format="tflite_micro")
    assert not list(tmp_path.iterdir())


def test_dtypes_that_kernels_take(tmp_path):
    def run(x, i, flag):
        small = i.astype("int8")
        return jnp.swapaxes(x, 1, 2), i * i - 1, jnp.flip(i, 1), ~flag, small + small, jnp.concatenate([flag, flag])

    specs = [jax.ShapeDtypeStruct((1, 3, 2), t) for t in ("float32", "int32", "bool")]
    report = export.save(run, specs, tmp_path / "net", format="tflite_micro", arena_size=1)
    assert {"TRANSPOSE", "MUL", "SUB", "REVERSE_V2", "LOGICAL_NOT", "CAST", "CONCATENATION"} <= set(report.ops)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_operators_whose_data_is_not_their_first_input(precision, tmp_path):
    model = Sequential([lamina.Input((4, 4, 2)), layers.Conv2DTranspose(3, 2, strides=2)])
    data = None if precision == "float32" else np.random.default_rng(0).normal(size=(8, 4, 4, 2)).astype("float32")
    options = {"precision": precision, "representative_data": data, "arena_size": 1}
    report = model.export(tmp_path / "net", format="tflite_micro", **options)
    assert "TRANSPOSE_CONV" in report.ops
