"""Sessions before and after a change, against brute force and statsmodels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import GLS, OLS
from statsmodels.tools import add_constant

from benchmarks.worlds import WORLDS, World, draw_world
from kaizen_analytics.core.errors import StatisticsError
from kaizen_analytics.stats import before_after
from kaizen_analytics.stats.before_after import (
    _RHO,
    _SLOPE_SD,
    _TAUS,
    StratifiedEffect,
    Timeline,
    _bound_drift,
    _Cells,
    _compute_drift,
    _compute_median_limits,
    _compute_placebo,
    _weigh,
    compare_before_after,
    compute_scores,
    compute_stratified_effect,
    find_common_strata,
)


def timeline(days, values, *, after=None, strata=None, weights=None, window=28) -> Timeline:
    days = np.asarray(days)
    return Timeline(
        days=days,
        after=days >= 0 if after is None else after,
        strata=np.zeros_like(days) if strata is None else strata,
        values=np.asarray(values, dtype=float),
        weights=weights,
        in_window=days >= -window,
    )


@pytest.fixture
def mixed() -> Timeline:
    """Return 84 days with 20 sessions each, of two kinds, with day effects and a true change of -30 %."""
    rng = np.random.default_rng(3)
    days = np.repeat(np.arange(-56, 28), 20)
    strata = (rng.random(days.size) < 0.3).astype(int)
    logs = 9 + 0.5 * strata + np.repeat(rng.normal(0, 0.3, 84), 20) + rng.normal(0, 1, days.size)
    return timeline(days, np.exp(logs + math.log(0.7) * (days >= 0)), strata=strata)


# Support and effect.


def test_a_kind_of_session_counts_from_five_days_and_twenty_sessions_in_each_arm():
    days = np.concatenate([np.repeat(np.arange(-5, 5), 4), [6] * 30, [-6] * 30, np.repeat(np.arange(-5, 5), 3)])
    strata = np.concatenate([np.zeros(40), np.ones(60), np.full(30, 2)]).astype(int)
    assert find_common_strata(timeline(days, days + 9.0, strata=strata)) == (0,)  # 1 has one day, 2 has 15 sessions


def test_nothing_is_compared_without_a_common_kind(mixed):
    switched = replace(mixed, strata=mixed.after.astype(int))
    found = compare_before_after(switched, by_median=True)
    assert (found.has_sessions, found.common, found.effect, found.drift, found.placebo) == (True, (), None, None, None)
    assert found.crude.is_clear


def test_the_standardised_effect_is_that_of_equal_mixes(mixed):
    """The mix changes with the change: crudely a rise, within each kind a fall of 30 %."""
    rng = np.random.default_rng(4)
    strata = np.where(mixed.after, rng.random(mixed.days.size) < 0.9, rng.random(mixed.days.size) < 0.1).astype(int)
    values = np.exp(rng.normal(0, 0.3, mixed.days.size) + 2 * strata + math.log(0.7) * mixed.after)
    shifted = replace(mixed, strata=strata, values=values)
    found = compare_before_after(shifted, by_median=True)
    assert found.crude.log_ratio > 1
    assert found.effect.log_ratio == pytest.approx(math.log(0.7), abs=0.06)
    assert found.effect.low < math.log(0.7) < found.effect.high


def test_coverage_is_the_smaller_share_of_an_arm(mixed):
    alone = np.where(mixed.after & (mixed.days % 2 == 0), 7, 0)
    found = compute_stratified_effect(replace(mixed, strata=alone), by_median=True)
    assert (found.coverage, found.common) == (0.5, (0,))


def test_the_limits_of_a_median_are_a_t_interval_of_the_share_below_it(mixed):
    days, values = mixed.days[:200], mixed.values[:200]
    median, low, high = _compute_median_limits(days, values, 0.05)
    sums = [
        sum((0.5 if y > median else -0.5) for d, y in zip(days, values, strict=True) if d == day) for day in set(days)
    ]
    error = math.sqrt(len(sums) / (len(sums) - 1) * sum(total**2 for total in sums)) / 200
    half = stats.t.ppf(0.975, len(sums) - 1) * error
    assert (low, high) == pytest.approx((np.quantile(values, 0.5 - half), np.quantile(values, 0.5 + half)))


def test_means_and_ratios_have_the_clustered_errors_of_statsmodels(mixed):
    weights = 1.0 + np.random.default_rng(5).poisson(3, mixed.days.size)
    line = replace(mixed, weights=weights, strata=np.zeros_like(mixed.days))
    found = compute_stratified_effect(line, by_median=False)
    levels, variances = [], []
    for arm in (False, True):
        part = line.where(line.in_window & (line.after == arm))
        ratio = part.values.sum() / part.weights.sum()
        linearised = (part.values - ratio * part.weights) / (ratio * part.weights.mean())
        fit = OLS(linearised, np.ones(linearised.size)).fit(cov_type="cluster", cov_kwds={"groups": part.days + 99})
        levels.append(math.log(ratio))
        variances.append((float(fit.bse[0]) ** 2, np.unique(part.days).size - 1))
    total = sum(v for v, _ in variances)
    half = stats.t.ppf(0.975, total**2 / sum(v**2 / k for v, k in variances)) * math.sqrt(total)
    assert found.log_ratio == pytest.approx(levels[1] - levels[0])
    assert (found.low, found.high) == pytest.approx((found.log_ratio - half, found.log_ratio + half))


@pytest.mark.parametrize("by_median", [True, False])
def test_swapping_the_arms_turns_the_effect_around(mixed, *, by_median):
    forth = compute_stratified_effect(mixed, by_median=by_median)
    back = compute_stratified_effect(replace(mixed, after=~mixed.after), by_median=by_median)
    assert (back.log_ratio, back.low, back.high) == pytest.approx((-forth.log_ratio, -forth.high, -forth.low))


@given(st.floats(0.01, 100))
def test_the_unit_does_not_matter(factor):
    line = draw_world(np.random.default_rng(1), World(), history=35, after=14, per_day=10)
    first, second = (
        compare_before_after(replace(line, values=line.values * scale), by_median=True) for scale in (1.0, factor)
    )
    assert second.effect.log_ratio == pytest.approx(first.effect.log_ratio)
    assert second.drift.p_value == pytest.approx(first.drift.p_value)
    assert second.placebo.as_large == first.placebo.as_large


@pytest.mark.parametrize("by_median", [True, False])
def test_other_clusters_beside_the_days_only_widen_the_interval(mixed, *, by_median):
    rng = np.random.default_rng(6)
    noise = rng.normal(0, 1.0, 40)[(branch := rng.integers(0, 40, mixed.days.size))]
    line = replace(mixed, values=mixed.values * np.exp(noise), strata=np.zeros_like(mixed.days))
    limits = [
        compute_stratified_effect(replace(line, clusters=codes), by_median=by_median)
        for codes in (None, line.days, np.arange(line.days.size), branch)
    ]
    alone, days, sessions, branches = ((found.log_ratio, found.low, found.high) for found in limits)
    assert alone == days == pytest.approx(sessions)
    assert branches[0] == alone[0]
    assert branches[1] < alone[1] - 0.1 < alone[2] + 0.1 < branches[2]
    one = compute_stratified_effect(replace(line, clusters=np.zeros_like(line.days)), by_median=by_median)
    assert (one.log_ratio, one.low, one.high) == (alone[0], -math.inf, math.inf)


def test_a_median_of_zero_has_no_effect_and_a_limit_of_zero_no_end():
    days = np.repeat(np.arange(-10, 10), 10)
    zero = timeline(days, np.tile([0.0] * 6 + [1.0] * 4, 20))
    assert compute_stratified_effect(zero, by_median=True) is None
    mixed_days = np.random.default_rng(1).permutation(np.tile([0.0] * 5 + [1.0, 1.1, 1.2, 1.3, 1.4], 20))
    near = timeline(days, mixed_days + (days < 0) + 0.1 * (days == 9))
    found = compute_stratified_effect(near, by_median=True)
    assert found.low == -math.inf
    assert math.isfinite(found.high)


def test_arms_without_variation_are_not_clear():
    days = np.repeat(np.arange(-10, 10), 10)
    found = compute_stratified_effect(timeline(days, np.where(days < 0, 2.0, 1.0)), by_median=False)
    assert (found.low, found.high) == (found.log_ratio, found.log_ratio)
    assert not found.is_clear


def test_bad_arrays_are_refused(mixed):
    with pytest.raises(StatisticsError, match="one length"):
        replace(mixed, strata=mixed.strata[:3])
    with pytest.raises(StatisticsError, match="expected 0 or more"):
        replace(mixed, values=-mixed.values)


# Drift.


def fit_by_hand(cells, tau: float) -> tuple[float, float, float, float, float]:
    """Return log likelihood, step, its error, slope and its error for one tau, with vague priors instead of algebra."""
    labels = np.unique(cells.labels)
    fixed = np.column_stack([cells.weeks >= 0, *(cells.labels == label for label in labels)]).astype(float)
    time = (cells.weeks - cells.weeks.mean())[:, None]
    design = np.hstack([fixed, time])
    prior = np.diag([1e4] * fixed.shape[1] + [_SLOPE_SD**2])
    noise = tau**2 * _RHO ** np.abs(time - time.T) + np.diag(cells.noise)
    total = design @ prior @ design.T + noise
    gain = prior @ design.T @ np.linalg.inv(total)
    mean, cov = gain @ cells.means, prior - gain @ design @ prior
    likelihood = stats.multivariate_normal(np.zeros(len(total)), total, allow_singular=True).logpdf(cells.means)
    return likelihood, mean[0], math.sqrt(cov[0, 0]), mean[-1], math.sqrt(cov[-1, -1])


def test_the_drift_test_is_the_posterior_of_its_model(mixed):
    scores = compute_scores(mixed, by_median=True)
    found = _compute_drift(mixed, scores, (0, 1))
    cells = _Cells.of(mixed, scores, (0, 1))
    rows = np.array([fit_by_hand(cells, tau) for tau in _TAUS])
    mass = _weigh(rows[:, 0], _TAUS)
    assert found.step == pytest.approx(mass @ rows[:, 1], rel=1e-3)
    assert found.p_value == pytest.approx(mass @ (2 * stats.norm.sf(np.abs(rows[:, 1]) / rows[:, 2])), rel=0.01)
    assert found.slope == pytest.approx(mass @ rows[:, 3], rel=1e-3)
    spread = mass @ (rows[:, 4] ** 2 + (rows[:, 3] - mass @ rows[:, 3]) ** 2)
    assert found.slope_error == pytest.approx(math.sqrt(spread), rel=1e-3)
    assert found.wander == pytest.approx(mass @ _TAUS, rel=1e-3)


def test_with_a_fixed_wander_the_step_is_that_of_generalised_least_squares(mixed, monkeypatch):
    monkeypatch.setattr(before_after, "_TAUS", np.array([0.2]))
    monkeypatch.setattr(before_after, "_weigh", lambda *_: np.ones(1))
    scores = compute_scores(mixed, by_median=False)
    found, cells = _compute_drift(mixed, scores, (0, 1)), _Cells.of(mixed, scores, (0, 1))
    time = cells.weeks - cells.weeks.mean()
    covariance = (
        0.04 * _RHO ** np.abs(time[:, None] - time) + _SLOPE_SD**2 * np.outer(time, time) + np.diag(cells.noise)
    )
    fit = GLS(cells.means, add_constant(np.column_stack([cells.weeks >= 0, cells.labels])), covariance).fit()
    assert found.step == pytest.approx(fit.params[1])
    error = fit.bse[1] / math.sqrt(fit.scale)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(fit.params[1]) / error))


def test_cells_keep_the_mean_of_their_sessions(mixed):
    cells = _Cells.of(mixed, np.log(mixed.values), (0, 1))
    first = (mixed.days // 7 == cells.weeks[0]) & (mixed.strata == cells.labels[0])
    assert cells.means[0] == pytest.approx(np.log(mixed.values[first]).mean())
    assert len(cells.means) == 24


def test_a_steady_drift_is_no_step():
    days = np.repeat(np.arange(-56, 28), 50)
    rng = np.random.default_rng(2)
    drifting = timeline(days, np.exp(9 - 0.02 * days / 7 + rng.normal(0, 0.3, days.size)))
    found = compare_before_after(drifting, by_median=True)
    assert found.effect.is_clear
    assert found.drift.p_value > 0.05
    assert found.drift.slope == pytest.approx(-0.02, abs=0.01)


def test_a_short_history_has_no_drift_test(mixed):
    scores = compute_scores(mixed, by_median=True)
    for kept in (mixed.days >= -21, mixed.days < 7):
        assert _compute_drift(mixed.where(kept), scores[kept], (0, 1)) is None


def test_a_stratum_of_one_arm_tells_nothing_about_the_step(mixed):
    alone = replace(mixed, strata=mixed.after.astype(int))
    assert _compute_drift(alone, compute_scores(alone, by_median=True), ()) is None


@pytest.mark.parametrize(("low", "high", "significance"), [(-0.6, -0.2, -0.05), (0.2, 0.6, 0.05), (-0.1, 0.3, 0.0)])
def test_the_bound_is_the_slope_that_explains_the_difference(low, high, significance):
    effect = StratifiedEffect(log_ratio=(low + high) / 2, low=low, high=high, coverage=1.0, common=(0,))
    assert _bound_drift(effect, 4.0).significance == pytest.approx(significance)


# Placebo dates.


def jump_by_hand(days, scores, date: int, width: int) -> float:
    sides = [
        [scores[days == day] for day in range(date - width, date)],
        [scores[days == day] for day in range(date, date + width)],
    ]
    means = [np.concatenate(side).mean() for side in sides]
    variance = sum(
        width / (width - 1) * sum((part - mean).sum() ** 2 for part in side) / np.concatenate(side).size ** 2
        for side, mean in zip(sides, means, strict=True)
    )
    return (means[1] - means[0]) / math.sqrt(variance)


def test_placebo_dates_are_what_a_loop_over_days_gives(mixed):
    line = replace(mixed, strata=np.zeros_like(mixed.strata))
    scores = compute_scores(line, by_median=True)
    found = _compute_placebo(line, scores)
    assert (found.window_days, found.days) == (14, tuple(range(-42, -13)))
    by_hand = [jump_by_hand(line.days, scores, date, 14) for date in (*found.days, 0)]
    assert (*found.jumps, found.jump) == pytest.approx(by_hand)
    assert found.as_large == sum(abs(jump) >= abs(by_hand[-1]) for jump in by_hand[:-1])
    assert found.rank == (1 + found.as_large) / 30


def test_a_jump_in_the_history_is_found_at_its_date():
    days = np.repeat(np.arange(-70, 14), 40)
    rng = np.random.default_rng(6)
    line = timeline(days, np.exp(rng.normal(0, 0.5, days.size) - 0.8 * (days >= -35) - 0.2 * (days >= 0)), window=14)
    found = _compute_placebo(line, compute_scores(line, by_median=True))
    assert found.days[int(np.argmax(np.abs(found.jumps)))] == -35
    assert found.as_large > 0
    assert found.rank > 0.05


def test_the_levels_of_strata_are_no_jump():
    days = np.repeat(np.arange(-56, 14), 40)
    rng = np.random.default_rng(7)
    strata = (days >= -28).astype(int)
    line = timeline(days, np.exp(rng.normal(0, 0.5, days.size) + 2.0 * strata), strata=strata, window=14)
    found = _compute_placebo(line, compute_scores(line, by_median=True))
    assert max(abs(jump) for jump in found.jumps) < 4


def test_a_history_shorter_than_its_windows_has_no_placebo_dates(mixed):
    for kept in (mixed.days >= -14, mixed.days < 5):
        part = mixed.where(kept)
        assert _compute_placebo(part, compute_scores(part, by_median=True)) is None


def test_a_session_on_the_wrong_side_of_the_change_says_nothing_about_time(mixed):
    """Ten sessions on an old branch after the change count in the effect, not in drift and placebo."""
    extra = np.full(10, 3)
    strayed = timeline(
        np.concatenate([mixed.days, extra]),
        np.concatenate([mixed.values, np.full(10, 1e9)]),
        after=np.concatenate([mixed.after, np.zeros(10, bool)]),
        strata=np.concatenate([mixed.strata, np.zeros(10, int)]),
    )
    clean, found = (compare_before_after(line, by_median=True) for line in (mixed, strayed))
    assert (found.drift, found.placebo) == (clean.drift, clean.placebo)
    assert found.effect.log_ratio < clean.effect.log_ratio


@pytest.mark.parametrize("name", WORLDS)
def test_worlds_are_what_they_are_called(name):
    line = draw_world(np.random.default_rng(8), WORLDS[name], history=56, after=28, per_day=50, effect=-0.5)
    assert line.history_days == 56
    assert line.after_days == 28
    assert line.days.size == pytest.approx(50 * 84, rel=0.1)
    assert np.unique(line.strata).size == (2 if "release" in name else 1)
    assert (line.in_window == (line.days >= -28)).all()
