"""Training with rounding: values and gradients in closed form, state, any layer's code, and files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import Input, Model, Sequential, layers, load_frozen
from lamina.graph import trace
from lamina.layers import Layer
from lamina.quantization import QuantizeAware, quantize_aware
from lamina.state.masks import get_mask

RNG = np.random.default_rng(11)


def floats(*shape):
    return RNG.uniform(-1, 1, shape).astype("float32")


def stored(x, low, high):
    """Numbers through int8, in float64."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    zero = np.floor(-low / scale + 0.5)
    return (np.clip(np.floor(x / scale + zero + 0.5), 0, 255) - zero) * scale


def through(w, axes):
    scale = np.abs(w).max(axes, keepdims=True) / 127
    return np.round(w / scale) * scale


def dense(width=3):
    lamina.utils.set_random_seed(0)
    return Sequential([Input((4,), name="x"), layers.Dense(width, name="d")])


def normed(**options):
    lamina.utils.set_random_seed(0)
    stack = [Input((6, 6, 2), name="x"), layers.Conv2D(3, 3, name="c"), layers.BatchNormalization(momentum=0.5)]
    return quantize_aware(Sequential([*stack, layers.ReLU(name="r")]), **options)


def test_values_are_those_of_integers_and_gradients_those_of_the_rounded_product():
    net = quantize_aware(dense())
    layer, x = net.layers[-1], floats(8, 4)
    net(x, training=True)
    w, b = (np.float64(v) for v in net.trainable_weights)
    x_int = stored(np.float64(x), x.min(), x.max())
    y = x_int @ through(w, 0) + b
    low, high = layer.ranges["d/add"]
    np.testing.assert_allclose([low, high], [min(y.min(), 0), max(y.max(), 0)], rtol=1e-4)
    np.testing.assert_allclose(net(x), stored(y, low, high), atol=1.01 * (high - low) / 255)
    assert np.mean(np.abs(net(x) - stored(y, low, high)) < 1e-5) > 0.9
    values = [v.value for v in net.trainable_variables]
    pure = lamina.purify(lambda x: jnp.sum(net(x)), net.trainable_variables, strict=False)
    grads = jax.grad(lambda v: pure(v, x)[0])(values)
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    inside = ((y >= -zero * scale) & (y <= (255 - zero) * scale)).astype("float64")
    np.testing.assert_allclose(grads[0], x_int.T @ inside, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(grads[1], inside.sum(0), rtol=1e-5)


def test_ranges_start_with_the_first_batch_and_move():
    net = quantize_aware(dense(), momentum=0.75)
    layer, a, b = net.layers[-1], floats(8, 4), floats(8, 4) * 3
    assert layer.ranges["x"] == (-np.inf, np.inf)
    np.testing.assert_allclose(net(a), a @ through(np.float64(net.trainable_weights[0]), 0), atol=1e-5)
    net(a, training=True)
    assert layer.ranges["x"] == (a.min(), a.max())
    net(b)
    net(b, training=True)
    np.testing.assert_allclose(layer.ranges["x"][1], 0.75 * a.max() + 0.25 * b.max(), rtol=1e-6)
    assert not any(v.trainable for v in (layer.limits, layer.steps)) and int(layer.steps.value) == 2


def test_batch_norm_is_part_of_the_weights_before_they_are_rounded():
    net, x = normed(), floats(16, 6, 6, 2)
    for _ in range(3):
        net(x, training=True)
    kernel, bias, gamma, beta, mean, variance = (np.float64(v.value) for v in net.layers[-1].layer.weights)
    factor = gamma / np.sqrt(variance + 1e-3)
    want = jax.lax.conv_general_dilated(
        stored(x.astype("float64"), *net.layers[-1].ranges["x"]).astype("float32"),
        through(kernel * factor, (0, 1, 2)).astype("float32"),
        (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    want = np.maximum(want + ((bias - mean) * factor + beta), 0)
    low, high = net.layers[-1].ranges["r/relu"]
    np.testing.assert_allclose(net(x), stored(np.float64(want), low, high), atol=1.01 * high / 255)
    ops_in = [i.op for i in trace(net).optimize().instrs]
    assert ops_in == ["FakeQuant", "Conv", "FakeQuant"], "one convolution, its weights known and rounded"


def test_training_takes_the_statistics_of_the_batch_and_moves_the_same_averages():
    net, x = normed(), floats(16, 6, 6, 2)
    plain = lamina.models.clone_model(net.layers[-1].layer)
    plain.set_weights(net.layers[-1].layer.get_weights())
    want, got = plain(x, training=True), net(x, training=True)
    assert float(jnp.abs(want - got).max()) < 0.05 and float(jnp.std(want)) > 0.3
    for a, b in zip(plain.weights, net.layers[-1].layer.weights, strict=True):
        np.testing.assert_allclose(a.value, b.value, atol=0.01)


def test_frozen_statistics_stay_and_are_used():
    net, x, other = normed(freeze_after=1), floats(16, 6, 6, 2), floats(16, 6, 6, 2) * 3 + 1
    net(x, training=True)
    before = [np.asarray(v.value) for v in net.layers[-1].layer.non_trainable_weights]
    assert any(np.abs(b).max() > 0 for b in before[:1])
    net(other, training=True)
    after = [np.asarray(v.value) for v in net.layers[-1].layer.non_trainable_weights]
    np.testing.assert_array_equal(before, after)
    free = normed()
    for v, w in zip(free.variables, net.variables, strict=True):
        v.assign(w.value)
    np.testing.assert_allclose(net(other, training=True), net(other), atol=0.2)
    assert float(jnp.abs(free(other, training=True) - net(other)).max()) > 0.5


class Gate(Layer):
    """Code of a user's: products, a derivative of its own, and randomness."""

    def build(self, shape):
        self.w = self.add_weight((shape[-1], 5), name="w")
        self.v = self.add_weight((shape[-1], 5), name="v")

    def call(self, x, training=False):
        y = jax.nn.relu(x @ self.w.value) * twice(jnp.einsum("bi,ij->bj", x, self.v.value))
        if training:
            y = y * jax.random.bernoulli(lamina.random.SeedGenerator(3).next(), 0.5, y.shape)
        self.add_loss(0.1 * jnp.sum(self.w.value))
        return y


@jax.custom_jvp
def twice(x):
    return x


twice.defjvp(lambda primals, tangents: (primals[0], 2 * tangents[0]))


@pytest.mark.slow
def test_code_of_users_is_rounded_and_keeps_its_derivatives_losses_and_randomness():
    a = Input((4,), name="a")
    b = Input((4,), name="b")
    out = layers.Dense(2, name="head")(layers.Concatenate()([Gate(name="g")(a), layers.LayerNormalization()(b)]))
    plain = Model([a, b], {"y": out, "side": layers.Softmax()(out)})
    net = quantize_aware(plain)
    given = [floats(64, 4), floats(64, 4)]
    noisy = net(given, training=True)
    net.layers[-1].limits.assign(2 * net.layers[-1].limits.value)  # room for what the noise of training kept small
    assert set(net.layers[-1].ranges) >= {"a", "g/mul", "head/add"}
    got, want = net(given), plain(given)
    assert set(got) == {"y", "side"} and got["y"].shape == (64, 2)
    assert float(jnp.abs(got["y"] - want["y"]).mean()) < 0.05
    assert not np.array_equal(got["y"], want["y"])
    assert float(jnp.abs(noisy["y"] - got["y"]).max()) > 0.01
    slopes = []
    for model in (plain, net):
        pure = lamina.purify(lambda x, m=model: jnp.sum(m(x)["y"] ** 2), model.trainable_variables, strict=False)
        values = [v.value for v in model.trainable_variables]
        slopes.append(jax.grad(lambda v, p=pure: p(v, given)[0])(values))
    for v, first, second in zip(plain.trainable_variables, *slopes, strict=True):
        cosine = float(jnp.vdot(first, second) / (jnp.linalg.norm(first) * jnp.linalg.norm(second)))
        ratio = float(jnp.linalg.norm(second) / jnp.linalg.norm(first))
        assert cosine > 0.95 and 0.8 < ratio < 1.2, v.path
    net.compile("sgd", loss={"y": "mse"})
    x = {"a": given[0], "b": given[1]}
    history = net.fit([x["a"], x["b"]], {"y": np.zeros((64, 2), "float32")}, epochs=2, verbose=0)
    penalty = 0.1 * float(jnp.sum(net.layers[-1].layer.get_layer("g").w.value))
    assert np.isfinite(history.history["loss"]).all() and abs(penalty - float(net.losses[0])) < 0.2


@pytest.mark.slow
def test_depthwise_grouped_and_transposed_kernels_are_rounded_by_channel():
    lamina.utils.set_random_seed(2)
    stack = [layers.DepthwiseConv2D(3, depth_multiplier=2, name="dw"), layers.Conv2D(4, 1, groups=2, name="g")]
    net = quantize_aware(Sequential([Input((6, 6, 2)), *stack, layers.Conv2DTranspose(3, 2, strides=2, name="t")]))
    net(floats(4, 6, 6, 2), training=True)
    graph = trace(net).optimize()
    for op, name, axes in (
        ("DepthwiseConv", "dw", (0, 1)),
        ("Conv", "g", (0, 1, 2)),
        ("ConvTranspose", "t", (0, 1, 3)),
    ):
        instr = next(i for i in graph.instrs if i.op == op)
        kernel = np.float64(net.layers[-1].layer.get_layer(name).kernel.value)
        np.testing.assert_allclose(graph.constants[instr.inputs[1]], through(kernel, axes), atol=1e-6)


def test_fit_save_load_and_checkpoint(tmp_path):
    net, x = normed(freeze_after=3), floats(32, 6, 6, 2)
    net.compile("adam", "mse")
    net.fit(x, np.ones((32, 4, 4, 3), "float32"), batch_size=8, epochs=2, verbose=0)
    assert int(net.layers[-1].steps.value) == 8
    net.save(tmp_path / "m.keras")
    again = lamina.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(x), net(x))
    assert again.layers[-1].ranges == net.layers[-1].ranges and again.layers[-1].freeze_after == 3
    net.save_weights(tmp_path / "w.weights.h5")
    other = normed()
    other.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(other(x), net(x))
    assert net.predict(x, verbose=0).shape == (32, 4, 4, 3)


def test_float_formats_write_the_rounding_as_arithmetic(tmp_path):
    net, x = normed(), floats(4, 6, 6, 2)
    net(x, training=True)
    for format, name in (("frozen", "m.pb"), ("tflite", "m.tflite"), ("onnx", "m.onnx"), ("stablehlo", "m")):
        net.export(tmp_path / name, format=format)
        got = np.asarray(load_frozen(tmp_path / name)(x))
        step = net.layers[-1].ranges["r/relu"][1] / 255
        assert np.abs(got - net(x)).max() <= 1.01 * step and np.mean(np.abs(got - net(x)) > 1e-5) < 0.01, format


@pytest.mark.slow
def test_digits_trained_with_coarse_weights_and_exported_with_learnt_ranges(tmp_path):
    from lamina.datasets import builtin

    (x, y), (x_test, y_test) = builtin.digits.load_data()
    x, x_test = (np.float32(a).reshape(-1, 8, 8, 1) / 16 for a in (x, x_test))
    lamina.utils.set_random_seed(3)
    stack = [Input((8, 8, 1)), layers.Conv2D(12, 3, use_bias=False), layers.BatchNormalization(), layers.ReLU()]
    net = Sequential([*stack, layers.MaxPooling2D(), layers.Flatten(), layers.Dense(10)])

    def trained(model, epochs, rate):
        model.compile(
            lamina.optimizers.Adam(rate), lamina.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )  # fmt: skip
        if epochs:
            model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
        return model.evaluate(x_test, y_test, verbose=0)[1]

    accuracy = trained(net, 15, 5e-3)
    rounded = quantize_aware(net, weight_bits=2)
    rounded(x[:200], training=True)
    after = trained(rounded, 0, 1e-3)
    aware = quantize_aware(net, weight_bits=2, freeze_after=100)
    learnt = trained(aware, 8, 3e-3)
    assert accuracy > 0.93 and learnt > after + 0.02 and learnt > accuracy - 0.04

    want = aware.predict(x_test, verbose=0)
    step = np.subtract(*aware.layers[-1].ranges["dense/add"][::-1]) / 255
    for format, most in (("tflite", 2), ("onnx", 2)):
        path = tmp_path / f"m.{format}"
        report = aware.export(path, format=format, precision="int8")
        assert not report.fallbacks
        got = np.asarray(load_frozen(path)(x_test))
        assert np.mean(got.argmax(1) == want.argmax(1)) >= 0.99
        assert np.mean(np.abs(got - want) <= 1.01 * step) > 0.95 and np.abs(got - want).max() <= 1.01 * most * step


def test_the_file_runs_in_litert_as_the_model_does(tmp_path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    net, x = normed(), floats(8, 6, 6, 2)
    net(x, training=True)
    net.export(tmp_path / "m.tflite", format="tflite", precision="int8")
    runner = interpreter.Interpreter(str(tmp_path / "m.tflite")).get_signature_runner("serving_default")
    (got,) = runner(x=x).values()
    assert np.abs(got - net(x)).max() <= 2 * net.layers[-1].ranges["r/relu"][1] / 255


def test_errors(tmp_path):
    class Own(Model):
        def call(self, x):
            return x

    with pytest.raises(TypeError, match="must be a sequential or functional model that is built"):
        quantize_aware(Own())
    with pytest.raises(TypeError, match="model must be a model"):
        quantize_aware(3)
    with pytest.raises(ValueError, match="weight_bits must be from 2 to 8, got 9"):
        quantize_aware(dense(), weight_bits=9)
    with pytest.raises(ValueError, match="momentum"):
        QuantizeAware(layers.Dense(2), momentum=1.5)
    with pytest.raises(ValueError, match="computes in bfloat16"):
        QuantizeAware(layers.Dense(2, dtype="mixed_bfloat16"))
    with pytest.raises(ValueError, match="representative_data go together"):
        quantize_aware(dense()).export(tmp_path / "m.tflite", format="tflite", precision="int8")


# ---- masks


def words(mask_zero: bool = True) -> Model:
    tokens = Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(9, 5, mask_zero=mask_zero)(tokens)
    return Model(tokens, layers.LSTM(4, return_sequences=True)(x))


TOKENS = np.int32([[3, 1, 4, 0, 0, 0], [5, 2, 6, 8, 7, 0]])


def test_masks_pass_out_of_a_model():
    model = words()
    aware = quantize_aware(model)
    for training in (False, True):
        out = aware(TOKENS, training=training)
        np.testing.assert_array_equal(get_mask(out), TOKENS != 0)
    np.testing.assert_allclose(quantize_aware(words(False))(TOKENS).shape, (2, 6, 4))
    assert get_mask(quantize_aware(words(False))(TOKENS)) is None


def test_what_stands_behind_a_model_takes_its_mask():
    model = words()
    tail = [layers.LSTM(3), layers.Dense(2)]
    inner = quantize_aware(model)
    tokens = Input((6,), dtype="int32")
    made = []
    for part in (model, inner):
        y = part(tokens)
        for layer in tail:
            y = layer(y)
        made.append(Model(tokens, y))
    plain, aware = made
    np.testing.assert_allclose(aware(TOKENS), plain(TOKENS), atol=1e-5)  # nothing is rounded before training
    unmasked = Sequential([Input((6, 4)), *tail])(np.asarray(model(TOKENS)))
    assert np.abs(unmasked - plain(TOKENS)).max() > 1e-3


def nearer(got, want, other) -> bool:
    """Whether a result is near to another, measured by how far it is from a third: weights are rounded."""
    got, want, other = map(np.asarray, (got, want, other))
    return np.abs(got - want).max() < 0.1 * np.abs(other - want).max()


def test_masks_pass_into_a_layer_and_out_of_it():
    lamina.utils.set_random_seed(3)
    x = np.random.default_rng(0).normal(size=(2, 8, 3)).astype("float32")
    x[0, 3:] = 0
    inside = [layers.LSTM(4, return_sequences=True), layers.Dense(4, "relu"), layers.GRU(2)]
    plain = Sequential([Input((8, 3)), layers.Masking(), *inside])
    aware = Sequential([Input((8, 3)), layers.Masking(), *map(QuantizeAware, inside)])
    assert nearer(aware(x), plain(x), Sequential([Input((8, 3)), *inside])(x))
    np.testing.assert_allclose(jax.jit(lambda v: aware(v))(x), aware(x), atol=1e-5)
    aware.compile("adam", "mse")
    aware.fit(x, np.zeros((2, 2), "float32"), verbose=0)
    low, high = aware.layers[2].ranges["inputs"]
    assert -np.inf < low <= 0 <= high < np.inf


def test_masks_of_attention():
    lamina.utils.set_random_seed(4)
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    x[1, 2:] = 0
    attention, inner = layers.MultiHeadAttention(2, 2), Input((5, 4))
    block = Model(inner, attention(inner, inner))
    aware = QuantizeAware(block)

    def run(wrapped, *before):
        return Sequential([Input((5, 4)), *before, wrapped, layers.GlobalAveragePooling1D()])(x)

    assert nearer(run(aware, layers.Masking()), run(block, layers.Masking()), run(block))
    assert nearer(run(aware), run(block), run(block, layers.Masking()))


def test_a_masked_loss_is_that_of_the_plain_model():
    model = words()
    targets = 1.0 + model(TOKENS) * (TOKENS != 0)[..., None]
    losses = []
    for net in (model, quantize_aware(model)):
        net.compile("sgd", "mse")
        losses.append(net.evaluate(TOKENS, targets * (1 + (TOKENS == 0)[..., None]), verbose=0))
    np.testing.assert_allclose(losses, 1.0, rtol=0.02)  # 2 and more where the mask is False
