"""Cursor sessions: agent transcripts (JSON lines) and the composers of a `state.vscdb`.

Neither carries usage worth the name, models or branches: their tokens are None, never 0. A transcript has no ids and
hardly a clock, so a changed file is always read as a whole.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import orjson

from kaizen_analytics.ingest.records import (
    NOWHERE,
    Event,
    Json,
    Kind,
    LineParser,
    Malformed,
    Parsed,
    Place,
    Reason,
    Reject,
    Tokens,
    count_of,
    list_of,
    object_of,
    snippet,
    text_of,
)
from kaizen_analytics.ingest.tools import Described, describe_input, describe_patch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_QUERY = re.compile(r"<user_query>\s*(.*?)\s*</user_query>", re.DOTALL)
_CLOCK = re.compile(
    r"<timestamp>[^<]*?([A-Z][a-z]{2})[a-z]* (\d{1,2}), (\d{4}),? (?:at )?(\d{1,2}):(\d{2})(?::\d{2})?\s?([AP]M)"
    r"(?: \(UTC(?:([+-]\d{1,2})(?::?(\d{2}))?)?\))?</timestamp>"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_USER, _ASSISTANT = 1, 2


class Parser(LineParser):
    """Reads one agent transcript.

    Args:
        stem: The file's name, which is the session's id.
        file_ms: When the file was last written, in milliseconds: the time of events before any clock is told.
        slug: The project folder's name, Cursor's spelling of the workspace.
        parent: The session that started this one, from the folder it lies in.
    """

    def __init__(self, stem: str, *, file_ms: int, slug: str = "", parent: str | None = None) -> None:
        super().__init__()
        self.session_id = stem
        self.parent_session_id = parent
        self._slug = slug
        self._file_ms = file_ms
        self._clock_ms: int | None = None

    @property
    def last_ms(self) -> int:
        """The last time that is known of this transcript."""
        return self._file_ms

    @property
    def state(self) -> Json:
        """What the checkpoint keeps; a changed file is read as a whole."""
        return {"unknown_kinds": self.unknown_kinds}

    def finish(self) -> None:
        """Give every event the workspace, which shows in the paths that the tools were called with."""
        found = _workspace(self._slug, (path for event in self.parsed.events for path in event.paths))
        place = Place(found) if found else NOWHERE
        for event in self.parsed.events:
            event.place = place

    def _record(self, record: Json) -> None:
        role, kind = text_of(record, "role"), text_of(record, "type")
        if role is None:
            if kind is None:
                raise Malformed(Reason.WRONG_TYPE, "role")
            if kind != "turn_ended":
                self._note_unknown(kind)
            elif text_of(record, "status") == "error":
                self._add(Kind.ERROR, {"error": "turn_failed"})
            return
        message = object_of(record, "message")
        if message is None:
            raise Malformed(Reason.WRONG_TYPE, "message")
        blocks = _blocks(message)
        self._results(blocks)
        if role == "user":
            self._user(blocks)
        elif role == "assistant":
            self._assistant(blocks)
        elif role != "tool":
            self._note_unknown(f"role/{role}")

    def _add(self, kind: Kind, payload: Json, tool: str | None = None, described: Described | None = None) -> None:
        ts_ms = self._file_ms if self._clock_ms is None else self._clock_ms
        event = Event(None, ts_ms, kind, payload, ts_exact=self._clock_ms is not None, tool=tool)
        if described is not None:
            event.paths, event.skills, event.rules = described.paths, described.skills, described.rules
        self.parsed.events.append(event)

    def _results(self, blocks: list[Json]) -> None:
        """Read results, which hardly any build writes."""
        for block in blocks:
            if block.get("type") == "tool_result":
                failed = block.get("is_error")
                payload: Json = {"is_error": failed if type(failed) is bool else None}
                self._add(Kind.TOOL_RESULT, payload)
                self.parsed.events[-1].tool_call_id = text_of(block, "tool_use_id")

    def _user(self, blocks: list[Json]) -> None:
        text = _text(blocks)
        told = _clock_of(text)
        if told is not None:
            self._clock_ms = told
        query = _QUERY.search(text)
        typed = query.group(1) if query else text.strip()
        if self.parent_session_id is None and typed and (query or not typed.startswith("<")):
            self._add(Kind.MESSAGE, _prompt(typed))

    def _assistant(self, blocks: list[Json]) -> None:
        calls = [block for block in blocks if block.get("type") == "tool_use"]
        if blocks and all(block.get("type") == "tool_result" for block in blocks):
            return
        payload: Json = {"role": "assistant"}
        if text := _text(blocks):
            payload["text"] = snippet(text)
        described = [(_name(block), _describe(_name(block), block.get("input"))) for block in calls]
        self._add(Kind.MESSAGE, payload)
        for name, call in described:
            self._add(Kind.TOOL_CALL, call.payload, name, call)


def _prompt(text: str) -> Json:
    return {"role": "user", "prompt": True, "text": snippet(text, 500), "chars": len(text)}


def _blocks(message: Json) -> list[Json]:
    content = message.get("content")
    if type(content) is str:
        return [{"type": "text", "text": content}]
    blocks = list_of(message, "content")
    if any(type(block) is not dict for block in blocks):
        raise Malformed(Reason.WRONG_TYPE, "content[]")
    return blocks


def _text(blocks: list[Json]) -> str:
    texts = (block.get("text") for block in blocks if block.get("type") == "text")
    return "\n".join(text for text in texts if type(text) is str)


def _name(block: Json) -> str:
    name = text_of(block, "name")
    if name is None:
        raise Malformed(Reason.WRONG_TYPE, "tool_use.name")
    return name


def _describe(name: str, given: Any) -> Described:  # noqa: ANN401 - any JSON value
    if type(given) is str:
        return describe_patch(given)
    if given is not None and type(given) is not dict:
        raise Malformed(Reason.WRONG_TYPE, "tool_use.input")
    return describe_input(name, given or {})


def _clock_of(text: str) -> int | None:
    """Return the time in a `<timestamp>` tag, which tells minutes, in milliseconds since the epoch."""
    found = _CLOCK.search(text)
    if found is None or found.group(1) not in _MONTHS:
        return None
    month, day, year, hour, minute, half, offset_h, offset_min = found.groups()
    away = timedelta(
        hours=int(offset_h or 0), minutes=int(offset_min or 0) * (-1 if (offset_h or "").startswith("-") else 1)
    )
    try:
        moment = datetime(
            int(year), _MONTHS.index(month) + 1, int(day), int(hour) % 12 + (12 if half == "PM" else 0), int(minute),
            tzinfo=timezone(away),
        )  # fmt: skip
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def _slugged(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-")


def _workspace(slug: str, paths: Iterable[str]) -> str | None:
    """Return the folder whose slug this is: a parent of some path that was used, else the slug itself."""
    wanted = slug.strip("-")
    for path in paths:
        parts = path.split("/")
        for end in range(len(parts), 1, -1):
            folder = "/".join(parts[:end])
            if _slugged(folder) == wanted:
                return folder
    return slug or None


class Composer:
    """One conversation of a `state.vscdb`, parsed; it offers what a `Parser` offers after its last line."""

    def __init__(self, composer: Json, bubbles: Mapping[str, Json], *, file_ms: int, workspace: str | None) -> None:
        session = text_of(composer, "composerId")
        if session is None:
            raise Malformed(Reason.NO_SESSION, "composerId")
        self.session_id = session
        self.parent_session_id: str | None = None
        self.parsed = Parsed()
        created = count_of(composer, "createdAt")
        self.last_ms = max(count_of(composer, "lastUpdatedAt") or 0, created or 0) or file_ms
        self._start_ms = created if created is not None else self.last_ms
        self._model = text_of(object_of(composer, "modelConfig") or {}, "modelName")
        self._place = Place(workspace)
        for position, bubble in enumerate(_conversation(composer, bubbles), start=1):
            self.parsed.n_lines += 1
            try:
                self._bubble(bubble)
            except Malformed as malformed:
                self.parsed.rejects.append(Reject(position, 0, malformed.reason, malformed.detail))
        if len(self.parsed.events) > 1:
            last = self.parsed.events[-1]
            last.ts_ms = max(last.ts_ms, self.last_ms)

    def _bubble(self, bubble: Json) -> None:
        kind, text = bubble.get("type"), bubble.get("text")
        if text is not None and type(text) is not str:
            raise Malformed(Reason.WRONG_TYPE, "text")
        told = _iso_ms(bubble.get("createdAt"))
        if kind == _USER:
            self._add(Kind.MESSAGE, _prompt(text or ""), told)
        elif kind == _ASSISTANT:
            tokens = _bubble_tokens(bubble)
            payload: Json = {"role": "assistant", "model": self._model}
            if text:
                payload["text"] = snippet(text)
            event = self._add(Kind.MESSAGE, payload, told)
            event.tokens, event.model = tokens, self._model
            self._tool(object_of(bubble, "toolFormerData"), told)
        else:
            raise Malformed(Reason.WRONG_TYPE, "type")

    def _tool(self, call: Json | None, told: int | None) -> None:
        name = text_of(call, "name") if call else None
        if call is None or name is None:
            return
        call_id, status = text_of(call, "toolCallId"), text_of(call, "status")
        described = describe_input(name, _arguments(call))
        event = self._add(Kind.TOOL_CALL, described.payload, told)
        event.tool, event.tool_call_id = name, call_id
        event.paths, event.skills, event.rules = described.paths, described.skills, described.rules
        if status in {"completed", "error", "cancelled"}:
            result = self._add(Kind.TOOL_RESULT, {"is_error": status != "completed"}, told)
            result.tool, result.tool_call_id = name, call_id

    def _add(self, kind: Kind, payload: Json, told: int | None) -> Event:
        ts_ms = self._start_ms if told is None else told
        event = Event(None, ts_ms, kind, payload, self._place, ts_exact=told is not None)
        self.parsed.events.append(event)
        return event


def _conversation(composer: Json, bubbles: Mapping[str, Json]) -> list[Json]:
    """Return a composer's bubbles in order: inside it, or, in newer databases, in rows of their own."""
    inline = list_of(composer, "conversation")
    if inline:
        return [item if type(item) is dict else {} for item in inline]
    heads = list_of(composer, "fullConversationHeadersOnly")
    named = [head.get("bubbleId") for head in heads if type(head) is dict]
    return [bubbles[name] for name in named if type(name) is str and name in bubbles]


def _bubble_tokens(bubble: Json) -> Tokens | None:
    """Return a bubble's tokens, or None where both counts are zero: Cursor mostly leaves them so."""
    told = object_of(bubble, "tokenCount") or {}
    given, output = count_of(told, "inputTokens"), count_of(told, "outputTokens")
    return Tokens(given, None, None, output, None) if given or output else None


def _arguments(call: Json) -> Json:
    for name in ("rawArgs", "params"):
        text = call.get(name)
        if type(text) is str:
            try:
                value = orjson.loads(text)
            except orjson.JSONDecodeError:
                continue
            if type(value) is dict:
                return value
    return {}


def _iso_ms(value: object) -> int | None:
    if type(value) is int and 0 < value < 2**53:
        return value
    if type(value) is not str:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return round(moment.timestamp() * 1000) if moment.tzinfo and 1970 < moment.year < 9999 else None
