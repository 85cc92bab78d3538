"""Weights on disk."""

import numpy as np
import pytest

from lamina import layers
from lamina.core.errors import ShapeError
from lamina.models import Sequential
from lamina.saving import load_checkpoint


def small(units=3, name="out"):
    return Sequential([layers.Input((4,)), layers.Dense(5, name="hidden"), layers.Dense(units, name=name)])


def test_weights_round_trip_under_readable_names(tmp_path):
    model, twin = small(), small()
    model.save_weights(tmp_path / "run" / "w")
    names = load_checkpoint(tmp_path / "run" / "w").get_variable_to_shape_map()
    assert {k: tuple(v) for k, v in names.items()} == {
        "hidden/kernel": (4, 5),
        "hidden/bias": (5,),
        "out/kernel": (5, 3),
        "out/bias": (3,),
    }
    report = twin.load_weights(tmp_path / "run" / "w")
    assert report.complete and set(report.loaded) == set(names)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_changed_model_is_refused_and_left_alone(tmp_path):
    small().save_weights(tmp_path / "w")
    other = small(name="outt")
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"Missing in the file: 'outt/kernel'.*Did you mean 'out/kernel'"):
        other.load_weights(tmp_path / "w")
    wider = small(units=4)
    with pytest.raises(ShapeError, match=r"'out/kernel' has shape \(5, 4\).*\(5, 3\)"):
        wider.load_weights(tmp_path / "w")
    assert all(np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True))
    report = wider.load_weights(tmp_path / "w", skip_mismatch=True)
    assert report.left == list(report.mismatched) == ["out/kernel", "out/bias"]


def test_existing_files_are_kept_on_request(tmp_path):
    small().save_weights(tmp_path / "w")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        small().save_weights(tmp_path / "w", overwrite=False)
    with pytest.raises(ValueError, match=r"w\.weights\.h5"):
        small().save_weights(tmp_path / "w.h5")
    with pytest.raises(ValueError, match="no weights to save"):
        Sequential([layers.Dense(1)]).save_weights(tmp_path / "w")
