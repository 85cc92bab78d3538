"""The demo trains a real model."""

import re

import pytest

from lamina.cli.main import main
from lamina.models.weights import load_weights


@pytest.mark.slow
def test_demo_trains_to_the_promised_accuracy(tmp_path, capsys):
    assert main(["demo", "--folder", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    accuracy = float(re.search(r"Accuracy on held-out digits: ([\d.]+)%", out)[1])
    assert accuracy >= 97
    sizes = {}
    for name in ("SavedModel", "TFLite int8"):
        path, size, exported = re.search(rf"{name}: (\S+), ([\d,]+) bytes, accuracy ([\d.]+)%", out).groups()
        sizes[name] = int(size.replace(",", ""))
        assert abs(float(exported) - accuracy) <= 1
    assert sizes["TFLite int8"] == (tmp_path / "digits.tflite").stat().st_size
    assert sizes["TFLite int8"] < 0.32 * sizes["SavedModel"] and (tmp_path / "saved_model" / "saved_model.pb").is_file()
    assert (tmp_path / "learning_curve.png").stat().st_size > 5000
    from lamina.cli.demo import build_model

    model = build_model()
    assert load_weights(model, tmp_path / "digits").complete
