"""Medians and other quantiles: difference and percent change with exact bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kaizen_analytics.errors import StatisticsError
from kaizen_analytics.stats.comparison import Comparison, Level, cluster_note, summarise
from kaizen_analytics.stats.contrasts import LawPair
from kaizen_analytics.stats.effect import ArmSummary, Effect, EffectKind, Interval, format_number
from kaizen_analytics.stats.laws import TAIL, Law, beta_law, median_law, order_law, quantile_rank
from kaizen_analytics.stats.precision import Precision, correlate, measure
from kaizen_analytics.stats.quantile_sequence import QuantileSequence
from kaizen_analytics.stats.samples import Sample, read_samples
from kaizen_analytics.stats.sequential import FIXED, Design, DesignKind

if TYPE_CHECKING:
    import numpy.typing as npt

    from kaizen_analytics.stats.laws import FloatArray
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

    `location` is the sample quantile, `precision` that of the share of sessions below it; None stands for plain
    independent sessions, whose law needs no approximation.
    """

    sample: Sample
    quantile: float
    location: float
    precision: Precision | None

    @classmethod
    def of(cls, sample: Sample, quantile: float, covariate_mean: float | None) -> _Arm:
        location = _sample_quantile(sample.values, quantile)
        if sample.clusters is None and sample.covariate is None:
            return cls(sample, quantile, location, None)
        score = (sample.values < location) + 0.5 * (sample.values == location)
        return cls(sample, quantile, location, measure(sample, score, covariate_mean))

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
            return self.location
        return _sample_quantile(self.sample.values, self.level)

    def law(self, alpha: float) -> Law:
        values = self.sample.values
        if self.precision is None:
            return median_law(values) if self.quantile == 0.5 else _order_law(values, self.quantile)
        draws = self.n_effective / self.precision.inflation(alpha) + 1
        return beta_law(values, draws * self.level, draws * (1 - self.level))


def _order_law(values: FloatArray, quantile: float) -> Law:
    return order_law(values, quantile_rank(values.size, quantile))


def _sample_quantile(values: FloatArray, quantile: float) -> float:
    if quantile == 0.5:
        return float(np.median(values))
    rank = quantile_rank(values.size, quantile) - 1
    return float(np.partition(values, rank)[rank])


def _law_effect(comparison: Comparison) -> Effect:
    samples, quantile = comparison.samples, comparison.quantile
    control = _Arm.of(samples.control, quantile, samples.covariate_mean)
    treatment = _Arm.of(samples.treatment, quantile, samples.covariate_mean)
    level = comparison.level(control.n_effective, treatment.n_effective)
    correlation = 0.0
    if control.precision is not None and treatment.precision is not None:
        correlation = correlate(samples, control.precision, treatment.precision)
    pair = LawPair(control.law(level.alpha), treatment.law(level.alpha), correlation)
    difference = _interval(treatment.estimate - control.estimate, pair.difference_limits(level.alpha))
    percent = _percent(pair, control.estimate, treatment.estimate, level.alpha)
    return Effect(
        kind=comparison.kind,
        control=_summary(control, comparison.kind, level.control_alpha),
        treatment=_summary(treatment, comparison.kind, level.treatment_alpha),
        difference=difference,
        percent=percent,
        p_value=level.p_value(_p_value(pair)),
        alpha=level.alpha,
        percent_undefined=None if percent is not None else _no_percent(pair.control, level.alpha),
        notes=(
            *_data_notes(control, treatment),
            *cluster_note(samples, control.n_effective, treatment.n_effective),
            *level.notes(difference, percent),
        ),
        nominal_alpha=comparison.nominal_alpha,
        quantile=quantile,
        design=comparison.design,
        information=level.reported_information,
        tails=pair if percent is not None else None,
    )


def _interval(estimate: float, limits: tuple[float, float]) -> Interval:
    """Return the interval; the estimate is never outside it, which rounding of ranks could otherwise cause."""
    low, high = limits
    return Interval(estimate=estimate, low=min(low, estimate), high=max(high, estimate))


def _percent(pair: LawPair, control: float, treatment: float, alpha: float) -> Interval | None:
    limits = pair.percent_limits(alpha)
    if limits is None or control <= 0:
        return None
    return _interval(100 * (treatment - control) / control, limits)


def _p_value(pair: LawPair) -> float:
    """Return the two-sided p value; never below what the law, cut off at its tails, can tell."""
    return min(1.0, max(2 * min(pair.difference_tails()), 4 * TAIL))


def _summary(arm: _Arm, kind: EffectKind, alpha: float) -> ArmSummary:
    return summarise(
        arm.sample,
        kind,
        n_effective=arm.n_effective,
        median=arm.location if arm.quantile == 0.5 else None,
        interval=_interval(arm.estimate, arm.law(alpha).limits(alpha)),
    )


def _no_percent(control: Law, alpha: float) -> str:
    share = 100 * control.at_most(0.0)
    if share > 100 * (1 - alpha / 2):
        return (
            "The control's value is zero or negative, and a percent change of that has no meaning: read the difference "
            "instead."
        )
    return (
        f"The control's value may be zero or negative (chance {share:.2g} %, allowed {50 * alpha:.2g} %), and a "
        f"percent change of that has no meaning: read the difference instead."
    )


def _data_notes(control: _Arm, treatment: _Arm) -> list[str]:
    notes = []
    for arm in (control, treatment):
        tied = int(np.count_nonzero(arm.sample.values == arm.location))
        if tied > max(2.0, 0.05 * arm.sample.n):
            notes.append(
                f"{tied} of {arm.sample.n} {arm.sample.name} sessions have exactly the value "
                f"{format_number(arm.location)}: the interval moves in steps, and is wider than it would be without ties.",
            )
        if arm.location == 0:
            notes.append(f"The {arm.sample.name} value is zero: at least that share of its sessions has none.")
    return notes


def _exact_effect(comparison: Comparison) -> Effect:
    samples, quantile = comparison.samples, comparison.quantile
    control, treatment = _Arm.of(samples.control, quantile, None), _Arm.of(samples.treatment, quantile, None)
    n_opt = comparison.design.planned[1]
    sequence = QuantileSequence(
        np.sort(samples.control.values),
        np.sort(samples.treatment.values),
        quantile,
        n_opt,
        comparison.nominal_alpha,
    )
    level = comparison.level(control.n_effective, treatment.n_effective)
    difference = _interval(treatment.location - control.location, sequence.difference_limits())
    limits = sequence.percent_limits()
    percent = None
    if limits is not None and control.location > 0:
        percent = _interval(100 * (treatment.location - control.location) / control.location, limits)
    pair = LawPair(control.law(level.alpha), treatment.law(level.alpha))
    return Effect(
        kind=comparison.kind,
        control=_exact_summary(control, comparison.kind, sequence, sequence.control),
        treatment=_exact_summary(treatment, comparison.kind, sequence, sequence.treatment),
        difference=difference,
        percent=percent,
        p_value=sequence.p_value(),
        alpha=comparison.nominal_alpha,
        percent_undefined=None if percent is not None else _no_exact_percent(sequence),
        notes=(*_data_notes(control, treatment), *level.notes(difference, percent)),
        nominal_alpha=comparison.nominal_alpha,
        quantile=quantile,
        design=comparison.design,
        information=level.reported_information,
        tails=pair if percent is not None else None,
    )


def _exact_summary(arm: _Arm, kind: EffectKind, sequence: QuantileSequence, values: FloatArray) -> ArmSummary:
    return summarise(
        arm.sample,
        kind,
        median=arm.location if arm.quantile == 0.5 else None,
        interval=_interval(arm.location, sequence.arm_limits(values)),
    )


def _no_exact_percent(sequence: QuantileSequence) -> str:
    if sequence.control[0] < 0 or sequence.treatment[0] < 0:
        return (
            "Some values are negative, and the exact design gives no percent change then: read the difference instead."
        )
    return "The control's value may be zero, and a percent change of zero has no meaning: read the difference instead."
