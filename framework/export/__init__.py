"""Graphs as files of other runtimes, and back."""

from lamina.export.report import ExportReport
from lamina.export.rules import TARGETS, ExportError, Gap, Target, Unsupported, compat, register_rule
from lamina.export.save import save

__all__ = [
    "TARGETS",
    "ExportError",
    "ExportReport",
    "Gap",
    "Target",
    "Unsupported",
    "compat",
    "register_rule",
    "save",
]
