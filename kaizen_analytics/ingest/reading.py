"""From a source on disk to parsed records: the only place where transcripts are opened.

A `Work` is one file's part in a run: what was read, from where to where, and the parser that holds the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kaizen_analytics.ingest import claude_code, codex, cursor, cursor_text
from kaizen_analytics.ingest.checkpoints import SLICE_BYTES, Checkpoint, feed_lines, grown_from, open_source
from kaizen_analytics.ingest.ownership import hash_record
from kaizen_analytics.ingest.records import Agent, Json, Parsed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, BinaryIO

    from kaizen_analytics.ingest.discover import Source
    from kaizen_analytics.ingest.records import Event, Reject


class Readable(Protocol):
    """What every parser offers once its lines were read."""

    parsed: Parsed

    @property
    def session_id(self) -> str: ...

    @property
    def parent_session_id(self) -> str | None: ...

    @property
    def last_ms(self) -> int: ...


@dataclass(slots=True)
class Work:
    """What was read of one file. `path` names it in the store; `start` is 0 unless the file only grew."""

    path: str
    agent: Agent
    size_bytes: int
    mtime_ns: int
    row: Checkpoint | None
    parser: Readable
    start: int
    end: int
    prefix_hash: str
    more: bool = False
    name: str | None = None
    """The session that these rows are stored as; None: this file is a copy, or its session is foreign."""
    foreign: bool = False
    outside: str | None = None
    """The one workspace that was asked for, where this file belongs to another."""
    shared: bool = False
    records: tuple[int | None, ...] = ()
    """The hash of each event's key, in the order of `parser.parsed.events`."""

    def __post_init__(self) -> None:
        self.records = tuple(None if event.key is None else hash_record(event.key) for event in self.events)
        self.shared = self.row is not None and self.row.shared

    @classmethod
    def of_database(cls, source: Source, row: Checkpoint | None, rejects: list[Reject]) -> Work:
        """Return the marker that a database was read; its conversations are works of their own."""
        marker = cursor.Parser("", file_ms=source.mtime_ns // 1_000_000)
        marker.parsed.rejects.extend(rejects)
        marker.parsed.n_lines = len(rejects)
        return cls(
            str(source.path), source.agent, source.size_bytes, source.mtime_ns, row, marker,
            start=0, end=0, prefix_hash="",
        )  # fmt: skip

    def leave_out(self, workspace: str) -> None:
        """Forget what was read: only sessions of `workspace` are wanted."""
        self.parser.parsed = Parsed()
        self.records, self.outside, self.end, self.prefix_hash = (), workspace, 0, ""

    @property
    def events(self) -> list[Event]:
        """The events that were read."""
        return self.parser.parsed.events

    @property
    def appended(self) -> bool:
        """Whether these events follow others of the same file that are stored already."""
        return self.start > 0

    @property
    def session_id(self) -> str:
        """The session's natural id."""
        return self.parser.session_id

    @property
    def state(self) -> Json:
        """The parser's state, empty for parsers that always read whole files."""
        state: Json = getattr(self.parser, "state", {})
        return state

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the session's instructions, where the agent records them."""
        fingerprint: str | None = getattr(self.parser, "prompt_fingerprint", None)
        return fingerprint


def read_source(source: Source, row: Checkpoint | None, *, whole: bool = False, limit: int = SLICE_BYTES) -> Work:
    """Read what is new in a transcript, or all of it where it was rewritten, is new, or `whole` is asked for.

    Raises:
        OSError: the file is gone or may not be read.
    """
    with open_source(source) as handle:
        crc = None
        if not whole and row is not None and _may_continue(source, row):
            crc = grown_from(handle, row)
        start = row.read_bytes if crc is not None and row is not None else 0
        parser = _parser(source, row.state if row is not None and start else None)
        work = _read(source, row, parser, handle, start, crc or 0, limit)
    if start and getattr(parser, "changes_the_past", False):
        return read_source(source, row, whole=True, limit=source.size_bytes)
    return work


def _may_continue(source: Source, row: Checkpoint) -> bool:
    # A file that shares records is read as a whole: its share may change with its last timestamp.
    plain = source.agent is not Agent.CURSOR and not row.shared and not row.foreign and not row.tally.get("copy")
    return plain and not source.is_read_whole and 0 < row.read_bytes <= source.size_bytes


def _read(
    source: Source,
    row: Checkpoint | None,
    parser: claude_code.Parser | codex.Parser | cursor.Parser,
    handle: BinaryIO,
    start: int,
    crc: int,
    limit: int,
) -> Work:
    if not source.is_read_whole:
        handle.seek(start)
    size = None if source.is_read_whole else source.size_bytes
    reading = feed_lines(parser, handle, start=start, size=size, crc=crc, limit=limit)
    if isinstance(parser, cursor.Parser):
        parser.finish()
    return Work(
        str(source.path), source.agent, source.size_bytes, source.mtime_ns, row, parser,
        start=start, end=reading.end, prefix_hash=reading.prefix_hash, more=reading.more,
    )  # fmt: skip


def _parser(source: Source, state: Mapping[str, Any] | None) -> claude_code.Parser | codex.Parser | cursor.Parser:
    stem = source.stem
    if source.agent is Agent.CLAUDE_CODE:
        return claude_code.Parser(stem, state)
    if source.agent is Agent.CODEX:
        return codex.Parser(stem, state)
    parts = source.path.parts
    at = parts.index("agent-transcripts")
    parent = parts[-3] if parts[-2] == "subagents" and len(parts) - 3 > at else None
    parser = cursor_text.Parser if source.is_text else cursor.Parser
    return parser(stem, file_ms=source.mtime_ns // 1_000_000, slug=parts[at - 1], parent=parent)
