"""Runs the runners of reference values and holds their results against what is built so far.

Usage: golden.py SHARED. The cases that may fail are listed, with reasons, in `golden_exceptions.txt`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent


def run_golden(shared: Path) -> list[str]:
    """The problems among the cases of Keras' API; prints the totals."""
    lines = (HERE / "golden_exceptions.txt").read_text().splitlines()
    allowed = {line.split("#")[0].strip() for line in lines} - {""}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.json"
        command = [sys.executable, str(shared / "golden" / "run_golden.py"), "--package", "lamina"]
        subprocess.run([*command, "--jobs", "2", "--json", str(out)], stdout=subprocess.DEVNULL, check=False)
        results = json.loads(out.read_text())
    cases = {c["id"]: c for c in json.loads((shared / "golden" / "cases.json").read_text())["cases"]}
    totals: dict[str, Counter] = {}
    problems, used = [], set()
    for result in results:
        case = cases[result["id"]]
        totals.setdefault(case["kind"], Counter())[result["status"]] += 1
        if result["status"] in ("passed", "skipped"):
            continue
        excuses = {result["id"], case["symbol"], result.get("message")} & allowed
        used |= excuses
        if not excuses:
            problems.append(f"{result['id']}: {result['status']}: {result.get('message')}")
    print(f"{'kind':18} passed failed missing")
    for kind, total in totals.items():
        print(f"{kind:18} {total['passed']:6} {total['failed']:6} {total['missing']:7}")
    return problems + [f"{line}: passes by now, take it off the list" for line in sorted(allowed - used)]


def run_other(shared: Path, folder: str, script: str, expected: int) -> list[str]:
    """Another runner, of which `expected` cases must pass at least."""
    command = [sys.executable, str(shared / folder / script), "--package", "lamina"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    tail = result.stdout.strip().splitlines()[-12:]
    print("\n".join([f"--- {folder}", *tail]))
    last = tail[-1].split() if tail else []
    passed = int(last[0]) if last and last[0].isdigit() else 0
    return [] if passed >= expected else [f"{folder}: {passed} cases pass, expected {expected}"]


def main() -> int:
    """Runs all runners; the exit code."""
    shared = Path(sys.argv[1])
    problems = run_golden(shared)
    problems += run_other(shared, "golden_data", "run_golden_data.py", 309)
    problems += run_other(shared, "golden_ckpt", "run_golden_ckpt.py", 19)
    problems += run_other(shared, "golden_estimators", "run_golden_estimators.py", 246)
    for problem in problems:
        print("FAILED", problem)
    print(f"reference values: {'as expected' if not problems else f'{len(problems)} problems'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
