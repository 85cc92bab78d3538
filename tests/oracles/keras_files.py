"""Model files between lamina and Keras, both ways, over all layers and optimizers.

    python tests/oracles/keras_files.py --keras-python PATH [--folder FOLDER]

lamina writes a model for each row of the layer contracts, for each optimizer (trained for two steps, with its state)
and for several kinds of models; Keras loads each, compares outputs, weights and optimizer, trains on where there is an
optimizer, sets other weights, and saves it again; lamina loads these and compares. Both sides also write the old
HDF5 format, which the other reads. PATH is a Python that has Keras 3.15 with jax. Prints a table of what fails, and
fails if anything does that is not expected.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np

TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}
# Cases that cannot pass, with the reason.
CYCLE = "Keras cannot put this layer into a functional model: it takes the output for the input"
NONE = "Keras takes no None in output_size"
BELOW_ZERO = "Keras refuses the config that it writes itself: a range below 0"
SHARED = "Keras does not read its own file of a layer that two nested models share"
EXPECTED = {
    "layer:Equalization | keras reads .keras": CYCLE,
    "layer:Equalization | keras reads .h5": CYCLE,
    "layer:AdaptiveMaxPooling2D | keras reads .keras": NONE,
    "layer:AdaptiveMaxPooling2D | keras reads .h5": NONE,
    "layer:RandomShear | keras reads .keras": BELOW_ZERO,
    "layer:RandomShear | keras reads .h5": BELOW_ZERO,
    "model:shared_between_models | keras reads .keras": SHARED,
    "model:shared_between_models | keras reads .h5": "Keras makes two layers of one that two nested models share",
    "optimizer:lamb | keras reads .h5": "Keras does not know Lamb in its old format",
}
# The old format holds graphs of layers alone.
LEGACY_CANNOT = re.compile("subclassed")
REGISTERED = ("Scale", "distance", "SlowSGD")
OPTIMIZERS = {
    "sgd": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "use_ema": True}),
    "sgd_accumulation": ("SGD", {"learning_rate": 0.05, "gradient_accumulation_steps": 2}),
    "rmsprop": ("RMSprop", {"momentum": 0.9, "centered": True}),
    "adam": ("Adam", {"amsgrad": True, "clipnorm": 1.0}),
    "adamw": ("AdamW", {"weight_decay": 0.01}),
    "adamax": ("Adamax", {}),
    "nadam": ("Nadam", {}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
    "ftrl": ("Ftrl", {}),
    "lion": ("Lion", {}),
    "lamb": ("Lamb", {}),
    "adafactor": ("Adafactor", {}),
    "muon": ("Muon", {}),
    "schedule_free_adamw": ("ScheduleFreeAdamW", {}),
    "loss_scale": ("LossScaleOptimizer", {"inner_optimizer": ("Adam", {})}),
    "multi": ("MultiOptimizer", {}),
    "schedule": ("Adam", {"learning_rate": "ExponentialDecay"}),
}


def flat(x):
    """Arrays of a nested structure, dicts in the order of their keys."""
    if isinstance(x, dict):
        return [leaf for key in sorted(x) for leaf in flat(x[key])]
    if isinstance(x, (list, tuple)):
        return [leaf for item in x for leaf in flat(item)]
    return [np.asarray(x)]


def compare(got, want, what):
    assert len(got) == len(want), f"{what}: {len(got)} arrays, expected {len(want)}"
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        assert g.shape == w.shape, f"{what} {i}: shape {g.shape}, expected {w.shape}"
        np.testing.assert_allclose(
            np.asarray(g, "float64"), np.asarray(w, "float64"), err_msg=f"{what} {i}", **TOLERANCE
        )


def store(path, **groups):
    def plain(x):
        return np.asarray(x, "float32") if np.asarray(x).dtype.name == "bfloat16" else np.asarray(x)

    np.savez(path, **{f"{name}_{i:03d}": plain(x) for name, xs in groups.items() for i, x in enumerate(xs)})


def fetch(path):
    groups: dict[str, list] = {"x": [], "y": [], "weights": [], "optimizer": [], "trained": []}
    with np.load(path) as data:
        for key in data.files:
            groups[key.rpartition("_")[0]].append(data[key])
    return groups


def other_weights(model):
    """Sets all weights to other values, positive so that variances stay so."""
    random = np.random.RandomState(1)
    new = []
    for w in model.get_weights():
        w = np.asarray(w)
        new.append(random.uniform(0.2, 1.0, w.shape).astype(w.dtype) if w.dtype.kind not in "iub" else w)
    model.set_weights(new)


def outputs(model, x):
    return flat(model(x if len(x) > 1 else x[0], training=False))


def optimizer_arrays(model, own):
    """The optimizer's state in the order of Keras."""
    if own:
        arrays: dict = {}
        model.optimizer.save_own_variables(arrays)
        return [np.asarray(arrays[str(i)]) for i in range(len(arrays))]
    return [np.asarray(v) for v in model.optimizer.variables]


def train(model, x):
    random = np.random.RandomState(2)
    y = [random.uniform(0, 1, (len(x[0]), *o.shape[1:])).astype("float32") for o in model.outputs]
    model.fit(x if len(x) > 1 else x[0], y if len(y) > 1 else y[0], batch_size=4, epochs=1, shuffle=False, verbose=0)


def make_optimizer(framework, key):
    name, arguments = OPTIMIZERS[key]
    o = framework.optimizers
    if key == "multi":
        return o.MultiOptimizer(o.OptimizerMap(o.SGD(0.1, momentum=0.5), {".*kernel": o.Adam(0.1)}))
    arguments = dict(arguments)
    if "inner_optimizer" in arguments:
        inner, inner_arguments = arguments["inner_optimizer"]
        arguments["inner_optimizer"] = getattr(o, inner)(**inner_arguments)
    if arguments.get("learning_rate") == "ExponentialDecay":
        arguments["learning_rate"] = o.schedules.ExponentialDecay(0.1, 10, 0.5)
    return getattr(o, name)(**arguments)


def custom_classes(framework):
    """Classes that both sides have: a subclassed model, with layers in attributes, lists and dicts."""

    @framework.saving.register_keras_serializable("oracle")
    class Scale(framework.layers.Layer):
        def build(self, input_shape):
            self.fixed = self.add_weight(shape=(1,), initializer="ones", trainable=False, name="fixed")
            self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")

        def call(self, x):
            return x * self.factor + self.fixed

    @framework.saving.register_keras_serializable("oracle")
    class Nested(framework.Model):
        def __init__(self, units=3, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            layers = framework.layers
            self.zoom = Scale()
            self._hidden = layers.Dense(units, activation="relu")
            self.blocks = [layers.Dense(units), {"a": layers.Dense(units), "b": [layers.Dense(units)]}]
            self.inner = framework.Sequential([layers.Dense(units), layers.BatchNormalization()])
            self.again = self._hidden

        def call(self, x, training=None):
            x = self._hidden(self.zoom(x))
            x = self.blocks[1]["b"][0](self.blocks[1]["a"](self.blocks[0](x)))
            return self.inner(x, training=training)

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    @framework.saving.register_keras_serializable("oracle")
    def distance(y_true, y_pred):
        return framework.ops.mean(framework.ops.square(y_true - y_pred), axis=-1)

    @framework.saving.register_keras_serializable("oracle")
    class SlowSGD(framework.optimizers.SGD):
        pass

    @framework.saving.register_keras_serializable("layer_contracts")
    def squares(x):
        return x**2

    return Nested


def models(framework):
    """Models of several kinds, with data."""
    layers, x = framework.layers, np.random.RandomState(0).uniform(0, 1, (8, 6)).astype("float32")
    nested = custom_classes(framework)()
    nested(x)
    yield "model:subclassed", nested, [x], None

    a, b = framework.Input((6,), name="left"), framework.Input((6,), name="right")
    shared = layers.Dense(4, activation="tanh", name="shared")
    inner = framework.Sequential([layers.Input((4,)), layers.Dense(3), layers.BatchNormalization()], name="inner")
    left, right = inner(shared(a)), inner(shared(b))
    first = layers.Dense(2, name="first")(layers.Concatenate()([left, right]))
    second = layers.Dense(1, activation="sigmoid", name="second")(left * right + 1.0)
    both = framework.Model([a, b], [first, second], name="both")
    compiled = {
        "optimizer": framework.optimizers.SGD(0.05, momentum=0.9),
        "loss": {"first": "mse", "second": framework.losses.BinaryCrossentropy(label_smoothing=0.1)},
        "loss_weights": {"first": 0.5, "second": 2.0},
        "metrics": {"first": ["mae", framework.metrics.RootMeanSquaredError()], "second": ["accuracy"]},
    }
    yield "model:functional", both, [x, x[::-1].copy()], compiled

    core = layers.Dense(4, name="core")
    one = framework.Sequential([layers.Input((6,)), core], name="one")
    entry = framework.Input((6,))
    two = framework.Model(entry, layers.Dense(2)(core(entry)), name="two")
    entry = framework.Input((6,))
    twice = framework.Model(entry, layers.Concatenate()([one(entry), two(entry)]), name="twice")
    yield "model:shared_between_models", twice, [x], {"optimizer": "sgd", "loss": "mse"}

    tokens = framework.Input((6,), dtype="int32", name="tokens")
    h = layers.Embedding(11, 4)(tokens)
    h = layers.Bidirectional(layers.GRU(3, return_sequences=True))(h)
    h = layers.LayerNormalization()(h + layers.MultiHeadAttention(2, 2)(h, h))
    h = layers.BatchNormalization()(layers.RNN(layers.LSTMCell(3))(h))
    sequences = framework.Model(tokens, layers.Dense(2, name="out")(h), name="sequences")
    ids = np.arange(72).reshape(12, 6).astype("int32") % 11
    yield "model:sequences", sequences, [ids], {"optimizer": "adam", "loss": "mse", "metrics": ["mae"]}

    x = np.random.RandomState(0).uniform(0, 1, (12, 6)).astype("float32")
    body = [layers.Input((6,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(4)]
    body = framework.Sequential(body, name="body")
    body.layers[0].trainable = False
    frozen = framework.Sequential([layers.Input((6,)), layers.Dense(3), layers.BatchNormalization()], name="frozen")
    frozen.trainable = False
    entry = framework.Input((6,))
    y = layers.Dense(2)(layers.Concatenate()([body(entry), frozen(entry)]))
    yield "model:frozen", framework.Model(entry, y, name="tuned"), [x], {"optimizer": "rmsprop", "loss": "mse"}

    Scale, distance, SlowSGD = (framework.saving.get_registered_object(f"oracle>{n}") for n in REGISTERED)
    own = framework.Sequential([layers.Input((6,)), Scale(), layers.Dense(3), Scale(), layers.Dense(2)])
    yield (
        "model:custom",
        own,
        [x],
        {"optimizer": SlowSGD(0.05, momentum=0.9), "loss": distance, "metrics": [distance, "mae"]},
    )

    mixed = framework.Sequential(
        [layers.Input((6,)), layers.Dense(4, dtype="mixed_bfloat16"), layers.Dense(2, dtype="bfloat16")]
    )
    yield "model:bfloat16", mixed, [x], None


def layer_models():
    """A functional model for each row of the layer contracts."""
    import jax

    import lamina

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "layers"))
    from test_layer_contracts import IDS, ROWS

    for name, row in zip(IDS, ROWS, strict=True):
        arrays: list = []

        def symbol(x, arrays=arrays):
            arrays.append(np.asarray(x))
            return lamina.Input(batch_shape=(None, *x.shape[1:]), dtype=str(x.dtype))

        call = {k: v for k, v in row.call.items() if k != "training"}
        symbols = jax.tree.map(symbol, row.inputs)
        # jax sorts the keys of dicts, so the arrays are in the order of the entries below.
        named = {k: v if isinstance(v, bool) else jax.tree.map(symbol, v) for k, v in call.items()}
        made = row.make()(symbols, **named)
        entries = [s for s in jax.tree.leaves((symbols, named)) if isinstance(s, lamina.KerasTensor)]
        yield f"layer:{name}", lamina.Model(entries, jax.tree.leaves(made)), arrays, None


def optimizer_models(framework):
    layers, x = framework.layers, np.random.RandomState(0).uniform(0, 1, (8, 6)).astype("float32")
    for key in OPTIMIZERS:
        model = framework.Sequential([layers.Input((6,)), layers.Dense(4, activation="tanh"), layers.Dense(2)])
        yield (
            f"optimizer:{key}",
            model,
            [x],
            {"optimizer": make_optimizer(framework, key), "loss": "mse", "metrics": ["mae"]},
        )


def file_of(folder, name, side):
    return folder / f"{name.replace(':', '.')}.{side}"


def write(folder, only=""):
    """lamina writes the models with a name that the regular expression `only` is found in."""
    import itertools

    import lamina

    names = []
    for name, model, x, compiled in itertools.chain(models(lamina), optimizer_models(lamina), layer_models()):
        if not re.search(only, name):
            continue
        try:
            if compiled is not None:
                model.compile(**compiled)
                train(model, x)
            else:
                other_weights(model)
            model.save(file_of(folder, name, "lamina.keras"))
            if not LEGACY_CANNOT.search(name):
                model.save(file_of(folder, name, "lamina.h5"))
            kept = {"x": x, "y": outputs(model, x), "weights": model.get_weights()}
            if compiled is not None:
                kept["optimizer"] = optimizer_arrays(model, True)
                train(model, x)
                kept["trained"] = model.get_weights()
            store(file_of(folder, name, "lamina.npz"), **kept)
            names.append(name)
        except Exception:
            (folder / "failures.jsonl").open("a").write(
                json.dumps([name, "lamina writes", traceback.format_exc()]) + "\n"
            )
    (folder / "names.json").write_text(json.dumps(names))


def check(folder, side, reader, load, files, rewrite):
    """Loads the files that the other side wrote and compares."""
    for name in json.loads((folder / "names.json").read_text()):
        for suffix in files:
            path = file_of(folder, name, f"{side}.{suffix}")
            step = f"{reader} reads .{suffix}"
            try:
                if not path.exists():
                    continue
                want = fetch(file_of(folder, name, f"{side}.npz"))
                model = load(str(path))
                if suffix == "keras":
                    compare([np.asarray(w) for w in model.get_weights()], want["weights"], "weight")
                compare(outputs(model, want["x"]), want["y"], "output")
                if want["optimizer"]:
                    state = optimizer_arrays(model, reader == "lamina")
                    if name != "optimizer:adafactor":  # Keras keeps the product of rows and columns as well
                        compare(state, want["optimizer"], "optimizer variable")
                    train(model, want["x"])
                    compare([np.asarray(w) for w in model.get_weights()], want["trained"], "weight after training")
                rewrite(name, model, want)
            except Exception:
                (folder / "failures.jsonl").open("a").write(json.dumps([name, step, traceback.format_exc()]) + "\n")


def exchange(folder):
    """Keras reads, and writes."""
    import h5py
    import keras

    custom_classes(keras)

    def load_legacy(path):
        """Keras builds the optimizer of an .h5 model on no weights, so it restores none of its slots, and cannot train
        on, with its own files too. The file is held to what would be right: here it is built on the model's weights."""
        from keras.src.legacy.saving.legacy_h5_format import load_optimizer_weights_from_hdf5_group

        model = keras.models.load_model(path)
        if not model.compiled:
            return model
        optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
        optimizer.build(model.trainable_variables)
        with h5py.File(path) as root:
            values = load_optimizer_weights_from_hdf5_group(root)
            for variable, value in zip(optimizer.variables, values, strict=True):
                variable.assign(value[()])
        steps = [int(np.asarray(o._variables[0])) for o in (model.optimizer, optimizer)]
        assert steps[0] == steps[1], f"the optimizer's number of steps: {steps[0]}, expected {steps[1]}"
        model.optimizer = optimizer
        return model

    def rewrite(name, model, want):
        other_weights(model)
        model.save(file_of(folder, name, "keras.keras"))
        kept = {"x": want["x"], "y": outputs(model, want["x"]), "weights": [np.asarray(w) for w in model.get_weights()]}
        if want["optimizer"]:
            kept["optimizer"] = optimizer_arrays(model, False)
        if not LEGACY_CANNOT.search(name):
            try:
                model.save(file_of(folder, name, "keras.h5"))
            except Exception as error:
                file_of(folder, name, "keras.h5").unlink(missing_ok=True)
                print(f"Keras itself does not write {name} as .h5: {type(error).__name__}: {str(error)[:100]}")
        if want["optimizer"]:
            train(model, want["x"])
            kept["trained"] = [np.asarray(w) for w in model.get_weights()]
        store(file_of(folder, name, "keras.npz"), **kept)

    check(folder, "lamina", "keras", load_legacy, ["h5"], lambda *_: None)
    check(folder, "lamina", "keras", keras.models.load_model, ["keras"], rewrite)


def read(folder):
    """lamina reads."""
    import lamina

    custom_classes(lamina)
    check(folder, "keras", "lamina", lamina.saving.load_model, ["keras", "h5"], lambda *_: None)


def report(folder):
    """Prints the table; the number of unexpected failures."""
    names = json.loads((folder / "names.json").read_text())
    log = folder / "failures.jsonl"
    failures = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    unexpected = 0
    for name, step, trace in failures:
        reason = EXPECTED.get(f"{name} | {step}")
        if "requires TensorFlow" in trace:
            reason = "the layer needs TensorFlow in Keras, which this one does not have"
        unexpected += reason is None
        last = [line for line in trace.strip().splitlines() if line.strip()]
        print(f"{'FAILED' if reason is None else 'expected'}  {name}  ({step}): {reason or ' '.join(last[-1:])[:300]}")
    for step in ("lamina writes", "keras reads .keras", "keras reads .h5", "lamina reads .keras", "lamina reads .h5"):
        kinds = {}
        for kind in ("layer", "optimizer", "model"):
            failed = {n for n, s, _ in failures if s == step and n.startswith(kind)}
            side = {
                "keras reads .keras": "lamina.keras",
                "keras reads .h5": "lamina.h5",
                "lamina reads .keras": "keras.keras",
                "lamina reads .h5": "keras.h5",
            }
            tried = [
                n for n in names if n.startswith(kind) and (step not in side or file_of(folder, n, side[step]).exists())
            ]
            kinds[kind] = f"{len(set(tried) - failed)} of {len(set(tried) | failed)}"
        print(f"{step}: " + ", ".join(f"{v} {k}s" for k, v in kinds.items()))
    return unexpected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keras-python", help="a Python with Keras")
    parser.add_argument("--folder", help="where the files go; by default a temporary folder")
    parser.add_argument("--only", default="", help="a regular expression: only models with such a name")
    parser.add_argument("--step", choices=["write", "exchange", "read"], help="one step alone, in this process")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.step == "write":
        write(Path(arguments.folder), arguments.only)
        return 0
    if arguments.step:
        {"exchange": exchange, "read": read}[arguments.step](Path(arguments.folder))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "failures.jsonl").unlink(missing_ok=True)
        environment = {**os.environ, "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "jax"), "JAX_PLATFORMS": "cpu"}
        for step, python in (("write", sys.executable), ("exchange", arguments.keras_python), ("read", sys.executable)):
            command = [python, __file__, "--step", step, "--folder", str(folder), "--only", arguments.only]
            subprocess.run(command, check=True, env=environment)
        return 1 if report(folder) else 0


if __name__ == "__main__":
    sys.exit(main())
