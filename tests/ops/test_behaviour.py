"""Behaviour of ops beyond the table: dtypes, errors, control flow, decoding, traces and settings."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import ops
from lamina.core import settings
from lamina.ops.symbol import Symbol
from lamina.state.variable import Variable

rng = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("call", "dtype"),
    [
        (lambda: ops.add(jnp.ones(2, "int32"), 1.5), "float32"),
        (lambda: ops.add(jnp.ones(2, "int8"), jnp.ones(2, "int16")), "int16"),
        (lambda: ops.add(jnp.ones(2, "bfloat16"), 1.0), "bfloat16"),
        (lambda: ops.sum(jnp.ones(2, "uint8")), "uint32"),
        (lambda: ops.sum(jnp.ones(2, bool)), "int32"),
        (lambda: ops.mean(jnp.ones(2, "int32")), "float32"),
        (lambda: ops.floor(jnp.ones(2, "int32")), "float32"),
        (lambda: ops.softmax(jnp.ones(2, "float16")), "float16"),
        (lambda: ops.var(jnp.ones(2, "bfloat16")), "bfloat16"),
        (lambda: ops.matmul(jnp.ones((2, 2), "int8"), jnp.ones((2, 2), "int8")), "int32"),
        (lambda: ops.power(jnp.ones(2, "int32"), 2.0), "float32"),
        (lambda: ops.multiply(jnp.ones(2, "int32"), 2), "int32"),
        (lambda: ops.convert_to_tensor([1.0]), "float32"),
        (lambda: ops.arange(3), "int32"),
        (lambda: ops.arange(3.0), "float32"),
        (lambda: ops.layer_normalization(jnp.ones((2, 2), "float16")), "float16"),
    ],
)
def test_dtypes(call, dtype):
    assert str(call().dtype) == dtype


def test_equal_arguments_of_other_types_do_not_share_a_trace():
    assert ops.leaky_relu(jnp.array([-2.0]), 1).item() == ops.leaky_relu(jnp.array([-2.0]), True).item() == -2.0
    assert ops.saturate_cast(True, "int32").dtype == jnp.int32
    assert ops.hard_tanh(1).dtype == jnp.int32
    assert ops.hard_tanh(1.0).dtype == jnp.float32


def test_a_changed_setting_reaches_ops_that_were_traced_before():
    x = jnp.array([3.0, 4.0])
    before = ops.rms_normalization(x)
    settings.set_epsilon(12.5)
    try:
        after = ops.rms_normalization(x)
    finally:
        settings.set_epsilon(1e-7)
    np.testing.assert_allclose(after, x / 5, 1e-5)
    np.testing.assert_allclose(before, x / np.sqrt(12.5), 1e-5)


def test_variables_are_taken_everywhere():
    v = Variable(jnp.array([1.0, 2.0]), name="v")
    assert ops.add(v, v).tolist() == [2.0, 4.0]
    assert ops.softmax(v).shape == (2,)
    assert ops.concatenate([v, v]).shape == (4,)


def test_symbols_record_and_keep_unknown_sizes():
    x = Symbol((None, 6))
    assert ops.reshape(x, (-1, 2, 3)).shape == (None, 2, 3)
    assert ops.shape(x) == (None, 6) and ops.ndim(x) == 2 and ops.size(x) is None
    assert ops.conv(Symbol((None, 8, 8, 3)), jnp.ones((3, 3, 3, 4)), padding="same").shape == (None, 8, 8, 4)
    assert ops.max_pool(Symbol((None, 8, 8, 3)), 2).shape == (None, 4, 4, 3)
    assert (x + 1.0).node is not None and (x * x).shape == (None, 6) and x[:, 0].shape == (None,)


def test_named_ops_stay_visible_in_a_trace():
    jaxpr = str(jax.make_jaxpr(lambda x: ops.softmax(ops.gelu(x)))(jnp.ones(3)))
    assert "name=softmax" in jaxpr and "name=gelu" in jaxpr


def test_saturate_cast_reaches_the_limits():
    got = ops.saturate_cast(jnp.array([-1e20, -1.5, 3e9, 1e20]), "int32")
    assert got[0] == np.iinfo("int32").min and got[1] == -1 and got[2] > 2**30 and got[3] > 2**30
    assert ops.saturate_cast(jnp.array([-5, 300]), "uint8").tolist() == [0, 255]


def test_sparsemax_is_a_projection_onto_the_simplex():
    x = rng.standard_normal((50, 7)).astype("float32") * 2
    p = np.asarray(ops.sparsemax(x), "float64")
    np.testing.assert_allclose(p.sum(-1), 1, 1e-5)
    assert (p >= 0).all() and (p == 0).any()
    # optimality: x - p is constant on the support and no larger elsewhere
    gap = np.where(p > 0, x - p, np.nan)
    level = np.nanmean(gap, -1, keepdims=True)
    np.testing.assert_allclose(np.nanmax(np.abs(gap - level)), 0, atol=1e-5)
    assert (np.where(p == 0, x, -np.inf) <= level + 1e-5).all()


def test_one_hot_out_of_range_and_multi_hot():
    assert ops.one_hot([-1, 5], 3).tolist() == [[0.0] * 3] * 2
    assert ops.multi_hot([[0, 1], [2, 2]], 3).tolist() == [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def test_attention_masks():
    q = jnp.asarray(rng.standard_normal((1, 4, 2, 3)).astype("float32"))
    causal = ops.dot_product_attention(q, q, q, is_causal=True)
    np.testing.assert_allclose(causal[:, 0], q[:, 0], 1e-5)
    mask = jnp.tril(jnp.ones((4, 4), bool))[None, None]
    np.testing.assert_allclose(ops.dot_product_attention(q, q, q, mask=mask), causal, 1e-5)
    grouped = ops.dot_product_attention(jnp.repeat(q[:, :, :1], 2, 2), q[:, :, :1], q[:, :, :1])
    np.testing.assert_allclose(grouped[:, :, 0], grouped[:, :, 1], 1e-6)


def brute_force_ctc(log_p, labels, blank):
    """The sum over every alignment."""
    total = -np.inf
    for path in itertools.product(range(log_p.shape[1]), repeat=log_p.shape[0]):
        merged = [c for i, c in enumerate(path) if i == 0 or c != path[i - 1]]
        if [c for c in merged if c != blank] == list(labels):
            total = np.logaddexp(total, sum(log_p[t, c] for t, c in enumerate(path)))
    return total


@pytest.mark.parametrize("labels", [[1], [1, 2], [1, 1], []])
@pytest.mark.parametrize("blank", [0, 3])
def test_ctc_loss_is_the_sum_over_alignments(labels, blank):
    logits = rng.standard_normal((5, 4)).astype("float32")
    log_p = np.asarray(jax.nn.log_softmax(logits), "float64")
    padded = (labels + [2, 2])[:2]
    for time in (4, 5):
        got = ops.ctc_loss([padded], logits[None], [len(labels)], [time], mask_index=blank)
        np.testing.assert_allclose(-got[0], brute_force_ctc(log_p[:time], labels, blank), 1e-4)


def test_ctc_beam_search_finds_the_likeliest_labels():
    logits = rng.standard_normal((4, 3)).astype("float32")
    log_p = np.asarray(jax.nn.log_softmax(logits), "float64")
    every = [s for n in range(5) for s in itertools.product((1, 2), repeat=n)]
    scores = {s: brute_force_ctc(log_p, s, 0) for s in every}
    best = sorted(scores, key=scores.get, reverse=True)[:3]
    paths, got = ops.ctc_decode(logits[None], [4], "beam_search", beam_width=60, top_paths=3)
    assert [tuple(int(c) for c in p[0] if c >= 0) for p in np.asarray(paths)] == best
    np.testing.assert_allclose(got[0], [scores[s] for s in best], 1e-4)


def test_fold_undoes_unfold_where_blocks_do_not_overlap():
    x = rng.standard_normal((2, 3, 4, 6)).astype("float32")
    np.testing.assert_allclose(ops.fold(ops.unfold(x, 2, stride=2), (4, 6), 2, stride=2), x, 1e-6)


def test_istft_undoes_stft():
    x = rng.standard_normal((2, 50)).astype("float32")
    np.testing.assert_allclose(ops.istft(ops.stft(x, 10, 5, 16), 10, 5, 16, length=50), x, 1e-3, 1e-4)


def test_control_flow():
    assert ops.cond(jnp.array(False), lambda: jnp.ones(2), lambda: jnp.zeros(2)).tolist() == [0.0, 0.0]
    assert ops.while_loop(lambda i: i < 100, lambda i: i + 1, jnp.array(0), maximum_iterations=3).item() == 3
    carry, out = ops.scan(lambda c, x: (c + x, c), jnp.array(0), jnp.arange(4), reverse=True)
    assert carry.item() == 6 and out.tolist() == [6, 5, 3, 0]

    @ops.custom_gradient
    def doubled(x):
        return x, lambda upstream: 2 * upstream

    assert jax.grad(doubled)(1.0).item() == 2.0


def test_linalg_is_a_module_with_the_same_functions():
    assert ops.linalg.norm is ops.norm and ops.linalg.jvp is ops.jvp
    assert callable(ops.conv) and callable(ops.array) and callable(ops.image.resize)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ops.rearrange(jnp.ones((2, 3)), "a b c -> a"), "names 3 axes"),
        (lambda: ops.unstack(jnp.ones((2, 3)), num=3), "size 2, got num=3"),
        (lambda: ops.scatter_update(jnp.ones(2), [[0]], [1.0], reduction="mull"), "Did you mean 'mul'"),
        (lambda: ops.cholesky(jnp.ones((2, 3))), "square"),
        (lambda: ops.stft(jnp.ones(32), 8, 4, 8, window="han"), "Did you mean 'hann'"),
        (lambda: ops.image.resize(jnp.ones((4, 4)), (2, 2)), "3 axes"),
        (lambda: ops.image.pad_images(jnp.ones((4, 4, 1)), 1, 1), "exactly two"),
        (lambda: ops.categorical_crossentropy(jnp.ones((2, 3)), jnp.ones((2, 4))), "same shape"),
        (lambda: ops.fft(jnp.ones(3)), "pair"),
        (lambda: ops.one_hot([1], 2, sparse=True), "dense"),
    ],
)
def test_errors_name_op_and_cure(call, words):
    with pytest.raises(ValueError, match=words):
        call()
