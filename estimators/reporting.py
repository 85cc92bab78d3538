"""Hooks that tell of a run: lines of the log, event files, final values, profiles."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax

from lamina.estimators.hooks import SecondOrStepTimer, Session, SessionRunHook, SessionRunValues, logger
from lamina.summary import SummaryWriter


class LoggingTensorHook(SessionRunHook):
    """Logs values every so many steps or seconds, at level INFO of the logger "lamina.estimators".

    Args:
        tensors: names of variables, "loss" and "global_step": a list, or a dict by label; a function of the session
            may stand for a name.
        every_n_iter: steps between two lines.
        every_n_secs: seconds between two lines.
        at_end: whether to log at the end.
        formatter: makes the text of a dict of values.

    Raises:
        ValueError: not exactly one of every_n_iter and every_n_secs is given, unless at_end is.
    """

    def __init__(
        self,
        tensors: Any,
        every_n_iter: int | None = None,
        every_n_secs: float | None = None,
        at_end: bool = False,
        formatter: Callable[[dict[str, Any]], str] | None = None,
    ):
        if every_n_iter is not None and every_n_secs is not None or not at_end and every_n_iter is every_n_secs:
            raise ValueError(
                f"LoggingTensorHook: give one of every_n_iter and every_n_secs, got {every_n_iter!r} and "
                f"{every_n_secs!r}; or at_end=True alone."
            )
        if not isinstance(tensors, Mapping):
            tensors = {str(t): t for t in tensors}
        self._tensors, self._formatter, self._at_end = dict(tensors), formatter, at_end
        timed = every_n_iter is not None or every_n_secs is not None
        self._timer = SecondOrStepTimer(every_n_secs, every_n_iter) if timed else None

    def begin(self) -> None:
        """Starts anew."""
        if self._timer is not None:
            self._timer.reset()

    def next_step(self, step: int, rate: float | None) -> int | None:
        """When the next line is due; the first comes after the first step."""
        if self._timer is None:
            return None
        return step + 1 if self._timer.last_step is None else self._timer.next_step(step, rate)

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Logs, if it is time."""
        if self._timer is not None and self._timer.should_trigger_for_step(run_context.step):
            self._log(run_context)

    def end(self, session: Session) -> None:
        """Logs, if asked to."""
        if self._at_end:
            self._log(session)

    def _log(self, session: Session) -> None:
        if not logger.isEnabledFor(logging.INFO) and self._formatter is None:
            if self._timer is not None:
                self._timer.update_last_triggered_step(session.step)
            return
        values = {k: session.run(v) for k, v in self._tensors.items()}
        seconds = None
        if self._timer is not None:
            seconds, _ = self._timer.update_last_triggered_step(session.step)
        if self._formatter is not None:
            logger.info(self._formatter(values))
            return
        text = ", ".join(f"{k} = {v}" for k, v in values.items())
        logger.info(text if seconds is None else f"{text} ({seconds:.3f} sec)")


class StepCounterHook(SessionRunHook):
    """Measures steps a second; writes them into event files and logs them.

    Args:
        every_n_steps: steps between two measurements.
        every_n_secs: seconds between two measurements, in the place of steps; then give `every_n_steps=None`.
        output_dir: the folder of the event file.
        summary_writer: a writer, in the place of the folder.
    """

    tag = "global_step/sec"

    def __init__(
        self,
        every_n_steps: int | None = 100,
        every_n_secs: float | None = None,
        output_dir: str | os.PathLike | None = None,
        summary_writer: SummaryWriter | None = None,
    ):
        self._timer = SecondOrStepTimer(every_n_secs, every_n_steps)
        self._folder, self._writer = output_dir, summary_writer
        self.rates: list[float] = []

    def after_create_session(self, session: Session, coord: Any = None) -> None:
        """Starts the clock."""
        self._timer.reset()
        self._timer.update_last_triggered_step(session.step)
        if self._writer is None and self._folder is not None:
            self._writer = SummaryWriter(self._folder)

    def next_step(self, step: int, rate: float | None) -> int | None:
        """When the next measurement is due."""
        return self._timer.next_step(step, rate)

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Measures, if it is time."""
        if not self._timer.should_trigger_for_step(run_context.step):
            return
        seconds, steps = self._timer.update_last_triggered_step(run_context.step)
        if not seconds or not steps:
            return
        self.rates.append(steps / seconds)
        logger.info("%s: %g", self.tag, steps / seconds)
        if self._writer is not None:
            self._writer.scalar(self.tag, steps / seconds, run_context.step)

    def end(self, session: Session) -> None:
        """Brings the event file to the disk."""
        if self._writer is not None:
            self._writer.flush()


class SummarySaverHook(SessionRunHook):
    """Writes scalars into an event file, every so many steps or seconds.

    Args:
        save_steps: steps between two summaries.
        save_secs: seconds between two summaries, in the place of steps.
        output_dir: the folder of the event file.
        summary_writer: a writer, in the place of the folder.
        scalars: what to write: names as in `LoggingTensorHook`; the loss by default.
    """

    def __init__(
        self,
        save_steps: int | None = None,
        save_secs: float | None = None,
        output_dir: str | os.PathLike | None = None,
        summary_writer: SummaryWriter | None = None,
        scalars: Any = ("loss",),
    ):
        if (output_dir is None) == (summary_writer is None):
            raise ValueError("SummarySaverHook: give one of output_dir and summary_writer.")
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self._folder, self._writer = output_dir, summary_writer
        self._scalars = dict(scalars) if isinstance(scalars, Mapping) else {str(s): s for s in scalars}

    def begin(self) -> None:
        """Opens the event file."""
        self._timer.reset()
        if self._writer is None and self._folder is not None:
            self._writer = SummaryWriter(self._folder)

    def next_step(self, step: int, rate: float | None) -> int | None:
        """When the next summary is due; the first comes after the first step."""
        return step + 1 if self._timer.last_step is None else self._timer.next_step(step, rate)

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Writes, if it is time."""
        if self._writer is None or not self._timer.should_trigger_for_step(run_context.step):
            return
        self._timer.update_last_triggered_step(run_context.step)
        for tag, what in self._scalars.items():
            self._writer.scalar(tag, run_context.run(what), run_context.step)

    def end(self, session: Session) -> None:
        """Brings the event file to the disk."""
        if self._writer is not None:
            self._writer.flush()


class FinalOpsHook(SessionRunHook):
    """Takes values at the end of a run.

    Args:
        final_ops: names as in `LoggingTensorHook`, singly, in a list or in a dict; or a function of the session.

    Attributes:
        final_ops_values: the values, once the run has ended.
    """

    def __init__(self, final_ops: Any, final_ops_feed_dict: Any = None):
        if final_ops_feed_dict is not None:
            raise ValueError("FinalOpsHook: final_ops_feed_dict has no meaning here, there is nothing to feed.")
        self._ops = final_ops
        self.final_ops_values: Any = None

    def end(self, session: Session) -> None:
        """Takes the values."""
        self.final_ops_values = session.run(self._ops)


class ProfilerHook(SessionRunHook):
    """Records a profile of one step with `jax.profiler`, every so many steps or seconds.

    Args:
        save_steps: steps between two profiles.
        save_secs: seconds between two profiles, in the place of steps.
        output_dir: the folder of the profiles.
        show_dataflow: taken for TensorFlow's sake.
        show_memory: whether to save a profile of the memory too.
    """

    def __init__(
        self,
        save_steps: int | None = None,
        save_secs: float | None = None,
        output_dir: str | os.PathLike = "",
        show_dataflow: bool = True,
        show_memory: bool = False,
    ):
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self._folder, self._memory = os.fspath(output_dir), show_memory
        self._running = False

    def after_create_session(self, session: Session, coord: Any = None) -> None:
        """Starts the clock."""
        self._timer.reset()
        self._timer.update_last_triggered_step(session.step)

    def next_step(self, step: int, rate: float | None) -> int | None:
        """The next profile, or the step after its start."""
        return step + 1 if self._running else self._timer.next_step(step, rate)

    def after_run(self, run_context: Session, run_values: SessionRunValues) -> None:
        """Starts or ends a profile."""
        if self._running:
            self._stop()
        elif self._timer.should_trigger_for_step(run_context.step):
            self._timer.update_last_triggered_step(run_context.step)
            os.makedirs(self._folder or ".", exist_ok=True)
            jax.profiler.start_trace(self._folder or ".")
            self._running = True
            if self._memory:
                path = os.path.join(self._folder, f"memory-{run_context.step}.prof")
                jax.profiler.save_device_memory_profile(path)

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self._running = False

    def end(self, session: Session) -> None:
        """Ends a profile that is being recorded."""
        if self._running:
            self._stop()
