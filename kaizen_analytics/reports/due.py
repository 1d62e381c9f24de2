"""Makes several reports at once, each in a process of its own, and those that are due.

A crash takes one report with it, and a slot that fails does not stop the others.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.core.errors import ConfigError, KaizenError, ReportError
from kaizen_analytics.core.model import State
from kaizen_analytics.experiments.lifecycle import conclude
from kaizen_analytics.experiments.plan import get_plan
from kaizen_analytics.reports.catalogue import check_parameters, load_report
from kaizen_analytics.reports.ledger import RunState, find_records
from kaizen_analytics.reports.runner import (
    BusyError,
    Runner,
    RunRequest,
    RunResult,
    bury_dead_runs,
    close_dead_run,
)
from kaizen_analytics.reports.schedules import due_slots
from kaizen_analytics.store import Store
from kaizen_analytics.store.assignments import fold_spool
from kaizen_analytics.store.experiments import get_experiment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from multiprocessing.context import SpawnContext, SpawnProcess

    from kaizen_analytics.reports.schedules import DueSlot, Schedule


_Answers = Iterator[tuple[int, RunResult | KaizenError]]
"""What became of each request, with its place among them; see `run_batch`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one due slot: a result, or why there is none. A busy slot is being made by someone else."""

    slot: DueSlot
    result: RunResult | None
    error: str | None
    exit_code: int


def find_due(schedules: Iterable[Schedule], out: Path, now: datetime) -> list[DueSlot]:
    """Return what is due at `now`, according to the run records below `out`; runs that died do not hold up a slot.

    >>> from datetime import UTC, datetime
    >>> find_due([], tmp, datetime(2026, 10, 5, tzinfo=UTC))
    []
    """
    found = list(find_records(out))
    if bury_dead_runs(folder for folder, record in found if record.state is RunState.RUNNING):
        found = list(find_records(out))
    return due_slots(schedules, now, [record for _, record in found])


def make_slots(
    slots: Sequence[DueSlot],
    out: Path,
    make: Callable[[Sequence[RunRequest]], _Answers],
) -> list[Outcome]:
    """Make due slots; whatever this package refuses becomes the outcome.

    Args:
        slots: What to make.
        out: Folder of all reports.
        make: Makes reports, such as `run_batch` with its options.

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


def _take_turns(slots: Sequence[DueSlot], numbers: Iterable[int]) -> list[list[int]]:
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


def _outcome(slot: DueSlot, answer: RunResult | KaizenError) -> Outcome:
    if isinstance(answer, BusyError):
        return Outcome(slot=slot, result=None, error=None, exit_code=0)
    if isinstance(answer, KaizenError):
        return Outcome(slot=slot, result=None, error=str(answer), exit_code=answer.exit_code)
    return Outcome(slot=slot, result=answer, error=answer.record.error, exit_code=answer.exit_code)


def _request(slot: DueSlot, out: Path) -> RunRequest:
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


def _conclude(slot: DueSlot, parameters: dict[str, str | int | float | bool]) -> None:
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


@dataclass(frozen=True, slots=True)
class _Job:
    number: int
    request: RunRequest
    process: SpawnProcess
    answers: Connection


def run_batch(
    requests: Sequence[RunRequest],
    *,
    jobs: int,
    runner: Runner | None = None,
) -> Iterator[tuple[int, RunResult | KaizenError]]:
    """Make reports, at most `jobs` at a time, and yield each outcome with its place in `requests` as it comes.

    Args:
        requests: What to make. Two requests with the same report and subject share a folder: the later one is refused
            with a `BusyError` if it starts before the other has ended.
        jobs: How many processes work at once.
        runner: Clock of the runs; default: the present time.

    >>> list(run_batch([], jobs=2))
    []
    """
    context = multiprocessing.get_context("spawn")
    made_by = runner or Runner()
    waiting = list(enumerate(requests))
    working: list[_Job] = []
    try:
        while waiting or working:
            while waiting and len(working) < jobs:
                working.append(_start(context, *waiting.pop(0), made_by))
            ready = wait([job.answers for job in working])
            for job in [job for job in working if job.answers in ready]:
                working.remove(job)
                yield job.number, _finish(job)
    finally:
        for job in working:
            job.process.terminate()
            job.process.join()


def _start(context: SpawnContext, number: int, request: RunRequest, runner: Runner) -> _Job:
    answers, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(runner, request, sender))
    process.start()
    sender.close()  # the process holds the only other copy: when it dies, reading from `answers` ends
    return _Job(number, request, process, answers)  # type: ignore[arg-type,unused-ignore]  # of another class on Windows


def _work(runner: Runner, request: RunRequest, sender: Connection) -> None:
    try:
        sender.send(runner.run(request))
    except KaizenError as error:
        sender.send(error)


def _finish(job: _Job) -> RunResult | KaizenError:
    with job.answers:
        try:
            answer: RunResult | KaizenError = job.answers.recv()
        except EOFError:
            # The pipe of a dying process may close before its lock on the report's folder does.
            job.process.join()
            answer = _bury(job.request)
    job.process.join()
    return answer


def _bury(request: RunRequest) -> RunResult | KaizenError:
    try:
        return close_dead_run(request, RunState.KERNEL_DIED, "The process of the report died.")
    except ReportError as failure:
        return failure
