"""Random chains of stages: restored at every position they go on as before, and planning changes nothing."""

import json

import numpy as np
from dataset_pipelines import same_all, take
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.datasets import Dataset, Options

small = st.integers(1, 5)
seeds = st.integers(0, 3)

SOURCES = st.one_of(
    st.integers(0, 14).map(lambda n: lambda: Dataset.range(n)),
    st.integers(0, 14).map(lambda n: lambda: Dataset.from_tensor_slices(np.arange(n) * 3)),
    st.integers(0, 14).map(lambda n: lambda: Dataset.from_source(list(range(n)))),
    st.integers(0, 14).map(lambda n: lambda: Dataset.range(n).filter(lambda x: x % 3 != 1)),
    st.tuples(st.integers(0, 8), seeds).map(
        lambda a: lambda: Dataset.random(seed=a[1]).take(a[0]).map(lambda x: x % 9)
    ),
)
STAGES = st.one_of(
    small.map(lambda k: ("take", lambda d: d.take(k * 3))),
    small.map(lambda k: ("skip", lambda d: d.skip(k - 1))),
    st.tuples(small, small).map(lambda a: ("shard", lambda d: d.shard(max(a), min(a) - 1))),
    st.integers(0, 3).map(lambda k: ("repeat", lambda d: d.repeat(k))),
    st.tuples(small, seeds).map(lambda a: ("shuffle", lambda d: d.shuffle(a[0], seed=a[1]))),
    seeds.map(lambda s: ("shuffle all", lambda d: d.shuffle(None, seed=s))),
    st.just(("map", lambda d: d.map(lambda x: x + 1))),
    small.map(lambda k: ("parallel map", lambda d: d.map(lambda x: x * 2, num_parallel_calls=k))),
    st.just(("vectorized", lambda d: d.map(lambda x: x + 5, vectorized=True))),
    small.map(lambda k: ("filter", lambda d: d.filter(lambda x: x % (k + 1) != 0))),
    st.just(("cache", lambda d: d.cache())),
    small.map(lambda k: ("prefetch", lambda d: d.prefetch(k))),
    small.map(lambda k: ("batches", lambda d: d.batch(k).unbatch())),
    small.map(lambda k: ("rebatch", lambda d: d.batch(k).rebatch(3).unbatch())),
    small.map(lambda k: ("dropped", lambda d: d.batch(k, drop_remainder=True).unbatch())),
    small.map(lambda k: ("flat_map", lambda d: d.flat_map(lambda x: Dataset.range(x % k)))),
    st.tuples(small, small).map(
        lambda a: ("interleave", lambda d: d.interleave(lambda x: Dataset.range(x % 4), a[0], a[1]))
    ),
    st.tuples(small, small).map(
        lambda a: ("window", lambda d: d.window(a[0], shift=a[1]).flat_map(lambda w: w.batch(2)).unbatch())
    ),
    small.map(
        lambda k: ("group", lambda d: d.group_by_window(lambda x: x % 3, lambda key, w: w.map(lambda x: x + key), k))
    ),
    st.just(("enumerate", lambda d: d.enumerate().map(lambda i, x: i + x))),
    st.just(("zip", lambda d: Dataset.zip((d, Dataset.range(9))).map(lambda a, b: a + b))),
    st.just(("concatenate", lambda d: d.map(np.int64).concatenate(Dataset.range(3)))),
    st.just(("unique", lambda d: d.unique())),
    st.just(("scan", lambda d: d.scan(np.int64(0), lambda s, x: (s + np.int64(1), s + x)))),
    st.just(("take_while", lambda d: d.take_while(lambda x: x < 40))),
    seeds.map(
        lambda s: ("sample", lambda d: Dataset.sample_from_datasets([d.map(np.int64), Dataset.range(4)], seed=s))
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(SOURCES, st.lists(STAGES, min_size=1, max_size=5), st.booleans())
def test_resume_of_random_compositions(source, stages, batched):
    def build():
        dataset = source()
        for _, stage in stages:
            dataset = stage(dataset)
        return dataset.batch(3) if batched else dataset

    limit = 25
    iterator = iter(build())
    seen, states = [], []
    while len(seen) < limit:
        states.append(json.dumps(iterator.get_state()))
        got = take(iterator, 1)
        if not got:
            break
        seen.extend(got)
    iterator.close()
    for position, state in enumerate(states):
        again = iter(build())
        again.set_state(json.loads(state))
        assert same_all(take(again, len(seen) - position), seen[position:]), f"restored at {position}"
        again.close()

    options = Options()
    options.planning = False
    assert same_all(take(iter(build().with_options(options)), limit), seen)
