"""Files that TensorFlow and Keras wrote: read, run, and turned into graphs."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from lamina import load_frozen
from lamina.wire.graph import SavedModel

FOLDER = Path(__file__).parents[1] / "golden" / "tensorflow_models"
SAVED_MODELS = ("control", "tables", "recurrent", "images", "attention")


def unpacked(name, tmp_path):
    with zipfile.ZipFile(FOLDER / f"{name}.zip") as archive:
        archive.extractall(tmp_path)
    with np.load(tmp_path / "values.npz") as values:
        return tuple({k[2:]: values[k] for k in values.files if k.startswith(kind)} for kind in ("i_", "o_"))


def as_read(array):
    return np.asarray([s.encode() for s in array.tolist()], object) if array.dtype.kind == "U" else array


@pytest.mark.parametrize("name", SAVED_MODELS)
def test_saved_model_answers_as_tensorflow_does(name, tmp_path):
    inputs, outputs = unpacked(name, tmp_path)
    fn = load_frozen(tmp_path).signatures["serving_default"]
    got = fn(**inputs)
    assert sorted(got) == sorted(outputs)
    for key, want in outputs.items():
        want = as_read(want)
        assert got[key].dtype == want.dtype and got[key].shape == want.shape
        if want.dtype == object:
            assert got[key].tolist() == want.tolist()
        else:
            np.testing.assert_allclose(got[key], want, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", [n for n in SAVED_MODELS if n != "tables"])
def test_saved_model_becomes_a_graph_for_every_batch(name, tmp_path):
    inputs, outputs = unpacked(name, tmp_path)
    graph = load_frozen(tmp_path).to_graph().verify()
    assert graph.inputs[0].shape[0] == "batch" and "Custom" not in {i.op for i in graph.instrs}
    for key, got in zip(graph.output_names, graph.run(feeds=inputs), strict=True):
        np.testing.assert_allclose(got, outputs[key], rtol=1e-5, atol=2e-6)


def test_tables_and_strings_are_no_graph(tmp_path):
    unpacked("tables", tmp_path)
    fn = load_frozen(tmp_path).signatures["serving_default"]
    assert fn.uses_host
    with pytest.raises(ValueError, match="strings or tables"):
        fn.to_graph()


def test_frozen_graph_of_the_first_generation(tmp_path):
    inputs, outputs = unpacked("frozen", tmp_path)
    fn = load_frozen(tmp_path / "graph.pb", outputs=["out"])
    np.testing.assert_allclose(fn(inputs["x"]), outputs["out"], rtol=1e-5, atol=1e-6)


def test_wrong_calls_are_explained(tmp_path):
    inputs, _ = unpacked("control", tmp_path)
    loaded = load_frozen(tmp_path)
    fn = loaded.signatures["serving_default"]
    with pytest.raises(TypeError, match=r"missing inputs: \['x'\], unknown: \['X'\]"):
        fn(X=inputs["x"])
    with pytest.raises(ValueError, match=r"input 'x' must have shape \(None, 3\)"):
        fn(x=np.zeros((2, 4), "float32"))
    with pytest.raises(TypeError, match="input 'x' must be float32"):
        fn(x=np.zeros((2, 3), "complex64"))
    with pytest.raises(TypeError, match="takes 1 inputs, got 2"):
        loaded(inputs["x"], 1)


def test_a_model_reads_no_files_outside_of_its_folder(tmp_path):
    unpacked("tables", tmp_path)
    saved = SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    (asset,) = saved.meta_graphs[0].asset_file_def
    (tmp_path / "secret.txt").write_text("x\n")
    asset.filename = "../../secret.txt"
    inner = tmp_path / "inner" / "model"
    (inner / "variables").mkdir(parents=True)
    for file in (tmp_path / "variables").iterdir():
        (inner / "variables" / file.name).write_bytes(file.read_bytes())
    (inner / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(ValueError, match="outside of the model's folder"):
        load_frozen(inner)
