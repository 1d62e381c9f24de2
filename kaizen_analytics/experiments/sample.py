"""The sample of an experiment: every session in its scope and window, with its arm, its reason and its metrics.

Reading is here; the decisions are in `binding`, the numbers in `assess`. The frame is what `conclude` freezes,
so an evaluation from the store and one from the frozen sample run through the same code.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.errors import ConfigError, ExperimentError, did_you_mean
from kaizen_analytics.core.folders import in_folders
from kaizen_analytics.core.git import Repository
from kaizen_analytics.core.model import Branch, Classification, GitCommit, ManualTag, Metric, PromptFingerprint
from kaizen_analytics.core.queries import CANDIDATES, VARIANT_VALUES
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.binding import (
    Assignment,
    Candidate,
    SessionFacts,
    assign,
    candidate_of,
    commits_of,
    not_drawn,
)
from kaizen_analytics.experiments.evaluation import Caution, CautionKind
from kaizen_analytics.experiments.randomisation import Unit
from kaizen_analytics.store.assignments import read_draws
from kaizen_analytics.store.experiments import manual_tags
from kaizen_analytics.store.frames import session_metrics
from kaizen_analytics.store.retros import read_exposures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kaizen_analytics.core.git import Ancestry
    from kaizen_analytics.core.model import Binding, Experiment
    from kaizen_analytics.experiments.plan import Plan, Start
    from kaizen_analytics.store import Store
    from kaizen_analytics.store.assignments import Draw

SAMPLE_SCHEMA: dict[str, pl.DataType] = {
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

    >>> from kaizen_analytics.experiments.plan import get_plan
    >>> from kaizen_analytics.store.experiments import get_experiment
    >>> experiment, plan = get_experiment(store, "plan-first"), get_plan(store, "plan-first")
    >>> read_sample(store, experiment, plan).frame.height
    90
    """
    known = CANDIDATES.run(store)
    metrics = session_metrics(store)
    if experiment.metric is Metric.FINDING_RATE:
        seen = read_exposures(store, experiment.id)
        rate = pl.col("session_id").replace_strict(seen, default=None, return_dtype=pl.Float64)
        metrics = metrics.with_columns(rate.alias(Metric.FINDING_RATE.column))
    sessions = metrics.join(known.drop("workspace", "started_at_ms"), on="session_id")
    tags = manual_tags(store, experiment.id)
    draws = None if plan.randomisation is None else read_draws(store, experiment.id)
    stored = set(known["session_id"])
    arms = tags if draws is None else _intend_to_treat(tags, draws, stored)

    def gather(candidates: Sequence[Candidate], outside: frozenset[str]) -> SessionFacts:
        found = _read_evidence(store, experiment.binding, plan, candidates, arms, outside)
        left_out = None if draws is None else {draw.session_id: not_drawn(draw.reason) for draw in draws}
        return replace(found, undrawn=left_out)

    sample = arrange_sample(_join_units(sessions, draws or ()), experiment, plan, arms, gather, stored=stored)
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
    tags: Mapping[str, Classification],
    gather: Callable[[Sequence[Candidate], frozenset[str]], SessionFacts],
    *,
    stored: set[str],
) -> Sample:
    """Put the sessions of a started experiment into its arms, wherever they were read.

    Args:
        sessions: Root sessions with every metric and the columns of `sql/staging/candidates.sql`.
        experiment: What is judged, with the rule that was frozen.
        plan: The frozen plan.
        tags: Manual tags by session.
        gather: Reads the evidence on the candidates; its second argument are the tagged ones out of scope.
        stored: Every session that is known, sub-agents included.

    Raises:
        ExperimentError: the experiment has not started.

    >>> from kaizen_analytics.experiments.plan import Plan
    >>> from kaizen_analytics.store.experiments import get_experiment
    >>> experiment = get_experiment(store, "plan-first")
    >>> arrange_sample(pl.DataFrame(), experiment, Plan(), {}, None, stored=set())  # doctest: +ELLIPSIS
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
    candidates = [[candidate_of(row) for row in frame.iter_rows(named=True)] for frame in (chosen, earlier)]
    evidence = gather([*candidates[0], *candidates[1]], _outside(chosen, plan))
    assigned, before = (
        [assign(candidate, experiment.binding, start, evidence) for candidate in group] for group in candidates
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
    people = CANDIDATES.run(store).select("session_id", "user_name", "organisation", "branch", "pull_request")
    scope = session_metrics(store).filter(in_folders(workspaces))
    return scope.join(people, on="session_id", how="left", maintain_order="left")


def select_sessions(
    store: Store, where: Mapping[str, str], *, since_ms: int | None = None, until_ms: int | None = None
) -> list[str]:
    """Return the root sessions that fit every condition, oldest first.

    Args:
        store: The open store.
        where: Exact values of `agent`, `model`, `workspace` or `branch`.
        since_ms: First start that counts.
        until_ms: First start that no longer counts.

    Raises:
        ConfigError: a condition names another column, or a value that no session has.

    >>> len(select_sessions(store, {"agent": "codex"})) > 10
    True
    """
    unknown = sorted(set(where) - set(_CONDITIONS))
    if unknown:
        raise ConfigError(f"Sessions cannot be chosen by {unknown[0]!r}; expected one of {', '.join(_CONDITIONS)}.")
    known = CANDIDATES.run(store).select("session_id", "branch")
    sessions = session_metrics(store).join(known, on="session_id")
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
    return _join_assignments(others, [Assignment(classification=Classification.EXCLUDED, reason=None)] * others.height)


def sample_records(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the sample as rows to freeze: `session_id`, `variant`, `reason`, and all columns as JSON in `sample`.

    >>> from kaizen_analytics.experiments.plan import get_plan
    >>> from kaizen_analytics.store.experiments import get_experiment
    >>> experiment, plan = get_experiment(store, "plan-first"), get_plan(store, "plan-first")
    >>> sample_records(read_sample(store, experiment, plan).frame).columns
    ['session_id', 'variant', 'reason', 'sample']
    """
    ordered = frame.select(*SAMPLE_SCHEMA).sort("session_id")
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
    return pl.DataFrame(list(records), schema=SAMPLE_SCHEMA).sort("started_at_ms", "session_id")


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


def _outside(chosen: pl.DataFrame, plan: Plan) -> frozenset[str]:
    return frozenset(chosen.filter(~in_folders(plan.workspaces))["session_id"])


def _read_evidence(
    store: Store,
    binding: Binding,
    plan: Plan,
    candidates: Sequence[Candidate],
    tags: Mapping[str, Classification],
    outside: frozenset[str],
) -> SessionFacts:
    ancestry, is_shallow = read_ancestry(binding, plan, candidates)
    return SessionFacts(
        tags=tags,
        values=read_values(store, binding),
        ancestry=ancestry,
        is_shallow=is_shallow,
        outside=outside,
    )


def read_values(store: Store, binding: Binding) -> dict[str, frozenset[str]]:
    """Return the distinct values of a `ManualTag` field per root session; empty for every other binding.

    >>> read_values(store, ManualTag(variant_field="arm"))
    {}
    """
    if not isinstance(binding, ManualTag) or not binding.variant_field:
        return {}
    rows = VARIANT_VALUES.run(store, json_path=f"$.{json.dumps(binding.variant_field, ensure_ascii=False)}")
    grouped = rows.group_by("session_id").agg("variant_value")
    return {session_id: frozenset(values) for session_id, values in grouped.iter_rows()}


def read_ancestry(binding: Binding, plan: Plan, candidates: Sequence[Candidate]) -> tuple[dict[str, Ancestry], bool]:
    """Return how the candidates' commits relate to the frozen ones, and whether history is cut off.

    Raises:
        RepositoryError: the plan's repository cannot be read.

    >>> from kaizen_analytics.experiments.plan import get_plan
    >>> from kaizen_analytics.store.experiments import get_experiment
    >>> experiment, plan = get_experiment(store, "plan-first"), get_plan(store, "plan-first")
    >>> read_ancestry(experiment.binding, plan, [])
    ({}, False)
    """
    start = plan.started
    commits = commits_of(candidates, binding)
    if not isinstance(binding, (GitCommit, Branch)) or not commits or plan.repository is None or start is None:
        return {}, False
    repository = Repository.open(Path(plan.repository))
    targets = [ref for ref in (start.control_ref, start.treatment_ref) if ref is not None]
    return repository.relate(commits, list(dict.fromkeys(targets))), repository.is_shallow()


def _join_assignments(chosen: pl.DataFrame, assigned: Sequence[Assignment]) -> pl.DataFrame:
    columns = {
        "variant": [item.classification.value for item in assigned],
        "reason": [None if item.reason is None else item.reason.value for item in assigned],
        "flags": [" ".join(item.flags) for item in assigned],
    }
    arms = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String()))
    # sessions of a lake, where each was drawn by itself, have no unit; without a lot there is no covariate
    missing = [name for name in ("unit", "covariate", "pull_request") if name not in chosen.columns]
    chosen = chosen.with_columns(pl.lit(None, SAMPLE_SCHEMA[name]).alias(name) for name in missing)
    return pl.concat([chosen, arms], how="horizontal").select(*SAMPLE_SCHEMA)
