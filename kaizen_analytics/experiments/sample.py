"""The sample of an experiment: every session in its scope and window, with its arm, its reason and its metrics.

What is read is in frames; which arm a session belongs to is decided without git or the store, so that every rule can be
tested on one line. The frame is what `conclude` freezes, so an evaluation from the store and one from the frozen sample
run through the same code.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.core.errors import ConfigError, ExperimentError, did_you_mean
from kaizen_analytics.core.folders import in_folders
from kaizen_analytics.core.git import Repository
from kaizen_analytics.core.model import Branch, Classification, GitCommit, ManualTag, Metric, PromptFingerprint
from kaizen_analytics.core.queries import Query, columns
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.evaluation import Caution, CautionKind
from kaizen_analytics.experiments.plan import Unit
from kaizen_analytics.store.assignments import read_draws
from kaizen_analytics.store.experiments import manual_tags
from kaizen_analytics.store.frames import session_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kaizen_analytics.core.git import Ancestry
    from kaizen_analytics.core.model import Binding, Experiment
    from kaizen_analytics.experiments.plan import Plan, Start
    from kaizen_analytics.store import Store
    from kaizen_analytics.store.assignments import Draw

_SAMPLE_SCHEMA: dict[str, pl.DataType] = {
    "session_id": pl.String(),
    "variant": pl.String(),
    "reason": pl.String(),
    "flags": pl.String(),
    "agent": pl.String(),
    "model": pl.String(),
    "workspace": pl.String(),
    "user_name": pl.String(),
    "organisation": pl.String(),
    "unit": pl.String(),
    "started_at_ms": pl.Int64(),
    "responses": pl.Int64(),
    "unpriced_responses": pl.Int64(),
    "unreliable_responses": pl.Int64(),
    "branch": pl.String(),
    "pull_request": pl.String(),
    "last_event_ms": pl.Int64(),
    "tool_results": pl.Float64(),
    "input_tokens": pl.Float64(),
    "covariate": pl.Float64(),
    "lines_added": pl.Float64(),
    "lines_surviving": pl.Float64(),
    **{metric.column: pl.Float64() for metric in Metric},
}
"""Columns of a sample, one row per session.

`flags` are words with a blank between them, `unit` is what was drawn by lot (null where nothing was)."""

_LATER = ("unit", "pull_request", Metric.SESSION_SCORE.column, Metric.FINDING_RATE.column)
"""Columns that are frozen only where they have a value, so that the fingerprint of a sample without them stays."""

_DATED = (GitCommit, PromptFingerprint)
"""Bindings whose treatment begins on a date."""
_CONDITIONS = ("agent", "model", "workspace", "branch")

_CANDIDATES = Query(
    path="staging/candidates.sql",
    schema=columns(
        text="session_id workspace branch start_commit branches prompt_fingerprint repo_binding_source user_name "
        "organisation pull_request",
        whole="started_at_ms dirty_start",
    ),
)
"""What decides the arm and the cluster of every session."""

_VARIANT_VALUES = Query(
    path="staging/variant_values.sql",
    schema=columns(text="session_id variant_value"),
    reads={"session_roots": "staging/session_roots.sql"},
)
"""The values of a manual variant field; the parameter is `$json_path`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The sessions of an experiment with what a reader should know about how they were chosen.

    `assigned` says that the arms were drawn by lot and that each draw was recorded when its session started. `around`
    holds sessions outside of the sample for arms that are separated in time: Control ones before the window, and
    Excluded ones of other workspaces in the window. It is empty for other arms, and never frozen.
    """

    frame: pl.DataFrame
    around: pl.DataFrame
    cautions: tuple[Caution, ...] = ()
    assigned: bool = False

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the sample: the same sessions, arms and values give the same text."""
        return hashlib.sha256("\n".join(sample_records(self.frame)["sample"]).encode()).hexdigest()


def read_sample(store: Store, experiment: Experiment, plan: Plan) -> Sample:
    """Read the sessions of a started experiment and put each into its arm.

    Raises:
        ExperimentError: the experiment has not started.
        RepositoryError: the binding needs a repository that cannot be read; no session is guessed into an arm.

    >>> read_sample(store, experiment, plan).frame.height
    90
    """
    known = _CANDIDATES.run(store)
    metrics = session_metrics(store)
    if experiment.metric is Metric.FINDING_RATE:
        rows = store.native("select session_id, hit from ka_exposures where experiment_id = ?", experiment.id)
        seen = {session_id: float(hit or 0) for session_id, hit in rows}
        rate = pl.col("session_id").replace_strict(seen, default=None, return_dtype=pl.Float64)
        metrics = metrics.with_columns(rate.alias(Metric.FINDING_RATE.column))
    sessions = metrics.join(known.drop("workspace", "started_at_ms"), on="session_id")
    tags = manual_tags(store, experiment.id)
    draws = None if plan.randomisation is None else read_draws(store, experiment.id)
    stored = set(known["session_id"])
    arms = tags if draws is None else _intend_to_treat(tags, draws, stored)

    sample = arrange_sample(
        _join_units(sessions, draws or ()),
        experiment,
        plan,
        tags=arms,
        values=read_values(store, experiment.binding),
        stored=stored,
        undrawn=None if draws is None else {draw.session_id: not_drawn(draw.reason) for draw in draws},
    )
    return replace(sample, cautions=(*sample.cautions, *_check_draws(tags, draws or ())))


def _intend_to_treat(
    tags: Mapping[str, Classification], draws: Sequence[Draw], stored: set[str]
) -> dict[str, Classification]:
    """Return the arm that each session was drawn into, whatever happened to it later, unless it is tagged Excluded.

    A session that was drawn and is not stored yet is not missing: it is left out.
    """
    drawn = {draw.session_id: draw.arm for draw in draws if draw.arm is not None and draw.session_id in stored}
    excluded = {session_id: arm for session_id, arm in tags.items() if arm is Classification.EXCLUDED}
    return drawn | excluded


def _join_units(sessions: pl.DataFrame, draws: Sequence[Draw]) -> pl.DataFrame:
    columns = {"session_id": [draw.session_id for draw in draws], "unit": [draw.unit for draw in draws]}
    return sessions.join(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String())), on="session_id", how="left")


def arrange_sample(
    sessions: pl.DataFrame,
    experiment: Experiment,
    plan: Plan,
    *,
    tags: Mapping[str, Classification],
    values: Mapping[str, frozenset[str]],
    stored: set[str],
    undrawn: Mapping[str, Exclusion] | None = None,
) -> Sample:
    """Put the sessions of a started experiment into its arms, wherever they were read.

    Args:
        sessions: Root sessions with every metric and the columns of `sql/staging/candidates.sql`.
        values: Distinct values of the field of a `ManualTag`, by session.
        stored: Every session that is known, sub-agents included.
        undrawn: Why sessions take no part where arms are drawn by lot; None where they are not.

    Raises:
        ExperimentError: the experiment has not started.
        RepositoryError: the binding needs a repository that cannot be read.

    >>> from kaizen_analytics.experiments.plan import Plan
    >>> arrange_sample(pl.DataFrame(), experiment, Plan(), tags={}, values={}, stored=set())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ExperimentError: Experiment plan-first has not started; ...
    """
    start = plan.require_start(experiment.id)
    lot = plan.randomisation
    if lot is not None and "unit" not in sessions.columns and lot.unit is not Unit.SESSION:
        raise ExperimentError(
            f"Experiment {experiment.id} draws {lot.unit.plural}, which a lake does not hold; evaluate it in its store."
        )
    chosen = _choose_candidates(sessions, plan, start, tags)
    earlier = _choose_earlier(sessions, plan, start, experiment.binding).join(chosen, on="session_id", how="anti")
    candidates = [[_candidate_of(row) for row in frame.iter_rows(named=True)] for frame in (chosen, earlier)]
    ancestry, is_shallow = _read_ancestry(experiment.binding, plan, [*candidates[0], *candidates[1]])
    facts = _SessionFacts(
        tags=tags,
        values=values,
        ancestry=ancestry,
        is_shallow=is_shallow,
        outside=frozenset(chosen.filter(~in_folders(plan.workspaces))["session_id"]),
        undrawn=undrawn,
    )
    assigned, before = (
        [_assign(candidate, experiment.binding, start, facts) for candidate in group] for group in candidates
    )
    history = _join_assignments(earlier, before).filter(pl.col("variant") == Classification.CONTROL.value)
    chosen = _join_covariate(chosen, sessions, experiment.metric, plan, start)
    return Sample(
        frame=_join_assignments(chosen, assigned),
        around=pl.concat([history, _choose_elsewhere(sessions, plan, start, experiment.binding)]),
        assigned=plan.randomisation is not None,
        cautions=tuple(_check_tags(tags, stored, set(sessions["session_id"]))),
    )


def _join_covariate(
    chosen: pl.DataFrame, sessions: pl.DataFrame, metric: Metric, plan: Plan, start: Start
) -> pl.DataFrame:
    """Add what is known of each session's user or workspace from before the start: the mean logarithm of the metric.

    Only arms that were drawn by lot are adjusted. Nothing that the treatment can move enters: the sessions end before
    the window begins. A user or workspace without past sessions has the mean of all past sessions.
    """
    if plan.randomisation is None or not plan.covariate:
        return chosen
    unit = "user_name" if plan.randomisation.unit is Unit.USER else "workspace"
    before = (start.window_start_ms - _PAST_DAYS * DAY_MS, start.window_start_ms - 1)
    ended = pl.col("last_event_ms").fill_null(pl.col("started_at_ms")) < start.window_start_ms
    past = sessions.filter(pl.col("started_at_ms").is_between(*before) & ended).drop_nulls([metric.column, unit])
    level = pl.col(metric.column).clip(lower_bound=0).log1p()
    means = past.group_by(unit).agg(covariate=level.mean())
    overall = past.select(level.mean()).item()
    joined = chosen.join(means, on=unit, how="left", maintain_order="left")
    return joined if overall is None else joined.with_columns(pl.col("covariate").fill_null(overall))


_PAST_DAYS = 28
"""Days before the start whose sessions say how a user or workspace was."""


def read_scope(store: Store, workspaces: tuple[str, ...]) -> pl.DataFrame:
    """Return every metric, cluster and task of the root sessions of these workspaces (empty: of all).

    >>> read_scope(store, ("/home/dev/shop-api",)).height > 100
    True
    """
    people = _CANDIDATES.run(store).select("session_id", "user_name", "organisation", "branch", "pull_request")
    scope = session_metrics(store).filter(in_folders(workspaces))
    return scope.join(people, on="session_id", how="left", maintain_order="left")


def select_sessions(
    store: Store, where: Mapping[str, str], *, since_ms: int | None = None, until_ms: int | None = None
) -> list[str]:
    """Return the root sessions that fit every condition, oldest first.

    Args:
        where: Exact values of `agent`, `model`, `workspace` or `branch`.

    Raises:
        ConfigError: a condition names another column, or a value that no session has.

    >>> len(select_sessions(store, {"agent": "codex"})) > 10
    True
    """
    unknown = sorted(set(where) - set(_CONDITIONS))
    if unknown:
        raise ConfigError(f"Sessions cannot be chosen by {unknown[0]!r}; expected one of {', '.join(_CONDITIONS)}.")
    sessions = read_scope(store, ())
    for name, value in where.items():
        check_value(sessions, name, value)
    started = pl.col("started_at_ms")
    conditions = [pl.col(name) == value for name, value in where.items()]
    conditions += [started >= since_ms] if since_ms is not None else []
    conditions += [started < until_ms] if until_ms is not None else []
    chosen = sessions.filter(*conditions) if conditions else sessions
    return chosen.sort("started_at_ms", "session_id")["session_id"].to_list()


def check_value(sessions: pl.DataFrame, column: str, value: str) -> None:
    """Refuse a value that no session has.

    Raises:
        ConfigError: no row has it; the message names those there are.

    >>> check_value(pl.DataFrame({"agent": ["codex"]}), "agent", "codx")
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ConfigError: No session has the agent 'codx'; expected codex. Did you mean 'codex'?
    """
    known = sorted(map(str, sessions[column].drop_nulls().unique()))
    if value in known:
        return
    shown = ", ".join(known[:10]) + (", or another" if len(known) > 10 else "")
    raise ConfigError(
        f"No session has the {column} {value!r}; expected {shown or 'no value at all'}.{did_you_mean(value, known)}"
    )


def _choose_candidates(
    sessions: pl.DataFrame, plan: Plan, start: Start, tags: Mapping[str, Classification]
) -> pl.DataFrame:
    """Return the sessions in scope and window, and every tagged one: a tag is not cut by the window."""
    in_window = pl.col("started_at_ms").is_between(start.window_start_ms, start.window_end_ms)
    tagged = pl.col("session_id").is_in(list(tags))
    return sessions.filter((in_folders(plan.workspaces) & in_window) | tagged).sort("started_at_ms", "session_id")


def _choose_earlier(sessions: pl.DataFrame, plan: Plan, start: Start, binding: Binding) -> pl.DataFrame:
    """Return the sessions in scope before the window, where the binding separates the arms in time."""
    if not isinstance(binding, _DATED):
        return sessions.clear()
    return sessions.filter(in_folders(plan.workspaces) & (pl.col("started_at_ms") < start.window_start_ms))


def _choose_elsewhere(sessions: pl.DataFrame, plan: Plan, start: Start, binding: Binding) -> pl.DataFrame:
    """Return the sessions of other workspaces in the window, which have no arm."""
    in_window = pl.col("started_at_ms").is_between(start.window_start_ms, start.window_end_ms)
    others = sessions.filter(~in_folders(plan.workspaces) & in_window & pl.lit(isinstance(binding, _DATED)))
    return _join_assignments(others, [_Assignment(classification=Classification.EXCLUDED, reason=None)] * others.height)


def sample_records(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the sample as rows to freeze: `session_id`, `variant`, `reason`, and all columns as JSON in `sample`.

    >>> sample_records(sample).columns
    ['session_id', 'variant', 'reason', 'sample']
    """
    ordered = frame.select(*_SAMPLE_SCHEMA).sort("session_id")
    kept = [
        {name: cell for name, cell in row.items() if cell not in (None, "") or name not in _LATER}
        for row in ordered.iter_rows(named=True)
    ]
    texts = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in kept]
    return ordered.select("session_id", "variant", "reason").with_columns(pl.Series("sample", texts, dtype=pl.String))


def restore_sample(records: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """Return the frame that `sample_records` was given, row by row the same, in the order of session starts.

    >>> restore_sample([{"session_id": "s", "started_at_ms": 1, "variant": "Control"}])["tokens_per_session"].item()
    """
    return pl.DataFrame(list(records), schema=_SAMPLE_SCHEMA).sort("started_at_ms", "session_id")


def _check_tags(tags: Mapping[str, Classification], stored: set[str], roots: set[str]) -> Iterator[Caution]:
    """Yield how many tags name no session of the store, and how many name a sub-agent."""
    counts = {
        CautionKind.WAITING_TAGS: len(set(tags) - stored),
        CautionKind.DELEGATED_TAGS: len((set(tags) & stored) - roots),
    }
    return (Caution(kind=kind, count=count) for kind, count in counts.items() if count)


def _check_draws(tags: Mapping[str, Classification], draws: Sequence[Draw]) -> Iterator[Caution]:
    """Yield how many sessions are tagged by hand with another arm than the lot's, which counts."""
    drawn = {draw.session_id: draw.arm for draw in draws}
    arms = (Classification.CONTROL, Classification.TREATMENT)
    count = sum(arm in arms and drawn.get(session_id) is not arm for session_id, arm in tags.items()) if draws else 0
    if count:
        yield Caution(kind=CautionKind.CONFLICTING_DRAWS, count=count)


def read_values(store: Store, binding: Binding) -> dict[str, frozenset[str]]:
    """Return the distinct values of a `ManualTag` field per root session; empty for every other binding.

    >>> read_values(store, ManualTag(variant_field="arm"))
    {}
    """
    if not isinstance(binding, ManualTag) or not binding.variant_field:
        return {}
    rows = _VARIANT_VALUES.run(store, json_path=f"$.{json.dumps(binding.variant_field, ensure_ascii=False)}")
    grouped = rows.group_by("session_id").agg("variant_value")
    return {session_id: frozenset(values) for session_id, values in grouped.iter_rows()}


def _read_ancestry(binding: Binding, plan: Plan, candidates: Sequence[Candidate]) -> tuple[dict[str, Ancestry], bool]:
    """Return how the candidates' commits relate to the frozen ones, and whether history is cut off."""
    start = plan.started
    commits = commits_of(candidates, binding)
    if not isinstance(binding, (GitCommit, Branch)) or not commits or plan.repository is None or start is None:
        return {}, False
    repository = Repository.open(Path(plan.repository))
    targets = [ref for ref in (start.control_ref, start.treatment_ref) if ref is not None]
    return repository.relate(commits, list(dict.fromkeys(targets))), repository.is_shallow()


def _join_assignments(chosen: pl.DataFrame, assigned: Sequence[_Assignment]) -> pl.DataFrame:
    columns = {
        "variant": [item.classification.value for item in assigned],
        "reason": [None if item.reason is None else item.reason.value for item in assigned],
        "flags": [" ".join(item.flags) for item in assigned],
    }
    arms = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String()))
    # sessions of a lake, where each was drawn by itself, have no unit; without a lot there is no covariate
    missing = [name for name in ("unit", "covariate", "pull_request") if name not in chosen.columns]
    chosen = chosen.with_columns(pl.lit(None, _SAMPLE_SCHEMA[name]).alias(name) for name in missing)
    return pl.concat([chosen, arms], how="horizontal").select(*_SAMPLE_SCHEMA)


class Exclusion(StrEnum):
    """Why a session is in no arm; the text is what reports count."""

    TAGGED = "tagged Excluded"
    OUTSIDE_WORKSPACES = "tagged, but outside the planned workspaces"
    NOT_TAGGED = "not tagged"
    CONFLICTING_VALUES = "conflicting values"
    UNKNOWN_VALUE = "unknown value"
    NO_FINGERPRINT = "no prompt fingerprint"
    OTHER_FINGERPRINT = "other prompt fingerprint"
    OTHER_BRANCH = "other branch"
    MOVED = "moved between the arms' branches"
    BOTH_BRANCHES = "on both branches"
    NO_REPOSITORY = "no branch recorded and no repository to ask"
    NO_COMMIT = "no commit"
    UNKNOWN_COMMIT = "unknown commit"
    SHALLOW_CLONE = "shallow clone"
    BETWEEN = "between"
    UNRELATED = "unrelated"
    PENDING = "pending: its last event is less than an hour old"
    AFTER_PLANNED_END = "after the planned end"
    NOT_DRAWN = "not drawn: no hook ran"
    FIRST_START_UNSEEN = "not drawn: its first start was before the experiment or without the hook"
    NOT_LAUNCHED = "not drawn: started without 'run'"
    LAUNCHED_OTHERWISE = "not drawn: started in another arm than the lot's"
    NO_UNIT = "not drawn: on no branch"
    TEXT_TOO_LONG = "not drawn: the text has more parts than the installed hook"


NOT_DRAWN = frozenset(reason.value for reason in Exclusion if reason.value.startswith("not drawn"))
"""Why a lot was not drawn for a session in scope."""


def not_drawn(reason: str | None) -> Exclusion:
    """Return why a session of a lot takes no part, from the word that its hook recorded; None: no hook ran.

    >>> not_drawn("not_launched").value
    "not drawn: started without 'run'"
    """
    return Exclusion.__members__.get((reason or "").upper(), Exclusion.NOT_DRAWN)


class Flag(StrEnum):
    """What a reader should know about a session that does count."""

    SIDE_BRANCH = "side_branch"
    """On a side branch that forked after the control commit: without the change, but not on its path."""
    DIRTY = "dirty"
    """The working tree had uncommitted changes when the session started."""
    INFERRED = "inferred"
    """The commit was not recorded by the agent but inferred from the repository's history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What binding knows about one session."""

    session_id: str
    branch: str | None = None
    branches: tuple[str, ...] = ()
    start_commit: str | None = None
    prompt_fingerprint: str | None = None
    is_dirty: bool = False
    is_inferred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _SessionFacts:
    """What was read for all candidates together.

    `tags` are manual tags, `values` the distinct values of a `ManualTag` field per session, `ancestry` how each
    known commit relates to the frozen commits, and `outside` tagged sessions beyond the planned workspaces. `undrawn`
    says why sessions take no part where arms are drawn by lot; None where they are not.
    """

    tags: Mapping[str, Classification] = field(default_factory=lambda: MappingProxyType({}))
    values: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    ancestry: Mapping[str, Ancestry] = field(default_factory=lambda: MappingProxyType({}))
    is_shallow: bool = False
    outside: frozenset[str] = frozenset()
    undrawn: Mapping[str, Exclusion] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Assignment:
    """The arm of one session; `reason` is set exactly when it is Excluded."""

    classification: Classification
    reason: Exclusion | None = None
    flags: tuple[Flag, ...] = ()


_CONTROL = _Assignment(classification=Classification.CONTROL)
_TREATMENT = _Assignment(classification=Classification.TREATMENT)

_ARM_OF_VALUE = {"a": _CONTROL, "control": _CONTROL, "b": _TREATMENT, "treatment": _TREATMENT}


def _assign(candidate: Candidate, binding: Binding, start: Start, facts: _SessionFacts) -> _Assignment:
    """Return the arm of one session: a manual tag comes before the binding's own rule."""
    decided = _assign_tagged(candidate.session_id, facts) or _assign_bound(candidate, binding, start, facts)
    if decided.reason is not None:
        return decided
    marks = ((Flag.DIRTY, candidate.is_dirty), (Flag.INFERRED, candidate.is_inferred))
    flags = (*decided.flags, *(flag for flag, is_set in marks if is_set))
    return _Assignment(classification=decided.classification, flags=flags)


def _assign_commit(relation: Ancestry, control: str, treatment: str, *, is_shallow: bool = False) -> _Assignment:
    """Return the arm of a session that started on a commit S; "A before B" includes A = B.

    The first row that matches: treatment before S is Treatment; S before control is Control; S between the two is
    Excluded; control before S is Control on a side branch; anything else is Excluded as unrelated. The last two
    rest on a relation that is missing, which a shallow clone cannot prove.
    """
    if treatment in relation.descendant_of:
        return _TREATMENT
    if control in relation.ancestor_of:
        return _CONTROL
    if control in relation.descendant_of and treatment in relation.ancestor_of:
        return _excluded(Exclusion.BETWEEN)
    if is_shallow:
        return _excluded(Exclusion.SHALLOW_CLONE)
    if control in relation.descendant_of:
        return _Assignment(classification=Classification.CONTROL, flags=(Flag.SIDE_BRANCH,))
    return _excluded(Exclusion.UNRELATED)


def _assign_tips(relation: Ancestry, control: str, treatment: str, *, is_shallow: bool = False) -> _Assignment:
    """Return the arm of a session without a recorded branch, from its commit and the frozen branch tips.

    A commit is on a branch when the tip contains it, or else when it grew from that tip. A commit on both branches
    belongs to neither arm.
    """
    if is_shallow:
        return _excluded(Exclusion.SHALLOW_CLONE)
    arms = (relation.ancestor_of or relation.descendant_of) & {control, treatment}
    if len(arms) == 2 or (arms and control == treatment):
        return _excluded(Exclusion.BOTH_BRANCHES)
    if not arms:
        return _excluded(Exclusion.UNRELATED)
    return _TREATMENT if treatment in arms else _CONTROL


def _assign_values(values: frozenset[str]) -> _Assignment:
    """Return the arm that the values of a `ManualTag` field name: A or control, B or treatment."""
    if not values:
        return _excluded(Exclusion.NOT_TAGGED)
    arms = [_ARM_OF_VALUE.get(value.strip().lower()) for value in values]
    if any(arm is None for arm in arms):
        return _excluded(Exclusion.UNKNOWN_VALUE if len(arms) == 1 else Exclusion.CONFLICTING_VALUES)
    first = arms[0]
    return first if first is not None and all(arm is first for arm in arms) else _excluded(Exclusion.CONFLICTING_VALUES)


def commits_of(candidates: Sequence[Candidate], binding: Binding) -> list[str]:
    """Return the start commits whose ancestry the binding needs.

    >>> commits_of([Candidate(session_id="s", start_commit="0a1b")], GitCommit("0a1b", "2c3d"))
    ['0a1b']
    """
    needed = (
        candidate.start_commit
        for candidate in candidates
        if candidate.start_commit
        and (isinstance(binding, GitCommit) or (isinstance(binding, Branch) and not candidate.branch))
    )
    return sorted(set(needed))


def _candidate_of(row: Mapping[str, Any]) -> Candidate:
    """Return the candidate in one row of `sql/staging/candidates.sql`."""
    return Candidate(
        session_id=row["session_id"],
        branch=row["branch"],
        branches=tuple((row.get("branches") or "").splitlines()),
        start_commit=row["start_commit"],
        prompt_fingerprint=row["prompt_fingerprint"],
        is_dirty=row["dirty_start"] == 1,
        is_inferred=row["repo_binding_source"] == "inferred",
    )


def _assign_tagged(session_id: str, facts: _SessionFacts) -> _Assignment | None:
    tag = facts.tags.get(session_id)
    if tag is None:
        return None
    if session_id in facts.outside:
        return _excluded(Exclusion.OUTSIDE_WORKSPACES)
    if tag is Classification.EXCLUDED:
        return _excluded(Exclusion.TAGGED)
    return _Assignment(classification=tag)


def _assign_bound(candidate: Candidate, binding: Binding, start: Start, facts: _SessionFacts) -> _Assignment:
    if facts.undrawn is not None:
        return _excluded(facts.undrawn.get(candidate.session_id, Exclusion.NOT_DRAWN))
    if isinstance(binding, ManualTag):
        return _assign_values(facts.values.get(candidate.session_id, frozenset()))
    if isinstance(binding, PromptFingerprint):
        return _assign_fingerprint(candidate.prompt_fingerprint, binding)
    if isinstance(binding, Branch) and candidate.branch:
        arms = [_assign_branch(branch, binding) for branch in candidate.branches]
        if _CONTROL in arms and _TREATMENT in arms:
            return _excluded(Exclusion.MOVED)
        return _assign_branch(candidate.branch, binding)
    return _assign_ancestry(candidate, binding, start, facts)


def _assign_fingerprint(fingerprint: str | None, binding: PromptFingerprint) -> _Assignment:
    if not fingerprint:
        return _excluded(Exclusion.NO_FINGERPRINT)
    if fingerprint == binding.control_fingerprint:
        return _CONTROL
    if fingerprint == binding.treatment_fingerprint:
        return _TREATMENT
    return _excluded(Exclusion.OTHER_FINGERPRINT)


def _assign_branch(branch: str, binding: Branch) -> _Assignment:
    name = branch.removeprefix("refs/heads/")
    if name == binding.control_branch.removeprefix("refs/heads/"):
        return _CONTROL
    if name == binding.treatment_branch.removeprefix("refs/heads/"):
        return _TREATMENT
    return _excluded(Exclusion.OTHER_BRANCH)


def _assign_ancestry(candidate: Candidate, binding: Binding, start: Start, facts: _SessionFacts) -> _Assignment:
    if start.control_ref is None or start.treatment_ref is None:
        return _excluded(Exclusion.NO_REPOSITORY)
    if not candidate.start_commit:
        return _excluded(Exclusion.NO_COMMIT)
    relation = facts.ancestry.get(candidate.start_commit)
    if relation is None:
        return _excluded(Exclusion.SHALLOW_CLONE if facts.is_shallow else Exclusion.UNKNOWN_COMMIT)
    decide = _assign_commit if isinstance(binding, GitCommit) else _assign_tips
    return decide(relation, start.control_ref, start.treatment_ref, is_shallow=facts.is_shallow)


def _excluded(reason: Exclusion) -> _Assignment:
    return _Assignment(classification=Classification.EXCLUDED, reason=reason)
