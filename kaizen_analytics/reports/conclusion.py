"""The sections of the conclusion report, each a function from an `Evaluation` to a block.

Every sentence is computed from the evaluation. The notebook `10_experiment_conclusion` calls them in order.
"""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaizen_analytics.errors import ConfigError
from kaizen_analytics.experiments.evaluation import Role, render_time
from kaizen_analytics.experiments.plan import Cluster
from kaizen_analytics.experiments.summary import FLAG_SENTENCES, render_criterion
from kaizen_analytics.experiments.verdict import GuardrailStatus, Headline
from kaizen_analytics.metrics import REGISTRY, MetricKind, label_metrics
from kaizen_analytics.model import Branch, Delta, Direction, GitCommit, ManualTag, PromptFingerprint
from kaizen_analytics.reports import charts, components
from kaizen_analytics.reports.charts import Change, ForestRow, interval_text, percent_text
from kaizen_analytics.reports.components import Block, Mark, Tone
from kaizen_analytics.stats.effect import format_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.experiments.evaluation import Evaluation, GuardrailResult, MetricResult, Segment
    from kaizen_analytics.model import Binding
    from kaizen_analytics.stats.effect import Interval

_TONES = {Headline.SHIP: Tone.GOOD, Headline.DO_NOT_SHIP: Tone.BAD, Headline.UNDECIDED: Tone.UNCLEAR}
_STATUS_TONES = {
    GuardrailStatus.PASSED: Tone.GOOD,
    GuardrailStatus.VIOLATED: Tone.BAD,
    GuardrailStatus.UNRESOLVED: Tone.UNCLEAR,
}
_CHANGE_TONES = {Change.BETTER: Tone.GOOD, Change.WORSE: Tone.BAD, Change.UNCLEAR: Tone.NEUTRAL}
_MINUS = "\N{MINUS SIGN}"
_POINTS = "\N{NO-BREAK SPACE}points"
_SPELT_UNITS = frozenset({"USD", "min"})
"""Units that are written behind a number; the others are part of the metric's name, or a percent sign."""
_HYPHEN_MINUS = re.compile(r"(?<![\w.-])-(?=\d)")
_PERCENT = re.compile(r"(?<=\d) %")


def parse_now(text: str) -> int:
    """Return the time that a report is to speak for, in milliseconds since the Unix epoch; '' means the present.

    Raises:
        ConfigError: the text is not a time with a zone.
    """
    if not text:
        return time.time_ns() // 1_000_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigError(f"The time is {text!r}; expected ISO 8601 with a zone, such as 2026-01-31T00:00:00Z.")
    return round(moment.timestamp() * 1000)


def heading(evaluation: Evaluation) -> Block:
    """Return the title of the report."""
    window = evaluation.window
    days = f"{_date(window.start_ms)} to {_date(window.end_ms)}"
    return components.title(
        evaluation.experiment.name,
        f"Experiment conclusion \u00b7 {evaluation.experiment.state.value} \u00b7 sessions from {days}",
    )


def decision(evaluation: Evaluation) -> Block:
    """Return the first box: what to do, how large the effect is, and the rule that was fixed beforehand."""
    headline, _, reason = _readable(evaluation.decision.sentence).partition(": ")
    notes = [components.paragraph(FLAG_SENTENCES[flag]) for flag in evaluation.flags if flag in FLAG_SENTENCES]
    notes += [components.paragraph(_readable(warning), label="Beware.") for warning in evaluation.quality.warnings[:2]]
    return components.callout(
        _TONES[evaluation.decision.headline],
        headline,
        components.paragraph(_capitalised(reason or evaluation.judgement)),
        components.tiles(_tiles(evaluation)),
        components.paragraph(_readable(evaluation.judgement)),
        *notes,
        components.paragraph(" ".join(evaluation.next_actions[:1]), label="Next."),
        components.paragraph(f"{_rule_words(evaluation)} {evaluation.decision.rule}", label="Rule.", quiet=True),
    )


def tried(evaluation: Evaluation) -> Block:
    """Return what was changed, why, and how it was planned to be judged."""
    experiment, plan = evaluation.experiment, evaluation.plan
    planned = "" if plan.planned_n is None else f"{plan.planned_n:,} sessions per arm"
    return components.facts(
        [
            ("Hypothesis", experiment.hypothesis),
            ("Change", experiment.change_description),
            ("Success", _capitalised(render_criterion(experiment).removeprefix("success: "))),
            ("Guardrails", "; ".join(_guardrail_rule(item) for item in evaluation.guardrails) or "none"),
            ("Arms", _binding_words(experiment.binding)),
            ("Window", f"{_date(evaluation.window.start_ms)} to {_date(evaluation.window.end_ms)} (UTC)"),
            ("Planned", planned),
            ("Looking", _design_words(evaluation)),
        ]
    )


def trust(evaluation: Evaluation) -> Block:
    """Return the checks of the data, the warnings, and which sessions were left out and why."""
    checks = components.table(
        ["check", "result", "state"],
        [*_check_rows(evaluation)],
        caption="Checks of the data",
    )
    warnings = [_readable(warning) for warning in evaluation.quality.warnings]
    warned = components.bullets(warnings) if warnings else components.nothing()
    return components.stack(checks, warned, _excluded(evaluation))


def effects(evaluation: Evaluation) -> Block:
    """Return the effect on every metric, as a forest plot and as a table of the same numbers."""
    results = _all_results(evaluation)
    rows = [_forest_row(evaluation, name, result) for name, result in results if result.effect.percent is not None]
    level = _level_words(evaluation)
    caption = (
        f"Percent change of the treatment against the control with its {level}. Triangle up: better; triangle down: "
        "worse; circle: no clear change. The dashed line is no change, a short upright line the target or the "
        "tolerated change, an arrow an interval that goes on."
    )
    plot = components.figure(charts.forest(rows), caption) if rows else components.nothing()
    numbers = components.table(
        ["metric", "control", "treatment", "change", _level_words(evaluation), "reading"],
        [_effect_cells(name, result) for name, result in results],
        caption="The same numbers; where there is no percent change, the difference",
        numeric=(1, 2, 3, 4),
    )
    return components.stack(plot, numbers, _effect_notes(results), _guardrail_table(evaluation))


def shift(evaluation: Evaluation) -> Block:
    """Return where in the distribution the arms differ."""
    primary = evaluation.primary
    if len(evaluation.curves) < 2:
        return components.paragraph(f"{primary.label} is 0 or 1 for each session, so its share says everything.")
    caption = (
        f"{primary.label}: the share of sessions at or below each value. Where the treatment's line lies further left, "
        "its sessions have lower values; the dots are the medians. The outermost 1 % on each side is not drawn."
    )
    drawing = charts.distribution(evaluation.curves, primary.unit)
    return components.stack(components.figure(drawing, caption), _mean_paragraph(primary))


def course(evaluation: Evaluation) -> Block:
    """Return how the estimate developed as sessions came in."""
    points = [point for point in evaluation.series if point.estimate is not None]
    if len(points) < 2:
        return components.paragraph("There are too few sessions with a percent change to show a course.")
    safe = (
        "The band allows for looking at any time."
        if evaluation.primary.effect.design.sequential
        else "Only the last value counts: the plan was one look at the end, and the band does not allow for more."
    )
    caption = (
        f"{evaluation.primary.label}: percent change from all sessions so far, with its interval. {safe} "
        f"{'The dotted line is the target.' if _target(evaluation) is not None else ''}"
    )
    return components.figure(charts.course(points, _target(evaluation)), caption.strip())


def segments(evaluation: Evaluation) -> Block:
    """Return the primary metric for each agent, model and workspace."""
    if not evaluation.segments:
        return components.paragraph("All sessions share one agent, one model and one workspace: there are no segments.")
    shown = [item for item in evaluation.segments if item.result.effect.percent is not None]
    rows = [_segment_row(item) for item in shown]
    caption = (
        f"{evaluation.primary.label} in each segment, as one fixed look each and not corrected for their number: "
        "hints for the next experiment, no conclusions."
    )
    plot = components.figure(charts.forest(rows), caption) if rows else components.nothing()
    missing = [item for item in evaluation.segments if item.result.effect.percent is None]
    names: dict[str, list[str]] = {}
    for item in missing:
        names.setdefault(_why_no_segment(item), []).append(f"{item.dimension} {item.value}")
    left = [f"{why}: {', '.join(found)}." for why, found in names.items()]
    return components.stack(plot, components.bullets(left) if left else components.nothing())


def learned(evaluation: Evaluation) -> Block:
    """Return what was learned and what to do next."""
    sentences = [evaluation.primary.sentence, evaluation.judgement]
    sentences += [guardrail.sentence for guardrail in evaluation.guardrails]
    changed = [item.sentence for item in evaluation.secondary if _change(item) is not Change.UNCLEAR]
    readable = [_readable(sentence) for sentence in (*sentences, *changed)]
    return components.stack(
        components.bullets(readable),
        components.subheading("Next"),
        components.bullets(evaluation.next_actions),
    )


def method(evaluation: Evaluation) -> Block:
    """Return how the numbers were computed and what they cannot say."""
    primary = evaluation.primary
    definition = REGISTRY[primary.metric]
    sentences = [
        f"{definition.label}: {definition.definition} A session has no value when {definition.null_when}.",
        _estimator_words(primary),
        _design_words(evaluation),
        _cluster_words(evaluation),
        "Guardrails are adjusted for their number (Holm); secondary metrics and segments are not.",
        *primary.effect.notes,
    ]
    return components.bullets([_readable(sentence) for sentence in sentences])


def provenance(evaluation: Evaluation) -> Block:
    """Return what the numbers were computed from."""
    items = [("experiment", evaluation.experiment.id), ("evaluated as of", render_time(evaluation.as_of_ms))]
    known = [(name, value) for name, value in evaluation.provenance.items() if value is not None]
    items += [_provenance_item(name, value) for name, value in known]
    return components.facts(items)


def document(evaluation: Evaluation) -> Block:
    """Return the whole evaluation for `report.json`; it shows nothing."""
    return components.data(evaluation.to_json())


def _provenance_item(name: str, value: str | float) -> tuple[str, str]:
    if name == "data_as_of_ms":
        return "latest session started", render_time(int(value))
    return name.replace("_", " "), str(value)


def _tiles(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    primary = evaluation.primary
    # the unit stands in the label, so that the two numbers fit on one line
    before, after = (value.removesuffix(f"\N{NO-BREAK SPACE}{primary.unit}") for value in _centres(primary))
    unit = f" ({primary.unit})" if primary.unit in _SPELT_UNITS else ""
    kind = "share of sessions" if primary.kind is MetricKind.PROPORTION else "median session"
    percent = primary.effect.percent
    change = ("Change", "not known", _why_no_percent(primary))
    if percent is not None:
        change = (
            "Change",
            percent_text(percent.estimate),
            f"{_level_words(evaluation)} {interval_text(percent.low, percent.high)}",
        )
    counts = f"{primary.control.n:,} and {primary.treatment.n:,} sessions"
    return [
        (f"{primary.label}{unit}, {kind}", f"{before} \u2192 {after}", f"control \u2192 treatment, {counts}"),
        change,
        _target_tile(evaluation),
    ]


def _target_tile(evaluation: Evaluation) -> tuple[str, str, str]:
    target, confidence = _target(evaluation), evaluation.confidence_at_target
    if target is None:
        value = evaluation.experiment.success_criterion
        side = "at least" if evaluation.primary.better is Direction.INCREASE else "at most"
        return "Target", f"{side} {format_number(getattr(value, 'metric_value', math.nan))}", evaluation.primary.unit
    wanted = f"at least {abs(target):g}\N{NO-BREAK SPACE}% {'higher' if target > 0 else 'lower'}"
    if confidence is None:
        return "Target", wanted, ""
    return "Target", wanted, f"confidence that it is reached, as a single look: {_confidence_words(confidence)}"


def _confidence_words(confidence: float) -> str:
    if confidence > 0.99:
        return "over 99 %"
    return "under 1 %" if confidence < 0.01 else f"{100 * confidence:.0f} %"


def _rule_words(evaluation: Evaluation) -> str:
    started = evaluation.plan.started
    when = "not fixed yet" if started is None else f"fixed on {_date(started.started_at_ms)}"
    after = ", after the data" if started is not None and started.retrospective else ", before the result"
    return f"{_capitalised(render_criterion(evaluation.experiment))} ({when}{after if started else ''})."


def _guardrail_rule(guardrail: GuardrailResult) -> str:
    verb = "rise" if guardrail.spec.regression_direction is Direction.INCREASE else "fall"
    return f"{guardrail.result.label} must not {verb} by more than {guardrail.spec.threshold_pct:g}\N{NO-BREAK SPACE}%"


def _binding_words(binding: Binding) -> str:
    match binding:
        case GitCommit(control_commit=control, treatment_commit=treatment):
            return f"sessions before and after a commit: control {control[:12]}, treatment {treatment[:12]}"
        case Branch(control_branch=control, treatment_branch=treatment):
            return f"sessions on two branches: control {control}, treatment {treatment}"
        case PromptFingerprint(control_fingerprint=control, treatment_fingerprint=treatment):
            return f"sessions under two sets of instructions: control {control[:12]}, treatment {treatment[:12]}"
        case ManualTag(variant_field=""):
            return "sessions tagged by hand"
        case ManualTag(variant_field=name):
            return f"sessions tagged by hand, or by the value of {name}"


def _design_words(evaluation: Evaluation) -> str:
    alpha = f"an overall error level of {100 * evaluation.alpha:g}\N{NO-BREAK SPACE}%"
    effective = f"{100 * evaluation.effective_alpha:.2g}\N{NO-BREAK SPACE}%"
    if not evaluation.primary.effect.design.sequential:
        return f"One look, at {alpha}."
    return f"Looking at any time is allowed for ({evaluation.design} design): {alpha}, {effective} at this look."


def _cluster_words(evaluation: Evaluation) -> str:
    cluster = evaluation.plan.cluster
    if cluster is Cluster.NONE:
        return "Sessions are taken as independent of each other."
    return f"Sessions of one {cluster.value} may resemble each other; the intervals are widened for that."


def _estimator_words(primary: MetricResult) -> str:
    if primary.kind is MetricKind.PROPORTION:
        return "The arms are compared by their shares: Newcombe's interval (difference), a score interval (ratio)."
    return (
        "The arms are compared by their medians, with the exact bootstrap distribution of each (no random numbers): "
        "a few extreme sessions cannot move the result."
    )


def _check_rows(evaluation: Evaluation) -> list[tuple[str | Mark, ...]]:
    quality = evaluation.quality
    rows = [_sample_row(evaluation)]
    if quality.sample_ratio is not None:
        tone = {"ok": Tone.GOOD, "warning": Tone.UNCLEAR}.get(quality.sample_ratio.status.value, Tone.BAD)
        split = f"{quality.control.sessions:,} control, {quality.treatment.sessions:,} treatment"
        rows.append(("Split as declared", split, Mark(tone=tone, text=quality.sample_ratio.status.value)))
    arms = [("control", quality.control), ("treatment", quality.treatment)]
    counted: list[tuple[str, list[tuple[str, int, int]]]] = [
        ("Sessions with a value", [(name, arm.sessions - arm.missing_primary, arm.sessions) for name, arm in arms]),
        (
            "Responses counted exactly",
            [(n, arm.responses - arm.unreliable_responses, arm.responses) for n, arm in arms],
        ),
        (
            "Sessions with all prices",
            [(name, arm.sessions - arm.unpriced_sessions, arm.sessions) for name, arm in arms],
        ),
    ]
    if isinstance(evaluation.experiment.binding, GitCommit | Branch):
        counted += [
            ("No changes beside the commit", [(n, arm.sessions - arm.dirty_sessions, arm.sessions) for n, arm in arms]),
            ("Commit not inferred", [(n, arm.sessions - arm.inferred_commits, arm.sessions) for n, arm in arms]),
        ]
    return rows + [_completeness_row(check, shares) for check, shares in counted]


def _sample_row(evaluation: Evaluation) -> tuple[str | Mark, ...]:
    primary, planned = evaluation.primary, evaluation.quality.planned_n
    smallest = min(primary.control.n, primary.treatment.n)
    counts = f"{primary.control.n:,} control, {primary.treatment.n:,} treatment"
    if planned is None:
        return "Sessions", f"{counts}; no number was planned", Mark(tone=Tone.NEUTRAL, text="open")
    reached = smallest >= planned
    state = Mark(tone=Tone.GOOD, text="reached") if reached else Mark(tone=Tone.UNCLEAR, text="not reached")
    return "Planned sessions", f"{counts}; {planned:,} planned per arm", state


def _completeness_row(check: str, shares: Sequence[tuple[str, int, int]]) -> tuple[str | Mark, ...]:
    words = ", ".join(f"{name} {good:,} of {total:,}" for name, good, total in shares)
    worst = min((good / total for _, good, total in shares if total), default=1.0)
    if worst == 1:
        return check, words, Mark(tone=Tone.GOOD, text="complete")
    tone = Tone.NEUTRAL if worst >= 0.95 else Tone.UNCLEAR
    return check, words, Mark(tone=tone, text=f"{100 * worst:.0f} %" if worst < 0.995 else "almost complete")


def _excluded(evaluation: Evaluation) -> Block:
    total = sum(evaluation.excluded.values())
    candidates = evaluation.quality.candidates
    if not total:
        return components.paragraph(f"None of the {candidates:,} sessions in scope was left out.")
    rows = [(reason, f"{count:,}") for reason, count in evaluation.excluded.items()]
    caption = f"{total:,} of {candidates:,} sessions in scope were left out"
    return components.table(["reason", "sessions"], rows, caption=caption, numeric=(1,))


def _all_results(evaluation: Evaluation) -> list[tuple[str, MetricResult]]:
    results = [evaluation.primary, *(guardrail.result for guardrail in evaluation.guardrails), *evaluation.secondary]
    suffix = {Role.PRIMARY: " (primary)", Role.GUARDRAIL: " (guardrail)", Role.SECONDARY: ""}
    return [(f"{result.label}{suffix[result.role]}", result) for result in results]


def _forest_row(evaluation: Evaluation, name: str, result: MetricResult) -> ForestRow:
    percent = _percent(result)
    limit = _target(evaluation) if result.role is Role.PRIMARY else None
    for guardrail in evaluation.guardrails:
        if guardrail.result is result:
            rising = guardrail.spec.regression_direction is Direction.INCREASE
            limit = abs(guardrail.spec.threshold_pct) * (1 if rising else -1)
    return ForestRow(
        label=name,
        change=_change(result),
        estimate=percent.estimate,
        low=percent.low,
        high=percent.high,
        limit=limit,
    )


def _segment_row(segment: Segment) -> ForestRow:
    percent = _percent(segment.result)
    return ForestRow(
        label=_segment_name(segment),
        change=_change(segment.result),
        estimate=percent.estimate,
        low=percent.low,
        high=percent.high,
    )


def _why_no_segment(segment: Segment) -> str:
    control, treatment = segment.result.control.n, segment.result.treatment.n
    if not control or not treatment:
        return f"Only {'control' if control else 'treatment'} sessions" if control or treatment else "No session"
    if segment.result.effect.insufficient is not None:
        return "Too few sessions to compare"
    return _why_no_percent(segment.result).removesuffix(".")


def _segment_name(segment: Segment) -> str:
    counts = f"{segment.result.control.n:,} and {segment.result.treatment.n:,} sessions"
    return f"{segment.dimension}: {segment.value}\n({counts})"


def _effect_cells(name: str, result: MetricResult) -> tuple[str | Mark, ...]:
    before, after = _centres(result)
    percent, difference = result.effect.percent, result.effect.difference
    if percent is not None:
        size, interval = percent_text(percent.estimate), interval_text(percent.low, percent.high)
    elif difference is not None:
        low, high = (_difference_text(value, result.unit) for value in (difference.low, difference.high))
        size, interval = _difference_text(difference.estimate, result.unit), f"{low.removesuffix(_POINTS)} to {high}"
    else:
        return name, before, after, "\u2013", "\u2013", Mark(tone=Tone.NEUTRAL, text="no comparison")
    change = _change(result)
    return name, before, after, size, interval, Mark(tone=_CHANGE_TONES[change], text=change.value)


def _difference_text(value: float, unit: str) -> str:
    if math.isinf(value):
        return "no limit"
    size = f"{100 * abs(value):.1f}{_POINTS}" if unit == "share" else _value(abs(value), unit)
    return size if value == 0 else f"{'+' if value > 0 else _MINUS}{size}"


def _effect_notes(results: Sequence[tuple[str, MetricResult]]) -> Block:
    missing = [f"{name}: {_why_no_percent(result)}" for name, result in results if result.effect.percent is None]
    return components.bullets(missing) if missing else components.nothing()


def _guardrail_table(evaluation: Evaluation) -> Block:
    if not evaluation.guardrails:
        return components.paragraph("No guardrail was set.")
    rows = [
        (
            item.result.label,
            _guardrail_rule(item),
            "\u2013" if item.p_adjusted is None else f"{item.p_adjusted:.2g}",
            Mark(tone=_STATUS_TONES[item.status], text=item.status.value),
        )
        for item in evaluation.guardrails
    ]
    return components.table(
        ["guardrail", "rule", "p of harm, adjusted", "state"], rows, caption="Guardrails", numeric=(2,)
    )


def _mean_paragraph(primary: MetricResult) -> Block:
    if primary.mean_effect is None:
        return components.nothing()
    return components.paragraph(_readable(primary.mean_effect.sentence), label="By the mean.")


def _change(result: MetricResult) -> Change:
    interval = result.effect.percent or result.effect.difference
    rising = result.better is Direction.INCREASE
    if interval is not None and interval.low > 0:
        return Change.BETTER if rising else Change.WORSE
    if interval is not None and interval.high < 0:
        return Change.WORSE if rising else Change.BETTER
    return Change.UNCLEAR


def _percent(result: MetricResult) -> Interval:
    percent = result.effect.percent
    if percent is None:
        raise ValueError(f"{result.label} has no percent change.")
    return percent


def _why_no_percent(result: MetricResult) -> str:
    return result.effect.insufficient or result.effect.percent_undefined or "there is no percent change."


def _centres(result: MetricResult) -> tuple[str, str]:
    if result.kind is MetricKind.PROPORTION:
        return _value(result.control.mean, "share"), _value(result.treatment.mean, "share")
    return _value(result.control.median, result.unit), _value(result.treatment.median, result.unit)


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "no value"
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit in _SPELT_UNITS:
        digits = f"{value:#.3g}".removesuffix(".") if 0.001 <= abs(value) < 1000 else f"{value:,.3g}"
        return f"{f'{value:,.0f}' if abs(value) >= 1000 else digits}\N{NO-BREAK SPACE}{unit}"
    return format_number(value)


def _target(evaluation: Evaluation) -> float | None:
    criterion = evaluation.experiment.success_criterion
    if not isinstance(criterion, Delta):
        return None
    return abs(criterion.target_pct) * (1 if criterion.direction is Direction.INCREASE else -1)


def _level_words(evaluation: Evaluation) -> str:
    return f"{100 * (1 - evaluation.alpha):g} % interval"


def _readable(sentence: str) -> str:
    """Return a computed sentence as print wants it: metrics by their labels, true minus signs, percents unbroken."""
    named = label_metrics(sentence)
    return _capitalised(_HYPHEN_MINUS.sub("\N{MINUS SIGN}", _PERCENT.sub("\N{NO-BREAK SPACE}%", named)))


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%-d %B %Y")
