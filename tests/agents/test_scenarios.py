"""What the real agents did, by the ledger of the stand-in, beside what `ingest` counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import pytest
from laboratory import Laboratory
from stand_in import Call, Tokens


@dataclass(frozen=True)
class Seen:
    """The sessions of one scenario, and what a person would count in them: prompts, tool calls, failed ones."""

    sessions: tuple[str, ...]
    prompts: tuple[int, ...]
    calls: tuple[int, ...]
    failures: int = 0
    children: int = 0


def plain(lab: Laboratory) -> Seen:
    return Seen((lab.claude("hello"),), (1,), (0,))


def one_tool(lab: Laboratory) -> Seen:
    return Seen((lab.claude("TOOL one"),), (1,), (1,))


def parallel_tools(lab: Laboratory) -> Seen:
    return Seen((lab.claude("PARALLEL"),), (1,), (2,))


def failing_tool(lab: Laboratory) -> Seen:
    return Seen((lab.claude("FAIL"),), (1,), (1,), failures=1)


def resume(lab: Laboratory) -> Seen:
    session = lab.claude("hello")
    assert lab.claude("TOOL two", "--resume", session) == session
    return Seen((session,), (2,), (1,))


def fork_while_the_original_goes_on(lab: Laboratory) -> Seen:
    session = lab.claude("TOOL one")
    fork = lab.claude("TOOL three", "--resume", session, "--fork-session")
    lab.claude("hello again", "--resume", session)
    return Seen((session, fork), (2, 1), (1, 1))


def fork_after_the_original_ended(lab: Laboratory) -> Seen:
    session = lab.claude("hello")
    fork = lab.claude("TOOL three", "--resume", session, "--fork-session")
    return Seen((session, fork), (1, 1), (0, 1))


def another_model(lab: Laboratory) -> Seen:
    session = lab.claude("hello", "--model", "sonnet")
    lab.claude("hello again", "--resume", session, "--model", "haiku")
    return Seen((session,), (2,), (0,))


def compaction(lab: Laboratory) -> Seen:
    session = lab.claude("hello")
    lab.claude("hello again", "--resume", session)
    lab.claude("/compact", "--resume", session)
    lab.claude("and again", "--resume", session)
    return Seen((session,), (3,), (0,))


def sub_agent(lab: Laboratory) -> Seen:
    return Seen((lab.claude("AGENT"),), (1,), (2,), children=1)


def thinking(lab: Laboratory) -> Seen:
    return Seen((lab.claude("THINK"),), (1,), (0,))


def overloaded_once(lab: Laboratory) -> Seen:
    return Seen((lab.claude("BUSY"),), (1,), (0,))


def cut_stream(lab: Laboratory) -> Seen:
    return Seen((lab.claude("CUT"),), (1,), (0,))


def interruption(lab: Laboratory) -> Seen:
    session = lab.claude("TOOL one")
    lab.stand_in.waiting.clear()
    command = lab.claude_command("HANG", "--resume", session)
    with subprocess.Popen(
        command, cwd=lab.repository, env=lab.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        assert lab.stand_in.waiting.wait(20)
        process.send_signal(signal.SIGINT)
        process.wait(20)
    lab.claude("hello again", "--resume", session)
    return Seen((session,), (3,), (1,))


def codex_plain(lab: Laboratory) -> Seen:
    return Seen((lab.codex("hello"),), (1,), (0,))


def codex_tools(lab: Laboratory) -> Seen:
    session = lab.codex("TOOL one")
    lab.codex("resume", session, "PARALLEL")
    lab.codex("resume", session, "FAIL")
    return Seen((session,), (3,), (4,), failures=1)


def codex_fork(lab: Laboratory) -> Seen:
    session = lab.codex("TOOL one")
    fork = lab.codex("fork", session, "TOOL two")
    lab.codex("resume", session, "hello")
    return Seen((session, fork), (2, 1), (1, 1))


def codex_compaction(lab: Laboratory) -> Seen:
    session = lab.codex("hello")
    lab.codex("resume", session, "-c", "model_auto_compact_token_limit=1000", "hello again")
    return Seen((session,), (2,), (0,))


def codex_review(lab: Laboratory) -> Seen:
    (lab.repository / "a.txt").write_text("changed\n")
    return Seen((lab.codex("review", "--uncommitted"),), (1,), (0,), children=1)


def codex_sub_agent(lab: Laboratory) -> Seen:
    """The sub-agent is started and waited for by two calls, and makes one itself."""
    return Seen((lab.codex("AGENT"),), (1,), (3,), children=1)


CLAUDE = (
    plain,
    one_tool,
    parallel_tools,
    failing_tool,
    resume,
    fork_while_the_original_goes_on,
    fork_after_the_original_ended,
    another_model,
    compaction,
    sub_agent,
    thinking,
    overloaded_once,
    cut_stream,
    interruption,
)
CODEX = (codex_plain, codex_tools, codex_fork, codex_compaction, codex_review, codex_sub_agent)
CASES = [
    *(("claude", scenario) for scenario in CLAUDE),
    *(("former", scenario) for scenario in CLAUDE),
    *(("codex", scenario) for scenario in CODEX),
]
each = pytest.mark.parametrize(("agent", "scenario"), CASES, ids=[f"{agent}-{run.__name__}" for agent, run in CASES])


@dataclass(frozen=True)
class Outcome:
    """One agent's laboratory after all its scenarios."""

    lab: Laboratory
    seen: dict[str, Seen]
    stored: dict[str, Tokens]
    listed: dict[str, dict[str, Any]]
    summary: dict[str, Any]


@pytest.fixture(scope="session")
def outcomes(make_laboratory: Callable[..., Laboratory]) -> Iterator[dict[str, Outcome]]:
    """Run every scenario of every agent, the agents beside each other, and ingest each home."""
    labs = {"claude": make_laboratory(), "former": make_laboratory("former"), "codex": make_laboratory()}

    def run(agent: str) -> Outcome:
        lab = labs[agent]
        seen = {scenario.__name__: scenario(lab) for name, scenario in CASES if name == agent}
        summary = lab.ingest()
        listed = lab.kaizen("sessions", "list", "--store", str(lab.store))["sessions"]
        by_id = {session["session_id"]: session for session in listed}
        return Outcome(lab, seen, lab.stored_tokens(), by_id, summary)

    with ThreadPoolExecutor(len(labs)) as pool:
        yield dict(zip(labs, pool.map(run, labs), strict=True))


def total(tokens: list[Tokens | None]) -> Tokens:
    return reduce(Tokens.__add__, (item for item in tokens if item is not None), Tokens())


def agree(found: Tokens, calls: list[Call]) -> bool:
    """Compare tokens with the ledger; what came of an answer that broke off is counted by the agent in some runs."""
    whole, cut = total([call.tokens for call in calls]), total([call.cut for call in calls])
    extra = found.output - whole.output
    return found == whole or (0 < extra <= cut.output and found == replace(whole + cut, output=found.output))


@each
def test_tokens_of_every_kind_are_those_of_the_ledger(outcomes: dict[str, Outcome], agent: str, scenario) -> None:
    found = outcomes[agent]
    for session in found.seen[scenario.__name__].sessions:
        calls = found.lab.stand_in.of(session)
        # The former Claude Code writes down neither the call that makes a summary nor its own total.
        told = [call for call in calls if not (call.is_summary and agent == "former")]
        assert agree(found.stored[session], told), [(call.is_summary, call.tokens) for call in calls]


@pytest.mark.parametrize("scenario", CLAUDE)
def test_the_ledger_is_what_claude_code_itself_says(outcomes: dict[str, Outcome], scenario) -> None:
    """The check of the stand-in: the session's own account, which includes what a fork took over."""
    found = outcomes["claude"]
    session, *forks = found.seen[scenario.__name__].sessions
    told = found.lab.told_tokens(session)

    assert agree(told, found.lab.stand_in.of(session))
    for fork in forks:
        own = total([call.tokens for call in found.lab.stand_in.of(fork)])
        assert found.lab.told_tokens(fork).output > own.output


@each
def test_prompts_calls_results_and_parents_are_those_of_the_scenario(
    outcomes: dict[str, Outcome], agent: str, scenario
):
    found, seen = outcomes[agent], outcomes[agent].seen[scenario.__name__]
    children = [item for item in found.listed.values() if item["parent_session_id"] in seen.sessions]
    roots = [found.listed[session] for session in seen.sessions]

    assert tuple(root["prompts"] for root in roots) == seen.prompts
    called = tuple(
        root["tool_calls"] + sum(c["tool_calls"] for c in children if c["parent_session_id"] == root["session_id"])
        for root in roots
    )
    assert called == seen.calls
    # The newer Claude Code writes an error of the API where a person interrupted it.
    assert sum(root["failures"] for root in roots) - seen.failures in ((0, 1) if scenario is interruption else (0,))
    assert len(children) == seen.children


@pytest.mark.parametrize("agent", ["claude", "former", "codex"])
def test_every_response_has_the_model_that_was_asked(outcomes: dict[str, Outcome], agent: str) -> None:
    found = outcomes[agent]
    for session, listed in found.listed.items():
        models = {call.model for call in found.lab.stand_in.of(listed["parent_session_id"] or session)}
        assert listed["model"] in models or listed["tokens_out"] is None, session


@pytest.mark.parametrize("agent", ["claude", "former", "codex"])
def test_no_record_is_rejected_and_unknown_kinds_are_named(outcomes: dict[str, Outcome], agent: str) -> None:
    """AGENTS=latest prints the kinds of records that nobody here knows: a change of format, before users see it."""
    found = outcomes[agent]
    name = "codex" if agent == "codex" else "claude_code"
    summary = found.summary["agents"][name]
    print(f"{agent}: kinds of records that are not known: {json.dumps(summary.get('unknown_kinds', {}))}")
    print(f"{agent}: all kinds: {dict(found.lab.record_kinds())}")

    assert summary["rejects"] == {}
    assert os.environ.get("AGENTS") == "latest" or sum(found.lab.record_kinds().values()) > 0
