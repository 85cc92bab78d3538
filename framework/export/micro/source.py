"""The C++ sources of a model: its bytes as an array, and a header with all that a program must know."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from lamina.export.micro.describe import Description, Port
from lamina.export.micro.operators import METHODS

ALIGNMENT = 16
"""Of the array: what kernels may read weights in."""
_IN_A_LINE = 16
_TYPES = {
    "float32": "float", "int8": "std::int8_t", "int16": "std::int16_t", "int32": "std::int32_t",
    "int64": "std::int64_t", "uint8": "std::uint8_t", "bool": "bool",
}  # fmt: skip
KEYWORDS = frozenset(
    "alignas alignof and asm auto bool break case catch char class concept const constexpr continue decltype "
    "default delete do double else enum explicit export extern false float for friend goto if inline int long "
    "mutable namespace new noexcept not nullptr operator or private protected public register requires return short "
    "signed sizeof static struct switch template this throw true try typedef typeid typename union unsigned using "
    "virtual void volatile while xor std tflite".split()
)
"""Names that a namespace cannot have."""


def source(data: bytes, name: str, header: str) -> str:
    """The .cc file: the bytes of a model.

    Args:
        data: the TFLite file.
        name: the namespace.
        header: the name of the header.
    """
    text = data.hex()
    pairs = [f"0x{text[i : i + 2]}," for i in range(0, len(text), 2)]
    lines = ["    " + " ".join(pairs[i : i + _IN_A_LINE]) for i in range(0, len(pairs), _IN_A_LINE)]
    body = "\n".join(lines)
    return (
        f'#include "{header}"\n\nnamespace {name} {{\n\n'
        f"alignas({ALIGNMENT}) const unsigned char kModel[] = {{\n{body}\n}};\n"
        f"const std::size_t kModelLength = {len(data)};\n\n}}  // namespace {name}\n"
    )


def parse_source(text: str) -> bytes:
    """The bytes of the model in a .cc file.

    Raises:
        ValueError: there is no array in it.

    Example:
        >>> parse_source(source(b"TFL3", "net", "net.h"))
        b'TFL3'
    """
    _, found, rest = text.partition("kModel[] = {")
    if not found:
        raise ValueError("parse_source: expected a file with 'kModel[] = {', as lamina writes it.")
    numbers = rest.partition("}")[0].replace("0x", "").replace(",", " ")
    return bytes.fromhex(numbers)


def header(description: Description, name: str, length: int, arena: int | None, measured: str) -> str:
    """The .h file.

    Args:
        description: what is in the model.
        name: the namespace.
        length: the number of bytes of the model.
        arena: the number of bytes of working memory, or None.
        measured: where that number comes from.
    """
    guard = f"{name.upper()}_H_"
    ops = sorted(description.counts)
    adds = "\n".join(f"  failed += resolver.{METHODS[op]}() != 0;" for op in ops)
    size = f"constexpr std::size_t kArenaSize = {arena};\n" if arena is not None else ""
    ports = "\n".join(
        [
            *_group("Input", description.inputs),
            "",
            *_group("Output", description.outputs),
        ]
    )
    return f"""#ifndef {guard}
#define {guard}

#include <cstddef>
#include <cstdint>

namespace {name} {{

// The model, {length:,} bytes, for tflite::GetModel(kModel).
extern const unsigned char kModel[];
extern const std::size_t kModelLength;

// Working memory of the interpreter: {measured}.
{size}
// Operators: tflite::MicroMutableOpResolver<kOperatorCount> resolver; if (AddOperators(resolver) != 0) {{ ... }}
constexpr int kOperatorCount = {len(ops)};
template <typename Resolver>
int AddOperators(Resolver& resolver) {{
  int failed = 0;
{adds}
  return failed;
}}

// real value = scale * (stored - zero point)
{ports}

}}  // namespace {name}

#endif  // {guard}
"""


def _group(kind: str, ports: Sequence[Port]) -> Iterator[str]:
    yield f"constexpr int k{kind}Count = {len(ports)};"
    for i, port in enumerate(ports):
        key = f"k{kind}{i}"
        yield f"// {kind.lower()} {i}: '{_plain(port.name)}', {port.dtype}{list(port.shape)}"
        yield f"using {kind}{i}Type = {_TYPES[port.dtype.name]};"
        shape = port.shape or (1,)
        yield f"constexpr int {key}Rank = {len(port.shape)};"
        yield f"constexpr int {key}Shape[] = {{{', '.join(map(str, shape))}}};"
        yield f"constexpr std::size_t {key}Length = {math.prod(port.shape)};"
        if port.scale is not None:
            yield f"constexpr float {key}Scale = {_float(port.scale)};"
            yield f"constexpr int {key}ZeroPoint = {port.zero_point};"


def _float(x: float) -> str:
    """A literal that gives the same float32."""
    text = repr(float(np.float32(x)))
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"


def _plain(name: str) -> str:
    return "".join(c if c.isprintable() and c != "\\" else "_" for c in name)
