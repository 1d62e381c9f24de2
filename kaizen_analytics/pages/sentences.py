"""What the results of an experiment say in words: the only place that builds prose from them.

Results carry numbers and enumerations; every function here turns one of them into plain sentences for a reader who may
know no statistics. Numbers, percents and times are written by `core.words`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kaizen_analytics.core.metrics import REGISTRY
from kaizen_analytics.core.model import Absolute, Delta, Direction, Metric, State
from kaizen_analytics.core.words import (
    capitalised,
    counted,
    format_change,
    format_given,
    format_interval,
    format_moment,
    format_number,
    format_p_value,
    format_percent,
    format_share,
    listed,
    lowered,
)
from kaizen_analytics.experiments.decide import (
    IMPROVED,
    MIN_HISTORY_DAYS,
    Claim,
    Decision,
    Grade,
    GuardrailStatus,
    Headline,
    Verdict,
    gain_of,
    worst_of,
)
from kaizen_analytics.experiments.evaluation import (
    Caution,
    CautionKind,
    Evaluation,
    GuardrailResult,
    History,
    MetricResult,
    NextStep,
    TaskCheck,
    choose_next_step,
    is_over,
    percent_of,
)
from kaizen_analytics.experiments.lifecycle import MIN_DAYS_AFTER, Reach
from kaizen_analytics.experiments.power import REACH_DAYS, PowerTable, lies_beyond
from kaizen_analytics.pages import effect_text, plans
from kaizen_analytics.stats.srm import RatioStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kaizen_analytics.retro.retro import ExperimentLine
    from kaizen_analytics.stats import Effect, Interval
    from kaizen_analytics.stats.before_after import Drift, Placebo, StratifiedEffect

    Format = Callable[[float], str]

RULE = (
    "Ship when the success metric improves and every guardrail is shown to be within its tolerance; do not ship when a "
    "guardrail is violated, or when the success metric got worse or is shown not to reach its target. Only arms that "
    "were drawn by lot lead to either; with other arms, the report says what was seen and not what caused it."
)


# The verdict, the guardrails and the decision.


def result(found: MetricResult) -> str:
    """Return one metric's result in words.

    >>> result(evaluation.primary).partition(" went")[0]
    'Tokens per session: The typical session (median)'
    """
    seen = found.effect.percent or found.effect.difference
    away_from_zero = seen is not None and (seen.low > 0 or seen.high < 0)
    return f"{found.label}: {effect_text.effect(found.effect, is_one_of_many=away_from_zero and not found.is_clear)}"


def judgement(evaluation: Evaluation, *, brief: bool = False) -> str:
    """Return what an experiment showed about its success criterion; `brief` where its change stands beside it.

    >>> judgement(evaluation).rpartition(". ")[2].replace("\N{NO-BREAK SPACE}", " ")
    'The data are compatible with no improvement and with a fall of at least 15 %.'
    """
    verdict, primary = evaluation.verdict, evaluation.primary
    criterion = evaluation.experiment.success_criterion
    if verdict is Verdict.INVALID:
        ratio, claim = evaluation.quality.sample_ratio, evaluation.decision.claim
        return (
            plans.sample_ratio(ratio) if ratio and claim is not Claim.NOT_COMPARABLE else "The arms cannot be compared."
        )
    if verdict is Verdict.INSUFFICIENT_DATA:
        return effect_text.no_interval(primary.effect)
    if verdict is Verdict.DEGENERATE:
        return effect_text.degeneracy(primary.effect)
    if isinstance(criterion, Absolute):
        return _absolute(verdict, primary.effect, criterion.metric_value, primary.better)
    percent = evaluation.percent
    if percent is None or primary.effect.percent is None:
        return f"The target cannot be judged: {lowered(effect_text.no_percent(primary.effect))}"
    seen, follows = _delta(evaluation, percent, criterion)
    return follows if brief else f"{seen} {follows}"


def _delta(evaluation: Evaluation, percent: Interval, criterion: Delta) -> tuple[str, str]:
    """Return what the data show, and what follows from it for the target."""
    verdict, found = evaluation.verdict, evaluation.primary.effect
    target = abs(criterion.target_pct)
    wanted = _change_word(criterion.direction)
    goal = f"{wanted} of at least {format_given(target)}" if target else f"any {wanted[2:]}"
    when = " so far" if found.design.sequential else ""
    seen = f"The data{when} show {_seen(percent, criterion.direction)} ({_between(found, percent, format_change)})."
    if _is_withheld(evaluation.decision, verdict):
        return seen, "The target is judged only where a difference after the change is claimed."
    consequences = {
        Verdict.MET: f"The target of {goal} is reached",
        Verdict.REGRESSED: "Things got worse: revert the change, or find out why",
        Verdict.NO_EFFECT: "The difference is too small to matter: treat the change as without effect",
        Verdict.IMPROVED_TARGET_PLAUSIBLE: f"Things improved, but {goal} is not proven",
        Verdict.IMPROVED_BELOW_TARGET: f"Things improved, but by less than the target of {goal}",
        Verdict.INCONCLUSIVE: f"The data are compatible with no improvement and with {goal}",
        Verdict.TARGET_EXCLUDED: f"{capitalised(goal)} is ruled out and no improvement is shown: try another change",
    }
    return seen, f"{consequences[verdict]}."


def _absolute(verdict: Verdict, found: Effect, value: float, better: Direction) -> str:
    interval = found.treatment.interval
    form = format_share if found.kind.is_share else format_number
    target = f"The target of {'at least' if better is Direction.INCREASE else 'at most'} {form(value)}"
    end = {Verdict.MET: "is reached", Verdict.TARGET_EXCLUDED: "is missed: drop the target, or try another change"}.get(
        verdict, "may or may not be reached"
    )
    if interval is None:
        return f"{target} {end}."
    measured = f"The treatment arm alone is at {form(interval.estimate)} ({_between(found, interval, form)})"
    return f"{measured}. {target} {end}."


def _change_word(direction: Direction) -> str:
    return "a rise" if direction is Direction.INCREASE else "a fall"


def _seen(percent: Interval, direction: Direction) -> str:
    gain = gain_of(percent, direction).estimate
    if gain == 0:
        return "no change"
    rising = (gain > 0) == (direction is Direction.INCREASE)
    return f"{'a rise' if rising else 'a fall'} of {format_percent(abs(gain))}"


def _between(found: Effect, interval: Interval, form: Format) -> str:
    level = f"{format_given(100 * found.level)} interval"
    if math.isinf(interval.low) and math.isinf(interval.high):
        return f"{level} without limits yet"
    return f"{level} {format_interval(interval.low, interval.high, form)}"


def guardrail(found: GuardrailResult) -> str:
    """Return what happened to a metric that must not get worse.

    >>> guardrail(evaluation.guardrails[0]).partition(":")[0]
    'Cost per session is open'
    """
    spec, label = found.spec, found.result.label
    feared = _change_word(spec.regression_direction)
    tolerated = format_given(abs(spec.threshold_pct))
    worst = worst_of(spec, found.percent)
    limit = "" if worst is None or math.isinf(worst) else f" (at worst {format_percent(max(worst, 0.0))})"
    if found.p_adjusted is None:
        compared = found.result.effect
        why = effect_text.no_interval(compared) if compared.degeneracy is None else effect_text.degeneracy(compared)
        return f"{label} is open: {lowered(why)}"
    if found.status is GuardrailStatus.VIOLATED:
        return f"{label} shows {feared} beyond chance{limit}. Only {tolerated} is tolerated: find out why first."
    if found.status is GuardrailStatus.PASSED:
        return f"{label} is safe: {feared} of more than {tolerated} is ruled out{limit}."
    if worst is None:
        return (
            f"{label} is open: without a percent change, {feared} of more than {tolerated} cannot be judged. Look at "
            "the difference."
        )
    return f"{label} is open: {feared} of more than {tolerated} cannot be ruled out{limit}."


def decision(made: Decision, verdict: Verdict) -> str:
    """Return what to do with the change, and why.

    >>> from kaizen_analytics.experiments.decide import decide
    >>> decision(decide(Verdict.MET, [], Grade.RANDOMISED), Verdict.MET)
    'Ship: the success metric improved; no guardrail was set.'
    """
    first, why = headline(made, verdict), reason(made, verdict)
    return f"{first}. {capitalised(why)}." if "; " in first else f"{first}: {why}."


def headline(made: Decision, verdict: Verdict) -> str:
    """Return what to do with the change, in a few words.

    >>> from kaizen_analytics.experiments.decide import decide
    >>> headline(decide(Verdict.MET, [], Grade.BEFORE_AFTER, moved=Direction.DECREASE), Verdict.MET)
    'Lower after the change; the cause is not shown'
    """
    if made.headline is Headline.SHIP:
        return "Ship"
    if made.headline is Headline.DO_NOT_SHIP:
        return "Do not ship"
    if made.headline in (Headline.BETTER, Headline.WORSE):
        return _observed(made)
    if made.claim is not None and _is_withheld(made, verdict):
        return _CLAIM_HEADLINES[made.claim]
    if verdict is Verdict.INVALID:
        return "Do not decide on these data"
    return "Do not ship yet" if verdict in IMPROVED and made.grade in (None, Grade.RANDOMISED) else "Do not decide yet"


def _observed(made: Decision) -> str:
    """Return which difference was seen, without naming a cause."""
    when = "after" if made.grade is Grade.BEFORE_AFTER else "with"
    seen = "A guardrail got worse" if made.violated else _MOVED[made.moved]
    why = "the rule was chosen after the data" if made.grade is Grade.RANDOMISED else "the cause is not shown"
    return f"{seen} {when} the change; {why}"


_MOVED = {Direction.INCREASE: "Higher", Direction.DECREASE: "Lower", None: "On target"}


def reason(made: Decision, verdict: Verdict) -> str:
    """Return why a decision was made, as the end of a sentence.

    >>> from kaizen_analytics.experiments.decide import decide
    >>> reason(decide(Verdict.REGRESSED, [], Grade.RANDOMISED), Verdict.REGRESSED)
    'the success metric got worse'
    """
    if verdict is Verdict.INVALID and not _is_withheld(made, verdict):
        return "the sessions are not split between the arms as declared"
    if made.violated:
        return f"{_named(made.violated)} got worse beyond chance"
    return _claim_reason(made) if _is_withheld(made, verdict) else _primary_reason(made, verdict)


def _primary_reason(made: Decision, verdict: Verdict) -> str:
    if made.opposed or verdict not in IMPROVED:
        return _OPPOSED if made.opposed else _REASONS[verdict]
    if made.split_tasks:
        return _SPLIT_TASKS
    if made.unresolved:
        return f"the success metric improved, but {_named(made.unresolved)} may have got worse"
    safe = " and every guardrail is within its tolerance" if made.n_guardrails else "; no guardrail was set"
    return f"the success metric improved{_SHORTFALL[verdict]}{safe}"


_OPPOSED = "the typical and the average session moved in opposite directions, both beyond chance"
_SPLIT_TASKS = (
    "the success metric improved per session, but a task takes another number of sessions with the change, and its "
    "total is not shown to be better"
)
_REASONS = {
    Verdict.REGRESSED: "the success metric got worse",
    Verdict.NO_EFFECT: "the success metric did not change by an amount that matters",
    Verdict.TARGET_EXCLUDED: "the success metric shows no improvement and its target is ruled out",
    Verdict.INSUFFICIENT_DATA: "there are not enough sessions",
    Verdict.PERCENT_UNDEFINED: "the success metric has no percent change",
    Verdict.DEGENERATE: "the interval of the success metric decides nothing",
    Verdict.INCONCLUSIVE: "the success metric may or may not have improved",
}
_SHORTFALL = {
    Verdict.MET: "",
    Verdict.IMPROVED_TARGET_PLAUSIBLE: ", though its target is not proven",
    Verdict.IMPROVED_BELOW_TARGET: ", though by less than its target",
}


def _named(metrics: Sequence[Metric]) -> str:
    # runs from elsewhere have metrics of their own
    return listed([lowered(REGISTRY[metric].label) if metric in REGISTRY else metric for metric in metrics])


# What the history says about arms that are separated in time.


_CLAIM_HEADLINES = {
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
_CLAIM_REASONS = {
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


def _is_withheld(made: Decision, verdict: Verdict) -> bool:
    """Return whether a difference is not claimed because of the arms' history, and not because of their sizes."""
    lost = verdict is Verdict.INVALID and made.claim is not Claim.NOT_COMPARABLE
    return made.claim not in (None, Claim.HOLDS) and not lost


def _claim_reason(made: Decision) -> str:
    """Return why a difference is not claimed, as the end of a sentence."""
    if made.claim in _CLAIM_REASONS:
        return _CLAIM_REASONS[made.claim]
    if not made.changed:
        return "no kind of session (model, agent and workspace) is in both arms often enough"
    return f"the {listed(made.changed)} changed with the change, so the arms hold different kinds of session"


def history(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return what the history of the metric says about the difference: what each line is about, and its text.

    >>> history(evaluation)
    []
    """
    past = evaluation.history
    if past is None:
        return []
    placebo, drift, bound = past.found.placebo, past.found.drift, past.found.bound
    # how the history changes by itself, beside the steady change that would explain the difference
    line = [] if drift is None else [_movement(drift)]
    if bound is not None:
        more = f"; {_change(bound.significance)} a week would make the difference unclear" if bound.significance else ""
        line.append(f"To explain the difference, it would have to change by {_change(bound.all)} a week{more}.")
    step = ""
    if drift is not None:
        size = f"{_change(drift.step)} (p = {format_p_value(drift.p_value)})"
        step = f"With slope and wander allowed for, the step at the change is {size}."
    elsewhere, other = list[str](), past.elsewhere
    if other is not None:
        where = f"In other workspaces, on the same dates ({counted(other.sessions, 'session')})"
        elsewhere.append(f"{where}: {_limits(other.effect, 1 - evaluation.alpha)}.")
    told = [
        *(f"The {item.column} was {item.control} before and {item.treatment} after." for item in past.mismatches),
        *_standardised(past, 1 - evaluation.alpha),
        *elsewhere,
    ]
    return [
        *(("History", text) for text in told),
        *([] if placebo is None else [("Placebo", _placebo(placebo))]),
        *(("Drift", text) for text in (" ".join(line), step) if text),
    ]


def _standardised(past: History, level: float) -> list[str]:
    effect, crude = past.found.effect, past.found.crude
    if effect is None:
        return []
    found = []
    if len(effect.common) > 1:
        apart = "" if crude is None else f" Without that it is {_change(crude.log_ratio)}."
        kinds = counted(len(effect.common), "kind")
        found.append(f"Standardised over {kinds} of session: {_limits(effect, level)}.{apart}")
    if effect.coverage < _COVERED:
        kinds = "; ".join(past.kinds)
        found.append(f"This holds for {kinds}: {format_share(effect.coverage)} of the sessions of an arm.")
    return found


def _placebo(placebo: Placebo) -> str:
    dates, times = counted(placebo.dates, "other date"), counted(placebo.as_large, "time")
    return f"At {dates}, a jump of this size was seen {times} (windows of {placebo.window_days} days)."


def _movement(drift: Drift) -> str:
    low, high = (100 * math.expm1(drift.slope + side * drift.slope_error) for side in (-_Z, _Z))
    wander = format_percent(100 * math.expm1(drift.wander))
    slope = f"{_change(drift.slope)} a week ({format_interval(low, high)})"
    return f"This history changes by {slope}, and its weekly level wanders by {wander}."


def _limits(effect: StratifiedEffect, level: float) -> str:
    percent = percent_of(effect)
    if percent is None:
        raise ValueError("An effect has a percent change.")
    limits = format_interval(percent.low, percent.high)
    return f"{format_change(percent.estimate)} ({format_given(100 * level)} interval {limits})"


def _change(log_ratio: float) -> str:
    return format_change(100 * math.expm1(log_ratio))


# Whether the numbers can be trusted.


def flags(evaluation: Evaluation) -> list[str]:
    """Return what a reader should know about the life of an experiment.

    >>> flags(evaluation)
    []
    """
    said = {"retrospective"} if evaluation.decision.exploratory else set()  # the design says so
    return [_FLAGS[flag] for flag in evaluation.flags if flag in _FLAGS and flag not in said]


_FLAGS = {
    "retrospective": (
        "Retrospective: the rule was chosen after the data, so treat this as exploratory and confirm it with an "
        "experiment."
    ),
    "adopted": "Adopted: another tool started this experiment; its plan was fixed later.",
    "not_frozen": "Not frozen: no sample was kept when it was concluded; the numbers were recomputed.",
    "edited": "Edited: the experiment was changed after it started; it is judged by the rule that was frozen then.",
    "covariate": (
        "Adjusted for the success metric of the same users or workspaces before the start; 'exp new --no-covariate' "
        "turns that off."
    ),
    "interim_look": (
        "Interim analysis: the fixed design is analysed at the end; until then a wider, sequential level is used."
    ),
}


def warnings(evaluation: Evaluation) -> list[str]:
    """Return everything that makes the numbers of an evaluation less certain than they look.

    >>> warnings(evaluation)
    []
    """
    quality, control, treatment = evaluation.quality, evaluation.quality.control, evaluation.quality.treatment
    wanted, ratio = evaluation.experiment.success_criterion, quality.sample_ratio
    return [
        *(_caution(item, evaluation) for item in quality.cautions),
        *([_contradiction(wanted)] if isinstance(wanted, Delta) and wanted.is_contradictory else []),
        *(
            []
            if ratio is None or ratio.status is RatioStatus.OK
            else [f"Sample ratio: {lowered(plans.sample_ratio(ratio))}"]
        ),
        *_tasks(quality.tasks, evaluation.primary.label),
        *effect_text.imbalance(
            "responses with an unreliable output count", control.unreliable_share, treatment.unreliable_share
        ),
        *effect_text.imbalance(
            "sessions without a value of the metric", control.missing_share, treatment.missing_share
        ),
        *(
            f"{counted(count, noun)} {sentence}."
            for field, noun, sentence in _MARKED
            if (count := getattr(control, field) + getattr(treatment, field))
        ),
    ]


def _caution(item: Caution, evaluation: Evaluation) -> str:
    sessions, candidates = counted(item.count, "session"), evaluation.quality.candidates
    if item.kind is not CautionKind.NOT_DRAWN:
        cluster, tags = evaluation.plan.cluster.value, counted(item.count, "tag")
        tagged = counted(item.count, "tagged session")
        return _CAUTIONS[item.kind].format(
            sessions=sessions, tagged=tagged, tags=tags, cluster=cluster, stores=item.count
        )
    exposure = 1 - item.count / candidates
    consequence = (
        "The reasons are among those of the excluded sessions."
        if exposure >= _ENOUGH_EXPOSURE
        else "Find out why before reading any result: a draw that fails more often in one arm biases it."
    )
    return (
        f"No lot was drawn for {item.count:,} of {counted(candidates, 'session')} in scope (exposure "
        f"{format_share(exposure)}). {consequence}"
    )


_ENOUGH_EXPOSURE = 0.95
"""Share of the sessions in scope that a lot should be drawn for."""
_CAUTIONS = {
    CautionKind.CONFLICTING_DRAWS: "{sessions} tagged by hand with another arm than the lot's: the lot counts.",
    CautionKind.WAITING_TAGS: "Not counted: {tagged} that the store does not hold (yet).",
    CautionKind.DELEGATED_TAGS: (
        "Without effect: {tags} of sub-agents, which count with the session that started them. Tag that session."
    ),
    CautionKind.UNKNOWN_CLUSTERS: "{sessions} without a recorded {cluster} count as one {cluster}.",
    CautionKind.CONFLICTING_TAGS: "{sessions} tagged with one arm here and another there count in none.",
    CautionKind.CONFLICTING_RULES: (
        "{stores} stores export this experiment, not all with the same rule; one rule was used."
    ),
    CautionKind.RECOMPUTED: (
        "Recomputed from the lake. The store that concluded the experiment holds what was frozen."
    ),
}


def tasks(evaluation: Evaluation) -> str:
    """Return how many sessions a task takes in each arm; empty where nobody can tell.

    >>> tasks(evaluation)
    '1 session per task in the control arm, 1 in the treatment arm'
    """
    found = evaluation.quality.tasks
    if found is None:
        return ""
    control, treatment = format_number(found.control_sessions), format_number(found.treatment_sessions)
    noun = "session" if found.control_sessions == 1 else "sessions"
    return f"{control} {noun} per task in the control arm, {treatment} in the treatment arm"


def _tasks(found: TaskCheck | None, label: str) -> list[str]:
    if found is None or found.total is None:
        return []
    percent, seen = found.total.percent, "cannot be compared"
    noun = "session" if found.control_sessions == 1 else "sessions"
    if percent is not None:
        limits = _between(found.total, percent, format_change)
        seen = f"changed by {format_change(percent.estimate)} ({limits})"
    return [
        (
            f"A task takes {format_number(found.control_sessions)} {noun} in the control arm and "
            f"{format_number(found.treatment_sessions)} in the treatment arm, so a cheaper session need not be a "
            f"cheaper task. {label}, added up per task, {seen}."
        )
    ]


def _contradiction(wanted: Delta) -> str:
    return (
        f"The criterion says {wanted.direction.lower()} but its target is {format_change(wanted.target_pct)}. The "
        f"direction decides, so it is read as {_change_word(wanted.direction)} of at least "
        f"{format_given(abs(wanted.target_pct))}."
    )


_MARKED = (
    ("dirty_sessions", "session", "started with uncommitted changes, which their commit does not show"),
    ("inferred_commits", "session", "ran at a commit that was inferred from the repository's history, not recorded"),
    ("side_branch_sessions", "control session", "ran on a side branch that does not contain the change"),
)
"""What is said of the sessions of both arms that a field counts."""


def next_actions(evaluation: Evaluation) -> list[str]:
    """Return what to do next, the most important first.

    >>> next_actions(evaluation)[0]
    "The experiment is over: plan a larger one ('kaizen-analytics exp power' says how large)."
    """
    experiment = evaluation.experiment
    actions = [_advice(choose_next_step(evaluation), evaluation)]
    decided = evaluation.decision.headline is not Headline.UNDECIDED
    if experiment.state is State.RUNNING and (decided or is_over(evaluation)):
        actions.append(f"Freeze the result: kaizen-analytics exp conclude {experiment.id}")
    if warnings(evaluation):
        actions.append("Read the warnings on data quality before quoting a number.")
    if (command := plans.settle(evaluation)) is not None:
        actions.append(
            f"To show the cause, draw the arms by lot; add what they get, such as --treatment-file: {command}"
        )
    return actions


_STEPS = {
    NextStep.SHIP: "Ship the change.",
    NextStep.DO_NOT_SHIP: "Do not ship the change as it is; revert it or try another one.",
    NextStep.KEEP: "Keep the change; do not quote the difference as its effect.",
    NextStep.INVESTIGATE: "Look into it: find out what else changed before you revert the change.",
    NextStep.DECIDE_OTHERWISE: (
        "Decide by other reasons whether to keep the change: these data cannot tell what it did."
    ),
    NextStep.FIND_MISSING: "Find out which sessions are missing, then start a new experiment.",
    NextStep.CHANGE_STATISTIC: "Plan the experiment with --statistic mean, or with another metric.",
    NextStep.CHANGE_METRIC: "Judge this metric by its difference, or choose one whose control is above zero.",
    NextStep.PLAN_LARGER: ("The experiment is over: plan a larger one ('kaizen-analytics exp power' says how large)."),
}


def _advice(step: NextStep, evaluation: Evaluation) -> str:
    if step is NextStep.COLLECT:
        return f"Collect more sessions until {format_moment(evaluation.window.end_ms)}, then evaluate again."
    if step is not NextStep.CHECK_SESSIONS:
        return _STEPS[step]
    quality = evaluation.quality
    empty = [name for name, arm in (("control", quality.control), ("treatment", quality.treatment)) if not arm.sessions]
    return (
        f"The {' and the '.join(empty)} arm {'has' if len(empty) == 1 else 'have'} no session, out of "
        f"{quality.candidates:,} in the window and workspaces: check whether the sessions were read "
        "('kaizen-analytics ingest'), and whether the arms are what you meant."
    )


# Plans.


def reach(found: Reach) -> str | None:
    """Return what a starting experiment has to expect if too few sessions come in; None if enough do.

    >>> from kaizen_analytics.experiments.lifecycle import Reach
    >>> reach(Reach(planned=(60, 60), expected=(5, 40), minimum=10, days=14)).partition(":")[0]
    'Too few sessions for any judgement'
    """
    if found.is_reached:
        return None
    if found.history_days is not None:
        return (
            f"No difference will be claimed. Arms before and after a change need {MIN_HISTORY_DAYS} days of history "
            f"before it, {MIN_DAYS_AFTER} days after it, and {found.minimum} sessions in each arm. This plan has "
            f"{counted(found.history_days, 'day')} of history, {counted(found.days, 'day')} after the change, "
            f"{counted(found.expected[0], 'control session')}, and, at the rate of the last days, "
            f"{counted(found.expected[1], 'treatment session')}. Draw the arms by lot instead "
            "('kaizen-analytics exp new --assign session')."
        )
    rate = (
        f"at the rate of the last {counted(found.days, 'day')}, {found.expected[0]:,} control and "
        f"{found.expected[1]:,} treatment sessions come in until the end of the window"
    )
    if not found.is_judged:
        return (
            f"Too few sessions for any judgement: {rate}, and each arm needs {found.minimum}. Plan a longer experiment "
            "(--duration-days), more workspaces, or a longer look back (--lookback-days)."
        )
    return (
        f"The plan will not be reached: {rate}; {found.planned[0]:,} and {found.planned[1]:,} are planned. The "
        f"experiment is judged at the end of the window with {100 * found.information:.0f}\N{NO-BREAK SPACE}% of the "
        "planned information, and finds only larger changes."
    )


def power(table: PowerTable) -> str:
    """Return what an experiment of the size of the history finds.

    >>> power(power_table).partition(",")[0]
    'With as many sessions as the last 21 days (156 per arm)'
    """
    size = f"With as many sessions as the last {counted(table.days, 'day')} ({table.per_arm:,} per arm), an experiment"
    if table.after_days is not None:
        past = f"{counted(table.days, 'day')} of history and {counted(table.after_days, 'day')} after the change"
        size = f"With {past}, a comparison before and after it"
    cases = f"in {100 * table.power:.0f} of 100 cases"
    if table.detectable_pct is None:
        return f"{size} decides rightly about no change of the table {cases}. {_remedies(table)}"
    found = f"{size} decides rightly about a change of about {format_change(table.detectable_pct)} or more {cases}."
    out_of_reach = [row for row in table.rows if row.n_per_arm is None and lies_beyond(row.true_pct, table.target_pct)]
    return f"{found} {_remedies(table)}" if out_of_reach else found


def _remedies(table: PowerTable) -> str:
    return _POWER_REMEDIES if table.after_days is None else _LOT_REMEDY


_LOT_REMEDY = (
    "The history moves too much by itself for the smaller changes, however long they are followed. Draw the arms by "
    "lot ('exp new --assign session'): 'exp power' without --bind says how large that has to be."
)
_POWER_REMEDIES = (
    f"Within {REACH_DAYS} days the number of sessions alone does not settle the smaller changes. More workspaces or "
    "users would, or a metric that varies less; arms drawn by lot are also adjusted for their past."
)


def power_scope(table: PowerTable) -> str:
    """Return what the probabilities of a power table are of.

    >>> power_scope(power_table).partition(":")[0]
    'Simulated'
    """
    parts = ["the success metric", "its companion"]
    parts += [counted(table.guardrails, "guardrail")] if table.guardrails else []
    if table.after_days is not None:
        return (
            f"Simulated: {table.simulations} histories for each change (standard error: at most {table.error_pct:.1f} "
            "points), drawn from the days of this one and from how far its weeks wander, and decided by the whole rule "
            f"for arms before and after a change, with {listed(parts)}. The range is that of other histories like this "
            "one, which may differ from it by 30 points. Arms drawn by lot need less."
        )
    return (
        f"Simulated: {table.simulations} experiments for each change (standard error: at most {table.error_pct:.1f} "
        f"points), with arms drawn by lot from these sessions and decided by the rule of {listed(parts)}. The ranges "
        "are those of resampled histories: what the same size gives if this history is not quite like the next weeks. "
        "Arms before and after a change need more (--bind git)."
    )


def experiment(found: ExperimentLine) -> str:
    """Return what an experiment of a retro shows, or why it cannot be evaluated.

    >>> experiment(retro.experiments[0]).partition(":")[0]
    'Do not decide yet'
    """
    if found.evaluation is None:
        return f"Cannot be evaluated: {found.problem}"
    return f"{decision(found.evaluation.decision, found.evaluation.verdict)} {judgement(found.evaluation)}"
