"""Exported estimators are fed records and text, and give what `predict` gives."""

from __future__ import annotations

import numpy as np
import pytest
from served_models import CASES

from lamina.export.load import load_saved_model


def close(found, expected):
    expected = np.asarray(expected)
    if expected.dtype == object:
        assert found.tolist() == expected.tolist()
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_an_export_gives_what_predict_gives(name, tmp_path):
    case = CASES[name](tmp_path)
    served = load_saved_model(case.path)
    if name == "custom":
        assert sorted(served.signatures) == ["serving_default", "sign"]
        (records,) = case.fed.values()
        close(served.signatures["serving_default"](inputs=records)["outputs"], case.expected["y"])
        signs = served.signatures["sign"](examples=records)["sign"]
        assert signs.tolist() == [b"+" if y > 0 else b"-" for y in case.expected["y"][:, 0]]
        return
    found = served.signatures["predict"](**case.fed)
    expected = {"/".join(k) if isinstance(k, tuple) else k: v for k, v in case.expected.items()}
    assert set(found) == set(expected)
    for key, value in expected.items():
        close(found[key], value)
        assert found[key].dtype == np.asarray(value).dtype
