"""Experiments, repositories and commits that several tests of experiments start from."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from kaizen_analytics.core.model import Delta, Direction, Experiment, ManualTag, Metric
from kaizen_analytics.experiments.assess import assess
from kaizen_analytics.experiments.evaluation import Evaluation
from kaizen_analytics.experiments.plan import Plan, Start
from kaizen_analytics.experiments.sample import SAMPLE_SCHEMA

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
    """Judge as many sessions as there are values; the sessions of an arm take turns with the other `columns`."""
    rows = [
        {
            "session_id": f"{arm[0]}{place}",
            "variant": arm,
            "flags": "",
            "agent": "claude_code",
            "workspace": "/w",
            "started_at_ms": 60_000 * (2 * place + offset),
            "responses": 10,
            "unpriced_responses": 0,
            "unreliable_responses": 0,
            experiment.metric.column: value,
            **columns[(2 * place + offset) % len(columns)],
        }
        for offset, (arm, values) in enumerate(zip(("Control", "Treatment"), arms, strict=True))
        for place, value in enumerate(values)
    ]
    frame = pl.DataFrame(rows, schema=SAMPLE_SCHEMA).sort("started_at_ms", "session_id")
    as_of = start.window_end_ms if as_of_ms is None else as_of_ms
    return assess(frame, experiment, plan, start, as_of_ms=as_of, provenance={"version": "1"}, assigned=assigned)


def git(folder: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path, message: str) -> str:
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")
