"""What an estimator is made of, as a text."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.estimators.feature_columns import summary_rows
from lamina.estimators.variables import GLOBAL_STEP


def summary_text(estimator: Any) -> str:
    """The columns, the head, the variables and the state of training of an estimator."""
    model = estimator._model
    lines = [f"{type(estimator).__name__}  (model_dir: {estimator._config.model_dir or 'in memory'})"]
    head = getattr(estimator, "_head", None)
    if head is not None:
        lines.append(f"Head: {type(head).__name__}, {head.logits_dimension} logits")
    classes = getattr(estimator, "classes_", None)
    if classes is not None:
        shown = ", ".join(map(str, classes[:8])) + (", ..." if len(classes) > 8 else "")
        lines.append(f"Classes: {shown}")
    if estimator._columns:
        inferred = "columns_known" in getattr(estimator, "_inferred", {})
        lines += ["", "Feature columns, inferred from the data:" if inferred else "Feature columns:"]
        rows = [[str(r["name"]), str(r["kind"]), str(r["details"])] for r in summary_rows(estimator._columns)]
        lines += _table([["name", "kind", "details"], *rows])
    weights = {n: v for n, v in model.store.weights.items() if n != GLOBAL_STEP}
    if weights:
        total = sum(int(np.prod(v.shape, dtype=np.int64)) for v in weights.values())
        rows = [[n, str(v.shape), v.dtype, "" if v.trainable else "fixed"] for n, v in sorted(weights.items())]
        lines += ["", f"Variables: {total:,} numbers"]
        lines += _table([["name", "shape", "dtype", ""], *rows])
        if model.optimizer is not None:
            kinds = ", ".join(type(op.optimizer).__name__ for op in model.optimizer.ops) or "none"
            lines.append(f"Optimizer: {kinds}")
    lines += ["", f"Steps done: {model.store.step}"]
    return "\n".join(line.rstrip() for line in lines)


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
