"""The sample of an experiment: every session in its scope and window, with its arm, its reason and its metrics.

Reading is here; the decisions are in `binding`, the numbers in `assessment`. The frame is what `conclude` freezes,
so an evaluation from the store and one from the frozen sample run through the same code.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.columnar import session_metrics
from kaizen_analytics.errors import ExperimentError
from kaizen_analytics.experiments.binding import (
    Assignment,
    Candidate,
    Evidence,
    assign,
    candidate_of,
    commits_of,
)
from kaizen_analytics.git import Repository
from kaizen_analytics.model import Branch, Classification, GitCommit, ManualTag, Metric
from kaizen_analytics.queries import CANDIDATES, SESSION_ROOTS, VARIANT_VALUES
from kaizen_analytics.store.experiments import manual_tags
from kaizen_analytics.store.sessions import find_foreign
from kaizen_analytics.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kaizen_analytics.experiments.plan import Plan, Start
    from kaizen_analytics.git import Ancestry
    from kaizen_analytics.model import Binding, Experiment
    from kaizen_analytics.store import Store

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
    "started_at_ms": pl.Int64(),
    "responses": pl.Int64(),
    "unpriced_responses": pl.Int64(),
    "unreliable_responses": pl.Int64(),
    **{metric.column: pl.Float64() for metric in Metric},
}
"""Columns of a sample, one row per session; `flags` are words with a blank between them."""

_CONDITIONS = ("agent", "model", "workspace", "branch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The sessions of an experiment with what a reader should know about how they were chosen."""

    frame: pl.DataFrame
    warnings: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the sample: the same sessions, arms and values give the same text."""
        return hashlib.sha256("\n".join(sample_records(self.frame)["sample"]).encode()).hexdigest()


def read_sample(store: Store, experiment: Experiment, plan: Plan) -> Sample:
    """Read the sessions of a started experiment and put each into its arm.

    Raises:
        ExperimentError: the experiment has not started.
        RepositoryError: the binding needs a repository that cannot be read; no session is guessed into an arm.
    """
    known = CANDIDATES.run(store)
    metrics = session_metrics(store)
    sessions = metrics.join(known.drop("workspace", "started_at_ms"), on="session_id")
    tags = manual_tags(store, experiment.id)

    def gather(candidates: Sequence[Candidate], outside: frozenset[str]) -> Evidence:
        return _read_evidence(store, experiment.binding, plan, candidates, tags, outside)

    return arrange_sample(sessions, experiment, plan, tags, gather, stored=set(known["session_id"]))


def arrange_sample(
    sessions: pl.DataFrame,
    experiment: Experiment,
    plan: Plan,
    tags: Mapping[str, Classification],
    gather: Callable[[Sequence[Candidate], frozenset[str]], Evidence],
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
    """
    start = plan.started
    if start is None:
        raise ExperimentError(f"Experiment {experiment.id} has not started; run 'exp start {experiment.id}' first.")
    chosen = choose_candidates(sessions, plan, start, tags)
    candidates = [candidate_of(row) for row in chosen.iter_rows(named=True)]
    evidence = gather(candidates, _outside(chosen, plan))
    assigned = [assign(candidate, experiment.binding, start, evidence) for candidate in candidates]
    return Sample(
        frame=_join_assignments(chosen, assigned),
        warnings=tuple(describe_tags(tags, stored, set(sessions["session_id"]))),
    )


def read_scope(store: Store, workspaces: tuple[str, ...]) -> pl.DataFrame:
    """Return every metric and cluster of the root sessions of these workspaces (empty: of all)."""
    people = CANDIDATES.run(store).select("session_id", "user_name", "organisation")
    scope = session_metrics(store).filter(in_workspaces(workspaces))
    return scope.join(people, on="session_id", how="left", maintain_order="left")


def select_sessions(
    store: Store,
    where: Mapping[str, str],
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> list[str]:
    """Return the root sessions that fit every condition, oldest first.

    Args:
        store: The open store.
        where: Exact values of `agent`, `model`, `workspace` or `branch`.
        since_ms: First start that counts.
        until_ms: First start that no longer counts.

    Raises:
        ExperimentError: a condition names another column.
    """
    unknown = sorted(set(where) - set(_CONDITIONS))
    if unknown:
        raise ExperimentError(f"Sessions cannot be chosen by {unknown[0]!r}; expected one of {', '.join(_CONDITIONS)}.")
    known = CANDIDATES.run(store).select("session_id", "branch")
    sessions = session_metrics(store).join(known, on="session_id")
    started = pl.col("started_at_ms")
    conditions = [pl.col(name) == value for name, value in where.items()]
    conditions += [started >= since_ms] if since_ms is not None else []
    conditions += [started < until_ms] if until_ms is not None else []
    chosen = sessions.filter(*conditions) if conditions else sessions
    return chosen.sort("started_at_ms", "session_id")["session_id"].to_list()


def choose_candidates(
    sessions: pl.DataFrame,
    plan: Plan,
    start: Start,
    tags: Mapping[str, Classification],
) -> pl.DataFrame:
    """Return the sessions in scope and window, and every tagged one: a tag is not cut by the window."""
    in_window = pl.col("started_at_ms").is_between(start.window_start_ms, start.window_end_ms)
    tagged = pl.col("session_id").is_in(list(tags))
    return sessions.filter((in_workspaces(plan.workspaces) & in_window) | tagged).sort("started_at_ms", "session_id")


def describe_tags(tags: Mapping[str, Classification], stored: set[str], roots: set[str]) -> list[str]:
    """Return a sentence on tags that name no session of the store, and on tags of sub-agents."""
    waiting = len(set(tags) - stored)
    delegated = len((set(tags) & stored) - roots)
    sentences = []
    if waiting:
        sentences.append(f"Not counted: {counted(waiting, 'tagged session')} that the store does not hold (yet).")
    if delegated:
        sentences.append(
            f"Without effect: {counted(delegated, 'tag')} of sub-agents, which count with the session that started "
            "them; tag that session.",
        )
    return sentences


def sample_records(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the sample as rows to freeze: `session_id`, `variant`, `reason`, and all columns as JSON in `sample`."""
    ordered = frame.select(*SAMPLE_SCHEMA).sort("session_id")
    texts = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in ordered.iter_rows(named=True)]
    return ordered.select("session_id", "variant", "reason").with_columns(pl.Series("sample", texts, dtype=pl.String))


def restore_sample(records: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return the frame that `sample_records` was given, row by row the same, in the order of session starts."""
    frame = pl.DataFrame(list(records), schema=SAMPLE_SCHEMA)
    return frame.sort("started_at_ms", "session_id")


def in_workspaces(workspaces: tuple[str, ...]) -> pl.Expr:
    """Return the condition that a session ran in one of these workspaces or below (empty: in any)."""
    if not workspaces:
        return pl.lit(value=True)
    workspace = pl.col("workspace")
    return pl.any_horizontal(
        *((workspace == root) | workspace.str.starts_with(root.rstrip("/") + "/") for root in workspaces),
    )


def _outside(chosen: pl.DataFrame, plan: Plan) -> frozenset[str]:
    return frozenset(chosen.filter(~in_workspaces(plan.workspaces))["session_id"])


def _read_evidence(
    store: Store,
    binding: Binding,
    plan: Plan,
    candidates: Sequence[Candidate],
    tags: Mapping[str, Classification],
    outside: frozenset[str],
) -> Evidence:
    ancestry, is_shallow = read_ancestry(binding, plan, candidates)
    return Evidence(
        tags=tags,
        values=read_values(store, binding),
        ancestry=ancestry,
        is_shallow=is_shallow,
        outside=outside,
        foreign=_read_foreign(store, [candidate.session_id for candidate in candidates]),
    )


def _read_foreign(store: Store, session_ids: Sequence[str]) -> frozenset[str]:
    """Return the root sessions that hold, or whose sub-agents hold, events added to ours by another tool."""
    chosen = SESSION_ROOTS.run(store).filter(pl.col("root_id").is_in(list(session_ids)))
    roots = dict(chosen.iter_rows())
    ours = store.native(
        "select session_id from ka_sources where session_id in (select value from json_each(?))",
        json.dumps(list(roots)),
    )
    return frozenset(roots[session_id] for session_id in find_foreign(store, [str(owned) for (owned,) in ours]))


def read_values(store: Store, binding: Binding) -> dict[str, frozenset[str]]:
    """Return the distinct values of a `ManualTag` field per root session; empty for every other binding."""
    if not isinstance(binding, ManualTag) or not binding.variant_field:
        return {}
    rows = VARIANT_VALUES.run(store, json_path=f"$.{json.dumps(binding.variant_field, ensure_ascii=False)}")
    grouped = rows.group_by("session_id").agg("variant_value")
    return {session_id: frozenset(values) for session_id, values in grouped.iter_rows()}


def read_ancestry(
    binding: Binding,
    plan: Plan,
    candidates: Sequence[Candidate],
) -> tuple[dict[str, Ancestry], bool]:
    """Return how the candidates' commits relate to the frozen ones, and whether history is cut off.

    Raises:
        RepositoryError: the plan's repository cannot be read.
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
    return pl.concat([chosen, arms], how="horizontal").select(*SAMPLE_SCHEMA)
