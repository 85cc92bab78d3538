"""ExportReport: what an export wrote, and what it had to do for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class ExportReport:
    """What an export wrote.

    Attributes:
        format: the format.
        path: the file or folder.
        bytes: the size of all files.
        parameters: the number of elements in variables and other constants of more than one element.
        precision: the dtype of the weights.
        ops: how often each op of the format stands in it.
        signatures: the names of inputs and outputs of each signature.
        fallbacks: (layer, op, how) for what is written in a way that not every reader of the format knows.
        measured: what was measured on the file in its runtime, by name; a text where it could not be.

    Example:
        >>> print(ExportReport("frozen", "model.pb", 1200, 30, "float32", Counter({"MatMul": 2})))
        frozen 'model.pb': 1,200 bytes, 30 parameters (float32), 2 ops of 1 kinds
    """

    format: str
    path: str
    bytes: int
    parameters: int
    precision: str
    ops: Counter[str] = field(default_factory=Counter)
    signatures: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    fallbacks: list[tuple[str, str, str]] = field(default_factory=list)
    measured: dict[str, float | str] = field(default_factory=dict)

    def __str__(self) -> str:
        head = (
            f"{self.format} '{self.path}': {self.bytes:,} bytes, {self.parameters:,} parameters ({self.precision}), "
            f"{sum(self.ops.values())} ops of {len(self.ops)} kinds"
        )
        lines = [f"  {path or '(no layer)'}: {op}: {how}" for path, op, how in self.fallbacks]
        found = [f"  {key}: {x if isinstance(x, str) else f'{x:,.6g}'}" for key, x in self.measured.items()]
        return "\n".join([head, *lines, *found])
