"""The bootstrap law against full enumeration, brute force and an independent formula."""

import itertools

import numpy as np
import pytest
from scipy import stats

from kaizen_analytics.stats import laws
from kaizen_analytics.stats.laws import Law, beta_law, median_law, order_law, quantile_rank

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
    7: [1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0],
}


def enumerate_law(values, statistic) -> dict[float, float]:
    """Return every resample's statistic with its share of all n**n resamples."""
    n = len(values)
    draws = np.array(values)[np.array(list(itertools.product(range(n), repeat=n)))]
    points, counts = np.unique(statistic(np.sort(draws, axis=1)), return_counts=True)
    return dict(zip(points.tolist(), (counts / n**n).tolist(), strict=True))


def as_dict(law: Law) -> dict[float, float]:
    return dict(zip(law.values.tolist(), law.masses.tolist(), strict=True))


@pytest.mark.parametrize("values", [*SAMPLES.values(), *TIED.values()], ids=str)
def test_median_law_equals_full_enumeration(values):
    expected = enumerate_law(values, lambda draws: np.median(draws, axis=1))

    law = as_dict(median_law(np.array(values)))

    for point, mass in expected.items():
        assert law.get(point, 0.0) == pytest.approx(mass, abs=1e-12)
    assert sum(mass for point, mass in law.items() if point not in expected) < 1e-12


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_order_law_equals_full_enumeration(rank):
    values = TIED[5]
    expected = enumerate_law(values, lambda draws: draws[:, rank - 1])

    law = as_dict(order_law(np.array(values), rank))

    assert law == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "tied"),
    [(10, False), (31, True), (100, False), (100, True), (700, False), (700, True)],
)
def test_median_law_agrees_with_brute_force(n, tied):
    rng = np.random.default_rng(n + tied)
    sample = rng.poisson(4, n).astype(float) if tied else rng.lognormal(0, 1, n)
    medians = np.median(sample[rng.integers(0, n, (10_000, n))], axis=1)

    law = median_law(sample)

    points = np.quantile(medians, np.linspace(0.005, 0.995, 100), method="inverted_cdf")
    gaps = [abs(law.at_most(point + 1e-9) - np.mean(medians <= point + 1e-9)) for point in points]
    # Five standard errors of 10,000 resamples.
    assert max(gaps) < 5 * 0.5 / np.sqrt(10_000)


def test_large_even_law_agrees_with_all_pairs(monkeypatch):
    sample = np.random.default_rng(3).lognormal(9, 1, 20_000)
    collapsed = median_law(sample)

    monkeypatch.setattr(laws, "_EXACT_PAIRS", 10**9)
    exact = median_law(sample)

    low, high = exact.limits(0.05)
    assert exact.values.size > 10 * collapsed.values.size
    assert np.array(collapsed.limits(0.05)) == pytest.approx((low, high), abs=5e-3 * (high - low))


def test_large_even_law_keeps_the_midpoints_of_ties():
    sample = np.repeat([3.0, 4.0], 5_000)

    law = as_dict(median_law(sample))

    binomial = stats.binom(10_000, 0.5)
    assert law[3.5] == pytest.approx(binomial.pmf(5_000), rel=1e-9)
    assert law[3.0] == pytest.approx(binomial.sf(5_000), rel=1e-9)


def test_ties_among_many_values_keep_their_midpoints():
    rng = np.random.default_rng(5)
    sample = np.concatenate(
        (np.full(1000, 1.0), np.full(1000, 2.0), 2.0 + rng.random(10_000) * 1e-3, -rng.random(10_000))
    )
    rng.shuffle(sample)

    law = median_law(sample)

    assert 1.5 in law.values


@pytest.mark.parametrize("n", [20_000, 20_001, 1_000_000])
def test_narrow_cells_have_the_masses_of_the_incomplete_beta_function(n, monkeypatch):
    sample = np.random.default_rng(n).lognormal(9, 1, n)
    fast = median_law(sample)

    monkeypatch.setattr(laws, "_FINE_CELL", 0.0)
    exact = median_law(sample)

    np.testing.assert_allclose(fast.masses, exact.masses, rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(fast.cumulative, exact.cumulative, atol=1e-12)
    assert fast.limits(0.05) == pytest.approx(exact.limits(0.05), rel=1e-9)


def test_partial_sort_gives_the_same_law_as_a_full_sort(monkeypatch):
    sample = np.random.default_rng(1).lognormal(0, 1, 5_001)
    partial = median_law(sample)

    monkeypatch.setattr(laws, "_SORT_BELOW", 10**9)
    full = median_law(sample)

    np.testing.assert_array_equal(partial.values, full.values)
    np.testing.assert_array_equal(partial.masses, full.masses)


def test_law_limits_leave_half_of_alpha_on_each_side():
    law = median_law(np.random.default_rng(2).lognormal(0, 1, 101))

    low, high = law.limits(0.1)

    assert law.below(low) < 0.05 <= law.at_most(low)
    assert law.at_least(high) >= 0.05 > law.at_least(np.nextafter(high, np.inf))


def test_law_has_no_limits_below_the_mass_that_it_keeps():
    assert median_law(np.arange(30.0)).limits(1e-15) == (-np.inf, np.inf)


def test_beta_law_of_plain_sessions_is_the_order_law():
    sample = np.random.default_rng(0).normal(size=15)

    assert as_dict(beta_law(sample, 8, 8)) == as_dict(order_law(sample, 8))


@pytest.mark.parametrize(
    ("n", "quantile", "rank"), [(10, 0.9, 9), (10, 0.91, 10), (10, 0.05, 1), (7, 0.5, 4), (100, 0.29, 29)]
)
def test_quantile_rank_is_the_inverted_cdf(n, quantile, rank):
    assert quantile_rank(n, quantile) == rank
