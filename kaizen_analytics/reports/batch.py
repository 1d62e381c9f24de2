"""Makes several reports at once, each in a fresh process that is forked from one with the libraries loaded.

The process that is forked runs no threads (a copy of a lock that a thread holds would never open again): it imports,
and nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from kaizen_analytics.errors import KaizenError, ReportError
from kaizen_analytics.reports.ledger import RunState
from kaizen_analytics.reports.runner import Runner, RunResult, close_dead_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

    from kaizen_analytics.reports.runner import RunRequest

_PRELOADED = ("kaizen_analytics.reports.preload",)
_GRACE_S = 10.0
"""How long after its time-out a process may take to say so itself, before it is killed."""


@dataclass(frozen=True, slots=True)
class _Job:
    number: int
    request: RunRequest
    process: ForkServerProcess
    answers: Connection
    deadline: float


def run_batch(
    requests: Sequence[RunRequest],
    *,
    jobs: int,
    fast: bool,
    runner: Runner | None = None,
) -> Iterator[tuple[int, RunResult | KaizenError]]:
    """Make reports, at most `jobs` at a time, and yield each outcome with its place in `requests` as it comes.

    Args:
        requests: What to make; requests of one subject wait for each other, as they share a folder.
        jobs: How many processes work at once.
        fast: Execute the notebooks in these processes instead of in kernels of their own.
        runner: Clock of the runs; default: the present time.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads in the process that is forked
    made_by = runner or Runner()
    waiting = list(enumerate(requests))
    working: list[_Job] = []
    try:
        while waiting or working:
            while waiting and len(working) < jobs:
                number, request = waiting.pop(0)
                working.append(_start(context, number, replace(made_by, fast=fast), request))
            wait([job.process.sentinel for job in working], timeout=0.5)
            for job in [job for job in working if not job.process.is_alive() or time.monotonic() > job.deadline]:
                working.remove(job)
                yield job.number, _finish(job)
    finally:
        for job in working:
            job.process.terminate()
            job.process.join()


def _start(
    context: multiprocessing.context.ForkServerContext,
    number: int,
    runner: Runner,
    request: RunRequest,
) -> _Job:
    answers, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(runner, request, sender))
    process.start()
    sender.close()
    deadline = time.monotonic() + request.timeout_s + (0 if runner.fast else _GRACE_S)
    return _Job(number, request, process, answers, deadline)


def _work(runner: Runner, request: RunRequest, sender: Connection) -> None:
    try:
        sender.send(runner.run(request))
    except KaizenError as error:
        sender.send(error)


def _finish(job: _Job) -> RunResult | KaizenError:
    if job.answers.poll():
        try:
            answer: RunResult | KaizenError = job.answers.recv()
        except EOFError:
            return _bury(job, RunState.KERNEL_DIED, "The process of the report died.")
        job.process.join()
        return answer
    if job.process.is_alive():
        job.process.kill()
        job.process.join()
        return _bury(job, RunState.TIMED_OUT, f"The notebook ran longer than {job.request.timeout_s:g} s.")
    return _bury(job, RunState.KERNEL_DIED, "The process of the report died.")


def _bury(job: _Job, state: RunState, error: str) -> RunResult | KaizenError:
    try:
        return close_dead_run(job.request, state, error)
    except ReportError as failure:
        return failure
