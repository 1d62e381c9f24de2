"""Schedules of reports: which slots are due, from a file and the run records alone; making them, and telling of them.

    [weekly]
    report = "experiment_conclusion"
    cron = "0 7 * * mon"
    timezone = "Europe/Berlin"
    parameters = { experiment_id = "exp-7f3a", store = "/srv/kaizen/team.db" }

Nothing is remembered between calls: a slot is done when a run of its schedule and time succeeded. So the platform's
scheduler may call `report due` as often as it likes, late, twice at once, or after days without power. `UNITS` are
ready units that make it call: crontab, systemd, GitHub Actions, Airflow.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shlex
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from kaizen_analytics.core.errors import ConfigError, KaizenError, did_you_mean
from kaizen_analytics.core.model import State
from kaizen_analytics.experiments.lifecycle import conclude
from kaizen_analytics.experiments.plan import get_plan
from kaizen_analytics.reports.catalogue import check_parameters, load_report
from kaizen_analytics.reports.publication import RunRecord, RunState, find_records
from kaizen_analytics.reports.runner import BusyError, RunRequest, RunResult, bury_dead_runs
from kaizen_analytics.store import Store
from kaizen_analytics.store.assignments import fold_spool
from kaizen_analytics.store.experiments import get_experiment

_GRACE = timedelta(hours=1)
"""How late a slot may be made when nothing is caught up."""
_TRIGGER = "schedule:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One report, made again and again.

    `catch_up` is the number of last slots that are made however late ("latest" in a file is 1); 0 ("none" in a file)
    means only within `_GRACE`. `since` is the moment before which there are no slots. `conclude` freezes a running
    experiment whose window has passed first. `share` makes a report that may leave this machine.
    """

    name: str
    report: str
    cron: str
    timezone: str
    parameters: Mapping[str, Any]
    formats: tuple[str, ...]
    catch_up: int
    max_attempts: int
    since: datetime | None
    conclude: bool
    share: bool

    @property
    def trigger(self) -> str:
        """What the records of its runs say."""
        return f"{_TRIGGER}{self.name}"

    def slots_before(self, now: datetime) -> Iterator[datetime]:
        """Yield the times of the schedule up to and including `now`, in UTC, the latest first."""
        # A second later, because the walk leaves its start out, and full minutes are all that a slot can be.
        start = now.astimezone(ZoneInfo(self.timezone)) + timedelta(seconds=1)
        for slot in CronSim(self.cron, start, reverse=True):
            moment = slot.astimezone(UTC)
            if self.since is not None and moment < self.since:
                return
            yield moment


@dataclass(frozen=True, slots=True, kw_only=True)
class _DueSlot:
    """A report to be made now; `attempt` counts from 1."""

    schedule: Schedule
    at: datetime
    attempt: int

    @property
    def at_ms(self) -> int:
        """The slot's time in milliseconds since the Unix epoch."""
        return round(self.at.timestamp() * 1000)


def load_schedules(path: Path) -> list[Schedule]:
    r"""Read a file of schedules.

    Raises:
        ConfigError: the file cannot be read, or a schedule has an unknown field, a wrong type or a wrong time.

    >>> _ = (tmp / "reports.toml").write_text('[weekly]\nreport = "portfolio"\ncron = "0 6 * * 1"\n')
    >>> [(schedule.name, schedule.timezone) for schedule in load_schedules(tmp / "reports.toml")]
    [('weekly', 'UTC')]
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no file {path}. Write a schedule into it:\n"
            '[weekly]\nreport = "portfolio"\ncron = "0 7 * * mon"\ntimezone = "Europe/Berlin"'
        ) from None
    except OSError as error:
        raise ConfigError(f"The schedules {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The schedules {path} are not TOML: {error}.") from error
    return [_schedule(name, table) for name, table in document.items()]


def _due_slots(schedules: Iterable[Schedule], now: datetime, records: Iterable[RunRecord]) -> list[_DueSlot]:
    """Return what is to be made at `now` (with a zone), the oldest slot first.

    A slot is due unless a run of it succeeded or is under way, or its attempts are used up. Of each schedule the last
    `catch_up` slots count; without catching up, only slots within the last hour.
    """
    states: dict[tuple[str, int], list[RunState]] = {}
    for record in records:
        states.setdefault((record.trigger, record.logical_at_ms), []).append(record.state)
    due = [
        slot
        for schedule in schedules
        for slot in _open_slots(schedule, now, states)
        if slot.attempt <= schedule.max_attempts
    ]
    return sorted(due, key=lambda slot: (slot.at, slot.schedule.name))


def _open_slots(
    schedule: Schedule, now: datetime, states: Mapping[tuple[str, int], list[RunState]]
) -> Iterator[_DueSlot]:
    slots = schedule.slots_before(now)
    if schedule.catch_up:
        recent = itertools.islice(slots, schedule.catch_up)
    else:
        recent = itertools.takewhile(lambda slot: now - slot <= _GRACE, slots)  # type: ignore[assignment]
    for at in recent:
        found = states.get((schedule.trigger, round(at.timestamp() * 1000)), [])
        if RunState.SUCCESS not in found and RunState.RUNNING not in found:
            yield _DueSlot(schedule=schedule, at=at, attempt=len(found) + 1)


_FIELDS: dict[str, tuple[type, object]] = {
    "report": (str, None),
    "cron": (str, None),
    "timezone": (str, "UTC"),
    "parameters": (dict, {}),
    "formats": (list, ["html", "md", "json"]),
    "catch_up": (object, "latest"),
    "max_attempts": (int, 3),
    "since": (datetime, None),
    "conclude": (bool, False),
    "share": (bool, False),
}
"""Every field of a schedule: its type in TOML and its default; `report` and `cron` have none."""


def _schedule(name: str, table: object) -> Schedule:
    if not isinstance(table, dict):
        raise ConfigError(f"The file of schedules holds {name!r} outside a schedule; expected tables like [weekly].")
    fields = {key: _field(name, key, table) for key in _FIELDS}
    for key in table:
        if key not in _FIELDS:
            raise ConfigError(
                f"Schedule {name!r} has the unknown field {key!r}.{did_you_mean(key, _FIELDS)} "
                f"Expected: {', '.join(_FIELDS)}."
            )
    _check_times(name, fields["cron"], fields["timezone"], fields["since"])
    return Schedule(
        name=name, **{**fields, "formats": tuple(fields["formats"]), "catch_up": _catch_up(name, fields["catch_up"])}
    )


def _field(name: str, key: str, table: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any TOML value
    kind, default = _FIELDS[key]
    if key not in table:
        if key in {"report", "cron"}:
            raise ConfigError(f"Schedule {name!r} lacks {key}.")
        return default
    value = table[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"Schedule {name!r} has {key} = {value!r}; expected a {kind.__name__}.")
    return value


def _check_times(name: str, cron: str, timezone: str, since: datetime | None) -> None:
    try:
        CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ConfigError(f"Schedule {name!r} has cron = {cron!r}: {error}; expected five fields.") from error
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"Schedule {name!r} has the unknown time zone {timezone!r}.") from error
    if since is not None and since.tzinfo is None:
        raise ConfigError(f"Schedule {name!r} has since = {since}; expected a time with a zone, such as …T00:00:00Z.")


def _catch_up(name: str, value: object) -> int:
    if value in ("latest", "none"):
        return 1 if value == "latest" else 0
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ConfigError(f"Schedule {name!r} has catch_up = {value!r}; expected 'latest', 'none' or a number above 0.")


_EVERY_MINUTES = 10
"""How often a unit asks what is due; asking is cheap and never makes a slot twice."""


def due_command(program: Path, schedules: Path, out: Path) -> list[str]:
    """Return the command that makes what is due.

    >>> due_command(Path("python"), Path("reports.toml"), Path("reports"))[2:5]
    ['kaizen_analytics', 'report', 'due']
    """
    python = [str(program), "-m", "kaizen_analytics"]
    return [*python, "report", "due", "--schedules", str(schedules), "--out", str(out)]


def ingest_command(program: Path, store: Path, workspace: Path | None) -> list[str]:
    """Return the command that reads new sessions into a store: those of one workspace, or all.

    Units run it before `report due`, and a failure of it, such as one file that cannot be read, keeps no report from
    being made.

    >>> ingest_command(Path("python"), Path("team.db"), None)[2:]
    ['kaizen_analytics', '--quiet', 'ingest', '--store', 'team.db']
    """
    command = [str(program), "-m", "kaizen_analytics", "--quiet", "ingest", "--store", str(store)]
    return command if workspace is None else [*command, "--workspace", str(workspace)]


def _render_cron(commands: list[list[str]]) -> str:
    """Return a line for `crontab -e`; a percent sign would end a command there."""
    line = "; ".join(map(shlex.join, commands)).replace("%", "\\%")
    return f"# Asks kaizen_analytics which reports are due; each is made once.\n*/{_EVERY_MINUTES} * * * * {line}\n"


def _render_systemd(commands: list[list[str]]) -> str:
    """Return a service and a timer, to be saved as two files under ~/.config/systemd/user."""
    quoted = str.maketrans({"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$"})
    *before, due = (" ".join(f'"{word.translate(quoted)}"' for word in command) for command in commands)
    starts = "\n".join([*(f"ExecStart=-{line}" for line in before), f"ExecStart={due}"])
    return f"""# kaizen-reports.service
[Unit]
Description=Reports of kaizen_analytics that are due

[Service]
Type=oneshot
{starts}
Nice=10
UMask=0077

# kaizen-reports.timer
[Unit]
Description=Asks every {_EVERY_MINUTES} minutes which reports are due

[Timer]
OnCalendar=*:0/{_EVERY_MINUTES}
Persistent=true

[Install]
WantedBy=timers.target
"""


def _render_github(commands: list[list[str]]) -> str:
    """Return a workflow; the store and the folder of reports must be on the runner, as with a self-hosted one."""
    *before, due = (shlex.join(["python", *command[1:]]).replace("'", "''") for command in commands)
    ingest = "".join(f"      - name: Read new sessions\n        run: '{line}'\n" for line in before)
    return f"""name: Reports
on:
  schedule:
    - cron: "*/{_EVERY_MINUTES} * * * *"
  workflow_dispatch:
permissions:
  contents: read
concurrency: kaizen-reports
jobs:
  due:
    runs-on: self-hosted
    steps:
{ingest}      - name: Make the reports that are due
        if: always()
        run: '{due}'
"""


def _render_airflow(commands: list[list[str]]) -> str:
    """Return a DAG; Airflow only calls, all decisions stay with `report due`."""
    return f'''"""Calls kaizen_analytics, which decides what is due."""

from datetime import datetime, timedelta, timezone

from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG(
    dag_id="kaizen_reports",
    schedule=timedelta(minutes={_EVERY_MINUTES}),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
):
    BashOperator(task_id="due", bash_command={"; ".join(map(shlex.join, commands)) + " "!r})
'''


UNITS: Mapping[str, Callable[[list[list[str]]], str]] = MappingProxyType(
    {"cron": _render_cron, "systemd": _render_systemd, "github": _render_github, "airflow": _render_airflow}
)
"""What can be emitted, by name."""


_Answers = Iterator[tuple[int, RunResult | KaizenError]]
"""What became of each request, with its place among them; see `run_batch`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one due slot: a result, or why there is none. A busy slot is being made by someone else."""

    slot: _DueSlot
    result: RunResult | None
    error: str | None
    exit_code: int


def find_due(schedules: Iterable[Schedule], out: Path, now: datetime) -> list[_DueSlot]:
    """Return what is due at `now`, according to the run records below `out`; runs that died do not hold up a slot.

    >>> find_due([], tmp, datetime(2026, 10, 5, tzinfo=UTC))
    []
    """
    found = list(find_records(out))
    if bury_dead_runs(folder for folder, record in found if record.state is RunState.RUNNING):
        found = list(find_records(out))
    return _due_slots(schedules, now, [record for _, record in found])


def make_slots(slots: Sequence[_DueSlot], out: Path, make: Callable[[Sequence[RunRequest]], _Answers]) -> list[Outcome]:
    """Make due slots by `make`, such as `run_batch` with its options; what this package refuses becomes the outcome.

    >>> make_slots([], tmp, lambda requests: [])
    []
    """
    requests: dict[int, RunRequest] = {}
    outcomes: dict[int, Outcome] = {}
    for number, slot in enumerate(slots):
        try:
            requests[number] = _request(slot, out)
        except KaizenError as error:
            outcomes[number] = _outcome(slot, error)
    for numbers in _take_turns(slots, requests):
        for place, answer in make([requests[number] for number in numbers]):
            outcomes[numbers[place]] = _outcome(slots[numbers[place]], answer)
    return [outcomes[number] for number in sorted(outcomes)]


def _take_turns(slots: Sequence[_DueSlot], numbers: Iterable[int]) -> list[list[int]]:
    """Return rounds with one slot of each schedule: two at once would find each other's folder busy."""
    rounds: list[list[int]] = []
    turns = Counter[str]()
    for number in numbers:
        name = slots[number].schedule.name
        if turns[name] == len(rounds):
            rounds.append([])
        rounds[turns[name]].append(number)
        turns[name] += 1
    return rounds


def _outcome(slot: _DueSlot, answer: RunResult | KaizenError) -> Outcome:
    if isinstance(answer, BusyError):
        return Outcome(slot=slot, result=None, error=None, exit_code=0)
    if isinstance(answer, KaizenError):
        return Outcome(slot=slot, result=None, error=str(answer), exit_code=answer.exit_code)
    return Outcome(slot=slot, result=answer, error=answer.record.error, exit_code=answer.exit_code)


def _request(slot: _DueSlot, out: Path) -> RunRequest:
    schedule = slot.schedule
    report = load_report(schedule.report)
    parameters = dict(schedule.parameters)
    if "now" in report.parameters:
        parameters.setdefault("now", slot.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    if schedule.conclude:
        _conclude(slot, check_parameters(report.parameters, parameters, report.name))
    return RunRequest(
        report=report,
        parameters=parameters,
        out=out,
        formats=schedule.formats,
        logical_at_ms=slot.at_ms,
        trigger=schedule.trigger,
        attempt=slot.attempt,
        share=schedule.share,
    )


def _conclude(slot: _DueSlot, parameters: dict[str, str | int | float | bool]) -> None:
    """Freeze the experiment of a report if it is running and its window has passed at the time of the slot."""
    if not {"experiment_id", "store"} <= set(parameters):
        raise ConfigError(f"Schedule {slot.schedule.name!r} concludes, but its report is not about one experiment.")
    with Store.open(Path(str(parameters["store"])), ours=True) as store:
        fold_spool(store)
        experiment = get_experiment(store, str(parameters["experiment_id"]))
        plan = get_plan(store, experiment.id)
        if experiment.state is not State.RUNNING or plan is None or plan.started is None:
            return
        if plan.started.window_end_ms <= slot.at_ms:
            conclude(store, experiment.id, now_ms=slot.at_ms)


# Messages about what was made. What is sent has left the machine: only a report that was made to be shared sends its
# summary; of another one, and of a run that failed, the message names the schedule and the slot and nothing else.

_WAITS_S = (0.0, 2.0, 10.0)
"""How long to wait before each attempt."""

_END = re.compile(r"\n+(?:## |---\n)")
"""Where the beginning of a page ends: its first section, or the line below it all."""

_LONGEST = 1_500
"""Characters of a summary: what every chat takes."""


def check_urls(urls: Iterable[str]) -> None:
    """Raise `ConfigError` unless each URL names a service that is known; the URL, a secret, is not repeated.

    >>> check_urls(["json://127.0.0.1:9"])
    """
    for number, url in enumerate(urls, 1):
        if not _import_apprise().Apprise().add(url):
            raise ConfigError(
                f"--notify number {number} names no service; expected a URL such as mailto://, slack:// or json://."
            )


def notify(
    outcomes: Sequence[Outcome], urls: Sequence[str], *, wait: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """Tell of every run that ended, and yield a sentence for each message that did not arrive.

    A message is marked as sent in the folder of its run before it is sent: a process that is killed in between loses
    it, and no other one repeats it. Slots that another process makes, or made before, send nothing.

    Args:
        outcomes: What became of the due slots.
        urls: Where to, as apprise spells it.
        wait: Sleeps for some seconds.

    >>> list(notify([], ["json://127.0.0.1:9"]))
    []
    """
    for outcome in outcomes:
        if outcome.result is None or outcome.result.skipped:
            continue
        for url in urls:
            if _claim(outcome.result.folder, url) and not _send(outcome, url, wait):
                yield f"A message about {outcome.slot.schedule.name} could not be sent; the report is not affected."


def _claim(folder: Path, url: str) -> bool:
    """Return whether this process is the first to tell this place of the run in a folder."""
    mark = folder / f"notified-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    try:
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def _send(outcome: Outcome, url: str, wait: Callable[[float], None]) -> bool:
    apprise = _import_apprise()
    title, body = _write_message(outcome)
    for seconds in _WAITS_S:
        wait(seconds)
        channel = apprise.Apprise()
        channel.add(url)
        if channel.notify(title=title, body=body, body_format=apprise.NotifyFormat.MARKDOWN):
            return True
    return False


def _write_message(outcome: Outcome) -> tuple[str, str]:
    r"""Return the title and the Markdown of a message.

    >>> _ = (tmp / "reports.toml").write_text('[weekly]\nreport = "portfolio"\ncron = "0 6 * * 1"\n')
    >>> [weekly] = load_schedules(tmp / "reports.toml")
    >>> slot = _DueSlot(schedule=weekly, at=datetime(2026, 10, 5, tzinfo=UTC), attempt=1)
    >>> _write_message(Outcome(slot=slot, result=None, error="no store", exit_code=1))
    ('weekly: not made', "The report for 2026-10-05 00:00 UTC failed. 'report list' has the reason.")
    """
    slot = outcome.slot
    moment = f"{slot.at:%Y-%m-%d %H:%M} UTC"
    if outcome.exit_code or outcome.result is None:
        return f"{slot.schedule.name}: not made", f"The report for {moment} failed. 'report list' has the reason."
    made = f"The report for {moment} was made."
    if not slot.schedule.share:
        return f"{slot.schedule.name}: made", made
    pages = [outcome.result.folder / one.path for one in outcome.result.record.outputs if one.path.endswith(".md")]
    heads = [_END.split(page.read_text(encoding="utf-8"))[0][:_LONGEST] for page in pages]
    return f"{slot.schedule.name}: made", "\n\n".join([*heads, made])


def _import_apprise() -> Any:  # noqa: ANN401 - apprise has no types
    try:
        import apprise
    except ImportError:
        raise ConfigError("--notify needs another package: pip install 'kaizen_analytics[notify]'.") from None
    return apprise
