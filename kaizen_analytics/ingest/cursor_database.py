"""Reads the conversations of Cursor's databases, SQLite files that Cursor may be writing to.

A `state.vscdb` holds the conversations of the window, a `store.db` one session of the command line. Nothing is ever
created beside them: SQLite keeps a log beside some databases even to read them, so those are copied first. Only the
keys of conversations are asked for; keys under `cursorAuth/` are never read.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from kaizen_analytics.core.errors import IngestError
from kaizen_analytics.core.folders import normalise_folder
from kaizen_analytics.ingest.checkpoints import PARSER_VERSION, Checkpoint
from kaizen_analytics.ingest.cursor import Chat, Composer
from kaizen_analytics.ingest.discover import CHAT_NAME, DATABASE_NAME, Source
from kaizen_analytics.ingest.reading import Work
from kaizen_analytics.ingest.records import LINE_CAP_BYTES, Agent, Json, Malformed, Reason, Reject, decode
from kaizen_analytics.store.connection import load_duckdb
from kaizen_analytics.store.sql import quote_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import duckdb

_MAGIC = b"SQLite format 3\0"
_LOGS = ("-wal", "-journal")
_TEXT_OR_COMMENT = re.compile(rb'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TEXT_OR_COMMA = re.compile(rb'("(?:[^"\\]|\\.)*")|,(?=\s*[\]}])')
"""People may write comments and a last comma into a list of folders."""


def read_database(
    source: Source, rows: Mapping[str, Checkpoint], *, only: str | None = None
) -> tuple[list[Work], list[Reject]]:
    """Return the conversations of a database, or the one that is called `only`, and what could not be read.

    A conversation that was stored and is gone from the database is one without events.

    Raises:
        IngestError: the file is not a SQLite database, or cannot be read.

    >>> (tmp / "store.db").touch()
    >>> read_database(Source(tmp / "store.db", Agent.CURSOR, 0, 0), {})  # neither conversations nor rejects
    ([], [])
    """
    with source.path.open("rb") as handle:
        magic = handle.read(16)
    if magic and magic != _MAGIC:
        raise IngestError(f"{source.path} is not a SQLite database; expected one that Cursor wrote.")
    log = source.path.with_name(source.path.name + _LOGS[0])
    if not magic and log.exists() and log.stat().st_size:
        raise IngestError(f"{source.path} is empty, but has a log; expected a copy of both from one moment.")
    works: list[Work] = []
    rejects: list[Reject] = []
    if magic:
        with _opened(source.path) as connection:
            if source.path.name == CHAT_NAME:
                works, rejects = _read_chat(connection, source, rows)
            else:
                works, rejects = _read_state(connection, source, rows, only)
    if only is None and not rejects:
        there = {work.path for work in works}
        gone = [row for path, row in rows.items() if path.startswith(f"{source.path}#") and path not in there]
        works += [Work.of_lost(source, row) for row in gone if row.stored_as]
    return works, rejects


@contextmanager
def _opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database as it is now, in place or as a copy with its logs.

    Raises:
        IngestError: it cannot be opened, or a query fails.
    """
    import _duckdb as duckdb

    try:
        if not _needs_copy(path):
            with _attached(path) as connection:
                yield connection
            return
        with tempfile.TemporaryDirectory(prefix="kaizen-") as folder:
            for suffix in ("", *_LOGS):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    shutil.copyfile(part, Path(folder) / part.name)
            with _attached(Path(folder) / path.name) as connection:
                yield connection
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise IngestError(f"{path} cannot be read: {reason}. Close Cursor and try again.") from error


def _needs_copy(path: Path) -> bool:
    with path.open("rb") as handle:
        header = handle.read(20)
    keeps_log = header[18:20] != b"\x01\x01"  # a database in write-ahead mode gets a log with its first reader
    return keeps_log or any(path.with_name(path.name + log).exists() for log in _LOGS)


@contextmanager
def _attached(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with load_duckdb() as connection:
        connection.execute(f"attach {quote_text(str(path))} as k (type sqlite, read_only, busy_timeout 5000)")
        yield connection


def _query(connection: duckdb.DuckDBPyConnection, sql: str, *parameters: str) -> list[tuple[str, ...]]:
    names = ", ".join(f"cast($p{index} as varchar)" for index in range(len(parameters)))
    given = f", params=row({names})" if parameters else ""
    values = {f"p{index}": value for index, value in enumerate(parameters)}
    return connection.execute(f"select * from sqlite_query('k', $sql{given})", {"sql": sql, **values}).fetchall()


def _texts(connection: duckdb.DuckDBPyConnection, sql: str, *parameters: str) -> list[str]:
    """Return a column that was asked for as hexadecimal digits, so that a byte that is no text spoils nothing else."""
    return [_text(cell) for (cell,) in _query(connection, sql, *parameters) if cell]


def _text(cell: str) -> str:
    return bytes.fromhex(cell).decode(errors="replace")


def _cells(
    connection: duckdb.DuckDBPyConnection, long: list[str], table: str, *parameters: str
) -> list[tuple[str, ...]]:
    """Return keys and values as hexadecimal digits; cells that are too long to be read are named in `long`."""
    shown = f"select hex(key), iif(length(value) > {LINE_CAP_BYTES}, null, hex(value))"
    cells = _query(connection, f"{shown} from {table}", *parameters)
    long += [_text(key) for key, value in cells if value is None]
    return [cell for cell in cells if cell[1]]


def _values(connection: duckdb.DuckDBPyConnection, long: list[str], where: str, *parameters: str) -> list[str]:
    return [_text(value) for _, value in _cells(connection, long, where, *parameters)]


def _read_state(
    connection: duckdb.DuckDBPyConnection, source: Source, rows: Mapping[str, Checkpoint], only: str | None
) -> tuple[list[Work], list[Reject]]:
    works: list[Work] = []
    rejects: list[Reject] = []
    long: list[str] = []
    folders = _folders(connection, source.path, long)
    own = _folder_of(source.path.parent)
    position = 0
    for position, (text, bubbles) in enumerate(_conversations(connection, long), start=1):
        name = _name(text)
        path = f"{source.path}#{name}"
        if only not in (None, path):
            continue
        content = hashlib.blake2b(text.encode(), digest_size=16)
        for bubble in bubbles:
            content.update(bubble.encode())
        row = rows.get(path)
        try:
            composer = _composer(text, bubbles, source, own or folders.get(name))
        except Malformed as malformed:
            rejects.append(Reject(position, 0, malformed.reason, malformed.detail))
            continue
        replaces = row is not None and row.parser != PARSER_VERSION
        size = len(text)
        works.append(Work(path, Agent.CURSOR, size, 0, row, composer, size, content.hexdigest(), replaces=replaces))
    return works, [*rejects, *_reject_long(long, position)]


def _reject_long(keys: Iterable[str], last: int) -> list[Reject]:
    return [Reject(number, 0, Reason.TOO_LONG, key) for number, key in enumerate(keys, start=last + 1)]


def _read_chat(
    connection: duckdb.DuckDBPyConnection, source: Source, rows: Mapping[str, Checkpoint]
) -> tuple[list[Work], list[Reject]]:
    if not {"meta", "blobs"} <= _tables(connection):
        return [], [Reject(1, 0, Reason.WRONG_TYPE, "meta, blobs")]
    long: list[str] = []
    nodes = _cells(connection, long, "(select id as key, data as value from blobs)")
    blobs = {_text(name): bytes.fromhex(data) for name, data in nodes}
    meta = "".join(_texts(connection, "select hex(value) from meta where key = '0'"))
    beside = _read_json(source.path.with_name("meta.json"))
    try:
        chat = Chat(meta, beside, blobs, stem=source.path.parent.name, file_ms=source.mtime_ms)
    except Malformed as malformed:
        return [], [Reject(1, 0, malformed.reason, malformed.detail)]
    path = f"{source.path}#{chat.session_id}"
    row = rows.get(path)
    digest = hashlib.blake2b(meta.encode() + str(len(blobs)).encode(), digest_size=16).hexdigest()
    replaces = row is not None and row.parser != PARSER_VERSION
    work = Work(path, Agent.CURSOR, source.size_bytes, 0, row, chat, source.size_bytes, digest, replaces=replaces)
    return [work], _reject_long(long, 0)


def _tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return set(_texts(connection, "select hex(name) from sqlite_master where type = 'table'"))


def _conversations(connection: duckdb.DuckDBPyConnection, long: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each composer's JSON text and, from newer databases, those of its bubbles."""
    tables = _tables(connection)
    if "ItemTable" in tables:
        for text in _composer_lists(connection, long):
            for composer in _composers(text):
                yield composer, []
    if "cursorDiskKV" not in tables:
        return
    keys = "select hex(key) from cursorDiskKV where key >= 'composerData:' and key < 'composerData;'"
    for key in _texts(connection, keys):
        session = key.removeprefix("composerData:")
        for text in _values(connection, long, "cursorDiskKV where key = ?", key):
            bubbles = "cursorDiskKV where key >= ? and key < ? order by key"
            yield text, _values(connection, long, bubbles, f"bubbleId:{session}:", f"bubbleId:{session};")


def _composer_lists(
    connection: duckdb.DuckDBPyConnection, long: list[str], key: str = "composer.composerData"
) -> list[str]:
    return _values(connection, long, "ItemTable where key = ?", key)


def _listed(text: str) -> list[Json]:
    documents, _ = decode(text.encode("utf-8", "replace"))
    listed = documents[0].get("allComposers", documents) if documents else None
    return [item for item in listed if type(item) is dict] if type(listed) is list else []


def _composers(text: str) -> list[str]:
    return [orjson.dumps(item).decode() for item in _listed(text) if item.get("conversation")]


def _name(text: str) -> str:
    documents, _ = decode(text.encode("utf-8", "replace"))
    return (
        str(documents[0].get("composerId")) if documents else hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    )


def _composer(text: str, bubbles: list[str], source: Source, workspace: str | None) -> Composer:
    documents, broken = decode(text.encode("utf-8", "replace"))
    if broken is not None or not documents:
        raise Malformed(broken or Reason.NOT_JSON, "composerData")
    by_id: dict[str, Json] = {}
    for bubble in bubbles:
        found, _ = decode(bubble.encode("utf-8", "replace"))
        if found and type(found[0].get("bubbleId")) is str:
            by_id[found[0]["bubbleId"]] = found[0]
    told = _folder_told(documents[0]) or workspace
    return Composer(documents[0], by_id, file_ms=source.mtime_ms, workspace=told)


def _folders(connection: duckdb.DuckDBPyConnection, database: Path, long: list[str]) -> dict[str, str]:
    """Return the folder of each conversation in the global database.

    From Cursor 3 on, it lists them itself, first under a key and then in a table. Before, the database of each
    workspace lists which are its.
    """
    tables = _tables(connection)
    headers = "(select 'composerHeaders' as key, value from composerHeaders)"
    own = _values(connection, long, headers) if "composerHeaders" in tables else []
    own += _composer_lists(connection, long, "composer.composerHeaders") if "ItemTable" in tables else []
    told = [item for text in own for item in _listed(text)]
    found = {_told(item, "composerId"): folder for item in told if (folder := _folder_told(item))}
    for listing in sorted(database.parent.parent.glob(f"workspaceStorage/*/{DATABASE_NAME}")):
        folder = _folder_of(listing.parent)
        if folder is None:
            continue
        try:
            with _opened(listing) as other:
                texts = _composer_lists(other, []) if "ItemTable" in _tables(other) else []
        except (IngestError, OSError):
            continue  # it is a source of its own, and named as one that cannot be read
        for item in (item for text in texts for item in _listed(text)):
            found.setdefault(_told(item, "composerId"), folder)
    return found


def _told(record: Json, *names: str) -> str:
    """Return the text at the end of a path of names; empty where there is none."""
    value: object = record
    for name in names:
        value = value.get(name) if type(value) is dict else None
    return value if type(value) is str else ""


def _folder_told(composer: Json) -> str | None:
    """Return the folder that a conversation itself names."""
    for name in ("uri", "configPath"):
        for form in ("fsPath", "path", "external"):
            if place := _told(composer, "workspaceIdentifier", name, form):
                return normalise_folder(place) if name == "uri" else _first_folder(place)
    return None


def _folder_of(storage: Path) -> str | None:
    """Return the folder that a workspace's storage belongs to, from the file in it."""
    told = _read_json(storage / "workspace.json")
    if folder := _told(told, "folder"):
        return normalise_folder(folder)
    listing = _told(told, "workspace") or _told(told, "configuration")
    return _first_folder(listing) if listing else None


def _first_folder(listing: str) -> str:
    """Return the first folder that a file lists: several are open together. Without a list, that of the file."""
    file = Path(normalise_folder(listing))
    folders = _read_json(file).get("folders")
    first = folders[0] if type(folders) is list and folders and type(folders[0]) is dict else {}
    named = normalise_folder(_told(first, "uri") or _told(first, "path"))
    is_whole = named.startswith("/") or named[1:2] == ":"
    return named if is_whole else posixpath.normpath(posixpath.join(str(file.parent), named))


def _read_json(path: Path) -> Json:
    try:
        content = path.read_bytes()
    except (OSError, ValueError):
        return {}  # ValueError: a name that no file system takes
    for pattern in (_TEXT_OR_COMMENT, _TEXT_OR_COMMA):
        content = pattern.sub(lambda found: found[1] or b"", content)
    documents, _ = decode(content)
    return documents[0] if documents else {}
