"""The mirror's folder: which files are valid, what they hold, and the state of the store that they were read from.

Files are named by a digest of their content and never change. `manifest.json` names them and is replaced atomically,
so a crash at any point leaves the former mirror, or none; what no manifest names is swept by the next builder.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.errors import ConfigError
from kaizen_analytics.queries import load_sql
from kaizen_analytics.resources import cache_folder, name_in_cache

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kaizen_analytics.stamps import Fingerprint

FORMAT = 3
"""Raise it when the layout of the folder or the meaning of a file changes."""

MANIFEST = "manifest.json"
LOCK = "lock"
STAGED = "staged"
"""Prefix of files that are being written."""

_QUERIES = (
    "mirror/chosen_events.sql",
    "mirror/events.sql",
    "mirror/session_checks.sql",
    "mirror/session_counts.sql",
    "staging/events.sql",
    "staging/session_roots.sql",
    "staging/session_selves.sql",
    "marts/session_metrics.sql",
)


class DamagedError(Exception):
    """A file of the mirror is gone or is not what the manifest says; the mirror is rebuilt."""


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file of the mirror's folder and what it must contain."""

    name: str
    digest: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One state of the mirror; times are milliseconds since the Unix epoch.

    `fingerprint` is what `stat` said of the store before it was read, `watermark` the largest `events.id` and
    `events` the number of events then. `compared_at_ms` is when every event was last compared with the store.
    """

    version: str
    store: str
    fingerprint: Fingerprint | None
    watermark: int
    events: int
    compared_at_ms: int
    refreshed_at_ms: int
    refresh_duration_ms: int
    parts: tuple[CachedFile, ...]
    tables: Mapping[str, CachedFile]

    @property
    def files(self) -> tuple[CachedFile, ...]:
        """Every file that belongs to this state."""
        return (*self.parts, *self.tables.values())


@functools.cache
def mirror_version() -> str:
    """Return what a mirror must have been built with: its layout, the queries, and the DuckDB whose hash it holds."""
    texts = "\n".join(load_sql(path) for path in _QUERIES)
    digest = hashlib.blake2b(texts.encode(), digest_size=8).hexdigest()
    return f"{FORMAT}-{digest}-duckdb-{version('duckdb')}"


def cache_root(environment: Mapping[str, str], home: Path) -> Path:
    """Return the folder of all mirrors."""
    return cache_folder(environment, home) / "mirrors"


def mirror_folder(store_path: Path, root: Path) -> Path:
    """Return the folder of the mirror of one store; symbolic links to a store share its mirror."""
    return root / name_in_cache(store_path)


def make_folder(folder: Path) -> None:
    """Create the folder, readable by its owner only.

    Raises:
        ConfigError: it cannot be created.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            f"Cannot create the cache folder {folder}: {error.strerror}. "
            "Set XDG_CACHE_HOME to a folder that you may write to.",
        ) from error


def load_manifest(folder: Path) -> Manifest | None:
    """Return the mirror's state, or None where there is none that this version can read."""
    try:
        manifest = _parse(json.loads((folder / MANIFEST).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # a cache that cannot be read is a cache to rebuild
    return manifest if manifest.version == mirror_version() else None


def publish_manifest(folder: Path, manifest: Manifest) -> None:
    """Make `manifest` the mirror's state, in one step, and remove what it does not name; needs the lock."""
    staged = folder / f"{STAGED}-{MANIFEST}"
    staged.write_text(json.dumps(asdict(manifest)), "utf-8")
    staged.chmod(0o600)
    staged.replace(folder / MANIFEST)
    sweep(folder, {file.name for file in manifest.files} | {MANIFEST})


def sweep(folder: Path, kept: set[str]) -> None:
    """Remove every file but the lock and those that are named; needs the lock."""
    for path in folder.iterdir():
        if path.is_file() and path.name not in kept and path.name != LOCK:
            path.unlink(missing_ok=True)


def seal_file(folder: Path, staged: Path, table: str, rows: int) -> CachedFile:
    """Give a file that was written whole its final name, and return its entry."""
    with staged.open("rb") as file:
        digest = hashlib.file_digest(file, _digest).hexdigest()
    name = f"{table}-{digest}.parquet"
    staged.chmod(0o600)
    staged.replace(folder / name)
    return CachedFile(name, digest, rows)


def write_frame(folder: Path, table: str, frame: pl.DataFrame) -> CachedFile:
    """Write one table of the mirror."""
    staged = folder / f"{STAGED}-{table}.parquet"
    frame.write_parquet(staged, compression="zstd", compression_level=1)
    return seal_file(folder, staged, table, frame.height)


def read_frame(folder: Path, file: CachedFile) -> pl.DataFrame:
    """Return the rows of a file.

    Raises:
        DamagedError: it is gone, or its bytes are not those that were written.
    """
    content = _read(folder / file.name)
    if _digest(content).hexdigest() != file.digest:
        raise DamagedError(file.name)
    return pl.read_parquet(io.BytesIO(content))


def verify_file(folder: Path, file: CachedFile) -> Path:
    """Return the path of a file whose bytes are those that were written.

    Raises:
        DamagedError: it is gone, or changed.
    """
    path = folder / file.name
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, _digest).hexdigest()
    except OSError as error:
        raise DamagedError(file.name) from error
    if digest != file.digest:
        raise DamagedError(file.name)
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedError(path.name) from error


def _digest(content: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(content, digest_size=16)


def _parse(record: dict[str, Any]) -> Manifest:
    fingerprint = record.pop("fingerprint")
    parts = record.pop("parts")
    tables = record.pop("tables")
    return Manifest(
        **record,
        fingerprint=None if fingerprint is None else tuple(fingerprint),
        parts=tuple(CachedFile(**part) for part in parts),
        tables={name: CachedFile(**file) for name, file in tables.items()},
    )
