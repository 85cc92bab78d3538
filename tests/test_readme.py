"""The code in README.md runs, and its commands are those that exist."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def test_the_python_in_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) >= 3
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["model"].evaluate(names["x_test"], names["y_test"], verbose=0)[1] > 0.8


def test_files_named_in_the_readme_exist():
    root = Path(__file__).resolve().parents[1]
    for path in re.findall(r"(?:tutorials|tests|datasets)/[\w./]+\w", README):
        assert (root / path).exists(), path
