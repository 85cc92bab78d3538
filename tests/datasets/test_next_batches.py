"""`DatasetIterator.next_batches`: several batches at once are those that come one by one."""

import numpy as np
import pytest

from lamina.datasets import Dataset

X = np.arange(46.0, dtype=np.float32).reshape(23, 2)
Y = np.arange(23, dtype=np.int32)
SOURCE = Dataset.from_tensor_slices({"x": X, "y": Y})
JOINED = {
    "plain": SOURCE.batch(4),
    "remainder dropped": SOURCE.batch(4, drop_remainder=True),
    "all orders": SOURCE.skip(1).shuffle(None, seed=3, reshuffle_each_iteration=False).repeat(3).shard(2, 1).batch(3),
    "buffered": SOURCE.shuffle(5, 1, False).repeat(2).batch(4),
    "endless": SOURCE.shuffle(5, 1, False).repeat().batch(4).take(9),
    "vectorised map": SOURCE.map(lambda e: {**e, "z": e["x"] + 1}, vectorized=True).batch(4),
}
SINGLE = {
    "a function for each sample": SOURCE.map(lambda e: e).batch(4),
    "a stream": SOURCE.filter(lambda e: e["y"] > 2).batch(4),
    "no batches": SOURCE,
}


def in_turn(dataset, limits):
    """The batches of a pass, drawn by `next_batches` with limits in turn where it gives any, and the most of a call."""
    iterator, batches, most = iter(dataset), [], 0
    while True:
        block = iterator.next_batches(limits[len(batches) % len(limits)])
        if block is None:
            try:
                batches.append(next(iterator))
            except StopIteration:
                return batches, most
        else:
            count, element = block
            most = max(most, count)
            rows = {k: v.reshape(count, -1, *v.shape[1:]) for k, v in element.items()}
            batches += [{k: v[i] for k, v in rows.items()} for i in range(count)]


def same(a, b):
    assert len(a) == len(b)
    for p, q in zip(a, b, strict=True):
        assert p.keys() == q.keys()
        for k in p:
            np.testing.assert_array_equal(p[k], q[k], strict=True)


@pytest.mark.parametrize("name", [n for n in JOINED if n != "endless"])
def test_joined_batches_are_those_one_by_one(name):
    expected = list(JOINED[name])
    got, most = in_turn(JOINED[name], (3, 2, 100))
    same(got, expected)
    assert most > 1


@pytest.mark.parametrize("name", [*SINGLE, "endless"])
def test_other_pipelines_give_none(name):
    dataset = {**SINGLE, **JOINED}[name]
    expected = [dict(e) for e in dataset]
    got, most = in_turn(dataset, (3,))
    same(got, expected)
    assert most == 0


def test_state_behind_joined_batches():
    dataset = SOURCE.shuffle(7, seed=2).repeat(2).batch(3)
    iterator = iter(dataset)
    assert iterator.next_batches(4)[0] == 4
    state = iterator.get_state()
    rest = list(iterator)
    again = iter(dataset)
    again.set_state(state)
    same(list(again), rest)
    assert len(rest) == 16 - 4


def test_an_error_comes_with_the_batch_that_has_it():
    def broken(e):
        if (e["y"] == 9).any():
            raise KeyError("nine")
        return e

    iterator = iter(SOURCE.map(broken, vectorized=True).batch(4))
    assert iterator.next_batches(5) is None
    assert [next(iterator)["y"][0], next(iterator)["y"][0]] == [0, 4]
    with pytest.raises(Exception, match="nine"):
        next(iterator)
