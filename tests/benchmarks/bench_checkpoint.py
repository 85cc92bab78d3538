"""Checkpoints against the disk itself: saving, restoring and verifying 200 MB, in one run.

    python tests/benchmarks/bench_checkpoint.py [--repeats 7] [--folder DIR] [--megabytes 200]

"disk" writes the same bytes to one file and syncs it, or reads them back into fresh memory. All are timed in turn, so
that a busy moment hits all alike; the table has medians, and the ratio of the disk's time to that of the checkpoint. A
save is durable and has its checksums; a restore and a verification compare them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lamina.checkpoint import CheckpointManager, load_checkpoint, write_checkpoint
from lamina.executor.memory import kept_memory


def model(megabytes: int) -> dict[str, np.ndarray]:
    """Float arrays of mixed sizes, as of a model and the slots of its optimizer."""
    rng = np.random.default_rng(10)
    large = (megabytes * 10**6 // 4 - 52 * 1024) // 50
    return {f"w{i:03d}": rng.random(large, np.float32) for i in range(50)} | {
        f"b{i:03d}": rng.random(1024, np.float32) for i in range(52)
    }


def write_raw(path: Path, tensors: dict[str, np.ndarray]) -> None:
    with open(path, "wb", 0) as file:
        for array in tensors.values():
            file.write(array.data)
        os.fsync(file.fileno())


def read_raw(path: Path, tensors: dict[str, np.ndarray]) -> None:
    with open(path, "rb", 0) as file:
        for array in tensors.values():
            file.readinto(np.empty_like(array).data)


def read_checkpoint(prefix: Path) -> None:
    reader = load_checkpoint(prefix)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)


def blocked(folder: Path, tensors: dict[str, np.ndarray], repeats: int) -> None:
    """How long a training loop waits for an asynchronous save, and how much slower its steps are while one is written.

    The call copies the tensors before it returns, so the loop waits for the call alone; a step beside the writer
    shares the processors and the memory with it, the first such step as well as those after it.
    """

    def step(state: list) -> list:
        return [w * 0.999 if w.ndim == 1 else w - 1e-9 * (x.T @ (x @ w)) for w in state]

    x = jnp.ones((16, 1000))
    run = jax.jit(step, donate_argnums=0)
    manager = CheckpointManager(folder, max_to_keep=1)
    rows = []
    with kept_memory():  # as within fit
        state = run([jnp.asarray(w[: w.size // 1000 * 1000].reshape(1000, -1)) for w in tensors.values()])
        for number in range(repeats + 1):
            alone = statistics.median(timed(lambda: jax.block_until_ready(run_on(run, state))) for _ in range(5))
            named = {f"w{i}": w for i, w in enumerate(state)}
            call = timed(partial(manager.save, number, named))
            del named
            beside = []
            while manager.busy:
                beside.append(timed(lambda: jax.block_until_ready(run_on(run, state))) / alone)
            manager.wait()
            if number:  # the first save compiles, and takes memory that the others find
                rows.append((call, manager.seconds, beside[0], statistics.mean(beside[1:] or beside)))
    call, write, first, others = (statistics.median(column) for column in zip(*rows, strict=True))
    print(
        f"\nAn asynchronous save: training waits {call * 1e3:.0f} ms, {call / write:.1%} of the {write * 1e3:.0f} ms of"
        f" the write.\nBeside the writer the first step takes {first:.2f} of its time alone, others {others:.2f}."
    )


def run_on(run: Callable[[list], list], state: list) -> list:
    state[:] = run(state)
    return state


def timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--folder", help="where to write; by default the folder for temporary files")
    parser.add_argument("--megabytes", type=int, default=200)
    options = parser.parse_args()
    tensors = model(options.megabytes)
    size = sum(array.nbytes for array in tensors.values())
    folder = Path(tempfile.mkdtemp(prefix="bench_checkpoint", dir=options.folder))
    disk, plain, shards = (folder / name for name in ("disk", "checkpoint", "checkpoint, shards of 50 MB"))
    for place in (disk, plain, shards):
        place.mkdir()
    runs = {
        "save": {
            disk.name: lambda: write_raw(disk / "m", tensors),
            plain.name: lambda: write_checkpoint(plain / "m", tensors),
            shards.name: lambda: write_checkpoint(shards / "m", tensors, 50_000_000),
        },
        "restore": {
            disk.name: lambda: read_raw(disk / "m", tensors),
            plain.name: lambda: read_checkpoint(plain / "m"),
            shards.name: lambda: read_checkpoint(shards / "m"),
            "verify": lambda: load_checkpoint(plain / "m").verify(),
        },
    }
    times: dict[tuple[str, str], list[float]] = {}
    try:
        for _ in range(options.repeats):
            for phase, functions in runs.items():
                for name, function in functions.items():
                    if phase == "save":  # each writes where nothing is, on a disk that has nothing to do
                        for old in (folder / name).glob("*"):
                            old.unlink()
                        os.sync()
                    times.setdefault((phase, name), []).append(timed(function))
    finally:
        shutil.rmtree(folder)
    folder = Path(tempfile.mkdtemp(prefix="bench_checkpoint", dir=options.folder))
    try:
        blocked(folder, tensors, options.repeats)
    finally:
        shutil.rmtree(folder)
    print(f"\n{size / 1e6:.0f} MB in {len(tensors)} tensors\n")
    print("| what | how | GB/s | disk's time / its time |")
    print("|---|---|---|---|")
    for phase, functions in runs.items():
        reference = statistics.median(times[phase, disk.name])
        for name in functions:
            seconds = statistics.median(times[phase, name])
            print(f"| {phase} | {name} | {size / seconds / 1e9:.2f} | {reference / seconds:.2f} |")


if __name__ == "__main__":
    main()
