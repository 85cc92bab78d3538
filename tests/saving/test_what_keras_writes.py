"""Places where the files of Keras have their own ways: calls of ops, masks, kept states, wrapped functions.

The entries of configs are as Keras 3.15.1 and tf_keras 2.21 write them.
"""

import json
import zipfile

import numpy as np
import pytest

from lamina import Input, Model, Sequential, activations, layers, losses, metrics, ops, optimizers
from lamina.saving import deserialize_keras_object, load_model, serialize_keras_object

h5py = pytest.importorskip("h5py")
X = np.random.default_rng(0).uniform(0.1, 1.0, (4, 6)).astype("float32")


def entry_of(model, class_name):
    config = serialize_keras_object(model)["config"]
    return next(entry for entry in config["layers"] if entry["class_name"] == class_name)


@pytest.mark.parametrize(
    ("call", "class_name", "config", "kwargs"),
    [
        (
            lambda x: ops.pad(x, ((0, 0), (1, 2)), constant_values=3.0),
            "Pad",
            {"pad_width": [[0, 0], [1, 2]]},
            {"constant_values": 3.0},
        ),
        (lambda x: ops.full_like(x, 2.0), "FullLike", {}, {"fill_value": 2.0}),
        (lambda x: ops.isclose(x, x + 0.1, atol=0.2), "Isclose", {}, {"atol": 0.2}),
        (lambda x: ops.histogram(x, bins=3)[0], "Histogram", {"bins": 3}, {}),
    ],
)
def test_arguments_of_ops_stand_where_keras_looks_for_them(call, class_name, config, kwargs):
    x = Input((6,))
    model = Model(x, call(x))
    entry = json.loads(json.dumps(entry_of(model, class_name)))
    assert {k: v for k, v in entry["config"].items() if k != "name"} == config
    (node,) = entry["inbound_nodes"]
    assert node["kwargs"] == kwargs and all("class_name" in one for one in node["args"])
    again = deserialize_keras_object(serialize_keras_object(model))
    np.testing.assert_array_equal(again(X), model(X))


def test_image_ops_go_by_the_names_of_keras():
    x = Input((4, 4, 3))
    model = Model(x, ops.image.rgb_to_grayscale(ops.image.hsv_to_rgb(ops.image.rgb_to_hsv(x))))
    names = [entry["class_name"] for entry in serialize_keras_object(model)["config"]["layers"]]
    assert names == ["InputLayer", "RGBToHSV", "HSVToRGB", "RGBToGrayscale"]


def test_masks_that_keras_records_as_calls():
    """Keras 3.15 writes the way of a mask through Attention as NotEqual, ConvertToTensor, ..., Any."""
    tokens = Input((5,), dtype="int32", name="tokens")
    hidden = layers.Embedding(9, 3, mask_zero=True, name="embedding")(tokens)
    model = Model(tokens, layers.GlobalAveragePooling1D(name="mean")(hidden))
    config = serialize_keras_object(model)

    def call(name, module, class_name, source, *args, **arguments):
        tensor = {
            "class_name": "__keras_tensor__",
            "config": {"shape": [None, 5], "dtype": "bool", "keras_history": [source, 0, 0]},
        }
        return {
            "module": f"keras.src.ops.{module}",
            "class_name": class_name,
            "config": {"name": name, **arguments},
            "registered_name": class_name,
            "name": name,
            "inbound_nodes": [{"args": [tensor, *args], "kwargs": {}}],
        }

    entries = config["config"]["layers"]
    entries.insert(2, call("not_equal", "numpy", "NotEqual", "tokens", 0))
    nothing = {"dtype": None, "sparse": None, "ragged": None}
    entries.insert(3, call("convert_to_tensor", "core", "ConvertToTensor", "not_equal", **nothing))
    mask = {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None, 5], "dtype": "bool", "keras_history": ["convert_to_tensor", 0, 0]},
    }
    entries[-1]["inbound_nodes"][0]["kwargs"] = {"mask": mask}
    again = deserialize_keras_object(config)
    again.set_weights(model.get_weights())
    x = np.array([[1, 2, 0, 0, 0], [3, 0, 4, 5, 0]])
    np.testing.assert_array_equal(again(x), model(x))


def test_kept_states_are_not_in_model_files(tmp_path):
    def make():
        return Sequential([Input(batch_shape=(2, 3, 4)), layers.LSTM(2, stateful=True), layers.BatchNormalization()])

    model = make()
    x = np.ones((2, 3, 4), "float32")
    first = np.asarray(model(x))
    assert not np.array_equal(first, model(x))
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive, archive.open("model.weights.h5") as file:
        root = h5py.File(file)
        assert "vars" not in root["layers/lstm"] or not len(root["layers/lstm/vars"])
    np.testing.assert_array_equal(load_model(tmp_path / "m.keras")(x), first)
    model.save_weights(tmp_path / "m")  # a checkpoint has them
    twin = make()
    twin.load_weights(tmp_path / "m")
    np.testing.assert_array_equal(twin(x), model(x))


def test_a_function_in_a_metric_is_described_as_keras_does():
    metric = metrics.MeanMetricWrapper(losses.mean_squared_error, name="error")
    described = serialize_keras_object(metric)
    assert described["config"]["fn"] == {
        "module": "builtins",
        "class_name": "function",
        "config": "mean_squared_error",
        "registered_name": "mean_squared_error",
    }
    assert float(deserialize_keras_object(described)(X, X + 2)) == pytest.approx(4.0, rel=1e-5)


@pytest.mark.parametrize(("function", "module"), [(ops.square, "keras.ops"), (activations.mish, "builtins")])
def test_a_lambda_of_a_builtin_function(tmp_path, function, module):
    model = Sequential([Input((6,)), layers.Lambda(function)])
    described = model.layers[0].get_config()["function"]
    assert (described["module"], described["class_name"]) == (module, "function")
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(load_model(tmp_path / "m.keras")(X), model(X))


def test_an_sgd_without_momentum_goes_on_from_momenta_of_keras_2(tmp_path):
    model = Sequential([Input((6,)), layers.Dense(2)])
    model.compile(optimizers.SGD(optimizers.schedules.PiecewiseConstantDecay([2], [0.1, 0.01])), "mse")
    model.fit(X, X[:, :2], epochs=3, verbose=0)
    path = tmp_path / "m.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        for i, shape in enumerate([(6, 2), (2,)]):
            file[f"optimizer/vars/{1 + i}"] = np.zeros(shape, "float32")
    model.optimizer.iterations.assign(0)
    model.load_weights(path)
    assert int(np.asarray(model.optimizer.iterations)) == 3


def test_an_optimizer_of_another_kind_starts_anew_with_a_warning(tmp_path):
    model = Sequential([Input((6,)), layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(X, X[:, :2], epochs=3, verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    model.compile(optimizers.SGD(momentum=0.9), "mse")
    model.fit(X, X[:, :2], epochs=1, verbose=0)
    with pytest.warns(UserWarning, match="the state of the optimizer in .* is of another kind"):
        model.load_weights(tmp_path / "m.weights.h5")
    assert int(np.asarray(model.optimizer.iterations)) == 1


def test_dtype_policies_of_other_versions_and_kinds():
    described = serialize_keras_object(layers.Dense(2, dtype="mixed_bfloat16"))
    described["config"]["dtype"]["class_name"] = "FloatDTypePolicy"  # Keras 3.0 to 3.4
    assert deserialize_keras_object(described).dtype_policy.name == "mixed_bfloat16"
    described["config"]["dtype"] = {
        "module": "keras.dtype_policies",
        "class_name": "QuantizedDTypePolicy",
        "config": {"mode": "int8", "source_name": "float32"},
        "registered_name": None,
    }
    with pytest.raises(ValueError, match="QuantizedDTypePolicy.*Save the model before model.quantize"):
        deserialize_keras_object(described)


def test_layers_as_plain_values():
    layer = layers.Bidirectional(layers.LSTM(2), name="both")
    assert layers.deserialize(layers.serialize(layer)).get_config() == layer.get_config()
    with pytest.raises(ValueError, match="not a layer"):
        layers.deserialize({"class_name": "Zeros", "config": {}})
