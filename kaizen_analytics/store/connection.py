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
"""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from kaizen_analytics.core.errors import NotUtf8Error, StoreError, StoreWarning
from kaizen_analytics.store import cells
from kaizen_analytics.store.open import (
    BUSY_TIMEOUT_MS,
    check_path,
    first_line,
    is_lock_error,
    look_at,
    open_file,
    reopen_file,
    store_error,
    wait_for_lock,
)
from kaizen_analytics.store.sql import ATTACHED, native_call, quote_name, run_query

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    import duckdb
    import polars as pl
    import pyarrow as pa

    from kaizen_analytics.store.open import JournalMode
    from kaizen_analytics.store.sql import Parameter, Row

_T = TypeVar("_T")

_WRONG_TYPE = "Invalid type in column"
_NOT_UTF8 = ("Invalid unicode", "Invalid UTF8", "invalid UTF-8", "invalid UTF8", "codec can't decode")


class _Block(Enum):
    READ = "snapshot"
    WRITE = "write"


class _NotUtf8CellsError(NotUtf8Error):
    """The same with the cells that were found, so that nobody has to look for them again."""

    def __init__(self, text: str, found: tuple[cells.BadCell, ...]) -> None:
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
        self._replaced: tuple[cells.BadCell, ...] | None = None  # None until a statement meets such cells
        self._state: tuple[int, ...] = ()  # what the file looked like before a `snapshot` block began

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        create: bool = False,  # noqa: FBT001, FBT002 - the documented signature
        read_only: bool = False,  # noqa: FBT001, FBT002
        *,
        journal_mode: JournalMode = "WAL",
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
        store = cls(path, read_only=read_only)
        store._connection = open_file(path, create=create, read_only=read_only, ours=ours, journal_mode=journal_mode)
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
                self._state = look_at(self.path)
            wait_for_lock(lambda: self._attempt(lambda: self._start(block)))
            self._block = block

    def _start(self, block: _Block) -> None:
        """Begin a transaction and take its lock, or leave none behind."""
        import duckdb

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
                return wait_for_lock(run) if self._block is None else run()
            except _NotUtf8CellsError as error:
                changed = self._block is _Block.READ and self._state != look_at(self.path)
                if self._replaced is not None or changed or self._block is _Block.WRITE:
                    raise
                self._replace_cells(error.cells)
                return run(again or sql)

    def _replace_cells(self, found: tuple[cells.BadCell, ...]) -> None:
        """From now on read the cells that are not UTF-8 with U+FFFD in the place of their bytes, and say so once.

        A `snapshot` block goes on in a new transaction; that is the same state, because no file has changed since.
        """
        self._replaced = found
        counts = Counter(f"{cell.table}.{cell.column}" for cell in found)
        listed = ", ".join(f"{number} of {column}" for column, number in counts.items())
        warnings.warn(
            f"Bytes that are not UTF-8 were replaced by U+FFFD in {len(found)} cells ({listed}). "
            "'kaizen-analytics doctor --deep' lists them.",
            StoreWarning,
            stacklevel=2,
        )
        self._discard()
        if self._block is _Block.READ:
            self._block = None
            self._begin(_Block.READ)

    def _attempt(self, action: Callable[[], _T]) -> _T:
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
        not_utf8 = any(mark in str(error) for mark in _NOT_UTF8)
        if not not_utf8 and _WRONG_TYPE not in str(error):
            return store_error(self.path, error)
        with Store(self.path, read_only=True) as other:
            found = list(cells.find_bad_cells(other))
        named = [cell for cell in found if f'"{cell.column}"' in str(error)] or found
        where = f"table {named[0].table}, column {named[0].column}, row {named[0].row_id}" if named else "unknown place"
        text = (
            f"{self.path} holds a value that does not have its column's type: {where} "
            f"({first_line(error)}). 'kaizen-analytics doctor --deep' lists all such values."
        )
        return _NotUtf8CellsError(text, tuple(cell for cell in found if cell.is_text)) if not_utf8 else StoreError(text)

    def _require_connection(self) -> duckdb.DuckDBPyConnection:
        if self._closed:
            raise StoreError(f"{self.path} is closed; open it again with Store.open.")
        if self._block is None:
            check_path(self.path)  # a query on a file that is gone would make an empty one
            if self._connection is None:
                self._connection = reopen_file(self.path, read_only=self.read_only, replaced=self._replaced or ())
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
    return is_lock_error(error) and "COMMIT" not in str(error)


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
