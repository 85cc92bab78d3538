"""Mixed precision: in which precision each layer is computed, by patterns of their paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from lamina.core.checks import check_choice
from lamina.core.errors import did_you_mean


class LayerPrecision:
    """The precision of each layer: that of the file, or another for layers that are named.

    A name is the path of a layer, and means all layers inside it too; it may be a pattern: `*` stands for any text,
    `?` for a letter, `[ab]` for one of some. Of several that fit a layer the last counts.

    What is merged, such as a normalisation into the convolution before it, follows the layer that it becomes part of.

    Args:
        where: who asks, for errors.
        precision: the precision of the file.
        layers: precision by path or pattern.
        float_layers: paths or patterns of layers that stay in float32.
        choices: the precisions that layers can have.

    Raises:
        ValueError: a precision is none that layers can have.

    Example:
        >>> chosen = LayerPrecision("export", "int8", {"block_*/expand": "float32"}, (), ("float32", "int8"))
        >>> chosen("block_3/expand"), chosen("block_3/expand/bias"), chosen("block_3")
        ('float32', 'float32', 'int8')
    """

    def __init__(
        self, where: str, precision: str, layers: Mapping[str, str], float_layers: Sequence[str], choices: Sequence[str]
    ):
        if isinstance(float_layers, str):
            raise ValueError(f"{where}: float_layers must be a list of paths, got the text {float_layers!r}.")
        for pattern, chosen in layers.items():
            check_choice(where, f"layer_precision[{pattern!r}]", chosen, choices)
        self.where, self.precision = where, precision
        self.given = {"float_layers": list(float_layers), "layer_precision": list(layers)}
        self.layers = {**dict.fromkeys(float_layers, "float32"), **layers}
        self._known: dict[str, str] = {}

    def __call__(self, path: str) -> str:
        """The precision of a layer."""
        if path not in self._known:
            inside = list(_prefixes(path))
            found = [c for p, c in self.layers.items() if any(fnmatchcase(name, p) for name in inside)]
            self._known[path] = found[-1] if found else self.precision
        return self._known[path]

    def check(self, graphs: Iterable[Any]) -> None:
        """Raises ValueError for a name that fits no layer."""
        known = {name for g in graphs for i in g.instrs for name in _prefixes(i.path)}
        for argument, patterns in self.given.items():
            for pattern in patterns:
                if not any(fnmatchcase(name, pattern) for name in known):
                    what = "fits no layer" if re.search(r"[*?[]", pattern) else "is no layer"
                    hint = did_you_mean(pattern, known)
                    raise ValueError(f"{self.where}: {argument} names '{pattern}', which {what}.{hint}")


def _prefixes(path: str) -> Iterable[str]:
    """A path, and those of the layers around it."""
    parts = path.split("/")
    return ("/".join(parts[: n + 1]) for n in range(len(parts)))
