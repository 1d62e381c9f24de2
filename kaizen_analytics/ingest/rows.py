"""From parsed events to rows of the store, and the counts of a session (its tally)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from kaizen_analytics.ingest.claude_code import SYNTHETIC_MODEL
from kaizen_analytics.ingest.pricing import name_at_speed
from kaizen_analytics.ingest.records import Event, Json, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.ingest.pricing import PriceList
    from kaizen_analytics.store import Store

Row = tuple[Any, ...]

EVENT_COLUMNS = (
    "session_id", "seq", "ts_ms", "kind", "source", "tool", "tokens_in", "tokens_out", "cost_usd_e6", "payload",
    "ts_exact", "tool_call_id", "reasoning_tokens", "stop_reason", "latency_ms", "ttft_ms", "context_used_tokens",
    "context_max_tokens", "cache_creation_tokens", "cache_read_tokens",
)  # fmt: skip
SESSION_COLUMNS = (
    "id", "agent", "model", "workspace", "started_at_ms", "ended_at_ms", "status", "trace_path", "start_commit",
    "branch", "repo_binding_source", "prompt_fingerprint", "parent_session_id", "agent_version",
)  # fmt: skip

NOT_IN_MESSAGES = "not_in_messages"
"""Marks what an agent's own total holds beyond its messages: compactions, side calls, counts never completed."""

_FEW_ROWS = 2000
"""Polars takes longer to import than SQLite takes to read so many rows as JSON."""

_COUNTED_KINDS = (("errors", Kind.ERROR), ("tool_calls", Kind.TOOL_CALL), ("tool_results", Kind.TOOL_RESULT))


def event_row(session: str, seq: int, event: Event, prices: PriceList) -> Row:
    """Return one row of `events`, in the order of `EVENT_COLUMNS`, every value as text, as `Store.native` gives it.

    >>> from kaizen_analytics.ingest.pricing import PriceList
    >>> from kaizen_analytics.ingest.records import Event, Kind
    >>> row = event_row("a", 0, Event(None, 5, Kind.TOOL_CALL, {}, tool="Bash"), PriceList())
    >>> dict(zip(EVENT_COLUMNS, row, strict=True))["ts_ms"]
    '5'
    """
    tokens, payload, cost = event.tokens, event.payload, None
    given = written = read = output = reasoning = used = most = None
    if tokens is not None:
        speed, is_sum = payload.get("speed"), NOT_IN_MESSAGES in payload
        cost = 0 if "refused" in payload else prices.cost_e6(
            event.model, event.ts_ms, tokens, speed, is_sum=is_sum, in_us="geo" in payload
        )  # fmt: skip
        given, written, read, output, reasoning = [None if count is None else str(count) for count in tokens[:5]]
    if event.context_used_tokens is not None:
        used = str(event.context_used_tokens)
    if event.context_max_tokens is not None:
        most = str(event.context_max_tokens)
    return (
        session, str(seq), str(event.ts_ms), event.kind, "Tail", event.tool, given, output,
        None if cost is None else str(cost), orjson.dumps(payload).decode(), "1" if event.ts_exact else "0",
        event.tool_call_id, reasoning, event.stop_reason, None, None, used, most, written, read,
    )  # fmt: skip


def insert_rows(store: Store, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Append rows to a table, inside a `Store.write` block. Numbers may be given as text.

    >>> insert_rows(store, "events", EVENT_COLUMNS, [])
    """
    if not rows:
        return
    if len(rows) <= _FEW_ROWS:
        cells = ", ".join(f"value->>{place}" for place in range(len(columns)))
        sql = f"insert into {table} ({', '.join(columns)}) select {cells} from json_each(?) where true returning 1"
        store.native(sql, orjson.dumps(rows).decode())
        return
    import polars as pl

    store.insert(table, pl.DataFrame(dict(zip(columns, zip(*rows, strict=True), strict=True))))


def count_rows(rows: Sequence[Row], events: Sequence[Event], tally: Json | None = None) -> Json:
    """Return the counts of a session (its tally) from its events and their rows.

    A session of many rows is counted in slices, into the `tally` of the slices before. `kept` and `kept_prompts` count
    the events that live only in the store; whoever keeps some adds them.

    >>> count_rows([], [])["events"]
    0
    """
    if tally is None:
        tally = {
            "events": 0, "start_ms": None, "end_ms": None, "models": {}, "branches": {}, "tokens": [None] * 5,
            "cost_e6": 0, "unpriced": 0, "unpriced_tokens": 0, "unknown": {}, "unreliable": 0, "responses": 0,
            "prompts": 0, "errors": 0, "tool_calls": 0, "tool_results": 0, "tool_errors": 0, "kept": 0,
            "kept_prompts": 0,
        }  # fmt: skip
    if not rows:
        return tally
    times, kinds = [event.ts_ms for event in events], Counter([event.kind for event in events])
    known = () if tally["start_ms"] is None else (tally["start_ms"], tally["end_ms"])
    tally["start_ms"], tally["end_ms"] = min(*times, *known, times[0]), max(*times, *known, times[0])
    for name, kind in _COUNTED_KINDS:
        tally[name] += kinds[kind]
    tally["events"] += len(rows)
    for row, event in zip(rows, events, strict=True):
        if event.kind == Kind.MESSAGE:
            if event.payload.get("prompt"):
                tally["prompts"] += 1
            elif event.tokens is not None:
                _count_response(tally, event, event.tokens[:5], row[8])
        elif event.kind == Kind.TOOL_RESULT and event.payload.get("is_error") is True:
            tally["tool_errors"] += 1
    return tally


def _count_response(tally: Json, event: Event, counts: Sequence[int | None], cost: str | None) -> None:
    if counts == (None, None, None, None, None):
        return
    payload, branch = event.payload, event.place.branch
    booked = NOT_IN_MESSAGES in payload
    tally["responses"] += not booked
    model = payload.get("model")
    if model not in (None, SYNTHETIC_MODEL) and not booked:
        tally["models"][model] = tally["models"].get(model, 0) + 1
    if branch:
        tally["branches"][branch] = tally["branches"].get(branch, 0) + 1
    sums = tally["tokens"]
    for index, count in enumerate(counts):
        if count is not None:
            sums[index] = (sums[index] or 0) + count
    tally["unreliable"] += bool(payload.get("unreliable"))
    if cost is not None:
        tally["cost_e6"] += int(cost)
        return
    tally["unpriced"] += 1
    tally["unpriced_tokens"] += sum(count or 0 for count in counts)
    if model != SYNTHETIC_MODEL:
        name = name_at_speed(model, payload.get("speed"))
        tally["unknown"][name] = tally["unknown"].get(name, 0) + 1
