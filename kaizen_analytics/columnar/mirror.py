"""A mirror that is as fresh as the store, and what it answers without opening the store."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from kaizen_analytics.columnar.manifest import (
    LOCK,
    DamagedError,
    Manifest,
    cache_root,
    load_manifest,
    make_folder,
    mirror_folder,
    read_frame,
    sweep,
    verify_file,
)
from kaizen_analytics.errors import StoreError
from kaizen_analytics.stamps import read_fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from filelock import BaseFileLock

    from kaizen_analytics.columnar.build import Progress
    from kaizen_analytics.engines import Engine

T = TypeVar("T")

LOCK_TIMEOUT_S = 1_800
"""How long to wait for another process that builds the same mirror."""

_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Mirror:
    """One state of the mirror; every read checks the bytes that it reads."""

    folder: Path
    manifest: Manifest

    def table(self, name: str) -> pl.DataFrame:
        """Return one whole table: a rollup (`metrics`, `metrics_apart`), `keys`, or one of `extraction.TABLES`."""
        return read_frame(self.folder, self.manifest.tables[name])

    def events(self, session_id: str) -> pl.DataFrame:
        """Return the staged events of one session in order."""
        from kaizen_analytics.columnar.extraction import EVENT_SCHEMA

        keys = self.table("keys").filter(pl.col("session_id") == session_id)
        paths = self.parts()
        if keys.is_empty() or not paths:
            return pl.DataFrame(schema=EVENT_SCHEMA)
        rows = pl.scan_parquet(paths, glob=False).filter(pl.col("session_id") == keys["session_key"][0])
        named = rows.with_columns(pl.lit(session_id).alias("session_id")).collect()
        return named.select(list(EVENT_SCHEMA)).cast(EVENT_SCHEMA).sort("seq")

    def scan_events(self) -> pl.LazyFrame:
        """Return the staged events of all sessions, to be aggregated while this state of the mirror lasts."""
        from kaizen_analytics.columnar.extraction import EVENT_SCHEMA

        paths = self.parts()
        if not paths:
            return pl.LazyFrame(schema=EVENT_SCHEMA)
        keys = self.table("keys").lazy().select("session_id", "session_key")
        rows = pl.scan_parquet(paths, glob=False).rename({"session_id": "session_key"})
        return rows.join(keys, on="session_key", how="inner").select(list(EVENT_SCHEMA)).cast(EVENT_SCHEMA)

    def compute_metrics(self, rollup: str, engine: Engine) -> pl.DataFrame:
        """Return one rollup as `engine` computes it from the parts; it equals the stored table."""
        from kaizen_analytics.columnar.rollup import INPUTS, compute_metrics, find_roots
        from kaizen_analytics.engines import ParquetFiles

        paths = self.parts()
        parts = ParquetFiles(tuple(paths)) if paths else None
        tables = {name: self.table(name) for name in INPUTS}
        return compute_metrics(engine, tables, parts, find_roots(rollup, tables["sessions"]))

    def parts(self) -> list[Path]:
        """Return the files that hold the events, which name their session by the number in `keys`."""
        return [verify_file(self.folder, part) for part in self.manifest.parts]


def open_manifest(folder: Path, store_path: Path) -> Manifest | None:
    """Return the mirror's state if it is as fresh as the store, from `stat` alone."""
    manifest = load_manifest(folder)
    if manifest is None or manifest.fingerprint is None:
        return None
    try:
        fresh = read_fingerprint(store_path) == manifest.fingerprint
    except OSError:
        return None  # opening the store says what is wrong with it
    return manifest if fresh else None


def refresh(
    store_path: Path,
    *,
    root: Path | None = None,
    progress: Progress | None = None,
    compare_whole: bool = False,
    anew: bool = False,
) -> Manifest:
    """Make the mirror of a store as fresh as the store; several processes may call this at once.

    Args:
        store_path: The store; it is only read.
        root: The folder of all mirrors; by default that of the environment.
        progress: Is told how far the reading has come.
        compare_whole: Compare every event, however large the store is.
        anew: Read everything again, whatever the former mirror holds.

    Raises:
        StoreError: the store is missing or damaged, or another process builds for too long.
        ConfigError: the cache folder cannot be written.
    """
    store_path = store_path.absolute()
    folder = find_folder(store_path, root)
    may_be_fresh = not anew and not compare_whole
    if may_be_fresh and (current := open_manifest(folder, store_path)):
        return current
    from filelock import Timeout

    make_folder(folder)
    try:
        with _lock(folder):
            if may_be_fresh and (current := open_manifest(folder, store_path)):
                return current  # another process has just built it
            return _build(folder, store_path, progress, compare_whole=compare_whole, anew=anew)
    except Timeout:
        raise StoreError(
            f"Another process has been building the mirror of {store_path} for {LOCK_TIMEOUT_S // 60} minutes. "
            "Wait for it, or end it; nothing is lost.",
        ) from None


def read_mirror(
    store_path: Path,
    read: Callable[[Mirror], T],
    *,
    root: Path | None = None,
    renew: Callable[[], object] | None = None,
) -> T:
    """Return what `read` finds in a mirror that is as fresh as the store.

    Args:
        store_path: The store.
        read: Reads what it needs; it may be called again when a file turns out to be damaged or was just replaced.
        root: The folder of all mirrors; by default that of the environment.
        renew: Brings the mirror up to date; by default `refresh` in this process.

    Raises:
        StoreError: as for `refresh`.
    """
    store_path = store_path.absolute()
    folder = find_folder(store_path, root)
    for _ in range(_ATTEMPTS):
        manifest = open_manifest(folder, store_path)
        if manifest is None:
            refreshed = (renew or (lambda: refresh(store_path, root=root)))()
            manifest = refreshed if isinstance(refreshed, Manifest) else load_manifest(folder)
        if manifest is None:
            continue
        try:
            return read(Mirror(folder, manifest))
        except DamagedError:
            _forget(folder, manifest)
    raise StoreError(f"The mirror in {folder} is damaged again each time it is built; check the disk.")


def clear_mirror(store_path: Path, *, root: Path | None = None) -> int:
    """Remove the mirror of a store and return how many bytes that freed; it is built again when it is needed."""
    folder = find_folder(store_path.absolute(), root)
    if not folder.is_dir():
        return 0
    with _lock(folder):
        size = mirror_bytes(folder)
        sweep(folder, set())
    return size


def mirror_bytes(folder: Path) -> int:
    """Return the size of everything in a mirror's folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def find_folder(store_path: Path, root: Path | None = None) -> Path:
    """Return the folder of a store's mirror, which need not exist."""
    return mirror_folder(store_path, root or cache_root(os.environ, Path.home()))


def _build(
    folder: Path,
    store_path: Path,
    progress: Progress | None,
    *,
    compare_whole: bool,
    anew: bool,
) -> Manifest:
    from kaizen_analytics.columnar.build import Request, refresh_mirror

    request = Request(
        folder=folder,
        store_path=store_path,
        progress=progress or _silent,
        compare_whole=compare_whole,
        now_ms=time.time_ns() // 1_000_000,
    )
    previous = None if anew else load_manifest(folder)
    try:
        return refresh_mirror(request, previous)
    except DamagedError:
        return refresh_mirror(request, None)


def _forget(folder: Path, manifest: Manifest) -> None:
    """Drop a damaged state, unless another process has replaced it meanwhile."""
    with _lock(folder):
        if load_manifest(folder) == manifest:
            sweep(folder, set())


def _lock(folder: Path) -> BaseFileLock:
    from filelock import FileLock

    return FileLock(folder / LOCK, timeout=LOCK_TIMEOUT_S, mode=0o600)


def _silent(done: int, total: int) -> None:
    """Tell nobody."""
