"""Verdicts, guardrails and the decision."""

import math

import numpy as np
import pytest

from kaizen_analytics.errors import ExperimentError
from kaizen_analytics.experiments.verdict import (
    Decision,
    GuardrailStatus,
    Headline,
    Judgement,
    Verdict,
    classify,
    decide,
    judge,
    judge_guardrails,
)
from kaizen_analytics.model import Absolute, Delta, Direction, GuardrailSpec, Metric
from kaizen_analytics.stats import (
    ArmSummary,
    Design,
    DesignKind,
    Effect,
    EffectKind,
    Interval,
    adjust_holm,
    median_effect,
    proportion_effect,
)

DOWN, UP = Direction.DECREASE, Direction.INCREASE


def effect_of(low: float, high: float, **changes) -> Effect:
    """Return an effect with this interval of the percent change."""
    middle = (low + high) / 2 if math.isfinite(low + high) else 0.0
    arm = ArmSummary(n=50, n_effective=50.0, clusters=None, median=10.0, mean=10.0)
    fields = {
        "kind": EffectKind.MEDIAN,
        "control": arm,
        "treatment": arm,
        "difference": Interval(estimate=middle / 10, low=low / 10, high=high / 10),
        "percent": Interval(estimate=middle, low=low, high=high),
        "p_value": 0.01 if low > 0 or high < 0 else 0.4,
        "alpha": 0.05,
    }
    return Effect(**(fields | changes))


def fall(target: float) -> Delta:
    return Delta(direction=DOWN, target_pct=-target)


@pytest.mark.parametrize(
    ("low", "high", "target", "margin", "verdict"),
    [
        (10, 30, 10, None, Verdict.MET),
        (10.0000001, 30, 10, None, Verdict.MET),
        (9.9, 30, 10, None, Verdict.IMPROVED_TARGET_PLAUSIBLE),
        (2, 8, 10, None, Verdict.IMPROVED_BELOW_TARGET),
        (-5, 30, 10, None, Verdict.INCONCLUSIVE),
        (-5, 8, 10, None, Verdict.TARGET_EXCLUDED),
        (-8, -2, 10, None, Verdict.REGRESSED),
        (-2, 2, 10, 3, Verdict.NO_EFFECT),
        (1, 2, 10, 3, Verdict.NO_EFFECT),
        (-8, -2, 10, 20, Verdict.REGRESSED),
        (-math.inf, math.inf, 10, None, Verdict.INCONCLUSIVE),
        (-math.inf, 5, 10, None, Verdict.TARGET_EXCLUDED),
        (0, 0, 0, None, Verdict.TARGET_EXCLUDED),
        (0, 5, 0, None, Verdict.INCONCLUSIVE),
        (1, 5, 0, None, Verdict.MET),
        (-5, 0, 0, None, Verdict.TARGET_EXCLUDED),
    ],
)
def test_classify_follows_the_order(low, high, target, margin, verdict):
    assert classify(low, high, target, margin) is verdict


def test_every_verdict_has_a_sentence_of_its_own():
    criterion = fall(10)
    intervals = [(-30, -12), (2, 8), (-2, 1), (-30, -5), (-8, -2), (-30, 5), (-8, 5)]

    judged = [judge(effect_of(*interval), criterion, better=DOWN, margin_pct=3) for interval in intervals]

    assert [judgement.verdict for judgement in judged] == [
        Verdict.MET,
        Verdict.REGRESSED,
        Verdict.NO_EFFECT,
        Verdict.IMPROVED_TARGET_PLAUSIBLE,
        Verdict.IMPROVED_BELOW_TARGET,
        Verdict.INCONCLUSIVE,
        Verdict.TARGET_EXCLUDED,
    ]
    sentences = [judgement.sentence for judgement in judged]
    assert len(set(sentences)) == 7
    assert sentences[0] == (
        "The data show a fall of 21.0 % (95 % interval -30.0 % to -12.0 %), so the target of a fall of "
        "at least 10 % is "
        "reached."
    )
    assert all(sentence.count(".") >= 1 and sentence.endswith(".") for sentence in sentences)


def test_a_rise_is_judged_on_its_own_side():
    criterion = Delta(direction=UP, target_pct=10)

    assert judge(effect_of(12, 30), criterion, better=UP).verdict is Verdict.MET
    assert judge(effect_of(-30, -12), criterion, better=UP).verdict is Verdict.REGRESSED


def test_invalid_comes_first():
    judgement = judge(effect_of(-30, -12), fall(10), better=DOWN, invalid="The split is broken.")

    assert (judgement.verdict, judgement.sentence) == (Verdict.INVALID, "The split is broken.")


def test_insufficient_data_carries_its_reason():
    judgement = judge(median_effect([1, 2], [1, 2, 3, 4, 5]), fall(10), better=DOWN)

    assert judgement.verdict is Verdict.INSUFFICIENT_DATA
    assert "only 2 sessions" in judgement.sentence


def test_a_zero_control_median_decides_nothing():
    effect = median_effect([0] * 8 + [1, 2], [3, 4, 5, 6, 7, 8])

    judgement = judge(effect, fall(10), better=DOWN)

    assert judgement.verdict is Verdict.PERCENT_UNDEFINED
    assert judgement.confidence_at_target is None
    assert judgement.sentence.startswith("The target cannot be judged: the control's value")


@pytest.mark.parametrize(("direction", "target"), [(DOWN, 10.0), (UP, -10.0)])
def test_a_contradictory_sign_yields_to_the_direction(direction, target):
    good = effect_of(-30, -12) if direction is DOWN else effect_of(12, 30)

    judgement = judge(good, Delta(direction=direction, target_pct=target), better=direction)

    assert judgement.verdict is Verdict.MET
    assert "the direction decides" in judgement.notes[0]


@pytest.mark.parametrize("target", [0.0, -0.0])
def test_target_zero_has_no_contradiction_and_asks_for_any_change(target):
    judgement = judge(effect_of(-30, -12), Delta(direction=DOWN, target_pct=target), better=DOWN)

    assert (judgement.verdict, judgement.notes) == (Verdict.MET, ())
    assert "the target of any fall is reached" in judgement.sentence


def test_tied_counts_without_an_effect_do_not_meet_target_zero():
    counts = np.array([3] * 40 + [2] * 10 + [4] * 10)
    effect = median_effect(counts, counts)

    judgement = judge(effect, fall(0), better=DOWN)

    assert judgement.verdict is Verdict.TARGET_EXCLUDED
    assert judgement.confidence_at_target == pytest.approx(0.0, abs=1e-3)


def test_a_change_of_exactly_the_target_meets_it():
    effect = median_effect([10.0] * 20 + [11.0], [9.0] * 20 + [8.0])

    judgement = judge(effect, fall(10), better=DOWN)

    assert judgement.verdict is Verdict.MET
    assert judgement.confidence_at_target > 0.99


def test_confidence_at_target_is_the_law_at_the_signed_target():
    rng = np.random.default_rng(0)
    effect = median_effect(rng.lognormal(9, 1, 100), 0.7 * rng.lognormal(9, 1, 100))

    assert judge(effect, fall(10), better=DOWN).confidence_at_target == effect.confidence(-10, DOWN)


@pytest.mark.parametrize(
    ("value", "better", "verdict"),
    [
        (20.0, DOWN, Verdict.MET),
        (1.0, DOWN, Verdict.TARGET_EXCLUDED),
        (10.0, DOWN, Verdict.INCONCLUSIVE),
        (1.0, UP, Verdict.MET),
        (20.0, UP, Verdict.TARGET_EXCLUDED),
        (10.0, UP, Verdict.INCONCLUSIVE),
    ],
)
def test_absolute_targets_judge_the_treatment_arm(value, better, verdict):
    treatment = np.arange(1.0, 20.0)
    effect = median_effect(treatment + 100, treatment)

    judgement = judge(effect, Absolute(metric_value=value), better=better)

    assert judgement.verdict is verdict
    assert "The treatment arm alone is at 10" in judgement.sentence


def test_absolute_targets_of_shares_use_wilson():
    effect = proportion_effect(np.arange(50) < 10, np.arange(100) < 90)

    judgement = judge(effect, Absolute(metric_value=0.8), better=UP)

    assert judgement.verdict is Verdict.MET
    assert "at least 80.0 %" in judgement.sentence


def test_absolute_targets_without_data_are_insufficient():
    judgement = judge(median_effect([], []), Absolute(metric_value=1), better=UP)

    assert judgement.verdict is Verdict.INSUFFICIENT_DATA


def test_a_margin_that_is_not_positive_is_rejected():
    with pytest.raises(ExperimentError, match="margin"):
        judge(effect_of(-30, -12), fall(10), better=DOWN, margin_pct=0)


# Guardrails.


def spec(threshold: float = 5.0, feared: Direction = UP) -> GuardrailSpec:
    return GuardrailSpec(metric=Metric.COST_PER_SESSION, regression_direction=feared, threshold_pct=threshold)


def test_holm_agrees_with_statsmodels():
    from statsmodels.stats.multitest import multipletests

    p_values = [0.01, 0.04, 0.03, 0.5, 0.01]

    assert adjust_holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())
    assert adjust_holm([]) == []


@pytest.mark.parametrize(
    ("low", "high", "p_value", "status"),
    [
        (2, 30, 0.001, GuardrailStatus.VIOLATED),
        (-8, 4, 0.6, GuardrailStatus.PASSED),
        (-30, -10, 0.001, GuardrailStatus.PASSED),
        (-8, 20, 0.6, GuardrailStatus.UNRESOLVED),
        (-math.inf, math.inf, 1.0, GuardrailStatus.UNRESOLVED),
    ],
)
def test_guardrails_are_violated_passed_or_unresolved(low, high, p_value, status):
    [judged] = judge_guardrails([(spec(), effect_of(low, high, p_value=p_value))])

    assert judged.status is status
    assert judged.sentence.startswith("CostPerSession")


def test_a_feared_fall_is_judged_on_its_own_side():
    rise, drop = effect_of(10, 30, p_value=0.001), effect_of(-30, -10, p_value=0.001)

    judged = judge_guardrails([(spec(feared=DOWN), rise), (spec(feared=DOWN), drop)])

    assert [item.status for item in judged] == [GuardrailStatus.PASSED, GuardrailStatus.VIOLATED]


def test_many_guardrails_are_adjusted_together():
    borderline = effect_of(-1, 30, p_value=0.06)

    [alone] = judge_guardrails([(spec(), borderline)])
    ten = judge_guardrails([(spec(), borderline)] * 10)

    assert alone.status is GuardrailStatus.VIOLATED
    assert {item.status for item in ten} == {GuardrailStatus.UNRESOLVED}
    assert ten[0].p_adjusted == pytest.approx(0.3)


def test_guardrails_without_data_are_unresolved_and_not_counted():
    missing = median_effect([1, 2], [1, 2, 3, 4, 5])

    first, second = judge_guardrails([(spec(), missing), (spec(), effect_of(2, 30, p_value=0.08))])

    assert (first.status, first.p_adjusted) == (GuardrailStatus.UNRESOLVED, None)
    assert "only 2 sessions" in first.sentence
    assert second.p_adjusted == pytest.approx(0.04)


def test_a_zero_median_that_cannot_be_worse_passes():
    loops = [0] * 30 + [1] * 5

    [judged] = judge_guardrails([(spec(), median_effect(loops, loops))])

    assert judged.status is GuardrailStatus.PASSED


def test_open_designs_do_not_halve_their_p_value():
    design = Design(kind=DesignKind.OPEN)

    [judged] = judge_guardrails([(spec(), effect_of(2, 30, p_value=0.04, design=design))])

    assert judged.p_value == 0.04


# The decision.


def judgement(verdict: Verdict) -> Judgement:
    return Judgement(verdict=verdict, confidence_at_target=None, sentence="The reason.")


def guardrail(low: float, high: float, p_value: float = 0.4):
    return judge_guardrails([(spec(), effect_of(low, high, p_value=p_value))])


PASSED, OPEN_ONE, VIOLATED = guardrail(-8, 2), guardrail(-8, 20), guardrail(5, 20, 0.001)


@pytest.mark.parametrize(
    ("verdict", "guardrails", "headline"),
    [
        (Verdict.MET, PASSED, Headline.SHIP),
        (Verdict.MET, [], Headline.SHIP),
        (Verdict.IMPROVED_BELOW_TARGET, PASSED, Headline.SHIP),
        (Verdict.MET, OPEN_ONE, Headline.UNDECIDED),
        (Verdict.MET, VIOLATED, Headline.DO_NOT_SHIP),
        (Verdict.REGRESSED, PASSED, Headline.DO_NOT_SHIP),
        (Verdict.NO_EFFECT, PASSED, Headline.DO_NOT_SHIP),
        (Verdict.TARGET_EXCLUDED, PASSED, Headline.DO_NOT_SHIP),
        (Verdict.INCONCLUSIVE, PASSED, Headline.UNDECIDED),
        (Verdict.INSUFFICIENT_DATA, PASSED, Headline.UNDECIDED),
        (Verdict.PERCENT_UNDEFINED, [], Headline.UNDECIDED),
        (Verdict.INVALID, VIOLATED, Headline.UNDECIDED),
    ],
)
def test_decision_follows_the_rule(verdict, guardrails, headline):
    decision = decide(judgement(verdict), guardrails)

    assert isinstance(decision, Decision)
    assert decision.headline is headline
    assert decision.sentence.endswith(".")


def test_every_verdict_has_a_decision():
    assert all(decide(judgement(verdict), []).sentence for verdict in Verdict)
