"""CheckpointManager: writes checkpoints beside the training, keeps those worth keeping, finds the newest whole one."""

from __future__ import annotations

import glob
import json
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina.checkpoint.reader import CheckpointReader
from lamina.checkpoint.state import read_checkpoint_state, write_checkpoint_state
from lamina.checkpoint.writer import write_checkpoint
from lamina.core.checks import check_choice, check_int, check_number
from lamina.core.errors import describe
from lamina.wire.errors import DataLossError

INFO = "checkpoint/info"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, or none can be read."""


class Checkpoint(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        step: its number.
        prefix: what the names of its files start with.
        tensors: the values by name; text is `bytes`.
    """

    step: int
    prefix: str
    tensors: dict[str, Any]


class _Kept(NamedTuple):
    """A checkpoint of the folder."""

    step: int
    prefix: str
    time: float
    metrics: dict[str, float]


@jax.jit
def _copies(values: list[Any]) -> list[Any]:
    return [jnp.copy(v) for v in values]


class CheckpointManager:
    """The checkpoints of a folder: `PREFIX-STEP.index`, `PREFIX-STEP.data-...` and the list `checkpoint`.

    A save copies the tensors on the device and leaves the rest to a thread; at most one save is under way. Files are
    written under other names, brought to the disk and renamed; the list comes last, and only then are old
    checkpoints removed. So there is a whole checkpoint at every moment, whenever the process or the machine stops.

    Args:
        folder: where the checkpoints lie; made if it does not exist.
        max_to_keep: how many of the latest are kept; None keeps all.
        keep_best: how many of the best are kept besides, by `monitor`.
        monitor: the name of the metric that tells which is best.
        mode: "min" if less is better, "max" if more is.
        keep_checkpoint_every_n_hours: one checkpoint is kept for good for each stretch of so many hours.
        asynchronous: whether a thread writes. Otherwise `save` returns when the files are on the disk.
        on_error: "raise" lets a save that failed (disk full, no permission, folder gone) raise at the next call;
            "warn" warns and goes on. What was saved before is intact either way.
        prefix: what the names of the files start with.
        shard_bytes: the tensors go into several files of about this size; None for one file.

    Example:
        >>> import tempfile
        >>> manager = CheckpointManager(tempfile.mkdtemp(), max_to_keep=2)
        >>> for step in (1, 2, 3):
        ...     saved = manager.save(step, {"weights/w": np.full(2, step, "float32")})
        >>> manager.close()
        >>> manager.steps()
        [2, 3]
        >>> manager.restore().tensors["weights/w"]
        array([3., 3.], dtype=float32)
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        max_to_keep: int | None = 5,
        keep_best: int = 0,
        monitor: str = "val_loss",
        mode: str = "min",
        keep_checkpoint_every_n_hours: float | None = None,
        asynchronous: bool = True,
        on_error: str = "raise",
        prefix: str = "model.ckpt",
        shard_bytes: int | None = None,
    ):
        owner = "CheckpointManager"
        if not isinstance(folder, (str, os.PathLike)):
            raise TypeError(f"{owner}: folder must be a path such as 'run', got {describe(folder)}.")
        self.folder = os.fspath(folder)
        self.max_to_keep = None if max_to_keep is None else check_int(owner, "max_to_keep", max_to_keep, 1)
        self.keep_best = check_int(owner, "keep_best", keep_best, 0)
        self.monitor = monitor
        self.mode = check_choice(owner, "mode", mode, ("min", "max"))
        self.keep_hours = (
            None
            if keep_checkpoint_every_n_hours is None
            else check_number(owner, "keep_checkpoint_every_n_hours", keep_checkpoint_every_n_hours, 0)
        )
        self.asynchronous = asynchronous
        self.on_error = check_choice(owner, "on_error", on_error, ("raise", "warn"))
        if not prefix or os.sep in prefix:
            raise ValueError(f"{owner}: prefix must be the start of a file name such as 'model.ckpt', got {prefix!r}.")
        self.prefix = prefix
        self.shard_bytes = shard_bytes
        self.seconds = 0.0  # what the last save took in the writer
        self._thread: threading.Thread | None = None
        self._failure: tuple[int, BaseException] | None = None
        self._kept: list[_Kept] | None = None

    # ---- writing

    @property
    def busy(self) -> bool:
        """Whether a save is under way."""
        return self._thread is not None and self._thread.is_alive()

    def path(self, step: int) -> str:
        """The prefix of the files of a step."""
        return os.path.join(self.folder, f"{self.prefix}-{step}")

    def save(
        self,
        step: int,
        tensors: Mapping[str, Any],
        metrics: Mapping[str, Any] | None = None,
        files: Mapping[str, Callable[[], bytes]] | None = None,
    ) -> str:
        """Saves tensors as the checkpoint of a step, once the save before has ended.

        Args:
            step: the number of the checkpoint.
            tensors: jax or numpy arrays, numbers or byte strings by name; or functions without arguments that the
                writer calls for them, for what takes long to compute.
            metrics: numbers that `keep_best` goes by.
            files: further files by ending (".meta"), as functions that give their bytes.

        Returns:
            The prefix of the checkpoint's files.

        Raises:
            CheckpointError: this save (or, with a writer thread, the one before) failed, and `on_error` is "raise".
        """
        self.wait()
        step = check_int("CheckpointManager.save", "step", step, 0)
        if self._kept is None:
            self._load()
            self._tidy()
        on_device = {name: value for name, value in tensors.items() if isinstance(value, jax.Array)}
        snapshot: dict[str, Any] = dict(zip(on_device, _copies(list(on_device.values())), strict=True))
        for name, value in tensors.items():
            if name not in snapshot:
                snapshot[name] = value if callable(value) or isinstance(value, (str, bytes)) else np.array(value)
        numbers = {k: float(v) for k, v in (metrics or {}).items() if np.ndim(v) == 0}
        kept = _Kept(step, self.path(step), time.time(), numbers)
        if self.asynchronous:
            # not a daemon: the interpreter waits for it at its end, so a last save is never cut off
            self._thread = threading.Thread(
                target=self._write, args=(kept, snapshot, dict(files or {})), name="lamina-checkpoint"
            )
            self._thread.start()
        else:
            self._write(kept, snapshot, dict(files or {}))
            self.check()
        return kept.prefix

    def _write(self, kept: _Kept, tensors: dict[str, Any], files: dict[str, Callable[[], bytes]]) -> None:
        started = time.perf_counter()
        try:
            os.makedirs(self.folder, exist_ok=True)
            arrays = {name: value() if callable(value) else value for name, value in tensors.items()}
            arrays[INFO] = json.dumps({"step": kept.step, "time": kept.time, "metrics": kept.metrics})
            contents = {ending: make() for ending, make in files.items()}
            write_checkpoint(kept.prefix, arrays, self.shard_bytes, contents)
            others = [k for k in self._kept or [] if k.prefix != kept.prefix]
            staying, going = self._sort_out([*others, kept])
            self._list(staying)
            self._kept = staying
            for old in going:
                remove_checkpoint(old.prefix)
        except BaseException as error:  # noqa: BLE001  handed to the thread that trains
            self._failure = (kept.step, error)
        self.seconds = time.perf_counter() - started

    def _list(self, kept: Sequence[_Kept]) -> None:
        write_checkpoint_state(self.folder, kept[-1].prefix, [k.prefix for k in kept], [k.time for k in kept])

    def _sort_out(self, kept: list[_Kept]) -> tuple[list[_Kept], list[_Kept]]:
        """The checkpoints that stay, and those that go."""
        if self.max_to_keep is None:
            return kept, []
        staying = {k.prefix for k in kept[-self.max_to_keep :]}
        staying |= {k.prefix for k in self._by_metric(kept)[: self.keep_best]}
        if self.keep_hours is not None:
            last = -np.inf
            for k in kept:
                if k.time - last >= 3600 * self.keep_hours:
                    staying.add(k.prefix)
                    last = k.time
        return [k for k in kept if k.prefix in staying], [k for k in kept if k.prefix not in staying]

    def _by_metric(self, kept: list[_Kept]) -> list[_Kept]:
        """Those that have the metric, the best first."""
        rated = [k for k in kept if not np.isnan(k.metrics.get(self.monitor, np.nan))]
        return sorted(rated, key=lambda k: k.metrics[self.monitor], reverse=self.mode == "max")

    def check(self) -> None:
        """Raises (or warns of) the failure of a save that has ended.

        Raises:
            CheckpointError: the save failed, and `on_error` is "raise".
        """
        if self._failure is None:
            return
        (step, error), self._failure = self._failure, None
        whole = self._kept[-1].prefix if self._kept else None
        before = f"The checkpoint before it, '{whole}', is intact." if whole else "There is none before it."
        message = (
            f"The checkpoint of step {step} could not be written to '{self.folder}': {error}. {before} Free space or "
            "mend the folder; on_error='warn' trains on without."
        )
        if self.on_error == "warn" and isinstance(error, Exception):
            warnings.warn(message, stacklevel=3)
        else:
            raise CheckpointError(message) from error

    def wait(self) -> None:
        """Waits until the save under way has ended, and raises its failure as `check` does."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def close(self) -> None:
        """The same as `wait`; call it at the end."""
        self.wait()

    def __enter__(self) -> CheckpointManager:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    # ---- reading

    def _load(self) -> list[_Kept]:
        """The checkpoints of the folder, oldest first, that can be opened."""
        if self._kept is None:
            self._kept = []
            for prefix in reversed(self._candidates()):
                try:
                    self._kept.append(self._describe(prefix, CheckpointReader(prefix)))
                except (DataLossError, OSError):
                    continue  # it stays where it is; `restore` tells of it
        return self._kept

    def _describe(self, prefix: str, reader: CheckpointReader) -> _Kept:
        try:
            info = json.loads(reader.get_tensor(INFO)) if reader.has_tensor(INFO) else {}
            metrics = {str(k): float(v) for k, v in info.get("metrics", {}).items()}
            written = float(info.get("time", os.path.getmtime(f"{prefix}.index")))
        except (ValueError, TypeError, AttributeError) as error:
            raise DataLossError(f"'{prefix}': '{INFO}' is no description of a checkpoint: {error}.") from error
        return _Kept(self._step_of(prefix), prefix, written, metrics)

    def _step_of(self, prefix: str) -> int:
        match = re.search(r"-(\d+)$", prefix)
        return int(match.group(1)) if match else 0

    def _candidates(self) -> list[str]:
        """The prefixes of the folder's checkpoints, the newest first: by the list `checkpoint`, then by their steps."""
        try:
            state = read_checkpoint_state(self.folder)
        except DataLossError as error:
            warnings.warn(f"{error} The checkpoints are taken in the order of their steps.", stacklevel=4)
            state = None
        start = os.path.join(self.folder, f"{self.prefix}-")
        found = [p.removesuffix(".index") for p in glob.glob(f"{glob.escape(start)}*.index")]
        found = sorted((p for p in found if re.fullmatch(r"\d+", p[len(start) :])), key=self._step_of, reverse=True)
        listed = [] if state is None else [state[0], *reversed(state[1])]
        return list(dict.fromkeys([*listed, *found]))

    def _tidy(self) -> None:
        """Removes what a killed process left half written."""
        start = glob.escape(os.path.join(self.folder, self.prefix))
        leftovers = [*glob.glob(f"{start}-*.tmp*"), *glob.glob(glob.escape(self.folder) + "/checkpoint.tmp*")]
        for path in leftovers:
            if not _alive(path.rpartition(".tmp")[2]):
                _unlink(path)
        for path in [*glob.glob(f"{start}-*.data-*-of-*"), *glob.glob(f"{start}-*.meta")]:
            prefix = re.sub(r"\.(data-\d+-of-\d+|meta)$", "", path)
            if prefix != path and not os.path.exists(f"{prefix}.index"):
                _unlink(path)

    def steps(self) -> list[int]:
        """The steps of the checkpoints kept, oldest first."""
        self.wait()
        return [k.step for k in self._load()]

    @property
    def latest(self) -> str | None:
        """The prefix of the latest checkpoint, or None."""
        self.wait()
        return self._load()[-1].prefix if self._load() else None

    @property
    def best(self) -> str | None:
        """The prefix of the checkpoint with the best metric, or None if none has it."""
        self.wait()
        rated = self._by_metric(self._load())
        return rated[0].prefix if rated else None

    def restore(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, every byte of it verified; None if the folder has none.

        A damaged one is told of in a warning, and the one before it is taken.

        Raises:
            CheckpointError: there are checkpoints, but none is whole.
        """
        self.wait()
        problems: list[str] = []
        for prefix in self._candidates():
            try:
                reader = CheckpointReader(prefix)
                for ending in reader.files():
                    reader.read_file(ending)
                tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
            except (DataLossError, OSError) as error:
                problems.append(str(error))
                continue
            if problems:
                warnings.warn(
                    f"'{self.folder}': {' '.join(problems)} The checkpoint before, '{prefix}', is used instead.",
                    stacklevel=2,
                )
            return Checkpoint(self._step_of(prefix), prefix, tensors)
        if problems:
            raise CheckpointError(
                f"None of the checkpoints in '{self.folder}' is whole: {' '.join(problems)} Move the folder away to "
                "start afresh."
            )
        return None

    def delete(self) -> None:
        """Removes all checkpoints of the folder, the list first."""
        self.wait()
        candidates = self._candidates()
        _unlink(os.path.join(self.folder, "checkpoint"))
        for prefix in candidates:
            remove_checkpoint(prefix)
        self._kept = []


def remove_checkpoint(prefix: str | os.PathLike) -> None:
    """Removes the files of a checkpoint, the index first: what is left without it is no checkpoint."""
    prefix = os.fspath(prefix)
    _unlink(f"{prefix}.index")
    for path in [*glob.glob(f"{glob.escape(prefix)}.data-*-of-*"), f"{prefix}.meta"]:
        _unlink(path)


def _alive(process: str) -> bool:
    """Whether a process other than this one has that number."""
    if not process.isdigit() or int(process) == os.getpid():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
