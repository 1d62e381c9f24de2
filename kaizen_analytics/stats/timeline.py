"""Sessions before and after a change as arrays, and the scores that make any statistic an average of sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kaizen_analytics.core.errors import StatisticsError

if TYPE_CHECKING:
    import numpy.typing as npt

    from kaizen_analytics.stats.distributions import FloatArray, IntArray

    BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Sessions around a change at the start of day 0.

    Attributes:
        days: Days from the change, negative before it, shape (n,).
        after: Whether a session ran with the change, shape (n,).
        strata: Code of the kind of session, such as one of its agent, model and workspace, shape (n,).
        values: What is measured, 0 or more, shape (n,).
        weights: Denominators of a ratio of totals, shape (n,); None for the values themselves.
        clusters: Code of whose sessions resemble each other beside those of a day, shape (n,); None for days alone.
        in_window: Whether a session is compared; the others are history, shape (n,).
    """

    days: IntArray
    after: BoolArray
    strata: IntArray
    values: FloatArray
    in_window: BoolArray
    weights: FloatArray | None = None
    clusters: IntArray | None = None

    def __post_init__(self) -> None:
        arrays = [self.days, self.after, self.strata, self.values, self.in_window]
        arrays += [extra for extra in (self.weights, self.clusters) if extra is not None]
        if len({array.shape for array in arrays}) != 1 or self.days.ndim != 1:
            shapes = ", ".join(str(array.shape) for array in arrays)
            raise StatisticsError(f"The arrays of a timeline have the shapes {shapes}; expected one length.")
        if not (np.isfinite(self.values).all() and (self.values >= 0).all()):
            raise StatisticsError("A timeline has a value that is negative or not finite; expected 0 or more.")

    def where(self, chosen: BoolArray) -> Timeline:
        """Return the sessions for which `chosen` is true."""
        return Timeline(
            days=self.days[chosen],
            after=self.after[chosen],
            strata=self.strata[chosen],
            values=self.values[chosen],
            in_window=self.in_window[chosen],
            weights=None if self.weights is None else self.weights[chosen],
            clusters=None if self.clusters is None else self.clusters[chosen],
        )

    @property
    def history_days(self) -> int:
        """Days of history before the change."""
        return max(0, -int(self.days.min(initial=0)))

    @property
    def after_days(self) -> int:
        """Days after the change."""
        return max(0, int(self.days.max(initial=-1)) + 1)


def compute_scores(timeline: Timeline, *, by_median: bool) -> FloatArray:
    """Return a score for each session whose mean moves as the logarithm of the median or the total does, shape (n,).

    The median's score is (1{y > m} - 1/2) / f with one m and one f for each stratum, pooled over the arms (Mood 1950).
    The density f only gives the score its unit: no p value depends on it. Scores that divide by a density estimated in
    each arm claim a difference far too often where values have two peaks. Totals have log-influence scores in each
    stratum and arm (Deng, Knoblich & Lu 2018).

    >>> days = np.array([-1, -1, 0, 0])
    >>> line = Timeline(
    ...     days=days, after=days >= 0, strata=days * 0, values=np.array([1.0, 2, 3, 4]), in_window=days > -9
    ... )
    >>> np.sign(compute_scores(line, by_median=True))
    array([-1., -1.,  1.,  1.])
    """
    scores = np.zeros(timeline.values.size)
    for stratum in np.unique(timeline.strata):
        here = timeline.strata == stratum
        if by_median:
            scores[here] = _median_scores(timeline.values[here])
            continue
        for arm in (False, True):
            chosen = here & (timeline.after == arm)
            if chosen.any():
                level, influence = influence_of(timeline.where(chosen))
                scores[chosen] = level + influence
    return scores


def influence_of(sessions: Timeline) -> tuple[float, FloatArray]:
    """Return the logarithm of a ratio of totals and each session's influence on it; nan where a total is zero.

    >>> days = np.array([0, 0])
    >>> line = Timeline(
    ...     days=days, after=days >= 0, strata=days, values=np.array([1.0, 3.0]), in_window=days >= 0
    ... )
    >>> influence_of(line)[1]
    array([-0.5,  0.5])
    """
    weights = np.ones(sessions.values.size) if sessions.weights is None else sessions.weights
    if not sessions.values.sum() > 0 or not weights.sum() > 0:
        return float("nan"), np.full(sessions.values.size, np.nan)
    ratio = sessions.values.sum() / weights.sum()
    return float(np.log(ratio)), (sessions.values - ratio * weights) / (ratio * weights.mean())


def _median_scores(values: FloatArray) -> FloatArray:
    middle = np.median(values)
    return (np.where(values > middle, 0.5, np.where(values < middle, -0.5, 0.0))) / _log_density(values, middle)


def _log_density(values: FloatArray, middle: float) -> float:
    """Return a normal kernel density of the logarithms at the median, width by Silverman's rule."""
    logs = np.log(values[values > 0])
    if middle <= 0 or logs.size < 2 or logs[0] == logs.min() == logs.max():
        return 1.0
    lower, upper = np.percentile(logs, [25, 75])
    spread = min(logs.std(), (upper - lower) / 1.349) or logs.std()
    width = 1.06 * spread * logs.size**-0.2
    return float(np.exp(-0.5 * ((logs - np.log(middle)) / width) ** 2).mean() / (width * np.sqrt(2 * np.pi)))
