"""Sample ratio mismatch against scipy, several tests at once against statsmodels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from kaizen_analytics.core.errors import StatisticsError
from kaizen_analytics.stats import RatioStatus, adjust_benjamini_hochberg, adjust_holm, check_sample_ratio


@pytest.mark.parametrize(
    ("control", "treatment", "share"), [(50, 61, 0.5), (3, 0, 0.5), (900, 110, 0.1), (2000, 2000, 0.5)]
)
def test_p_value_is_the_exact_binomial_one(control, treatment, share):
    expected = stats.binomtest(treatment, control + treatment, share).pvalue

    assert check_sample_ratio(control, treatment, expected_share=share).p_value == pytest.approx(expected, rel=1e-6)


def test_large_arms_use_the_chi_square_test():
    expected = stats.chisquare([500_000, 502_000]).pvalue

    assert check_sample_ratio(500_000, 502_000).p_value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("control", "treatment", "status"),
    [(100, 104, RatioStatus.OK), (100, 145, RatioStatus.WARN), (100, 160, RatioStatus.INVALID), (0, 0, RatioStatus.OK)],
)
def test_status_follows_the_p_value(control, treatment, status):
    assert check_sample_ratio(control, treatment).status is status


def test_sequential_p_value_survives_a_look_after_every_session():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        counts = np.cumsum(rng.random(400) < 0.5)
        p_values = [
            check_sample_ratio(n - k, k, sequential=True).p_value for n, k in enumerate(counts.tolist(), start=1)
        ]
        alarms += min(p_values) < 0.05

    assert alarms <= 10


def test_sequential_p_value_finds_a_real_mismatch():
    assert check_sample_ratio(400, 600, sequential=True).status is RatioStatus.INVALID


@pytest.mark.parametrize("arguments", [(-1, 5, 0.5), (5, 5, 0.0), (5, 5, 1.0)])
def test_impossible_counts_and_shares_are_rejected(arguments):
    with pytest.raises(StatisticsError, match="expected"):
        check_sample_ratio(arguments[0], arguments[1], expected_share=arguments[2])


@pytest.mark.slow
def test_holm_agrees_with_statsmodels():
    p_values = [0.01, 0.04, 0.03, 0.5, 0.01]

    assert adjust_holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())
    assert adjust_holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_agrees_with_statsmodels(p_values):
    assert adjust_benjamini_hochberg(p_values) == pytest.approx(multipletests(p_values, method="fdr_bh")[1].tolist())
