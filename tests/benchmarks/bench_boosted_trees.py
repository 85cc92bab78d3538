"""Boosted trees beside scikit-learn's HistGradientBoosting: the time of 100 trees on 100,000 rows of 20 features.

    python tests/benchmarks/bench_boosted_trees.py [--rows 100000] [--features 20] [--trees 100] [--repeats 3]

Both boost trees of depth 6 on 255 bins without early stopping, and are timed in turn. "wall" is the clock, "cpu" the
processor time of all threads: compare the latter on a busy machine, where waiting threads make the clock say little.
The first fit of ours compiles; it is timed apart. The score is that on the training data.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from lamina.estimators import BoostedTreesClassifier, BoostedTreesRegressor


def data(rows: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Features, and numbers that depend on some of them by steps, waves and products."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, features)).astype("float32")
    y = X[:, 0] * 2 + np.sin(3 * X[:, 1]) * 2 + X[:, 2] * X[:, 3] + (X[:, 4] > 0.5) * X[:, 5]
    return X, y + rng.normal(size=rows) * 0.5


def timed(model: Any, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(wall, cpu) seconds of a fit."""
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(X, y)
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    X, y = data(args.rows, args.features)
    depth = {"max_depth": 6}
    for kind, labels, ours, theirs in (
        ("regressor", y, BoostedTreesRegressor, HistGradientBoostingRegressor),
        ("classifier", (y > 0).astype(int), BoostedTreesClassifier, HistGradientBoostingClassifier),
    ):
        models = {
            "lamina": ours(n_trees=args.trees, **depth),
            "scikit-learn": theirs(max_iter=args.trees, max_leaf_nodes=None, early_stopping=False, **depth),
        }
        first = timed(models["lamina"], X, labels)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
        for _ in range(args.repeats):
            for name, model in models.items():
                times[name].append(timed(model, X, labels))
        found = {n: [statistics.median(c) for c in zip(*t, strict=True)] for n, t in times.items()}
        print(f"{kind:<12} {'wall s':>8} {'cpu s':>8} {'score':>8}")
        for name, (wall, cpu) in found.items():
            print(f"{name:<12} {wall:8.2f} {cpu:8.2f} {models[name].score(X, labels):8.4f}")
        ratios = [a / b for a, b in zip(found["lamina"], found["scikit-learn"], strict=True)]
        print(f"{'ratio':<12} {ratios[0]:8.2f} {ratios[1]:8.2f}")
        print(f"{'first fit':<12} {first[0]:8.2f} {first[1]:8.2f}", flush=True)


if __name__ == "__main__":
    main()
