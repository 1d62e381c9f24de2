"""One batch of files becomes rows: whole sessions, derived from all of their files and replaced in one transaction."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from kaizen_analytics.core.errors import IngestError
from kaizen_analytics.ingest.checkpoints import PARSER_VERSION, Checkpoint, find_checkpoints, save_checkpoints
from kaizen_analytics.ingest.ownership import OwnedRecord, RecordClaim, best_report, choose_owner
from kaizen_analytics.ingest.records import NOWHERE, Agent, Event, Json, Place, Tokens
from kaizen_analytics.ingest.rows import (
    EVENT_COLUMNS,
    NOT_IN_MESSAGES,
    SESSION_COLUMNS,
    Row,
    count_rows,
    event_row,
    insert_rows,
    most_frequent,
    stored_row,
)
from kaizen_analytics.store.sessions import delete_sessions, digest, write_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kaizen_analytics.ingest.gitref import Places
    from kaizen_analytics.ingest.pricing import PriceList
    from kaizen_analytics.ingest.reading import Work
    from kaizen_analytics.store import Store

_MAX_ROUNDS = 50
_STORED_REJECTS = 1000
"""Per file; the counts by reason are always complete."""

_RECORD_COLUMNS = ("file_id", "record", "seq", "original", "tokens")
_REJECT_COLUMNS = ("file_id", "line", "offset_bytes", "reason", "detail")
_PLACE_COLUMNS = ("session_id", "seq", "cwd", "branch")
_TOUCHED = (
    ("files_touched", "path", "paths"),
    ("skills_used", "skill", "skills"),
    ("rules_used", "rule", "rules"),
)
"""Table, its column, and the attribute of an event that feeds it."""

_PICKED = "(select value from json_each(?))"


class _Record(NamedTuple):
    """One row of `ka_records`: a file's copy of a record, and the place of its event if the event is this copy's."""

    file_id: int
    record: int
    seq: int | None
    standing: int
    report: str | None


_Copy = tuple[int, int, int, str | None]
"""The same before its event has a place: file, record, standing, report."""


class _Entry(NamedTuple):
    """One event of a session: of a file that was read, or (`row`) as only the store has it."""

    ts_ms: int
    record: int | None
    file_id: int
    place: Place
    event: Event | None = None
    row: Row | None = None


@dataclass(slots=True)
class _Session:
    """A session in the making: the works that are its files, what is stored of it, and what comes of both."""

    id: str
    works: list[Work]
    files: list[Checkpoint]
    """Its files that are gone."""
    tally: Json = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    before: int = 0
    """How many events were stored."""


class Batch:
    """Some works on their way to the store; `commit` writes them, unless another ingest was faster.

    `overtaken` are the works that another ingest advanced; `new_events` counts, by agent, the events that the store
    gained.
    """

    def __init__(
        self,
        store: Store,
        works: Iterable[Work],
        *,
        prices: PriceList,
        places: Places,
        read: Callable[[str], Work | None],
        leaves_out: Callable[[Iterable[str]], str | None],
        live: bool = False,
    ) -> None:
        self.works = {work.path: work for work in works}
        self.overtaken: list[Work] = []
        self.new_events: Counter[Agent] = Counter()
        self.news: list[tuple[Row, bool, Agent]] = []
        """With `live`: the rows that were added, and (marked True) those that were completed."""
        self._store = store
        self._prices = prices
        self._places = places
        self._read = read
        self._leaves_out = leaves_out
        self._live = live
        self._sessions: dict[str, _Session] = {}
        self._gone: list[Checkpoint] = []
        self._outside: dict[str, str] = {}
        self._claims: dict[int, list[RecordClaim]] = {}
        self._exists: dict[str, bool] = {}
        self._file_ids: dict[str, int] = {}
        self._rows: list[Row] = []
        self._session_rows: list[Row] = []
        self._digests: dict[str, str] = {}
        self._records: list[_Record] = []
        self._place_rows: list[Row] = []
        self._touched: dict[str, dict[tuple[str, str], None]] = {table: {} for table, _, _ in _TOUCHED}

    def commit(self) -> list[Checkpoint]:
        """Write everything in one transaction and return the checkpoints that were saved."""
        with self._store.write():
            self._drop_overtaken()
            if not self.works:
                return []
            self._settle()
            return self._write()

    def _drop_overtaken(self) -> None:
        rows = {row.path: row for row in find_checkpoints(self._store, paths=self.works)}
        for path, work in list(self.works.items()):
            now, then = rows.get(path), work.row
            if (now and (now.read_bytes, now.prefix_hash)) != (then and (then.read_bytes, then.prefix_hash)):
                self.overtaken.append(self.works.pop(path))
            else:
                work.row = now

    def _settle(self) -> None:
        """Add works until every session has all of its files, and no session outside would have to change."""
        for _ in range(_MAX_ROUNDS):
            missing = self._find_parts()
            if not missing:
                self._find_outside()
                self._load_claims()
                missing = self._misowned() | self._parents_of_forks()
            if not missing:
                return
            for path in missing:
                self._include(path)
        raise IngestError(f"{next(iter(self.works))} and its copies do not settle; please report this.")

    def _include(self, path: str) -> None:
        work = self._read(path)
        if work is None:  # it vanished between two looks
            self._exists[path] = False
            return
        work.row = next((row for row in find_checkpoints(self._store, paths=[path]) if row.path == path), None)
        self.works[path] = work

    def _find_parts(self) -> set[str]:
        """Collect the sessions and their files; return those that are still to be read."""
        ids = {work.session_id for work in self.works.values()}
        ids |= {work.row.session_id for work in self.works.values() if work.row is not None and work.replaces}
        ids |= self._roots_with_totals()
        ids.discard("")
        others = [row for row in find_checkpoints(self._store, session_ids=ids) if row.path not in self.works]
        self._gone = [row for row in others if row.stored_as in (None, row.session_id)]
        self._sessions = {session: _Session(session, [], []) for session in sorted(ids)}
        for work in sorted(self.works.values(), key=lambda work: work.path):
            if work.session_id:
                self._sessions[work.session_id].works.append(work)
        for row in self._gone:
            self._sessions[row.session_id].files.append(row)
        return {row.path for row in others if self._is_there(row.path)}

    def _roots_with_totals(self) -> set[str]:
        """Return the sessions that started these ones as sub-agents and whose own total includes them."""
        parents = {work.parser.parent_session_id for work in self.works.values()} - {None}
        rows = find_checkpoints(self._store, session_ids=sorted(map(str, parents))) if parents else []
        return {row.session_id for row in rows if row.state.get("has_totals") and row.path not in self.works}

    def _is_there(self, path: str) -> bool:
        if path not in self._exists:
            self._exists[path] = Path(path.partition("#")[0]).is_file()
        return self._exists[path]

    def _find_outside(self) -> None:
        """Note the sessions that ran elsewhere than in the one workspace that is wanted, unless they are stored."""
        self._outside = {}
        for session in self._sessions.values():
            rows = [*(work.row for work in session.works if work.row is not None), *session.files]
            if any(row.stored_as for row in rows):
                continue
            cwds = (event.place.cwd for work in session.works for event in work.events if event.place.cwd)
            wanted = self._leaves_out(cwds)
            if wanted is not None and any(work.events for work in session.works):
                self._outside[session.id] = wanted

    def _load_claims(self) -> None:
        """Collect who else holds the records of these works; most records have one holder, and need no claim."""
        works = [work for work in self.works.values() if work.session_id not in self._outside]
        held = Counter(record for work in works for record in work.records)
        wanted = set(held)
        for work in works:
            if work.replaces and work.row is not None:
                wanted |= {record.record for record in self._records_of([work.row.id]) if record.seq is not None}
        present = {work.path: frozenset(work.records) for work in works}
        self._claims = defaultdict(list)
        for number, path, session, last_ms, standing, owned, report in self._store.native(
            "select r.record, f.path, f.session_id, f.last_ms, r.original, r.seq is not null, r.tokens"
            f" from ka_records r join ka_files f on f.id = r.file_id where r.record in {_PICKED}",
            orjson.dumps(sorted(wanted)).decode(),
        ):
            record, place = int(number or 0), str(path)
            known = self.works.get(place)
            if known is not None and (known.replaces or owned != "1" or record in present.get(place, ())):
                continue  # the work claims it itself, or has nothing to keep
            gone = known is not None or not self._is_there(place)
            found = OwnedRecord.from_json(report) if report else None
            self._claims[record].append(
                RecordClaim(
                    record, str(session), place, int(standing or 0), int(last_ms or 0), owned == "1", gone, found
                )
            )
        contested = {record for record, holders in held.items() if holders > 1} | self._claims.keys()
        for work in works:
            if not contested.isdisjoint(work.records):
                self._claim(work, contested)

    def _claim(self, work: Work, contested: set[int]) -> None:
        for record, event in zip(work.records, work.events, strict=True):
            if record in contested:
                report = None if event.tokens is None else OwnedRecord(event.tokens, event.stop_reason)
                claim = RecordClaim(
                    record, work.session_id, work.path, event.standing, work.parser.last_ms, report=report
                )
                self._claims[record].append(claim)

    def _misowned(self) -> set[str]:
        """Return files of other sessions that would own another share of the records than the store gives them."""
        again: set[str] = set()
        for claims in self._claims.values():
            outside = [claim for claim in claims if claim.path not in self.works and not claim.vanished]
            if not outside or len({claim.session for claim in claims}) < 2:
                continue
            owner = choose_owner(claims)
            for claim in outside:
                holds = any(other.owned for other in claims if other.session == claim.session)
                if holds != (claim.session == owner.session):
                    again.add(claim.path)
            if owner in outside and best_report(outside) != best_report(claims):
                again.add(owner.path)
        return again

    def _origin_of(self, work: Work) -> RecordClaim | None:
        """Return who owns what a fork, whose own total begins with its parent's, took over last."""
        record = work.copied_record
        owner = choose_owner(self._claims[record]) if record in self._claims else None
        return None if owner is None or owner.session == work.session_id else owner

    def _parents_of_forks(self) -> set[str]:
        origins = map(self._origin_of, self.works.values())
        return {one.path for one in origins if one is not None and one.path not in self.works and not one.vanished}

    def _records_of(self, file_ids: Sequence[int]) -> list[_Record]:
        if not file_ids:
            return []
        return [
            _Record(int(file_id or 0), int(record or 0), _integer(seq), int(standing or 0), report)
            for file_id, record, seq, standing, report in self._store.native(
                f"select {', '.join(_RECORD_COLUMNS)} from ka_records where file_id in {_PICKED}",
                orjson.dumps(file_ids).decode(),
            )
        ]

    def _write(self) -> list[Checkpoint]:
        self._number_files()
        stored = Counter(self._count_stored())
        for session in self._sessions.values():
            session.before = stored[session.id]
            if session.id not in self._outside and (session.works or session.files):
                self._derive(session)
        read = list(self._file_ids.values())
        self._native(f"delete from ka_rejects where file_id in {_PICKED} returning 1", read)
        gone = [row.id for row in self._gone]
        self._native(f"delete from ka_records where file_id in {_PICKED} returning 1", read + gone)
        former = {work.row.stored_as for work in self.works.values() if work.row is not None and work.row.stored_as}
        self._replace_sessions(sorted({*self._sessions, *former} - self._outside.keys()))
        saved = [self._checkpoint(work) for work in self.works.values()]
        saved += [self._gone_checkpoint(row) for row in self._gone]
        self._save_rejects()
        save_checkpoints(self._store, saved)
        return saved

    def _native(self, sql: str, values: object) -> list[tuple[str | None, ...]]:
        return self._store.native(sql, orjson.dumps(values).decode())

    def _number_files(self) -> None:
        next_id = int(self._store.native("select coalesce(max(id), 0) + 1 from ka_files")[0][0] or 1)
        for work in self.works.values():
            self._file_ids[work.path] = work.row.id if work.row is not None else next_id
            next_id += work.row is None

    def _count_stored(self) -> dict[str, int]:
        rows = self._native(
            f"select session_id, count(*) from events where session_id in {_PICKED} group by 1", list(self._sessions)
        )
        return {str(session): int(count or 0) for session, count in rows}

    def _derive(self, session: _Session) -> None:
        """Build the rows of one session from its files, and from what only the store still has of them."""
        mine = {work.row.id: work for work in session.works if work.row is not None}
        stored = self._records_of([*mine, *(row.id for row in session.files)])
        stored = [record for record in stored if record.file_id not in mine or not mine[record.file_id].replaces]
        for work in session.works:
            origin = self._origin_of(work)
            parent = self.works.get(origin.path) if origin is not None else None
            work.book(self._messages_of_children(session.id, work), parent)
        lists, records = self._entries(session, {record.record: record.report for record in stored})
        present = {record for work in session.works for record in work.records}
        present = present.union(*(work.booked_records for work in session.works))
        kept = self._kept(session, stored, present)
        lost = {(entry.file_id, entry.record) for entry in kept}
        stored = [one for one in stored if one.file_id not in mine or (one.file_id, one.record) in lost]
        owners: dict[tuple[int, int], int] = {}
        at = NOWHERE
        former = self._former_rows(session) if self._live else {}
        agent = self._agent_of(session)
        entries, payloads = _in_order([*lists, kept]), []
        for seq, (_, record, file_id, place, event, kept_row) in enumerate(entries):
            if event is not None:
                row, payload = event_row(session.id, seq, event, self._prices), event.payload
                if event.paths or event.skills or event.rules:
                    self._touch(session.id, event)
            else:
                row = (session.id, seq, *(kept_row or ())[2:])
                payload = orjson.loads(row[9])
            session.rows.append(row)
            payloads.append(payload)
            if record is not None:
                owners[file_id, record] = seq
            if place is not at and place[:2] != at[:2]:
                self._place_rows.append((session.id, seq, *place[:2]))
            at = place
            if self._live and (known := former.get(record)) != row[6:8]:
                self.news.append((row, known is not None, agent))
        session.tally = count_rows(session.rows, payloads, [entry.place.branch for entry in entries])
        if kept:
            lost_payloads = [said for said, entry in zip(payloads, entries, strict=True) if entry.event is None]
            session.tally["kept"] = len(kept)
            session.tally["kept_prompts"] = sum(bool(payload.get("prompt")) for payload in lost_payloads)
        self._records += [
            _Record(file_id, record, owners.get((file_id, record)), standing, report)
            for file_id, record, standing, report in records
        ]
        self._records += [one._replace(seq=owners.get((one.file_id, one.record))) for one in stored]
        self.new_events[agent] += len(session.rows) - session.before
        if session.rows:
            self._rows += session.rows
            self._session_rows.append(self._session_row(session, kept))
            self._digests[session.id] = digest([self._session_rows[-1], *session.rows])

    def _messages_of_children(self, session: str, work: Work) -> Iterator[tuple[str | None, Tokens]]:
        """Yield model and tokens of the responses that a session's sub-agents gave before its last own total."""
        if not work.parser.parsed.totals:
            return
        ended_ms = work.parser.parsed.totals[-1].at_ms
        read = set()
        for other in self.works.values():
            if other.parser.parent_session_id == session:
                read.add(other.session_id)
                yield from other.responses_before(ended_ms)
        rows = self._store.native(
            "select e.payload->>'model', e.tokens_in, e.cache_creation_tokens, e.cache_read_tokens, e.tokens_out,"
            " e.reasoning_tokens, s.id from sessions s join events e on e.session_id = s.id"
            " where s.parent_session_id = ? and e.kind = 'Message' and e.ts_ms <= ?",
            session,
            ended_ms,
        )
        for model, *counts, child in rows:
            if child not in read:
                given, written, read_again, output, reasoning = map(_integer, counts)
                yield model, Tokens(given, written, read_again, output, reasoning)

    def _entries(self, session: _Session, former: dict[int, str | None]) -> tuple[list[list[_Entry]], list[_Copy]]:
        """Return what each file contributes to a session, and every file's records.

        A response whose last lines a file lost keeps the report (`former`) that it had with them.
        """
        seen: set[int] = set()
        lists: list[list[_Entry]] = []
        records: list[_Copy] = []
        for work in _by_weight(session.works):
            file_id = self._file_ids[work.path]
            # A conversation that Cursor keeps in two forms has no record in common: the fuller form counts.
            counts = work.agent is not Agent.CURSOR or not any(lists)
            entries: list[_Entry] = []
            for record, event in zip(work.records, work.events, strict=True):
                if event.stop_reason is None and (known := former.get(record)) and NOT_IN_MESSAGES not in event.payload:
                    _complete(event, OwnedRecord.from_json(known))
                report = None if event.tokens is None else OwnedRecord(event.tokens, event.stop_reason).to_json()
                records.append((file_id, record, event.standing, report))
                if (
                    counts
                    and record not in seen
                    and (record not in self._claims or self._owns(session.id, record, event))
                ):
                    entries.append(_Entry(event.ts_ms, record, file_id, event.place, event))
                seen.add(record)
            lists.append(entries)
        return lists, records

    def _owns(self, session: str, record: int, event: Event) -> bool:
        claims = self._claims[record]
        if len(claims) < 2:
            return True
        if choose_owner(claims).session != session:
            return False
        report = best_report(claims)
        if report is not None:
            _take(event, report)
        return True

    def _kept(self, session: _Session, stored: list[_Record], present: set[int]) -> list[_Entry]:
        """Return the stored events whose records are gone: overwritten, cut off, or lost with their file."""
        gone = {one.seq: one for one in stored if one.seq is not None and one.record not in present}
        told = {one.seq for one in stored if one.seq is not None}
        unknown = set() if len(told) >= session.before else set(range(session.before)) - told
        if session.works and all(work.replaces for work in session.works):
            unknown = set()  # an older version kept no records of this agent, and read the same file
        return self._kept_entries(session, gone, unknown) if gone or unknown else []

    def _kept_entries(self, session: _Session, gone: dict[int, _Record], unknown: set[int]) -> list[_Entry]:
        places = self._places_of(session.id)
        cells = self._store.native(
            f"select {', '.join(EVENT_COLUMNS)} from events where session_id = ? and seq in {_PICKED} order by seq",
            session.id,
            orjson.dumps([*gone, *unknown]).decode(),
        )
        first_ms = min((event.ts_ms for work in session.works for event in work.events), default=None)
        kept: list[_Entry] = []
        for row in map(stored_row, cells):
            seq, known = row[1], gone.get(row[1])
            if known is not None or first_ms is None or row[2] < first_ms:
                place = next((place for start, place in reversed(places) if start <= seq), NOWHERE)
                record, file_id = (known.record, known.file_id) if known is not None else (None, 0)
                kept.append(_Entry(row[2], record, file_id, place, row=row))
        if self._agent_of(session) is Agent.CURSOR and sum(len(work.events) for work in session.works) >= len(kept):
            return []  # the same conversation in its other form
        return kept

    def _places_of(self, session: str) -> list[tuple[int, Place]]:
        rows = self._store.native("select seq, cwd, branch from ka_places where session_id = ? order by seq", session)
        return [(int(seq or 0), Place(cwd, branch)) for seq, cwd, branch in rows]

    def _former_rows(self, session: _Session) -> dict[int | None, tuple[int | None, int | None]]:
        rows = self._store.native(
            "select r.record, e.tokens_in, e.tokens_out from ka_files f join ka_records r on r.file_id = f.id"
            " join events e on e.session_id = f.session_id and e.seq = r.seq where f.session_id = ?",
            session.id,
        )
        return {int(record or 0): (_integer(given), _integer(output)) for record, given, output in rows}

    def _agent_of(self, session: _Session) -> Agent:
        return session.works[0].agent if session.works else Agent(session.files[0].agent)

    def _touch(self, session: str, event: Event) -> None:
        for table, _, attribute in _TOUCHED:
            for value in getattr(event, attribute):
                self._touched[table][session, value] = None

    def _session_row(self, session: _Session, kept: Sequence[_Entry]) -> Row:
        """Return the row of `sessions`; what only files know that are gone is taken from the row that is stored."""
        tally, works = session.tally, _by_weight(session.works)
        stored = self._stored_session(session.id) if kept or not works else {}
        places = [entry.place for entry in kept[:1]] + [_first_place(work) for work in works]
        cwd = next((place.cwd for place in places if place.cwd), None)
        branch = next((place.branch for place in places if place.branch), None)
        version = next((place.version for place in places if place.version), None) or stored.get("agent_version")
        workspace = self._places.workspace_of(cwd) if cwd else stored.get("workspace", "")
        commit = next((place.commit for place in places if place.commit), None)
        source = "recorded" if commit else ""
        if commit is None and workspace:
            commit = self._places.commit_at(workspace, None if branch == "HEAD" else branch, tally["start_ms"])
            source = "inferred" if commit else ""
        branch = most_frequent(tally["branches"]) or branch
        told = [(work.parser.prompt_fingerprint, work.parser.parent_session_id) for work in works]
        agent = self._agent_of(session)
        inferred = self._places.instructions_at(workspace, commit, agent) or stored.get("prompt_fingerprint")
        return (
            session.id, agent.value, most_frequent(tally["models"]), workspace, tally["start_ms"],
            tally["end_ms"], "Done", works[0].path if works else stored.get("trace_path", ""), commit,
            None if branch == "HEAD" else branch, source,
            next((one for one, _ in told if one), None) or inferred,
            next((one for _, one in told if one), None) or stored.get("parent_session_id"), version,
        )  # fmt: skip

    def _stored_session(self, session: str) -> dict[str, Any]:
        rows = self._store.native(f"select {', '.join(SESSION_COLUMNS)} from sessions where id = ?", session)
        return dict(zip(SESSION_COLUMNS, rows[0], strict=True)) if rows else {}

    def _replace_sessions(self, ids: list[str]) -> None:
        touched = self._touched_before([row[0] for row in self._session_rows])
        delete_sessions(self._store, ids)
        self._native(f"delete from ka_places where session_id in {_PICKED} returning 1", ids)
        insert_rows(self._store, "events", EVENT_COLUMNS, self._rows)
        insert_rows(self._store, "ka_records", _RECORD_COLUMNS, sorted(self._records, key=itemgetter(0, 1)))
        insert_rows(self._store, "ka_places", _PLACE_COLUMNS, self._place_rows)
        insert_rows(self._store, "sessions", SESSION_COLUMNS, self._session_rows)
        write_digests(self._store, "session", self._digests)
        for table, column, _ in _TOUCHED:
            pairs = list(dict.fromkeys([*self._touched[table], *touched[table]]))
            insert_rows(self._store, table, ("session_id", column), pairs)

    def _touched_before(self, ids: list[str]) -> dict[str, list[tuple[str | None, ...]]]:
        """Return what the sessions touched that hold events of the store alone."""
        chosen = [session for session in ids if self._sessions[session].tally["kept"]]
        return {
            table: self._native(f"select session_id, {column} from {table} where session_id in {_PICKED}", chosen)
            if chosen
            else []
            for table, column, _ in _TOUCHED
        }

    def _save_rejects(self) -> None:
        rows = {
            (self._file_ids[path], reject.line): (reject.offset, reject.reason.value, reject.detail)
            for path, work in self.works.items()
            for reject in work.parser.parsed.rejects[:_STORED_REJECTS]
        }
        insert_rows(self._store, "ka_rejects", _REJECT_COLUMNS, [key + row for key, row in rows.items()])

    def _checkpoint(self, work: Work) -> Checkpoint:
        parsed, session = work.parser.parsed, self._sessions.get(work.session_id)
        outside = self._outside.get(work.session_id)
        rows = session.rows if session is not None else []
        tally: Json = {}
        if outside is not None:
            tally = {"outside": outside}
        elif session is not None and rows and session.works[0] is work:
            tally = session.tally
        return Checkpoint(
            id=self._file_ids[work.path],
            path=work.path,
            agent=work.agent.value,
            session_id=work.session_id,
            stored_as=work.session_id if rows else None,
            size_bytes=work.size_bytes,
            mtime_ns=work.mtime_ns,
            read_bytes=work.end,
            prefix_hash=work.prefix_hash,
            parser=PARSER_VERSION,
            last_ms=work.parser.last_ms,
            n_lines=parsed.n_lines,
            rejects=dict(sorted(Counter(reject.reason.value for reject in parsed.rejects).items())),
            state=work.state,
            tally=tally,
        )

    def _gone_checkpoint(self, row: Checkpoint) -> Checkpoint:
        session = self._sessions[row.session_id]
        leads = not session.works and session.files[0] is row
        return replace(row, stored_as=row.session_id if session.rows else None, tally=session.tally if leads else {})


def _complete(event: Event, former: OwnedRecord) -> None:
    """Give a response what it was reported to be before, if that was more complete."""
    if event.tokens is None or former.stop_reason is not None or former.tokens.weight > event.tokens.weight:
        _take(event, former)


def _take(event: Event, report: OwnedRecord) -> None:
    event.tokens, event.stop_reason = report.tokens, report.stop_reason
    if report.stop_reason is not None:
        event.payload.pop("unreliable", None)


def _by_weight(works: Iterable[Work]) -> list[Work]:
    """Order the files of one session: the one with tokens and exact times first, then the fullest, then by path."""

    def weigh(work: Work) -> tuple[int, int, int, str]:
        tokens = sum(event.tokens is not None for event in work.events)
        exact = sum(event.ts_exact for event in work.events)
        return -tokens, -exact, -len(work.events), work.path

    ordered = list(works)
    return ordered if len(ordered) < 2 else sorted(ordered, key=weigh)


def _in_order(lists: list[list[_Entry]]) -> list[_Entry]:
    """Merge lists of events by time; each keeps its own order, in which a clock may go back."""
    merged: list[_Entry] = []
    for added in lists:
        if not merged or not added:
            merged = merged or added
            continue
        first, both = iter(merged), []
        head = next(first, None)
        for entry in added:
            while head is not None and head.ts_ms <= entry.ts_ms:
                both.append(head)
                head = next(first, None)
            both.append(entry)
        merged = [*both, *([] if head is None else [head]), *first]
    return merged


def _first_place(work: Work) -> Place:
    """Return the first folder, branch, version and commit that a file tells."""
    return next((event.place for event in work.events if any(event.place)), NOWHERE)


def _integer(text: str | None) -> int | None:
    return None if text is None else int(text)
