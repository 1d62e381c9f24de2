"""What can go wrong while a store, a report or an export is written, done on purpose, and what must hold afterwards.

A recipe does some work again and again while something happens to it: the process is killed, the disk is full. The
worker writes the id of everything that it was told is stored into an append-only log on a healthy disk. Afterwards
each id in the log must be in the store, once, and SQLite must find the file whole.

Workers are forked from a process that has the libraries loaded and no store open. That process looks at the files
with Python's sqlite3, the workers only with ours: one process never uses two SQLite libraries on one file.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [
    str(TESTS.parent),
    str(TESTS),
    str(TESTS / "unit" / "ingest"),
    str(TESTS / "unit" / "store"),
    str(TESTS / "faults"),
]

import nbformat  # noqa: E402 - the path is set above
import polars as pl  # noqa: E402
from ingest_lines import answer, lines, prompt  # noqa: E402
from store_cases import KAIZEN_SCHEMA, hold, make_experiment, release, run_script  # noqa: E402
from stubborn import write_surely  # noqa: E402

from kaizen_analytics.cli import app  # noqa: E402
from kaizen_analytics.core import codec  # noqa: E402
from kaizen_analytics.core.errors import KaizenError  # noqa: E402
from kaizen_analytics.core.files import hold_folder, write_file  # noqa: E402
from kaizen_analytics.core.model import Classification  # noqa: E402
from kaizen_analytics.experiments import lifecycle  # noqa: E402
from kaizen_analytics.experiments.assignment import ArmContent  # noqa: E402
from kaizen_analytics.experiments.plan import Plan, Randomisation, Unit  # noqa: E402
from kaizen_analytics.exports import files  # noqa: E402
from kaizen_analytics.exports.files import write_table  # noqa: E402
from kaizen_analytics.ingest.pipeline import run_ingest  # noqa: E402
from kaizen_analytics.redact import load_key  # noqa: E402
from kaizen_analytics.reports import publication  # noqa: E402
from kaizen_analytics.reports.catalogue import load_report  # noqa: E402
from kaizen_analytics.reports.runner import Runner, RunRequest  # noqa: E402
from kaizen_analytics.retro.classes import Change  # noqa: E402
from kaizen_analytics.retro.findings import Finding  # noqa: E402
from kaizen_analytics.store import Store, save_experiment, tag_session  # noqa: E402
from kaizen_analytics.store.retros import write_retro  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STUBBORN = Path(__file__).with_name("stubborn.py")
EXPERIMENT, DRAFT, RUNNING, DRAWN = "exp-1", "exp-2", "exp-3", "exp-4"
CONTROL = Classification.CONTROL
REFUSED = 3
"""Exit code of a worker that was told 'not stored' by an error of ours."""
DAY_MS = 86_400_000
LONG = "-" + 3_000 * "x"
"""Makes an id so long that a few hundred fill a small disk."""


@dataclass(slots=True)
class Tally:
    """What a recipe saw: runs, how often the fault struck while work was going on, and what became of the ids."""

    runs: int = 0
    struck: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    damaged: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled or damaged."""
        return not (self.lost or self.doubled or self.damaged)

    def require(self, *, held: bool, claim: str) -> None:
        """Record a claim that does not hold."""
        if not held:
            self.damaged.append(claim)


@dataclass(frozen=True, slots=True)
class Log:
    """The append-only log of acknowledged ids."""

    path: Path

    def add(self, name: str) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        write_surely(descriptor, f"{name}\n")
        os.close(descriptor)

    def is_longer_than(self, count: int) -> bool:
        return len(self.read()) > count

    def read(self) -> list[str]:
        return self.path.read_text().split("\n")[:-1] if self.path.exists() else []


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a forked process and return its id; it exits with 0, `REFUSED` or 1."""
    child = os.fork()
    if child == 0:
        _work_and_exit(work)
    return child


def _work_and_exit(work: Callable[[], None]) -> NoReturn:
    try:
        work()
    except KaizenError as error:
        print(f"told: {error}", file=sys.stderr, flush=True)
        os._exit(REFUSED)
    except BaseException:  # noqa: BLE001 - the parent judges by the exit code
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def finish(child: int) -> int:
    """Wait for a worker and return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def strike(child: int, delay_s: float, ready: Callable[[], bool]) -> bool:
    """Kill a worker `delay_s` after it is ready; say whether it was still at work."""
    deadline = time.monotonic() + 30
    while not ready() and time.monotonic() < deadline:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.001)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    return finish(child) == -signal.SIGKILL


def run_whole(work: Callable[[], None]) -> float:
    """Run a worker to its end and return the seconds it took."""
    begin = time.monotonic()
    code = finish(fork(work))
    if code != 0:
        raise AssertionError(f"a worker that nothing happened to exited with {code}")
    return time.monotonic() - begin


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Ask a store that no worker has open."""
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        return connection.execute(sql).fetchall()


def check_integrity(path: Path, tally: Tally) -> None:
    found = ask(path, "pragma integrity_check")
    tally.require(held=found == [("ok",)], claim=f"integrity_check says {found[:2]}")


def check_tags(path: Path, log: Log, tally: Tally) -> None:
    """Compare the log with the tags of a store: each once, and recorded once."""
    tags = [name for (name,) in ask(path, "select session_id from experiment_tags")]
    recorded = [name for (name,) in ask(path, "select session_id from ka_tag_log where action = 'tag'")]
    told = set(log.read())
    tally.acknowledged += len(told)
    tally.lost += len(told - set(tags)) + len(set(tags) - set(recorded))
    tally.doubled += len(tags) - len(set(tags)) + len(recorded) - len(set(recorded))
    check_integrity(path, tally)


def make_store(path: Path) -> None:
    def work() -> None:
        with Store.open(path, create=True) as store:
            save_experiment(store, make_experiment())

    run_whole(work)


def tag_all(path: Path, log: Log, names: list[str]) -> None:
    """Tag sessions one by one, telling the log of each after the store said that it is stored."""
    with Store.open(path) as store:
        for name in names:
            tag_session(store, EXPERIMENT, name, CONTROL)
            log.add(name)


# Killed inside a critical section

Section = tuple[Any, str]
"""Where a critical section is: the object that has the function, and the function's name."""


def announce(pipe: int, begin: Section, end: Section | None = None) -> None:
    """Write B into a pipe when the critical section begins in this process, and E when it has ended."""
    if end is None:
        _wrap(pipe, begin, b"B", b"E")
    else:
        _wrap(pipe, begin, b"B", b"")
        _wrap(pipe, end, b"", b"E")


def _wrap(pipe: int, section: Section, before: bytes, after: bytes) -> None:
    owner, name = section
    original = getattr(owner, name)

    @contextmanager
    def block(*args: Any, **options: Any) -> Iterator[Any]:
        with original(*args, **options) as value:
            os.write(pipe, before)
            yield value
        os.write(pipe, after)

    def call(*args: Any, **options: Any) -> Any:
        os.write(pipe, before)
        value = original(*args, **options)
        os.write(pipe, after)
        return value

    setattr(owner, name, block if name == "write" else call)


def kill_inside(
    work: Callable[[], None], rng: random.Random, longest_s: float, begin: Section, end: Section | None = None
) -> bool:
    """Run a worker, kill it soon after its critical section began, and say whether it was still inside."""
    reader, writer = os.pipe()

    def run() -> None:
        os.close(reader)
        announce(writer, begin, end)
        work()

    child = fork(run)
    os.close(writer)
    seen = os.read(reader, 1)
    time.sleep(rng.uniform(0, longest_s))
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    killed = finish(child) == -signal.SIGKILL
    while piece := os.read(reader, 4_096):
        seen += piece
    os.close(reader)
    return killed and seen.endswith(b"B")


def until_hit(tally: Tally, hits: int) -> Iterator[int]:
    """Count attempts until the fault has struck `hits` times inside; give up where it never does."""
    for attempt in range(10 * hits + 20):
        if tally.struck >= hits:
            return
        tally.runs += 1
        yield attempt
    tally.require(held=False, claim="the critical section was hardly ever hit")


def kill_tag(folder: Path, rng: random.Random, hits: int) -> Tally:
    path, log, tally = folder / "kaizen.db", Log(folder / "log"), Tally()
    make_store(path)
    for run in until_hit(tally, hits):
        names = [f"{run}-{number}" for number in range(40)]
        tally.struck += kill_inside(partial(tag_all, path, log, names), rng, 0.1, (Store, "write"))
    check_tags(path, log, tally)
    return tally


CONTENT = "select session_id, seq, ts_ms, kind, tool, payload, tokens_in, tokens_out, cost_usd_e6 from events"


def write_transcript(home: Path, name: str, turns: int) -> None:
    records = [
        record
        for turn in range(turns)
        for record in (
            prompt(f"{name}p{turn}", 2 * turn, session=name),
            answer(f"{name}a{turn}", 2 * turn + 1, f"{name}r{turn}", session=name),
        )
    ]
    transcript(home, name).write_bytes(lines(*records))


def transcript(home: Path, name: str) -> Path:
    folder = home / ".claude" / "projects" / "-repo-demo"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.jsonl"


def ingest(path: Path, home: Path) -> None:
    with Store.open(path, create=True) as store:
        run_ingest(store, [home], environment={})


def compare_with_one_ingest(path: Path, home: Path, tally: Tally) -> None:
    """Compare a store that went through a lot with one that was filled at once."""
    once = path.with_name("once.db")
    run_whole(partial(ingest, once, home))
    expected, found = ask(once, CONTENT), ask(path, CONTENT)
    tally.lost += len(set(expected) - set(found))
    tally.doubled += len(found) - len(set(expected) & set(found))
    check_integrity(path, tally)


def kill_ingest(folder: Path, rng: random.Random, hits: int) -> Tally:
    path, log, home, tally = folder / "kaizen.db", Log(folder / "log"), folder / "home", Tally()
    write_transcript(home, "first", 20)
    run_whole(partial(ingest, path, home))

    def work(names: list[str]) -> None:
        ingest(path, home)
        for name in names:
            log.add(name)

    written: list[str] = []
    for run in until_hit(tally, hits):
        write_transcript(home, f"s{run}", 5 + run % 20)
        written.append(f"s{run}")
        tally.struck += kill_inside(partial(work, list(written)), rng, 0.02, (Store, "write"))
        told, stored = set(log.read()), {name for (name,) in ask(path, "select id from sessions")}
        tally.lost += len(told - stored)
    tally.acknowledged = len(set(log.read()))
    run_whole(partial(ingest, path, home))
    compare_with_one_ingest(path, home, tally)
    return tally


FINDING = Finding(
    id="f1",
    kind="wrong_command",
    repository="/w",
    subject="",
    title="",
    seen="",
    times=1,
    sessions=1,
    days=1,
    exposed=1,
    exposure="sessions",
    cost_usd=None,
    tokens=None,
    usd_per_week=None,
    saving="",
    test="",
    change=Change(file="AGENTS.md", line="Run bun test."),
    evidence=(),
    is_new=None,
)


def fill_for_conclusion(path: Path) -> None:
    """Write running experiments, one with two tagged arms of ten ingested sessions, and a finding."""
    home = path.with_name("conclusion")
    for number in range(20):
        write_transcript(home, f"c{number}", 1 + number % 5)
    ingest(path, home)
    start_ms = 1_767_225_600_000 - DAY_MS
    with Store.open(path) as store:
        draft = make_experiment(created_at_ms=start_ms, duration_days=14)
        lifecycle.new_experiment(store, draft, Plan(planned_n=10))
        lifecycle.start(store, EXPERIMENT, now_ms=start_ms)
        for name in (DRAFT, RUNNING):
            lifecycle.new_experiment(store, make_experiment(id=name, created_at_ms=start_ms), Plan(planned_n=10))
        lifecycle.start(store, RUNNING, now_ms=start_ms)
        for arm, first in ((CONTROL, 0), (Classification.TREATMENT, 1)):
            lifecycle.tag(store, EXPERIMENT, [f"c{number}" for number in range(first, 20, 2)], arm, now_ms=start_ms)
        arms = {CONTROL: ArmContent(), Classification.TREATMENT: ArmContent(text="Plan first.")}
        lot = Randomisation(
            unit=Unit.SESSION,
            control_sha256=arms[CONTROL].sha256,
            treatment_sha256=arms[Classification.TREATMENT].sha256,
        )
        drawn = make_experiment(id=DRAWN, created_at_ms=start_ms)
        lifecycle.new_experiment(store, drawn, Plan(planned_n=10, randomisation=lot, control_share=0.5), arms)
        lifecycle.start(store, DRAWN, now_ms=start_ms + DAY_MS)
        write_retro(
            store, {}, {"f1": codec.write(FINDING)}, retro_id="r", workspace=None, window=(0, 1), computed_at_ms=1
        )


def kill_conclude(folder: Path, rng: random.Random, hits: int) -> Tally:
    template, log, tally = folder / "template.db", Log(folder / "log"), Tally()
    run_whole(partial(fill_for_conclusion, template))

    def work(path: Path) -> None:
        with Store.open(path) as store:
            lifecycle.conclude(store, EXPERIMENT, now_ms=1_767_225_600_000 + 20 * DAY_MS)
        log.add(path.name)

    # From the first write of the transaction to the end of its commit.
    section = ((lifecycle, "write_experiment"), (Store, "write"))
    for run in until_hit(tally, hits):
        path = Path(shutil.copy(template, folder / f"run-{run}.db"))
        tally.struck += kill_inside(partial(work, path), rng, 0.012, *section)
        told = path.name in log.read()
        tally.acknowledged += told
        counts = (_count_conclusion(path), told)
        tally.lost += counts not in {((0, 0, 0), False), ((1, 1, 20), False), ((1, 1, 20), True)}
        check_integrity(path, tally)
        if run % 10 == 0:  # what is undone can be done again
            if counts[0] == (0, 0, 0):
                run_whole(partial(work, path))
            tally.lost += _count_conclusion(path) != (1, 1, 20)
        path.unlink()
    return tally


def _count_conclusion(path: Path) -> tuple[object, ...]:
    """Return how many experiments are concluded, and how many results and sessions are frozen."""
    return tuple(
        ask(path, sql)[0][0]
        for sql in (
            "select count(*) from experiments where state = 'Concluded'",
            "select count(*) from ka_results",
            "select count(distinct session_id) from ka_samples",
        )
    )


def kill_report(folder: Path, rng: random.Random, runs: int) -> Tally:
    log, tally, out = Log(folder / "log"), Tally(runs=runs), folder / "reports"
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell('name: str = ""', metadata={"tags": ["parameters"]}),
            *(nbformat.v4.new_code_cell(f"print(name, {number})") for number in range(5)),
        ],
        metadata={"kaizen": {"title": "Sample"}},
    )
    source = folder / "sample.ipynb"
    source.write_text(nbformat.writes(notebook))
    report = load_report(source)

    def work() -> None:
        result = Runner().run(RunRequest(report=report, parameters={}, out=out, force=True))
        if result.exit_code == 0:
            log.add(result.record.run_id)

    whole_s = run_whole(work)
    for _ in range(runs):
        tally.struck += strike(fork(work), rng.uniform(0, whole_s), lambda: True)
        told = log.read()
        tally.lost += sum(not _is_whole(out / "sample" / run_id) for run_id in told)
        tally.require(held=_is_whole((out / "sample" / "latest").resolve()), claim="latest is no whole report")
    run_whole(work)
    tally.acknowledged = len(log.read())
    tally.doubled = len(log.read()) - len(set(log.read()))
    stray = [path.name for path in out.rglob(".*") if path.name != ".lock"]
    tally.require(held=not stray, claim=f"stray files: {stray[:3]}")
    return tally


def _is_whole(folder: Path) -> bool:
    """Whether the files of a report are those of its record."""
    if not (folder / "run.json").is_file():
        return False
    record = json.loads((folder / "run.json").read_text())
    return record["state"] == "success" and all(
        sha256((folder / output["path"]).read_bytes()).hexdigest() == output["sha256"] for output in record["outputs"]
    )


def kill_publish(folder: Path, rng: random.Random, hits: int) -> Tally:
    """Kill while the files of a report are written and moved to their place, as the runner does it."""
    log, tally, out = Log(folder / "log"), Tally(), folder / "sample"
    out.mkdir()

    def work(first: int) -> None:
        for number in range(first, first + 20):
            run_id = f"run-{number}"
            staging = publication.make_staging(out, run_id)
            page = f"page {number}".encode() * 10_000
            record = {"state": "success", "outputs": [{"path": "report.html", "sha256": sha256(page).hexdigest()}]}
            write_file(staging / "report.html", page)
            write_file(staging / "run.json", json.dumps(record).encode())
            publication.publish(staging, run_id)
            log.add(run_id)

    begin, end = (publication, "make_staging"), (publication, "publish")
    run_whole(partial(work, 0))
    for run in until_hit(tally, hits):
        child = partial(work, 20 * (run + 1))
        tally.struck += kill_inside(child, rng, 0.02, begin, end)
        latest = publication.resolve_latest(out)
        tally.require(held=latest is not None and _is_whole(latest), claim="latest is no whole report")
        tally.lost += sum(not _is_whole(out / run_id) for run_id in log.read()[-20:])
    tally.acknowledged = len(log.read())
    for left in publication.find_staging(out):
        publication.clear(left)
        left.rmdir()
    stray = [path.name for path in out.iterdir() if path.name.startswith(".") and not path.name.startswith(".latest-")]
    tally.require(held=not stray, claim=f"stray files: {stray[:3]}")
    return tally


def kill_export(folder: Path, rng: random.Random, hits: int) -> Tally:
    log, tally, path = Log(folder / "log"), Tally(), folder / "out" / "metrics.json"
    path.parent.mkdir()

    def work(version: int) -> None:
        for number in range(version, version + 20):
            frame = pl.DataFrame({"version": [number] * 2_000, "tokens": range(2_000)})
            write_table(frame, path)
            log.add(str(number))

    run_whole(partial(work, 0))
    for run in until_hit(tally, hits):
        tally.struck += kill_inside(partial(work, 20 * (run + 1)), rng, 0.004, (files, "_publish"))
        rows = json.loads(path.read_text())
        versions = {row["version"] for row in rows}
        tally.require(held=(len(rows), len(versions)) == (2_000, 1), claim="an export is not whole")
        tally.lost += max(versions) < int(log.read()[-1])
    tally.acknowledged = len(log.read())
    for left in path.parent.glob(".*"):
        os.utime(left, (0, 0))  # as the next export finds it some time later
    run_whole(partial(write_table, pl.DataFrame({"version": [1]}), path))
    stray = [found.name for found in path.parent.iterdir() if found != path]
    tally.require(held=not stray, claim=f"stray files: {stray[:3]}")
    return tally


# Disks that refuse


@contextmanager
def small_disk(folder: Path, size_kib: int) -> Iterator[Path]:
    """Mount a file system in memory; needs the right to mount."""
    place = folder / "disk"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        unmount(place)


def unmount(place: Path) -> None:
    """Take a file system away; what a command started may hold it for a moment longer than the command runs."""
    for _ in range(100):
        if subprocess.run(["umount", str(place)], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", str(place)], check=True)


def remount(place: Path, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(("remount", *options)), str(place)], check=True)


def full_disk(folder: Path, rng: random.Random, runs: int) -> Tally:
    tally = Tally(runs=runs)
    for run in range(runs):
        log = Log(folder / f"log-{run}")
        with small_disk(folder, 4_096) as place:
            path = place / "kaizen.db"
            make_store(path)
            used_kib = sum(file.stat().st_size for file in place.iterdir()) // 1024
            remount(place, f"size={used_kib + rng.randrange(100, 1_200)}k")
            names = [f"{number}{LONG}" for number in range(20_000)]
            tally.struck += finish(fork(partial(tag_all, path, log, names))) == REFUSED
            remount(place, "size=16m")
            run_whole(partial(tag_all, path, log, ["after"]))
            check_tags(path, log, tally)
    return tally


def tag_all_within(limit: int, path: Path, log: Log) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    tag_all(path, log, [f"{number}{LONG}" for number in range(20_000)])


def file_limit(folder: Path, rng: random.Random, runs: int) -> Tally:
    tally = Tally(runs=runs)
    for run in range(runs):
        path, log = folder / f"run-{run}.db", Log(folder / f"log-{run}")
        make_store(path)
        limit = path.stat().st_size + rng.randrange(20_000, 400_000)

        tally.struck += finish(fork(partial(tag_all_within, limit, path, log))) == REFUSED
        run_whole(partial(tag_all, path, log, ["after"]))
        check_tags(path, log, tally)
    return tally


def io_error(folder: Path, rng: random.Random, runs: int) -> Tally:
    return _fail_calls(folder, rng, runs, "write", (0.002, 0.005, 0.01))


def read_error(folder: Path, rng: random.Random, runs: int) -> Tally:
    return _fail_calls(folder, rng, runs, "read", (0.004, 0.006, 0.01), later=True)


def _fail_calls(
    folder: Path, rng: random.Random, runs: int, call: str, shares: tuple[float, ...], *, later: bool = False
) -> Tally:
    tally = Tally(runs=runs)
    for run in range(runs):
        path, log = folder / f"run-{run}.db", Log(folder / f"log-{run}")
        make_store(path)
        point = f"enable_random name=posix/io/rw/{call},probability={rng.choice(shares)},failinfo=5"
        control = str(folder / "control")
        how = ["-f", control] if later else ["-c", point]
        command = ["fiu-run", "-x", *how, sys.executable, str(STUBBORN), str(path), str(log.path), "150"]
        command += [control, point] if later else []
        for _ in range(60):  # DuckDB can end the process where a read fails; the work is taken up again
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            tally.struck += int(done.stdout) if done.returncode == 0 else 1
            if done.returncode == 0:
                break
        tally.require(held=done.returncode == 0, claim=f"the worker ended with {done.returncode}")
        check_tags(path, log, tally)
    return tally


def read_only(folder: Path, rng: random.Random, runs: int) -> Tally:
    tally = Tally(runs=runs)
    for run in range(runs):
        log = Log(folder / f"log-{run}")
        with small_disk(folder, 8_192) as place:
            path = place / "kaizen.db"
            make_store(path)
            names = [f"{number}" for number in range(1_000)]
            strike(fork(partial(tag_all, path, log, names)), rng.uniform(0, 0.05), partial(log.is_longer_than, 0))
            remount(place, "ro")
            tally.struck += finish(fork(partial(tag_all, path, log, ["never"]))) == REFUSED
            remount(place, "rw")
            tally.require(held="never" not in log.read(), claim="a write on a read-only disk was acknowledged")
            run_whole(partial(tag_all, path, log, ["after"]))
            check_tags(path, log, tally)
    return tally


def lost_wal(folder: Path, rng: random.Random, runs: int) -> Tally:
    """Ingest while a reader keeps the WAL, and go on without the WAL: the store is as before; an ingest mends it."""
    tally = Tally(runs=runs)
    for run in range(runs):
        place = folder / f"run-{run}"
        path, home, lost = place / "kaizen.db", place / "home", place / "lost.db"
        write_transcript(home, "first", 30)
        run_whole(partial(ingest, path, home))
        for part in range(4):
            write_transcript(home, f"s{part}", rng.randrange(5, 60))
        with hold(path, "begin", "select * from sessions"):
            run_whole(partial(ingest, path, home))
            tally.struck += path.with_name("kaizen.db-wal").stat().st_size > 0
            shutil.copy(path, lost)
        check_integrity(lost, tally)
        run_whole(partial(ingest, lost, home))
        compare_with_one_ingest(lost, home, tally)
        tally.acknowledged += ask(lost, "select count(*) from events")[0][0]
    return tally


def memory_limit(folder: Path, rng: random.Random, runs: int) -> Tally:
    """Ingest with little more address space than the libraries take, then without the limit."""
    tally = Tally(runs=runs)
    for run in range(runs):
        place = folder / f"run-{run}"
        path, home = place / "kaizen.db", place / "home"
        for part in range(3):
            write_transcript(home, f"s{part}", 1500)
        write_transcript(place / "warm", "s0", 1)
        tally.struck += finish(fork(partial(ingest_within, path, home, rng.randrange(6 << 20)))) != 0
        if path.exists() and path.stat().st_size:
            check_integrity(path, tally)
        run_whole(partial(ingest, path, home))
        compare_with_one_ingest(path, home, tally)
        tally.acknowledged += ask(path, "select count(*) from events")[0][0]
    return tally


def ingest_within(path: Path, home: Path, more: int) -> None:
    """Ingest with so many more bytes of address space than an open store has."""
    with Store.open(path, create=True) as store:
        run_ingest(store, [home.with_name("warm")], environment={})  # loads what an ingest needs
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more))
        run_ingest(store, [home], environment={})


INTO_STORE = (
    "retro --week 2026-W01",
    "outcomes",
    "exp new --name next --metric tokens_per_session --bind manual --target-pct -10 --variant-field x --all-workspaces",
    "exp edit DRAFT --name later",
    "exp start DRAFT",
    "exp tag EXPERIMENT later --future --variant control",
    "exp untag EXPERIMENT c1 --reason wrong",
    "exp conclude EXPERIMENT",
    "exp cancel RUNNING --reason wrong",
    "exp archive DRAFT",
    "exp assign DRAWN --unit-id u1 --record c1",
    "import ../kaizen.db",
    "retro decline f1 --reason wanted",
    "exp new --name drawn --metric tokens_per_session --assign session --target-pct -10 --all-workspaces",
    "sessions annotate c1 --score 2",
)
INTO_FILES = (
    "backup copy.db",
    "export sessions --to a.csv",
    "export metrics --to a.parquet",
    "export experiments --to a.json",
    "export retro --week 2026-W01 --to a.md",
    "export lake --to lake --lake-key ../lake.key",
    "exp report EXPERIMENT --out report.md",
    "report run portfolio --out reports",
    "retro --week 2026-W01 --out retros --format md",
    "metrics --out m.csv",
    "notebooks copy pages",
    "judge ../runs.csv --metric tokens --output page.html",
    "init --store new.db",
    "hooks install --agent claude_code --yes",
    "report due --schedules ../reports.toml --now 2026-01-06T08:00:00Z --out reports",
)
NAMES = {"EXPERIMENT": EXPERIMENT, "DRAFT": DRAFT, "RUNNING": RUNNING, "DRAWN": DRAWN}
WITHOUT_STORE = ("judge", "init", "hooks install", "report due")
"""Commands that take no store, or another one than that of the recipe."""
KAIZEN_EXPERIMENTS = "".join(
    f"insert into experiments values ('k{number}', 'n', 1, "
    f"'{codec.write(make_experiment(id=f'k{number}'))}', 'Draft', null);"
    for number in range(300)
)
SCHEDULE = '[weekly]\nreport = "portfolio"\ncron = "0 6 * * 1"\nformats = ["md"]\n'


def full_disk_commands(folder: Path, _: random.Random, runs: int) -> Tally:
    """Run every command that writes on a full disk: it says so, leaves nothing, and works once there is room."""
    tally, template, home = Tally(), folder / "template.db", folder / "more"
    run_whole(partial(fill_for_conclusion, template))
    run_script(folder / "kaizen.db", KAIZEN_SCHEMA + KAIZEN_EXPERIMENTS)
    for number in range(60):
        write_transcript(home, f"m{number}", 40)
    into_store = [
        ["ingest", "--home", str(home)],
        *([NAMES.get(word, word) for word in words.split()] for words in INTO_STORE),
    ]
    into_files = [[NAMES.get(word, word) for word in words.split()] for words in INTO_FILES]
    load_key(folder / "lake.key")
    (folder / "reports.toml").write_text(SCHEDULE)
    rows = [f"{arm},{number},{number // 2}" for number, arm in enumerate(("control", "treatment") * 12)]
    (folder / "runs.csv").write_text("\n".join(["arm,tokens,task", *rows]))
    with small_disk(folder, 16_384) as place:
        for command in (*into_store, *into_files) * runs:
            apart = command in into_files  # a store on a full disk would not even open
            path = Path(shutil.copy(template, (folder if apart else place) / "store.db"))
            fill(place / "filler", free=0 if apart or command[0] in {"exp", "sessions"} else 96 << 10)
            given = [] if " ".join(command).startswith(WITHOUT_STORE) else ["--store", str(path)]
            work = partial(run_command, place, [*command, *given], path)
            code = finish(fork(work))
            tally.runs += 1
            tally.struck += code == REFUSED
            name = " ".join(command[:2])
            tally.require(held=code in {0, REFUSED}, claim=f"{name} exited with {code}")
            (place / "filler").unlink()
            check_integrity(path, tally)
            stray = [
                one.name
                for one in place.rglob(".*")
                if one.name not in {".lock", ".claude"} and "staging" not in one.name
            ]
            tally.require(held=not stray, claim=f"{name} left {stray[:3]}")
            tally.require(held=code == 0 or finish(fork(work)) == 0, claim=f"{name} fails with room, too")
            for one in (*place.iterdir(), *folder.glob("store.db*")):
                shutil.rmtree(one) if one.is_dir() else one.unlink()
    return tally


def fill(file: Path, *, free: int) -> None:
    """Fill a disk with one file, but for so many bytes."""
    with suppress(OSError), file.open("wb", buffering=0) as opened:
        while True:
            opened.write(bytes(4_096))
    os.truncate(file, max(0, file.stat().st_size - free))


def run_command(place: Path, command: list[str], store: Path) -> None:
    """Run one command of the command line in this process, in a folder; hooks are installed in it."""
    os.chdir(place)
    os.environ |= {"KAIZEN_HOME": str(place.parent / "kaizen"), "KAIZEN_STORE": str(store)}
    if command[0] == "hooks":
        os.environ["HOME"] = str(place)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # it is the runner's, which prints its own result
    try:
        app(command, standalone_mode=False)
    except OSError as error:
        raise KaizenError(str(error)) from error  # as `main` does


def swapped_links(folder: Path, _: random.Random, runs: int) -> Tally:
    """While files are written, another process puts links in their place and in that of their folder."""
    tally, victim, out = Tally(runs=runs), folder / "victim", folder / "out"
    for place in (victim, out):
        place.mkdir()
        (place / "metrics.json").write_text("untouched")

    def swap() -> None:
        link, away = folder / "link", folder / "away"
        while True:
            with suppress(OSError):
                link.symlink_to(victim / "metrics.json")
                link.replace(out / "metrics.json")
            time.sleep(0.001)
            out.rename(away)
            out.symlink_to(victim, target_is_directory=True)
            time.sleep(0.001)
            out.unlink()
            away.rename(out)

    with suppress(OSError), hold_folder(out):  # the folder may be away at the end, which is told
        attacker = fork(swap)
        for number in range(200 * runs):
            with suppress(KaizenError):  # refused where the folder was swapped meanwhile
                write_table(pl.DataFrame({"version": [number]}), out / "metrics.json")
                tally.acknowledged += 1
            tally.struck += out.is_symlink() or (out / "metrics.json").is_symlink()
        os.kill(attacker, signal.SIGKILL)
        finish(attacker)
    found = [(path.name, path.read_text()) for path in victim.iterdir()]
    tally.require(held=found == [("metrics.json", "untouched")], claim="a link was followed")
    return tally


# Clocks and neighbours


def worker_command(work: str, path: Path, log: Log, count: int) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("run_faults.py")), "--worker", work, str(path), str(log.path),
            str(count)]  # fmt: skip


def clock(folder: Path, rng: random.Random, runs: int) -> Tally:
    tally = Tally(runs=runs)
    library = next(Path("/usr/lib").rglob("libfaketimeMT.so.1"))
    for run in range(runs):
        path, log, offset = folder / f"run-{run}.db", Log(folder / f"log-{run}"), folder / "offset"
        make_store(path)
        offset.write_text("+0\n")
        environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # a jump of the wall clock does not move the monotonic one
        }
        command = worker_command("clock", path, log, 150)
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                draft = offset.with_suffix(".next")
                draft.write_text(f"{rng.choice('+-')}{rng.randrange(1, 4_000)}d\n")
                draft.replace(offset)
                time.sleep(0.02)
            backwards = int(process.communicate()[0] or 0)
        tally.require(held=process.returncode == 0, claim=f"the worker exited with {process.returncode}")
        tally.struck += backwards
        check_tags(path, log, tally)
    return tally


def tag_watching_the_clock(path: Path, log: Log, count: int) -> int:
    """Tag sessions and return how often the clock went backwards meanwhile."""
    backwards, last = 0, time.time()
    with Store.open(path) as store:
        for number in range(count):
            tag_session(store, EXPERIMENT, f"s{number}", CONTROL)
            log.add(f"s{number}")
            now = time.time()
            backwards, last = backwards + (now < last), now
    return backwards


def eight_writers(folder: Path, rng: random.Random, runs: int) -> Tally:
    tally = Tally(runs=runs)
    for run in range(runs):
        path, log = folder / f"run-{run}.db", Log(folder / f"log-{run}")
        make_store(path)
        writers = []
        for writer in range(8):
            names = [f"{writer}-{number}" for number in range(100 if runs > 1 else 20)] + ["shared"]
            rng.shuffle(names)
            writers.append(fork(partial(tag_all, path, log, names)))
        codes = [finish(writer) for writer in writers]
        tally.require(held=codes == [0] * 8, claim=f"writers exited with {codes}")
        tally.struck += 1
        check_tags(path, log, tally)
    return tally


def tag_after_release(other: subprocess.Popen[str], path: Path, log: Log) -> None:
    release(other)  # a forked pipe that stays open here would keep the other program waiting
    tag_all(path, log, ["during", "later"])


def foreign_lock(folder: Path, rng: random.Random, runs: int) -> Tally:
    tally = Tally(runs=runs)
    for run in range(runs):
        path, log = folder / f"run-{run}.db", Log(folder / f"log-{run}")
        make_store(path)
        with hold(
            path, "begin immediate", "insert into experiment_tags values ('other', 'foreign', 'Control')"
        ) as other:
            child = fork(partial(tag_after_release, other, path, log))
            time.sleep(rng.uniform(1, 3))
            tally.require(held=log.read() == [], claim="a write went through another program's lock")
            tally.struck += 1
        tally.require(held=finish(child) == 0, claim="a lock of seconds was an error")
        check_integrity(path, tally)
        told = set(log.read())
        tags = {name for (name,) in ask(path, "select session_id from experiment_tags where experiment_id = 'exp-1'")}
        tally.acknowledged, tally.lost = tally.acknowledged + len(told), tally.lost + len(told - tags)
    return tally


def write_in_pieces(file: Path, whole: bytes, cuts: list[int]) -> None:
    with file.open("ab", buffering=0) as opened:
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            opened.write(whole[start:end])
            time.sleep(0.004)


def follow(writer: int, path: Path, home: Path, log: Log) -> None:
    """Ingest again and again while a writer lives; log for each time whether its last line was torn before."""
    while Path(f"/proc/{writer}").exists():
        torn = not transcript(home, "live").read_bytes().endswith(b"\n")
        ingest(path, home)
        log.add(f"{torn:d}")


def torn_line(folder: Path, rng: random.Random, runs: int) -> Tally:
    tally = Tally(runs=runs)
    for run in range(runs):
        place = folder / f"run-{run}"
        path, log, home = place / "kaizen.db", Log(place / "log"), place / "home"
        write_transcript(home, "live", 150)
        whole = transcript(home, "live").read_bytes()
        transcript(home, "live").write_bytes(b"")
        cuts = sorted(rng.randrange(len(whole)) for _ in range(300))

        writer = fork(partial(write_in_pieces, transcript(home, "live"), whole, cuts))
        follower = fork(partial(follow, writer, path, home, log))
        finish(writer)
        tally.require(held=finish(follower) == 0, claim="the reader failed")
        tally.struck += log.read().count("1")
        run_whole(partial(ingest, path, home))
        compare_with_one_ingest(path, home, tally)
        tally.acknowledged += ask(path, "select count(*) from events")[0][0]
    return tally
