"""Folders and object stores, through obstore (the extra `lake`): whole files by their names.

A file appears whole or not at all: in a folder obstore writes beside its place and renames, in an object store that is
how an upload works. Credentials come from the environment, as each object store documents.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from kaizen_analytics.core.errors import ConfigError, LakeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")
"""Object stores that obstore knows."""

_CONNECTIONS = 16
"""How many files travel at a time: each waits for its store several times, and computes nothing meanwhile."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Storage:
    """A folder or a prefix in an object store; files by names such as `events/store=…/bucket=0/….parquet`.

    `folder` is None for an object store.
    """

    url: str
    folder: Path | None

    def write(self, name: str, data: bytes | Path) -> None:
        """Put a whole file into its place, replacing what is there.

        Raises:
            LakeError: the place cannot be written.
        """
        failure = f"{name} cannot be written"
        try:
            self._run(lambda stores: stores.put(self._open(create=True), name, data), failure)
        except FileNotFoundError as error:  # there is no such bucket
            raise self._explain(failure, error) from error

    def write_all(self, files: Mapping[str, Path]) -> None:
        """Write many files at once; the first error stops, and some of them may be there then."""
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            list(pool.map(self.write, files, files.values()))  # the list raises what any of them raised

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: there is none.
            LakeError: the place cannot be read.
        """
        return self._run(lambda stores: bytes(stores.get(self._open(), name).bytes()), f"{name} cannot be read")

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the names below a folder and their sizes in bytes; nothing where there is no such folder.

        Raises:
            LakeError: the place cannot be read.
        """
        try:
            found = self._run(lambda stores: stores.list(self._open(), prefix=prefix).collect(), "it cannot be listed")
        except FileNotFoundError:
            return {}
        return {meta["path"]: meta["size"] for meta in found}

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is no error."""
        with suppress(FileNotFoundError):  # another export of the same store was faster
            self._run(lambda stores: stores.delete(self._open(), name), f"{name} cannot be removed")

    def sweep(self, source: str) -> None:
        """Remove what a killed export of one source left half written; an object store drops such uploads itself."""
        if self.folder is not None:
            # obstore writes NAME#1 and renames it; its listings leave such files out.
            for pattern in (f"*/store={source}/**/*.parquet#*", f"*/{source}.parquet#*"):
                for stray in self.folder.glob(pattern):
                    stray.unlink(missing_ok=True)

    def fetch(self, files: Iterable[tuple[str, str]], into: Path) -> list[Path]:
        """Return local paths of files given by name and SHA-256 digest; what must be downloaded goes below `into`.

        Raises:
            FileNotFoundError: a file is gone, as after an export in the meantime.
            LakeError: a file cannot be read, or is not what was written.
        """
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            return list(pool.map(lambda file: self._fetch(file[0], file[1], into), files))

    def address(self, name: str) -> str:
        """Return how another program reads a file: its path, or its URL."""
        return f"{self.url}/{name}" if self.folder is None else str(self.folder / name)

    def _fetch(self, name: str, digest: str, into: Path) -> Path:
        data = self.read(name)
        if hashlib.sha256(data).hexdigest() != digest:
            raise LakeError(
                f"{self.address(name)} is damaged: its bytes are not those that were exported. Remove it; the next "
                "export of the machine that wrote it puts it back.",
            )
        if self.folder is not None:
            return self.folder / name
        path = into / f"{digest}.parquet"
        path.write_bytes(data)
        return path

    def _open(self, *, create: bool = False) -> Any:  # noqa: ANN401 - obstore is optional, and so are its types
        if self.folder is None:
            return _open_remote(self.url)
        if not create and not self.folder.is_dir():
            raise FileNotFoundError(self.folder)  # opening would make the folder
        return _import_obstore().store.LocalStore(self.folder, mkdir=True)

    def _run(self, action: Callable[[Any], _T], failure: str) -> _T:
        obstore = _import_obstore()
        try:
            return action(obstore)
        except FileNotFoundError:
            raise
        except (obstore.exceptions.BaseError, OSError) as error:
            raise self._explain(failure, error) from error

    def _explain(self, failure: str, error: Exception) -> LakeError:
        return LakeError(f"{self.url}: {failure}: {_first_line(error)}. Nothing that was there changed.")


def open_place(url: str) -> Storage:
    """Return the folder or object store at `url`; nothing is read or written yet.

    Raises:
        ConfigError: the address is of no known kind, or the extra `lake` is not installed.

    >>> open_place("s3://team/lake/").address("lake.parquet")
    's3://team/lake/lake.parquet'
    """
    parts = urlsplit(url)
    if "://" not in url:
        return Storage(url, Path(url).expanduser().absolute())
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Storage(url, Path(unquote(parts.path)))
    if parts.scheme.lower() not in SCHEMES or not parts.netloc:
        raise ConfigError(
            f"{url!r} is no place for an export; expected a folder, file:///… or one of {', '.join(SCHEMES)} "
            "(s3://bucket/lake)."
        )
    _open_remote(url.rstrip("/"))
    return Storage(url.rstrip("/"), None)


@cache
def _open_remote(url: str) -> Any:  # noqa: ANN401
    obstore = _import_obstore()
    try:
        return obstore.store.from_url(url)
    except (ValueError, OSError, obstore.exceptions.BaseError) as error:
        raise ConfigError(f"{url} cannot be opened: {_first_line(error)}.") from error


def _import_obstore() -> Any:  # noqa: ANN401
    try:
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise ConfigError(
            "Lakes and object stores need the extra 'lake': pip install 'kaizen_analytics[lake]'."
        ) from error
    return obstore


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
