"""What the page of a graph shows, as plain data: nodes, groups by layer, edges, weights, and what differs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from lamina.graph.compare import Difference, attribute_text, compare, type_text
from lamina.graph.cost import costs
from lamina.graph.ir import Instr, Value, is_floating, is_graph

BINS = 32
LONGEST = 600
"""Characters of an attribute that are shown."""


def describe(graph: Any, compared: Any = None) -> dict[str, Any]:
    """A graph as lists and dicts that JSON can hold.

    Args:
        graph: the graph.
        compared: a graph to compare it with: what that one alone has stands among the nodes too, as removed.

    Returns:
        name: the name. nodes, groups and edges: what is drawn; they name each other by their places. weights: what is
        known of constants, their histograms included. changes: what differs, or None. totals: figures of the whole.

    Example:
        >>> from lamina.graph import trace
        >>> page = describe(trace(lambda x: x * 2.0, (3,)))
        >>> [node["op"] for node in page["nodes"]], page["edges"][0]
        (['Input', 'Mul', 'Constant', 'Output'], [0, 1, 'float32 (3,)', 'x'])
    """
    difference = None if compared is None else compare(compared, graph)
    page = _Page(difference)
    places = page.add(graph, None)
    if difference is not None:
        page.add_removed(compared, difference, places)
    costing = costs(graph)
    return {
        "name": graph.name,
        "nodes": page.nodes,
        "groups": page.groups,
        "edges": page.edges,
        "weights": page.weights,
        "changes": None if difference is None else page.changes(difference),
        "totals": {
            "instructions": len(graph.instrs),
            "operations": sum(c.operations for c in costing),
            "bytes": sum(c.bytes for c in costing),
            "parameters": sum(v.elements for v in graph.constants if v.shape),
        },
    }


class _Page:
    """Collects what is shown, of one graph or of two."""

    def __init__(self, difference: Difference | None):
        self.nodes: list[dict[str, Any]] = []
        self.groups: list[dict[str, Any]] = []
        self.edges: list[list[Any]] = []
        self.weights: list[dict[str, Any]] = []
        self._difference = difference
        self._group_of: dict[tuple[int | None, str], int] = {}
        self._node_of: dict[Instr, int] = {}
        self._interface: dict[tuple[str, str], int] = {}

    def add(self, graph: Any, root: int | None) -> dict[Value, int]:
        """Adds the nodes of a graph, in a group or at the top; returns the node of each value."""
        places: dict[Value, int] = {}
        for name, value in zip(graph.input_names, graph.inputs, strict=True):
            places[value] = self._end("Input", name, value, root)
        self._add_instrs(graph, graph.instrs, root, places, "same")
        for name, value in zip(graph.output_names, graph.outputs, strict=True):
            self._link(graph, value, self._end("Output", name, value, root), places, root)
        return places

    def add_removed(self, graph: Any, difference: Difference, after: Mapping[Value, int]) -> None:
        """Adds what the first of two graphs alone has, and its edges to what both have."""
        places: dict[Value, int] = {}
        for new, old in difference.pairs.items():
            places.update((v, self._node_of[new]) for v in old.outputs)
        for name, value in zip(graph.input_names, graph.inputs, strict=True):
            if ("Input", name) not in self._interface:
                self._end("Input", name, value, None, "removed")
            places[value] = self._interface["Input", name]
        self._add_instrs(graph, difference.removed, None, places, "removed")
        gone = set(difference.removed)
        makers, back = graph.producers(), {old: new for new, old in difference.pairs.items()}
        for instr in graph.instrs:
            for value in dict.fromkeys(instr.inputs):
                if instr in back and makers.get(value) in gone:
                    self._link(graph, value, self._node_of[back[instr]], places, None)
        for name, value in zip(graph.output_names, graph.outputs, strict=True):
            if ("Output", name) not in self._interface:
                self._link(graph, value, self._end("Output", name, value, None, "removed"), places, None)
            elif makers.get(value) in gone:
                self._link(graph, value, self._interface["Output", name], places, None)

    def changes(self, difference: Difference) -> list[dict[str, Any]]:
        """The list of what differs, with the node of each entry."""
        instrs = [None] * len(difference.interface) + difference.removed + difference.added + list(difference.changes)
        return [
            {"kind": kind, "path": path, "op": op, "what": what, "node": None if i is None else self._node_of[i]}
            for (kind, path, op, what), i in zip(difference.rows(), instrs, strict=True)
        ]

    def _add_instrs(
        self, graph: Any, instrs: Collection[Instr], root: int | None, places: dict[Value, int], state: str
    ) -> None:
        costing = {c.instr: c for c in costs(graph)}
        difference = self._difference if root is None else None
        added = set() if difference is None else set(difference.added)
        changed = {} if difference is None else difference.changes
        for instr in instrs:
            cost = costing[instr]
            node = self._node(
                instr.label,
                instr.outputs[0].name if instr.outputs else "",
                self._group(root, instr.path),
                "added" if instr in added else "changed" if instr in changed else state,
                path=instr.path,
                outputs=[[v.name, type_text(v)] for v in instr.outputs],
                attrs={
                    key: text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
                    for key, value in instr.attrs.items()
                    if key not in ("run", "name") and not is_graph(value)
                    for text in [attribute_text(value)]
                },
                cost=[cost.operations, cost.bytes, cost.parameters],
                differs=changed.get(instr, []),
            )
            self._node_of[instr] = node
            subgraphs = {key: sub for key, sub in instr.attrs.items() if is_graph(sub)}
            if subgraphs:
                own = self._new_group(instr.label, self.nodes[node]["group"], instr.path, node)
                self.nodes[node]["own"] = own
                for key, sub in subgraphs.items():
                    self.add(sub, self._new_group(key, own, f"{instr.path}/{key}", None))
            for value in dict.fromkeys(instr.inputs):
                self._link(graph, value, node, places, root)
            places.update(dict.fromkeys(instr.outputs, node))

    def _link(self, graph: Any, value: Value, target: int, places: dict[Value, int], root: int | None) -> None:
        """An edge to a node, and the node of a constant when it is first met."""
        node = self.nodes[target]
        if value not in places and value in graph.constants:
            name = graph.variables.get(value, value.name)
            places[value] = self._node(
                "Constant", name, node["group"], node["state"] if node["state"] != "changed" else "same",
                path=node["path"], outputs=[[value.name, type_text(value)]], weight=len(self.weights),
                variable=value in graph.variables,
            )  # fmt: skip
            self.weights.append(histogram(graph.constants[value]))
        if value in places:
            self.edges.append([places[value], target, type_text(value), value.name])
            node["inputs"].append([value.name, type_text(value), places[value]])

    def _end(self, op: str, name: str, value: Value, root: int | None, state: str = "same") -> int:
        """A node for an input or output."""
        outputs = [[value.name, type_text(value)]] if op == "Input" else []
        if root is None:
            if self._difference is not None and state == "same":
                texts = [t for t in self._difference.interface if t.startswith(f"{op.lower()} '{name}':")]
                state = "same" if not texts else "added" if ": missing ->" in texts[0] else "changed"
            self._interface[op, name] = len(self.nodes)
        return self._node(op, name, root, state, path="", outputs=outputs)

    def _node(self, op: str, name: str, group: int | None, state: str, **more: Any) -> int:
        self.nodes.append({"op": op, "name": name, "group": group, "state": state, "inputs": [], **more})
        return len(self.nodes) - 1

    def _group(self, root: int | None, path: str) -> int | None:
        """The group of a layer path, made when it is first met."""
        if not path:
            return root
        if (root, path) not in self._group_of:
            parent, _, name = path.rpartition("/")
            self._group_of[root, path] = self._new_group(name, self._group(root, parent), path, None)
        return self._group_of[root, path]

    def _new_group(self, name: str, parent: int | None, path: str, node: int | None) -> int:
        self.groups.append({"name": name, "parent": parent, "path": path, "node": node})
        return len(self.groups) - 1


def histogram(array: Any) -> dict[str, Any]:
    """Figures of an array: least, greatest, mean, deviation, zeros, how many are not finite, 32 bins of equal width.

    Example:
        >>> figures = histogram(np.asarray([0.0, 1.0, 1.0, np.nan]))
        >>> figures["count"], figures["min"], figures["max"], figures["zeros"], figures["broken"], sum(figures["bins"])
        (4, 0.0, 1.0, 1, 1, 3)
    """
    array = np.asarray(array)
    known: dict[str, Any] = {"count": int(array.size)}
    if not (is_floating(array.dtype) or array.dtype.kind in "iub") or not array.size:
        return known
    flat = array.reshape(-1).astype(np.float64)
    finite = flat[np.isfinite(flat)]
    known["broken"] = int(flat.size - finite.size)
    if not finite.size:
        return known
    low, high = float(finite.min()), float(finite.max())
    with np.errstate(over="ignore", invalid="ignore"):  # figures that are too large are left out
        figures = {"min": low, "max": high, "mean": float(finite.mean()), "std": float(finite.std())}
    known |= {key: figure for key, figure in figures.items() if np.isfinite(figure)}
    known["zeros"] = int(np.count_nonzero(finite == 0))
    if array.size <= 8:
        known["values"] = [float(x) if np.isfinite(x) else str(x) for x in flat]
    widest = max(abs(low), abs(high))
    if low == high or 4 * BINS * np.spacing(widest) < high - low < np.inf:
        known["bins"] = np.histogram(finite, BINS, (low, high) if low < high else None)[0].tolist()
    return known
