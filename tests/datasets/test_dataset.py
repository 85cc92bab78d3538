"""Sources, specs, errors and terminals of Dataset, beyond the values that other tests compare."""

import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from lamina.datasets import (
    AUTOTUNE,
    INFINITE_CARDINALITY,
    UNKNOWN_CARDINALITY,
    Dataset,
    DatasetSpec,
    Options,
    TensorSpec,
    assert_cardinality,
)


class Point(NamedTuple):
    x: int
    y: float


class Numbers:
    def __init__(self, n):
        self.n, self.read = n, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.read.append(i)
        return {"i": i, "square": np.float32(i * i)}


def test_importing_datasets_does_not_import_jax():
    code = "import sys, lamina.datasets as d; d.Dataset.range(3); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_structures_are_kept():
    dataset = Dataset.from_tensor_slices({"p": Point(np.arange(3), np.ones((3, 2))), "n": None})
    element = next(iter(dataset))
    assert type(element["p"]) is Point and element["n"] is None
    assert dataset.element_spec["p"].y == TensorSpec((2,), "float64")
    assert type(next(iter(dataset.batch(2).map(lambda d: d["p"])))) is Point


def test_python_values_get_tf_datas_dtypes():
    spec = Dataset.from_tensors((1, 2.0, "text", True, [1, 2], 2**40, np.float64(3))).element_spec
    assert [s.dtype.name for s in spec] == ["int32", "float32", "object", "bool", "int32", "int64", "float64"]


def test_unicode_becomes_utf8():
    assert list(Dataset.from_tensor_slices(np.array(["ä", "b"]))) == ["ä".encode(), b"b"]


def test_elements_are_copies():
    x = np.zeros((4, 3))
    for dataset in (Dataset.from_tensor_slices(x), Dataset.from_tensor_slices(x).batch(2), Dataset.from_tensors(x)):
        for element in dataset:
            element += 1
    assert not x.any()


def test_batches_are_fresh_memory():
    batches = list(Dataset.from_tensor_slices(np.arange(64).reshape(16, 4)).repeat(2).batch(4))
    for i, a in enumerate(batches):
        for b in batches[i + 1 :]:
            assert not np.shares_memory(a, b)
    mapped = list(Dataset.range(8).map(lambda x: np.full(3, x)).batch(4))
    assert not np.shares_memory(mapped[0], mapped[1])


def test_data_frames():
    frame = pd.DataFrame({"a": [1, 2, 3], "s": ["x", "y", "z"]})
    for dataset in (Dataset.from_tensor_slices(frame), Dataset.from_source(frame)):
        assert list(dataset)[1] == {"a": 2, "s": b"y"}
    labels = frame.pop("a")
    assert list(Dataset.from_tensor_slices((dict(frame), labels)))[2] == ({"s": b"z"}, 3)


def test_from_source_reads_only_what_is_needed():
    source = Numbers(1000)
    dataset = Dataset.from_source(source).shuffle(None, seed=1).skip(10).batch(4).take(2)
    assert [b["i"].shape for b in dataset] == [(4,), (4,)]
    assert len(source.read) == 8
    assert Dataset.from_source(source).element_spec == {
        "i": TensorSpec((), "int32"),
        "square": TensorSpec((), "float32"),
    }


def test_memmap_is_not_read_as_a_whole(tmp_path):
    path = tmp_path / "data"
    np.memmap(path, np.uint8, "w+", shape=(1 << 20, 1024)).flush()  # a sparse file of 1 GB
    dataset = Dataset.from_source(np.memmap(path, np.uint8, "r", shape=(1 << 20, 1024))).shuffle(None).batch(64).take(4)
    batches = list(dataset)
    assert type(batches[0]) is np.ndarray and batches[0].shape == (64, 1024)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Dataset.from_source(5), TypeError, "__len__ and __getitem__"),
        (lambda: Dataset.from_source("text"), TypeError, "__len__ and __getitem__"),
        (lambda: Dataset.from_source(iter([1])), TypeError, "from_generator"),
        (lambda: Dataset.from_tensor_slices([[1], [2, 3]]), ValueError, "different shapes"),
        (lambda: Dataset.from_tensor_slices((np.zeros(3), np.zeros(4))), ValueError, r"\[0\]: 3, \[1\]: 4"),
        (lambda: Dataset.from_tensor_slices({}), ValueError, "at least one array"),
        (lambda: Dataset.from_tensors(np.array([object()])), TypeError, "bytes or str"),
        (lambda: Dataset.from_tensors(np.datetime64("2020-01-01")), TypeError, "numbers and byte strings"),
        (lambda: Dataset.from_generator([1, 2], output_signature=TensorSpec(())), TypeError, "lambda"),
        (lambda: Dataset.from_generator(lambda: [1]), TypeError, "output_signature is missing"),
        (lambda: Dataset.range(3, 4, 0), ValueError, "step must not be 0"),
        (lambda: Dataset.range(1.5), TypeError, "integer"),
        (lambda: Dataset.range(3, dtype="int8"), TypeError, "output_type"),
        (lambda: Dataset.zip([Dataset.range(3)]), TypeError, "a tuple or a dict"),
        (lambda: Dataset.zip((Dataset.range(3), [1])), TypeError, "lamina Dataset"),
        (lambda: Dataset.range(3).concatenate([1]), TypeError, "lamina Dataset"),
        (lambda: Dataset.range(3).map("f"), TypeError, "map_func must be a function"),
        (lambda: Dataset.range(3).map(lambda x: x, num_parallel_calls=0), ValueError, "num_parallel_calls"),
        (lambda: Dataset.range(3).batch(2.5), TypeError, "batch_size must be an integer"),
        (lambda: Dataset.range(3).take("2"), TypeError, "count must be an integer"),
        (lambda: Dataset.range(3).prefetch(-3), ValueError, "AUTOTUNE"),
        (lambda: Dataset.range(3).shard(2, -1), ValueError, "index"),
        (lambda: Dataset.range(3).ragged_batch(2), NotImplementedError, "padded_batch"),
        (lambda: Dataset.range(3).sparse_batch(2, [3]), NotImplementedError, "padded_batch"),
        (lambda: Dataset.range(3).apply(lambda d: 3), TypeError, "lamina Dataset"),
        (lambda: Dataset.range(3).with_options(3), TypeError, "an Options"),
        (lambda: Dataset.sample_from_datasets([Dataset.range(3)], [1, 2]), ValueError, "weights"),
        (lambda: Dataset.sample_from_datasets([]), TypeError, "at least one"),
        (lambda: Dataset.choose_from_datasets([Dataset.range(3)], 3), TypeError, "choice_dataset"),
        (lambda: Dataset.range(3).rejection_resample(lambda x: x, [-1, 2]), ValueError, "target_dist"),
        (lambda: list(Dataset.range(3).flat_map(lambda x: x)), TypeError, "result of map_func"),
        (lambda: list(Dataset.range(3).filter(lambda x: x)), ValueError, "one boolean"),
        (lambda: list(Dataset.range(3).scan(0, lambda s, x: x)), TypeError, "new_state, output"),
        (lambda: list(Dataset.range(3).map(lambda x: (x, {1, 2}))), TypeError, "numbers and byte strings|bytes or str"),
        (lambda: list(Dataset.range(3).map(lambda x: np.ones(int(x))).batch(3)), ValueError, "padded_batch"),
        (lambda: list(Dataset.range(3).window(2).batch(2)), TypeError, "flat_map"),
        (lambda: list(Dataset.range(4).map(lambda x: x[:1], vectorized=True).batch(4)), ValueError, "as many"),
        (lambda: Options(workers="fork"), ValueError, "'thread' or 'process'"),
        (lambda: setattr(Options(), "determinstic", True), TypeError, "Did you mean 'deterministic'"),
    ],
)
def test_wrong_input_is_refused_with_a_cure(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_generator_that_breaks_its_promises():
    def wrong(kind):
        yield 1, np.zeros(2)
        yield {"structure": 3, "shape": (1, np.zeros(3)), "value": (1.5, np.zeros(2)), "text": ("a", np.zeros(2))}[kind]

    signature = TensorSpec((), "int32"), TensorSpec((2,), "float64")
    for kind, error in (("structure", TypeError), ("shape", ValueError), ("value", TypeError), ("text", TypeError)):
        iterator = iter(Dataset.from_generator(lambda kind=kind: wrong(kind), output_signature=signature))
        next(iterator)
        with pytest.raises(error, match="element 1"):
            next(iterator)

    def raises():
        yield 1
        raise OSError("disk")

    iterator = iter(Dataset.from_generator(raises, output_signature=TensorSpec((), "int32")))
    next(iterator)
    with pytest.raises(OSError, match="disk") as e:
        next(iterator)
    assert "element 1" in e.value.__notes__[0]
    assert list(iterator) == []


def test_element_spec_behind_functions():
    dataset = Dataset.from_tensor_slices((np.zeros((10, 4), np.float32), np.arange(10)))
    mapped = dataset.batch(4).map(lambda x, y: {"x": x * 2, "mean": x.mean(), "y": y})
    assert mapped.element_spec == {
        "x": TensorSpec((None, 4), "float32"),
        "mean": TensorSpec((), "float32"),
        "y": TensorSpec((None,), "int64"),
    }
    assert dataset.window(3).element_spec == tuple(map(DatasetSpec, dataset.element_spec))
    assert Dataset.range(1, 4).map(lambda n: np.zeros(int(n))).element_spec == TensorSpec((None,), "float64")
    declared = Dataset.range(0).map(lambda n: n, output_signature=TensorSpec((), "int8"))
    assert declared.element_spec == TensorSpec((), "int8")
    with pytest.raises(ValueError, match="output_signature"):
        _ = Dataset.range(0).map(lambda n: n).element_spec


def test_looking_at_the_spec_leaves_no_trace():
    dataset = Dataset.range(30).shuffle(None, seed=1).map(lambda x: x + 1)
    fresh = [int(x) for x in Dataset.range(30).shuffle(None, seed=1).map(lambda x: x + 1)]
    _ = dataset.element_spec
    assert [int(x) for x in dataset] == fresh


@pytest.mark.parametrize(
    "dataset, expected",
    [
        (Dataset.range(10).window(3, shift=2), 5),
        (Dataset.range(10).window(3, shift=2, drop_remainder=True), 4),
        (Dataset.range(10).batch(3).unbatch(), UNKNOWN_CARDINALITY),
        (Dataset.range(10).batch(3, drop_remainder=True).unbatch(), 9),
        (Dataset.range(10).repeat(), INFINITE_CARDINALITY),
        (Dataset.range(0).repeat(), 0),
        (Dataset.range(10).filter(lambda x: True), UNKNOWN_CARDINALITY),
        (Dataset.range(10).concatenate(Dataset.range(3)), 13),
        (Dataset.range(10).skip(3).shard(2, 0).take(9), 4),
        (Dataset.range(10).prefetch(2).cache().ignore_errors(), UNKNOWN_CARDINALITY),
    ],
)
def test_cardinality(dataset, expected):
    assert dataset.cardinality() == expected
    if expected >= 0:
        assert len(dataset) == expected == len(list(dataset))


def test_declared_cardinality_is_checked():
    evens = Dataset.range(10).filter(lambda x: x % 2 == 0)
    assert len(evens.apply(assert_cardinality(5))) == 5
    for wrong in (4, 6):
        with pytest.raises(ValueError, match=f"expected {wrong}"):
            list(evens.apply(assert_cardinality(wrong)))


def test_fingerprint_tells_pipelines_apart():
    def build(n=5, k=1, size=2):
        return Dataset.from_tensor_slices(np.arange(n)).map(lambda x: x + k).batch(size).fingerprint()

    assert build() == build()
    assert len({build(), build(n=6), build(k=2), build(size=3)}) == 4


def test_vectorized_map_equals_the_plain_one():
    source = Dataset.from_tensor_slices((np.arange(200.0), np.arange(200)))
    plain = source.map(lambda x, y: (x * 2, y + 1))
    calls = []

    def many(x, y):
        calls.append(len(x))
        return x * 2, y + 1

    for dataset in (source, source.filter(lambda x, y: True)):
        calls.clear()
        assert list(dataset.map(many, vectorized=True)) == list(plain)
        assert len(calls) < 40
    after_batch = list(source.batch(50).map(many, vectorized=True))
    assert len(after_batch) == 4 and after_batch[0][0].shape == (50,)


def test_state_of_another_pipeline_is_refused():
    state = iter(Dataset.range(5).batch(2)).get_state()
    with pytest.raises(ValueError, match="another pipeline"):
        iter(Dataset.range(5).take(2)).set_state(state)
    with pytest.raises(ValueError, match="get_state"):
        iter(Dataset.range(5)).set_state(3)
    used = iter(Dataset.range(5).batch(2))
    next(used)
    state = used.get_state()
    rest = [b.tolist() for b in used]
    used.set_state(state)  # an iterator that was read from goes back
    assert [b.tolist() for b in used] == rest


def test_closed_iterator_is_over():
    with iter(Dataset.range(5).prefetch(2)) as iterator:
        next(iterator)
    assert list(iterator) == []


def test_options_merge_and_the_last_wins():
    first, second = Options(), Options()
    first.deterministic, first.workers = False, "process"
    first.autotune.ram_budget = 100
    second.deterministic = True
    second.autotune.cpu_budget = 3
    merged = Dataset.range(3).with_options(first).map(lambda x: x).with_options(second).options()
    assert merged.deterministic is True and merged.workers == "process"
    assert merged.autotune.ram_budget == 100 and merged.autotune.cpu_budget == 3
    assert first.autotune.cpu_budget == 0


def test_ignored_errors_are_counted_and_logged(caplog):
    def refuse(x):
        if x % 2:
            raise ValueError("odd")
        return x

    dataset = Dataset.range(6).map(refuse, num_parallel_calls=AUTOTUNE).ignore_errors(log_warning=True)
    assert list(dataset) == [0, 2, 4]
    assert dataset._node.ignored == 3
    assert len(caplog.records) == 3 and "element 1" in caplog.records[0].getMessage()


def test_mapped_results_may_change_shape_from_batch_to_batch():
    dataset = Dataset.range(8).map(lambda x: np.full(int(x) // 4 + 1, x)).batch(4)
    assert [b.shape for b in dataset] == [(4, 1), (4, 2)]
