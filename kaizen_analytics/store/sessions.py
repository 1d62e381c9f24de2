"""What was ingested: sessions, their events, and the files, skills and rules that they touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from kaizen_analytics.store.connection import Store

CHILD_TABLES = ("events", "files_touched", "skills_used", "rules_used")
"""Tables with one or more rows for each session, all keyed by `session_id`."""


def write_sessions(store: Store, sessions: pl.DataFrame, children: Mapping[str, pl.DataFrame]) -> None:
    """Write whole sessions in one transaction; a session that is already stored is replaced, so a rerun is harmless.

    Args:
        store: The open store.
        sessions: One row for each session, with the columns of the table `sessions`.
        children: For each of `CHILD_TABLES`, the rows of those sessions; `events` need `session_id` and `seq`.

    Raises:
        StoreError: a row breaks the schema; nothing is written then.
    """
    with store.write():
        delete_sessions(store, sessions["id"].to_list())
        store.insert("sessions", sessions)
        for table in CHILD_TABLES:
            if table in children and not children[table].is_empty():
                store.insert(table, children[table])


def delete_sessions(store: Store, session_ids: list[str]) -> None:
    """Remove sessions and everything that hangs on them, inside a `Store.write` block."""
    ids = json.dumps(session_ids, ensure_ascii=False)
    store.native("delete from sessions where id in (select value from json_each(?)) returning 1", ids)
    for table in CHILD_TABLES:
        store.native(f"delete from {table} where session_id in (select value from json_each(?)) returning 1", ids)
