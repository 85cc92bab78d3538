"""Tables of export rules: for each target and op a rule, or the reason why there is none.

Every op of the table of ops stands in one of a target's three tables: `rules` (a function that writes it), `expanded`
(it is written out in terms of other ops first), or `unsupported` (with the reason).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lamina.core.errors import did_you_mean, listing
from lamina.graph.base import GraphBase
from lamina.graph.expand import instructions
from lamina.graph.ir import Instr
from lamina.graph.opset import OPSET

Rule = Callable[..., Any]


class Unsupported(Exception):
    """Raised by a rule for attributes that the target cannot express; the message is the reason."""


@dataclass
class Target:
    """A format, and what it makes of each op.

    Attributes:
        name: the format's name.
        rules: op -> rule(emitter, instr, *names of the inputs) -> name of the output, or a list of names.
        expanded: ops that are written out in terms of others; see `lamina.graph.expand`.
        unsupported: op -> the reason why it cannot be written.
        own: rules that users added, by op of the table or name of a custom op; they come first.
        fallback: a rule for whatever has no other, which is used only on request.
    """

    name: str
    rules: dict[str, Rule] = field(default_factory=dict)
    expanded: frozenset[str] = frozenset()
    unsupported: dict[str, str] = field(default_factory=dict)
    own: dict[str, Rule] = field(default_factory=dict)
    fallback: Rule | None = None

    def rule(self, *ops: str) -> Callable[[Rule], Rule]:
        """A decorator that adds a rule for ops."""

        def add(rule: Rule) -> Rule:
            self.rules.update(dict.fromkeys(ops, rule))
            return rule

        return add

    def status(self, op: str) -> str:
        """What becomes of an op: "native", "expanded", or the reason why it is not supported."""
        if op in self.own or op in self.rules:
            return "native"
        return "expanded" if op in self.expanded else self.unsupported.get(op, "has no rule")

    def find(self, instr: Instr) -> Rule | None:
        """The rule for an instruction, or None."""
        return self.own.get(instr.label) or (None if instr.op == "Custom" else self.rules.get(instr.op))

    def expands(self, instr: Instr) -> bool:
        """Whether an instruction is to be written out in terms of others."""
        return instr.op in self.expanded and instr.label not in self.own


TARGETS: dict[str, Target] = {}


def target(name: str) -> Target:
    """The table of a target, made when it is first asked for."""
    return TARGETS.setdefault(name, Target(name))


def register_rule(target_name: str, op: str) -> Callable[[Rule], Rule]:
    """A decorator: how a target writes an op of yours, or in which other way one of the table.

    The rule is called with the target's emitter, the instruction (with its attributes and shapes), and the names of
    its inputs in the file; it returns the name of its output, or a list of names. An op of yours is a function of
    arrays under `lamina.ops.op.op(named=True)`; it is known by the function's name.

    Args:
        target_name: the name of a target, such as `"tensorflow"`.
        op: the op's name.

    Raises:
        ValueError: there is no such target.

    Example:
        >>> @register_rule("tensorflow", "my_scale")
        ... def my_scale(e, instr, x):
        ...     return e.node("Mul", [x, e.constant(2.0, "float32")])
        >>> del TARGETS["tensorflow"].own["my_scale"]
    """
    if target_name not in TARGETS:
        raise ValueError(
            f"register_rule: there is no target {target_name!r}.{did_you_mean(target_name, TARGETS)} "
            f"Targets are {listing(sorted(TARGETS), 'and')}."
        )

    def add(rule: Rule) -> Rule:
        TARGETS[target_name].own[op] = rule
        return rule

    return add


@dataclass(frozen=True)
class Gap:
    """An instruction that a target cannot write.

    Attributes:
        op: the op.
        path: the layer.
        reason: why.
    """

    op: str
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path or '(no layer)'}: {self.op}: {self.reason}"


class ExportError(ValueError):
    """A graph holds ops that a format cannot express.

    Attributes:
        gaps: all of them.
    """

    def __init__(self, format: str, gaps: list[Gap], cure: str = ""):
        self.gaps = list(dict.fromkeys(gaps))
        lines = "\n".join(f"  {gap}" for gap in self.gaps)
        super().__init__(f"export to {format}: {len(self.gaps)} ops cannot be written.{cure}\n{lines}")


def gaps_of(graph: GraphBase, chosen: Target) -> list[Gap]:
    """What a target's tables leave open, before anything is written."""
    found = []
    for instr in instructions(graph):
        if chosen.find(instr) is None and not chosen.expands(instr):
            reason = chosen.unsupported.get(instr.op, "a primitive of jax outside of the table of ops")
            found.append(Gap(instr.label, instr.path, reason))
    return found


def compat() -> dict[str, dict[str, str]]:
    """For each op and target what becomes of it; the table that `lamina compat` prints.

    Example:
        >>> import lamina.export
        >>> compat()["Conv"]["tensorflow"]
        'native'
    """
    return {op: {name: table.status(op) for name, table in sorted(TARGETS.items())} for op in sorted(OPSET)}
