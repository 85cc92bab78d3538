"""The models of `matrix.py`: those of the ONNX oracle, and well-known architectures with fewer channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from onnx_models import MODELS as SMALL
from onnx_models import conv_bn

from lamina import Input, Model, Sequential, layers, ops

MODELS: dict[str, Callable[[], Any]] = dict(SMALL)


def model(fn: Callable[[], Any]) -> Callable[[], Any]:
    """A decorator that adds a model under its function's name."""
    MODELS[fn.__name__] = fn
    return fn


@model
def resnet() -> Any:
    """ResNet-18: four stages of two basic blocks."""
    image = Input((32, 32, 3), name="image")
    x = layers.MaxPooling2D(3, 2, "same")(conv_bn(image, 8, 7, 2))
    for filters, strides in ((8, 1), (8, 1), (16, 2), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        same = strides == 1 and x.shape[-1] == filters
        short = x if same else conv_bn(x, filters, 1, strides, None)
        y = conv_bn(conv_bn(x, filters, 3, strides), filters, activation=None)
        x = layers.ReLU()(layers.Add()([short, y]))
    return Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def inverted(x: Any, expand: int, filters: int, kernel: int, strides: int, activation: str, squeeze: bool) -> Any:
    """An inverted residual: widens, convolves each channel by itself, weighs the channels, narrows."""
    channels = x.shape[-1]
    y = x if expand == 1 else conv_bn(x, channels * expand, 1, activation=activation)
    y = layers.DepthwiseConv2D(kernel, strides, "same", use_bias=False)(y)
    y = layers.Activation(activation)(layers.BatchNormalization()(y))
    if squeeze:
        gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
        gate = layers.Conv2D(max(1, channels // 4), 1, activation=activation)(gate)
        y = layers.Multiply()([y, layers.Conv2D(channels * expand, 1, activation="sigmoid")(gate)])
    y = conv_bn(y, filters, 1, activation=None)
    if strides > 1 or channels != filters:
        return y
    return layers.Add()([layers.Dropout(0.2)(y) if squeeze else y, x])


@model
def mobilenet_v2() -> Any:
    """All 17 blocks of MobileNetV2, at a quarter of its width."""
    image = Input((64, 64, 3), name="image")
    x = conv_bn(image, 8, 3, 2, "relu6")
    stages = ((1, 4, 1, 1), (6, 6, 2, 2), (6, 8, 3, 2), (6, 16, 4, 2), (6, 24, 3, 1), (6, 40, 3, 2), (6, 80, 1, 1))
    for expand, filters, repeats, strides in stages:
        for i in range(repeats):
            x = inverted(x, expand, filters, 3, strides if i == 0 else 1, "relu6", False)
    x = layers.GlobalAveragePooling2D()(conv_bn(x, 320, 1, activation="relu6"))
    return Model(image, layers.Dense(10, "softmax")(layers.Dropout(0.2)(x)))


@model
def efficientnet() -> Any:
    """All 16 blocks of EfficientNet-B0, at a quarter of its width."""
    image = Input((64, 64, 3), name="image")
    x = conv_bn(layers.Normalization(mean=0.1, variance=0.9)(image), 8, 3, 2, "swish")
    stages = (
        (1, 4, 3, 1, 1), (6, 6, 3, 2, 2), (6, 10, 5, 2, 2), (6, 20, 3, 2, 3), (6, 28, 5, 1, 3), (6, 48, 5, 2, 4),
        (6, 80, 3, 1, 1),
    )  # fmt: skip
    for expand, filters, kernel, strides, repeats in stages:
        for i in range(repeats):
            x = inverted(x, expand, filters, kernel, strides if i == 0 else 1, "swish", True)
    x = layers.GlobalAveragePooling2D()(conv_bn(x, 320, 1, activation="swish"))
    return Model(image, layers.Dense(10, "softmax")(layers.Dropout(0.2)(x)))


@model
def inception() -> Any:
    """Branches of several kernel sizes side by side."""
    image = Input((24, 24, 3), name="image")
    x = layers.MaxPooling2D(3, 2, "same")(conv_bn(image, 12))
    for _ in range(2):
        small = conv_bn(x, 8, 1)
        middle = conv_bn(conv_bn(x, 6, 1), 8, 3)
        large = conv_bn(conv_bn(conv_bn(x, 4, 1), 6, (1, 5)), 6, (5, 1))
        pooled = conv_bn(layers.AveragePooling2D(3, 1, "same")(x), 6, 1)
        x = layers.Concatenate()([small, middle, large, pooled])
    return Model(image, layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(x)))


@model
def densenet() -> Any:
    """Each convolution sees the outputs of all before it."""
    image = Input((24, 24, 3), name="image")
    x = layers.Conv2D(12, 3, padding="same", use_bias=False)(image)
    for stage in range(2):
        for _ in range(3):
            y = layers.ReLU()(layers.BatchNormalization()(x))
            y = layers.Conv2D(6, 3, padding="same", use_bias=False)(conv_bn(y, 16, 1))
            x = layers.Concatenate()([x, y])
        if stage == 0:
            x = layers.ReLU()(layers.BatchNormalization()(x))
            x = layers.AveragePooling2D()(layers.Conv2D(x.shape[-1] // 2, 1, use_bias=False)(x))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


@model
def convnext() -> Any:
    """Large depthwise kernels, layer normalisation, GELU."""
    image = Input((32, 32, 3), name="image")
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(12, 4, 4)(image))
    for filters in (12, 24):
        if filters != x.shape[-1]:
            x = layers.Conv2D(filters, 2, 2)(layers.LayerNormalization(epsilon=1e-6)(x))
        for _ in range(2):
            y = layers.LayerNormalization(epsilon=1e-6)(layers.DepthwiseConv2D(7, padding="same")(x))
            y = layers.Dense(filters)(layers.Dense(4 * filters, "gelu")(y))
            x = layers.Add()([x, y])
    return Model(image, layers.Dense(10)(layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x))))


@model
def temporal_residual() -> Any:
    """A temporal convolutional network: residual blocks of dilated causal convolutions."""
    rows = Input((32, 4), name="rows")
    x = rows
    for rate in (1, 2, 4, 8):
        y = layers.Conv1D(12, 3, padding="causal", dilation_rate=rate, activation="relu")(x)
        y = layers.Conv1D(12, 3, padding="causal", dilation_rate=rate, activation="relu")(
            layers.SpatialDropout1D(0.1)(y)
        )
        x = layers.ReLU()(layers.Add()([y, x if x.shape[-1] == 12 else layers.Conv1D(12, 1)(x)]))
    return Model(rows, layers.Dense(3)(x[:, -1]))


@model
def generator() -> Any:
    """The generator of a DCGAN: from noise to an image by transposed convolutions."""
    noise = Input((16,), name="noise")
    x = layers.Reshape((4, 4, 16))(layers.Dense(4 * 4 * 16, use_bias=False)(noise))
    for filters in (12, 8):
        x = layers.LeakyReLU(negative_slope=0.2)(layers.BatchNormalization()(x))
        x = layers.Conv2DTranspose(filters, 5, 2, "same", use_bias=False)(x)
    x = layers.LeakyReLU(negative_slope=0.2)(layers.BatchNormalization()(x))
    return Model(noise, layers.Conv2DTranspose(3, 5, 2, "same", activation="tanh")(x))


@model
def siamese() -> Any:
    """Two inputs through the same layers, and how alike they are."""
    left, right = Input((16, 16, 1), name="left"), Input((16, 16, 1), name="right")
    tower = Sequential([
        Input((16, 16, 1)), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(12, 3, activation="relu"), layers.Flatten(), layers.Dense(16), layers.UnitNormalization(),
    ])  # fmt: skip
    a, b = tower(left), tower(right)
    return Model([left, right], [layers.Dot(1)([a, b]), layers.Dense(1, "sigmoid")(ops.absolute(a - b))])


@model
def sequence_to_sequence() -> Any:
    """An encoder and a decoder of GRUs, with a classifier at each step."""
    rows = Input((8, 5), name="rows")
    code = layers.GRU(12)(layers.GRU(12, return_sequences=True)(rows))
    x = layers.GRU(12, return_sequences=True)(layers.RepeatVector(6)(code))
    return Model(rows, layers.TimeDistributed(layers.Dense(4, "softmax"))(x))


class EinsumAttention(layers.Layer):
    """Attention of several heads, written with einsum and rotations of the positions."""

    def build(self, shape: Any) -> None:
        self.projections = self.add_weight(shape=(3, shape[-1], 2, 8), name="projections")
        self.out = self.add_weight(shape=(2, 8, shape[-1]), name="out")

    def call(self, x: Any) -> Any:
        q, k, v = jnp.einsum("btd,pdhe->pbhte", x, jnp.asarray(self.projections))
        angle = jnp.arange(x.shape[1])[:, None] / 100.0 ** (jnp.arange(4) / 4)

        def rotate(y: Any) -> Any:
            a, b = y[..., :4], y[..., 4:]
            return jnp.concatenate(
                [a * jnp.cos(angle) - b * jnp.sin(angle), b * jnp.cos(angle) + a * jnp.sin(angle)], -1
            )

        scores = jnp.einsum("bhte,bhse->bhts", rotate(q), rotate(k)) / 8**0.5
        scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -1e9)
        mixed = jnp.einsum("bhts,bhse->bthe", ops.softmax(scores), v)
        return x + jnp.einsum("bthe,hed->btd", mixed, jnp.asarray(self.out))


@model
def einsum_attention() -> Any:
    rows = Input((10, 12), name="rows")
    x = EinsumAttention()(layers.LayerNormalization()(rows))
    return Model(rows, layers.EinsumDense("btd,dk->btk", (None, 6), bias_axes="k", activation="gelu")(x))


@model
def mixer() -> Any:
    """An MLP-Mixer: dense layers over the patches, then over the channels."""
    image = Input((16, 16, 3), name="image")
    x = layers.Reshape((16, 12))(layers.Conv2D(12, 4, 4)(image))
    for _ in range(2):
        y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
        y = layers.Permute((2, 1))(layers.Dense(16)(layers.Dense(24, "gelu")(y)))
        x = layers.Add()([x, y])
        y = layers.Dense(12)(layers.Dense(24, "gelu")(layers.LayerNormalization()(x)))
        x = layers.Add()([x, y])
    return Model(image, layers.Dense(5)(layers.GlobalAveragePooling1D()(x)))
