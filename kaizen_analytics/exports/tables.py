"""The tables of files, read from a store and projected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.core.errors import KaizenError
from kaizen_analytics.core.model import Delta
from kaizen_analytics.experiments.evaluation import Role
from kaizen_analytics.experiments.lifecycle import evaluate
from kaizen_analytics.exports import summaries
from kaizen_analytics.exports.columns import TABLES, Table
from kaizen_analytics.exports.project import make_frame, project
from kaizen_analytics.pages import sentences
from kaizen_analytics.pages.retro import describe_change
from kaizen_analytics.retro.wording import find_model_id
from kaizen_analytics.store import list_experiments
from kaizen_analytics.store.frames import session_metrics
from kaizen_analytics.store.listing import list_sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kaizen_analytics.core.model import Experiment, Metric
    from kaizen_analytics.experiments.evaluation import Evaluation, GuardrailResult, MetricResult
    from kaizen_analytics.redact import Redactor
    from kaizen_analytics.retro.findings import Finding
    from kaizen_analytics.retro.retro import Retro
    from kaizen_analytics.retro.wording import Wording
    from kaizen_analytics.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Rows of a table that may leave, and their Markdown."""

    table: Table
    frame: pl.DataFrame
    markdown: str


def export_table(store: Store, name: str, redactor: Redactor, *, now_ms: int, with_text: bool = False) -> Export:
    """Read one of the tables `sessions`, `metrics` and `experiments` of a store.

    Args:
        store: The open store.
        name: The table.
        redactor: Makes the pseudonyms, and redacts the text that was asked for.
        now_ms: The time at which running experiments are evaluated (milliseconds since the epoch).
        with_text: Let the columns of free text leave, redacted.

    Raises:
        RedactionError: a value is not of its declared kind.

    >>> from kaizen_analytics.redact import Pseudonyms, Redactor, Scanner
    >>> export_table(store, "metrics", Redactor(Scanner(), Pseudonyms(bytes(32))), now_ms=0).frame.height
    325
    """
    table, raw = TABLES[name](), read_table(store, name, now_ms=now_ms)
    frame = project(table, raw, redactor.pseudonyms, redact=redactor.redact if with_text else None)
    return Export(table=table, frame=frame, markdown=summaries.RENDERERS[name](frame.to_dicts()))


def read_table(store: Store, name: str, *, now_ms: int) -> pl.DataFrame:
    """Return a table as `project` takes it, with everything that must not leave: the oldest row first.

    >>> read_table(store, "sessions", now_ms=0)["started"].is_sorted()
    True
    """
    if name == "sessions":
        return _name(list_sessions(store)).with_columns(
            model_name="recorded",
            parent_session="parent_session_id",
            workspace_path="workspace",
            branch_name="branch",
        )
    if name == "metrics":
        return _name(session_metrics(store))
    return make_frame(TABLES[name](), _read_experiments(store, now_ms))


def export_retro(retro: Retro, wording: Wording) -> Export:
    """Return the findings of a retro; the Markdown tells the whole retro.

    >>> export_retro  # doctest: +ELLIPSIS
    <function export_retro at ...>
    """
    rows = [_finding_row(retro, wording, place, finding) for place, finding in enumerate(retro.findings, 1)]
    table = TABLES["findings"]()
    redactor = wording.redactor
    frame = project(table, make_frame(table, rows), redactor.pseudonyms, redact=redactor.redact)
    return Export(table=table, frame=frame, markdown=summaries.render_retro(retro, frame.to_dicts(), wording))


def list_models(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose column `model` has the price list's names; a model that it lacks keeps its own.

    >>> list_models(pl.DataFrame({"model": ["claude-opus-4-5-20251101", "mine"]}))["model"].to_list()
    ['claude-opus-4-5', 'mine']
    """
    listed = {model: find_model_id(model) or model for model in frame["model"].drop_nulls().unique()}
    return frame.with_columns(pl.col("model").replace(listed))


def _name(frame: pl.DataFrame) -> pl.DataFrame:
    """Return sessions under the names of the columns that leave, by their start."""
    named = frame.rename({"session_id": "session", "started_at_ms": "started", "ended_at_ms": "ended"})
    return list_models(named.with_columns(recorded="model")).sort("started", "session")


def _read_experiments(store: Store, now_ms: int) -> list[dict[str, Any]]:
    """Return the metrics of each experiment, oldest first; one that cannot be evaluated has a bare row."""
    found = sorted(list_experiments(store), key=lambda experiment: (experiment.created_at_ms, experiment.id))
    return [row for experiment in found for row in _experiment_rows(store, experiment, now_ms)]


def _experiment_rows(store: Store, experiment: Experiment, now_ms: int) -> Iterator[dict[str, Any]]:
    try:
        evaluation = evaluate(store, experiment.id, now_ms=now_ms)
    except KaizenError:
        # A draft, or an experiment whose repository is gone: `is_evaluated` says so, and `exp evaluate` says why.
        empty = dict.fromkeys(column.name for column in TABLES["experiments"]().columns)
        yield empty | _describe(experiment, experiment.metric, Role.PRIMARY) | {"is_evaluated": False}
        return
    yield _metric_row(evaluation, evaluation.primary, None)
    for result in evaluation.secondary:
        yield _metric_row(evaluation, result, None)
    for guardrail in evaluation.guardrails:
        yield _metric_row(evaluation, guardrail.result, guardrail)


def _describe(experiment: Experiment, metric: Metric, role: Role) -> dict[str, Any]:
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
        "metric": metric.value,
        "role": role.value,
    }


def _metric_row(evaluation: Evaluation, result: MetricResult, guardrail: GuardrailResult | None) -> dict[str, Any]:
    percent = evaluation.percent if result is evaluation.primary else result.effect.percent
    return {
        **_describe(evaluation.experiment, result.metric, result.role),
        "is_evaluated": True,
        "verdict": evaluation.verdict.value,
        "decision": evaluation.decision.headline.value,
        "grade": evaluation.decision.grade,
        "guardrail_status": None if guardrail is None else guardrail.status.value,
        "design": evaluation.design,
        "alpha": evaluation.alpha,
        "confidence_at_target": evaluation.confidence_at_target,
        "judgement": sentences.judgement(evaluation),
        **{
            f"{name}_{what}": value
            for name, arm in (("control", result.control), ("treatment", result.treatment))
            for what, value in (
                ("sessions", arm.n),
                ("missing", arm.n_missing),
                ("median", arm.median),
                ("mean", arm.mean),
            )
        },
        "change": None if percent is None else percent.estimate,
        "change_low": None if percent is None else _finite(percent.low),
        "change_high": None if percent is None else _finite(percent.high),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) != float("inf") else None


def _finding_row(retro: Retro, wording: Wording, place: int, finding: Finding) -> dict[str, Any]:
    return {
        "window_start": retro.window.start_ms,
        "window_end": retro.window.end_ms - 1,
        "place": place,
        "kind": finding.kind,
        "finding": finding.id,
        "times": finding.times,
        "sessions": finding.sessions,
        "exposed": finding.exposed,
        "days": finding.days,
        "cost_usd": finding.cost_usd,
        "usd_per_week": finding.usd_per_week,
        "title": wording.sentence(finding.title),
        "change": describe_change(
            replace(
                finding.change,
                line=wording.sentence(finding.change.line),
                merge=wording.settings(finding.change.merge),
                habit=wording.sentence(finding.change.habit),
            )
        ),
    }
