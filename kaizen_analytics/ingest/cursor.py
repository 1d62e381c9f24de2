"""Cursor sessions: agent transcripts (JSON lines) and the composers of a `state.vscdb`.

Neither carries usage worth the name, models or branches: their tokens are None, never 0. A transcript has no ids and
hardly a clock, so a changed file is always read as a whole.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import orjson

from kaizen_analytics.core.folders import normalise_folder, slug_of
from kaizen_analytics.ingest.records import (
    NOWHERE,
    Event,
    Json,
    Kind,
    LineParser,
    Malformed,
    Place,
    Reason,
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


class CursorSession(LineParser):
    """What every form of a session shares: its events stand at the time that was told last, else at its own."""

    def __init__(self, session: str, own_ms: int, place: Place = NOWHERE) -> None:
        super().__init__(session)
        self.last_ms = own_ms
        self._own_ms = own_ms
        self._told_ms: int | None = None
        self._place = place
        self._model: str | None = None

    def _add(
        self, kind: str, payload: Json, tool: str | None = None, call_id: str | None = None,
        described: Described | None = None,
    ) -> Event:  # fmt: skip
        told = self._told_ms
        event = Event(
            None, self._own_ms if told is None else told, kind, payload, self._place, ts_exact=told is not None,
            tool=tool, tool_call_id=call_id,
        )  # fmt: skip
        if described is not None:
            event.paths, event.skills, event.rules = described[1:]
        self.parsed.events.append(event)
        return event

    def _ask(self, text: str) -> None:
        payload: Json = {"role": "user", "prompt": True, "text": snippet(text, 500), "chars": len(text)}
        self._add(Kind.MESSAGE, payload)

    def _answer(self, text: str | None, payload: Json) -> Event:
        return self._add(Kind.MESSAGE, payload | ({"text": snippet(text)} if text else {}))

    def _call(self, name: str, described: Described, call_id: str | None = None) -> None:
        self._add(Kind.TOOL_CALL, described.payload, name, call_id, described)

    def _result(self, failed: object, name: str | None = None, call_id: str | None = None) -> None:
        self._add(Kind.TOOL_RESULT, {"is_error": failed if type(failed) is bool else None}, name, call_id)


class CursorParser(CursorSession):
    """Reads one agent transcript.

    Args:
        stem: The file's name, which is the session's id.
        file_ms: When the file was last written, in milliseconds: the time of events before any clock is told.
        slug: The project folder's name, Cursor's spelling of the workspace.
        parent: The session that started this one, from the folder it lies in.
    """

    def __init__(self, stem: str, *, file_ms: int, slug: str = "", parent: str | None = None) -> None:
        super().__init__(stem, file_ms)
        self.parent_session_id = parent
        self._slug = slug

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
        for block in (one for one in blocks if one.get("type") == "tool_result"):  # hardly any build writes results
            self._result(block.get("is_error"), call_id=text_of(block, "tool_use_id"))
        if role == "user":
            self._user(blocks)
        elif role == "assistant":
            self._assistant(blocks)
        elif role != "tool":
            self._note_unknown(f"role/{role}")

    def _user(self, blocks: list[Json]) -> None:
        text = text_of_blocks(blocks)
        told = _clock_of(text)
        if told is not None:
            self._told_ms = told
        typed = find_query(text)
        if self.parent_session_id is None and typed:
            self._ask(typed)

    def _assistant(self, blocks: list[Json]) -> None:
        calls = [block for block in blocks if block.get("type") == "tool_use"]
        if blocks and all(block.get("type") == "tool_result" for block in blocks):
            return
        described = [(_name(block), _describe(_name(block), block.get("input"))) for block in calls]
        self._answer(text_of_blocks(blocks), {"role": "assistant"})
        for name, call in described:
            self._call(name, call)


def find_query(text: str) -> str:
    r"""Return what a person typed, which Cursor wraps in a tag; nothing for texts that a program wrote.

    >>> find_query("<user_query>\ngo\n</user_query>"), find_query("<user_info>...</user_info>")
    ('go', '')
    """
    query = _QUERY.search(text)
    typed = query.group(1) if query else text.strip()
    return typed if query or not typed.startswith("<") else ""


def _blocks(message: Json) -> list[Json]:
    content = message.get("content")
    if type(content) is str:
        return [{"type": "text", "text": content}]
    blocks = list_of(message, "content")
    if any(type(block) is not dict for block in blocks):
        raise Malformed(Reason.WRONG_TYPE, "content[]")
    return blocks


def text_of_blocks(blocks: list[Json]) -> str:
    """Return what the blocks of a message say, a line each.

    >>> text_of_blocks([{"type": "text", "text": "a"}, {"type": "tool_use"}])
    'a'
    """
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


def _workspace(slug: str, paths: Iterable[str]) -> str | None:
    """Return the folder whose slug this is: a parent of some path that was used, else the slug itself."""
    wanted = slug_of(slug)
    for path in paths:
        parts = normalise_folder(path).split("/")
        for end in range(len(parts), 1, -1):
            folder = "/".join(parts[:end])
            if slug_of(folder) == wanted:
                return folder
    return slug or None


class Composer(CursorSession):
    """One conversation of a `state.vscdb`, whose bubbles are its lines."""

    def __init__(self, composer: Json, bubbles: Mapping[str, Json], *, file_ms: int, workspace: str | None) -> None:
        session = text_of(composer, "composerId")
        if session is None:
            raise Malformed(Reason.NO_SESSION, "composerId")
        created = count_of(composer, "createdAt")
        last_ms = max(count_of(composer, "lastUpdatedAt") or 0, created or 0) or file_ms
        super().__init__(session, created if created is not None else last_ms, Place(workspace))
        self.last_ms = last_ms
        self._model = text_of(object_of(composer, "modelConfig") or {}, "modelName")
        for bubble in _conversation(composer, bubbles):
            self.feed_records(0, [bubble])
        if len(self.parsed.events) > 1:
            last = self.parsed.events[-1]
            last.ts_ms = max(last.ts_ms, self.last_ms)

    def _record(self, bubble: Json) -> None:
        kind, text = bubble.get("type"), bubble.get("text")
        if text is not None and type(text) is not str:
            raise Malformed(Reason.WRONG_TYPE, "text")
        self._told_ms = _iso_ms(bubble.get("createdAt"))
        if kind == _USER:
            self._ask(text or "")
        elif kind == _ASSISTANT:
            tokens = _bubble_tokens(bubble)
            event = self._answer(text, {"role": "assistant", "model": self._model})
            event.tokens, event.model = tokens, self._model
            self._tool(object_of(bubble, "toolFormerData") or {})
        else:
            raise Malformed(Reason.WRONG_TYPE, "type")

    def _tool(self, call: Json) -> None:
        if (name := text_of(call, "name")) is None:
            return
        call_id, status = text_of(call, "toolCallId"), text_of(call, "status")
        self._call(name, describe_input(name, _arguments(call)), call_id)
        if status in {"completed", "error", "cancelled"}:
            self._result(status != "completed", name, call_id)


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
