"""What heuristics read: the sessions of one window as a handful of relations, held apart from the store.

`read_relations` copies them out of one consistent state of the store; `open_relations` lets SQL files run over them.
Heuristics therefore see the window only, run on any store, and can be tested on a few hand-written rows.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from kaizen_analytics.errors import QueryError
from kaizen_analytics.queries import SESSION_METRICS, Query, Schema, check_schema, load_sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kaizen_analytics.store import Store

_TEXT, _WHOLE, _REAL, _FLAG = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()

_SESSIONS: Schema = {
    "id": _TEXT,
    "root_id": _TEXT,
    "parent_session_id": _TEXT,
    "agent": _TEXT,
    "model": _TEXT,
    "workspace": _TEXT,
    "status": _TEXT,
    "branch": _TEXT,
    "prompt_fingerprint": _TEXT,
    "started_at_ms": _WHOLE,
    "ended_at_ms": _WHOLE,
    "root_started_at_ms": _WHOLE,
}
_EVENTS: Schema = {
    "session_id": _TEXT,
    "seq": _WHOLE,
    "ts_ms": _WHOLE,
    "ts_exact": _WHOLE,
    "kind": _TEXT,
    "tool": _TEXT,
    "tool_call_id": _TEXT,
    "tokens_in": _WHOLE,
    "tokens_out": _WHOLE,
    "reasoning_tokens": _WHOLE,
    "cache_creation_tokens": _WHOLE,
    "cache_read_tokens": _WHOLE,
    "cost_usd_e6": _WHOLE,
    "stop_reason": _TEXT,
    "retry_count": _WHOLE,
    "context_used_tokens": _WHOLE,
    "context_max_tokens": _WHOLE,
    "workspace": _TEXT,
    "message_role": _TEXT,
    "model": _TEXT,
    "is_prompt": _WHOLE,
    "is_unreliable": _WHOLE,
    "is_error": _WHOLE,
    "is_rejected": _FLAG,
    "is_interrupted": _FLAG,
    "error": _TEXT,
    "lifecycle": _TEXT,
    "lines": _WHOLE,
    "chars": _WHOLE,
    "pre_tokens": _WHOLE,
    "todos_total": _WHOLE,
    "todos_done": _WHOLE,
    "subagent_type": _TEXT,
    "skill": _TEXT,
    "command": _TEXT,
    "paths": pl.List(_TEXT),
}
_CALLS: Schema = {
    "session_id": _TEXT,
    "seq": _WHOLE,
    "ts_ms": _WHOLE,
    "tool": _TEXT,
    "tool_class": _TEXT,
    "program": _TEXT,
    "command": _TEXT,
    "subagent_type": _TEXT,
    "skill": _TEXT,
    "todos_total": _WHOLE,
    "todos_done": _WHOLE,
    "paths": pl.List(_TEXT),
    "result_ts_ms": _WHOLE,
    "is_error": _WHOLE,
    "is_rejected": _FLAG,
    "is_interrupted": _FLAG,
    "error": _TEXT,
    "lines": _WHOLE,
    "chars": _WHOLE,
}
_TOUCHES: Schema = {
    "session_id": _TEXT,
    "seq": _WHOLE,
    "ts_ms": _WHOLE,
    "tool_class": _TEXT,
    "is_error": _WHOLE,
    "lines": _WHOLE,
    "chars": _WHOLE,
    "path": _TEXT,
    "top_folder": _TEXT,
}
_RESPONSES: Schema = {
    "session_id": _TEXT,
    "seq": _WHOLE,
    "ts_ms": _WHOLE,
    "model": _TEXT,
    "position": _WHOLE,
    "tokens_in": _WHOLE,
    "cache_creation_tokens": _WHOLE,
    "cache_read_tokens": _WHOLE,
    "tokens_out": _WHOLE,
    "reasoning_tokens": _WHOLE,
    "stop_reason": _TEXT,
    "retry_count": _WHOLE,
    "context_used_tokens": _WHOLE,
    "context_max_tokens": _WHOLE,
}
_GUIDANCE: Schema = {"kind": _TEXT, "name": _TEXT, "path": _TEXT, "bytes": _WHOLE, "changed_ms": _WHOLE}
_GUIDANCE_USE: Schema = {"session_id": _TEXT, "started_at_ms": _WHOLE, "kind": _TEXT, "name": _TEXT}

# Tables that kaizen-cli fills where it measures more than a transcript tells.
_OPTIONAL_TABLES: Mapping[str, Schema] = MappingProxyType(
    {
        "session_evals": {"session_id": _TEXT, "score": _REAL, "created_at_ms": _WHOLE},
        "session_feedback": {"session_id": _TEXT, "score": _WHOLE, "label": _TEXT, "created_at_ms": _WHOLE},
        "session_outcomes": {
            "session_id": _TEXT,
            "test_passed": _WHOLE,
            "test_failed": _WHOLE,
            "lint_errors": _WHOLE,
            "revert_lines_14d": _WHOLE,
        },
        "session_samples": {
            "session_id": _TEXT,
            "ts_ms": _WHOLE,
            "pid": _WHOLE,
            "cpu_percent": _REAL,
            "rss_bytes": _WHOLE,
        },
        "file_facts": {"path": _TEXT, "loc": _WHOLE, "bytes": _WHOLE, "complexity_total": _WHOLE},
    },
)

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "sessions": _SESSIONS,
        "events": _EVENTS,
        "calls": _CALLS,
        "touches": _TOUCHES,
        "responses": _RESPONSES,
        "session_metrics": SESSION_METRICS.schema,
        "guidance": _GUIDANCE,
        "guidance_use": _GUIDANCE_USE,
        **_OPTIONAL_TABLES,
    },
)
"""Every relation that a heuristic may read; `guidance_use` covers the look-back, all others the window."""

_SCOPE = MappingProxyType(
    {"session_roots": "staging/session_roots.sql", "scoped_sessions": "retro/relations/sessions.sql"},
)
_SCOPED_SESSIONS = Query(
    path="retro/relations/sessions.sql",
    schema=_SESSIONS,
    reads=MappingProxyType({"session_roots": "staging/session_roots.sql"}),
)
_SCOPED_EVENTS = Query(path="retro/relations/events.sql", schema=_EVENTS, reads=_SCOPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A span of time, start included, end excluded, in milliseconds since the Unix epoch."""

    start_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        """How long the window is."""
        return self.end_ms - self.start_ms

    def shifted(self, windows: int) -> Window:
        """Return the window that lies so many lengths later (negative: earlier)."""
        moved = windows * self.length_ms
        return Window(start_ms=self.start_ms + moved, end_ms=self.end_ms + moved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What one retro rests on: the window's relations, and the metrics of the look-back before it."""

    relations: Mapping[str, pl.DataFrame]
    metrics: pl.DataFrame
    """`session_metrics` of the look-back and the window."""
    first_session_ms: int | None
    """When the first session of the scope started, in all that the store holds."""


class RelationReader:
    """Runs `select`s over relations held in memory; the same shape as `Store.read`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def add(self, name: str, frame: pl.DataFrame) -> None:
        """Make one more frame readable under its name."""
        self._connection.register(name, frame)

    def read(self, sql: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Return the rows of one `select`.

        Raises:
            QueryError: DuckDB refused it.
        """
        try:
            return self._connection.execute(sql, dict(parameters or {})).pl()
        except duckdb.Error as error:
            raise QueryError(f"A query over the retro's relations failed: {error}") from error


@contextmanager
def open_relations(relations: Mapping[str, pl.DataFrame]) -> Iterator[RelationReader]:
    """Make frames readable under their names by SQL.

    One thread: the order of additions, and with it the last digit of a sum, must not vary between two runs.
    """
    with duckdb.connect(config={"threads": 1, "enable_external_access": False}) as connection:
        reader = RelationReader(connection)
        for name, frame in relations.items():
            reader.add(name, frame)
        yield reader


def complete_relations(given: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Return all of `SCHEMAS`: the given ones, checked, and the missing ones empty.

    Raises:
        QueryError: a given relation is unknown, or has other columns than declared.
    """
    for name, frame in given.items():
        if name not in SCHEMAS:
            raise QueryError(f"There is no relation {name!r}; expected one of {', '.join(SCHEMAS)}.")
        check_schema(f"retro/relations/{name}", frame, SCHEMAS[name])
    return {name: given.get(name, pl.DataFrame(schema=schema)) for name, schema in SCHEMAS.items()}


def derive_relations(sessions: pl.DataFrame, events: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return `calls`, `touches` and `responses`, which are views of the events of `sessions`."""
    derived: dict[str, pl.DataFrame] = {"sessions": sessions, "events": events}
    with open_relations(derived) as reader:
        for name in ("calls", "touches", "responses"):
            derived[name] = Query(path=f"retro/relations/{name}.sql", schema=SCHEMAS[name]).run(reader)
            reader.add(name, derived[name])
    return derived


def read_material(
    store: Store,
    window: Window,
    *,
    workspace: str | None,
    lookback_start_ms: int,
    guidance: pl.DataFrame,
) -> Material:
    """Copy what a retro needs out of one consistent state of the store.

    Args:
        store: An open store.
        window: The retro's window.
        workspace: Only sessions of this folder and below it; None for all.
        lookback_start_ms: How far back the comparison with earlier windows reaches.
        guidance: The skills and rules on disk, as `SCHEMAS["guidance"]`; empty without a repository.
    """
    scope = {"from_ms": lookback_start_ms, "to_ms": window.end_ms, "workspace": workspace}
    with store.snapshot():
        sessions = _SCOPED_SESSIONS.run(store, **scope)
        first = _SCOPED_SESSIONS.run(store, **{**scope, "from_ms": 0})["root_started_at_ms"].min()
        events = _SCOPED_EVENTS.run(store, **scope)
        tables = {name: store.read(load_sql(f"retro/relations/{name}.sql")) for name in _SHARED_TABLES}
        optional = _read_optional_tables(store)
    ids = sessions["id"].implode()
    tables = {name: frame.filter(pl.col("session_id").is_in(ids)) for name, frame in tables.items()}
    metrics, used = _summarise(sessions, events, tables)
    inside = sessions.filter(pl.col("root_started_at_ms") >= window.start_ms)
    members = inside["id"].implode()
    relations = {
        **derive_relations(inside, events.filter(pl.col("session_id").is_in(members))),
        **{name: _only_members(frame, members) for name, frame in optional.items()},
        "session_metrics": metrics.filter(pl.col("session_id").is_in(members)),
        "guidance": guidance,
        "guidance_use": used,
    }
    return Material(
        relations=complete_relations(relations),
        metrics=metrics,
        first_session_ms=None if first is None else int(first),  # type: ignore[arg-type]
    )


_SHARED_TABLES = ("files_touched", "skills_used", "rules_used")


def _read_optional_tables(store: Store) -> dict[str, pl.DataFrame]:
    present = {name for (name,) in store.native("select name from sqlite_master where type = 'table'")}
    found: dict[str, pl.DataFrame] = {}
    for name in _OPTIONAL_TABLES.keys() & present:
        found[name] = store.read(load_sql(f"retro/relations/{name}.sql"))
    return found


def _only_members(frame: pl.DataFrame, members: pl.Series) -> pl.DataFrame:
    return frame.filter(pl.col("session_id").is_in(members)) if "session_id" in frame.columns else frame


def _summarise(
    sessions: pl.DataFrame, events: pl.DataFrame, tables: Mapping[str, pl.DataFrame]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the metrics of each root session, and who used which guidance, over the whole look-back."""
    relations = {
        "sessions": sessions,
        "session_roots": sessions.select(pl.col("id").alias("session_id"), "root_id"),
        "events": events,
        "staged_events": events,
        **tables,
    }
    with open_relations(relations) as reader:
        # The relations stand ready, so the mart runs as it is, without its staging files.
        metrics = reader.read(load_sql(SESSION_METRICS.path))
        used = Query(path="retro/relations/guidance_use.sql", schema=_GUIDANCE_USE).run(reader)
    check_schema(SESSION_METRICS.path, metrics, SESSION_METRICS.schema)
    return metrics, used


def missing_inputs(needs: Iterable[str], relations: Mapping[str, pl.DataFrame]) -> list[str]:
    """Return the needs (`relation` or `relation.column`) that hold no row, or nothing but nulls.

    Raises:
        QueryError: a need names no relation or column.
    """
    return [need for need in needs if _is_empty(need, relations)]


_INPUT_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "guidance": "skills or rules on disk",
        "events": "events",
        "events.skill": "loaded skill",
        "events.lifecycle": "change of mode or compaction",
        "sessions": "sessions",
        "sessions.parent_session_id": "sub-agents",
        "sessions.prompt_fingerprint": "fingerprint of instructions",
        "session_metrics": "sessions",
        "session_metrics.cost_per_session": "session with a known cost",
        "calls": "tool calls",
        "calls.is_error": "tool result with a known outcome",
        "calls.command": "shell commands",
        "calls.todos_total": "to-do lists",
        "touches": "files touched",
        "responses": "responses with usage",
        "responses.context_max_tokens": "size of the context window",
        "responses.cache_read_tokens": "cache reads",
        "responses.cache_creation_tokens": "cache writes",
        "responses.stop_reason": "stop reasons",
        "session_evals": "evaluation scores",
        "session_feedback": "human feedback",
        "session_outcomes": "outcomes of sessions",
        "session_outcomes.test_failed": "test outcomes",
        "session_outcomes.revert_lines_14d": "reverted lines",
        "session_samples": "process samples",
        "session_samples.cpu_percent": "processor samples",
        "session_samples.rss_bytes": "memory samples",
    },
)


def describe_input(need: str) -> str:
    """Return an input of heuristics in words that go after "no"."""
    return _INPUT_WORDS[need]


def _is_empty(need: str, relations: Mapping[str, pl.DataFrame]) -> bool:
    name, _, column = need.partition(".")
    if name not in SCHEMAS or (column and column not in SCHEMAS[name]):
        raise QueryError(f"{need!r} is neither a relation nor a column of one.")
    frame = relations[name]
    return frame.is_empty() or bool(column and frame[column].null_count() == frame.height)
