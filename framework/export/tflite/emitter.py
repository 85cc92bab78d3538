"""Emitter: writes graphs as tensors and operators; inserts what turns floats into integers and back."""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina.core.naming import free_name
from lamina.export.calibrate import MOVING
from lamina.export.rules import Gap, Target, Unsupported
from lamina.export.tflite.integers import refused
from lamina.export.tflite.schema import ACTIVATIONS, OPERATORS, OPTIONS, TYPES
from lamina.export.tflite.table import TABLE
from lamina.export.tflite.tensors import FLOAT32, INT8, INT16, INT32, Quant, Tensor, of_weights, one
from lamina.export.tflite.versions import version
from lamina.graph.dims import Dim, parse
from lamina.graph.ir import Instr, Value

LEAST_ELEMENTS = 1024
"""Smaller weights stay floats where only weights are quantised."""
ACTIVATION_TYPES = {"int8": INT8, "int16x8": INT16}
"""Precisions of integers throughout, and what activations are in them; weights are int8."""


@dataclass
class File:
    """What all graphs of a file share.

    Attributes:
        precision: "float32", "float16", "dynamic" (int8 weights), "int8" or "int16x8".
        plan: how each value is stored, for each of the integers that activations are.
        layers: the precision of a layer, by its path; without it all have that of the file.
    """

    precision: str = "float32"
    plan: Mapping[np.dtype, Mapping[Value, Quant]] = field(default_factory=dict)
    layers: Callable[[str], str] | None = None
    buffers: list[Any] = field(default_factory=lambda: [None])
    subgraphs: list[dict[str, Any]] = field(default_factory=list)
    codes: dict[tuple[str, int], int] = field(default_factory=dict)
    ops: Counter[str] = field(default_factory=Counter)
    gaps: list[Gap] = field(default_factory=list)
    fallbacks: list[tuple[str, str, str]] = field(default_factory=list)
    _places: dict[bytes, int] = field(default_factory=dict)

    def buffer(self, array: np.ndarray) -> int:
        """The place of an array's bytes; equal ones are written once."""
        array = np.ascontiguousarray(array)
        if not array.size:
            self.buffers.append(array)
            return len(self.buffers) - 1
        key = hashlib.sha256(array.reshape(-1).view(np.uint8).data).digest()
        if key not in self._places:
            self._places[key] = len(self.buffers)
            self.buffers.append(array)
        return self._places[key]

    def activations(self, path: str) -> np.dtype | None:
        """The integers that a layer works on, or None for floats."""
        return ACTIVATION_TYPES.get(self.precision if self.layers is None else self.layers(path))

    def code(self, op: str, number: int) -> int:
        """The place of an operator's code and version."""
        return self.codes.setdefault((op, number), len(self.codes))


class Emitter:
    """Writes one graph.

    Rules call `node`, `constant`, `shape` and their kin, and pass tensors around as they get them. The tensor of an
    instruction's output is described by `out`: its shape, and integers where the instruction works on such.

    Attributes:
        integer: the integers that the instruction works on which is being written, or None.

    Args:
        file: what all graphs of the file share.
        name: the graph's name.
        target: the table of rules.
    """

    def __init__(self, file: File, name: str = "main", target: Target = TABLE):
        self.file, self.target = file, target
        self.entry: dict[str, Any] = {"name": name, "tensors": [], "operators": [], "inputs": [], "outputs": []}
        self.number = len(file.subgraphs)
        file.subgraphs.append(self.entry)
        self.path = ""
        self.integer: np.dtype | None = None
        self._names: set[str] = set()
        self._floats: dict[Value, Tensor] = {}
        self._stored: dict[Value, dict[Quant, Tensor]] = {}
        self._constants: dict[tuple, Tensor] = {}
        self._sized: dict[str, tuple[Tensor, int]] = {}
        self._dims: dict[Dim, Tensor] = {}
        self._over: list[Instr] = []
        self._done: set[int] = set()
        self._arrays: dict[Value, Any] = {}
        self._users: dict[Value, list[Instr]] = {}
        self._ends: set[Value] = set()

    # ---- tensors and operators

    def tensor(
        self, shape: Sequence[Dim], dtype: Any, name: str = "", data: Any = None, quant: Quant | None = None
    ) -> Tensor:
        """Adds a tensor."""
        dtype = np.dtype(dtype)
        if dtype not in TYPES:
            raise Unsupported(f"TFLite files know no dtype {dtype}")
        chosen = self._unique(name or "tensor")
        entry: dict[str, Any] = {
            "shape": one(shape), "type": TYPES[dtype], "name": chosen, "has_rank": True,
            "buffer": 0 if data is None else self.file.buffer(data),
        }  # fmt: skip
        if not all(isinstance(d, int) for d in shape):
            entry["shape_signature"] = [d if isinstance(d, int) else -1 for d in shape]
        if quant is not None:
            entry["quantization"] = {
                "scale": list(quant.scale), "zero_point": [quant.zero] * len(quant.scale),
                "quantized_dimension": quant.axis,
            }  # fmt: skip
        self.entry["tensors"].append(entry)
        return Tensor(len(self.entry["tensors"]) - 1, tuple(shape), dtype, quant)

    def _unique(self, name: str) -> str:
        chosen = free_name(name, self._names)
        self._names.add(chosen)
        return chosen

    def rename(self, values: Iterable[Value]) -> None:
        """Gives tensors that operators make the names of their values."""
        made = {i for operator in self.entry["operators"] for i in operator["outputs"]}
        for value in values:
            tensor = self.found(value)
            if tensor is not None and tensor.index in made:
                made.discard(tensor.index)
                self.entry["tensors"][tensor.index]["name"] = self._unique(value.name)

    def nodes(self, op: str, inputs: Sequence[Tensor | None], specs: Sequence[Any], **options: Any) -> list[Tensor]:
        """Adds an operator of several outputs, each given as (shape, dtype, quantisation)."""
        code, table = OPERATORS[op]
        number = version(op, inputs, options, np.dtype(specs[0][1]))
        outputs = [self.tensor(shape, dtype, f"{self.path or 'model'}/{op}", None, q) for shape, dtype, q in specs]
        entry: dict[str, Any] = {
            "opcode_index": self.file.code(op, number), "inputs": [-1 if t is None else t.index for t in inputs],
            "outputs": [t.index for t in outputs],
        }  # fmt: skip
        if table is not None:
            entry["builtin_options_type"], entry["builtin_options"] = OPTIONS[table], (table, options)
        self.entry["operators"].append(entry)
        self.file.ops[op] += 1
        return outputs

    def node(
        self, op: str, inputs: Sequence[Tensor | None], shape: Sequence[Dim], dtype: Any = None,
        quant: Quant | None = None, **options: Any
    ) -> Tensor:  # fmt: skip
        """Adds an operator of one output; without a dtype it has that of the first input, and its quantisation."""
        first = inputs[0]
        if dtype is None and first is not None:
            dtype, quant = first.dtype, quant or first.quant
        return self.nodes(op, inputs, [(shape, dtype, quant)], **options)[0]

    def out(self, value: Value) -> dict[str, Any]:
        """Shape, dtype and quantisation of an instruction's output, as arguments of `node`."""
        if self.integer is not None and value.dtype == FLOAT32:
            return {"shape": value.shape, "dtype": self.integer, "quant": self.quant(value)}
        return {"shape": value.shape, "dtype": value.dtype}

    def quant(self, value: Value) -> Quant:
        """How a value is stored by the instruction that is being written."""
        return self.file.plan[self.integer or INT8][value]

    def constant(self, value: Any, dtype: Any = None, name: str = "", quant: Quant | None = None) -> Tensor:
        """A known tensor; small ones are written once."""
        array = np.asarray(value, dtype)
        key = (array.dtype.name, array.shape, array.tobytes(), quant) if array.nbytes <= 256 else None
        if key is not None and key in self._constants:
            return self._constants[key]
        name = name or (f"{self.path}/constant" if self.path else "constant")
        made = self.tensor(array.shape, array.dtype, name, array, quant)
        if key is not None:
            self._constants[key] = made
        return made

    def ints(self, *values: int) -> Tensor:
        """A vector of int32."""
        return self.constant(np.asarray(values, np.int32).reshape(-1))

    def weight(self, array: np.ndarray, name: str, axis: int | None = None) -> Tensor:
        """Weights in the file's precision; `axis` has the output's channels, where int8 weights are taken."""
        if array.dtype != FLOAT32:
            return self.constant(array, name=name)
        wanted = self.integer is not None or (self.file.precision == "dynamic" and array.size >= LEAST_ELEMENTS)
        if axis is not None and wanted:
            quant = of_weights(array, axis)
            return self.constant(quant.store(array, -127), name=name, quant=quant)
        if self.file.precision == "float16" and array.ndim > 1:  # vectors are few bytes, and most of the error
            half = self.constant(np.clip(array, -65504, 65504).astype(np.float16), name=name)
            return self.node("DEQUANTIZE", [half], array.shape, FLOAT32)
        return self.constant(array, name=name)

    # ---- values

    def give(self, value: Value, tensor: Tensor) -> None:
        """Notes the tensor of a value."""
        if value.dtype == FLOAT32 and tensor.dtype in (INT8, INT16) and tensor.quant is not None:
            self._stored.setdefault(value, {})[tensor.quant] = tensor
        else:
            self._floats[value] = tensor

    def known(self, value: Value) -> Any:
        """The array of a constant, or None."""
        return self._arrays.get(value)

    def take(self, value: Value) -> Tensor:
        """The tensor of a value, as floats if it is of floats."""
        if value not in self._floats:
            stored = next(iter(self._stored.get(value, {}).values()), None)
            if value in self._arrays:
                outer, self.path = self.path, ""
                self._floats[value] = self.weight(self._arrays[value], _label(value))
                self.path = outer
            elif stored is not None:
                self._floats[value] = self.node("DEQUANTIZE", [stored], value.shape, FLOAT32)
        return self._floats[value]

    def take_stored(self, value: Value, quant: Quant | None = None) -> Tensor:
        """The tensor of a value of floats as integers, stored as planned, or otherwise."""
        quant = quant or self.quant(value)
        have = self._stored.setdefault(value, {})
        if quant not in have:
            if value in self._arrays:
                array = quant.store(self._arrays[value])
                made = self.constant(array, name=f"{_label(value)}/{quant.dtype}", quant=quant)
            else:
                stored = next(iter(have.values()), None)
                source = stored if stored is not None else self.take(value)
                made = self.node("QUANTIZE", [source], value.shape, quant.dtype, quant)
            have[quant] = made
        return have[quant]

    def found(self, value: Value) -> Tensor | None:
        """The tensor that an instruction made of a value, or None; as integers if it is so at hand."""
        stored = next(iter(self._stored.get(value, {}).values()), None)
        return self._floats.get(value) if stored is None else stored

    def is_stored(self, value: Value) -> bool:
        """Whether a value is at hand as integers."""
        return bool(self._stored.get(value))

    # ---- looking ahead: operators of which a later instruction becomes a part

    def next(self, value: Value, *ops: str) -> Instr | None:
        """The one instruction that takes a value, if it is one of the ops."""
        users = self._users.get(value, [])
        if len(users) != 1 or value in self._ends or users[0].op not in ops or users[0].label in self.target.own:
            return None
        return users[0] if users[0].inputs.count(value) == 1 else None

    def take_over(self, instr: Instr) -> Value:
        """Notes that the rule that runs writes a later instruction too; returns that one's output."""
        self._over.append(instr)
        self._done.add(id(instr))
        return instr.output

    def activation(self, value: Value) -> tuple[int, Value]:
        """The activation behind a value that an operator can take over, and the value behind it."""
        found = self.next(value, "Relu", "Relu6")
        if found is None or value.dtype != FLOAT32:
            return 0, value
        return ACTIVATIONS[found.op.lower()], self.take_over(found)

    # ---- sizes

    def knows(self, value: Value, tensor: Tensor) -> None:
        """Notes that the sizes named in the shape of a value can be had from a tensor."""
        for axis, dim in enumerate(value.shape):
            if isinstance(dim, str) and dim.isidentifier():
                self._sized.setdefault(dim, (tensor, axis))

    def size(self, dim: Dim) -> Tensor:
        """A size as a scalar of int32."""
        if isinstance(dim, int):
            return self.constant(np.int32(dim))
        if dim not in self._dims:
            self._dims[dim] = self._expression(parse(dim))
        return self._dims[dim]

    def _expression(self, tree: Any) -> Tensor:
        if isinstance(tree, ast.Constant):
            return self.constant(tree.value, np.int32)
        if isinstance(tree, ast.Name):
            if tree.id not in self._sized:
                raise Unsupported(f"the size '{tree.id}' is that of no input")
            tensor, axis = self._sized[tree.id]
            whole = self.node("SHAPE", [tensor], (len(tensor.shape),), INT32, out_type=TYPES[INT32])
            given = [whole, self.ints(axis), self.ints(axis + 1), self.ints(1)]
            return self.node("STRIDED_SLICE", given, (), shrink_axis_mask=1)
        if isinstance(tree, ast.UnaryOp):
            return self.node("NEG", [self._part(tree.operand)], ())
        if isinstance(tree, ast.BinOp):
            op = {ast.Add: "ADD", ast.Sub: "SUB", ast.Mult: "MUL", ast.Pow: "POW"}[type(tree.op)]
            return self.node(op, [self._part(tree.left), self._part(tree.right)], ())
        op = {"floordiv": "FLOOR_DIV", "mod": "FLOOR_MOD", "max": "MAXIMUM", "min": "MINIMUM"}[tree.func.id]
        return self.node(op, list(map(self._part, tree.args)), ())

    def _part(self, tree: Any) -> Tensor:
        return self.constant(tree.value, np.int32) if isinstance(tree, ast.Constant) else self.size(ast.unparse(tree))

    def shape(self, shape: Sequence[Dim], reshape: bool = False) -> Tensor:
        """A shape as a vector of int32; for a reshape, -1 stands for one unknown size."""
        unknown = [i for i, d in enumerate(shape) if not isinstance(d, int)]
        if not unknown:
            return self.ints(*map(int, shape))
        if reshape and len(unknown) == 1 and 0 not in shape:
            return self.ints(*(-1 if i in unknown else int(d) for i, d in enumerate(shape)))
        parts = [self.size(d) for d in shape]
        return self.node("PACK", parts, (len(parts),), values_count=len(parts), axis=0)

    # ---- what many rules need

    def reshape(self, x: Tensor, shape: Sequence[Dim]) -> Tensor:
        """`x` in another shape."""
        if tuple(x.shape) == tuple(shape):
            return x
        known: dict[str, Any] = {"new_shape": list(shape)} if all(isinstance(d, int) for d in shape) else {}
        return self.node("RESHAPE", [x, self.shape(shape, reshape=True)], shape, **known)

    def transpose(self, x: Tensor, perm: Sequence[int]) -> Tensor:
        """`x` with its axes in another order."""
        if list(perm) == list(range(len(perm))):
            return x
        return self.node("TRANSPOSE", [x, self.ints(*perm)], [x.shape[p] for p in perm])

    def cast(self, x: Tensor, dtype: Any) -> Tensor:
        """`x` in another dtype."""
        dtype = np.dtype(dtype)
        if x.dtype == dtype:
            return x
        if dtype not in TYPES:
            raise Unsupported(f"TFLite files know no dtype {dtype}")
        return self.node("CAST", [x], x.shape, dtype, in_data_type=TYPES[x.dtype], out_data_type=TYPES[dtype])

    def slice(
        self, x: Tensor, start: Sequence[Dim], stop: Sequence[Dim], shape: Sequence[Dim], strides: Any = None
    ) -> Tensor:
        """A part of `x`."""
        if len(start) > 5:
            raise Unsupported("TFLite cuts pieces out of at most 5 axes")
        whole = sum(1 << i for i, d in enumerate(stop) if d == x.shape[i])
        ends = [0 if whole >> i & 1 else d for i, d in enumerate(stop)]
        given = [x, self.shape(start), self.shape(ends), self.ints(*(strides or [1] * len(start)))]
        return self.node("STRIDED_SLICE", given, shape, end_mask=whole)

    # ---- graphs

    def graph(self, graph: Any, inputs: Sequence[Tensor]) -> None:
        """Adds the instructions of a graph; what cannot be written is added to the file's gaps."""
        self._arrays = {v: np.asarray(a) for v, a in graph.constants.items()}
        self._users, self._ends = graph.users(), set(graph.outputs)
        for value, tensor in zip(graph.inputs, inputs, strict=True):
            self.give(value, tensor)
            self.knows(value, tensor)
        for instr in graph.instrs:
            if id(instr) not in self._done:
                self._instruction(instr)
        self.path = ""

    def _instruction(self, instr: Instr) -> None:
        self.path, self._over = instr.path, []
        rule, wants = self.target.find(instr), QUANTISED.get(instr.op)
        try:
            if rule is None:
                reason = "a primitive of jax outside of the table of ops"
                raise Unsupported(self.target.unsupported.get(instr.op, reason))
            if instr.label not in self.target.own and (reason := refused(instr)):
                raise Unsupported(reason)
            kind = self.file.activations(instr.path)
            if kind is not None and wants is not None and (kind == INT8 or instr.op in WIDE):
                self.integer = kind  # what rules look up while they decide
                self.integer = kind if wants(self, instr) else None
            given = [
                self.take_stored if self.integer is not None and v.dtype == FLOAT32 else self.take for v in instr.inputs
            ]
            if getattr(rule, "lazy", False):
                made = rule(self, instr)
            else:
                made = rule(self, instr, *(get(v) for get, v in zip(given, instr.inputs, strict=True)))
            made = list(made) if isinstance(made, (list, tuple)) and not isinstance(made, Tensor) else [made]
        except Unsupported as error:
            self.file.gaps.append(Gap(instr.label, instr.path, str(error)))
            made = [Tensor(0, v.shape, v.dtype) for v in instr.outputs]
        if (
            self.file.precision in ACTIVATION_TYPES
            and self.integer is None
            and instr.op not in MOVING
            and any(v.dtype == FLOAT32 for v in instr.inputs)
        ):
            self.file.fallbacks.append((instr.path, instr.label, "computed in float32"))
        self.integer = None
        for value, tensor in zip(instr.outputs, made, strict=True):
            self.give(value, tensor)
        for later in self._over:
            self.give(later.output, made[0])


# op -> function(emitter, instr): whether the instruction is written for integers; ops that are missing never are
QUANTISED: dict[str, Callable[[Emitter, Instr], bool]] = {}
WIDE: set[str] = set()
"""Those that have kernels for activations of int16 too."""


def lazy(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator: the rule takes the tensors of its inputs itself."""
    rule.lazy = True  # type: ignore[attr-defined]
    return rule


def _label(value: Value) -> str:
    return "constant" if value.name.startswith("const") else value.name
