"""What the tests of the store share: a foreign SQLite in another process, experiments, and crews of processes.

Python's sqlite3 never runs in a process that has the store open: closing its handle would drop the store's locks.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import experiment_cases

from kaizen_analytics.core.model import Direction, Experiment, GuardrailSpec, ManualTag, Metric

if TYPE_CHECKING:
    from collections.abc import Iterator

MODES = ("WAL", "DELETE")

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE.parents[2], HERE.parents[1], HERE)))}
"""The environment of processes that import the package and what tests share."""

KAIZEN_SCHEMA = """
create table experiments (id TEXT PRIMARY KEY, name TEXT NOT NULL, created_at_ms INTEGER NOT NULL,
    metadata TEXT NOT NULL DEFAULT '{}', state TEXT NOT NULL DEFAULT 'Draft', concluded_at_ms INTEGER);
create table experiment_tags (experiment_id TEXT NOT NULL, session_id TEXT NOT NULL, variant TEXT NOT NULL,
    PRIMARY KEY (experiment_id, session_id));
"""

KAIZEN_SESSIONS = """
create table sessions (id TEXT PRIMARY KEY, agent TEXT NOT NULL, model TEXT, workspace TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL, ended_at_ms INTEGER, status TEXT NOT NULL, trace_path TEXT NOT NULL,
    start_commit TEXT, end_commit TEXT, branch TEXT, dirty_start INTEGER, dirty_end INTEGER,
    repo_binding_source TEXT NOT NULL DEFAULT '', prompt_fingerprint TEXT, parent_session_id TEXT, agent_version TEXT,
    os TEXT, arch TEXT, repo_file_count INTEGER, repo_total_loc INTEGER);
create index sessions_ws on sessions (workspace, started_at_ms);
create table events (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, seq INTEGER NOT NULL,
    ts_ms INTEGER NOT NULL, kind TEXT NOT NULL, source TEXT NOT NULL, tool TEXT, tokens_in INTEGER, tokens_out INTEGER,
    cost_usd_e6 INTEGER, payload TEXT NOT NULL, ts_exact INTEGER NOT NULL DEFAULT 0, tool_call_id TEXT,
    reasoning_tokens INTEGER, stop_reason TEXT, latency_ms INTEGER, ttft_ms INTEGER, retry_count INTEGER,
    context_used_tokens INTEGER, context_max_tokens INTEGER, cache_creation_tokens INTEGER, cache_read_tokens INTEGER,
    system_prompt_tokens INTEGER);
create unique index events_uq on events (session_id, seq);
create table files_touched (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, path TEXT NOT NULL,
    UNIQUE (session_id, path));
create table skills_used (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, skill TEXT NOT NULL,
    UNIQUE (session_id, skill));
create table rules_used (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, rule TEXT NOT NULL,
    UNIQUE (session_id, rule));
"""

KAIZEN_MARKS = """
create table sync_state (k TEXT PRIMARY KEY, v TEXT NOT NULL);
create table tool_spans (span_id TEXT PRIMARY KEY, session_id TEXT NOT NULL, tool TEXT, status TEXT NOT NULL);
create table session_feedback (id TEXT PRIMARY KEY, session_id TEXT NOT NULL REFERENCES sessions(id),
    score INTEGER CHECK (score BETWEEN 1 AND 5), label TEXT, note TEXT, created_at_ms INTEGER NOT NULL);
create table session_evals (id TEXT PRIMARY KEY, session_id TEXT NOT NULL, judge_model TEXT NOT NULL,
    rubric_id TEXT NOT NULL, score REAL NOT NULL, rationale TEXT NOT NULL, flagged INTEGER NOT NULL DEFAULT 0,
    created_at_ms INTEGER NOT NULL);
"""

_FOREIGN = """
import json, sqlite3, sys
for line in sys.stdin:
    path, timeout, mode, statements = json.loads(line)
    connection = sqlite3.connect(path, timeout=timeout, isolation_level=None)
    try:
        rows = []
        if mode == "dump":
            rows = list(connection.iterdump())
        elif mode == "script":
            connection.executescript(statements)
        else:
            connection.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
            rows = [connection.execute(sql).fetchall() for sql in statements][-1]
        answer = rows, None
    except sqlite3.Error as error:
        answer = None, str(error)
    finally:
        connection.close()
    print(json.dumps(answer), flush=True)
"""


class ForeignError(Exception):
    """What the other SQLite refused."""


_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
for sql in sys.argv[2:]:
    connection.execute(sql).fetchall()
print("held", flush=True)
sys.stdin.readline()
"""


def run_foreign(path: Path, *statements: str) -> list[list[Any]]:
    """Run statements with another SQLite library in another process and return the rows of the last one."""
    return _ask(path, list(statements), 30, "rows")


def run_script(path: Path, script: str) -> None:
    """Run a script of statements with another SQLite library in another process."""
    _ask(path, script, 30, "script")


def dump(path: Path) -> list[str]:
    """Return everything that is in a database, as another SQLite library writes it down."""
    return _ask(path, [], 30, "dump")


def try_foreign(path: Path, *statements: str) -> bool:
    """Whether another program can run the statements now."""
    try:
        _ask(path, list(statements), 0, "rows")
    except ForeignError as error:
        if "database is locked" not in str(error):
            raise
        return False
    return True


@cache
def _foreigner() -> subprocess.Popen[str]:
    """Return the process that answers; between two questions it has no file open."""
    command = [sys.executable, "-I", "-S", "-c", _FOREIGN]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.communicate)
    return process


def _ask(path: Path, statements: object, timeout_s: float, mode: str) -> Any:
    process = _foreigner()
    process.stdin.write(json.dumps([str(path), timeout_s, mode, statements]) + "\n")
    process.stdin.flush()
    rows, problem = json.loads(process.stdout.readline())
    if problem is not None:
        raise ForeignError(problem)
    return rows


@contextmanager
def hold(path: Path, *statements: str) -> Iterator[subprocess.Popen[str]]:
    """Keep another program's transaction open during the block, or until its standard input is closed."""
    command = [sys.executable, "-I", "-S", "-c", _HOLDER, str(path), *statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            release(process)


def release(process: subprocess.Popen[str]) -> None:
    """Let the program of `hold` end its transaction."""
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()


_WORKER = """
import json, os, sys
import duckdb
from kaizen_analytics.core.errors import KaizenError
from kaizen_analytics.core.model import Classification
from kaizen_analytics.store import Store, tag_session
def tag(path, mode, experiment, variant, first, count):
    try:
        with Store.open(path, journal_mode=mode) as store:
            for number in range(int(count)):
                tag_session(store, experiment, f"s{int(first) + number}", Classification(variant))
    except KaizenError as error:
        return str(error)
    return "done"
def make(path):
    with Store.open(path, create=True) as store:
        return store.native("select count(*) from ka_migrations")[0][0]
for line in sys.stdin:
    answers = []
    for told in json.loads(line):
        reader, writer = os.pipe()
        if os.fork() == 0:
            name, *arguments = told.split("|")
            os.write(writer, {"tag": tag, "make": make}[name](*arguments).encode())
            os._exit(0)
        os.close(writer)
        answers.append(os.fdopen(reader))
    print(json.dumps([answer.read() for answer in answers]), flush=True)
    while answers:
        answers.pop().close()
        os.wait()
"""


class Crew:
    """Eight processes that work at the same time, forked from one that has the libraries loaded and no store open."""

    def __init__(self) -> None:
        command, pipe = [sys.executable, "-c", _WORKER], subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=ENVIRONMENT)

    def close(self) -> None:
        """Let the process end."""
        self.process.communicate()

    def tell(self, *lines: str) -> list[str]:
        """Give each process its line (`tag|…` or `make|…`; one line may do for several) and return the answers."""
        self.process.stdin.write(json.dumps([lines[place % len(lines)] for place in range(8)]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def make_experiment(**changes: Any) -> Experiment:
    """Return a draft on tokens per session, with one guardrail."""
    fields = {
        "name": "Shorter prompt",
        "binding": ManualTag(variant_field="variant"),
        "created_at_ms": 1_700_000_000_000,
        "guardrails": (GuardrailSpec(Metric.COST_PER_SESSION, Direction.INCREASE, 5),),
    }
    return experiment_cases.make_experiment(**fields | changes)


def snapshot_files(folder: Path) -> dict[str, bytes]:
    """Return every regular file of a folder but SQLite's shared-memory index, which holds no data."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".db-shm"}
