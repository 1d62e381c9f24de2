"""Cursor sessions: agent transcripts (lines of JSON or text), composers of a `state.vscdb`, chats of a `store.db`.

None carries usage worth the name, models or branches: their tokens are None, never 0. A transcript has no ids and
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
    clean,
    count_of,
    list_of,
    moment_or_fault,
    object_of,
    snippet,
    text_of,
)
from kaizen_analytics.ingest.tools import Described, describe_input, describe_patch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_QUERY = re.compile(r"<user_query>\s*(.*?)\s*</user_query>", re.DOTALL)
_CLOCK = re.compile(
    r"<timestamp>[^<]*?(?:(?P<month>[A-Z]{3})[a-z]*\.? (?P<day>\d{1,2})"
    r"|(?P<day_first>\d{1,2})\.? (?P<then>[A-Z]{3})[a-z]*\.?),? (?P<year>\d{4}),? (?:at )?(?P<hour>\d{1,2}):"
    r"(?P<minute>\d{2})(?::(?P<second>\d{2}))?\s?(?P<half>[AP]M)?(?P<zone> \((?:UTC|GMT)"
    r"(?:(?P<away>[+\u2212-]\d{1,2})(?::?(?P<away_minutes>\d{2}))?)?\))?</timestamp>",
    re.IGNORECASE,
)
_MOMENT = re.compile(r"<timestamp>\s*(\d{4}-[^<]*?)\s*</timestamp>")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_USER, _ASSISTANT = 1, 2
_HEAD = re.compile(r"\[(Tool call|Tool result|Thinking)\]\s*(\S*)")
_FIELD = re.compile(r"\s+([A-Za-z_]\w*)\s*[:=]\s?(.*)")
_ROLES = {"user:": "user", "assistant:": "assistant"}
_HASH_BYTES = 32
_MAX_NODES = 1_000_000
_BYTES_FIELD = 2
"""The wire type of a field with a length."""
_FIXED = {1: 8, 5: 4}
"""Wire types of fixed length, in bytes."""


class _CursorSession(LineParser):
    """What every form of a session shares: its events stand at the time that was told last, else at its own."""

    def __init__(self, session: str, own_ms: int, place: Place = NOWHERE) -> None:
        super().__init__(session)
        self.last_ms = own_ms
        self._own_ms = own_ms
        self._told_ms: int | None = None
        self._exact = True
        self._place = place
        self._model: str | None = None

    def _add(
        self, kind: str, payload: Json, tool: str | None = None, call_id: str | None = None,
        described: Described | None = None,
    ) -> Event:  # fmt: skip
        told = self._told_ms
        event = Event(
            None, self._own_ms if told is None else told, kind, payload, self._place,
            ts_exact=told is not None and self._exact, tool=tool, tool_call_id=call_id,
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


class CursorParser(_CursorSession):
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
        text = _text_of_blocks(blocks)
        told, exact = _clock_of(text)
        if told is not None:
            self._told_ms, self._exact = told, exact
        typed = _find_query(text)
        if self.parent_session_id is None and typed:
            self._ask(typed)

    def _assistant(self, blocks: list[Json]) -> None:
        calls = [block for block in blocks if block.get("type") == "tool_use"]
        if blocks and all(block.get("type") == "tool_result" for block in blocks):
            return
        described = [(_name(block), _describe(_name(block), block.get("input"))) for block in calls]
        self._answer(_text_of_blocks(blocks), {"role": "assistant"})
        for name, call in described:
            self._call(name, call)


def has_grown(answer: Json, others: Iterable[Json]) -> bool:
    """Return whether an answer is the beginning of another: without ids, nothing else tells that it was unfinished.

    Both are payloads of events.

    >>> has_grown({"role": "assistant", "text": "We"}, [{"role": "assistant", "text": "Well"}])
    True
    """
    begun = answer.get("text") if answer.get("role") == "assistant" else None
    texts = (other.get("text", "") for other in others if begun and other.get("role") == "assistant")
    return any(text != begun and text.startswith(begun) for text in texts)


def _find_query(text: str) -> str:
    """Return what a person typed, which Cursor wraps in a tag; nothing for texts that a program wrote."""
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


def _text_of_blocks(blocks: list[Json]) -> str:
    """Return what the blocks of a message say, a line each."""
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


def _clock_of(text: str) -> tuple[int | None, bool]:
    """Return the time in a `<timestamp>` tag, in milliseconds since the epoch, and whether it says its zone."""
    if iso := _MOMENT.search(text):
        return moment_or_fault({"timestamp": iso[1]})[:2]
    found = _CLOCK.search(text)
    month = "" if found is None else (found["month"] or found["then"]).title()
    if found is None or month not in _MONTHS:
        return None, False
    hour, half, away = int(found["hour"]), found["half"], (found["away"] or "0").replace("\N{MINUS SIGN}", "-")
    if half is not None:
        hour = hour % 12 + (12 if half.upper() == "PM" else 0)
    minutes = int(found["away_minutes"] or 0) * (-1 if away.startswith("-") else 1)
    try:
        moment = datetime(
            int(found["year"]), _MONTHS.index(month) + 1, int(found["day"] or found["day_first"]),
            hour, int(found["minute"]), int(found["second"] or 0),
            tzinfo=timezone(timedelta(hours=int(away), minutes=minutes)),
        )  # fmt: skip
        return round(moment.timestamp() * 1000), found["zone"] is not None
    except (ValueError, OverflowError):
        return None, False


def _time_of(record: Json, name: str) -> int | None:
    return moment_or_fault(record, name)[0]


def _workspace(slug: str, paths: Iterable[str]) -> str | None:
    """Return the folder whose slug this is: a parent of some path that was used, else the slug itself."""
    wanted = slug_of(slug)
    for path in paths:
        parts = normalise_folder(path).split("/")
        for end in range(len(parts), 1, -1):
            folder = "/".join(parts[:end])
            slug_here = slug_of(folder)  # Windows puts the name of a Linux before the folders in it
            if slug_here == wanted or (wanted.startswith("wsl-") and wanted.endswith(f"-{slug_here}")):
                return folder
    return slug or None


class CursorTextParser(CursorParser):
    """Reads one transcript of text, with a line for each turn of speech, call and result.

    A line `user:` or `assistant:` begins what one of them says. Within an assistant's part, `[Tool call] Name` and
    `[Tool result] Name` head indented lines, and so does `[Thinking]`.
    """

    def __init__(self, stem: str, *, file_ms: int, slug: str = "", parent: str | None = None) -> None:
        super().__init__(stem, file_ms=file_ms, slug=slug, parent=parent)
        self._role: str | None = None
        self._said: list[str] = []
        self._parts: list[tuple[str, str, list[str]]] = []

    def feed(self, offset: int, line: bytes) -> None:
        """Read one line; bytes that are no text are replaced, so that nothing is rejected."""
        del offset
        self.parsed.n_lines += 1
        text = line.decode("utf-8-sig", "replace").rstrip("\r")
        role = _ROLES.get(text.strip())
        if role is not None:
            self._flush()
            self._role = role
        elif self._role == "assistant":
            self._assistant_line(text)
        else:
            self._said.append(text)

    def finish(self) -> None:
        """Take the last part, then do what every transcript needs."""
        self._flush()
        super().finish()

    def _assistant_line(self, text: str) -> None:
        if head := _HEAD.match(text.strip()):
            self._parts.append((head.group(1), clean(head.group(2)), []))
        elif self._parts and text[:1] in (" ", "\t"):
            self._parts[-1][2].append(text)
        else:
            self._said.append(text)

    def _flush(self) -> None:
        said, parts = "\n".join(self._said).strip(), self._parts
        self._said, self._parts = [], []
        if self._role == "user":
            self._user([{"type": "text", "text": said}])
        elif self._role == "assistant" and (said or parts):
            self._answer(said, {"role": "assistant"})
            for kind, name, body in parts:
                self._part(kind, name, body)

    def _part(self, kind: str, name: str, body: list[str]) -> None:
        if kind == "Tool call":
            self._call(name or "unknown", _describe_lines(name, body))
        elif kind == "Tool result":
            chars = sum(len(line.strip()) for line in body)
            self._add(Kind.TOOL_RESULT, {"is_error": None, "chars": chars}, name or "unknown")


def _describe_lines(name: str, body: list[str]) -> Described:
    text = "\n".join(body)
    if "*** Begin Patch" in text:
        return describe_patch("\n".join(line.strip() for line in body))
    found = (_FIELD.fullmatch(line) for line in body)
    return describe_input(name, {match.group(1): match.group(2) for match in found if match is not None})


class Composer(_CursorSession):
    """One conversation of a `state.vscdb`, whose bubbles are its lines."""

    def __init__(self, composer: Json, bubbles: Mapping[str, Json], *, file_ms: int, workspace: str | None) -> None:
        session = text_of(composer, "composerId")
        if session is None:
            raise Malformed(Reason.NO_SESSION, "composerId")
        created = _time_of(composer, "createdAt")
        last_ms = max(_time_of(composer, "lastUpdatedAt") or 0, created or 0) or file_ms
        super().__init__(session, created if created is not None else last_ms, Place(workspace))
        self.last_ms = last_ms
        self._model = text_of(object_of(composer, "modelConfig") or {}, "modelName")
        started = object_of(composer, "subagentInfo")
        self._is_subagent = started is not None or composer.get("isBestOfNSubcomposer") is True
        self.parent_session_id = None if started is None else text_of(started, "parentComposerId")
        for bubble in _conversation(composer, bubbles):
            self.feed_records(0, [bubble])
        last = self.parsed.events[-1] if len(self.parsed.events) > 1 else None
        if last is not None and not any(event.ts_exact for event in self.parsed.events):
            last.ts_ms = max(last.ts_ms, self.last_ms)

    def _record(self, bubble: Json) -> None:
        kind, text = bubble.get("type"), bubble.get("text")
        if text is not None and type(text) is not str:
            raise Malformed(Reason.WRONG_TYPE, "text")
        told, has_zone, _ = moment_or_fault(bubble, "createdAt")
        self._told_ms, self._exact = told or self._told_ms, has_zone
        if kind == _USER:
            if not self._is_subagent and (text or bubble.get("images")):
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


class Chat(_CursorSession):
    """One session of the command line: a tree of messages that are found by the hash of their content.

    The description of a session (`meta`) names the root of the tree. A node is a message as JSON, or a binary record
    (protocol buffers) whose fields are hashes of further nodes, or hold such a message. Nothing tells tokens, and only
    the session as a whole has times.

    Args:
        meta: The session's description, JSON written as hexadecimal digits.
        beside: The description in `meta.json`, which newer builds write; it has the folder.
        blobs: Every node by its hash.
        stem: The folder's name, which is the session's id.
        file_ms: When the database was last written, in milliseconds.

    Raises:
        Malformed: the description cannot be read.
    """

    def __init__(self, meta: str, beside: Json, blobs: Mapping[str, bytes], *, stem: str, file_ms: int) -> None:
        told = _description(meta) if meta else {}
        start_ms = _time_of(told, "createdAt") or _time_of(beside, "createdAtMs") or file_ms
        cwd = text_of(beside, "cwd")
        place = Place(normalise_folder(cwd)) if cwd else NOWHERE
        super().__init__(text_of(told, "agentId") or text_of(beside, "agentId") or stem, start_ms, place)
        self.last_ms = max(start_ms, _time_of(beside, "updatedAtMs") or file_ms)
        self._model = text_of(told, "lastUsedModel") or text_of(beside, "lastUsedModel")
        root = text_of(told, "latestRootBlobId") or text_of(beside, "latestRootBlobId")
        for message in _messages(blobs, root):
            self.feed_records(0, [message])
        if len(self.parsed.events) > 1:
            self.parsed.events[-1].ts_ms = self.last_ms

    def _record(self, message: Json) -> None:
        role, content = text_of(message, "role"), message.get("content")
        blocks = [{"type": "text", "text": content}] if type(content) is str else content
        if type(blocks) is not list or any(type(block) is not dict for block in blocks):
            raise Malformed(Reason.WRONG_TYPE, "content")
        text = _text_of_blocks(blocks)
        if role == "user":
            if typed := _find_query(text):
                self._ask(typed)
        elif role == "assistant":
            self._answer(text, {"role": "assistant", "model": self._model})
            for block in blocks:
                if block.get("type") == "tool-call":
                    name = text_of(block, "toolName") or "unknown"
                    given = block.get("args", block.get("input"))
                    described = _describe(name, given if type(given) in (dict, str) else None)
                    self._call(name, described, text_of(block, "toolCallId"))
        elif role == "tool":
            for block in blocks:
                self._result(block.get("isError"), text_of(block, "toolName"), text_of(block, "toolCallId"))


def _description(meta: str) -> Json:
    try:
        value = orjson.loads(bytes.fromhex(meta)) if not meta.startswith("{") else orjson.loads(meta)
    except ValueError:
        raise Malformed(Reason.NOT_JSON, "meta") from None
    if type(value) is not dict:
        raise Malformed(Reason.NOT_AN_OBJECT, "meta")
    return value


def _messages(blobs: Mapping[str, bytes], root: str | None) -> Iterator[Json]:
    """Yield the messages of the tree below `root` in order; what several nodes name, once."""
    pending, seen = [root] if root and root in blobs else [], {root}
    while pending and len(seen) < _MAX_NODES:
        name = pending.pop()
        message = _as_message(blobs[name])
        if message is not None:
            yield message
            continue
        children: list[str] = []
        for value in _fields(blobs[name]):
            if len(value) == _HASH_BYTES and value.hex() in blobs:
                if value.hex() not in seen:
                    children.append(value.hex())
            elif (message := _as_message(value)) is not None:
                yield message
        seen.update(children)
        pending += reversed(children)  # what stands twice in a node was said twice


def _as_message(data: bytes) -> Json | None:
    if not data.startswith(b"{"):
        return None
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if type(value) is dict and "role" in value else None


def _fields(data: bytes) -> Iterator[bytes]:
    """Yield the fields with a length of a binary record; what is not one ends it."""
    at = 0
    while at < len(data):
        tag, at = _number(data, at)
        kind = tag & 7
        if kind == _BYTES_FIELD:
            size, at = _number(data, at)
            if at + size > len(data):
                return
            yield data[at : at + size]
            at += size
        elif kind == 0:
            _, at = _number(data, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            return


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return the variable-length number at a place, and the place after it; the end of the data ends it."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return value, at
