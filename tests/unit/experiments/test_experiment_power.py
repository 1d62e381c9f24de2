"""Sizes of experiments from a store's own history, by simulating whole experiments."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import polars as pl
import pytest
from experiment_cases import DAY_MS

from benchmarks.planning import SHAPES
from kaizen_analytics.core.errors import ExperimentError
from kaizen_analytics.core.model import Delta, DesignKind, Direction, GuardrailSpec, Metric
from kaizen_analytics.experiments import power
from kaizen_analytics.experiments.decide import Verdict, judge
from kaizen_analytics.experiments.plan import Cluster, Plan, Statistic
from kaizen_analytics.experiments.power import PowerRow, PowerTable, compute_power, expected_design_effect
from kaizen_analytics.stats import Design, median_effect
from kaizen_analytics.stats.medians import median_reaches

NOW_MS = 100 * DAY_MS
TOKENS = Metric.TOKENS_PER_SESSION


@pytest.fixture(autouse=True)
def few_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "_SIMULATIONS", 50)
    monkeypatch.setattr(power, "_HISTORIES", 2)
    monkeypatch.setattr(power, "_OF_HISTORY", 10)
    monkeypatch.setattr(power, "EFFECTS_PCT", (30.0, 50.0))


@pytest.fixture
def one_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "EFFECTS_PCT", (50.0,))


def history(n: int, metric: str = "tokens_per_session") -> pl.DataFrame:
    """One session an hour until now, values of one and the same lognormal shape."""
    values = np.exp(np.linspace(-2, 2, n)) * 1000
    starts = [NOW_MS - i * 3_600_000 for i in range(n)]
    return pl.DataFrame({metric: values[np.arange(n) * 7 % n], "started_at_ms": starts})


@cache
def plain() -> PowerTable:
    return table()


def table(n: int = 240, **options: object) -> PowerTable:
    return compute_power(history(n), TOKENS, now_ms=NOW_MS, days=10, **options)


@pytest.mark.slow
def test_larger_effects_are_found_more_often_and_need_fewer_sessions() -> None:
    assert plain().error_pct == pytest.approx(100 * math.sqrt(0.25 / 50))
    small, large = plain().rows
    assert (small.true_pct, large.true_pct) == (-30, -50)
    assert small.low <= small.probability <= small.high
    assert small.probability < large.probability
    assert small.n_per_arm > large.n_per_arm
    assert large.days == math.ceil(2 * large.n_per_arm / 24)


@pytest.mark.slow
def test_the_same_history_gives_the_same_answer() -> None:
    assert table() == plain()


@pytest.mark.slow
def test_a_target_needs_a_truth_beyond_it() -> None:
    rows = table(target_pct=-35.0).rows
    assert rows[0].n_per_arm is None
    assert rows[1].n_per_arm > plain().rows[1].n_per_arm
    assert rows[0].probability < 0.05


@pytest.mark.slow
def test_interim_analyses_cost_sessions() -> None:
    assert plain().rows[0].n_per_arm >= table(plan=Plan(design=DesignKind.FIXED)).rows[0].n_per_arm


@pytest.mark.long
@pytest.mark.usefixtures("one_effect")
def test_sessions_that_resemble_each_other_are_worth_less() -> None:
    names = [f"name-{i}" for i in np.arange(240) // 12]
    alike = history(240).sort("tokens_per_session").with_columns(pl.Series("user_name", names))
    mixed = history(240).with_columns(pl.Series("user_name", np.random.default_rng(1).permutation(names)))
    rows = [
        compute_power(frame, TOKENS, now_ms=NOW_MS, days=10, plan=Plan(cluster=Cluster.USER)).rows[0]
        for frame in (alike, mixed)
    ]
    assert rows[0].probability < rows[1].probability - 0.2


@pytest.mark.long
def test_a_guardrail_that_cannot_be_resolved_costs_the_decision() -> None:
    noisy = history(240).with_columns(cost_per_session=history(240)["tokens_per_session"].reverse())
    strict = GuardrailSpec(Metric.COST_PER_SESSION, Direction.INCREASE, 1.0)
    found = compute_power(noisy, TOKENS, now_ms=NOW_MS, days=10, guardrails=[strict])
    assert found.guardrails == 1
    assert found.rows[1].probability < 0.3 < plain().rows[1].probability


def test_what_no_size_within_reach_settles_is_said() -> None:
    rare = history(24).with_columns(started_at_ms=pl.Series([NOW_MS - i * DAY_MS for i in range(24)]))
    found = compute_power(rare, TOKENS, now_ms=NOW_MS, days=30)
    assert found.rows[0].n_per_arm is None


@pytest.mark.slow
@pytest.mark.usefixtures("one_effect")
def test_only_the_history_counts() -> None:
    found = compute_power(history(240), TOKENS, now_ms=NOW_MS, days=5)
    assert (found.sessions, found.per_day) == (121, 121 / 5)
    assert (found.days, found.per_arm) == (5, 60)


@pytest.mark.slow
@pytest.mark.usefixtures("one_effect")
@pytest.mark.parametrize(
    "metric", [Metric.SUCCESS_RATE, Metric.TOOL_ERROR_RATE, Metric.TOOL_LOOPS, Metric.COST_PER_COMMIT]
)
def test_every_kind_of_metric_is_planned(metric: Metric) -> None:
    rng = np.random.default_rng(1)
    results = rng.poisson(9, 240) + 1.0
    frame = (
        history(240)
        .with_columns(
            success_rate=pl.Series((rng.random(240) < 0.6).astype(float)),
            tool_results=pl.Series(results),
            tool_error_rate=pl.Series(rng.binomial(results.astype(int), 0.3) / results),
            tool_loops=pl.Series(rng.poisson(3, 240).astype(float)),
            cost_per_session=pl.Series(rng.gamma(9, 0.1, 240)),
            commits_per_session=pl.Series(rng.poisson(2, 240).astype(float)),
        )
        .with_columns(
            cost_per_commit=pl.when(pl.col("commits_per_session") > 0).then(
                pl.col("cost_per_session") / pl.col("commits_per_session")
            )
        )
    )
    found = compute_power(frame, metric, now_ms=NOW_MS, days=10)
    assert found.rows[0].probability > 0.8
    assert (found.rows[0].true_pct > 0) == (metric is Metric.SUCCESS_RATE)


def test_too_little_history_is_an_error() -> None:
    with pytest.raises(ExperimentError, match="Planning needs at least 20 past sessions with a value, and found 4"):
        table(4)
    with pytest.raises(ExperimentError, match="0 days long"):
        compute_power(history(9), TOKENS, now_ms=NOW_MS, days=0)


def test_the_detectable_change_lies_on_the_line_between_two_simulated_ones() -> None:
    shared = {"low": 0.0, "high": 1.0, "n_per_arm": None, "days": None}
    rows = [PowerRow(true_pct=pct, probability=p, **shared) for pct, p in ((-10.0, 0.2), (-20.0, 0.6), (-30.0, 1.0))]
    assert power._interpolate(rows, 0.8) == pytest.approx(-25.0)
    assert power._interpolate(rows[:2], 0.8) is None


def test_the_design_effect_of_past_sessions_is_that_of_their_clusters() -> None:
    rng = np.random.default_rng(2)
    level = np.repeat(rng.normal(0, 1, 40), 10)
    frame = pl.DataFrame(
        {"tokens_per_session": np.exp(9 + level + rng.normal(0, 0.3, 400)), "workspace": np.repeat(np.arange(40), 10)}
    ).with_columns(pl.col("workspace").cast(pl.String))
    assert 4 < expected_design_effect(frame, TOKENS, Statistic.MEDIAN, Cluster.WORKSPACE) < 11
    assert expected_design_effect(frame, TOKENS, Statistic.MEDIAN, Cluster.NONE) == 1


@pytest.mark.parametrize("seed", range(10))
def test_a_median_reaches_what_its_interval_reaches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    control, treatment = rng.lognormal(9, 0.8, 60), 0.6 * rng.lognormal(9, 0.8, 50)
    design = Design(kind=DesignKind.PLANNED, planned_n=50, is_last=True)
    effect = median_effect(control, treatment, design=design)
    for target in (0.0, -10.0, -25.0, -40.0):
        judged = judge(effect, Delta(Direction.DECREASE, target), better=Direction.DECREASE).verdict
        assert median_reaches(control, treatment, target, design=design) == (judged is Verdict.MET)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("shape", ["lognormal", "two peaks"])
def test_what_is_promised_comes_out(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same history within 3 points, in new ones on average; the benchmark of the statistics has more."""
    monkeypatch.setattr(power, "_SIMULATIONS", 200)
    monkeypatch.setattr(power, "_HISTORIES", 8)
    monkeypatch.setattr(power, "_OF_HISTORY", 50)
    monkeypatch.setattr(power, "EFFECTS_PCT", (30.0,))
    rng = np.random.default_rng(3)
    same, new = [], []
    for _ in range(6):
        values = SHAPES[shape](rng, 1000)
        past = pl.DataFrame({"tokens_per_session": values, "started_at_ms": np.full(values.size, NOW_MS)})
        [row] = compute_power(past, TOKENS, now_ms=NOW_MS, days=10).rows
        n = row.n_per_arm
        same.append(share_found(lambda size, past=values: rng.choice(past, size), n))
        new.append(share_found(lambda size: SHAPES[shape](rng, size), n))
        assert row.n_low < 0.8 < row.n_high
    assert np.mean(same) == pytest.approx(0.8, abs=0.03 + 0.02)  # Monte Carlo error 0.013
    assert np.mean(new) == pytest.approx(0.8, abs=0.03 + 0.06)  # Monte Carlo error 0.013, and 0.03 of the histories


def share_found(draw: Callable[[int], np.ndarray], n: int, runs: int = 150) -> float:
    design = Design(kind=DesignKind.PLANNED, planned_n=n, is_last=True)
    return sum(median_reaches(draw(n), 0.7 * draw(n), 0.0, design=design) for _ in range(runs)) / runs
