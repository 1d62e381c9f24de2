"""Write the sample: synthetic sessions of three agents in a home layout, and three experiments on them.

    python data/make_sample.py [FOLDER]

The same code always writes the same bytes. The sessions have the shapes that make counting hard: one API response over
several lines with growing usage, responses whose stop reason never came, a sub-agent, a resumed session that copies its
history, repeated Codex totals, Cursor sessions without any token count, and a torn last line.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START = datetime(2026, 9, 7, 8, 0, tzinfo=UTC)
NOW = datetime(2026, 10, 5, 8, 0, tzinfo=UTC)
TOOLS = ("Read", "Grep", "Bash", "Edit", "Bash", "Read", "Edit", "Write")
FILES = ("src/cart.py", "src/checkout.py", "src/prices.py", "tests/test_cart.py", "tests/test_checkout.py", "README.md")

Line = dict[str, Any]


@dataclass(frozen=True)
class Effects:
    """Factors on the treatment arm; 1.0 is no effect. The last two belong to the smaller model."""

    concise_tokens: float = 0.5
    plan_first_tokens: float = 0.95
    small_model_minutes: float = 1.9
    small_model_errors: float = 0.3


@dataclass(frozen=True)
class Session:
    """What one synthetic session is to look like."""

    id: str
    workspace: str
    branch: str
    model: str
    started_at: datetime
    tokens: float
    gap_s: float
    error_share: float
    random: random.Random


def write_sample(folder: Path, effects: Effects | None = None) -> None:
    """Write `home/` and `experiments.json` into `folder`, replacing what is there."""
    effects = effects or Effects()
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    arms = {
        "concise": _write_arms(home, "concise", 60, effects, _write_claude_code),
        "plan-first": _write_arms(home, "plan-first", 45, effects, _write_codex),
        "small-model": _write_arms(home, "small-model", 50, effects, _write_claude_code),
    }
    _write_cursor_sessions(home)
    _write_oddities(home)
    text = json.dumps({"now": NOW.isoformat(), "experiments": _experiments(arms)}, indent=2)
    (folder / "experiments.json").write_text(text + "\n", encoding="utf-8")


def _write_arms(
    home: Path,
    experiment: str,
    per_arm: int,
    effects: Effects,
    write: Callable[[Path, Session], None],
) -> dict[str, list[str]]:
    """Write both arms of one experiment, interleaved in time, and return their session ids."""
    ids: dict[str, list[str]] = {"control": [], "treatment": []}
    for place in range(2 * per_arm):
        arm = "treatment" if place % 2 else "control"
        session = _session(experiment, arm, place, per_arm, effects)
        write(home, session)
        ids[arm].append(session.id)
    return ids


def _session(experiment: str, arm: str, place: int, per_arm: int, effects: Effects) -> Session:
    source = random.Random(f"{experiment}/{place}")
    treated = arm == "treatment"
    tokens = source.lognormvariate(0.0, 0.55)
    gap_s = 20.0
    error_share, model = 0.08, "claude-sonnet-4-5-20250929"
    workspace, branch = "/home/dev/shop-api", "concise-instructions" if treated else "main"
    if experiment == "concise" and treated:
        tokens *= effects.concise_tokens
    if experiment == "plan-first":
        workspace, branch, model = "/home/dev/billing", "main", "gpt-5-codex"
        tokens *= effects.plan_first_tokens if treated else 1.0
    if experiment == "small-model":
        workspace, branch = "/home/dev/mobile-app", "main"
    if experiment == "small-model" and treated:
        model = "claude-haiku-4-5-20251001"
        gap_s *= effects.small_model_minutes
        error_share = effects.small_model_errors
    days = 20 * place / (2 * per_arm)
    return Session(
        id=str(uuid.UUID(int=source.getrandbits(128), version=4)),
        workspace=workspace,
        branch=branch,
        model=model,
        started_at=START + timedelta(days=days, minutes=source.uniform(0, 180)),
        tokens=tokens,
        gap_s=gap_s,
        error_share=error_share,
        random=source,
    )


class _Clock:
    """The session's own time, which passes a little with every record."""

    def __init__(self, session: Session) -> None:
        self._now = session.started_at
        self._session = session

    def tick(self, factor: float = 1.0) -> str:
        seconds = self._session.random.lognormvariate(0.0, 0.4) * self._session.gap_s * factor
        self._now += timedelta(seconds=seconds)
        return self._now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write_lines(path: Path, lines: list[Line], *, tail: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    path.write_text(text + tail, encoding="utf-8")


# Claude Code


def _write_claude_code(home: Path, session: Session) -> None:
    _write_lines(_claude_path(home, session), list(_claude_lines(session, _Clock(session))))


def _claude_path(home: Path, session: Session) -> Path:
    slug = "".join(c if c.isalnum() else "-" for c in session.workspace)
    return home / ".claude" / "projects" / slug / f"{session.id}.jsonl"


def _claude_lines(session: Session, clock: _Clock, **extra: object) -> Iterator[Line]:
    parent: str | None = None
    cached = 12_000
    for prompt in range(session.random.randint(1, 2)):
        text = f"Please look at {session.random.choice(FILES)} ({prompt + 1})."
        line = _claude_line(session, clock.tick(), "user", parent, {"role": "user", "content": text}, extra)
        parent = line["uuid"]
        yield line
        for _ in range(session.random.randint(2, 4)):
            written = int(900 * session.tokens * session.random.lognormvariate(0.0, 0.3))
            created = int(4_000 * session.tokens * session.random.lognormvariate(0.0, 0.3))
            for line in _claude_response(session, clock, parent, (created, cached, written), extra):
                parent = line["uuid"]
                yield line
            cached += created


def _claude_response(
    session: Session,
    clock: _Clock,
    parent: str | None,
    tokens: tuple[int, int, int],
    extra: dict[str, object],
) -> Iterator[Line]:
    """One API response: a text line with a placeholder count, a tool line with the final one, the tool's result."""
    created, cached, written = tokens
    message_id = f"msg_{session.random.getrandbits(80):020x}"
    call_id = f"toolu_{session.random.getrandbits(80):020x}"
    tool = session.random.choice(TOOLS)
    path = f"{session.workspace}/{session.random.choice(FILES)}"
    arguments = (
        {"command": "pytest -q"} if tool == "Bash" else {"pattern": "total"} if tool == "Grep" else {"file_path": path}
    )
    unfinished = session.random.random() < 0.03
    blocks: list[tuple[Line, int, str | None]] = [
        ({"type": "text", "text": "I will look at that."}, max(1, written // 20), None),
        (
            {"type": "tool_use", "id": call_id, "name": tool, "input": arguments},
            written,
            None if unfinished else "tool_use",
        ),
    ]
    for block, output, stop_reason in blocks:
        usage = {
            "input_tokens": 4,
            "cache_creation_input_tokens": created,
            "cache_read_input_tokens": cached,
            "cache_creation": {"ephemeral_5m_input_tokens": created, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output,
        }
        message = {
            "id": message_id,
            "type": "message",
            "role": "assistant",
            "model": session.model,
            "content": [block],
            "stop_reason": stop_reason,
            "usage": usage,
        }
        line = _claude_line(session, clock.tick(0.3), "assistant", parent, message, extra)
        parent = line["uuid"]
        yield line
    failed = session.random.random() < session.error_share
    result: Line = {"type": "tool_result", "tool_use_id": call_id, "content": "exit 1" if failed else "ok"}
    if failed:
        result["is_error"] = True
    yield _claude_line(session, clock.tick(0.5), "user", parent, {"role": "user", "content": [result]}, extra)


def _claude_line(
    session: Session,
    timestamp: str,
    kind: str,
    parent: str | None,
    message: Line,
    extra: dict[str, object],
) -> Line:
    return {
        "parentUuid": parent,
        "isSidechain": False,
        "userType": "external",
        "cwd": session.workspace,
        "sessionId": session.id,
        "version": "2.1.143",
        "gitBranch": session.branch,
        "type": kind,
        "message": message,
        "uuid": str(uuid.UUID(int=session.random.getrandbits(128), version=4)),
        "timestamp": timestamp,
        **extra,
    }


# Codex


def _write_codex(home: Path, session: Session) -> None:
    clock = _Clock(session)
    day = session.started_at
    name = f"rollout-{day:%Y-%m-%dT%H-%M-%S}-{session.id}.jsonl"
    _write_lines(home / ".codex" / "sessions" / f"{day:%Y/%m/%d}" / name, list(_codex_lines(session, clock)))


def _codex_lines(session: Session, clock: _Clock) -> Iterator[Line]:
    meta = {
        "id": session.id,
        "timestamp": clock.tick(),
        "cwd": session.workspace,
        "originator": "codex_cli_rs",
        "cli_version": "0.140.0",
        "source": "cli",
        "model_provider": "openai",
        "git": {"commit_hash": "0" * 39 + "1", "branch": session.branch},
    }
    yield _codex_line(clock, "session_meta", meta)
    yield _codex_line(clock, "turn_context", {"model": session.model, "effort": "medium", "cwd": session.workspace})
    yield _codex_line(clock, "event_msg", {"type": "user_message", "message": "Fix the failing invoice test."})
    total = {
        "input_tokens": 0,
        "cached_input_tokens": 0,
        "output_tokens": 0,
        "reasoning_output_tokens": 0,
        "total_tokens": 0,
    }
    for _ in range(session.random.randint(3, 6)):
        yield from _codex_call(session, clock)
        total, last = _codex_usage(session, total)
        info = {"total_token_usage": total, "last_token_usage": last, "model_context_window": 258_400}
        count = {"type": "token_count", "info": info}
        yield _codex_line(clock, "event_msg", count)
        if session.random.random() < 0.3:  # the same total once more, as real builds write it
            yield _codex_line(clock, "event_msg", count)
    answer = [{"type": "output_text", "text": "The test passes now."}]
    yield _codex_line(clock, "response_item", {"type": "message", "role": "assistant", "content": answer})


def _codex_call(session: Session, clock: _Clock) -> Iterator[Line]:
    call_id = f"call_{session.random.getrandbits(80):020x}"
    failed = session.random.random() < session.error_share
    arguments = json.dumps({"cmd": "pytest -q", "workdir": session.workspace})
    call = {"type": "function_call", "name": "exec_command", "arguments": arguments, "call_id": call_id}
    yield _codex_line(clock, "response_item", call)
    output = f"Wall time: 1.2 seconds\nProcess exited with code {int(failed)}\nOutput:\n"
    yield _codex_line(clock, "response_item", {"type": "function_call_output", "call_id": call_id, "output": output})


def _codex_usage(session: Session, total: Line) -> tuple[Line, Line]:
    fresh = int(5_000 * session.tokens * session.random.lognormvariate(0.0, 0.3))
    written = int(700 * session.tokens * session.random.lognormvariate(0.0, 0.3))
    cached = total["input_tokens"] // 2
    last = {
        "input_tokens": fresh + cached,
        "cached_input_tokens": cached,
        "output_tokens": written,
        "reasoning_output_tokens": written // 3,
        "total_tokens": fresh + cached + written,
    }
    return {name: total[name] + last[name] for name in last}, last


def _codex_line(clock: _Clock, kind: str, payload: Line) -> Line:
    return {"timestamp": clock.tick(0.4), "type": kind, "payload": payload}


# Cursor, and what real folders hold besides


def _write_cursor_sessions(home: Path) -> None:
    for place in range(12):
        source = random.Random(f"cursor/{place}")
        session_id = str(uuid.UUID(int=source.getrandbits(128), version=4))
        day = START + timedelta(days=place, hours=source.uniform(0, 8))
        clock = f"{day:%A, %b} {day.day}, {day:%Y}, {day.hour % 12 or 12}:{day:%M} {day:%p} (UTC+0)"
        ask = f"<timestamp>{clock}</timestamp>\n<user_query>\nRename the colour tokens.\n</user_query>"
        tools = [
            {"type": "tool_use", "name": "Read", "input": {"path": "tokens.css"}},
            {"type": "tool_use", "name": "Write", "input": {"path": "tokens.css", "contents": ":root{}"}},
        ]
        lines: list[Line] = [
            {"role": "user", "message": {"content": [{"type": "text", "text": ask}]}},
            {"role": "assistant", "message": {"content": [{"type": "text", "text": "Done."}, *tools]}},
            {"type": "turn_ended", "status": "success"},
        ]
        folder = home / ".cursor/projects/home-dev-design-system/agent-transcripts" / session_id
        _write_lines(folder / f"{session_id}.jsonl", lines)


def _write_oddities(home: Path) -> None:
    """A session with a sub-agent, a resumed copy of another, and a last line that is still being written."""
    parent = _session("oddities", "control", 0, 4, Effects())
    _write_claude_code(home, parent)
    child = _session("oddities", "control", 1, 4, Effects())
    agent = f"agent-{child.id[:8]}"
    lines = [
        {**line, "sessionId": parent.id, "isSidechain": True, "agentId": child.id[:8]}
        for line in _claude_lines(child, _Clock(child))
    ]
    _write_lines(_claude_path(home, parent).with_suffix("") / "subagents" / f"{agent}.jsonl", lines)

    original = _session("oddities", "control", 2, 4, Effects())
    history = list(_claude_lines(original, _Clock(original)))
    _write_lines(_claude_path(home, original), history)
    resumed = _session("oddities", "control", 3, 4, Effects())
    copied = [{**line, "sessionId": resumed.id} for line in history]
    own = list(_claude_lines(resumed, _Clock(resumed)))
    _write_lines(_claude_path(home, resumed), copied + own, tail='{"parentUuid":null,"type":"assis')


def _experiments(arms: dict[str, dict[str, list[str]]]) -> list[Line]:
    shared = {"created_at": START.isoformat(), "duration_days": 21}
    return [
        {
            **shared,
            "id": "concise-instructions",
            "name": "Concise instructions",
            "hypothesis": "Half the instructions make the agent read and write fewer tokens.",
            "change_description": "CLAUDE.md cut from 400 to 120 lines.",
            "metric": "TokensPerSession",
            "binding": {"Branch": {"control_branch": "main", "treatment_branch": "concise-instructions"}},
            "workspace": "/home/dev/shop-api",
            "target_pct": -20.0,
            "guardrails": ["ToolErrorRate:increase:50"],
            "planned_n": len(arms["concise"]["control"]),
        },
        {
            **shared,
            "id": "plan-first",
            "name": "Ask for a plan first",
            "hypothesis": "A plan before the first edit saves tokens.",
            "change_description": "The prompt asks for a plan of at most five steps.",
            "metric": "TokensPerSession",
            "binding": {"ManualTag": {"variant_field": "plan_first"}},
            "workspace": "/home/dev/billing",
            "target_pct": -15.0,
            "guardrails": ["CostPerSession:increase:10"],
            "planned_n": len(arms["plan-first"]["control"]),
            "tags": arms["plan-first"],
        },
        {
            **shared,
            "id": "small-model",
            "name": "A smaller model for the app",
            "hypothesis": "The smaller model does the same work for less money.",
            "change_description": "Claude Haiku instead of Claude Sonnet in the app's repository.",
            "metric": "CostPerSession",
            "binding": {"ManualTag": {"variant_field": "model_size"}},
            "workspace": "/home/dev/mobile-app",
            "target_pct": -30.0,
            "guardrails": ["DurationMinutes:increase:20", "ToolErrorRate:increase:25"],
            "planned_n": len(arms["small-model"]["control"]),
            "tags": arms["small-model"],
        },
    ]


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "sample"
    write_sample(target)
    files = [path for path in target.rglob("*") if path.is_file()]
    print(f"{target}: {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
