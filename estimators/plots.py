"""Pictures of what an estimator learnt, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.core.checks import check_int
from lamina.core.errors import describe


def _axes(axes: Any) -> Any:
    if axes is not None:
        return axes
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: pip install 'lamina[plot]'.") from error
    return pyplot.subplots(figsize=(6, 4))[1]


def plot_learning_curve(estimator: Any, metric: str = "loss", axes: Any = None) -> Any:
    """The loss in the course of training, and of evaluations.

    Args:
        estimator: an estimator that was fitted, or trained and evaluated several times.
        metric: what to draw of the evaluations.
        axes: axes of matplotlib to draw on.

    Returns:
        The axes.

    Raises:
        ValueError: there is nothing to draw.
    """
    history = getattr(estimator, "history_", {}).get("loss", []) if metric == "loss" else []
    evaluations = {
        name: [(step, values[metric]) for step, values in sorted(found.items()) if metric in values]
        for name, found in estimator._results.items()
    }
    if not history and not any(evaluations.values()):
        raise ValueError(
            f"plot_learning_curve: {type(estimator).__name__} has no {metric!r} to draw. Fit or evaluate it."
        )
    axes = _axes(axes)
    if history:
        steps = max(estimator._model.store.step, 1)
        axes.plot(np.linspace(steps / len(history), steps, len(history)), history, label="training")
    for name, points in evaluations.items():
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=f"evaluation {name}".strip())
    axes.set_xlabel("step")
    axes.set_ylabel(metric)
    axes.legend()
    return axes


def confusion_matrix(labels: Any, predictions: Any, classes: Sequence[Any] | None = None) -> np.ndarray:
    """How often each class (row) was predicted as each class (column).

    Example:
        >>> confusion_matrix(["a", "b", "b"], ["a", "a", "b"]).tolist()
        [[1, 0], [1, 1]]
    """
    labels, predictions = np.asarray(labels).reshape(-1), np.asarray(predictions).reshape(-1)
    if len(labels) != len(predictions):
        raise ValueError(f"confusion_matrix: got {len(labels)} labels and {len(predictions)} predictions.")
    names = np.unique(np.concatenate([labels, predictions])) if classes is None else np.asarray(classes)
    place = {name: i for i, name in enumerate(names.tolist())}
    found = np.zeros((len(names), len(names)), np.int64)
    for truth, guess in zip(labels.tolist(), predictions.tolist(), strict=True):
        found[place[truth], place[guess]] += 1
    return found


def plot_confusion_matrix(estimator: Any, X: Any, y: Any, axes: Any = None) -> Any:
    """How often each class was taken for each class, as a picture.

    Args:
        estimator: a fitted classifier.
        X: the features.
        y: the labels.
        axes: axes of matplotlib to draw on.

    Returns:
        The axes.
    """
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise ValueError(f"plot_confusion_matrix: {type(estimator).__name__} is no classifier that was fitted.")
    found = confusion_matrix(y, estimator.predict(X), classes.tolist())
    axes = _axes(axes)
    axes.imshow(found, cmap="Blues")
    for (i, j), count in np.ndenumerate(found):
        axes.text(j, i, str(count), ha="center", va="center", color="white" if count > found.max() / 2 else "black")
    axes.set_xticks(range(len(classes)), [str(c) for c in classes])
    axes.set_yticks(range(len(classes)), [str(c) for c in classes])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return axes


def calibration(labels: Any, probabilities: Any, bins: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted and true frequencies of bins of probabilities.

    Args:
        labels: 0 or 1.
        probabilities: the probability of 1.
        bins: the number of bins, of one width.

    Returns:
        The mean probability, the share of ones and the number of samples of each bin that has any.

    Example:
        >>> predicted, true, count = calibration([0, 1, 1, 1], [0.1, 0.1, 0.9, 0.9], bins=2)
        >>> true.tolist(), count.tolist()
        ([0.5, 1.0], [2, 2])
    """
    labels = np.asarray(labels, np.float64).reshape(-1)
    probabilities = np.asarray(probabilities, np.float64).reshape(-1)
    if len(labels) != len(probabilities):
        raise ValueError(f"calibration: got {describe(labels)} and {describe(probabilities)}.")
    check_int("calibration", "bins", bins, 1)
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    some = count > 0
    predicted = np.bincount(place, probabilities, bins)[some] / count[some]
    return predicted, np.bincount(place, labels, bins)[some] / count[some], count[some]


def plot_calibration(estimator: Any, X: Any, y: Any, bins: int = 10, axes: Any = None) -> Any:
    """How often the second class occurs where it is predicted with some probability.

    Args:
        estimator: a fitted classifier of two classes.
        X: the features.
        y: the labels.
        bins: the number of bins of probabilities.
        axes: axes of matplotlib to draw on.

    Returns:
        The axes.
    """
    classes: Any = getattr(estimator, "classes_", ())
    if len(classes) != 2:
        raise ValueError(f"plot_calibration: needs a classifier of two classes, fitted, got {len(classes)} classes.")
    ones = np.asarray(y).reshape(-1) == classes[1]
    predicted, true, _ = calibration(ones, estimator.predict_proba(X)[:, 1], bins)
    axes = _axes(axes)
    axes.plot([0, 1], [0, 1], color="gray", linestyle=":")
    axes.plot(predicted, true, marker="o")
    axes.set_xlabel(f"predicted probability of {classes[1]}")
    axes.set_ylabel("true frequency")
    return axes
