"""Every report on the sample, as Markdown, against what was read and committed (`python data/write_golden.py`)."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
import write_golden

from kaizen_analytics.reports.runner import RunResult


@pytest.fixture(scope="module")
def made(sample_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    return write_golden.make_reports(sample_store, tmp_path_factory.mktemp("golden"))


def test_every_golden_file_belongs_to_a_report() -> None:
    assert {path.stem for path in write_golden.GOLDEN.glob("*.md")} == set(write_golden.REPORTS)


@pytest.mark.parametrize("name", write_golden.REPORTS)
def test_a_report_on_the_sample_reads_as_committed(made: dict[str, RunResult], name: str) -> None:
    text = write_golden.normalise((made[name].folder / "report.md").read_text(encoding="utf-8"))
    golden = (write_golden.GOLDEN / f"{name}.md").read_text(encoding="utf-8")
    changed = list(difflib.unified_diff(golden.splitlines(), text.splitlines(), "committed", "made", lineterm="", n=1))
    assert not changed, "\n".join(["If this is meant, python data/write_golden.py renews the files:", *changed])
