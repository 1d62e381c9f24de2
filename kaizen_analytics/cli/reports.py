"""`report …` and `notebooks copy`: make reports from notebooks, by hand or when they are due; copy them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from cronsim import CronSim

from kaizen_analytics.cli.options import JsonOption, Options, ShareOption, StoreOption, command, fold_waiting, locate
from kaizen_analytics.cli.output import Bar, print_json, print_lines, print_note, print_table
from kaizen_analytics.core.errors import ConfigError, KaizenError, ReportError, one_of
from kaizen_analytics.core.settings import read_settings
from kaizen_analytics.pages.conclusion import parse_now
from kaizen_analytics.reports.catalogue import Report, copy_notebooks, list_notebooks, load_report, parse_parameters
from kaizen_analytics.reports.publication import find_records
from kaizen_analytics.reports.runner import Runner, RunRequest, RunResult, run_batch
from kaizen_analytics.reports.schedules import (
    UNITS,
    Outcome,
    Schedule,
    check_urls,
    due_command,
    find_due,
    ingest_command,
    load_schedules,
    make_slots,
    notify,
)
from kaizen_analytics.store.location import find_workspace

_SchedulesOption = Annotated[
    Path, typer.Option("--schedules", metavar="FILE", help="The schedules, in TOML; see docs/reference/reports.md.")
]
_DEFAULT_SCHEDULES = Path("reports.toml")
_OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of all reports.")]
_DEFAULT_OUT = Path("reports")


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options):
    """How reports are made, and where they go."""

    formats: Annotated[str, typer.Option("--format", metavar="LIST", help="Out of html, md, json, ipynb.")] = (
        "html,md,json"
    )
    out: _OutOption = _DEFAULT_OUT
    store: StoreOption = None
    force: Annotated[bool, typer.Option("--force", help="Run although nothing changed since the last run.")] = False
    share: ShareOption = False
    as_json: JsonOption = False


@command("report run", "report run experiment_conclusion -p experiment_id=exp-1")
def _run(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A report ('report list' names them), or a notebook file.")
    ],
    *,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--parameter",
            metavar="KEY=VALUE",
            help="A parameter of the notebook; its subject may be given several times.",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, metavar="N", help="How many reports at once.")] = 1,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For all cells together.")] = 900,
    options: ReportOptions,
) -> None:
    """Make a report and publish it when it is whole.

    With several values of its subject, one for each of them. Exit codes: 0 made or unchanged, 1 a cell failed or
    --share found something that must not leave, 2 a wrong parameter, 74 cannot read or write, 75 another run is at
    it, 124 out of time, 130 interrupted, 138 the kernel died.
    """
    raise typer.Exit(make_reports(name, parameter or [], options, jobs=jobs, timeout_s=timeout))


def make_reports(
    name: str, pairs: Sequence[str], options: ReportOptions, *, jobs: int = 1, timeout_s: float = 900
) -> int:
    """Make one report for each value of its subject among `pairs`, say what became of them, and return the exit code.

    >>> make_reports("portfolio", ["store=team.db"], ReportOptions(formats="pdf", out=tmp))
    Traceback (most recent call last):
        ...
    kaizen_analytics.core.errors.ConfigError: Format pdf is unknown; expected html, md, json, ipynb.
    """
    report = load_report(name)
    wanted = tuple(part.strip() for part in options.formats.split(","))
    requests = []
    for chosen in _pairs(pairs, report.subject):
        given: dict[str, object] = dict(parse_parameters(report.parameters, chosen, report.name))
        if "store" in report.parameters:
            given.setdefault("store", str(locate(options.store).path))
            fold_waiting(Path(str(given["store"])))
        requests.append(
            RunRequest(
                report=report,
                parameters=given,
                out=options.out,
                formats=wanted,
                timeout_s=timeout_s,
                force=options.force,
                share=options.share,
            )
        )
    if len(requests) > 1:
        return _run_several(requests, jobs=jobs, as_json=options.as_json)
    with Bar(report.title, unit="cells") as bar:
        result = Runner(progress=bar.show).run(requests[0])
    if options.as_json:
        print_json(_result_json(result))
    else:
        _print_result(result)
    return result.exit_code


@command("report list", "report list --json")
def _list(*, out: _OutOption = _DEFAULT_OUT) -> Iterator[object]:
    """List the reports that can be made, and the runs that were."""
    reports = [load_report(name) for name in list_notebooks()]
    runs = sorted((record for _, record in find_records(out)), key=lambda run: run.started_at_ms, reverse=True)
    described = [{"name": item.name, "title": item.title, "parameters": _describe(item)} for item in reports]
    yield {"reports": described, "runs": [asdict(run) for run in runs]}
    print_table(
        ["report", "title", "parameters"],
        [[item.name, item.title, ", ".join(_describe(item))] for item in reports],
        droppable=("title",),
        wrapped="parameters",
    )
    print()
    rows = [
        [run.run_id, run.report, run.subject, run.state, run.duration_ms and run.duration_ms / 1000, run.error]
        for run in runs
    ]
    title, nothing = f"Runs in {out}", "None yet. 'kaizen-analytics report run --help' shows how to make a report."
    print_table(
        ["run", "report", "subject", "state", "seconds", "error"],
        rows,
        title=title,
        empty=nothing,
        droppable=("seconds",),
    )


@command("report show", "report show 20260105T060000Z-1c0ffee0")
def _show(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The id of a run, or a unique beginning of it.")],
    *,
    out: _OutOption = _DEFAULT_OUT,
) -> Iterator[object]:
    """Show the record of one run and where its files lie."""
    found = [(folder, record) for folder, record in find_records(out) if record.run_id.startswith(run_id)]
    if len(found) != 1:
        known = "no run begins" if not found else f"{len(found)} runs begin"
        raise ReportError(f"In {out} {known} with {run_id!r}; 'report list' names them.")
    folder, record = found[0]
    facts = {"folder": str(folder), **asdict(record)}
    yield facts
    rows = [
        [name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
        for name, value in facts.items()
        if value is not None
    ]
    print_table(["field", "value"], rows, wrapped="value")


@command("report due", "report due --schedules reports.toml --dry-run")
def _due(
    *,
    schedules: _SchedulesOption = _DEFAULT_SCHEDULES,
    out: _OutOption = _DEFAULT_OUT,
    now: Annotated[str, typer.Option("--now", metavar="TIME", help="ISO 8601 with a zone; default: the present.")] = "",
    jobs: Annotated[int, typer.Option("--jobs", min=1, metavar="N", help="How many reports at once.")] = 1,
    notify_urls: Annotated[
        list[str] | None,
        typer.Option(
            "--notify",
            metavar="URL",
            help="Tell a mailbox, a chat or a web hook of each run, once; may be repeated. Needs the extra [notify].",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is due.")] = False,
) -> Iterator[object]:
    """Make every report that is due and not made yet.

    For cron, systemd, CI or Airflow. Exit codes: 0 all made or nothing due, else that of the first report that failed.
    """
    check_urls(notify_urls or [])
    moment = datetime.fromtimestamp(parse_now(now) / 1000, UTC)
    slots = find_due([_with_store(item, schedules) for item in load_schedules(schedules)], out, moment)
    if slots and not dry_run:
        print(f"Making what is due: {', '.join(slot.schedule.name for slot in slots)}", file=sys.stderr, flush=True)
    outcomes = [] if dry_run else make_slots(slots, out, partial(run_batch, jobs=jobs))
    for problem in notify(outcomes, notify_urls or []):
        print(f"warning: {problem}", file=sys.stderr)
    states = [_outcome_words(outcome) for outcome in outcomes] or ["due"] * len(slots)
    names = ["schedule", "report", "slot", "attempt", "state"]
    rows = [
        [slot.schedule.name, slot.schedule.report, slot.at.strftime("%Y-%m-%dT%H:%M:%SZ"), slot.attempt, state]
        for slot, state in zip(slots, states, strict=True)
    ]
    code = next((outcome.exit_code for outcome in outcomes if outcome.exit_code), 0)
    yield [dict(zip(names, row, strict=True)) for row in rows], code
    parts = [str(row[-1]).partition(": ") for row in rows]
    shown = [[*row[:-1], state] for row, (state, _, _) in zip(rows, parts, strict=True)]
    print_table(names, shown, droppable=("attempt",), empty="Nothing is due.")
    for row, (_, _, more) in zip(rows, parts, strict=True):
        if more:
            print_note(f"{row[0]}: {more}")


@command("report schedule", "report schedule --emit cron | crontab -")
def _schedule(
    *,
    schedules: _SchedulesOption = _DEFAULT_SCHEDULES,
    out: _OutOption = _DEFAULT_OUT,
    emit: Annotated[str, typer.Option("--emit", metavar="KIND", help="cron, systemd, github or airflow.")] = "",
    ingest: Annotated[bool, typer.Option("--ingest", help="With --emit: read new sessions before each call.")] = False,
) -> Iterator[object]:
    """List the schedules with their next times.

    With --emit, print a unit that makes the platform call 'report due'.
    """
    found = load_schedules(schedules)
    if emit:
        unit = UNITS[one_of("--emit", emit, UNITS)]
        due = due_command(Path(sys.executable), schedules.resolve(), out.resolve())
        first = []
        if ingest:
            location = locate(None, schedules.resolve().parent)
            first.append(ingest_command(Path(sys.executable), location.path.resolve(), location.workspace))
        print(unit([*first, due]), end="")
        return
    nexts = [next(CronSim(item.cron, datetime.now(ZoneInfo(item.timezone)))) for item in found]
    rows = [
        [item.name, item.report, item.cron, item.timezone, at.isoformat(timespec="minutes")]
        for item, at in zip(found, nexts, strict=True)
    ]
    names = ["schedule", "report", "cron", "timezone", "next"]
    yield [dict(zip(names, row, strict=True)) for row in rows]
    print_table(names, rows, droppable=("timezone",))


def _with_store(schedule: Schedule, schedules: Path) -> Schedule:
    """Return a schedule with a store: unless it names one, that of the repository in which the schedules lie."""
    if "store" in schedule.parameters or "store" not in load_report(schedule.report).parameters:
        return schedule
    folder = schedules.resolve().parent
    named = os.environ.get("KAIZEN_STORE") or read_settings(os.environ, Path.home(), folder).store
    if not named and find_workspace(folder) is None:
        return schedule  # the report says that it needs a store
    store = locate(None, folder).path.resolve()
    return replace(schedule, parameters={**schedule.parameters, "store": str(store)})


def _outcome_words(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"failed ({outcome.exit_code}): {outcome.error}"
    if outcome.result is None:
        return "another run is at it"
    return f"{'already made' if outcome.result.skipped else 'made'}: {outcome.result.page}"


def _pairs(texts: Sequence[str], subject: str | None) -> list[dict[str, str]]:
    """Return the given parameters by name, once for each value of the subject."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"-p {text} is not a parameter; expected KEY=VALUE.")
        found.setdefault(key, []).append(value)
    for key, values in found.items():
        if len(values) > 1 and key != subject:
            raise ConfigError(f"The parameter {key} is given twice: {values[0]!r} and {values[1]!r}.")
    shared = {key: values[0] for key, values in found.items()}
    subjects = dict.fromkeys(found.get(subject or "", []))
    return [{**shared, str(subject): value} for value in subjects] or [shared]


def _run_several(requests: Sequence[RunRequest], *, jobs: int, as_json: bool) -> int:
    """Make reports at once, say what becomes of each as it comes, and return the exit code of the first that failed."""
    codes = [0] * len(requests)
    documents: list[dict[str, object]] = [{} for _ in requests]
    for number, answer in run_batch(requests, jobs=jobs):
        codes[number] = answer.exit_code
        documents[number] = {"error": str(answer)} if isinstance(answer, KaizenError) else _result_json(answer)
        if isinstance(answer, KaizenError):
            print(f"error: {answer}", file=sys.stderr)
        elif not as_json:
            _print_result(answer)
    if as_json:
        print_json(documents)
    return next((code for code in codes if code), 0)


def _print_result(result: RunResult) -> None:
    record = result.record
    if result.exit_code:
        print(f"error: {record.error}\nThe executed notebook and the record lie in {result.folder}", file=sys.stderr)
        return
    if result.skipped:
        print("Nothing has changed since the last run; --force makes the report again.")
    for output in record.outputs:
        path = (result.folder / output.path).absolute()
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _result_json(result: RunResult) -> dict[str, object]:
    return {"folder": str(result.folder), "skipped": result.skipped, **asdict(result.record)}


def _describe(report: Report) -> list[str]:
    return [parameter.describe() for parameter in report.parameters.values()]


@command("notebooks copy", "notebooks copy analysis")
def _copy(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put them; it is made if it is missing.")],
    *,
    store: StoreOption = None,
) -> Iterator[object]:
    """Copy the notebooks of this installation.

    The store of this command is filled in. A file is never replaced.
    """
    copied = copy_notebooks(folder, locate(store).path.resolve())
    yield {"notebooks": [str(path) for path in copied]}
    print_lines(*(f"Wrote {path}" for path in copied), then=f"jupyter lab {folder}")
