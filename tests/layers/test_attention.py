"""Attention layers against float64 numpy."""

import jax
import numpy as np
import pytest

import lamina
from lamina import layers

RNG = np.random.default_rng(5)
B, T, S, D = 2, 4, 6, 8


def floats(*shape):
    return RNG.standard_normal(shape).astype("float32")


Q, V, K = floats(B, T, D), floats(B, S, D), floats(B, S, D)
QM = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
VM = np.array([[1, 1, 1, 1, 0, 0], [1, 0, 1, 1, 1, 1]], bool)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def close(a, b):
    np.testing.assert_allclose(np.asarray(a), b, rtol=1e-5, atol=1e-5)


def weighted(layer, *args, **kwargs):
    layer(*args, **kwargs)
    layer.set_weights([RNG.uniform(-1, 1, w.shape) for w in layer.weights])
    return layer


def reference(weights, query, key, value, heads, groups, size, seen, gated=False):
    """(output, scores) of multi-head attention whose heads share `groups` keys and values."""
    w = [np.asarray(x, "float64") for x in weights]
    q = np.einsum("btd,dhk->bthk", query, w[0]) + w[1]
    k = np.repeat(np.einsum("bsd,dhk->bshk", key, w[2]) + w[3], heads // groups, 2)
    if gated:
        gate = 1 / (1 + np.exp(-(np.einsum("btd,dhk->bthk", query, w[4]) + w[5])))
        w = w[:4] + w[6:]
    v = np.repeat(np.einsum("bsd,dhk->bshk", value, w[4]) + w[5], heads // groups, 2)
    scores = softmax(np.where(seen[:, None], np.einsum("bthk,bshk->bhts", q, k) / np.sqrt(size), -1e9))
    out = np.einsum("bhts,bshk->bthk", scores, v)
    out = out * gate if gated else out
    return np.einsum("bthk,hkd->btd", out, w[6]) + w[7], scores


def all_seen():
    return np.ones((B, T, S), bool)


MASKS = {
    "none": ({}, lambda: all_seen()),
    "causal": ({"use_causal_mask": True}, lambda: all_seen() & np.tril(np.ones((T, S), bool))),
    "attention": (
        {"attention_mask": np.tri(T, S, 2, dtype=bool)[None]},
        lambda: all_seen() & np.tri(T, S, 2, dtype=bool),
    ),
    "masks": ({"query_mask": QM, "value_mask": VM}, lambda: QM[..., None] & VM[:, None]),
    "all": (
        {"value_mask": VM, "use_causal_mask": True, "attention_mask": np.tri(T, S, 0)[None].repeat(B, 0)},
        lambda: VM[:, None] & np.tril(np.ones((T, S), bool)),
    ),
}


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("kind", ["multi", "gated", "group"])
def test_projected_attention(kind, masks, scores):
    if kind == "group":
        layer = layers.GroupQueryAttention(3, 4, 2)
        heads, groups = 4, 2
    else:
        layer = layers.MultiHeadAttention(2, 3, use_gate=kind == "gated")
        heads = groups = 2
    weighted(layer, Q, V, K)
    call, seen = MASKS[masks]
    out = layer(Q, V, K, return_attention_scores=scores, **call)
    want, want_scores = reference(layer.get_weights(), Q, K, V, heads, groups, 3, seen(), kind == "gated")
    close(out[0] if scores else out, want)
    if scores:
        assert out[1].shape == (B, heads, T, S)
        close(out[1], want_scores)


@pytest.mark.parametrize("causal", [False, True])
def test_sliding_window(causal):
    layer = weighted(layers.MultiHeadAttention(2, 3, sliding_window=2), Q, V)
    offset = np.arange(T)[:, None] - np.arange(S)
    seen = np.broadcast_to((np.abs(offset) < 2) & ((offset >= 0) | (not causal)), (B, T, S))
    close(layer(Q, V, use_causal_mask=causal), reference(layer.get_weights(), Q, V, V, 2, 2, 3, seen)[0])


def test_the_causal_mask_is_a_constant_and_is_there_only_if_asked_for():
    layer = layers.MultiHeadAttention(2, 3)
    layer(Q, Q)
    plain = jax.make_jaxpr(lambda q: layer(q, q))(Q)
    causal = jax.make_jaxpr(lambda q: layer(q, q, use_causal_mask=True))(Q)
    assert "select_n" not in str(plain)
    assert any(np.asarray(c).dtype == bool and np.asarray(c).shape[-2:] == (T, T) for c in causal.consts)
    assert " iota" not in str(causal)


@pytest.mark.parametrize("axes", [(2,), (1, 2), -2])
def test_attention_axes(axes):
    x = floats(B, 3, 5, D)
    layer = weighted(layers.MultiHeadAttention(2, 3, attention_axes=axes), x, x)
    w = [np.asarray(v, "float64") for v in layer.get_weights()]
    flat = x.reshape(B, 15, D) if axes == (1, 2) else x.reshape(B * 3, 5, D)
    seen = np.ones((flat.shape[0], flat.shape[1], flat.shape[1]), bool)
    close(layer(x, x), reference(w, flat, flat, flat, 2, 2, 3, seen)[0].reshape(x.shape))
    assert layer.get_config()["attention_axes"] == (axes if isinstance(axes, tuple) else (axes,))


def test_shapes_and_parts():
    layer = layers.MultiHeadAttention(2, 3, value_dim=5, output_shape=(2, 7), use_bias=False)
    assert layer(Q, V).shape == (B, T, 2, 7)
    assert [w.shape for w in layer.weights] == [(8, 2, 3), (8, 2, 3), (8, 2, 5), (2, 5, 2, 7)]
    assert not np.allclose(layer.query_dense.kernel.numpy(), layer.key_dense.kernel.numpy())


def test_dropout_acts_in_training_only():
    for layer in (
        layers.MultiHeadAttention(2, 3, dropout=0.5),
        layers.GroupQueryAttention(3, 4, 2, dropout=0.5),
    ):
        assert not np.allclose(layer(Q, V, training=True), layer(Q, V), atol=1e-4)
        close(layer(Q, V), np.asarray(layer(Q, V)))
    dot = layers.Attention(dropout=0.5)
    assert not np.allclose(dot([Q, V], training=True), dot([Q, V]), atol=1e-4)


def test_a_penalty_on_activity_is_one_on_the_projections():
    layer = layers.MultiHeadAttention(2, 3, activity_regularizer="l2")
    layer(Q, V)
    assert len(layer.losses) == 4
    assert layer.get_config()["activity_regularizer"]["class_name"] == "L2"


def test_masks_of_embeddings_reach_attention():
    tokens = np.array([[1, 2, 3, 0, 0]], "int32")
    x = lamina.Input((5,), dtype="int32")
    h = layers.Embedding(5, 4, mask_zero=True)(x)
    out = layers.MultiHeadAttention(2, 3)(h, h)
    model = lamina.Model(x, layers.GlobalAveragePooling1D()(out))
    got = model.predict(tokens, verbose=0)
    embedding, attention = model.layers[1], model.layers[2]
    h = embedding(tokens[:, :3])
    close(got, np.asarray(attention(h, h)).mean(1))


@pytest.mark.parametrize("mode", ["dot", "dot-scaled", "concat", "additive"])
def test_plain_attention(mode):
    if mode == "additive":
        layer = weighted(layers.AdditiveAttention(), [Q, V, K])
        total = (np.tanh(Q[:, :, None] + K[:, None]).astype("float64") * layer.get_weights()[0]).sum(-1)
    elif mode == "concat":
        layer = weighted(layers.Attention(use_scale=True, score_mode="concat"), [Q, V, K])
        scale, weight = layer.get_weights()
        total = weight * np.tanh(scale * (Q[:, :, None] + K[:, None]).astype("float64")).sum(-1)
    else:
        layer = weighted(layers.Attention(use_scale=mode == "dot-scaled"), [Q, V, K])
        total = np.einsum("btd,bsd->bts", Q.astype("float64"), K) * (layer.get_weights() or [1.0])[0]
    close(layer([Q, V, K]), softmax(total) @ V)
    seen = VM[:, None] & np.tril(np.ones((T, S), bool))
    out, scores = layer([Q, V, K], mask=[QM, VM], use_causal_mask=True, return_attention_scores=True)
    want = softmax(np.where(seen, total, -1e9))
    close(scores, want)
    close(out, np.where(QM[..., None], want @ V, 0))
    np.testing.assert_array_equal(layer.compute_mask([Q, V], [QM, VM]), QM)


def test_errors():
    with pytest.raises(ValueError, match="flash_attention=True cannot drop"):
        layers.MultiHeadAttention(2, 3, dropout=0.1, flash_attention=True)
    flash = layers.GroupQueryAttention(3, 2, 1, flash_attention=True)
    assert flash(Q, V).shape == Q.shape
    with pytest.raises(ValueError, match="does not compute the scores"):
        flash(Q, V, return_attention_scores=True)
    with pytest.raises(ValueError, match="must be a multiple of num_key_value_heads, got 3 and 2"):
        layers.GroupQueryAttention(3, 3, 2)
    with pytest.raises(ValueError, match="num_heads must be an integer of at least 1"):
        layers.MultiHeadAttention(0, 3)
    with pytest.raises(ValueError, match="value and key must agree"):
        layers.MultiHeadAttention(2, 3)(Q, V, K[:, :3])
    with pytest.raises(ValueError, match="sliding_window must be"):
        layers.MultiHeadAttention(2, 3, sliding_window=0)
    with pytest.raises(ValueError, match=r"must be a list \[query, value\]"):
        layers.Attention()(Q)
    with pytest.raises(ValueError, match="Did you mean 'concat'"):
        layers.Attention(score_mode="concta")
