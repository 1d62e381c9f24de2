"""What to do next with an experiment: one value, from which every page takes its advice."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kaizen_analytics.core.model import State
from kaizen_analytics.experiments.decide import Claim, Headline, Verdict

if TYPE_CHECKING:
    from kaizen_analytics.experiments.evaluation import Evaluation


class NextStep(StrEnum):
    """The most important thing to do next."""

    SHIP = "ship"
    DO_NOT_SHIP = "do_not_ship"
    KEEP = "keep"
    """The change is merged and things were better with it."""
    INVESTIGATE = "investigate"
    """The change is merged and things were worse with it."""
    DECIDE_OTHERWISE = "decide_otherwise"
    """The history cannot tell what the change did, however many sessions come."""
    FIND_MISSING = "find_missing"
    CHANGE_STATISTIC = "change_statistic"
    CHANGE_METRIC = "change_metric"
    CHECK_SESSIONS = "check_sessions"
    """Nothing more comes in, and an arm is empty."""
    COLLECT = "collect"
    PLAN_LARGER = "plan_larger"
    """Nothing more comes in, and nothing is decided."""


_BY_HEADLINE = {
    Headline.SHIP: NextStep.SHIP,
    Headline.DO_NOT_SHIP: NextStep.DO_NOT_SHIP,
    Headline.BETTER: NextStep.KEEP,
    Headline.WORSE: NextStep.INVESTIGATE,
}
_BY_VERDICT = {
    Verdict.INVALID: NextStep.FIND_MISSING,
    Verdict.DEGENERATE: NextStep.CHANGE_STATISTIC,
    Verdict.PERCENT_UNDEFINED: NextStep.CHANGE_METRIC,
}


def choose_next_step(evaluation: Evaluation) -> NextStep:
    """Return what to do next; sessions are asked for only while the experiment runs and its window is open.

    >>> choose_next_step(analysis.evaluate("plan-first"))
    <NextStep.PLAN_LARGER: 'plan_larger'>
    """
    headline, history = evaluation.decision.headline, evaluation.history
    if headline in _BY_HEADLINE:
        return _BY_HEADLINE[headline]
    if history is not None and history.claim not in (Claim.TOO_EARLY, Claim.TOO_FEW, Claim.HOLDS):
        return NextStep.DECIDE_OTHERWISE
    if evaluation.verdict in _BY_VERDICT:
        return _BY_VERDICT[evaluation.verdict]
    if evaluation.experiment.state in (State.DRAFT, State.RUNNING) and not is_over(evaluation):
        return NextStep.COLLECT
    arms = evaluation.quality.control, evaluation.quality.treatment
    return NextStep.PLAN_LARGER if all(arm.sessions for arm in arms) else NextStep.CHECK_SESSIONS


def is_over(evaluation: Evaluation) -> bool:
    """Return whether the window had ended at the time of the evaluation.

    >>> is_over(analysis.evaluate("plan-first"))
    True
    """
    return evaluation.as_of_ms >= evaluation.window.end_ms
