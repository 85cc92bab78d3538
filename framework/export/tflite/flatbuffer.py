"""FlatBuffers from and to plain dicts, by the tables of the schema. Writing takes the package `flatbuffers`."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np

from lamina.export.tflite.schema import IDENTIFIER, OPTIONS, TABLES
from lamina.wire.errors import DataLossError

ALIGNMENT = 16
"""Of the bytes of weights: what kernels may read them in."""
MOST_BYTES = 2**31 - 1
# kind -> (character of struct, the builder's method for it)
NUMBERS = {
    "bool": ("?", "Bool"), "i8": ("b", "Int8"), "u8": ("B", "Uint8"), "i32": ("i", "Int32"), "u32": ("I", "Uint32"),
    "i64": ("q", "Int64"), "f32": ("f", "Float32"),
}  # fmt: skip
_UNIONS = {number: name for name, number in OPTIONS.items()}


def pack(table: str, values: Mapping[str, Any], size: int) -> bytes:
    """The bytes of a FlatBuffer. Equal vectors of numbers are written once: the zero points of channels are many.

    Args:
        table: the name of the outermost table.
        values: its fields by name: numbers, text, arrays for data, lists, dicts for tables, and pairs (name of the
            table, dict) for unions.
        size: how many bytes of data are in it, about.
    """
    builder = flatbuffers.Builder(size + 4096)
    builder.Finish(_pack(builder, table, values, {}), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _pack(b: Any, table: str, values: Mapping[str, Any], held: dict[Any, int]) -> int:
    fields = TABLES[table]
    offsets: dict[str, int] = {}
    for field in fields:
        value = values.get(field.name)
        if value is not None and field.kind not in NUMBERS:
            offsets[field.name] = _offset(b, field.kind, value, held)
    b.StartObject(len(fields))
    for slot, field in enumerate(fields):
        if field.name in offsets:
            b.PrependUOffsetTRelativeSlot(slot, offsets[field.name], 0)
        elif field.kind in NUMBERS and field.name in values:
            kind = NUMBERS[field.kind][1]
            default = field.default if kind == "Float32" else int(field.default)
            getattr(b, f"Prepend{kind}Slot")(slot, values[field.name], default)
    return b.EndObject()


def _offset(b: Any, kind: str, value: Any, held: dict[Any, int]) -> int:
    if kind == "str":
        return b.CreateString(value)
    if kind == "data":
        return _data(b, value)
    if kind == "union":
        table, fields = value
        return _pack(b, table, fields, held)
    if not kind.startswith("["):
        return _pack(b, kind, value, held)
    inner = kind[1:-1]
    if inner in NUMBERS:
        array = np.asarray(value, f"<{NUMBERS[inner][0]}")
        key = inner, array.tobytes()
        if key not in held:
            held[key] = b.CreateNumpyVector(array)
        return held[key]
    made = [_pack(b, inner, v, held) for v in value]
    b.StartVector(4, len(made), 4)
    for offset in reversed(made):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()


def _data(b: Any, array: np.ndarray) -> int:
    """A vector of bytes that starts at a multiple of 16."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    b.StartVector(1, len(data), ALIGNMENT)
    b.head -= len(data)
    b.Bytes[b.head : b.head + len(data)] = data
    return b.EndVector()


class Reader:
    """Reads tables as dicts; offsets that leave the file, or far more tables than it has bytes for, are errors.

    Args:
        data: the file.
    """

    def __init__(self, data: bytes):
        self.data = data
        self.budget = 4 * len(data) + 1024

    def root(self, table: str) -> dict[str, Any]:
        """The outermost table.

        Raises:
            DataLossError: the file is damaged, or of another format.
        """
        if self.data[4:8] != IDENTIFIER:
            raise DataLossError(f"it does not have {IDENTIFIER.decode()!r} at byte 4, as TFLite files do")
        return self._table(table, self._number("I", 0))

    def _number(self, code: str, at: int) -> Any:
        if not 0 <= at <= len(self.data) - struct.calcsize(code):
            raise DataLossError("an offset leaves the file")
        return struct.unpack_from(f"<{code}", self.data, at)[0]

    def _table(self, name: str, at: int) -> dict[str, Any]:
        self.budget -= 8
        if self.budget < 0:
            raise DataLossError("it refers to the same tables over and over")
        slots = at - self._number("i", at)
        count = (self._number("H", slots) - 4) // 2
        places = {}
        for i, field in enumerate(TABLES[name][: max(count, 0)]):
            place = self._number("H", slots + 4 + 2 * i)
            if place and field.kind != "none":
                places[field] = at + place
        out: dict[str, Any] = {
            f.name: f.default if f.kind == "f32" else int(f.default) for f in TABLES[name] if f.kind in NUMBERS
        }
        for field, place in places.items():
            if field.kind in NUMBERS:
                out[field.name] = self._number(NUMBERS[field.kind][0], place)
            elif field.kind != "union":
                out[field.name] = self._value(field.kind, place + self._number("I", place))
            elif out["builtin_options_type"] in _UNIONS:
                options = _UNIONS[out["builtin_options_type"]]
                out[field.name] = (options, self._table(options, place + self._number("I", place)))
        return out

    def _value(self, kind: str, at: int) -> Any:
        if not kind.startswith("[") and kind not in ("str", "data"):
            return self._table(kind, at)
        count, inner = self._number("I", at), kind.strip("[]")
        code = {"str": "B", "data": "B"}.get(kind) or NUMBERS.get(inner, ("I",))[0]
        dtype = np.dtype(f"<{code}")
        if count * dtype.itemsize > len(self.data) - at - 4:
            raise DataLossError("a vector leaves the file")
        array = np.frombuffer(self.data, dtype, count, at + 4)
        if kind == "data":
            return array
        self.budget -= count
        if self.budget < 0:
            raise DataLossError("it refers to the same vectors over and over")
        if kind == "str":
            return array.tobytes().decode("utf-8", "replace")
        if inner in NUMBERS:
            return array.tolist()
        return [self._table(inner, at + 4 + 4 * i + offset) for i, offset in enumerate(array.tolist())]


def fields(entry: Mapping[str, Any], name: str) -> Sequence[Any]:
    """A field that is a list; an empty one where it is missing."""
    return entry.get(name) or ()
