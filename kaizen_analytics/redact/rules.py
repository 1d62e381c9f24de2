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


Find = Callable[[bytes, int, int, int], "Span | None"]
"""Looks around the anchor at an offset of a view, between two limits, and returns the range of what is to go."""


def compile_rule(rule: Rule) -> Find:
    """Return the search of a rule: a closure, because it is called for every anchor of every text.

    What a placeholder cuts short was judged when it was whole; judging its rest would peel a long value off piece by
    piece, so it is no match.
    """
    match_pattern, match_gate = rule.pattern.match, rule.gate.match if rule.gate else None
    before, after, left, group, accept = rule.before, rule.after, rule.left, rule.group, rule.accept

    def find(view: bytes, anchor: int, low: int, high: int) -> Span | None:
        end = anchor + after
        if end > high:  # noqa: PLR1730 - a call of min() for every anchor would be felt
            end = high
        if match_gate is not None and not match_gate(view, anchor, end):
            return None
        start = anchor - before
        if left:
            ahead = view[max(low, start) : anchor]
            start = anchor - len(ahead) + len(ahead.rstrip(left))
        match = match_pattern(view, start, end) if start >= low else None
        if match is None or match.end() <= anchor or view.startswith(PLACEHOLDER_START, match.end(group)):
            return None
        return match.span(group) if accept is None or accept(match) else None

    return find
