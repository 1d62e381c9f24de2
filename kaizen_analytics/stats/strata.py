"""The kinds of session that both arms hold, and the effect on them with days as clusters.

A change that came with another model, agent or workspace compares two kinds of session. So only kinds that both arms
hold are compared, each with its pooled share (post-stratification, Holt & Smith 1979).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from kaizen_analytics.stats.timeline import influence_of

if TYPE_CHECKING:
    from kaizen_analytics.stats.distributions import FloatArray, IntArray
    from kaizen_analytics.stats.timeline import Timeline

_MIN_DAYS = 5
"""Days on which each arm must hold a kind of session."""
MIN_SESSIONS = 20
"""Sessions of a kind that each arm must hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StratifiedEffect:
    """The logarithm of treatment over control on the common strata, with its interval.

    `coverage` is the smaller share of an arm's sessions in the common strata.
    """

    log_ratio: float
    low: float
    high: float
    coverage: float
    common: tuple[int, ...]

    @property
    def is_clear(self) -> bool:
        """Whether the interval has a width and excludes no change."""
        return self.low < self.high and (self.low > 0 or self.high < 0)


def find_common_strata(timeline: Timeline) -> tuple[int, ...]:
    """Return the strata that both arms of the window hold on `_MIN_DAYS` days and in `MIN_SESSIONS` sessions.

    >>> import numpy as np
    >>> from kaizen_analytics.stats.timeline import Timeline
    >>> days = np.repeat(np.arange(-10, 10), 5)
    >>> line = Timeline(
    ...     days=days, after=days >= 0, strata=(days >= 5).astype(int), values=days + 20.0, in_window=days > -99
    ... )
    >>> find_common_strata(line)
    (0,)
    """
    window = timeline.where(timeline.in_window)
    return tuple(int(stratum) for stratum in np.unique(window.strata) if _is_common(window, stratum))


def _is_common(window: Timeline, stratum: int) -> bool:
    arms = (window.days[(window.strata == stratum) & (window.after == arm)] for arm in (False, True))
    return all(days.size >= MIN_SESSIONS and np.unique(days).size >= _MIN_DAYS for days in arms)


def compute_stratified_effect(timeline: Timeline, *, by_median: bool, alpha: float = 0.05) -> StratifiedEffect | None:
    """Return the effect on the common strata of the window; None without one, or where a statistic is zero.

    Medians have Woodruff limits (1952): the share below the median gets a t interval with the days as clusters, which
    the sample's quantiles translate. The limits of arms and strata are combined by MOVER (Zou & Donner 2008). Totals
    have log-influence summed by day, with Satterthwaite's degrees of freedom (Liang & Zeger 1986).

    With other clusters beside the days, each limit is the wider one of the two.

    Args:
        timeline: Sessions; those outside the window do not count.
        by_median: Whether medians are compared, not means or ratios of totals.
        alpha: Two-sided error level of the interval.

    >>> import numpy as np
    >>> from kaizen_analytics.stats.timeline import Timeline
    >>> days = np.repeat(np.arange(-10, 10), 5)
    >>> values = np.where(days < 0, 2.0, 1.0) * np.tile(np.arange(1.0, 6.0), 20)
    >>> line = Timeline(days=days, after=days >= 0, strata=days * 0, values=values, in_window=days > -99)
    >>> round(float(np.exp(compute_stratified_effect(line, by_median=True).log_ratio)), 6)
    0.5
    """
    common = find_common_strata(timeline)
    if not common:
        return None
    window = timeline.where(timeline.in_window)
    inside = np.isin(window.strata, common)
    shares = {stratum: float((window.strata[inside] == stratum).mean()) for stratum in common}
    limits = _combine_medians if by_median else _combine_totals
    with np.errstate(divide="ignore", invalid="ignore"):  # a quantile of zero has no logarithm: no limit on that side
        effect, down, up = limits(window, shares, alpha)
        if window.clusters is not None:
            _, *wider = limits(replace(window, days=window.clusters), shares, alpha)
            down, up = (max(pair) for pair in zip((down, up), wider, strict=True))
    if not np.isfinite(effect):
        return None
    coverage = min(float(inside[window.after == arm].mean()) for arm in (False, True))
    return StratifiedEffect(log_ratio=effect, low=effect - down, high=effect + up, coverage=coverage, common=common)


def _combine_medians(window: Timeline, shares: dict[int, float], alpha: float) -> tuple[float, float, float]:
    """Return the effect and how far its lower and its upper limit are away."""
    effect = down = up = 0.0
    if _is_alone(window, shares):
        return effect, np.inf, np.inf
    for stratum, share in shares.items():
        for arm in (False, True):
            sessions = window.where((window.strata == stratum) & (window.after == arm))
            median, low, high = np.log(_compute_median_limits(sessions.days, sessions.values, alpha=alpha))
            effect += share * (median if arm else -median)
            below, above = (median - low, high - median) if arm else (high - median, median - low)
            down += (share * below) ** 2
            up += (share * above) ** 2
    return float(effect), float(np.sqrt(down)), float(np.sqrt(up))


def _is_alone(window: Timeline, shares: dict[int, float]) -> bool:
    """Return whether a stratum of an arm is one cluster, which cannot show how much clusters differ."""
    groups = (
        window.days[(window.strata == stratum) & (window.after == arm)] for stratum in shares for arm in (False, True)
    )
    return any(np.unique(codes).size < 2 for codes in groups)


def _compute_median_limits(days: IntArray, values: FloatArray, *, alpha: float = 0.05) -> tuple[float, float, float]:
    """Return a median and its Woodruff limits with days as clusters.

    >>> import numpy as np
    >>> _compute_median_limits(np.arange(9), np.arange(9.0))[0]
    4.0
    """
    median = float(np.median(values))
    scores = np.where(values > median, 0.5, np.where(values < median, -0.5, 0.0)) / values.size
    variance, freedom = _sum_by_day(days, scores)
    half = -float(special.stdtrit(freedom, alpha / 2)) * np.sqrt(variance)
    low, high = np.quantile(values, [max(0.0, 0.5 - half), min(1.0, 0.5 + half)])
    return median, float(low), float(high)


def _sum_by_day(days: IntArray, influence: FloatArray) -> tuple[float, int]:
    """Return the variance of a sum whose terms are dependent within a day, and its degrees of freedom.

    >>> import numpy as np
    >>> _sum_by_day(np.array([0, 0, 1]), np.array([1.0, 1.0, -2.0]))
    (16.0, 1)
    """
    _, codes = np.unique(days, return_inverse=True)
    sums = np.bincount(codes, influence)
    return sums.size / (sums.size - 1) * float((sums**2).sum()), sums.size - 1


def _combine_totals(window: Timeline, shares: dict[int, float], alpha: float) -> tuple[float, float, float]:
    effect, variances = 0.0, []
    if _is_alone(window, shares):
        return effect, np.inf, np.inf
    for arm in (False, True):
        parts = [window.where((window.strata == stratum) & (window.after == arm)) for stratum in shares]
        found = [influence_of(part) for part in parts]
        effect += sum(
            share * (level if arm else -level) for share, (level, _) in zip(shares.values(), found, strict=True)
        )
        weighted = [share * terms / terms.size for share, (_, terms) in zip(shares.values(), found, strict=True)]
        variances.append(_sum_by_day(np.concatenate([part.days for part in parts]), np.concatenate(weighted)))
    total = sum(variance for variance, _ in variances)
    if not total > 0:
        return (effect, 0.0, 0.0) if total == 0 else (float("nan"), 0.0, 0.0)
    freedom = total**2 / sum(variance**2 / days for variance, days in variances)
    half = -float(special.stdtrit(freedom, alpha / 2) * np.sqrt(total))
    return float(effect), half, half
