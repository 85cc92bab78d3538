"""Whole models in Keras' old HDF5 format, as lamina writes them."""

import json

import numpy as np
import pytest

import lamina
from lamina import Input, Model, Sequential, layers, losses, metrics, optimizers
from lamina.callbacks import ModelCheckpoint
from lamina.saving import load_model, register_keras_serializable

h5py = pytest.importorskip("h5py")
X = np.random.default_rng(0).uniform(-1, 1, (8, 5)).astype("float32")


def put_random(model):
    """Weights that no initializer gives: biases, moving averages and all."""
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.2, 1.0, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


def sequential():
    return Sequential(
        [Input((5,)), layers.Dense(4, activation="tanh", name="hidden"), layers.BatchNormalization(name="norm")],
        name="plain",
    )


def branches():
    """Two inputs and outputs, a layer called twice, an op, a model within, of which a part is frozen."""
    left, right = Input((5,), name="left"), Input((5,), name="right")
    shared = layers.Dense(3, name="shared")
    inner = Sequential([Input((3,)), layers.Dense(2), layers.BatchNormalization(), layers.Dense(2)], name="inner")
    inner.layers[0].trainable = False
    a, b = inner(shared(left)), inner(shared(right))
    return Model([left, right], {"sum": layers.Add(name="sum")([a, b]), "scaled": a * 2.0 + 1.0}, name="branches")


def sequences():
    tokens = Input((6,), dtype="int32", name="tokens")
    h = layers.Embedding(11, 4)(tokens)
    h = layers.Bidirectional(layers.GRU(2, return_sequences=True))(h)
    h = layers.MultiHeadAttention(2, 2)(h, h)
    h = layers.RNN(layers.LSTMCell(3))(h)
    return Model(tokens, layers.Dense(2, name="out")(h), name="sequences")


def shared_by_models():
    core = layers.Dense(3, name="core")
    x = Input((5,))
    one = Sequential([Input((5,)), core], name="one")
    entry = Input((5,))
    two = Model(entry, layers.Dense(2)(core(entry)), name="two")
    return Model(x, layers.Concatenate()([one(x), two(x)]), name="twice")


def half():
    return Sequential([Input((5,)), layers.Dense(4, dtype="bfloat16"), layers.Dense(2, dtype="mixed_bfloat16")])


CASES = {
    "sequential": (sequential, X),
    "branches": (branches, [X, X[::-1].copy()]),
    "sequences": (sequences, np.arange(48).reshape(8, 6).astype("int32") % 11),
    "shared": (shared_by_models, X),
    "bfloat16": (half, X),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ending", ["h5", "hdf5"])
def test_round_trip(tmp_path, case, ending):
    make, x = CASES[case]
    model = put_random(make())
    model.save(tmp_path / f"m.{ending}")
    twin = load_model(tmp_path / f"m.{ending}")
    assert type(twin) is type(model) and twin.name == model.name and not twin.compiled
    assert [layer.name for layer in twin.layers] == [layer.name for layer in model.layers]
    for got, want in zip(twin.get_weights(), model.get_weights(), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    got, want = twin.predict(x, verbose=0), model.predict(x, verbose=0)
    for key in want if isinstance(want, dict) else [slice(None)]:
        np.testing.assert_array_equal(got[key], want[key])
    assert len(load_model(tmp_path / f"m.{ending}").trainable_weights) == len(model.trainable_weights)


def test_what_the_file_holds(tmp_path):
    model = put_random(sequential())
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, np.ones((8, 4), "float32"), verbose=0)
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as root:
        assert root.attrs["keras_version"].startswith("3.") and root.attrs["backend"] == "jax"
        config = json.loads(root.attrs["model_config"])
        assert config["class_name"] == "Sequential"
        assert [c["class_name"] for c in config["config"]["layers"]] == ["InputLayer", "Dense", "BatchNormalization"]
        training = json.loads(root.attrs["training_config"])
        assert (
            training["loss"] == "mean_squared_error"
            and training["metrics"] == ["mae"]
            and training["loss_weights"] is None
        )
        assert training["optimizer_config"]["class_name"] == "Adam"
        group = root["model_weights"]
        assert group.attrs["layer_names"].tolist() == [b"hidden", b"norm"]
        assert group.attrs["keras_version"] == root.attrs["keras_version"] and group.attrs["backend"] == "jax"
        assert group["top_level_model_weights"].attrs["weight_names"].size == 0
        names = [n.decode() for n in group["norm"].attrs["weight_names"]]
        assert [n.rpartition("/")[2] for n in names] == ["gamma", "beta", "moving_mean", "moving_variance"]
        np.testing.assert_array_equal(group["norm"][names[2]][()], np.asarray(model.layers[1].moving_mean))
        slots = root["optimizer_weights"]
        names = [n.decode() for n in slots.attrs["weight_names"]]
        assert len(names) == 2 + 2 * 4 and names[0].endswith("iteration") and slots[names[0]][()] == 1
    model.save(tmp_path / "bare.h5", include_optimizer=False)
    with h5py.File(tmp_path / "bare.h5") as root:
        assert "training_config" not in root.attrs and set(root) == {"model_weights"}
    assert not load_model(tmp_path / "bare.h5").compiled


OPTIMIZERS = {
    "adam": lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(0.05, 10, 0.5), amsgrad=True),
    "sgd": lambda: optimizers.SGD(0.05, momentum=0.9, use_ema=True),
    "adafactor": lambda: optimizers.Adafactor(0.05),
    "loss_scale": lambda: optimizers.LossScaleOptimizer(optimizers.RMSprop(0.01)),
    "multi": lambda: optimizers.MultiOptimizer(
        optimizers.OptimizerMap(optimizers.SGD(0.1), {".*kernel": optimizers.Adam(0.1)})
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_it_would_have(tmp_path, name):
    model, y = branches(), {"sum": X[:, :2], "scaled": X[:, 1:3]}
    model.compile(
        OPTIMIZERS[name](),
        loss={"sum": "mean_squared_error", "scaled": losses.Huber(0.5)},
        loss_weights={"sum": 0.5, "scaled": 2.0},
        metrics={"sum": ["mae", metrics.RootMeanSquaredError()]},
    )
    arguments = {"batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit([X, X[::-1]], y, epochs=2, **arguments)
    model.save(tmp_path / "m.h5")
    twin = load_model(tmp_path / "m.h5")
    assert int(twin.optimizer.iterations) == 4
    assert twin.get_compile_config() == model.get_compile_config()
    history = [m.fit([X, X[::-1]], y, epochs=2, **arguments).history for m in (model, twin)]
    assert history[0] == history[1]
    for got, want in zip(twin.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, want)
    assert not load_model(tmp_path / "m.h5", compile=False).compiled


def test_compiled_but_not_trained(tmp_path):
    model = sequential()
    model.compile("rmsprop", "mse")
    model.save(tmp_path / "m.h5")
    twin = load_model(tmp_path / "m.h5")
    assert type(twin.optimizer).__name__ == "RMSprop" and int(twin.optimizer.iterations) == 0


@register_keras_serializable("legacy_writing")
class Shift(layers.Layer):
    def __init__(self, by=1.0, **kwargs):
        super().__init__(**kwargs)
        self.by = by

    def build(self, shape):
        self.amount = self.add_weight(shape=(shape[-1],), initializer="ones", name="amount")

    def call(self, x):
        return x + self.by * self.amount


@register_keras_serializable("legacy_writing")
def cubic(x):
    return x**3


@register_keras_serializable("legacy_writing")
def third_power(y_true, y_pred):
    return lamina.ops.mean(lamina.ops.abs(y_true - y_pred) ** 3, axis=-1)


@register_keras_serializable("legacy_writing")
class SlowSGD(optimizers.SGD):
    pass


@register_keras_serializable("legacy_writing")
class Named(Model):
    """A functional model of a class of its own, with weights of its own."""

    def __init__(self, inputs, outputs, **kwargs):
        super().__init__(inputs, outputs, **kwargs)
        self.bonus = self.add_weight(shape=(2,), initializer="zeros", name="bonus")


def test_classes_and_functions_of_the_user(tmp_path):
    x = Input((5,))
    model = put_random(Named(x, layers.Dense(2, activation=cubic)(Shift(0.5)(x))))
    model.compile(SlowSGD(0.01, momentum=0.9), third_power, metrics=[third_power])
    model.fit(X, X[:, :2], verbose=0)
    model.save(tmp_path / "m.h5")
    twin = load_model(tmp_path / "m.h5")
    assert type(twin) is Named and type(twin.optimizer) is SlowSGD and twin.layers[1].by == 0.5
    np.testing.assert_array_equal(twin.bonus, model.bonus)
    np.testing.assert_array_equal(twin.predict(X, verbose=0), model.predict(X, verbose=0))
    assert twin.evaluate(X, X[:, :2], verbose=0) == model.evaluate(X, X[:, :2], verbose=0)


def test_more_names_than_an_attribute_holds(tmp_path):
    stack = [layers.Dense(1, use_bias=False, name=f"{i:03d}" + 120 * "n") for i in range(600)]
    model = Sequential([Input((1,)), *stack])
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as root:
        attributes = root["model_weights"].attrs
        assert "layer_names" not in attributes
        names = [n.decode() for key in ("layer_names0", "layer_names1") for n in attributes[key]]
        assert names == [layer.name for layer in stack] and "layer_names2" not in attributes
    for got, want in zip(load_model(tmp_path / "m.h5").get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, want)


@register_keras_serializable("legacy_writing")
class Crossed(layers.Layer):
    """A weight whose path is the beginning of another's."""

    def build(self, shape):
        self.part = layers.Dense(2, name="part")
        self.part.build(shape)
        self.own = self.add_weight(shape=(2,), name="part")

    def call(self, x):
        return self.part(x) + self.own


def test_a_weight_named_as_a_layer(tmp_path):
    model = put_random(Sequential([Input((5,)), Crossed()]))
    model.save(tmp_path / "m.h5")
    for got, want in zip(load_model(tmp_path / "m.h5").get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, want)


class Subclassed(Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


def test_what_the_format_cannot_hold(tmp_path):
    model = Subclassed()
    model(X)
    words = layers.TextVectorization(name="words")
    words.adapt(["a b", "b c"])
    text = Sequential([Input((1,), dtype="string"), words])
    nameless = Sequential([Input((5,)), layers.Lambda(lambda x: x + 1)])
    for refused, reason in (
        (model, "'.*m.h5' can hold a model of inputs and outputs.*End the path with '.keras'"),
        (Sequential([layers.Dense(2)]), "a Sequential that has an Input or was called"),
        (text, "the file 'layers/text_vectorization/.*vocabulary.txt'.*End the path with '.keras'"),
        (nameless, "nameless function|lambda cannot be saved"),
    ):
        with pytest.raises(ValueError, match=reason):
            refused.save(tmp_path / "m.h5")
        assert list(tmp_path.iterdir()) == []


def test_existing_files_and_failures(tmp_path, monkeypatch):
    path, model = tmp_path / "new" / "m.h5", put_random(sequential())
    model.save(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(path, overwrite=False)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(h5py.Group, "create_dataset", full)
        with pytest.raises(OSError, match="No space left"):
            model.save(path)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["m.h5"]
    model.set_weights([0 * w for w in model.get_weights()])
    model.save(path)
    assert not any(np.any(w) for w in load_model(path).get_weights())


def test_weights_of_the_file_in_another_model(tmp_path):
    model = put_random(branches())
    model.save(tmp_path / "m.h5")
    twin = branches()
    assert twin.load_weights(tmp_path / "m.h5").complete
    np.testing.assert_array_equal(twin.get_weights()[0], model.get_weights()[0])


def test_model_checkpoint(tmp_path):
    model = sequential()
    model.compile("adam", "mse")
    saving = ModelCheckpoint(tmp_path / "{epoch:02d}.h5")
    model.fit(X, np.ones((8, 4), "float32"), epochs=2, verbose=0, callbacks=[saving])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["01.h5", "02.h5"]
    twin = load_model(tmp_path / "02.h5")
    assert int(twin.optimizer.iterations) == 2
    np.testing.assert_array_equal(twin.predict(X, verbose=0), model.predict(X, verbose=0))
