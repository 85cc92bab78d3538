"""Models of many kinds, small and with random weights, for the oracles of exchange formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import Input, Model, Sequential, layers, ops

MODELS: dict[str, Callable[[], Any]] = {}


def model(fn: Callable[[], Any]) -> Callable[[], Any]:
    """A decorator that adds a model under its function's name."""
    MODELS[fn.__name__] = fn
    return fn


def conv_bn(x: Any, filters: int, kernel: int = 3, strides: int = 1, activation: Any = "relu") -> Any:
    x = layers.Conv2D(filters, kernel, strides, "same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return x if activation is None else layers.Activation(activation)(x)


@model
def mlp() -> Any:
    stack = [layers.Dense(32, "relu"), layers.Dropout(0.5), layers.Dense(16, "tanh"), layers.Dense(5, "softmax")]
    return Sequential([Input((20,), name="features"), *stack])


@model
def cnn_bn() -> Any:
    image = Input((28, 28, 1), name="image")
    x = layers.MaxPooling2D()(conv_bn(image, 8))
    x = layers.MaxPooling2D(3, 2, "same")(conv_bn(x, 16, activation="elu"))
    return Model(image, layers.Dense(10, "softmax")(layers.Flatten()(x)))


@model
def resnet() -> Any:
    image = Input((32, 32, 3), name="image")
    x = conv_bn(image, 8)
    for filters, strides in ((8, 1), (16, 2), (32, 2)):
        short = x if strides == 1 else conv_bn(x, filters, 1, strides, None)
        y = conv_bn(conv_bn(x, filters, 3, strides), filters, activation=None)
        x = layers.ReLU()(layers.Add()([short, y]))
    return Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def inverted(x: Any, expand: int, filters: int, strides: int, activation: str, squeeze: bool = False) -> Any:
    """A block that widens, convolves each channel by itself, and narrows."""
    channels = x.shape[-1]
    y = conv_bn(x, channels * expand, 1, activation=activation)
    y = layers.DepthwiseConv2D(3, strides, "same", use_bias=False)(y)
    y = layers.Activation(activation)(layers.BatchNormalization()(y))
    if squeeze:
        weights = layers.Reshape((1, 1, channels * expand))(layers.GlobalAveragePooling2D()(y))
        weights = layers.Conv2D(4, 1, activation="silu")(weights)
        y = layers.Multiply()([y, layers.Conv2D(channels * expand, 1, activation="sigmoid")(weights)])
    y = conv_bn(y, filters, 1, activation=None)
    return layers.Add()([x, y]) if strides == 1 and channels == filters else y


@model
def mobilenet_v2() -> Any:
    image = Input((32, 32, 3), name="image")
    x = conv_bn(image, 8, strides=2, activation="relu6")
    for filters, strides in ((8, 1), (12, 2), (12, 1), (16, 2)):
        x = inverted(x, 4, filters, strides, "relu6")
    x = conv_bn(x, 40, 1, activation="relu6")
    return Model(image, layers.Dense(10, "softmax")(layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))))


@model
def efficientnet() -> Any:
    image = Input((32, 32, 3), name="image")
    x = conv_bn(layers.Rescaling(1 / 255)(image), 8, strides=2, activation="silu")
    for filters, strides in ((8, 1), (12, 2), (12, 1)):
        x = inverted(x, 4, filters, strides, "silu", squeeze=True)
    return Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


@model
def unet() -> Any:
    image = Input((32, 32, 3), name="image")
    down, x = [], image
    for filters in (8, 16):
        x = conv_bn(x, filters)
        down.append(x)
        x = layers.MaxPooling2D()(x)
    x = conv_bn(x, 24)
    for filters, skip in ((16, down[1]), (8, down[0])):
        x = layers.Conv2DTranspose(filters, 3, 2, "same", activation="relu")(x)
        x = conv_bn(layers.Concatenate()([skip, x]), filters)
    return Model(image, layers.Conv2D(4, 1, activation="softmax")(x))


@model
def lstm() -> Any:
    stack = [layers.LSTM(12, return_sequences=True), layers.LSTM(8), layers.Dense(3)]
    return Sequential([Input((9, 5), name="rows"), *stack])


@model
def masked_lstm() -> Any:
    tokens = Input((9,), dtype="int32", name="tokens")
    x = layers.LSTM(8)(layers.Embedding(30, 6, mask_zero=True)(tokens))
    return Model(tokens, layers.Dense(3)(x))


@model
def bidirectional_gru() -> Any:
    rows = Input((9, 5), name="rows")
    x = layers.Bidirectional(layers.GRU(6, return_sequences=True))(rows)
    return Model(rows, layers.Dense(4)(layers.Bidirectional(layers.GRU(6, reset_after=False))(x)))


@model
def conv_lstm() -> Any:
    video = Input((4, 8, 8, 2), name="video")
    return Model(video, layers.Dense(3)(layers.GlobalMaxPooling2D()(layers.ConvLSTM2D(4, 3, padding="same")(video))))


def attention(x: Any, causal: bool) -> Any:
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 4)(y, y, use_causal_mask=causal)])
    y = layers.Dense(32, "gelu")(layers.LayerNormalization()(x))
    return layers.Add()([x, layers.Dense(16)(y)])


@model
def transformer_encoder() -> Any:
    tokens = Input((12,), dtype="int32", name="tokens")
    x = layers.Embedding(50, 16)(tokens)
    for _ in range(2):
        x = attention(x, False)
    return Model(tokens, layers.Dense(5, "softmax")(layers.GlobalAveragePooling1D()(x)))


@model
def causal_decoder() -> Any:
    tokens = Input((12,), dtype="int32", name="tokens")
    places = ops.expand_dims(ops.arange(12), 0)
    x = layers.Embedding(50, 16)(tokens) + layers.Embedding(12, 16)(places)
    for _ in range(2):
        x = attention(x, True)
    return Model(tokens, layers.Dense(50)(layers.LayerNormalization()(x)))


@model
def wide_and_deep() -> Any:
    wide, deep = Input((30,), name="wide"), Input((6,), dtype="int32", name="deep")
    x = layers.Flatten()(layers.Embedding(40, 4)(deep))
    x = layers.Dense(8, "relu")(layers.Dense(16, "relu")(x))
    return Model([wide, deep], layers.Activation("sigmoid")(layers.Add()([layers.Dense(1)(wide), layers.Dense(1)(x)])))


@model
def keyword() -> Any:
    sound = Input((49, 10, 1), name="sound")
    x = conv_bn(sound, 16, (10, 4), (2, 2))
    for _ in range(2):
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = conv_bn(layers.ReLU()(layers.BatchNormalization()(x)), 16, 1)
    return Model(
        sound, layers.Dense(12, "softmax")(layers.Flatten()(layers.AveragePooling2D((5, 5), padding="same")(x)))
    )


@model
def autoencoder() -> Any:
    image = Input((28, 28, 1), name="image")
    x = layers.Conv2D(8, 3, 2, "same", activation="relu")(image)
    x = layers.Dense(16, "relu")(layers.Flatten()(x))
    x = layers.Reshape((14, 14, 8))(layers.Dense(14 * 14 * 8, "relu")(x))
    return Model(image, layers.Conv2DTranspose(1, 4, 2, "same", activation="sigmoid")(x))


@model
def several() -> Any:
    image, numbers = Input((16, 16, 3), name="image"), Input((7,), name="numbers")
    x = layers.GlobalMaxPooling2D()(layers.Conv2D(8, 3, activation="leaky_relu")(image))
    both = layers.Concatenate()([x, layers.Dense(8, "selu")(numbers)])
    return Model([image, numbers], {"kind": layers.Dense(4, "softmax")(both), "size": layers.Dense(1)(both)})


class Raw(Model):
    """Written in jnp: a loop, a branch, sorting, indexing."""

    def build(self, shape: Any) -> None:
        self.weight = self.add_weight(shape=(6, 6), name="weight")

    def call(self, x: Any) -> Any:
        w = jnp.asarray(self.weight)
        y = jax.lax.fori_loop(0, 4, lambda i, s: jnp.tanh(s @ w) + x / (i + 1), x)
        y = jax.lax.cond(jnp.sum(y) > 0, lambda v: v * 2, lambda v: v - 1, y)
        top, places = jax.lax.top_k(y, 3)
        near = jnp.take_along_axis(x, places, -1)
        wave = jnp.fft.fftfreq(6).astype("float32") * y
        return jnp.concatenate([jnp.cumsum(top, -1), near, jnp.sort(wave, -1), jnp.logaddexp(x, y)[:, ::-1]], -1)


@model
def raw_jnp() -> Any:
    net = Raw()
    net(np.zeros((1, 6), np.float32))
    return net, [(None, 6)], ["x"]


@model
def resizing() -> Any:
    image = Input((12, 10, 3), name="image")
    up = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(4, 3, padding="same")(image))
    near = layers.UpSampling2D(2)(image)
    return Model(image, layers.Resizing(9, 15)(layers.Concatenate()([up, near])))


@model
def embedding() -> Any:
    tokens = Input((7,), dtype="int32", name="tokens")
    return Model(tokens, layers.Dense(4)(layers.GlobalAveragePooling1D()(layers.Embedding(100, 12)(tokens))))


@model
def temporal() -> Any:
    rows = Input((24, 4), name="rows")
    x = layers.Conv1D(8, 3, padding="causal", dilation_rate=2, activation="swish")(rows)
    x = layers.MaxPooling1D()(layers.SeparableConv1D(8, 3, activation="hard_swish")(x))
    return Model(rows, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


@model
def volumes() -> Any:
    cube = Input((8, 8, 8, 2), name="cube")
    x = layers.AveragePooling3D()(layers.Conv3D(4, 3, padding="same", activation="softplus")(cube))
    return Model(cube, layers.Dense(2)(layers.GlobalAveragePooling3D()(layers.Conv3DTranspose(3, 3, 2)(x))))


@model
def normalised() -> Any:
    image = Input((16, 16, 8), name="image")
    x = layers.GroupNormalization(4)(layers.Conv2D(8, 3, groups=2)(image))
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.UnitNormalization()(layers.LayerNormalization(axis=[1, 2, 3])(x))
    return Model(image, x)


def randomise(net: Any, rng: np.random.Generator) -> None:
    """Random values for all weights, statistics of batches among them."""
    for variable in net.variables:
        if np.dtype(variable.dtype).kind != "f":
            continue
        value = np.asarray(variable.value)
        positive = "variance" in variable.path or "gamma" in variable.path
        noise = rng.uniform(0.5, 1.5, value.shape) if positive else value + rng.normal(0, 0.05, value.shape)
        variable.assign(noise.astype(value.dtype))


def samples(graph: Any, batch: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Arrays for the inputs of a graph."""
    out = {}
    for name, value in zip(graph.input_names, graph.inputs, strict=True):
        shape = [batch if not isinstance(d, int) else d for d in value.shape]
        if value.dtype.kind == "f":
            out[name] = rng.normal(0, 1, shape).astype(value.dtype)
        else:
            out[name] = rng.integers(0, 6, shape).astype(value.dtype)
    return out
