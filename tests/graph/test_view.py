"""The page of a graph: what it holds, that names in it are data, and what differs between two graphs."""

import html
import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina import Input, Sequential, layers, ops
from lamina.graph import trace
from lamina.graph.compare import compare
from lamina.graph.page import describe, histogram

HOSTILE = "</script><script>alert(1)</script><!--\u2028&\"'"


def stack(*more):
    return trace(Sequential([Input((4,), name="x"), layers.Dense(3, name="first"), *more], name="stack"))


def data_of(view):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', view.html, re.S)[1])


def test_a_page_is_one_file_without_network(tmp_path):
    graph = stack()
    view = graph.view(tmp_path / "graph.html")
    text = (tmp_path / "graph.html").read_text("utf-8")
    assert text == view.html
    assert not re.search(r"(src|href)\s*=", text) and "@import" not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy
    assert view._repr_html_().startswith("<iframe srcdoc=")


def test_an_installed_package_has_the_files_of_the_page():
    root = Path(__file__).resolve().parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "lamina.graph"
    ]
    files = [f.name for f in (root / "framework" / "graph").iterdir() if f.suffix in (".html", ".css", ".js")]
    assert len(files) == 4 and all(any(fnmatch(f, p) for p in patterns) for f in files)


def test_nodes_edges_groups_costs_and_weights():
    page = data_of(stack(layers.Dense(2, name="second")).view())
    by_name = {node["name"]: node for node in page["nodes"]}
    assert {n["op"] for n in page["nodes"]} == {"Input", "Constant", "MatMul", "Add", "Output"}
    assert [g["path"] for g in page["groups"]] == ["first", "second"]
    product = next(n for n in page["nodes"] if n["op"] == "MatMul" and n["path"] == "second")
    assert page["groups"][product["group"]]["name"] == "second"
    assert product["cost"] == [12, 44, 6]  # 2*3*2 operations; 3 + 6 + 2 floats
    assert product["inputs"][1][:2] == ["second/kernel", "float32 (3, 2)"]
    ends = [(page["nodes"][a]["name"], page["nodes"][b]["op"], text) for a, b, text, _ in page["edges"]]
    assert ("x", "MatMul", "float32 (batch, 4)") in ends
    weight = page["weights"][by_name["first/kernel"]["weight"]]
    assert weight["count"] == 12 and sum(weight["bins"]) == 12 and len(weight["bins"]) == 32
    assert page["totals"]["parameters"] == 12 + 3 + 6 + 2 and page["changes"] is None


def test_names_are_data():
    graph = trace(lambda x: jnp.tanh(x), (None, 4), input_names=[HOSTILE], output_names=[HOSTILE + "2"])
    graph.name = HOSTILE
    view = graph.view()
    assert len(re.findall(r"<script", view.html)) == 2  # the data and the program, nothing else
    assert "alert(1)</script>" not in view.html and html.escape(HOSTILE) in view.html
    assert data_of(view)["nodes"][0]["name"] == HOSTILE
    frame = view._repr_html_()
    assert frame.count("<") == 2 and html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == view.html


def test_bodies_of_loops_stand_inside_them():
    page = describe(trace(lambda x: jax.lax.fori_loop(0, 5, lambda i, y: y * 2.0, x), (3,)))
    loop = next(n for n in page["nodes"] if "own" in n)
    inside = [n for n in page["nodes"] if n["op"] == "Mul"]
    assert inside and page["groups"][inside[0]["group"]]["parent"] == loop["own"]
    assert page["groups"][loop["own"]]["node"] == page["nodes"].index(loop)


@pytest.mark.parametrize(
    "array, bins",
    [
        (np.zeros((3, 3), "float32"), True),
        (np.asarray([np.nan, np.inf, 1.0], "float32"), True),
        (np.asarray([-3e38, 3e38], "float32"), True),
        (np.asarray([-1.7e308, 1.7e308]), False),
        (np.asarray([1.0, np.nextafter(1, 2)]), False),
        (np.arange(5, dtype="int8"), True),
        (np.asarray([True, False]), True),
        (jnp.ones(3, "bfloat16"), True),
        (np.zeros(0, "float32"), False),
        (np.full(2, np.nan, "float32"), False),
        (np.asarray([1 + 2j]), False),
    ],
)
def test_histograms_of_all_arrays(array, bins):
    known = histogram(array)
    json.dumps(known, allow_nan=False)
    assert ("bins" in known) == bins and known["count"] == np.size(array)
    if bins:
        assert sum(known["bins"]) == known["count"] - known["broken"]


def test_what_a_notebook_shows_is_short_as_text():
    graph = stack()
    assert len(repr(graph.plot())) < 80 and f"'{graph.name}'" in repr(graph.view())


def test_equal_graphs_do_not_differ():
    graph = stack()
    found = compare(graph, graph.copy())
    assert not found and str(found) == "no difference" and len(found.pairs) == len(graph.instrs)
    assert not graph.view(compare=graph).html.count("removed&")
    assert {n["state"] for n in describe(graph, graph)["nodes"]} == {"same"}


def test_what_takes_a_fused_value_has_not_changed():
    graph = trace(Sequential([Input((8, 8, 1)), layers.Conv2D(2, 3), layers.ReLU(), layers.MaxPooling2D()]))
    found = compare(graph, graph.optimize())
    assert [i.op for i in found.removed] == ["Add", "Relu"] and [i.op for i in found.changes] == ["Conv"]


def test_what_differs():
    def program(scale, extra):
        def run(x):
            with jax.named_scope("scaled"):
                y = x * scale
            with jax.named_scope("rest"):
                return jnp.tanh(y) if extra else y + 1.0

        return trace(run, (None, 4), input_names=["x"])

    before, after = program(2.0, True), program(3.0, False)
    found = compare(before, after)
    assert [(i.op, i.path) for i in found.removed] == [("Tanh", "rest")]
    assert [(i.op, i.path) for i in found.added] == [("Add", "rest")]
    ((changed, texts),) = found.changes.items()
    assert changed.op == "Mul" and "2 -> 3" in texts[0]
    page = describe(after, before)
    states = {(n["op"], n["state"]) for n in page["nodes"]}
    assert {("Tanh", "removed"), ("Add", "added"), ("Mul", "changed"), ("Input", "same"), ("Output", "same")} <= states
    tanh = next(i for i, n in enumerate(page["nodes"]) if n["op"] == "Tanh")
    ends = [(page["nodes"][a]["op"], page["nodes"][b]["op"]) for a, b, _, _ in page["edges"] if tanh in (a, b)]
    assert ends == [("Mul", "Tanh"), ("Tanh", "Output")]
    assert [(c["kind"], page["nodes"][c["node"]]["op"]) for c in page["changes"]] == [
        ("removed", "Tanh"),
        ("added", "Add"),
        ("changed", "Mul"),
    ]


def test_changed_weights_shapes_attributes_and_interface():
    first, second = stack(), stack()
    texts = [t for ts in compare(first, second).changes.values() for t in ts]
    assert len(texts) == 1 and re.match(r"'first/kernel': values differ by up to [\d.]+", texts[0])
    wide = trace(Sequential([Input((4,), name="y"), layers.Dense(5, name="first")]))
    found = compare(first, wide)
    assert found.interface == [
        "input 'x': float32 (batch, 4) -> missing",
        "input 'y': missing -> float32 (batch, 4)",
        "output 'output_0': float32 (batch, 3) -> float32 (batch, 5)",
    ]
    texts = [t for ts in found.changes.values() for t in ts]
    assert "output 0: float32 (batch, 3) -> float32 (batch, 5)" in texts
    assert "'first/kernel': float32 (4, 3) -> float32 (4, 5)" in texts
    sums = [trace(lambda x, axis=axis: x.sum(axis), (3, 3)) for axis in (0, 1)]
    assert ["axes: (0,) -> (1,)" in str(compare(*sums)) or "axis" in str(compare(*sums))] == [True]


def test_what_files_round_is_no_difference():
    def program(epsilon, shape):
        bias = np.arange(3, dtype="float32").reshape(shape)
        return trace(lambda x: ops.layer_normalization(x, epsilon=epsilon) + bias, (None, 3))

    assert not compare(program(1e-3, (3,)), program(float(np.float32(1e-3)), (1, 3)))
    assert compare(program(1e-3, (3,)), program(2e-3, (3,)))


def test_moved_and_rewired_instructions():
    def program(path, swap):
        def run(a, b):
            with jax.named_scope(path):
                return jnp.subtract(b, a) if swap else jnp.subtract(a, b)

        return trace(run, (3,), (3,))

    assert "layer 'one' -> 'two'" in str(compare(program("one", False), program("two", False)))
    assert str(compare(program("p", False), program("p", True))).count("input ") == 2
