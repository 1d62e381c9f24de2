"""Reads the conversations of a Cursor `state.vscdb`, a SQLite file that Cursor may be writing to.

The file is attached read-only to a DuckDB of its own. Only the keys of conversations are asked for; keys under
`cursorAuth/` are never read.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import orjson

from kaizen_analytics.errors import IngestError
from kaizen_analytics.ingest.cursor import Composer
from kaizen_analytics.ingest.reading import Work
from kaizen_analytics.ingest.records import LINE_CAP_BYTES, Agent, Json, Malformed, Reason, Reject, decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import duckdb

    from kaizen_analytics.ingest.checkpoints import Checkpoint
    from kaizen_analytics.ingest.discover import Source

_MAGIC = b"SQLite format 3\0"


def read_database(source: Source, rows: Mapping[str, Checkpoint]) -> tuple[list[Work], list[Reject]]:
    """Return the conversations of a database that changed since they were last read, and what could not be read.

    Raises:
        IngestError: the file is not a SQLite database, or cannot be opened.
    """
    with source.path.open("rb") as handle:
        magic = handle.read(16)
    if magic != _MAGIC:
        if not magic:
            return [], []
        raise IngestError(f"{source.path} is not a SQLite database; expected one that Cursor wrote.")
    works: list[Work] = []
    rejects: list[Reject] = []
    workspace = _workspace(source.path)
    with _attached(source.path) as connection:
        for position, (text, bubbles) in enumerate(_conversations(connection), start=1):
            path = f"{source.path}#{_name(text)}"
            content = hashlib.blake2b(text.encode(), digest_size=16)
            for bubble in bubbles:
                content.update(bubble.encode())
            row = rows.get(path)
            if row is not None and row.prefix_hash == content.hexdigest():
                continue
            try:
                composer = _composer(text, bubbles, source, workspace)
            except Malformed as malformed:
                rejects.append(Reject(position, 0, malformed.reason, malformed.detail))
                continue
            size = len(text)
            work = Work(path, Agent.CURSOR, size, 0, row, composer, start=0, end=size, prefix_hash=content.hexdigest())
            works.append(work)
    return works, rejects


def _attached(path: Path) -> duckdb.DuckDBPyConnection:
    import duckdb

    from kaizen_analytics.store.connection import extension_path, quote_text

    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    try:
        extension = extension_path()
        connection.execute("load sqlite" if extension is None else f"load {quote_text(str(extension))}")
        connection.execute("set enable_progress_bar = false")
        connection.execute(f"attach {quote_text(str(path))} as k (type sqlite, read_only, busy_timeout 5000)")
        _query(connection, "select 1 from sqlite_master")
    except duckdb.Error as error:
        connection.close()
        raise IngestError(
            f"{path} cannot be read: {str(error).splitlines()[0]}. Close Cursor and try again."
        ) from error
    return connection


def _query(connection: duckdb.DuckDBPyConnection, sql: str, *parameters: str) -> list[tuple[str, ...]]:
    names = ", ".join(f"cast($p{index} as varchar)" for index in range(len(parameters)))
    given = f", params=row({names})" if parameters else ""
    values = {f"p{index}": value for index, value in enumerate(parameters)}
    return connection.execute(f"select * from sqlite_query('k', $sql{given})", {"sql": sql, **values}).fetchall()


def _conversations(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, list[str]]]:
    """Yield each composer's JSON text and, from newer databases, those of its bubbles."""
    tables = {name for (name,) in _query(connection, "select name from sqlite_master where type = 'table'")}
    cap = str(LINE_CAP_BYTES)
    if "ItemTable" in tables:
        for (text,) in _query(
            connection,
            "select cast(value as text) from ItemTable where key = 'composer.composerData'"
            " and length(value) <= cast(? as integer)",
            cap,
        ):
            for composer in _composers(text):
                yield composer, []
    if "cursorDiskKV" not in tables:
        return
    keys = _query(connection, "select key from cursorDiskKV where key >= 'composerData:' and key < 'composerData;'")
    for (key,) in keys:
        session = key.removeprefix("composerData:")
        texts = _query(
            connection,
            "select cast(value as text) from cursorDiskKV where key = ? and length(value) <= cast(? as integer)",
            key,
            cap,
        )
        for (text,) in texts:
            if text:
                yield text, [bubble for (bubble,) in _bubbles(connection, session) if bubble]


def _bubbles(connection: duckdb.DuckDBPyConnection, session: str) -> list[tuple[str, ...]]:
    return _query(
        connection,
        "select cast(value as text) from cursorDiskKV where key >= ? and key < ?"
        f" and length(value) <= {LINE_CAP_BYTES} order by key",
        f"bubbleId:{session}:",
        f"bubbleId:{session};",
    )


def _composers(text: str | None) -> list[str]:
    documents, _ = decode((text or "{}").encode("utf-8", "replace"))
    listed = documents[0].get("allComposers") if documents else None
    kept = [item for item in listed if type(item) is dict and item.get("conversation")] if type(listed) is list else []
    return [orjson.dumps(item).decode() for item in kept]


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
    return Composer(documents[0], by_id, file_ms=source.mtime_ns // 1_000_000, workspace=workspace)


def _workspace(database: Path) -> str | None:
    """Return the folder that a workspace database belongs to, from the file beside it."""
    try:
        documents, _ = decode((database.parent / "workspace.json").read_bytes())
    except OSError:
        return None
    folder = documents[0].get("folder") if documents else None
    if type(folder) is not str or not folder.startswith("file://"):
        return None
    return unquote(urlsplit(folder).path)
