"""`lamina diff`: compares two models: ops that one has more, what differs in those of both, and what they compute.

Both get the same inputs, from --data or random; outputs are paired by name, or else by place. --layers compares what is
inside too, the worst layer first. Exit codes: 0 if they are equal, 1 if not, 2 for wrong usage or a bad file.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina.cli.arrays import add_data_options, inputs_of, largest_gap
from lamina.cli.models import KINDS, Opened, open_model
from lamina.cli.output import print_json, safe, shown, table
from lamina.graph.compare import compare
from lamina.graph.ir import is_floating

EXAMPLE = "lamina diff model.keras model.tflite --outputs-only --tolerance 1e-4 --data images.npz"
EXIT_DIFFERENT = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("before", help=KINDS)
    parser.add_argument("after", help="another model")
    add_data_options(parser)
    parser.add_argument("--batch", type=int, default=2, help="how many random samples (default 2)")
    parser.add_argument(
        "--tolerance", type=float, default=1e-5, help="of outputs, relative to the largest value (default 1e-5)"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--outputs-only", action="store_true", help="compare what they compute alone")
    which.add_argument("--structure-only", action="store_true", help="compare ops and weights alone")
    parser.add_argument("--layers", action="store_true", help="compare what is computed inside, the worst layer first")
    parser.add_argument("--signature", help="which way in, where the models have several")


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    before, after = (open_model(p, options.signature) for p in (options.before, options.after))
    known: dict[str, Any] = {"before": options.before, "after": options.after}
    if not options.outputs_only:
        known["structure"] = [
            {"kind": kind, "layer": path, "op": op, "what": what}
            for kind, path, op, what in compare(before.graph, after.graph).rows()
        ]
    if not options.structure_only:
        inputs = inputs_of(options, before.inputs, options.batch)
        try:
            known["outputs"] = compared_outputs(before, after, inputs, options.tolerance)
            if options.layers:
                known["layers"] = _layers(before.graph, after.graph, inputs)
        except (TypeError, ValueError) as error:
            if not any(row["kind"] == "interface" for row in known.get("structure", [])):
                raise
            known["not_run"] = str(error)  # no wonder: inputs or outputs differ
    different = bool(known.get("structure")) or any(not o["equal"] for o in known.get("outputs", []))
    known["equal"] = not different
    if options.json:
        print_json(known)
    else:
        _print(known)
    return EXIT_DIFFERENT if different else 0


def fitted(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Inputs of one model under the names of another; by place where the names differ.

    Raises:
        ValueError: they take different numbers of inputs.
    """
    if set(inputs) == set(wanted):
        return dict(inputs)
    if len(inputs) != len(wanted):
        raise ValueError(f"the models take different inputs: {sorted(inputs)} and {sorted(wanted)}.")
    return dict(zip(wanted, inputs.values(), strict=True))


def compared_outputs(
    before: Opened, after: Opened, inputs: Mapping[str, Any], tolerance: float
) -> list[dict[str, Any]]:
    """How far each output of a model is from that of another."""
    first, second = before.call(inputs), after.call(fitted(inputs, after.inputs))
    if set(first) != set(second):
        if len(first) != len(second):
            raise ValueError(f"the models have different outputs: {sorted(first)} and {sorted(second)}.")
        second = dict(zip(first, second.values(), strict=True))
    rows = []
    for name, want in first.items():
        gap, ratio = largest_gap(second[name], want)
        rows.append({"output": name, "largest_difference": gap, "relative": ratio, "equal": ratio <= tolerance})
    return rows


def _layers(before: Any, after: Any, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The difference of what each common instruction makes, the worst first; other orders of axes are left out."""
    pairs = [
        (new, old)
        for new, old in compare(before, after).pairs.items()
        if new.outputs and old.outputs and all(is_floating(i.output.dtype) for i in (new, old))
    ]
    first = before.run([old.output for _, old in pairs], dict(inputs))
    second = after.run([new.output for new, _ in pairs], fitted(inputs, dict.fromkeys(after.input_names)))
    rows = []
    for (new, _), want, got in zip(pairs, first, second, strict=True):
        if np.shape(got) != np.shape(want):
            continue
        gap, ratio = largest_gap(got, want)
        rows.append({"layer": new.path, "op": new.label, "largest_difference": gap, "relative": ratio})
    return sorted(rows, key=lambda row: -row["relative"])


def _print(known: dict[str, Any]) -> None:
    for row in known.get("structure", []):
        place = ": ".join(filter(None, (row["layer"] or ("(none)" if row["op"] else ""), row["op"])))
        print(shown(": ".join(filter(None, (row["kind"], place, "; ".join(row["what"]))))))
    for key, title in (("outputs", "output"), ("layers", "layer")):
        if known.get(key):
            head = [title, *(["op"] if key == "layers" else []), "largest difference", "relative"]
            rows = [
                [r[title] or "(none)", *([r["op"]] if key == "layers" else []),
                 *(f"{r[k]:.3g}" for k in ("largest_difference", "relative"))]
                for r in known[key]
            ]  # fmt: skip
            print(table(head, rows, [len(head) - 2, len(head) - 1]))
    if "not_run" in known:
        print(safe(f"outputs are not compared: {known['not_run']}"))
    print("equal" if known["equal"] else "different")
