"""docs/reports.md says what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from kaizen_analytics.reports.ledger import EXIT_CODES, RunRecord
from kaizen_analytics.reports.schedules import load_schedules

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "reports.md").read_text(encoding="utf-8")


def test_the_exit_codes_are_those_of_the_code() -> None:
    documented = re.findall(r"^\| (\d+) \| `(\w+)` \|", TEXT, flags=re.MULTILINE)
    assert {(int(code), state) for code, state in documented} == {(code, state) for state, code in EXIT_CODES.items()}


def test_every_field_of_the_record_is_documented() -> None:
    section = TEXT[TEXT.index("## The record of a run") : TEXT.index("## Schedules")]
    names = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]*`) \|", section, flags=re.MULTILINE))))
    assert names == {field.name for field in fields(RunRecord)}


def test_the_example_of_a_schedule_loads(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "reports.toml").write_text(example)
    [schedule] = load_schedules(tmp_path / "reports.toml")
    assert (schedule.name, schedule.catch_up, schedule.conclude) == ("weekly-conclusion", 1, True)
