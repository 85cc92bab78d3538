"""Nodes for what is done on the host around a graph of numbers: records are parsed, text becomes ids and ids text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lamina.core.fingerprint import CROSS_HASH_KEY, fingerprint64
from lamina.export.tensorflow.emitter import INT32, Emitter, Tensor
from lamina.export.tensorflow.table import TABLE
from lamina.graph.dims import BATCH, Dim
from lamina.graph.expand import expand
from lamina.graph.passes.order import optimize
from lamina.graph.trace import trace
from lamina.wire.nodes import Shape, string_tensor

TEXT, INT64, BOOL = np.dtype(object), np.dtype("int64"), np.dtype("bool")
_NO_TEXTS = string_tensor([])


@dataclass(frozen=True)
class Node:
    """A tensor of nodes, with what is known of it.

    Args:
        tensor: the tensor.
        dtype: its dtype; that of objects is text.
        shape: its sizes: numbers, or names of what is not known.
    """

    tensor: Tensor
    dtype: np.dtype
    shape: tuple[Dim, ...]

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        return self.dtype == TEXT


def open_shape(shape: Sequence[Any]) -> Shape:
    """A shape as an attribute: sizes that are not known are None."""
    return Shape(d if isinstance(d, int) else None for d in shape)


@dataclass(frozen=True)
class RecordFeature:
    """A feature of `tf.train.Example` records.

    Args:
        dtype: int64, float32 or text.
        shape: of one record's value; a name in the first axis stands for any number of values.
        default: what stands for it where it is missing, or pads it; None if it must be there.
    """

    dtype: np.dtype
    shape: tuple[Dim, ...]
    default: Any


class HostNodes:
    """Adds nodes that work on records and text.

    Args:
        emitter: where they are added.

    Attributes:
        initializers: the names of the nodes that fill tables, which run once a model is loaded.
    """

    def __init__(self, emitter: Emitter):
        self.emitter = emitter
        self.initializers: list[str] = []

    # ---- ways in

    def placeholder(self, name: str, dtype: Any, shape: Sequence[Any]) -> Node:
        """What callers feed."""
        dtype, sizes = np.dtype(dtype), tuple(shape)
        return Node(self.emitter.node("Placeholder", [], name, dtype=dtype, shape=open_shape(sizes)), dtype, sizes)

    def parse_example(self, records: Node, features: Mapping[str, RecordFeature]) -> dict[str, Node]:
        """The features of serialised records, (batch,); those of any number of values are padded to the longest."""
        keys = sorted(features)
        defaults, shapes = [], []
        for key in keys:
            feature = features[key]
            default = np.empty(0, feature.dtype) if feature.default is None else feature.default
            defaults.append(self.constant(default, feature.dtype).tensor)
            shapes.append(open_shape(feature.shape))
        names = [self.constant(v, TEXT).tensor for v in (_NO_TEXTS, _NO_TEXTS, string_tensor(keys), _NO_TEXTS)]
        dtypes = [features[k].dtype for k in keys]
        made = self.emitter.node(
            "ParseExampleV2", [records.tensor, *names, *defaults], "ParseExample", outputs=len(keys), Tdense=dtypes,
            dense_shapes=shapes, num_sparse=0, sparse_types=[], ragged_value_types=[], ragged_split_types=[],
        )  # fmt: skip
        tensors = [made] if len(keys) == 1 else made
        return {
            key: Node(tensor, features[key].dtype, (BATCH, *features[key].shape))
            for key, tensor in zip(keys, tensors, strict=True)
        }

    def constant(self, value: Any, dtype: Any = None) -> Node:
        """An array; text as str, bytes or arrays of objects."""
        if isinstance(value, (str, bytes)):
            value = string_tensor([value]).reshape(())
        array = np.asarray(value, dtype)
        if array.dtype == TEXT:  # of objects, arrays have no bytes to tell equal ones by
            tensor = self.emitter.node("Const", [], "Const", dtype=TEXT, value=array)
        else:
            tensor = self.emitter.constant(array)
        return Node(tensor, array.dtype, array.shape)

    # ---- shapes and dtypes

    def cast(self, x: Node, dtype: Any) -> Node:
        """`x` in another dtype."""
        dtype = np.dtype(dtype)
        return replace(x, tensor=self.emitter.cast(x.tensor, x.dtype, dtype), dtype=dtype)

    def reshape(self, x: Node, shape: Sequence[Dim], sizes: Sequence[int] | None = None) -> Node:
        """`x` in another shape, with at most one size that is not known; or as `sizes`, with one of -1, give it."""
        sizes = [d if isinstance(d, int) else -1 for d in shape] if sizes is None else sizes
        tensor = self.emitter.node("Reshape", [x.tensor, self.emitter.ints(*sizes)], T=x.dtype, Tshape=INT32)
        return replace(x, tensor=tensor, shape=tuple(shape))

    def batch_size(self, x: Node) -> Tensor:
        """The number of rows, as a vector of one."""
        e = self.emitter
        whole = e.node("Shape", [x.tensor], T=x.dtype, out_type=INT32)
        return e.node("StridedSlice", [whole, e.ints(0), e.ints(1), e.ints(1)], T=INT32, Index=INT32)

    def flat(self, x: Node, like: Node, width: Dim) -> Node:
        """`x` as (batch, width), with the rows of `like`."""
        e = self.emitter
        axes = [self.batch_size(like), e.ints(-1), e.constant(np.int32(0))]
        shape = e.node("ConcatV2", axes, N=2, T=INT32, Tidx=INT32)
        tensor = e.node("Reshape", [x.tensor, shape], T=x.dtype, Tshape=INT32)
        return replace(x, tensor=tensor, shape=(like.shape[0], width))

    def zeros(self, like: Node) -> Node:
        """Zeros of shape (batch, 1), with the rows of `like`."""
        e = self.emitter
        axes = [self.batch_size(like), e.ints(1), e.constant(np.int32(0))]
        shape = e.node("ConcatV2", axes, N=2, T=INT32, Tidx=INT32)
        zero = e.constant(np.float32(0))
        made = e.node("Fill", [shape, zero], T=np.dtype("float32"), index_type=INT32)
        return Node(made, np.dtype("float32"), (like.shape[0], 1))

    def first(self, x: Node, missing: Any) -> Node:
        """The first value of each row of (batch, n), as (batch, 1); `missing` if n is 0."""
        e = self.emitter
        column = e.node("Fill", [self._column_shape(x), e.constant(missing, x.dtype)], T=x.dtype, index_type=INT32)
        both = e.node("ConcatV2", [x.tensor, column, e.constant(np.int32(1))], N=2, T=x.dtype, Tidx=INT32)
        given = [both, e.ints(0, 0), e.ints(0, 1), e.ints(1, 1)]
        made = e.node("StridedSlice", given, T=x.dtype, Index=INT32, begin_mask=1, end_mask=1)
        return replace(x, tensor=made, shape=(x.shape[0], 1))

    def _column_shape(self, x: Node) -> Tensor:
        e = self.emitter
        axes = [self.batch_size(x), e.ints(1), e.constant(np.int32(0))]
        return e.node("ConcatV2", axes, N=2, T=INT32, Tidx=INT32)

    # ---- element by element

    def compare(self, op: str, x: Node, y: Any) -> Node:
        """Whether "Equal", "NotEqual", "Less" and so on hold."""
        other = y if isinstance(y, Node) else self.constant(y, x.dtype)
        return replace(x, tensor=self.emitter.binary(op, x.tensor, other.tensor, x.dtype), dtype=BOOL)

    def select(self, condition: Node, x: Any, y: Any) -> Node:
        """`x` where the condition holds, else `y`; one of both may be a number."""
        dtype = x.dtype if isinstance(x, Node) else y.dtype
        given = [v.tensor if isinstance(v, Node) else self.constant(v, dtype).tensor for v in (x, y)]
        tensor = self.emitter.node("SelectV2", [condition.tensor, *given], T=dtype)
        return Node(tensor, dtype, condition.shape)

    def add(self, x: Node, number: int) -> Node:
        """`x` and a number."""
        return replace(x, tensor=self.emitter.binary("AddV2", x.tensor, self.constant(number, x.dtype).tensor, x.dtype))

    def every_pair(self, x: Node, y: Node, width: Dim) -> Node:
        """Whether both of (batch, n) and (batch, m) hold, for each pair: (batch, n * m)."""
        e = self.emitter
        given = [
            e.node("ExpandDims", [v.tensor, e.constant(np.int32(axis))], T=BOOL, Tdim=INT32)
            for v, axis in ((x, 2), (y, 1))
        ]
        return self.flat(Node(e.node("LogicalAnd", given), BOOL, ()), x, width)

    # ---- text

    def hash_buckets(self, x: Node, buckets: int) -> Node:
        """The hashes of text, or of integers in decimal, modulo a number of buckets."""
        if not x.is_text:
            x = replace(x, tensor=self.emitter.node("AsString", [x.tensor], T=x.dtype), dtype=TEXT)
        tensor = self.emitter.node("StringToHashBucketFast", [x.tensor], num_buckets=buckets)
        return replace(x, tensor=tensor, dtype=INT64)

    def cross(self, parts: Sequence[Node], buckets: int, key: int | None, width: Dim) -> Node:
        """The hashes of all combinations of values of a row: of (batch, n_i), int64 or text, as (batch, width)."""
        made = self.emitter.node(
            "SparseCross", [p.tensor for p in parts], outputs=3, N=0, hashed_output=True, num_buckets=buckets,
            hash_key=CROSS_HASH_KEY if key is None else key, sparse_types=[], dense_types=[p.dtype for p in parts],
            out_type=INT64, internal_type=INT64,
        )  # fmt: skip
        return self.flat(Node(made[1], INT64, ()), parts[0], width)

    def find(self, x: Node, keys: Sequence[Any], default: int) -> Node:
        """The place of each value in a list of text or integers; `default` for others."""
        e = self.emitter
        known = self.constant(string_tensor(keys) if x.is_text else np.asarray(keys, x.dtype), x.dtype)
        # Tables of one name are one table for all models of a process: the name tells what is in it.
        content = int(np.bitwise_xor.reduce(fingerprint64([f"{i}:{k}" for i, k in enumerate(keys)])))
        table = e.node(
            "HashTableV2", [], "hash_table", key_dtype=x.dtype, value_dtype=INT64, container="",
            shared_name=f"table_{len(keys)}_{x.dtype.kind}_{content:016x}", use_node_name_sharing=False,
        )  # fmt: skip
        places = e.constant(np.arange(len(keys), dtype=np.int64), name="places")
        fill = f"{table.node}/fill"
        e.node("LookupTableImportV2", [table, known.tensor, places], fill, Tin=x.dtype, Tout=INT64)
        self.initializers.append(e.nodes[-1].name)
        given = [table, x.tensor, e.constant(np.int64(default))]
        return replace(x, tensor=e.node("LookupTableFindV2", given, Tin=x.dtype, Tout=INT64), dtype=INT64)

    def names(self, numbers: Node, names: Sequence[Any]) -> Node:
        """The texts that numbers stand for."""
        given = [self.constant(string_tensor(names), TEXT).tensor, numbers.tensor, self.emitter.constant(np.int32(0))]
        tensor = self.emitter.node("GatherV2", given, Tparams=TEXT, Tindices=numbers.dtype, Taxis=INT32, batch_dims=0)
        return replace(numbers, tensor=tensor, dtype=TEXT)

    # ---- arithmetic

    def traced(self, function: Callable[..., Any], inputs: Mapping[str, Node]) -> dict[str, Node]:
        """What a function of arrays by name gives: arrays by name, computed by nodes of its own."""
        found: list[str] = []

        def run(*arrays: Any) -> list[Any]:
            out = function(dict(zip(inputs, arrays, strict=True)))
            found[:] = out
            return list(out.values())

        graph = expand(optimize(trace(run, *inputs.values(), name="host")), TABLE.expands)
        tensors = self.emitter.graph(graph, [x.tensor for x in inputs.values()])
        return {
            name: Node(tensor, value.dtype, tuple(value.shape))
            for name, tensor, value in zip(found, tensors, graph.outputs, strict=True)
        }
