"""How many sessions a starting experiment is planned for, and whether they will come in."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.errors import ExperimentError
from kaizen_analytics.core.model import Classification, DesignKind, GitCommit
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.assess import choose_design
from kaizen_analytics.experiments.decide import MIN_HISTORY_DAYS
from kaizen_analytics.experiments.plan import Cluster, Plan
from kaizen_analytics.experiments.power import expected_design_effect
from kaizen_analytics.experiments.sample import read_sample, read_scope
from kaizen_analytics.experiments.tasks import add_up, add_up_past
from kaizen_analytics.stats.before_after import MIN_SESSIONS, MIN_WEEKS_AFTER
from kaizen_analytics.stats.sequential import MIN_SEQUENTIAL_N

if TYPE_CHECKING:
    from kaizen_analytics.core.model import Experiment
    from kaizen_analytics.store import Store


MIN_DAYS_AFTER = 7 * MIN_WEEKS_AFTER
"""Days after a change below which a difference is never claimed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a plan asks for, and what comes in at the rate of the last days; sessions of control and of treatment.

    `minimum` are the sessions per arm below which nothing is judged, even at the end of the window. `history_days` are
    the days before the start with sessions, for arms before and after a change; None for other arms.
    """

    planned: tuple[int, int]
    expected: tuple[int, int]
    minimum: int
    days: int
    history_days: int | None = None

    @property
    def information(self) -> float:
        """Share of the planned information that is expected at the end of the window."""
        if min(self.expected) == 0:
            return 0.0
        planned, expected = (1 / (1 / a + 1 / b) for a, b in (self.planned, self.expected))
        return expected / planned

    @property
    def is_judged(self) -> bool:
        """Whether there will be enough sessions, and enough history, to judge anything."""
        is_long = self.history_days is None or (self.history_days >= MIN_HISTORY_DAYS and self.days >= MIN_DAYS_AFTER)
        return min(self.expected) >= self.minimum and is_long

    @property
    def is_reached(self) -> bool:
        """Whether the plan will be reached, give or take a tenth."""
        return self.is_judged and self.information >= 0.9


def plan_sessions(store: Store, experiment: Experiment, plan: Plan, now_ms: int) -> Plan:
    """Fill in the planned sessions per arm from today's rate, when the design needs them and nobody gave them.

    Raises:
        ExperimentError: there is no past session to plan from.

    >>> from kaizen_analytics.store.experiments import get_experiment
    >>> plan_sessions(store, get_experiment(store, "plan-first"), Plan(planned_n=50), 0).planned_n
    50
    """
    if plan.design is not DesignKind.PLANNED:
        return plan
    before_after = isinstance(experiment.binding, GitCommit)
    planned_n = plan.planned_n
    if planned_n is None:
        sessions = _read_recent(store, plan, now_ms, experiment.duration_days).height
        if not sessions:
            folders = ", ".join(plan.workspaces) or "any folder"
            raise ExperimentError(
                f"The last {experiment.duration_days} days hold no session of {folders}, so the size of the experiment "
                "cannot be planned from them. Read newer sessions with 'kaizen-analytics ingest'; or give --planned-n; "
                "or plan anew with --workspace PATH, or with --design open."
            )
        planned_n = max(MIN_SEQUENTIAL_N, math.ceil(sessions / (1 if before_after else 2)))
    past, design_effect = 0, 1.0
    if before_after:
        frame = add_up(read_sample(store, experiment, plan).frame, plan.unit)
        past = frame.filter(pl.col("variant") == Classification.CONTROL.value).height
    if plan.cluster is not Cluster.NONE:  # 1 where past sessions cannot tell, which costs power and never errs more
        recent = _read_recent(store, plan, now_ms, experiment.duration_days)
        design_effect = expected_design_effect(recent, experiment.metric, plan.statistic, plan.cluster)
    control_n = plan.planned_control_n or past or None
    return replace(plan, planned_n=planned_n, planned_control_n=control_n, design_effect=design_effect)


def expect_reach(store: Store, experiment: Experiment, plan: Plan, now_ms: int) -> Reach | None:
    """Return whether the sessions of a started plan will come in at the rate of the last days; None without a plan.

    >>> from kaizen_analytics.experiments.plan import get_plan
    >>> from kaizen_analytics.store.experiments import get_experiment
    >>> reach = expect_reach(store, get_experiment(store, "plan-first"), get_plan(store, "plan-first"), 0)
    >>> reach.planned, reach.expected
    ((45, 45), (0, 0))
    """
    start = plan.require_start(experiment.id)
    if start.retrospective:
        return None
    if isinstance(experiment.binding, GitCommit):
        return _expect_history(store, experiment, plan, now_ms)
    if plan.design is not DesignKind.PLANNED or plan.planned_n is None:
        return None
    recent = _read_recent(store, plan, now_ms, experiment.duration_days).height
    control = round(recent * (0.5 if plan.control_share is None else plan.control_share))
    expected = control, recent - control
    design = choose_design(plan, start.window_end_ms)
    return Reach(planned=design.planned, expected=expected, minimum=design.minimum, days=experiment.duration_days)


def _expect_history(store: Store, experiment: Experiment, plan: Plan, now_ms: int) -> Reach:
    """Return what a comparison before and after a change needs and will have."""
    start, sample = plan.require_start(experiment.id), read_sample(store, experiment, plan)
    control = sample.frame.filter(pl.col("variant") == Classification.CONTROL.value)
    past = pl.concat([control, sample.around], how="diagonal_relaxed")
    starts = past.filter(pl.col("variant") == Classification.CONTROL.value)["started_at_ms"].to_numpy()
    return Reach(
        planned=(MIN_SESSIONS, MIN_SESSIONS),
        expected=(control.height, _read_recent(store, plan, now_ms, experiment.duration_days).height),
        minimum=MIN_SESSIONS,
        days=experiment.duration_days,
        history_days=(start.started_at_ms - int(starts.min())) // DAY_MS if starts.size else 0,
    )


def _read_recent(store: Store, plan: Plan, now_ms: int, days: int) -> pl.DataFrame:
    """Return the units of work in the plan's scope from the last `days` days, as `read_scope` returns sessions."""
    scope = read_scope(store, plan.workspaces)
    recent = scope.filter(pl.col("started_at_ms").is_between(now_ms - days * DAY_MS, now_ms))
    return add_up_past(recent, plan.unit)
