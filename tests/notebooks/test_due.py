"""`report due` over a year: every slot is made exactly once, whatever happens to machine, runs and clock."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import demo
import pytest

from kaizen_analytics.core.errors import KaizenError
from kaizen_analytics.core.model import State
from kaizen_analytics.experiments.plan import get_plan
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.reports.publication import RunState, find_records
from kaizen_analytics.reports.runner import Runner, RunRequest, RunResult, _Execution
from kaizen_analytics.reports.schedules import Outcome, Schedule, find_due, load_schedules, make_slots
from kaizen_analytics.store import Store
from kaizen_analytics.store.experiments import get_experiment

BEGIN, END = datetime(2026, 1, 10, tzinfo=UTC), datetime(2027, 1, 10, tzinfo=UTC)
# On two Sundays of the year 02:30 is skipped or comes twice: in Berlin in March and October, in New York in March
# and November.
SCHEDULES = """
[berlin]
report = "{notebook}"
cron = "30 2 * * sun"
timezone = "Europe/Berlin"
parameters = {{ name = "berlin" }}
catch_up = 10
max_attempts = 99
since = 2026-01-10T00:00:00Z

[new-york]
report = "{notebook}"
cron = "30 2 * * sun"
timezone = "America/New_York"
parameters = {{ name = "new-york" }}
catch_up = 10
max_attempts = 99
since = 2026-01-10T00:00:00Z
"""
ZONES = {"schedule:berlin": "Europe/Berlin", "schedule:new-york": "America/New_York"}


class Killed(BaseException):
    """The process is gone: nothing that it would still have done happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DicedRunner(Runner):
    """A runner whose notebooks take no time; some fail, some take the process with them."""

    dice: random.Random

    def _make(self, prepared: Any, *_: object) -> tuple[_Execution, dict]:
        state = self.dice.choice([RunState.SUCCESS] * 4 + [RunState.FAILED, RunState.ABANDONED])
        if state is RunState.ABANDONED:
            raise Killed
        notebook = prepared.request.report.notebook()
        error = None if state is RunState.SUCCESS else "by the dice"
        return _Execution(state=state, notebook=notebook, error=error), {"report.html": b"<p>made</p>"}


def diced(now: datetime, dice: random.Random):
    """Return what makes requests at `now`, until the process is killed."""
    runner = DicedRunner(clock=lambda: round(now.timestamp() * 1000), dice=dice)

    def make(requests: Sequence[RunRequest]) -> Iterator[tuple[int, RunResult | KaizenError]]:
        for number, request in enumerate(requests):
            try:
                yield number, runner.run(request)
            except KaizenError as error:
                yield number, error

    return make


@pytest.fixture
def load(write_notebook, tmp_path: Path):
    def read(text: str, *cells: str) -> list[Schedule]:
        notebook = write_notebook(*(cells or ("print(name)",)), subject="name")
        (tmp_path / "reports.toml").write_text(text.format(notebook=notebook), encoding="utf-8")
        return load_schedules(tmp_path / "reports.toml")

    return read


def call_due(schedules: list[Schedule], out: Path, now: datetime, dice: random.Random) -> None:
    """Call `report due` once, or twice at the same moment: the second looked before the first made anything."""
    callers = [find_due(schedules, out, now) for _ in range(dice.choice([1, 1, 2]))]
    for slots in callers:
        try:
            made = make_slots(slots, out, diced(now, dice))
        except Killed:
            continue
        assert all(isinstance(outcome, Outcome) for outcome in made)


@pytest.mark.long
def test_a_year_makes_every_slot_exactly_once(load, tmp_path: Path) -> None:
    schedules, out, dice = load(SCHEDULES), tmp_path / "reports", random.Random(11)
    now = BEGIN
    while now < END:
        call_due(schedules, out, now, dice)
        now += timedelta(minutes=dice.choice([10, 1_500, 3_000, 3_000, 60 * 24 * 5, 60 * 24 * 9]))
    for _ in range(30):  # the last slots, until all attempts that fail are over
        call_due(schedules, out, END, dice)

    assert find_due(schedules, out, END) == []
    records = [record for _, record in find_records(out)]
    assert {record.state for record in records} == {RunState.SUCCESS, RunState.FAILED, RunState.ABANDONED}
    made = Counter((record.trigger, record.logical_at_ms) for record in records if record.state is RunState.SUCCESS)
    assert set(made.values()) == {1}
    sundays = [date(2026, 1, 11) + timedelta(weeks=number) for number in range(52)]
    for trigger, zone in ZONES.items():
        assert sorted(local_day(at_ms, zone) for name, at_ms in made if name == trigger) == sundays
    assert list(out.rglob(".staging-*")) == []


@pytest.mark.slow
def test_a_clock_that_jumps_makes_each_slot_exactly_once(load, tmp_path: Path) -> None:
    schedules, out, dice = load(SCHEDULES), tmp_path / "reports", random.Random(12)
    now, end = BEGIN, BEGIN + timedelta(weeks=12)
    while now < end:
        for days in dice.choice([[0], [-30, 0], [21, 0], [-400, 21, -3, 0]]):
            call_due(schedules, out, now + timedelta(days=days), dice)
        now += timedelta(days=dice.choice([1, 3, 5]))
    for _ in range(30):
        call_due(schedules, out, end, dice)

    records = [record for _, record in find_records(out)]
    made = Counter((record.trigger, record.logical_at_ms) for record in records if record.state is RunState.SUCCESS)
    assert set(made.values()) == {1}
    for trigger, zone in ZONES.items():
        days = {local_day(at_ms, zone) for name, at_ms in made if name == trigger}
        assert {date(2026, 1, 11) + timedelta(weeks=number) for number in range(12)} <= days


def local_day(at_ms: int, zone: str) -> date:
    moment = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone))
    assert (moment.hour, moment.minute) in {(2, 30), (3, 0), (3, 30)}
    return moment.date()


def test_a_run_that_was_killed_does_not_hold_up_its_slot(load, tmp_path: Path) -> None:
    schedules, out = load(SCHEDULES), tmp_path / "reports"
    now = datetime(2026, 1, 11, 3, tzinfo=UTC)
    [slot] = find_due(schedules, out, now)
    with pytest.raises(Killed):
        make_slots([slot], out, diced(now, FirstDies()))
    assert [record.state for _, record in find_records(out)] == [RunState.RUNNING]

    [again] = find_due(schedules, out, now)

    assert again == replace(slot, attempt=2)
    assert [record.state for _, record in find_records(out)] == [RunState.ABANDONED]


class FirstDies(random.Random):
    def choice(self, states):
        return states[-1]


@pytest.mark.long
def test_two_schedulers_at_once_make_a_slot_once(load, tmp_path: Path) -> None:
    # each run takes a moment, so that the other one meets its lock or its result
    load(SCHEDULES.partition("[new-york]")[0], "import time; time.sleep(0.5)\nprint(name)")
    command = [sys.executable, "-m", "kaizen_analytics", "report", "due", "--json"]
    options = ["--schedules", str(tmp_path / "reports.toml"), "--out", str(tmp_path / "reports")]
    called = [
        subprocess.Popen(
            [*command, *options, "--now", "2026-01-12T00:00:00Z"], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        for _ in range(2)
    ]
    answers = [json.loads(process.communicate(timeout=240)[0]) for process in called]

    assert [process.returncode for process in called] == [0, 0]
    records = [record for _, record in find_records(tmp_path / "reports")]
    made = Counter((record.trigger, record.logical_at_ms) for record in records)
    assert list(made.values()) == [1]
    assert {record.state for record in records} == {RunState.SUCCESS}
    states = Counter(slot["state"].split(":")[0] for answer in answers for slot in answer)
    assert states["made"] == 1
    assert set(states) <= {"made", "already made", "another run is at it"}


CONCLUDING = """
[weekly]
report = "experiment_conclusion"
cron = "0 7 * * mon"
parameters = {{ experiment_id = "plan-first", store = "{store}" }}
catch_up = 9
conclude = true
since = 2026-09-20T00:00:00Z
"""


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """Return a store of the sample with one running experiment, from 7 to 28 September."""
    records = json.loads((demo.SAMPLE / "experiments.json").read_text(encoding="utf-8"))["experiments"]
    with Store.open(tmp_path / "kaizen.db", create=True) as store:
        demo.plan_experiment(store, next(record for record in records if record["id"] == "plan-first"))
        run_ingest(store, [demo.SAMPLE / "home"], environment={})
    return tmp_path / "kaizen.db"


def test_a_slot_after_the_window_concludes_the_experiment(running: Path, tmp_path: Path) -> None:
    (tmp_path / "reports.toml").write_text(CONCLUDING.format(store=running), encoding="utf-8")
    schedules = load_schedules(tmp_path / "reports.toml")
    states = []

    def look(requests: Sequence[RunRequest]) -> Iterator[tuple[int, RunResult | KaizenError]]:
        with Store.open(running, read_only=True) as store:
            experiment, plan = get_experiment(store, "plan-first"), get_plan(store, "plan-first")
            states.append((str(requests[0].parameters["now"]), experiment.state, plan.started.window_end_ms))
        return iter(())

    for slot in find_due(schedules, tmp_path / "reports", datetime(2026, 10, 6, tzinfo=UTC)):
        make_slots([slot], tmp_path / "reports", look)

    end_ms = round(datetime(2026, 9, 28, 8, tzinfo=UTC).timestamp() * 1000)
    assert states == [
        ("2026-09-21T07:00:00Z", State.RUNNING, end_ms),
        ("2026-09-28T07:00:00Z", State.RUNNING, end_ms),  # an hour before the window ends
        ("2026-10-05T07:00:00Z", State.CONCLUDED, end_ms),
    ]
