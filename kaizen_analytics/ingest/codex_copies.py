"""Which records of a rollout are copies: history that a fork, a sub-agent or a resume took from another session.

Builds differ in what they copy and how they mark it. A build that numbers its records says where the file's own begin.
Others copy the parent's `session_meta` and its records in one burst, stamped with the time of the copy or with their
first times; the burst ends at a record that can only be the file's own.
"""

from __future__ import annotations

from kaizen_analytics.ingest.records import Json, Malformed, text_of, time_of

_BURST_GAP_MS = 500
"""Copied history is written within milliseconds; people and models take longer to begin."""

_TURN_GAP_MS = 5000
"""A burst that names the turns it copies ends with a turn of the file's own; a slow disk must not end it before."""


class Copies:
    """Follows one rollout from its first record on and tells copies from its own records."""

    def __init__(self) -> None:
        self._own: str | None = None
        self.running = False
        self._has_turns = False
        self._first_own_ordinal: int | None = None
        self._born_ms: int | None = None

    def begin(self, meta: Json, session: str, ts_ms: int) -> None:
        """Take the file's first `session_meta`, which is its own."""
        self._own = session
        self._first_own_ordinal = _ordinal(meta.get("subagent_history_start_ordinal"))
        forked = text_of(meta, "forked_from_id") is not None
        if forked or parent_of(meta) is not None:
            self._born_ms = _time_or(meta, ts_ms)
        # Where the parent's history is not copied but referred to (`history_base`), nothing follows to be dropped.
        self.running = forked and meta.get("history_base") is None

    def meet(self, session: str) -> None:
        """Take a further `session_meta`: another session's begins a burst, the file's own ends it."""
        self.running = session != self._own

    def advance(self, record: Json, payload: Json, ts_ms: int, last_ms: int) -> bool:
        """Return whether this record is a copy, and remember what it says of the burst."""
        ordinal = _ordinal(record.get("ordinal"))
        if self._first_own_ordinal is not None and ordinal is not None:
            self.running = ordinal < self._first_own_ordinal
            return self.running
        if self.running and self._ends(payload, ts_ms, last_ms):
            self.running = False
        return self.running or (self._born_ms is not None and ts_ms < self._born_ms)

    def _ends(self, payload: Json, ts_ms: int, last_ms: int) -> bool:
        turn = payload.get("turn_id")
        if type(turn) is str and _is_uuid7(turn) and _is_uuid7(self._own):
            if turn > (self._own or ""):
                return True
            self._has_turns = True
        return ts_ms - last_ms >= (_TURN_GAP_MS if self._has_turns else _BURST_GAP_MS)


def parent_of(meta: Json) -> str | None:
    """Return the session that spawned this one.

    >>> parent_of({"source": {"subagent": {"thread_spawn": {"parent_thread_id": "a"}}}}), parent_of({"source": "cli"})
    ('a', None)
    """
    source = meta.get("source")
    subagent = source.get("subagent") if type(source) is dict else None
    spawn = subagent.get("thread_spawn") if type(subagent) is dict else None
    spawned = text_of(spawn, "parent_thread_id") if type(spawn) is dict else None
    return spawned or text_of(meta, "parent_thread_id")


def is_subagent(meta: Json) -> bool:
    """Return whether a program started this session: a spawned agent, a review, a guardian.

    >>> is_subagent({"source": {"subagent": {"other": "guardian"}}}), is_subagent({"source": "cli"})
    (True, False)
    """
    source = meta.get("source")
    return (type(source) is dict and "subagent" in source) or meta.get("thread_source") == "subagent"


def _time_or(meta: Json, ts_ms: int) -> int:
    """Return when the session began: its own word, unless the record that says it is older."""
    try:
        told = time_of(meta)
    except Malformed:
        told = None
    return ts_ms if told is None else min(told, ts_ms)


def _ordinal(value: object) -> int | None:
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _is_uuid7(value: str | None) -> bool:
    return value is not None and len(value) == 36 and value[14] == "7"
