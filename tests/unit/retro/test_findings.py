"""What classes of findings look at, beyond what their rows in `test_each_class` show.

The queries: call_costs, wrong_command, missing_path, unknown_helper, edit_refused, fix_before_check, large_output,
whole_file, lone_calls, start_context, cache_written over paced_responses, carried_context, repeated_prompt,
unchecked_end, rework, delegation, service, smaller_model, refused. Prices: `retro_sessions.MODEL`.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from math import log1p
from typing import TYPE_CHECKING

import pytest
from retro_sessions import (
    DAY_MS,
    END_MS,
    REPOSITORY,
    WINDOW,
    Session,
    begin,
    edit,
    find,
    judge,
    lean,
    look,
    material_of,
    misspell,
    search,
    three,
)

from kaizen_analytics.core.model import Window
from kaizen_analytics.retro.findings import _finding_id, _Proof, collect_evidence, judge_evidence
from kaizen_analytics.retro.material import _classify_error

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.retro.findings import Finding


# wrong_command


def test_a_command_that_fails_everywhere_names_the_one_that_works():
    (finding,) = find("wrong_command", *three(misspell))

    assert finding.title == "`rtk bun test` does not work here; `bun test` does"
    assert (finding.times, finding.sessions, finding.days, finding.exposed) == (3, 3, 3, 3)
    assert finding.change.file == "CLAUDE.md"
    assert finding.change.line == "Run `bun test`, not `rtk bun test`: `rtk` has no `bun`."
    assert [moment.seq for moment in finding.evidence] == [2, 2, 2]
    assert finding.id == _finding_id("wrong_command", REPOSITORY, "option:rtk:bun")


def test_carrying_ends_at_a_compaction():
    def build(session: Session) -> Session:
        misspell(session)
        return session.answer(read=5_000, segment=1)

    (finding,) = find("wrong_command", *three(build))

    assert finding.tokens == 3 * (10_100 + 100)


def test_a_program_that_is_not_on_the_path_gets_a_hook():
    def build(session: Session) -> Session:
        session.run("go test ./...", "bash: go: command not found").answer(read=10_000)
        return session.run("/usr/local/go/bin/go test ./...")

    (finding,) = find("wrong_command", *three(build))

    assert finding.title == "`go` is not on the agent's PATH"
    (hook,) = json.loads(finding.change.merge)["hooks"]["SessionStart"][0]["hooks"]
    assert hook["command"] == 'echo \'export PATH="$PATH:/usr/local/go/bin"\' >> "$CLAUDE_ENV_FILE"'
    assert finding.test.startswith("Needs no experiment")


def test_orphans_count_nowhere():
    def build(session: Session) -> Session:
        session.is_orphan = True
        return misspell(session)

    assert judge(*three(build)) == ((), ())
    assert material_of(*three(build)).orphans.height == 3


def test_sub_agents_count_with_their_root():
    roots = three(misspell)
    children = [misspell(Session(f"c{root.name}", root.day, parent=root.name)) for root in roots]

    (finding,) = find("wrong_command", *roots, *children)

    assert (finding.times, finding.sessions) == (6, 3)


def test_worktrees_belong_to_their_repository():
    def build(session: Session) -> Session:
        session.workspace = f"{REPOSITORY}/.worktrees/{session.name}"
        return misspell(session)

    assert [finding.repository for finding in find("wrong_command", *three(build))] == [REPOSITORY]


def test_only_the_window_counts():
    later = Window(start_ms=WINDOW.start_ms + 28 * DAY_MS, end_ms=END_MS + 28 * DAY_MS)

    assert judge(*three(misspell), window=later)[0] == ()


def test_a_finding_is_new_when_the_last_week_has_more_of_it():
    calm = [Session(f"c{day}", day).run("bun test") for day in range(8, 20)]

    (fresh,) = find("wrong_command", *calm, *[misspell(Session(f"s{day}", day)) for day in (4, 3, 2)])
    (old,) = find("wrong_command", *calm, *[misspell(Session(f"s{day}", day)) for day in (9, 8, 2)])
    (first,) = find("wrong_command", *[misspell(Session(f"s{day}", day)) for day in (4, 3, 2)])

    assert (fresh.is_new, old.is_new, first.is_new) == (True, False, None)


def test_findings_stand_in_the_order_of_their_cost_and_are_priced_on_days_that_did_not_choose_them():
    early = [misspell(Session(f"e{day}", day)) for day in (25, 20, 15, 3)]
    late = [search(Session(f"l{day}", day)) for day in (6, 5, 4)]

    found = judge(*early, *late)[0]

    assert [one.cost_usd for one in found] == sorted((one.cost_usd for one in found), reverse=True)
    [recent] = [one for one in found if one.kind == "large_output"]
    [command] = [one for one in found if one.kind == "wrong_command"]
    # One time in one week: the interval of a Poisson mean begins at -ln(1 - 0.025).
    assert command.usd_per_week == pytest.approx(command.cost_usd / 4 * -log1p(-0.025))
    assert command.proof == _Proof(days=7, hit=1, exposed=4)
    assert (recent.usd_per_week, recent.proof) == (None, None), "the last days alone show it"


# missing_path


@pytest.mark.parametrize(("names", "times"), [("abc", [3]), ("aab", [])])
def test_paths_that_are_guessed(names: str, times: list[int]):
    def build(session: Session) -> Session:
        name = names[len(built)]
        built.append(session)
        return session.run(f"cat {name}.md", f"cat: {name}.md: No such file or directory").answer(read=9_000)

    built: list[Session] = []

    found = find("missing_path", *three(build))

    assert [finding.times for finding in found if finding.subject == "guess"] == times


# fix_before_check


def test_checks_of_several_kinds_that_a_fixer_follows():
    checks = iter(
        [("npx eslint .", "npx eslint --fix ."), ("ruff check .", "ruff check --fix ."), ("make lint", "make fmt")]
    )

    (finding,) = find("fix_before_check", *three(lambda session: fix_next(session, *next(checks))))

    assert finding.subject == "any"
    assert finding.change.line.startswith("Before a lint or format check, run the fixer")


def fix_next(session: Session, check: str, fixer: str) -> Session:
    return session.run(check, "Exit code 1\nformat").answer(read=10_000).run(fixer).answer(read=10_000)


# cache_expired


def test_a_cache_that_lives_an_hour_is_told_by_its_price():
    def build(session: Session) -> Session:
        return session.answer(write=50_000, hour=True).wait(20).answer(write=50_000, hour=True)

    assert material_of(build(Session("s", 2))).responses["life_ms"].to_list() == [3_600_000, 3_600_000]


@pytest.mark.parametrize(("minutes", "times"), [(11, [3]), (9, [])])
def test_a_cache_of_unknown_life_is_taken_to_live_ten_minutes(minutes: float, times: list[int]):
    def build(session: Session) -> Session:
        session.agent, session.model = "codex", "gpt-5-codex"
        session.answer(write=50_000, write_tokens=None, cost_usd_e6=1).wait(minutes)
        return session.answer(read=3_000, write=47_000, write_tokens=None, cost_usd_e6=1)

    found = find("cache_expired", *three(build))

    # 1.25 dollars a million tokens, 0.125 from the cache: 47,000 tokens were read without it.
    assert [finding.times for finding in found] == times
    assert [finding.cost_usd for finding in found] == [pytest.approx(3 * 47_000 * 1.125e-6) for _ in times]


# repeated_prompt


@pytest.mark.parametrize(("steps", "times"), [(3, [9]), (2, [])])
def test_people_who_say_no_more_than_to_go_on(steps: int, times: list[int]):
    def build(session: Session) -> Session:
        session.prompt("Build it").answer(read=10_000)
        for _ in range(steps):
            session.prompt("ok").answer(read=20_000)
        return session

    assert [finding.times for finding in find("repeated_prompt", *three(build))] == times


# unchecked_end


def end_unchecked(check: str, agent: str = "claude_code") -> Finding:
    checked = [edit(Session(f"c{day}", day, agent=agent), check) for day in (10, 9, 8, 7)]
    unchecked = [edit(Session(f"s{day}", day, agent=agent), None) for day in (9, 5, 2)]
    (finding,) = find("unchecked_end", *checked, *unchecked)
    return finding


def test_sessions_that_end_unchecked():
    finding = end_unchecked("make test", agent="codex")

    assert finding.times == 3
    assert finding.change.line == "After your last edit, run `make test`, and say what it showed."
    assert (finding.cost_usd, finding.usd_per_week) == (None, None)


@pytest.mark.parametrize(
    ("dirty", "passes", "again", "status"),
    [(True, False, False, 2), (True, False, True, 0), (True, True, False, 0), (False, False, False, 0)],
)
def test_claude_code_gets_a_hook_that_runs_the_check(tmp_path: Path, dirty, passes, again, status, need_tool):
    hook = json.loads(end_unchecked("make test").change.merge)["hooks"]["Stop"][0]["hooks"][0]["command"]
    git = [need_tool("git"), "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "Makefile").write_text(f"test:\n\t@echo checked\n\t@{str(passes).lower()}\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *words], check=True)
    if dirty:
        (tmp_path / "Makefile").write_text((tmp_path / "Makefile").read_text() + "\n")

    given = json.dumps({"stop_hook_active": again})
    ran = subprocess.run(["sh", "-c", hook], check=False, cwd=tmp_path, input=given, capture_output=True, text=True)

    assert (ran.returncode, ran.stdout) == (status, "")
    assert ("checked" in ran.stderr) == (dirty and not again)
    assert ("make test fails" in ran.stderr) == (status == 2)


@pytest.mark.parametrize("check", ["make test CC=a*b", "pytest ~/x", "pytest ../evil", "pytest -q"])
def test_a_check_of_more_than_plain_words_is_no_hook(check: str):
    assert end_unchecked(check).change.merge == ""


# repositories


def test_clones_of_one_repository_count_as_one():
    def build(session: Session) -> Session:
        session.workspace = f"/home/{session.name}/shop"
        for name in "abc":
            session.call("Read", path=f"{session.workspace}/src/shop/{name}.py")
        return misspell(session)

    (finding,) = find("wrong_command", *three(build))

    assert (finding.repository, finding.sessions) == ("/home/s2/shop", 3)


def test_clones_on_this_machine_are_told_by_their_remote(tmp_path):
    def build(session: Session) -> Session:
        root = tmp_path / session.name
        (root / ".git").mkdir(parents=True)
        url = "git@example.org:a/shop.git" if session.name == "s9" else "https://example.org/a/shop"
        (root / ".git/config").write_text(f'[core]\n\tbare = false\n[remote "origin"]\n\tfetch = x\n\turl = {url}\n')
        session.workspace = str(root)
        return misspell(session)

    assert [finding.sessions for finding in find("wrong_command", *three(build))] == [3]


# reading


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Exit code 127\n/bin/bash: line 1: python: command not found", ("not_found", "python")),
        ("zsh: command not found: gr", ("not_found", "gr")),
        (
            "Chunk ID: a\nWall time: 0.1 seconds\nProcess exited with code 2\nOutput:\nls: cannot access 'x/y': No",
            ("path", "x/y"),
        ),
        ("error: unexpected argument '--no-tty' found", ("option", "--no-tty")),
        ("Exit code 1\n== 2 failed, 5 passed ==", None),
        (None, None),
    ],
)
def test_errors_are_told_apart_by_a_table(text: str | None, expected: tuple[str, str] | None):
    assert _classify_error(text) == expected


# start_context


def test_servers_that_no_session_used_are_named(tmp_path: Path):
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"db": {}, "maps": {}}}')
    sessions = [begin(Session(f"s{day}", day, workspace=str(tmp_path))) for day in (9, 5, 2)]
    sessions[0].call("mcp__db__query", chars=10)
    material = replace(material_of(*sessions, lean()), servers={str(tmp_path): ("db", "maps")})

    (finding,) = [
        item for item in judge_evidence(collect_evidence(material), WINDOW)[0] if item.kind == "start_context"
    ]

    assert json.loads(finding.change.merge) == {"disabledMcpjsonServers": ["maps"]}
    assert finding.change.file == ".claude/settings.json"


# cache_lost


@pytest.mark.parametrize(("minutes", "subjects"), [(4, ["lost:unknown"]), (6, ["expired:5"])])
def test_a_loss_without_a_cause_proposes_nothing_and_a_break_is_none(minutes: int, subjects: list[str]):
    def build(session: Session) -> Session:
        return session.answer(write=50_000).wait(minutes).answer(write=50_000)

    evidence = collect_evidence(material_of(*three(build)))

    assert evidence.rows["cache_lost"]["subject"].unique().to_list() == subjects
    assert find("cache_lost", *three(build)) == []


# delegation


@pytest.mark.parametrize(("helper", "times"), [("Explore", [6]), ("reviewer", [])])
def test_reading_after_a_sub_agent_explored(helper: str, times: list[int]):
    def build(session: Session) -> Session:
        session.call("Task", helper=helper, chars=400).answer(write=10_000)
        for name in "ab":
            session.call("Read", path=f"{REPOSITORY}/{name}.py", chars=4_000).answer(read=10_000)
        return session

    assert [finding.times for finding in find("delegation", *three(build))] == times


# smaller_model


def test_sub_agents_that_only_read_get_a_setting():
    sessions = three(lambda session: session.answer(read=10))
    children = [look(Session(f"c{root.name}", root.day, parent=root.name)) for root in sessions]

    (finding,) = find("smaller_model", *sessions, *children)

    assert json.loads(finding.change.merge) == {"env": {"CLAUDE_CODE_SUBAGENT_MODEL": "claude-sonnet-4-5"}}


# refused


def refuse(session: Session, command: str) -> Session:
    return session.run(command, "The user doesn't want to proceed with this tool use.").answer(read=10_000)


def test_a_refused_command_that_only_reads_is_a_matter_of_the_allow_list():
    sessions = three(lambda session: refuse(session, "git status"))

    assert find("refused", *sessions) == []
    assert [finding.kind for finding in find("approval", *sessions)] == ["approval"]
