"""What an effect says in words: both arms, the interval, and what a careful reader should know."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kaizen_analytics.core.metrics import REGISTRY
from kaizen_analytics.core.words import (
    counted,
    format_change,
    format_given,
    format_interval,
    format_number,
    format_percent,
    format_points,
    format_share,
    listed,
)
from kaizen_analytics.stats.effect import Degeneracy, EffectKind, Obstacle

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaizen_analytics.stats import ArmSummary, Effect, Interval

    Format = Callable[[float], str]

_IMBALANCE_SHARE = 0.05
"""Arms whose shares differ by more than this are warned about."""


def effect(found: Effect, *, is_one_of_many: bool = False) -> str:
    """Return an effect in words; one of many comparisons that does not stand out among them says so.

    >>> from kaizen_analytics.stats import proportion_effect
    >>> effect(proportion_effect([1, 0], [1, 1, 0, 1, 1]))
    'The control arm has only 2 sessions with a value; an interval needs at least 5.'
    """
    interval = found.percent or found.difference
    if interval is None:
        return no_interval(found)
    if found.degeneracy is not None:
        return f"{_movement(found)}. {degeneracy(found)}"
    end = "" if found.percent is not None else " A percent change cannot be given."
    advice = "Among so many comparisons, chance alone may explain it" if is_one_of_many else _advice(interval)
    return f"{_movement(found)}. {_range(found, interval)}. {advice}.{end}"


def notes(found: Effect) -> list[str]:
    """Return what a careful reader should know about an effect.

    >>> from kaizen_analytics.stats import median_effect
    >>> notes(median_effect([1, 2, 3, 4, 5], [0, 0, 0, 1, 2]))[-1]
    'At least half of the treatment sessions have the value 0.'
    """
    arms = [("control", found.control), ("treatment", found.treatment)]
    sentences, split = list[str](), found.split
    if split is not None:
        label = REGISTRY[split.metric].label
        sentences.append(f"{label} by {split.by}: control is {split.control}, treatment is {split.treatment}.")
    sentences += [note for name, arm in arms for note in _arm_notes(name, arm)]
    if found.difference is not None:
        sentences += _cluster_note(found.control, found.treatment)
        sentences += [text for name, arm in arms for text in _skew(found.kind, name, arm)]
    if found.information is not None and found.information > 1.05:
        sentences.append(
            f"The arms hold {100 * found.information:.0f}\N{NO-BREAK SPACE}% of the planned information. Leave out the "
            "sessions after the planned end, or the error rate of repeated analyses is no longer kept."
        )
    if any(interval is not None and not interval.bounded for interval in (found.difference, found.percent)):
        sentences.append(
            "At least one end of an interval has no limit: there are too few independent sessions for this level of "
            "confidence."
        )
    if split is not None and (split.control_missing or split.treatment_missing):
        sentences.append(
            f"Without a value, and left out: {split.control_missing:,} control and "
            f"{split.treatment_missing:,} treatment sessions."
        )
    if split is not None:
        shares = split.control_unreliable, split.treatment_unreliable
        sentences += imbalance("responses with an unreliable output count", *shares)
    return sentences


def no_percent(found: Effect) -> str:
    """Return why an effect has no percent change.

    >>> from kaizen_analytics.stats import proportion_effect
    >>> no_percent(proportion_effect([0, 0, 0, 0, 0], [1, 1, 0, 1, 1]))
    'No control session succeeded. A percent change of zero has no meaning, so read the difference.'
    """
    if found.difference is None:
        return no_interval(found)
    control = found.control.interval
    if found.kind.is_share:
        return "No control session succeeded. A percent change of zero has no meaning, so read the difference."
    if control is not None and control.estimate <= 0:
        return "The control's value is zero or negative. A percent change of it has no meaning, so read the difference."
    return (
        "The control's value is not clearly above zero, so the data set no limit to the percent change. Read the "
        "difference."
    )


def imbalance(what: str, control: float | None, treatment: float | None) -> list[str]:
    """Return a warning where the shares of something differ between the arms by more than 5 points, else nothing.

    >>> imbalance("sessions without a value", 0.5, 0.51)
    []
    """
    if control is None or treatment is None or abs(control - treatment) <= _IMBALANCE_SHARE:
        return []
    shares = f"{format_share(control)} of the control arm and {format_share(treatment)} of the treatment arm"
    return [f"Imbalance: {what} make up {shares}. Part of the difference may come from that."]


NOUNS = {
    EffectKind.MEDIAN: "The typical session (median)",
    EffectKind.MEAN: "The average session (mean)",
    EffectKind.PROPORTION: "The share",
    EffectKind.RATE: "The rate over all sessions",
    EffectKind.RATIO: "The ratio of the totals",
}
"""What a comparison compares."""
STATISTICS = {
    EffectKind.MEDIAN: "median session",
    EffectKind.MEAN: "mean session",
    EffectKind.PROPORTION: "share of sessions",
    EffectKind.RATE: "all sessions together",
    EffectKind.RATIO: "all sessions together",
}
"""What a number of a comparison is, in a few words."""


def degeneracy(found: Effect) -> str:
    """Return why an interval decides nothing.

    >>> from kaizen_analytics.stats import median_effect
    >>> degeneracy(median_effect([0, 0, 0, 0, 1, 2, 3], [0, 0, 0, 0, 0, 0, 9])).partition(":")[0]
    '4 of 7 control sessions and 6 of 7 treatment sessions have exactly the median'
    """
    if found.degeneracy is Degeneracy.ZERO_WIDTH:
        return "Both ends of the interval are the same number, so it decides nothing. Choose another metric."
    arms = [("control", found.control), ("treatment", found.treatment)]
    tied = listed([f"{arm.ties} of {arm.n} {name} sessions" for name, arm in arms])
    return (
        f"{tied} have exactly the median: it can stay in place while the sessions change, so it decides nothing. "
        "Compare the means (--statistic mean)."
    )


def no_interval(found: Effect) -> str:
    """Return why there is no interval.

    >>> from kaizen_analytics.stats import median_effect
    >>> no_interval(median_effect([], [1.0])).partition(",")[0]
    'There is no control session with a value'
    """
    missing = found.shortage
    if missing is None:
        return "The arms cannot be compared."
    arm, n, needed = missing.arm, int(missing.found), missing.needed
    texts = {
        Obstacle.NO_SESSION: (f"There is no {arm} session with a value, so nothing can be compared."),
        Obstacle.FEW_SESSIONS: (
            f"The {arm} arm has only {counted(n, 'session')} with a value; an interval needs at least {needed}."
        ),
        Obstacle.FEW_CLUSTERS: (
            f"The {arm} sessions come from only {counted(n, 'cluster')} (workspaces or users). At least "
            f"{needed} are needed to distinguish the treatment from the habits of one: widen the experiment."
        ),
        Obstacle.NO_DENOMINATOR: (
            f"The {arm} arm has {counted(n, 'session')}, but nothing to divide by, so there is no ratio yet."
        ),
        Obstacle.UNEQUAL_CLUSTERS: (
            f"One cluster (day, workspace or user) makes up {n} of {needed} {arm} sessions, so the others cannot "
            "show how much clusters differ: include more of them, or limit the experiment to that one."
        ),
        Obstacle.CONSTANT: (
            f"All {needed} {arm} sessions have the same value ({format_number(missing.found)}), so there is no "
            "variation to judge from. Check how the metric is recorded, or choose another one."
        ),
        Obstacle.TOO_EARLY: (
            f"The {arm} arm has {counted(n, 'session')}, and the design says nothing below {needed} per arm."
        ),
    }
    return texts[missing.obstacle]


def _movement(found: Effect) -> str:
    before, after = (_level(found.kind, arm) for arm in (found.control, found.treatment))
    subject = NOUNS[found.kind]
    if found.percent is None:
        return f"{subject} stayed at {before}" if before == after else f"{subject} went from {before} to {after}"
    change = found.percent.estimate
    if change == 0:
        return f"{subject} stayed at {before}"
    size = f"{format_percent(abs(change))} {'higher' if change > 0 else 'lower'}"
    return f"{subject} went from {before} to {after}, which is {size}"


def _level(kind: EffectKind, arm: ArmSummary) -> str:
    if kind.is_share:
        return format_share(arm.mean or 0.0)
    value = arm.median if kind is EffectKind.MEDIAN else arm.mean
    value = value if arm.interval is None else arm.interval.estimate
    return "nothing" if value is None else format_number(value)


def _range(found: Effect, interval: Interval) -> str:
    repeated = " at every interim analysis" if found.design.sequential else ""
    known = f"With {format_given(100 * found.level)} confidence{repeated}, the true change"
    form = format_change if found.percent is not None else format_points if found.kind.is_share else format_number
    if interval.low == interval.high:
        return f"{known} is {form(interval.low)}"
    if interval.bounded:
        return f"{known} lies between {form(interval.low)} and {form(interval.high)}"
    if math.isinf(interval.low) and math.isinf(interval.high):
        return "The data set no limit to the true change yet"
    return f"{known} is {format_interval(interval.low, interval.high, form)}"


def _advice(interval: Interval) -> str:
    if interval.low > 0 or interval.high < 0:
        return "Chance alone is an unlikely explanation"
    if interval.low == interval.high == 0:
        return "Nothing changed"
    if not interval.bounded:
        return "Do not act on it"
    return "Both a rise and a fall are still possible, so do not act on it yet"


def _arm_notes(name: str, arm: ArmSummary) -> list[str]:
    if arm.interval is None or not arm.ties or arm.median is None:
        return []
    found = []
    if arm.ties > max(2.0, 0.05 * arm.n):
        found.append(
            f"{arm.ties} of {arm.n} {name} sessions have exactly the value {format_number(arm.median)}. The interval "
            "moves in steps, and is wider than without ties."
        )
    if arm.median == 0:
        found.append(f"At least half of the {name} sessions have the value 0.")
    return found


def _cluster_note(control: ArmSummary, treatment: ArmSummary) -> list[str]:
    if control.clusters is None:
        return []
    note = (
        f"Sessions of one cluster resemble each other: {control.n} control and {treatment.n} treatment sessions from "
        f"{control.clusters} and {treatment.clusters} clusters count as about {control.n_effective:.0f} and "
        f"{treatment.n_effective:.0f} independent ones."
    )
    return [note]


def _skew(kind: EffectKind, name: str, arm: ArmSummary) -> list[str]:
    if arm.largest_share is None or arm.largest_share <= max(0.1, 4 / arm.n):
        return []
    seen = f"One {name} session makes up {100 * arm.largest_share:.0f}\N{NO-BREAK SPACE}% of the total."
    if kind is EffectKind.MEAN:
        return [f"{seen} The mean depends on it, so read the median first."]
    return [f"{seen} The ratio of the totals depends on it."]
