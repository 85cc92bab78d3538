"""summary, visualize and show."""

import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from lamina.datasets import Dataset


def build():
    slices = Dataset.from_tensor_slices((np.zeros((40, 3), np.float32), np.arange(40)))

    def slow(x, y):
        time.sleep(0.002)
        return x, y

    return slices.map(slow).filter(lambda x, y: y != 3).batch(4)


def text_of(dataset):
    lines = []
    dataset.summary(lines.append)
    return "\n".join(lines)


def test_summary_lists_stages_and_after_a_run_their_cost():
    dataset = build()
    before = text_of(dataset)
    assert "from_tensor_slices" in before and "(float32[3], int64)" in before and "batch(batch_size=4)" in before
    assert "bottleneck" not in before
    list(dataset)
    after = text_of(dataset)
    assert "The bottleneck is map" in after and "num_parallel_calls" in after
    shares = [float(line.rsplit(None, 1)[1].rstrip("%")) for line in after.splitlines() if line.endswith("%")]
    assert abs(sum(shares) - 100) <= 2


def test_drawing_is_svg_with_a_box_for_each_stage(tmp_path):
    dataset = Dataset.zip((build(), Dataset.range(3)))
    path = tmp_path / "pipeline.svg"
    drawing = dataset.visualize(path)
    root = ElementTree.fromstring(path.read_text())
    boxes = root.findall("{http://www.w3.org/2000/svg}rect")
    assert len(boxes) == 6
    corners = {(b.get("x"), b.get("y")) for b in boxes}
    assert len(corners) == 6
    assert drawing._repr_svg_() == path.read_text()


def test_show_prints_rows(capsys):
    dataset = Dataset.from_tensor_slices({"word": ["a", "bc"], "n": [1, 2]})
    assert dataset.show() is None
    assert capsys.readouterr().out.splitlines() == ["n  word", "-------", "1  a", "2  bc"]
    dataset.batch(2).show(1)
    assert capsys.readouterr().out.splitlines()[2:] == ["1  a"]
    Dataset.range(0).show()
    assert "no elements" in capsys.readouterr().out


@pytest.mark.parametrize("shape", [(10, 12), (10, 12, 1), (10, 12, 3)])
def test_show_draws_images(shape):
    images = np.random.default_rng(0).normal(size=(7, *shape)).astype(np.float32)
    dataset = Dataset.from_tensor_slices((images, np.arange(7)))
    for shown in (dataset, dataset.batch(5)):
        figure = shown.show(4, labels=list("abcdefg"))
        assert [a.get_title() for a in figure.axes] == ["a", "b", "c", "d"]


def test_the_bottleneck_names_the_stages_planned_into_it():
    dataset = Dataset.range(64).map(lambda x: sum(range(2000)) * 0 + x, name="slow").batch(8)
    list(dataset)
    text = text_of(dataset)
    assert "The bottleneck is batch with range, map 'slow' planned into it" in text and "vectorized=True" in text


def test_a_figure_brings_its_picture_for_notebooks():
    figure = Dataset.from_tensors(np.zeros((8, 8))).show()
    assert figure._repr_png_().startswith(b"\x89PNG")
