"""The table of TFLite's rules: which ops are written out in others, and which cannot be written."""

from __future__ import annotations

from lamina.export.rules import target

TABLE = target("tflite")
TABLE.expanded = frozenset({"BatchNorm", "FakeQuant", "LSTM", "GRU", "Scan"})
