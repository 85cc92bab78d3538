"""Layers against independent references: loops and float64 numpy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.state.frame import purify
from lamina.state.masks import get_mask, set_mask

RNG = np.random.default_rng(3)


def floats(*shape):
    return RNG.standard_normal(shape).astype("float32")


def close(a, b, tolerance=1e-4):
    np.testing.assert_allclose(np.asarray(a, "float64"), np.asarray(b, "float64"), rtol=tolerance, atol=tolerance)


def windows(x, size, strides, padding, dilation=(1, 1), value=0.0):
    """The windows of a batch of images: (row, column, part of the padded input), by loops."""
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    if padding == "same":
        total = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(x.shape[1:3], strides, reach, strict=True)]
        x = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)], constant_values=value)
    counts = [(n - r) // s + 1 for n, r, s in zip(x.shape[1:3], reach, strides, strict=True)]
    for i, j in itertools.product(*map(range, counts)):
        a, b = i * strides[0], j * strides[1]
        yield i, j, counts, x[:, a : a + reach[0] : dilation[0], b : b + reach[1] : dilation[1]]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("strides", "dilation"), [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((1, 1), (2, 1))])
def test_conv2d_is_a_sum_over_windows(padding, strides, dilation):
    x = floats(2, 7, 8, 3)
    layer = layers.Conv2D(4, (3, 2), strides, padding, dilation_rate=dilation, bias_initializer="ones")
    y = layer(x)
    kernel = np.asarray(layer.kernel.value, "float64")
    parts = list(windows(x.astype("float64"), (3, 2), strides, padding, dilation))
    assert list(y.shape[1:3]) == parts[0][2]
    for i, j, _, part in parts:
        close(y[:, i, j], np.tensordot(part, kernel, 3) + 1)


def test_conv1d_causal_sees_no_later_step():
    x = floats(1, 8, 2)
    layer = layers.Conv1D(3, 3, padding="causal", dilation_rate=2)
    before = layer(x)
    x[:, 5:] += 1
    after = layer(x)
    close(before[:, :5], after[:, :5])
    assert not np.allclose(before[:, 5], after[:, 5])


def test_groups_convolve_channels_apart():
    x = floats(1, 5, 5, 4)
    layer = layers.Conv2D(6, 3, groups=2, use_bias=False)
    y = layer(x)
    kernel = layer.kernel.numpy()
    for g in range(2):
        half = layers.Conv2D(3, 3, use_bias=False)
        half(x[..., :2])
        half.set_weights([kernel[..., 3 * g : 3 * g + 3]])
        close(half(x[..., 2 * g : 2 * g + 2]), y[..., 3 * g : 3 * g + 3])


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_transposed_convolution_is_the_gradient_of_convolution(padding):
    y = floats(2, 4, 5, 3)
    layer = layers.Conv2DTranspose(2, 3, strides=2, padding=padding, use_bias=False)
    x = layer(y)
    forward = layers.Conv2D(3, 3, strides=2, padding=padding, use_bias=False)
    assert forward(np.asarray(x)).shape == y.shape
    forward.set_weights(layer.get_weights())
    (kernel,) = [jnp.asarray(w) for w in forward.get_weights()]
    _, pull = jax.vjp(lambda v: forward.stateless_call([kernel], [], v)[0], jnp.zeros_like(x))
    close(pull(jnp.asarray(y))[0], x)


def test_separable_is_depthwise_then_pointwise():
    x = floats(2, 6, 6, 3)
    layer = layers.SeparableConv2D(5, 3, depth_multiplier=2)
    y = layer(x)
    depthwise, pointwise, bias = layer.get_weights()
    for i, j, _, part in windows(x.astype("float64"), (3, 3), (1, 1), "valid"):
        middle = np.einsum("nabc,abcm->ncm", part, depthwise).reshape(2, -1)
        close(y[:, i, j], middle @ pointwise[0, 0] + bias)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_pooling_reduces_windows(padding):
    x = floats(2, 7, 8, 3)
    largest = layers.MaxPooling2D((3, 2), (2, 2), padding)(x)
    mean = layers.AveragePooling2D((3, 2), (2, 2), padding)(x)
    for i, j, _, part in windows(x.astype("float64"), (3, 2), (2, 2), padding, value=np.nan):
        close(largest[:, i, j], np.nanmax(part, (1, 2)))
        close(mean[:, i, j], np.nanmean(part, (1, 2)))


def test_einsum_dense_matches_numpy():
    x = floats(2, 3, 4)
    layer = layers.EinsumDense("abc,cde->abde", (None, 5, 2), bias_axes="e", bias_initializer="ones")
    y = layer(x)
    assert layer.bias.shape == (2,)
    close(y, np.einsum("abc,cde->abde", x, layer.kernel.numpy()) + 1)


def test_batch_normalization_in_training_and_inference():
    x = floats(8, 5, 3) * 3 + 10
    layer = layers.BatchNormalization(momentum=0.75, epsilon=0.01)
    y = layer(x, training=True)
    wide = x.astype("float64")
    mean, variance = wide.mean((0, 1)), wide.var((0, 1))
    close(y, (wide - mean) / np.sqrt(variance + 0.01), 1e-3)
    close(layer.moving_mean.value, 0.25 * mean)
    close(layer.moving_variance.value, 0.75 + 0.25 * variance, 1e-3)
    moving = layer.get_weights()
    close(layer(x), (wide - moving[2]) / np.sqrt(moving[3] + 0.01))
    layer.trainable = False
    layer(x, training=True)
    close(layer.moving_mean.value, moving[2])


def test_batch_normalization_of_a_large_mean_keeps_the_variance():
    x = floats(64, 2) + 3000
    layer = layers.BatchNormalization(momentum=0.0)
    layer(x, training=True)
    layer(x, training=True)
    close(layer.moving_variance.value, x.astype("float64").var(0), 1e-3)


def test_batch_normalization_ignores_masked_steps():
    x = floats(4, 6, 3)
    mask = RNG.random((4, 6)) > 0.4
    layer = layers.BatchNormalization(momentum=0.0)
    layer(x, training=True, mask=mask)
    close(layer.moving_mean.value, x[mask].mean(0))
    close(layer.moving_variance.value, x[mask].var(0))


@pytest.mark.parametrize("axis", [-1, [1, 2], (-2,)])
def test_layer_normalization(axis):
    x = floats(3, 4, 5)
    layer = layers.LayerNormalization(axis, epsilon=0.01)
    y = layer(x)
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else axis
    wide = x.astype("float64")
    close(y, (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 0.01))


def test_group_normalization_takes_moments_of_each_group():
    x = floats(2, 3, 4, 6)
    y = layers.GroupNormalization(3, epsilon=0.01)(x)
    for g in range(3):
        part = x[..., 2 * g : 2 * g + 2].astype("float64")
        mean, variance = part.mean((1, 2, 3), keepdims=True), part.var((1, 2, 3), keepdims=True)
        close(y[..., 2 * g : 2 * g + 2], (part - mean) / np.sqrt(variance + 0.01))


def test_spectral_normalization_divides_by_the_largest_singular_value():
    layer = layers.SpectralNormalization(layers.Dense(3, use_bias=False), power_iterations=100)
    layer(floats(1, 5))
    kernel = layer.get_weights()[0]
    layer(floats(1, 5), training=True)
    close(layer.get_weights()[0], kernel / np.linalg.svd(kernel, compute_uv=False)[0], 1e-3)
    layer.layer.set_weights([0 * kernel])
    assert np.isfinite(np.asarray(layer(floats(1, 5), training=True))).all()


@pytest.mark.parametrize(("axes", "equation"), [(1, "bc,bc->b"), ((2, 1), "bij,bjk->bik"), ((1, 2), "bji,bkj->bik")])
def test_dot(axes, equation):
    shapes = {1: [(2, 3), (2, 3)], (2, 1): [(2, 3, 4), (2, 4, 5)], (1, 2): [(2, 4, 3), (2, 5, 4)]}[axes]
    x, y = (floats(*s) for s in shapes)
    want = np.einsum(equation, x, y)
    close(layers.Dot(axes)([x, y]), want[:, None] if want.ndim == 1 else want)


def test_merging_layers_broadcast_lower_ranks_behind_the_batch_axis():
    x, y = floats(2, 3, 4), floats(2, 4)
    close(layers.Add()([x, y]), x + y[:, None])
    close(layers.Average()([x, x, 4 * x]), 2 * x)
    symbols = [lamina.Input((3, 4)), lamina.Input((4,))]
    assert layers.multiply(symbols).shape == (None, 3, 4)


def test_masked_places_do_not_take_part_in_extremes():
    x, y = jnp.asarray([[[1.0], [9.0]]]), jnp.asarray([[[3.0], [4.0]]])
    set_mask(x, jnp.asarray([[True, False]]))
    set_mask(y, jnp.asarray([[True, True]]))
    out = layers.Maximum()([x, y])
    assert out[0, :, 0].tolist() == [3, 4]
    assert get_mask(out).tolist() == [[True, True]]


def test_masks_travel_from_embedding_to_pooling():
    ids = np.array([[3, 1, 0, 0], [2, 0, 0, 0]])
    model = lamina.Sequential(
        [layers.Embedding(5, 4, mask_zero=True), layers.Dense(3), layers.GlobalAveragePooling1D()]
    )
    y = model(ids)
    table, kernel, bias = model.get_weights()
    rows = table @ kernel + bias
    close(y, [(rows[3] + rows[1]) / 2, rows[2]])


def test_masks_of_concatenated_inputs():
    x, y = jnp.ones((1, 2, 3)), jnp.ones((1, 1, 3))
    set_mask(x, jnp.asarray([[True, False]]))
    assert get_mask(layers.Concatenate(axis=1)([x, y])).tolist() == [[True, False, True]]


def test_softmax_gives_masked_places_nothing():
    x = floats(2, 4)
    mask = np.array([[True, True, False, True], [False, False, True, True]])
    y = np.asarray(layers.Softmax()(x, mask=mask))
    e = np.exp(x) * mask
    close(y, e / e.sum(-1, keepdims=True))
    assert (y[~mask] == 0).all()


def test_reversible_embedding_goes_back_with_its_own_or_the_same_table():
    vectors = floats(2, 3, 4)
    tied = layers.ReversibleEmbedding(7, 4)
    tied(np.array([[1]]))
    close(tied(vectors, reverse=True), vectors @ tied.embeddings.numpy().T)
    loose = layers.ReversibleEmbedding(7, 4, tie_weights=False, logit_soft_cap=2.0)
    loose(np.array([[1]]))
    close(loose(vectors, reverse=True), 2 * np.tanh(vectors @ loose.reverse_embeddings.numpy() / 2))


def test_embedding_takes_integers_that_come_as_floats_in_half_width():
    layer = layers.Embedding(1000, 2, dtype="mixed_bfloat16")
    exact = layer(np.array([[777]]))
    assert (layer(np.array([[777.0]], "float32")) == exact).all()


@pytest.mark.parametrize("rate", [0.5, 0.25, 0.3, 0.9])
def test_dropout_drops_its_share_and_scales_the_rest(rate):
    y = np.asarray(layers.Dropout(rate, seed=5)(np.ones((400, 250), "float32"), training=True))
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert abs((y == 0).mean() - rate) < 4 * deviation
    close(y[y != 0], 1 / (1 - rate))


def test_dropout_draws_anew_at_each_call_and_repeats_with_its_seed():
    x = np.ones((20, 20), "float32")
    a, b = layers.Dropout(0.5, seed=5), layers.Dropout(0.5, seed=5)
    first, second = a(x, training=True), a(x, training=True)
    assert (first != second).any()
    assert (b(x, training=True) == first).all()
    assert (a(x) == x).all()


def test_dropout_in_compiled_code_follows_the_key():
    x = jnp.ones((20, 20))
    layer = layers.Dropout(0.5)
    pure = jax.jit(purify(lambda v: layer(v, training=True), []))
    draws = [pure((), x, key=jax.random.key(k))[0] for k in (0, 0, 1)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()


def test_noise_shape_shares_the_mask():
    y = layers.Dropout(0.5, noise_shape=(None, 1, None), seed=1)(np.ones((3, 5, 40), "float32"), training=True)
    assert (y == y[:, :1]).all()
    assert (y == 0).any()


def test_alpha_dropout_keeps_mean_and_variance():
    x = floats(300, 300)
    y = np.asarray(layers.AlphaDropout(0.2, seed=1)(x, training=True))
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02


def test_gaussian_layers_have_the_stated_deviation():
    x = np.ones((300, 300), "float32")
    assert abs(np.std(layers.GaussianNoise(0.5, seed=1)(x, training=True)) - 0.5) < 0.01
    assert abs(np.std(layers.GaussianDropout(0.2, seed=1)(x, training=True)) - 0.5) < 0.01


class Batches:
    """What Keras calls a PyDataset: batches by number."""

    def __init__(self, *batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        if i >= len(self):
            raise RuntimeError("read behind the end")
        return self.batches[i]


@pytest.mark.parametrize(
    "give",
    [
        lambda x: x,
        lambda x: jnp.asarray(x),
        lambda x: [x[:3], x[3:]],
        lambda x: ((b, None) for b in (x[:1], x[1:])),
        lambda x: Batches((x[:4],), (x[4:],)),
    ],
    ids=["array", "jax", "list", "generator of pairs", "by number"],
)
@pytest.mark.parametrize("axis", [-1, None, (1, 2)])
def test_normalization_adapts(give, axis):
    x = floats(9, 4, 3) * 2 + 100
    layer = layers.Normalization(axis)
    layer.adapt(give(x))
    reduce = {-1: (0, 1), None: (0, 1, 2), (1, 2): (0,)}[axis]
    wide = x.astype("float64")
    want = (wide - wide.mean(reduce, keepdims=True)) / wide.std(reduce, keepdims=True)
    close(layer(x), want, 1e-3)
    back = layers.Normalization(axis, invert=True)
    back.adapt(x)
    close(back(want.astype("float32")), x, 1e-3)


def test_normalization_adapts_on_a_dataset():
    from lamina.datasets import Dataset

    x = floats(10, 3) + 5
    batched, loose = layers.Normalization(), layers.Normalization(None)
    batched.adapt(Dataset.from_tensor_slices((x, x)).batch(4))
    close(batched.adapt_mean.value, x.mean(0))
    loose.adapt(Dataset.from_tensor_slices(x[:, 0]))
    close(loose.adapt_variance.value, x[:, 0].var())


@pytest.mark.parametrize("training", [False, True])
def test_time_distributed_is_a_loop_over_steps(training):
    x = floats(4, 3, 5)
    outer = layers.TimeDistributed(layers.BatchNormalization(momentum=0.5))
    single = layers.BatchNormalization(momentum=0.5)
    y = outer(x, training=training)
    for t in range(3):
        close(y[:, t], single(x[:, t], training=training))
    close(outer.layer.moving_mean.value, single.moving_mean.value)


def test_time_distributed_hands_the_mask_on():
    x = floats(2, 3, 4, 5)
    mask = RNG.random((2, 3, 4)) > 0.5
    mask[..., 0] = True
    y = layers.TimeDistributed(layers.GlobalAveragePooling1D())(x, mask=mask)
    for b, t in itertools.product(range(2), range(3)):
        close(y[b, t], x[b, t][mask[b, t]].mean(0))


def test_lambda_passes_training_and_arguments():
    layer = layers.Lambda(lambda x, training, by: x * by if training else x, arguments={"by": 3})
    assert layer(np.ones(2, "float32"), training=True).tolist() == [3, 3]
    assert layer(np.ones(2, "float32"), training=False).tolist() == [1, 1]


def test_activity_penalties_are_means_over_the_batch():
    layer = layers.ActivityRegularization(l1=0.5, l2=0.25)
    x = np.array([[1.0, -2.0], [3.0, 0.0]], "float32")
    layer(x)
    assert float(layer.losses[0]) == pytest.approx((0.5 * 6 + 0.25 * 14) / 2)


def test_aliases_are_the_same_classes():
    assert layers.Convolution2D is layers.Conv2D
    assert layers.AvgPool2D is layers.AveragePooling2D
    assert layers.GlobalAvgPool1D is layers.GlobalAveragePooling1D
    assert layers.MaxPool3D is layers.MaxPooling3D


def test_a_layer_may_state_the_shapes_of_its_symbols():
    class Wide(lamina.Layer):
        def call(self, x):
            return x

        def compute_output_spec(self, x):
            return x

    x = lamina.Input((3,))
    y = Wide()(x)
    assert y is not x
    assert y.shape == x.shape
    assert lamina.Model(x, y).predict(floats(2, 3), verbose=0).shape == (2, 3)
