"""A progress bar for training loops of your own."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from tqdm.auto import tqdm

from lamina.callbacks.progress import format_logs
from lamina.core.checks import check_choice


class Progbar:
    """A bar with running means of values.

    Args:
        target: the number of steps, or None if unknown.
        width: accepted as in Keras; the bar takes the width of the terminal.
        verbose: 0 is silent, 1 shows a bar, 2 a line at the end.
        interval: seconds between updates of the bar, at least.
        stateful_metrics: names of values that are shown as they are, not as means over the steps.
        unit_name: the name of a step.

    Example:
        >>> bar = Progbar(2, verbose=0)
        >>> bar.update(1, [("loss", 3.0)])
        >>> bar.add(1, [("loss", 1.0)])
        >>> bar.means
        {'loss': 2.0}
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ):
        self.target = target
        self.verbose = check_choice("Progbar", "verbose", verbose, [0, 1, 2])
        self.interval, self.unit_name = interval, unit_name
        self.stateful_metrics = set(stateful_metrics or ())
        self.seen = 0
        self._sums: dict[str, tuple[float, float]] = {}
        self._bar: Any = None

    @property
    def means(self) -> dict[str, float]:
        """The values shown."""
        return {name: total / count for name, (total, count) in self._sums.items()}

    def update(
        self, current: int, values: Sequence[tuple[str, Any]] | None = None, finalize: bool | None = None
    ) -> None:
        """Shows that `current` steps are done.

        Args:
            current: the number of steps done.
            values: pairs of a name and the value of the last steps.
            finalize: whether this is the last update; by default once `current` reaches the target.
        """
        steps = current - self.seen
        for name, value in values or ():
            total, count = self._sums.get(name, (0.0, 0.0))
            if name in self.stateful_metrics:
                self._sums[name] = (float(value), 1.0)
            else:
                weight = max(steps, 1)
                self._sums[name] = (total + float(value) * weight, count + weight)
        self.seen = current
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        if self.verbose == 1:
            if self._bar is None:
                self._bar = tqdm(total=self.target, unit=self.unit_name, mininterval=self.interval, file=sys.stdout)
            self._bar.set_postfix_str(format_logs(self.means), refresh=False)
            self._bar.update(steps)
            if finalize:
                self._bar.close()
                self._bar = None
        elif self.verbose == 2 and finalize:
            print(f"{current}/{self.target or '?'} {self.unit_name}s  {format_logs(self.means)}")

    def add(self, n: int, values: Sequence[tuple[str, Any]] | None = None) -> None:
        """Shows that `n` more steps are done."""
        self.update(self.seen + n, values)
