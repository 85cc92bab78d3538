"""`lamina compat`: prints for each op whether a format has it, whether it is written in others, or why it has none.

The table is made from the rules of the formats. Exit codes: 0, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

from lamina.cli.output import print_json, table
from lamina.core.checks import check_choice
from lamina.core.errors import did_you_mean
from lamina.export.rules import compat
from lamina.export.save import FORMATS  # whose modules fill the tables

EXAMPLE = "lamina compat --target tflite --missing"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("--target", action="append", help="a target, such as tflite (may be repeated; default all)")
    parser.add_argument("--op", action="append", help="an op (may be repeated; default all)")
    parser.add_argument("--missing", action="store_true", help="only what is not supported, with the reason")


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    found = compat()
    known = sorted({target for row in found.values() for target in row})
    aliases = {format: target for format, (target, _) in FORMATS.items() if target in known}
    wanted = [aliases.get(t, t) for t in options.target or known]
    for target in wanted:
        check_choice("lamina compat", "--target", target, known)
    for op in options.op or ():
        if op not in found:
            raise ValueError(f"there is no op '{op}'.{did_you_mean(op, found)} lamina compat lists all.")
    rows = {op: {t: row[t] for t in wanted} for op, row in found.items() if not options.op or op in options.op}
    if options.missing:
        gaps = {op: {t: r for t, r in row.items() if r not in ("native", "expanded")} for op, row in rows.items()}
        rows = {op: row for op, row in gaps.items() if row}
    if options.json:
        print_json(rows)
        return 0
    if options.missing:
        print(table(["op", "target", "reason"], [[op, t, r] for op, row in rows.items() for t, r in row.items()]))
        return 0
    cells = [[op, *(row[t] if row[t] in ("native", "expanded") else "-" for t in wanted)] for op, row in rows.items()]
    print(table(["op", *wanted], cells))
    for target in wanted:
        counts = Counter(row[target] if row[target] in ("native", "expanded") else "no" for row in rows.values())
        print(f"{target}: {counts['native']} native, {counts['expanded']} in terms of others, {counts['no']} not")
    return 0
