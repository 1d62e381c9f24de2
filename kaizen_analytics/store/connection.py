"""The one door to SQLite: a `Store` is a SQLite file attached to a private DuckDB through its sqlite extension.

The extension loses writes in several quiet ways (docs/store.md lists them with the test that holds each). These rules
keep them out, and only this module can break them:

* every statement is drained with `fetchall`, because a writing query that is not drained is never committed;
* a write runs as native SQLite through `sqlite_query`, which waits for a lock, or inside `Store.write`, which takes
  the write lock before it reads;
* after an error the connection is thrown away, because a commit that failed keeps its locks, and a commit after a
  failed statement reports success and rolls back;
* no second SQLite library touches the file, and the file is never opened to look at its bytes: closing any other
  descriptor would drop this process's locks.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import stat
import threading
import time
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from kaizen_analytics.errors import StoreError, StoreMissingError
from kaizen_analytics.store import cells, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import duckdb
    import polars as pl
    import pyarrow as pa

JournalMode = Literal["WAL", "DELETE"]
Parameter = int | float | str | None
Row = tuple[str | None, ...]
T = TypeVar("T")

BUSY_TIMEOUT_MS = 60_000
"""How long to wait for another program's lock; a minute lets eight writers of batches pass."""

_ATTACHED = "k"
_PREPARED = "ka_statement"
_LOCKED = "database is locked"
_BAD_CELL = ("Invalid type in column", "Invalid unicode", "Invalid UTF8")
_MAX_INTEGER = 2**63 - 1

# Creating a file opens and closes it, which would drop the locks of another thread that has just attached it.
_creating = threading.Lock()


class _LockedError(StoreError):
    """Another program holds the lock."""


class _Block(Enum):
    READ = "snapshot"
    WRITE = "write"


def quote_text(text: str) -> str:
    """Return `text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def encode_list(values: Iterable[object]) -> str:
    """Return values as the JSON array that `json_each(?)` takes in a native statement.

    Raises:
        StoreError: a text holds U+0000, where SQLite would silently cut it off.
    """
    encoded = json.dumps(list(values), ensure_ascii=False, allow_nan=False)
    if r"\u0000" in encoded.replace(r"\\", ""):
        raise StoreError(f"A text for the store contains U+0000: {encoded[:200]}. Remove that character.")
    return encoded


class Store:
    """An open store. Use `Store.open`; a store is a context manager and safe to share between threads."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._lock = threading.RLock()
        self._block: _Block | None = None
        self._streaming = False
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
            read_only: Never write, not even a missing table; what needs such a table is an error then.
            journal_mode: `DELETE` only where the file system cannot hold a WAL (a network share).

        Raises:
            StoreMissingError: nothing lies at `path` and `create` is false.
            StoreError: not a regular file, not SQLite, damaged, of a newer version, with a table whose columns do
                not fit, or not writable. The file is left as it was.
        """
        path = Path(path).absolute()
        with _creating:
            if not _check_path(path, create=create):
                _create(path)
        if not read_only:
            _check_writable(path)
        return _wait_for_lock(lambda: cls._open(path, create, read_only, journal_mode))

    @classmethod
    def _open(cls, path: Path, create: bool, read_only: bool, journal_mode: JournalMode) -> Self:  # noqa: FBT001
        store = cls(path, read_only=read_only)
        store._connection = connection = _connect()
        try:
            if not read_only and _beside(path, "-journal").exists():
                _attach(connection, path)  # undoes what a killed writer left half done; a read-only probe cannot
                connection.execute(f"detach {_ATTACHED}")
            _attach(connection, path, "read_only")
            store._prepare(connection, journal_mode, create=create)
            _lock_down(connection)
        except BaseException:
            store.close()
            raise
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
        follows the first. A write waits up to `BUSY_TIMEOUT_MS` for the lock and is committed on return, or belongs to
        the surrounding `write` block. SQLite writes a REAL with 15 digits only; `read` returns it exactly.

        Raises:
            StoreError: SQLite refused the statement or a parameter; inside `write` the whole block is rolled back.
        """
        return self._fetch(_native(sql, *parameters))

    def read(self, sql: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Run one DuckDB `select` over the store's tables and return its rows as a Polars frame.

        Scans run on one connection, so each statement, and each `snapshot` block, sees one state of the file.

        Raises:
            StoreError: DuckDB refused the query, or a cell that it read does not have its column's type.
        """
        import polars as pl

        return pl.DataFrame(self._execute(sql, parameters or {}, _take_table))

    def read_batches(self, sql: str, *, rows: int) -> Iterator[pl.DataFrame]:
        """Run one DuckDB `select` and yield its rows in frames of about `rows` rows, without holding them all.

        Until the last frame was taken, the store refuses every other statement: DuckDB would end the stream early
        and not say so.

        Raises:
            StoreError: as for `read`.
        """
        import polars as pl

        with self.snapshot():
            batches = self._execute(sql, {}, lambda connection: connection.to_arrow_reader(rows))
            self._streaming = True
            try:
                while (batch := self._attempt(lambda: _take_batch(batches))) is not None:
                    yield pl.DataFrame(batch)
            finally:
                self._streaming = False

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
                if self._connection is not None:
                    self._fetch("rollback")

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
        sql = f"insert into {_ATTACHED}.{quote_name(table)} ({columns}) select {columns} from ka_frame"
        with self._lock:
            if self._block is not _Block.WRITE:
                raise StoreError(f"Rows for {table} must be inserted inside a Store.write block.")
            connection = self._require_connection()
            # As a bare Arrow stream: to scan anything else, DuckDB imports pyarrow.dataset, and with it all of pandas.
            connection.register("ka_frame", frame.__arrow_c_stream__())
            [(rows,)] = self._fetch(sql)
            connection.unregister("ka_frame")
        return int(rows or 0)

    def _prepare(self, connection: duckdb.DuckDBPyConnection, journal_mode: JournalMode, *, create: bool) -> None:
        """Check the file, attached read-only so far, and attach it again for writing, migrated where it must be."""
        _check_size(self)
        pending = schema.pending(self, create=create)
        [(current_mode,)] = self.native("pragma journal_mode")
        if self.read_only:
            return
        connection.execute(f"detach {_ATTACHED}")
        if pending or current_mode != journal_mode.lower():
            script = schema.script(pending, now_ms=time.time_ns() // 1_000_000)
            # The extension hands the journal mode to SQLite as written: its only way to run native DDL.
            _attach(connection, self.path, f"journal_mode {quote_text(f'{journal_mode}; {script}')}")
            connection.execute(f"detach {_ATTACHED}")
        _attach(connection, self.path)

    def _begin(self, block: _Block) -> None:
        with self._lock:
            _wait_for_lock(lambda: self._attempt(lambda: self._start(block)))
            self._block = block

    def _start(self, block: _Block) -> None:
        """Begin a transaction and take its lock, or leave none behind."""
        import duckdb

        connection = self._require_connection()
        connection.execute("begin")
        try:
            for sql in _first_statements(block):
                connection.execute(_native(sql)).fetchall()
        except duckdb.Error:
            connection.rollback()
            raise

    def _fetch(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        # The only place that executes a statement that may write: always drained.
        return self._execute(sql, parameters or {}, _take_rows)

    def _execute(self, sql: str, parameters: Mapping[str, object], take: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        def run() -> T:
            return self._attempt(lambda: take(_run(self._require_connection(), sql, parameters)))

        with self._lock:
            return _wait_for_lock(run) if self._block is None else run()

    def _attempt(self, action: Callable[[], T]) -> T:
        import duckdb

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
        if not any(mark in str(error) for mark in _BAD_CELL):
            return _store_error(self.path, error)
        with Store(self.path, read_only=True) as other:
            found = list(cells.find_bad_cells(other))
        named = [cell for cell in found if f'"{cell.column}"' in str(error)] or found
        where = f"table {named[0].table}, column {named[0].column}, row {named[0].row_id}" if named else "unknown place"
        return StoreError(
            f"{self.path} holds a value that does not have its column's type: {where} "
            f"({_first_line(error)}). 'kaizen-analytics doctor' lists all such values.",
        )

    def _require_connection(self) -> duckdb.DuckDBPyConnection:
        if self._closed:
            raise StoreError(f"{self.path} is closed; open it again with Store.open.")
        if self._streaming:
            raise StoreError(f"{self.path}: take all frames of read_batches before the next statement.")
        if self._block is None:
            _check_path(self.path)  # a query on a file that is gone would make an empty one
            if self._connection is None:
                self._connection = _connect_to(self.path, read_only=self.read_only)
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


def _run(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object]
) -> duckdb.DuckDBPyConnection:
    """Execute a DuckDB statement with its parameters.

    Parameters are written as literals: binding even one makes DuckDB import pandas where that is installed, which takes
    half a second, inside a `write` block under the lock.
    """
    if not parameters:
        return connection.execute(sql)
    # An untyped null fits wherever the statement compares it; sqlite_query wants a type.
    literals = {name: "null" if value is None else _literal(value) for name, value in parameters.items()}
    given = ", ".join(f"{quote_name(name)} := {literal}" for name, literal in literals.items())
    connection.execute(f"prepare {_PREPARED} as {sql}")
    return connection.execute(f"execute {_PREPARED}({given})")


def _native(sql: str, *parameters: Parameter) -> str:
    """Return the DuckDB statement that runs `sql` natively, with its parameters as literals as in `_run`."""
    row = ", ".join(map(_literal, parameters))
    given = f", params=row({row})" if parameters else ""
    return f"select * from sqlite_query('{_ATTACHED}', {quote_text(sql)}{given})"


def _literal(value: object) -> str:
    # sqlite_query takes these three types and nothing else.
    if not isinstance(value, Parameter):
        raise StoreError(f"A parameter is a {type(value).__name__}; expected a number, a text or None.")
    _check_parameter(value)
    if isinstance(value, int):
        return f"'{int(value)}'::bigint"
    if isinstance(value, float):
        return f"'{value!r}'::double"
    if value is None:
        return "null::varchar"
    # DuckDB ends a statement at U+0000.
    return f"decode(unhex('{value.encode().hex()}'))" if "\0" in value else f"{quote_text(value)}::varchar"


def _is_harmless(error: Exception) -> bool:
    """Whether DuckDB has ended the statement's own transaction; a commit that fails leaves it open, with its locks."""
    return _LOCKED in str(error) and "COMMIT" not in str(error)


def _first_statements(block: _Block) -> tuple[str, ...]:
    """Return what takes a block's lock before anything else runs in it."""
    if block is _Block.READ:
        return ("select 1 from sqlite_master",)
    # A commit cannot be tried again, so SQLite itself has to wait for readers there.
    wait = f"pragma busy_timeout = {BUSY_TIMEOUT_MS}"
    return ("update ka_migrations set version = version where 0 returning 1", wait)


def _take_rows(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    return connection.fetchall()


def _take_table(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    table = connection.to_arrow_table()
    table.validate(full=True)  # DuckDB passes invalid UTF-8 on, and Polars would trust it
    return table


def _take_batch(batches: pa.RecordBatchReader) -> pa.RecordBatch | None:
    batch = next(batches, None)
    if batch is not None:
        batch.validate(full=True)
    return batch


def _check_parameter(value: Parameter) -> None:
    _check_text(value)
    if isinstance(value, int) and not -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER:
        raise StoreError(f"{value} does not fit into SQLite's 64-bit integers.")
    if isinstance(value, float) and not math.isfinite(value):
        raise StoreError(f"{value} cannot be stored: SQLite would keep NaN as NULL. Expected a finite number.")


def _check_text(value: object) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise StoreError(
                f"{value[:200]!r} holds a lone surrogate, which is not valid Unicode; remove it."
            ) from error


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
        for folder in reversed([parent for parent in path.parents if not parent.exists()]):
            folder.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return  # another process has just created it
    except OSError as error:
        raise StoreError(f"Cannot create a store at {path}: {error.strerror}.") from error


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


def _check_size(store: Store) -> None:
    """Refuse a file that is shorter than its own header says, unless the rest may still be in the WAL."""
    [(pages,)] = store.native("pragma page_count")
    [(page_bytes,)] = store.native("pragma page_size")
    wal = _beside(store.path, "-wal")
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
    import duckdb  # here, because most commands read the mirror and never open a store

    extension = extension_path()
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # Checking the signature of 35 MB takes a third of a second at every start. The wheel's extension lies among
            # the packages that pip checked, next to the code that loads it; one that DuckDB fetched is checked here.
            "allow_unsigned_extensions": extension is not None,
            # What does not fit into memory would be written, readable to all, into the folder we run in.
            "temp_directory": "",
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


def _connect_to(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    connection = _connect()
    try:
        _attach(connection, path, "read_only" if read_only else "read_write")
        _lock_down(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _attach(connection: duckdb.DuckDBPyConnection, path: Path, *options: str) -> None:
    import duckdb

    # SQLite itself would wait in steps of a whole second; `_wait_for_lock` does it better.
    clauses = ", ".join(["type sqlite", "busy_timeout 0", *options])
    try:
        connection.execute(f"attach {quote_text(str(path))} as {_ATTACHED} ({clauses})")
        # Attaching validates nothing: the first query opens the file.
        connection.execute(_native("select 1 from sqlite_master")).fetchall()
    except duckdb.Error as error:
        raise _store_error(path, error) from error


def _wait_for_lock(action: Callable[[], T]) -> T:
    """Repeat an action while another program's lock stops it, at growing and random intervals."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    pause_s = 0.004
    while True:
        try:
            return action()
        except _LockedError:
            if time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - so that waiting programs do not move in step
        pause_s = min(2 * pause_s, 0.25)


def _lock_down(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"use {_ATTACHED}")
    # Scans on several connections would each see another state of the file.
    connection.execute("set sqlite_disable_multithreaded_scans = true")
    # While one thread scans, every other one would be busy waiting for it: the same time, twice the work on two cores.
    connection.execute("set threads = 1")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


_HINTS = {
    "file is not a database": "Name a SQLite file with --store.",
    "malformed": "The file is damaged. Restore it from a backup, or ingest into a new store.",
    "unable to open": "SQLite cannot open it. Check its rights and its folder's: a WAL is kept beside the file.",
    "readonly database": "Check its rights and its folder's. If its last writer was killed, open it for writing once.",
    _LOCKED: f"Another program held its lock for {BUSY_TIMEOUT_MS // 1000} s. Try again when that has ended.",
    "disk is full": "Nothing of this step was stored. Make room, and try again.",
    "disk I/O error": "Nothing of this step was stored. Check the disk, then run 'kaizen-analytics doctor'.",
    "no such table: ka_": "Run 'kaizen-analytics init' on it once; it adds the tables of this version.",
    "Out of Memory": "The query needs more memory than this machine has.",
}
"""What to do about an error, by a part of its text."""


def _store_error(path: Path, error: Exception) -> StoreError:
    text = _first_line(error)
    hint = next((hint for part, hint in _HINTS.items() if part in text), "")
    kind = _LockedError if _LOCKED in text else StoreError
    return kind(f"{path}: {text}. {hint}".rstrip())


def _first_line(error: Exception) -> str:
    text = re.sub(r'Failed to \w+ query ".*": ', "", str(error), flags=re.DOTALL)
    return text.split("\n", 1)[0].rstrip(".")
