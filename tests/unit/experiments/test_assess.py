"""From a frame of sessions to a verdict, without any store."""

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from experiment_cases import make_experiment, make_frame
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.core.errors import RecordError
from kaizen_analytics.core.metrics import OUTCOMES
from kaizen_analytics.core.model import (
    Absolute,
    DesignKind,
    Direction,
    GitCommit,
    GuardrailSpec,
    Metric,
    State,
)
from kaizen_analytics.experiments.assess import (
    _CURVE_POINTS,
    _check_ratio,
    _Comparer,
    _compute_curves,
    _compute_segments,
    _compute_series,
    _count_reasons,
    assess,
    choose_design,
    trim_to_plan,
)
from kaizen_analytics.experiments.compare import compute_deltas
from kaizen_analytics.experiments.decide import Claim, Decision, Grade, GuardrailStatus, Headline, Verdict
from kaizen_analytics.experiments.evaluation import Caution, CautionKind, Evaluation, Role
from kaizen_analytics.experiments.lifecycle import _freeze, _thaw
from kaizen_analytics.experiments.plan import Cluster, Plan, Start
from kaizen_analytics.experiments.sample import _SAMPLE_SCHEMA
from kaizen_analytics.stats import Design, RatioStatus, adjust_benjamini_hochberg

END_MS = 1_000_000_000
START = Start(started_at_ms=0, window_start_ms=0, window_end_ms=END_MS)
FIXED = Plan(design=DesignKind.FIXED, started=START)
TOKENS = Metric.TOKENS_PER_SESSION
CONTROL = [100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 170.0]
HALVED = [value / 2 for value in CONTROL]


def judge(frame: pl.DataFrame, plan: Plan = FIXED, *, assigned: bool = True, **changes: object) -> Evaluation:
    return assess(
        frame,
        make_experiment(**{"state": State.CONCLUDED, **changes}),
        plan,
        plan.started or START,
        as_of_ms=END_MS,
        provenance={"version": "1"},
        assigned=assigned,
    )


def test_a_halved_metric_meets_its_target() -> None:
    evaluation = judge(make_frame(CONTROL, HALVED))
    assert evaluation.verdict is Verdict.MET
    assert evaluation.decision.headline is Headline.SHIP
    assert evaluation.primary.effect.percent.estimate == pytest.approx(-50.0)
    assert (evaluation.primary.control.n, evaluation.primary.control.median) == (8, 135.0)
    assert evaluation.primary.treatment.mean == 67.5


def test_a_doubled_metric_has_regressed() -> None:
    evaluation = judge(make_frame(HALVED, CONTROL))
    assert evaluation.verdict is Verdict.REGRESSED
    assert evaluation.decision.headline is Headline.DO_NOT_SHIP


def test_identical_arms_are_never_a_success() -> None:
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
        return pl.DataFrame(rows, schema=_SAMPLE_SCHEMA)

    forth, back = (
        _Comparer(frame(*arms), 0.05, Design()).compare([TOKENS], Role.PRIMARY)[0].effect
        for arms in ((control, treatment), (treatment, control))
    )
    if forth.difference is None or back.difference is None:
        assert forth.shortage
        assert back.shortage
    else:
        assert forth.difference.estimate == pytest.approx(-back.difference.estimate)
        assert forth.difference.low == pytest.approx(-back.difference.high)


def test_an_absolute_criterion_looks_at_the_treatment_alone() -> None:
    evaluation = judge(make_frame(CONTROL, HALVED), success_criterion=Absolute(metric_value=90.0))
    assert evaluation.verdict is Verdict.MET
    assert (evaluation.delta.target, evaluation.delta.gain, evaluation.delta.reached) == (90.0, 22.5, True)


def test_the_deltas_shown_are_those_of_polars() -> None:
    frame = make_frame([*CONTROL, None], HALVED, success_rate=1.0)
    evaluation = judge(frame)
    rows = {row["metric"]: row for row in compute_deltas(frame).to_dicts()}
    for result in evaluation.results:
        row = rows[result.metric.column]
        assert (result.control.n, result.treatment.n) == (row["control_n"], row["treatment_n"])
        assert result.centres == (row["control"], row["treatment"])
        if result.effect.difference is not None:
            assert result.effect.difference.estimate == row["difference"]
    assert evaluation.delta.percent == evaluation.primary.effect.percent.estimate == -50.0
    assert (evaluation.delta.target, evaluation.delta.gain, evaluation.delta.reached) == (-20.0, 50.0, True)


def test_missing_values_are_counted_and_left_out() -> None:
    evaluation = judge(make_frame([*CONTROL, None, None], HALVED))
    assert (evaluation.primary.control.n, evaluation.primary.control.n_missing) == (8, 2)
    assert evaluation.quality.control.missing_share == 0.2


def test_an_empty_sample_is_insufficient() -> None:
    evaluation = judge(make_frame([], []))
    assert evaluation.verdict is Verdict.INSUFFICIENT_DATA
    assert (evaluation.delta.percent, evaluation.quality.control.missing_share) == (None, None)
    assert evaluation.series == evaluation.curves == evaluation.segments == ()


def test_a_zero_control_has_a_difference_but_no_percent() -> None:
    evaluation = judge(make_frame([-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0]))
    assert evaluation.verdict is Verdict.PERCENT_UNDEFINED
    assert evaluation.primary.effect.percent is None
    assert evaluation.primary.effect.difference.estimate == 4.0


def test_a_frozen_evaluation_thaws_to_the_same() -> None:
    plan = replace(FIXED, design=DesignKind.PLANNED, planned_n=10_000, control_share=0.5)
    guardrails = (
        GuardrailSpec(metric=Metric.SUCCESS_RATE, regression_direction=Direction.DECREASE, threshold_pct=5.0),
    )
    running = replace(plan, started=replace(START, window_end_ms=END_MS + 1))
    evaluation = judge(make_frame(CONTROL * 5, HALVED * 5, success_rate=1.0), running, guardrails=guardrails)
    assert math.isinf(evaluation.primary.effect.difference.low)
    text = json.dumps(_freeze(evaluation), allow_nan=False)
    assert _thaw(json.loads(text)) == evaluation


def test_what_the_former_version_froze_thaws_to_the_digit() -> None:
    costs = pl.when(pl.col("variant") == "Control").then(1.0).otherwise(3.0) + pl.col("started_at_ms") / 1e8
    spec = GuardrailSpec(metric=Metric.COST_PER_SESSION, regression_direction=Direction.INCREASE, threshold_pct=5.0)
    plan = replace(FIXED, design=DesignKind.PLANNED, planned_n=60)
    frame = make_frame(CONTROL * 5, HALVED * 5).with_columns(cost_per_session=costs)
    evaluation = judge(frame, plan, guardrails=(spec,))
    former = _thaw(json.loads(json.dumps(as_frozen_before(_freeze(evaluation)["evaluation"]))))
    decision = replace(evaluation.decision, grade=None, moved=None)
    assert former == replace(
        evaluation, delta=None, primary=former.primary, guardrails=former.guardrails, decision=decision
    )
    assert former.primary.effect.difference == evaluation.primary.effect.difference
    assert former.decision.violated == (Metric.COST_PER_SESSION,)


def as_frozen_before(record: dict) -> dict:
    """Return the record that the first format would have kept: sentences, and no reason for them."""

    def former_effect(effect: dict) -> dict:
        arms = {
            arm: {name: value for name, value in effect[arm].items() if name not in ("ties", "largest_share")}
            for arm in ("control", "treatment")
        }
        kept = {name: value for name, value in effect.items() if name not in ("shortage", "split")}
        design = {**kept["design"], "looks": None}
        sentences = {"insufficient": None, "percent_undefined": None, "notes": ["A note."], "quantile": 0.5}
        return {**kept, **arms, **sentences, "design": design}

    def former_result(result: dict) -> dict:
        means = result["companion"] and former_effect(result["companion"])
        words = {
            "label": "Label",
            "unit": "tokens",
            "better": "Decrease",
            "kind": "quantity",
            "sentence": "A sentence.",
        }
        kept = {name: value for name, value in result.items() if name != "companion"}
        return {**kept, **words, "effect": former_effect(result["effect"]), "mean_effect": means}

    quality = {name: value for name, value in record["quality"].items() if name != "cautions"}
    former = {
        **{name: value for name, value in record.items() if name != "delta"},
        "primary": former_result(record["primary"]),
        "guardrails": [
            {**item, "sentence": "A sentence.", "result": former_result(item["result"])}
            for item in record["guardrails"]
        ],
        "judgement": "A sentence.",
        "decision": {"headline": record["decision"]["headline"], "sentence": "A sentence.", "rule": "A rule."},
        "quality": {**quality, "warnings": ["A warning."]},
        "next_actions": ["An action."],
    }
    return {"format": 1, "evaluation": former}


def test_the_means_of_the_second_format_are_the_companion() -> None:
    record = _freeze(judge(make_frame(CONTROL, HALVED)))
    primary = record["evaluation"]["primary"]
    primary["mean_effect"] = primary.pop("companion")
    assert _thaw({**record, "format": 2}).primary.companion.control.mean == 135.0


def test_an_evaluation_that_was_frozen_before_grades_keeps_its_decision_to_the_digit() -> None:
    evaluation = judge(make_frame(CONTROL, HALVED))
    record = json.loads(json.dumps(_freeze(evaluation)))
    for later in ("grade", "exploratory", "moved", "claim", "changed"):
        del record["evaluation"]["decision"][later]
    del record["evaluation"]["history"]
    thawed = _thaw({**record, "format": 2})
    assert thawed == replace(evaluation, decision=Decision(headline=Headline.SHIP))


def test_the_grade_follows_from_how_the_arms_came_about() -> None:
    frame = make_frame(CONTROL, HALVED)
    later = frame.with_columns(
        started_at_ms=pl.col("started_at_ms") + pl.when(pl.col("variant") == "Treatment").then(10**6).otherwise(0)
    )
    commits = GitCommit(control_commit="c", treatment_commit="t")
    graded = [
        judge(frame),
        judge(frame, assigned=False),
        judge(later, assigned=False),
        judge(frame, assigned=False, binding=commits),
    ]
    assert [evaluation.decision.grade for evaluation in graded] == [
        Grade.RANDOMISED,
        Grade.CONCURRENT,
        Grade.BEFORE_AFTER,
        Grade.BEFORE_AFTER,
    ]
    assert [evaluation.decision.headline for evaluation in graded[:2]] == [Headline.SHIP, Headline.BETTER]
    assert {evaluation.decision.claim for evaluation in graded[2:]} == {Claim.TOO_FEW}


def test_a_rule_after_the_data_ships_nothing() -> None:
    made = judge(make_frame(CONTROL, HALVED), replace(FIXED, started=replace(START, retrospective=True))).decision
    assert (made.headline, made.exploratory) == (Headline.BETTER, True)


def test_a_frozen_evaluation_of_another_format_is_refused() -> None:
    record = _freeze(judge(make_frame(CONTROL, HALVED)))
    with pytest.raises(RecordError, match="format 4; this version reads 1 to 3"):
        _thaw({**record, "format": 4})
    with pytest.raises(RecordError, match="The frozen evaluation cannot be read: experiment is missing"):
        _thaw({**record, "evaluation": {}})
    record["evaluation"]["primary"]["effect"]["alpha"] = "x"
    with pytest.raises(RecordError, match=r"primary\.effect\.alpha is 'x'; expected a finite number"):
        _thaw(record)


def test_a_violated_guardrail_stops_a_success() -> None:
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
    assert len(evaluation.secondary) == len(Metric) - len(OUTCOMES) - 2


def test_a_lost_arm_of_a_randomised_split_is_invalid() -> None:
    plan = replace(FIXED, control_share=0.5)
    evaluation = judge(make_frame(CONTROL * 10, HALVED), plan)
    assert evaluation.verdict is Verdict.INVALID
    assert evaluation.quality.sample_ratio is not None
    assert evaluation.decision.headline is Headline.UNDECIDED
    assert judge(make_frame(CONTROL * 10, HALVED)).verdict is not Verdict.INVALID


def test_unreliable_counts_are_a_share_of_the_responses() -> None:
    frame = make_frame(CONTROL, HALVED).with_columns(
        unreliable_responses=pl.when(pl.col("variant") == "Control").then(0).otherwise(4).cast(pl.Int64)
    )
    evaluation = judge(frame)
    assert (evaluation.quality.control.unreliable_share, evaluation.quality.treatment.unreliable_share) == (0.0, 0.4)


def test_flags_of_sessions_become_those_of_the_evaluation() -> None:
    frame = make_frame(CONTROL, HALVED).with_columns(flags=pl.lit("dirty inferred"))
    evaluation = judge(frame, binding=GitCommit(control_commit="c", treatment_commit="t"))
    assert evaluation.flags == ("before_after", "dirty", "inferred")
    assert evaluation.quality.control.dirty_sessions == evaluation.quality.treatment.inferred_commits == 8


def test_sessions_without_a_cluster_key_are_counted() -> None:
    frame = make_frame(CONTROL, HALVED, user_name="ada")
    frame = frame.with_columns(
        user_name=pl.when(pl.col("session_id").is_in(["C0", "T0"])).then(None).otherwise("user_name")
    )
    evaluation = judge(frame, replace(FIXED, cluster=Cluster.USER))
    assert evaluation.quality.cautions == (Caution(kind=CautionKind.UNKNOWN_CLUSTERS, count=2),)
    assert evaluation.primary.effect.control.clusters == 2


def test_clusters_widen_the_interval() -> None:
    frame = make_frame(CONTROL * 4, HALVED * 4)
    by_level = frame.with_columns(workspace=pl.col("tokens_per_session").rank("dense").cast(pl.String))
    apart = judge(frame).primary.effect.percent
    together = judge(by_level, replace(FIXED, cluster=Cluster.WORKSPACE)).primary.effect.percent
    assert together.high - together.low > apart.high - apart.low


def test_sessions_after_the_planned_end_are_reported_but_not_used() -> None:
    design = Design(kind=DesignKind.PLANNED, planned_n=3)
    trimmed = trim_to_plan(make_frame(CONTROL, HALVED), design, END_MS)
    used = trimmed.filter(pl.col("variant") != "Excluded")
    assert used["session_id"].to_list() == ["C0", "T0", "C1", "T1", "C2", "T2"]
    assert _count_reasons(trimmed) == {"after the planned end": 10}
    assert trim_to_plan(trimmed, design, END_MS).equals(trimmed)


def test_sessions_that_may_go_on_are_counted_and_left_out() -> None:
    ages = pl.Series([0, 3_599_999, 3_600_000, None, -1, 9_000_000] + [9_000_000] * 10)
    frame = make_frame(CONTROL, HALVED).with_columns(last_event_ms=END_MS - ages)
    trimmed = trim_to_plan(frame, Design(), END_MS)
    assert trimmed["variant"].to_list()[:6] == ["Excluded", "Excluded", *frame["variant"].to_list()[2:6]]
    assert _count_reasons(trimmed) == {"pending: its last event is less than an hour old": 2}


@pytest.mark.parametrize(
    ("design", "planned_n", "as_of_ms", "retrospective", "expected"),
    [
        (DesignKind.FIXED, None, END_MS, False, DesignKind.FIXED),
        (DesignKind.FIXED, None, END_MS - 1, False, DesignKind.OPEN),
        (DesignKind.FIXED, None, END_MS - 1, True, DesignKind.FIXED),
        (DesignKind.PLANNED, 100, END_MS, False, DesignKind.PLANNED),
        (DesignKind.PLANNED, None, END_MS, False, DesignKind.OPEN),
        (DesignKind.OPEN, 100, END_MS, False, DesignKind.OPEN),
    ],
)
def test_an_early_analysis_of_a_fixed_design_gets_a_sequential_level(
    design: DesignKind, planned_n: int | None, as_of_ms: int, expected: DesignKind, *, retrospective: bool
) -> None:
    plan = Plan(design=design, planned_n=planned_n, started=replace(START, retrospective=retrospective))
    assert choose_design(plan, as_of_ms).kind is expected


def test_the_plan_says_what_its_sessions_are_worth() -> None:
    plan = Plan(planned_n=100, planned_control_n=50, design_effect=2.5, started=START)
    design = choose_design(plan, END_MS)
    assert (design.planned, design.design_effect) == ((50, 100), 2.5)


def test_the_series_ends_at_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaizen_analytics.experiments.assess._SERIES_POINTS", 40)
    frame = make_frame(CONTROL * 8, HALVED * 8)
    comparer = _Comparer(frame, 0.05, Design())
    series = _compute_series(comparer, TOKENS)
    assert len(series) == 40
    assert [point.at_ms for point in series] == sorted(point.at_ms for point in series)
    assert (series[0].n_control, series[0].n_treatment, series[0].low) == (1, 1, None)
    last = comparer.compare([TOKENS], Role.PRIMARY)[0].effect.percent
    assert (series[-1].n_control, series[-1].n_treatment) == (64, 64)
    assert (series[-1].estimate, series[-1].low, series[-1].high) == (last.estimate, last.low, last.high)


def test_curves_run_from_the_least_to_the_largest_value() -> None:
    control, treatment = _compute_curves(make_frame(CONTROL, HALVED), TOKENS)
    assert (control.arm, treatment.arm) == ("control", "treatment")
    assert (control.values[0], control.values[_CURVE_POINTS // 2], control.values[-1]) == (100.0, 135.0, 170.0)
    assert _compute_curves(make_frame([1.0, 0.0], [1.0], metric="success_rate"), Metric.SUCCESS_RATE) == ()


def test_one_of_many_metrics_is_clear_only_after_allowing_for_their_number() -> None:
    rng = np.random.default_rng(3)
    noise = {
        metric.column: pl.Series(rng.lognormal(0, 1, 80)) for metric in (Metric.DURATION_MINUTES, Metric.TOOL_LOOPS)
    }
    frame = make_frame(CONTROL * 5, HALVED * 5).with_columns(**noise)
    shifted = frame.with_columns(active_minutes=pl.col("tokens_per_session") ** 2)
    secondary = {item.metric: item for item in judge(shifted).secondary}
    assert secondary[Metric.ACTIVE_MINUTES].is_clear
    assert not secondary[Metric.DURATION_MINUTES].is_clear
    compared = [item for item in secondary.values() if item.effect.p_value is not None]
    adjusted = adjust_benjamini_hochberg([item.effect.p_value for item in compared])
    assert [item.p_adjusted for item in compared] == adjusted
    assert judge(shifted).primary.p_adjusted is None


def by_user(seed: int, users: int = 30) -> pl.DataFrame:
    """Users drawn by a coin, each with a lognormal number of sessions."""
    rng = np.random.default_rng(seed)
    sizes = np.ceil(rng.lognormal(2.5, 1, users)).astype(int)
    treated = np.repeat(rng.random(users) < 0.5, sizes)
    names = np.repeat([f"u{i}" for i in range(users)], sizes)
    frame = make_frame([1.0] * int((~treated).sum()), [1.0] * int(treated.sum()))
    arms = [frame.filter(variant=arm) for arm in ("Control", "Treatment")]
    named = [
        arm.with_columns(user_name=pl.Series(names[treated == flag]))
        for arm, flag in zip(arms, (False, True), strict=True)
    ]
    return pl.concat(named)


@pytest.mark.long
def test_a_fair_coin_per_user_is_not_called_unfair() -> None:
    plan = replace(FIXED, control_share=0.5, cluster=Cluster.USER)
    ratios = [_check_ratio(by_user(seed), plan, Design()) for seed in range(400)]
    assert {ratio.unit for ratio in ratios} == {"user"}
    alarms = np.mean([ratio.p_value < 0.01 for ratio in ratios])
    assert alarms <= 0.02  # at most 1 %; Monte Carlo error 0.5 points; sessions give 70 %
    assert not any(ratio.status is RatioStatus.INVALID for ratio in ratios)


def test_a_coin_per_session_counts_sessions_whatever_the_cluster() -> None:
    frame = make_frame(CONTROL, HALVED).with_columns(user_name=pl.Series(["ada", "ada", "bob", "bob"] * 4))
    ratio = _check_ratio(frame, replace(FIXED, control_share=0.5, cluster=Cluster.USER), Design())
    assert (ratio.unit, ratio.n_control, ratio.n_treatment) == ("session", 8, 8)


def test_segments_repeat_the_comparison_for_each_value() -> None:
    frame = make_frame(CONTROL * 2, HALVED * 2).with_columns(
        model=pl.when(pl.col("session_id").is_in(["C0", "C1"])).then(pl.lit("small")).otherwise(pl.lit("big"))
    )
    segments = _compute_segments(frame, TOKENS, 0.05)
    assert [(segment.dimension, segment.value) for segment in segments] == [("model", "big"), ("model", "small")]
    assert [segment.result.control.n for segment in segments] == [14, 2]
    assert segments[0].result.is_clear
    assert segments[1].result.effect.shortage
