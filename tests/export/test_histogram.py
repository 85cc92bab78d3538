"""Ranges of quantisation from streamed histograms, against numpy on all elements."""

import jax.numpy as jnp
import numpy as np
import pytest

from lamina.datasets import Dataset
from lamina.export.calibrate import Calibration, calibrate
from lamina.export.histogram import BINS, bins, counts, error, mse_range, percentile_range
from lamina.graph import trace

RNG = np.random.default_rng(0)


def histogram(x):
    return np.asarray(counts(jnp.asarray(x, jnp.float32)))


def true_error(x, low, high, levels):
    """The squared error of clipping and rounding, element by element."""
    step = (high - low) / (levels - 1)
    return np.sum((np.clip(np.round(x / step) * step, low, high) - x) ** 2)


def test_every_element_lies_in_its_bin():
    x = np.concatenate([RNG.normal(size=1000), [0.0, -0.0, 1e-40, -3e38, 3e38]]).astype("float32")
    found = histogram(x)
    start, stop, number = bins(found, float(x.min()), float(x.max()))
    assert found.shape == (BINS,) and number.sum() == x.size and np.all(stop[:-1] <= start[1:])
    for a, b, n in zip(start, stop, number, strict=True):
        assert np.sum((x >= a) & (x <= b)) >= n


@pytest.mark.parametrize("percentile", [75.0, 99.0, 99.9, 100.0])
def test_percentiles_are_those_of_numpy(percentile):
    x = RNG.laplace(1.0, 2.0, 200_000).astype("float32")
    got = percentile_range(histogram(x), float(x.min()), float(x.max()), percentile)
    np.testing.assert_allclose(got, np.percentile(x, [100 - percentile, percentile]), rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("low, high, levels", [(-1.0, 2.0, 256), (0.0, 3.0, 16), (-4.0, 0.5, 65536), (-9.0, 9.0, 4)])
def test_estimated_error_is_that_of_the_elements(low, high, levels):
    x = RNG.normal(size=100_000).astype("float32").astype("float64")
    data = bins(histogram(x), x.min(), x.max())
    assert error(data, low, high, levels) == pytest.approx(true_error(x, low, high, levels), rel=0.05)


@pytest.mark.parametrize("levels, clip", [(16, 2.586), (256, 3.94)])
def test_mse_range_of_a_gaussian_is_the_known_optimum(levels, clip):
    """The loading factors of uniform quantisers of 4 and of 8 bits (Hui and Neuhoff, 2001; Max, 1960)."""
    x = RNG.normal(size=1_000_000)
    low, high = mse_range(histogram(x), x.min(), x.max(), levels)
    assert (-low, high) == pytest.approx((clip, clip), rel=0.12)


def test_one_sided_values_keep_their_end_at_zero():
    x = np.maximum(RNG.normal(size=100_000), 0)
    low, high = mse_range(histogram(x), 0.0, x.max(), 256)
    assert low == 0 and 2.5 < high <= x.max()


@pytest.mark.parametrize("value", [0.0, 2.5, -1e-3])
def test_one_number_has_a_range_that_holds_it(value):
    x = np.full(10, value, "float32")
    low, high = mse_range(histogram(x), value, value, 256)
    assert low <= min(value, 0) and high >= max(value, 0)
    np.testing.assert_allclose(percentile_range(histogram(x), value, value, 99.0), value, rtol=1e-6)


def one():
    return trace(lambda x: x * 1.0, (None, 100), input_names=["x"])


def noise(x, low, high):
    """The signal-to-noise ratio in dB of values that are stored in 8 bits."""
    low, high = min(low, 0), max(high, 0)
    return 10 * np.log10(np.sum(x**2) / true_error(x, low, high, 256))


def test_outliers_cost_less_with_percentile_and_mse_than_with_the_extremes():
    x = RNG.normal(size=(400, 100))
    x.flat[::8000] = 400.0 * np.sign(RNG.normal(size=5))
    x = x.astype("float32")
    graph, found = one(), {}
    for method in ("minmax", "percentile", "mse"):
        chosen = Calibration(method, percentile=99.9)
        found[method] = calibrate(graph, [x[:150], x[150:]], calibration=chosen)[graph.inputs[0]]
    assert found["minmax"] == (x.min(), x.max())
    inside = x.astype("float64")[np.abs(x) < 100]
    assert noise(inside, *found["percentile"]) > noise(inside, *found["minmax"]) + 25
    whole = x.astype("float64")
    assert noise(whole, *found["mse"]) >= max(noise(whole, *found[m]) for m in found) - 0.1


def test_no_range_on_a_grid_beats_the_one_of_mse():
    x = RNG.standard_t(3, size=(500, 100)).astype("float32")
    graph, data = one(), x.astype("float64")
    found = calibrate(graph, x, calibration=Calibration("mse"))[graph.inputs[0]]
    shares = np.linspace(0.05, 1.0, 20)
    best = max(noise(data, a * data.min(), b * data.max()) for a in shares for b in shares)
    assert noise(data, *found) > best - 0.1 > noise(data, data.min(), data.max()) + 0.2


def test_more_bits_clip_less():
    x = RNG.laplace(size=(500, 100)).astype("float32")
    graph = one()
    eight, sixteen = (
        calibrate(graph, x, calibration=Calibration("mse"), bits=lambda path, n=n: n)[graph.inputs[0]] for n in (8, 16)
    )
    assert sixteen[1] > eight[1] and sixteen[1] == pytest.approx(x.max(), rel=0.05)


@pytest.mark.parametrize("form", ["array", "dict", "batches", "dataset", "rows"])
def test_data_comes_in_many_forms(form):
    x = RNG.normal(size=(70, 100)).astype("float32")
    data = {
        "array": x, "dict": {"x": x}, "batches": [x[:33], x[33:]], "rows": list(x),
        "dataset": Dataset.from_tensor_slices((x, np.zeros(70))).batch(32),
    }[form]  # fmt: skip
    graph = one()
    assert calibrate(graph, data)[graph.inputs[0]] == (x.min(), x.max())


def test_arrays_are_cut_into_batches_of_the_size_that_a_graph_has():
    graph = trace(lambda x: x * 1.0, (5, 2), input_names=["x"])
    x = RNG.normal(size=(20, 2)).astype("float32")
    assert calibrate(graph, x)[graph.inputs[0]] == (x.min(), x.max())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Calibration("entropy"), "calibration must be"),
        (lambda: Calibration(percentile=99.99e2), "percentile must be from 50 to 100"),
        (lambda: calibrate(one(), {"y": np.zeros((1, 100))}), "must be a Dataset, a list of batches"),
        (lambda: calibrate(one(), 3), "must be a Dataset, a list of batches"),
    ],
)
def test_wrong_arguments_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
