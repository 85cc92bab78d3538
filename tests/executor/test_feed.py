"""The feed: chunks of batches from iterables, those of Datasets drawn several at a time."""

import numpy as np
import pytest

from lamina.datasets import Dataset
from lamina.executor.feed import IterableSource

X = np.arange(60.0, dtype=np.float64).reshape(30, 2)
Y = np.arange(30, dtype=np.int64)


def chunks(source, steps, capacity):
    """The batches of a pass as they arrive in chunks, and how many each brought."""
    batches, counts = [], []
    now = source.epoch(0)
    while now.peek() is not None:
        chunk = now.take(steps, capacity)
        counts.append(chunk.steps)
        batches += [[a[k].copy() for a in chunk.arrays] for k in range(chunk.steps)]
    return batches, counts


class Counting:
    """A Dataset whose iterators tell how they were asked."""

    def __init__(self, dataset):
        self.dataset, self.singles, self.blocks = dataset, 0, []

    def __iter__(self):
        outer, inner = self, iter(self.dataset)

        class Iterator:
            def __next__(self):
                element = next(inner)
                outer.singles += 1
                return element

            def next_batches(self, limit):
                block = inner.next_batches(limit)
                if block is not None:
                    outer.blocks.append(block[0])
                return block

        return Iterator()


def test_batches_of_a_dataset_are_drawn_at_once():
    dataset = Counting(Dataset.from_tensor_slices((X, Y)).batch(4))
    batches, counts = chunks(IterableSource(dataset, lambda b: b), 4, 6)
    assert counts == [4, 3, 1]  # the last batch is short
    assert dataset.blocks == [3, 2] and dataset.singles == 3
    np.testing.assert_array_equal(np.concatenate([b[0] for b in batches]), X.astype(np.float32), strict=True)
    np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), Y.astype(np.int32), strict=True)
    assert [len(b[0]) for b in batches] == [4] * 7 + [2]


def test_no_batch_is_drawn_ahead_of_those_taken():
    dataset = Dataset.from_tensor_slices((X, Y)).shuffle(None, seed=1).batch(2)
    source = IterableSource(dataset, lambda b: b)
    now = source.epoch(0)
    first = now.take(6, 8)
    assert first.steps == 6 and not now.holding
    state = source.get_state()
    assert state["drawn"] == 6
    rest = now.take(8, 8).arrays[1].copy()
    again = IterableSource(dataset, lambda b: b)
    np.testing.assert_array_equal(again.set_state(state, 0, 6).take(8, 8).arrays[1], rest)


@pytest.mark.parametrize("steps", [2, 5, 8])
def test_batches_of_other_shapes_when_joined_come_one_by_one(steps):
    """A conversion that pads to the longest of what it is given."""
    lengths = np.array([1, 1, 1, 3, 2, 2, 2, 2, 1, 1, 1, 1])

    def padded(rows):
        out = np.zeros((len(rows), lengths[rows].max()), np.int32)
        for i, r in enumerate(rows):
            out[i, : lengths[r]] = r + 1
        return out

    source = IterableSource(Dataset.range(12).batch(2), padded)
    batches, _ = chunks(source, steps, 8)
    assert len(batches) == 6
    for k, (b,) in enumerate(batches):
        assert [sorted(set(row[row > 0].tolist())) for row in b] == [[2 * k + 1], [2 * k + 2]]
        np.testing.assert_array_equal((b > 0).sum(1), lengths[2 * k : 2 * k + 2])
