"""Reads damaged model files by the thousand: each must give an error or a graph, never a crash, a hang or much memory.

    python tests/fuzz/fuzz_readers.py [--files 100000] [--formats frozen,saved_model,onnx,tflite,stablehlo] [--jobs 2]

Files that lamina writes are changed at random: single bits and bytes, numbers set to extremes, ranges cleared, cut out,
doubled or taken from another file, ends cut off. Each is read, and every fourth traced to a graph, in a process that is
watched: one that dies, or takes more than 20 seconds of the processor or 1 GB for a file, is reported with the number
of the file, which tells how to make it again:

    python tests/fuzz/fuzz_readers.py --formats onnx --only 4711 --keep /tmp/file
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

FORMATS = ("frozen", "saved_model", "onnx", "tflite", "stablehlo")
SUFFIX = {"frozen": ".pb", "onnx": ".onnx", "tflite": ".tflite"}
SECONDS, BYTES = 20, 10**9
# What a reader may raise. All else, such as an IndexError, is a place where it did not look.
ERRORS = (ValueError, NotImplementedError)
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
# The files of one round come from one process: long enough to forget how long jax takes to load.
ROUND = 10_000


def models() -> dict[str, Any]:
    """Small models that together use layouts, windows, branches, loops and several inputs."""
    import jax.numpy as jnp
    from jax import lax

    from lamina import Sequential, layers

    dense = Sequential([layers.Input((5,)), layers.Dense(4, "relu"), layers.LayerNormalization(), layers.Dense(3)])
    image = Sequential(
        [
            layers.Input((6, 6, 2)),
            layers.Conv2D(3, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    sequence = Sequential([layers.Input((4, 3)), layers.LSTM(3), layers.Dense(1)])

    def small(x: Any) -> Any:
        return jnp.maximum(x @ jnp.arange(6.0).reshape(3, 2) + jnp.float32(0.5), 0.0)

    def loose(a: Any, b: Any) -> Any:
        c = jnp.concatenate([a * 2, jnp.transpose(b)], 0)[1:, ::2]
        return lax.fori_loop(0, 3, lambda i, v: v + jnp.sin(v) * i, c).sum(0), jnp.argmax(c, -1)

    return {
        "small": (small, [(None, 3)]),
        "dense": dense,
        "image": image,
        "sequence": sequence,
        "loose": (loose, [(2, 4), (4, 2)]),
    }


def write_seeds(folder: Path) -> None:
    """The files that are changed: each model in each format that takes it."""
    from lamina import export

    rng = np.random.default_rng(0)
    for kind in FORMATS:
        (folder / kind).mkdir(parents=True)
        for name, model in models().items():
            path = folder / kind / f"{name}{SUFFIX.get(kind, '')}"
            if isinstance(model, tuple):
                export.save(*model, path, format=kind)
            else:
                model.export(path, format=kind, verbose=False)
            if kind == "tflite" and name == "image":
                data = [rng.random((4, 6, 6, 2), dtype=np.float32)]
                model.export(
                    folder / kind / "int8.tflite",
                    format=kind,
                    precision="int8",
                    representative_data=data,
                    verbose=False,
                )


def change(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Bytes with one to four changes."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not out:
            break
        at, n = int(rng.integers(len(out))), int(2 ** rng.integers(0, 8))
        kind = rng.integers(8)
        if kind == 0:
            out[at] ^= 1 << int(rng.integers(8))
        elif kind in (1, 2):
            out[at] = int(rng.integers(256))
        elif kind == 3:
            width = int(rng.choice([1, 2, 4, 8]))
            value = int(EXTREMES[rng.integers(len(EXTREMES))]) & (2 ** (8 * width) - 1)
            out[at : at + width] = value.to_bytes(width, "little")
        elif kind == 4:
            out[at : at + n] = bytes(min(n, len(out) - at))
        elif kind == 5:
            del out[at : at + n]
        elif kind == 6:
            start = int(rng.integers(max(1, len(other))))
            piece = other[start : start + n]
            out[at : at + (len(piece) if rng.random() < 0.5 else 0)] = piece
        elif rng.random() < 0.2:
            del out[at:]
    return bytes(out)


def damaged(kind: str, number: int, seeds: Path, target: Path) -> Path:
    """The damaged file, or folder, of a number."""
    rng = np.random.default_rng((FORMATS.index(kind), number))
    choices = sorted((seeds / kind).iterdir())
    # the small one most often: a hundred of its files are read in the time of ten others
    odds = np.array([1 + 3 * len(choices) * c.name.startswith("small") for c in choices])
    chosen, other = (choices[i] for i in rng.choice(len(choices), 2, p=odds / odds.sum()))
    place = target / f"m{SUFFIX.get(kind, '')}"
    if not chosen.is_dir():
        place.write_bytes(change(chosen.read_bytes(), other.read_bytes(), rng))
        return place
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(chosen, place)
    files = sorted(p.relative_to(place) for p in place.rglob("*") if p.is_file())
    file = files[int(rng.integers(len(files)))]
    spare = other / file if (other / file).is_file() else chosen / file
    (place / file).write_bytes(change((place / file).read_bytes(), spare.read_bytes(), rng))
    return place


def too_long(*_: Any) -> None:
    raise TimeoutError(f"not done in {SECONDS} s")


def read_round(kind: str, numbers: list[int], seeds: Path, channel: Any) -> None:
    """Reads the damaged files of some numbers, telling before each which it is."""
    from lamina import load_frozen

    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, too_long)
    with tempfile.TemporaryDirectory() as folder:
        before = None
        for number in numbers:
            path = damaged(kind, number, seeds, Path(folder))
            channel.send(("begins", number))
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of processor time, whatever else the machine does
            try:
                model = load_frozen(path)
                outcome = "read"
                if (
                    kind != "stablehlo" and number % 4 == 0
                ):  # tracing takes most of the time, and StableHLO has no graph
                    model.to_graph()
                    outcome = "graph"
            except ERRORS as error:
                outcome = type(error).__name__
                if len(str(error)) < 10:
                    channel.send(("fault", number, f"an error that says nothing: {error!r}"))
            except BaseException:  # noqa: BLE001  whatever it is, it is reported
                outcome = "fault"
                channel.send(("fault", number, traceback.format_exc(limit=-4)))
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            if before is not None and peak > before + BYTES:
                channel.send(("fault", number, f"took {(peak - before) / 1e9:.1f} GB"))
            before = peak
            channel.send(("done", outcome))
    channel.send(("end",))


class Reader:
    """A process that reads a round, and what it tells."""

    def __init__(self, kind: str, numbers: list[int], seeds: Path):
        self.kind, self.numbers, self.at = kind, numbers, None
        context = multiprocessing.get_context("spawn")
        self.channel, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=read_round, args=(kind, numbers, seeds, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.heard = time.monotonic()

    def listen(self, outcomes: Counter, faults: list) -> bool:
        """Takes what was told; returns whether the round has ended."""
        try:
            while self.channel.poll(0.01):
                told = self.channel.recv()
                self.heard = time.monotonic()
                if told[0] == "begins":
                    self.at = told[1]
                elif told[0] == "done":
                    outcomes[self.kind, told[1]] += 1
                elif told[0] == "fault":
                    faults.append((self.kind, *told[1:]))
                else:
                    self.process.join()
                    return True
        except EOFError:
            self.process.join()
            faults.append((self.kind, self.at, f"the process ended with {self.process.exitcode}"))
            return True
        if time.monotonic() - self.heard > 15 * SECONDS:  # an alarm that compiled code did not let through
            self.process.kill()
            faults.append((self.kind, self.at, "the process hung"))
            return True
        return False

    def left(self) -> list[int]:
        """The numbers behind the one that ended the process."""
        return self.numbers[self.numbers.index(self.at) + 1 :] if self.at in self.numbers else []


def main() -> int:
    """Reads the files; returns 1 if one was not read as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000, help="how many files of each format")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="the number of the first file")
    parser.add_argument("--only", type=int, help="reads the file of one number, here, and shows the error")
    parser.add_argument("--keep", help="where the file of --only is put")
    options = parser.parse_args()
    kinds = options.formats.split(",")
    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "seeds"
        write_seeds(seeds)
        if options.only is not None:
            target = Path(options.keep or folder)
            target.mkdir(parents=True, exist_ok=True)
            from lamina import load_frozen

            path = damaged(kinds[0], options.only, seeds, target)
            print(path)
            model = load_frozen(path)
            print(model if kinds[0] == "stablehlo" else model.to_graph())
            return 0
        return run(kinds, options, seeds)


def run(kinds: list[str], options: Any, seeds: Path) -> int:
    """Shares the rounds among processes, and prints what became of the files."""
    last = options.first + options.files
    rounds = [(kind, list(range(n, min(n + ROUND, last)))) for kind in kinds for n in range(options.first, last, ROUND)]
    outcomes: Counter = Counter()
    faults: list = []
    readers: list[Reader] = []
    began = time.monotonic()
    while rounds or readers:
        while rounds and len(readers) < options.jobs:
            kind, numbers = rounds.pop(0)
            readers.append(Reader(kind, numbers, seeds))
        for reader in list(readers):
            if reader.listen(outcomes, faults):
                readers.remove(reader)
                if reader.left() and reader.process.exitcode:
                    rounds.insert(0, (reader.kind, reader.left()))
    print(f"{'format':<12}{'files':>9}{'read':>9}{'graphs':>9}{'errors':>9}{'faults':>8}")
    for kind in kinds:
        counts = {k: n for (f, k), n in outcomes.items() if f == kind}
        bad = len({number for f, number, _ in faults if f == kind})
        graphs = counts.get("graph", 0)
        read = graphs + counts.get("read", 0)
        errors = sum(counts.values()) - read - counts.get("fault", 0)
        print(f"{kind:<12}{sum(counts.values()):>9,}{read:>9,}{graphs:>9,}{errors:>9,}{bad:>8,}")
    print(f"{time.monotonic() - began:.0f} s")
    shown: Counter = Counter()
    for kind, number, text in faults:
        lines = text.strip().splitlines()
        places = [line for line in lines if line.startswith("  File ")]
        key = (kind, places[-1].strip() if places else lines[-1][:80])
        shown[key] += 1
        if shown[key] == 1:
            print(f"\n{kind} --only {number}: {text}")
    for (kind, text), count in shown.items():
        if count > 1:
            print(f"{count} of {kind}: {text}")
    return 1 if faults else 0


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
