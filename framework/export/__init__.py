"""Graphs as files of other runtimes, and back."""

from lamina.export.load import load_frozen
from lamina.export.report import ExportReport
from lamina.export.rules import TARGETS, ExportError, Gap, Target, Unsupported, compat, register_rule
from lamina.export.save import save
from lamina.export.tensorflow.reader import load_saved_model

__all__ = [
    "TARGETS",
    "ExportError",
    "ExportReport",
    "Gap",
    "Target",
    "Unsupported",
    "compat",
    "load_frozen",
    "load_saved_model",
    "register_rule",
    "save",
]
