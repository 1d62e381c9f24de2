"""The choice of the method, and the adjustment for the past."""

import numpy as np
import polars as pl
import pytest
from experiment_cases import DAY_MS

from kaizen_analytics.core.model import Metric
from kaizen_analytics.experiments.compare import compare_arms
from kaizen_analytics.experiments.plan import Cluster, Plan, Randomisation, Start, Statistic, Unit
from kaizen_analytics.experiments.sample import _join_covariate
from kaizen_analytics.stats import EffectKind, mean_effect, proportion_effect

START = Start(started_at_ms=100 * DAY_MS, window_start_ms=100 * DAY_MS, window_end_ms=114 * DAY_MS)


def sessions(seed: int, n: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    results = rng.poisson(9, n) + 1.0
    return pl.DataFrame(
        {
            "tokens_per_session": rng.lognormal(9, 1, n),
            "tool_loops": rng.poisson(1, n).astype(float),
            "success_rate": (rng.random(n) < 0.8).astype(float),
            "tool_results": results,
            "tool_error_rate": rng.binomial(results.astype(int), 0.2) / results,
            "cost_per_session": rng.lognormal(0, 1, n),
            "prompts_per_session": rng.poisson(3, n) + 1.0,
        }
    ).with_columns(cost_by_prompt=pl.col("cost_per_session") / pl.col("prompts_per_session"))


CONTROL, TREATMENT = sessions(1), sessions(2)


@pytest.mark.parametrize(
    ("metric", "statistic", "kind"),
    [
        (Metric.TOKENS_PER_SESSION, Statistic.MEDIAN, EffectKind.MEDIAN),
        (Metric.TOKENS_PER_SESSION, Statistic.MEAN, EffectKind.MEAN),
        (Metric.TOOL_LOOPS, Statistic.MEDIAN, EffectKind.MEAN),
        (Metric.SUCCESS_RATE, Statistic.MEDIAN, EffectKind.PROPORTION),
        (Metric.TOOL_ERROR_RATE, Statistic.MEDIAN, EffectKind.RATE),
        (Metric.COST_BY_PROMPT, Statistic.MEDIAN, EffectKind.RATIO),
    ],
)
def test_every_kind_of_metric_has_its_method(metric, statistic, kind):
    assert compare_arms(CONTROL, TREATMENT, metric, statistic=statistic).kind is kind


def test_a_rate_is_the_ratio_of_the_totals():
    found = compare_arms(CONTROL, TREATMENT, Metric.TOOL_ERROR_RATE)
    failed = [(arm["tool_error_rate"] * arm["tool_results"]).to_numpy() for arm in (CONTROL, TREATMENT)]
    results = CONTROL["tool_results"].to_numpy(), TREATMENT["tool_results"].to_numpy()
    assert found == proportion_effect(*failed, denominators=results)
    assert found.control.mean == pytest.approx(failed[0].sum() / results[0].sum())


def test_sessions_without_a_value_or_a_denominator_do_not_count():
    some = CONTROL.with_columns(
        tool_results=pl.when(pl.int_range(pl.len()) < 10).then(None).otherwise("tool_results"),
    )
    assert compare_arms(some, TREATMENT, Metric.TOOL_ERROR_RATE).control.n == 50


def past_and_present() -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(3)
    level = {f"/w{i}": 1000.0 * 3**i for i in range(5)}
    rows = [
        {
            "session_id": f"{when}{i}",
            "workspace": workspace,
            "user_name": None,
            "started_at_ms": (90 if when == "past" else 101) * DAY_MS + i,
            "last_event_ms": (90 if when == "past" else 101) * DAY_MS + i,
            "tokens_per_session": float(tokens * rng.lognormal(0, 0.3)),
        }
        for when in ("past", "now")
        for i, (workspace, tokens) in enumerate(list(level.items()) * 30)
    ]
    frame = pl.DataFrame(rows, schema_overrides={"user_name": pl.String})
    return frame, frame.filter(pl.col("session_id").str.starts_with("now"))


def lot(unit: Unit = Unit.SESSION, **changes: object) -> Plan:
    return Plan(randomisation=Randomisation(unit=unit, control_sha256="", treatment_sha256=""), **changes)


def test_the_past_of_a_workspace_narrows_the_interval_and_knows_nothing_of_the_present():
    everything, chosen = past_and_present()
    joined = _join_covariate(chosen, everything, Metric.TOKENS_PER_SESSION, lot(), START)
    past = everything.filter(pl.col("session_id").str.starts_with("past"), workspace="/w0")
    expected = np.log1p(past["tokens_per_session"].to_numpy()).mean()
    assert joined.filter(workspace="/w0")["covariate"].unique().to_list() == [pytest.approx(expected)]

    arms = joined.gather_every(2), joined.gather_every(2, offset=1)
    plain, adjusted = (
        compare_arms(*arms, Metric.TOKENS_PER_SESSION, statistic=Statistic.MEAN, use_covariate=use)
        for use in (False, True)
    )
    width = adjusted.percent.high - adjusted.percent.low
    assert width < 0.8 * (plain.percent.high - plain.percent.low)
    covariate = arms[0]["covariate"].to_numpy(), arms[1]["covariate"].to_numpy()
    values = [arm["tokens_per_session"].to_numpy() for arm in arms]
    assert adjusted == mean_effect(*values, covariate=covariate)


def test_a_session_that_lasts_into_the_window_is_no_past():
    everything, chosen = past_and_present()
    late = everything.with_columns(last_event_ms=pl.lit(START.window_start_ms))
    joined = _join_covariate(chosen, late, Metric.TOKENS_PER_SESSION, lot(), START)
    assert joined["covariate"].null_count() == joined.height


def test_an_unknown_workspace_has_the_mean_of_all():
    everything, chosen = past_and_present()
    some = everything.filter((pl.col("workspace") != "/w4") | pl.col("session_id").str.starts_with("now"))
    joined = _join_covariate(chosen, some, Metric.TOKENS_PER_SESSION, lot(), START)
    past = some.filter(pl.col("session_id").str.starts_with("past"))["tokens_per_session"].to_numpy()
    assert joined.filter(workspace="/w4")["covariate"].unique().to_list() == [pytest.approx(np.log1p(past).mean())]


@pytest.mark.parametrize("plan", [Plan(), lot(covariate=False)])
def test_only_a_lot_is_adjusted_and_only_when_wanted(plan):
    everything, chosen = past_and_present()
    assert "covariate" not in _join_covariate(chosen, everything, Metric.TOKENS_PER_SESSION, plan, START).columns


def test_a_constant_covariate_and_few_clusters_are_not_used():
    plain = compare_arms(CONTROL, TREATMENT, Metric.TOKENS_PER_SESSION)
    constant = [arm.with_columns(covariate=pl.lit(1.0)) for arm in (CONTROL, TREATMENT)]
    assert compare_arms(*constant, Metric.TOKENS_PER_SESSION, use_covariate=True) == plain
    two = [
        arm.with_columns(covariate=pl.col("tool_results"), unit=pl.Series([f"{name}{i % 2}" for i in range(60)]))
        for name, arm in (("c", CONTROL), ("t", TREATMENT))
    ]
    without = compare_arms(*two, Metric.TOKENS_PER_SESSION, cluster=Cluster.UNIT)
    assert compare_arms(*two, Metric.TOKENS_PER_SESSION, cluster=Cluster.UNIT, use_covariate=True) == without
