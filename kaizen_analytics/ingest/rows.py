"""From parsed events to rows of the store, and the counts of a session (its tally)."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson

from kaizen_analytics.ingest.claude_code import SYNTHETIC_MODEL
from kaizen_analytics.ingest.pricing import name_at_speed
from kaizen_analytics.ingest.records import Event, Json, Tokens

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
INTEGERS = frozenset(
    {"seq", "ts_ms", "tokens_in", "tokens_out", "cost_usd_e6", "ts_exact", "reasoning_tokens", "latency_ms", "ttft_ms"}
    | {"context_used_tokens", "context_max_tokens", "cache_creation_tokens", "cache_read_tokens"}
    | {"started_at_ms", "ended_at_ms", "file_id", "record", "original", "line", "offset_bytes"}
    | {"id in ka_files", "size_bytes", "mtime_ns", "read_bytes", "parser", "last_ms", "n_lines"}
)
"""The columns that are no text, of all tables that `insert_rows` fills; an `id` is one in `ka_files` only."""

SESSION_COLUMNS = (
    "id", "agent", "model", "workspace", "started_at_ms", "ended_at_ms", "status", "trace_path", "start_commit",
    "branch", "repo_binding_source", "prompt_fingerprint", "parent_session_id", "agent_version",
)  # fmt: skip

NOT_IN_MESSAGES = "not_in_messages"
"""Marks what an agent's own total holds beyond its messages: compactions, side calls, counts never completed."""

_NO_TOKENS = Tokens(None, None, None, None, None)
_TOKENS_OF = itemgetter(6, 18, 19, 7, 12)
"""Input, cache writes, cache reads, output and reasoning of a row of `EVENT_COLUMNS`."""


_COUNTED_KINDS = (("errors", "Error"), ("tool_calls", "ToolCall"), ("tool_results", "ToolResult"))


def event_row(session: str, seq: int, event: Event, prices: PriceList) -> Row:
    """Return one row of `events`, in the order of `EVENT_COLUMNS`.

    >>> from kaizen_analytics.ingest.pricing import PriceList
    >>> from kaizen_analytics.ingest.records import Event, Kind
    >>> row = event_row("a", 0, Event(None, 5, Kind.TOOL_CALL, {}, tool="Bash"), PriceList())
    >>> dict(zip(EVENT_COLUMNS, row, strict=True))["tool"]
    'Bash'
    """
    tokens, payload, cost = event.tokens, event.payload, None
    if tokens is not None:
        speed, is_sum = payload.get("speed"), NOT_IN_MESSAGES in payload
        cost = 0 if "refused" in payload else prices.cost_e6(event.model, event.ts_ms, tokens, speed, is_sum=is_sum)
    given, written, read, output, reasoning, _ = tokens or _NO_TOKENS
    return (
        session, seq, event.ts_ms, event.kind, "Tail", event.tool, given, output, cost,
        orjson.dumps(payload).decode(), int(event.ts_exact), event.tool_call_id, reasoning,
        event.stop_reason, None, None, event.context_used_tokens, event.context_max_tokens,
        written, read,
    )  # fmt: skip


def insert_rows(store: Store, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Append rows to a table, inside a `Store.write` block.

    >>> insert_rows(store, "events", EVENT_COLUMNS, [])
    """
    if not rows:
        return
    import polars as pl

    schema = {name: pl.Int64 if {name, f"{name} in {table}"} & INTEGERS else pl.String for name in columns}
    store.insert(table, pl.DataFrame(dict(zip(columns, zip(*rows, strict=True), strict=True)), schema=schema))


def count_rows(
    rows: Sequence[Row], payloads: Sequence[Json], branches: Sequence[str | None], tally: Json | None = None
) -> Json:
    """Return the counts of a session (its tally) from its rows, with the payload and the branch of each.

    A session of many rows is counted in slices, into the `tally` of the slices before. `kept` and `kept_prompts` count
    the events that live only in the store; whoever keeps some adds them.

    >>> count_rows([], [], [])["events"]
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
    times, kinds = [row[2] for row in rows], Counter([row[3] for row in rows])
    known = () if tally["start_ms"] is None else (tally["start_ms"], tally["end_ms"])
    tally["start_ms"], tally["end_ms"] = min(*times, *known, times[0]), max(*times, *known, times[0])
    for name, kind in _COUNTED_KINDS:
        tally[name] += kinds[kind]
    tally["events"] += len(rows)
    for row, payload, branch in zip(rows, payloads, branches, strict=True):
        kind = row[3]
        if kind == "Message":
            if payload.get("prompt"):
                tally["prompts"] += 1
            else:
                _count_response(tally, row, payload, branch)
        elif kind == "ToolResult" and payload.get("is_error") is True:
            tally["tool_errors"] += 1
    return tally


def _count_response(tally: Json, row: Row, payload: Json, branch: str | None) -> None:
    counts = _TOKENS_OF(row)
    if counts == (None, None, None, None, None):
        return
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
    if row[8] is not None:
        tally["cost_e6"] += row[8]
        return
    tally["unpriced"] += 1
    tally["unpriced_tokens"] += sum(count or 0 for count in counts)
    if model != SYNTHETIC_MODEL:
        name = name_at_speed(model, payload.get("speed"))
        tally["unknown"][name] = tally["unknown"].get(name, 0) + 1
