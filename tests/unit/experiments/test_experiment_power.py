"""Sizes of experiments from a store's own history."""

import json
import math

import numpy as np
import polars as pl
import pytest

from kaizen_analytics.errors import ExperimentError, StatisticsError
from kaizen_analytics.experiments.plan import Cluster, PlanDesign
from kaizen_analytics.experiments.power import PowerTable, compute_power
from kaizen_analytics.model import Metric

DAY_MS = 86_400_000
NOW_MS = 100 * DAY_MS


def history(n: int, metric: str = "tokens_per_session") -> pl.DataFrame:
    """One session an hour until now, values of one and the same lognormal shape."""
    values = np.exp(np.linspace(-2, 2, n)) * 1000
    starts = [NOW_MS - i * 3_600_000 for i in range(n)]
    return pl.DataFrame({metric: values[np.arange(n) * 7 % n], "started_at_ms": starts})


def table(n: int = 240, **options: object) -> PowerTable:
    return compute_power(history(n), Metric.TOKENS_PER_SESSION, now_ms=NOW_MS, days=10, **options)


def test_smaller_effects_need_more_sessions_and_days() -> None:
    rows = table().rows
    assert [row.true_pct for row in rows] == [-10, -20, -30, -50]
    sizes = [row.n_per_arm for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert [row.days for row in rows] == [math.ceil(2 * size / 24) for size in sizes]


def test_a_target_needs_more_than_any_effect_and_a_truth_beyond_it() -> None:
    rows = table(target_pct=-20.0).rows
    assert [row.n_per_arm for row in rows[:2]] == [None, None]
    assert rows[3].n_per_arm > table().rows[3].n_per_arm


def test_repeated_looks_cost_sessions() -> None:
    planned, fixed = table(), table(design=PlanDesign.FIXED)
    assert planned.rows[1].n_per_arm > fixed.rows[1].n_per_arm
    assert planned.detectable_pct < fixed.detectable_pct < 0


@pytest.mark.parametrize("cluster", [Cluster.WORKSPACE, Cluster.USER])
def test_sessions_that_resemble_each_other_are_worth_less(cluster: Cluster) -> None:
    names = [f"name-{i}" for i in np.arange(240) // 24]
    alike = history(240).sort("tokens_per_session").with_columns(pl.Series(cluster.column, names))
    mixed = history(240).with_columns(pl.Series(cluster.column, names))
    sizes = [
        compute_power(frame, Metric.TOKENS_PER_SESSION, now_ms=NOW_MS, days=10, cluster=cluster).rows[2].n_per_arm
        for frame in (alike, mixed)
    ]
    assert sizes[0] > 5 * sizes[1]


def test_simulated_experiments_of_the_planned_size_find_what_was_planned_for() -> None:
    rows = table(target_pct=-15.0, simulate=True).rows
    assert [row.simulated_power is None for row in rows] == [True, False, False, False]
    assert all(row.simulated_power == pytest.approx(0.8, abs=0.12) for row in rows[2:])


def test_the_simulation_tells_what_two_peaks_cost() -> None:
    values = np.concatenate((np.linspace(90, 110, 118), np.linspace(9_000, 11_000, 122)))
    two_peaks = history(240).with_columns(tokens_per_session=values[np.arange(240) * 7 % 240])
    found = compute_power(two_peaks, Metric.TOKENS_PER_SESSION, now_ms=NOW_MS, days=10, simulate=True)
    powers = [row.simulated_power for row in found.rows]
    assert min(powers) < 0.6
    assert found.cells()[0][-1] == "simulated power"
    assert found.to_json()["rows"][0]["simulated_power"] == powers[0]


def test_only_medians_of_independent_sessions_are_simulated() -> None:
    clustered = history(240).with_columns(workspace=pl.lit("/w"))
    with pytest.raises(ExperimentError, match="clusters by workspace"):
        compute_power(clustered, Metric.TOKENS_PER_SESSION, now_ms=NOW_MS, cluster=Cluster.WORKSPACE, simulate=True)
    shares = history(100, "success_rate").with_columns(success_rate=(pl.int_range(100) % 4 != 0).cast(pl.Float64))
    with pytest.raises(ExperimentError, match="not proportions"):
        compute_power(shares, Metric.SUCCESS_RATE, now_ms=NOW_MS, simulate=True)


def test_only_the_history_counts() -> None:
    found = compute_power(history(240), Metric.TOKENS_PER_SESSION, now_ms=NOW_MS, days=5)
    assert (found.sessions, found.per_day) == (121, 121 / 5)
    assert "the last 5 days (60 per arm)" in found.sentence


def test_a_share_is_planned_upwards() -> None:
    shares = history(100, "success_rate").with_columns(success_rate=(pl.int_range(100) % 4 != 0).cast(pl.Float64))
    found = compute_power(shares, Metric.SUCCESS_RATE, now_ms=NOW_MS)
    assert found.detectable_pct > 0
    assert found.rows[0].true_pct == 10


def test_too_little_history_is_an_error() -> None:
    with pytest.raises(StatisticsError, match="Planning needs at least"):
        table(4)
    with pytest.raises(ExperimentError, match="0 days long"):
        compute_power(history(9), Metric.TOKENS_PER_SESSION, now_ms=NOW_MS, days=0)


def test_the_table_is_json() -> None:
    document = json.loads(json.dumps(table(target_pct=-20.0).to_json(), allow_nan=False))
    assert document["rows"][0] == {"true_pct": -10.0, "n_per_arm": None, "days": None, "simulated_power": None}


def test_it_prints_as_a_table() -> None:
    text = str(table(target_pct=-20.0))
    assert text.startswith("Tokens per session: what it takes to prove a change of -20 % (level 5 %, power 80 %")
    assert "-10 %        not beyond the target" in text
    assert table(target_pct=-20.0)._repr_html_().count("<tr>") == 5
