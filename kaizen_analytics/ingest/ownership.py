"""Who owns a record that several files hold.

Forks, resumes, compactions and side questions copy history into new files under the same record ids. One file owns
each record; the rule needs nothing but the files, so the order in which they are read does not matter.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import orjson

from kaizen_analytics.ingest.records import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterable


class Report(NamedTuple):
    """What one copy of a response says of its tokens."""

    tokens: Tokens
    stop_reason: str | None

    def to_json(self) -> str:
        """Return the text kept in `ka_records.tokens`."""
        return orjson.dumps([*self.tokens, self.stop_reason]).decode()

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read what `to_json` wrote."""
        *counts, stop = orjson.loads(text)
        return cls(Tokens(*counts), stop)


class Claim(NamedTuple):
    """One file's copy of one record.

    `original`: the record names this file as the one it was first written to. `last_ms`: the file's latest
    timestamp. `owned`: the store has the record's event from this file. `vanished`: the file is gone.
    """

    record: int
    path: str
    original: bool
    last_ms: int
    owned: bool = False
    vanished: bool = False
    report: Report | None = None


def hash_record(key: str) -> int:
    """Return the 64-bit signed hash that stands for a record's id in the store."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big", signed=True)


def choose_owner(claims: Iterable[Claim]) -> Claim:
    """Return the claim that owns the record.

    The file that the record names as its first; else the one whose last timestamp is earliest (a copy goes on after
    its original stopped); else the smallest path. A file that is gone keeps what it owned and gains nothing, because
    it cannot be read again.
    """
    return min(claims, key=_rank)


def best_report(claims: Iterable[Claim]) -> Report | None:
    """Return the largest report of a response over all its copies, with a stop reason if any copy has one."""
    reports = [claim.report for claim in claims if claim.report is not None]
    if not reports:
        return None
    largest = max(reports, key=lambda report: (report.tokens.weight, str(report.tokens)))
    stop = largest.stop_reason or max((report.stop_reason or "" for report in reports), default="") or None
    return Report(largest.tokens, stop)


def _rank(claim: Claim) -> tuple[int, bool, int, str]:
    standing = (0 if claim.owned else 2) if claim.vanished else 1
    return standing, not claim.original, claim.last_ms, claim.path
