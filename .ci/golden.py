"""Runs the runners of reference values and holds their results against what is built so far.

Usage: golden.py SHARED. A case may fail only if it needs a public name listed in `golden_missing.txt`, which lists
what is still to come; a name there that exists by now is an error too, so the list can only shrink.
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
    listed = (HERE / "golden_missing.txt").read_text().splitlines()
    allowed = {line.split("#")[0].strip() for line in listed} - {""}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.json"
        command = [sys.executable, str(shared / "golden" / "run_golden.py"), "--package", "lamina"]
        subprocess.run([*command, "--jobs", "2", "--json", str(out)], stdout=subprocess.DEVNULL, check=False)
        results = json.loads(out.read_text())
    cases = {c["id"]: c for c in json.loads((shared / "golden" / "cases.json").read_text())["cases"]}
    totals: dict[str, Counter] = {}
    problems, missing = [], set()
    for result in results:
        case = cases[result["id"]]
        totals.setdefault(case["kind"], Counter())[result["status"]] += 1
        if result["status"] == "missing":
            missing.add(result["message"])
        elif result["status"] == "failed" and case["symbol"] not in allowed:
            problems.append(f"{result['id']}: {result.get('message')}")
    print(f"{'kind':18} passed failed missing")
    for kind, total in totals.items():
        print(f"{kind:18} {total['passed']:6} {total['failed']:6} {total['missing']:7}")
    problems += [f"{name} does not exist" for name in sorted(missing - allowed)]
    return problems


def run_data(shared: Path) -> list[str]:
    command = [sys.executable, str(shared / "golden_data" / "run_golden_data.py"), "--package", "lamina"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    print(result.stdout[-3000:])
    return [] if result.returncode == 0 else ["golden_data has failures"]


def main() -> int:
    shared = Path(sys.argv[1])
    problems = run_golden(shared) + run_data(shared)
    for problem in problems:
        print("FAILED", problem)
    print(f"reference values: {'as expected' if not problems else f'{len(problems)} problems'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
