"""Recurrent layers against loops in float64 numpy, and the behaviour of states, masks and dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.ops.recurrent import recurrence

RNG = np.random.default_rng(7)
B, T, F, U = 3, 5, 4, 2


def floats(*shape):
    return RNG.standard_normal(shape).astype("float32")


X = floats(B, T, F)
MASK = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def simple_rnn(x, states, w, u, b):
    h = np.tanh(x @ w + states[0] @ u + b)
    return h, [h]


def lstm(x, states, w, u, b):
    h, c = states
    i, f, g, o = np.split(x @ w + h @ u + b, 4, -1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, [h, c]


def gru_after(x, states, w, u, b):
    h = states[0]
    xz, xr, xh = np.split(x @ w + b[0], 3, -1)
    hz, hr, hh = np.split(h @ u + b[1], 3, -1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    h = z * h + (1 - z) * np.tanh(xh + r * hh)
    return h, [h]


def gru_before(x, states, w, u, b):
    h = states[0]
    wz, wr, wh = np.split(w, 3, -1)
    uz, ur, uh = np.split(u, 3, -1)
    bz, br, bh = np.split(b, 3)
    z, r = sigmoid(x @ wz + h @ uz + bz), sigmoid(x @ wr + h @ ur + br)
    h = z * h + (1 - z) * np.tanh(x @ wh + (r * h) @ uh + bh)
    return h, [h]


def loop(step, weights, x, states, mask=None, backwards=False, zero=False):
    """(outputs, states) one sample and one step at a time."""
    weights = [np.asarray(w, "float64") for w in weights]
    outputs = []
    order = range(x.shape[1])[::-1] if backwards else range(x.shape[1])
    for t in order:
        out, new = step(x[:, t].astype("float64"), states, *weights)
        if mask is not None:
            seen = mask[:, t][:, None]
            out = np.where(seen, out, 0 if zero else states[0])
            new = [np.where(seen, n, s) for n, s in zip(new, states, strict=True)]
        states = new
        outputs.append(out)
    return np.stack(outputs, 1), states


CASES = {
    "SimpleRNN": (lambda **k: layers.SimpleRNN(U, **k), simple_rnn, 1),
    "LSTM": (lambda **k: layers.LSTM(U, **k), lstm, 2),
    "GRU": (lambda **k: layers.GRU(U, **k), gru_after, 1),
    "GRU-before": (lambda **k: layers.GRU(U, reset_after=False, **k), gru_before, 1),
    "RNN": (lambda **k: layers.RNN(layers.LSTMCell(U), **k), lstm, 2),
}


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request):
    return CASES[request.param]


def weighted(layer, *args, **kwargs):
    layer(*args, **kwargs)
    layer.set_weights([RNG.uniform(-1, 1, w.shape) for w in layer.weights])
    return layer


def close(a, b):
    np.testing.assert_allclose(np.asarray(a), b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("unroll", "backwards", "masked"),
    [(False, False, ""), (False, False, "hold"), (False, True, "zero"), (True, True, "hold"), (True, False, "zero")],
)
def test_values(case, unroll, backwards, masked):
    make, step, n = case
    options = {"go_backwards": backwards, "unroll": unroll, "zero_output_for_mask": masked == "zero"}
    layer = weighted(make(return_sequences=True, return_state=True, **options), X)
    start = [floats(B, U) for _ in range(n)]
    mask = MASK if masked else None
    outputs, *states = layer(X, initial_state=start, mask=mask)
    want, want_states = loop(step, layer.get_weights(), X, start, mask, backwards, masked == "zero")
    close(outputs, want)
    for got, expected in zip(states, want_states, strict=True):
        close(got, expected)
    last = make(**options)
    last(X)
    last.set_weights(layer.get_weights())
    close(last(X, initial_state=start, mask=mask), want[:, -1])


def test_gradients_follow_differences(case):
    make, step, n = case
    layer = weighted(make(), X)
    weights = [np.asarray(w, "float64") for w in layer.get_weights()]
    zeros = [np.zeros((B, U)) for _ in range(n)]

    def loss(weights):
        return layer.stateless_call(weights, [], X, mask=MASK)[0].sum()

    gradients = jax.grad(loss)([jnp.asarray(w, "float32") for w in weights])
    for place, w in enumerate(weights):
        index = tuple(RNG.integers(0, d) for d in w.shape)
        sums = []
        for delta in (1e-4, -1e-4):
            moved = [v.copy() for v in weights]
            moved[place][index] += delta
            sums.append(loop(step, moved, X, zeros, MASK)[0][:, -1].sum())
        assert abs((sums[0] - sums[1]) / 2e-4 - float(gradients[place][index])) < 1e-3


def test_without_a_mask_no_mask_work_is_traced():
    layer = layers.LSTM(U)
    layer(X)
    plain = str(jax.make_jaxpr(lambda x: layer(x))(X))
    masked = str(jax.make_jaxpr(lambda x, m: layer(x, mask=m))(X, MASK))
    assert "select_n" not in plain and " rev[" not in plain
    assert "select_n" in masked
    backwards = layers.LSTM(U, go_backwards=True)
    backwards(X)
    assert " rev[" not in str(jax.make_jaxpr(lambda x: backwards(x))(X))


def test_the_layer_is_one_op_by_name_and_eager_calls_compile_once():
    layer = layers.GRU(U)
    layer(X)
    assert "name=gru" in str(jax.make_jaxpr(lambda x: layer(x))(X))
    with jax.log_compiles(False), jax.no_tracing():
        layer(X)


def test_an_activation_that_reads_a_variable_is_not_kept():
    slope = lamina.Variable(1.0, name="slope")
    layer = layers.SimpleRNN(U, activation=lambda z: z * slope.value)
    first = np.asarray(layer(X))
    slope.assign(0.0)
    assert np.abs(first).max() > 0
    close(layer(X), np.zeros((B, U)))


def test_stacked_cells():
    layer = weighted(layers.RNN([layers.LSTMCell(3), layers.GRUCell(U)], return_state=True), X)
    out, first, second = layer(X, mask=MASK)
    weights = layer.get_weights()
    h, c, g = np.zeros((B, 3)), np.zeros((B, 3)), np.zeros((B, U))
    previous = g
    for t in range(T):
        seen = MASK[:, t][:, None]
        h1, (h1, c1) = lstm(X[:, t].astype("float64"), [h, c], *weights[:3])
        g1, _ = gru_after(h1, [g], *weights[3:])
        h, c, g = np.where(seen, h1, h), np.where(seen, c1, c), np.where(seen, g1, g)
        previous = np.where(seen, g1, previous)
    close(out, previous)
    close(first[0], h)
    close(first[1], c)
    close(jax.tree.leaves(second)[0], g)


class Countdown(lamina.Layer):
    """A cell of a user's: its output is not its state."""

    state_size = 2

    def build(self, input_shape):
        self.w = self.add_weight((input_shape[-1], 2), "ones", name="w")

    def call(self, inputs, states):
        (s,) = states
        s = s + inputs @ self.w
        return jnp.concatenate([s, s], -1), [s]


def test_a_cell_of_ones_own():
    layer = layers.RNN(Countdown(), return_sequences=True)
    out = layer(X)
    want = np.cumsum(X.sum(-1), 1)
    assert out.shape == (B, T, 4)
    close(out[..., 0], want)
    with pytest.raises(ValueError, match="zero_output_for_mask=True"):
        layer(X, mask=MASK)
    zero = layers.RNN(Countdown(), return_sequences=True, zero_output_for_mask=True)
    close(zero(X, mask=MASK)[..., 0], np.where(MASK, np.cumsum(np.where(MASK, X.sum(-1), 0), 1), 0))


def test_stateful_layers_go_on_where_they_ended():
    layer = weighted(layers.LSTM(U, stateful=True, return_sequences=True), X)
    weights = [w for w, v in zip(layer.get_weights(), layer.weights, strict=True) if v.name != "rnn_state"]
    layer.reset_state()
    halves = np.concatenate([layer(X[:, :2]), layer(X[:, 2:])], 1)
    close(halves, loop(lstm, weights, X, [np.zeros((B, U))] * 2)[0])
    layer.reset_state()
    close(layer(X[:, :2]), halves[:, :2])
    with pytest.raises(ValueError, match="batches of 3 samples, got 2"):
        layer(X[:2])
    with pytest.raises(ValueError, match="fixed batch size"):
        layers.LSTM(U, stateful=True)(lamina.Input((T, F)))


def test_stateful_in_fit():
    model = lamina.Sequential([lamina.Input((T, F), batch_size=B), layers.SimpleRNN(U, stateful=True)])
    model.compile(lamina.optimizers.SGD(0.0), "mse")
    layer = model.layers[0]
    model.fit(X, np.zeros((B, U)), batch_size=B, epochs=2, shuffle=False, verbose=0)
    weights = layer.trainable_weights
    twice = np.concatenate([X, X], 1)
    want = loop(simple_rnn, [w.numpy() for w in weights], twice, [np.zeros((B, U))])[0][:, -1]
    close(layer.states[0].value, want)


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("name", ["SimpleRNN", "GRU", "LSTM", "stacked"])
def test_dropout_is_the_same_at_all_steps(name, unroll):
    """With equal inputs at all steps and no recurrence, equal masks give equal outputs at all steps."""
    ones = np.ones((8, 4, 16), "float32")
    options = {"dropout": 0.5, "recurrent_initializer": "zeros"}
    if name == "stacked":
        cells = [layers.SimpleRNNCell(16, **options), layers.SimpleRNNCell(5, **options)]
        layer = layers.RNN(cells, return_sequences=True, unroll=unroll)
    else:
        layer = getattr(layers, name)(5, return_sequences=True, unroll=unroll, **options)
    out = np.asarray(layer(ones, training=True))
    assert not np.allclose(out, layer(ones), atol=1e-4)
    assert not np.allclose(out[0], out[1], atol=1e-4)
    if name in ("SimpleRNN", "stacked"):
        close(out, np.repeat(out[:, :1], 4, 1))
    assert not np.allclose(out, layer(ones, training=True), atol=1e-4)


def test_dropout_keeps_the_mean_and_recurrent_dropout_acts():
    x = np.ones((4000, 1, 8), "float32")
    layer = layers.SimpleRNN(1, activation=None, dropout=0.25, seed=3)
    plain, dropped = float(layer(x[:1])[0, 0]), np.asarray(layer(x, training=True))
    assert abs(dropped.mean() - plain) < 0.05
    for implementation in (1, 2):
        layer = layers.LSTM(3, recurrent_dropout=0.5, implementation=implementation)
        assert not np.allclose(layer(X), layer(X, training=True), atol=1e-4)
    cell = layers.GRUCell(3, recurrent_dropout=0.5)
    assert cell.implementation == 1 and cell.masks_per_gate


def test_bidirectional():
    layer = weighted(layers.Bidirectional(layers.LSTM(U, return_sequences=True)), X)
    out = np.asarray(layer(X, mask=MASK))
    weights = layer.get_weights()
    zeros = [np.zeros((B, U))] * 2
    forward = loop(lstm, weights[:3], X, zeros, MASK, zero=True)[0]
    backward = loop(lstm, weights[3:], X, zeros, MASK, backwards=True, zero=True)[0][:, ::-1]
    close(out, np.concatenate([forward, backward], -1))
    lamina.Sequential([lamina.Input((T, F)), layer])
    assert layer.weights[0].path == "bidirectional/forward_lstm/lstm_cell/kernel"
    twin = layers.Bidirectional.from_config(layer.get_config())
    assert twin.forward_layer.name == "forward_lstm" and twin.backward_layer.name == "backward_lstm"
    for mode, merge in {"sum": np.add, "mul": np.multiply, "ave": lambda a, b: (a + b) / 2}.items():
        other = layers.Bidirectional(layers.LSTM(U, return_sequences=True), merge_mode=mode)
        other(X)
        other.set_weights(weights)
        close(other(X, mask=MASK), merge(forward, backward))
    both = layers.Bidirectional(layers.LSTM(U, return_sequences=True), merge_mode=None, weights=weights)
    first, second = both(X, mask=MASK)
    close(first, forward)
    close(second, backward)


def test_masks_travel_through_recurrent_layers():
    tokens = np.array([[1, 2, 0, 0], [3, 1, 2, 0]], "int32")
    x = lamina.Input((4,), dtype="int32")
    h = layers.Embedding(5, 3, mask_zero=True)(x)
    h = layers.GRU(U, return_sequences=True)(h)
    model = lamina.Model(x, layers.LSTM(U)(h))
    short = model.predict(tokens[:1], verbose=0)
    longer = model.predict(np.concatenate([tokens[:1], np.zeros((1, 4), "int32")], 1)[:, :4], verbose=0)
    close(short, longer)
    unpadded = lamina.Model(model.inputs, model.outputs)
    cut = np.array([[1, 2]], "int32")
    eager = unpadded.layers[1](cut)
    for layer in unpadded.layers[2:]:
        eager = layer(eager)
    close(eager, short)


def test_functional_initial_state():
    x, h = lamina.Input((T, F)), lamina.Input((U,))
    layer = layers.GRU(U)
    model = lamina.Model([x, h], layer(x, initial_state=h))
    start = floats(B, U)
    close(model.predict([X, start], verbose=0), layer(X, initial_state=start))


def test_conv_lstm_of_one_pixel_is_an_lstm():
    conv = layers.ConvLSTM2D(U, 1, return_sequences=True)
    conv(X[:, :, None, None])
    plain = layers.LSTM(U, return_sequences=True)
    plain(X)
    plain.set_weights([w.reshape(-1, w.shape[-1]) if w.ndim > 1 else w for w in conv.get_weights()])
    close(conv(X[:, :, None, None], mask=MASK)[:, :, 0, 0], np.asarray(plain(X, mask=MASK)))


def test_conv_lstm_layouts_agree():
    x = floats(2, 3, 5, 4, 2)
    last = layers.ConvLSTM2D(3, (2, 3), strides=(2, 1), padding="same", return_state=True)
    first = layers.ConvLSTM2D(
        3, (2, 3), strides=(2, 1), padding="same", data_format="channels_first", return_state=True
    )
    want = last(x)
    moved = np.moveaxis(x, -1, 2)
    first(moved)
    first.set_weights(last.get_weights())
    for a, b in zip(first(moved), want, strict=True):
        close(np.moveaxis(np.asarray(a), 1, -1), b)


def test_mixed_precision():
    layer = layers.LSTM(U, dtype="mixed_bfloat16")
    assert layer(X).dtype == "bfloat16"
    assert {w.dtype for w in layer.weights} == {"float32"}


def test_errors():
    with pytest.raises(ValueError, match="units must be an integer of at least 1, got 0"):
        layers.LSTM(0)
    with pytest.raises(TypeError, match="LSTMCell is"):
        layers.RNN(layers.LSTM(3))
    with pytest.raises(ValueError, match="dropout must be a number between 0 and 1"):
        layers.GRU(3, dropout=1.5)
    with pytest.raises(ValueError, match="expected an input with 3 axes"):
        layers.LSTM(3)(X[0])
    with pytest.raises(ValueError, match="initial_state must have the shapes"):
        layers.GRU(U)(X, initial_state=floats(B, U + 1))
    with pytest.raises(TypeError, match="unexpected keyword argument 'time_major'"):
        layers.LSTM(3, time_major=True)
    with pytest.raises(ValueError, match="must differ in go_backwards"):
        layers.Bidirectional(layers.LSTM(2), backward_layer=layers.LSTM(2))
    with pytest.raises(ValueError, match="the same return_sequences"):
        layers.Bidirectional(layers.LSTM(2), backward_layer=layers.LSTM(2, go_backwards=True, return_sequences=True))
    with pytest.raises(TypeError, match="must be a recurrent layer"):
        layers.Bidirectional(layers.Dense(2))
    with pytest.raises(ValueError, match="cannot both exceed 1"):
        layers.ConvLSTM1D(2, 3, strides=2, dilation_rate=2)


def test_recurrence_takes_structures():
    x = {"a": jnp.asarray(X), "b": jnp.asarray(X) * 2}
    last, sums, _ = recurrence(lambda v, s: (s + v["a"] + v["b"], s + v["a"] + v["b"]), x, jnp.zeros((B, F)))
    close(sums, np.cumsum(3 * X, 1))
    close(last, 3 * X.sum(1))
