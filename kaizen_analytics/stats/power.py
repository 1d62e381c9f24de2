"""How many sessions an experiment needs, and what it can see: from sessions of the past.

The error of the log ratio of two medians, means or shares is s sqrt(1/n_control + 1/n_treatment), so planning needs
only the scale s of the pilot sessions. `simulate_power` replaces that formula where the median is not smooth, as with
bimodal data, and is the only place that draws random numbers; it plans and never judges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from kaizen_analytics.errors import StatisticsError
from kaizen_analytics.stats.contrasts import LawPair
from kaizen_analytics.stats.effect import EffectKind, format_percent
from kaizen_analytics.stats.laws import beta_law, median_law, order_law, quantile_rank
from kaizen_analytics.stats.precision import measure
from kaizen_analytics.stats.samples import MIN_N, Sample, read_samples
from kaizen_analytics.stats.sequential import FIXED, Design, DesignKind, effective_alpha

if TYPE_CHECKING:
    import numpy.typing as npt

    from kaizen_analytics.stats.laws import FloatArray, Law

_MIN_BANDWIDTH = 20
"""Least sessions whose median's spread is scaled up to any number of sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What past sessions say about how noisy a metric is.

    Attributes:
        kind: What will be compared.
        n: Past sessions with a value.
        scale: s with standard error s sqrt(1/n_control + 1/n_treatment) of the log ratio.
        design_effect: Sessions that are worth one independent session; 1 without clusters.
    """

    kind: EffectKind
    n: int
    scale: float
    design_effect: float


def read_pilot(
    values: npt.ArrayLike,
    *,
    kind: EffectKind = EffectKind.MEDIAN,
    quantile: float = 0.5,
    clusters: npt.ArrayLike | None = None,
    covariate: npt.ArrayLike | None = None,
) -> Pilot:
    """Return the scale and the design effect of past sessions.

    Args:
        values: Shape (n,), one finite value per past session.
        kind: What will be compared.
        quantile: Which quantile, for a QUANTILE.
        clusters: Shape (n,), the workspace or user of each session.
        covariate: Shape (n,), the number that `median_effect` will be given.

    Raises:
        StatisticsError: there are fewer than 5 sessions, or the compared value may be zero or negative.
    """
    pairs = [None if part is None else (part, np.asarray(part)[:0]) for part in (clusters, covariate)]
    samples = read_samples(values, [], pairs[0], pairs[1])
    sample = samples.control
    if sample.n < MIN_N:
        raise StatisticsError(f"Planning needs at least {MIN_N} past sessions with a value, and found {sample.n}.")
    score = _score(sample, kind, quantile)
    return Pilot(
        kind=kind,
        n=sample.n,
        scale=_scale(sample.values, kind, quantile),
        design_effect=measure(sample, score, samples.covariate_mean).design_effect,
    )


def _score(sample: Sample, kind: EffectKind, quantile: float) -> FloatArray:
    if kind in (EffectKind.MEAN, EffectKind.PROPORTION):
        return sample.values
    rank = quantile_rank(sample.n, quantile) - 1
    location = np.partition(sample.values, rank)[rank]
    below: FloatArray = (sample.values < location) + 0.5 * (sample.values == location)
    return below


def _scale(values: FloatArray, kind: EffectKind, quantile: float) -> float:
    if kind is EffectKind.PROPORTION:
        return _share_scale(float(values.mean()))
    if kind is EffectKind.MEAN:
        return _mean_scale(values)
    return _quantile_scale(values, 0.5 if kind is EffectKind.MEDIAN else quantile)


def _share_scale(share: float) -> float:
    if not 0 < share <= 1:
        raise StatisticsError(f"The past share is {share}; expected one above 0, so that a percent change exists.")
    return math.sqrt((1 - share) / share)


def _mean_scale(values: FloatArray) -> float:
    mean = float(values.mean())
    if mean <= 0:
        raise StatisticsError(f"The past mean is {mean:g}; expected one above 0, so that a percent change exists.")
    return float(values.std(ddof=1)) / mean


def _quantile_scale(values: FloatArray, quantile: float) -> float:
    """Return the scale of the log quantile from the spread of its law at n^0.75 sessions.

    The smaller number smooths: the bootstrap variance of a median at n sessions is itself as noisy as n^-1/4.
    """
    draws = min(max(_MIN_BANDWIDTH, values.size**0.75), values.size)
    law = beta_law(values, (draws + 1) * quantile, (draws + 1) * (1 - quantile))
    low, high = law.limits(0.05)
    if low <= 0:
        raise StatisticsError(
            f"The past quantile may be {low:g}; a percent change needs one above 0. Plan with the mean or the share of "
            f"sessions above zero instead.",
        )
    return math.log(high / low) / (2 * 1.96) * math.sqrt(draws)


def boundary(design: Design, alpha: float) -> float:
    """Return how many standard errors an estimate must lie from the null at the planned end."""
    if design.kind is DesignKind.EXACT:
        raise StatisticsError("The exact design has no formula for its power; use simulate_power.")
    return -float(special.ndtri(effective_alpha(design, alpha, 1.0) / 2))


def minimum_detectable_effect(
    pilot: Pilot,
    n_control: float,
    n_treatment: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    design: Design = FIXED,
) -> tuple[float, float]:
    """Return the smallest fall and the smallest rise, in percent, that are found with probability `power`."""
    reach = boundary(design, alpha) + float(special.ndtri(power))
    error = pilot.scale * math.sqrt(pilot.design_effect * (1 / n_control + 1 / n_treatment))
    return 100 * math.expm1(-reach * error), 100 * math.expm1(reach * error)


def sample_size(
    pilot: Pilot,
    true_pct: float,
    *,
    target_pct: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
    design: Design = FIXED,
) -> int:
    """Return the sessions per arm that prove a target when the truth is better than it.

    Args:
        pilot: From `read_pilot`.
        true_pct: The percent change that is believed to be true, such as -30.
        target_pct: The percent change to prove, such as -10; 0 proves any effect in the direction of `true_pct`.
        alpha: Nominal two-sided level.
        power: Probability of proving it.
        design: The plan of looking; its planned_n is not used.

    Raises:
        StatisticsError: the truth is not beyond the target, or a percent is -100 or less.
    """
    if min(true_pct, target_pct) <= -100:
        raise StatisticsError(f"Changes of {true_pct:g} % and {target_pct:g} % were given; expected more than -100 %.")
    if abs(true_pct) <= abs(target_pct) or true_pct * target_pct < 0:
        raise StatisticsError(
            f"A true change of {true_pct:g} % cannot prove a target of {target_pct:g} %; expected a truth beyond the "
            f"target, or target 0 to prove any effect.",
        )
    gap = math.log1p(true_pct / 100) - math.log1p(target_pct / 100)
    reach = boundary(design, alpha) + float(special.ndtri(power))
    return max(MIN_N, math.ceil(2 * pilot.design_effect * (pilot.scale * reach / gap) ** 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an experiment of a given size can see, and what it needs.

    Attributes:
        n_per_arm: Sessions per arm that prove the target.
        days: Days until then at today's rate; None when no session comes in.
        mde_fall_pct: Smallest fall that this many sessions find.
        mde_rise_pct: Smallest rise that this many sessions find.
        sentence: What a reader without statistics can act on.
    """

    n_per_arm: int
    days: int | None
    mde_fall_pct: float
    mde_rise_pct: float
    sentence: str


def plan(
    pilot: Pilot,
    true_pct: float,
    *,
    sessions_per_day: float,
    target_pct: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
    design: Design = FIXED,
) -> Plan:
    """Return the sessions and days that prove a target; arguments are those of `sample_size`.

    `sessions_per_day` counts sessions of both arms together.
    """
    n = sample_size(pilot, true_pct, target_pct=target_pct, alpha=alpha, power=power, design=design)
    fall, rise = minimum_detectable_effect(pilot, n, n, alpha=alpha, power=power, design=design)
    days = math.ceil(2 * n / sessions_per_day) if sessions_per_day > 0 else None
    goal = f"a change beyond {target_pct:g} %" if target_pct else "any effect"
    duration = (
        "no session comes in today, so it would never end" if days is None else f"about {days} days at today's rate"
    )
    sentence = (
        f"To prove {goal} when the truth is {true_pct:g} % takes {n} sessions per arm, {duration}; that "
        "many find a fall "
        f"of {format_percent(-fall)} or a rise of {format_percent(rise)} in {100 * power:.0f} of 100 experiments."
    )
    return Plan(n_per_arm=n, days=days, mde_fall_pct=fall, mde_rise_pct=rise, sentence=sentence)


def simulate_power(
    values: npt.ArrayLike,
    n_control: int,
    n_treatment: int,
    true_pct: float,
    *,
    quantile: float = 0.5,
    target_pct: float = 0.0,
    alpha: float = 0.05,
    design: Design = FIXED,
    simulations: int = 400,
    seed: int = 0,
) -> float:
    """Return the share of simulated experiments whose interval of the percent change lies beyond the target.

    Sessions are drawn from the past ones, the treatment's scaled by `true_pct`. The intervals are those of
    `median_effect` at the planned end. With 400 simulations the result is good to about 0.025.

    Args:
        values: Shape (n,), past sessions.
        n_control: Control sessions of one simulated experiment.
        n_treatment: Treatment sessions.
        true_pct: True percent change.
        quantile: Which quantile is compared.
        target_pct: The percent change to prove; 0 proves any effect in the direction of `true_pct`.
        alpha: Nominal two-sided level.
        design: A fixed, planned or open design.
        simulations: How many experiments.
        seed: Of the random generator; the same seed gives the same power.
    """
    pilot = read_samples(values, [], None, None).control
    if pilot.n < MIN_N:
        raise StatisticsError(f"Planning needs at least {MIN_N} past sessions with a value, and found {pilot.n}.")
    if design.kind is DesignKind.EXACT:
        raise StatisticsError("The exact design is not simulated; choose the fixed, planned or open one.")
    rng = np.random.default_rng(seed)
    tail = effective_alpha(design, alpha, 1.0) / 2
    factor = 1 + true_pct / 100
    found = 0
    for _ in range(simulations):
        control = _draw_law(pilot.values, n_control, 1.0, quantile, rng)
        treatment = _draw_law(pilot.values, n_treatment, factor, quantile, rng)
        pair = LawPair(control, treatment)
        wrong = 1 - pair.below(target_pct) if true_pct < target_pct else pair.at_most(target_pct)
        found += control.at_most(0.0) < tail and wrong < tail
    return found / simulations


def _draw_law(values: FloatArray, n: int, factor: float, quantile: float, rng: np.random.Generator) -> Law:
    sample = rng.choice(values, n) * factor
    return median_law(sample) if quantile == 0.5 else order_law(sample, quantile_rank(n, quantile))
