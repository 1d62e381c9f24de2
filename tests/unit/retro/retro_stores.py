"""Small stores for tests of retros: sessions written out as a few events each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.retro.bets import Bet
from kaizen_analytics.retro.heuristics import Basis, Category, Confidence
from kaizen_analytics.retro.relations import Window
from kaizen_analytics.store.sessions import write_sessions

if TYPE_CHECKING:
    from kaizen_analytics.store import Store

DAY_MS = 86_400_000
MONDAY_MS = 1_790_553_600_000
"""2026-09-28, the Monday of week 40."""
WEEK = Window(start_ms=MONDAY_MS, end_ms=MONDAY_MS + 7 * DAY_MS)
NOW_MS = WEEK.end_ms

Row = dict[str, object]

_SESSION = {
    "agent": "claude_code",
    "model": "claude-sonnet-4-5",
    "workspace": "/w/shop",
    "status": "Done",
    "trace_path": "",
    "parent_session_id": None,
    "prompt_fingerprint": None,
    "ended_at_ms": None,
}
_EVENT = {
    "source": "Tail",
    "ts_exact": 1,
    "tool": None,
    "tool_call_id": None,
    "tokens_in": None,
    "cache_read_tokens": None,
    "cost_usd_e6": None,
}


def add_session(store: Store, name: str, at_ms: int, events: list[Row], **columns: object) -> None:
    """Store one session whose events follow each other by a second."""
    session = {**_SESSION, "id": name, "started_at_ms": at_ms, "repo_binding_source": "", **columns}
    rows = [
        {**_EVENT, "session_id": name, "seq": seq, "ts_ms": at_ms + 1000 * seq, **event}
        for seq, event in enumerate(events)
    ]
    children = {"events": pl.DataFrame(rows, infer_schema_length=None)} if rows else {}
    write_sessions(store, pl.DataFrame([session], infer_schema_length=None), children)


def answer(tokens: int = 1000, usd_e6: int = 10_000, **columns: object) -> Row:
    payload = json.dumps({"role": "assistant", "model": "claude-sonnet-4-5"})
    return {"kind": "Message", "payload": payload, "tokens_in": tokens, "cost_usd_e6": usd_e6, **columns}


def prompt() -> Row:
    return {"kind": "Message", "payload": json.dumps({"role": "user", "prompt": True})}


def error(label: str) -> Row:
    return {"kind": "Error", "payload": json.dumps({"error": label})}


def tool(name: str, call_id: str, **facts: object) -> Row:
    return {"kind": "ToolCall", "tool": name, "tool_call_id": call_id, "payload": json.dumps(facts)}


def result(name: str, call_id: str, **facts: object) -> Row:
    return {"kind": "ToolResult", "tool": name, "tool_call_id": call_id, "payload": json.dumps(facts)}


def edits(path: str, count: int) -> list[Row]:
    return [tool("Edit", f"e{i}", path=path, input={"path": path}) for i in range(count)]


def make_bet(name: str, **fields: object) -> Bet:
    """A bet with this id; everything else is plain."""
    plain: dict[str, object] = {
        "heuristic": name.split(":", maxsplit=1)[0],
        "name": "a heuristic",
        "confidence": Confidence.MEDIUM,
        "category": Category.INVESTIGATION,
        "effort_minutes": 9,
        "basis": Basis.ESTIMATE,
        "metric": "TokensPerSession",
        "title": "A title",
        "hypothesis": "A reason.",
        "apply_step": "Do this.",
        "evidence": ("s",),
        "evidence_recency_ms": 0,
        "occurrences": 10,
        "tokens_saved_per_week": 1000,
    }
    return Bet(id=name, **{**plain, **fields})  # type: ignore[arg-type]
