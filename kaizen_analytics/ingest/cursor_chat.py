"""One session of Cursor's command line: a tree of messages that are found by the hash of their content.

The description of a session (`meta`) names the root of the tree. A node is a message as JSON, or a binary record
(protocol buffers) whose fields are hashes of further nodes, or hold such a message. Nothing tells tokens, and only the
session as a whole has times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from kaizen_analytics.core.folders import normalise_folder
from kaizen_analytics.ingest.cursor import CursorSession, find_query, text_of_blocks
from kaizen_analytics.ingest.records import (
    NOWHERE,
    Json,
    Malformed,
    Place,
    Reason,
    count_of,
    text_of,
)
from kaizen_analytics.ingest.tools import Described, describe_input, describe_patch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HASH_BYTES = 32
_MAX_NODES = 1_000_000
_BYTES_FIELD = 2
"""The wire type of a field with a length."""
_FIXED = {1: 8, 5: 4}
"""Wire types of fixed length, in bytes."""


class Chat(CursorSession):
    """One session, whose messages are its lines.

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
        start_ms = count_of(told, "createdAt") or count_of(beside, "createdAtMs") or file_ms
        cwd = text_of(beside, "cwd")
        place = Place(normalise_folder(cwd)) if cwd else NOWHERE
        super().__init__(text_of(told, "agentId") or text_of(beside, "agentId") or stem, start_ms, place)
        self.last_ms = max(start_ms, count_of(beside, "updatedAtMs") or file_ms)
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
        text = text_of_blocks(blocks)
        if role == "user":
            if typed := find_query(text):
                self._ask(typed)
        elif role == "assistant":
            self._answer(text, {"role": "assistant", "model": self._model})
            for block in blocks:
                if block.get("type") == "tool-call":
                    name = text_of(block, "toolName") or "unknown"
                    described = _describe(name, block.get("args", block.get("input")))
                    self._call(name, described, text_of(block, "toolCallId"))
        elif role == "tool":
            for block in blocks:
                self._result(block.get("isError"), text_of(block, "toolName"), text_of(block, "toolCallId"))


def _describe(name: str, given: Any) -> Described:  # noqa: ANN401 - any JSON value
    if type(given) is str:
        return describe_patch(given)
    return describe_input(name, given if type(given) is dict else {})


def _description(meta: str) -> Json:
    try:
        value = orjson.loads(bytes.fromhex(meta)) if not meta.startswith("{") else orjson.loads(meta)
    except ValueError:
        raise Malformed(Reason.NOT_JSON, "meta") from None
    if type(value) is not dict:
        raise Malformed(Reason.NOT_AN_OBJECT, "meta")
    return value


def _messages(blobs: Mapping[str, bytes], root: str | None) -> Iterator[Json]:
    """Yield the messages of the tree below `root` in order, each node once."""
    pending, seen = [root] if root else [], set[str]()
    while pending and len(seen) < _MAX_NODES:
        name = pending.pop()
        if name in seen or name not in blobs:
            continue
        seen.add(name)
        message = _as_message(blobs[name])
        if message is not None:
            yield message
            continue
        children: list[str] = []
        for value in _fields(blobs[name]):
            if len(value) == _HASH_BYTES and value.hex() in blobs:
                children.append(value.hex())
            elif (message := _as_message(value)) is not None:
                yield message
        pending += reversed(children)


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
