"""Protobuf messages declared in Python: the .proto language for messages, fields, maps and oneofs, read at import.

Generated code is bound to a range of protobuf releases (a newer runtime refuses it), descriptors are not. The package
name is our own: `tensorflow` would collide in a process that imports TensorFlow too. It is not in the written bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "lamina.wire"
_POOL = descriptor_pool.DescriptorPool()
_DECLARED: dict[str, tuple[str, dict[str, Any]]] = {}
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in (
        "double",
        "float",
        "int64",
        "uint64",
        "int32",
        "uint32",
        "fixed64",
        "fixed32",
        "bool",
        "string",
        "bytes",
    )
}
_FIELD = re.compile(r"(repeated )?(?:map<(\w+), ?(\w+)>|(\w+)) (\w+) ?= ?(\d+);")


def declare(name: str, text: str, imports: Sequence[Any] = ()) -> dict[str, Any]:
    """The message classes that `text` declares, by name.

    One declaration stands on a line. Enums are declared int32, which has the same bytes.

    Args:
        name: of this set of messages, unique in the process.
        text: messages in the .proto language, version 3.
        imports: one message class of each other set that is used here.

    Raises:
        ValueError: a line that is no declaration, or a name that has other messages.

    Example:
        >>> Point = declare("doc_point", '''
        ...     message Point {
        ...       int32 x = 1;
        ...       repeated float values = 2;
        ...     }
        ... ''')["Point"]
        >>> Point(x=3).SerializeToString()
        b'\\x08\\x03'
    """
    if name in _DECLARED:
        known, classes = _DECLARED[name]
        if known != text:
            raise ValueError(f"declare '{name}': other messages were declared under this name. Choose another name.")
        return classes
    file = descriptor_pb2.FileDescriptorProto(name=name, package=PACKAGE, syntax="proto3")
    file.dependency.extend(message.DESCRIPTOR.file.name for message in imports)
    message: Any = None
    in_oneof = False
    for line in filter(None, (line.strip() for line in text.splitlines())):
        if start := re.fullmatch(r"message (\w+) \{", line):
            message = file.message_type.add(name=start[1])
        elif start := re.fullmatch(r"oneof (\w+) \{", line):
            message.oneof_decl.add(name=start[1])
            in_oneof = True
        elif field := _FIELD.fullmatch(line):
            added = _add_field(message, field)
            if in_oneof:
                added.oneof_index = len(message.oneof_decl) - 1
        elif line == "}":
            in_oneof = False
        else:
            raise ValueError(f"declare '{name}': expected a message, a oneof or a field, got {line!r}.")
    _POOL.AddSerializedFile(file.SerializeToString())
    found = _POOL.FindFileByName(name)
    classes = {m.name: message_factory.GetMessageClass(m) for m in found.message_types_by_name.values()}
    _DECLARED[name] = (text, classes)
    return classes


def _add_field(message: Any, match: re.Match) -> Any:
    repeated, key, value, kind, name, number = match.groups()
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if repeated or key:
        field.label = _Field.LABEL_REPEATED
    if key is None:
        _set_type(field, kind)
        return field
    entry = message.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
    entry.options.map_entry = True
    _set_type(entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL), key)
    _set_type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), value)
    field.type, field.type_name = _Field.TYPE_MESSAGE, entry.name
    return field


def _set_type(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, kind
