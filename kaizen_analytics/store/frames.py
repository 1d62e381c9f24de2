"""What analysis reads of a store, as Polars frames: sessions, staged events, and the metrics of every session."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.queries import SESSION_METRICS, SESSION_METRICS_APART, Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.store.connection import Store

_EVENT_SCHEMA: dict[str, pl.DataType] = {
    "session_id": pl.String(),
    "seq": pl.Int64(),
    "ts_ms": pl.Int64(),
    "ts_exact": pl.Int64(),
    "kind": pl.String(),
    "tool": pl.String(),
    "tokens_in": pl.Int64(),
    "tokens_out": pl.Int64(),
    "reasoning_tokens": pl.Int64(),
    "cache_creation_tokens": pl.Int64(),
    "cache_read_tokens": pl.Int64(),
    "cost_usd_e6": pl.Int64(),
    "message_role": pl.String(),
    "is_prompt": pl.Int32(),
    "is_unreliable": pl.Int32(),
    "is_error": pl.Int32(),
}
"""Columns of sql/staging/events.sql."""

_EVENTS = Query(path="staging/events.sql", schema=_EVENT_SCHEMA)
_EVENTS_OF_SESSIONS = Query(
    path="staging/events.sql",
    schema=_EVENT_SCHEMA,
    reads=MappingProxyType({"events": "staging/events_of_sessions.sql"}),
)
_SESSIONS = Query(
    path="staging/sessions.sql",
    schema={
        "id": pl.String(),
        "agent": pl.String(),
        "model": pl.String(),
        "workspace": pl.String(),
        "started_at_ms": pl.Int64(),
        "ended_at_ms": pl.Int64(),
        "status": pl.String(),
        "start_commit": pl.String(),
        "branch": pl.String(),
        "dirty_start": pl.Int64(),
        "repo_binding_source": pl.String(),
        "prompt_fingerprint": pl.String(),
        "parent_session_id": pl.String(),
        "user": pl.String(),
        "organisation": pl.String(),
    },
)


def session_metrics(store: Store, *, rollup: bool = True) -> pl.DataFrame:
    """Return every metric of every session: the columns of sql/marts/session_metrics.sql, ordered by session id.

    Inside a `Store.snapshot` block they are computed once, however often they are asked for.

    Args:
        store: The open store.
        rollup: Count sub-agents with the session that started them; otherwise one row for each session.

    Raises:
        StoreError: a cell does not have its column's type.

    >>> session_metrics(store)["session_id"].is_unique().all()
    True
    """
    query = SESSION_METRICS if rollup else SESSION_METRICS_APART
    return store.recall(query.reads["session_roots"], lambda: query.run(store).sort("session_id"))


def read_sessions(store: Store) -> pl.DataFrame:
    """Return one row per session, sub-agents included, ordered by start; columns of sql/staging/sessions.sql.

    >>> read_sessions(store)["agent"].unique().sort().to_list()
    ['claude_code', 'codex', 'cursor']
    """
    return _SESSIONS.run(store).sort("started_at_ms", "id")


def read_events(store: Store, session_ids: Sequence[str] | None = None) -> pl.DataFrame:
    """Return staged events (`_EVENT_SCHEMA`), in no fixed order.

    Args:
        store: The open store.
        session_ids: Only the events of these sessions, found by an index; None for all events.

    >>> read_events(store, ["no such session"]).height
    0
    """
    if session_ids is None:
        return _EVENTS.run(store)
    return _EVENTS_OF_SESSIONS.run(store, session_ids=json.dumps(list(session_ids), ensure_ascii=False))
