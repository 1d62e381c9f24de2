"""Skills and rules on disk against the sessions that used them."""

import os
import subprocess
from pathlib import Path

import polars as pl
import pytest
from retro_stores import MONDAY_MS, WEEK, add_session, answer, error

from kaizen_analytics.retro.guidance import Guidance, GuidanceItem, compute_guidance, read_guidance
from kaizen_analytics.store import Store

FILES = {
    ".claude/skills/deploy/SKILL.md": "d" * 400,
    ".cursor/skills/review/SKILL.md": "r",
    ".cursor/rules/style.mdc": "s",
    ".claude/agents/tester.md": "t",
    "CLAUDE.md": "c",
    "AGENTS.md": "a",
    "docs/CLAUDE.md": "not guidance of the root",
    ".claude/skills/notes.md": "not a skill",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def use(store: Store, session_id: str, skill: str) -> None:
    with store.write():
        store.insert("skills_used", pl.DataFrame({"session_id": [session_id], "skill": [skill]}))


def find(guidance: Guidance, name: str) -> GuidanceItem:
    [item] = [item for item in guidance.items if item.name == name]
    return item


def test_every_kind_of_guidance_is_found(root: Path) -> None:
    assert sorted(read_guidance(root).select("kind", "name").rows()) == [
        ("agent", "tester"),
        ("instructions", "AGENTS.md"),
        ("instructions", "CLAUDE.md"),
        ("rule", "style.mdc"),
        ("skill", "deploy"),
        ("skill", "review"),
    ]


def test_links_are_not_followed(root: Path) -> None:
    (root / ".cursor/rules/link.mdc").symlink_to("/etc/passwd")
    assert "link.mdc" not in read_guidance(root)["name"].to_list()


def test_no_repository_has_no_guidance() -> None:
    assert read_guidance(None).is_empty()


def test_a_file_is_as_old_as_its_last_commit(root: Path, tmp_path: Path) -> None:
    moment = {"GIT_AUTHOR_DATE": "@1700000000 +0000", "GIT_COMMITTER_DATE": "@1700000000 +0000"}
    environment = {**os.environ, **moment, "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for command in (("init", "-q"), ("add", "CLAUDE.md"), ("commit", "-q", "-m", "Say how")):
        subprocess.run(["git", "-C", root, *identity, *command], check=True, env=environment)
    changed = dict(read_guidance(root).select("name", "changed_ms").rows())

    assert changed["CLAUDE.md"] == 1_700_000_000_000
    assert changed["AGENTS.md"] > 1_700_000_000_000, "git does not know it: when it was written counts"


def test_sessions_with_and_without_a_skill_are_compared(store: Store, root: Path) -> None:
    for name, usd_e6 in (("with", 4_000_000), ("other", 1_000_000), ("third", 2_000_000)):
        add_session(store, name, MONDAY_MS, [answer(usd_e6=usd_e6)])
    add_session(store, "failed", MONDAY_MS, [error("overloaded")])
    use(store, "with", "Deploy")
    guidance = compute_guidance(store, WEEK, root=root, workspace=None)
    skill = find(guidance, "deploy")

    assert (skill.sessions_used, skill.tokens) == (1, 100)
    assert (skill.median_cost_with, skill.median_cost_without) == (4.0, 1.5)
    assert (skill.error_share_with, skill.error_share_without) == (0.0, pytest.approx(1 / 3))


def test_a_use_by_a_sub_agent_counts_for_its_root(store: Store, root: Path) -> None:
    add_session(store, "root", MONDAY_MS, [answer()])
    add_session(store, "child", MONDAY_MS + 1, [answer()], parent_session_id="root")
    use(store, "root", "deploy")
    use(store, "child", "deploy")

    assert find(compute_guidance(store, WEEK, root=root, workspace=None), "deploy").sessions_used == 1


def test_instructions_leave_no_trace_of_their_use(store: Store, root: Path) -> None:
    item = find(compute_guidance(store, WEEK, root=root, workspace=None), "CLAUDE.md")
    assert (item.sessions_used, item.median_cost_with) == (None, None)


def test_guidance_that_is_not_on_disk_is_listed_too(store: Store, root: Path) -> None:
    add_session(store, "s", MONDAY_MS, [answer()])
    use(store, "s", "global-skill")
    item = find(compute_guidance(store, WEEK, root=root, workspace=None), "global-skill")

    assert (item.path, item.bytes, item.tokens, item.sessions_used) == (None, None, None, 1)


def test_json_holds_every_item_and_the_warning(store: Store, root: Path) -> None:
    document = compute_guidance(store, WEEK, root=root, workspace=None).to_json()

    assert document["schema"] == "guidance/1"
    assert len(document["items"]) == 6
    assert "association" in document["note"]


def test_nothing_is_written_into_the_repository(store: Store, root: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*")}
    compute_guidance(store, WEEK, root=root, workspace=None)
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*")} == before
