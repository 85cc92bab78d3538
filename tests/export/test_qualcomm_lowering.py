"""What graphs become for files for Snapdragon: equal ones, without what the vendor's provider refuses or has wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import Input, Model, layers, load_frozen, ops
from lamina.export.onnx.writer import write_onnx
from lamina.export.qualcomm.lowering import LARGEST_KERNEL, MOST_STEPS, lowered
from lamina.export.static import static
from lamina.graph import trace
from lamina.graph.expand import instructions
from lamina.graph.interpret import call
from lamina.graph.passes.order import optimize


def model(made, *shape):
    x = y = Input(shape)
    for layer in made:
        y = layer(y)
    return trace(Model(x, y))


def function(fn, *shape):
    return trace(fn, jax.ShapeDtypeStruct(shape, np.float32))


def both(graph, floats=True, tolerance=2e-6):
    """A graph before and after, with the same outputs."""
    before = optimize(static(graph))
    after = lowered(before, lambda path: floats)
    x = np.random.default_rng(0).normal(size=before.inputs[0].shape).astype(np.float32)
    for got, want in zip(call(after, x), call(before, x), strict=True):
        scale = max(np.abs(want).max(), 1.0)
        np.testing.assert_allclose(np.asarray(got) / scale, np.asarray(want) / scale, rtol=0, atol=tolerance)
    return before, after


def count(graph, *names):
    return [sum(i.op == name for i in instructions(graph)) for name in names]


@pytest.mark.parametrize(
    ("kernel", "padding", "size", "parts"),
    [((10, 4), "same", (49, 10), 2), ((9, 17), "valid", (21, 30), 6), ((16, 1), "same", (5, 3), 2)],
)
@pytest.mark.parametrize("kind", ["Conv", "DepthwiseConv"])
def test_large_kernels_with_strides_are_cut(kind, kernel, padding, size, parts):
    made = layers.Conv2D(3, kernel, 2, padding) if kind == "Conv" else layers.DepthwiseConv2D(kernel, 2, padding)
    if kind == "Conv":
        made.bias_initializer = "ones"
    _, after = both(model([made, layers.ReLU()], *size, 2))
    convolutions = [i for i in after.instrs if i.op == kind]
    assert 1 < len(convolutions) <= parts
    assert all(max(i.inputs[1].shape[:-2]) <= LARGEST_KERNEL for i in convolutions)


def test_dilated_large_kernels_are_cut_too():
    def fn(x):
        kernel = jnp.arange(9.0 * 3 * 2 * 2).reshape(9, 3, 2, 2) / 100
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (2, 1), ((3, 7), (2, 0)), (1, 1), (2, 3), dims)

    _, after = both(function(fn, 1, 20, 15, 2))
    assert count(after, "Conv", "Add") == [2, 1]


@pytest.mark.parametrize(("kernel", "strides"), [(9, 1), (9, 3), (8, 2)])
def test_other_convolutions_stay(kernel, strides):
    _, after = both(model([layers.Conv2D(2, kernel, strides)], 20, 20, 1))
    assert count(after, "Conv") == [1]


@pytest.mark.parametrize(("window", "strides", "size"), [(3, 1, (5, 7)), ((2, 3), (2, 1), (5, 7)), (8, 4, (9, 9))])
def test_means_with_padding_become_convolutions(window, strides, size):
    _, after = both(model([layers.AveragePooling2D(window, strides, "same")], *size, 3))
    assert count(after, "AveragePool", "DepthwiseConv", "Mul") == [0, 1, 1]
    _, after = both(model([layers.AveragePooling1D(3, 2, "same")], 8, 3))
    assert count(after, "AveragePool") == [0]
    _, after = both(model([layers.AveragePooling2D()], 6, 6, 3))
    assert count(after, "AveragePool", "DepthwiseConv") == [1, 0]


def test_integers_keep_their_convolutions():
    before, after = both(model([layers.Conv2D(2, 9, 2), layers.AveragePooling2D()], 24, 24, 1), floats=False)
    assert [i.op for i in after.instrs] == [i.op for i in before.instrs]


def test_means_of_integers_with_padding_and_of_zeros_become_convolutions():
    _, after = both(model([layers.AveragePooling2D((3, 1), 1, "same")], 5, 6, 2), floats=False)
    assert count(after, "AveragePool", "DepthwiseConv") == [0, 1]
    _, after = both(model([layers.ZeroPadding2D(1), layers.AveragePooling2D()], 6, 6, 2), floats=False)
    assert count(after, "AveragePool", "DepthwiseConv", "Pad", "Maximum", "Mul") == [0, 1, 1, 0, 0]


def test_functions_of_integers_take_fewer_steps():
    x = np.asarray([-0.9, 0.2, 0.7], np.float32)
    for fn in (jnp.log1p, jnp.expm1, jnp.arctanh):
        after = lowered(function(fn, 3), lambda path: False)
        assert len(after.instrs) <= 5 and count(after, "Log1p", "Expm1", "Atanh") == [0, 0, 0]
        np.testing.assert_allclose(call(after, x)[0], fn(x), rtol=1e-5)


@pytest.mark.parametrize("made", [layers.MaxPooling2D(2), layers.AveragePooling2D(2), layers.Conv2D(2, 2)])
def test_zeros_are_kept_apart_from_what_takes_them(made):
    graph = model([layers.ZeroPadding2D(2), made], 6, 6, 2)
    _, after = both(graph)
    makers = after.producers()
    (taker,) = (i for i in after.instrs if i.op in ("MaxPool", "AveragePool", "Conv"))
    assert makers[taker.inputs[0]].op == "Maximum" and count(after, "Pad") == [1]
    _, after = both(model([layers.ZeroPadding2D(1), layers.Conv2D(2, 3)], 6, 6, 2))
    assert count(after, "Maximum") == [0]


def test_padding_as_wide_as_the_kernel_is_written_out():
    def fn(x):
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, jnp.ones((2, 2, 2, 1)), (1, 1), ((2, 0), (0, 3)), dimension_numbers=dims)

    _, after = both(function(fn, 1, 4, 4, 2))
    (conv,) = (i for i in after.instrs if i.op == "Conv")
    assert not any(map(any, conv.attrs["pads"])) and count(after, "Pad") == [1]


@pytest.mark.parametrize("reverse", [False, True])
def test_loops_are_unrolled(reverse):
    def fn(x):
        def step(state, row):
            return jnp.tanh(state + row), (state * row, row[:1])

        state, (a, b) = jax.lax.scan(step, x[0], x, reverse=reverse)
        return state, a, b

    _, after = both(function(fn, 5, 3))
    assert count(after, "Scan", "Tanh") == [0, 5]


def test_loops_in_loops_and_branches_are_written_out():
    def fn(x):
        def step(state, _):
            inner = jax.lax.fori_loop(0, 2, lambda i, s: s * 1.5, state)
            return jax.lax.cond(jnp.sum(state) > 0, jnp.sin, lambda v: v - 1, inner), None

        return jax.lax.scan(step, x, length=3)[0]

    _, after = both(function(fn, 4))
    assert not any(i.subgraphs for i in after.instrs) and count(after, "Select") == [3]


def test_long_loops_stay():
    def fn(x):
        return jax.lax.scan(lambda s, _: (s * 0.5, None), x, length=MOST_STEPS + 1)[0]

    assert count(lowered(function(fn, 2), lambda path: True), "Scan") == [1]


def test_masked_layers_have_no_loop():
    x = Input((4,), dtype="int32")
    net = Model(x, layers.LSTM(3)(layers.Embedding(7, 5, mask_zero=True)(x)))
    before = optimize(static(trace(net)))
    after = lowered(before, lambda path: True)
    given = np.asarray([[3, 1, 0, 0]], np.int32)
    assert count(before, "Scan") == [1] and count(after, "Scan", "Tanh") == [0, 8]
    np.testing.assert_allclose(call(after, given)[0], call(before, given)[0], atol=1e-6)
    assert {i.path.split("/")[0] for i in after.instrs if i.op == "Tanh"} == {"lstm"}


def test_several_axes_are_normalised_as_one():
    _, after = both(model([layers.LayerNormalization(axis=(1, 2, 3))], 4, 5, 3), tolerance=1e-5)
    (norm,) = (i for i in after.instrs if i.op == "LayerNorm")
    assert norm.attrs["axes"] == (1,) and norm.inputs[0].shape == (1, 60)


def test_ops_of_one_operand_have_at_most_four_axes():
    _, after = both(function(lambda x: ops.softplus(jnp.sqrt(jnp.abs(x))), 1, 2, 3, 4, 5))
    unary = [i for i in after.instrs if i.op in ("Softplus", "Sqrt", "Abs")]
    assert len(unary) == 3 and all(i.output.shape == (1, 2, 3, 20) for i in unary)


def test_greatest_elements_of_cubes():
    _, after = both(model([layers.MaxPooling3D((2, 3, 3), (2, 1, 2), "same")], 5, 6, 7, 2))
    assert all(len(i.attrs["window"]) == 2 for i in after.instrs if i.op == "MaxPool")


@pytest.mark.parametrize(
    ("fn", "reference", "points"),
    [
        (jnp.log1p, np.log1p, [-0.99, -0.5, -0.499, -1e-6, 0.0, 1e-7, 0.3, 0.5, 9.0, 1e6]),
        (jnp.expm1, np.expm1, [-50.0, -1.0, -0.99, -1e-6, 0.0, 1e-7, 0.5, 1.0, 20.0]),
        (jnp.arctanh, np.arctanh, [-0.999, -0.5, -1e-6, 0.0, 1e-7, 0.9]),
        (ops.softsign, lambda x: x / (1 + np.abs(x)), [-9.0, -0.1, 0.0, 3.0]),
    ],
)
def test_functions(fn, reference, points):
    x = np.asarray(points, np.float32)
    after = lowered(function(fn, *x.shape), lambda path: True)
    assert count(after, "Log1p", "Expm1", "Atanh", "Softsign") == [0, 0, 0, 0]
    np.testing.assert_allclose(call(after, x)[0], reference(x.astype(np.float64)), rtol=2e-6, atol=1e-12)


def test_selu_of_jax():
    _, after = both(function(jax.nn.selu, 2, 9))
    assert count(after, "Expm1") == [0]


def test_in_an_onnx_file(tmp_path):
    made = [layers.Conv2D(3, 9, 2), layers.AveragePooling2D(2, 1, "same"), layers.Softmax()]
    graph = static(model(made, 20, 22, 2))
    place = tmp_path / "out.onnx"
    plain = write_onnx({"serving_default": graph}, place)
    assert plain.ops["Conv"] == 1 and plain.ops["AveragePool"] == 1
    report = write_onnx({"serving_default": graph}, place, lowering=lambda g: lowered(g, lambda path: True))
    assert report.ops["Conv"] == 5 and "AveragePool" not in report.ops and "Slice" in report.ops
    x = np.random.default_rng(0).normal(size=graph.inputs[0].shape).astype(np.float32)
    np.testing.assert_allclose(load_frozen(place)(x), call(graph, x)[0], atol=1e-6)
