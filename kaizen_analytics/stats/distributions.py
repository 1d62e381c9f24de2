"""The sampling distribution of a median, computed instead of simulated.

A bootstrap sample of n sessions repeats each session at random. Its order statistic number k is at most the j-th
smallest session exactly when at least k of the n draws fall on the j smallest, so its whole distribution is one row of
the regularised incomplete beta function (Efron 1979; Schultzberg & Ankargren 2022). No random number is needed, and
only the about 8 sqrt(n) sessions around the median matter: one partial sort finds them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TAIL = 1e-14
"""Mass that is left out on each side of a distribution."""

_EXACT_PAIRS = 400
"""Distinct values up to which every midpoint of an even sample is kept."""

_HEAVY = 3
"""Sessions at one value from which on its midpoints are kept even in a large sample."""

_GAP = 40
"""How many distinct values the two middle draws may lie apart; further is rarer than e^-39."""

_LIGHT_GAP = 12
"""The same where only the mean of midpoints is wanted: further is rarer than e^-11."""

_FINE_CELL = 0.02
"""Cells up to this many standard deviations wide are integrated by three points, to a relative error near 1e-11."""

_NEGLIGIBLE = 1e-18

_SORT_BELOW = 2_000


def sum_products(first: FloatArray, second: FloatArray) -> float:
    """Return the sum of the products of two arrays of the same shape (n,).

    `first @ second` adds in an order that depends on the processor, and the last digit of a result with it.

    >>> sum_products(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    11.0
    """
    return float((first * second).sum())


@dataclass(frozen=True, slots=True)
class Distribution:
    """A discrete sampling distribution.

    Attributes:
        values: Shape (k,), increasing; only a refined distribution repeats values.
        masses: Shape (k,), summing to 1.
        cumulative: Shape (k + 1,), starting at 0: mass of the first i values.
        blind: Tail mass that the distribution cannot resolve: smaller tails may lie beyond the sample.
    """

    values: FloatArray
    masses: FloatArray
    cumulative: FloatArray
    blind: float = 2 * TAIL

    @classmethod
    def of(cls, values: FloatArray, masses: FloatArray, blind: float = 2 * TAIL) -> Distribution:
        """Return the distribution with these masses, scaled to sum to 1."""
        masses = masses / masses.sum()
        cumulative = np.concatenate((np.zeros(1), np.cumsum(masses)))
        np.minimum(cumulative, 1.0, out=cumulative)
        cumulative[-1] = 1.0
        return cls(values, masses, cumulative, blind)

    def at_most(self, value: float) -> float:
        """Return the probability of a value of at most `value`."""
        return float(self.cumulative[np.searchsorted(self.values, value, side="right")])

    def negated(self) -> Distribution:
        """Return the distribution of the negative."""
        return Distribution.of(-self.values[::-1], self.masses[::-1], self.blind)

    def refined(self, most: float) -> Distribution:
        """Return the same distribution with every mass above `most` cut into equal pieces at the same value."""
        pieces = np.ceil(self.masses / most).astype(np.int64)
        masses = np.repeat(self.masses / np.maximum(pieces, 1), pieces)
        return Distribution.of(np.repeat(self.values, pieces), masses, self.blind)

    def limits(self, alpha: float) -> tuple[float, float]:
        """Return the interval that leaves `alpha` / 2 on each side; infinite where the distribution cannot tell."""
        return self.low(alpha / 2), -self.negated().low(alpha / 2)

    def quantile(self, share: float) -> float:
        """Return the smallest value with at least `share` at or below it."""
        index = int(np.searchsorted(self.cumulative[1:], share, side="left"))
        return float(self.values[min(index, self.values.size - 1)])

    def low(self, tail: float) -> float:
        """Return the smallest value with at least `tail` at or below it; -inf where the distribution cannot tell."""
        return -math.inf if tail < self.blind else self.quantile(tail * (1 - 1e-12))


def _merge(values: FloatArray, masses: FloatArray) -> Distribution:
    """Return the distribution of values in any order, with equal values merged."""
    order = np.argsort(values, kind="stable")
    values, masses = values[order], masses[order]
    first = np.flatnonzero(np.concatenate((np.ones(1, dtype=bool), values[1:] != values[:-1])))
    return Distribution.of(values[first], np.add.reduceat(masses, first))


@dataclass(frozen=True, slots=True)
class _Part:
    """The sorted part of a sample that the distribution of its median can reach.

    Attributes:
        values: Shape (k,), the distinct values in increasing order.
        edges: Shape (k + 1,), how many sessions of the whole sample lie below each distinct value; the last entry is
            the number up to the end of the part.
        n: Sessions of the whole sample.
    """

    values: FloatArray
    edges: IntArray
    n: int

    @property
    def counts(self) -> IntArray:
        """Sessions at each distinct value."""
        counts: IntArray = np.diff(self.edges)
        return counts

    def ranked(self, rank: int) -> float:
        """Return the value of a rank, 1 being the smallest session of the whole sample."""
        return float(self.values[np.searchsorted(self.edges, rank, side="left") - 1])


def _reach(sample: FloatArray, a: float, b: float, more: int = 0) -> _Part:
    """Return the part of `sample` where a Beta(a, b) level has more than `TAIL` on either side, plus `more` ranks."""
    n = sample.size
    low = max(math.floor(n * special.betaincinv(a, b, TAIL)), 0)
    high = min(max(math.ceil(n * special.betainccinv(a, b, TAIL)), low + 1), n)
    end = min(high + more, n)
    ranked = _ranks(sample, low, end)
    first = np.concatenate((np.ones(1, dtype=bool), ranked[1:] != ranked[:-1]))
    edges = np.append(np.flatnonzero(first), ranked.size) + low
    return _Part(ranked[first], edges, n)


def _ranks(sample: FloatArray, low: int, end: int) -> FloatArray:
    """Return the sorted values of ranks low .. end - 1 without sorting the whole sample."""
    n = sample.size
    if n < _SORT_BELOW or end - low > n // 2:
        return np.sort(sample)[low:end]
    # Two partitions at one rank each are faster than one at two: numpy vectorises only the former.
    part = np.partition(sample, low)[low:]
    part.partition(end - 1 - low)
    part = part[: end - low]
    part.sort()
    return part


@dataclass(frozen=True, slots=True)
class Quantile:
    """A sample's quantile as plain independent sessions give it: its value and its distribution.

    The median of an even sample is the midpoint of its two middle values, as in `numpy.median`. Any other quantile,
    which a covariate asks for, is the smallest value with at least that share of the sessions at or below it.
    """

    part: _Part
    rank: int
    midpoint: bool

    @classmethod
    def of(cls, sample: FloatArray, share: float) -> Quantile:
        """Return the quantile of `sample`, shape (n,), finite, n >= 1."""
        n = sample.size
        rank = min(max(math.ceil(n * share * (1 - 1e-12)), 1), n)
        midpoint = share == 0.5 and n % 2 == 0
        part = _reach(sample, rank, n - rank + 1, more=2 * _GAP if midpoint else 0)
        return cls(part, rank, midpoint)

    @property
    def value(self) -> float:
        """The sample quantile."""
        lower = self.part.ranked(self.rank)
        return 0.5 * (lower + self.part.ranked(self.rank + 1)) if self.midpoint else lower

    def distribution(self) -> Distribution:
        """Return the bootstrap distribution of the quantile."""
        n = self.part.n
        if self.midpoint:
            return _midpoints(self.part, n // 2)
        return _cells(self.part, self.rank, n - self.rank + 1)


def _midpoints(part: _Part, half: int) -> Distribution:
    """Return the distribution of the midpoint of the two middle draws of an even sample.

    Every midpoint is kept unless the sample is large and the lower value is hardly tied: such midpoints lie within a
    few neighbours of it, and are replaced by their mean. Ties are never replaced, as their midpoints carry real mass:
    replacing them cost coverage down to 65 % in trials.
    """
    lower = _cell_masses(half, half + 1, part)
    factors = _log_pair_factors(part, half)
    with np.errstate(divide="ignore"):
        above = half * np.log((part.n - part.edges[1:]) / part.n)
    both = np.clip(lower - np.exp(factors[0] + above), 0.0, None)
    heavy = (part.counts >= _HEAVY) | (part.values.size <= _EXACT_PAIRS)
    midpoints, masses, _ = _pairs(part, factors, np.flatnonzero(heavy), _GAP)
    light = np.flatnonzero(~heavy)
    means = _conditional_means(part, factors, both, light)
    return _merge(
        np.concatenate((part.values[heavy], midpoints, means)), np.concatenate((both[heavy], masses, lower[light]))
    )


def _log_pair_factors(part: _Part, half: int) -> tuple[FloatArray, FloatArray]:
    """Return log factors whose sum is log P(lower middle draw = value i, upper middle draw = value j), i < j.

    The lower half of the draws has its largest at value i, the upper half its smallest at value j:
    C(n, m) [F(i)^m - F(i-)^m] [(1 - F(j-))^m - (1 - F(j))^m] with m = n/2.
    """
    n = part.n
    choose = math.lgamma(n + 1) - 2 * math.lgamma(half + 1)
    first = _log_power_step(part.edges[1:] / n, part.edges[:-1] / n, half)
    remaining = n - part.edges
    second = _log_power_step(remaining[:-1] / n, remaining[1:] / n, half)
    return choose + first, second


def _log_power_step(upper: FloatArray, lower: FloatArray, power: int) -> FloatArray:
    """Return log(upper^power - lower^power) for upper > lower >= 0."""
    with np.errstate(divide="ignore"):
        step: FloatArray = power * np.log(upper) + np.log(-np.expm1(power * np.log(lower / upper)))
    return step


def _pairs(
    part: _Part, factors: tuple[FloatArray, FloatArray], lower: IntArray, gap: int
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return midpoint, mass and lower index of each pair of a value in `lower` with the `gap` values above it."""
    size = part.values.size
    steps = np.arange(1, min(gap, size))
    rows = np.repeat(lower, steps.size)
    columns = (lower[:, None] + steps[None, :]).ravel()
    inside = columns < size
    rows, columns = rows[inside], columns[inside]
    masses = np.exp(factors[0][rows] + factors[1][columns])
    real = masses > _NEGLIGIBLE
    rows, columns, masses = rows[real], columns[real], masses[real]
    return 0.5 * (part.values[rows] + part.values[columns]), masses, rows


def _conditional_means(
    part: _Part, factors: tuple[FloatArray, FloatArray], both: FloatArray, lower: IntArray
) -> FloatArray:
    """Return the mean midpoint given each value in `lower` as the lower middle draw."""
    midpoints, masses, rows = _pairs(part, factors, lower, _LIGHT_GAP)
    size = part.values.size
    mass = both + np.bincount(rows, weights=masses, minlength=size)
    shift = np.bincount(rows, weights=masses * (midpoints - part.values[rows]), minlength=size)
    share = np.divide(shift, mass, out=np.zeros(size), where=mass > 0)
    means: FloatArray = (part.values + share)[lower]
    return means


def beta_distribution(sample: FloatArray, a: float, b: float) -> Distribution:
    """Return the distribution of the sample quantile at a random level that is Beta(a, b) distributed.

    With a = k and b = n - k + 1 it is the bootstrap distribution of the k-th smallest value. With
    a = (n_effective + 1) q and b = (n_effective + 1) (1 - q) it is that of the q-quantile of a sample that is worth
    only n_effective independent sessions.

    >>> distribution = beta_distribution(np.array([1.0, 2.0, 4.0]), 2, 2)  # of the median of three draws
    >>> distribution.values.tolist(), (27 * distribution.masses).round().tolist()
    ([1.0, 2.0, 4.0], [7.0, 13.0, 7.0])
    """
    return _cells(_reach(sample, a, b), a, b)


def _cells(part: _Part, a: float, b: float) -> Distribution:
    return Distribution.of(part.values, _cell_masses(a, b, part))


def _cell_masses(a: float, b: float, part: _Part) -> FloatArray:
    """Return the probability that a Beta(a, b) level falls on each distinct value of `part`.

    The incomplete beta function is exact but takes a microsecond per value; where many narrow cells make up the
    distribution, Gauss's three points per cell give the same.
    """
    edges = part.edges / part.n
    width = np.diff(edges)
    spread = math.sqrt(a * b / (a + b + 1)) / (a + b)
    if float(width.max()) > _FINE_CELL * spread or edges[0] <= 0 or edges[-1] >= 1:
        masses: FloatArray = np.diff(special.betainc(a, b, edges))
        return masses
    points = edges[:-1] + width * np.array([[0.5 - math.sqrt(0.15)], [0.5], [0.5 + math.sqrt(0.15)]])
    density = np.exp((a - 1) * np.log(points) + (b - 1) * np.log1p(-points) - special.betaln(a, b))
    fine: FloatArray = width * (5 / 18 * density[0] + 8 / 18 * density[1] + 5 / 18 * density[2])
    return fine
