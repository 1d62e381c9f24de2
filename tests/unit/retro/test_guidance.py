"""What agents are told in a repository, and who used it (queries: guidance_use)."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from retro_stores import MONDAY_MS, WEEK, add_session, answer, tool

from kaizen_analytics.retro.guidance import GuidanceItem, _Guidance, compute_guidance
from kaizen_analytics.store import Store

FILES = {
    ".claude/skills/deploy/SKILL.md": "d" * 400,
    ".agents/skills/review/SKILL.md": "r",
    ".claude/rules/style.md": "s",
    ".claude/agents/tester.md": "t",
    "CLAUDE.md": "c" * 4000,
    "docs/CLAUDE.md": "not guidance of the root",
    ".claude/skills/notes.md": "not a skill",
    ".mcp.json": '{"mcpServers": {"linear": {}, "sentry": {}}}',
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def look(store: Store, root: Path | None) -> _Guidance:
    return compute_guidance(store, WEEK, root=root, repository=None)


def find(guidance: _Guidance, name: str) -> GuidanceItem:
    [item] = [item for item in guidance.items if item.name == name]
    return item


def test_every_kind_is_found_with_how_it_is_loaded(store: Store, root: Path):
    assert sorted((item.kind, item.name, item.is_always_read) for item in look(store, root).items) == [
        ("agent", "tester", False),
        ("instructions", "CLAUDE.md", True),
        ("rule", "style.md", True),
        ("server", "linear", True),
        ("server", "sentry", True),
        ("skill", "deploy", False),
        ("skill", "review", False),
    ]


def test_links_are_not_followed(store: Store, root: Path):
    (root / ".claude/rules/link.md").symlink_to("/etc/passwd")

    assert "link.md" not in [item.name for item in look(store, root).items]


def test_what_every_session_reads_costs_its_tokens_at_each_response(store: Store, root: Path):
    add_session(store, "s", MONDAY_MS, [answer(), answer()])

    item = find(look(store, root), "CLAUDE.md")

    assert item.tokens == 1000
    assert item.usd_per_week == pytest.approx(1000 * 2 * 0.30e-6)
    assert find(look(store, root), "deploy").usd_per_week is None


def test_uses_are_counted_by_session_also_of_what_is_not_on_disk(store: Store, root: Path):
    events = [tool("mcp__linear__list", "a"), tool("Task", "b", input={"subagent_type": "Ghost"})]
    add_session(store, "s", MONDAY_MS, events)
    add_session(store, "t", MONDAY_MS, events[:1])
    with store.write():
        store.insert("skills_used", pl.DataFrame({"session_id": ["s"], "skill": ["team:deploy"]}))

    found = look(store, root)

    assert [find(found, name).sessions_used for name in ("linear", "sentry", "deploy", "ghost")] == [2, 0, 1, 1]
    assert find(found, "ghost").path is None
    assert find(found, "CLAUDE.md").sessions_used is None


def test_without_a_repository_only_uses_are_known(store: Store):
    add_session(store, "s", MONDAY_MS, [tool("mcp__linear__list", "a")])

    assert [item.name for item in look(store, None).items] == ["linear"]
