"""Opening a store: the checks of its file, the private DuckDB that it is attached to, and its migrations."""

from __future__ import annotations

import contextlib
import os
import random
import re
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from kaizen_analytics.core.errors import StoreError, StoreMissingError
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.store import schema
from kaizen_analytics.store.cells import define_replacing
from kaizen_analytics.store.sql import ATTACHED, hide_progress_bar, native_call, quote_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import duckdb

    from kaizen_analytics.store.cells import BadCell
    from kaizen_analytics.store.sql import Parameter, Row

JournalMode = Literal["WAL", "DELETE"]
_T = TypeVar("_T")

BUSY_TIMEOUT_MS = 60_000
"""How long to wait for another program's lock; a minute lets eight writers of batches pass."""

_LOCKED = "database is locked"

# Creating a file opens and closes it, which would drop the locks of another thread that has just attached it.
_creating = threading.Lock()


class _LockedError(StoreError):
    """Another program holds the lock."""


@dataclass(frozen=True, slots=True)
class _Probe:
    """Native statements on a file that is attached, but not yet a store."""

    path: Path
    read_only: bool
    connection: duckdb.DuckDBPyConnection

    def native(self, sql: str, *parameters: Parameter) -> list[Row]:
        """Return the rows of one statement, every value as text."""
        import duckdb

        try:
            return self.connection.execute(native_call(sql, *parameters)).fetchall()
        except duckdb.Error as error:
            raise store_error(self.path, error) from error


def open_file(
    path: Path, *, create: bool, read_only: bool, ours: bool, journal_mode: JournalMode
) -> duckdb.DuckDBPyConnection:
    """Check the file of a store, bring its schema up to date, and return a DuckDB that it is attached to.

    See `Store.open` for the arguments and errors.

    >>> open_file(tmp / "new.db", create=True, read_only=False, ours=True, journal_mode="WAL").close()
    >>> check_path(tmp / "new.db")
    True
    """
    with _creating:
        if not check_path(path, create=create):
            _create(path)
    if not read_only:
        _check_writable(path)
    return wait_for_lock(lambda: _open(path, create=create, read_only=read_only, ours=ours, journal_mode=journal_mode))


def _open(
    path: Path, *, create: bool, read_only: bool, ours: bool, journal_mode: JournalMode
) -> duckdb.DuckDBPyConnection:
    connection = load_duckdb()
    try:
        if not read_only and _beside(path, "-journal").exists():
            _attach(connection, path)  # undoes what a killed writer left half done; a read-only probe cannot
            connection.execute(f"detach {ATTACHED}")
        _attach(connection, path, "read_only")
        _prepare(_Probe(path, read_only, connection), journal_mode, create=create, ours=ours)
        _lock_down(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(probe: _Probe, journal_mode: JournalMode, *, create: bool, ours: bool) -> None:
    """Look into the file, attached read-only so far; migrate it where it must be, and attach it as it was asked for."""
    _check_size(probe)
    if ours:
        schema.refuse_kaizen(probe)
    pending = schema.pending(probe, create=create)
    [(current_mode,)] = probe.native("pragma journal_mode")
    if probe.read_only and pending and not ours:
        schema.refuse_outdated(probe)
    if probe.read_only and not (pending and ours):
        return
    if probe.read_only:
        _check_writable(probe.path)  # a store of an older version is brought up to date, once
    path, connection = probe.path, probe.connection
    connection.execute(f"detach {ATTACHED}")
    if pending or current_mode != journal_mode.lower():
        _migrate(probe, journal_mode, pending)
        connection.execute(f"detach {ATTACHED}")
    _attach(connection, path, "read_only" if probe.read_only else "read_write")


def _migrate(probe: _Probe, journal_mode: JournalMode, pending: tuple[schema.Migration, ...]) -> None:
    script = schema.script(pending, now_ms=read_clock())
    try:
        # The extension hands the journal mode to SQLite as written: its only way to run native DDL.
        _attach(probe.connection, probe.path, f"journal_mode {quote_text(f'{journal_mode}; {script}')}")
    except _LockedError:
        raise
    except StoreError:
        # Another process may have made the same steps in the meantime.
        probe.connection.execute(f"detach database if exists {ATTACHED}")
        _attach(probe.connection, probe.path, "read_only")
        if schema.pending(probe, create=True):
            raise


def reopen_file(path: Path, *, read_only: bool, replaced: Iterable[BadCell]) -> duckdb.DuckDBPyConnection:
    """Return a new DuckDB that a store which was open before is attached to.

    Text in the columns of `replaced` cells is read with U+FFFD in the place of bytes that are not UTF-8.

    Raises:
        StoreError: the file is gone or cannot be attached.

    >>> reopen_file(store.path, read_only=True, replaced=[]).close()
    """
    connection = load_duckdb()
    try:
        _attach(connection, path, "read_only" if read_only else "read_write")
        _lock_down(connection)
        define_replacing(connection, replaced)
    except BaseException:
        connection.close()
        raise
    return connection


def copy_file(path: Path, target: Path) -> None:
    """Write a consistent copy of a store, also while others write to it; the copy appears whole or not at all.

    Raises:
        StoreError: `target` exists or cannot be written, or the store is missing or damaged.

    >>> copy_file(store.path, tmp / "backup.db")
    >>> check_path(tmp / "backup.db")
    True
    """
    check_path(path)
    if os.path.lexists(target):
        raise StoreError(f"{target} exists; a copy never replaces a file. Name one that does not exist.")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    _create(draft)
    connection = load_duckdb()
    try:
        # The extension hands the journal mode to SQLite as written. Without quotes, because it doubles them.
        place = "||".join(f"char({ord(character)})" for character in str(draft.absolute()))
        _attach(connection, path, "read_only", f"journal_mode {quote_text(f'WAL; vacuum into {place}')}")
        _sync(draft)
        os.link(draft, target)  # fails where another program has just put a file
        _sync(target.parent)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        connection.close()
        draft.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def look_at(path: Path) -> tuple[int, ...]:
    """Return sizes and times of a store and of its WAL: the same twice means that nobody wrote in between.

    >>> look_at(store.path) == look_at(store.path)
    True
    """
    numbers: list[int] = []
    for place in (path, _beside(path, "-wal")):
        with contextlib.suppress(FileNotFoundError):  # the last program that closes a store removes its WAL
            found = place.stat()
            numbers += (found.st_size, found.st_mtime_ns) if found.st_size else ()
    return tuple(numbers)


def check_path(path: Path, *, create: bool = False) -> bool:
    """Whether a file lies at `path`; anything else there is an error, and so is nothing without `create`.

    >>> check_path(tmp / "store.db", create=True)
    False
    """
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


def _check_size(probe: _Probe) -> None:
    """Refuse a file that is shorter than its own header says, unless the rest may still be in the WAL."""
    [(pages,)] = probe.native("pragma page_count")
    [(page_bytes,)] = probe.native("pragma page_size")
    wal = _beside(probe.path, "-wal")
    expected = int(pages or 0) * int(page_bytes or 0)
    actual = probe.path.stat().st_size
    if actual < expected and not (wal.exists() and wal.stat().st_size):
        raise StoreError(
            f"{probe.path} is truncated: {actual} bytes where its header says {expected}. "
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
    import duckdb

    extension = _extension_path()
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
    import duckdb

    # SQLite itself would wait in steps of a whole second; `wait_for_lock` does it better.
    clauses = ", ".join(["type sqlite", "busy_timeout 0", *options])
    try:
        connection.execute(f"attach {quote_text(str(path))} as {ATTACHED} ({clauses})")
        # Attaching validates nothing: the first query opens the file.
        connection.execute(native_call("select 1 from sqlite_master")).fetchall()
    except duckdb.Error as error:
        raise store_error(path, error) from error


def wait_for_lock(action: Callable[[], _T]) -> _T:
    """Repeat an action while another program's lock stops it, at growing and random intervals.

    Raises:
        StoreError: it was still locked after `BUSY_TIMEOUT_MS`.

    >>> wait_for_lock(lambda: 7)
    7
    """
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
    connection.execute(f"use {ATTACHED}")
    connection.execute("create temp macro ka_text(x) as x")
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


def store_error(path: Path, error: Exception) -> StoreError:
    """Return an error of DuckDB as one that says what to do.

    >>> print(store_error(Path("a.db"), ValueError("disk is full")))
    a.db: disk is full. Nothing of this step was stored. Make room, and try again.
    """
    text = first_line(error)
    hint = next((hint for part, hint in _HINTS.items() if part in text), "")
    kind = _LockedError if _LOCKED in text else StoreError
    return kind(f"{path}: {text}. {hint}".rstrip())


def is_lock_error(error: Exception) -> bool:
    """Whether another program's lock stopped a statement.

    >>> is_lock_error(ValueError("database is locked"))
    True
    """
    return _LOCKED in str(error)


def first_line(error: Exception) -> str:
    """Return the first line of an error of DuckDB, without the query.

    >>> first_line(ValueError("no such column: a."))
    'no such column: a'
    """
    text = re.sub(r'Failed to \w+ query ".*": ', "", str(error), flags=re.DOTALL)
    return text.split("\n", 1)[0].rstrip(".")
