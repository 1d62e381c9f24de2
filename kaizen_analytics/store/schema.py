"""The store's tables: kaizen-cli's, created only where they are missing, and our own `ka_` tables.

Migrations are append-only, one folder-less list in order; each runs as one native SQLite transaction that takes the
write lock first and is harmless when run twice, so two processes may start at once. No table of kaizen-cli's is ever
altered or dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kaizen_analytics.errors import StoreError

if TYPE_CHECKING:
    from kaizen_analytics.store.connection import Store


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema; `statements` hold no single quote (see `script`)."""

    version: int
    name: str
    statements: tuple[str, ...]


# kaizen-cli's own tables. `default Draft` is SQLite for the text 'Draft'.
_KAIZEN_TABLES = (
    """create table if not exists experiments (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, created_at_ms INTEGER NOT NULL, metadata TEXT NOT NULL DEFAULT "{}",
        state TEXT NOT NULL DEFAULT "Draft", concluded_at_ms INTEGER)""",
    """create table if not exists experiment_tags (
        experiment_id TEXT NOT NULL, session_id TEXT NOT NULL, variant TEXT NOT NULL,
        PRIMARY KEY (experiment_id, session_id))""",
    """create table if not exists sessions (
        id TEXT PRIMARY KEY, agent TEXT NOT NULL, model TEXT, workspace TEXT NOT NULL, started_at_ms INTEGER NOT NULL,
        ended_at_ms INTEGER, status TEXT NOT NULL, trace_path TEXT NOT NULL, start_commit TEXT, end_commit TEXT,
        branch TEXT, dirty_start INTEGER, dirty_end INTEGER, repo_binding_source TEXT NOT NULL DEFAULT "",
        prompt_fingerprint TEXT, parent_session_id TEXT, agent_version TEXT, os TEXT, arch TEXT,
        repo_file_count INTEGER, repo_total_loc INTEGER)""",
    "create index if not exists sessions_workspace_started on sessions (workspace, started_at_ms)",
    """create table if not exists events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, seq INTEGER NOT NULL, ts_ms INTEGER NOT NULL,
        kind TEXT NOT NULL, source TEXT NOT NULL, tool TEXT, tokens_in INTEGER, tokens_out INTEGER,
        cost_usd_e6 INTEGER, payload TEXT NOT NULL, ts_exact INTEGER NOT NULL DEFAULT 0, tool_call_id TEXT,
        reasoning_tokens INTEGER, stop_reason TEXT, latency_ms INTEGER, ttft_ms INTEGER, retry_count INTEGER,
        context_used_tokens INTEGER, context_max_tokens INTEGER, cache_creation_tokens INTEGER,
        cache_read_tokens INTEGER, system_prompt_tokens INTEGER)""",
    "create unique index if not exists events_session_seq on events (session_id, seq)",
    "create index if not exists events_session on events (session_id)",
    "create index if not exists events_ts on events (ts_ms)",
    """create table if not exists files_touched (
        id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, path TEXT NOT NULL,
        UNIQUE (session_id, path))""",
    """create table if not exists skills_used (
        id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, skill TEXT NOT NULL,
        UNIQUE (session_id, skill))""",
    """create table if not exists rules_used (
        id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, rule TEXT NOT NULL,
        UNIQUE (session_id, rule))""",
)

_EXPERIMENT_TABLES = (
    # Experiments on metrics that kaizen-cli's closed enumeration lacks; same columns as its own table.
    """create table if not exists ka_experiments (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, created_at_ms INTEGER NOT NULL, metadata TEXT NOT NULL,
        state TEXT NOT NULL, concluded_at_ms INTEGER)""",
    # Guardrails that kaizen-cli could not read, with their place in the experiment's list.
    """create table if not exists ka_guardrails (
        experiment_id TEXT PRIMARY KEY, guardrails TEXT NOT NULL)""",
    """create table if not exists ka_tag_log (
        id INTEGER PRIMARY KEY AUTOINCREMENT, experiment_id TEXT NOT NULL, session_id TEXT NOT NULL,
        variant TEXT NOT NULL, action TEXT NOT NULL, reason TEXT, at_ms INTEGER NOT NULL)""",
    # What the experiment was planned to be; frozen_at_ms is set by `start` and never changes after.
    """create table if not exists ka_plans (
        experiment_id TEXT PRIMARY KEY, plan TEXT NOT NULL, frozen_at_ms INTEGER)""",
    # The frozen sample: one row per session that the conclusion rests on, or that it excluded.
    """create table if not exists ka_samples (
        experiment_id TEXT NOT NULL, session_id TEXT NOT NULL, variant TEXT NOT NULL, reason TEXT,
        sample TEXT NOT NULL, PRIMARY KEY (experiment_id, session_id))""",
    # The frozen evaluation; a row here is what makes an experiment frozen.
    """create table if not exists ka_results (
        experiment_id TEXT PRIMARY KEY, evaluation TEXT NOT NULL, concluded_at_ms INTEGER NOT NULL)""",
    """create table if not exists ka_session_attributes (
        session_id TEXT PRIMARY KEY, user TEXT, organisation TEXT)""",
)

_INGEST_TABLES = (
    # Whose events a session has. Rows that another tool added show in the count or the checksum.
    """create table if not exists ka_sources (
        session_id TEXT PRIMARY KEY, owner TEXT NOT NULL, n_events INTEGER NOT NULL, checksum INTEGER NOT NULL)""",
    # How far each transcript was read. `state` is the parser's, `tally` the counts of a session in the making.
    """create table if not exists ka_files (
        id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, agent TEXT NOT NULL, session_id TEXT NOT NULL,
        stored_as TEXT, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, read_bytes INTEGER NOT NULL,
        prefix_hash TEXT NOT NULL, parser INTEGER NOT NULL, last_ms INTEGER NOT NULL, shared INTEGER NOT NULL,
        n_foreign INTEGER NOT NULL, n_lines INTEGER NOT NULL, rejects TEXT NOT NULL, state TEXT NOT NULL,
        tally TEXT NOT NULL)""",
    "create index if not exists ka_files_session on ka_files (session_id)",
    """create table if not exists ka_rejects (
        file_id INTEGER NOT NULL, line INTEGER NOT NULL, offset_bytes INTEGER NOT NULL, reason TEXT NOT NULL,
        detail TEXT NOT NULL, PRIMARY KEY (file_id, line)) without rowid""",
    # Which files hold which record (a 64-bit hash of its id), and which of them owns it.
    """create table if not exists ka_records (
        file_id INTEGER NOT NULL, record INTEGER NOT NULL, seq INTEGER, original INTEGER NOT NULL, tokens TEXT,
        PRIMARY KEY (file_id, record)) without rowid""",
    "create index if not exists ka_records_record on ka_records (record)",
)

MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        "m001_experiments",
        (
            "create table if not exists ka_migrations (version INTEGER PRIMARY KEY, applied_at_ms INTEGER NOT NULL)",
            *_KAIZEN_TABLES,
            *_EXPERIMENT_TABLES,
        ),
    ),
    Migration(2, "m002_ingest", _INGEST_TABLES),
)

LATEST = MIGRATIONS[-1].version

_REQUIRED_COLUMNS: dict[str, frozenset[str]] = {
    "experiments": frozenset({"id", "name", "created_at_ms", "metadata", "state", "concluded_at_ms"}),
    "experiment_tags": frozenset({"experiment_id", "session_id", "variant"}),
    "sessions": frozenset(
        {"id", "agent", "model", "workspace", "started_at_ms", "ended_at_ms", "status", "trace_path"}
        | {"start_commit", "branch", "repo_binding_source", "prompt_fingerprint", "parent_session_id"}
    ),
    "events": frozenset(
        {
            "id",
            "session_id",
            "seq",
            "ts_ms",
            "kind",
            "source",
            "tool",
            "tokens_in",
            "tokens_out",
            "cost_usd_e6",
        }
        | {"payload", "ts_exact", "tool_call_id", "reasoning_tokens", "stop_reason", "cache_creation_tokens"}
        | {"cache_read_tokens"}
    ),
    "files_touched": frozenset({"session_id", "path"}),
}


def pending(store: Store, *, create: bool) -> tuple[Migration, ...]:
    """Return the migrations that the open `store` still needs.

    Args:
        store: The open store, which may still be an empty file.
        create: Whether an empty file may become a store.

    Raises:
        StoreError: an empty file or somebody else's database, a store written by a newer version, or a table that
            lacks a column that we read.
    """
    tables = {name for (name,) in store.native("select name from sqlite_master where type = 'table'")}
    if not tables & {"experiments", "sessions", "events", "ka_migrations"}:
        _check_blank(store, tables, create=create)
    for table, required in _REQUIRED_COLUMNS.items():
        if table in tables:
            _check_columns(store, table, required)
    if "ka_migrations" not in tables:
        return MIGRATIONS
    applied = {int(version or 0) for (version,) in store.native("select version from ka_migrations")}
    newer = max(applied, default=0)
    if newer > LATEST:
        raise StoreError(
            f"{store.path} has schema version {newer}; this version of kaizen_analytics knows {LATEST}. "
            "Upgrade kaizen_analytics to open it.",
        )
    missing = not set(_REQUIRED_COLUMNS) <= tables
    return tuple(m for m in MIGRATIONS if m.version not in applied or (missing and m.version == 1))


def script(migrations: tuple[Migration, ...], *, now_ms: int) -> str:
    """Return the migrations as one native script, each in a transaction that takes the write lock first.

    The extension doubles single quotes on the way, so no statement may contain one.
    """
    lines = ["pragma busy_timeout = 60000"]
    for migration in migrations:
        lines += ["begin immediate", *migration.statements]
        lines += [f"insert or ignore into ka_migrations values ({migration.version}, {now_ms})", "commit"]
    text = ";\n".join(lines)
    if "'" in text:
        raise StoreError("A migration contains a single quote, which would not survive; use double quotes.")
    return text


def _check_blank(store: Store, tables: set[str | None], *, create: bool) -> None:
    if tables:
        found = ", ".join(sorted(name or "" for name in tables)[:5])
        raise StoreError(f"{store.path} is another program's database (tables {found}); name a store with --store.")
    if not create:
        raise StoreError(
            f"{store.path} is an empty database. Make it a store with 'kaizen-analytics init --store {store.path}'.",
        )


def _check_columns(store: Store, table: str, required: frozenset[str]) -> None:
    found = {name for (name,) in store.native("select name from pragma_table_info(?)", table)}
    missing = sorted(required - found)
    if missing:
        raise StoreError(
            f"{store.path}: table {table} has no column {', '.join(missing)}; its columns are "
            f"{', '.join(sorted(name or '' for name in found))}. "
            "If kaizen-cli wrote it, run a current kaizen-cli once.",
        )
