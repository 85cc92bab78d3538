"""One row for each layer class, one set of checks for all rows."""

import json
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.core.config import deserialize_object, serialize_object
from lamina.core.registry import register_serializable

RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.standard_normal(shape).astype("float32")


def integers(high, *shape):
    return RNG.integers(0, high, shape).astype("int32")


SEQUENCE, IMAGE, VOLUME = floats(3, 6, 4), floats(3, 6, 7, 4), floats(3, 4, 5, 6, 2)
VECTOR, PAIR = floats(3, 4), [floats(3, 4), floats(3, 4)]
PIXELS = RNG.uniform(0, 255, (3, 8, 8, 3)).astype("float32")


@dataclass
class Row:
    """A layer class, how it is made, what it is fed, and the checks that do not apply to it, with the reason."""

    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    inputs: Any = None
    call: dict[str, Any] = field(default_factory=dict)
    skip: dict[str, str] = field(default_factory=dict)
    label: str = ""

    def make(self, **more):
        made = {k: v() if callable(v) and getattr(v, "__name__", "") == "make" else v for k, v in self.kwargs.items()}
        return getattr(layers, self.name)(**made, **more)


def inner(name, **kwargs):
    """A fresh inner layer for each object made from a row."""

    def make():
        return getattr(layers, name)(**kwargs)

    return make


def cells(*names):
    """Fresh recurrent cells for each object made from a row."""

    def make():
        return [getattr(layers, name)(3) for name in names]

    return make


@register_serializable("layer_contracts")
def squares(x):
    return x**2


LABELLED = {"images": PIXELS, "labels": np.eye(3, dtype="float32")}
BOXED = {"images": PIXELS, "bounding_boxes": {"boxes": floats(3, 2, 4), "labels": floats(3, 2)}}
RANDOM = {"same": "each call draws anew"}
STEPS = {"gradient": "the output is a step function of the input"}
INTEGERS = {"mixed": "the output is of integers", **STEPS}
LABELS = {"mixed": "labels stay float32"}
INNER_POLICY = {"mixed": "the layer inside computes in its own dtype"}

ROWS = [
    Row("Dense", {"units": 5, "activation": "tanh", "kernel_regularizer": "l2"}, VECTOR),
    Row("EinsumDense", {"equation": "abc,cde->abde", "output_shape": (None, 2, 3), "bias_axes": "de"}, SEQUENCE),
    Row("Activation", {"activation": "relu"}, VECTOR),
    Row("ReLU", {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}, VECTOR),
    Row("LeakyReLU", {"negative_slope": 0.1}, VECTOR),
    Row("PReLU", {"shared_axes": [1], "alpha_initializer": "ones"}, SEQUENCE),
    Row("ELU", {"alpha": 0.5}, VECTOR),
    Row("Softmax", {"axis": (1, 2)}, SEQUENCE),
    Row("Dropout", {"rate": 0.5, "seed": 1}, VECTOR),
    Row("SpatialDropout1D", {"rate": 0.5}, SEQUENCE),
    Row("SpatialDropout2D", {"rate": 0.5, "data_format": "channels_first"}, IMAGE),
    Row("SpatialDropout3D", {"rate": 0.5}, VOLUME),
    Row("GaussianNoise", {"stddev": 0.5}, VECTOR),
    Row("GaussianDropout", {"rate": 0.5}, VECTOR),
    Row("AlphaDropout", {"rate": 0.5, "noise_shape": (None, 1)}, VECTOR),
    Row("ActivityRegularization", {"l1": 0.1, "l2": 0.2}, VECTOR),
    Row("Flatten", {}, IMAGE),
    Row("Flatten", {"data_format": "channels_first"}, IMAGE, label="channels_first"),
    Row("Reshape", {"target_shape": (2, -1)}, SEQUENCE),
    Row("Permute", {"dims": (2, 1)}, SEQUENCE),
    Row("RepeatVector", {"n": 3}, VECTOR),
    Row("Identity", {}, VECTOR),
    Row("Masking", {"mask_value": 1.0}, SEQUENCE),
    Row("Lambda", {"function": squares}, VECTOR),
    Row("Cropping1D", {"cropping": (1, 2)}, SEQUENCE),
    Row("Cropping2D", {"cropping": ((1, 0), (2, 1))}, IMAGE),
    Row("Cropping3D", {"cropping": 1}, VOLUME),
    Row("ZeroPadding1D", {"padding": (0, 2)}, SEQUENCE),
    Row("ZeroPadding2D", {"padding": ((1, 0), (2, 1))}, IMAGE),
    Row("ZeroPadding3D", {"padding": 1, "data_format": "channels_first"}, VOLUME),
    Row("UpSampling1D", {"size": 3}, SEQUENCE),
    Row("UpSampling2D", {"size": (2, 3), "interpolation": "bilinear"}, IMAGE),
    Row("UpSampling3D", {"size": (1, 2, 3)}, VOLUME),
    Row("Embedding", {"input_dim": 9, "output_dim": 4, "mask_zero": True}, integers(9, 3, 6)),
    Row("ReversibleEmbedding", {"input_dim": 9, "output_dim": 4, "tie_weights": False}, integers(9, 3, 6)),
    Row("Conv1D", {"filters": 6, "kernel_size": 3, "padding": "causal", "groups": 2}, SEQUENCE),
    Row("Conv2D", {"filters": 6, "kernel_size": (3, 2), "strides": 2, "padding": "same"}, IMAGE),
    Row("Conv2D", {"filters": 6, "kernel_size": 1, "data_format": "channels_first"}, IMAGE, label="1x1"),
    Row("Conv3D", {"filters": 2, "kernel_size": 2, "dilation_rate": 2}, VOLUME),
    Row("Conv1DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2}, SEQUENCE),
    Row("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2, "output_padding": 1}, IMAGE),
    Row("Conv3DTranspose", {"filters": 2, "kernel_size": 2, "padding": "same"}, VOLUME),
    Row("DepthwiseConv1D", {"kernel_size": 3, "depth_multiplier": 2}, SEQUENCE),
    Row("DepthwiseConv2D", {"kernel_size": 3, "strides": 2, "use_bias": False}, IMAGE),
    Row("SeparableConv1D", {"filters": 5, "kernel_size": 3}, SEQUENCE),
    Row("SeparableConv2D", {"filters": 5, "kernel_size": 3, "depth_multiplier": 2}, IMAGE),
    Row("MaxPooling1D", {"pool_size": 2}, SEQUENCE),
    Row("MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    Row("MaxPooling3D", {"pool_size": 2}, VOLUME),
    Row("AveragePooling1D", {"pool_size": 2, "data_format": "channels_first"}, SEQUENCE),
    Row("AveragePooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    Row("AveragePooling3D", {"pool_size": 2}, VOLUME),
    Row("GlobalMaxPooling1D", {}, SEQUENCE),
    Row("GlobalMaxPooling2D", {"keepdims": True}, IMAGE),
    Row("GlobalMaxPooling3D", {}, VOLUME),
    Row("GlobalAveragePooling1D", {}, SEQUENCE, {"mask": integers(2, 3, 6) > 0}),
    Row("GlobalAveragePooling2D", {"data_format": "channels_first"}, IMAGE),
    Row("GlobalAveragePooling3D", {}, VOLUME),
    Row("AdaptiveMaxPooling1D", {"output_size": 4}, SEQUENCE),
    Row("AdaptiveMaxPooling2D", {"output_size": (2, None)}, IMAGE),
    Row("AdaptiveMaxPooling3D", {"output_size": 2}, VOLUME),
    Row("AdaptiveAveragePooling1D", {"output_size": 4}, SEQUENCE),
    Row("AdaptiveAveragePooling2D", {"output_size": (2, 3)}, IMAGE),
    Row("AdaptiveAveragePooling3D", {"output_size": 2, "data_format": "channels_first"}, VOLUME),
    Row("BatchNormalization", {"momentum": 0.9}, IMAGE),
    Row("BatchNormalization", {"axis": 1, "renorm": True}, IMAGE, {"training": True}, label="renorm"),
    Row("BatchNormalization", {"scale": False}, SEQUENCE, {"training": True}, label="training"),
    Row("LayerNormalization", {"axis": [1, 2]}, SEQUENCE),
    Row("GroupNormalization", {"groups": 2}, IMAGE),
    Row("RMSNormalization", {}, SEQUENCE),
    Row("UnitNormalization", {}, SEQUENCE),
    Row("SpectralNormalization", {"layer": inner("Dense", units=3)}, VECTOR, skip=INNER_POLICY),
    Row("Add", {}, PAIR),
    Row("Subtract", {}, PAIR),
    Row("Multiply", {}, PAIR),
    Row("Average", {}, PAIR),
    Row("Maximum", {}, PAIR),
    Row("Minimum", {}, PAIR),
    Row("Concatenate", {"axis": 1}, PAIR),
    Row("Dot", {"axes": (2, 2), "normalize": True}, [SEQUENCE, SEQUENCE + 1]),
    Row("Rescaling", {"scale": [1.0, 2.0, 3.0, 4.0], "offset": 1.0}, VECTOR),
    Row("Normalization", {"mean": [1.0, 2.0, 3.0, 4.0], "variance": [1.0, 2.0, 3.0, 4.0]}, VECTOR),
    Row("CategoryEncoding", {"num_tokens": 9}, integers(9, 3, 6)),
    Row("Discretization", {"bin_boundaries": [-1.0, 0.0, 1.0]}, VECTOR, skip=INTEGERS),
    Row("Hashing", {"num_bins": 9, "salt": 7}, integers(100, 3, 6), skip=INTEGERS),
    Row("HashedCrossing", {"num_bins": 9}, [integers(100, 3), integers(100, 3)], skip=INTEGERS),
    Row("IntegerLookup", {"vocabulary": [3, 1, 7], "mask_token": 0}, integers(9, 3, 6), skip=INTEGERS),
    Row("IntegerLookup", {"vocabulary": [3, 1], "output_mode": "count"}, integers(9, 3, 6), skip=STEPS, label="count"),
    Row("Resizing", {"height": 5, "width": 9, "pad_to_aspect_ratio": True}, PIXELS),
    Row("CenterCrop", {"height": 5, "width": 12}, PIXELS),
    Row("RandomCrop", {"height": 5, "width": 6}, PIXELS, {"training": True}, RANDOM),
    Row("RandomFlip", {}, PIXELS, {"training": True}, RANDOM),
    Row("RandomRotation", {"factor": 0.2}, PIXELS, {"training": True}, RANDOM),
    Row("RandomTranslation", {"height_factor": 0.2, "width_factor": (0.1, 0.2)}, PIXELS, {"training": True}, RANDOM),
    Row("RandomZoom", {"height_factor": 0.2}, PIXELS, {"training": True}, RANDOM),
    Row("RandomShear", {"x_factor": 0.2, "y_factor": 0.1}, PIXELS, {"training": True}, RANDOM),
    Row("RandomPerspective", {"fill_value": 1.0}, PIXELS, {"training": True}, RANDOM),
    Row("RandomElasticTransform", {"scale": (0.5, 1.0)}, PIXELS, {"training": True}, RANDOM),
    Row("RandomBrightness", {"factor": 0.2}, PIXELS, {"training": True}, RANDOM),
    Row("RandomContrast", {"factor": 0.2}, PIXELS, {"training": True}, RANDOM),
    Row("RandomColorDegeneration", {"factor": 0.2}, PIXELS, {"training": True}, RANDOM),
    Row("RandomColorJitter", {"brightness_factor": 0.2, "hue_factor": 0.2}, PIXELS, {"training": True}, RANDOM),
    Row("RandomGrayscale", {"factor": 0.5}, PIXELS, {"training": True}, RANDOM),
    Row("RandomHue", {"factor": 0.2}, PIXELS, {"training": True}, RANDOM),
    Row("RandomInvert", {"factor": 0.5}, PIXELS, {"training": True}, RANDOM),
    Row("RandomPosterization", {"factor": 5}, PIXELS, {"training": True}, {**RANDOM, **STEPS}),
    Row("RandomSaturation", {"factor": 0.5}, PIXELS, {"training": True}, RANDOM),
    Row("RandomSharpness", {"factor": 0.5}, PIXELS, {"training": True}, RANDOM),
    Row("RandomGaussianBlur", {"kernel_size": (3, 5)}, PIXELS, {"training": True}, RANDOM),
    Row("RandomErasing", {"fill_value": 0}, PIXELS, {"training": True}, RANDOM),
    Row("Solarization", {"threshold_factor": 0.5}, PIXELS, {"training": True}, RANDOM),
    Row("AutoContrast", {}, PIXELS),
    Row("Equalization", {"bins": 64}, PIXELS, skip=STEPS),
    Row("ContrastLimitedAdaptiveHistogramEqualization", {"tile_grid_size": (2, 3)}, PIXELS, skip=STEPS),
    Row("MixUp", {"alpha": 0.4}, LABELLED, {"training": True}, {**RANDOM, **LABELS}),
    Row("CutMix", {"factor": 0.4}, LABELLED, {"training": True}, {**RANDOM, **LABELS}),
    Row("AugMix", {"num_chains": 2}, PIXELS, {"training": True}, RANDOM),
    Row("RandAugment", {"num_ops": 3}, PIXELS, {"training": True}, {**RANDOM, **STEPS}),
    Row("MaxNumBoundingBoxes", {"max_number": 3, "bounding_box_format": "xyxy"}, BOXED),
    Row("Pipeline", {"layers": [layers.Rescaling(2.0), layers.Flatten()]}, PIXELS, skip={"mixed": "takes no dtype"}),
    Row("STFTSpectrogram", {"mode": "psd", "frame_length": 8, "frame_step": 4}, floats(2, 32, 2)),
    Row("MelSpectrogram", {"fft_length": 16, "sequence_stride": 4, "num_mel_bins": 3}, floats(2, 64)),
    Row("TimeDistributed", {"layer": inner("Dense", units=3)}, SEQUENCE, skip=INNER_POLICY),
    Row(
        "TimeDistributed",
        {"layer": inner("BatchNormalization")},
        SEQUENCE,
        {"training": True},
        INNER_POLICY,
        "training",
    ),
    Row("SimpleRNNCell", {"units": 3}, VECTOR, {"states": [floats(3, 3)]}),
    Row("GRUCell", {"units": 3, "reset_after": False}, VECTOR, {"states": [floats(3, 3)]}),
    Row("LSTMCell", {"units": 3}, VECTOR, {"states": [floats(3, 3), floats(3, 3)]}),
    Row(
        "StackedRNNCells",
        {"cells": cells("LSTMCell", "GRUCell")},
        VECTOR,
        {"states": [[floats(3, 3), floats(3, 3)], [floats(3, 3)]]},
        INNER_POLICY,
    ),
    Row("RNN", {"cell": inner("GRUCell", units=3), "return_state": True}, SEQUENCE, skip=INNER_POLICY),
    Row("RNN", {"cell": cells("LSTMCell", "SimpleRNNCell")}, SEQUENCE, skip=INNER_POLICY, label="stacked"),
    Row("SimpleRNN", {"units": 3, "go_backwards": True, "return_sequences": True}, SEQUENCE),
    Row("GRU", {"units": 3, "return_sequences": True}, SEQUENCE, {"mask": integers(2, 3, 6) > 0}),
    Row("GRU", {"units": 3, "unroll": True, "reset_after": False}, SEQUENCE, label="unrolled"),
    Row("LSTM", {"units": 3, "return_state": True}, SEQUENCE),
    Row("LSTM", {"units": 3, "dropout": 0.5, "unit_forget_bias": False}, SEQUENCE, label="dropout"),
    Row("Bidirectional", {"layer": inner("GRU", units=3, return_state=True)}, SEQUENCE, skip=INNER_POLICY),
    Row("ConvLSTM1D", {"filters": 2, "kernel_size": 2, "padding": "same"}, IMAGE),
    Row("ConvLSTM2D", {"filters": 2, "kernel_size": 2, "return_sequences": True}, VOLUME),
    Row("ConvLSTM3D", {"filters": 2, "kernel_size": 2, "strides": 2}, floats(3, 2, 4, 3, 4, 2)),
    Row("Attention", {"use_scale": True}, [SEQUENCE, SEQUENCE + 1], {"use_causal_mask": True}),
    Row("AdditiveAttention", {}, [SEQUENCE, SEQUENCE + 1]),
    Row("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, SEQUENCE, {"value": floats(3, 5, 4)}),
    Row(
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "value_dim": 2, "output_shape": (2, 3), "use_gate": True, "sliding_window": 2},
        SEQUENCE,
        {"value": SEQUENCE, "use_causal_mask": True, "return_attention_scores": True},
        label="scores",
    ),
    Row(
        "GroupQueryAttention",
        {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, "use_gate": True},
        SEQUENCE,
        {"value": floats(3, 5, 4)},
    ),
]
IDS = [f"{row.name}{'-' if row.label else ''}{row.label}" for row in ROWS]

# Exported classes that are no layers to be called on data alone, or that take strings, which no compiled step does.
BASES = {"Layer", "InputLayer", "Wrapper", "StringLookup", "TextVectorization"}


# They hold fifteen other layers, each compiled: half a minute of the suite for two rows.
LONG = ("AugMix", "RandAugment")


@pytest.fixture(params=[pytest.param(r, marks=[pytest.mark.slow] if r.name in LONG else []) for r in ROWS], ids=IDS)
def row(request):
    return request.param


def leaves(x):
    return jax.tree.leaves(x)


def close(a, b, tolerance=1e-5):
    for x, y in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x, "float32"), np.asarray(y, "float32"), rtol=tolerance, atol=tolerance)


def built(row, **more):
    layer = row.make(**more)
    layer(row.inputs, **row.call)
    weights = [np.asarray(RNG.uniform(0.2, 1.0, w.shape), w.dtype) for w in layer.weights]
    layer.set_weights(weights)
    return layer


def pure(layer, row):
    """The layer as a function of (weights, inputs)."""

    def run(trainable, fixed, inputs):
        return layer.stateless_call(trainable, fixed, inputs, **row.call)

    values = [
        [jnp.asarray(v.value) for v in group] for group in (layer.trainable_variables, layer.non_trainable_variables)
    ]
    return run, values


def test_every_class_has_a_row():
    exported = {
        n for n in dir(layers) if isinstance(getattr(layers, n), type) and issubclass(getattr(layers, n), lamina.Layer)
    }
    covered = {getattr(layers, row.name) for row in ROWS}
    missing = {n for n in exported - BASES if getattr(layers, n) not in covered}
    assert not missing


def test_eager_jit_and_symbolic_agree(row):
    layer = built(row)
    run, values = pure(layer, row)
    compiled, updates = jax.jit(run)(*values, row.inputs)
    eager = layer(row.inputs, **row.call)
    if "same" not in row.skip:
        close(eager, compiled, 1e-4 if "gradient" in row.skip else 1e-5)
    close([v.value for v in layer.non_trainable_variables], updates)

    def symbol(x):
        return lamina.Input(batch_shape=(None, *x.shape[1:]), dtype=str(x.dtype))

    tensors = {k: v for k, v in row.call.items() if not isinstance(v, bool)}
    plain = {k: v for k, v in row.call.items() if isinstance(v, bool)}
    symbolic = row.make()(jax.tree.map(symbol, row.inputs), **jax.tree.map(symbol, tensors), **plain)
    for s, x in zip(leaves(symbolic), leaves(eager), strict=True):
        assert (s.shape[1:], s.dtype) == (x.shape[1:], str(x.dtype))
        assert s.shape[0] is None
    shapes = jax.tree.map(lambda x: tuple(x.shape), row.inputs)
    others = {f"{k}_shape": jax.tree.map(lambda x: tuple(x.shape), v) for k, v in tensors.items() if k != "mask"}
    if not any(plain.values()):
        flat = leaves(layer.compute_output_shape(shapes, **others))
        assert flat == [d for x in leaves(eager) for d in x.shape]


def test_config_round_trip(row):
    layer = built(row)
    twin = type(layer).from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    weights = layer.get_weights()
    twin(row.inputs, **row.call)
    twin.set_weights(weights)
    layer.set_weights(weights)
    if "same" not in row.skip:
        close(twin(row.inputs, **row.call), layer(row.inputs, **row.call))
    text = json.dumps(serialize_object(layer))
    again = deserialize_object(json.loads(text))
    assert json.loads(json.dumps(again.get_config())) == json.loads(json.dumps(layer.get_config()))


def test_weights_round_trip_and_freezing(row):
    layer = built(row)
    weights = layer.get_weights()
    assert layer.count_params() == sum(w.size for w in weights)
    layer.set_weights([w + 1 for w in weights])
    close(layer.get_weights(), [w + 1 for w in weights])
    if weights:
        with pytest.raises(ValueError, match=layer.name):
            layer.set_weights(weights[1:])
    layer.trainable = False
    assert layer.trainable_weights == []
    assert len(layer.non_trainable_weights) == len(weights)


def test_gradients_are_finite(row):
    if row.skip is INTEGERS:
        pytest.skip(row.skip["mixed"])
    layer = built(row)
    run, (trainable, fixed) = pure(layer, row)

    def loss(trainable, inputs):
        out, _ = run(trainable, fixed, inputs)
        return sum(jnp.sum(jnp.sin(x.astype("float32"))) for x in leaves(out) if jnp.issubdtype(x.dtype, jnp.floating))

    floating = all(x.dtype == np.float32 for x in leaves(row.inputs))
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1) if floating else 0))(trainable, row.inputs)
    for g in leaves(gradient):
        assert np.isfinite(np.asarray(g)).all()
    if leaves(gradient) and "gradient" not in row.skip:
        assert any(np.abs(np.asarray(g)).max() > 0 for g in leaves(gradient))


def test_compiles_once(row):
    layer = built(row)
    run, (trainable, fixed) = pure(layer, row)
    step = jax.jit(run)
    for _ in range(3):
        _, fixed = step(trainable, fixed, row.inputs)
    assert step._cache_size() == 1


def test_computes_in_bfloat16(row):
    if "mixed" in row.skip:
        pytest.skip(row.skip["mixed"])
    layer = built(row, dtype="mixed_bfloat16")
    for x in leaves(layer(row.inputs, **row.call)):
        assert x.dtype == "bfloat16"
    assert all(w.dtype in ("float32", "int32") for w in layer.weights)


def test_unknown_argument_is_named(row):
    with pytest.raises(TypeError, match="unexpected keyword argument 'unknwn'"):
        row.make(unknwn=1)
