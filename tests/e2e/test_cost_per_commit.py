"""One experiment from transcripts and git to its verdict: what does a commit cost, and do the checks still pass?"""

from __future__ import annotations

import json
import random
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from claude_sessions import respond, write_session
from experiment_cases import commit, make_repository

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))
from console_pages import parse_blocks

DAY_S = 86_400
ARMS = (("main", (1, 2)), ("steps", (2, 4)))
"""Branches, and how many commits a session makes there, for the same tokens."""
PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "outcomes.md"


def write(home: Path, name: str, place: tuple[Path, str], start: float, tokens: int, commits: list[str]) -> None:
    """Write a session of Claude Code that tests its work and commits it."""
    commands = [("pytest -q", "3 passed in 0.10s")]
    commands += [("git commit -qam Work && git log -1", f"[main {commit[:7]}] Work") for commit in commits]
    messages = []
    for number, (command, output) in enumerate(commands):
        call = f"toolu_{name}{number}"
        use = {"type": "tool_use", "id": call, "name": "Bash", "input": {"command": command}}
        messages.append((20 * number, respond(f"{name}{number}", 1 if number else tokens, [use])))
        result = {"type": "tool_result", "tool_use_id": call, "content": output, "is_error": False}
        messages.append((20 * number + 10, {"role": "user", "content": [result]}))
    write_session(home, name, place, start, messages)


def read_commands() -> list[list[str]]:
    """Return the commands of the page's experiment, without the name of the program."""
    [block] = [
        block for block in parse_blocks(PAGE.read_text("utf-8")) if block.reason and Path(__file__).name in block.reason
    ]
    return [shlex.split(command.text.replace("\\\n", " "))[1:] for command in block.commands]


@pytest.mark.long
def test_half_the_cost_per_commit_with_checks_that_pass_is_seen(tmp_path: Path, run: Callable[..., str]) -> None:
    store = ("--store", str(tmp_path / "store.db"))
    repository = make_repository(tmp_path / "repo")
    chance, began = random.Random(7), time.time() - 20 * DAY_S
    written = {branch: [0, 0] for branch, _ in ARMS}
    for number in range(80):
        branch, least_most = ARMS[number % 2]
        commits = [commit(repository, f"Work {number}") for _ in range(chance.randint(*least_most))]
        start = began + 600 + number * 0.2 * DAY_S
        tokens = round(chance.lognormvariate(11, 0.4))
        written[branch] = [have + new for have, new in zip(written[branch], (tokens, len(commits)), strict=True)]
        write(tmp_path / "home", f"s{number:03}", (repository, branch), start, tokens, commits)

    ingest, *steps, evaluate = read_commands()
    run(*ingest, "--home", str(tmp_path / "home"), *store)
    known = json.loads(run("outcomes", "--json", *store))["outcomes"]
    assert {(one["checks_passed"], one["landed"]) for one in known} == {(True, True)}
    told = [run(*words, *store) for words in steps]
    assert "Guardrail: Commits per session must not fall by more than 20" in told[0]
    found = json.loads(run(*evaluate, "--json", *store))

    control, treatment = (tokens / commits for tokens, commits in written.values())
    assert found["percent"]["estimate"] == pytest.approx(100 * (treatment / control - 1), abs=0.1)
    assert found["verdict"] == "met"
    statuses = {item["metric"]: item["status"] for item in found["guardrails"]}
    assert statuses == {"ChecksPassed": "passed", "CommitsPerSession": "passed"}
    assert found["decision"]["headline"] == "better", "people chose the arms, so the cause is not shown"
