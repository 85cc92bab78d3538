"""Graphs that lamina writes, loaded and run by TensorFlow itself.

    python tests/oracles/tensorflow_graphs.py --tf-python PATH [--folder FOLDER] [--only WORD]

lamina writes a SavedModel of each row of the layer contracts and of several models, a frozen graph of each op of the
table, signatures that share variables, an op as StableHLO, and a checkpoint's `.meta`; TensorFlow loads each, at two
batch sizes where the batch is open, and compares. PATH is a Python that has TensorFlow 2.21. Prints what fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-5
# Rows of the layer contracts that cannot be written, with the reason.
EXPECTED = {
    "Hashing": "strings and numbers are hashed on the host",
    "HashedCrossing": "strings and numbers are hashed on the host",
    "MelSpectrogram": "the Fourier transform is no op of the table",
}


def write(folder: Path, only: str) -> int:
    """Writes all cases: NAME (a folder or .pb) beside NAME.npz with inputs i_* and outputs o_*."""
    import jax
    import jax.numpy as jnp

    import lamina
    from lamina import Input, Model, Sequential, export, layers, ops
    from lamina.checkpoint import meta_graph_bytes, write_checkpoint
    from lamina.export import ExportError
    from lamina.graph.interpret import call

    sys.path[:0] = [str(ROOT / "tests" / "layers"), str(ROOT / "tests" / "export")]
    from op_samples import SAMPLES, build
    from test_layer_contracts import ROWS

    rng = np.random.default_rng(0)
    failed = 0

    def floats(*shape):
        return rng.standard_normal(shape).astype("float32")

    def keep(name, inputs, outputs):
        arrays = {f"i_{k}": np.asarray(v) for k, v in inputs.items()}
        np.savez(folder / f"{name}.npz", **arrays, **{f"o_{k}": np.asarray(v) for k, v in outputs.items()})

    class Spec:
        """Shape and dtype of an array whose first axis is the batch."""

        def __init__(self, array):
            self.shape, self.dtype = ("batch", *np.shape(array)[1:]), array.dtype

    for i, row in enumerate(ROWS):
        if only and only not in row.name or row.name.startswith(("Random", "MixUp", "CutMix", "AugMix", "RandAug")):
            continue
        layer = row.make()
        flags = {k: v for k, v in row.call.items() if isinstance(v, bool) and k != "training"}
        arrays = {k: v for k, v in row.call.items() if not isinstance(v, bool)}

        def run(x, more, layer=layer, flags=flags):
            return layer(x, **more, **flags, training=False)

        want = jax.tree.leaves(run(row.inputs, arrays))
        try:
            graph = lamina.graph.trace(run, *jax.tree.map(Spec, (row.inputs, arrays)))
            export.save(graph, None, folder / f"layer_{i}_{row.name}")
        except (ExportError, ValueError) as error:
            if row.name not in EXPECTED:
                failed += 1
                print(f"FAIL layer {row.name} {row.label}: {str(error).splitlines()[0]}")
            continue
        keep(
            f"layer_{i}_{row.name}",
            dict(zip(graph.input_names, jax.tree.leaves((row.inputs, arrays)), strict=True)),
            dict(zip(graph.output_names, want, strict=True)),
        )
    for i, (name, (inputs, attrs)) in enumerate(SAMPLES):
        if only and only not in name:
            continue
        graph = build(name, inputs, attrs)
        export.save(graph, None, folder / f"op_{i}_{name}", format="saved_model")
        outputs = dict(zip(graph.output_names, call(graph, *inputs), strict=True))
        keep(f"op_{i}_{name}", dict(zip(graph.input_names, inputs, strict=True)), outputs)
    if only and only != "model":
        return failed

    def block(x, filters, strides):
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, strides, "same", use_bias=False)(x))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, 1, "same", use_bias=False)(layers.ReLU()(y)))
        return layers.ReLU()(layers.Add()([y, layers.Conv2D(filters, 1, strides)(x)]))

    image, tokens = Input((16, 16, 3), name="image"), Input((7,), dtype="int32", name="tokens")
    wide = Input((5,), name="wide")
    y = layers.Embedding(11, 8)(tokens)
    y = layers.LayerNormalization()(layers.Add()([y, layers.MultiHeadAttention(2, 4)(y, y, use_causal_mask=True)]))
    memory = layers.Bidirectional(layers.LSTM(4))(layers.Embedding(11, 6, mask_zero=True)(tokens))
    both = layers.Concatenate()([layers.Dense(3, "relu")(wide), memory])
    half = {"dtype": "mixed_bfloat16"}
    coarse = layers.MaxPooling2D(3, 2, "same", **half)(layers.Conv2D(4, 3, activation="relu", **half)(image))
    models = {
        "bfloat16": Model(image, layers.Dense(3, dtype="float32")(layers.Flatten()(coarse))),
        "resnet": Model(image, layers.Dense(4, "softmax")(layers.GlobalAveragePooling2D()(block(image, 8, 2)))),
        "transformer": Model(tokens, layers.Dense(11)(layers.Dense(16, "gelu")(y))),
        "two_inputs_two_outputs": Model([wide, tokens], [layers.Dense(1)(both), layers.Dense(2, name="other")(both)]),
        "unet": Model(image, ops.concatenate([image, layers.Conv2DTranspose(3, 3, 2, "same")(block(image, 4, 2))], -1)),
    }
    for name, model in models.items():
        for format_ in ("saved_model", "frozen"):
            case = f"model_{name}_{format_}"
            model.export(folder / (case if format_ == "saved_model" else f"{case}.pb"), format=format_)
            inputs = {
                s.name: rng.integers(0, 11, (3, 7)).astype("int32") if s is tokens else floats(3, *s.shape[1:])
                for s in model.inputs
            }
            given = list(inputs.values())
            out = jax.tree.leaves(model(given if len(given) > 1 else given[0]))
            keep(case, inputs, {f"output_{i}": y for i, y in enumerate(out)})
    hidden = Sequential([Input((4,)), layers.Dense(3, "tanh", name="hidden"), layers.Dense(2)])
    signatures = {"serving_default": (hidden, [(None, 4)]), "hidden": (hidden.layers[0], [(None, 4)])}
    export.save(None, None, folder / "signatures", signatures=signatures)
    x = floats(3, 4)
    keep("signatures", {"keras_tensor": x}, {"output_0": hidden(x)})
    np.savez(folder / "signatures_hidden.npz", x=x, y=np.asarray(hidden.layers[0](x)))

    def transformed(x):
        return {"power": jnp.abs(jnp.fft.rfft(x)) ** 2}

    export.save(transformed, [("batch", 8)], folder / "xla", allow_xla=True)
    x = floats(3, 8)
    keep("xla", {"x": x}, transformed(x))
    tensors = {"dense/kernel": floats(2, 3), "step": np.int64(7), "words": np.array([b"a", b"bc"], object)}
    write_checkpoint(folder / "model.ckpt-7", tensors)
    data = meta_graph_bytes({k: (v.dtype, v.shape) for k, v in tensors.items()})
    (folder / "model.ckpt-7.meta").write_bytes(data)
    return failed


def read(folder: Path) -> int:
    """Runs under TensorFlow: loads all cases and compares."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    failed = passed = 0
    worst = 0.0

    def compare(got, want, limit=TOLERANCE):
        nonlocal worst
        if got.shape != want.shape:
            raise ValueError(f"shape {got.shape}, expected {want.shape}")
        if not want.size:
            return
        a, b = got.astype("float64"), want.astype("float64")
        error = float(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-6))
        worst = max(worst, error) if limit == TOLERANCE else worst
        if not error <= limit:
            raise ValueError(f"differs by {error:.2g}")

    def frozen(path, inputs, names):
        graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())

        def body():
            tf.import_graph_def(graph, name="")

        wrapped = tf.compat.v1.wrap_function(body, [])
        fn = wrapped.prune([f"{k}:0" for k in inputs], [f"{n}:0" for n in names])
        return dict(zip(names, fn(*map(tf.constant, inputs.values())), strict=True))

    for file in sorted(folder.glob("*.npz")):
        name = file.stem
        if name == "signatures_hidden":
            continue
        values = np.load(file)
        inputs = {k[2:]: values[k] for k in values.files if k.startswith("i_")}
        outputs = {k[2:]: values[k] for k in values.files if k.startswith("o_")}
        try:
            if (folder / f"{name}.pb").exists():
                got = frozen(folder / f"{name}.pb", inputs, list(outputs))
            else:
                loaded = tf.saved_model.load(str(folder / name))
                fn = loaded.signatures["serving_default"]
                given = {k: tf.constant(v) for k, v in inputs.items()}
                if name == "signatures":
                    given = dict(zip(fn.structured_input_signature[1], given.values(), strict=True))
                    values = np.load(folder / "signatures_hidden.npz")
                    (hidden,) = loaded.signatures["hidden"](tf.constant(values["x"])).values()
                    compare(hidden.numpy(), values["y"])
                got = fn(**given)
                if name.startswith("model_") and "resnet" not in name and "bfloat16" not in name:
                    one = fn(**{k: v[:1] for k, v in given.items()})
                    for key, want in outputs.items():
                        compare(one[key].numpy(), want[:1])
            for key, want in outputs.items():
                compare(got[key].numpy(), want, 2e-2 if "bfloat16" in name else TOLERANCE)
            passed += 1
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is what is reported
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    meta = folder / "model.ckpt-7.meta"
    if meta.exists():
        v1 = tf.compat.v1
        with tf.Graph().as_default(), v1.Session() as session:
            saver = v1.train.import_meta_graph(str(meta))
            saver.restore(session, str(meta)[: -len(".meta")])
            found = {v.name: session.run(v) for v in v1.global_variables()}
            again = tf.train.load_checkpoint(saver.save(session, str(folder / "again")))
        fine = found["step:0"] == 7 and again.get_tensor("words").tolist() == [b"a", b"bc"]
        failed += not fine
        passed += fine
    print(f"{passed} passed, {failed} failed, largest relative error {worst:.2g}")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tf-python", help="a Python that has TensorFlow")
    parser.add_argument("--folder", help="where the files go; a temporary folder by default")
    parser.add_argument("--only", default="", help="only layers and ops whose name has this in it")
    parser.add_argument("--read", action="store_true", help="the half that TensorFlow runs")
    args = parser.parse_args()
    if args.read:
        return int(read(Path(args.folder)) > 0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(args.folder or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        failed = write(folder, args.only)
        command = [args.tf_python or sys.executable, __file__, "--read", "--folder", str(folder)]
        return int(subprocess.run(command, check=False).returncode != 0 or failed > 0)


if __name__ == "__main__":
    sys.exit(main())
