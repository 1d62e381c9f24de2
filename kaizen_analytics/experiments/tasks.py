"""Units of work: metrics added up per task or day, how many sessions a task takes, what a guardrail is added up over.

A change that only splits tasks into more sessions makes every session cheaper, and no task.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.metrics import REGISTRY, MetricKind
from kaizen_analytics.core.model import Direction, GitCommit, GuardrailSpec, Metric, PromptFingerprint, WorkUnit
from kaizen_analytics.core.queries import unit_of_work
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.compare import ARMS
from kaizen_analytics.experiments.evaluation import TaskCheck
from kaizen_analytics.experiments.randomisation import Unit
from kaizen_analytics.stats import mean_effect
from kaizen_analytics.stats.effect import Obstacle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kaizen_analytics.core.model import Experiment
    from kaizen_analytics.experiments.plan import Plan
    from kaizen_analytics.stats import Effect

_WORK = (Metric.COMMITS_PER_SESSION, Metric.PROMPTS_PER_SESSION)
"""How much work is done: commits, or prompts where there are none."""
_CHECKS_PCT, _WORK_PCT = 5.0, 20.0
_PAST_DAYS = 28
_MIN_SESSIONS = 10
"""Past sessions with a value that a default guardrail needs."""
_MIN_TASKS = 5
_FACTOR = 1.5
"""How many times as many sessions per task one arm must have, beyond chance, for the totals to be looked at."""

_SUMS = ("responses", "unpriced_responses", "unreliable_responses", "tool_results", "input_tokens", "lines_added",
         "lines_surviving")  # fmt: skip


def add_up(frame: pl.DataFrame, unit: WorkUnit, *, drawn: bool = False) -> pl.DataFrame:
    """Return one row per unit of work and arm, with the columns of the sample; the excluded ones count as an arm.

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
    groups = named.group_by("variant", "work", maintain_order=True)
    summed = groups.agg(*_columns(frame.columns))
    if "unit" in frame.columns and not drawn:
        summed = summed.with_columns(unit=pl.col("work"))
    return summed.with_columns(session_id=pl.col("work")).select(frame.columns).sort("started_at_ms", "session_id")


def add_up_past(sessions: pl.DataFrame, unit: WorkUnit) -> pl.DataFrame:
    """Return one row per unit of work of sessions without arms (`sample.read_scope`), as `add_up` does.

    >>> rows = {"session_id": ["a", "b"], "started_at_ms": [0, 86_400_000], "tool_loops": [2.0, 3.0]}
    >>> add_up_past(pl.DataFrame(rows), WorkUnit.DAY).height
    2
    """
    return add_up(sessions.with_columns(variant=pl.lit("")), unit).drop("variant")


def _columns(names: Iterable[str]) -> list[pl.Expr]:
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

    Args:
        frame: The sample, with `variant` and what names a task.
        metric: The success metric.
        alpha: Level of the comparison.

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


def default_guardrails(sessions: pl.DataFrame, experiment: Experiment, *, now_ms: int) -> tuple[GuardrailSpec, ...]:
    """Return the guardrails that an experiment gets where the sessions of the last 28 days have the data.

    The last check must not pass less often by more than 5 percent, and the work done must not fall by more than 20:
    commits, or prompts where there are none. A metric that the experiment judges already is left out.

    Args:
        sessions: Metrics of the sessions in scope (`sample.read_scope`).
        experiment: The draft.
        now_ms: The time now, in milliseconds since the Unix epoch.

    >>> from kaizen_analytics.experiments.sample import read_scope
    >>> from kaizen_analytics.store.experiments import get_experiment
    >>> sessions, experiment = read_scope(store, ()), get_experiment(store, "plan-first")
    >>> now_ms = sessions["started_at_ms"].max()
    >>> [spec.metric.column for spec in default_guardrails(sessions, experiment, now_ms=now_ms)]
    ['prompts_per_session']
    """
    recent = sessions.filter(pl.col("started_at_ms").is_between(now_ms - _PAST_DAYS * DAY_MS, now_ms))
    judged = {experiment.metric, *(spec.metric for spec in experiment.guardrails)}
    work = next((metric for metric in _WORK if _has_data(recent, metric) and recent[metric.column].sum() > 0), None)
    wanted = [(Metric.CHECKS_PASSED, _CHECKS_PCT)]
    if work is not None and not judged.intersection(_WORK):
        wanted.append((work, _WORK_PCT))
    return tuple(
        GuardrailSpec(metric, Direction.DECREASE, percent)
        for metric, percent in wanted
        if metric not in judged and _has_data(recent, metric)
    )


def _has_data(sessions: pl.DataFrame, metric: Metric) -> bool:
    return sessions[metric.column].count() >= _MIN_SESSIONS


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
    return spec.metric in _WORK and spec.regression_direction is Direction.DECREASE
