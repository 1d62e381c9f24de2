"""The store's tables: those that have kaizen-cli's names and columns, and our own `ka_` tables.

Migrations are files, and none is changed once it is there; each runs as one native SQLite transaction that takes the
write lock first, and two processes may start at once. No table of kaizen-cli's is ever altered or dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kaizen_analytics.core.errors import StoreError
from kaizen_analytics.core.settings import find_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from kaizen_analytics.store.sql import Row


class Migration(NamedTuple):
    """One step of the schema: a file of `sql/migrations/`, in SQLite's SQL without single quotes (see `script`)."""

    version: int
    name: str
    statements: str


def _read_migrations() -> tuple[Migration, ...]:
    files = sorted((find_folder("sql") / "migrations").glob("*.sql"))
    return tuple(Migration(int(file.stem[1:4]), file.stem, file.read_text(encoding="utf-8")) for file in files)


_MIGRATIONS = _read_migrations()
_LATEST = _MIGRATIONS[-1].version

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


def refuse_outdated(path: Path, look: Callable[[str], list[Row]]) -> None:
    """Raise StoreError for a store that a migration is pending for; a file of kaizen-cli may be read as it is.

    >>> refuse_outdated(store.path, store.native)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.StoreError: ... was written by an older version of kaizen_analytics. ...
    """
    tables = {name or "" for (name,) in look("select lower(name) from sqlite_master where type = 'table'")}
    if not _is_kaizen(tables):
        raise StoreError(
            f"{path} was written by an older version of kaizen_analytics. Bring it up to date with "
            f"'kaizen-analytics init --store {path}'.",
        )


def _is_kaizen(tables: set[str]) -> bool:
    """Whether these are the tables of a file of kaizen-cli, also where a former version of this package wrote to it."""
    return bool(tables & _ONLY_KAIZEN) or ("ka_migrations" not in tables and "experiments" in tables)


def pending(path: Path, look: Callable[[str], list[Row]], *, create: bool, ours: bool = False) -> tuple[Migration, ...]:
    """Return the migrations that the file at `path` still needs.

    Args:
        look: Returns the rows of a native statement on the file.
        create: Whether an empty file may become a store.

    Raises:
        StoreError: an empty file or somebody else's database, a store written by a newer version, a table that
            lacks a column that we read or declares it otherwise, or a view or trigger on one of our tables.

    >>> pending(store.path, store.native, create=False)
    ()
    """
    objects = look("select lower(name), type, lower(tbl_name) from sqlite_master")
    kinds = {name or "": kind for name, kind, _ in objects}
    if ours and _is_kaizen({name for name, kind in kinds.items() if kind == "table"}):
        raise StoreError(
            f"{path} is a database of kaizen-cli. Take its experiments and tags into a store of your own with "
            f"'kaizen-analytics import {path}', and its sessions from their transcripts with "
            "'kaizen-analytics ingest'.",
        )
    if not kinds.keys() & {*_REQUIRED_COLUMNS, "ka_migrations"}:
        _check_blank(path, kinds, create=create)
        return _MIGRATIONS
    _check_objects(path, objects)
    _check_columns(path, look)
    if "ka_migrations" not in kinds:
        return _MIGRATIONS
    applied = {int(version or 0) for (version,) in look("select version from ka_migrations")}
    newer = max(applied, default=0)
    if newer > _LATEST:
        raise StoreError(
            f"{path} has schema version {newer}; this version of kaizen_analytics knows {_LATEST}. "
            "Upgrade kaizen_analytics to open it.",
        )
    missing = not _REQUIRED_COLUMNS.keys() <= kinds.keys()
    return tuple(m for m in _MIGRATIONS if m.version not in applied or (missing and m.version in _MAKE_TABLES))


def script(migrations: tuple[Migration, ...], *, now_ms: int) -> str:
    """Return the migrations as one native script, each in a transaction that takes the write lock first.

    The extension doubles single quotes on the way, so no statement may contain one.

    >>> print(script((Migration(9, "m009_x", "create table x (a);"),), now_ms=1))
    begin immediate;
    create table x (a);
    insert or ignore into ka_migrations values (9, 1);
    commit
    """
    text = ";\n".join(
        f"begin immediate;\n{migration.statements.rstrip()}\n"
        f"insert or ignore into ka_migrations values ({migration.version}, {now_ms});\ncommit"
        for migration in migrations
    )
    if "'" in text:
        raise StoreError("A migration contains a single quote, which would not survive; use double quotes.")
    return text


def _check_blank(path: Path, names: Iterable[str], *, create: bool) -> None:
    if names:
        found = ", ".join(sorted(names)[:5])
        raise StoreError(f"{path} is another program's database (it has {found}); name a store with --store.")
    if not create:
        raise StoreError(
            f"{path} is an empty database. Make it a store with 'kaizen-analytics init --store {path}'.",
        )


def _check_objects(path: Path, objects: Iterable[tuple[str | None, ...]]) -> None:
    """Refuse a view in place of a table, and a trigger, which would run with every write of ours.

    No command opens such a store, not even to read: else some would show numbers that the others refuse.
    """
    for name, kind, table in objects:
        ours = table in _REQUIRED_COLUMNS or (table or "").startswith("ka_")
        if ours and kind in {"view", "trigger"}:
            raise StoreError(
                f"{path} has the {kind} {name} on {table}, which neither kaizen-cli nor kaizen_analytics makes. "
                f"Remove it (drop {kind} {name}), or ingest into a new store.",
            )


def _check_columns(path: Path, look: Callable[[str], list[Row]]) -> None:
    names = ", ".join(f"'{table}'" for table in _REQUIRED_COLUMNS)
    rows = look(
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
                _raise_wrong_columns(path, table, wrong, kind, columns)


def _raise_wrong_columns(path: Path, table: str, wrong: list[str], kind: str, columns: dict[str, str]) -> None:
    missing = [name for name in wrong if name not in columns]
    declared = [f"{name} {columns[name]}" for name in wrong if name in columns]
    has = f"has no column {', '.join(missing)}" if missing else f"declares {', '.join(declared)}"
    type_name = "INTEGER" if kind == "INT" else kind
    raise StoreError(
        f"{path}: table {table} {has}; expected {', '.join(wrong)} of type {type_name}. "
        "If kaizen-cli wrote it, run a current kaizen-cli once; if not, name a store with --store.",
    )
