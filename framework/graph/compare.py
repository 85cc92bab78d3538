"""compare: which instructions of a graph another has too, and in what the common ones differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from lamina.graph.dims import shape_text
from lamina.graph.ir import Instr, Value, is_floating, is_graph


@dataclass
class Difference:
    """What `compare` found.

    Attributes:
        pairs: the instructions that both graphs have: of the second -> of the first.
        changes: in what the instructions of a pair differ, by that of the second graph; equal pairs are not in it.
        removed: the instructions that the first graph alone has.
        added: the instructions that the second graph alone has.
        interface: in what inputs and outputs differ.

    Example:
        >>> from lamina.graph import trace
        >>> before, after = (trace(f, (3,)) for f in (lambda x: x * 2.0, lambda x: x * 2.0 + 1.0))
        >>> print(compare(before, after))
        added: (none): Add
    """

    pairs: dict[Instr, Instr] = field(default_factory=dict)
    changes: dict[Instr, list[str]] = field(default_factory=dict)
    removed: list[Instr] = field(default_factory=list)
    added: list[Instr] = field(default_factory=list)
    interface: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changes or self.removed or self.added or self.interface)

    def rows(self) -> list[tuple[str, str, str, list[str]]]:
        """(kind, layer, op, changes) of all that differs; kinds are interface, removed, added and changed."""
        rows = [("interface", "", "", [text]) for text in self.interface]
        rows += [("removed", i.path, i.label, []) for i in self.removed]
        rows += [("added", i.path, i.label, []) for i in self.added]
        return rows + [("changed", i.path, i.label, texts) for i, texts in self.changes.items()]

    def __str__(self) -> str:
        lines = []
        for kind, path, op, texts in self.rows():
            what = f"{path or '(none)'}: {op}" if op else ""
            lines.append(": ".join(filter(None, (kind, what, "; ".join(texts)))))
        return "\n".join(lines) or "no difference"


def compare(before: Any, after: Any) -> Difference:
    """In what two graphs differ.

    Instructions are paired in their order: first those of one layer path with the same op, then, among the rest, those
    of any path. Names of values are no difference.

    Args:
        before: a graph.
        after: another.
    """
    found = Difference()
    left, right = _by_path(before), _by_path(after)
    for path, instrs in right.items():
        found.pairs.update(_aligned(left.get(path, []), instrs))
    taken = set(found.pairs.values())
    rest = [i for i in before.instrs if i not in taken], [i for i in after.instrs if i not in found.pairs]
    found.pairs.update(_aligned(*rest))
    taken = set(found.pairs.values())
    found.removed = [i for i in before.instrs if i not in taken]
    found.added = [i for i in after.instrs if i not in found.pairs]
    same = _same_values(before, after, found.pairs)
    gone = {v.name: v for i in found.removed for v in i.outputs}  # what was fused keeps its name
    for instr in after.instrs:
        if instr in found.pairs:
            texts = list(_changes(before, after, found.pairs[instr], instr, same, gone))
            if texts:
                found.changes[instr] = texts
    found.interface = [*_interface(before, after, "input"), *_interface(before, after, "output")]
    return found


def _by_path(graph: Any) -> dict[str, list[Instr]]:
    found: dict[str, list[Instr]] = {}
    for instr in graph.instrs:
        found.setdefault(instr.path, []).append(instr)
    return found


def _aligned(left: Sequence[Instr], right: Sequence[Instr]) -> Iterator[tuple[Instr, Instr]]:
    matcher = SequenceMatcher(None, [i.label for i in left], [i.label for i in right], autojunk=False)
    for a, b, size in matcher.get_matching_blocks():
        yield from zip(right[b : b + size], left[a : a + size], strict=True)


def _same_values(before: Any, after: Any, pairs: dict[Instr, Instr]) -> dict[Value, Value]:
    """The value of the first graph that stands where one of the second does."""
    inputs = dict(zip(before.input_names, before.inputs, strict=True))
    same = {v: inputs[n] for n, v in zip(after.input_names, after.inputs, strict=True) if n in inputs}
    if not same and len(before.inputs) == len(after.inputs):
        same = dict(zip(after.inputs, before.inputs, strict=True))
    for b, a in pairs.items():
        same.update(zip(b.outputs, a.outputs, strict=False))
    return same


def _changes(
    before: Any, after: Any, a: Instr, b: Instr, same: dict[Value, Value], gone: dict[str, Value]
) -> Iterator[str]:
    if a.path != b.path:
        yield f"layer '{a.path}' -> '{b.path}'"
    for number in range(max(len(a.outputs), len(b.outputs))):
        old, new = (type_text(i.outputs[number]) if number < len(i.outputs) else "nothing" for i in (a, b))
        if old != new:
            yield f"output {number}: {old} -> {new}"
    for key in dict.fromkeys([*a.attrs, *b.attrs]):
        if key == "run":
            continue
        first, second = a.attrs.get(key), b.attrs.get(key)
        if isinstance(first, float) and isinstance(second, float) and np.float32(first) == np.float32(second):
            continue  # files hold such numbers in 32 bits
        old, new = attribute_text(first), attribute_text(second)
        if old != new:
            yield f"{key} differs" if "\n" in old + new else f"{key}: {old} -> {new}"
    if len(a.inputs) != len(b.inputs):
        yield f"inputs: {len(a.inputs)} -> {len(b.inputs)}"
    for number, (x, y) in enumerate(zip(a.inputs, b.inputs, strict=False)):
        known = x in before.constants, y in after.constants
        if all(known):
            text = _constant_change(before.constants[x], after.constants[y])
            if text:
                yield f"'{after.variables.get(y, y.name)}': {text}"
        elif any(known) or x not in (same.get(y), gone.get(y.name)):
            yield f"input {number}: '{x.name}' -> '{y.name}'"


def _constant_change(x: Any, y: Any) -> str:
    x, y = _without_leading_ones(np.asarray(x)), _without_leading_ones(np.asarray(y))
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return f"{x.dtype.name} {shape_text(x.shape)} -> {y.dtype.name} {shape_text(y.shape)}"
    if x.tobytes() == y.tobytes():
        return ""
    if not (is_floating(x.dtype) or x.dtype.kind in "iu"):
        return f"{np.count_nonzero(x != y):,} of {x.size:,} values differ"
    if x.ndim == 0:
        return f"{x.item():g} -> {y.item():g}"
    gap = np.abs(x.astype(np.float64) - y.astype(np.float64))
    return f"values differ by up to {np.max(gap):.3g}" if np.max(gap) != 0 else ""


def _without_leading_ones(array: np.ndarray) -> np.ndarray:
    """An array that broadcasts in the same way."""
    while array.ndim and array.shape[0] == 1:
        array = array[0]
    return array


def _interface(before: Any, after: Any, side: str) -> Iterator[str]:
    def described(graph: Any) -> dict[str, str]:
        names, values = getattr(graph, f"{side}_names"), getattr(graph, f"{side}s")
        return {name: type_text(value) for name, value in zip(names, values, strict=True)}

    old, new = described(before), described(after)
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield f"{side} '{name}': {old.get(name, 'missing')} -> {new.get(name, 'missing')}"


def type_text(value: Value) -> str:
    """The dtype and shape of a value, as text."""
    return f"{value.dtype.name} {shape_text(value.shape)}"


def attribute_text(attribute: Any) -> str:
    """An attribute as text; sizes, and graphs, as those are written."""
    if is_graph(attribute):
        return attribute.text()
    if isinstance(attribute, np.ndarray):
        return str(attribute.tolist())
    return shape_text(attribute) if isinstance(attribute, tuple) else f"{attribute}"
