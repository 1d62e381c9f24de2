"""What the three parsers share: events, rejects, and the way from one line of bytes to JSON objects.

Nothing here raises on bad input. A line that cannot be read becomes a `Reject`; `Malformed` is how a handler deep in
a parser says so, and never leaves the parser.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]

LINE_CAP_BYTES = 32 * 1024 * 1024
"""Longer lines are skipped without being held in memory; the longest line seen in real files is 3 MB."""

MAX_INTEGER = 2**63 - 1
"""SQLite's largest integer."""

_EXACT_FLOAT = 2**53
"""Below it a float holds every integer."""

_TEXT_CAP = 4096
"""Names and paths are cut here; nothing real comes near."""


class Agent(StrEnum):
    """The agents whose transcripts are read."""

    CLAUDE_CODE = "claude_code"
    CODEX = "codex"
    CURSOR = "cursor"


class Kind(StrEnum):
    """Event kinds, as kaizen-cli names them."""

    TOOL_CALL = "ToolCall"
    TOOL_RESULT = "ToolResult"
    MESSAGE = "Message"
    ERROR = "Error"
    HOOK = "Hook"
    LIFECYCLE = "Lifecycle"


class Reason(StrEnum):
    """Why a line was rejected, as a whole or in part."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    NOT_UTF8 = "not_utf8"
    TOO_DEEP = "too_deep"
    TOO_LONG = "too_long"
    GLUED_REST = "glued_rest"
    WRONG_TYPE = "wrong_type"
    BAD_TIME = "bad_time"
    BAD_NUMBER = "bad_number"
    NO_SESSION = "no_session"


class Malformed(Exception):  # noqa: N818 - control flow inside a parser, not an error for callers
    """A record is not what its format says; `detail` names the field."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reject:
    """One line that was not, or not wholly, understood.

    `line` counts from 1 and `offset` is the line's first byte; `detail` names the field, never its content.
    """

    line: int
    offset: int
    reason: Reason
    detail: str = ""


class Tokens(NamedTuple):
    """The disjoint token columns of one response; None where the source is silent.

    `cache_write_1h` is the part of `cache_creation` that lives an hour; the rest lives five minutes.
    """

    tokens_in: int | None
    cache_creation: int | None
    cache_read: int | None
    tokens_out: int | None
    reasoning: int | None
    cache_write_1h: int = 0

    @property
    def weight(self) -> tuple[int, int]:
        """What "largest" means between two reports of one response: output first, then everything."""
        output = (self[3] or 0) + (self[4] or 0)
        return output, (self[0] or 0) + (self[1] or 0) + (self[2] or 0) + output


class Place(NamedTuple):
    """Where an agent was working when it wrote a record."""

    cwd: str | None = None
    branch: str | None = None
    version: str | None = None
    commit: str | None = None


NOWHERE = Place()


@dataclass(slots=True)
class Event:
    """One event on its way to the store; mutable, because later lines complete earlier events.

    `key` identifies the record across files (None: it cannot be told apart); `original` says that the record names
    this file as the one it was first written to. `paths`, `skills` and `rules` feed the tables of those names.
    """

    key: str | None
    ts_ms: int
    kind: Kind
    payload: Json
    place: Place = NOWHERE
    ts_exact: bool = True
    tool: str | None = None
    tool_call_id: str | None = None
    stop_reason: str | None = None
    tokens: Tokens | None = None
    model: str | None = None
    context_used_tokens: int | None = None
    context_max_tokens: int | None = None
    latency_ms: int | None = None
    ttft_ms: int | None = None
    original: bool = True
    paths: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


@dataclass(slots=True)
class Parsed:
    """What a slice of one file holds. `n_lines` counts non-empty lines: accepted plus rejected."""

    events: list[Event] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    n_lines: int = 0

    @property
    def n_accepted(self) -> int:
        return self.n_lines - len(self.rejects)


def decode(line: bytes) -> tuple[list[Json], Reason | None]:
    """Return the JSON objects on one line, and why the rest of the line is unreadable, if it is.

    Real files hold glued lines (two documents), lone surrogates (a text cut inside an emoji), a byte order mark from
    an editor, and NUL bytes where a machine lost power while it wrote; what is whole on such a line is read.
    """
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _decode_slowly(line)
    if type(document) is not dict:
        return [], Reason.NOT_AN_OBJECT
    return [document], None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_SLOW = json.JSONDecoder(parse_constant=_refuse_constant)
_PADDING = "\ufeff\0 \t\r\n\v\f"
"""What may stand around a document that is whole: a byte order mark, NUL bytes, white space."""


def _decode_slowly(line: bytes) -> tuple[list[Json], Reason | None]:
    try:
        text = line.decode().strip(_PADDING)
    except UnicodeDecodeError:
        return [], Reason.NOT_UTF8
    documents: list[Json] = []
    at = 0
    while at < len(text):
        try:
            document, at = _SLOW.raw_decode(text, at)
            document = without_surrogates(document)
        except RecursionError:
            return documents, Reason.TOO_DEEP
        except ValueError:
            return documents, Reason.GLUED_REST if documents else Reason.NOT_JSON
        if type(document) is not dict:
            return documents, Reason.NOT_AN_OBJECT
        documents.append(document)
        while at < len(text) and text[at] in _PADDING:
            at += 1
    return documents, None


def without_surrogates(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return `value` with lone surrogates replaced, so that it can be written as UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {without_surrogates(name): without_surrogates(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    return value


def text_of(record: Mapping[str, Any], name: str) -> str | None:
    """Return a text field, or None where it is absent, null or empty."""
    value = record.get(name)
    if value is None or value == "":
        return None
    if type(value) is not str:
        raise Malformed(Reason.WRONG_TYPE, name)
    return value if len(value) <= _TEXT_CAP and "\0" not in value else clean(value)


def clean(value: str) -> str:
    """Return `value` as a column may hold it: no NUL, which SQLite would cut the text at, and not endless."""
    if "\0" in value:
        value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return value if len(value) <= _TEXT_CAP else value[:_TEXT_CAP]


def object_of(record: Mapping[str, Any], name: str) -> Json | None:
    """Return an object field, or None where it is absent or null."""
    value = record.get(name)
    if value is None or type(value) is dict:
        return value
    raise Malformed(Reason.WRONG_TYPE, name)


def list_of(record: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list field, empty where it is absent or null."""
    value = record.get(name)
    if value is None:
        return []
    if type(value) is list:
        return value
    raise Malformed(Reason.WRONG_TYPE, name)


def flag_of(record: Mapping[str, Any], name: str) -> bool:
    """Return a boolean field, false where it is absent or null."""
    value = record.get(name)
    if value is None:
        return False
    if type(value) is bool:
        return value
    raise Malformed(Reason.WRONG_TYPE, name)


def count_of(record: Mapping[str, Any], name: str) -> int | None:
    """Return a count (0 to 2**63 - 1), or None where it is absent or null."""
    value = record.get(name)
    if value is None:
        return None
    if type(value) is float and value.is_integer() and 0 <= value < _EXACT_FLOAT:
        value = int(value)  # some gateways write 12.0
    if type(value) is not int:
        # orjson reads an integer beyond 64 bits as a float.
        raise Malformed(Reason.BAD_NUMBER if type(value) is float else Reason.WRONG_TYPE, name)
    if not 0 <= value <= MAX_INTEGER:
        raise Malformed(Reason.BAD_NUMBER, name)
    return value


def time_of(record: Mapping[str, Any], name: str = "timestamp") -> int | None:
    """Return an ISO-8601 field as milliseconds since the epoch, or None where it is absent or null."""
    value = record.get(name)
    if value is None:
        return None
    if type(value) is not str:
        raise Malformed(Reason.WRONG_TYPE, name)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None or not 1970 < moment.year < 9999:
            raise Malformed(Reason.BAD_TIME, name)
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Malformed(Reason.BAD_TIME, name) from None


def snippet(value: str, length: int = 200) -> str:
    """Return the beginning of a text, for a timeline."""
    return value if len(value) <= length else value[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


_KINDS_CAP = 100
_KIND_CHARS = 80


class LineParser:
    """Counts lines and rejects for a parser whose `_record` reads one JSON object.

    `unknown_kinds` counts the records that were accepted without being understood, by kind, since the file's start.
    """

    def __init__(self, line: int = 0, unknown_kinds: Mapping[str, int] | None = None) -> None:
        self.parsed = Parsed()
        self.unknown_kinds: dict[str, int] = dict(unknown_kinds or {})
        self._line = line

    def _note_unknown(self, kind: str) -> None:
        """Count a record of a kind that no known build writes, so that somebody hears of it."""
        name = clean(kind)[:_KIND_CHARS]
        if name not in self.unknown_kinds and len(self.unknown_kinds) >= _KINDS_CAP:
            name = "other"
        self.unknown_kinds[name] = self.unknown_kinds.get(name, 0) + 1

    def feed(self, offset: int, line: bytes) -> None:
        """Read one line; whatever is wrong with it is counted, never raised."""
        self._line += 1
        self.parsed.n_lines += 1
        documents, broken = decode(line)
        detail = ""
        for record in documents:
            try:
                self._record(record)
            except Malformed as malformed:
                broken, detail = malformed.reason, malformed.detail
        if broken is not None:
            self.parsed.rejects.append(Reject(self._line, offset, broken, detail))

    def skip(self, offset: int) -> None:
        """Count a line that was too long to read."""
        self._line += 1
        self.parsed.n_lines += 1
        self.parsed.rejects.append(Reject(self._line, offset, Reason.TOO_LONG))

    def _record(self, record: Json) -> None:
        raise NotImplementedError
