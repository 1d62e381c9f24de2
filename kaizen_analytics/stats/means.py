"""Means, ratios of totals and shares: all are means of a score.

The difference of means has Welch's interval, their percent change Fieller's, which collects every ratio r for which
treatment - r * control is not clearly different from zero. A ratio of totals, such as cost per prompt, is a mean of its
linearised scores (the delta method; Deng, Knoblich & Lu 2018), so both go the same way.

With arms of unequal size the skewness of the sessions does not cancel, and intervals of Student's cover only 79 to
88 % at 20 sessions against 500. Hall's transformation (Hall 1992) removes the skewness; it is estimated from both arms
together, because 20 sessions do not show their own. Each end is the wider one with and without the transformation.

Shares have Newcombe's interval of the difference, the score interval of the ratio, and Wilson's of one share. All three
invert the score test, so they also hold with few successes, where Wald intervals do not. A median of zeros and ones
says nothing, so a share never goes through `median_effect`. A rate, such as failed results per result, is a share of
totals: its variance over sessions (delta method) says how many independent results it is worth (Rao & Scott 1992), and
the score test does the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from kaizen_analytics.core.errors import StatisticsError
from kaizen_analytics.stats.comparison import ArmSample, Comparison, Precision, student_inflation
from kaizen_analytics.stats.effect import ArmSummary, Effect, EffectKind, Interval

if TYPE_CHECKING:
    import numpy.typing as npt

    from kaizen_analytics.stats.comparison import ArrayPair, SamplePair
    from kaizen_analytics.stats.sequential import Design

_ROUNDS = 12
"""Rounds until the end of an interval and the skewness at that end agree."""

_MOST_ALIKE = 0.9999
"""Largest correlation of two means: below it, clusters that hold both arms are compared as pairs are."""


def mean_effect(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    clusters: ArrayPair | None = None,
    covariate: ArrayPair | None = None,
    design: Design | None = None,
    denominators: ArrayPair | None = None,
) -> Effect:
    """Compare the means of two arms, or their ratios of totals; the other arguments are those of `median_effect`.

    The difference has Welch's interval (Welch 1947), with clusters that of cluster totals and the degrees of freedom
    of their number. The percent change has Fieller's interval (Fieller 1954); it is missing when the control mean is
    not clearly above zero. Both are corrected for skewness.

    Args:
        control: Shape (n,), one finite value per session; the numerator of a ratio of totals.
        treatment: Shape (m,), the same unit.
        denominators: Pair of arrays of shapes (n,) and (m,), 0 or more: compare the total of the values per total of
            these, such as cost per prompt.

    >>> effect = mean_effect([10, 11, 12, 13, 14], [5, 6, 7, 8, 9])
    >>> effect.difference.estimate, round(effect.percent.high, 1)
    (-5.0, -24.7)
    """
    kind = EffectKind.MEAN if denominators is None else EffectKind.RATIO
    comparison = Comparison.read(kind, (control, treatment), alpha, clusters, covariate, design, denominators)
    if (shortage := comparison.shortage()) is not None:
        return comparison.without_interval(shortage)
    samples = comparison.samples
    first, second = samples.measure()
    joint_degrees = samples.degrees(first, second) if samples.joint else math.inf
    pair = _MeanPair(first, second, samples.correlate(first, second, _MOST_ALIKE), joint_degrees)
    level = comparison.level(first.n_effective, second.n_effective)
    low, high = pair.difference_limits(level.alpha)
    difference = Interval(estimate=second.mean - first.mean, low=low, high=high)
    arms = (
        _summarise(kind, samples.control, first, level.control_alpha),
        _summarise(kind, samples.treatment, second, level.treatment_alpha),
    )
    return comparison.effect(level, arms, difference, _percent(pair, level.alpha), pair)


@dataclass(frozen=True, slots=True)
class _MeanPair:
    """Two estimated means with their variances, and the covariance of their errors."""

    control: Precision
    treatment: Precision
    correlation: float = 0.0
    joint_degrees: float = math.inf

    @property
    def covariance(self) -> float:
        """Covariance of the two means, from clusters that hold both arms."""
        return self.correlation * math.sqrt(self.control.variance * self.treatment.variance)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the difference's variance (Satterthwaite 1946); fewer where clusters hold both arms."""
        first, second = self.control.variance, self.treatment.variance
        separate = first**2 / _degrees(self.control) + second**2 / _degrees(self.treatment)
        return min((first + second) ** 2 / separate, self.joint_degrees)

    def student(self, alpha: float) -> float:
        """Return the upper `alpha` / 2 quantile of Student's distribution."""
        return float(-special.stdtrit(self.degrees, alpha / 2))

    def difference_limits(self, alpha: float) -> tuple[float, float]:
        """Return Welch's interval of treatment - control, corrected for skewness."""
        estimate = self.treatment.mean - self.control.mean
        error, student, skewness = self._error(1.0), self.student(alpha), self._skewness(1.0)
        upper, lower = _untransform(student, skewness), _untransform(-student, skewness)
        return estimate - max(student, upper) * error, estimate - min(-student, lower) * error

    def percent_limits(self, alpha: float) -> tuple[float, float] | None:
        """Return Fieller's interval, corrected for skewness; None when the control mean is not clearly above zero."""
        student = self.student(alpha)
        ends = []
        for sign in (1.0, -1.0):
            plain = self._ratio(sign * student)
            corrected = plain
            for _ in range(_ROUNDS):
                if corrected is None:
                    break
                corrected = self._ratio(_untransform(sign * student, self._skewness(corrected)))
            if plain is None or corrected is None:
                return None
            ends.append(min(plain, corrected) if sign > 0 else max(plain, corrected))
        return 100 * (ends[0] - 1), 100 * (ends[1] - 1)

    def _ratio(self, statistic: float) -> float | None:
        """Return the ratio r whose standardised gap treatment - r * control is `statistic`; None if none is.

        It is a root of (m_t - r m_c)² = q² (v_t - 2 r v_ct + r² v_c), the lower one for a positive statistic.
        """
        q2 = statistic**2
        m_c, m_t = self.control.mean, self.treatment.mean
        a = m_c * m_c - q2 * self.control.variance
        if a <= 0 or m_c <= 0:
            return None
        b = m_c * m_t - q2 * self.covariance
        c = m_t * m_t - q2 * self.treatment.variance
        return (b - math.copysign(math.sqrt(max(b * b - a * c, 0.0)), statistic)) / a

    def _error(self, ratio: float) -> float:
        """Return the standard error of treatment - ratio * control."""
        return math.sqrt(
            max(self.treatment.variance - 2 * ratio * self.covariance + ratio**2 * self.control.variance, 0.0)
        )

    def _skewness(self, ratio: float) -> float:
        """Return the skewness of treatment - ratio * control, from the skewness of the units of both arms together.

        Zero where clusters hold both arms: their totals were not followed together.
        """
        error = self._error(ratio)
        if self.correlation != 0.0 or error == 0:
            return 0.0
        first, second = self.control, self.treatment
        pooled = (first.skewness * first.units + second.skewness * second.units) / (first.units + second.units)
        gap = second.variance**1.5 / math.sqrt(second.units) - ratio**3 * first.variance**1.5 / math.sqrt(first.units)
        return float(pooled * gap / error**3)

    def at_most(self, percent: float) -> float:
        """Return the confidence in a percent change of at most `percent` (Fieller, corrected for skewness)."""
        ratio = 1 + percent / 100
        error = self._error(ratio)
        gap = self.treatment.mean - ratio * self.control.mean
        if error == 0:
            return float(gap <= 0)
        return float(special.stdtr(self.degrees, -_transform(gap / error, self._skewness(ratio))))

    def below(self, percent: float) -> float:
        """Return the same as `at_most`: the distribution has no atoms."""
        return self.at_most(percent)

    def p_value(self) -> float:
        """Return the two-sided p value of equal means: the larger one with and without the correction."""
        error, gap = self._error(1.0), self.treatment.mean - self.control.mean
        if error == 0:
            return float(gap == 0)
        statistic = gap / error
        smallest = min(abs(statistic), abs(_transform(statistic, self._skewness(1.0))))
        return 2 * float(special.stdtr(self.degrees, -smallest))


def _transform(statistic: float, skewness: float) -> float:
    """Return Hall's transformation of a studentised mean of this skewness: nearly symmetric, and increasing."""
    if abs(skewness) < 1e-9:
        return statistic
    return ((1 + skewness * statistic / 3) ** 3 - 1) / skewness + skewness / 6


def _untransform(value: float, skewness: float) -> float:
    """Return the inverse of `_transform`."""
    if abs(skewness) < 1e-9:
        return value
    root = float(np.cbrt(1 + skewness * (value - skewness / 6)))
    return 3 / skewness * (root - 1)


def _degrees(arm: Precision) -> float:
    return arm.n - 1 if math.isinf(arm.degrees) else arm.degrees


def _percent(pair: _MeanPair, alpha: float) -> Interval | None:
    limits = pair.percent_limits(alpha)
    if limits is None:
        return None
    estimate = 100 * (pair.treatment.mean - pair.control.mean) / pair.control.mean
    return Interval(estimate=estimate, low=limits[0], high=limits[1])


def _summarise(kind: EffectKind, sample: ArmSample, precision: Precision, alpha: float) -> ArmSummary:
    margin = -float(special.stdtrit(_degrees(precision), alpha / 2)) * math.sqrt(precision.variance)
    mean = precision.mean
    interval = Interval(estimate=mean, low=mean - margin, high=mean + margin)
    return sample.summarise(kind, n_effective=precision.n_effective, interval=interval)


_SLACK = 1e-12
"""Relative excess of successes over trials that is rounding: a rate times its denominator is not exact."""


def proportion_effect(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    clusters: ArrayPair | None = None,
    covariate: ArrayPair | None = None,
    design: Design | None = None,
    denominators: ArrayPair | None = None,
) -> Effect:
    """Compare the shares of successes of two arms; the other arguments are those of `median_effect`.

    The difference of shares has Newcombe's hybrid score interval (Newcombe 1998, method 10), the percent change that of
    the score test of the ratio (Koopman 1984; Miettinen & Nurminen 1985 without their correction), and the p value is
    that of the score test. With clusters the sessions count as their effective number (Rao & Scott 1992).

    Args:
        control: Shape (n,), one value per session: 0, 1 or a boolean; a number of successes with denominators.
        treatment: Shape (m,), the same.
        denominators: Pair of arrays of shapes (n,) and (m,), 0 or more: compare the total of successes per total of
            these trials; sessions (or clusters) are the units that vary.

    Raises:
        StatisticsError: a value is neither 0 nor 1, or not between 0 and its denominator, or as for `median_effect`.

    >>> effect = proportion_effect([1] * 40 + [0] * 10, [1] * 25 + [0] * 25)
    >>> effect.percent.estimate, round(effect.difference.low, 3)
    (-37.5, -0.46)
    """
    kind = EffectKind.PROPORTION if denominators is None else EffectKind.RATE
    comparison = Comparison.read(kind, (control, treatment), alpha, clusters, covariate, design, denominators)
    samples = comparison.samples
    _check_binary(samples.control)
    _check_binary(samples.treatment)
    if (shortage := comparison.shortage()) is not None:
        return comparison.without_interval(shortage)
    first, second = samples.measure()
    worth = _worth(samples, first, second)
    level = comparison.level(*worth)
    inflation = student_inflation(_trial_degrees(samples, first, second), level.alpha)
    pair = _SharePair(*(_Share(_clipped(arm), n / inflation) for arm, n in zip((first, second), worth, strict=True)))
    difference = Interval.around(pair.treatment.share - pair.control.share, pair.difference_limits(level.alpha))
    arms = (
        _summarise_share(kind, samples.control, pair.control, level.control_alpha),
        _summarise_share(kind, samples.treatment, pair.treatment, level.treatment_alpha),
    )
    return comparison.effect(level, arms, difference, pair.percent(level.alpha), pair)


def _check_binary(sample: ArmSample) -> None:
    if sample.denominators is not None:
        if sample.n and (sample.values.min() < 0 or (sample.values > sample.denominators * (1 + _SLACK)).any()):
            raise StatisticsError(f"The {sample.name} arm holds successes that are not between 0 and their trials.")
        return
    bad = np.flatnonzero((sample.values != 0) & (sample.values != 1))
    if bad.size:
        raise StatisticsError(
            f"The {sample.name} arm of a proportion holds {sample.values[bad[0]]} at position {bad[0]}; "
            "expected 0 or 1. Compare shares that vary within a session with median_effect or mean_effect."
        )


@dataclass(frozen=True, slots=True)
class _Share:
    """An observed share and the number of independent sessions that it is worth."""

    share: float
    n: float

    def wilson(self, alpha: float) -> tuple[float, float]:
        """Return Wilson's score interval (Wilson 1927)."""
        z2 = float(special.ndtri(alpha / 2)) ** 2
        centre = (self.share + z2 / (2 * self.n)) / (1 + z2 / self.n)
        spread = self.share * (1 - self.share) / self.n + z2 / (4 * self.n**2)
        margin = math.sqrt(z2 * spread) / (1 + z2 / self.n)
        low = 0.0 if self.share == 0 else max(centre - margin, 0.0)
        return low, 1.0 if self.share == 1 else min(centre + margin, 1.0)


@dataclass(frozen=True, slots=True)
class _SharePair:
    """Two independent shares."""

    control: _Share
    treatment: _Share

    def difference_limits(self, alpha: float) -> tuple[float, float]:
        """Return Newcombe's interval of treatment - control."""
        p_c, p_t = self.control.share, self.treatment.share
        low_c, high_c = self.control.wilson(alpha)
        low_t, high_t = self.treatment.wilson(alpha)
        gap = p_t - p_c
        return gap - math.hypot(p_t - low_t, high_c - p_c), gap + math.hypot(high_t - p_t, p_c - low_c)

    def percent(self, alpha: float) -> Interval | None:
        """Return the percent change with the interval of the score test; None when the control share is zero."""
        p_c, p_t = self.control.share, self.treatment.share
        if p_c <= 0:
            return None
        z = -float(special.ndtri(alpha / 2))
        start = p_t / p_c
        low = 0.0 if start == 0 else self._root(z, start, 0.5)
        high = self._root(-z, start or 1 / (self.control.n * p_c), 2.0)
        # Rounding may put the fall to zero below -100.
        estimate = max(-100.0, 100 * (p_t - p_c) / p_c)
        return Interval.around(estimate, (100 * (low - 1), 100 * (high - 1)))

    def _root(self, z: float, start: float, factor: float) -> float:
        """Return the ratio at which the score is `z`, searched from `start` by repeated `factor`."""
        inside = outside = start
        while (self.score(outside) - z) * (1 if factor > 1 else -1) > 0:
            inside, outside = outside, outside * factor
        for _ in range(80):
            middle = math.sqrt(inside * outside)
            if (self.score(middle) - z) * (1 if factor > 1 else -1) > 0:
                inside = middle
            else:
                outside = middle
        return outside

    def score(self, ratio: float) -> float:
        """Return the standardised gap treatment - ratio * control, with variances at the best fit of `ratio`."""
        n_c, n_t = self.control.n, self.treatment.n
        p_t = self._fitted_treatment(ratio)
        p_c = p_t / ratio
        variance = p_t * (1 - p_t) / n_t + ratio**2 * p_c * (1 - p_c) / n_c
        gap = self.treatment.share - ratio * self.control.share
        if variance <= 1e-300:
            return 0.0 if abs(gap) < 1e-12 else math.copysign(math.inf, gap)
        return gap / math.sqrt(variance)

    def _fitted_treatment(self, ratio: float) -> float:
        """Return the most likely treatment share among those with treatment = ratio * control."""
        n_c, n_t = self.control.n, self.treatment.n
        x_c, x_t = self.control.share * n_c, self.treatment.share * n_t
        a = ratio * (n_c + n_t)
        b = ratio * (n_t + x_c) + x_t + n_c
        successes = x_c + x_t
        # The smaller root, written so that nothing cancels.
        root = 2 * successes / (b + math.sqrt(max(b * b - 4 * a * successes, 0.0)))
        return ratio * min(max(root, 0.0), 1.0, 1 / ratio)

    def at_most(self, percent: float) -> float:
        """Return the confidence in a percent change of at most `percent`, from the score test."""
        ratio = 1 + percent / 100
        return float(special.ndtr(-self.score(ratio))) if ratio > 0 else 0.0

    def below(self, percent: float) -> float:
        """Return the same as `at_most`: the score has no atoms."""
        return self.at_most(percent)

    def p_value(self) -> float:
        """Return the two-sided p value of equal shares."""
        return 2 * float(special.ndtr(-abs(self.score(1.0))))


def _worth(samples: SamplePair, control: Precision, treatment: Precision) -> tuple[float, float]:
    """Return how many independent sessions each arm is worth.

    An arm without any variation shows no design effect, so it borrows the other's. Where clusters hold both arms, both
    take the design effect of the difference. A rate has at least the design effect of both arms together: where few
    sessions fail, the arm that happens to show less of it would count for too much.
    """
    correlation = samples.correlate(control, treatment)
    pairs = (samples.control, control), (samples.treatment, treatment)
    effects = [_design_effect(sample, arm) if arm.variance > 0 else 0.0 for sample, arm in pairs]
    if samples.control.denominators is not None and samples.control.clusters is None:
        spread = [arm.n * float(sample.score.mean()) * (1 - float(sample.score.mean())) for sample, arm in pairs]
        common = sum(effect * part for effect, part in zip(effects, spread, strict=True)) / (sum(spread) or 1.0)
        effects = [max(effect, common) for effect in effects]
    effects = [effect or max(effects) or 1.0 for effect in effects]
    if correlation != 0.0:
        shared = 2 * correlation * math.sqrt(control.variance * treatment.variance)
        kept = 1 - shared / (control.variance + treatment.variance)
        effects = [effect * kept for effect in effects]
    return control.n / effects[0], treatment.n / effects[1]


def _design_effect(sample: ArmSample, arm: Precision) -> float:
    """Return how many sessions are worth one independent trial; less than one where a session holds many trials."""
    share = float(sample.score.mean())
    return arm.design_effect * float(sample.score.var()) / (share * (1 - share))


def _trial_degrees(samples: SamplePair, control: Precision, treatment: Precision) -> float:
    """Return the degrees of freedom of the variances, which those of single trials do not need."""
    if samples.control.denominators is None or samples.control.clusters is not None:
        return samples.degrees(control, treatment)
    return min(control.n, treatment.n) - 1.0


def _clipped(arm: Precision) -> float:
    return min(max(arm.mean, 0.0), 1.0)


def _summarise_share(kind: EffectKind, sample: ArmSample, share: _Share, alpha: float) -> ArmSummary:
    return sample.summarise(kind, n_effective=share.n, interval=Interval.around(share.share, share.wilson(alpha)))
