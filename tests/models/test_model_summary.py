"""model.summary."""

import re

import numpy as np
import pytest

from lamina import Input, Model, Sequential, layers


def text_of(model, **kwargs):
    lines = []
    model.summary(print_fn=lines.append, **kwargs)
    return "\n".join(lines)


def row(text, name):
    """The cells of the first line of a row."""
    line = next(line for line in text.splitlines() if re.match(rf"│ [ └]*{re.escape(name)} ", line))
    return [cell.strip() for cell in line.strip("│").split("│")]


def graph():
    x, y = Input((4,), name="x"), Input((4,), name="y")
    shared = layers.Dense(4, name="shared")
    nested = Sequential(
        [Input((4,)), layers.Dense(3, name="inside"), layers.BatchNormalization(name="norm")], name="nested"
    )
    return Model([x, y], nested(layers.add([shared(x), shared(y)]) * 2.0), name="graph")


def test_functional():
    text = text_of(graph())
    assert text.splitlines()[0] == 'Model: "graph"'
    assert row(text, "x") == ["x (InputLayer)", "(None, 4)", "0", "-"]
    assert row(text, "shared") == ["shared (Dense)", "(None, 4)", "20", "x[0][0]"]
    assert row(text, "multiply") == ["multiply (Multiply)", "(None, 4)", "0", "add[0][0]"]
    assert row(text, "nested") == ["nested (Sequential)", "(None, 3)", "27", "multiply[0][0]"]
    assert "y[0][0]" in text and "shared[1][0]" in text and "inside" not in text
    assert " Total params: 47 (188.00 B)\n Trainable params: 41 (164.00 B)\n Non-trainable params: 6 (24.00 B)" in text


def test_lines_are_of_one_width():
    widths = {len(line) for line in text_of(graph()).splitlines() if line[0] in "┏┃┡│├└"}
    assert len(widths) == 1
    for length in (60, 120):
        lines = [line for line in text_of(graph(), line_length=length).splitlines() if line[0] in "┏┃┡│├└"]
        assert {len(line) for line in lines} == {length}


def test_positions():
    lines = text_of(graph(), line_length=100, positions=[0.3, 0.6, 0.7, 1.0]).splitlines()
    assert [i for i, c in enumerate(lines[1]) if c == "┳"] == [30, 60, 70]
    with pytest.raises(ValueError, match="positions needs 4 ends of columns, got 2"):
        text_of(graph(), positions=[0.5, 1.0])


def test_nested_and_trainable():
    model = graph()
    model.get_layer("nested").trainable = False
    text = text_of(model, expand_nested=True, show_trainable=True)
    assert row(text, "inside")[0] == "└ inside (Dense)" and row(text, "inside")[-1] == "N"
    assert row(text, "shared")[-1] == "Y" and row(text, "x")[-1] == "-"
    assert "Trainable params: 20 (80.00 B)" in text and "Non-trainable params: 27" in text


def test_layer_range():
    text = text_of(graph(), layer_range=["shared", "mul.*"])
    assert "shared (Dense)" in text and "multiply" in text and "nested (Seq" not in text and "x (Input" not in text
    with pytest.raises(ValueError, match="no layer of Functional 'graph' matches 'sharde'. Did you mean 'shared'"):
        text_of(graph(), layer_range=["sharde", "nested"])
    with pytest.raises(ValueError, match="layer_range must be two names"):
        text_of(graph(), layer_range=["shared"])


def test_sequential_has_no_connections():
    text = text_of(Sequential([Input((4,)), layers.Dense(2)], name="s"))
    assert "Connected to" not in text and row(text, "dense") == ["dense (Dense)", "(None, 2)", "10"]


def test_unbuilt():
    text = text_of(Sequential([layers.Dense(2)]))
    assert row(text, "dense") == ["dense (Dense)", "?", "0 (unbuilt)"]


class Two(Model):
    def __init__(self):
        super().__init__(name="two")
        self.first = layers.Dense(3)
        self.second = layers.Dense(2)

    def call(self, x):
        return self.second(self.first(x))


def test_subclassed():
    model = Two()
    assert row(text_of(model), "first")[1:] == ["?", "0 (unbuilt)"]
    model(np.ones((5, 4), "float32"))
    text = text_of(model)
    assert row(text, "first") == ["first (Dense)", "(None, 3)", "15"]
    assert row(text, "second") == ["second (Dense)", "(None, 2)", "8"]
    assert model.get_layer("second") is model.second


def test_optimizer_counts():
    model = Two()
    model.compile("adam", "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    text = text_of(model)
    slots = sum(v.size for v in model.optimizer.variables)
    assert slots > 2 * 23
    assert f"Optimizer params: {slots} (" in text and f"Total params: {23 + slots} (" in text


def test_sizes_follow_dtypes():
    text = text_of(Sequential([Input((4,)), layers.Dense(1024, dtype="float16")]))
    assert "Total params: 5,120 (10.00 KB)" in text


def test_prints_by_default(capsys):
    Sequential([Input((4,)), layers.Dense(2)], name="s").summary()
    assert capsys.readouterr().out.startswith('Model: "s"\n┏')


def test_html():
    html = graph()._repr_html_()
    assert html.count("<tr>") == 7 and "shared (Dense)" in html and "<b>47 (188.00 B)</b>" in html
    named = Sequential([Input((4,)), layers.Dense(2, name="a<b>")])._repr_html_()
    assert "a&lt;b&gt;" in named
