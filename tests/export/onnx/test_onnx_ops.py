"""Each op of the table, written for ONNX, checked, read back and run, equals the op itself."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_cases import CASES, Case

from lamina import load_frozen
from lamina.export.onnx.table import TABLE
from lamina.export.onnx.writer import write_onnx
from lamina.graph.interpret import call
from lamina.graph.opset import OPSET


def close(got: np.ndarray, want: np.ndarray, tolerance: float) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype
    size = np.max(np.abs(want[np.isfinite(want)]), initial=1.0) if want.dtype.kind == "f" else 1.0
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * size)


def test_every_op_has_a_case_and_a_rule():
    assert {c.op for c in CASES} == set(OPSET)
    assert set(TABLE.rules) | TABLE.expanded == set(OPSET) and not set(TABLE.rules) & TABLE.expanded


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_written_and_read_op_equals_the_op(case: Case, tmp_path):
    graph = case.graph()
    feeds = case.feeds()
    want = call(graph, *(feeds[name] for name in graph.input_names))
    write_onnx({"serving_default": graph}, tmp_path / "g.onnx", opset=case.opset)
    assert onnx.load(tmp_path / "g.onnx").opset_import[0].version == case.opset
    got = load_frozen(tmp_path / "g.onnx").signatures["serving_default"](**feeds)
    assert list(got) == graph.output_names
    for name, y in zip(graph.output_names, want, strict=True):
        close(got[name], np.asarray(y), case.tolerance)
