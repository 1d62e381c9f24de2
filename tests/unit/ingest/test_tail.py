"""Live: events arrive within a second, whatever happens to the folders meanwhile."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from ingest_lines import answer, claude_file, codex_file, line, lines, meta, prompt, usage

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.ingest.tail import follow
from kaizen_analytics.store import Store

PATIENCE_S = 20


class Follower:
    """Follows a home in a thread and collects what it yields."""

    def __init__(self, path, home, **options):
        self.events, self.stop, self.error = [], threading.Event(), None
        self._path, self._home, self._options = path, home, options
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _run(self):
        with Store.open(self._path, create=True) as store:
            for event in follow(store, [self._home], stop=self.stop, **self._options):
                self.events.append(event)

    def wait_for(self, found):
        """Wait until some event satisfies `found`, and return it."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for event in list(self.events):
                if found(event):
                    return event
            time.sleep(0.02)
        pytest.fail(f"not among {self.events}")


def session(event):
    return event.columns["session_id"]


@pytest.fixture
def home(tmp_path):
    claude_file(tmp_path / "home", "before", line(prompt("old", 1, session="before")))
    return tmp_path / "home"


def ready(follower, home):
    """Write until the follower has seen it: then it is watching."""
    deadline, n = time.monotonic() + PATIENCE_S, 0
    path = claude_file(home, "probe", b"")
    while not follower.events and time.monotonic() < deadline:
        n += 1
        with path.open("ab") as handle:
            handle.write(line(prompt(f"probe{n}", n, session="probe")))
        time.sleep(0.3)


@pytest.mark.slow
def test_events_are_yielded_and_stored_as_they_are_written(tmp_path, home):
    with Follower(tmp_path / "s.db", home) as follower:
        ready(follower, home)
        path = claude_file(home, "s1", line(answer("a", 1, "m1", tokens=usage(output=1), stop=None)))
        first = follower.wait_for(lambda event: session(event) == "s1")
        with path.open("ab") as handle:
            handle.write(line(answer("b", 2, "m1", tokens=usage(output=50))))
        completed = follower.wait_for(lambda event: event.completed)

    assert (first.columns["tokens_out"], completed.columns["tokens_out"]) == (1, 50)
    assert "before" not in {session(event) for event in follower.events}
    with Store.open(tmp_path / "s.db") as store:
        assert store.native("select tokens_out from events where session_id = 's1'") == [("50",)]
        assert store.native("select count(*) from events where session_id = 'before'") == [("1",)]


@pytest.mark.slow
def test_new_folders_deleted_files_and_a_replaced_root_are_survived(tmp_path, home):
    with Follower(tmp_path / "s.db", home) as follower:
        ready(follower, home)
        claude_file(home, "deep", line(prompt("d", 1, session="deep")), slug="-new-place")
        follower.wait_for(lambda event: session(event) == "deep")
        shutil.rmtree(home / ".claude")
        codex_file(home, "c1", lines(meta("c1")))
        claude_file(home, "again", line(prompt("e", 1, session="again")))
        follower.wait_for(lambda event: session(event) == "again")


def test_a_home_without_transcripts_is_an_error_that_says_what_was_expected(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()

    with Store.open(tmp_path / "s.db", create=True) as store, pytest.raises(ConfigError, match=r"holds \.claude"):
        next(follow(store, [empty]))


WRITER = """
import json, sys, time
path, records = sys.argv[1], json.load(sys.stdin)
for record in records:
    text = json.dumps(record) + "\\n"
    for part in (text[:40], text[40:]):
        with open(path, "a") as file:
            file.write(part)
        time.sleep(0.02)
"""
"""A process that writes each line in two pieces."""


def start_writer(path, records):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE)
    writer.stdin.write(json.dumps(records).encode())
    writer.stdin.close()
    return writer


@pytest.mark.slow
def test_every_line_of_a_writing_process_arrives_once_at_each_of_two_followers(tmp_path, home):
    records = [answer(f"u{n}", n, f"m{n}", session="live") for n in range(30)]
    with Follower(tmp_path / "s.db", home) as one, Follower(tmp_path / "s.db", home) as other:
        ready(one, home)
        ready(other, home)
        writer = start_writer(claude_file(home, "live", b""), records)
        for follower in (one, other):
            follower.wait_for(lambda event: (session(event), event.columns["seq"]) == ("live", 29))
        assert writer.wait(PATIENCE_S) == 0

    for follower in (one, other):
        seen = [event.columns["seq"] for event in follower.events if session(event) == "live"]
        assert seen == list(range(30))


@pytest.mark.slow
def test_an_interrupted_tail_leaves_a_store_that_the_next_ingest_completes(tmp_path, home):
    path = claude_file(home, "live", b"")
    command = [sys.executable, "-m", "kaizen_analytics", "tail", "--json", "--store", str(tmp_path / "s.db")]
    tail = subprocess.Popen([*command, "--home", str(home)], stdout=subprocess.PIPE)
    writer = start_writer(path, [answer(f"u{n}", n, f"m{n}", session="live") for n in range(1000)])
    assert json.loads(tail.stdout.readline())["session_id"] == "live"

    tail.send_signal(signal.SIGINT)

    assert tail.wait(PATIENCE_S) == 130
    tail.stdout.close()
    writer.kill()
    writer.wait(PATIENCE_S)
    complete = path.read_bytes().count(b"\n")
    totals = "select count(*), count(distinct seq), sum(tokens_out) from events where session_id = 'live'"
    with Store.open(tmp_path / "s.db") as store:
        run_ingest(store, [home])
        assert store.native(totals) == [(str(complete), str(complete), str(5 * complete))]


@pytest.mark.slow
def test_a_system_that_has_no_watch_left_is_polled(tmp_path, home, monkeypatch):
    import watchfiles

    def refuse(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(watchfiles, "watch", refuse)
    with Follower(tmp_path / "s.db", home) as follower:
        ready(follower, home)

    assert follower.events
