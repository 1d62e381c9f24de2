"""Experiments and tags, in tables with kaizen-cli's columns and JSON.

These are the low-level reads and writes; the rules of an experiment's life are in `experiments.lifecycle`. They still
refuse to change an experiment whose sample is frozen, and never overwrite a row that they cannot read.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import (
    ExperimentError,
    ExperimentNotFoundError,
    FrozenError,
    RecordError,
    VariantConflictError,
    did_you_mean,
)
from kaizen_analytics.core.model import Classification, Experiment, State
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.store.sessions import digest, read_conclusion, write_digests
from kaizen_analytics.store.sql import encode_list, parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from kaizen_analytics.store.connection import Store
    from kaizen_analytics.store.sql import Row


class Unreadable(NamedTuple):
    """A stored experiment that does not parse; it is reported and never overwritten."""

    id: str
    reason: str


def save_experiment(store: Store, experiment: Experiment) -> None:
    """Insert or update `experiment`; the time it was created at never changes.

    Raises:
        FrozenError: its sample is frozen.
        ExperimentError: the stored row under this id cannot be read, so it must not be overwritten.

    >>> draft = replace(experiment, id="again", state=State.DRAFT, created_at_ms=1)
    >>> save_experiment(writable, draft)
    >>> save_experiment(writable, replace(draft, name="Again", created_at_ms=2))
    >>> load_experiment(writable, "again").created_at_ms
    1
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

    >>> load_experiment(store, "plan-first").state
    <State.CONCLUDED: 'Concluded'>
    >>> load_experiment(store, "plan")
    """
    rows = store.native(f"{_STORED} where id = ?", experiment_id)
    return parse_experiment(rows[0]) if rows else None


def get_experiment(store: Store, prefix: str) -> Experiment:
    """Return the experiment whose id is `prefix`, or the only one whose id starts with it.

    Raises:
        ExperimentNotFoundError: no id starts with `prefix`.
        ExperimentError: several do.

    >>> get_experiment(store, "plan").id
    'plan-first'
    """
    exact = load_experiment(store, prefix)
    if exact is not None:
        return exact
    ids = [known or "" for (known,) in store.native("select id from experiments")]
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
    """Return every readable experiment, newest first; `unreadable_experiments` names the others.

    >>> sorted(experiment.id for experiment in list_experiments(store))
    ['concise-instructions', 'plan-first', 'small-model']
    """
    parsed = [item for item in _parse_all(store) if isinstance(item, Experiment)]
    return sorted(parsed, key=lambda item: (-item.created_at_ms, item.id))


def unreadable_experiments(store: Store) -> list[Unreadable]:
    """Return the stored experiments that do not parse, with the reason.

    >>> unreadable_experiments(store)
    []
    """
    return [item for item in _parse_all(store) if isinstance(item, Unreadable)]


def set_state(store: Store, experiment_id: str, state: State, now_ms: int) -> None:
    """Write a state; Concluded also sets `concluded_at_ms`. No rule of the life cycle is checked here.

    Raises:
        ExperimentNotFoundError: "experiment not found: <id>".
        FrozenError: the experiment is frozen; only archiving it is possible then.

    >>> set_state(writable, "plan-first", State.ARCHIVED, 0)
    >>> load_experiment(writable, "plan-first").state
    <State.ARCHIVED: 'Archived'>
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

    >>> tag_session(writable, "e1", "s1", Classification.CONTROL)
    >>> manual_tags(writable, "e1")
    {'s1': <Classification.CONTROL: 'Control'>}
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

    >>> [tag_sessions(writable, "e1", ["s1", "s2"], Classification.CONTROL) for _ in range(2)]
    [2, 0]
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

    >>> tag_session(writable, "e1", "s1", Classification.CONTROL)
    >>> untag_session(writable, "e1", "s1", "wrong session")
    >>> manual_tags(writable, "e1")
    {}
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
    """Return the arm of each tagged session; a text that is no arm reads as Excluded.

    >>> len(manual_tags(store, "no such"))
    0
    """
    rows = store.native(
        "select session_id, variant from experiment_tags where experiment_id = ? order by session_id",
        experiment_id,
    )
    return {session_id or "": _classification(variant or "") for session_id, variant in rows}


def is_frozen(store: Store, experiment_id: str) -> bool:
    """Whether the experiment has a frozen sample.

    >>> is_frozen(store, "plan-first"), is_frozen(store, "no such")
    (True, False)
    """
    return bool(store.native("select 1 from ka_results where experiment_id = ?", experiment_id))


def require_unfrozen(store: Store, experiment_id: str) -> None:
    """Raise FrozenError when the experiment has a frozen sample.

    >>> require_unfrozen(store, "plan-first")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.FrozenError: Experiment plan-first is concluded and its sample is frozen; ...
    """
    if is_frozen(store, experiment_id):
        raise FrozenError(
            f"Experiment {experiment_id} is concluded and its sample is frozen; it and its tags can no longer change. "
            "Start a new experiment instead.",
        )


def write_experiment(store: Store, experiment: Experiment) -> None:
    """Write the row as it is, inside a `Store.write` block.

    >>> with writable.write():
    ...     write_experiment(writable, replace(get_experiment(writable, "plan-first"), id="again"))
    >>> load_experiment(writable, "again").id
    'again'
    """
    store.native(
        "insert into experiments (id, name, created_at_ms, metadata, state, concluded_at_ms) "
        "values (?, ?, ?, ?, ?, ?) on conflict (id) do update set name = excluded.name, metadata = excluded.metadata, "
        "state = excluded.state, concluded_at_ms = excluded.concluded_at_ms returning 1",
        experiment.id,
        experiment.name,
        experiment.created_at_ms,
        codec.write(experiment),
        experiment.state.value,
        experiment.concluded_at_ms,
    )


# As hexadecimal digits, so that text which is not UTF-8 spoils its own row only.
_STORED = "select id, hex(metadata), state, concluded_at_ms, created_at_ms from experiments"


def _parse_all(store: Store) -> list[Experiment | Unreadable]:
    parsed: list[Experiment | Unreadable] = []
    for row in store.native(_STORED):
        try:
            parsed.append(parse_experiment(row))
        except ExperimentError as error:
            parsed.append(Unreadable(row[0] or "", str(error)))
    return parsed


def parse_experiment(row: Row) -> Experiment:
    """Return the experiment of a row: id, metadata as hexadecimal digits, state, and when it was concluded and created.

    The columns decide over their copies in the JSON, which another program may have left behind.

    Raises:
        ExperimentError: the metadata or the state cannot be read.

    >>> parse_experiment(("e", "7b7d", "Draft", None, "0"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ExperimentError: Experiment e cannot be read: ...
    """
    experiment_id, metadata, state, concluded_at_ms, created_at_ms = row
    try:
        experiment = codec.read(Experiment, bytes.fromhex(metadata or "").decode(), "its JSON")
        return replace(
            experiment,
            id=experiment_id or experiment.id,
            state=State(state or ""),
            created_at_ms=int(created_at_ms or 0),
            concluded_at_ms=None if concluded_at_ms is None else int(concluded_at_ms),
        )
    except (RecordError, ValueError) as error:
        raise ExperimentError(f"Experiment {experiment_id} cannot be read: {error}") from error


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
        read_clock() if now_ms is None else now_ms,
        encode_list(session_ids),
    )


def write_plan(store: Store, experiment_id: str, plan: dict[str, Any], frozen_at_ms: int | None) -> None:
    """Insert or replace a plan; `frozen_at_ms` is set when the experiment starts.

    >>> with writable.write():
    ...     write_plan(writable, "e1", {"alpha": 0.05}, None)
    >>> load_plan(writable, "e1")
    {'alpha': 0.05}
    """
    store.native(
        "insert into ka_plans (experiment_id, plan, frozen_at_ms) values (?, ?, ?) on conflict (experiment_id) "
        "do update set plan = excluded.plan, frozen_at_ms = excluded.frozen_at_ms returning 1",
        experiment_id,
        json.dumps(plan, ensure_ascii=False, allow_nan=False),
        frozen_at_ms,
    )


def load_plan(store: Store, experiment_id: str) -> dict[str, Any] | None:
    """Return the stored plan, or None for an experiment that this package did not make.

    >>> load_plan(store, "plan-first")["planned_n"]
    45
    """
    rows = store.native("select plan from ka_plans where experiment_id = ?", experiment_id)
    return parse_json(rows[0][0], "ka_plans", experiment_id) if rows else None


def write_result(
    store: Store,
    experiment_id: str,
    evaluation: dict[str, Any],
    sample: pl.DataFrame,
    concluded_at_ms: int,
) -> None:
    """Freeze an evaluation and its sample.

    Args:
        sample: Columns `session_id`, `variant`, `reason` and `sample` (one JSON object per session, as text).

    >>> import polars as pl
    >>> sample = pl.DataFrame({"session_id": ["s"], "variant": ["Control"], "reason": [None], "sample": ["{}"]})
    >>> with writable.write():
    ...     write_result(writable, "e1", {"verdict": "Inconclusive"}, sample, concluded_at_ms=0)
    >>> load_result(writable, "e1")
    {'verdict': 'Inconclusive'}
    """
    import polars as pl

    store.insert("ka_samples", sample.with_columns(pl.lit(experiment_id).alias("experiment_id")))
    store.native(
        "insert into ka_results (experiment_id, evaluation, concluded_at_ms) values (?, ?, ?) returning 1",
        experiment_id,
        json.dumps(evaluation, ensure_ascii=False, allow_nan=False),
        concluded_at_ms,
    )
    write_digests(store, "conclusion", {experiment_id: digest(read_conclusion(store, experiment_id))})


def load_result(store: Store, experiment_id: str) -> dict[str, Any] | None:
    """Return the frozen evaluation, or None for an experiment that is not frozen.

    >>> load_result(store, "no such experiment")
    """
    rows = store.native("select evaluation from ka_results where experiment_id = ?", experiment_id)
    return parse_json(rows[0][0], "ka_results", experiment_id) if rows else None


def load_sample(store: Store, experiment_id: str) -> list[dict[str, Any]]:
    """Return the frozen sample, one JSON object per session, in the order of session ids.

    >>> len(load_sample(store, "plan-first"))
    90
    """
    rows = store.native(
        "select sample from ka_samples where experiment_id = ? order by session_id",
        experiment_id,
    )
    return [parse_json(text, "ka_samples", experiment_id) for (text,) in rows]
