"""What an experiment plans to do, in words: the same lines before it starts and in its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaizen_analytics.core.metrics import REGISTRY
from kaizen_analytics.core.model import Branch, DesignKind, Direction, GitCommit, ManualTag, PromptFingerprint, WorkUnit
from kaizen_analytics.core.words import capitalised, counted, format_day, format_given
from kaizen_analytics.experiments.plan import Cluster
from kaizen_analytics.pages import lots, sentences

if TYPE_CHECKING:
    from kaizen_analytics.core.model import Binding, Experiment, GuardrailSpec
    from kaizen_analytics.experiments.plan import Plan

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
    >>> lines = describe(analysis.evaluate("plan-first").experiment, Plan())
    >>> dict(lines)["Arms"]
    'sessions tagged by hand, or by the value of plan_first'
    """
    planned = "" if plan.planned_n is None else f"{plan.planned_n:,} {plan.unit.plural} per arm"
    return [
        ("Hypothesis", experiment.hypothesis),
        ("Change", experiment.change_description),
        ("Success", capitalised(sentences.criterion(experiment).removeprefix("success: "))),
        ("Guardrails", "; ".join(guardrail_rule(spec) for spec in experiment.guardrails) or "none"),
        ("Arms", lots.lot(plan) or _binding(experiment.binding)),
        ("Window", _window(experiment, plan)),
        ("Workspaces", ", ".join(plan.workspaces) or "all"),
        ("Planned", planned),
        ("Analyses", f"{_DESIGNS[plan.design]}; error level of all together {format_given(100 * plan.alpha)}"),
        ("Compared", f"{plan.statistic.value}s of quantities; {_cluster(plan)}"),
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


def _window(experiment: Experiment, plan: Plan) -> str:
    if plan.started is None:
        return f"{counted(experiment.duration_days, 'day')} from the start"
    return f"{format_day(plan.started.window_start_ms)} to {format_day(plan.started.window_end_ms)} (UTC)"


def _binding(binding: Binding) -> str:
    match binding:
        case GitCommit(control_commit=control, treatment_commit=treatment):
            return f"sessions before and after a commit: control {control[:12]}, treatment {treatment[:12]}"
        case Branch(control_branch=control, treatment_branch=treatment):
            return f"sessions on two branches: control {control}, treatment {treatment}"
        case PromptFingerprint(control_fingerprint=control, treatment_fingerprint=treatment):
            return f"sessions under two sets of instructions: control {control[:12]}, treatment {treatment[:12]}"
        case ManualTag(variant_field=""):
            return "sessions tagged by hand"
        case ManualTag(variant_field=name):
            return f"sessions tagged by hand, or by the value of {name}"


def _cluster(plan: Plan) -> str:
    if plan.cluster is Cluster.NONE:
        return "sessions count as independent of each other"
    return f"sessions of one {plan.cluster.value} may resemble each other, so intervals are wider"
