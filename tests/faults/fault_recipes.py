"""What can go wrong while a store, a report or an export is written, done on purpose, and what must hold afterwards.

A recipe does some work again and again while something happens to it: the process is killed, the disk is full. The
worker writes the id of everything that it was told is stored into an append-only log on a healthy disk. Afterwards
each id in the log must be in the store, once, and SQLite must find the file whole.

Workers are forked from a process that has the libraries loaded and no store open. That process looks at the files
with Python's sqlite3, the workers only with ours: one process never uses two SQLite libraries on one file.
"""

from __future__ import annotations

import hashlib
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
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS / "unit" / "ingest"), str(TESTS / "unit" / "store")]

import nbformat  # noqa: E402 - the path is set above
import polars as pl  # noqa: E402
from ingest_lines import answer, lines, prompt  # noqa: E402
from store_cases import hold, make_experiment, release  # noqa: E402

import kaizen_analytics.reports.preload  # noqa: E402, F401 - loaded once, before the forks
from kaizen_analytics.errors import KaizenError, StoreError  # noqa: E402
from kaizen_analytics.experiments import lifecycle  # noqa: E402
from kaizen_analytics.experiments.plan import Plan  # noqa: E402
from kaizen_analytics.exports import write_table  # noqa: E402
from kaizen_analytics.ingest.pipeline import run_ingest  # noqa: E402
from kaizen_analytics.model import Classification  # noqa: E402
from kaizen_analytics.reports.catalogue import read_report  # noqa: E402
from kaizen_analytics.reports.runner import Runner, RunRequest  # noqa: E402
from kaizen_analytics.store import Store, save_experiment, tag_session  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXPERIMENT = "exp-1"
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

    def read(self) -> list[str]:
        return self.path.read_text().split("\n")[:-1] if self.path.exists() else []


def write_surely(descriptor: int, text: str) -> None:
    """Write a short text also where calls fail at random: the log is no part of the experiment."""
    for _ in range(1_000):
        with suppress(OSError):
            os.write(descriptor, text.encode())
            return
    raise AssertionError("the log cannot be written")


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


def tag_all(path: Path, log: Log, names: list[str], *, opened: Callable[[], None] = lambda: None) -> None:
    """Tag sessions one by one, telling the log of each after the store said that it is stored."""
    with Store.open(path) as store:
        opened()
        for name in names:
            tag_session(store, EXPERIMENT, name, CONTROL)
            log.add(name)


# Killed at random points


def kill_tag(folder: Path, rng: random.Random, runs: int) -> Tally:
    path, log, tally = folder / "kaizen.db", Log(folder / "log"), Tally(runs=runs)
    make_store(path)
    for run in range(runs):
        names = [f"{run}-{number}" for number in range(1_000)]
        before = len(log.read())
        child = fork(lambda names=names: tag_all(path, log, names))
        tally.struck += strike(child, rng.uniform(0, 0.25), lambda before=before: len(log.read()) > before)
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
    run_whole(lambda: ingest(once, home))
    expected, found = ask(once, CONTENT), ask(path, CONTENT)
    tally.lost += len(set(expected) - set(found))
    tally.doubled += len(found) - len(set(expected) & set(found))
    check_integrity(path, tally)


def kill_ingest(folder: Path, rng: random.Random, runs: int) -> Tally:
    path, log, home, tally = folder / "kaizen.db", Log(folder / "log"), folder / "home", Tally(runs=runs)
    write_transcript(home, "first", 20)
    whole_s = run_whole(lambda: ingest(path, home))

    def work(names: list[str]) -> None:
        ingest(path, home)
        for name in names:
            log.add(name)

    written: list[str] = []
    for run in range(runs):
        for part in range(3):
            write_transcript(home, f"s{run}-{part}", 5 + 10 * part)
            written.append(f"s{run}-{part}")
        tally.struck += strike(fork(lambda: work(list(written))), rng.uniform(0, 1.5 * whole_s), lambda: True)
        told, stored = set(log.read()), {name for (name,) in ask(path, "select id from sessions")}
        tally.lost += len(told - stored)
    tally.acknowledged = len(set(log.read()))
    run_whole(lambda: ingest(path, home))
    compare_with_one_ingest(path, home, tally)
    return tally


def fill_for_conclusion(path: Path) -> None:
    """Write a running experiment with two tagged arms of ten ingested sessions."""
    home = path.with_name("conclusion")
    for number in range(20):
        write_transcript(home, f"c{number}", 1 + number % 5)
    ingest(path, home)
    start_ms = 1_767_225_600_000 - DAY_MS
    with Store.open(path) as store:
        draft = make_experiment(created_at_ms=start_ms, duration_days=14)
        lifecycle.new_experiment(store, draft, Plan(planned_n=10))
        lifecycle.start(store, EXPERIMENT, now_ms=start_ms)
        for arm, first in ((CONTROL, 0), (Classification.TREATMENT, 1)):
            lifecycle.tag(store, EXPERIMENT, [f"c{number}" for number in range(first, 20, 2)], arm, now_ms=start_ms)


def kill_conclude(folder: Path, rng: random.Random, runs: int) -> Tally:
    template, log, tally = folder / "template.db", Log(folder / "log"), Tally(runs=runs)
    run_whole(lambda: fill_for_conclusion(template))

    def work(path: Path) -> None:
        with Store.open(path) as store:
            lifecycle.conclude(store, EXPERIMENT, now_ms=1_767_225_600_000 + 20 * DAY_MS)
        log.add(path.name)

    rehearsal = shutil.copy(template, folder / "rehearsal.db")
    whole_s = run_whole(lambda: work(Path(rehearsal)))
    for run in range(runs):
        path = Path(shutil.copy(template, folder / f"run-{run}.db"))
        tally.struck += strike(fork(lambda path=path: work(path)), rng.uniform(0, whole_s), lambda: True)
        told = path.name in log.read()
        tally.acknowledged += told
        counts = (_count_conclusion(path), told)
        tally.lost += counts not in {((0, 0, 0), False), ((1, 1, 20), False), ((1, 1, 20), True)}
        if counts[0] == (0, 0, 0):
            run_whole(lambda path=path: work(path))
        tally.lost += _count_conclusion(path) != (1, 1, 20)
        check_integrity(path, tally)
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
    report = read_report(source)

    def work() -> None:
        result = Runner(fast=True).run(RunRequest(report=report, parameters={}, out=out, force=True))
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
        hashlib.sha256((folder / output["path"]).read_bytes()).hexdigest() == output["sha256"]
        for output in record["outputs"]
    )


def kill_export(folder: Path, rng: random.Random, runs: int) -> Tally:
    log, tally, path = Log(folder / "log"), Tally(runs=runs), folder / "out" / "metrics.json"
    path.parent.mkdir()

    def work(version: int) -> None:
        for number in range(version, version + 1_000):
            frame = pl.DataFrame({"version": [number] * 2_000, "tokens": range(2_000)})
            write_table(frame, path)
            log.add(str(number))

    for run in range(runs):
        before = len(log.read())
        child = fork(lambda run=run: work(1_000 * run))
        tally.struck += strike(child, rng.uniform(0, 0.1), lambda before=before: len(log.read()) > before)
        rows = json.loads(path.read_text())
        versions = {row["version"] for row in rows}
        tally.require(held=(len(rows), len(versions)) == (2_000, 1), claim="an export is not whole")
        tally.lost += max(versions) < int(log.read()[-1])
    tally.acknowledged = len(log.read())
    for left in path.parent.glob(".*"):
        os.utime(left, (0, 0))  # as the next export finds it some time later
    run_whole(lambda: write_table(pl.DataFrame({"version": [1]}), path))
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
            tally.struck += finish(fork(lambda names=names, path=path, log=log: tag_all(path, log, names))) == REFUSED
            remount(place, "size=16m")
            run_whole(lambda path=path, log=log: tag_all(path, log, ["after"]))
            check_tags(path, log, tally)
    return tally


def file_limit(folder: Path, rng: random.Random, runs: int) -> Tally:
    tally = Tally(runs=runs)
    for run in range(runs):
        path, log = folder / f"run-{run}.db", Log(folder / f"log-{run}")
        make_store(path)
        limit = path.stat().st_size + rng.randrange(20_000, 400_000)

        def work(path: Path = path, log: Log = log, limit: int = limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            tag_all(path, log, [f"{number}{LONG}" for number in range(20_000)])

        tally.struck += finish(fork(work)) == REFUSED
        run_whole(lambda path=path, log=log: tag_all(path, log, ["after"]))
        check_tags(path, log, tally)
    return tally


def input_output_error(folder: Path, rng: random.Random, runs: int) -> Tally:
    tally = Tally(runs=runs)
    for run in range(runs):
        path, log = folder / f"run-{run}.db", Log(folder / f"log-{run}")
        make_store(path)
        share = rng.choice((0.002, 0.005, 0.01))
        point = f"enable_random name=posix/io/rw/write,probability={share},failinfo=5"
        command = ["fiu-run", "-x", "-c", point, *worker_command("stubborn", path, log, 150)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        tally.struck += int(done.stdout)
        check_tags(path, log, tally)
    return tally


def tag_stubbornly(path: Path, log: Log, count: int) -> int:
    """Tag sessions, opening the store again after each error, and return how many errors there were."""
    names, errors = [f"s{number}" for number in range(count)], 0
    while names and errors < 300:
        try:
            with Store.open(path) as store:
                while names:
                    tag_session(store, EXPERIMENT, names[0], CONTROL)
                    log.add(names.pop(0))
        except StoreError:
            errors += 1
    return errors


def read_only_disk(folder: Path, rng: random.Random, runs: int) -> Tally:
    tally = Tally(runs=runs)
    for run in range(runs):
        log = Log(folder / f"log-{run}")
        with small_disk(folder, 8_192) as place:
            path = place / "kaizen.db"
            make_store(path)
            names = [f"{number}" for number in range(1_000)]
            strike(
                fork(lambda names=names, path=path, log=log: tag_all(path, log, names)),
                rng.uniform(0, 0.05),
                lambda log=log: bool(log.read()),
            )
            remount(place, "ro")
            tally.struck += finish(fork(lambda path=path, log=log: tag_all(path, log, ["never"]))) == REFUSED
            remount(place, "rw")
            tally.require(held="never" not in log.read(), claim="a write on a read-only disk was acknowledged")
            run_whole(lambda path=path, log=log: tag_all(path, log, ["after"]))
            check_tags(path, log, tally)
    return tally


# Clocks and neighbours


def worker_command(work: str, path: Path, log: Log, count: int) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("run_faults.py")), "--worker", work, str(path), str(log.path),
            str(count)]  # fmt: skip


def clock_jumps(folder: Path, rng: random.Random, runs: int) -> Tally:
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
            writers.append(fork(lambda names=names, path=path, log=log: tag_all(path, log, names)))
        codes = [finish(writer) for writer in writers]
        tally.require(held=codes == [0] * 8, claim=f"writers exited with {codes}")
        tally.struck += 1
        check_tags(path, log, tally)
    return tally


def foreign_lock(folder: Path, rng: random.Random, runs: int) -> Tally:
    tally = Tally(runs=runs)
    for run in range(runs):
        path, log = folder / f"run-{run}.db", Log(folder / f"log-{run}")
        make_store(path)
        with hold(
            path, "begin immediate", "insert into experiment_tags values ('other', 'foreign', 'Control')"
        ) as other:

            def work(path: Path = path, log: Log = log, other: subprocess.Popen[str] = other) -> None:
                release(other)  # a forked pipe that stays open here would keep the other program waiting
                tag_all(path, log, ["during", "later"])

            child = fork(work)
            time.sleep(rng.uniform(1, 3))
            tally.require(held=log.read() == [], claim="a write went through another program's lock")
            tally.struck += 1
        tally.require(held=finish(child) == 0, claim="a lock of seconds was an error")
        check_integrity(path, tally)
        told = set(log.read())
        tags = {name for (name,) in ask(path, "select session_id from experiment_tags where experiment_id = 'exp-1'")}
        tally.acknowledged, tally.lost = tally.acknowledged + len(told), tally.lost + len(told - tags)
    return tally


def torn_line(folder: Path, rng: random.Random, runs: int) -> Tally:
    tally = Tally(runs=runs)
    for run in range(runs):
        place = folder / f"run-{run}"
        path, log, home = place / "kaizen.db", Log(place / "log"), place / "home"
        write_transcript(home, "live", 150)
        whole = transcript(home, "live").read_bytes()
        transcript(home, "live").write_bytes(b"")
        cuts = sorted(rng.randrange(len(whole)) for _ in range(300))

        def write(whole: bytes = whole, cuts: list[int] = cuts, home: Path = home) -> None:
            with transcript(home, "live").open("ab", buffering=0) as file:
                for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
                    file.write(whole[start:end])
                    time.sleep(0.004)

        def follow(path: Path = path, log: Log = log, home: Path = home, writer: int = 0) -> None:
            while Path(f"/proc/{writer}").exists():
                torn = not transcript(home, "live").read_bytes().endswith(b"\n")
                ingest(path, home)
                log.add(f"{torn:d}")

        writer = fork(write)
        follower = fork(lambda follow=follow, writer=writer: follow(writer=writer))
        finish(writer)
        tally.require(held=finish(follower) == 0, claim="the reader failed")
        tally.struck += log.read().count("1")
        run_whole(lambda path=path, home=home: ingest(path, home))
        compare_with_one_ingest(path, home, tally)
        tally.acknowledged += ask(path, "select count(*) from events")[0][0]
    return tally
