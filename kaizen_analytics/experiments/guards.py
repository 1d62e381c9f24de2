"""Guardrails that every new experiment gets, and what a guardrail is added up over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.model import Direction, GitCommit, GuardrailSpec, Metric, PromptFingerprint, WorkUnit
from kaizen_analytics.experiments.plan import DAY_MS
from kaizen_analytics.experiments.randomisation import Unit

if TYPE_CHECKING:
    from kaizen_analytics.core.model import Experiment
    from kaizen_analytics.experiments.plan import Plan

_WORK = (Metric.COMMITS_PER_SESSION, Metric.PROMPTS_PER_SESSION)
"""How much work is done: commits, or prompts where there are none."""
_CHECKS_PCT, _WORK_PCT = 5.0, 20.0
_PAST_DAYS = 28
_MIN_SESSIONS = 10
"""Past sessions with a value that a default guardrail needs."""


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
    falls = spec.metric in _WORK and spec.regression_direction is Direction.DECREASE
    return WorkUnit.DAY if is_apart and falls else plan.unit
