"""The form of a rule: literals that must be present, and a pattern that is tried only where one of them stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from kaizen_analytics.redact.placeholders import PLACEHOLDER_START

if TYPE_CHECKING:
    import re

    from kaizen_analytics.redact.placeholders import Category


class Hit(NamedTuple):
    """An anchor at `start` of a view; matches stay between `low` and `high`, the unit that it stands in."""

    view: bytes
    start: int
    low: int
    high: int


Span = tuple[int, int]
Accept = Callable[["re.Match[bytes]"], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A pattern with anchors in lower case.

    A match is tried once for each anchor: where the bytes of the set `left` begin that lead up to the anchor (at most
    `before` of them), or, without `left`, exactly `before` bytes ahead of it. So a text full of anchors costs no more
    than its length. `after` is how far behind the anchor a match may reach. `gate` must match at the anchor before
    anything else is tried. `group` holds the value that is to be replaced.
    """

    kind: str
    category: Category
    anchors: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    before: int = 0
    after: int = 1200
    group: str | int = 0
    accept: Accept | None = None
    left: bytes = b""
    gate: re.Pattern[bytes] | None = None

    def find(self, hit: Hit) -> Span | None:
        """Return the range of the value, if this rule matches around the anchor.

        What a placeholder cuts short was judged when it was whole; judging its rest would peel a long value off
        piece by piece.
        """
        end = min(hit.high, hit.start + self.after)
        if self.gate is not None and not self.gate.match(hit.view, hit.start, end):
            return None
        start = self._start(hit)
        match = self.pattern.match(hit.view, start, end) if start >= hit.low else None
        if match is None or match.end() <= hit.start or hit.view.startswith(PLACEHOLDER_START, match.end(self.group)):
            return None
        return match.span(self.group) if self.accept is None or self.accept(match) else None

    def _start(self, hit: Hit) -> int:
        if not self.left:
            return hit.start - self.before
        ahead = hit.view[max(hit.low, hit.start - self.before) : hit.start]
        return hit.start - len(ahead) + len(ahead.rstrip(self.left))
