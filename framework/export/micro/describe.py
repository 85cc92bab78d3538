"""What a program must know of a TFLite file: its operators, and what goes in and comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.export.tflite.flatbuffer import Reader, fields
from lamina.export.tflite.schema import CODES, DTYPES


@dataclass(frozen=True)
class Port:
    """An input or output: real = scale * (stored - zero_point).

    Attributes:
        name: its name.
        shape: its sizes.
        dtype: the dtype.
        scale: the size of a step; None if it is not quantised.
        zero_point: the stored number of 0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float | None
    zero_point: int


Type = tuple[str, bool]
"""The dtype of a tensor, and whether its numbers stand for real ones."""


@dataclass(frozen=True)
class Operator:
    """An operator of a file.

    Attributes:
        op: the operator.
        made: the name of the tensor that it makes.
        inputs: the types of what it takes.
        outputs: the types of what it makes.
    """

    op: str
    made: str
    inputs: list[Type]
    outputs: list[Type]


@dataclass(frozen=True)
class Description:
    """What a program must know of a file.

    Attributes:
        operators: the operators, in the order of the file.
        inputs: what goes in.
        outputs: what comes out.
    """

    operators: list[Operator]
    inputs: list[Port]
    outputs: list[Port]

    @property
    def counts(self) -> Counter[str]:
        """How often each operator stands in the file."""
        return Counter(operator.op for operator in self.operators)


def describe_model(data: bytes) -> Description:
    """Reads a TFLite file of one signature.

    Raises:
        DataLossError: the file is damaged.

    Example:
        >>> import pathlib, tempfile
        >>> from lamina import export
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "sum.tflite"
        >>> report = export.save(lambda a, b: a + b, [(1, 2), (2,)], path, format="tflite")
        >>> [(o.op, o.inputs) for o in describe_model(path.read_bytes()).operators]
        [('ADD', [('float32', False), ('float32', False)])]
    """
    model = Reader(data).root("Model")
    codes = fields(model, "operator_codes")
    graphs = fields(model, "subgraphs")
    operators = []
    for graph in graphs:
        tensors = fields(graph, "tensors")
        for operator in fields(graph, "operators"):
            code = codes[operator["opcode_index"]]
            number = max(code["builtin_code"], code["deprecated_builtin_code"])
            made = fields(operator, "outputs")
            label = CODES.get(number) or code.get("custom_code") or f"operator {number}"
            taken = [i for i in fields(operator, "inputs") if i != -1]
            types = [[_type(tensors[i]) for i in places] for places in (taken, made)]
            operators.append(Operator(label, tensors[made[0]].get("name", "") if made else "", *types))
    signature = fields(model, "signature_defs")[0]
    tensors = fields(graphs[signature["subgraph_index"]], "tensors")
    ports = (
        [_port(entry["name"], tensors[entry["tensor_index"]]) for entry in _ordered(graphs, signature, side)]
        for side in ("inputs", "outputs")
    )
    return Description(operators, *ports)


def _ordered(graphs: Any, signature: Mapping[str, Any], side: str) -> list[Any]:
    """The entries of a signature in the order of the graph, which the interpreter counts by."""
    places = list(fields(graphs[signature["subgraph_index"]], side))
    return sorted(fields(signature, side), key=lambda entry: places.index(entry["tensor_index"]))


def _type(tensor: Mapping[str, Any]) -> Type:
    return DTYPES[tensor["type"]].name, bool(len(fields(tensor.get("quantization") or {}, "scale")))


def _port(name: str, tensor: Mapping[str, Any]) -> Port:
    quant = tensor.get("quantization") or {}
    scales, zeros = fields(quant, "scale"), fields(quant, "zero_point")
    return Port(
        name,
        tuple(int(d) for d in fields(tensor, "shape")),
        DTYPES[tensor["type"]],
        float(scales[0]) if scales else None,
        int(zeros[0]) if zeros else 0,
    )
