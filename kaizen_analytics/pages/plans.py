"""What an experiment plans and how its arms come about, in words: before it starts, while it runs and in its report."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING

from kaizen_analytics.core.metrics import REGISTRY
from kaizen_analytics.core.model import (
    Binding,
    Branch,
    Classification,
    Delta,
    DesignKind,
    Direction,
    Experiment,
    GitCommit,
    GuardrailSpec,
    ManualTag,
    PromptFingerprint,
    WorkUnit,
)
from kaizen_analytics.core.words import (
    capitalised,
    clean,
    counted,
    format_day,
    format_given,
    format_share,
    join_lines,
    lowered,
)
from kaizen_analytics.experiments.assignment import PAST_DAYS, PastUnits
from kaizen_analytics.experiments.decide import Decision, Grade
from kaizen_analytics.experiments.plan import Cluster, Plan, Start
from kaizen_analytics.experiments.sample import not_drawn
from kaizen_analytics.stats.srm import RatioStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaizen_analytics.experiments.assignment import ArmContent
    from kaizen_analytics.experiments.evaluation import Evaluation
    from kaizen_analytics.experiments.plan import Unit
    from kaizen_analytics.stats import SampleRatio
    from kaizen_analytics.store.assignments import Draw


_DESIGNS = {
    DesignKind.FIXED: "one, at the end",
    DesignKind.PLANNED: "at any time, up to the planned sessions",
    DesignKind.OPEN: "at any time, without a planned number of sessions",
}


_UNITS = {
    WorkUnit.SESSION: "",
    WorkUnit.TASK: (
        "a task: a pull request, else a branch of its own, else a session; metrics are added up over its sessions"
    ),
    WorkUnit.DAY: "a day (UTC); metrics are added up over its sessions",
}


def describe(experiment: Experiment, plan: Plan) -> list[tuple[str, str]]:
    """Return what is tried and how it will be judged, in lines: what each is about, and its text; some are empty.

    >>> from kaizen_analytics.experiments.plan import Plan
    >>> lines = describe(evaluation.experiment, Plan())
    >>> dict(lines)["Arms"]
    'sessions tagged by hand, or by the value of plan_first'
    """
    window = f"{counted(experiment.duration_days, 'day')} from the start"
    if plan.started is not None:
        window = f"{format_day(plan.started.window_start_ms)} to {format_day(plan.started.window_end_ms)} (UTC)"
    resemble = f"sessions of one {plan.cluster.value} may resemble each other, so intervals are wider"
    if plan.cluster is Cluster.NONE:
        resemble = "sessions count as independent of each other"
    arms = _binding(experiment.binding, plan.started)
    if plan.randomisation is not None and plan.control_share is not None:
        arms = f"each {plan.randomisation.unit} is drawn by lot, {format_share(plan.control_share)} into control"
    planned = "" if plan.planned_n is None else f"{plan.planned_n:,} {plan.unit.plural} per arm"
    return [
        ("Hypothesis", experiment.hypothesis),
        ("Change", experiment.change_description),
        ("Success", capitalised(criterion(experiment).removeprefix("success: "))),
        ("Guardrails", "; ".join(guardrail_rule(spec) for spec in experiment.guardrails) or "none"),
        ("Arms", arms),
        ("Window", window),
        ("Workspaces", ", ".join(plan.workspaces) or "all"),
        ("Planned", planned),
        ("Analyses", f"{_DESIGNS[plan.design]}; error level of all together {format_given(100 * plan.alpha)}"),
        ("Compared", f"{plan.statistic.value}s of quantities; {resemble}"),
        ("Unit of work", _UNITS[plan.unit]),
        ("Cancelled", plan.cancelled or ""),
    ]


def guardrail_rule(spec: GuardrailSpec) -> str:
    r"""Return what a guardrail forbids.

    >>> from kaizen_analytics.experiments.draft import parse_guardrail
    >>> guardrail_rule(parse_guardrail("success_rate:decrease:5")).replace("\N{NO-BREAK SPACE}", " ")
    'Sessions without an error or interruption must not fall by more than 5 %'
    """
    verb = "rise" if spec.regression_direction is Direction.INCREASE else "fall"
    return f"{REGISTRY[spec.metric].label} must not {verb} by more than {format_given(spec.threshold_pct)}"


def _binding(found: Binding, started: Start | None) -> str:
    match found:
        case GitCommit(control_commit=control, treatment_commit=treatment):
            if started is not None:  # what a name such as HEAD~1 meant when it started
                control, treatment = started.control_ref or control, started.treatment_ref or treatment
            return f"sessions before and after a commit: control {control[:12]}, treatment {treatment[:12]}"
        case Branch(control_branch=control, treatment_branch=treatment):
            return f"sessions on two branches: control {control}, treatment {treatment}"
        case PromptFingerprint(control_fingerprint=control, treatment_fingerprint=treatment):
            return f"sessions under two sets of instructions: control {control[:12]}, treatment {treatment[:12]}"
        case ManualTag(variant_field=""):
            return "sessions tagged by hand"
        case ManualTag(variant_field=name):
            return f"sessions tagged by hand, or by the value of {name}"


def criterion(experiment: Experiment) -> str:
    """Return the success criterion of an experiment in words.

    >>> criterion(evaluation.experiment).partition(" falls")[0]
    'success: tokens per session'
    """
    definition = REGISTRY[experiment.metric]
    wanted = experiment.success_criterion
    if isinstance(wanted, Delta):
        verb = "rises" if wanted.direction is Direction.INCREASE else "falls"
        return f"success: {lowered(definition.label)} {verb} by at least {format_given(abs(wanted.target_pct))}"
    side = "at least" if definition.better is Direction.INCREASE else "at most"
    value = f"{wanted.metric_value:g} {definition.unit}"
    return f"success: {lowered(definition.label)} of the treatment is {side} {value}"


# How the arms came about.


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

    >>> settle(evaluation).partition(" --name")[0]
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


# Arms that are drawn by lot.


def past_units(unit: Unit, found: PastUnits) -> str:
    """Return what there was to draw, so that a unit which holds most of the sessions is seen before the start.

    >>> from kaizen_analytics.experiments.plan import Unit
    >>> from kaizen_analytics.experiments.assignment import PastUnits
    >>> past_units(Unit.BRANCH, PastUnits(n_units=30, n_sessions=500, largest=400))
    'The last 30 days had 30 branches to draw: 500 sessions, 400 of them in the largest.'
    """
    text = f"The last {PAST_DAYS} days had {found.n_units:,} {unit.plural if found.n_units != 1 else unit} to draw"
    if found.largest <= 1:
        return f"{text}."
    return f"{text}: {counted(found.n_sessions, 'session')}, {found.largest:,} of them in the largest."


def draws(found: Sequence[Draw]) -> str:
    """Return how many sessions were drawn into which arm, and how many take no part, with the reasons.

    >>> draws([])
    'no session yet'
    """
    arms = Counter(draw.arm for draw in found)
    drawn = arms[Classification.CONTROL] + arms[Classification.TREATMENT]
    units = Counter(draw.unit for draw in found if draw.arm is not None)
    text = "no session yet"
    if drawn:
        text = (
            f"{counted(drawn, 'session')} of {counted(len(units), 'unit')}: {arms[Classification.CONTROL]:,} control, "
            f"{arms[Classification.TREATMENT]:,} treatment"
        )
        largest = max(units.values())
        text += f", {largest:,} of them in the largest unit" if largest > 1 else ""
    reasons = Counter(not_drawn(draw.reason) for draw in found if draw.arm is None)
    left_out = ", ".join(f"{reason} ({count:,})" for reason, count in sorted(reasons.items()))
    return f"{text}; {left_out}" if left_out else text


def content(found: ArmContent) -> str:
    """Return what the sessions of an arm get.

    >>> from kaizen_analytics.experiments.assignment import ArmContent
    >>> content(ArmContent(file="CLAUDE.md", args=("--model", "haiku")))
    'the file CLAUDE.md; arguments --model haiku'
    """
    parts = [
        f"{len(found.text):,} characters of instructions" if found.text else "",
        f"the file {found.file}" if found.file else "",
        f"arguments {' '.join(found.args)}" if found.args else "",
        f"variables {', '.join(pair.partition('=')[0] for pair in found.env)}" if found.env else "",
        "settings of Claude Code" if found.settings else "",
    ]
    return "; ".join(part for part in parts if part) or "nothing more"


def how_to_take_part(experiment_id: str, contents: Mapping[str, ArmContent]) -> str:
    """Return what a colleague has to do to take part.

    >>> how_to_take_part("e1", {})
    "install the hook once with 'kaizen-analytics hooks install'"
    """
    text = "install the hook once with 'kaizen-analytics hooks install'"
    if any(content.needs_launch for content in contents.values()):
        text += f", and start the agent with 'kaizen-analytics run {experiment_id} -- claude …'"
    return text


def sample_ratio(ratio: SampleRatio) -> str:
    """Return whether the arms' sizes fit the declared split, in units where these were drawn.

    >>> from kaizen_analytics.stats import check_sample_ratio
    >>> sample_ratio(check_sample_ratio(0, 0))
    'No session has been assigned yet.'
    """
    unit, units = ratio.unit, "branches" if ratio.unit == "branch" else f"{ratio.unit}s"
    n = ratio.n_control + ratio.n_treatment
    if not n:
        return f"No {unit} has been assigned yet."
    observed = f"{ratio.n_treatment} of {n} {units} ({format_share(ratio.n_treatment / n)})"
    seen = f"The treatment holds {observed}; {format_share(ratio.expected_share)} were declared"
    if ratio.status is RatioStatus.INVALID:
        return (
            f"{seen}. Chance does not explain that (p = {ratio.p_value:.2g}): find out which {units} are missing "
            "before reading any result."
        )
    if ratio.status is RatioStatus.WARN:
        return f"{seen}. That is unusual (p = {ratio.p_value:.2g}): check how {units} were assigned."
    return f"{seen}. The split is as declared, within chance."
