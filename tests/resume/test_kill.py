"""The kill test with few kills; `.ci/run` does it with hundreds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_a_killed_run_goes_on_as_if_nothing_had_happened():
    script = Path(__file__).parent / "kill_test.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), "--kills=4", "--seed=1"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "'kills': 4" in done.stdout.splitlines()[-1]
