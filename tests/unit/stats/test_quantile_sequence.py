"""The exact sequential design."""

import math

import numpy as np
import pytest
from scipy import stats

from kaizen_analytics.stats import Design, DesignKind, median_effect
from kaizen_analytics.stats.quantile_sequence import QuantileSequence, log_mixture, share_limits, share_p_value

EXACT = Design(kind=DesignKind.EXACT, planned_n=100)


@pytest.mark.parametrize("chance", [0.5, 0.9])
def test_the_mixture_is_a_martingale(chance):
    for n in (1, 7, 40):
        weights = stats.binom(n, chance).pmf(np.arange(n + 1))
        assert float(weights @ np.exp(log_mixture(n, chance, 100, 0.05))) == pytest.approx(1.0, rel=1e-9)


def sequence(control, treatment, alpha=0.05) -> QuantileSequence:
    return QuantileSequence(np.sort(control), np.sort(treatment), 0.5, 100, alpha)


def test_interval_contains_exactly_the_pairs_below_the_threshold():
    rng = np.random.default_rng(0)
    control, treatment = np.sort(rng.lognormal(0, 1, 40)), np.sort(rng.lognormal(0, 1, 45))
    m_c, m_t = log_mixture(40, 0.5, 100, 0.05), log_mixture(45, 0.5, 100, 0.05)
    padded_c = np.concatenate(([-np.inf], control, [np.inf]))
    padded_t = np.concatenate(([-np.inf], treatment, [np.inf]))
    inside = [(i, j) for i in range(41) for j in range(46) if m_c[i] + m_t[j] < math.log(20)]

    low, high = sequence(control, treatment).difference_limits()

    assert low == min(padded_t[j] - padded_c[i + 1] for i, j in inside)
    assert high == max(padded_t[j + 1] - padded_c[i] for i, j in inside)


def test_p_value_is_small_for_separated_arms_and_one_for_equal_ones():
    values = np.arange(60.0)

    assert sequence(values, values + 100).p_value() < 1e-6
    assert sequence(values, values).p_value() == 1.0


def test_false_positives_over_all_looks_are_rare():
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(40):
        control, treatment = rng.poisson(3, 120).astype(float), rng.poisson(3, 120).astype(float)
        found += any(sequence(control[:n], treatment[:n]).p_value() <= 0.05 for n in range(5, 121, 5))

    assert found <= 2


def test_few_sessions_have_no_limits():
    effect = median_effect(np.arange(1.0, 7), np.arange(1.0, 7) + 3, design=EXACT)

    assert (effect.difference.low, effect.difference.high) == (-math.inf, math.inf)
    assert not effect.percent.bounded
    assert any("no limit" in note for note in effect.notes)


def test_negative_values_have_no_percent():
    effect = median_effect(np.arange(-20.0, 30), np.arange(50.0), design=EXACT)

    assert "Some values are negative" in effect.percent_undefined
    assert math.isfinite(effect.difference.low)


def test_a_control_that_may_be_zero_has_no_percent():
    values = np.concatenate((np.zeros(20), np.arange(1.0, 31)))

    effect = median_effect(values, values + 5, design=EXACT)

    assert effect.percent is None
    assert "may be zero" in effect.percent_undefined


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (3, 40), (200, 400)])
def test_share_limits_are_where_the_evidence_reaches_the_threshold(successes, n):
    low, high = share_limits(successes, n, 0.05)

    assert 0 <= low <= successes / n <= high <= 1
    for end in {low, high} - {0.0, 1.0}:
        chance = stats.binom(n, end).pmf(successes) * (n + 1)
        assert chance == pytest.approx(0.05, rel=1e-6)


def test_share_p_value_of_equal_shares_is_one():
    assert share_p_value(10, 40, 10, 40) == 1.0
    assert share_p_value(1, 200, 199, 200) < 1e-20
