"""Initializers: distributions, fans, seeds, names."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest

from lamina import initializers
from lamina.state.rng import SeedGenerator, set_random_seed

SHAPE = (3, 3, 40, 60)
FANS = {"fan_in": 360, "fan_out": 540, "fan_avg": 450}
PRESETS = {
    "GlorotUniform": ("uniform", 1 / 450),
    "GlorotNormal": ("truncated_normal", 1 / 450),
    "HeUniform": ("uniform", 2 / 360),
    "HeNormal": ("truncated_normal", 2 / 360),
    "LecunUniform": ("uniform", 1 / 360),
    "LecunNormal": ("truncated_normal", 1 / 360),
}


def check(values, distribution, variance):
    values = np.asarray(values, "float64")
    assert abs(values.mean()) < 4 * math.sqrt(variance / values.size)
    assert abs(values.var() / variance - 1) < 0.03
    limit = {"uniform": math.sqrt(3), "truncated_normal": 2 / 0.87962566}.get(distribution, math.inf)
    assert np.abs(values).max() <= limit * math.sqrt(variance) * (1 + 1e-5)
    if limit < math.inf:
        assert np.abs(values).max() > 0.98 * limit * math.sqrt(variance)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_variance_of_their_papers(name):
    check(getattr(initializers, name)(seed=1)(SHAPE), *PRESETS[name])


@pytest.mark.parametrize("mode", FANS)
@pytest.mark.parametrize("distribution", ["truncated_normal", "untruncated_normal", "uniform"])
def test_variance_scaling(mode, distribution):
    values = initializers.VarianceScaling(3.0, mode, distribution, seed=2)(SHAPE)
    check(values, distribution, 3 / FANS[mode])


def test_named_axes_replace_the_fans():
    values = initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal", 1, [0, 1], [2])((20, 10, 100))
    check(values, "", 1 / 200)


@pytest.mark.parametrize("shape", [(6, 6), (8, 3), (3, 8), (2, 3, 4)])
def test_orthogonal(shape):
    w = np.asarray(initializers.Orthogonal(2.0, seed=1)(shape)).reshape(-1, shape[-1])
    small = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


NAMES = ["RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Orthogonal", *PRESETS]


@pytest.mark.parametrize("name", NAMES)
def test_seeds_and_round_trip(name):
    make = getattr(initializers, name)
    first = make(seed=5)
    assert isinstance(first((4, 5)), jax.Array)
    np.testing.assert_array_equal(first((4, 5)), first((4, 5)))
    np.testing.assert_array_equal(first((4, 5)), make(seed=5)((4, 5)))
    assert not np.array_equal(first((4, 5)), make(seed=6)((4, 5)))
    assert not np.array_equal(make()((4, 5)), make()((4, 5)))
    again = initializers.deserialize(initializers.serialize(first))
    assert type(again) is make
    np.testing.assert_array_equal(again((4, 5)), first((4, 5)))
    assert make().get_config()["seed"] is None
    stream = make(seed=SeedGenerator(3))
    assert not np.array_equal(stream((4, 5)), stream((4, 5)))


def test_global_seed_repeats_unseeded_draws():
    set_random_seed(3)
    first = initializers.GlorotUniform()((4, 5))
    set_random_seed(3)
    np.testing.assert_array_equal(initializers.GlorotUniform()((4, 5)), first)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["zeros", "ones", "glorot_uniform", "he_normal", "orthogonal"])
def test_names_give_the_wanted_dtype(name, dtype):
    values = initializers.get(name)((4, 4), dtype=dtype)
    assert values.dtype == dtype and values.shape == (4, 4)


def test_constants_arrays_and_functions():
    assert initializers.Constant(2.0)((2,)).tolist() == [2.0, 2.0]
    assert initializers.Identity(3.0)((2, 3)).tolist() == [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]]
    assert initializers.get(np.ones((2, 2)))((2, 2)).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(ValueError, match=r"\(3,\)"):
        initializers.get(np.ones(2))((3,))
    own = lambda shape, dtype=None: np.zeros(shape)  # noqa: E731
    assert initializers.get(own) is own and initializers.get(None) is None


def test_stft_kernel_is_the_transform():
    real, imaginary = (initializers.STFT(side, window=None)((8, 1, 5))[:, 0] for side in ("real", "imag"))
    x = np.random.default_rng(0).standard_normal(8)
    np.testing.assert_allclose(x @ real + 1j * (x @ imaginary), np.fft.rfft(x), atol=1e-5)
    windowed = initializers.STFT("real")((8, 1, 5))[:, 0, 0]
    np.testing.assert_allclose(windowed, np.hanning(8) / np.linalg.norm(np.hanning(8)), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: initializers.VarianceScaling(mode="fan_inn"), "Did you mean 'fan_in'"),
        (lambda: initializers.VarianceScaling(scale=0), "above 0"),
        (lambda: initializers.Orthogonal()((3,)), "at least two axes"),
        (lambda: initializers.get("glorot_unifrom"), "GlorotUniform|glorot"),
        (lambda: initializers.get(3), "got 3"),
    ],
)
def test_errors(call, words):
    with pytest.raises(ValueError, match=words):
        call()
