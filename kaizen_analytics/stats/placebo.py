"""How often the history shows a jump as large as the one at the change, at dates when nothing was changed.

The rank of the change among overlapping dates is no p value: alone it claims a difference in 6 to 15 of 100 histories
without one, because the change lies at the end of a dependent series. It is a condition, and a picture; `drift` keeps
the error level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kaizen_analytics.stats.distributions import FloatArray
    from kaizen_analytics.stats.timeline import Timeline

MIN_DATES = 19
"""Dates below which a rank cannot reach 5 %."""
_MIN_WINDOW = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Placebo:
    """The jump at the change and at earlier dates, each with `window_days` days on both sides.

    `days` are the earlier dates in days from the change, `jumps` the jump at each in units of its standard error,
    `jump` the one at the change. `as_large` counts the dates with a jump of that size in either direction.
    """

    window_days: int
    days: tuple[int, ...]
    jumps: tuple[float, ...]
    jump: float
    as_large: int

    @property
    def dates(self) -> int:
        """How many earlier dates there are."""
        return len(self.days)

    @property
    def rank(self) -> float:
        """The share of all dates, the change included, with a jump at least as large."""
        return (1 + self.as_large) / (1 + self.dates)


def compute_placebo(timeline: Timeline, scores: FloatArray) -> Placebo | None:
    """Compare the jump at the change with the jumps at every date of the history.

    Args:
        timeline: All sessions, history included, each on the side of the change on which it ran.
        scores: A score for each session, shape (n,).

    Returns:
        None where the history, or the time after the change, is shorter than the windows.

    >>> import numpy as np
    >>> from kaizen_analytics.stats.timeline import Timeline
    >>> days = np.repeat(np.arange(-56, 14), 10)
    >>> line = Timeline(days=days, after=days >= 0, strata=days * 0, values=days + 99.0, in_window=days > -14)
    >>> noise = np.random.default_rng(1).normal(size=days.size)
    >>> placebo = compute_placebo(line, noise - 2.0 * (days >= 0))
    >>> placebo.dates, placebo.as_large
    (29, 0)
    """
    history, after = timeline.history_days, timeline.after_days
    width = max(_MIN_WINDOW, min(after, history // 4))
    if history < 2 * width + 1 or after < width:
        return None
    adjusted = _without_strata(timeline, scores)
    counts = np.bincount(timeline.days + history, minlength=history + after).astype(float)
    sums = np.bincount(timeline.days + history, adjusted, minlength=history + after).astype(float)
    dates = np.append(np.arange(width, history - width + 1), history)
    jumps = np.array([_jump(counts, sums, int(date), width) for date in dates])
    known = np.isfinite(jumps[:-1])
    if not np.isfinite(jumps[-1]):
        return None
    earlier = jumps[:-1][known]
    return Placebo(
        window_days=width,
        days=tuple((dates[:-1][known] - history).tolist()),
        jumps=tuple(earlier.tolist()),
        jump=float(jumps[-1]),
        as_large=int((np.abs(earlier) >= abs(jumps[-1])).sum()),
    )


def _jump(counts: FloatArray, sums: FloatArray, date: int, width: int) -> float:
    """Return the difference of the mean scores of both sides over its standard error, with days as clusters."""
    means, variance = [], 0.0
    for side in (slice(date - width, date), slice(date, date + width)):
        total = counts[side].sum()
        if not total:
            return float("nan")
        mean = sums[side].sum() / total
        variance += width / (width - 1) * float(((sums[side] - counts[side] * mean) ** 2).sum()) / total**2
        means.append(mean)
    return float("nan") if variance <= 0 else float((means[1] - means[0]) / np.sqrt(variance))


def _without_strata(timeline: Timeline, scores: FloatArray) -> FloatArray:
    """Return the scores without the levels of the strata, by least squares beside the arm."""
    levels = np.unique(timeline.strata)
    if levels.size == 1:
        return scores
    design = np.column_stack([timeline.after, *(timeline.strata == level for level in levels)]).astype(float)
    solved = np.linalg.lstsq(design.T @ design, design.T @ scores, rcond=None)[0]
    adjusted: FloatArray = scores - design[:, 1:] @ solved[1:]
    return adjusted
