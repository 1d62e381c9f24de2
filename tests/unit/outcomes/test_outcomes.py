"""The outcomes of sessions, from a transcript and a real repository to the store and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from repositories import DAY_S, START_S, Repo

from kaizen_analytics.core.git import Repository
from kaizen_analytics.core.queries import ROOT_OUTCOMES
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.outcomes.sessions import SessionOutcome, update_outcomes
from kaizen_analytics.store import Store

if TYPE_CHECKING:
    from pathlib import Path


class Transcript:
    """A session of Claude Code that runs shell commands in a folder."""

    def __init__(self, home: Path, name: str, cwd: Path) -> None:
        self.path = home / ".claude" / "projects" / "p" / f"{name}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.name, self.cwd, self.place = name, cwd, 0

    def _write(self, record: dict[str, object]) -> None:
        self.place += 1
        moment = datetime.fromtimestamp(START_S + self.place, UTC).isoformat().replace("+00:00", "Z")
        common = {
            "sessionId": self.name,
            "cwd": str(self.cwd),
            "uuid": f"{self.name}-{self.place}",
            "timestamp": moment,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(common | record) + "\n")

    def run(self, command: str, output: str = "", *, failed: bool = False, details: object = None) -> None:
        call = f"toolu_{self.name}{self.place}"
        use = {"type": "tool_use", "id": call, "name": "Bash", "input": {"command": command}}
        self._write({
            "type": "assistant",
            "message": {"id": f"msg_{self.name}{self.place}", "role": "assistant", "model": "m", "content": [use],
                        "usage": {"input_tokens": 10, "output_tokens": 5}},
        })  # fmt: skip
        result = {"type": "tool_result", "tool_use_id": call, "content": output, "is_error": failed}
        self._write({"type": "user", "message": {"role": "user", "content": [result]}, "toolUseResult": details})

    def edit(self, path: str) -> None:
        use = {"type": "tool_use", "id": f"e{self.place}", "name": "Edit", "input": {"file_path": path}}
        message = {"id": f"msg_e{self.place}", "role": "assistant", "model": "m", "content": [use]}
        self._write({"type": "assistant", "message": message | {"usage": {"input_tokens": 1, "output_tokens": 1}}})

    def link(self, url: str) -> None:
        self._write({"type": "pr-link", "prUrl": url, "prNumber": 1})


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "repo")
    repo.commit("Start", a_py=["one", "two", "three"])
    return repo


def outcomes(store: Store, tmp_path: Path, *, days: int = 30) -> dict[str, SessionOutcome]:
    run_ingest(store, [tmp_path / "home"], environment={})
    found = update_outcomes(store, now_ms=(START_S + days * DAY_S) * 1000)
    return {one.session_id: one for one in found}


def committed(repo: Repo, message: str, **files: list[str]) -> str:
    """Commit, and return what git prints."""
    return f"[main {repo.commit(message, **files)[:7]}] {message}\n 1 file changed"


def test_a_session_whose_work_landed_and_lasted(repo: Repo, store: Store, tmp_path: Path) -> None:
    session = Transcript(tmp_path / "home", "s1", repo.folder)
    session.run("pytest -q", "2 failed, 1 passed in 0.1s", failed=True)
    session.run("pytest -q", "3 passed in 0.1s")
    session.run("git add -A && git commit -m More", committed(repo, "More", b_py=["1", "2", "3", "4"]))
    repo.at_s = START_S + 2 * DAY_S
    repo.commit("Rewrite", b_py=["1", "2", "x"])
    early = outcomes(store, tmp_path, days=13)["s1"]
    assert (early.lines_added, early.lines_surviving) == (4, None), "too early to tell"
    assert outcomes(store, tmp_path)["s1"] == SessionOutcome(
        session_id="s1",
        checks=2,
        checks_passed=True,
        commits=1,
        commit_ids=(repo.git("rev-parse", "--short=7", "HEAD~1"),),
        landed=True,
        reverted=False,
        lines_added=4,
        lines_surviving=2,
        branch_tip=repo.head(),
        mark=early.mark,
    )


def test_what_git_said_is_kept_until_a_branch_or_a_session_changes(
    repo: Repo, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Transcript(tmp_path / "home", "s1", repo.folder)
    session.run("git commit -qam More", committed(repo, "More", b_py=["1", "2"]))
    first = outcomes(store, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Repository, "read_log", None)
        assert outcomes(store, tmp_path) == first, "git's history was not read"
    repo.git("revert", "--no-edit", "HEAD")
    assert outcomes(store, tmp_path)["s1"].reverted is True
    session.run("git commit -qam Again", committed(repo, "Again", c_py=["1"]))
    assert outcomes(store, tmp_path)["s1"].commits == 2


def test_a_part_of_the_sessions_is_looked_at_beside_the_others_of_its_repository(
    repo: Repo, store: Store, tmp_path: Path
) -> None:
    for name in ("s1", "s2"):
        session = Transcript(tmp_path / "home", name, repo.folder)
        session.run("git commit -am x", f"[topic abcdef{name[1]}] x")
        session.link("https://example.org/a/b/pull/7")
    outcomes(store, tmp_path)
    repo.commit("Squashed (#7)", b_py=["1"])
    [alone] = update_outcomes(store, now_ms=START_S * 1000, since_ms=START_S * 2000, also=["s2"])
    assert (alone.session_id, alone.landed, alone.lines_added) == ("s2", True, None), "s1 shares the commit"
    assert store.native("select landed from ka_outcomes where session_id = ?", "s1") == [("1",)]


def test_the_last_check_counts_and_a_hidden_result_is_unknown(repo: Repo, store: Store, tmp_path: Path) -> None:
    failing = Transcript(tmp_path / "home", "s1", repo.folder)
    failing.run("pytest", "5 passed")
    failing.run("ruff check .", "Found 2 errors.", failed=True)
    hidden = Transcript(tmp_path / "home", "s2", repo.folder)
    hidden.run("make test | tail -1", "done")
    found = outcomes(store, tmp_path)
    assert (found["s1"].checks_passed, found["s2"].checks_passed) == (False, None)
    assert (found["s2"].checks, found["s2"].commits, found["s2"].landed) == (1, 0, None)


def test_the_start_of_a_check_in_the_background_says_nothing(store: Store, tmp_path: Path) -> None:
    session = Transcript(tmp_path / "home", "s1", tmp_path)
    session.run("pytest", "Command running in background with ID: b1", details={"backgroundTaskId": "b1"})
    (found,) = outcomes(store, tmp_path).values()
    assert (found.checks, found.checks_passed) == (1, None)


@pytest.mark.parametrize(
    ("commands", "ids"),
    [
        ([("git commit -am x", "1111111"), ("git commit -a -m x --amend", "2222222")], ("2222222",)),
        ([("git commit -am x && git commit --amend --no-edit", "1111111 2222222")], ("2222222",)),
        ([("git commit --amend --no-edit", "1111111")], ("1111111",)),
        ([("git commit -am x", "1111111"), ("git commit --amend", "")], ("1111111",)),
        ([("git commit -am x", "1111111"), ("git commit -am x", "2222222")], ("1111111", "2222222")),
    ],
)
def test_an_amended_commit_takes_the_place_of_the_one_before(
    commands: list[tuple[str, str]], ids: tuple[str, ...], store: Store, tmp_path: Path
) -> None:
    session = Transcript(tmp_path / "home", "s1", tmp_path / "gone")
    for command, made in commands:
        session.run(command, "\n".join(f"[main {commit}] x" for commit in made.split()))
    (found,) = outcomes(store, tmp_path).values()
    assert found.commit_ids == ids


def test_a_pull_request_tells_where_a_commit_that_is_gone_landed(repo: Repo, store: Store, tmp_path: Path) -> None:
    session = Transcript(tmp_path / "home", "s1", repo.folder)
    session.run("git commit -am x", "[topic abcdef1] x")
    session.link("https://example.org/a/b/pull/7")
    repo.commit("Squashed (#7)", b_py=["1"])
    (found,) = outcomes(store, tmp_path).values()
    assert (found.landed, found.lines_added, found.pull_request) == (True, 1, "https://example.org/a/b/pull/7")


def test_a_repository_that_is_gone_is_a_reason(store: Store, tmp_path: Path) -> None:
    session = Transcript(tmp_path / "home", "s1", tmp_path / "gone")
    session.run("git commit -am x", "[topic abcdef1] x")
    (found,) = outcomes(store, tmp_path).values()
    assert (found.commits, found.landed, found.reason) == (1, None, "the repository is gone")


def test_a_commit_in_the_output_of_another_command_is_not_the_sessions(
    repo: Repo, store: Store, tmp_path: Path
) -> None:
    Transcript(tmp_path / "home", "s1", repo.folder).run("cat log.txt", "[main abcdef1] Somebody's")
    (found,) = outcomes(store, tmp_path).values()
    assert (found.commits, found.commit_ids) == (0, ())


def test_the_command_prints_and_stores(repo: Repo, tmp_path: Path, program: Callable[..., Any]) -> None:
    session = Transcript(tmp_path / "home", "s1", repo.folder)
    session.run("git commit -am More", committed(repo, "More", b_py=["1"]))
    path = tmp_path / "cli.db"
    with Store.open(path, create=True) as opened:
        run_ingest(opened, [tmp_path / "home"], environment={})
    (found,) = program("outcomes", "--store", path, "--json").json()["outcomes"]
    assert (found["session_id"], found["landed"]) == ("s1", True)
    with Store.open(path, read_only=True) as opened:
        assert opened.native("select landed from ka_outcomes") == [("1",)]


def test_a_score_and_what_another_tool_measured_fill_in_for_what_no_command_says(
    repo: Repo, store: Store, tmp_path: Path
) -> None:
    for name, output in (("s1", "1 failed"), ("s2", None), ("s3", None)):
        session = Transcript(tmp_path / "home", name, repo.folder)
        session.run("pytest" if output else "ls", output or "", failed=bool(output))
    outcomes(store, tmp_path)
    measured = "insert into session_outcomes (session_id, test_passed, test_failed, measure_error) values"
    store.native(f"{measured} ('s1', 3, 0, null), ('s2', 3, 0, null), ('s3', 3, 0, 'timed out') returning 1")
    feedback = "insert into session_feedback (id, session_id, score, created_at_ms) values"
    store.native(f"{feedback} ('a', 's3', 1, 10), ('b', 's3', 4, 20), ('c', 's3', null, 30) returning 1")
    known = ROOT_OUTCOMES.run(store).sort("session_id").select("session_id", "checks_passed", "score")
    assert known.rows() == [("s1", 0.0, None), ("s2", 1.0, None), ("s3", None, 4.0)]


def add_note(repo: Repo, commit: str, lines: str, sessions: dict[str, str]) -> None:
    """Note as git-ai does which lines of a commit the keys wrote."""
    known = {key: {"agent_id": {"tool": "claude", "id": session}} for key, session in sessions.items()}
    document = {"schema_version": "authorship/3.0.0", "sessions": known}
    repo.git("notes", "--ref", "ai", "add", "-f", "-m", f"{lines}---\n{json.dumps(document)}", commit)


def test_notes_of_git_ai_say_which_lines_a_session_wrote(repo: Repo, store: Store, tmp_path: Path) -> None:
    for name in ("s1", "s2"):
        Transcript(tmp_path / "home", name, repo.folder).run("ls")
    commit = repo.commit("Both", b_py=["1", "2", "3", "4", "5", "6"], c_py=["x", "y"])
    keys = {"s_1": "s1", "s_2": "s2"}
    add_note(repo, commit, 'b.py\n  s_1::t_9 1-3\n  h_7 4\n  s_2 5,6\n"c.py"\n  s_2::t_1 1-2\n', keys)
    repo.at_s = START_S + 2 * DAY_S
    repo.commit("Rewrite", b_py=["1", "other", "3", "4", "5"])
    found = outcomes(store, tmp_path)
    assert [(one.landed, one.commits, one.lines_added, one.lines_surviving) for one in found.values()] == [
        (True, 0, 3, 2),
        (True, 0, 4, 3),
    ]
    add_note(repo, commit, "b.py\n  s_1 1\n", keys)
    assert outcomes(store, tmp_path)["s1"].lines_added == 1, "a note may be written anew"


def test_a_note_beats_the_commit_that_several_sessions_share(repo: Repo, store: Store, tmp_path: Path) -> None:
    for name in ("s1", "s2"):
        session = Transcript(tmp_path / "home", name, repo.folder)
        session.run("git commit -am x", f"[topic abcdef{name[1]}] x")
        session.link("https://example.org/a/b/pull/7")
    squash = repo.commit("Squashed (#7)", b_py=["1", "2", "3"])
    add_note(repo, squash, "b.py\n  s_1 1-2\n", {"s_1": "s1"})
    found = outcomes(store, tmp_path)
    assert [(one.landed, one.lines_added) for one in found.values()] == [(True, 2), (True, None)]


def test_a_commit_by_hand_is_the_sessions_whose_files_and_time_it_fits(
    repo: Repo, store: Store, tmp_path: Path
) -> None:
    repo.git("config", "user.email", "ada@example.org")
    for name, file in (("s1", "b.py"), ("s2", "c.py"), ("s3", "d.py"), ("s4", "d.py")):
        session = Transcript(tmp_path / "home", name, repo.folder)
        session.edit(str(repo.folder / file))
        session.place += 600
        session.run("ls")
    repo.at_s = START_S + 240
    mine = repo.commit("By hand", b_py=["1", "2"])
    repo.commit("Shared", d_py=["1"])
    repo.at_s = START_S + 5000
    repo.commit("Later", c_py=["1"])
    found = outcomes(store, tmp_path)
    assert [(one.commits, one.commit_ids, one.landed, one.lines_added) for one in found.values()] == [
        (1, (mine,), True, 2),
        (0, (), None, None),
        (0, (), None, None),
        (0, (), None, None),
    ]


def test_somebody_elses_commit_is_no_sessions(repo: Repo, store: Store, tmp_path: Path) -> None:
    repo.git("config", "user.email", "bob@example.org")
    session = Transcript(tmp_path / "home", "s1", repo.folder)
    session.edit(str(repo.folder / "b.py"))
    session.place += 600
    session.run("ls")
    repo.commit("Ada's", b_py=["1"])
    assert outcomes(store, tmp_path)["s1"].commits == 0
