"""A synthetic home folder with Claude Code transcripts: line kinds and line sizes spread like those of real ones.

The spread was measured once: for each kind of line its share, and the mean and spread of the logarithm of its size in
bytes. The text is filler; usage, ids, times and tool calls have the shape that readers parse.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

SEED = 20_250_102
_LINES_PER_SESSION = 300
_WORDS = "the build of a module fails when its test reads state that another one wrote; run it alone first. "


@dataclass(frozen=True, slots=True)
class LineKind:
    """One kind of line: how often, and the mean and spread of ln(bytes)."""

    name: str
    weight: float
    log_mean: float
    log_spread: float


KINDS = (
    LineKind("result", 0.23, 8.21, 1.34),
    LineKind("progress", 0.22, 6.92, 0.91),
    LineKind("tool_use", 0.225, 7.21, 0.46),
    LineKind("thinking", 0.135, 7.61, 0.63),
    LineKind("text", 0.1, 7.06, 0.35),
    LineKind("prompt", 0.03, 6.58, 0.71),
    LineKind("snapshot", 0.06, 6.19, 0.59),
)


def make_transcripts(home: Path, megabytes: float, *, seed: int = SEED) -> int:
    """Write sessions below `home`/.claude/projects until they hold `megabytes`; return the bytes written."""
    random = np.random.default_rng(seed)
    written, number = 0, 0
    while written < megabytes * 1e6:
        folder = home / ".claude" / "projects" / f"-work-project-{number % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        session_id = str(uuid.UUID(bytes=random.bytes(16), version=4))
        content = "".join(_compact(line) + "\n" for line in _session(session_id, number, random))
        (folder / f"{session_id}.jsonl").write_text(content, "utf-8")
        written += len(content)
        number += 1
    return written


def _session(session_id: str, number: int, random: np.random.Generator) -> list[dict[str, Any]]:
    weights = np.array([kind.weight for kind in KINDS])
    kinds = random.choice(len(KINDS), _LINES_PER_SESSION, p=weights / weights.sum())
    moment = datetime(2025, 10, 1, tzinfo=UTC) + timedelta(minutes=37 * number)
    lines, call = [], None
    for place, index in enumerate(kinds):
        kind = KINDS[index]
        moment += timedelta(seconds=float(random.exponential(9)))
        size = int(min(random.lognormal(kind.log_mean, kind.log_spread), 500_000))
        envelope = _envelope(session_id, number, moment, f"{session_id[:24]}{place:012x}")
        line = _line(kind.name, envelope, call, random)
        call = line.get("_call", call)
        line.pop("_call", None)
        lines.append(_pad(line, size))
    return lines


def _envelope(session_id: str, number: int, moment: datetime, line_id: str) -> dict[str, Any]:
    return {
        "uuid": line_id,
        "parentUuid": None,
        "sessionId": session_id,
        "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "cwd": f"/srv/project/{number % 5}",
        "gitBranch": "main",
        "version": "2.1.100",
        "isSidechain": False,
    }


def _line(kind: str, envelope: dict[str, Any], call: str | None, random: np.random.Generator) -> dict[str, Any]:
    if kind in ("tool_use", "thinking", "text"):
        return _answer(kind, envelope, random)
    if kind == "result":
        block = {"type": "tool_result", "tool_use_id": call or "toolu_none", "content": "", "is_error": False}
        return {**envelope, "type": "user", "message": {"role": "user", "content": [block]}, "toolUseResult": {}}
    if kind == "prompt":
        return {**envelope, "type": "user", "message": {"role": "user", "content": ""}}
    if kind == "progress":
        return {**envelope, "type": "progress", "data": {"type": "hook_progress", "output": ""}}
    return {"type": "file-history-snapshot", "messageId": envelope["uuid"], "snapshot": {"content": ""}}


def _answer(kind: str, envelope: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
    number = envelope["uuid"][-12:]
    call = f"toolu_{envelope['sessionId'][:8]}{number}"
    blocks: dict[str, dict[str, Any]] = {
        "tool_use": {"type": "tool_use", "id": call, "name": "Bash", "input": {"command": "make test", "content": ""}},
        "thinking": {"type": "thinking", "thinking": "", "signature": "s"},
        "text": {"type": "text", "text": ""},
    }
    plain, written, read, out = (int(n) for n in random.lognormal([2, 6.5, 10, 5], 1))
    usage = {
        "input_tokens": plain,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": out,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard",
    }
    message = {
        "id": f"msg_{envelope['sessionId'][:8]}{number}",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [blocks[kind]],
        "stop_reason": "tool_use" if kind == "tool_use" else "end_turn",
        "usage": usage,
    }
    extra = {"_call": call} if kind == "tool_use" else {}
    return {**envelope, "type": "assistant", "requestId": f"req_{number}", "message": message, **extra}


def _compact(line: dict[str, Any]) -> str:
    """Return a line as Claude Code writes it: without spaces, which some readers rely on."""
    return json.dumps(line, separators=(",", ":"))


def _pad(line: dict[str, Any], size: int) -> dict[str, Any]:
    """Fill the line's text so that the line has about `size` bytes."""
    filler = max(0, size - len(_compact(line)))
    text = (_WORDS * (filler // len(_WORDS) + 1))[:filler]
    holder = line
    for name in ("message", "data", "snapshot"):
        holder = holder.get(name, holder) if isinstance(holder.get(name), dict) else holder
    if line["type"] in ("assistant", "user"):
        _fill_message(line["message"], text)
    else:
        holder["output" if line["type"] == "progress" else "content"] = text
    return line


def _fill_message(message: dict[str, Any], text: str) -> None:
    if isinstance(message["content"], str):
        message["content"] = text
        return
    [block] = message["content"]
    if block["type"] == "tool_use":
        block["input"]["content"] = text
    else:
        block[{"thinking": "thinking", "text": "text", "tool_result": "content"}[block["type"]]] = text
