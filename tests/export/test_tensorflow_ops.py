"""Each op of the table, written for TensorFlow, read back and run, equals the op itself."""

import numpy as np
import pytest
from op_samples import SAMPLES, build

from lamina import load_frozen
from lamina.export import TARGETS, compat
from lamina.export.tensorflow.writer import write_frozen
from lamina.graph.interpret import call
from lamina.graph.opset import OPSET

IDS = [f"{op}-{i}" for i, (op, _) in enumerate(SAMPLES)]


def test_every_op_has_a_sample():
    assert {op for op, _ in SAMPLES} == set(OPSET)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_tables_are_complete_or_declared(name):
    table = TARGETS[name]
    parts = [set(table.rules), set(table.expanded), set(table.unsupported)]
    assert set.union(*parts) == set(OPSET)
    assert sum(map(len, parts)) == len(OPSET), "an op stands in two tables"
    assert all(len(reason.split()) > 2 for reason in table.unsupported.values())


def test_compat_covers_all_ops_and_targets():
    rows = compat()
    assert set(rows) == set(OPSET) and all(set(row) == set(TARGETS) for row in rows.values())
    assert rows["Silu"]["tensorflow"] == "expanded" and rows["Conv"]["tensorflow"] == "native"


@pytest.mark.slow
@pytest.mark.parametrize("op, sample", SAMPLES, ids=IDS)
def test_written_and_read_op_equals_the_op(op, sample, tmp_path):
    inputs, attrs = sample
    graph = build(op, inputs, attrs)
    want = call(graph, *inputs)
    write_frozen({"serving_default": graph}, tmp_path / "g.pb", optimize=False)
    fn = load_frozen(tmp_path / "g.pb").signatures["serving_default"]
    got = fn(**{f"in{i}": x for i, x in enumerate(inputs)})
    for i, y in enumerate(want):
        assert got[f"out{i}"].dtype == y.dtype
        np.testing.assert_allclose(got[f"out{i}"], y, rtol=2e-5, atol=2e-5)
