"""Medians: oracles, properties, and one clear result for every edge."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kaizen_analytics.core.errors import StatisticsError
from kaizen_analytics.core.model import Direction
from kaizen_analytics.stats import median_effect
from kaizen_analytics.stats.distributions import Distribution, Quantile
from kaizen_analytics.stats.effect import Obstacle, Shortage
from kaizen_analytics.stats.medians import _MedianPair

values = st.one_of(st.integers(1, 12).map(float), st.floats(0.01, 1e6))
arms = st.lists(values, min_size=5, max_size=24).filter(lambda arm: len(set(arm)) > 1)


def median_distribution(sample: np.ndarray) -> Distribution:
    return Quantile.of(sample, 0.5).distribution()


def lognormal(seed: int, n: int, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).lognormal(9, 1, n)


def ends(interval) -> tuple[float, float]:
    return interval.low, interval.high


@pytest.mark.parametrize("n", [15, 40])
def test_interval_agrees_with_scipy_bootstrap(n):
    control, treatment = lognormal(1, n), lognormal(2, n + 3, 0.7)

    effect = median_effect(control, treatment)

    oracle = stats.bootstrap(
        (treatment, control),
        lambda a, b, axis: np.median(a, axis=axis) - np.median(b, axis=axis),
        n_resamples=40_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).bootstrap_distribution
    # The share of resamples below each end is 2.5 % within five standard errors.
    assert np.mean(oracle <= effect.difference.low) == pytest.approx(0.025, abs=5 * math.sqrt(0.025 / 40_000))
    assert np.mean(oracle >= effect.difference.high) == pytest.approx(0.025, abs=5 * math.sqrt(0.025 / 40_000))


@settings(max_examples=40, deadline=None)
@given(arms, arms, st.sampled_from([0.01, 0.05, 0.2]))
def test_difference_limits_equal_the_sorted_support(control, treatment, alpha):
    c, t = median_distribution(np.array(control)), median_distribution(np.array(treatment))
    points = (t.values[None, :] - c.values[:, None]).ravel()
    masses = (t.masses[None, :] * c.masses[:, None]).ravel()
    order = np.argsort(points, kind="stable")

    low, high = _MedianPair(c, t).difference_limits(alpha)

    # The end has at least alpha/2 at or beyond it, and less strictly beyond it.
    slack = 1e-9 * max(1.0, np.abs(points).max())
    assert masses[points <= low + slack].sum() >= alpha / 2 - 1e-9
    assert masses[points < low - slack].sum() <= alpha / 2 + 1e-9
    assert masses[points >= high - slack].sum() >= alpha / 2 - 1e-9
    assert masses[points > high + slack].sum() <= alpha / 2 + 1e-9
    assert points[order[0]] <= low <= high <= points[order[-1]]


@settings(max_examples=40, deadline=None)
@given(arms, arms)
def test_swapping_arms_mirrors_the_difference(control, treatment):
    there, back = median_effect(control, treatment), median_effect(treatment, control)

    assert ends(there.difference) == (-back.difference.high, -back.difference.low)
    assert there.p_value == pytest.approx(back.p_value, abs=1e-9)


def test_swapping_arms_inverts_the_percent_change():
    control, treatment = lognormal(1, 50), lognormal(2, 60)

    there, back = median_effect(control, treatment).percent, median_effect(treatment, control).percent

    assert 1 + there.low / 100 == pytest.approx(1 / (1 + back.high / 100), rel=1e-9)
    assert 1 + there.high / 100 == pytest.approx(1 / (1 + back.low / 100), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(arms, arms, st.sampled_from([0.25, 2.0, 1024.0]))
def test_scaling_scales_the_difference_and_keeps_the_percent(control, treatment, factor):
    plain = median_effect(control, treatment)
    scaled = median_effect(np.array(control) * factor, np.array(treatment) * factor)

    assert ends(scaled.difference) == pytest.approx(tuple(factor * end for end in ends(plain.difference)))
    if plain.percent is not None:
        assert ends(scaled.percent) == pytest.approx(ends(plain.percent), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(arms, arms, st.integers(-50, 50))
def test_shifting_the_treatment_shifts_the_difference(control, treatment, shift):
    whole = np.round(control), np.round(treatment)
    if min(np.ptp(whole[0]), np.ptp(whole[1])) == 0:
        return
    plain, shifted = median_effect(*whole), median_effect(whole[0], whole[1] + shift)

    assert ends(shifted.difference) == tuple(end + shift for end in ends(plain.difference))


@settings(max_examples=25, deadline=None)
@given(arms, arms, st.randoms())
def test_the_order_of_sessions_changes_nothing(control, treatment, random):
    shuffled = random.sample(control, len(control)), random.sample(treatment, len(treatment))

    there, back = median_effect(*shuffled), median_effect(control, treatment)
    assert (there.difference, there.percent, there.p_value) == (back.difference, back.percent, back.p_value)


@settings(max_examples=40, deadline=None)
@given(arms, arms)
def test_intervals_of_higher_confidence_contain_those_of_lower(control, treatment):
    narrow, wide = median_effect(control, treatment, alpha=0.2), median_effect(control, treatment, alpha=0.01)

    assert wide.difference.low <= narrow.difference.low <= narrow.difference.estimate
    assert wide.difference.high >= narrow.difference.high >= narrow.difference.estimate
    if wide.percent is not None:
        assert wide.percent.low <= narrow.percent.low
        assert wide.percent.high >= narrow.percent.high


@settings(max_examples=40, deadline=None)
@given(arms)
def test_identical_arms_show_no_effect(arm):
    effect = median_effect(arm, arm)

    assert effect.difference.low <= 0 <= effect.difference.high
    assert effect.difference.estimate == 0
    assert effect.p_value > 0.5


def test_p_value_and_interval_agree():
    for seed in range(20):
        effect = median_effect(lognormal(seed, 40), lognormal(seed + 100, 40, 0.6))
        excludes = effect.difference.high < 0 or effect.difference.low > 0
        assert excludes == (effect.p_value < 0.05)


def test_estimate_is_numpys_median():
    control, treatment = lognormal(1, 100), lognormal(2, 101)

    effect = median_effect(control, treatment)

    assert effect.control.median == np.median(control)
    assert effect.difference.estimate == np.median(treatment) - np.median(control)
    assert effect.treatment.mean == pytest.approx(treatment.mean())


def test_round_percent_changes_are_exact():
    effect = median_effect([10.0] * 9 + [11.0], [9.0] * 9 + [8.0])

    assert ends(effect.percent) == (-10.0, -10.0)
    assert effect.confidence(-10, Direction.DECREASE) == pytest.approx(1.0, abs=1e-6)
    assert effect.confidence(-10.001, Direction.DECREASE) < 0.01


def test_confidence_at_zero_counts_only_true_improvements():
    rng = np.random.default_rng(0)
    control, treatment = rng.poisson(3, 200), rng.poisson(3, 200)

    effect = median_effect(control, treatment)

    assert effect.percent.estimate == 0
    assert effect.confidence(0, Direction.INCREASE) < 0.1
    assert effect.confidence(0, Direction.DECREASE) < 0.1


# Edges: each gives a clear result.


@pytest.mark.parametrize(
    ("control", "shortage"),
    [
        ([], Shortage(obstacle=Obstacle.NO_SESSION, arm="control", found=0, needed=5)),
        ([1, 2, 3, 4], Shortage(obstacle=Obstacle.FEW_SESSIONS, arm="control", found=4, needed=5)),
        ([7.0] * 20, Shortage(obstacle=Obstacle.CONSTANT, arm="control", found=7.0, needed=20)),
        ([0.0] * 20, Shortage(obstacle=Obstacle.CONSTANT, arm="control", found=0.0, needed=20)),
    ],
)
def test_too_little_gives_no_interval_and_says_what_is_missing(control, shortage):
    effect = median_effect(control, [1, 2, 3, 4, 5, 6])

    assert (effect.difference, effect.percent, effect.p_value) == (None, None, None)
    assert effect.shortage == shortage
    assert effect.control.n == len(control)


def test_a_zero_control_median_has_a_difference_but_no_percent():
    effect = median_effect([0, 0, 0, 0, 0, 0, 1, 2], [3, 4, 5, 6, 7, 8, 9, 3])

    assert effect.percent is None
    assert effect.difference.low > 0
    assert effect.confidence(10, Direction.INCREASE) is None


def test_a_control_that_may_be_zero_is_charged_to_both_tails():
    sample = np.array([0.0] * 3 + list(range(1, 18)))

    pair = _MedianPair(median_distribution(sample), median_distribution(sample + 5))

    mass = pair.control.at_most(0.0)
    assert 0 < mass < 0.025
    narrow = _MedianPair(median_distribution(sample[3:]), pair.treatment).percent_limits(0.05)
    assert pair.percent_limits(0.05)[1] > narrow[1]
    assert pair.percent_limits(2 * mass) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200])
def test_values_that_are_not_finite_are_rejected_at_the_door(bad):
    with pytest.raises(StatisticsError, match=r"control arm holds .* at position 2"):
        median_effect([1, 2, bad, 4, 5], [1, 2, 3, 4, 5])


@pytest.mark.parametrize("bad", [["a", 1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_arms_that_are_no_list_of_numbers_are_rejected(bad):
    with pytest.raises(StatisticsError, match="treatment arm"):
        median_effect([1, 2, 3, 4, 5], bad)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.05, math.nan])
def test_impossible_levels_are_rejected(alpha):
    with pytest.raises(StatisticsError, match="alpha"):
        median_effect(lognormal(1, 9), lognormal(2, 9), alpha=alpha)


def test_massive_ties_give_steps_and_are_counted():
    effect = median_effect([1] * 50 + [2] * 50, [2] * 90 + [3] * 10)

    assert ends(effect.difference) == (0.0, 1.0)
    assert (effect.control.ties, effect.treatment.ties) == (0, 90)


def test_huge_magnitudes_keep_their_precision():
    control, treatment = lognormal(1, 31), lognormal(2, 31)

    small, huge = median_effect(control, treatment), median_effect(control * 2.0**50, treatment * 2.0**50)

    assert ends(huge.difference) == tuple(end * 2.0**50 for end in ends(small.difference))
    assert ends(huge.percent) == pytest.approx(ends(small.percent))


def test_controls_next_to_nothing_have_no_percent():
    tiny = np.arange(1.0, 12) * 1e-300

    effect = median_effect(tiny, np.arange(1.0, 12) * 1e140)

    assert effect.percent is None
    assert effect.difference.low > 0


def test_negative_values_have_a_difference_but_no_percent():
    effect = median_effect([-5, -4, -3, -2, -1, -6], [-15, -14, -13, -12, -11, -16])

    assert ends(effect.difference)[1] < 0
    assert effect.percent is None


def test_a_negative_treatment_has_a_percent_below_minus_100():
    effect = median_effect([10, 11, 12, 13, 14, 15], [-10, -11, -12, -13, -14, -15])

    assert effect.percent.high < -100
