"""The table of TensorFlow's rules: which ops are written out in others, and which cannot be written."""

from __future__ import annotations

from lamina.export.rules import target

TABLE = target("tensorflow")
TABLE.expanded = frozenset(
    {"FakeQuant", "Silu", "HardSigmoid", "HardSwish", "Gelu", "LayerNorm", "L2Normalize", "LSTM", "GRU", "Scan"}
)
