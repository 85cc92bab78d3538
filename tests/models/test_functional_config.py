"""Functional models as JSON: round trips, Keras' format in both directions, errors."""

import json
from pathlib import Path

import numpy as np
import pytest

from lamina import Input, Model, Sequential, layers, ops, saving
from lamina.models import clone_model, model_from_config, model_from_json
from lamina.ops.op import op

# Written by Keras 3.15 (JSON, weights, inputs and outputs of three models).
KERAS = json.loads((Path(__file__).parent / "keras_models.json").read_text())


def arrays(x, dtype="float32"):
    return {k: np.array(v, dtype) for k, v in x.items()} if isinstance(x, dict) else np.array(x, dtype)


def same(a, b, data):
    for p, q in zip(np.atleast_1d(a.predict(data, verbose=0)), np.atleast_1d(b.predict(data, verbose=0)), strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("name", KERAS)
def test_models_written_by_keras(name):
    case = KERAS[name]
    model = model_from_json(case["json"])
    assert [layer.name for layer in model.layers] == case["layers"]
    model.set_weights([np.array(w, "float32") for w in case["weights"]])
    got = model.predict(arrays(case["x"], "int32" if name == "masked" else "float32"), verbose=0)
    want = case["y"] if isinstance(got, list) else [case["y"]]
    for g, w in zip(got if isinstance(got, list) else [got], want, strict=True):
        np.testing.assert_allclose(g, np.array(w), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", KERAS)
def test_what_is_written_is_what_keras_wrote(name):
    """Every entry that both write is equal; Keras adds how it runs a layer, and how the model was compiled."""

    def compare(ours, theirs, path):
        if isinstance(theirs, dict):
            skipped = {"quantization_config", "use_cudnn", "compile_config", "registered_name", "build_config"}
            missing = set(theirs) - set(ours) - skipped
            assert not missing or path.endswith("kwargs"), (path, missing)
            for key in set(ours) & set(theirs) - {"build_config", "registered_name"}:
                compare(ours[key], theirs[key], f"{path}.{key}")
        elif isinstance(theirs, list):
            assert len(ours) == len(theirs), path
            for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                compare(a, b, f"{path}.{i}")
        else:
            assert ours == theirs or ours == pytest.approx(theirs), path

    compare(json.loads(model_from_json(KERAS[name]["json"]).to_json()), json.loads(KERAS[name]["json"]), name)


def branching():
    """Shared layers, nested models, ops with constants, several inputs and outputs."""
    x, y = Input((4,), name="x"), Input((4,), name="y")
    shared = layers.Dense(4, activation="tanh")
    h = shared(x) * 2.0 + shared(y)
    h = ops.concatenate([h[:, :2], 1 - shared(shared(y))], axis=-1)
    inner_in = Input((6,))
    inner = Model(inner_in, {"p": layers.Dense(2)(inner_in), "q": layers.Dense(3)(inner_in)}, name="inner")
    first, second = inner(h), inner(h * 0.5)
    tail = Sequential([layers.Dense(3, activation="relu"), layers.Dropout(0.5), layers.Dense(1)])
    return Model(
        {"x": x, "y": y},
        {
            "a": [first["p"], ops.reshape(second["q"], (-1, 3, 1))],
            "b": (ops.einsum("ij,ik->ijk", h, h), tail(first["q"])),
            "c": ops.clip(h, 0.0, x_max=0.5),
        },
        name="branching",
    )


def test_round_trip():
    model = branching()
    text = model.to_json()
    again = model_from_json(text)
    assert again.to_json() == text
    assert type(again) is type(model) and again.name == "branching"
    assert [v.path for v in again.weights] == [v.path for v in model.weights]
    again.set_weights(model.get_weights())
    data = {k: np.random.default_rng(1).normal(size=(3, 4)).astype("float32") for k in "xy"}
    want, got = model.predict(data, verbose=0), again.predict(data, verbose=0)
    assert set(got) == {"a", "b", "c"} and len(got["a"]) == 2
    for g, w in zip([*got["a"], *got["b"], got["c"]], [*want["a"], *want["b"], want["c"]], strict=True):
        np.testing.assert_array_equal(g, w)


def test_shared_layer_keeps_one_set_of_weights():
    model = model_from_json(branching().to_json())
    assert sum(layer.name.startswith("dense") for layer in model.layers) == 1
    assert model.get_layer("dense").count_params() == 20


def test_masks_and_arguments_by_name_survive():
    tokens = Input((5,), dtype="int32", name="tokens")
    x = layers.Embedding(7, 4, mask_zero=True)(tokens)
    x = layers.MultiHeadAttention(2, 2)(x, value=x, use_causal_mask=True)
    x = layers.LSTM(3)(x)
    model = Model(tokens, x)
    again = model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    same(model, again, np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]], "int32"))


def test_sequential_round_trip():
    model = Sequential([Input((4,)), layers.Dense(3, kernel_regularizer="l2"), layers.BatchNormalization()], name="s")
    again = model_from_json(model.to_json())
    assert again.built and again.get_config() == model.get_config()
    unbuilt = Sequential([layers.Dense(3)])
    assert not model_from_json(unbuilt.to_json()).built


def test_subclass_of_model_with_graph():
    class Noisy(Model):
        def __init__(self, inputs, outputs, temperature=1.0, **kwargs):
            super().__init__(inputs, outputs, **kwargs)
            self.temperature = temperature

    x = Input((4,))
    model = Noisy(x, layers.Dense(2)(x), temperature=2.0, name="noisy")
    config = model.get_config()
    assert config["temperature"] == 2.0 and "input_layers" in config
    again = Noisy.from_config(config)
    assert again.temperature == 2.0 and again.name == "noisy" and again.output_shape == (None, 2)
    custom = model_from_json(model.to_json(), custom_objects={"Noisy": Noisy})
    assert type(custom) is Noisy


def test_custom_layers_and_ops():
    @saving.register_keras_serializable("tests")
    class Scale(layers.Layer):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, x):
            return x * self.factor

    @saving.register_keras_serializable("tests")
    @op
    def shifted(x, by=1.0):
        return x + by

    try:
        x = Input((2,))
        model = Model(x, shifted(Scale(3.0)(x), by=0.5))
        again = model_from_json(model.to_json())
        np.testing.assert_allclose(again.predict(np.ones((1, 2), "float32"), verbose=0), [[3.5, 3.5]])
    finally:
        for name in ("tests>Scale", "tests>shifted"):
            del saving.get_custom_objects()[name]


def test_unknown_class_is_named():
    x = Input((2,))
    config = json.loads(Model(x, layers.Dense(2)(x)).to_json())
    config["config"]["layers"][1]["class_name"] = "Danse"
    with pytest.raises(ValueError, match="'Danse'.*Did you mean 'Dense'.*register_keras_serializable"):
        model_from_config(config)


def test_unknown_op_is_named():
    x = Input((2,))
    config = Model(x, ops.tanh(x)).get_config()
    config["layers"][1]["class_name"] = "Tanhh"
    with pytest.raises(ValueError, match="No op is named 'Tanhh'. Did you mean 'tanh'"):
        Model.from_config(config)


def test_calls_without_a_source_are_named():
    x = Input((2,))
    config = Model(x, layers.Dense(2, name="out")(x)).get_config()
    config["layers"][1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = "gone"
    with pytest.raises(ValueError, match="'out' wait for outputs that no layer makes"):
        Model.from_config(config)


def test_something_else_than_a_model():
    with pytest.raises(ValueError, match="not a model"):
        model_from_config(saving.serialize_keras_object(layers.Dense(2)))


def test_lambda_in_a_config_is_never_run():
    with pytest.raises(ValueError, match="never run"):
        saving.deserialize_keras_object({"class_name": "__lambda__", "config": {"value": "x"}})


def test_plain_values_round_trip():
    values = {"s": slice(1, None, 2), "e": ..., "b": b"text", "a": np.arange(3, dtype="int8"), "n": [None, 1.5, "t"]}
    again = saving.deserialize_keras_object(json.loads(json.dumps(saving.serialize_keras_object(values))))
    assert again["s"] == slice(1, None, 2) and again["e"] is ... and again["b"] == b"text" and again["n"] == values["n"]
    assert again["a"].dtype == "int8" and again["a"].tolist() == [0, 1, 2]


def test_clone_has_the_same_config():
    model = branching()
    assert clone_model(model).to_json() == model.to_json()
