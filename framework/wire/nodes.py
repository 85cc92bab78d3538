"""Nodes of a GraphDef and tensors in it, made from Python values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.wire.graph import AttrValue, ListValue, NameAttrList, NodeDef
from lamina.wire.tensor import DTYPES, NUMBERS, STRING, Dim, TensorProto, TensorShapeProto

PRODUCER = 1882
"""The graph version that files are written for."""
MANY_ELEMENTS = 1 << 24
"""The most elements that a tensor proto may repeat one value for."""


def tensor_shape(shape: Sequence[int | None]) -> Any:
    """`shape` as a message; None, an unknown size, is written as -1.

    Example:
        >>> [d.size for d in tensor_shape((None, 3)).dim]
        [-1, 3]
    """
    return TensorShapeProto(dim=[Dim(size=-1 if size is None else size) for size in shape])


def tensor_proto(value: Any) -> Any:
    """An array, or bytes and arrays of them, as a message.

    Raises:
        TypeError: the dtype is none that the format knows.

    Example:
        >>> tensor_proto(np.zeros((2,), "float32")).tensor_content
        b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00'
    """
    array = np.asarray(value, object) if isinstance(value, (bytes, str)) else np.asarray(value)
    if array.dtype.kind in "SU":
        array = array.astype(object)
    if array.dtype not in NUMBERS:
        raise TypeError(f"tensor_proto: graphs know no dtype {array.dtype}. Cast the array first.")
    proto = TensorProto(dtype=NUMBERS[array.dtype], tensor_shape=tensor_shape(array.shape))
    if array.dtype == object:
        proto.string_val.extend(v.encode() if isinstance(v, str) else v for v in array.reshape(-1).tolist())
    else:
        proto.tensor_content = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return proto


_FIELDS = {
    "int_val": np.int32,
    "int64_val": np.int64,
    "float_val": np.float32,
    "double_val": np.float64,
    "bool_val": np.bool_,
    "uint32_val": np.uint32,
    "uint64_val": np.uint64,
}


def tensor_value(proto: Any) -> np.ndarray:
    """The array that a tensor message holds; strings are an object array of `bytes`.

    Raises:
        ValueError: the message has no dtype, or its values do not fill its shape.

    Example:
        >>> tensor_value(tensor_proto(np.arange(3, dtype="int32"))).tolist()
        [0, 1, 2]
    """
    if proto.dtype not in DTYPES:
        raise ValueError(f"A tensor of the graph has dtype number {proto.dtype}, which is not one that arrays have.")
    dtype = DTYPES[proto.dtype]
    shape = tuple(d.size for d in proto.tensor_shape.dim)
    count = int(np.prod([int(d) for d in shape], dtype=object))
    if any(d < 0 for d in shape) or count > MANY_ELEMENTS and not proto.tensor_content:
        raise ValueError(f"A tensor of the graph has shape {shape}, which no array can have.")
    if proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.itemsize or dtype.hasobject:
            raise ValueError(
                f"A tensor of shape {shape} and dtype {dtype} has {len(proto.tensor_content)} bytes, expected "
                f"{count * dtype.itemsize}."
            )
        return np.frombuffer(proto.tensor_content, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    values = _listed(proto, dtype)
    if not len(values) and count and proto.dtype != STRING:
        return np.zeros(shape, dtype)
    if len(values) > count or not len(values) and count:
        raise ValueError(f"A tensor of shape {shape} holds {len(values)} values, expected {count}.")
    out = np.empty(count, dtype)
    out[: len(values)] = values
    if len(values) < count:  # the last value fills the rest
        out[len(values) :] = values[-1]
    return out.reshape(shape)


def _listed(proto: Any, dtype: np.dtype) -> np.ndarray:
    if dtype.hasobject:
        values = np.empty(len(proto.string_val), object)
        values[:] = list(proto.string_val)
        return values
    if proto.half_val:
        return np.asarray(proto.half_val, np.uint16).view(dtype)
    for field in ("scomplex_val", "dcomplex_val"):
        if getattr(proto, field):
            parts = np.asarray(getattr(proto, field), np.float64)
            return (parts[0::2] + 1j * parts[1::2]).astype(dtype)
    for field, kind in _FIELDS.items():
        if getattr(proto, field):
            return np.asarray(getattr(proto, field), kind).astype(dtype)
    return np.empty(0, dtype)


class Shape(tuple):
    """An attribute that is a shape; None stands for an unknown size."""


class Function(str):
    """An attribute that names a function of the graph's library."""


def attr_value(value: Any) -> Any:
    """An attribute from a bool, int, float, str, bytes, dtype, array, `Shape`, `Function` or a list of one of them.

    Example:
        >>> attr_value([1, 2]).list.i
        [1, 2]
    """
    if isinstance(value, (list, tuple)) and not isinstance(value, Shape):
        return AttrValue(list=_list_value(value))
    if isinstance(value, bool):
        return AttrValue(b=value)
    if isinstance(value, (int, np.integer)):
        return AttrValue(i=int(value))
    if isinstance(value, (float, np.floating)):
        return AttrValue(f=float(value))
    if isinstance(value, Function):
        return AttrValue(func=NameAttrList(name=value))
    if isinstance(value, (str, bytes)):
        return AttrValue(s=value.encode() if isinstance(value, str) else value)
    if isinstance(value, Shape):
        return AttrValue(shape=tensor_shape(value))
    if isinstance(value, np.dtype):
        return AttrValue(type=NUMBERS[value])
    if isinstance(value, np.ndarray):
        return AttrValue(tensor=tensor_proto(value))
    raise TypeError(f"attr_value: an attribute cannot be {value!r}.")


def _list_value(values: Sequence[Any]) -> Any:
    out = ListValue()
    for value in values:
        one = attr_value(value)
        kind = one.WhichOneof("value")
        field = getattr(out, kind)
        if kind == "shape":
            field.add().CopyFrom(one.shape)
        else:
            field.append(getattr(one, kind))
    return out


def node(name: str, op: str, inputs: Sequence[str] = (), **attrs: Any) -> Any:
    """A node; attributes as `attr_value` takes them.

    Example:
        >>> node("y", "Relu", ["x"], T=np.dtype("float32")).op
        'Relu'
    """
    made = NodeDef(name=name, op=op, input=list(inputs))
    for key, value in attrs.items():
        made.attr[key].CopyFrom(attr_value(value))
    return made


def string_tensor(values: Sequence[str | bytes]) -> np.ndarray:
    """An object array of bytes.

    Example:
        >>> string_tensor(["a"]).tolist()
        [b'a']
    """
    out = np.empty(len(values), object)
    out[:] = [v.encode() if isinstance(v, str) else v for v in values]
    return out
