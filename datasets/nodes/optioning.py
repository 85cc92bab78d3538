"""Options attached to a pipeline."""

from __future__ import annotations

from typing import Any

from lamina.datasets.context import Context, walk
from lamina.datasets.nodes.base import ElementIterator, Node
from lamina.datasets.options import Options
from lamina.datasets.plan import RandomAccess


class WithOptions(Node):
    """The same elements, under options."""

    op = "with_options"
    keeps_elements = True

    def __init__(self, child: Node, options: Options, name: str | None = None) -> None:
        super().__init__(child, name=name)
        self.options = options

    def config(self) -> dict[str, Any]:
        """See Node."""
        return {"options": repr(self.options)}

    def cardinality(self) -> int:
        """See Node."""
        return self.children[0].cardinality()

    def random_access(self, context: Context) -> RandomAccess | None:
        """See Node."""
        return self.children[0].random_access(context)

    def iterate(self, context: Context) -> ElementIterator:
        """See Node."""
        return self.children[0].iterate(context)


def merged_options(root: Node) -> Options:
    """The options of a whole pipeline: those nearest to its end win."""
    merged = Options()
    for node in reversed([n for n in walk(root) if isinstance(n, WithOptions)]):
        merged = merged.merge(node.options)
    return merged
