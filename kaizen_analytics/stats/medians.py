"""Medians and other quantiles: difference and percent change with exact bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from kaizen_analytics.errors import StatisticsError
from kaizen_analytics.stats.comparison import Comparison, cluster_note, summarise
from kaizen_analytics.stats.contrasts import TINY, LawPair
from kaizen_analytics.stats.effect import ArmSummary, Effect, EffectKind, Interval, format_number
from kaizen_analytics.stats.laws import TAIL, Law, Quantile, beta_law
from kaizen_analytics.stats.precision import Precision, contrast_degrees, correlate, measure, student_inflation
from kaizen_analytics.stats.quantile_sequence import QuantileSequence
from kaizen_analytics.stats.samples import Sample, SamplePair, read_samples
from kaizen_analytics.stats.sequential import FIXED, Design, DesignKind

if TYPE_CHECKING:
    import numpy.typing as npt

    from kaizen_analytics.stats.comparison import Level
    from kaizen_analytics.stats.samples import ArrayPair


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
    clusters or a covariate the law is that of as many independent sessions as the arm is worth.

    Args:
        control: Shape (n,), one finite value per session.
        treatment: Shape (m,), the same unit.
        alpha: Nominal two-sided level.
        clusters: Pair of arrays of shapes (n,) and (m,): the workspace or user of each session.
        covariate: Pair of arrays of shapes (n,) and (m,): a number known before the experiment, such as the
            workspace's mean log metric in the weeks before.
        design: The plan of looking; None is one fixed look.

    Raises:
        StatisticsError: a value is not finite, shapes disagree or `alpha` is no level.

    Example:
        >>> effect = median_effect([10, 11, 12, 13, 14, 15, 16], [5, 6, 7, 8, 9, 10, 11])
        >>> effect.difference.estimate
        -5.0
    """
    return quantile_effect(
        control,
        treatment,
        quantile=0.5,
        alpha=alpha,
        clusters=clusters,
        covariate=covariate,
        design=design,
    )


def median_percent(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    clusters: ArrayPair | None = None,
    design: Design | None = None,
) -> Interval | None:
    """Return the percent change of `median_effect` alone, in half the time: for curves of many points.

    Arguments and errors are those of `median_effect`; None where it gives no percent change.
    """
    comparison = Comparison(
        kind=EffectKind.MEDIAN,
        samples=read_samples(control, treatment, clusters, None),
        design=design or FIXED,
        nominal_alpha=alpha,
    )
    if comparison.shortage() is not None:
        return None
    if comparison.design.kind is DesignKind.EXACT:
        return _exact_effect(comparison).percent
    first, second, level, pair = _join(comparison)
    return _percent(pair.percent_limits(level.alpha), first.estimate, second.estimate)


def quantile_effect(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    *,
    quantile: float,
    alpha: float = 0.05,
    clusters: ArrayPair | None = None,
    covariate: ArrayPair | None = None,
    design: Design | None = None,
) -> Effect:
    """Compare any quantile of two arms, such as 0.9; 0.5 is the median with midpoints.

    Other quantiles are the smallest value with at least that share of the sessions at or below it. Arguments and
    errors are those of `median_effect`.
    """
    if not 0 < quantile < 1:
        raise StatisticsError(f"quantile is {quantile}; expected a share between 0 and 1, such as 0.9.")
    comparison = Comparison(
        kind=EffectKind.MEDIAN if quantile == 0.5 else EffectKind.QUANTILE,
        samples=read_samples(control, treatment, clusters, covariate),
        design=design or FIXED,
        nominal_alpha=alpha,
        quantile=quantile,
    )
    if (sentence := comparison.shortage()) is not None:
        return comparison.unavailable(sentence)
    if comparison.design.kind is DesignKind.EXACT:
        return _exact_effect(comparison)
    return _law_effect(comparison)


@dataclass(frozen=True, slots=True)
class _Arm:
    """One arm with what its law needs.

    `precision` is that of the share of sessions below the quantile; None stands for plain independent sessions, whose
    law needs no approximation.
    """

    sample: Sample
    quantile: float
    plain: Quantile
    precision: Precision | None

    @classmethod
    def of(cls, sample: Sample, quantile: float, covariate_mean: float | None) -> _Arm:
        plain = Quantile.of(sample.values, quantile)
        if sample.clusters is None and sample.covariate is None:
            return cls(sample, quantile, plain, None)
        score = (sample.values < plain.value) + 0.5 * (sample.values == plain.value)
        return cls(sample, quantile, plain, measure(sample, score, covariate_mean))

    @property
    def n_effective(self) -> float:
        return float(self.sample.n) if self.precision is None else self.precision.n_effective

    @property
    def level(self) -> float:
        """The level at which this arm's quantile is read: moved by the covariate, where there is one.

        The covariate adjusts the share of sessions below a value, never the values: moving values would change what
        is estimated.
        """
        if self.precision is None:
            return self.quantile
        edge = 1 / self.sample.n
        return min(max(self.quantile - self.precision.shift, edge), 1 - edge)

    @property
    def estimate(self) -> float:
        if self.level == self.quantile:
            return self.plain.value
        return Quantile.of(self.sample.values, self.level).value

    def law(self, alpha: float, degrees: float) -> Law:
        """Return the law; few clusters widen it by Student's quantile of their degrees of freedom at `alpha`."""
        if self.precision is None:
            return self.plain.law()
        draws = self.n_effective / student_inflation(degrees, alpha) + 1
        a, b = draws * self.level, draws * (1 - self.level)
        edge = 1 / self.sample.n
        # Few effective sessions put real mass on the single outermost session; what lies beyond it is unknown.
        beyond = max(float(special.betainc(a, b, edge)), float(special.betainc(b, a, edge)))
        return replace(beta_law(self.sample.values, a, b), blind=max(beyond, 2 * TAIL))

    def summarise(self, kind: EffectKind, limits: tuple[float, float]) -> ArmSummary:
        return summarise(
            self.sample,
            kind,
            n_effective=self.n_effective,
            median=self.plain.value if self.quantile == 0.5 else None,
            interval=Interval.around(self.estimate, limits),
        )

    def notes(self) -> list[str]:
        """Return what a careful reader should know about this arm's values."""
        notes = []
        if self.plain.ties > max(2.0, 0.05 * self.sample.n):
            notes.append(
                f"{self.plain.ties} of {self.sample.n} {self.sample.name} sessions have exactly the value "
                f"{format_number(self.plain.value)}: the interval moves in steps, and is wider than without ties.",
            )
        if self.plain.value == 0:
            notes.append(f"The {self.sample.name} value is zero: at least that share of its sessions has none.")
        return notes


def _join(comparison: Comparison) -> tuple[_Arm, _Arm, Level, LawPair]:
    """Return both arms, the level at which they are compared, and their joint law at it."""
    samples = comparison.samples
    control, treatment = (
        _Arm.of(sample, comparison.quantile, samples.covariate_mean) for sample in (samples.control, samples.treatment)
    )
    level = comparison.level(control.n_effective, treatment.n_effective)
    return control, treatment, level, _pair(samples, control, treatment, level.alpha)


def _law_effect(comparison: Comparison) -> Effect:
    samples, quantile = comparison.samples, comparison.quantile
    control, treatment, level, pair = _join(comparison)
    difference = Interval.around(treatment.estimate - control.estimate, pair.difference_limits(level.alpha))
    percent = _percent(pair.percent_limits(level.alpha), control.estimate, treatment.estimate)
    return Effect(
        kind=comparison.kind,
        control=control.summarise(comparison.kind, _arm_limits(control, pair.control, level.control_alpha)),
        treatment=treatment.summarise(comparison.kind, _arm_limits(treatment, pair.treatment, level.treatment_alpha)),
        difference=difference,
        percent=percent,
        p_value=level.p_value(_p_value(pair)),
        alpha=level.alpha,
        percent_undefined=None if percent is not None else _no_percent(pair.control, level.alpha),
        notes=(
            *control.notes(),
            *treatment.notes(),
            *cluster_note(samples, control.n_effective, treatment.n_effective),
            *level.notes(difference, percent),
        ),
        nominal_alpha=comparison.nominal_alpha,
        quantile=quantile,
        design=comparison.design,
        information=level.reported_information,
        tails=pair if percent is not None else None,
    )


def _pair(samples: SamplePair, control: _Arm, treatment: _Arm, alpha: float) -> LawPair:
    if control.precision is None or treatment.precision is None:
        return LawPair(control.plain.law(), treatment.plain.law())
    degrees = contrast_degrees(samples, control.precision, treatment.precision)
    correlation = correlate(samples, control.precision, treatment.precision)
    return LawPair.joined(control.law(alpha, degrees), treatment.law(alpha, degrees), correlation)


def _arm_limits(arm: _Arm, law: Law, alpha: float) -> tuple[float, float]:
    """Return the interval of one arm; `law` is that of the contrast, which is the arm's own without clusters."""
    own = law if arm.precision is None else arm.law(alpha, arm.precision.degrees)
    return own.limits(alpha)


def _percent(limits: tuple[float, float] | None, control: float, treatment: float) -> Interval | None:
    if limits is None or control <= TINY:
        return None
    return Interval.around(100 * (treatment - control) / control, limits)


def _p_value(pair: LawPair) -> float:
    """Return the two-sided p value; never below what the law, cut off at its tails, can tell."""
    return min(1.0, max(2 * min(pair.difference_tails()), 4 * TAIL))


def _no_percent(control: Law, alpha: float) -> str:
    share = 100 * control.at_most(TINY)
    if share > 100 * (1 - alpha / 2):
        return (
            "The control's value is zero or negative, and a percent change of that has no meaning: read the difference "
            "instead."
        )
    return (
        f"The control's value may be zero or negative (chance {share:.2g} %, allowed {50 * alpha:.2g} %), and a "
        f"percent change of that has no meaning: read the difference instead."
    )


def _exact_effect(comparison: Comparison) -> Effect:
    samples, quantile = comparison.samples, comparison.quantile
    control, treatment = _Arm.of(samples.control, quantile, None), _Arm.of(samples.treatment, quantile, None)
    sequence = QuantileSequence(
        np.sort(samples.control.values),
        np.sort(samples.treatment.values),
        quantile,
        comparison.design.planned[1],
        comparison.nominal_alpha,
    )
    level = comparison.level(control.n_effective, treatment.n_effective)
    difference = Interval.around(treatment.estimate - control.estimate, sequence.difference_limits())
    percent = _percent(sequence.percent_limits(), control.estimate, treatment.estimate)
    return Effect(
        kind=comparison.kind,
        control=control.summarise(comparison.kind, sequence.arm_limits(sequence.control)),
        treatment=treatment.summarise(comparison.kind, sequence.arm_limits(sequence.treatment)),
        difference=difference,
        percent=percent,
        p_value=sequence.p_value(),
        alpha=comparison.nominal_alpha,
        percent_undefined=None if percent is not None else _no_exact_percent(sequence),
        notes=(*control.notes(), *treatment.notes(), *level.notes(difference, percent)),
        nominal_alpha=comparison.nominal_alpha,
        quantile=quantile,
        design=comparison.design,
        information=level.reported_information,
        tails=LawPair(control.plain.law(), treatment.plain.law()) if percent is not None else None,
    )


def _no_exact_percent(sequence: QuantileSequence) -> str:
    if sequence.control[0] < 0 or sequence.treatment[0] < 0:
        return (
            "Some values are negative, and the exact design gives no percent change then: read the difference instead."
        )
    return "The control's value may be zero, and a percent change of zero has no meaning: read the difference instead."
