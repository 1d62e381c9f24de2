"""Shares: Newcombe's interval of the difference, the score interval of the ratio, Wilson's of one share.

All three invert the score test, so they also hold with few successes, where Wald intervals do not. A median of zeros
and ones says nothing, so a share never goes through `median_effect`. A rate, such as failed results per result, is a
share of totals: its variance over sessions (delta method) says how many independent results it is worth (Rao & Scott
1992), and the score test does the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from kaizen_analytics.core.errors import StatisticsError
from kaizen_analytics.stats.comparison import (
    ArmSample,
    Comparison,
    Precision,
    student_inflation,
)
from kaizen_analytics.stats.effect import ArmSummary, Effect, EffectKind, Interval

if TYPE_CHECKING:
    import numpy.typing as npt

    from kaizen_analytics.stats.comparison import ArrayPair, SamplePair
    from kaizen_analytics.stats.sequential import Design

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
    comparison = Comparison.read(
        EffectKind.PROPORTION if denominators is None else EffectKind.RATE,
        (control, treatment),
        alpha=alpha,
        clusters=clusters,
        covariate=covariate,
        design=design,
        denominators=denominators,
    )
    samples = comparison.samples
    _check_binary(samples.control)
    _check_binary(samples.treatment)
    if (shortage := comparison.shortage()) is not None:
        return comparison.without_interval(shortage)
    first, second = samples.measure()
    worth = _worth(samples, first, second)
    level = comparison.level(*worth)
    inflation = student_inflation(_degrees(samples, first, second), level.alpha)
    pair = _SharePair(*(_Share(_clipped(arm), n / inflation) for arm, n in zip((first, second), worth, strict=True)))
    difference = Interval.around(pair.treatment.share - pair.control.share, pair.difference_limits(level.alpha))
    arms = (
        _summarise(comparison.kind, samples.control, pair.control, level.control_alpha),
        _summarise(comparison.kind, samples.treatment, pair.treatment, level.treatment_alpha),
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


def _degrees(samples: SamplePair, control: Precision, treatment: Precision) -> float:
    """Return the degrees of freedom of the variances, which those of single trials do not need."""
    if samples.control.denominators is None or samples.control.clusters is not None:
        return samples.degrees(control, treatment)
    return min(control.n, treatment.n) - 1.0


def _clipped(arm: Precision) -> float:
    return min(max(arm.mean, 0.0), 1.0)


def _summarise(kind: EffectKind, sample: ArmSample, share: _Share, alpha: float) -> ArmSummary:
    return sample.summarise(kind, n_effective=share.n, interval=Interval.around(share.share, share.wilson(alpha)))
