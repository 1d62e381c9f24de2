"""One metric compared between two groups of sessions: the one place that chooses the method.

`exp evaluate`, segments, `Analysis.effect` and the simulation of `exp power` all compare through `compare_arms`, so
the same sessions get the same effect everywhere. The deltas are point estimates, as Polars frames: what the arms are,
how far apart, and how far from the success criterion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.metrics import REGISTRY, MetricKind
from kaizen_analytics.core.model import Classification, Delta, Direction, Metric
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.plan import Cluster, Statistic
from kaizen_analytics.stats import Design, mean_effect, median_effect, proportion_effect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.core.model import Criterion
    from kaizen_analytics.stats import Effect
    from kaizen_analytics.stats.distributions import FloatArray

_ARM_SCHEMA = {
    "metric": pl.String(),
    "variant": pl.String(),
    "n": pl.Int64(),
    "n_missing": pl.Int64(),
    "median": pl.Float64(),
    "mean": pl.Float64(),
}
ARMS = (Classification.CONTROL.value, Classification.TREATMENT.value)


def compare_arms(
    control: pl.DataFrame,
    treatment: pl.DataFrame,
    metric: Metric,
    *,
    statistic: Statistic = Statistic.MEDIAN,
    alpha: float = 0.05,
    cluster: Cluster = Cluster.NONE,
    design: Design | None = None,
    use_covariate: bool = False,
) -> Effect:
    """Compare one metric between two groups of sessions.

    Args:
        control: One row per session: the metric's column, its denominator's and the cluster's.
        treatment: The same.
        metric: What is compared; a session without a value does not count.
        statistic: How a quantity is compared; counts are compared by means, proportions and rates by their own ways.
        alpha: Nominal two-sided level.
        cluster: Whose sessions resemble each other.
        design: When the data may be analysed; None is one fixed analysis.
        use_covariate: Adjust for the column `covariate`, where it has values that differ.

    >>> sessions = pl.DataFrame({"tool_error_rate": [0.0, 0.5] * 3, "tool_results": [9.0, 1.0] * 3})
    >>> round(compare_arms(sessions, sessions, Metric.TOOL_ERROR_RATE).control.mean, 3)
    0.05
    """
    definition = REGISTRY[metric]
    needed = [name for name in (definition.numerator or metric.column, definition.denominator) if name is not None]
    arms = [arm.drop_nulls(needed) for arm in (control, treatment)]
    values = [arm[metric.column].to_numpy() for arm in arms]
    keys = [] if cluster is Cluster.NONE else [arm.select(cluster_key(cluster)).to_series().to_list() for arm in arms]
    clusters = (keys[0], keys[1]) if keys else None
    covariate = _read_covariate(arms, clusters) if use_covariate else None
    if definition.kind is MetricKind.RATE and definition.denominator is not None:
        below = arms[0][definition.denominator].to_numpy(), arms[1][definition.denominator].to_numpy()
        if definition.numerator is None:
            totals = values[0] * below[0], values[1] * below[1]
        else:
            totals = arms[0][definition.numerator].to_numpy(), arms[1][definition.numerator].to_numpy()
        of_totals = proportion_effect if definition.unit == "share" else mean_effect
        return of_totals(
            *totals, alpha=alpha, clusters=clusters, covariate=covariate, design=design, denominators=below
        )
    if definition.kind is MetricKind.PROPORTION:
        return proportion_effect(*values, alpha=alpha, clusters=clusters, covariate=covariate, design=design)
    compare = median_effect if statistic_of(metric, statistic) is Statistic.MEDIAN else mean_effect
    return compare(*values, alpha=alpha, clusters=clusters, covariate=covariate, design=design)


def _read_covariate(
    arms: list[pl.DataFrame], clusters: tuple[list[str], list[str]] | None
) -> tuple[FloatArray, FloatArray] | None:
    """Return the covariate of both arms; None where it is constant or the clusters are too few for it."""
    columns = [arm["covariate"] for arm in arms]
    if any(column.null_count() or column.n_unique() < 2 for column in columns):
        return None
    if clusters is not None and min(len(set(keys)) for keys in clusters) < _MIN_CLUSTERS:
        return None
    return columns[0].to_numpy(), columns[1].to_numpy()


_MIN_CLUSTERS = 3
"""Clusters per arm that an adjustment for a covariate needs."""


def statistic_of(metric: Metric, statistic: Statistic) -> Statistic:
    """Return how a metric is compared in an experiment that compares quantities by `statistic`.

    >>> statistic_of(Metric.TOOL_LOOPS, Statistic.MEDIAN)
    <Statistic.MEAN: 'mean'>
    """
    return statistic if REGISTRY[metric].kind is MetricKind.QUANTITY else Statistic.MEAN


def cluster_key(cluster: Cluster) -> pl.Expr:
    """Return the expression that names the cluster of a session; `cluster` is not NONE.

    >>> pl.DataFrame({"started_at_ms": [1, 86_400_000]}).select(cluster_key(Cluster.DAY)).to_series().to_list()
    ['0', '1']
    """
    if cluster is Cluster.DAY:
        return (pl.col("started_at_ms") // DAY_MS).cast(pl.String)
    if cluster is Cluster.BRANCH:
        return pl.concat_str("workspace", pl.lit("\n"), "branch").fill_null("")
    return pl.col("user_name" if cluster is Cluster.USER else cluster.value).fill_null("")


def find_shared_units(frame: pl.DataFrame) -> Cluster:
    """Return the cluster of rows that name what was drawn, or a task or day: UNIT where one is in several rows.

    >>> find_shared_units(pl.DataFrame({"variant": ["Control", "Treatment"], "unit": ["day 1", "day 1"]}))
    <Cluster.UNIT: 'unit'>
    """
    units = frame.filter(pl.col("variant").is_in(ARMS))["unit"].drop_nulls()
    return Cluster.UNIT if units.n_unique() < units.len() else Cluster.NONE


def compute_arms(sample: pl.DataFrame, metrics: Sequence[Metric] = tuple(Metric)) -> pl.DataFrame:
    """Return one row per metric and arm: sessions with a value, sessions without one, median and mean.

    The mean of a rate weighs each session by its denominator: it is the ratio of the totals.

    Args:
        sample: Columns `variant`, one per metric and its denominator's; Excluded sessions are left out.
        metrics: Which metrics to summarise.

    Returns:
        Columns `metric`, `variant`, `n`, `n_missing`, `median`, `mean`; an arm without sessions has rows with n = 0.

    >>> sample = pl.DataFrame({"variant": ["Control"] * 3, "tool_loops": [1.0, 2.0, None]})
    >>> compute_arms(sample, [Metric.TOOL_LOOPS]).row(0)
    ('tool_loops', 'Control', 2, 1, 1.5, 1.5)
    """
    return pl.concat(_summarise(sample.filter(pl.col("variant") == arm), arm, metrics) for arm in ARMS)


def _summarise(sessions: pl.DataFrame, arm: str, metrics: Sequence[Metric]) -> pl.DataFrame:
    parts = [sessions.select(_columns(metric)) for metric in metrics]
    summary = {
        "metric": [metric.column for metric in metrics],
        "variant": [arm] * len(metrics),
        "n": [part["total"].count() for part in parts],
        "n_missing": [part["total"].null_count() for part in parts],
        "median": [part["value"].median() for part in parts],
        "mean": [_weighted_mean(part) for part in parts],
    }
    return pl.DataFrame(summary, schema=_ARM_SCHEMA)


def _columns(metric: Metric) -> list[pl.Expr]:
    """Return a metric's value, what it adds to a total, and its weight there; the last two are null where either is."""
    definition = REGISTRY[metric]
    value = pl.col(metric.column).cast(pl.Float64)
    weight = pl.lit(1.0) if definition.denominator is None else pl.col(definition.denominator)
    total = value * weight if definition.numerator is None else pl.col(definition.numerator)
    known = total.is_not_null() & weight.is_not_null()
    return [
        value.alias("value"),
        pl.when(known).then(total).alias("total"),
        pl.when(known).then(weight).alias("weight"),
    ]


def _weighted_mean(part: pl.DataFrame) -> float | None:
    weight = float(part["weight"].sum())
    return float(part["total"].sum()) / weight if weight > 0 else None  # no weight at all is no mean, not 0 / 0


def compute_deltas(
    sample: pl.DataFrame, metrics: Sequence[Metric] = tuple(Metric), statistic: Statistic = Statistic.MEDIAN
) -> pl.DataFrame:
    """Return one row per metric: both arms, their difference and the percent change.

    Quantities are compared by `statistic`, counts by means, proportions by shares, rates by ratios of totals.

    Returns:
        Columns `metric`, `control_n`, `treatment_n`, `control`, `treatment`, `difference` (treatment minus control, in
        the metric's unit) and `percent` (null where the control is not above zero, or an arm is empty).

    >>> sample = pl.DataFrame({"variant": ["Control", "Treatment"], "tool_loops": [10.0, 9.0]})
    >>> compute_deltas(sample, [Metric.TOOL_LOOPS]).row(0)
    ('tool_loops', 1, 1, 10.0, 9.0, -1.0, -10.0)
    """
    medians = [metric.column for metric in metrics if statistic_of(metric, statistic) is Statistic.MEDIAN]
    centre = pl.when(pl.col("metric").is_in(medians)).then("median").otherwise("mean")
    arms = compute_arms(sample, metrics).with_columns(centre.alias("centre"))
    control, treatment = (arms.filter(pl.col("variant") == arm) for arm in ARMS)
    difference = pl.col("treatment") - pl.col("control")
    return (
        control.select("metric", control_n="n", control="centre")
        .join(treatment.select("metric", treatment_n="n", treatment="centre"), on="metric", maintain_order="left")
        .select("metric", "control_n", "treatment_n", "control", "treatment")
        .with_columns(
            difference.alias("difference"),
            # in this order 10 -> 9 is exactly -10 %
            pl.when(pl.col("control") > 0).then(100 * difference / pl.col("control")).alias("percent"),
        )
    )


def compare_with_criterion(deltas: pl.DataFrame, metric: Metric, criterion: Criterion) -> pl.DataFrame:
    """Return the delta of the experiment's metric beside its success criterion.

    Args:
        deltas: From `compute_deltas`.
        metric: The experiment's metric.
        criterion: A percent change in a direction, or a value for the treatment arm.

    Returns:
        One row with `target` (a signed percent for `Delta`, a value for `Absolute`), `gain` (how far the arms moved
        towards it, positive being better) and `reached`, of the point estimate alone; null where there is none.

    >>> sample = pl.DataFrame({"variant": ["Control", "Treatment"], "tool_loops": [10.0, 9.0]})
    >>> deltas = compute_deltas(sample, [Metric.TOOL_LOOPS])
    >>> row = compare_with_criterion(deltas, Metric.TOOL_LOOPS, Delta(Direction.DECREASE, -5))
    >>> row.select("target", "gain", "reached").row(0)
    (-5.0, 10.0, True)
    """
    row = deltas.filter(pl.col("metric") == metric.column)
    if isinstance(criterion, Delta):
        sign = 1.0 if criterion.direction is Direction.INCREASE else -1.0
        target, gain, needed = criterion.signed_pct, sign * pl.col("percent"), abs(criterion.target_pct)
    else:
        sign = 1.0 if REGISTRY[metric].better is Direction.INCREASE else -1.0
        target, needed = criterion.metric_value, 0.0
        gain = sign * (pl.col("treatment") - criterion.metric_value)
    return row.with_columns(pl.lit(target).alias("target"), gain.alias("gain"), (gain >= needed).alias("reached"))
