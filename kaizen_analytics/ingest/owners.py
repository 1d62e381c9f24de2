"""Who owns a record that several files hold, and what its copies together say of the tokens of a response."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import orjson

from kaizen_analytics.ingest.records import Event, RecordStanding, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kaizen_analytics.ingest.reading import Work
    from kaizen_analytics.store import Store

_SLICE = 5_000
"""So many records are asked for at once."""


class _Claim(NamedTuple):
    """One file's copy of one record.

    `standing`: whether the file wrote it. `last_ms`: the file's latest time. `owned`: the store has the record's event
    from this file. `vanished`: the file, or the record in it, is gone. `report`: what it says of the response.
    `born_ms`: when a file began that copied the record, where it says so.
    """

    session: str
    path: str
    standing: int
    last_ms: int
    owned: bool = False
    vanished: bool = False
    report: str | None = None
    born_ms: int | None = None


class Owners:
    """The records of some works (by path) that more than one file holds, with everyone's claim on them.

    Args:
        store: What other files hold.
        works: All works of the batch; their claims are their own.
        claimants: Those of them whose records are wanted.
        replaced: Records whose events the store has from an earlier reading of these, which counts no longer.
        is_there: Whether a file still is where it was.
    """

    def __init__(
        self,
        store: Store,
        works: Mapping[str, Work],
        claimants: Sequence[Work],
        replaced: Iterable[int],
        is_there: Callable[[str], bool],
    ) -> None:
        self._works = works
        self._claims: defaultdict[int, list[_Claim]] = defaultdict(list)
        held = [record for work in claimants for record in work.records]
        held += replaced
        present: dict[str, frozenset[int]] = {}
        for number, path, session, last_ms, standing, owned, report, born_ms in _holders(store, held):
            record, place = int(number or 0), str(path)
            known = works.get(place)
            if known is not None:
                if place not in present:
                    present[place] = frozenset(known.records)
                if known.replaces or owned != "1" or record in present[place]:
                    continue  # the work claims it itself, or has nothing to keep
            gone = known is not None or not is_there(place)
            self._claims[record].append(_Claim(
                str(session), place, int(standing or 0), int(last_ms or 0), owned == "1", gone, report,
                None if born_ms is None else int(born_ms),
            ))  # fmt: skip
        # Most records have one holder, and need no claim.
        contested = {record for record, times in Counter(held).items() if times > 1} | self._claims.keys()
        for work in claimants:
            if contested and not contested.isdisjoint(work.records):
                self._claim(work, contested)

    def _claim(self, work: Work, contested: set[int]) -> None:
        for record, event in zip(work.records, work.events, strict=True):
            if record in contested:
                report = None if event.tokens is None else write_report(event)
                born_ms, last_ms = work.parser.born_ms, work.parser.last_ms
                claim = _Claim(work.session_id, work.path, event.standing, last_ms, report=report, born_ms=born_ms)
                self._claims[record].append(claim)

    def __contains__(self, record: int) -> bool:
        """Whether anybody but one file of the batch holds a record."""
        return record in self._claims

    def has_any(self, records: Iterable[int]) -> bool:
        """Whether more than one file holds any of some records."""
        return bool(self._claims) and not self._claims.keys().isdisjoint(records)

    def find_misowned(self) -> set[str]:
        """Return files of other sessions that would own another share of the records than the store gives them."""
        again: set[str] = set()
        for claims in self._claims.values():
            outside = [claim for claim in claims if claim.path not in self._works and not claim.vanished]
            if not outside or len({claim.session for claim in claims}) < 2:
                continue
            owner = _choose_owner(claims)
            for claim in outside:
                holds = any(other.owned for other in claims if other.session == claim.session)
                if holds != (claim.session == owner.session):
                    again.add(claim.path)
            if owner in outside and _best_report(outside) != _best_report(claims):
                again.add(owner.path)
        return again

    def origin_of(self, work: Work) -> _Claim | None:
        """Return who owns what a fork, whose own total begins with its parent's, took over last."""
        record = work.copied_record
        claims = () if record is None else self._claims.get(record, ())
        owner = _choose_owner(claims) if claims else None
        return None if owner is None or owner.session == work.session_id else owner

    def grant(self, session: str, record: int, event: Event) -> bool:
        """Whether a session owns a record; its event then takes the best report of all copies."""
        claims = self._claims[record]
        if len(claims) < 2:
            return True
        if _choose_owner(claims).session != session:
            return False
        best = _best_report(claims)
        if best is not None:
            _take(event, *best)
        return True


def _holders(store: Store, records: list[int]) -> Iterator[tuple[str | None, ...]]:
    if not store.native("select 1 from ka_records limit 1"):
        return
    records.sort()
    for start in range(0, len(records), _SLICE):
        yield from store.native(
            "select r.record, f.path, f.session_id, f.last_ms, r.original, r.seq is not null, r.tokens,"
            " f.state->>'born_ms' from ka_records r join ka_files f on f.id = r.file_id"
            " where r.record in (select value from json_each(?))",
            orjson.dumps(records[start : start + _SLICE]).decode(),
        )


def write_report(event: Event) -> str:
    """Return what a copy of a response says of its tokens, as `ka_records` keeps it.

    >>> write_report(Event(None, 5, "Message", {}, tokens=Tokens(1, 0, 0, 2, None), stop_reason="end_turn"))
    '[1,0,0,2,null,0,0,"end_turn"]'
    """
    return orjson.dumps((*(event.tokens or ()), event.stop_reason)).decode()


def _read_report(text: str) -> tuple[Tokens, str | None]:
    *counts, stop = orjson.loads(text)
    return Tokens(*counts), stop


def complete(event: Event, former: str) -> None:
    """Give a response what it was reported to be before, if that was more complete.

    >>> response = Event(None, 5, "Message", {}, tokens=Tokens(1, 0, 0, 2, None))
    >>> complete(response, '[1,0,0,7,null,0,"end_turn"]')
    >>> response.tokens.tokens_out, response.stop_reason
    (7, 'end_turn')
    """
    tokens, stop = _read_report(former)
    if event.tokens is None or stop is not None or tokens.weight > event.tokens.weight:
        _take(event, tokens, stop)


def _take(event: Event, tokens: Tokens, stop: str | None) -> None:
    event.tokens, event.stop_reason = tokens, stop
    if stop is not None:
        event.payload.pop("unreliable", None)


def _choose_owner(claims: Sequence[_Claim]) -> _Claim:
    """Return the claim that owns a record; the rule needs nothing but the files, so their order does not matter.

    The file that wrote it, by its own word: it names the file, and is not older than the file itself. Among copies the
    file that began first: a later one may be a copy of it. Otherwise the file whose last time is earliest (a copy goes
    on after its original stopped); else the smallest path. What is gone keeps what it owned and gains nothing, because
    it cannot be read again. A session's last time is that of its fullest copy.
    """
    last_ms = {one.session: one.last_ms for one in sorted(claims, key=lambda one: one.last_ms)}

    def rank(claim: _Claim) -> tuple[int, int, int, int, str]:
        presence = (0 if claim.owned else 2) if claim.vanished else 1
        born_ms = (claim.born_ms or 0) if claim.standing == RecordStanding.COPIED else 0
        return presence, -claim.standing, born_ms, last_ms[claim.session], claim.path

    return min(claims, key=rank)


def _best_report(claims: Iterable[_Claim]) -> tuple[Tokens, str | None] | None:
    """Return the largest report of a response over all its copies, with a stop reason if any copy has one."""
    reports = [_read_report(claim.report) for claim in claims if claim.report]
    if not reports:
        return None
    tokens, stop = max(reports, key=lambda report: (report[0].weight, str(report[0])))
    return tokens, stop or max((other or "" for _, other in reports), default="") or None
