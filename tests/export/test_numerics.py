"""The report on numerics: its numbers against numpy, planted faults first, and its forms."""

import json

import numpy as np
import pytest

import lamina
from lamina import Input, Sequential, layers, ops
from lamina.export import numerics
from lamina.graph import trace

RNG = np.random.default_rng(5)


def rows(n=64, width=6):
    return RNG.uniform(-1, 1, (n, width)).astype("float32")


def stack(*widths, width=6, seed=0):
    lamina.utils.set_random_seed(seed)
    return Sequential([Input((width,), name="x"), *(layers.Dense(w, name=f"d{i}") for i, w in enumerate(widths))])


def stored(x, low, high):
    """Numbers through int8, as the format defines it, in float64."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    zero = np.round(-128 - low / scale)
    return (np.clip(np.round(x / scale) + zero, -128, 127) - zero) * scale


def through(w):
    scale = np.abs(w).max(0) / 127
    return np.round(w / scale) * scale


def decibels(want, got):
    return 10 * np.log10(np.sum(want**2) / np.sum((got - want) ** 2))


def test_numbers_are_those_of_integers_computed_in_numpy():
    net, x = stack(5, 3), rows()
    report = numerics(net, [x])
    (w0, b0, w1, b1), x = (np.float64(w) for w in net.get_weights()), np.float64(x)
    y0 = x @ w0 + b0
    y1 = y0 @ w1 + b1
    x_int = stored(x, x.min(), x.max())
    y0_int = stored(x_int @ through(w0) + b0, y0.min(), y0.max())
    deployed = stored(y0_int @ through(w1) + b1, y1.min(), y1.max())
    alone = stored(stored(y0, y0.min(), y0.max()) @ through(w1) + b1, y1.min(), y1.max())
    assert [t.layer for t in report.computed] == ["(input)", "d0", "d1"]
    first, middle, last = report.computed
    step = (y1.max() - y1.min()) / 255
    assert last.dtype == "int8" and abs(last.scale - step) < 1e-6 and last.zero == np.round(-128 - y1.min() / step)
    np.testing.assert_allclose([last.low, last.high], [y1.min(), y1.max()], rtol=1e-5)
    # a number that lies between two steps may be rounded either way
    np.testing.assert_allclose(last.snr, decibels(y1, deployed), atol=0.3)
    np.testing.assert_allclose(last.alone_snr, decibels(y1, alone), atol=0.3)
    np.testing.assert_allclose(last.mean_error, np.abs(deployed - y1).mean(), rtol=0.05)
    np.testing.assert_allclose(last.max_error, np.abs(deployed - y1).max(), atol=1.01 * step)
    np.testing.assert_allclose(first.snr, decibels(x, x_int), atol=0.1)
    assert middle.snr == pytest.approx(middle.alone_snr, abs=0.3), "nothing before it but the input, stored either way"
    np.testing.assert_allclose(middle.snr, decibels(y0, y0_int), atol=0.3)


def test_layer_with_an_outlier_among_its_weights_comes_first():
    net, x = stack(6, 6, 6, 6), rows()
    x[:, 0] = 0
    kernel = np.eye(6, dtype="float32")
    for layer in net.layers:
        layer.kernel.assign(kernel * RNG.uniform(0.5, 1, (6, 6)) + RNG.normal(size=(6, 6)) * 0.3 * (1 - kernel))
    net.layers[0].kernel.assign(np.eye(6))
    bad = net.layers[2].kernel.numpy().copy()
    net.layers[1].kernel.assign(np.concatenate([net.layers[1].kernel.numpy()[:, :5], np.zeros((6, 1))], 1))
    bad[5] = 300.0  # of an input that is always 0: the outputs stay what they are, the steps of the weights do not
    net.layers[2].kernel.assign(bad)
    report = numerics(net, [x])
    assert report.worst.layer == "d2" and next(iter(report.layers)) == "d2"
    good = [t.alone_snr for t in report.computed if t.layer != "d2"]
    assert report.worst.alone_snr < min(good) - 15
    following = next(t for t in report.computed if t.layer == "d3")
    assert following.snr < following.alone_snr - 15, "it has the error of the layer before, and little of its own"
    assert report.sorted_by("deployed").worst.layer in ("d2", "d3")
    assert "the worst alone is 'd2'" in str(report)


def test_layer_behind_an_outlier_among_activations_comes_first():
    """One unit a thousand times as large as the others, which the next layer does not even look at."""
    net, x = stack(6, 6, 6), rows()
    before, after = net.layers[1], net.layers[2]
    before.kernel.assign(before.kernel.numpy() * np.asarray([1e3, 1, 1, 1, 1, 1], "float32"))
    after.kernel.assign(after.kernel.numpy() * np.asarray([0, 1, 1, 1, 1, 1], "float32")[:, None])
    report = numerics(net, [x])
    assert report.worst.layer == "d2" and report.worst.alone_snr < 10
    table = str(report).splitlines()
    assert table[1].split()[:3] == ["layer", "op", "stored"] and table[2].startswith("d2")


def test_saturation_is_the_share_outside_of_the_range():
    graph = trace(lambda x: ops.relu(x) * 0.5, (None, 4), input_names=["x"])
    x = RNG.uniform(-1, 1, (50, 4)).astype("float32")
    x[0, 0] = 50.0
    plain = numerics(graph, [x])
    cut = numerics(graph, [x], calibration="percentile", percentile=99.0)
    assert all(t.saturated == 0 for t in plain.tensors)
    share = [t.saturated for t in cut.computed]
    assert all(1 / 200 <= s <= 6 / 200 for s in share) and cut.computed[0].max_error > 40


@pytest.mark.parametrize("precision, least", [("float32", 100), ("float16", 55), ("dynamic", 25), ("int16x8", 35)])
def test_other_precisions(precision, least):
    net = stack(64, 32, width=64)
    report = numerics(net, rows(64, 64), precision)
    assert report.precision == precision and report.worst.snr > least
    assert {t.dtype for t in report.tensors} == ({"int16"} if precision == "int16x8" else {"float32"})
    assert all(t.scale is None for t in report.tensors) == (precision != "int16x8")


def test_convolutions_merge_and_mixed_precision_is_seen():
    lamina.utils.set_random_seed(1)
    stack = [Input((8, 8, 3)), layers.Conv2D(4, 3, name="c"), layers.BatchNormalization(), layers.ReLU()]
    net = Sequential([*stack, layers.MaxPooling2D(), layers.Flatten(), layers.Dense(3, "softmax", name="head")])
    x = RNG.normal(size=(16, 8, 8, 3)).astype("float32")
    report = numerics(net, [x])
    assert report.layers["c"].alone_snr > 25 and len(report.tensors) == 6
    mixed = numerics(net, [x], float_layers=["c"])
    found = next(t for t in mixed.computed if t.layer == "c")
    assert found.alone_snr > report.layers["c"].alone_snr


def test_forms(tmp_path):
    report = numerics(stack(4), [rows()], steps=1)
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["precision"] == "int8" and data["tensors"][0]["layer"] == report.worst.layer
    pytest.importorskip("matplotlib")
    report.save(tmp_path / "errors.svg")
    assert b"<svg" in (tmp_path / "errors.svg").read_bytes()
    with pytest.raises(ValueError, match="'svg', 'png' or 'pdf'"):
        report.save(tmp_path / "errors.gif")
    with pytest.raises(ValueError, match="'alone' or 'deployed'"):
        report.sorted_by("name")


def test_no_data_is_an_error():
    with pytest.raises(ValueError, match="holds no batch"):
        numerics(stack(4), [])
    with pytest.raises(ValueError, match="holds no batch"):
        numerics(stack(4), [], "float16")
