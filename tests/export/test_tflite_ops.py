"""Each op of the table, written for TFLite, read back and run, equals the op itself."""

import numpy as np
import pytest
from op_samples import SAMPLES, build

from lamina.export.rules import ExportError
from lamina.export.tflite.reader import load_tflite
from lamina.export.tflite.writer import write_tflite
from lamina.graph.interpret import call

IDS = [f"{op}-{i}" for i, (op, _) in enumerate(SAMPLES)]
REASONS = {
    "And": "no bitwise and",
    "Or": "no bitwise or",
    "ScatterND": "no scatter that combines",
    "ConvTranspose": "must be known",
}


@pytest.mark.slow
@pytest.mark.parametrize("op, sample", SAMPLES, ids=IDS)
def test_written_and_read_op_equals_the_op(op, sample, tmp_path):
    inputs, attrs = sample
    graph = build(op, inputs, attrs)
    want = call(graph, *inputs)
    path = tmp_path / "g.tflite"
    try:
        write_tflite({"serving_default": graph}, path)
    except ExportError as error:
        assert REASONS[op] in str(error) and not path.exists()
        return
    got = load_tflite(path).signatures["serving_default"](**{f"in{i}": x for i, x in enumerate(inputs)})
    for i, y in enumerate(want):
        assert got[f"out{i}"].dtype == y.dtype
        np.testing.assert_allclose(got[f"out{i}"], y, rtol=2e-5, atol=2e-5)


def test_most_samples_are_written():
    refused = [op for op, _ in SAMPLES if op in REASONS]
    assert len(refused) < len(SAMPLES) / 10
