"""Estimators that are exported with their host's part, for tests and for `tests/oracles/estimator_exports.py`."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

import lamina.estimators as est
from lamina.datasets import Dataset, parse_example
from lamina.estimators import feature_column as fc
from lamina.wire.example import BytesList, Example, Feature, Features, FloatList, Int64List

AGES = np.array([1.0, 2.5, 3.0, 40.0], "float32")
COLORS = np.array(["red", "green", "blüe", ""])
CITIES = np.array(["oslo", "rome", "a town of a long name, so that all of the hash is run", "rome"])
ZIPS = np.array([7, 12, -1, 12])
LABELS = np.array([0, 1, 0, 1])


def record(**values: Any) -> bytes:
    """A serialised Example; a feature is a list of one kind of values."""
    kinds = {str: ("bytes_list", BytesList), int: ("int64_list", Int64List), float: ("float_list", FloatList)}
    made = {}
    for key, given in values.items():
        kind = type(given[0]) if given else str
        field, cls = kinds[kind]
        made[key] = Feature(**{field: cls(value=[v.encode() if kind is str else v for v in given])})
    return Example(features=Features(feature=made)).SerializeToString()


class Case(NamedTuple):
    """An exported model: its folder, what it is fed, and what `predict` gives for that."""

    path: str
    fed: dict[str, np.ndarray]
    expected: dict[Any, np.ndarray]


def _batch(features: Any, labels: Any) -> Any:
    return lambda: Dataset.from_tensors((features, labels)).repeat(3)


def _case(folder: Any, name: str, model: Any, features: Any, labels: Any, receiver: Any, fed: Any = None) -> Case:
    model.train(_batch(features, labels))
    found = list(model.predict(lambda: Dataset.from_tensors(features), yield_single_examples=False))[0]
    path = model.export_saved_model(os.path.join(folder, name), receiver)
    return Case(path, features if fed is None else fed, found if isinstance(found, dict) else {"output": found})


def wide_columns() -> list[Any]:
    """Columns of each kind that a linear model takes."""
    age = fc.numeric_column("age", normalizer_fn=lambda x: x / 2 - 1)
    bucket = fc.bucketized_column(fc.numeric_column("age"), [2, 3])
    color = fc.categorical_column_with_vocabulary_list("color", ["red", "green"], num_oov_buckets=2)
    return [
        age,
        color,
        fc.categorical_column_with_hash_bucket("city", 10),
        fc.categorical_column_with_vocabulary_list("zip", [12, 30], num_oov_buckets=3),
        fc.crossed_column(["city", "color"], 50),
        fc.crossed_column([bucket, "city", color], 20, hash_key=9),
    ]


def wide_records() -> np.ndarray:
    """The features of the wide columns as records; what is missing is left out, but for what plain crosses read."""
    rows = []
    for age, color, city, number in zip(AGES, COLORS, CITIES, ZIPS, strict=True):
        features: dict[str, Any] = {"age": [float(age)], "city": [str(city)]}
        features |= {"color": [str(color)]} if color else {}
        rows.append(record(**features, **({"zip": [int(number)]} if number >= 0 else {})))
    return np.array(rows, object)


WIDE = {"age": AGES, "color": COLORS, "city": CITIES, "zip": ZIPS}


def wide_classifier(folder: Any) -> Case:
    """A linear classifier, fed with records."""
    receiver = est.export.build_parsing_serving_input_receiver_fn(fc.make_parse_example_spec(wide_columns()))
    model = est.LinearClassifier(wide_columns(), os.path.join(folder, "wide"))
    return _case(folder, "wide_out", model, WIDE, LABELS, receiver, {"examples": wide_records()})


def raw_classifier(folder: Any) -> Case:
    """A linear classifier with named classes, fed with features as they are."""
    receiver = est.export.build_raw_serving_input_receiver_fn(WIDE)
    model = est.LinearClassifier(
        wide_columns(), os.path.join(folder, "raw"), n_classes=3, label_vocabulary=["a", "b", "ç"]
    )
    return _case(folder, "raw_out", model, WIDE, np.array(["a", "b", "ç", "a"]), receiver)


def deep_regressor(folder: Any) -> Case:
    """Embeddings of several words a sample, some with weights, and a vocabulary in a file; fed with records."""
    file = os.path.join(folder, "words.txt")
    with open(file, "w", encoding="utf-8") as out:
        out.write("one\ntwo\nthree\n")
    words = fc.categorical_column_with_vocabulary_file("words", file, default_value=2)
    tags = fc.weighted_categorical_column(fc.categorical_column_with_hash_bucket("tags", 7), "weights")
    columns = [
        fc.embedding_column(words, 3, combiner="sqrtn"),
        fc.embedding_column(tags, 2),
        fc.indicator_column(fc.categorical_column_with_identity("day", 7, default_value=0)),
        fc.numeric_column("size", 2, default_value=[1.0, 5.0]),
    ]
    records = np.array(
        [
            record(words=["two", "one", "zero"], tags=["x"], weights=[2.0], day=[3], size=[0.5, -1.0]),
            record(words=["three"], tags=["x", "y", "z"], weights=[1.0, 0.5, 3.0], day=[9]),
            record(tags=["y"], weights=[1.0], size=[2.0, 2.0]),
        ],
        object,
    )
    spec = fc.make_parse_example_spec(columns)
    receiver = est.export.build_parsing_serving_input_receiver_fn(spec)
    model = est.DNNRegressor([4], columns, os.path.join(folder, "deep"))
    labels = np.array([1.0, 2.0, 3.0])
    return _case(folder, "deep_out", model, parse_example(records, spec), labels, receiver, {"examples": records})


def trees(folder: Any) -> Case:
    """Boosted trees over numbers and categories, fed with records."""
    columns = [
        fc.numeric_column("age"),
        fc.indicator_column(fc.categorical_column_with_vocabulary_list("color", ["red", "green"])),
        fc.categorical_column_with_hash_bucket("city", 10),
    ]
    receiver = est.export.build_parsing_serving_input_receiver_fn(fc.make_parse_example_spec(columns))
    model = est.BoostedTreesClassifier(columns, 1, os.path.join(folder, "trees"), n_trees=2, max_depth=2)
    features = {k: WIDE[k] for k in ("age", "color", "city")}
    return _case(folder, "trees_out", model, features, LABELS, receiver, {"examples": wide_records()})


def recurrent(folder: Any) -> Case:
    """A recurrent network over words and numbers, fed with padded arrays."""
    word = fc.sequence_categorical_column_with_vocabulary_list("words", ["a", "b", "c"], num_oov_buckets=1)
    columns = [fc.embedding_column(word, 3), fc.sequence_numeric_column("sizes", normalizer_fn=lambda x: x / 2)]
    context = [fc.indicator_column(fc.categorical_column_with_vocabulary_list("color", ["red", "green"]))]
    records = np.array(
        [
            record(words=["b", "q", "a"], sizes=[1.0, 2.0, 3.0], color=["green"]),
            record(words=["c"], sizes=[-1.0], color=["red"]),
        ],
        object,
    )
    spec = fc.make_parse_example_spec([*columns, *context])
    features = parse_example(records, spec)
    receiver = est.export.build_raw_serving_input_receiver_fn(features)
    model = est.experimental.RNNClassifier(columns, context, [4], "lstm", model_dir=os.path.join(folder, "recurrent"))
    return _case(folder, "recurrent_out", model, features, np.array([0, 1]), receiver)


def two_heads(folder: Any) -> Case:
    """A network with two heads, fed with records."""
    heads = [est.RegressionHead(name="size"), est.MultiLabelHead(2, label_vocabulary=["x", "y"], name="marks")]
    columns = [fc.numeric_column("age")]
    receiver = est.export.build_parsing_serving_input_receiver_fn(fc.make_parse_example_spec(columns))
    model = est.DNNEstimator(est.MultiHead(heads), [3], columns, os.path.join(folder, "heads"))
    labels = {"size": AGES, "marks": np.array([[0, 1], [1, 0], [1, 1], [0, 0]])}
    return _case(folder, "heads_out", model, {"age": AGES}, labels, receiver, {"examples": wide_records()})


def baseline(folder: Any) -> Case:
    """A model that looks at no feature."""
    receiver = est.export.build_raw_serving_input_receiver_fn({"color": COLORS})
    model = est.BaselineClassifier(os.path.join(folder, "baseline"))
    return _case(folder, "baseline_out", model, {"color": COLORS}, LABELS, receiver)


def custom(folder: Any) -> Case:
    """A model_fn with outputs of its own, whose features are columns among params."""

    def model_fn(features: Any, labels: Any, mode: str, params: Any) -> Any:
        x = fc.input_layer(features, params["columns"])
        y = x @ est.get_variable("w", (x.shape[1], 1)).value + features["age"][:, None]
        if mode == est.ModeKeys.PREDICT:
            outputs = {
                "serving_default": est.export.RegressionOutput(y),
                "sign": est.export.PredictOutput({"sign": est.export.Names((y > 0)[:, 0].astype("int32"), ["-", "+"])}),
            }
            return est.EstimatorSpec(mode, {"y": y}, export_outputs=outputs)
        return est.EstimatorSpec(mode, loss=((y - labels[:, None]) ** 2).mean(), optimizer=est.optimizers.SGD(0.001))

    columns = [fc.indicator_column(fc.categorical_column_with_hash_bucket("city", 10))]
    features = {"age": AGES, "city": CITIES}
    spec = fc.make_parse_example_spec([*columns, fc.numeric_column("age", ())])
    receiver = est.export.build_parsing_serving_input_receiver_fn(spec)
    model = est.Estimator(model_fn, os.path.join(folder, "custom"), params={"columns": columns})
    return _case(folder, "custom_out", model, features, AGES, receiver, {"examples": wide_records()})


CASES = {
    f.__name__: f
    for f in (wide_classifier, raw_classifier, deep_regressor, trees, recurrent, two_heads, baseline, custom)
}
