"""How a history moves by itself from week to week, so that another history like it can be drawn.

The model is that of `drift` without a change: the level of each stratum, a slope, weekly levels with a standard
deviation tau that follow an autoregression, and noise. Eight weeks hardly tell tau, so it has a half-normal prior, and
each drawn history has a tau of its own from the posterior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kaizen_analytics.stats.drift import SLOPE_SD, read_cells

if TYPE_CHECKING:
    from kaizen_analytics.stats.distributions import FloatArray, IntArray
    from kaizen_analytics.stats.timeline import Timeline

_RHO = 0.7
"""Correlation of neighbouring weeks in a drawn history."""
_TAU_SD = 0.2
"""Standard deviation of the prior of tau, in log units."""
_TAUS = np.concatenate([np.linspace(0, 0.3, 31), np.linspace(0.32, 0.8, 25)])
_WIDTHS = np.gradient(_TAUS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wander:
    """How the weeks of a history differ, in log units.

    Attributes:
        first_week: The oldest week; weeks are counted from the end of the history, -1 being the last.
        moved: By how much each week is taken to have moved, the oldest first, shape (weeks,).
        weights: Posterior probability of each possible tau, shape (taus,).
        slopes: Slope a week that goes with each tau, shape (taus,).
    """

    first_week: int
    moved: FloatArray
    weights: FloatArray
    slopes: FloatArray

    def draw(self, rng: np.random.Generator, weeks: IntArray) -> FloatArray:
        """Return levels of another history for consecutive weeks, shape (weeks,).

        >>> still = Wander(
        ...     first_week=-2, moved=np.zeros(2), weights=np.array([1.0] + [0.0] * 55), slopes=np.zeros(56)
        ... )
        >>> still.draw(np.random.default_rng(1), np.arange(3)).tolist()
        [0.0, 0.0, 0.0]
        """
        chosen = int(rng.choice(_TAUS.size, p=self.weights))
        steps = _TAUS[chosen] * rng.standard_normal(weeks.size)
        levels: FloatArray = steps.copy()
        for week in range(1, weeks.size):
            levels[week] = _RHO * levels[week - 1] + np.sqrt(1 - _RHO**2) * steps[week]
        levels += self.slopes[chosen] * weeks
        return levels


def fit_wander(timeline: Timeline, scores: FloatArray) -> Wander:
    """Return how the weeks of a history without a change differ.

    Args:
        timeline: Sessions of whole weeks, their days counted from the end of the history, the last one being -1.
        scores: A score for each session (`timeline.compute_scores`), shape (n,).

    >>> from kaizen_analytics.stats.timeline import Timeline
    >>> days = np.repeat(np.arange(-56, 0), 20)
    >>> noise = np.random.default_rng(1).normal(0, 0.1, days.size)
    >>> line = Timeline(days=days, after=days >= 0, strata=days * 0, values=np.exp(noise), in_window=days > -99)
    >>> found = fit_wander(line, noise + 0.05 * (days // 7))
    >>> bool(0.03 < found.weights @ found.slopes < 0.06), found.first_week
    (True, -8)
    """
    cells = read_cells(timeline, scores, np.unique(timeline.strata).tolist())
    time = cells.weeks - cells.weeks.mean()
    design = (cells.labels[:, None] == np.unique(cells.labels)).astype(float)
    alike = _RHO ** np.abs(time[:, None] - time[None, :])
    fixed = SLOPE_SD**2 * np.outer(time, time) + np.diag(cells.noise + 1e-12)
    precision = np.linalg.inv(_TAUS[:, None, None] ** 2 * alike + fixed)
    information = design.T @ precision @ design
    solved = np.linalg.solve(information, (design.T @ precision @ cells.means)[..., None])[..., 0]
    residuals = cells.means - solved @ design.T
    weighted = (precision @ residuals[..., None])[..., 0]
    likelihood = 0.5 * (np.linalg.slogdet(precision)[1] - np.linalg.slogdet(information)[1])
    likelihood -= 0.5 * ((residuals * weighted).sum(axis=1) + (_TAUS / _TAU_SD) ** 2)
    weights = np.exp(likelihood - likelihood.max()) * _WIDTHS
    weights /= weights.sum()
    slopes = SLOPE_SD**2 * weighted @ time
    weeks = np.unique(cells.weeks)
    first = np.array([np.argmax(cells.weeks == week) for week in weeks])
    levels = (_TAUS[:, None] ** 2 * (weighted @ alike))[:, first]
    moved = np.zeros(-int(weeks[0]))  # a week without sessions is taken not to have moved
    moved[weeks - weeks[0]] = weights @ levels + float(weights @ slopes) * weeks
    return Wander(
        first_week=int(weeks[0]),
        moved=moved,
        weights=weights,
        slopes=slopes,
    )
