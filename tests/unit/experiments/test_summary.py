"""The box that a terminal shows."""

from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest

from kaizen_analytics.experiments.assessment import assess
from kaizen_analytics.experiments.plan import Plan, PlanDesign, Start
from kaizen_analytics.experiments.summary import render_box, render_criterion
from kaizen_analytics.model import (
    Absolute,
    Delta,
    Direction,
    Experiment,
    GuardrailSpec,
    ManualTag,
    Metric,
    State,
)

EXPERIMENT = Experiment(
    id="e-1",
    name="Shorter\ninstructions",
    hypothesis="",
    change_description="",
    metric=Metric.TOKENS_PER_SESSION,
    binding=ManualTag(variant_field=""),
    duration_days=14,
    success_criterion=Delta(direction=Direction.DECREASE, target_pct=-20.0),
    state=State.CONCLUDED,
    created_at_ms=0,
    guardrails=(
        GuardrailSpec(
            metric=Metric.TOTAL_TOKENS_PER_SESSION, regression_direction=Direction.INCREASE, threshold_pct=5.0
        ),
    ),
)
START = Start(started_at_ms=0, window_start_ms=0, window_end_ms=1, retrospective=True)
VALUES = [100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 170.0]


@pytest.fixture
def box(make_frame: Callable[..., pl.DataFrame]) -> str:
    frame = make_frame(VALUES, [value / 2 for value in VALUES])
    plan = Plan(design=PlanDesign.FIXED, started=START)
    return render_box(assess(frame, EXPERIMENT, plan, START, as_of_ms=2, provenance={}))


def test_the_box_is_closed_on_all_sides(box: str) -> None:
    lines = box.splitlines()
    assert {len(line) for line in lines} == {100}
    assert lines[0].startswith("┌─ Shorter instructions (e-1) ─")
    assert all(line[0] == "│" and line[-1] == "│" for line in lines[1:-1])


def test_the_box_gives_decision_effect_interval_rule_and_guardrails(box: str) -> None:
    text = " ".join(box.replace("│", " ").split())
    assert "Decision Do not ship yet: the success metric improved" in text
    assert "Why met:" in text
    assert (
        "Rule success: tokens per session falls by at least 20 %, fixed on 1970-01-01T00:00:00Z; fixed design" in text
    )
    assert "Effect Tokens per session (median, tokens): 135 control, 67.5 treatment, -50.0 %" in text
    assert "(95 % confidence)" in text
    assert "Guardrail unresolved:" in text
    assert "Sessions 8 control, 8 treatment" in text
    assert "Note Retrospective: the rule was chosen after the data" in text


def test_the_criterion_in_words() -> None:
    rising = replace(
        EXPERIMENT,
        metric=Metric.SUCCESS_RATE,
        success_criterion=Delta(direction=Direction.INCREASE, target_pct=5.0),
    )
    value = replace(EXPERIMENT, success_criterion=Absolute(metric_value=900.0))
    assert render_criterion(rising) == "success: success rate rises by at least 5 %"
    assert render_criterion(value) == "success: tokens per session of the treatment is at most 900 tokens"


def test_a_notebook_shows_the_decision_and_every_metric(make_frame: Callable[..., pl.DataFrame]) -> None:
    frame = make_frame(VALUES, [value / 2 for value in VALUES])
    hostile = replace(EXPERIMENT, name="<script>x</script>")
    plan = Plan(design=PlanDesign.FIXED, started=START)
    evaluation = assess(frame, hostile, plan, START, as_of_ms=2, provenance={})
    page = evaluation._repr_html_()
    assert "&lt;script&gt;x&lt;/script&gt; (e-1, Concluded). Do not ship yet" in page
    assert page.count("<tr>") == 1 + 1 + len(evaluation.guardrails) + len(evaluation.secondary)
    assert "-50.0 %" in page
    assert "<svg" in page
    assert repr(evaluation).startswith("<Evaluation of 'e-1': ")
    assert str(evaluation) == evaluation.render_text()
