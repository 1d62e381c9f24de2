"""Levels under repeated looks."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from kaizen_analytics.errors import StatisticsError
from kaizen_analytics.stats import Design, DesignKind, median_effect, proportion_effect, sessions_within_plan
from kaizen_analytics.stats.sequential import FIXED, adjust_p_value, effective_alpha, planned_boundary

PLANNED = Design(kind=DesignKind.PLANNED, planned_n=300)
OPEN = Design(kind=DesignKind.OPEN, planned_n=300)


def lognormal(seed: int, n: int, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).lognormal(9, 1, n)


def test_planned_boundary_is_the_reflection_principle():
    assert planned_boundary(0.05) == pytest.approx(2.2414, abs=1e-4)
    assert 4 * stats.norm.sf(planned_boundary(0.01)) == pytest.approx(0.01)


def test_fixed_design_keeps_the_level():
    assert effective_alpha(FIXED, 0.05, 0.3) == 0.05
    assert adjust_p_value(FIXED, 0.03, 0.05, 0.3) == 0.03


def test_planned_level_rises_with_information_and_stays_at_the_end():
    levels = [effective_alpha(PLANNED, 0.05, share) for share in (0.1, 0.25, 0.5, 1.0, 1.5)]

    assert levels == sorted(levels)
    assert levels[3] == levels[4] == pytest.approx(2 * stats.norm.sf(2.2414), rel=1e-4)
    assert levels[1] == pytest.approx(2 * stats.norm.sf(2.2414 / 0.5), rel=1e-3)


def test_open_level_is_tightest_near_its_plan():
    levels = {share: effective_alpha(OPEN, 0.05, share) for share in (0.01, 0.5, 1.0, 2.0, 100.0)}

    assert max(levels, key=levels.get) in (0.5, 1.0, 2.0)
    assert levels[1.0] < 0.02
    assert effective_alpha(OPEN, 0.05, 0.0) == 0.0


def share(design: Design, n_control: int, n_treatment: int) -> float:
    """The information of independent sessions."""
    return design.information((n_control, n_treatment), (n_control, n_treatment))


def test_information_weighs_the_smaller_arm():
    # 300 control and 100 treatment sessions are as good as 150 and 150.
    assert share(PLANNED, 300, 100) == pytest.approx(0.5)
    assert share(PLANNED, 300, 300) == 1.0
    assert share(PLANNED, 300, 0) == 0.0


def test_a_complete_control_arm_has_its_own_plan():
    design = Design(kind=DesignKind.PLANNED, planned_n=200, planned_control_n=1000)

    assert share(design, 1000, 200) == pytest.approx(1.0)
    assert share(design, 1000, 50) == pytest.approx(0.2857, abs=1e-4)


def test_an_expected_design_effect_lowers_the_planned_information():
    design = Design(kind=DesignKind.PLANNED, planned_n=300, design_effect=3.0)

    assert design.information((100, 100), (300, 300)) == pytest.approx(1.0)
    assert design.arm_information(1, 100, 300) == pytest.approx(1.0)


def test_more_information_than_expected_does_not_let_the_plan_run_over():
    # A design effect of 6 was expected where there is none: half the sessions are half the plan.
    wrong = Design(kind=DesignKind.PLANNED, planned_n=300, design_effect=6.0)
    assert share(wrong, 150, 150) == pytest.approx(0.5)
    assert wrong.arm_information(0, 150, 150) == pytest.approx(0.5)
    # A covariate makes 150 sessions worth 300.
    assert PLANNED.information((300, 300), (150, 150)) == pytest.approx(0.5)
    # The open design has no end to run over.
    assert replace(wrong, kind=DesignKind.OPEN).information((150, 150), (150, 150)) == pytest.approx(3.0)


@pytest.mark.parametrize("design", [PLANNED, OPEN])
@pytest.mark.parametrize("information", [0.2, 0.7, 1.0])
def test_adjusted_p_value_is_the_level_at_which_the_design_rejects(design, information):
    fixed = effective_alpha(design, 0.05, information)

    assert adjust_p_value(design, fixed, 0.05, information) == pytest.approx(0.05, rel=1e-6)


def test_one_sided_p_values_have_their_own_adjustment():
    assert adjust_p_value(PLANNED, 0.01, 0.05, 1.0, sides=1) == pytest.approx(0.02)
    assert adjust_p_value(PLANNED, 0.02, 0.05, 1.0, sides=2) == pytest.approx(0.04)


def test_adjusted_p_values_are_no_larger_than_one():
    assert adjust_p_value(PLANNED, 1.0, 0.05, 0.5) == 1.0
    assert adjust_p_value(OPEN, 1.0, 0.05, 0.5) == 1.0


def test_brownian_motion_crosses_the_planned_boundary_in_five_percent():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(4_000, 500)) / math.sqrt(500)
    motion = np.cumsum(steps, axis=1)

    crossed = np.mean(np.abs(motion).max(axis=1) > planned_boundary(0.05))

    assert 0.03 < crossed < 0.055


@pytest.mark.parametrize("design", [PLANNED, OPEN])
def test_sequential_intervals_contain_the_fixed_one(design):
    control, treatment = lognormal(1, 150), lognormal(2, 150)

    fixed, sequential = median_effect(control, treatment), median_effect(control, treatment, design=design)

    assert sequential.difference.low < fixed.difference.low
    assert sequential.difference.high > fixed.difference.high
    assert sequential.p_value > fixed.p_value
    assert sequential.alpha < 0.05 == sequential.nominal_alpha
    assert sequential.information == pytest.approx(0.5)
    assert "at every look" in sequential.sentence


def test_too_early_looks_have_no_limits_and_say_so():
    design = Design(kind=DesignKind.PLANNED, planned_n=5_000)

    effect = median_effect(lognormal(1, 40), lognormal(2, 40), design=design)

    assert (effect.difference.low, effect.difference.high) == (-math.inf, math.inf)
    assert "no limit" in effect.sentence
    assert any("too early" in note for note in effect.notes)
    assert not math.isnan(effect.p_value)


@pytest.mark.parametrize("design", [PLANNED, OPEN])
def test_asymptotic_designs_wait_for_thirty_sessions(design):
    assert "too early" in median_effect(lognormal(1, 29), lognormal(2, 90), design=design).insufficient
    assert median_effect(lognormal(1, 30), lognormal(2, 90), design=design).insufficient is None


def test_sessions_after_the_planned_end_are_pointed_out():
    effect = median_effect(lognormal(1, 400), lognormal(2, 400), design=PLANNED)

    assert any("133 % of the planned information" in note for note in effect.notes)


def test_sessions_within_plan_stop_at_the_planned_information():
    arms = np.tile([False, True], 500)

    assert sessions_within_plan(arms, PLANNED) == 600
    assert sessions_within_plan(arms[:100], PLANNED) == 100
    assert sessions_within_plan(arms, FIXED) == 1000


def test_sessions_within_plan_count_an_arm_that_came_first():
    arms = np.concatenate((np.zeros(600, bool), np.ones(600, bool)))

    # 600 control and 200 treatment sessions hold as much as 300 and 300.
    assert sessions_within_plan(arms, PLANNED) == 800


def test_the_number_of_looks_is_printed_only():
    design = Design(kind=DesignKind.PLANNED, planned_n=300, looks=7)
    control, treatment = lognormal(1, 150), lognormal(2, 150)

    with_looks = median_effect(control, treatment, design=design)

    assert "looks 7" in str(with_looks)
    assert with_looks.difference == median_effect(control, treatment, design=PLANNED).difference


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": DesignKind.PLANNED}, "planned_n"),
        ({"kind": DesignKind.OPEN, "planned_n": 0}, "planned_n is 0"),
        ({"planned_n": 10, "planned_control_n": -1}, "planned_control_n is -1"),
        ({"design_effect": 0.0}, "design_effect"),
    ],
)
def test_impossible_designs_are_rejected(arguments, message):
    with pytest.raises(StatisticsError, match=message):
        Design(**arguments)


def test_exact_design_refuses_clusters_with_a_sentence():
    codes = np.arange(40) % 8

    effect = median_effect(
        lognormal(1, 40),
        lognormal(2, 40),
        clusters=(codes, codes),
        design=Design(kind=DesignKind.EXACT),
    )

    assert "independent sessions only" in effect.insufficient


def test_proportions_use_the_design_too():
    control, treatment = np.arange(150) % 3 == 0, np.arange(150) % 2 == 0

    fixed, planned = proportion_effect(control, treatment), proportion_effect(control, treatment, design=PLANNED)

    assert planned.percent.low < fixed.percent.low
    assert planned.p_value > fixed.p_value
