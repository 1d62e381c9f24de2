"""Which slots are due: every one exactly once, whatever happens to the clock, the machine and the runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.reports.publication import RunRecord, RunState
from kaizen_analytics.reports.schedules import _due_slots, load_schedules

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.reports.schedules import Schedule, _DueSlot


@pytest.fixture
def load(tmp_path: Path):
    def read(text: str) -> list[Schedule]:
        (tmp_path / "reports.toml").write_text(text, encoding="utf-8")
        return load_schedules(tmp_path / "reports.toml")

    return read


def record(slot: _DueSlot, state: RunState) -> RunRecord:
    return RunRecord(
        run_id="r",
        report=slot.schedule.report,
        subject=None,
        logical_at_ms=slot.at_ms,
        trigger=slot.schedule.trigger,
        attempt=slot.attempt,
        parameters={},
        formats=("html",),
        fingerprint="",
        versions={},
        git_commit=None,
        host="h",
        pid=1,
        started_at_ms=slot.at_ms,
        state=state,
    )


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(slots: list[_DueSlot]) -> list[str]:
    return [slot.at.strftime("%m-%d %H:%M") for slot in slots]


MINIMAL = '[weekly]\nreport = "cost"\ncron = "0 7 * * 1"\n'


def test_a_schedule_needs_only_a_report_and_times(load) -> None:
    [schedule] = load(MINIMAL)
    assert (schedule.timezone, schedule.catch_up, schedule.max_attempts) == ("UTC", 1, 3)
    assert schedule.formats == ("html", "md", "json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "outside a schedule"),
        ('[a]\ncron = "0 7 * * 1"', "lacks report"),
        ('[a]\nreport = "r"\ncron = "every day"', "cron = 'every day'"),
        (f'{MINIMAL}timezone = "Europe/Nowhere"', "unknown time zone 'Europe/Nowhere'"),
        (f'{MINIMAL}timezones = "UTC"', "unknown field 'timezones'. Did you mean 'timezone'?"),
        (f'{MINIMAL}catch_up = "all"', "catch_up = 'all'"),
        (f"{MINIMAL}catch_up = true", "catch_up = True"),
        (f"{MINIMAL}max_attempts = true", "max_attempts = True"),
        (f"{MINIMAL}since = 2026-01-01T00:00:00", "expected a time with a zone"),
        ("[a", "are not TOML"),
    ],
)
def test_a_wrong_schedule_is_refused_with_its_name(load, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert message in str(caught.value)


def test_the_last_slot_is_due_until_a_run_of_it_succeeded(load) -> None:
    schedules = load(MINIMAL)
    [slot] = _due_slots(schedules, at("2026-01-07T12:00:00"), [])
    assert (times([slot]), slot.attempt) == (["01-05 07:00"], 1)
    assert _due_slots(schedules, at("2026-01-07T12:00:00"), [record(slot, RunState.RUNNING)]) == []
    assert _due_slots(schedules, at("2026-01-07T12:00:00"), [record(slot, RunState.SUCCESS)]) == []


def test_a_slot_is_due_from_its_very_second(load) -> None:
    schedules = load(MINIMAL)
    assert times(_due_slots(schedules, at("2026-01-05T06:59:59"), [])) == ["12-29 07:00"]
    assert times(_due_slots(schedules, at("2026-01-05T07:00:00"), [])) == ["01-05 07:00"]


def test_failed_attempts_are_counted_and_end(load) -> None:
    schedules = load(f"{MINIMAL}max_attempts = 2")
    now = at("2026-01-05T08:00:00")
    [first] = _due_slots(schedules, now, [])
    [second] = _due_slots(schedules, now, [record(first, RunState.ABANDONED)])
    assert second.attempt == 2
    assert _due_slots(schedules, now, [record(first, RunState.ABANDONED), record(second, RunState.FAILED)]) == []


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [("'latest'", ["01-08 07:00"]), ("'none'", []), ("3", ["01-06 07:00", "01-07 07:00", "01-08 07:00"])],
)
def test_what_is_made_after_days_without_power(load, catch_up: str, expected: list[str]) -> None:
    schedules = load(f'[daily]\nreport = "cost"\ncron = "0 7 * * *"\ncatch_up = {catch_up}')
    assert times(_due_slots(schedules, at("2026-01-08T12:00:00"), [])) == expected


def test_without_catching_up_a_slot_may_be_an_hour_late(load) -> None:
    schedules = load(f'{MINIMAL}catch_up = "none"')
    assert len(_due_slots(schedules, at("2026-01-05T08:00:00"), [])) == 1
    assert _due_slots(schedules, at("2026-01-05T08:01:00"), []) == []


def test_there_are_no_slots_before_a_schedule_began(load) -> None:
    schedules = load(f"{MINIMAL}catch_up = 9\nsince = 2026-01-10T00:00:00Z")
    assert times(_due_slots(schedules, at("2026-01-20T00:00:00"), [])) == ["01-12 07:00", "01-19 07:00"]


def test_runs_by_hand_and_of_other_schedules_do_not_count(load) -> None:
    one, two = load(MINIMAL + MINIMAL.replace("weekly", "other"))
    slots = _due_slots([one, two], at("2026-01-05T08:00:00"), [])
    left = _due_slots([one, two], at("2026-01-05T08:00:00"), [record(slots[0], RunState.SUCCESS)])
    assert [slot.schedule.name for slot in left] == [slots[1].schedule.name]
