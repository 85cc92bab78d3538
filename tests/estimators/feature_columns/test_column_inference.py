"""Columns from data."""

import numpy as np
import pytest

from lamina.estimators import feature_columns as fc


def test_kinds_of_features():
    columns = {
        c.name: c
        for c in fc.infer_columns(
            {
                "age": np.array([20, 40, 60]),
                "city": ["Kiel", "Bonn", ""],
                "tags": [["a"], ["b", "a"], []],
                "yes": np.array([True, False, True]),
                "v": np.arange(6.0).reshape(3, 2),
            }
        )
    }
    assert {k: type(c).__name__ for k, c in columns.items()} == {
        "age": "NumericColumn",
        "city": "VocabularyColumn",
        "tags": "VocabularyColumn",
        "yes": "VocabularyColumn",
        "v": "NumericColumn",
    }
    assert columns["city"].vocabulary == ("Bonn", "Kiel") and columns["tags"].vocabulary == ("a", "b")
    assert columns["yes"].vocabulary == (0, 1) and columns["v"].shape == (2,)


def test_numbers_are_standardised():
    x = np.random.default_rng(0).normal(5, 3, (50, 4))
    (column,) = fc.infer_columns(x)
    z = np.asarray(fc.input_layer({"x": x}, [column]))
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(0), 1, atol=1e-5)
    (plain,) = fc.infer_columns(x, standardize=False)
    np.testing.assert_allclose(fc.input_layer({"x": x}, [plain]), x, rtol=1e-6)


def test_constants_and_missing_numbers():
    (column,) = fc.infer_columns({"a": np.array([2.0, np.nan, 2.0])})
    assert fc.input_layer({"a": [2.0, np.nan, 3.0]}, [column]).ravel().tolist() == [0, 0, 1]


def test_data_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "age": [30.0, None, 50.0],
            "sex": pandas.Categorical(["f", "m", "f"]),
            "name": ["a", None, "b"],
            "ok": [True, False, True],
        }
    )
    columns = fc.infer_columns(frame)
    assert [c.name for c in columns] == ["age", "sex", "name", "ok"]
    assert [c.num_buckets for c in columns[1:]] == [2, 2, 2]
    inputs = fc.transform_host(columns, fc.as_features(frame))
    assert inputs[columns[2].input_name].ravel().tolist() == [0, -1, 1]


def test_mixed_arrays():
    data = np.array([["a", 1.0], ["b", 2.0]], object)
    assert [c.maker for c in fc.infer_columns(data)] == ["categorical_column_with_vocabulary_list", "numeric_column"]


def test_summary():
    rows = fc.summary_rows(fc.infer_columns({"age": [20.0, 40.0], "city": list("abcdef")}))
    assert rows == [
        {"name": "age", "kind": "numeric_column", "details": "standardised, mean 30, deviation 10"},
        {
            "name": "city",
            "kind": "categorical_column_with_vocabulary_list",
            "details": "6 values: a, b, c, d, ...",
        },
    ]


@pytest.mark.parametrize(
    "data, error, message",
    [
        ({"a": np.array([np.inf, 1.0])}, ValueError, "infinite"),
        ({"a": np.array([np.nan, np.nan])}, ValueError, "no number at all"),
        ({"a": []}, ValueError, "empty"),
        ({"a": ["", ""]}, ValueError, "no value"),
        ({"a": np.array([1j])}, ValueError, "cannot be inferred"),
        ({"a": np.array([{}, "b"], object)}, ValueError, "cannot be inferred"),
        (np.zeros(3), ValueError, r"\(-1, 1\)"),
        (7, TypeError, "dict of features"),
    ],
)
def test_wrong_data(data, error, message):
    with pytest.raises(error, match=message):
        fc.infer_columns(data)
