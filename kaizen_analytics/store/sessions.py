"""What was ingested: sessions, their events, and the files, skills and rules that they touched."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson

from kaizen_analytics.store.sql import encode_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import polars as pl

    from kaizen_analytics.store.connection import Store


_CHILD_TABLES = ("events", "files_touched", "skills_used", "rules_used")
"""Tables with one or more rows for each session, all keyed by `session_id`."""


def write_sessions(store: Store, sessions: pl.DataFrame, children: Mapping[str, pl.DataFrame]) -> None:
    """Write whole sessions in one transaction; a session that is already stored is replaced, so a rerun is harmless.

    Args:
        sessions: One row for each session, with the columns of the table `sessions`.
        children: For each of `_CHILD_TABLES`, the rows of those sessions; `events` need `session_id` and `seq`.

    Raises:
        StoreError: a row breaks the schema; nothing is written then.

    >>> write_sessions(writable, store.read("select * from sessions"), {})
    >>> writable.native("select count(*) from events")
    [('0',)]
    """
    ids = sessions["id"].to_list()
    with store.write():
        delete_sessions(store, ids)
        store.insert("sessions", sessions)
        for table in _CHILD_TABLES:
            if table in children and not children[table].is_empty():
                store.insert(table, children[table])


def delete_sessions(store: Store, session_ids: list[str]) -> None:
    """Remove sessions and everything that hangs on them, inside a `Store.write` block.

    >>> with writable.write():
    ...     delete_sessions(writable, [session for (session,) in writable.native("select id from sessions")])
    >>> writable.native("select count(*) from events")
    [('0',)]
    """
    ids = encode_list(session_ids)
    store.native("delete from sessions where id in (select value from json_each(?)) returning 1", ids)
    old = "delete from ka_digests where kind = 'session' and id in (select value from json_each(?)) returning 1"
    store.native(old, ids)
    for table in _CHILD_TABLES:
        store.native(f"delete from {table} where session_id in (select value from json_each(?)) returning 1", ids)


def list_unattributed(store: Store) -> list[str]:
    """Return the workspaces with sessions whose user and organisation are not noted.

    >>> type(list_unattributed(store))
    <class 'list'>
    """
    rows = store.native(
        "select distinct workspace from sessions where id not in (select session_id from ka_session_attributes)"
    )
    return [workspace for (workspace,) in rows if workspace]


def attribute_sessions(store: Store, workspace: str, user: str | None, organisation: str | None) -> None:
    """Note the user and the organisation of a workspace's sessions where nothing is noted yet.

    >>> attribute_sessions(writable, "/repo", "ada@example.org", "example.org")
    >>> "/repo" in list_unattributed(writable)
    False
    """
    with store.write():
        store.native(
            "insert into ka_session_attributes (session_id, user, organisation) select id, ?, ? from sessions "
            "where workspace = ? on conflict do nothing returning 1",
            user,
            organisation,
            workspace,
        )


_BATCH = 100
"""Sessions that are read at once."""


def digest(rows: Iterable[tuple[str | None, ...]]) -> str:
    """Return the digest of rows in their order: 32 hex digits of BLAKE2b over the values as text.

    >>> digest([("a", "1", None)]) == digest([("a", "1", "")])
    False
    """
    hashed = hashlib.blake2b(digest_size=16)
    for row in rows:
        hashed.update(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return hashed.hexdigest()


def write_digests(store: Store, kind: str, digests: Mapping[str, str]) -> None:
    """Keep the digests of sessions or conclusions, inside the `Store.write` block that writes them.

    >>> with writable.write():
    ...     write_digests(writable, "session", {"a": "00ff"})
    ...     writable.native("select digest from ka_digests where id = 'a'")
    [('00ff',)]
    """
    store.native(
        "insert into ka_digests (kind, id, digest) select ?, value->>0, value->>1 from json_each(?) where true "
        "on conflict (kind, id) do update set digest = excluded.digest returning 1",
        kind,
        encode_list(digests.items()),
    )


def find_changed(store: Store, session_columns: Sequence[str], event_columns: Sequence[str]) -> Iterator[str]:
    """Yield the sessions and conclusions whose content is not what was written.

    Args:
        session_columns: The columns of `sessions` whose values went into a digest, in their order; `id` first.

    >>> from kaizen_analytics.ingest.rows import EVENT_COLUMNS, SESSION_COLUMNS
    >>> list(find_changed(store, SESSION_COLUMNS, EVENT_COLUMNS))
    []
    """
    kept = {kind: _read_digests(store, kind) for kind in ("session", "conclusion")}
    ids = sorted(kept["session"])
    for start in range(0, len(ids), _BATCH):
        batch = ids[start : start + _BATCH]
        found = _digest_sessions(store, batch, session_columns, event_columns)
        yield from (f"session {one}" for one in batch if found.get(one) != kept["session"][one])
    for one, expected in sorted(kept["conclusion"].items()):
        if digest(read_conclusion(store, one)) != expected:
            yield f"conclusion of {one}"


def read_conclusion(store: Store, experiment_id: str) -> list[tuple[str | None, ...]]:
    """Return the frozen evaluation of an experiment and its frozen sample as rows of text.

    >>> read_conclusion(store, "no such experiment")
    []
    """
    sample = "select session_id, variant, reason, sample from ka_samples where experiment_id = ? order by session_id"
    result = "select evaluation, concluded_at_ms from ka_results where experiment_id = ?"
    return [*store.native(result, experiment_id), *store.native(sample, experiment_id)]


def _read_digests(store: Store, kind: str) -> dict[str, str]:
    rows = store.native("select id, digest from ka_digests where kind = ?", kind)
    return {one or "": text or "" for one, text in rows}


def _digest_sessions(
    store: Store, ids: list[str], session_columns: Sequence[str], event_columns: Sequence[str]
) -> dict[str, str]:
    chosen = encode_list(ids)
    picked = "in (select value from json_each(?))"
    sessions = store.native(f"select {', '.join(session_columns)} from sessions where id {picked}", chosen)
    events: dict[str, list[tuple[str | None, ...]]] = {}
    columns = ", ".join(event_columns)
    for row in store.native(f"select {columns} from events where session_id {picked} order by session_id, seq", chosen):
        events.setdefault(row[0] or "", []).append(row)
    return {row[0] or "": digest([row, *events.get(row[0] or "", [])]) for row in sessions}
