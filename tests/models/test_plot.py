"""plot_model and the layout of graphs."""

import builtins
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from lamina import Input, Model, Sequential, layers, ops
from lamina.graph.diagram import Box, Diagram
from lamina.graph.layout import Layout
from lamina.utils import model_to_dot, plot_model

SVG = "{http://www.w3.org/2000/svg}"


def residual():
    x = Input((4,), name="x")
    h = layers.Dense(4, activation="relu", name="first")(x)
    nested = Sequential([Input((4,)), layers.Dense(4, name="inside")], name="nested")
    return Model(x, ops.tanh(layers.add([nested(h), x])), name="residual")


def texts(diagram):
    return [t.text for t in ElementTree.fromstring(diagram.svg()).iter(f"{SVG}text")]


def arrows(diagram):
    paths = ElementTree.fromstring(diagram.svg()).iter(f"{SVG}path")
    return sum("marker-end" in p.attrib for p in paths)


def test_svg_has_a_box_for_each_operation_and_an_arrow_for_each_connection():
    diagram = model_to_dot(residual(), show_layer_names=True)
    want = ["x (InputLayer)", "first (Dense)", "nested (Sequential)", "add (Add)", "tanh (Tanh)"]
    assert sorted(texts(diagram)) == sorted(want)
    assert arrows(diagram) == 5
    assert texts(model_to_dot(residual()))[0] == "InputLayer"


def test_what_is_shown():
    diagram = model_to_dot(
        residual(), show_shapes=True, show_dtype=True, show_layer_activations=True, show_trainable=True
    )
    shown = texts(diagram)
    for text in ("input: (None, 4)", "output: (None, 4)", "dtype: float32", "activation: relu", "trainable"):
        assert text in shown
    assert "inside (Dense)" not in shown


def test_expand_nested():
    diagram = model_to_dot(residual(), show_layer_names=True, expand_nested=True)
    assert "inside (Dense)" in texts(diagram)
    assert arrows(diagram) == 6
    assert "subgraph cluster_" in diagram.to_string()


@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
def test_directions(rankdir):
    diagram = model_to_dot(residual(), show_layer_names=True, rankdir=rankdir)
    names = [box.lines[0] for box in diagram.boxes]
    first, last = (diagram._corners[names.index(n)] for n in ("x (InputLayer)", "tanh (Tanh)"))
    axis = 0 if rankdir in ("LR", "RL") else 1
    assert (first[axis] < last[axis]) == (rankdir in ("TB", "LR"))
    for (x, y), box in zip(diagram._corners, diagram.boxes, strict=True):
        w, h = box.size()
        assert x >= 0 and y >= 0 and x + w <= diagram.width and y + h <= diagram.height


class Own(Model):
    def __init__(self, opaque=False):
        super().__init__()
        self.left, self.right, self.opaque = layers.Dense(2), layers.Dense(2), opaque

    def call(self, x):
        if self.opaque:
            x = np.float32(1) * x.at[0].get()[None]
        return self.left(x) + self.right(x)


def test_subclassed_model_is_traced():
    model = Own()
    model(np.ones((3, 4), "float32"))
    diagram = model_to_dot(model, show_layer_names=True, show_shapes=True)
    assert {"left (Dense)", "right (Dense)", "add (Add)"} <= set(texts(diagram)) and arrows(diagram) == 4
    assert "input: (None, 4)" in texts(diagram)
    assert not model.left._nodes and model.left.name == model.right.name  # looking changed nothing


def test_subclassed_model_that_symbols_cannot_enter_is_drawn_without_arrows():
    model = Own(opaque=True)
    model(np.ones((3, 4), "float32"))
    diagram = model_to_dot(model, show_layer_names=True)
    assert texts(diagram) == ["left (Dense)", "right (Dense)"] and arrows(diagram) == 0


def test_layer_called_on_its_own_output():
    x = Input((4,))
    shared = layers.Dense(4)
    diagram = model_to_dot(Model(x, shared(layers.ReLU()(shared(x)))))
    assert arrows(diagram) == 2  # the arrow back is left out


def test_files(tmp_path):
    model = residual()
    diagram = plot_model(model, tmp_path / "m.svg")
    assert (tmp_path / "m.svg").read_text() == diagram.svg() == diagram._repr_svg_()
    plot_model(model, tmp_path / "m.dot")
    assert (tmp_path / "m.dot").read_text().startswith("digraph")
    pytest.importorskip("matplotlib")
    plot_model(model, tmp_path / "small.png", dpi=50, expand_nested=True)
    plot_model(model, tmp_path / "large.png", dpi=100)
    head = (tmp_path / "small.png").read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    plot_model(model, tmp_path / "m.pdf")
    assert (tmp_path / "m.pdf").read_bytes()[:5] == b"%PDF-"
    with pytest.raises(ValueError, match=r"must be 'svg', 'png', 'pdf' or 'dot', got 'pgn'. Did you mean 'png'"):
        plot_model(model, tmp_path / "m.pgn")


def test_png_without_matplotlib_names_the_extra(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'lamina\[plot\]'.*\.svg"):
        plot_model(residual(), tmp_path / "m.png")
    plot_model(residual(), tmp_path / "m.svg")


def test_wrong_arguments():
    with pytest.raises(TypeError, match="plot_model: model must be a model, got"):
        plot_model(layers.Dense(2))
    with pytest.raises(ValueError, match="rankdir must be 'TB', 'BT', 'LR' or 'RL', got 'UP'"):
        model_to_dot(residual(), rankdir="UP")


def test_text_is_escaped():
    diagram = Diagram([Box(['<a> & "b"'])], [])
    assert texts(diagram) == ['<a> & "b"']
    assert 'label="<a> & \\"b\\""' in diagram.to_string()


# ---- layout


def overlap(layout, sizes):
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(layout.corners, sizes, strict=True)]
    return any(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for i, a in enumerate(boxes) for b in boxes[:i]
    )


@pytest.mark.parametrize("seed", range(5))
def test_random_graphs(seed):
    """Boxes never overlap, and each lies below all that it depends on; the same graph gives the same drawing."""
    rng = np.random.default_rng(seed)
    n = 25
    sizes = [(float(w), float(h)) for w, h in rng.integers(20, 120, (n, 2))]
    edges = sorted({(int(a), int(b)) for a, b in rng.integers(0, n, (40, 2)) if a < b})
    layout = Layout(sizes, edges)
    assert not overlap(layout, sizes)
    for a, b in edges:
        assert layout.corners[a][1] + sizes[a][1] < layout.corners[b][1]
    for (a, b), route in zip(edges, layout.routes, strict=True):
        assert route[0][1] == layout.corners[a][1] + sizes[a][1] and route[-1][1] == layout.corners[b][1]
        assert len(route) % 2 == 0 and all(p[1] <= q[1] for p, q in zip(route, route[1:], strict=False))
    assert Layout(sizes, edges).corners == layout.corners


def test_chain_is_straight():
    layout = Layout([(30, 10), (60, 10), (20, 10)], [(0, 1), (1, 2)])
    centers = [x + w / 2 for (x, _), w in zip(layout.corners, (30, 60, 20), strict=True)]
    assert centers == pytest.approx([30, 30, 30])


def test_late_input_stands_just_above_its_user():
    layout = Layout([(10, 10)] * 4, [(0, 1), (1, 2), (3, 2)])
    assert layout.corners[3][1] == layout.corners[1][1]
