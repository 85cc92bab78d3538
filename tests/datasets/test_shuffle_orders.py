"""Shuffles: permutations, uniform, bounded by their buffer, the same for streams and indices, of constant state."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest

from lamina.datasets import Dataset, orders
from lamina.datasets.orders import Permutation, ShuffleStream, shuffled


@pytest.mark.parametrize("n", [1, 2, 3, 10, 97, 1000, 40_000])
def test_computed_permutation_is_one(n):
    order = Permutation(n, (1, 2))
    found = np.concatenate([order.locate(np.arange(i, min(i + 300, n))) for i in range(0, n, 300)])
    assert np.array_equal(np.sort(found), np.arange(n))
    at_random = np.random.default_rng(0).integers(0, n, 50)
    assert np.array_equal(order.locate(at_random), found[at_random])


def test_computed_permutation_looks_random():
    n = 20_000
    order = Permutation(n, (5,)).locate(np.arange(n))
    assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 0.03
    steps = np.diff(order) % n
    counts = np.histogram(steps, 20, (0, n))[0]
    assert ((counts - n / 20) ** 2 / (n / 20)).sum() < 60  # chi2 of 19 degrees: 60 is beyond 1e-5
    fixed = (order == np.arange(n)).sum()
    assert fixed < 10


def test_large_datasets_use_the_computed_one(monkeypatch):
    monkeypatch.setattr(orders, "EXACT_LIMIT", 100)
    assert isinstance(shuffled(101, None, (1,)), Permutation)
    dataset = Dataset.range(3000).shuffle(None, seed=1).batch(64)
    first = np.concatenate(list(dataset))
    assert np.array_equal(np.sort(first), np.arange(3000))
    assert not np.array_equal(first, np.concatenate(list(dataset)))


def test_large_buffered_shuffles_keep_their_order(monkeypatch):
    small = np.concatenate(list(Dataset.range(40_000).shuffle(700, seed=1).batch(64)))
    monkeypatch.setattr(orders, "EXACT_LIMIT", 100)
    large = np.concatenate(list(Dataset.range(40_000).shuffle(700, seed=1).batch(64)))
    assert np.array_equal(small, large)
    whole = iter(Dataset.range(40_000).shuffle(700, seed=1))
    for _ in range(39_000):
        next(whole)
    state = whole.get_state()
    assert len(json.dumps(state)) < 300
    again = iter(Dataset.range(40_000).shuffle(700, seed=1))
    again.set_state(state)
    assert np.array_equal(np.array(list(again)), small[39_000:])


def test_every_order_is_as_likely():
    counts = Counter(tuple(int(x) for x in Dataset.range(4).shuffle(None, seed=s)) for s in range(2400))
    assert len(counts) == 24
    assert sum((c - 100) ** 2 / 100 for c in counts.values()) < 60  # chi2 of 23 degrees: 60 is beyond 1e-4


@pytest.mark.parametrize("n, buffer_size", [(50, 1), (50, 7), (50, 49), (50, 50), (50, 80), (3, 7)])
def test_buffer_bounds_how_far_an_element_comes_forward(n, buffer_size):
    for dataset in (Dataset.range(n), Dataset.range(n).filter(lambda x: True)):
        order = [int(x) for x in dataset.shuffle(buffer_size, seed=3)]
        assert sorted(order) == list(range(n))
        assert all(i < position + buffer_size for position, i in enumerate(order))


def test_stream_agrees_with_the_plain_algorithm():
    stream = ShuffleStream(6, (9,))
    slots = stream.draws(40).tolist()
    waiting, expected = list(range(6)), []
    for coming, slot in enumerate(slots, 6):
        expected.append(waiting[slot])
        waiting[slot] = coming
    assert stream.take(40).tolist() == expected
    assert stream.waiting.tolist() == waiting


def test_same_seed_same_order_other_seed_other_order():
    def order(seed):
        return [int(x) for x in Dataset.range(30).shuffle(10, seed=seed)]

    assert order(1) == order(1) != order(2)


def test_each_pass_has_its_own_order():
    dataset = Dataset.range(30).shuffle(None, seed=1)
    passes = [[int(x) for x in dataset] for _ in range(3)]
    assert len(set(map(tuple, passes))) == 3
    epochs = [int(x) for x in Dataset.range(30).shuffle(None, seed=1).repeat(2)]
    assert epochs[:30] != epochs[30:] and sorted(epochs[:30]) == sorted(epochs[30:])
    fixed = Dataset.range(30).shuffle(None, seed=1, reshuffle_each_iteration=False)
    assert list(fixed) == list(fixed)


def test_a_stage_on_top_does_not_restart_the_orders():
    shuffled_once = Dataset.range(30).shuffle(None, seed=1)
    first = np.concatenate(list(shuffled_once.batch(5)))
    assert not np.array_equal(first, np.concatenate(list(shuffled_once.batch(5))))


def test_unseeded_order_follows_numpys_seed():
    def order():
        np.random.seed(3)
        return [int(x) for x in Dataset.range(30).shuffle(None)]

    assert order() == order()


def test_state_of_a_shuffle_holds_no_elements():
    dataset = Dataset.from_tensor_slices(np.zeros((5000, 50))).shuffle(None).repeat().batch(32)
    iterator = iter(dataset)
    for _ in itertools.repeat(None, 200):
        next(iterator)
    assert len(json.dumps(iterator.get_state())) < 250
    stream = iter(Dataset.range(5000).filter(lambda x: True).map(lambda x: np.full(50, x)).shuffle(1000))
    for _ in itertools.repeat(None, 2000):
        next(stream)
    assert len(json.dumps(stream.get_state())) < 500


def test_shuffle_of_an_endless_dataset():
    with pytest.raises(ValueError, match="endless"):
        Dataset.range(3).repeat().shuffle(None)
    for size in (0, -5):
        with pytest.raises(ValueError, match="buffer_size must be at least 1"):
            Dataset.range(3).shuffle(size)
    unknown = Dataset.range(9).filter(lambda x: True)
    assert sorted(unknown.shuffle(unknown.cardinality())) == list(range(9))
