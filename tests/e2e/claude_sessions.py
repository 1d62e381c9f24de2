"""Sessions of Claude Code as files in a home."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SONNET = "claude-sonnet-4-5-20250929"


def respond(key: str, tokens: float, content: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a message of the model; `key` makes it a response of its own."""
    usage = {"input_tokens": max(1, round(tokens)), "output_tokens": 1, "service_tier": "standard"}
    said = content or [{"type": "text", "text": "Done."}]
    stop = "tool_use" if content else "end_turn"
    return {
        "id": f"msg_{key}",
        "role": "assistant",
        "model": SONNET,
        "content": said,
        "stop_reason": stop,
        "usage": usage,
    }


def write_session(
    home: Path, name: str, place: tuple[object, str], start: float, messages: Iterable[tuple[int, dict[str, Any]]]
) -> None:
    """Write messages, each with its second from the start; `place` is the folder and its branch."""
    lines = []
    for number, (second, message) in enumerate(messages):
        moment = datetime.fromtimestamp(start + second, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        own = {"uuid": f"{name}-{number}", "sessionId": name, "timestamp": moment, "isSidechain": False}
        kind = {"type": message["role"], "cwd": str(place[0]), "gitBranch": place[1], "version": "2.1.100"}
        lines.append(json.dumps({**kind, **own, "message": message}) + "\n")
    folder = home / ".claude" / "projects" / "-repo"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
