"""Rows for the tables that may leave, read from a store; the projection of their dataset still has to pass them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kaizen_analytics.columnar import session_metrics
from kaizen_analytics.datasets.models import find_model_id
from kaizen_analytics.errors import KaizenError
from kaizen_analytics.experiments.evaluation import Role
from kaizen_analytics.experiments.lifecycle import evaluate
from kaizen_analytics.model import Delta
from kaizen_analytics.sessions import list_sessions
from kaizen_analytics.store import list_experiments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from kaizen_analytics.datasets.wording import Wording
    from kaizen_analytics.experiments.evaluation import Evaluation, GuardrailResult, MetricResult
    from kaizen_analytics.model import Experiment, Metric
    from kaizen_analytics.retro.bets import Bet
    from kaizen_analytics.retro.retro import Retro
    from kaizen_analytics.store import Store

Row = dict[str, Any]


def read_session_rows(store: Store) -> list[Row]:
    """Return every session, sub-agents apart, by its start."""
    return _sorted(_session_row(row) for row in list_sessions(store).to_dicts())


def read_metric_rows(store: Store) -> list[Row]:
    """Return every metric of every root session, by its start."""
    return _sorted(_common(row) for row in session_metrics(store).to_dicts())


def read_experiment_rows(store: Store, *, now_ms: int) -> list[Row]:
    """Return each experiment's metrics, oldest experiment first; one that cannot be evaluated has a bare row."""
    found = sorted(list_experiments(store), key=lambda experiment: (experiment.created_at_ms, experiment.id))
    return [row for experiment in found for row in _experiment_rows(store, experiment, now_ms)]


def bet_rows(retro: Retro, wording: Wording) -> list[Row]:
    """Return the bets of a retro: those it makes, what else it found, and those that had been made before."""
    groups = (("made", retro.choice.made), ("found", retro.choice.further), ("repeated", retro.choice.repeated))
    bets = [(status, bet) for status, group in groups for bet in group]
    return [_bet_row(retro, wording, place, *entry) for place, entry in enumerate(bets, 1)]


READERS: dict[str, Callable[[Store, int], list[Row]]] = {
    "sessions": lambda store, _now_ms: read_session_rows(store),
    "metrics": lambda store, _now_ms: read_metric_rows(store),
    "experiments": lambda store, now_ms: read_experiment_rows(store, now_ms=now_ms),
}
"""What reads each table of a store at a time (milliseconds since the epoch)."""


def _sorted(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["started"], row["session"]))


def _common(row: Mapping[str, Any]) -> Row:
    model = row["model"]
    return {
        **row,
        "session": row["session_id"],
        "model": None if model is None else find_model_id(model) or model,
        "started": row["started_at_ms"],
        "ended": row["ended_at_ms"],
    }


def _session_row(row: Mapping[str, Any]) -> Row:
    return {
        **_common(row),
        "model_name": row["model"],
        "parent_session": row["parent_session_id"],
        "workspace_path": row["workspace"],
        "branch_name": row["branch"],
    }


def _experiment_rows(store: Store, experiment: Experiment, now_ms: int) -> Iterator[Row]:
    try:
        evaluation = evaluate(store, experiment.id, now_ms=now_ms)
    except KaizenError:
        # A draft, or an experiment whose repository is gone: `is_evaluated` says so, and `exp evaluate` says why.
        yield _bare_row(experiment)
        return
    yield _metric_row(evaluation, evaluation.primary, None)
    for result in evaluation.secondary:
        yield _metric_row(evaluation, result, None)
    for guardrail in evaluation.guardrails:
        yield _metric_row(evaluation, guardrail.result, guardrail)


def _bare_row(experiment: Experiment) -> Row:
    empty = dict.fromkeys((*_EVALUATED, *_RESULT))
    return {**empty, **_experiment_fields(experiment), **_role(experiment.metric, Role.PRIMARY), "is_evaluated": False}


def _metric_row(evaluation: Evaluation, result: MetricResult, guardrail: GuardrailResult | None) -> Row:
    return {
        **_experiment_fields(evaluation.experiment),
        **_role(result.metric, result.role),
        "is_evaluated": True,
        "verdict": evaluation.verdict.value,
        "decision": evaluation.decision.headline.value,
        "guardrail_status": None if guardrail is None else guardrail.status.value,
        "design": evaluation.design,
        "alpha": evaluation.alpha,
        "confidence_at_target": evaluation.confidence_at_target,
        "judgement": evaluation.judgement,
        **_result_fields(result),
    }


_EVALUATED = ("verdict", "decision", "guardrail_status", "design", "alpha", "confidence_at_target", "judgement")
_RESULT = (
    *(f"{arm}_{what}" for arm in ("control", "treatment") for what in ("sessions", "missing", "median", "mean")),
    "change",
    "change_low",
    "change_high",
)


def _role(metric: Metric, role: Role) -> Row:
    return {"metric": metric.value, "role": role.value}


def _experiment_fields(experiment: Experiment) -> Row:
    criterion = experiment.success_criterion
    delta = criterion if isinstance(criterion, Delta) else None
    return {
        "experiment": experiment.id,
        "id": experiment.id,
        "name": experiment.name,
        "hypothesis": experiment.hypothesis,
        "change_description": experiment.change_description,
        "state": experiment.state.value,
        "created": experiment.created_at_ms,
        "concluded": experiment.concluded_at_ms,
        "target_direction": None if delta is None else delta.direction.value,
        "target": None if delta is None else delta.target_pct,
    }


def _result_fields(result: MetricResult) -> Row:
    percent = result.effect.percent
    change = (None, None, None) if percent is None else (percent.estimate, percent.low, percent.high)
    arms = {
        f"{name}_{what}": value
        for name, arm in (("control", result.control), ("treatment", result.treatment))
        for what, value in (
            ("sessions", arm.n),
            ("missing", arm.n_missing),
            ("median", arm.median),
            ("mean", arm.mean),
        )
    }
    return {**arms, **dict(zip(("change", "change_low", "change_high"), map(_finite, change), strict=True))}


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) != float("inf") else None


def _bet_row(retro: Retro, wording: Wording, place: int, status: str, bet: Bet) -> Row:
    return {
        "window_start": retro.window.start_ms,
        "window_end": retro.window.end_ms - 1,
        "place": place,
        "status": status,
        "heuristic": bet.heuristic,
        "heuristic_name": bet.name,
        "confidence": bet.confidence.value,
        "category": bet.category.value,
        "effort": bet.effort_minutes,
        "basis": bet.basis.value,
        "metric": bet.metric,
        "tokens_saved": bet.tokens_saved_per_week,
        "share_of_tokens": bet.share_of_tokens,
        "occurrences": bet.occurrences,
        "evidence_sessions": len(bet.evidence),
        "evidence_last": bet.evidence_recency_ms,
        "score": bet.score,
        "bet_id": wording.bet_id(bet.id),
        "title": wording.sentence(bet.title, bet.heuristic),
        "hypothesis": wording.sentence(bet.hypothesis, bet.heuristic),
        "apply_step": wording.sentence(bet.apply_step, bet.heuristic),
    }
