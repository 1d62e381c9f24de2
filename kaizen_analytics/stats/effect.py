"""What a comparison of two arms found, as numbers and enumerations; `pages.sentences` says it in words.

Nothing in an `Effect` is random, so the same sessions always give the same effect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from kaizen_analytics.core.model import Direction, Metric
from kaizen_analytics.stats.sequential import FIXED, Design


class EffectKind(StrEnum):
    """What of the two arms is compared."""

    MEDIAN = "median"
    MEAN = "mean"
    PROPORTION = "proportion"
    """Shares of sessions that are 1."""
    RATE = "rate"
    """Shares of something that sessions count, all sessions of an arm together."""
    RATIO = "ratio"
    """Ratios of two totals, all sessions of an arm together."""

    @property
    def is_share(self) -> bool:
        """Whether the compared number lies between 0 and 1."""
        return self in (EffectKind.PROPORTION, EffectKind.RATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its interval; an infinite end means that the data set no limit on that side."""

    estimate: float
    low: float
    high: float

    @classmethod
    def around(cls, estimate: float, limits: tuple[float, float]) -> Interval:
        """Return the interval; the estimate is never outside it, which rounding of ranks could otherwise cause.

        >>> Interval.around(3.0, (1.0, 2.9))
        Interval(estimate=3.0, low=1.0, high=3.0)
        """
        low, high = limits
        return cls(estimate=estimate, low=min(low, estimate), high=max(high, estimate))

    @property
    def bounded(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


class Degeneracy(StrEnum):
    """Why an interval decides nothing."""

    ZERO_WIDTH = "zero_width"
    """Both ends are one number: the sessions show no variation where they are compared."""
    TIED_MEDIAN = "tied_median"
    """More than a fifth of an arm has exactly the median, so that large changes leave it where it is."""


MOST_TIES = 0.2
"""Share of an arm at its median from which on the median decides nothing."""


class Obstacle(StrEnum):
    """Why two arms have no interval."""

    NO_SESSION = "no_session"
    FEW_SESSIONS = "few_sessions"
    FEW_CLUSTERS = "few_clusters"
    NO_DENOMINATOR = "no_denominator"
    """The denominators of the arm are all 0, so that there is no ratio."""
    UNEQUAL_CLUSTERS = "unequal_clusters"
    """One cluster makes up nearly the whole arm."""
    CONSTANT = "constant"
    """All sessions of the arm have the same value."""
    TOO_EARLY = "too_early"
    """A sequential design does not say anything before a number of sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Why there is no interval.

    Attributes:
        arm: `control`, `treatment`, or `smaller` (arm) for TOO_EARLY.
        found: Sessions or clusters of the arm; for CONSTANT the value that its sessions share, for UNEQUAL_CLUSTERS the
            sessions of the largest cluster.
        needed: How many sessions or clusters the arm needs; for CONSTANT how many sessions share the value, for
            UNEQUAL_CLUSTERS the sessions of the arm.
    """

    obstacle: Obstacle
    arm: str
    found: float
    needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """One arm in numbers.

    Attributes:
        n: Sessions with a value.
        n_effective: The number of independent sessions that would be as precise.
        clusters: Workspaces or users, when sessions were clustered.
        median: Sample median; None for an empty arm, a share or a ratio.
        mean: Sample mean, share, or ratio of totals; None for an empty arm.
        interval: The compared quantity (median, mean or share) of this arm alone, at this arm's own effective level;
            None when there are too few sessions.
        ties: Sessions whose value is exactly the median; 0 where means or shares are compared.
        largest_share: Share of the arm's total that its largest session makes up; None unless means are compared.
    """

    n: int
    n_effective: float
    clusters: int | None
    median: float | None
    mean: float | None
    interval: Interval | None = None
    ties: int = 0
    largest_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which sessions an exploring comparison took for its arms: those with two values of a column.

    `control_missing` and `treatment_missing` are sessions without a value of the metric, which are left out;
    `control_unreliable` and `treatment_unreliable` the shares of responses with an unreliable output count (None
    without responses).
    """

    metric: Metric
    by: str
    control: str
    treatment: str
    control_missing: int
    treatment_missing: int
    control_unreliable: float | None = None
    treatment_unreliable: float | None = None


class Tails(Protocol):
    """The distribution of the percent change, or what stands for it."""

    def at_most(self, percent: float) -> float:
        """Return the probability of a percent change of at most `percent`."""

    def below(self, percent: float) -> float:
        """Return the probability of a percent change strictly below `percent`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What the treatment did, compared with the control.

    Attributes:
        difference: Treatment minus control, in the metric's unit; None when there is no interval at all.
        percent: Percent change, -12.5 being 12.5 % lower under treatment; None also where the control is not clearly
            above zero.
        p_value: Two-sided p value of no difference. Under a sequential design it stays valid at every interim analysis
            and is compared with `nominal_alpha`.
        alpha: Effective level of both intervals: smaller than `nominal_alpha` under a sequential design.
        nominal_alpha: The level that was asked for; None means `alpha`.
        information: Share of the planned information at hand, under a sequential design.
        split: Which sessions the arms are, where no experiment assigned them.
        tails: Distribution of the percent change; None when there is no percent change. It is not compared or stored.
    """

    kind: EffectKind
    control: ArmSummary
    treatment: ArmSummary
    difference: Interval | None
    percent: Interval | None
    p_value: float | None
    alpha: float
    nominal_alpha: float | None = None
    shortage: Shortage | None = None
    design: Design = FIXED
    information: float | None = None
    split: Split | None = None
    tails: Tails | None = field(default=None, repr=False, compare=False)

    def confidence(self, percent: float, direction: Direction) -> float | None:
        """Return how strongly the data say that the true percent change is at least as good as `percent`.

        For 0 it is the confidence in a true improvement, strictly better than 0: with tied counts much of the
        distribution can lie at exactly 0, and no change is not an improvement. The number is that of a single
        analysis; under a sequential design the interval decides, not this number.

        Args:
            direction: INCREASE counts changes of at least `percent`, DECREASE changes of at most `percent`.

        Returns:
            A probability; None when there is no percent change.

        >>> from kaizen_analytics.stats import median_effect
        >>> effect = median_effect([10, 11, 12, 13, 14, 15, 16], [5, 6, 7, 8, 9, 10, 11])
        >>> round(effect.confidence(-10, Direction.DECREASE), 3)
        0.986
        """
        if self.tails is None:
            return None
        rising = direction is Direction.INCREASE
        if percent == 0:
            return 1 - self.tails.at_most(0) if rising else self.tails.below(0)
        return 1 - self.tails.below(percent) if rising else self.tails.at_most(percent)

    @property
    def degeneracy(self) -> Degeneracy | None:
        """Why nothing is decided from the intervals, None where there are none or they are sound.

        >>> from kaizen_analytics.stats import median_effect
        >>> median_effect([0, 0, 0, 0, 1, 2, 3], [0, 0, 0, 0, 0, 0, 9]).degeneracy
        <Degeneracy.TIED_MEDIAN: 'tied_median'>
        """
        if self.difference is None:
            return None
        if self.difference.low == self.difference.high:
            return Degeneracy.ZERO_WIDTH
        tied = self.kind is EffectKind.MEDIAN and any(
            arm.ties > MOST_TIES * arm.n for arm in (self.control, self.treatment)
        )
        return Degeneracy.TIED_MEDIAN if tied else None

    @property
    def level(self) -> float:
        """The nominal confidence of the intervals, such as 0.95."""
        return 1 - (self.alpha if self.nominal_alpha is None else self.nominal_alpha)
