"""Arms that are separated in time, beside the history of their metric: from frames to what may be claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from kaizen_analytics.core.metrics import REGISTRY, MetricKind
from kaizen_analytics.core.model import Classification, Delta, GuardrailSpec, Metric
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.compare import ARMS, cluster_key, statistic_of
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
from kaizen_analytics.experiments.evaluation import Elsewhere, History, Mismatch
from kaizen_analytics.experiments.plan import Cluster, Statistic
from kaizen_analytics.stats.before_after import (
    Timeline,
    compare_before_after,
    compute_stratified_effect,
    find_common_strata,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from kaizen_analytics.core.model import Criterion
    from kaizen_analytics.experiments.plan import Plan

_KIND = ("model", "agent", "workspace")
"""What a kind of session is made of, in the order in which a change of it is looked for."""
_UNKNOWN = "not recorded"


def compare_with_history(
    frame: pl.DataFrame, around: pl.DataFrame, metric: Metric, plan: Plan, *, is_over: bool = True
) -> History | None:
    """Return what one metric shows before and after the change, and what may be claimed; None with an empty arm.

    Args:
        frame: The sample (`sample.SAMPLE_SCHEMA`).
        around: Sessions around it: Control ones before the window, Excluded ones of other workspaces in the window.
        metric: What is compared.
        plan: The level, the statistic, and whose sessions resemble each other beside those of a day.
        is_over: Whether the window has ended.

    >>> from kaizen_analytics.experiments.lifecycle import read_judged_sample
    >>> experiment, plan, frame = read_judged_sample(store, "plan-first", now_ms=0)
    >>> compare_with_history(frame, frame.clear(), experiment.metric, plan).claim
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
    """Return the start of the treatment session from which on the fewest sessions are on the wrong side.

    >>> _find_change(np.array([1, 2, 3, 40]), np.array([2, 5, 6, 7]))
    5
    """
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
        alone = Timeline(
            days=window.days,
            after=window.after,
            strata=_code(arms, (column,)),
            values=window.values,
            in_window=window.in_window,
        )
        if not find_common_strata(alone):
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
