"""Ranges that were learnt in training: fake quantisation says how a value is stored, and then is none itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina.export.calibrate import KEEPING, Ranges
from lamina.graph.passes.order import optimize
from lamina.graph.passes.rewrite import Rewriter


def trained_ranges(graphs: Mapping[str, Any]) -> tuple[dict[str, Any], Ranges]:
    """The graphs without the fake quantisation of their activations, and the ranges that it told.

    Each `FakeQuant` to 8 bits with one known range goes, and gives its range to what it rounded; what infinite limits
    leave as it is has none. Rounded weights are known numbers by then, which int8 stores as they are.

    Args:
        graphs: the graphs by the names of their signatures.

    Returns:
        The graphs, and the ranges of all of them.

    Example:
        >>> from lamina import ops
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: ops.fake_quant_with_min_max_vars(x, -1.0, 1.0) * 2.0, (None, 3))
        >>> found, ranges = trained_ranges({"f": graph})
        >>> [i.op for i in found["f"].instrs], list(ranges.values())
        (['Mul'], [(-1.0, 1.0)])
    """
    made: dict[str, Any] = {}
    ranges: Ranges = {}
    for name, graph in graphs.items():
        if not any(i.op == "FakeQuant" for i in graph.instrs):
            made[name] = graph
            continue
        r = Rewriter(optimize(graph))
        for instr in r.graph.instrs:
            limits = [r.known(v) for v in instr.inputs[1:]]
            plain = instr.op == "FakeQuant" and instr.attrs.get("bits", 8) == 8 and not instr.attrs.get("narrow")
            if not plain or any(a is None or a.size != 1 for a in limits):
                continue
            low, high = (float(np.reshape(a, ())) for a in limits)
            value = instr.inputs[0]
            while value in r.replaced:
                value = r.replaced[value]
            if np.isfinite([low, high]).all():
                if ranges.setdefault(value, (low, high)) != (low, high):
                    continue  # rounded twice, differently: the second time stays arithmetic
            r.replaced[instr.output] = value
        made[name] = r.done()
    return made, ranges


PRODUCTS = frozenset({"MatMul", "Conv", "DepthwiseConv", "ConvTranspose"})


def completed(graphs: Mapping[str, Any], ranges: Ranges) -> Ranges:
    """Learnt ranges, and those that follow from them.

    What an op only moves has the range of its input. Between a product and the bias and activation that become part of
    it nothing is stored, so that any range does: that of the result.

    Args:
        graphs: the graphs, as they are written.
        ranges: what was learnt.

    Example:
        >>> from lamina import ops
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: ops.reshape(x @ np.ones((4, 2), "float32") + 1.0, (-1, 1, 2)), (None, 4))
        >>> len(completed({"f": graph}, {graph.find("add"): (0.0, 1.0)}))
        3
    """
    found = dict(ranges)
    for graph in graphs.values():
        users = graph.users()
        for instr in graph.instrs:
            if instr.op in KEEPING and instr.inputs[0] in found:
                found.update((v, found[instr.inputs[0]]) for v in instr.outputs if v not in found)
        for instr in graph.instrs:
            inner, value = [], instr.output if instr.op in PRODUCTS else None
            while value is not None and value not in found:
                inner.append(value)
                following = users.get(value, [])
                value = following[0].output if len(following) == 1 and _merges(graph, following[0], value) else None
            if value is not None:
                found.update((v, found[value]) for v in inner)
    return found


def _merges(graph: Any, instr: Any, value: Any) -> bool:
    """Whether an instruction that takes a product becomes part of it."""
    if value in graph.outputs:
        return False
    return instr.op in ("Relu", "Relu6") or instr.op == "Add" and any(v in graph.constants for v in instr.inputs)
