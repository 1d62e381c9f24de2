"""The store's tables: those that have kaizen-cli's names and columns, and our own `ka_` tables.

Migrations are an append-only list; each runs as one native SQLite transaction that takes the write lock first, and
two processes may start at once. No table of kaizen-cli's is ever altered or dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kaizen_analytics.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kaizen_analytics.store.sql import NativeReader


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

# Former versions kept experiments on metrics that kaizen-cli lacks in a second table, and guardrails on such metrics,
# with their place in the experiment's list, in a third.
_FORMER_EXPERIMENTS = (
    """create table if not exists ka_experiments (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, created_at_ms INTEGER NOT NULL, metadata TEXT NOT NULL,
        state TEXT NOT NULL, concluded_at_ms INTEGER)""",
    """create table if not exists ka_guardrails (
        experiment_id TEXT PRIMARY KEY, guardrails TEXT NOT NULL)""",
)

_EXPERIMENT_TABLES = (
    *_FORMER_EXPERIMENTS,
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

_DROP_SYNC_TABLES = (
    # Former versions sent rows to an endpoint and kept an outbox here.
    "drop table if exists ka_sync_rows",
    "drop table if exists ka_sync_batches",
    "drop table if exists ka_sync_settings",
)

_PLACE_TABLES = (
    # Where a session ran, from the event at seq on.
    """create table if not exists ka_places (
        session_id TEXT NOT NULL, seq INTEGER NOT NULL, cwd TEXT, branch TEXT,
        PRIMARY KEY (session_id, seq)) without rowid""",
)

_ASSIGNMENT_TABLES = (
    # What the sessions of one arm get: texts, arguments, environment, settings. It never leaves the machine.
    """create table if not exists ka_arms (
        experiment_id TEXT NOT NULL, arm TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (experiment_id, arm))""",
    # What a hook recorded of a session: the unit and the arm, or the reason why it takes no part.
    """create table if not exists ka_draws (
        experiment_id TEXT NOT NULL, session_id TEXT NOT NULL, unit TEXT, arm TEXT, reason TEXT, at_ms INTEGER NOT NULL,
        PRIMARY KEY (experiment_id, session_id))""",
    # How far the spool beside the store was folded into it, and how many of its lines were cut off.
    """create table if not exists ka_spools (
        path TEXT PRIMARY KEY, read_bytes INTEGER NOT NULL, n_rejected INTEGER NOT NULL)""",
)

_OUTCOME_TABLES = (
    # What came out of each root session: checks, commits, what landed, and a person's judgement. Null is unknown.
    """create table if not exists ka_outcomes (
        session_id TEXT PRIMARY KEY, checks INTEGER NOT NULL, checks_passed INTEGER, commits INTEGER,
        commit_ids TEXT NOT NULL, landed INTEGER, reverted INTEGER, lines_added INTEGER, lines_surviving INTEGER,
        pull_request TEXT, reason TEXT, computed_at_ms INTEGER NOT NULL)""",
    # kaizen-cli's table of the same name and meaning.
    """create table if not exists session_feedback (
        id TEXT PRIMARY KEY, session_id TEXT NOT NULL, score INTEGER, label TEXT, note TEXT,
        created_at_ms INTEGER NOT NULL)""",
)

# Guardrails of the third table come back to their places: one that stood at k of its own list and at p of the whole
# has p - k others before it.
_MERGE_GUARDRAILS = """
    update experiments set metadata = json_set(metadata, "$.guardrails", (
        select json_group_array(json(spec)) from (
            select spec from (
                select cast(own.value->>0 as integer) as place, json_object("metric", own.value->>1,
                    "regression_direction", own.value->>2, "threshold_pct", own.value->3) as spec
                from json_each((select guardrails from ka_guardrails where experiment_id = experiments.id)) as own
                union all
                select shared.key + (
                    select count(*)
                    from json_each((select guardrails from ka_guardrails where experiment_id = experiments.id)) as own
                    where (own.value->>0) - own.key <= shared.key), shared.value
                from json_each(experiments.metadata, "$.guardrails") as shared
            ) order by place
        )))
    where json_valid(metadata) and id in (select experiment_id from ka_guardrails where json_valid(guardrails))"""

_ONE_OWNER = (
    *_FORMER_EXPERIMENTS,  # so that the step can be repeated
    """insert or ignore into experiments (id, name, created_at_ms, metadata, state, concluded_at_ms)
        select id, name, created_at_ms, metadata, state, concluded_at_ms from ka_experiments""",
    _MERGE_GUARDRAILS,
    "drop table ka_experiments",
    "drop table ka_guardrails",
    # What a retro reads and only kaizen-cli records: its tables, filled by `import`.
    """create table if not exists session_outcomes (
        session_id TEXT PRIMARY KEY, test_passed INTEGER, test_failed INTEGER, test_skipped INTEGER, build_ok INTEGER,
        lint_errors INTEGER, revert_lines_14d INTEGER, pr_open INTEGER, ci_ok INTEGER, measured_at_ms INTEGER,
        measure_error TEXT)""",
    """create table if not exists session_evals (
        id TEXT PRIMARY KEY, session_id TEXT NOT NULL, judge_model TEXT, rubric_id TEXT, score REAL NOT NULL,
        rationale TEXT, flagged INTEGER, created_at_ms INTEGER NOT NULL)""",
    """create table if not exists session_samples (
        session_id TEXT NOT NULL, ts_ms INTEGER NOT NULL, pid INTEGER NOT NULL, cpu_percent REAL, rss_bytes INTEGER,
        PRIMARY KEY (session_id, ts_ms, pid))""",
    """create table if not exists file_facts (
        snapshot_id TEXT NOT NULL, path TEXT NOT NULL, loc INTEGER, bytes INTEGER, complexity_total INTEGER,
        PRIMARY KEY (snapshot_id, path))""",
)

_ONE_WRITER = (
    # Nobody else writes events here, so nothing need be remembered of whose they are.
    "drop table if exists ka_sources",
    """create table if not exists ka_files_now (
        id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, agent TEXT NOT NULL, session_id TEXT NOT NULL,
        stored_as TEXT, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, read_bytes INTEGER NOT NULL,
        prefix_hash TEXT NOT NULL, parser INTEGER NOT NULL, last_ms INTEGER NOT NULL, n_lines INTEGER NOT NULL,
        rejects TEXT NOT NULL, state TEXT NOT NULL, tally TEXT NOT NULL)""",
    """insert or replace into ka_files_now select id, path, agent, session_id, stored_as, size_bytes, mtime_ns,
        read_bytes, prefix_hash, parser, last_ms, n_lines, rejects, state, tally from ka_files""",
    "drop table ka_files",
    "alter table ka_files_now rename to ka_files",
    "create index if not exists ka_files_session on ka_files (session_id)",
)

_FINDING_TABLES = (
    # The findings of retros, each in its latest version; made_ms is the end of the first window that had it.
    """create table if not exists ka_findings (
        id TEXT PRIMARY KEY, finding TEXT NOT NULL, made_ms INTEGER NOT NULL, declined_ms INTEGER, reason TEXT)""",
)

_EXPOSURE_TABLES = (
    # The sessions that could have shown the finding that an experiment is to prove, and whether they did.
    """create table if not exists ka_exposures (
        experiment_id TEXT NOT NULL, session_id TEXT NOT NULL, hit INTEGER NOT NULL,
        PRIMARY KEY (experiment_id, session_id))""",
)

_OUTCOME_CACHE = (
    # branch_tip is the commit of the default branch at which git was asked, due_ms when lines are to be counted next,
    # and mark changes with the events of the session.
    """create table if not exists ka_outcomes_now (
        session_id TEXT PRIMARY KEY, checks INTEGER NOT NULL, checks_passed INTEGER, commits INTEGER,
        commit_ids TEXT NOT NULL, landed INTEGER, reverted INTEGER, lines_added INTEGER, lines_surviving INTEGER,
        pull_request TEXT, reason TEXT, computed_at_ms INTEGER NOT NULL, branch_tip TEXT, due_ms INTEGER,
        mark TEXT)""",
    """insert or replace into ka_outcomes_now (session_id, checks, checks_passed, commits, commit_ids, landed, reverted,
        lines_added, lines_surviving, pull_request, reason, computed_at_ms)
        select session_id, checks, checks_passed, commits, commit_ids, landed, reverted, lines_added, lines_surviving,
        pull_request, reason, computed_at_ms from ka_outcomes""",
    "drop table ka_outcomes",
    "alter table ka_outcomes_now rename to ka_outcomes",
    # How many lines of a commit are left at another one; at the commit itself, how many it added. Never changes.
    """create table if not exists ka_lines (
        commit_id TEXT NOT NULL, at_commit TEXT NOT NULL, lines INTEGER NOT NULL,
        PRIMARY KEY (commit_id, at_commit)) without rowid""",
)

_DIGEST_TABLES = (
    # What a session with its events, and a conclusion with its sample, was when it was written.
    """create table if not exists ka_digests (
        kind TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (kind, id)) without rowid""",
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
    Migration(4, "m004_sync", ()),
    Migration(5, "m005_drop_sync", _DROP_SYNC_TABLES),
    Migration(6, "m006_assignments", _ASSIGNMENT_TABLES),
    Migration(7, "m007_places", _PLACE_TABLES),
    Migration(8, "m008_outcomes", _OUTCOME_TABLES),
    Migration(9, "m009_one_owner", _ONE_OWNER),
    Migration(10, "m010_one_writer", _ONE_WRITER),
    Migration(11, "m011_findings", _FINDING_TABLES),
    Migration(12, "m012_outcome_cache", _OUTCOME_CACHE),
    Migration(13, "m013_digests", _DIGEST_TABLES),
    Migration(14, "m014_exposures", _EXPOSURE_TABLES),
)

_LATEST = MIGRATIONS[-1].version

_MAKE_TABLES = (1, 9)
"""The steps that make the required tables, and remove what the first of them made only for a time."""

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
"""The columns that we read of the tables which kaizen-cli has too, by a word of their declared type."""

_ONLY_KAIZEN = frozenset({"sync_state", "sync_outbox", "tool_spans", "trace_spans", "session_repo_binding"})
"""Tables that kaizen-cli makes in every file, and this package in none."""


def refuse_outdated(store: NativeReader) -> None:
    """Raise StoreError for a store that a migration is pending for; a file of kaizen-cli may be read as it is.

    >>> refuse_outdated(store)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.StoreError: ... was written by an older version of kaizen_analytics. ...
    """
    tables = {name or "" for (name,) in store.native("select lower(name) from sqlite_master where type = 'table'")}
    if not _is_kaizen(tables):
        raise StoreError(
            f"{store.path} was written by an older version of kaizen_analytics. Bring it up to date with "
            f"'kaizen-analytics init --store {store.path}'.",
        )


def _is_kaizen(tables: set[str]) -> bool:
    """Whether these are the tables of a file of kaizen-cli, also where a former version of this package wrote to it."""
    return bool(tables & _ONLY_KAIZEN) or ("ka_migrations" not in tables and "experiments" in tables)


def pending(store: NativeReader, *, create: bool, ours: bool = False) -> tuple[Migration, ...]:
    """Return the migrations that the open `store` still needs.

    Args:
        store: The open store, which may still be an empty file.
        create: Whether an empty file may become a store.
        ours: Refuse a file of kaizen-cli.

    Raises:
        StoreError: an empty file or somebody else's database, a store written by a newer version, a table that
            lacks a column that we read or declares it otherwise, or a view or trigger on one of our tables.

    >>> pending(store, create=False)
    ()
    """
    objects = store.native("select lower(name), type, lower(tbl_name) from sqlite_master")
    kinds = {name or "": kind for name, kind, _ in objects}
    if ours and _is_kaizen({name for name, kind in kinds.items() if kind == "table"}):
        raise StoreError(
            f"{store.path} is a database of kaizen-cli. Take its experiments and tags into a store of your own with "
            f"'kaizen-analytics import {store.path}', and its sessions from their transcripts with "
            "'kaizen-analytics ingest'.",
        )
    if not kinds.keys() & {*_REQUIRED_COLUMNS, "ka_migrations"}:
        _check_blank(store, kinds, create=create)
        return MIGRATIONS
    _check_objects(store, objects)
    _check_columns(store)
    if "ka_migrations" not in kinds:
        return MIGRATIONS
    applied = {int(version or 0) for (version,) in store.native("select version from ka_migrations")}
    newer = max(applied, default=0)
    if newer > _LATEST:
        raise StoreError(
            f"{store.path} has schema version {newer}; this version of kaizen_analytics knows {_LATEST}. "
            "Upgrade kaizen_analytics to open it.",
        )
    missing = not _REQUIRED_COLUMNS.keys() <= kinds.keys()
    return tuple(m for m in MIGRATIONS if m.version not in applied or (missing and m.version in _MAKE_TABLES))


def script(migrations: tuple[Migration, ...], *, now_ms: int) -> str:
    """Return the migrations as one native script, each in a transaction that takes the write lock first.

    The extension doubles single quotes on the way, so no statement may contain one.

    >>> print(script((Migration(9, "m009_x", ("create table x (a)",)),), now_ms=1))
    begin immediate;
    create table x (a);
    insert or ignore into ka_migrations values (9, 1);
    commit
    """
    lines: list[str] = []
    for migration in migrations:
        lines += ["begin immediate", *migration.statements]
        lines += [f"insert or ignore into ka_migrations values ({migration.version}, {now_ms})", "commit"]
    text = ";\n".join(lines)
    if "'" in text:
        raise StoreError("A migration contains a single quote, which would not survive; use double quotes.")
    return text


def _check_blank(store: NativeReader, names: Iterable[str], *, create: bool) -> None:
    if names:
        found = ", ".join(sorted(names)[:5])
        raise StoreError(f"{store.path} is another program's database (it has {found}); name a store with --store.")
    if not create:
        raise StoreError(
            f"{store.path} is an empty database. Make it a store with 'kaizen-analytics init --store {store.path}'.",
        )


def _check_objects(store: NativeReader, objects: Iterable[tuple[str | None, ...]]) -> None:
    """Refuse a view in place of a table, and a trigger, which would run with every write of ours.

    No command opens such a store, not even to read: else some would show numbers that the others refuse.
    """
    for name, kind, table in objects:
        ours = table in _REQUIRED_COLUMNS or (table or "").startswith("ka_")
        if ours and kind in {"view", "trigger"}:
            raise StoreError(
                f"{store.path} has the {kind} {name} on {table}, which neither kaizen-cli nor kaizen_analytics makes. "
                f"Remove it (drop {kind} {name}), or ingest into a new store.",
            )


def _check_columns(store: NativeReader) -> None:
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


def _raise_wrong_columns(store: NativeReader, table: str, wrong: list[str], kind: str, columns: dict[str, str]) -> None:
    missing = [name for name in wrong if name not in columns]
    declared = [f"{name} {columns[name]}" for name in wrong if name in columns]
    has = f"has no column {', '.join(missing)}" if missing else f"declares {', '.join(declared)}"
    type_name = "INTEGER" if kind == "INT" else kind
    raise StoreError(
        f"{store.path}: table {table} {has}; expected {', '.join(wrong)} of type {type_name}. "
        "If kaizen-cli wrote it, run a current kaizen-cli once; if not, name a store with --store.",
    )
