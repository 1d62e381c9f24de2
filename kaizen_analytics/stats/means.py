"""Means: Welch's interval of the difference, Fieller's of the percent change.

Fieller's interval collects every ratio r for which treatment - r * control is not clearly different from zero. Delta
method intervals of a ratio cover 83 % instead of 95 % at 30 skewed sessions; Fieller's covers 97 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy import special

from kaizen_analytics.stats.comparison import Comparison, cluster_note, summarise
from kaizen_analytics.stats.effect import ArmSummary, Effect, EffectKind, Interval
from kaizen_analytics.stats.precision import Precision, contrast_degrees, correlate, measure
from kaizen_analytics.stats.samples import Sample, read_samples
from kaizen_analytics.stats.sequential import FIXED, Design, DesignKind

if TYPE_CHECKING:
    import numpy.typing as npt

    from kaizen_analytics.stats.samples import ArrayPair


def mean_effect(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    clusters: ArrayPair | None = None,
    covariate: ArrayPair | None = None,
    design: Design | None = None,
) -> Effect:
    """Compare the means of two arms; arguments and errors are those of `median_effect`.

    The difference has Welch's interval (Welch 1947), with clusters that of cluster totals and the degrees of freedom
    of their number. The percent change has Fieller's interval (Fieller 1954); it is missing when the control mean is
    not clearly above zero.
    """
    comparison = Comparison(
        kind=EffectKind.MEAN,
        samples=read_samples(control, treatment, clusters, covariate),
        design=design or FIXED,
        nominal_alpha=alpha,
    )
    if (sentence := comparison.shortage()) is not None:
        return comparison.unavailable(sentence)
    if comparison.design.kind is DesignKind.EXACT:
        return comparison.unavailable(
            "Means have no exact sequential interval without a known upper limit: compare medians, or use the planned "
            "design.",
        )
    return _mean_effect(comparison)


@dataclass(frozen=True, slots=True)
class MeanPair:
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
        """Return the upper `alpha` / 2 quantile of Student's law."""
        return float(-special.stdtrit(self.degrees, alpha / 2))

    def difference_limits(self, alpha: float) -> tuple[float, float]:
        """Return Welch's interval of treatment - control."""
        estimate = self.treatment.mean - self.control.mean
        margin = self.student(alpha) * self._error(1.0)
        return estimate - margin, estimate + margin

    def percent_limits(self, alpha: float) -> tuple[float, float] | None:
        """Return Fieller's interval; None when the control mean is not clearly above zero.

        With q Student's quantile, the limits are the roots r of (m_t - r m_c)² = q² (v_t - 2 r v_ct + r² v_c).
        """
        q2 = self.student(alpha) ** 2
        m_c, m_t = self.control.mean, self.treatment.mean
        a = m_c * m_c - q2 * self.control.variance
        if a <= 0 or m_c <= 0:
            return None
        b = m_c * m_t - q2 * self.covariance
        c = m_t * m_t - q2 * self.treatment.variance
        root = math.sqrt(max(b * b - a * c, 0.0))
        return 100 * ((b - root) / a - 1), 100 * ((b + root) / a - 1)

    def _error(self, ratio: float) -> float:
        """Return the standard error of treatment - ratio * control."""
        return math.sqrt(
            max(self.treatment.variance - 2 * ratio * self.covariance + ratio**2 * self.control.variance, 0.0),
        )

    def at_most(self, percent: float) -> float:
        """Return the confidence in a percent change of at most `percent` (Fieller)."""
        ratio = 1 + percent / 100
        error = self._error(ratio)
        gap = ratio * self.control.mean - self.treatment.mean
        return float(special.stdtr(self.degrees, gap / error)) if error > 0 else float(gap >= 0)

    def below(self, percent: float) -> float:
        """Return the same as `at_most`: the law has no atoms."""
        return self.at_most(percent)

    def p_value(self) -> float:
        """Return Welch's two-sided p value of equal means."""
        error = self._error(1.0)
        gap = abs(self.treatment.mean - self.control.mean)
        return 2 * float(special.stdtr(self.degrees, -gap / error)) if error > 0 else float(gap == 0)


def _degrees(arm: Precision) -> float:
    return arm.n - 1 if math.isinf(arm.degrees) else arm.degrees


def _mean_effect(comparison: Comparison) -> Effect:
    samples = comparison.samples
    control = measure(samples.control, samples.control.values, samples.covariate_mean)
    treatment = measure(samples.treatment, samples.treatment.values, samples.covariate_mean)
    joint_degrees = contrast_degrees(samples, control, treatment) if samples.joint else math.inf
    pair = MeanPair(control, treatment, correlate(samples, control, treatment), joint_degrees)
    level = comparison.level(control.n_effective, treatment.n_effective)
    low, high = pair.difference_limits(level.alpha)
    difference = Interval(estimate=treatment.mean - control.mean, low=low, high=high)
    percent = _percent(pair, level.alpha)
    return Effect(
        kind=EffectKind.MEAN,
        control=_summary(samples.control, control, level.control_alpha),
        treatment=_summary(samples.treatment, treatment, level.treatment_alpha),
        difference=difference,
        percent=percent,
        p_value=level.p_value(pair.p_value()),
        alpha=level.alpha,
        percent_undefined=None if percent is not None else _no_percent(control),
        notes=(
            *cluster_note(samples, control.n_effective, treatment.n_effective),
            *_skew_note(samples.control, samples.treatment),
            *level.notes(difference, percent),
        ),
        nominal_alpha=comparison.nominal_alpha,
        design=comparison.design,
        information=level.reported_information,
        tails=pair if percent is not None else None,
    )


def _percent(pair: MeanPair, alpha: float) -> Interval | None:
    limits = pair.percent_limits(alpha)
    if limits is None:
        return None
    estimate = 100 * (pair.treatment.mean - pair.control.mean) / pair.control.mean
    return Interval(estimate=estimate, low=limits[0], high=limits[1])


def _no_percent(control: Precision) -> str:
    if control.mean <= 0:
        return "The control mean is zero or negative, and a percent change of that has no meaning: read the difference."
    return (
        "The control mean is not clearly above zero, so the data set no limit to the percent change: read the "
        "difference, or collect more sessions."
    )


def _summary(sample: Sample, precision: Precision, alpha: float) -> ArmSummary:
    margin = -float(special.stdtrit(_degrees(precision), alpha / 2)) * math.sqrt(precision.variance)
    mean = precision.mean
    return summarise(
        sample,
        EffectKind.MEAN,
        n_effective=precision.n_effective,
        interval=Interval(estimate=mean, low=mean - margin, high=mean + margin),
    )


def _skew_note(control: Sample, treatment: Sample) -> list[str]:
    """Return a warning when one session makes up a large part of a mean."""
    notes = []
    for sample in (control, treatment):
        total = float(abs(sample.values).sum())
        largest = float(abs(sample.values).max())
        if total > 0 and largest > max(0.1, 4 / sample.n) * total:
            notes.append(
                f"One {sample.name} session makes up {100 * largest / total:.0f} % of the total: the mean depends on "
                f"it, so read the median first.",
            )
    return notes
