"""Classes of what a session carries, waits for, delegates and does again: firing, near miss, not evaluable, cost.

The queries: lone_calls, start_context, cache_lost over paced_responses, rework, delegation, service, smaller_model,
refused. Prices are those of `retro_sessions.MODEL`; opus costs 5 dollars a million tokens, 0.50 read from and 6.25
written to a cache.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from retro_sessions import REPOSITORY, WINDOW, Session, find, lacking, material_of

from kaizen_analytics.retro.findings import collect_evidence, judge_evidence

OPUS = "claude-opus-4-5"


def three(build) -> list[Session]:
    """The same session on three days."""
    return [build(Session(f"s{day}", day)) for day in (9, 5, 2)]


# lone_calls


def tick(session: Session, *beside: str) -> Session:
    session.answer(write=50_000)
    session.call("TaskUpdate", chars=20)
    for tool in beside:
        session.call(tool, chars=20)
    return session.answer(read=50_000, write=100)


def test_a_list_of_tasks_that_is_kept_alone():
    (finding,) = find("lone_calls", *three(tick))

    assert finding.title == "The list of tasks is kept in answers of its own"
    assert finding.cost_usd == pytest.approx(3 * 50_100 * 0.30e-6), "the context of the answer, read once more"


def test_a_list_of_tasks_beside_another_call_costs_nothing_more():
    assert find("lone_calls", *three(lambda session: tick(session, "Read"))) == []


def poll(session: Session, times: int = 3) -> Session:
    session.answer(write=40_000)
    for _ in range(times):
        session.call("write_stdin", chars=100).answer(read=40_000)
    return session


def test_asking_whether_something_is_done_counts_from_the_second_time():
    (finding,) = find("lone_calls", *three(poll))

    assert finding.times == 3 * 2
    assert finding.cost_usd == pytest.approx(6 * 40_000 * 0.30e-6)


def test_asking_once_is_no_finding():
    assert find("lone_calls", *three(lambda session: poll(session, times=1))) == []


def edit(session: Session, *files: str) -> Session:
    session.answer(write=30_000)
    for file in files:
        session.call("Edit", path=f"{REPOSITORY}/{file}").answer(read=30_000)
    return session


def test_edits_of_one_file_in_answers_of_their_own():
    (finding,) = find("lone_calls", *three(lambda session: edit(session, "a.py", "a.py", "b.py", "a.py")))

    assert finding.times == 3, "the second of a.py; the others come after another file"
    assert finding.cost_usd == pytest.approx(3 * 30_000 * 0.30e-6)


def test_edits_of_different_files_are_not_one_edit():
    assert find("lone_calls", *three(lambda session: edit(session, "a.py", "b.py", "a.py"))) == []


def test_without_calls_nothing_is_asked_alone():
    assert lacking("lone_calls", Session("s", 2).prompt("hello")) == ["no session called a tool"]


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


def test_without_prices_starts_are_not_evaluable():
    reason = "no response has a price and a count of cached tokens"
    assert lacking("start_context", begin(Session("s", 2, model=None))) == [reason]


# cache_lost


def test_a_change_of_the_model_is_a_cause():
    def build(session: Session) -> Session:
        session.answer(write=50_000)
        session.model = OPUS
        return session.answer(write=50_000, cost_usd_e6=round(50_000 * 6.25))

    (finding,) = find("cache_lost", *three(build))

    assert finding.subject == "model"
    assert finding.cost_usd == pytest.approx(3 * 50_000 * (6.25 - 0.50) * 1e-6)


def test_loading_tools_is_a_cause():
    def build(session: Session) -> Session:
        return session.answer(write=50_000).call("ToolSearch", chars=100).answer(write=50_100)

    (finding,) = find("cache_lost", *three(build))

    assert finding.subject == "tools"
    assert finding.cost_usd == pytest.approx(3 * 50_000 * (3.75 - 0.30) * 1e-6)


@pytest.mark.parametrize(("minutes", "subjects"), [(4, ["unknown"]), (6, [])])
def test_a_loss_without_a_cause_proposes_nothing_and_a_break_is_none(minutes: int, subjects: list[str]):
    def build(session: Session) -> Session:
        return session.answer(write=50_000).wait(minutes).answer(write=50_000)

    evidence = collect_evidence(material_of(*three(build)))

    assert evidence.rows["cache_lost"]["subject"].unique().to_list() == subjects
    assert find("cache_lost", *three(build)) == []


def test_a_context_that_is_read_is_not_lost():
    assert find("cache_lost", *three(lambda session: session.answer(write=50_000).answer(read=50_000))) == []


def test_without_prices_losses_are_not_evaluable():
    reason = "no response has a price and a count of cached tokens"
    assert lacking("cache_lost", Session("s", 2, model=None).answer(write=50_000)) == [reason]


# rework


def fail_again(session: Session, *, edits: bool = True) -> Session:
    for _ in range(2):
        session.run("go test ./...", "Exit code 1\n--- FAIL: TestA").answer(read=20_000)
        if edits:
            session.call("Edit", path=f"{REPOSITORY}/a.go").answer(read=21_000)
    return session


def test_a_check_that_fails_again_after_an_edit():
    (finding,) = find("rework", *three(fail_again))

    assert finding.subject == "go test"
    assert finding.title.endswith("which rule or test is missing beforehand?")
    assert finding.cost_usd == pytest.approx(3 * (20_000 + 21_000) * 0.30e-6), "the answers between the two failures"


def test_a_failure_that_a_filter_hides_counts_too():
    def build(session: Session) -> Session:
        for _ in range(2):
            session.run("go test ./... | tail -5", says="failed").answer(read=20_000)
            session.call("Edit", path=f"{REPOSITORY}/a.go").answer(read=20_000)
        return session

    assert [finding.times for finding in find("rework", *three(build))] == [3]


def test_a_check_that_runs_twice_without_an_edit_is_no_rework():
    assert find("rework", *three(lambda session: fail_again(session, edits=False))) == []


def lint(session: Session, *, mended: str = "Edit") -> Session:
    session.run("make lint", "Exit code 1\na.py:1: E501").answer(read=20_000)
    session = session.call("Edit", path=f"{REPOSITORY}/a.py") if mended == "Edit" else session.run(mended)
    return session.answer(read=21_000).run("make lint").answer(read=22_000)


def test_a_lint_that_is_mended_by_hand():
    (finding,) = find("rework", *three(lint))

    assert finding.title == "`make lint` fails on code that is written already, and is mended by hand"
    assert finding.cost_usd == pytest.approx(3 * (20_000 + 21_000) * 0.30e-6), "the answers until it is run again"


def test_a_lint_that_a_fixer_mends_is_no_rework():
    assert find("rework", *three(lambda session: lint(session, mended="make fmt"))) == []


def test_lines_that_did_not_last():
    def build(session: Session) -> Session:
        session.lost_share = 0.6
        return session.run("make test").answer(read=100_000)

    (finding,) = find("rework", *three(build))

    assert finding.subject == "undone"
    assert finding.cost_usd == pytest.approx(3 * 0.6 * 100_000 * 0.30e-6)


def test_lines_that_mostly_last_are_no_rework():
    def build(session: Session) -> Session:
        session.lost_share = 0.4
        return session.run("make test").answer(read=100_000)

    assert find("rework", *three(build)) == []


def test_without_checks_rework_is_not_evaluable():
    assert lacking("rework", Session("s", 2).run("ls")) == ["no session ran a check"]


# delegation


def with_child(tokens: int, path: str = "b.py", tool: str = "Read") -> list[Session]:
    sessions = []
    for day in (9, 5, 2):
        root = Session(f"s{day}", day).answer(write=10_000).call("Task", chars=400)
        child = Session(f"c{day}", day - 0.01, parent=root.name).answer(write=tokens)
        child.call("Read", path=f"{REPOSITORY}/a.py", chars=4_000).answer(read=tokens)
        root.wait(60).answer(read=10_000).call(tool, path=f"{REPOSITORY}/{path}", chars=4_000).answer(read=11_000)
        sessions += [root, child]
    return sessions


def test_sub_agents_that_start_with_the_whole_conversation():
    (finding,) = find("delegation", *with_child(80_000))

    assert finding.subject == "copy"
    assert finding.cost_usd == pytest.approx(3 * 60_000 * 2 * 0.30e-6), "what two responses read beyond 20,000 tokens"


def test_a_sub_agent_with_a_question_of_its_own_is_no_copy():
    assert find("delegation", *with_child(49_000)) == []


def test_files_that_parent_and_child_read():
    (finding,) = find("delegation", *with_child(10_000, path="a.py"))

    assert finding.subject == "reread"
    assert finding.cost_usd == pytest.approx(3 * (1_000 * 3.75 + 11_000 * 0.30) * 1e-6), (
        "written once by the answer that read it all"
    )


@pytest.mark.parametrize(("helper", "times"), [("Explore", [6]), ("reviewer", [])])
def test_reading_after_a_sub_agent_explored(helper: str, times: list[int]):
    def build(session: Session) -> Session:
        session.call("Task", helper=helper, chars=400).answer(write=10_000)
        for name in "ab":
            session.call("Read", path=f"{REPOSITORY}/{name}.py", chars=4_000).answer(read=10_000)
        return session

    assert [finding.times for finding in find("delegation", *three(build))] == times


def test_sub_agents_that_end_without_a_result():
    (finding,) = find(
        "delegation", *three(lambda session: session.call("Task", error="interrupted").answer(read=10_000))
    )

    assert finding.subject == "lost"
    assert finding.cost_usd == pytest.approx(3 * 10_000 * 0.30e-6)


def test_without_sub_agents_delegation_is_not_evaluable():
    assert lacking("delegation", Session("s", 2).run("ls")) == ["no session started a sub-agent"]


# service


def test_answers_that_end_at_their_limit():
    (finding,) = find("service", *three(lambda session: session.answer(read=20_000, stop_reason="max_tokens")))

    assert json.loads(finding.change.merge) == {"env": {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "64000"}}
    assert finding.cost_usd == pytest.approx(3 * 20_000 * 0.30e-6)


def test_a_limit_of_the_plan_has_no_known_cost():
    (finding,) = find("service", *three(lambda session: session.answer(read=1).fail("rate_limit")))

    assert (finding.subject, finding.cost_usd) == ("rate_limit", None)


@pytest.mark.parametrize("error", ["interrupted", "overloaded"])
def test_what_nobody_here_can_change_is_no_finding(error: str):
    assert find("service", *three(lambda session: session.answer(read=1).fail(error))) == []


def test_without_answers_the_service_is_not_evaluable():
    assert lacking("service", Session("s", 2).prompt("hello")) == ["no session has an answer"]


# smaller_model


def look(session: Session, tool: str = "Read") -> Session:
    session.model = OPUS
    session.prompt("Where is it?").answer(read=100_000, cost_usd_e6=50_000).call(tool, path="a.py", chars=4)
    return session.answer(read=100_000, cost_usd_e6=50_000)


def test_requests_that_only_read_are_cheaper_on_the_next_smaller_model():
    (finding,) = find("smaller_model", *three(look))

    assert finding.subject == f"turns:{OPUS}:claude-sonnet-4-5"
    assert finding.cost_usd == pytest.approx(3 * 2 * 100_000 * (0.50 - 0.30) * 1e-6)
    assert "they cost $0.30" in finding.seen
    assert "same tokens $0.18" in finding.seen
    assert finding.test.startswith("A randomised experiment on the model")


def test_sub_agents_that_only_read_get_a_setting():
    sessions = three(lambda session: session.answer(read=10))
    children = [look(Session(f"c{root.name}", root.day, parent=root.name)) for root in sessions]

    (finding,) = find("smaller_model", *sessions, *children)

    assert json.loads(finding.change.merge) == {"env": {"CLAUDE_CODE_SUBAGENT_MODEL": "claude-sonnet-4-5"}}


@pytest.mark.parametrize("tool", ["Edit", "Bash"])
def test_requests_that_do_something_are_left_to_their_model(tool: str):
    assert find("smaller_model", *three(lambda session: look(session, tool))) == []


def test_a_model_without_a_smaller_one_is_no_finding():
    def build(session: Session) -> Session:
        session.model = "claude-haiku-4-5"
        return session.prompt("Where?").answer(read=100_000).call("Read", path="a.py").answer(read=100_000)

    assert find("smaller_model", *three(build)) == []


def test_without_prices_models_are_not_evaluable():
    reason = "no response has a price and a count of cached tokens"
    assert lacking("smaller_model", Session("s", 2, model=None).answer(read=1)) == [reason]


# refused


def refuse(session: Session, command: str) -> Session:
    return session.run(command, "The user doesn't want to proceed with this tool use.", rejected=True).answer(
        read=10_000
    )


def test_a_command_that_people_refuse():
    (finding,) = find("refused", *three(lambda session: refuse(session, "git push --force")))

    assert finding.change.line == "Do not run `git push` unless you are asked to; say what you would run instead."
    assert finding.cost_usd == pytest.approx(3 * 10_000 * 0.30e-6)


def test_a_refused_command_that_only_reads_is_a_matter_of_the_allow_list():
    sessions = three(lambda session: refuse(session, "git status"))

    assert find("refused", *sessions) == []
    assert [finding.kind for finding in find("approval", *sessions)] == ["approval"]


def test_without_commands_nothing_is_refused():
    assert lacking("refused", Session("s", 2).prompt("hello")) == ["no session ran a command"]
