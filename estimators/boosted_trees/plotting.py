"""A picture of the importances of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lamina.core.checks import check_int
from lamina.core.errors import describe


def plot_importance(
    estimator: Any, max_num_features: int | None = 20, normalize: bool = True, ax: Any = None, title: str | None = None
) -> Any:
    """Draws the importances of features as bars, the largest on top; needs matplotlib.

    Args:
        estimator: a trained estimator of boosted trees, or importances by name.
        max_num_features: the most bars; None for all.
        normalize: whether importances add up to 1.
        ax: the axes to draw on; new ones by default.
        title: the title.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: `estimator` has no importances.

    Example:
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> ax = plot_importance({"age": 3.0, "fare": 1.0})
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['age', 'fare']
    """
    if max_num_features is not None:
        check_int("plot_importance", "max_num_features", max_num_features, 1)
    if isinstance(estimator, Mapping):
        found = dict(sorted(estimator.items(), key=lambda item: -item[1]))
        total = sum(found.values())
        if normalize and total > 0:
            found = {name: value / total for name, value in found.items()}
    elif hasattr(estimator, "experimental_feature_importances"):
        found = estimator.experimental_feature_importances(normalize=normalize)
    else:
        raise TypeError(
            "plot_importance: expected an estimator of boosted trees or a dict of importances by name, got "
            f"{describe(estimator)}."
        )
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot_importance needs matplotlib. Install it: pip install 'lamina[plot]'.") from error
    names = list(found)[:max_num_features]
    if ax is None:
        _, ax = pyplot.subplots(figsize=(6.4, 1.0 + 0.28 * len(names)), layout="constrained")
    ax.barh(names, [found[n] for n in names], height=0.7)
    ax.invert_yaxis()
    ax.set_xlabel("share of the gain" if normalize else "gain")
    ax.set_title("Importance of features" if title is None else title)
    return ax
