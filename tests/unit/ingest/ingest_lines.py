"""Small transcripts in the shape of the real formats, for the tests of this folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.store import Store

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


def rows(store: Store, sql: str) -> list[tuple[str | None, ...]]:
    """Return what a native query gives."""
    return [tuple(row) for row in store.native(sql)]


def iso(at_s: float) -> str:
    moment = datetime.fromtimestamp(START_MS / 1000 + at_s, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line(record: Any) -> bytes:
    return json.dumps(record).encode() + b"\n"


def lines(*records: Any) -> bytes:
    return b"".join(line(record) for record in records)


def envelope(kind: str, uuid: str, at_s: float, session: str = "s1", **more: Any) -> dict[str, Any]:
    place = {"cwd": "/repo/demo", "gitBranch": "main", "version": "2.1.100", "isSidechain": False}
    return {"type": kind, "uuid": uuid, "sessionId": session, "timestamp": iso(at_s), **place, **more}


def begun(stem: str, at_s: float) -> dict[str, Any]:
    """Return the record with which a file begins: what is older was copied into it."""
    return {"type": "queue-operation", "operation": "enqueue", "timestamp": iso(at_s), "sessionId": stem}


def prompt(uuid: str, at_s: float, text: Any = "please", session: str = "s1", **more: Any) -> dict[str, Any]:
    return envelope("user", uuid, at_s, session, message={"role": "user", "content": text}, **more)


def usage(given: int = 10, output: int = 5, read: int = 100, written: int = 20, hour: int = 0) -> dict[str, Any]:
    split = {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour}
    return {
        "input_tokens": given,
        "output_tokens": output,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "cache_creation": split,
    }


def answer(
    uuid: str,
    at_s: float,
    response: str | None,
    *blocks: dict[str, Any],
    session: str = "s1",
    tokens: dict[str, Any] | None = None,
    stop: str | None = "end_turn",
    model: str = "claude-sonnet-4-5-20250929",
    **more: Any,
) -> dict[str, Any]:
    content = list(blocks) or [{"type": "text", "text": "done"}]
    message = {"id": response, "model": model, "role": "assistant", "content": content, "stop_reason": stop}
    return envelope("assistant", uuid, at_s, session, message={**message, "usage": tokens or usage()}, **more)


def call(call_id: str, name: str = "Read", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def result(
    uuid: str, at_s: float, call_id: str, content: Any = "ok", session: str = "s1", **more: Any
) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}
    return envelope("user", uuid, at_s, session, message={"role": "user", "content": [block]})


def codex(kind: str, at_s: float, /, **payload: Any) -> dict[str, Any]:
    return {"timestamp": iso(at_s), "type": kind, "payload": payload}


def meta(session: str, at_s: float = 0, **more: Any) -> dict[str, Any]:
    git = {"commit_hash": "a" * 40, "branch": "main"}
    return codex("session_meta", at_s, id=session, cwd="/repo/demo", cli_version="0.120.0", git=git, **more)


def turn(at_s: float, model: str = "gpt-5.4", **more: Any) -> dict[str, Any]:
    return codex("turn_context", at_s, cwd="/repo/demo", model=model, **more)


def counts(given: int, cached: int, output: int, reasoning: int) -> dict[str, int]:
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens", "total_tokens")
    return dict(zip(names, (given, cached, output, reasoning, given + output), strict=True))


def token_count(at_s: float, total: dict[str, int], last: dict[str, int]) -> dict[str, Any]:
    info = {"total_token_usage": total, "last_token_usage": last, "model_context_window": 258_400}
    return codex("event_msg", at_s, type="token_count", info=info)


def write(home: Path, name: str, content: bytes) -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def claude_file(home: Path, stem: str, content: bytes, slug: str = "-work-demo") -> Path:
    return write(home, f".claude/projects/{slug}/{stem}.jsonl", content)


def codex_file(home: Path, stem: str, content: bytes, folder: str = "sessions/2026/01/01") -> Path:
    return write(home, f".codex/{folder}/rollout-{stem}.jsonl", content)


def feed(parser: Any, content: bytes) -> Any:
    """Feed a parser all lines and return it."""
    offset = 0
    for text in content.split(b"\n"):
        if text:
            parser.feed(offset, text)
        offset += len(text) + 1
    return parser
