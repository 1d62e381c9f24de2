"""How far each transcript was read: byte offset, hash of everything before it, and the parser's state.

A file that only grew is read from its offset on. A file that shrank, or whose beginning no longer hashes to the same
value, was rewritten and is read again from its start.
"""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import orjson

from kaizen_analytics.ingest.records import LINE_CAP_BYTES, decode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kaizen_analytics.ingest.discover import Source
    from kaizen_analytics.store import Store

PARSER_VERSION = 3
"""Raise it when a parser reads the same bytes differently: every file is then read again."""

SLICE_BYTES = 64 * 1024 * 1024
"""At most this much of one file is read before its rows are written, so that memory does not follow file size."""

_CHUNK_BYTES = 4 * 1024 * 1024

_COLUMNS = (
    "id, path, agent, session_id, stored_as, size_bytes, mtime_ns, read_bytes, prefix_hash, parser, last_ms, shared, "
    "n_foreign, n_lines, rejects, state, tally"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One row of `ka_files`.

    `stored_as` is the session whose rows come from this file, or None where it has none of its own: a copy, a file
    of another workspace, or a session that another tool wrote.
    """

    id: int
    path: str
    agent: str
    session_id: str
    stored_as: str | None
    size_bytes: int
    mtime_ns: int
    read_bytes: int
    prefix_hash: str
    parser: int
    last_ms: int
    shared: bool
    foreign: bool
    n_lines: int
    rejects: dict[str, int]
    state: dict[str, Any]
    tally: dict[str, Any]

    def is_current(self, source: Source) -> bool:
        """Whether the file looks as it did when it was last read, by size and time alone."""
        seen = (self.size_bytes, self.mtime_ns, self.parser)
        return seen == (source.size_bytes, source.mtime_ns, PARSER_VERSION)


class Feedable(Protocol):
    """What reading needs of a parser."""

    def feed(self, offset: int, line: bytes) -> None: ...

    def skip(self, offset: int) -> None: ...


def load_checkpoints(store: Store) -> dict[str, Checkpoint]:
    """Return all checkpoints of a store, by path."""
    return {row.path: row for row in _read(store.native(f"select {_COLUMNS} from ka_files"))}


def find_checkpoints(store: Store, *, paths: Iterable[str] = (), session_ids: Iterable[str] = ()) -> list[Checkpoint]:
    """Return the checkpoints of some paths and of every file that holds one of some sessions."""
    return _read(
        store.native(
            f"select {_COLUMNS} from ka_files where path in (select value from json_each(?))"
            " or session_id in (select value from json_each(?))",
            orjson.dumps(list(paths)).decode(),
            orjson.dumps(list(session_ids)).decode(),
        )
    )


def _read(rows: list[tuple[str | None, ...]]) -> list[Checkpoint]:
    return [
        Checkpoint(
            id=int(row[0] or 0), path=row[1] or "", agent=row[2] or "", session_id=row[3] or "", stored_as=row[4],
            size_bytes=int(row[5] or 0), mtime_ns=int(row[6] or 0), read_bytes=int(row[7] or 0),
            prefix_hash=row[8] or "", parser=int(row[9] or 0), last_ms=int(row[10] or 0), shared=row[11] == "1",
            foreign=row[12] == "1", n_lines=int(row[13] or 0), rejects=orjson.loads(row[14] or "{}"),
            state=orjson.loads(row[15] or "{}"), tally=json.loads(row[16] or "{}"),
        )
        for row in rows
    ]  # fmt: skip


def save_checkpoints(store: Store, rows: Iterable[Checkpoint]) -> None:
    """Insert or update checkpoints, inside a `Store.write` block."""
    values = [
        [
            row.id, row.path, row.agent, row.session_id, row.stored_as, row.size_bytes, row.mtime_ns, row.read_bytes,
            row.prefix_hash, row.parser, row.last_ms, int(row.shared), int(row.foreign), row.n_lines,
            orjson.dumps(row.rejects).decode(), orjson.dumps(row.state).decode(), json.dumps(row.tally),
        ]
        for row in rows
    ]  # fmt: skip
    picks = ", ".join(f"value->>{index}" for index in range(17))
    store.native(
        f"insert or replace into ka_files ({_COLUMNS}) select {picks} from json_each(?) where true returning id",
        orjson.dumps(values).decode(),
    )


def grown_from(handle: BinaryIO, row: Checkpoint) -> int | None:
    """Return the CRC of what was read before, to be continued, or None where the file was rewritten since."""
    crc, left = 0, row.read_bytes
    while left:
        chunk = handle.read(min(_CHUNK_BYTES, left))
        if not chunk:
            return None
        crc = zlib.crc32(chunk, crc)
        left -= len(chunk)
    return crc if hash_text(crc) == row.prefix_hash else None


def hash_text(crc: int) -> str:
    """Return a CRC-32 as the text that a checkpoint keeps.

    Nobody forges a transcript to hide a change from its own reader, so a cryptographic hash would buy nothing, and it
    would cost as much as parsing.
    """
    return f"{crc:08x}"


@dataclass(slots=True)
class Reading:
    """Where a reading ended: `end` bytes are understood and hashed; `more` says that the file goes on."""

    end: int
    prefix_hash: str
    more: bool


def feed_lines(
    parser: Feedable,
    handle: BinaryIO,
    *,
    start: int,
    size: int | None,
    crc: int = 0,
    limit: int = SLICE_BYTES,
) -> Reading:
    """Feed the complete lines between `start` and `size` to a parser, at most about `limit` bytes of them.

    Without a `size` the whole stream is read, whatever the limit.

    A last line without a line end is taken if it is a whole JSON object, and otherwise left for the next reading: its
    writer may not be done. A line over the cap is counted and skipped.
    """
    position = line_start = start
    carry, overlong = b"", False
    running = settled = crc  # of every byte read; `settled` ends with the last complete line
    while size is None or (position < size and (position - start < limit or line_start == start)):
        chunk = handle.read(_CHUNK_BYTES if size is None else min(_CHUNK_BYTES, size - position))
        if not chunk:
            break
        begin = 0
        while (end := chunk.find(b"\n", begin)) >= 0:
            line = carry + chunk[begin:end] if carry else chunk[begin:end]
            if overlong or len(line) > LINE_CAP_BYTES:
                parser.skip(line_start)
            elif line and not line.isspace():
                parser.feed(line_start, line)
            carry, overlong = b"", False
            begin = end + 1
            line_start = position + begin
        if begin:
            running = settled = zlib.crc32(memoryview(chunk)[:begin], running)
        running = zlib.crc32(memoryview(chunk)[begin:], running)
        carry += chunk[begin:]
        if len(carry) > LINE_CAP_BYTES:
            carry, overlong = b"", True  # its end is still to be found
        position += len(chunk)
    size = position if size is None else size
    if carry and position >= size and not overlong and _is_whole(carry):
        parser.feed(line_start, carry)
        line_start, settled = position, running
    return Reading(line_start, hash_text(settled), more=position < size)


def _is_whole(line: bytes) -> bool:
    documents, broken = decode(line)
    return bool(documents) and broken is None


def open_source(source: Source) -> BinaryIO:
    """Open a transcript for reading, line by line; one that is read as a whole cannot be sought in.

    Raises:
        OSError: the file is gone or may not be read; reading raises it where a compressed file is damaged.
    """
    if source.is_document and source.size_bytes <= LINE_CAP_BYTES:
        return io.BytesIO(_lines_of(source.path.read_bytes()))
    if source.is_text:
        # Its last line needs no end: the whole file is read again when it grows.
        return io.BytesIO(source.path.read_bytes() + b"\n")
    if not source.is_compressed:
        return source.path.open("rb", buffering=0)
    import pyarrow as pa  # a third of a second, for these files only

    stream: BinaryIO = pa.input_stream(str(source.path), compression="zstd")
    return stream


def _lines_of(content: bytes) -> bytes:
    """Return a session that is one document as its facts and its items, a line each; anything else as one line."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        document = None
    session = document.get("session") if type(document) is dict else None
    items = document.get("items") if type(document) is dict else None
    if type(session) is not dict or type(items) is not list:
        return b" ".join(content.split(b"\n")) + b"\n"
    return b"\n".join(orjson.dumps(record) for record in (session, *items)) + b"\n"
