"""NumericsReport: the errors of a model in fewer bits, as a table, a picture and plain values."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lamina.core.checks import check_choice

ORDERS = ("alone", "deployed")


@dataclass(frozen=True)
class TensorError:
    """How far a tensor is from its reference in floats.

    Attributes:
        name: the tensor's name in the graph.
        layer: the layer that makes it.
        op: the op that makes it.
        dtype: how the file stores it.
        scale: the step of its integers; None for floats.
        zero: the integer of 0.
        low: the least element of the reference.
        high: the greatest.
        saturated: the share of the reference's elements outside of what can be stored.
        max_error: the greatest error as deployed, that of all layers before included.
        mean_error: the mean of its absolute value.
        snr: the reference's power over that of the error, in decibels; infinite without error. Each bit is about 6.
        alone_max_error: the greatest error of the layer alone, given the reference of its inputs.
        alone_mean_error: the mean of its absolute value.
        alone_snr: signal over noise of the layer alone.
    """

    name: str
    layer: str
    op: str
    dtype: str
    scale: float | None
    zero: int
    low: float
    high: float
    saturated: float
    max_error: float
    mean_error: float
    snr: float
    alone_max_error: float
    alone_mean_error: float
    alone_snr: float


class NumericsReport:
    """The errors of all tensors of a model, the worst layer first; `print` shows them as a table.

    Args:
        precision: the precision that was compared with float32.
        tensors: the errors, in the order in which the tensors are computed.
        order: what the worst is worst in: `"alone"`, the layer's own error, which tells where to act, or `"deployed"`,
            the error that has added up.

    Attributes:
        tensors: the errors, the worst first.
        computed: the errors in the order in which the tensors are computed.

    Example:
        >>> numbers = [0.1, 0, -1.0, 1.0, 0.0, 0.05, 0.02, 30.0, 0.04, 0.01, 32.0]
        >>> row = TensorError("y", "dense", "MatMul", "int8", *numbers)
        >>> print(NumericsReport("int8", [row]))
        int8 against float32: 1 tensors, the worst alone is 'dense' with 32.0 dB
        layer  op      stored  step  least  greatest  saturated  alone dB  deployed dB  greatest error  mean error
        dense  MatMul  int8    0.1      -1         1     0.000%      32.0         30.0            0.05        0.02
    """

    def __init__(self, precision: str, tensors: Sequence[TensorError], order: str = "alone"):
        check_choice("NumericsReport", "order", order, ORDERS)
        self.precision, self.computed, self.order = precision, list(tensors), order
        self.tensors = sorted(self.computed, key=lambda t: t.alone_snr if order == "alone" else t.snr)

    @property
    def worst(self) -> TensorError:
        """The tensor with the least signal over noise."""
        return self.tensors[0]

    @property
    def layers(self) -> dict[str, TensorError]:
        """For each layer its worst tensor, the worst layer first."""
        found: dict[str, TensorError] = {}
        for tensor in self.tensors:
            found.setdefault(tensor.layer, tensor)
        return found

    def sorted_by(self, order: str) -> NumericsReport:
        """The same report in another order, `"alone"` or `"deployed"`.

        Raises:
            ValueError: the order is unknown.
        """
        return NumericsReport(self.precision, self.computed, order)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the worst tensor first; what is infinite is None."""
        rows = [
            {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in dataclasses.asdict(t).items()}
            for t in self.tensors
        ]
        return {"precision": self.precision, "order": self.order, "tensors": rows}

    def __str__(self) -> str:
        if not self.tensors:
            return f"{self.precision} against float32: no tensors of floats"
        head = ["layer", "op", "stored", "step", "least", "greatest", "saturated", "alone dB", "deployed dB"]
        rows = [[*head, "greatest error", "mean error"]]
        for t in self.tensors:
            step = "-" if t.scale is None else f"{t.scale:.3g}"
            numbers = [f"{t.low:.4g}", f"{t.high:.4g}", f"{t.saturated:.3%}", f"{t.alone_snr:.1f}", f"{t.snr:.1f}"]
            rows.append([t.layer, t.op, t.dtype, step, *numbers, f"{t.max_error:.3g}", f"{t.mean_error:.3g}"])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(c.ljust(w) if i < 4 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]
        worst, found = self.worst, self.worst.alone_snr if self.order == "alone" else self.worst.snr
        title = (
            f"{self.precision} against float32: {len(self.tensors)} tensors, the worst {self.order} is "
            f"'{worst.layer}' with {found:.1f} dB"
        )
        return "\n".join([title, *(line.rstrip() for line in lines)])

    def __repr__(self) -> str:
        return f"<NumericsReport {self.precision}: {len(self.tensors)} tensors>"

    def plot(self) -> Any:
        """A matplotlib figure: signal over noise of each tensor, alone and as deployed, in the order of computation.

        Raises:
            ImportError: matplotlib is not installed.

        Example:
            >>> numbers = [0.1, 0, -1.0, 1.0, 0.0, 0.05, 0.02, 30.0, 0.04, 0.01, 32.0]
            >>> row = TensorError("y", "dense", "MatMul", "int8", *numbers)
            >>> len(NumericsReport("int8", [row]).plot().axes)
            1
        """
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                "NumericsReport.plot: needs matplotlib. Install it with pip install 'lamina[plot]', or print it."
            ) from error
        rows = self.computed
        figure = Figure(figsize=(8, 1.2 + 0.3 * len(rows)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        finite = [x for t in rows for x in (t.snr, t.alone_snr) if math.isfinite(x)]
        end = max([*finite, 0.0]) * 1.05 + 1  # where tensors without error end
        for shift, label, color, numbers in (
            (-0.2, "alone", "#4c78a8", [t.alone_snr for t in rows]),
            (0.2, "as deployed", "#f58518", [t.snr for t in rows]),
        ):
            lengths = [x if math.isfinite(x) else (end if x > 0 else 0.0) for x in numbers]
            axes.barh([i + shift for i in range(len(rows))], lengths, 0.38, label=label, color=color)
        axes.set_yticks(range(len(rows)), [f"{t.layer}: {t.op}" for t in rows])
        axes.invert_yaxis()
        axes.set_xlabel("signal over noise, dB")
        axes.set_title(f"{self.precision} against float32")
        axes.legend(loc="lower right")
        return figure

    def save(self, path: str | os.PathLike) -> None:
        """Writes the picture to a file: .svg, .png or .pdf.

        Raises:
            ValueError: the ending is another.
            ImportError: matplotlib is not installed.
        """
        ending = os.path.splitext(os.fspath(path))[1].removeprefix(".").lower()
        check_choice("NumericsReport.save", "the ending of the file", ending, ("svg", "png", "pdf"))
        self.plot().savefig(path, format=ending)

    def _repr_html_(self) -> str:
        return f"<pre>{self}</pre>"
