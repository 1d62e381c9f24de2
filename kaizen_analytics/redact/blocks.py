"""Values that span lines: private key blocks, in one text and over a stream of lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kaizen_analytics.redact.data import load_pattern

if TYPE_CHECKING:
    from kaizen_analytics.redact.rules import Span

PRIVATE_KEY_KEYWORDS = (b"private key", b"private+key", b"putty-user-key-file", b"private-lines")
_PRIVATE_BEGIN = re.compile(rb"-{4,5} ?BEGIN[ +A-Z0-9_-]{0,60}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_PRIVATE_END = re.compile(rb"-{4,5} ?END[ +A-Z0-9_-]{0,60}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_EDGE = re.compile(rb"-{4,5} ?(?:BEGIN|END) ")
_PRIVATE_BODY = load_pattern("private_body")
_BEHIND = b"\"',;.>| \t\r\n"
"""What may stand between the lines of a body, and belongs to the text around it behind the last one."""
_PUTTY_BODY = re.compile(rb"(?i)(?:PuTTY-User-Key-File|Private-Lines)[^\n]{0,80}(?:\s[^\n]{0,120}){0,60}")
_LONGEST_KEY = 20_000


def find_private_key(view: bytes, start: int, low: int, high: int) -> Span | None:
    r"""Return the block that begins at this header; without an end line, everything that looks like its body.

    >>> text = b"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----"
    >>> find_private_key(text, 11, 0, len(text)) == (0, len(text))
    True
    """
    if view[start : start + 2].lower() == b"pu" or view[start + 7 : start + 8] == b"-":
        match = _PUTTY_BODY.match(view, start, min(high, start + 6000))
        return match.span() if match else None
    begin = _PRIVATE_BEGIN.search(view, max(low, start - 80), min(high, start + 40))
    if begin is None or begin.end() < start:
        return None
    limit = min(high, begin.end() + _LONGEST_KEY)
    edge = _EDGE.search(view, begin.end(), limit)
    end = _PRIVATE_END.match(view, edge.start(), limit) if edge else None
    if end:
        return begin.start(), end.end()
    body = _PRIVATE_BODY.match(view, begin.end(), limit)
    return begin.start(), begin.end() + len(body[0].rstrip(_BEHIND) if body else b"")


_KEY_LINE = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}|(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{1,15}={1,2}")
_MOST_LINES = 200


@dataclass(slots=True)
class KeyLines:
    """Finds the lines of a private key in a stream whose lines are redacted one by one, numbered or inside JSON."""

    _left: int = 0

    def may_stand_in(self, text: bytes) -> bool:
        """Whether some of the next lines, given as one text, can belong to a key."""
        return self._left > 0 or b"PRIVATE KEY" in text

    def find(self, line: bytes) -> list[Span]:
        """Return what of the next line is the body of a private key that an earlier line began."""
        begins, ends = _PRIVATE_BEGIN.search(line), _PRIVATE_END.search(line)
        if self._left and not ends:
            found = [match.span() for match in _KEY_LINE.finditer(line)]
            self._left = self._left - 1 if found else 0
            return found
        self._left = _MOST_LINES if begins and not (ends and ends.start() > begins.start()) else 0
        return []
