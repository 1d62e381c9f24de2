"""Sessions to sync: each has an id, two times and little else."""

from __future__ import annotations

import polars as pl

from kaizen_analytics.store import Store
from kaizen_analytics.store.sessions import write_sessions

SESSIONS = 25


def session(number: int, **columns: object) -> dict[str, object]:
    at_ms = 1_790_553_600_000 + number * 3_600_000
    plain = {"agent": "codex", "model": "gpt-5", "workspace": "/w/shop", "status": "Done", "trace_path": ""}
    times = {"started_at_ms": at_ms, "ended_at_ms": at_ms + 60_000, "repo_binding_source": ""}
    return {"id": f"s{number:03}", **plain, **times, **columns}


def add_sessions(store: Store, numbers: range, **columns: object) -> None:
    frame = pl.DataFrame([session(number, **columns) for number in numbers], infer_schema_length=None)
    write_sessions(store, frame, {})
