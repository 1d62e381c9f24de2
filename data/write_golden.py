"""Write every report on the sample as Markdown: what tests/notebooks/test_golden.py compares reports with.

    python data/write_golden.py [FOLDER]

Run it after a change that is meant to change reports, and read the difference before it is committed. The clock stands
still; what a new version of this package or of a library changes by itself (versions, the fingerprint) is left out.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from sample_store import write_store

from kaizen_analytics.reports.catalogue import load_report
from kaizen_analytics.reports.runner import Runner, RunRequest, RunResult

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
NOW = "2026-10-05T08:00:00Z"
NOW_MS = 1_791_187_200_000
REPORTS: dict[str, tuple[str, dict[str, str]]] = {
    "conclusion-concise-instructions": ("experiment_conclusion", {"experiment_id": "concise-instructions", "now": NOW}),
    "conclusion-plan-first": ("experiment_conclusion", {"experiment_id": "plan-first", "now": NOW}),
    "conclusion-small-model": ("experiment_conclusion", {"experiment_id": "small-model", "now": NOW}),
    "portfolio": ("portfolio", {"now": NOW}),
    "retro-2026-w38": ("retro_summary", {"week": "2026-W38", "now": "2026-09-21T00:00:00Z"}),
}
"""Each golden file: its report, and what it is run with besides the store."""
_VERSION = re.compile(r"\b\d+\.\d+\.\d+(\.?(post|dev|rc)\d+)?\b")
_FINGERPRINT = re.compile(
    r"((?<=T\d{6}Z-)[0-9a-f]{8}|(?<=fingerprint )[0-9a-f]{16}|(?<=fingerprint\*\*: )[0-9a-f]{16})\b"
)


def make_reports(
    store: Path,
    out: Path,
    formats: tuple[str, ...] = ("md",),
    names: tuple[str, ...] = tuple(REPORTS),
) -> dict[str, RunResult]:
    """Make the reports of the golden files and return their runs by name.

    Raises:
        RuntimeError: a report was not made.
    """
    made: dict[str, RunResult] = {}
    for name in names:
        report, given = REPORTS[name]
        parameters = {**given, "store": str(store)}
        made[name] = Runner(clock=lambda: NOW_MS).run(
            RunRequest(report=load_report(report), parameters=parameters, out=out, formats=formats)
        )
        if made[name].exit_code:
            raise RuntimeError(f"{name}: {made[name]}")
    return made


def normalise(markdown: str) -> str:
    """Return a report without what changes by itself."""
    return _FINGERPRINT.sub("FINGERPRINT", _VERSION.sub("VERSION", markdown))


def main(folder: Path) -> None:
    """Write every golden file below `folder`."""
    with tempfile.TemporaryDirectory() as temporary:
        store = Path(temporary) / "kaizen.db"
        write_store(store)
        for name, result in sorted(make_reports(store, Path(temporary) / "reports").items()):
            text = (result.folder / "report.md").read_text(encoding="utf-8")
            (folder / f"{name}.md").write_text(normalise(text), encoding="utf-8")
            print(folder / f"{name}.md")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN)
