"""From a store to its files in a lake: stage what changed, scan it, put it into its place.

Files are named by their source and a digest of their bytes and never change. The catalogue of the source is replaced
last, in one step, so an export that is killed leaves the state before it, and the next one completes it.
"""

from __future__ import annotations

import hashlib
import hmac
import platform
import tempfile
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from filelock import FileLock, Timeout

from kaizen_analytics.core.errors import LakeError
from kaizen_analytics.core.model import Binding, Branch, Delta, Experiment, ManualTag, WorkUnit
from kaizen_analytics.core.queries import Query
from kaizen_analytics.experiments.plan import Plan, Start, get_plan
from kaizen_analytics.experiments.sample import read_values
from kaizen_analytics.exports.columns import (
    ARM_VALUES,
    LAKE_TABLES,
    LAKE_VERSION,
    PARTITIONED,
    PLAN_NUMBERS,
    START_COLUMNS,
    LakeTable,
)
from kaizen_analytics.exports.files import Storage, open_place
from kaizen_analytics.exports.lake.reading import (
    CATALOGUES,
    ENTRY_SCHEMA,
    MARKER,
    MARKER_SCHEMA,
    Entry,
    check_lake,
    check_of_key,
    find_roots,
    read_entries,
)
from kaizen_analytics.exports.project import ID_DIGITS, LATEST_MS, make_frame, project
from kaizen_analytics.redact import Pseudonyms, Scanner, collect_identities, load_key, refuse_leaks
from kaizen_analytics.store import Store, frames
from kaizen_analytics.store.experiments import list_experiments

if TYPE_CHECKING:
    from collections.abc import Iterator


_MACHINE_KEY = "machine.key"
"""Name of the file below `$KAIZEN_HOME` with the secret of this machine, made on first use."""
_LOCK_TIMEOUT_S = 600
_BUCKETS = 4
_EVENTS_A_TIME = 300_000

_TAGS = "select session_id, variant from experiment_tags where experiment_id = ? order by session_id"
_PARTITION = ("bucket", "day")
"""What divides the large tables: a hash of the root session, and the day of its start."""
_CHECKS = Query(
    path="lake/session_checks.sql",
    schema={"session_id": pl.String(), "events": pl.Int64(), "row_checks": pl.UInt64()},
    reads={"staged_events": "staging/events.sql"},
)
_ARMS = {"a": "control", "control": "control", "b": "treatment", "treatment": "treatment"}

_Partition = tuple[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeExport:
    """What an export wrote, or would write; `source` is the pseudonym of the store in the lake."""

    source: str
    files: tuple[Entry, ...]
    files_kept: int
    files_removed: int

    @property
    def rows(self) -> int:
        """Rows of all written files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all written files."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class _Staging:
    """One export: whose, under which key, and the local folder in which its files are made."""

    identity: str
    pseudonyms: Pseudonyms
    scanner: Scanner
    folder: Path
    entries: list[Entry] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)

    @property
    def source(self) -> str:
        return self.pseudonyms.name("us", self.identity.encode(), digits=ID_DIGITS)

    def add(
        self, name: LakeTable, frame: pl.DataFrame, partition: _Partition | None = None, fingerprint: str = ""
    ) -> None:
        """Write one file, unless it would have no row, under the name that it will have."""
        if frame.is_empty():
            return
        staged = self.folder / f"{len(self.paths)}.parquet"
        frame.write_parquet(staged, compression="zstd")
        with staged.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        bucket, day = partition or (None, None)
        where = "" if partition is None else f"/bucket={bucket}/day={day}"
        path = f"{name}/store={self.source}{where}/{digest[:20]}.parquet"
        self.paths[path] = staged
        self.entries.append(
            Entry(
                source=self.source,
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


def export_lake(
    store_path: Path, url: str, key: bytes, *, home: Path, scanner: Scanner | None = None, preview: bool = False
) -> LakeExport:
    """Bring what the lake at `url` holds of a store, which is only read, up to date.

    The same content gives the same files, so a second run writes nothing; only partitions with a changed session are
    written again. It may be killed at any point and run again, and other machines may export at the same time.

    Args:
        store_path: The store.
        url: A folder, `file:///…`, or an object store such as `s3://bucket/lake`.
        key: The lake key; see `load_lake_key`.
        home: `$KAIZEN_HOME`: holds the secret of this machine and the lock of the export.
        scanner: Scans every finished file; by default one that knows the names of this machine.
        preview: Only say what would be written; nothing leaves, but the lake is read.

    Raises:
        LakeError: the lake cannot be read or written, is of another version or key, or another export takes too long.
        RedactionError: a cell is not of its kind, or a file holds what must not leave; then nothing of it counts.

    >>> done = export_lake(store.path, str(tmp / "lake"), bytes(32), home=tmp)
    >>> done.rows > 1000, export_lake(store.path, str(tmp / "lake"), bytes(32), home=tmp).rows
    (True, 0)
    """
    place = open_place(url)
    # a text that only this store on this machine has; the lake shows its pseudonym
    identity = f"{load_key(home / _MACHINE_KEY).hex()} {platform.node()} {store_path.resolve()}"
    pseudonyms = Pseudonyms(key)
    with tempfile.TemporaryDirectory(prefix="kaizen-lake-") as folder:
        staging = _Staging(identity, pseudonyms, scanner or Scanner(collect_identities([])), Path(folder))
        with _lock(home, staging.source):
            former = _read_former(place, staging.source, key)
            entries = _stage(store_path, staging, former)
            known = {entry.name for entry in former}
            new = {name: path for name, path in staging.paths.items() if name not in known}
            stale = known - {entry.name for entry in entries}
            if not preview:
                stale = _publish(place, staging, key, former, entries, new)
    return LakeExport(
        source=staging.source,
        files=tuple(entry for entry in entries if entry.name in new),
        files_kept=len(entries) - len(new),
        files_removed=len(stale),
    )


@contextmanager
def _lock(home: Path, source: str) -> Iterator[None]:
    try:
        with FileLock(home / f"lake-{source}.lock", timeout=_LOCK_TIMEOUT_S, mode=0o600):
            yield
    except Timeout:
        raise LakeError(
            f"Another export of this store has been running for {_LOCK_TIMEOUT_S // 60} minutes; "
            "wait for it, or end it."
        ) from None


def _read_former(place: Storage, source: str, key: bytes) -> list[Entry]:
    """Return the files of the former export that are still there; what is missing is written again."""
    if not check_lake(place, key):
        return []
    entries = read_entries(place, source)
    found = _find_own(place, source)
    lost = {entry.name for entry in entries if found.get(entry.name) != entry.bytes}
    torn = {(entry.bucket, entry.day) for entry in entries if entry.name in lost and entry.bucket is not None}
    return [entry for entry in entries if entry.name not in lost and (entry.bucket, entry.day) not in torn]


def _find_own(place: Storage, source: str) -> dict[str, int]:
    """Return the files of one source and their sizes."""
    return {name: size for table in LakeTable for name, size in place.sizes(f"{table}/store={source}").items()}


def _stage(store_path: Path, staging: _Staging, former: list[Entry]) -> list[Entry]:
    """Make the files that changed since the former export, scan them, and return all entries that count."""
    with Store.open(store_path, read_only=True, ours=True) as store, store.snapshot():
        sessions = _read_sessions(store, staging.pseudonyms)
        wanted = _fingerprint_partitions(staging, sessions)
        kept = [entry for entry in former if wanted.get((entry.bucket or 0, entry.day or "")) == entry.fingerprint]
        intact = {(entry.bucket, entry.day) for entry in kept}
        for group in _group(sessions, [partition for partition in wanted if partition not in intact]):
            for name, raw in _stage_sessions(store, group, staging.identity).items():
                frame = project(LAKE_TABLES[name], raw, staging.pseudonyms).with_columns(raw.select(_PARTITION))
                parts = frame.partition_by(*_PARTITION, as_dict=True, include_key=False, maintain_order=True)
                for (bucket, day), part in parts.items():
                    staging.add(name, part, (bucket, day), wanted[bucket, day])
        for name, raw in _read_tables(store, staging.identity).items():
            staging.add(name, project(LAKE_TABLES[name], raw, staging.pseudonyms))
    refuse_leaks(dict(_texts_of(staging.paths)), staging.scanner)
    return [*kept, *staging.entries]


def _texts_of(files: dict[str, Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the distinct texts of each column of the finished files, read back; one scan for a whole table."""
    tables: dict[str, list[Path]] = {}
    for name, path in files.items():
        tables.setdefault(name.split("/", 1)[0], []).append(path)
    for table, paths in tables.items():
        rows = pl.scan_parquet(paths, glob=False, hive_partitioning=False)
        for column, dtype in rows.collect_schema().items():
            if dtype == pl.String:
                cells = rows.select(pl.col(column).unique()).collect()[column].drop_nulls()
                yield f"{table}, column {column}", "\n".join(cells).encode()


def _fingerprint_partitions(staging: _Staging, sessions: pl.DataFrame) -> dict[_Partition, str]:
    """Return for each partition a keyed hash of everything that its files depend on."""
    fingerprints = {}
    for (bucket, day), rows in sessions.partition_by(*_PARTITION, as_dict=True, maintain_order=True).items():
        message = f"{LAKE_VERSION}\n{rows.write_ndjson()}".encode()
        fingerprints[bucket, day] = hmac.new(staging.pseudonyms.key, message, hashlib.sha256).hexdigest()[:32]
    return fingerprints


def _group(sessions: pl.DataFrame, changed: list[_Partition]) -> Iterator[pl.DataFrame]:
    """Yield the sessions of the changed partitions, whole partitions at a time, about as many events as fit."""
    if not changed:
        return
    keys = pl.DataFrame(sorted(changed), schema={"bucket": pl.Int64, "day": pl.String}, orient="row")
    rows = sessions.join(keys, on=_PARTITION, how="semi").sort(*_PARTITION, "id")
    before = pl.col("events").fill_null(0).cum_sum() // _EVENTS_A_TIME
    numbered = rows.with_columns(before.max().over(_PARTITION).alias("group"))
    yield from numbered.partition_by("group", include_key=False, maintain_order=True)


def _publish(
    place: Storage, staging: _Staging, key: bytes, former: list[Entry], entries: list[Entry], new: dict[str, Path]
) -> set[str]:
    """Write the new files, then the catalogue; remove what no longer counts, and return its names."""
    if not check_lake(place, key):
        marker = pl.DataFrame([(LAKE_VERSION, check_of_key(key))], schema=MARKER_SCHEMA, orient="row")
        _publish_frame(place, MARKER, marker, staging)
        check_lake(place, key)  # another machine may have begun the lake at the same moment, under its own key
    place.write_all(new)
    if sorted(former, key=lambda entry: entry.name) != sorted(entries, key=lambda entry: entry.name):
        catalogue = pl.DataFrame([astuple(entry) for entry in entries], schema=ENTRY_SCHEMA, orient="row").sort("name")
        _publish_frame(place, f"{CATALOGUES}/{staging.source}.parquet", catalogue, staging)
    stale = _find_own(place, staging.source).keys() - {entry.name for entry in entries}
    for name in sorted(stale):
        place.remove(name)
    place.sweep(staging.source)
    return stale


def _publish_frame(place: Storage, name: str, frame: pl.DataFrame, staging: _Staging) -> None:
    staged = staging.folder / "frame.parquet"
    frame.write_parquet(staged, compression="zstd")
    refuse_leaks(dict(_texts_of({name: staged})), staging.scanner)
    place.write(name, staged)


def _read_sessions(store: Store, pseudonyms: Pseudonyms) -> pl.DataFrame:
    """Return every session of a store, one row each, ordered by id.

    Columns: those of sql/staging/sessions.sql, `root_id`, `bucket`, `day`, `events`, `row_checks` and `paths` (sorted),
    which together tell whether anything that leaves of a session changed. A tree of sub-agents is never divided.
    """
    sessions = frames.read_sessions(store).drop_nulls("id")
    roots = find_roots(sessions)
    distinct = roots["root_id"].unique()
    digests = [pseudonyms.exact(b"bucket " + root.encode("utf-8", "surrogatepass")) for root in distinct]
    buckets = pl.DataFrame({"root_id": distinct, "bucket": [int(digest[:8], 16) % _BUCKETS for digest in digests]})
    day = pl.from_epoch(pl.col("started_at_ms").clip(0, LATEST_MS), "ms").dt.strftime("%Y-%m-%d")
    started = sessions.select(root_id="id", day=day)
    touched = store.read("select session_id, path from files_touched").drop_nulls()
    paths = touched.group_by("session_id").agg(pl.col("path").unique().sort().alias("paths"))
    frame = (
        sessions.join(roots, left_on="id", right_on="session_id")
        .join(buckets.cast({"bucket": pl.Int64()}), on="root_id")
        .join(started, on="root_id")
        .join(_CHECKS.run(store), left_on="id", right_on="session_id", how="left")
        .join(paths, left_on="id", right_on="session_id", how="left")
    )
    return frame.sort("id")


def _stage_sessions(store: Store, chosen: pl.DataFrame, source: str) -> dict[LakeTable, pl.DataFrame]:
    """Return the raw rows of the divided tables for some sessions, with `bucket` and `day`."""
    sessions = chosen.with_columns(
        pl.col("branch").str.strip_prefix("refs/heads/"),
        (pl.col("dirty_start") == 1).fill_null(value=False).alias("is_dirty"),
        (pl.col("repo_binding_source") == "inferred").fill_null(value=False).alias("is_inferred"),
        pl.col("user").alias("user_name"),
        pl.col("events").fill_null(0),
    )
    placed = chosen.select("id", *_PARTITION)
    events = frames.read_events(store, chosen["id"].to_list()).join(placed, left_on="session_id", right_on="id")
    # The mart only counts distinct files of one root session, so nobody can follow a file from there to another.
    named = pl.concat_str("root_id", pl.lit("\0"), "path")
    files = chosen.select("root_id", *_PARTITION, session_id="id", path="paths").explode("path").drop_nulls("path")
    raw = {
        LakeTable.SESSIONS: sessions,
        # A join gives its rows in no fixed order; equal content must give equal bytes.
        LakeTable.EVENTS: events.sort("session_id", "seq", "ts_ms", "kind", "tool"),
        LakeTable.FILES_TOUCHED: files.with_columns(path=named).sort("session_id", "path"),
    }
    return {name: frame.with_columns(source=pl.lit(source)) for name, frame in raw.items()}


def _read_tables(store: Store, source: str) -> dict[LakeTable, pl.DataFrame]:
    """Return the raw rows of the tables that are not divided: started experiments, and tags.

    Only what `exp start` froze leaves, so a draft stays at home.
    """
    rows: dict[LakeTable, list[dict[str, object]]] = {name: [] for name in LakeTable if name not in PARTITIONED}
    for experiment in list_experiments(store):
        plan = get_plan(store, experiment.id)
        if plan is None or plan.started is None or plan.unit is not WorkUnit.SESSION:
            continue  # a lake holds neither pull requests nor the names of branches that make a task
        judged = plan.apply_rule(experiment)
        rows[LakeTable.EXPERIMENTS].append(_experiment_row(judged, plan, plan.started))
        parts: dict[LakeTable, list[dict[str, object]]] = {
            LakeTable.GUARDRAILS: [
                {
                    "position": position,
                    "metric": one.metric.value,
                    "regression_direction": one.regression_direction.value,
                    "threshold_pct": one.threshold_pct,
                }
                for position, one in enumerate(judged.guardrails)
            ],
            LakeTable.SCOPES: [{"workspace": item} for item in plan.workspaces],
            LakeTable.VARIANT_VALUES: [
                {"session_id": session_id, "value": _summarise(found)}
                for session_id, found in sorted(read_values(store, judged.binding).items())
            ],
            LakeTable.TAGS: [
                {"session_id": name, "variant": variant} for name, variant in store.native(_TAGS, judged.id)
            ],
        }
        for name, found in parts.items():
            rows[name] += [{"experiment_id": judged.id, **row} for row in found]
    return {
        name: make_frame(LAKE_TABLES[name], [{**row, "source": source} for row in found])
        for name, found in rows.items()
    }


def _experiment_row(experiment: Experiment, plan: Plan, start: Start) -> dict[str, object]:
    criterion = experiment.success_criterion
    delta = criterion if isinstance(criterion, Delta) else None
    target = criterion.target_pct if isinstance(criterion, Delta) else criterion.metric_value
    control, treatment = _arms(experiment.binding)
    binding = experiment.binding
    return {
        "experiment_id": experiment.id,
        "state": experiment.state.value,
        "metric": experiment.metric.value,
        "binding": type(binding).__name__,
        "control": control,
        "treatment": treatment,
        "has_variant_field": isinstance(binding, ManualTag) and bool(binding.variant_field),
        "criterion": type(criterion).__name__,
        "direction": None if delta is None else delta.direction.value,
        "target": target,
        "duration_days": experiment.duration_days,
        "created_at_ms": experiment.created_at_ms,
        "concluded_at_ms": experiment.concluded_at_ms,
        **{name: getattr(plan, name) for name in PLAN_NUMBERS},
        "cluster": plan.cluster.value,
        "design": plan.design.value,
        **{column: getattr(start, name) for name, column in START_COLUMNS.items()},
    }


def _arms(binding: Binding) -> tuple[str | None, str | None]:
    if isinstance(binding, ManualTag):
        return None, None
    control, treatment = astuple(binding)
    if isinstance(binding, Branch):
        return control.removeprefix("refs/heads/"), treatment.removeprefix("refs/heads/")
    return control, treatment


def _summarise(values: frozenset[str]) -> str:
    """Return the one arm that the values name, `mixed` for several, and `other` for one that names none."""
    words = {_ARMS.get(value.strip().lower(), "other") for value in values}
    is_one = len(words) == 1 and (len(values) == 1 or "other" not in words)
    return words.pop() if is_one else ARM_VALUES[2]
