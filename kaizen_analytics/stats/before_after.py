"""What sessions before and after a change show, beside what their history does by itself.

    support     kinds of session that both arms hold                                     strata
    effect      standardised over them, with days as clusters                            strata
    drift       the step at the change, with slope and wander of the weeks allowed for   drift
    placebo     the jump at the change among the jumps at earlier dates                  placebo

Nothing here decides: `experiments.decide` reads a claim from these numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kaizen_analytics.stats.drift import Drift, DriftBound, bound_drift, compute_drift
from kaizen_analytics.stats.placebo import Placebo, compute_placebo
from kaizen_analytics.stats.strata import StratifiedEffect, compute_stratified_effect, find_common_strata
from kaizen_analytics.stats.timeline import compute_scores

if TYPE_CHECKING:
    from kaizen_analytics.stats.timeline import Timeline


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
    bound: DriftBound | None
    placebo: Placebo | None
    history_days: int
    after_days: int


def compare_before_after(timeline: Timeline, *, by_median: bool, alpha: float = 0.05) -> BeforeAfter:
    """Return what sessions before and after a change show.

    Args:
        timeline: Sessions of the window and of the history before it.
        by_median: Whether medians are compared, not means or ratios of totals.
        alpha: Two-sided error level of the intervals.

    >>> from kaizen_analytics.stats.timeline import Timeline
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
    crude = compute_stratified_effect(together, by_median=by_median, alpha=alpha)
    parts = BeforeAfter(
        has_sessions=bool(find_common_strata(together)),
        common=common,
        effect=None,
        crude=crude,
        drift=None,
        bound=None,
        placebo=None,
        history_days=timeline.history_days,
        after_days=timeline.after_days,
    )
    effect = compute_stratified_effect(timeline, by_median=by_median, alpha=alpha)
    if effect is None:
        return parts
    scores = compute_scores(aligned, by_median=by_median)
    if not np.isfinite(scores).all():
        return replace(parts, effect=effect)
    window = timeline.where(timeline.in_window)
    apart = float(window.days[window.after].mean() - window.days[~window.after].mean()) / 7
    return replace(
        parts,
        effect=effect,
        drift=compute_drift(aligned, scores, common),
        bound=bound_drift(effect.log_ratio, effect.low, effect.high, apart) if apart > 0 else None,
        placebo=compute_placebo(aligned, scores),
    )
