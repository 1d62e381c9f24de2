"""Every heuristic of sql/retro: one case in which it fires, one in which it must not, and one it cannot judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from retro_rows import (
    DAY_MS,
    END_MS,
    HEURISTICS,
    MINUTE_MS,
    Row,
    ask,
    call,
    event,
    metrics,
    response,
    session,
    shell,
    sub_agent,
    touch,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Relations = dict[str, list[Row]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """`fires` gives one bet of `key` that saves `tokens`; `quiet` is close to it and gives none."""

    file: str
    fires: Relations
    quiet: Relations
    key: str
    tokens: float
    occurrences: int

    @property
    def heuristic(self) -> str:
        return f"H{int(self.file[1:3])}"


def old_skill(age_days: int) -> Row:
    path = ".claude/skills/deploy/SKILL.md"
    return {
        "kind": "skill",
        "name": "deploy",
        "path": path,
        "bytes": 4000,
        "changed_ms": END_MS - age_days * DAY_MS,
    }


def guidance_file(place: int, size: int = 100) -> Row:
    return {"kind": "rule", "name": f"r{place}.mdc", "path": f".cursor/rules/r{place}.mdc", "bytes": size}


def edits(name: str, path: str, count: int) -> list[Row]:
    return [touch(name, "edit", path, seq) for seq in range(count)]


def fails(name: str, program: str, outcomes: str, **columns: object) -> list[Row]:
    """One call for each letter: f failed, s succeeded."""
    return [shell(name, program, seq, is_error=int(letter == "f"), **columns) for seq, letter in enumerate(outcomes)]


def runs(name: str, programs: str) -> list[Row]:
    return [shell(name, program, seq) for seq, program in enumerate(programs.split())]


def logs(name: str) -> list[Row]:
    return [shell(name, "git log", 20 + place) for place in range(9)]


def fingerprinted(prefix: str, fingerprint: str, usd: float, count: int = 5) -> Relations:
    names = [f"{prefix}{place}" for place in range(count)]
    return {
        "sessions": [session(name, prompt_fingerprint=fingerprint) for name in names],
        "session_metrics": [metrics(name, cost_per_session=usd, success_rate=1.0) for name in names],
    }


def both(one: Relations, other: Relations) -> Relations:
    return {name: [*one[name], *other[name]] for name in one}


def outcome(name: str, **columns: object) -> Row:
    return {"session_id": name, **columns}


def scores(*values: float) -> list[Row]:
    return [{"session_id": f"s{i}", "score": value, "created_at_ms": i} for i, value in enumerate(values)]


def sample(name: str, ts_ms: int = 0, **columns: object) -> Row:
    return {"session_id": name, "ts_ms": ts_ms, "pid": 1, **columns}


CASES = (
    Case(
        file="h01_dead_guidance",
        fires={
            "guidance": [old_skill(61)],
            "events": [event("s", "Message", i) for i in range(24)],
            "sessions": [session("s"), session("t")],
        },
        quiet={
            "guidance": [old_skill(61)],
            "events": [event("s", "Message", i) for i in range(24)],
            "sessions": [session("s"), session("t")],
            "guidance_use": [{"session_id": "s", "kind": "skill", "name": "deploy", "started_at_ms": END_MS - DAY_MS}],
        },
        key=".claude/skills/deploy/SKILL.md",
        tokens=4000 / 4 * 2,
        occurrences=4000,
    ),
    Case(
        file="h02_hidden_coupling",
        fires={"touches": [touch(s, "edit", p) for s in "abc" for p in ("api/user.py", "web/form.ts")]},
        quiet={"touches": [touch(s, "edit", p) for s in "abc" for p in ("src/cart.py", "tests/test_cart.py")]},
        key="api/user.py|web/form.ts",
        tokens=3 * 500,
        occurrences=3,
    ),
    Case(
        file="h03_path_churn",
        fires={"touches": edits("s", "src/a.py", 8)},
        quiet={"touches": [*edits("s", "src/a.py", 7), *edits("t", "src/a.py", 7), *edits("s", "plan.md", 20)]},
        key="src/a.py",
        tokens=8 * 800,
        occurrences=8,
    ),
    Case(
        file="h04_dominant_tool",
        fires={"calls": [*runs("s", "pytest " * 4), *[call("s", "Read", 9 + i, tool_class="read") for i in range(12)]]},
        quiet={"calls": [*runs("s", "grep " * 9), *[call("s", "Read", 9 + i, tool_class="read") for i in range(12)]]},
        key="pytest",
        tokens=200 * 4,
        occurrences=4,
    ),
    Case(
        file="h05_idle_sessions",
        fires={
            "sessions": [session(s, status="Idle", ended_at_ms=END_MS + 30 * MINUTE_MS) for s in "ab"],
        },
        quiet={
            "sessions": [session(s, status="Idle", ended_at_ms=END_MS + 29 * MINUTE_MS) for s in "ab"],
        },
        key="idle",
        tokens=2 * 300,
        occurrences=2,
    ),
    Case(
        file="h06_skill_misfire",
        fires={"events": [event(f"s{i}", "ToolCall", 1, skill="deploy") for i in range(10)]},
        quiet={
            "events": [
                one
                for i in range(10)
                for one in (
                    event(f"s{i}", "ToolCall", 1, skill="deploy"),
                    event(f"s{i}", "ToolCall", 2, tool="Bash"),
                    event(f"s{i}", "Message", 3, is_prompt=1),
                )
            ],
        },
        key="deploy",
        tokens=10 * 150,
        occurrences=10,
    ),
    Case(
        file="h07_premium_overkill",
        fires={"session_metrics": [metrics(f"s{i}", model="claude-opus-4-5", cost_per_session=0.05) for i in range(8)]},
        quiet={"session_metrics": [metrics(f"s{i}", model="claude-opus-4-5", cost_per_session=0.06) for i in range(8)]},
        key="models",
        tokens=400 * 8,
        occurrences=8,
    ),
    Case(
        file="h08_doc_drift",
        fires={
            "touches": [
                one
                for s in "ab"
                for one in (
                    touch(s, "read", "docs/api.md", 0),
                    *(touch(s, "edit", "src/a.py", i) for i in (1, 2, 3)),
                )
            ],
        },
        quiet={
            "touches": [
                one
                for s in "ab"
                for one in (
                    touch(s, "read", "docs/api.md", 0),
                    *(touch(s, "edit", "src/a.py", i) for i in (1, 2, 3)),
                    touch(s, "edit", "docs/api.md", 4),
                )
            ],
        },
        key="docs/api.md",
        tokens=6 * 600,
        occurrences=2,
    ),
    Case(
        file="h09_error_budget",
        fires={"events": [event("s", "Error", i, error="overloaded") for i in range(6)], "sessions": [session("s")]},
        quiet={"events": [event("s", "Error", i, error="interrupted") for i in range(9)], "sessions": [session("s")]},
        key="overloaded",
        tokens=6 * 120,
        occurrences=6,
    ),
    Case(
        file="h10_failing_commands",
        fires={"calls": fails("s", "go test", "sfffs")},
        quiet={"calls": [*fails("s", "go test", "ffsff"), *fails("t", "grep", "fff")]},
        key="go test",
        tokens=3 * 400,
        occurrences=3,
    ),
    Case(
        file="h11_cost_outlier",
        fires={
            "session_metrics": [
                metrics("big", cost_per_session=7.5, tokens_per_session=6000.0),
                *(metrics(f"s{i}", cost_per_session=0.5, tokens_per_session=0.0) for i in range(5)),
            ],
        },
        quiet={
            "session_metrics": [
                metrics("big", cost_per_session=7.5, tokens_per_session=6000.0),
                *(metrics(f"s{i}", cost_per_session=0.5, tokens_per_session=0.0) for i in range(4)),
            ],
        },
        key="big",
        tokens=(6000 - 1000) / 2,
        occurrences=1,
    ),
    Case(
        file="h12_large_file_reads",
        fires={"touches": [touch("s", "read", "src/a.py", i, lines=500, chars=20_000, is_error=0) for i in range(2)]},
        quiet={"touches": [touch("s", "read", "src/a.py", i, lines=499, chars=20_000, is_error=0) for i in range(2)]},
        key="src/a.py",
        tokens=40_000 / 4 / 2,
        occurrences=2,
    ),
    Case(
        file="h13_delegation_load",
        fires={
            "calls": [call("s", "mcp__jira__get", i, tool_class="mcp") for i in range(3)]
            + [call("s", "Read", 3 + i, tool_class="read") for i in range(17)],
        },
        quiet={
            "calls": [call("s", "mcp__jira__get", i, tool_class="mcp") for i in range(2)]
            + [call("s", "Read", 3 + i, tool_class="read") for i in range(18)],
        },
        key="mcp",
        tokens=3 * 80,
        occurrences=3,
    ),
    Case(
        file="h14_instruction_bloat",
        fires={"guidance": [guidance_file(i) for i in range(22)]},
        quiet={"guidance": [guidance_file(i) for i in range(21)]},
        key="guidance",
        tokens=2200 / 8,
        occurrences=2200,
    ),
    Case(
        file="h15_low_eval_scores",
        fires={"session_evals": scores(0.1, 0.9, 0.2, 0.3)},
        quiet={"session_evals": scores(0.1, 0.9, 0.2, 0.4)},
        key="scores",
        tokens=3 * 600,
        occurrences=3,
    ),
    Case(
        file="h16_prompt_variants",
        fires=both(fingerprinted("a", "aaaa", 1.0), fingerprinted("b", "bbbb", 0.79)),
        quiet=both(fingerprinted("a", "aaaa", 1.0), fingerprinted("b", "bbbb", 0.81)),
        key="aaaa|bbbb",
        tokens=5 * 500,
        occurrences=10,
    ),
    Case(
        file="h17_human_feedback",
        fires={"session_feedback": [{"session_id": s, "label": "bad", "created_at_ms": 0} for s in "ab"]},
        quiet={"session_feedback": [{"session_id": s, "label": "interesting", "created_at_ms": 0} for s in "ab"]},
        key="feedback",
        tokens=2 * 800,
        occurrences=2,
    ),
    Case(
        file="h18_delegation_tree",
        fires={"sessions": [session("r"), *(sub_agent(f"c{i}", "r") for i in range(8))]},
        quiet={"sessions": [session("r"), *(sub_agent(f"c{i}", "r") for i in range(7))]},
        key="r",
        tokens=600 * 2,
        occurrences=9,
    ),
    Case(
        file="h19_context_pressure",
        fires={"responses": [response(s, 1, context_used_tokens=80, context_max_tokens=100) for s in "abcde"]},
        quiet={"responses": [response(s, 1, context_used_tokens=79, context_max_tokens=100) for s in "abcde"]},
        key="context",
        tokens=5 * 2000,
        occurrences=5,
    ),
    Case(
        file="h20_cold_cache",
        fires={"responses": [response("s", i, cache_read_tokens=100, tokens_in=900) for i in range(20)]},
        quiet={"responses": [response("s", i, cache_read_tokens=200, tokens_in=800) for i in range(20)]},
        key="m",
        tokens=(0.2 - 0.1) * 20_000 / 10,
        occurrences=20,
    ),
    Case(
        file="h21_retry_cascade",
        fires={"events": [event("s", "Lifecycle", i, lifecycle="api_retry") for i in range(15)]},
        quiet={"events": [event("s", "Lifecycle", i, lifecycle="api_retry") for i in range(14)]},
        key="retries",
        tokens=1500,
        occurrences=15,
    ),
    Case(
        file="h22_truncation",
        fires={"responses": [response("s", i, stop_reason="max_tokens" if i < 2 else "end_turn") for i in range(20)]},
        quiet={"responses": [response("s", i, stop_reason="max_tokens" if i < 2 else "end_turn") for i in range(21)]},
        key="max_tokens",
        tokens=2 * 800,
        occurrences=2,
    ),
    Case(
        file="h23_abandoned_todos",
        fires={"calls": [call(s, "TodoWrite", 1, todos_total=5, todos_done=1) for s in "abc"]},
        quiet={"calls": [call(s, "TodoWrite", 1, todos_total=5, todos_done=2) for s in "abc"]},
        key="todos",
        tokens=3 * 120,
        occurrences=3,
    ),
    Case(
        file="h24_rejected_edits",
        fires={"calls": [call("s", "Edit", i, tool_class="edit", is_error=1, is_rejected=i < 2) for i in range(8)]},
        quiet={"calls": [call("s", "Edit", i, tool_class="edit", is_error=1, is_rejected=i < 1) for i in range(8)]},
        key="edits",
        tokens=2 * 90,
        occurrences=2,
    ),
    Case(
        file="h25_mode_thrash",
        fires={"events": [event(s, "Lifecycle", i, lifecycle="mode") for s in "ab" for i in range(4)]},
        quiet={"events": [event(s, "Lifecycle", i, lifecycle="mode") for s in "ab" for i in range(3)]},
        key="modes",
        tokens=8 * 40,
        occurrences=8,
    ),
    Case(
        file="h27_failing_tests",
        fires={"session_outcomes": [outcome("s", test_passed=3, test_failed=2)]},
        quiet={"session_outcomes": [outcome("s", test_passed=4, test_failed=1)]},
        key="tests",
        tokens=2000 * 2 / 5,
        occurrences=2,
    ),
    Case(
        file="h28_reverts",
        fires={"session_outcomes": [outcome("s", revert_lines_14d=60), outcome("t", revert_lines_14d=40)]},
        quiet={"session_outcomes": [outcome("s", revert_lines_14d=60), outcome("t", revert_lines_14d=39)]},
        key="reverts",
        tokens=200,
        occurrences=100,
    ),
    Case(
        file="h29_lint_debt",
        fires={"session_outcomes": [outcome("s", lint_errors=21)]},
        quiet={"session_outcomes": [outcome("s", lint_errors=20)]},
        key="debt",
        tokens=800 + 210,
        occurrences=21,
    ),
    Case(
        file="h30_high_cpu",
        fires={"session_samples": [sample("s", cpu_percent=81.0)]},
        quiet={"session_samples": [sample("s", cpu_percent=80.0)]},
        key="cpu",
        tokens=5 * 81,
        occurrences=1,
    ),
    Case(
        file="h31_high_memory",
        fires={"session_samples": [sample("s", rss_bytes=2_000_000_000)]},
        quiet={"session_samples": [sample("s", rss_bytes=999_999_999)]},
        key="memory",
        tokens=1000,
        occurrences=1,
    ),
    Case(
        file="h32_long_sampled_sessions",
        fires={"session_samples": [sample("s", i) for i in range(100)]},
        quiet={"session_samples": [sample("s", i) for i in range(99)]},
        key="samples",
        tokens=200,
        occurrences=100,
    ),
    Case(
        file="h33_automation_cue",
        fires={"calls": [*runs("s", "make " * 5), *runs("t", "make " * 5)]},
        quiet={
            "calls": [
                *runs("s", "make " * 5),
                *runs("t", "make " * 4),
                *runs("u", "ls " * 9),
                *runs("v", "ls " * 9),
                *logs("u"),
                *logs("v"),
            ]
        },
        key="make",
        tokens=2 * 4 * 150 * 1.25,
        occurrences=10,
    ),
    Case(
        file="h34_repeated_failure",
        fires={
            "calls": [
                *fails("s", "npm start", "ff", error="port 80 is taken"),
                *fails("t", "npm start", "f", error="Exit code 1 port 80 is taken"),
            ],
        },
        quiet={"calls": [*fails("s", "npm test", "ff", error="Exit code 1"), *fails("t", "npm test", "f", error="")]},
        key="npm start",
        tokens=2 * 600,
        occurrences=3,
    ),
    Case(
        file="h35_compaction_churn",
        fires={
            "events": [event("s", "Lifecycle", ts, lifecycle="compaction") for ts in (10, 20)],
            "responses": [response("s", ts, tokens_in=ts * 100, cache_creation_tokens=1) for ts in (11, 21)],
        },
        quiet={
            "events": [event(s, "Lifecycle", 10, lifecycle="compaction") for s in "ab"],
            "responses": [response("a", 11, tokens_in=100)],
        },
        key="compaction",
        tokens=2101,
        occurrences=2,
    ),
    Case(
        file="h36_cache_write_waste",
        fires={
            "events": [event("s", "Message", 0)],
            "responses": [
                response("s", 1, ts_ms=0, cache_creation_tokens=300_000, cache_read_tokens=0),
                response("s", 2, ts_ms=6 * MINUTE_MS, cache_creation_tokens=300_000, cache_read_tokens=50_000),
            ],
        },
        quiet={
            "events": [event("s", "Message", 0)],
            "responses": [
                response("s", 1, ts_ms=0, cache_creation_tokens=300_000, cache_read_tokens=0),
                response("s", 2, ts_ms=6 * MINUTE_MS, cache_creation_tokens=300_000, cache_read_tokens=300_000),
            ],
        },
        key="pause",
        tokens=250_000 / 2,
        occurrences=1,
    ),
    Case(
        file="h37_repeated_delegation",
        fires={
            "sessions": [session("p"), sub_agent("c", "p")],
            "touches": [touch("c", "read", f"src/{n}.py", 1, chars=400) for n in "abc"]
            + [touch("p", "read", f"src/{n}.py", 2, chars=400) for n in "abc"],
        },
        quiet={
            "sessions": [session("p"), sub_agent("c", "p")],
            "touches": [touch("c", "read", f"src/{n}.py", 2, chars=400) for n in "abc"]
            + [touch("p", "read", f"src/{n}.py", 1, chars=400) for n in "abc"],
        },
        key="reads",
        tokens=3 * 100,
        occurrences=3,
    ),
    Case(
        file="h38_stopped_calls",
        fires={"calls": [shell("s", "git push", i, is_error=1, is_rejected=True) for i in range(3)]},
        quiet={
            "calls": [shell("s", "git push", i, is_error=1, is_rejected=i < 2) for i in range(3)]
            + [call("s", "Edit", i, tool_class="edit", is_error=1, is_rejected=True) for i in range(9)],
        },
        key="git push",
        tokens=3 * 400,
        occurrences=3,
    ),
)


def case_name(case: Case) -> str:
    return case.file


def test_every_heuristic_has_a_case() -> None:
    assert [case.heuristic for case in CASES] == list(HEURISTICS)
    assert [f"retro/{case.file}.sql" for case in CASES] == [heuristic.path for heuristic in HEURISTICS.values()]


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_it_fires_and_says_what_to_do(case: Case) -> None:
    [bet] = ask(case.heuristic, **case.fires).rows.to_dicts()

    assert (bet["bet_key"], bet["occurrences"]) == (case.key, case.occurrences)
    assert bet["tokens_saved_per_week"] == pytest.approx(case.tokens)
    assert bet["evidence"] or case.heuristic in {"H1", "H14"}
    for text in (bet["title"], bet["hypothesis"], bet["apply_step"]):
        assert text
        assert text.count("`") % 2 == 0
        assert "\n" not in text
    assert bet["hypothesis"].endswith(".")
    assert bet["apply_step"].endswith((".", "?"))


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_it_stays_quiet(case: Case) -> None:
    finding = ask(case.heuristic, **case.quiet)

    assert finding.evaluated
    assert finding.sentence == "nothing found"


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_it_is_not_evaluated_without_its_inputs(case: Case) -> None:
    finding = ask(case.heuristic)

    assert finding.missing == HEURISTICS[case.heuristic].needs
    assert finding.sentence.startswith("not evaluated: needs ")
    assert finding.rows.is_empty()


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_a_column_of_nulls_is_a_missing_input(case: Case) -> None:
    columns = [need.split(".") for need in HEURISTICS[case.heuristic].needs if "." in need]
    for relation, column in columns:
        emptied: Mapping[str, list[Row]] = {
            name: [{**row, column: None} for row in rows] if name == relation else rows
            for name, rows in case.fires.items()
        }
        assert f"{relation}.{column}" in ask(case.heuristic, **emptied).missing


def test_a_score_that_falls_is_a_bet_of_its_own() -> None:
    evaluations = [
        {"session_id": f"s{i}", "score": score, "created_at_ms": i}
        for i, score in enumerate((0.9, 0.9, 0.9, 0.7, 0.7, 0.7))
    ]
    [bet] = ask("H15", session_evals=evaluations).rows.to_dicts()

    assert bet["title"] == "Evaluation scores fell by 0.20"
    assert bet["occurrences"] == 3


def test_low_scores_of_people_are_a_bet_without_a_label() -> None:
    remarks = [{"session_id": f"s{i}", "score": score, "created_at_ms": i} for i, score in enumerate((1, 2, 2, 3, 3))]
    [bet] = ask("H17", session_feedback=remarks).rows.to_dicts()

    assert bet["title"] == "People scored sessions 2.2 of 5 on average"


def test_sub_agents_that_use_most_tokens_are_a_bet() -> None:
    sessions = [session("p"), *(sub_agent(f"c{i}", "p") for i in range(5))]
    usage = [response("p", 1, tokens_in=50), response("c1", 1, tokens_in=50)]
    [bet] = ask("H13", sessions=sessions, responses=usage, calls=[call("p", "Task", 1)]).rows.to_dicts()

    assert (bet["bet_key"], bet["title"]) == ("sub-agents", "Sub-agents use 50 % of all tokens")


def test_a_chain_of_delegation_counts_its_levels() -> None:
    chain = [session("a"), *(sub_agent(c, p, root_id="a") for p, c in ("ab", "bc", "cd"))]
    [bet] = ask("H18", sessions=chain).rows.to_dicts()

    assert bet["title"] == "One session delegated 4 levels deep to up to 1 sub-agents"


@pytest.mark.parametrize(
    ("programs", "key"),
    [("make pytest " * 3, "make + pytest"), ("git make pytest " * 2, "git + make + pytest")],
)
def test_cycles_of_two_and_three_programs_are_cues(programs: str, key: str) -> None:
    calls = [one for name in "st" for one in runs(name, programs)]
    assert key in ask("H33", calls=calls).rows["bet_key"].to_list()


def test_losses_without_a_pause_and_across_a_compaction_are_told_apart() -> None:
    usage = [
        response("s", 1, ts_ms=0, cache_creation_tokens=300_000, cache_read_tokens=0),
        response("s", 2, ts_ms=MINUTE_MS, cache_creation_tokens=10, cache_read_tokens=0),
    ]
    compaction = event("s", "Lifecycle", 5, lifecycle="compaction", ts_ms=30_000)

    assert ask("H36", responses=usage).rows["bet_key"].to_list() == ["prefix"]
    assert ask("H36", responses=usage, events=[compaction]).rows.is_empty()


def test_complexity_weighs_where_it_was_measured() -> None:
    facts = [{"path": "src/a.py", "loc": 10, "bytes": 100, "complexity_total": 5}]
    [bet] = ask("H3", touches=edits("s", "src/a.py", 8), file_facts=facts).rows.to_dicts()

    assert bet["tokens_saved_per_week"] == 8 * (800 + 20 * 5)


def test_a_guidance_file_that_changed_lately_is_not_dead() -> None:
    events = [event("s", "Message", i) for i in range(24)]
    young, old = (ask("H1", guidance=[old_skill(age)], events=events, sessions=[session("s")]) for age in (59, 61))

    assert (young.rows.height, old.rows.height) == (0, 1)


def test_a_cursor_skill_is_not_judged_by_other_agents_sessions() -> None:
    skill = {**old_skill(90), "path": ".cursor/skills/deploy/SKILL.md"}
    events = [event("s", "Message", i) for i in range(24)]

    assert ask("H1", guidance=[skill], events=events, sessions=[session("s")]).rows.is_empty()
    assert ask("H1", guidance=[skill], events=events, sessions=[session("s", agent="cursor")]).rows.height == 1


def test_a_changed_threshold_changes_the_answer() -> None:
    touches = edits("s", "src/a.py", 3)

    assert ask("H3", touches=touches).rows.is_empty()
    assert ask("H3", {"min_edits": 3}, touches=touches).rows.height == 1
