"""How records are read: the features that columns need, as specs for `parse_example`."""

from __future__ import annotations

from typing import Any

from lamina.core.errors import describe
from lamina.datasets.examples import FixedLenFeature
from lamina.estimators.feature_columns.column import check_columns
from lamina.estimators.feature_columns.numeric import NumericColumn, numeric_column


def make_parse_example_spec(feature_columns: Any) -> dict[str, Any]:
    """What `lamina.datasets.parse_example` needs to read the features of columns.

    Args:
        feature_columns: the columns.

    Returns:
        A dict from the name of each feature to `FixedLenFeature` or `VarLenFeature`; the latter are padded with what
        means "no value".

    Raises:
        ValueError: two columns read one feature in different ways.

    Example:
        >>> make_parse_example_spec([numeric_column("age")])
        {'age': FixedLenFeature(shape=(1,), dtype='float32', default_value=None)}
    """
    spec: dict[str, Any] = {}
    for column in check_columns("make_parse_example_spec", feature_columns):
        for key, feature in column.parse_example_spec.items():
            # repr, since NaN as padding does not equal itself
            if key in spec and repr(spec[key]) != repr(feature):
                raise ValueError(
                    f"make_parse_example_spec: feature {key!r} cannot be read both as {spec[key]} and as {feature}. "
                    "Give the columns that read it one shape and dtype."
                )
            spec[key] = feature
    return spec


def classifier_parse_example_spec(
    feature_columns: Any,
    label_key: str,
    label_dtype: Any = "int64",
    label_default: Any = None,
    weight_column: Any = None,
) -> dict[str, Any]:
    """What `parse_example` needs to read features and labels of a classifier.

    Args:
        feature_columns: the columns.
        label_key: the name of the label in records.
        label_dtype: "int64", or "string" with a vocabulary of labels.
        label_default: the label of records that lack it.
        weight_column: the name of the feature with weights of samples, or a `numeric_column`.

    Raises:
        ValueError: a column reads the label or the weights.

    Example:
        >>> sorted(classifier_parse_example_spec([numeric_column("age")], "ill"))
        ['age', 'ill']
    """
    label = FixedLenFeature((1,), label_dtype, label_default)
    return _with_label(make_parse_example_spec(feature_columns), label_key, label, weight_column)


def regressor_parse_example_spec(
    feature_columns: Any,
    label_key: str,
    label_dtype: Any = "float32",
    label_default: Any = None,
    label_dimension: int = 1,
    weight_column: Any = None,
) -> dict[str, Any]:
    """What `parse_example` needs to read features and labels of a regressor.

    Args:
        feature_columns: the columns.
        label_key: the name of the label in records.
        label_dtype: of the label.
        label_default: the label of records that lack it.
        label_dimension: how many numbers a label has.
        weight_column: the name of the feature with weights of samples, or a `numeric_column`.

    Raises:
        ValueError: a column reads the label or the weights.

    Example:
        >>> regressor_parse_example_spec([numeric_column("age")], "income")["income"].shape
        (1,)
    """
    label = FixedLenFeature((label_dimension,), label_dtype, label_default)
    return _with_label(make_parse_example_spec(feature_columns), label_key, label, weight_column)


def _with_label(spec: dict[str, Any], label_key: str, label: FixedLenFeature, weight_column: Any) -> dict[str, Any]:
    if label_key in spec:
        raise ValueError(f"The label {label_key!r} must not be a feature of a column; leave that column out.")
    spec[label_key] = label
    if weight_column is None:
        return spec
    column = numeric_column(weight_column) if isinstance(weight_column, str) else weight_column
    if not isinstance(column, NumericColumn):
        raise ValueError(f"weight_column must be the name of a feature or a numeric_column, got {describe(column)}.")
    if column.key in spec:
        raise ValueError(
            f"weight_column: feature {column.key!r} is the label or a feature of a column already. Give the weights a "
            "feature of their own."
        )
    return {**spec, **column.parse_example_spec}
