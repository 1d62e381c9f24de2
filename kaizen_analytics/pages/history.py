"""What arms that are separated in time show beside their history, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kaizen_analytics.core.words import (
    counted,
    format_change,
    format_given,
    format_interval,
    format_p_value,
    format_percent,
    format_share,
    listed,
)
from kaizen_analytics.experiments.decide import Claim, Verdict
from kaizen_analytics.experiments.evaluation import History, percent_of

if TYPE_CHECKING:
    from kaizen_analytics.experiments.decide import Decision
    from kaizen_analytics.experiments.evaluation import Evaluation
    from kaizen_analytics.stats.before_after import Drift, DriftBound, Placebo, StratifiedEffect

HEADLINES = {
    Claim.TOO_EARLY: "Too early to say",
    Claim.TOO_FEW: "Not enough sessions to say",
    Claim.NOT_COMPARABLE: "Do not decide on these data",
    Claim.UNDEFINED: "Do not decide on these data",
    Claim.NO_DIFFERENCE: "No clear difference after the change",
    Claim.DRIFT: "A difference, but this history moves as much by itself",
    Claim.COMMON_JUMP: "A difference, but jumps of this size are usual here",
    Claim.SHORT_HISTORY: "A difference, but too little history to judge it",
}
"""What a claim that does not hold says instead, in a few words."""
_REASONS = {
    Claim.TOO_EARLY: "arms before and after a commit are judged once, at the end of the window",
    Claim.TOO_FEW: "each arm needs 20 sessions on 5 days",
    Claim.UNDEFINED: "the success metric has no percent change",
    Claim.NO_DIFFERENCE: "the interval of the difference includes no change",
    Claim.DRIFT: "the weeks before the change differ from each other by as much",
    Claim.COMMON_JUMP: "a jump of this size is seen at other dates, when nothing was changed",
    Claim.SHORT_HISTORY: "a claim needs 5 weeks of history before the change and 2 weeks after it",
}
_COVERED = 0.8
"""Share of an arm's sessions in the common kinds below which a result names them."""
_Z = 1.96


def is_withheld(made: Decision, verdict: Verdict) -> bool:
    """Return whether a difference is not claimed because of the arms' history, and not because of their sizes.

    >>> from kaizen_analytics.experiments.decide import Decision, Headline
    >>> is_withheld(Decision(headline=Headline.UNDECIDED, claim=Claim.DRIFT), Verdict.INCONCLUSIVE)
    True
    """
    lost = verdict is Verdict.INVALID and made.claim is not Claim.NOT_COMPARABLE
    return made.claim not in (None, Claim.HOLDS) and not lost


def reason(made: Decision) -> str:
    """Return why a difference is not claimed, as the end of a sentence.

    >>> from kaizen_analytics.experiments.decide import Decision, Headline
    >>> reason(Decision(headline=Headline.UNDECIDED, claim=Claim.NOT_COMPARABLE, changed=("model",)))
    'the model changed with the change, so the arms hold different kinds of session'
    """
    if made.claim in _REASONS:
        return _REASONS[made.claim]
    if not made.changed:
        return "no kind of session (model, agent and workspace) is in both arms often enough"
    return f"the {listed(made.changed)} changed with the change, so the arms hold different kinds of session"


def entries(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return what the history of the metric says about the difference: what each line is about, and its text.

    >>> entries(analysis.evaluate("small-model"))
    []
    """
    history = evaluation.history
    if history is None:
        return []
    placebo, drift = history.found.placebo, history.found.drift
    told = [
        *(f"The {item.column} was {item.control} before and {item.treatment} after." for item in history.mismatches),
        *_effect(history, 1 - evaluation.alpha),
        *_elsewhere(history, 1 - evaluation.alpha),
    ]
    return [
        *(("History", text) for text in told),
        *([] if placebo is None else [("Placebo", _placebo(placebo))]),
        *(("Drift", text) for text in (_drift_line(history), "" if drift is None else _step(drift)) if text),
    ]


def placebo_caption(placebo: Placebo) -> str:
    """Return what the picture of the placebo dates shows.

    >>> from kaizen_analytics.stats.before_after import Placebo
    >>> placebo_caption(Placebo(window_days=7, days=(-9,), jumps=(0.1,), jump=2.0, as_large=0)).partition(". ")[0]
    'At 1 other date, a jump of this size was seen 0 times (windows of 7 days)'
    """
    return f"{_placebo(placebo)} The large dot is the change."


def _drift_line(history: History) -> str:
    """Return how the history changes by itself, beside the steady change that would explain the difference.

    >>> from kaizen_analytics.stats.before_after import BeforeAfter
    >>> parts = dict.fromkeys(("effect", "crude", "drift", "bound", "placebo"))
    >>> nothing = BeforeAfter(has_sessions=False, common=(), history_days=0, after_days=0, **parts)
    >>> _drift_line(History(claim=Claim.TOO_FEW, change_ms=0, found=nothing))
    ''
    """
    bound, drift = history.found.bound, history.found.drift
    return " ".join([*([] if drift is None else [_movement(drift)]), *([] if bound is None else [_bound(bound)])])


def _effect(history: History, level: float) -> list[str]:
    effect, crude = history.found.effect, history.found.crude
    if effect is None:
        return []
    found = []
    if len(effect.common) > 1:
        apart = "" if crude is None else f" Without that it is {_percent(crude.log_ratio)}."
        kinds = counted(len(effect.common), "kind")
        found.append(f"Standardised over {kinds} of session: {_interval(effect, level)}.{apart}")
    if effect.coverage < _COVERED:
        kinds = "; ".join(history.kinds)
        found.append(f"This holds for {kinds}: {format_share(effect.coverage)} of the sessions of an arm.")
    return found


def _placebo(placebo: Placebo) -> str:
    dates, times = counted(placebo.dates, "other date"), counted(placebo.as_large, "time")
    return f"At {dates}, a jump of this size was seen {times} (windows of {placebo.window_days} days)."


def _bound(bound: DriftBound) -> str:
    whole = f"To explain the difference, it would have to change by {_percent(bound.all)} a week"
    if bound.significance == 0:
        return f"{whole}."
    return f"{whole}; {_percent(bound.significance)} a week would make the difference unclear."


def _movement(drift: Drift) -> str:
    low, high = (100 * math.expm1(drift.slope + side * drift.slope_error) for side in (-_Z, _Z))
    wander = format_percent(100 * math.expm1(drift.wander))
    slope = f"{_percent(drift.slope)} a week ({format_interval(low, high)})"
    return f"This history changes by {slope}, and its weekly level wanders by {wander}."


def _step(drift: Drift) -> str:
    step, p_value = _percent(drift.step), format_p_value(drift.p_value)
    return f"With slope and wander allowed for, the step at the change is {step} (p = {p_value})."


def _elsewhere(history: History, level: float) -> list[str]:
    other = history.elsewhere
    if other is None:
        return []
    where = f"In other workspaces, on the same dates ({counted(other.sessions, 'session')})"
    return [f"{where}: {_interval(other.effect, level)}."]


def _interval(effect: StratifiedEffect, level: float) -> str:
    percent = percent_of(effect)
    if percent is None:
        raise ValueError("An effect has a percent change.")
    limits = format_interval(percent.low, percent.high)
    return f"{format_change(percent.estimate)} ({format_given(100 * level)} interval {limits})"


def _percent(log_ratio: float) -> str:
    return format_change(100 * math.expm1(log_ratio))
