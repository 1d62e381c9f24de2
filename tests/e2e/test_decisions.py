"""What an experiment must not decide: from transcripts to the answer of `exp evaluate`, through the command line."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from claude_sessions import respond, write_session

from kaizen_analytics.stats import RatioStatus, check_sample_ratio

DAY_S = 86_400
PROMPTS = 5

Run = Callable[..., str]


@dataclass(frozen=True)
class Session:
    arm: str
    branch: str
    tokens: float
    failed: int = 0
    day: float = 1.0
    folder: str = "/repo"


def write(home: Path, session: Session, number: int, start: float) -> str:
    """Write a transcript of five prompts, one response and as many interruptions as prompts failed."""
    name = str(uuid.UUID(int=number + 1, version=4))
    texts = ["Fix the test."] * PROMPTS + ["[Request interrupted by user]"] * session.failed
    messages = [(i, {"role": "user", "content": text}) for i, text in enumerate(texts)]
    messages.append((60, respond(str(number), session.tokens)))
    write_session(home, name, (session.folder, session.branch), start, messages)
    return name


@pytest.fixture
def judge(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict]:
    """Return a function that ingests sessions, tags their arms by hand and returns what `exp evaluate --json` says."""
    monkeypatch.chdir(tmp_path)
    store = ("--store", str(tmp_path / "kaizen.db"))

    def make(sessions: Iterable[Session], *options: str) -> dict:
        began = time.time() - 20 * DAY_S
        names: dict[str, list[str]] = {"control": [], "treatment": []}
        for number, session in enumerate(sessions):
            found = write(tmp_path / "home", session, number, began + session.day * DAY_S)
            names[session.arm].append(found)
        run("ingest", "--home", str(tmp_path / "home"), *store)
        plan = ("--metric", "tokens_per_session", "--target-pct", "-5", "--bind", "manual", "--all-workspaces")
        plan += ("--no-default-guardrails",)
        run("exp", "new", "--name", "Split", "--id", "e", *plan, "--cluster", "none", *options, *store)
        run("exp", "start", "e", "--at", datetime.fromtimestamp(began, UTC).isoformat(), *store)
        for arm, chosen in names.items():
            run("exp", "tag", "e", *chosen, "--variant", arm, *store)
        return json.loads(run("exp", "evaluate", "e", "--json", *store))

    return make


def test_a_fall_of_the_success_rate_is_seen_though_the_median_is_cheaper(judge: Callable[..., dict]) -> None:
    rng = np.random.default_rng(1)

    def arm(name: str, factor: float, rate: float, rise: float) -> list[Session]:
        tokens = factor * rng.lognormal(9, 0.5, 150)
        tokens[:40] *= rise  # some sessions explode: the typical one is cheaper, the bill is not
        failed = rng.binomial(PROMPTS, 1 - rate, 150)
        return [
            Session(name, "main", t, int(f), day=i / 15) for i, (t, f) in enumerate(zip(tokens, failed, strict=True))
        ]

    sessions = [*arm("control", 1.0, 0.96, 1.0), *arm("treatment", 0.6, 0.64, 20.0)]
    found = judge(sessions, "--guardrail", "success_rate_by_prompt:decrease:5")

    [guardrail] = found["guardrails"]
    assert guardrail["status"] == "violated"
    assert guardrail["result"]["arms"]["control"]["mean"] == pytest.approx(0.96, abs=0.02)
    assert guardrail["result"]["arms"]["treatment"]["mean"] == pytest.approx(0.64, abs=0.04)
    assert found["percent"]["estimate"] < 0 < found["primary"]["companion"]["percent"]["low"]
    assert found["decision"]["headline"] not in ("ship", "better")


def test_tasks_that_are_split_in_two_are_not_cheaper(judge: Callable[..., dict]) -> None:
    rng = np.random.default_rng(3)
    totals = rng.lognormal(10, 0.5, (2, 80))
    control = [Session("control", f"c{i}", total, day=i / 8) for i, total in enumerate(totals[0])]
    halves = [
        Session("treatment", f"t{i}", total / 2, day=i / 8) for i, total in enumerate(totals[1]) for _ in range(2)
    ]
    found = judge([*control, *halves])

    assert found["percent"]["estimate"] < -30
    assert found["decision"]["headline"] == "undecided"
    [warned] = [text for text in found["quality"]["warnings"] if text.startswith("A task takes 1 session ")]
    assert "and 2 in the treatment arm" in warned
    assert "its total is not shown to be better" in found["decision"]["sentence"]


def test_a_fair_coin_per_user_with_uneven_users_is_no_mismatch(judge: Callable[..., dict], tmp_path: Path) -> None:
    """20 users with lognormal numbers of sessions; the sessions alone would be called a mismatch."""
    rng = np.random.default_rng(18)
    sessions = []
    for user in range(20):
        folder = tmp_path / f"user{user}"
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
        subprocess.run(["git", "-C", str(folder), "config", "user.email", f"user{user}@example.org"], check=True)
        arm = ("control", "treatment")[user % 2]
        for tokens in rng.lognormal(9, 0.5, 1 + int(rng.lognormal(1.5, 1))):
            day = rng.uniform(0.1, 9)
            sessions.append(Session(arm, "main", tokens, day=day, folder=str(folder)))
    found = judge(sessions, "--cluster", "user", "--split", "50")

    ratio = found["quality"]["sample_ratio"]
    assert (ratio["unit"], ratio["n_control"], ratio["n_treatment"], ratio["status"]) == ("user", 10, 10, "ok")
    sizes = [sum(session.arm == arm for session in sessions) for arm in ("control", "treatment")]
    assert check_sample_ratio(*sizes).status is RatioStatus.INVALID
    assert found["verdict"] != "invalid"
