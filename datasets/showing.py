"""The first elements of a dataset, for the eye: images as a grid, anything else as a table."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from lamina.core.nest import flatten, flatten_with_path
from lamina.datasets.elements import is_dataset, rows
from lamina.datasets.spec import STRING

SMALLEST_IMAGE = 8


def show_elements(
    elements: list[Any], batches: bool, count: int, columns: int | None = None, labels: Any = None
) -> Any:
    """Show elements (or the rows of batches); returns the matplotlib figure, or None after printing a table.

    Args:
        elements: What was read.
        batches: Whether the elements are batches, whose rows are shown.
        count: How many to show.
        columns: Columns of the grid of images.
        labels: Names for integer labels, by number.
    """
    if not elements:
        print("The dataset has no elements.")
        return None
    names, table = _as_rows(elements, batches, count)
    image = next((i for i, v in enumerate(table[0]) if _is_image(v)), None)
    if image is None:
        print(_text_table(names, table))
        return None
    others = [i for i in range(len(names)) if i != image and np.ndim(table[0][i]) == 0]
    titles = [_title(row[others[0]], labels) if others else "" for row in table]
    return _grid([np.asarray(row[image]) for row in table], titles, columns)


def _as_rows(elements: list[Any], batches: bool, count: int) -> tuple[list[str], list[tuple[Any, ...]]]:
    names = [".".join(map(str, path)) or "element" for path, _ in flatten_with_path(elements[0])]
    if batches:
        table = [row for e in elements for row in rows([np.asarray(c) for c in flatten(e)], tuple)]
    else:
        table = [tuple(flatten(e)) for e in elements]
    return names, table[:count]


def _is_image(value: Any) -> bool:
    shape: tuple[int, ...] = getattr(value, "shape", ())
    if getattr(value, "dtype", None) == STRING or not 2 <= len(shape) <= 3:
        return False
    return min(shape[:2]) >= SMALLEST_IMAGE and (len(shape) == 2 or shape[2] in (1, 3, 4))


def _title(value: Any, labels: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if labels is not None and np.asarray(value).dtype.kind in "iu":
        return str(labels[int(value)])
    return str(value)


def _grid(images: list[np.ndarray], titles: list[str], columns: int | None) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("show needs matplotlib for images; install it with: pip install lamina[plot]") from None
    columns = columns or math.ceil(math.sqrt(len(images)))
    lines = math.ceil(len(images) / columns)
    size = min(1.8, 12 / columns)
    figure = Figure(figsize=(size * columns, (size + 0.2) * lines), layout="constrained")
    # A notebook knows how to show a figure only once pyplot was used in it; this one brings its picture along.
    figure._repr_png_ = lambda: _as_png(figure)  # type: ignore[attr-defined]
    for i, (image, title) in enumerate(zip(images, titles, strict=True)):
        axes = figure.add_subplot(lines, columns, i + 1)
        gray = image.ndim == 2 or image.shape[2] == 1
        axes.imshow(_displayable(image[..., 0] if gray and image.ndim == 3 else image), cmap="gray" if gray else None)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return figure


def _as_png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _displayable(image: np.ndarray) -> np.ndarray:
    """Floats outside 0..1 (standardised images, or 0..255) are stretched to it."""
    if image.dtype.kind != "f":
        return image
    low, high = float(image.min()), float(image.max())
    if low >= 0 and high <= 1:
        return image
    return (image - low) / (high - low or 1.0)


def _text_table(names: list[str], table: list[tuple[Any, ...]]) -> str:
    cells = [names] + [[_cell(v) for v in row] for row in table]
    widths = [max(len(r[i]) for r in cells) for i in range(len(names))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "-" * sum(widths, 2 * len(widths) - 2), *lines[1:]])


def _cell(value: Any) -> str:
    if is_dataset(value):
        return "a dataset"
    if isinstance(value, bytes):
        text = value.decode(errors="replace")
    else:
        array = np.asarray(value)
        text = np.array2string(array, precision=4, threshold=6, edgeitems=2, separator=", ").replace("\n", "")
    return text if len(text) <= 60 else text[:57] + "..."
