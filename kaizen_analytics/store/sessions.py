"""What was ingested: sessions, their events, and the files, skills and rules that they touched.

`ka_sources` remembers how many events we wrote for each session and their checksum. Another tool that adds events to
one of our sessions, or wrote a session itself, shows there: such a session is foreign and is never merged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import polars as pl

    from kaizen_analytics.store.connection import Store

CHILD_TABLES = ("events", "files_touched", "skills_used", "rules_used")
"""Tables with one or more rows for each session, all keyed by `session_id`."""

OWNER = "kaizen_analytics"
"""What `ka_sources.owner` says of sessions that this package wrote."""

_PRIME = 1_000_003

# The same number as `checksum_term`, as SQLite computes it; no term can overflow a sum of 10**9 events.
_TERM_SQL = f"""(seq + 1) * 31 + ts_ms % {_PRIME} * 7 + coalesce(tokens_in, 0) % {_PRIME} * 3
    + coalesce(tokens_out, 0) % {_PRIME} * 5 + coalesce(cost_usd_e6, 0) % {_PRIME} + length(payload) * 11
    + length(kind)"""


@dataclass(frozen=True, slots=True)
class Footprint:
    """How many events a session has, and the sum of their checksum terms."""

    n_events: int
    checksum: int


def checksum_term(
    *,
    seq: int,
    ts_ms: int,
    tokens_in: int | None,
    tokens_out: int | None,
    cost_usd_e6: int | None,
    payload: str,
    kind: str,
) -> int:
    """Return one event's share of its session's checksum."""
    return (
        (seq + 1) * 31
        + ts_ms % _PRIME * 7
        + (tokens_in or 0) % _PRIME * 3
        + (tokens_out or 0) % _PRIME * 5
        + (cost_usd_e6 or 0) % _PRIME
        + len(payload) * 11
        + len(kind)
    )


def write_sessions(store: Store, sessions: pl.DataFrame, children: Mapping[str, pl.DataFrame]) -> None:
    """Write whole sessions in one transaction; a session that is already stored is replaced, so a rerun is harmless.

    Args:
        store: The open store.
        sessions: One row for each session, with the columns of the table `sessions`.
        children: For each of `CHILD_TABLES`, the rows of those sessions; `events` need `session_id` and `seq`.

    Raises:
        StoreError: a row breaks the schema; nothing is written then.
    """
    ids = sessions["id"].to_list()
    with store.write():
        delete_sessions(store, ids)
        store.insert("sessions", sessions)
        for table in CHILD_TABLES:
            if table in children and not children[table].is_empty():
                store.insert(table, children[table])
        stored = read_footprints(store, ids)
        record_footprints(store, {session: stored.get(session, Footprint(0, 0)) for session in ids})


def delete_sessions(store: Store, session_ids: list[str]) -> None:
    """Remove sessions and everything that hangs on them, inside a `Store.write` block."""
    ids = _json(session_ids)
    store.native("delete from sessions where id in (select value from json_each(?)) returning 1", ids)
    store.native("delete from ka_sources where session_id in (select value from json_each(?)) returning 1", ids)
    for table in CHILD_TABLES:
        store.native(f"delete from {table} where session_id in (select value from json_each(?)) returning 1", ids)


def read_footprints(store: Store, session_ids: Iterable[str]) -> dict[str, Footprint]:
    """Return what lies in `events` for each of some sessions; a session without events is not in the answer."""
    rows = store.native(
        f"select session_id, count(*), sum({_TERM_SQL}) from events"
        " where session_id in (select value from json_each(?)) group by session_id",
        _json(session_ids),
    )
    return {str(session): Footprint(int(count or 0), int(checksum or 0)) for session, count, checksum in rows}


def record_footprints(store: Store, footprints: Mapping[str, Footprint]) -> None:
    """Remember what we wrote for some sessions, inside a `Store.write` block."""
    values = [[session, OWNER, found.n_events, found.checksum] for session, found in footprints.items()]
    store.native(
        "insert or replace into ka_sources (session_id, owner, n_events, checksum)"
        " select value->>0, value->>1, value->>2, value->>3 from json_each(?) where true returning 1",
        _json(values),
    )


def find_foreign(store: Store, session_ids: Iterable[str]) -> set[str]:
    """Return those of some sessions that hold rows which this package did not write."""
    ids = list(session_ids)
    stored = read_footprints(store, ids)
    picked = "(select value from json_each(?))"
    known = {row[0] for row in store.native(f"select id from sessions where id in {picked}", _json(ids))}
    ours = {
        str(session): Footprint(int(count or 0), int(checksum or 0))
        for session, count, checksum in store.native(
            f"select session_id, n_events, checksum from ka_sources where session_id in {picked}", _json(ids)
        )
    }
    nothing = Footprint(0, 0)
    return {
        session
        for session in ids
        if (stored.get(session, nothing) != ours.get(session, nothing)) or (session in known and session not in ours)
    }


def foreign_sessions(store: Store) -> list[str]:
    """Return every session of ours that another tool changed since, over the whole store."""
    rows = store.native(
        "select s.session_id from ka_sources s left join"
        f" (select session_id, count(*) as n, sum({_TERM_SQL}) as c from events group by session_id) e"
        " on e.session_id = s.session_id where coalesce(e.n, 0) <> s.n_events or coalesce(e.c, 0) <> s.checksum"
        " order by 1"
    )
    return [str(session) for (session,) in rows]


def _json(values: Iterable[object]) -> str:
    return json.dumps(list(values), ensure_ascii=False)


def list_unattributed(store: Store) -> list[str]:
    """Return the workspaces with sessions whose user and organisation are not noted."""
    rows = store.native(
        "select distinct workspace from sessions where id not in (select session_id from ka_session_attributes)"
    )
    return [workspace for (workspace,) in rows if workspace]


def attribute_sessions(store: Store, workspace: str, user: str | None, organisation: str | None) -> None:
    """Note the user and the organisation of a workspace's sessions where nothing is noted yet."""
    with store.write():
        store.native(
            "insert into ka_session_attributes (session_id, user, organisation) select id, ?, ? from sessions "
            "where workspace = ? on conflict do nothing returning 1",
            user,
            organisation,
            workspace,
        )
