"""Classes of what a session carries, waits for, delegates and does again: where each fires, what it costs.

The queries: lone_calls, start_context, cache_lost over paced_responses, rework, delegation, service, smaller_model,
refused. Prices are those of `retro_sessions.MODEL`; opus costs 5 dollars a million tokens, 0.50 read from and 6.25
written to a cache.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from retro_sessions import (
    REPOSITORY,
    WINDOW,
    Session,
    find,
    look,
    material_of,
    three,
)

from kaizen_analytics.retro.findings import collect_evidence, judge_evidence

# lone_calls


# start_context


def begin(session: Session, tokens: int = 30_000) -> Session:
    return session.prompt("x" * 400).answer(write=tokens).answer(read=tokens)


LEAN = begin(Session("lean", 4, workspace="/w/other"), tokens=16_000)


def test_a_start_that_carries_more_than_the_leanest():
    (finding,) = find("start_context", *three(begin), LEAN)

    # The prompt of 400 characters is 100 tokens; two responses carry 14,000 tokens more, and the first writes them.
    assert finding.title == "Sessions start with 29,900 tokens; the leanest with 15,900"
    assert finding.cost_usd == pytest.approx(3 * 14_000 * (2 * 0.30e-6 + (3.75 - 0.30) * 1e-6))
    assert "guidance" in finding.change.habit


def test_a_start_near_the_leanest_is_no_finding():
    assert find("start_context", *three(lambda session: begin(session, tokens=20_900)), LEAN) == []


def test_a_conversation_that_goes_on_elsewhere_is_no_start():
    assert find("start_context", *three(lambda session: begin(session, tokens=90_000)), LEAN) == []


def test_servers_that_no_session_used_are_named(tmp_path: Path):
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"db": {}, "maps": {}}}')
    sessions = [begin(Session(f"s{day}", day, workspace=str(tmp_path))) for day in (9, 5, 2)]
    sessions[0].call("mcp__db__query", chars=10)
    material = replace(material_of(*sessions, LEAN), servers={str(tmp_path): ("db", "maps")})

    (finding,) = [
        item for item in judge_evidence(collect_evidence(material), WINDOW)[0] if item.kind == "start_context"
    ]

    assert json.loads(finding.change.merge) == {"disabledMcpjsonServers": ["maps"]}
    assert finding.change.file == ".claude/settings.json"


# cache_lost


@pytest.mark.parametrize(("minutes", "subjects"), [(4, ["unknown"]), (6, [])])
def test_a_loss_without_a_cause_proposes_nothing_and_a_break_is_none(minutes: int, subjects: list[str]):
    def build(session: Session) -> Session:
        return session.answer(write=50_000).wait(minutes).answer(write=50_000)

    evidence = collect_evidence(material_of(*three(build)))

    assert evidence.rows["cache_lost"]["subject"].unique().to_list() == subjects
    assert find("cache_lost", *three(build)) == []


# rework


# delegation


@pytest.mark.parametrize(("helper", "times"), [("Explore", [6]), ("reviewer", [])])
def test_reading_after_a_sub_agent_explored(helper: str, times: list[int]):
    def build(session: Session) -> Session:
        session.call("Task", helper=helper, chars=400).answer(write=10_000)
        for name in "ab":
            session.call("Read", path=f"{REPOSITORY}/{name}.py", chars=4_000).answer(read=10_000)
        return session

    assert [finding.times for finding in find("delegation", *three(build))] == times


# service


# smaller_model


def test_sub_agents_that_only_read_get_a_setting():
    sessions = three(lambda session: session.answer(read=10))
    children = [look(Session(f"c{root.name}", root.day, parent=root.name)) for root in sessions]

    (finding,) = find("smaller_model", *sessions, *children)

    assert json.loads(finding.change.merge) == {"env": {"CLAUDE_CODE_SUBAGENT_MODEL": "claude-sonnet-4-5"}}


# refused


def refuse(session: Session, command: str) -> Session:
    return session.run(command, "The user doesn't want to proceed with this tool use.", rejected=True).answer(
        read=10_000
    )


def test_a_refused_command_that_only_reads_is_a_matter_of_the_allow_list():
    sessions = three(lambda session: refuse(session, "git status"))

    assert find("refused", *sessions) == []
    assert [finding.kind for finding in find("approval", *sessions)] == ["approval"]
