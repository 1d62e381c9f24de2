"""Proportions: Newcombe's interval of the difference, the score interval of the ratio, Wilson's of one share.

All three invert the score test, so they also hold with few successes, where Wald intervals do not. A median of zeros
and ones says nothing, so a proportion never goes through `median_effect`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from kaizen_analytics.errors import StatisticsError
from kaizen_analytics.stats.comparison import Comparison, Level, cluster_note, summarise
from kaizen_analytics.stats.effect import ArmSummary, Effect, EffectKind, Interval
from kaizen_analytics.stats.precision import Precision, contrast_degrees, correlate, measure, student_inflation
from kaizen_analytics.stats.quantile_sequence import share_limits, share_p_value
from kaizen_analytics.stats.samples import Sample, SamplePair, read_samples
from kaizen_analytics.stats.sequential import FIXED, Design, DesignKind

if TYPE_CHECKING:
    import numpy.typing as npt

    from kaizen_analytics.stats.samples import ArrayPair


def proportion_effect(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    clusters: ArrayPair | None = None,
    covariate: ArrayPair | None = None,
    design: Design | None = None,
) -> Effect:
    """Compare the shares of successes of two arms; values are 0, 1 or booleans, the rest is as in `median_effect`.

    The difference of shares has Newcombe's hybrid score interval (Newcombe 1998, method 10), the percent change that of
    the score test of the ratio (Koopman 1984; Miettinen & Nurminen 1985 without their correction), and the p value is
    that of the score test. With clusters the sessions count as their effective number (Rao & Scott 1992).
    """
    samples = read_samples(control, treatment, clusters, covariate)
    _check_binary(samples.control)
    _check_binary(samples.treatment)
    comparison = Comparison(
        kind=EffectKind.PROPORTION,
        samples=samples,
        design=design or FIXED,
        nominal_alpha=alpha,
    )
    if (sentence := comparison.shortage()) is not None:
        return comparison.unavailable(sentence)
    if comparison.design.kind is DesignKind.EXACT:
        return _exact_effect(comparison)
    return _score_effect(comparison)


def _check_binary(sample: Sample) -> None:
    bad = np.flatnonzero((sample.values != 0) & (sample.values != 1))
    if bad.size:
        raise StatisticsError(
            f"The {sample.name} arm of a proportion holds {sample.values[bad[0]]} at position {bad[0]}; "
            "expected 0 or 1. "
            f"Compare shares that vary within a session with median_effect or mean_effect.",
        )


@dataclass(frozen=True, slots=True)
class Share:
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
class SharePair:
    """Two independent shares."""

    control: Share
    treatment: Share

    def difference_limits(self, alpha: float) -> tuple[float, float]:
        """Return Newcombe's interval of treatment - control."""
        p_c, p_t = self.control.share, self.treatment.share
        low_c, high_c = self.control.wilson(alpha)
        low_t, high_t = self.treatment.wilson(alpha)
        gap = p_t - p_c
        return gap - math.hypot(p_t - low_t, high_c - p_c), gap + math.hypot(high_t - p_t, p_c - low_c)

    def percent_limits(self, alpha: float) -> tuple[float, float] | None:
        """Return the score interval of the percent change; None when the control share is zero."""
        if self.control.share <= 0:
            return None
        z = -float(special.ndtri(alpha / 2))
        start = self.treatment.share / self.control.share
        low = 0.0 if start == 0 else self._root(z, start, 0.5)
        high = self._root(-z, start or 1 / (self.control.n * self.control.share), 2.0)
        return 100 * (low - 1), 100 * (high - 1)

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


def _score_effect(comparison: Comparison) -> Effect:
    samples = comparison.samples
    control = measure(samples.control, samples.control.values, samples.covariate_mean)
    treatment = measure(samples.treatment, samples.treatment.values, samples.covariate_mean)
    worth_c, worth_t = _worth(samples, control, treatment)
    level = comparison.level(worth_c, worth_t)
    inflation = student_inflation(contrast_degrees(samples, control, treatment), level.alpha)
    pair = SharePair(Share(_clipped(control), worth_c / inflation), Share(_clipped(treatment), worth_t / inflation))
    difference = Interval.around(pair.treatment.share - pair.control.share, pair.difference_limits(level.alpha))
    percent = _percent(pair, pair.percent_limits(level.alpha))
    effect = _effect(comparison, level, difference, percent, level.p_value(pair.p_value()))
    return replace(
        effect,
        control=_summary(samples.control, pair.control, level.control_alpha),
        treatment=_summary(samples.treatment, pair.treatment, level.treatment_alpha),
        notes=(*cluster_note(samples, worth_c, worth_t), *effect.notes),
        tails=pair if percent is not None else None,
    )


def _worth(samples: SamplePair, control: Precision, treatment: Precision) -> tuple[float, float]:
    """Return how many independent sessions each arm is worth.

    An arm without any variation shows no design effect, so it borrows the other's. Where clusters hold both arms, both
    take the design effect of the difference.
    """
    correlation = correlate(samples, control, treatment)
    effects = [arm.design_effect if arm.variance > 0 else 0.0 for arm in (control, treatment)]
    effects = [effect or max(effects) or 1.0 for effect in effects]
    if correlation != 0.0:
        shared = 2 * correlation * math.sqrt(control.variance * treatment.variance)
        kept = 1 - shared / (control.variance + treatment.variance)
        effects = [effect * kept for effect in effects]
    return control.n / effects[0], treatment.n / effects[1]


def _clipped(arm: Precision) -> float:
    return min(max(arm.mean, 0.0), 1.0)


def _percent(pair: SharePair, limits: tuple[float, float] | None) -> Interval | None:
    if limits is None or pair.control.share <= 0:
        return None
    return Interval.around(100 * (pair.treatment.share - pair.control.share) / pair.control.share, limits)


def _summary(sample: Sample, share: Share, alpha: float) -> ArmSummary:
    return summarise(
        sample,
        EffectKind.PROPORTION,
        n_effective=share.n,
        interval=Interval.around(share.share, share.wilson(alpha)),
    )


def _effect(
    comparison: Comparison,
    level: Level,
    difference: Interval,
    percent: Interval | None,
    p_value: float,
) -> Effect:
    samples = comparison.samples
    return Effect(
        kind=EffectKind.PROPORTION,
        control=summarise(samples.control, EffectKind.PROPORTION),
        treatment=summarise(samples.treatment, EffectKind.PROPORTION),
        difference=difference,
        percent=percent,
        p_value=p_value,
        alpha=level.alpha,
        percent_undefined=None if percent is not None else _NO_PERCENT,
        notes=tuple(level.notes(difference, percent)),
        nominal_alpha=comparison.nominal_alpha,
        design=comparison.design,
        information=level.reported_information,
    )


_NO_PERCENT = "No control session succeeded, and a percent change of zero has no meaning: read the difference instead."


def _exact_effect(comparison: Comparison) -> Effect:
    """Return the anytime-valid effect: each arm's interval at half the level, combined at their corners."""
    samples, alpha = comparison.samples, comparison.nominal_alpha
    pair = SharePair(_observed(samples.control), _observed(samples.treatment))
    low_c, high_c = _exact_limits(samples.control, alpha / 2)
    low_t, high_t = _exact_limits(samples.treatment, alpha / 2)
    difference = Interval.around(pair.treatment.share - pair.control.share, (low_t - high_c, high_t - low_c))
    ratio = (100 * (low_t / high_c - 1), 100 * (high_t / low_c - 1) if low_c > 0 else math.inf)
    percent = _percent(pair, ratio)
    level = comparison.level(samples.control.n, samples.treatment.n)
    p_value = share_p_value(
        _successes(samples.control), samples.control.n, _successes(samples.treatment), samples.treatment.n
    )
    effect = _effect(comparison, level, difference, percent, p_value)
    return replace(
        effect,
        control=_exact_summary(samples.control, pair.control, alpha),
        treatment=_exact_summary(samples.treatment, pair.treatment, alpha),
        tails=pair if percent is not None else None,
    )


def _observed(sample: Sample) -> Share:
    return Share(float(sample.values.mean()), float(sample.n))


def _successes(sample: Sample) -> int:
    return int(sample.values.sum())


def _exact_limits(sample: Sample, alpha: float) -> tuple[float, float]:
    return share_limits(_successes(sample), sample.n, alpha)


def _exact_summary(sample: Sample, share: Share, alpha: float) -> ArmSummary:
    interval = Interval.around(share.share, _exact_limits(sample, alpha))
    return summarise(sample, EffectKind.PROPORTION, interval=interval)
