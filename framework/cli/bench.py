"""`lamina bench`: measures how long a model takes, for batches of several sizes, and how many samples a second it does.

The time is that of a call with arrays of the host, by our executor. With --threads several callers run at once.
Exit codes: 0, 2 for wrong usage or a bad file.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina.cli.arrays import add_data_options, batches_of, inputs_of
from lamina.cli.models import KINDS, Opened, open_model
from lamina.cli.output import human, print_json, table
from lamina.core.checks import check_int

EXAMPLE = "lamina bench model.onnx --batch 1,8,32 --seconds 3"
PERCENTILES = (50, 90, 99)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", help=KINDS)
    add_data_options(parser)
    parser.add_argument("--batch", default="1", help="sizes of the batch, such as 1,8,32 (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="how many call at once (default 1)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each size is measured (default 2)")
    parser.add_argument("--signature", help="which way in, where the model has several")


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    if not options.seconds > 0:
        raise ValueError(f"--seconds must be more than 0, got {options.seconds}.")
    check_int("lamina bench", "--threads", options.threads, 1)
    try:
        sizes = [check_int("lamina bench", "--batch", int(text), 1) for text in options.batch.split(",")]
    except ValueError:
        raise ValueError(f"--batch must be sizes of at least 1, such as 1,8,32, got '{options.batch}'.") from None
    opened = open_model(options.model, options.signature)
    rows = []
    for size in sizes:
        inputs = batches_of(inputs_of(options, opened.inputs, size), size)
        feed = inputs[0] if inputs else {}  # a model without inputs
        held = max((len(a) for a in feed.values() if a.ndim), default=size)
        if held != size:
            raise ValueError(f"--batch {size}: the model, or the data, has a batch of {held}.")
        rows.append(measure(opened, feed, size, options.threads, options.seconds))
    if options.json:
        print_json({"model": options.model, "threads": options.threads, "results": rows})
        return 0
    head = ["batch", "calls", "first call", "mean", *(f"p{p}" for p in PERCENTILES), "samples/s"]
    keys = ["first_call", "mean", *(f"p{p}" for p in PERCENTILES)]
    cells = [[r["batch"], r["calls"], *(human(r[k]) for k in keys), f"{r['samples_per_second']:,.0f}"] for r in rows]
    print(table(head, cells, range(len(head))))
    return 0


def measure(opened: Opened, feed: Mapping[str, Any], size: int, threads: int, seconds: float) -> dict[str, Any]:
    """Latencies in seconds, and samples a second."""
    started = time.perf_counter()
    opened.call(feed)  # compiles
    first = time.perf_counter() - started
    opened.call(feed)
    times: list[list[float]] = [[] for _ in range(threads)]
    failed: list[BaseException] = []

    def work(own: list[float], end: float) -> None:
        try:
            while not own or time.perf_counter() < end:
                begun = time.perf_counter()
                opened.call(feed)
                own.append(time.perf_counter() - begun)
        except BaseException as error:  # told by the thread that waits
            failed.append(error)

    started = time.perf_counter()
    callers = [threading.Thread(target=work, args=(own, started + seconds)) for own in times]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    total = time.perf_counter() - started
    if failed:
        raise failed[0]
    found = np.concatenate(times)
    return {
        "batch": size,
        "calls": len(found),
        "first_call": first,
        "mean": float(found.mean()),
        "min": float(found.min()),
        "max": float(found.max()),
        **{f"p{p}": float(np.percentile(found, p)) for p in PERCENTILES},
        "samples_per_second": len(found) * size / total,
    }
