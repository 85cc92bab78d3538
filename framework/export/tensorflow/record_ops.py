"""What reads records and hashes text in TensorFlow's graphs: parsed examples, hash buckets, crosses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from lamina.core.fingerprint import cross_fingerprints, fingerprint64
from lamina.export.tensorflow.host_ops import State, host
from lamina.export.tensorflow.node_attrs import Attrs
from lamina.wire.errors import DataLossError
from lamina.wire.example import Example
from lamina.wire.tensor import DTYPES

_KINDS = {"f": "float_list", "i": "int64_list", "O": "bytes_list"}


@host("ParseExample", "ParseExampleV2")
def _parse_example(state: State, a: Attrs, serialized: Any, _: Any, *rest: Any) -> list[Any]:
    sparse, dense = a.dtypes("sparse_types"), a.dtypes("Tdense")
    if a.node.op == "ParseExampleV2":
        sparse_keys, dense_keys, ragged = (np.asarray(k).reshape(-1).tolist() for k in rest[:3])
        defaults = rest[3:]
        if ragged:
            raise ValueError("ragged features are not read.")
    else:
        sparse_keys = [np.asarray(k).item() for k in rest[: len(sparse)]]
        dense_keys = [np.asarray(k).item() for k in rest[len(sparse) : len(sparse) + len(dense)]]
        defaults = rest[len(sparse) + len(dense) :]
    serialized = np.asarray(serialized)
    records = [_features(r) for r in serialized.reshape(-1).tolist()]
    found = [_sparse(records, key, DTYPES[dtype]) for key, dtype in zip(sparse_keys, sparse, strict=True)]
    out = [part for parts in zip(*found, strict=True) for part in parts]
    shapes = [tuple(d.size for d in s.dim) for s in a.node.attr["dense_shapes"].list.shape]
    for key, dtype, shape, default in zip(dense_keys, dense, shapes, defaults, strict=True):
        made = _dense(records, key, DTYPES[dtype], shape, np.asarray(default))
        out.append(made.reshape(*serialized.shape, *made.shape[1:]))
    return out


def _features(record: bytes) -> Mapping[str, Any]:
    try:
        return Example.FromString(record).features.feature
    except DecodeError as error:
        raise DataLossError(f"{len(record)} bytes are no serialised Example: {error}.") from error


def _values(record: Mapping[str, Any], key: bytes, dtype: np.dtype) -> list[Any] | None:
    """The values of a feature of a record; None if it has none."""
    name = key.decode()
    feature = record[name] if name in record else None
    kind = None if feature is None else feature.WhichOneof("kind")
    if feature is None or kind is None:
        return None
    if kind != _KINDS[dtype.kind]:
        raise ValueError(f"feature {name!r} of a record is a {kind}, expected a {_KINDS[dtype.kind]}.")
    return list(getattr(feature, kind).value)


def _dense(
    records: Sequence[Mapping[str, Any]], key: bytes, dtype: np.dtype, shape: tuple[int, ...], default: np.ndarray
) -> np.ndarray:
    varies = bool(shape) and shape[0] < 0
    inner = shape[1:] if varies else shape
    width = int(np.prod(inner, dtype=np.int64))
    rows = []
    for record in records:
        values = _values(record, key, dtype)
        if values is None and not varies:
            if not default.size and width:
                raise ValueError(f"feature {key.decode()!r} is required, and a record lacks it.")
            values = default.reshape(-1).tolist()
        values = values or []
        if len(values) % width if varies else len(values) != width:
            raise ValueError(f"feature {key.decode()!r} of a record has {len(values)} values, expected {width}.")
        rows.append(values)
    longest = max(map(len, rows), default=0) if varies else width
    out = np.empty((len(rows), longest), dtype)
    out[...] = default.reshape(-1)[0] if default.size and varies else (b"" if dtype.kind == "O" else 0)
    for i, values in enumerate(rows):
        out[i, : len(values)] = values
    return out.reshape(len(rows), *((longest // max(width, 1),) if varies else ()), *inner)


def _sparse(records: Sequence[Mapping[str, Any]], key: bytes, dtype: np.dtype) -> tuple[Any, Any, Any]:
    """(indices, values, shape)."""
    rows = [_values(record, key, dtype) or [] for record in records]
    indices = [(i, j) for i, row in enumerate(rows) for j in range(len(row))]
    values = np.empty(len(indices), dtype)
    values[:] = [v for row in rows for v in row]
    shape = np.asarray([len(rows), max(map(len, rows), default=0)], np.int64)
    return np.asarray(indices, np.int64).reshape(-1, 2), values, shape


@host("StringToHashBucketFast")
def _hash_bucket(state: State, a: Attrs, x: Any) -> Any:
    return (fingerprint64(np.asarray(x, object)) % np.uint64(a.i("num_buckets"))).astype(np.int64)


@host("SparseCross")
def _cross(state: State, a: Attrs, *parts: Any) -> list[Any]:
    if a.i("N") or not a.b("hashed_output"):
        raise ValueError("only hashed crosses of dense features are computed.")
    columns = [np.asarray(p) for p in parts]
    spread = []
    for i, column in enumerate(columns):
        shape = (len(column), *(1,) * i, column.shape[1], *(1,) * (len(columns) - i - 1))
        spread.append(column.reshape(shape))
    buckets = a.i("num_buckets")
    hashes = cross_fingerprints(spread, a.i("hash_key"))
    hashes = hashes % np.uint64(buckets) if buckets else hashes % np.uint64(2**63 - 1)
    rows, width = len(columns[0]), int(np.prod([c.shape[1] for c in columns]))
    indices = np.stack(np.meshgrid(np.arange(rows), np.arange(width), indexing="ij"), -1).reshape(-1, 2)
    return [indices.astype(np.int64), hashes.astype(np.int64).reshape(-1), np.asarray([rows, width], np.int64)]
