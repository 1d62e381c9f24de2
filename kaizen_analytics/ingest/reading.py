"""From a source on disk to parsed records: the only place where transcripts are opened.

A `Work` is one file's part in a run: the parser that holds what was read, and how the file looked. A file is always
read as a whole.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import orjson

from kaizen_analytics.ingest import claude_code, codex, cursor
from kaizen_analytics.ingest.checkpoints import PARSER_VERSION, Checkpoint
from kaizen_analytics.ingest.records import (
    LINE_CAP_BYTES,
    Agent,
    Event,
    Json,
    Kind,
    RecordStanding,
    Tokens,
    decode,
    name_within,
)
from kaizen_analytics.ingest.rows import NOT_IN_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kaizen_analytics.ingest.discover import Source
    from kaizen_analytics.ingest.records import LineParser, Reject

_CHUNK_BYTES = 128 * 1024
"""Larger pieces are slower: the system hands out new memory for each."""

FAULTS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What a mistake of this program raises on a record that nobody foresaw: it must not cost the other files."""

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""What text begins with that a Windows shell wrote into a file."""


@dataclass(slots=True)
class Work:
    """What was read of one file. `path` names it in the store; `end` bytes of it were understood."""

    path: str
    agent: Agent
    size_bytes: int
    mtime_ns: int
    row: Checkpoint | None
    parser: LineParser
    end: int
    prefix_hash: str
    replaces: bool = False
    """Whether all rows of the file give way: a newer parser reads the same beginning otherwise."""
    booked: bool = False
    records: tuple[int, ...] = ()
    """The hash of each event's key, in the order of `parser.parsed.events`."""

    def __post_init__(self) -> None:
        _identify_events(self.parser.session_id, self.events, timed=self.agent is not Agent.CURSOR)
        self.records = _hash_records([event.key or "" for event in self.events])
        for event in self.events:
            event.key = None  # its hash is enough; a long session has hundreds of thousands

    @classmethod
    def of_database(cls, source: Source, row: Checkpoint | None, rejects: list[Reject]) -> Work:
        """Return the marker that a database was read; its conversations are works of their own."""
        marker = cursor.CursorParser("", file_ms=source.mtime_ms)
        marker.parsed.rejects.extend(rejects)
        marker.parsed.n_lines = len(rejects)
        return cls(
            str(source.path), source.agent, source.size_bytes, source.mtime_ns, row, marker, end=0, prefix_hash=""
        )

    @classmethod
    def of_lost(cls, source: Source, row: Checkpoint) -> Work:
        """Return a conversation that its database lost; what is stored of it stays."""
        nothing = cursor.CursorParser(row.session_id, file_ms=source.mtime_ms)
        return cls(row.path, source.agent, 0, 0, row, nothing, end=0, prefix_hash="")

    @property
    def events(self) -> list[Event]:
        """The events that were read."""
        return self.parser.parsed.events

    @property
    def session_id(self) -> str:
        """The session that the file is a part of; a file that was emptied stays a part of the one it was."""
        if not self.events and self.row is not None and self.row.session_id:
            return self.row.session_id
        return self.parser.session_id

    @property
    def is_known(self) -> bool:
        """Whether the very same bytes were read before, by the same parser."""
        row = self.row
        if row is None or row.parser != PARSER_VERSION or "outside" in row.tally:
            return False
        return (row.read_bytes, row.prefix_hash, row.session_id) == (self.end, self.prefix_hash, self.session_id)

    @property
    def state(self) -> Json:
        """What the checkpoint keeps for the summary, for totals, and for the owners of records."""
        kinds = self.parser.unknown_kinds
        state: Json = {"unknown_kinds": kinds} if kinds else {}
        state |= {"has_totals": True} if self.parser.parsed.totals else {}
        born_ms = self.parser.born_ms
        copied = born_ms is not None and any(event.standing is RecordStanding.COPIED for event in self.events)
        return state | ({"born_ms": born_ms} if copied else {})

    def _booking(self, model: str) -> str:
        return f"{self.session_id}:totals:{model}"

    @property
    def booked_records(self) -> set[int]:
        """The hashes under which `book` adds events, also of those that it does not add any more."""
        models = {_plain(name) for total in self.parser.parsed.totals for name in total.models}
        return set(_hash_records(map(self._booking, models)))

    @property
    def copied_record(self) -> int | None:
        """The last record that a fork with a total of its own took over from its parent."""
        if not self.parser.parsed.totals:
            return None
        copies = zip(self.records, self.events, strict=False)
        return next((one for one, event in reversed(list(copies)) if event.standing is not RecordStanding.WROTE), None)

    def book(self, lost: Iterable[Event], children: Iterable[tuple[str | None, Tokens]], parent: Work | None) -> None:
        """Add what the session's own total holds beyond its messages and those of its sub-agents, by model.

        `lost` are messages that the file held when it was read before.
        The total of a fork begins with what its parent's was when the fork was made. Where that is not known, what the
        parent held beyond messages cannot be told apart, and nothing is added.
        """
        if self.booked or not self.parser.parsed.totals:
            return
        totals, before = self.parser.parsed.totals[-1], None
        own = [event for event in self.events[: totals.n_events] if event.standing is RecordStanding.WROTE]
        own += [event for event in lost if event.ts_ms <= totals.at_ms and NOT_IN_MESSAGES not in event.payload]
        if self.copied_record is not None:
            if parent is not None and own:
                forked_ms = min(event.ts_ms for event in own)
                ended = [total for total in parent.parser.parsed.totals if total.at_ms <= forked_ms]
                before = ended[-1] if ended else None
            if before is None:
                return
        told = [(event.model or "", event.tokens) for event in own if event.tokens is not None]
        taken = [*(before.models.items() if before is not None else ()), *told, *children]
        left: dict[str, list[int]] = {_plain(model): [0] * 5 for model in totals.models}
        for sign, uses in ((1, totals.models.items()), (-1, taken)):
            for model, tokens in uses:
                output = (tokens.tokens_out or 0) + (tokens.reasoning or 0)
                known = left.get(_plain(model or ""), [0] * 5)  # what the total does not name is no part of it
                for index, count in enumerate((*tokens[:3], output, tokens.searches)):
                    known[index] += sign * (count or 0)
        for model, counts in sorted(left.items()):
            beyond = [max(count, 0) for count in counts]
            if any(beyond):
                payload: Json = {"role": "assistant", "model": model, NOT_IN_MESSAGES: True}
                event = Event(self._booking(model), totals.at_ms, Kind.MESSAGE, payload, model=model)
                event.tokens = Tokens(beyond[0], beyond[1], beyond[2], beyond[3], None, searches=beyond[4])
                event.ts_exact = False
                self.events.append(event)
                self.records = self.records + _hash_records([event.key or ""])
        self.booked = True


def _identify_events(session: str, events: Iterable[Event], *, timed: bool) -> None:
    """Give each event without a key one that copies of the same session share: what it is, and the how-manieth.

    `timed` tells whether times tell the events apart; otherwise what they say does.
    """
    met: dict[str, int] = {}
    for event in events:
        if event.key is None:
            said = event.ts_ms if timed else str(event.payload.get("text") or event.payload.get("input") or "")
            name = f"{session}:{said}:{event.kind}:{event.tool_call_id or event.tool or ''}"
            number = met[name] = met.get(name, -1) + 1
            event.key = f"{name}:{number}"


def _hash_records(keys: Iterable[str]) -> tuple[int, ...]:
    """Return the 64-bit signed hashes that stand for the ids of records in the store."""
    hashes = bytearray()
    for key in keys:
        hashes += hashlib.blake2b(key.encode(), digest_size=8).digest()
    return struct.unpack(f">{len(hashes) // 8}q", hashes)


def _plain(model: str) -> str:
    return model.removesuffix("[1m]")


def read_source(source: Source, row: Checkpoint | None) -> Work:
    """Read a transcript.

    Raises:
        OSError: the file is gone or may not be read.

    >>> from kaizen_analytics.ingest.discover import Source
    >>> _ = (tmp / "rollout-1.jsonl").write_text("{}")
    >>> read_source(Source(tmp / "rollout-1.jsonl", Agent.CODEX, 2, 0), None).end
    2
    """
    replaces = row is not None and row.parser != PARSER_VERSION and _begins_as_before(source, row)
    parser = _parser(source)
    with _open_source(source) as handle:
        end, prefix_hash = _feed_lines(parser, handle, size=None if source.is_read_whole else source.size_bytes)
    parser.finish()
    if source.size_bytes > _CHUNK_BYTES:  # a long session has hundreds of thousands of keys
        parser.__dict__ = parser.__getstate__()
    return Work(
        str(source.path), source.agent, source.size_bytes, source.mtime_ns, row, parser,
        end=end, prefix_hash=prefix_hash, replaces=replaces,
    )  # fmt: skip


def _begins_as_before(source: Source, row: Checkpoint) -> bool:
    crc, left = 0, row.read_bytes
    with _open_source(source) as handle:
        while left:
            chunk = handle.read(min(_CHUNK_BYTES, left))
            if not chunk:
                return False
            crc = zlib.crc32(chunk, crc)
            left -= len(chunk)
    return f"{crc:08x}" == row.prefix_hash


def _parser(source: Source) -> claude_code.ClaudeCodeParser | codex.CodexParser | cursor.CursorParser:
    stem = source.stem
    if source.agent is Agent.CLAUDE_CODE:
        return claude_code.ClaudeCodeParser(stem)
    if source.agent is Agent.CODEX:
        return codex.CodexParser(stem)
    parts = source.path.parts
    at = parts.index("agent-transcripts")
    parent = parts[-3] if parts[-2] == "subagents" and len(parts) - 3 > at else None
    stem = name_within(stem, source.path.parent.name) or stem
    parser = cursor.CursorTextParser if source.is_text else cursor.CursorParser
    return parser(stem, file_ms=source.mtime_ms, slug=parts[at - 1], parent=parent)


def _feed_lines(parser: LineParser, handle: BinaryIO, *, size: int | None) -> tuple[int, str]:
    r"""Feed the complete lines of a stream, or of its first `size` bytes, to a parser.

    Returns how many bytes were understood, and their CRC-32: nobody forges a transcript to hide a change from its own
    reader, and a cryptographic hash would cost as much as parsing. A last line without a line end is taken if it is a
    whole JSON object, and otherwise left for the next reading: its writer may not be done. A line over the cap is
    counted and skipped. A text in UTF-16, as Windows' shells write copies, is read at once.
    """
    at = start = crc = settled = 0  # `settled` is the hash up to `start`, where the line begins
    pieces: list[bytes] = []  # what was read of that line
    overlong = False
    while chunk := handle.read(_CHUNK_BYTES if size is None else min(_CHUNK_BYTES, size - at)):
        if at == 0 and chunk[:2] in _UTF16_MARKS:
            whole = chunk + handle.read()
            _feed_whole(parser, whole.decode("utf-16", "replace").encode().split(b"\n"), 0)
            return len(whole), f"{zlib.crc32(whole):08x}"
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines:
            settled = zlib.crc32(memoryview(chunk)[: len(chunk) - len(rest)], crc)
            if overlong:
                parser.skip(start)
                start = at + len(lines.pop(0)) + 1
            elif pieces:
                lines[0] = b"".join([*pieces, lines[0]])
            start = _feed_whole(parser, lines, start)
            crc, pieces, overlong = settled, [], False
        at += len(chunk)
        crc = zlib.crc32(rest, crc)
        pieces.append(rest)
        if at - start > LINE_CAP_BYTES:
            pieces, overlong = [], True
    torn = b"".join(pieces)
    if torn and not overlong:
        documents, broken = decode(torn)
        if documents and broken is None:
            parser.feed(start, torn)
            start, settled = at, crc
    return start, f"{settled:08x}"


def _feed_whole(parser: LineParser, lines: list[bytes], start: int) -> int:
    """Feed lines, the first of which is at `start`; return where the next one is."""
    for line in lines:
        if len(line) > LINE_CAP_BYTES:
            parser.skip(start)
        elif line and not line.isspace():
            parser.feed(start, line)
        start += len(line) + 1
    return start


def _open_source(source: Source) -> BinaryIO:
    """Open a transcript for reading its lines.

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

    kind = "gzip" if source.path.suffix == ".gz" else "zstd"
    return io.BufferedReader(pa.input_stream(str(source.path), compression=kind), _CHUNK_BYTES)


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
