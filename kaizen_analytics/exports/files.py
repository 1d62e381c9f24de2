"""Exports as files: Parquet, CSV, JSON or Markdown, in a folder, in an object store or on standard output.

Every file is scanned for secrets and identities before it is written, and appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import polars as pl

from kaizen_analytics.core.errors import ConfigError, LakeError
from kaizen_analytics.core.files import write_file
from kaizen_analytics.redact import Scanner, refuse_leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kaizen_analytics.exports.tables import Export


_FORMULA = r"^[=+\-@\t\r]"


class Format(StrEnum):
    """What a file may be; the values are the endings of file names."""

    MARKDOWN = "md"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


def _encode(made: Export, form: Format) -> bytes:
    """Return an export as the content of a file."""
    if form is Format.MARKDOWN:
        return made.markdown.encode()
    if form is Format.JSON:
        document = {"schema": made.table.label, "rows": made.frame.to_dicts()}
        return (json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
    return _encode_table(made.frame, form)


def deliver(made: Export, to: str, form: Format | None, scanner: Scanner) -> tuple[str | None, bytes]:
    """Write an export to the place that `to` names, and return that place and the bytes; None for standard output.

    A folder (an existing one, or a name that ends in `/`) gets a file named after the table. `to` may be an address in
    an object store, or `-`; the ending of the file is the format unless `form` is.

    Raises:
        ConfigError: the format is missing or does not fit, or the place cannot be written.
        LakeError: the object store refused.
        RedactionError: the finished file held something that must not leave; nothing was written.

    >>> from kaizen_analytics.exports.tables import export_table
    >>> from kaizen_analytics.redact import KnownIdentities, open_redactor
    >>> redactor = open_redactor(KnownIdentities(()), bytes(32))
    >>> made = export_table(store, "metrics", redactor, now_ms=1_789_344_000_000, with_text=False)
    >>> deliver(made, "-", Format.MARKDOWN, redactor.scanner)[1].decode().splitlines()[0]
    '## Metrics of 325 sessions'
    """
    parts = urlsplit(to)
    is_remote = "://" in to and parts.scheme.lower() != "file"
    if is_remote and parts.scheme.lower() not in _SCHEMES:
        raise ConfigError(f"--to names a {parts.scheme} URL; expected one of {', '.join(_SCHEMES)}, or a file.")
    if is_remote and parts.password:
        raise ConfigError("--to holds credentials; leave them to the environment variables of the object store.")
    path = Path(unquote(parts.path) if "://" in to else to).expanduser()
    is_folder = to == "-" or to.endswith("/") or (not is_remote and path.is_dir())
    if is_folder and form is None:
        raise ConfigError(f"--to {to} does not name a format; add --format md, json, csv or parquet.")
    chosen = form or _parse_format(path, Format)
    name = f"{made.table.name}.{chosen.value}"
    data = _encode(made, chosen)
    refuse_leaks({name: data}, scanner)
    if to == "-":
        return None, data
    if is_remote:
        folder, _, given = to.rpartition("/")
        open_place(folder).write(given or name, data)
        return f"{folder}/{given or name}", data
    path = path / name if is_folder else path
    _publish(data, path)
    return str(path), data


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame in the format that the file's ending names (.parquet, .csv, .json).

    The file is written beside its place and then moved, so a reader never sees half of it. In CSV, text that a
    spreadsheet would run as a formula gets a leading apostrophe.

    Raises:
        ConfigError: the ending is none of these, or the folder cannot be written.

    >>> write_table(pl.DataFrame({"name": ["=1+1"]}), tmp / "table.csv")
    >>> (tmp / "table.csv").read_text().split()
    ['name', "'=1+1"]
    """
    _publish(_encode_table(frame, _parse_format(path, _TABLES)), path)


def _guard_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with an apostrophe before every text that a spreadsheet would run as a formula."""
    texts = [pl.col(name) for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(
        pl.when(text.str.contains(_FORMULA)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).name.keep()
        for text in texts
    )


_WRITERS: dict[Format, Callable[[pl.DataFrame, io.BytesIO], object]] = {
    Format.PARQUET: lambda frame, buffer: frame.write_parquet(buffer),
    Format.CSV: lambda frame, buffer: _guard_formulas(frame).write_csv(buffer),
    Format.JSON: lambda frame, buffer: frame.write_json(buffer),
}
_TABLES = (Format.PARQUET, Format.CSV, Format.JSON)


def _parse_format(path: Path, allowed: Iterable[Format]) -> Format:
    expected = {f".{one.value}": one for one in allowed}
    found = expected.get(path.suffix.lower())
    if found is None:
        raise ConfigError(f"{path} ends in {path.suffix!r}; expected one of {', '.join(expected)}.")
    return found


def _encode_table(frame: pl.DataFrame, form: Format) -> bytes:
    buffer = io.BytesIO()
    _WRITERS[form](frame, buffer)
    return buffer.getvalue()


def _publish(data: bytes, path: Path) -> None:
    try:
        write_file(path, data)
    except OSError as error:
        raise ConfigError(f"Cannot write into {path.parent}: {error.strerror}.") from error


_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")
"""Object stores that obstore knows."""

_CONNECTIONS = 16
"""How many files travel at a time: each waits for its store several times, and computes nothing meanwhile."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Storage:
    """A folder or a prefix in an object store; files by names such as `events/store=…/bucket=0/….parquet`.

    `folder` is None for an object store. Whatever cannot be read or written is a `LakeError`.
    """

    url: str
    folder: Path | None

    def write(self, name: str, data: bytes | Path) -> None:
        """Put a whole file into its place, replacing what is there."""
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
        """Return the content of a file. `FileNotFoundError` says that there is none."""
        return self._run(lambda stores: bytes(stores.get(self._open(), name).bytes()), f"{name} cannot be read")

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the names below a folder and their sizes in bytes; nothing where there is no such folder."""
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
                "export of the machine that wrote it puts it back."
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
    if parts.scheme.lower() not in _SCHEMES or not parts.netloc:
        raise ConfigError(
            f"{url!r} is no place for an export; expected a folder, file:///… or one of {', '.join(_SCHEMES)} "
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
