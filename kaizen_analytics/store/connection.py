"""The one door to SQLite: a `Store` is a SQLite file attached to a private DuckDB through its sqlite extension.

The extension loses writes in several quiet ways (docs/store.md lists them with the test that holds each). Three rules
keep them out, and only this module can break them:

* every statement is drained with `fetchall`, because a writing query that is not drained is never committed;
* a write runs as native SQLite through `sqlite_query`, which waits for a lock, or inside `Store.write`, which takes
  the write lock before it reads;
* no second SQLite library touches the file, and the file is never opened to look at its bytes: closing any other
  descriptor would drop this process's locks.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import duckdb

from kaizen_analytics.errors import StoreError, StoreMissingError
from kaizen_analytics.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl

JournalMode = Literal["WAL", "DELETE"]
Parameter = int | float | str | None

BUSY_TIMEOUT_MS = 60_000
"""SQLite's wait for a lock is not fair; a minute lets eight writers of batches pass."""

_ATTACHED = "k"
_LOCKED = "database is locked"


def quote_text(text: str) -> str:
    """Return `text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class Store:
    """An open store. Use `Store.open`; a store is a context manager and safe to share between threads."""

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._connection = connection
        self._lock = threading.RLock()
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        create: bool = False,  # noqa: FBT001, FBT002 - the documented signature
        read_only: bool = False,  # noqa: FBT001, FBT002
        *,
        journal_mode: JournalMode = "WAL",
    ) -> Self:
        """Open the store at `path`, bring its schema up to date, and return it.

        Args:
            path: A SQLite file that this package or kaizen-cli wrote.
            create: Make the file (and its folder) when it does not exist.
            read_only: Never write, not even a missing table.
            journal_mode: `DELETE` only where the file system cannot hold a WAL (a network share).

        Raises:
            StoreMissingError: nothing lies at `path` and `create` is false.
            StoreError: not a regular file, not SQLite, damaged, of a newer version, with a table whose columns do
                not fit, or not writable. The file is left as it was.
        """
        path = Path(path).absolute()
        _check_path(path, create=create)
        if create and not path.exists():
            _create(path)
        connection = _connect()
        try:
            _attach(connection, path, "read_only")
            probe = cls(path, connection, read_only=True)
            _check_size(probe)
            pending = schema.pending(probe, create=create)
            if not read_only:
                connection.execute(f"detach {_ATTACHED}")
                if pending:
                    script = schema.script(pending, now_ms=time.time_ns() // 1_000_000)
                    # The extension hands the journal mode to SQLite as written: its only way to run native DDL.
                    _attach(connection, path, f"journal_mode {quote_text(f'{journal_mode}; {script}')}")
                    connection.execute(f"detach {_ATTACHED}")
                _attach(connection, path, f"journal_mode {quote_text(journal_mode)}")
            _lock_down(connection)
        except BaseException:
            connection.close()
            raise
        return cls(path, connection, read_only=read_only)

    def close(self) -> None:
        """Close the store; a second call does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def native(self, sql: str, *parameters: Parameter) -> list[tuple[str | None, ...]]:
        """Run one statement as native SQLite and return its rows, every value as text.

        The statement must return rows (add `RETURNING 1` to a write), and must be a single one: SQLite ignores what
        follows the first. A write waits up to `BUSY_TIMEOUT_MS` for the lock and is committed on return, or belongs to
        the surrounding `write` block.

        Raises:
            StoreError: SQLite refused the statement; inside `write` the whole block is rolled back.
        """
        if not parameters:
            return self._fetch(f"select * from sqlite_query('{_ATTACHED}', $sql)", {"sql": sql})
        row = ", ".join(_placeholder(f"p{i}", value) for i, value in enumerate(parameters))
        named: dict[str, object] = {f"p{i}": value for i, value in enumerate(parameters)}
        return self._fetch(f"select * from sqlite_query('{_ATTACHED}', $sql, params=row({row}))", {"sql": sql, **named})

    def read(self, sql: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Run one DuckDB `select` over the store's tables and return its rows as a Polars frame.

        Scans run on one connection, so each statement, and each `snapshot` block, sees one state of the file.
        """
        with self._lock:
            self._require_open()
            try:
                return self._connection.execute(sql, dict(parameters or {})).pl()
            except duckdb.Error as error:
                raise _store_error(self.path, error) from error

    def read_batches(self, sql: str, *, rows: int) -> Iterator[pl.DataFrame]:
        """Run one DuckDB `select` and yield its rows in frames of about `rows` rows, without holding them all.

        No other statement may run on this store until the last frame was taken.
        """
        import polars as pl
        import pyarrow as pa

        with self._lock:
            self._require_open()
            try:
                for batch in self._connection.execute(sql).to_arrow_reader(rows):
                    yield pl.DataFrame(batch)
            except (duckdb.Error, pa.ArrowException) as error:
                raise _store_error(self.path, error) from error

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads inside the block see the same state of the file."""
        with self._lock:
            self._fetch("begin")
            try:
                yield
            finally:
                self._fetch("rollback")

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction that holds SQLite's write lock from its start: all of it is committed, or none."""
        if self.read_only:
            raise StoreError(f"{self.path} is open read-only; open it without read_only to write.")
        with self._lock:
            self._fetch("begin")
            try:
                self.native("update ka_migrations set version = version where 0 returning 1")
                yield
                self._fetch("commit")
            except BaseException:
                # An open transaction would block every other writer, kaizen-cli included.
                self._connection.rollback()
                raise

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        """Append `frame` to `table` by column name, inside a `write` block, and return the number of rows."""
        columns = ", ".join(quote_name(name) for name in frame.columns)
        with self._lock:
            self._connection.register("ka_frame", frame)
            try:
                [(rows,)] = self._fetch(
                    f"insert into {_ATTACHED}.{quote_name(table)} ({columns}) select {columns} from ka_frame"
                )
            finally:
                self._connection.unregister("ka_frame")
        return int(rows or 0)

    def _fetch(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[str | None, ...]]:
        # The only place that executes a statement that may write: always drained.
        with self._lock:
            self._require_open()
            try:
                return self._connection.execute(sql, dict(parameters or {})).fetchall()
            except duckdb.Error as error:
                raise _store_error(self.path, error) from error

    def _require_open(self) -> None:
        if self._closed:
            raise StoreError(f"{self.path} is closed; open it again with Store.open.")


def _placeholder(name: str, value: Parameter) -> str:
    # sqlite_query takes BIGINT, DOUBLE and VARCHAR only.
    if isinstance(value, int):
        return f"cast(${name} as bigint)"
    return f"cast(${name} as double)" if isinstance(value, float) else f"cast(${name} as varchar)"


def _check_path(path: Path, *, create: bool) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if create:
            return
        raise StoreMissingError(
            f"No store at {path}. Create one with 'kaizen-analytics init --store {path}', "
            "or let 'kaizen-analytics ingest' create it.",
        ) from None
    except OSError as error:
        raise StoreError(f"Cannot look at {path}: {error.strerror}.") from error
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise StoreError(f"{path} is {kind}; expected a SQLite file. Name the file itself with --store.")


def _create(path: Path) -> None:
    """Make an empty file, which SQLite takes for an empty database; only its owner may read it."""
    previous = os.umask(0o077)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return  # another process has just created it
    except OSError as error:
        raise StoreError(f"Cannot create a store at {path}: {error.strerror}.") from error
    finally:
        os.umask(previous)


def _check_size(store: Store) -> None:
    """Refuse a file that is shorter than its own header says, unless the rest may still be in the WAL."""
    [(pages,)] = store.native("pragma page_count")
    [(page_bytes,)] = store.native("pragma page_size")
    wal = store.path.with_name(store.path.name + "-wal")
    expected = int(pages or 0) * int(page_bytes or 0)
    actual = store.path.stat().st_size
    if actual < expected and not (wal.exists() and wal.stat().st_size):
        raise StoreError(
            f"{store.path} is truncated: {actual} bytes where its header says {expected}. "
            "Restore it from a backup, or ingest into a new store.",
        )


def extension_path() -> Path | None:
    """Where the sqlite extension of the installed wheel lies, or None where no wheel exists for this platform."""
    try:
        import duckdb_extension_sqlite_scanner as wheel
    except ModuleNotFoundError:
        return None
    return next(Path(str(wheel.__file__)).parent.rglob("sqlite_scanner.duckdb_extension"), None)


def _connect() -> duckdb.DuckDBPyConnection:
    extension = extension_path()
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # Checking the signature of 35 MB takes a third of a second at every start. The wheel's extension lies among
            # the packages that pip checked, next to the code that loads it; one that DuckDB fetched is checked here.
            "allow_unsigned_extensions": extension is not None,
        },
    )
    connection.execute("set enable_progress_bar = false")
    try:
        if extension is None:  # Intel macOS has no wheel: DuckDB's own copy, fetched once by DuckDB itself
            connection.execute("install sqlite")
            connection.execute("load sqlite")
        else:
            connection.execute(f"load {quote_text(str(extension))}")
    except duckdb.Error as error:
        connection.close()
        raise StoreError(
            f"DuckDB {duckdb.__version__} cannot load its sqlite extension: {error}. "
            "Install the exact pair of duckdb and duckdb-extension-sqlite-scanner that pyproject.toml names.",
        ) from error
    return connection


def _attach(connection: duckdb.DuckDBPyConnection, path: Path, access: str) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    options = f"type sqlite, busy_timeout {BUSY_TIMEOUT_MS}, {access}"
    while True:
        try:
            connection.execute(f"attach {quote_text(str(path))} as {_ATTACHED} ({options})")
            # Attaching validates nothing: the first query opens the file.
            connection.execute(f"select * from sqlite_query('{_ATTACHED}', 'select 1 from sqlite_master')").fetchall()
        except duckdb.Error as error:
            # Switching to WAL does not wait for a lock, unlike everything after it.
            if _LOCKED not in str(error) or time.monotonic() > deadline:
                raise _store_error(path, error) from error
            connection.execute(f"detach database if exists {_ATTACHED}")
            time.sleep(0.02)
        else:
            return


def _lock_down(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"use {_ATTACHED}")
    # Scans on several connections would each see another state of the file.
    connection.execute("set sqlite_disable_multithreaded_scans = true")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _store_error(path: Path, error: Exception) -> StoreError:
    text = str(error).split("\n\nLINE ")[0]
    if "file is not a database" in text:
        return StoreError(f"{path} is not a SQLite file; name the store with --store.")
    if "malformed" in text:
        return StoreError(f"{path} is damaged ({text}). Restore it from a backup, or ingest into a new store.")
    if "unable to open" in text or "readonly" in text:
        return StoreError(f"{path} cannot be opened for writing ({text}). Check the rights of its folder.")
    if _LOCKED in text:
        return StoreError(f"{path} stayed locked by another program for {BUSY_TIMEOUT_MS // 1000} s.")
    return StoreError(f"{path}: {text}")
