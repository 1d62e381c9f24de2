"""Medians: difference and percent change with exact bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from kaizen_analytics.stats.comparison import ArmSample, Comparison, summarise_arm
from kaizen_analytics.stats.contrasts import TINY, MedianPair
from kaizen_analytics.stats.distributions import TAIL, Distribution, Quantile, beta_distribution
from kaizen_analytics.stats.effect import MOST_TIES, ArmSummary, Effect, EffectKind, Interval
from kaizen_analytics.stats.precision import Precision, contrast_degrees, correlate, measure, student_inflation

if TYPE_CHECKING:
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
    comparison = Comparison.read(
        EffectKind.MEDIAN, (control, treatment), alpha=alpha, clusters=clusters, covariate=covariate, design=design
    )
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
    comparison = Comparison.read(
        EffectKind.MEDIAN, (control, treatment), alpha=alpha, clusters=clusters, covariate=None, design=design
    )
    samples = comparison.samples
    if comparison.shortage() is not None:
        return False
    first, second = (_Arm.of(sample, None) for sample in (samples.control, samples.treatment))
    ties = [np.count_nonzero(arm.sample.values == arm.plain.value) / arm.sample.n for arm in (first, second)]
    if max(ties) > MOST_TIES:
        return False
    level = comparison.level(first.n_effective, second.n_effective)
    pair = _pair(samples, first, second, level.alpha)
    undefined = pair.control.at_most(TINY)
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
        return cls(sample, plain, measure(sample, score, covariate_mean))

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
        return summarise_arm(
            self.sample,
            EffectKind.MEDIAN,
            n_effective=self.n_effective,
            median=self.plain.value,
            interval=Interval.around(self.estimate, limits),
            ties=int(np.count_nonzero(self.sample.values == self.plain.value)),
        )


def _pair(samples: SamplePair, control: _Arm, treatment: _Arm, alpha: float) -> MedianPair:
    if control.precision is None or treatment.precision is None:
        return MedianPair(control.plain.distribution(), treatment.plain.distribution())
    degrees = contrast_degrees(samples, control.precision, treatment.precision)
    correlation = correlate(samples, control.precision, treatment.precision)
    return MedianPair.joined(control.distribution(alpha, degrees), treatment.distribution(alpha, degrees), correlation)


def _arm_limits(arm: _Arm, of_contrast: Distribution, alpha: float) -> tuple[float, float]:
    """Return the interval of one arm; without clusters its distribution is that of the contrast."""
    own = of_contrast if arm.precision is None else arm.distribution(alpha, arm.precision.degrees)
    return own.limits(alpha)


def _percent(limits: tuple[float, float] | None, control: float, treatment: float) -> Interval | None:
    if limits is None or control <= TINY:
        return None
    return Interval.around(100 * (treatment - control) / control, limits)
