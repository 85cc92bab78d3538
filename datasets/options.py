"""Options of a pipeline: how it runs, never what it gives (but for `deterministic=False`, which frees the order)."""

from __future__ import annotations

import os
from typing import Any

from lamina.core.checks import check_choice, check_int, check_type, unknown_arguments


class _Group:
    """Attributes with defaults, of which only those that were set count when options are merged."""

    _defaults: dict[str, Any] = {}

    def __init__(self, **values: Any) -> None:
        object.__setattr__(self, "_set", {})
        for key, value in values.items():
            setattr(self, key, value)

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__") or key not in type(self)._defaults:
            raise AttributeError(f"{type(self).__name__} has no attribute {key!r}.")
        return self._set.get(key, type(self)._defaults[key])

    def __setattr__(self, key: str, value: Any) -> None:
        if key not in type(self)._defaults:
            raise unknown_arguments(type(self).__name__, [key], type(self)._defaults)
        self._set[key] = self._check(key, value)

    def _check(self, key: str, value: Any) -> Any:
        return value

    def __eq__(self, other: Any) -> bool:
        return type(self) is type(other) and self._set == other._set

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in sorted(self._set.items()))})"

    def merge(self, other: Any) -> Any:
        """These options, with those that `other` sets on top."""
        out = type(self)()
        for source in (self, other):
            for key, value in source._set.items():
                mine = out._set.get(key)
                out._set[key] = mine.merge(value) if isinstance(mine, _Group) else value
        return out


class AutotuneOptions(_Group):
    """How AUTOTUNE behaves.

    Attributes:
        enabled: False makes AUTOTUNE mean: run in the calling thread, two elements ahead.
        cpu_budget: The most worker threads or processes a stage may use; 0 for as many as there are cores.
        ram_budget: The most bytes that AUTOTUNE may hold in buffers; 0 for a quarter of the free memory.
    """

    _defaults = {"enabled": True, "cpu_budget": 0, "ram_budget": 0}

    def _check(self, key: str, value: Any) -> Any:
        if key == "enabled":
            return check_type("AutotuneOptions", key, value, bool, "a bool")
        return check_int("AutotuneOptions", key, value, 0)


class ThreadingOptions(_Group):
    """Threads of a pipeline.

    Attributes:
        private_threadpool_size: The number of workers that `num_parallel_calls=AUTOTUNE` stands for; 0 to adapt.
        max_intra_op_parallelism: Accepted for compatibility; numpy's own threads are not touched.
    """

    _defaults = {"private_threadpool_size": 0, "max_intra_op_parallelism": 0}

    def _check(self, key: str, value: Any) -> Any:
        return check_int("ThreadingOptions", key, value, 0)


class Options(_Group):
    """Options for `Dataset.with_options`; they hold for the whole pipeline, and the last that is set wins.

    Attributes:
        deterministic: True (the default) keeps the order whatever the number of workers; False hands out what is ready.
        workers: `"thread"`, or `"process"` for spawned processes with shared memory (for functions that hold the GIL).
        autotune: An `AutotuneOptions`.
        threading: A `ThreadingOptions`.
        planning: False turns the planning of indexable pipelines off (same elements, slower).
        name: A name for messages.

    Example:
        >>> options = Options()
        >>> options.deterministic = False
        >>> options
        Options(deterministic=False)
    """

    _defaults = {
        "deterministic": None,
        "workers": "thread",
        "autotune": None,
        "threading": None,
        "planning": True,
        "name": None,
    }

    def __getattr__(self, key: str) -> Any:
        # The groups are made when first asked for, so that `options.autotune.ram_budget = n` works as in tf.data.
        if key in ("autotune", "threading") and key not in self._set:
            self._set[key] = AutotuneOptions() if key == "autotune" else ThreadingOptions()
        return super().__getattr__(key)

    def _check(self, key: str, value: Any) -> Any:
        if key == "workers":
            return check_choice("Options", key, value, ["thread", "process"])
        if key in ("deterministic", "planning"):
            kinds = bool if key == "planning" else (bool, type(None))
            return check_type("Options", key, value, kinds, "a bool")
        if key == "autotune":
            return check_type("Options", key, value, AutotuneOptions, "an AutotuneOptions")
        if key == "threading":
            return check_type("Options", key, value, ThreadingOptions, "a ThreadingOptions")
        return value


def cpu_count() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
