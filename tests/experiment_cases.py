"""Experiments, repositories and commits that several tests of experiments start from."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from kaizen_analytics.core.model import Delta, Direction, Experiment, ManualTag, Metric, State
from kaizen_analytics.experiments.assess import assess
from kaizen_analytics.experiments.decide import Decision, Headline, Verdict
from kaizen_analytics.experiments.evaluation import Evaluation
from kaizen_analytics.experiments.plan import Plan, Start
from kaizen_analytics.experiments.portfolio import PortfolioLine
from kaizen_analytics.experiments.sample import _SAMPLE_SCHEMA
from kaizen_analytics.stats import Interval

DAY_MS = 86_400_000

EXPERIMENT = Experiment(
    id="exp-1",
    name="Shorter instructions",
    hypothesis="fewer tokens",
    change_description="half the text",
    metric=Metric.TOKENS_PER_SESSION,
    binding=ManualTag(variant_field=""),
    duration_days=14,
    success_criterion=Delta(direction=Direction.DECREASE, target_pct=-20.0),
    created_at_ms=0,
)


def make_experiment(**changes: object) -> Experiment:
    return replace(EXPERIMENT, **changes)


def make_line(**fields: object) -> PortfolioLine:
    """Return a portfolio's line of a running experiment; its decision may be given as a headline."""
    plain = PortfolioLine(
        id="e1",
        name="n",
        state=State.RUNNING,
        metric=Metric.TOKENS_PER_SESSION,
        created_at_ms=0,
        concluded_at_ms=None,
        verdict=Verdict.INCONCLUSIVE,
        decision=Decision(headline=Headline.UNDECIDED),
        better=Direction.DECREASE,
        percent=Interval(estimate=-5.0, low=-40.0, high=40.0),
        target_pct=-20.0,
        end_ms=20 * DAY_MS,
    )
    if isinstance(headline := fields.pop("headline", None), Headline):
        fields["decision"] = Decision(headline=headline)
    return replace(plain, **fields)


def make_frame(
    control: Sequence[float | None],
    treatment: Sequence[float | None],
    *,
    metric: str = "tokens_per_session",
    turns: Sequence[dict[str, object]] = ({},),
    **columns: object,
) -> pl.DataFrame:
    """Return a sample of values of one metric, a session a minute, arms in turn; sessions take `turns` in turn too."""
    plain = {"flags": "", "agent": "claude_code", "workspace": "/w", "responses": 10}
    plain |= {"unpriced_responses": 0, "unreliable_responses": 0}
    rows = []
    for offset, (arm, values) in enumerate((("Control", control), ("Treatment", treatment))):
        for place, value in enumerate(values):
            turn = 2 * place + offset
            own = {"session_id": f"{arm[0]}{place}", "variant": arm, "started_at_ms": 60_000 * turn, metric: value}
            rows.append(plain | own | turns[turn % len(turns)] | columns)
    return pl.DataFrame(rows, schema=_SAMPLE_SCHEMA).sort("started_at_ms", "session_id")


def judge_values(
    experiment: Experiment,
    plan: Plan,
    arms: tuple[Sequence[float | None], Sequence[float | None]],
    start: Start,
    *,
    as_of_ms: int | None = None,
    assigned: bool = False,
    columns: Sequence[dict[str, object]] = ({},),
) -> Evaluation:
    """Judge as many sessions as there are values; the sessions of both arms take turns with the other `columns`."""
    frame = make_frame(*arms, metric=experiment.metric.column, turns=columns)
    as_of = start.window_end_ms if as_of_ms is None else as_of_ms
    return assess(frame, experiment, plan, start, as_of_ms=as_of, provenance={"version": "1"}, assigned=assigned)


IDENTITY = {
    **{f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_MERGE_AUTOEDIT": "no",
}


def git(folder: Path, *arguments: str, at_s: float | None = None) -> str:
    """Run git in a folder, at a time if one is given, and return what it printed."""
    times = {} if at_s is None else {f"GIT_{who}_DATE": f"@{int(at_s)} +0000" for who in ("AUTHOR", "COMMITTER")}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env={**os.environ, **IDENTITY, **times},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr or done.stdout}"
    return done.stdout.strip()


def make_repository(folder: Path) -> Path:
    """Make an empty repository, whose branch is called main."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    return folder


def commit(folder: Path, message: str, at_s: float | None = None) -> str:
    """Make an empty commit and return its id."""
    git(folder, "commit", "-q", "--allow-empty", "-m", message, at_s=at_s)
    return git(folder, "rev-parse", "HEAD")
