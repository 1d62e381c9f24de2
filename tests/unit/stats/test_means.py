"""Means against statsmodels, tea-tasting and Fieller's definition."""

import numpy as np
import pyarrow as pa
import pytest
import tea_tasting as tt
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from kaizen_analytics.model import Direction
from kaizen_analytics.stats import Design, DesignKind, mean_effect


def arms(seed: int, n: int = 60):
    rng = np.random.default_rng(seed)
    return rng.gamma(4, 10, n), rng.gamma(4, 8, n + 11)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_difference_is_welchs_interval(seed):
    control, treatment = arms(seed)
    oracle = CompareMeans(DescrStatsW(treatment), DescrStatsW(control))

    effect = mean_effect(control, treatment, alpha=0.1)

    expected = oracle.tconfint_diff(alpha=0.1, usevar="unequal")
    assert (effect.difference.low, effect.difference.high) == pytest.approx(expected, rel=1e-11)
    assert effect.p_value == pytest.approx(oracle.ttest_ind(usevar="unequal")[1], rel=1e-9)


def test_difference_agrees_with_tea_tasting():
    control, treatment = arms(4)
    table = pa.table(
        {
            "variant": [0] * control.size + [1] * treatment.size,
            "value": np.concatenate((control, treatment)),
        },
    )

    effect = mean_effect(control, treatment)

    oracle = tt.Experiment(value=tt.Mean("value", use_t=True, equal_var=False)).analyze(table)["value"]
    assert effect.difference.estimate == pytest.approx(oracle.effect_size, rel=1e-11)
    assert effect.difference.low == pytest.approx(oracle.effect_size_ci_lower, rel=1e-11)
    assert effect.difference.high == pytest.approx(oracle.effect_size_ci_upper, rel=1e-11)
    assert effect.p_value == pytest.approx(oracle.pvalue, rel=1e-9)
    assert effect.percent.estimate == pytest.approx(100 * oracle.rel_effect_size, rel=1e-11)


def test_percent_ends_are_the_ratios_that_are_just_not_rejected():
    control, treatment = arms(5)
    effect = mean_effect(control, treatment)
    degrees = CompareMeans(DescrStatsW(treatment), DescrStatsW(control)).dof_satt()

    for end in (effect.percent.low, effect.percent.high):
        ratio = 1 + end / 100
        error = np.sqrt(treatment.var(ddof=1) / treatment.size + ratio**2 * control.var(ddof=1) / control.size)
        statistic = abs(treatment.mean() - ratio * control.mean()) / error
        assert statistic == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


def test_confidence_at_an_end_of_the_interval_is_its_level():
    effect = mean_effect(*arms(6))

    assert effect.confidence(effect.percent.low, Direction.DECREASE) == pytest.approx(0.025, rel=1e-6)
    assert effect.confidence(effect.percent.high, Direction.INCREASE) == pytest.approx(0.025, rel=1e-6)


def test_swapping_arms_mirrors_the_difference():
    control, treatment = arms(7)

    there, back = mean_effect(control, treatment).difference, mean_effect(treatment, control).difference

    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), rel=1e-12)


def test_a_control_mean_near_zero_has_no_percent():
    effect = mean_effect([-10, 11, -9, 10, -8, 9], [5, 6, 7, 8, 9, 10])

    assert effect.percent is None
    assert "not clearly above zero" in effect.percent_undefined


def test_a_negative_control_mean_has_no_percent():
    assert "zero or negative" in mean_effect([-5, -6, -7, -8, -9], [5, 6, 7, 8, 9]).percent_undefined


def test_one_session_that_makes_up_the_mean_is_pointed_out():
    effect = mean_effect([1, 2, 3, 2, 1, 2, 3, 1000], [1, 2, 3, 2, 1, 2, 3, 2])

    assert any("One control session makes up 99 %" in note for note in effect.notes)


def test_constant_and_small_arms_are_insufficient():
    assert "same value" in mean_effect([1] * 9, [1, 2, 3, 4, 5]).insufficient
    assert "only 2 sessions" in mean_effect([1, 2], [1, 2, 3, 4, 5]).insufficient


def test_means_have_no_exact_design():
    effect = mean_effect(*arms(8), design=Design(kind=DesignKind.EXACT))

    assert "compare medians" in effect.sentence
