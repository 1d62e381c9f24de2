"""Synthetic home folders with transcripts: kinds and sizes of lines spread like those of real ones.

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
_WORDS = 'the build of a "module" fails when its test reads state\n    that another one wrote;\nrun it alone first. '


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


CODEX_KINDS = (
    LineKind("result", 0.2, 7.6, 1.2),
    LineKind("call", 0.2, 6.2, 0.5),
    LineKind("tokens", 0.19, 0, 0),
    LineKind("reasoning", 0.13, 6.8, 0.4),
    LineKind("message", 0.11, 6.8, 0.6),
    LineKind("said", 0.08, 6.4, 0.6),
    LineKind("turn", 0.06, 7.7, 0.3),
    LineKind("prompt", 0.03, 6.0, 0.7),
)


def make_transcripts(home: Path, megabytes: float, *, lines: int = _LINES_PER_SESSION, seed: int = SEED) -> int:
    """Write sessions of Claude Code below a home until they hold `megabytes`; return the bytes written."""
    random = np.random.default_rng(seed)
    written, number = 0, 0
    while written < megabytes * 1e6:
        written += _write_session(home, number, random, lines, folders=5)
        number += 1
    return written


def make_small_transcripts(home: Path, files: int, *, seed: int = SEED) -> int:
    """Write many sessions of Claude Code with six lines each; return the bytes written."""
    random = np.random.default_rng(seed)
    return sum(_write_session(home, number, random, 6, folders=50) for number in range(files))


def make_codex_transcripts(home: Path, megabytes: float, *, seed: int = SEED) -> int:
    """Write sessions of Codex below a home until they hold `megabytes`; return the bytes written."""
    random = np.random.default_rng(seed)
    written, number = 0, 0
    while written < megabytes * 1e6:
        moment = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=37 * number)
        session_id = (
            f"019c{random.bytes(2).hex()}-{random.bytes(2).hex()}-7{random.bytes(6).hex()[:3]}-8000-{number:012x}"
        )
        name = f"rollout-{moment:%Y-%m-%dT%H-%M-%S}-{session_id}.jsonl"
        folder = home / ".codex" / "sessions" / f"{moment:%Y/%m/%d}"
        written += _write(folder / name, _codex_session(session_id, number, moment, random))
        number += 1
    return written


def grow_transcripts(home: Path) -> dict[Path, int]:
    """Append a session's worth of lines to every hundredth file; return the sizes that those files had."""
    random = np.random.default_rng(SEED + 1)
    sizes = {}
    for number, path in enumerate(sorted(home.rglob("*.jsonl"))[::100], start=100_000):
        sizes[path] = path.stat().st_size
        if ".codex" in path.parts:
            lines = _codex_session(path.stem[-36:], number, datetime(2026, 6, 1, tzinfo=UTC), random)[1:]
        else:
            lines = _session(path.stem, number, random, _LINES_PER_SESSION)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(_compact(line) + "\n" for line in lines)
    return sizes


def _write_session(home: Path, number: int, random: np.random.Generator, count: int, *, folders: int) -> int:
    folder = home / ".claude" / "projects" / f"-work-project-{number % folders}"
    session_id = str(uuid.UUID(bytes=random.bytes(16), version=4))
    return _write(folder / f"{session_id}.jsonl", _session(session_id, number, random, count))


def _write(path: Path, lines: list[dict[str, Any]]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(_compact(line) + "\n" for line in lines)
    path.write_text(content, "utf-8")
    return len(content)


def _codex_session(session_id: str, number: int, moment: datetime, random: np.random.Generator) -> list[dict[str, Any]]:
    weights = np.array([kind.weight for kind in CODEX_KINDS])
    cwd = f"/srv/project/{number % 5}"
    meta = {"id": session_id, "cwd": cwd, "cli_version": "0.98.0", "originator": "codex_cli_rs", "instructions": None}
    turn = {"cwd": cwd, "model": "gpt-5.1-codex", "summary": "auto", "user_instructions": ""}
    lines = [_codex_line(moment, "session_meta", {**meta, "timestamp": _time(moment)})]
    lines.append(_codex_line(moment, "turn_context", turn))
    total, call = np.zeros(4, dtype=int), "call_none"
    for place, index in enumerate(random.choice(len(CODEX_KINDS), _LINES_PER_SESSION, p=weights / weights.sum())):
        kind = CODEX_KINDS[index]
        moment += timedelta(seconds=float(random.exponential(9)))
        text = _filler(int(min(random.lognormal(kind.log_mean, kind.log_spread), 500_000)) - 150)
        if kind.name == "tokens":
            last = random.lognormal([9, 8, 5, 4], 0.5).astype(int)
            last[1], last[3] = min(last[1], last[0]), min(last[3], last[2])
            total = total + last
            info = {"total_token_usage": _codex_usage(total), "last_token_usage": _codex_usage(last)}
            payload: dict[str, Any] = {"type": "token_count", "info": {**info, "model_context_window": 272_000}}
            lines.append(_codex_line(moment, "event_msg", {**payload, "rate_limits": {"primary": None}}))
            continue
        if kind.name == "call":
            call = f"call_{number:08x}{place:012x}"
        lines.append(_codex_line(moment, *_codex_payload(kind.name, call, text, turn)))
    return lines


def _codex_payload(kind: str, call: str, text: str, turn: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    arguments = json.dumps({"command": ["bash", "-lc", "make test"], "content": text})
    output = f"Exit code: 0\n{text}"
    return {
        "result": (
            "response_item",
            {"type": "function_call_output", "call_id": call, "output": output},
        ),
        "call": ("response_item", {"type": "function_call", "name": "shell", "arguments": arguments, "call_id": call}),
        "reasoning": ("response_item", {"type": "reasoning", "summary": [], "encrypted_content": text}),
        "message": ("response_item", said),
        "said": ("event_msg", {"type": "agent_message", "message": text}),
        "turn": ("turn_context", {**turn, "user_instructions": text}),
        "prompt": ("event_msg", {"type": "user_message", "message": text, "kind": "plain"}),
    }[kind]


def _codex_usage(counts: np.ndarray[Any, Any]) -> dict[str, int]:
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")
    return {**dict(zip(names, map(int, counts), strict=True)), "total_tokens": int(counts[0] + counts[2])}


def _codex_line(moment: datetime, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"timestamp": _time(moment), "type": kind, "payload": payload}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _filler(size: int) -> str:
    """Return text that takes about `size` bytes as JSON."""
    size = max(size * len(_WORDS) // (len(json.dumps(_WORDS)) - 2), 0)
    return (_WORDS * (size // len(_WORDS) + 1))[:size]


def _session(session_id: str, number: int, random: np.random.Generator, count: int) -> list[dict[str, Any]]:
    weights = np.array([kind.weight for kind in KINDS])
    kinds = random.choice(len(KINDS), count, p=weights / weights.sum())
    moment = datetime(2025, 10, 1, tzinfo=UTC) + timedelta(minutes=37 * number)
    lines, call = [], None
    for place, index in enumerate(kinds):
        kind = KINDS[index]
        moment += timedelta(seconds=float(random.exponential(9)))
        size = int(min(random.lognormal(kind.log_mean, kind.log_spread), 500_000))
        envelope = _envelope(session_id, number, moment, f"{session_id[:24]}{number:06x}{place:06x}")
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
        "timestamp": _time(moment),
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
    text = _filler(size - len(_compact(line)))
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
