"""The form of a rule: literals that must be present, and a pattern that is tried only where one of them stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

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

    `before` is how far ahead of its anchor a match may begin (0: exactly at it), `after` how far behind the anchor
    it may reach; both are bytes. With `left`, a match begins exactly where the bytes of that set begin that lead up
    to the anchor; without, every start is tried, which only rare anchors can afford. `gate` must match at the anchor
    before anything else is tried. `group` holds the value that is to be replaced.
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

    def find(self, hit: Hit) -> Iterator[Span]:
        """Yield the ranges of values whose match holds the anchor."""
        end = min(hit.high, hit.start + self.after)
        if self.gate is not None and not self.gate.match(hit.view, hit.start, end):
            return
        if not self.before or self.left:
            match = self.pattern.match(hit.view, self._start(hit), end)
            if match and match.end() > hit.start and (self.accept is None or self.accept(match)):
                yield match.span(self.group)
            return
        for match in self.pattern.finditer(hit.view, max(hit.low, hit.start - self.before), end):
            if match.start() > hit.start:
                return
            if match.end() > hit.start and (self.accept is None or self.accept(match)):
                yield match.span(self.group)

    def _start(self, hit: Hit) -> int:
        if not self.left:
            return hit.start
        ahead = hit.view[max(hit.low, hit.start - self.before) : hit.start]
        return hit.start - len(ahead) + len(ahead.rstrip(self.left))
