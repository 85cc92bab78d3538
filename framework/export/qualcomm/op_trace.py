"""The provider's record of which op became which, and the layers behind the ops that it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from lamina.export.rules import Gap

_UNSTATIC = "Cannot get shape"


def converted(trace: Mapping[str, Any]) -> Counter[str]:
    """How often each op of the vendor's stands in what was written.

    Example:
        >>> trace = {"subgraph_traces": [{"op_mappings": [{"dst_qnn_op_type": "Relu"}]}]}
        >>> converted(trace)
        Counter({'Relu': 1})
    """
    return Counter(
        entry["dst_qnn_op_type"]
        for graph in trace.get("subgraph_traces") or ()
        for entry in graph.get("op_mappings") or ()
        if "dst_qnn_op_type" in entry
    )


def rejected(trace: Mapping[str, Any], nodes: Iterable[str]) -> list[Gap]:
    """The ops that the provider refuses, by layer.

    Args:
        trace: the record.
        nodes: the names of the nodes in the ONNX file, which are the layer's path and the op. The provider names what
            ONNX Runtime has fused or split after them, with something behind.

    Example:
        >>> refused = {"node_name": "block/Sinh_1", "op_type": "Sinh", "reason": "not supported"}
        >>> print(rejected({"unsupported_nodes": [refused]}, ["block/Sinh"])[0])
        block: Sinh: not supported
    """
    names = sorted(nodes, key=len, reverse=True)
    gaps = []
    for entry in trace.get("unsupported_nodes") or ():
        name, op = entry.get("node_name") or "", entry.get("op_type") or "op"
        origin = next((n for n in names if n and name.startswith(n)), name)
        reason = " ".join((entry.get("reason") or "refused without a reason").split())
        if reason.startswith(_UNSTATIC):
            reason += " (all sizes must be known)"
        gaps.append(Gap(op, origin.rpartition("/")[0], reason))
    return gaps
