"""Memory that a step frees is kept for the next step.

A compiled step takes its scratch memory from malloc and frees it at its end. glibc gives blocks over 32 MB straight
back to the system, so every step of a large model has them mapped, zeroed and faulted in anew: 80 ms for each 200 MB
where this was measured, up to 40% of a step. Within the scope freed blocks stay in the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator

import jax

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
# What glibc's own adaptive thresholds end at once a block of 32 MB has been freed.
_USUAL = {_MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20, _MMAP_MAX: 65536}
_KEEPING = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}

_lock = threading.Lock()
_scopes = [0]


@functools.cache
def _mallopt() -> Callable[[int, int], int] | None:
    """glibc's mallopt, or None where there is none, or `LAMINA_KEEP_MEMORY=0` says not to use it."""
    if os.environ.get("LAMINA_KEEP_MEMORY", "1") == "0":
        return None
    try:
        process = ctypes.CDLL(None)
        process.gnu_get_libc_version  # noqa: B018 - tells glibc from other C libraries
        return process.mallopt
    except (AttributeError, OSError, TypeError):
        return None


def share_one_arena() -> None:
    """Makes all threads take memory from one heap, since only that one can keep large blocks.

    It holds for threads started later, so it is called when this module is loaded: before the first computation.
    """
    mallopt = _mallopt()
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Within the scope (scopes may overlap), freed memory is kept for the next step."""
    mallopt = _mallopt()
    if mallopt is None or jax.default_backend() != "cpu":
        yield
        return
    with _lock:
        _scopes[0] += 1
        if _scopes[0] == 1:
            for parameter, value in _KEEPING.items():
                mallopt(parameter, value)
    try:
        yield
    finally:
        with _lock:
            _scopes[0] -= 1
            if _scopes[0] == 0:
                for parameter, value in _USUAL.items():
                    mallopt(parameter, value)


share_one_arena()
