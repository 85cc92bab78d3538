"""Passes: functions from a graph to an equal, simpler one."""

from lamina.graph.passes.batch_norm import fold_batch_norm
from lamina.graph.passes.fusion import fuse_activations, fuse_biases
from lamina.graph.passes.layout import simplify_layout
from lamina.graph.passes.names import drop_identities, tags
from lamina.graph.passes.order import PASSES, optimize
from lamina.graph.passes.patterns import recognise
from lamina.graph.passes.simplify import dead_code, fold_constants, merge_common

__all__ = [
    "PASSES",
    "dead_code",
    "drop_identities",
    "fold_batch_norm",
    "fold_constants",
    "fuse_activations",
    "fuse_biases",
    "merge_common",
    "optimize",
    "recognise",
    "simplify_layout",
    "tags",
]
