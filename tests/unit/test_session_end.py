"""The end of a session starts one ingest in the background, whatever is broken, and holds up nobody."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kaizen_analytics import session_end
from kaizen_analytics.agent_settings import hook_command
from kaizen_analytics.store import Store


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a repository, and in place of Python a program that notes its folder and waits."""
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\npwd >> "$HOME/started"\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    for name in ("repo", "other"):
        (tmp_path / name / ".git").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def start(home: Path):
    """Return a function that starts an ingest in a folder; all are ended with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(folder: Path, **environment: str) -> subprocess.Popen[bytes] | None:
        found = {"HOME": str(home), "KAIZEN_HOME": str(home / "kaizen"), "PATH": os.environ["PATH"], **environment}
        process = session_end._start_ingest(folder, found)
        started.extend([process] if process else [])
        return process

    yield run
    for process in started:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_one_ingest_runs_for_a_repository_until_it_ends_however_it_ends(home: Path, start):
    process = start(home / "repo")
    assert process is not None
    assert [start(home / "repo") for _ in range(3)] == [None] * 3
    assert start(home / "other") is not None
    end(process)
    assert start(home / "repo") is not None


def test_worktrees_and_subfolders_share_the_ingest_of_their_repository_and_a_named_store_is_one(home: Path, start):
    own = home / "repo" / ".git" / "worktrees" / "w"
    own.mkdir(parents=True)
    for folder in ("worktree", "repo/src"):
        (home / folder).mkdir()
    (home / "worktree" / ".git").write_text(f"gitdir: {own}\n")

    assert start(home / "worktree") is not None
    assert [start(home / "repo"), start(home / "repo" / "src")] == [None, None]
    store = {"KAIZEN_STORE": str(home / "all.db")}
    assert start(home / "repo", **store) is not None
    assert start(home / "other", **store) is None


def test_a_session_whose_folder_is_gone_is_read_from_the_folder_above(home: Path, start):
    assert start(home / "repo" / ".claude" / "worktrees" / "gone") is not None
    deadline = time.monotonic() + 20
    while not (home / "started").exists() or not (home / "started").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (home / "started").read_text() == f"{home / 'repo'}\n"


def call(home: Path, text: str, agent: str = "claude_code") -> subprocess.CompletedProcess[str]:
    """Call the installed hook as an agent does."""
    command = [*hook_command(is_project=False, home=str(home / "kaizen")), "--agent", agent, "--ingest"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    return subprocess.run(command, input=text, capture_output=True, text=True, env=environment, check=False, timeout=60)


def wait_for_the_ingest(home: Path) -> None:
    [log] = (home / "kaizen" / "hooks").glob("ingest-*.log")
    with log.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["claude_code", "cursor"])
def test_what_a_session_wrote_is_in_the_store_after_its_end_also_when_the_store_was_busy(tmp_path: Path, agent: str):
    repo = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", repo], check=True)
    prompt = {"type": "user", "uuid": "u1", "sessionId": "s1", "timestamp": "2026-01-01T00:00:00Z", "cwd": str(repo)}
    transcript = tmp_path / ".claude" / "projects" / "-repo" / "s1.jsonl"
    transcript.parent.mkdir(parents=True)
    transcript.write_text(json.dumps({**prompt, "message": {"role": "user", "content": "please"}}) + "\n")
    ended = {"hook_event_name": "SessionEnd", "session_id": "s1", "cwd": str(repo), "reason": "other"}
    if agent == "cursor":
        ended = {"hook_event_name": "sessionEnd", "conversation_id": "c1", "workspace_roots": [str(repo)]}
    done = call(tmp_path, json.dumps(ended), agent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wait_for_the_ingest(tmp_path)
    [path] = tmp_path.glob("kaizen/projects/*/analytics.db")
    with Store.open(path, read_only=True) as store:
        assert store.native("select id from sessions") == [("s1",)]
    with Store.open(path) as store, store.write():
        assert call(tmp_path, json.dumps(ended), agent).returncode == 0


BROKEN = {
    "no JSON": "{",
    "no folder": '{"session_id": "s1"}',
    "a folder that is a number": '{"session_id": "s1", "cwd": 7}',
    "no place for the log": '{"session_id": "s1", "cwd": "/"}',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_whatever_is_broken_the_agent_sees_success_and_one_line_says_why(tmp_path: Path, text: str):
    (tmp_path / "kaizen").write_text("a file where a folder should be")
    done = call(tmp_path, text)

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("\n") == 1
    assert "no ingest was started" in done.stderr
