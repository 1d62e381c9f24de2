"""One metric compared between two groups of sessions: the one place that chooses the method.

`exp evaluate`, segments, `Analysis.effect` and the simulation of `exp power` all compare through `compare_arms`, so
the same sessions get the same effect everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaizen_analytics.core.metrics import REGISTRY, MetricKind
from kaizen_analytics.experiments.plan import DAY_MS, Cluster, Statistic
from kaizen_analytics.stats import Design, mean_effect, median_effect, proportion_effect

if TYPE_CHECKING:
    import polars as pl

    from kaizen_analytics.core.model import Metric
    from kaizen_analytics.stats import Effect
    from kaizen_analytics.stats.distributions import FloatArray


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

    >>> import polars as pl
    >>> from kaizen_analytics.core.model import Metric
    >>> sessions = pl.DataFrame({"tool_error_rate": [0.0, 0.5] * 3, "tool_results": [9.0, 1.0] * 3})
    >>> round(compare_arms(sessions, sessions, Metric.TOOL_ERROR_RATE).control.mean, 3)
    0.05
    """
    definition = REGISTRY[metric]
    needed = [name for name in (definition.numerator or metric.column, definition.denominator) if name is not None]
    arms = [arm.drop_nulls(needed) for arm in (control, treatment)]
    values = [arm[metric.column].to_numpy() for arm in arms]
    clusters = None if cluster is Cluster.NONE else (cluster_keys(arms[0], cluster), cluster_keys(arms[1], cluster))
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

    >>> from kaizen_analytics.core.model import Metric
    >>> statistic_of(Metric.TOOL_LOOPS, Statistic.MEDIAN)
    <Statistic.MEAN: 'mean'>
    """
    return statistic if REGISTRY[metric].kind is MetricKind.QUANTITY else Statistic.MEAN


def cluster_keys(sessions: pl.DataFrame, cluster: Cluster) -> list[str]:
    """Return the cluster of each session; those of nobody known are one cluster.

    >>> import polars as pl
    >>> cluster_keys(pl.DataFrame({"user_name": ["ada", None]}), Cluster.USER)
    ['ada', '']
    """
    return sessions.select(cluster_key(cluster)).to_series().to_list()


def cluster_key(cluster: Cluster) -> pl.Expr:
    """Return the expression that names the cluster of a session; `cluster` is not NONE.

    >>> import polars as pl
    >>> pl.DataFrame({"started_at_ms": [1, 86_400_000]}).select(cluster_key(Cluster.DAY)).to_series().to_list()
    ['0', '1']
    """
    import polars as pl

    if cluster is Cluster.DAY:
        return (pl.col("started_at_ms") // DAY_MS).cast(pl.String)
    if cluster is Cluster.BRANCH:
        return pl.concat_str("workspace", pl.lit("\n"), "branch").fill_null("")
    return pl.col("user_name" if cluster is Cluster.USER else cluster.value).fill_null("")
