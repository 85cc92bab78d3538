"""The passes by name, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lamina.core.checks import check_choice
from lamina.graph.passes.batch_norm import fold_batch_norm
from lamina.graph.passes.fusion import fuse_activations, fuse_biases
from lamina.graph.passes.layout import simplify_layout
from lamina.graph.passes.patterns import recognise
from lamina.graph.passes.simplify import dead_code, fold_constants, merge_common

PASSES: dict[str, Callable[[Any], Any]] = {
    "constant_folding": fold_constants,
    "common_subexpressions": merge_common,
    "patterns": recognise,
    "batch_norm_folding": fold_batch_norm,
    "bias_fusion": fuse_biases,
    "activation_fusion": fuse_activations,
    "layout": simplify_layout,
    "dead_code": dead_code,
}


def optimize(graph: Any, passes: Sequence[str] | None = None) -> Any:
    """An equal graph of fewer instructions; the given one stays as it is.

    Args:
        graph: the graph.
        passes: the names of passes, in order; None for all.

    Raises:
        ValueError: a name is unknown.

    Example:
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: (x + 0.5) * (x + 0.5), (3,))
        >>> [i.op for i in optimize(graph, ["common_subexpressions"]).instrs]
        ['Add', 'Mul']
    """
    for name in PASSES if passes is None else passes:
        check_choice("Graph.optimize", "passes", name, PASSES)
        graph = PASSES[name](graph)
    return graph
