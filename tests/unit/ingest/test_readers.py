"""Files that other processes read ahead: the store is the one that a single process makes, whatever becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ingest_lines import answer, claude_file, codex_file, counts, lines, meta, prompt, token_count, turn
from test_pipeline import content_of

from kaizen_analytics.ingest import pipeline, readers
from kaizen_analytics.ingest.discover import Source
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.ingest.readers import Readers
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.store import Store

_HOLD = """
import sys, time
from pathlib import Path
from kaizen_analytics.ingest import readers
from kaizen_analytics.ingest.discover import Source
from kaizen_analytics.ingest.records import Agent
readers._LEAST_BYTES = readers._SMALL_BYTES = 0
readers.os.sched_getaffinity = lambda _: range(3)
with readers.Readers([Source(Path(sys.argv[1]), Agent.CODEX, 1, 0)], {}) as held:
    print(*(one.pid for one in held._processes), flush=True)
    time.sleep(600)
"""


@pytest.fixture
def with_readers(monkeypatch):
    """Have readers for a handful of files, on as many processors as it takes."""
    monkeypatch.setattr(readers, "_LEAST_BYTES", 0)
    monkeypatch.setattr(readers, "_SMALL_BYTES", 0)
    monkeypatch.setattr(readers, "_SLICE_FILES", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3), raising=False)


@pytest.fixture
def full(home):
    """A home with sessions of two agents, copied history, a reject, a torn line, and a file that cannot be read."""
    for number in range(9):
        session, at_s = f"s{number}", number * 60
        own = [
            prompt(f"u{number}", at_s, session=session),
            answer(f"a{number}", at_s + 9, f"m{number}", session=session),
        ]
        copied = [prompt("u0", 0, session="s0"), answer("a0", 9, "m0", session="s0")] if number == 4 else []
        claude_file(home, session, lines(*copied, *own) + (b'"text"\n{"type":' if number == 5 else b""))
        rollout = lines(meta(f"0{number}"), turn(1), token_count(2, counts(9, 1, 3, 1), counts(9, 1, 3, 1)))
        codex_file(home, f"rollout-2026-01-01T00-00-0{number}-0{number}", rollout)
    (home / ".codex/sessions/2026/01/01/rollout-9.jsonl.gz").write_bytes(b"damaged")
    return home


def stored(home, path, **options):
    with Store.open(path, create=True) as store:
        summary = run_ingest(store, [home], environment={}, **options).to_json()
        return content_of(store), summary


@pytest.fixture
def alone(full, tmp_path, monkeypatch):
    """What a process makes of `full` that has no readers."""
    with monkeypatch.context() as patched:
        patched.setattr(readers, "_LEAST_BYTES", 2**60)
        return stored(full, tmp_path / "alone.db")


@pytest.mark.usefixtures("with_readers")
def test_readers_read_what_one_process_would_have_read(full, alone, tmp_path, monkeypatch):
    opened = []
    read_source = pipeline.read_source
    monkeypatch.setattr(
        pipeline, "read_source", lambda *given: opened.append(given[0].path.name) or read_source(*given)
    )
    assert stored(full, tmp_path / "new.db") == alone
    assert opened == ["rollout-9.jsonl.gz"]  # read once more, for what is wrong with it
    assert any("rollout-9.jsonl.gz cannot be read" in warning for warning in alone[1]["warnings"])


@pytest.mark.usefixtures("with_readers")
def test_a_file_that_another_batch_stored_meanwhile_is_not_taken_from_a_reader(full, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "_BATCH_FILES", 1)  # s4 brings the owner of its copies into its own batch
    once = stored(full, tmp_path / "new.db")
    again = stored(full, tmp_path / "new.db", full=True)
    assert again[0] == once[0]
    assert again[1]["agents"]["claude_code"]["new_events"] == 0


@pytest.mark.usefixtures("with_readers")
@pytest.mark.parametrize(
    "code",
    [
        "pass",
        "print('no work')",
        "import os, sys; sys.stdin.buffer.read(9); os.kill(os.getpid(), 9)",
        "import pickle, sys; sys.stdout.buffer.write(pickle.dumps({})[:-1])",
        None,
    ],
)
def test_readers_that_fail_cost_nothing(full, alone, tmp_path, monkeypatch, code):
    def start():
        if code is None:
            raise BlockingIOError("no process is left")
        return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(readers, "_start", start)
    assert stored(full, tmp_path / "new.db") == alone


@pytest.mark.parametrize(("processors", "least", "expected"), [(1, 0, 0), (2, 0, 1), (64, 0, 3), (64, 1000, 0)])
def test_there_are_as_many_readers_as_there_is_use_for(monkeypatch, processors, least, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(processors), raising=False)
    monkeypatch.setattr(readers, "_LEAST_BYTES", least)
    monkeypatch.setattr(readers, "_SMALL_BYTES", 0)
    with Readers([Source(Path("/nowhere/a.jsonl"), Agent.CODEX, 999, 0)], {}) as found:
        processes = found._processes
    assert len(processes) == expected
    assert all(process.returncode is not None for process in processes)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="Linux tells there whether a process lives")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_reader_outlives_its_ingest(tmp_path, name):
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "a.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
        pids = run.stdout.readline().split()
        assert len(pids) == 2
        assert all(map(_is_alive, pids))
        run.send_signal(getattr(signal, name))
        run.wait(60)
    deadline = time.monotonic() + 60
    while any(map(_is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(_is_alive, pids))


def _is_alive(pid):
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # that of a process that has ended is empty
    except OSError:
        return False
