"""The distribution of a median, and of two: against full enumeration, brute force and the whole sorted support."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from kaizen_analytics.stats import distributions, medians
from kaizen_analytics.stats.distributions import Distribution, Quantile, beta_distribution
from kaizen_analytics.stats.medians import _MedianPair

SAMPLES = {
    1: [3.0],
    2: [1.0, 4.0],
    3: [5.0, 1.0, 2.5],
    4: [7.0, 1.0, 3.0, 2.0],
    5: [0.3, 9.0, 4.0, 4.5, -2.0],
    6: [1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
    7: [3.0, 1.0, 4.0, 1.5, 9.0, 2.6, 5.0],
}
TIED = {
    2: [4.0, 4.0],
    3: [1.0, 1.0, 2.0],
    4: [0.0, 0.0, 1.0, 1.0],
    5: [2.0, 2.0, 2.0, 1.0, 3.0],
    6: [0.0, 0.0, 0.0, 1.0, 1.0, 5.0],
}


def median_distribution(sample: np.ndarray) -> Distribution:
    return Quantile.of(sample, 0.5).distribution()


def enumerate_resamples(values, statistic) -> dict[float, float]:
    """Return every resample's statistic with its share of all n**n resamples."""
    n = len(values)
    draws = np.array(values)[np.array(list(itertools.product(range(n), repeat=n)))]
    points, counts = np.unique(statistic(np.sort(draws, axis=1)), return_counts=True)
    return dict(zip(points.tolist(), (counts / n**n).tolist(), strict=True))


def as_dict(found: Distribution) -> dict[float, float]:
    return dict(zip(found.values.tolist(), found.masses.tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("values", [*SAMPLES.values(), *TIED.values()], ids=str)
def test_median_distribution_equals_full_enumeration(values):
    expected = enumerate_resamples(values, lambda draws: np.median(draws, axis=1))

    found = as_dict(median_distribution(np.array(values)))

    for point, mass in expected.items():
        assert found.get(point, 0.0) == pytest.approx(mass, abs=1e-12)
    assert sum(mass for point, mass in found.items() if point not in expected) < 1e-12


@pytest.mark.parametrize(("share", "rank"), [(0.2, 1), (0.6, 3), (1.0, 5), (0.3, 2)])
def test_any_quantile_equals_full_enumeration(share, rank):
    values = TIED[5]
    expected = enumerate_resamples(values, lambda draws: draws[:, rank - 1])

    found = as_dict(Quantile.of(np.array(values), share).distribution())

    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "tied"),
    [(10, False), (31, True), (100, False), (100, True), (700, False), (700, True)],
)
def test_median_distribution_agrees_with_brute_force(n, tied):
    rng = np.random.default_rng(n + tied)
    sample = rng.poisson(4, n).astype(float) if tied else rng.lognormal(0, 1, n)
    medians = np.median(sample[rng.integers(0, n, (10_000, n))], axis=1)

    found = median_distribution(sample)

    points = np.quantile(medians, np.linspace(0.005, 0.995, 100), method="inverted_cdf")
    gaps = [abs(found.at_most(point + 1e-9) - np.mean(medians <= point + 1e-9)) for point in points]
    # Five standard errors of 10,000 resamples.
    assert max(gaps) < 5 * 0.5 / np.sqrt(10_000)


def test_a_large_even_sample_agrees_with_all_pairs(monkeypatch):
    sample = np.random.default_rng(3).lognormal(9, 1, 20_000)
    collapsed = median_distribution(sample)

    monkeypatch.setattr(distributions, "_EXACT_PAIRS", 10**9)
    exact = median_distribution(sample)

    low, high = exact.limits(0.05)
    assert exact.values.size > 10 * collapsed.values.size
    assert np.array(collapsed.limits(0.05)) == pytest.approx((low, high), abs=5e-3 * (high - low))


def test_a_large_even_sample_keeps_the_midpoints_of_ties():
    sample = np.repeat([3.0, 4.0], 5_000)

    found = as_dict(median_distribution(sample))

    binomial = stats.binom(10_000, 0.5)
    assert found[3.5] == pytest.approx(binomial.pmf(5_000), rel=1e-9)
    assert found[3.0] == pytest.approx(binomial.sf(5_000), rel=1e-9)


def test_ties_among_many_values_keep_their_midpoints():
    rng = np.random.default_rng(5)
    sample = np.concatenate(
        (np.full(1000, 1.0), np.full(1000, 2.0), 2.0 + rng.random(10_000) * 1e-3, -rng.random(10_000))
    )
    rng.shuffle(sample)

    found = median_distribution(sample)

    assert 1.5 in found.values


@pytest.mark.parametrize("n", [20_000, 20_001, 1_000_000])
def test_narrow_cells_have_the_masses_of_the_incomplete_beta_function(n, monkeypatch):
    sample = np.random.default_rng(n).lognormal(9, 1, n)
    fast = median_distribution(sample)

    monkeypatch.setattr(distributions, "_FINE_CELL", 0.0)
    exact = median_distribution(sample)

    np.testing.assert_allclose(fast.masses, exact.masses, rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(fast.cumulative, exact.cumulative, atol=1e-12)
    assert fast.limits(0.05) == pytest.approx(exact.limits(0.05), rel=1e-9)


def test_partial_sort_gives_the_same_as_a_full_sort(monkeypatch):
    sample = np.random.default_rng(1).lognormal(0, 1, 5_001)
    partial = median_distribution(sample)

    monkeypatch.setattr(distributions, "_SORT_BELOW", 10**9)
    full = median_distribution(sample)

    np.testing.assert_array_equal(partial.values, full.values)
    np.testing.assert_array_equal(partial.masses, full.masses)


def test_limits_leave_half_of_alpha_on_each_side():
    found = median_distribution(np.random.default_rng(2).lognormal(0, 1, 101))

    low, high = found.limits(0.1)

    assert found.at_most(np.nextafter(low, -np.inf)) < 0.05 <= found.at_most(low)
    assert found.at_most(np.nextafter(high, -np.inf)) <= 0.95 < found.at_most(high)


def test_there_are_no_limits_below_the_mass_that_it_keeps():
    assert median_distribution(np.arange(30.0)).limits(1e-15) == (-np.inf, np.inf)


def test_the_beta_level_of_plain_sessions_is_the_order_statistic():
    sample = np.random.default_rng(0).normal(size=15)

    assert as_dict(beta_distribution(sample, 8, 8)) == as_dict(median_distribution(sample))


# Two medians: the search for the ends of an interval.

Contrast = Callable[[np.ndarray, np.ndarray], np.ndarray]
RANDOM = np.random.default_rng(7)
SKEWED = RANDOM.lognormal(9, 1, 24), RANDOM.lognormal(9.2, 1.5, 26)
WHOLE = RANDOM.poisson(6, 60) + 1.0, RANDOM.poisson(7, 60) + 1.0
TWO_PEAKED = (
    np.concatenate((RANDOM.normal(10, 0.1, 12), RANDOM.normal(1000, 1, 12))),
    np.concatenate((RANDOM.normal(10, 0.1, 13), RANDOM.normal(1000, 1, 13))),
)


def find_low(pair: _MedianPair, contrast: Contrast, tail: float) -> float:
    """Return the first point of the whole sorted support at which the mass reaches `tail`."""
    control, treatment = pair.control, pair.treatment
    rows = np.repeat(np.arange(control.values.size), treatment.values.size)
    columns = np.tile(np.arange(treatment.values.size), control.values.size)
    conditional = pair.conditional()
    masses = control.masses[rows] * (conditional(rows, columns + 1) - conditional(rows, columns))
    points = contrast(treatment.values[columns], control.values[rows])
    order = np.argsort(points, kind="stable")
    return float(points[order][np.searchsorted(np.cumsum(masses[order]), tail * (1 - 1e-12))])


@pytest.mark.parametrize("arms", [SKEWED, WHOLE, TWO_PEAKED], ids=["skewed", "whole", "two-peaked"])
@pytest.mark.parametrize("correlation", [0.0, 0.7])
@pytest.mark.parametrize("tail", [0.15, 0.025, 0.00025])
def test_limits_are_those_of_the_sorted_support(arms, correlation, tail, monkeypatch):
    monkeypatch.setattr(medians, "_FEW", 50)
    pair = _MedianPair.joined(median_distribution(arms[0]), median_distribution(arms[1]), correlation)
    swapped = _MedianPair(pair.treatment, pair.control, correlation)

    difference, percent = pair.difference_limits(2 * tail), pair.percent_limits(2 * tail)

    ends = find_low(pair, lambda t, c: t - c, tail), -find_low(swapped, lambda t, c: t - c, tail)
    assert difference == pytest.approx(ends, rel=1e-12, abs=1e-12)
    ends = (
        find_low(pair, lambda t, c: 100 * (t - c) / c, tail),
        -find_low(pair.mirrored_treatment(), lambda t, c: 100 * (t + c) / c, tail),
    )
    assert percent == pytest.approx(ends, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_equal_candidates_end_the_search(correlation, monkeypatch):
    # Halving a bracket towards a difference of exactly zero would go on for a thousand steps.
    steps = []
    are_equal = medians._are_equal
    monkeypatch.setattr(medians, "_are_equal", lambda *given: steps.append(1) or are_equal(*given))
    monkeypatch.setattr(medians, "_FEW", 1)
    arm = np.repeat([0.5, 1.0, 2.0], [140, 120, 140])
    pair = _MedianPair.joined(median_distribution(arm), median_distribution(arm), correlation)

    assert pair.difference_limits(0.05) == pair.percent_limits(0.05) == (0.0, 0.0)

    assert len(steps) < 60
