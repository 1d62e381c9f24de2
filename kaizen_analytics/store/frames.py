"""Sessions of a store as Polars frames: to analyse, to list, to look into and to search."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.errors import ConfigError, did_you_mean, one_of
from kaizen_analytics.core.folders import folder_prefix
from kaizen_analytics.core.queries import SESSION_METRICS, Query, Schema, columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.store.connection import Store


_EVENT_SCHEMA: Schema = {
    **columns(
        text="session_id kind tool message_role",
        whole="seq ts_ms ts_exact tokens_in tokens_out reasoning_tokens cache_creation_tokens cache_read_tokens "
        "cost_usd_e6",
    ),
    **dict.fromkeys(("is_prompt", "is_unreliable", "is_error"), pl.Int32()),
}
"""Columns of sql/staging/events.sql."""

_EVENTS = Query(path="staging/events.sql", schema=_EVENT_SCHEMA)
_EVENTS_OF_SESSIONS = Query(
    path="staging/events.sql",
    schema=_EVENT_SCHEMA,
    reads={"events": "staging/events_of_sessions.sql"},
)
_SESSIONS = Query(
    path="staging/sessions.sql",
    schema=columns(
        text="id agent model workspace status start_commit branch repo_binding_source prompt_fingerprint "
        "parent_session_id user organisation",
        whole="started_at_ms ended_at_ms dirty_start",
    ),
)
_METRICS_APART = replace(
    SESSION_METRICS, reads={**SESSION_METRICS.reads, "session_roots": "staging/session_selves.sql"}
)
"""Every metric of every session, sub-agents apart."""


def session_metrics(store: Store, *, rollup: bool = True) -> pl.DataFrame:
    """Return every metric of every session: the columns of sql/marts/session_metrics.sql, ordered by session id.

    Inside a `Store.snapshot` block they are computed once, however often they are asked for.

    Args:
        rollup: Count sub-agents with the session that started them; otherwise one row for each session.

    Raises:
        StoreError: a cell does not have its column's type.

    >>> session_metrics(store)["session_id"].is_unique().all()
    True
    """
    query = SESSION_METRICS if rollup else _METRICS_APART
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
        session_ids: Only the events of these sessions, found by an index; None for all events.

    >>> read_events(store, ["no such session"]).height
    0
    """
    if session_ids is None:
        return _EVENTS.run(store)
    return _EVENTS_OF_SESSIONS.run(store, session_ids=json.dumps(list(session_ids), ensure_ascii=False))


_RUNNING_MS = 5 * 60_000
"""A session whose last event is younger is running: the same pause that ends active time."""

_IDLE_MS = 60 * 60_000
"""One that is younger than this is idle, an older one is done: an hour is the longest life of a cached prompt."""

_LISTING = Query(
    path="sessions/session_listing.sql",
    schema=columns(
        text="session_id agent model workspace branch parent_session_id status",
        whole="started_at_ms ended_at_ms events prompts tool_calls failures unreliable_responses tokens_in "
        "cache_creation_tokens cache_read_tokens tokens_out reasoning_tokens",
        number="cost_usd priced_share",
    ),
    reads={"staged_events": "staging/events.sql"},
)
"""What each session is and what it used."""

INSTRUCTIONS = Query(
    path="sessions/session_instructions.sql",
    schema=columns(
        text="workspace agent fingerprint",
        whole="sessions first_started_at_ms last_started_at_ms",
    ),
)
"""Which instructions were in force, and when."""

_TIMELINE = Query(
    path="sessions/session_timeline.sql",
    schema=columns(
        text="kind tool tool_call_id stop_reason payload",
        whole="seq ts_ms ts_exact tokens_in cache_creation_tokens cache_read_tokens tokens_out reasoning_tokens "
        "cost_usd_e6",
    ),
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


_LABELS = ("good", "bad", "interesting", "bug", "regression")
"""What a person may call a session; kaizen-cli's words."""

_SCORES = range(1, 6)

_TREE = Query(
    path="sessions/session_tree.sql",
    schema=columns(
        text="session_id parent_id agent model",
        whole="n_above new_tokens",
        number="n_minutes cost_usd",
    ),
)
_TOOLS = Query(
    path="sessions/tree_tools.sql",
    schema=columns(
        text="session_id tool",
        whole="calls failures",
        number="seconds",
    ),
    reads={"tool_results": "staging/tool_results.sql"},
)
_SEARCH = Query(
    path="sessions/session_search.sql",
    schema=columns(
        text="session_id place body",
        whole="started_at_ms seq ts_ms",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionNode:
    """One session of a tree with what it used itself, its tools and its sub-agents.

    `minutes` is None without an end, `new_tokens` without usage, `cost_usd` (US dollars) without a price. A tool is
    (name, calls, failures, seconds or None).
    """

    session_id: str
    agent: str
    model: str | None
    minutes: float | None
    new_tokens: int | None
    cost_usd: float | None
    tools: tuple[tuple[str, int, int, float | None], ...]
    children: tuple[SessionNode, ...]


def read_tree(store: Store, session_id: str) -> SessionNode:
    """Return a session with its tools and the sub-agents below it.

    >>> first = store.native("select id from sessions order by id limit 1")[0][0]
    >>> read_tree(store, first).session_id == first
    True
    """
    sessions = _TREE.run(store, root_id=session_id)
    tools = _TOOLS.run(store, session_ids=json.dumps(sessions["session_id"].to_list()))
    nodes: dict[str, SessionNode] = {}
    for row in reversed(sessions.to_dicts()):
        children = [node for name, node in nodes.items() if _parent(sessions, name) == row["session_id"]]
        nodes[row["session_id"]] = SessionNode(
            session_id=row["session_id"],
            agent=row["agent"],
            model=row["model"],
            minutes=row["n_minutes"],
            new_tokens=row["new_tokens"],
            cost_usd=row["cost_usd"],
            tools=tuple(tools.filter(session_id=row["session_id"]).drop("session_id").iter_rows()),
            children=tuple(reversed(children)),
        )
    return nodes[session_id]


def _parent(sessions: pl.DataFrame, session_id: str) -> str | None:
    parent: str | None = sessions.filter(session_id=session_id)["parent_id"].item()
    return parent


def search_sessions(store: Store, text: str) -> pl.DataFrame:
    """Return the events whose prompt, message, command, path or error holds a text, in any case, newest session first.

    Columns: `session_id`, `started_at_ms`, `seq`, `ts_ms` (times in milliseconds since the Unix epoch), `place`
    (`prompt`, `message`, `command`, `path` or `error`) and `text`: what the store keeps of it.

    Raises:
        ConfigError: the text is empty.

    >>> search_sessions(store, "a text that nobody wrote").height
    0
    """
    if not text.strip():
        raise ConfigError("The text to look for is empty.")
    return _SEARCH.run(store, text=text).rename({"body": "text"})


def add_feedback(
    store: Store, session_id: str, *, score: int | None, label: str | None, note: str | None, now_ms: int
) -> str:
    """Store a person's judgement of a session and return its id; earlier ones stay.

    Raises:
        ConfigError: nothing is said, the score is not 1 to 5, or the label is not one of `_LABELS`.

    >>> add_feedback(store, "s", score=9, label=None, note=None, now_ms=0)
    Traceback (most recent call last):
    ...
    kaizen_analytics.core.errors.ConfigError: The score is 9; expected a whole number from 1 (bad) to 5 (good).
    """
    if score is None and label is None and not note:
        raise ConfigError("Nothing is said; give --score, --label or --note.")
    if score is not None and score not in _SCORES:
        raise ConfigError(f"The score is {score}; expected a whole number from 1 (bad) to 5 (good).")
    if label is not None:
        one_of("The label", label, _LABELS)
    made = str(uuid.uuid4())
    with store.write():
        store.native(
            "insert into session_feedback (id, session_id, score, label, note, created_at_ms) "
            "values (?, ?, ?, ?, ?, ?) returning 1",
            *(made, session_id, score, label, note, now_ms),
        )
    return made
