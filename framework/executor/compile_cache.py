"""XLA's persistent compile cache, on by default: a program compiled once loads in a moment the next time."""

from __future__ import annotations

import os

import jax

from lamina.core.settings import cache_folder

_state = {"wanted": os.environ.get("LAMINA_COMPILE_CACHE", "1") != "0", "set": False}


def set_compile_cache(enabled: bool = True, folder: str | os.PathLike | None = None) -> None:
    """Switches the compile cache on or off, or moves it.

    It lies in the user's cache folder; the environment variable `LAMINA_COMPILE_CACHE=0` switches it off, and a
    folder set through jax itself (`JAX_COMPILATION_CACHE_DIR`) is left alone.

    Args:
        enabled: whether compiled programs are kept.
        folder: where; by default `xla` in the cache folder.
    """
    _state.update(wanted=enabled, set=True)
    if not enabled:
        jax.config.update("jax_compilation_cache_dir", None)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder or cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def enable_compile_cache() -> None:
    """Switches the cache on unless the user or jax's own settings decided already; called before compiling."""
    if _state["set"]:
        return
    _state["set"] = True
    if _state["wanted"] and jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        set_compile_cache()
