"""Makes several reports at once, each in a process of its own: a crash takes one report with it."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from kaizen_analytics.core.errors import KaizenError, ReportError
from kaizen_analytics.reports.ledger import RunState
from kaizen_analytics.reports.runner import Runner, RunRequest, RunResult, close_dead_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.context import SpawnContext, SpawnProcess


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
    return _Job(number, request, process, answers)


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
