"""Sessions and events by hand: a row says what its test is about, the rest is plain."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.store.sessions import write_sessions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kaizen_analytics.store import Store

SESSION = {"agent": "claude_code", "workspace": "/w", "started_at_ms": 0, "status": "Done", "trace_path": "t"}
EVENT = {"ts_ms": 0, "kind": "Message", "source": "Tail", "payload": '{"role": "assistant"}', "ts_exact": 1}


def write_rows(store: Store, sessions: Iterable[dict[str, Any]], events: Iterable[dict[str, Any]] = ()) -> None:
    """Store sessions and events; events without a `seq` are counted through, session by session."""
    counted: Counter[str] = Counter()
    filled = []
    for row in events:
        filled.append({**EVENT, "seq": counted[row["session_id"]], **row})
        counted[row["session_id"]] += 1
    frame = pl.DataFrame([{**SESSION, "repo_binding_source": "", **row} for row in sessions], infer_schema_length=None)
    write_sessions(store, frame, {"events": pl.DataFrame(filled, infer_schema_length=None)} if filled else {})
