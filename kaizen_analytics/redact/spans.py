"""Findings: half-open byte ranges with a kind, and how overlapping ones become one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

from kaizen_analytics.redact.placeholders import IDENTITIES, PLACEHOLDER, Category

if TYPE_CHECKING:
    from collections.abc import Iterable


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
