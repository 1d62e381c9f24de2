"""Proportions against statsmodels, and their edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
)
from statsmodels.stats.proportion import (
    test_proportions_2indep as oracle_test,
)

from kaizen_analytics.core.errors import StatisticsError
from kaizen_analytics.core.model import Direction
from kaizen_analytics.stats import proportion_effect
from kaizen_analytics.stats.effect import EffectKind

COUNTS = [(40, 60, 55, 60), (3, 40, 9, 35), (1, 20, 5, 25), (120, 1000, 90, 1000), (29, 30, 20, 30)]


def shares(successes: int, n: int) -> np.ndarray:
    return np.arange(n) < successes


@pytest.mark.parametrize("counts", COUNTS)
def test_intervals_agree_with_statsmodels(counts):
    x_c, n_c, x_t, n_t = counts

    effect = proportion_effect(shares(x_c, n_c), shares(x_t, n_t))

    newcombe = confint_proportions_2indep(x_t, n_t, x_c, n_c, method="newcomb")
    ratio = confint_proportions_2indep(x_t, n_t, x_c, n_c, compare="ratio", method="score", correction=False)
    assert (effect.difference.low, effect.difference.high) == pytest.approx(newcombe, rel=1e-9)
    assert (1 + effect.percent.low / 100, 1 + effect.percent.high / 100) == pytest.approx(ratio, rel=1e-6)
    wilson = proportion_confint(x_t, n_t, method="wilson")
    assert (effect.treatment.interval.low, effect.treatment.interval.high) == pytest.approx(wilson, rel=1e-9)


@pytest.mark.parametrize("counts", COUNTS)
def test_p_value_is_that_of_the_score_test(counts):
    x_c, n_c, x_t, n_t = counts

    effect = proportion_effect(shares(x_c, n_c), shares(x_t, n_t))

    expected = oracle_test(x_t, n_t, x_c, n_c, method="score", compare="ratio", correction=False).pvalue
    assert effect.p_value == pytest.approx(expected, rel=1e-9)


def test_confidence_at_an_end_of_the_interval_is_its_level():
    effect = proportion_effect(shares(40, 60), shares(55, 60))

    assert effect.confidence(effect.percent.low, Direction.DECREASE) == pytest.approx(0.025, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(5, 40), st.integers(5, 40), st.data())
def test_every_count_has_a_result(n_c, n_t, data):
    x_c, x_t = data.draw(st.integers(0, n_c)), data.draw(st.integers(0, n_t))

    effect = proportion_effect(shares(x_c, n_c), shares(x_t, n_t))

    assert -1 <= effect.difference.low <= effect.difference.estimate <= effect.difference.high <= 1
    assert (effect.percent is None) == (x_c == 0)
    if effect.percent is not None:
        assert -100 <= effect.percent.low <= effect.percent.estimate <= effect.percent.high < np.inf


def test_no_success_in_either_arm_has_no_percent():
    effect = proportion_effect(np.zeros(20), np.zeros(20))

    assert effect.percent is None
    assert effect.difference.low < 0 < effect.difference.high


def test_a_fall_to_zero_is_one_of_exactly_a_hundred_percent():
    percent = proportion_effect(shares(5, 13), shares(0, 5)).percent

    assert percent.estimate == percent.low == -100


def test_only_successes_in_both_arms_still_have_an_interval():
    effect = proportion_effect(np.ones(20), np.ones(20))

    assert effect.percent.low < 0 < effect.percent.high


@pytest.mark.parametrize("bad", [0.5, 2, -1])
def test_values_other_than_zero_and_one_are_rejected(bad):
    with pytest.raises(StatisticsError, match="expected 0 or 1"):
        proportion_effect([0, 1, bad, 1, 0], [0, 1, 1, 1, 0])


def test_clusters_widen_the_interval():
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(10), 20)
    levels = rng.beta(2, 2, (2, 10))
    control, treatment = (rng.random(200) < level[codes] for level in levels)

    plain = proportion_effect(control, treatment)
    clustered = proportion_effect(control, treatment, clusters=(codes, codes + 100))

    assert clustered.percent.high - clustered.percent.low > 1.5 * (plain.percent.high - plain.percent.low)
    assert clustered.treatment.n_effective < 150


def rate_sessions(rng: np.random.Generator, n: int, failing: float, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Prompts and successes of sessions of which some fail a part of their prompts."""
    prompts = 1.0 + rng.poisson(4, n)
    failed = np.where(rng.random(n) < failing, rng.binomial(prompts.astype(int), share), 0)
    return prompts, prompts - failed


def test_a_rate_is_near_the_bootstrap_of_sessions():
    rng = np.random.default_rng(2)
    (n_c, x_c), (n_t, x_t) = rate_sessions(rng, 300, 0.4, 0.5), rate_sessions(rng, 300, 0.5, 0.6)
    draws = rng.integers(0, 300, (4000, 300))

    effect = proportion_effect(x_c, x_t, denominators=(n_c, n_t))

    control, treatment = (x[draws].sum(axis=1) / n[draws].sum(axis=1) for x, n in ((x_c, n_c), (x_t, n_t)))
    low, high = np.quantile(treatment - control, [0.025, 0.975])
    assert effect.kind is EffectKind.RATE
    assert effect.control.mean == pytest.approx(x_c.sum() / n_c.sum())
    assert (effect.difference.low, effect.difference.high) == pytest.approx((low, high), abs=0.07 * (high - low))


def test_one_trial_per_session_is_a_proportion():
    control, treatment = shares(40, 60), shares(55, 60)

    rate = proportion_effect(control, treatment, denominators=(np.ones(60), np.ones(60)))

    plain = proportion_effect(control, treatment)
    assert rate.difference.estimate == plain.difference.estimate
    assert plain.difference.high < rate.difference.high < plain.difference.high + 0.01  # Student's for the normal


def test_an_arm_without_failures_borrows_the_variation_of_the_other():
    rng = np.random.default_rng(3)
    prompts, successes = rate_sessions(rng, 80, 0.2, 1.0)

    effect = proportion_effect(prompts, successes, denominators=(prompts, prompts))

    assert effect.control.mean == 1
    assert effect.control.n_effective == pytest.approx(effect.treatment.n_effective, rel=1e-9)


def test_an_arm_with_few_failures_has_at_least_the_design_effect_of_both_arms():
    """By hand: one session fails 1 of 5 prompts, three sessions of the other arm all 5."""
    prompts, failed = np.full(40, 5.0), np.zeros((2, 40))
    failed[0, 0], failed[1, :3] = 1.0, 5.0

    effect = proportion_effect(*(prompts - failed), denominators=(prompts, prompts))

    shares = failed.sum(axis=1) / 200
    squares = ((failed - shares[:, None] * 5) ** 2).sum(axis=1)
    binomial = 200 * shares * (1 - shares)
    own, common = squares / binomial, squares.sum() / binomial.sum()
    assert own[0] < common < own[1]
    assert effect.treatment.n_effective / effect.control.n_effective == pytest.approx(common / own[1])


def test_successes_beyond_their_trials_are_rejected():
    with pytest.raises(StatisticsError, match="not between 0 and their trials"):
        proportion_effect([1, 2, 3, 4, 9], [1, 2, 3, 4, 5], denominators=([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]))
