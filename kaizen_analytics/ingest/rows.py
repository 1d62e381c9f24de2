"""From parsed events to rows of the store, and the running counts of a session (its tally)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from kaizen_analytics.ingest.claude_code import SYNTHETIC_MODEL
from kaizen_analytics.ingest.pricing import name_at_speed
from kaizen_analytics.ingest.records import Event, Json, Kind, Tokens
from kaizen_analytics.store.sessions import checksum_term

if TYPE_CHECKING:
    from kaizen_analytics.ingest.gitref import Places
    from kaizen_analytics.ingest.pricing import PriceList
    from kaizen_analytics.ingest.reading import Work

EVENT_COLUMNS = (
    "session_id", "seq", "ts_ms", "kind", "source", "tool", "tokens_in", "tokens_out", "cost_usd_e6", "payload",
    "ts_exact", "tool_call_id", "reasoning_tokens", "stop_reason", "latency_ms", "ttft_ms", "context_used_tokens",
    "context_max_tokens", "cache_creation_tokens", "cache_read_tokens",
)  # fmt: skip
SESSION_COLUMNS = (
    "id", "agent", "model", "workspace", "started_at_ms", "ended_at_ms", "status", "trace_path", "start_commit",
    "branch", "repo_binding_source", "prompt_fingerprint", "parent_session_id", "agent_version",
)  # fmt: skip

_NO_TOKENS = Tokens(None, None, None, None, None)


def event_row(session: str, seq: int, event: Event, prices: PriceList) -> tuple[Any, ...]:
    """Return one row of `events`, in the order of `EVENT_COLUMNS`."""
    tokens = event.tokens or _NO_TOKENS
    speed = event.payload.get("speed")
    cost = None if event.tokens is None else prices.cost_e6(event.model, event.ts_ms, tokens, speed)
    return (
        session, seq, event.ts_ms, event.kind.value, "Tail", event.tool, tokens.tokens_in, tokens.tokens_out, cost,
        orjson.dumps(event.payload).decode(), int(event.ts_exact), event.tool_call_id, tokens.reasoning,
        event.stop_reason, event.latency_ms, event.ttft_ms, event.context_used_tokens, event.context_max_tokens,
        tokens.cache_creation, tokens.cache_read,
    )  # fmt: skip


def new_tally() -> Json:
    """Return the counts of a session without events."""
    return {
        "events": 0, "checksum": 0, "start_ms": None, "end_ms": None, "models": {}, "place": None,
        "tokens": [None] * 5, "cost_e6": 0, "unpriced": 0, "unknown": {}, "unreliable": 0, "responses": 0,
        "prompts": 0, "errors": 0, "tool_calls": 0, "tool_results": 0, "tool_errors": 0,
    }  # fmt: skip


def count_event(tally: Json, event: Event, row: tuple[Any, ...]) -> None:
    """Add one event and its row to a tally."""
    tally["events"] += 1
    tally["checksum"] += row_term(row)
    tally["start_ms"] = event.ts_ms if tally["start_ms"] is None else min(tally["start_ms"], event.ts_ms)
    tally["end_ms"] = event.ts_ms if tally["end_ms"] is None else max(tally["end_ms"], event.ts_ms)
    if tally["place"] is None and any(event.place):
        tally["place"] = list(event.place)
    if event.kind is Kind.TOOL_CALL:
        tally["tool_calls"] += 1
    elif event.kind is Kind.TOOL_RESULT:
        tally["tool_results"] += 1
        tally["tool_errors"] += event.payload.get("is_error") is True
    elif event.kind is Kind.ERROR:
        tally["errors"] += 1
    elif event.payload.get("prompt"):
        tally["prompts"] += 1
    if event.tokens is not None:
        count_response(tally, event.model)
        count_usage(tally, event.tokens, row[8], event.payload, sign=1)


def count_response(tally: Json, model: str | None) -> None:
    """Add one response whose usage is known."""
    if model is not None:
        tally["models"][model] = tally["models"].get(model, 0) + 1
    tally["responses"] += 1


def count_usage(tally: Json, tokens: Tokens, cost: int | None, payload: Json, *, sign: int) -> None:
    """Add (or, with `sign=-1`, take back) one response's tokens, cost and flags."""
    for index in range(5):
        count = tokens[index]
        if count is not None:
            tally["tokens"][index] = (tally["tokens"][index] or 0) + sign * count
    if cost is None:
        tally["unpriced"] += sign
        if payload.get("model") != SYNTHETIC_MODEL:
            model = name_at_speed(payload.get("model"), payload.get("speed"))
            left = tally["unknown"].get(model, 0) + sign
            tally["unknown"] = {**tally["unknown"], model: left} if left else _without(tally["unknown"], model)
    else:
        tally["cost_e6"] += sign * cost
    tally["unreliable"] += sign * bool(payload.get("unreliable"))


def _without(counts: dict[str, int], name: str) -> dict[str, int]:
    return {key: value for key, value in counts.items() if key != name}


def row_term(row: tuple[Any, ...]) -> int:
    """Return an event row's share of its session's checksum."""
    return checksum_term(
        seq=row[1], ts_ms=row[2], kind=row[3], tokens_in=row[6], tokens_out=row[7], cost_usd_e6=row[8], payload=row[9]
    )


def session_row(work: Work, tally: Json, places: Places) -> tuple[Any, ...]:
    """Return the row of `sessions` for what a tally has counted, in the order of `SESSION_COLUMNS`."""
    cwd, branch, version, commit = tally["place"] or (None, None, None, None)
    workspace = places.workspace_of(cwd)
    branch = None if branch == "HEAD" else branch
    source = "recorded" if commit else ""
    if commit is None and workspace:
        commit = places.commit_at(workspace, branch, tally["start_ms"])
        source = "inferred" if commit else ""
    return (
        work.name, work.agent.value, main_model(tally), workspace, tally["start_ms"], tally["end_ms"], "Done",
        work.path, commit, branch, source, work.fingerprint, work.parser.parent_session_id, version,
    )  # fmt: skip


def main_model(tally: Json) -> str | None:
    """Return the model that answered most often; the first among equals, by name."""
    models: dict[str, int] = tally["models"]
    return min(models, key=lambda model: (-models[model], model)) if models else None
