"""`lamina profile`: measures the time of each op of a model, and of each layer, run one by one.

Each op is compiled by itself, so that the sum is more than the whole takes, in which ops are fused; the whole is
measured too. Exit codes: 0, 2 for wrong usage or a bad file.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.cli.arrays import add_data_options, inputs_of
from lamina.cli.models import KINDS, open_model
from lamina.cli.output import human, print_json, table
from lamina.core.checks import check_int
from lamina.graph.compare import type_text
from lamina.graph.dims import match
from lamina.graph.interpret import instruction

EXAMPLE = "lamina profile model.keras --batch 8 --by layer"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", help=KINDS)
    add_data_options(parser)
    parser.add_argument("--batch", type=int, default=1, help="how many random samples (default 1)")
    parser.add_argument(
        "--repeat", type=int, default=20, help="how often each op is run (default 20); the median counts"
    )
    parser.add_argument("--by", choices=("op", "layer", "kind"), default="op", help="a line for each op, layer or kind")
    parser.add_argument("--top", type=int, default=30, help="how many lines (default 30; 0 for all)")
    parser.add_argument("--signature", help="which way in, where the model has several")


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    check_int("lamina profile", "--repeat", options.repeat, 1)
    check_int("lamina profile", "--top", options.top, 0)
    opened = open_model(options.model, options.signature)
    graph = opened.graph
    inputs = inputs_of(options, opened.inputs, options.batch)
    rows = time_instructions(graph, inputs, options.repeat)
    whole = _median(lambda: graph.run(list(graph.outputs), inputs), options.repeat)
    total = sum(row["seconds"] for row in rows)
    for row in rows:
        row["share"] = row["seconds"] / total if total else 0.0
    if options.by != "op":
        rows = _summed(rows, "layer" if options.by == "layer" else "op")
    rows.sort(key=lambda row: -row["seconds"])
    rows = rows[: options.top] if options.top else rows
    if options.json:
        print_json({"model": options.model, "whole": whole, "sum": total, "by": options.by, "rows": rows})
        return 0
    keys = {"op": ["layer", "op", "output"], "layer": ["layer", "ops"], "kind": ["op", "ops"]}[options.by]
    cells = [[*(r[k] or "(none)" for k in keys), human(r["seconds"]), f"{r['share']:.1%}"] for r in rows]
    print(table([*keys, "time", "share"], cells, [len(keys), len(keys) + 1]))
    print(f"one by one {human(total)}, as one program {human(whole)}")
    return 0


def time_instructions(graph: Any, inputs: Mapping[str, Any], repeat: int) -> list[dict[str, Any]]:
    """The median time of each instruction, each compiled by itself."""
    known = {graph.find(name): jnp.asarray(array, graph.find(name).dtype) for name, array in inputs.items()}
    sizes: dict[str, Any] = {}
    for value, array in known.items():
        match(value.shape, array.shape, sizes, f"input '{value.name}'")
    known.update({value: jnp.asarray(array) for value, array in graph.constants.items()})
    rows = []
    for instr in graph.instrs:
        compiled = jax.jit(instruction(instr, sizes))
        arrays = [known[v] for v in instr.inputs]
        out = compiled(*arrays)
        known.update(zip(instr.outputs, out if isinstance(out, (list, tuple)) else [out], strict=True))
        seconds = _median(lambda run=compiled, given=arrays: run(*given), repeat)  # type: ignore[misc]
        output = type_text(instr.output) if instr.outputs else ""
        rows.append({"layer": instr.path, "op": instr.label, "output": output, "seconds": seconds})
    return rows


def _median(call: Callable[[], Any], repeat: int) -> float:
    jax.block_until_ready(call())
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def _summed(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry = found.setdefault(row[key], {key: row[key], "ops": 0, "seconds": 0.0, "share": 0.0})
        entry["ops"] += 1
        entry["seconds"] += row["seconds"]
        entry["share"] += row["share"]
    return list(found.values())
