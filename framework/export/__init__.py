"""Graphs as files of other runtimes, and back.

How a format is added:

- A table, `target(name)`, with an entry for every op of `lamina.graph.OPSET`: in `rules` (a function that writes it),
  in `expanded` (it is written out in terms of other ops first, by `lamina.graph.expand`), or in `unsupported` with
  the reason. A rule is called with the format's emitter, the instruction and the names of its inputs in the file;
  shapes, dtypes and attributes stand in the instruction. It raises `Unsupported` for what its format cannot say.
- A writer `(graphs by signature, path, **options) -> ExportReport` in `save.FORMATS`. It emits all instructions in
  memory, collects a `Gap` for each that cannot be written, raises one `ExportError` with all of them, and only then
  writes a file.
- A reader in `load.READERS` that gives an object with `signatures`, functions of named arrays. It is a table of
  functions of arrays for the format's ops: run eagerly, compiled, or traced by `lamina.graph.trace`, which gives the
  graph back.
- Tests: every sample of `tests/export/op_samples.py`, written, read back and run, equals the op itself.
"""

from lamina.export.load import load_frozen
from lamina.export.numerics import numerics
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
    "numerics",
    "register_rule",
    "save",
]
