"""Medians: difference and percent change with exact bootstrap intervals, from the sampling distributions of both arms.

Both are found exactly on the finite set of values that they can take: a bisection narrows the candidates down to a few
thousand, which are then sorted. The two arms are independent, unless clusters hold sessions of both; then a Gaussian
copula ties their distributions together with the correlation that the clusters show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from kaizen_analytics.stats.comparison import (
    ArmSample,
    Comparison,
    Precision,
    student_inflation,
)
from kaizen_analytics.stats.distributions import (
    TAIL,
    Distribution,
    FloatArray,
    IntArray,
    Quantile,
    beta_distribution,
    sum_products,
)
from kaizen_analytics.stats.effect import MOST_TIES, ArmSummary, Effect, EffectKind, Interval

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from kaizen_analytics.stats.comparison import ArrayPair, SamplePair
    from kaizen_analytics.stats.sequential import Design


def median_effect(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    clusters: ArrayPair | None = None,
    covariate: ArrayPair | None = None,
    design: Design | None = None,
) -> Effect:
    """Compare the medians of two arms.

    The intervals are those of the percentile bootstrap with infinitely many resamples, computed exactly; with
    clusters or a covariate the sampling distribution is that of as many independent sessions as the arm is worth.

    Args:
        control: Shape (n,), one finite value per session.
        treatment: Shape (m,), the same unit.
        alpha: Nominal two-sided level.
        clusters: Pair of arrays of shapes (n,) and (m,): the workspace or user of each session.
        covariate: Pair of arrays of shapes (n,) and (m,): a number known before the experiment, such as the
            workspace's mean log metric in the weeks before.
        design: When the data may be analysed; None is one fixed analysis.

    Raises:
        StatisticsError: a value is not finite, shapes disagree or `alpha` is no level.

    >>> effect = median_effect([10, 11, 12, 13, 14, 15, 16], [5, 6, 7, 8, 9, 10, 11])
    >>> effect.difference
    Interval(estimate=-5.0, low=-8.0, high=-2.0)
    """
    comparison = Comparison.read(EffectKind.MEDIAN, (control, treatment), alpha, clusters, covariate, design)
    if (shortage := comparison.shortage()) is not None:
        return comparison.without_interval(shortage)
    samples = comparison.samples
    first, second = (_Arm.of(sample, samples.covariate_mean) for sample in (samples.control, samples.treatment))
    level = comparison.level(first.n_effective, second.n_effective)
    pair = _pair(samples, first, second, level.alpha)
    percent = _percent(pair.percent_limits(level.alpha), first.estimate, second.estimate)
    difference = Interval.around(second.estimate - first.estimate, pair.difference_limits(level.alpha))
    arms = (
        first.summarise(_arm_limits(first, pair.control, level.control_alpha)),
        second.summarise(_arm_limits(second, pair.treatment, level.treatment_alpha)),
    )
    return comparison.effect(level, arms, difference, percent, pair)


def median_reaches(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    percent: float,
    *,
    alpha: float = 0.05,
    clusters: ArrayPair | None = None,
    design: Design | None = None,
) -> bool:
    """Return whether the interval of `median_effect` lies at or beyond a percent change, without computing its ends.

    Beyond is the side of `percent` away from 0; 0 itself asks for a fall. A tied median reaches nothing.

    >>> median_reaches([10, 11, 12, 13, 14, 15, 16], [5, 6, 7, 8, 9, 10, 11], -10)
    True
    """
    comparison = Comparison.read(EffectKind.MEDIAN, (control, treatment), alpha, clusters, None, design)
    samples = comparison.samples
    if comparison.shortage() is not None:
        return False
    first, second = (_Arm.of(sample, None) for sample in (samples.control, samples.treatment))
    ties = [np.count_nonzero(arm.sample.values == arm.plain.value) / arm.sample.n for arm in (first, second)]
    if max(ties) > MOST_TIES:
        return False
    level = comparison.level(first.n_effective, second.n_effective)
    pair = _pair(samples, first, second, level.alpha)
    undefined = pair.control.at_most(_TINY)
    wrong = pair.below(percent) if percent > 0 else 1 - (pair.at_most(percent) if percent else pair.below(0))
    return undefined + (1 - undefined) * wrong < level.alpha / 2


@dataclass(frozen=True, slots=True)
class _Arm:
    """One arm with what the distribution of its median needs.

    `precision` is that of the share of sessions below the median; None stands for plain independent sessions, which
    need no approximation.
    """

    sample: ArmSample
    plain: Quantile
    precision: Precision | None

    @classmethod
    def of(cls, sample: ArmSample, covariate_mean: float | None) -> _Arm:
        plain = Quantile.of(sample.values, 0.5)
        if sample.clusters is None and sample.covariate is None:
            return cls(sample, plain, None)
        score = (sample.values < plain.value) + 0.5 * (sample.values == plain.value)
        return cls(sample, plain, sample.measure(score, covariate_mean))

    @property
    def n_effective(self) -> float:
        return float(self.sample.n) if self.precision is None else self.precision.n_effective

    @property
    def level(self) -> float:
        """The level at which this arm's quantile is read: one half, moved by the covariate where there is one.

        The covariate adjusts the share of sessions below a value, never the values: moving values would change what
        is estimated.
        """
        if self.precision is None:
            return 0.5
        edge = 1 / self.sample.n
        return min(max(0.5 - self.precision.shift, edge), 1 - edge)

    @property
    def estimate(self) -> float:
        return self.plain.value if self.level == 0.5 else Quantile.of(self.sample.values, self.level).value

    def distribution(self, alpha: float, degrees: float) -> Distribution:
        """Return the distribution; few clusters widen it by Student's quantile of their degrees of freedom."""
        if self.precision is None:
            return self.plain.distribution()
        draws = self.n_effective / student_inflation(degrees, alpha) + 1
        a, b = draws * self.level, draws * (1 - self.level)
        edge = 1 / self.sample.n
        # Few effective sessions put real mass on the single outermost session; what lies beyond it is unknown.
        beyond = max(float(special.betainc(a, b, edge)), float(special.betainc(b, a, edge)))
        return replace(beta_distribution(self.sample.values, a, b), blind=max(beyond, 2 * TAIL))

    def summarise(self, limits: tuple[float, float]) -> ArmSummary:
        return self.sample.summarise(
            EffectKind.MEDIAN,
            n_effective=self.n_effective,
            median=self.plain.value,
            interval=Interval.around(self.estimate, limits),
            ties=int(np.count_nonzero(self.sample.values == self.plain.value)),
        )


def _pair(samples: SamplePair, control: _Arm, treatment: _Arm, alpha: float) -> _MedianPair:
    if control.precision is None or treatment.precision is None:
        return _MedianPair(control.plain.distribution(), treatment.plain.distribution())
    degrees = samples.degrees(control.precision, treatment.precision)
    correlation = samples.correlate(control.precision, treatment.precision)
    return _MedianPair.joined(control.distribution(alpha, degrees), treatment.distribution(alpha, degrees), correlation)


def _arm_limits(arm: _Arm, of_contrast: Distribution, alpha: float) -> tuple[float, float]:
    """Return the interval of one arm; without clusters its distribution is that of the contrast."""
    own = of_contrast if arm.precision is None else arm.distribution(alpha, arm.precision.degrees)
    return own.limits(alpha)


def _percent(limits: tuple[float, float] | None, control: float, treatment: float) -> Interval | None:
    if limits is None or control <= _TINY:
        return None
    return Interval.around(100 * (treatment - control) / control, limits)


_TINY = 1e-150
"""Controls up to this value count as zero: a percent change of them could not be represented."""

_FINE = 1 / 512
"""Largest mass in a distribution that is tied to another: conditioning on a whole atom would hide the spread in it."""

_FEW = 10_000
"""Candidates that are sorted rather than narrowed further."""

_RELATIVE = 1e-12
"""Percent changes closer than this are equal: 1 - 10 % is not exactly representable."""


class _Operation(NamedTuple):
    """How a control value and a point of the contrast give the treatment value, and both values the point."""

    treatment: Callable[[FloatArray, float], FloatArray]
    point: Callable[[FloatArray, FloatArray], FloatArray]


_DIFFERENCE = _Operation(lambda control, point: control + point, lambda treatment, control: treatment - control)
_PERCENT = _Operation(
    lambda control, point: control + control * (point / 100),
    # This order gives exactly -10 for 10 -> 9, where 100 (9/10 - 1) does not.
    lambda treatment, control: 100 * (treatment - control) / control,
)
_NEGATIVE_PERCENT = _Operation(  # of a treatment that was negated
    lambda control, point: control * (point / 100) - control,
    lambda treatment, control: 100 * (treatment + control) / control,
)


@dataclass(frozen=True, slots=True)
class _MedianPair:
    """The joint distribution of the two arms' medians.

    Attributes:
        correlation: Correlation of their normal scores, from clusters that hold both arms.
    """

    control: Distribution
    treatment: Distribution
    correlation: float = 0.0

    @classmethod
    def joined(cls, control: Distribution, treatment: Distribution, correlation: float) -> _MedianPair:
        """Return the joint distribution; a correlated one splits large atoms, so that both marginal ones are kept."""
        if correlation == 0.0:
            return cls(control, treatment)
        return cls(control.refined(_FINE), treatment.refined(_FINE), correlation)

    def difference_limits(self, alpha: float) -> tuple[float, float]:
        """Return the interval of treatment - control that leaves `alpha` / 2 on each side."""
        # Swapping the arms mirrors the difference, so both ends come from the same code.
        return _low(self, _DIFFERENCE, alpha / 2), -_low(self._swapped(), _DIFFERENCE, alpha / 2)

    def percent_limits(self, alpha: float) -> tuple[float, float] | None:
        """Return the interval of the percent change; None when the control may be zero or negative.

        The mass of control medians that are not positive has no percent change. It is charged to both tails in
        full, so the interval can only become wider; from `alpha` / 2 on there is no interval.
        """
        undefined = self.control.at_most(_TINY)
        tail = alpha / 2
        if undefined >= tail:
            return None
        pair = self._positive_control()
        share = (tail - undefined) / (1 - undefined)
        return _low(pair, _PERCENT, share), -_low(pair.mirrored_treatment(), _NEGATIVE_PERCENT, share)

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

    def _swapped(self) -> _MedianPair:
        return _MedianPair(self.treatment, self.control, self.correlation)

    def mirrored_treatment(self) -> _MedianPair:
        """Return the joint distribution of the control and the negative treatment."""
        return _MedianPair(self.control, self.treatment.negated(), -self.correlation)

    def _positive_control(self) -> _MedianPair:
        first = int(np.searchsorted(self.control.values, _TINY, side="right"))
        if first == 0:
            return self
        masses = self.control.masses[first:]
        total = masses.sum()
        cumulative = np.concatenate((np.zeros(1), np.cumsum(masses / total)))
        np.minimum(cumulative, 1.0, out=cumulative)
        control = Distribution(self.control.values[first:], masses / total, cumulative, self.control.blind)
        return _MedianPair(control, self.treatment, self.correlation)


def _low(pair: _MedianPair, operation: _Operation, tail: float) -> float:
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


def _are_equal(pair: _MedianPair, operation: _Operation, first: IntArray, end: IntArray) -> bool:
    """Return whether all candidates are one value, as among ties: no point separates them."""
    rows = np.flatnonzero(end > first)
    control, treatment = pair.control.values[rows], pair.treatment.values
    smallest = float(operation.point(treatment[first[rows]], control).min())
    return smallest == float(operation.point(treatment[end[rows] - 1], control).max())


def _pick(pair: _MedianPair, operation: _Operation, bounds: tuple[IntArray, IntArray], threshold: float) -> float:
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
