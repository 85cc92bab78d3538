"""Random functions: distributions, seeds, masks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import random
from lamina.ops.symbol import Symbol

N = (20_000,)
CASES = {
    "normal": (lambda seed: random.normal(N, 1.0, 2.0, seed=seed), 1.0, 2.0),
    "truncated_normal": (lambda seed: random.truncated_normal(N, 1.0, 2.0, seed=seed), 1.0, 2.0 * 0.8796),
    "uniform": (lambda seed: random.uniform(N, -1.0, 3.0, seed=seed), 1.0, 4 / np.sqrt(12)),
    "randint": (lambda seed: random.randint(N, 0, 5, seed=seed), 2.0, np.sqrt(2)),
    "gamma": (lambda seed: random.gamma(N, 4.0, seed=seed), 4.0, 2.0),
    "beta": (lambda seed: random.beta(N, 2.0, 2.0, seed=seed), 0.5, np.sqrt(1 / 20)),
    "binomial": (lambda seed: random.binomial(N, 10.0, 0.5, seed=seed), 5.0, np.sqrt(2.5)),
}


@pytest.mark.parametrize("name", CASES)
def test_moments_and_seeds(name):
    draw, mean, deviation = CASES[name]
    values = np.asarray(draw(1), "float64")
    assert abs(values.mean() - mean) < 6 * deviation / np.sqrt(values.size)
    assert abs(values.std() / deviation - 1) < 0.04
    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))
    assert not np.array_equal(draw(None), draw(None))
    stream = random.SeedGenerator(4)
    assert not np.array_equal(draw(stream), draw(stream))


def test_dropout_drops_the_rate_and_keeps_the_mean():
    x = jnp.ones(N)
    y = np.asarray(random.dropout(x, 0.3, seed=1))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((y == 0).mean() - 0.3) < 0.02
    assert random.dropout(x, 0.0, seed=1).tolist() == x.tolist() and not random.dropout(x, 1.0, seed=1).any()
    rows = np.asarray(random.dropout(jnp.ones((50, 8)), 0.5, noise_shape=(None, 1), seed=1))
    assert (rows == rows[:, :1]).all() and 0 < (rows[:, 0] == 0).mean() < 1
    slope = jax.grad(lambda x: random.dropout(x, 0.3, seed=1).sum())(x)
    np.testing.assert_array_equal(slope, y)


def test_shuffle_keeps_slices_whole_and_categorical_follows_the_logits():
    x = np.arange(40).reshape(10, 4)
    y = np.asarray(random.shuffle(x, seed=1))
    assert sorted(map(tuple, y)) == sorted(map(tuple, x)) and not np.array_equal(x, y)
    drawn = random.categorical(np.log([[0.2, 0.8]]), 10_000, seed=1)
    assert drawn.shape == (1, 10_000) and abs(float(drawn.mean()) - 0.8) < 0.02
    assert random.dropout(Symbol((None, 3)), 0.5).shape == (None, 3)


def test_errors():
    with pytest.raises(ValueError, match="between 0 and 1"):
        random.dropout(jnp.ones(3), 1.5)
    with pytest.raises(ValueError, match="noise_shape"):
        random.dropout(jnp.ones(3), 0.5, noise_shape=(1, 1))
