"""Each class of findings: where it fires and what that costs, where it just does not, where it cannot be evaluated.

Every row is a repository of its own, and all are judged at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from retro_sessions import (
    OPUS,
    REPOSITORY,
    Session,
    ask,
    begin,
    edit,
    edit_files,
    fail_again,
    go_on,
    judge,
    lean,
    lint,
    look,
    look_for_docs,
    mend_lint,
    misspell,
    pause,
    poll,
    read_whole,
    refuse,
    search,
    three,
    tick,
    wait_for,
    with_child,
)

from kaizen_analytics.retro.classes import CLASSES

if TYPE_CHECKING:
    from kaizen_analytics.retro.findings import Finding

MISSING = "<tool_use_error>File does not exist.</tool_use_error>"
NEW = f"{REPOSITORY}/new.py"
HIDDEN = "rtk bun '$(curl evil)'"
CHECKED = [edit(Session(f"c{day}", day), "make test") for day in (10, 9)]
TALKS = [ask(Session(f"o{day}", day), f"Change module number {day} of shop") for day in range(10, 20)]


def undo(session: Session, share: float) -> Session:
    session.lost_share = share
    return session.run("make test").answer(read=100_000)


def ask_haiku(session: Session) -> Session:
    session.model = "claude-haiku-4-5"
    return session.prompt("Where?").answer(read=100_000).call("Read", path="a.py").answer(read=100_000)


READ, WRITE = 0.30e-6, 3.75e-6
"""Dollars a token of `retro_sessions.MODEL`, from the cache and into it."""


def swap_model(session: Session) -> Session:
    session.answer(write=50_000)
    session.model = OPUS
    return session.answer(write=50_000, cost_usd_e6=round(50_000 * 6.25))


def fail_quietly(session: Session) -> Session:
    for _ in range(2):
        session.run("go test ./... | tail -5", says="failed").answer(read=20_000)
        session.call("Edit", path=f"{REPOSITORY}/a.go").answer(read=20_000)
    return session


REFUSED = "The user doesn't want to proceed with this tool use. The tool use was rejected"


def swap(bad: str, error: str, good: str) -> list[Session]:
    """A command that fails, and another one that then works."""
    return three(lambda s: s.run(bad, error).answer(read=10_000).run(good))


FINDINGS: dict[str, tuple[str, list[Session], str, float | None]] = {
    "the answer, and carrying 400 characters to the next": (
        "wrong_command",
        three(misspell),
        "Run `bun test`, not `rtk bun test`",
        10_000 * READ + 100 * WRITE + 400 / 4 * READ,
    ),
    "the folder in which it works": (
        "wrong_command",
        three(
            lambda s: (
                s.run("go build ./...", "go: go.mod file not found in current directory")
                .answer(read=10_000)
                .run("cd api && go build ./...")
            )
        ),
        "Run `go build ./...` in `api` of this repository",
        10_000 * READ,
    ),
    "another name of a program": (
        "wrong_command",
        swap("python -m shop.prices", "bash: python: command not found", "python3 -m shop.prices"),
        "Run `python3`, not `python`: there is no program `python`.",
        10_000 * READ,
    ),
    "a program that is started by another": (
        "wrong_command",
        swap("pytest -q tests", "zsh: command not found: pytest", "cd api && uv run pytest -q tests"),
        "Run `uv run pytest`, not `pytest`",
        10_000 * READ,
    ),
    "a wrapper that is not there": (
        "wrong_command",
        swap("timeout 60 make test", "bash: line 1: timeout: command not found", "make test"),
        "Leave out `timeout",
        10_000 * READ,
    ),
    "a program of the repository": (
        "wrong_command",
        swap("python -m pytest -q", "No module named pytest", f"{REPOSITORY}/.venv/bin/python -m pytest -q"),
        "Run `.venv/bin/python -m pytest`, not `python -m pytest`: it has no `pytest`.",
        10_000 * READ,
    ),
    "a task by a name nearby": (
        "wrong_command",
        swap("npm run tests", 'npm error Missing script: "tests"', "npm run test"),
        "Run `npm run test`, not `npm run tests`: there is no task `tests`.",
        10_000 * READ,
    ),
    "the root, after another folder": (
        "wrong_command",
        swap(
            "npm test",
            "npm error enoent Could not read package.json: Error: open '/x/package.json'",
            "cd /w/shop && npm test",
        ),
        "Run `npm test` in the root of the repository.",
        10_000 * READ,
    ),
    "a PATH that is set each time": (
        "wrong_command",
        swap("go vet ./...", "bash: go: command not found", "PATH=$PATH:/usr/local/go/bin go vet ./..."),
        "export PATH=",
        10_000 * READ,
    ),
    "cancelled by a call beside it": (
        "wrong_command",
        three(
            lambda s: s.run("make test", "<tool_use_error>Sibling tool call errored</tool_use_error>").answer(read=10)
        ),
        "Calls are cancelled because one beside them fails",
        10 * READ,
    ),
    "a missing folder": ("missing_path", three(look_for_docs), "look for `docs`, which does not exist", 9_000 * READ),
    "a missing skill": (
        "unknown_helper",
        three(lambda s: s.call("Skill", error="Unknown skill: commit", helper="commit").answer(read=20_000)),
        "There is no skill `commit` here",
        20_000 * READ,
    ),
    "an unread file": ("edit_refused", three(refuse), "that edited files, 9 % of 33 edits", 10_000 * READ),
    "a fixer next: two answers": (
        "fix_before_check",
        three(lint),
        "Run `bun run lint:fix` before `bun run lint`",
        2 * 10_000 * READ + 400 / 4 * READ,
    ),
    "written once, read twice, but for 2,000 characters": (
        "large_output",
        three(search),
        "List the files first (`git grep -l`)",
        10_000 * (WRITE + 2 * READ) * (1 - 2_000 / 40_000),
    ),
    "a check from half the limit on": (
        "large_output",
        three(lambda s: s.run("make test", chars=4_000).answer(read=1)),
        "Large outputs of checks",
        1_000 * WRITE * (1 - 2_000 / 4_000),
    ),
    "the agent's own search": (
        "large_output",
        three(lambda s: s.call("Grep", chars=40_000).answer(read=1)),
        "Large searches",
        10_000 * WRITE * (1 - 2_000 / 40_000),
    ),
    "any program": (
        "large_output",
        three(lambda s: s.run("terraform plan", chars=40_000).answer(read=1)),
        "Keep what `terraform plan` prints short",
        10_000 * WRITE * (1 - 2_000 / 40_000),
    ),
    "three quarters of a file": ("whole_file", three(read_whole), "`docs/plan.md`", 5_000 * (WRITE + READ) * 0.75),
    "instructions are shortened": (
        "whole_file",
        three(lambda s: s.run("sed -n '1,400p' .agents/skills/ship/SKILL.md", chars=20_000).answer(read=1)),
        "shorten them",
        5_000 * WRITE * 0.75,
    ),
    "refused as too large": (
        "whole_file",
        three(
            lambda s: s.call(
                "Read", error="exceeds maximum allowed tokens", path=f"{REPOSITORY}/a.md", chars=80
            ).answer(read=9_000)
        ),
        "`a.md`",
        9_000 * READ,
    ),
    "50,000 read instead of written, as many written dearer": (
        "cache_expired",
        three(pause),
        '{"promptCacheTtl": "1h"}',
        50_000 * ((3.75 - 0.30) - (6 - 3.75)) * 1e-6,
    ),
    "80,000 grew; 20,000 are read again, 40,000 written": (
        "carried_context",
        three(go_on),
        "carried 100,000 tokens",
        40 * 60_000 * READ - 40_000 * WRITE,
    ),
    "a compaction reads 150,000 once more, and writes 20,000": (
        "carried_context",
        three(lambda s: s.answer(write=150_000).answer(read=10_000, write=20_000, segment=1)),
        "carried 150,000 tokens",
        20_000 * (WRITE - READ) + 150_000 * READ,
    ),
    "another model": ("cache_lost", three(swap_model), "The model is changed", 50_000 * (6.25 - 0.50) * 1e-6),
    "tools loaded late": (
        "cache_lost",
        three(lambda s: s.answer(write=50_000).call("ToolSearch", chars=100).answer(write=50_100)),
        "Tools are loaded",
        50_000 * (WRITE - READ),
    ),
    "a rule": ("repeated_prompt", three(lambda s: ask(s, "use pnpm, not npm")), "`use pnpm not npm`", 20_000 * READ),
    "a script whose interpreter lacks a module": (
        "wrong_command",
        swap("python gen.py", "ModuleNotFoundError: No module named 'requests'", "uv run python gen.py"),
        "Run `uv run python`, not `python`: it has no `requests`.",
        10_000 * READ,
    ),
    "a task of cargo": (
        "wrong_command",
        swap("cargo tset", "error: no such command: `tset`", "cargo test"),
        "Run `cargo test`, not `cargo tset`",
        10_000 * READ,
    ),
    "a habit": ("repeated_prompt", three(ask), "People keep asking agents for this: `commit`", 20_000 * READ),
    "harmless": (
        "approval",
        three(lambda s: wait_for(s, "git status --short")),
        '{"permissions": {"allow": ["Bash(git status:*)"]}}',
        10_000 * READ,
    ),
    "the context once more for a task": ("lone_calls", three(tick), "Todo lists are updated", 50_100 * READ),
    "asked three times, two too many": ("lone_calls", three(poll), "Agents poll", 2 * 40_000 * READ),
    "a second edit of the file": (
        "lone_calls",
        three(lambda s: edit_files(s, "a.py", "a.py", "b.py", "a.py")),
        "one edit in each",
        30_000 * READ,
    ),
    "between two failures": ("rework", three(fail_again), "stop editing", (20_000 + 21_000) * READ),
    "a failure that a filter hides": ("rework", three(fail_quietly), "`go test` fails again", 2 * 20_000 * READ),
    "until the lint is run again": ("rework", three(mend_lint), "`make lint` fails on code", (20_000 + 21_000) * READ),
    "lines that did not last": ("rework", three(lambda s: undo(s, 0.6)), "name the test", 0.6 * 100_000 * READ),
    "a copy of 80,000 tokens where 10,000 would do, twice": (
        "delegation",
        with_child(80_000, held=80_000),
        "with a copy",
        2 * 70_000 * READ,
    ),
    "read again": ("delegation", with_child(10_000, path="a.py"), "are read again", 1_000 * WRITE + 11_000 * READ),
    "no result": (
        "delegation",
        three(lambda s: s.call("Task", error="interrupted").answer(read=10_000)),
        "end without a result",
        10_000 * READ,
    ),
    "cut answers": (
        "service",
        three(lambda s: s.answer(read=20_000, stop_reason="max_tokens")),
        '{"env": {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "64000"}}',
        20_000 * READ,
    ),
    "the plan's limit": ("service", three(lambda s: s.answer(read=1).fail("rate_limit")), "ends sessions", None),
    "the price of the smaller model": (
        "smaller_model",
        three(look),
        "they cost $0.30 on `claude-opus-4-5`, and the same tokens $0.18",
        2 * 100_000 * (0.50 - 0.30) * 1e-6,
    ),
    "14,000 tokens more, written once and read twice": (
        "start_context",
        [*three(lambda s: begin(s, agent="codex")), lean("codex")],
        "start with 29,900 tokens; the leanest with 15,900",
        14_000 * (2 * READ + (WRITE - READ)),
    ),
    "what an unchecked end costs, nobody knows": (
        "unchecked_end",
        [*(edit(Session(f"c{day}", day), "make test") for day in (10, 9, 8, 7)), *three(lambda s: edit(s, None))],
        "make test",
        None,
    ),
    "refused": (
        "refused",
        three(lambda s: s.run("git push -f", "doesn't want to proceed with this tool use").answer(read=10_000)),
        "Do not run `git push` unless you are asked to",
        10_000 * READ,
    ),
}
"""By what it costs or shows: the class, its sessions, a piece of what it says, and the dollars of one of three days."""
NEAR_MISSES: dict[str, tuple[str, list[Session]]] = {
    "another check": ("wrong_command", swap("npm run typecheck", 'Missing script: "typecheck"', "npm run test")),
    "another module": (
        "wrong_command",
        swap("python -c 'import yaml'", "No module named 'yaml'", "python -c 'import json'"),
    ),
    "a program of one machine": (
        "wrong_command",
        swap("python a.py -q", "bash: python: command not found", "/Users/ada/.pyenv/bin/python a.py -q"),
    ),
    "a text that says not found": ("wrong_command", swap("curl x/Error", "Error: not found", "curl x/y")),
    "a folder elsewhere": ("wrong_command", swap("go test", "go.mod file not found", "cd ../other && go test")),
    "it works in one session alone": (
        "wrong_command",
        [
            misspell(misspell(Session("a", 9))),
            Session("b", 5).run("rtk bun test 2>&1", "unrecognized subcommand 'bun'"),
        ],
    ),
    "a path that is there from another folder": (
        "missing_path",
        three(lambda s: look_for_docs(s).run("cd app && ls docs")),
    ),
    "a path that was removed": (
        "missing_path",
        three(lambda s: look_for_docs(s.run("rm -r docs").answer(read=9_000))),
    ),
    "a skill that was installed": (
        "unknown_helper",
        [
            *three(lambda s: s.call("Skill", error="Unknown skill: commit", helper="commit").answer(read=20_000)),
            Session("late", 1).call("Skill", helper="commit"),
        ],
    ),
    "a fixer that fails": (
        "fix_before_check",
        three(
            lambda s: (
                s.run("make lint", "format")
                .answer(read=9)
                .run("make fmt", "make: *** No rule to make target 'fmt'.")
                .answer(read=9)
            )
        ),
    ),
    "an interpreter's own program": (
        "large_output",
        three(lambda s: s.run("python3 -c 'f()'", chars=40_000).answer(read=1)),
    ),
    "a file outside of the repository": (
        "whole_file",
        three(lambda s: s.call("Read", path="C:/Users/ada/notes.md", chars=20_000).answer(read=1)),
    ),
    "an edit on request": (
        "lone_calls",
        three(lambda s: edit_files(edit_files(s, "a.py").prompt("now the other"), "a.py")),
    ),
    "paths of Windows": (
        "wrong_command",
        swap(".\\gradlew.bat tset", "Task 'tset' not found in root project", ".\\gradlew.bat test"),
    ),
    "a folder that a build makes": (
        "missing_path",
        three(lambda s: s.run("ls dist", "ls: dist: No such file or directory").answer(read=9_000)),
    ),
    "a start near the leanest": ("start_context", [*three(lambda s: begin(s, 20_900, "codex")), lean("codex")]),
    "a conversation that goes on elsewhere": (
        "start_context",
        [*three(lambda s: begin(s, 90_000, "codex")), lean("codex")],
    ),
    "a check of one file": (
        "unchecked_end",
        [
            *(edit(Session(f"c{day}", day), "pytest tests/test_a.py") for day in range(10, 14)),
            *three(lambda s: edit(s, None)),
        ],
    ),
    "a person who stopped what ran": (
        "refused",
        three(lambda s: s.run("make test", "aborted by user after 9 s").answer(read=9)),
    ),
    "a remote that refuses": (
        "refused",
        three(lambda s: s.run("git push", "! [rejected] main -> main (fetch first)").answer(read=9)),
    ),
    "refused among others": ("refused", three(lambda s: s.run("git add . && git commit -m x", REFUSED).answer(read=9))),
    "outside of the repository, or its contents": (
        "approval",
        three(lambda s: wait_for(wait_for(wait_for(s, "ls /etc"), "cat .env"), "git log -3")),
    ),
    "two are too few": ("wrong_command", three(misspell)[:2]),
    "one day": ("wrong_command", [misspell(Session(f"s{n}", 1.5 + n / 100)) for n in range(3)]),
    "nothing worked": ("wrong_command", three(lambda s: s.run("rtk bun", "unrecognized subcommand 'bun'").run("ls"))),
    "a command inside": ("wrong_command", three(lambda s: s.run(HIDDEN, "unrecognized subcommand 'bun'").run(HIDDEN))),
    "written later": (
        "missing_path",
        three(lambda s: s.call("Read", error=MISSING, path=NEW).answer(read=9_000).call("Write", path=NEW)),
    ),
    "outside of the repository": (
        "missing_path",
        three(lambda s: s.run("ls /etc/no", "ls: cannot access '/etc/no': No such file").answer(read=9_000)),
    ),
    "a skill that exists": (
        "unknown_helper",
        three(lambda s: s.call("Skill", error="The skill stopped.", helper="commit").answer(read=20_000)),
    ),
    "few of many edits": ("edit_refused", three(lambda s: refuse(s, good=40))),
    "mended by a person": ("fix_before_check", three(lambda s: lint(s, fixer="git diff"))),
    "a small search": ("large_output", three(lambda s: search(s, chars=7_999))),
    "a short check": ("large_output", three(lambda s: s.run("make test", chars=3_999).answer(read=1))),
    "another file each time": (
        "whole_file",
        three(lambda s: s.call("Read", path=f"{REPOSITORY}/{s.name}.md", chars=20_000).answer(read=1)),
    ),
    "a file below the limit": ("whole_file", three(lambda s: read_whole(s, chars=7_999))),
    "an hour costs more": ("cache_expired", three(lambda s: pause(s, grown=20_000))),
    "a break of four minutes": ("cache_expired", three(lambda s: pause(s, minutes=4))),
    "a cache of an hour": (
        "cache_expired",
        three(lambda s: s.answer(write=50_000, hour=True).wait(20).answer(write=50_000, hour=True)),
    ),
    "a context that is read": ("cache_lost", three(lambda s: s.answer(write=50_000).answer(read=50_000))),
    "no cause": ("cache_lost", three(lambda s: s.answer(write=50_000).wait(4).answer(write=50_000))),
    "a short rest": ("carried_context", three(lambda s: go_on(s, later=8))),
    "a short reply": ("carried_context", three(lambda s: go_on(s, text="yes"))),
    "the same file": ("carried_context", three(lambda s: go_on(s, then="basket.py"))),
    **{
        f"prompt {text}": ("repeated_prompt", three(lambda s, text=text: ask(s, text)))
        for text in (
            *("yes, go on", "continue", "is it done?", "/compact", "look at api.py", "fix 2"),
            *("looks good", "lgtm", "explain", "show me", "push to main", "deploy", "fix it", "use"),
        )
    },
    "a rare prompt": ("repeated_prompt", [*three(ask), *TALKS]),
    "most end unchecked": ("unchecked_end", [*CHECKED, *three(lambda s: edit(s, None))]),
    "beside another call": ("lone_calls", three(lambda s: tick(s, "Read"))),
    "asked once": ("lone_calls", three(lambda s: poll(s, times=1))),
    "edits of different files": ("lone_calls", three(lambda s: edit_files(s, "a.py", "b.py", "a.py"))),
    "no edit between": ("rework", three(lambda s: fail_again(s, edits=False))),
    "mended by a fixer": ("rework", three(lambda s: mend_lint(s, mended="make fmt"))),
    "most lines last": ("rework", three(lambda s: undo(s, 0.4))),
    "a question of its own": ("delegation", with_child(29_000, held=80_000)),
    "a large start of its own": ("delegation", with_child(80_000)),
    "read again to be edited": ("delegation", with_child(10_000, path="a.py", then="Edit")),
    "a task that was stopped": (
        "delegation",
        three(lambda s: s.call("TaskStop", error="interrupted").call("Task", error=REFUSED).answer(read=10_000)),
    ),
    **{
        f"error {error}": ("service", three(lambda s, error=error: s.answer(read=1).fail(error)))
        for error in ("interrupted", "overloaded")
    },
    "an edit": ("smaller_model", three(lambda s: look(s, "Edit"))),
    "a command": ("smaller_model", three(lambda s: look(s, "Bash"))),
    "the smallest model": ("smaller_model", three(ask_haiku)),
    **{
        f"not harmless: {command}": ("approval", three(lambda s, command=command: wait_for(s, command)))
        for command in ("rm -rf build", "git push")
    },
    "refused, but harmless": (
        "refused",
        three(lambda s: s.run("git status", "doesn't want to proceed with this tool use")),
    ),
}


PLACES = {name: f"{REPOSITORY}{number}" for number, name in enumerate((*FINDINGS, *NEAR_MISSES))}


def move(session: Session, to: str) -> Session:
    """Return a session of a repository of its own, under a name of its own."""

    def moved(row: dict[str, object]) -> dict[str, object]:
        texts = {name: row.get(name) for name in ("path", "command")}
        there = {name: text.replace(REPOSITORY, to) for name, text in texts.items() if isinstance(text, str)}
        return {**row, **there, "session_id": to + str(row["session_id"])}

    rows = {
        name: [moved(row) for row in getattr(session, name)] for name in ("calls", "responses", "prompts", "errors")
    }
    parent = None if session.parent is None else to + session.parent
    return replace(session, name=to + session.name, workspace=to, parent=parent, **rows)


@pytest.fixture(scope="module")
def found() -> tuple[Finding, ...]:
    groups = {name: row[1] for name, row in (*FINDINGS.items(), *NEAR_MISSES.items())}
    return judge(*(move(one, PLACES[name]) for name, sessions in groups.items() for one in sessions))[0]


@pytest.mark.parametrize("name", FINDINGS)
def test_a_class_fires_and_costs(found: tuple[Finding, ...], name: str):
    kind, _, says, usd = FINDINGS[name]

    told = {
        f"{one.title}\n{one.seen}\n{one.change}": one.cost_usd
        for one in found
        if (one.kind, one.repository) == (kind, PLACES[name])
    }
    (cost,) = [cost for text, cost in told.items() if says in text]

    assert cost == (None if usd is None else pytest.approx(3 * usd, rel=1e-6))


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_a_near_miss_is_no_finding(found: tuple[Finding, ...], name: str):
    kind = NEAR_MISSES[name][0]

    assert [one.title for one in found if (one.kind, one.repository) == (kind, PLACES[name])] == []


def test_every_class_fires_misses_and_is_not_evaluable():
    names = {kind.name for kind in CLASSES}

    assert {row[0] for row in FINDINGS.values()} == names
    assert {row[0] for row in NEAR_MISSES.values()} == names
    assert {item.kind for item in judge(Session("s", 2))[1]} == names


def test_a_session_that_only_asks_says_nothing_of_other_classes():
    no_price = "no response has a price and a count of cached tokens"
    expected = {
        **dict.fromkeys(("wrong_command", "fix_before_check", "approval", "refused"), "no session ran a command"),
        **dict.fromkeys(
            ("missing_path", "unknown_helper", "large_output", "whole_file", "lone_calls"), "no session called a tool"
        ),
        **dict.fromkeys(("edit_refused", "unchecked_end"), "no session edited a file"),
        **dict.fromkeys(("start_context", "cache_expired", "cache_lost", "carried_context", "smaller_model"), no_price),
        "repeated_prompt": "no session has more than one prompt",
        "rework": "no session ran a check",
        "delegation": "no session started a sub-agent",
        "service": "no session has an answer",
    }

    told = {item.kind: item.reason for item in judge(Session("s", 2).prompt("hello"))[1]}
    unpriced = {item.kind for item in judge(pause(Session("s", 2, model=None)))[1] if item.reason == no_price}

    assert told == expected
    assert unpriced == {"start_context", "cache_expired", "cache_lost", "carried_context", "smaller_model"}
