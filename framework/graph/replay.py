"""Runs instructions one by one, so that a graph traced from the run has the same instructions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from lamina.graph.builder import Builder
from lamina.graph.interpret import instruction
from lamina.graph.ir import Instr
from lamina.graph.lower import named
from lamina.ops.marking import is_marking, mark


@dataclass(frozen=True, eq=False)
class Call:
    """An instruction, and the sizes that its attributes name."""

    instr: Instr
    sizes: Mapping[str, Any]


def replay(instr: Instr, sizes: Mapping[str, Any], *arrays: Any) -> list[Any]:
    """The outputs of an instruction for arrays; traced into a graph, it stays whole.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.graph import trace
        >>> pool = trace(lambda x: jnp.max(x, 1), (None, 3)).instrs[0]
        >>> [i.op for i in trace(lambda x: replay(pool, {}, x), (None, 3)).instrs]
        ['ReduceMax']
    """
    if is_marking() and instr.op != "Custom":
        leaves, tree = jax.tree.flatten(((Call(instr, sizes), *arrays), {}))
        out = mark(table_op, tree, leaves, lambda leaf: isinstance(leaf, jax.Array))
    else:
        out = table_op(Call(instr, sizes), *arrays)
    return list(out) if isinstance(out, (list, tuple)) else [out]


def table_op(call: Call, *arrays: Any) -> Any:
    """What an instruction computes."""
    return instruction(call.instr, call.sizes)(*arrays)


@named("table_op")
def _table_op(b: Builder, call: Call, *inputs: Any) -> Any:
    return b.emit(call.instr.op, inputs, **call.instr.attrs)
