"""What a store takes over from a file of kaizen-cli: experiments and tags, and what it observed of sessions.

Sessions and events are not taken: they are read from the transcripts, where they are counted once and completely.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from kaizen_analytics.core.errors import ExperimentError, StoreError
from kaizen_analytics.core.model import Classification, Direction, Experiment, GuardrailSpec, Metric
from kaizen_analytics.store.connection import Store
from kaizen_analytics.store.experiments import (
    Unreadable,
    list_experiments,
    load_experiment,
    load_plan,
    manual_tags,
    parse_experiment,
    tag_sessions,
    unreadable_experiments,
    write_experiment,
)
from kaizen_analytics.store.sql import encode_list, quote_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORMER = {
    "ka_plans": ("experiment_id", "plan", "frozen_at_ms"),
    "ka_samples": ("experiment_id", "session_id", "variant", "reason", "sample"),
    "ka_results": ("experiment_id", "evaluation", "concluded_at_ms"),
    "ka_session_attributes": ("session_id", "user", "organisation"),
    "ka_retros": ("id", "workspace", "window_start_ms", "window_end_ms", "computed_at_ms", "retro"),
    "ka_bets": ("retro_id", "position", "bet_id", "bet"),
}
"""What a former version of this package kept in a file that it shared with kaizen-cli; rows that are here stay."""
_OBSERVED = {
    "session_feedback": (("id",), ("session_id", "score", "label", "note", "created_at_ms")),
    "session_outcomes": (
        ("session_id",),
        (
            *("test_passed", "test_failed", "test_skipped", "build_ok", "lint_errors", "revert_lines_14d"),
            *("pr_open", "ci_ok", "measured_at_ms", "measure_error"),
        ),
    ),
    "session_evals": (
        ("id",),
        ("session_id", "judge_model", "rubric_id", "score", "rationale", "flagged", "created_at_ms"),
    ),
    "session_samples": (("session_id", "ts_ms", "pid"), ("cpu_percent", "rss_bytes")),
    "file_facts": (("snapshot_id", "path"), ("loc", "bytes", "complexity_total")),
}
"""What a retro reads and only kaizen-cli records: the key and the other columns of each table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImportSummary:
    """How much an import added or changed, and the experiments of the file that it could not read.

    `rows` counts the rows of each table of what kaizen-cli observed.
    """

    experiments: int
    tags: int
    rows: Mapping[str, int]
    unreadable: tuple[Unreadable, ...]


def import_kaizen(store: Store, path: Path, *, now_ms: int) -> _ImportSummary:
    """Take over experiments, tags and observations of a file that kaizen-cli wrote, all or nothing.

    A second import adds only what is new. An experiment that has no plan here follows the file; one that was planned
    here must be the same experiment there, and keeps its own state. A tag that was removed here stays removed.

    Raises:
        ExperimentError: an experiment that was planned here has another definition there.
        VariantConflictError: a session is tagged with another arm here.
        FrozenError: a tag is new to an experiment whose sample is frozen.
        StoreError: the file is missing, damaged, no database of kaizen-cli, or the store itself.

    >>> import_kaizen(writable, store.path, now_ms=0).experiments
    0
    """
    if path.exists() and path.samefile(store.path):
        raise StoreError(f"{path} is the store itself; name a database of kaizen-cli.")
    with Store.open(path, read_only=True) as source, source.snapshot(), store.write():
        found = _read_experiments(source)
        experiments = sum(_take_experiment(store, source.path, experiment) for experiment in found)
        tags = sum(_take_tags(store, source, experiment.id, now_ms) for experiment in found)
        for table, columns in _FORMER.items():
            _copy_rows(source, store, table, columns, "do nothing")
        return _ImportSummary(
            experiments=experiments,
            tags=tags,
            rows={table: _copy_observed(source, store, table, *columns) for table, columns in _OBSERVED.items()},
            unreadable=tuple(unreadable_experiments(source)),
        )


def _read_experiments(source: Store) -> list[Experiment]:
    """Return every readable experiment, also those that a former version of this package kept in tables of its own."""
    tables = {name for (name,) in source.native("select name from sqlite_master where type = 'table'")}
    found = list_experiments(source)
    if not {"ka_experiments", "ka_guardrails"} <= tables:
        return found
    former = "select id, hex(metadata), state, concluded_at_ms, created_at_ms from ka_experiments"
    found += [parse_experiment(row) for row in source.native(former)]
    guardrails = {row[0]: row[1] for row in source.native("select experiment_id, guardrails from ka_guardrails")}
    return [_add_guardrails(experiment, guardrails.get(experiment.id)) for experiment in found]


def _add_guardrails(experiment: Experiment, former: str | None) -> Experiment:
    joined = list(experiment.guardrails)
    for place, metric, direction, threshold_pct in json.loads(former) if former else ():
        joined.insert(place, GuardrailSpec(Metric(metric), Direction(direction), threshold_pct))
    return replace(experiment, guardrails=tuple(joined))


def _take_experiment(store: Store, path: Path, theirs: Experiment) -> bool:
    """Write an experiment unless it is here already; return whether anything changed."""
    ours = load_experiment(store, theirs.id)
    if ours == theirs:
        return False
    if ours is not None and load_plan(store, ours.id) is not None:
        same_state = replace(theirs, state=ours.state, concluded_at_ms=ours.concluded_at_ms)
        differing = [item.name for item in fields(ours) if getattr(ours, item.name) != getattr(same_state, item.name)]
        if differing:
            raise ExperimentError(
                f"Experiment {ours.id} was planned in {store.path}, and {path} has another {', '.join(differing)}. "
                "Nothing was imported; make the two equal, or give one of them another id."
            )
        return False
    write_experiment(store, theirs)
    return True


def _take_tags(store: Store, source: Store, experiment_id: str, now_ms: int) -> int:
    """Tag the sessions that have a tag in the source and none here, and return how many."""
    removed = {
        session_id
        for (session_id,) in store.native(
            "select session_id from ka_tag_log where experiment_id = ? and action = 'untag'", experiment_id
        )
    }
    ours = manual_tags(store, experiment_id)
    new: dict[Classification, list[str]] = {}
    for session_id, arm in manual_tags(source, experiment_id).items():
        if ours.get(session_id) is not arm and session_id not in removed:
            new.setdefault(arm, []).append(session_id)
    return sum(tag_sessions(store, experiment_id, ids, arm, now_ms=now_ms) for arm, ids in new.items())


def _copy_observed(source: Store, store: Store, table: str, key: tuple[str, ...], others: tuple[str, ...]) -> int:
    """Insert or update rows by their key, and return how many were new or different."""
    changed = ", ".join(f"{name} = excluded.{name}" for name in others)
    differs = " or ".join(f"{table}.{name} is not excluded.{name}" for name in others)
    update = f"({', '.join(key)}) do update set {changed} where {differs}"
    return _copy_rows(source, store, table, (*key, *others), update)


def _copy_rows(source: Store, store: Store, table: str, columns: tuple[str, ...], on_conflict: str) -> int:
    """Insert the rows of a table and return how many were written; a column that the source lacks is null."""
    known = {name for (name,) in source.native("select name from pragma_table_info(?)", table)}
    if not known:
        return 0
    read = ", ".join(quote_name(name) if name in known else f"null as {name}" for name in columns)
    rows = source.read(f"select {read} from {table}").rows()
    picked = ", ".join(f"value->>{place}" for place in range(len(columns)))
    written = store.native(
        f"insert into {table} ({', '.join(columns)}) select {picked} from json_each(?) where true "
        f"on conflict {on_conflict} returning 1",
        encode_list(rows),
    )
    return len(written)
