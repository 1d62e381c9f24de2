"""Runs reports so that they can be trusted unattended: whole or not at all, with a record.

The order of events: check the parameters and the inputs, take the lock of the output, put away what a dead run left,
skip if nothing changed, stage, execute, judge, render, publish. See docs/reference/reports.md. `run_batch` makes
several reports at once, each in a process of its own: a crash takes one report with it.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import platform
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from kaizen_analytics.core.errors import (
    ConfigError,
    KaizenError,
    RedactionError,
    ReportError,
    RepositoryError,
    StoreMissingError,
)
from kaizen_analytics.core.files import hold_folder, write_file
from kaizen_analytics.core.git import Repository
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.redact import cover_secrets
from kaizen_analytics.reports import publication
from kaizen_analytics.reports.catalogue import Report, Value, check_parameters
from kaizen_analytics.reports.publication import EXIT_CODES, OutputError, OutputFile, RunRecord, RunState
from kaizen_analytics.reports.rendering import FORMATS, RunFacts, find_data, render_report
from kaizen_analytics.reports.sharing import Share, prepare_share

if TYPE_CHECKING:
    from multiprocessing.context import SpawnContext, SpawnProcess


_MANUAL = "manual"
_NOTEBOOK_FILE = "report.ipynb"
_SHARED = "shared"
"""The folder below the root of all reports that holds what may leave."""


class BusyError(ReportError):
    """Another run is writing the same output."""

    exit_code = 75


_Progress = Callable[[int, int], None]
"""Called with the number of finished cells and the number of all cells."""

_START_TIMEOUT_S = 60
_KERNEL = "python3"
_LONGEST_ERROR = 2_000
_CONTROL = re.compile("\x1b\\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Execution:
    """How an execution ended. `notebook` is None when no kernel came up; `error` is None after a success."""

    state: RunState
    notebook: Any
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One report to be made.

    `out` is the root of all reports, `logical_at_ms` the time that the report speaks for (default: the start of the
    run), `trigger` and `attempt` go into the record, `force` runs although nothing changed. `share` makes a report that
    may leave this machine: redacted, looked at again, and published below `shared`.
    """

    report: Report
    parameters: Mapping[str, object]
    out: Path
    formats: tuple[str, ...] = ("html", "md", "json")
    timeout_s: float = 900.0
    logical_at_ms: int | None = None
    trigger: str = _MANUAL
    attempt: int = 1
    force: bool = False
    share: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats:
            raise ConfigError(f"Format {', '.join(unknown) or 'none'} is unknown; expected {', '.join(FORMATS)}.")
        if not self.timeout_s > 0:
            raise ConfigError(f"The time-out is {self.timeout_s} s; expected more than 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a request ended: `folder` holds the files; `skipped` says that it was made before, from the same inputs."""

    record: RunRecord
    folder: Path
    skipped: bool = False

    @property
    def exit_code(self) -> int:
        """What the command line exits with."""
        return EXIT_CODES.get(self.record.state, 1)

    @property
    def page(self) -> Path:
        """The file to show first: the HTML page, else the first file of the report."""
        names = [output.path for output in self.record.outputs]
        return self.folder / next((name for name in names if name.endswith(".html")), names[0])


def _ignore_progress(done: int, total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A request that was checked: its parameters, the folder of its runs, and what hides names in a shared report."""

    request: RunRequest
    parameters: dict[str, Value]
    subject: str | None
    output: Path
    share: Share | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """What a run needs from the world: a clock and a place to show progress."""

    clock: Callable[[], int] = field(default=read_clock)
    progress: _Progress = field(default=_ignore_progress)

    def run(self, request: RunRequest) -> RunResult:
        """Make one report.

        Returns:
            The record of the run, also when a cell failed, time ran out or the kernel died; then the files of the
            last good run are untouched and the executed notebook lies in `_failed`.

        Raises:
            ConfigError: a parameter is unknown, missing or of a wrong type; nothing was started.
            StoreMissingError: an input file does not exist; nothing was started.
            BusyError: another run is writing the same output.
            OutputError: the folder of reports cannot be written.
            RedactionError: a report to be shared held something that must not leave; nothing was published.
        """
        prepared = _prepare(request)
        try:
            prepared.output.mkdir(mode=0o700, parents=True, exist_ok=True)
            with hold_folder(prepared.output), _exclusive(prepared.output):
                _sweep(prepared.output)
                return self._run_locked(prepared)
        except OSError as error:
            raise OutputError(
                f"The report {request.report.name!r} was not published: {publication.describe_failure(error)}. "
                "The reports made before are untouched."
            ) from error

    def _run_locked(self, prepared: _Prepared) -> RunResult:
        record = self._begin(prepared)
        done = None if prepared.request.force else _find_made(prepared.output, record)
        if done is not None:
            return done
        staging = publication.make_staging(prepared.output, record.run_id)
        with _terminable():
            try:
                publication.write_record(staging, record)
                execution, outputs = self._make(prepared, record, staging)
                for name, data in outputs.items():
                    write_file(staging / name, data)
                is_made = execution.state is RunState.SUCCESS
                as_of_ms = find_data(execution.notebook).get("as_of_ms") if is_made else None
                closed = self._close(record, execution.state, execution.error, outputs, as_of_ms)
                publication.write_record(staging, closed)
                move = publication.publish if is_made else publication.set_aside
                return RunResult(record=closed, folder=move(staging, record.run_id))
            except (KeyboardInterrupt, OSError, RedactionError, ReportError) as error:
                self._fail(staging, record, error)
                raise

    def _begin(self, prepared: _Prepared) -> RunRecord:
        request, parameters, share = prepared.request, prepared.parameters, prepared.share
        started = self.clock()
        versions = publication.read_versions()
        inputs = [Path(str(parameters[name])) for name in request.report.inputs]
        shaping = parameters if share is None else {**parameters, "share": share.fingerprint}
        fingerprint = publication.compute_fingerprint(request.report.source, shaping, inputs, request.formats, versions)
        record = RunRecord(
            run_id=_new_run_id(prepared.output, started, fingerprint),
            report=request.report.name,
            subject=prepared.subject,
            logical_at_ms=started if request.logical_at_ms is None else request.logical_at_ms,
            trigger=request.trigger,
            attempt=request.attempt,
            parameters=parameters,
            formats=request.formats,
            fingerprint=fingerprint,
            versions=versions,
            git_commit=_read_commit(),
            host=platform.node(),
            pid=os.getpid(),
            started_at_ms=started,
        )
        return record if share is None else share.redact_record(record)

    def _make(self, prepared: _Prepared, record: RunRecord, staging: Path) -> tuple[_Execution, dict[str, bytes]]:
        """Execute the notebook, and return the files of the report; of a failed run, the executed notebook."""
        request, share = prepared.request, prepared.share
        with nullcontext() if share is None else share.active(staging):
            execution = _execute(
                request.report.notebook(),
                prepared.parameters,
                folder=request.report.path.resolve().parent,
                timeout_s=request.timeout_s,
                progress=self.progress,
            )
        if execution.state is not RunState.SUCCESS:
            if share is not None:  # no notebook leaves: its traceback shows data as it was read
                error = None if execution.error is None else share.redactor.redact(execution.error)
                return replace(execution, notebook=None, error=error), {}
            return _without_secrets(execution)
        if share is not None:
            share.redact_parameters(execution.notebook)
        facts = RunFacts(
            title=request.report.title,
            run_id=record.run_id,
            fingerprint=record.fingerprint,
            made_at_ms=record.started_at_ms,
            versions=record.versions,
        )
        outputs = render_report(_strip_traces(execution.notebook), request.formats, facts)
        if share is not None:
            share.refuse_leaks({**outputs, publication.RUN_FILE: record.to_json()}, request.report.source)
        return execution, outputs

    def _fail(self, staging: Path, record: RunRecord, error: BaseException) -> None:
        """Record an interruption or a failed write, giving back the space of the files written so far."""
        state, reason = _describe(error)
        try:
            publication.clear(staging, keep=frozenset({publication.RUN_FILE}))
            publication.write_record(staging, self._close(record, state, reason, {}, None))
            publication.set_aside(staging, record.run_id)
        except OSError:
            # Not even the record fits, or the run is published already: the next run puts away what is left.
            return

    def _close(
        self,
        record: RunRecord,
        state: RunState,
        error: str | None,
        outputs: Mapping[str, bytes],
        data_as_of_ms: int | None,
    ) -> RunRecord:
        finished = self.clock()
        return replace(
            record,
            state=state,
            exit_code=EXIT_CODES[state],
            error=error,
            finished_at_ms=finished,
            duration_ms=finished - record.started_at_ms,
            data_as_of_ms=data_as_of_ms,
            outputs=tuple(
                OutputFile(path=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
                for name, data in outputs.items()
            ),
        )


def _prepare(request: RunRequest) -> _Prepared:
    """Check a request; parameters that name input files become absolute paths.

    Raises:
        ConfigError: a parameter is unknown, missing or of a wrong type.
        StoreMissingError: an input file does not exist.
    """
    report = request.report
    parameters = check_parameters(report.parameters, request.parameters, report.name)
    for name in report.inputs:
        path = Path(str(parameters[name])).expanduser().resolve()
        if not path.is_file():
            raise StoreMissingError(
                f"The parameter {name} of report {report.name!r} is {parameters[name]}; expected an existing file."
            )
        parameters[name] = str(path)
    # An empty subject means all, and needs no folder of its own.
    subject = None if report.subject is None else str(parameters[report.subject]) or None
    root, share, named = request.out.expanduser().absolute(), None, subject
    if request.share:
        share = prepare_share([Path(str(parameters["store"]))] if "store" in parameters else [])
        root /= _SHARED
        named = None if subject is None else share.redactor.redact(subject)
    folder = root / publication.slug(report.name)
    output = folder if named is None else folder / publication.slug(named)
    if "reported" in parameters:  # the experiments that have a conclusion beside this report, which links to them
        pages = (root / "experiment_conclusion").glob("*/latest/report.html")
        parameters["reported"] = " ".join(sorted(page.parents[1].name for page in pages))
    return _Prepared(request=request, parameters=parameters, subject=subject, output=output, share=share)


def _sweep(output: Path, state: RunState = RunState.ABANDONED, error: str | None = None) -> list[RunRecord]:
    """Record the runs of `output` that died, with `state` and `error`, and free their space; its lock must be held."""
    buried = []
    for staging in publication.find_staging(output):
        record = publication.read_record(staging)
        if record is None:  # it died before its first write
            publication.clear(staging)
            staging.rmdir()
            continue
        publication.clear(staging, keep=frozenset({publication.RUN_FILE}))
        reason = error or f"Process {record.pid} disappeared during the run."
        record = replace(record, state=state, exit_code=EXIT_CODES.get(state), error=reason)
        publication.write_record(staging, record)
        publication.set_aside(staging, record.run_id)
        buried.append(record)
    return buried


def bury_dead_runs(running: Iterable[Path]) -> list[RunRecord]:
    """Record which of these runs, whose records say that they run, died without a word; those under way stay.

    >>> bury_dead_runs([])
    []
    """
    buried = []
    for output in {folder.parent for folder in running}:
        with suppress(BusyError), _exclusive(output):
            buried += _sweep(output)
    return buried


def _close_dead_run(request: RunRequest, state: RunState, error: str) -> RunResult:
    """Write the record of a run whose process is known to be dead, and return it as the run's result."""
    output = _prepare(request).output
    with _exclusive(output):
        buried = _sweep(output, state, error)
    if not buried:
        raise ReportError(f"The report {request.report.name!r} was not made: {error} It left no record.")
    return RunResult(record=buried[-1], folder=output / publication.FAILED / buried[-1].run_id)


@contextmanager
def _exclusive(output: Path) -> Iterator[None]:
    lock = FileLock(output / publication.LOCK_FILE, timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        records = [publication.read_record(staging) for staging in publication.find_staging(output)]
        who = [f" (process {record.pid} on {record.host})" for record in records if record is not None]
        raise BusyError(f"Another run is writing {output}{who[0] if who else ''}; try again when it is done.") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _terminable() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that a stopped service leaves a record and no kernel."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _interrupt(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a signal handler
    raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}")


def _find_made(output: Path, record: RunRecord) -> RunResult | None:
    """Return the last run if it was made from the same; of a schedule, the run that made the same slot meanwhile."""
    if record.trigger == _MANUAL:
        latest = publication.resolve_latest(output)
        former = None if latest is None else publication.read_record(latest)
        if latest is None or former is None or former.fingerprint != record.fingerprint:
            return None
        return RunResult(record=former, folder=latest, skipped=True)
    for folder in output.iterdir():
        former = publication.read_record(folder) if folder.is_dir() and not folder.is_symlink() else None
        if former is not None and (former.trigger, former.logical_at_ms) == (record.trigger, record.logical_at_ms):
            return RunResult(record=former, folder=folder, skipped=True)
    return None


def _new_run_id(output: Path, at_ms: int, fingerprint: str) -> str:
    """Return a run id that sorts by time and is the same for the same time and inputs, unless it is taken."""
    stem = f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y%m%dT%H%M%SZ}-{fingerprint[:8]}"
    taken = {
        path.name for folder in (output, output / publication.FAILED) if folder.is_dir() for path in folder.iterdir()
    }
    if stem not in taken:
        return stem
    return next(f"{stem}-{number}" for number in range(2, len(taken) + 3) if f"{stem}-{number}" not in taken)


def _without_secrets(failed: _Execution) -> tuple[_Execution, dict[str, bytes]]:
    """Return a run that failed as it is kept, and its notebook: its traceback may show what no page would."""
    import nbformat

    cells, error = cover_secrets((failed.notebook, failed.error))
    notebook = None if cells is None else nbformat.from_dict(cells)
    files = {} if notebook is None else {_NOTEBOOK_FILE: nbformat.writes(notebook).encode()}
    return replace(failed, notebook=notebook, error=error), files


@cache
def _read_commit() -> str | None:
    """Return the commit of the checkout that this code runs from; None for an installed package."""
    package = Path(__file__).resolve().parents[1]
    if not (package.parent / ".git").exists():
        return None
    try:
        repository = Repository.find(package)
        return None if repository is None else repository.resolve_commit("HEAD")
    except RepositoryError:  # git refuses, or nothing is committed yet: the fingerprint still covers the code
        return None


def _describe(error: BaseException) -> tuple[RunState, str]:
    if isinstance(error, KeyboardInterrupt):
        return RunState.INTERRUPTED, str(error) or "interrupted"
    if isinstance(error, OSError):
        return RunState.IO_ERROR, publication.describe_failure(error)
    if isinstance(error, RedactionError):
        return RunState.WITHHELD, str(error)
    return RunState.FAILED, str(error)


@dataclass(frozen=True, slots=True)
class _Job:
    number: int
    request: RunRequest
    process: SpawnProcess
    answers: Connection


def run_batch(
    requests: Sequence[RunRequest], *, jobs: int, runner: Runner | None = None
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
            try:
                answer = _close_dead_run(job.request, RunState.KERNEL_DIED, "The process of the report died.")
            except ReportError as failure:
                answer = failure
    job.process.join()
    return answer


def _execute(
    notebook: Any,  # noqa: ANN401 - nbformat has no types
    parameters: Mapping[str, Value],
    *,
    folder: Path,
    timeout_s: float,
    progress: _Progress,
) -> _Execution:
    """Run all cells of a notebook, which is not changed, in a kernel of its own that works in `folder`.

    papermill marks every cell of a killed or timed-out run as completed and takes `sys.exit(0)` for success. Here a run
    is a success only if every code cell has an execution count and none has an error.

    Raises:
        KeyboardInterrupt: an interruption, after the kernel is gone.
        OSError: the kernel could not be started.
    """
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    watch = _Watch(timeout_s=timeout_s, progress=progress)
    try:
        _run_papermill(notebook, parameters, watch, folder)
    except PapermillExecutionError:
        pass  # the judgement below finds the cell
    except CellTimeoutError:
        error = f"The notebook ran longer than {timeout_s:g} s, in {watch.cell_words()}; see --timeout."
        return _Execution(state=RunState.TIMED_OUT, notebook=watch.notebook, error=error)
    except DeadKernelError:
        error = f"The kernel died in {watch.cell_words()}: it crashed, left by os._exit, or ran out of memory."
        return _Execution(state=RunState.KERNEL_DIED, notebook=watch.notebook, error=error)
    except (RuntimeError, NoSuchKernel) as failure:
        if watch.notebook is not None:
            raise
        error = f"The kernel did not start: {_clean_text(str(failure))}. Is ipykernel installed?"
        return _Execution(state=RunState.KERNEL_DIED, notebook=None, error=error)
    return _judge_execution(watch.notebook)


def _judge_execution(notebook: Any) -> _Execution:  # noqa: ANN401 - nbformat has no types
    """Return a success only if every code cell ran and none has an error."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    errors = [
        _describe_error(output, number, len(cells))
        for number, cell in enumerate(cells, start=1)
        for output in cell.outputs
        if output.output_type == "error"
    ]
    errors += [
        f"Code cell {number} of {len(cells)} did not run: the notebook stopped before its end."
        for number, cell in enumerate(cells, start=1)
        if cell.execution_count is None
    ]
    state = RunState.FAILED if errors else RunState.SUCCESS
    return _Execution(state=state, notebook=notebook, error=errors[0] if errors else None)


def _strip_traces(notebook: Any) -> Any:  # noqa: ANN401 - nbformat has no types
    """Return `notebook` without the times, paths and random ids that papermill and nbclient put into it."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell.id = "injected-parameters"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return notebook


def _clean_text(text: str) -> str:
    """Return text from a kernel without control characters, cut to a size that fits a record."""
    return _CONTROL.sub("", text).strip()[:_LONGEST_ERROR]


class _Watch:
    """What nbclient's hooks tell us: the notebook as it fills, the cell at work, the time that is left."""

    def __init__(self, *, timeout_s: float, progress: _Progress) -> None:
        self.notebook: Any = None
        self.timeout_s = timeout_s
        self.progress = progress
        self.cell_index = 0
        self.deadline = time.monotonic() + timeout_s

    def start(self, notebook: Any) -> None:  # noqa: ANN401 - nbformat has no types
        self.notebook = notebook
        self.progress(0, len(notebook.cells))

    def enter(self, cell: Any, cell_index: int) -> None:  # noqa: ANN401, ARG002 - the signature of a hook
        self.cell_index = cell_index

    def leave(self, cell: Any, cell_index: int) -> None:  # noqa: ANN401, ARG002 - the signature of a hook
        self.progress(cell_index + 1, len(self.notebook.cells))

    def time_left_s(self, cell: Any) -> float:  # noqa: ANN401, ARG002 - the signature of a hook
        return max(self.deadline - time.monotonic(), 0.001)

    def cell_words(self) -> str:
        return f"cell {self.cell_index + 1} of {len(self.notebook.cells)}"


def _run_papermill(
    notebook: Any,  # noqa: ANN401 - nbformat has no types
    parameters: Mapping[str, Value],
    watch: _Watch,
    folder: Path,
) -> None:
    from papermill import execute_notebook
    from traitlets.config import Config

    # papermill and nbclient log what becomes the run's error; a traceback on the terminal would say it twice.
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    execute_notebook(
        notebook,
        None,  # no file of papermill's: the notebook reaches us through the hook, also after a failure
        parameters=dict(parameters),
        progress_bar=False,
        start_timeout=_START_TIMEOUT_S,
        kernel_name=_KERNEL,
        language="python",
        autosave_cell_every=0,
        timeout_func=watch.time_left_s,
        shutdown_kernel="immediate",
        extra_arguments=["--HistoryManager.enabled=False"],  # texts of a shared report stay out of the home folder
        config=Config(KernelManager={"transport_encryption": "auto"}),
        resources={"metadata": {"path": str(folder)}},  # the kernel's working directory; ours stays
        record_timing=False,
        store_widget_state=False,
        on_notebook_start=watch.start,
        on_cell_start=watch.enter,
        on_cell_complete=watch.leave,
    )


def _describe_error(output: Any, number: int, total: int) -> str:  # noqa: ANN401 - nbformat has no types
    if output.ename == "SystemExit":
        return f"Code cell {number} of {total} left the notebook with sys.exit({_clean_text(output.evalue)})."
    return f"Code cell {number} of {total} failed: {_clean_text(f'{output.ename}: {output.evalue}')}"
