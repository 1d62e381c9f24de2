"""Differences and percent changes of two laws.

Both are found exactly on the finite set of values that they can take: a bisection narrows the candidates down to a few
thousand, which are then sorted. The two arms are independent, unless clusters hold sessions of both; then a Gaussian
copula ties their laws together with the correlation that the clusters show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import special

from kaizen_analytics.stats.laws import TAIL, FloatArray, IntArray, Law

if TYPE_CHECKING:
    from collections.abc import Callable

TINY = 1e-150
"""Controls up to this value count as zero: a percent change of them could not be represented."""

_FINE = 1 / 512
"""Largest mass in a law that is tied to another one: conditioning on a whole atom would hide the spread within it."""

_FEW = 2_000
"""Candidates that are sorted rather than narrowed further."""

_EVERY = 4
"""Steps after which to see whether the candidates are still many because they are equal: no point tells them apart."""

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
class LawPair:
    """The joint law of the two arms' quantiles.

    Attributes:
        control: Law of the control quantile.
        treatment: Law of the treatment quantile.
        correlation: Correlation of their normal scores, from clusters that hold both arms.
    """

    control: Law
    treatment: Law
    correlation: float = 0.0

    @classmethod
    def joined(cls, control: Law, treatment: Law, correlation: float) -> LawPair:
        """Return the joint law; a correlated one splits large atoms, so that both marginal laws are kept."""
        if correlation == 0.0:
            return cls(control, treatment)
        return cls(control.refined(_FINE), treatment.refined(_FINE), correlation)

    def difference_limits(self, alpha: float) -> tuple[float, float]:
        """Return the interval of treatment - control that leaves `alpha` / 2 on each side."""
        # Swapping the arms mirrors the difference, so both ends come from the same code.
        return _low(self, _Subtraction(), alpha / 2), -_low(self._swapped(), _Subtraction(), alpha / 2)

    def percent_limits(self, alpha: float) -> tuple[float, float] | None:
        """Return the interval of the percent change; None when the control may be zero or negative.

        The mass of control quantiles that are not positive has no percent change. It is charged to both tails in
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
        return min(1.0, float(self.control.masses @ self.conditional()(np.arange(points.size), index)))

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

    def _swapped(self) -> LawPair:
        return LawPair(self.treatment, self.control, self.correlation)

    def mirrored_treatment(self) -> LawPair:
        """Return the joint law of the control and the negative treatment."""
        return LawPair(self.control, self.treatment.negated(), -self.correlation)

    def _positive_control(self) -> LawPair:
        first = int(np.searchsorted(self.control.values, TINY, side="right"))
        if first == 0:
            return self
        masses = self.control.masses[first:]
        total = masses.sum()
        cumulative = np.concatenate((np.zeros(1), np.cumsum(masses / total)))
        np.minimum(cumulative, 1.0, out=cumulative)
        control = Law(self.control.values[first:], masses / total, cumulative, self.control.blind)
        return LawPair(control, self.treatment, self.correlation)


class _NegativePercent:
    """The negative percent change, of a treatment law that was negated."""

    def treatment(self, control: FloatArray, point: float) -> FloatArray:
        return control * (point / 100) - control

    def point(self, treatment: FloatArray, control: FloatArray) -> FloatArray:
        return 100 * (treatment + control) / control


def _low(pair: LawPair, operation: _Operation, tail: float) -> float:
    """Return the smallest point that has at least `tail` of the contrast's law at or below it.

    -inf when the two laws cannot tell: their tails are cut off, and lie beyond the samples when clusters are few.
    """
    if tail < max(pair.control.blind * pair.treatment.blind, 2 * TAIL):
        return -math.inf
    threshold = tail * (1 - 1e-12)
    bracket = _Bracket.whole(pair, operation)
    conditional = pair.conditional()
    everything = np.arange(pair.control.values.size)
    guesses = _guess_around(pair, operation, threshold)
    while bracket.candidates > _FEW:
        if bracket.steps % _EVERY == 0 and (only := _find_only(pair, operation, bracket)) is not None:
            return only
        point = bracket.guess(guesses, threshold)
        if not bracket.low < point < bracket.high:
            break
        index = np.searchsorted(pair.treatment.values, operation.treatment(pair.control.values, point), "right")
        mass = float(pair.control.masses @ conditional(everything, index))
        bracket = bracket.narrowed(point, index, mass, threshold)
    return _pick(pair, operation, bracket, threshold)


def _guess_around(pair: LawPair, operation: _Operation, threshold: float) -> list[float]:
    """Return two points between which the answer most likely lies, from how far each law reaches."""
    shares = (threshold, 0.5, 1 - threshold)
    low, middle, high = (np.array([law.quantile(share) for law in (pair.control, pair.treatment)]) for share in shares)
    control = np.array([middle[0], low[0], high[0], middle[0], middle[0]])
    treatment = np.array([middle[1], middle[1], middle[1], low[1], high[1]])
    at, *ends = operation.point(treatment, control).tolist()
    reach = math.hypot(at - min(ends[:2]), at - min(ends[2:]))
    return [at - 0.9 * reach, at - 1.1 * reach]


@dataclass(frozen=True, slots=True)
class _Bracket:
    """Where the answer lies: above `low`, at most `high`.

    For each control value, the treatment values first .. end - 1 are still candidates. `mass_low` and `mass_high` are
    the law's mass up to the two points.
    """

    low: float
    high: float
    mass_low: float
    mass_high: float
    first: IntArray
    end: IntArray
    steps: int = 0

    @classmethod
    def whole(cls, pair: LawPair, operation: _Operation) -> _Bracket:
        control, treatment = pair.control.values, pair.treatment.values
        corners = operation.point(treatment[[0, 0, -1, -1]], control[[0, -1, 0, -1]])
        first = np.zeros(control.size, dtype=np.int64)
        return cls(float(corners.min()), float(corners.max()), 0.0, 1.0, first, first + treatment.size)

    @property
    def candidates(self) -> int:
        return int(self.end.sum() - self.first.sum())

    def guess(self, first: list[float], threshold: float) -> float:
        """Return the next point to try: after `first`, mostly where a normal law between the two ends has `threshold`.

        Later on, every second step halves the bracket, which bounds the number of steps for laws far from normal.
        """
        middle = self.low + 0.5 * (self.high - self.low)
        if self.steps < len(first) and self.low < first[self.steps] < self.high:
            return first[self.steps]
        if (self.steps > len(first) + 3 and self.steps % 2) or self.mass_low <= 0 or self.mass_high >= 1:
            return middle
        below, at, above = (float(z) for z in special.ndtri([self.mass_low, threshold, self.mass_high]))
        if not below < at < above:
            return middle
        share = (at - below) / (above - below)
        # Slightly towards the wider side, so that both ends move.
        share += 0.02 if share < 0.5 else -0.02
        return self.low + share * (self.high - self.low)

    def narrowed(self, point: float, index: IntArray, mass: float, threshold: float) -> _Bracket:
        """Return the part of the bracket on the answer's side of `point`."""
        if mass >= threshold:
            return _Bracket(self.low, point, self.mass_low, mass, self.first, index, self.steps + 1)
        return _Bracket(point, self.high, mass, self.mass_high, index, self.end, self.steps + 1)


def _find_only(pair: LawPair, operation: _Operation, bracket: _Bracket) -> float | None:
    """Return the candidate when all are equal, as among values with ties; None when they differ."""
    rows = np.flatnonzero(bracket.end > bracket.first)
    control, treatment = pair.control.values[rows], pair.treatment.values
    smallest = float(operation.point(treatment[bracket.first[rows]], control).min())
    largest = float(operation.point(treatment[bracket.end[rows] - 1], control).max())
    return smallest if smallest == largest else None


def _pick(pair: LawPair, operation: _Operation, bracket: _Bracket, threshold: float) -> float:
    """Return the first candidate at which the law reaches `threshold`."""
    conditional = pair.conditional()
    base = float(pair.control.masses @ conditional(np.arange(bracket.first.size), bracket.first))
    # Rounding can let a bound of one row pass the other by one value.
    filled = np.flatnonzero(bracket.end > bracket.first)
    counts = (bracket.end - bracket.first)[filled]
    rows = np.repeat(filled, counts)
    columns = np.arange(rows.size) - np.repeat(np.cumsum(counts) - counts - bracket.first[filled], counts)
    masses = pair.control.masses[rows] * (conditional(rows, columns + 1) - conditional(rows, columns))
    points = operation.point(pair.treatment.values[columns], pair.control.values[rows])
    order = np.argsort(points, kind="stable")
    reached = base + np.cumsum(masses[order])
    index = int(np.searchsorted(reached, threshold, side="left"))
    return float(points[order[min(index, order.size - 1)]])
