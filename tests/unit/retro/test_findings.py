"""Classes of what goes wrong: where each fires, where it just does not, where it cannot be evaluated, what it costs.

The queries: call_costs, wrong_command, missing_path, unknown_helper, edit_refused, fix_before_check, large_output,
whole_file, cache_expired, carried_context, repeated_prompt, unchecked_end, approval.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from retro_sessions import DAY_MS, END_MS, REPOSITORY, WINDOW, Session, find, judge, lacking, material_of

from kaizen_analytics.core.model import Window
from kaizen_analytics.retro.findings import Proof, _finding_id, collect_evidence, conceal_secrets
from kaizen_analytics.retro.material import _classify_error, _clean_error

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.retro.findings import Finding


def three(build) -> list[Session]:
    """The same session on three days."""
    return [build(Session(f"s{day}", day)) for day in (9, 5, 2)]


def misspell(session: Session) -> Session:
    session.answer(write=10_000)
    session.run("rtk bun test 2>&1", "Exit code 2\nerror: unrecognized subcommand 'bun'", chars=400)
    session.answer(read=10_000, write=100)
    return session.run("bun test 2>&1").answer(read=10_100)


# wrong_command


def test_a_command_that_fails_everywhere_names_the_one_that_works():
    (finding,) = find("wrong_command", *three(misspell))

    assert finding.title == "`rtk bun test` does not work here; `bun test` does"
    assert (finding.times, finding.sessions, finding.days, finding.exposed) == (3, 3, 3, 3)
    assert finding.change.file == "CLAUDE.md"
    assert finding.change.line == "Run `bun test`, not `rtk bun test`: `rtk` has no `bun`."
    assert [moment.seq for moment in finding.evidence] == [2, 2, 2]
    assert finding.id == _finding_id("wrong_command", REPOSITORY, "option:rtk:bun")


def test_a_wrong_command_costs_the_answer_to_it_and_the_carrying_of_its_output():
    (finding,) = find("wrong_command", *three(misspell))

    answer = 10_000 * 0.30e-6 + 100 * 3.75e-6
    carried = 400 / 4 * 0.30e-6  # read once more, by the last response
    assert finding.cost_usd == pytest.approx(3 * (answer + carried), rel=1e-6)
    assert finding.tokens == 3 * (10_100 + 100)


def test_carrying_ends_at_a_compaction():
    def build(session: Session) -> Session:
        misspell(session)
        return session.answer(read=5_000, segment=1)

    (finding,) = find("wrong_command", *three(build))

    assert finding.tokens == 3 * (10_100 + 100)


def test_two_wrong_commands_are_no_finding():
    assert find("wrong_command", *three(misspell)[:2]) == []


def test_three_on_one_day_are_no_finding():
    assert find("wrong_command", *[misspell(Session(f"s{n}", 1.5 + n / 100)) for n in range(3)]) == []


def test_a_wrong_command_without_one_that_works_is_no_finding():
    def build(session: Session) -> Session:
        return session.run("rtk bun test", "error: unrecognized subcommand 'bun'").run("cat package.json")

    assert find("wrong_command", *three(build)) == []


def test_a_command_that_hides_another_never_gets_into_a_line():
    def build(session: Session) -> Session:
        return session.run("rtk bun '$(curl evil)'", "unrecognized subcommand 'bun'").run("rtk bum '$(curl evil)'")

    assert find("wrong_command", *three(build)) == []


def test_a_program_that_is_not_on_the_path_gets_a_hook():
    def build(session: Session) -> Session:
        session.run("go test ./...", "bash: go: command not found").answer(read=10_000)
        return session.run("/usr/local/go/bin/go test ./...")

    (finding,) = find("wrong_command", *three(build))

    assert finding.title == "`go` is not on the agent's PATH"
    (hook,) = json.loads(finding.change.merge)["hooks"]["SessionStart"][0]["hooks"]
    assert hook["command"] == 'echo \'export PATH="$PATH:/usr/local/go/bin"\' >> "$CLAUDE_ENV_FILE"'
    assert finding.test.startswith("Needs no experiment")


@pytest.mark.parametrize("folder", ["/tmp/evil/bin", "/usr/local/../../tmp/bin", "./bin"])
def test_no_other_folder_is_put_on_a_path(folder: str):
    def build(session: Session) -> Session:
        session.run("go test ./...", "bash: go: command not found").answer(read=10_000)
        return session.run(f"{folder}/go test ./...")

    assert [finding.change.merge for finding in find("wrong_command", *three(build))] in ([], [""])


def test_a_command_that_works_in_another_folder():
    def build(session: Session) -> Session:
        session.run("go build ./...", "go: go.mod file not found in current directory").answer(read=10_000)
        return session.run("cd api && go build ./...")

    (finding,) = find("wrong_command", *three(build))

    assert finding.change.line == "Run `go build ./...` in `api`, not in the root of the repository."


def test_calls_that_are_cancelled_by_one_beside_them():
    def build(session: Session) -> Session:
        return session.run("make test", "<tool_use_error>Sibling tool call errored</tool_use_error>").answer(
            read=10_000
        )

    (finding,) = find("wrong_command", *three(build))

    assert finding.title == "Calls are cancelled because one beside them fails"


def test_without_commands_wrong_ones_are_not_evaluable():
    assert lacking("wrong_command", Session("s", 2).prompt("hello")) == ["no session ran a command"]


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


def test_findings_are_put_in_order_on_days_other_than_those_that_prove_them():
    early = [misspell(Session(f"e{day}", day)) for day in (25, 20, 15, 3)]
    late = [search(Session(f"l{day}", day)) for day in (6, 5, 4)]

    first, second, *_ = judge(*early, *late)[0]

    assert (first.kind, second.kind) == ("wrong_command", "large_output"), "the dearer one is of the last days alone"
    assert second.usd_per_week > first.usd_per_week
    assert first.proof == Proof(days=7, hit=1, exposed=4)
    assert second.proof is None


# missing_path


def look_for_docs(session: Session) -> Session:
    return session.run("ls docs", "Exit code 2\nls: cannot access 'docs': No such file or directory").answer(read=9_000)


def test_a_missing_folder():
    (finding,) = find("missing_path", *three(look_for_docs))

    assert finding.title == "Agents look for `docs`, which does not exist"
    assert finding.cost_usd == pytest.approx(3 * 9_000 * 0.30e-6)


def test_a_path_that_is_written_later_is_not_missing():
    def build(session: Session) -> Session:
        error = "<tool_use_error>File does not exist.</tool_use_error>"
        session.call("Read", error=error, path=f"{REPOSITORY}/new.py").answer(read=9_000)
        return session.call("Write", path=f"{REPOSITORY}/new.py")

    assert find("missing_path", *three(build)) == []


@pytest.mark.parametrize(("names", "times"), [("abc", [3]), ("aab", [])])
def test_paths_that_are_guessed(names: str, times: list[int]):
    def build(session: Session) -> Session:
        name = names[len(built)]
        built.append(session)
        return session.run(f"cat {name}.md", f"cat: {name}.md: No such file or directory").answer(read=9_000)

    built: list[Session] = []

    found = find("missing_path", *three(build))

    assert [finding.times for finding in found if finding.subject == "guess"] == times


def test_a_path_outside_of_the_repository_is_left_out():
    def build(session: Session) -> Session:
        return session.run("ls /etc/nothing", "ls: cannot access '/etc/nothing': No such file").answer(read=9_000)

    assert find("missing_path", *three(build)) == []


def test_without_calls_paths_are_not_evaluable():
    assert lacking("missing_path", Session("s", 2).prompt("hello")) == ["no session called a tool"]


# unknown_helper


def test_a_skill_that_does_not_exist():
    def build(session: Session) -> Session:
        error = "<tool_use_error>Unknown skill: commit</tool_use_error>"
        return session.call("Skill", error=error, helper="commit").answer(read=20_000)

    (finding,) = find("unknown_helper", *three(build))

    assert finding.change.line == "There is no skill `commit` here: do what was asked without it."
    assert finding.cost_usd == pytest.approx(3 * 20_000 * 0.30e-6)


def test_a_skill_that_fails_otherwise_exists():
    def build(session: Session) -> Session:
        return session.call("Skill", error="The skill stopped.", helper="commit").answer(read=20_000)

    assert find("unknown_helper", *three(build)) == []


def test_without_calls_helpers_are_not_evaluable():
    assert lacking("unknown_helper", Session("s", 2)) == ["no session called a tool"]


# edit_refused


def refuse(session: Session, good: int = 10) -> Session:
    error = "<tool_use_error>File has not been read yet. Read it first before writing to it.</tool_use_error>"
    session.call("Edit", error=error, path=f"{REPOSITORY}/a.py").answer(read=10_000)
    for _ in range(good):
        session.call("Edit", path=f"{REPOSITORY}/a.py")
    return session


def test_edits_of_files_that_were_not_read():
    (finding,) = find("edit_refused", *three(refuse))

    assert finding.seen == "3 times in 3 of 3 sessions that edited files, 9 % of 33 edits"
    assert finding.cost_usd == pytest.approx(3 * 10_000 * 0.30e-6)


def test_few_refused_edits_of_many_are_no_finding():
    assert find("edit_refused", *three(lambda session: refuse(session, good=40))) == []


def test_without_edits_refusals_are_not_evaluable():
    assert lacking("edit_refused", Session("s", 2).run("ls")) == ["no session edited a file"]


# fix_before_check


def lint(session: Session, fixer: str = "bun run lint:fix") -> Session:
    session.run("bun run lint", "Exit code 1\nformat", chars=400).answer(read=10_000)
    return session.run(fixer).answer(read=10_000)


def test_a_check_that_a_fixer_follows():
    (finding,) = find("fix_before_check", *three(lint))

    assert finding.change.line == "Run `bun run lint:fix` before `bun run lint`: it repairs what it can by itself."
    carried = 400 / 4 * 0.30e-6
    assert finding.cost_usd == pytest.approx(3 * (2 * 10_000 * 0.30e-6 + carried))


def test_a_check_that_a_person_repairs_is_no_finding():
    assert find("fix_before_check", *three(lambda session: lint(session, fixer="git diff"))) == []


def test_checks_of_several_kinds_that_a_fixer_follows():
    checks = iter(
        [("npx eslint .", "npx eslint --fix ."), ("ruff check .", "ruff check --fix ."), ("make lint", "make fmt")]
    )

    (finding,) = find("fix_before_check", *three(lambda session: fix_next(session, *next(checks))))

    assert finding.subject == "any"
    assert finding.change.line.startswith("Before a lint or format check, run the fixer")


def fix_next(session: Session, check: str, fixer: str) -> Session:
    return session.run(check, "Exit code 1\nformat").answer(read=10_000).run(fixer).answer(read=10_000)


# large_output


def search(session: Session, chars: int = 40_000) -> Session:
    session.run("rg -n experiment src docs", chars=chars)
    return session.answer(write=10_000).answer(read=10_000).answer(read=10_000)


def test_large_searches():
    (finding,) = find("large_output", *three(search))

    assert finding.title == "Large searches are carried through whole sessions"
    assert "`rg -l`" in finding.change.line
    # 10,000 tokens written once and read twice; a quarter of 8,000 characters would have been read anyway.
    assert finding.cost_usd == pytest.approx(3 * 10_000 * (3.75 + 2 * 0.30) * 1e-6 * (1 - 2_000 / 40_000))


@pytest.mark.parametrize(("command", "chars"), [("rg -n x", 7_999), ("make test", 3_999)])
def test_an_output_below_the_limit_is_no_finding(command: str, chars: int):
    assert find("large_output", *three(lambda session: session.run(command, chars=chars).answer(read=1))) == []


def test_a_check_prints_too_much_from_half_the_limit_on():
    (finding,) = find("large_output", *three(lambda session: session.run("make test", chars=4_000).answer(read=1)))

    assert finding.title == "Large outputs of checks are carried through whole sessions"


def test_searches_with_the_tool_of_the_agent_count_too():
    (finding,) = find("large_output", *three(lambda session: session.call("Grep", chars=40_000).answer(read=1)))

    assert finding.subject == "search"


def test_a_program_that_prints_much_is_named():
    (finding,) = find(
        "large_output", *three(lambda session: session.run("terraform plan", chars=40_000).answer(read=1))
    )

    assert finding.change.line == "End what `terraform` prints with `| tail -60`, or ask it for less."


# whole_file


def read_whole(session: Session, chars: int = 20_000) -> Session:
    session.call("Read", path=f"{REPOSITORY}/docs/plan.md", chars=chars)
    return session.answer(write=10_000).answer(read=10_000)


def test_a_large_file_that_is_read_whole():
    (finding,) = find("whole_file", *three(read_whole))

    assert finding.seen == "3 times in 3 of 3 sessions that called tools"
    assert finding.change.line.startswith("Long files: `docs/plan.md`. ")
    assert finding.cost_usd == pytest.approx(3 * 5_000 * (3.75 + 0.30) * 1e-6 * 0.75)


def test_different_files_in_each_session_are_no_finding():
    def build(session: Session) -> Session:
        return session.call("Read", path=f"{REPOSITORY}/{session.name}.md", chars=20_000).answer(read=1)

    assert find("whole_file", *three(build)) == []


def test_long_instructions_are_shortened_not_searched():
    def build(session: Session) -> Session:
        return session.run("sed -n '1,400p' .agents/skills/ship/SKILL.md", chars=20_000).answer(read=1)

    (finding,) = find("whole_file", *three(build))

    assert finding.subject == "guidance"
    assert finding.change.habit.startswith("shorten them")


def test_a_read_that_is_refused_as_too_large_costs_its_answer():
    error = "File content (40000 tokens) exceeds maximum allowed tokens (25000)."

    def build(session: Session) -> Session:
        return session.call("Read", error=error, path=f"{REPOSITORY}/docs/plan.md", chars=80).answer(read=9_000)

    (finding,) = find("whole_file", *three(build))

    assert finding.cost_usd == pytest.approx(3 * 9_000 * 0.30e-6)


# cache_expired


def pause(session: Session, minutes: float = 20, grown: int = 0) -> Session:
    session.answer(write=50_000).wait(minutes)
    session.answer(write=50_000)
    for step in range(1, 4):
        session.answer(read=50_000, write=grown * step)
    return session


def test_breaks_beyond_five_minutes_ask_for_an_hour():
    (finding,) = find("cache_expired", *three(pause))

    assert json.loads(finding.change.merge) == {"promptCacheTtl": "1h"}
    # Spared: 50,000 tokens read instead of written; dearer: the first 50,000 tokens.
    assert finding.cost_usd == pytest.approx(3 * 50_000 * ((3.75 - 0.30) - (6 - 3.75)) * 1e-6)


def test_an_hour_that_costs_more_is_no_finding():
    assert find("cache_expired", *three(lambda session: pause(session, grown=20_000))) == []


def test_a_break_within_five_minutes_is_no_finding():
    assert find("cache_expired", *three(lambda session: pause(session, minutes=4))) == []


def test_a_cache_that_lives_an_hour_is_told_by_its_price():
    def build(session: Session) -> Session:
        return session.answer(write=50_000, hour=True).wait(20).answer(write=50_000, hour=True)

    assert material_of(build(Session("s", 2))).responses["life_ms"].to_list() == [3_600_000, 3_600_000]
    assert find("cache_expired", *three(build)) == []


def test_without_prices_caches_are_not_evaluable():
    def build(session: Session) -> Session:
        session.model = None
        return pause(session)

    reason = "no response has a price and a count of cached tokens"
    assert [lacking(kind, *three(build)) for kind in ("cache_expired", "carried_context")] == [[reason], [reason]]


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


# carried_context


def go_on(
    session: Session,
    later: int = 40,
    text: str = "Now look at the import of prices and mend its rounding",
    then: str = "prices.py",
) -> Session:
    session.prompt("Build the basket").answer(write=20_000).call("Edit", path=f"{REPOSITORY}/basket.py")
    session.answer(read=20_000, write=80_000).prompt(text).call("Read", path=f"{REPOSITORY}/{then}")
    for _ in range(later):
        session.answer(read=100_000)
    return session


def test_work_that_goes_on_in_the_same_session():
    (finding,) = find("carried_context", *three(go_on))

    # 80,000 tokens grew; a new session reads 20,000 of them again and writes 40,000 once.
    assert finding.cost_usd == pytest.approx(3 * (40 * 60_000 * 0.30e-6 - 40_000 * 3.75e-6))
    assert "100,000 tokens" in finding.seen


def test_a_short_rest_is_not_worth_a_new_session():
    assert find("carried_context", *three(lambda session: go_on(session, later=8))) == []


@pytest.mark.parametrize("columns", [{"text": "yes"}, {"then": "basket.py"}], ids=["a short reply", "the same file"])
def test_the_same_work_opens_nothing(columns: dict[str, str]):
    assert find("carried_context", *three(lambda session: go_on(session, **columns))) == []


def test_a_compaction_costs_reading_everything_and_writing_the_rest():
    def build(session: Session) -> Session:
        return session.answer(write=150_000).answer(read=10_000, write=20_000, segment=1)

    (finding,) = find("carried_context", *three(build))

    # 30,000 tokens, of which 20,000 are written instead of read; the compaction read 150,000 once more.
    assert finding.cost_usd == pytest.approx(3 * (20_000 * (3.75 - 0.30) + 150_000 * 0.30) * 1e-6)
    assert "150,000 tokens" in finding.seen
    assert find("cache_lost", *three(build)) == []


# repeated_prompt


def ask(session: Session, text: str = "Commit this, please!") -> Session:
    return session.prompt("Build it").answer(read=10_000).prompt(text).answer(read=20_000)


def test_a_prompt_that_people_repeat():
    (finding,) = find("repeated_prompt", *three(ask))

    assert finding.title == "People ask for it each time: `commit`"
    assert finding.cost_usd == pytest.approx(3 * 20_000 * 0.30e-6)


@pytest.mark.parametrize("text", ["yes, go on", "continue", "is it done?", "/compact", "look at api.py", "fix 2"])
def test_what_only_goes_on_or_asks_is_no_habit(text: str):
    assert find("repeated_prompt", *three(lambda session: ask(session, text))) == []


def test_a_rare_prompt_is_no_habit():
    others = [ask(Session(f"o{day}", day), f"Change module number {day} of shop") for day in range(10, 20)]

    assert find("repeated_prompt", *three(ask), *others) == []


def test_with_one_prompt_each_nothing_is_repeated():
    assert lacking("repeated_prompt", Session("s", 2).prompt("commit")) == ["no session has more than one prompt"]


@pytest.mark.parametrize(("steps", "times"), [(3, [9]), (2, [])])
def test_people_who_say_no_more_than_to_go_on(steps: int, times: list[int]):
    def build(session: Session) -> Session:
        session.prompt("Build it").answer(read=10_000)
        for _ in range(steps):
            session.prompt("ok").answer(read=20_000)
        return session

    assert [finding.times for finding in find("repeated_prompt", *three(build))] == times


# unchecked_end


def edit(session: Session, check: str | None) -> Session:
    session.call("Edit", path=f"{REPOSITORY}/a.py")
    return session if check is None else session.run(check)


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


@pytest.mark.parametrize("check", ["make test CC='a b'", "pytest ~/x", "pytest ../evil", "pytest -q"])
def test_a_check_of_more_than_plain_words_is_no_hook(check: str):
    assert end_unchecked(check).change.merge == ""


def test_where_most_sessions_end_unchecked_there_is_no_custom():
    checked = [edit(Session(f"c{day}", day), "make test") for day in (10, 9)]

    assert find("unchecked_end", *checked, *three(lambda session: edit(session, None))) == []


# approval


def wait_for(session: Session, command: str) -> Session:
    return session.run(command, "This command requires approval", chars=0).answer(read=10_000)


def test_commands_that_only_read_are_allowed():
    (finding,) = find("approval", *three(lambda session: wait_for(session, "git status --short")))

    assert json.loads(finding.change.merge) == {"permissions": {"allow": ["Bash(git status:*)"]}}
    assert finding.cost_usd == pytest.approx(3 * 10_000 * 0.30e-6)


@pytest.mark.parametrize("command", ["rm -rf build", "git status; rm x", "cat $(secret)", "git push", "ls > list"])
def test_no_other_command_is_ever_allowed(command: str):
    assert find("approval", *three(lambda session: wait_for(session, command))) == []


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("fix_before_check", "no session ran a command"),
        ("large_output", "no session called a tool"),
        ("approval", "no session ran a command"),
        ("whole_file", "no session called a tool"),
        ("unchecked_end", "no session edited a file"),
    ],
)
def test_a_session_without_calls_says_nothing_about_them(kind: str, reason: str):
    assert lacking(kind, Session("s", 2).prompt("hello").answer(read=1)) == [reason]


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


def test_what_an_agent_puts_before_an_error_is_left_out():
    assert _clean_error("Exit code: 1\nWall time: 0 seconds\nOutput:\nno") == "no"


def test_a_secret_in_a_command_reaches_neither_page_nor_patch():
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2

    def both(session: Session) -> Session:
        session.run(f"rtk bun --token {secret}", "error: unrecognized subcommand 'bun'").answer(read=10_000)
        return session.run(f"bun --token {secret}")

    def outside(session: Session) -> Session:
        misspell(session)
        session.calls[0]["command"] = f"TOKEN={secret} true && rtk bun test"
        return session

    (finding,) = conceal_secrets(judge(*three(outside))[0])
    assert find("wrong_command", *three(both)) != []
    assert list(conceal_secrets(judge(*three(both))[0])) == []
    assert secret not in repr(finding)


def test_the_same_material_gives_the_same_evidence():
    sessions = three(misspell)

    one, two = (collect_evidence(material_of(*sessions)).rows["wrong_command"] for _ in range(2))

    assert one.equals(two)
