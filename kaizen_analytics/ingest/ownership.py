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


class OwnedRecord(NamedTuple):
    """What one copy of a response says of its tokens."""

    tokens: Tokens
    stop_reason: str | None

    def to_json(self) -> str:
        """Return the text kept in `ka_records.tokens`."""
        return orjson.dumps((*self.tokens, self.stop_reason)).decode()

    @classmethod
    def from_json(cls, text: str) -> OwnedRecord:
        """Read what `to_json` wrote."""
        *counts, stop = orjson.loads(text)
        return cls(Tokens(*counts), stop)


class RecordClaim(NamedTuple):
    """One file's copy of one record.

    `standing`: whether the file wrote it. `last_ms`: the file's latest timestamp. `owned`: the store has the record's
    event from this file. `vanished`: the file, or the record in it, is gone.
    """

    record: int
    session: str
    path: str
    standing: int
    last_ms: int
    owned: bool = False
    vanished: bool = False
    report: OwnedRecord | None = None


def hash_record(key: str) -> int:
    """Return the 64-bit signed hash that stands for a record's id in the store.

    >>> hash_record("msg_01")
    8120977142563844930
    """
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big", signed=True)


def choose_owner(claims: Iterable[RecordClaim]) -> RecordClaim:
    """Return the claim that owns the record.

    The file that wrote it, by its own word: it names the file, and is not older than the file itself. Otherwise the
    file whose last timestamp is earliest (a copy goes on after its original stopped); else the smallest path. What is
    gone keeps what it owned and gains nothing, because it cannot be read again.

    >>> copy = RecordClaim(1, "b", "b.jsonl", standing=-1, last_ms=9)
    >>> choose_owner([copy, copy._replace(session="a", path="a.jsonl", standing=1)]).path
    'a.jsonl'
    """
    return min(claims, key=_rank)


def best_report(claims: Iterable[RecordClaim]) -> OwnedRecord | None:
    """Return the largest report of a response over all its copies, with a stop reason if any copy has one.

    >>> reports = [OwnedRecord(Tokens(3, count, None, None, None), None) for count in (5, 20)]
    >>> claims = [RecordClaim(1, "a", "a.jsonl", standing=1, last_ms=9, report=report) for report in reports]
    >>> best_report(claims).tokens == reports[1].tokens
    True
    """
    reports = [claim.report for claim in claims if claim.report is not None]
    if not reports:
        return None
    largest = max(reports, key=lambda report: (report.tokens.weight, str(report.tokens)))
    stop = largest.stop_reason or max((report.stop_reason or "" for report in reports), default="") or None
    return OwnedRecord(largest.tokens, stop)


def _rank(claim: RecordClaim) -> tuple[int, int, int, str]:
    presence = (0 if claim.owned else 2) if claim.vanished else 1
    return presence, -claim.standing, claim.last_ms, claim.path
