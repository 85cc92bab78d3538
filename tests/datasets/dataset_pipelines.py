"""Pipelines that between them use every stage, and helpers to compare their elements."""

from __future__ import annotations

import json

import numpy as np

from lamina.core.nest import assert_same_structure, flatten
from lamina.datasets import AUTOTUNE, Dataset, Options


def same(a, b):
    """Whether two elements are equal in structure, dtype, shape and value."""
    if hasattr(a, "as_numpy_iterator"):
        return same_all(list(a), list(b))
    assert_same_structure(a, b)
    for x, y in zip(flatten(a), flatten(b), strict=True):
        if hasattr(x, "as_numpy_iterator"):
            if not same_all(list(x), list(y)):
                return False
        elif isinstance(x, bytes) or isinstance(y, bytes):
            if x != y:
                return False
        elif x.dtype != y.dtype or x.shape != y.shape or not np.array_equal(x, y):
            return False
    return True


def same_all(a, b):
    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))


def take(iterator, count):
    out = []
    for _ in range(count):
        try:
            out.append(next(iterator))
        except StopIteration:
            break
    return out


def check_resume(build, limit=40, every=1):
    """Saves at each position, restores into a fresh pipeline, and compares with the uninterrupted run."""
    whole = build()
    iterator = iter(whole)
    seen, states = [], []
    while True:
        states.append(json.loads(json.dumps(iterator.get_state())))
        got = take(iterator, 1)
        if not got or len(seen) == limit:
            break
        seen.extend(got)
    iterator.close()
    for position, state in list(enumerate(states))[::every]:
        again = iter(build())
        again.set_state(state)
        rest = take(again, len(seen) - position)
        assert same_all(rest, seen[position:]), f"restored at {position}: {rest} instead of {seen[position:]}"
        if len(seen) < limit:
            assert not take(again, 1), f"restored at {position}: elements behind the end"
        again.close()
    return seen


def slices(n=12):
    return Dataset.from_tensor_slices({"x": np.arange(n, dtype=np.int64), "y": np.arange(n) * 0.5})


def stream(n=12):
    """A source that cannot be read by index."""
    return Dataset.range(n).filter(lambda x: True)


def vector(n):
    return np.full(int(n) % 4 + 1, n)


def unordered():
    options = Options()
    options.deterministic = False
    return options


def refuse(x):
    if x % 4 == 1:
        raise ValueError("refused")
    return x


def generate(n):
    for i in range(n):
        yield i, np.arange(i, dtype=np.float32)


def from_generator():
    from lamina.datasets import TensorSpec

    return Dataset.from_generator(
        generate, args=(7,), output_signature=(TensorSpec((), "int64"), TensorSpec((None,), "float32"))
    )


RANDOM = {
    "shuffle": lambda: Dataset.range(13).shuffle(None, seed=3),
    "shuffle_buffer": lambda: Dataset.range(13).shuffle(4, seed=3),
    "shuffle_repeat": lambda: Dataset.range(7).shuffle(None, seed=3).repeat(3),
    "shuffle_repeat_batch": lambda: slices(7).shuffle(4, seed=3).repeat(3).batch(4),
    "shuffle_fixed": lambda: Dataset.range(7).shuffle(7, seed=3, reshuffle_each_iteration=False).repeat(2),
    "shuffle_endless": lambda: Dataset.range(5).repeat().shuffle(6, seed=3),
    "shuffle_stream": lambda: stream(13).shuffle(4, seed=3),
    "shuffle_stream_all": lambda: stream(9).shuffle(None, seed=3).repeat(2),
    "shuffle_stream_large": lambda: stream(9).shuffle(50, seed=3).repeat(2),
    "shuffle_unseeded": lambda: Dataset.range(9).shuffle(None).repeat(2),
    "shuffle_errors": lambda: Dataset.range(20).map(refuse).filter(lambda x: True).shuffle(5, seed=1).ignore_errors(),
    "shuffle_shuffle": lambda: Dataset.range(13).shuffle(4, seed=3).shuffle(None, seed=4).batch(3),
    "shuffle_batches": lambda: Dataset.range(13).batch(2).shuffle(None, seed=3).repeat(2),
    "random": lambda: Dataset.random(seed=5).take(9),
    "random_anew": lambda: Dataset.random(seed=5, rerandomize_each_iteration=True).take(4).repeat(2),
    "sample": lambda: Dataset.sample_from_datasets([Dataset.range(5), Dataset.range(10, 20)], [0.3, 0.7], seed=1),
    "sample_repeat": lambda: Dataset.sample_from_datasets(
        [Dataset.range(3), Dataset.range(10, 13)], seed=1, rerandomize_each_iteration=True
    ).repeat(2),
    "sample_weights": lambda: Dataset.sample_from_datasets(
        [Dataset.range(9), Dataset.range(10, 20)],
        Dataset.from_tensor_slices([[0.5, 0.5], [1.0, 0.0], [0.2, 0.8]]).repeat(2),
        seed=1,
    ),
    "resample": lambda: Dataset.range(40).rejection_resample(lambda x: x % 2, [0.8, 0.2], [0.5, 0.5], seed=2),
    "resample_unknown": lambda: Dataset.range(40).rejection_resample(lambda x: x % 3, [0.5, 0.3, 0.2], seed=2),
    "inner_shuffles": lambda: Dataset.range(1, 5).flat_map(lambda n: Dataset.range(n).shuffle(None)).repeat(2),
    "cache_shuffle": lambda: Dataset.range(7).map(lambda x: x * 2).cache().shuffle(None, seed=1).repeat(3),
    "cache_of_shuffle": lambda: Dataset.range(7).shuffle(None, seed=1).map(lambda x: x + 1).cache().repeat(2),
    "cache_of_stream_shuffle": lambda: stream(7).shuffle(3, seed=1).cache().repeat(2),
}

PLAIN = {
    "tensors": lambda: Dataset.from_tensors((1, [2.0, 3.0], b"x")),
    "slices": slices,
    "source": lambda: Dataset.from_source([[1, 2], [3, 4], [5, 6]]).repeat(2),
    "generator": from_generator,
    "range": lambda: Dataset.range(3, 20, 4),
    "counter": lambda: Dataset.counter(2, 3),
    "zip": lambda: Dataset.zip({"a": Dataset.range(5), "b": (stream(4), Dataset.range(9).batch(2))}),
    "zip_indexed": lambda: Dataset.zip((Dataset.range(5), slices(9))).repeat(2).batch(3),
    "zip_errors": lambda: Dataset.zip((Dataset.range(12), Dataset.range(12).map(refuse))).ignore_errors(),
    "concatenate": lambda: Dataset.range(3).concatenate(Dataset.range(5, 9)).repeat(2),
    "concatenate_streams": lambda: stream(3).concatenate(Dataset.range(5, 9)),
    "interleave": lambda: Dataset.range(1, 7).interleave(lambda n: Dataset.range(n), cycle_length=3, block_length=2),
    "interleave_parallel": lambda: stream(6).interleave(
        lambda n: Dataset.range(n).batch(2), cycle_length=3, num_parallel_calls=2
    ),
    "flat_map": lambda: Dataset.range(5).flat_map(lambda n: Dataset.range(n).map(lambda x: x + n)).repeat(2),
    "flat_map_nested": lambda: Dataset.range(4).flat_map(
        lambda n: Dataset.range(n).flat_map(lambda m: Dataset.range(m + 1))
    ),
    "choose": lambda: Dataset.choose_from_datasets(
        [stream(4), Dataset.range(10, 20)], Dataset.range(2).repeat(5), stop_on_empty_dataset=False
    ),
    "take": lambda: stream().take(5),
    "skip": lambda: stream().skip(5),
    "skip_indexed": lambda: slices().skip(3).shard(2, 1).take(4),
    "shard": lambda: stream().shard(3, 1),
    "filter": lambda: Dataset.range(12).filter(lambda x: x % 3 == 0).repeat(2),
    "take_while": lambda: Dataset.range(12).take_while(lambda x: x < 5).repeat(2),
    "unique": lambda: Dataset.range(12).map(lambda x: x % 5).unique(),
    "repeat": lambda: stream(4).repeat(3),
    "repeat_forever": lambda: stream(4).repeat(),
    "repeat_nothing": lambda: stream(4).filter(lambda x: False).repeat(),
    "enumerate": lambda: stream().enumerate(5),
    "ignore_errors": lambda: Dataset.range(12).map(refuse).ignore_errors(),
    "ignore_errors_batch": lambda: Dataset.range(12).map(refuse).batch(2).ignore_errors(),
    "batch": lambda: stream().batch(5),
    "batch_indexed": lambda: slices().batch(5, drop_remainder=True).repeat(2),
    "batch_parallel": lambda: slices().batch(5, num_parallel_calls=2),
    "padded_batch": lambda: Dataset.range(10).map(vector).padded_batch(3, padding_values=np.int64(-1)),
    "rebatch": lambda: Dataset.range(13).batch(4).rebatch([3, 1, 5]),
    "unbatch": lambda: stream().batch(5).unbatch(),
    "unbatch_pairs": lambda: slices().batch(5).unbatch(),
    "window": lambda: stream().window(3, shift=2, stride=2),
    "window_pairs": lambda: slices().window(3, shift=1, drop_remainder=True),
    "window_gap": lambda: stream().window(2, shift=5),
    "group_by_window": lambda: Dataset.range(17).group_by_window(
        lambda x: x % 3, lambda key, w: w.map(lambda x: x + key * 100).batch(2), 4
    ),
    "bucket": lambda: Dataset.range(14).map(vector).bucket_by_sequence_length(len, [2, 4], [2, 3, 2]),
    "map": lambda: stream().map(lambda x: (x, {"twice": x * 2})),
    "map_indexed": lambda: slices().map(lambda e: e["x"] + 1).batch(5),
    "map_parallel": lambda: stream().map(lambda x: x * x, num_parallel_calls=3),
    "map_parallel_indexed": lambda: slices().map(lambda e: e["x"] * 2, num_parallel_calls=3),
    "map_parallel_batch": lambda: slices().map(lambda e: e["x"] * 2, num_parallel_calls=2).batch(5).repeat(2),
    "map_autotune": lambda: slices().map(lambda e: e["x"] * 2, num_parallel_calls=AUTOTUNE).batch(5),
    "map_vectorized": lambda: slices().map(lambda e: e["x"] * 2, vectorized=True).batch(5),
    "map_vectorized_stream": lambda: stream(100).map(lambda x: x * 2, vectorized=True).skip(50),
    "scan": lambda: stream().scan((np.int64(0), b""), lambda s, x: ((s[0] + x, s[1] + b"a"), (x, s[0], s[1]))),
    "cache": lambda: stream().cache().repeat(3),
    "cache_indexed": lambda: Dataset.range(7).map(vector).cache().repeat(2),
    "cache_parallel": lambda: Dataset.range(7).map(lambda x: x + 1, num_parallel_calls=2).cache().repeat(2).batch(3),
    "prefetch": lambda: stream().prefetch(3).repeat(2),
    "prefetch_autotune": lambda: slices().batch(2).prefetch(AUTOTUNE),
    "prefetch_errors": lambda: Dataset.range(12).map(refuse).prefetch(2).ignore_errors(),
    "options": lambda: stream().with_options(unordered()).map(lambda x: x + 1),
}

PIPELINES = {**PLAIN, **RANDOM}
