"""A change in a repository, judged from transcripts before and after it, through the command line alone."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from claude_sessions import respond, write_session
from experiment_cases import commit, make_repository

HISTORY_DAYS, AFTER_DAYS = 56, 28
DAY_S = 86_400


def write(home: Path, folder: Path, start: float, tokens: float, number: int) -> None:
    messages = [(0, {"role": "user", "content": "Fix the test."}), (30, respond(str(number), tokens))]
    write_session(home, str(uuid.UUID(int=number + 1, version=4)), (folder, "main"), start, messages)


def test_a_large_step_is_claimed_without_a_cause(
    tmp_path: Path, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A history whose sessions need 40 % less since a change 28 days ago."""
    change = float(int(time.time()) - AFTER_DAYS * DAY_S - 3600)
    repository, home, store = tmp_path / "repo", tmp_path / "home", ("--store", str(tmp_path / "kaizen.db"))
    make_repository(repository)
    before, after = (commit(repository, "change", at_s=at_s) for at_s in (change - 100 * DAY_S, change - 60))
    monkeypatch.chdir(repository)
    rng = np.random.default_rng(11)
    days = np.sort(rng.uniform(-HISTORY_DAYS, AFTER_DAYS, 1200))
    logs = 10 + math.log(0.6) * (days >= 0) + rng.normal(0, 1.05, 1200)
    for number, (day, log) in enumerate(zip(days, logs, strict=True)):
        write(home, repository, change + DAY_S * float(day), math.exp(log), number)
    run("ingest", "--home", str(home), *store)
    rule = ("--metric", "tokens_per_session", "--target-pct", "-10", "--duration-days", str(AFTER_DAYS))
    commits = ("--bind", "git", "--control-commit", before, "--treatment-commit", after)
    run("exp", "new", "--name", "Shorter rules", "--id", "rules", *rule, *commits, *store)
    run("exp", "start", "rules", "--at", datetime.fromtimestamp(change, UTC).isoformat(), *store)
    box = " ".join(run("exp", "evaluate", "rules", *store).replace("│", " ").split())
    assert "Decision Lower after the change; the cause is not shown." in box
    assert "so this is exploratory" in box
    assert "a jump of this size was seen 0 times (windows of 14 days)" in box
    assert "To explain the difference, it would have to change by \N{MINUS SIGN}" in box
    assert "The target of a fall of at least 10 % is reached." in box


@pytest.mark.long
@pytest.mark.parametrize("bind", ["git", "manual"])
def test_few_sessions_are_warned_about_and_never_both_too_few_and_too_many(
    bind: str, tmp_path: Path, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 past control sessions and 80 treatment sessions that cost 86 % less."""
    repository, home, store = tmp_path / "repo", tmp_path / "home", ("--store", str(tmp_path / "kaizen.db"))
    start = float(int(time.time()) - 20 * DAY_S)
    make_repository(repository)
    before, after = (commit(repository, "change", at_s=at_s) for at_s in (start - 30 * DAY_S, start - 60))
    monkeypatch.chdir(repository)
    rng = np.random.default_rng(5)
    past, later = np.linspace(-13, -0.5, 20), np.linspace(0.1, 13.9, 80)
    tokens = rng.lognormal(10, 1.05, 100) * np.where(np.arange(100) < 20, 1.0, 0.14)

    def collect(until: float) -> None:
        for number, (day, amount) in enumerate(zip([*past, *later], tokens, strict=True)):
            if day < until:
                write(home, repository, start + day * DAY_S, amount, number)
        moment_ns = int((start + until * DAY_S) * 1e9)
        monkeypatch.setattr(time, "time_ns", lambda: moment_ns)
        run("ingest", "--home", str(home), *store)

    def tag(days: Sequence[float], first: int, arm: str) -> None:
        if bind == "manual" and len(days):
            names = [str(uuid.UUID(int=first + i + 1, version=4)) for i in range(len(days))]
            run("exp", "tag", "rules", *names, "--variant", arm, *store)

    collect(0)
    commits = ("--control-commit", before, "--treatment-commit", after) if bind == "git" else ()
    target = ("--metric", "tokens_per_session", "--target-pct", "-10")
    new = ("--name", "Shorter rules", "--id", "rules", "--bind", bind, *commits, *target, "--json", *store)
    planned = json.loads(run("exp", "new", *new))["plan"]
    assert planned["cluster"] == ("day" if bind == "git" else "none")
    started = json.loads(run("exp", "start", "rules", "--json", *store))
    tag(past, 0, "control")
    warned = (started["warning"] or "").startswith(("No difference will be claimed", "Too few sessions", "The plan"))
    steps = []
    for day in (2, 7, 14.1):
        collect(day)
        tag(later[later < day], 20, "treatment")
        answer = run("exp", "evaluate", "rules", "--json", *store)
        box = " ".join(run("exp", "evaluate", "rules", *store).replace("│", " ").split())
        found = json.loads(answer)
        steps.append(found["next_step"])
        said = box + answer
        too_few = any(words in said for words in ("Too early", "too early", "says nothing below", "Collect more"))
        too_many = any(words in said for words in ("experiment is over", "of the planned information", "after_planned"))
        assert not (too_few and too_many), box
    assert steps[0] == "collect"
    assert steps[-1] != "collect"
    assert warned or found["verdict"] == "met"
    assert found["percent"]["high"] < -50
    assert found["decision"]["headline"] == "undecided"
