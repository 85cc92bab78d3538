"""Programs: many steps a call, one compilation, only changed values returned."""

import jax.numpy as jnp
import numpy as np
import pytest

from lamina.executor.feed import ArraySource, IterableSource, aligned_empty, as_arrays, device_dtype
from lamina.executor.program import Program


def running_sum(values, batch, number):
    total, scale, calls = values
    total = total + scale * batch[0].sum()
    return {"total": total, "number": number}, [total, scale, calls + 1]


def make(each=False, most=None, jit=True):
    values = [jnp.float32(0), jnp.float32(2), jnp.int32(0)]
    return values, Program(running_sum, values, [np.zeros((4,), np.float32)], each, most, jit=jit)


def stack(program, rows):
    out = aligned_empty((program.capacity, 4), np.float32)
    out[: len(rows)] = rows
    return [out]


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("each", [True, False])
def test_chunks_equal_single_steps(jit, each):
    rows = np.arange(28, dtype=np.float32).reshape(7, 4)
    values, program = make(each, jit=jit)
    sizes = [3, 1, 3] if program.capacity > 1 else [1] * 7
    start, seen = 0, []
    for size in sizes:
        batch = stack(program, rows[start : start + size]) if program.capacity > 1 else [rows[start]]
        logs = program(values, batch, size, start)
        seen += [logs.read(i)["total"] for i in range(size)] if each else [logs.read()["total"]]
        assert logs.read()["number"] == start + size - 1
        start += size
    sums = 2 * rows.sum(1).cumsum()
    expected = sums if each else sums[np.cumsum(sizes) - 1]
    np.testing.assert_allclose(seen, expected)
    assert [float(v) for v in values] == [sums[-1], 2.0, 7.0]


def test_compiles_once_and_leaves_unchanged_values_alone():
    values, program = make()
    scale = values[1]
    for size in (1, 5, program.capacity, 2):
        program(values, stack(program, np.ones((size, 4), np.float32)), size, 0)
    assert program.compilations == 1
    assert values[1] is scale and program._changed == [0, 2]


def test_vector_logs():
    def step(values, batch, number):
        return {"loss": batch[0].sum(), "rows": batch[0]}, [values[0] + 1]

    for each in (False, True):
        values = [jnp.int32(0)]
        program = Program(step, values, [np.zeros(4, np.float32)], each)
        logs = program(values, stack(program, [[1, 2, 3, 4], [5, 6, 7, 8]]), 2, 0)
        last = logs.read(1) if each else logs.read()
        assert last["loss"] == 26
        np.testing.assert_array_equal(last["rows"], [5, 6, 7, 8])


def test_heavy_steps_run_alone():
    def step(values, batch, number):
        return {}, [values[0] + batch[0] @ values[0]]

    values = [jnp.zeros((1100, 1100))]
    assert Program(step, values, [np.zeros((1100, 1100), np.float32)]).capacity == 1


def test_array_source_covers_each_epoch_once_in_its_own_order():
    x, y = np.arange(10), np.arange(10) * 2.0
    source = ArraySource((x, y), 4, True, seed=5)
    orders = []
    for epoch in (0, 1, 0):
        rows = source.epoch(epoch)
        seen = []
        while rows.peek() is not None:
            chunk = rows.take(2, 3)
            a, b = chunk.arrays
            if a.ndim > 1:
                a, b = a[: chunk.steps].reshape(-1), b[: chunk.steps].reshape(-1)
            np.testing.assert_array_equal(a * 2, b)
            seen += a.tolist()
        orders.append(seen)
        assert sorted(seen) == list(range(10))
    assert orders[0] == orders[2] != orders[1]
    assert source.batches == 3


def test_buffers_are_fresh_aligned_and_in_device_dtypes():
    x = np.arange(12, dtype=np.float64).reshape(6, 2)
    rows = ArraySource((x,), 2, False, 0).epoch(0)
    first, second = rows.take(1, 1).arrays[0], rows.take(1, 1).arrays[0]
    assert first.dtype == np.float32 and first.ctypes.data % 64 == 0
    assert not np.shares_memory(first, second) and not np.shares_memory(first, x)
    assert device_dtype(np.int64) == np.int32 and device_dtype(np.uint8) == np.uint8


def test_iterable_source_stacks_batches_of_one_shape():
    batches = [np.ones((2, 3)), np.ones((2, 3)) * 2, np.ones((1, 3)) * 3]
    source = IterableSource(batches, lambda b: (b,))
    assert source.spec()[0][0].shape == (2, 3)
    rows = source.epoch(0)
    chunk = rows.take(5, 4)
    assert chunk.steps == 2 and chunk.arrays[0].shape == (4, 2, 3)
    last = rows.take(5, 4)
    assert last.steps == 1 and last.arrays[0][0, 0, 0] == 3 and rows.peek() is None


def test_generators_go_on_from_epoch_to_epoch():
    source = IterableSource((np.full((1,), i) for i in range(5)), lambda b: (b,))
    first = source.epoch(0).take(2, 2)
    second = source.epoch(1).take(2, 2)
    assert first.arrays[0].ravel().tolist() == [0, 1] and second.arrays[0].ravel().tolist() == [2, 3]


def test_user_data_becomes_arrays():
    nested = as_arrays({"a": [1, 2, 3], "b": (np.ones(3), [[1.0], [2.0], [3.0]])}, "x")
    assert nested["a"].shape == (3,) and isinstance(nested["b"], tuple) and nested["b"][1].shape == (3, 1)
    for bad, fragment in [(["a", "b"], "text"), ([[1], [1, 2]], "Pad"), (np.array([{}]), "object")]:
        with pytest.raises(TypeError, match=fragment):
            as_arrays(bad, "x")
