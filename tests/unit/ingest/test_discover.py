"""Discovery: which files count, under which homes, each once."""

from __future__ import annotations

import os

import pytest
from ingest_lines import answer, claude_file, codex_file, lines, prompt, rows, write

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.ingest.discover import discover, find_roots, look_at, parse_agents
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.ingest.records import Agent

ALL = frozenset(Agent)


def names(home, **environment):
    homes = None if environment else [home]
    return [source.path.name for source in discover(find_roots(homes, environment), ALL).sources]


def test_transcripts_of_all_agents_are_found(tmp_path):
    claude_file(tmp_path, "s1", b"")
    claude_file(tmp_path, "agent-a", b"", slug="-work-demo/s1/subagents")
    codex_file(tmp_path, "1", b"")
    codex_file(tmp_path, "2", b"", folder="archived_sessions")
    write(tmp_path, ".cursor/projects/w/agent-transcripts/c1/c1.jsonl", b"")
    write(tmp_path, ".cursor/projects/w/terminals/x.jsonl", b"")
    write(tmp_path, ".config/Cursor/User/workspaceStorage/h/state.vscdb", b"")
    write(tmp_path, "copied/state.vscdb", b"")
    write(tmp_path, ".claude/projects/-work-demo/notes.txt", b"")

    found = names(tmp_path)

    assert sorted(found) == [
        "agent-a.jsonl", "c1.jsonl", "rollout-1.jsonl", "rollout-2.jsonl", "s1.jsonl", "state.vscdb", "state.vscdb",
    ]  # fmt: skip


def test_environment_variables_name_more_folders_and_each_file_counts_once(tmp_path):
    claude_file(tmp_path, "s1", b"")
    write(tmp_path, "elsewhere/sessions/2026/rollout-9.jsonl", b"")
    variables = {
        "HOME": str(tmp_path),
        "CLAUDE_CONFIG_DIR": str(tmp_path / ".claude"),
        "CODEX_HOME": str(tmp_path / "elsewhere"),
    }

    assert sorted(names(tmp_path, **variables)) == ["rollout-9.jsonl", "s1.jsonl"]


def passed_over(home):
    return sorted((one.path.name, one.reason) for one in discover(find_roots([home], {}), ALL).passed_over)


def test_only_regular_files_count_and_the_others_are_named(tmp_path):
    real = claude_file(tmp_path, "s1", b"")
    os.mkfifo(real.with_name("pipe.jsonl"))
    real.with_name(os.fsdecode(b"\xff.jsonl")).touch()

    assert names(tmp_path) == ["s1.jsonl"]
    odd = (os.fsdecode(b"\xff.jsonl"), "a name that is not UTF-8")
    assert passed_over(tmp_path) == [("pipe.jsonl", "not a regular file"), odd]


@pytest.mark.parametrize("name", ["s1.jsonl.bak", "s1.jsonl~", "s1.jsonl.orig", "s1.jsonl.lz4", "s2.JSONL"])
def test_a_transcript_under_another_ending_is_named(tmp_path, name):
    claude_file(tmp_path, "s1", b"").with_name(name).touch()

    assert names(tmp_path) == ["s1.jsonl"]
    assert passed_over(tmp_path) == [(name, "a transcript whose name does not end in .jsonl")]


@pytest.mark.parametrize("name", ["a.jsonl", "z.jsonl"])
def test_a_file_and_links_to_it_count_once_under_its_own_name(tmp_path, name):
    real = claude_file(tmp_path, "s1", b"")
    real.with_name(name).symlink_to(real)
    real.with_name("again.jsonl").symlink_to(real)

    assert names(tmp_path) == ["s1.jsonl"]


def test_a_session_keeps_its_name_beside_a_backup_by_a_hard_link(store, home):
    real = claude_file(home, "s1", lines(prompt("u1", 0), answer("a1", 1, "msg_01")))
    os.link(real, real.with_name("s1 (copy).jsonl"))
    os.utime(real, (-(10**10),) * 2)  # a wrong clock

    run_ingest(store, [home])

    assert rows(store, "select session_id, count(*) from events group by 1") == [("s1", "2")]


def test_links_to_folders_are_followed_once(tmp_path):
    claude_file(tmp_path / "disk", "s1", b"")
    codex_file(tmp_path / "disk", "1", b"", folder="sessions/2025/01/01")
    codex_file(tmp_path, "2", b"")
    home = tmp_path
    (home / ".claude").mkdir()
    (home / ".claude/projects").symlink_to(tmp_path / "disk/.claude/projects")
    (home / ".codex/sessions/2025").symlink_to(tmp_path / "disk/.codex/sessions/2025")
    (home / ".codex/sessions/2025-again").symlink_to(tmp_path / "disk/.codex/sessions/2025")
    (tmp_path / "disk/.codex/sessions/2025/loop").symlink_to(home / ".codex")

    assert sorted(names(home)) == ["rollout-1.jsonl", "rollout-2.jsonl", "s1.jsonl"]
    assert passed_over(home) == []


def test_what_cannot_be_walked_is_named(tmp_path):
    claude_file(tmp_path, "s1", b"").with_name("gone.jsonl").symlink_to(tmp_path / "nothing")
    deep = tmp_path / ".claude/projects/x" / "/".join("abcdefghijklmn")
    deep.mkdir(parents=True)

    assert passed_over(tmp_path) == [
        ("gone.jsonl", "a link that leads nowhere"),
        ("l", "a folder deeper than 12 levels"),
    ]


FROM_THE_STORE = "AppData/Local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming"


@pytest.mark.parametrize("data", [".config", "Library/Application Support", "AppData/Roaming", FROM_THE_STORE])
def test_the_folders_of_every_system_are_looked_into(tmp_path, data):
    write(tmp_path, f"{data}/Cursor/User/globalStorage/state.vscdb", b"")
    cowork = f"{data}/Claude/local-agent-mode-sessions/org/account/local_1"
    write(tmp_path, f"{cowork}/.claude/projects/-sessions-x/c1.jsonl", b"")
    write(tmp_path, f"{cowork}/audit.jsonl", b"")

    assert sorted(names(tmp_path)) == ["c1.jsonl", "state.vscdb"]


def test_a_home_that_is_no_folder_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        find_roots([tmp_path / "nowhere"], {})


@pytest.mark.parametrize("named", ["laptop", "laptop/home/.claude"])
def test_a_home_without_agents_is_an_error_that_names_the_right_one(tmp_path, named):
    claude_file(tmp_path / "laptop/home", "s1", b"")

    with pytest.raises(ConfigError, match=rf"holds \.claude.* Did you mean {tmp_path}/laptop/home\?"):
        find_roots([tmp_path / named], {})


def test_an_empty_home_has_no_hint(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"or \.cursor\.$"):
        find_roots([tmp_path / "empty"], {})


def test_agents_are_named_with_a_hint():
    assert parse_agents(["claude-code"]) == {Agent.CLAUDE_CODE}
    assert parse_agents([]) == ALL
    with pytest.raises(ConfigError, match="Did you mean 'codex'"):
        parse_agents(["kodex"])


def test_a_single_path_is_looked_at_like_the_walk_would(tmp_path):
    path = claude_file(tmp_path, "s1", b"abc")
    roots = find_roots([tmp_path], {})

    assert look_at(path, roots) == discover(roots, ALL).sources[0]
    assert look_at(path.with_name("gone.jsonl"), roots) is None
    assert look_at(tmp_path / "other.jsonl", roots) is None
