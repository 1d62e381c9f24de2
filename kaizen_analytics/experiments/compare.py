"""One metric compared between two groups of sessions: the one place that chooses the method.

`exp evaluate`, segments, `Analysis.effect` and the simulation of `exp power` all compare through `compare_arms`, so
the same sessions get the same effect everywhere. The deltas are point estimates, as Polars frames: what the arms are,
how far apart, and how far from the success criterion. Metrics can be added up per task or day first: a change that only
splits tasks into more sessions makes every session cheaper, and no task. Arms that are separated in time are compared
beside the history of their metric.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from kaizen_analytics.core.metrics import REGISTRY, MetricKind
from kaizen_analytics.core.model import (
    Classification,
    Delta,
    Direction,
    GitCommit,
    GuardrailSpec,
    Metric,
    PromptFingerprint,
    WorkUnit,
)
from kaizen_analytics.core.queries import unit_of_work
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.decide import (
    Claim,
    GuardrailStatus,
    Judgement,
    Verdict,
    classify,
    gain_of,
    is_tolerated,
    judge_claim,
)
from kaizen_analytics.experiments.evaluation import Elsewhere, History, Mismatch, TaskCheck
from kaizen_analytics.experiments.plan import Cluster, Statistic, Unit
from kaizen_analytics.stats import Design, mean_effect, median_effect, proportion_effect
from kaizen_analytics.stats.before_after import (
    Timeline,
    compare_before_after,
    compute_stratified_effect,
    find_common_strata,
)
from kaizen_analytics.stats.effect import Obstacle

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from kaizen_analytics.core.model import Criterion, Experiment
    from kaizen_analytics.experiments.plan import Plan
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


WORK = (Metric.COMMITS_PER_SESSION, Metric.PROMPTS_PER_SESSION)
"""How much work is done: commits, or prompts where there are none."""
_MIN_TASKS = 5
_FACTOR = 1.5
"""How many times as many sessions per task one arm must have, beyond chance, for the totals to be looked at."""

_SUMS = ("responses", "unpriced_responses", "unreliable_responses", "tool_results", "input_tokens", "lines_added",
         "lines_surviving")  # fmt: skip


def add_up(frame: pl.DataFrame, unit: WorkUnit, *, drawn: bool = False) -> pl.DataFrame:
    """Return one row per unit of work and arm, with the columns of the sample; the excluded ones count as an arm.

    Sessions without arms (`sample.read_scope`) give one row per unit of work.

    Quantities and counts are sums, a rate is that of the totals. A unit has no error if none of its sessions has one,
    its checks passed if the last ones did, its work landed (or was reverted) if that of any session was. Its score is
    the mean. A value is null where no session has one.

    Args:
        frame: The sample, one row per session.
        unit: What is added up over; sessions stay as they are.
        drawn: Whether the column `unit` names what was drawn by lot; else it becomes the unit of work, so that one
            with sessions in both arms is seen.

    >>> rows = {"session_id": ["a", "b"], "variant": "Control", "started_at_ms": [0, 1], "tool_loops": [2.0, 3.0]}
    >>> add_up(pl.DataFrame(rows), WorkUnit.DAY)["tool_loops"].to_list()
    [5.0]
    """
    if unit is WorkUnit.SESSION:
        return frame
    named = frame.sort("started_at_ms", "session_id").with_columns(unit_of_work(unit).alias("work"))
    keys = [name for name in ("variant", "work") if name in named.columns]
    groups = named.group_by(keys, maintain_order=True)
    summed = groups.agg(*_add_up_columns(frame.columns))
    if "unit" in frame.columns and not drawn:
        summed = summed.with_columns(unit=pl.col("work"))
    return summed.with_columns(session_id=pl.col("work")).select(frame.columns).sort("started_at_ms", "session_id")


def _add_up_columns(names: Iterable[str]) -> list[pl.Expr]:
    metrics = {metric.column: metric for metric in Metric}
    return [
        _add_up_metric(metrics[name]) if name in metrics else _add_up_column(name)
        for name in names
        if name not in ("session_id", "variant")
    ]


def _add_up_column(name: str) -> pl.Expr:
    column = pl.col(name)
    if name in _SUMS:
        return _sum(column)
    return {
        "started_at_ms": column.min(),
        "last_event_ms": column.max(),
        "covariate": column.mean(),
        "flags": column.str.join(" "),
    }.get(name, column.first())


def _add_up_metric(metric: Metric) -> pl.Expr:
    column, definition = pl.col(metric.column), REGISTRY[metric]
    if metric in _SPECIAL:
        special: pl.Expr = getattr(column.drop_nulls(), _SPECIAL[metric])()
        return special
    if definition.kind is not MetricKind.RATE or definition.denominator is None:
        return _sum(column)
    below = pl.col(definition.denominator)
    above = column * below if definition.numerator is None else pl.col(definition.numerator)
    both = above.is_not_null() & below.is_not_null()
    total = below.filter(both).sum()
    return pl.when(total > 0).then(above.filter(both).sum() / total).alias(metric.column)


_SPECIAL = {
    Metric.SUCCESS_RATE: "min",
    Metric.CHECKS_PASSED: "last",
    Metric.LANDED: "max",
    Metric.REVERTED: "max",
    Metric.SESSION_SCORE: "mean",
}
"""How metrics that are no sums are put together."""


def _sum(column: pl.Expr) -> pl.Expr:
    return pl.when(column.is_not_null().any()).then(column.sum())


def check_tasks(frame: pl.DataFrame, metric: Metric, alpha: float) -> TaskCheck | None:
    """Return the sessions per task in both arms; None without a task in each.

    Where they differ beyond chance, `total` compares the metric added up per task: a cheaper session need not be a
    cheaper task. Only what adds up over sessions has a total.

    >>> rows = [("Control", f"c{i}", 8.0 + i) for i in range(9)] + [("Treatment", f"t{i // 2}", 4.0) for i in range(18)]
    >>> frame = pl.DataFrame(rows, schema=["variant", "branch", "tokens_per_session"], orient="row")
    >>> named = frame.with_columns(workspace=pl.lit("/w"), pull_request=None, session_id=pl.col("branch"))
    >>> check_tasks(named, Metric.TOKENS_PER_SESSION, 0.05).factor
    2.0
    """
    known = frame.filter(pl.col("variant").is_in(ARMS)).with_columns(unit_of_work(WorkUnit.TASK).alias("work"))
    counts = known.group_by("variant", "work").agg(
        sessions=pl.len().cast(pl.Float64), total=pl.col(metric.column).sum(), known=pl.col(metric.column).count()
    )
    control, treatment = (counts.filter(pl.col("variant") == arm) for arm in ARMS)
    if control.is_empty() or treatment.is_empty():
        return None
    found = TaskCheck(
        control_sessions=float(control["sessions"].to_numpy().mean()),
        treatment_sessions=float(treatment["sessions"].to_numpy().mean()),
    )
    adds_up = REGISTRY[metric].kind in (MetricKind.QUANTITY, MetricKind.COUNT) and metric not in _SPECIAL
    is_large = max(found.factor, 1 / found.factor) >= _FACTOR
    if not adds_up or not is_large or min(control.height, treatment.height) < _MIN_TASKS:
        return found
    if not _beyond_chance(_compare(control, treatment, "sessions", alpha)):
        return found
    control, treatment = (arm.filter(pl.col("known") > 0) for arm in (control, treatment))
    if min(control.height, treatment.height) < _MIN_TASKS:
        return found
    return replace(found, total=_compare(control, treatment, "total", alpha))


def _compare(control: pl.DataFrame, treatment: pl.DataFrame, column: str, alpha: float) -> Effect:
    return mean_effect(control[column].to_numpy(), treatment[column].to_numpy(), alpha=alpha)


def _beyond_chance(sessions: Effect) -> bool:
    if sessions.difference is None:
        # the same number of sessions in every task of an arm leaves no room for chance
        return sessions.shortage is not None and sessions.shortage.obstacle is Obstacle.CONSTANT
    return not sessions.difference.low <= 0 <= sessions.difference.high


def guardrail_unit(spec: GuardrailSpec, experiment: Experiment, plan: Plan) -> WorkUnit:
    """Return what a guardrail is added up over: the plan's unit, but work that must not fall is counted per day.

    That holds where the arms are days, or separated in time. Where both arms run at the same time, their work per day
    is that of their shares of the sessions, so the plan's unit stays.

    >>> from kaizen_analytics.experiments.plan import Plan
    >>> from kaizen_analytics.store.experiments import get_experiment
    >>> spec = GuardrailSpec(Metric.COMMITS_PER_SESSION, Direction.DECREASE, 20.0)
    >>> guardrail_unit(spec, get_experiment(store, "plan-first"), Plan(unit=WorkUnit.TASK))
    <WorkUnit.TASK: 'task'>
    """
    lot = plan.randomisation
    is_apart = isinstance(experiment.binding, GitCommit | PromptFingerprint) or (
        lot is not None and lot.unit is Unit.DAY
    )
    return WorkUnit.DAY if is_apart and is_work_that_must_not_fall(spec) else plan.unit


def is_work_that_must_not_fall(spec: GuardrailSpec) -> bool:
    """Return whether a guardrail says that as much work has to be done as before.

    >>> is_work_that_must_not_fall(GuardrailSpec(Metric.COMMITS_PER_SESSION, Direction.DECREASE, 20.0))
    True
    """
    return spec.metric in WORK and spec.regression_direction is Direction.DECREASE


_KIND = ("model", "agent", "workspace")
"""What a kind of session is made of, in the order in which a change of it is looked for."""
_UNKNOWN = "not recorded"


def compare_with_history(
    frame: pl.DataFrame, around: pl.DataFrame, metric: Metric, plan: Plan, *, is_over: bool = True
) -> History | None:
    """Return what one metric shows before and after the change, and what may be claimed; None with an empty arm.

    Args:
        around: Sessions around it: Control ones before the window, Excluded ones of other workspaces in the window.
        plan: The level, the statistic, and whose sessions resemble each other beside those of a day.

    >>> compare_with_history(sample, sample.clear(), experiment.metric, plan).claim
    <Claim.NO_DIFFERENCE: 'no_difference'>
    """
    needed = [name for name in (metric.column, REGISTRY[metric].denominator) if name is not None]
    arms = frame.filter(pl.col("variant").is_in(ARMS)).drop_nulls(needed)
    before, after = (arms.filter(pl.col("variant") == arm)["started_at_ms"].to_numpy() for arm in ARMS)
    if not before.size or not after.size:
        return None
    past = around.filter(pl.col("variant") == Classification.CONTROL.value).drop_nulls(needed)
    sessions = pl.concat([arms, past], how="diagonal_relaxed")
    change_ms = _find_change(before, after)
    in_window = np.arange(sessions.height) < arms.height
    timeline = draw_timeline(sessions, metric, change_ms, in_window, plan.cluster)
    by_median = statistic_of(metric, plan.statistic) is Statistic.MEDIAN
    found = compare_before_after(timeline, by_median=by_median, alpha=plan.alpha)
    claim = judge_claim(found, alpha=plan.alpha, is_over=is_over)
    elsewhere = around.filter(pl.col("variant") == Classification.EXCLUDED.value).drop_nulls(needed)
    return History(
        claim=claim,
        change_ms=change_ms,
        found=found,
        kinds=_name_kinds(sessions, timeline, found.common),
        mismatches=tuple(_find_mismatches(arms, timeline)) if claim is Claim.NOT_COMPARABLE else (),
        elsewhere=_compare_elsewhere(elsewhere, metric, change_ms, by_median=by_median, alpha=plan.alpha),
    )


def judge_dated(found: Judgement, history: History | None, criterion: Criterion, plan: Plan) -> Judgement:
    """Return the judgement on the standardised effect, once a difference is claimed; without one it is inconclusive.

    >>> from kaizen_analytics.core.model import Delta, Direction
    >>> from kaizen_analytics.experiments.plan import Plan
    >>> judge_dated(Judgement(verdict=Verdict.MET), None, Delta(Direction.DECREASE, -10), Plan()).verdict
    <Verdict.MET: 'met'>
    """
    if history is None or found.verdict in _UNJUDGED:
        return found
    if history.claim is not Claim.HOLDS:
        invalid = history.claim is Claim.NOT_COMPARABLE
        return Judgement(verdict=Verdict.INVALID if invalid else Verdict.INCONCLUSIVE)
    percent = history.percent
    if percent is None or not isinstance(criterion, Delta):
        return found
    gain = gain_of(percent, criterion.direction)
    return Judgement(verdict=classify(gain.low, gain.high, abs(criterion.target_pct), plan.margin_pct))


_UNJUDGED = (Verdict.INVALID, Verdict.INSUFFICIENT_DATA, Verdict.PERCENT_UNDEFINED, Verdict.DEGENERATE)


def confirm_guardrail(
    spec: GuardrailSpec, status: GuardrailStatus, p_adjusted: float | None, history: History | None
) -> GuardrailStatus:
    """Return the status of a guardrail by the interval and the history of its own metric, as the primary is judged.

    It never passes by the interval of single sessions, which is too narrow where days differ. `status` and `p_adjusted`
    are what the sessions alone say.

    >>> from kaizen_analytics.core.model import Direction, Metric
    >>> rise = GuardrailSpec(Metric.COST_PER_SESSION, Direction.INCREASE, 5.0)
    >>> confirm_guardrail(rise, GuardrailStatus.PASSED, 0.5, None)
    <GuardrailStatus.UNRESOLVED: 'unresolved'>
    """
    percent = None if history is None else history.percent
    if p_adjusted is None or history is None or percent is None:
        return GuardrailStatus.UNRESOLVED
    if percent.low == percent.high:  # no day differs from another, as without any failure: the sessions say it all
        return status if status is GuardrailStatus.PASSED else GuardrailStatus.UNRESOLVED
    worse = gain_of(percent, spec.regression_direction).estimate > 0
    if worse and status is GuardrailStatus.VIOLATED and history.claim is Claim.HOLDS:
        return GuardrailStatus.VIOLATED
    return GuardrailStatus.PASSED if is_tolerated(spec, percent) else GuardrailStatus.UNRESOLVED


def _find_change(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> int:
    """Return the start of the treatment session from which on the fewest sessions are on the wrong side."""
    before, after = np.sort(before), np.sort(after)
    wrong = before.size - np.searchsorted(before, after) + np.searchsorted(after, after)
    return int(after[int(np.argmin(wrong))])


def draw_timeline(
    sessions: pl.DataFrame,
    metric: Metric,
    change_ms: int,
    in_window: npt.NDArray[np.bool_],
    cluster: Cluster = Cluster.DAY,
) -> Timeline:
    """Return sessions as a timeline of one metric around a change, days counted from it.

    >>> sessions = pl.DataFrame({"started_at_ms": [0], "variant": ["Control"], "tool_loops": [3.0]})
    >>> kinds = sessions.with_columns(agent=pl.lit("codex"), model=pl.lit("m"), workspace=pl.lit("/w"))
    >>> draw_timeline(kinds, Metric.TOOL_LOOPS, DAY_MS, np.array([True])).days
    array([-1])
    """
    definition = REGISTRY[metric]
    values, weights = sessions[metric.column].to_numpy(), None
    if definition.kind is MetricKind.RATE and definition.denominator is not None:
        weights = sessions[definition.denominator].to_numpy().astype(float)
        values = values * weights
    return Timeline(
        days=(sessions["started_at_ms"].to_numpy() - change_ms) // DAY_MS,
        after=(sessions["variant"] == Classification.TREATMENT.value).to_numpy(),
        strata=_code(sessions, _KIND),
        values=values.astype(float),
        weights=weights,
        in_window=in_window,
        clusters=_code_clusters(sessions, cluster),
    )


_BESIDE_DAYS = (Cluster.BRANCH, Cluster.USER, Cluster.ORGANISATION)
"""Clusters that matter beside days; workspaces are kinds of session, which are compared apart."""


def _code_clusters(sessions: pl.DataFrame, cluster: Cluster) -> npt.NDArray[np.int64] | None:
    if cluster not in _BESIDE_DAYS:
        return None
    return sessions.select(cluster_key(cluster).rank("dense").cast(pl.Int64)).to_series().to_numpy()


def _code(sessions: pl.DataFrame, columns: tuple[str, ...]) -> npt.NDArray[np.int64]:
    kinds = pl.struct(pl.col(columns).fill_null(_UNKNOWN))
    return sessions.select(kinds.rank("dense").cast(pl.Int64)).to_series().to_numpy()


def _name_kinds(sessions: pl.DataFrame, timeline: Timeline, common: tuple[int, ...]) -> tuple[str, ...]:
    """Return each common kind of session in words: what it has of model, agent and workspace that others lack."""
    telling = [name for name in _KIND if sessions[name].fill_null(_UNKNOWN).n_unique() > 1]
    firsts = [int(np.argmax(timeline.strata == stratum)) for stratum in common]
    names = (", ".join(sessions[name][first] or _UNKNOWN for name in telling) for first in firsts)
    return tuple(name or "all sessions" for name in names)


def _find_mismatches(arms: pl.DataFrame, timeline: Timeline) -> list[Mismatch]:
    """Return the columns that alone leave the arms without a kind of session in common."""
    window = timeline.where(timeline.in_window)
    found = []
    for column in _KIND:
        if not find_common_strata(replace(window, strata=_code(arms, (column,)))):
            control, treatment = (_most_frequent(arms.filter(pl.col("variant") == arm)[column]) for arm in ARMS)
            found.append(Mismatch(column=column, control=control, treatment=treatment))
    return found


def _most_frequent(values: pl.Series) -> str:
    counts = values.fill_null(_UNKNOWN).alias("value").value_counts(sort=True)
    return str(counts.sort(["count", "value"], descending=[True, False])["value"][0])


def _compare_elsewhere(
    sessions: pl.DataFrame, metric: Metric, change_ms: int, *, by_median: bool, alpha: float
) -> Elsewhere | None:
    """Return what happened on the same dates in workspaces without the change; None where they cannot be compared."""
    side = pl.when(pl.col("started_at_ms") < change_ms).then(pl.lit(ARMS[0])).otherwise(pl.lit(ARMS[1]))
    dated = sessions.with_columns(variant=side)
    timeline = draw_timeline(dated, metric, change_ms, np.ones(dated.height, dtype=bool))
    effect = compute_stratified_effect(timeline, by_median=by_median, alpha=alpha)
    return None if effect is None else Elsewhere(sessions=dated.height, effect=effect)
