"""Weights alone, in each format; loading parts of them."""

import builtins
import json
import os
import re

import numpy as np
import pytest

from lamina import Input, Sequential, layers, optimizers
from lamina.core.errors import ShapeError
from lamina.saving import load_model
from lamina.wire.errors import FileFormatError

ENDINGS = ["w.weights.h5", "w.safetensors", "w"]


def make(units=3, name="out", body="body"):
    return Sequential(
        [Input((4,)), layers.Dense(5, name=body), layers.BatchNormalization(), layers.Dense(units, name=name)]
    )


def filled(model, seed=0):
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.2, 1, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.get_weights(), b.get_weights(), strict=True))


@pytest.mark.parametrize("ending", ENDINGS)
def test_round_trip(tmp_path, ending):
    model, twin = filled(make()), make()
    model.save_weights(tmp_path / "new" / ending)
    report = twin.load_weights(tmp_path / "new" / ending)
    assert same(model, twin) and report.complete and len(report.loaded) == 8
    with pytest.raises(FileExistsError):
        model.save_weights(tmp_path / "new" / ending, overwrite=False)


@pytest.mark.parametrize("ending", ENDINGS[1:])  # .weights.h5 goes by class and order, as in Keras
def test_a_strict_error_lists_all_and_changes_nothing(tmp_path, ending):
    filled(make()).save_weights(tmp_path / ending)
    other = filled(make(name="other", body="bodies"), 1)
    before = other.get_weights()
    with pytest.raises(ValueError) as error:
        other.load_weights(tmp_path / ending)
    text = str(error.value)
    for name in ("other/kernel", "other/bias", "bodies/kernel", "out/kernel", "out/bias", "body/bias"):
        assert f"'{name}'" in text
    wider = make(units=7)
    with pytest.raises(ShapeError, match=r"'out/kernel' has shape \(5, 7\), in the file it has \(5, 3\).*'out/bias'"):
        wider.load_weights(tmp_path / ending)
    assert all(np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True))


@pytest.mark.parametrize("ending", ENDINGS)
def test_parts(tmp_path, ending):
    model = filled(make())
    model.save_weights(tmp_path / ending)
    wider = make(units=7)
    report = wider.load_weights(tmp_path / ending, skip_mismatch=True)
    assert report.mismatched == {"out/kernel": ((5, 7), (5, 3)), "out/bias": ((7,), (3,))}
    assert len(report.loaded) == 6 and np.array_equal(wider.get_weights()[0], model.get_weights()[0])
    warm = make(units=7)
    report = warm.load_weights(tmp_path / ending, pattern=["^body/", "gamma$"])
    assert set(report.loaded) == {"body/kernel", "body/bias", "batch_normalization/gamma"}
    with pytest.raises(ValueError, match="found in none"):
        warm.load_weights(tmp_path / ending, pattern="nothing")
    longer = Sequential([*make().layers, layers.Dense(2, name="last")])
    longer.build((None, 4))
    with pytest.raises(ValueError, match="Missing in the file: 'last/kernel' and 'last/bias'"):
        longer.load_weights(tmp_path / ending)
    report = longer.load_weights(tmp_path / ending, partial=True)
    assert report.missing == ["last/kernel", "last/bias"] and len(report.loaded) == 8
    with pytest.raises(ShapeError):
        warm.load_weights(tmp_path / ending, partial=True)


def test_name_maps(tmp_path):
    model = filled(make())
    model.save_weights(tmp_path / "w.safetensors")
    other = make(name="head", body="trunk")
    report = other.load_weights(
        tmp_path / "w.safetensors", name_map=lambda n: re.sub("^out/", "head/", re.sub("^body/", "trunk/", n))
    )
    assert same(model, other) and report.loaded["head/bias"] == "out/bias"
    names = {"out/kernel": "head/kernel", "out/bias": "head/bias", "body/kernel": "trunk/kernel"}
    with pytest.raises(ValueError, match="Missing in the file: 'trunk/bias'; unknown to the model: 'body/bias'"):
        other.load_weights(tmp_path / "w.safetensors", name_map=names)
    assert other.load_weights(tmp_path / "w.safetensors", name_map=names, partial=True).missing == ["trunk/bias"]
    with pytest.raises(ValueError, match="does not hold"):
        other.load_weights(tmp_path / "w.safetensors", name_map={"outt": "head/kernel"})
    with pytest.raises(ValueError, match="leads to 'heat/kernel', which the model does not have"):
        other.load_weights(tmp_path / "w.safetensors", name_map={"out/kernel": "heat/kernel"})
    with pytest.raises(ValueError, match="leads both"):
        other.load_weights(tmp_path / "w.safetensors", name_map=lambda n: "head/kernel")


def test_name_maps_of_places(tmp_path):
    model = filled(make())
    model.save_weights(tmp_path / "w.weights.h5")
    swapped = Sequential(
        [Input((4,)), layers.Dense(5, name="body"), layers.Dense(5, name="more"), layers.Dense(3, name="out")]
    )
    names = {"layers/dense_1/vars/0": "out/kernel", "layers/dense_1/vars/1": "out/bias"}
    report = swapped.load_weights(tmp_path / "w.weights.h5", name_map=names, partial=True)
    assert report.loaded["out/kernel"] == "layers/dense_1/vars/0" and report.missing == ["more/kernel", "more/bias"]
    np.testing.assert_array_equal(swapped.layers[2].kernel, model.layers[2].kernel)


def test_weights_of_whole_models(tmp_path):
    model, twin = filled(make()), make()
    model.save(tmp_path / "m.keras")
    assert twin.load_weights(tmp_path / "m.keras").complete and same(model, twin)


def test_weights_in_hdf5_carry_the_optimizer(tmp_path):
    x, y = np.ones((4, 4), "float32"), np.ones((4, 3), "float32")
    model, twin, fresh = make(), make(), make()
    for m in (model, twin, fresh):
        m.compile(optimizers.Adam(0.1), "mse")
    model.fit(x, y, epochs=3, verbose=0)
    twin.fit(x, y, verbose=0)
    model.save_weights(tmp_path / "w.weights.h5")
    for m in (twin, fresh):
        m.load_weights(tmp_path / "w.weights.h5")
    assert int(twin.optimizer.iterations) == 3
    assert not fresh.optimizer.built  # a new run starts with a new optimizer


def test_safetensors_by_the_reference_implementation(tmp_path):
    reference = pytest.importorskip("safetensors.numpy")
    model = filled(make())
    model.save_weights(tmp_path / "w.safetensors")
    theirs = reference.load_file(tmp_path / "w.safetensors")
    assert set(theirs) == {v.path for v in model.weights}
    for v in model.weights:
        np.testing.assert_array_equal(theirs[v.path], v.numpy())
    twin = make()
    reference.save_file({k: np.ascontiguousarray(v[...]) for k, v in theirs.items()}, tmp_path / "t.safetensors")
    assert twin.load_weights(tmp_path / "t.safetensors").complete and same(model, twin)


def test_wrong_endings(tmp_path):
    for ending in ("w.h5", "w.npz", "w.keras"):
        with pytest.raises(ValueError, match=r"w\.safetensors"):
            make().save_weights(tmp_path / ending)
    with pytest.raises(TypeError, match="must be text"):
        make().save_weights(3)


def test_without_h5py(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "h5py":
            raise ImportError("No module named 'h5py'")
        return real(name, *args, **kwargs)

    model = make()
    model.save(tmp_path / "m.keras")
    monkeypatch.setattr(builtins, "__import__", missing)
    for act in (
        lambda: model.save(tmp_path / "n.keras"),
        lambda: load_model(tmp_path / "m.keras"),
        lambda: model.save_weights(tmp_path / "w.weights.h5"),
    ):
        with pytest.raises(ImportError, match=r"pip install 'lamina\[h5\]'"):
            act()
    model.save_weights(tmp_path / "w.safetensors")


def test_shards(tmp_path):
    model, twin = filled(make()), make()
    sizes = [w.nbytes for w in model.get_weights()]
    limit = (max(sizes) + 8) / 2**30
    model.save_weights(tmp_path / "w.weights.json", max_shard_size=limit)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names[:3] == ["w.weights.json", "w_00000.weights.h5", "w_00001.weights.h5"]
    index = json.loads((tmp_path / "w.weights.json").read_text())
    assert index["metadata"]["total_size"] == sum(sizes)
    # a file may end in the middle of a layer: the names are those of Keras 3.15, which reads these files too
    assert index["weight_map"]["/layers/dense/vars"] == ["w_00000.weights.h5", "w_00001.weights.h5"]
    report = twin.load_weights(tmp_path / "w.weights.json")
    assert same(model, twin) and report.complete
    assert make(units=7).load_weights(tmp_path / "w.weights.json", skip_mismatch=True).mismatched


def test_shards_with_wrong_arguments(tmp_path):
    model = filled(make())
    with pytest.raises(ValueError, match="has 80 bytes, more than max_shard_size, which is 11 bytes"):
        model.save_weights(tmp_path / "w.weights.json", max_shard_size=11 / 2**30)
    with pytest.raises(ValueError, match="max_shard_size, the most GiB in a file, goes with"):
        model.save_weights(tmp_path / "w.weights.json")
    with pytest.raises(ValueError, match="max_shard_size"):
        model.save_weights(tmp_path / "w.safetensors", max_shard_size=1)
    assert not list(tmp_path.iterdir())
    with pytest.warns(UserWarning, match="w.weights.json"):  # as in Keras
        model.save_weights(tmp_path / "w.weights.h5", max_shard_size=1)
    with pytest.raises(FileExistsError):
        model.save_weights(tmp_path / "w.weights.h5", overwrite=False, max_shard_size=1)


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "no table 'weight_map'"),
        ('{"weight_map": {"/layers/dense/vars": "../other.weights.h5"}}', "no file beside"),
        ('{"weight_map": {"/layers/dense/vars": ["/etc/passwd"]}}', "no file beside"),
        ('{"weight_map": {"/layers/dense/vars": 3}}', "no file beside"),
        ('{"weight_map": {"/layers/dense/vars": "gone.weights.h5"}}', "not beside it"),
        ('{"weight_map": {"/layers/dense/vars": ["a_00000.weights.h5", "b_00000.weights.h5"]}}', "in two of its files"),
    ],
)
def test_a_hostile_index_of_shards(tmp_path, index, problem):
    model = filled(make())
    for name in "ab":
        model.save_weights(tmp_path / f"{name}.weights.json", max_shard_size=1)
    path = tmp_path / "w.weights.json"
    path.write_text(index)
    with pytest.raises(FileFormatError, match=problem):
        model.load_weights(path)


def test_shards_written_anew_leave_the_old_ones_until_the_index_is_there(tmp_path, monkeypatch):
    path = tmp_path / "w.weights.json"
    model = filled(make())
    model.save_weights(path, max_shard_size=1)
    before = [w.numpy() for w in model.weights]
    (tmp_path / "w_extra.weights.h5").write_bytes(b"of someone else")
    for w in model.weights:
        w.assign(w.numpy() + 1)
    replace = os.replace

    def cut_off(source, target):
        if str(target).endswith(".weights.json"):
            raise OSError("cut off before the index")
        replace(source, target)

    monkeypatch.setattr("os.replace", cut_off)
    with pytest.raises(OSError, match="cut off"):
        model.save_weights(path, max_shard_size=1)
    monkeypatch.undo()
    model.load_weights(path)
    for w, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(w.numpy(), value)
    model.save_weights(path, max_shard_size=1)
    assert sorted(os.listdir(tmp_path)) == ["w.weights.json", "w_00001.weights.h5", "w_extra.weights.h5"]
