"""A loopback stand-in for the Messages API and the Responses API that keeps every request and what it answered.

What the "model" does follows a word in the newest prompt that a person typed:

    TOOL  one shell call · PARALLEL  two at once · FAIL  one that fails · AGENT  a sub-agent that makes a shell call
    MCP {"tool": {…}}  calls of tools of MCP servers, by name and arguments
    CHECK  the shell calls that `choose_command` names, one after the other
    THINK  a thinking block · BUSY  529 the first time · CUT  the stream ends early the first time · HANG  no answer
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORDS = ("CHECK", "MCP", "PARALLEL", "TOOL", "FAIL", "AGENT", "THINK", "BUSY", "CUT", "HANG")
HANG_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Tokens of one response: uncached input, cache writes and reads, output without reasoning, and reasoning."""

    input: int = 0
    cache_creation: int = 0
    cache_read: int = 0
    output: int = 0
    reasoning: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(**{name: value + getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request: whose it was, every text in it, the newest prompt, and the tokens of its answer (None: cut).

    `cut` are the tokens that an answer would have had that broke off.
    """

    api: str
    session: str
    model: str
    text: str
    prompt: str
    tokens: Tokens | None
    cut: Tokens | None = None
    is_summary: bool = False


@dataclass
class StandIn:
    """The server; `calls` is its ledger. `choose_output` gives the output tokens of a request's answer.

    `choose_command` gives the next shell command after CHECK, from the texts of the request and the number of results.
    """

    calls: list[Call] = field(default_factory=list)
    choose_output: Callable[[str, int], int] = lambda _, number: 40 + number
    choose_command: Callable[[str, int], str | None] = lambda *_: None
    seen: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        owner = self

        class Handler(_Handler):
            stand_in = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def of(self, session: str) -> list[Call]:
        return [call for call in self.calls if call.session == session]

    def first_time(self, key: str) -> bool:
        with self.lock:
            known = key in self.seen
            self.seen.add(key)
        return not known


def collect_texts(value: Any) -> Iterator[str]:
    """Yield every text of a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from collect_texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from collect_texts(item)


def find_word(items: list[dict[str, Any]]) -> tuple[str | None, str, bool]:
    """Return the word of the newest prompt, that prompt, and whether a tool has answered since."""
    answered = False
    for item in reversed(items):
        blocks = item.get("content")
        listed = blocks if isinstance(blocks, list) else [{"text": blocks or ""}]
        answered |= "output" in str(item.get("type")) or any(block.get("type") == "tool_result" for block in listed)
        if item.get("role") != "user":
            continue
        typed = [text for block in listed if (text := block.get("text") or "") and text[0] not in "<[#"]
        if typed:
            return next((word for word in WORDS if typed[-1].startswith(word)), None), typed[-1], answered
    return None, "", answered


def next_agent_call(items: list[dict[str, Any]]) -> dict[str, str] | None:
    """Return the next step of a sub-agent of Codex: start it, wait for it, then None."""
    outputs = [item for item in items if item.get("type") == "function_call_output"]
    if not outputs:
        return {"name": "spawn_agent", "arguments": json.dumps({"message": "TOOL please"})}
    if len(outputs) == 1:
        found = json.loads(next(text for text in collect_texts(outputs[0]["output"]) if text.startswith("{")))
        return {"name": "wait_agent", "arguments": json.dumps({"targets": [found["agent_id"]], "timeout_ms": 30_000})}
    return None


def encode(events: list[dict[str, Any]]) -> bytes:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: StandIn

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.send(b"")

    def do_GET(self) -> None:
        self.send(b'{"data": []}')

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        given = json.loads(raw) if raw.startswith(b"{") else {}
        path = self.path.partition("?")[0]
        if path.endswith("/messages"):
            self.answer_messages(given)
        elif path.endswith("/responses"):
            self.answer_responses(given)
        else:
            self.send(b'{"input_tokens": 10}')

    def send(self, body: bytes, *, kind: str = "application/json", status: int = 200, missing: int = 0) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body) + missing))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = self.close_connection or missing > 0

    def note(
        self, given: dict[str, Any], api: str, session: str, tokens: Tokens | None, cut: Tokens | None = None
    ) -> None:
        texts = "\n".join(collect_texts(given))
        is_summary = "detailed summary of the conversation" in texts or "CONTEXT CHECKPOINT COMPACTION" in texts
        _, prompt, _ = find_word(given.get("messages") or given.get("input") or [])
        model = given.get("model", "")
        told = {"api": api, "session": session, "model": model, "text": texts, "prompt": prompt}
        call = Call(**told, tokens=tokens, cut=cut, is_summary=is_summary)
        with self.stand_in.lock:
            self.stand_in.calls.append(call)

    def number(self, given: dict[str, Any]) -> tuple[int, int]:
        with self.stand_in.lock:
            number = len(self.stand_in.calls) + 1
        return number, self.stand_in.choose_output("\n".join(collect_texts(given)), number)

    def answer_messages(self, given: dict[str, Any]) -> None:
        user = json.loads((given.get("metadata") or {}).get("user_id") or "{}")
        session = user.get("session_id", "")
        word, prompt, answered = find_word(given.get("messages", []))
        if word == "HANG":
            self.stand_in.waiting.set()
            time.sleep(HANG_S)
            return
        if word == "BUSY" and self.stand_in.first_time(f"{session}{prompt}"):
            error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            self.send(json.dumps(error).encode(), status=529)
            return
        number, output = self.number(given)
        usage = {
            "input_tokens": 100 + number,
            "cache_creation_input_tokens": 20 + number,
            "cache_read_input_tokens": 1000 + number,
            "output_tokens": 1,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 10 + number},
        }
        tools = {tool.get("name") for tool in given.get("tools") or []}
        blocks = self.choose_blocks(word, prompt, tools, number, answered=answered)
        if word == "CHECK" and "Bash" in tools:
            blocks += self.choose_check(given)
        reason = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
        head = {
            "id": f"msg_01{uuid.uuid4().hex[:20]}",
            "type": "message",
            "role": "assistant",
            "model": given.get("model"),
            "stop_reason": None,
            "stop_sequence": None,
        }
        final = {**usage, "output_tokens": output}
        if not given.get("stream"):
            self.note(given, "messages", session, self.tokens_of(final))
            whole = {**head, "content": blocks, "stop_reason": reason, "usage": final}
            self.send(json.dumps(whole).encode())
            return
        events = [{"type": "message_start", "message": {**head, "content": [], "usage": usage}}]
        for index, block in enumerate(blocks):
            events += self.stream_block(index, block)
        if word == "CUT" and self.stand_in.first_time(f"{session}{prompt}"):
            self.note(given, "messages", session, None, self.tokens_of(final))
            self.send(encode(events[:3]), kind="text/event-stream", missing=1000)
            return
        delta = {"stop_reason": reason, "stop_sequence": None}
        events += [{"type": "message_delta", "delta": delta, "usage": final}, {"type": "message_stop"}]
        self.note(given, "messages", session, self.tokens_of(final))
        self.send(encode(events), kind="text/event-stream")

    def choose_check(self, given: dict[str, Any]) -> list[dict[str, Any]]:
        listed = [item["content"] for item in given.get("messages", []) if isinstance(item.get("content"), list)]
        done = sum(block.get("type") == "tool_result" for blocks in listed for block in blocks)
        command = self.stand_in.choose_command("\n".join(collect_texts(given)), done)
        if command is None:
            return []
        call = {"command": command, "description": "check it"}
        return [{"type": "tool_use", "id": f"toolu_01{uuid.uuid4().hex[:20]}", "name": "Bash", "input": call}]

    @staticmethod
    def tokens_of(usage: dict[str, Any]) -> Tokens:
        return Tokens(
            input=usage["input_tokens"],
            cache_creation=usage["cache_creation_input_tokens"],
            cache_read=usage["cache_read_input_tokens"],
            output=usage["output_tokens"],
        )

    @staticmethod
    def choose_blocks(
        word: str | None, prompt: str, tools: set[str], number: int, *, answered: bool
    ) -> list[dict[str, Any]]:
        text = {"type": "text", "text": f"Answer {number}."}
        commands = {"TOOL": ["echo one"], "PARALLEL": ["echo one", "echo two"], "FAIL": ["ls /nowhere"]}.get(word or "")
        calls: list[tuple[str, dict[str, Any]]] = []
        if not answered and commands and "Bash" in tools:
            calls = [("Bash", {"command": command, "description": "say it"}) for command in commands]
        agent = next((name for name in ("Agent", "Task") if name in tools), None)
        if not answered and word == "AGENT" and agent:
            calls = [(agent, {"description": "look", "prompt": "TOOL please", "subagent_type": "general-purpose"})]
        if not answered and word == "MCP":
            asked = json.loads(prompt.removeprefix("MCP"))
            calls = [
                (tool, given) for name, given in asked.items() for tool in tools if str(tool).endswith(f"__{name}")
            ]
        thinking = {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"}
        uses = [
            {"type": "tool_use", "id": f"toolu_01{uuid.uuid4().hex[:20]}", "name": name, "input": given}
            for name, given in calls
        ]
        return [*([thinking] if word == "THINK" else []), text, *uses]

    @staticmethod
    def stream_block(index: int, block: dict[str, Any]) -> list[dict[str, Any]]:
        deltas = {
            "text": [{"type": "text_delta", "text": block.get("text")}],
            "thinking": [
                {"type": "thinking_delta", "thinking": block.get("thinking")},
                {"type": "signature_delta", "signature": block.get("signature")},
            ],
            "tool_use": [{"type": "input_json_delta", "partial_json": json.dumps(block.get("input"))}],
        }[block["type"]]
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
        return [
            {"type": "content_block_start", "index": index, "content_block": {**block, **empty[block["type"]]}},
            *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": index},
        ]

    def answer_responses(self, given: dict[str, Any]) -> None:
        items = given.get("input") or []
        session = str(given.get("prompt_cache_key") or "")
        word, _, answered = find_word(items)
        number, output = self.number(given)
        reasoning = 30
        usage = {
            "input_tokens": 2000 + number,
            "input_tokens_details": {"cached_tokens": 500 + number},
            "output_tokens": output + reasoning,
            "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": 2000 + number + output + reasoning,
        }
        tools = {tool.get("name") for tool in given.get("tools") or []}
        commands = {"TOOL": ["echo one"], "PARALLEL": ["echo one", "echo two"], "FAIL": ["ls /nowhere"]}.get(word or "")
        content = [{"type": "output_text", "text": f"Answer {number}.", "annotations": []}]
        out: list[dict[str, Any]] = [{"type": "message", "id": f"m{number}", "role": "assistant", "content": content}]
        if commands and not answered and "exec_command" in tools:
            out = [
                {
                    "type": "function_call",
                    "id": f"fc{number}_{index}",
                    "call_id": f"call_{uuid.uuid4().hex[:12]}",
                    "name": "exec_command",
                    "arguments": json.dumps({"cmd": command}),
                }
                for index, command in enumerate(commands)
            ]
        if word == "AGENT" and "multi_agent_v1" in tools and (call := next_agent_call(items)) is not None:
            out = [{"type": "function_call", "namespace": "multi_agent_v1", "call_id": f"call_{number}", **call}]
        response = {"id": f"resp_{uuid.uuid4().hex[:16]}", "object": "response"}
        events = [{"type": "response.created", "response": {**response, "status": "in_progress", "output": []}}]
        events += [
            {"type": "response.output_item.done", "output_index": index, "item": {**item, "status": "completed"}}
            for index, item in enumerate(out)
        ]
        done = {**response, "status": "completed", "output": out, "usage": usage}
        events.append({"type": "response.completed", "response": done})
        tokens = Tokens(input=1500, cache_read=500 + number, output=output, reasoning=reasoning)
        self.note(given, "responses", session, tokens)
        self.send(encode(events), kind="text/event-stream")
