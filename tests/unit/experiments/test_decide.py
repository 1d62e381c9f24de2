"""Verdicts, guardrails and the decision."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.core.model import Absolute, Delta, DesignKind, Direction, GuardrailSpec, Metric
from kaizen_analytics.experiments.decide import (
    Grade,
    GuardrailStatus,
    Headline,
    Judgement,
    Verdict,
    classify,
    decide,
    judge,
    judge_guardrails,
    opposes,
)
from kaizen_analytics.stats import (
    ArmSummary,
    Design,
    Effect,
    EffectKind,
    Interval,
    mean_effect,
    median_effect,
    proportion_effect,
)

DOWN, UP = Direction.DECREASE, Direction.INCREASE
LOWER, HIGHER = [1, 2, 3, 4, 5, 6, 7], [21, 22, 23, 24, 25, 26, 27]


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


def test_a_rise_is_judged_on_its_own_side():
    criterion = Delta(direction=UP, target_pct=10)

    assert judge(effect_of(12, 30), criterion, better=UP).verdict is Verdict.MET
    assert judge(effect_of(-30, -12), criterion, better=UP).verdict is Verdict.REGRESSED


def test_what_cannot_be_judged_comes_first():
    few = median_effect([1, 2], [1, 2, 3, 4, 5])
    zero = median_effect([-4, -3, -2, -1, 0, 1, 2, 3], [3, 4, 5, 6, 7, 8])

    assert judge(effect_of(-30, -12), fall(10), better=DOWN, is_valid=False).verdict is Verdict.INVALID
    assert judge(few, fall(10), better=DOWN).verdict is Verdict.INSUFFICIENT_DATA
    assert judge(zero, fall(10), better=DOWN) == Judgement(verdict=Verdict.PERCENT_UNDEFINED)


@pytest.mark.parametrize(("direction", "target"), [(DOWN, 10.0), (UP, -10.0)])
def test_a_contradictory_sign_yields_to_the_direction(direction, target):
    good = effect_of(-30, -12) if direction is DOWN else effect_of(12, 30)

    criterion = Delta(direction=direction, target_pct=target)

    assert judge(good, criterion, better=direction).verdict is Verdict.MET
    assert criterion.is_contradictory
    assert criterion.signed_pct == -target


@pytest.mark.parametrize("target", [0.0, -0.0])
def test_target_zero_has_no_contradiction_and_asks_for_any_change(target):
    criterion = Delta(direction=DOWN, target_pct=target)

    assert judge(effect_of(-30, -12), criterion, better=DOWN).verdict is Verdict.MET
    assert not criterion.is_contradictory


def test_nothing_is_decided_from_a_tied_median():
    counts = np.array([3] * 40 + [2] * 10 + [4] * 10)

    assert judge(median_effect(counts, counts), fall(0), better=DOWN).verdict is Verdict.DEGENERATE
    assert judge(median_effect(counts, counts - 1), fall(0), better=DOWN).verdict is Verdict.DEGENERATE
    assert judge(median_effect(counts, counts), Absolute(metric_value=3), better=DOWN).verdict is Verdict.DEGENERATE


def test_a_fifth_of_an_arm_at_the_median_is_still_judged():
    spread = np.concatenate(([50.0] * 20, np.arange(10, 50), np.arange(51, 91)))

    assert judge(median_effect(spread, spread / 2), fall(10), better=DOWN).verdict is Verdict.MET
    tied = np.concatenate(([50.0] * 21, np.arange(10, 50), np.arange(51, 91)))
    assert judge(median_effect(tied, tied / 2), fall(10), better=DOWN).verdict is Verdict.DEGENERATE


def test_confidence_at_target_is_that_of_the_signed_target():
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

    assert judge(effect, Absolute(metric_value=value), better=better).verdict is verdict


def test_absolute_targets_of_shares_use_wilson():
    effect = proportion_effect(np.arange(50) < 10, np.arange(100) < 90)

    assert judge(effect, Absolute(metric_value=0.8), better=UP).verdict is Verdict.MET


def test_absolute_targets_without_data_are_insufficient():
    judgement = judge(median_effect([], []), Absolute(metric_value=1), better=UP)

    assert judgement.verdict is Verdict.INSUFFICIENT_DATA


# Guardrails.


def spec(threshold: float = 5.0, feared: Direction = UP) -> GuardrailSpec:
    return GuardrailSpec(metric=Metric.COST_PER_SESSION, regression_direction=feared, threshold_pct=threshold)


def statuses(guardrails) -> list[GuardrailStatus]:
    return [status for status, _ in judge_guardrails(guardrails)]


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
    assert statuses([(spec(), effect_of(low, high, p_value=p_value))]) == [status]


def test_a_feared_fall_is_judged_on_its_own_side():
    rise, drop = effect_of(10, 30, p_value=0.001), effect_of(-30, -10, p_value=0.001)

    judged = statuses([(spec(feared=DOWN), rise), (spec(feared=DOWN), drop)])

    assert judged == [GuardrailStatus.PASSED, GuardrailStatus.VIOLATED]


def test_many_guardrails_are_adjusted_together():
    borderline = effect_of(-1, 30, p_value=0.06)

    assert judge_guardrails([(spec(), borderline)]) == [(GuardrailStatus.VIOLATED, 0.03)]
    assert judge_guardrails([(spec(), borderline)] * 10) == [(GuardrailStatus.UNRESOLVED, pytest.approx(0.3))] * 10


def test_guardrails_without_data_are_unresolved_and_not_counted():
    missing = median_effect([1, 2], [1, 2, 3, 4, 5])

    first, second = judge_guardrails([(spec(), missing), (spec(), effect_of(2, 30, p_value=0.08))])

    assert first == (GuardrailStatus.UNRESOLVED, None)
    assert second[1] == pytest.approx(0.04)


def test_a_guardrail_passes_nothing_that_its_interval_cannot_see():
    loops, more = [0] * 30 + [1] * 5, [0] * 19 + [9] * 16

    assert statuses([(spec(), median_effect(loops, more))]) == [GuardrailStatus.UNRESOLVED]
    assert statuses([(spec(), mean_effect(loops, more))]) == [GuardrailStatus.VIOLATED]


@pytest.mark.parametrize(
    ("verdict", "treatment", "opposed"),
    [
        (Verdict.MET, HIGHER, True),
        (Verdict.MET, LOWER, False),
        (Verdict.REGRESSED, LOWER, True),
        (Verdict.REGRESSED, HIGHER, False),
        (Verdict.INCONCLUSIVE, HIGHER, False),
    ],
)
def test_a_companion_opposes_only_beyond_chance_and_in_the_other_direction(verdict, treatment, opposed):
    companion = mean_effect([10, 11, 12, 13, 14, 15, 16], treatment)

    assert opposes(verdict, companion, DOWN) is opposed
    assert not opposes(verdict, mean_effect([1, 9, 5, 3, 7], [2, 9, 4, 3, 8]), DOWN)


def test_nothing_is_decided_against_the_companion():
    assert decide(Verdict.MET, [], Grade.RANDOMISED, opposed=True).headline is Headline.UNDECIDED
    assert decide(Verdict.REGRESSED, [], Grade.RANDOMISED, opposed=True).headline is Headline.UNDECIDED
    violated = [(Metric.TOOL_LOOPS, GuardrailStatus.VIOLATED)]
    assert decide(Verdict.MET, violated, Grade.RANDOMISED, opposed=True).headline is Headline.DO_NOT_SHIP


def test_open_designs_do_not_halve_their_p_value():
    design = Design(kind=DesignKind.OPEN)

    assert judge_guardrails([(spec(), effect_of(2, 30, p_value=0.04, design=design))])[0][1] == 0.04


# The decision.

PASSED, OPEN_ONE, VIOLATED = GuardrailStatus.PASSED, GuardrailStatus.UNRESOLVED, GuardrailStatus.VIOLATED


@pytest.mark.parametrize(
    ("verdict", "guardrails", "headline"),
    [
        (Verdict.MET, [PASSED], Headline.SHIP),
        (Verdict.MET, [], Headline.SHIP),
        (Verdict.IMPROVED_BELOW_TARGET, [PASSED], Headline.SHIP),
        (Verdict.MET, [OPEN_ONE], Headline.UNDECIDED),
        (Verdict.MET, [OPEN_ONE, VIOLATED], Headline.DO_NOT_SHIP),
        (Verdict.REGRESSED, [PASSED], Headline.DO_NOT_SHIP),
        (Verdict.NO_EFFECT, [PASSED], Headline.DO_NOT_SHIP),
        (Verdict.TARGET_EXCLUDED, [PASSED], Headline.DO_NOT_SHIP),
        (Verdict.INCONCLUSIVE, [PASSED], Headline.UNDECIDED),
        (Verdict.INSUFFICIENT_DATA, [PASSED], Headline.UNDECIDED),
        (Verdict.PERCENT_UNDEFINED, [], Headline.UNDECIDED),
        (Verdict.INVALID, [VIOLATED], Headline.UNDECIDED),
    ],
)
def test_decision_follows_the_rule(verdict, guardrails, headline):
    decision = decide(verdict, [(Metric.TOOL_LOOPS, status) for status in guardrails], Grade.RANDOMISED)

    assert decision.headline is headline
    assert len(decision.violated) == guardrails.count(VIOLATED)
    assert len(decision.unresolved) == guardrails.count(OPEN_ONE)
    assert decision.n_guardrails == len(guardrails)


@pytest.mark.parametrize(
    ("grade", "exploratory"),
    [(Grade.CONCURRENT, False), (Grade.BEFORE_AFTER, False), (Grade.BEFORE_AFTER, True), (Grade.RANDOMISED, True)],
)
@given(st.sampled_from(Verdict), st.lists(st.sampled_from(GuardrailStatus)))
def test_only_a_lot_and_a_rule_before_the_data_ship(grade, exploratory, verdict, guardrails):
    statuses = [(Metric.TOOL_LOOPS, status) for status in guardrails]
    made = decide(verdict, statuses, grade, exploratory=exploratory)
    causal = decide(verdict, statuses, Grade.RANDOMISED).headline
    seen = {Headline.SHIP: Headline.BETTER, Headline.DO_NOT_SHIP: Headline.WORSE}.get(causal, causal)
    if verdict in (Verdict.NO_EFFECT, Verdict.TARGET_EXCLUDED) and VIOLATED not in guardrails:
        seen = Headline.UNDECIDED  # an interval around zero is no difference that was seen
    assert made.headline is seen
