"""How the arms of an experiment came about, in words, and which experiment would show the cause of a difference."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from kaizen_analytics.core.model import Delta
from kaizen_analytics.core.words import clean, join_lines
from kaizen_analytics.experiments.decide import Grade

if TYPE_CHECKING:
    from kaizen_analytics.experiments.decide import Decision
    from kaizen_analytics.experiments.evaluation import Evaluation

_GRADES = {
    None: "not recorded: this result was frozen before design grades were computed",
    Grade.RANDOMISED: "randomised: the arms were drawn by lot",
    Grade.CONCURRENT: (
        "concurrent: both arms ran at the same time, but people chose the arm of each session. Harder tasks or other "
        "people in one arm would explain a difference as well"
    ),
    Grade.BEFORE_AFTER: (
        "before/after: the arms are separated in time. Anything else that changed in that time would explain a "
        "difference as well, such as a new model, other tasks or a holiday"
    ),
}


def grade(made: Decision) -> str:
    """Return how the arms came about, and what else would explain a difference.

    >>> from kaizen_analytics.experiments.decide import Verdict, decide
    >>> grade(decide(Verdict.MET, [], Grade.RANDOMISED))
    'randomised: the arms were drawn by lot'
    """
    late = ". The rule was chosen after the data, so this is exploratory" if made.exploratory else ""
    return f"{_GRADES[made.grade]}{late}"


def grade_name(found: Grade | None, *, exploratory: bool = False) -> str:
    """Return the design grade in a word or two.

    >>> grade_name(Grade.BEFORE_AFTER, exploratory=True)
    'before/after, exploratory'
    """
    name = _GRADES[found].partition(":")[0]
    return f"{name}, exploratory" if exploratory else name


def settle(evaluation: Evaluation) -> str | None:
    """Return the command of the experiment that would show the cause; None where the arms were drawn by lot.

    >>> settle(analysis.evaluate("small-model")).partition(" --name")[0]
    'kaizen-analytics exp new'
    """
    if evaluation.decision.grade is Grade.RANDOMISED:
        return None
    experiment, wanted = evaluation.experiment, evaluation.experiment.success_criterion
    target = (
        f"--target-pct {wanted.signed_pct:g}" if isinstance(wanted, Delta) else f"--absolute {wanted.metric_value:g}"
    )
    guards = [
        f" --guardrail {spec.metric.column}:{spec.regression_direction.lower()}:{spec.threshold_pct:g}"
        for spec in experiment.guardrails
    ]
    name = shlex.quote(f"{join_lines(clean(experiment.name))}, by lot")
    return (
        f"kaizen-analytics exp new --name {name} --metric {experiment.metric.column} {target} --assign session "
        f"--split 50{''.join(guards)}"
    )
