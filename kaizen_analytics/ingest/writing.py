"""One batch of files becomes rows: who owns what, what must be read again, and one transaction for all of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from kaizen_analytics.errors import IngestError
from kaizen_analytics.ingest.checkpoints import PARSER_VERSION, Checkpoint, find_checkpoints, save_checkpoints
from kaizen_analytics.ingest.ownership import Claim, Report, best_report, choose_owner
from kaizen_analytics.ingest.records import Agent, Event, Json, Kind
from kaizen_analytics.ingest.rows import (
    EVENT_COLUMNS,
    SESSION_COLUMNS,
    count_event,
    count_response,
    count_usage,
    event_row,
    new_tally,
    row_term,
    session_row,
)
from kaizen_analytics.store.sessions import Footprint, delete_sessions, find_foreign, record_footprints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kaizen_analytics.ingest.gitref import Places
    from kaizen_analytics.ingest.pricing import PriceList
    from kaizen_analytics.ingest.reading import Work
    from kaizen_analytics.store import Store

_MAX_ROUNDS = 50
_STORED_REJECTS = 1000
"""Per file; the counts by reason are always complete."""

RECORD_COLUMNS = ("file_id", "record", "seq", "original", "tokens")

_TOUCHED = (
    ("files_touched", "path", "paths"),
    ("skills_used", "skill", "skills"),
    ("rules_used", "rule", "rules"),
)
"""Table, its column, and the attribute of an event that feeds it."""

_INTEGERS = frozenset(
    {"seq", "ts_ms", "tokens_in", "tokens_out", "cost_usd_e6", "ts_exact", "reasoning_tokens", "latency_ms", "ttft_ms"}
    | {"context_used_tokens", "context_max_tokens", "cache_creation_tokens", "cache_read_tokens"}
)


class Batch:
    """Some works on their way to the store; `commit` writes them, unless another ingest was faster.

    `overtaken` are the works that another ingest advanced; `written` counts new events by path.
    """

    def __init__(
        self,
        store: Store,
        works: Iterable[Work],
        *,
        prices: PriceList,
        places: Places,
        adopt: bool,
        read: Callable[[str], Work | None],
    ) -> None:
        self.works = {work.path: work for work in works}
        self.overtaken: list[Work] = []
        self.written: dict[str, int] = {}
        self.rows: list[tuple[Any, ...]] = []
        self.completed: list[tuple[Any, ...]] = []
        self._sessions: list[tuple[Any, ...]] = []
        self._footprints: dict[str, Footprint] = {}
        self._touched: dict[str, list[tuple[str, str]]] = {table: [] for table, _, _ in _TOUCHED}
        self._store = store
        self._prices = prices
        self._places = places
        self._adopt = adopt
        self._read = read
        self._others: dict[str, Checkpoint] = {}
        self._claims: dict[int, list[Claim]] = {}
        self._own: dict[str, dict[int, tuple[int | None, Report | None]]] = {}
        self._released: set[str] = set()
        self._now_shared: set[str] = set()
        self._exists: dict[str, bool] = {}

    def news(self) -> list[tuple[tuple[Any, ...], bool]]:
        """Return the rows that this batch added, and (marked True) those that it completed, by session and place."""
        known = {
            work.row.stored_as: work.row.tally.get("events", 0)
            for work in self.works.values()
            if work.row is not None and not work.appended
        }
        added = [(row, False) for row in self.rows if row[1] >= known.get(row[0], 0)]
        return sorted([*added, *((row, True) for row in self.completed)], key=lambda item: item[0][:2])

    def agent_of(self, session: str) -> Agent:
        """Return the agent that one of this batch's sessions belongs to."""
        return next(work.agent for work in self.works.values() if work.name == session)

    def commit(self) -> list[Checkpoint]:
        """Write everything in one transaction and return the checkpoints that were saved."""
        with self._store.write():
            self._drop_overtaken()
            if not self.works:
                return []
            self._settle()
            self._find_foreign()
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
        """Add works until no file outside the batch would have to change."""
        for _ in range(_MAX_ROUNDS):
            self._load()
            again = self._misnamed() | self._misread()
            if not again:
                return
            for path in again:
                self._include(path)
        raise IngestError(f"{next(iter(self.works))} and its copies do not settle; please report this.")

    def _include(self, path: str) -> None:
        work = self._read(path)
        if work is None:
            self._exists[path] = False
            if path in self.works:  # it vanished between two looks; what it adds can wait
                del self.works[path]
            return
        work.row = next((row for row in (self._others.get(path), *self._rows_of(path)) if row is not None), None)
        self.works[path] = work

    def _rows_of(self, path: str) -> list[Checkpoint]:
        return find_checkpoints(self._store, paths=[path])

    def _load(self) -> None:
        """Read what the store knows of these records and sessions."""
        sessions = {work.session_id for work in self.works.values() if work.events}
        found = find_checkpoints(self._store, session_ids=sessions)
        self._others = {row.path: row for row in found if row.path not in self.works and row.read_bytes}
        records = {record for work in self.works.values() for record in work.records if record is not None}
        for work in self.works.values():
            if work.shared and work.row is not None:
                records |= self._records_of(work.row.id)
        self._claims, self._own = {}, {}
        for record, path, last_ms, original, seq, tokens in self._store.native(
            "select r.record, f.path, f.last_ms, r.original, r.seq, r.tokens from ka_records r join ka_files f"
            " on f.id = r.file_id where r.record in (select value from json_each(?))",
            orjson.dumps(sorted(records)).decode(),
        ):
            report = Report.from_json(tokens) if tokens else None
            number, place = int(record or 0), str(path)
            known = self.works.get(place)
            if known is not None:
                self._own.setdefault(place, {})[number] = (None if seq is None else int(seq), report)
                if known.appended:
                    claim = Claim(number, place, original == "1", known.parser.last_ms, seq is not None, False, report)
                    self._claims.setdefault(number, []).append(claim)
                continue
            gone = not self._is_there(place)
            claim = Claim(number, place, original == "1", int(last_ms or 0), seq is not None, gone, report)
            self._claims.setdefault(number, []).append(claim)
        self._claim_for_works()

    def _records_of(self, file_id: int) -> set[int]:
        rows = self._store.native("select record from ka_records where file_id = ?", file_id)
        return {int(record or 0) for (record,) in rows}

    def _claim_for_works(self) -> None:
        """Add these works' claims to records that have another holder; most records have none, and need no claim."""
        held = Counter(record for work in self.works.values() for record in work.records if record is not None)
        contested = {record for record, holders in held.items() if holders > 1} | self._claims.keys()
        for work in self.works.values():
            if contested.isdisjoint(work.records):
                continue
            for record, event in zip(work.records, work.events, strict=True):
                if record is not None and record in contested:
                    report = None if event.tokens is None else Report(event.tokens, event.stop_reason)
                    claim = Claim(record, work.path, event.original, work.parser.last_ms, report=report)
                    self._claims.setdefault(record, []).append(claim)

    def _is_there(self, path: str) -> bool:
        if path not in self._exists:
            self._exists[path] = Path(path.partition("#")[0]).is_file()
        return self._exists[path]

    def _misnamed(self) -> set[str]:
        """Give each work its session's stored name; return files whose own name would have to change."""
        by_session: dict[str, list[Work | Checkpoint]] = {}
        for work in self.works.values():
            work.name = None
            if work.events or work.appended:
                by_session.setdefault(work.session_id, []).append(work)
        for row in self._others.values():
            if row.session_id in by_session and not row.foreign:
                by_session[row.session_id].append(row)
        again: set[str] = set()
        for session, holders in by_session.items():
            first = min(holders, key=self._standing)
            for holder in holders:
                name = session if holder is first else _second_name(session, holder)
                if self._needs_reading(holder, name):
                    again.add(holder.path)
        return again

    def _standing(self, holder: Work | Checkpoint) -> tuple[bool, int, str]:
        """Order the files that hold one session: a lost original first, then the fullest copy, then by path."""
        if holder.agent == Agent.CLAUDE_CODE:
            lost = isinstance(holder, Checkpoint) and holder.stored_as is not None and not self._is_there(holder.path)
            return not lost, 0, holder.path
        size = holder.read_bytes if isinstance(holder, Checkpoint) else holder.end
        return "#" in holder.path, -size, holder.path

    def _needs_reading(self, holder: Work | Checkpoint, name: str | None) -> bool:
        if isinstance(holder, Checkpoint):
            if holder.stored_as == name or (holder.stored_as is None and not holder.tally.get("copy")):
                return False
            if self._is_there(holder.path):
                return True
            self._released.add(holder.path)  # gone, and a fuller copy takes its place
            return False
        holder.name = name
        row = holder.row
        fresh = row is None or (row.stored_as is None and not row.tally.get("copy"))
        return holder.appended and not fresh and row is not None and row.stored_as != name

    def _misread(self) -> set[str]:
        """Return files that would own another share of the records than the store gives them."""
        again: set[str] = set()
        for claims in self._claims.values():
            if len({claim.path for claim in claims}) > 1:
                again |= self._misread_record(claims)
        for work in self.works.values():
            if work.shared:
                lost = self._own.get(work.path, {}).keys() - set(work.records)
                again |= {claim.path for record in lost for claim in self._claims.get(record, ())} - self.works.keys()
        return {path for path in again if self._is_there(path)}

    def _misread_record(self, claims: list[Claim]) -> set[str]:
        owner = choose_owner(claims)
        again: set[str] = set()
        for claim in claims:
            work = self.works.get(claim.path)
            if work is not None:
                work.shared = True
                if work.appended:
                    again.add(work.path)
                continue
            self._now_shared.add(claim.path)
            if claim.owned != (claim is owner) and not claim.vanished:
                again.add(claim.path)
        outside = [claim for claim in claims if claim.path not in self.works]
        if owner in outside and not owner.vanished and best_report(outside) != best_report(claims):
            again.add(owner.path)
        return again

    def _find_foreign(self) -> None:
        names = {work.name for work in self.works.values() if work.name}
        foreign = find_foreign(self._store, names)
        for work in list(self.works.values()):
            if work.name not in foreign:
                continue
            if not self._adopt:
                work.foreign, work.name = True, None
            elif work.appended:
                self._include(work.path)
                self.works[work.path].name = work.name

    def _write(self) -> list[Checkpoint]:
        self._make_room()
        next_id = int(self._store.native("select coalesce(max(id), 0) + 1 from ka_files")[0][0] or 1)
        saved: list[Checkpoint] = []
        records: list[tuple[int, int, int | None, int, str | None]] = []
        for work in self.works.values():
            file_id = work.row.id if work.row is not None else next_id
            next_id += work.row is None
            tally = self._store_events(work, file_id, records)
            saved.append(_checkpoint(work, file_id, tally))
        self._insert_events()
        self._insert_sessions()
        self._insert_records(records)
        self._save_rejects(saved)
        save_checkpoints(self._store, saved)
        self._store.native(
            "update ka_files set shared = 1 where path in (select value from json_each(?)) returning 1",
            orjson.dumps(sorted(self._now_shared)).decode(),
        )
        return saved + self._release()

    def _release(self) -> list[Checkpoint]:
        """Take its session from a vanished file whose fuller copy was stored in its place."""
        if not self._released:
            return []
        paths = orjson.dumps(sorted(self._released)).decode()
        self._store.native(
            "update ka_files set stored_as = null, tally = '{\"copy\": true}'"
            " where path in (select value from json_each(?)) returning 1",
            paths,
        )
        return find_checkpoints(self._store, paths=self._released)

    def _make_room(self) -> None:
        """Delete what whole works replace."""
        whole = [work for work in self.works.values() if not work.appended]
        ids = [work.row.id for work in whole if work.row is not None]
        picked = "(select value from json_each(?))"
        for table in ("ka_records", "ka_rejects"):
            self._store.native(f"delete from {table} where file_id in {picked} returning 1", orjson.dumps(ids).decode())
        names = {work.name for work in whole if work.name}
        names |= {
            work.row.stored_as for work in whole if work.row is not None and work.row.stored_as and not work.foreign
        }
        # What is appended stays; a file that only now takes the session from a copy has nothing there to append to.
        kept = {
            work.name for work in self.works.values() if work.appended and work.row and work.row.stored_as == work.name
        }
        delete_sessions(self._store, sorted(name for name in names - kept if name is not None))

    def _store_events(
        self, work: Work, file_id: int, records: list[tuple[int, int, int | None, int, str | None]]
    ) -> Json:
        known = work.row.tally if work.appended and work.row is not None else {}
        tally = known if "events" in known else new_tally()
        if work.name is None:
            if work.outside:
                return {"outside": work.outside}
            return {"copy": True} if work.events else new_tally()
        own = self._own.get(work.path, {}) if work.appended else {}
        begin = tally["events"]
        fresh: list[Event] = []
        for record, event in zip(work.records, work.events, strict=True):
            if record is not None and record in own:
                self._improve(work.name, tally, file_id, record, own[record], event)
                continue
            owned = record is None or self._owns(work, record, event)
            seq = tally["events"] if owned else None
            if owned:
                row = event_row(work.name, tally["events"], event, self._prices)
                count_event(tally, event, row)
                self.rows.append(row)
                fresh.append(event)
            if record is not None:
                report = None if event.tokens is None else Report(event.tokens, event.stop_reason).to_json()
                records.append((file_id, record, seq, int(event.original), report))
        self.written[work.path] = tally["events"] - begin
        if tally["events"]:
            self._note_session(work, tally, fresh)
        return tally

    def _owns(self, work: Work, record: int, event: Event) -> bool:
        claims = self._claims.get(record, ())
        if len(claims) < 2:
            return True
        if choose_owner(claims).path != work.path:
            return False
        report = best_report(claims)
        if report is not None:
            event.tokens, event.stop_reason = report.tokens, report.stop_reason
            if report.stop_reason is not None:
                event.payload.pop("unreliable", None)
        return True

    def _improve(
        self,
        session: str,
        tally: Json,
        file_id: int,
        record: int,
        known: tuple[int | None, Report | None],
        event: Event,
    ) -> None:
        """Complete a response that an earlier run stored when only its first lines were there."""
        seq, before = known
        if seq is None or event.kind is not Kind.MESSAGE or event.tokens is None:
            return
        larger = before is None or event.tokens.weight >= before.tokens.weight
        tokens = event.tokens if larger or before is None else before.tokens
        stop = event.stop_reason or (before.stop_reason if before else None)
        [found] = self._store.native(
            "select ts_ms, cost_usd_e6, payload, tokens_in, tokens_out, context_used_tokens from events"
            " where session_id = ? and seq = ?",
            session,
            seq,
        )
        old_cost, old_payload = None if found[1] is None else int(found[1]), str(found[2])
        payload: Json = orjson.loads(old_payload)
        if stop is not None:
            payload.pop("unreliable", None)
        for name in ("text", "speed"):
            if name in event.payload:
                payload.setdefault(name, event.payload[name])
        cost = self._prices.cost_e6(event.model, int(found[0] or 0), tokens, payload.get("speed"))
        context = event.context_used_tokens if larger else found[5] and int(found[5])
        text = orjson.dumps(payload).decode()
        if before is not None:
            count_usage(tally, before.tokens, old_cost, orjson.loads(old_payload), sign=-1)
        else:
            count_response(tally, event.model)
        count_usage(tally, tokens, cost, payload, sign=1)
        stale = (
            session,
            seq,
            int(found[0] or 0),
            event.kind.value,
            "",
            None,
            _integer(found[3]),
            _integer(found[4]),
            old_cost,
            old_payload,
        )
        now = (*stale[:6], tokens.tokens_in, tokens.tokens_out, cost, text)
        tally["checksum"] += row_term(now) - row_term(stale)
        self._store.native(
            "update events set tokens_in = ?, tokens_out = ?, cost_usd_e6 = ?, payload = ?, reasoning_tokens = ?,"
            " stop_reason = ?, context_used_tokens = ?, cache_creation_tokens = ?, cache_read_tokens = ?"
            " where session_id = ? and seq = ? returning 1",
            tokens.tokens_in, tokens.tokens_out, cost, text, tokens.reasoning, stop, context, tokens.cache_creation,
            tokens.cache_read, session, seq,
        )  # fmt: skip
        if tokens != (before.tokens if before is not None else None):
            whole = replace(event, tokens=tokens, stop_reason=stop, payload=payload)
            self.completed.append(event_row(session, seq, whole, self._prices))
        self._store.native(
            "update ka_records set tokens = ? where file_id = ? and record = ? returning 1",
            Report(tokens, stop).to_json(),
            file_id,
            record,
        )

    def _note_session(self, work: Work, tally: Json, fresh: Sequence[Event]) -> None:
        session = str(work.name)
        self._sessions.append(session_row(work, tally, self._places))
        self._footprints[session] = Footprint(tally["events"], tally["checksum"])
        for table, _, attribute in _TOUCHED:
            values = dict.fromkeys(value for event in fresh for value in getattr(event, attribute))
            self._touched[table] += [(session, value) for value in values]

    def _insert_sessions(self) -> None:
        columns = ", ".join(SESSION_COLUMNS)
        changes = ", ".join(f"{name} = excluded.{name}" for name in SESSION_COLUMNS[1:])
        self._store.native(
            f"insert into sessions ({columns}) select {_picks(len(SESSION_COLUMNS))} from json_each(?) where true"
            f" on conflict (id) do update set {changes} returning 1",
            orjson.dumps(self._sessions).decode(),
        )
        record_footprints(self._store, self._footprints)
        for table, column, _ in _TOUCHED:
            self._store.native(
                f"insert or ignore into {table} (session_id, {column})"
                " select value->>0, value->>1 from json_each(?) where true returning 1",
                orjson.dumps(self._touched[table]).decode(),
            )

    def _insert_events(self) -> None:
        if not self.rows:
            return
        import polars as pl

        schema = {name: pl.Int64 if name in _INTEGERS else pl.String for name in EVENT_COLUMNS}
        columns = dict(zip(EVENT_COLUMNS, zip(*self.rows, strict=True), strict=True))
        self._store.insert("events", pl.DataFrame(columns, schema=schema))

    def _insert_records(self, records: list[tuple[int, int, int | None, int, str | None]]) -> None:
        if not records:
            return
        import polars as pl

        records.sort(key=itemgetter(0, 1))  # the order of the table's key: SQLite then only appends to it
        columns = dict(zip(RECORD_COLUMNS, zip(*records, strict=True), strict=True))
        schema = {name: pl.String if name == "tokens" else pl.Int64 for name in RECORD_COLUMNS}
        self._store.insert("ka_records", pl.DataFrame(columns, schema=schema))

    def _save_rejects(self, saved: Sequence[Checkpoint]) -> None:
        values = [
            [row.id, reject.line, reject.offset, reject.reason.value, reject.detail]
            for row in saved
            for reject in self.works[row.path].parser.parsed.rejects[:_STORED_REJECTS]
        ]
        if values:
            self._store.native(
                "insert or replace into ka_rejects (file_id, line, offset_bytes, reason, detail)"
                f" select {_picks(5)} from json_each(?) where true returning 1",
                orjson.dumps(values).decode(),
            )


def _picks(count: int) -> str:
    return ", ".join(f"value->>{index}" for index in range(count))


def _integer(text: str | None) -> int | None:
    return None if text is None else int(text)


def _second_name(session: str, holder: Work | Checkpoint) -> str | None:
    """Return the name under which another file of the same session is stored, if its records add to it."""
    if holder.agent != Agent.CLAUDE_CODE:
        return None
    return f"{session}~{hashlib.blake2b(holder.path.encode(), digest_size=4).hexdigest()}"


def _checkpoint(work: Work, file_id: int, tally: Json) -> Checkpoint:
    parsed, row = work.parser.parsed, work.row if work.appended else None
    rejects = Counter(row.rejects if row is not None else ())
    rejects.update(reject.reason.value for reject in parsed.rejects)
    kept = not work.foreign
    has_events = work.name is not None and bool(tally.get("events"))
    return Checkpoint(
        id=file_id,
        path=work.path,
        agent=work.agent.value,
        session_id=work.session_id,
        stored_as=work.name if has_events else None,
        size_bytes=work.size_bytes,
        mtime_ns=work.mtime_ns,
        read_bytes=work.end if kept else 0,
        prefix_hash=work.prefix_hash if kept else "",
        parser=PARSER_VERSION,
        last_ms=work.parser.last_ms,
        shared=work.shared,
        foreign=work.foreign,
        n_lines=parsed.n_lines + (row.n_lines if row is not None else 0),
        rejects=dict(sorted(rejects.items())),
        state=work.state if kept else {},
        tally=tally,
    )
