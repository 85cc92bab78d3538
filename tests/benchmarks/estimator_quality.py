"""Estimators beside scikit-learn's on the data sets that come with the package: scores of cross-validation.

    python tests/benchmarks/estimator_quality.py [--folds 5] [--data iris,...] [--models linear,dnn,trees]

Accuracy for classes, R² for numbers; both libraries see the same folds, and have their default arguments, but for seeds
and the size of the networks. The references of the linear rows are least squares and logistic regression, which needs
standardised features; ours standardises them itself. The difference is in hundredths; the mark says whether ours is at
most one lower.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lamina import estimators
from lamina.datasets import breast_cancer, diabetes, digits, iris, wine

DATA = {"iris": iris, "wine": wine, "breast_cancer": breast_cancer, "digits": digits, "diabetes": diabetes}


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """All rows of a data set, flat."""
    (x, y), _ = DATA[name].load_data(test_split=0.0)
    return x.reshape(len(x), -1).astype("float32"), y


def pairs(classes: bool) -> dict[str, tuple[Any, Any]]:
    """Our estimator and the reference, by kind."""
    scaled = lambda model: make_pipeline(StandardScaler(), model)  # noqa: E731
    if classes:
        return {
            "linear": (estimators.LinearClassifier(random_state=0), scaled(LogisticRegression(max_iter=2000))),
            "dnn": (
                estimators.DNNClassifier(hidden_units=[100], random_state=0),
                scaled(MLPClassifier(hidden_layer_sizes=(100,), max_iter=500, random_state=0)),
            ),
            "trees": (
                estimators.BoostedTreesClassifier(random_state=0),
                HistGradientBoostingClassifier(random_state=0),
            ),
        }
    return {
        "linear": (estimators.LinearRegressor(random_state=0), LinearRegression()),
        "dnn": (
            estimators.DNNRegressor(hidden_units=[100], random_state=0),
            scaled(MLPRegressor(hidden_layer_sizes=(100,), max_iter=2000, random_state=0)),
        ),
        "trees": (estimators.BoostedTreesRegressor(random_state=0), HistGradientBoostingRegressor(random_state=0)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--data", default=",".join(DATA))
    parser.add_argument("--models", default="linear,dnn,trees")
    options = parser.parse_args()
    print("| data | model | lamina | scikit-learn | difference | | seconds, lamina | seconds, scikit-learn |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.data.split(","):
        x, y = load(name)
        classes = name != "diabetes"
        folds = (StratifiedKFold if classes else KFold)(options.folds, shuffle=True, random_state=0)
        for kind in options.models.split(","):
            found = []
            for model in pairs(classes)[kind]:
                start = time.perf_counter()
                found.append((cross_val_score(model, x, y, cv=folds).mean(), time.perf_counter() - start))
            (ours, seconds), (theirs, theirs_seconds) = found
            mark = "ok" if ours >= theirs - 0.01 else "lower"
            print(
                f"| {name} | {kind} | {ours:.4f} | {theirs:.4f} | {100 * (ours - theirs):+.2f} | {mark} | "
                f"{seconds:.1f} | {theirs_seconds:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
