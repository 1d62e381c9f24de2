"""The tables of files, read from a store and projected; and their Markdown, to be pasted into a chat or an issue.

The Markdown has only what every chat and tracker shows in the same way: one line to a thought, lists, `code`, headings.
No HTML, no tables, no bold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import KaizenError
from kaizen_analytics.core.metrics import OF_SESSIONS, OUTCOMES, REGISTRY
from kaizen_analytics.core.model import Delta, Experiment, Metric
from kaizen_analytics.core.words import clean, compact, counted, escape_markdown, format_number, format_percent
from kaizen_analytics.experiments.evaluation import Evaluation, GuardrailResult, MetricResult, Role
from kaizen_analytics.experiments.lifecycle import evaluate
from kaizen_analytics.exports.columns import TABLES, Table
from kaizen_analytics.exports.project import make_frame, project
from kaizen_analytics.pages import sentences
from kaizen_analytics.pages.retro import describe_change, describe_followed, describe_totals, list_unknown
from kaizen_analytics.retro.followup import Standing
from kaizen_analytics.retro.wording import Wording, find_model_id
from kaizen_analytics.store import Store, list_experiments
from kaizen_analytics.store.frames import list_sessions, session_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kaizen_analytics.redact import Redactor
    from kaizen_analytics.retro.findings import Finding
    from kaizen_analytics.retro.retro import ExperimentLine, Retro


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Rows of a table that may leave, and their Markdown."""

    table: Table
    frame: pl.DataFrame
    markdown: str


def export_table(store: Store, name: str, redactor: Redactor, *, now_ms: int, with_text: bool = False) -> Export:
    """Read one of the tables `sessions`, `metrics` and `experiments` of a store, evaluated at `now_ms`.

    The columns of free text leave `with_text` only, redacted.

    Raises:
        RedactionError: a value is not of its declared kind.

    >>> from kaizen_analytics.redact import Pseudonyms, Redactor, Scanner
    >>> export_table(store, "metrics", Redactor(Scanner(), Pseudonyms(bytes(32))), now_ms=0).frame.height
    325
    """
    table, raw = TABLES[name](), read_table(store, name, now_ms=now_ms)
    frame = project(table, raw, redactor.pseudonyms, redact=redactor.redact if with_text else None)
    return Export(table=table, frame=frame, markdown=_RENDERERS[name](frame.to_dicts()))


def read_table(store: Store, name: str, *, now_ms: int) -> pl.DataFrame:
    """Return a table as `project` takes it, with everything that must not leave: the oldest row first.

    >>> read_table(store, "sessions", now_ms=0)["started"].is_sorted()
    True
    """
    if name == "sessions":
        return _name(list_sessions(store)).with_columns(
            model_name="recorded", parent_session="parent_session_id", workspace_path="workspace", branch_name="branch"
        )
    if name == "metrics":
        return _name(session_metrics(store))
    # the metrics of each experiment, oldest first; one that cannot be evaluated has a bare row
    found = sorted(list_experiments(store), key=lambda experiment: (experiment.created_at_ms, experiment.id))
    rows = [row for experiment in found for row in _experiment_rows(store, experiment, now_ms)]
    return make_frame(TABLES[name](), rows)


def export_retro(retro: Retro, wording: Wording) -> Export:
    """Return the findings of a retro; the Markdown tells the whole retro.

    >>> export_retro  # doctest: +ELLIPSIS
    <function export_retro at ...>
    """
    rows = [_finding_row(retro, wording, place, finding) for place, finding in enumerate(retro.findings, 1)]
    table = TABLES["findings"]()
    redactor = wording.redactor
    frame = project(table, make_frame(table, rows), redactor.pseudonyms, redact=redactor.redact)
    return Export(table=table, frame=frame, markdown=_render_retro(retro, frame.to_dicts(), wording))


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
    percent = codec.plain(evaluation.percent if result is evaluation.primary else result.effect.percent) or {}
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
            f"{name}_{what}": getattr(arm, field)
            for name, arm in (("control", result.control), ("treatment", result.treatment))
            for what, field in (("sessions", "n"), ("missing", "n_missing"), ("median", "median"), ("mean", "mean"))
        },
        "change": percent.get("estimate"),
        "change_low": percent.get("low"),
        "change_high": percent.get("high"),
    }


def _finding_row(retro: Retro, wording: Wording, place: int, finding: Finding) -> dict[str, Any]:
    return {
        "window_start": retro.window.start_ms,
        "window_end": retro.window.end_ms - 1,
        "place": place,
        "finding": finding.id,
        **{name: getattr(finding, name) for name in _COUNTS},
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


_COUNTS = ("kind", "times", "sessions", "exposed", "days", "cost_usd", "usd_per_week")
_SHOWN_SESSIONS = 3


def _render_retro(retro: Retro, rows: Sequence[Mapping[str, Any]], wording: Wording) -> str:
    """Return a retro's findings (`rows`, projected) with what to do, what came of earlier ones, and experiments."""
    cards = [_finding(finding, row, wording) for finding, row in zip(retro.findings, rows, strict=True)]
    followed = []
    for one in retro.followed:
        note = one.note if one.standing is not Standing.DECLINED else wording.sentence(f"`{one.note}`")
        told = f"{_line(wording.sentence(one.title))} ({_line(describe_followed(replace(one, note=note)))})"
        followed.append(f"{one.standing.value.capitalize()}: {told}")
    unknown = [line for line in list_unknown(retro) if not line.startswith("Not evaluable")]
    lines = [
        f"## Retro, {retro.label}",
        "",
        f"{describe_totals(retro)}.",
        "",
        f"### {counted(len(rows), 'change') + ' worth making' if rows else 'Nothing recurs that is worth a change'}",
        "",
        *(line for card in cards for line in card),
        *_section("Earlier findings", followed),
        *_section("Experiments", [_experiment(line, wording) for line in retro.experiments]),
        "### What is not known",
        "",
        *(f"- {_line(line)}" for line in unknown),
    ]
    return "\n".join(lines) + "\n"


def _render_sessions(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return sessions, tokens and cost by agent and model."""

    def name(row: Mapping[str, Any]) -> tuple[str, str]:
        return row["agent"], row["model"] or "model not recorded"

    groups = [(key, list(group)) for key, group in groupby(sorted(rows, key=name), key=name)]
    lines = [f"- {agent}, {model}: {_usage(group)}" for (agent, model), group in groups]
    return "\n".join([f"## {counted(len(rows), 'session')}", "", *lines]) + "\n"


def _render_metrics(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the median and mean of every metric, and how many sessions tell it."""
    lines = [_metric(metric, [row[metric.column] for row in rows]) for metric in OF_SESSIONS if metric not in OUTCOMES]
    return "\n".join([f"## Metrics of {counted(len(rows), 'session')}", "", *lines]) + "\n"


def _render_experiments(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return each experiment's decision and the change of every metric in it."""
    groups = groupby(rows, key=lambda row: row["experiment"])
    lines = [line for _, group in groups for line in _experiment_lines(list(group))]
    return "\n".join(["## Experiments", "", *(lines or ["No experiment is in the store."])]) + "\n"


def _finding(finding: Finding, row: Mapping[str, Any], wording: Wording) -> list[str]:
    sessions = list(dict.fromkeys(moment.session_id for moment in finding.evidence))[:_SHOWN_SESSIONS]
    shown = ", ".join(f"`{wording.session(session)}`" for session in sessions)
    cost = "cost not known" if row["cost_usd"] is None else f"{row['cost_usd']:,.2f} USD"
    return [
        f"{row['place']}. {_line(row['title'])}",
        f"   - Seen {row['times']} times in {row['sessions']} of {counted(row['exposed'], 'session')}, {cost}",
        f"   - Do: {_line(row['change'])}",
        f"   - Evidence: {shown}",
        f"   - Id: `{finding.id}`",
        "",
    ]


def _experiment(line: ExperimentLine, wording: Wording) -> str:
    label = REGISTRY[line.metric].label.lower()
    record = line.to_json()
    change = _change(record["estimate"], record["low"], record["high"])
    made = line.decision
    decision = "not evaluated" if made is None else made.headline.replace("_", " ")
    grade = "" if made is None or made.grade is None else f" ({made.grade.replace('_', ' ')})"
    return f"`{_code(wording.value(line.name))}` ({line.state.lower()}): {label} {change}; {decision}{grade}"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"### {title}", "", *(f"- {line}" for line in lines), ""] if lines else []


def _experiment_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    first = rows[0]
    name = first["name"] if first["name"] is not None else f"name-{first['experiment'][:10]}"
    decision = (first["decision"] or "not evaluated").replace("_", " ")
    grade = f" ({first['grade'].replace('_', ' ')})" if first["grade"] else ""
    yield f"- `{_code(name)}` ({first['state'].lower()}): {decision}{grade}"
    for row in rows:
        if row["is_evaluated"] and row["role"] != "secondary":
            yield f"  - {_compared(row)}"


def _compared(row: Mapping[str, Any]) -> str:
    label = REGISTRY[Metric(row["metric"])].label
    sessions = f"{row['control_sessions']:,} against {row['treatment_sessions']:,} sessions"
    means = [row["control_mean"], row["treatment_mean"]]
    if row["change"] is not None or None in means:
        change = _change(row["change"], row["change_low"], row["change_high"])
    else:
        change = f"from a mean of {format_number(means[0])} to {format_number(means[1])}"
    status = f"Guardrail {row['guardrail_status']}: " if row["guardrail_status"] else ""
    return f"{status}{label.lower() if status else label} {change}, {sessions}"


def _metric(metric: Metric, values: Sequence[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    definition = REGISTRY[metric]
    if not known:
        return f"- {definition.label}: not known for any session"
    middle = (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2
    mean = sum(known) / len(known)
    shown = [
        format_percent(100 * number) if definition.unit == "share" else format_number(number)
        for number in (middle, mean)
    ]
    unit = "" if definition.unit in {"count", "share"} else f" {definition.unit}"
    return f"- {definition.label}: median {shown[0]}, mean {shown[1]}{unit} ({counted(len(known), 'session')})"


def _usage(rows: Sequence[Mapping[str, Any]]) -> str:
    names = ("tokens_in", "cache_creation_tokens", "tokens_out", "reasoning_tokens")
    tokens = [row[name] for row in rows for name in names if row[name] is not None]
    costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    used = f"{compact(sum(tokens))} new tokens" if tokens else "tokens not known"
    paid = f"{sum(costs):,.2f} USD" if costs else "cost not known"
    without = len(rows) - len(costs)
    note = f" ({without:,} without a price)" if costs and without else ""
    return f"{counted(len(rows), 'session')}, {used}, {paid}{note}"


def _change(estimate: float | None, low: float | None, high: float | None) -> str:
    if estimate is None:
        return "no percent change"
    ends = ["unbounded" if end is None else _signed(end) for end in (low, high)]
    return f"{_signed(estimate)} % ({ends[0]} to {ends[1]})"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _line(text: str) -> str:
    """Return one line whose `code` stays code; everything else shows as it is written."""
    pieces = text.split("`")
    # escape_markdown takes its text for a whole line; a dollar alone is no formula and stays readable in a chat.
    pieces[::2] = [escape_markdown(f"x{piece}x")[1:-1].replace("\\$", "$") for piece in pieces[::2]]
    pieces[1::2] = [f"`{_code(piece)}`" for piece in pieces[1::2]]
    return "".join(pieces)


def _code(text: str) -> str:
    return " ".join(clean(text).replace("`", "'").split())


_RENDERERS: dict[str, Callable[[Sequence[Mapping[str, Any]]], str]] = {
    "sessions": _render_sessions,
    "metrics": _render_metrics,
    "experiments": _render_experiments,
}
"""What renders the rows of each table as Markdown."""
