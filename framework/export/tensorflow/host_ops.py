"""TensorFlow's ops on strings, tables, checkpoints, and shapes that follow from values: numpy computes them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lamina.checkpoint import load_checkpoint
from lamina.export.tensorflow.node_attrs import Attrs
from lamina.wire.tensor import DTYPES

# op -> function(state, attributes, *inputs)
HOST: dict[str, Callable[..., Any]] = {}


@dataclass(frozen=True)
class Resource:
    """A handle of a variable or table."""

    name: str


@dataclass
class State:
    """What a loaded model keeps: the values of its variables and the entries of its tables, by name; and its folder."""

    variables: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, dict[Any, Any]] = field(default_factory=dict)
    folder: Path | None = None

    def path(self, name: Any) -> Path:
        """The file that a graph names, which must lie in the model's folder: files are taken for hostile.

        Raises:
            ValueError: it lies elsewhere, or is no name.
        """
        name = np.asarray(name).item()
        if self.folder is None or not isinstance(name, bytes) or b"\0" in name:
            raise ValueError(f"{name!r} is no file of this model.")
        path = Path(os.fsdecode(name)).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise ValueError(f"'{path}' lies outside of the model's folder.")
        return path


def host(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function computes these ops."""

    def add(fn: Callable[..., Any]) -> Callable[..., Any]:
        HOST.update(dict.fromkeys(names, fn))
        return fn

    return add


def _strings(values: Any, shape: Any = None) -> np.ndarray:
    values = list(values)
    out = np.empty(len(values), object)
    out[:] = values
    return out if shape is None else out.reshape(shape)


def _each(fn: Callable[..., Any], x: Any, dtype: Any = object) -> np.ndarray:
    x = np.asarray(x)
    values = [fn(v) for v in x.reshape(-1).tolist()]
    return _strings(values, x.shape) if dtype is object else np.asarray(values, dtype).reshape(x.shape)


# ---- handles


@host("VarHandleOp", "VariableV2", "Variable")
def _variable(state: State, a: Attrs) -> Resource:
    return Resource(a.s("shared_name", "") or a.node.name)


@host("HashTableV2", "MutableHashTableV2", "HashTable", "MutableHashTableOfTensorsV2")
def _table(state: State, a: Attrs) -> Resource:
    return Resource(a.s("shared_name", "") or a.node.name)


@host("AssignVariableOp", "Assign")
def _assign(state: State, a: Attrs, handle: Resource, value: Any) -> list[Any]:
    state.variables[handle.name] = np.asarray(value)
    return [value]


@host("VarIsInitializedOp", "IsVariableInitialized")
def _is_initialized(state: State, a: Attrs, handle: Resource) -> Any:
    return np.asarray(handle.name in state.variables)


@host("LookupTableImportV2")
def _import_table(state: State, a: Attrs, handle: Resource, keys: Any, values: Any) -> list[Any]:
    flat = np.asarray(values)
    rows = (
        flat.reshape(len(np.asarray(keys).reshape(-1)), -1) if flat.ndim > np.asarray(keys).ndim else flat.reshape(-1)
    )
    state.tables[handle.name] = dict(zip(np.asarray(keys).reshape(-1).tolist(), list(rows), strict=True))
    return []


@host("InitializeTableFromTextFileV2")
def _table_from_file(state: State, a: Attrs, handle: Resource, filename: Any) -> list[Any]:
    delimiter = a.s("delimiter", "\t").encode()
    columns = (a.i("key_index"), a.i("value_index"))
    lines = state.path(filename).read_bytes().splitlines()
    parts = []
    for column in columns:
        whole, number = column == -2, column == -1
        parts.append(
            [n if number else line if whole else line.split(delimiter)[column] for n, line in enumerate(lines)]
        )
    state.tables[handle.name] = dict(zip(*parts, strict=True))
    return []


@host("LookupTableFindV2")
def _find(state: State, a: Attrs, handle: Resource, keys: Any, default: Any) -> Any:
    table = state.tables.get(handle.name)
    if table is None:
        raise ValueError(f"table '{handle.name}' has not been filled.")
    default = np.asarray(default)
    found = [table.get(k, default) for k in np.asarray(keys).reshape(-1).tolist()]
    dtype = a.dtype("Tout")
    if dtype.hasobject:
        return _strings([v.item() if isinstance(v, np.ndarray) else v for v in found], np.shape(keys))
    return np.asarray([int(v) if isinstance(v, bytes) else v for v in found], dtype).reshape(
        *np.shape(keys), *default.shape
    )


@host("LookupTableSizeV2")
def _table_size(state: State, a: Attrs, handle: Resource) -> Any:
    return np.asarray(len(state.tables.get(handle.name, {})), np.int64)


# ---- checkpoints


@host("RestoreV2")
def _restore(state: State, a: Attrs, prefix: Any, names: Any, slices: Any) -> list[Any]:
    reader = load_checkpoint(state.path(prefix))
    out = []
    parts = np.asarray(slices).reshape(-1).tolist()
    numbers = a.dtypes("dtypes")
    for name, part, dtype in zip(np.asarray(names).reshape(-1).tolist(), parts, numbers, strict=True):
        key = name.decode()
        if not reader.has_tensor(key) and key == "_CHECKPOINTABLE_OBJECT_GRAPH":
            out.append(_strings([b""], ()))
            continue
        value = np.asarray(reader.get_tensor(key), object if DTYPES.get(dtype, np.dtype("f4")).hasobject else None)
        out.append(_part(value, part.decode()))
    return out


def _part(value: np.ndarray, spec: str) -> np.ndarray:
    """A part of a tensor from a spec such as `4 3 0,2:-`: the whole shape, then start and length of each axis."""
    if not spec:
        return value
    key = []
    for extent in spec.split(" ")[-1].split(":"):
        start, _, length = extent.partition(",")
        key.append(slice(None) if start == "-" else slice(int(start), int(start) + int(length)))
    return value[tuple(key)]


@host("ShardedFilename", "MergeV2Checkpoints", "SaveV2")
def _not_for_reading(state: State, a: Attrs, *x: Any) -> Any:
    raise ValueError(f"{a.node.op} writes files; save weights with lamina.checkpoint.")


# ---- strings


@host("AsString")
def _as_string(state: State, a: Attrs, x: Any) -> Any:
    x = np.asarray(x)
    precision = a.i("precision", -1)
    if x.dtype == bool:
        return _each(lambda v: b"true" if v else b"false", x)
    if x.dtype.kind in "iu":
        return _each(lambda v: str(v).encode(), x)
    return _each(lambda v: f"{v:.{6 if precision < 0 else precision}f}".encode(), x)


@host("StringToNumber")
def _to_number(state: State, a: Attrs, x: Any) -> Any:
    dtype = a.dtype("out_type", np.float32)
    return _each(int if dtype.kind in "iu" else float, x, dtype)


@host("StringJoin")
def _join(state: State, a: Attrs, *x: Any) -> Any:
    separator = a.s("separator", "").encode() if "separator" in a.node.attr else b""
    parts = np.broadcast_arrays(*(np.asarray(v, object) for v in x))
    joined = [separator.join(row) for row in zip(*(p.reshape(-1).tolist() for p in parts), strict=True)]
    return _strings(joined, parts[0].shape)


@host("StringLower", "StringUpper", "StringStrip")
def _case(state: State, a: Attrs, x: Any) -> Any:
    methods: dict[str, Any] = {"StringLower": bytes.lower, "StringUpper": bytes.upper, "StringStrip": bytes.strip}
    return _each(methods[a.node.op], x)


@host("StringLength")
def _string_length(state: State, a: Attrs, x: Any) -> Any:
    return _each(len, x, np.int32)


@host("StaticRegexFullMatch")
def _full_match(state: State, a: Attrs, x: Any) -> Any:
    pattern = re.compile(a.raw("pattern"))
    return _each(lambda v: pattern.fullmatch(v) is not None, x, np.bool_)


# ---- shapes that follow from values


@host("Where")
def _where(state: State, a: Attrs, x: Any) -> Any:
    return np.argwhere(np.asarray(x)).astype(np.int64)


@host("Unique", "UniqueV2")
def _unique(state: State, a: Attrs, x: Any, *_: Any) -> list[Any]:
    """In the order in which they first come."""
    x = np.asarray(x)
    places: dict[Any, int] = {}
    index = [places.setdefault(v, len(places)) for v in x.tolist()]
    values = _strings(places) if x.dtype == object else np.asarray(list(places), x.dtype)
    return [values, np.asarray(index, a.dtype("out_idx", np.int32))]


@host("SparseToDense")
def _sparse_to_dense(state: State, a: Attrs, indices: Any, shape: Any, values: Any, default: Any) -> Any:
    out = np.full(tuple(np.asarray(shape).tolist()), default, np.asarray(values).dtype)
    indices = np.asarray(indices)
    indices = indices.reshape(-1, out.ndim)
    out[tuple(indices.T)] = values
    return out


@host("SparseReshape")
def _sparse_reshape(state: State, a: Attrs, indices: Any, shape: Any, new: Any) -> list[Any]:
    old, wanted = tuple(np.asarray(shape).tolist()), np.asarray(new).tolist()
    if -1 in wanted:
        rest = int(np.prod([d for d in wanted if d != -1]))
        wanted[wanted.index(-1)] = int(np.prod(old)) // max(rest, 1)
    flat = np.ravel_multi_index(tuple(np.asarray(indices).T), old)
    return [np.stack(np.unravel_index(flat, wanted), -1).astype(np.int64), np.asarray(wanted, np.int64)]


@host("SparseFillEmptyRows")
def _fill_empty_rows(state: State, a: Attrs, indices: Any, values: Any, shape: Any, default: Any) -> list[Any]:
    indices, values = np.asarray(indices), np.asarray(values)
    rows = int(np.asarray(shape)[0])
    empty = ~np.isin(np.arange(rows), indices[:, 0])
    added = np.zeros((int(empty.sum()), indices.shape[1]), indices.dtype)
    added[:, 0] = np.flatnonzero(empty)
    joined = np.concatenate([indices, added])
    order = np.argsort(joined[:, 0], kind="stable")
    filled = np.concatenate([values, np.full(len(added), np.asarray(default).item(), values.dtype)])
    place = np.argsort(order, kind="stable")[: len(indices)].astype(np.int64)
    return [joined[order], filled[order], empty, place]


@host("SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN")
def _sparse_segment(state: State, a: Attrs, x: Any, indices: Any, segments: Any) -> Any:
    x, indices, segments = np.asarray(x), np.asarray(indices), np.asarray(segments)
    count = int(segments.max()) + 1 if len(segments) else 0
    out = np.zeros((count, *x.shape[1:]), x.dtype)
    np.add.at(out, segments, x[indices])
    sizes = np.maximum(np.bincount(segments, minlength=count), 1).astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    if a.node.op == "SparseSegmentSum":
        return out
    return out / (sizes if a.node.op == "SparseSegmentMean" else np.sqrt(sizes))


@host("Bucketize")
def _bucketize(state: State, a: Attrs, x: Any) -> Any:
    edges = np.asarray(a.node.attr["boundaries"].list.f, np.float32)
    return np.digitize(np.asarray(x), edges).astype(np.int32)
