"""What sessions before and after a change show, beside what their history does by itself.

    support     kinds of session that both arms hold
    effect      standardised over them (post-stratification, Holt & Smith 1979), with days as clusters
    drift       the step at the change, with slope and wander of the weeks allowed for
    placebo     the jump at the change among the jumps at earlier dates

Nothing here decides: `experiments.decide` reads a claim from these numbers. The drift test keeps the error level. The
rank among overlapping placebo dates is no p value: alone it claims a difference in 6 to 15 of 100 histories without
one, because the change lies at the end of a dependent series. It is a condition, and a picture.

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
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from kaizen_analytics.core.errors import StatisticsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from kaizen_analytics.stats.distributions import FloatArray, IntArray

    BoolArray = npt.NDArray[np.bool_]

_MIN_DAYS = 5
"""Days on which each arm must hold a kind of session."""
MIN_SESSIONS = 20
"""Sessions of a kind that each arm must hold."""
MIN_DATES = 19
"""Placebo dates below which a rank cannot reach 5 %."""
_MIN_WINDOW = 7
_MIN_WEEKS_BEFORE, MIN_WEEKS_AFTER = 4, 2
_RHO = 0.85
"""Correlation of neighbouring weeks. It is assumed: eight weeks cannot estimate it."""
_SLOPE_SD = 0.03
"""Standard deviation of the slope's prior, in log units a week."""
_TAUS = np.concatenate([np.linspace(0, 0.3, 31), np.linspace(0.32, 0.8, 25), np.linspace(0.85, 2, 24)])
_WEEK = 7


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
        arrays: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(self, **{name: array[chosen] for name, array in arrays.items() if array is not None})

    def part(self, stratum: int, arm: bool) -> Timeline:  # noqa: FBT001 - an arm is a value of `after`
        """Return the sessions of one stratum in one arm."""
        return self.where((self.strata == stratum) & (self.after == arm))

    @property
    def history_days(self) -> int:
        """Days of history before the change."""
        return max(0, -int(self.days.min(initial=0)))

    @property
    def after_days(self) -> int:
        """Days after the change."""
        return max(0, int(self.days.max(initial=-1)) + 1)


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
class _DriftBound:
    """Which steady change a week, in log units, would explain a difference.

    `all` explains the whole of it, `significance` takes the nearer limit of its interval to no change.
    """

    all: float
    significance: float


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


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeAfter:
    """Sessions before and after a change; a part that the data do not support is None.

    `has_sessions` says whether both arms of the window hold enough sessions on enough days, of whatever kind. `common`
    are the strata that both arms hold. `effect` is standardised over them, `crude` is not.
    """

    has_sessions: bool
    common: tuple[int, ...]
    effect: StratifiedEffect | None
    crude: StratifiedEffect | None
    drift: Drift | None
    bound: _DriftBound | None
    placebo: Placebo | None
    history_days: int
    after_days: int


def compare_before_after(timeline: Timeline, *, by_median: bool, alpha: float = 0.05) -> BeforeAfter:
    """Return what sessions before and after a change show.

    Args:
        by_median: Whether medians are compared, not means or ratios of totals.

    >>> days = np.repeat(np.arange(-56, 28), 20)
    >>> values = np.tile(np.geomspace(1, 9, 20), 84) * np.where(days < 0, 1.0, 0.5)
    >>> line = Timeline(days=days, after=days >= 0, strata=days * 0, values=values, in_window=days >= -28)
    >>> found = compare_before_after(line, by_median=True)
    >>> round(float(np.exp(found.effect.log_ratio)), 6), found.drift.p_value < 0.05
    (0.5, True)
    """
    # Sessions on the wrong side of the change, such as one on an old branch, say nothing about the course of time.
    aligned = timeline.where(timeline.after == (timeline.days >= 0))
    common = find_common_strata(timeline)
    together = replace(timeline, strata=np.zeros_like(timeline.strata))
    effect = compute_stratified_effect(timeline, by_median=by_median, alpha=alpha)
    found = BeforeAfter(
        has_sessions=bool(find_common_strata(together)),
        common=common,
        effect=effect,
        crude=compute_stratified_effect(together, by_median=by_median, alpha=alpha),
        drift=None,
        bound=None,
        placebo=None,
        history_days=timeline.history_days,
        after_days=timeline.after_days,
    )
    scores = None if effect is None else compute_scores(aligned, by_median=by_median)
    if effect is None or scores is None or not np.isfinite(scores).all():
        return found
    window = timeline.where(timeline.in_window)
    apart = float(window.days[window.after].mean() - window.days[~window.after].mean()) / _WEEK
    return replace(
        found,
        drift=_compute_drift(aligned, scores, common),
        bound=_bound_drift(effect, apart) if apart > 0 else None,
        placebo=_compute_placebo(aligned, scores),
    )


# Support and effect.


def find_common_strata(timeline: Timeline) -> tuple[int, ...]:
    """Return the strata that both arms of the window hold on 5 days and in 20 sessions.

    >>> days = np.repeat(np.arange(-10, 10), 5)
    >>> line = Timeline(
    ...     days=days, after=days >= 0, strata=(days >= 5).astype(int), values=days + 20.0, in_window=days > -99
    ... )
    >>> find_common_strata(line)
    (0,)
    """
    window = timeline.where(timeline.in_window)

    def is_held(stratum: int, arm: bool) -> bool:  # noqa: FBT001 - an arm is a value of `after`
        days = window.part(stratum, arm).days
        return days.size >= MIN_SESSIONS and np.unique(days).size >= _MIN_DAYS

    strata = np.unique(window.strata).tolist()
    return tuple(stratum for stratum in strata if is_held(stratum, False) and is_held(stratum, True))


def compute_stratified_effect(timeline: Timeline, *, by_median: bool, alpha: float = 0.05) -> StratifiedEffect | None:
    """Return the effect on the common strata of the window; None without one, or where a statistic is zero.

    Medians have Woodruff limits (1952): the share below the median gets a t interval with the days as clusters, which
    the sample's quantiles translate. The limits of arms and strata are combined by MOVER (Zou & Donner 2008). Totals
    have log-influence summed by day, with Satterthwaite's degrees of freedom (Liang & Zeger 1986). With other clusters
    beside the days, each limit is the wider one of the two.

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
            sessions = window.part(stratum, arm)
            median, low, high = np.log(_compute_median_limits(sessions.days, sessions.values, alpha))
            effect += share * (median if arm else -median)
            below, above = (median - low, high - median) if arm else (high - median, median - low)
            down += (share * below) ** 2
            up += (share * above) ** 2
    return float(effect), float(np.sqrt(down)), float(np.sqrt(up))


def _is_alone(window: Timeline, shares: dict[int, float]) -> bool:
    """Return whether a stratum of an arm is one cluster, which cannot show how much clusters differ."""
    return any(np.unique(window.part(stratum, arm).days).size < 2 for stratum in shares for arm in (False, True))


def _compute_median_limits(days: IntArray, values: FloatArray, alpha: float) -> tuple[float, float, float]:
    """Return a median and its Woodruff limits with days as clusters."""
    median = float(np.median(values))
    variance, freedom = _sum_by_day(days, _signs(values, median) / values.size)
    half = -float(special.stdtrit(freedom, alpha / 2)) * np.sqrt(variance)
    low, high = np.quantile(values, [max(0.0, 0.5 - half), min(1.0, 0.5 + half)])
    return median, float(low), float(high)


def _signs(values: FloatArray, median: float) -> FloatArray:
    return np.where(values > median, 0.5, np.where(values < median, -0.5, 0.0))


def _sum_by_day(days: IntArray, influence: FloatArray) -> tuple[float, int]:
    """Return the variance of a sum whose terms are dependent within a day, and its degrees of freedom."""
    _, codes = np.unique(days, return_inverse=True)
    sums = np.bincount(codes, influence)
    return sums.size / (sums.size - 1) * float((sums**2).sum()), sums.size - 1


def _combine_totals(window: Timeline, shares: dict[int, float], alpha: float) -> tuple[float, float, float]:
    effect, variances = 0.0, []
    if _is_alone(window, shares):
        return effect, np.inf, np.inf
    for arm in (False, True):
        parts = [window.part(stratum, arm) for stratum in shares]
        found = [_influence(part) for part in parts]
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


# Scores, whose mean moves as the statistic does.


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
            values = timeline.values[here]
            median = np.median(values)
            scores[here] = _signs(values, median) / _log_density(values, median)
            continue
        for arm in (False, True):
            chosen = here & (timeline.after == arm)
            if chosen.any():
                level, influence = _influence(timeline.where(chosen))
                scores[chosen] = level + influence
    return scores


def _influence(sessions: Timeline) -> tuple[float, FloatArray]:
    """Return the logarithm of a ratio of totals and each session's influence on it; nan where a total is zero."""
    weights = np.ones(sessions.values.size) if sessions.weights is None else sessions.weights
    if not sessions.values.sum() > 0 or not weights.sum() > 0:
        return float("nan"), np.full(sessions.values.size, np.nan)
    ratio = sessions.values.sum() / weights.sum()
    return float(np.log(ratio)), (sessions.values - ratio * weights) / (ratio * weights.mean())


def _log_density(values: FloatArray, middle: float) -> float:
    """Return a normal kernel density of the logarithms at the median, width by Silverman's rule."""
    logs = np.log(values[values > 0])
    if middle <= 0 or logs.size < 2 or logs[0] == logs.min() == logs.max():
        return 1.0
    lower, upper = np.percentile(logs, [25, 75])
    spread = min(logs.std(), (upper - lower) / 1.349) or logs.std()
    width = 1.06 * spread * logs.size**-0.2
    return float(np.exp(-0.5 * ((logs - np.log(middle)) / width) ** 2).mean() / (width * np.sqrt(2 * np.pi)))


# The drift of the weeks.


@dataclass(frozen=True, slots=True)
class _Cells:
    """Mean scores by week and stratum with the variances of their noise, weeks and labels, each of shape (cells,)."""

    means: FloatArray
    noise: FloatArray
    weeks: IntArray
    labels: IntArray

    @classmethod
    def of(cls, timeline: Timeline, scores: FloatArray, common: Sequence[int]) -> _Cells:
        """Return the mean score of each week and stratum; a stratum that is not common has one for each arm."""
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
        return cls(level, within / sizes + between * squares / sizes**2, weeks[:, 0], weeks[:, 1])

    @property
    def time(self) -> FloatArray:
        """Weeks from the mean week."""
        time: FloatArray = self.weeks - self.weeks.mean()
        return time

    @property
    def levels(self) -> FloatArray:
        """A column for each label that is 1 in its cells."""
        levels: FloatArray = (self.labels[:, None] == np.unique(self.labels)).astype(np.float64)
        return levels


@dataclass(frozen=True, slots=True)
class _Fit:
    """Generalised least squares for each tau of a grid; the first axis of every array is the grid."""

    alike: FloatArray
    precision: FloatArray
    inverse: FloatArray
    solved: FloatArray
    weighted: FloatArray
    slopes: FloatArray
    likelihood: FloatArray

    @classmethod
    def of(cls, cells: _Cells, design: FloatArray, rho: float, taus: FloatArray) -> _Fit:
        time = cells.time
        alike = rho ** np.abs(time[:, None] - time[None, :])
        covariance = (
            taus[:, None, None] ** 2 * alike + _SLOPE_SD**2 * np.outer(time, time) + np.diag(cells.noise + 1e-12)
        )
        precision = np.linalg.inv(covariance).astype(np.float64)
        information = design.T @ precision @ design
        inverse = np.linalg.inv(information).astype(np.float64)
        solved = (inverse @ (design.T @ precision @ cells.means)[..., None])[..., 0]
        residuals = cells.means - solved @ design.T
        weighted = (precision @ residuals[..., None])[..., 0]
        likelihood = -0.5 * (
            np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(information)[1] + (residuals * weighted).sum(axis=1)
        )
        return cls(alike, precision, inverse, solved, weighted, _SLOPE_SD**2 * weighted @ time, likelihood)


def _weigh(likelihood: FloatArray, taus: FloatArray) -> FloatArray:
    """Return the posterior probability of each tau of a grid."""
    mass = np.exp(likelihood - likelihood.max()) * np.gradient(taus)
    weights: FloatArray = mass / mass.sum()
    return weights


def _compute_drift(timeline: Timeline, scores: FloatArray, common: Sequence[int]) -> Drift | None:
    """Return the step at the change with the history's own movement allowed for; None where it cannot be told.

    A stratum that is not common gets a level of its own in each arm, so it informs the slope and the wander but never
    the step. At least four weeks before the change and two after it are needed.

    Returns:
        strata.
    """
    cells = _Cells.of(timeline, scores, common)
    design = np.column_stack([cells.weeks >= 0, cells.levels])
    rows, columns = design.shape
    before, after = (np.unique(cells.weeks[side]).size for side in (cells.weeks < 0, cells.weeks >= 0))
    too_short = before < _MIN_WEEKS_BEFORE or after < MIN_WEEKS_AFTER or rows <= columns
    if too_short or np.linalg.matrix_rank(design) < columns:
        return None
    fit, time = _Fit.of(cells, design, _RHO, _TAUS), cells.time
    mass = _weigh(fit.likelihood, _TAUS)
    steps, errors = fit.solved[:, 0], np.sqrt(fit.inverse[:, 0, 0])
    projection = fit.precision - fit.precision @ design @ fit.inverse @ design.T @ fit.precision
    spread = _SLOPE_SD**2 - _SLOPE_SD**4 * np.einsum("i,tij,j->t", time, projection, time)
    slope = float(mass @ fit.slopes)
    return Drift(
        step=float(mass @ steps),
        p_value=float(mass @ (2 * special.ndtr(-np.abs(steps) / errors))),
        slope=slope,
        slope_error=math.sqrt(max(float(mass @ (spread + (fit.slopes - slope) ** 2)), 0.0)),
        wander=float(mass @ _TAUS),
    )


def _bound_drift(effect: StratifiedEffect, weeks_apart: float) -> _DriftBound:
    """Return which steady change a week would explain a difference between arms whose mean dates lie this far apart."""
    nearer = 0.0 if effect.low <= 0 <= effect.high else min(effect.low, effect.high, key=abs)
    return _DriftBound(all=effect.log_ratio / weeks_apart, significance=nearer / weeks_apart)


_DRAWN_RHO = 0.7
"""Correlation of neighbouring weeks in a drawn history."""
_DRAWN_TAUS = _TAUS[_TAUS <= 0.8]
_TAU_SD = 0.2
"""Standard deviation of the prior of tau in a drawn history, in log units: eight weeks hardly tell tau."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wander:
    """How the weeks of a history without a change differ, in log units, so that another one like it can be drawn.

    `first_week` is the oldest week; weeks are counted from the end of the history, -1 being the last. `moved` says by
    how much each week is taken to have moved, the oldest first, shape (weeks,). Each tau of a grid has its posterior
    probability in `weights` and the slope a week that goes with it in `slopes`, shape (taus,).
    """

    first_week: int
    moved: FloatArray
    weights: FloatArray
    slopes: FloatArray

    @classmethod
    def of(cls, timeline: Timeline, scores: FloatArray) -> Wander:
        """Fit the sessions of whole weeks, their days counted from the end of the history, with a score for each."""
        cells = _Cells.of(timeline, scores, np.unique(timeline.strata).tolist())
        fit = _Fit.of(cells, cells.levels, _DRAWN_RHO, _DRAWN_TAUS)
        weights = _weigh(fit.likelihood - 0.5 * (_DRAWN_TAUS / _TAU_SD) ** 2, _DRAWN_TAUS)
        weeks, first = np.unique(cells.weeks, return_index=True)
        levels = (_DRAWN_TAUS[:, None] ** 2 * (fit.weighted @ fit.alike))[:, first]
        moved = np.zeros(-int(weeks[0]))  # a week without sessions is taken not to have moved
        moved[weeks - weeks[0]] = weights @ levels + float(weights @ fit.slopes) * weeks
        return cls(first_week=int(weeks[0]), moved=moved, weights=weights, slopes=fit.slopes)

    def draw(self, rng: np.random.Generator, weeks: IntArray) -> FloatArray:
        """Return levels of another history for consecutive weeks, shape (weeks,), with a tau of its own."""
        chosen = int(rng.choice(_DRAWN_TAUS.size, p=self.weights))
        steps = _DRAWN_TAUS[chosen] * rng.standard_normal(weeks.size)
        levels: FloatArray = steps.copy()
        for week in range(1, weeks.size):
            levels[week] = _DRAWN_RHO * levels[week - 1] + np.sqrt(1 - _DRAWN_RHO**2) * steps[week]
        levels += self.slopes[chosen] * weeks
        return levels


# The placebo dates.


def _compute_placebo(timeline: Timeline, scores: FloatArray) -> Placebo | None:
    """Compare the jump at the change with the jumps at every date of the history.

    None where the history, or the time after the change, is shorter than the windows.
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
