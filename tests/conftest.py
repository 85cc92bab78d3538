"""Settings of the test session: strict dtypes, one compile cache for all workers."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # most of the time of the tests is compilation
os.environ.setdefault("MPLBACKEND", "Agg")

# a shell that runs the tests in the background has them, and the programs they start, ignore Ctrl-C
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "standard")


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same random state."""
    from lamina.state.rng import set_random_seed

    set_random_seed(1234)
