"""Whether the step at a change is larger than this history moves by itself.

Weeks are counted from the change, so the change lies between two weeks. The mean score of a cell (week and stratum) is

    stratum + step after the change + slope * week + level of the week + noise

The levels of the weeks follow an autoregression of the first order with a standard deviation tau, which is not plugged
in but integrated out over a grid by restricted likelihood: few weeks give heavy tails. The slope has a normal prior.
The noise comes from sessions and from days, both estimated within cells.

Sources: Harville (1974), restricted likelihood; Gelman (2006), flat prior on a standard deviation; Harvey (1989) and
Brodersen et al. (2015), structural time series for one intervention; Robinson (1991), prediction of the slope.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.stats.distributions import FloatArray, IntArray
    from kaizen_analytics.stats.timeline import Timeline

_RHO = 0.85
"""Correlation of neighbouring weeks. It is assumed: eight weeks cannot estimate it."""
SLOPE_SD = 0.03
"""Standard deviation of the slope's prior, in log units a week."""
MIN_WEEKS_BEFORE, MIN_WEEKS_AFTER = 4, 2
_TAUS = np.concatenate([np.linspace(0, 0.3, 31), np.linspace(0.32, 0.8, 25), np.linspace(0.85, 2, 24)])
_WIDTHS = np.gradient(_TAUS)
_WEEK = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What is left of a difference when the history's own movement is allowed for; all in log units.

    `step` is the difference at the change and `p_value` its two-sided p value; `slope` and `slope_error` are the
    history's change a week and its standard error, `wander` the standard deviation of the level of a week.
    """

    step: float
    p_value: float
    slope: float
    slope_error: float
    wander: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftBound:
    """Which steady change a week, in log units, would explain a difference.

    `all` explains the whole of it, `significance` takes the nearer limit of its interval to no change.
    """

    all: float
    significance: float


@dataclass(frozen=True, slots=True)
class Cells:
    """Mean scores by week and stratum with the variances of their noise, weeks and labels, each of shape (cells,)."""

    means: FloatArray
    noise: FloatArray
    weeks: IntArray
    labels: IntArray


def compute_drift(timeline: Timeline, scores: FloatArray, common: Sequence[int]) -> Drift | None:
    """Return the step at the change with the history's own movement allowed for.

    Args:
        timeline: All sessions, history included, each on the side of the change on which it ran.
        scores: A score for each session, shape (n,).
        common: Strata that both arms hold. Any other gets a level of its own in each arm, so it informs the slope and
            the wander but never the step.

    Returns:
        None with less than four weeks before or two weeks after the change, or where the step cannot be told from the
        strata.

    >>> import numpy as np
    >>> from kaizen_analytics.stats.timeline import Timeline
    >>> days = np.repeat(np.arange(-56, 28), 20)
    >>> noise = np.tile(np.linspace(-0.5, 0.5, 20), 84)
    >>> line = Timeline(days=days, after=days >= 0, strata=days * 0, values=days + 99.0, in_window=days > -28)
    >>> drift = compute_drift(line, noise - 0.4 * (days >= 0), (0,))
    >>> round(drift.step, 2), drift.p_value < 0.05
    (-0.4, True)
    """
    cells = read_cells(timeline, scores, common)
    design = np.column_stack([cells.weeks >= 0, *(cells.labels == label for label in np.unique(cells.labels))])
    rows, columns = design.shape
    before, after = (np.unique(cells.weeks[side]).size for side in (cells.weeks < 0, cells.weeks >= 0))
    too_short = before < MIN_WEEKS_BEFORE or after < MIN_WEEKS_AFTER or rows <= columns
    if too_short or np.linalg.matrix_rank(design.astype(float)) < columns:
        return None
    return _fit(cells, design.astype(float))


def bound_drift(log_ratio: float, low: float, high: float, weeks_apart: float) -> DriftBound:
    """Return which steady change a week would explain a difference between arms whose mean dates lie this far apart.

    >>> bound_drift(-0.4, -0.6, -0.2, 4.0)
    DriftBound(all=-0.1, significance=-0.05)
    """
    nearer = 0.0 if low <= 0 <= high else min(low, high, key=abs)
    return DriftBound(all=log_ratio / weeks_apart, significance=nearer / weeks_apart)


def read_cells(timeline: Timeline, scores: FloatArray, common: Sequence[int]) -> Cells:
    """Return the mean score of each week and stratum; a stratum that is not common has one for each arm.

    >>> from kaizen_analytics.stats.timeline import Timeline
    >>> days = np.array([-8, -8, -1, -1])
    >>> line = Timeline(days=days, after=days >= 0, strata=days * 0, values=days + 9.0, in_window=days < 0)
    >>> read_cells(line, np.array([1.0, 3.0, 5.0, 7.0]), (0,)).means
    array([2., 6.])
    """
    kinds = np.where(np.isin(timeline.strata, common), 0, 1 + timeline.after)
    _, labels = np.unique(np.column_stack([timeline.strata, kinds]), axis=0, return_inverse=True)
    days, at = np.unique(np.column_stack([timeline.days, labels.ravel()]), axis=0, return_inverse=True)
    counts = np.bincount(at.ravel()).astype(float)
    means = np.bincount(at.ravel(), scores) / counts
    within = float((scores**2).sum() - (counts * means**2).sum()) / max(scores.size - counts.size, 1)
    weeks, of = np.unique(np.column_stack([days[:, 0] // _WEEK, days[:, 1]]), axis=0, return_inverse=True)
    of = of.ravel()
    sizes, squares = np.bincount(of, counts), np.bincount(of, counts**2)
    level = np.bincount(of, counts * means) / sizes
    # what days differ by beyond their sessions, by moments
    excess = float((counts * (means - level[of]) ** 2).sum()) - within * (counts.size - sizes.size)
    scale = float((sizes - squares / sizes).sum())
    between = max(0.0, excess / scale) if scale > 0 else 0.0
    return Cells(level, within / sizes + between * squares / sizes**2, weeks[:, 0], weeks[:, 1])


def _fit(cells: Cells, design: FloatArray) -> Drift:
    time = cells.weeks - cells.weeks.mean()
    apart = np.abs(time[:, None] - time[None, :])
    covariance = (
        _TAUS[:, None, None] ** 2 * _RHO**apart + SLOPE_SD**2 * np.outer(time, time) + np.diag(cells.noise + 1e-12)
    )
    precision = np.linalg.inv(covariance)
    information = design.T @ precision @ design
    inverse = np.linalg.inv(information)
    solved = (inverse @ (design.T @ precision @ cells.means)[..., None])[..., 0]
    residuals = cells.means - solved @ design.T
    weighted = (precision @ residuals[..., None])[..., 0]
    likelihood = -0.5 * (
        np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(information)[1] + (residuals * weighted).sum(axis=1)
    )
    mass = np.exp(likelihood - likelihood.max()) * _WIDTHS
    mass /= mass.sum()
    steps, errors = solved[:, 0], np.sqrt(inverse[:, 0, 0])
    slopes = SLOPE_SD**2 * weighted @ time
    projection = precision - precision @ design @ inverse @ design.T @ precision
    spread = SLOPE_SD**2 - SLOPE_SD**4 * np.einsum("i,tij,j->t", time, projection, time)
    slope = float(mass @ slopes)
    return Drift(
        step=float(mass @ steps),
        p_value=float(mass @ (2 * special.ndtr(-np.abs(steps) / errors))),
        slope=slope,
        slope_error=math.sqrt(max(float(mass @ (spread + (slopes - slope) ** 2)), 0.0)),
        wander=float(mass @ _TAUS),
    )
