"""What runs from elsewhere show, as the page, the terminal and JSON."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core import codec
from kaizen_analytics.core.model import Direction
from kaizen_analytics.core.words import (
    capitalised,
    counted,
    format_change,
    format_given,
    format_interval,
    format_number,
    format_share,
)
from kaizen_analytics.experiments.decide import Grade, worst_of
from kaizen_analytics.pages import blocks, charts, effect_text, sentences
from kaizen_analytics.pages.blocks import Block
from kaizen_analytics.pages.documents import effect_document
from kaizen_analytics.pages.summary import tabulate_effect

if TYPE_CHECKING:
    from kaizen_analytics.experiments.foreign import ForeignGuardrail, ForeignResult


def foreign_page(found: ForeignResult, source: str) -> Block:
    """Return the decision, the effect and the runs behind it; `source` says where they come from, as a file's name.

    >>> import polars as pl
    >>> from kaizen_analytics.experiments.foreign import judge_runs
    >>> runs = pl.DataFrame({"arm": ["a", "b"] * 9, "cost": [9.0, 6.0] * 8 + [9.5, 6.5]})
    >>> foreign_page(judge_runs(runs, metric="cost"), "runs.csv").plain.splitlines()[0]
    'b against a'
    """
    control, treatment = found.arms
    arms = found.effect.control, found.effect.treatment
    left_out = ", ".join(f"{counted(count, 'run')} with {reason}" for reason, count in found.left_out.items())
    return blocks.stack(
        blocks.title(f"{treatment} against {control}", f"Runs from elsewhere \u00b7 {source}"),
        _decision(found),
        blocks.section("Effect"),
        _in_runs(tabulate_effect(found.effect)),
        *(
            _in_runs(blocks.paragraph(effect_text.effect(other), label="Beside it."))
            for other in [found.companion]
            if other
        ),
        _in_runs(blocks.bullets(effect_text.notes(found.effect))),
        blocks.section("Runs"),
        blocks.facts(
            [
                ("control", f"{control}, {counted(arms[0].n, 'run')}"),
                ("treatment", f"{treatment}, {counted(arms[1].n, 'run')}"),
                ("metric", found.metric),
                ("tasks that both arms ran", "" if found.paired_tasks is None else str(found.paired_tasks)),
                ("left out", left_out),
            ]
        ),
    )


def _decision(found: ForeignResult) -> Block:
    verdict, percent = found.judgement.verdict, found.effect.percent
    form = format_share if found.effect.kind.is_share else format_number
    is_median = found.effect.kind.value == "median"
    centres = [arm.median if is_median else arm.mean for arm in (found.effect.control, found.effect.treatment)]
    before, after = ("not known" if value is None else form(value) for value in centres)
    confidence = found.judgement.confidence_at_target
    level = f"{format_given(100 * found.effect.level)} interval"
    change = (
        ("Change", "not known", effect_text.no_percent(found.effect))
        if percent is None
        else ("Change", format_change(percent.estimate), f"{level} {format_interval(percent.low, percent.high)}")
    )
    target = f"confidence that it is reached: {format_share(confidence)}" if confidence is not None else ""
    side = "higher" if found.criterion.direction is Direction.INCREASE else "lower"
    size = abs(found.criterion.target_pct)
    wanted = f"at least {format_given(size)} {side}" if size else f"any {side}"
    return blocks.callout(
        charts.TONES[found.decision.headline],
        sentences.headline(found.decision, verdict),
        _in_runs(blocks.paragraph(f"{capitalised(sentences.reason(found.decision, verdict))}.")),
        blocks.paragraph(_design(found), label="Design."),
        blocks.tiles(
            [
                (found.metric, f"{before} \u2192 {after}", f"{found.arms[0]} \u2192 {found.arms[1]}"),
                change,
                ("Target", wanted, target),
                *(_guardrail_tile(item) for item in found.guardrails),
            ]
        ),
        blocks.paragraph(sentences.RULE, label="Rule.", quiet=True),
    )


def _guardrail_tile(item: ForeignGuardrail) -> tuple[str, str, str]:
    percent, side = item.effect.percent, item.spec.regression_direction
    worse = "higher" if side is Direction.INCREASE else "lower"
    tolerated = f"{item.status.value}: at most {format_given(abs(item.spec.threshold_pct))} {worse} is tolerated"
    if percent is None or worst_of(item.spec, percent) is None:
        return f"{item.metric} (guardrail)", "not known", tolerated
    limits = format_interval(percent.low, percent.high)
    return f"{item.metric} (guardrail)", format_change(percent.estimate), f"{limits}; {tolerated}"


def _design(found: ForeignResult) -> str:
    """Return how the arms came about, and what the runs cannot show."""
    pairs = "" if found.paired_tasks is None else f" Both arms ran the same {counted(found.paired_tasks, 'task')}."
    if found.decision.grade is Grade.RANDOMISED:
        return f"Randomised, as you say: the arms were drawn by lot, and the rule was fixed before the results.{pairs}"
    if pairs:
        return (
            f"Paired by task, not randomised.{pairs} Other tasks cannot explain a difference, but whatever else "
            "differed between the runs can: the version of the model, the time, the order."
        )
    return (
        "Not randomised: a table does not say how runs came into their arms. Harder tasks or other conditions in one "
        "arm would explain a difference as well."
    )


def foreign_document(found: ForeignResult, source: str) -> dict[str, Any]:
    """Return the result as JSON; the arguments are those of `foreign_page`.

    >>> import polars as pl
    >>> from kaizen_analytics.experiments.foreign import judge_runs
    >>> runs = pl.DataFrame({"arm": ["a", "b"] * 9, "cost": [9.0, 6.0] * 8 + [9.5, 6.5]})
    >>> foreign_document(judge_runs(runs, metric="cost"), "runs.csv")["verdict"]
    'degenerate'
    """
    verdict = found.judgement.verdict
    return {
        "name": f"{found.arms[1]} against {found.arms[0]}",
        "source": source,
        "columns": {"arm": found.arm, "metric": found.metric},
        "arms": {"control": found.arms[0], "treatment": found.arms[1]},
        "criterion": {"direction": found.criterion.direction.value, "target_pct": found.criterion.target_pct},
        "verdict": verdict.value,
        "headline": found.decision.headline.value,
        "decision": _in_words(sentences.decision(found.decision, verdict)),
        "grade": None if found.decision.grade is None else found.decision.grade.value,
        "design": _design(found),
        "confidence_at_target": found.judgement.confidence_at_target,
        "effect": effect_document(found.effect),
        "companion": None if found.companion is None else effect_document(found.companion),
        "guardrails": [
            {"metric": item.metric, "status": item.status.value, "percent": codec.plain(item.effect.percent)}
            for item in found.guardrails
        ],
        "paired_tasks": found.paired_tasks,
        "left_out": dict(found.left_out),
    }


def _in_words(text: str) -> str:
    """Return sentences about sessions as sentences about runs, whose clusters are tasks."""
    text = text.replace("cluster (workspace or user)", "task").replace("clusters (workspaces or users)", "tasks")
    return re.sub(r"\bsession(s?)\b", r"run\1", text.replace("Sessions of one cluster", "Runs of one task"))


def _in_runs(block: Block) -> Block:
    parts = [
        _in_words(part) if isinstance(part, str) else replace(part, caption=_in_words(part.caption))
        for part in block.parts
    ]
    return Block(html=_in_words(block.html), markdown=_in_words(block.markdown), parts=parts)
