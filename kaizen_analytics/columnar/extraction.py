"""What the mirror reads from a store, inside one snapshot of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.queries import Query, load_sql
from kaizen_analytics.store.connection import quote_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kaizen_analytics.store import Store

EVENT_SCHEMA = pl.Schema(
    {
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
)
"""Columns of staging/events.sql."""

CHECK_SCHEMA = pl.Schema({"session_id": pl.String(), "events": pl.Int64(), "row_checks": pl.UInt64()})
"""What tells whether a session's events changed."""

_TEXT, _WHOLE = pl.String(), pl.Int64()
_EXPERIMENT = {
    "id": _TEXT,
    "name": _TEXT,
    "created_at_ms": _WHOLE,
    "metadata": _TEXT,
    "state": _TEXT,
    "concluded_at_ms": _WHOLE,
}

_COLUMNS: dict[str, dict[str, pl.DataType]] = {
    "sessions": {
        "id": _TEXT,
        "agent": _TEXT,
        "model": _TEXT,
        "workspace": _TEXT,
        "started_at_ms": _WHOLE,
        "ended_at_ms": _WHOLE,
        "status": _TEXT,
        "start_commit": _TEXT,
        "branch": _TEXT,
        "dirty_start": _WHOLE,
        "repo_binding_source": _TEXT,
        "prompt_fingerprint": _TEXT,
        "parent_session_id": _TEXT,
    },
    "files_touched": {"session_id": _TEXT, "path": _TEXT},
    "experiments": _EXPERIMENT,
    "ka_experiments": _EXPERIMENT,
    "ka_guardrails": {"experiment_id": _TEXT, "guardrails": _TEXT},
    "experiment_tags": {"experiment_id": _TEXT, "session_id": _TEXT, "variant": _TEXT},
    "ka_session_attributes": {"session_id": _TEXT, "user": _TEXT, "organisation": _TEXT},
    "ka_sources": {"session_id": _TEXT, "n_events": _WHOLE, "checksum": _WHOLE},
}

TABLES = {name: pl.Schema(columns) for name, columns in _COLUMNS.items()}
"""Tables that are read whole at every refresh, with the columns that analysis needs."""

_MIRRORED = Query(path="mirror/events.sql", schema={}, reads={"staged_events": "staging/events.sql"}).text()
_BATCH_ROWS = 100_000


def read_table(store: Store, name: str) -> pl.DataFrame:
    """Return the columns of one of `TABLES`; a table or column that the store lacks reads as empty or null."""
    schema = TABLES[name]
    found = {column for (column,) in store.native("select name from pragma_table_info(?)", name)}
    columns = [column for column in schema if column in found]
    if not columns:
        return pl.DataFrame(schema=schema)
    selected = ", ".join(map(quote_name, columns))
    frame = store.read(f"select {selected} from {quote_name(name)}")
    missing = [pl.lit(None, dtype=dtype).alias(column) for column, dtype in schema.items() if column not in found]
    return frame.with_columns(missing).select(list(schema)).cast(schema)


def read_watermark(store: Store) -> int:
    """Return the largest `events.id`."""
    [(largest,)] = store.native("select max(id) from events")
    return int(largest or 0)


def count_events(store: Store) -> int:
    """Return the number of events; SQLite goes through a whole index for it."""
    [(count,)] = store.native("select count(*) from events")
    return int(count or 0)


def read_checks(store: Store) -> pl.DataFrame:
    """Return the check of every session that has events (`CHECK_SCHEMA`): one scan of the table."""
    checks = f"with mirrored_events as (\n{_MIRRORED}\n)\n{load_sql('mirror/session_checks.sql')}"
    return store.read(f"select * from (\n{checks}\n)").cast(CHECK_SCHEMA)


def read_counts(store: Store) -> pl.DataFrame:
    """Return `session_id` and `events`, the number of events, of every session that has some."""
    return store.read(load_sql("mirror/session_counts.sql"))


def read_appended(store: Store, watermark: int) -> list[str]:
    """Return the sessions that have an event with an id above `watermark`."""
    rows = store.native("select distinct session_id from events where id > ?", watermark)
    return [session_id for (session_id,) in rows if session_id is not None]


def stream_events(store: Store) -> Iterator[pl.DataFrame]:
    """Yield all events with their `row_check`, in batches, in one scan."""
    yield from store.read_batches(_MIRRORED, rows=_BATCH_ROWS)


def read_events(store: Store, session_ids: list[str]) -> pl.DataFrame:
    """Return the events of some sessions with their `row_check`, through the index."""
    chosen = load_sql("mirror/chosen_events.sql")
    sql = f"with events as (\n{chosen}\n)\nselect * from (\n{_MIRRORED}\n)"
    return store.read(sql, {"session_ids": json.dumps(session_ids, ensure_ascii=False)})


def check_events(events: pl.DataFrame) -> pl.DataFrame:
    """Return the checks of events that were read, equal to those of `read_checks`."""
    return (
        events.group_by("session_id")
        .agg(pl.len().cast(pl.Int64).alias("events"), pl.col("row_check").sum().alias("row_checks"))
        .cast(CHECK_SCHEMA)
    )
