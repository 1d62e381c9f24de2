"""What the three parsers share: events, rejects, and the way from one line of bytes to JSON objects.

Nothing here raises on bad input. A line that cannot be read becomes a `Reject`; `Malformed` is how a handler deep in
a parser says so, and never leaves the parser.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import orjson

from kaizen_analytics.core.times import CALENDAR_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]

LINE_CAP_BYTES = 32 * 1024 * 1024
"""Longer lines are skipped without being held in memory; the longest line seen in real files is 3 MB."""

MAX_INTEGER = 2**53
"""The largest count that is believed: beyond it floats lose integers and sums overflow, and nothing real comes near."""

LAST_MS = CALENDAR_MS.stop
"""The beginning of the year 9999; what is told to be later is no time."""

_LAST_S = 10**11
"""No time in seconds is larger, and none of today is smaller in a smaller unit."""

_LEAP_SECOND = re.compile(r"(.*\d:\d\d:)60(.*)")
_SHORTEST_ID = 7
_TEXT_CAP = 4096
"""Names and paths are cut here; nothing real comes near."""


class Agent(StrEnum):
    """The agents whose transcripts are read."""

    CLAUDE_CODE = "claude_code"
    CODEX = "codex"
    CURSOR = "cursor"


class Kind:
    """Event kinds, as kaizen-cli names them; plain texts, because every event has one."""

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


class RecordStanding(IntEnum):
    """What a file's copy of a record says of who wrote the record first."""

    COPIED = -1
    """The record is older than the file: its history was copied."""
    UNKNOWN = 0
    WROTE = 1
    """The record names this file as the one it was first written to."""


class Malformed(Exception):  # noqa: N818 - control flow inside a parser, not an error for callers
    """A record is not what its format says; `detail` names the field."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Reject(NamedTuple):
    """One line that was not, or not wholly, understood.

    `line` counts from 1 and `offset` is the line's first byte; `detail` names the field, never its content.
    """

    line: int
    offset: int
    reason: Reason
    detail: str = ""


class Tokens(NamedTuple):
    """The disjoint token columns of one response; None where the source is silent.

    `cache_write_1h` is the part of `cache_creation` that lives an hour; the rest lives five minutes. `searches` of the
    web are paid for each.
    """

    tokens_in: int | None
    cache_creation: int | None
    cache_read: int | None
    tokens_out: int | None
    reasoning: int | None
    cache_write_1h: int = 0
    searches: int = 0

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

    `key` identifies the record across files; what comes without one gets it when its file was read. `standing` says
    whether this file wrote the record. `paths`, `skills` and `rules` feed the tables of those names.
    """

    key: str | None
    ts_ms: int
    kind: str
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
    standing: RecordStanding = RecordStanding.WROTE
    paths: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


class OwnTotals(NamedTuple):
    """What an agent says that a session used, sub-agents included, when a run of it ended.

    `models` are the tokens by model; `at_ms` is the time of the record before, and `n_events` how many events preceded.
    """

    models: dict[str, Tokens]
    at_ms: int
    n_events: int


@dataclass(slots=True)
class Parsed:
    """What one file holds. `n_lines` counts non-empty lines; `totals` are those of each run that ended, in order."""

    events: list[Event] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    n_lines: int = 0
    totals: list[OwnTotals] = field(default_factory=list)

    def __reduce__(self) -> tuple[object, ...]:
        # Events as they are would take another process twice as long to write and three times as long to read.
        return _restore, ([_CELLS(event) for event in self.events], self.rejects, self.n_lines, self.totals)


_CELLS = attrgetter(*Event.__slots__)


def _restore(cells: list[tuple[Any, ...]], rejects: list[Reject], n_lines: int, totals: list[OwnTotals]) -> Parsed:
    return Parsed([Event(*one) for one in cells], rejects, n_lines, totals)


def decode(line: bytes) -> tuple[list[Json], Reason | None]:
    """Return the JSON objects on one line, and why the rest of the line is unreadable, if it is.

    Real files hold glued lines (two documents, the first often cut off), lone surrogates (a text cut inside an emoji),
    a byte order mark from an editor, and NUL bytes where a machine lost power; what is whole on such a line is read.

    >>> decode(b'{"a": 1}'), decode(b"[1]")[1].value
    (([{'a': 1}], None), 'not_an_object')
    >>> decode(b'{"a": "cut off{"b": 2}')
    ([{'b': 2}], <Reason.NOT_JSON: 'not_json'>)
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

_BEGIN = '{"'
"""With what a record begins, and no text within one: there a quote has a backslash before it."""


def _decode_slowly(line: bytes) -> tuple[list[Json], Reason | None]:
    try:
        text = line.decode().strip(_PADDING)
    except UnicodeDecodeError:
        return [], Reason.NOT_UTF8
    documents: list[Json] = []
    broken: Reason | None = None
    at = 0
    while at < len(text):
        try:
            document, at = _SLOW.raw_decode(text, at)
            document = _without_surrogates(document)
        except RecursionError:
            return documents, Reason.TOO_DEEP
        except ValueError as error:
            broken = broken or (Reason.GLUED_REST if documents else Reason.NOT_JSON)
            # Where a document was cut off, a parser stops at the next one's first quote or at a word that was begun.
            stopped = getattr(error, "pos", at)
            at = text.find(_BEGIN, max(at + 1, stopped - len(_BEGIN)))
            if at < 0 or len(text[stopped:at].strip(_PADDING)) > len("fals"):
                return documents, broken
            continue
        if type(document) is not dict:
            return documents, Reason.NOT_AN_OBJECT
        documents.append(document)
        while at < len(text) and text[at] in _PADDING:
            at += 1
    return documents, broken


def _without_surrogates(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return `value` with lone surrogates replaced, so that it can be written as UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return value


def text_of(record: Mapping[str, Any], name: str) -> str | None:
    """Return a text field, or None where it is absent, null or empty.

    >>> text_of({"model": "opus"}, "model"), text_of({"model": ""}, "model")
    ('opus', None)
    """
    value = record.get(name)
    if type(value) is str:
        return clean(value) if len(value) > _TEXT_CAP or "\0" in value else value or None
    if value is None:
        return None
    raise Malformed(Reason.WRONG_TYPE, name)


def clean(value: str) -> str:
    r"""Return `value` as a column may hold it: no NUL, which SQLite would cut the text at, and not endless.

    >>> clean("a\0b")
    'a�b'
    """
    if "\0" in value:
        value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return value[:_TEXT_CAP]


def object_of(record: Mapping[str, Any], name: str) -> Json | None:
    """Return an object field, or None where it is absent or null.

    >>> object_of({"usage": {"input": 1}}, "usage"), object_of({}, "usage")
    ({'input': 1}, None)
    """
    value = record.get(name)
    if value is None or type(value) is dict:
        return value
    raise Malformed(Reason.WRONG_TYPE, name)


def list_of(record: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list field, empty where it is absent or null.

    >>> list_of({"content": ["a"]}, "content"), list_of({"content": None}, "content")
    (['a'], [])
    """
    value = record.get(name)
    if value is None:
        return []
    if type(value) is list:
        return value
    raise Malformed(Reason.WRONG_TYPE, name)


def flag_of(record: Mapping[str, Any], name: str) -> bool:
    """Return a boolean field, false where it is absent or null.

    >>> flag_of({"is_error": True}, "is_error"), flag_of({}, "is_error")
    (True, False)
    """
    value = record.get(name)
    if value is None:
        return False
    if type(value) is bool:
        return value
    raise Malformed(Reason.WRONG_TYPE, name)


def count_of(record: Mapping[str, Any], name: str) -> int | None:
    """Return a count (0 to 2**53), or None where it is absent or null.

    >>> count_of({"tokens": 12.0}, "tokens"), count_of({}, "tokens")
    (12, None)
    """
    value = record.get(name)
    if value is None or (type(value) is int and 0 <= value <= MAX_INTEGER):
        return value
    if type(value) is float and value.is_integer() and 0 <= value <= MAX_INTEGER:
        value = int(value)  # some gateways write 12.0
    if type(value) is not int:
        # orjson reads an integer beyond 64 bits as a float.
        raise Malformed(Reason.BAD_NUMBER if type(value) is float else Reason.WRONG_TYPE, name)
    if not 0 <= value <= MAX_INTEGER:
        raise Malformed(Reason.BAD_NUMBER, name)
    return value


def time_of(record: Mapping[str, Any], name: str = "timestamp") -> int | None:
    """Return a time as milliseconds since the epoch, or None where it is absent or null.

    >>> time_of({"timestamp": "1970-01-01T00:00:01Z"}), time_of({})
    (1000, None)
    """
    at_ms, _, fault = moment_or_fault(record, name)
    if fault is not None:
        raise fault
    return at_ms


def moment_or_fault(record: Mapping[str, Any], name: str = "timestamp") -> tuple[int | None, bool, Malformed | None]:
    """Return a time as milliseconds since the epoch, whether it says its zone, and what is wrong with it.

    It is written by ISO 8601, or as a number since the epoch, in seconds or a smaller unit. A time without a zone is
    taken for UTC, a leap second for the second after it. A fault is returned, so that the rest of the record is not
    lost.

    >>> moment_or_fault({"timestamp": "1970-01-01T00:00:01Z"}), moment_or_fault({"timestamp": "1970-01-01T00:00:01"})
    ((1000, True, None), (1000, False, None))
    >>> moment_or_fault({"timestamp": "yesterday"})[2].reason.value
    'bad_time'
    """
    value = record.get(name)
    if value is None:
        return None, False, None
    if type(value) not in (str, int, float):
        return None, False, Malformed(Reason.WRONG_TYPE, name)
    try:
        try:
            moment = datetime.fromisoformat(value) if type(value) is str else _moment_of(value)
        except ValueError:
            moment = _odd_moment(str(value))
        has_zone = moment.tzinfo is not None
        at_ms = round((moment if has_zone else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None, False, Malformed(Reason.BAD_TIME, name)
    if not 0 <= at_ms < LAST_MS:
        return None, False, Malformed(Reason.BAD_TIME, name)
    return at_ms, has_zone, None


def _odd_moment(value: str) -> datetime:
    """Return a time that is written oddly: as digits, in small letters, with `UTC` behind it, or on a leap second."""
    value = value.strip()
    if value.isdecimal():
        return _moment_of(int(value))
    if value.upper().endswith((" UTC", " GMT")):
        value = f"{value[:-4]}Z"
    leap = _LEAP_SECOND.fullmatch(value)
    moment = datetime.fromisoformat((f"{leap[1]}59{leap[2]}" if leap else value).upper())
    return moment + timedelta(seconds=leap is not None)


def _moment_of(number: float) -> datetime:
    """Return the time that a number since the epoch stands for: it has as many digits as its unit needs today."""
    unit = next(unit for unit in (1, 10**3, 10**6, 10**9) if number < unit * _LAST_S or unit == 10**9)
    return datetime.fromtimestamp(number / unit, tz=UTC)


_STANDARD_SPEEDS = frozenset({None, "default", "auto", "standard"})


def speed_of(record: Mapping[str, Any], known: str | None = None) -> str | None:
    """Return the speed or service tier that a record says a response was bought at; None is the standard one.

    >>> speed_of({"service_tier": "Priority"}), speed_of({"speed": "standard"}), speed_of({}, "flex")
    ('priority', None, 'flex')
    """
    for name in ("service_tier", "speed"):
        if name in record:
            told = text_of(record, name)
            told = None if told is None else told.strip().lower()
            if told not in _STANDARD_SPEEDS:
                return told
            known = None
    return known


def name_within(stem: str, told: str | None) -> str | None:
    """Return the id that a session's records or folder tell, if its file is named so with something around it.

    >>> name_within("3f2a-77 (1)", "3f2a-77"), name_within("notes", "3f2a-77"), name_within("3f2a-771", "3f2a-77")
    ('3f2a-77', None, None)
    """
    if not told or told == stem or len(told) < _SHORTEST_ID or told not in stem:
        return None
    before, _, after = stem.partition(told)
    return None if before[-1:].isalnum() or after[:1].isalnum() else told


def snippet(value: str, length: int = 200) -> str:
    """Return the beginning of a text, for a timeline.

    >>> snippet("a long text", 6)
    'a lon…'
    """
    return value if len(value) <= length else value[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


_KINDS_CAP = 100
_KIND_CHARS = 80


class LineParser(ABC):
    """Counts lines and rejects for a parser whose `_record` reads one JSON object.

    Args:
        session: The session's id, as far as the file's name tells it.

    `parent_session_id` is the session that started this one as a sub-agent, `last_ms` the latest time of any record,
    `born_ms` when the file was begun, where it says so,
    `prompt_fingerprint` that of the instructions, where the agent records them. `unknown_kinds` counts the records that
    were accepted without being understood, by kind.
    """

    def __init__(self, session: str) -> None:
        self.session_id = session
        self.parent_session_id: str | None = None
        self.last_ms = 0
        self.born_ms: int | None = None
        self.prompt_fingerprint: str | None = None
        self.parsed = Parsed()
        self.unknown_kinds: dict[str, int] = {}

    def __getstate__(self) -> Json:
        """Return what is needed after the last line: not what tells lines apart, which every parser keeps to itself."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def _note_unknown(self, kind: str) -> None:
        """Count a record of a kind that no known build writes, so that somebody hears of it."""
        name = clean(kind)[:_KIND_CHARS]
        if name not in self.unknown_kinds and len(self.unknown_kinds) >= _KINDS_CAP:
            name = "other"
        self.unknown_kinds[name] = self.unknown_kinds.get(name, 0) + 1

    def feed(self, offset: int, line: bytes) -> None:
        """Read one line; whatever is wrong with it is counted, never raised."""
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError:
            document = None
        if type(document) is not dict:
            self.feed_records(offset, *decode(line))
            return
        self.parsed.n_lines += 1  # nearly all lines come here: what follows must be quick
        try:
            self._record(document)
        except Malformed as malformed:
            self._reject(offset, malformed.reason, malformed.detail)

    def feed_records(self, offset: int, documents: list[Json], broken: Reason | None = None) -> None:
        """Read the records of one line; `broken` is what is wrong with the line."""
        self.parsed.n_lines += 1
        detail = ""
        for record in documents:
            try:
                self._record(record)
            except Malformed as malformed:
                broken, detail = malformed.reason, malformed.detail
        if broken is not None:
            self._reject(offset, broken, detail)

    def skip(self, offset: int) -> None:
        """Count a line that was too long to read."""
        self.parsed.n_lines += 1
        self._reject(offset, Reason.TOO_LONG)

    def _reject(self, offset: int, reason: Reason, detail: str = "") -> None:
        self.parsed.rejects.append(Reject(self.parsed.n_lines, offset, reason, detail))

    def finish(self) -> None:  # noqa: B027 - most have nothing to do
        """Do what can only be done once the last line was read."""

    @abstractmethod
    def _record(self, record: Json) -> None:
        """Read one JSON object."""
