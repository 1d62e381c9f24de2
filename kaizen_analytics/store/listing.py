"""Sessions of a store, to list and to look into: Polars frames with the columns that `sql/sessions/` documents."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.errors import ConfigError, did_you_mean
from kaizen_analytics.core.folders import folder_prefix
from kaizen_analytics.core.queries import Query

if TYPE_CHECKING:
    from kaizen_analytics.store import Store

_RUNNING_MS = 5 * 60_000
"""A session whose last event is younger is running: the same pause that ends active time."""

_IDLE_MS = 60 * 60_000
"""One that is younger than this is idle, an older one is done: an hour is the longest life of a cached prompt."""

_LISTING = Query(
    path="sessions/session_listing.sql",
    schema={
        "session_id": pl.String(),
        "agent": pl.String(),
        "model": pl.String(),
        "workspace": pl.String(),
        "branch": pl.String(),
        "started_at_ms": pl.Int64(),
        "ended_at_ms": pl.Int64(),
        "parent_session_id": pl.String(),
        "status": pl.String(),
        "events": pl.Int64(),
        "prompts": pl.Int64(),
        "tool_calls": pl.Int64(),
        "failures": pl.Int64(),
        "unreliable_responses": pl.Int64(),
        "tokens_in": pl.Int64(),
        "cache_creation_tokens": pl.Int64(),
        "cache_read_tokens": pl.Int64(),
        "tokens_out": pl.Int64(),
        "reasoning_tokens": pl.Int64(),
        "cost_usd": pl.Float64(),
        "priced_share": pl.Float64(),
    },
    reads=MappingProxyType({"staged_events": "staging/events.sql"}),
)
"""What each session is and what it used."""

INSTRUCTIONS = Query(
    path="sessions/session_instructions.sql",
    schema={
        "workspace": pl.String(),
        "agent": pl.String(),
        "fingerprint": pl.String(),
        "sessions": pl.Int64(),
        "first_started_at_ms": pl.Int64(),
        "last_started_at_ms": pl.Int64(),
    },
)
"""Which instructions were in force, and when."""

_TIMELINE = Query(
    path="sessions/session_timeline.sql",
    schema={
        "seq": pl.Int64(),
        "ts_ms": pl.Int64(),
        "ts_exact": pl.Int64(),
        "kind": pl.String(),
        "tool": pl.String(),
        "tool_call_id": pl.String(),
        "tokens_in": pl.Int64(),
        "cache_creation_tokens": pl.Int64(),
        "cache_read_tokens": pl.Int64(),
        "tokens_out": pl.Int64(),
        "reasoning_tokens": pl.Int64(),
        "cost_usd_e6": pl.Int64(),
        "stop_reason": pl.String(),
        "payload": pl.String(),
    },
)
"""What happened in one session, event by event."""


def list_sessions(
    store: Store,
    *,
    agent: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    workspace: str | None = None,
    now_ms: int | None = None,
) -> pl.DataFrame:
    """Return the sessions of a store, newest first, with the columns of `_LISTING`.

    A transcript does not say that its session ended, so `status` is told by the age of the last event at `now_ms`:
    `Running` below `_RUNNING_MS`, `Idle` below `_IDLE_MS`, else `Done`. Ingestion always stores `Done`: what a store
    holds must not depend on when it was written.

    Args:
        store: The open store.
        agent: Only this agent (`claude_code`, `codex`, `cursor`).
        since_ms: Only sessions that started at or after this time (milliseconds since the epoch).
        until_ms: Only sessions that started before this time.
        workspace: Only this folder and below.
        now_ms: The time now (milliseconds since the epoch); None gives the stored `status`.

    >>> list_sessions(store, agent="codex")["agent"].unique().to_list()
    ['codex']
    """
    return _LISTING.run(
        store,
        agent=agent,
        since_ms=since_ms,
        until_ms=until_ms,
        folder=folder_prefix(workspace),
        now_ms=now_ms,
        running_ms=_RUNNING_MS,
        idle_ms=_IDLE_MS,
    )


def read_timeline(store: Store, session_id: str) -> pl.DataFrame:
    """Return the events of one session in order, with the columns of `_TIMELINE`.

    >>> read_timeline(store, "no such session").height
    0
    """
    return _TIMELINE.run(store, session_id=session_id)


def find_session(store: Store, prefix: str) -> str:
    """Return the id of the one session that begins with `prefix`.

    Raises:
        ConfigError: no session does, or several do and none is called exactly so.

    >>> find_session(store, "no such session")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ConfigError: No session is called 'no such session'; ...
    """
    pattern = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    rows = store.native("select id from sessions where id like ? escape '\\' order by id", pattern)
    found = [str(session) for (session,) in rows]
    if prefix in found or len(found) == 1:
        return prefix if prefix in found else found[0]
    if found:
        raise ConfigError(
            f"{prefix!r} begins {len(found)} session ids, such as {', '.join(found[:3])}; give more of it."
        )
    known = [
        str(session) for (session,) in store.native("select id from sessions order by started_at_ms desc limit 500")
    ]
    raise ConfigError(
        f"No session is called {prefix!r}; 'kaizen-analytics sessions list' shows them.{did_you_mean(prefix, known)}"
    )
