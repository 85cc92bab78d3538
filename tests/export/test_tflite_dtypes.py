"""Integers in TFLite files: of few bits in int32 where LiteRT has no kernel; what has none is told before."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import export, load_frozen, ops
from lamina.export import ExportError
from lamina.export.tflite.integers import KERNELS, refused, widen
from lamina.graph import trace
from lamina.graph.opset import OPSET

NUMBERS = np.random.default_rng(0).integers(0, 127, size=(4, 6))
CASES = {
    "add": lambda x: x + x[::-1],
    "sub": lambda x: x - x[::-1],
    "mul": lambda x: x * 3,
    "div": lambda x: x // 2,
    "rem": lambda x: x % 3,
    "square": jnp.square,
    "less": lambda x: x < x[::-1],
    "differ": lambda x: x != x[::-1],
    "max": lambda x: jnp.maximum(x, 50),
    "total": lambda x: jnp.sum(x, 0),
    "running": lambda x: jnp.cumsum(x, 1),
    "greatest": lambda x: (jnp.max(x, 1), jnp.argmax(x, 0)),
    "sort": lambda x: jnp.sort(x, 1),
    "largest": lambda x: jax.lax.top_k(x, 2),
    "moved": lambda x: (jnp.pad(x, 1), jnp.flip(x, 0), x[:, np.array([2, 0])], jnp.split(x, 2, 1)),
    "loop": lambda x: jax.lax.fori_loop(0, 3, lambda i, s: s + s, x),
}


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize("name", CASES)
def test_integers(name, dtype, tmp_path):
    x, run = NUMBERS.astype(dtype), CASES[name]
    graph = trace(run, x)
    made = widen(graph).verify()

    def instructions(part):
        for instr in part.instrs:
            yield instr
            for sub in instr.subgraphs:
                yield from instructions(sub)

    assert not any(map(refused, instructions(made)))
    wanted = jax.tree.leaves(run(jnp.asarray(x)))
    export.save(graph, None, tmp_path / "m.tflite", format="tflite")
    for results in (made(x), load_frozen(tmp_path / "m.tflite")(x)):
        for got, want in zip(jax.tree.leaves(results), wanted, strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)


def test_what_needs_no_casts_has_none():
    for dtype in ("float32", "int32"):
        graph = trace(lambda x: (x + x, x * x, jnp.sum(x, 0), x > 1), jax.ShapeDtypeStruct((2, 3), dtype))
        assert [i.op for i in widen(graph).instrs] == [i.op for i in graph.instrs]


def test_bits_of_uint32_are_those_of_int32(tmp_path):
    x = np.uint32([[4_000_000_000, 7], [3_000_000_000, 2_000_000_001]])

    def run(v):
        return v + v, v - v[::-1], jnp.sum(v, 0), v == v[0], jnp.flip(v, 0)

    export.save(run, [x], tmp_path / "m.tflite", format="tflite")
    for got, want in zip(load_frozen(tmp_path / "m.tflite")(x), run(jnp.asarray(x)), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("run", "dtype", "reason"),
    [
        (lambda x: x // 3, "uint32", "Div: TFLite computes it of floats, int32, not of uint32"),
        (lambda x: x > 3, "uint32", "Greater: TFLite computes it of floats, int16, int32, int64, not of uint32"),
        (
            lambda x: ops.max_pool(x[None, :, :, None], 2),
            "int32",
            "MaxPool: TFLite computes it of floats, int16, int8, uint8, not of int32",
        ),
    ],
)
def test_what_has_no_kernel_is_told_before_a_file_is_written(run, dtype, reason, tmp_path):
    with pytest.raises(ExportError, match=reason):
        export.save(run, [jax.ShapeDtypeStruct((4, 4), dtype)], tmp_path / "m.tflite", format="tflite")
    assert not list(tmp_path.iterdir())


def test_the_table_names_ops():
    assert set(KERNELS) <= set(OPSET)
