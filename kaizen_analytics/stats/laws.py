"""The bootstrap law of a quantile, computed instead of simulated.

A bootstrap sample of n sessions repeats each session at random. Its order statistic number k is at most the j-th
smallest session exactly when at least k of the n draws fall on the j smallest, so its whole law is one row of the
regularised incomplete beta function (Efron 1979; Schultzberg & Ankargren 2022). No random number is needed, and only
the about 8 sqrt(n) sessions around the quantile matter: one partial sort finds them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TAIL = 1e-14
"""Mass that is left out on each side of a law."""

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


@dataclass(frozen=True, slots=True)
class Law:
    """A discrete law.

    Attributes:
        values: Shape (k,), increasing; only a refined law repeats values.
        masses: Shape (k,), summing to 1.
        cumulative: Shape (k + 1,), starting at 0: mass of the first i values.
        blind: Tail mass that the law cannot resolve: smaller tails may lie beyond the sample.
    """

    values: FloatArray
    masses: FloatArray
    cumulative: FloatArray
    blind: float = 2 * TAIL

    def at_most(self, value: float) -> float:
        """Return the probability of a value of at most `value`."""
        return float(self.cumulative[np.searchsorted(self.values, value, side="right")])

    def below(self, value: float) -> float:
        """Return the probability of a value strictly below `value`."""
        return float(self.cumulative[np.searchsorted(self.values, value, side="left")])

    def at_least(self, value: float) -> float:
        """Return the probability of a value of at least `value`."""
        return float(self.masses[np.searchsorted(self.values, value, side="left") :].sum())

    def negated(self) -> Law:
        """Return the law of the negative."""
        return replace(_law(-self.values[::-1], self.masses[::-1]), blind=self.blind)

    def refined(self, most: float) -> Law:
        """Return the same law with every mass above `most` cut into equal pieces at the same value."""
        pieces = np.ceil(self.masses / most).astype(np.int64)
        masses = np.repeat(self.masses / np.maximum(pieces, 1), pieces)
        return replace(_law(np.repeat(self.values, pieces), masses), blind=self.blind)

    def limits(self, alpha: float) -> tuple[float, float]:
        """Return the interval that leaves `alpha` / 2 on each side; infinite where the law cannot see that far."""
        return self.low(alpha / 2), -self.negated().low(alpha / 2)

    def low(self, tail: float) -> float:
        """Return the smallest value with at least `tail` at or below it; -inf where the law cannot see that far."""
        if tail < self.blind:
            return -math.inf
        return self.quantile(tail * (1 - 1e-12))

    def quantile(self, share: float) -> float:
        """Return the smallest value of the law with at least `share` at or below it."""
        index = int(np.searchsorted(self.cumulative[1:], share, side="left"))
        return float(self.values[min(index, self.values.size - 1)])


def _law(values: FloatArray, masses: FloatArray) -> Law:
    masses = masses / masses.sum()
    cumulative = np.concatenate((np.zeros(1), np.cumsum(masses)))
    np.minimum(cumulative, 1.0, out=cumulative)
    cumulative[-1] = 1.0
    return Law(values, masses, cumulative)


def _merged_law(values: FloatArray, masses: FloatArray) -> Law:
    """Return the law of values in any order, with equal values merged."""
    order = np.argsort(values, kind="stable")
    values, masses = values[order], masses[order]
    first = np.flatnonzero(np.concatenate((np.ones(1, dtype=bool), values[1:] != values[:-1])))
    return _law(values[first], np.add.reduceat(masses, first))


@dataclass(frozen=True, slots=True)
class Window:
    """The sorted part of a sample that a law can reach.

    Attributes:
        values: Shape (k,), the distinct values in increasing order.
        edges: Shape (k + 1,), how many sessions of the whole sample lie below each distinct value; the last entry is
            the number up to the end of the window.
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

    def count_at(self, value: float) -> int:
        """Return how many sessions have exactly this value, which lies inside the window."""
        index = int(np.searchsorted(self.values, value))
        if index == self.values.size or self.values[index] != value:
            return 0
        return int(self.counts[index])


def _window(sample: FloatArray, a: float, b: float, more: int = 0) -> Window:
    """Return the part of `sample` where a Beta(a, b) level has more than `TAIL` on either side, plus `more` ranks."""
    n = sample.size
    low = max(math.floor(n * special.betaincinv(a, b, TAIL)), 0)
    high = min(max(math.ceil(n * special.betainccinv(a, b, TAIL)), low + 1), n)
    end = min(high + more, n)
    part = _ranks(sample, low, end)
    first = np.concatenate((np.ones(1, dtype=bool), part[1:] != part[:-1]))
    edges = np.append(np.flatnonzero(first), part.size) + low
    return Window(part[first], edges, n)


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
    """A sample's quantile as plain independent sessions give it: its value, its ties and its law.

    The median of an even sample is the midpoint of its two middle values, as in `numpy.median`; any other quantile is
    the smallest value with at least that share of the sessions at or below it.
    """

    window: Window
    rank: int
    midpoint: bool

    @classmethod
    def of(cls, sample: FloatArray, quantile: float) -> Quantile:
        """Return the quantile of `sample`, shape (n,), finite, n >= 1."""
        n = sample.size
        rank = quantile_rank(n, quantile)
        midpoint = quantile == 0.5 and n % 2 == 0
        window = _window(sample, rank, n - rank + 1, more=2 * _GAP if midpoint else 0)
        return cls(window, rank, midpoint)

    @property
    def value(self) -> float:
        """The sample quantile."""
        lower = self.window.ranked(self.rank)
        return 0.5 * (lower + self.window.ranked(self.rank + 1)) if self.midpoint else lower

    @property
    def ties(self) -> int:
        """How many sessions have exactly this value."""
        return self.window.count_at(self.value)

    def law(self) -> Law:
        """Return the bootstrap law of the quantile."""
        n = self.window.n
        if self.midpoint:
            return _even_law(self.window, n // 2)
        return _window_law(self.window, self.rank, n - self.rank + 1)


def median_law(sample: FloatArray) -> Law:
    """Return the law of the median of n draws with replacement from `sample`, shape (n,), finite, n >= 1."""
    return Quantile.of(sample, 0.5).law()


def _even_law(window: Window, half: int) -> Law:
    """Return the law of the midpoint of the two middle draws of an even sample.

    Every midpoint is kept unless the sample is large and the lower value is hardly tied: such midpoints lie within a
    few neighbours of it, and are replaced by their mean. Ties are never replaced, as their midpoints carry real mass:
    replacing them cost coverage down to 65 % in trials.
    """
    lower = _cell_masses(half, half + 1, window)
    factors = _log_pair_factors(window, half)
    with np.errstate(divide="ignore"):
        above = half * np.log((window.n - window.edges[1:]) / window.n)
    both = np.clip(lower - np.exp(factors[0] + above), 0.0, None)
    heavy = (window.counts >= _HEAVY) | (window.values.size <= _EXACT_PAIRS)
    midpoints, masses, _ = _pairs(window, factors, np.flatnonzero(heavy), _GAP)
    light = np.flatnonzero(~heavy)
    means = _conditional_means(window, factors, both, light)
    return _merged_law(
        np.concatenate((window.values[heavy], midpoints, means)),
        np.concatenate((both[heavy], masses, lower[light])),
    )


def _log_pair_factors(window: Window, half: int) -> tuple[FloatArray, FloatArray]:
    """Return log factors whose sum is log P(lower middle draw = value i, upper middle draw = value j), i < j.

    The lower half of the draws has its largest at value i, the upper half its smallest at value j:
    C(n, m) [F(i)^m - F(i-)^m] [(1 - F(j-))^m - (1 - F(j))^m] with m = n/2.
    """
    n = window.n
    choose = math.lgamma(n + 1) - 2 * math.lgamma(half + 1)
    first = _log_power_step(window.edges[1:] / n, window.edges[:-1] / n, half)
    remaining = n - window.edges
    second = _log_power_step(remaining[:-1] / n, remaining[1:] / n, half)
    return choose + first, second


def _log_power_step(upper: FloatArray, lower: FloatArray, power: int) -> FloatArray:
    """Return log(upper^power - lower^power) for upper > lower >= 0."""
    with np.errstate(divide="ignore"):
        step: FloatArray = power * np.log(upper) + np.log(-np.expm1(power * np.log(lower / upper)))
    return step


def _pairs(
    window: Window,
    factors: tuple[FloatArray, FloatArray],
    lower: IntArray,
    gap: int,
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return midpoint, mass and lower index of each pair of a value in `lower` with the `gap` values above it."""
    size = window.values.size
    steps = np.arange(1, min(gap, size))
    rows = np.repeat(lower, steps.size)
    columns = (lower[:, None] + steps[None, :]).ravel()
    inside = columns < size
    rows, columns = rows[inside], columns[inside]
    masses = np.exp(factors[0][rows] + factors[1][columns])
    real = masses > _NEGLIGIBLE
    rows, columns, masses = rows[real], columns[real], masses[real]
    return 0.5 * (window.values[rows] + window.values[columns]), masses, rows


def _conditional_means(
    window: Window,
    factors: tuple[FloatArray, FloatArray],
    both: FloatArray,
    lower: IntArray,
) -> FloatArray:
    """Return the mean midpoint given each value in `lower` as the lower middle draw."""
    midpoints, masses, rows = _pairs(window, factors, lower, _LIGHT_GAP)
    size = window.values.size
    mass = both + np.bincount(rows, weights=masses, minlength=size)
    shift = np.bincount(rows, weights=masses * (midpoints - window.values[rows]), minlength=size)
    share = np.divide(shift, mass, out=np.zeros(size), where=mass > 0)
    means: FloatArray = (window.values + share)[lower]
    return means


def order_law(sample: FloatArray, k: int) -> Law:
    """Return the law of the k-th smallest of n draws with replacement from `sample`, 1 <= k <= n."""
    return beta_law(sample, k, sample.size - k + 1)


def beta_law(sample: FloatArray, a: float, b: float) -> Law:
    """Return the law of the sample quantile at a random level that is Beta(a, b) distributed.

    With a = k and b = n - k + 1 it is the bootstrap law of the k-th smallest value. With
    a = (n_effective + 1) q and b = (n_effective + 1) (1 - q) it is the law of the q-quantile of a sample that is
    worth only n_effective independent sessions.
    """
    return _window_law(_window(sample, a, b), a, b)


def _window_law(window: Window, a: float, b: float) -> Law:
    return _law(window.values, _cell_masses(a, b, window))


def _cell_masses(a: float, b: float, window: Window) -> FloatArray:
    """Return the probability that a Beta(a, b) level falls on each distinct value of `window`.

    The incomplete beta function is exact but takes a microsecond per value; where many narrow cells make up the law,
    Gauss's three points per cell give the same.
    """
    edges = window.edges / window.n
    width = np.diff(edges)
    spread = math.sqrt(a * b / (a + b + 1)) / (a + b)
    if float(width.max()) > _FINE_CELL * spread or edges[0] <= 0 or edges[-1] >= 1:
        masses: FloatArray = np.diff(special.betainc(a, b, edges))
        return masses
    points = edges[:-1] + width * np.array([[0.5 - math.sqrt(0.15)], [0.5], [0.5 + math.sqrt(0.15)]])
    density = np.exp((a - 1) * np.log(points) + (b - 1) * np.log1p(-points) - special.betaln(a, b))
    fine: FloatArray = width * (np.array([5, 8, 5]) / 18 @ density)
    return fine


def quantile_rank(n: int, quantile: float) -> int:
    """Return which of n sorted values is the quantile: the smallest k with k/n >= quantile."""
    return min(max(math.ceil(n * quantile * (1 - 1e-12)), 1), n)
