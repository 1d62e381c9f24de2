"""From a store to a published mirror: everything anew, or only the sessions whose events changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import polars as pl

from kaizen_analytics.columnar import extraction
from kaizen_analytics.columnar.manifest import (
    MANIFEST,
    Manifest,
    mirror_version,
    publish_manifest,
    read_frame,
    sweep,
    verify_file,
    write_frame,
)
from kaizen_analytics.columnar.parts import PartWriter, compact_parts, complete_keys, next_key
from kaizen_analytics.columnar.rollup import INPUTS, ROLLUPS, compute_rollups, find_differing
from kaizen_analytics.engines import EmbeddedEngine, ParquetFiles
from kaizen_analytics.stamps import settle_fingerprint
from kaizen_analytics.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.columnar.manifest import CachedFile

COMPARED_WHOLE_EVENTS = 200_000
"""Up to this size, every change of the store is followed by a comparison of all events: under a second."""

COMPARED_EVERY_MS = 3_600_000
"""A larger store is compared whole at its first change after this time, else by what `_find_changed` looks at."""

_REBUILT_SHARE = 0.5
"""From here on, one scan of the table costs less than the sessions one by one through the index."""

_SESSIONS_A_TIME = 500


class Progress(Protocol):
    """Is told how far a build has come."""

    def __call__(self, done: int, total: int) -> None:
        """`done` of about `total` events were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One refresh: where to, from which store, how, and who is told of the progress."""

    folder: Path
    store_path: Path
    progress: Progress
    compare_whole: bool
    now_ms: int


@dataclass(frozen=True, slots=True)
class Source:
    """A snapshot of the store: its largest `events.id`, and its table `ka_sources`."""

    store: Store
    watermark: int
    footprints: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Copy:
    """The events as of one snapshot: the numbers of the sessions, the parts, and when all were last compared."""

    keys: pl.DataFrame
    parts: tuple[CachedFile, ...]
    compared_at_ms: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Sessions to read again, and whether they were found by comparing every event."""

    session_ids: list[str]
    events: int
    is_whole: bool


def refresh_mirror(request: Request, previous: Manifest | None) -> Manifest:
    """Read what changed since `previous`, or everything, and publish the result; needs the lock.

    Raises:
        StoreError: the store is missing, damaged, or holds a cell of another type than its column.
        DamagedError: a file of the previous state is not what it was.
    """
    started_ns = time.monotonic_ns()
    folder = request.folder
    sweep(folder, {file.name for file in previous.files} | {MANIFEST} if previous else set())
    with Store.open(request.store_path, read_only=True) as store:
        # Before the snapshot: what is written in between is read, and changes the fingerprint as well.
        fingerprint = settle_fingerprint(request.store_path)
        with store.snapshot():
            watermark = extraction.read_watermark(store)
            tables = {name: extraction.read_table(store, name) for name in extraction.TABLES}
            source = Source(store, watermark, tables["ka_sources"])
            copy = _copy_events(source, request, previous)
    keys = complete_keys(copy.keys, [tables["sessions"]["id"], tables["files_touched"]["session_id"]])
    parts = compact_parts(folder, keys, copy.parts)
    tables["keys"] = keys
    files = {name: write_frame(folder, name, frame) for name, frame in tables.items()}
    files |= _write_rollups(folder, tables, parts, previous)
    manifest = Manifest(
        version=mirror_version(),
        store=str(request.store_path),
        fingerprint=fingerprint,
        watermark=watermark,
        events=int(keys["events"].sum()),
        compared_at_ms=copy.compared_at_ms,
        refreshed_at_ms=request.now_ms,
        refresh_duration_ms=(time.monotonic_ns() - started_ns) // 1_000_000,
        parts=parts,
        tables=files,
    )
    publish_manifest(folder, manifest)
    return manifest


def _copy_events(source: Source, request: Request, previous: Manifest | None) -> Copy:
    if previous is None:
        return _copy_all(source.store, request)
    known = read_frame(request.folder, previous.tables["keys"])
    if _may_trust_counts(source, request, previous):
        footprints = read_frame(request.folder, previous.tables["ka_sources"])
        changes = _find_changed(source, previous.watermark, known, footprints)
    else:
        changes = _compare_all(source.store, known)
    if changes.events > previous.events * _REBUILT_SHARE:
        return _copy_all(source.store, request)
    return _copy_changed(source.store, request, previous, known, changes)


def _may_trust_counts(source: Source, request: Request, previous: Manifest) -> bool:
    """Whether the store is large, its last whole comparison young, and its largest id did not fall since."""
    age_ms = request.now_ms - previous.compared_at_ms
    is_young = 0 <= age_ms < COMPARED_EVERY_MS and source.watermark >= previous.watermark
    return is_young and previous.events > COMPARED_WHOLE_EVENTS and not request.compare_whole


def _find_changed(source: Source, watermark: int, known: pl.DataFrame, footprints: pl.DataFrame) -> Changes:
    """Return the sessions with new events, another number of events, or another footprint than before.

    The footprint is what this package's own ingest left of a session; it alone completes stored events in place.
    """
    stored = known.filter(pl.col("events") > 0).select("session_id", "events")
    counts = extraction.read_counts(source.store)
    ids = pl.concat(
        [
            find_differing(stored, counts)["session_id"],
            find_differing(footprints, source.footprints)["session_id"],
            pl.Series("session_id", extraction.read_appended(source.store, watermark), dtype=pl.String),
        ]
    ).unique()
    events = counts.filter(pl.col("session_id").is_in(ids.implode()))["events"].sum()
    return Changes(ids.to_list(), int(events), is_whole=False)


def _compare_all(store: Store, known: pl.DataFrame) -> Changes:
    found = extraction.read_checks(store)
    stored = known.filter(pl.col("events") > 0)
    same = stored.join(found, on=["session_id", "events", "row_checks"], how="semi").select("session_id")
    changed = found.join(same, on="session_id", how="anti")
    gone = stored.join(found, on="session_id", how="anti")
    session_ids = [*changed["session_id"], *gone["session_id"]]
    return Changes(session_ids, int(changed["events"].sum()), is_whole=True)


def _copy_all(store: Store, request: Request) -> Copy:
    events = extraction.count_events(store)
    with PartWriter(request.folder, first_key=0) as writer:
        for batch in extraction.stream_events(store):
            writer.add(batch)
            request.progress(writer.rows, events)
        keys, parts = writer.finish()
    return Copy(keys, parts, request.now_ms)


def _copy_changed(
    store: Store,
    request: Request,
    previous: Manifest,
    known: pl.DataFrame,
    changes: Changes,
) -> Copy:
    ids = changes.session_ids
    for part in previous.parts:
        verify_file(request.folder, part)  # what follows reads them, or hands them on as good
    with PartWriter(request.folder, first_key=next_key(known)) as writer:
        for first in range(0, len(ids), _SESSIONS_A_TIME):
            writer.add(extraction.read_events(store, ids[first : first + _SESSIONS_A_TIME]))
            request.progress(writer.rows, max(writer.rows, changes.events))
        added, parts = writer.finish()
    kept = known.filter(~pl.col("session_id").is_in(ids))
    compared_at_ms = request.now_ms if changes.is_whole else previous.compared_at_ms
    return Copy(pl.concat([kept, added]), (*previous.parts, *parts), compared_at_ms)


def _write_rollups(
    folder: Path,
    tables: dict[str, pl.DataFrame],
    parts: tuple[CachedFile, ...],
    previous: Manifest | None,
) -> dict[str, CachedFile]:
    relation = ParquetFiles(tuple(folder / part.name for part in parts)) if parts else None
    former = None
    if previous is not None:
        former = {name: read_frame(folder, previous.tables[name]) for name in (*INPUTS, *ROLLUPS)}
    rollups = compute_rollups(EmbeddedEngine(spill_folder=folder), tables, relation, former)
    return {name: write_frame(folder, name, rollups[name]) for name in ROLLUPS}
