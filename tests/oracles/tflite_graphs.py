"""LiteRT as the oracle of TFLite files: models of many kinds in every precision against the same models run by jax.

    python tests/oracles/tflite_graphs.py --python VENV/bin/python

VENV holds numpy and ai-edge-litert (2.3), this interpreter lamina. Float32 must agree to 1e-5 of the largest output,
float16 to 1e-3, at batch 1 and 5 of one file; a digits classifier trained here must lose less than one point of
accuracy in int8. The exit status is 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from trained_models import digits

import lamina
from lamina import Model, Sequential, export, layers
from lamina.export.tflite.schema import OPERATORS, OPTIONS

LITERT_SIDE = Path(__file__).parent / "litert_side.py"
LIMITS = {"float32": 1e-5, "float16": 1e-3, "dynamic": 0.1, "int8": 0.25, "int16x8": 0.15}
INTEGERS = ("int8", "int16x8")
MODELS: dict[str, Callable[[], Any]] = {}
Input = layers.Input


def model(fn: Callable[[], Any]) -> Callable[[], Any]:
    """A decorator: the function makes one of the models."""
    MODELS[fn.__name__] = fn
    return fn


def conv_bn(x: Any, filters: int, kernel: int = 3, strides: int = 1, activation: str | None = "relu") -> Any:
    x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation(activation)(x) if activation else x


@model
def mlp() -> Any:
    return Sequential([Input((20,)), layers.Dense(64, "relu"), layers.Dense(32, "tanh"), layers.Dense(5, "softmax")])


@model
def cnn_bn() -> Any:
    x = inputs = Input((16, 16, 3))
    for filters in (8, 16):
        x = layers.MaxPooling2D()(conv_bn(x, filters))
    return Model(inputs, layers.Dense(10, "softmax")(layers.Flatten()(x)))


@model
def residual() -> Any:
    x = inputs = Input((16, 16, 3))
    x = conv_bn(x, 16)
    for filters, strides in ((16, 1), (32, 2), (32, 1)):
        short = x if strides == 1 else conv_bn(x, filters, 1, strides, None)
        x = conv_bn(conv_bn(x, filters, 3, strides), filters, activation=None)
        x = layers.ReLU()(layers.Add()([x, short]))
    return Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


@model
def mobilenet() -> Any:
    """Inverted residuals as in MobileNetV2, with 0.8 million parameters."""
    x = inputs = Input((32, 32, 3))
    x = conv_bn(x, 32, strides=2, activation="relu6")
    for filters, strides in ((16, 1), (24, 2), (24, 1), (64, 2), (64, 1), (160, 2), (160, 1)):
        y = conv_bn(x, 6 * x.shape[-1], 1, activation="relu6")
        y = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(y)
        y = layers.Activation("relu6")(layers.BatchNormalization()(y))
        y = conv_bn(y, filters, 1, activation=None)
        x = layers.Add()([x, y]) if strides == 1 and x.shape[-1] == filters else y
    x = layers.GlobalAveragePooling2D()(conv_bn(x, 1280, 1, activation="relu6"))
    return Model(inputs, layers.Dense(100, "softmax")(x))


@model
def unet() -> Any:
    x = inputs = Input((16, 16, 2))
    a = conv_bn(x, 8)
    b = conv_bn(layers.MaxPooling2D()(a), 16)
    c = conv_bn(layers.AveragePooling2D()(b), 32)
    x = conv_bn(layers.Concatenate()([layers.UpSampling2D(interpolation="bilinear")(c), b]), 16)
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(x)
    return Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(layers.Concatenate()([x, a])))


@model
def lstm() -> Any:
    return Sequential([Input((12, 6)), layers.LSTM(16, return_sequences=True), layers.LSTM(8), layers.Dense(4)])


@model
def gru_bidirectional() -> Any:
    return Sequential([Input((12, 6)), layers.Bidirectional(layers.GRU(8)), layers.Dense(4)])


@model
def transformer() -> Any:
    tokens = Input((10,), dtype="int32", name="tokens")
    x = layers.Embedding(50, 32)(tokens)
    for _ in range(2):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 8)(x, x))
        y = layers.Dense(32)(layers.Dense(64, "gelu")(x))
        x = layers.LayerNormalization()(x + y)
    return Model(tokens, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@model
def keyword() -> Any:
    """The depthwise-separable network of "Hello Edge", over 49 frames of 10 coefficients."""
    x = inputs = Input((49, 10, 1))
    x = layers.Conv2D(32, (10, 4), strides=(2, 2), padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for _ in range(4):
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = conv_bn(x, 32, 1)
    return Model(inputs, layers.Dense(12, "softmax")(layers.GlobalAveragePooling2D()(x)))


@model
def autoencoder() -> Any:
    sizes = (128, 32, 8, 32, 128)
    return Sequential([Input((256,)), *(layers.Dense(n, "relu") for n in sizes), layers.Dense(256, "sigmoid")])


@model
def several() -> Any:
    a, b = Input((6,), name="a"), Input((4, 3), name="b")
    x = layers.Concatenate()([layers.Dense(8, "relu")(a), layers.Flatten()(b)])
    return Model([a, b], {"score": layers.Dense(1, "sigmoid")(x), "sum": layers.Dense(6)(x) + a})


class Raw(layers.Layer):
    """Code in jax.numpy that no layer of the library stands for."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 8), name="kernel")

    def call(self, x: Any) -> Any:
        y = jnp.einsum("bti,io->bto", x, self.kernel)
        mask = jnp.tril(jnp.ones((x.shape[1], x.shape[1])))
        scores = jnp.where(mask > 0, jnp.einsum("bto,bso->bts", y, y), -1e9)
        y = jnp.exp(scores - jnp.max(scores, -1, keepdims=True)) @ y
        return jnp.sort(jnp.maximum(y, 0) + jnp.cumsum(jnp.sin(y), 1), -1)[:, ::2]


@model
def raw_jnp() -> Any:
    return Sequential([Input((7, 5)), Raw(), layers.Dense(3)])


@model
def embedding() -> Any:
    """Bags of words."""
    ids = Input((9,), dtype="int32", name="ids")
    return Model(ids, layers.Dense(2, "softmax")(layers.GlobalAveragePooling1D()(layers.Embedding(200, 16)(ids))))


@model
def temporal() -> Any:
    """Causal, dilated convolutions of one axis."""
    x = inputs = Input((24, 4))
    for rate in (1, 2, 4):
        x = layers.Conv1D(8, 3, padding="causal", dilation_rate=rate, activation="elu")(x)
    return Model(inputs, layers.Dense(2)(layers.MaxPooling1D(4)(x)))


@model
def attention_scaled() -> Any:
    """Squeeze and excitation, with the activations of MobileNetV3."""
    x = inputs = Input((12, 12, 8))
    x = layers.Activation("hard_swish")(layers.Conv2D(16, 3, padding="same")(x))
    gate = layers.Dense(16, "hard_sigmoid")(layers.Dense(4, "silu")(layers.GlobalAveragePooling2D()(x)))
    return Model(inputs, layers.Dense(3)(layers.GlobalMaxPooling2D()(x * layers.Reshape((1, 1, 16))(gate))))


def randomise(net: Any, rng: np.random.Generator) -> None:
    """Biases and statistics other than those that layers begin with."""
    for v in net.variables:
        value = np.asarray(v.value)
        if value.ndim == 1 and value.dtype == np.float32:
            noise = rng.uniform(0.5, 1.5, value.shape) if "variance" in v.path else rng.normal(0, 0.1, value.shape)
            v.assign((noise if "variance" in v.path else value + noise).astype(np.float32))


def samples(net: Any, batch: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Inputs of a model by name."""
    graph = lamina.graph.trace(net)
    found = {}
    for name, value in zip(graph.input_names, graph.inputs, strict=True):
        shape = (batch, *value.shape[1:])
        is_float = value.dtype.kind == "f"
        found[name] = rng.normal(size=shape).astype(np.float32) if is_float else rng.integers(0, 50, shape, np.int32)
    return found


def store(path: Path, net: Any, given: dict[str, np.ndarray], **more: Any) -> None:
    """Inputs, and what the model makes of them."""
    graph = lamina.graph.trace(net)
    fed = list(given.values())
    out = net(fed[0] if len(fed) == 1 else fed)
    out = out if isinstance(out, dict) else {"output_0": out}
    names = dict(zip(graph.output_names, [out[k] for k in sorted(out)], strict=True))
    arrays = {**{f"in:{k}": v for k, v in given.items()}, **{f"out:{k}": np.asarray(v) for k, v in names.items()}}
    np.savez(path, **arrays, **more)


def write_models(folder: Path, only: list[str]) -> dict[str, list[str]]:
    """All models in all precisions, with inputs and outputs."""
    cases = {}
    for name, make in MODELS.items():
        if only and name not in only:
            continue
        rng = np.random.default_rng(0)
        lamina.utils.set_random_seed(0)
        net = make()
        randomise(net, rng)
        data = [samples(net, 8, rng) for _ in range(8)]
        for batch in (1, 5):
            given = samples(net, batch, rng)
            store(folder / f"{name}.{batch}.npz", net, given)
            data.append(given)  # so that no value is cut off: here rounding is what is measured
        for precision in LIMITS:
            options = {"representative_data": data} if precision in INTEGERS else {}
            file = f"{name}.{precision}.tflite"
            export.save(net, None, folder / file, format="tflite", precision=precision, **options)
            cases[file] = ["1", "5"]
    return cases


def write_digits(folder: Path) -> dict[str, list[str]]:
    """A classifier of digits, trained here, in all precisions."""
    net, train, test, labels = digits()
    cases = {}
    graph = lamina.graph.trace(net)
    store(folder / "digits.test.npz", net, {graph.input_names[0]: test}, labels=labels)
    for precision in LIMITS:
        options = {"representative_data": [train[:200]]} if precision in INTEGERS else {}
        export.save(net, None, folder / f"digits.{precision}.tflite", format="tflite", precision=precision, **options)
        cases[f"digits.{precision}.tflite"] = ["test"]
    return cases


def judge(folder: Path) -> list[str]:
    """The table, and what is wrong with it."""
    found, wrong = json.loads((folder / "found.json").read_text()), []
    enums = json.loads((folder / "enums.json").read_text())
    wrong += [f"operator {op}: another number" for op, (n, _) in OPERATORS.items() if enums["operators"][op] != n]
    wrong += [f"options {t}: another number" for t, n in OPTIONS.items() if enums["options"][t] != n]
    print(f"{'model':<20}" + "".join(f"{p:>26}" for p in LIMITS))
    for name in dict.fromkeys(file.partition(".")[0] for file in found):
        row = []
        for precision, limit in LIMITS.items():
            file = f"{name}.{precision}.tflite"
            result, size = found[file], (folder / file).stat().st_size
            if "error" in result:
                wrong.append(f"{file}: {result['error']}")
                row.append("failed")
                continue
            errors = [v for k, v in result.items() if k in ("1", "5", "test")]
            row.append(f"{max(errors):.1e} {size:>9,} {result.get('1_ms', 0):6.2f} ms")
            if not max(errors) <= limit:
                wrong.append(f"{file}: error {max(errors):.1e}, allowed {limit:.0e}")
            if result["unaligned"]:
                wrong.append(f"{file}: {result['unaligned']} buffers are not aligned")
        print(f"{name:<20}" + "".join(f"{cell:>26}" for cell in row))
    if "digits.int8.tflite" in found:
        best = found["digits.float32.tflite"].get("accuracy", 0)
        for precision in INTEGERS:
            least = found[f"digits.{precision}.tflite"].get("accuracy", 0)
            print(f"digits: accuracy {best:.4f} in float32, {least:.4f} in {precision}")
            if best - least >= 0.01:
                wrong.append(f"digits: {precision} loses a point of accuracy or more")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="an interpreter with ai-edge-litert")
    parser.add_argument("--only", nargs="*", default=[], help="names of models")
    parser.add_argument("--folder", type=Path, help="where to keep the files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        cases = write_models(folder, args.only)
        if not args.only:
            cases.update(write_digits(folder))
        (folder / "cases.json").write_text(json.dumps(cases))
        subprocess.run([args.python, str(LITERT_SIDE), str(folder)], check=True, stderr=subprocess.DEVNULL)
        wrong = judge(folder)
    print("\n".join(wrong) or "All agree.")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
