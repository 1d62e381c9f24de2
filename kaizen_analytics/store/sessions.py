"""What was ingested: sessions, their events, and the files, skills and rules that they touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import polars as pl

    from kaizen_analytics.store.connection import Store

_CHILD_TABLES = ("events", "files_touched", "skills_used", "rules_used")
"""Tables with one or more rows for each session, all keyed by `session_id`."""


def write_sessions(store: Store, sessions: pl.DataFrame, children: Mapping[str, pl.DataFrame]) -> None:
    """Write whole sessions in one transaction; a session that is already stored is replaced, so a rerun is harmless.

    Args:
        store: The open store.
        sessions: One row for each session, with the columns of the table `sessions`.
        children: For each of `_CHILD_TABLES`, the rows of those sessions; `events` need `session_id` and `seq`.

    Raises:
        StoreError: a row breaks the schema; nothing is written then.

    >>> from kaizen_analytics.store import Store
    >>> session = store.read("select * from sessions limit 1")
    >>> with Store.open(tmp / "new.db", create=True) as made:
    ...     write_sessions(made, session, {})
    ...     made.native("select count(*) from sessions")
    [('1',)]
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

    >>> import shutil
    >>> from kaizen_analytics.store.connection import Store
    >>> opened = Store.open(shutil.copy(store.path, tmp))
    >>> with opened.write():
    ...     delete_sessions(opened, [session for (session,) in opened.native("select id from sessions")])
    >>> opened.native("select count(*) from events")
    [('0',)]
    """
    ids = _json(session_ids)
    store.native("delete from sessions where id in (select value from json_each(?)) returning 1", ids)
    old = "delete from ka_digests where kind = 'session' and id in (select value from json_each(?)) returning 1"
    store.native(old, ids)
    for table in _CHILD_TABLES:
        store.native(f"delete from {table} where session_id in (select value from json_each(?)) returning 1", ids)


def _json(values: Iterable[object]) -> str:
    return json.dumps(list(values), ensure_ascii=False)


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

    >>> import shutil
    >>> from kaizen_analytics.store import Store
    >>> with Store.open(shutil.copy(store.path, tmp)) as opened:
    ...     attribute_sessions(opened, "/repo", "ada@example.org", "example.org")
    ...     "/repo" in list_unattributed(opened)
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
