"""Claude Code transcripts: one JSON record a line, one content block of a response a line.

`ClaudeCodeParser` reads lines in file order. What depends on other files (copied history) is decided later, by each
event's `key`.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from kaizen_analytics.ingest.records import (
    MAX_INTEGER,
    NOWHERE,
    Event,
    Json,
    Kind,
    LineParser,
    Malformed,
    OwnTotals,
    Place,
    Reason,
    RecordStanding,
    Tokens,
    clean,
    count_of,
    flag_of,
    list_of,
    moment_or_fault,
    name_within,
    object_of,
    snippet,
    speed_of,
    text_of,
    time_of,
)
from kaizen_analytics.ingest.shell_output import SHELL_TOOLS, read_shell_output
from kaizen_analytics.ingest.tools import describe_input

if TYPE_CHECKING:
    from collections.abc import Callable

SYNTHETIC_MODEL = "<synthetic>"
"""Messages that the program itself wrote: they carry a usage of zero and no model answered."""

_TOLD = ("cwd", "gitBranch", "version", "sessionId", "session_id", "forkedFrom")
"""What a record says of the session it belongs to; it seldom changes from line to line."""

_INTERRUPTED = "[Request interrupted"
_NOT_TYPED = re.compile(
    r"\s*(?:$|<(?:command-|local-command-|bash-|task-notification|system-reminder|teammate-message|ci-monitor-event"
    r"|cross-session-message|agent-message|scheduled-task|<autonomous-loop|user-memory-input|user-prompt-submit-hook"
    r"|fork-boilerplate|mcp-(?:resource|polling)-update)|\[SYSTEM NOTIFICATION|Stop hook feedback:"
    r"|Caveat: The messages below were generated|This session is being continued from a previous conversation)"
)
_BESIDE_PROMPT = re.compile(r"<(system-reminder|ide_\w+)>.*?</\1>", re.DOTALL)
"""What the program puts beside a prompt, or into it: reminders, and what the editor shows."""

_SKILL_FOLDER = re.compile(r"Base directory for this skill: \S*?([^/\\\s]+)\s")
_EXIT_CODE = re.compile(r"Exit code (-?\d{1,9})\b")
_QUIET_KINDS = frozenset(
    {"agent-color", "agent-name", "agent-setting", "ai-title", "atis-latch", "attribution-snapshot", "bridge-session"}
    | {"content-replacement", "continued-in", "custom-title", "failed", "frame-link"}
    | {"fork-context-ref", "last-prompt", "launched", "marble-origami-commit"}
    | {"marble-origami-snapshot", "mode", "permission-mode", "progress", "queue-operation", "relocated"}
    | {"api-request", "api-request-shape", "api-request-blob", "tools-used", "prompt_snapshot"}
    | {"hook_additional_context", "result", "speculation-accept", "started", "summary", "tag", "task-summary"}
    | {"worktree-state"}
)
_QUIET_FAMILIES = ("file-history-", "artifact-")
"""Kinds of records, and beginnings of kinds, that are known and have nothing to count."""

_TOTALS = ("inputTokens", "cacheCreationInputTokens", "cacheReadInputTokens", "outputTokens", "webSearchRequests")
"""What a `cost-state` record says of each model."""

_UNIQUE_RESPONSE = re.compile(r"msg_\w{16,}")
_UNIQUE_CALL = re.compile(r"toolu_\w{16,}")
"""Anthropic's own ids, which never repeat. A gateway may give every response the same id."""

_UUID_CHARS = 36
_NOT_TYPED_FLAGS = (
    "isMeta", "isCompactSummary", "isSidechain", "isVisibleInTranscriptOnly", "isVirtual", "textNotTyped",
)  # fmt: skip
"""What marks a user's record as a program's."""

_REJECTED = "The user doesn't want to proceed with this tool use"


class ClaudeCodeParser(LineParser):
    """Reads one transcript.

    One file is one session, named like the file: resumed and forked files rewrite the recorded id. A copy may have
    something around the id in its name.
    """

    def __init__(self, stem: str) -> None:
        super().__init__(stem)
        self._has_time = False
        self._begun = False
        self._mode: str | None = None
        self._tools: dict[str, str] = {}
        self._responses: dict[str, _Response] = {}
        self._requests: dict[str, str | None] = {}
        self._begun_output: set[str | None] = set()
        self._attempts: dict[str | None, list[Event]] = {}
        self._paid_attempts: set[str | None] = set()
        self._turn = 0
        self._place = NOWHERE
        self._exact = True
        self._seen: dict[str, Event] = {}
        self._told: tuple[object, ...] = ()
        self._origin: str | None = None

    def _record(self, record: Json) -> None:
        kind = record.get("type")
        if type(kind) is not str:
            raise Malformed(Reason.WRONG_TYPE, "type")
        if not self._begun:
            self._note_birth(record)
        handler = self._HANDLERS.get(kind)
        if handler is None:
            if kind == "cost-state":
                self._own_totals(record)
            elif kind not in _QUIET_KINDS and not kind.startswith(_QUIET_FAMILIES):
                self._note_unknown(kind)
            return
        told_ms, self._exact, fault = moment_or_fault(record)
        uuid = text_of(record, "uuid")
        if told_ms is None and not self._has_time:
            raise fault or Malformed(Reason.BAD_TIME, "timestamp")
        ts_ms = self.last_ms if told_ms is None else told_ms
        self._follow(record)
        if uuid is not None and len(uuid) != _UUID_CHARS:
            uuid = f"{uuid}@{ts_ms}"  # not unique in the world: another file may number its records alike
        handler(self, record, uuid, ts_ms)
        # Only what was understood moves the clock.
        self._has_time, self.last_ms = True, max(self.last_ms, ts_ms)
        if fault is not None:
            raise fault

    def _own_totals(self, record: Json) -> None:
        """Read what a run that ended says of the whole session; a killed one leaves nothing."""
        models = {}
        for name, told in (object_of(record, "modelUsage") or {}).items():
            if type(told) is not dict:
                raise Malformed(Reason.WRONG_TYPE, "modelUsage")
            counts = [count_of(told, key) for key in _TOTALS]
            models[clean(name)] = Tokens(counts[0], counts[1], counts[2], counts[3], None, searches=counts[4] or 0)
        if models:
            self.parsed.totals.append(OwnTotals(models, self.last_ms, len(self.parsed.events)))

    def _note_birth(self, record: Json) -> None:
        """Learn when the file was begun: what precedes the first record with an id is never copied history."""
        if record.get("uuid") is not None:
            self._begun = True
        elif self.born_ms is None:
            self.born_ms = time_of(record)

    def _follow(self, record: Json) -> None:
        """Keep up with the folder, branch, version and first session, and learn whose sub-agent this is."""
        told = tuple(map(record.get, _TOLD))
        if told == self._told:
            return  # the same as on the line before, which was checked
        session = text_of(record, "sessionId")
        cwd = text_of(record, "cwd")  # some records have none, and happen where the one before did
        place = Place(cwd, text_of(record, "gitBranch"), text_of(record, "version")) if cwd else self._place
        fork = object_of(record, "forkedFrom") or {}
        self._origin = text_of(record, "session_id") or text_of(fork, "sessionId") or session
        self._place, self._told = place, told
        own = f"agent-{agent}" if (agent := record.get("agentId")) else session
        self.session_id = name_within(self.session_id, own) or self.session_id
        if self.parent_session_id is None and session is not None and self.session_id.startswith("agent-"):
            self.parent_session_id = session

    def _add(self, event: Event) -> Event | None:
        """Append an event unless this file already holds it; return it when it is new."""
        if event.key is not None:
            if event.key in self._seen:
                return None
            self._seen[event.key] = event
        event.place, event.ts_exact = self._place, self._exact
        if self.born_ms is not None and event.ts_ms < self.born_ms:
            event.standing = RecordStanding.COPIED
        elif self._origin != self.session_id:
            event.standing = RecordStanding.UNKNOWN
        self.parsed.events.append(event)
        return event

    def _assistant(self, record: Json, uuid: str | None, ts_ms: int) -> None:
        message = _message(record)
        model, response = _shared(text_of(message, "model")), text_of(message, "id")
        blocks = _blocks(message)
        usage, tokens, broken = _usage_or_fault(message)
        stop, skill = _shared(text_of(message, "stop_reason")), text_of(record, "attributionSkill")
        if flag_of(record, "isApiErrorMessage"):
            error = record.get("error")
            self._error(_key(uuid), ts_ms, clean(error) if type(error) is str and error else "api_error", blocks)
        kinds = [block.get("type") for block in blocks]
        calls = [_call(block) for block in blocks if block.get("type") == "tool_use"] if "tool_use" in kinds else ()
        key = self._response_key(record, response, uuid)
        event = self._seen.get(key) if key else None
        if event is None:
            payload: Json = {"role": "assistant", "model": model, "unreliable": True}
            real = None if model == SYNTHETIC_MODEL else model
            event = Event(key, ts_ms, Kind.MESSAGE, payload, model=real, skills=(skill,) if skill else ())
            self._add(event)
        _complete(event, tokens, stop, blocks if "text" in kinds else [])
        if kinds:
            self._note_fallback(key, kinds)
        if usage is not None:
            if (speed := speed_of(usage)) is not None:
                event.payload["speed"] = speed
            if usage.get("inference_geo") == "us":
                event.payload["geo"] = "us"
            if usage.get("iterations") is not None:
                self._beside(usage, model, key, ts_ms)
        for index, (call_id, name, given) in enumerate(calls):
            self._tool_call(_call_key(call_id, key if response else None, uuid, index), ts_ms, call_id, name, given)
        if broken is not None:
            raise broken

    def _response_key(self, record: Json, response: str | None, uuid: str | None) -> str | None:
        """Return what tells a response apart: Anthropic's id, or, with any other id, the first of its lines.

        Lines with such an id are one response if nothing was said to the model in between, or if one continues the
        other.
        """
        if response is None:
            return _key(uuid)
        request = text_of(record, "requestId")
        if _UNIQUE_RESPONSE.fullmatch(response):
            first = self._requests.setdefault(response, request)
            if first == request or not (first and request):
                return f"m:{response}"
            # There are gateways that repeat even such an id; then their requests tell the responses apart.
            self._seen[f"m:{response}"].key = f"m:{response}@{first}"
            return f"m:{response}@{request}"
        known, line = self._responses.get(response), text_of(record, "uuid")
        if known is None or not known.goes_on(self._turn, request, text_of(record, "parentUuid")):
            known = _Response(f"m:{response}@{uuid or self.parsed.n_lines}", request)
            self._responses[response] = known
        known.turn = self._turn
        if line is not None:
            known.lines.add(line)
        return known.key

    def _beside(self, usage: Json, model: str | None, key: str | None, ts_ms: int) -> None:
        """Count the calls that a response's usage leaves out; each is a response of its own."""
        for index, role, entry in _left_out(usage):
            name, tokens = text_of(entry, "model") or model, _usage_tokens(entry)
            own = f"{key}#{role}{index}" if key else None
            event = self._seen.get(own) if own else None
            if event is None:
                payload: Json = {"role": "assistant", "model": name, role: True}
                added = Event(own, ts_ms, Kind.MESSAGE, payload, model=name, tokens=tokens)
                if role == "attempt" and key not in self._paid_attempts:
                    payload["refused"] = True
                    self._attempts.setdefault(key, []).append(added)
                self._add(added)
            elif event.tokens is None or tokens.weight >= event.tokens.weight:
                event.tokens = tokens

    def _note_fallback(self, key: str | None, kinds: list[object]) -> None:
        """Learn whether an attempt that another model took over had written anything: then it is paid for."""
        for kind in kinds:
            if kind != "fallback":
                self._begun_output.add(key)
            elif key in self._begun_output:
                self._paid_attempts.add(key)
                for attempt in self._attempts.get(key, ()):
                    attempt.payload.pop("refused", None)

    def _tool_call(self, key: str | None, ts_ms: int, call_id: str | None, name: str, given: Json) -> None:
        described = describe_input(name, given)
        event = Event(
            key, ts_ms, Kind.TOOL_CALL, described.payload, tool=name, tool_call_id=call_id,
            paths=described.paths, skills=described.skills, rules=described.rules,
        )  # fmt: skip
        if self._add(event) is not None and call_id:
            self._tools[call_id] = name

    def _error(self, key: str | None, ts_ms: int, error: str, blocks: list[Json]) -> None:
        payload: Json = {"error": error}
        if text := _text(blocks):
            payload["text"] = snippet(text)
        self._add(Event(key, ts_ms, Kind.ERROR, payload))

    def _user(self, record: Json, uuid: str | None, ts_ms: int) -> None:
        message = _message(record)
        blocks = _blocks(message)
        self._turn += 1
        results = [block for block in blocks if block.get("type") == "tool_result"]
        if results:
            for index, block in enumerate(results):
                self._tool_result(record, _key(uuid, index), ts_ms, block)
            return
        text = _text(blocks)
        if text.startswith(_INTERRUPTED):
            self._error(_key(uuid), ts_ms, "interrupted", [])
            return
        skills = tuple(clean(name) for name in _SKILL_FOLDER.findall(text[:2000]))
        typed = self.parent_session_id is None and not any(flag_of(record, name) for name in _NOT_TYPED_FLAGS)
        typed = typed and _is_from_person(record)
        if typed and _is_typed(blocks, text):
            self._prompt(record, uuid, ts_ms, text)
        elif skills:
            loaded: Json = {"event": "skill", "skill": skills[0], "chars": len(text)}
            self._add(Event(_key(uuid), ts_ms, Kind.LIFECYCLE, loaded, skills=skills))

    def _prompt(self, record: Json, uuid: str | None, ts_ms: int, text: str) -> None:
        mode = text_of(record, "permissionMode")
        payload: Json = {"role": "user", "prompt": True, "text": snippet(text, 500), "chars": len(text)}
        fresh = self._add(Event(_key(uuid), ts_ms, Kind.MESSAGE, payload))
        if fresh and mode and mode != self._mode:
            if self._mode is not None:
                change: Json = {"event": "mode", "from": self._mode, "to": mode}
                self._add(Event(_key(uuid, 1), ts_ms, Kind.LIFECYCLE, change))
            self._mode = mode

    def _tool_result(self, record: Json, key: str | None, ts_ms: int, block: Json) -> None:
        call_id = text_of(block, "tool_use_id")
        failed = flag_of(block, "is_error")
        content = block.get("content")
        if content is not None and type(content) not in (str, list):
            raise Malformed(Reason.WRONG_TYPE, "tool_result.content")
        text = content if type(content) is str else _text(content or [])
        payload: Json = {"is_error": failed, "chars": len(text)}
        if failed:
            payload |= _failure(text)
        payload |= _result_details(record.get("toolUseResult"))
        tool = self._tools.pop(call_id, None) if call_id else None
        if tool in SHELL_TOOLS:
            payload |= read_shell_output(text)
        self._add(Event(key, ts_ms, Kind.TOOL_RESULT, payload, tool=tool, tool_call_id=call_id))

    def _system(self, record: Json, uuid: str | None, ts_ms: int) -> None:
        subtype = text_of(record, "subtype")
        payload: Json | None = None
        if subtype == "compact_boundary":
            facts = object_of(record, "compactMetadata") or {}
            payload = {"event": "compaction", "trigger": text_of(facts, "trigger")}
            payload["pre_tokens"] = count_of(facts, "preTokens")
        elif subtype == "api_error":
            payload = {"event": "api_retry", "attempt": count_of(record, "retryAttempt")}
        if payload is not None:
            self._add(Event(_key(uuid), ts_ms, Kind.LIFECYCLE, payload))
        elif subtype == "stop_hook_summary":
            hooks: Json = {"hooks": count_of(record, "hookCount"), "errors": len(list_of(record, "hookErrors"))}
            hooks["prevented"] = flag_of(record, "preventedContinuation")
            self._add(Event(_key(uuid), ts_ms, Kind.HOOK, hooks))

    def _attachment(self, record: Json, uuid: str | None, ts_ms: int) -> None:
        attachment = object_of(record, "attachment") or {}
        kind = text_of(attachment, "type")
        if kind == "queued_command":
            prompt = attachment.get("prompt")
            blocks = _blocks({"content": prompt})
            text = _text(blocks)
            # What a compaction carries on stands before it, too.
            programs = flag_of(attachment, "isMeta") or flag_of(attachment, "carriedByCompaction")
            typed = not (programs or flag_of(record, "isSidechain")) and _is_from_person(attachment)
            if typed and attachment.get("commandMode") in (None, "prompt") and _is_typed(blocks, text):
                self._prompt(record, uuid, ts_ms, text)
        elif kind == "nested_memory":
            rule = text_of(attachment, "path")
            event = Event(_key(uuid), ts_ms, Kind.LIFECYCLE, {"event": "rule", "path": rule})
            event.rules = (rule,) if rule else ()
            self._add(event)

    def _pull_request(self, record: Json, uuid: str | None, ts_ms: int) -> None:
        url = text_of(record, "prUrl")
        if url is not None:
            told: Json = {"event": "pull_request", "pull_request": clean(url)}
            self._add(Event(_key(uuid) or f"p:{self.session_id}:{ts_ms}:{url}", ts_ms, Kind.LIFECYCLE, told))

    _HANDLERS: ClassVar[dict[str, Callable[[ClaudeCodeParser, Json, str | None, int], None]]] = {
        "assistant": _assistant,
        "user": _user,
        "system": _system,
        "attachment": _attachment,
        "pr-link": _pull_request,
    }
    """By type of record. Not bound to the instance: such a circle would outlive it until the next collection."""


@dataclass(slots=True)
class _Response:
    """A response whose id may not be its own: its key, its request, its lines, and how many turns preceded the last."""

    key: str
    request: str | None
    turn: int = 0
    lines: set[str] = field(default_factory=set)

    def goes_on(self, turn: int, request: str | None, parent: str | None) -> bool:
        """Return whether a line with the same id belongs to this response."""
        if request is not None and self.request is not None:
            return request == self.request
        return turn == self.turn or parent in self.lines


def _shared(name: str | None) -> str | None:
    """Return the one copy of a name that thousands of records repeat."""
    return None if name is None else sys.intern(name)


def _key(uuid: str | None, index: int = 0) -> str | None:
    if uuid is None:
        return None
    return f"u:{uuid}#{index}" if index else f"u:{uuid}"


def _is_from_person(record: Json) -> bool:
    """Return whether a record's origin, where newer builds tell it, is not a program: a task, a peer, a schedule."""
    origin = record.get("origin")
    return type(origin) is not dict or origin.get("kind") in (None, "human")


def _is_typed(blocks: list[Json], text: str) -> bool:
    """Return whether a person wrote the text of a message, or attached something to one without a text."""
    rest = _BESIDE_PROMPT.sub("", text) if "</" in text else text
    attached = any(block.get("type") not in ("text", "tool_result") for block in blocks)
    return not _NOT_TYPED.match(rest) or (attached and not rest.strip())


def _call_key(call_id: str | None, response: str | None, uuid: str | None, index: int) -> str | None:
    """Return what tells a call apart across files.

    Other models behind a gateway number their calls anew in each conversation, such as `functions.Bash:0`, so theirs
    tell calls apart only within a response.
    """
    if call_id is not None and _UNIQUE_CALL.fullmatch(call_id):
        return f"t:{call_id}"
    owner = response or _key(uuid)
    return None if owner is None else f"t:{owner}:{index if call_id is None else call_id}"


def _message(record: Json) -> Json:
    message = record.get("message")
    if type(message) is not dict:
        raise Malformed(Reason.WRONG_TYPE, "message")
    return message


def _blocks(message: Json) -> list[Json]:
    content = message.get("content")
    if content is None:
        return []
    if type(content) is str:
        return [{"type": "text", "text": content}] if content else []
    if type(content) is not list:
        raise Malformed(Reason.WRONG_TYPE, "content")
    return _dicts(content)


def _dicts(items: list[Any]) -> list[Json]:
    for item in items:
        if type(item) is not dict:
            raise Malformed(Reason.WRONG_TYPE, "content[]")
    return items


def _text(blocks: list[Any]) -> str:
    texts = [block.get("text") for block in blocks if type(block) is dict and block.get("type") == "text"]
    return "\n".join([text for text in texts if type(text) is str])


def _call(block: Json) -> tuple[str | None, str, Json]:
    name = text_of(block, "name")
    if name is None:
        raise Malformed(Reason.WRONG_TYPE, "tool_use.name")
    return text_of(block, "id"), name, object_of(block, "input") or {}


def _left_out(usage: Json) -> list[tuple[int, str, Json]]:
    """Return those iterations of a usage object that its totals do not hold: place, role and counts.

    Advisor calls and compactions are never in the totals; where another model stepped in, the totals are those of the
    attempt that was served, the last one.
    """
    entries = [entry if type(entry) is dict else {} for entry in list_of(usage, "iterations")]
    kinds = [entry.get("type") for entry in entries]
    served = max((index for index, kind in enumerate(kinds) if kind == "fallback_message"), default=0)
    found: list[tuple[int, str, Json]] = []
    for index, (kind, entry) in enumerate(zip(kinds, entries, strict=True)):
        if kind == "advisor_message":
            found.append((index, "advisor", entry))
        elif kind == "compaction":
            found.append((index, "compaction", entry))
        elif index < served and kind in ("message", "fallback_message"):
            found.append((index, "attempt", entry))
    return found


def _usage_or_fault(message: Json) -> tuple[Json | None, Tokens | None, Malformed | None]:
    """Return a response's usage and tokens, or what is wrong with them, so that the calls beside them are not lost."""
    try:
        usage = object_of(message, "usage")
        return usage, None if usage is None else _usage_tokens(usage), None
    except Malformed as malformed:
        return None, None, malformed


def _usage_tokens(usage: Json) -> Tokens:
    """Split a usage object into disjoint columns; thinking tokens are a part of the output tokens."""
    output = count_of(usage, "output_tokens")
    details = object_of(usage, "output_tokens_details")
    thinking = None if details is None else count_of(details, "thinking_tokens")
    if thinking is not None and output is not None:
        thinking = min(thinking, output)
        output -= thinking
    split = object_of(usage, "cache_creation") or {}
    lives = [count_of(split, f"ephemeral_{life}_input_tokens") for life in ("5m", "1h")]
    hour = lives[1] or 0
    creation = count_of(usage, "cache_creation_input_tokens")
    if creation is None and lives != [None, None]:
        creation = min((lives[0] or 0) + hour, MAX_INTEGER)
    given, read = count_of(usage, "input_tokens"), count_of(usage, "cache_read_input_tokens")
    served = object_of(usage, "server_tool_use")
    searches = 0 if served is None else count_of(served, "web_search_requests") or 0
    return Tokens(given, creation, read, output, thinking, min(hour, creation or 0), searches)


def _complete(event: Event, tokens: Tokens | None, stop: str | None, blocks: list[Json]) -> None:
    """Add what one more line of a response says: the largest usage wins, and a stop reason makes it reliable."""
    if tokens is not None and (event.tokens is None or tokens.weight >= event.tokens.weight):
        event.tokens = tokens
        event.context_used_tokens = min((tokens[0] or 0) + (tokens[1] or 0) + (tokens[2] or 0), MAX_INTEGER)
    if stop is not None:
        event.stop_reason = stop
        event.payload.pop("unreliable", None)
    if "text" not in event.payload and (text := _text(blocks)):
        event.payload["text"] = snippet(text)


def _failure(text: str) -> Json:
    found: Json = {"error": snippet(text)}
    if code := _EXIT_CODE.match(text):
        found["exit_code"] = int(code.group(1))
    if text.startswith(_REJECTED):
        found["rejected"] = True
    return found


def _result_details(details: object) -> Json:
    """Return the few facts beside a result that are worth a query: lines read, a child's id, how it ended."""
    found: Json = {}
    if type(details) is not dict:
        return found
    if type(agent := details.get("agentId")) is str:
        found["agent_id"] = clean(agent)
    if details.get("interrupted") is True:
        found["interrupted"] = True
    if type(details.get("backgroundTaskId")) is str:
        found["background"] = True
    file = details.get("file")
    if type(file) is dict and type(lines := file.get("totalLines")) is int and 0 <= lines <= MAX_INTEGER:
        found["lines"] = lines
    return found
