"""Findings, half-open byte ranges with a kind; how overlapping ones become one; and what stands in their place.

A placeholder is `<R:cc>` for a secret and `<R:cc:hhhhhhhhhh>` for an identity: `cc` is the two-letter code of a
`Category`, `h` the first ten hex digits of a keyed pseudonym. Neither form holds a word that a rule looks for.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Category(StrEnum):
    """What a redacted value is; the values are the two-letter codes inside placeholders."""

    TOKEN = "t1"  # noqa: S105 - a code; a vendor's own token format
    GENERIC = "t2"  # prefix and random tail, vendor unknown
    JWT = "jw"
    PEM = "pm"  # private key blocks
    HASH = "ph"  # stored password hashes
    URL = "uc"  # user information inside a URL
    HEADER = "ah"  # HTTP authentication headers
    QUERY = "qv"  # query parameters
    COOKIE = "ck"
    COMMAND = "cp"  # arguments of commands
    ASSIGNMENT = "kv"  # a value next to a telling name
    ENCODED = "en"  # base64 or hex text that holds any of these
    EMAIL = "em"
    USER = "us"
    NAME = "nm"
    HOST = "ho"
    ORGANISATION = "og"
    ADDRESS = "ip"
    MAC = "mc"
    PERSONAL = "pd"  # a telephone number, card, account or national number


IDENTITIES = frozenset(
    {
        Category.EMAIL,
        Category.USER,
        Category.NAME,
        Category.HOST,
        Category.ORGANISATION,
        Category.ADDRESS,
        Category.MAC,
        Category.PERSONAL,
    },
)
"""Categories that keep a pseudonym, so that equal values stay equal."""

PLACEHOLDER_START = b"<R:"
PLACEHOLDER = re.compile(rb"<R:(?:" + "|".join(Category).encode() + rb")(?::[0-9a-f]{10})?>")


def render_placeholder(category: Category, pseudonym: str | None) -> bytes:
    """Return the bytes that replace a value of `category`.

    >>> render_placeholder(Category.USER, "0123456789")
    b'<R:us:0123456789>'
    """
    return f"<R:{category}:{pseudonym}>".encode() if pseudonym else f"<R:{category}>".encode()


class Detection(NamedTuple):
    """Bytes `start` to `end` (exclusive) of a text are a value of `category`, found by the rule `kind`."""

    start: int
    end: int
    category: Category
    kind: str

    @property
    def is_secret(self) -> bool:
        """Whether the value grants access, as opposed to naming a person, machine or organisation."""
        return self.category not in IDENTITIES


def merge_findings(raw: bytes, findings: Iterable[Detection]) -> list[Detection]:
    """Return disjoint findings in order, on character boundaries, none touching a placeholder of `raw`.

    >>> first, second = Detection(0, 4, Category.USER, "a"), Detection(2, 6, Category.TOKEN, "b")
    >>> [(one.start, one.end, one.kind) for one in merge_findings(b"abcdefgh", [first, second])]
    [(0, 6, 'b')]
    """
    taken = [edge for match in PLACEHOLDER.finditer(raw) for edge in match.span()] if b"<R:" in raw else []
    merged: list[Detection] = []
    for finding in sorted(findings):
        if merged and finding.start < merged[-1].end:
            merged[-1] = _join(merged[-1], finding)
        elif finding.end > finding.start:
            merged.append(finding)
    return [item for item in (_widen(raw, finding) for finding in merged) if not _touches(item, taken)]


def _join(left: Detection, right: Detection) -> Detection:
    """Cover both; a secret's label wins over an identity's, else the wider finding's."""
    longer = right if right.end - right.start > left.end - left.start else left
    label = longer if left.is_secret == right.is_secret else (left if left.is_secret else right)
    return Detection(left.start, max(left.end, right.end), label.category, label.kind)


def _widen(raw: bytes, finding: Detection) -> Detection:
    """Move both ends off UTF-8 continuation bytes, so that what remains still decodes."""
    start, end = finding.start, finding.end
    while 0 < start < len(raw) and raw[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(raw) and raw[end] & 0xC0 == 0x80:
        end += 1
    return Detection(start, end, finding.category, finding.kind)


def _touches(finding: Detection, edges: list[int]) -> bool:
    """Whether a finding overlaps a placeholder; `edges` are the placeholders' starts and ends in turn."""
    first, last = bisect_right(edges, finding.start), bisect_left(edges, finding.end)
    return first % 2 == 1 or first != last
