"""Emitter: writes the nodes of a GraphDef, at top level or in the body of a function."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lamina.export.rules import Gap, Target, Unsupported
from lamina.export.tensorflow.table import TABLE
from lamina.graph.base import GraphBase
from lamina.graph.dims import Dim, names_in, parse
from lamina.graph.ir import Instr, Value
from lamina.wire.graph import FunctionDef, GraphDef
from lamina.wire.nodes import PRODUCER, Function, Shape, node
from lamina.wire.tensor import NUMBERS

INT32 = np.dtype("int32")
# The name of the (only) output of an op, where it is not "output": bodies of functions refer to outputs by name.
_OUTPUTS: dict[str, str] = {}
for _name, _ops in {
    "y": "Neg Abs Sign Floor Ceil Round Exp Expm1 Log Log1p Sqrt Rsqrt Square Reciprocal Sin Cos Tan Asin Acos Atan "
    "Sinh Cosh Tanh Asinh Acosh Atanh Erf Erfc IsFinite Sigmoid LogicalNot Invert Cast Transpose FusedBatchNormV3",
    "activations": "Relu Relu6 Softplus Softsign LeakyRelu Elu",
    "z": "AddV2 Sub Mul RealDiv TruncateDiv TruncateMod FloorDiv FloorMod Pow Maximum Minimum Atan2 LogicalAnd "
    "LogicalOr BitwiseAnd BitwiseOr BitwiseXor LeftShift RightShift Equal NotEqual Less LessEqual Greater GreaterEqual",
    "out": "Cumsum Cumprod",
    "product": "MatMul",
    "resized_images": "ResizeBilinear ResizeNearestNeighbor",
    "softmax": "Softmax",
    "logsoftmax": "LogSoftmax",
    "value": "ReadVariableOp",
}.items():
    _OUTPUTS.update(dict.fromkeys(_ops.split(), _name))
# Ops with several outputs of different names, in order; others have one, or a list of one name.
MULTIPLE = {
    "TopKV2": ("values", "indices"),
    "FusedBatchNorm": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
    "FusedBatchNormV2": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
    "FusedBatchNormV3": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2", "reserve_space_3"),
    "Unique": ("y", "idx"),
    "UniqueV2": ("y", "idx"),
    "Switch": ("output_false", "output_true"),
    "Merge": ("output", "value_index"),
    "SparseReshape": ("output_indices", "output_shape"),
    "SparseFillEmptyRows": ("output_indices", "output_values", "empty_row_indicator", "reverse_index_map"),
    "StringSplitV2": ("indices", "values", "shape"),
}


class Tensor(NamedTuple):
    """An output of a node.

    Attributes:
        node: the node's name.
        output: which of its outputs.
        place: how the body of a function refers to it.
    """

    node: str
    output: int = 0
    place: str = ""


class Emitter:
    """Writes one graph as nodes.

    Rules call `node`, `constant`, `shape` and their kin, and pass tensors around as they get them.

    Args:
        file: the GraphDef; functions go to its library.
        target: the table of rules.
        scope: what stands in front of all names.
        function: whether the nodes are the body of a function.
    """

    def __init__(self, file: Any, target: Target = TABLE, scope: str = "", function: bool = False):
        self.file, self.target, self.scope, self.is_function = file, target, scope, function
        self.nodes: list[Any] = []
        self.gaps: list[Gap] = []
        self.fallbacks: list[tuple[str, str, str]] = []
        self.allow_xla = False
        self.path = ""
        self._names: set[str] = set()
        self._constants: dict[tuple, Tensor] = {}
        self._sizes: dict[str, Tensor] = {}
        self._sized: dict[str, tuple[Tensor, int]] = {}
        self._dims: dict[Dim, Tensor] = {}
        self._input_dtypes: dict[Tensor, Any] = {}

    # ---- nodes

    def unique(self, name: str) -> str:
        """A name that no node has, made of one that is wanted."""
        plain = "".join(c if c.isalnum() or c in "_./-" else "_" for c in name).lstrip("_/-") or "node"
        plain = f"{self.scope}{plain}".replace("/", "_") if self.is_function else f"{self.scope}{plain}"
        chosen, n = plain, 0
        while chosen.lower() in self._names:  # TensorFlow takes names that differ in case alone for the same
            n += 1
            chosen = f"{plain}_{n}"
        self._names.add(chosen.lower())
        return chosen

    def node(self, op: str, inputs: Sequence[Tensor], name: str | None = None, outputs: int = 1, **attrs: Any) -> Any:
        """Adds a node.

        Args:
            op: the op in TensorFlow's terms.
            inputs: tensors.
            name: of the node; by default made of the layer and the op.
            outputs: how many outputs it has.
            **attrs: as `lamina.wire.nodes.attr_value` takes them; those without a default must be given.

        Returns:
            A tensor, or a list of several.
        """
        name = self.unique(name or (f"{self.path}/{op}" if self.path else op))
        self.nodes.append(node(name, op, [self._reference(t) for t in inputs], **attrs))
        names = MULTIPLE.get(op)
        made = []
        for i in range(outputs):
            place = f"{names[i]}:0" if names else f"{_OUTPUTS.get(op, 'output')}:{i}"
            made.append(Tensor(name, i, f"{name}:{place}"))
        return made[0] if outputs == 1 else made

    def _reference(self, tensor: Tensor) -> str:
        if self.is_function:
            return tensor.place
        return f"{tensor.node}:{tensor.output}" if tensor.output else tensor.node

    def constant(self, value: Any, dtype: Any = None, name: str | None = None) -> Tensor:
        """A constant; small ones without a name are written once."""
        array = np.asarray(value, dtype)
        key = (array.dtype.name, array.shape, array.tobytes()) if array.nbytes <= 256 and name is None else None
        if key is not None and key in self._constants:
            return self._constants[key]
        if array.dtype not in NUMBERS:
            raise Unsupported(f"graphs know no dtype {array.dtype}")
        name = name or (f"{self.path}/Const" if self.path else "Const")
        made = self.node("Const", [], name, dtype=array.dtype, value=array)
        if key is not None:
            self._constants[key] = made
        return made

    def ints(self, *values: int) -> Tensor:
        """A vector of int32."""
        return self.constant(np.asarray(values, np.int32).reshape(-1))

    def unary(self, op: str, x: Tensor, dtype: Any) -> Tensor:
        """A node of one input, with the attribute T."""
        return self.node(op, [x], T=np.dtype(dtype))

    def binary(self, op: str, x: Tensor, y: Tensor, dtype: Any) -> Tensor:
        """A node of two inputs, with the attribute T."""
        return self.node(op, [x, y], T=np.dtype(dtype))

    def reshape(self, x: Tensor, shape: Sequence[Dim], dtype: Any) -> Tensor:
        """`x` in another shape, which may have sizes that are not known."""
        return self.node("Reshape", [x, self.shape(shape, reshape=True)], T=np.dtype(dtype), Tshape=INT32)

    def transpose(self, x: Tensor, perm: Sequence[int], dtype: Any) -> Tensor:
        """`x` with its axes in another order."""
        if list(perm) == list(range(len(perm))):
            return x
        return self.node("Transpose", [x, self.ints(*perm)], T=np.dtype(dtype), Tperm=INT32)

    def cast(self, x: Tensor, source: Any, dtype: Any) -> Tensor:
        """`x` in another dtype."""
        source, dtype = np.dtype(source), np.dtype(dtype)
        return x if source == dtype else self.node("Cast", [x], SrcT=source, DstT=dtype)

    def slice(self, x: Tensor, start: Sequence[Dim], stop: Sequence[Dim], dtype: Any, strides: Any = None) -> Tensor:
        """A part of `x`."""
        strides = self.ints(*(strides or [1] * len(start)))
        given = [x, self.shape(start), self.shape(stop), strides]
        return self.node("StridedSlice", given, T=np.dtype(dtype), Index=INT32)

    # ---- sizes

    def knows(self, value: Value, tensor: Tensor) -> None:
        """Notes that the sizes named in the shape of a value can be had from a tensor."""
        for axis, dim in enumerate(value.shape):
            if isinstance(dim, str) and dim.isidentifier():
                self._sized.setdefault(dim, (tensor, axis))

    def given_size(self, name: str, tensor: Tensor) -> None:
        """Notes that a scalar holds a named size."""
        self._sizes[name] = tensor

    def size(self, dim: Dim) -> Tensor:
        """A size as a scalar."""
        if isinstance(dim, int):
            return self.constant(np.int32(dim))
        if dim not in self._dims:
            self._dims[dim] = self._expression(parse(dim))
        return self._dims[dim]

    def _expression(self, tree: Any) -> Tensor:
        if isinstance(tree, ast.Constant):
            value: Any = tree.value
            return self.constant(np.int32(value))
        if isinstance(tree, ast.Name):
            return self._named_size(tree.id)
        if isinstance(tree, ast.UnaryOp):
            return self.unary("Neg", self._expression(tree.operand), INT32)
        names = {ast.Add: "AddV2", ast.Sub: "Sub", ast.Mult: "Mul", ast.Pow: "Pow"}
        if isinstance(tree, ast.BinOp):
            return self.binary(names[type(tree.op)], self._expression(tree.left), self._expression(tree.right), INT32)
        op = {"floordiv": "FloorDiv", "mod": "FloorMod", "max": "Maximum", "min": "Minimum"}[tree.func.id]
        x, y = map(self._expression, tree.args)
        return self.binary(op, x, y, INT32)

    def _named_size(self, name: str) -> Tensor:
        if name not in self._sizes:
            if name not in self._sized:
                raise Unsupported(f"the size '{name}' is that of no input")
            tensor, axis = self._sized[name]
            value = self._input_dtypes[tensor]
            whole = self.node("Shape", [tensor], T=value, out_type=INT32)
            self._sizes[name] = self.node(
                "StridedSlice", [whole, self.ints(axis), self.ints(axis + 1), self.ints(1)], T=INT32, Index=INT32,
                shrink_axis_mask=1,
            )  # fmt: skip
        return self._sizes[name]

    def shape(self, shape: Sequence[Dim], reshape: bool = False) -> Tensor:
        """A shape as a vector of int32.

        Args:
            shape: sizes.
            reshape: whether it is for a Reshape, where -1 can stand for one size.
        """
        unknown = [i for i, d in enumerate(shape) if not isinstance(d, int)]
        if not unknown:
            return self.ints(*shape)  # type: ignore[arg-type]
        if reshape and len(unknown) == 1 and 0 not in shape:
            return self.ints(*(-1 if i in unknown else int(d) for i, d in enumerate(shape)))
        return self.node("Pack", [self.size(d) for d in shape], N=len(shape), T=INT32)

    # ---- graphs

    def graph(
        self, graph: GraphBase, inputs: Sequence[Tensor], weights: dict[Value, Tensor] | None = None
    ) -> list[Tensor]:
        """Adds the instructions of a graph; what cannot be written is added to `gaps`.

        Args:
            graph: the graph.
            inputs: tensors for its inputs.
            weights: tensors for some of its constants; the others become Const nodes.
        """
        known: dict[Value, Tensor] = dict(zip(graph.inputs, inputs, strict=True))
        self._input_dtypes.update({tensor: value.dtype for value, tensor in known.items()})
        for value, tensor in known.items():
            self.knows(value, tensor)
        self._graph_constants = {**graph.constants}
        for value, array in graph.constants.items():
            known[value] = weights[value] if weights and value in weights else self._weight(value, array)
        for instr in graph.instrs:
            made = self._instruction(instr, [known[v] for v in instr.inputs])
            known.update(zip(instr.outputs, made, strict=True))
        return [known[v] for v in graph.outputs]

    def _weight(self, value: Value, array: Any) -> Tensor:
        self.path = ""
        array = np.asarray(array)
        if array.nbytes > 2**31 - 2**20:
            self.gaps.append(Gap("constant", value.name, "holds more than 2 GiB; save variables as a SavedModel"))
            return Tensor(value.name)
        try:
            return self.constant(array, name=None if value.name.startswith("const") else value.name)
        except Unsupported as error:
            self.gaps.append(Gap("constant", value.name, str(error)))
            return Tensor(value.name)

    def known(self, value: Value) -> Any:
        """The array of a constant of the graph that is being written, or None."""
        return self._graph_constants.get(value)

    def _instruction(self, instr: Instr, inputs: list[Tensor]) -> list[Tensor]:
        self.path = instr.path
        rule = self.target.find(instr)
        try:
            if rule is None:
                raise Unsupported(
                    self.target.unsupported.get(instr.op, "a primitive of jax outside of the table of ops")
                )
            if any(v.dtype.kind == "c" for v in (*instr.inputs, *instr.outputs)) and instr.label not in self.target.own:
                raise Unsupported("of complex numbers, which is not written op by op")
            out = rule(self, instr, *inputs)
        except Unsupported as error:
            if not self.allow_xla:
                self.gaps.append(Gap(instr.label, instr.path, str(error)))
                return [Tensor("gap", i, "gap") for i in range(len(instr.outputs))]
            try:
                out = self.target.fallback(self, instr, *inputs)  # type: ignore[misc]
            except Unsupported as second:
                self.gaps.append(Gap(instr.label, instr.path, f"{error}; {second}"))
                return [Tensor("gap", i, "gap") for i in range(len(instr.outputs))]
            self.fallbacks.append((instr.path, instr.label, "XlaCallModule, which only TensorFlow runs"))
        return list(out) if isinstance(out, (list, tuple)) and not isinstance(out, Tensor) else [out]

    def function(self, graph: GraphBase, sizes: Sequence[str], returned: bool = False) -> Function:
        """Adds a graph to the library as a function; returns its name.

        The name has a checksum of the contents: TensorFlow takes functions of one name in two files that it runs in one
        process for the same, and refuses the second if it differs.

        Args:
            graph: the graph.
            sizes: named sizes, which are its last arguments.
            returned: whether it returns them too.
        """
        inner = Emitter(self.file, self.target, function=True)
        inner.allow_xla, inner.gaps, inner.fallbacks = self.allow_xla, self.gaps, self.fallbacks
        made = FunctionDef()
        arguments = []
        for i, dtype in enumerate([v.dtype for v in graph.inputs] + [INT32] * len(sizes)):
            argument = inner.unique(f"arg{i}")
            made.signature.input_arg.add(name=argument, type=NUMBERS[dtype])
            arguments.append(Tensor(argument, 0, argument))
        count = len(graph.inputs)
        for size, tensor in zip(sizes, arguments[count:], strict=True):
            inner.given_size(size, tensor)
        results = list(zip((v.dtype for v in graph.outputs), inner.graph(graph, arguments[:count]), strict=True))
        results += [(INT32, tensor) for tensor in arguments[count:]] if returned else []
        for i, (dtype, tensor) in enumerate(results):
            made.signature.output_arg.add(name=f"out{i}", type=NUMBERS[dtype])
            if tensor in arguments:  # a function must not return an argument itself
                tensor = inner.node("Identity", [tensor], T=dtype)
            made.ret[f"out{i}"] = tensor.place
        made.node_def.extend(inner.nodes)
        contents = made.SerializeToString(deterministic=True)
        name = made.signature.name = f"{graph.name}_{hashlib.sha256(contents).hexdigest()[:16]}"
        if all(known.signature.name != name for known in self.file.library.function):
            self.file.library.function.append(made)
        return Function(name)


def named_sizes(graph: GraphBase) -> list[str]:
    """All named sizes in the shapes of a graph and of the graphs inside it."""
    found: set[str] = set()
    for value in graph.values():
        found.update(*(names_in(d) for d in value.shape))
    for instr in graph.instrs:
        for sub in instr.subgraphs:
            found.update(named_sizes(sub))
    return sorted(found)


def unknown_shape(value: Value) -> Shape:
    """The shape of a value as an attribute: None for sizes that are not known."""
    return Shape(d if isinstance(d, int) else None for d in value.shape)


def new_file() -> Any:
    """An empty GraphDef of the version that is written."""
    file = GraphDef()
    file.versions.producer = PRODUCER
    return file
