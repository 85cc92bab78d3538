"""Errors name the layer and the argument, what came, and the cure."""

import numpy as np
import pytest

from lamina import layers

ONES = np.ones


def call(layer, *shape):
    return layer(np.ones(shape, "float32"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Dense(0), "Dense 'dense': units must be an integer of at least 1, got 0"),
        (lambda: layers.Dense("3"), r"units must be an integer of at least 1, got '3' \(str\)"),
        (lambda: layers.Dense(3, activation="rleu"), "Did you mean 'relu'"),
        (
            lambda: layers.Conv2D(4, 3, padding="SAEM", name="stem"),
            "Conv2D 'stem': padding must be 'valid' or 'same', got 'saem'. Did you mean",
        ),
        (lambda: layers.Conv2D(4, (3, 3, 3)), "kernel_size must be an integer or a tuple of 2 integers"),
        (lambda: layers.Conv2D(4, 3, strides=2, dilation_rate=2), "strides and dilation_rate cannot both exceed 1"),
        (lambda: layers.Conv2D(4, 3, groups=3), "filters must be a multiple of groups"),
        (lambda: layers.Conv2D(4, 3, data_format="channel_last"), "Did you mean 'channels_last'"),
        (
            lambda: layers.Conv2DTranspose(4, 3, strides=2, output_padding=2),
            "output_padding must be smaller than strides",
        ),
        (lambda: layers.MaxPooling2D(0), r"pool_size\[0\] must be an integer of at least 1"),
        (lambda: layers.AdaptiveMaxPooling2D((1, 2, 3)), "output_size must be an integer or a tuple of 2 integers"),
        (lambda: layers.Dropout(1.5), "rate must be a number between 0 and 1, got 1.5"),
        (lambda: layers.GaussianDropout(1), "rate must be below 1"),
        (lambda: layers.Permute((0, 1)), "0, the batch axis, stays in place"),
        (lambda: layers.Reshape((-1, -1)), "target_shape may hold one -1"),
        (lambda: layers.Cropping2D((1, 2, 3)), "cropping must be an integer, 2 integers, or 2 pairs"),
        (lambda: layers.UpSampling2D(2, interpolation="nearst"), "Did you mean 'nearest'"),
        (lambda: layers.Dot(0), "axes must not hold 0, the batch axis"),
        (lambda: layers.EinsumDense("ab->ac", 3), "equation must have the form 'ab,bc->ac'"),
        (lambda: layers.GroupNormalization(0), "groups must be positive, or -1"),
        (lambda: layers.BatchNormalization(renorm_clipping={"rmaxx": 1}), "Did you mean 'rmax'"),
        (lambda: layers.Normalization(mean=1.0), "variance is missing"),
        (lambda: layers.Lambda(3), "function must be callable"),
        (lambda: layers.TimeDistributed(layers.Dense), r"Did you mean Dense\(...\)"),
    ],
)
def test_constructor(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: call(layers.Dense(3), 4), "at least 2 axes"),
        (
            lambda: call(layers.Conv2D(4, 3), 28, 28, 1),
            r"input with 4 axes, got shape \(28, 28, 1\). Is the batch axis",
        ),
        (
            lambda: call(layers.Conv2D(4, 3, groups=2), 1, 5, 5, 3),
            "channels of the input must be a multiple of groups=2, got 3",
        ),
        (lambda: call(layers.Conv2D(4, 9), 1, 5, 5, 3), "too small"),
        (lambda: call(layers.Reshape((5, 5)), 2, 12), r"does not fit a sample of shape \(12,\), which has 12 elements"),
        (lambda: call(layers.Cropping1D(3), 1, 6, 1), "leaves nothing of axis 1"),
        (lambda: call(layers.BatchNormalization(axis=4), 2, 3), "axis 4 does not exist"),
        (lambda: call(layers.GroupNormalization(3), 2, 4), "groups=3 must divide the 4 channels"),
        (
            lambda: layers.Dropout(0.5, noise_shape=(1,))(ONES((2, 4), "float32"), training=True),
            "noise_shape must have the rank",
        ),
        (lambda: layers.Add()(ONES(3, "float32")), "expected a list of tensors"),
        (
            lambda: layers.Add()([ONES((2, 3), "float32"), ONES((2, 4), "float32")]),
            r"must broadcast to each other, got \(2, 3\), \(2, 4\)",
        ),
        (lambda: layers.Subtract()([ONES((2, 3), "float32")] * 3), "expected a list of 2 tensors, got 3"),
        (
            lambda: layers.Concatenate(0)([ONES((2, 3), "float32"), ONES((2, 4), "float32")]),
            "may differ on axis 0 only",
        ),
        (lambda: layers.Dot(1)([ONES((2, 3), "float32"), ONES((2, 4), "float32")]), "must have the same size"),
        (lambda: call(layers.EinsumDense("abc,cd->abd", (None, 4)), 2, 3), "must have the 3 axes of 'abc'"),
        (lambda: call(layers.EinsumDense("abc,cd->abd", (None, None)), 2, 3, 4), "the size of kernel axis 'd'"),
        (lambda: layers.Normalization().adapt([]), "at least one batch"),
        (lambda: layers.Normalization().adapt("abc"), "expects an array, or an iterable of batches"),
        (lambda: layers.Normalization(mean=1.0, variance=1.0, axis=None).adapt(ONES(3)), "nothing to adapt"),
        (lambda: call(layers.SpectralNormalization(layers.Flatten()), 2, 3), "neither a kernel nor embeddings"),
    ],
)
def test_call(use, message):
    with pytest.raises((TypeError, ValueError), match=message):
        use()


def test_built_layer_refuses_another_size():
    layer = layers.Dense(3, name="head")
    call(layer, 2, 4)
    with pytest.raises(ValueError, match="Dense 'head': expected an input whose axis -1 has size 4"):
        call(layer, 2, 5)


def test_lambda_bytecode_is_refused():
    with pytest.raises(ValueError, match="bytecode, which lamina never runs"):
        layers.Lambda.from_config({"name": "f", "function": {"class_name": "__lambda__", "config": {"code": ""}}})
