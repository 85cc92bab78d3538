"""An interrupted demo goes on where it was."""

import json
import re

import pytest

from lamina.callbacks.backup_and_restore import BackupAndRestore
from lamina.cli.main import main


@pytest.mark.slow
def test_interrupted_demo_goes_on(tmp_path, capsys, monkeypatch):
    original = BackupAndRestore.on_epoch_end

    def interrupted(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BackupAndRestore, "on_epoch_end", interrupted)
        assert main(["demo", "--folder", str(tmp_path), "--epochs", "3"]) == 130
    assert "Interrupted" in capsys.readouterr().out
    assert main(["demo", "--folder", str(tmp_path), "--epochs", "3"]) == 0
    out = capsys.readouterr().out
    assert "Going on from" in out
    assert "Epoch 3/3" in out and "Epoch 2/3" not in out
    assert not list(tmp_path.glob("run/*"))
    assert re.search(r"TFLite int8: \S+, [\d,]+ bytes, accuracy [\d.]+%", out)


def test_figures_as_json(tmp_path, capsys):
    assert main(["demo", "--folder", str(tmp_path), "--epochs", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["files"]) == {"SavedModel", "TFLite int8"}
    assert all(known["bytes"] > 1000 and 0 < known["accuracy"] <= 1 for known in found["files"].values())
