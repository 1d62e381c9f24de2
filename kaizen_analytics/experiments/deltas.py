"""Arms, deltas and percent changes against the success criterion, as Polars frames.

Point estimates only: what the arms are and how far apart. Whether a difference is more than chance is the business
of `stats` and `verdict`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.metrics import REGISTRY, MetricKind
from kaizen_analytics.model import Classification, Delta, Direction, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kaizen_analytics.model import Criterion

ARMS = (Classification.CONTROL.value, Classification.TREATMENT.value)


def compute_arms(sample: pl.DataFrame, metrics: Iterable[Metric] = tuple(Metric)) -> pl.DataFrame:
    """Return one row per metric and arm: sessions with a value, sessions without one, median and mean.

    Args:
        sample: Columns `variant` and one column per metric; Excluded sessions are left out.
        metrics: Which metrics to summarise.

    Returns:
        Columns `metric`, `variant`, `n`, `n_missing`, `median`, `mean`; an arm without sessions has a row with n = 0.
    """
    columns = [metric.column for metric in metrics]
    grid = pl.DataFrame({"metric": columns}).join(pl.DataFrame({"variant": ARMS}), how="cross")
    values = sample.filter(pl.col("variant").is_in(ARMS)).unpivot(columns, index="variant", variable_name="metric")
    summary = values.group_by("metric", "variant").agg(
        pl.col("value").count().cast(pl.Int64).alias("n"),
        pl.col("value").null_count().cast(pl.Int64).alias("n_missing"),
        pl.col("value").median().alias("median"),
        pl.col("value").mean().alias("mean"),
    )
    joined = grid.join(summary, on=["metric", "variant"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("n", "n_missing").fill_null(0))


def compute_deltas(sample: pl.DataFrame, metrics: Iterable[Metric] = tuple(Metric)) -> pl.DataFrame:
    """Return one row per metric: both arms, their difference and the percent change.

    Quantities are compared by medians, proportions by shares.

    Returns:
        Columns `metric`, `control_n`, `treatment_n`, `control`, `treatment`, `difference` (treatment minus control, in
        the metric's unit) and `percent` (null where the control is not above zero, or an arm is empty).
    """
    shares = [definition.metric.column for definition in REGISTRY.values() if definition.kind is MetricKind.PROPORTION]
    centre = pl.when(pl.col("metric").is_in(shares)).then("mean").otherwise("median")
    arms = compute_arms(sample, metrics).with_columns(centre.alias("centre"))
    control, treatment = (arms.filter(pl.col("variant") == arm).drop("variant") for arm in ARMS)
    change = pl.col("treatment") / pl.col("control") - 1
    return (
        control.select("metric", control_n="n", control="centre")
        .join(treatment.select("metric", treatment_n="n", treatment="centre"), on="metric", maintain_order="left")
        .select("metric", "control_n", "treatment_n", "control", "treatment")
        .with_columns(
            (pl.col("treatment") - pl.col("control")).alias("difference"),
            pl.when(pl.col("control") > 0).then(100 * change).alias("percent"),
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
    """
    row = deltas.filter(pl.col("metric") == metric.column)
    if isinstance(criterion, Delta):
        sign = 1.0 if criterion.direction is Direction.INCREASE else -1.0
        target, gain, needed = sign * abs(criterion.target_pct), sign * pl.col("percent"), abs(criterion.target_pct)
    else:
        sign = 1.0 if REGISTRY[metric].better is Direction.INCREASE else -1.0
        target, needed = criterion.metric_value, 0.0
        gain = sign * (pl.col("treatment") - criterion.metric_value)
    return row.with_columns(pl.lit(target).alias("target"), gain.alias("gain"), (gain >= needed).alias("reached"))
