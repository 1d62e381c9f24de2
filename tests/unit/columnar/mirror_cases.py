"""A small store, and a foreign program that writes to it with another SQLite, in a process of its own."""

import json
import subprocess
from pathlib import Path

import polars as pl

from kaizen_analytics.queries import SESSION_METRICS, SESSION_METRICS_APART
from kaizen_analytics.store import Store

WRITER = """
import json, sqlite3, sys
for line in sys.stdin:
    path, statements = json.loads(line)
    connection = sqlite3.connect(path, timeout=30)
    with connection:
        for sql, parameters in statements:
            connection.execute(sql, parameters)
    connection.close()
    print("done", flush=True)
"""

Statement = tuple[str, list[object]]


class ForeignWriter:
    """Runs statements in one transaction of another process, which has its own SQLite library."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def write(self, path: Path, *statements: Statement) -> None:
        self._process.stdin.write(json.dumps([str(path), statements]) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"


def insert(table: str, row: dict[str, object]) -> Statement:
    return f"insert into {table} ({', '.join(row)}) values ({', '.join('?' * len(row))})", list(row.values())


def session(name: str, **columns: object) -> Statement:
    row = {"id": name, "agent": "codex", "workspace": "/w", "started_at_ms": 0, "status": "Done", "trace_path": "t"}
    return insert("sessions", {**row, **columns})


def event(session_id: str, seq: int, kind: str = "Message", payload: object = None, **columns: object) -> Statement:
    row = {"session_id": session_id, "seq": seq, "ts_ms": seq * 1_000, "kind": kind, "source": "Tail", "ts_exact": 1}
    return insert("events", {**row, "payload": json.dumps(payload or {}), **columns})


def touch(session_id: str, path: str) -> Statement:
    return insert("files_touched", {"session_id": session_id, "path": path})


def plain_metrics(path: Path, *, rollup: bool = True) -> pl.DataFrame:
    query = SESSION_METRICS if rollup else SESSION_METRICS_APART
    with Store.open(path, read_only=True) as store:
        return query.run(store).sort("session_id")
