"""What a comparison of two arms found: the types that every other room reads.

An `Effect` always says something: an interval, or a plain sentence why there is none. Nothing in it is random, so the
same sessions always give the same effect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from kaizen_analytics.display import Displayed, Table
from kaizen_analytics.errors import StatisticsError
from kaizen_analytics.model import Direction
from kaizen_analytics.stats.sequential import FIXED, Design

__all__ = ["ArmSummary", "Effect", "EffectKind", "Interval", "Tails", "format_number", "format_percent"]


class EffectKind(StrEnum):
    """What of the two arms is compared."""

    MEDIAN = "median"
    QUANTILE = "quantile"
    MEAN = "mean"
    PROPORTION = "proportion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its interval; an infinite end means that the data set no limit on that side."""

    estimate: float
    low: float
    high: float

    @classmethod
    def around(cls, estimate: float, limits: tuple[float, float]) -> Interval:
        """Return the interval; the estimate is never outside it, which rounding of ranks could otherwise cause."""
        low, high = limits
        return cls(estimate=estimate, low=min(low, estimate), high=max(high, estimate))

    @property
    def bounded(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """One arm in numbers.

    Attributes:
        n: Sessions with a value.
        n_effective: The number of independent sessions that would be as precise.
        clusters: Workspaces or users, when sessions were clustered.
        median: Sample median; None for an empty arm or a proportion.
        mean: Sample mean, or the share of a proportion; None for an empty arm.
        interval: The compared quantity (median, quantile, mean or share) of this arm alone, at this arm's own
            effective level; None when there are too few sessions.
    """

    n: int
    n_effective: float
    clusters: int | None
    median: float | None
    mean: float | None
    interval: Interval | None = None


class Tails(Protocol):
    """The law of the percent change, or what stands for it: how much of it lies at or below a percent change."""

    def at_most(self, percent: float) -> float:
        """Return the probability of a percent change of at most `percent`."""

    def below(self, percent: float) -> float:
        """Return the probability of a percent change strictly below `percent`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect(Displayed):
    """What the treatment did, compared with the control.

    Attributes:
        kind: What of the two arms is compared.
        control: The control arm.
        treatment: The treatment arm.
        difference: Treatment minus control, in the metric's unit.
        percent: Percent change; -12.5 means 12.5 % lower under treatment.
        p_value: Two-sided p value of no difference. Under a sequential design it stays valid at every look and is
            compared with `nominal_alpha`.
        alpha: Effective level of both intervals: smaller than `nominal_alpha` under a sequential design.
        insufficient: Plain sentence when there is no interval at all.
        percent_undefined: Plain sentence when only the percent change is missing.
        notes: Plain sentences on what a careful reader should know.
        nominal_alpha: The level that was asked for; None means `alpha`.
        quantile: Which quantile is compared, for a median or quantile.
        design: The plan of looking.
        information: Share of the planned information at hand, under a sequential design.
        tails: Law of the percent change; None when there is no percent change.
    """

    kind: EffectKind
    control: ArmSummary
    treatment: ArmSummary
    difference: Interval | None
    percent: Interval | None
    p_value: float | None
    alpha: float
    insufficient: str | None = None
    percent_undefined: str | None = None
    notes: tuple[str, ...] = ()
    nominal_alpha: float | None = None
    quantile: float = 0.5
    design: Design = FIXED
    information: float | None = None
    tails: Tails | None = field(default=None, repr=False, compare=False)

    def confidence(self, percent: float, direction: Direction) -> float | None:
        """Return how strongly the data say that the true percent change is at least as good as `percent`.

        For 0 it is the confidence in a true improvement, strictly better than 0: with tied counts much of the law can
        lie at exactly 0, and no change is not an improvement. The number is that of a single look; under a sequential
        design the interval decides, not this number.

        Args:
            percent: Signed percent change, such as -10.
            direction: INCREASE counts changes of at least `percent`, DECREASE changes of at most `percent`.

        Returns:
            A probability; None when there is no percent change.
        """
        if self.tails is None:
            return None
        rising = direction is Direction.INCREASE
        if percent == 0:
            return 1 - self.tails.at_most(0) if rising else self.tails.below(0)
        return 1 - self.tails.below(percent) if rising else self.tails.at_most(percent)

    def confidence_percent(self) -> float:
        """Return the nominal confidence of the intervals in percent, such as 95."""
        return 100 * (1 - (self.alpha if self.nominal_alpha is None else self.nominal_alpha))

    @property
    def sentence(self) -> str:
        """The effect in one sentence that a reader without statistics can act on."""
        if self.insufficient is not None:
            return self.insufficient
        if self.difference is None:
            raise StatisticsError("The effect has neither a difference nor a sentence why it is missing.")
        if self.percent is None:
            return self._difference_sentence(self.difference)
        return f"{self._movement(self.percent)}; {self._range(self.percent, format_percent)}, {_advice(self.percent)}."

    def _movement(self, percent: Interval) -> str:
        before, after = self._levels()
        change = percent.estimate
        if change == 0:
            return f"{self._noun()} stayed at {before}"
        size = f"{format_percent(abs(change))} {'higher' if change > 0 else 'lower'}"
        return f"{self._noun()} went from {before} to {after}, which is {size}"

    def _difference_sentence(self, difference: Interval) -> str:
        before, after = self._levels()
        form = _format_points if self.kind is EffectKind.PROPORTION else format_number
        moved = f"stayed at {before}" if before == after else f"went from {before} to {after}"
        return (
            f"{self._noun()} {moved}; {self._range(difference, form)}, {_advice(difference)}; "
            f"a percent change cannot be given."
        )

    def _range(self, interval: Interval, form: _Format) -> str:
        level = f"{self.confidence_percent():.4g} % confidence"
        when = f"{level} at every look" if self.design.sequential else level
        if interval.low == interval.high:
            return f"with {when} the true change is {form(interval.low)}"
        if interval.bounded:
            return f"with {when} the true change lies between {form(interval.low)} and {form(interval.high)}"
        if math.isfinite(interval.low):
            return f"with {when} the true change is at least {form(interval.low)}"
        if math.isfinite(interval.high):
            return f"with {when} the true change is at most {form(interval.high)}"
        return "the data set no limit to the true change yet"

    def _noun(self) -> str:
        if self.kind is EffectKind.MEDIAN:
            return "The typical session (median)"
        if self.kind is EffectKind.QUANTILE:
            return f"The {format_number(100 * self.quantile)} % quantile of the sessions"
        if self.kind is EffectKind.MEAN:
            return "The average session (mean)"
        return "The share"

    def _levels(self) -> tuple[str, str]:
        return self._level(self.control), self._level(self.treatment)

    def _level(self, arm: ArmSummary) -> str:
        if self.kind is EffectKind.PROPORTION:
            return format_percent(100 * (arm.mean or 0.0))
        if arm.interval is not None:
            return format_number(arm.interval.estimate)
        value = arm.mean if self.kind is EffectKind.MEAN else arm.median
        return "nothing" if value is None else format_number(value)

    def _table(self) -> Table:
        """Return both arms, the difference and the percent change, with the sentence and the notes below."""
        return Table(
            caption=f"{self._noun()}, treatment against control",
            columns=("", "estimate", "low", "high"),
            rows=tuple(self._rows()),
            numeric=frozenset({1, 2, 3}),
            sentences=(self.sentence, *self.notes, self._footer()),
        )

    def _rows(self) -> list[tuple[str, str, str, str]]:
        share = self.kind is EffectKind.PROPORTION
        level = _format_share if share else format_number
        named: list[tuple[str, Interval | None, _Format]] = [
            (f"control (n = {self.control.n:,})", self.control.interval, level),
            (f"treatment (n = {self.treatment.n:,})", self.treatment.interval, level),
            ("difference", self.difference, _format_points if share else format_number),
            ("percent change", self.percent, format_percent),
        ]
        return [(name, *_cells(interval, form)) for name, interval, form in named]

    def _footer(self) -> str:
        p_value = "none" if self.p_value is None else f"{self.p_value:.3g}"
        looks = "" if self.design.looks is None else f", looks {self.design.looks}"
        return f"p value {p_value}, effective alpha {self.alpha:.3g}, design {self.design.kind}{looks}"


class _Format(Protocol):
    def __call__(self, value: float, /) -> str: ...


def _cells(interval: Interval | None, form: _Format) -> tuple[str, str, str]:
    if interval is None:
        return "none", "none", "none"
    return form(interval.estimate), form(interval.low), form(interval.high)


def _advice(interval: Interval) -> str:
    if interval.low > 0 or interval.high < 0:
        return "so chance alone is an unlikely explanation"
    if interval.low == interval.high == 0:
        return "so nothing changed"
    if not interval.bounded:
        return "so collect more sessions before acting on it"
    return "so both a rise and a fall are still possible: do not act on it yet"


def format_number(value: float, /) -> str:
    """Return `value` with four significant digits, or as a whole number when it is large."""
    if math.isinf(value):
        return "no limit"
    if value == 0 or 1e-4 <= abs(value) < 1e15:
        text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        return "0" if text == "-0" else text
    return f"{value:.3e}"


def format_percent(value: float, /) -> str:
    """Return a percent with one decimal and a space before its sign."""
    if math.isinf(value):
        return "no limit"
    if abs(value) >= 1e15:
        return f"{value:.3e} %"
    text = f"{value:,.1f} %"
    return "0.0 %" if text == "-0.0 %" else text


def _format_share(value: float, /) -> str:
    return format_percent(100 * value)


def _format_points(value: float, /) -> str:
    if math.isinf(value):
        return "no limit"
    return f"{100 * value:.1f} points"
