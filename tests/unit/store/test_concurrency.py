"""Several writers at once, threads and processes, ours and a foreign one: nothing lost, nobody told 'locked'."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from store_cases import ENVIRONMENT, MODES, Crew, hold, make_experiment, release, run_foreign, try_foreign

from kaizen_analytics.core.errors import VariantConflictError
from kaizen_analytics.core.model import Classification
from kaizen_analytics.store import Store, load_experiment, manual_tags, save_experiment, tag_session

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.store.connection import _JournalMode

CONTROL, TREATMENT, _ = Classification


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "each"), [("WAL", 10), pytest.param("DELETE", 5, marks=pytest.mark.long)])
def test_eight_processes_tag_at_once_and_lose_nothing(crew: Crew, path: Path, mode: _JournalMode, each: int):
    Store.open(path, create=True, journal_mode=mode).close()
    # The same session in the same arm.
    assert crew.tell(f"tag|{path}|{mode}|same|Control|7|1") == ["done"] * 8
    # Different sessions.
    assert crew.tell(*(f"tag|{path}|{mode}|each|Control|{n * each}|{each}" for n in range(8))) == ["done"] * 8
    # The same session in two arms: one of them wins, and all others of the same arm are content.
    answers = crew.tell(*(f"tag|{path}|{mode}|rival|{variant}|0|1" for variant in ("Control", "Treatment")))

    assert run_foreign(path, "select * from experiment_tags where experiment_id = 'same'") == [
        ["same", "s7", "Control"]
    ]
    tags = run_foreign(path, "select session_id, variant from experiment_tags where experiment_id = 'each'")
    assert dict(tags) == {f"s{number}": "Control" for number in range(8 * each)}
    assert run_foreign(path, "select count(*) from ka_tag_log where experiment_id = 'each'") == [[8 * each]]

    [[winner]] = run_foreign(path, "select variant from experiment_tags where experiment_id = 'rival'")
    conflicts = [answer for answer in answers if answer != "done"]
    assert len(conflicts) == 4
    assert all("variant conflict: session s0" in answer and winner in answer for answer in conflicts)
    assert run_foreign(path, "pragma integrity_check") == [["ok"]]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "lock"), [("WAL", "begin immediate"), ("DELETE", "begin exclusive")])
def test_a_foreign_writer_that_holds_the_lock_for_a_second_only_delays(path: Path, mode: _JournalMode, lock: str):
    with Store.open(path, create=True, journal_mode=mode) as store, hold(path, lock) as other:
        assert not try_foreign(path, "begin immediate")
        threading.Timer(1, release, [other]).start()
        save_experiment(store, make_experiment())
        tag_session(store, "exp-1", "s", CONTROL)
    assert run_foreign(path, "select * from experiment_tags") == [["exp-1", "s", "Control"]]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_foreign_reader_does_not_lose_a_write(path: Path, mode: _JournalMode):
    with Store.open(path, create=True, journal_mode=mode) as store:
        with hold(path, "begin", "select * from experiments") as other:
            threading.Timer(0.3, release, [other]).start()
            tag_session(store, "exp-1", "s", CONTROL)
        assert manual_tags(store, "exp-1") == {"s": CONTROL}


@pytest.mark.slow
def test_a_foreign_process_and_threads_of_ours_write_together(store: Store, path: Path):
    foreign = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for number in range(200):
    db.execute("insert into experiment_tags values ('exp-1', ?, 'Treatment')", [f"f{number}"])
"""
    with subprocess.Popen([sys.executable, "-c", foreign, str(path)]) as process:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: tag_session(store, "exp-1", f"s{number}", CONTROL), range(100)))
        assert process.wait() == 0
    tags = manual_tags(store, "exp-1")
    assert (len(tags), list(tags.values()).count(CONTROL)) == (300, 100)


def test_threads_that_disagree_agree_on_one_variant(store: Store):
    def tag(number: int) -> str:
        try:
            tag_session(store, "exp-1", "s", (CONTROL, TREATMENT)[number % 2])
        except VariantConflictError:
            return "conflict"
        return "done"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(tag, range(8)))
    assert answers.count("conflict") == 4
    assert list(manual_tags(store, "exp-1")) == ["s"]


def test_experiments_saved_at_once_keep_one_time_of_creation(store: Store):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: save_experiment(store, make_experiment(created_at_ms=number)), range(1, 9)))
    loaded = load_experiment(store, "exp-1")
    [(created_at_ms,)] = store.native("select created_at_ms from experiments")
    assert loaded == make_experiment(created_at_ms=int(created_at_ms))


BATCH_WRITER = """
import sys
from kaizen_analytics.core.model import Classification
from kaizen_analytics.store import Store, save_experiment, tag_sessions
from store_cases import make_experiment
store = Store.open(sys.argv[1])
print("ready", flush=True)
for number in range(10_000):
    with store.write():
        save_experiment(store, make_experiment(id=f"e{number}"))
        tag_sessions(store, f"e{number}", [f"s{i}" for i in range(50)], Classification.CONTROL)
    print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(2))
def test_a_killed_writer_loses_nothing_it_has_reported(path: Path, mode: _JournalMode, seed: int):
    Store.open(path, create=True, journal_mode=mode).close()
    command = [sys.executable, "-c", BATCH_WRITER.replace("argv[1]", f"argv[1], journal_mode='{mode}'"), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout.readline() == "ready\n"
        first = process.stdout.readline()
        time.sleep(random.Random(seed).uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        reported = [int(line) for line in (first + process.stdout.read()).split()]

    with Store.open(path, journal_mode=mode) as store:
        tag_session(store, "after", "s", CONTROL)
    counts = dict(run_foreign(path, "select experiment_id, count(*) from experiment_tags group by 1"))
    assert counts.pop("after") == 1
    assert counts == {f"e{number}": 50 for number in range(len(counts))}
    assert len(counts) - len(reported) in (0, 1)
    assert run_foreign(path, "select count(*) from experiments") == [[len(counts)]]
    assert run_foreign(path, "pragma integrity_check") == [["ok"]]
