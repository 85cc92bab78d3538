"""Exported estimators are fed records and text, and give what `predict` gives."""

from __future__ import annotations

import os

import numpy as np
import pytest
from served_models import CASES, record

import lamina.estimators as est
from lamina.datasets import Dataset, TensorSpec, TFRecordDataset
from lamina.estimators import feature_column as fc
from lamina.export.load import load_saved_model
from lamina.wire.event import Event
from lamina.wire.graph import SavedModel
from lamina.wire.tensor import DTYPES


def close(found, expected):
    expected = np.asarray(expected)
    if expected.dtype == object:
        assert found.tolist() == expected.tolist()
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


LONG = ("trees", "wide_classifier")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in CASES])
def test_an_export_gives_what_predict_gives(name, tmp_path):
    case = CASES[name](tmp_path)
    served = load_saved_model(case.path)
    if name == "custom":
        assert sorted(served.signatures) == ["serving_default", "sign"]
        (records,) = case.fed.values()
        close(served.signatures["serving_default"](inputs=records)["outputs"], case.expected["y"])
        signs = served.signatures["sign"](examples=records)["sign"]
        assert signs.tolist() == [b"+" if y > 0 else b"-" for y in case.expected["y"][:, 0]]
        return
    found = served.signatures["predict"](**case.fed)
    expected = {"/".join(k) if isinstance(k, tuple) else k: v for k, v in case.expected.items()}
    assert set(found) == set(expected)
    for key, value in expected.items():
        close(found[key], value)
        assert found[key].dtype == np.asarray(value).dtype


def signatures_of(path):
    """(method, inputs, outputs) of each signature, an input or output as (dtype number, sizes)."""
    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        (meta,) = SavedModel.FromString(file.read()).meta_graphs

    def side(entries):
        return {k: (DTYPES[i.dtype].name, [d.size for d in i.tensor_shape.dim]) for k, i in entries.items()}

    return {
        name: (s.method_name.rpartition("/")[2], side(s.inputs), side(s.outputs))
        for name, s in meta.signature_def.items()
    }


RECORDS = ("object", [-1])
CLASSES = {"classes": ("object", [-1, 2]), "scores": ("float32", [-1, 2])}


def test_the_signatures_of_a_classifier_fed_with_records(tmp_path):
    # recorded from tf.estimator 2.15
    expected = {
        "classification": ("classify", {"inputs": RECORDS}, CLASSES),
        "serving_default": ("classify", {"inputs": RECORDS}, CLASSES),
        "regression": ("regress", {"inputs": RECORDS}, {"outputs": ("float32", [-1, 1])}),
        "predict": (
            "predict",
            {"examples": RECORDS},
            {
                "all_class_ids": ("int32", [-1, 2]),
                "all_classes": ("object", [-1, 2]),
                "class_ids": ("int64", [-1, 1]),
                "classes": ("object", [-1, 1]),
                "logistic": ("float32", [-1, 1]),
                "logits": ("float32", [-1, 1]),
                "probabilities": ("float32", [-1, 2]),
            },
        ),
    }
    assert signatures_of(CASES["wide_classifier"](tmp_path).path) == expected


def test_the_signatures_of_two_heads(tmp_path):
    case = CASES["two_heads"](tmp_path)
    found = signatures_of(case.path)
    names = ["marks", "marks/classification", "marks/predict", "predict", "serving_default"]
    assert sorted(found) == sorted([*names, "size", "size/predict", "size/regression"])
    assert found["serving_default"] == found["size"] == found["size/regression"]
    assert found["marks"][0] == "classify"
    served = load_saved_model(case.path)
    scores = served.signatures["marks"](inputs=case.fed["examples"])
    close(scores["scores"], case.expected[("marks", "probabilities")])
    assert scores["classes"].tolist() == [[b"x", b"y"]] * 4


def test_a_model_fed_with_features_has_no_signatures_of_records(tmp_path):
    found = signatures_of(CASES["raw_classifier"](tmp_path).path)
    assert sorted(found) == ["predict", "serving_default"]
    assert found["predict"] == found["serving_default"]
    assert found["predict"][1] == {
        "age": ("float32", [-1]), "city": ("object", [-1]), "color": ("object", [-1]), "zip": ("int64", [-1])
    }  # fmt: skip


def test_the_numbers_of_an_export_go_to_other_formats(tmp_path):
    columns, x = [fc.numeric_column("x", 2)], np.array([[1.0, 2.0], [3.0, -1.0]], "float32")
    model = est.LinearClassifier(columns, str(tmp_path / "model"))
    model.train(lambda: Dataset.from_tensors(({"x": x}, np.array([0, 1]))))
    path = model.export_saved_model(str(tmp_path / "out"), est.export.build_raw_serving_input_receiver_fn({"x": x}))
    served = load_saved_model(path).signatures["predict"]
    graph = served.to_graph()
    assert graph.output_names == ["all_class_ids", "class_ids", "logistic", "logits", "probabilities"]
    close(graph(x)["probabilities"], served(x=x)["probabilities"])


def test_alternative_ways_to_feed_a_model(tmp_path):
    columns = [fc.numeric_column("x")]
    model = est.LinearRegressor(columns, str(tmp_path / "model"))
    model.train(lambda: Dataset.from_tensors(({"x": np.ones(2)}, np.ones(2))))
    parsing = est.export.build_parsing_serving_input_receiver_fn(fc.make_parse_example_spec(columns))()
    raw = {"x": TensorSpec((None, 1), "float32")}
    path = model.export_saved_model(
        str(tmp_path / "out"), lambda: parsing._replace(receiver_tensors_alternatives={"raw": raw})
    )
    served = load_saved_model(path)
    assert {"predict", "serving_default", "raw:predict", "raw:serving_default"} <= set(served.signatures)
    from_record = served.signatures["predict"](examples=np.array([record(x=[3.0])], object))
    close(served.signatures["raw:predict"](x=np.array([[3.0]], "float32"))["predictions"], from_record["predictions"])


def test_a_record_without_a_required_feature_is_an_error(tmp_path):
    served = load_saved_model(CASES["two_heads"](tmp_path).path)
    with pytest.raises(ValueError, match="feature 'age' is required, and a record lacks it"):
        served.signatures["predict"](examples=np.array([record(other=[1.0])], object))
    with pytest.raises(ValueError, match="feature 'age' of a record is a int64_list, expected a float_list"):
        served.signatures["predict"](examples=np.array([record(age=[1])], object))


def trained(tmp_path, columns, features):
    model = est.LinearRegressor(columns, str(tmp_path / "model"))
    return model.train(lambda: Dataset.from_tensors((features, np.ones(len(next(iter(features.values())))))))


def test_text_that_no_column_turns_into_numbers(tmp_path):
    def model_fn(features, labels, mode):
        if mode == est.ModeKeys.PREDICT:
            return est.EstimatorSpec(mode, {"y": features["x"] * est.get_variable("w", ()).value})
        loss = ((features["x"] * est.get_variable("w", ()).value - labels) ** 2).mean()
        return est.EstimatorSpec(mode, loss=loss, optimizer=est.optimizers.SGD(0.1))

    model = est.Estimator(model_fn, str(tmp_path / "model"))
    model.train(lambda: Dataset.from_tensors(({"x": np.ones(2)}, np.ones(2))))
    receiver = est.export.build_raw_serving_input_receiver_fn({"x": np.ones(2), "word": np.array(["a"])})
    with pytest.raises(ValueError, match="feature 'word' is text, which cannot enter a compiled step"):
        model.export_saved_model(str(tmp_path / "out"), receiver)


def test_features_that_do_not_fit_their_columns(tmp_path):
    column = fc.categorical_column_with_hash_bucket("word", 5)
    model = trained(tmp_path, [column], {"word": np.array(["a", "b"])})
    raw = est.export.build_raw_serving_input_receiver_fn
    with pytest.raises(ValueError, match="'word': feature 'word' must hold strings, got a serving input"):
        model.export_saved_model(str(tmp_path / "out"), raw({"word": np.array([1])}))
    with pytest.raises(ValueError, match="feature 'word' is not among the features, which are 'words'"):
        model.export_saved_model(str(tmp_path / "out"), raw({"words": np.array(["a"])}))
    spec = TensorSpec((None,), "string")
    with pytest.raises(ValueError, match="Give feature_spec, by which records are parsed"):
        model.export_saved_model(
            str(tmp_path / "out"), lambda: est.export.ServingInputReceiver({"word": spec}, {"examples": spec})
        )
    assert not (tmp_path / "out").exists()


def test_a_recurrent_network_needs_a_fixed_number_of_steps(tmp_path):
    column = fc.sequence_numeric_column("t")
    model = est.experimental.RNNClassifier([column], units=[2], model_dir=str(tmp_path / "model"))
    model.train(lambda: Dataset.from_tensors(({"t": np.ones((2, 3), "float32")}, np.array([0, 1]))))
    receiver = est.export.build_parsing_serving_input_receiver_fn(fc.make_parse_example_spec([column]))
    with pytest.raises(ValueError, match="sequence_numeric_column 't': an exported recurrent network has a fixed"):
        model.export_saved_model(str(tmp_path / "out"), receiver)


def test_wrong_export_outputs():
    output = est.export.PredictOutput(np.ones(2))
    with pytest.raises(TypeError, match=r"export_outputs\['a'\] must be a PredictOutput"):
        est.EstimatorSpec("infer", np.ones(2), export_outputs={"a": np.ones(2)})
    with pytest.raises(ValueError, match="must be called 'serving_default', got 'a' and 'b'"):
        est.EstimatorSpec("infer", np.ones(2), export_outputs={"a": output, "b": output})
    with pytest.raises(ValueError, match="classes must be text"):
        est.export.ClassificationOutput(classes=np.ones((2, 3)))


def test_evaluations_of_an_estimator_share_an_event_file(tmp_path):
    features = {"x": np.ones(2)}
    model = trained(tmp_path, [fc.numeric_column("x")], features)
    data = lambda: Dataset.from_tensors((features, np.ones(2)))  # noqa: E731
    model.evaluate(data)
    model.train(data).evaluate(data)
    (file,) = (tmp_path / "model" / "eval").iterdir()
    steps = [e.step for e in map(Event.FromString, TFRecordDataset(str(file))) if e.summary.value]
    assert steps == [1, 2]
    file.unlink()
    model.evaluate(data)
    assert len(list((tmp_path / "model" / "eval").iterdir())) == 1
