"""The arms of a sample, their deltas and the success criterion, as Polars frames.

Point estimates only: what the arms are and how far apart. Whether a difference is more than chance is the business of
`stats`, what follows from it that of `decide`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.metrics import REGISTRY
from kaizen_analytics.core.model import Classification, Delta, Direction, Metric
from kaizen_analytics.experiments.compare import statistic_of
from kaizen_analytics.experiments.plan import Statistic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.core.model import Criterion

_ARM_SCHEMA = {
    "metric": pl.String(),
    "variant": pl.String(),
    "n": pl.Int64(),
    "n_missing": pl.Int64(),
    "median": pl.Float64(),
    "mean": pl.Float64(),
}
ARMS = (Classification.CONTROL.value, Classification.TREATMENT.value)


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
