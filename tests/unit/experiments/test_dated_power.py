"""Power of comparisons before and after a commit, by simulating the whole rule on the store's own history."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest
from experiment_cases import DAY_MS, make_experiment

from benchmarks.worlds import WORLDS, draw_world
from kaizen_analytics.core.errors import ExperimentError
from kaizen_analytics.core.model import Delta, Direction, GitCommit, GuardrailSpec, Metric, WorkUnit
from kaizen_analytics.experiments import power
from kaizen_analytics.experiments.assess import assess
from kaizen_analytics.experiments.decide import Claim, Headline, Verdict, judge_claim
from kaizen_analytics.experiments.plan import Plan, Start
from kaizen_analytics.experiments.power import PowerTable, _Histories, _Rule, compute_power
from kaizen_analytics.experiments.sample import _SAMPLE_SCHEMA
from kaizen_analytics.pages.summary import render_text
from kaizen_analytics.stats.before_after import compare_before_after

NOW_MS = 100 * DAY_MS
TOKENS = Metric.TOKENS_PER_SESSION


@pytest.fixture
def few_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_SIMULATIONS": 20, "_HISTORIES": 2, "_OF_DATED_HISTORY": 10, "_OF_LENGTH": 10}.items():
        monkeypatch.setattr(power, name, value)
    monkeypatch.setattr(power, "EFFECTS_PCT", (10.0, 50.0))


def history(world: str = "calm", *, per_day: int = 20, days: int = 56, seed: int = 1) -> pl.DataFrame:
    line = draw_world(np.random.default_rng(seed), WORLDS[world], history=days, after=1, per_day=per_day)
    line = line.where(line.days < 0)
    starts = NOW_MS + line.days * DAY_MS + np.arange(line.days.size) % 1000
    fixed = {"agent": "codex", "model": "opus", "workspace": "/w", "branch": "main", "user_name": "ada"}
    frame = pl.DataFrame({"started_at_ms": starts, "tokens_per_session": line.values})
    return frame.with_columns(pl.lit(value).alias(name) for name, value in fixed.items())


def table(sessions: pl.DataFrame, **options: object) -> PowerTable:
    return compute_power(sessions, TOKENS, now_ms=NOW_MS, **{"after_days": 28, **options})


@cache
def calm_table() -> PowerTable:
    return table(history())


def planner(sessions: pl.DataFrame, *guardrails: GuardrailSpec) -> _Histories:
    rule = _Rule(metric=TOKENS, criterion=Delta(Direction.DECREASE, 0.0), plan=Plan(), guardrails=guardrails)
    return _Histories.of(rule, sessions, NOW_MS, None, after_days=28, power=0.8)


@pytest.mark.long
@pytest.mark.usefixtures("few_simulations")
def test_a_large_change_is_claimed_and_a_small_one_is_not() -> None:
    found = calm_table()
    small, large = found.rows
    assert (small.true_pct, large.true_pct) == (-10, -50)
    assert small.probability < 0.3
    assert large.probability > 0.8
    assert (small.days, small.n_per_arm, large.n_per_arm) == (None, None, None)
    assert large.days in (14, 28)
    assert (found.after_days, found.days) == (28, 56)
    assert large.low <= large.probability <= large.high
    text = render_text(found).replace("\N{NO-BREAK SPACE}", " ")
    assert "right in 28 days" in text
    assert "days for 80 %" in text
    assert "per arm for" not in text
    assert "standard error: at most 11.2 points" in text
    assert "'exp new --assign session'" in text


@pytest.mark.long
@pytest.mark.usefixtures("few_simulations")
def test_days_that_differ_a_target_and_an_unresolved_guardrail_cost_power(monkeypatch: pytest.MonkeyPatch) -> None:
    calm, chance = history(), calm_table().rows[1].probability
    target = table(calm, target_pct=-45.0)
    monkeypatch.setattr(power, "EFFECTS_PCT", (50.0,))
    uneven = table(history("days 0.5"))
    noisy = calm.with_columns(cost_per_session=pl.col("tokens_per_session").shuffle(seed=1))
    strict = GuardrailSpec(Metric.COST_PER_SESSION, Direction.INCREASE, 1.0)
    guarded = table(noisy, guardrails=[strict])
    assert guarded.guardrails == 1
    assert guarded.rows[0].probability < 0.3
    assert uneven.rows[0].probability < chance - 0.2
    assert target.rows[1].probability < chance - 0.3
    assert target.rows[0].days is None


@pytest.mark.long
@pytest.mark.usefixtures("few_simulations")
def test_the_same_history_gives_the_same_answer() -> None:
    assert table(history()) == calm_table()


def test_too_little_history_is_an_error() -> None:
    with pytest.raises(ExperimentError, match=r"in 28 days\. Before and after a change, .* only with 35 days"):
        table(history(days=28))
    with pytest.raises(ExperimentError, match="in 30 days"):
        table(history(), days=30)
    with pytest.raises(ExperimentError, match="0 days; expected 1"):
        table(history(), after_days=0)


@pytest.mark.slow
@pytest.mark.long
def test_what_is_promised_comes_out_on_average_over_histories() -> None:
    """Four worlds, 12 histories of 8 weeks with 20 sessions a day, 10 experiments each; a true fall of 30 %.

    The truth has a Monte Carlo error of 3.4 points in each world, the promise about 5, their mean gap about 3.
    """
    gaps = []
    for name in ("calm", "days 0.3", "two peaks", "weekly mix 0.2"):
        rng = np.random.default_rng(4)
        claims = 0
        for _ in range(200):
            line = draw_world(rng, WORLDS[name], history=56, after=28, per_day=20, effect=-0.3)
            found = compare_before_after(line, by_median=True)
            claims += judge_claim(found) is Claim.HOLDS and found.effect.log_ratio < 0
        promised = [planner(history(name, seed=seed)).probability(-30.0, 28, 10) for seed in range(12)]
        gaps.append(float(np.mean(promised)) - claims / 200)
    assert abs(np.mean(gaps)) <= 0.05 + 0.06
    assert max(map(abs, gaps)) <= 0.25


def as_sample(drawn: pl.DataFrame) -> pl.DataFrame:
    named = drawn.with_columns(session_id=pl.int_range(pl.len()).cast(pl.String), responses=1, flags=pl.lit(""))
    columns = {name: named[name] if name in named.columns else None for name in _SAMPLE_SCHEMA}
    return pl.DataFrame(columns, _SAMPLE_SCHEMA)


def test_work_that_must_not_fall_is_planned_as_it_is_judged() -> None:
    """Per day: most sessions have no commit, and days differ little."""
    rng = np.random.default_rng(3)
    sessions = history()
    commits = rng.permutation(np.arange(sessions.height) % 3 == 0).astype(float)
    spec = GuardrailSpec(Metric.COMMITS_PER_SESSION, Direction.DECREASE, 20.0)
    plans = planner(sessions.with_columns(commits_per_session=pl.Series(commits)), spec)
    criterion = Delta(Direction.DECREASE, 0.0)
    experiment = make_experiment(binding=GitCommit("c", "t"), success_criterion=criterion, guardrails=(spec,))
    start = Start(started_at_ms=NOW_MS, window_start_ms=NOW_MS - 28 * DAY_MS, window_end_ms=NOW_MS + 28 * DAY_MS)
    plan = Plan(rule=experiment, started=start)
    decisions = []
    for true_pct in (-10.0, -30.0, -50.0):
        frame, around = plans.draw_arms(rng, true_pct, 28)
        times = {"as_of_ms": start.window_end_ms, "around": as_sample(around)}
        judged = assess(as_sample(frame), experiment, plan, start, provenance={}, **times)
        decisions.append(judged.decision.headline is Headline.BETTER and judged.verdict is Verdict.MET)
        assert plans.decides(frame, around) == decisions[-1]
        assert judged.guardrails[0].result.per is WorkUnit.DAY
    assert set(decisions) == {True, False}
