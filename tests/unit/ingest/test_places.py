"""Where a session belongs: repositories, worktrees, folders that are gone; and its session_instructions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from ingest_lines import (
    answer,
    claude_file,
    codex_file,
    counts,
    line,
    lines,
    meta,
    prompt,
    rows,
    token_count,
    turn,
    usage,
    write,
)
from typer.testing import CliRunner

from kaizen_analytics.cli import app
from kaizen_analytics.core.folders import normalise_folder
from kaizen_analytics.core.git import Repository
from kaizen_analytics.ingest.gitref import Places
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.store.frames import list_sessions
from kaizen_analytics.store.location import find_workspace
from kaizen_analytics.usage import RESPONSES, Chosen, compute_usage


@pytest.fixture
def repo(tmp_path):
    folder = tmp_path / "repo"
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    commit = ("-c", "user.email=a@b", "-c", "user.name=a", "commit", "-q", "--allow-empty", "-m", "one")
    git(folder, *commit)
    return folder


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def session(home, stem, cwd, branch="main"):
    told = {"cwd": str(cwd), "gitBranch": branch}
    claude_file(home, stem, lines(prompt(f"p-{stem}", 1, session=stem) | told))


WORKTREES = ["../elsewhere/one", ".claude/worktrees/one", "../repo.worktrees/one"]


@pytest.mark.parametrize("place", WORKTREES)
@pytest.mark.parametrize("below", ["", "src"])
def test_a_linked_worktree_belongs_to_its_main_working_tree(store, home, repo, place, below):
    tree = (repo / place).resolve()
    git(repo, "worktree", "add", "-q", "-b", "one", str(tree))
    (tree / "src").mkdir()
    session(home, "s1", tree / below)

    run_ingest(store, [home], workspace=repo)

    assert rows(store, "select workspace from sessions") == [(str(repo),)]
    assert find_workspace(tree / "src") == repo


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("place", WORKTREES)
def test_a_worktree_that_was_removed_since_still_belongs_to_it(store, home, repo, place, left):
    tree = (repo / place).resolve()
    git(repo, "worktree", "add", "-q", "-b", "one", str(tree))
    session(home, "s1", tree)
    run_ingest(store, [home])
    git(repo, "worktree", "remove", "--force", str(tree))
    if left:
        (tree / "node_modules").mkdir(parents=True)
    session(home, "s2", tree / "src") if "elsewhere" not in place else session(home, "s2", tree)

    run_ingest(store, [home], full=True)

    assert rows(store, "select id, workspace from sessions order by id") == [("s1", str(repo)), ("s2", str(repo))]


@pytest.mark.parametrize(
    ("cwd", "workspace"),
    [
        ("/gone/app/.claude/worktrees/fix-1", "/gone/app"),
        ("/gone/app/.claude/worktrees/fix-1/src/deep", "/gone/app"),
        ("/gone/app.worktrees/fix-1/src", "/gone/app"),
        ("/gone/app/.worktrees/2", "/gone/app"),
        ("/gone/app/", "/gone/app"),
        ("c:\\gone\\app\\.claude\\worktrees\\fix", "C:/gone/app"),
        ("/gone/me/.cursor/worktrees/app/x1y2/src", "/gone/app"),
        ("/gone/me/.codex/worktrees/1a2b/app", "/gone/app"),
        ("/gone/me/.cursor/worktrees/other/x1y2", "/gone/me/.cursor/worktrees/other/x1y2"),
        ("gone-app", "/gone/app"),
    ],
)
def test_a_folder_that_is_gone_is_placed_by_its_name_and_by_what_is_stored(cwd, workspace):
    places = Places({"/gone/app/src": "/gone/app", "/gone/web": "/gone/web"})

    assert places.workspace_of(cwd) == workspace


@pytest.mark.parametrize(
    ("told", "folder"),
    [
        ("\\\\?\\C:\\src\\app", "C:/src/app"),
        ("\\\\?\\UNC\\server\\share\\app", "//server/share/app"),
        ("\\\\wsl$\\Ubuntu\\srv\\app", "/srv/app"),
        ("file://wsl%24/Ubuntu/srv/app", "/srv/app"),
        ("C://src//app", "C:/src/app"),
        ("c:\\", "C:/"),
        ("file:/srv/app", "/srv/app"),
        ("vscode-remote://[broken/srv/app", "/srv/app"),
        ("/srv/x/../app", "/srv/app"),
        ("../app", "../app"),
        ("/srv/100%25", "/srv/100%25"),
    ],
)
def test_a_folder_has_one_spelling(told, folder):
    assert normalise_folder(told) == folder


def test_a_bare_repositorys_worktree_and_a_submodule_are_their_own(tmp_path, repo):
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    git(tmp_path / "bare.git", "worktree", "add", "-q", str(tmp_path / "tree"), "main")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "bare.git"), "part")

    assert find_workspace(tmp_path / "tree") == tmp_path / "tree"
    assert find_workspace(repo / "part") == repo / "part"
    git(repo / "part", "worktree", "add", "-q", "-b", "two", str(tmp_path / "second"))
    assert find_workspace(tmp_path / "second") == repo / "part"


def test_a_linked_folder_is_the_folder_it_leads_to(store, home, repo, tmp_path):
    (tmp_path / "link").symlink_to(repo)
    session(home, "s1", tmp_path / "link")

    run_ingest(store, [home], workspace=tmp_path / "link")

    assert rows(store, "select workspace from sessions") == [(str(repo),)]


@pytest.mark.parametrize("to", ["elsewhere", "beside"])
def test_a_project_folder_that_is_a_link_is_read_once(store, home, tmp_path, to):
    projects = home / ".claude/projects"
    real = (tmp_path / "disk" if to == "elsewhere" else projects) / "-real"
    real.mkdir(parents=True)
    projects.mkdir(parents=True, exist_ok=True)
    (real / "s1.jsonl").write_bytes(lines(prompt("p", 0), answer("a", 1, "msg_01abcdefghijklmnop")))
    (projects / "-work-demo").symlink_to(real)

    for _ in range(2):
        summary = run_ingest(store, [home]).agents["claude_code"]

    assert (summary.files, summary.sessions, summary.responses, summary.prompts) == (1, 1, 1, 1)


def test_a_year_of_codex_may_lie_on_another_disk(store, home):
    folders = [Path(name) for name in ("/dev/shm", "/var/tmp", "/tmp")]
    others = [folder for folder in folders if folder.is_dir() and folder.stat().st_dev != home.stat().st_dev]
    if not others:
        pytest.skip("there is no other file system to write to")
    with tempfile.TemporaryDirectory(dir=others[0]) as disk:
        used = token_count(3, counts(100, 40, 20, 5), counts(100, 40, 20, 5))
        codex_file(Path(disk), "1", lines(meta("c1"), turn(1), used), folder="2025/12/31")
        codex_file(home, "2", lines(meta("c2"), turn(1), used))
        (home / ".codex/sessions/2025").symlink_to(Path(disk) / ".codex/2025")
        summary = run_ingest(store, [home]).agents["codex"]

    assert (summary.sessions, summary.tokens["tokens_in"]) == (2, 120)
    assert run_ingest(store, [home]).agents["codex"].kept_sessions == 1  # the disk is gone


@pytest.mark.parametrize("spelling", ["{}", "{}/", "{}//", "{}/."])
def test_a_workspace_is_found_however_it_is_spelt(store, home, repo, spelling):
    session(home, "s1", repo)
    session(home, "s2", f"{repo}-other")
    run_ingest(store, [home])

    assert list_sessions(store, workspace=spelling.format(repo))["session_id"].to_list() == ["s1"]


@pytest.mark.parametrize("slug", ["{}", "-{}"])
def test_a_cursor_transcript_with_relative_paths_belongs_to_the_folder_its_name_is_made_of(store, home, repo, slug):
    name = slug.format(str(repo).strip("/").replace("/", "-").replace("_", "-"))
    told = {
        "role": "assistant",
        "message": {"content": [{"type": "tool_use", "name": "Read", "input": {"path": "a.py"}}]},
    }
    write(home, f".cursor/projects/{name}/agent-transcripts/c1/c1.jsonl", lines(told))
    write(home, ".cursor/projects/other/agent-transcripts/c2/c2.jsonl", lines(told))

    run_ingest(store, [home], workspace=repo)

    assert rows(store, "select id, workspace from sessions") == [("c1", str(repo))]


def test_branch_and_folder_belong_to_events(store, home, repo):
    def at(n, branch, cwd=repo):
        return answer(f"a{n}", n, f"m{n}", session="s1", tokens=usage()) | {"gitBranch": branch, "cwd": str(cwd)}

    claude_file(home, "s1", lines(at(1, "one"), at(2, "two"), at(3, "two", repo / "src"), at(4, "two"), at(5, "one")))

    run_ingest(store, [home])

    assert rows(store, "select workspace, branch from sessions") == [(str(repo), "two")]
    assert rows(store, "select seq, cwd, branch from ka_places order by seq") == [
        ("0", str(repo), "one"),
        ("1", str(repo), "two"),
        ("2", f"{repo}/src", "two"),
        ("3", str(repo), "two"),
        ("4", str(repo), "one"),
    ]
    used = compute_usage(Chosen().read(RESPONSES, store), ["branch"], timezone="UTC")
    assert used.select("branch", "responses").rows() == [("one", 2), ("two", 3)]


def test_a_folder_of_six_thousand_bytes_stops_nothing(store, home):
    session(home, "s1", "/x" * 3000)
    session(home, "s2", "/" + "y" * 6000)
    session(home, "s3", "/z\0z")

    summary = run_ingest(store, [home]).agents["claude_code"]

    assert summary.sessions == 3


def test_a_file_that_was_cut_off_leaves_its_session_in_its_folder(store, home, repo):
    places = (repo, repo / "src", "/elsewhere")
    told = [line(prompt(f"p{n}", n) | {"cwd": str(cwd)}) for n, cwd in enumerate(places)]
    path = claude_file(home, "s1", b"".join(told))
    run_ingest(store, [home])
    for rest in (told[:1], [], told[2:]):
        path.write_bytes(b"".join(rest))
        run_ingest(store, [home])

        assert rows(store, "select workspace from sessions") == [(str(repo),)]


def test_a_commit_stays_known_when_its_repository_is_gone(store, home, repo, tmp_path):
    claude_file(home, "s1", lines(prompt("p", 10**8) | {"cwd": str(repo)}))
    run_ingest(store, [home])
    known = rows(store, "select start_commit, repo_binding_source from sessions")
    repo.rename(tmp_path / "elsewhere")

    run_ingest(store, [home], full=True)

    assert known[0][1] == "inferred"
    assert rows(store, "select start_commit, repo_binding_source from sessions") == known


def test_a_repository_that_moved_keeps_its_sessions(store, home, repo, tmp_path):
    session(home, "s1", repo / "src")
    run_ingest(store, [home])
    shutil.move(repo, tmp_path / "moved")

    run_ingest(store, [home], full=True)

    assert rows(store, "select workspace from sessions") == [(str(repo),)]


@pytest.mark.parametrize(
    ("agent", "cwd", "path", "counts"),
    [
        (Agent.CLAUDE_CODE, "", ".claude/skills/a/SKILL.md", True),
        (Agent.CLAUDE_CODE, "web/src", "web/CLAUDE.md", True),
        (Agent.CLAUDE_CODE, "web/src", "web/src/.claude/rules/a.md", True),
        (Agent.CLAUDE_CODE, "", "CLAUDE.local.md", True),
        (Agent.CLAUDE_CODE, "", "web/CLAUDE.md", False),
        (Agent.CLAUDE_CODE, "web2", "web/CLAUDE.md", False),
        (Agent.CLAUDE_CODE, "", "README.md", False),
        (Agent.CLAUDE_CODE, "", "docs/rules.md", True),  # taken in by CLAUDE.md
        (Agent.CLAUDE_CODE, "", "docs/more.md", True),  # taken in by that file
        (Agent.CLAUDE_CODE, "", "docs/code.md", False),
        (Agent.CODEX, "", "docs/rules.md", False),
        (Agent.CODEX, "web", "web/AGENTS.md", True),
        (Agent.CODEX, "", "AGENTS.override.md", True),
        (Agent.CODEX, "", "CLAUDE.md", True),  # AGENTS.md is a link to it
        (Agent.CODEX, "", ".cursor/rules/a.mdc", False),
        (Agent.CURSOR, "", ".cursor/rules/a.mdc", True),
        (Agent.CURSOR, "web", "web/.cursor/rules/a.mdc", True),
    ],
)
def test_a_changed_file_changes_the_instructions_of_the_sessions_that_read_it(repo, agent, cwd, path, counts):
    author = ("-c", "user.email=a@b", "-c", "user.name=a")
    write(repo, "CLAUDE.md", b"one, see @docs/rules.md and `@docs/code.md`\n```\n@docs/code.md\n```\n")
    write(repo, "docs/rules.md", b"@./more.md @../../outside.md @dev")
    write(repo, "docs/more.md", b"@rules.md")
    for link, target in (("AGENTS.md", "CLAUDE.md"), (".cursorrules", "/gone"), ("web/CLAUDE.md", "CLAUDE.md")):
        (repo / link).parent.mkdir(exist_ok=True)
        (repo / link).symlink_to(target)
    prints = []
    for text in (None, b"two"):
        if text:
            (repo / path).unlink(missing_ok=True)
            write(repo, path, text)
        git(repo, "add", "-A")
        git(repo, *author, "commit", "-q", "-m", "x")
        prints.append(
            Places().instructions_at(str(repo), Repository(repo).resolve_commit("HEAD"), agent, f"{repo}/{cwd}")
        )

    assert None not in prints
    assert (prints[0] != prints[1]) is counts


def test_instructions_are_known_by_the_files_at_the_sessions_commit(store, home, repo):
    author = ("-c", "user.email=a@b", "-c", "user.name=a")
    for n, (name, text) in enumerate([("CLAUDE.md", "one"), ("README", "x"), (".claude/rules/a.md", "two")]):
        write(repo, name, text.encode())
        git(repo, "add", "-A")
        at = f"2026-01-0{n + 2}T00:00:00Z"
        subprocess.run(
            ["git", "-C", str(repo), *author, "commit", "-q", "-m", name],
            check=True,
            env={"GIT_COMMITTER_DATE": at, "GIT_AUTHOR_DATE": at, "PATH": os.environ["PATH"]},
        )
    (repo / ".git/logs/refs/heads/main").unlink()  # a clone has no older moves than itself
    for n in range(1, 5):
        told = {"cwd": str(repo), "gitBranch": "main", "timestamp": f"2026-01-0{n}T12:00:00Z"}
        claude_file(home, f"s{n}", lines(prompt(f"p{n}", 1, session=f"s{n}") | told))

    run_ingest(store, [home])

    prints = [one for (one,) in rows(store, "select prompt_fingerprint from sessions order by id")]
    assert prints[1] == prints[2] != prints[3]
    assert all(one.startswith("git-") for one in prints[1:])
    shown = CliRunner().invoke(app, ["sessions", "instructions", "--store", str(store.path), "--json"])
    found = json.loads(shown.stdout)["instructions"]
    assert [(one["fingerprint"], one["sessions"]) for one in found][-2:] == [(prints[1], 2), (prints[3], 1)]


@pytest.mark.parametrize(
    ("first", "again"),
    [("/srv/caf\xe9/app", "/srv/cafe\u0301/app"), ("C:\\Src\\App", "c:\\src\\app\\"), ("/gone/App", "/gone/App/")],
)
def test_a_folder_that_is_spelt_in_two_ways_is_one_workspace(first, again):
    places = Places()

    assert places.workspace_of(again) == places.workspace_of(first) == places.workspace_of(again)
    assert Places({first: places.workspace_of(first)}).workspace_of(again) == places.workspace_of(first)


def test_folders_that_differ_in_case_are_two_workspaces_where_they_are_no_windows_folders():
    places = Places()

    assert places.workspace_of("/gone/App") != places.workspace_of("/gone/app")
