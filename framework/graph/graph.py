"""Graph: what users do with instructions - run parts of them, differentiate, optimise, measure, cut and draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lamina.graph.base import GraphBase
from lamina.graph.cost import Cost, cost_table, costs, partition
from lamina.graph.diagram import Diagram
from lamina.graph.gradient import gradient
from lamina.graph.passes.order import optimize
from lamina.graph.picture import picture
from lamina.graph.session import Session
from lamina.graph.verify import verify
from lamina.graph.view import View


@dataclass(eq=False, repr=False)
class Graph(GraphBase):
    """A graph of instructions, made by `lamina.graph.trace`; a notebook shows it as a drawing.

    The attributes are those of `GraphBase`. A graph is not changed once it is made: passes give a new one.

    Example:
        >>> from lamina.graph import trace
        >>> graph = trace(lambda x: (x + 1.0) * 2.0, (None, 3), name="double")
        >>> graph
        <Graph 'double': 2 instructions, 2 constants>
    """

    _session: Session | None = None

    @classmethod
    def of(cls, base: GraphBase) -> Graph:
        """A graph with the instructions of another."""
        names = ("name", "inputs", "outputs", "instrs", "constants", "variables", "input_names", "output_names")
        return cls(**{n: getattr(base, n) for n in names}, trainable=base.trainable, structure=base.structure)

    def run(self, fetches: Any = None, feeds: Any = None) -> Any:
        """Runs the part of the graph that the fetches need, compiled once for each signature.

        Args:
            fetches: a name or value, or a list or dict of them; None for the outputs.
            feeds: arrays by name, or in the order of the inputs. Any value may be fed: what makes it is then not run.

        Raises:
            KeyError: nothing has that name.
            ValueError: a needed input is missing, or a shape does not fit.

        Example:
            >>> from lamina.graph import tag, trace
            >>> graph = trace(lambda x: tag(x * 2, "twice") + 1, (None, 2))
            >>> graph.run("twice", {"x": [[1.0, 2.0]]}).tolist()
            [[2.0, 4.0]]
        """
        if self._session is None:
            self._session = Session(self)
        return self._session.run(fetches, feeds)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the whole graph; arguments by position, or by the names of the inputs."""
        feeds = {**dict(zip(self.input_names, args, strict=False)), **kwargs}
        return self.structure(self.run(list(self.outputs), feeds))

    def verify(self) -> Graph:
        """The graph itself, if every instruction is as its op's entry in the table demands.

        Raises:
            ValueError: one is not; the message names it and its layer.
        """
        verify(self)
        return self

    def grad(self, of: Any = None, wrt: Sequence[Any] | None = None) -> Graph:
        """The graph of derivatives of the sum of a value.

        Args:
            of: a value or its name; the first output by default.
            wrt: inputs, variables or other constants, or their names; the trainable variables by default, and without
                any the inputs.

        Returns:
            A graph with the same inputs, and an output `<name>_gradient` for each of `wrt`.

        Example:
            >>> from lamina.graph import trace
            >>> float(trace(lambda x: x**3, ()).grad(wrt=["x"]).run("x_gradient", {"x": 2.0}))
            12.0
        """
        return Graph.of(gradient(self, of, wrt))

    def optimize(self, passes: Sequence[str] | None = None) -> Graph:
        """An equal graph of fewer instructions; see `lamina.graph.passes.PASSES` for the names of the passes.

        Example:
            >>> from lamina import Input, Sequential, layers
            >>> from lamina.graph import trace
            >>> stack = [Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()]
            >>> [i.op for i in trace(Sequential(stack)).optimize().instrs]
            ['Conv']
        """
        return optimize(self, passes)

    def costs(self) -> list[Cost]:
        """Operations, bytes and parameters of each instruction, for one sample."""
        return costs(self)

    def cost_table(self) -> str:
        """The costs as text, a line for each layer, the dearest first."""
        return cost_table(self)

    def partition(self, n: int) -> list[Graph]:
        """The graph cut into `n` stages of about equal cost, one after the other; see `lamina.graph.cost.partition`."""
        return partition(self, n)

    def plot(self, path: Any = None, direction: str = "TB") -> Diagram:
        """A drawing of the graph, written to a file if `path` is given: .svg, .dot, .png or .pdf.

        Example:
            >>> from lamina.graph import trace
            >>> trace(lambda x: x + 1.0, (3,)).plot().svg().startswith("<svg")
            True
        """
        drawing = picture(self, direction)
        if path is not None:
            drawing.save(path)
        return drawing

    def view(self, path: Any = None, compare: Any = None) -> View:
        """A page for the browser, which a notebook shows in place: pan, zoom, search, fold layers, look at weights.

        Args:
            path: where to write it, as one `.html` file that needs no network; None for nowhere.
            compare: another graph: what this one has more than that stands out as added, what it lacks as removed, and
                what differs as changed.

        Example:
            >>> from lamina.graph import trace
            >>> graph = trace(lambda x: x + 1.0, (3,))
            >>> "Add" in graph.view(compare=trace(lambda x: x, (3,))).html
            True
        """
        page = View(self, compare)
        if path is not None:
            page.save(path)
        return page

    def _repr_svg_(self) -> str:
        return picture(self).svg()
