"""The sections of the conclusion report, each a function from an `Evaluation` to a block.

Every sentence is computed from the evaluation. The notebook `10_experiment_conclusion` calls them in order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.metrics import REGISTRY, MetricKind
from kaizen_analytics.core.model import Branch, Classification, Delta, Direction, GitCommit
from kaizen_analytics.core.times import DAY_MS, read_clock
from kaizen_analytics.core.words import (
    capitalised,
    format_change,
    format_day,
    format_difference,
    format_given,
    format_interval,
    format_minute,
    format_moment,
    format_number,
    format_share,
    format_value,
    join_lines,
)
from kaizen_analytics.experiments.decide import GuardrailStatus, Headline, Verdict
from kaizen_analytics.experiments.evaluation import Evaluation, GuardrailResult, MetricResult, Role, Segment
from kaizen_analytics.pages import blocks, charts, effect_text, plans, sentences
from kaizen_analytics.pages.blocks import Block, Mark, Tone
from kaizen_analytics.pages.charts import ForestRow, Movement, Span
from kaizen_analytics.pages.documents import evaluation_document

if TYPE_CHECKING:
    from collections.abc import Sequence


_MOST_SPANS = 70
"""Days that a chart shows one by one; beyond that, weeks."""
_LARGEST = 5
"""Sessions of each arm that the page names."""
_STATUS_TONES = {
    GuardrailStatus.PASSED: Tone.GOOD,
    GuardrailStatus.VIOLATED: Tone.BAD,
    GuardrailStatus.UNRESOLVED: Tone.UNCLEAR,
}
_CHANGE_TONES = {Movement.BETTER: Tone.GOOD, Movement.WORSE: Tone.BAD, Movement.UNCLEAR: Tone.NEUTRAL}


_BOXED = ("Drift", "Cause", "History", "Why", "Target", "Note", "Warning", "Next")
"""What the first box says below the headline, the design and the large numbers, in this order."""


def parse_now(text: str) -> int:
    """Return the time that a report is to speak for, in milliseconds since the Unix epoch; '' means the present.

    Raises:
        ConfigError: the text is not a time with a zone.

    >>> parse_now("2026-01-31T00:00:00Z")
    1769817600000
    """
    if not text:
        return read_clock()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigError(f"The time is {text!r}; expected ISO 8601 with a zone, such as 2026-01-31T00:00:00Z.")
    return round(moment.timestamp() * 1000)


def heading(evaluation: Evaluation) -> Block:
    """Return the title of the report.

    >>> heading(evaluation).plain.splitlines()[0]
    'Ask for a plan first'
    """
    window = evaluation.window
    days = f"{format_day(window.start_ms)} to {format_day(window.end_ms)}"
    return blocks.title(
        evaluation.experiment.name,
        f"Experiment conclusion \u00b7 {evaluation.experiment.state.value} \u00b7 sessions from {days}",
    )


def decision(evaluation: Evaluation) -> Block:
    """Return the first box: what to do and why, how large the effect is, every guardrail, and the rule.

    >>> decision(evaluation).plain.splitlines()[0]
    '[?] Do not decide yet'
    """
    told = entries(evaluation)
    rule = dict(told)["Rule"]
    if evaluation.history is not None:  # the picture and the drift belong on the first screen, of a phone too
        told = [part for entry in told for part in _split_design(entry)]
    return blocks.callout(
        charts.TONES[evaluation.decision.headline],
        sentences.headline(evaluation.decision, evaluation.verdict),
        blocks.paragraph(f"{capitalised(sentences.reason(evaluation.decision, evaluation.verdict))}."),
        *_labelled(told, "Design"),
        blocks.tiles(_tiles(evaluation)),
        _placebo(evaluation),
        *(block for label in _BOXED for block in _labelled(told, label)),
        blocks.paragraph(f"{rule}. {sentences.RULE}", label="Rule.", quiet=True),
    )


def _split_design(entry: tuple[str, str]) -> list[tuple[str, str]]:
    label, text = entry
    if label != "Design":
        return [entry]
    first, _, rest = text.partition(". ")
    return [(label, f"{first}."), ("Cause", rest)]


def _labelled(told: Sequence[tuple[str, str]], label: str) -> list[Block]:
    return [_told(text, f"{label}.") for about, text in told if about == label]


def _told(text: str, label: str) -> Block:
    """Return a paragraph in which a command at the end stands as code, to be copied."""
    words, colon, command = text.partition(": kaizen-analytics ")
    if not command or set("`<") & set(text):  # the name of an experiment may be anything
        return blocks.paragraph(text, label=label)
    return blocks.paragraph(f"{words}: `{colon[2:]}{command}`", label=label, code=True)


def _placebo(evaluation: Evaluation) -> Block:
    """Return the picture of the change among the changes at other dates of the history; nothing without one."""
    found = evaluation.history
    if found is None or found.found.placebo is None:
        return Block()
    told = dict(sentences.history(evaluation))["Placebo"]
    return blocks.figure(charts.placebo(found.found.placebo), f"{told} The large dot is the change.")


def entries(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return what there is to know about a decision, in lines: what each is about, and its text.

    >>> [label for label, _ in entries(evaluation)][:3]
    ['Decision', 'Design', 'Target']
    """
    verdict, warnings = evaluation.verdict, sentences.warnings(evaluation)
    judged = sentences.judgement(evaluation, brief=evaluation.percent is not None)
    start = evaluation.plan.started
    fixed = "now" if start is None else format_moment(start.started_at_ms)
    plan = f"{evaluation.design} design, alpha {evaluation.alpha:g}"
    # that the target is reached is no reason to ship
    label = "Why" if evaluation.percent is None or verdict is Verdict.INVALID else "Target"
    entries = [
        ("Decision", sentences.decision(evaluation.decision, verdict)),
        ("Design", f"{plans.grade(evaluation.decision)}."),
        *([] if any(judged[1:] in warning for warning in warnings) else [(label, judged)]),
        ("Rule", f"{plans.criterion(evaluation.experiment)}, fixed on {fixed}; {plan}"),
        *([] if evaluation.primary.effect.difference is None else _describe_effect(evaluation)),
        *(
            ("Guardrail", f"{item.status.value}. {_guardrail_words(item, evaluation)}")
            for item in evaluation.guardrails
        ),
        *sentences.history(evaluation),
        ("Sessions", _describe_sessions(evaluation)),
        *(("Tasks", text) for text in [sentences.tasks(evaluation)] if text),
        *(("Note", flag) for flag in sentences.flags(evaluation)),
        *(("Warning", warning) for warning in warnings),
        *(("Next", action) for action in sentences.next_actions(evaluation)),
    ]
    return [(label, capitalised(join_lines(text))) for label, text in entries]


def tried(evaluation: Evaluation) -> Block:
    """Return what was changed, why, and how it was planned to be judged.

    >>> tried(evaluation).plain.splitlines()[0]
    'Hypothesis: A plan before the first edit saves tokens.'
    """
    return blocks.facts(plans.describe(evaluation.experiment, evaluation.plan))


def trust(evaluation: Evaluation) -> Block:
    """Return the checks of the data, and which sessions were left out and why.

    >>> trust(evaluation).plain.splitlines()[-1]
    'None of the 90 sessions in scope was left out.'
    """
    checks = blocks.table(["check", "result", "state"], _check_rows(evaluation), caption="Checks of the data")
    return blocks.stack(checks, _excluded(evaluation))


def effects(evaluation: Evaluation) -> Block:
    """Return the effect on every metric, as a forest plot and as a table of the same numbers.

    >>> effects(evaluation).html.count("<figure>")
    1
    """
    results, rows = _all_results(evaluation), forest_rows(evaluation)
    level = f"{_level(evaluation)} interval"
    caption = (
        f"Percent change of the treatment against the control with its {level}. Triangle up: better; triangle down: "
        "worse; circle: no clear change. The dashed line is no change, a short upright line the target or the "
        "tolerated change, an arrow an interval that goes on."
    )
    plot = blocks.figure(charts.forest(rows), caption) if rows else Block()
    return blocks.stack(
        plot, metric_table(evaluation), _effect_notes(evaluation, results), _guardrail_table(evaluation)
    )


def forest_rows(evaluation: Evaluation) -> list[ForestRow]:
    """Return the percent change of every metric that has one, with its target or tolerated change.

    >>> [row.label for row in forest_rows(evaluation)][:1]
    ['Tokens per session (primary)']
    """
    limits = {evaluation.primary.metric: _target(evaluation)}
    for spec in (item.spec for item in evaluation.guardrails):
        tolerated = Delta(direction=spec.regression_direction, target_pct=spec.threshold_pct)
        limits[spec.metric] = tolerated.signed_pct
    return [
        ForestRow.of(name, result.effect.percent, _reading(result), limits.get(result.metric))
        for name, result in _all_results(evaluation)
        if result.effect.percent is not None
    ]


def metric_table(evaluation: Evaluation) -> Block:
    """Return every metric that was compared: both arms, the change with its interval, and how to read it.

    >>> metric_table(evaluation).plain.splitlines()[2].partition("  ")[0]
    'Tokens per session (primary)'
    """
    return blocks.table(
        ["metric", "control", "treatment", "change", f"{_level(evaluation)} interval", "reading"],
        [_effect_cells(evaluation, name, result) for name, result in _all_results(evaluation)],
        caption="Every metric; where there is no percent change, the difference",
        numeric=(1, 2, 3, 4),
    )


def over_time(evaluation: Evaluation, sample: pl.DataFrame) -> Block:
    """Return both arms over time: daily medians and sessions, with the change or the start marked.

    >>> over_time(evaluation, sample).plain.partition(":")[0]
    'Tokens per session'
    """
    step_ms, spans = spans_of(evaluation, sample)
    if not spans:
        return blocks.paragraph("No session has a value yet.")
    dated = evaluation.history
    mark_ms, what = (evaluation.window.start_ms, "start") if dated is None else (dated.change_ms, "change")
    primary = evaluation.primary
    caption = (
        f"{primary.label}: the median of each {'day' if step_ms == DAY_MS else 'week'} and the number of sessions "
        f"behind it (UTC). The dashed upright line is the {what}."
    )
    return blocks.figure(charts.over_time(spans, step_ms=step_ms, change_ms=mark_ms, unit=primary.unit), caption)


def spans_of(evaluation: Evaluation, sample: pl.DataFrame) -> tuple[int, list[Span]]:
    """Return the length of a span in milliseconds, a day or a week, and the spans of both arms in the judged sample.

    >>> spans_of(evaluation, sample)[0]
    86400000
    """
    judged = _judged(evaluation, sample)
    starts = judged["started_at_ms"]
    days = (int(str(starts.max())) - int(str(starts.min()))) // DAY_MS if judged.height else 0
    step_ms = DAY_MS if days < _MOST_SPANS else 7 * DAY_MS
    daily = (
        judged.group_by(pl.col("started_at_ms") // step_ms * step_ms, "variant")
        .agg(pl.col("value").median(), pl.len())
        .sort("variant", "started_at_ms")
    )
    return step_ms, [
        Span(arm=arm.lower(), start_ms=start_ms, median=median, sessions=sessions)
        for start_ms, arm, median, sessions in daily.iter_rows()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _LargeSession:
    """One of the sessions that weigh most: its arm, when it started, its value, and its share of the arm's total."""

    session_id: str
    arm: str
    started_at_ms: int
    value: float
    share: float | None


def largest(evaluation: Evaluation, sample: pl.DataFrame) -> list[_LargeSession]:
    """Return the sessions of each arm with the largest values: those that move its mean most.

    >>> [item.arm for item in largest(evaluation, sample)][4:6]
    ['control', 'treatment']
    """
    found = []
    for arm in (Classification.CONTROL, Classification.TREATMENT):
        own = _judged(evaluation, sample).filter(pl.col("variant") == arm.value)
        total = own["value"].sum()
        top = own.sort("value", "session_id", descending=[True, False]).head(_LARGEST)
        found += [
            _LargeSession(
                session_id=session,
                arm=arm.value.lower(),
                started_at_ms=started_at_ms,
                value=value,
                share=value / total if total else None,
            )
            for session, started_at_ms, value in top.select("session_id", "started_at_ms", "value").iter_rows()
        ]
    return found


def behind(evaluation: Evaluation, sessions: Sequence[_LargeSession]) -> Block:
    """Return the largest sessions of both arms as a table.

    >>> behind(evaluation, []).plain
    'No session has a value yet.'
    """
    primary = evaluation.primary
    if not sessions:
        return blocks.paragraph("No session has a value yet.")
    if primary.kind is MetricKind.PROPORTION:
        return blocks.paragraph(f"{primary.label} is 0 or 1 for each session, so no session weighs more than another.")
    return blocks.table(
        ["session", "arm", "started", primary.label.lower(), "share of its arm"],
        [
            (
                item.session_id,
                item.arm,
                format_minute(item.started_at_ms),
                format_value(item.value, primary.unit),
                "\u2013" if item.share is None else format_share(item.share),
            )
            for item in sessions
        ],
        caption="The largest sessions of each arm; 'kaizen-analytics sessions show SESSION' lists one",
        numeric=(3, 4),
    )


def _judged(evaluation: Evaluation, sample: pl.DataFrame) -> pl.DataFrame:
    """Return the sessions of both arms that have a value of the success metric, which is the column `value`."""
    arms = [Classification.CONTROL.value, Classification.TREATMENT.value]
    value = pl.col(evaluation.primary.metric.column).alias("value")
    return sample.filter(pl.col("variant").is_in(arms)).with_columns(value).drop_nulls("value")


def shift(evaluation: Evaluation) -> Block:
    """Return where in the distribution the arms differ.

    >>> shift(evaluation).plain.partition(":")[0]
    'Tokens per session'
    """
    primary = evaluation.primary
    if primary.kind is MetricKind.PROPORTION:
        return blocks.paragraph(f"{primary.label} is 0 or 1 for each session, so its share says everything.")
    if len(evaluation.curves) < 2:
        return blocks.paragraph("One arm has no value, so there is no shift to draw.")
    caption = (
        f"{primary.label}: the share of sessions at or below each value. Where the treatment's line lies further left, "
        "its sessions have lower values; the dots are the medians. The outermost 1 % on each side is not drawn."
    )
    figure, other = blocks.figure(charts.distribution(evaluation.curves, primary.unit), caption), primary.companion
    if other is None or other.difference is None:
        return figure
    return blocks.stack(figure, blocks.paragraph(effect_text.effect(other), label=f"By the {other.kind.value}."))


def course(evaluation: Evaluation) -> Block:
    """Return how the estimate developed as sessions came in.

    >>> course(evaluation).html.startswith("<figure>")
    True
    """
    points = [point for point in evaluation.series if point.estimate is not None]
    if len(points) < 2:
        return blocks.paragraph("There are too few sessions with a percent change to show a course.")
    safe = (
        "The band allows for looking at any time."
        if evaluation.primary.effect.design.sequential
        else "Only the last value counts: the plan was one look at the end, and the band does not allow for more."
    )
    caption = (
        f"{evaluation.primary.label}: percent change from all sessions so far, with its interval. {safe} "
        f"{'The dotted line is the target.' if _target(evaluation) is not None else ''}"
    )
    return blocks.figure(charts.course(points, _target(evaluation)), caption.strip())


def segments(evaluation: Evaluation) -> Block:
    """Return the primary metric for each agent, model and workspace.

    >>> segments(evaluation).plain.partition(":")[0]
    'All sessions share one agent, one model and one workspace'
    """
    if not evaluation.segments:
        return blocks.paragraph("All sessions share one agent, one model and one workspace: there are no segments.")
    rows = [
        ForestRow.of(
            f"{item.dimension}: {item.value}\n({found.control.n:,} and {found.treatment.n:,} sessions)",
            found.effect.percent,
            _reading(found),
        )
        for item in evaluation.segments
        if (found := item.result).effect.percent is not None
    ]
    caption = (
        f"{evaluation.primary.label} in each segment, as one fixed look each. Marked are those that stand out "
        "after allowing for their number: hints for the next experiment, no conclusions."
    )
    plot = blocks.figure(charts.forest(rows), caption) if rows else Block()
    names: dict[str, list[str]] = {}
    for item in evaluation.segments:
        if item.result.effect.percent is None:
            names.setdefault(_why_no_segment(item), []).append(f"{item.dimension} {item.value}")
    left = [f"{why}: {', '.join(found)}." for why, found in names.items()]
    return blocks.stack(plot, blocks.bullets(left))


def method(evaluation: Evaluation) -> Block:
    """Return how the numbers were computed and what they cannot say.

    >>> method(evaluation).plain.partition(":")[0]
    '- Tokens per session'
    """
    primary = evaluation.primary
    definition = REGISTRY[primary.metric]
    facts = [
        f"{definition.label}: {definition.definition} A session has no value when {definition.null_when}.",
        _estimator_words(primary),
        "Guardrails are adjusted for their number (Holm), secondary metrics and segments by Benjamini and Hochberg.",
        *effect_text.notes(primary.effect),
    ]
    return blocks.bullets([capitalised(fact) for fact in facts])


def provenance(evaluation: Evaluation) -> Block:
    """Return what the numbers were computed from.

    >>> provenance(evaluation).plain.splitlines()[0]
    'experiment: plan-first'
    """
    items = [("experiment", evaluation.experiment.id), ("evaluated as of", format_moment(evaluation.as_of_ms))]
    for name, value in evaluation.provenance.items():
        if name == "data_as_of_ms" and value is not None:
            items.append(("latest session started", format_moment(int(value))))
        elif value is not None:
            items.append((name.replace("_", " "), str(value)))
    return blocks.facts(items)


def document(evaluation: Evaluation) -> Block:
    """Return the whole evaluation for `report.json`; it shows nothing.

    >>> document(evaluation).data["name"]
    'Ask for a plan first'
    """
    return Block(data=evaluation_document(evaluation))


def _mark(evaluation: Evaluation, tone: Tone, text: str) -> str | Mark:
    """Return a mark; only a page that says "ship" has good ones, so that no green contradicts its first box."""
    if tone in (Tone.GOOD, Tone.NEUTRAL) and evaluation.decision.headline is not Headline.SHIP:
        return text
    return Mark(tone=tone, text=text)


def _tiles(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    primary = evaluation.primary
    # the unit stands in the label, so that the two numbers fit on one line
    shown = [format_value(value, primary.unit) for value in primary.centres]
    before, after = (value.removesuffix(f"\N{NO-BREAK SPACE}{primary.unit}") for value in shown)
    unit = "" if [before, after] == shown else f" ({primary.unit})"
    kind = effect_text.STATISTICS[primary.effect.kind]
    percent = evaluation.percent
    change = ("Change", "not known", "")
    if percent is not None:
        limits = f"{_level(evaluation)} interval {format_interval(percent.low, percent.high)}"
        change = ("Change", format_change(percent.estimate), limits)
    counts = f"{primary.control.n:,} and {primary.treatment.n:,} {primary.per.plural}"
    return [
        (f"{primary.label}{unit}, {kind}", f"{before} \u2192 {after}", f"control \u2192 treatment, {counts}"),
        change,
        _target_tile(evaluation),
        *(_guardrail_tile(item) for item in evaluation.guardrails),
    ]


def _guardrail_tile(item: GuardrailResult) -> tuple[str, str, str]:
    """Return a guardrail with its number: what it changed by, how far it may, and whether that is shown."""
    spec, found = item.spec, item.result.effect.percent
    side = "higher" if spec.regression_direction is Direction.INCREASE else "lower"
    tolerated = f"{item.status.value.lower()}: at most {format_given(abs(spec.threshold_pct))} {side} is tolerated"
    if found is None:
        return f"{item.result.label} (guardrail)", "not known", tolerated
    limits = format_interval(found.low, found.high)
    return f"{item.result.label} (guardrail)", format_change(found.estimate), f"{limits}; {tolerated}"


def _target_tile(evaluation: Evaluation) -> tuple[str, str, str]:
    target, confidence = _target(evaluation), evaluation.confidence_at_target
    if target is None:
        value = evaluation.experiment.success_criterion
        side = "at least" if evaluation.primary.better is Direction.INCREASE else "at most"
        return "Target", f"{side} {format_number(getattr(value, 'metric_value', math.nan))}", evaluation.primary.unit
    wanted = f"at least {format_given(abs(target))} {'higher' if target > 0 else 'lower'}"
    if confidence is None:
        return "Target", wanted, ""
    shown = "over 99 %" if confidence > 0.99 else "under 1 %" if confidence < 0.01 else f"{100 * confidence:.0f} %"
    return "Target", wanted, f"confidence that it is reached, as a single look: {shown}"


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
        rows.append(("Split as declared", split, _mark(evaluation, tone, quality.sample_ratio.status.value)))
    if quality.tasks is not None:
        changed = quality.tasks.total is not None
        state = _mark(evaluation, *((Tone.UNCLEAR, "changed") if changed else (Tone.GOOD, "alike")))
        means = quality.tasks.control_sessions, quality.tasks.treatment_sessions
        shown = f"{format_number(means[0])} control, {format_number(means[1])} treatment"
        rows.append(("Sessions per task", shown, state))
    of_commits = isinstance(evaluation.experiment.binding, GitCommit | Branch)
    return rows + [_completeness_row(evaluation, *check) for check in _COUNTED[: None if of_commits else 3]]


_COUNTED = (
    ("Sessions with a value", "sessions", "missing_primary"),
    ("Responses counted exactly", "responses", "unreliable_responses"),
    ("Sessions with all prices", "sessions", "unpriced_sessions"),
    ("No changes beside the commit", "sessions", "dirty_sessions"),
    ("Commit not inferred", "sessions", "inferred_commits"),
)
"""Checks that count: what is checked, and the fields of an arm with all of them and with those that fall short. The
last two are about arms that commits or branches tell apart."""


def _sample_row(evaluation: Evaluation) -> tuple[str | Mark, ...]:
    primary, planned = evaluation.primary, evaluation.quality.planned_n
    smallest = min(primary.control.n, primary.treatment.n)
    counts = f"{primary.control.n:,} control, {primary.treatment.n:,} treatment"
    if planned is None:
        return "Sessions", f"{counts}; no number was planned", Mark(tone=Tone.NEUTRAL, text="open")
    reached = smallest >= planned
    state = _mark(evaluation, *((Tone.GOOD, "reached") if reached else (Tone.UNCLEAR, "not reached")))
    return "Planned sessions", f"{counts}; {planned:,} planned per arm", state


def _completeness_row(evaluation: Evaluation, check: str, whole: str, lacking: str) -> tuple[str | Mark, ...]:
    arms = {"control": evaluation.quality.control, "treatment": evaluation.quality.treatment}
    counts = [(name, getattr(arm, whole), getattr(arm, lacking)) for name, arm in arms.items()]
    words = ", ".join(f"{name} {total - short:,} of {total:,}" for name, total, short in counts)
    worst = min(((total - short) / total for _, total, short in counts if total), default=1.0)
    if worst == 1:
        return check, words, _mark(evaluation, Tone.GOOD, "complete")
    tone = Tone.NEUTRAL if worst >= 0.95 else Tone.UNCLEAR
    return check, words, Mark(tone=tone, text=f"{100 * worst:.0f} %" if worst < 0.995 else "almost complete")


def _excluded(evaluation: Evaluation) -> Block:
    total = sum(evaluation.excluded.values())
    candidates = evaluation.quality.candidates
    if not total:
        return blocks.paragraph(f"None of the {candidates:,} sessions in scope was left out.")
    rows = [(reason, f"{count:,}") for reason, count in evaluation.excluded.items()]
    caption = f"{total:,} of {candidates:,} sessions in scope were left out"
    return blocks.table(["reason", "sessions"], rows, caption=caption, numeric=(1,))


def _all_results(evaluation: Evaluation) -> list[tuple[str, MetricResult]]:
    known = [result for result in evaluation.secondary if result.control.n or result.treatment.n]
    results = [evaluation.primary, *(guardrail.result for guardrail in evaluation.guardrails), *known]
    suffix = {Role.PRIMARY: " (primary)", Role.GUARDRAIL: " (guardrail)", Role.SECONDARY: ""}
    return [(f"{result.label}{suffix[result.role]}", result) for result in results]


def _why_no_segment(segment: Segment) -> str:
    control, treatment = segment.result.control.n, segment.result.treatment.n
    if not control or not treatment:
        return f"Only {'control' if control else 'treatment'} sessions" if control or treatment else "No session"
    if segment.result.effect.difference is None:
        return "Too few sessions to compare"
    return effect_text.no_percent(segment.result.effect).removesuffix(".")


def _effect_cells(evaluation: Evaluation, name: str, result: MetricResult) -> tuple[str | Mark, ...]:
    before, after = (format_value(value, result.unit) for value in result.centres)
    form, found = format_change, result.effect.percent
    if found is None:
        form, found = partial(format_difference, unit=result.unit), result.effect.difference
    if found is None:
        return name, before, after, "\u2013", "\u2013", Mark(tone=Tone.NEUTRAL, text="no comparison")
    change = _reading(result)
    interval = format_interval(found.low, found.high, form)
    return name, before, after, form(found.estimate), interval, _mark(evaluation, _CHANGE_TONES[change], change.value)


def _reading(result: MetricResult) -> Movement:
    interval = result.effect.percent or result.effect.difference
    if interval is None or not result.is_clear:
        return Movement.UNCLEAR
    return Movement.BETTER if (interval.low > 0) == (result.better is Direction.INCREASE) else Movement.WORSE


def _effect_notes(evaluation: Evaluation, results: Sequence[tuple[str, MetricResult]]) -> Block:
    """Return why metrics have no percent change, each reason once; that of the success metric is in the first box."""
    names: dict[str, list[str]] = {}
    for name, result in results:
        if result.effect.percent is None:
            names.setdefault(effect_text.no_percent(result.effect).partition(". ")[0].removesuffix("."), []).append(
                name
            )
    said = evaluation.primary.effect.percent is None and next(iter(names))
    told = {reason: "not compared, for the reason at the top" if reason == said else reason for reason in names}
    return blocks.bullets(f"{', '.join(found)}: {told[reason]}." for reason, found in names.items())


def _guardrail_table(evaluation: Evaluation) -> Block:
    if not evaluation.guardrails:
        return blocks.paragraph("No guardrail was set.")
    rows = [
        (
            item.result.label,
            _guardrail_words(item, evaluation),
            "\u2013" if item.p_adjusted is None else f"{item.p_adjusted:.2g}",
            _mark(evaluation, _STATUS_TONES[item.status], item.status.value),
        )
        for item in evaluation.guardrails
    ]
    columns = ["guardrail", "what it shows", "p of harm, adjusted", "state"]
    return blocks.table(columns, rows, caption="Guardrails", numeric=(2,))


def _target(evaluation: Evaluation) -> float | None:
    criterion = evaluation.experiment.success_criterion
    return criterion.signed_pct if isinstance(criterion, Delta) else None


def _level(evaluation: Evaluation) -> str:
    return format_given(100 * (1 - evaluation.alpha))


def _guardrail_words(item: GuardrailResult, evaluation: Evaluation) -> str:
    """Return what a guardrail shows; a reason that the success metric has too is not given again."""
    if item.result.effect.difference is None and evaluation.primary.effect.difference is None:
        return f"{item.result.label}: not known, for the same reason."
    return sentences.guardrail(item)


def _describe_effect(evaluation: Evaluation) -> list[tuple[str, str]]:
    primary, delta = evaluation.primary, evaluation.delta
    before, after = (format_value(value, primary.unit) for value in primary.centres)
    percent = evaluation.percent
    change = "no percent change" if percent is None else format_change(percent.estimate)
    kind = effect_text.STATISTICS[primary.effect.kind]
    is_percent = isinstance(evaluation.experiment.success_criterion, Delta)
    wanted = (
        "" if delta is None else format_given(delta.target) if is_percent else format_value(delta.target, primary.unit)
    )
    target = f"; target {wanted}" if wanted else ""
    arms = f"{primary.label} ({kind}): {before} control, {after} treatment, {change}{target}"
    return [("Effect", arms), ("Interval", _describe_interval(evaluation))]


def _describe_interval(evaluation: Evaluation) -> str:
    effect = evaluation.primary.effect
    if (percent := evaluation.percent) is None:
        return effect_text.no_percent(effect)
    repeated = ", at every interim analysis" if effect.design.sequential else ""
    at_target = evaluation.confidence_at_target
    target = (
        ""
        if at_target is None
        else f"; confidence that the target is reached, as a single analysis: {100 * at_target:.0f}\N{NO-BREAK SPACE}%"
    )
    limits = format_interval(percent.low, percent.high)
    return f"{limits} ({_level(evaluation)} confidence{repeated}){target}"


def _describe_sessions(evaluation: Evaluation) -> str:
    quality = evaluation.quality
    planned = "" if quality.planned_n is None else f" of {quality.planned_n} planned per arm"
    arms = f"{quality.control.sessions} control, {quality.treatment.sessions} treatment{planned}"
    excluded = ", ".join(f"{count} {reason}" for reason, count in evaluation.excluded.items())
    return f"{arms}; excluded: {excluded}" if excluded else arms
