"""Codex rollouts: one `{timestamp, type, payload}` a line, with running totals of tokens.

Four things would be counted twice and are not: a total that is reported again, a response that has a record of its
own beside its total, the history that a fork or a resume copies to its beginning, and the message that stands both as
an event and as a response item.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from kaizen_analytics.ingest.records import (
    MAX_INTEGER,
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
    flag_of,
    list_of,
    moment_or_fault,
    object_of,
    snippet,
    speed_of,
    text_of,
    time_of,
)
from kaizen_analytics.ingest.shell_output import SHELL_TOOLS, read_shell_output
from kaizen_analytics.ingest.tools import Described, add_patch, describe_code, describe_input, describe_patch

if TYPE_CHECKING:
    from collections.abc import Callable

_Counts = tuple[int, int, int, int, int]
"""input, cached, cache write, output, reasoning; as Codex counts them: each later one a part of an earlier one."""

_COUNT_FIELDS = (
    "input_tokens", "cached_input_tokens", "cache_write_input_tokens", "output_tokens", "reasoning_output_tokens",
)  # fmt: skip
_PAIRS_KEPT = 8
"""So many responses may be recorded before the total that they are a part of is reported."""

_HEAD_CHARS = 1000
"""An output begins with what the program says of it; what follows is the command's own text."""

_EXIT_CODE = re.compile(r"^(?:Exit code: |Process exited with code )(-?\d{1,9})\s*$", re.MULTILINE)
_FAILED = re.compile(
    r"(?:Script failed|exec_command failed|write_stdin failed|apply_patch verification failed|failed in sandbox"
    r"|collab spawn failed|resources/list failed|aborted by user|aborted|[\w ]{0,40}\brejected\b"
    r"|execution error|unsupported call|failed to parse function arguments)"
)
_CWD = re.compile(r"<environment_context>.*?(?:<cwd>|Current working directory: )([^<\n]+)", re.DOTALL)
_NOT_TYPED = re.compile(
    r"\s*(?:<(?:environment_context|ENVIRONMENT_CONTEXT|user_instructions|INSTRUCTIONS>|turn_aborted>|skill>\s*<name>"
    r"|subagent_notification>|user_shell_command>|codex_internal_context|AGENTS\.md INSTRUCTIONS)"
    r"|# AGENTS\.md instructions)"
)
_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_COMPLETED = re.compile(r"(?:Script completed|Plan updated|Success\. Updated)")
_RESPONSES_KEPT = 64
"""A response is recorded again only soon after, if at all."""

_ITEM_RESULTS = frozenset({"CommandExecution", "McpToolCall", "FileChange", "DynamicToolCall"})
_QUIET_KINDS = frozenset(
    {"world_state", "retained_context", "inter_agent_communication", "inter_agent_communication_metadata"}
    | {"realtime_item", "security_risk_score"}
)
"""Kinds of records, items and events that are known and have nothing to count."""

_QUIET_ITEMS = frozenset(
    {"message", "reasoning", "agent_message", "compaction", "compaction_summary", "compaction_trigger"}
    | {"context_compaction", "ghost_snapshot", "additional_tools", "configuration_update", "other"}
)
_QUIET_EVENTS = frozenset(
    {"agent_reasoning", "agent_reasoning_raw_content", "agent_reasoning_section_break", "background_event"}
    | {"context_compacted", "entered_review_mode", "exited_review_mode", "item_started", "plan_update"}
    | {"raw_response_item", "session_configured", "shutdown_complete", "sub_agent_activity", "task_complete"}
    | {"thread_goal_updated", "thread_name_updated", "thread_rolled_back", "turn_complete"}
    | {"turn_diff", "undo_completed", "view_image_tool_call", "warning", "guardian_assessment"}
    | {"guardian_warning", "injected_message", "deprecation_notice", "model_reroute", "model_verification"}
    | {"hook_started", "hook_completed", "dynamic_tool_call_request", "dynamic_tool_call_response"}
    | {"turn_moderation_metadata", "safety_buffering", "terminal_interaction", "request_user_input"}
)
_PASSING = ("_begin", "_end", "_delta", "_request", "_updated", "_started", "_response")
"""Endings of events that go with a call or a text that is counted by its item."""


_BURST_GAP_MS = 500
"""Copied history is written within milliseconds; people and models take longer to begin."""

_TURN_GAP_MS = 5000
"""A burst that names the turns it copies ends with a turn of the file's own; a slow disk must not end it before."""


class CodexParser(LineParser):
    """Reads one rollout.

    The session's id is that of the first `session_meta`, without one that in the file's name, or the name. A thread
    that is resumed may go on in a further file, which holds only what is new: the same session. A fork made by a person
    has no parent.
    """

    def __init__(self, stem: str) -> None:
        named = _ID.search(stem)
        super().__init__(named[0] if named else stem)
        self._has_id = False
        self._is_subagent = False
        self._copies = _Copies()
        self._copied = False
        self._exact = True
        self._total: _Counts | None = None
        self._last: _Counts | None = None
        self._recorded: list[_Counts] = []
        self._counted: _Counts | None = None
        self._responses: list[str] = []
        self._window: int | None = None
        self._said: tuple[str, int] | None = None
        self._model: str | None = None
        self._speed: str | None = None
        self._place = Place()
        self._tools: dict[str, str] = {}
        self._outcomes: dict[str, bool] = {}
        self._results: dict[str, Event] = {}
        self._text: str | None = None

    def _record(self, record: Json) -> None:
        kind = record.get("type")
        handler = self._HANDLERS.get(kind) if type(kind) is str else None
        if handler is None:
            kind = text_of(record, "type")
            if kind is None or "payload" not in record:
                self._bare_record(record, kind)
            elif kind not in _QUIET_KINDS:
                self._note_unknown(kind)
            return
        payload = record.get("payload")
        if type(payload) is not dict:
            raise Malformed(Reason.WRONG_TYPE, "payload")
        told_ms, is_exact, fault = moment_or_fault(record)
        if told_ms is None and kind == "session_meta":
            told_ms, is_exact, _ = moment_or_fault(payload)
        ts_ms = self.last_ms if told_ms is None else told_ms
        if told_ms is None and not ts_ms:
            raise fault or Malformed(Reason.BAD_TIME, "timestamp")
        self._exact = is_exact
        self._copied = self._copies.advance(record, payload, ts_ms, self.last_ms)
        self.last_ms = max(self.last_ms, ts_ms)
        handler(self, payload, ts_ms)
        if fault is not None:
            raise fault

    def _bare_record(self, record: Json, kind: str | None) -> None:
        """Read a line of a build up to 0.31 or so: session facts, then items, without payloads and without times."""
        if kind is not None:
            if not self.last_ms:
                raise Malformed(Reason.BAD_TIME, "timestamp")
            self._exact = False
            if kind == "message":
                self._bare_message(record)
            else:
                self._response_item(record, self.last_ms)
        elif "timestamp" in record and "id" in record:
            ts_ms = time_of(record)
            if ts_ms is None:
                raise Malformed(Reason.BAD_TIME, "timestamp")
            self.last_ms = max(self.last_ms, ts_ms)
            self._session_meta(record, ts_ms)
        elif "role" in record:
            self._bare_record(record | {"type": "message"}, "message")
        elif "record_type" not in record:
            raise Malformed(Reason.WRONG_TYPE, "type")

    def _bare_message(self, item: Json) -> None:
        text, role = _message_text(item), text_of(item, "role")
        if found := _CWD.search(text):
            self._place = self._place._replace(cwd=clean(found.group(1)))
        if role == "assistant":
            payload: Json = {"role": "assistant", "model": self._model, "text": snippet(text)}
            self._add(Event(None, self.last_ms, Kind.MESSAGE, payload, model=self._model))
        elif role == "user":
            self._user_message({"message": text}, self.last_ms)

    def _add(self, event: Event) -> Event:
        """Append an event; copied history is read for its totals and models only."""
        event.place, event.ts_exact = self._place, self._exact
        if not self._copied:
            self.parsed.events.append(event)
        return event

    def _session_meta(self, meta: Json, ts_ms: int) -> None:
        session, cwd = text_of(meta, "id") or text_of(meta, "session_id"), text_of(meta, "cwd")
        git = object_of(meta, "git") or {}
        place = Place(cwd, text_of(git, "branch"), text_of(meta, "cli_version"), text_of(git, "commit_hash"))
        if session is not None and not self._has_id:
            self._has_id, self.session_id, self._place = True, session, place
            self.parent_session_id = _parent_of(meta)
            self._is_subagent = _is_subagent(meta)
            self._instruct(_text_of_any(meta, "instructions"))
            self._copies.begin(meta, session, ts_ms)
        elif session is not None:
            self._copies.meet(session)
            if not self._copies.running and any(place[:2]):
                self._place = place  # a resume goes on where it says

    def _instruct(self, instructions: str | None) -> None:
        if self.prompt_fingerprint is None and instructions and not self._copied:
            self.prompt_fingerprint = hashlib.sha256(instructions.encode()).hexdigest()[:16]

    def _turn_context(self, context: Json, _ts_ms: int) -> None:
        model, cwd = text_of(context, "model"), text_of(context, "cwd")
        self._instruct(_text_of_any(context, "user_instructions"))
        if model is not None:
            self._model = model
        self._speed = speed_of(context, self._speed)
        if cwd is not None and not self._copied and cwd != self._place.cwd:
            self._place = self._place._replace(cwd=cwd)

    def _response_item(self, item: Json, ts_ms: int) -> None:
        kind = item.get("type")
        handler = self._ITEMS.get(kind) if type(kind) is str else None
        if handler is not None:
            handler(self, item, ts_ms)
            return
        kind = text_of(item, "type") or ""
        if kind.endswith("_call"):
            self._action_call(item, ts_ms)
        elif kind.endswith("_call_output"):
            self._output(item, ts_ms)
        elif kind not in _QUIET_ITEMS:
            self._note_unknown(f"response_item/{kind}")

    def _event_msg(self, message: Json, ts_ms: int) -> None:
        kind = message.get("type")
        handler = self._EVENTS.get(kind) if type(kind) is str else None
        if handler is not None:
            handler(self, message, ts_ms)
            return
        kind = text_of(message, "type") or ""
        if kind not in _QUIET_EVENTS and not kind.endswith(_PASSING):
            self._note_unknown(f"event_msg/{kind}")

    def _compacted(self, _payload: Json, ts_ms: int) -> None:
        self._add(Event(None, ts_ms, Kind.LIFECYCLE, {"event": "compaction"}))

    def _token_count(self, message: Json, ts_ms: int) -> None:
        info = object_of(message, "info")
        if info is None:
            return
        total = _counts(object_of(info, "total_token_usage"))
        last = _counts(object_of(info, "last_token_usage"))
        self._window = count_of(info, "model_context_window") or self._window
        if total is not None and total == self._total and (last != total or last == self._last):
            return  # else a counter began anew, and came to the same total by its first response
        previous, self._total = self._total, total or self._total
        if last is None and total is not None:
            last = _difference(total, previous)
        if last is not None and (last[0] or last[3]):
            self._last = last
        if last is None or self._copied or not (last[0] or last[3]):
            return  # after a compaction only the size of the new context is told
        if self._recorded:
            # The response has a record of its own; a compaction before it may have one, too.
            known = self._recorded.index(last) if last in self._recorded else len(self._recorded) - 1
            del self._recorded[: known + 1]
            return
        self._counted = last
        usage = info.get("last_token_usage") or info["total_token_usage"]
        self._respond(last, usage, ts_ms, speed_of(message, speed_of(info, self._speed)))

    def _token_usage_record(self, record: Json, ts_ms: int) -> None:
        """Count a response by its own record, which newer builds write beside the total.

        Compactions have no other: their tokens are never added to the total.
        """
        usage, response = object_of(record, "usage"), text_of(record, "response_id")
        counts = _counts(usage)
        if usage is None or counts is None or not (counts[0] or counts[3]) or self._copied:
            return
        if response is not None:
            if response in self._responses:
                return
            self._responses = [*self._responses[1 - _RESPONSES_KEPT :], response]
        if counts == self._counted:
            self._counted = None  # its total came first
            return
        self._recorded = [*self._recorded[1 - _PAIRS_KEPT :], counts]
        self._respond(counts, usage, ts_ms, speed_of(record, speed_of(usage, self._speed)))

    def _respond(self, counts: _Counts, usage: Json, ts_ms: int, speed: str | None) -> None:
        payload: Json = {"role": "assistant", "model": self._model}
        if speed is not None:
            payload["speed"] = speed
        if self._text is not None:
            payload["text"], self._text = self._text, None
        self._add(
            Event(
                None, ts_ms, Kind.MESSAGE, payload, model=self._model, tokens=_disjoint(counts, usage),
                context_used_tokens=counts[0], context_max_tokens=self._window,
            )
        )  # fmt: skip
        if counts[1] + counts[2] > counts[0] or counts[4] > counts[3]:
            raise Malformed(Reason.BAD_NUMBER, "token_usage")  # a part that is more than the whole was cut

    def _task_started(self, message: Json, _ts_ms: int) -> None:
        self._window = count_of(message, "model_context_window") or self._window

    def _settings(self, message: Json, _ts_ms: int) -> None:
        settings = object_of(message, "thread_settings") or message
        self._model = self._model or text_of(settings, "model")
        self._speed = speed_of(settings, self._speed)

    def _user_message(self, message: Json, ts_ms: int) -> None:
        kind, text = text_of(message, "kind"), _text_of_any(message, "message") or ""
        if kind not in (None, "plain"):
            return  # early builds recorded instructions and the environment as user messages
        if text.strip() or any(type(value) is list and value for value in message.values()):
            self._prompt("event", text, ts_ms)  # it may be nothing but images

    def _prompt(self, source: str, text: str, ts_ms: int) -> None:
        """Count what a person sent; where a build tells it both as an event and as an item, once.

        Nobody types into a sub-agent: a program writes its task, its reviews and its approvals.
        """
        if self._copied or self._is_subagent or _NOT_TYPED.match(text):
            return
        told = (source, zlib.crc32(text.encode()))
        if self._said is not None and self._said[0] != source and self._said[1] == told[1]:
            self._said = None
            return
        self._said = told
        payload: Json = {"role": "user", "prompt": True, "text": snippet(text, 500), "chars": len(text)}
        self._add(Event(None, ts_ms, Kind.MESSAGE, payload))

    def _item_completed(self, message: Json, ts_ms: int) -> None:
        """Read an item that builds with numbered records write instead of an event of its own kind."""
        item = object_of(message, "item") or {}
        kind = text_of(item, "type")
        if kind == "UserMessage":
            self._prompt("item", _message_text(item), ts_ms)
        elif kind == "AgentMessage":
            self._agent_message({"message": _message_text(item)}, ts_ms)
        elif kind in _ITEM_RESULTS and (failed := _item_failed(item)) is not None:
            self._ended(item, failed, "id")

    def _agent_message(self, message: Json, _ts_ms: int) -> None:
        # Kept for the response that follows; the assistant's response item says the same again.
        text = _text_of_any(message, "message")
        if text and not self._copied:
            self._text = snippet(text)

    def _call(self, call_id: str | None, name: str, ts_ms: int, described: Described) -> None:
        event = Event(
            None, ts_ms, Kind.TOOL_CALL, described.payload, tool=name, tool_call_id=call_id,
            paths=described.paths, skills=described.skills, rules=described.rules,
        )  # fmt: skip
        self._add(event)
        if call_id is not None and not self._copied:
            self._tools[call_id] = name

    def _function_call(self, item: Json, ts_ms: int) -> None:
        given = item.get("arguments")
        if type(given) is str:
            arguments = _json_object(given)
        elif given is None or type(given) is dict:
            arguments = given or {}
        else:
            raise Malformed(Reason.WRONG_TYPE, "arguments")
        name = _tool_name(item)
        self._call(text_of(item, "call_id"), name, ts_ms, _describe(name, arguments))

    def _custom_call(self, item: Json, ts_ms: int) -> None:
        name, text = _tool_name(item), item.get("input")
        if text is not None and type(text) is not str:
            raise Malformed(Reason.WRONG_TYPE, "input")
        describe = describe_patch if name == "apply_patch" else describe_code
        self._call(text_of(item, "call_id"), name, ts_ms, describe(text or ""))

    def _action_call(self, item: Json, ts_ms: int) -> None:
        name = text_of(item, "name") or (text_of(item, "type") or "").removesuffix("_call")
        given = object_of(item, "action") or {}
        self._call(text_of(item, "call_id"), name, ts_ms, _describe(name, given))

    def _output(self, item: Json, ts_ms: int) -> None:
        call_id, output = text_of(item, "call_id"), item.get("output")
        text = output if type(output) is str else _output_text(output)
        failed, exit_code = _outcome(output, text)
        if call_id is not None and call_id in self._outcomes:
            failed = self._outcomes.pop(call_id)
        payload: Json = {"is_error": failed, "chars": len(text)}
        if exit_code is not None:
            payload["exit_code"] = exit_code
        if failed:
            payload["error"] = snippet(text)
            payload["rejected"] = "rejected" in text[:200]
        tool = self._tools.pop(call_id, None) if call_id else None
        if tool in SHELL_TOOLS:
            payload |= read_shell_output(_printed(text))
        event = self._add(Event(None, ts_ms, Kind.TOOL_RESULT, payload, tool=tool, tool_call_id=call_id))
        if call_id is not None and failed is None and not self._copied:
            self._results[call_id] = event

    def _search_output(self, item: Json, ts_ms: int) -> None:
        call_id, status = text_of(item, "call_id"), text_of(item, "status")
        payload: Json = {"is_error": None if status is None else status != "completed"}
        payload["found"] = len(list_of(item, "tools"))
        tool = self._tools.pop(call_id, None) if call_id else None
        self._add(Event(None, ts_ms, Kind.TOOL_RESULT, payload, tool=tool, tool_call_id=call_id))

    def _ended(self, message: Json, failed: bool, name: str = "call_id") -> None:  # noqa: FBT001
        """Use a result's own record, which tells the outcome that its output may not."""
        call_id = text_of(message, name)
        if call_id is None or self._copied:
            return
        if call_id in self._tools:
            self._outcomes[call_id] = failed
        elif call_id in self._results:
            self._results.pop(call_id).payload["is_error"] = failed

    def _exec_end(self, message: Json, _ts_ms: int) -> None:
        code = message.get("exit_code")
        if type(code) is int:
            self._ended(message, code != 0)

    def _patch_end(self, message: Json, _ts_ms: int) -> None:
        self._ended(message, not flag_of(message, "success"))

    def _mcp_end(self, message: Json, _ts_ms: int) -> None:
        result = message.get("result")
        if type(result) is dict:
            answer = result.get("Ok")
            self._ended(message, type(answer) is not dict or answer.get("isError") is True)

    def _turn_aborted(self, message: Json, ts_ms: int) -> None:
        self._add(Event(None, ts_ms, Kind.ERROR, {"error": text_of(message, "reason") or "aborted"}))

    def _failed_turn(self, message: Json, ts_ms: int) -> None:
        text = _text_of_any(message, "message") or ""
        self._add(Event(None, ts_ms, Kind.ERROR, {"error": "turn_failed", "text": snippet(text)}))

    def _retry(self, _message: Json, ts_ms: int) -> None:
        self._add(Event(None, ts_ms, Kind.LIFECYCLE, {"event": "api_retry"}))

    _HANDLERS: ClassVar[dict[str, Callable[[CodexParser, Json, int], None]]] = {
        "session_meta": _session_meta,
        "turn_context": _turn_context,
        "response_item": _response_item,
        "event_msg": _event_msg,
        "compacted": _compacted,
        "token_usage_record": _token_usage_record,
    }
    """By type of record. Not bound to the instance: such a circle would outlive it until the next collection."""

    _ITEMS: ClassVar[dict[str, Callable[[CodexParser, Json, int], None]]] = {
        "function_call": _function_call,
        "custom_tool_call": _custom_call,
        "tool_search_call": _function_call,
        "function_call_output": _output,
        "custom_tool_call_output": _output,
        "tool_search_output": _search_output,
    }
    """By type of `response_item`; another `..._call` or `..._call_output` is read as what its name says."""

    _EVENTS: ClassVar[dict[str, Callable[[CodexParser, Json, int], None]]] = {
        "token_count": _token_count,
        "task_started": _task_started,
        "turn_started": _task_started,
        "thread_settings_applied": _settings,
        "item_completed": _item_completed,
        "user_message": _user_message,
        "agent_message": _agent_message,
        "exec_command_end": _exec_end,
        "patch_apply_end": _patch_end,
        "mcp_tool_call_end": _mcp_end,
        "turn_aborted": _turn_aborted,
        "error": _failed_turn,
        "stream_error": _retry,
    }
    """By type of `event_msg`."""


def _text_of_any(record: Json, name: str) -> str | None:
    """Return a text field of any length, or None where it is absent, null or empty."""
    value = record.get(name)
    if value is None or type(value) is str:
        return value or None
    raise Malformed(Reason.WRONG_TYPE, name)


def _message_text(item: Json) -> str:
    if type(content := item.get("content")) is str:
        return content
    texts = (part.get("text") for part in list_of(item, "content") if type(part) is dict)
    return "\n".join(text for text in texts if type(text) is str)


def _counts(usage: Json | None) -> _Counts | None:
    if usage is None:
        return None
    values = [
        value if type(value := usage.get(name)) is int and 0 <= value <= MAX_INTEGER else count_of(usage, name) or 0
        for name in _COUNT_FIELDS
    ]
    return (values[0], values[1], values[2], values[3], values[4])


def _difference(total: _Counts, previous: _Counts | None) -> _Counts:
    """Return what a total adds to the previous one; a total that went down started again at zero."""
    before = previous or (0, 0, 0, 0, 0)
    if any(new < old for new, old in zip(total, before, strict=True)):
        return total
    values = [new - old for new, old in zip(total, before, strict=True)]
    return (values[0], values[1], values[2], values[3], values[4])


def _disjoint(counts: _Counts, usage: Json) -> Tokens:
    given, cached, written, output, reasoning = counts
    tells_writes = "cache_write_input_tokens" in usage
    cached, reasoning = min(cached, given), min(reasoning, output)
    written = min(written, given - cached)
    return Tokens(given - cached - written, written if tells_writes else None, cached, output - reasoning, reasoning)


def _item_failed(item: Json) -> bool | None:
    """Return whether a completed item says that its call failed (None: it does not say)."""
    code, status = item.get("exit_code"), item.get("status")
    if type(code) is int:
        return code != 0
    return status != "completed" if status in ("completed", "failed", "declined") else None


def _tool_name(item: Json) -> str:
    kind, name, namespace = text_of(item, "type"), text_of(item, "name"), text_of(item, "namespace")
    if name is None:
        if kind != "tool_search_call":
            raise Malformed(Reason.WRONG_TYPE, "name")
        return "tool_search"
    return f"{namespace}__{name.lstrip('_')}" if namespace else name


def _json_object(text: str) -> Json:
    """Return the object in a text, or nothing where it holds something else: models write bad JSON now and then."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if type(value) is dict else {}


def _describe(name: str, arguments: Json) -> Described:
    described, patch = describe_input(name, arguments), _patch_of(name, arguments)
    return described if patch is None else add_patch(described, patch)


def _patch_of(name: str, arguments: Json) -> str | None:
    """Return the patch that a shell call applies, if it is one."""
    command = arguments.get("command")
    if type(command) is list and len(command) == 2 and command[0] == "apply_patch" and type(command[1]) is str:
        return str(command[1])
    text = arguments.get("cmd") if command is None else command
    texts = text if type(text) is list else [text]
    found = next((part for part in texts if type(part) is str and "*** Begin Patch" in part), None)
    given = arguments.get("input") if name == "apply_patch" else None
    return found or (given if type(given) is str else None)


def _output_text(output: Any) -> str:  # noqa: ANN401 - any JSON value
    if output is None:
        return ""
    if type(output) is dict:
        return _text_of_any(output, "content") or json.dumps(output)
    if type(output) is not list:
        raise Malformed(Reason.WRONG_TYPE, "output")
    texts = (part.get("text") for part in output if type(part) is dict)
    return "\n".join(text for text in texts if type(text) is str)


def _outcome(output: object, text: str) -> tuple[bool | None, int | None]:
    """Return whether an output says that its call failed (None: it does not say), and the exit code it names."""
    if type(output) is dict and type(output.get("success")) is bool:
        return not output["success"], None
    if text.startswith("{"):
        return _recorded_outcome(_json_object(text).get("metadata"))
    head = text[:_HEAD_CHARS].split("\nOutput:\n", 1)[0]
    if "xit" in head and (found := _EXIT_CODE.search(head)):
        return found.group(1) != "0", int(found.group(1))
    if _FAILED.match(head):
        return True, None
    return (False, None) if _COMPLETED.match(head) else (None, None)


def _printed(text: str) -> str:
    """Return what the command printed; older versions wrap it in JSON."""
    printed = _json_object(text).get("output") if text.startswith("{") else None
    return printed if type(printed) is str else text


def _recorded_outcome(metadata: object) -> tuple[bool | None, int | None]:
    code = metadata.get("exit_code") if type(metadata) is dict else None
    return (code != 0, code) if type(code) is int and abs(code) < 2**31 else (None, None)


class _Copies:
    """Follows one rollout and tells copies from its own records: a fork, a sub-agent or a resume takes history along.

    Builds differ in what they copy and how they mark it. A build that numbers its records says where the file's own
    begin. Others copy the parent's `session_meta` and its records in one burst, stamped with the time of the copy or
    with their first times; the burst ends at a record that can only be the file's own.
    """

    def __init__(self) -> None:
        self._own: str | None = None
        self.running = False
        self._has_turns = self._paused = False
        self._first_own_ordinal: int | None = None
        self._born_ms: int | None = None

    def begin(self, meta: Json, session: str, ts_ms: int) -> None:
        """Take the file's first `session_meta`, which is its own."""
        self._own = session
        self._first_own_ordinal = _ordinal(meta.get("subagent_history_start_ordinal"))
        forked = text_of(meta, "forked_from_id") is not None
        if forked or _parent_of(meta) is not None:
            self._born_ms = _time_or(meta, ts_ms)
        # Where the parent's history is not copied but referred to (`history_base`), nothing follows to be dropped.
        self.running = forked and meta.get("history_base") is None

    def meet(self, session: str) -> None:
        """Take a further `session_meta`: another session's begins a burst, the file's own ends it."""
        self.running = session != self._own

    def advance(self, record: Json, payload: Json, ts_ms: int, last_ms: int) -> bool:
        """Return whether this record is a copy, and remember what it says of the burst."""
        if self._first_own_ordinal is not None and (ordinal := _ordinal(record.get("ordinal"))) is not None:
            self.running = ordinal < self._first_own_ordinal
            return self.running
        if self.running and self._ends(payload, ts_ms, last_ms):
            self.running = False
        return self.running or (self._born_ms is not None and ts_ms < self._born_ms)

    def _ends(self, payload: Json, ts_ms: int, last_ms: int) -> bool:
        turn = payload.get("turn_id")
        if type(turn) is str and _is_uuid7(turn) and _is_uuid7(self._own):
            if turn > (self._own or ""):
                return True
            self._has_turns = True
        self._paused = self._paused or ts_ms - last_ms >= (_TURN_GAP_MS if self._has_turns else _BURST_GAP_MS)
        return self._paused and payload.get("type") != "token_count"  # no turn begins with one: it is the parent's


def _parent_of(meta: Json) -> str | None:
    """Return the session that spawned this one."""
    source = meta.get("source")
    subagent = source.get("subagent") if type(source) is dict else None
    spawn = subagent.get("thread_spawn") if type(subagent) is dict else None
    spawned = text_of(spawn, "parent_thread_id") if type(spawn) is dict else None
    return spawned or text_of(meta, "parent_thread_id")


def _is_subagent(meta: Json) -> bool:
    """Return whether a program started this session: a spawned agent, a review, a guardian."""
    source = meta.get("source")
    by_program = meta.get("thread_source") in ("subagent", "memory_consolidation") or _parent_of(meta) is not None
    return by_program or (type(source) is dict and not {"subagent", "internal"}.isdisjoint(source))


def _time_or(meta: Json, ts_ms: int) -> int:
    """Return when the session began: its own word, unless the record that says it is older."""
    try:
        told = time_of(meta)
    except Malformed:
        told = None
    return ts_ms if told is None else min(told, ts_ms)


def _ordinal(value: object) -> int | None:
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _is_uuid7(value: str | None) -> bool:
    return value is not None and len(value) == 36 and value[14] == "7"
