"""Digests of what must never change unnoticed: a session with its events, a conclusion with its sample.

SQLite notices a damaged page only where the structure of the file no longer fits. A flipped bit inside a number or a
text passes `integrity_check`; it does not pass the digest that was stored with the value.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kaizen_analytics.store.connection import Store

_BATCH = 100
"""Sessions that are read at once."""


def digest(rows: Iterable[Sequence[object]]) -> str:
    """Return the digest of rows in their order: 32 hex digits of BLAKE2b over the values as text.

    >>> digest([("a", 1, None)]) == digest([("a", "1", None)])
    True
    """
    hashed = hashlib.blake2b(digest_size=16)
    for row in rows:
        hashed.update(orjson.dumps([None if value is None else str(value) for value in row]) + b"\n")
    return hashed.hexdigest()


def write_digests(store: Store, kind: str, digests: Mapping[str, str]) -> None:
    """Keep the digests of sessions or conclusions, inside the `Store.write` block that writes them.

    Args:
        store: The open store.
        kind: `session` or `conclusion`.
        digests: What `digest` returned, by id.

    >>> from kaizen_analytics.store import Store
    >>> with Store.open(tmp / "new.db", create=True) as made, made.write():
    ...     write_digests(made, "session", {"a": "00ff"})
    ...     made.native("select id, digest from ka_digests")
    [('a', '00ff')]
    """
    store.native(
        "insert into ka_digests (kind, id, digest) select ?, value->>0, value->>1 from json_each(?) where true "
        "on conflict (kind, id) do update set digest = excluded.digest returning 1",
        kind,
        json.dumps([list(item) for item in digests.items()], ensure_ascii=False),
    )


def count_without_digest(store: Store) -> int:
    """Return how many sessions were stored by a version that kept no digests; they are checked for structure only.

    >>> count_without_digest(store)
    0
    """
    rows = store.native(
        "select count(*) from sessions where id not in (select id from ka_digests where kind = 'session')"
    )
    return int(rows[0][0] or 0)


def find_changed(store: Store, session_columns: Sequence[str], event_columns: Sequence[str]) -> Iterator[str]:
    """Yield the sessions and conclusions whose content is not what was written.

    Args:
        store: The open store.
        session_columns: The columns of `sessions` whose values went into a digest, in their order; `id` first.
        event_columns: The same of `events`, `session_id` first; the rows follow in the order of `seq`.

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
    chosen = json.dumps(ids, ensure_ascii=False)
    picked = "in (select value from json_each(?))"
    sessions = store.native(f"select {', '.join(session_columns)} from sessions where id {picked}", chosen)
    events: dict[str, list[tuple[str | None, ...]]] = {}
    columns = ", ".join(event_columns)
    for row in store.native(f"select {columns} from events where session_id {picked} order by session_id, seq", chosen):
        events.setdefault(row[0] or "", []).append(row)
    return {row[0] or "": digest([row, *events.get(row[0] or "", [])]) for row in sessions}
