"""Many stores as one set of relations: each session once, every metric on any engine.

A session that several sources exported (a copied store, a shared home folder) counts as the source has it that holds
most of it: most events, then the latest end; of equals the first source by name.
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from kaizen_analytics.core.errors import ConfigError, LakeError, QueryError
from kaizen_analytics.core.queries import ROOT_OUTCOMES, SESSION_METRICS, Query, check_schema
from kaizen_analytics.core.settings import load_sql
from kaizen_analytics.exports.columns import LAKE_TABLES, LAKE_VERSION, LakeTable
from kaizen_analytics.exports.engines import EmbeddedEngine, Engine, ParquetFiles
from kaizen_analytics.exports.files import Storage, open_place
from kaizen_analytics.exports.project import make_pseudonym
from kaizen_analytics.redact import Pseudonyms, load_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_T = TypeVar("_T")

_MART = Query(
    path=SESSION_METRICS.path,
    schema=SESSION_METRICS.schema,
    reads={"staged_events": "lake/chosen_events.sql", "files_touched": "lake/chosen_files.sql"},
)
_READ_OF_SESSIONS = ["agent", "model", "workspace", "started_at_ms", "ended_at_ms"]
_PLACED = ["source", "bucket", "day"]
_ATTEMPTS = 3
_SHARD_EVENTS = 2_000_000
"""About how many events one query works on in this process; it holds a few hundred MB for them."""


@dataclass(frozen=True, slots=True)
class Lake:
    """The files of a lake that count; use `read_lake`. What has to be downloaded goes into `folder`."""

    place: Storage
    entries: tuple[Entry, ...]
    folder: Path

    @property
    def sources(self) -> int:
        """How many stores export to this lake."""
        return len({entry.source for entry in self.entries})

    def table(self, name: LakeTable) -> pl.DataFrame:
        """Return all rows of a table, of every source."""
        return self._read([entry for entry in self.entries if entry.table_name == name], name).drop("bucket", "day")

    def sessions(self) -> pl.DataFrame:
        """Return each session once: its columns in the lake, and the `bucket` and `day` of its files."""
        entries = [entry for entry in self.entries if entry.table_name == LakeTable.SESSIONS]
        ranked = self._read(entries, LakeTable.SESSIONS).sort(
            "id", "events", "ended_at_ms", "source", descending=[False, True, True, False], nulls_last=True
        )
        return ranked.unique("id", keep="first", maintain_order=True)

    def metrics(self, *, rollup: bool = True, engine: Engine | None = None) -> pl.DataFrame:
        """Return every metric of every session: the columns of sql/marts/session_metrics.sql, ordered by session id.

        Args:
            rollup: Count sub-agents with the session that started them; otherwise one row for each session.
            engine: Where the mart runs: in this process, in shards, or elsewhere, as one query.
        """
        engine = engine or EmbeddedEngine()
        sessions = self.sessions()
        roots = find_roots(sessions, rollup=rollup)
        keys = sessions.select("source", session_id="id").with_row_index("number").cast({"number": pl.Int64})
        most = _SHARD_EVENTS if isinstance(engine, EmbeddedEngine) else None
        shards = []
        for members in _split(sessions, roots, most):
            chosen = keys.join(members, on="session_id", how="semi")
            relations = {
                "sessions": chosen.join(sessions, left_on="session_id", right_on="id").select(
                    *_READ_OF_SESSIONS, id="number"
                ),
                "session_roots": _number(members, chosen),
                "root_outcomes": pl.DataFrame(schema=ROOT_OUTCOMES.schema),
                "chosen_sessions": chosen,
                "lake_events": self._facts(LakeTable.EVENTS, members, engine),
                "lake_files": self._facts(LakeTable.FILES_TOUCHED, members, engine),
            }
            shards.append(engine.run(_MART.text(), relations))
        metrics = pl.concat(shards).rename({"session_id": "number"}).join(keys, on="number", validate="1:1")
        named = metrics.select(shards[0].columns)
        check_schema(SESSION_METRICS.path, named, SESSION_METRICS.schema)
        return named.sort("session_id")

    def _facts(self, name: LakeTable, members: pl.DataFrame, engine: Engine) -> pl.DataFrame | ParquetFiles:
        """Return the rows of a table that lie where the sessions do, for the engine to read."""
        placed = set(members.select(_PLACED).unique().iter_rows())
        entries = [
            entry
            for entry in self.entries
            if entry.table_name == name and (entry.source, entry.bucket, entry.day) in placed
        ]
        if not entries:
            return pl.DataFrame(schema=LAKE_TABLES[name].schema)
        if isinstance(engine, EmbeddedEngine):
            return ParquetFiles((self._gather(entries, name),))
        return ParquetFiles(tuple(self.place.address(entry.name) for entry in entries))

    def _gather(self, entries: list[Entry], name: LakeTable) -> Path:
        """Return one file with the rows of many, which the mart would otherwise open several times each."""
        gathered = self.folder / f"{name}.parquet"
        rows = pl.scan_parquet(self._fetch(entries), glob=False, hive_partitioning=False)
        try:
            rows.sink_parquet(gathered, compression="zstd", compression_level=1)
        except pl.exceptions.PolarsError as error:
            raise LakeError(f"A file of the table {name} in the lake cannot be read: {error}") from error
        return gathered

    def _fetch(self, entries: list[Entry]) -> list[Path]:
        return self.place.fetch([(entry.name, entry.digest) for entry in entries], self.folder)

    def _read(self, entries: list[Entry], name: LakeTable) -> pl.DataFrame:
        schema = LAKE_TABLES[name].schema
        if not entries:
            return pl.DataFrame(schema={**schema, "bucket": pl.Int64(), "day": pl.String()})
        paths = [str(path) for path in self._fetch(entries)]
        try:
            rows = pl.scan_parquet(
                paths, glob=False, hive_partitioning=False, include_file_paths="file", schema=schema
            ).collect()
        except pl.exceptions.PolarsError as error:
            raise LakeError(f"A file of the table {name} in the lake cannot be read: {error}") from error
        placed = [(path, entry.bucket, entry.day) for path, entry in zip(paths, entries, strict=True)]
        where = pl.DataFrame(placed, schema={"file": pl.String, "bucket": pl.Int64, "day": pl.String}, orient="row")
        return rows.join(where, on="file", how="left").drop("file")


def read_lake(url: str, read: Callable[[Lake], _T], *, key: bytes | None = None) -> _T:
    """Return what `read` finds in the lake at `url`, as it was at one moment.

    Args:
        url: A folder, `file:///…`, or an object store.
        read: Reads what it needs; it may be called again when an export replaced a file in the meantime.
        key: The lake key, to be sure that this is the lake that it belongs to; reading itself needs none.

    Raises:
        LakeError: there is no lake, or it is unreadable, damaged, of another version or under another key.

    >>> read_lake(str(tmp), lambda lake: lake.metrics())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.LakeError: There is no lake at ...
    """
    place = open_place(url)
    for _ in range(_ATTEMPTS):
        if not check_lake(place, key):
            raise LakeError(f"There is no lake at {url}; 'kaizen-analytics export lake --to {url}' begins one.")
        entries = read_entries(place)
        with tempfile.TemporaryDirectory(prefix="kaizen-lake-") as folder:
            try:
                return read(Lake(place, tuple(entries), Path(folder)))
            except (FileNotFoundError, QueryError) as error:
                if read_entries(place) != entries:
                    continue
                if isinstance(error, QueryError):
                    raise
                raise LakeError(
                    f"{error.filename or error} is missing although its catalogue names it. The next export of the "
                    "machine that wrote it puts it back."
                ) from error
    raise LakeError(f"The lake at {url} changed {_ATTEMPTS} times while it was read; try again in a quieter moment.")


def read_metrics(
    url: str, *, rollup: bool = True, engine: Engine | None = None, key: bytes | None = None
) -> pl.DataFrame:
    """Return every metric of every session in a lake; see `Lake.metrics` and `read_lake`.

    >>> read_metrics(str(tmp))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.LakeError: There is no lake at ...
    """
    return read_lake(url, lambda lake: lake.metrics(rollup=rollup, engine=engine), key=key)


def find_roots(sessions: pl.DataFrame, *, rollup: bool = True) -> pl.DataFrame:
    """Return the root that each session is counted with: `session_id`, `root_id`.

    Args:
        sessions: Columns `id` and `parent_session_id`.
        rollup: Count sub-agents with the session that started them; otherwise every session is its own root.

    >>> find_roots(pl.DataFrame({"id": ["a", "b"], "parent_session_id": [None, "a"]})).sort("session_id").rows()
    [('a', 'a'), ('b', 'a')]
    """
    # Staging queries follow parents recursively, which not every engine can; sessions are few.
    path = "staging/session_roots.sql" if rollup else "staging/session_selves.sql"
    return EmbeddedEngine().run(load_sql(path), {"sessions": sessions.drop_nulls("id")})


def name_workspace(path: str, key: bytes) -> str:
    """Return what a workspace is called in a lake under this key.

    >>> name_workspace("/srv/team", bytes(32)).count("/")
    2
    """
    [column] = [one for one in LAKE_TABLES[LakeTable.SESSIONS].columns if one.name == "workspace"]
    return make_pseudonym(column, path, Pseudonyms(key))


def _number(members: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Return the numbers of each session and of its root, which always lies in the same shard."""
    own, root = (keys.select("number", **{name: "session_id"}) for name in ("session_id", "root_id"))
    numbered = members.join(own, on="session_id").join(root, on="root_id", suffix="_of_root")
    return numbered.select(session_id="number", root_id="number_of_root")


def _split(sessions: pl.DataFrame, roots: pl.DataFrame, most: int | None) -> Iterator[pl.DataFrame]:
    """Yield `session_id`, `root_id` and the place of its files for each session, in shards of whole partitions.

    A shard has about `most` events; None puts everything into one.
    """
    members = roots.join(sessions.select(*_PLACED, "events", session_id="id"), on="session_id")
    if most is None:
        yield members
        return
    homes = sessions.select(root_id="id", root_day="day", root_bucket="bucket")
    ordered = members.join(homes, on="root_id").sort("root_day", "root_bucket", "root_id", "session_id")
    before = pl.col("events").cum_sum() // most
    numbered = ordered.with_columns(before.max().over("root_day", "root_bucket").alias("shard"))
    parts = numbered.partition_by("shard", include_key=False, maintain_order=True)
    yield from parts or [numbered]


CATALOGUES = "catalogues"
MARKER = "lake.parquet"

LAKE_KEY = "lake.key"
"""Name of the default key file below `$KAIZEN_HOME`."""

_CHECK_DIGITS = 20
MARKER_SCHEMA = pl.Schema({"version": pl.Int64(), "key_check": pl.String()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a lake; `bucket` and `day` are None for a table that is not divided.

    `fingerprint` changes when what goes into the file changes; `digest` is the SHA-256 of its bytes.
    """

    source: str
    table_name: str
    bucket: int | None
    day: str | None
    name: str
    digest: str
    rows: int
    bytes: int
    fingerprint: str


ENTRY_SCHEMA = pl.Schema({one.name: pl.String() if "str" in str(one.type) else pl.Int64() for one in fields(Entry)})
"""The columns of a catalogue."""


def load_lake_key(path: Path) -> bytes:
    """Read the key of a lake.

    Raises:
        ConfigError: there is no such file; the message says how to make or copy one.
        RedactionError: it is no key, or others may read it.

    >>> make_lake_key(tmp / "lake.key") == load_lake_key(tmp / "lake.key")
    True
    """
    if not path.exists():
        raise ConfigError(
            f"There is no lake key at {path}. All machines of a lake share one, so that a workspace has the same "
            f"pseudonym on each of them. On the first machine: kaizen-analytics export lake --make-key --lake-key "
            f"{path}. On the others: copy that file from the first (scp -p), then chmod 600 {path}."
        )
    return load_key(path)


def make_lake_key(path: Path) -> bytes:
    """Make a new key, mode 0600.

    Raises:
        ConfigError: a file is there already; with another key every session would look new.
        RedactionError: the file cannot be written.

    >>> len(make_lake_key(tmp / "lake.key"))
    32
    """
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} exists; a lake keeps its key. Name another file, or use this one.")
    return load_key(path)


def check_lake(place: Storage, key: bytes | None) -> bool:
    """Return whether there is a lake, after making sure that it is of this version and under this key.

    Raises:
        LakeError: it is not.

    >>> from kaizen_analytics.exports.files import open_place
    >>> check_lake(open_place(str(tmp / "nowhere")), None)
    False
    """
    try:
        marks = _read(place, MARKER, MARKER_SCHEMA)
    except FileNotFoundError:
        return False
    version, key_check = marks.row(0)
    if version != LAKE_VERSION:
        raise LakeError(
            f"The lake has version {version}; this version of kaizen_analytics knows {LAKE_VERSION}. "
            "Use one version on all machines, or export into a new lake."
        )
    if key is not None and key_check != check_of_key(key):
        raise LakeError(
            "The lake was begun under another lake key. Copy the key file from a machine that exports to it "
            "(--lake-key FILE); under this one every session and workspace would count twice."
        )
    return True


def read_entries(place: Storage, source: str | None = None) -> list[Entry]:
    """Return the files that count, of one source or of all.

    Raises:
        LakeError: a catalogue cannot be read.

    >>> from kaizen_analytics.exports.files import open_place
    >>> read_entries(open_place(str(tmp / "nowhere")))
    []
    """
    names = sorted(place.sizes(CATALOGUES)) if source is None else [f"{CATALOGUES}/{source}.parquet"]
    try:
        return [Entry(**row) for name in names for row in _read(place, name, ENTRY_SCHEMA).iter_rows(named=True)]
    except FileNotFoundError:
        return []  # the first export of this source


def check_of_key(key: bytes) -> str:
    """Return what a lake shows of its key, to tell a wrong one from the right one.

    >>> check_of_key(bytes(32)) == check_of_key(bytes(32))
    True
    """
    return Pseudonyms(key).exact(b"lake key", digits=_CHECK_DIGITS)


def _read(place: Storage, name: str, schema: pl.Schema) -> pl.DataFrame:
    address = place.address(name)
    try:
        frame = pl.read_parquet(io.BytesIO(place.read(name)))
    except pl.exceptions.PolarsError as error:
        raise LakeError(f"{address} is no readable Parquet file: {error}. Remove it, and export again.") from error
    if frame.schema != schema:
        raise LakeError(
            f"{address} has the columns {', '.join(frame.columns)}; expected {', '.join(schema)}. It belongs to "
            "another version or program; upgrade kaizen_analytics everywhere, or move it away."
        )
    return frame
