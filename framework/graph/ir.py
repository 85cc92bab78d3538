"""What graphs are made of: values, and the instructions that make them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina.graph.dims import Dim, shape_text


@dataclass(eq=False, slots=True)
class Value:
    """A tensor of a graph: what one instruction makes, an input, or a constant.

    Attributes:
        name: unique in its graph.
        shape: sizes, as numbers or expressions; see `lamina.graph.dims`.
        dtype: the dtype.
    """

    name: str
    shape: tuple[Dim, ...]
    dtype: np.dtype

    @property
    def is_static(self) -> bool:
        """Whether all sizes are numbers."""
        return all(isinstance(d, int) for d in self.shape)

    @property
    def elements(self) -> int:
        """The number of elements, with 1 in place of unknown sizes."""
        return int(np.prod([d if isinstance(d, int) else 1 for d in self.shape], dtype=np.int64))

    def __repr__(self) -> str:
        return f"%{self.name}: {self.dtype.name}{shape_text(self.shape)}"


@dataclass(eq=False, slots=True)
class Instr:
    """One step of a graph.

    Attributes:
        op: a name of `lamina.graph.opset.OPSET`, or `"Custom"`.
        inputs: the values that it takes.
        outputs: the values that it makes.
        attrs: the attributes that the op has.
        path: the layers, joined by /, in whose calls it stands.
    """

    op: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    path: str = ""

    @property
    def label(self) -> str:
        """The op's name; that of a custom op is its own."""
        return self.attrs["name"] if self.op == "Custom" else self.op

    @property
    def output(self) -> Value:
        """The first output."""
        return self.outputs[0]

    @property
    def subgraphs(self) -> list[Any]:
        """The graphs among the attributes: branches, and bodies of loops."""
        return [a for a in self.attrs.values() if is_graph(a)]

    def __repr__(self) -> str:
        made = ", ".join(map(repr, self.outputs))
        return f"{made} = {self.label}({', '.join('%' + v.name for v in self.inputs)})"


def is_floating(dtype: np.dtype) -> bool:
    """Whether a dtype is one of floats; numpy files bfloat16 under other kinds.

    Example:
        >>> is_floating(np.dtype("float16")), is_floating(np.dtype("int32"))
        (True, False)
    """
    return getattr(dtype, "kind", "") == "f" or dtype.name == "bfloat16"  # random keys have no kind


def is_graph(attribute: Any) -> bool:
    """Whether an attribute is a graph."""
    return hasattr(attribute, "instrs")
