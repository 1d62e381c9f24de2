"""Experiments and tags, in the rows that kaizen-cli shares.

These are the low-level reads and writes; the rules of an experiment's life are in `experiments.lifecycle`. They still
refuse to change an experiment whose sample is frozen, and never overwrite a row that they cannot read.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kaizen_analytics.errors import (
    ExperimentError,
    ExperimentNotFoundError,
    FrozenError,
    VariantConflictError,
    did_you_mean,
)
from kaizen_analytics.model import Classification, Experiment, GuardrailSpec, State
from kaizen_analytics.store.connection import encode_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.store.connection import Row, Store

_TABLES = ("experiments", "ka_experiments")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored experiment that does not parse; it is reported and never overwritten."""

    id: str
    reason: str


def save_experiment(store: Store, experiment: Experiment) -> None:
    """Insert or update `experiment`; the time it was created at never changes.

    Raises:
        FrozenError: its sample is frozen.
        ExperimentError: the stored row under this id cannot be read, so it must not be overwritten.
    """
    with store.write():
        require_unfrozen(store, experiment.id)
        stored = load_experiment(store, experiment.id)
        created_at_ms = experiment.created_at_ms if stored is None else stored.created_at_ms
        write_experiment(store, replace(experiment, created_at_ms=created_at_ms))


def load_experiment(store: Store, experiment_id: str) -> Experiment | None:
    """Return the experiment with exactly this id, or None.

    Raises:
        ExperimentError: the stored row does not parse.
    """
    rows = store.native(f"{_STORED} where e.id = ?", experiment_id)
    return _experiment(rows[0]) if rows else None


def get_experiment(store: Store, prefix: str) -> Experiment:
    """Return the experiment whose id is `prefix`, or the only one whose id starts with it.

    Raises:
        ExperimentNotFoundError: no id starts with `prefix`.
        ExperimentError: several do.
    """
    exact = load_experiment(store, prefix)
    if exact is not None:
        return exact
    ids = [known or "" for (known,) in store.native("select id from experiments union select id from ka_experiments")]
    matches = [known for known in ids if known.startswith(prefix)]
    if not matches or not prefix:
        hint = did_you_mean(prefix, ids)
        raise ExperimentNotFoundError(
            f"experiment not found: {prefix}.{hint} 'kaizen-analytics exp list' shows all.",
        )
    if len(matches) > 1:
        raise ExperimentError(f"{prefix!r} is the start of several experiments: {', '.join(sorted(matches))}.")
    found = load_experiment(store, matches[0])
    if found is None:
        raise ExperimentNotFoundError(f"experiment not found: {matches[0]}")
    return found


def list_experiments(store: Store) -> list[Experiment]:
    """Return every readable experiment, newest first; `unreadable_experiments` names the others."""
    parsed = [item for item in _parse_all(store) if isinstance(item, Experiment)]
    return sorted(parsed, key=lambda item: (-item.created_at_ms, item.id))


def unreadable_experiments(store: Store) -> list[Unreadable]:
    """Return the stored experiments that do not parse, with the reason."""
    return [item for item in _parse_all(store) if isinstance(item, Unreadable)]


def set_state(store: Store, experiment_id: str, state: State, now_ms: int) -> None:
    """Write a state; Concluded also sets `concluded_at_ms`. No rule of the life cycle is checked here.

    Raises:
        ExperimentNotFoundError: "experiment not found: <id>".
        FrozenError: the experiment is frozen; only archiving it is possible then.
    """
    with store.write():
        experiment = load_experiment(store, experiment_id)
        if experiment is None:
            raise ExperimentNotFoundError(f"experiment not found: {experiment_id}")
        if state is not State.ARCHIVED:
            require_unfrozen(store, experiment_id)
        write_experiment(store, experiment.with_state(state, now_ms))


def tag_session(
    store: Store,
    experiment_id: str,
    session_id: str,
    classification: Classification,
    *,
    now_ms: int | None = None,
) -> None:
    """Put one session into an arm; the same arm again is no change.

    The session need not have been ingested yet.

    Raises:
        VariantConflictError: "variant conflict": the session is tagged with another arm. Nothing is overwritten.
        FrozenError: the experiment is frozen.
    """
    tag_sessions(store, experiment_id, [session_id], classification, now_ms=now_ms)


def tag_sessions(
    store: Store,
    experiment_id: str,
    session_ids: Sequence[str],
    classification: Classification,
    *,
    now_ms: int | None = None,
) -> int:
    """Put several sessions into an arm, all of them or none, and return how many were not in it before.

    Raises:
        VariantConflictError: a session is tagged with another arm.
        FrozenError: the experiment is frozen.
    """
    variant = classification.value
    ids = encode_list(dict.fromkeys(session_ids))
    with store.write():
        require_unfrozen(store, experiment_id)
        added = store.native(
            "insert into experiment_tags (experiment_id, session_id, variant) "
            "select ?1, value, ?2 from json_each(?3) where true "
            "on conflict (experiment_id, session_id) do nothing returning session_id",
            experiment_id,
            variant,
            ids,
        )
        conflicts = store.native(
            "select session_id, variant from experiment_tags where experiment_id = ?1 and variant <> ?2 "
            "and session_id in (select value from json_each(?3)) order by session_id",
            experiment_id,
            variant,
            ids,
        )
        if conflicts:
            _raise_conflict(experiment_id, variant, conflicts)
        if added:
            _log_tags(store, experiment_id, [row[0] for row in added], variant, "tag", None, now_ms)
    return len(added)


def untag_session(
    store: Store,
    experiment_id: str,
    session_id: str,
    reason: str,
    *,
    now_ms: int | None = None,
) -> None:
    """Take a session out of its arm; the removal and its reason are recorded.

    Raises:
        ExperimentError: the session has no tag in this experiment, or the reason is empty.
        FrozenError: the experiment is frozen.
    """
    if not reason.strip():
        raise ExperimentError("Removing a tag needs a reason; it is kept with the experiment.")
    with store.write():
        require_unfrozen(store, experiment_id)
        removed = store.native(
            "delete from experiment_tags where experiment_id = ? and session_id = ? returning variant",
            experiment_id,
            session_id,
        )
        if not removed:
            raise ExperimentError(f"Session {session_id} has no tag in experiment {experiment_id}.")
        _log_tags(store, experiment_id, [session_id], removed[0][0] or "", "untag", reason, now_ms)


def manual_tags(store: Store, experiment_id: str) -> dict[str, Classification]:
    """Return the arm of each tagged session; a text that is no arm reads as Excluded."""
    rows = store.native(
        "select session_id, variant from experiment_tags where experiment_id = ? order by session_id",
        experiment_id,
    )
    return {session_id or "": _classification(variant or "") for session_id, variant in rows}


def is_frozen(store: Store, experiment_id: str) -> bool:
    """Whether the experiment has a frozen sample."""
    return bool(store.native("select 1 from ka_results where experiment_id = ?", experiment_id))


def require_unfrozen(store: Store, experiment_id: str) -> None:
    """Raise FrozenError when the experiment has a frozen sample."""
    if is_frozen(store, experiment_id):
        raise FrozenError(
            f"Experiment {experiment_id} is concluded and its sample is frozen; it and its tags can no longer change. "
            "Start a new experiment instead.",
        )


def write_experiment(store: Store, experiment: Experiment) -> None:
    """Write the row as it is, inside a `Store.write` block."""
    table, other = _TABLES if experiment.metric.known_to_kaizen else reversed(_TABLES)
    kept, ours = _split_guardrails(experiment)
    store.native(
        f"insert into {table} (id, name, created_at_ms, metadata, state, concluded_at_ms) "
        "values (?, ?, ?, ?, ?, ?) on conflict (id) do update set name = excluded.name, metadata = excluded.metadata, "
        "state = excluded.state, concluded_at_ms = excluded.concluded_at_ms returning 1",
        experiment.id,
        experiment.name,
        experiment.created_at_ms,
        kept.to_json(),
        experiment.state.value,
        experiment.concluded_at_ms,
    )
    store.native(f"delete from {other} where id = ? returning 1", experiment.id)  # its metric has changed
    store.native("delete from ka_guardrails where experiment_id = ? returning 1", experiment.id)
    if ours:
        store.native("insert into ka_guardrails values (?, ?) returning 1", experiment.id, json.dumps(ours))


# As hexadecimal digits, so that text which is not UTF-8 spoils its own row only.
_STORED = """
    select e.*, g.guardrails from (
        select id, hex(metadata) as metadata, state, concluded_at_ms, created_at_ms from experiments
        union all
        select id, hex(metadata) as metadata, state, concluded_at_ms, created_at_ms from ka_experiments
    ) as e left join ka_guardrails as g on g.experiment_id = e.id"""


def _parse_all(store: Store) -> list[Experiment | Unreadable]:
    parsed: list[Experiment | Unreadable] = []
    for row in store.native(_STORED):
        try:
            parsed.append(_experiment(row))
        except ExperimentError as error:
            parsed.append(Unreadable(row[0] or "", str(error)))
    return parsed


def _experiment(row: Row) -> Experiment:
    """Read a row; its own columns decide over the copies in the JSON, which a foreign tool may have left behind."""
    experiment_id, metadata, state, concluded_at_ms, created_at_ms, ours = row
    try:
        experiment = Experiment.from_json(bytes.fromhex(metadata or "").decode())
        return replace(
            experiment,
            id=experiment_id or experiment.id,
            state=State(state or ""),
            created_at_ms=int(created_at_ms or 0),
            concluded_at_ms=None if concluded_at_ms is None else int(concluded_at_ms),
            guardrails=_join_guardrails(experiment.guardrails, ours),
        )
    except (ExperimentError, ValueError) as error:
        raise ExperimentError(f"Experiment {experiment_id} cannot be read: {error}") from error


def _split_guardrails(experiment: Experiment) -> tuple[Experiment, list[tuple[int, str, str, float]]]:
    if not experiment.metric.known_to_kaizen:
        return experiment, []
    ours = [
        (place, g.metric.value, g.regression_direction.value, g.threshold_pct)
        for place, g in enumerate(experiment.guardrails)
        if not g.metric.known_to_kaizen
    ]
    shared = tuple(g for g in experiment.guardrails if g.metric.known_to_kaizen)
    return replace(experiment, guardrails=shared), ours


def _join_guardrails(shared: tuple[GuardrailSpec, ...], ours: str | None) -> tuple[GuardrailSpec, ...]:
    joined = list(shared)
    for place, metric, direction, threshold_pct in json.loads(ours) if ours else ():
        spec = GuardrailSpec.from_fields(metric, direction, threshold_pct)
        joined.insert(place, spec)
    return tuple(joined)


def _classification(text: str) -> Classification:
    return Classification(text) if text in set(Classification) else Classification.EXCLUDED


def _raise_conflict(experiment_id: str, variant: str, conflicts: list[Row]) -> None:
    session_id, stored = conflicts[0]
    more = f" ({len(conflicts) - 1} more sessions likewise)" if len(conflicts) > 1 else ""
    raise VariantConflictError(
        f"variant conflict: session {session_id} is tagged {stored} in experiment {experiment_id}, "
        f"not {variant}{more}. "
        f"Nothing was changed; 'kaizen-analytics exp untag {experiment_id} {session_id} --reason …' removes the tag.",
    )


def _log_tags(
    store: Store,
    experiment_id: str,
    session_ids: Sequence[str | None],
    variant: str,
    action: str,
    reason: str | None,
    now_ms: int | None,
) -> None:
    store.native(
        "insert into ka_tag_log (experiment_id, session_id, variant, action, reason, at_ms) "
        "select ?1, value, ?2, ?3, ?4, ?5 from json_each(?6) where true returning 1",
        experiment_id,
        variant,
        action,
        reason,
        time.time_ns() // 1_000_000 if now_ms is None else now_ms,
        encode_list(session_ids),
    )
