"""Reads TFLite files as functions that run. Tensors of int8 are computed as floats, rounded to what they can hold."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core.errors import did_you_mean, listing
from lamina.export.tensorflow.reader import DEFAULT, Loaded, LoadedFunction
from lamina.export.tflite.flatbuffer import Reader, fields
from lamina.export.tflite.read_ops import READ, branch, fake_quantise, loop
from lamina.export.tflite.schema import CODES, DTYPES
from lamina.graph.dims import BATCH
from lamina.graph.trace import layer_of
from lamina.wire.errors import DataLossError

DEEPEST = 32
CONTROL = ("IF", "WHILE")
CHANGING = ("QUANTIZE", "DEQUANTIZE")


@dataclass(frozen=True)
class Known:
    """What a file says about a tensor: its shape (None for unknown sizes), dtype, bytes, and scales."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype
    data: Any
    scale: np.ndarray | None
    zero: int

    @property
    def kind(self) -> np.dtype:
        """The dtype that it is computed in: quantised integers are floats."""
        return np.dtype(np.float32) if self.scale is not None else self.dtype

    def real(self, stored: Any) -> Any:
        """The numbers that stored integers stand for."""
        if self.scale is None:
            return stored
        return ((np.float64(stored) - self.zero) * self.scale).astype(np.float32)


class Program:
    """The graphs of a file.

    Args:
        model: the file's outermost table.
        number: the graph that is run.
    """

    def __init__(self, model: Mapping[str, Any], number: int):
        self.model, self.number = model, number
        self.graphs = fields(model, "subgraphs")
        self.state = SimpleNamespace(variables={})
        self._tensors: dict[tuple[int, int], Known] = {}
        self._constants: dict[tuple[int, int], Any] = {}
        if not 0 <= number < len(self.graphs):
            raise DataLossError(f"a signature names graph {number} of {len(self.graphs)}")

    def tensor(self, graph: int, index: int) -> Known:
        """What the file says about a tensor."""
        if (graph, index) not in self._tensors:
            entries = fields(self.graphs[graph], "tensors")
            if not 0 <= index < len(entries):
                raise DataLossError(f"graph {graph} refers to tensor {index} of {len(entries)}")
            self._tensors[graph, index] = self._described(entries[index])
        return self._tensors[graph, index]

    def _described(self, entry: Mapping[str, Any]) -> Known:
        signature = fields(entry, "shape_signature") or fields(entry, "shape")
        shape = tuple(None if d < 0 else int(d) for d in signature)
        if entry["type"] not in DTYPES:
            raise DataLossError(f"a tensor has a dtype that arrays have not (number {entry['type']})")
        dtype, buffers = DTYPES[entry["type"]], fields(self.model, "buffers")
        if not 0 <= entry["buffer"] < len(buffers):
            raise DataLossError(f"a tensor refers to buffer {entry['buffer']} of {len(buffers)}")
        data = buffers[entry["buffer"]].get("data")
        quant = entry.get("quantization") or {}
        scale, zeros = fields(quant, "scale"), fields(quant, "zero_point")
        zero = int(zeros[0]) if zeros else 0
        if zeros and dtype.kind == "i" and not np.iinfo(dtype).min <= zero <= np.iinfo(dtype).max:
            raise DataLossError(f"the zero point of a tensor of {dtype} is {zero}")
        scales = None
        if scale and dtype.kind == "i":
            axes = [1] * len(shape)
            axis = quant["quantized_dimension"]
            if len(scale) > 1:
                if not 0 <= axis < len(shape) or shape[axis] != len(scale) or any(zeros):
                    raise DataLossError("the scales of a tensor do not fit its shape")
                axes[axis] = len(scale)
            scales = np.asarray(scale, np.float32).reshape(axes if len(scale) > 1 else ())
        if data is not None and (None in shape or math.prod(shape) * dtype.itemsize != len(data)):  # type: ignore[arg-type]
            raise DataLossError(f"a tensor of {dtype}{list(shape)} has {len(data)} bytes")
        if data is None and 0 in shape and entry["buffer"]:
            data = np.zeros(0, np.uint8)
        return Known(entry.get("name") or "", shape, dtype, data, scales, zero)

    def constant(self, graph: int, index: int) -> Any:
        """The array of a tensor that the file holds, or None."""
        if (graph, index) not in self._constants:
            known = self.tensor(graph, index)
            held = None if known.data is None else known.data.view(known.dtype).reshape(known.shape)
            self._constants[graph, index] = None if held is None else known.real(held)
        return self._constants[graph, index]

    def code(self, operator: Mapping[str, Any]) -> str:
        """An operator's name."""
        codes = fields(self.model, "operator_codes")
        if operator["opcode_index"] >= len(codes):
            raise DataLossError("an operator has no code")
        entry = codes[operator["opcode_index"]]
        number = max(entry["builtin_code"], entry["deprecated_builtin_code"])
        return CODES.get(number) or f"{entry.get('custom_code') or 'operator'} (number {number})"

    def check(self, fetches: Sequence[str], what: str) -> None:
        """Raises ValueError, with all operators that cannot be run."""
        ops = {self.code(o) for graph in self.graphs for o in fields(graph, "operators")}
        unknown = sorted(op for op in ops if op not in READ and op not in CONTROL and op not in CHANGING)
        if unknown:
            raise ValueError(f"{what}: the operators {listing(unknown, 'and')} cannot be run.")

    def needs_host(self, fetches: Sequence[str]) -> bool:
        """Whether it cannot be compiled: never."""
        return False

    def run(self, fetches: Sequence[str], feeds: Mapping[str, Any], variables: Any, control: bool = False) -> list[Any]:
        """The outputs; inputs and outputs by the numbers of their tensors, as text. Integers stay integers there."""
        known = {int(key): self._enter(int(key), value) for key, value in feeds.items()}
        values = self._run(self.number, known, [int(f) for f in fetches], 0)
        return [self._leave(int(f), value) for f, value in zip(fetches, values, strict=True)]

    def _enter(self, index: int, value: Any) -> Any:
        known = self.tensor(self.number, index)
        if known.scale is None:
            return value
        return (value.astype(np.float32) - known.zero) * known.scale

    def _leave(self, index: int, value: Any) -> Any:
        known = self.tensor(self.number, index)
        if known.scale is None:
            return value
        info = np.iinfo(known.dtype)
        return jnp.clip(jnp.round(value / known.scale) + known.zero, info.min, info.max).astype(known.dtype)

    def _run(self, graph: int, known: dict[int, Any], wanted: Sequence[int], depth: int) -> list[Any]:
        if depth > DEEPEST or not 0 <= graph < len(self.graphs):
            raise ValueError(f"Graph {graph} is missing, or graphs call each other more than {DEEPEST} deep.")

        def get(index: int) -> Any:
            if index == -1:
                return None
            if index not in known:
                known[index] = self.constant(graph, index)
            if known[index] is None:
                raise ValueError(f"nothing makes tensor {index} of graph {graph}.")
            return known[index]

        for number, operator in enumerate(fields(self.graphs[graph], "operators")):
            op = self.code(operator)
            try:
                inputs = [get(i) for i in fields(operator, "inputs")]
                places = fields(operator, "outputs")
                with layer_of(self._name(graph, places)):
                    out = self.compute(op, operator, inputs, depth)
                    for index, value in zip(places, out, strict=True):
                        known[index] = self.stored(op, graph, index, value)
            except (TypeError, ValueError, IndexError, KeyError, AttributeError, ZeroDivisionError) as error:
                if str(error).startswith("Operator "):
                    raise
                raise ValueError(f"Operator {number} ({op}): {error}") from error
        return [get(i) for i in wanted]

    def _name(self, graph: int, places: Sequence[int]) -> str:
        """The name of an operator's first output; converters join the names of what they fused."""
        tensors = fields(self.graphs[graph], "tensors")
        known = len(places) and 0 <= places[0] < len(tensors)
        return (tensors[places[0]].get("name") or "").partition(";")[0] if known else ""

    def compute(self, op: str, operator: Mapping[str, Any], inputs: list[Any], depth: int = 0) -> list[Any]:
        """The outputs of an operator, before they are stored; `depth` graphs lie around its own."""
        options = dict(operator["builtin_options"][1]) if "builtin_options" in operator else {}
        if op in CHANGING:
            return [inputs[0] if op == "QUANTIZE" else jnp.asarray(inputs[0], np.float32)]
        if op not in CONTROL:
            out = READ[op](options, *inputs)
            return list(out) if isinstance(out, (list, tuple)) else [out]

        def call(number: int, values: Sequence[Any]) -> list[Any]:
            graph = self.graphs[number] if 0 <= number < len(self.graphs) else {}
            places = fields(graph, "inputs")
            return self._run(number, dict(zip(places, values, strict=True)), fields(graph, "outputs"), depth + 1)

        if op == "IF":
            return branch(call, options, *inputs)
        body = self.graphs[options["body_subgraph_index"]]
        pairs = zip(fields(body, "inputs"), fields(body, "outputs"), strict=True)
        return loop(call, options, {i for i, (a, b) in enumerate(pairs) if a == b}, *inputs)

    def stored(self, op: str, graph: int, index: int, value: Any) -> Any:
        """What an operator made, as the tensor that it goes to can hold it."""
        known = self.tensor(graph, index)
        if known.scale is None or known.dtype.itemsize > 2 or op == "DEQUANTIZE":
            return value
        return fake_quantise(value, known.scale, known.zero, known.dtype)


class TFLiteFunction(LoadedFunction):
    """A signature of a TFLite file as a function of named arrays. Unknown first sizes are one size, the batch."""

    def to_graph(self, **shapes: Any) -> Any:
        """The signature as a `Graph`, which other formats can be written from; see `LoadedFunction.to_graph`."""
        named = {
            key: tuple(BATCH if d is None and i == 0 else d for i, d in enumerate(shape))
            for key, (shape, _) in self.inputs.items()
            if shape is not None
        }
        return super().to_graph(**{**named, **shapes})


def load_tflite(
    path: str | os.PathLike, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> Loaded:
    """A TFLite file as functions that our executor runs, one for each signature.

    Args:
        path: the file.
        inputs: the inputs' names, in the order of the arguments; by default that of the file.
        outputs: the names of the wanted outputs; by default all.

    Raises:
        DataLossError: the file is damaged.
        ValueError: a name is unknown, or an operator cannot be run; the message lists all of them.

    Example:
        >>> import os, tempfile
        >>> from lamina import export
        >>> path = os.path.join(tempfile.mkdtemp(), "sum.tflite")
        >>> report = export.save(lambda a, b: a + b, [(None, 2), (2,)], path, format="tflite")
        >>> load_tflite(path)([[1.0, 2.0]], [3.0, 4.0]).tolist()
        [[4.0, 6.0]]
    """
    try:
        model = Reader(Path(path).read_bytes()).root("Model")
        entries = fields(model, "signature_defs") or [_unnamed(model)]
        signatures = {}
        for entry in entries:
            key = entry.get("signature_key") or DEFAULT
            program = Program(model, int(entry["subgraph_index"]))
            given, made = (
                _chosen({e.get("name", ""): str(e["tensor_index"]) for e in fields(entry, side)}, wanted, path)
                for side, wanted in (("inputs", inputs), ("outputs", outputs))
            )
            tensors = {name: program.tensor(program.number, int(i)) for name, i in given.items()}
            for index in made.values():
                program.tensor(program.number, int(index))
            described = {name: (given[name], t.shape, t.dtype) for name, t in tensors.items()}
            signatures[key] = TFLiteFunction(key, program, described, made)  # type: ignore[arg-type]  # has what it asks of one
    except DataLossError as error:
        raise DataLossError(f"'{path}' is no TFLite file, or damaged: {error}.") from error
    return Loaded(os.fspath(path), signatures)


def _chosen(names: dict[str, str], wanted: Sequence[str] | None, path: Any) -> dict[str, str]:
    for name in wanted or ():
        if name not in names:
            raise ValueError(f"load_frozen: '{path}' has no input or output {name!r}.{did_you_mean(name, names)}")
    return names if wanted is None else {name: names[name] for name in wanted}


def _unnamed(model: Mapping[str, Any]) -> dict[str, Any]:
    """A signature for a file without any, by the names of its tensors."""
    graphs = fields(model, "subgraphs")
    if not graphs:
        raise DataLossError("it holds no graph")
    tensors = fields(graphs[0], "tensors")
    entry: dict[str, Any] = {"subgraph_index": 0}
    for side in ("inputs", "outputs"):
        places = fields(graphs[0], side)
        if any(not 0 <= i < len(tensors) for i in places):
            raise DataLossError(f"its {side} are tensors that it has not")
        entry[side] = [{"name": tensors[i].get("name") or f"{side[:-1]}_{i}", "tensor_index": i} for i in places]
    return entry
