"""Cursor transcripts of builds up to early 2026: text, with a line for each turn of speech, call and result.

A line `user:` or `assistant:` begins what one of them says. Within an assistant's part, `[Tool call] Name` and
`[Tool result] Name` head indented lines, and so does `[Thinking]`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kaizen_analytics.ingest import cursor
from kaizen_analytics.ingest.records import Kind, clean
from kaizen_analytics.ingest.tools import describe_input, describe_patch

if TYPE_CHECKING:
    from kaizen_analytics.ingest.tools import Described

_HEAD = re.compile(r"\[(Tool call|Tool result|Thinking)\]\s*(\S*)")
_FIELD = re.compile(r"\s+([A-Za-z_]\w*)\s*[:=]\s?(.*)")
_ROLES = {"user:": "user", "assistant:": "assistant"}


class CursorTextParser(cursor.CursorParser):
    """Reads one transcript of text; it offers what the parser of JSON lines offers."""

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
            self._call(name or "unknown", _describe(name, body))
        elif kind == "Tool result":
            chars = sum(len(line.strip()) for line in body)
            self._add(Kind.TOOL_RESULT, {"is_error": None, "chars": chars}, name or "unknown")


def _describe(name: str, body: list[str]) -> Described:
    text = "\n".join(body)
    if "*** Begin Patch" in text:
        return describe_patch("\n".join(line.strip() for line in body))
    found = (_FIELD.fullmatch(line) for line in body)
    return describe_input(name, {match.group(1): match.group(2) for match in found if match is not None})
