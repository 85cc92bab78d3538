"""Wrong uses of feature columns, and what they are told."""

import numpy as np
import pytest

from lamina.estimators import feature_columns as fc

FEATURES = {"x": np.array([1.0], "float32"), "n": np.array([1]), "color": np.array(["red"]), "m": np.ones((1, 2))}


def words(**kwargs):
    return fc.categorical_column_with_vocabulary_list("color", ["red", "green"], **kwargs)


def identity(buckets=3, **kwargs):
    return fc.categorical_column_with_identity("n", buckets, **kwargs)


def numeric(**kwargs):
    return fc.numeric_column("x", **kwargs)


def layer(*columns, **features):
    return fc.input_layer({**FEATURES, **features}, list(columns))


CASES = [
    # made wrongly
    (lambda: numeric(shape=0), ValueError, r"numeric_column 'x': shape\[0\] must be an integer of at least 1, got 0"),
    (lambda: numeric(dtype="string"), ValueError, "must be one of numbers"),
    (lambda: numeric(normalizer_fn=3), TypeError, "normalizer_fn must be a function"),
    (lambda: numeric(shape=2, default_value=[1.0, 2.0, 3.0]), ValueError, r"default_value must have shape \(2,\)"),
    (lambda: numeric(dtype="int64", default_value=0.5), TypeError, "must be whole"),
    (lambda: fc.numeric_column(7), TypeError, "name of a feature"),
    (lambda: fc.bucketized_column(numeric(), [2, 0]), ValueError, "boundaries must rise, got 0.0 after 2.0"),
    (lambda: fc.bucketized_column(numeric(), [1, 1]), ValueError, "boundaries must rise"),
    (lambda: fc.bucketized_column(numeric(), []), ValueError, "at least one number"),
    (lambda: fc.bucketized_column(identity(), [1]), ValueError, "must be a numeric_column"),
    (lambda: fc.bucketized_column(numeric(shape=(2, 2)), [1]), ValueError, "one axis"),
    (lambda: identity(0), ValueError, "num_buckets must be an integer of at least 1"),
    (lambda: identity(3, default_value=5), ValueError, "default_value must be from 0 to 2"),
    (lambda: fc.categorical_column_with_hash_bucket("c", 0), ValueError, "hash_bucket_size"),
    (lambda: fc.categorical_column_with_hash_bucket("c", 2**40), ValueError, "at most 2147483647"),
    (lambda: fc.categorical_column_with_hash_bucket("x", 5, dtype="float32"), ValueError, "'string' or one of integ"),
    (lambda: fc.categorical_column_with_vocabulary_list("c", []), ValueError, "at least one token"),
    (lambda: fc.categorical_column_with_vocabulary_list("c", ["a", "b", "a"]), ValueError, "once, got 'a' twice"),
    (lambda: fc.categorical_column_with_vocabulary_list("c", ["a", 1]), ValueError, "strings only or integers only"),
    (lambda: fc.categorical_column_with_vocabulary_list("c", ["a"], dtype="int64"), ValueError, "dtype is 'int64'"),
    (lambda: words(num_oov_buckets=1, default_value=0), ValueError, "either num_oov_buckets or default_value"),
    (lambda: words(num_oov_buckets=-1), ValueError, "num_oov_buckets must be an integer of at least 0"),
    (lambda: words(default_value=2), ValueError, "an id below 2"),
    (lambda: fc.categorical_column_with_vocabulary_file("c", "/none.txt"), FileNotFoundError, "no vocabulary file"),
    (lambda: fc.crossed_column(["c"], 10), ValueError, "at least two keys"),
    (lambda: fc.crossed_column([numeric(), "c"], 10), ValueError, "numeric_column 'x'. Numbers can be crossed as buck"),
    (
        lambda: fc.crossed_column([fc.categorical_column_with_hash_bucket("c", 5), "d"], 9),
        ValueError,
        "Use the name of its feature, 'c'",
    ),
    (lambda: fc.embedding_column(identity(), 0), ValueError, "dimension must be an integer of at least 1"),
    (lambda: fc.embedding_column(identity(), 2, "median"), ValueError, "combiner must be 'mean', 'sqrtn' or 'sum'"),
    (lambda: fc.embedding_column(identity(), 2, initializer=3), ValueError, "initializer must be a function"),
    (lambda: fc.embedding_column(identity(), 2, ckpt_to_load_from="x"), ValueError, "or neither"),
    (lambda: fc.embedding_column(numeric(), 2), ValueError, "must be a categorical column.*numeric_column 'x'"),
    (lambda: fc.indicator_column("c"), ValueError, "must be a categorical column"),
    (lambda: fc.shared_embeddings([identity(3), words()], 2), ValueError, "of one kind"),
    (lambda: fc.weighted_categorical_column(words(), "w", dtype="string"), ValueError, "one of numbers"),
    (
        lambda: fc.weighted_categorical_column(fc.sequence_categorical_column_with_identity("s", 3), "w"),
        ValueError,
        "must not be of a sequence",
    ),
    # used wrongly
    (lambda: layer(fc.numeric_column("colour")), ValueError, "'colour' is not among.*Did you mean 'color'"),
    (lambda: layer(fc.numeric_column("color")), ValueError, "must hold numbers.*categorical column"),
    (lambda: layer(fc.numeric_column("m")), ValueError, r"shape is \(1,\).*Give shape=\(2,\)"),
    (lambda: layer(identity()), ValueError, "identity 'n' does not fit here. Wrap"),
    (lambda: layer(fc.indicator_column(identity(1))), ValueError, "ids must be from 0 to 0.*got 1"),
    (lambda: layer(fc.indicator_column(fc.categorical_column_with_identity("x", 3))), ValueError, "hold integers"),
    (lambda: layer(fc.indicator_column(fc.categorical_column_with_identity("color", 3))), ValueError, "got strings"),
    (lambda: layer(fc.indicator_column(fc.categorical_column_with_hash_bucket("n", 3))), ValueError, "hold strings"),
    (lambda: layer(fc.indicator_column(fc.crossed_column(["x", "color"], 3))), ValueError, "bucketized_column"),
    (lambda: layer(numeric(), numeric(normalizer_fn=abs)), ValueError, "two feature columns are named 'x'"),
    (lambda: layer(), ValueError, "at least one feature column"),
    (lambda: layer("x"), ValueError, "expected feature columns, got 'x'"),
    (lambda: fc.input_layer(np.ones((2, 2)), [numeric()]), TypeError, "dict of features"),
    (
        lambda: layer(fc.indicator_column(fc.weighted_categorical_column(words(), "w")), w=np.ones((1, 3))),
        ValueError,
        "a weight for each category",
    ),
    (
        lambda: layer(fc.indicator_column(fc.sequence_categorical_column_with_identity("s", 3))),
        ValueError,
        "sequence_i",
    ),
    (lambda: fc.sequence_input_layer(FEATURES, [numeric()]), ValueError, "not of a sequence"),
    (
        lambda: fc.sequence_input_layer(FEATURES, [fc.sequence_categorical_column_with_identity("n", 3)]),
        ValueError,
        "not dense. Wrap",
    ),
    (
        lambda: fc.make_parse_example_spec(
            [numeric(), fc.indicator_column(fc.categorical_column_with_identity("x", 3))]
        ),
        ValueError,
        "cannot be read both",
    ),
    (lambda: fc.regressor_parse_example_spec([numeric()], "x"), ValueError, "must not be a feature"),
    (lambda: fc.regressor_parse_example_spec([numeric()], "y", weight_column=3), ValueError, "weight_column"),
]


@pytest.mark.parametrize("make, error, message", CASES, ids=range(len(CASES)))
def test_wrong_use(make, error, message):
    with pytest.raises(error, match=message):
        make()
