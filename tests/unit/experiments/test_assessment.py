"""From a frame of sessions to a verdict, without any store."""

import json
import math
from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.errors import ExperimentError
from kaizen_analytics.experiments.assessment import (
    CURVE_POINTS,
    SERIES_POINTS,
    Comparer,
    assess,
    choose_design,
    compute_curves,
    compute_segments,
    compute_series,
    count_reasons,
    split_arms,
    trim_to_plan,
)
from kaizen_analytics.experiments.codec import freeze_evaluation, thaw_evaluation
from kaizen_analytics.experiments.evaluation import Evaluation, Role
from kaizen_analytics.experiments.plan import Cluster, Plan, PlanDesign, Start
from kaizen_analytics.experiments.sample import SAMPLE_SCHEMA
from kaizen_analytics.experiments.verdict import GuardrailStatus, Headline, Verdict
from kaizen_analytics.model import (
    Absolute,
    Delta,
    Direction,
    Experiment,
    GitCommit,
    GuardrailSpec,
    ManualTag,
    Metric,
    State,
)
from kaizen_analytics.stats import Design, DesignKind

END_MS = 1_000_000_000
START = Start(started_at_ms=0, window_start_ms=0, window_end_ms=END_MS)
FIXED = Plan(design=PlanDesign.FIXED, started=START)
TOKENS = Metric.TOKENS_PER_SESSION
CONTROL = [100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 170.0]
HALVED = [value / 2 for value in CONTROL]

MakeFrame = Callable[..., pl.DataFrame]


def experiment(**changes: object) -> Experiment:
    base = Experiment(
        id="e",
        name="Shorter instructions",
        hypothesis="fewer tokens",
        change_description="half the text",
        metric=TOKENS,
        binding=ManualTag(variant_field=""),
        duration_days=14,
        success_criterion=Delta(direction=Direction.DECREASE, target_pct=-20.0),
        state=State.CONCLUDED,
        created_at_ms=0,
    )
    return replace(base, **changes)


def judge(frame: pl.DataFrame, plan: Plan = FIXED, **changes: object) -> Evaluation:
    return assess(
        frame, experiment(**changes), plan, plan.started or START, as_of_ms=END_MS, provenance={"version": "1"}
    )


def test_a_halved_metric_meets_its_target(make_frame: MakeFrame) -> None:
    evaluation = judge(make_frame(CONTROL, HALVED))
    assert evaluation.verdict is Verdict.MET
    assert evaluation.decision.headline is Headline.SHIP
    assert evaluation.primary.effect.percent.estimate == pytest.approx(-50.0)
    assert (evaluation.primary.control.n, evaluation.primary.control.median) == (8, 135.0)
    assert evaluation.primary.treatment.mean == 67.5
    assert evaluation.next_actions[0] == "Ship the change."


def test_a_doubled_metric_has_regressed(make_frame: MakeFrame) -> None:
    evaluation = judge(make_frame(HALVED, CONTROL))
    assert evaluation.verdict is Verdict.REGRESSED
    assert evaluation.decision.headline is Headline.DO_NOT_SHIP


def test_identical_arms_are_never_a_success(make_frame: MakeFrame) -> None:
    evaluation = judge(make_frame(CONTROL, CONTROL))
    assert evaluation.primary.effect.percent.estimate == 0
    assert evaluation.verdict in (Verdict.INCONCLUSIVE, Verdict.TARGET_EXCLUDED)


@given(st.lists(st.floats(1, 1e6), min_size=5, max_size=30), st.lists(st.floats(1, 1e6), min_size=5, max_size=30))
def test_swapping_the_arms_turns_the_difference_around(control: list[float], treatment: list[float]) -> None:
    def frame(first: list[float], second: list[float]) -> pl.DataFrame:
        rows = [
            {"session_id": f"{arm}{i}", "variant": arm, "tokens_per_session": value, "started_at_ms": i, "flags": ""}
            for arm, values in (("Control", first), ("Treatment", second))
            for i, value in enumerate(values)
        ]
        return pl.DataFrame(rows, schema=SAMPLE_SCHEMA)

    comparer = Comparer(alpha=0.05, design=Design())
    forth, back = (
        comparer.compare(split_arms(frame(*arms)), TOKENS, Role.PRIMARY).effect
        for arms in ((control, treatment), (treatment, control))
    )
    if forth.difference is None or back.difference is None:
        assert forth.insufficient
        assert back.insufficient
    else:
        assert forth.difference.estimate == pytest.approx(-back.difference.estimate)
        assert forth.difference.low == pytest.approx(-back.difference.high)


def test_an_absolute_criterion_looks_at_the_treatment_alone(make_frame: MakeFrame) -> None:
    evaluation = judge(make_frame(CONTROL, HALVED), success_criterion=Absolute(metric_value=90.0))
    assert evaluation.verdict is Verdict.MET
    assert evaluation.to_json()["criterion"] == {"Absolute": {"metric_value": 90.0}}


def test_missing_values_are_counted_and_left_out(make_frame: MakeFrame) -> None:
    evaluation = judge(make_frame([*CONTROL, None, None], HALVED))
    assert evaluation.primary.missing == {"control": 2, "treatment": 0}
    assert evaluation.primary.control.n == 8
    assert any("without a value of the metric make up 20.0 %" in text for text in evaluation.quality.warnings)


def test_an_empty_sample_is_insufficient_in_words(make_frame: MakeFrame) -> None:
    evaluation = judge(make_frame([], []))
    assert evaluation.verdict is Verdict.INSUFFICIENT_DATA
    assert evaluation.to_json()["percent"] is None
    assert evaluation.series == evaluation.curves == evaluation.segments == ()


def test_a_zero_control_has_a_difference_but_no_percent(make_frame: MakeFrame) -> None:
    evaluation = judge(make_frame([0.0] * 7 + [1.0], [1.0, 2.0, 3.0, 4.0, 5.0]))
    document = evaluation.to_json()
    assert document["verdict"] == "percent_undefined"
    assert document["percent"] is None
    assert document["difference"]["estimate"] == 3.0


def test_the_json_has_the_documented_keys_and_only_finite_numbers(make_frame: MakeFrame) -> None:
    plan = replace(FIXED, design=PlanDesign.PLANNED, planned_n=10_000)
    document = judge(make_frame(CONTROL * 5, HALVED * 5), plan).to_json()
    assert {
        "experiment_id", "name", "state", "metric", "criterion", "window", "arms", "difference", "percent", "alpha",
        "design", "verdict", "guardrails", "excluded", "quality", "provenance",
    } <= set(document)  # fmt: skip
    assert set(document["arms"]["control"]) >= {"n", "median", "mean"}
    assert document["difference"]["low"] is None
    assert document["design"] == "planned"
    json.dumps(document, allow_nan=False)


def test_a_frozen_evaluation_thaws_to_the_same(make_frame: MakeFrame) -> None:
    plan = replace(FIXED, design=PlanDesign.PLANNED, planned_n=10_000, control_share=0.5)
    guardrails = (
        GuardrailSpec(metric=Metric.SUCCESS_RATE, regression_direction=Direction.DECREASE, threshold_pct=5.0),
    )
    evaluation = judge(make_frame(CONTROL * 5, HALVED * 5, success_rate=1.0), plan, guardrails=guardrails)
    assert math.isinf(evaluation.primary.effect.difference.low)
    text = json.dumps(freeze_evaluation(evaluation), allow_nan=False)
    thawed = thaw_evaluation(json.loads(text))
    assert thawed == evaluation
    assert thawed.to_json() == evaluation.to_json()


def test_a_frozen_evaluation_of_another_format_is_refused(make_frame: MakeFrame) -> None:
    record = freeze_evaluation(judge(make_frame(CONTROL, HALVED)))
    with pytest.raises(ExperimentError, match="format 2; this version reads 1"):
        thaw_evaluation({**record, "format": 2})
    with pytest.raises(ExperimentError, match="damaged"):
        thaw_evaluation({**record, "evaluation": {}})


def test_a_violated_guardrail_stops_a_success(make_frame: MakeFrame) -> None:
    frame = make_frame(CONTROL, HALVED).with_columns(
        cost_per_session=pl.when(pl.col("variant") == "Control").then(1.0).otherwise(3.0)
        + pl.col("started_at_ms") / 1e8
    )
    spec = GuardrailSpec(metric=Metric.COST_PER_SESSION, regression_direction=Direction.INCREASE, threshold_pct=5.0)
    evaluation = judge(frame, guardrails=(spec,))
    assert evaluation.verdict is Verdict.MET
    assert [guardrail.status for guardrail in evaluation.guardrails] == [GuardrailStatus.VIOLATED]
    assert evaluation.decision.headline is Headline.DO_NOT_SHIP
    assert Metric.COST_PER_SESSION not in {result.metric for result in evaluation.secondary}
    assert len(evaluation.secondary) == len(Metric) - 2


def test_a_lost_arm_of_a_randomised_split_is_invalid(make_frame: MakeFrame) -> None:
    plan = replace(FIXED, control_share=0.5)
    evaluation = judge(make_frame(CONTROL * 10, HALVED), plan)
    assert evaluation.verdict is Verdict.INVALID
    assert evaluation.quality.sample_ratio is not None
    assert evaluation.decision.headline is Headline.UNDECIDED
    assert judge(make_frame(CONTROL * 10, HALVED)).verdict is not Verdict.INVALID


def test_an_imbalance_of_unreliable_counts_is_a_named_warning(make_frame: MakeFrame) -> None:
    frame = make_frame(CONTROL, HALVED).with_columns(
        unreliable_responses=pl.when(pl.col("variant") == "Control").then(0).otherwise(4).cast(pl.Int64)
    )
    evaluation = judge(frame)
    assert (evaluation.quality.control.unreliable_share, evaluation.quality.treatment.unreliable_share) == (0.0, 0.4)
    assert any("unreliable output count make up 0.0 %" in text for text in evaluation.quality.warnings)


def test_marks_of_sessions_become_flags_and_warnings(make_frame: MakeFrame) -> None:
    frame = make_frame(CONTROL, HALVED).with_columns(flags=pl.lit("dirty inferred"))
    evaluation = judge(frame, binding=GitCommit(control_commit="c", treatment_commit="t"))
    assert evaluation.flags == ("before_after", "dirty", "inferred")
    assert evaluation.quality.control.dirty_sessions == 8
    assert sum("16 sessions" in text for text in evaluation.quality.warnings) == 2
    assert any("were not randomised" in text for text in evaluation.quality.warnings)


def test_sessions_without_a_cluster_key_are_warned_about(make_frame: MakeFrame) -> None:
    frame = make_frame(CONTROL, HALVED, user_name="ada")
    frame = frame.with_columns(
        user_name=pl.when(pl.col("session_id").is_in(["C0", "T0"])).then(None).otherwise("user_name")
    )
    evaluation = judge(frame, replace(FIXED, cluster=Cluster.USER))
    assert any("2 sessions without a recorded user" in text for text in evaluation.quality.warnings)
    assert evaluation.primary.effect.control.clusters == 2


def test_clusters_widen_the_interval(make_frame: MakeFrame) -> None:
    frame = make_frame(CONTROL * 4, HALVED * 4)
    by_level = frame.with_columns(workspace=pl.col("tokens_per_session").rank("dense").cast(pl.String))
    apart = judge(frame).primary.effect.percent
    together = judge(by_level, replace(FIXED, cluster=Cluster.WORKSPACE)).primary.effect.percent
    assert together.high - together.low > apart.high - apart.low


def test_sessions_after_the_planned_end_are_reported_but_not_used(make_frame: MakeFrame) -> None:
    design = Design(kind=DesignKind.PLANNED, planned_n=3)
    trimmed = trim_to_plan(make_frame(CONTROL, HALVED), design)
    used = trimmed.filter(pl.col("variant") != "Excluded")
    assert used["session_id"].to_list() == ["C0", "T0", "C1", "T1", "C2", "T2"]
    assert count_reasons(trimmed) == {"after the planned end": 10}
    assert trim_to_plan(trimmed, design).equals(trimmed)


@pytest.mark.parametrize(
    ("design", "planned_n", "as_of_ms", "retrospective", "expected"),
    [
        (PlanDesign.FIXED, None, END_MS, False, DesignKind.FIXED),
        (PlanDesign.FIXED, None, END_MS - 1, False, DesignKind.OPEN),
        (PlanDesign.FIXED, None, END_MS - 1, True, DesignKind.FIXED),
        (PlanDesign.PLANNED, 100, END_MS, False, DesignKind.PLANNED),
        (PlanDesign.PLANNED, None, END_MS, False, DesignKind.OPEN),
        (PlanDesign.OPEN, 100, END_MS, False, DesignKind.OPEN),
    ],
)
def test_an_early_look_at_a_fixed_design_gets_a_sequential_level(
    design: PlanDesign, planned_n: int | None, as_of_ms: int, expected: DesignKind, *, retrospective: bool
) -> None:
    plan = Plan(design=design, planned_n=planned_n, started=replace(START, retrospective=retrospective))
    assert choose_design(plan, as_of_ms).kind is expected


def test_the_plan_says_what_its_sessions_are_worth() -> None:
    plan = Plan(planned_n=100, planned_control_n=50, design_effect=2.5, started=START)
    design = choose_design(plan, END_MS)
    assert (design.planned, design.design_effect) == ((50, 100), 2.5)


def test_the_series_ends_at_the_result(make_frame: MakeFrame) -> None:
    frame = make_frame(CONTROL * 8, HALVED * 8)
    comparer = Comparer(alpha=0.05, design=Design())
    series = compute_series(frame, TOKENS, comparer)
    assert len(series) == SERIES_POINTS
    assert [point.at_ms for point in series] == sorted(point.at_ms for point in series)
    assert (series[0].n_control, series[0].n_treatment, series[0].low) == (1, 1, None)
    last = comparer.compare(split_arms(frame), TOKENS, Role.PRIMARY).effect.percent
    assert (series[-1].n_control, series[-1].n_treatment) == (64, 64)
    assert (series[-1].estimate, series[-1].low, series[-1].high) == (last.estimate, last.low, last.high)


def test_curves_run_from_the_least_to_the_largest_value(make_frame: MakeFrame) -> None:
    control, treatment = compute_curves(make_frame(CONTROL, HALVED), TOKENS)
    assert (control.arm, treatment.arm) == ("control", "treatment")
    assert (control.values[0], control.values[CURVE_POINTS // 2], control.values[-1]) == (100.0, 135.0, 170.0)
    assert compute_curves(make_frame([1.0, 0.0], [1.0], metric="success_rate"), Metric.SUCCESS_RATE) == ()


def test_segments_repeat_the_comparison_for_each_value(make_frame: MakeFrame) -> None:
    frame = make_frame(CONTROL * 2, HALVED * 2).with_columns(
        model=pl.when(pl.col("session_id").is_in(["C0", "C1"])).then(pl.lit("small")).otherwise(pl.lit("big"))
    )
    segments = compute_segments(frame, TOKENS, 0.05)
    assert [(segment.dimension, segment.value) for segment in segments] == [("model", "big"), ("model", "small")]
    assert [segment.result.control.n for segment in segments] == [14, 2]
    assert segments[1].result.effect.insufficient


def test_a_running_experiment_is_told_when_to_look_again(make_frame: MakeFrame) -> None:
    early = assess(
        make_frame(CONTROL, CONTROL),
        experiment(state=State.RUNNING),
        FIXED,
        START,
        as_of_ms=END_MS - 1,
        provenance={},
    )
    assert early.next_actions[1] == "Keep collecting until 1970-01-12T13:46:40Z, then evaluate again."
    assert "interim_look" in early.flags
    late = judge(make_frame(CONTROL, HALVED), state=State.RUNNING)
    assert late.next_actions[1] == "Freeze the result: kaizen-analytics exp conclude e"


def test_an_arm_without_sessions_is_told_to_look_for_them(make_frame: MakeFrame) -> None:
    late = judge(make_frame(CONTROL, []), state=State.RUNNING)
    assert late.next_actions[0].startswith(f"The treatment arm has no session, out of {len(CONTROL):,} in the window")
    assert judge(make_frame([], []), state=State.RUNNING).next_actions[0].startswith("The control and the treatment")
