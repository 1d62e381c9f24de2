"""Rules as data: `rules/*.toml` holds literals that must be present and patterns that are tried only where one stands.

A rule has an `id`, its `keywords`, the `pattern`, the `placeholder` of what it finds, the `source` of its format and
perhaps a `check` of the match (see `checks`). `{{keyword}}` in a pattern means any of the keywords, spelt as listed;
other names between braces are macros of the file. `edge`: no match begins behind a letter or digit.

A match is tried once for each keyword: where the bytes of the class `left` begin that lead up to it (at most `before`
of them), or, without `left`, exactly `before` bytes ahead of it. So a text full of keywords costs no more than its
length. `after` is how far behind the keyword a match may reach; `gate` must match at the keyword before anything else
is tried, and `behind` the class of the byte before the keyword; a keyword of one byte can have `ahead`, the class of
the byte behind it, and is then searched apart. `group` holds the value that is to be replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from kaizen_analytics.redact.checks import CHECKS, Check
from kaizen_analytics.redact.data import NAME, load_data, spell
from kaizen_analytics.redact.spans import PLACEHOLDER_START, Category


class Hit(NamedTuple):
    """A keyword at `start` of a view; matches stay between `low` and `high`, the unit that it stands in."""

    view: bytes
    start: int
    low: int
    high: int


Span = tuple[int, int]
Find = Callable[[bytes, int, int, int], "Span | None"]
"""Looks around the keyword at an offset of a view, between two limits, and returns the range of what is to go."""

_OUTSIDE_WORDS = bytes(byte for byte in range(256) if not (byte < 128 and chr(byte).isalnum()))
_EDGE = "(?<![A-Za-z0-9])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, compiled; the module says what its fields mean. `form` is where `runs` looks for it, if not here."""

    id: str
    category: Category
    keywords: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    source: str
    check: Check | None = None
    before: int = 0
    after: int = 1200
    left: bytes = b""
    gate: re.Pattern[bytes] | None = None
    group: str | int = 0
    edge: bool = False
    behind: bytes = b""
    ahead: bytes = b""
    form: str = ""


@cache
def load_rules(name: str) -> tuple[Rule, ...]:
    """Return the rules of one file, in its order.

    >>> [rule.id for rule in load_rules("contexts")][:2]
    ['url-credentials', 'url-token']
    """
    document = load_data(name)
    macros = document.get("macros", {})
    return tuple(_make_rule(document["defaults"] | row, macros) for row in document["rule"])


def _make_rule(row: dict[str, Any], macros: dict[str, str]) -> Rule:
    keywords = row.get("keywords", [])
    spellings = [word for keyword in keywords for word in spell(keyword)]
    names = macros | {"keyword": f"(?:{'|'.join(map(re.escape, spellings))})"}
    pattern = NAME.sub(lambda match: names[match[1]], row["pattern"])
    edge = row.get("edge", False) and not row.get("inside", False)
    gate, left, check = row.get("gate"), row.get("left"), row.get("check")
    return Rule(
        id=row["id"],
        category=Category(row["placeholder"]),
        keywords=tuple(dict.fromkeys(word.encode().lower() for word in spellings)),
        pattern=re.compile((_EDGE * edge + pattern).encode()),
        source=row["source"],
        check=None if check is None else CHECKS[check],
        before=row.get("before", 0),
        after=row["after"],
        left=b"" if left is None else _expand_class(left),
        gate=None if gate is None else re.compile(gate.encode("ascii")),
        group=row.get("group", 0),
        edge=edge,
        behind=_expand_class(row["behind"]) if "behind" in row else _OUTSIDE_WORDS if edge else b"",
        ahead=_expand_class(row["ahead"]) if "ahead" in row else b"",
        form=row.get("form", ""),
    )


def _expand_class(text: str) -> bytes:
    chosen = re.compile(f"[{text}]".encode("ascii"))
    return bytes(byte for byte in range(256) if chosen.match(bytes([byte])))


def compile_rule(rule: Rule) -> Find:
    """Return the search of a rule: a closure, because it is called for every keyword of every text.

    What a placeholder cuts short was judged when it was whole; judging its rest would peel a long value off piece by
    piece, so it is no match.

    >>> [rule] = [rule for rule in load_rules("tokens") if rule.id == "npm"]
    >>> text = b"see npm_" + b"a1" * 20
    >>> compile_rule(rule)(text, 4, 0, len(text))
    (4, 48)
    """
    match_pattern, match_gate = rule.pattern.match, rule.gate.match if rule.gate else None
    before, after, left, group, accept = rule.before, rule.after, rule.left, rule.group, rule.check

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
