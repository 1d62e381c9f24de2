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
    from collections.abc import Iterable

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

_RETRO_TABLES = (
    # One row per window and scope: a rerun replaces its own. An empty workspace means all of them.
    """create table if not exists ka_retros (
        id TEXT PRIMARY KEY, workspace TEXT NOT NULL, window_start_ms INTEGER NOT NULL,
        window_end_ms INTEGER NOT NULL, computed_at_ms INTEGER NOT NULL, retro TEXT NOT NULL)""",
    """create table if not exists ka_bets (
        retro_id TEXT NOT NULL, position INTEGER NOT NULL, bet_id TEXT NOT NULL, bet TEXT NOT NULL,
        PRIMARY KEY (retro_id, position))""",
    "create index if not exists ka_bets_bet on ka_bets (bet_id)",
)

_SYNC_TABLES = (
    # One row: where to sync to, and whether to.
    """create table if not exists ka_sync_settings (
        id INTEGER PRIMARY KEY CHECK (id = 1), settings TEXT NOT NULL, changed_at_ms INTEGER NOT NULL)""",
    # The outbox: what was taken for one destination, in order. The body goes once the destination has acknowledged.
    """create table if not exists ka_sync_batches (
        id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL, batch_key TEXT NOT NULL,
        dataset TEXT NOT NULL, n_rows INTEGER NOT NULL, state TEXT NOT NULL, body TEXT, attempts INTEGER NOT NULL,
        reason TEXT, taken_at_ms INTEGER NOT NULL, changed_at_ms INTEGER NOT NULL, UNIQUE (destination, batch_key))""",
    "create index if not exists ka_sync_batches_state on ka_sync_batches (destination, state, id)",
    # The last version of each row that was taken, and the batch that carries it.
    """create table if not exists ka_sync_rows (
        destination TEXT NOT NULL, dataset TEXT NOT NULL, row_key TEXT NOT NULL, digest TEXT NOT NULL,
        revision INTEGER NOT NULL, batch_key TEXT NOT NULL,
        PRIMARY KEY (destination, dataset, row_key)) without rowid""",
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
    Migration(3, "m003_retros", _RETRO_TABLES),
    Migration(4, "m004_sync", _SYNC_TABLES),
)

LATEST = MIGRATIONS[-1].version

_REQUIRED_COLUMNS: dict[str, dict[str, str]] = {
    "experiments": {"TEXT": "id name metadata state", "INT": "created_at_ms concluded_at_ms"},
    "experiment_tags": {"TEXT": "experiment_id session_id variant"},
    "sessions": {
        "TEXT": "id agent model workspace status trace_path start_commit branch repo_binding_source prompt_fingerprint "
        "parent_session_id",
        "INT": "started_at_ms ended_at_ms",
    },
    "events": {
        "TEXT": "session_id kind source tool payload tool_call_id stop_reason",
        "INT": "id seq ts_ms tokens_in tokens_out cost_usd_e6 ts_exact reasoning_tokens cache_creation_tokens "
        "cache_read_tokens",
    },
    "files_touched": {"TEXT": "session_id path"},
    "skills_used": {"TEXT": "session_id skill"},
    "rules_used": {"TEXT": "session_id rule"},
}
"""The columns that we read of kaizen-cli's tables, by a word of their declared type."""


def pending(store: Store, *, create: bool) -> tuple[Migration, ...]:
    """Return the migrations that the open `store` still needs.

    Args:
        store: The open store, which may still be an empty file.
        create: Whether an empty file may become a store.

    Raises:
        StoreError: an empty file or somebody else's database, a store written by a newer version, a table that
            lacks a column that we read or declares it otherwise, or a trigger on a table that we would write.
    """
    objects = store.native("select lower(name), type, lower(tbl_name) from sqlite_master")
    kinds = {name or "": kind for name, kind, _ in objects}
    if not kinds.keys() & {*_REQUIRED_COLUMNS, "ka_migrations"}:
        _check_blank(store, kinds, create=create)
        return MIGRATIONS
    _check_objects(store, objects)
    _check_columns(store)
    if "ka_migrations" not in kinds:
        return MIGRATIONS
    applied = {int(version or 0) for (version,) in store.native("select version from ka_migrations")}
    newer = max(applied, default=0)
    if newer > LATEST:
        raise StoreError(
            f"{store.path} has schema version {newer}; this version of kaizen_analytics knows {LATEST}. "
            "Upgrade kaizen_analytics to open it.",
        )
    missing = not _REQUIRED_COLUMNS.keys() <= kinds.keys()
    return tuple(m for m in MIGRATIONS if m.version not in applied or (missing and m.version == 1))


def script(migrations: tuple[Migration, ...], *, now_ms: int) -> str:
    """Return the migrations as one native script, each in a transaction that takes the write lock first.

    The extension doubles single quotes on the way, so no statement may contain one.
    """
    lines: list[str] = []
    for migration in migrations:
        lines += ["begin immediate", *migration.statements]
        lines += [f"insert or ignore into ka_migrations values ({migration.version}, {now_ms})", "commit"]
    text = ";\n".join(lines)
    if "'" in text:
        raise StoreError("A migration contains a single quote, which would not survive; use double quotes.")
    return text


def _check_blank(store: Store, names: Iterable[str], *, create: bool) -> None:
    if names:
        found = ", ".join(sorted(names)[:5])
        raise StoreError(f"{store.path} is another program's database (it has {found}); name a store with --store.")
    if not create:
        raise StoreError(
            f"{store.path} is an empty database. Make it a store with 'kaizen-analytics init --store {store.path}'.",
        )


def _check_objects(store: Store, objects: Iterable[tuple[str | None, ...]]) -> None:
    """Refuse a view in place of a table, and a trigger, which would run with every write of ours."""
    for name, kind, table in objects:
        ours = table in _REQUIRED_COLUMNS or (table or "").startswith("ka_")
        if ours and (kind == "view" or (kind == "trigger" and not store.read_only)):
            raise StoreError(
                f"{store.path} has the {kind} {name} on {table}, which neither kaizen-cli nor kaizen_analytics makes. "
                "Ingest into a new store; this one can be opened read-only if it has no views of that kind.",
            )


def _check_columns(store: Store) -> None:
    names = ", ".join(f"'{table}'" for table in _REQUIRED_COLUMNS)
    rows = store.native(
        "select m.name as table_name, lower(c.name) as column_name, upper(c.type) as kind "
        "from sqlite_master as m join pragma_table_info(m.name) as c "
        f"where m.type = 'table' and lower(m.name) in ({names})",
    )
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        found.setdefault((table or "").lower(), {})[column or ""] = kind or ""
    for table, columns in found.items():
        for kind, names in _REQUIRED_COLUMNS[table].items():
            wrong = [name for name in names.split() if kind not in columns.get(name, "")]
            if wrong:
                _raise_wrong_columns(store, table, wrong, kind, columns)


def _raise_wrong_columns(store: Store, table: str, wrong: list[str], kind: str, columns: dict[str, str]) -> None:
    missing = [name for name in wrong if name not in columns]
    declared = [f"{name} {columns[name]}" for name in wrong if name in columns]
    has = f"has no column {', '.join(missing)}" if missing else f"declares {', '.join(declared)}"
    type_name = "INTEGER" if kind == "INT" else kind
    raise StoreError(
        f"{store.path}: table {table} {has}; expected {', '.join(wrong)} of type {type_name}. "
        "If kaizen-cli wrote it, run a current kaizen-cli once; if not, name a store with --store.",
    )
