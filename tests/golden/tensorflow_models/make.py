"""Writes the models in this folder, with TensorFlow and Keras: python make.py

Each `NAME.zip` holds a SavedModel (or `graph.pb`, a frozen graph) and `values.npz` with inputs and what TensorFlow
answers: `i_NAME` and `o_NAME`.
"""

import os
import shutil
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf

RNG = np.random.default_rng(0)
HERE = os.path.dirname(os.path.abspath(__file__))
L = keras.layers


def floats(*shape):
    return RNG.standard_normal(shape).astype("float32")


class Control(tf.Module):
    """A loop, a branch, slices of unknown size, a 64-bit counter."""

    def __init__(self):
        super().__init__()
        self.v = tf.Variable(floats(3, 3))
        self.n = tf.Variable(2, dtype=tf.int64)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")])
    def serve(self, x):
        i = tf.constant(0)
        while i < 5:
            x = tf.tanh(x @ self.v)
            i += 1
        y = x * 2 if tf.reduce_sum(x) > 0 else x - 1
        return {
            "y": y,
            "n": self.n + tf.cast(tf.shape(x)[0], tf.int64),
            "column": tf.unstack(tf.reshape(x, [-1, 3]), axis=1)[0],
            "products": tf.einsum("ij,kj->ik", x, y),
            "best": tf.argmax(x, -1),
            "places": tf.math.top_k(x, 2).indices,
            "twice": tf.reshape(tf.tile(x, [1, 2]), [tf.shape(x)[0], 2, -1]),
        }


class Tables(tf.Module):
    """A table in the graph, one in a file beside it, strings."""

    def __init__(self, folder):
        super().__init__()
        with open(os.path.join(folder, "vocab.txt"), "w") as file:
            file.write("x\ny\nz\n")
        keys = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2], value_dtype=tf.int64)
        self.table = tf.lookup.StaticHashTable(keys, -1)
        self.asset = tf.saved_model.Asset(os.path.join(folder, "vocab.txt"))
        index = tf.lookup.TextFileIndex
        lines = (self.asset.asset_path, tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER)
        self.lines = tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(*lines), -1)
        self.rows = tf.Variable(floats(5, 2))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
    def serve(self, words):
        number = self.table.lookup(words)
        return {
            "number": number,
            "line": self.lines.lookup(words),
            "row": tf.gather(self.rows, tf.maximum(number, 0)),
            "text": tf.strings.join([words, "!"]),
        }


def keep(name, write, inputs):
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "model")
        write(model)
        loaded = tf.saved_model.load(model).signatures["serving_default"]
        out = loaded(**{k: tf.constant(v) for k, v in inputs.items()})
        values = {f"i_{k}": v for k, v in inputs.items()} | {f"o_{k}": v.numpy() for k, v in out.items()}
        for unused in ("fingerprint.pb", "keras_metadata.pb"):
            if os.path.exists(os.path.join(model, unused)):
                os.remove(os.path.join(model, unused))
        pack(name, model, values)


def pack(name, folder, values):
    texts = {k: np.asarray([v.decode() for v in a.tolist()]) if a.dtype == object else a for k, a in values.items()}
    np.savez(os.path.join(folder, "values.npz"), **texts)
    shutil.make_archive(os.path.join(HERE, name), "zip", folder)


def keras_model(name, x, y, data):
    keep(name, lambda path: keras.Model(x, y).export(path, verbose=False), {x.name: data})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        control, tables = Control(), Tables(scratch)
        given = {"x": floats(4, 3)}
        keep("control", lambda p: tf.saved_model.save(control, p, {"serving_default": control.serve}), given)
        words = np.array([b"a", b"q", b"y"], object)
        keep("tables", lambda p: tf.saved_model.save(tables, p, {"serving_default": tables.serve}), {"words": words})
    x = keras.Input((5,), dtype="int32", name="tokens")
    y = L.LSTM(4, return_sequences=True)(L.Embedding(9, 4, mask_zero=True)(x))
    keras_model("recurrent", x, L.Bidirectional(L.GRU(3))(y), RNG.integers(0, 9, (2, 5)).astype("int32"))
    x = keras.Input((12, 12, 2), name="image")
    y = L.ReLU(6.0)(L.BatchNormalization()(L.Conv2D(4, 3, strides=2, padding="same")(x)))
    y = L.UpSampling2D(2, interpolation="bilinear")(L.Conv2DTranspose(3, 3, strides=2, padding="same")(y))
    y = L.AveragePooling2D(2, padding="same")(L.Conv2D(3, 3, dilation_rate=2)(L.SeparableConv2D(3, 3)(y)))
    keras_model("images", x, L.Dense(3, "softmax")(L.GlobalAveragePooling2D()(y)), floats(2, 12, 12, 2))
    x = keras.Input((5, 4), name="sequence")
    y = L.Add()([x, L.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)])
    keras_model("attention", x, L.Dense(4, "gelu")(L.LayerNormalization()(y)), floats(2, 5, 4))
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, tempfile.TemporaryDirectory() as folder:
        x = v1.placeholder(tf.float32, [None, 3], "x")
        tf.identity(tf.concat([x - tf.nn.moments(x, [0])[1], tf.nn.elu(x)], 1)[:, 1:-1], "out")
        with open(os.path.join(folder, "graph.pb"), "wb") as file:
            file.write(graph.as_graph_def().SerializeToString())
        with v1.Session() as session:
            data = floats(4, 3)
            pack("frozen", folder, {"i_x": data, "o_out": session.run("out:0", {"x:0": data})})
