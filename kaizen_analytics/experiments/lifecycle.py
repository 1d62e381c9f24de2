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
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics import __version__
from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ConfigError, ExperimentError, RecordError, RepositoryError
from kaizen_analytics.core.git import Repository
from kaizen_analytics.core.model import (
    Branch,
    Classification,
    DesignKind,
    GitCommit,
    ManualTag,
    PromptFingerprint,
    State,
    WorkUnit,
)
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.assess import assess, choose_design, trim_to_plan
from kaizen_analytics.experiments.assignment import freeze_randomisation
from kaizen_analytics.experiments.compare import add_up
from kaizen_analytics.experiments.decide import MIN_HISTORY_DAYS, decide
from kaizen_analytics.experiments.draft import check_draft
from kaizen_analytics.experiments.evaluation import Evaluation
from kaizen_analytics.experiments.plan import Cluster, Plan, Start, get_plan
from kaizen_analytics.experiments.power import expected_design_effect
from kaizen_analytics.experiments.sample import Sample, read_sample, read_scope, restore_sample, sample_records
from kaizen_analytics.stats.before_after import MIN_SESSIONS, MIN_WEEKS_AFTER
from kaizen_analytics.stats.sequential import MIN_SEQUENTIAL_N
from kaizen_analytics.store.assignments import write_arms
from kaizen_analytics.store.experiments import (
    get_experiment,
    load_experiment,
    load_result,
    load_sample,
    manual_tags,
    require_unfrozen,
    tag_sessions,
    untag_session,
    write_experiment,
    write_plan,
    write_result,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaizen_analytics.core.model import Experiment
    from kaizen_analytics.experiments.assignment import ArmContent
    from kaizen_analytics.experiments.evaluation import Caution
    from kaizen_analytics.store import Store

_NEXT_STATES = {
    State.DRAFT: (State.RUNNING, State.ARCHIVED),
    State.RUNNING: (State.CONCLUDED,),
    State.CONCLUDED: (State.ARCHIVED,),
    State.ARCHIVED: (),
}
_LIBRARIES = ("duckdb", "numpy", "polars", "scipy")
_FORMAT = 3
"""Version of a frozen evaluation; the first kept sentences instead of their reasons, the second knew no grade."""


def new_experiment(
    store: Store, experiment: Experiment, plan: Plan, arms: Mapping[Classification, ArmContent] | None = None
) -> None:
    """Store a draft, how it is to be judged, and what the sessions of each arm get where arms are drawn by lot.

    Raises:
        ConfigError: the experiment makes no sense, or its arms cannot be told apart.
        ExperimentError: the id is taken, or the experiment is no draft.

    >>> new_experiment(writable, replace(experiment, id="e1", state=State.DRAFT), Plan(design=DesignKind.FIXED))
    >>> start(writable, "e1", now_ms=1).started.window_end_ms == experiment.duration_days * DAY_MS + 1
    True
    """
    _require_state(experiment, State.DRAFT, "created")
    _check_draft(experiment, plan)
    with store.write():
        if load_experiment(store, experiment.id) is not None:
            raise ExperimentError(f"An experiment with the id {experiment.id} exists; choose another id.")
        write_experiment(store, experiment)
        write_plan(store, experiment.id, codec.store(plan), None)
        write_arms(store, experiment.id, {arm.value: codec.write(content) for arm, content in (arms or {}).items()})


def edit(
    store: Store, experiment_id: str, changes: Mapping[str, Any], plan_changes: Mapping[str, Any]
) -> tuple[Experiment, Plan]:
    """Change a draft and return it with its plan; what has started is judged by the rule that was frozen.

    Raises:
        ConfigError: the changed experiment makes no sense.
        ExperimentError: the experiment is no draft.

    >>> edit(writable, "plan-first", {"name": "Plan"}, {})
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ExperimentError: Experiment plan-first is Concluded, not Draft; it cannot be edited.
    """
    with store.write():
        experiment = get_experiment(store, experiment_id)
        _require_state(experiment, State.DRAFT, "edited")
        edited = replace(experiment, **changes)
        plan = replace(get_plan(store, experiment.id) or Plan(), **plan_changes)
        _check_draft(edited, plan)
        write_experiment(store, edited)
        write_plan(store, edited.id, codec.store(plan), None)
    return edited, plan


def start(
    store: Store,
    experiment_id: str,
    *,
    now_ms: int,
    at_ms: int | None = None,
    planned_n: int | None = None,
    default_plan: Plan | None = None,
) -> Plan:
    """Start a draft and freeze its plan, or give a plan to a running experiment that was imported.

    Args:
        experiment_id: A draft, or a running experiment without a plan, whose window starts at `at_ms` or its creation.
        at_ms: A time in the past at which a retrospective experiment is taken to have started.
        default_plan: The plan of an experiment that has none (scope and repository of the caller).

    Raises:
        ExperimentError: the experiment cannot start; the message says what to change.
        RepositoryError: a commit or branch of its binding does not exist.

    >>> start(writable, "plan-first", now_ms=0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ExperimentError: Experiment plan-first is Concluded and cannot become Running; ...
    """
    with store.write():
        experiment = get_experiment(store, experiment_id)
        stored = get_plan(store, experiment.id)
        adopt = experiment.state is State.RUNNING and (stored is None or stored.started is None)
        _check_start(experiment, now_ms=now_ms, at_ms=at_ms, adopt=adopt)
        plan = stored or default_plan or Plan()
        if planned_n is not None:
            plan = replace(plan, planned_n=planned_n)
        _check_arms(experiment, plan)
        if plan.randomisation is not None and at_ms is not None:
            raise ExperimentError("Arms are drawn when a session starts, so a lot cannot begin in the past.")
        plan = _freeze_plan(experiment, plan, now_ms=now_ms, at_ms=at_ms, adopt=adopt)
        plan = _plan_sessions(store, experiment, plan, now_ms)
        plan = freeze_randomisation(store, plan, now_ms)
        write_plan(store, experiment.id, codec.store(plan), now_ms)
        write_experiment(store, experiment.with_state(State.RUNNING, now_ms))
    return plan


def evaluate(store: Store, experiment_id: str, *, now_ms: int) -> Evaluation:
    """Judge an experiment on the sessions in the store; a concluded one as it was frozen.

    Raises:
        ExperimentError: the experiment has not started, or runs without a plan.
        RepositoryError: its repository cannot be read.

    >>> evaluate(store, "plan-first", now_ms=0)
    <Evaluation of 'plan-first': inconclusive, undecided>
    """
    experiment = get_experiment(store, experiment_id)
    frozen = load_result(store, experiment.id)
    if frozen is not None:
        evaluation = _thaw(frozen)
        return replace(evaluation, experiment=replace(evaluation.experiment, state=experiment.state))
    with store.snapshot():
        return _judge_live(store, experiment, *find_frozen_plan(store, experiment), now_ms)[0]


def conclude(store: Store, experiment_id: str, *, now_ms: int, by: str | None = None) -> Evaluation:
    """Freeze the sample and the evaluation of a running experiment, with the name of who concludes it.

    Raises:
        ExperimentError: the experiment is not running, or runs without a plan.
        RepositoryError: its repository cannot be read.

    >>> conclude(writable, "plan-first", now_ms=0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ExperimentError: Experiment plan-first is Concluded and cannot become Concluded; ...
    """
    with store.write():
        experiment = get_experiment(store, experiment_id)
        _require_step(experiment, State.CONCLUDED)
        plan, flags = find_frozen_plan(store, experiment)
        concluded = experiment.with_state(State.CONCLUDED, now_ms)
        evaluation, sample = _judge_live(store, concluded, plan, flags, now_ms)
        if by is not None:
            evaluation = replace(evaluation, provenance={**evaluation.provenance, "concluded_by": by})
        write_experiment(store, concluded)
        write_result(store, experiment.id, _freeze(evaluation), sample_records(sample), now_ms)
    return evaluation


def archive(store: Store, experiment_id: str, *, now_ms: int) -> Experiment:
    """Put a concluded experiment, or a mistyped draft, away; nothing follows.

    Raises:
        ExperimentError: the experiment is running or archived.

    >>> archive(writable, "plan-first", now_ms=0).state
    <State.ARCHIVED: 'Archived'>
    """
    with store.write():
        experiment = get_experiment(store, experiment_id)
        _require_step(experiment, State.ARCHIVED)
        archived = experiment.with_state(State.ARCHIVED, now_ms)
        write_experiment(store, archived)
    return archived


def cancel(store: Store, experiment_id: str, reason: str, *, now_ms: int) -> Experiment:
    """Withdraw a running experiment that has shown nothing yet; it is archived with the reason.

    Raises:
        ConfigError: the reason is empty.
        ExperimentError: the experiment is not running, or both arms have sessions, so that a result could be hidden.

    >>> cancel(writable, "plan-first", "wrong commit", now_ms=0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ExperimentError: Experiment plan-first is Concluded, not Running; it ...
    """
    if not reason.strip():
        raise ConfigError("Cancelling needs a reason; it is kept with the experiment.")
    with store.write():
        experiment = get_experiment(store, experiment_id)
        _require_state(experiment, State.RUNNING, "cancelled")
        plan, _ = find_frozen_plan(store, experiment)
        arms = read_sample(store, plan.apply_rule(experiment), plan).frame["variant"]
        counts = [int((arms == arm.value).sum()) for arm in (Classification.CONTROL, Classification.TREATMENT)]
        if all(counts):
            raise ExperimentError(
                f"Experiment {experiment.id} has {counts[0]} control and {counts[1]} treatment sessions, so its result "
                f"can be seen; conclude it with 'kaizen-analytics exp conclude {experiment.id}'."
            )
        archived = experiment.with_state(State.ARCHIVED, now_ms)
        write_plan(store, experiment.id, codec.store(replace(plan, cancelled=reason)), now_ms)
        write_experiment(store, archived)
    return archived


def date_of_change(store: Store, experiment_id: str, now_ms: int) -> int | None:
    """Return when the treatment commit of a draft was made, if that is more than a day ago; else None.

    Raises:
        RepositoryError: the commit does not exist.

    >>> date_of_change(store, "plan-first", 0)
    """
    experiment = get_experiment(store, experiment_id)
    plan = get_plan(store, experiment.id)
    if experiment.state is not State.DRAFT or not isinstance(experiment.binding, GitCommit) or plan is None:
        return None
    repository = _repository(plan)
    made_ms = 1000 * repository.read_times([repository.resolve_commit(experiment.binding.treatment_commit)])[0]
    return made_ms if made_ms < now_ms - DAY_MS else None


def tag(
    store: Store, experiment_id: str, session_ids: Sequence[str], classification: Classification, *, now_ms: int
) -> int:
    """Put sessions into an arm by hand and return how many were not in it before.

    Raises:
        ExperimentError: the experiment is neither a draft nor running.
        VariantConflictError: a session is tagged with another arm; nothing is changed.

    >>> tag(store, "plan-first", ["s"], Classification.CONTROL, now_ms=0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.FrozenError: Experiment plan-first is concluded and its sample is frozen; ...
    """
    experiment = _require_open(store, experiment_id)
    return tag_sessions(store, experiment.id, session_ids, classification, now_ms=now_ms)


def untag(store: Store, experiment_id: str, session_id: str, reason: str, *, now_ms: int) -> None:
    """Take a session's tag away; the removal and its reason are recorded.

    Raises:
        ExperimentError: the experiment is neither a draft nor running, or the session has no tag.

    >>> untag(store, "plan-first", "s", "wrong session", now_ms=0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.FrozenError: Experiment plan-first is concluded and its sample is frozen; ...
    """
    experiment = _require_open(store, experiment_id)
    begun = [tagged for tagged in manual_tags(store, experiment.id) if tagged.startswith(session_id)]
    untag_session(store, experiment.id, begun[0] if len(begun) == 1 else session_id, reason, now_ms=now_ms)


def read_judged_sample(store: Store, experiment_id: str, *, now_ms: int) -> tuple[Experiment, Plan, pl.DataFrame]:
    """Return what `evaluate` judges: the experiment with its frozen rule, the plan, and one row for each session.

    A row of the sample has the session's arm and metrics; a concluded experiment keeps the rows that were frozen.

    Raises:
        ExperimentError: the experiment has not started, or runs without a plan.
        RepositoryError: its repository cannot be read.

    >>> _, _, sample = read_judged_sample(store, "plan-first", now_ms=0)
    >>> sample["variant"].value_counts().sort("variant").rows()
    [('Control', 45), ('Treatment', 45)]
    """
    experiment = get_experiment(store, experiment_id)
    plan, _ = find_frozen_plan(store, experiment)
    judged = plan.apply_rule(experiment)
    if frozen := load_sample(store, experiment.id):
        return judged, plan, restore_sample(frozen)
    return (
        judged,
        plan,
        trim_to_plan(read_sample(store, judged, plan).frame, choose_design(plan, now_ms), now_ms, plan.unit),
    )


def _freeze(evaluation: Evaluation) -> dict[str, object]:
    """Return an evaluation as the JSON object that `conclude` keeps and `_thaw` reads."""
    return {"format": _FORMAT, "evaluation": codec.store(evaluation)}


def _thaw(record: Mapping[str, object]) -> Evaluation:
    """Return a frozen evaluation; it equals the one that was frozen, whatever this version would decide.

    Raises:
        RecordError: it was frozen by a newer version, or its record is damaged.
    """
    written = record.get("format")
    if written not in range(1, _FORMAT + 1):
        raise RecordError(
            f"The frozen evaluation has format {written!r}; this version reads 1 to {_FORMAT}. "
            "Upgrade kaizen_analytics to read it."
        )
    kept = record.get("evaluation")
    if isinstance(kept, dict) and isinstance(kept.get("primary"), dict) and "companion" not in kept["primary"]:
        # until format 3 the companion of a median was all there was
        kept = {**kept, "primary": {**kept["primary"], "companion": kept["primary"].get("mean_effect")}}
    frozen = codec.load(Evaluation, kept, "The frozen evaluation")
    if written != 1:
        return frozen
    decided = decide(frozen.verdict, [(item.spec.metric, item.status) for item in frozen.guardrails], None)
    return replace(frozen, decision=replace(decided, headline=frozen.decision.headline))


def _require_state(experiment: Experiment, state: State, verb: str) -> None:
    if experiment.state is not state:
        raise ExperimentError(f"Experiment {experiment.id} is {experiment.state}, not {state}; it cannot be {verb}.")


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
            f"Experiment {experiment.id} is {experiment.state}; tags change only while it is Draft or Running."
        )
    return experiment


def _check_start(experiment: Experiment, *, now_ms: int, at_ms: int | None, adopt: bool) -> None:
    if not adopt and experiment.state is not State.DRAFT:
        _require_step(experiment, State.RUNNING)
    if at_ms is not None and at_ms > now_ms:
        raise ExperimentError(
            "The start lies in the future; --at takes a time in the past, or leave it out to start now."
        )
    if experiment.duration_days < 1:
        raise ExperimentError(
            f"Experiment {experiment.id} has a duration of {experiment.duration_days} days; expected 1 or more."
        )


def _check_draft(experiment: Experiment, plan: Plan) -> None:
    check_draft(experiment)
    _check_arms(experiment, plan)
    if plan.repository is not None:
        try:
            _resolve(experiment, plan)
        except (RepositoryError, ExperimentError) as error:
            raise ConfigError(str(error)) from None


def _check_arms(experiment: Experiment, plan: Plan) -> None:
    binding = experiment.binding
    if isinstance(binding, Branch) and binding.control_branch == binding.treatment_branch:
        raise ConfigError(f"Both arms are the branch {binding.control_branch!r}; expected two branches.")
    if isinstance(binding, Branch) and plan.unit is WorkUnit.TASK:
        raise ConfigError(
            "With one branch per arm, each arm would be a single task; leave --unit task out, or assign arms otherwise."
        )
    if isinstance(binding, PromptFingerprint) and binding.control_fingerprint == binding.treatment_fingerprint:
        raise ConfigError("Both arms have the same prompt fingerprint; expected two different ones.")
    if plan.randomisation is not None and not isinstance(binding, ManualTag):
        raise ConfigError("Arms that are drawn by lot have the binding manual; leave --bind out.")
    if plan.randomisation is not None and plan.control_share is None:
        raise ConfigError("Arms that are drawn by lot need the share of control; expected a control_share such as 0.5.")
    if isinstance(binding, GitCommit) and plan.control_share is not None:
        raise ConfigError(
            "Arms before and after a commit are not randomised, so no split can be declared; leave --split out."
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
    design = DesignKind.FIXED if retrospective else plan.design
    rule = experiment.with_state(State.RUNNING, now_ms)
    return replace(plan, design=design, lookback_days=lookback_days if is_commit else None, rule=rule, started=started)


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
            "A binding on commits needs the repository that has them; start the experiment inside that repository."
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
            f"The treatment commit {treatment} lies before the control commit {control}; exchange them."
        )
    if control not in relation.descendant_of:
        raise ExperimentError(
            f"The control commit {control} is not an ancestor of the treatment commit {treatment}, so no session can "
            "be before one and after the other; choose two commits of one line of history."
        )
    return control, treatment


def _judge_live(
    store: Store, experiment: Experiment, plan: Plan, flags: Sequence[str], now_ms: int
) -> tuple[Evaluation, pl.DataFrame]:
    judged = plan.apply_rule(experiment)
    edited = [] if judged == experiment else ["edited"]
    return judge_sample(judged, plan, read_sample(store, judged, plan), now_ms, flags=[*flags, *edited])


def judge_sample(
    experiment: Experiment,
    plan: Plan,
    sample: Sample,
    now_ms: int,
    *,
    cautions: Sequence[Caution] = (),
    flags: Sequence[str] = (),
) -> tuple[Evaluation, pl.DataFrame]:
    """Return the evaluation of a sample as of `now_ms`, and the sample cut to the planned information.

    Raises:
        ExperimentError: the experiment has not started.

    >>> judge_sample(experiment, plan, read_sample(store, experiment, plan), 0)[0].verdict
    <Verdict.INCONCLUSIVE: 'inconclusive'>
    """
    frame = trim_to_plan(sample.frame, choose_design(plan, now_ms), now_ms, plan.unit)
    evaluation = assess(
        frame,
        experiment,
        plan,
        plan.require_start(experiment.id),
        as_of_ms=now_ms,
        around=sample.around,
        provenance=_provenance(plan, replace(sample, frame=frame)),
        cautions=[*cautions, *sample.cautions],
        flags=flags,
        assigned=sample.assigned,
    )
    return evaluation, frame


def find_frozen_plan(store: Store, experiment: Experiment) -> tuple[Plan, list[str]]:
    """Return the frozen plan; for a concluded experiment of another tool, one made up for a flagged recomputation.

    Raises:
        ExperimentError: it has not started, or runs without a plan.

    >>> find_frozen_plan(store, experiment)[1]
    []
    """
    plan = get_plan(store, experiment.id)
    if plan is not None and plan.started is not None:
        return plan, []
    if experiment.state is State.RUNNING:
        raise ExperimentError(
            f"Experiment {experiment.id} was started by kaizen-cli and has no plan; "
            f"give it one with 'kaizen-analytics exp start {experiment.id}'."
        )
    if experiment.state is not State.CONCLUDED:
        raise ExperimentError(
            f"Experiment {experiment.id} is {experiment.state} and never started; "
            f"'kaizen-analytics exp start {experiment.id}' starts a draft."
        )
    fixed = replace(plan or Plan(), design=DesignKind.FIXED)
    made_up = _freeze_plan(experiment, fixed, now_ms=experiment.created_at_ms, at_ms=None, adopt=True)
    return made_up, ["not_frozen"]


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


MIN_DAYS_AFTER = 7 * MIN_WEEKS_AFTER
"""Days after a change below which a difference is never claimed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a plan asks for, and what comes in at the rate of the last days; sessions of control and of treatment.

    `minimum` are the sessions per arm below which nothing is judged, even at the end of the window. `history_days` are
    the days before the start with sessions, for arms before and after a change; None for other arms.
    """

    planned: tuple[int, int]
    expected: tuple[int, int]
    minimum: int
    days: int
    history_days: int | None = None

    @property
    def information(self) -> float:
        """Share of the planned information that is expected at the end of the window."""
        if min(self.expected) == 0:
            return 0.0
        planned, expected = (1 / (1 / a + 1 / b) for a, b in (self.planned, self.expected))
        return expected / planned

    @property
    def is_judged(self) -> bool:
        """Whether there will be enough sessions, and enough history, to judge anything."""
        is_long = self.history_days is None or (self.history_days >= MIN_HISTORY_DAYS and self.days >= MIN_DAYS_AFTER)
        return min(self.expected) >= self.minimum and is_long

    @property
    def is_reached(self) -> bool:
        """Whether the plan will be reached, give or take a tenth."""
        return self.is_judged and self.information >= 0.9


def _plan_sessions(store: Store, experiment: Experiment, plan: Plan, now_ms: int) -> Plan:
    """Fill in the planned sessions per arm from today's rate, when the design needs them and nobody gave them."""
    if plan.design is not DesignKind.PLANNED:
        return plan
    before_after = isinstance(experiment.binding, GitCommit)
    planned_n = plan.planned_n
    if planned_n is None:
        sessions = _read_recent(store, plan, now_ms, experiment.duration_days).height
        if not sessions:
            folders = ", ".join(plan.workspaces) or "any folder"
            raise ExperimentError(
                f"The last {experiment.duration_days} days hold no session of {folders}, so the size of the experiment "
                "cannot be planned from them. Read newer sessions with 'kaizen-analytics ingest'; or give --planned-n; "
                "or plan anew with --workspace PATH, or with --design open."
            )
        planned_n = max(MIN_SEQUENTIAL_N, math.ceil(sessions / (1 if before_after else 2)))
    past, design_effect = 0, 1.0
    if before_after:
        frame = add_up(read_sample(store, experiment, plan).frame, plan.unit)
        past = frame.filter(pl.col("variant") == Classification.CONTROL.value).height
    if plan.cluster is not Cluster.NONE:  # 1 where past sessions cannot tell, which costs power and never errs more
        recent = _read_recent(store, plan, now_ms, experiment.duration_days)
        design_effect = expected_design_effect(recent, experiment.metric, plan.statistic, plan.cluster)
    control_n = plan.planned_control_n or past or None
    return replace(plan, planned_n=planned_n, planned_control_n=control_n, design_effect=design_effect)


def expect_reach(store: Store, experiment: Experiment, plan: Plan, now_ms: int) -> Reach | None:
    """Return whether the sessions of a started plan will come in at the rate of the last days; None without a plan.

    >>> reach = expect_reach(store, experiment, plan, 0)
    >>> reach.planned, reach.expected
    ((45, 45), (0, 0))
    """
    start = plan.require_start(experiment.id)
    if start.retrospective:
        return None
    if isinstance(experiment.binding, GitCommit):
        return _expect_history(store, experiment, plan, now_ms)
    if plan.design is not DesignKind.PLANNED or plan.planned_n is None:
        return None
    recent = _read_recent(store, plan, now_ms, experiment.duration_days).height
    control = round(recent * (0.5 if plan.control_share is None else plan.control_share))
    expected = control, recent - control
    design = choose_design(plan, start.window_end_ms)
    return Reach(planned=design.planned, expected=expected, minimum=design.minimum, days=experiment.duration_days)


def _expect_history(store: Store, experiment: Experiment, plan: Plan, now_ms: int) -> Reach:
    """Return what a comparison before and after a change needs and will have."""
    start, sample = plan.require_start(experiment.id), read_sample(store, experiment, plan)
    control = sample.frame.filter(pl.col("variant") == Classification.CONTROL.value)
    past = pl.concat([control, sample.around], how="diagonal_relaxed")
    starts = past.filter(pl.col("variant") == Classification.CONTROL.value)["started_at_ms"].to_numpy()
    return Reach(
        planned=(MIN_SESSIONS, MIN_SESSIONS),
        expected=(control.height, _read_recent(store, plan, now_ms, experiment.duration_days).height),
        minimum=MIN_SESSIONS,
        days=experiment.duration_days,
        history_days=(start.started_at_ms - int(starts.min())) // DAY_MS if starts.size else 0,
    )


def _read_recent(store: Store, plan: Plan, now_ms: int, days: int) -> pl.DataFrame:
    """Return the units of work in the plan's scope from the last `days` days, as `read_scope` returns sessions."""
    scope = read_scope(store, plan.workspaces)
    recent = scope.filter(pl.col("started_at_ms").is_between(now_ms - days * DAY_MS, now_ms))
    return add_up(recent, plan.unit)
