"""The one door to SQLite: a `Store` is a SQLite file attached to a private DuckDB through its sqlite extension.

The extension loses writes in several quiet ways; docs/explanation/store.md lists them with the test that holds each.
These rules keep them out, and only this module can break them:

* every statement is drained with `fetchall`, because a writing query that is not drained is never committed;
* a write runs as native SQLite through `sqlite_query`, which waits for a lock, or inside `Store.write`, which takes
  the write lock before it reads;
* after an error the connection is thrown away, because a commit that failed keeps its locks, and a commit after a
  failed statement reports success and rolls back;
* no second SQLite library touches the file, and the file is never opened to look at its bytes: closing any other
  descriptor would drop this process's locks.

DuckDB is imported as its extension module: the package around it looks up its own version, which takes an eighth of the
start of a command. pyproject.toml pins the exact release of both.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
import stat
import threading
import time
import warnings
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from kaizen_analytics.core.errors import StoreError, StoreMissingError, StoreWarning
from kaizen_analytics.core.files import Folder, open_folder
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.store import schema
from kaizen_analytics.store.cells import BadCell, count_cells, define_replacing, find_bad_cells
from kaizen_analytics.store.sql import ATTACHED, hide_progress_bar, native_call, quote_name, quote_text, run_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import duckdb
    import polars as pl
    import pyarrow as pa

    from kaizen_analytics.store.sql import Parameter, Row


_T = TypeVar("_T")
_JournalMode = Literal["WAL", "DELETE"]

_BUSY_TIMEOUT_MS = 60_000
"""How long to wait for another program's lock; a minute lets eight writers of batches pass."""

_LOCKED = "database is locked"

# Creating a file opens and closes it, which would drop the locks of another thread that has just attached it.
_creating = threading.Lock()

_STATE = """
    select (select page_count from pragma_page_count), (select page_size from pragma_page_size),
        (select journal_mode from pragma_journal_mode)
"""
_WRONG_TYPE = "Invalid type in column"
_NOT_UTF8 = ("Invalid unicode", "Invalid UTF8", "invalid UTF-8", "invalid UTF8", "codec can't decode")


class _Block(Enum):
    READ = "snapshot"
    WRITE = "write"


class _NotUtf8Error(StoreError):
    """Cells hold bytes that are not UTF-8; `cells` are those that were found."""

    def __init__(self, text: str, found: tuple[BadCell, ...]) -> None:
        super().__init__(text)
        self.cells = found


class Store:
    """An open store. Use `Store.open`; a store is a context manager and safe to share between threads."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._lock = threading.RLock()
        self._block: _Block | None = None
        self._closed = False
        self._recalled: dict[str, Any] = {}
        self._replaced: tuple[BadCell, ...] | None = None  # None until a statement meets such cells
        self._state: tuple[int, ...] = ()  # what the file looked like before a `snapshot` block began

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        create: bool = False,  # noqa: FBT001, FBT002 - the documented signature
        read_only: bool = False,  # noqa: FBT001, FBT002
        *,
        journal_mode: _JournalMode = "WAL",
        ours: bool = False,
    ) -> Self:
        """Open the store at `path`, bring its schema up to date, and return it.

        Args:
            path: A SQLite file that this package or kaizen-cli wrote.
            create: Make the file (and its folder) when it does not exist.
            read_only: Never write, not even a missing table; what needs such a table is an error then.
            journal_mode: `DELETE` only where the file system cannot hold a WAL (a network share).
            ours: Refuse a file of kaizen-cli, whose sessions are not counted as ours are. A store of an older version
                is brought up to date also when it is opened read-only.

        Raises:
            StoreMissingError: there is nothing at `path` and `create` is false.
            StoreError: not a regular file, not SQLite, damaged, of a newer version, with a table whose columns do
                not fit, not writable, or refused. The file is left as it was.

        >>> with Store.open(tmp / "store.db", create=True) as opened:
        ...     opened.native("select count(*) from sessions")
        [('0',)]
        """
        path = Path(path).absolute()
        with _creating:
            if not _check_path(path, create=create):
                _create(path)
        if not read_only:
            _check_writable(path)
        store = cls(path, read_only=read_only)
        prepare = partial(_prepare, path, journal_mode, create=create, read_only=read_only, ours=ours)
        store._connection = _wait_for_lock(lambda: _open(path, prepare, recover=not read_only))
        return store

    def close(self) -> None:
        """Close the store; a second call does nothing. A `write` block that is still open is rolled back."""
        with self._lock:
            self._closed = True
            self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def native(self, sql: str, *parameters: Parameter) -> list[Row]:
        """Run one statement as native SQLite and return its rows, every value as text.

        The statement must return rows (add `RETURNING 1` to a write), and must be a single one: SQLite ignores what
        follows the first. A write waits up to `_BUSY_TIMEOUT_MS` for the lock and is committed on return, or belongs to
        the surrounding `write` block. SQLite writes a REAL with 15 digits only; `read` returns it exactly.

        Raises:
            StoreError: SQLite refused the statement or a parameter; inside `write` the whole block is rolled back.
        """
        call = native_call(sql, *parameters)
        as_bytes = f"select encode(columns(*)) from ({call})" if sql.lower().startswith(("select", "with")) else call
        with self._lock:
            rows = self._execute(call if self._replaced is None else as_bytes, {}, _take_rows, again=as_bytes)
            return rows if self._replaced is None else [_decode(row) for row in rows]

    def read(self, sql: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Run one DuckDB `select` over the store's tables and return its rows as a Polars frame.

        Scans run on one connection, so each statement, and each `snapshot` block, sees one state of the file. Bytes
        that are no UTF-8 are replaced by U+FFFD; a `StoreWarning` says in how many cells.

        Raises:
            StoreError: DuckDB refused the query, or a cell that it read does not have its column's type.
        """
        import polars as pl

        return pl.DataFrame(self._execute(sql, parameters or {}, _take_table))

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Run one DuckDB `select` as `read` does and return its rows by column name, without the cost of a frame.

        Raises:
            StoreError: as for `read`.

        >>> store.rows("select 1 as one, $two as two", {"two": "2"})
        [{'one': 1, 'two': '2'}]
        """
        return self._execute(sql, parameters or {}, _take_named)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads inside the block see the same state of the file; inside another block it adds nothing."""
        with self._lock:
            if self._block is not None:
                yield
                return
            self._begin(_Block.READ)
            try:
                yield
            finally:
                self._block = None
                self._recalled = {}
                if self._connection is not None:
                    self._fetch("rollback")

    def recall(self, key: str, compute: Callable[[], _T]) -> _T:
        """Return what `compute` returned for `key` earlier in this `snapshot` block; outside of one, compute it anew.

        >>> with store.snapshot():
        ...     [store.recall("n", lambda: n) for n in (1, 2)]
        [1, 1]
        >>> [store.recall("n", lambda: n) for n in (1, 2)]
        [1, 2]
        """
        with self._lock:
            if self._block is not _Block.READ:
                return compute()
            if key not in self._recalled:
                self._recalled[key] = compute()
            found: _T = self._recalled[key]
            return found

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction that holds SQLite's write lock from its start: all of it is committed, or none.

        Blocks nest: the outermost commits, and an exception that leaves any of them rolls back the whole.

        Raises:
            StoreError: the store is open read-only, the block stands inside a `snapshot`, the lock did not come free,
                or the commit failed.
        """
        with self._lock:
            self._require_writable()
            outermost = self._block is None
            try:
                if outermost:
                    self._begin(_Block.WRITE)
                yield
                if outermost:
                    self._fetch("commit")
            except BaseException:
                # An open transaction would block every other writer, kaizen-cli included.
                self._discard()
                raise
            finally:
                if outermost:
                    self._block = None

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        """Append `frame` to `table` by column name, inside a `write` block, and return the number of rows.

        Raises:
            StoreError: outside a `write` block, where it would not wait for a lock; or a row breaks the schema.
        """
        columns = ", ".join(quote_name(name) for name in frame.columns)
        sql = f"insert into {ATTACHED}.{quote_name(table)} ({columns}) select {columns} from ka_frame"
        with self._lock:
            if self._block is not _Block.WRITE:
                raise StoreError(f"Rows for {table} must be inserted inside a Store.write block.")
            connection = self._require_connection()
            # As a bare Arrow stream: to scan anything else, DuckDB imports pyarrow.dataset, and with it all of pandas.
            connection.register("ka_frame", frame.__arrow_c_stream__())
            [(rows,)] = self._fetch(sql)
            connection.unregister("ka_frame")
        return int(rows or 0)

    def _begin(self, block: _Block) -> None:
        with self._lock:
            if block is _Block.READ:
                self._state = _look_at(self.path)
            _wait_for_lock(lambda: self._attempt(lambda: self._start(block)))
            self._block = block

    def _start(self, block: _Block) -> None:
        """Begin a transaction and take its lock, or leave none behind."""
        import _duckdb as duckdb

        connection = self._require_connection()
        connection.execute("begin")
        try:
            for sql in _first_statements(block):
                connection.execute(native_call(sql)).fetchall()
        except duckdb.Error:
            connection.rollback()
            raise

    def _fetch(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        # The only place that executes a statement that may write: always drained.
        return self._execute(sql, parameters or {}, _take_rows)

    def _execute(
        self,
        sql: str,
        parameters: Mapping[str, object],
        take: Callable[[duckdb.DuckDBPyConnection], _T],
        again: str | None = None,
    ) -> _T:
        """Run a statement; where it meets text that is not UTF-8, replace that and run `again`, or the statement."""

        def run(text: str = sql) -> _T:
            return self._attempt(lambda: take(run_query(self._require_connection(), text, parameters)))

        with self._lock:
            try:
                return _wait_for_lock(run) if self._block is None else run()
            except _NotUtf8Error as error:
                changed = self._block is _Block.READ and self._state != _look_at(self.path)
                if self._replaced is not None or changed or self._block is _Block.WRITE:
                    raise
                self._replace_cells(error.cells)
                return run(again or sql)

    def _replace_cells(self, found: tuple[BadCell, ...]) -> None:
        """From now on read the cells that are not UTF-8 with U+FFFD in the place of their bytes, and say so once.

        A `snapshot` block goes on in a new transaction; that is the same state, because no file has changed since.
        """
        self._replaced = found
        warnings.warn(
            f"Bytes that are not UTF-8 were replaced by U+FFFD in these cells: {count_cells(found)}. "
            "'kaizen-analytics doctor --deep' lists them.",
            StoreWarning,
            stacklevel=2,
        )
        self._discard()
        if self._block is _Block.READ:
            self._block = None
            self._begin(_Block.READ)

    def _attempt(self, action: Callable[[], _T]) -> _T:
        import _duckdb as duckdb

        try:
            return action()
        except (duckdb.Error, OSError, ValueError) as error:  # the latter two are Arrow's
            if self._block is not None or not _is_harmless(error):
                self._discard()
            raise self._explain(error) from error
        except RuntimeError as error:
            self._discard()
            if "interrupted" not in str(error):
                raise
            raise KeyboardInterrupt from error  # how DuckDB reports it

    def _explain(self, error: Exception) -> StoreError:
        not_utf8 = any(mark in str(error) for mark in _NOT_UTF8)
        if not not_utf8 and _WRONG_TYPE not in str(error):
            return _store_error(self.path, error)
        with Store(self.path, read_only=True) as other:
            found = list(find_bad_cells(other))
        named = [cell for cell in found if f'"{cell.column}"' in str(error)] or found
        where = f"table {named[0].table}, column {named[0].column}, row {named[0].row_id}" if named else "unknown place"
        text = (
            f"{self.path} holds a value that does not have its column's type: {where} "
            f"({_first_line(error)}). 'kaizen-analytics doctor --deep' lists all such values."
        )
        return _NotUtf8Error(text, tuple(cell for cell in found if cell.is_text)) if not_utf8 else StoreError(text)

    def _require_connection(self) -> duckdb.DuckDBPyConnection:
        if self._closed:
            raise StoreError(f"{self.path} is closed; open it again with Store.open.")
        if self._block is None:
            _check_path(self.path)  # a query on a file that is gone would make an empty one
            if self._connection is None:
                mode = "read_only" if self.read_only else "read_write"
                self._connection = _open(self.path, lambda new: _attach(new, self.path, mode))
                define_replacing(self._connection, self._replaced or ())
        if self._connection is None:
            raise StoreError(f"{self.path}: a statement of this block failed, so all of the block was rolled back.")
        return self._connection

    def _require_writable(self) -> None:
        if self.read_only:
            raise StoreError(f"{self.path} is open read-only; open it without read_only to write.")
        if self._block is _Block.READ:
            raise StoreError(f"{self.path}: a write block cannot stand inside a snapshot block; end that first.")

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.interrupt()  # closing would wait for a query that Ctrl-C has left running
            connection.close()


def _decode(row: tuple[Any, ...]) -> Row:
    return tuple(cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell for cell in row)


def _is_harmless(error: Exception) -> bool:
    """Whether DuckDB has ended the statement's own transaction; a commit that fails leaves it open, with its locks."""
    return _is_lock_error(error) and "COMMIT" not in str(error)


def _first_statements(block: _Block) -> tuple[str, ...]:
    """Return what takes a block's lock before anything else runs in it."""
    if block is _Block.READ:
        return ("select 1 from sqlite_master",)
    # A commit cannot be tried again, so SQLite itself has to wait for readers there.
    wait = f"pragma busy_timeout = {_BUSY_TIMEOUT_MS}"
    return ("update ka_migrations set version = version where 0 returning 1", wait)


def _take_rows(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    return connection.fetchall()


def _take_named(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    names = [column[0] for column in connection.description or ()]
    return [dict(zip(names, row, strict=True)) for row in connection.fetchall()]


def _take_table(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    table = connection.to_arrow_table()
    table.validate(full=True)  # DuckDB passes invalid UTF-8 on, and Polars would trust it
    return table


class _LockedError(StoreError):
    """Another program holds the lock."""

    exit_code = 75


def _run_native(path: Path, connection: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    """Return the rows of one native statement on a file that is attached, but not yet a store."""
    import _duckdb as duckdb

    try:
        return connection.execute(native_call(sql)).fetchall()
    except duckdb.Error as error:
        raise _store_error(path, error) from error


def _open(
    path: Path, prepare: Callable[[duckdb.DuckDBPyConnection], None], *, recover: bool = False
) -> duckdb.DuckDBPyConnection:
    """Return a new DuckDB that `prepare` attaches the file to."""
    connection = load_duckdb()
    try:
        if recover and _beside(path, "-journal").exists():
            _attach(connection, path)  # undoes what a killed writer left half done; a read-only probe cannot
            connection.execute(f"detach {ATTACHED}")
        prepare(connection)
        connection.execute(f"use {ATTACHED}")
        connection.execute("create temp macro ka_text(x) as x")
        # Scans on several connections would each see another state of the file.
        connection.execute("set sqlite_disable_multithreaded_scans = true")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(
    path: Path,
    journal_mode: _JournalMode,
    connection: duckdb.DuckDBPyConnection,
    *,
    create: bool,
    read_only: bool,
    ours: bool,
) -> None:
    """Look into the file, attached read-only so far; migrate it where it must be, and attach it as it was asked for."""
    _attach(connection, path, "read_only")
    look = partial(_run_native, path, connection)
    [(pages, page_bytes, current_mode)] = look(_STATE)
    _check_size(path, int(pages or 0) * int(page_bytes or 0))
    pending = schema.pending(path, look, create=create, ours=ours)
    if read_only and pending and not ours:
        schema.refuse_outdated(path, look)
    if read_only and not (pending and ours):
        return
    if read_only:
        _check_writable(path)  # a store of an older version is brought up to date, once
    connection.execute(f"detach {ATTACHED}")
    if pending or current_mode != journal_mode.lower():
        _migrate(path, connection, journal_mode, pending)
        connection.execute(f"detach {ATTACHED}")
    _attach(connection, path, "read_only" if read_only else "read_write")


def _migrate(
    path: Path,
    connection: duckdb.DuckDBPyConnection,
    journal_mode: _JournalMode,
    pending: tuple[schema.Migration, ...],
) -> None:
    script = schema.script(pending, now_ms=read_clock())
    try:
        # The extension hands the journal mode to SQLite as written: its only way to run native DDL.
        _attach(connection, path, f"journal_mode {quote_text(f'{journal_mode}; {script}')}")
    except _LockedError:
        raise
    except StoreError:
        # Another process may have made the same steps in the meantime.
        connection.execute(f"detach database if exists {ATTACHED}")
        _attach(connection, path, "read_only")
        if schema.pending(path, partial(_run_native, path, connection), create=True):
            raise


def copy_file(path: Path, target: Path) -> None:
    """Write a consistent copy of a store, also while others write to it; the copy appears whole or not at all.

    Raises:
        StoreError: `target` exists or cannot be written, or the store is missing or damaged.

    >>> copy_file(store.path, tmp / "backup.db")
    >>> (tmp / "backup.db").exists()
    True
    """
    _check_path(path)
    if os.path.lexists(target):
        raise StoreError(f"{target} exists; a copy never replaces a file. Name one that does not exist.")
    draft = target.with_name(f".kaizen-copy-{secrets.token_hex(8)}")
    connection = load_duckdb()
    try:
        _make_folders(target)
        with open_folder(target.parent) as folder, _draft(folder, draft.name) as descriptor:
            # The extension hands the journal mode to SQLite as written. Without quotes, because it doubles them.
            place = "||".join(f"char({ord(character)})" for character in str(draft.absolute()))
            _attach(connection, path, "read_only", f"journal_mode {quote_text(f'WAL; vacuum into {place}')}")
            os.fsync(descriptor)
            # Fails where another program has just put a file, or another folder.
            folder.link(draft.name, target.name)
            folder.sync()
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        connection.close()
        draft.unlink(missing_ok=True)  # SQLite knows only its path, so it may lie elsewhere by now


@contextlib.contextmanager
def _draft(folder: Folder, name: str) -> Iterator[int]:
    """Create a file for a copy in an open folder, and take its name away at the end."""
    descriptor = folder.create(name)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            folder.remove(name)


def _look_at(path: Path) -> tuple[int, ...]:
    """Return sizes and times of a store and of its WAL: the same twice means that nobody wrote in between."""
    numbers: list[int] = []
    for place in (path, _beside(path, "-wal")):
        with contextlib.suppress(FileNotFoundError):  # the last program that closes a store removes its WAL
            found = place.stat()
            numbers += (found.st_size, found.st_mtime_ns) if found.st_size else ()
    return tuple(numbers)


def _check_path(path: Path, *, create: bool = False) -> bool:
    """Whether a file lies at `path`; anything else there is an error, and so is nothing without `create`."""
    if "\0" in str(path) or os.fsencode(path).decode(errors="ignore") != str(path):
        raise StoreError(f"{str(path)!r} is not a file name that SQLite can open: expected UTF-8 without NUL.")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise StoreError(f"{path} is a symbolic link to {path.readlink()}, which does not exist.") from None
        if create:
            return False
        raise StoreMissingError(
            f"No store at {path}. Create one with 'kaizen-analytics init --store {path}', "
            "or let 'kaizen-analytics ingest' create it.",
        ) from None
    except OSError as error:
        raise StoreError(f"Cannot look at {path}: {error.strerror}.") from error
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise StoreError(f"{path} is {kind}; expected a SQLite file. Name the file itself with --store.")
    return True


def _create(path: Path) -> None:
    """Make an empty file, which SQLite takes for an empty database; only its owner may read it."""
    try:
        _make_folders(path)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return  # another process has just created it
    except OSError as error:
        raise StoreError(f"Cannot create a store at {path}: {error.strerror}.") from error


def _make_folders(path: Path) -> None:
    for folder in reversed([parent for parent in path.parents if not parent.exists()]):
        folder.mkdir(mode=0o700, exist_ok=True)


def _check_writable(path: Path) -> None:
    # SQLite keeps a journal beside the file, so both must be writable.
    real = path.resolve()
    for place in (real, real.parent):
        if not os.access(place, os.W_OK):
            raise StoreError(f"{path} cannot be opened for writing: {place} is not writable. Change its rights.")


def _beside(path: Path, suffix: str) -> Path:
    """Return the path of one of the files that SQLite keeps beside a database."""
    real = path.resolve()
    return real.with_name(real.name + suffix)


def _check_size(path: Path, expected: int) -> None:
    """Refuse a file that is shorter than its own header says, unless the rest may still be in the WAL."""
    wal = _beside(path, "-wal")
    actual = path.stat().st_size
    if actual < expected and not (wal.exists() and wal.stat().st_size):
        raise StoreError(
            f"{path} is truncated: {actual} bytes where its header says {expected}. "
            "Restore it from a backup, or ingest into a new store.",
        )


def _extension_path() -> Path | None:
    """Where the sqlite extension of the installed wheel lies, or None where no wheel exists for this platform."""
    try:
        import duckdb_extension_sqlite_scanner as wheel
    except ModuleNotFoundError:
        return None
    return next(Path(str(wheel.__file__)).parent.rglob("sqlite_scanner.duckdb_extension"), None)


def load_duckdb() -> duckdb.DuckDBPyConnection:
    """Return a private DuckDB with its sqlite extension.

    Raises:
        StoreError: the extension does not fit the installed DuckDB.

    >>> load_duckdb().close()
    """
    import _duckdb as duckdb

    extension = _extension_path()
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # Checking the signature of 35 MB takes a third of a second at every start. The wheel's extension lies among
            # the packages that pip checked, next to the code that loads it; one that DuckDB fetched is checked here.
            "allow_unsigned_extensions": extension is not None,
            # While one thread scans, others would be busy waiting for it: the same time, twice the work on two cores.
            "threads": 1,
            # What does not fit into memory would be written, readable to all, into the folder we run in.
            "temp_directory": "",
        },
    )
    hide_progress_bar(connection)
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


def _attach(connection: duckdb.DuckDBPyConnection, path: Path, *options: str) -> None:
    import _duckdb as duckdb

    # SQLite itself would wait in steps of a whole second; `_wait_for_lock` does it better.
    clauses = ", ".join(["type sqlite", "busy_timeout 0", *options])
    try:
        connection.execute(f"attach {quote_text(str(path))} as {ATTACHED} ({clauses})")
        # Attaching validates nothing: the first query opens the file.
        connection.execute(native_call("select 1 from sqlite_master")).fetchall()
    except duckdb.Error as error:
        raise _store_error(path, error) from error


def _wait_for_lock(action: Callable[[], _T]) -> _T:
    """Repeat an action while another program's lock stops it, at growing and random intervals.

    Raises:
        StoreError: it was still locked after `_BUSY_TIMEOUT_MS`.
    """
    deadline = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    pause_s = 0.004
    while True:
        try:
            return action()
        except _LockedError:
            if time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - so that waiting programs do not move in step
        pause_s = min(2 * pause_s, 0.25)


_HINTS = {
    "file is not a database": "Name a SQLite file with --store.",
    "malformed": "The file is damaged. Restore it from a backup, or ingest into a new store.",
    "unable to open": "SQLite cannot open it. Check its rights and its folder's: a WAL is kept beside the file.",
    "readonly database": "Check its rights and its folder's. If its last writer was killed, open it for writing once.",
    _LOCKED: f"Another program held its lock for {_BUSY_TIMEOUT_MS // 1000} s. Try again when that has ended.",
    "disk is full": "Nothing of this step was stored. Make room, and try again.",
    "disk I/O error": "Nothing of this step was stored. Check the disk, then run 'kaizen-analytics doctor'.",
    "no such table: ka_": "Run 'kaizen-analytics init' on it once; it adds the tables of this version.",
    "Out of Memory": "The query needs more memory than this machine has.",
}
"""What to do about an error, by a part of its text."""


def _store_error(path: Path, error: Exception) -> StoreError:
    """Return an error of DuckDB as one that says what to do."""
    text = _first_line(error)
    hint = next((hint for part, hint in _HINTS.items() if part in text), "")
    kind = _LockedError if _LOCKED in text else StoreError
    return kind(f"{path}: {text}. {hint}".rstrip())


def _is_lock_error(error: Exception) -> bool:
    """Whether another program's lock stopped a statement."""
    return _LOCKED in str(error)


def _first_line(error: Exception) -> str:
    """Return the first line of an error of DuckDB, without the query."""
    text = re.sub(r'Failed to \w+ query ".*": ', "", str(error), flags=re.DOTALL)
    return text.split("\n", 1)[0].rstrip(".")
