"""Files as Keras 2 wrote them, made here by hand after the format."""

import io
import json
import zipfile

import numpy as np
import pytest

from lamina import Input, Sequential, layers
from lamina.core.errors import ShapeError
from lamina.saving import load_model

h5py = pytest.importorskip("h5py")
RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.uniform(0.2, 1.0, shape).astype("float32")


def put_weights(group, weights, split=False):
    names = [name.encode() for name in weights]
    if split:  # long lists are cut into several attributes
        group.attrs["layer_names0"], group.attrs["layer_names1"] = names[:1], names[1:]
    else:
        group.attrs["layer_names"] = names
    for layer, arrays in weights.items():
        inner = group.create_group(layer)
        inner.attrs["weight_names"] = [name.encode() for name in arrays]
        for name, array in arrays.items():
            inner[name] = array


def entry(class_name, name, calls, **config):
    return {"class_name": class_name, "name": name, "config": {"name": name, **config}, "inbound_nodes": calls}


def initializer(name, **config):
    return {"class_name": name, "config": {"seed": None, **config}}


WEIGHTS = {
    "image": {},
    "conv": {"conv/kernel:0": floats(3, 3, 1, 2), "conv/bias:0": floats(2)},
    "norm": {f"norm/{n}:0": floats(2) for n in ("gamma", "beta", "moving_mean", "moving_variance")},
    "leaky": {},
    "flat": {},
    "sum": {},
    "out": {"out/kernel:0": floats(32, 3), "out/bias:0": floats(3)},
}
CONV = {
    "trainable": True,
    "batch_input_shape": [None, 4, 4, 1],
    "dtype": "float32",
    "filters": 2,
    "kernel_size": [3, 3],
    "strides": [1, 1],
    "padding": "same",
    "data_format": "channels_last",
    "dilation_rate": [1, 1],
    "groups": 1,
    "activation": "relu",
    "use_bias": True,
    "kernel_initializer": initializer("GlorotUniform"),
    "bias_initializer": {"class_name": "Zeros", "config": {}},
    "kernel_regularizer": {"class_name": "L2", "config": {"l2": 0.01}},
    "bias_regularizer": None,
    "activity_regularizer": None,
    "kernel_constraint": None,
    "bias_constraint": None,
}
NORM = {"trainable": True, "dtype": "float32", "axis": [3], "momentum": 0.99, "epsilon": 0.001, "fused": True}
FUNCTIONAL = {
    "class_name": "Functional",
    "config": {
        "name": "old",
        "layers": [
            entry(
                "InputLayer",
                "image",
                [],
                batch_input_shape=[None, 4, 4, 1],
                dtype="float32",
                sparse=False,
                ragged=False,
            ),
            entry("Conv2D", "conv", [[["image", 0, 0, {}]]], **CONV),
            entry("BatchNormalization", "norm", [[["conv", 0, 0, {"training": False}]]], **NORM),
            entry("LeakyReLU", "leaky", [[["norm", 0, 0, {}]]], trainable=True, dtype="float32", alpha=0.25),
            entry("Add", "sum", [[["norm", 0, 0, {}], ["leaky", 0, 0, {}]]], trainable=True, dtype="float32"),
            entry(
                "Flatten", "flat", [[["sum", 0, 0, {}]]], trainable=True, dtype="float32", data_format="channels_last"
            ),
            entry("Dense", "out", [[["flat", 0, 0, {}]]], units=3, activation="softmax", trainable=True),
        ],
        "input_layers": [["image", 0, 0]],
        "output_layers": [["out", 0, 0]],
    },
}
TRAINING = {
    "loss": {
        "class_name": "SparseCategoricalCrossentropy",
        "config": {"reduction": "auto", "name": "x", "from_logits": False},
    },
    "metrics": [
        [{"class_name": "MeanMetricWrapper", "config": {"name": "accuracy", "fn": "sparse_categorical_accuracy"}}]
    ],
    "weighted_metrics": None,
    "loss_weights": None,
    "optimizer_config": {
        "class_name": "Adam",
        "config": {"name": "Adam", "learning_rate": 0.25, "decay": 0.0, "beta_1": 0.8, "beta_2": 0.9, "amsgrad": False},
    },
}


def write_model(path, config=FUNCTIONAL, training=TRAINING, weights=WEIGHTS, slots=None):
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = b"2.9.0", b"tensorflow"
        file.attrs["model_config"] = json.dumps(config).encode()
        if training is not None:
            file.attrs["training_config"] = json.dumps(training).encode()
        put_weights(file.create_group("model_weights"), weights, split=True)
        # the number of steps, then first moments of all variables, then second ones
        trained = ["conv/kernel:0", "conv/bias:0", "norm/gamma:0", "norm/beta:0", "out/kernel:0", "out/bias:0"]
        arrays = {k: v for layer in weights.values() for k, v in layer.items()}
        if slots is None:
            slots = {"iter:0": np.array(7)}
            for number, slot in enumerate("mv", 1):
                slots.update({f"Adam/{n[:-2]}/{slot}:0": np.full(arrays[n].shape, number, "float32") for n in trained})
        group = file.create_group("optimizer_weights")
        group.attrs["weight_names"] = [name.encode() for name in slots]
        for name, value in slots.items():
            group[name] = value


def expected(x):
    w = {k: np.asarray(v, "float64") for layer in WEIGHTS.values() for k, v in layer.items()}
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    conv = np.zeros((*x.shape[:3], 2))
    for i in range(3):
        for j in range(3):
            conv += padded[:, i : i + 4, j : j + 4, :] @ w["conv/kernel:0"][i, j]
    conv = np.maximum(conv + w["conv/bias:0"], 0)
    scale = w["norm/gamma:0"] / np.sqrt(w["norm/moving_variance:0"] + 0.001)
    norm = (conv - w["norm/moving_mean:0"]) * scale + w["norm/beta:0"]
    total = norm + np.where(norm > 0, norm, 0.25 * norm)
    logits = total.reshape(len(x), -1) @ w["out/kernel:0"] + w["out/bias:0"]
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_a_functional_model(tmp_path):
    write_model(tmp_path / "old.h5")
    model = load_model(tmp_path / "old.h5")
    x = floats(2, 4, 4, 1)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected(x), rtol=1e-4, atol=1e-6)
    assert model.get_layer("conv").kernel_regularizer.l2 == pytest.approx(0.01)
    optimizer = model.optimizer
    assert (type(optimizer).__name__, float(optimizer.learning_rate), optimizer.beta_1) == ("Adam", 0.25, 0.8)
    assert int(optimizer.iterations) == 7
    for variable in optimizer.variables[2:]:
        np.testing.assert_array_equal(variable, 1.0 if variable.name.endswith("momentum") else 2.0)
    logs = model.evaluate(x, np.zeros(2, "int32"), verbose=0, return_dict=True)
    assert set(logs) == {"loss", "accuracy"}


def test_a_sequential_model_with_recurrent_layers(tmp_path):
    cell = {"units": 2, "implementation": 2, "time_major": False, "dropout": 0.0}
    inner = {"class_name": "LSTM", "config": {"name": "lstm", "return_sequences": True, **cell}}
    config = {
        "class_name": "Sequential",
        "config": [  # a bare list, as before Keras 2.2.3
            {
                "class_name": "Bidirectional",
                "config": {"name": "both", "batch_input_shape": [None, 5, 3], "layer": inner, "merge_mode": "concat"},
            },
            {
                "class_name": "TimeDistributed",
                "config": {"name": "each", "layer": {"class_name": "Dense", "config": {"name": "d", "units": 1}}},
            },
        ],
    }
    shapes = [(3, 8), (2, 8), (8,)]
    both = {f"both/{side}_lstm/w{i}:0": floats(*s) for side in ("forward", "backward") for i, s in enumerate(shapes)}
    weights = {"both": both, "each": {"each/kernel:0": floats(4, 1), "each/bias:0": floats(1)}}
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        put_weights(file.create_group("model_weights"), weights)
    model = load_model(tmp_path / "old.h5")
    for got, want in zip(model.get_weights(), [a for layer in weights.values() for a in layer.values()], strict=True):
        np.testing.assert_array_equal(got, want)
    assert model.output_shape == (None, 5, 1) and not model.compiled


def body(units=3, name="out"):
    return Sequential([Input((4,)), layers.Dense(2, name="hidden"), layers.Dense(units, name=name)])


def weights_file(path):
    weights = {
        "hidden": {"hidden/kernel:0": floats(4, 2), "hidden/bias:0": floats(2)},
        "out": {"out/kernel:0": floats(2, 3), "out/bias:0": floats(3)},
    }
    with h5py.File(path, "w") as file:
        put_weights(file, weights)
    return [a for layer in weights.values() for a in layer.values()]


def test_weights_alone(tmp_path):
    want = weights_file(tmp_path / "w.h5")
    for model in (body(), body(name="other")):  # by name, then by order
        assert model.load_weights(tmp_path / "w.h5").complete
        for got, w in zip(model.get_weights(), want, strict=True):
            np.testing.assert_array_equal(got, w)
    with pytest.raises(ShapeError, match=r"'out/kernel' has shape \(2, 4\)"):
        body(units=4).load_weights(tmp_path / "w.h5")
    model = body(name="other")
    report = model.load_weights(tmp_path / "w.h5", by_name=True)
    assert list(report.loaded) == ["hidden/kernel", "hidden/bias"] and report.missing == ["other/kernel", "other/bias"]


def test_an_archive_of_keras_2(tmp_path):
    """Lists of calls, arguments and groups as Keras 2.15 had them in its .keras files."""
    dense = {
        "module": "keras.layers",
        "registered_name": None,
        "class_name": "Dense",
        "config": {"name": "d", "units": 2},
    }
    inner = {
        "class_name": "Sequential",
        "config": {
            "name": "inner",
            "layers": [
                entry("InputLayer", "i", [], batch_input_shape=[None, 4], dtype="float32"),
                dense,
            ],
        },
    }
    config = {
        "module": "keras.src.engine.functional",
        "class_name": "Functional",
        "registered_name": "Functional",
        "config": {
            "name": "old",
            "layers": [
                entry("InputLayer", "x", [], batch_input_shape=[None, 3, 4], dtype="float32"),
                entry(
                    "MultiHeadAttention",
                    "att",
                    [[["x", 0, 0, {"value": ["x", 0, 0]}]]],
                    num_heads=1,
                    key_dim=2,
                    query_shape=[None, 3, 4],
                ),
                entry("LSTM", "lstm", [[["att", 0, 0, {}]]], units=4, implementation=2, time_major=False),
                {**inner, "name": "inner", "inbound_nodes": [[["lstm", 0, 0, {}]]]},
                entry("Dense", "out", [[["inner", 1, 0, {}]]], units=1),
            ],
            "input_layers": [["x", 0, 0]],
            "output_layers": [["out", 0, 0], ["inner", 1, 0]],
        },
        "compile_config": {
            "optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.5, "momentum": 0.9, "jit_compile": True}},
            "loss": "mse",
            "metrics": None,
        },
    }
    arrays = {}
    for part, shapes in {
        "att/_query_dense": [(4, 1, 2), (1, 2)],
        "att/_key_dense": [(4, 1, 2), (1, 2)],
        "att/_value_dense": [(4, 1, 2), (1, 2)],
        "att/_output_dense": [(1, 2, 4), (4,)],
        "lstm/cell": [(4, 16), (4, 16), (16,)],
        "sequential/layers/dense": [(4, 2), (2,)],
        "dense": [(2, 1), (1,)],
    }.items():
        part = part.replace("att", "multi_head_attention")
        arrays |= {f"_layer_checkpoint_dependencies/{part}/vars/{i}": floats(*s) for i, s in enumerate(shapes)}
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.13.1"}))
        with archive.open("model.weights.h5", "w") as file:
            data = io.BytesIO()
            with h5py.File(data, "w") as root:
                for name, array in arrays.items():
                    root[name.replace("sequential/layers", "sequential/_layer_checkpoint_dependencies")] = array
                # the number of steps, then the slots, without the learning rate
                root["optimizer/vars/0"] = np.array(5)
                for i, array in enumerate(arrays.values(), 1):
                    root[f"optimizer/vars/{i}"] = np.zeros(array.shape, "float32")
                root["metrics/mean/vars/0"] = np.float32(1)
            file.write(data.getvalue())
    model = load_model(tmp_path / "old.keras")
    assert model.output_names == ["out", "inner"] and float(model.optimizer.learning_rate) == 0.5
    assert int(model.optimizer.iterations) == 5
    key = next(v for v in model.weights if v.path.endswith("att/key/kernel"))
    np.testing.assert_array_equal(key, arrays["_layer_checkpoint_dependencies/multi_head_attention/_key_dense/vars/0"])
    first, second = model.predict(floats(2, 3, 4), verbose=0)
    want = second @ arrays["_layer_checkpoint_dependencies/dense/vars/0"]
    np.testing.assert_allclose(first, want + arrays["_layer_checkpoint_dependencies/dense/vars/1"], rtol=1e-5)


def test_what_cannot_be_read(tmp_path):
    code = {
        "name": "l",
        "function": ["4wEAAAA=", None, None],
        "function_type": "lambda",
        "batch_input_shape": [None, 2],
    }
    config = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Lambda", "config": code}]}}
    write_model(tmp_path / "l.h5", config, None)
    with pytest.raises(ValueError, match="bytecode, which lamina never runs"):
        load_model(tmp_path / "l.h5")
    write_model(tmp_path / "u.h5", {"class_name": "Unheard", "config": {}}, None)
    with pytest.raises(ValueError, match="Unheard"):
        load_model(tmp_path / "u.h5")
    write_model(tmp_path / "j.h5", "no model", None)
    with pytest.raises(ValueError, match="does not describe a model"):
        load_model(tmp_path / "j.h5")


def test_outputs_by_name_and_what_stands_for_nothing(tmp_path):
    """As tf_keras 2.21 writes a model whose outputs are a nested dict, with losses and metrics for each."""

    def dense(name, *calls, **more):
        return entry("Dense", name, [[["x", 0, 0, more]]], units=2, batch_input_shape=[None, 3])

    bins = entry("Discretization", "bins", [[["x", 0, 0, {}]]], bin_boundaries=[0.5], batch_input_shape=[None, 3])
    recurrent = entry("Reshape", "steps", [[["x", 0, 0, {}]]], target_shape=[1, 3], dtype="float32")
    lstm = entry("LSTM", "lstm", [[["steps", 0, 0, {"initial_state": None, "constants": None}]]], units=2)
    config = {
        "class_name": "Functional",
        "config": {
            "name": "model",
            "layers": [
                entry("InputLayer", "x", [], batch_input_shape=[None, 3], dtype="float32"),
                dense("a"),
                dense("b"),
                bins,
                recurrent,
                lstm,
            ],
            "input_layers": {"x": ["x", 0, 0]},
            "output_layers": {"a": ["a", 0, 0], "b": ["b", 0, 0]},
        },
    }
    huber = {"class_name": "Huber", "config": {"reduction": "sum", "name": "huber_loss", "delta": 0.5, "fn": "huber"}}
    mae = {
        "class_name": "MeanMetricWrapper",
        "config": {"name": "a_mae", "dtype": "float32", "fn": "mean_absolute_error"},
    }
    training = {
        "loss": {"a": huber, "b": "mse"},
        "metrics": [[mae], [None]],
        "weighted_metrics": None,
        "loss_weights": {"a": 0.3, "b": 2},
        "optimizer_config": {"class_name": "Custom>SGD", "config": {"name": "SGD", "learning_rate": 0.1}},
    }
    weights = {name: {f"{name}/kernel:0": floats(3, 2), f"{name}/bias:0": floats(2)} for name in "ab"}
    weights["lstm"] = {
        f"lstm/{name}:0": floats(*shape) for name, shape in (("kernel", (3, 8)), ("r", (2, 8)), ("bias", (8,)))
    }
    config["config"]["output_layers"]["more"] = [["lstm", 0, 0], {"bins": ["bins", 0, 0]}]
    write_model(tmp_path / "m.h5", config, None, weights, {})
    made = load_model(tmp_path / "m.h5")({"x": np.full((1, 3), 0.7, "float32")})
    assert sorted(made) == ["a", "b", "more"] and np.asarray(made["more"][1]["bins"]).tolist() == [[1, 1, 1]]

    del config["config"]["output_layers"]["more"]
    config["config"]["layers"] = config["config"]["layers"][:3]
    write_model(
        tmp_path / "c.h5", config, training, {name: weights[name] for name in "ab"}, {"iteration:0": np.int64(0)}
    )
    model = load_model(tmp_path / "c.h5")
    x = np.full((2, 3), 0.7, "float32")
    logs = model.evaluate({"x": x}, {"a": x[:, :2], "b": x[:, :2]}, verbose=0, return_dict=True)
    error = np.asarray(model({"x": x})["a"]) - x[:, :2]
    assert logs["a_mean_absolute_error"] == pytest.approx(np.abs(error).mean(), rel=1e-5)


def test_running_means_of_weights_stand_before_the_momenta(tmp_path):
    names = ["average/dense/kernel:0", "average/dense/bias:0", "m/dense/kernel:0", "m/dense/bias:0"]
    values = [floats(3, 2), floats(2), floats(3, 2), floats(2)]
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "s",
            "layers": [
                {"class_name": "Dense", "config": {"name": "dense", "units": 2, "batch_input_shape": [None, 3]}},
            ],
        },
    }
    sgd = {"name": "SGD", "learning_rate": 0.1, "momentum": 0.9, "use_ema": True}
    training = {"loss": "mse", "optimizer_config": {"class_name": "Custom>SGD", "config": sgd}}
    weights = {"dense": {"dense/kernel:0": values[0], "dense/bias:0": values[1]}}
    slots = {f"SGD/{name}": value for name, value in zip(names, values, strict=True)}
    write_model(tmp_path / "m.h5", config, training, weights, {"iteration:0": np.int64(4), **slots})
    store = {}
    load_model(tmp_path / "m.h5").optimizer.save_own_variables(store)
    assert int(store["0"]) == 4
    for i, value in enumerate(values):
        np.testing.assert_array_equal(store[str(i + 2)], value)
