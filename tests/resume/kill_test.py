"""Kills a training run at random moments, in the writer of checkpoints too, and starts it again each time.

    python kill_test.py --kills 300 --jobs 2

The final weights, the history and the order of the data must equal those of a run that was left alone, bit for bit,
and there must be something to go on from after each kill. Half of the kills come at a random time, half just before
or after a call of the writer that changes the disk (fsync, rename, unlink).
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
# One compile cache for all runs, read when jax is imported.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="kill_test_cache")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import training_script  # noqa: E402

import lamina.callbacks  # noqa: E402, F401  imported once for all runs, which are forked; no device is in use yet
import lamina.datasets  # noqa: E402, F401
import lamina.models  # noqa: E402, F401

CALLS = ("fsync", "replace", "unlink")


def start(folder: str, doomed_call: int | None) -> int:
    """A process that trains in `folder`, and kills itself at a call of the writer if told to."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        if doomed_call is not None:
            left = [doomed_call]

            def deadly(function, after):
                def call(*args, **kwargs):
                    if "run" in str(args[0]) or isinstance(args[0], int):
                        left[0] -= 1
                    if left[0] == 0 and not after:
                        os.kill(os.getpid(), signal.SIGKILL)
                    result = function(*args, **kwargs)
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return result

                return call

            for name in CALLS:
                setattr(os, name, deadly(getattr(os, name), doomed_call % 2))
        training_script.main(folder)
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def wait(process: int, seconds: float | None) -> int:
    """Waits for a process; kills it after `seconds`. Its exit status, negative for a signal."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(process, 0 if end is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() >= end:
            os.kill(process, signal.SIGKILL)
            end = None
        time.sleep(0.002)


def checkpoints(folder: str) -> list[str]:
    """The indexes of the checkpoints that a folder holds."""
    return sorted(p.name for p in Path(folder, "run").glob("*.index"))


def run(kills: int, seed: int, verbose: bool = True) -> dict[str, int]:
    """The whole test; counts of what happened.

    Raises:
        AssertionError: a run ended otherwise than the one that was left alone.
    """
    rng = random.Random(seed)
    root = tempfile.mkdtemp()
    try:
        alone = os.path.join(root, "alone")
        os.makedirs(alone)
        assert wait(start(alone, None), None) == 0
        expected = Path(alone, "result.json").read_text()
        shutil.rmtree(alone)
        os.makedirs(alone)
        began = time.monotonic()
        assert wait(start(alone, None), None) == 0  # again, with everything compiled: how long it takes
        life = time.monotonic() - began
        assert Path(alone, "result.json").read_text() == expected, "two runs left alone differ"
        counts = {"kills": 0, "in the writer": 0, "before the first checkpoint": 0, "runs": 0, "restarts": 0}
        while counts["kills"] < kills:
            folder = os.path.join(root, f"run{counts['runs']}")
            os.makedirs(folder)
            had = False
            while True:
                in_writer = rng.random() < 0.5
                left = kills - counts["kills"]
                doomed = rng.randint(1, 40) if in_writer and left else None
                seconds = rng.uniform(0.2, 1.0) * life if left and not in_writer else None
                status = wait(start(folder, doomed), seconds)
                if status == 0:
                    break
                if status != -signal.SIGKILL:
                    raise AssertionError(f"a resumed run failed with status {status}")
                counts["kills"] += 1
                counts["in the writer"] += in_writer
                there = checkpoints(folder)
                if had and not there:
                    raise AssertionError("a kill left nothing to resume from")
                had = had or bool(there)
                counts["before the first checkpoint"] += not had
                counts["restarts"] += 1
            result = Path(folder, "result.json").read_text()
            assert result == expected, f"after {counts['kills']} kills the result differs:\n{result}\n{expected}"
            counts["runs"] += 1
            shutil.rmtree(folder)
            if verbose:
                print(json.dumps(counts), flush=True)
        return counts
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the kills")
    options = parser.parse_args()
    share = -(-options.kills // options.jobs)
    parts = [
        subprocess.Popen([sys.executable, *sys.argv[:1], f"--kills={share}", f"--seed={options.seed + i}"])
        for i in range(1, options.jobs)
    ]
    print(run(share, options.seed))
    sys.exit(max((part.wait() for part in parts), default=0))
