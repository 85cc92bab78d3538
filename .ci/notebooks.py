"""Executes every notebook of a folder; fails on the first error. Usage: notebooks.py FOLDER"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

for path in sorted(Path(sys.argv[1]).glob("*.ipynb")):
    started = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    print(f"{path}: {len(notebook.cells)} cells in {time.perf_counter() - started:.0f} s")
