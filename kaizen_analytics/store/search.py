"""One session as a tree of sub-agents and tools, a text in all sessions, and what people said of a session."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.queries import Query

if TYPE_CHECKING:
    from kaizen_analytics.store.connection import Store

_LABELS = ("good", "bad", "interesting", "bug", "regression")
"""What a person may call a session; kaizen-cli's words."""

_SCORES = range(1, 6)

_TREE = Query(
    path="sessions/session_tree.sql",
    schema={
        "session_id": pl.String(),
        "parent_id": pl.String(),
        "n_above": pl.Int64(),
        "agent": pl.String(),
        "model": pl.String(),
        "n_minutes": pl.Float64(),
        "new_tokens": pl.Int64(),
        "cost_usd": pl.Float64(),
    },
)
_TOOLS = Query(
    path="sessions/tree_tools.sql",
    schema={
        "session_id": pl.String(),
        "tool": pl.String(),
        "calls": pl.Int64(),
        "failures": pl.Int64(),
        "seconds": pl.Float64(),
    },
    reads=MappingProxyType({"tool_results": "staging/tool_results.sql"}),
)
_SEARCH = Query(
    path="sessions/session_search.sql",
    schema={
        "session_id": pl.String(),
        "started_at_ms": pl.Int64(),
        "seq": pl.Int64(),
        "ts_ms": pl.Int64(),
        "place": pl.String(),
        "body": pl.String(),
    },
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

    Args:
        store: The open store.
        session_id: A whole id of a stored session (`listing.find_session` completes one).

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
    if label is not None and label not in _LABELS:
        raise ConfigError(f"The label is {label!r}; expected one of {', '.join(_LABELS)}.")
    made = str(uuid.uuid4())
    with store.write():
        store.native(
            "insert into session_feedback (id, session_id, score, label, note, created_at_ms) "
            "values (?, ?, ?, ?, ?, ?) returning 1",
            *(made, session_id, score, label, note, now_ms),
        )
    return made
