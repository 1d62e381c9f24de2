"""Sections of the conclusion report, from evaluations that end differently."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from experiment_cases import judge_values, make_experiment

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.model import Branch, Delta, DesignKind, Direction, GuardrailSpec, Metric, State
from kaizen_analytics.experiments.evaluation import Caution, CautionKind, Segment
from kaizen_analytics.experiments.plan import Plan, Start
from kaizen_analytics.pages import conclusion

if TYPE_CHECKING:
    from kaizen_analytics.experiments.evaluation import Evaluation

END_MS = 1_000_000_000
START = Start(started_at_ms=0, window_start_ms=0, window_end_ms=END_MS)
CONTROL = [100.0 + 2 * step for step in range(40)]
EXPERIMENT = make_experiment(id="e", state=State.CONCLUDED)
OTHERS = [
    {"tool_loops": float(number % 2 * offset), "files_per_session": float(1 + number % 3)}
    for number in range(6)
    for offset in range(2)
]


def evaluate(treatment: list[float], *, start: Start = START, assigned: bool = True, **changes: object) -> Evaluation:
    plan = Plan(design=DesignKind.FIXED, started=start)
    experiment = replace(EXPERIMENT, **changes)
    return judge_values(
        experiment, plan, (CONTROL, treatment), start, as_of_ms=END_MS, assigned=assigned, columns=OTHERS
    )


@pytest.mark.parametrize(
    ("factor", "tone", "headline"),
    [(0.5, "good", "Ship"), (2.0, "bad", "Do not ship"), (0.95, "unclear", "Do not decide yet")],
)
def test_the_box_has_the_decision_as_its_headline(factor: float, tone: str, headline: str) -> None:
    target = Delta(direction=Direction.DECREASE, target_pct=-10.0)
    box = conclusion.decision(evaluate([value * factor for value in CONTROL], success_criterion=target))
    assert f'<section class="callout {tone}"' in box.html
    assert f"</span>{headline}</p>" in box.html
    assert box.markdown.startswith(f"> **{headline}**\n")


def test_a_retrospective_experiment_says_that_its_rule_came_after_the_data() -> None:
    late = replace(START, retrospective=True)
    plain = conclusion.decision(evaluate([value / 2 for value in CONTROL], start=late)).plain
    assert "the rule was chosen after the data" in plain


def test_the_box_warns_of_the_data() -> None:
    doubtful = evaluate([value / 2 for value in CONTROL])
    warned = replace(doubtful, quality=replace(doubtful.quality, cautions=(Caution(kind=CautionKind.RECOMPUTED),)))
    assert "Warning. Recomputed from the lake." in conclusion.decision(warned).plain
    assert "Warning." not in conclusion.decision(doubtful).plain


def test_segments_that_cannot_be_compared_are_listed_by_the_reason() -> None:
    evaluation = evaluate([value / 2 for value in CONTROL])
    primary = evaluation.primary
    nobody = replace(primary.effect, percent=None, difference=None)
    arm = replace(primary.treatment, n=0)
    lonely = replace(primary, effect=nobody, treatment=arm)
    few = replace(primary, effect=nobody)
    segments = tuple(
        Segment(dimension="agent", value=value, result=result)
        for value, result in (("codex", lonely), ("cursor", lonely), ("claude_code", few))
    )
    assert conclusion.segments(replace(evaluation, segments=segments)).plain.splitlines() == [
        "- Only control sessions: agent codex, agent cursor.",
        "- Too few sessions to compare: agent claude_code.",
    ]


def test_checks_of_commits_belong_to_arms_that_are_commits() -> None:
    tagged = evaluate([value / 2 for value in CONTROL])
    branches = Branch(control_branch="main", treatment_branch="short")
    bound = replace(tagged, experiment=replace(tagged.experiment, binding=branches))
    assert "Commit not inferred" in conclusion.trust(bound).plain
    assert "Commit not inferred" not in conclusion.trust(tagged).plain


def test_a_metric_without_a_percent_change_shows_its_difference() -> None:
    loops = next(
        line for line in conclusion.effects(evaluate(CONTROL)).plain.splitlines() if line.startswith("Tool loops")
    )
    assert "no percent" not in loops
    assert "%" not in loops


def test_sentences_use_labels_not_names_of_the_store() -> None:
    guardrail = GuardrailSpec(metric=Metric.FILES_PER_SESSION, regression_direction=Direction.INCREASE, threshold_pct=5)
    block = conclusion.decision(evaluate([value / 2 for value in CONTROL], guardrails=(guardrail,)))
    assert "FilesPerSession" not in block.plain
    assert "Files per session (guardrail): 0.0 %" in block.plain


def test_too_few_sessions_are_said_everywhere_and_draw_nothing() -> None:
    evaluation = evaluate([100.0, 110.0])
    assert "not known" in conclusion.decision(evaluation).plain
    assert "<svg" not in conclusion.effects(evaluation).html
    assert "too few sessions" in conclusion.course(evaluation).plain
    assert conclusion.shift(evaluate([])).plain == "One arm has no value, so there is no shift to draw."


def test_every_section_of_every_outcome_can_be_made() -> None:
    sections = (
        conclusion.heading,
        conclusion.decision,
        conclusion.tried,
        conclusion.trust,
        conclusion.effects,
        conclusion.shift,
        conclusion.course,
        conclusion.segments,
        conclusion.method,
        conclusion.provenance,
    )
    for treatment in ([], [1.0], [value / 2 for value in CONTROL], [0.0] * 40):
        evaluation = evaluate(treatment)
        for section in sections:
            block = section(evaluation)
            assert block.html
            assert block.markdown
            assert block.plain


def test_the_time_of_a_report() -> None:
    assert conclusion.parse_now("1970-01-02T00:00:00Z") == 86_400_000
    assert conclusion.parse_now("1970-01-02T01:00:00+01:00") == 86_400_000
    assert conclusion.parse_now("") > 1_700_000_000_000


@pytest.mark.parametrize("text", ["yesterday", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"])
def test_a_time_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected ISO 8601 with a zone"):
        conclusion.parse_now(text)
