"""Where a lake lies: a folder, or an object store that Polars writes to.

A file appears whole or not at all: in a folder by renaming it into its place, in an object store because that is how
an upload works there. An object store is never asked to delete; what no catalogue names does not count.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

import polars as pl

from kaizen_analytics.errors import ConfigError, LakeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl")
"""Object stores that Polars knows; credentials come from the environment, as each of them documents."""

CONNECTIONS = 16
"""How many files travel at a time: each waits for its store several times, and computes nothing meanwhile."""

_STAGED = ".staged-"


class Place(Protocol):
    """A lake's files by their names, such as `events/store=…/bucket=0/day=2026-10-01/….parquet`."""

    def publish(self, name: str, staged: Path) -> None:
        """Put a finished local file into its place, replacing what is there."""

    def read(self, folder: str, stem: str, schema: pl.Schema) -> pl.DataFrame:
        """Return the rows of every Parquet file in one folder whose name fits `stem` (`*`: any)."""

    def fetch(self, files: Sequence[tuple[str, str]], into: Path) -> list[Path]:
        """Return local paths of files given by name and digest; what has to be copied goes below `into`."""

    def addresses(self, names: Iterable[str]) -> tuple[Path | str, ...]:
        """Return what another machine reads the files by."""

    def holds(self, name: str, size_bytes: int) -> bool:
        """Return whether the file lies there, as far as the place can tell."""

    def discard(self, source: str, kept: set[str]) -> int:
        """Remove the files of one source but those named, where the place can; return how many went."""


def open_place(url: str) -> Folder | ObjectStore:
    """Return the folder or object store at `url`.

    Raises:
        ConfigError: the address is of no kind that is known.
    """
    parts = urlsplit(url)
    if "://" not in url:
        return Folder(Path(url).expanduser().absolute())
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Folder(Path(unquote(parts.path)))
    if parts.scheme in SCHEMES and parts.netloc:
        return ObjectStore(url.rstrip("/"))
    raise ConfigError(
        f"A lake cannot lie at {url!r}; expected a folder, file:///… or one of {', '.join(SCHEMES)} (s3://bucket/lake)."
    )


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, perhaps on a network file system."""

    root: Path

    def publish(self, name: str, staged: Path) -> None:
        """Copy a file beside its place, then rename it.

        Raises:
            LakeError: the folder cannot be written.
        """
        target = self.root / name
        # No dot file ends in .parquet, so nobody who reads with a pattern meets half a file.
        draft = target.with_name(f"{_STAGED}{target.stem}-{secrets.token_hex(4)}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with staged.open("rb") as given, draft.open("xb") as copy:
                shutil.copyfileobj(given, copy)
                copy.flush()
                os.fsync(copy.fileno())
            draft.replace(target)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise LakeError(f"{target} cannot be written: {error.strerror}. Nothing that was there changed.") from error

    def read(self, folder: str, stem: str, schema: pl.Schema) -> pl.DataFrame:
        """Return the rows of the files that fit.

        Raises:
            LakeError: a file is no Parquet file, or has other columns.
        """
        try:
            paths = sorted((self.root / folder).glob(f"{stem}.parquet"))
            frames = [_read_checked(path, schema) for path in paths]
        except OSError as error:
            raise LakeError(f"The lake at {self.root} cannot be read: {error.strerror or error}.") from error
        return pl.concat([pl.DataFrame(schema=schema), *frames])

    def fetch(self, files: Sequence[tuple[str, str]], into: Path) -> list[Path]:  # noqa: ARG002 - nothing is copied
        """Return the paths of the files, whose bytes are those that were written.

        Raises:
            FileNotFoundError: a file is gone, as after an export in the meantime.
            LakeError: a file cannot be read, or is not what was written.
        """
        return [self._verify(self.root / name, digest) for name, digest in files]

    def addresses(self, names: Iterable[str]) -> tuple[Path | str, ...]:
        """Return absolute paths, which must mean the same to whoever reads them."""
        return tuple(self.root / name for name in names)

    def holds(self, name: str, size_bytes: int) -> bool:
        """Return whether the file lies there with its size."""
        try:
            return (self.root / name).stat().st_size == size_bytes
        except FileNotFoundError:
            return False
        except OSError as error:
            raise LakeError(f"{self.root / name} cannot be read: {error.strerror}.") from error

    def discard(self, source: str, kept: set[str]) -> int:
        """Remove what a source replaced, and what it left when it was killed."""
        own = [path for folder in self.root.glob(f"*/store={source}") for path in folder.rglob("*") if path.is_file()]
        own += self.root.glob(f"*/{_STAGED}{source}-*")
        gone = [path for path in own if path.relative_to(self.root).as_posix() not in kept]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)

    def _verify(self, path: Path, digest: str) -> Path:
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise LakeError(f"{path} cannot be read: {error.strerror}.") from error
        if found != digest:
            raise LakeError(
                f"{path} is damaged: its bytes are not those that were exported. Remove it; the next export of the "
                "machine that wrote it puts it back.",
            )
        return path


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A bucket and a prefix in it, such as `s3://team/lake`."""

    url: str

    def publish(self, name: str, staged: Path) -> None:
        """Upload the rows of a file.

        Raises:
            LakeError: the store refuses.
        """
        try:
            pl.scan_parquet(staged, glob=False).sink_parquet(f"{self.url}/{name}", mkdir=True)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise LakeError(f"{self.url}/{name} cannot be written: {error}") from error

    def read(self, folder: str, stem: str, schema: pl.Schema) -> pl.DataFrame:
        """Return the rows of the files that fit.

        Raises:
            LakeError: the store cannot be read, or a file has other columns.
        """
        pattern = f"{self.url}/{folder}/{stem}.parquet" if folder else f"{self.url}/{stem}.parquet"
        # A file name without a star would be an error where the file is missing.
        pattern = pattern if "*" in pattern else pattern.replace(".parquet", "*.parquet")
        try:
            return pl.scan_parquet(pattern, schema=schema).collect()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise LakeError(f"{pattern} cannot be read: {error}") from error

    def fetch(self, files: Sequence[tuple[str, str]], into: Path) -> list[Path]:
        """Download the files.

        Raises:
            LakeError: one cannot be read.
        """
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(lambda file: self._download(file[0], into / f"{file[1]}.parquet"), files))

    def _download(self, name: str, path: Path) -> Path:
        try:
            pl.scan_parquet(f"{self.url}/{name}", glob=False, hive_partitioning=False).sink_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise LakeError(f"{self.url}/{name} cannot be read: {error}") from error
        return path

    def addresses(self, names: Iterable[str]) -> tuple[Path | str, ...]:
        """Return URLs, for an engine with credentials of its own."""
        return tuple(f"{self.url}/{name}" for name in names)

    def holds(self, name: str, size_bytes: int) -> bool:  # noqa: ARG002
        """Trust the catalogue: asking for every file would cost more than it is worth."""
        return True

    def discard(self, source: str, kept: set[str]) -> int:  # noqa: ARG002
        """Leave everything; what no catalogue names does not count."""
        return 0


def _read_checked(path: Path, schema: pl.Schema) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path, hive_partitioning=False, glob=False)
    except pl.exceptions.PolarsError as error:
        raise LakeError(f"{path} is no readable Parquet file: {error}. Remove it, and export again.") from error
    if frame.schema != schema:
        raise LakeError(
            f"{path} has the columns {', '.join(frame.columns)}; expected {', '.join(schema)}. It belongs to another "
            "version or program; upgrade kaizen_analytics everywhere, or move it away.",
        )
    return frame
