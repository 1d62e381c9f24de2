"""One batch of files becomes rows: whole sessions, derived from all of their files and replaced in one transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from kaizen_analytics.core.errors import IngestError
from kaizen_analytics.ingest.checkpoints import PARSER_VERSION, Checkpoint, find_checkpoints, save_checkpoints
from kaizen_analytics.ingest.cursor import has_grown
from kaizen_analytics.ingest.discover import file_of
from kaizen_analytics.ingest.owners import Owners, complete, write_report
from kaizen_analytics.ingest.records import LAST_MS, NOWHERE, Agent, Event, Json, Place, RecordStanding, Tokens
from kaizen_analytics.ingest.rows import (
    EVENT_COLUMNS,
    NOT_IN_MESSAGES,
    SESSION_COLUMNS,
    Row,
    count_rows,
    event_row,
    insert_rows,
)
from kaizen_analytics.store.sessions import delete_sessions, digest, write_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kaizen_analytics.ingest.gitref import Places
    from kaizen_analytics.ingest.pricing import PriceList
    from kaizen_analytics.ingest.reading import Work
    from kaizen_analytics.store import Store

_MAX_ROUNDS = 50
_STORED_REJECTS = 1000
"""Per file; the counts by reason are always complete."""

_SLICE = 2_500
"""So many rows are handed over at once, which bounds the memory for a session of any size."""

_COLUMNS = {
    "events": EVENT_COLUMNS,
    "ka_records": ("file_id", "record", "seq", "original", "tokens"),
    "ka_places": ("session_id", "seq", "cwd", "branch"),
    "sessions": SESSION_COLUMNS,
    "ka_rejects": ("file_id", "line", "offset_bytes", "reason", "detail"),
}
_TOUCHED = (
    ("files_touched", "path", "paths"),
    ("skills_used", "skill", "skills"),
    ("rules_used", "rule", "rules"),
)
"""Table, its column, and the attribute of an event that feeds it."""

_TOKEN_COLUMNS = ("tokens_in", "cache_creation_tokens", "cache_read_tokens", "tokens_out", "reasoning_tokens")

_PICKED = "(select value from json_each(?))"


class _Record(NamedTuple):
    """One row of `ka_records`: a file's copy of a record, and the place of its event if the event is this copy's."""

    file_id: int
    record: int
    seq: int | None
    standing: int
    report: str | None


class _Entry(NamedTuple):
    """One event of a session: of a file that was read, or (`row`) as only the store has it.

    `report` is what the copy says of its tokens, empty without any; None means what the event says.
    """

    event: Event
    record: int | None
    file_id: int
    row: Row | None = None
    report: str | None = None


@dataclass(slots=True)
class _Session:
    """A session in the making: the works that are its files, what is stored of it, and what comes of both."""

    id: str
    works: list[Work]
    files: list[Checkpoint]
    """Its files that are gone."""
    tally: Json = field(default_factory=dict)
    entries: list[_Entry] = field(default_factory=list)
    others: list[Row] = field(default_factory=list)
    """Rows of `ka_records` whose events another file has."""
    stored: dict[str, Any] = field(default_factory=dict)
    """Its row as it is stored."""
    former: dict[int | None, tuple[str | None, str | None]] = field(default_factory=dict)
    before: int = 0
    """How many events were stored."""


class Batch:
    """Some works on their way to the store; `commit` writes them, unless another ingest was faster.

    `overtaken` are the works that another ingest advanced; `new_events` counts, by agent, the events that the store
    gained. `known` says how many events of each session are no news, None that no news are wanted.
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
        known: Mapping[str, int] | None = None,
    ) -> None:
        self.works = {work.path: work for work in works}
        self.overtaken: list[Work] = []
        self.new_events: Counter[Agent] = Counter()
        self.news: list[tuple[Row, bool, Agent]] = []
        """The rows that are new to `known`, and (marked True) those that were completed."""
        self._store = store
        self._prices = prices
        self._places = places
        self._read = read
        self._leaves_out = leaves_out
        self._known = known
        self._sessions: dict[str, _Session] = {}
        self._gone: list[Checkpoint] = []
        self._outside: dict[str, str] = {}
        self._owners: Owners
        self._exists: dict[str, bool] = {}
        self._file_ids: dict[str, int] = {}
        self._rows: dict[str, list[Row]] = {table: [] for table in _COLUMNS}
        self._digests: dict[str, str] = {}
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
                claimants = [work for work in self.works.values() if work.session_id not in self._outside]
                former = self._records_of([work.row.id for work in claimants if work.replaces and work.row is not None])
                replaced = [record.record for record in former if record.seq is not None]
                self._owners = Owners(self._store, self.works, claimants, replaced, self._is_there)
                missing = self._owners.find_misowned() | self._parents_of_forks()
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
            self._exists[path] = Path(file_of(path)).is_file()
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

    def _parents_of_forks(self) -> set[str]:
        origins = map(self._owners.origin_of, self.works.values())
        return {one.path for one in origins if one is not None and one.path not in self.works and not one.vanished}

    def _records_of(self, file_ids: Sequence[int]) -> list[_Record]:
        if not file_ids:
            return []
        return [
            _Record(int(file_id or 0), int(record or 0), _integer(seq), int(standing or 0), report)
            for file_id, record, seq, standing, report in self._native(
                f"select {', '.join(_COLUMNS['ka_records'])} from ka_records where file_id in {_PICKED}", file_ids
            )
        ]

    def _write(self) -> list[Checkpoint]:
        """Prepare every session, which reads what is stored of it; delete them; then write their rows in slices."""
        self._number_files()
        ids = [*self._sessions]
        counted = f"select session_id, count(*) from events where session_id in {_PICKED} group by 1"
        stored = {session: int(count or 0) for session, count in self._native(counted, ids)}
        known = self._native(f"select {', '.join(SESSION_COLUMNS)} from sessions where id in {_PICKED}", ids)
        rows = {str(row[0]): dict(zip(SESSION_COLUMNS, row, strict=True)) for row in known}
        chosen = [one for one in self._sessions.values() if one.id not in self._outside and (one.works or one.files)]
        for session in chosen:
            session.before, session.stored = stored.get(session.id, 0), rows.get(session.id, {})
            self._prepare(session)
        read = list(self._file_ids.values())
        self._native(f"delete from ka_rejects where file_id in {_PICKED} returning 1", read)
        gone = [row.id for row in self._gone]
        self._native(f"delete from ka_records where file_id in {_PICKED} returning 1", read + gone)
        former = {work.row.stored_as for work in self.works.values() if work.row is not None and work.row.stored_as}
        replaced = sorted({*self._sessions, *former} - self._outside.keys())
        delete_sessions(self._store, replaced)
        self._native(f"delete from ka_places where session_id in {_PICKED} returning 1", replaced)
        for session in chosen:
            self._derive(session)
        saved = [self._checkpoint(work) for work in self.works.values()]
        saved += [self._gone_checkpoint(row) for row in self._gone]
        self._save_rejects()
        for table in _COLUMNS:
            self._flush(table)
        write_digests(self._store, "session", self._digests)
        for table, column, _ in _TOUCHED:
            insert_rows(self._store, table, ("session_id", column), list(self._touched[table]))
        save_checkpoints(self._store, saved)
        return saved

    def _put(self, table: str, rows: Iterable[Row]) -> None:
        self._rows[table] += rows
        if len(self._rows[table]) >= _SLICE:
            self._flush(table)

    def _flush(self, table: str) -> None:
        rows, self._rows[table] = self._rows[table], []
        if table == "ka_records":
            rows.sort()  # by its key, which no two share
        insert_rows(self._store, table, _COLUMNS[table], rows)

    def _native(self, sql: str, values: object) -> list[tuple[str | None, ...]]:
        return self._store.native(sql, orjson.dumps(values).decode())

    def _number_files(self) -> None:
        next_id = int(self._store.native("select coalesce(max(id), 0) + 1 from ka_files")[0][0] or 1)
        for work in self.works.values():
            self._file_ids[work.path] = work.row.id if work.row is not None else next_id
            next_id += work.row is None

    def _prepare(self, session: _Session) -> None:
        """Collect the events of one session from its files, and from what only the store still has of them."""
        mine = {work.row.id: work for work in session.works if work.row is not None}
        stored = self._records_of([*mine, *(row.id for row in session.files)])
        stored = [record for record in stored if record.file_id not in mine or not mine[record.file_id].replaces]
        kept = self._kept(session, stored)
        for work in session.works:
            origin = self._owners.origin_of(work)
            parent = self.works.get(origin.path) if origin is not None else None
            work.book([one.event for one in kept], self._messages_of_children(session.id, work), parent)
        lists = self._entries(session, {record.record: record.report for record in stored})
        lost = {(entry.file_id, entry.record) for entry in kept}
        session.others += [
            (one.file_id, one.record, None, one.standing, one.report)
            for one in stored
            if one.file_id not in mine and (one.file_id, one.record) not in lost
        ]
        session.entries = _in_order([*lists, kept])
        if kept:
            for table, column, _ in _TOUCHED:
                touched = self._store.native(f"select {column} from {table} where session_id = ?", session.id)
                self._touched[table] |= dict.fromkeys((session.id, str(value)) for (value,) in touched)
        if self._known is not None:
            session.former = self._former_rows(session, self._known.get(session.id, 0))

    def _derive(self, session: _Session) -> None:
        """Write the rows of one session."""
        entries, agent = session.entries, self._agent_of(session)
        self._put("ka_records", session.others)
        self.new_events[agent] += len(entries) - session.before
        if not entries:
            return
        slices = [range(start, min(start + _SLICE, len(entries))) for start in range(0, len(entries), _SLICE)]
        tally: Json | None = None
        rows: list[Row] = []
        for part in slices:
            chosen = entries[part.start : part.stop]
            rows = self._rows_of(session, part)
            tally = count_rows(rows, [one.event for one in chosen], tally)
            if self._known is not None:
                self.news += [
                    (row, known is not None, agent)
                    for row, one in zip(rows, chosen, strict=True)
                    if (known := session.former.get(one.record)) != row[6:8]
                ]
        kept = [one for one in entries if one.row is not None]
        prompts = sum(bool(one.event.payload.get("prompt")) for one in kept)
        session.tally = (tally or {}) | {"kept": len(kept), "kept_prompts": prompts}
        row = self._session_row(session, kept)
        self._put("sessions", [row])

        def written() -> Iterator[Row]:
            for part in slices:
                made = rows if len(slices) == 1 else self._rows_of(session, part)  # one slice is all at hand
                self._put("events", made)
                self._write_details(session, part)
                yield from made

        self._digests[session.id] = digest(chain([row], written()))

    def _rows_of(self, session: _Session, part: range) -> list[Row]:
        entries, name, prices = session.entries, session.id, self._prices
        return [
            event_row(name, seq, one.event, prices) if one.row is None else (name, str(seq), *one.row[2:])
            for seq, one in zip(part, entries[part.start : part.stop], strict=True)
        ]

    def _write_details(self, session: _Session, part: range) -> None:
        """Write what goes with some events of a session: records, places, and what they touched."""
        records: list[Row] = []
        places: list[Row] = []
        at = session.entries[part.start - 1].event.place if part.start else NOWHERE
        for seq, (event, record, file_id, row, report) in zip(
            part, session.entries[part.start : part.stop], strict=True
        ):
            if record is not None:
                told = write_report(event) if report is None and event.tokens is not None else report or None
                records.append((file_id, record, seq, int(event.standing), told))
            place = event.place
            if place is not at and place[:2] != at[:2]:
                places.append((session.id, seq, *place[:2]))
            at = place
            if row is None and (event.paths or event.skills or event.rules):
                for table, _, attribute in _TOUCHED:
                    self._touched[table] |= dict.fromkeys((session.id, value) for value in getattr(event, attribute))
        self._put("ka_records", records)
        self._put("ka_places", places)

    def _messages_of_children(self, session: str, work: Work) -> Iterator[tuple[str | None, Tokens]]:
        """Yield model and tokens of the responses that a session's sub-agents gave before its last own total."""
        if not work.parser.parsed.totals:
            return
        totals = work.parser.parsed.totals[-1]
        ended_ms = totals.at_ms if totals.n_events < len(work.events) else LAST_MS  # else all ended with the run
        read = set()
        for other in self.works.values():
            if other.parser.parent_session_id == session:
                read.add(other.session_id)
                for event in other.events:
                    if event.tokens is not None and event.ts_ms <= ended_ms:
                        yield event.model, event.tokens
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

    def _entries(self, session: _Session, former: dict[int, str | None]) -> list[list[_Entry]]:
        """Return what each file contributes to a session; notes the records whose events another file has.

        A response whose last lines a file lost keeps the report (`former`) that it had with them.
        """
        if len(session.works) == 1 and not former and not self._owners.has_any(session.works[0].records):
            [work] = session.works
            return [list(map(_Entry, work.events, work.records, repeat(self._file_ids[work.path])))]
        seen: set[int] = set()
        lists: list[list[_Entry]] = []
        for work in _by_weight(session.works):
            file_id = self._file_ids[work.path]
            # A conversation that Cursor keeps in two forms has no record in common: the fuller form counts.
            counts = work.agent is not Agent.CURSOR or not any(lists)
            entries: list[_Entry] = []
            for record, event in zip(work.records, work.events, strict=True):
                if event.stop_reason is None and (known := former.get(record)) and NOT_IN_MESSAGES not in event.payload:
                    complete(event, known)
                report = None
                if record in self._owners:
                    report = "" if event.tokens is None else write_report(event)  # before it takes another's numbers
                if counts and record not in seen and (report is None or self._owners.grant(session.id, record, event)):
                    entries.append(_Entry(event, record, file_id, report=report))
                else:
                    told = write_report(event) if report is None and event.tokens is not None else report or None
                    session.others.append((file_id, record, None, int(event.standing), told))
                seen.add(record)
            lists.append(entries)
        return lists

    def _kept(self, session: _Session, stored: list[_Record]) -> list[_Entry]:
        """Return the stored events whose records are gone: overwritten, cut off, or lost with their file."""
        if not session.before:
            return []
        present = {record for work in session.works for record in (*work.records, *work.booked_records)}
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
        for row in cells:
            stored = dict(zip(EVENT_COLUMNS, row, strict=True))
            seq, ts_ms = int(stored["seq"] or 0), int(stored["ts_ms"] or 0)
            known = gone.get(seq)
            if known is not None or first_ms is None or ts_ms < first_ms:
                place = next((place for start, place in reversed(places) if start <= seq), NOWHERE)
                given, written, again, output, reasoning = (_integer(stored[name]) for name in _TOKEN_COLUMNS)
                event = Event(None, ts_ms, str(stored["kind"]), orjson.loads(stored["payload"] or "{}"), place)
                event.tokens = Tokens(given, written, again, output, reasoning)
                event.model = event.payload.get("model")
                record, file_id, report = None, 0, ""
                if known is not None:
                    record, file_id, report = known.record, known.file_id, known.report or ""
                    event.standing = RecordStanding(known.standing)
                kept.append(_Entry(event, record, file_id, row, report))
        return _without_former_selves(session, kept) if self._agent_of(session) is Agent.CURSOR else kept

    def _places_of(self, session: str) -> list[tuple[int, Place]]:
        rows = self._store.native("select seq, cwd, branch from ka_places where session_id = ? order by seq", session)
        return [(int(seq or 0), Place(cwd, branch)) for seq, cwd, branch in rows]

    @property
    def counted(self) -> dict[str, int]:
        """How many events each session of the batch has now."""
        return {session.id: len(session.entries) for session in self._sessions.values()}

    def _former_rows(self, session: _Session, n_known: int) -> dict[int | None, tuple[str | None, str | None]]:
        rows = self._store.native(
            "select r.record, e.tokens_in, e.tokens_out from ka_files f join ka_records r on r.file_id = f.id"
            " join events e on e.session_id = f.session_id and e.seq = r.seq where f.session_id = ?"
            " and e.seq < ?",
            session.id,
            n_known,
        )
        return {int(record or 0): (given, output) for record, given, output in rows}

    def _agent_of(self, session: _Session) -> Agent:
        return session.works[0].agent if session.works else Agent(session.files[0].agent)

    def _session_row(self, session: _Session, kept: Sequence[_Entry]) -> Row:
        """Return the row of `sessions`; what files or repositories told that are gone is taken from the stored one."""
        tally, works, before = session.tally, _by_weight(session.works), session.stored
        stored = before if kept or not works else {}
        places = [session.entries[0].event.place, *map(_first_place, works)]
        cwd = next((place.cwd for place in places if place.cwd), None)
        branch = next((place.branch for place in places if place.branch), None)
        version = next((place.version for place in places if place.version), None) or stored.get("agent_version")
        workspace = self._places.workspace_of(cwd) if cwd else stored.get("workspace", "")
        commit = next((place.commit for place in places if place.commit), None)
        source = "recorded" if commit else ""
        if commit is None and workspace:
            commit = self._places.commit_at(workspace, None if branch == "HEAD" else branch, tally["start_ms"])
            source = "inferred" if commit else ""
            if commit is None and before.get("workspace") == workspace:
                commit, source = before["start_commit"], before["repo_binding_source"]
        branch = _most_frequent(tally["branches"]) or branch
        told = [(work.parser.prompt_fingerprint, work.parser.parent_session_id) for work in works]
        agent = self._agent_of(session)
        inferred = self._places.instructions_at(workspace, commit, agent, cwd) or before.get("prompt_fingerprint")
        return (
            session.id, agent.value, _most_frequent(tally["models"]), workspace, str(tally["start_ms"]),
            str(tally["end_ms"]), "Done", works[0].path if works else stored.get("trace_path", ""), commit,
            None if branch == "HEAD" else branch, source,
            next((one for one, _ in told if one), None) or inferred,
            next((one for _, one in told if one), None) or stored.get("parent_session_id"), version,
        )  # fmt: skip

    def _save_rejects(self) -> None:
        rows = {
            (self._file_ids[path], reject.line): (reject.offset, reject.reason.value, reject.detail)
            for path, work in self.works.items()
            for reject in work.parser.parsed.rejects[:_STORED_REJECTS]
        }
        self._put("ka_rejects", [key + row for key, row in rows.items()])

    def _checkpoint(self, work: Work) -> Checkpoint:
        parsed, session = work.parser.parsed, self._sessions.get(work.session_id)
        outside = self._outside.get(work.session_id)
        has_rows = session is not None and bool(session.entries)
        tally: Json = {}
        if outside is not None:
            tally = {"outside": outside}
        elif session is not None and has_rows and session.works[0] is work:
            tally = session.tally
        return Checkpoint(
            id=self._file_ids[work.path],
            path=work.path,
            agent=work.agent.value,
            session_id=work.session_id,
            stored_as=work.session_id if has_rows else None,
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
        return row._replace(stored_as=row.session_id if session.entries else None, tally=session.tally if leads else {})


def _without_former_selves(session: _Session, kept: list[_Entry]) -> list[_Entry]:
    """Leave out what a conversation of Cursor lost in one form and has in another, and answers that grew since."""
    said = [event.payload for work in session.works for event in work.events]
    own = {work.row.id for work in session.works if work.row is not None and work.events}
    there = len(said) >= sum(entry.file_id not in own for entry in kept)
    return [one for one in kept if (one.file_id in own or not there) and not has_grown(one.event.payload, said)]


def _most_frequent(counts: dict[str, int]) -> str | None:
    """Return the name with the highest count; the first among equals, by name."""
    return min(counts, key=lambda name: (-counts[name], name)) if counts else None


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
            while head is not None and head.event.ts_ms <= entry.event.ts_ms:
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
