"""Run the tests that docs/reference/threats.md names, and print the table with what became of them.

    python tests/run_threats.py [options of pytest]

Exits with 1 if a row has a test that failed, or none that passed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "reference" / "threats.md"


def find_files(names: set[str]) -> list[str]:
    """Return the files in which tests of these names stand."""
    wanted = re.compile(rf"^def (?:{'|'.join(sorted(names))})\(", re.MULTILINE)
    return [str(path) for path in sorted(TESTS.rglob("test_*.py")) if wanted.search(path.read_text(encoding="utf-8"))]


def run(names: set[str], options: list[str]) -> dict[str, Counter[str]]:
    """Run the tests and return how often each passed, failed or was skipped."""
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", "-k", " or ".join(sorted(names))]
        subprocess.run([*command, *options, *find_files(names)], check=False, cwd=TESTS.parent, stdout=sys.stderr)
        for case in ET.parse(report).iter("testcase"):
            kinds = {"failure": "failed", "error": "failed", "skipped": "skipped"}
            outcome = next((kinds[part.tag] for part in case if part.tag in kinds), "passed")
            outcomes[case.get("name", "").partition("[")[0]][outcome] += 1
    return outcomes


def main() -> int:
    """Run the tests of the page and print its rows."""
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if "`test_" in line]
    named = [(row[0].strip("| "), re.findall(r"`(test_\w+)`", row[-1])) for row in rows if row[0].startswith("| ")]
    outcomes = run({name for _, names in named for name in names}, sys.argv[1:])
    bad = 0
    print("| threat | tests | passed | failed | skipped |\n| --- | ---: | ---: | ---: | ---: |")
    for threat, names in named:
        total = sum((outcomes[name] for name in names), Counter())
        missing = [name for name in names if not outcomes[name]]
        bad += bool(total["failed"] or missing or not total["passed"])
        print(f"| {threat} | {len(names)} | {total['passed']} | {total['failed']} | {total['skipped']} |")
        print("".join(f"| not run: {name} | | | | |\n" for name in missing), end="")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
