"""A synthetic store of N events: about 100 events for each session, payloads with the spread of real ones.

    python -m benchmarks.stores make PATH EVENTS

Runs in a process of its own, because it writes with Python's sqlite3: one process, one SQLite library.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20_250_101
START_MS = 1_735_689_600_000
_EVENTS_PER_SESSION = 100
_POOL = 2_000
_BATCH = 100_000
_TOOLS = ("Bash", "Read", "Edit", "Grep", "Glob", "Write", "Task", "WebFetch")
_AGENTS = ("claude_code", "codex", "cursor")
_MODELS = ("claude-sonnet-4-5", "claude-opus-4-1", "gpt-5-codex")
_COLUMNS = (
    "session_id, seq, ts_ms, kind, source, tool, tokens_in, tokens_out, cost_usd_e6, payload, ts_exact, "
    "reasoning_tokens, cache_creation_tokens, cache_read_tokens"
)
_INDEXES = {
    "events_session_seq": "create unique index events_session_seq on events (session_id, seq)",
    "events_session": "create index events_session on events (session_id)",
    "events_ts": "create index events_ts on events (ts_ms)",
}


def make_store(path: Path, events: int, *, seed: int = SEED) -> None:
    """Write a new store with `events` events at `path`."""
    from kaizen_analytics.store import Store

    Store.open(path, create=True).close()
    connection = sqlite3.connect(path)
    try:
        fill_store(connection, events, np.random.default_rng(seed))
    finally:
        connection.close()


def fill_store(connection: sqlite3.Connection, events: int, random: np.random.Generator) -> None:
    """Insert `events` events and their sessions; the indexes are rebuilt at the end, which is several times faster."""
    connection.execute("pragma synchronous = off")
    connection.execute("pragma journal_mode = memory")
    for name in _INDEXES:
        connection.execute(f"drop index {name}")
    sessions = max(1, events // _EVENTS_PER_SESSION)
    pools = {kind: _payloads(kind, random) for kind in ("user", "assistant", "call", "result")}
    with connection:
        for first in range(0, events, _BATCH):
            count = min(_BATCH, events - first)
            marks = ", ".join("?" * 14)
            rows = _event_rows(first, count, sessions, pools, random)
            connection.executemany(f"insert into events ({_COLUMNS}) values ({marks})", rows)
        connection.executemany(
            "insert into sessions (id, agent, model, workspace, started_at_ms, ended_at_ms, status, trace_path, "
            "branch, parent_session_id) values (?, ?, ?, ?, ?, ?, 'Done', ?, ?, ?)",
            _session_rows(sessions, random),
        )
        connection.executemany(
            "insert into files_touched (session_id, path) values (?, ?) on conflict do nothing",
            _file_rows(sessions, random),
        )
    for create in _INDEXES.values():
        connection.execute(create)
    connection.execute("pragma journal_mode = wal")


def session_name(number: int) -> str:
    """Return the id of session `number`, shaped like the UUIDs that agents write."""
    return f"{number:08x}-5e55-4000-8000-{number:012x}"


def _payloads(kind: str, random: np.random.Generator) -> list[str]:
    lengths = np.minimum(random.lognormal(5.3, 1.2, _POOL), 60_000).astype(int)
    return [json.dumps(_payload(kind, "x" * int(length), flag=bool(random.random() < 0.06))) for length in lengths]


def _payload(kind: str, text: str, *, flag: bool) -> dict[str, object]:
    if kind == "user":
        return {"role": "user", "prompt": True, "text": text}
    if kind == "assistant":
        return {"role": "assistant", "unreliable": flag, "text": text}
    if kind == "call":
        return {"input": {"path": f"src/{len(text) % 97}.py", "text": text}}
    return {"is_error": flag, "text": text}


def _event_rows(
    first: int,
    count: int,
    sessions: int,
    pools: dict[str, list[str]],
    random: np.random.Generator,
) -> Iterator[tuple[object, ...]]:
    """Each run of five events is a prompt or an answer, a call, a result, an answer with usage, and a hook."""
    number = np.arange(first, first + count)
    session = (number // _EVENTS_PER_SESSION).clip(max=sessions - 1)
    pick = random.integers(0, _POOL, count)
    gap_ms = random.integers(200, 8_000, count)
    tool = random.choice(len(_TOOLS), count, p=[0.3, 0.25, 0.15, 0.1, 0.08, 0.06, 0.04, 0.02])
    usage = random.lognormal([3.0, 5.5, 4.0, 6.5, 10.0], 1.0, (count, 5)).astype(int)
    error = random.random(count) < 0.002
    for i in range(count):
        seq = int(number[i] - session[i] * _EVENTS_PER_SESSION)
        name = session_name(int(session[i]))
        ts_ms = START_MS + int(session[i]) * 60_000 + seq * 4_000 + int(gap_ms[i])
        yield _event(name, seq, ts_ms, _TOOLS[tool[i]], usage[i].tolist(), int(pick[i]), pools, is_error=bool(error[i]))


def _event(
    name: str,
    seq: int,
    ts_ms: int,
    tool: str,
    usage: list[int],
    pick: int,
    pools: dict[str, list[str]],
    *,
    is_error: bool,
) -> tuple[object, ...]:
    def row(kind: str, payload: str, tool: str | None = None) -> tuple[object, ...]:
        return (name, seq, ts_ms, kind, "Tail", tool, None, None, None, payload, 1, None, None, None)

    step = seq % 5
    if is_error:
        return row("Error", "{}")
    if step == 0 and seq % 20 == 0:
        return row("Message", pools["user"][pick])
    if step in (0, 3):
        plain, out, reasoning, written, read = usage
        cost = plain * 3 + written * 4 + read // 3 + (out + reasoning) * 15
        answer = pools["assistant"][pick]
        return (name, seq, ts_ms, "Message", "Tail", None, plain, out, cost, answer, 1, reasoning, written, read)
    if step == 1:
        return row("ToolCall", pools["call"][pick], tool)
    return row("ToolResult", pools["result"][pick], tool) if step == 2 else row("Hook", "{}")


def _session_rows(sessions: int, random: np.random.Generator) -> Iterator[tuple[object, ...]]:
    for number in range(sessions):
        start_ms = START_MS + number * 60_000
        # Every tenth session is a sub-agent of the one before.
        parent = session_name(number - 1) if number % 10 == 9 else None
        yield (
            session_name(number),
            _AGENTS[number % 3],
            _MODELS[number % 3],
            f"/workspace/{number % 7}",
            start_ms,
            start_ms + int(random.integers(60_000, 900_000)),
            f"/transcripts/{number}.jsonl",
            "main" if number % 2 else "change",
            parent,
        )


def _file_rows(sessions: int, random: np.random.Generator) -> Iterator[tuple[str, str]]:
    for number in range(sessions):
        for path in random.integers(0, 400, int(random.integers(0, 12))):
            yield session_name(number), f"src/module_{path}.py"


def main() -> None:
    """Make the store that the command line names."""
    _, path, count = sys.argv[1:]
    make_store(Path(path), int(count))


if __name__ == "__main__":
    main()
