"""An evaluation in short: one box of plain text for a terminal, one table for a notebook."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from kaizen_analytics.display import Bar, Table
from kaizen_analytics.experiments.evaluation import render_time
from kaizen_analytics.metrics import REGISTRY, MetricKind, label_metrics
from kaizen_analytics.model import Delta, Direction
from kaizen_analytics.stats.effect import format_number, format_percent

if TYPE_CHECKING:
    from kaizen_analytics.experiments.evaluation import Evaluation, GuardrailResult, MetricResult
    from kaizen_analytics.model import Experiment
    from kaizen_analytics.stats import Interval

WIDTH = 100
_LABEL_WIDTH = 11

FLAG_SENTENCES = {
    "retrospective": (
        "Retrospective: the rule was chosen after the data, so take this for a hint and prove it with an experiment."
    ),
    "adopted": "Adopted: another tool started this experiment; its plan was fixed later.",
    "not_frozen": "Not frozen: no sample was kept when it was concluded; the numbers were recomputed.",
    "interim_look": "Interim look: the fixed look is due at the end; until then a wider, sequential level is used.",
}


def render_box(evaluation: Evaluation, width: int = WIDTH) -> str:
    """Return the evaluation as a box of at most `width` columns, ending without a newline."""
    inner = width - 4
    lines: list[str] = []
    for label, text in _entries(evaluation):
        lines += _wrap(label, text, inner)
    title = f" {_one_line(evaluation.experiment.name)} ({evaluation.experiment.id}) "
    title = textwrap.shorten(title, inner - 2, placeholder="... ")
    top = f"┌─ {title.strip()} ".ljust(width - 1, "─") + "┐"
    body = [f"│ {line.ljust(inner)} │" for line in lines]
    return "\n".join([top, *body, "└" + "─" * (width - 2) + "┘"])


def tabulate(evaluation: Evaluation) -> Table:
    """Return the decision with every metric that was compared, the primary metric first."""
    guardrails = [guardrail.result for guardrail in evaluation.guardrails]
    results = [evaluation.primary, *guardrails, *evaluation.secondary]
    experiment, decision = evaluation.experiment, label_metrics(evaluation.decision.sentence)
    return Table(
        caption=f"{experiment.name} ({experiment.id}, {experiment.state.value}). {decision}",
        columns=("metric", "role", "control", "treatment", "change", f"{100 * (1 - evaluation.alpha):g} % interval"),
        rows=tuple(_table_row(result) for result in results),
        numeric=frozenset({2, 3, 4, 5}),
        bars=tuple(_bar(result.effect.percent) for result in results),
        sentences=(
            evaluation.judgement,
            *(label_metrics(guardrail.sentence) for guardrail in evaluation.guardrails),
            *evaluation.quality.warnings,
            *evaluation.next_actions,
        ),
    )


def render_criterion(experiment: Experiment) -> str:
    """Return the success criterion in words."""
    definition = REGISTRY[experiment.metric]
    criterion = experiment.success_criterion
    if isinstance(criterion, Delta):
        verb = "rises" if criterion.direction is Direction.INCREASE else "falls"
        return f"success: {definition.label.lower()} {verb} by at least {abs(criterion.target_pct):g} %"
    side = "at least" if definition.better is Direction.INCREASE else "at most"
    return (
        f"success: {definition.label.lower()} of the treatment is {side} {criterion.metric_value:g} {definition.unit}"
    )


def _entries(evaluation: Evaluation) -> list[tuple[str, str]]:
    primary = evaluation.primary
    entries = [
        ("Decision", evaluation.decision.sentence),
        ("Why", f"{evaluation.verdict.value}: {evaluation.judgement}"),
        ("Rule", f"{render_criterion(evaluation.experiment)}, {_describe_plan(evaluation)}"),
        ("Effect", _describe_effect(primary)),
        ("Interval", _describe_interval(evaluation)),
        *(("Guardrail", _describe_guardrail(guardrail)) for guardrail in evaluation.guardrails),
        ("Sessions", _describe_sessions(evaluation)),
        *(("Note", FLAG_SENTENCES[flag]) for flag in evaluation.flags if flag in FLAG_SENTENCES),
        *(("Warning", warning) for warning in evaluation.quality.warnings),
        *(("Next", action) for action in evaluation.next_actions),
    ]
    return [(label, _one_line(text)) for label, text in entries]


def _describe_plan(evaluation: Evaluation) -> str:
    start = evaluation.plan.started
    fixed = "now" if start is None else f"{render_time(start.started_at_ms)}"
    return f"fixed on {fixed}; {evaluation.design} design, alpha {evaluation.alpha:g}"


def _describe_effect(result: MetricResult) -> str:
    is_share = result.kind is MetricKind.PROPORTION
    before, after = (arm.mean if is_share else arm.median for arm in (result.control, result.treatment))
    shown = [_value(value, is_share=is_share) for value in (before, after)]
    percent = result.effect.percent
    change = "no percent change" if percent is None else _signed(percent.estimate)
    name = f"{result.label} ({'share' if is_share else f'median, {result.unit}'})"
    return f"{name}: {shown[0]} control, {shown[1]} treatment, {change}"


def _table_row(result: MetricResult) -> tuple[str, ...]:
    is_share = result.kind is MetricKind.PROPORTION
    before, after = (arm.mean if is_share else arm.median for arm in (result.control, result.treatment))
    percent = result.effect.percent
    unit = f", {result.unit}" if result.unit in {"USD", "min"} else ""
    return (
        f"{result.label}{unit}",
        result.role.value,
        _value(before, is_share=is_share),
        _value(after, is_share=is_share),
        "none" if percent is None else _signed(percent.estimate),
        "none" if percent is None else _limits(percent),
    )


def _bar(percent: Interval | None) -> Bar | None:
    return None if percent is None else Bar(estimate=percent.estimate, low=percent.low, high=percent.high)


def _describe_interval(evaluation: Evaluation) -> str:
    effect = evaluation.primary.effect
    if effect.percent is None:
        return effect.insufficient or effect.percent_undefined or "none"
    level = f"{100 * (1 - evaluation.alpha):g} % confidence"
    looks = ", at every look" if effect.design.sequential else ""
    at_target = evaluation.confidence_at_target
    target = "" if at_target is None else f"; confidence in the target, as a single look: {100 * at_target:.0f} %"
    return f"{_limits(effect.percent)} ({level}{looks}){target}"


def _describe_guardrail(guardrail: GuardrailResult) -> str:
    return f"{guardrail.status.value}: {guardrail.sentence}"


def _describe_sessions(evaluation: Evaluation) -> str:
    quality = evaluation.quality
    planned = "" if quality.planned_n is None else f" of {quality.planned_n} planned per arm"
    arms = f"{quality.control.sessions} control, {quality.treatment.sessions} treatment{planned}"
    excluded = ", ".join(f"{count} {reason}" for reason, count in evaluation.excluded.items())
    return f"{arms}; excluded: {excluded}" if excluded else arms


def _limits(interval: Interval) -> str:
    return f"{_signed(interval.low)} to {_signed(interval.high)}"


def _signed(percent: float) -> str:
    text = format_percent(percent)
    return f"+{text}" if percent > 0 and text[:1].isdigit() else text


def _value(value: float | None, *, is_share: bool) -> str:
    if value is None:
        return "no value"
    return format_percent(100 * value) if is_share else format_number(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _wrap(label: str, text: str, width: int) -> list[str]:
    head = label.ljust(_LABEL_WIDTH)
    return textwrap.wrap(head + text, width, subsequent_indent=" " * _LABEL_WIDTH, break_on_hyphens=False) or [head]
