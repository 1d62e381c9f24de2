"""Differences and percent changes of two medians, from the sampling distributions of both.

Both are found exactly on the finite set of values that they can take: a bisection narrows the candidates down to a few
thousand, which are then sorted. The two arms are independent, unless clusters hold sessions of both; then a Gaussian
copula ties their distributions together with the correlation that the clusters show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import special

from kaizen_analytics.stats.distributions import TAIL, Distribution, FloatArray, IntArray, sum_products

if TYPE_CHECKING:
    from collections.abc import Callable

TINY = 1e-150
"""Controls up to this value count as zero: a percent change of them could not be represented."""

_FINE = 1 / 512
"""Largest mass in a distribution that is tied to another: conditioning on a whole atom would hide the spread in it."""

_FEW = 10_000
"""Candidates that are sorted rather than narrowed further."""

_RELATIVE = 1e-12
"""Percent changes closer than this are equal: 1 - 10 % is not exactly representable."""


class _Operation(Protocol):
    """How a control value and a point of the contrast give the treatment value, and back."""

    def treatment(self, control: FloatArray, point: float) -> FloatArray: ...

    def point(self, treatment: FloatArray, control: FloatArray) -> FloatArray: ...


class _Subtraction:
    def treatment(self, control: FloatArray, point: float) -> FloatArray:
        return control + point

    def point(self, treatment: FloatArray, control: FloatArray) -> FloatArray:
        return treatment - control


class _PercentChange:
    def treatment(self, control: FloatArray, point: float) -> FloatArray:
        return control + control * (point / 100)

    def point(self, treatment: FloatArray, control: FloatArray) -> FloatArray:
        # This order gives exactly -10 for 10 -> 9, where 100 (9/10 - 1) does not.
        return 100 * (treatment - control) / control


@dataclass(frozen=True, slots=True)
class MedianPair:
    """The joint distribution of the two arms' medians.

    Attributes:
        control: Distribution of the control median.
        treatment: Distribution of the treatment median.
        correlation: Correlation of their normal scores, from clusters that hold both arms.
    """

    control: Distribution
    treatment: Distribution
    correlation: float = 0.0

    @classmethod
    def joined(cls, control: Distribution, treatment: Distribution, correlation: float) -> MedianPair:
        """Return the joint distribution; a correlated one splits large atoms, so that both marginal ones are kept."""
        if correlation == 0.0:
            return cls(control, treatment)
        return cls(control.refined(_FINE), treatment.refined(_FINE), correlation)

    def difference_limits(self, alpha: float) -> tuple[float, float]:
        """Return the interval of treatment - control that leaves `alpha` / 2 on each side."""
        # Swapping the arms mirrors the difference, so both ends come from the same code.
        return _low(self, _Subtraction(), alpha / 2), -_low(self._swapped(), _Subtraction(), alpha / 2)

    def percent_limits(self, alpha: float) -> tuple[float, float] | None:
        """Return the interval of the percent change; None when the control may be zero or negative.

        The mass of control medians that are not positive has no percent change. It is charged to both tails in
        full, so the interval can only become wider; from `alpha` / 2 on there is no interval.
        """
        undefined = self.control.at_most(TINY)
        tail = alpha / 2
        if undefined >= tail:
            return None
        pair = self._positive_control()
        share = (tail - undefined) / (1 - undefined)
        return _low(pair, _PercentChange(), share), -_low(pair.mirrored_treatment(), _NegativePercent(), share)

    def difference_tails(self) -> tuple[float, float]:
        """Return P(difference <= 0) and P(difference >= 0)."""
        at_most = self.probability(self.control.values, side="right")
        at_least = 1 - self.probability(self.control.values, side="left")
        return at_most, at_least

    def p_value(self) -> float:
        """Return the two-sided p value; never below what the distributions, cut off at their tails, can tell."""
        return min(1.0, max(2 * min(self.difference_tails()), 4 * TAIL))

    def at_most(self, percent: float) -> float:
        """Return the probability of a percent change of at most `percent`."""
        return self._percent_probability(percent, "right")

    def below(self, percent: float) -> float:
        """Return the probability of a percent change strictly below `percent`."""
        return self._percent_probability(percent, "left")

    def _percent_probability(self, percent: float, side: str) -> float:
        pair = self._positive_control()
        control = pair.control.values
        points = control + control * (percent / 100)
        slack = _RELATIVE * np.maximum(np.abs(points), control)
        return pair.probability(points + slack if side == "right" else points - slack, side=side)

    def probability(self, points: FloatArray, side: str) -> float:
        """Return P(treatment <= point of its control value), or < for side 'left'."""
        kind = "right" if side == "right" else "left"
        index = np.searchsorted(self.treatment.values, points, side=kind)  # type: ignore[call-overload]
        return min(1.0, sum_products(self.control.masses, self.conditional()(np.arange(points.size), index)))

    def conditional(self) -> Callable[[IntArray, IntArray], FloatArray]:
        """Return the function (i, j) -> P(treatment among its first j values | control is value i)."""
        cumulative = self.treatment.cumulative
        if self.correlation == 0.0:
            return lambda _, j: cumulative[j]
        rho = self.correlation
        spread = math.sqrt(1 - rho * rho)
        middle = 0.5 * (self.control.cumulative[1:] + self.control.cumulative[:-1])
        control_scores = special.ndtri(np.clip(middle, TAIL, 1 - TAIL))
        treatment_scores = special.ndtri(cumulative)
        return lambda i, j: special.ndtr((treatment_scores[j] - rho * control_scores[i]) / spread)

    def _swapped(self) -> MedianPair:
        return MedianPair(self.treatment, self.control, self.correlation)

    def mirrored_treatment(self) -> MedianPair:
        """Return the joint distribution of the control and the negative treatment."""
        return MedianPair(self.control, self.treatment.negated(), -self.correlation)

    def _positive_control(self) -> MedianPair:
        first = int(np.searchsorted(self.control.values, TINY, side="right"))
        if first == 0:
            return self
        masses = self.control.masses[first:]
        total = masses.sum()
        cumulative = np.concatenate((np.zeros(1), np.cumsum(masses / total)))
        np.minimum(cumulative, 1.0, out=cumulative)
        control = Distribution(self.control.values[first:], masses / total, cumulative, self.control.blind)
        return MedianPair(control, self.treatment, self.correlation)


class _NegativePercent:
    """The negative percent change, of a treatment that was negated."""

    def treatment(self, control: FloatArray, point: float) -> FloatArray:
        return control * (point / 100) - control

    def point(self, treatment: FloatArray, control: FloatArray) -> FloatArray:
        return 100 * (treatment + control) / control


def _low(pair: MedianPair, operation: _Operation, tail: float) -> float:
    """Return the smallest point that has at least `tail` of the contrast's distribution at or below it.

    -inf when the two distributions cannot tell: their tails are cut off, and lie beyond the samples of few clusters.
    """
    if tail < max(pair.control.blind * pair.treatment.blind, 2 * TAIL):
        return -math.inf
    threshold = tail * (1 - 1e-12)
    conditional = pair.conditional()
    control, treatment = pair.control.values, pair.treatment.values
    corners = operation.point(treatment[[0, 0, -1, -1]], control[[0, -1, 0, -1]])
    low, high = float(corners.min()), float(corners.max())
    # For each control value, the treatment values first .. end - 1 are still candidates.
    first = np.zeros(control.size, dtype=np.int64)
    end = first + treatment.size
    everything = np.arange(control.size)
    while int(end.sum() - first.sum()) > _FEW and not _are_equal(pair, operation, first, end):
        point = low + 0.5 * (high - low)
        if not low < point < high:
            break
        index = np.searchsorted(treatment, operation.treatment(control, point), "right")
        if sum_products(pair.control.masses, conditional(everything, index)) >= threshold:
            high, end = point, index
        else:
            low, first = point, index
    return _pick(pair, operation, (first, end), threshold)


def _are_equal(pair: MedianPair, operation: _Operation, first: IntArray, end: IntArray) -> bool:
    """Return whether all candidates are one value, as among ties: no point separates them."""
    rows = np.flatnonzero(end > first)
    control, treatment = pair.control.values[rows], pair.treatment.values
    smallest = float(operation.point(treatment[first[rows]], control).min())
    return smallest == float(operation.point(treatment[end[rows] - 1], control).max())


def _pick(pair: MedianPair, operation: _Operation, bounds: tuple[IntArray, IntArray], threshold: float) -> float:
    """Return the first candidate at which the mass reaches `threshold`."""
    first, end = bounds
    conditional = pair.conditional()
    base = sum_products(pair.control.masses, conditional(np.arange(first.size), first))
    # Rounding can let a bound of one row pass the other by one value.
    filled = np.flatnonzero(end > first)
    counts = (end - first)[filled]
    rows = np.repeat(filled, counts)
    columns = np.arange(rows.size) - np.repeat(np.cumsum(counts) - counts - first[filled], counts)
    masses = pair.control.masses[rows] * (conditional(rows, columns + 1) - conditional(rows, columns))
    points = operation.point(pair.treatment.values[columns], pair.control.values[rows])
    order = np.argsort(points, kind="stable")
    reached = base + np.cumsum(masses[order])
    index = int(np.searchsorted(reached, threshold, side="left"))
    return float(points[order[min(index, order.size - 1)]])
