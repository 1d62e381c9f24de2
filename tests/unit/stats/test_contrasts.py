"""The search for the ends of an interval: against the whole sorted support, with ties, zeros and clusters."""

from collections.abc import Callable

import numpy as np
import pytest

from kaizen_analytics.stats import contrasts
from kaizen_analytics.stats.contrasts import LawPair
from kaizen_analytics.stats.laws import median_law

Contrast = Callable[[np.ndarray, np.ndarray], np.ndarray]
RANDOM = np.random.default_rng(7)
SKEWED = RANDOM.lognormal(9, 1, 24), RANDOM.lognormal(9.2, 1.5, 26)
WHOLE = RANDOM.poisson(6, 60) + 1.0, RANDOM.poisson(7, 60) + 1.0
TWO_PEAKED = (
    np.concatenate((RANDOM.normal(10, 0.1, 12), RANDOM.normal(1000, 1, 12))),
    np.concatenate((RANDOM.normal(10, 0.1, 13), RANDOM.normal(1000, 1, 13))),
)


def find_low(pair: LawPair, contrast: Contrast, tail: float) -> float:
    """Return the first point of the whole sorted support at which the law reaches `tail`."""
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
def test_limits_are_those_of_the_sorted_support(arms, correlation, tail):
    pair = LawPair.joined(median_law(arms[0]), median_law(arms[1]), correlation)
    swapped = LawPair(pair.treatment, pair.control, correlation)

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
    narrowed = contrasts._Bracket.narrowed
    monkeypatch.setattr(contrasts._Bracket, "narrowed", lambda *given: steps.append(1) or narrowed(*given))
    arm = np.repeat([0.5, 1.0, 2.0], [140, 120, 140])
    pair = LawPair.joined(median_law(arm), median_law(arm), correlation)

    assert pair.difference_limits(0.05) == pair.percent_limits(0.05) == (0.0, 0.0)

    assert len(steps) < 60
