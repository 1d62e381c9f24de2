"""The life of an experiment: Draft -> Running -> Concluded -> Archived, and what freezes at each step.

`start` freezes the plan: resolved commits or branch tips, the rule, the window. `conclude` freezes the sample and the
evaluation; from then on `evaluate` returns that evaluation, to the digit. Archived is the end. Every step is one
transaction, so a crash leaves an experiment in the state before or after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics import __version__
from kaizen_analytics.errors import ExperimentError, StatisticsError
from kaizen_analytics.experiments.assessment import assess, choose_design, trim_to_plan
from kaizen_analytics.experiments.codec import freeze_evaluation, thaw_evaluation
from kaizen_analytics.experiments.plan import DAY_MS, Cluster, Plan, PlanDesign, Start
from kaizen_analytics.experiments.power import read_history
from kaizen_analytics.experiments.sample import Sample, read_sample, read_scope, restore_sample, sample_records
from kaizen_analytics.git import Repository
from kaizen_analytics.model import Branch, Classification, GitCommit, PromptFingerprint, State
from kaizen_analytics.stats.sequential import MIN_SEQUENTIAL_N
from kaizen_analytics.store.experiments import (
    get_experiment,
    load_experiment,
    require_unfrozen,
    tag_sessions,
    untag_session,
    write_experiment,
)
from kaizen_analytics.store.plans import load_plan, load_result, load_sample, write_plan, write_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.experiments.evaluation import Evaluation
    from kaizen_analytics.model import Experiment
    from kaizen_analytics.store import Store

_NEXT_STATES = {
    State.DRAFT: (State.RUNNING, State.ARCHIVED),
    State.RUNNING: (State.CONCLUDED,),
    State.CONCLUDED: (State.ARCHIVED,),
    State.ARCHIVED: (),
}
_LIBRARIES = ("duckdb", "numpy", "polars", "scipy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """A concluded experiment: its evaluation and the sample that it rests on."""

    evaluation: Evaluation
    sample: pl.DataFrame


def new_experiment(store: Store, experiment: Experiment, plan: Plan) -> None:
    """Store a draft and how it is to be judged.

    Raises:
        ExperimentError: the id is taken, the experiment is no draft, or its arms cannot be told apart.
    """
    _require_state(experiment, State.DRAFT, "created")
    _check_arms(experiment, plan)
    with store.write():
        if load_experiment(store, experiment.id) is not None:
            raise ExperimentError(f"An experiment with the id {experiment.id} exists; choose another id.")
        write_experiment(store, experiment)
        write_plan(store, experiment.id, plan.to_json(), None)


def get_plan(store: Store, experiment_id: str) -> Plan | None:
    """Return the plan of an experiment, or None when another tool made it."""
    record = load_plan(store, experiment_id)
    return None if record is None else Plan.from_json(record)


def start(
    store: Store,
    experiment_id: str,
    *,
    now_ms: int,
    at_ms: int | None = None,
    adopt: bool = False,
    planned_n: int | None = None,
    default_plan: Plan | None = None,
) -> Plan:
    """Start a draft and freeze its plan, or adopt an experiment that another tool started.

    Args:
        store: The open store.
        experiment_id: A draft; with `adopt`, a running experiment without a plan.
        now_ms: The time of the start.
        at_ms: A time in the past at which a retrospective experiment is taken to have started.
        adopt: Give a plan to an experiment that is running already; its window starts at `at_ms` or its creation.
        planned_n: Sessions per arm to plan for, instead of the draft's.
        default_plan: The plan of an experiment that has none (scope and repository of the caller).

    Raises:
        ExperimentError: the experiment cannot start; the message says what to change.
        RepositoryError: a commit or branch of its binding does not exist.
    """
    with store.write():
        experiment = get_experiment(store, experiment_id)
        stored = get_plan(store, experiment.id)
        _check_start(experiment, stored, now_ms=now_ms, at_ms=at_ms, adopt=adopt)
        plan = stored or default_plan or Plan()
        if planned_n is not None:
            plan = replace(plan, planned_n=planned_n)
        _check_arms(experiment, plan)
        plan = _freeze_plan(experiment, plan, now_ms=now_ms, at_ms=at_ms, adopt=adopt)
        plan = _plan_sessions(store, experiment, plan, now_ms)
        write_plan(store, experiment.id, plan.to_json(), now_ms)
        write_experiment(store, experiment.with_state(State.RUNNING, now_ms))
    return plan


def evaluate(store: Store, experiment_id: str, *, now_ms: int) -> Evaluation:
    """Judge an experiment on the sessions in the store; a concluded one as it was frozen.

    Raises:
        ExperimentError: the experiment has not started, or runs without a plan.
        RepositoryError: its repository cannot be read.
    """
    experiment = get_experiment(store, experiment_id)
    frozen = load_result(store, experiment.id)
    if frozen is not None:
        evaluation = thaw_evaluation(frozen)
        return replace(evaluation, experiment=replace(evaluation.experiment, state=experiment.state))
    with store.snapshot():
        evaluation, _ = _evaluate_live(store, experiment, now_ms)
    return evaluation


def conclude(store: Store, experiment_id: str, *, now_ms: int) -> Evaluation:
    """Freeze the sample and the evaluation of a running experiment.

    Raises:
        ExperimentError: the experiment is not running, or runs without a plan.
        RepositoryError: its repository cannot be read.
    """
    with store.write():
        experiment = get_experiment(store, experiment_id)
        _require_step(experiment, State.CONCLUDED)
        concluded = experiment.with_state(State.CONCLUDED, now_ms)
        evaluation, sample = _evaluate_live(store, concluded, now_ms)
        write_experiment(store, concluded)
        write_result(store, experiment.id, freeze_evaluation(evaluation), sample_records(sample), now_ms)
    return evaluation


def archive(store: Store, experiment_id: str, *, now_ms: int) -> Experiment:
    """Put a concluded experiment, or a mistyped draft, away; nothing follows.

    Raises:
        ExperimentError: the experiment is running or archived.
    """
    with store.write():
        experiment = get_experiment(store, experiment_id)
        _require_step(experiment, State.ARCHIVED)
        archived = experiment.with_state(State.ARCHIVED, now_ms)
        write_experiment(store, archived)
    return archived


def tag(
    store: Store,
    experiment_id: str,
    session_ids: Sequence[str],
    classification: Classification,
    *,
    now_ms: int,
) -> int:
    """Put sessions into an arm by hand and return how many were not in it before.

    Raises:
        ExperimentError: the experiment is neither a draft nor running.
        VariantConflictError: a session is tagged with another arm; nothing is changed.
    """
    experiment = _require_open(store, experiment_id)
    return tag_sessions(store, experiment.id, session_ids, classification, now_ms=now_ms)


def untag(store: Store, experiment_id: str, session_id: str, reason: str, *, now_ms: int) -> None:
    """Take a session's tag away; the removal and its reason are recorded.

    Raises:
        ExperimentError: the experiment is neither a draft nor running, or the session has no tag.
    """
    experiment = _require_open(store, experiment_id)
    untag_session(store, experiment.id, session_id, reason, now_ms=now_ms)


def load_frozen(store: Store, experiment_id: str) -> Frozen | None:
    """Return what `conclude` froze, or None for an experiment that is not frozen."""
    record = load_result(store, experiment_id)
    if record is None:
        return None
    return Frozen(evaluation=thaw_evaluation(record), sample=restore_sample(load_sample(store, experiment_id)))


def _require_state(experiment: Experiment, state: State, verb: str) -> None:
    if experiment.state is not state:
        raise ExperimentError(f"Experiment {experiment.id} is {experiment.state}; only a {state} can be {verb}.")


def _require_step(experiment: Experiment, state: State) -> None:
    possible = _NEXT_STATES[experiment.state]
    if state not in possible:
        steps = f"it can become {' or '.join(possible)}" if possible else "nothing follows"
        raise ExperimentError(f"Experiment {experiment.id} is {experiment.state} and cannot become {state}; {steps}.")


def _require_open(store: Store, experiment_id: str) -> Experiment:
    experiment = get_experiment(store, experiment_id)
    require_unfrozen(store, experiment.id)
    if experiment.state not in (State.DRAFT, State.RUNNING):
        raise ExperimentError(
            f"Experiment {experiment.id} is {experiment.state}; tags change only while it is Draft or Running.",
        )
    return experiment


def _check_start(
    experiment: Experiment,
    plan: Plan | None,
    *,
    now_ms: int,
    at_ms: int | None,
    adopt: bool,
) -> None:
    if adopt:
        _check_adopt(experiment, plan)
    elif experiment.state is not State.DRAFT:
        _require_step(experiment, State.RUNNING)
    if at_ms is not None and at_ms > now_ms:
        raise ExperimentError(
            "The start lies in the future; --at takes a time in the past, or leave it out to start now."
        )
    if experiment.duration_days < 1:
        raise ExperimentError(
            f"Experiment {experiment.id} has a duration of {experiment.duration_days} days; expected 1 or more.",
        )


def _check_adopt(experiment: Experiment, plan: Plan | None) -> None:
    if experiment.state is not State.RUNNING:
        raise ExperimentError(
            f"Experiment {experiment.id} is {experiment.state}; only a Running experiment of another tool is adopted.",
        )
    if plan is not None and plan.started is not None:
        raise ExperimentError(f"Experiment {experiment.id} has a plan already; there is nothing to adopt.")


def _check_arms(experiment: Experiment, plan: Plan) -> None:
    binding = experiment.binding
    if isinstance(binding, Branch) and binding.control_branch == binding.treatment_branch:
        raise ExperimentError(f"Both arms are the branch {binding.control_branch!r}; expected two branches.")
    if isinstance(binding, PromptFingerprint) and binding.control_fingerprint == binding.treatment_fingerprint:
        raise ExperimentError("Both arms have the same prompt fingerprint; expected two different ones.")
    if isinstance(binding, GitCommit) and plan.control_share is not None:
        raise ExperimentError(
            "Arms before and after a commit are not randomised, so no split can be declared; leave --split out.",
        )


def _freeze_plan(experiment: Experiment, plan: Plan, *, now_ms: int, at_ms: int | None, adopt: bool) -> Plan:
    began_ms = at_ms if at_ms is not None else experiment.created_at_ms if adopt else now_ms
    span_ms = experiment.duration_days * DAY_MS
    is_commit = isinstance(experiment.binding, GitCommit)
    lookback_days = plan.lookback_days if plan.lookback_days is not None else experiment.duration_days
    control_ref, treatment_ref = _resolve(experiment, plan)
    retrospective = at_ms is not None and not adopt
    started = Start(
        started_at_ms=now_ms,
        window_start_ms=began_ms - (lookback_days * DAY_MS if is_commit else 0),
        window_end_ms=began_ms + span_ms,
        control_ref=control_ref,
        treatment_ref=treatment_ref,
        retrospective=retrospective,
        adopted=adopt,
    )
    design = PlanDesign.FIXED if retrospective else plan.design
    rule = experiment.with_state(State.RUNNING, now_ms)
    return replace(
        plan,
        design=design,
        lookback_days=lookback_days if is_commit else None,
        rule=rule,
        started=started,
    )


def _resolve(experiment: Experiment, plan: Plan) -> tuple[str | None, str | None]:
    binding = experiment.binding
    if isinstance(binding, GitCommit):
        return _resolve_commits(binding, _repository(plan))
    if isinstance(binding, Branch) and plan.repository is not None:
        repository = _repository(plan)
        return repository.resolve_branch(binding.control_branch), repository.resolve_branch(binding.treatment_branch)
    return None, None


def _repository(plan: Plan) -> Repository:
    if plan.repository is None:
        raise ExperimentError(
            "A binding on commits needs the repository that has them; start the experiment inside that repository.",
        )
    return Repository.open(Path(plan.repository))


def _resolve_commits(binding: GitCommit, repository: Repository) -> tuple[str, str]:
    control = repository.resolve_commit(binding.control_commit)
    treatment = repository.resolve_commit(binding.treatment_commit)
    if control == treatment:
        raise ExperimentError(f"Control and treatment are the same commit {control}; expected two.")
    relation = repository.relate([treatment], [control, treatment])[treatment]
    if control in relation.ancestor_of:
        raise ExperimentError(
            f"The treatment commit {treatment} lies before the control commit {control}; exchange them.",
        )
    if control not in relation.descendant_of:
        raise ExperimentError(
            f"The control commit {control} is not an ancestor of the treatment commit {treatment}, so no session can "
            "be before one and after the other; choose two commits of one line of history.",
        )
    return control, treatment


def _plan_sessions(store: Store, experiment: Experiment, plan: Plan, now_ms: int) -> Plan:
    """Fill in the planned sessions per arm from today's rate, when the design needs them and nobody gave them."""
    if plan.design is not PlanDesign.PLANNED:
        return plan
    before_after = isinstance(experiment.binding, GitCommit)
    n_control = _count_control(store, experiment, plan) if before_after else None
    planned_n = plan.planned_n
    if planned_n is None:
        recent = read_recent(store, plan, now_ms, experiment.duration_days).height
        if not recent:
            raise ExperimentError(
                f"The last {experiment.duration_days} days hold no session of the planned workspaces, so the size of "
                "the experiment cannot be planned from them; give --planned-n, or plan it anew with --design open.",
            )
        planned_n = max(MIN_SEQUENTIAL_N, math.ceil(recent / (1 if before_after else 2)))
    if plan.planned_control_n is None and n_control is not None:
        n_control = max(MIN_SEQUENTIAL_N, n_control)
    return replace(
        plan,
        planned_n=planned_n,
        planned_control_n=plan.planned_control_n or n_control,
        design_effect=_expect_design_effect(store, experiment, plan, now_ms),
    )


def _expect_design_effect(store: Store, experiment: Experiment, plan: Plan, now_ms: int) -> float:
    """Return the design effect of past sessions; 1 where they cannot tell, which costs power and never errs more."""
    if plan.cluster is Cluster.NONE:
        return 1.0
    past = read_recent(store, plan, now_ms, experiment.duration_days)
    try:
        return max(read_history(past, experiment.metric, plan.cluster).design_effect, 1.0)
    except StatisticsError:
        return 1.0


def _count_control(store: Store, experiment: Experiment, plan: Plan) -> int:
    frame = read_sample(store, experiment, plan).frame
    return frame.filter(pl.col("variant") == Classification.CONTROL.value).height


def read_recent(store: Store, plan: Plan, now_ms: int, days: int) -> pl.DataFrame:
    """Return the root sessions in the plan's scope that started in the last `days` days, as `read_scope` does."""
    scope = read_scope(store, plan.workspaces)
    return scope.filter(pl.col("started_at_ms").is_between(now_ms - days * DAY_MS, now_ms))


def _evaluate_live(store: Store, experiment: Experiment, now_ms: int) -> tuple[Evaluation, pl.DataFrame]:
    plan, flags, warnings = _plan_of(store, experiment)
    judged = apply_rule(experiment, plan)
    if judged != experiment:
        warnings.append("The experiment was edited after it started; it is judged by the rule that was frozen then.")
    return judge_sample(judged, plan, read_sample(store, judged, plan), now_ms, warnings=warnings, flags=flags)


def judge_sample(
    experiment: Experiment,
    plan: Plan,
    sample: Sample,
    now_ms: int,
    *,
    warnings: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> tuple[Evaluation, pl.DataFrame]:
    """Return the evaluation of a sample as of `now_ms`, and the sample cut to the planned information.

    Raises:
        ExperimentError: the experiment has not started.
    """
    frame = trim_to_plan(sample.frame, choose_design(plan, now_ms))
    started = plan.started
    if started is None:
        raise ExperimentError(f"Experiment {experiment.id} has not started; run 'exp start {experiment.id}' first.")
    evaluation = assess(
        frame,
        experiment,
        plan,
        started,
        as_of_ms=now_ms,
        provenance=_provenance(plan, Sample(frame=frame)),
        warnings=[*warnings, *sample.warnings],
        flags=flags,
    )
    return evaluation, frame


def _plan_of(store: Store, experiment: Experiment) -> tuple[Plan, list[str], list[str]]:
    """Return the frozen plan; for a concluded experiment of another tool, one made up for a labelled recomputation."""
    plan = get_plan(store, experiment.id)
    if plan is not None and plan.started is not None:
        return plan, [], []
    if experiment.state is State.RUNNING:
        raise ExperimentError(
            f"Experiment {experiment.id} was started by another tool and has no plan; "
            f"give it one with 'kaizen-analytics exp start {experiment.id} --adopt'.",
        )
    if experiment.state is not State.CONCLUDED:
        raise ExperimentError(
            f"Experiment {experiment.id} is {experiment.state} and never started; "
            f"'kaizen-analytics exp start {experiment.id}' starts a draft.",
        )
    made_up = _freeze_plan(
        experiment,
        replace(plan or Plan(), design=PlanDesign.FIXED),
        now_ms=experiment.created_at_ms,
        at_ms=None,
        adopt=True,
    )
    return made_up, ["not_frozen"], ["Not frozen, recomputed: no sample was kept when this experiment was concluded."]


def apply_rule(experiment: Experiment, plan: Plan) -> Experiment:
    """Return the experiment with the rule that was frozen when it started."""
    rule = plan.rule
    if rule is None:
        return experiment
    return replace(
        experiment,
        metric=rule.metric,
        binding=rule.binding,
        success_criterion=rule.success_criterion,
        guardrails=rule.guardrails,
        duration_days=rule.duration_days,
    )


def _provenance(plan: Plan, sample: Sample) -> dict[str, str | int | float | None]:
    started = plan.started
    latest = sample.frame["started_at_ms"].max()
    return {
        "sample_sha256": sample.fingerprint,
        "data_as_of_ms": int(str(latest)) if latest is not None else None,
        "repository": plan.repository,
        "control_ref": None if started is None else started.control_ref,
        "treatment_ref": None if started is None else started.treatment_ref,
        "version_kaizen_analytics": __version__,
        **{f"version_{name}": metadata.version(name) for name in _LIBRARIES},
    }
