"""Small stores for tests of retros: sessions written out as a few events each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rows import write_rows

from kaizen_analytics.core.model import Window

if TYPE_CHECKING:
    from kaizen_analytics.store import Store

DAY_MS = 86_400_000
MONDAY_MS = 1_790_553_600_000
"""2026-09-28, the Monday of week 40."""
WEEK = Window(start_ms=MONDAY_MS, end_ms=MONDAY_MS + 7 * DAY_MS)

Row = dict[str, object]


def add_session(store: Store, name: str, at_ms: int, events: list[Row], **columns: object) -> None:
    """Store one session whose events follow each other by a second."""
    session = {"id": name, "model": "claude-sonnet-4-5", "workspace": "/w/shop", "started_at_ms": at_ms, **columns}
    rows = [{"session_id": name, "ts_ms": at_ms + 1000 * seq, **event} for seq, event in enumerate(events)]
    write_rows(store, [session], rows)


def answer(read: int = 10_000, usd_e6: int = 3_000, **columns: object) -> Row:
    payload = json.dumps({"role": "assistant", "model": "claude-sonnet-4-5"})
    return {
        "kind": "Message",
        "payload": payload,
        "tokens_in": 0,
        "cache_read_tokens": read,
        "cost_usd_e6": usd_e6,
        **columns,
    }


def prompt(text: str = "Build it") -> Row:
    return {"kind": "Message", "payload": json.dumps({"role": "user", "prompt": True, "text": text})}


def tool(name: str, call_id: str, **facts: object) -> Row:
    return {"kind": "ToolCall", "tool": name, "tool_call_id": call_id, "payload": json.dumps(facts)}


def result(name: str, call_id: str, **facts: object) -> Row:
    return {"kind": "ToolResult", "tool": name, "tool_call_id": call_id, "payload": json.dumps(facts)}


def misspelt() -> list[Row]:
    """A test run by a wrong command, then by the right one."""
    return [
        prompt(),
        answer(),
        tool("Bash", "a", input={"command": "rtk bun test"}),
        result("Bash", "a", is_error=True, error="Exit code 2\nerror: unrecognized subcommand 'bun'", chars=60),
        answer(),
        tool("Bash", "b", input={"command": "bun test"}),
        result("Bash", "b", is_error=False, chars=10),
        answer(),
    ]


def add_week(store: Store, start_ms: int, *, wrong: int, right: int, **columns: object) -> None:
    """Three sessions a day from a day on: first `wrong` with the wrong command, then `right` without it."""
    for number in range(wrong + right):
        events = misspelt() if number < wrong else misspelt()[5:]
        add_session(store, f"{start_ms}-{number}", start_ms + number * DAY_MS // 3, events, **columns)
