"""What an exported model gives: outputs for predictions, classes and numbers, and text among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lamina.core.errors import describe, listing

DEFAULT = "serving_default"


class Names(NamedTuple):
    """Text among the outputs of an exported model: the names that numbers stand for.

    Args:
        numbers: integers.
        names: the names, by number.
    """

    numbers: Any
    names: Sequence[Any]


class Wide(NamedTuple):
    """Integers that an exported model gives as int64.

    Args:
        numbers: the integers.
    """

    numbers: Any


class PredictOutput:
    """Outputs of any kind, for `EstimatorSpec(export_outputs=...)`.

    Args:
        outputs: arrays by key, or one, which is called "output".

    Example:
        >>> sorted(PredictOutput({"price": 1.0, "sold": 0.5}).outputs)
        ['price', 'sold']
    """

    method = "tensorflow/serving/predict"

    def __init__(self, outputs: Any):
        given = outputs if isinstance(outputs, Mapping) else {"output": outputs}
        self.outputs = {"/".join(map(str, k)) if isinstance(k, tuple) else str(k): v for k, v in given.items()}


class RegressionOutput:
    """Numbers that servers give for records.

    Args:
        value: the numbers, one row a record.
    """

    method = "tensorflow/serving/regress"

    def __init__(self, value: Any):
        self.outputs = {"outputs": value}


class ClassificationOutput:
    """Scores of classes, and their names, that servers give for records.

    Args:
        scores: a score for each class, (batch, classes).
        classes: names: a `Names` of the shape of the scores.

    Raises:
        ValueError: neither is given, or classes are not text.
    """

    method = "tensorflow/serving/classify"

    def __init__(self, scores: Any = None, classes: Names | None = None):
        if scores is None and classes is None:
            raise ValueError("ClassificationOutput: give scores, classes, or both.")
        if classes is not None and not isinstance(classes, Names):
            raise ValueError(
                f"ClassificationOutput: classes must be text, Names(numbers, names), got {describe(classes)}."
            )
        given = {"classes": classes, "scores": scores}
        self.outputs = {k: v for k, v in given.items() if v is not None}


def check_outputs(given: Any) -> dict[str, Any]:
    """`export_outputs` of an EstimatorSpec, by the name of the signature.

    Raises:
        TypeError: something else is among them.
        ValueError: there are several, and none is called "serving_default".
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"EstimatorSpec: export_outputs must be a dict by signature, got {describe(given)}.")
    for name, output in given.items():
        if not isinstance(output, (PredictOutput, RegressionOutput, ClassificationOutput)):
            raise TypeError(
                f"EstimatorSpec: export_outputs[{name!r}] must be a PredictOutput, RegressionOutput or "
                f"ClassificationOutput, got {describe(output)}."
            )
    if len(given) == 1:
        return {str(k): v for k, v in given.items()} | {DEFAULT: next(iter(given.values()))}
    if DEFAULT not in given:
        raise ValueError(
            f"EstimatorSpec: one of several export_outputs must be called {DEFAULT!r}, got "
            f"{listing(list(given), 'and')}."
        )
    return {str(k): v for k, v in given.items()}
