"""Arms that are separated in time: from frames to what is claimed."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from experiment_cases import DAY_MS, make_experiment

from kaizen_analytics.core.model import Delta, DesignKind, Direction, GitCommit, GuardrailSpec, Metric, State
from kaizen_analytics.experiments.assess import assess
from kaizen_analytics.experiments.compare import _find_change, compare_with_history
from kaizen_analytics.experiments.decide import Claim, Grade, GuardrailStatus, Headline, Verdict, judge_claim
from kaizen_analytics.experiments.evaluation import Evaluation, Mismatch
from kaizen_analytics.experiments.lifecycle import _freeze, _thaw
from kaizen_analytics.experiments.plan import Cluster, Plan, Start
from kaizen_analytics.experiments.sample import _SAMPLE_SCHEMA
from kaizen_analytics.pages import charts, conclusion, sentences
from kaizen_analytics.stats.before_after import BeforeAfter, Drift, Placebo, StratifiedEffect

CHANGE_MS = 100 * DAY_MS
END_MS = CHANGE_MS + 28 * DAY_MS
START = Start(started_at_ms=CHANGE_MS, window_start_ms=CHANGE_MS - 28 * DAY_MS, window_end_ms=END_MS)
PLAN = Plan(design=DesignKind.PLANNED, planned_n=50, started=START)
COMMITS = GitCommit(control_commit="c", treatment_commit="t")


def make_sessions(first: int, last: int, *, per_day: int = 25, seed: int = 1, **columns: object) -> pl.DataFrame:
    """Return sessions on the days `first` to `last` from the change, treatment from day 0 on, without any effect."""
    rng = np.random.default_rng(seed)
    days = np.repeat(np.arange(first, last), per_day)
    starts = CHANGE_MS + days * DAY_MS + rng.integers(1, DAY_MS, days.size)
    fixed = {"agent": "codex", "model": "opus", "workspace": "/w", "flags": "", "responses": 1, **columns}
    frame = pl.DataFrame(
        {
            "session_id": [f"{seed}-{number}" for number in range(days.size)],
            "variant": np.where(days < 0, "Control", "Treatment"),
            "started_at_ms": starts,
            "tokens_per_session": np.exp(rng.normal(10, 1, days.size)),
        }
    ).with_columns(**{name: pl.lit(value) for name, value in fixed.items()})
    return pl.DataFrame(
        {name: frame[name] if name in frame.columns else None for name in _SAMPLE_SCHEMA}, _SAMPLE_SCHEMA
    )


def scaled(frame: pl.DataFrame, factor: float, column: str = "tokens_per_session") -> pl.DataFrame:
    """Return the sessions with the treatment's values multiplied."""
    is_treatment = pl.col("variant") == "Treatment"
    return frame.with_columns(pl.when(is_treatment).then(pl.col(column) * factor).otherwise(column).alias(column))


def lines(evaluation: Evaluation) -> list[str]:
    return [text for _, text in sentences.history(evaluation)]


FRAME, PAST = make_sessions(-28, 28), make_sessions(-56, -28, seed=2)


def judge(frame: pl.DataFrame, around: pl.DataFrame | None = PAST, as_of_ms: int = END_MS, **changes) -> Evaluation:
    experiment = make_experiment(
        **{
            "binding": COMMITS,
            "state": State.CONCLUDED,
            "success_criterion": Delta(direction=Direction.DECREASE, target_pct=-10.0),
            **changes,
        }
    )
    plan = replace(PLAN, rule=experiment)
    return assess(frame, experiment, plan, START, as_of_ms=as_of_ms, provenance={"version": "1"}, around=around)


def test_a_step_beyond_the_history_is_claimed_and_its_target_judged():
    evaluation = judge(scaled(FRAME, 0.5))
    assert (evaluation.decision.claim, evaluation.decision.grade) == (Claim.HOLDS, Grade.BEFORE_AFTER)
    assert (evaluation.verdict, evaluation.decision.headline) == (Verdict.MET, Headline.BETTER)
    assert evaluation.percent.estimate == pytest.approx(-50, abs=5)
    assert evaluation.confidence_at_target is None
    assert sentences.headline(evaluation.decision, evaluation.verdict).startswith("Lower after the change")


def test_a_rise_is_claimed_as_worse():
    evaluation = judge(scaled(FRAME, 2.0))
    assert (evaluation.verdict, evaluation.decision.headline) == (Verdict.REGRESSED, Headline.WORSE)
    assert evaluation.decision.moved is Direction.INCREASE


def test_without_history_nothing_is_claimed():
    evaluation = judge(scaled(FRAME, 0.5), around=None)
    assert (evaluation.decision.claim, evaluation.decision.headline) == (Claim.SHORT_HISTORY, Headline.UNDECIDED)
    assert evaluation.verdict is Verdict.INCONCLUSIVE
    assert sentences.reason(evaluation.decision, evaluation.verdict).startswith("a claim needs 5 weeks of history")


def test_there_is_one_claim_at_the_end_of_the_window():
    evaluation = judge(scaled(FRAME, 0.5), as_of_ms=END_MS - 1, state=State.RUNNING)
    assert evaluation.decision.claim is Claim.TOO_EARLY
    assert evaluation.percent.estimate == pytest.approx(-50, abs=5)
    assert sentences.next_actions(evaluation)[0].startswith("Collect more sessions until ")


def test_a_plan_before_and_after_a_commit_is_a_time_and_no_number_of_sessions():
    evaluation = judge(FRAME)
    assert evaluation.design == "fixed"
    assert evaluation.primary.treatment.n == 28 * 25


def test_a_model_that_came_with_the_change_makes_the_arms_incomparable():
    model = pl.when(pl.col("variant") == "Treatment").then(pl.lit("sonnet")).otherwise(pl.lit("opus"))
    evaluation = judge(scaled(FRAME.with_columns(model=model), 0.5))
    assert (evaluation.verdict, evaluation.decision.claim) == (Verdict.INVALID, Claim.NOT_COMPARABLE)
    assert evaluation.history.mismatches == (Mismatch(column="model", control="opus", treatment="sonnet"),)
    assert sentences.decision(evaluation.decision, evaluation.verdict) == (
        "Do not decide on these data: the model changed with the change, so the arms hold different kinds of session."
    )
    assert sentences.judgement(evaluation) == "The arms cannot be compared."
    assert lines(evaluation)[0] == "The model was opus before and sonnet after."


def test_an_effect_of_the_mix_is_taken_out():
    """Sonnet sessions need a tenth of the tokens; after the change most sessions are of Sonnet."""
    rng = np.random.default_rng(5)
    share = np.where(FRAME["variant"] == "Treatment", 0.9, 0.1)
    sonnet = rng.random(FRAME.height) < share
    mixed = FRAME.with_columns(
        model=pl.Series(np.where(sonnet, "sonnet", "opus")),
        tokens_per_session=pl.col("tokens_per_session") * pl.Series(np.where(sonnet, 0.1, 1.0)),
    )
    evaluation = judge(mixed)
    assert evaluation.primary.effect.percent.high < -50
    assert evaluation.decision.claim is Claim.NO_DIFFERENCE
    assert evaluation.history.kinds == ("opus", "sonnet")
    assert lines(evaluation)[0].startswith("Standardised over 2 kinds of session")


def test_what_only_one_arm_holds_is_left_out_and_named():
    extra = make_sessions(0, 28, per_day=20, seed=3, model="haiku")
    evaluation = judge(pl.concat([FRAME, extra]))
    assert evaluation.history.found.effect.coverage == pytest.approx(25 / 45)
    assert evaluation.history.kinds == ("opus",)
    assert any(line.startswith("This holds for opus: 55.6") for line in lines(evaluation))


def test_other_workspaces_on_the_same_dates_are_a_second_line():
    other = scaled(make_sessions(-28, 28, seed=4, workspace="/other"), 0.5).with_columns(variant=pl.lit("Excluded"))
    evaluation = judge(scaled(FRAME, 0.5), around=pl.concat([PAST, other]))
    assert evaluation.history.elsewhere.sessions == 28 * 2 * 25
    assert math.exp(evaluation.history.elsewhere.effect.log_ratio) == pytest.approx(0.5, abs=0.06)
    assert lines(evaluation)[0].startswith("In other workspaces, on the same dates (1,400 sessions)")


@pytest.mark.slow
def test_a_guardrail_is_violated_only_beyond_its_own_history():
    spec = GuardrailSpec(metric=Metric.COST_PER_SESSION, regression_direction=Direction.INCREASE, threshold_pct=5.0)
    weeks = np.repeat(np.arange(12), 7 * 25)
    level = np.random.default_rng(7).normal(0, 0.6, 12) + 0.06 * np.arange(12)
    cost = np.exp(level[weeks] + np.random.default_rng(8).normal(0, 0.5, weeks.size))
    drifting = pl.concat([PAST, FRAME]).sort("started_at_ms").with_columns(cost_per_session=pl.Series(cost))
    past, frame = drifting.head(PAST.height), drifting.tail(FRAME.height)
    evaluation = judge(frame, around=past, guardrails=(spec,))
    assert evaluation.guardrails[0].p_adjusted < 0.05
    assert evaluation.guardrails[0].status is GuardrailStatus.UNRESOLVED
    flat = (
        pl.concat([PAST, FRAME])
        .sort("started_at_ms")
        .with_columns(cost_per_session=pl.Series(cost / np.exp(level[weeks])))
    )
    stepped = scaled(flat.tail(FRAME.height), 2.0, "cost_per_session")
    worse = judge(stepped, around=flat.head(PAST.height), guardrails=(spec,))
    assert worse.guardrails[0].status is GuardrailStatus.VIOLATED
    assert worse.decision.headline is Headline.WORSE


@pytest.mark.slow
def test_a_guardrail_passes_by_days_and_not_by_sessions():
    """Days differ, the same way in both arms: sessions alone rule a rise of 20 % out, days do not; calm days do."""
    spec = GuardrailSpec(metric=Metric.COST_PER_SESSION, regression_direction=Direction.INCREASE, threshold_pct=20.0)
    rng = np.random.default_rng(11)
    noise = rng.normal(0, 0.3, FRAME.height)
    day = (FRAME["started_at_ms"].to_numpy() - CHANGE_MS) // DAY_MS
    uneven = np.exp(np.tile(rng.normal(0, 0.5, 28), 2)[day + 28] + noise)
    wild = judge(FRAME.with_columns(cost_per_session=pl.Series(uneven)), guardrails=(spec,)).guardrails[0]
    assert wild.result.effect.percent.high < 20 < wild.percent.high
    assert wild.status is GuardrailStatus.UNRESOLVED
    calm = judge(FRAME.with_columns(cost_per_session=pl.Series(np.exp(noise))), guardrails=(spec,)).guardrails[0]
    assert (calm.status, calm.percent.high < 20) == (GuardrailStatus.PASSED, True)
    assert f"at worst {calm.percent.high:.1f}" in sentences.guardrail(calm)


def test_the_planned_clusters_widen_the_interval_of_a_change():
    """Branches of 70 sessions that run over many days differ more than days do."""
    rng = np.random.default_rng(13)
    branch = rng.integers(0, 10, FRAME.height)
    later = np.where(FRAME["variant"] == "Treatment", 10, 0)
    level = rng.normal(0, 0.6, 20)[branch + later]
    frame = FRAME.with_columns(
        branch=pl.Series([f"b{i}" for i in branch + later]),
        tokens_per_session=pl.col("tokens_per_session") * pl.Series(np.exp(level)),
    )
    widths = []
    for cluster in (Cluster.DAY, Cluster.WORKSPACE, Cluster.BRANCH):
        found = compare_with_history(frame, PAST, Metric.TOKENS_PER_SESSION, replace(PLAN, cluster=cluster)).found
        widths.append(found.effect.high - found.effect.low)
    assert widths[0] == widths[1] < widths[2] / 1.5


def test_a_rate_without_any_failure_is_safe():
    spec = GuardrailSpec(metric=Metric.SUCCESS_RATE, regression_direction=Direction.DECREASE, threshold_pct=5.0)
    [found] = judge(FRAME.with_columns(success_rate=pl.lit(1.0)), guardrails=(spec,)).guardrails
    assert (found.status, found.standardised) == (GuardrailStatus.PASSED, None)


def test_a_mix_that_changes_violates_no_guardrail():
    """Sonnet costs a tenth and is used less after the change: the bill rises, each kind of session costs the same."""
    spec = GuardrailSpec(metric=Metric.COST_PER_SESSION, regression_direction=Direction.INCREASE, threshold_pct=20.0)
    rng = np.random.default_rng(12)
    sonnet = rng.random(FRAME.height) < np.where(FRAME["variant"] == "Treatment", 0.4, 0.6)
    cost = np.exp(rng.normal(0, 0.2, FRAME.height)) * np.where(sonnet, 0.1, 1.0)
    mixed = FRAME.with_columns(model=pl.Series(np.where(sonnet, "sonnet", "opus")), cost_per_session=pl.Series(cost))
    [found] = judge(mixed, guardrails=(spec,)).guardrails
    assert found.p_adjusted < 0.001
    assert found.status is GuardrailStatus.PASSED


def test_the_change_is_where_the_fewest_sessions_are_on_the_wrong_side():
    rng = np.random.default_rng(9)
    before, after = rng.integers(0, 60, 50), rng.integers(40, 100, 50)
    wrong = {cut: (before >= cut).sum() + (after < cut).sum() for cut in after.tolist()}
    assert wrong[_find_change(before, after)] == min(wrong.values())


def test_an_empty_arm_has_no_history():
    alone = FRAME.filter(pl.col("variant") == "Control")
    assert compare_with_history(alone, PAST, Metric.TOKENS_PER_SESSION, PLAN) is None
    assert judge(alone).verdict is Verdict.INSUFFICIENT_DATA


def test_a_frozen_history_thaws_to_the_same():
    evaluation = judge(scaled(FRAME, 0.5))
    assert _thaw(json.loads(json.dumps(_freeze(evaluation)))) == evaluation


# The claim rule.

EFFECT = StratifiedEffect(log_ratio=-0.3, low=-0.5, high=-0.1, coverage=1.0, common=(0,))
FOUND = BeforeAfter(
    has_sessions=True,
    common=(0,),
    effect=EFFECT,
    crude=EFFECT,
    drift=Drift(step=-0.3, p_value=0.01, slope=0.0, slope_error=0.01, wander=0.1),
    bound=None,
    placebo=Placebo(window_days=14, days=tuple(range(-42, -13)), jumps=(0.1,) * 29, jump=-4.0, as_large=0),
    history_days=56,
    after_days=28,
)
FEW = replace(FOUND.placebo, days=tuple(range(18)), jumps=(0.1,) * 18)


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({}, Claim.HOLDS),
        ({"has_sessions": False, "common": (), "effect": None}, Claim.TOO_FEW),
        ({"common": (), "effect": None, "drift": None, "placebo": None}, Claim.NOT_COMPARABLE),
        ({"effect": None, "drift": None, "placebo": None}, Claim.UNDEFINED),
        ({"effect": replace(EFFECT, high=0.1)}, Claim.NO_DIFFERENCE),
        ({"effect": replace(EFFECT, low=-0.3, high=-0.3)}, Claim.NO_DIFFERENCE),
        ({"drift": replace(FOUND.drift, p_value=0.051)}, Claim.DRIFT),
        ({"drift": replace(FOUND.drift, step=0.3)}, Claim.DRIFT),
        ({"placebo": replace(FOUND.placebo, as_large=1)}, Claim.COMMON_JUMP),
        ({"placebo": FEW}, Claim.SHORT_HISTORY),
        ({"placebo": None}, Claim.SHORT_HISTORY),
        ({"drift": None}, Claim.SHORT_HISTORY),
        ({"history_days": 34}, Claim.SHORT_HISTORY),
    ],
)
def test_the_first_condition_that_fails_decides(changes, claim):
    assert judge_claim(replace(FOUND, **changes)) is claim
    assert judge_claim(replace(FOUND, **changes), is_over=False) is Claim.TOO_EARLY


@pytest.mark.parametrize("claim", [claim for claim in Claim if claim is not Claim.HOLDS])
def test_every_claim_that_does_not_hold_has_words(claim):
    evaluation = judge(scaled(FRAME, 0.5))
    verdict = Verdict.INVALID if claim is Claim.NOT_COMPARABLE else Verdict.INCONCLUSIVE
    made = replace(evaluation.decision, headline=Headline.UNDECIDED, claim=claim)
    assert sentences.decision(made, verdict).endswith(".")
    assert len(sentences.reason(made, verdict)) > 20


def test_no_world_without_an_effect_is_claimed_often():
    """A steady fall of 2 % a week in 40 histories: at most 5 claims, where 2 are expected at the level of the rule."""
    claims = 0
    for seed in range(40):
        frames = [
            make_sessions(first, last, seed=10 + 2 * seed + k, per_day=10)
            for k, (first, last) in enumerate([(-28, 28), (-56, -28)])
        ]
        drift = (pl.col("started_at_ms") - CHANGE_MS) / DAY_MS / 7 * math.log(0.98)
        frame, past = (item.with_columns(pl.col("tokens_per_session") * drift.exp()) for item in frames)
        claims += compare_with_history(frame, past, Metric.TOKENS_PER_SESSION, PLAN).claim is Claim.HOLDS
    assert claims <= 5


def test_the_statistics_do_not_depend_on_the_order_of_sessions():
    shuffled = FRAME.sample(fraction=1.0, shuffle=True, seed=1)
    first, second = (compare_with_history(frame, PAST, Metric.TOKENS_PER_SESSION, PLAN) for frame in (FRAME, shuffled))
    assert second.found.effect.log_ratio == pytest.approx(first.found.effect.log_ratio)
    assert second.found.drift.p_value == pytest.approx(first.found.drift.p_value)
    assert second.claim is first.claim


# The page.


def test_the_first_box_shows_the_design_the_change_among_other_dates_and_the_drift():
    evaluation = judge(scaled(FRAME, 0.5))
    box = conclusion.decision(evaluation)
    words_in_order = [
        "Lower after the change; the cause is not shown",
        "Design. Before/after: the arms are separated in time.",
        "At 29 other dates, a jump of this size was seen 0 times (windows of 14 days).",
        "The jump at the change, ",
        "Drift. This history changes by ",
        "To explain the difference, it would have to change by \N{MINUS SIGN}",
        "The target of a fall of at least 10",
    ]
    places = [box.plain.find(part) for part in words_in_order]
    assert places == sorted(places)
    assert places[0] >= 0
    dates = evaluation.history.found.placebo.dates
    assert box.html.count('r="3.5"') == 2 * dates  # wide and narrow
    assert box.html.count('r="7"') == 2


def test_the_alternative_text_of_the_placebo_picture_has_its_numbers():
    placebo = Placebo(window_days=7, days=(-14, -13), jumps=(0.5, -2.0), jump=-1.5, as_large=1)
    assert charts.placebo(placebo).alt.replace("\N{MINUS SIGN}", "-") == (
        "The jump at the change, -1.5 standard errors, among 2 dates of the 2 weeks before it, from -2 to +0.5. "
        "1 of them are as large in either direction."
    )
