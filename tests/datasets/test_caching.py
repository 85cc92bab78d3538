"""Kept elements: cache, snapshot, save and load."""

import json
import os

import numpy as np
import pytest
from dataset_pipelines import check_resume, same_all, take

from lamina.datasets import Dataset, TensorSpec


def counted(n=6, stream=False):
    calls = []

    def f(x):
        calls.append(int(x))
        return x * 2

    source = Dataset.range(n).filter(lambda x: True) if stream else Dataset.range(n)
    return source.map(f), calls


@pytest.mark.parametrize("stream", [False, True])
def test_cache_calls_a_function_once_an_element(stream):
    dataset, calls = counted(stream=stream)
    cached = dataset.cache()
    for _ in range(3):
        assert list(cached) == [0, 2, 4, 6, 8, 10]
    assert [b.tolist() for b in cached.batch(4)] == [[0, 2, 4, 6], [8, 10]]
    assert calls == list(range(6))


def test_an_indexed_cache_keeps_what_a_partial_pass_read():
    dataset, calls = counted()
    cached = dataset.cache()
    take(iter(cached), 3)
    assert list(cached) == [0, 2, 4, 6, 8, 10] and sorted(calls) == list(range(6))


def test_cache_keeps_one_order():
    cached = Dataset.range(20).shuffle(None).map(lambda x: x + 1).cache()
    take(iter(cached), 7)
    first = list(cached)
    assert sorted(first) == list(range(1, 21))
    assert list(cached) == first


def test_what_is_handed_out_of_a_cache_may_be_written_to():
    for dataset in (Dataset.range(3).map(lambda x: np.full(4, x)), Dataset.range(3).filter(lambda x: True).batch(3)):
        cached = dataset.cache()
        for _ in range(3):
            for element in cached:
                assert not (element == 99).any()
                element[:] = 99


@pytest.mark.parametrize("kind", ["cache", "snapshot"])
def test_files_outlive_the_dataset(tmp_path, kind):
    def build():
        dataset, calls = counted(stream=True)
        path = os.path.join(tmp_path, "kept")
        return dataset.cache(path) if kind == "cache" else dataset.snapshot(path), calls

    kept, calls = build()
    assert take(iter(kept), 2) == [0, 2]
    assert os.listdir(tmp_path) == [] or kind == "snapshot"
    assert list(kept) == [0, 2, 4, 6, 8, 10]
    calls.clear()
    again, more_calls = build()
    assert list(again) == [0, 2, 4, 6, 8, 10] and not calls and (not more_calls or kind == "snapshot")


def test_snapshot_follows_the_pipeline(tmp_path):
    def build(factor):
        return Dataset.range(3).map(lambda x: x * factor).snapshot(str(tmp_path))

    assert list(build(2)) == [0, 2, 4]
    assert list(build(3)) == [0, 3, 6]
    assert len(os.listdir(tmp_path)) == 2


def test_resume_of_file_caches(tmp_path):
    check_resume(lambda: Dataset.range(9).filter(lambda x: True).cache(os.path.join(tmp_path, "c")).repeat(2))
    numbers = iter(range(100))
    check_resume(lambda: Dataset.range(9).cache(os.path.join(tmp_path, f"c{next(numbers)}")))


@pytest.mark.parametrize("compression", [None, "GZIP"])
def test_save_and_load(tmp_path, compression):
    dataset = Dataset.from_tensor_slices(
        {
            "a": np.arange(12, dtype=np.float16).reshape(4, 3),
            "b": (np.array([b"x", b"", b"\x00y", b"zz"], object), np.array([True, False, True, True])),
            "big": np.arange(4, dtype=">i4"),
        }
    )
    path = tmp_path / "saved"
    dataset.save(path, compression)
    loaded = Dataset.load(str(path), compression=compression)
    assert len(loaded) == 4 and loaded.element_spec["b"] == dataset.element_spec["b"]
    for a, b in zip(dataset, loaded, strict=True):
        assert np.array_equal(a["a"], b["a"]) and a["b"] == b["b"] and a["big"] == b["big"]
    check_resume(lambda: Dataset.load(str(path)).shuffle(None, seed=1).repeat(2))


def test_shards_are_read_as_asked(tmp_path):
    path = str(tmp_path / "saved")
    Dataset.range(9).save(path, shard_func=lambda x: x % 3)
    assert sorted(Dataset.load(path)) == list(range(9))
    turns = Dataset.load(path, reader_func=lambda shards: shards.interleave(lambda s: s, cycle_length=3))
    assert list(turns) == list(range(9))
    with pytest.raises(ValueError, match="shard_func must return one integer"):
        Dataset.range(3).save(path, shard_func=lambda x: -1)
    assert sorted(Dataset.load(path)) == list(range(9)), "a failed save must not replace what was there"


def test_varying_shapes_are_saved(tmp_path):
    ragged = Dataset.range(5).map(lambda n: np.full(int(n), n))
    ragged.save(tmp_path / "r")
    loaded = Dataset.load(tmp_path / "r")
    assert loaded.element_spec == TensorSpec((None,), "int64")
    assert same_all(list(loaded), list(ragged))


def test_damage_is_named(tmp_path):
    path = str(tmp_path / "saved")
    Dataset.range(9).save(path)
    data = os.path.join(path, "00000.data")
    with open(data, "rb") as f:
        content = f.read()
    with open(data, "wb") as f:
        f.write(content[:-3])
    with pytest.raises(ValueError, match="00000.data is cut short: element 8"):
        list(Dataset.load(path))
    with open(data, "wb") as f:
        f.write(b"\xff" * len(content))
    with pytest.raises(ValueError, match="damaged at element 0"):
        list(Dataset.load(path))
    with pytest.raises(FileNotFoundError, match="Dataset.save"):
        Dataset.load(str(tmp_path / "nothing"))
    meta = os.path.join(path, "metadata.json")
    with open(meta) as f:
        changed = {**json.load(f), "version": 99}
    with open(meta, "w") as f:
        json.dump(changed, f)
    with pytest.raises(ValueError, match="format version 99"):
        Dataset.load(path)
