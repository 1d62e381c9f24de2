"""How likely a comparison before and after a commit is to claim a true change: the whole rule on histories like ours.

Other histories are drawn from the store's own: each of their days is a past day of the same weekday, moved to a weekly
level that wanders as the history does (`stats.wander`). The treatment's sessions get a true effect, and the rule of
`assess` decides at the end of the window. The sessions before the change are there already, so only the days after it
are planned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from kaizen_analytics.core.errors import ExperimentError
from kaizen_analytics.core.metrics import REGISTRY, MetricKind
from kaizen_analytics.core.model import Classification, Delta, Metric, Window
from kaizen_analytics.experiments.compare import compare_arms, statistic_of
from kaizen_analytics.experiments.decide import (
    MIN_HISTORY_DAYS,
    Claim,
    GuardrailStatus,
    Judgement,
    Verdict,
    judge_guardrails,
    opposes,
)
from kaizen_analytics.experiments.history import (
    compare_with_history,
    confirm_guardrail,
    draw_timeline,
    judge_dated,
)
from kaizen_analytics.experiments.plan import DAY_MS, Plan, Statistic
from kaizen_analytics.experiments.power import (
    MIN_HISTORY,
    REACH_DAYS,
    PowerRow,
    PowerTable,
    change_metric,
    interpolate,
    lies_beyond,
    needed_columns,
    plan_rows,
    range_of,
)
from kaizen_analytics.stats import DesignKind
from kaizen_analytics.stats.timeline import compute_scores
from kaizen_analytics.stats.wander import fit_wander

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kaizen_analytics.core.model import GuardrailSpec
    from kaizen_analytics.stats import Effect
    from kaizen_analytics.stats.distributions import IntArray

_SIMULATIONS = 200
_HISTORIES = 8
_OF_HISTORY = 25
"""Histories like ours, each planned from as if it were the store's: how much the answer depends on the one at hand."""
_OF_LENGTH = 100
"""Experiments of each length that is tried."""
_LENGTHS = (14, 28, 56, 112, REACH_DAYS)
_SEED = 2_027
_WEEK = 7


def compute_dated_power(
    sessions: pl.DataFrame,
    metric: Metric,
    *,
    now_ms: int,
    days: int | None = None,
    after_days: int = 28,
    target_pct: float = 0.0,
    plan: Plan | None = None,
    power: float = 0.8,
    guardrails: Sequence[GuardrailSpec] = (),
    progress: Callable[[str], None] | None = None,
) -> PowerTable:
    """Return how probable the right decision is, and how many days it takes, for changes of several sizes.

    Args:
        sessions: Metrics of past sessions (`sample.read_scope`), of all the time that the store holds.
        metric: What the change is to move.
        now_ms: When the change comes: the end of the history.
        days: Days of history to plan from; all if None.
        after_days: Days after the change.
        target_pct: Signed percent change to prove; 0 proves any improvement.
        plan: The level, the statistic and the clusters.
        power: Wanted probability of the right decision.
        guardrails: Metrics that must not get worse; the change does not touch them. Work that must not fall is judged
            by the units of `sessions` here, and per day by `assess`.
        progress: Called with a line for each change.

    Raises:
        ExperimentError: the history holds too few sessions with a value or too few weeks, or `after_days` is below 1.

    >>> from kaizen_analytics.experiments.sample import read_scope
    >>> compute_dated_power(read_scope(store, ()).head(30), Metric.TOKENS_PER_SESSION, now_ms=1_790_000_000_000)
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ExperimentError: ...
    """
    if after_days < 1:
        raise ExperimentError(f"The change is to be followed for {after_days} days; expected 1 or more.")
    plan = plan or Plan(design=DesignKind.FIXED)
    planner = plan_dated(
        sessions, metric, now_ms=now_ms, days=days, target_pct=target_pct, plan=plan, guardrails=guardrails
    )
    rows = plan_rows(metric, lambda true_pct: planner.plan_row(true_pct, after_days, power), progress)
    return PowerTable(
        metric=metric,
        window=Window(start_ms=now_ms - planner.weeks * _WEEK * DAY_MS, end_ms=now_ms),
        sessions=planner.sessions,
        per_day=planner.sessions / (planner.weeks * _WEEK),
        target_pct=target_pct,
        alpha=plan.alpha,
        power=power,
        design=DesignKind.FIXED,
        statistic=plan.statistic,
        guardrails=len(guardrails),
        simulations=_SIMULATIONS,
        detectable_pct=interpolate(rows, power),
        rows=rows,
        after_days=after_days,
    )


def plan_dated(
    sessions: pl.DataFrame,
    metric: Metric,
    *,
    now_ms: int,
    days: int | None = None,
    target_pct: float = 0.0,
    plan: Plan | None = None,
    guardrails: Sequence[GuardrailSpec] = (),
) -> DatedPlanner:
    """Return what simulates the rule on the history; the arguments are those of `compute_dated_power`.

    >>> plan_dated(pl.DataFrame({"started_at_ms": [0], "tool_loops": [1.0]}), Metric.TOOL_LOOPS, now_ms=1)
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ExperimentError: ...
    """
    first_ms = 0 if days is None else now_ms - days * DAY_MS
    past = _read_past(sessions.filter(pl.col("started_at_ms") >= first_ms), metric, guardrails, now_ms)
    rule = _DatedRule(
        metric=metric,
        criterion=Delta(REGISTRY[metric].better, target_pct),
        plan=plan or Plan(design=DesignKind.FIXED),
        guardrails=tuple(guardrails),
    )
    return DatedPlanner(rule, past)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatedRule:
    """How a drawn history is decided."""

    metric: Metric
    criterion: Delta
    plan: Plan
    guardrails: tuple[GuardrailSpec, ...]

    def decides(self, control: pl.DataFrame, treatment: pl.DataFrame, around: pl.DataFrame) -> bool:
        """Return whether the change is claimed, its target reached, and nothing speaks against it."""
        frame = pl.concat([control, treatment])
        history = compare_with_history(frame, around, self.metric, self.plan)
        if history is None or history.claim is not Claim.HOLDS:
            return False
        found = judge_dated(Judgement(verdict=Verdict.MET), history, self.criterion, self.plan)
        return found.verdict is Verdict.MET and self._stands(control, treatment, around)

    def _stands(self, control: pl.DataFrame, treatment: pl.DataFrame, around: pl.DataFrame) -> bool:
        plan, frame = self.plan, pl.concat([control, treatment])

        def compare(metric: Metric, statistic: Statistic) -> Effect:
            return compare_arms(control, treatment, metric, statistic=statistic, alpha=plan.alpha, cluster=plan.cluster)

        is_quantity = REGISTRY[self.metric].kind is MetricKind.QUANTITY
        better = self.criterion.direction
        if is_quantity and opposes(Verdict.MET, compare(self.metric, plan.statistic.other), better):
            return False
        effects = [(spec, compare(spec.metric, plan.statistic)) for spec in self.guardrails]
        judged = zip(self.guardrails, judge_guardrails(effects, alpha=plan.alpha), strict=True)
        return all(
            confirm_guardrail(spec, status, p_value, compare_with_history(frame, around, spec.metric, plan))
            is GuardrailStatus.PASSED
            for spec, (status, p_value) in judged
        )


class DatedPlanner:
    """Draws histories like one of whole weeks, puts a change at their end, and decides them."""

    def __init__(self, rule: _DatedRule, past: pl.DataFrame) -> None:
        self._rule, self._past = rule, past
        days = past["day"].to_numpy()
        self.weeks, self.sessions = -int(days.min()) // _WEEK, past.height
        inside = np.ones(days.size, dtype=bool)
        line = replace(draw_timeline(past, rule.metric, 0, inside), days=days)
        by_median = statistic_of(rule.metric, rule.plan.statistic) is Statistic.MEDIAN
        self._wander = fit_wander(line, compute_scores(line, by_median=by_median))
        moved = self._wander.moved[days // _WEEK - self._wander.first_week]
        self._still = _move(past, rule.metric, -moved)
        order = np.argsort(days, kind="stable")
        starts = np.searchsorted(days[order], np.arange(-_WEEK * self.weeks, 1))
        self._rows = [order[low:high] for low, high in pairwise(starts)]

    def plan_row(self, true_pct: float, after: int, power: float) -> PowerRow:
        """Return what the rule decides about one true change, and how many days after it that takes."""
        found = self.probability(true_pct, after, _SIMULATIONS)
        rngs = (np.random.default_rng([_SEED, number]) for number in range(_HISTORIES))
        others = (DatedPlanner(self._rule, self._draw(rng, 0)) for rng in rngs)
        chances = [other.probability(true_pct, after, _OF_HISTORY) for other in others]
        low, high = range_of(chances, _OF_HISTORY, found)
        reachable = lies_beyond(true_pct, self._rule.criterion.signed_pct)
        return PowerRow(
            true_pct=true_pct,
            probability=found,
            low=low,
            high=high,
            n_per_arm=None,
            days=self._days(true_pct, power) if reachable else None,
        )

    def _days(self, true_pct: float, power: float) -> int | None:
        """Return the fewest days after the change of the wanted probability; None where no reachable number has it."""
        tried = (days for days in _LENGTHS if self.probability(true_pct, days, _OF_LENGTH) >= power)
        return next(tried, None)

    def probability(self, true_pct: float, after: int, simulations: int) -> float:
        """Return the share of drawn histories in which the change is claimed as it is; the same seed for each."""
        rng = np.random.default_rng(_SEED)
        return sum(self._decides(rng, true_pct, after) for _ in range(simulations)) / simulations

    def _draw(self, rng: np.random.Generator, after: int) -> pl.DataFrame:
        """Return another history with `after` more days, `day` counted from its end before these."""
        days = np.arange(-_WEEK * self.weeks, after)
        sources = _WEEK * rng.integers(0, self.weeks, days.size) + days % _WEEK
        drawn = [self._rows[source] for source in sources]
        sizes = [rows.size for rows in drawn]
        day: IntArray = np.repeat(days, sizes)
        week = (day + int(rng.integers(_WEEK))) // _WEEK  # a task mix does not change on the weekday of our weeks
        levels = self._wander.draw(rng, np.arange(week.min(), week.max() + 1))
        taken = self._still[np.concatenate(drawn)]
        shift = pl.Series((day - np.repeat(days[sources], sizes)) * DAY_MS)
        frame = taken.with_columns(pl.col("started_at_ms") + shift, day=pl.Series(day))
        return _move(frame, self._rule.metric, levels[week - week.min()])

    def _decides(self, rng: np.random.Generator, true_pct: float, after: int) -> bool:
        arm = pl.when(pl.col("day") < 0).then(pl.lit(Classification.CONTROL.value))
        drawn = self._draw(rng, after).with_columns(variant=arm.otherwise(pl.lit(Classification.TREATMENT.value)))
        treatment = change_metric(drawn.filter(pl.col("day") >= 0), self._rule.metric, true_pct, rng)
        control = drawn.filter(pl.col("day").is_between(-after, -1))
        return self._rule.decides(control, treatment, drawn.filter(pl.col("day") < -after))


def _read_past(
    sessions: pl.DataFrame, metric: Metric, guardrails: Sequence[GuardrailSpec], now_ms: int
) -> pl.DataFrame:
    """Return the sessions of the whole weeks before `now_ms` with their `day`; -1 is the last one."""
    names = needed_columns([metric, *(spec.metric for spec in guardrails)])
    kept = sessions.filter(pl.col("started_at_ms") < now_ms).drop_nulls(needed_columns([metric]))
    others = [name for name in _KINDS if name in kept.columns]
    past = kept.select("started_at_ms", *names, *others).with_columns(day=(pl.col("started_at_ms") - now_ms) // DAY_MS)
    past = past.with_columns(pl.lit(None, pl.String).alias(name) for name in _KINDS if name not in others)
    days = -int(past["day"].to_numpy().min(initial=0))
    past = past.filter(pl.col("day") >= -(days // _WEEK) * _WEEK)
    if past.height < MIN_HISTORY or days < MIN_HISTORY_DAYS:
        raise ExperimentError(
            f"The history has {past.height} sessions with a value in {days} days. Before and after a change, a "
            f"difference is claimed only with {MIN_HISTORY_DAYS} days of history before it, and planning needs "
            f"{MIN_HISTORY} sessions. Draw the arms by lot instead (leave --bind out)."
        )
    return past.sort("started_at_ms").with_columns(variant=pl.lit(Classification.CONTROL.value))


_KINDS = ("agent", "model", "workspace", "branch", "user_name", "organisation")


def _move(sessions: pl.DataFrame, metric: Metric, by: np.ndarray) -> pl.DataFrame:
    """Return the sessions with a metric that is moved by `by` log units, shape (n,); proportions cannot be moved."""
    definition = REGISTRY[metric]
    if definition.kind is MetricKind.PROPORTION:
        return sessions
    names = [metric.column] if definition.numerator is None else [metric.column, definition.numerator]
    factor = pl.Series(np.exp(by))
    top = 1.0 if definition.unit == "share" else math.inf
    return sessions.with_columns((pl.col(name) * factor).clip(upper_bound=top) for name in names)
