"""Whole models as files: those of Keras, round trips, custom objects, what is refused."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import optax
import pytest

import lamina
from lamina import Input, Model, Sequential, layers, losses, metrics, optimizers
from lamina.saving import load_model, register_keras_serializable

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "keras_files"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
X, Y = np.array(EXPECTED["x"], "float32"), np.array(EXPECTED["y"], "float32")


@register_keras_serializable("archives")
class Scale(layers.Layer):
    def __init__(self, start=1.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape):
        self.fixed = self.add_weight(shape=(1,), initializer="ones", trainable=False, name="fixed")
        self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")

    def call(self, x):
        return x * self.factor + self.fixed


@register_keras_serializable("archives")
class Nested(Model):
    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.zoom = Scale()
        self._hidden = layers.Dense(units)
        self.blocks = [layers.Dense(units), {"a": layers.Dense(units), "b": [layers.Dense(units)]}]

    def call(self, x):
        x = self._hidden(self.zoom(x))
        return self.blocks[1]["b"][0](self.blocks[1]["a"](self.blocks[0](x)))


@register_keras_serializable("archives")
def doubled(x):
    return 2 * x


def random_weights(model, seed=0):
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.2, 1, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


def small(name="small"):
    model = Sequential([Input((4,)), layers.Dense(3, activation="tanh"), layers.Dense(2, name="out")], name=name)
    return random_weights(model)


def data(n=8):
    random = np.random.default_rng(1)
    return random.uniform(-1, 1, (n, 4)).astype("float32"), random.uniform(0, 1, (n, 2)).astype("float32")


def state_of(optimizer):
    store = {}
    optimizer.save_own_variables(store)
    return store


def same_weights(a, b):
    for p, q in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(p, q)


def test_a_file_of_keras_with_its_optimizer():
    model = load_model(GOLDEN / "small.keras")
    np.testing.assert_allclose(model.predict(X, verbose=0), EXPECTED["outputs"], atol=2e-6)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), EXPECTED["evaluate"], rtol=2e-5)
    assert isinstance(model.loss, losses.BinaryCrossentropy) and model.loss.label_smoothing == 0.1
    store = state_of(model.optimizer)
    for i, want in enumerate(EXPECTED["optimizer"]):
        np.testing.assert_allclose(store[str(i)], want, atol=1e-6)
    history = model.fit(X, Y, batch_size=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["loss"], EXPECTED["next_loss"], rtol=1e-4)


def test_a_model_in_hdf5_of_keras_with_its_optimizer():
    model = load_model(GOLDEN / "plain.h5")
    want = EXPECTED["plain"]
    np.testing.assert_allclose(model.predict(X, verbose=0), want["outputs"], atol=2e-6)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), want["evaluate"], rtol=2e-5)
    store = state_of(model.optimizer)
    for i, value in enumerate(want["optimizer"]):
        np.testing.assert_allclose(store[str(i)], value, atol=1e-6)


def test_training_goes_on_as_if_it_had_not_been_saved(tmp_path):
    x, y = data()
    model = small()
    model.compile(optimizers.Adam(0.05, amsgrad=True), "mse", metrics=["mae", metrics.RootMeanSquaredError()])
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "new" / "m.keras")
    twin = load_model(tmp_path / "new" / "m.keras")
    assert twin.compiled and twin.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    for m in (model, twin):
        m.fit(x, y, verbose=0, shuffle=False)
    same_weights(model, twin)
    assert not load_model(tmp_path / "new" / "m.keras", compile=False).compiled
    model.save(tmp_path / "m.keras", include_optimizer=False)
    assert not load_model(tmp_path / "m.keras").compiled


def test_the_archive_is_laid_out_as_keras_does(tmp_path):
    h5py = pytest.importorskip("h5py")
    x, y = data()
    model = Nested()
    model(x)
    model.compile("adam", "mse")
    model.fit(x, np.zeros((8, 3), "float32"), verbose=0)
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        config = json.loads(archive.read("config.json"))
        with archive.open("model.weights.h5") as file, h5py.File(file, "r") as root:
            names = []
            root.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            assert root["layers/scale/vars"].attrs["name"] == "scale"
    assert config["registered_name"] == "archives>Nested" and config["compile_config"]["loss"] == "mse"
    # Public attributes come first, `layers` among them; lists and dicts number their elements by class.
    assert {n for n in names if not n.startswith("optimizer")} == {
        *(f"{place}/vars/{i}" for place in ("blocks/dense", "blocks/container/dense", "layers/scale") for i in (0, 1)),
        *(f"{place}/vars/{i}" for place in ("blocks/container/container/dense", "layers/dense") for i in (0, 1)),
    }
    assert sum(n.startswith("optimizer/vars/") for n in names) == len(model.optimizer.variables)


def test_models_made_by_subclassing_and_layers_of_ones_own(tmp_path):
    x, _ = data()
    model = Nested()
    model(x)
    random_weights(model)
    model.save(tmp_path / "m.keras")
    twin = load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(twin(x), model(x))


def test_an_unregistered_class_must_be_given(tmp_path):
    class Plain(layers.Dense):
        pass

    model = Sequential([Input((4,)), Plain(2)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"Plain.*custom_objects"):
        load_model(tmp_path / "m.keras")
    same_weights(load_model(tmp_path / "m.keras", custom_objects={"Plain": Plain}), model)


def test_a_layer_that_two_models_share_stays_one(tmp_path):
    core = layers.Dense(4, name="core")
    one = Sequential([Input((4,)), core], name="one")
    entry = Input((4,))
    two = Model(entry, layers.Dense(2)(core(entry)), name="two")
    entry = Input((4,))
    model = random_weights(Model(entry, layers.Concatenate()([one(entry), two(entry)])))
    model.save(tmp_path / "m.keras")
    twin = load_model(tmp_path / "m.keras")
    assert twin.get_layer("one").get_layer("core") is twin.get_layer("two").get_layer("core")
    np.testing.assert_array_equal(twin(data()[0]), model(data()[0]))


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16", "float16"])
def test_other_dtypes(tmp_path, policy):
    model = random_weights(Sequential([Input((4,)), layers.Dense(3, dtype=policy)]))
    model.save(tmp_path / "m.keras")
    twin = load_model(tmp_path / "m.keras")
    assert [w.dtype for w in twin.weights] == [w.dtype for w in model.weights]
    same_weights(twin, model)


def test_training_fixed_in_a_call_survives_and_that_of_keras_is_not_taken_for_fixed(tmp_path):
    x = np.ones((4, 50), "float32")
    entry = Input((50,))
    for training in (None, True, False):
        call = {} if training is None else {"training": training}
        model = Model(entry, layers.Dropout(0.5)(entry, **call))
        model.save(tmp_path / "m.keras")
        dropped = [
            bool((np.asarray(load_model(tmp_path / "m.keras")(x, training=t)) == 0).any()) for t in (True, False)
        ]
        assert dropped == ([True, False] if training is None else [training, training])
    config = json.loads(model.to_json())
    call = config["config"]["layers"][1]["inbound_nodes"][0]
    assert call.pop("fixed_training") and call["kwargs"] == {"training": False}
    theirs = lamina.models.model_from_json(json.dumps(config))  # as Keras writes it for every dropout
    assert (np.asarray(theirs(x, training=True)) == 0).any()


def test_compile_arguments_by_output(tmp_path):
    x, _ = data()
    entry = Input((4,))
    model = Model(entry, [layers.Dense(2, name="a")(entry), layers.Dense(1, name="b")(entry)])
    model.compile(
        optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 5, 0.5), momentum=0.5),
        loss={"a": "mse", "b": losses.Huber(delta=0.5)},
        loss_weights={"a": 0.3, "b": 2.0},
        metrics={"a": ["mae"], "b": [metrics.MeanSquaredError(name="squared")]},
    )
    y = [np.zeros((8, 2), "float32"), np.ones((8, 1), "float32")]
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m.keras")
    twin = load_model(tmp_path / "m.keras")
    assert twin.evaluate(x, y, verbose=0, return_dict=True) == model.evaluate(x, y, verbose=0, return_dict=True)
    assert float(twin.optimizer.learning_rate) == float(model.optimizer.learning_rate)


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.Adafactor(0.1),
        lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.1)),
        lambda: optimizers.MultiOptimizer(
            optimizers.OptimizerMap(optimizers.SGD(0.1), {".*kernel": optimizers.Adam()})
        ),
        lambda: optimizers.SGD(0.1, use_ema=True, gradient_accumulation_steps=2),
    ],
)
def test_the_state_of_optimizers(tmp_path, make):
    x, y = data()
    model = small()
    model.compile(make(), "mse")
    model.fit(x, y, batch_size=3, verbose=0)
    model.save(tmp_path / "m.keras")
    twin = load_model(tmp_path / "m.keras")
    for a, b in zip(model.optimizer.variables, twin.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_an_optax_transformation_is_left_out_with_a_warning(tmp_path):
    x, y = data()
    model = small()
    model.compile(optax.adam(0.1), "mse")
    model.fit(x, y, verbose=0)
    with pytest.warns(UserWarning, match=r"compiled again.*optimizer cannot be saved"):
        model.save(tmp_path / "m.keras")
    twin = load_model(tmp_path / "m.keras")
    assert not twin.compiled
    same_weights(twin, model)


def test_functions_go_by_name_and_code_never_runs(tmp_path):
    named = Sequential([Input((4,)), layers.Lambda(doubled), layers.Dense(1)])
    named.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(load_model(tmp_path / "m.keras")(data()[0]), named(data()[0]))
    nameless = Sequential([Input((4,)), layers.Lambda(lambda x: x + 1, name="plus")])
    with pytest.raises(ValueError, match=r"Lambda 'plus': a nameless function.*register_keras_serializable"):
        nameless.save(tmp_path / "n.keras")
    assert not (tmp_path / "n.keras").exists()
    for safe_mode in (True, False):
        with pytest.raises(ValueError, match="bytecode, which lamina never runs"):
            load_model(GOLDEN / "lambda.keras", safe_mode=safe_mode)


def test_a_loss_that_is_unknown_at_loading(tmp_path):
    def strange(y_true, y_pred):
        return (y_true - y_pred) ** 2

    model = small()
    model.compile("sgd", strange)
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"strange.*compile=False"):
        load_model(tmp_path / "m.keras")
    assert load_model(tmp_path / "m.keras", custom_objects={"strange": strange}).compiled
    same_weights(load_model(tmp_path / "m.keras", compile=False), model)


def test_layers_may_save_in_their_own_way(tmp_path):
    @register_keras_serializable("archives")
    class Words(layers.Layer):
        words = ()

        def call(self, x):
            return x

        def save_own_variables(self, store):
            store["count"] = np.array(len(self.words))

        def load_own_variables(self, store):
            self.count = int(store["count"])

        def save_assets(self, folder):
            Path(folder, "words.txt").write_text("\n".join(self.words))

        def load_assets(self, folder):
            self.words = tuple(Path(folder, "words.txt").read_text().split("\n"))

    model = Sequential([Input((4,)), Words()])
    model.layers[0].words = ("ja", "nein")
    model.save(tmp_path / "m.keras")
    assert "assets/layers/words/words.txt" in zipfile.ZipFile(tmp_path / "m.keras").namelist()
    words = load_model(tmp_path / "m.keras").layers[0]
    assert words.words == ("ja", "nein") and words.count == 2


def test_paths_and_existing_files(tmp_path):
    model = small()
    for path, cure in (("m", "end it with '.keras'"), ("m.npz", "end it"), ("m.weights.h5", "save_weights")):
        with pytest.raises(ValueError, match=cure):
            model.save(tmp_path / path)
    model.save(tmp_path / "m.keras")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(tmp_path / "m.keras", overwrite=False)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none.keras")
    with pytest.raises(ValueError, match="is a folder"):
        load_model(tmp_path)
    model.save_weights(tmp_path / "prefix")
    with pytest.raises(ValueError, match="load_weights"):
        load_model(tmp_path / "prefix")
    model.save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ValueError, match="holds weights, but no model"):
        load_model(tmp_path / "w.weights.h5")


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    model = small()
    model.save(tmp_path / "m.keras")
    before = (tmp_path / "m.keras").read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        small("other").save(tmp_path / "m.keras")
    assert (tmp_path / "m.keras").read_bytes() == before
    assert os.listdir(tmp_path) == ["m.keras"]
