"""From a store to its files in a lake: stage what changed, look at it once more, put it into its place.

Files are named by their source and a digest of their bytes and never change. The catalogue of the source is replaced
last, in one step, so an export that is killed leaves the state before it, and the next one completes it.
"""

from __future__ import annotations

import hashlib
import hmac
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.columnar import read_mirror
from kaizen_analytics.errors import LakeError
from kaizen_analytics.lake.catalogue import (
    CATALOGUES,
    MARKER,
    Entry,
    check_lake,
    make_catalogue,
    make_marker,
    read_entries,
)
from kaizen_analytics.lake.facts import BUCKETS, PARTITION, Sessions, read_sessions, read_tables, stage_sessions
from kaizen_analytics.lake.keys import identify_store
from kaizen_analytics.lake.places import CONNECTIONS, open_place
from kaizen_analytics.lake.schema import TABLES, VERSION, TableName
from kaizen_analytics.redact.artefacts import refuse_leaks
from kaizen_analytics.redact.frames import project_frame
from kaizen_analytics.redact.machine import collect_identities
from kaizen_analytics.redact.projection import ID_DIGITS
from kaizen_analytics.redact.pseudonyms import Pseudonyms
from kaizen_analytics.redact.scanner import Scanner
from kaizen_analytics.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kaizen_analytics.columnar import Mirror
    from kaizen_analytics.lake.places import Place

LOCK_TIMEOUT_S = 600
"""How long to wait for another export of the same store by this machine."""

_EVENTS_A_TIME = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """A file that an export writes; `bucket` and `day` are None for a table that is not divided."""

    name: str
    table_name: str
    bucket: int | None
    day: str | None
    rows: int
    bytes: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LakePlan:
    """What an export would do; `source` is the stand-in of the store in the lake."""

    source: str
    files: tuple[PlannedFile, ...]
    files_kept: int
    files_dropped: int

    @property
    def rows(self) -> int:
        """Rows of all files to write."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files to write."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeExport:
    """What an export did. `files_written`, `rows` and `bytes` are 0 when nothing had changed."""

    source: str
    files_written: int
    files_kept: int
    files_removed: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Job:
    """One export: from which store, under which key, seen by whom."""

    store_path: Path
    identity: str
    pseudonyms: Pseudonyms
    scanner: Scanner
    mirror_root: Path | None

    @property
    def source(self) -> str:
        return self.pseudonyms.name("us", self.identity.encode(), digits=ID_DIGITS)


@dataclass(frozen=True, slots=True)
class _Staged:
    """The files that count after the export, and where those lie that are new."""

    entries: tuple[Entry, ...]
    new: dict[str, Path]


def plan_export(
    store_path: Path,
    url: str,
    key: bytes,
    *,
    home: Path,
    scanner: Scanner | None = None,
    mirror_root: Path | None = None,
) -> LakePlan:
    """Return exactly what `export_lake` would write now; nothing leaves, but the lake is read.

    The arguments and errors are those of `export_lake`.
    """
    job = _make_job(store_path, key, home, scanner, mirror_root)
    place = open_place(url)
    with tempfile.TemporaryDirectory(prefix="kaizen-lake-") as folder:
        former = _read_former(place, job, key)
        staged = _stage(job, former, Path(folder))
    return LakePlan(
        source=job.source,
        files=tuple(_describe(entry) for entry in staged.entries if entry.name in staged.new),
        files_kept=len(staged.entries) - len(staged.new),
        files_dropped=len({entry.name for entry in former} - {entry.name for entry in staged.entries}),
    )


def export_lake(
    store_path: Path,
    url: str,
    key: bytes,
    *,
    home: Path,
    scanner: Scanner | None = None,
    mirror_root: Path | None = None,
) -> LakeExport:
    """Bring what the lake at `url` holds of a store up to date.

    The same content gives the same files, so a second run writes nothing; only partitions with a changed session are
    written again. It may be killed at any point and run again, and other machines may export at the same time.

    Args:
        store_path: The store; it is only read.
        url: A folder, `file:///…`, or an object store such as `s3://bucket/lake`.
        key: The lake key; see `load_lake_key`.
        home: `$KAIZEN_HOME`: holds the secret of this machine and the lock of the export.
        scanner: Looks at every finished file; by default one that knows the names of this machine.
        mirror_root: The folder of all mirrors; by default that of the environment.

    Raises:
        ConfigError: the address is of no known kind.
        LakeError: the lake cannot be read or written, or is of another version or under another key.
        RedactionError: a cell is not of its declared kind, or a finished file holds what must not leave. Nothing of
            this export counts then.
        StoreError: the store is missing or damaged, or another export of it takes too long.
    """
    job = _make_job(store_path, key, home, scanner, mirror_root)
    place = open_place(url)
    with _lock(home, job.source), tempfile.TemporaryDirectory(prefix="kaizen-lake-") as folder:
        former = _read_former(place, job, key)
        staged = _stage(job, former, Path(folder))
        removed = _publish(place, job, key, former, staged, Path(folder))
    new = [entry for entry in staged.entries if entry.name in staged.new]
    return LakeExport(
        source=job.source,
        files_written=len(new),
        files_kept=len(staged.entries) - len(new),
        files_removed=removed,
        rows=sum(entry.rows for entry in new),
        bytes=sum(entry.bytes for entry in new),
    )


def _make_job(store_path: Path, key: bytes, home: Path, scanner: Scanner | None, mirror_root: Path | None) -> _Job:
    return _Job(
        store_path=store_path,
        identity=identify_store(home, store_path),
        pseudonyms=Pseudonyms(key),
        scanner=scanner or Scanner(collect_identities([])),
        mirror_root=mirror_root,
    )


def _read_former(place: Place, job: _Job, key: bytes) -> list[Entry]:
    """Return the files of the former export that are still there; what is missing is written again."""
    if not check_lake(place, key):
        return []
    entries = read_entries(place, job.source)
    lost = {entry.name for entry in entries if not place.holds(entry.name, entry.bytes)}
    torn = {(entry.bucket, entry.day) for entry in entries if entry.name in lost and entry.bucket is not None}
    return [entry for entry in entries if entry.name not in lost and (entry.bucket, entry.day) not in torn]


@contextmanager
def _lock(home: Path, source: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        with FileLock(home / f"lake-{source}.lock", timeout=LOCK_TIMEOUT_S, mode=0o600):
            yield
    except Timeout:
        raise LakeError(
            f"Another export of this store has been running for {LOCK_TIMEOUT_S // 60} minutes; wait for it, or end it."
        ) from None


def _stage(job: _Job, former: list[Entry], folder: Path) -> _Staged:
    """Write what changed since the former export into `folder`, and look at every finished file."""
    staged = read_mirror(job.store_path, lambda mirror: _stage_from(mirror, job, former, folder), root=job.mirror_root)
    refuse_leaks(dict(_texts_of(staged.new)), job.scanner)
    return staged


def _stage_from(mirror: Mirror, job: _Job, former: list[Entry], folder: Path) -> _Staged:
    sessions = read_sessions(mirror, lambda root: _bucket(job, root))
    wanted = _fingerprint_partitions(job, sessions)
    kept = [entry for entry in former if wanted.get((entry.bucket or 0, entry.day or "")) == entry.fingerprint]
    intact = {(entry.bucket, entry.day) for entry in kept}
    changed = [partition for partition in wanted if partition not in intact]
    stager = _Stager(job, folder)
    with Store.open(job.store_path, read_only=True) as store:
        for group in _group(sessions, changed):
            for name, raw in stage_sessions(sessions, group, store, job.identity).items():
                for partition, frame in _project(job, name, raw):
                    stager.write(name, frame, partition, wanted[partition])
        for name, raw in read_tables(store, job.identity).items():
            stager.write(name, project_frame(TABLES[name].projection, raw, job.pseudonyms))
    known = {entry.name for entry in former}
    new = {name: path for name, path in stager.paths.items() if name not in known}
    return _Staged((*kept, *stager.entries), new)


Partition = tuple[int, str]


@dataclass(frozen=True, slots=True)
class _Stager:
    """Writes files into a local folder, under the names that they will have."""

    job: _Job
    folder: Path
    entries: list[Entry] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)

    def write(
        self, name: TableName, frame: pl.DataFrame, partition: Partition | None = None, fingerprint: str = ""
    ) -> None:
        """Write one file, unless it would have no row."""
        if frame.is_empty():
            return
        staged = self.folder / f"{len(self.paths)}.parquet"
        frame.write_parquet(staged, compression="zstd")
        digest = _digest(staged)
        bucket, day = partition or (None, None)
        where = "" if partition is None else f"/bucket={bucket}/day={day}"
        path = f"{name}/store={self.job.source}{where}/{digest[:20]}.parquet"
        self.paths[path] = staged
        self.entries.append(
            Entry(
                source=self.job.source,
                table_name=name.value,
                bucket=bucket,
                day=day,
                name=path,
                digest=digest,
                rows=frame.height,
                bytes=staged.stat().st_size,
                fingerprint=fingerprint,
            )
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _texts_of(files: dict[str, Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the distinct texts of each column of the finished files, read back; one look for a whole table."""
    tables: dict[str, list[Path]] = {}
    for name, path in files.items():
        tables.setdefault(name.split("/", 1)[0], []).append(path)
    for table, paths in tables.items():
        rows = pl.scan_parquet(paths, glob=False, hive_partitioning=False)
        for column, dtype in rows.collect_schema().items():
            if dtype == pl.String:
                cells = rows.select(pl.col(column).unique()).collect()[column].drop_nulls()
                yield f"{table}, column {column}", "\n".join(cells).encode()


def _bucket(job: _Job, root_id: str) -> int:
    digest = job.pseudonyms.exact(b"bucket " + root_id.encode("utf-8", "surrogatepass"))
    return int(digest[:8], 16) % BUCKETS


def _fingerprint_partitions(job: _Job, sessions: Sessions) -> dict[Partition, str]:
    """Return for each partition a keyed hash of everything that its files depend on."""
    fingerprints = {}
    # The number of a session in the mirror says nothing about its content.
    content = sessions.frame.drop("session_key")
    for (bucket, day), rows in content.partition_by(*PARTITION, as_dict=True, maintain_order=True).items():
        message = f"{VERSION}\n{rows.write_ndjson()}".encode()
        fingerprints[bucket, day] = hmac.new(job.pseudonyms.key, message, hashlib.sha256).hexdigest()[:32]
    return fingerprints


def _group(sessions: Sessions, changed: list[Partition]) -> Iterator[pl.DataFrame]:
    """Yield the sessions of the changed partitions, whole partitions at a time, about as many events as fit."""
    if not changed:
        return
    keys = pl.DataFrame(sorted(changed), schema={"bucket": pl.Int64, "day": pl.String}, orient="row")
    rows = sessions.frame.join(keys, on=PARTITION, how="semi").sort(*PARTITION, "id")
    before = pl.col("events").fill_null(0).cum_sum() // _EVENTS_A_TIME
    numbered = rows.with_columns(before.max().over(PARTITION).alias("group"))
    yield from numbered.partition_by("group", include_key=False, maintain_order=True)


def _project(job: _Job, name: TableName, raw: pl.DataFrame) -> Iterator[tuple[Partition, pl.DataFrame]]:
    frame = project_frame(TABLES[name].projection, raw, job.pseudonyms).with_columns(raw.select(PARTITION))
    parts = frame.partition_by(*PARTITION, as_dict=True, include_key=False, maintain_order=True)
    yield from parts.items()


def _publish(place: Place, job: _Job, key: bytes, former: list[Entry], staged: _Staged, folder: Path) -> int:
    if not check_lake(place, key):
        _publish_frame(place, f"{MARKER}.parquet", make_marker(key), folder, job)
        check_lake(place, key)  # another machine may have begun the lake at the same moment, under its own key
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(place.publish, staged.new, staged.new.values()))  # the list raises what any of them raised
    if sorted(former, key=lambda entry: entry.name) != sorted(staged.entries, key=lambda entry: entry.name):
        _publish_frame(place, f"{CATALOGUES}/{job.source}.parquet", make_catalogue(list(staged.entries)), folder, job)
    return place.discard(job.source, {entry.name for entry in staged.entries})


def _publish_frame(place: Place, name: str, frame: pl.DataFrame, folder: Path, job: _Job) -> None:
    staged = folder / "frame.parquet"
    frame.write_parquet(staged, compression="zstd")
    refuse_leaks(dict(_texts_of({name: staged})), job.scanner)
    place.publish(name, staged)


def _describe(entry: Entry) -> PlannedFile:
    columns = TABLES[TableName(entry.table_name)].columns
    return PlannedFile(
        name=entry.name,
        table_name=entry.table_name,
        bucket=entry.bucket,
        day=entry.day,
        rows=entry.rows,
        bytes=entry.bytes,
        columns=tuple(item.column.name for item in columns),
    )
